package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"breakglass/store/grant"
)

// believed is how long an answer of Slack about a person or a group counts. A
// group's members are believed for at most a minute; an old answer is never
// used because a new one cannot be had.
const believed = time.Minute

// lookup is how long Slack may take to say who somebody is, inside the three
// seconds of the acknowledgement.
const lookup = 2 * time.Second

// directory is what Slack says of people and groups, at most a minute ago. With the
// configured ids ([rules]) it is known who may do what: that decides nothing, it fills in
// a grant.Actor, and refuses where Slack does not say.
type directory struct {
	api *slack.Client

	mu     sync.Mutex
	team   string
	users  map[grant.UserID]userAnswer
	groups map[grant.GroupID]groupAnswer
}

type userAnswer struct {
	at      time.Time
	refusal *grant.Refusal // nil: a full member
	person  string         // the person's id in the organisation, where there is one
}

type groupAnswer struct {
	at      time.Time
	members []grant.UserID
}

func newDirectory(api *slack.Client) *directory {
	return &directory{
		api:    api,
		users:  map[grant.UserID]userAnswer{},
		groups: map[grant.GroupID]groupAnswer{},
	}
}

// home is told the team that we belong to.
func (d *directory) home(team string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.team = team
}

// forget has Slack asked anew about everybody.
func (d *directory) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.users)
	clear(d.groups)
}

// requester answers the actor of somebody who asks for access.
func (r *rules) requester(ctx context.Context, u grant.UserID) (grant.Actor, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	a := grant.Actor{Kind: grant.Person, User: u}
	if err := r.dir.member(ctx, u); err != nil {
		return a, err
	}
	if r.people.Requesters.Empty() {
		a.Requester = true
		return a, nil
	}
	var err error
	a.Requester, err = r.in(ctx, r.people.Requesters, u)
	return a, err
}

// approver answers the actor of somebody who decides.
func (r *rules) approver(ctx context.Context, u grant.UserID) (grant.Actor, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	a := grant.Actor{Kind: grant.Person, User: u}
	in, err := r.in(ctx, r.people.Approvers, u)
	if err != nil || !in {
		return a, err
	}
	if err := r.dir.member(ctx, u); err != nil {
		return a, err
	}
	a.Approver = true
	return a, nil
}

// emergency answers the actor of somebody who opens without an approver.
func (r *rules) emergency(ctx context.Context, u grant.UserID) (grant.Actor, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	a := grant.Actor{Kind: grant.Person, User: u}
	in, err := r.in(ctx, r.people.Emergency, u)
	if err != nil || !in {
		return a, err
	}
	if err := r.dir.member(ctx, u); err != nil {
		return a, err
	}
	a.Emergency = true
	return a, nil
}

// fallen lists the people whose approval counts no more, because they are no
// approvers now. Where Slack does not say, it is an error.
func (r *rules) fallen(ctx context.Context, approvals []grant.Approval) ([]grant.UserID, error) {
	var out []grant.UserID
	for _, p := range approvals {
		a, err := r.approver(ctx, p.By)
		_, unknown := errors.AsType[*unsure](err)
		switch {
		case unknown:
			return nil, err
		case err != nil, !a.Approver:
			out = append(out, p.By)
		}
	}
	return out, nil
}

// closer answers the actor of somebody who takes access away from a grant.
func (r *rules) closer(ctx context.Context, u grant.UserID, g grant.Grant) (grant.Actor, error) {
	return r.closers(ctx, u)(g)
}

// closers answers a function that answers the actor of somebody who takes access
// away, grant by grant. It asks Slack only where the configured ids do not settle
// it, and once for all grants: taking access away must work while Slack answers
// badly, and be acknowledged in time.
func (r *rules) closers(ctx context.Context, u grant.UserID) func(grant.Grant) (grant.Actor, error) {
	a := grant.Actor{Kind: grant.Person, User: u}
	rights := sync.OnceValues(func() (grant.Actor, error) {
		ctx, cancel := context.WithTimeout(ctx, lookup)
		defer cancel()
		a := a
		a.Approver = slices.Contains(r.people.Approvers.Users, u)
		a.Revoker = slices.Contains(r.people.Revokers.Users, u)
		if a.Approver || a.Revoker {
			return a, nil
		}
		var err error
		if a.Approver, err = r.in(ctx, r.people.Approvers, u); err != nil || a.Approver {
			return a, err
		}
		a.Revoker, err = r.in(ctx, r.people.Revokers, u)
		return a, err
	})
	return func(g grant.Grant) (grant.Actor, error) {
		if g.Requester == u {
			return a, nil // their own; the core knows
		}
		return rights()
	}
}

// in reports whether the person is in the circle.
func (r *rules) in(ctx context.Context, c Circle, u grant.UserID) (bool, error) {
	if slices.Contains(c.Users, u) {
		return true, nil
	}
	var failed error
	for _, g := range c.Groups {
		members, err := r.dir.members(ctx, g)
		if err != nil {
			failed = err
			continue
		}
		if slices.Contains(members, u) {
			return true, nil
		}
	}
	return false, failed
}

// members answers who is in a user group now. A group that is switched off has
// no members.
func (d *directory) members(ctx context.Context, g grant.GroupID) ([]grant.UserID, error) {
	now := time.Now()
	d.mu.Lock()
	known, ok := d.groups[g]
	d.mu.Unlock()
	if ok && now.Sub(known.at) < believed {
		return known.members, nil
	}
	// include_disabled is left out: then Slack answers nothing for a group
	// that is switched off.
	ids, err := d.api.GetUserGroupMembersContext(ctx, string(g))
	if err != nil {
		return nil, cannotTell("who is in the user group "+string(g), err)
	}
	members := make([]grant.UserID, len(ids))
	for i, id := range ids {
		members[i] = grant.UserID(id)
	}
	d.mu.Lock()
	d.groups[g] = groupAnswer{at: now, members: members}
	d.mu.Unlock()
	return members, nil
}

// member answers nil for a full member of our team, and the refusal for anybody
// else: guests, strangers from shared channels, apps, people who have left.
func (d *directory) member(ctx context.Context, u grant.UserID) error {
	known, err := d.user(ctx, u)
	if err != nil {
		return err
	}
	if known.refusal != nil {
		return known.refusal
	}
	return nil
}

// another refuses somebody's yes who is, under another account of the organisation,
// the person who asked or one who has said yes already: users.info names the person
// behind an account (docs.slack.dev, "User object", enterprise_user.id).
func (d *directory) another(ctx context.Context, u grant.UserID, id grant.ID, asked grant.UserID, yes []grant.Approval) error {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	me, err := d.user(ctx, u)
	if err != nil || me.person == "" {
		return err
	}
	same := func(other grant.UserID) (bool, error) {
		if other == u || other == "" {
			return false, nil // the core knows
		}
		them, err := d.user(ctx, other)
		return err == nil && them.person == me.person, err
	}
	if is, err := same(asked); err != nil {
		return err
	} else if is {
		return grant.Refuse(grant.OwnRequest, "%s is your own request, made with another account of yours, so somebody else must approve it. Nothing changed. Ask another approver.", id)
	}
	for _, a := range yes {
		if is, err := same(a.By); err != nil {
			return err
		} else if is {
			return grant.Refuse(grant.AlreadyApproved, "You have approved %s already, with another account of yours, and one person counts once. Nothing changed. Ask another approver.", id)
		}
	}
	return nil
}

// user is what Slack says of somebody, at most a minute ago.
func (d *directory) user(ctx context.Context, u grant.UserID) (userAnswer, error) {
	now := time.Now()
	d.mu.Lock()
	known, ok := d.users[u]
	team := d.team
	d.mu.Unlock()
	if team == "" {
		return known, cannotTell("which team this is", errors.New("auth.test has not answered yet"))
	}
	if !ok || now.Sub(known.at) >= believed {
		user, err := d.api.GetUserInfoContext(ctx, string(u))
		if err != nil {
			return known, cannotTell("who you are", err)
		}
		if user == nil || grant.UserID(user.ID) != u {
			// slack-go takes {"ok":false} without an error for success.
			return known, cannotTell("who you are", errors.New("users.info answered for nobody"))
		}
		known = userAnswer{at: now, refusal: outsider(user, team), person: user.Enterprise.ID}
		d.mu.Lock()
		d.users[u] = known
		d.mu.Unlock()
	}
	return known, nil
}

// outsider refuses somebody who is not a full member of the team.
func outsider(user *slack.User, team string) *grant.Refusal {
	what := strangeness(user, team)
	if what == "" {
		return nil
	}
	return grant.Refuse(grant.NotAllowed, "Only full members of this Slack team may do that, and this %s. Nothing changed. Ask a colleague who is a full member.", what)
}

// strangeness answers why somebody is not a full member of the team; empty: is one
// (docs.slack.dev, "User object"; USLACKBOT is not marked as a bot there).
func strangeness(user *slack.User, team string) string {
	ours := user.TeamID == "" || user.TeamID == team || slices.Contains(user.Enterprise.Teams, team)
	switch {
	case user.ID == "USLACKBOT" || user.ID == "USLACK" || user.IsBot:
		return "is an app"
	case user.Deleted:
		return "account is deactivated"
	case user.IsRestricted || user.IsUltraRestricted:
		return "account is a guest"
	case user.IsInvitedUser:
		return "account has not joined yet"
	case user.IsStranger || !ours:
		return "account belongs to another organisation"
	default:
		return ""
	}
}

func cannotTell(what string, err error) error {
	return &unsure{
		refusal: grant.Refuse(grant.CannotTell, "Slack did not say %s, so nothing was decided and nothing changed. Try again in a moment.", what),
		cause:   err,
	}
}

// unsure is a refusal for want of an answer from Slack; the cause is for the log.
type unsure struct {
	refusal *grant.Refusal
	cause   error
}

func (u *unsure) Error() string { return fmt.Sprintf("%s: %s", u.refusal.Code, redact(u.cause)) }

func (u *unsure) Unwrap() []error { return []error{u.refusal, u.cause} }
