package grant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakglass/store/grant"
)

var watchable = []string{"statement", "hard stop", "logging", "permission"}

// watched is a look that could read everything and saw nothing but what f says.
func watched(f func(*grant.Sighting)) grant.Watched {
	s := grant.Sighting{SessionsRead: true, Read: watchable}
	if f != nil {
		f(&s)
	}
	return grant.Watched{Sighting: s}
}

func live(ids ...string) (out []grant.Session) {
	for _, id := range ids {
		out = append(out, grant.Session{ID: id, Owner: "arn:aws:sts::444455556666:assumed-role/r/support", Started: t0})
	}
	return out
}

// said is what an event owes to be said, in order.
func said(effects []grant.Effect) (out []string) {
	for _, e := range effects {
		if e.Kind == grant.DoSay && !e.Cancel {
			out = append(out, e.Arg)
		}
	}
	return out
}

// TestWatched plays looks a minute apart, and wants each thing to be told once,
// and again only when it changes.
func TestWatched(t *testing.T) {
	type glance struct {
		see  grant.Sighting
		want []string // v stands for the version of the grant
		card bool
	}
	read := func(f func(*grant.Sighting)) grant.Sighting { return watched(f).Sighting }
	sessions := func(list []grant.Session) grant.Sighting {
		return read(func(s *grant.Sighting) { s.Sessions = list })
	}
	drift := func(name, text string) grant.Sighting {
		return read(func(s *grant.Sighting) { s.Drift = map[string]string{name: text} })
	}
	unread := grant.Sighting{}
	crowd := func(n int) []grant.Session {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf("s%03d", i))
		}
		return live(ids...)
	}
	for name, looks := range map[string][]glance{
		"nothing": {{see: read(nil), card: true}, {see: read(nil)}, {see: unread}},
		"a session comes, stays and goes": {
			{see: sessions(live("a")), want: []string{"came:a"}, card: true},
			{see: sessions(live("a"))},
			{see: sessions(nil), want: []string{"left:a"}, card: true},
			{see: sessions(nil)},
		},
		"what could not be listed has not left": {
			{see: sessions(live("a")), want: []string{"came:a"}, card: true},
			{see: unread},
			{see: sessions(live("a"))},
		},
		"it leaves and comes back": {
			{see: sessions(live("a")), want: []string{"came:a"}, card: true},
			{see: sessions(nil), want: []string{"left:a"}, card: true},
			{see: sessions(live("a")), want: []string{"came:a"}, card: true},
			{see: sessions(live("a"))},
			{see: sessions(nil), want: []string{"left:a"}, card: true},
		},
		"one listed twice": {{see: sessions(live("a", "a")), want: []string{"came:a"}, card: true}},
		"one without an id, and ids that do not survive the disk": {
			{see: sessions(live("", "\xff", "a\x00b\xff")), want: []string{"came:ab"}, card: true},
			{see: sessions(live("a\x00b\xff"))},
		},
		"one with a colon in its id": {{see: sessions(live("a:b")), want: []string{"came:a:b"}, card: true}},
		"no log": {
			// The session began with the grant: two minutes are over at the third look.
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = live("a"), []string{"a"} }), want: []string{"came:a"}, card: true},
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = live("a"), []string{"a"} }), want: []string{"unlogged:a"}},
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = live("a"), []string{"a"} })},
			{see: sessions(live("a"))},
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = live("a"), []string{"a"} })},
		},
		"no log, start unknown": {
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = []grant.Session{{ID: "a"}}, []string{"a"} }), want: []string{"came:a"}, card: true},
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = []grant.Session{{ID: "a"}}, []string{"a"} })},
			{see: read(func(s *grant.Sighting) { s.Sessions, s.Unlogged = []grant.Session{{ID: "a"}}, []string{"a"} }), want: []string{"unlogged:a"}},
		},
		"no log, start in the future": {
			{see: read(func(s *grant.Sighting) {
				s.Sessions, s.Unlogged = []grant.Session{{ID: "a", Started: t0.Add(time.Hour)}}, []string{"a"}
			}), want: []string{"came:a"}, card: true},
			{see: unread},
			{see: read(func(s *grant.Sighting) {
				s.Sessions, s.Unlogged = []grant.Session{{ID: "a", Started: t0.Add(time.Hour)}}, []string{"a"}
			}), want: []string{"unlogged:a"}},
		},
		"never logged says it all": {
			{see: read(func(s *grant.Sighting) {
				s.Sessions, s.Unlogged, s.NeverLogged = live("a"), []string{"a"}, []string{"a"}
			}), want: []string{"came:a", "never_logged:a"}, card: true},
			{see: unread},
			{see: read(func(s *grant.Sighting) {
				s.Sessions, s.Unlogged, s.NeverLogged = live("a"), []string{"a"}, []string{"a"}
			})},
		},
		"a log that is missing of a session that is not there": {
			{see: read(func(s *grant.Sighting) { s.Unlogged, s.NeverLogged = []string{"a"}, []string{"b"} }), card: true},
		},
		"drift, in other words, and put back": {
			{see: drift("statement", "It is gone."), want: []string{"drift:statement:v"}, card: true},
			{see: drift("statement", "It is gone.")},
			{see: unread},
			{see: drift("statement", "It is wider."), want: []string{"drift:statement:v"}, card: true},
			{see: read(nil), card: true},
			{see: drift("statement", "It is gone."), want: []string{"drift:statement:v"}, card: true},
		},
		"drift that nobody could judge": {
			{see: grant.Sighting{Drift: map[string]string{"logging": "Off."}}},
		},
		"drift judged twice": {
			{see: read(func(s *grant.Sighting) {
				s.Read = []string{"logging", "logging", ""}
				s.Drift = map[string]string{"logging": "\u200b", "": "x"}
			}), want: []string{"drift:logging:v"}, card: true},
		},
		"assumed": {
			{see: read(func(s *grant.Sighting) {
				s.Assumed = []grant.Assumed{{EventID: "e1"}, {EventID: "e1"}, {EventID: "e2"}}
			}), want: []string{"assumed:v"}, card: true},
			{see: read(func(s *grant.Sighting) { s.Assumed = []grant.Assumed{{EventID: "e2"}, {EventID: "e1"}} })},
			{see: read(func(s *grant.Sighting) { s.Assumed = []grant.Assumed{{EventID: "e3"}, {From: "192.0.2.1"}} }), want: []string{"assumed:v"}},
			{see: read(func(s *grant.Sighting) { s.Assumed = []grant.Assumed{{From: "192.0.2.1"}} })},
		},
		"a flood is told in one": {
			{see: sessions(crowd(11)), want: []string{"sessions:v"}, card: true},
			{see: read(func(s *grant.Sighting) {
				s.Sessions = crowd(11)
				for _, x := range s.Sessions {
					s.NeverLogged = append(s.NeverLogged, x.ID)
				}
			}), want: []string{
				"sessions:v", "never_logged:s000", "never_logged:s001", "never_logged:s002", "never_logged:s003", "never_logged:s004",
				"never_logged:s005", "never_logged:s006", "never_logged:s007", "never_logged:s008", "never_logged:s009",
			}},
			{see: sessions(nil), want: []string{"sessions:v"}, card: true},
		},
		"more live than fit": {
			{see: sessions(crowd(100)), want: []string{"sessions:v"}, card: true},
			{see: sessions(crowd(102)), want: []string{"sessions:v"}, card: true},
			{see: sessions(crowd(102))},
			{see: sessions(crowd(103)), card: true},
		},
		"who has ended makes room": {
			{see: sessions(crowd(100)), want: []string{"sessions:v"}, card: true},
			{see: sessions(crowd(99)), want: []string{"left:s099"}, card: true},
			{see: sessions(append(crowd(99), live("x")...)), want: []string{"came:x"}, card: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := inPhase(t, grant.Open)
			for i, l := range looks {
				now := t0.Add(time.Duration(i+1) * time.Minute)
				next, effects := must(t, g, grant.Watched{Sighting: l.see}, now)
				want := slices.Clone(l.want)
				for j, w := range want {
					if rest, ok := strings.CutSuffix(w, ":v"); ok {
						want[j] = fmt.Sprintf("%s:%d", rest, next.Version)
					}
				}
				if diff := cmp.Diff(want, said(effects)); diff != "" {
					t.Errorf("look %d says (-want +got):\n%s", i+1, diff)
				}
				if _, ok := find(effects, grant.DoCard, ""); ok != l.card {
					t.Errorf("look %d: the card is drawn anew: %v, want %v", i+1, ok, l.card)
				}
				if e, ok := find(effects, grant.DoWatch, ""); !ok || !e.Due.Equal(now.Add(grant.WatchEvery)) {
					t.Errorf("look %d owes the next one %+v", i+1, e)
				}
				g = next
			}
		})
	}
}

func TestWatched_count(t *testing.T) {
	g := inPhase(t, grant.Open)
	if live, ended := g.Watch.Count(); live != 0 || ended != 0 {
		t.Errorf("before the first look: %d live, %d ended", live, ended)
	}
	for i := range 130 {
		now := t0.Add(time.Duration(i) * time.Minute)
		g, _ = must(t, g, watched(func(s *grant.Sighting) { s.Sessions = live(fmt.Sprint(i), "stays") }), now)
	}
	if live, ended := g.Watch.Count(); live != 2 || ended != 129 {
		t.Errorf("%d live, %d ended, want 2 and 129", live, ended)
	}
	if len(g.Watch.Visits) != 100 || g.Watch.Visits[0].Session.ID != "stays" {
		t.Errorf("%d visits are kept, the first is %+v", len(g.Watch.Visits), g.Watch.Visits[0])
	}
	// The looks leave room in the story for what people do.
	g, _ = must(t, g, grant.Revoke{By: alice}, t0.Add(3*time.Hour))
	if last := g.Story[len(g.Story)-1]; len(g.Story) > 160 || last.Text != "revoked access" {
		t.Errorf("the story has %d moments, the last is %+v", len(g.Story), last)
	}
}

func TestWatched_assumedIsBounded(t *testing.T) {
	g := inPhase(t, grant.Open)
	var all []grant.Assumed
	for i := range 105 {
		all = append(all, grant.Assumed{EventID: fmt.Sprint(i)})
	}
	g, effects := must(t, g, watched(func(s *grant.Sighting) { s.Assumed = all[:100] }), t0)
	if len(said(effects)) != 1 || g.Watch.AssumedMore {
		t.Errorf("a hundred: says %v, more %v", said(effects), g.Watch.AssumedMore)
	}
	g, effects = must(t, g, watched(func(s *grant.Sighting) { s.Assumed = all[:101] }), t0)
	if len(said(effects)) != 1 || !g.Watch.AssumedMore || len(g.Watch.Assumed) != 100 {
		t.Errorf("one more: says %v, more %v, %d kept", said(effects), g.Watch.AssumedMore, len(g.Watch.Assumed))
	}
	_, effects = must(t, g, watched(func(s *grant.Sighting) { s.Assumed = all }), t0)
	if len(said(effects)) != 0 {
		t.Errorf("five more: says %v, want nothing", said(effects))
	}
}

// TestRemind_unused holds that nobody has come is said only when that is known.
func TestRemind_unused(t *testing.T) {
	due := t0.Add(30 * time.Minute)
	for name, tt := range map[string]struct {
		last  time.Duration // of the last look, before now
		look  grant.Event
		now   time.Time
		say   bool
		again time.Time
	}{
		"nobody":                       {0, watched(nil), due, true, time.Time{}},
		"nobody, a look ago":           {time.Minute, watched(nil), due, true, time.Time{}},
		"nobody, long ago":             {10 * time.Minute, watched(nil), due, false, due.Add(time.Minute)},
		"never looked":                 {0, nil, due, false, due.Add(time.Minute)},
		"sessions could not be listed": {0, grant.Watched{}, due, false, due.Add(time.Minute)},
		"somebody":                     {0, watched(func(s *grant.Sighting) { s.Sessions = live("a") }), due, false, time.Time{}},
		"the clock was set back":       {0, watched(nil), due.Add(-time.Second), false, due},
		"never looked, at the end":     {0, nil, t0.Add(4*time.Hour - time.Second), false, time.Time{}},
		"after the end":                {0, watched(nil), t0.Add(4 * time.Hour), false, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			g := inPhase(t, grant.Open)
			if tt.look != nil {
				g, _ = must(t, g, tt.look, tt.now.Add(-tt.last))
			}
			_, effects := must(t, g, grant.ReminderDue{Name: grant.RemindUnused}, tt.now)
			e, ok := find(effects, grant.DoSay, grant.RemindUnused)
			if ok != tt.say || (ok && !e.Once) {
				t.Errorf("it is said: %v (%+v), want %v", ok, e, tt.say)
			}
			e, ok = find(effects, grant.DoRemind, grant.RemindUnused)
			if ok == tt.again.IsZero() || (ok && !e.Due.Equal(tt.again)) {
				t.Errorf("it is tried again: %v at %v, want %v", ok, e.Due, tt.again)
			}
		})
	}
}

// sighting draws what a look may show.
func sighting(t *rapid.T, now time.Time) grant.Watched {
	ids := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c:d", "", "\xff"}), 0, 4)
	s := grant.Sighting{
		SessionsRead: rapid.IntRange(0, 3).Draw(t, "sessions read") > 0,
		Sessions:     live(ids.Draw(t, "live")...),
		Unlogged:     ids.Draw(t, "unlogged"), Logged: ids.Draw(t, "logged"), NeverLogged: ids.Draw(t, "never logged"),
		Read:  rapid.SliceOfN(rapid.SampledFrom(watchable), 0, 4).Draw(t, "read"),
		Drift: rapid.MapOf(rapid.SampledFrom(watchable), rapid.SampledFrom([]string{"", "gone", "wider"})).Draw(t, "drift"),
	}
	// No session has a log and none.
	s.Logged = slices.DeleteFunc(s.Logged, func(id string) bool { return slices.Contains(s.Unlogged, id) })
	for _, id := range ids.Draw(t, "assumed") {
		s.Assumed = append(s.Assumed, grant.Assumed{EventID: id})
	}
	for i := range s.Sessions {
		s.Sessions[i].Started = now.Add(-time.Duration(rapid.IntRange(-1, 10).Draw(t, "minutes")) * time.Minute)
	}
	return grant.Watched{Sighting: s}
}

// looked checks what a look has changed against the words that people were told.
func (m *machine) looked(t *rapid.T, before grant.Grant, s grant.Sighting) {
	was := map[string]bool{}
	if before.Watch != nil {
		for _, v := range before.Watch.Visits {
			was[v.Session.ID] = v.Gone.IsZero()
		}
	}
	for _, v := range m.g.Watch.Visits {
		lives := v.Gone.IsZero()
		if s.SessionsRead && lives != slices.ContainsFunc(s.Sessions, func(x grant.Session) bool { return x.ID == v.Session.ID }) {
			t.Fatalf("%+v, but the live sessions are %v", v, s.Sessions)
		}
		if was[v.Session.ID] != lives {
			name := map[bool]string{true: grant.SayCame, false: grant.SayLeft}[lives]
			if _, ok := m.owed[key{grant.DoSay, name + ":" + v.Session.ID}]; !ok {
				t.Fatalf("nobody is told %s:%s", name, v.Session.ID)
			}
		}
	}
	for name, d := range m.g.Watch.Drift {
		if d.Text == "" || d.Since.IsZero() || d.Told > m.g.Version {
			t.Fatalf("the drift %s is %+v", name, d)
		}
		if before.Watch == nil || before.Watch.Drift[name] != d {
			if _, ok := m.owed[key{grant.DoSay, fmt.Sprintf("drift:%s:%d", name, m.g.Version)}]; !ok {
				t.Fatalf("nobody is told of the drift %s: %+v", name, d)
			}
		}
	}
}

// TestWatched_toldOnce shows the same sighting again and again: only the first
// tells anything, and the age of a session without a log.
func TestWatched_toldOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grant.Grant{ID: 7}
		for _, ev := range []grant.Event{request(1), grant.Approve{By: bob}, access(t0.Add(4 * time.Hour))} {
			var err error
			if g, _, err = g.Apply(ev, t0); err != nil {
				t.Fatal(err)
			}
		}
		told := map[string]bool{}
		ev := sighting(t, t0)
		for i := range 6 {
			next, effects, err := g.Apply(ev, t0.Add(time.Duration(i)*time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range said(effects) {
				if told[name] || (i > 0 && !strings.HasPrefix(name, grant.SayUnlogged+":")) {
					t.Fatalf("look %d tells %q of what was seen before", i+1, name)
				}
				told[name] = true
			}
			g = next
		}
		// Once closing has begun a look is moot, and nothing is owed for it.
		closing, effects, err := g.Apply(grant.Revoke{By: alice}, t0.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := find(effects, grant.DoWatch, ""); !ok || !e.Cancel {
			t.Fatal("closing does not take the look back")
		}
		if _, owes, err := closing.Apply(ev, t0.Add(time.Hour)); err == nil || owes != nil {
			t.Fatalf("a look while closing: %v, owes %v", err, owes)
		}
	})
}

// TestWatched_logged: a log that begins late is told once, of a session that was
// told to have none.
func TestWatched_logged(t *testing.T) {
	g := inPhase(t, grant.Open)
	look := func(after time.Duration, f func(s *grant.Sighting)) []string {
		t.Helper()
		next, effects := must(t, g, watched(func(s *grant.Sighting) { s.Sessions = live("a", "b", "c"); f(s) }), t0.Add(after))
		g = next
		return said(effects)
	}
	all := []string{"a", "b"}
	look(0, func(s *grant.Sighting) { s.Logged = all }) // never was without one
	if told := look(2*time.Minute, func(s *grant.Sighting) { s.Unlogged, s.NeverLogged = []string{"a"}, []string{"c"} }); len(told) != 2 {
		t.Errorf("told %v", told)
	}
	if told := look(3*time.Minute, func(s *grant.Sighting) { s.Logged = append(all, "c", "nobody") }); !slices.Equal(told, []string{"logged:a"}) {
		t.Errorf("told %v, want logged:a alone", told)
	}
	for _, v := range g.Watch.Visits {
		late := v.Session.ID == "a"
		if v.Unlogged != late || v.LoggedAt.Equal(t0.Add(3*time.Minute)) != late {
			t.Errorf("%s: unlogged %v, logged at %v", v.Session.ID, v.Unlogged, v.LoggedAt)
		}
	}
	for i, f := range []func(s *grant.Sighting){
		func(s *grant.Sighting) { s.Logged = all },
		func(s *grant.Sighting) { s.Unlogged = []string{"a"} },
		func(s *grant.Sighting) { s.Logged = all },
	} {
		if told := look(time.Duration(4+i)*time.Minute, f); told != nil {
			t.Errorf("look %d tells %v again", i, told)
		}
	}
}
