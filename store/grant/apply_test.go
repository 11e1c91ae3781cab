package grant_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store/grant"
)

// TestApply_refusals is what people read when something cannot be done: what is
// true now, and what to do next.
func TestApply_refusals(t *testing.T) {
	at := func(p grant.Phase) grant.Grant { return inPhase(t, p) }
	self := alice
	self.Approver = true
	two, _ := must(t, requested(t, 2), grant.Approve{By: bob}, t0)
	sent, _ := must(t, at(grant.Open), grant.MarkSent{By: alice}, t0)
	stranger := request(1)
	stranger.By = eve
	nobody := request(1)
	nobody.By.User = ""
	machine := request(1)
	machine.By.Kind = grant.Operator
	moved, _ := must(t, at(grant.Requested), redirected("/old/<!channel>\u202egroup"), t0)
	faceless := dave
	faceless.User = ""
	unnamed := bob
	unnamed.User = ""
	masked := grant.Actor{Kind: grant.Operator, Name: "root", Approver: true, Requester: true, Emergency: true}
	question, both := asked(t, 1), asked(t, 2)
	once := must1(t, both, grant.ApproveExtension{By: bob, N: 1})
	denied := must1(t, question, grant.DenyExtension{By: bob, N: 1})
	second := must1(t, denied, grant.Extend{By: gus, For: time.Hour})
	asker := gus
	asker.Approver = true
	notUrgent, urgentOperator, urgentNobody := urgent(), urgent(), urgent()
	notUrgent.By = alice
	urgentOperator.By = masked
	urgentNobody.By.User = ""
	miaSigns := mia
	miaSigns.Approver = true
	signed := must1(t, emergency(t, grant.Open), grant.Sign{By: bob})
	end := t0.Add(4 * time.Hour)

	var b strings.Builder
	for _, tt := range []struct {
		name  string
		grant grant.Grant
		event grant.Event
		now   time.Time
		code  grant.Code
	}{
		{"request by a stranger", at(grant.None), stranger, t0, grant.NotAllowed},
		{"request by nobody in particular", at(grant.None), nobody, t0, grant.NotAllowed},
		{"request by an operator", at(grant.None), machine, t0, grant.NotAllowed},
		{"approve by a stranger", at(grant.Requested), grant.Approve{By: eve}, t0, grant.NotAllowed},
		{"approve by a revoker", at(grant.Requested), grant.Approve{By: dave}, t0, grant.NotAllowed},
		{"approve by an operator", at(grant.Requested), grant.Approve{By: operator}, t0, grant.NotAllowed},
		{"approve one's own", at(grant.Requested), grant.Approve{By: self}, t0, grant.OwnRequest},
		{"approve twice", two, grant.Approve{By: bob}, t0, grant.AlreadyApproved},
		{"approve when it has lapsed, but the clock has not said so", at(grant.Requested), grant.Approve{By: bob}, t0.Add(time.Hour), grant.WrongPhase},
		{"approve when opening", at(grant.Opening), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when open", at(grant.Open), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when closing", at(grant.Closing), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when closed", at(grant.Closed), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when denied", at(grant.Denied), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when withdrawn", at(grant.Withdrawn), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when lapsed", at(grant.Lapsed), grant.Approve{By: carol}, t0, grant.WrongPhase},
		{"approve when closed, by a stranger", at(grant.Closed), grant.Approve{By: eve}, t0, grant.NotAllowed},
		{"approve one's own when open", at(grant.Open), grant.Approve{By: self}, t0, grant.OwnRequest},
		{"deny by a stranger", at(grant.Requested), grant.Deny{By: eve}, t0, grant.NotAllowed},
		{"deny by the requester", at(grant.Requested), grant.Deny{By: alice}, t0, grant.NotAllowed},
		{"deny when open", at(grant.Open), grant.Deny{By: bob}, t0, grant.WrongPhase},
		{"withdraw by an approver", at(grant.Requested), grant.Withdraw{By: bob}, t0, grant.NotAllowed},
		{"withdraw when open", at(grant.Open), grant.Withdraw{By: alice}, t0, grant.WrongPhase},
		{"revoke by a stranger", at(grant.Open), grant.Revoke{By: eve}, t0, grant.NotAllowed},
		{"revoke when closing", at(grant.Closing), grant.Revoke{By: bob}, t0, grant.WrongPhase},
		{"revoke when closed", at(grant.Closed), grant.Revoke{By: dave}, t0, grant.WrongPhase},
		{"revoke when denied", at(grant.Denied), grant.Revoke{By: operator}, t0, grant.WrongPhase},
		{"mark as sent by a stranger", at(grant.Open), grant.MarkSent{By: eve}, t0, grant.NotAllowed},
		{"mark as sent before it is open", at(grant.Requested), grant.MarkSent{By: alice}, t0, grant.WrongPhase},
		{"mark as sent twice", sent, grant.MarkSent{By: bob}, t0, grant.WrongPhase},
		{"mark as sent when closed", at(grant.Closed), grant.MarkSent{By: alice}, t0, grant.WrongPhase},
		{"approve without the yes to a redirection", moved, grant.Approve{By: bob}, t0, grant.AskFirst},
		{"approve with the yes to another redirection", moved, grant.Approve{By: bob, Yes: yesTo("/another")}, t0, grant.AskFirst},
		{"approve one's own, with the yes", moved, grant.Approve{By: self, Yes: moved.Report.Redirect.Yes()}, t0, grant.OwnRequest},
		{"remove trust as a stranger", at(grant.None), removal(eve), t0, grant.NotAllowed},
		{"remove trust as a mere requester", at(grant.None), removal(alice), t0, grant.NotAllowed},
		{"remove trust as nobody in particular", at(grant.None), removal(faceless), t0, grant.NotAllowed},
		{"remove trust as the bot itself", at(grant.None), removal(grant.Self()), t0, grant.NotAllowed},
		{"remove what is a grant", at(grant.Open), removal(dave), t0, grant.WrongPhase},
		{"request what is there", at(grant.Open), request(1), t0, grant.WrongPhase},

		{"approve as nobody in particular", at(grant.Requested), grant.Approve{By: unnamed}, t0, grant.NotAllowed},
		{"approve for more than was asked for", at(grant.Requested), grant.Approve{By: bob, For: 4*time.Hour + 1}, t0, grant.TooLong},
		{"approve for more than was asked for, after less was approved", must1(t, requested(t, 2), grant.Approve{By: bob, For: time.Hour}), grant.Approve{By: carol, For: 5 * time.Hour}, t0, grant.TooLong},
		{"approve for less than a second", at(grant.Requested), grant.Approve{By: bob, For: time.Second - 1}, t0, grant.BadRequest},
		{"approve for less than nothing", at(grant.Requested), grant.Approve{By: bob, For: -time.Hour}, t0, grant.BadRequest},
		{"approve one's own for less", at(grant.Requested), grant.Approve{By: self, For: time.Hour}, t0, grant.OwnRequest},

		{"extend as a stranger", at(grant.Open), grant.Extend{By: eve, For: time.Hour}, t0, grant.NotAllowed},
		{"extend as a mere approver", at(grant.Open), grant.Extend{By: bob, For: time.Hour}, t0, grant.NotAllowed},
		{"extend as an operator", at(grant.Open), grant.Extend{By: masked, For: time.Hour}, t0, grant.NotAllowed},
		{"extend as nobody in particular", at(grant.Open), grant.Extend{By: grant.Actor{Kind: grant.Person, Requester: true}, For: time.Hour}, t0, grant.NotAllowed},
		{"extend before it is open", at(grant.Opening), grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend what is requested", at(grant.Requested), grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend when closing", at(grant.Closing), grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend when closed", at(grant.Closed), grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend when closed, as a stranger", at(grant.Closed), grant.Extend{By: eve, For: time.Hour}, t0, grant.NotAllowed},
		{"extend when its time is up, but the clock has not said so", at(grant.Open), grant.Extend{By: alice, For: time.Hour}, end, grant.WrongPhase},
		{"extend while more time is asked for", question, grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend while it is being extended", extending(t), grant.Extend{By: alice, For: time.Hour}, t0, grant.WrongPhase},
		{"extend by nothing", at(grant.Open), grant.Extend{By: alice}, t0, grant.BadRequest},
		{"extend by less than nothing", at(grant.Open), grant.Extend{By: alice, For: -time.Hour, Max: 12 * time.Hour}, t0, grant.BadRequest},
		{"extend by less than a second", at(grant.Open), grant.Extend{By: alice, For: time.Second - 1}, t0, grant.BadRequest},
		{"extend by too much", at(grant.Open), grant.Extend{By: alice, For: 8*time.Hour + 1, Max: 12 * time.Hour}, t0, grant.TooLong},
		{"extend by so much that the time overflows", at(grant.Open), grant.Extend{By: alice, For: 2562047 * time.Hour, Max: 12 * time.Hour}, t0, grant.TooLong},

		{"approve an extension as a stranger", question, grant.ApproveExtension{By: eve, N: 1}, t0, grant.NotAllowed},
		{"approve an extension as a revoker", question, grant.ApproveExtension{By: dave, N: 1}, t0, grant.NotAllowed},
		{"approve an extension as an operator", question, grant.ApproveExtension{By: masked, N: 1}, t0, grant.NotAllowed},
		{"approve an extension as nobody in particular", question, grant.ApproveExtension{By: unnamed, N: 1}, t0, grant.NotAllowed},
		{"approve the extension of one's own request", question, grant.ApproveExtension{By: self, N: 1}, t0, grant.OwnRequest},
		{"approve the extension that one has asked for", question, grant.ApproveExtension{By: asker, N: 1}, t0, grant.OwnRequest},
		{"approve an extension twice", once, grant.ApproveExtension{By: bob, N: 1}, t0, grant.AlreadyApproved},
		{"approve an extension that is denied", denied, grant.ApproveExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"approve an older extension", second, grant.ApproveExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"approve an extension that is still to come", question, grant.ApproveExtension{By: carol, N: 2}, t0, grant.WrongPhase},
		{"approve an extension without a number", question, grant.ApproveExtension{By: carol}, t0, grant.WrongPhase},
		{"approve an extension that nobody has asked for", at(grant.Open), grant.ApproveExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"approve an extension that is being written", extending(t), grant.ApproveExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"approve an extension when the time is up, but the clock has not said so", question, grant.ApproveExtension{By: carol, N: 1}, end, grant.WrongPhase},
		{"approve an extension when closing", must1(t, question, grant.Revoke{By: bob}), grant.ApproveExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"deny an extension as a stranger", question, grant.DenyExtension{By: eve, N: 1}, t0, grant.NotAllowed},
		{"deny an extension as the requester who has not asked for it", question, grant.DenyExtension{By: alice, N: 1}, t0, grant.NotAllowed},
		{"deny an extension as an operator", question, grant.DenyExtension{By: masked, N: 1}, t0, grant.NotAllowed},
		{"deny an extension twice", denied, grant.DenyExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"deny an older extension", second, grant.DenyExtension{By: gus, N: 1}, t0, grant.WrongPhase},
		{"deny an extension that is being written", extending(t), grant.DenyExtension{By: carol, N: 1}, t0, grant.WrongPhase},
		{"take back an extension that is being written", extending(t), grant.DenyExtension{By: gus, N: 1}, t0, grant.WrongPhase},

		{"an emergency of somebody who may only request", at(grant.None), notUrgent, t0, grant.NotAllowed},
		{"an emergency of an operator", at(grant.None), urgentOperator, t0, grant.NotAllowed},
		{"an emergency of nobody in particular", at(grant.None), urgentNobody, t0, grant.NotAllowed},
		{"sign as a stranger", emergency(t, grant.Open), grant.Sign{By: eve}, t0, grant.NotAllowed},
		{"sign as an emergency person", emergency(t, grant.Open), grant.Sign{By: grant.Actor{Kind: grant.Person, User: "U0NED", Emergency: true}}, t0, grant.NotAllowed},
		{"sign as an operator", emergency(t, grant.Open), grant.Sign{By: masked}, t0, grant.NotAllowed},
		{"sign as nobody in particular", emergency(t, grant.Open), grant.Sign{By: unnamed}, t0, grant.NotAllowed},
		{"sign one's own", emergency(t, grant.Open), grant.Sign{By: miaSigns}, t0, grant.OwnRequest},
		{"sign one's own when closed", emergency(t, grant.Closed), grant.Sign{By: miaSigns}, t0, grant.OwnRequest},
		{"sign twice", signed, grant.Sign{By: carol}, t0, grant.WrongPhase},
		{"sign what was no emergency", at(grant.Closed), grant.Sign{By: carol}, t0, grant.WrongPhase},
		{"sign what was put to the approvers", emergency(t, grant.Requested), grant.Sign{By: carol}, t0, grant.WrongPhase},
		{"sign what was never opened", emergency(t, grant.Denied), grant.Sign{By: carol}, t0, grant.WrongPhase},
	} {
		next, effects, err := tt.grant.Apply(tt.event, tt.now)
		r := refusal(t, err)
		if r.Code != tt.code {
			t.Errorf("%s: code %s, want %s", tt.name, r.Code, tt.code)
		}
		if diff := cmp.Diff(tt.grant, next); diff != "" || effects != nil {
			t.Errorf("%s: a refusal changed the grant, or owes %v:\n%s", tt.name, effects, diff)
		}
		if !strings.Contains(r.Text, "Nothing changed") && !strings.Contains(r.Text, "Nothing was requested") && !strings.Contains(r.Text, "Nothing is approved yet") && !strings.Contains(r.Text, "Nothing was opened") {
			t.Errorf("%s: %q does not say that nothing changed", tt.name, r.Text)
		}
		if strings.Contains(r.Text, "%!") || !strings.HasSuffix(r.Text, ".") {
			t.Errorf("%s: %q is no sentence", tt.name, r.Text)
		}
		fmt.Fprintf(&b, "%s\n    %s: %s\n", tt.name, r.Code, r.Text)
	}
	golden(t, "refusals.golden", b.String())
}

// TestApply_whatTheTableLacksIsRefused tries every event in every phase: what is
// not in the table is refused for people and moot for the bot, and what is in
// it leads nowhere else.
func TestApply_whatTheTableLacksIsRefused(t *testing.T) {
	all := alice
	all.Approver, all.Revoker = true, true
	events := []grant.Event{
		request(1),
		grant.Approve{By: bob},
		grant.Deny{By: bob},
		grant.Withdraw{By: all},
		grant.Revoke{By: all},
		grant.MarkSent{By: all},
		removal(dave),
		grant.Extend{By: all, For: time.Hour},
		grant.ApproveExtension{By: bob, N: 1},
		grant.DenyExtension{By: bob, N: 1},
		grant.Sign{By: bob},
		grant.CheckDone{},
		grant.StepChanged{Step: grant.StepCheck, State: grant.Done},
		grant.OpenDelayed{},
		grant.OpenFailed{},
		grant.Replanned{},
		grant.Unapproved{Users: []grant.UserID{"U0BOB"}},
		access(t0.Add(time.Hour)),
		grant.CloseRound{Round: skipped()},
		grant.LapseDue{},
		grant.EndDue{},
		grant.ReminderDue{Name: "x"},
		grant.Watched{},
		grant.CardPosted{Card: grant.Card{Channel: "C1", TS: "1"}},
		grant.ExtendDone{},
		grant.ExtendDelayed{},
		grant.ExtendFailed{},
	}
	// In the right phase these want something else, too: a question, an emergency.
	wantMore := []grant.Kind{grant.KindApproveExtension, grant.KindDenyExtension, grant.KindSign}
	if len(events) != len(grant.Kinds) {
		t.Fatalf("%d events for %d kinds", len(events), len(grant.Kinds))
	}
	for i, ev := range events {
		if ev.Kind() != grant.Kinds[i] {
			t.Fatalf("event %d is %s, want %s as in the table", i, ev.Kind(), grant.Kinds[i])
		}
	}
	table := strings.Split(strings.TrimSuffix(grant.Table(), "\n"), "\n")[1:]
	for i, ev := range events {
		cells := strings.Split(table[i], " | ")
		for j, p := range grant.Phases {
			g := inPhase(t, p)
			next, effects, err := g.Apply(ev, t0.Add(time.Minute))
			if strings.TrimSpace(cells[j+1]) == "·" {
				_, moot := errors.AsType[*grant.Moot](err)
				_, refused := errors.AsType[*grant.Refusal](err)
				if bot := ev.Actor().Kind == grant.Bot; bot != moot || bot == refused {
					t.Errorf("%s in %q: %v", ev.Kind(), p, err)
				}
				if diff := cmp.Diff(g, next); diff != "" || effects != nil {
					t.Errorf("%s in %q changed the grant, or owes %v:\n%s", ev.Kind(), p, effects, diff)
				}
				continue
			}
			if slices.Contains(wantMore, ev.Kind()) && err != nil {
				if r := refusal(t, err); r.Code != grant.WrongPhase {
					t.Errorf("%s in %q: %v", ev.Kind(), p, err)
				}
			} else if err != nil {
				t.Errorf("%s in %q: %v", ev.Kind(), p, err)
			} else if next.Version != g.Version+1 && p != grant.None {
				t.Errorf("%s in %q: version %d after %d", ev.Kind(), p, next.Version, g.Version)
			}
		}
	}
}

// TestApply_leavesItsReceiverAlone runs a whole life and wants every grant on
// the way to be what it was when it was new.
func TestApply_leavesItsReceiverAlone(t *testing.T) {
	life := []grant.Event{
		request(2),
		grant.CheckDone{Report: grant.Report{Findings: []grant.Finding{{Check: "role"}}}},
		grant.Approve{By: bob},
		grant.Approve{By: carol},
		grant.StepChanged{Step: grant.StepCheck, State: grant.Running},
		grant.StepChanged{Step: grant.StepCheck, State: grant.Done},
		grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another instance."}},
		grant.Approve{By: carol},
		redirected("a"),
		grant.Approve{By: bob, Yes: yesTo("a")},
		redirected("b"),
		grant.CheckDone{},
		grant.Approve{By: carol},
		grant.Approve{By: bob},
		grant.Unapproved{Users: []grant.UserID{"U0BOB"}},
		grant.Approve{By: bob, For: time.Hour},
		grant.Unapproved{Users: []grant.UserID{"U0CAROL", "U0BOB"}},
		grant.Approve{By: carol},
		grant.Approve{By: bob, For: 3 * time.Hour},
		grant.Unapproved{Users: []grant.UserID{"U0EVE"}},
		grant.OpenDelayed{Trouble: grant.Trouble{Step: grant.StepLogging, Text: "throttled"}, Wait: time.Second},
		grant.StepChanged{Step: grant.StepTrust, State: grant.Running},
		access(t0.Add(3 * time.Hour)),
		grant.MarkSent{By: alice},
		grant.Extend{By: gus, For: time.Hour},
		grant.ApproveExtension{By: bob, N: 1},
		grant.DenyExtension{By: gus, N: 1},
		grant.Extend{By: gus, For: time.Hour},
		grant.ApproveExtension{By: carol, N: 2},
		grant.ApproveExtension{By: bob, N: 2},
		grant.ExtendDelayed{Trouble: grant.Trouble{Step: grant.StepTrust, Text: "throttled"}},
		grant.ExtendFailed{Trouble: grant.Trouble{Step: grant.StepTrust, Text: "gone"}},
		grant.Extend{By: gus, For: time.Hour},
		grant.ApproveExtension{By: carol, N: 3},
		grant.ApproveExtension{By: bob, N: 3},
		grant.ExtendDone{Access: grant.Access{End: t0.Add(4 * time.Hour)}},
		grant.Extend{By: gus, For: time.Hour},
		watched(func(s *grant.Sighting) {
			s.Sessions, s.Drift = []grant.Session{{ID: "s1"}}, map[string]string{"statement": "It is gone."}
			s.Assumed = []grant.Assumed{{EventID: "e1"}}
		}),
		watched(func(s *grant.Sighting) {
			s.Sessions, s.NeverLogged = []grant.Session{{ID: "s2"}}, []string{"s2"}
			s.Assumed = []grant.Assumed{{EventID: "e2"}}
		}),
		watched(func(s *grant.Sighting) { s.Sessions = []grant.Session{{ID: "s1"}} }),
		grant.Revoke{By: dave, Why: "done"},
		round(func(r *grant.Round) { r.Removed, r.Ended = []string{"a"}, []grant.Session{{ID: "s1"}} }),
		round(func(r *grant.Round) { r.Removed, r.Ended = []string{"b"}, []grant.Session{{ID: "s2"}} }),
		round(nil),
	}
	g := grant.Grant{ID: 7}
	var grants []grant.Grant
	var prints []string
	print := func(g grant.Grant) string {
		return fmt.Sprintf("%+v %+v %+v %+v %+v", g, g.Ending, g.Report, g.Watch, g.Extension)
	}
	for _, ev := range life {
		next, _ := must(t, g, ev, t0)
		grants, prints = append(grants, g), append(prints, print(g))
		g = next
	}
	for i := range grants {
		if got := print(grants[i]); got != prints[i] {
			t.Errorf("%s changed the grant before it:\n%s\n%s", life[i].Kind(), prints[i], got)
		}
	}
}

func TestApply_approval(t *testing.T) {
	g := requested(t, 2)
	g, effects := must(t, g, grant.Approve{By: bob}, t0.Add(time.Minute))
	if g.Phase != grant.Requested || g.Missing() != 1 || len(effects) != 1 {
		t.Errorf("after one of two approvals: %s, %d missing, owes %v", g.Phase, g.Missing(), effects)
	}
	now := t0.Add(time.Hour - 1)
	g, effects = must(t, g, grant.Approve{By: carol}, now)
	if g.Phase != grant.Opening || !g.DecidedAt.Equal(now) {
		t.Errorf("after two approvals: %s, decided at %v", g.Phase, g.DecidedAt)
	}
	if e, ok := find(effects, grant.DoExpire, ""); !ok || !e.Due.Equal(now.Add(grant.OpeningLimit)) {
		t.Errorf("the approval owes the end %+v, %v", e, ok)
	}
	for _, what := range []struct {
		kind grant.EffectKind
		arg  string
	}{{grant.DoLapse, ""}, {grant.DoRemind, grant.RemindUndecided}, {grant.DoCheck, ""}} {
		if e, ok := find(effects, what.kind, what.arg); !ok || !e.Cancel {
			t.Errorf("the approval leaves %s %s owed", what.kind, what.arg)
		}
	}
}

func TestApply_openDone(t *testing.T) {
	g := inPhase(t, grant.Opening)
	g.Terms.Reminders.BeforeEnd = append(g.Terms.Reminders.BeforeEnd, 5*time.Hour, 0)
	now := t0.Add(time.Minute)
	end := t0.Add(4 * time.Hour)
	open, effects := must(t, g, access(end), now)
	if open.Phase != grant.Open || !open.End.Equal(end) || !open.OpenedAt.Equal(now) || !open.Touched {
		t.Errorf("opened: %+v", open)
	}
	for _, s := range open.Opening {
		if s.State != grant.Done {
			t.Errorf("the step %s is %s", s.Name, s.State)
		}
	}
	var reminders []string
	for _, e := range effects {
		if e.Kind == grant.DoRemind {
			reminders = append(reminders, fmt.Sprint(e.Arg, " ", e.Due.Sub(t0)))
		}
	}
	want := []string{"before_end:30m0s 3h30m0s", "before_end:10m0s 3h50m0s", "still_open 2h1m0s", "unused 31m0s", "unsent 16m0s"}
	if diff := cmp.Diff(want, reminders); diff != "" {
		t.Errorf("reminders (-want +got):\n%s", diff)
	}
	if e, _ := find(effects, grant.DoExpire, ""); !e.Due.Equal(end) {
		t.Errorf("the end is owed at %v", e.Due)
	}
	// The end, too, is in UTC.
	if local, _ := must(t, g, access(end.In(time.FixedZone("x", 3600))), now); local.End.Location() != time.UTC {
		t.Errorf("the end is in %v", local.End.Location())
	}
}

// TestApply_openDoneWithAWrongEnd: an end that nobody approved, none, or one
// that is past, leads to closing and never to open.
func TestApply_openDoneWithAWrongEnd(t *testing.T) {
	now := t0.Add(time.Minute)
	for name, end := range map[string]time.Time{
		"none": {}, "a second too late": now.Add(4*time.Hour + time.Second), "past": now, "long past": t0.Add(-time.Hour),
	} {
		g, effects := must(t, inPhase(t, grant.Opening), access(end), now)
		if g.Phase != grant.Closing || g.OpenError == nil || !g.Touched || !g.End.IsZero() {
			t.Errorf("%s: %s, error %v", name, g.Phase, g.OpenError)
		}
		if _, ok := find(effects, grant.DoClose, ""); !ok {
			t.Errorf("%s: no closing is owed", name)
		}
		if _, ok := find(effects, grant.DoSay, grant.SayOpened); ok {
			t.Errorf("%s: people are told that it is open", name)
		}
	}
}

func TestApply_openingThatFails(t *testing.T) {
	g := inPhase(t, grant.Opening)
	cause := errors.New("secret request id")
	g, effects := must(t, g, grant.OpenDelayed{Trouble: grant.Trouble{Kind: grant.Again, Step: grant.StepLogging, Text: "AWS is throttling.", Cause: cause}, Wait: 4 * time.Second}, t0)
	if e, _ := find(effects, grant.DoOpen, ""); !e.Due.Equal(t0.Add(4*time.Second)) || g.OpenTries != 1 || g.Phase != grant.Opening {
		t.Errorf("after a delay: %+v, %d tries", e, g.OpenTries)
	}
	if g.OpenError.Cause != nil {
		t.Error("the cause of a trouble was kept")
	}
	early, effects := must(t, g, grant.EndDue{}, t0.Add(grant.OpeningLimit-1))
	if e, _ := find(effects, grant.DoExpire, ""); early.Phase != grant.Opening || !e.Due.Equal(t0.Add(grant.OpeningLimit)) {
		t.Errorf("the clock came early: %s, owes %+v", early.Phase, e)
	}
	late, effects := must(t, g, grant.EndDue{}, t0.Add(grant.OpeningLimit))
	if _, ok := find(effects, grant.DoSay, grant.SayFailed); !ok || late.Phase != grant.Closing {
		t.Errorf("after the limit: %s, owes %v", late.Phase, effects)
	}
	failed, effects := must(t, g, grant.OpenFailed{Trouble: grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "No such role.", Cause: cause}}, t0)
	if e, ok := find(effects, grant.DoOpen, ""); failed.Phase != grant.Closing || !ok || !e.Cancel || failed.OpenError.Cause != nil {
		t.Errorf("after a failure: %s, owes %v", failed.Phase, effects)
	}
}

func TestApply_end(t *testing.T) {
	g := inPhase(t, grant.Open)
	early, effects := must(t, g, grant.EndDue{}, g.End.Add(-1))
	if e, _ := find(effects, grant.DoExpire, ""); early.Phase != grant.Open || !e.Due.Equal(g.End) {
		t.Errorf("the clock came early: %s, owes %+v", early.Phase, e)
	}
	g, effects = must(t, g, grant.EndDue{}, g.End)
	if e, ok := find(effects, grant.DoClose, ""); g.Phase != grant.Closing || !ok || !e.Due.Equal(g.End) {
		t.Errorf("at the end: %s, owes %v", g.Phase, effects)
	}
}

func TestApply_revokeOfARequestWithdrawsIt(t *testing.T) {
	for _, by := range []grant.Actor{alice, bob, dave, operator} {
		g, _ := must(t, requested(t, 1), grant.Revoke{By: by}, t0)
		if g.Phase != grant.Withdrawn || g.DecidedBy.User != by.User || g.DecidedBy.Approver {
			t.Errorf("revoked by %v: %s by %+v", by, g.Phase, g.DecidedBy)
		}
	}
}

func TestApply_lapse(t *testing.T) {
	g := requested(t, 1)
	early, effects := must(t, g, grant.LapseDue{}, t0.Add(time.Hour-1))
	if e, _ := find(effects, grant.DoLapse, ""); early.Phase != grant.Requested || !e.Due.Equal(t0.Add(time.Hour)) {
		t.Errorf("the clock came early: %s, owes %+v", early.Phase, e)
	}
	forever := request(1)
	forever.Terms.Undecided = 0
	g, effects = must(t, grant.Grant{ID: 7}, forever, t0)
	if _, ok := find(effects, grant.DoLapse, ""); ok {
		t.Error("a request that never lapses owes a lapse")
	}
	if g, _ = must(t, g, grant.LapseDue{}, t0.AddDate(1, 0, 0)); g.Phase != grant.Requested {
		t.Errorf("a request that never lapses is %s", g.Phase)
	}
	if g, _ = must(t, g, grant.Approve{By: bob}, t0.AddDate(1, 0, 0)); g.Phase != grant.Opening {
		t.Errorf("a request that never lapses is %s after the approval", g.Phase)
	}
}

func TestApply_reminders(t *testing.T) {
	says := func(effects []grant.Effect) (out []string) {
		for _, e := range effects {
			if e.Kind == grant.DoSay {
				out = append(out, e.Arg)
				if !e.Once {
					t.Errorf("the reminder %s may be posted twice", e.Arg)
				}
			}
		}
		return out
	}
	next := func(effects []grant.Effect, arg string) time.Duration {
		e, _ := find(effects, grant.DoRemind, arg)
		if e.Due.IsZero() {
			return 0
		}
		return e.Due.Sub(t0)
	}

	// Undecided: each waits twice as long, and none comes after the lapse.
	g := requested(t, 1)
	var got []string
	now := t0.Add(10 * time.Minute)
	for {
		var effects []grant.Effect
		g, effects = must(t, g, grant.ReminderDue{Name: grant.RemindUndecided}, now)
		got = append(got, fmt.Sprint(says(effects), " at ", now.Sub(t0)))
		wait := next(effects, grant.RemindUndecided)
		if wait == 0 {
			break
		}
		now = t0.Add(wait)
	}
	if diff := cmp.Diff([]string{"[undecided:1] at 10m0s", "[undecided:2] at 30m0s"}, got); diff != "" {
		t.Errorf("undecided (-want +got):\n%s", diff)
	}
	// However often, and however long the configured wait, it never overflows.
	g = requested(t, 1)
	g.Terms.Undecided, g.Terms.Reminders.Undecided = 0, 3000*time.Hour
	for range 40 {
		var effects []grant.Effect
		g, effects = must(t, g, grant.ReminderDue{Name: grant.RemindUndecided}, t0)
		if d := next(effects, grant.RemindUndecided); d != 0 && d < 3000*time.Hour {
			t.Fatalf("after %d reminders the next comes in %v", g.Nudges, d)
		}
	}

	open := inPhase(t, grant.Open)
	for _, tt := range []struct {
		name string
		at   time.Duration
		says string
		next time.Duration
	}{
		{"before_end:30m0s", 3*time.Hour + 30*time.Minute, "[before_end:30m0s]", 0},
		{"before_end:30m0s", 3 * time.Hour, "[]", 3*time.Hour + 30*time.Minute}, // the clock was set back
		{"before_end:30m0s", 4 * time.Hour, "[]", 0},
		{"before_end:soon", 3 * time.Hour, "[]", 0},
		{"still_open", 2 * time.Hour, "[still_open:1]", 0}, // the next would come at the end
		{"still_open", time.Hour, "[still_open:0]", 3 * time.Hour},
		{"still_open", 4 * time.Hour, "[]", 0},
		{"unsent", 15 * time.Minute, "[unsent]", 0},
		{"unsent", 5 * time.Hour, "[]", 0},
		{"undecided", time.Hour, "[]", 0},
		{"another", time.Hour, "[]", 0},
	} {
		_, effects := must(t, open, grant.ReminderDue{Name: tt.name}, t0.Add(tt.at))
		if got := fmt.Sprint(says(effects)); got != tt.says {
			t.Errorf("%s at %v says %s, want %s", tt.name, tt.at, got, tt.says)
		}
		if got := next(effects, tt.name); got != tt.next {
			t.Errorf("%s at %v comes again at %v, want %v", tt.name, tt.at, got, tt.next)
		}
	}
	sent, effects := must(t, open, grant.MarkSent{By: bob}, t0)
	if e, ok := find(effects, grant.DoRemind, grant.RemindUnsent); !ok || !e.Cancel {
		t.Error("the reminder to tell Support stays owed")
	}
	if _, effects := must(t, sent, grant.ReminderDue{Name: grant.RemindUnsent}, t0); len(effects) != 0 {
		t.Errorf("Support has been told, and yet %v is owed", effects)
	}
}

func TestApply_storyIsBounded(t *testing.T) {
	g := inPhase(t, grant.Closing)
	for i := range 1000 {
		g, _ = must(t, g, round(func(r *grant.Round) {
			r.Removed = []string{"a statement that comes back"}
			r.Ended = []grant.Session{{ID: "the same"}}
		}), t0.Add(time.Duration(i)*time.Second))
	}
	if last := g.Story[len(g.Story)-1]; !last.At.Equal(t0.Add(999 * time.Second)) {
		t.Errorf("the story ends at %v, before it does", last.At)
	}
	if len(g.Story) != 200 || len(g.Ending.Removed) != 1 || len(g.Ending.Ended) != 1 {
		t.Errorf("after 1000 rounds: %d moments, %d removed, %d ended", len(g.Story), len(g.Ending.Removed), len(g.Ending.Ended))
	}
}

func TestStanding(t *testing.T) {
	var b strings.Builder
	for _, p := range grant.Phases {
		fmt.Fprintf(&b, "%-10s %s\n", p, inPhase(t, p).Standing())
	}
	for _, p := range []grant.Phase{grant.Opening, grant.Open, grant.Requested} {
		fmt.Fprintf(&b, "%-10s %s\n", p, emergency(t, p).Standing())
	}
	golden(t, "standing.golden", b.String())
}

func TestPhases(t *testing.T) {
	for _, p := range grant.Phases {
		terminal := slices.Contains([]grant.Phase{grant.Closed, grant.Denied, grant.Withdrawn, grant.Lapsed}, p)
		if p.Terminal() != terminal || p.Known() != (p != grant.None) {
			t.Errorf("%q: terminal %v, known %v", p, p.Terminal(), p.Known())
		}
	}
	if grant.Phase("ajar").Known() {
		t.Error("ajar is a known phase")
	}
}

func TestKinds_haveTheirEvents(t *testing.T) {
	for _, ev := range []grant.Event{
		grant.Request{},
		grant.Approve{},
		grant.Deny{},
		grant.Withdraw{},
		grant.Revoke{},
		grant.MarkSent{},
		grant.Remove{},
		grant.Extend{},
		grant.ApproveExtension{},
		grant.DenyExtension{},
		grant.Sign{},
		grant.CheckDone{},
		grant.StepChanged{},
		grant.OpenDelayed{},
		grant.OpenFailed{},
		grant.Replanned{},
		grant.Unapproved{},
		grant.ExtendDone{},
		grant.ExtendDelayed{},
		grant.ExtendFailed{},
		grant.OpenDone{},
		grant.CloseRound{},
		grant.LapseDue{},
		grant.EndDue{},
		grant.ReminderDue{},
		grant.Watched{},
		grant.CardPosted{},
	} {
		if !slices.Contains(grant.Kinds, ev.Kind()) {
			t.Errorf("%T is of the kind %q, which is not listed", ev, ev.Kind())
		}
		if _, people := reflect.TypeOf(ev).FieldByName("By"); !people && ev.Actor() != grant.Self() {
			t.Errorf("%T is done by %v", ev, ev.Actor())
		}
	}
}
