package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store/grant"
)

// TestCommit_emergency: its end and its review are owed from the transaction that
// opens it, across a restart, and the review until somebody signs.
func TestCommit_emergency(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	g := mustCommit(t, s, Change{Event: urgent("tok"), Now: t0})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	for _, kind := range []grant.EffectKind{grant.DoExpire, grant.DoOpen} {
		if _, ok := owed(t, s, g.ID, kind, ""); !ok {
			t.Errorf("%s is not owed", kind)
		}
	}
	if o, ok := owed(t, s, g.ID, grant.DoRemind, grant.RemindReview); !ok || !o.Effect.Due.Equal(t0.Add(30*time.Minute)) {
		t.Errorf("the review is owed as %+v, %v", o, ok)
	}
	now := t0
	g = mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: bob}, Now: now})
	for i, r := range closingRounds(now) {
		now = now.Add(time.Duration(i) * time.Minute)
		g = mustCommit(t, s, Change{Grant: g.ID, Event: r, Now: now})
	}
	if g.Phase != grant.Closed {
		t.Fatalf("the emergency is %s", g.Phase)
	}
	for range 5 {
		o, ok := owed(t, s, g.ID, grant.DoRemind, grant.RemindReview)
		if !ok {
			t.Fatal("the review of a closed emergency is not asked for any more")
		}
		now = o.Effect.Due
		g = mustCommit(t, s, Change{Grant: g.ID, Event: grant.ReminderDue{Name: o.Effect.Arg, Due: now}, Now: now, Settles: o})
	}
	// Signed, it is still where it was: closed, once, in both lists.
	signed := mustCommit(t, s, Change{Grant: g.ID, Event: grant.Sign{By: bob}, Now: now})
	if _, ok := owed(t, s, g.ID, grant.DoRemind, grant.RemindReview); ok || signed.NeedsReview() {
		t.Error("signed, and yet the review is owed")
	}
	for _, cell := range []grant.CellName{"", g.Cell} {
		if list, err := s.Ended(cell, 10); err != nil || len(list) != 1 || list[0].Review == nil || list[0].Review.By != bob.User {
			t.Errorf("Ended(%q) = %+v, %v", cell, list, err)
		}
	}
	if live, err := s.Live(); err != nil || len(live) != 0 {
		t.Errorf("Live = %v, %v", live, err)
	}
	if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Sign{By: carol}, Now: now}); !isRefusal(err, grant.WrongPhase) {
		t.Errorf("signed twice: %v", err)
	}
}

// TestCommit_tooManyEmergencies: many presses at once of one person open as many as
// are allowed, and another person's count for themselves.
func TestCommit_tooManyEmergencies(t *testing.T) {
	s := newStore(t)
	const presses = 24
	var began, refused atomic.Int32
	var group sync.WaitGroup
	for i := range presses {
		group.Go(func() {
			ev := urgent(fmt.Sprint("tok-", i))
			if i%2 == 0 {
				ev.By.User = "U0NED"
			}
			keys := []string{fmt.Sprint("click-", i)}
			r, err := s.Commit(Change{Keys: keys, Event: ev, Now: t0})
			switch {
			case err == nil && r.Grant.Phase == grant.Opening:
				began.Add(1)
			case isRefusal(err, grant.RateLimited) && r.Grant.ID == 0:
				refused.Add(1)
				if again, err := s.Commit(Change{Keys: keys, Event: ev, Now: t0}); err != nil || !again.Duplicate || again.Grant.ID != 0 {
					t.Errorf("the refused press again: %+v, %v", again, err)
				}
			default:
				t.Errorf("%+v, %v", r.Grant, err)
			}
		})
	}
	group.Wait()
	if began.Load() != 6 || refused.Load() != presses-6 {
		t.Errorf("%d began and %d were refused", began.Load(), refused.Load())
	}
	// An ordinary request is free.
	if g := mustRequest(t, s, t0); g.ID != 7 {
		t.Errorf("the next grant is %s", g.ID)
	}
}

// TestCommit_emergenciesCannotBeBuried: however many grants end after them, the
// emergencies of the last day count, and those of the day before do not.
func TestCommit_emergenciesCannotBeBuried(t *testing.T) {
	s := newStore(t)
	s.db.NoSync = true
	end := func(g grant.Grant, now time.Time) {
		t.Helper()
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: bob}, Now: now})
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.CloseRound{Round: grant.Round{
			Trust: grant.Outcome{Done: true}, Credentials: grant.Outcome{Skipped: true}, Sessions: grant.Outcome{Skipped: true},
		}}, Now: now})
	}
	for i := range 3 {
		end(mustCommit(t, s, Change{Event: urgent(fmt.Sprint("tok-", i)), Now: t0}), t0.Add(time.Minute))
	}
	for range 300 {
		g := mustRequest(t, s, t0.Add(time.Hour))
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.Withdraw{By: alice}, Now: t0.Add(time.Hour)})
	}
	for _, ago := range []time.Duration{time.Hour, 24*time.Hour - 1} {
		if r, err := s.Commit(Change{Event: urgent("more"), Now: t0.Add(ago)}); !isRefusal(err, grant.RateLimited) || r.Grant.ID != 0 {
			t.Errorf("%v later: %+v, %v", ago, r.Grant, err)
		}
	}
	if r, err := s.Commit(Change{Event: urgent("more"), Now: t0.Add(24 * time.Hour)}); err != nil || r.Grant.Phase != grant.Opening {
		t.Errorf("a day later: %+v, %v", r.Grant, err)
	}
}

// TestCommit_extension: what is owed moves with the end, and goes when it closes.
func TestCommit_extension(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	for _, ev := range []grant.Event{grant.Extend{By: alice, For: time.Hour, Max: 12 * time.Hour}, grant.ApproveExtension{By: bob, N: 1}} {
		g = mustCommit(t, s, Change{Grant: g.ID, Event: ev, Now: t0})
	}
	end, _ := owed(t, s, g.ID, grant.DoExpire, "")
	row, ok := owed(t, s, g.ID, grant.DoExtend, "")
	if !ok || !end.Effect.Due.Equal(t0.Add(4*time.Hour)) {
		t.Fatalf("the end is owed as %+v, the extension as %+v", end, row)
	}
	a := access(t0)
	a.End = t0.Add(5 * time.Hour)
	done := mustCommit(t, s, Change{Grant: g.ID, Event: grant.ExtendDone{Access: a}, Now: t0, Settles: row})
	if end, _ = owed(t, s, g.ID, grant.DoExpire, ""); !end.Effect.Due.Equal(a.End) || !done.End.Equal(a.End) {
		t.Errorf("the end is owed at %v", end.Effect.Due)
	}
	if _, ok := owed(t, s, g.ID, grant.DoExtend, ""); ok {
		t.Error("the extension is still owed")
	}
	if done, err := s.Settle(end); err == nil {
		t.Errorf("Settle of the later end = %v, want an error", done)
	}
	for _, ev := range []grant.Event{
		grant.Extend{By: alice, For: time.Hour, Max: 12 * time.Hour}, grant.ApproveExtension{By: bob, N: 2}, grant.Revoke{By: bob},
	} {
		g = mustCommit(t, s, Change{Grant: g.ID, Event: ev, Now: t0})
	}
	if _, ok := owed(t, s, g.ID, grant.DoExtend, ""); ok || g.Phase != grant.Closing {
		t.Errorf("%s, and owes an extension: %v", g.Phase, ok)
	}
}

// TestCommit_auditOfMoreTime: what was asked for, agreed to and found, in the
// order in which it happened.
func TestCommit_auditOfMoreTime(t *testing.T) {
	s := newStore(t)
	ask := urgent("tok-1")
	ask.Terms.Approvals = 2
	g := mustCommit(t, s, Change{Event: ask, Now: t0})
	later := access(t0)
	later.End, later.TrustBefore, later.TrustAfter = t0.Add(5*time.Hour), "bb", "cc"
	wrong := later
	wrong.End = t0.Add(9 * time.Hour)
	throttled := grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled.", Cause: errors.New("secret")}
	hour := func(by grant.Actor) grant.Extend { return grant.Extend{By: by, For: time.Hour, Max: 12 * time.Hour} }
	for _, ev := range []grant.Event{
		grant.OpenDone{Access: access(t0)},
		hour(alice),
		grant.DenyExtension{By: alice, N: 1},
		hour(alice),
		grant.ApproveExtension{By: bob, N: 2},
		grant.ApproveExtension{By: carol, N: 2},
		grant.ExtendDelayed{Trouble: throttled, Wait: time.Minute},
		grant.ExtendDone{Access: later},
		grant.Sign{By: bob},
		hour(alice),
		grant.ApproveExtension{By: bob, N: 3},
		grant.ApproveExtension{By: carol, N: 3},
		grant.ExtendFailed{Trouble: throttled},
		hour(alice),
		grant.ApproveExtension{By: bob, N: 4},
		grant.ApproveExtension{By: carol, N: 4},
		grant.ExtendDone{Access: wrong},
	} {
		g = mustCommit(t, s, Change{Grant: g.ID, Event: ev, Now: t0})
	}
	if g.Phase != grant.Closing {
		t.Errorf("an end that nobody approved, and it is %s", g.Phase)
	}
	if _, err := s.Commit(Change{Grant: g.ID, Event: hour(eve), Now: t0}); !isRefusal(err, grant.NotAllowed) {
		t.Errorf("eve extends: %v", err)
	}
	less := mustCommit(t, s, Change{Event: func() grant.Request { r := request("tok-2"); r.Terms.Approvals = 2; return r }(), Now: t0})
	for _, ev := range []grant.Event{
		grant.Approve{By: bob, For: time.Hour},
		grant.Approve{By: carol, For: 2 * time.Hour},
		grant.Unapproved{Users: []grant.UserID{bob.User}},
		grant.Approve{By: bob},
	} {
		less = mustCommit(t, s, Change{Grant: less.ID, Event: ev, Now: t0})
	}
	const statement = `"statement":"{\"Sid\":\"BreakglassBG1\"}"`
	var got []string
	for _, e := range entries(t, s) {
		if e.Kind != grant.KindRequest && e.Kind != grant.KindOpenDone {
			got = append(got, fmt.Sprint(e.Kind, " ", e.Before, ">", e.After, " ", e.Actor.User, " ", strings.ReplaceAll(string(e.Detail), statement, "…")))
		}
	}
	const until = `"until":"2026-11-23T14:00:00Z"`
	want := []string{
		`extend open>open U0ALICE {"n":1,"for":"1h0m0s"}`,
		`deny_extension open>open U0ALICE {"n":1}`,
		`extend open>open U0ALICE {"n":2,"for":"1h0m0s"}`,
		`approve_extension open>open U0BOB {"n":2,"for":"1h0m0s","approvals":1,"needed":2}`,
		`approve_extension open>open U0CAROL {"n":2,"for":"1h0m0s","approvals":2,"needed":2,` + until + `}`,
		`extend_delayed open>open  {"kind":"again","step":"trust","text":"Throttled.","wait":"1m0s"}`,
		`extend_done open>open  {"from":"2026-11-23T13:00:00Z",` + until + `,…,"trust_before":"bb","trust_after":"cc"}`,
		`sign_review open>open U0BOB `,
		`extend open>open U0ALICE {"n":3,"for":"1h0m0s"}`,
		`approve_extension open>open U0BOB {"n":3,"for":"1h0m0s","approvals":1,"needed":2}`,
		`approve_extension open>open U0CAROL {"n":3,"for":"1h0m0s","approvals":2,"needed":2,"until":"2026-11-23T15:00:00Z"}`,
		`extend_failed open>open  {"kind":"again","step":"trust","text":"Throttled."}`,
		`extend open>open U0ALICE {"n":4,"for":"1h0m0s"}`,
		`approve_extension open>open U0BOB {"n":4,"for":"1h0m0s","approvals":1,"needed":2}`,
		`approve_extension open>open U0CAROL {"n":4,"for":"1h0m0s","approvals":2,"needed":2,"until":"2026-11-23T15:00:00Z"}`,
		`extend_done open>closing  {"from":"2026-11-23T14:00:00Z","until":"2026-11-23T18:00:00Z",…,"trust_before":"bb","trust_after":"cc"}`,
		`refused closing>closing U0EVE {"event":"extend","code":"not_allowed"}`,
		`approve requested>requested U0BOB {"principal":"` + support + `","duration":"1h0m0s","for":"1h0m0s","approvals":1,"needed":2}`,
		`approve requested>opening U0CAROL {"principal":"` + support + `","duration":"1h0m0s","for":"2h0m0s","approvals":2,"needed":2}`,
		`unapproved opening>requested  {"users":["U0BOB"]}`,
		`approve requested>opening U0BOB {"principal":"` + support + `","duration":"1h0m0s","approvals":2,"needed":2}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if first := entries(t, s)[0]; !strings.HasSuffix(string(first.Detail), `"emergency":true}`) || first.Before != grant.None || first.After != grant.Opening {
		t.Errorf("the emergency's entry is %+v, %s", first, first.Detail)
	}
	// Nothing about a reminder of a review that says nothing.
	n := len(entries(t, s))
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.ReminderDue{Name: grant.RemindReview}, Now: t0})
	if list := entries(t, s); len(list) != n {
		t.Errorf("a reminder that says nothing has an entry: %+v", list[n:])
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

// TestStore_keepsExtensionsAndEmergencies: everything that is new in a grant
// survives the disk.
func TestStore_keepsExtensionsAndEmergencies(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	later := access(t0)
	later.End = t0.Add(5 * time.Hour)
	signed := mustCommit(t, s, Change{Event: urgent("tok-1"), Now: t0})
	for _, ev := range []grant.Event{
		grant.OpenDone{Access: access(t0)},
		grant.ReminderDue{Name: grant.RemindReview},
		grant.Sign{By: bob},
		grant.Extend{By: alice, For: time.Hour},
		grant.ApproveExtension{By: bob, N: 1},
		grant.ExtendDone{Access: later},
		grant.Extend{By: alice, For: time.Hour},
		grant.ApproveExtension{By: bob, N: 2},
		grant.ExtendDelayed{Trouble: grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled."}},
	} {
		signed = mustCommit(t, s, Change{Grant: signed.ID, Event: ev, Now: t0.Add(time.Nanosecond)})
	}
	less := mustRequest(t, s, t0)
	less = mustCommit(t, s, Change{Grant: less.ID, Event: grant.Approve{By: bob, For: time.Hour}, Now: t0})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	for _, want := range []grant.Grant{signed, less} {
		got, err := s.Grant(want.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", want.ID, err, diff)
		}
	}
	if signed.Review == nil || signed.Reviews != 1 || len(signed.Extensions) != 1 || signed.Extension.Tries != 1 || less.Asked != 4*time.Hour {
		t.Errorf("not everything was tried: %+v, %+v", signed, less)
	}
	if !slices.ContainsFunc(signed.Story, func(m grant.Moment) bool { return strings.HasPrefix(m.Text, "extended access until ") }) {
		t.Errorf("the story is %+v", signed.Story)
	}
}
