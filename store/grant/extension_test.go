package grant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// TestExtension_wholeLife: asked for, approved by as many as the grant itself, and
// written; only then does the end move.
func TestExtension_wholeLife(t *testing.T) {
	end := t0.Add(4 * time.Hour)
	g := openedBy(t, 2)
	now := t0.Add(time.Hour)
	g, effects := must(t, g, grant.Extend{By: gus, For: 2 * time.Hour, Max: 12 * time.Hour}, now)
	if x := g.Extension; !x.Pending() || x.Doing() || x.N != 1 || x.By != "U0GUS" || !x.AskedAt.Equal(now) || x.Missing(g.Terms) != 2 {
		t.Errorf("asked for: %+v", x)
	}
	if e, ok := find(effects, grant.DoRemind, "extend:1"); !ok || !e.Due.Equal(now.Add(10*time.Minute)) || !has(effects, grant.DoSay, "extend_asked:1") || !has(effects, grant.DoCard, "") {
		t.Errorf("asking owes %v", effects)
	}
	g, effects = must(t, g, grant.ApproveExtension{By: carol, N: 1}, now)
	if !g.Extension.Pending() || g.Extension.Missing(g.Terms) != 1 || len(effects) != 1 || !g.End.Equal(end) {
		t.Errorf("one approval of two: %+v, owes %v", g.Extension, effects)
	}
	g, effects = must(t, g, grant.ApproveExtension{By: bob, N: 1}, now)
	if x := g.Extension; !x.Doing() || x.Pending() || !x.Until.Equal(end.Add(2*time.Hour)) || !g.End.Equal(end) || !x.DecidedAt.Equal(now) {
		t.Errorf("approved: %+v, ends at %v", x, g.End)
	}
	if e, ok := find(effects, grant.DoExtend, ""); !ok || !e.Due.Equal(now) {
		t.Errorf("the approval owes %v", effects)
	}
	if e, ok := find(effects, grant.DoRemind, "extend:1"); !ok || !e.Cancel {
		t.Errorf("the reminder of a decided question stays: %v", effects)
	}
	if _, moved := find(effects, grant.DoExpire, ""); moved {
		t.Errorf("the end moved before AWS was told: %v", effects)
	}
	g, effects = must(t, g, extended(g, end.Add(2*time.Hour).In(time.FixedZone("x", 3600))), now)
	if want := end.Add(2 * time.Hour); !g.End.Equal(want) || g.End.Location() != time.UTC || g.Extension != nil || !g.Access.End.Equal(want) {
		t.Errorf("extended: ends at %v, %+v", g.End, g.Extension)
	}
	if len(g.Extensions) != 1 || g.Extensions[0].By != "U0GUS" || !g.Extensions[0].From.Equal(end) || len(g.Extensions[0].Approvals) != 2 {
		t.Errorf("it is remembered as %+v", g.Extensions)
	}
	if e, ok := find(effects, grant.DoExpire, ""); !ok || !e.Due.Equal(g.End) || !has(effects, grant.DoSay, "extended:1") {
		t.Errorf("an extended grant owes %v", effects)
	}
	// Its approvals are used up, and the next question has the next number.
	g = must1(t, g, grant.Extend{By: alice, For: time.Second, Max: 12 * time.Hour})
	if g.Extension.N != 2 || g.Extension.Missing(g.Terms) != 2 {
		t.Errorf("asked again: %+v", g.Extension)
	}
	if early, _ := must(t, g, grant.EndDue{}, end); early.Phase != grant.Open {
		t.Errorf("at the old end it is %s", early.Phase)
	}
	if late, _ := must(t, g, grant.EndDue{}, end.Add(2*time.Hour)); late.Phase != grant.Closing {
		t.Errorf("at the new end it is %s", late.Phase)
	}
}

// TestExtend_whoMay: any requester, not the grant's alone, up to the longest that
// is allowed to go.
func TestExtend_whoMay(t *testing.T) {
	both := bob
	both.Requester = true
	for _, by := range []grant.Actor{alice, gus, both} {
		for _, tt := range []struct{ d, limit time.Duration }{
			{time.Second, 12 * time.Hour}, {8 * time.Hour, 12 * time.Hour}, {10000 * time.Hour, 0},
		} {
			g := must1(t, openedBy(t, 1), grant.Extend{By: by, For: tt.d, Max: tt.limit})
			if g.Extension.By != by.User || g.Extension.For != tt.d {
				t.Errorf("%s asks for %v of %v: %+v", by.User, tt.d, tt.limit, g.Extension)
			}
		}
	}
	// What has gone by makes room.
	if _, _, err := openedBy(t, 1).Apply(grant.Extend{By: alice, For: 9 * time.Hour, Max: 12 * time.Hour}, t0.Add(time.Hour)); err != nil {
		t.Errorf("nine hours, an hour later: %v", err)
	}
	// Even without a limit nothing wraps round into the past.
	g := must1(t, openedBy(t, 1), grant.Extend{By: alice, For: 1<<63 - 1})
	if g = must1(t, g, grant.ApproveExtension{By: bob, N: 1}); !g.Extension.Until.After(g.End) {
		t.Errorf("the longest leads to %v", g.Extension.Until)
	}
}

// TestApproveExtension_distinct: nobody counts twice, neither who asked nor the
// requester counts, and who approved the grant may approve this, too.
func TestApproveExtension_distinct(t *testing.T) {
	all := func(a grant.Actor) grant.Actor { a.Approver = true; return a }
	for n := 1; n <= 3; n++ {
		g := asked(t, n)
		for _, by := range []grant.Actor{all(alice), all(gus), eve, dave, operator, grant.Self()} {
			if next, effects, err := g.Apply(grant.ApproveExtension{By: by, N: 1}, t0); err == nil || effects != nil || len(next.Extension.Approvals) > 0 {
				t.Errorf("%v approved", by)
			}
		}
		for i, by := range []grant.Actor{fay, bob, carol}[:n] {
			g = must1(t, g, grant.ApproveExtension{By: by, N: 1})
			if doing := g.Extension.Doing(); doing != (i == n-1) {
				t.Errorf("%d of %d approvals: it is being written: %v", i+1, n, doing)
			}
			if _, _, err := g.Apply(grant.ApproveExtension{By: by, N: 1}, t0); err == nil {
				t.Errorf("%s approved twice", by.User)
			}
		}
	}
	// An emergency was opened without an approval, and is not extended without one.
	g := must1(t, emergency(t, grant.Open), grant.Extend{By: gus, For: time.Hour})
	if g = must1(t, g, grant.ApproveExtension{By: bob, N: 1}); g.Extension.Doing() {
		t.Error("one approval of two extends an emergency")
	}
	if _, _, err := g.Apply(grant.ApproveExtension{By: all(mia), N: 1}, t0); refusal(t, err).Code != grant.OwnRequest {
		t.Errorf("who opened the emergency extends it: %v", err)
	}
}

// TestApproveExtension_olderOne: a button of an older question decides nothing,
// however the older one ended.
func TestApproveExtension_olderOne(t *testing.T) {
	for name, over := range map[string][]grant.Event{
		"denied":    {grant.DenyExtension{By: bob, N: 1}},
		"taken":     {grant.DenyExtension{By: gus, N: 1}},
		"failed":    {grant.ApproveExtension{By: bob, N: 1}, grant.ExtendFailed{Trouble: grant.Trouble{Step: grant.StepTrust, Text: "It is gone."}}},
		"extended":  {grant.ApproveExtension{By: bob, N: 1}, grant.ExtendDone{Access: grant.Access{End: t0.Add(6 * time.Hour)}}},
		"untouched": nil,
	} {
		g := asked(t, 1)
		for _, ev := range over {
			g = must1(t, g, ev)
		}
		if over != nil {
			g = must1(t, g, grant.Extend{By: alice, For: time.Hour})
		}
		for _, n := range []int{-1, 0, 1, 2, 3} {
			if n == g.Extension.N {
				continue
			}
			for _, ev := range []grant.Event{grant.ApproveExtension{By: carol, N: n}, grant.DenyExtension{By: carol, N: n}, grant.DenyExtension{By: alice, N: n}} {
				if next, effects, err := g.Apply(ev, t0); err == nil || effects != nil || !next.Extension.Pending() {
					t.Errorf("%s: %s of %d decided on %d", name, ev.Kind(), n, g.Extension.N)
				}
			}
		}
	}
}

func TestDenyExtension(t *testing.T) {
	own := alice
	own.Approver = true
	for name, by := range map[string]grant.Actor{"an approver": bob, "who asked for it": gus, "the requester, who is an approver, too": own} {
		g := must1(t, asked(t, 2), grant.ApproveExtension{By: carol, N: 1})
		g, effects := must(t, g, grant.DenyExtension{By: by, N: 1}, t0.Add(time.Minute))
		if x := g.Extension; x.Pending() || x.Doing() || x.DeniedBy != by.User || !g.End.Equal(t0.Add(4*time.Hour)) {
			t.Errorf("%s: %+v", name, x)
		}
		if e, ok := find(effects, grant.DoRemind, "extend:1"); !ok || !e.Cancel || !has(effects, grant.DoSay, "extend_denied:1") || has(effects, grant.DoExtend, "") {
			t.Errorf("%s: owes %v", name, effects)
		}
		if _, effects = must(t, g, grant.ReminderDue{Name: "extend:1"}, t0.Add(time.Hour)); len(effects) != 0 {
			t.Errorf("%s: it is asked for again: %v", name, effects)
		}
	}
}

// TestExtendDone_wrongEnd: an end that is not later than the one before, or later
// than the approved one, leads to closing.
func TestExtendDone_wrongEnd(t *testing.T) {
	end := t0.Add(4 * time.Hour)
	for name, tt := range map[string]struct {
		g      grant.Grant
		end    time.Time
		closes bool
	}{
		"none":                              {extending(t), time.Time{}, true},
		"a moment too late":                 {extending(t), end.Add(2*time.Hour + 1), true},
		"as it was":                         {extending(t), end, true},
		"earlier":                           {extending(t), end.Add(-time.Second), true},
		"past":                              {extending(t), t0.Add(-time.Hour), true},
		"the approved one":                  {extending(t), end.Add(2 * time.Hour), false},
		"in whole seconds":                  {extending(t), end.Add(2*time.Hour - time.Second + 1), false},
		"later, and nobody was asked":       {openedBy(t, 1), end.Add(time.Second), true},
		"later, and nobody has decided":     {asked(t, 1), end.Add(2 * time.Hour), true},
		"later, and it was denied":          {must1(t, asked(t, 1), grant.DenyExtension{By: bob, N: 1}), end.Add(2 * time.Hour), true},
		"later, and it has failed":          {must1(t, extending(t), grant.ExtendFailed{}), end.Add(2 * time.Hour), true},
		"the known one, told again":         {openedBy(t, 1), end, false},
		"the known one, once more asked":    {asked(t, 1), end, false},
		"none, and nothing is being done":   {openedBy(t, 1), time.Time{}, false},
		"an older one, told late and again": {openedBy(t, 1), end.Add(-time.Hour), false},
	} {
		g, effects := must(t, tt.g, extended(tt.g, tt.end), t0.Add(time.Minute))
		if (g.Phase == grant.Closing) != tt.closes || g.Phase != grant.Open && has(effects, grant.DoSay, "extended:1") {
			t.Errorf("%s: %s", name, g.Phase)
		}
		switch moved := !g.End.Equal(end); {
		case tt.closes && (moved || !has(effects, grant.DoClose, "") || !has(effects, grant.DoSay, grant.SayClosing)):
			t.Errorf("%s: ends at %v, owes %v", name, g.End, effects)
		case !tt.g.Extension.Doing() && !tt.closes && (moved || len(effects) != 0):
			t.Errorf("%s: ends at %v, owes %v", name, g.End, effects)
		}
		if e, ok := find(effects, grant.DoExtend, ""); tt.closes && (!ok || !e.Cancel) {
			t.Errorf("%s: it goes on extending", name)
		}
	}
}

// TestExtension_closingTakesItBack: whatever ends a grant takes back what its
// extension owes, and a late result changes nothing.
func TestExtension_closingTakesItBack(t *testing.T) {
	end := t0.Add(4 * time.Hour)
	for name, g := range map[string]grant.Grant{"while it is asked for": asked(t, 1), "while it is being written": extending(t)} {
		for _, ev := range []grant.Event{grant.Revoke{By: alice}, grant.EndDue{}} {
			closing, effects := must(t, g, ev, end)
			if closing.Phase != grant.Closing || !closing.End.Equal(end) {
				t.Errorf("%s, %s: %s, ends at %v", name, ev.Kind(), closing.Phase, closing.End)
			}
			for _, k := range []key{{kind: grant.DoExtend}, {grant.DoRemind, "extend:1"}} {
				if e, ok := find(effects, k.kind, k.arg); !ok || !e.Cancel {
					t.Errorf("%s, %s: %v stays owed", name, ev.Kind(), k)
				}
			}
			for _, late := range []grant.Event{
				extended(g, end.Add(2*time.Hour)),
				grant.ExtendDelayed{},
				grant.ExtendFailed{},
				grant.ApproveExtension{By: carol, N: 1},
				grant.DenyExtension{By: carol, N: 1},
			} {
				if next, effects, err := closing.Apply(late, end); err == nil || next.Version != closing.Version || effects != nil {
					t.Errorf("%s, %s: %s is heard when it is closing", name, ev.Kind(), late.Kind())
				}
			}
		}
	}
	// The end comes when it comes, also when an attempt waits for its turn.
	g, effects := must(t, extending(t), grant.ExtendDelayed{Wait: time.Hour}, end.Add(-time.Minute))
	if e, _ := find(effects, grant.DoExtend, ""); !e.Due.After(end) {
		t.Fatalf("the next attempt is due at %v", e.Due)
	}
	if g, _ = must(t, g, grant.EndDue{}, end); g.Phase != grant.Closing {
		t.Errorf("at the end it is %s", g.Phase)
	}
	// What AWS confirms when the old end has just passed was approved in time.
	g, effects = must(t, extending(t), extended(extending(t), end.Add(2*time.Hour)), end.Add(time.Second))
	if e, _ := find(effects, grant.DoExpire, ""); g.Phase != grant.Open || !e.Due.Equal(end.Add(2*time.Hour)) {
		t.Errorf("confirmed a second after the old end: %s, end owed at %v", g.Phase, e.Due)
	}
	// Or when the new one has, too: then it is the end's turn at once.
	g, effects = must(t, extending(t), extended(extending(t), end.Add(2*time.Hour)), end.Add(3*time.Hour))
	if e, _ := find(effects, grant.DoExpire, ""); g.Phase != grant.Open || !e.Due.Equal(end.Add(2*time.Hour)) {
		t.Errorf("confirmed after the new end: %s, end owed at %v", g.Phase, e.Due)
	}
}

func TestExtend_delayedAndFailed(t *testing.T) {
	g := extending(t)
	trouble := grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled.", Cause: errSecret}
	for i := range 3 {
		var effects []grant.Effect
		g, effects = must(t, g, grant.ExtendDelayed{Trouble: trouble, Wait: 4 * time.Second}, t0)
		if e, _ := find(effects, grant.DoExtend, ""); !e.Due.Equal(t0.Add(4*time.Second)) || g.Extension.Tries != i+1 || g.Extension.Trouble.Cause != nil || !g.Extension.Doing() {
			t.Errorf("delayed: %+v, owes %v", g.Extension, effects)
		}
	}
	failed, effects := must(t, g, grant.ExtendFailed{Trouble: trouble}, t0)
	if x := failed.Extension; x.Doing() || x.Pending() || x.Trouble == nil || x.Trouble.Cause != nil || !failed.End.Equal(t0.Add(4*time.Hour)) {
		t.Errorf("failed: %+v, ends at %v", x, failed.End)
	}
	if e, ok := find(effects, grant.DoExtend, ""); !ok || !e.Cancel || !has(effects, grant.DoSay, fmt.Sprint("extend_failed:", failed.Version)) {
		t.Errorf("failed: owes %v", effects)
	}
	if again := must1(t, failed, grant.Extend{By: gus, For: time.Hour}); again.Extension.N != 2 || again.Extension.Trouble != nil {
		t.Errorf("asked again after that: %+v", again.Extension)
	}
	// A result that comes when nothing is being written changes nothing.
	for name, idle := range map[string]grant.Grant{"nobody asked": openedBy(t, 1), "nobody has decided": asked(t, 1), "it failed before": failed} {
		for _, ev := range []grant.Event{grant.ExtendDelayed{Trouble: trouble, Wait: time.Second}, grant.ExtendFailed{Trouble: trouble}} {
			next, effects := must(t, idle, ev, t0)
			if next.Extension.Doing() || next.Extension.Pending() != idle.Extension.Pending() || len(said(effects)) > 0 {
				t.Errorf("%s, %s: %+v, owes %v", name, ev.Kind(), next.Extension, effects)
			}
			if e, ok := find(effects, grant.DoExtend, ""); !ok || !e.Cancel {
				t.Errorf("%s, %s: it is tried again", name, ev.Kind())
			}
		}
	}
}

// TestExtendDone_reminders: those that come before the end are set anew, and those
// that the old end had left no room for are set at all.
func TestExtendDone_reminders(t *testing.T) {
	r := request(1)
	r.Duration = 20 * time.Minute // over before anything but the last reminder
	g := must1(t, must1(t, grant.Grant{ID: 7}, r), grant.Approve{By: bob})
	g, effects := must(t, g, access(t0.Add(20*time.Minute)), t0)
	reminders := func(effects []grant.Effect) (out []string) {
		for _, e := range effects {
			if e.Kind == grant.DoRemind && !e.Cancel {
				out = append(out, fmt.Sprint(e.Arg, " ", e.Due.Sub(t0)))
			}
		}
		return out
	}
	if got := reminders(effects); !slices.Equal(got, []string{"before_end:10m0s 10m0s", "unsent 15m0s"}) {
		t.Fatalf("opened for 20 minutes, it owes %v", got)
	}
	extend := func(g grant.Grant, d time.Duration, now time.Time) (grant.Grant, []grant.Effect) {
		g, _ = must(t, g, grant.Extend{By: gus, For: d}, now)
		g, _ = must(t, g, grant.ApproveExtension{By: bob, N: g.Extension.N}, now)
		return must(t, g, extended(g, g.Extension.Until), now)
	}
	g, effects = extend(g, 5*time.Hour, t0.Add(12*time.Minute))
	want := []string{"before_end:30m0s 4h50m0s", "before_end:10m0s 5h10m0s", "still_open 2h0m0s", "unused 30m0s", "unsent 15m0s"}
	if got := reminders(effects); !slices.Equal(got, want) {
		t.Errorf("extended, it owes %v, want %v", got, want)
	}
	// Later on: what was said is not said again, and Support has been told.
	g, _ = must(t, g, grant.MarkSent{By: alice}, t0.Add(13*time.Minute))
	g, effects = extend(g, 8*time.Hour, t0.Add(4*time.Hour+time.Minute))
	want = []string{"before_end:30m0s 12h50m0s", "before_end:10m0s 13h10m0s", "still_open 6h0m0s"}
	if got := reminders(effects); !slices.Equal(got, want) {
		t.Errorf("extended again, it owes %v, want %v", got, want)
	}
	// By a few minutes: what the new end leaves no room for is not owed in the past.
	_, effects = extend(g, time.Minute, g.End.Add(-time.Second))
	if got := reminders(effects); len(got) != 0 {
		t.Errorf("extended by a minute just before its end, it owes %v", got)
	}
	// The reminder before the end comes before the new end, and once more.
	_, effects = must(t, g, grant.ReminderDue{Name: "before_end:10m0s"}, t0.Add(10*time.Minute))
	if e, ok := find(effects, grant.DoRemind, "before_end:10m0s"); !ok || !e.Due.Equal(g.End.Add(-10*time.Minute)) || len(said(effects)) > 0 {
		t.Errorf("the reminder of the old end: %v", effects)
	}
}

// TestRemind_extension: the approvers are asked again after twice as long, until
// somebody decides or the time is up.
func TestRemind_extension(t *testing.T) {
	g := asked(t, 1)
	var at []time.Duration
	for due := t0.Add(10 * time.Minute); !due.IsZero(); {
		var effects []grant.Effect
		g, effects = must(t, g, grant.ReminderDue{Name: "extend:1"}, due)
		if got := said(effects); !slices.Equal(got, []string{"extend:1"}) || !effects[0].Once {
			t.Fatalf("at %v: %v", due.Sub(t0), effects)
		}
		at = append(at, due.Sub(t0))
		next, _ := find(effects, grant.DoRemind, "extend:1")
		due = next.Due
	}
	if !slices.Equal(at, times(time.Minute, 10, 20, 40, 80, 160)) {
		t.Errorf("asked again at %v", at)
	}
	for _, tt := range []struct {
		g    grant.Grant
		name string
		at   time.Time
	}{
		{g, "extend:1", g.End},
		{g, "extend:2", t0},
		{g, "extend:", t0},
		{g, "extend:x", t0},
		{g, "extend", t0},
		{extending(t), "extend:1", t0},
		{openedBy(t, 1), "extend:1", t0},
	} {
		if _, effects := must(t, tt.g, grant.ReminderDue{Name: tt.name}, tt.at); len(effects) != 0 {
			t.Errorf("%s at %v: owes %v", tt.name, tt.at.Sub(t0), effects)
		}
	}
	// A clock that was set back does not silence it.
	_, effects := must(t, asked(t, 1), grant.ReminderDue{Name: "extend:1"}, t0.Add(-time.Minute))
	if e, ok := find(effects, grant.DoRemind, "extend:1"); !ok || !e.Due.Equal(t0.Add(9*time.Minute)) {
		t.Errorf("with the clock set back: %v", effects)
	}
	// Where reminders are off there is none.
	quiet := openedBy(t, 1)
	quiet.Terms.Reminders.Undecided = 0
	if _, effects := must(t, quiet, grant.Extend{By: gus, For: time.Hour}, t0); has(effects, grant.DoRemind, "extend:1") {
		t.Errorf("reminders are off, and yet %v", effects)
	}
}

func times(unit time.Duration, list ...int) (out []time.Duration) {
	for _, n := range list {
		out = append(out, time.Duration(n)*unit)
	}
	return out
}

// TestExtensions_golden is what people read who ask for more time, or open an
// emergency, in words that cannot be used.
func TestExtensions_golden(t *testing.T) {
	var b strings.Builder
	show := func(name string, err error, want grant.Code) {
		t.Helper()
		r := refusal(t, err)
		if r.Code != want || strings.ContainsAny(r.Text, "\n\u202e") || strings.Contains(r.Text, "%!") {
			t.Errorf("%s: %s, %q, want %s", name, r.Code, r.Text, want)
		}
		fmt.Fprintf(&b, "%s\n    %s: %s\n", name, r.Code, r.Text)
	}
	p := policy()
	for _, words := range []string{"", "soon", "0s", "-2h", "999ms", "2h\u202e`<!channel>`\n" + strings.Repeat("y", 200)} {
		ev, err := p.Extend(alice, words)
		show(fmt.Sprintf("extend by %.20q", words), err, grant.BadRequest)
		if ev != (grant.Extend{}) {
			t.Errorf("%q: %+v", words, ev)
		}
	}
	if ev, err := p.Extend(alice, " 1h 30m "); err != nil || ev.For != 90*time.Minute || ev.Max != 12*time.Hour || ev.By.User != alice.User {
		t.Errorf("Extend = %+v, %v", ev, err)
	}

	ev, err := p.Emergency(alice, ask(), "tok")
	show("an emergency of somebody who may only request", err, grant.NotAllowed)
	if ev.Emergency || ev.Token != "" {
		t.Errorf("refused, and yet %+v", ev)
	}
	ev, err = p.Emergency(mia, grant.Ask{Cell: "x", ARN: "*", For: "13h"}, "tok")
	show("an emergency with everything wrong", err, grant.UnknownCell)
	if ev.Emergency || ev.By.User != "" {
		t.Errorf("refused, and yet %+v", ev)
	}
	ev, err = p.Emergency(mia, ask(), "tok")
	if err != nil || !ev.Emergency || ev.By != mia || ev.Duration != 2*time.Hour || ev.Terms.Approvals != 2 {
		t.Errorf("Emergency = %+v, %v", ev, err)
	}
	recent := []grant.Grant{emergency(t, grant.Opening), emergency(t, grant.Open), emergency(t, grant.Closed)}
	show("one emergency too many", grant.TooMany(urgent(), recent, t0), grant.RateLimited)
	golden(t, "extensions.golden", b.String())
}

// TestExtend_inVain: each person may ask for more time ten times in vain; what was carried
// out, or could not be, does not count.
func TestExtend_inVain(t *testing.T) {
	g := openedBy(t, 1)
	for n := range 10 {
		g = must1(t, g, grant.Extend{By: gus, For: time.Hour})
		by := bob
		if n%2 == 0 {
			by = gus // takes it back
		}
		g = must1(t, g, grant.DenyExtension{By: by, N: n + 1})
		if n == 4 {
			g = must1(t, g, grant.Extend{By: gus, For: time.Hour})
			g = must1(t, g, grant.ApproveExtension{By: bob, N: g.Extension.N})
			g = must1(t, g, extended(g, g.Extension.Until))
			g.ExtensionsAsked = n + 1
		}
	}
	_, _, err := g.Apply(grant.Extend{By: gus, For: time.Hour}, t0)
	if r := refusal(t, err); r.Code != grant.RateLimited || !strings.Contains(r.Text, "10 times") {
		t.Errorf("the eleventh: %v", err)
	}
	if _, _, err := g.Apply(grant.Extend{By: alice, For: time.Hour}, t0); err != nil {
		t.Errorf("alice pays for gus: %v", err)
	}
	if len(g.Story) > 40 {
		t.Errorf("the story has %d lines", len(g.Story))
	}
	if _, _, err := g.Apply(grant.Extend{By: eve, For: time.Hour}, t0); refusal(t, err).Code != grant.NotAllowed {
		t.Errorf("eve learns more than that she may not: %v", err)
	}
}
