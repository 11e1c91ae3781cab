package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// TestCommit_tooManyUndecided: ten requests of one person may wait at a time; those
// of others, emergencies and removals do not count, and a decision makes room.
func TestCommit_tooManyUndecided(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ask := func(by grant.Actor) error {
		n++
		ev := request(fmt.Sprint("tok-", n))
		ev.By = by
		_, err := s.Commit(Change{Event: ev, Now: t0})
		return err
	}
	gus := grant.Actor{Kind: grant.Person, User: "U0GUS", Requester: true}
	for range 10 {
		if err := errors.Join(ask(alice), ask(gus)); err != nil {
			t.Fatal(err)
		}
	}
	full := func(when string) {
		t.Helper()
		err := ask(alice)
		if !isRefusal(err, grant.RateLimited) || !strings.Contains(err.Error(), "BG-1, BG-3, BG-5") {
			t.Errorf("%s, the eleventh of alice: %v", when, err)
		}
	}
	full("at first")
	if live, err := s.Live(); err != nil || len(live) != 20 {
		t.Errorf("there are %d grants, want 20 (%v)", len(live), err)
	}
	other := urgent("tok-urgent")
	if _, err := s.Commit(Change{Event: other, Now: t0}); err != nil {
		t.Errorf("an emergency: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// In a database of an older program the index does not say whose they are.
	rawDB(t, p, func(db *bbolt.DB) {
		err := db.Update(func(tx *bbolt.Tx) error {
			live := tx.Bucket(bucketLive)
			for id := range uint64(20) {
				if err := live.Put(idKey(grant.ID(id+1)), []byte("requested\x00")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	s = openAt(t, p)
	full("in an older database")
	mustCommit(t, s, Change{Grant: 3, Event: grant.Withdraw{By: alice}, Now: t0})
	mustCommit(t, s, Change{Grant: 5, Event: grant.Approve{By: bob}, Now: t0})
	for range 2 {
		if err := ask(alice); err != nil {
			t.Errorf("after two were decided: %v", err)
		}
	}
	if err := ask(alice); !isRefusal(err, grant.RateLimited) {
		t.Errorf("ten again: %v", err)
	}
}

// TestCommit_adoptsWhatHasGone: an adoption that nobody has decided opens nothing
// once its stray was removed, or has gone by itself; denying it still works.
func TestCommit_adoptsWhatHasGone(t *testing.T) {
	for name, gone := range map[string]func(s *Store, x grant.Stray) string{
		"being removed": func(s *Store, x grant.Stray) string {
			mustCommit(t, s, Change{Event: removal("tok-r", x), Now: t0})
			return "@U0BOB had it removed, as BG-5"
		},
		"removed, and not looked at since": func(s *Store, x grant.Stray) string {
			g := mustCommit(t, s, Change{Event: removal("tok-r", x), Now: t0})
			now := t0
			for _, r := range closingRounds(now) {
				now = now.Add(time.Minute)
				g = mustCommit(t, s, Change{Grant: g.ID, Event: r, Now: now})
			}
			if g.Phase != grant.Closed {
				t.Fatalf("the removal is %s", g.Phase)
			}
			return "@U0BOB had it removed, as BG-5"
		},
		"gone": func(s *Store, x grant.Stray) string {
			mustLook(t, s, prod, surveyed(), t0.Add(2*time.Minute))
			return "it has gone from"
		},
		"forgotten": func(s *Store, x grant.Stray) string {
			if err := s.Patrol([]grant.CellName{"another"}, t0); err != nil {
				t.Fatal(err)
			}
			return "it is not remembered"
		},
	} {
		s := newStore(t)
		x := mustStray(t, s, prod, ours(3))
		ev := request("tok-a")
		ev.Stray, ev.Takes = x.Token, x.ID
		g := mustCommit(t, s, Change{Event: ev, Now: t0})
		says := gone(s, x)
		if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Approve{By: eve}, Now: t0}); !isRefusal(err, grant.NotAllowed) {
			t.Errorf("%s: eve approves: %v", name, err)
		}
		r, err := s.Commit(Change{Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0.Add(10 * time.Minute)})
		if !isRefusal(err, grant.WrongPhase) || !strings.Contains(err.Error(), says) || r.Grant.Phase != grant.Requested || len(r.Grant.Approvals) != 0 {
			t.Errorf("%s: bob approves: %s, %v", name, r.Grant.Phase, err)
		}
		if _, ok := owed(t, s, g.ID, grant.DoOpen, ""); ok {
			t.Errorf("%s: an opening is owed", name)
		}
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.Deny{By: bob}, Now: t0.Add(10 * time.Minute)})
	}
	// As long as it is there, it can be adopted.
	s := newStore(t)
	x := mustStray(t, s, prod, ours(3))
	ev := request("tok-a")
	ev.Stray, ev.Takes = x.Token, x.ID
	g := mustCommit(t, s, Change{Event: ev, Now: t0})
	if g = mustCommit(t, s, Change{Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0}); g.Phase != grant.Opening {
		t.Errorf("an adoption that is approved is %s", g.Phase)
	}
}
