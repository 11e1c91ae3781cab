package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Store is one open database. It is safe for concurrent use.
type Store struct {
	db   *bbolt.DB
	file *os.File

	// bbolt's own write lock stays taken for ever if ending a transaction panics;
	// so nobody waits for that one but whoever holds this one.
	writing sync.Mutex
	wedged  bool

	observer Observer

	mu           sync.Mutex
	changed      chan struct{}
	failing      error // why the last write did not reach the disk; nil: it did
	failingSince time.Time
}

// ErrWedged says that a write could not be undone, so that no more are tried: only
// another process can do anything with the database.
var ErrWedged = damaged("a write could not be undone, so no more are tried. Stop, and restore a backup")

// Change is one event and everything that is committed with it.
type Change struct {
	// Keys are the dedupe keys of the delivery: the envelope's id, the click's
	// identity. If any of them is known, nothing happens. Empty ones are left out.
	Keys []string
	// Grant is what the event happens to; 0: a new grant, and Event must be a
	// [grant.Request] or a [grant.Remove].
	Grant grant.ID
	Event grant.Event
	Now   time.Time
	// Settles is the outbox row that this event settles; zero: none. If the row
	// has been replaced or is gone, the event is applied all the same and the
	// newer row stays.
	Settles Owed
	// Ref is the reference that people were shown, for the log and the audit.
	Ref string
}

// Result is what a [Change] led to.
type Result struct {
	// Grant is the grant afterwards. For a duplicate it is the grant that the
	// first delivery touched, as it is now (zero if there was none).
	Grant     grant.Grant
	Before    grant.Phase
	Duplicate bool
}

// errNothing rolls a transaction back that has nothing to write.
var errNothing = errors.New("nothing to write")

// Commit applies one event in one transaction: the dedupe keys, the grant, what
// is owed because of it, the indexes and one audit entry are written together
// or not at all, and are on disk when Commit returns.
//
// A *[grant.Refusal] is returned as it is, with the grant unchanged; the keys
// and an audit entry are still written. A *[grant.Moot] settles the row and
// writes nothing else. After any other error nothing has been written, and
// nothing may be acknowledged.
//
// What an event says was changed in AWS gets audit entries of its own, ahead of the
// event's and whatever the grant makes of it: it has happened.
func (s *Store) Commit(c Change) (Result, error) {
	if c.Event == nil || begins(c.Event) != (c.Grant == 0) {
		return Result{}, fmt.Errorf("commit: a request or a removal, and nothing else, begins a new grant: got %T for grant %d", c.Event, c.Grant)
	}
	// A monotonic reading does not survive the disk; drop it before it is kept.
	c.Now = c.Now.UTC().Round(0)

	var (
		res    Result
		answer error // a refusal or a moot event: an answer, not a failure
		owes   bool
	)
	err := s.update(func(tx *bbolt.Tx) error {
		first, known, err := seenBefore(tx, c.Keys)
		if err != nil {
			return err
		}
		if known {
			res.Duplicate = true
			if first != 0 {
				if res.Grant, _, err = loadGrant(tx, first); err != nil {
					return err
				}
			}
			res.Before = res.Grant.Phase
			return errNothing
		}

		g, next, effects, err := decide(tx, c)
		res.Grant, res.Before = next, g.Phase
		if _, ok := errors.AsType[*grant.Moot](err); ok {
			answer = err
			done, err := settle(tx, c.Settles)
			if err == nil && !done && len(grant.Writes(c.Event)) == 0 {
				return errNothing
			}
			if err != nil {
				return err
			}
			return appendWrites(tx, c)
		}
		refusal, refused := errors.AsType[*grant.Refusal](err)
		if err != nil && !refused {
			return err
		}
		if err := remember(tx, c.Keys, next.ID, c.Now, begins(c.Event) && !refused); err != nil {
			return err
		}
		if _, err := settle(tx, c.Settles); err != nil {
			return err
		}
		if err := appendWrites(tx, c); err != nil {
			return err
		}
		if refused {
			answer = err
			return appendEntry(tx, refusedEntry(c, g, refusal))
		}

		if err := putGrant(tx, g, next); err != nil {
			return err
		}
		if err := putEffects(tx, next.ID, effects); err != nil {
			return err
		}
		owes = len(effects) > 0
		if err := owedToOthers(tx, g, next, c.Now); err != nil {
			return err
		}
		if err := mustEnd(tx, next); err != nil {
			return err
		}
		if bookkeeping(c.Event, g, next, effects) {
			return nil
		}
		return appendEntry(tx, entry(c, g, next))
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Result{}, fmt.Errorf("commit %s: %w", c.Event.Kind(), err)
	}
	if owes {
		s.signal()
	}
	s.observer.moved(res.Before, res.Grant)
	return res, answer
}

func begins(ev grant.Event) bool {
	switch ev.(type) {
	case grant.Request, grant.Remove:
		return true
	default:
		return false
	}
}

// owedToOthers has the other grants on the role owe what the change of this one
// means to them.
func owedToOthers(tx *bbolt.Tx, before, after grant.Grant, now time.Time) error {
	role, concerns := grant.ConcernsOthers(before, after)
	if !concerns {
		return nil
	}
	open, err := loadOpen(tx, role)
	if err != nil {
		return err
	}
	for id, effects := range grant.Bystanders(before, after, open, now) {
		if err := putEffects(tx, id, effects); err != nil {
			return err
		}
	}
	return nil
}

// decide loads the grant and asks the core. On a refusal or an error next is
// the grant as it was.
func decide(tx *bbolt.Tx, c Change) (g, next grant.Grant, effects []grant.Effect, err error) {
	id := c.Grant
	if id == 0 {
		if err := mayBegin(tx, c); err != nil {
			return g, g, nil, err
		}
		id = grant.ID(tx.Bucket(bucketGrants).Sequence() + 1)
		next, effects, err = grant.Grant{ID: id}.Apply(c.Event, c.Now)
		if err != nil {
			return grant.Grant{}, grant.Grant{}, nil, err
		}
		return grant.Grant{ID: id}, next, effects, nil
	}
	g, found, err := loadGrant(tx, id)
	if err != nil {
		return g, g, nil, err
	}
	if !found {
		return g, g, nil, notFound(id)
	}
	if next, effects, err = g.Apply(c.Event, c.Now); err != nil {
		return g, next, effects, err
	}
	if err := mayOpen(tx, c.Event, g); err != nil {
		return g, g, nil, err
	}
	return g, next, effects, nil
}

// mayOpen holds an approval against what has become of the stray that the grant
// would adopt.
func mayOpen(tx *bbolt.Tx, ev grant.Event, g grant.Grant) error {
	if _, ok := ev.(grant.Approve); !ok || g.Stray == "" {
		return nil
	}
	guards, err := loadGuards(tx)
	if err != nil {
		return err
	}
	live, err := loadLive(tx)
	if err != nil {
		return err
	}
	ended, err := loadEndedSince(tx, g.RequestedAt)
	if err != nil {
		return err
	}
	return grant.StillThere(g, guards, append(live, ended...))
}

// mayBegin holds what is new against what is there already.
func mayBegin(tx *bbolt.Tx, c Change) error {
	r, asks := c.Event.(grant.Request)
	if asks && !r.Emergency {
		undecided, err := loadUndecided(tx, r.By.User)
		if err != nil {
			return err
		}
		if err := grant.TooManyUndecided(r, undecided); err != nil {
			return err
		}
	}
	if !r.Emergency && !grant.AnswersStray(c.Event) {
		return nil // spares most requests the reading
	}
	live, err := loadLive(tx)
	if err != nil {
		return err
	}
	if err := grant.Alone(c.Event, live); err != nil || !r.Emergency {
		return err
	}
	ended, err := loadEndedSince(tx, c.Now.Add(-grant.EmergencyWindow))
	if err != nil {
		return err
	}
	return grant.TooMany(c.Event, append(live, ended...), c.Now)
}

func notFound(id grant.ID) *grant.Refusal {
	return grant.Refuse(grant.NotFound, "There is no grant %s here. Nothing changed. `/breakglass status` lists what is open or waiting.", id)
}

// putGrant writes the grant and keeps the indexes in step with its phase.
func putGrant(tx *bbolt.Tx, before, g grant.Grant) error {
	data, err := encodeGrant(g)
	if err != nil {
		return err
	}
	grants, live, key := tx.Bucket(bucketGrants), tx.Bucket(bucketLive), idKey(g.ID)
	if before.Phase == grant.None {
		if err := putToken(tx, g); err != nil {
			return err
		}
		if err := grants.SetSequence(uint64(g.ID)); err != nil {
			return err
		}
	}
	if err := grants.Put(key, data); err != nil {
		return err
	}
	if before.Phase == g.Phase {
		return nil
	}
	if !g.Phase.Terminal() {
		return live.Put(key, liveValue(g))
	}
	if err := live.Delete(key); err != nil {
		return err
	}
	ended := tx.Bucket(bucketEnded)
	for _, cell := range []grant.CellName{"", g.Cell} {
		if err := ended.Put(endedKey(cell, endOf(g), g.ID), []byte(g.Phase)); err != nil {
			return err
		}
	}
	return nil
}

func putToken(tx *bbolt.Tx, g grant.Grant) error {
	tokens := tx.Bucket(bucketTokens)
	switch {
	case g.Token == "":
		return errors.New("a request needs a token")
	case tokens.Get([]byte(g.Token)) != nil:
		return errors.New("the request's token belongs to another grant already")
	default:
		return tokens.Put([]byte(g.Token), idKey(g.ID))
	}
}

// endOf is when a grant ended, whichever way.
func endOf(g grant.Grant) time.Time {
	if g.Phase == grant.Closed {
		return g.ClosedAt
	}
	return g.DecidedAt
}

// Dedupe keys are kept for a day: Slack redelivers for about an hour, and a
// person's stale click is refused by the grant's phase anyway. Nothing but its keys
// stands against the delivery of a request that is played back, so those are kept for
// as long as the grant. Every commit prunes a few, so that no commit ever pays for a
// backlog.
const (
	keepKeys   = 24 * time.Hour
	pruneMost  = 8
	longestKey = 512
)

// seenBefore looks the dedupe keys up, and answers the grant that the first
// delivery touched.
func seenBefore(tx *bbolt.Tx, keys []string) (grant.ID, bool, error) {
	seen := tx.Bucket(bucketSeen)
	for _, k := range keys {
		if k == "" {
			continue
		}
		v := seen.Get([]byte(k))
		if v == nil {
			continue
		}
		if len(v) != timeLen+8 {
			return 0, false, damaged("the record of the delivery %q is %d bytes long", k, len(v))
		}
		return grant.ID(binary.BigEndian.Uint64(v[timeLen:])), true, nil
	}
	return 0, false, nil
}

func remember(tx *bbolt.Tx, keys []string, id grant.ID, now time.Time, forGood bool) error {
	seen, seenAt := tx.Bucket(bucketSeen), tx.Bucket(bucketSeenAt)
	c := seenAt.Cursor()
	limit := string(timeKey(now.Add(-keepKeys)))
	for range pruneMost {
		k, _ := c.First()
		if len(k) < timeLen || string(k[:timeLen]) >= limit {
			break
		}
		if err := seen.Delete(k[timeLen:]); err != nil {
			return err
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k == "" {
			continue
		}
		if len(k) > longestKey {
			return fmt.Errorf("a dedupe key of %d bytes is longer than any delivery's", len(k))
		}
		at := timeKey(now)
		if err := seen.Put([]byte(k), append(at, idKey(id)...)); err != nil {
			return err
		}
		if forGood {
			continue
		}
		if err := seenAt.Put(append(timeKey(now), k...), nil); err != nil {
			return err
		}
	}
	return nil
}

// Backup writes a consistent copy of the live database, itself a database that
// [Open] accepts. Commits go on meanwhile.
func (s *Store) Backup(w io.Writer) error {
	return s.view(func(tx *bbolt.Tx) error {
		if _, err := tx.WriteTo(w); err != nil {
			return fmt.Errorf("back up the database: %w", err)
		}
		return nil
	})
}

// Close waits for the transactions in hand and lets the file go.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.wedged {
		// bbolt's own Close would wait for ever. The file stays locked until the
		// process ends.
		return errors.Join(ErrWedged, s.file.Close())
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// view and update are the only ways to a transaction. bbolt panics, or faults
// on its memory map, when it meets a page that makes no sense; here that
// becomes an error, so that one bad page does not take down the whole bot with
// the closings that it can still do.
func (s *Store) view(fn func(tx *bbolt.Tx) error) (err error) {
	defer guard(&err)()
	return s.db.View(fn)
}

func (s *Store) update(fn func(tx *bbolt.Tx) error) (err error) {
	began, tried := time.Now(), true
	defer func() {
		if tried {
			s.noteWrite(began, err)
		}
	}()
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.wedged {
		return ErrWedged
	}
	defer guard(&err)()
	ended := false
	defer func() { s.wedged = !ended }()
	tx, err := s.db.Begin(true)
	if err != nil {
		ended = true
		return err
	}
	defer func() {
		_ = tx.Rollback() // after a commit there is nothing to roll back
		ended = true
	}()
	if err := fn(tx); err != nil {
		tried = false // nothing was to be written, which says nothing about the disk
		return err
	}
	return tx.Commit()
}

// guard turns a panic of what follows, or a fault on the memory map, into an
// error that is [ErrDamaged]. Use it as defer guard(&err)().
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = damaged("%v", r)
		}
	}
}
