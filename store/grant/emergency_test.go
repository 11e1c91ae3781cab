package grant_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"breakglass/store/grant"
)

// TestEmergency: it opens at once, owes its end and its review from the first
// transaction, and tells everybody.
func TestEmergency(t *testing.T) {
	both := mia
	both.Requester = true
	for _, by := range []grant.Actor{mia, both} {
		ev := urgent()
		ev.By = by
		g, effects := must(t, grant.Grant{ID: 7}, ev, t0)
		if g.Phase != grant.Opening || !g.Emergency || !g.NeedsReview() || g.Requester != "U0MIA" || len(g.Approvals) != 0 || !g.DecidedAt.Equal(t0) {
			t.Fatalf("an emergency begins as %+v", g)
		}
		for k, due := range map[key]time.Duration{
			{kind: grant.DoOpen}: 0, {kind: grant.DoExpire}: grant.OpeningLimit, {kind: grant.DoCard}: 0,
			{grant.DoSay, grant.SayEmergency}: 0, {grant.DoRemind, grant.RemindReview}: 30 * time.Minute,
		} {
			if e, ok := find(effects, k.kind, k.arg); !ok || e.Cancel || !e.Due.Equal(t0.Add(due)) {
				t.Errorf("%v is owed as %+v, %v, want it %v later", k, e, ok, due)
			}
		}
		// Nobody is asked.
		for _, k := range []key{{kind: grant.DoLapse}, {grant.DoRemind, grant.RemindUndecided}} {
			if e, ok := find(effects, k.kind, k.arg); ok && !e.Cancel {
				t.Errorf("an emergency owes %v", e)
			}
		}
	}
	// A requester's right is not enough, and an ordinary request stays one whoever
	// makes it.
	plain := request(2)
	plain.By.Emergency = true
	if g := must1(t, grant.Grant{ID: 7}, plain); g.Phase != grant.Requested || g.Emergency || g.NeedsReview() {
		t.Errorf("an ordinary request begins as %+v", g)
	}
	// One that answers a stray brings its message up to date.
	adopts := urgent()
	adopts.Stray = "stray"
	if _, effects := must(t, grant.Grant{ID: 7}, adopts, t0); !has(effects, grant.DoStray, grant.StrayArg("helios-prod", "stray")) {
		t.Errorf("it adopts, and owes %v", effects)
	}
}

func TestTooMany(t *testing.T) {
	at := func(ago time.Duration, change func(*grant.Grant)) grant.Grant {
		g := emergency(t, grant.Opening)
		g.RequestedAt = t0.Add(-ago)
		if change != nil {
			change(&g)
		}
		return g
	}
	three := []grant.Grant{at(0, nil), at(time.Hour, nil), at(24*time.Hour-1, nil)}
	for name, tt := range map[string]struct {
		ev     grant.Event
		recent []grant.Grant
		many   bool
	}{
		"none":                   {urgent(), nil, false},
		"two":                    {urgent(), three[1:], false},
		"three":                  {urgent(), three, true},
		"four":                   {urgent(), append(three[:3:3], at(2*time.Hour, nil)), true},
		"one is a day old":       {urgent(), []grant.Grant{three[0], three[1], at(24*time.Hour, nil)}, false},
		"one is somebody else's": {urgent(), []grant.Grant{three[0], three[1], at(0, func(g *grant.Grant) { g.Requester = "U0NED" })}, false},
		"one is no emergency":    {urgent(), []grant.Grant{three[0], three[1], at(0, func(g *grant.Grant) { g.Emergency = false })}, false},
		"signed ones count":      {urgent(), []grant.Grant{three[0], three[1], at(0, func(g *grant.Grant) { g.Review = &grant.Review{By: "U0BOB"} })}, true},
		"closed ones count":      {urgent(), []grant.Grant{three[0], three[1], at(0, func(g *grant.Grant) { g.Phase = grant.Closed })}, true},
		"the clock was set back": {urgent(), []grant.Grant{at(-time.Hour, nil), at(-time.Minute, nil), at(0, nil)}, true},
		"an ordinary request":    {request(1), three, false},
		"a removal":              {removal(bob), three, false},
	} {
		err := grant.TooMany(tt.ev, tt.recent, t0)
		if (err != nil) != tt.many {
			t.Errorf("%s: %v", name, err)
		}
		if tt.many && refusal(t, err).Code != grant.RateLimited {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSign: once, by an approver who has not opened it, as long as it is or was
// open; and nothing else changes.
func TestSign(t *testing.T) {
	for _, p := range []grant.Phase{grant.Opening, grant.Open, grant.Closing, grant.Closed} {
		before := emergency(t, p)
		now := t0.Add(30 * time.Hour)
		g, effects := must(t, before, grant.Sign{By: bob}, now)
		if g.Review == nil || *g.Review != (grant.Review{By: "U0BOB", At: now}) || g.NeedsReview() {
			t.Errorf("%s: signed as %+v", p, g.Review)
		}
		diff := cmp.Diff(before, g, cmpopts.IgnoreFields(grant.Grant{}, "Review", "Version", "Story"))
		if diff != "" || g.Version != before.Version+1 || len(g.Story) != len(before.Story)+1 {
			t.Errorf("%s: the signature changed more:\n%s", p, diff)
		}
		if e, ok := find(effects, grant.DoRemind, grant.RemindReview); !ok || !e.Cancel || len(effects) != 3 || !has(effects, grant.DoCard, "") || !has(effects, grant.DoSay, grant.SayReviewed) {
			t.Errorf("%s: signing owes %v", p, effects)
		}
		// A reminder that was under way says nothing any more.
		if _, effects := must(t, g, grant.ReminderDue{Name: grant.RemindReview}, now); len(effects) != 0 {
			t.Errorf("%s: signed, and yet %v", p, effects)
		}
	}
}

// TestSign_storyIsFull: that it is closed stays told, in a story that is full.
func TestSign_storyIsFull(t *testing.T) {
	g := emergency(t, grant.Closing)
	for i := range 300 {
		g, _ = must(t, g, round(func(r *grant.Round) { r.Removed = []string{fmt.Sprint(i)} }), t0.Add(time.Duration(i)*time.Second))
	}
	g = must1(t, g, grant.CloseRound{Round: skipped()})
	g = must1(t, g, grant.Sign{By: bob})
	n := len(g.Story)
	if n != 200 || g.Story[n-1].Text != "signed the review of the emergency" || g.Story[n-2].Text[:13] != "closed access" {
		t.Errorf("a story of %d ends %+v", n, g.Story[n-2:])
	}
}

// TestRemind_review: without end, after twice as long each time but at least once
// a day, whatever becomes of the access.
func TestRemind_review(t *testing.T) {
	for _, p := range []grant.Phase{grant.Opening, grant.Open, grant.Closing, grant.Closed} {
		g := emergency(t, p)
		var waits []time.Duration
		now := t0.Add(30 * time.Minute)
		for i := range 100 {
			var effects []grant.Effect
			before := g
			g, effects = must(t, g, grant.ReminderDue{Name: grant.RemindReview, Due: now}, now)
			if got := said(effects); !slices.Equal(got, []string{fmt.Sprint("review:", i+1)}) || !effects[0].Once {
				t.Fatalf("%s: reminder %d says %v", p, i+1, effects)
			}
			if diff := cmp.Diff(before, g, cmpopts.IgnoreFields(grant.Grant{}, "Reviews", "Version")); diff != "" {
				t.Fatalf("%s: a reminder changed more:\n%s", p, diff)
			}
			next, ok := find(effects, grant.DoRemind, grant.RemindReview)
			if !ok {
				t.Fatalf("%s: nobody is reminded any more after %d times", p, i+1)
			}
			waits = append(waits, next.Due.Sub(now))
			now = next.Due
		}
		if !slices.Equal(waits[:7], times(time.Hour, 1, 2, 4, 8, 16, 24, 24)) || waits[99] != 24*time.Hour {
			t.Errorf("%s: waits of %v", p, waits[:7])
		}
	}
}

// TestEmergency_askedAgain: one whose plan has changed before anything was written
// owes no review while the approvers decide, none when they say no, and again one
// when it opens after all.
func TestEmergency_askedAgain(t *testing.T) {
	g, effects := must(t, emergency(t, grant.Opening), changed(), t0)
	if g.Phase != grant.Requested || g.Missing() != 2 || g.NeedsReview() {
		t.Fatalf("asked again as %+v", g)
	}
	if e, ok := find(effects, grant.DoRemind, grant.RemindReview); !ok || !e.Cancel {
		t.Errorf("a review is owed of what was not opened: %v", effects)
	}
	if _, effects := must(t, g, grant.ReminderDue{Name: grant.RemindReview}, t0); len(effects) != 0 {
		t.Errorf("a late reminder owes %v", effects)
	}
	for _, p := range []grant.Phase{grant.Denied, grant.Withdrawn} {
		if emergency(t, p).NeedsReview() {
			t.Errorf("%s, and owes a review", p)
		}
	}
	g = must1(t, must1(t, g, grant.Approve{By: bob}), grant.Approve{By: carol})
	if g.Phase != grant.Opening || !g.NeedsReview() {
		t.Fatalf("approved after all: %s, needs a review: %v", g.Phase, g.NeedsReview())
	}
	// These approvals count like any others: they may fall away.
	g, effects = must(t, g, grant.Unapproved{Users: []grant.UserID{"U0BOB"}}, t0)
	if g.Phase != grant.Requested || !g.ApprovedBy("U0CAROL") || g.ApprovedBy("U0BOB") || has(effects, grant.DoOpen, "") && !cancelled(effects, grant.DoOpen) {
		t.Errorf("bob may not approve any more: %s, %v", g.Phase, g.Approvals)
	}
	g, effects = must(t, g, grant.Approve{By: fay}, t0)
	if e, ok := find(effects, grant.DoRemind, grant.RemindReview); g.Phase != grant.Opening || !ok || e.Cancel {
		t.Errorf("approved again: %s, owes %v", g.Phase, effects)
	}
	// One that is signed already owes none again.
	signed := must1(t, emergency(t, grant.Opening), grant.Sign{By: bob})
	for _, ev := range []grant.Event{changed(), grant.Approve{By: bob}, grant.Approve{By: carol}} {
		signed, effects = must(t, signed, ev, t0)
	}
	if e, ok := find(effects, grant.DoRemind, grant.RemindReview); signed.Phase != grant.Opening || ok && !e.Cancel {
		t.Errorf("a signed one: %s, owes %v", signed.Phase, effects)
	}
}

func cancelled(effects []grant.Effect, kind grant.EffectKind) bool {
	e, ok := find(effects, kind, "")
	return ok && e.Cancel
}
