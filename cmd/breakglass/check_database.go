package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"breakglass/store"
	"breakglass/store/grant"
)

// checkDatabase looks at the database without getting in the way of a bot that runs:
// one that answers is well, and the file is not touched then. Without one the file is
// read as `breakglass status` reads it, and let go at once.
func checkDatabase(ctx context.Context, c StoreConfig) sectionAnswer {
	s := sectionAnswer{Section: ofDatabase, title: "Database, " + c.Path}
	dir := filepath.Dir(c.Path)
	if text := openToOthers(dir); text != "" {
		s.say("directory", grant.Warning, "chmod go-w "+dir, "%s.", capital(text))
	}
	d, noBot := dial(ctx, c.Path)
	switch {
	case noBot == nil:
		defer d.close() //nolint:errcheck // nothing was written
		s.say("bot", grant.OK, "", "A bot runs on it, and answers.")
		s.headFile(c.HeadFile)
		return s
	case !errors.Is(noBot, errNoBot):
		s.say("bot", grant.Warning, "Until that is mended the operator's commands cannot reach a bot that runs.", "%s.", capital(noBot.Error()))
	}
	switch _, err := os.Lstat(c.Path); {
	case errors.Is(err, fs.ErrNotExist):
		if s.takesFiles("directory", grant.Blocks, dir, "the database cannot be made there") {
			s.say("file", grant.OK, "", "There is none yet, and there is room for it: breakglass run makes it.")
		}
	case err != nil:
		s.say("file", grant.Blocks, remedyOr(diskRemedy(err), "Look at store.path, and at the directory."), "It cannot be looked at: %v.", cause(err))
	default:
		s.file(ctx, c.Path, errors.Is(noBot, errNoBot))
		s.takesFiles("socket", grant.Warning, dir, "the socket for the operator's commands cannot be made there")
	}
	s.headFile(c.HeadFile)
	return s
}

// file reads the database.
func (s *sectionAnswer) file(ctx context.Context, path string, quiet bool) {
	if err := ownDatabase(path); err != nil {
		level, remedy := grant.Blocks, "Run the check as the bot's user; or make sure that the file is yours, and chown it."
		if os.Geteuid() == 0 {
			level = grant.Warning // an operator, for whom root may look
		}
		s.say("owner", level, remedy, "%s.", capital(err.Error()))
	}
	db, err := store.OpenReadOnly(path)
	if errors.Is(err, store.ErrHeld) {
		// A bot that has just started holds the file a moment before it answers.
		if d, err := dial(ctx, path); err == nil {
			s.say("bot", grant.OK, "", "A bot runs on it, and answers.")
			_ = d.close() // nothing was written
			return
		}
		s.say("bot", grant.Warning, "If that is a bot, its log says why it has no socket; if it is none, find out what it is.",
			"Another process has it open, and no bot answers on %s.", socketPath(path))
		return
	}
	if err != nil {
		s.say("file", grant.Blocks, remedyOr(diskRemedy(err), withoutDatabase), "%s.", capital(err.Error()))
		return
	}
	live, err := db.Live()
	if err = errors.Join(err, db.Close()); err != nil {
		s.say("file", grant.Blocks, withoutDatabase, "%s.", capital(err.Error()))
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.say("file", grant.Blocks, remedyOr(diskRemedy(err), "Give it to the bot's user."), "It can be read, but not written: %v.", cause(err))
		return
	}
	_ = f.Close() // nothing was written
	s.say("file", grant.OK, "", "It is whole, and can be read and written.")
	if n := len(live); n > 0 && quiet {
		s.say("bot", grant.Warning, "Start it: breakglass run. Until then AWS ends what is open at its own time, but nothing is closed and proven.",
			"%s, and no bot runs.", count(uint64(n), "grant has not ended", "grants have not ended"))
	}
}

// takesFiles makes a file there and removes it again, since only that tells whether it
// can be done; so says what follows when not.
func (s *sectionAnswer) takesFiles(check string, level grant.Level, dir, so string) bool {
	f, err := os.CreateTemp(dir, ".breakglass-check-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err == nil {
		return true
	}
	if _, there := os.Stat(dir); errors.Is(there, fs.ErrNotExist) {
		s.say(check, level, fmt.Sprintf("Create it first, for the bot's user alone: mkdir -p -m 700 %s", dir), "The directory %s does not exist, so %s.", dir, so)
	} else {
		s.say(check, level, remedyOr(diskRemedy(err), "Look at the directory, and at store in the configuration."), "The directory %s takes no files (%v), so %s.", dir, cause(err), so)
	}
	return false
}

// headFile looks whether the head of the audit log can be noted where it shall be.
func (s *sectionAnswer) headFile(path string) {
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	switch {
	case err == nil:
		_ = f.Close() // nothing was written
	case errors.Is(err, fs.ErrNotExist):
		if !s.takesFiles("head file", grant.Warning, filepath.Dir(path), "the head of the audit log cannot be noted there") {
			return
		}
	default:
		s.say("head file", grant.Warning, remedyOr(diskRemedy(err), "Give it to the bot's user."), "The head of the audit log cannot be noted in %s: %v.", path, cause(err))
		return
	}
	s.say("head file", grant.OK, "", "The head of the audit log can be noted in %s.", path)
}

func remedyOr(remedy, otherwise string) string {
	if remedy != "" {
		return remedy
	}
	return otherwise
}
