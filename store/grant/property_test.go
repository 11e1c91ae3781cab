package grant_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakglass/store/grant"
)

// machine is a grant with a model of what surrounds it: the clock, the outbox,
// the people who approved, the rounds of closing. It knows the promises of the
// package and none of its code.
type machine struct {
	g        grant.Grant
	now      time.Time
	owed     map[key]row
	seq      int
	approved map[grant.UserID]string // the accepted approvals since it was asked last, with their yes
	again    int                     // how often it was asked again
	rounds   []seen
	reached  map[grant.Phase]bool
}

type key struct {
	kind grant.EffectKind
	arg  string
}

type row struct {
	seq int
	due time.Time
}

// seen is a round of closing and when it was applied.
type seen struct {
	at    time.Time
	round grant.Round
}

func newMachine() *machine {
	return &machine{g: grant.Grant{ID: 7}, now: t0, owed: map[key]row{}, approved: map[grant.UserID]string{}, reached: map[grant.Phase]bool{}}
}

// apply applies an event, checks every promise, and keeps the outbox as the
// store does. settle is the row that was paid with it.
func (m *machine) apply(t *rapid.T, ev grant.Event, settle *key) error {
	before := m.g
	next, effects, err := m.g.Apply(ev, m.now)
	if settle != nil {
		delete(m.owed, *settle)
	}
	if err != nil {
		_, moot := errors.AsType[*grant.Moot](err)
		_, refused := errors.AsType[*grant.Refusal](err)
		if !moot && !refused {
			t.Fatalf("%s: %v", ev.Kind(), err)
		}
		if effects != nil || !cmp.Equal(before, next) {
			t.Fatalf("%s was answered with %q, and yet it changed the grant or owes %v", ev.Kind(), err, effects)
		}
		m.check(t)
		return err
	}
	m.g = next
	m.reached[next.Phase] = true
	known := map[key]bool{}
	for _, e := range effects {
		k := key{e.Kind, e.Arg}
		// What is taken back may be owed anew by the same event, in that order.
		if cancelled, ok := known[k]; ok && (!cancelled || e.Cancel) {
			t.Fatalf("%s owes %v twice", ev.Kind(), k)
		}
		known[k] = e.Cancel
		if e.Cancel {
			delete(m.owed, k)
			continue
		}
		if !slices.Contains(grant.EffectKinds, e.Kind) || e.Due.IsZero() {
			t.Fatalf("%s owes %+v", ev.Kind(), e)
		}
		m.seq++
		m.owed[k] = row{seq: m.seq, due: e.Due}
	}
	if next.Version != before.Version+1 && before.Phase != grant.None {
		t.Fatalf("%s: version %d after %d", ev.Kind(), next.Version, before.Version)
	}
	m.promises(t, before, ev)
	m.check(t)
	return nil
}

// promises are about a change.
func (m *machine) promises(t *rapid.T, before grant.Grant, ev grant.Event) {
	g := m.g
	switch e := ev.(type) {
	case grant.Approve:
		if e.By.User == g.Requester || !e.By.Approver || e.By.Kind != grant.Person {
			t.Fatalf("%v approved the request of %s", e.By, g.Requester)
		}
		if _, known := m.approved[e.By.User]; known {
			t.Fatalf("%s counts twice", e.By.User)
		}
		// Only what the card showed can have been agreed to.
		shown := ""
		if before.Report != nil {
			shown = before.Report.Redirect.Yes()
		}
		if shown != "" && e.Yes != shown {
			t.Fatalf("%s approved without the yes to %+v", e.By.User, before.Report.Redirect)
		}
		m.approved[e.By.User] = shown
	case grant.CheckDone:
		if yes := e.Report.Redirect.Yes(); yes != "" && g.Phase == grant.Requested {
			// Nobody's approval outlives a redirection that they did not agree to.
			maps.DeleteFunc(m.approved, func(_ grant.UserID, said string) bool { return said != yes })
		}
	case grant.Replanned:
		m.replanned(t, before)
	case grant.Remove:
		if e.By.Kind == grant.Bot || e.By.Kind == grant.Person && !e.By.Approver && !e.By.Revoker {
			t.Fatalf("%+v had trust taken away", e.By)
		}
		if g.Phase != grant.Closing || !g.Removal || !g.Touched {
			t.Fatalf("a removal began as %+v", g)
		}
	case grant.CloseRound:
		m.rounds = append(m.rounds, seen{m.now, e.Round})
	case grant.Watched:
		m.looked(t, before, e.Sighting)
	default:
	}
	if before.Phase != grant.Opening && g.Phase == grant.Opening {
		if len(m.approved) < max(g.Terms.Approvals, 1) {
			t.Fatalf("opening with the approvals of %v, want %d", m.approved, g.Terms.Approvals)
		}
		for by, said := range m.approved {
			if r := g.Report; r != nil && r.Redirect != nil && said != r.Redirect.Yes() {
				t.Fatalf("opening moves the logs from %s, and %s did not agree to that", r.Redirect.From, by)
			}
		}
	}
	if before.Phase == grant.Opening && g.Phase == grant.Requested && ev.Kind() != grant.KindReplanned {
		t.Fatalf("%s led back from opening", ev.Kind())
	}
	if !before.End.IsZero() && g.End.After(before.End) {
		t.Fatalf("%s moved the end from %v to %v", ev.Kind(), before.End, g.End)
	}
	if before.End.IsZero() && !g.End.IsZero() && g.End.After(m.now.Add(g.Duration)) {
		t.Fatalf("the end is %v, later than was approved", g.End)
	}
	if before.Phase.Terminal() {
		before.Card, before.Version = g.Card, g.Version
		if diff := cmp.Diff(before, g); diff != "" {
			t.Fatalf("%s changed a grant that had ended:\n%s", ev.Kind(), diff)
		}
	}
	if before.Phase != grant.Closed && g.Phase == grant.Closed {
		m.proof(t)
	}
	if before.Phase == grant.Closing && g.Phase != grant.Closing && g.Phase != grant.Closed {
		t.Fatalf("closing led to %s", g.Phase)
	}
}

// replanned wants what was never written to be asked for anew, as if it had just
// been requested, and anything else to be closed.
func (m *machine) replanned(t *rapid.T, before grant.Grant) {
	g := m.g
	wrote := before.Touched || slices.ContainsFunc(before.Opening, func(s grant.Step) bool { return s.Name != grant.StepCheck && s.State == grant.Done })
	if wrote {
		if g.Phase != grant.Closing {
			t.Fatalf("what may have been written is left there: %s", g.Phase)
		}
		return
	}
	m.again++
	clear(m.approved)
	if g.Phase != grant.Requested || g.Missing() != g.Terms.Approvals || g.Report != nil || g.OpenError == nil {
		t.Fatalf("asked again as %+v", g)
	}
	for _, k := range []key{{kind: grant.DoCheck}, {kind: grant.DoLapse}, {grant.DoRemind, grant.RemindUndecided}, {grant.DoSay, fmt.Sprintf("%s:%d", grant.SayReplanned, g.Version)}} {
		if r, ok := m.owed[k]; !ok || r.due.Before(m.now) {
			t.Fatalf("asked again, and %v is owed %v, %v", k, r, ok)
		}
	}
	if due := m.owed[key{kind: grant.DoLapse}].due; !due.Equal(m.now.Add(g.Terms.Undecided)) {
		t.Fatalf("asked again at %v, and it lapses at %v", m.now, due)
	}
}

// proof looks back at the rounds and wants them to prove what closed means.
func (m *machine) proof(t *rapid.T) {
	last := m.rounds[len(m.rounds)-1]
	if !last.round.Trust.Done {
		t.Fatal("closed without having read the trust gone")
	}
	excused := !m.g.Touched || len(last.round.StillTrusted) > 0
	if excused && last.round.Credentials.Skipped && last.round.Sessions.Skipped {
		return
	}
	// The rounds at the end in which the trust was gone, from the last removal on.
	first := len(m.rounds) - 1
	for i := first; i >= 0 && m.rounds[i].round.Trust.Done; i-- {
		first = i
		if len(m.rounds[i].round.Removed) > 0 {
			break
		}
	}
	settled := m.rounds[first].at.Add(m.g.Terms.Settle)
	if m.now.Before(settled) {
		t.Fatalf("closed %v before the trust had been gone for %v", settled.Sub(m.now), m.g.Terms.Settle)
	}
	if c := last.round.Credentials; !c.Skipped && (!c.Done || last.round.CutOff.Before(settled)) {
		t.Fatalf("closed with credentials that may live: cut off at %v, settled at %v", last.round.CutOff, settled)
	}
	if last.round.Sessions.Skipped {
		return
	}
	if len(m.rounds)-first < 2 {
		t.Fatal("closed after one look at the sessions")
	}
	for _, r := range m.rounds[len(m.rounds)-2:] {
		if !r.round.Sessions.Done || len(r.round.Live) > 0 {
			t.Fatalf("closed after a round that saw %v, done %v", r.round.Live, r.round.Sessions.Done)
		}
	}
}

// check is about any state.
func (m *machine) check(t *rapid.T) {
	g := m.g
	_, closes := m.owed[key{kind: grant.DoClose}]
	_, ends := m.owed[key{kind: grant.DoExpire}]
	if g.Live() != (closes || ends) {
		t.Fatalf("a grant that is %s owes its end: %v, its closing: %v", g.Phase, ends, closes)
	}
	if (g.Phase == grant.Closing) != closes {
		t.Fatalf("a grant that is %s owes a closing: %v", g.Phase, closes)
	}
	if g.Phase == grant.Open {
		if due := m.owed[key{kind: grant.DoExpire}].due; due.After(g.End) {
			t.Fatalf("the end %v is owed at %v", g.End, due)
		}
	}
	if _, looks := m.owed[key{kind: grant.DoWatch}]; looks != (g.Phase == grant.Open) {
		t.Fatalf("a grant that is %s owes a look: %v", g.Phase, looks)
	}
	for k := range m.owed {
		waits := k.kind == grant.DoRemind || k.kind == grant.DoLapse || k.kind == grant.DoOpen
		if waits && g.Phase.Terminal() {
			t.Fatalf("a grant that is %s owes %v", g.Phase, k)
		}
	}
	if g.Phase == grant.None || g.Phase == grant.Requested {
		if g.Touched || g.Access != nil || !g.End.IsZero() {
			t.Fatalf("a grant that is %q has access", g.Phase)
		}
	}
	if _, opens := m.owed[key{kind: grant.DoOpen}]; opens && g.Phase != grant.Opening {
		t.Fatalf("a grant that is %s owes an opening", g.Phase)
	}
	if g.Live() && !g.Removal && g.Missing() > 0 {
		t.Fatalf("a grant that is %s lacks %d approvals", g.Phase, g.Missing())
	}
}

// pay pays the row that is due first, as the worker would. good makes AWS
// behave.
func (m *machine) pay(t *rapid.T, good bool) bool {
	var first *key
	for k, r := range m.owed {
		if first == nil || r.due.Before(m.owed[*first].due) || (r.due.Equal(m.owed[*first].due) && r.seq < m.owed[*first].seq) {
			first = new(k)
		}
	}
	if first == nil {
		return false
	}
	if due := m.owed[*first].due; due.After(m.now) {
		m.now = due
	}
	var ev grant.Event
	switch first.kind {
	case grant.DoCheck:
		ev = grant.CheckDone{Report: grant.Report{At: m.now}}
		if !good {
			ev = checked(t)
		}
	case grant.DoOpen:
		step := grant.StepChanged{Step: grant.StepTrust, State: grant.Running}
		if !good {
			step.Step = rapid.SampledFrom([]string{grant.StepCheck, grant.StepCheck, grant.StepLogging, grant.StepTrust}).Draw(t, "step")
			step.State = rapid.SampledFrom([]grant.StepState{grant.Running, grant.Done}).Draw(t, "state")
		}
		if m.apply(t, step, nil) != nil {
			delete(m.owed, *first)
			return true
		}
		ev = access(m.now.Add(m.g.Duration))
		if !good {
			ev = opened.Draw(t, "opened")(m)
		}
	case grant.DoClose:
		ev = round(func(r *grant.Round) { r.CutOff = m.now.Add(2 * m.g.Terms.Settle) })
		if !good {
			ev = closeRound(t, m)
		}
	case grant.DoExpire:
		ev = grant.EndDue{}
	case grant.DoLapse:
		ev = grant.LapseDue{}
	case grant.DoRemind:
		ev = grant.ReminderDue{Name: first.arg}
	case grant.DoWatch:
		ev = grant.Watched{Sighting: grant.Sighting{SessionsRead: true}}
		if !good {
			ev = sighting(t, m.now)
		}
	case grant.DoCard:
		ev = grant.CardPosted{Card: grant.Card{Channel: "C1", TS: fmt.Sprint(m.seq)}}
	default:
		delete(m.owed, *first)
		return true
	}
	_ = m.apply(t, ev, first)
	return true
}

// opened draws how an attempt at opening went.
var opened = rapid.SampledFrom([]func(m *machine) grant.Event{
	func(m *machine) grant.Event { return access(m.now.Add(m.g.Duration)) },
	func(m *machine) grant.Event { return access(m.now.Add(m.g.Duration - time.Second)) },
	func(m *machine) grant.Event { return access(m.now.Add(m.g.Duration + time.Second)) },
	func(m *machine) grant.Event { return access(m.now.Add(-time.Second)) },
	func(*machine) grant.Event { return access(time.Time{}) },
	func(*machine) grant.Event {
		return grant.OpenDelayed{Trouble: grant.Trouble{Kind: grant.Again, Step: grant.StepLogging, Text: "Throttled."}, Wait: time.Minute}
	},
	func(*machine) grant.Event {
		return grant.OpenFailed{Trouble: grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "Not allowed."}}
	},
	replan,
	replan,
})

func replan(*machine) grant.Event {
	return grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another instance."}}
}

// checked draws what the checks found.
func checked(t *rapid.T) grant.CheckDone {
	if from := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "redirects from"); from != "" {
		return redirected(from)
	}
	return grant.CheckDone{Report: grant.Report{At: t0}}
}

// yes draws which redirection a person agrees to.
func yes(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", yesTo("a"), yesTo("b")}).Draw(t, "yes")
}

func closeRound(t *rapid.T, m *machine) grant.CloseRound {
	trouble := &grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled."}
	outcome := rapid.SampledFrom([]grant.Outcome{{Done: true}, {Done: true}, {Done: true}, {}, {Trouble: trouble}, {Skipped: true, Note: "why"}})
	r := grant.Round{
		Trust: outcome.Draw(t, "trust"), Credentials: outcome.Draw(t, "credentials"), Sessions: outcome.Draw(t, "sessions"),
		CutOff: m.now.Add(time.Duration(rapid.IntRange(-30, 120).Draw(t, "cut off")) * time.Second),
	}
	if rapid.IntRange(0, 3).Draw(t, "removed") == 0 {
		r.Removed = []string{"BreakglassBG7"}
	}
	if rapid.IntRange(0, 3).Draw(t, "live") == 0 {
		r.Live = []grant.Session{{ID: rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session")}}
		r.Ended = r.Live
	}
	if rapid.IntRange(0, 5).Draw(t, "still trusted") == 0 {
		r.StillTrusted = []grant.ID{9}
	}
	return grant.CloseRound{Round: r}
}

func person(t *rapid.T) grant.Actor {
	a := rapid.SampledFrom([]grant.Actor{alice, bob, carol, dave, eve, operator, grant.Self()}).Draw(t, "person")
	switch rapid.IntRange(0, 5).Draw(t, "rights") { // rights change from one click to the next
	case 0:
		a.Approver = true
	case 1:
		a.Approver, a.Requester, a.Revoker = false, false, false
	}
	return a
}

func TestGrant_properties(t *testing.T) {
	reached := map[grant.Phase]int{}
	again, removals := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		click := func(ev func(by grant.Actor) grant.Event) func(*rapid.T) {
			return func(t *rapid.T) { _ = m.apply(t, ev(person(t)), nil) }
		}
		work := func(t *rapid.T) { m.pay(t, false) }
		ask := func(t *rapid.T, by grant.Actor) {
			ev := request(rapid.IntRange(0, 3).Draw(t, "approvals"))
			ev.By = by
			ev.Duration = rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 4 * time.Hour}).Draw(t, "duration")
			ev.Terms.Settle = rapid.SampledFrom([]time.Duration{0, 20 * time.Second, time.Minute}).Draw(t, "settle")
			_ = m.apply(t, ev, nil)
		}
		if rapid.IntRange(0, 9).Draw(t, "removal") == 0 {
			_ = m.apply(t, removal(person(t)), nil)
		} else {
			ask(t, person(t))
		}
		if m.g.Phase == grant.None {
			ask(t, alice)
		}
		// Most runs begin where it becomes interesting.
		for _, by := range []grant.Actor{bob, carol, {Kind: grant.Person, User: "U0FAY", Approver: true}}[:rapid.IntRange(0, 3).Draw(t, "head start")] {
			_ = m.apply(t, grant.Approve{By: by}, nil)
		}
		t.Repeat(map[string]func(*rapid.T){
			"request":     func(t *rapid.T) { ask(t, person(t)) },
			"remove":      func(t *rapid.T) { _ = m.apply(t, removal(person(t)), nil) },
			"approve":     func(t *rapid.T) { _ = m.apply(t, grant.Approve{By: person(t), Yes: yes(t)}, nil) },
			"approve too": click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"approve well": func(t *rapid.T) {
				ev := grant.Approve{By: rapid.SampledFrom([]grant.Actor{bob, carol, {Kind: grant.Person, User: "U0FAY", Approver: true}}).Draw(t, "approver")}
				if m.g.Report != nil {
					ev.Yes = m.g.Report.Redirect.Yes()
				}
				_ = m.apply(t, ev, nil)
			},
			"deny":      click(func(by grant.Actor) grant.Event { return grant.Deny{By: by, Why: "no"} }),
			"withdraw":  click(func(by grant.Actor) grant.Event { return grant.Withdraw{By: by} }),
			"revoke":    click(func(by grant.Actor) grant.Event { return grant.Revoke{By: by, Why: "done"} }),
			"mark sent": click(func(by grant.Actor) grant.Event { return grant.MarkSent{By: by} }),
			"time passes": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "time")))
			},
			"the clock is set back": func(*rapid.T) { m.now = m.now.Add(-time.Second) },
			"work":                  work,
			"more work":             work,
			"still more work":       work,
			// Results and timers that come late, twice or never asked for.
			"stray open":  func(t *rapid.T) { _ = m.apply(t, opened.Draw(t, "opened")(m), nil) },
			"stray round": func(t *rapid.T) { _ = m.apply(t, closeRound(t, m), nil) },
			"stray end":   func(t *rapid.T) { _ = m.apply(t, grant.EndDue{}, nil) },
			"stray lapse": func(t *rapid.T) { _ = m.apply(t, grant.LapseDue{}, nil) },
			"stray reminder": func(t *rapid.T) {
				_ = m.apply(t, grant.ReminderDue{Name: rapid.SampledFrom([]string{"", "unsent", "before_end:10m0s", "still_open", "undecided", "unused"}).Draw(t, "name")}, nil)
			},
			"stray step": func(t *rapid.T) {
				_ = m.apply(t, grant.StepChanged{Step: rapid.SampledFrom([]string{"", grant.StepTrust, grant.StepCheck}).Draw(t, "step"), State: grant.Done}, nil)
			},
			"stray look":   func(t *rapid.T) { _ = m.apply(t, sighting(t, m.now), nil) },
			"stray check":  func(t *rapid.T) { _ = m.apply(t, checked(t), nil) },
			"stray replan": func(t *rapid.T) { _ = m.apply(t, replan(m), nil) },
			"":             func(t *rapid.T) { m.check(t) },
		})
		for p := range m.reached {
			reached[p]++
		}
		again += m.again
		if m.g.Removal {
			removals++
		}
		if m.g.Phase == grant.None {
			return
		}
		// From wherever it stands, with AWS and the clock behaving and nobody
		// clicking, every grant comes to an end.
		for range 2000 {
			if m.g.Phase.Terminal() {
				return
			}
			m.pay(t, true)
		}
		t.Fatalf("the grant is still %s; it owes %v\n%+v", m.g.Phase, m.owed, m.g.Ending)
	})
	t.Logf("phases reached: %v; asked again %d times; %d removals", reached, again, removals)
}
