package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

func TestVerify_findsTampering(t *testing.T) {
	const n = 8 // entries in the log
	get := func(b *bbolt.Bucket, seq uint64) []byte { return bytes.Clone(b.Get(seqKey(seq))) }
	// forge gives a changed entry a hash that fits it.
	forge := func(v []byte, old, repl string) []byte {
		body := bytes.Replace(v[sha256.Size:], []byte(old), []byte(repl), 1)
		if bytes.Equal(body, v[sha256.Size:]) {
			panic("nothing was changed")
		}
		sum := sha256.Sum256(body)
		return append(sum[:], body...)
	}
	for name, tt := range map[string]struct {
		change func(tx *bbolt.Tx, b *bbolt.Bucket) error
		seq    uint64
	}{
		"a byte changed": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			return b.Put(seqKey(3), bytes.Replace(get(b, 3), []byte("step_changed"), []byte("step_chanfed"), 1))
		}, 3},
		"white space added":        {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(3), append(get(b, 3), ' ')) }, 3},
		"a stored hash changed":    {func(_ *bbolt.Tx, b *bbolt.Bucket) error { v := get(b, 4); v[0] ^= 1; return b.Put(seqKey(4), v) }, 4},
		"cut short":                {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(4), get(b, 4)[:10]) }, 4},
		"emptied":                  {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(4), nil) }, 4},
		"forged with its own hash": {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(2), forge(get(b, 2), "U0BOB", "U0EVE")) }, 3},
		"the last one forged": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			return b.Put(seqKey(n), forge(get(b, n), `"closed"`, `"closing"`))
		}, n},
		"the first removed": {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Delete(seqKey(1)) }, 1},
		"one removed":       {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Delete(seqKey(5)) }, 5},
		"the last removed":  {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Delete(seqKey(n)) }, n},
		"the last two removed": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			return errors.Join(b.Delete(seqKey(n)), b.Delete(seqKey(n-1)))
		}, n - 1},
		"all removed": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			for i := range uint64(n) {
				if err := b.Delete(seqKey(i + 1)); err != nil {
					return err
				}
			}
			return nil
		}, 1},
		"one added at the end": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			last := get(b, n)
			v := forge(last, fmt.Sprintf(`"seq":%d`, n), fmt.Sprintf(`"seq":%d`, n+1))
			v = forge(v, `"prev":"`+prevOf(last)+`"`, `"prev":"`+hex.EncodeToString(last[:sha256.Size])+`"`)
			return b.Put(seqKey(n+1), v)
		}, n + 1},
		"one added before the first": {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(0), get(b, 1)) }, 0},
		"a strange key":              {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put([]byte("x"), []byte("y")) }, n + 1},
		"two swapped": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			x, y := get(b, 3), get(b, 4)
			return errors.Join(b.Put(seqKey(3), y), b.Put(seqKey(4), x))
		}, 3},
		"the head moved back":  {func(tx *bbolt.Tx, _ *bbolt.Bucket) error { return tx.Bucket(bucketMeta).Delete(metaHead) }, 1},
		"the head cut":         {func(tx *bbolt.Tx, _ *bbolt.Bucket) error { return tx.Bucket(bucketMeta).Put(metaHead, []byte{1}) }, n + 1},
		"one changed to noise": {func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(seqKey(6), bytes.Repeat([]byte{7}, 100)) }, 6},
		"the others' entry removed and the rest moved up": {func(_ *bbolt.Tx, b *bbolt.Bucket) error {
			for i := uint64(4); i < n; i++ {
				v := forge(get(b, i+1), fmt.Sprintf(`"seq":%d`, i+1), fmt.Sprintf(`"seq":%d`, i))
				if err := b.Put(seqKey(i), v); err != nil {
					return err
				}
			}
			return b.Delete(seqKey(n))
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			p := path(t)
			s, err := Open(p)
			if err != nil {
				t.Fatal(err)
			}
			g := mustClose(t, s, t0)
			if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0}); err == nil {
				t.Fatal("a closed grant was revoked")
			}
			if h, err := s.Head(); err != nil || h.Seq != n {
				t.Fatalf("Head = %v, %v, want %d entries", h, err, n)
			}
			if err := errors.Join(s.Verify(), s.Close()); err != nil {
				t.Fatal(err)
			}
			rawDB(t, p, func(db *bbolt.DB) {
				err := db.Update(func(tx *bbolt.Tx) error { return tt.change(tx, tx.Bucket(bucketAudit)) })
				if err != nil {
					t.Fatal(err)
				}
			})

			s = openAt(t, p)
			err = s.Verify()
			if broken, ok := errors.AsType[*ChainError](err); !ok || broken.Seq != tt.seq {
				t.Errorf("Verify = %v, want a break at %d", err, tt.seq)
			}
			// Access must still be opened and closed, and nothing hides the break.
			if _, err := s.Commit(Change{Event: request("later"), Now: t0}); err != nil && name != "the head cut" {
				t.Errorf("Commit after the tampering: %v", err)
			}
			if err := s.Verify(); err == nil {
				t.Error("the next entry hid the tampering")
			}
		})
	}
}

func prevOf(v []byte) string {
	var e Entry
	if err := json.Unmarshal(v[sha256.Size:], &e); err != nil {
		return err.Error()
	}
	return e.Prev
}

func TestEntries(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	for range 2*page + 3 {
		if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Approve{By: eve}, Now: t0}); err == nil {
			t.Fatal("eve approved")
		}
	}
	const total = 4 + 2*page + 3
	next := uint64(1)
	for e, err := range s.Entries(0) {
		if err != nil || e.Seq != next {
			t.Fatalf("entry %d, %v, want %d", e.Seq, err, next)
		}
		// The reader may use the store, even to write: nothing is held meanwhile.
		if e.Seq == page {
			mustCommit(t, s, Change{Grant: g.ID, Event: grant.CardPosted{}, Now: t0})
		}
		next++
	}
	if next != total+1 {
		t.Errorf("%d entries, want %d", next-1, total)
	}
	n := 0
	for e, err := range s.Entries(total - 1) {
		if err != nil || e.Seq < total-1 {
			t.Errorf("entry %d, %v", e.Seq, err)
		}
		n++
		if n == 1 {
			break
		}
	}
	for e, err := range s.Entries(total + 1) {
		t.Errorf("entry %d, %v after the end", e.Seq, err)
	}
}

// TestEntry_hashOfAnExportedLine computes the hash as an auditor would, from a
// line of the export and nothing else.
func TestEntry_hashOfAnExportedLine(t *testing.T) {
	s := newStore(t)
	ev := request("tok")
	ev.Reason = `<b>"stuck" & slow\</b> – näh`
	mustCommit(t, s, Change{Keys: []string{"env"}, Event: ev, Now: t0.Add(5 * time.Nanosecond), Ref: "R"})
	for e, err := range s.Entries(1) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := bytes.CutSuffix(line, []byte(`,"hash":"`+e.Hash+`"}`))
		if !ok {
			t.Fatalf("the line does not end with its hash: %s", line)
		}
		sum := sha256.Sum256(append(bytes.Clone(body), '}'))
		if got := hex.EncodeToString(sum[:]); got != e.Hash {
			t.Errorf("hash %s, want %s, of %s}", got, e.Hash, body)
		}
	}
}
