package view

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

func TestLogURL(t *testing.T) {
	for _, tt := range []struct{ region, group, stream, want string }{
		{
			"us-east-1", "/aws/ssm/cell-1/cluster", "jo@x-0123+=",
			"https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/$252Faws$252Fssm$252Fcell-1$252Fcluster/log-events/jo$2540x-0123$252B$253D",
		},
		{"us-gov-west-1", "g", "s", "https://us-gov-west-1.console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1#logsV2:log-groups/log-group/g/log-events/s"},
		{"cn-north-1", "g", "s", "https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1#logsV2:log-groups/log-group/g/log-events/s"},
		{"us-east-1.evil.example", "g", "s", ""},
		{"us-east-1", "", "s", ""},
		{"us-east-1", "g", "", ""},
		{"us-east-1", "g", strings.Repeat("/", 1000), ""},
	} {
		if got := logURL(tt.region, tt.group, tt.stream); got != tt.want {
			t.Errorf("logURL(%q, %q, %.20q) = %q, want %q", tt.region, tt.group, tt.stream, got, tt.want)
		}
	}
	// What the console decodes is the name, whatever it is.
	for _, name := range append([]string{"a>b|c", "../x", "%2F", "$25"}, nasty...) {
		got := logURL("us-east-1", "g", name)
		_, stream, _ := strings.Cut(got, "/log-events/")
		once, err := url.PathUnescape(strings.ReplaceAll(stream, "$", "%"))
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := url.PathUnescape(once); err != nil || twice != name || !console.MatchString(got) {
			t.Errorf("%q becomes %s, which the console takes for %q (%v)", name, got, twice, err)
		}
	}
}

// TestSay_sightings asks for what is not, or no longer, so.
func TestSay_sightings(t *testing.T) {
	s := sceneNamed(t, "open_watched")
	v := s.g.Version
	says := func(g grant.Grant, name string, now time.Time) bool {
		_, ok := Say(name, g, nil, people, now)
		return ok
	}
	for name, want := range map[string]bool{
		"came:" + jo: true, "came:" + kim: true, "left:" + jo: true, "left:" + lee: true, "left:" + kim: false, // still in
		"came:": false, "came:nobody": false, "left:nobody": false, "unlogged:nobody": false, "never_logged:nobody": false,
		fmt.Sprint("drift:statement:", v): true, fmt.Sprint("drift:statement:", v-1): false, // told in other words since
		fmt.Sprint("drift:logging:", v): false, "drift:statement": false, "drift:": false,
		fmt.Sprint("assumed:", v-1): true, fmt.Sprint("assumed:", v): false, "assumed:": false,
		"unused": false,
	} {
		if got := says(s.g, name, s.now); got != want {
			t.Errorf("%s is said: %v, want %v", name, got, want)
		}
	}
	// Put back, and the end: nothing is urged any more.
	back := sceneNamed(t, "open_watched").looked(nil)
	for _, name := range []string{fmt.Sprint("drift:statement:", v), "unused"} {
		if says(back.g, name, back.now) {
			t.Errorf("%s is said although it was put back", name)
		}
		if says(s.g, name, s.g.End) {
			t.Errorf("%s is said at the end", name)
		}
	}
	for _, g := range []grant.Grant{sceneNamed(t, "open").g, sceneNamed(t, "requested").g, sceneNamed(t, "open_unread").g} {
		for _, name := range []string{"came:" + jo, "left:" + jo, "sessions:1", "assumed:1", "drift:statement:1", "unused"} {
			if says(g, name, s.now) {
				t.Errorf("%s is said of a grant of which nothing is known", name)
			}
		}
	}
}

// TestSay_revokeFromSighting holds that what alarms carries the button that ends
// it, while there is something to end.
func TestSay_revokeFromSighting(t *testing.T) {
	s, nobody := sceneNamed(t, "open_watched"), sceneNamed(t, "open_nobody")
	for _, tt := range []struct {
		name   string
		g      grant.Grant
		button bool
	}{
		{"unlogged:" + kim, s.g, true},
		{"never_logged:" + lee, s.g, true},
		{fmt.Sprint("drift:statement:", s.g.Version), s.g, true},
		{"unused", nobody.g, true},
		{"sessions:1", s.g, true},
		{"came:" + kim, s.g, false},
		{"left:" + jo, s.g, false},
		{"unlogged:" + kim, sceneNamed(t, "closed_watched").g, false},
		{"sessions:1", sceneNamed(t, "closed_watched").g, false},
	} {
		m, ok := Say(tt.name, tt.g, nil, people, s.now)
		if !ok {
			t.Errorf("%s is not said", tt.name)
			continue
		}
		has := strings.Contains(string(m.BlocksJSON()), `"action_id":"`+ActionRevoke+`"`)
		if has != tt.button {
			t.Errorf("%s of a grant that is %s has the button: %v, want %v", tt.name, tt.g.Phase, has, tt.button)
		}
	}
}

// TestShow_crowd holds that a hundred sessions fit into an acknowledgement.
func TestShow_crowd(t *testing.T) {
	for _, name := range []string{"open", "closed"} {
		g := sceneNamed(t, name).g
		w := &grant.Watch{At: start, SessionsAt: start, Beyond: 20, Drift: map[string]grant.Drift{}}
		for i := range 100 {
			id := fmt.Sprintf("vendor/support=engineer@%072d", i)
			w.Visits = append(w.Visits, grant.Visit{Session: session(id, "engineer", start), Seen: start, Unlogged: true})
			w.Assumed = append(w.Assumed, grant.Assumed{EventID: id, At: start, By: "arn:aws:iam::111122223333:role/" + strings.Repeat("b", 64), Session: id, From: "192.0.2.1"})
			w.Drift[fmt.Sprint(i%20)] = grant.Drift{Text: strings.Repeat("changed ", 300), Since: start}
		}
		g.Watch = w
		for what, m := range map[string]Message{"show": Show(g, start), "card": Card(g, nil, start)} {
			fits(t, m)
			js, err := json.Marshal(map[string]any{"text": m.Text, "blocks": json.RawMessage(m.BlocksJSON())})
			if err != nil || len(js) > 19_000 {
				t.Errorf("%s of %s is %d bytes of JSON (%v)", what, name, len(js), err)
			}
		}
	}
}
