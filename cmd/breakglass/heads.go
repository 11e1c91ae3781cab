package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"breakglass/store"
)

// Whoever can write the database can write all of its audit log anew. What shows
// that is the head of the log, noted where they cannot write: the bot appends it to
// store.head_file, which somebody else's collector takes away or which lies on a
// volume that only takes additions.

// headLine is one line of that file.
type headLine struct {
	Time time.Time `json:"time"`
	store.Head
}

// headEvery is how often it is looked whether the head has changed.
const headEvery = time.Minute

// headKeeper notes the head of the log. What cannot be noted is said in the log of
// the program, and tried again.
type headKeeper struct {
	db   *store.Store
	path string
	log  *slog.Logger
	last store.Head
}

// run notes the head at once, and then whenever it has changed.
func (k *headKeeper) run(ctx context.Context) {
	tick := time.NewTicker(headEvery)
	defer tick.Stop()
	for {
		k.note()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *headKeeper) note() {
	head, err := k.db.Head()
	if err == nil && (head.Seq == 0 || head == k.last) {
		return
	}
	if err == nil {
		err = appendHead(k.path, headLine{Time: time.Now().UTC().Truncate(time.Second), Head: head})
	}
	if err != nil {
		k.log.Error("the head of the audit log could not be noted", "file", k.path, "err", err)
		return
	}
	k.last = head
}

// appendHead adds a line, in one write that is on disk when it returns. Half a line
// that a machine has left which lost its power is ended first.
func appendHead(path string, h headLine) error {
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	plain := info.Mode().IsRegular() // and no pipe to a collector
	if plain && info.Size() > 0 {
		end := make([]byte, 1)
		if _, err := f.ReadAt(end, info.Size()-1); err != nil {
			return errors.Join(fmt.Errorf("read its end: %w", err), f.Close())
		}
		if end[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	_, err = f.Write(line)
	if err == nil && plain {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
