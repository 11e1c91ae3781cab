package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"breakglass/store/grant"
)

// schema is the version of what is stored. Raise it whenever an older program
// could not read, or would drop, what this one writes: a new field of a grant
// counts, because decoding is strict. What it raises from is in [upgrade].
//
//	1  the first
//	2  Grant.Watch, and the effect watch, which every open grant owes
//	3  what is remembered of the cells; strays, requests that are asked again,
//	   extensions, emergencies, approvals for less
//	4  who asked in vain for more time
//	5  Ending.CutOffSince: a close that is under way waits anew for its cut-off
const schema = 5

// The reasons for which a database cannot be opened that a caller may want to
// tell apart.
var (
	// ErrHeld: another process has the file open.
	ErrHeld = errors.New("another breakglass is running on this database")
	// ErrDamaged: what is on the disk is not what was written, or not ours.
	ErrDamaged = errors.New("the database is damaged")
	// ErrNewer: a newer program has written it.
	ErrNewer = errors.New("the database was written by a newer breakglass")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

const (
	// holdTimeout is how long to wait for another process to let the file go: a
	// restart overlaps a little.
	holdTimeout = time.Second
	// mapped is how much of the address space is set aside for the file at once.
	// Growing the map waits for every reader, a slow backup too, so it should be
	// rare. On Windows it would be the size of the file.
	mapped = 256 << 20
	// grownBy is how much the file grows at a time.
	grownBy = 1 << 20
)

// Open opens the database at path, and makes a new one if there is no file. It
// never writes to a file that it does not know to be its own.
func Open(path string) (*Store, error) { return OpenObserved(path, Observer{}) }

// OpenObserved is [Open] with somebody who hears what is taken in.
func OpenObserved(path string, o Observer) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	s.observer = o
	return s, nil
}

func open(path string) (*Store, error) {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	db, file, err := openFile(path, false)
	if err != nil {
		return nil, err
	}
	db.AllocSize = grownBy
	if err := upgrade(db, time.Now()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db: db, file: file, changed: make(chan struct{})}, nil
}

// create makes an empty database under another name and then gives it its own,
// so that a crash never leaves half a database behind and no file that appears
// meanwhile is overwritten.
func create(path string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".breakglass-new-*") // with mode 0600
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the directory %s does not exist: create it first, for the bot's user alone (mkdir -p -m 700 %s)", dir, dir)
	}
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(tmp.Name(), 0o600, &bbolt.Options{Timeout: holdTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(schema))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
	default:
		// A file system without hard links. Renaming may overwrite, so look again;
		// what is left is two first starts within the same microsecond.
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
		if err := os.Rename(tmp.Name(), path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// syncDir makes a new name durable, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkFile refuses a file that is not a plain file of its owner alone.
func checkFile(info os.FileInfo) error {
	switch mode := info.Mode(); {
	case mode&os.ModeSymlink != 0:
		return errors.New("it is a symbolic link: name the file itself in store.path")
	case mode.IsDir():
		return errors.New("it is a directory: name a file in it in store.path")
	case !mode.IsRegular():
		return errors.New("it is not a plain file")
	case runtime.GOOS != "windows" && mode.Perm()&0o077 != 0:
		return fmt.Errorf("others than its owner may read or write it (mode %04o): chmod 600 it, and ask who has read it", mode.Perm())
	case info.Size() == 0:
		return damagedf("it is empty. Restore a backup; if there never was anything in it, remove it")
	}
	return nil
}

func damagedf(text string) error { return damaged("%s", text) }

// openFile opens the bbolt file without ever creating one, and turns bbolt's
// panics on torn files into errors.
func openFile(path string, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	defer func() {
		if err != nil && file != nil {
			_ = file.Close() // after a panic nobody else does
		}
	}()
	defer guard(&err)()
	opts := &bbolt.Options{
		Timeout: holdTimeout, ReadOnly: readOnly, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			before, err := os.Lstat(name)
			if err != nil {
				return nil, err
			}
			if err := checkFile(before); err != nil {
				return nil, err
			}
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if err != nil {
				return nil, err
			}
			// Whoever swaps the file for a link in between gets nothing.
			if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
				return nil, errors.Join(errors.New("it was replaced while it was being opened"), err, f.Close())
			}
			file = f
			return f, nil
		},
	}
	if !readOnly && runtime.GOOS != "windows" {
		opts.InitialMmapSize = mapped
	}
	db, err = bbolt.Open(path, 0o600, opts)
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, nil, fmt.Errorf("%w: only one may have it open. Stop the other one first", ErrHeld)
	case file == nil:
		return nil, nil, err
	default:
		return nil, nil, damaged("%v. Restore a backup", err)
	}
}

// inspect looks at a file, without writing to it, for everything that should
// stop the start.
func inspect(path string) (err error) {
	db, file, err := openFile(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	defer guard(&err)()
	return db.View(func(tx *bbolt.Tx) error {
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return damaged("%d bytes of it are there, but it needs %d. Restore a backup", info.Size(), tx.Size())
		}
		if err := checkPages(tx, file); err != nil {
			return err
		}
		if err := checkSchema(tx); err != nil {
			return err
		}
		return checkNames(tx)
	})
}

func checkSchema(tx *bbolt.Tx) error {
	var version []byte
	if meta := tx.Bucket(bucketMeta); meta != nil {
		version = meta.Get(metaSchema)
	}
	if len(version) != 8 {
		return damagedf("it is not a database of breakglass. Check store.path")
	}
	v := binary.BigEndian.Uint64(version)
	switch {
	case v > schema:
		return fmt.Errorf("%w: its schema is version %d and this program knows %d. Run the newer program, or restore a backup from before", ErrNewer, v, schema)
	case v < 1:
		return damaged("its schema version %d never was", v)
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil && (v >= 3 || string(name) != string(bucketGuards)) {
			return damaged("the part %q is missing. Restore a backup", name)
		}
	}
	return nil
}

// upgrade brings a database of an older program up to this one's schema, in one
// transaction. now is when what it comes to owe is due.
func upgrade(db *bbolt.DB, now time.Time) (err error) {
	defer guard(&err)()
	version := func(tx *bbolt.Tx) uint64 { return binary.BigEndian.Uint64(tx.Bucket(bucketMeta).Get(metaSchema)) }
	current := false
	if err := db.View(func(tx *bbolt.Tx) error { current = version(tx) == schema; return nil }); err != nil || current {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketGuards); err != nil {
			return err
		}
		// From 1: the grants that are open are to be looked at like those that are
		// opened from now on. From 2 they owe that already.
		live, err := loadLive(tx)
		if err != nil {
			return err
		}
		for _, g := range live {
			if err := tx.Bucket(bucketLive).Put(idKey(g.ID), liveValue(g)); err != nil {
				return err
			}
			if g.Phase != grant.Open || tx.Bucket(bucketOwes).Get(owesKey(g.ID, grant.Effect{Kind: grant.DoWatch})) != nil {
				continue
			}
			if err := putEffects(tx, g.ID, []grant.Effect{{Kind: grant.DoWatch, Due: now}}); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(schema))
	})
	if err != nil {
		return fmt.Errorf("bring it up to schema %d: %w", schema, err)
	}
	return nil
}

// checkNames refuses names that this program does not know: to ignore a phase
// or an effect would be to forget an access, and to pass over what is known of a
// cell would be to forget trust that nobody has dealt with. Grants that have ended are checked
// by their index alone, so that the start does not slow down with the years.
func checkNames(tx *bbolt.Tx) error {
	if _, err := loadLive(tx); err != nil {
		return err
	}
	if _, err := loadGuards(tx); err != nil {
		return err
	}
	err := tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		_, err := decodeRow(k, v)
		return err
	})
	if err != nil {
		return err
	}
	c := tx.Bucket(bucketEnded).Cursor()
	for k, v := c.First(); len(k) > 0 && k[0] == 0; k, v = c.Next() {
		if p := grant.Phase(v); !p.Terminal() {
			return damaged("a grant ended in the phase %q, which this program does not know", p)
		}
	}
	return nil
}
