package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"breakglass/store"
)

type backupCommand struct {
	Args struct {
		File string `positional-arg-name:"FILE" description:"Where to write the copy."`
	} `positional-args:"yes" required:"yes"`
	Force bool `long:"force" description:"Replace FILE if it is there already."`
	JSON  bool `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

// backupAnswer is what was written, after it was checked.
type backupAnswer struct {
	BotRunning bool        `json:"bot_running"`
	File       string      `json:"file"`
	Bytes      int64       `json:"bytes"`
	Entries    uint64      `json:"entries"`
	Head       *store.Head `json:"head,omitempty"` // nil: no entries yet
}

// backup streams a consistent copy of the live database.
func (d deskData) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := d.db.Backup(patient{w: w, each: writePatience}); err != nil {
		d.cutOff(r.Context(), "backup", err)
	}
}

// Run is `breakglass backup`.
func (b backupCommand) Run(env *environment) error {
	cfg, err := loadConfig(env.config)
	if err != nil {
		return err
	}
	if err := b.mayWrite(cfg.Store.Path); err != nil {
		return err
	}
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // the copy was checked
	a, err := b.write(env, d)
	if err != nil {
		return fmt.Errorf("%w. No backup was made", err)
	}
	a.BotRunning = d.running
	if b.JSON {
		return printJSON(env, a)
	}
	fmt.Fprintf(env.stdout, "%s: %s, %s in the audit log, read back and whole.\n", a.File, bytesText(a.Bytes), count(a.Entries, "entry", "entries"))
	if a.Head != nil {
		fmt.Fprintf(env.stdout, "Head: %d:%s\n", a.Head.Seq, a.Head.Hash)
	}
	_, err = fmt.Fprintln(env.stdout, "Keep it as safe as the database: it has the same in it. How to restore it: docs/restore.md")
	return err
}

// mayWrite refuses to replace what should not be replaced.
func (b backupCommand) mayWrite(database string) error {
	info, err := os.Lstat(b.Args.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", b.Args.File, err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory: name a file in it", b.Args.File)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a plain file: name another", b.Args.File)
	}
	if live, err := os.Stat(database); err == nil && os.SameFile(live, info) {
		return fmt.Errorf("%s is the database itself: name another file", b.Args.File)
	}
	if !b.Force {
		return fmt.Errorf("%s is there already, and nothing was written: name a new file, or replace it with --force", b.Args.File)
	}
	return nil
}

// write copies to a file beside the one that is wanted, checks the copy, and only
// then gives it its name: whatever goes wrong, a backup that was there stays, and
// what has the name is whole.
func (b backupCommand) write(env *environment, d *desk) (a backupAnswer, err error) {
	body, err := d.stream(env.ctx, "/v1/backup", nil)
	if err != nil {
		return a, err
	}
	defer body.Close()
	dir := filepath.Dir(b.Args.File)
	tmp, err := os.CreateTemp(dir, ".breakglass-backup-*") // with mode 0600
	if err != nil {
		return a, fmt.Errorf("write the backup: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()

	var done atomic.Int64
	stop := showProgress(env, func() string { return bytesText(done.Load()) + " copied…" })
	_, err = io.Copy(io.MultiWriter(tmp, counting{&done}), body)
	stop()
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return a, fmt.Errorf("copy the database to %s: %w", dir, err)
	}
	a.File, a.Bytes = b.Args.File, done.Load()
	stop = showProgress(env, func() string { return "checking the copy…" })
	found, err := checkCopy(tmp.Name())
	stop()
	switch {
	case err != nil:
		return a, fmt.Errorf("check the copy: %w", err)
	case !found.Whole:
		return a, fmt.Errorf("the audit log is broken at entry %d: %s. See `breakglass audit verify`, and keep the older backups", found.BrokenAt, found.Problem)
	}
	a.Entries, a.Head = found.Entries, found.Head
	if err := b.place(tmp.Name()); err != nil {
		return a, fmt.Errorf("give the backup its name: %w", err)
	}
	return a, nil
}

type counting struct{ n *atomic.Int64 }

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// checkCopy opens a copy as a database, which walks all of it, and checks its log.
func checkCopy(path string) (a verifyAnswer, err error) {
	db, err := store.OpenReadOnly(path)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return verifyLog(db)
}

// place gives the copy its name. Without --force nothing that has come there
// meanwhile is replaced.
func (b backupCommand) place(tmp string) error {
	if b.Force {
		if err := os.Rename(tmp, b.Args.File); err != nil {
			return err
		}
	} else if err := os.Link(tmp, b.Args.File); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there now, and was not a moment ago: name a new file", b.Args.File)
		}
		// A file system without hard links: look once more, then rename.
		if _, err := os.Lstat(b.Args.File); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there now, and was not a moment ago: name a new file", b.Args.File)
		}
		if err := os.Rename(tmp, b.Args.File); err != nil {
			return err
		}
	}
	if runtime.GOOS == "windows" {
		return nil // where directories cannot be synced
	}
	dir, err := os.Open(filepath.Dir(b.Args.File))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
