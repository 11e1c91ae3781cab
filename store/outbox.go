package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Owed is one row of the outbox: an effect that a grant owes, or one of a cell,
// and then Grant is 0. Seq is its
// identity; an effect that replaces it gets a new one, so that whoever worked
// on the older row cannot settle the newer by mistake.
type Owed struct {
	Seq     uint64
	Grant   grant.ID
	Effect  grant.Effect
	Attempt int // how often it has been postponed
}

// Due lists what is due at now, in the order of the due times; of rows due at
// the same instant closings come first, then ends. Rows for which inHand or skip
// answers true are left out (nil: none); of those in hand, told by their sequence
// number, not even the content is read. At most limit rows are listed (0: all).
// next is when the earliest row after now falls due; zero: there is none.
//
// Both run inside a transaction: they must be quick and must not use the store.
// To miss nothing, take [Store.Changed] before calling Due.
func (s *Store) Due(now time.Time, limit int, inHand func(seq uint64) bool, skip func(Owed) bool) (due []Owed, next time.Time, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOutbox).Cursor()
		// The first key after now: the instant one nanosecond later.
		after := timeKey(now.Add(1))
		for k, v := c.First(); k != nil && bytes.Compare(k, after) < 0; k, v = c.Next() {
			if len(k) == outboxLen && inHand != nil && inHand(outboxSeq(k)) {
				continue
			}
			o, err := decodeRow(k, v)
			if err != nil {
				return err
			}
			if skip != nil && skip(o) {
				continue
			}
			if due = append(due, o); limit > 0 && len(due) == limit {
				break
			}
		}
		if k, _ := c.Seek(after); k != nil {
			if len(k) != outboxLen {
				return damaged("a key of the outbox is %d bytes long", len(k))
			}
			next = keyTime(k)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read what is due: %w", err)
	}
	return due, next, nil
}

// Owes lists what a grant owes, by kind and argument.
func (s *Store) Owes(id grant.ID) (owed []Owed, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		outbox, c := tx.Bucket(bucketOutbox), tx.Bucket(bucketOwes).Cursor()
		prefix := idKey(id)
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			o, err := decodeRow(v, outbox.Get(v))
			if err != nil {
				return err
			}
			owed = append(owed, o)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s owes: %w", id, err)
	}
	return owed, nil
}

// Settle removes a row that is done and needs no event. It answers false if the
// row has been replaced, or is gone. The end of a grant that is not closed yet
// cannot be settled away.
func (s *Store) Settle(o Owed) (bool, error) {
	var done bool
	err := s.update(func(tx *bbolt.Tx) (err error) {
		if done, err = settle(tx, o); err != nil {
			return err
		}
		if !done {
			return errNothing
		}
		if o.Effect.Kind != grant.DoClose && o.Effect.Kind != grant.DoExpire {
			return nil
		}
		g, found, err := loadGrant(tx, o.Grant)
		if err != nil || !found {
			return err
		}
		return mustEnd(tx, g)
	})
	return answered(done, err, "settle", o)
}

// Postpone moves a row to a later time and counts the attempt; it stays the
// same row. It answers false if the row has been replaced, or is gone.
func (s *Store) Postpone(o Owed, due time.Time) (bool, error) {
	var done bool
	err := s.update(func(tx *bbolt.Tx) (err error) {
		var now Owed
		if now, done, err = current(tx, o); err != nil {
			return err
		}
		if !done {
			return errNothing
		}
		if err := tx.Bucket(bucketOutbox).Delete(outboxKey(now.Effect, now.Seq)); err != nil {
			return err
		}
		now.Effect.Due = due.UTC().Round(0)
		now.Attempt++
		return putRow(tx, now)
	})
	done, err = answered(done, err, "postpone", o)
	if done {
		s.signal()
	}
	return done, err
}

func answered(done bool, err error, verb string, o Owed) (bool, error) {
	switch {
	case err == nil:
		return done, nil
	case errors.Is(err, errNothing):
		return false, nil
	default:
		return false, fmt.Errorf("%s the %s that %s owes: %w", verb, o.Effect.Kind, o.Grant, err)
	}
}

// Changed answers a channel that is closed after the next commit that changed
// what is owed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// putEffects brings the outbox up to date: a newer effect replaces the older of
// the same kind and argument, a cancelled one goes.
func putEffects(tx *bbolt.Tx, id grant.ID, effects []grant.Effect) error {
	outbox, owes := tx.Bucket(bucketOutbox), tx.Bucket(bucketOwes)
	owner := id
	for _, e := range effects {
		if id = owner; e.Kind.OfCell() {
			id = 0
		}
		k := owesKey(id, e)
		if old := owes.Get(k); old != nil {
			if err := outbox.Delete(bytes.Clone(old)); err != nil {
				return err
			}
			if e.Cancel {
				if err := owes.Delete(k); err != nil {
					return err
				}
			}
		}
		if e.Cancel {
			continue
		}
		seq, err := outbox.NextSequence()
		if err != nil {
			return err
		}
		e.Due = e.Due.UTC().Round(0)
		if err := putRow(tx, Owed{Seq: seq, Grant: id, Effect: e}); err != nil {
			return err
		}
	}
	return nil
}

func putRow(tx *bbolt.Tx, o Owed) error {
	data, err := encode(row{Grant: o.Grant, Effect: o.Effect, Attempt: o.Attempt})
	if err != nil {
		return fmt.Errorf("encode the %s that %s owes: %w", o.Effect.Kind, o.Grant, err)
	}
	k := outboxKey(o.Effect, o.Seq)
	if err := tx.Bucket(bucketOutbox).Put(k, data); err != nil {
		return err
	}
	return tx.Bucket(bucketOwes).Put(owesKey(o.Grant, o.Effect), k)
}

// current answers the row as it is stored now, if it is still the same one.
func current(tx *bbolt.Tx, o Owed) (Owed, bool, error) {
	if o.Seq == 0 {
		return Owed{}, false, nil
	}
	k := bytes.Clone(tx.Bucket(bucketOwes).Get(owesKey(o.Grant, o.Effect)))
	if len(k) != outboxLen || outboxSeq(k) != o.Seq {
		return Owed{}, false, nil
	}
	now, err := decodeRow(k, tx.Bucket(bucketOutbox).Get(k))
	return now, err == nil, err
}

// settle removes the row if it is still the same one.
func settle(tx *bbolt.Tx, o Owed) (bool, error) {
	now, ok, err := current(tx, o)
	if err != nil || !ok {
		return false, err
	}
	if err := tx.Bucket(bucketOutbox).Delete(outboxKey(now.Effect, now.Seq)); err != nil {
		return false, err
	}
	return true, tx.Bucket(bucketOwes).Delete(owesKey(now.Grant, now.Effect))
}

// mustEnd holds the invariant that matters most on the disk itself: a grant
// that may have access owes its end. A transaction that would lose the end
// fails, whoever asked for it.
func mustEnd(tx *bbolt.Tx, g grant.Grant) error {
	if !g.Live() {
		return nil
	}
	owes := tx.Bucket(bucketOwes)
	for _, kind := range []grant.EffectKind{grant.DoExpire, grant.DoClose} {
		if owes.Get(owesKey(g.ID, grant.Effect{Kind: kind})) != nil {
			return nil
		}
	}
	return fmt.Errorf("%s is %s and would owe no end", g.ID, g.Phase)
}
