package grant_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

var errSecret = errors.New("secret request id")

// TestReplanned: what was never written is asked for anew, as if it had just been
// requested.
func TestReplanned(t *testing.T) {
	changed := grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "It would be another instance.", Remedy: "Look again.", Cause: errSecret}}
	start := requested(t, 2)
	g := must1(t, start, redirected("/old"))
	g = must1(t, g, grant.Approve{By: bob, Yes: yesTo("/old")})
	g, _ = must(t, g, grant.ReminderDue{Name: grant.RemindUndecided}, t0.Add(10*time.Minute))
	g, _ = must(t, g, grant.Approve{By: carol, Yes: yesTo("/old")}, t0.Add(50*time.Minute))
	g, _ = must(t, g, grant.StepChanged{Step: grant.StepCheck, State: grant.Running}, t0.Add(50*time.Minute))
	g, _ = must(t, g, grant.OpenDelayed{Trouble: grant.Trouble{Kind: grant.Again, Step: grant.StepCheck, Text: "throttled"}, Wait: time.Second}, t0.Add(50*time.Minute))
	g, _ = must(t, g, grant.StepChanged{Step: grant.StepCheck, State: grant.Done}, t0.Add(50*time.Minute))
	now := t0.Add(55 * time.Minute)
	g, effects := must(t, g, changed, now)

	if g.Phase != grant.Requested || g.Missing() != 2 || g.ApprovedBy("U0BOB") || g.Report != nil || len(g.Opening) != 0 || g.OpenTries != 0 || g.Nudges != 0 || !g.DecidedAt.IsZero() {
		t.Errorf("asked again as %+v", g)
	}
	if !g.AskedAt.Equal(now) || !g.Since().Equal(now) || !g.RequestedAt.Equal(t0) {
		t.Errorf("asked at %v, since %v, requested at %v", g.AskedAt, g.Since(), g.RequestedAt)
	}
	if g.OpenError == nil || g.OpenError.Text != "It would be another instance." || g.OpenError.Cause != nil {
		t.Errorf("the reason is %+v", g.OpenError)
	}
	last := map[string]grant.Effect{}
	for _, e := range effects {
		last[string(e.Kind)+" "+e.Arg] = e
	}
	for what, due := range map[string]time.Duration{
		"card ": 0, "check ": 0, "lapse ": time.Hour, "remind undecided": 10 * time.Minute, "say replanned:" + fmt.Sprint(g.Version): 0,
	} {
		if e, ok := last[what]; !ok || e.Cancel || !e.Due.Equal(now.Add(due)) {
			t.Errorf("%s is owed as %+v, %v, want it %v later", what, e, ok, due)
		}
	}
	for _, what := range []string{"open ", "expire "} {
		if e, ok := last[what]; !ok || !e.Cancel {
			t.Errorf("%s stays owed", what)
		}
	}

	// The hour begins anew, and so do the reminders.
	if early, _ := must(t, g, grant.LapseDue{}, now.Add(time.Hour-1)); early.Phase != grant.Requested {
		t.Errorf("it lapses after the first hour: %s", early.Phase)
	}
	if late, _ := must(t, g, grant.LapseDue{}, now.Add(time.Hour)); late.Phase != grant.Lapsed {
		t.Errorf("it does not lapse: %s", late.Phase)
	}
	nudged, effects := must(t, g, grant.ReminderDue{Name: grant.RemindUndecided}, now.Add(10*time.Minute))
	if e, _ := find(effects, grant.DoRemind, grant.RemindUndecided); nudged.Nudges != 1 || !e.Due.Equal(now.Add(30*time.Minute)) {
		t.Errorf("the second reminder comes %v after it was asked again", e.Due.Sub(now))
	}
	// It takes both approvals again, from those who gave them before, too.
	g, _ = must(t, g, grant.Approve{By: bob}, now.Add(time.Hour-1))
	if g.Phase != grant.Requested || g.OpenError == nil {
		t.Errorf("after one approval: %s", g.Phase)
	}
	if _, _, err := g.Apply(grant.Approve{By: bob}, now); refusal(t, err).Code != grant.AlreadyApproved {
		t.Errorf("bob approves twice: %v", err)
	}
	g, effects = must(t, g, grant.Approve{By: carol}, now.Add(time.Hour-1))
	if e, _ := find(effects, grant.DoExpire, ""); g.Phase != grant.Opening || g.OpenError != nil || !e.Due.Equal(now.Add(time.Hour-1+grant.OpeningLimit)) {
		t.Errorf("after two approvals: %s, end owed at %v", g.Phase, e.Due)
	}
	// However often.
	again := must1(t, g, changed)
	if again.Phase != grant.Requested {
		t.Errorf("the second time: %s", again.Phase)
	}
	if _, _, err := again.Apply(changed, now); err == nil {
		t.Error("replanned while nobody has decided")
	}
	// The message of each time has a name of its own.
	if !slices.ContainsFunc(again.Story, func(m grant.Moment) bool { return strings.Contains(m.Text, "asks again") }) {
		t.Errorf("the story does not tell: %+v", again.Story)
	}
}

// TestReplanned_beforeSomethingWasWritten: a step that only reads has written
// nothing, and neither has the step "logging" that finds the change itself.
func TestReplanned_beforeSomethingWasWritten(t *testing.T) {
	for _, tt := range []struct {
		steps []grant.StepChanged
		found string
	}{
		{nil, grant.StepCheck},
		{[]grant.StepChanged{step(grant.StepCheck, grant.Running)}, grant.StepCheck},
		{[]grant.StepChanged{step(grant.StepCheck, grant.Failing)}, grant.StepCheck},
		{[]grant.StepChanged{step(grant.StepCheck, grant.Done)}, grant.StepCheck},
		{[]grant.StepChanged{step(grant.StepCheck, grant.Done), step(grant.StepLogging, grant.Running)}, grant.StepLogging},
	} {
		g := inPhase(t, grant.Opening)
		for _, s := range tt.steps {
			g = must1(t, g, s)
		}
		g = must1(t, g, grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: tt.found, Text: "Another log group."}})
		if g.Phase != grant.Requested || len(g.Opening) != 0 || g.OpenError.Step != tt.found {
			t.Errorf("%v, found by %s: %s", tt.steps, tt.found, g.Phase)
		}
	}
	// With anything else begun the step "logging" is not excused.
	for _, other := range []grant.StepChanged{step(grant.StepHardStop, grant.Failing), step(grant.StepHardStop, grant.Running), step(grant.StepTrust, grant.Running)} {
		g := must1(t, must1(t, inPhase(t, grant.Opening), other), step(grant.StepLogging, grant.Running))
		g = must1(t, g, grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepLogging, Text: "Another log group."}})
		if g.Phase != grant.Closing {
			t.Errorf("%v was begun before: %s", other, g.Phase)
		}
	}
}

// TestReplanned_afterSomethingWasWritten: that is taken back; a step that is being
// done or has failed may have written, too.
func TestReplanned_afterSomethingWasWritten(t *testing.T) {
	for _, step := range []grant.StepChanged{
		{Step: grant.StepLogging, State: grant.Done},
		{Step: grant.StepLogging, State: grant.Running}, // of an attempt before
		{Step: grant.StepLogging, State: grant.Failing},
		{Step: grant.StepHardStop, State: grant.Done},
		{Step: grant.StepHardStop, State: grant.Running},
		{Step: grant.StepHardStop, State: grant.Failing},
		{Step: grant.StepTrust, State: grant.Running},
		{Step: grant.StepTrust, State: grant.Failing},
	} {
		g := must1(t, inPhase(t, grant.Opening), step)
		g, effects := must(t, g, grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another role.", Cause: errSecret}}, t0)
		if g.Phase != grant.Closing || g.OpenError.Cause != nil || !g.AskedAt.IsZero() || g.Ending.Why != "it could not be opened as approved" {
			t.Errorf("%s %s: %s, %+v", step.Step, step.State, g.Phase, g.OpenError)
		}
		if !has(effects, grant.DoClose, "") || !has(effects, grant.DoSay, grant.SayFailed) || has(effects, grant.DoCheck, "") {
			t.Errorf("%s %s: owes %v", step.Step, step.State, effects)
		}
		if len(g.Approvals) != 1 {
			t.Errorf("%s %s: the approvals are forgotten", step.Step, step.State)
		}
	}
}

// TestCheckDone_takesApprovalsBack: who approved before the report was there has
// not agreed to a redirection that nobody had seen.
func TestCheckDone_takesApprovalsBack(t *testing.T) {
	g := must1(t, requested(t, 3), grant.Approve{By: bob, Yes: yesTo("/old")}) // said before it was shown
	if g.Approvals[0].Yes != "" {
		t.Errorf("a yes to what was not shown counts: %+v", g.Approvals)
	}
	quiet, effects := must(t, g, grant.CheckDone{}, t0)
	if len(quiet.Approvals) != 1 || len(effects) != 1 {
		t.Errorf("without a redirection: %v, owes %v", quiet.Approvals, effects)
	}
	g, effects = must(t, g, redirected("/old<!channel>\u202e"+strings.Repeat("x", 9000)), t0)
	if len(g.Approvals) != 0 || g.OpenError == nil || g.OpenError.Kind != grant.Changed || !has(effects, grant.DoSay, "replanned:"+fmt.Sprint(g.Version)) || !has(effects, grant.DoCard, "") {
		t.Errorf("with one: %v, %+v, owes %v", g.Approvals, g.OpenError, effects)
	}
	if text := g.OpenError.Text; len(text) > 1000 || strings.Contains(text, "\u202e") {
		t.Errorf("the log group's name is kept as it came: %d bytes", len(text))
	}
	if !g.AskedAt.IsZero() {
		t.Error("it was put to the approvers before, and its hour goes on")
	}
	// Who agrees to this one keeps it when the checks are done again, and loses it
	// when they find another one.
	g = must1(t, g, redirected("/old"))
	g = must1(t, g, grant.Approve{By: bob, Yes: yesTo("/old")})
	g, effects = must(t, g, redirected("/old"), t0)
	if !g.ApprovedBy("U0BOB") || len(effects) != 1 {
		t.Errorf("the same again: %v, owes %v", g.Approvals, effects)
	}
	g = must1(t, g, grant.Approve{By: carol, Yes: yesTo("/old")})
	if less := must1(t, g, grant.CheckDone{}); len(less.Approvals) != 2 {
		t.Errorf("who agreed to more than is done has agreed: %v", less.Approvals)
	}
	mixed := must1(t, requested(t, 3), redirected("/old"))
	for _, ev := range []grant.Event{grant.Approve{By: bob, Yes: yesTo("/old")}, grant.CheckDone{}, grant.Approve{By: carol}, redirected("/old")} {
		mixed = must1(t, mixed, ev)
	}
	if !mixed.ApprovedBy("U0BOB") || mixed.ApprovedBy("U0CAROL") {
		t.Errorf("bob has agreed to it and carol has not: %v", mixed.Approvals)
	}
	g, effects = must(t, g, redirected("/other"), t0)
	if len(g.Approvals) != 0 || !has(effects, grant.DoSay, "replanned:"+fmt.Sprint(g.Version)) {
		t.Errorf("another one: %v", g.Approvals)
	}
	// Once it is opening, what to do about a report is for the opening.
	open := must1(t, inPhase(t, grant.Opening), redirected("/old"))
	if open.Phase != grant.Opening || len(open.Approvals) != 1 {
		t.Errorf("while opening: %s, %v", open.Phase, open.Approvals)
	}
}

// TestApprove_needsTheYes: a redirection of the logs of a whole region is agreed
// to by its name, or not at all.
func TestApprove_needsTheYes(t *testing.T) {
	g := must1(t, requested(t, 1), redirected("/old"))
	for _, said := range []string{"", yesTo("/other"), "/old", strings.ToUpper(yesTo("/old")), yesTo("/old") + " "} {
		next, effects, err := g.Apply(grant.Approve{By: bob, Yes: said}, t0)
		if r := refusal(t, err); r.Code != grant.AskFirst || len(next.Approvals) != 0 || effects != nil {
			t.Errorf("%q: %s, %v", said, r.Code, next.Approvals)
		}
	}
	g = must1(t, g, grant.Approve{By: bob, Yes: yesTo("/old")})
	if g.Phase != grant.Opening || g.Approvals[0].Yes != yesTo("/old") {
		t.Errorf("with the yes: %s, %+v", g.Phase, g.Approvals)
	}
	// Where nothing is redirected none is needed, and none is kept.
	g = must1(t, requested(t, 1), grant.Approve{By: bob, Yes: "anything"})
	if g.Phase != grant.Opening || g.Approvals[0].Yes != "" {
		t.Errorf("without a redirection: %s, %+v", g.Phase, g.Approvals)
	}
	var none *grant.Redirect
	a, b := &grant.Redirect{From: "a", To: "b"}, &grant.Redirect{From: "b", To: "a"}
	if none.Yes() != "" || a.Yes() == "" || a.Yes() == b.Yes() || (&grant.Redirect{From: "ab"}).Yes() == a.Yes() || (&grant.Redirect{}).Yes() == "" {
		t.Error("two redirections have one yes")
	}
}
