package store

import (
	"errors"
	"fmt"
	"maps"
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
		m := model{grants: map[grant.ID]grant.Grant{}, owed: map[owedKey]time.Time{}, keys: map[string]grant.ID{}, guards: map[grant.CellName]grant.Guard{}}
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
			if ids := slices.Sorted(maps.Keys(m.grants)); len(ids) > 0 && rapid.IntRange(0, 9).Draw(t, "known") > 0 {
				return rapid.SampledFrom(ids).Draw(t, "grant")
			}
			return m.last + 1
		}
		click := func(ev func(by grant.Actor) grant.Event) func(*rapid.T) {
			return func(t *rapid.T) {
				by := rapid.SampledFrom([]grant.Actor{alice, bob, bob, carol, eve}).Draw(t, "by")
				commit(t, one(t), ev(by), Owed{})
			}
		}
		work := func(t *rapid.T) {
			due, next, err := s.Due(now, 0, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(due) == 0 {
				if next.IsZero() {
					t.Skip("nothing is owed")
				}
				now = next
				if due, _, err = s.Due(now, 0, nil, nil); err != nil || len(due) == 0 {
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
				ev.By.Emergency = rapid.Bool().Draw(t, "emergency person")
				ev.Emergency = rapid.IntRange(0, 2).Draw(t, "emergency") == 0
				ev.Terms.Approvals = rapid.IntRange(1, 2).Draw(t, "approvals")
				ev.Duration = rapid.SampledFrom([]time.Duration{time.Minute, 4 * time.Hour}).Draw(t, "duration")
				ev.Cell = rapid.SampledFrom(patrolled).Draw(t, "cell")
				ev.Principal = rapid.SampledFrom([]grant.RoleARN{ev.Principal, "arn:aws:iam::111122223333:role/other"}).Draw(t, "principal")
				if x, ok := m.stray(t); ok && rapid.Bool().Draw(t, "adopts") {
					ev.Stray, ev.Takes = x.Token, x.ID
				}
				commit(t, 0, ev, Owed{})
			},
			"remove": func(t *rapid.T) {
				x, ok := m.stray(t)
				if !ok || len(m.grants) >= 8 {
					t.Skip("nothing to remove, or enough")
				}
				n++
				ev := removal(fmt.Sprint("tok-", n), x)
				ev.By = rapid.SampledFrom([]grant.Actor{bob, bob, eve}).Draw(t, "by")
				commit(t, 0, ev, Owed{})
			},
			"look": func(t *rapid.T) { m.look(t, s, rapid.SampledFrom(patrolled).Draw(t, "cell"), now, Owed{}) },
			"patrol": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "rarely") > 0 {
					t.Skip("a patrol is for the start")
				}
				m.patrol(t, s, patrolled[:rapid.IntRange(1, 2).Draw(t, "cells")], now)
			},
			"approve":     click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"approve too": click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"approve for less": func(t *rapid.T) {
				d := rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute, time.Hour, 5 * time.Hour}).Draw(t, "for")
				click(func(by grant.Actor) grant.Event { return grant.Approve{By: by, For: d} })(t)
			},
			"extend": click(func(by grant.Actor) grant.Event { return grant.Extend{By: by, For: time.Hour, Max: 12 * time.Hour} }),
			"extend well": func(t *rapid.T) {
				commit(t, one(t), grant.Extend{By: alice, For: time.Hour, Max: 12 * time.Hour}, Owed{})
			},
			"approve more": func(t *rapid.T) {
				id := one(t)
				n := m.grants[id].ExtensionsAsked
				commit(t, id, grant.ApproveExtension{By: rapid.SampledFrom([]grant.Actor{bob, carol, eve}).Draw(t, "by"), N: n}, Owed{})
			},
			"deny more": func(t *rapid.T) {
				id := one(t)
				n := m.grants[id].ExtensionsAsked - rapid.IntRange(0, 1).Draw(t, "older")
				commit(t, id, grant.DenyExtension{By: rapid.SampledFrom([]grant.Actor{bob, alice, eve}).Draw(t, "by"), N: n}, Owed{})
			},
			"sign":         click(func(by grant.Actor) grant.Event { return grant.Sign{By: by} }),
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
				if o.Grant == 0 {
					m.look(t, s, patrolled[0], now, o)
					return
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
	guards map[grant.CellName]grant.Guard
	last   grant.ID // that was given out, or seen in AWS
	tokens int      // of strays
	audit  int
	stale  []Owed
}

// patrolled are two cells with one role.
var patrolled = []grant.CellName{"helios-prod", "helios-two"}

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
		want := grant.Alone(ev, m.live())
		if want == nil {
			want = grant.TooMany(ev, slices.Collect(maps.Values(m.grants)), now)
		}
		if want != nil {
			if err == nil || err.Error() != want.Error() || r.Grant.ID != 0 {
				t.Fatalf("Commit of %s = %+v, %v, want %v", ev.Kind(), r, err, want)
			}
			m.remember(keys, 0)
			m.audit++
			return
		}
		id = m.last + 1
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
	if _, approves := ev.(grant.Approve); approves && want == nil {
		if want = grant.StillThere(g, slices.Collect(maps.Values(m.guards)), m.since(g.RequestedAt)); want != nil {
			next, effects = g, nil
		}
	}
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
	m.last = max(m.last, id)
	if r.Before != g.Phase || r.Grant.Version != next.Version {
		t.Fatalf("Commit of %s = %+v", ev.Kind(), r)
	}
	m.owe(id, effects)
	for other, effects := range grant.Bystanders(g, next, m.live(), now) {
		m.owe(other, effects)
	}
	if !bookkeeping(ev, g, next, effects) {
		m.audit++
	}
}

// owe keeps what a cell owes under the id 0.
func (m *model) owe(id grant.ID, effects []grant.Effect) {
	for _, e := range effects {
		k := owedKey{id, e.Kind, e.Arg}
		if e.Kind == grant.DoSurvey || e.Kind == grant.DoStray {
			k.id = 0
		}
		if delete(m.owed, k); !e.Cancel {
			m.owed[k] = e.Due
		}
	}
}

// since lists what has not ended, and what has since then, the newest first.
func (m *model) since(at time.Time) []grant.Grant {
	ended := slices.DeleteFunc(slices.Collect(maps.Values(m.grants)), func(g grant.Grant) bool { return !g.Phase.Terminal() || endOf(g).Before(at) })
	slices.SortFunc(ended, func(a, b grant.Grant) int {
		if c := endOf(b).Compare(endOf(a)); c != 0 {
			return c
		}
		return int(b.ID) - int(a.ID)
	})
	return append(m.live(), ended...)
}

func (m *model) live() (list []grant.Grant) {
	for _, id := range slices.Sorted(maps.Keys(m.grants)) {
		if g := m.grants[id]; g.Phase != grant.None && !g.Phase.Terminal() {
			list = append(list, g)
		}
	}
	return list
}

// stray draws one that is remembered, gone or not.
func (m *model) stray(t *rapid.T) (grant.Stray, bool) {
	var list []grant.Stray
	for _, cell := range patrolled {
		list = append(list, m.guards[cell].Strays...)
	}
	if len(list) == 0 {
		return grant.Stray{}, false
	}
	return rapid.SampledFrom(list).Draw(t, "stray"), true
}

// look draws what a cell's role trusts, and takes it in.
func (m *model) look(t *rapid.T, s *Store, cell grant.CellName, now time.Time, settles Owed) {
	see := surveyed()
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "trust") {
		x := theirs(fmt.Sprint("S", n))
		if n > 2 { // ours: of a grant that was or is, or of none that is known here
			x = ours(grant.ID(max(int(m.last)+n-4, 1)))
		}
		see.Trust = append(see.Trust, x)
	}
	if rapid.IntRange(0, 5).Draw(t, "trouble") == 0 {
		see = unseen()
	}
	token := func(n *int) func() string {
		return func() string { *n++; return fmt.Sprint("stray-", *n) }
	}
	tokens := m.tokens
	before := m.guards[cell]
	before.Cell = cell
	var others []grant.Guard
	for _, name := range patrolled {
		if g, ok := m.guards[name]; ok && name != cell {
			others = append(others, g)
		}
	}
	sure := see
	sure.Sure = len(m.grants) == 0 && before.At.IsZero()
	after, effects := before.Survey(sure, m.live(), others, token(&m.tokens), now)
	if err := s.Look(Looked{Cell: cell, Survey: see, Now: now, Settles: settles, Ref: "ref", Token: token(&tokens)}); err != nil {
		t.Fatal(err)
	}
	m.guards[cell] = after
	for _, x := range see.Trust {
		m.last = max(m.last, x.ID)
	}
	m.settle(settles)
	for _, e := range effects {
		if e.Kind == grant.DoStray {
			m.audit++
		} else if due, ok := m.owed[owedKey{0, e.Kind, e.Arg}]; ok && !due.After(e.Due) {
			continue // somebody wants one sooner
		}
		m.owe(0, []grant.Effect{e})
	}
}

func (m *model) patrol(t *rapid.T, s *Store, cells []grant.CellName, now time.Time) {
	if err := s.Patrol(cells, now); err != nil {
		t.Fatal(err)
	}
	for _, cell := range patrolled {
		e := grant.Effect{Kind: grant.DoSurvey, Arg: string(cell), Due: now, Cancel: !slices.Contains(cells, cell)}
		m.owe(0, []grant.Effect{e})
		if e.Cancel {
			delete(m.guards, cell)
		}
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
		if rapid.IntRange(0, 4).Draw(t, "replanned") == 0 {
			ev = grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another instance."}}
		}
		if rapid.IntRange(0, 4).Draw(t, "fallen") == 0 {
			// The row stays: where enough approvals are left the opening goes on.
			o = Owed{Grant: o.Grant}
			ev = grant.Unapproved{Users: []grant.UserID{rapid.SampledFrom([]grant.UserID{bob.User, carol.User}).Draw(t, "who")}}
		}
	case grant.DoClose:
		out := rapid.SampledFrom([]grant.Outcome{{Done: true}, {Done: true}, {}}).Draw(t, "outcome")
		ev = grant.CloseRound{Round: grant.Round{Trust: grant.Outcome{Done: true}, Credentials: out, Sessions: grant.Outcome{Done: true}, CutOff: now.Truncate(time.Hour).AddDate(0, 0, 2)}}
	case grant.DoExpire:
		ev = grant.EndDue{}
	case grant.DoLapse:
		ev = grant.LapseDue{}
	case grant.DoRemind:
		ev = grant.ReminderDue{Name: o.Effect.Arg, Due: o.Effect.Due}
	case grant.DoExtend:
		trouble := grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled."}
		a := access(now)
		a.End = g.Extension.Until
		late := a
		late.End = late.End.Add(time.Second)
		ev = rapid.SampledFrom([]grant.Event{
			grant.ExtendDone{Access: a},
			grant.ExtendDone{Access: a},
			grant.ExtendDone{Access: late},
			grant.ExtendDelayed{Trouble: trouble, Wait: time.Second},
			grant.ExtendFailed{Trouble: trouble},
		}).Draw(t, "extended")
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
	case grant.DoSurvey:
		m.look(t, s, grant.CellName(o.Effect.Arg), now, o)
		return
	case grant.DoStray:
		cell, token, _ := grant.ParseStrayArg(o.Effect.Arg)
		at := grant.Card{Channel: "C1", TS: fmt.Sprint(o.Seq)}
		if err := s.Posted(cell, token, at, o); err != nil {
			t.Fatal(err)
		}
		g := m.guards[cell]
		g.Cell = cell
		m.guards[cell] = g.Posted(token, at)
		m.settle(o)
		return
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
	guards, err := s.Guards()
	if err != nil {
		t.Fatal(err)
	}
	want := []grant.Guard{}
	for _, cell := range slices.Sorted(maps.Keys(m.guards)) {
		want = append(want, m.guards[cell])
	}
	if diff := cmp.Diff(want, guards, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("what is known of the cells (-model +store):\n%s", diff)
	}
	due, _, err := s.Due(t0.AddDate(10, 0, 0), 0, nil, nil)
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
