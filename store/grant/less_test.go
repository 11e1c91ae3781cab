package grant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// TestApprove_forLess: access is for the least that anybody has agreed to, in
// whatever order they say it.
func TestApprove_forLess(t *testing.T) {
	const h = time.Hour
	for _, tt := range []struct {
		fors  []time.Duration // 0: all of it
		want  time.Duration
		asked time.Duration // where it is less
		each  []time.Duration
	}{
		{[]time.Duration{0, 0, 0}, 4 * h, 0, []time.Duration{0, 0, 0}},
		{[]time.Duration{4 * h, 0, 4 * h}, 4 * h, 0, []time.Duration{0, 0, 0}},
		{[]time.Duration{h, 0, 0}, h, 4 * h, []time.Duration{h, 0, 0}},
		{[]time.Duration{0, 0, h}, h, 4 * h, []time.Duration{0, 0, h}},
		{[]time.Duration{3 * h, 2 * h, h}, h, 4 * h, []time.Duration{3 * h, 2 * h, h}},
		{[]time.Duration{h, 2 * h, 3 * h}, h, 4 * h, []time.Duration{h, 2 * h, 3 * h}}, // two forms were open side by side
		{[]time.Duration{h, 4 * h, h}, h, 4 * h, []time.Duration{h, 0, h}},
		{[]time.Duration{time.Second, 0, h}, time.Second, 4 * h, []time.Duration{time.Second, 0, h}},
		{[]time.Duration{4*h - 1, 0, 0}, 4*h - 1, 4 * h, []time.Duration{4*h - 1, 0, 0}},
	} {
		g := requested(t, 3)
		for i, by := range []grant.Actor{bob, carol, fay} {
			before := g
			g = must1(t, g, grant.Approve{By: by, For: tt.fors[i]})
			if g.Duration > before.Duration {
				t.Errorf("%v: the approval of %v makes it longer", tt.fors, tt.fors[i])
			}
		}
		var each []time.Duration
		for _, a := range g.Approvals {
			each = append(each, a.For)
		}
		if g.Phase != grant.Opening || g.Duration != tt.want || g.Asked != tt.asked || !slices.Equal(each, tt.each) {
			t.Errorf("%v: %s for %v of %v, %v", tt.fors, g.Phase, g.Duration, g.Asked, each)
		}
		// The end that stands in AWS may be no later than that.
		if late := must1(t, g, access(t0.Add(tt.want+time.Second))); late.Phase != grant.Closing {
			t.Errorf("%v: open for longer: %s", tt.fors, late.Phase)
		}
		if open := must1(t, g, access(t0.Add(tt.want))); open.Phase != grant.Open || !open.End.Equal(t0.Add(tt.want)) {
			t.Errorf("%v: %s until %v", tt.fors, open.Phase, open.End)
		}
	}
}

// TestApprove_forLessIsForgotten: when nobody's approval is left, nobody has agreed
// to less than was asked for.
func TestApprove_forLessIsForgotten(t *testing.T) {
	less := must1(t, must1(t, requested(t, 2), grant.Approve{By: bob, For: time.Hour}), grant.Approve{By: carol})
	for name, tt := range map[string]struct {
		ev    grant.Event
		keeps bool
	}{
		"the plan has changed":  {changed(), false},
		"both may not any more": {grant.Unapproved{Users: []grant.UserID{"U0CAROL", "U0BOB"}}, false},
		// Carol was shown an hour, and has not agreed to more.
		"bob may not any more":   {grant.Unapproved{Users: []grant.UserID{"U0BOB"}}, true},
		"carol may not any more": {grant.Unapproved{Users: []grant.UserID{"U0CAROL"}}, true},
	} {
		g := must1(t, less, tt.ev)
		if g.Phase != grant.Requested || tt.keeps && (g.Duration != time.Hour || g.Asked != 4*time.Hour) || !tt.keeps && (g.Duration != 4*time.Hour || g.Asked != 0) {
			t.Errorf("%s: %s for %v of %v", name, g.Phase, g.Duration, g.Asked)
		}
	}
	// So, too, when the report takes the approvals back.
	g := must1(t, must1(t, requested(t, 2), grant.Approve{By: bob, For: time.Hour}), redirected("/old"))
	if len(g.Approvals) != 0 || g.Duration != 4*time.Hour || g.Asked != 0 {
		t.Errorf("the report has taken it back: for %v of %v", g.Duration, g.Asked)
	}
}

// TestUnapproved: the approvals of people who may not approve any more do not
// count; those of the others stay.
func TestUnapproved(t *testing.T) {
	const b, c, f grant.UserID = "U0BOB", "U0CAROL", "U0FAY"
	opening := func(need int, steps ...grant.StepChanged) grant.Grant {
		g := must1(t, requested(t, need), grant.CheckDone{Report: grant.Report{At: t0, InstanceID: "i-1"}})
		for _, by := range []grant.Actor{bob, carol, fay}[:need] {
			g = must1(t, g, grant.Approve{By: by})
		}
		for _, s := range steps {
			g = must1(t, g, s)
		}
		return g
	}
	spare := opening(3)
	spare.Terms.Approvals = 2
	none := opening(1)
	none.Terms.Approvals = 0
	for name, tt := range map[string]struct {
		g     grant.Grant
		users []grant.UserID
		phase grant.Phase
		left  []grant.UserID
	}{
		"one of one":                           {opening(1), []grant.UserID{b}, grant.Requested, nil},
		"one of two":                           {opening(2), []grant.UserID{b}, grant.Requested, []grant.UserID{c}},
		"two of three":                         {opening(3), []grant.UserID{f, b}, grant.Requested, []grant.UserID{c}},
		"all":                                  {opening(3), []grant.UserID{b, c, f}, grant.Requested, nil},
		"nobody":                               {opening(2), nil, grant.Opening, []grant.UserID{b, c}},
		"somebody who has not approved":        {opening(2), []grant.UserID{f, "U0ALICE"}, grant.Opening, []grant.UserID{b, c}},
		"one more than it takes":               {spare, []grant.UserID{c}, grant.Opening, []grant.UserID{b, f}},
		"two more than it takes":               {spare, []grant.UserID{c, b}, grant.Requested, []grant.UserID{f}},
		"the last one, where none was asked":   {none, []grant.UserID{b}, grant.Requested, nil},
		"while the checks are done":            {opening(1, step(grant.StepCheck, grant.Running)), []grant.UserID{b}, grant.Requested, nil},
		"after the checks were done":           {opening(1, step(grant.StepCheck, grant.Done)), []grant.UserID{b}, grant.Requested, nil},
		"while logging may be half done":       {opening(1, step(grant.StepLogging, grant.Running)), []grant.UserID{b}, grant.Closing, []grant.UserID{b}},
		"after logging failed":                 {opening(1, step(grant.StepLogging, grant.Failing)), []grant.UserID{b}, grant.Closing, []grant.UserID{b}},
		"after logging was done":               {opening(1, step(grant.StepLogging, grant.Done)), []grant.UserID{b}, grant.Closing, []grant.UserID{b}},
		"after the hard stop was begun":        {opening(2, step(grant.StepHardStop, grant.Running)), []grant.UserID{b}, grant.Closing, []grant.UserID{b, c}},
		"after the trust was begun":            {opening(2, step(grant.StepTrust, grant.Running)), []grant.UserID{c}, grant.Closing, []grant.UserID{b, c}},
		"of more than it takes, when it wrote": {must1(t, spare, step(grant.StepTrust, grant.Running)), []grant.UserID{c}, grant.Opening, []grant.UserID{b, f}},
	} {
		now := t0.Add(time.Minute)
		g, effects := must(t, tt.g, grant.Unapproved{Users: tt.users}, now)
		var left []grant.UserID
		for _, a := range g.Approvals {
			left = append(left, a.By)
		}
		if g.Phase != tt.phase || !slices.Equal(left, tt.left) {
			t.Errorf("%s: %s with %v, want %s with %v", name, g.Phase, left, tt.phase, tt.left)
		}
		asks := has(effects, grant.DoSay, fmt.Sprint("replanned:", g.Version))
		switch tt.phase {
		case grant.Opening:
			if asks || has(effects, grant.DoOpen, "") || has(effects, grant.DoExpire, "") {
				t.Errorf("%s: it goes on, and yet owes %v", name, effects)
			}
		case grant.Requested:
			if !asks || !cancelled(effects, grant.DoOpen) || !cancelled(effects, grant.DoExpire) || !g.AskedAt.Equal(now) || g.OpenError == nil || !slices.Contains(g.OpenError.Who, tt.users[0]) || strings.Contains(g.OpenError.Text, "@") {
				t.Errorf("%s: asked again as %+v, owes %v", name, g.OpenError, effects)
			}
			// What the others have agreed to is the plan that they saw: it stays.
			fresh := g.Report == nil
			if fresh != (tt.left == nil) || owes(effects, grant.DoCheck) != fresh {
				t.Errorf("%s: the plan is new: %v, looked for: %v", name, fresh, owes(effects, grant.DoCheck))
			}
			// The one who fell may not be counted twice; when they may again, they may.
			if again := must1(t, g, grant.Approve{By: grant.Actor{Kind: grant.Person, User: tt.users[0], Approver: true}}); !again.ApprovedBy(tt.users[0]) {
				t.Errorf("%s: %s may not come back", name, tt.users[0])
			}
		default:
			if !has(effects, grant.DoClose, "") || !has(effects, grant.DoSay, grant.SayFailed) || asks {
				t.Errorf("%s: owes %v", name, effects)
			}
		}
	}
}

func step(name string, state grant.StepState) grant.StepChanged {
	return grant.StepChanged{Step: name, State: state}
}

// owes reports whether the last word of the effects on this kind is that it is
// owed.
func owes(effects []grant.Effect, kind grant.EffectKind) (owed bool) {
	for _, e := range effects {
		if e.Kind == kind {
			owed = !e.Cancel
		}
	}
	return owed
}

// TestUnapproved_newPlan: with the plan that the others saw gone, the request
// would open something that they have never seen. So a plan that has changed takes
// their approvals back, too.
func TestUnapproved_newPlan(t *testing.T) {
	g := must1(t, requested(t, 2), grant.CheckDone{Report: grant.Report{At: t0, InstanceID: "i-1"}})
	for _, ev := range []grant.Event{grant.Approve{By: bob}, grant.Approve{By: carol}, grant.Unapproved{Users: []grant.UserID{"U0BOB"}}} {
		g = must1(t, g, ev)
	}
	if g.Report == nil || g.Report.InstanceID != "i-1" || g.Missing() != 1 {
		t.Fatalf("carol's approval is for %+v", g.Report)
	}
	g = must1(t, must1(t, g, grant.Approve{By: fay}), changed())
	if g.Phase != grant.Requested || g.Missing() != 2 || g.Report != nil {
		t.Errorf("the plan has changed: %s, %v", g.Phase, g.Approvals)
	}
	// Who has not agreed to what the report says, that came when it was opening
	// already, has not approved it.
	late := must1(t, must1(t, must1(t, requested(t, 2), grant.Approve{By: bob}), grant.Approve{By: carol}), redirected("/old"))
	late = must1(t, late, grant.Unapproved{Users: []grant.UserID{"U0BOB"}})
	if late.Phase != grant.Requested || len(late.Approvals) != 0 || late.Report != nil {
		t.Errorf("carol has not agreed to a redirection: %s, %v", late.Phase, late.Approvals)
	}
	// Before there was a plan, one is looked for.
	g = must1(t, must1(t, requested(t, 2), grant.Approve{By: bob}), grant.Approve{By: carol})
	g, effects := must(t, g, grant.Unapproved{Users: []grant.UserID{"U0BOB"}}, t0)
	if !g.ApprovedBy("U0CAROL") || !owes(effects, grant.DoCheck) {
		t.Errorf("without a plan: %v, owes %v", g.Approvals, effects)
	}
}

// TestReminders_lateTogether: what comes late is due a moment later, so that all
// that is late can be said at once. What comes in time is due at once.
func TestReminders_lateTogether(t *testing.T) {
	now := t0.Add(3*time.Hour + 51*time.Minute)
	open := openedBy(t, 1)
	for _, name := range []string{"before_end:30m0s", "before_end:10m0s", "still_open", "unsent"} {
		for late, wait := range map[time.Duration]time.Duration{
			0: 0, time.Minute: 0, time.Minute + 1: 3 * time.Second, time.Hour: 3 * time.Second, -time.Minute: 0,
		} {
			_, effects := must(t, open, grant.ReminderDue{Name: name, Due: now.Add(-late)}, now)
			if got := said(effects); len(got) != 1 {
				t.Fatalf("%s says %v", name, got)
			}
			for _, e := range effects {
				if e.Kind == grant.DoSay && (!e.Due.Equal(now.Add(wait)) || !e.Once) {
					t.Errorf("%s, %v late, is said %v later", name, late, e.Due.Sub(now))
				}
			}
		}
		// Without a time nothing is known to be late.
		_, effects := must(t, open, grant.ReminderDue{Name: name}, now)
		if !effects[0].Due.Equal(now) {
			t.Errorf("%s, due at no time, is said at %v", name, effects[0].Due)
		}
	}
	// So for every kind of reminder; the next one keeps its time.
	for name, g := range map[string]grant.Grant{"undecided": requested(t, 1), "extend:1": asked(t, 1), "review": emergency(t, grant.Closed)} {
		at := t0.Add(20 * time.Minute)
		_, effects := must(t, g, grant.ReminderDue{Name: name, Due: at.Add(-2 * time.Minute)}, at)
		next, ok := find(effects, grant.DoRemind, name)
		if len(said(effects)) != 1 || !effects[0].Due.Equal(at.Add(3*time.Second)) || !ok || next.Due.Before(at.Add(10*time.Minute)) {
			t.Errorf("%s: owes %v", name, effects)
		}
	}
}
