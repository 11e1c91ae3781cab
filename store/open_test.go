package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// holder is the environment variable that makes the test binary open a database
// and hold it until its standard input is closed: another process.
const holder = "BREAKGLASS_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holder); path != "" {
		s, err := Open(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = os.Stdin.Read(make([]byte, 1))
		if err := s.Close(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// refused wants Open to answer an error with the words, and the file untouched.
func refused(t *testing.T, path string, words ...string) error {
	t.Helper()
	before, readErr := os.ReadFile(path)
	s, err := Open(path)
	if err == nil {
		_ = s.Close()
		t.Errorf("Open(%s) accepted it, want an error with %q", filepath.Base(path), words)
		return nil
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Open = %v, want %q in it", err, w)
		}
	}
	if after, err := os.ReadFile(path); readErr == nil && (err != nil || string(before) != string(after)) {
		t.Errorf("Open changed a file that it refused (%v)", err)
	}
	return err
}

func TestOpen_newFile(t *testing.T) {
	p := path(t)
	s := openAt(t, p)
	info, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if info.Size() > 1<<20 {
		t.Errorf("an empty database has %d bytes", info.Size())
	}
	if live, err := s.Live(); err != nil || len(live) != 0 {
		t.Errorf("Live = %v, %v", live, err)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
	if h, err := s.Head(); err != nil || h != (Head{}) {
		t.Errorf("Head = %v, %v", h, err)
	}
}

func TestOpen_refusesWhatIsNoFileOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	noise := make([]byte, 64<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}

	_ = refused(t, filepath.Join(dir, "none", "b.db"), "does not exist", "mkdir -p")
	_ = refused(t, dir, "it is a directory")
	if err := refused(t, write("empty.db", nil, 0o600), "it is empty", "backup"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open = %v, want ErrDamaged", err)
	}
	if err := refused(t, write("noise.db", noise, 0o600), "damaged"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open = %v, want ErrDamaged", err)
	}
	_ = refused(t, write("short.db", noise[:100], 0o600), "damaged")
	_ = refused(t, write("text.db", []byte(strings.Repeat("store:\n  path: breakglass.db\n", 1000)), 0o600), "damaged")

	real := path(t)
	if err := openAt(t, real).Close(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		link := filepath.Join(dir, "link.db")
		if err := os.Symlink(real, link); err != nil {
			t.Fatal(err)
		}
		_ = refused(t, link, "symbolic link")
		dangling := filepath.Join(dir, "dangling.db")
		if err := os.Symlink(filepath.Join(dir, "nowhere"), dangling); err != nil {
			t.Fatal(err)
		}
		_ = refused(t, dangling, "symbolic link")

		for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o666} {
			if err := os.Chmod(real, mode); err != nil {
				t.Fatal(err)
			}
			_ = refused(t, real, fmt.Sprintf("mode %04o", mode), "chmod 600")
		}
		if err := os.Chmod(real, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	other := filepath.Join(dir, "other.db")
	rawDB(t, other, func(db *bbolt.DB) {
		err := db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("somebody else's"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	_ = refused(t, other, "not a database of breakglass")
}

// TestOpen_schemaAndNames changes one thing on the disk, and wants the start to
// be refused.
func TestOpen_schemaAndNames(t *testing.T) {
	replace := func(bucket, key []byte, old, repl string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			v := string(b.Get(key))
			if !strings.Contains(v, old) {
				return fmt.Errorf("no %q in %q", old, v)
			}
			return b.Put(key, []byte(strings.Replace(v, old, repl, 1)))
		}
	}
	firstRow := func(old, repl string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketOutbox).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if strings.Contains(string(v), old) {
					return replace(bucketOutbox, k, old, repl)(tx)
				}
			}
			return fmt.Errorf("no row with %q", old)
		}
	}
	for name, tt := range map[string]struct {
		change func(tx *bbolt.Tx) error
		words  []string
		is     error
	}{
		"a newer schema":        {func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(schema+1)) }, []string{"newer breakglass", "version 6", "knows 5"}, ErrNewer},
		"a schema that was not": {func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(0)) }, nil, ErrDamaged},
		"no schema":             {func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaSchema) }, []string{"not a database of breakglass"}, ErrDamaged},
		"a missing bucket":      {func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketOwes) }, []string{`"owes"`}, ErrDamaged},
		"no part for the cells": {func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketGuards) }, []string{`"guards"`}, ErrDamaged},
		"an unknown phase":      {replace(bucketGrants, idKey(2), `"phase":"open"`, `"phase":"ajar"`), []string{`"ajar"`}, ErrDamaged},
		"an unknown end":        {func(tx *bbolt.Tx) error { return tx.Bucket(bucketEnded).Put(endedKey("", t0, 1), []byte("gone")) }, []string{`"gone"`}, ErrDamaged},
		"an unknown effect":     {firstRow(`"kind":"expire"`, `"kind":"explode"`), []string{`"explode"`}, ErrDamaged},
		"an unknown field":      {replace(bucketGrants, idKey(2), `"phase"`, `"new_field":1,"phase"`), []string{"new_field"}, ErrDamaged},
		"a row in a wrong place": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketOutbox)
			_, v := b.Cursor().First()
			return b.Put(outboxKey(grant.Effect{Kind: grant.DoSay, Due: t0.AddDate(9, 0, 0)}, 999), append([]byte(nil), v...))
		}, []string{"another time"}, ErrDamaged},
		"a grant that is not there": {func(tx *bbolt.Tx) error { return tx.Bucket(bucketGrants).Delete(idKey(2)) }, []string{"BG-2"}, ErrDamaged},
		"a grant in another's place": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketGrants)
			return b.Put(idKey(2), append([]byte(nil), b.Get(idKey(1))...))
		}, []string{"BG-1", "BG-2"}, ErrDamaged},
		"a cell that cannot be read": {func(tx *bbolt.Tx) error { return tx.Bucket(bucketGuards).Put([]byte("helios-prod"), []byte("{")) }, []string{`"helios-prod"`, "cannot be read"}, ErrDamaged},
		"a newer program's cell": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGuards).Put([]byte("helios-prod"), []byte(`{"cell":"helios-prod","novel":1}`))
		}, []string{`"helios-prod"`, "novel"}, ErrDamaged},
		"a cell in another's place": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGuards).Put([]byte("helios-prod"), []byte(`{"cell":"helios-two"}`))
		}, []string{"helios-two"}, ErrDamaged},
		"a closing without an ending": {replace(bucketGrants, idKey(2), `"phase":"open"`, `"phase":"closing"`), []string{"without an ending"}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
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
				if err := db.Update(tt.change); err != nil {
					t.Fatal(err)
				}
			})
			if err := refused(t, p, tt.words...); !errors.Is(err, tt.is) {
				t.Errorf("Open = %v, want %v", err, tt.is)
			}
		})
	}
}

func TestOpen_heldInThisProcess(t *testing.T) {
	p := path(t)
	s := openAt(t, p)
	start := time.Now()
	_, err := Open(p)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "another breakglass is running on this database") {
		t.Errorf("Open = %v, want ErrHeld", err)
	}
	if d := time.Since(start); d > 10*holdTimeout {
		t.Errorf("Open took %v to say so", d)
	}
	mustRequest(t, s, t0) // the first is none the worse for it
}

func TestOpen_heldByAnotherProcess(t *testing.T) {
	p := path(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), holder+"="+p)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := out.Read(buf); err != nil || string(buf) != "held\n" {
		t.Fatalf("the other process says %q, %v", buf, err)
	}
	if _, err := Open(p); !errors.Is(err, ErrHeld) {
		t.Errorf("Open = %v, want ErrHeld", err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	openAt(t, p)
}

// sample is a database of several pages, with everything in it, as bytes.
func sample(t *testing.T) []byte {
	t.Helper()
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if i%2 == 0 {
			mustClose(t, s, t0.Add(time.Duration(i)*time.Hour))
		} else {
			mustOpen(t, s, t0.Add(time.Duration(i)*time.Hour))
		}
	}
	// A backup has only the pages that are in use.
	var b bytes.Buffer
	if err := errors.Join(s.Backup(&b), s.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// useAll opens the file and does everything that there is to do. Whatever is
// wrong with the file, nothing may panic.
func useAll(t *testing.T, p string) (opened bool) {
	t.Helper()
	s, err := Open(p)
	if err != nil {
		return false
	}
	defer func() { _ = s.Close() }()
	_, _ = s.Live()
	_, _ = s.Ended("", 100)
	_, _, _ = s.Due(t0.AddDate(1, 0, 0), 0, nil, nil)
	_ = s.Verify()
	for _, err := range s.Entries(0) {
		if err != nil {
			break
		}
	}
	for id := range grant.ID(14) {
		_, _ = s.Grant(id)
		_, _ = s.Owes(id)
	}
	for i := range 4 {
		_, _ = s.Commit(Change{Keys: []string{fmt.Sprint(i)}, Grant: grant.ID(2 + 2*i), Event: grant.Revoke{By: alice}, Now: t0})
		_, _ = s.Commit(Change{Event: request(fmt.Sprint("after-", i)), Now: t0})
	}
	return true
}

func TestOpen_truncated(t *testing.T) {
	data := sample(t)
	page := os.Getpagesize()
	dir := t.TempDir()
	lengths := []int{1, 100, page - 1, page, page + 1, 2 * page, 3*page - 1, 3 * page, 4 * page, 4*page + 17}
	for n := 5 * page; n < len(data); n += page {
		lengths = append(lengths, n)
	}
	opened := 0
	for _, n := range lengths {
		if n >= len(data) {
			continue
		}
		p := filepath.Join(dir, fmt.Sprint(n, ".db"))
		if err := os.WriteFile(p, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(p)
		if err != nil {
			if got, _ := os.ReadFile(p); string(got) != string(data[:n]) {
				t.Errorf("%d bytes: Open changed a file that it refused", n)
			}
			continue
		}
		// What was cut off was never used: then nothing may be missing.
		opened++
		if err := s.Verify(); err != nil {
			t.Errorf("%d bytes: Open accepted it, but %v", n, err)
		}
		if live, err := s.Live(); err != nil || len(live) != 6 {
			t.Errorf("%d bytes: %d live grants, %v, want 6", n, len(live), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkDB(t, p)
	}
	t.Logf("%d lengths tried, %d of them cut off nothing that was in use", len(lengths), opened)
}

func TestOpen_tornPages(t *testing.T) {
	data := sample(t)
	page := os.Getpagesize()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	refused := 0
	tries := 0
	for n := 0; n+page <= len(data); n += page {
		for _, how := range []string{"zeros", "noise", "half", "bit"} {
			torn := append([]byte(nil), data...)
			switch how {
			case "zeros":
				clear(torn[n : n+page])
			case "noise":
				for i := n; i < n+page; i++ {
					torn[i] = byte(random.Uint32())
				}
			case "half":
				copy(torn[n+page/2:n+page], data[(n+5*page/2)%(len(data)-page):])
			case "bit":
				torn[n+random.IntN(page/8)] ^= 1 << random.IntN(8)
			}
			p := filepath.Join(dir, "torn.db")
			if err := os.WriteFile(p, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			tries++
			if !useAll(t, p) {
				refused++
			}
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d torn files, %d refused at the start, no panic", tries, refused)
}

// TestOpen_pagesThatCannotBeRecoveredFrom: bbolt would loop for ever on the
// first, and overwrite a page in use with the second.
func TestOpen_pagesThatCannotBeRecoveredFrom(t *testing.T) {
	data := sample(t)
	page := os.Getpagesize()
	u64 := binary.NativeEndian
	// Old pages that are free look like those in use, so all of a kind are changed.
	each := func(data []byte, flags uint16, change func(page []byte, id uint64)) {
		n := 0
		for id := 2; id < len(data)/page; id++ {
			if at := data[id*page : (id+1)*page]; u64.Uint16(at[8:]) == flags && u64.Uint64(at) == uint64(id) {
				change(at, uint64(id))
				n++
			}
		}
		if n == 0 {
			t.Errorf("no page with the flags %d", flags)
		}
	}
	for name, change := range map[string]func(data []byte){
		"a branch that is its own child": func(data []byte) {
			each(data, pageBranch, func(page []byte, id uint64) { u64.PutUint64(page[pageHeader+8:], id) })
		},
		"a child past the end": func(data []byte) {
			each(data, pageBranch, func(page []byte, _ uint64) { u64.PutUint64(page[pageHeader+8:], 1<<40) })
		},
		"a page in use that is called free": func(data []byte) {
			each(data, pageFree, func(page []byte, id uint64) { u64.PutUint16(page[10:], 1); u64.PutUint64(page[pageHeader:], id) })
		},
		"more free pages than there is room for": func(data []byte) {
			each(data, pageFree, func(page []byte, _ uint64) { u64.PutUint16(page[10:], 0xFFFF); u64.PutUint64(page[pageHeader:], 1<<60) })
		},
		"a leaf with too many elements": func(data []byte) {
			each(data, pageLeaf, func(page []byte, _ uint64) { u64.PutUint16(page[10:], 0xFFF0) })
		},
		"a leaf whose keys fall": func(data []byte) {
			each(data, pageLeaf, func(page []byte, _ uint64) { u64.PutUint16(page[10:], 2); copy(page[32:48], page[16:32]) })
		},
		"a page with too much overflow": func(data []byte) {
			each(data, pageBranch, func(page []byte, _ uint64) { u64.PutUint32(page[12:], 1<<30) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			torn := bytes.Clone(data)
			change(torn)
			p := path(t)
			if err := os.WriteFile(p, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := refused(t, p, "page"); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open = %v, want ErrDamaged", err)
			}
		})
	}
}

func TestGuard_turnsPanicsIntoErrors(t *testing.T) {
	s := newStore(t)
	err := s.update(func(*bbolt.Tx) error { panic("page 7: not a leaf") })
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 7") {
		t.Errorf("update = %v, want ErrDamaged", err)
	}
	mustRequest(t, s, t0) // and the lock was given back
}

// TestWedged: if undoing a write panics, bbolt's write lock stays taken for
// ever. Nobody may wait for it.
func TestWedged(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, s, t0)
	tx, err := s.db.Begin(true) // the lock that was never given back
	if err != nil {
		t.Fatal(err)
	}
	s.wedged = true
	if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0}); !errors.Is(err, ErrDamaged) {
		t.Errorf("Commit = %v, want ErrDamaged", err)
	}
	if got, err := s.Grant(g.ID); err != nil || got.ID != g.ID {
		t.Errorf("Grant = %v, %v: what is there can still be read", got.ID, err)
	}
	if err := s.Close(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Close = %v, want ErrDamaged", err)
	}
	_ = tx
	data, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	later := path(t) // as the next process finds it
	if err := os.WriteFile(later, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openAt(t, later).Verify(); err != nil {
		t.Error(err)
	}
}

func TestCommit_concurrent(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	const clicks = 20
	var wins, duplicates, refusals atomic.Int32
	var group sync.WaitGroup
	for i := range clicks {
		group.Go(func() {
			// Two people click, and Slack delivers each click several times.
			by := bob
			if i%2 == 1 {
				by.User = "U0CAROL"
			}
			r, err := s.Commit(Change{Keys: []string{string(by.User)}, Grant: g.ID, Event: grant.Approve{By: by}, Now: t0})
			_, refused := errors.AsType[*grant.Refusal](err)
			switch {
			case r.Duplicate:
				duplicates.Add(1)
			case refused:
				refusals.Add(1)
			case err == nil:
				wins.Add(1)
			default:
				t.Error(err)
			}
			if _, err := s.Live(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if wins.Load() != 1 || refusals.Load() != 1 || duplicates.Load() != clicks-2 {
		t.Errorf("%d approvals, %d refusals, %d duplicates of %d clicks", wins.Load(), refusals.Load(), duplicates.Load(), clicks)
	}
}
