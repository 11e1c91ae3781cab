package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

func openToRead(t *testing.T, p string) *Store {
	t.Helper()
	s, err := OpenReadOnly(p)
	if err != nil {
		t.Fatalf("OpenReadOnly: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestOpenReadOnly(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s, t0)
	open := mustOpen(t, s, t0)
	if _, err := OpenReadOnly(p); !errors.Is(err, ErrHeld) {
		t.Errorf("OpenReadOnly while it is open = %v, want ErrHeld", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	s = openToRead(t, p)
	if live, err := s.Live(); err != nil || len(live) != 1 || live[0].ID != open.ID {
		t.Errorf("Live = %v, %v", live, err)
	}
	if ended, err := s.Ended("", 10); err != nil || len(ended) != 1 {
		t.Errorf("Ended = %v, %v", ended, err)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
	openToRead(t, p) // several may look
	if _, err := Open(p); !errors.Is(err, ErrHeld) {
		t.Errorf("Open while it is being read = %v, want ErrHeld", err)
	}
	if _, err := s.Commit(Change{Event: request("late"), Now: t0}); err == nil {
		t.Error("a commit was taken in")
	}
	if err := s.Patrol([]grant.CellName{prod}, t0); err == nil {
		t.Error("a patrol was taken in")
	}
	if after, err := os.ReadFile(p); err != nil || string(after) != string(before) {
		t.Errorf("reading has changed the file (%v)", err)
	}
}

// TestOpenReadOnly_missing: to ask is not to make.
func TestOpenReadOnly_missing(t *testing.T) {
	p := path(t)
	_, err := OpenReadOnly(p)
	if err == nil || !strings.Contains(err.Error(), "there is no such file. Check store.path") {
		t.Errorf("OpenReadOnly = %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(p)); err != nil || len(list) != 0 {
		t.Errorf("it has made %v (%v)", list, err)
	}
}

// TestOpenReadOnly_refuses what Open refuses.
func TestOpenReadOnly_refuses(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, s, t0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(tx *bbolt.Tx) error
		is     error
	}{
		"a newer schema":   {func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(schema+1)) }, ErrNewer},
		"a missing bucket": {func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketAudit) }, ErrDamaged},
		"an unknown phase": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketGrants)
			return b.Put(idKey(1), []byte(strings.Replace(string(b.Get(idKey(1))), `"phase":"open"`, `"phase":"ajar"`, 1)))
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			bad := path(t)
			if err := os.WriteFile(bad, data, 0o600); err != nil {
				t.Fatal(err)
			}
			rawDB(t, bad, func(db *bbolt.DB) {
				if err := db.Update(tt.change); err != nil {
					t.Fatal(err)
				}
			})
			if _, err := OpenReadOnly(bad); !errors.Is(err, tt.is) {
				t.Errorf("OpenReadOnly = %v, want %v", err, tt.is)
			}
		})
	}
	data, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	write := func(p string, n int) error { return os.WriteFile(p, data[:n], 0o600) }
	for name, prepare := range map[string]func(bad string) error{
		"empty":  func(bad string) error { return write(bad, 0) },
		"torn":   func(bad string) error { return write(bad, 5000) },
		"a link": func(bad string) error { return os.Symlink(p, bad) },
		"a dir":  func(bad string) error { return os.Mkdir(bad, 0o700) },
		"of all": func(bad string) error { return errors.Join(write(bad, len(data)), os.Chmod(bad, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := path(t)
			if err := prepare(bad); err != nil {
				t.Fatal(err)
			}
			if s, err := OpenReadOnly(bad); err == nil {
				_ = s.Close()
				t.Error("it was opened")
			}
		})
	}
}

// TestOpenReadOnly_olderSchema reads what an older program has written, as it is:
// a backup is wanted most of all before the newer program first runs.
func TestOpenReadOnly_olderSchema(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s, t0)
	mustOpen(t, s, t0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rawDB(t, p, func(db *bbolt.DB) {
		err := db.Update(func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketGuards), tx.Bucket(bucketMeta).Put(metaSchema, seqKey(1)))
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	s = openToRead(t, p)
	if live, err := s.Live(); err != nil || len(live) != 1 {
		t.Errorf("Live = %v, %v", live, err)
	}
	if guards, err := s.Guards(); err != nil || len(guards) != 0 {
		t.Errorf("Guards = %v, %v", guards, err)
	}
	if ended, err := s.Ended(prod, 5); err != nil || len(ended) != 1 {
		t.Errorf("Ended = %v, %v", ended, err)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}
