package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// lookAgain is how often the sessions are listed while closing.
const lookAgain = 5 * time.Second

// tellAfter is the number of failing rounds in a row after which the channel is
// told, and then again every time it has failed tellAgain times more.
const (
	tellAfter = 3
	tellAgain = 60
)

// Stuck reports whether closing has failed so often in a row that people were told.
func (e *Ending) Stuck() bool { return e.Failing >= tellAfter }

// closeRound takes in what one round of closing found, and decides: proven, or
// another round.
func (g *Grant) closeRound(r Round, now time.Time) []Effect {
	e := g.Ending
	before := slices.Clone(e.Steps)
	e.Rounds++
	for _, what := range r.Removed {
		if !slices.Contains(e.Removed, what) { // what comes back each round is kept once
			e.Removed = append(e.Removed, what)
		}
	}
	for _, s := range r.Ended {
		if !slices.ContainsFunc(e.Ended, func(o Session) bool { return o.ID == s.ID }) {
			e.Ended = append(e.Ended, s)
		}
	}
	e.StillTrusted = r.StillTrusted
	if len(r.Removed) > 0 {
		g.tell(now, Self(), "removed from the trust policy: %s", strings.Join(r.Removed, "; "))
	}
	if len(r.Ended) > 0 {
		ids := make([]string, len(r.Ended))
		for i, s := range r.Ended {
			ids[i] = s.ID
		}
		g.tell(now, Self(), "ended sessions: %s", strings.Join(ids, ", "))
	}

	switch {
	case !r.Trust.Done:
		// It came back, or could not be read: then it may have. Whoever came in by
		// it may have credentials and a session, so everything is watched anew.
		e.TrustGoneAt = time.Time{}
		e.Empty = 0
	case e.TrustGoneAt.IsZero() || len(r.Removed) > 0:
		e.TrustGoneAt = now
		e.Empty = 0 // whoever came in until now may have left a session
	}
	if r.Credentials.Done {
		switch late := r.CutOff.Before(e.TrustGoneAt.Add(g.Terms.Settle)); {
		case e.TrustGoneAt.IsZero() || late:
			e.CutOffSince = time.Time{}
		case e.CutOffSince.IsZero() || !r.CutOff.Equal(e.CutOff):
			e.CutOffSince = now // it was not there before, or it was put anew
		}
		e.CutOff = r.CutOff
	}
	if r.Sessions.Done && len(r.Live) == 0 {
		e.Empty++
	} else {
		e.Empty = 0 // one was live, or nobody looked
	}

	if r.Trust.Trouble != nil || r.Credentials.Trouble != nil || r.Sessions.Trouble != nil {
		e.Failing++
	} else {
		e.Failing = 0
	}

	g.showRound(r, now)
	if g.proven(r, now) {
		setStep(e.Steps, StepProof, Done, "read back from AWS", now)
		g.Phase = Closed
		g.ClosedAt = now
		g.tell(now, Self(), "closed access, proven in %s", FormatDuration(now.Sub(e.Since)))
		return append(
			g.strayEffects(now),
			Effect{Kind: DoClose, Cancel: true},
			card(now),
			Effect{Kind: DoSay, Arg: SayProof, Due: now},
		)
	}

	effects := []Effect{{Kind: DoClose, Due: now.Add(g.nextLook(now, r.Credentials.Skipped))}}
	if !slices.EqualFunc(before, e.Steps, func(a, b Step) bool { return a.State == b.State && a.Note == b.Note }) {
		effects = append(effects, card(now))
	}
	if n := e.Failing - tellAfter; n >= 0 && n%tellAgain == 0 {
		effects = append(effects, Effect{Kind: DoSay, Arg: fmt.Sprintf("%s:%d", SayStuck, e.Rounds), Due: now})
	}
	return effects
}

// proven reports whether this round is the proof: everything was read back in
// it, and nothing was left to do for long enough.
//
// AWS applies what is written to IAM everywhere only after a while ([DefaultSettle]).
// So the role may be assumed until a settle time after the trust went, and a cut-off
// may be passed over until a settle time after it was put: the trust must have been gone
// for that long, and a cut-off that covers all of that time must have stood for that long.
func (g *Grant) proven(r Round, now time.Time) bool {
	e := g.Ending
	if !r.Trust.Done || e.TrustGoneAt.IsZero() {
		return false
	}
	if r.Credentials.Skipped && r.Sessions.Skipped && (!g.Touched || len(r.StillTrusted) > 0) {
		// Nothing was ever opened, or the principal's access goes on under
		// another grant: then the statement's absence is all there is to prove.
		return true
	}
	// Any other reason to skip a step, such as a role that is gone, stands for
	// that step alone, and never for the waiting.
	credentials := r.Credentials.Skipped || (r.Credentials.Done && !e.CutOffSince.IsZero())
	sessions := r.Sessions.Skipped || (r.Sessions.Done && len(r.Live) == 0 && e.Empty >= 2)
	return credentials && sessions && !now.Before(g.settles(r.Credentials.Skipped))
}

// settles is until when sessions are watched at least. Before the last cut-off is there
// it is a forecast: the one that is there is replaced when its instant has come.
func (g *Grant) settles(noCutOff bool) time.Time {
	e := g.Ending
	at := e.TrustGoneAt
	switch {
	case noCutOff:
	case !e.CutOffSince.IsZero():
		at = later(at, e.CutOffSince)
	default:
		at = later(at, e.CutOff)
	}
	return at.Add(g.Terms.Settle)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// nextLook is how long after this round the next one comes.
func (g *Grant) nextLook(now time.Time, noCutOff bool) time.Duration {
	e := g.Ending
	if e.Failing > 0 {
		return Backoff(e.Failing)
	}
	wait := max(min(lookAgain, g.Terms.Settle/4), 10*time.Millisecond)
	if left := g.settles(noCutOff).Sub(now); e.Empty >= 1 && left > 0 && left < wait {
		wait = left
	}
	if !noCutOff && e.CutOffSince.IsZero() && !e.CutOff.IsZero() {
		// It is replaced once its instant is over; cut-offs are whole seconds.
		if left := e.CutOff.Add(time.Second).Sub(now); left > 0 && left < wait {
			wait = left
		}
	}
	return wait
}

// showRound puts the round into the steps that people see.
func (g *Grant) showRound(r Round, now time.Time) {
	e := g.Ending
	show := func(step string, o Outcome, done string) {
		switch {
		case o.Trouble != nil:
			setStep(e.Steps, step, Failing, o.Trouble.Text, now)
		case o.Skipped:
			setStep(e.Steps, step, Done, o.Note, now)
		case o.Done:
			setStep(e.Steps, step, Done, done, now)
		default:
			setStep(e.Steps, step, Running, o.Note, now)
		}
	}
	trust := r.Trust.Note
	if len(r.Removed) == 0 && e.Steps[0].State == Done {
		trust = e.Steps[0].Note // that it is still gone is no news
	}
	show(StepTrust, r.Trust, trust)
	show(StepCredentials, r.Credentials, "everything issued before now is refused")
	switch {
	case r.Sessions.Trouble != nil || r.Sessions.Skipped || !r.Sessions.Done:
		show(StepSessions, r.Sessions, "")
	default:
		note := "none seen"
		if n := len(e.Ended); n > 0 {
			note = fmt.Sprintf("%d ended", n)
		} else if n := len(r.Live); n > 0 {
			note = fmt.Sprintf("%d still live", n)
		}
		state := Done
		until := g.settles(r.Credentials.Skipped)
		if e.Empty < 2 || now.Before(until) || e.TrustGoneAt.IsZero() {
			state = Running
			if !e.TrustGoneAt.IsZero() {
				note += ", watching until " + until.Format("15:04:05 UTC")
			}
		}
		setStep(e.Steps, StepSessions, state, note, now)
	}
	if e.Rounds == 1 {
		setStep(e.Steps, StepProof, Waiting, "", now)
	}
}
