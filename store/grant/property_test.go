package grant_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	approved map[grant.UserID]agreed // the accepted approvals since it was asked last
	asked    time.Duration           // what was asked for
	begun    map[string]grant.StepState
	more     *question // the newest one for more time
	mores    int       // how many there were
	signed   bool      // the review
	rounds   []seen
	reached  map[string]int
}

// agreed is what an approval was given to: for how long at most, and with which
// yes.
type agreed struct {
	to  time.Duration
	yes string
}

// question is one for more time.
type question struct {
	by      grant.UserID
	d       time.Duration
	yes     map[grant.UserID]bool
	from    time.Time // the end when it was answered
	decided bool
	over    bool // it was carried out, or cannot be
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
	return &machine{g: grant.Grant{ID: 7}, now: t0, owed: map[key]row{}, approved: map[grant.UserID]agreed{}, begun: map[string]grant.StepState{}, reached: map[string]int{}}
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
	m.reached[string(next.Phase)] = 1
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
		// Whoever agrees to what the card shows agrees to no more than that.
		to := before.Duration
		if e.For > 0 {
			to = e.For
		}
		if to > m.asked {
			t.Fatalf("%s approved for %v, and %v was asked for", e.By.User, to, m.asked)
		}
		if want := min(before.Duration, to); g.Duration != want {
			t.Fatalf("%v were approved for %v, which makes %v", before.Duration, e.For, g.Duration)
		}
		// Only what the card showed can have been agreed to.
		shown := ""
		if before.Report != nil {
			shown = before.Report.Redirect.Yes()
		}
		if shown != "" && e.Yes != shown {
			t.Fatalf("%s approved without the yes to %+v", e.By.User, before.Report.Redirect)
		}
		m.approved[e.By.User] = agreed{to, shown}
	case grant.Request:
		m.asked = e.Duration
		if begins := before.Phase == grant.None && g.Phase == grant.Opening; begins != e.Emergency {
			t.Fatalf("a request that is an emergency (%v) begins in %s", e.Emergency, g.Phase)
		}
		if e.Emergency {
			m.reached["emergency"] = 1
			if !e.By.Emergency || e.By.Kind != grant.Person {
				t.Fatalf("%+v opened an emergency", e.By)
			}
			if _, told := m.owed[key{grant.DoSay, grant.SayEmergency}]; !told {
				t.Fatal("nobody is told of an emergency")
			}
		}
	case grant.CheckDone:
		if yes := e.Report.Redirect.Yes(); yes != "" && g.Phase == grant.Requested {
			// Nobody's approval outlives a redirection that they did not agree to.
			maps.DeleteFunc(m.approved, func(_ grant.UserID, said agreed) bool { return said.yes != yes })
		}
	case grant.Replanned:
		m.askedAgain(t, before, e.Trouble.Step, nil)
	case grant.Unapproved:
		m.unapproved(t, before, e.Users)
	case grant.StepChanged:
		m.begun[e.Step] = e.State
	case grant.OpenDelayed:
		m.begun[e.Trouble.Step] = grant.Failing
	case grant.Extend:
		if e.By.Kind != grant.Person || !e.By.Requester {
			t.Fatalf("%+v asked for more time", e.By)
		}
		if m.more != nil && !m.more.over {
			t.Fatalf("%+v asked for more time, as %s has already", e.By, m.more.by)
		}
		if left := g.End.Sub(m.now); e.For < time.Second || e.For > e.Max || left+e.For > e.Max {
			t.Fatalf("%v more was asked for with %v to go, and %v is the most", e.For, left, e.Max)
		}
		m.mores++
		m.more = &question{by: e.By.User, d: e.For, yes: map[grant.UserID]bool{}}
		m.reached["more time"] = 1
	case grant.ApproveExtension:
		q := m.answered(t, e.N)
		if e.By.Kind != grant.Person || !e.By.Approver || e.By.User == g.Requester || e.By.User == q.by || q.yes[e.By.User] {
			t.Fatalf("%+v approved more time, which %s asked for, for %s; so have %v", e.By, q.by, g.Requester, q.yes)
		}
		if !m.now.Before(g.End) {
			t.Fatalf("more time was approved at %v, after the end at %v", m.now, g.End)
		}
		q.yes[e.By.User] = true
		if q.decided = len(q.yes) >= max(g.Terms.Approvals, 1); q.decided {
			q.from = g.End
		}
	case grant.DenyExtension:
		if q := m.answered(t, e.N); e.By.Kind != grant.Person || !e.By.Approver && e.By.User != q.by {
			t.Fatalf("%+v denied more time", e.By)
		}
		m.more.over = true
	case grant.ExtendDone:
		if m.more != nil && m.more.decided {
			m.more.over = true
		}
	case grant.ExtendFailed:
		if m.more != nil && m.more.decided {
			m.more.over = true
		}
	case grant.Sign:
		if m.signed || e.By.Kind != grant.Person || !e.By.Approver || e.By.User == g.Requester || !g.Emergency || g.Review == nil || g.Review.By != e.By.User {
			t.Fatalf("%+v signed for the emergency of %s as %+v, signed before: %v", e.By, g.Requester, g.Review, m.signed)
		}
		m.signed = true
		m.reached["signed"] = 1
		if before.Phase == grant.Closed {
			m.reached["signed when closed"] = 1
		}
	case grant.ReminderDue:
		if r, ok := m.owed[key{grant.DoRemind, grant.RemindReview}]; ok && e.Name == grant.RemindReview && (!r.due.After(m.now) || r.due.After(m.now.Add(24*time.Hour))) {
			t.Fatalf("the next reminder of the review is due at %v, at %v", r.due, m.now)
		}
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
		if _, at := ev.(grant.Request); !at && len(m.approved) < max(g.Terms.Approvals, 1) {
			t.Fatalf("opening with the approvals of %v, want %d", m.approved, g.Terms.Approvals)
		}
		for by, said := range m.approved {
			if r := g.Report; r != nil && r.Redirect != nil && said.yes != r.Redirect.Yes() {
				t.Fatalf("opening moves the logs from %s, and %s did not agree to that", r.Redirect.From, by)
			}
		}
	}
	if before.Phase == grant.Opening && g.Phase == grant.Requested && ev.Kind() != grant.KindReplanned && ev.Kind() != grant.KindUnapproved {
		t.Fatalf("%s led back from opening", ev.Kind())
	}
	if !before.End.IsZero() && !g.End.Equal(before.End) {
		m.moved(t, before, ev)
	}
	if before.End.IsZero() && !g.End.IsZero() && g.End.After(m.now.Add(g.Duration)) {
		t.Fatalf("the end is %v, later than was approved", g.End)
	}
	if before.Phase.Terminal() {
		before.Card, before.Version = g.Card, g.Version
		switch {
		case g.Phase != grant.Closed || !g.Emergency:
		case ev.Kind() == grant.KindSign:
			before.Review, before.Story = g.Review, g.Story
		case ev.Kind() == grant.KindReminderDue:
			before.Reviews = g.Reviews
		}
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

// answered is the question for more time that a decision was accepted on: the
// newest, which nobody had decided on.
func (m *machine) answered(t *rapid.T, n int) *question {
	if n != m.mores || m.more == nil || m.more.decided || m.more.over {
		t.Fatalf("a decision on question %d of %d counts: %+v", n, m.mores, m.more)
	}
	return m.more
}

// moved wants the end to move only as far as people have agreed to.
func (m *machine) moved(t *rapid.T, before grant.Grant, ev grant.Event) {
	g, q := m.g, m.more
	if ev.Kind() != grant.KindExtendDone || q == nil || !q.decided || g.Phase != grant.Open {
		t.Fatalf("%s moved the end from %v to %v", ev.Kind(), before.End, g.End)
	}
	if !q.from.Equal(before.End) || !g.End.After(before.End) || g.End.After(before.End.Add(q.d)) {
		t.Fatalf("the end moved from %v to %v, and %v more was approved at %v", before.End, g.End, q.d, q.from)
	}
	if due := m.owed[key{kind: grant.DoExpire}].due; !due.Equal(g.End) {
		t.Fatalf("the end moved to %v and is owed at %v", g.End, due)
	}
	for _, d := range g.Terms.Reminders.BeforeEnd {
		k := key{grant.DoRemind, fmt.Sprint(grant.RemindBeforeEnd, ":", d)}
		if at := g.End.Add(-d); at.After(m.now) && !m.owed[k].due.Equal(at) {
			t.Fatalf("the end moved to %v, and %v is owed at %v", g.End, k, m.owed[k].due)
		}
	}
	m.reached["extended"] = 1
}

// unapproved wants the approvals of those people gone, and the rest to go on if
// it is enough.
func (m *machine) unapproved(t *rapid.T, before grant.Grant, users []grant.UserID) {
	g := m.g
	kept := maps.Clone(m.approved)
	maps.DeleteFunc(kept, func(by grant.UserID, _ agreed) bool { return slices.Contains(users, by) })
	switch {
	case len(kept) == len(m.approved):
		before.Version = g.Version
		if diff := cmp.Diff(before, g); diff != "" {
			t.Fatalf("nobody's approval has fallen away:\n%s", diff)
		}
	case len(kept) >= max(g.Terms.Approvals, 1):
		m.approved = kept
		if g.Phase != grant.Opening || g.Duration != before.Duration {
			t.Fatalf("enough approvals are left, and it is %s for %v", g.Phase, g.Duration)
		}
	default:
		m.askedAgain(t, before, "", kept)
	}
}

// askedAgain wants what was never written to be asked for anew, as if it had just
// been requested, and anything else to be closed. found is the step that found
// it; kept are the approvals that stay.
func (m *machine) askedAgain(t *rapid.T, before grant.Grant, found string, kept map[grant.UserID]agreed) {
	g := m.g
	wrote := before.Touched
	for name, state := range m.begun {
		switch name {
		case grant.StepLogging:
			wrote = wrote || state != grant.Running || found != grant.StepLogging
		case grant.StepHardStop, grant.StepTrust:
			wrote = true
		}
	}
	if wrote {
		m.reached["taken back"] = 1
		if g.Phase != grant.Closing {
			t.Fatalf("what may have been written is left there: %s", g.Phase)
		}
		return
	}
	m.reached["asked again"] = 1
	clear(m.begun)
	if r := before.Report; r != nil && r.Redirect != nil {
		// It may have come when it was opening already.
		maps.DeleteFunc(kept, func(_ grant.UserID, said agreed) bool { return said.yes != r.Redirect.Yes() })
	}
	m.approved = map[grant.UserID]agreed{}
	maps.Copy(m.approved, kept)
	if g.Phase != grant.Requested || g.Missing() != max(g.Terms.Approvals-len(kept), 0) || g.OpenError == nil {
		t.Fatalf("asked again as %+v", g)
	}
	owes := []key{{kind: grant.DoLapse}, {grant.DoRemind, grant.RemindUndecided}, {grant.DoSay, fmt.Sprintf("%s:%d", grant.SayReplanned, g.Version)}}
	if len(kept) > 0 {
		m.reached["asked again, with approvals"] = 1
		if !cmp.Equal(g.Report, before.Report) {
			t.Fatalf("%v have approved another plan", kept)
		}
	} else if owes = append(owes, key{kind: grant.DoCheck}); g.Report != nil {
		t.Fatalf("asked again with the old plan: %+v", g.Report)
	}
	for _, k := range owes {
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
	} else if since := m.cutSince(); !c.Skipped && m.now.Before(since.Add(m.g.Terms.Settle)) {
		t.Fatalf("closed %v after the cut-off %v was put", m.now.Sub(since), last.round.CutOff)
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

// cutSince is when the cut-off of the last round was first seen in a row, in rounds
// that read one.
func (m *machine) cutSince() (since time.Time) {
	for _, r := range slices.Backward(m.rounds) {
		if !r.round.Credentials.Done {
			continue
		}
		if !r.round.CutOff.Equal(m.rounds[len(m.rounds)-1].round.CutOff) {
			break
		}
		since = r.at
	}
	return since
}

// cutOff is what a good round reads: what stands, as long as it is late enough.
func (m *machine) cutOff() time.Time {
	if e := m.g.Ending; e != nil && !e.TrustGoneAt.IsZero() && !e.CutOff.Before(e.TrustGoneAt.Add(m.g.Terms.Settle)) {
		return e.CutOff
	}
	return m.now.Add(2 * m.g.Terms.Settle)
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
	review := key{grant.DoRemind, grant.RemindReview}
	for k := range m.owed {
		waits := k.kind == grant.DoRemind || k.kind == grant.DoLapse || k.kind == grant.DoOpen
		if waits && g.Phase.Terminal() && k != review {
			t.Fatalf("a grant that is %s owes %v", g.Phase, k)
		}
		if strings.HasPrefix(k.arg, grant.RemindExtend+":") && k.kind == grant.DoRemind && (g.Phase != grant.Open || m.more.decided || m.more.over || k.arg != fmt.Sprint(grant.RemindExtend, ":", m.mores)) {
			t.Fatalf("a grant that is %s owes %v of %d, %+v", g.Phase, k, m.mores, m.more)
		}
	}
	if _, asks := m.owed[review]; asks != (g.Emergency && !m.signed && (g.Live() || g.Phase == grant.Closed)) || asks != g.NeedsReview() {
		t.Fatalf("a grant that is %s, an emergency: %v, signed: %v, asks for a review: %v", g.Phase, g.Emergency, m.signed, asks)
	}
	if _, extends := m.owed[key{kind: grant.DoExtend}]; extends != (g.Phase == grant.Open && m.more != nil && m.more.decided && !m.more.over) {
		t.Fatalf("a grant that is %s is being extended: %v, for %+v", g.Phase, extends, m.more)
	}
	if g.Phase == grant.Open && (g.Extension.Pending() != (m.more != nil && !m.more.decided && !m.more.over) || g.Extension.Doing() != (m.more != nil && m.more.decided && !m.more.over)) {
		t.Fatalf("the extension is %+v, for %+v", g.Extension, m.more)
	}
	for by, said := range m.approved {
		if g.Duration > said.to {
			t.Fatalf("it is for %v, and %s has agreed to %v", g.Duration, by, said.to)
		}
		if !g.ApprovedBy(by) {
			t.Fatalf("the approval of %s is gone", by)
		}
	}
	if g.Duration > m.asked || len(g.Approvals) != len(m.approved) || len(m.approved) == 0 && (g.Duration != m.asked || g.Asked != 0) || g.Asked != 0 && g.Asked != m.asked {
		t.Fatalf("it is for %v of %v, approved by %v; asked for %v, approved by %v", g.Duration, g.Asked, g.Approvals, m.asked, m.approved)
	}
	if g.Phase == grant.None || g.Phase == grant.Requested {
		if g.Touched || g.Access != nil || !g.End.IsZero() {
			t.Fatalf("a grant that is %q has access", g.Phase)
		}
	}
	if _, opens := m.owed[key{kind: grant.DoOpen}]; opens && g.Phase != grant.Opening {
		t.Fatalf("a grant that is %s owes an opening", g.Phase)
	}
	if g.Live() && !g.Removal && !g.Emergency && g.Missing() > 0 {
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
			step.Step = rapid.SampledFrom([]string{grant.StepCheck, grant.StepCheck, grant.StepCheck, grant.StepLogging, grant.StepHardStop, grant.StepTrust}).Draw(t, "step")
			step.State = rapid.SampledFrom([]grant.StepState{grant.Running, grant.Done}).Draw(t, "state")
			if rapid.IntRange(0, 3).Draw(t, "fallen") == 0 {
				_ = m.apply(t, unapproved(t), nil)
			}
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
		ev = round(func(r *grant.Round) { r.CutOff = m.cutOff() })
		if !good {
			ev = closeRound(t, m)
		}
	case grant.DoExpire:
		ev = grant.EndDue{}
	case grant.DoLapse:
		ev = grant.LapseDue{}
	case grant.DoRemind:
		ev = grant.ReminderDue{Name: first.arg, Due: m.owed[*first].due}
	case grant.DoExtend:
		ev = extended(m.g, m.g.Extension.Until)
		if !good {
			ev = widened(t, m.g)
		}
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
	func(*machine) grant.Event {
		return grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepLogging, Text: "Another log group."}}
	},
})

func replan(*machine) grant.Event { return changed() }

// widened draws how an attempt at extending went.
func widened(t *rapid.T, g grant.Grant) grant.Event {
	trouble := grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "Throttled."}
	until := g.End
	if g.Extension.Doing() {
		until = g.Extension.Until
	}
	done := func(end time.Time) grant.Event {
		var a grant.Access
		if g.Access != nil {
			a = *g.Access
		}
		a.End = end
		return grant.ExtendDone{Access: a}
	}
	return rapid.SampledFrom([]grant.Event{
		done(until), done(until), done(until), done(until.Add(-time.Second)), done(until.Add(time.Second)), done(g.End), done(time.Time{}),
		grant.ExtendDelayed{Trouble: trouble, Wait: time.Minute},
		grant.ExtendFailed{Trouble: trouble},
	}).Draw(t, "extended")
}

// unapproved draws people who may not approve any more.
func unapproved(t *rapid.T) grant.Unapproved {
	return grant.Unapproved{Users: rapid.SliceOfNDistinct(rapid.SampledFrom([]grant.UserID{alice.User, bob.User, carol.User, fay.User, eve.User}), 0, 2, rapid.ID).Draw(t, "fallen")}
}

// decider draws somebody who may decide.
func decider(t *rapid.T) grant.Actor {
	return rapid.SampledFrom([]grant.Actor{bob, carol, fay}).Draw(t, "approver")
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
	a := rapid.SampledFrom([]grant.Actor{alice, bob, carol, dave, eve, gus, mia, operator, grant.Self()}).Draw(t, "person")
	switch rapid.IntRange(0, 6).Draw(t, "rights") { // rights change from one click to the next
	case 0:
		a.Approver = true
	case 1:
		a.Approver, a.Requester, a.Revoker, a.Emergency = false, false, false, false
	case 2:
		a.Requester, a.Emergency = true, true
	}
	return a
}

func TestGrant_properties(t *testing.T) {
	reached := map[string]int{}
	removals := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		click := func(ev func(by grant.Actor) grant.Event) func(*rapid.T) {
			return func(t *rapid.T) { _ = m.apply(t, ev(person(t)), nil) }
		}
		work := func(t *rapid.T) { m.pay(t, false) }
		ask := func(t *rapid.T, by grant.Actor) {
			ev := request(rapid.IntRange(0, 3).Draw(t, "approvals"))
			ev.By = by
			ev.Emergency = rapid.IntRange(0, 3).Draw(t, "emergency") == 0
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
			anybody := alice
			anybody.Emergency = true
			ask(t, anybody)
		}
		// Most runs begin where it becomes interesting.
		for _, by := range []grant.Actor{bob, carol, fay}[:rapid.IntRange(0, 3).Draw(t, "head start")] {
			_ = m.apply(t, grant.Approve{By: by}, nil)
		}
		if rapid.Bool().Draw(t, "open") {
			_ = m.apply(t, access(m.now.Add(m.g.Duration)), nil)
			if n := rapid.IntRange(0, 4).Draw(t, "more time"); n > 0 {
				_ = m.apply(t, grant.Extend{By: gus, For: time.Hour, Max: 12 * time.Hour}, nil)
				for _, by := range []grant.Actor{bob, carol, fay}[:n-1] {
					_ = m.apply(t, grant.ApproveExtension{By: by, N: 1}, nil)
				}
			}
		}
		extend := func(t *rapid.T, by grant.Actor) {
			d := rapid.SampledFrom([]time.Duration{0, 1, time.Second, 10 * time.Minute, 2 * time.Hour, 2 * time.Hour, 13 * time.Hour, 1<<63 - 1}).Draw(t, "more")
			_ = m.apply(t, grant.Extend{By: by, For: d, Max: 12 * time.Hour}, nil)
		}
		number := func(t *rapid.T) int { return m.mores - rapid.SampledFrom([]int{0, 0, 0, 1, -1, 99}).Draw(t, "older") }
		t.Repeat(map[string]func(*rapid.T){
			"request":     func(t *rapid.T) { ask(t, person(t)) },
			"remove":      func(t *rapid.T) { _ = m.apply(t, removal(person(t)), nil) },
			"approve":     func(t *rapid.T) { _ = m.apply(t, grant.Approve{By: person(t), Yes: yes(t)}, nil) },
			"approve too": click(func(by grant.Actor) grant.Event { return grant.Approve{By: by} }),
			"approve well": func(t *rapid.T) {
				ev := grant.Approve{By: decider(t)}
				if m.g.Report != nil {
					ev.Yes = m.g.Report.Redirect.Yes()
				}
				_ = m.apply(t, ev, nil)
			},
			"approve for less": func(t *rapid.T) {
				ev := grant.Approve{By: decider(t), Yes: yes(t)}
				ev.For = rapid.SampledFrom([]time.Duration{-1, 1, time.Second, 30 * time.Second, time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 5 * time.Hour}).Draw(t, "for")
				_ = m.apply(t, ev, nil)
			},
			"unapproved":           func(t *rapid.T) { _ = m.apply(t, unapproved(t), nil) },
			"extend":               func(t *rapid.T) { extend(t, person(t)) },
			"extend well":          func(t *rapid.T) { extend(t, rapid.SampledFrom([]grant.Actor{alice, gus}).Draw(t, "requester")) },
			"approve more":         func(t *rapid.T) { _ = m.apply(t, grant.ApproveExtension{By: person(t), N: number(t)}, nil) },
			"approve more well":    func(t *rapid.T) { _ = m.apply(t, grant.ApproveExtension{By: decider(t), N: m.mores}, nil) },
			"approve more as well": func(t *rapid.T) { _ = m.apply(t, grant.ApproveExtension{By: decider(t), N: m.mores}, nil) },
			"deny more": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "rarely") == 0 {
					_ = m.apply(t, grant.DenyExtension{By: person(t), N: number(t)}, nil)
				}
			},
			"sign":      click(func(by grant.Actor) grant.Event { return grant.Sign{By: by} }),
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
				_ = m.apply(t, grant.ReminderDue{Name: rapid.SampledFrom([]string{"", "unsent", "before_end:10m0s", "still_open", "undecided", "unused", "review", "extend:1", "extend:2"}).Draw(t, "name")}, nil)
			},
			"stray step": func(t *rapid.T) {
				_ = m.apply(t, step(rapid.SampledFrom([]string{"", grant.StepTrust, grant.StepCheck}).Draw(t, "step"), grant.Done), nil)
			},
			"stray extension": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "rarely") == 0 {
					_ = m.apply(t, widened(t, m.g), nil)
				}
			},
			"stray look":   func(t *rapid.T) { _ = m.apply(t, sighting(t, m.now), nil) },
			"stray check":  func(t *rapid.T) { _ = m.apply(t, checked(t), nil) },
			"stray replan": func(t *rapid.T) { _ = m.apply(t, replan(m), nil) },
			"":             func(t *rapid.T) { m.check(t) },
		})
		defer func() {
			for what := range m.reached {
				reached[what]++
			}
		}()
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
				m.afterwards(t)
				return
			}
			m.pay(t, true)
		}
		t.Fatalf("the grant is still %s; it owes %v\n%+v", m.g.Phase, m.owed, m.g.Ending)
	})
	t.Logf("reached: %v; %d removals", reached, removals)
}

// afterwards wants an emergency that has ended to ask for its review until
// somebody signs, and everything else to owe nothing but messages.
func (m *machine) afterwards(t *rapid.T) {
	review := key{grant.DoRemind, grant.RemindReview}
	for range 50 {
		m.pay(t, true)
	}
	if _, asks := m.owed[review]; asks != m.g.NeedsReview() {
		t.Fatalf("ended as %s, it asks for a review: %v, and needs it: %v", m.g.Phase, asks, m.g.NeedsReview())
	}
	if !m.g.NeedsReview() {
		return
	}
	for _, by := range []grant.Actor{bob, carol} { // one of them may have opened it
		_ = m.apply(t, grant.Sign{By: by}, nil)
	}
	for range 10 {
		m.pay(t, true)
	}
	if len(m.owed) > 0 || m.g.NeedsReview() {
		t.Fatalf("signed, and yet %v is owed", m.owed)
	}
}
