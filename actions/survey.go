package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

const (
	// surveyLimit bounds one look at a role: the next one comes in minutes.
	surveyLimit = 30 * time.Second
	// surveyPatience is how long a look waits for IAM to show what we ourselves
	// have just written.
	surveyPatience = 10 * time.Second
)

// errSurveyLimit says that a look took too long.
var errSurveyLimit = errors.New("AWS was too slow for this look")

// Survey looks at the role of a cell, whether anything is open there or not: whom
// of SingleStore, and by which statements of ours, the role trusts. It judges
// nothing and changes nothing. It is made for every cell every few minutes, so it
// reads the caller's account and the role, and nothing else.
//
// Trust that has ended is listed like any other, with its end. What a Deny
// statement takes back is not considered.
func (a *AWS) Survey(ctx context.Context, cell grant.CellName) grant.Survey {
	c, t := a.cell(grant.Grant{Cell: cell})
	if t != nil {
		return grant.Survey{Trouble: t}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, surveyLimit, errSurveyLimit)
	defer cancel()
	cl := a.clientsFor(c, 0)
	s := &scene{cell: c, roles: make([]roleRead, len(c.roleNames()))}
	work := []func(){func() { s.account = cl.rightAccount(ctx, c) }}
	for i, name := range c.roleNames() {
		work = append(work, func() { s.roles[i].role, s.roles[i].err = readRole(ctx, cl, name) })
	}
	sideBySide(work...)
	r, t := s.theRole()
	if t != nil {
		return grant.Survey{Trouble: t}
	}
	d, t := a.newest(ctx, cl, r.role)
	if t != nil {
		return grant.Survey{Trouble: t}
	}
	return grant.Survey{RoleARN: r.arn, RoleName: r.name, Trust: a.trusted(d)}
}

// theRole is the one role that the cell's access goes through, read in the cell's
// own account, or why it cannot be told.
func (s *scene) theRole() (roleRead, *grant.Trouble) {
	if s.account != nil {
		return roleRead{}, troubled(s.account, grant.StepCheck, "the caller's account")
	}
	r, problem := s.found()
	switch {
	case problem == nil:
		return r, nil
	case isUnreadable(r.err):
		return r, troubled(r.err, grant.StepTrust, "the trust policy of "+r.what())
	}
	if t := s.passing(); t != nil {
		return r, t
	}
	return r, &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepCheck, Text: problem.Text, Remedy: problem.Remedy, Cause: s.causes(),
	}
}

// newest is the role's trust policy, and never the one that we have just
// replaced: an old replica may still answer with it, and what it shows is not
// there any more.
func (a *AWS) newest(ctx context.Context, cl *clients, r role) (trust.Document, *grant.Trouble) {
	what := "the trust policy of " + r.what()
	w, limit := a.work(r.arn), time.Now().Add(surveyPatience)
	for wait := firstPause; w.isPast(r.document); wait = min(2*wait, longestPause) {
		if time.Now().Add(wait).After(limit) {
			return trust.Document{}, &grant.Trouble{
				Kind: grant.Again, Step: grant.StepTrust,
				Text:   fmt.Sprintf("The bot has just changed %s, and AWS still shows it as it was before.", what),
				Remedy: "Nothing to do now: the bot looks again by itself.", Cause: errUnsettled,
			}
		}
		err := pause(ctx, wait)
		if err == nil {
			r, err = readRole(ctx, cl, r.name)
		}
		if err != nil {
			return trust.Document{}, troubled(err, grant.StepTrust, what)
		}
	}
	d, err := trust.Parse([]byte(r.document))
	if err != nil {
		return d, troubled(&unreadableError{what: what, err: err}, grant.StepTrust, what)
	}
	return d, nil
}

// trusted lists every principal of an Allow statement that is ours, and of any
// other those that belong to one of SingleStore's accounts. Nobody is left out of
// a statement of ours: who is named there instead of the vendor's role, or what is
// left of a role that was deleted, is as much of interest.
func (a *AWS) trusted(d trust.Document) []grant.Trust {
	var out []grant.Trust
	for _, s := range d.Statements() {
		if s.Effect != trust.Allow || s.Placeholder {
			continue
		}
		id, ours := grant.ParseSid(s.Sid)
		names := make([]string, 0, len(s.Principals))
		for _, p := range s.Principals {
			if ours || p.Kind == trust.KindAWS && a.isVendorAccount(trust.AccountOf(p.Value)) {
				names = append(names, p.Value)
			}
		}
		if ours && len(s.Principals) == 0 {
			names = append(names, everybodyBut)
		}
		for _, name := range names {
			t := grant.Trust{Sid: s.Sid, Principal: name, ID: id, End: s.End}
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// isVendorAccount reports whether an account is one of SingleStore's.
func (a *AWS) isVendorAccount(account string) bool {
	return account != "" && slices.Contains(a.vendor.Accounts, grant.AccountID(account))
}
