package store

import (
	"errors"
	"fmt"
	"os"
)

// OpenReadOnly opens a database to look at it, and never writes to it: what it
// refuses is what [Open] refuses, and besides a file that is not there. A database
// of an older schema is read as it is, not brought up to date: so far every schema
// only added to the one before. As long as it is open no bot can start on it, and
// as long as a bot runs it is refused with [ErrHeld].
func OpenReadOnly(path string) (*Store, error) {
	s, err := openReadOnly(path)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return s, nil
}

func openReadOnly(path string) (*Store, error) {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("there is no such file. Check store.path in the configuration, and the directory that this command runs in; a bot makes the file when it first starts")
	case err != nil:
		return nil, err
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	db, file, err := openFile(path, true)
	if err != nil {
		return nil, err
	}
	return &Store{db: db, file: file, changed: make(chan struct{})}, nil
}
