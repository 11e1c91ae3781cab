package grant_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// round is a round in which nothing was left to do, but for what change says.
// Its cut-off covers any settle time.
func round(change func(r *grant.Round)) grant.CloseRound {
	r := grant.Round{
		Trust: grant.Outcome{Done: true}, Credentials: grant.Outcome{Done: true}, Sessions: grant.Outcome{Done: true},
		CutOff: t0.AddDate(1, 0, 0),
	}
	if change != nil {
		change(&r)
	}
	return grant.CloseRound{Round: r}
}

// TestCloseRound_proof plays rounds, some seconds after the closing began, and
// wants closed after the last one and never before.
func TestCloseRound_proof(t *testing.T) {
	trouble := func(step string, kind grant.TroubleKind) *grant.Trouble {
		return &grant.Trouble{Kind: kind, Step: step, Text: "AWS did not answer."}
	}
	type at struct {
		seconds int
		round   grant.CloseRound
	}
	live := func(r *grant.Round) { r.Live = []grant.Session{{ID: "s1"}}; r.Ended = r.Live }
	removed := func(r *grant.Round) { r.Removed = []string{"BreakglassBG7"} }
	noTrust := func(r *grant.Round) { r.Trust = grant.Outcome{Note: "it is back"} }
	skip := func(mixed string) func(r *grant.Round) {
		return func(r *grant.Round) {
			if strings.Contains(mixed, "c") {
				r.Credentials, r.CutOff = grant.Outcome{Skipped: true, Note: "why"}, time.Time{}
			}
			if strings.Contains(mixed, "s") {
				r.Sessions = grant.Outcome{Skipped: true, Note: "why"}
			}
			if strings.Contains(mixed, "t") {
				r.StillTrusted = []grant.ID{9}
			}
		}
	}
	cutOff := func(seconds int) func(r *grant.Round) {
		return func(r *grant.Round) { r.CutOff = t0.Add(time.Duration(seconds) * time.Second) }
	}
	for name, tt := range map[string]struct {
		untouched bool
		rounds    []at
		open      bool // still closing after the last round
	}{
		"two empty rounds a settle time apart":        {rounds: []at{{0, round(removed)}, {60, round(nil)}}},
		"one empty round is not enough":               {rounds: []at{{0, round(live)}, {60, round(nil)}, {65, round(nil)}}},
		"two empty rounds, but too soon":              {rounds: []at{{0, round(nil)}, {5, round(nil)}, {59, round(nil)}, {60, round(nil)}}},
		"a session late in the day":                   {rounds: []at{{0, round(nil)}, {59, round(live)}, {60, round(nil)}, {61, round(nil)}}},
		"a session that could not be ended":           {rounds: []at{{0, round(nil)}, {30, round(func(r *grant.Round) { live(r); r.Sessions = grant.Outcome{Trouble: trouble("sessions", grant.Refused)} })}, {60, round(nil)}, {61, round(nil)}}},
		"a round in which nobody looked":              {rounds: []at{{0, round(nil)}, {30, round(func(r *grant.Round) { r.Sessions = grant.Outcome{} })}, {60, round(nil)}, {61, round(nil)}}},
		"sessions before the trust was gone":          {rounds: []at{{0, round(noTrust)}, {5, round(noTrust)}, {10, round(nil)}, {69, round(nil)}, {70, round(nil)}}},
		"trust that comes back and is removed":        {rounds: []at{{0, round(nil)}, {50, round(removed)}, {60, round(nil)}, {109, round(nil)}, {110, round(nil)}}},
		"trust that comes back and goes by itself":    {rounds: []at{{0, round(nil)}, {50, round(noTrust)}, {60, round(nil)}, {119, round(nil)}, {120, round(nil)}}},
		"trust that could not be read":                {rounds: []at{{0, round(nil)}, {50, round(func(r *grant.Round) { r.Trust = grant.Outcome{Trouble: trouble("trust", grant.Again)} })}, {60, round(nil)}, {119, round(nil)}, {120, round(nil)}}},
		"a cut-off that does not cover the settling":  {rounds: []at{{0, round(cutOff(30))}, {60, round(cutOff(30))}, {61, round(cutOff(59))}, {62, round(cutOff(60))}, {121, round(cutOff(60))}, {122, round(cutOff(60))}}},
		"a cut-off that comes late":                   {rounds: []at{{0, round(cutOff(30))}, {31, round(cutOff(61))}, {60, round(cutOff(61))}, {90, round(cutOff(61))}, {91, round(cutOff(61))}}},
		"a cut-off that is put anew":                  {rounds: []at{{0, round(nil)}, {50, round(cutOff(80))}, {60, round(cutOff(80))}, {109, round(cutOff(80))}, {110, round(cutOff(80))}}},
		"a cut-off that trust has outlived":           {rounds: []at{{0, round(cutOff(60))}, {50, round(func(r *grant.Round) { removed(r); cutOff(60)(r) })}, {81, round(cutOff(111))}, {140, round(cutOff(111))}, {141, round(cutOff(111))}}},
		"a cut-off that is no longer there":           {rounds: []at{{0, round(nil)}, {60, round(func(r *grant.Round) { r.Credentials = grant.Outcome{}; r.CutOff = time.Time{} })}, {61, round(nil)}}},
		"a cut-off that was moved back":               {open: true, rounds: []at{{0, round(nil)}, {60, round(cutOff(10))}}},
		"no trust read at all":                        {open: true, rounds: []at{{0, round(noTrust)}, {3600, round(noTrust)}}},
		"nothing was ever opened":                     {untouched: true, rounds: []at{{0, round(skip("cs"))}}},
		"nothing opened, but the trust is not read":   {untouched: true, rounds: []at{{0, round(func(r *grant.Round) { skip("cs")(r); noTrust(r) })}, {1, round(skip("cs"))}}},
		"still trusted by another grant":              {rounds: []at{{0, round(skip("cst"))}}},
		"skipped for another reason, after touching":  {rounds: []at{{0, round(skip("cs"))}, {59, round(skip("cs"))}, {60, round(skip("cs"))}}},
		"credentials skipped, sessions watched":       {rounds: []at{{0, round(skip("c"))}, {59, round(skip("c"))}, {60, round(skip("c"))}}},
		"sessions skipped, credentials dead":          {rounds: []at{{0, round(skip("s"))}, {59, round(skip("s"))}, {60, round(skip("s"))}}},
		"credentials skipped, a session live":         {open: true, rounds: []at{{0, round(skip("c"))}, {60, round(func(r *grant.Round) { skip("c")(r); live(r) })}}},
		"untouched, but only the credentials skipped": {untouched: true, rounds: []at{{0, round(skip("c"))}, {60, round(skip("c"))}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := inPhase(t, grant.Closing)
			g.Touched = !tt.untouched
			for i, r := range tt.rounds {
				now := t0.Add(time.Duration(r.seconds) * time.Second)
				next, effects := must(t, g, r.round, now)
				g = next
				last := i == len(tt.rounds)-1 && !tt.open
				if (g.Phase == grant.Closed) != last {
					t.Fatalf("after round %d, at %d s: %s\n%+v", i+1, r.seconds, g.Phase, g.Ending)
				}
				again, owed := find(effects, grant.DoClose, "")
				_, proof := find(effects, grant.DoSay, grant.SayProof)
				if last != proof || !owed || again.Cancel != last {
					t.Fatalf("after round %d: owes %v", i+1, effects)
				}
				if !last && !again.Due.After(now) {
					t.Errorf("the next round is due at once: %v", again.Due.Sub(now))
				}
				for _, s := range g.Ending.Steps {
					if last && s.State != grant.Done {
						t.Errorf("closed, but the step %s is %s", s.Name, s.State)
					}
					if !last && s.Name == grant.StepProof && s.State == grant.Done {
						t.Error("the proof stands before it is there")
					}
				}
				if last && !g.ClosedAt.Equal(now) {
					t.Errorf("closed at %v, want %v", g.ClosedAt, now)
				}
			}
		})
	}
}

func TestCloseRound_nextLook(t *testing.T) {
	wait := func(g grant.Grant, r grant.CloseRound, now time.Time) (grant.Grant, time.Duration) {
		t.Helper()
		g, effects := must(t, g, r, now)
		e, _ := find(effects, grant.DoClose, "")
		return g, e.Due.Sub(now)
	}
	g := inPhase(t, grant.Closing)
	g, d := wait(g, round(nil), t0)
	if d != 5*time.Second {
		t.Errorf("the next look comes in %v, want 5 s", d)
	}
	if _, d = wait(g, round(nil), t0.Add(58*time.Second)); d != 2*time.Second {
		t.Errorf("shortly before it has settled the next look comes in %v, want 2 s", d)
	}
	failing := round(func(r *grant.Round) {
		r.Credentials = grant.Outcome{Trouble: &grant.Trouble{Kind: grant.Again, Step: grant.StepCredentials, Text: "Throttled."}}
	})
	for i, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		if g, d = wait(g, failing, t0.Add(time.Minute)); d != want {
			t.Errorf("after %d failing rounds the next comes in %v, want %v", i+1, d, want)
		}
	}
	if g, d = wait(g, round(func(r *grant.Round) { r.Live = []grant.Session{{ID: "s"}} }), t0.Add(2*time.Minute)); d != 5*time.Second || g.Ending.Failing != 0 {
		t.Errorf("after a round without trouble the next comes in %v, %d failing", d, g.Ending.Failing)
	}
	early := inPhase(t, grant.Closing)
	cut := round(func(r *grant.Round) { r.CutOff = t0.Add(30 * time.Second) })
	early, _ = wait(early, cut, t0)
	if early, d = wait(early, cut, t0.Add(28*time.Second)); d != 3*time.Second {
		t.Errorf("shortly before the cut-off is to be replaced the next look comes in %v, want 3 s", d)
	}
	if early, d = wait(early, round(nil), t0.Add(31*time.Second)); d != 5*time.Second {
		t.Errorf("once it is replaced the next look comes in %v, want 5 s", d)
	}
	if _, d = wait(early, round(nil), t0.Add(89*time.Second)); d != 2*time.Second {
		t.Errorf("shortly before the cut-off has settled the next look comes in %v, want 2 s", d)
	}
	quick := inPhase(t, grant.Closing)
	quick.Terms.Settle = 0
	if _, d = wait(quick, round(nil), t0); d != 10*time.Millisecond {
		t.Errorf("with nothing to settle the next look comes in %v", d)
	}
}

func TestCloseRound_tellsThatItIsStuck(t *testing.T) {
	g := inPhase(t, grant.Closing)
	failing := round(func(r *grant.Round) {
		r.Trust = grant.Outcome{Trouble: &grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "Not allowed."}}
	})
	var told []int
	for i := range 130 {
		var effects []grant.Effect
		g, effects = must(t, g, failing, t0.Add(time.Duration(i)*time.Minute))
		for _, e := range effects {
			if e.Kind == grant.DoSay {
				told = append(told, i+1)
				if e.Arg != fmt.Sprintf("stuck:%d", i+1) {
					t.Errorf("round %d says %s", i+1, e.Arg)
				}
			}
		}
	}
	if fmt.Sprint(told) != "[3 63 123]" {
		t.Errorf("told after the rounds %v, want 3, 63 and 123", told)
	}
}

// TestCloseRound_steps is what people see of the rounds.
func TestCloseRound_steps(t *testing.T) {
	g := inPhase(t, grant.Closing)
	var b strings.Builder
	for i, r := range []grant.CloseRound{
		round(func(r *grant.Round) {
			r.Trust = grant.Outcome{Trouble: &grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "AWS is throttling."}}
			r.Sessions = grant.Outcome{Note: "not looked at yet"}
			r.Credentials = grant.Outcome{Note: "not yet"}
		}),
		round(func(r *grant.Round) { r.Live = []grant.Session{{ID: "s1"}} }),
		round(func(r *grant.Round) { r.Live = []grant.Session{{ID: "s1"}}; r.Ended = r.Live; r.Trust.Note = "gone" }),
		round(func(r *grant.Round) { r.Live = []grant.Session{{ID: "s2"}}; r.Ended = r.Live; r.Trust.Note = "gone" }),
		round(nil),
		round(nil),
	} {
		g, _ = must(t, g, r, t0.Add(time.Duration(15*i)*time.Second))
		fmt.Fprintf(&b, "round %d: %s\n", i+1, g.Phase)
		for _, s := range g.Ending.Steps {
			fmt.Fprintf(&b, "    %-11s %-8s %s\n", s.Name, s.State, s.Note)
		}
	}
	golden(t, "closing.golden", b.String())
}
