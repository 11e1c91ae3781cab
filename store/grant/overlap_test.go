package grant_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store/grant"
)

func TestSameRole(t *testing.T) {
	open := on(t, grant.Open, 1, roleARN)
	with := func(f func(g *grant.Grant)) grant.Grant {
		g := on(t, grant.Open, 2, roleARN)
		a := *g.Access
		g.Access = &a
		f(&g)
		return g
	}
	unknown := func(g *grant.Grant) { g.Access, g.Report = nil, nil }
	for name, tt := range map[string]struct {
		b    grant.Grant
		want bool
	}{
		"the same":                         {with(func(*grant.Grant) {}), true},
		"through another cell":             {with(func(g *grant.Grant) { g.Cell = "helios-two" }), true},
		"in other letters":                 {with(func(g *grant.Grant) { g.Access.RoleARN = strings.ToUpper(roleARN) }), true},
		"another role of the account":      {with(func(g *grant.Grant) { g.Access.RoleARN += "-2" }), false},
		"another account":                  {with(func(g *grant.Grant) { g.Account = "999988887777" }), false},
		"by its checks":                    {with(func(g *grant.Grant) { g.Access = nil }), true},
		"by its checks, another":           {with(func(g *grant.Grant) { g.Access, g.Report = nil, &grant.Report{RoleARN: roleARN + "-2"} }), false},
		"not known yet, of the same cell":  {with(unknown), true},
		"not known yet, of another cell":   {with(func(g *grant.Grant) { unknown(g); g.Cell = "helios-two" }), false},
		"what was opened counts, not what": {with(func(g *grant.Grant) { g.Report.RoleARN += "-2" }), true},
	} {
		if grant.SameRole(open, tt.b) != tt.want || grant.SameRole(tt.b, open) != tt.want {
			t.Errorf("%s: same role %v, want %v both ways", name, !tt.want, tt.want)
		}
	}
}

func TestCuts(t *testing.T) {
	g := on(t, grant.Open, 1, roleARN)
	other := func(id grant.ID, p grant.Phase, role string) grant.Grant {
		o := on(t, p, id, role)
		o.Principal = grant.RoleARN("arn:aws:iam::111122223333:role/other-" + id.String())
		return o
	}
	same := on(t, grant.Open, 9, roleARN)
	same.Principal = grant.RoleARN(strings.ToUpper(support))
	elsewhere := on(t, grant.Open, 9, roleARN+"-2")
	closing := on(t, grant.Closing, 9, roleARN)
	opening := on(t, grant.Opening, 9, roleARN)
	removal := must1(t, grant.Grant{ID: 1}, removal(dave))
	for name, tt := range map[string]struct {
		g    grant.Grant
		live []grant.Grant
		want []grant.ID
	}{
		"alone":                                     {g, []grant.Grant{g}, nil},
		"beside others":                             {g, []grant.Grant{other(2, grant.Open, roleARN), g, other(3, grant.Opening, roleARN), other(4, grant.Open, roleARN+"-2"), other(5, grant.Closing, roleARN), other(6, grant.Requested, roleARN)}, []grant.ID{2, 3}},
		"a removal":                                 {removal, []grant.Grant{other(2, grant.Open, roleARN), removal}, []grant.ID{2}},
		"the principal stays":                       {g, []grant.Grant{other(2, grant.Open, roleARN), same, g}, nil},
		"the principal is coming in again":          {g, []grant.Grant{other(2, grant.Open, roleARN), opening, g}, nil},
		"the principal stays on another role":       {g, []grant.Grant{other(2, grant.Open, roleARN), elsewhere, g}, []grant.ID{2}},
		"the principal is being closed beside, too": {g, []grant.Grant{closing, other(2, grant.Open, roleARN), g}, []grant.ID{2}},
	} {
		var got []grant.ID
		for _, o := range tt.g.Cuts(tt.live) {
			got = append(got, o.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBystanders(t *testing.T) {
	opening := on(t, grant.Opening, 1, roleARN)
	open := on(t, grant.Open, 1, roleARN)
	closing := on(t, grant.Closing, 1, roleARN)
	cutAt := func(at time.Time) grant.Grant {
		g := closing
		e := *g.Ending
		e.CutOff = at
		g.Ending = &e
		return g
	}
	closed := cutAt(t0)
	closed.Phase = grant.Closed
	live := []grant.Grant{
		open, on(t, grant.Open, 2, roleARN), on(t, grant.Open, 3, roleARN+"-2"), on(t, grant.Opening, 4, roleARN),
		on(t, grant.Closing, 5, roleARN), on(t, grant.Open, 6, strings.ToUpper(roleARN)),
	}
	removed := must1(t, grant.Grant{ID: 1}, removal(dave))
	cardDue, cutDue := grant.Effect{Kind: grant.DoCard, Due: t0}, grant.Effect{Kind: grant.DoSay, Arg: "cut:BG-1", Due: t0}
	for name, tt := range map[string]struct {
		before, after grant.Grant
		want          []grant.Effect // of each that is open on the role
	}{
		"opens":                           {opening, open, []grant.Effect{cardDue}},
		"is being opened":                 {inPhase(t, grant.Requested), opening, nil},
		"stays open":                      {open, open, nil},
		"begins to close":                 {open, closing, []grant.Effect{cardDue}},
		"could not be opened":             {opening, closing, nil},
		"cuts":                            {closing, cutAt(t0), []grant.Effect{cutDue}},
		"cuts once more, a minute later":  {cutAt(t0), cutAt(t0.Add(time.Minute)), nil},
		"cuts in the round that is proof": {closing, closed, []grant.Effect{cutDue}},
		"is closed":                       {cutAt(t0), closed, nil},
		"opens and is cut at once":        {open, cutAt(t0), []grant.Effect{cardDue, cutDue}},
		"is a removal":                    {grant.Grant{ID: 1}, removed, nil},
	} {
		got := grant.Bystanders(tt.before, tt.after, live, t0)
		want := map[grant.ID][]grant.Effect{2: tt.want, 6: tt.want}
		if tt.want == nil {
			want = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		role, ok := grant.ConcernsOthers(tt.before, tt.after)
		if ok != (tt.want != nil) || ok && !strings.EqualFold(role, roleARN) {
			t.Errorf("%s: concerns others of %q: %v", name, role, ok)
		}
	}
	// Approved before the checks were done, and given up: the role was cut all the
	// same, and who is open in that cell must learn why.
	nowhere := cutAt(t0)
	nowhere.Access, nowhere.Report = nil, nil
	if role, ok := grant.ConcernsOthers(closing, nowhere); role != "" || !ok {
		t.Errorf("a cut of a role that is not known concerns those on %q: %v", role, ok)
	}
	if got := grant.Bystanders(closing, nowhere, live, t0); len(got[2]) != 1 || got[2][0] != cutDue {
		t.Errorf("it owes %+v", got)
	}
}
