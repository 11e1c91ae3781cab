package store

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Observer hears what the store takes in, to count it. Its functions are called
// after the transaction, by whoever wrote: they must be quick, and safe for
// concurrent use. One that is nil is not called.
type Observer struct {
	// Wrote hears of every write that reached the disk, or should have: how long
	// it took, the wait for other writers included, and why it failed. What is
	// refused before anything is written is none.
	Wrote func(took time.Duration, err error)
	// Moved hears of every grant that has changed its phase.
	Moved func(from grant.Phase, g grant.Grant)
	// Told hears of every message that is owed because of a look at a cell: of
	// [KindStray] or [KindBlind].
	Told func(cell grant.CellName, kind grant.Kind)
}

func (o Observer) wrote(took time.Duration, err error) {
	if o.Wrote != nil {
		o.Wrote(took, err)
	}
}

func (o Observer) moved(from grant.Phase, g grant.Grant) {
	if o.Moved != nil && from != g.Phase {
		o.Moved(from, g)
	}
}

// told tells what is new in a look; that something has gone, or has an explanation
// now, is no finding.
func (o Observer) told(g grant.Guard, effects []grant.Effect) {
	if o.Told == nil {
		return
	}
	for _, e := range effects {
		if e.Kind != grant.DoStray {
			continue
		}
		_, what, _ := grant.ParseStrayArg(e.Arg)
		switch x, ok := g.Stray(what); {
		case ok && x.Gone.IsZero() && x.By == 0:
			o.Told(g.Cell, KindStray)
		case !ok && g.Blind != nil:
			o.Told(g.Cell, KindBlind)
		}
	}
}

// Writable answers nil while the store takes in what it is given: it fails from
// the first write that did not reach the disk until the next that does.
func (s *Store) Writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == nil {
		return nil
	}
	return fmt.Errorf("the database has taken nothing in since %s: %w", s.failingSince.UTC().Format(time.RFC3339), s.failing)
}

// noteWrite remembers how a write has ended.
func (s *Store) noteWrite(began time.Time, err error) {
	s.mu.Lock()
	switch {
	case err == nil:
		s.failing, s.failingSince = nil, time.Time{}
	case s.failing == nil:
		s.failing, s.failingSince = err, time.Now()
	default:
		s.failing = err
	}
	s.mu.Unlock()
	s.observer.wrote(time.Since(began), err)
}

// Figures are what can be said of the store at one moment without reading any
// grant, however many have ended.
type Figures struct {
	// Live counts the grants that have not ended, by phase.
	Live map[grant.Phase]int
	// Owed is what is owed, by kind; one of which nothing is owed is not there.
	Owed map[grant.EffectKind]Backlog
	// Entries is how many entries the audit log has.
	Entries uint64
	// Bytes is the size of the database, the part that is free again included.
	Bytes int64
}

// Backlog is what is owed of one kind.
type Backlog struct {
	Owed   int       // all of it
	Due    int       // the part that is due, also while it is being worked on
	Oldest time.Time // when the first of that fell due; zero: nothing is due
}

// Figures counts what there is at now.
func (s *Store) Figures(now time.Time) (Figures, error) {
	f := Figures{Live: map[grant.Phase]int{}, Owed: map[grant.EffectKind]Backlog{}}
	err := s.view(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketLive).ForEach(func(_, v []byte) error {
			phase, _, _ := bytes.Cut(v, []byte{0})
			f.Live[grant.Phase(phase)]++
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(bucketOwes).ForEach(func(k, v []byte) error {
			if len(k) <= 8 || len(v) != outboxLen {
				return damaged("what is owed has a key of %d bytes and a place of %d", len(k), len(v))
			}
			kind, _ := splitOwesKey(k)
			b := f.Owed[kind]
			b.Owed++
			if due := keyTime(v); !due.After(now) {
				b.Due++
				if b.Oldest.IsZero() || due.Before(b.Oldest) {
					b.Oldest = due
				}
			}
			f.Owed[kind] = b
			return nil
		})
		if err != nil {
			return err
		}
		f.Bytes = tx.Size()
		h, err := head(tx)
		f.Entries = h.Seq
		return err
	})
	if err != nil {
		return Figures{}, fmt.Errorf("count what is stored: %w", err)
	}
	return f, nil
}
