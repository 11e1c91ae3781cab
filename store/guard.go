package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Kinds of audit entries about a cell, and no grant.
const (
	KindStray grant.Kind = "stray" // trust was found that no grant explains, or has gone
	KindBlind grant.Kind = "blind" // a cell cannot be looked at
)

// Looked is a look at a cell's role, and everything that is committed with it.
type Looked struct {
	Cell    grant.CellName
	Survey  grant.Survey
	Now     time.Time
	Settles Owed
	Ref     string
	// Token makes the opaque id of a stray's buttons.
	Token func() string
	// Past is an id up to which none is given out, either: for a database that is
	// used beside another one.
	Past grant.ID
}

// Patrol sees to it that each of the cells owes looks at its role, from now on,
// and that no other does. What is remembered of any other cell is forgotten:
// under a new name, or beside another cell with the same role, its strays are
// found anew, and somebody must be told.
func (s *Store) Patrol(cells []grant.CellName, now time.Time) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for _, o := range owesCells(tx) {
			if o.Kind != grant.DoSurvey {
				continue
			}
			if slices.Contains(cells, grant.CellName(o.Arg)) {
				continue
			}
			if err := putEffects(tx, 0, []grant.Effect{{Kind: o.Kind, Arg: o.Arg, Cancel: true}}); err != nil {
				return err
			}
		}
		guards, err := loadGuards(tx)
		if err != nil {
			return err
		}
		for _, g := range guards {
			if slices.Contains(cells, g.Cell) {
				continue
			}
			if err := tx.Bucket(bucketGuards).Delete([]byte(g.Cell)); err != nil {
				return err
			}
		}
		for _, c := range cells {
			// What is owed from before the start may be due much later by a clock
			// that was wrong: look at once.
			if err := putEffects(tx, 0, []grant.Effect{{Kind: grant.DoSurvey, Arg: string(c), Due: now}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("owe looks at the cells: %w", err)
	}
	s.signal()
	return nil
}

// owesCells lists what is owed for cells.
func owesCells(tx *bbolt.Tx) []grant.Effect {
	var list []grant.Effect
	c := tx.Bucket(bucketOwes).Cursor()
	prefix := idKey(0)
	for k, _ := c.Seek(prefix); len(k) > len(prefix) && string(k[:len(prefix)]) == string(prefix); k, _ = c.Next() {
		kind, arg := splitOwesKey(k)
		list = append(list, grant.Effect{Kind: kind, Arg: arg})
	}
	return list
}

// farthestID is how far above the last id one that is seen in AWS is believed to
// be ours: whoever may write the trust policy cannot use the numbers up, and
// nobody has lost a database of that many grants.
const farthestID = 1_000_000

// Look takes in a look at a cell: what is remembered of it, what is owed because
// of it and an audit entry for what is told are written together or not at all.
//
// Ids that statements in AWS carry are never given to a new grant: after the loss
// of a database its statements may still stand.
func (s *Store) Look(l Looked) error {
	l.Now = l.Now.UTC().Round(0)
	var (
		after   grant.Guard
		effects []grant.Effect
	)
	err := s.update(func(tx *bbolt.Tx) error {
		live, err := loadLive(tx)
		if err != nil {
			return err
		}
		guards, err := loadGuards(tx)
		if err != nil {
			return err
		}
		before := grant.Guard{Cell: l.Cell}
		others := guards[:0:0]
		for _, g := range guards {
			if g.Cell == l.Cell {
				before = g
			} else {
				others = append(others, g)
			}
		}
		grants := tx.Bucket(bucketGrants)
		// Nothing has ever been asked for here: the database is new, or the old one
		// is lost. What stands in AWS then is not on its way in or out.
		none, _ := grants.Cursor().First()
		l.Survey.Sure = none == nil && before.At.IsZero()
		limit := grants.Sequence() + farthestID
		for _, t := range l.Survey.Trust {
			if id := uint64(t.ID); id > grants.Sequence() && id <= limit {
				if err := grants.SetSequence(id); err != nil {
					return err
				}
			}
		}
		if past := uint64(l.Past); past > grants.Sequence() {
			if err := grants.SetSequence(past); err != nil {
				return err
			}
		}
		after, effects = before.Survey(l.Survey, live, others, l.Token, l.Now)
		if _, err := settle(tx, l.Settles); err != nil {
			return err
		}
		// A look that came to be owed while this one was under way, because a grant
		// has ended, may see more: it is not put off.
		effects = slices.DeleteFunc(effects, func(e grant.Effect) bool {
			row := tx.Bucket(bucketOwes).Get(owesKey(0, e))
			return e.Kind == grant.DoSurvey && len(row) == outboxLen && !keyTime(row).After(e.Due)
		})
		if err := putGuard(tx, after); err != nil {
			return err
		}
		if err := putEffects(tx, 0, effects); err != nil {
			return err
		}
		return appendLooked(tx, l, after, effects)
	})
	if err != nil {
		return fmt.Errorf("take in the look at %s: %w", l.Cell, err)
	}
	s.signal()
	s.observer.told(after, effects)
	return nil
}

type strayDetail struct {
	Cell      grant.CellName `json:"cell"`
	RoleARN   string         `json:"role_arn"`
	Sid       string         `json:"sid,omitempty"`
	Principal string         `json:"principal"`
	End       time.Time      `json:"end,omitzero"`
	Gone      bool           `json:"gone,omitempty"`
	By        grant.ID       `json:"by,omitempty"` // the grant behind it now
}

type blindDetail struct {
	Cell grant.CellName `json:"cell"`
	Text string         `json:"text"`
}

// appendLooked logs each thing that people are told because of a look.
func appendLooked(tx *bbolt.Tx, l Looked, g grant.Guard, effects []grant.Effect) error {
	for _, e := range effects {
		if e.Kind != grant.DoStray {
			continue
		}
		_, what, _ := grant.ParseStrayArg(e.Arg)
		entry := Entry{Time: l.Now, Actor: grant.Self(), Kind: KindBlind, Ref: l.Ref}
		if x, ok := g.Stray(what); ok {
			entry.Kind = KindStray
			entry.Detail = raw(strayDetail{Cell: g.Cell, RoleARN: x.RoleARN, Sid: x.Sid, Principal: x.Principal, End: x.End, Gone: !x.Gone.IsZero(), By: x.By})
		} else if g.Blind != nil {
			entry.Detail = raw(blindDetail{Cell: g.Cell, Text: g.Blind.Text})
		}
		if err := appendEntry(tx, entry); err != nil {
			return err
		}
	}
	return nil
}

// Posted notes where a stray's message stands, and settles the row that owed it.
func (s *Store) Posted(cell grant.CellName, token string, card grant.Card, settles Owed) error {
	err := s.update(func(tx *bbolt.Tx) error {
		g, err := loadGuard(tx, cell)
		if err != nil {
			return err
		}
		if err := putGuard(tx, g.Posted(token, card)); err != nil {
			return err
		}
		_, err = settle(tx, settles)
		return err
	})
	if err != nil {
		return fmt.Errorf("note a message about %s: %w", cell, err)
	}
	return nil
}

// Guard answers what is remembered of a cell; nothing, where it was never
// looked at.
func (s *Store) Guard(cell grant.CellName) (g grant.Guard, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		g, err = loadGuard(tx, cell)
		return err
	})
	if err != nil {
		return grant.Guard{}, fmt.Errorf("read what is known of %s: %w", cell, err)
	}
	return g, nil
}

// Guards answers what is remembered of every cell, by name.
func (s *Store) Guards() (list []grant.Guard, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		list, err = loadGuards(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is known of the cells: %w", err)
	}
	return list, nil
}

// Stray answers a stray by the token that its buttons carry, or a NotFound
// refusal.
func (s *Store) Stray(token string) (grant.CellName, grant.Stray, error) {
	list, err := s.Guards()
	if err != nil {
		return "", grant.Stray{}, err
	}
	for _, g := range list {
		if x, ok := g.Stray(token); ok {
			return g.Cell, x, nil
		}
	}
	return "", grant.Stray{}, grant.Refuse(grant.NotFound, "This message is about trust that is not remembered here. Nothing changed. If it is still there, a new message comes within minutes.")
}

func loadGuard(tx *bbolt.Tx, cell grant.CellName) (grant.Guard, error) {
	data := tx.Bucket(bucketGuards).Get([]byte(cell))
	if data == nil {
		return grant.Guard{Cell: cell}, nil
	}
	return decodeGuard(cell, data)
}

func loadGuards(tx *bbolt.Tx) ([]grant.Guard, error) {
	var list []grant.Guard
	guards := tx.Bucket(bucketGuards)
	if guards == nil { // an older database, opened to be read
		return nil, nil
	}
	err := guards.ForEach(func(k, v []byte) error {
		g, err := decodeGuard(grant.CellName(k), v)
		list = append(list, g)
		return err
	})
	return list, err
}

func decodeGuard(cell grant.CellName, data []byte) (grant.Guard, error) {
	var g grant.Guard
	if err := decode(data, &g); err != nil {
		return grant.Guard{}, damaged("what is known of the cell %q cannot be read: %v", cell, err)
	}
	if g.Cell != cell {
		return grant.Guard{}, damaged("the cell %q is stored in the place of %q", g.Cell, cell)
	}
	return g, nil
}

func putGuard(tx *bbolt.Tx, g grant.Guard) error {
	if g.Cell == "" {
		return errors.New("a cell needs a name")
	}
	data, err := encode(g)
	if err != nil {
		return fmt.Errorf("encode what is known of %s: %w", g.Cell, err)
	}
	return tx.Bucket(bucketGuards).Put([]byte(g.Cell), data)
}
