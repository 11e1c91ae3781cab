package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// revokeAsk is what an operator wants to end. One of the three is set.
type revokeAsk struct {
	what string   // the id of a grant, or a cell
	all  bool     // whatever may have access
	ids  []string // exactly these
}

func (a revokeAsk) query() url.Values {
	q := url.Values{}
	if a.what != "" {
		q.Set("what", a.what)
	}
	if a.all {
		q.Set("all", "true")
	}
	for _, id := range a.ids {
		q.Add("id", id)
	}
	return q
}

func askOf(q url.Values) revokeAsk {
	return revokeAsk{what: q.Get("what"), all: q.Get("all") == "true", ids: q["id"]}
}

// revokePlan is what revoking means, as things stand now.
type revokePlan struct {
	Grants []revokeGrant `json:"grants"`
	// Beside is what the operator should know about what is not among them, a
	// sentence each.
	Beside []string `json:"beside"`
	// Problems says of each grant that should have been ended and was not, why.
	Problems []string `json:"problems,omitempty"`
}

// What revoking does to a grant.
const (
	doRevoke   = "revoke"   // it has access, or will soon
	doWithdraw = "withdraw" // nobody has decided it
	doFinish   = "finish"   // it is closing already
	doNothing  = "nothing"  // it has ended
)

// revokeGrant is one grant as far as ending it goes. With --json it is what is
// printed, a line each; docs/revoke.md has the keys.
type revokeGrant struct {
	ID        string          `json:"id"`
	Cell      grant.CellName  `json:"cell"`
	Account   grant.AccountID `json:"account"`
	Region    string          `json:"region"`
	Role      string          `json:"role,omitempty"` // its name; empty: it never came to be known
	Principal grant.RoleARN   `json:"principal"`
	Phase     grant.Phase     `json:"phase"`
	Requester grant.UserID    `json:"requester,omitempty"`
	Ticket    string          `json:"ticket,omitempty"`
	EndsAt    time.Time       `json:"ends_at,omitzero"` // as AWS enforces it
	// Result is what has become of it, at the end of the command.
	Result string `json:"result,omitempty"`

	// Statement is which trust goes, where no grant explained it; WrittenFor is the
	// grant that it was once written for.
	Statement  string `json:"statement,omitempty"`
	WrittenFor string `json:"written_for,omitempty"`
	away       bool   // of --from-aws

	Do       string `json:"do,omitempty"`       // revoke, withdraw, finish or nothing
	Standing string `json:"standing,omitempty"` // where it stands, in a sentence
	// Sessions are the live shells of the role, as they were seen last.
	Sessions   []revokeSession `json:"sessions,omitempty"`
	SessionsAt time.Time       `json:"sessions_seen_at,omitzero"`
	// Cuts are other grants whose shells and credentials end, too; Others is who
	// else uses the role, as the checks found it.
	Cuts   []string `json:"cuts,omitempty"`
	Others string   `json:"others,omitempty"`
	// Keeps are the grants that keep the same principal trusted: then only the
	// grant's own statement goes.
	Keeps []string `json:"keeps_trusted,omitempty"`

	Steps        []revokeStep `json:"steps,omitempty"` // while it is closing
	WatchedUntil time.Time    `json:"watched_until,omitzero"`
	WatchSeconds int64        `json:"watch_seconds,omitempty"`
	ByHand       string       `json:"by_hand,omitempty"` // commands, while a step is failing
	ClosedAt     time.Time    `json:"closed_at,omitzero"`
	Proof        *revokeProof `json:"proof,omitempty"` // once it is closed
}

type revokeSession struct {
	ID    string    `json:"id"`
	Owner string    `json:"owner"`
	Since time.Time `json:"since"`
}

type revokeStep struct {
	Step  string          `json:"step"`
	State grant.StepState `json:"state"`
	Note  string          `json:"note,omitempty"`
}

// revokeProof is what was read back from AWS.
type revokeProof struct {
	NeverOpened   bool      `json:"never_opened,omitempty"`
	TrustGoneAt   time.Time `json:"trust_gone_at,omitzero"`
	Removed       []string  `json:"removed,omitempty"` // from the trust policy, in words
	RefusedBefore time.Time `json:"credentials_refused_before,omitzero"`
	SessionsEnded []string  `json:"sessions_ended,omitempty"`
	StillTrusted  []string  `json:"still_trusted_by,omitempty"` // grants for the same principal
	TookSeconds   int64     `json:"took_seconds"`
}

// toEnd is what the operator means, in the order of the ids.
func (d deskData) toEnd(ask revokeAsk) (revokePlan, error) {
	p := revokePlan{Grants: []revokeGrant{}, Beside: []string{}}
	live, err := d.db.Live()
	if err != nil {
		return p, err
	}
	onCell := func(g grant.Grant) bool { return string(g.Cell) == ask.what }
	var meant []grant.Grant
	switch id, isID := grant.ParseID(ask.what); {
	case len(ask.ids) > 0:
		for _, word := range ask.ids {
			id, ok := grant.ParseID(word)
			if !ok {
				return p, badAsk("%q is not the id of a grant", said(word))
			}
			g, err := d.db.Grant(id)
			if err != nil {
				return p, err
			}
			meant = append(meant, g)
		}
	case ask.all:
		meant, p.Beside = d.havingAccess(live, func(grant.Grant) bool { return true }, "")
	case slices.Contains(d.cells, grant.CellName(ask.what)), slices.ContainsFunc(live, onCell):
		meant, p.Beside = d.havingAccess(live, onCell, " on "+said(ask.what))
	case isID:
		g, err := d.db.Grant(id)
		if err != nil {
			return p, err
		}
		meant = append(meant, g)
	default:
		names := make([]string, len(d.cells))
		for i, c := range d.cells {
			names[i] = string(c)
		}
		return p, notThere("%q is neither the id of a grant nor a cell, so nothing was done. `breakglass status` lists what is open; the cells are %s", said(ask.what), strings.Join(names, ", "))
	}
	left := slices.DeleteFunc(live, func(o grant.Grant) bool {
		return slices.ContainsFunc(meant, func(m grant.Grant) bool { return m.ID == o.ID })
	})
	for _, g := range meant {
		p.Grants = append(p.Grants, ending(g, left))
	}
	return p, nil
}

// havingAccess are the grants that may have access; and the requests that are not
// meant, since nobody was let in by them.
func (d deskData) havingAccess(live []grant.Grant, meant func(grant.Grant) bool, where string) (list []grant.Grant, beside []string) {
	beside = []string{}
	for _, g := range live {
		switch {
		case !meant(g):
		case g.Live():
			list = append(list, g)
		default:
			beside = append(beside, fmt.Sprintf("%s on %s waits for a decision and is left alone; `breakglass revoke %s` withdraws it.", g.ID, g.Cell, g.ID))
		}
	}
	if len(list) == 0 {
		beside = append([]string{"Nothing is open" + where + ", so there is nothing to revoke."}, beside...)
	}
	return list, beside
}

// ending is what ending a grant means; left are the others that have not ended, and
// are not ended with it.
func ending(g grant.Grant, left []grant.Grant) revokeGrant {
	r := revokeGrant{
		ID: g.ID.String(), Cell: g.Cell, Account: g.Account, Region: g.Region, Principal: g.Principal, Phase: g.Phase,
		Requester: g.Requester, Ticket: g.Ticket, EndsAt: g.End, Standing: g.Standing(), Role: roleOf(g),
	}
	switch {
	case g.Removal && g.Takes != 0:
		r.Statement, r.WrittenFor = "statement "+g.Takes.Sid(), g.Takes.String()
	case g.Removal:
		r.Statement = "wherever it stands"
	}
	switch g.Phase {
	case grant.Requested:
		r.Do = doWithdraw
	case grant.Opening, grant.Open:
		r.Do = doRevoke
	case grant.Closing:
		r.Do = doFinish
	default:
		r.Do = doNothing
	}
	if g.Live() {
		r = r.beside(g, left)
	}
	if e := g.Ending; e != nil {
		r = r.closing(g, *e)
	}
	return r
}

// beside fills in whom else ending the grant concerns; left are the others that stay.
func (r revokeGrant) beside(g grant.Grant, left []grant.Grant) revokeGrant {
	r.WatchSeconds = seconds(g.Terms.Settle)
	for _, o := range left {
		if (o.Phase == grant.Open || o.Phase == grant.Opening) && grant.SameRole(o, g) && strings.EqualFold(string(o.Principal), string(g.Principal)) {
			r.Keeps = append(r.Keeps, o.ID.String())
		}
	}
	for _, o := range g.Cuts(left) {
		r.Cuts = append(r.Cuts, o.ID.String())
	}
	if g.Report != nil {
		for _, f := range g.Report.Findings {
			// What it says of other grants is as old as the check.
			if f.Check == "others" && strings.HasPrefix(f.Text, "Others ") {
				r.Others = f.Text
			}
		}
	}
	if w := g.Watch; w != nil {
		r.SessionsAt = w.SessionsAt
		for _, v := range w.Visits {
			if v.Gone.IsZero() {
				r.Sessions = append(r.Sessions, revokeSession{ID: v.Session.ID, Owner: v.Session.Owner, Since: v.Since()})
			}
		}
	}
	return r
}

// closing fills in how far the end has come.
func (r revokeGrant) closing(g grant.Grant, e grant.Ending) revokeGrant {
	if g.Phase == grant.Closing {
		for _, s := range e.Steps {
			r.Steps = append(r.Steps, revokeStep{Step: s.Name, State: s.State, Note: s.Note})
			if s.State == grant.Failing {
				r.ByHand = bot.ByHand(g)
			}
		}
		if !e.TrustGoneAt.IsZero() {
			r.WatchedUntil = e.TrustGoneAt.Add(g.Terms.Settle)
		}
		return r
	}
	if g.Phase != grant.Closed {
		return r
	}
	r.ClosedAt = g.ClosedAt
	r.Proof = &revokeProof{
		NeverOpened: !g.Touched, TrustGoneAt: e.TrustGoneAt, Removed: e.Removed, RefusedBefore: e.CutOff,
		TookSeconds: seconds(g.ClosedAt.Sub(e.Since)),
	}
	for _, s := range e.Ended {
		r.Proof.SessionsEnded = append(r.Proof.SessionsEnded, s.ID)
	}
	for _, id := range e.StillTrusted {
		r.Proof.StillTrusted = append(r.Proof.StillTrusted, id.String())
	}
	return r
}

func roleOf(g grant.Grant) string {
	switch {
	case g.Access != nil:
		return g.Access.RoleName
	case g.Report != nil:
		return g.Report.RoleName
	default:
		return ""
	}
}

// ended reports whether there is nothing left to wait for.
func (r revokeGrant) ended() bool { return r.Phase.Terminal() }

// revokeOrder is what a command sends: exactly those that its user has agreed to.
type revokeOrder struct {
	IDs []string `json:"ids"`
	Why string   `json:"why,omitempty"`
}

func (d deskData) revokePlan(r *http.Request) (revokePlan, error) {
	return d.toEnd(askOf(r.URL.Query()))
}

// revokeNow is for the running bot: its worker does the rest.
func (d deskData) revokeNow(r *http.Request) (revokePlan, error) {
	var o revokeOrder
	if err := readBody(r, &o); err != nil {
		return revokePlan{}, err
	}
	if len(o.IDs) == 0 {
		return revokePlan{}, badAsk("nothing was named, so nothing was done")
	}
	return d.revoke(caller(r.Context()), o)
}

// revoke commits the end of each. That one of them cannot be ended, because
// somebody was faster, keeps none of the others open.
func (d deskData) revoke(by grant.Actor, o revokeOrder) (revokePlan, error) {
	if _, err := d.toEnd(revokeAsk{ids: o.IDs}); err != nil {
		return revokePlan{}, err // one that there is not: then perhaps none was meant
	}
	var problems []string
	for _, word := range o.IDs {
		id, _ := grant.ParseID(word)
		g, err := d.db.Grant(id)
		if err == nil && (g.Phase == grant.Closing || g.Phase.Terminal()) {
			continue
		}
		if err == nil {
			_, err = d.db.Commit(store.Change{Grant: id, Event: grant.Revoke{By: by, Why: o.Why}, Now: time.Now().UTC(), Ref: rand.Text()[:8]})
		}
		refusal, refused := errors.AsType[*grant.Refusal](err)
		switch {
		case err == nil:
			d.log.Info("revoked by the operator", "grant", id.String(), "by", by.Name)
		case !refused:
			problems = append(problems, fmt.Sprintf("%s was not revoked: %v. %s", id, err, fromAWS))
		case refusal.Code != grant.WrongPhase: // else it has ended, or begun to, since
			problems = append(problems, fmt.Sprintf("%s was not revoked. %v", id, unslashed(refusal)))
		}
	}
	p, err := d.toEnd(revokeAsk{ids: o.IDs})
	p.Problems = problems
	return p, err
}
