package store

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// fill puts n grants that have ended, and live ones that are open, into the
// database, in large transactions: as years of use would, but at once.
func fill(tb testing.TB, s *Store, n, live int) {
	tb.Helper()
	sample := sampleGrants(tb)
	at := t0.Add(-time.Duration(n) * time.Minute)
	const perTx = 5000
	for from := 1; from <= n+live; from += perTx {
		err := s.db.Update(func(tx *bbolt.Tx) error {
			tx.Bucket(bucketGrants).FillPercent = 0.9
			for i := from; i < from+perTx && i <= n+live; i++ {
				g := sample.closed
				if i > n {
					g = sample.open
				}
				g.ID, g.Token = grant.ID(i), fmt.Sprintf("filled-%d", i)
				g.ClosedAt = at.Add(time.Duration(i) * time.Minute)
				if err := putGrant(tx, grant.Grant{}, g); err != nil {
					return err
				}
				if i > n {
					err := putEffects(tx, g.ID, []grant.Effect{
						{Kind: grant.DoExpire, Due: t0.Add(time.Hour)},
						{Kind: grant.DoRemind, Arg: grant.RemindStillOpen, Due: t0.Add(time.Minute)},
					})
					if err != nil {
						return err
					}
				}
				if err := appendEntry(tx, Entry{Time: t0, Actor: grant.Self(), Kind: grant.KindCloseRound, Grant: g.ID}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func sampleGrants(tb testing.TB) (s struct{ open, closed grant.Grant }) {
	tb.Helper()
	st := newStore(tb)
	s.open = mustOpen(tb, st, t0)
	s.closed = mustClose(tb, st, t0)
	return s
}

// BenchmarkCommit is one click: the dedupe keys, the grant, what it owes and an
// audit entry, in a store that holds twenty open grants and a day's deliveries.
// It reports how many times a bare bbolt put of as many bytes, on the same disk
// and in between, it takes.
func BenchmarkCommit(b *testing.B) {
	bare, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bare.Close() }()
	if err := bare.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("b"))
		return err
	}); err != nil {
		b.Fatal(err)
	}

	s := newStore(b)
	for range 20 {
		mustOpen(b, s, t0)
	}
	now, clicks := t0, 0
	change := func(id grant.ID, ev grant.Event) Change {
		now = now.Add(time.Minute)
		clicks++
		return Change{
			Keys:  []string{fmt.Sprintf("%x-envelope", sha256.Sum256(seqKey(uint64(clicks)))), fmt.Sprintf("click-%d", clicks)},
			Grant: id, Event: ev, Now: now, Ref: "ref",
		}
	}
	before := size(b, s)
	g := mustCommit(b, s, change(0, request("sized")))
	value := make([]byte, size(b, s)-before)

	var own, their []time.Duration
	click := func(id grant.ID, ev grant.Event) grant.ID {
		c := change(id, ev)
		start := time.Now()
		r, err := s.Commit(c)
		own = append(own, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		err = bare.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("b")).Put(seqKey(uint64(clicks)), value)
		})
		their = append(their, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		return r.Grant.ID
	}
	mustCommit(b, s, change(g.ID, grant.Withdraw{By: alice}))
	for b.Loop() {
		id := click(0, request(fmt.Sprintf("bench-%d", clicks)))
		click(id, grant.Approve{By: bob})
		click(id, grant.Revoke{By: alice})
		for _, r := range closingRounds(now) {
			now = now.Add(time.Minute)
			mustCommit(b, s, Change{Grant: id, Event: r, Now: now})
		}
		// The messages that the worker would have posted by now.
		owed, err := s.Owes(id)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range owed {
			if _, err := s.Settle(o); err != nil {
				b.Fatal(err)
			}
		}
	}
	slices.Sort(own)
	slices.Sort(their)
	us := func(list []time.Duration, percent int) float64 {
		return float64(list[len(list)*percent/100].Nanoseconds()) / 1000
	}
	b.ReportMetric(us(own, 50), "µs-p50")
	b.ReportMetric(us(own, 99), "µs-p99")
	b.ReportMetric(us(their, 50), "µs-bare-p50")
	b.ReportMetric(us(own, 50)/us(their, 50), "x-bare")
	b.ReportMetric(float64(len(value)), "bytes")
}

// size adds up all keys and values.
func size(tb testing.TB, s *Store) (n int) {
	tb.Helper()
	err := s.view(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				n += len(k) + len(v)
				return nil
			})
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func sizes(b *testing.B, run func(b *testing.B, s *Store)) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStore(b)
			fill(b, s, n, 20)
			b.ReportAllocs()
			run(b, s)
		})
	}
}

// BenchmarkDue asks for what is due among 20 live grants and n ended ones.
func BenchmarkDue(b *testing.B) {
	sizes(b, func(b *testing.B, s *Store) {
		for b.Loop() {
			due, next, err := s.Due(t0.Add(10*time.Minute), 0, nil, nil)
			if err != nil || len(due) != 20 || next.IsZero() {
				b.Fatal(len(due), next, err)
			}
		}
	})
}

// BenchmarkLive reads 20 live grants among n ended ones.
func BenchmarkLive(b *testing.B) {
	sizes(b, func(b *testing.B, s *Store) {
		for b.Loop() {
			live, err := s.Live()
			if err != nil || len(live) != 20 {
				b.Fatal(len(live), err)
			}
		}
	})
}

// BenchmarkGrant reads one grant among n.
func BenchmarkGrant(b *testing.B) {
	sizes(b, func(b *testing.B, s *Store) {
		for b.Loop() {
			if _, err := s.Grant(500); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEnded reads the last ten grants among n.
func BenchmarkEnded(b *testing.B) {
	sizes(b, func(b *testing.B, s *Store) {
		for b.Loop() {
			ended, err := s.Ended("helios-prod", 10)
			if err != nil || len(ended) != 10 {
				b.Fatal(len(ended), err)
			}
		}
	})
}

// BenchmarkOpen is the start on a database of n grants.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := path(b)
			s, err := Open(p)
			if err != nil {
				b.Fatal(err)
			}
			fill(b, s, n, 20)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := Open(p)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
