package grant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakglass/store/grant"
)

const support = "arn:aws:iam::111122223333:role/support"

// ours is a statement of a grant, theirs one that somebody else wrote.
func ours(id grant.ID) grant.Trust {
	return grant.Trust{Sid: id.Sid(), Principal: support, ID: id, End: t0.Add(time.Hour)}
}

func theirs(sid string) grant.Trust { return grant.Trust{Sid: sid, Principal: support} }

func surveyed(list ...grant.Trust) grant.Survey {
	return grant.Survey{RoleARN: roleARN, RoleName: "ssm-access-from-other-accounts", Trust: list}
}

// sure is a look that needs no second one.
func sure(list ...grant.Trust) grant.Survey {
	s := surveyed(list...)
	s.Sure = true
	return s
}

func unseen(kind grant.TroubleKind, text string) grant.Survey {
	return grant.Survey{Trouble: &grant.Trouble{Kind: kind, Step: grant.StepCheck, Text: text, Cause: errors.New("secret")}}
}

// numbered makes the tokens s1, s2 and so on.
func numbered() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("s", n) }
}

// on is a grant with that id in the phase, on a role.
func on(t testing.TB, p grant.Phase, id grant.ID, role string) grant.Grant {
	t.Helper()
	g := inPhase(t, p)
	g.ID = id
	if role != "" {
		g.Report = &grant.Report{RoleARN: role}
	}
	if g.Access != nil {
		g.Access.RoleARN = role
	}
	return g
}

// TestSurvey plays looks at a cell, and wants each stray to be told once, and
// the next look to come when it should.
func TestSurvey(t *testing.T) {
	type glance struct {
		at   time.Duration // since t0
		see  grant.Survey
		live []grant.Grant
		told []string      // tokens, or blind:n
		next time.Duration // until the next look
	}
	const again, every, min = grant.SurveyAgain, grant.SurveyEvery, time.Minute
	later := ours(3)
	later.End = later.End.Add(time.Hour)
	endless := ours(3)
	endless.End = time.Time{}
	shouted := theirs("Manual")
	shouted.Principal = strings.ToUpper(support)
	takes := on(t, grant.Open, 9, roleARN)
	takes.Takes = 3
	stranger := on(t, grant.Open, 9, roleARN)
	stranger.Principal = "arn:aws:iam::111122223333:role/other"
	moved := surveyed(ours(3))
	moved.RoleARN += "-new"
	grants := func(list ...grant.Grant) []grant.Grant { return list }
	told := func(list ...string) []string { return list }

	for name, looks := range map[string][]glance{
		"nothing": {{0, surveyed(), nil, nil, every}, {5 * min, surveyed(), nil, nil, every}},
		"told when two looks have found it, and no more": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
			{2 * min, surveyed(ours(3)), nil, nil, every},
			{50 * min, surveyed(ours(3)), nil, nil, every},
		},
		"a second look that came too soon": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min - 1, surveyed(ours(3)), nil, nil, 1},
			{min, surveyed(ours(3)), nil, told("s1"), every},
		},
		"told at once, where nothing of ours can be opening or closing": {
			{0, sure(ours(3), theirs("")), nil, told("s1", "s2"), every},
			{5 * min, surveyed(ours(3), theirs("")), nil, nil, every},
			{10 * min, surveyed(theirs("")), nil, told("s1"), every},
		},
		"only passing": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(), nil, nil, every},
			{2 * min, surveyed(ours(3)), nil, nil, again},
			{3 * min, surveyed(ours(3)), nil, told("s2"), every},
		},
		"a look that failed in between is none": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min / 2, unseen(grant.Again, "throttled"), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
			{2 * min, unseen(grant.Refused, "no"), nil, nil, again},
			{3 * min, surveyed(ours(3)), nil, nil, every},
		},
		"gone, and back": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
			{6 * min, surveyed(), nil, told("s1"), every},
			{7 * min, surveyed(), nil, nil, every},
			{11 * min, surveyed(ours(3)), nil, nil, again},
			{12 * min, surveyed(ours(3)), nil, told("s2"), every},
			{13 * min, surveyed(), nil, told("s2"), every},
		},
		"its end is moved": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(later), nil, told("s1"), every}, // seen twice, whatever it says
			{6 * min, surveyed(later), nil, nil, every},
			{11 * min, surveyed(endless), nil, told("s1"), every},
			{12 * min, surveyed(endless), nil, nil, every},
		},
		"two at once, one of them later": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min / 2, surveyed(ours(3), theirs("")), nil, nil, min / 2},
			{min, surveyed(theirs(""), ours(3)), nil, told("s1"), min / 2},
			{2 * min, surveyed(theirs(""), ours(3)), nil, told("s2"), every},
		},
		"one principal in two statements": {
			{0, surveyed(theirs("A"), theirs("B")), nil, nil, again},
			{min, surveyed(theirs("A"), theirs("B")), nil, told("s1", "s2"), every},
			{6 * min, surveyed(theirs("B")), nil, told("s1"), every},
		},
		"listed twice, in any letters": {
			{0, surveyed(theirs("Manual"), shouted, theirs("Manual")), nil, nil, again},
			{min, surveyed(shouted, theirs("Manual")), nil, told("s1"), every},
			{6 * min, surveyed(theirs("Manual")), nil, nil, every},
		},
		"two statements without a Sid, of which one has no end": {
			{0, surveyed(later, endless), nil, nil, again},
			{min, surveyed(endless, later), nil, told("s1"), every},
			{2 * min, surveyed(later, endless), nil, nil, every},
		},
		"ours, of a grant that is live": {
			{0, surveyed(ours(3)), grants(on(t, grant.Opening, 3, roleARN)), nil, every},
			{5 * min, surveyed(ours(3)), grants(on(t, grant.Open, 3, roleARN)), nil, every},
			{10 * min, surveyed(ours(3)), grants(on(t, grant.Closing, 3, roleARN)), nil, every},
			{15 * min, surveyed(ours(3)), nil, nil, again},
			{16 * min, surveyed(ours(3)), nil, told("s1"), every},
		},
		"ours, of a grant that nobody has approved": {
			{0, surveyed(ours(3)), grants(on(t, grant.Requested, 3, roleARN)), nil, again},
		},
		"ours, of a grant on another role": {
			{0, surveyed(ours(3)), grants(on(t, grant.Open, 3, roleARN+"-2")), nil, again},
		},
		"ours, of a grant whose role is not known yet": {
			{0, surveyed(ours(3)), grants(on(t, grant.Opening, 3, "")), nil, every},
		},
		"ours, beside another grant for the same principal": {
			{0, surveyed(ours(3)), grants(on(t, grant.Open, 9, roleARN)), nil, again},
			{min, surveyed(ours(3)), grants(on(t, grant.Open, 9, roleARN)), told("s1"), every},
		},
		"ours, taken over": {{0, surveyed(ours(3)), grants(takes), nil, every}},
		"theirs, of a principal with a grant": {
			{0, surveyed(shouted, theirs("")), grants(on(t, grant.Open, 9, strings.ToUpper(roleARN))), nil, every},
		},
		"theirs, of a principal without one": {{0, surveyed(theirs("")), grants(stranger), nil, again}},
		"explained between the two looks": {
			{0, surveyed(theirs("")), nil, nil, again},
			{min, surveyed(theirs("")), grants(on(t, grant.Opening, 9, roleARN)), nil, every},
			{6 * min, surveyed(theirs("")), nil, nil, again},
			{7 * min, surveyed(theirs("")), nil, told("s2"), every},
		},
		"another role in its place": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
			{6 * min, moved, nil, told("s1"), again},
			{7 * min, moved, nil, told("s2"), every},
		},
		"the clock is set back before it was told": {
			{1000 * time.Hour, surveyed(ours(3)), nil, nil, again},
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
		},
		"the clock is set back after it was told": {
			{1000 * time.Hour, surveyed(ours(3)), nil, nil, again},
			{1000*time.Hour + min, surveyed(ours(3)), nil, told("s1"), every},
			{0, surveyed(ours(3)), nil, nil, every},
			{min, surveyed(), nil, told("s1"), every},
		},
		"blind": {
			{0, unseen(grant.Refused, "No such role."), nil, nil, again},
			{min - 1, unseen(grant.Refused, "No such role."), nil, nil, 1},
			{min, unseen(grant.Refused, "No such role."), nil, told("blind:1"), every},
			{6 * min, unseen(grant.Refused, "No such role."), nil, nil, every},
			{11 * min, unseen(grant.Refused, "Not allowed."), nil, nil, again},
			{12 * min, unseen(grant.Refused, "Not allowed."), nil, told("blind:2"), every},
			{17 * min, surveyed(), nil, nil, every},
			{22 * min, unseen(grant.Refused, "Not allowed."), nil, nil, again},
			{23 * min, unseen(grant.Refused, "Not allowed."), nil, told("blind:3"), every},
		},
		"blind for a moment": {
			{0, unseen(grant.Refused, "No such role."), nil, nil, again},
			{min, surveyed(), nil, nil, every},
			{2 * min, unseen(grant.Refused, "No such role."), nil, nil, again},
		},
		"what may pass by itself is not told": {
			{0, unseen(grant.Again, "throttled"), nil, nil, again},
			{5 * min, unseen(grant.Again, "throttled"), nil, nil, again},
			{10 * min, unseen(grant.Unknown, "timeout"), nil, nil, again},
			{15 * min, unseen(grant.Unknown, "timeout"), nil, nil, again},
		},
		"blind when the clock is set back": {
			{1000 * time.Hour, unseen(grant.Refused, "No such role."), nil, nil, again},
			{0, unseen(grant.Refused, "No such role."), nil, nil, again},
			{min, unseen(grant.Refused, "No such role."), nil, told("blind:1"), every},
		},
		"a stray outlasts blindness": {
			{0, surveyed(ours(3)), nil, nil, again},
			{min, surveyed(ours(3)), nil, told("s1"), every},
			{6 * min, unseen(grant.Refused, "No such role."), nil, nil, again},
			{7 * min, unseen(grant.Refused, "No such role."), nil, told("blind:1"), every},
			{12 * min, surveyed(ours(3)), nil, nil, every},
			{17 * min, surveyed(), nil, told("s1"), every},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, token := grant.Guard{Cell: "helios-prod"}, numbered()
			for i, l := range looks {
				now := t0.Add(l.at)
				next, effects := g.Survey(l.see, l.live, nil, token, now)
				tokens, due := messages(t, next, effects)
				if diff := cmp.Diff(l.told, tokens); diff != "" {
					t.Errorf("look %d tells (-want +got):\n%s", i+1, diff)
				}
				if got := due.Sub(now); got != l.next {
					t.Errorf("look %d: the next comes in %v, want %v", i+1, got, l.next)
				}
				if l.see.Trouble == nil && (!next.At.Equal(now) || next.Blind != nil) {
					t.Errorf("look %d: seen at %v, blind %v", i+1, next.At, next.Blind)
				}
				if b := next.Blind; b != nil && b.Cause != nil {
					t.Errorf("look %d keeps the cause", i+1)
				}
				g = next
			}
		})
	}
}

// messages splits what a look owes into the messages and the time of the next
// look, of which there must be one.
func messages(t interface {
	Helper()
	Errorf(format string, args ...any)
}, g grant.Guard, effects []grant.Effect,
) (told []string, next time.Time) {
	t.Helper()
	looks := 0
	for _, e := range effects {
		switch cell, what, ok := grant.ParseStrayArg(e.Arg); {
		case e.Cancel || e.Once || !e.Kind.OfCell():
			t.Errorf("a look owes %+v", e)
		case e.Kind == grant.DoSurvey && e.Arg == string(g.Cell):
			looks++
			next = e.Due
		case e.Kind != grant.DoStray || !ok || cell != g.Cell || !e.Due.Equal(g.At) && g.Blind == nil:
			t.Errorf("a look at %s owes %+v", g.Cell, e)
		default:
			told = append(told, what)
		}
	}
	if looks != 1 {
		t.Errorf("a look owes %d looks: %+v", looks, effects)
	}
	return told, next
}

// strayed is a guard that was told of the trust, with the message posted.
func strayed(t testing.TB, cell grant.CellName, list ...grant.Trust) grant.Guard {
	t.Helper()
	g, token := grant.Guard{Cell: cell}, numbered()
	for i := range 2 {
		g, _ = g.Survey(surveyed(list...), nil, nil, token, t0.Add(time.Duration(i)*time.Minute))
	}
	for _, x := range g.Strays {
		if x.Told.IsZero() {
			t.Fatalf("nobody was told of %+v", x)
		}
		g = g.Posted(x.Token, grant.Card{Channel: "C1", TS: "1." + x.Token})
	}
	return g
}

// TestSurvey_explainedLater: a stray was told, and then a grant stands behind it.
// The trust is still there, so nobody may read that it has gone; if it is there
// when the grant has ended, that is news again, in a message of its own.
func TestSurvey_explainedLater(t *testing.T) {
	for name, by := range map[string]grant.Grant{
		"adopted":     on(t, grant.Opening, 9, roleARN),
		"removed":     must1(t, grant.Grant{ID: 9}, removal(dave)),
		"by a coming": on(t, grant.Open, 9, roleARN),
	} {
		see, live := surveyed(theirs("Manual")), []grant.Grant{by}
		g := strayed(t, "helios-prod", theirs("Manual"))
		want := func(when string, tokens []string, effects []grant.Effect, gone bool) {
			t.Helper()
			got, _ := messages(t, g, effects)
			if diff := cmp.Diff(tokens, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, when, diff)
			}
			if x, ok := g.Stray("s1"); !ok || gone == x.Gone.IsZero() || gone && x.By != 0 {
				t.Errorf("%s, %s: gone at %v, behind it %s, there %v", name, when, x.Gone, x.By, ok)
			}
		}
		g, effects := g.Survey(see, live, nil, numbered(), t0.Add(6*time.Minute))
		want("when a grant is behind it", []string{"s1"}, effects, false)
		if x, _ := g.Stray("s1"); x.By != 9 || x.Card.TS == "" {
			t.Errorf("%s: behind it is %s, its message at %+v", name, x.By, x.Card)
		}
		g, effects = g.Survey(see, live, nil, numbered(), t0.Add(11*time.Minute))
		want("still", nil, effects, false)

		left, effects := g.Survey(surveyed(), nil, nil, numbered(), t0.Add(16*time.Minute))
		stays := g
		g = left
		want("when it went with the grant", []string{"s1"}, effects, true)

		g = stays
		g, effects = g.Survey(see, nil, nil, numbered(), t0.Add(16*time.Minute))
		want("when it is there without the grant", nil, effects, false)
		passing, effects := g.Survey(surveyed(), nil, nil, numbered(), t0.Add(17*time.Minute))
		stays, g = g, passing
		want("when AWS was only late", []string{"s1"}, effects, true)
		g = stays
		g, effects = g.Survey(see, nil, nil, numbered(), t0.Add(17*time.Minute))
		want("when it is there for good", []string{"s1"}, effects, false)
		if x, _ := g.Stray("s1"); x.Card != (grant.Card{}) || x.By != 0 {
			t.Errorf("%s: the old message would be edited, where nobody sees it: %+v", name, x)
		}
	}
}

func must1(t testing.TB, g grant.Grant, ev grant.Event) grant.Grant {
	t.Helper()
	g, _ = must(t, g, ev, t0)
	return g
}

// TestSurvey_cellsThatShareARole: one of them tells, whichever comes first, and
// none keeps the others silent without telling.
func TestSurvey_cellsThatShareARole(t *testing.T) {
	see := surveyed(ours(3), theirs("Manual"))
	a, b := grant.Guard{Cell: "a"}, grant.Guard{Cell: "b"}
	tokenA, tokenB := numbered(), numbered()
	look := func(g *grant.Guard, o grant.Guard, token func() string, s grant.Survey, at time.Duration) []string {
		t.Helper()
		next, effects := g.Survey(s, nil, []grant.Guard{o}, token, t0.Add(at))
		told, _ := messages(t, next, effects)
		*g = next
		return told
	}
	// a looks once and then never again: b must not wait for it.
	if told := look(&a, b, tokenA, see, 0); told != nil {
		t.Errorf("told %v at the first look", told)
	}
	first := a
	look(&b, a, tokenB, see, time.Second)
	if told := look(&b, a, tokenB, see, time.Minute+time.Second); len(told) != 2 {
		t.Errorf("b tells %v, want both", told)
	}
	// a comes back: that is b's now.
	if told := look(&a, b, tokenA, see, 2*time.Minute); told != nil || len(a.Strays) != 0 {
		t.Errorf("a tells %v again, and keeps %v", told, a.Strays)
	}
	// Gone from b, it may be anybody's.
	look(&b, a, tokenB, surveyed(), 3*time.Minute)
	if look(&a, b, tokenA, see, 4*time.Minute); len(a.Strays) != 2 {
		t.Errorf("a keeps %v", a.Strays)
	}
	// Of another role, it was never the same.
	other := see
	other.RoleARN += "-2"
	a = first
	look(&a, b, tokenA, see, time.Minute)
	b = grant.Guard{Cell: "b"}
	look(&b, a, tokenB, other, 2*time.Minute)
	if told := look(&b, a, tokenB, other, 3*time.Minute); len(told) != 2 {
		t.Errorf("b tells %v of its own role", told)
	}
}

// TestSurvey_isBounded: whoever may write the trust policy can make strays come
// and go as often as there is time.
func TestSurvey_isBounded(t *testing.T) {
	g, token := grant.Guard{Cell: "helios-prod"}, numbered()
	var crowd []grant.Trust
	for i := range 100 {
		crowd = append(crowd, theirs(fmt.Sprint("S", i)))
	}
	now := t0
	most := 0
	for i := range 60 {
		for range 2 {
			g, _ = g.Survey(surveyed(crowd...), nil, nil, token, now)
			now = now.Add(time.Minute)
		}
		if g.Beyond != 60 {
			t.Fatalf("%d found no room, want 60", g.Beyond)
		}
		g, _ = g.Survey(surveyed(), nil, nil, token, now)
		now = now.Add(time.Minute)
		if most = max(most, len(g.Strays)); most > 200 {
			t.Fatalf("after %d floods %d strays are remembered", i+1, most)
		}
	}
	// The newest of those that went are kept: their messages are owed yet.
	last := g.Strays[len(g.Strays)-1]
	if !last.Gone.Equal(now.Add(-time.Minute)) {
		t.Errorf("the last that went, went at %v", last.Gone)
	}
	if g, _ = g.Survey(surveyed(), nil, nil, token, now.AddDate(0, 0, 8)); len(g.Strays) != 0 || g.Beyond != 0 {
		t.Errorf("a week later %d are remembered", len(g.Strays))
	}
}

// TestSurvey_hostileNames: Sids and principals are written by whoever may write
// the trust policy.
func TestSurvey_hostileNames(t *testing.T) {
	at := t0.In(time.FixedZone("east", 3600))
	see := surveyed(
		grant.Trust{Sid: "a\x00b\xff", Principal: "<!channel>\u202e\n" + strings.Repeat("x", 5000), End: at},
		grant.Trust{Sid: "s1/../blind:1", Principal: ""},
		grant.Trust{Sid: strings.Repeat("ä", 500), Principal: "*"},
		grant.Trust{},
	)
	g := strayed(t, "helios-prod", see.Trust...)
	if len(g.Strays) != 4 {
		t.Fatalf("%d strays, want 4: %+v", len(g.Strays), g.Strays)
	}
	for _, x := range g.Strays {
		if len([]rune(x.Sid)) > 128 || len([]rune(x.Principal)) > 600 || strings.ContainsAny(x.Sid+x.Principal, "\x00\n\u202e") || !utf8.ValidString(x.Sid+x.Principal) {
			t.Errorf("kept: %q by %q", x.Principal, x.Sid)
		}
	}
	data, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back grant.Guard
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, back); diff != "" {
		t.Errorf("it does not survive the disk (-before +after):\n%s", diff)
	}
	// And so it is no news when it is seen again.
	if _, effects := back.Survey(see, nil, nil, numbered(), t0.Add(time.Hour)); len(effects) != 1 {
		t.Errorf("told again: %+v", effects)
	}
}

// TestSurvey_properties draws looks, grants and clocks: nothing is told that two
// looks, a minute apart, have not found.
func TestSurvey_properties(t *testing.T) {
	adopter := on(t, grant.Opening, 9, roleARN)
	all := []grant.Trust{ours(3), ours(9), {Sid: "A", Principal: "arn:aws:iam::111122223333:role/x"}}
	for _, sid := range []string{"", "A", "B"} {
		for _, end := range []time.Time{{}, t0, t0.Add(time.Hour)} {
			all = append(all, grant.Trust{Sid: sid, Principal: support, End: end})
		}
	}
	trust := rapid.SliceOfN(rapid.SampledFrom(all), 0, 5)
	type key struct{ sid, principal string }
	of := func(x grant.Trust) key { return key{x.Sid, x.Principal} }
	told := 0
	rapid.Check(t, func(t *rapid.T) {
		g, other := grant.Guard{Cell: "a"}, grant.Guard{Cell: "b"}
		token := numbered()
		now := t0
		since := map[key]time.Time{} // from when on every look has found it unexplained
		look := func(t *rapid.T) {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 30, 60, 61, 300, -1, -86400}).Draw(t, "later")) * time.Second)
			see := surveyed(trust.Draw(t, "trust")...)
			switch rapid.IntRange(0, 9).Draw(t, "trouble") {
			case 0:
				see = unseen(grant.Refused, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "text"))
			case 1:
				see = unseen(grant.Again, "later")
			}
			var live []grant.Grant
			if rapid.IntRange(0, 3).Draw(t, "grant") == 0 {
				live = append(live, adopter)
			}
			was, before := g, fmt.Sprintf("%+v", g)
			next, effects := g.Survey(see, live, []grant.Guard{other}, token, now)
			if after := fmt.Sprintf("%+v", was); before != after {
				t.Fatalf("a look changed its receiver:\n%s\n%s", before, after)
			}
			g = next
			names, due := messages(t, g, effects)
			if wait := due.Sub(now); wait <= 0 || wait > grant.SurveyEvery {
				t.Fatalf("the next look comes in %v", wait)
			}
			if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
				t.Fatalf("told twice: %v", names)
			}
			if see.Trouble == nil {
				earlier := since
				since = map[key]time.Time{}
				for _, x := range see.Trust {
					if len(live) > 0 && (x.ID == 9 || x.ID == 0 && x.Principal == support) {
						continue
					}
					since[of(x)] = now
					if at, ok := earlier[of(x)]; ok && at.Before(now) {
						since[of(x)] = at
					}
				}
			}
			for _, name := range names {
				if strings.HasPrefix(name, grant.SayBlind) {
					continue
				}
				x, ok := g.Stray(name)
				if !ok {
					t.Fatalf("%s is told, and nothing is known of it", name)
				}
				if old, _ := was.Stray(name); x.Gone.IsZero() && x.By == 0 && old.Told.IsZero() {
					told++
					if at, ok := since[of(x.Trust)]; !ok || now.Sub(at) < grant.SurveyAgain {
						t.Fatalf("%+v is told at %v, found since %v, %v", x, now, at, ok)
					}
				}
			}
			stands := map[key]bool{}
			for _, x := range g.Strays {
				if old, known := was.Stray(x.Token); known && !old.Gone.IsZero() && x.Gone.IsZero() {
					t.Fatalf("%+v came back under its old token", x)
				}
				if !x.Gone.IsZero() {
					continue
				}
				if stands[of(x.Trust)] {
					t.Fatalf("%+v is kept twice", x)
				}
				stands[of(x.Trust)] = true
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"look":           look,
			"another look":   look,
			"one more again": look,
			"the other cell looks": func(t *rapid.T) {
				other, _ = other.Survey(surveyed(trust.Draw(t, "trust")...), nil, []grant.Guard{g}, token, now)
			},
			"messages are posted": func(*rapid.T) {
				for _, x := range g.Strays {
					if !x.Told.IsZero() {
						g = g.Posted(x.Token, grant.Card{Channel: "C1", TS: x.Token})
					}
				}
			},
		})
	})
	t.Logf("%d strays told", told)
}

func TestStray_answers(t *testing.T) {
	x := strayed(t, "helios-prod", theirs("Manual")).Strays[0]
	asked := requested(t, 1)
	asked.ID, asked.Stray, asked.Principal = 1, x.Token, "arn:aws:iam::111122223333:role/x"
	denied := must1(t, asked, grant.Deny{By: bob})
	removing := must1(t, grant.Grant{ID: 2}, removal(dave))
	removing.Stray = x.Token
	unrelated := on(t, grant.Open, 3, roleARN)
	unrelated.Principal = "arn:aws:iam::111122223333:role/x"
	elsewhere := on(t, grant.Open, 4, roleARN+"-2")
	explains := on(t, grant.Open, 5, roleARN)
	for name, tt := range map[string]struct {
		live []grant.Grant
		want grant.ID
	}{
		"nobody":                                  {nil, 0},
		"grants that have nothing to do with it":  {[]grant.Grant{unrelated, elsewhere}, 0},
		"one that was denied":                     {[]grant.Grant{denied}, 0},
		"one that asks for it":                    {[]grant.Grant{unrelated, asked}, 1},
		"one that takes it away":                  {[]grant.Grant{removing}, 2},
		"one that takes it away, after one asked": {[]grant.Grant{asked, removing}, 2},
		"one that explains it":                    {[]grant.Grant{unrelated, explains}, 5},
	} {
		by, ok := x.Answers(tt.live)
		if by.ID != tt.want || ok != (tt.want != 0) {
			t.Errorf("%s: %s answers, %v, want %s", name, by.ID, ok, tt.want)
		}
	}
	// Without a token it is nobody's.
	x.Token = ""
	if by, ok := x.Answers([]grant.Grant{unrelated, must1(t, elsewhere, grant.Revoke{By: bob})}); ok {
		t.Errorf("%s answers a stray without a token", by.ID)
	}
}

func TestStray_idle(t *testing.T) {
	for name, tt := range map[string]struct {
		x    grant.Stray
		want bool
	}{
		"no end":                      {grant.Stray{Told: t0, Trust: theirs("")}, false},
		"an end ahead":                {grant.Stray{Told: t0, Trust: ours(3)}, false},
		"an end that was past":        {grant.Stray{Told: t0.Add(2 * time.Hour), Trust: ours(3)}, true},
		"a role that was deleted":     {grant.Stray{Told: t0, Trust: grant.Trust{Principal: "AROAEXAMPLE"}}, true},
		"a user that was deleted":     {grant.Stray{Told: t0, Trust: grant.Trust{Principal: "AIDAEXAMPLE"}}, true},
		"a role with a name like one": {grant.Stray{Told: t0, Trust: grant.Trust{Principal: "arn:aws:iam::111122223333:role/AROA"}}, false},
	} {
		if got := tt.x.Idle(); got != tt.want {
			t.Errorf("%s: idle %v", name, got)
		}
	}
}

func TestPolicyAdopt(t *testing.T) {
	p := policy()
	p.Cells[0].Account = "999988887777"
	x := strayed(t, "helios-prod", ours(3)).Strays[0]
	ev, err := p.Adopt(alice, "helios-prod", x, "tok")
	if err != nil {
		t.Fatal(err)
	}
	want := grant.Request{
		By: alice, Token: "tok", Cell: "helios-prod", Account: "999988887777", Region: "us-east-1", Principal: support,
		Ticket: "adopted", Duration: 4 * time.Hour, Stray: x.Token, Takes: 3, Terms: ev.Terms,
		Reason: "Adopted: statement BreakglassBG3 of the trust policy of ssm-access-from-other-accounts lets it in, and no grant explains that.",
	}
	if diff := cmp.Diff(want, ev); diff != "" || ev.Terms.Approvals != 2 || ev.Terms.Settle != grant.DefaultSettle {
		t.Errorf("Adopt (-want +got):\n%s\nterms %+v", diff, ev.Terms)
	}
	g, effects := must(t, grant.Grant{ID: 7}, ev, t0)
	if g.Stray != x.Token || g.Takes != 3 || g.Removal {
		t.Errorf("adopted as %+v", g)
	}
	arg := grant.StrayArg("helios-prod", x.Token)
	if e, ok := find(effects, grant.DoStray, arg); !ok || !e.Due.Equal(t0) {
		t.Errorf("the stray's message is not brought up to date: %v", effects)
	}
	// A decision against it gives the message its buttons back.
	for _, ev := range []grant.Event{grant.Deny{By: bob}, grant.Withdraw{By: alice}, grant.Revoke{By: dave}, grant.LapseDue{}} {
		if _, effects := must(t, g, ev, t0.Add(time.Hour)); !has(effects, grant.DoStray, arg) {
			t.Errorf("%s owes %v", ev.Kind(), effects)
		}
	}
	// Any configured duration can be asked for.
	for _, d := range []time.Duration{time.Second, 30 * time.Minute, 90 * time.Minute, 4*time.Hour + time.Second, 36 * time.Hour} {
		p.Limits = grant.Limits{Default: d, Max: 48 * time.Hour}
		if ev, err := p.Adopt(alice, "helios-prod", x, "tok"); err != nil || ev.Duration != d {
			t.Errorf("by default for %v: %v, %v", d, ev.Duration, err)
		}
	}
	p.Limits = grant.Limits{Max: 90 * time.Minute}
	if ev, err := p.Adopt(alice, "helios-prod", x, "tok"); err != nil || ev.Duration != 90*time.Minute {
		t.Errorf("without a default: %v, %v", ev.Duration, err)
	}
}

func has(effects []grant.Effect, kind grant.EffectKind, arg string) bool {
	e, ok := find(effects, kind, arg)
	return ok && !e.Cancel
}

func TestPolicyAdopt_refusals(t *testing.T) {
	p := policy()
	p.Cells[0].Account = "999988887777"
	gone := grant.Stray{Trust: theirs(""), Token: "s", RoleName: "r", Told: t0, Gone: t0.Add(time.Minute)}
	of := func(principal string) grant.Stray {
		return grant.Stray{Trust: grant.Trust{Principal: principal}, Token: "s", RoleName: "r", Told: t0}
	}
	for name, tt := range map[string]struct {
		by   grant.Actor
		cell grant.CellName
		x    grant.Stray
		code grant.Code
	}{
		"gone":                         {alice, "helios-prod", gone, grant.WrongPhase},
		"by one who may not ask":       {bob, "helios-prod", of(support), grant.NotAllowed},
		"a cell of yesterday":          {alice, "renamed", of(support), grant.BadPrincipal},
		"a whole account":              {alice, "helios-prod", of("arn:aws:iam::111122223333:root"), grant.BadPrincipal},
		"everybody":                    {alice, "helios-prod", of("*"), grant.BadPrincipal},
		"a deleted role":               {alice, "helios-prod", of("AROAEXAMPLE"), grant.BadPrincipal},
		"a user":                       {alice, "helios-prod", of("arn:aws:iam::111122223333:user/jo"), grant.BadPrincipal},
		"somebody else's role":         {alice, "helios-prod", of("arn:aws:iam::222233334444:role/x"), grant.BadPrincipal},
		"a role of the cell's own":     {alice, "helios-prod", of("arn:aws:iam::999988887777:role/x"), grant.BadPrincipal},
		"a role in another partition":  {alice, "helios-prod", of("arn:aws-cn:iam::111122223333:role/x"), grant.BadPrincipal},
		"a hostile name":               {alice, "helios-prod", of("<!channel>\u202e %s"), grant.BadPrincipal},
		"nobody":                       {alice, "helios-prod", of(""), grant.BadPrincipal},
		"gone, by one who may not ask": {eve, "helios-prod", gone, grant.WrongPhase},
	} {
		ev, err := p.Adopt(tt.by, tt.cell, tt.x, "tok")
		if r := refusal(t, err); r.Code != tt.code || !strings.Contains(r.Text, "Nothing ") || strings.ContainsAny(r.Text, "\u202e\n") || strings.Contains(r.Text, "%!") {
			t.Errorf("%s: %s: %s", name, r.Code, r.Text)
		}
		if diff := cmp.Diff(grant.Request{}, ev); diff != "" {
			t.Errorf("%s: refused, and yet\n%s", name, diff)
		}
		if adoptable := tt.code != grant.BadPrincipal; tt.x.Gone.IsZero() && p.Adoptable(tt.cell, tt.x) != adoptable {
			t.Errorf("%s: adoptable %v", name, !adoptable)
		}
	}
}

// TestRemoval goes from the button to the proof.
func TestRemoval(t *testing.T) {
	p := policy()
	x := strayed(t, "helios-prod", ours(3)).Strays[0]
	for _, by := range []grant.Actor{bob, dave, operator} {
		ev, err := p.Removal(by, "helios-prod", x, "tok")
		if err != nil {
			t.Fatal(err)
		}
		g, effects := must(t, grant.Grant{ID: 7}, ev, t0)
		if g.Phase != grant.Closing || !g.Removal || !g.Touched || g.Stray != x.Token || g.Takes != 3 ||
			string(g.Principal) != support || g.Report.RoleARN != roleARN || g.Requester != by.User || len(g.Approvals) != 0 {
			t.Errorf("%v removes as %+v", by, g)
		}
		if g.Ending.By.User != by.User || g.Ending.By.Kind != by.Kind || g.Ending.By.Approver {
			t.Errorf("ended by %+v, want %+v", g.Ending.By, by)
		}
		if e, ok := find(effects, grant.DoClose, ""); !ok || !e.Due.Equal(t0) {
			t.Errorf("no closing is owed at once: %v", effects)
		}
		if !has(effects, grant.DoStray, grant.StrayArg("helios-prod", x.Token)) || !has(effects, grant.DoCard, "") {
			t.Errorf("the message and the card are not owed: %v", effects)
		}
		for _, e := range effects {
			if !e.Cancel && (e.Kind == grant.DoOpen || e.Kind == grant.DoExpire || e.Kind == grant.DoCheck) {
				t.Errorf("a removal owes %+v", e)
			}
		}
		// It is proven like any end, and not excused for never having been opened.
		if now, _ := must(t, g, grant.CloseRound{Round: skipped()}, t0); now.Phase != grant.Closing {
			t.Errorf("closed without looking at credentials and sessions: %s", now.Phase)
		}
		for i := range 2 {
			now := t0.Add(time.Duration(i) * time.Minute)
			g, effects = must(t, g, round(func(r *grant.Round) { r.CutOff = t0.Add(2 * time.Minute) }), now)
		}
		if g.Phase != grant.Closed || !has(effects, grant.DoSurvey, "helios-prod") || !has(effects, grant.DoSay, grant.SayProof) {
			t.Errorf("after the proof: %s, owes %v", g.Phase, effects)
		}
	}
	gone := x
	gone.Gone = t0
	if _, err := p.Removal(bob, "helios-prod", gone, "tok"); refusal(t, err).Code != grant.WrongPhase {
		t.Errorf("Removal of what has gone = %v", err)
	}
	if _, err := p.Removal(bob, "renamed", x, "tok"); refusal(t, err).Code != grant.UnknownCell {
		t.Errorf("Removal on a cell that is not there = %v", err)
	}
}

func TestAlone(t *testing.T) {
	adopts := request(1)
	adopts.Stray = "stray"
	asked := must1(t, grant.Grant{ID: 1}, adopts)
	approved := must1(t, asked, grant.Approve{By: bob})
	removing := must1(t, grant.Grant{ID: 2}, removal(dave))
	byHand := must1(t, grant.Grant{ID: 3}, removal(operator))
	other := request(1)
	other.Stray = "another"
	noToken := removal(dave)
	noToken.Stray.Token = ""
	for name, tt := range map[string]struct {
		ev   grant.Event
		live []grant.Grant
		who  string // empty: it may go on
	}{
		"nobody was first":                      {adopts, nil, ""},
		"any request":                           {request(1), []grant.Grant{asked, removing}, ""},
		"another stray":                         {other, []grant.Grant{asked, removing}, ""},
		"adopt twice":                           {adopts, []grant.Grant{asked}, "BG-1 deals with that already, since 09:00 UTC: @U0ALICE "},
		"adopt what is being removed":           {adopts, []grant.Grant{removing}, "BG-2 deals with that already, since 09:00 UTC: @U0DAVE "},
		"adopt what an operator is removing":    {adopts, []grant.Grant{byHand}, "BG-3 deals with that already, since 09:00 UTC: operator root "},
		"remove twice":                          {removal(bob), []grant.Grant{removing}, "BG-2 "},
		"remove what is only asked for":         {removal(bob), []grant.Grant{asked}, ""},
		"remove what is adopted":                {removal(bob), []grant.Grant{approved}, "BG-1 "},
		"remove what is asked for and removed":  {removal(bob), []grant.Grant{asked, removing}, "BG-2 "},
		"grants without a stray have no token":  {noToken, []grant.Grant{requested(t, 1), inPhase(t, grant.Open)}, ""},
		"an approval answers no stray":          {grant.Approve{By: bob}, []grant.Grant{asked}, ""},
		"remove beside grants for other things": {removal(bob), []grant.Grant{requested(t, 1), inPhase(t, grant.Closing)}, ""},
	} {
		err := grant.Alone(tt.ev, tt.live)
		if tt.who == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if r := refusal(t, err); r.Code != grant.WrongPhase || !strings.HasPrefix(r.Text, tt.who) || !strings.Contains(r.Text, "Nothing changed") {
			t.Errorf("%s: %s: %s", name, r.Code, r.Text)
		}
	}
	if !grant.AnswersStray(adopts) || !grant.AnswersStray(removal(bob)) || grant.AnswersStray(request(1)) || grant.AnswersStray(grant.EndDue{}) {
		t.Error("AnswersStray does not know which events answer a stray")
	}
}

func TestParseStrayArg(t *testing.T) {
	if cell, what, ok := grant.ParseStrayArg(grant.StrayArg("helios-prod", "blind:1")); cell != "helios-prod" || what != "blind:1" || !ok {
		t.Errorf("got %q, %q, %v", cell, what, ok)
	}
	if _, what, ok := grant.ParseStrayArg("c/a/b"); what != "a/b" || !ok {
		t.Errorf("got %q, %v", what, ok)
	}
	for _, arg := range []string{"", "/", "cell", "cell/", "/token"} {
		if _, _, ok := grant.ParseStrayArg(arg); ok {
			t.Errorf("%q was accepted", arg)
		}
	}
}

func TestGuard_posted(t *testing.T) {
	g := strayed(t, "helios-prod", theirs("A"), theirs("B"))
	at := grant.Card{Channel: "C2", TS: "9"}
	for _, token := range []string{"", "nobody's"} {
		if diff := cmp.Diff(g, g.Posted(token, at)); diff != "" {
			t.Errorf("%q is nobody's token, and yet:\n%s", token, diff)
		}
		if x, ok := g.Stray(token); ok {
			t.Errorf("%q finds %+v", token, x)
		}
	}
	before := fmt.Sprintf("%+v", g)
	next := g.Posted("s2", at)
	if x, _ := next.Stray("s2"); x.Card != at {
		t.Errorf("posted at %+v", x.Card)
	}
	if x, _ := next.Stray("s1"); x.Card == at {
		t.Error("the other one was posted, too")
	}
	if after := fmt.Sprintf("%+v", g); after != before {
		t.Errorf("Posted changed its receiver:\n%s\n%s", before, after)
	}
}
