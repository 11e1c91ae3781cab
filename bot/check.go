package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"

	"breakglass/store/grant"
)

// CheckSlack looks at everything that the bot needs of Slack and says what it found,
// each with what to do: the tokens and their scopes, the team, the channel, the people.
// It changes nothing, posts nothing and opens no socket; what cannot be read is itself
// a finding. It returns within a minute, however slow Slack is.
//
// Of the options it needs APIURL, Channel, People and Policy. A token that is empty is
// not asked about, and what hangs on it is left out: why it is missing is the caller's
// to say. No finding shows a token.
func CheckSlack(ctx context.Context, o Options) []grant.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	b := &Bot{o: o}
	if _, err := b.connect(); err != nil {
		return []grant.Finding{{Check: "bot token", Level: grant.Blocks, Text: sentence(err.Error()), Remedy: "Correct slack.api_url."}}
	}
	app := slackCheck{o: o, api: b.api}
	var wg sync.WaitGroup
	if o.AppToken != "" {
		wg.Go(func() { app.socketMode(ctx) })
	}
	k := slackCheck{o: o, api: b.api, known: map[grant.UserID]account{}}
	if o.BotToken != "" {
		k.botToken(ctx)
	}
	wg.Wait()
	// In the order in which they are mended: first the app and its tokens, then the
	// team's channel and people.
	i := slices.IndexFunc(k.findings, func(f grant.Finding) bool { return f.Check != "bot token" && f.Check != "team" && f.Check != "scopes" })
	if i < 0 {
		i = len(k.findings)
	}
	return slices.Insert(k.findings, i, app.findings...)
}

// slackCheck is one look at Slack.
type slackCheck struct {
	o        Options
	api      *slack.Client
	findings []grant.Finding

	mu    sync.Mutex
	known map[grant.UserID]account
}

// account is what Slack says of somebody.
type account struct {
	strange string // why it is no full member's; empty: it is one
	person  string // the person behind it, where there is an organisation
	err     error  // Slack did not say
}

func (k *slackCheck) say(check string, level grant.Level, remedy, format string, args ...any) {
	k.findings = append(k.findings, grant.Finding{Check: check, Level: level, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

// ask calls, and where Slack allows no more calls just now, waits as long as it says
// and calls again, if there is time for that.
func (k *slackCheck) ask(ctx context.Context, call func() error) error {
	for {
		err := call()
		limited, ok := errors.AsType[*slack.RateLimitedError](err)
		if !ok {
			return err
		}
		wait := max(limited.RetryAfter, time.Second)
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait || !sleep(ctx, wait) {
			return err
		}
	}
}

const again = "Then run breakglass check again."

// refused is the finding about a call without which the bot cannot begin. limited is
// how bad it is that Slack allows no more calls just now.
func (k *slackCheck) refused(check, variable string, limited grant.Level, err error) {
	if text, ok := permanent(err, variable); ok {
		text, remedy, _ := strings.Cut(text, ". ")
		if notFound(err) {
			remedy = "Correct slack.api_url"
		}
		remedy = cmp.Or(remedy, "Look at the app's settings at https://api.slack.com/apps, or ask an administrator of the team")
		if !strings.HasSuffix(remedy, "…") {
			remedy += "."
		}
		k.say(check, grant.Blocks, remedy, "%s.", sentence(text))
		return
	}
	if _, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		k.say(check, limited, "Wait a minute. "+again, "Slack allows no more calls with the token in %s just now, so it could not be looked at.", variable)
		return
	}
	if code := codeOf(err); code != "" {
		k.say(check, grant.Blocks, "Look at https://slack-status.com, and look that word up at https://docs.slack.dev. "+again, "Slack refused the token in %s: %s.", variable, code)
		return
	}
	k.say(check, grant.Blocks, "Look at the network between this machine and Slack (HTTPS_PROXY counts), at slack.api_url, and at https://slack-status.com. "+again,
		"Slack could not be asked about the token in %s: %s.", variable, because(err))
}

// because is an error in few words, without any address that is secret.
func because(err error) string {
	if code := codeOf(err); code != "" {
		return "it answered " + code
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return "it did not answer in time"
	}
	if e, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return fmt.Sprintf("it answered %d %s", e.Code, http.StatusText(e.Code))
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address
	}
	if errors.Is(err, io.EOF) {
		return "it hung up"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && e.Timeout()
}

// codeOf is the code with which Slack refused, or nothing.
func codeOf(err error) string {
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return e.Err
	}
	if err != nil && codePattern.MatchString(err.Error()) { // as slack-go gives those of apps.connections.open
		return err.Error()
	}
	return ""
}

// sentence begins a text with a capital.
func sentence(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// botToken looks at everything that the bot token can see.
func (k *slackCheck) botToken(ctx context.Context) {
	var who *slack.AuthTestResponse
	err := k.ask(ctx, func() (err error) { who, err = k.api.AuthTestContext(ctx); return err })
	if err == nil && who.TeamID == "" {
		err = errors.New("auth.test did not say which team this is")
	}
	if err != nil {
		k.refused("bot token", "SLACK_BOT_TOKEN", grant.Blocks, err) // nothing is known then
		return
	}
	k.say("bot token", grant.OK, "", "The bot is @%s in the Slack team %s (%s).", who.User, who.Team, who.TeamID)
	k.scopes(who.Header)
	if k.o.Team != "" && k.o.Team != who.TeamID {
		k.say("team", grant.Blocks, "Correct slack.team, or install the app in the team "+k.o.Team+" and use its token. The channel and the people are looked at then.",
			"%s.", sentence(otherTeam(who.TeamID, k.o.Team)))
		return
	}
	k.channel(ctx, who.User)
	k.people(ctx, who.TeamID)
}

// scopes compares what the token may do (docs.slack.dev, "Web API": the header
// X-OAuth-Scopes of every answer) with the table that the manifest is made from.
func (k *slackCheck) scopes(h http.Header) {
	if len(h.Values("X-OAuth-Scopes")) == 0 {
		k.say("scopes", grant.Unread, "Compare them yourself: the app's settings, OAuth & Permissions, and breakglass manifest.",
			"Slack did not say which scopes the bot token has.")
		return
	}
	held := strings.FieldsFunc(strings.Join(h.Values("X-OAuth-Scopes"), ","), func(r rune) bool { return r == ',' || r == ' ' })
	wanted, missing := 0, false
	for _, u := range scopeUses {
		at := slices.Index(held, u.Scope)
		if at >= 0 {
			held = slices.Delete(held, at, at+1)
		}
		if u.Scope == "" || u.App || u.Spared {
			continue
		}
		wanted++
		if at >= 0 {
			continue
		}
		missing = true
		k.say("scopes", k.lacking(u.Scope), "Add it in the app's settings, OAuth & Permissions (breakglass manifest prints all that are needed), and install the app again.",
			"The bot token lacks the scope %s, which is for: %s.", u.Scope, u.Why)
	}
	if !missing {
		k.say("scopes", grant.OK, "", "The bot token has the %d scopes that the manifest asks for.", wanted)
	}
	if len(held) > 0 {
		k.say("scopes", grant.Warning, "Take out what nobody needs: the app's settings, OAuth & Permissions, and install the app again.",
			"The bot token may do more than the bot does: %s. Whoever gets hold of it may do that, too.", strings.Join(held, ", "))
	}
}

// lacking is how bad it is that the token lacks a scope of the manifest's. Without
// the two that show the channel the bot works, but cannot see whether it is shared.
func (k *slackCheck) lacking(scope string) grant.Level {
	switch {
	case scope == "channels:read" || scope == "groups:read":
		return grant.Warning
	case scope == "usergroups:read" && len(k.groups()) == 0:
		return grant.Warning
	default:
		return grant.Blocks
	}
}

// socketMode asks for the address of one connection, which only hands out a ticket:
// nothing is dialled, and a bot that runs keeps its sockets. Slack allows about 50 such
// calls a minute for the app, the bot's own included (apps.connections.open, Tier 3).
func (k *slackCheck) socketMode(ctx context.Context) {
	err := k.ask(ctx, func() error { _, _, err := k.api.StartSocketModeContext(ctx); return err })
	switch {
	case err == nil:
		k.say("app token", grant.OK, "", "The app-level token opens connections (Socket Mode).")
	case codeOf(err) == "missing_scope":
		k.say("app token", grant.Blocks, "Make a new one in the app's settings, Basic Information, App-Level Tokens, with that scope, and put it into SLACK_APP_TOKEN.",
			"The token in SLACK_APP_TOKEN lacks the scope connections:write.")
	default:
		k.refused("app token", "SLACK_APP_TOKEN", grant.Unread, err)
	}
}

func (k *slackCheck) channel(ctx context.Context, bot string) {
	id := k.o.Channel
	var c *slack.Channel
	err := k.ask(ctx, func() (err error) {
		c, err = k.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: string(id)})
		return err
	})
	if err == nil && c == nil {
		err = errors.New("it answered nothing")
	}
	invite := "In Slack, in that channel: /invite @" + bot
	switch code := codeOf(err); {
	case code == "channel_not_found":
		k.say("channel", grant.Blocks, "Compare slack.channel with the id in the channel's details. If it is right, the channel is private: "+strings.ToLower(invite[:1])+invite[1:],
			"Slack shows the bot no channel %s.", id)
		return
	case code == "missing_scope":
		k.say("channel", grant.Unread, "Give the app channels:read, or groups:read if the channel is private, and install it again.",
			"Whether the channel %s is there, yours alone, and the bot in it cannot be seen for want of a scope.", id)
		return
	case err != nil:
		k.say("channel", grant.Unread, "Wait a minute. "+again, "Slack did not say anything of the channel %s: %s.", id, because(err))
		return
	}
	if t := trespassIn(id, c); t != nil {
		k.say("channel", grant.Blocks, t.remedy+".", "The channel #%s (%s) %s%s.", c.Name, id, t.what, t.so)
		return
	}
	if !c.IsMember {
		k.say("channel", grant.Blocks, invite, "The bot is not a member of the channel #%s (%s), so it cannot post there.", c.Name, id)
		return
	}
	k.say("channel", grant.OK, "", "The channel is #%s (%s), yours alone, and the bot is in it.", c.Name, id)
}

// part is what somebody may do, by the key of the configuration.
type part struct {
	name string
	Circle
}

func (k *slackCheck) parts() []part {
	p := k.o.People
	return []part{{"people.approvers", p.Approvers}, {"people.requesters", p.Requesters}, {"people.revokers", p.Revokers}, {"people.emergency", p.Emergency}}
}

// groups are the user groups of all parts, each once.
func (k *slackCheck) groups() []grant.GroupID {
	var out []grant.GroupID
	for _, p := range k.parts() {
		for _, g := range p.Groups {
			if !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// in names the parts that have it.
func (k *slackCheck) in(has func(part) bool) string {
	var out []string
	for _, p := range k.parts() {
		if has(p) {
			out = append(out, p.name)
		}
	}
	return strings.Join(out, ", ")
}

func (k *slackCheck) people(ctx context.Context, team string) {
	before := len(k.findings)
	members, unread := k.userGroups(ctx)
	users := k.users(ctx, team)
	if len(k.findings) == before {
		var there []string
		if users > 0 {
			there = append(there, number(users, "full member"))
		}
		if len(members) > 0 {
			there = append(there, number(len(members), "user group"))
		}
		k.say("people", grant.OK, "", "Everybody whom the configuration names is there: %s.", strings.Join(there, ", "))
	}
	k.approvers(ctx, team, members, unread)
	k.requesters(members, unread)
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// userGroups looks at each user group of the configuration, and answers who is in
// those that work. unread says that some of it could not be read.
func (k *slackCheck) userGroups(ctx context.Context) (members map[grant.GroupID][]grant.UserID, unread bool) {
	ids := k.groups()
	if len(ids) == 0 {
		return nil, false
	}
	var all []slack.UserGroup
	err := k.ask(ctx, func() (err error) {
		all, err = k.api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeDisabled(true))
		return err
	})
	if code := codeOf(err); code == "paid_teams_only" || code == "plan_upgrade_required" {
		k.say("user groups", grant.Blocks, "Name the people under users instead.", "The plan of this Slack team has no user groups, but the configuration names some.")
		return nil, false
	}
	if err != nil {
		k.unread("user groups", "Whether the user groups are there and who is in them", err)
		return nil, true
	}
	const correct = "Correct the id (in Slack: People, User groups, the group, ⋮, Copy group ID), or take it out."
	members = map[grant.GroupID][]grant.UserID{}
	for _, id := range ids {
		in := k.in(func(p part) bool { return slices.Contains(p.Groups, id) })
		at := slices.IndexFunc(all, func(g slack.UserGroup) bool { return g.ID == string(id) })
		if at < 0 {
			k.say("user groups", grant.Blocks, correct, "There is no user group %s (%s) in this Slack team. Whoever counts on it is refused.", id, in)
			continue
		}
		name := fmt.Sprintf("@%s (%s, %s)", all[at].Handle, id, in)
		if all[at].DateDelete != 0 {
			k.say("user groups", grant.Blocks, "Switch it on again in Slack, name another one, or take it out.", "The user group %s is switched off. Whoever counts on it is refused.", name)
			continue
		}
		var list []string
		if err := k.ask(ctx, func() (err error) { list, err = k.api.GetUserGroupMembersContext(ctx, string(id)); return err }); err != nil {
			k.unread("user groups", "Who is in the user group "+name, err)
			unread = true
			continue
		}
		members[id] = nil
		for _, u := range list {
			members[id] = append(members[id], grant.UserID(u))
		}
		if len(list) == 0 {
			k.say("user groups", grant.Warning, "Put people into it in Slack, or take it out.", "Nobody is in the user group %s.", name)
		}
	}
	return members, unread
}

// unread says that something could not be read.
func (k *slackCheck) unread(check, what string, err error) {
	remedy := "Wait a minute. " + again
	if codeOf(err) == "missing_scope" {
		remedy = "Give the app the scope that it lacks, and install it again."
	}
	k.say(check, grant.Unread, remedy, "%s. It could not be read: %s.", what, because(err))
}

// lookupsAtOnce bounds how many people are asked about at the same time.
const lookupsAtOnce = 4

// users looks at everybody whom the configuration names, and answers how many.
func (k *slackCheck) users(ctx context.Context, team string) int {
	var ids []grant.UserID
	for _, p := range k.parts() {
		for _, u := range p.Users {
			if !slices.Contains(ids, u) {
				ids = append(ids, u)
			}
		}
	}
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for _, u := range ids {
		group.Go(func() error { k.account(ctx, team, u); return nil })
	}
	_ = group.Wait() // what went wrong is in the accounts
	var silent []string
	var why error
	for _, u := range ids {
		in := k.in(func(p part) bool { return slices.Contains(p.Users, u) })
		switch a := k.account(ctx, team, u); {
		case a.err != nil:
			silent, why = append(silent, string(u)), a.err
		case a.strange != "":
			k.say("people", grant.Warning, "Correct the id (in Slack: the profile, ⋮, Copy member ID), or take it out.", "%s (%s) may do nothing here: %s.", u, in, a.strange)
		}
	}
	if why != nil {
		k.unread("people", "Whether these are full members: "+strings.Join(silent, ", "), why)
	}
	return len(ids)
}

// account is what Slack says of somebody; it is asked once.
func (k *slackCheck) account(ctx context.Context, team string, u grant.UserID) account {
	k.mu.Lock()
	a, ok := k.known[u]
	k.mu.Unlock()
	if ok {
		return a
	}
	var user *slack.User
	err := k.ask(ctx, func() (err error) { user, err = k.api.GetUserInfoContext(ctx, string(u)); return err })
	switch code := codeOf(err); {
	case code == "user_not_found" || code == "user_not_visible" || code == "users_not_found":
		a.strange = "nobody in this Slack team has that id"
	case err != nil:
		a.err = err
	case strangeness(user, team) != "":
		a.strange = "this " + strangeness(user, team)
	default:
		a.person = user.Enterprise.ID
	}
	k.mu.Lock()
	k.known[u] = a
	k.mu.Unlock()
	return a
}

// mostMembers is how many members of user groups are asked about, to see whether
// there are enough approvers.
const mostMembers = 30

// approvers compares how many could approve with how many must. It asks about no more
// of them than it takes to know.
func (k *slackCheck) approvers(ctx context.Context, team string, members map[grant.GroupID][]grant.UserID, unread bool) {
	most := 0
	for _, c := range k.o.Policy.Cells {
		most = max(most, k.needed(c))
	}
	named := slices.Clone(k.o.People.Approvers.Users)
	for _, g := range k.o.People.Approvers.Groups {
		named = append(named, members[g]...)
	}
	var found []grant.UserID
	var persons []string
	asked := 0
	for _, u := range named {
		if len(found) > most {
			break // and one who asks
		}
		if slices.Contains(found, u) {
			continue
		}
		if !slices.Contains(k.o.People.Approvers.Users, u) {
			if asked++; asked > mostMembers {
				unread = true
				break
			}
		}
		switch a := k.account(ctx, team, u); {
		case a.err != nil:
			unread = true
		case a.strange == "" && (a.person == "" || !slices.Contains(persons, a.person)):
			found = append(found, u)
			persons = append(persons, a.person)
		}
	}
	var short []string
	for _, c := range k.o.Policy.Cells {
		if k.needed(c) > len(found) {
			short = append(short, fmt.Sprintf("%s needs %d", c.Name, k.needed(c)))
		}
	}
	needs := "1 approval is"
	if most != 1 {
		needs = fmt.Sprintf("%d approvals are", most)
	}
	can := fmt.Sprintf("%d people of people.approvers can", len(found))
	switch len(found) {
	case 0:
		can = "Nobody of people.approvers can"
	case 1:
		can = "Only 1 person of people.approvers can"
	}
	switch {
	case len(found) > most:
		k.say("approvers", grant.OK, "", "Enough people can approve: %s needed at most, not counting whoever asks.", needs)
	case unread:
		k.say("approvers", grant.Unread, "Look at what could not be read. "+again, "Whether there are enough approvers could not be found out.")
	case len(short) > 0:
		k.say("approvers", grant.Blocks, "Name more full members in people.approvers, or lower approvals.",
			"%s approve, but %s. No request there could be opened.", can, strings.Join(short, ", "))
	default:
		k.say("approvers", grant.Warning, "Name one more approver.",
			"%s approve, as many as must: while one is away, or asks for access, nothing can be approved.", can)
	}
}

// needed is how many approvals a cell needs.
func (k *slackCheck) needed(c grant.Cell) int {
	return max(cmp.Or(c.Approvals, k.o.Policy.Approvals), 1)
}

// requesters looks whether anybody is left who may ask.
func (k *slackCheck) requesters(members map[grant.GroupID][]grant.UserID, unread bool) {
	r := k.o.People.Requesters
	can := func(u grant.UserID) bool { a := k.known[u]; return a.strange == "" }
	if r.Empty() || unread || slices.ContainsFunc(r.Users, can) ||
		slices.ContainsFunc(r.Groups, func(g grant.GroupID) bool { return len(members[g]) > 0 }) {
		return
	}
	k.say("requesters", grant.Blocks, "Name full members in people.requesters, or leave it empty for every full member of the team.", "Nobody of people.requesters may ask for access.")
}
