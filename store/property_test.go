package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"breakglass/store/grant"
)

// TestCommit_properties drives random events, deliveries and work through the
// store, beside a model that is nothing but the core and a map, and restarts the
// store on the way.
func TestCommit_properties(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		p := filepath.Join(dir, fmt.Sprint(runs, ".db"))
		s, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		s.db.NoSync = true // what is on the disk after a power cut is not this test's matter
		defer func() {
			if err := errors.Join(s.Close(), os.Remove(p)); err != nil {
				t.Fatal(err)
			}
		}()
		m := model{grants: map[grant.ID]grant.Grant{}, owed: map[owedKey]time.Time{}, keys: map[string]grant.ID{}}
		now := t0

		commit := func(t *rapid.T, id grant.ID, ev grant.Event, settles Owed) {
			var keys []string
			if rapid.IntRange(0, 2).Draw(t, "keys") == 0 {
				keys = []string{fmt.Sprint("env-", rapid.IntRange(0, 20).Draw(t, "envelope"))}
			}
			r, err := s.Commit(Change{Keys: keys, Grant: id, Event: ev, Now: now, Settles: settles, Ref: "ref"})
			m.commit(t, keys, id, ev, now, settles, r, err)
		}
		one := func(t *rapid.T) grant.ID {
			return grant.ID(rapid.IntRange(1, max(len(m.grants)+1, 1)).Draw(t, "grant"))
		}
		click := func(ev func(by grant.Actor) grant.Event) func(*rapid.T) {
			return func(t *rapid.T) {
				by := rapid.SampledFrom([]grant.Actor{alice, bob, bob, {Kind: grant.Person, User: "U0CAROL", Approver: true}, eve}).Draw(t, "by")
				commit(t, one(t), ev(by), Owed{})
			}
		}
		work := func(t *rapid.T) {
			due, next, err := s.Due(now, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(due) == 0 {
				if next.IsZero() {
					t.Skip("nothing is owed")
				}
				now = next
				if due, _, err = s.Due(now, 0, nil); err != nil || len(due) == 0 {
					t.Fatalf("Due(%v) = %v, %v", now, due, err)
				}
			}
			o := due[rapid.IntRange(0, min(len(due)-1, 3)).Draw(t, "row")]
			m.pay(t, s, o, now, commit)
		}
		n := 0
		actions := map[string]func(*rapid.T){
			"request": func(t *rapid.T) {
				if len(m.grants) >= 5 {
					t.Skip("enough")
				}
				n++
				ev := request(fmt.Sprint("tok-", n))
				ev.By.Requester = rapid.IntRange(0, 4).Draw(t, "requester") > 0
				ev.Terms.Approvals = rapid.IntRange(1, 2).Draw(t, "approvals")
				ev.Duration = rapid.SampledFrom([]time.Duration{time.Minute, 4 * time.Hour}).Draw(t, "duration")
				commit(t, 0, ev, Owed{})
			},
			"approve":      click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"approve too":  click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"deny":         click(func(by grant.Actor) grant.Event { return grant.Deny{By: by} }),
			"revoke":       click(func(by grant.Actor) grant.Event { return grant.Revoke{By: by} }),
			"work":         work,
			"more work":    work,
			"even more":    work,
			"time passes":  func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "s")) * time.Second) },
			"stray result": func(t *rapid.T) { commit(t, one(t), grant.OpenDone{Access: access(now)}, Owed{}) },
			"stale row": func(t *rapid.T) {
				if len(m.stale) == 0 {
					t.Skip("no row has been worked on")
				}
				o := rapid.SampledFrom(m.stale).Draw(t, "stale")
				if done, err := s.Settle(o); err != nil || done {
					t.Fatalf("Settle of the old row %+v = %v, %v", o, done, err)
				}
				commit(t, o.Grant, grant.CardPosted{Card: grant.Card{Channel: "C1", TS: "2"}}, o)
			},
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(p); err != nil {
					t.Fatal(err)
				}
				s.db.NoSync = true
			},
			"": func(t *rapid.T) { m.check(t, s) },
		}
		t.Repeat(actions)
		if err := s.Verify(); err != nil {
			t.Fatal(err)
		}
		actions["restart"](t)
		m.check(t, s)
		if err := s.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

type owedKey struct {
	id   grant.ID
	kind grant.EffectKind
	arg  string
}

type model struct {
	grants map[grant.ID]grant.Grant
	owed   map[owedKey]time.Time
	keys   map[string]grant.ID
	audit  int
	stale  []Owed
}

// commit does to the model what the store should have done, and compares.
func (m *model) commit(t *rapid.T, keys []string, id grant.ID, ev grant.Event, now time.Time, settles Owed, r Result, err error) {
	for _, k := range keys {
		if first, ok := m.keys[k]; ok {
			if err != nil || !r.Duplicate || r.Grant.ID != m.grants[first].ID {
				t.Fatalf("%s with the known key %s: %+v, %v", ev.Kind(), k, r, err)
			}
			return
		}
	}
	if id == 0 {
		id = grant.ID(len(m.grants) + 1)
		m.grants[id] = grant.Grant{ID: id}
	}
	g, ok := m.grants[id]
	if !ok {
		if r, ok := errors.AsType[*grant.Refusal](err); !ok || r.Code != grant.NotFound {
			t.Fatalf("%s of a grant that is not there: %v", ev.Kind(), err)
		}
		m.remember(keys, 0)
		m.audit++
		return
	}
	next, effects, want := g.Apply(ev, now)
	if (err == nil) != (want == nil) || (err != nil && err.Error() != want.Error()) {
		t.Fatalf("Commit of %s = %v, want %v", ev.Kind(), err, want)
	}
	if _, moot := errors.AsType[*grant.Moot](want); moot {
		m.settle(settles)
		return
	}
	if want != nil {
		m.audit++
		if g.Phase == grant.None {
			delete(m.grants, id)
			id = 0
		}
		m.remember(keys, id)
		return
	}
	m.remember(keys, id)
	m.settle(settles)
	m.grants[id] = next
	if r.Before != g.Phase || r.Grant.Version != next.Version {
		t.Fatalf("Commit of %s = %+v", ev.Kind(), r)
	}
	for _, e := range effects {
		k := owedKey{id, e.Kind, e.Arg}
		if delete(m.owed, k); !e.Cancel {
			m.owed[k] = e.Due
		}
	}
	if !bookkeeping(ev, g, next, effects) {
		m.audit++
	}
}

func (m *model) remember(keys []string, id grant.ID) {
	for _, k := range keys {
		m.keys[k] = id
	}
}

// settle removes a row, unless it is one of the old ones.
func (m *model) settle(o Owed) {
	if o.Seq != 0 && !slices.Contains(m.stale, o) {
		delete(m.owed, owedKey{o.Grant, o.Effect.Kind, o.Effect.Arg})
		m.stale = append(m.stale, o)
	}
}

// pay does what is owed, as the worker would.
func (m *model) pay(t *rapid.T, s *Store, o Owed, now time.Time, commit func(*rapid.T, grant.ID, grant.Event, Owed)) {
	g := m.grants[o.Grant]
	if rapid.IntRange(0, 9).Draw(t, "postpone") == 0 {
		done, err := s.Postpone(o, now.Add(time.Minute))
		if err != nil || !done {
			t.Fatalf("Postpone(%+v) = %v, %v", o, done, err)
		}
		m.owed[owedKey{o.Grant, o.Effect.Kind, o.Effect.Arg}] = now.Add(time.Minute)
		return
	}
	var ev grant.Event
	switch o.Effect.Kind {
	case grant.DoCheck:
		ev = grant.CheckDone{Report: grant.Report{At: now}}
	case grant.DoOpen:
		a := access(now)
		a.End = now.Add(g.Duration)
		ev = grant.OpenDone{Access: a}
	case grant.DoClose:
		out := rapid.SampledFrom([]grant.Outcome{{Done: true}, {Done: true}, {}}).Draw(t, "outcome")
		ev = grant.CloseRound{Round: grant.Round{Trust: grant.Outcome{Done: true}, Credentials: out, Sessions: grant.Outcome{Done: true}, CutOff: now.Add(2 * time.Minute)}}
	case grant.DoExpire:
		ev = grant.EndDue{}
	case grant.DoLapse:
		ev = grant.LapseDue{}
	case grant.DoRemind:
		ev = grant.ReminderDue{Name: o.Effect.Arg}
	case grant.DoWatch:
		look := grant.Sighting{SessionsRead: true, Read: []string{"logging"}, Drift: map[string]string{}}
		if text := rapid.SampledFrom([]string{"", "off", "elsewhere"}).Draw(t, "drift"); text != "" {
			look.Drift["logging"] = text
		}
		for _, id := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b:c", "\xff\x00d"}), 0, 3).Draw(t, "sessions") {
			look.Sessions = append(look.Sessions, grant.Session{ID: id, Started: now})
			look.Assumed = append(look.Assumed, grant.Assumed{EventID: id, At: now, By: "<\xff>"})
		}
		ev = grant.Watched{Sighting: look}
	case grant.DoCard:
		ev = grant.CardPosted{Card: grant.Card{Channel: "C1", TS: "1"}}
	default:
		done, err := s.Settle(o)
		if err != nil || !done {
			t.Fatalf("Settle(%+v) = %v, %v", o, done, err)
		}
		m.settle(o)
		return
	}
	commit(t, o.Grant, ev, o)
}

// check compares everything that the store answers with the model.
func (m *model) check(t *rapid.T, s *Store) {
	live, err := s.Live()
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.Ended("", 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(live)+len(ended) != len(m.grants) {
		t.Fatalf("%d live and %d ended grants, want %d", len(live), len(ended), len(m.grants))
	}
	for _, g := range append(live, ended...) {
		if diff := cmp.Diff(m.grants[g.ID], g, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s (-model +store):\n%s", g.ID, diff)
		}
		if g.Phase.Terminal() != slices.ContainsFunc(ended, func(e grant.Grant) bool { return e.ID == g.ID }) {
			t.Fatalf("%s is %s and in the wrong list", g.ID, g.Phase)
		}
	}
	due, _, err := s.Due(t0.AddDate(10, 0, 0), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) != len(m.owed) {
		t.Fatalf("%d rows are owed, want %d:\n%+v\n%+v", len(due), len(m.owed), due, m.owed)
	}
	ends := map[grant.ID]bool{}
	var last time.Time
	for _, o := range due {
		if want, ok := m.owed[owedKey{o.Grant, o.Effect.Kind, o.Effect.Arg}]; !ok || !want.Equal(o.Effect.Due) {
			t.Fatalf("%+v is owed, want it at %v, %v", o, want, ok)
		}
		if o.Effect.Due.Before(last) {
			t.Fatalf("%+v is out of order", o)
		}
		last = o.Effect.Due
		if o.Effect.Kind == grant.DoExpire || o.Effect.Kind == grant.DoClose {
			ends[o.Grant] = true
		}
	}
	for _, g := range live {
		if g.Live() && !ends[g.ID] {
			t.Fatalf("%s is %s and owes no end", g.ID, g.Phase)
		}
	}
	if h, err := s.Head(); err != nil || int(h.Seq) != m.audit {
		t.Fatalf("Head = %+v, %v, want %d entries", h, err, m.audit)
	}
}
