package grant_test

import (
	"errors"
	"testing"
	"time"

	"breakglass/store/grant"
)

var t0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var (
	alice    = grant.Actor{Kind: grant.Person, User: "U0ALICE", Requester: true}
	bob      = grant.Actor{Kind: grant.Person, User: "U0BOB", Approver: true}
	carol    = grant.Actor{Kind: grant.Person, User: "U0CAROL", Approver: true}
	dave     = grant.Actor{Kind: grant.Person, User: "U0DAVE", Revoker: true}
	fay      = grant.Actor{Kind: grant.Person, User: "U0FAY", Approver: true}
	gus      = grant.Actor{Kind: grant.Person, User: "U0GUS", Requester: true}
	mia      = grant.Actor{Kind: grant.Person, User: "U0MIA", Emergency: true}
	eve      = grant.Actor{Kind: grant.Person, User: "U0EVE"}
	operator = grant.Actor{Kind: grant.Operator, Name: "root"}
)

func terms(approvals int) grant.Terms {
	return grant.Terms{
		Approvals: approvals, Undecided: time.Hour, AWSEnforced: true, Settle: time.Minute,
		Reminders: grant.Reminders{
			Undecided: 10 * time.Minute, Unsent: 15 * time.Minute, StillOpen: 2 * time.Hour,
			BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute}, Unused: 30 * time.Minute,
		},
	}
}

func request(approvals int) grant.Request {
	return grant.Request{
		By: alice, Token: "tok", Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "stuck node pool",
		Duration: 4 * time.Hour, Terms: terms(approvals),
	}
}

const roleARN = "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts"

// removal takes away trust that no grant explains.
func removal(by grant.Actor) grant.Remove {
	return grant.Remove{
		By: by, Token: "tok", Cell: "helios-prod", Account: "444455556666", Region: "us-east-1", Terms: terms(1),
		Stray: grant.Stray{
			Trust: grant.Trust{Sid: "Manual", Principal: "arn:aws:iam::111122223333:role/support"},
			Token: "stray", RoleARN: roleARN, RoleName: "ssm-access-from-other-accounts", Seen: t0, Told: t0,
		},
	}
}

// redirected is a report that says that opening moves the logs of the region
// away from a log group.
func redirected(from string) grant.CheckDone {
	return grant.CheckDone{Report: grant.Report{At: t0, RoleARN: roleARN, Redirect: &grant.Redirect{From: from, To: "/wanted"}}}
}

func yesTo(from string) string { return redirected(from).Report.Redirect.Yes() }

func access(end time.Time) grant.OpenDone {
	return grant.OpenDone{Access: grant.Access{End: end, RoleName: "ssm-access-from-other-accounts", InstanceID: "i-1"}}
}

func must(t testing.TB, g grant.Grant, ev grant.Event, now time.Time) (grant.Grant, []grant.Effect) {
	t.Helper()
	next, effects, err := g.Apply(ev, now)
	if err != nil {
		t.Fatalf("%s: %v", ev.Kind(), err)
	}
	return next, effects
}

func requested(t testing.TB, approvals int) grant.Grant {
	t.Helper()
	g, _ := must(t, grant.Grant{ID: 7}, request(approvals), t0)
	return g
}

// inPhase answers a grant of one approval that stands in the phase.
func inPhase(t testing.TB, p grant.Phase) grant.Grant {
	t.Helper()
	g := requested(t, 1)
	steps := map[grant.Phase][]grant.Event{
		grant.Requested: nil,
		grant.Opening:   {grant.Approve{By: bob}},
		grant.Open:      {grant.Approve{By: bob}, grant.StepChanged{Step: grant.StepTrust, State: grant.Running}, access(t0.Add(4 * time.Hour))},
		grant.Closing:   {grant.Approve{By: bob}, grant.StepChanged{Step: grant.StepTrust, State: grant.Running}, access(t0.Add(4 * time.Hour)), grant.Revoke{By: alice}},
		grant.Closed:    {grant.Approve{By: bob}, grant.Revoke{By: alice}, grant.CloseRound{Round: skipped()}},
		grant.Denied:    {grant.Deny{By: bob}},
		grant.Withdrawn: {grant.Withdraw{By: alice}},
	}
	if p == grant.None {
		return grant.Grant{ID: 7}
	}
	if p == grant.Lapsed {
		g, _ = must(t, g, grant.LapseDue{}, t0.Add(time.Hour))
		return g
	}
	for _, ev := range steps[p] {
		g, _ = must(t, g, ev, t0)
	}
	if g.Phase != p {
		t.Fatalf("the grant is %s, want %s", g.Phase, p)
	}
	return g
}

// openedBy answers a grant of that many approvals that is open until t0 and four
// hours.
func openedBy(t testing.TB, approvals int) grant.Grant {
	t.Helper()
	g := requested(t, approvals)
	for _, by := range []grant.Actor{bob, carol, fay}[:approvals] {
		g, _ = must(t, g, grant.Approve{By: by}, t0)
	}
	return must1(t, must1(t, g, grant.StepChanged{Step: grant.StepTrust, State: grant.Running}), access(t0.Add(4*time.Hour)))
}

// asked answers an open grant of that many approvals for which gus has asked for
// two hours more.
func asked(t testing.TB, approvals int) grant.Grant {
	t.Helper()
	return must1(t, openedBy(t, approvals), grant.Extend{By: gus, For: 2 * time.Hour, Max: 12 * time.Hour})
}

// extending answers one whose extension is approved by bob and is being written.
func extending(t testing.TB) grant.Grant {
	t.Helper()
	g := must1(t, asked(t, 1), grant.ApproveExtension{By: bob, N: 1})
	if !g.Extension.Doing() {
		t.Fatalf("one approval of one, and the extension is %+v", g.Extension)
	}
	return g
}

// extended says that AWS enforces this end.
func extended(g grant.Grant, end time.Time) grant.ExtendDone {
	a := *g.Access
	a.End = end
	return grant.ExtendDone{Access: a}
}

// urgent asks for an emergency.
func urgent() grant.Request {
	r := request(2)
	r.By, r.Emergency = mia, true
	return r
}

// emergency answers one that stands in the phase.
func emergency(t testing.TB, p grant.Phase) grant.Grant {
	t.Helper()
	g, _ := must(t, grant.Grant{ID: 7}, urgent(), t0)
	for _, ev := range map[grant.Phase][]grant.Event{
		grant.Open:    {grant.StepChanged{Step: grant.StepTrust, State: grant.Running}, access(t0.Add(4 * time.Hour))},
		grant.Closing: {grant.Revoke{By: bob}},
		grant.Closed:  {grant.Revoke{By: bob}, grant.CloseRound{Round: skipped()}},
		// It is put to the approvers after all, and ends there.
		grant.Requested: {changed()},
		grant.Denied:    {changed(), grant.Deny{By: bob}},
		grant.Withdrawn: {changed(), grant.Withdraw{By: mia}},
	}[p] {
		g, _ = must(t, g, ev, t0)
	}
	if g.Phase != p {
		t.Fatalf("the emergency is %s, want %s", g.Phase, p)
	}
	return g
}

// changed says that the check has found that opening would do something else.
func changed() grant.Replanned {
	return grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another instance."}}
}

func skipped() grant.Round {
	return grant.Round{
		Trust:       grant.Outcome{Done: true},
		Credentials: grant.Outcome{Skipped: true, Note: "nothing was opened"},
		Sessions:    grant.Outcome{Skipped: true, Note: "nothing was opened"},
	}
}

func find(effects []grant.Effect, kind grant.EffectKind, arg string) (grant.Effect, bool) {
	for _, e := range effects {
		if e.Kind == kind && e.Arg == arg {
			return e, true
		}
	}
	return grant.Effect{}, false
}

func refusal(t testing.TB, err error) *grant.Refusal {
	t.Helper()
	r, ok := errors.AsType[*grant.Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return r
}
