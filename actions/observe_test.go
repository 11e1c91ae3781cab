package actions_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// calls hears every call, and keeps how each has ended.
type calls struct {
	mu   sync.Mutex
	seen map[string]int // "iam:GetRole ok"
	took time.Duration
}

func (c *calls) hear(call actions.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[fmt.Sprintf("%s:%s %s", call.Service, call.Operation, call.Outcome)]++
	c.took = max(c.took, call.Took)
	if !slices.Contains(actions.Outcomes, call.Outcome) {
		c.seen["unknown outcome "+string(call.Outcome)]++
	}
}

// Every call that reaches AWS is heard, under the name that IAM has for it.
func TestObserve_everyCall(t *testing.T) {
	heard := &calls{}
	inBubble(t, func(t *testing.T) {
		s := newStage(t, awssim.Cell{})
		s.start(func(o *actions.Options) { o.Observe = heard.hear })
		before := len(s.world.Calls())
		l := s.request().open()
		s.aws.Watch(t.Context(), l.g, nil)
		l.apply(grant.Revoke{By: grant.Actor{Kind: grant.Person, User: approver, Approver: true}})
		s.aws.Close(t.Context(), l.g, nil)
		want := map[string]int{}
		for _, c := range s.world.Calls()[before:] {
			want[c.Name()]++
		}
		got := map[string]int{}
		for name, n := range heard.seen {
			call, outcome, _ := strings.Cut(name, " ")
			got[call] += n
			if o := actions.Outcome(outcome); o != actions.CallOK && o != actions.CallRefused {
				t.Errorf("%s was counted, though all is well", name)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("counted %v,\nAWS has seen %v", got, want)
		}
	})
}

// What becomes of a call is counted in the words by which the bot acts on it; what
// the SDK tries again by itself is one call.
func TestObserve_outcomes(t *testing.T) {
	for name, c := range map[string]struct {
		fault awssim.Fault
		want  string
	}{
		"well":                 {awssim.Fault{Call: "none:None"}, "iam:GetRole ok"},
		"denied":               {awssim.Fault{Call: "iam:GetRole", Kind: awssim.Deny}, "iam:GetRole denied"},
		"throttled once":       {awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle, Count: 1}, "iam:GetRole ok"},
		"throttled for good":   {awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle}, "iam:GetRole throttled"},
		"failing":              {awssim.Fault{Call: "iam:GetRole", Kind: awssim.ServerError}, "iam:GetRole again"},
		"cut off":              {awssim.Fault{Call: "iam:GetRole", Kind: awssim.DropAfter}, "iam:GetRole unreachable"},
		"too slow":             {awssim.Fault{Call: "iam:GetRole", Latency: time.Hour}, "iam:GetRole stopped"},
		"not there":            {awssim.Fault{Call: "iam:GetRole", Kind: awssim.Instead, Error: &awssim.Error{Code: "NoSuchEntity", Status: 404}}, "iam:GetRole refused"},
		"dead key":             {awssim.Fault{Call: "iam:GetRole", Kind: awssim.Instead, Error: &awssim.Error{Code: "InvalidClientTokenId", Status: 403}}, "iam:GetRole credentials"},
		"a write without word": {awssim.Fault{Call: "iam:PutRolePolicy", Kind: awssim.DropAfter}, "iam:PutRolePolicy unknown"},
		"a write that fails":   {awssim.Fault{Call: "iam:PutRolePolicy", Kind: awssim.ServerError}, "iam:PutRolePolicy unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			heard := &calls{}
			inBubble(t, func(t *testing.T) {
				s := newStage(t, awssim.Cell{})
				s.start(func(o *actions.Options) { o.Observe = heard.hear })
				s.world.Inject(c.fault)
				_ = s.request().tryOpen()
			})
			if heard.seen[c.want] == 0 {
				t.Errorf("counted %v, want %s", heard.seen, c.want)
			}
			if heard.took > 26*time.Second {
				t.Errorf("a call took %s, over its limit", heard.took)
			}
		})
	}
}
