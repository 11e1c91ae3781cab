package grant_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store/grant"
)

func policy() grant.Policy {
	return grant.Policy{
		Vendor:    grant.Vendor{Accounts: []grant.AccountID{"111122223333", "444455556666"}},
		Limits:    grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour, Undecided: time.Hour},
		Approvals: 1, Reminders: grant.Reminders{Undecided: time.Minute}, AWSEnforced: true,
		Cells: []grant.Cell{
			{Name: "helios-prod", Account: "444455556666", Region: "us-east-1", Approvals: 2},
			{Name: "helios-gov", Account: "777788889999", Region: "us-gov-west-1"},
		},
	}
}

func ask() grant.Ask {
	return grant.Ask{Cell: "helios-prod", ARN: "arn:aws:iam::111122223333:role/support", Ticket: "48213", For: "2h", Reason: "stuck node pool"}
}

func TestPolicyRequest(t *testing.T) {
	p := policy()
	a := ask()
	a.ARN, a.Cell, a.Ticket, a.Reason = " "+a.ARN+"\n", " helios-prod ", " 48213\u202e", "stuck\nnode pool\x00 "
	got, err := p.Request(alice, a, "tok")
	if err != nil {
		t.Fatal(err)
	}
	want := grant.Request{
		By: alice, Token: "tok", Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "stuck node pool", Duration: 2 * time.Hour,
		Terms: grant.Terms{
			Approvals: 2, Undecided: time.Hour, Reminders: grant.Reminders{Undecided: time.Minute}, AWSEnforced: true, Settle: grant.DefaultSettle,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Request (-want +got):\n%s", diff)
	}

	// What may be left out is filled in.
	p.Cells = p.Cells[:1]
	p.Cells[0].Approvals, p.Approvals, p.Settle = 0, 0, time.Second
	a = ask()
	a.Cell, a.For = "", ""
	got, err = p.Request(alice, a, "tok")
	if err != nil || got.Cell != "helios-prod" || got.Duration != 4*time.Hour || got.Terms.Approvals != 1 || got.Terms.Settle != time.Second {
		t.Errorf("Request = %+v, %v", got, err)
	}
}

func TestPolicyRequest_refusals(t *testing.T) {
	const support = "arn:aws:iam::111122223333:role/support"
	with := func(change func(p *grant.Policy, a *grant.Ask)) (grant.Policy, grant.Ask) {
		p, a := policy(), ask()
		change(&p, &a)
		return p, a
	}
	var b strings.Builder
	for _, tt := range []struct {
		name   string
		code   grant.Code
		change func(p *grant.Policy, a *grant.Ask)
	}{
		{"an unknown cell", grant.UnknownCell, func(_ *grant.Policy, a *grant.Ask) { a.Cell = "helios" }},
		{"a cell that differs in case", grant.UnknownCell, func(_ *grant.Policy, a *grant.Ask) { a.Cell = "HELIOS-PROD" }},
		{"an unknown cell with tricks in its name", grant.UnknownCell, func(_ *grant.Policy, a *grant.Ask) { a.Cell = "x\u202e`<!channel>`\n" + strings.Repeat("y", 100) }},
		{"no cell", grant.UnknownCell, func(_ *grant.Policy, a *grant.Ask) { a.Cell = " " }},
		{"no ARN", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = " " }},
		{"a wildcard", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "*" }},
		{"a whole account", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "arn:aws:iam::111122223333:root" }},
		{"a session", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "arn:aws:sts::111122223333:assumed-role/support/jane" }},
		{"an account that is not SingleStore's", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "arn:aws:iam::999999999999:role/support" }},
		{"a role of the cell's own account", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "arn:aws:iam::444455556666:role/admin" }},
		{"another partition", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.ARN = "arn:aws-us-gov:iam::111122223333:role/support" }},
		{"another partition, the other way", grant.BadPrincipal, func(_ *grant.Policy, a *grant.Ask) { a.Cell = "helios-gov" }},
		{"a role that is not listed", grant.BadPrincipal, func(p *grant.Policy, _ *grant.Ask) {
			p.Vendor.Roles = []string{"arn:aws:iam::111122223333:role/other", "arn:aws:iam::111122223333:role/supporters*"}
		}},
		{"too long", grant.TooLong, func(_ *grant.Policy, a *grant.Ask) { a.For = "13h" }},
		{"no duration and no default", grant.BadRequest, func(p *grant.Policy, a *grant.Ask) { p.Limits.Default = 0; a.For = "" }},
		{"no duration at all", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.For = "soon" }},
		{"a negative duration", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.For = "-2h" }},
		{"under a second", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.For = "999ms" }},
		{"no ticket", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.Ticket = "\u200b" }},
		{"a ticket that is too long", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.Ticket = strings.Repeat("4", grant.MaxTicket+1) }},
		{"no reason", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.Reason = "\u3164" }},
		{"a reason that is too long", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.Reason = strings.Repeat("x", grant.MaxReason+1) }},
		{"a reason whose last word is too much", grant.BadRequest, func(_ *grant.Policy, a *grant.Ask) { a.Reason = strings.Repeat("x", grant.MaxReason) + " y" }},
		{"everything at once", grant.UnknownCell, func(_ *grant.Policy, a *grant.Ask) { *a = grant.Ask{Cell: "x", ARN: "y", For: "z"} }},
	} {
		p, a := with(tt.change)
		got, err := p.Request(alice, a, "tok")
		r := refusal(t, err)
		if r.Code != tt.code || !cmp.Equal(got, grant.Request{}) {
			t.Errorf("%s: %s, %+v, want %s", tt.name, r.Code, got, tt.code)
		}
		if !strings.HasPrefix(r.Text, "Nothing was requested.") || strings.ContainsAny(r.Text, "\n\u202e") || strings.Contains(r.Text, "%!") {
			t.Errorf("%s: %q", tt.name, r.Text)
		}
		fmt.Fprintf(&b, "%s\n    %s: %s\n", tt.name, r.Code, r.Text)
	}
	golden(t, "requests.golden", b.String())

	for arn := range badARNs {
		if strings.TrimSpace(arn) == support {
			continue // white space around it is taken off
		}
		p, a := with(func(_ *grant.Policy, a *grant.Ask) { a.ARN = arn })
		if got, err := p.Request(alice, a, "tok"); err == nil {
			t.Errorf("a request for %q was accepted: %+v", arn, got)
		} else if r := refusal(t, err); r.Code != grant.BadPrincipal {
			t.Errorf("a request for %q: %s", arn, r.Code)
		}
		if p.Vendor.Allows(grant.RoleARN(arn)) {
			t.Errorf("%q is allowed", arn)
		}
	}

	p, a := with(func(_ *grant.Policy, a *grant.Ask) { a.Cell = "x" })
	if _, err := p.Request(eve, a, "tok"); refusal(t, err).Code != grant.NotAllowed {
		t.Errorf("a stranger learns about the cells: %v", err)
	}
	// Exactly as long as is allowed.
	p, a = with(func(_ *grant.Policy, a *grant.Ask) {
		a.Reason, a.Ticket, a.For = strings.Repeat("x", grant.MaxReason), strings.Repeat("4", grant.MaxTicket), "12h"
	})
	if _, err := p.Request(alice, a, "tok"); err != nil {
		t.Errorf("the longest request: %v", err)
	}
}

func TestVendor(t *testing.T) {
	v := policy().Vendor
	v.Roles = []string{"arn:aws:iam::111122223333:role/support", "arn:aws:iam::111122223333:role/oncall/*"}
	allowed := []grant.RoleARN{"arn:aws:iam::111122223333:role/support", "arn:aws:iam::111122223333:role/oncall/eu"}
	for _, arn := range append(allowed, "arn:aws:iam::111122223333:role/support2", "arn:aws:iam::111122223333:role/oncall", "arn:aws:iam::222233334444:role/support") {
		if got := v.Allows(arn); got != slices.Contains(allowed, arn) {
			t.Errorf("Allows(%s) = %v", arn, got)
		}
	}
	if (grant.Vendor{}).Allows("arn:aws:iam::111122223333:role/support") {
		t.Error("a vendor without accounts allows a role")
	}
}

func TestReport_blocking(t *testing.T) {
	r := &grant.Report{Findings: []grant.Finding{{Check: "a", Level: grant.OK}, {Check: "b", Level: grant.Blocks}, {Check: "c", Level: grant.Unread}}}
	if got := r.Blocking(); len(got) != 1 || got[0].Check != "b" {
		t.Errorf("Blocking = %v", got)
	}
	if got := (*grant.Report)(nil).Blocking(); got != nil {
		t.Errorf("Blocking of nothing = %v", got)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("AccessDenied")
	tr := &grant.Trouble{Kind: grant.Refused, Step: "trust", Text: "Not allowed.", Cause: cause}
	if got := tr.Error(); got != "trust: Not allowed.: AccessDenied" || !errors.Is(tr, cause) {
		t.Errorf("Trouble = %q", got)
	}
	m := &grant.Moot{Event: "end_due", Phase: "closed"}
	if got := m.Error(); got != "end_due does not matter any more: the grant is closed" {
		t.Errorf("Moot = %q", got)
	}
	for a, want := range map[string]grant.Actor{"U0BOB": bob, "operator root": operator, "breakglass": grant.Self()} {
		if want.String() != a {
			t.Errorf("actor %q, want %q", want.String(), a)
		}
	}
}
