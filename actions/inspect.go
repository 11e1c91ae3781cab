package actions

import (
	"context"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// An Inventory is what is open in a cell now, read from AWS alone.
type Inventory struct {
	Cell      grant.CellName
	Account   grant.AccountID
	Region    string
	RoleName  string
	RoleARN   string
	TrustHash string // SHA-256 of the trust policy, hex
	// Ours are our statements, and Vendor are SingleStore's principals in
	// statements that are not ours.
	Ours    []Statement
	Vendor  []Statement
	Orphans []string // deleted roles and users that the trust policy names
	Trusted []string // everybody who is trusted, one line each
	// HardStop and CutOff are the dates in our two inline policies; zero: none.
	HardStop time.Time
	CutOff   time.Time
	LogGroup string
	// Logging is what would have to change for sessions to be logged as they
	// should be, before → after; LoggingOn says that nothing would.
	LoggingOn bool
	Logging   []string
	Sessions  []grant.Session // of the role, live
	// Unread says in words what of the above could not be read; empty: nothing.
	Unread []string
}

// A Statement is a principal that a trust statement names.
type Statement struct {
	ID        grant.ID // zero: not ours
	Sid       string
	Principal string
	End       time.Time // zero: without an end
}

// Inspect reads what is open in a cell: for drift, and for revoking when the
// database is lost. Without the account and the role's trust policy there is
// nothing to say, and it fails; what else cannot be read is named.
func (a *AWS) Inspect(ctx context.Context, name grant.CellName) (Inventory, error) {
	c, t := a.cell(grant.Grant{Cell: name})
	if t != nil {
		return Inventory{}, t
	}
	cl := a.clientsFor(c, 0)
	s := look(ctx, cl, c)
	r, t := s.theRole()
	if t != nil {
		return Inventory{}, t
	}
	inv := Inventory{
		Cell: c.Name, Account: c.Account, Region: c.Region,
		RoleName: r.name, RoleARN: r.arn, HardStop: r.stop, CutOff: r.cut, LogGroup: c.logGroup(),
	}
	d, err := trust.Parse([]byte(r.document))
	if err != nil {
		return Inventory{}, troubled(&unreadableError{what: "the trust policy of " + r.what(), err: err}, grant.StepTrust, "the trust policy of "+r.what())
	}
	inv.TrustHash, inv.Trusted = d.Hash(), trustedLines(d, time.Now())
	for _, m := range d.Orphans() {
		inv.Orphans = append(inv.Orphans, m.Principal.Value)
	}
	for _, s := range d.Ours() {
		id, _ := grant.ParseSid(s.Sid)
		inv.Ours = append(inv.Ours, Statement{ID: id, Sid: s.Sid, Principal: principalsOf(s), End: s.End})
	}
	accounts := make([]string, len(a.vendor.Accounts))
	for i, id := range a.vendor.Accounts {
		accounts[i] = string(id)
	}
	for _, m := range d.PrincipalsFrom(accounts) {
		if !m.Ours {
			inv.Vendor = append(inv.Vendor, Statement{Sid: m.Sid, Principal: m.Principal.Value, End: m.End})
		}
	}
	lines, planErr := s.prefs.plan(s.group)
	inv.Logging = lines
	inv.LoggingOn = planErr == nil && s.prefsErr == nil && s.groupErr == nil && s.group.exists && len(lines) == 0

	var sessionErr error
	inv.Sessions, sessionErr = liveSessions(ctx, cl, r.name)
	for _, n := range []struct {
		err  error
		what string
	}{
		{r.stopErr, "the inline policy " + hardStopName + " of " + r.what()},
		{r.cutErr, "the inline policy " + cutOffName + " of " + r.what()},
		{s.groupErr, "the log group " + c.logGroup()},
		{s.prefsErr, "the Session Manager preferences of " + c.place()},
		{sessionErr, "the sessions of " + c.place()},
	} {
		if n.err != nil {
			text, _ := sortError(n.err, false).words(n.what)
			inv.Unread = append(inv.Unread, text)
		}
	}
	return inv, nil
}
