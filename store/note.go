package store

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// appendWrites puts what an event changed in AWS into the audit log, a call each.
func appendWrites(tx *bbolt.Tx, c Change) error {
	for _, w := range grant.Writes(c.Event) {
		err := appendEntry(tx, Entry{
			Time: c.Now, Actor: c.Event.Actor(), Kind: KindWrite, Grant: c.Grant, Ref: c.Ref, Detail: raw(w),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Attempt is what somebody wanted and was refused before a grant came into it.
type Attempt struct {
	Keys  []string // dedupe keys of the delivery, as in [Change]
	Actor grant.Actor
	What  string   // the command or the button
	Grant grant.ID // 0: none
	Code  grant.Code
	Now   time.Time
	Ref   string
}

// Refused puts into the audit log that somebody was refused. Of a delivery that is
// known already nothing is written.
func (s *Store) Refused(a Attempt) error {
	err := s.update(func(tx *bbolt.Tx) error {
		if _, known, err := seenBefore(tx, a.Keys); err != nil {
			return err
		} else if known {
			return errNothing
		}
		if err := remember(tx, a.Keys, a.Grant, a.Now.UTC().Round(0), false); err != nil {
			return err
		}
		e := Entry{
			Time: a.Now.UTC().Round(0), Actor: a.Actor, Kind: KindRefused, Grant: a.Grant, Ref: a.Ref,
			Envelope: envelope(Change{Keys: a.Keys}), Detail: raw(refusedDetail{Event: grant.Kind(a.What), Code: a.Code}),
		}
		if a.Grant != 0 {
			g, found, err := loadGrant(tx, a.Grant)
			if err != nil {
				return err
			}
			if found {
				e.Before, e.After = g.Phase, g.Phase
			}
		}
		return appendEntry(tx, e)
	})
	if err != nil && !errors.Is(err, errNothing) {
		return fmt.Errorf("note that somebody was refused: %w", err)
	}
	return nil
}

// Said settles a message that was posted, and puts it into the audit log. Where the
// row was settled before the message was posted (a reminder), only the latter.
func (s *Store) Said(o Owed, at grant.Card, now time.Time) error {
	err := s.update(func(tx *bbolt.Tx) error {
		if _, err := settle(tx, o); err != nil {
			return err
		}
		return appendEntry(tx, Entry{
			Time: now.UTC().Round(0), Actor: grant.Self(), Kind: KindSaid, Grant: o.Grant,
			Detail: raw(saidDetail{Message: o.Effect.Arg, Channel: at.Channel, TS: at.TS}),
		})
	})
	if err != nil {
		return fmt.Errorf("note that %s was told: %w", o.Effect.Arg, err)
	}
	return nil
}

type saidDetail struct {
	Message string          `json:"message"` // card, or what was said
	Channel grant.ChannelID `json:"channel"`
	TS      string          `json:"ts"`
}
