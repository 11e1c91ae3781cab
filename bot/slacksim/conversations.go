package slacksim

import (
	"slices"
	"strings"
	"time"
)

func (s *Slack) authTest(args) (object, *apiError) {
	o := object{
		"url":  "https://" + s.opt.TeamDomain + ".slack.com/",
		"team": s.opt.TeamName, "user": s.opt.BotName,
		"team_id": s.opt.TeamID, "user_id": s.opt.BotUserID, "bot_id": s.opt.BotID,
		"is_enterprise_install": s.opt.OrgInstall,
	}
	if s.opt.EnterpriseID != "" {
		o["enterprise_id"] = s.opt.EnterpriseID
	}
	return o, nil
}

// seen finds a conversation that the bot may look at, and checks the scope for its kind and for what is to be
// done with it: read, or history.
func (s *Slack) seen(id, what string) (*Channel, *apiError) {
	c := s.channels[id]
	kind := "channels:"
	switch {
	case strings.HasPrefix(id, "D"):
		kind = "im:"
	case c != nil && c.mpim:
		kind = "mpim:"
	case c != nil && c.Private:
		kind = "groups:"
	}
	if err := s.bot().need(kind + what); err != nil {
		return nil, err
	}
	if c == nil || c.Private && c.Without {
		return nil, refuse("channel_not_found")
	}
	return c, nil
}

func (s *Slack) conversationsInfo(a args) (object, *apiError) {
	c, err := s.seen(a["channel"], "read")
	if err != nil {
		return nil, err
	}
	o := s.channelJSON(c)
	if a.flag("include_num_members") {
		o["num_members"] = len(s.members(c))
	}
	return object{"channel": o}, nil
}

func (s *Slack) conversationsMembers(a args) (object, *apiError) {
	c, err := s.seen(a["channel"], "read")
	if err != nil {
		return nil, err
	}
	list, next, err := page(s.members(c), a, 100, 999, func(id string) string { return id })
	if err != nil {
		return nil, err
	}
	return object{"members": list, "response_metadata": object{"next_cursor": next}}, nil
}

func (s *Slack) members(c *Channel) []string {
	list := slices.Clone(c.Members)
	if !c.Without {
		list = append(list, s.opt.BotUserID)
	}
	return list
}

func (s *Slack) conversationsOpen(a args) (object, *apiError) {
	if id := a["channel"]; id != "" {
		c := s.channels[id]
		if c == nil || c.im == "" {
			return nil, refuse("channel_not_found")
		}
		return object{"channel": object{"id": c.ID}, "no_op": true, "already_open": true}, nil
	}
	users := strings.Split(a["users"], ",")
	if len(users) > 8 {
		return nil, refuse("too_many_users")
	}
	for _, id := range users {
		u := s.users[id]
		switch {
		case u == nil:
			return nil, refuse("user_not_found")
		case u.Deleted:
			return nil, refuse("user_disabled")
		case u.Stranger:
			return nil, refuse("user_not_visible")
		case u.Bot:
			return nil, refuse("cannot_dm_bot")
		}
	}
	if len(users) > 1 {
		c := &Channel{ID: s.nextID("G"), Name: "mpdm", Private: true, Members: users, mpim: true}
		s.channels[c.ID] = c
		return object{"channel": object{"id": c.ID}}, nil
	}
	_, already := s.ims[users[0]]
	c := s.openIM(users[0])
	o := object{"id": c.ID}
	if a.flag("return_im") {
		o = s.channelJSON(c)
	}
	return object{"channel": o, "no_op": already, "already_open": already}, nil
}

func (s *Slack) channelJSON(c *Channel) object {
	o := object{
		"id": c.ID, "created": time.Now().Unix(), "is_archived": c.Archived, "is_im": c.im != "",
		"is_org_shared": c.OrgShared, "context_team_id": s.opt.TeamID, "is_mpim": c.mpim,
	}
	if c.im != "" {
		o["user"] = c.im
		o["is_open"] = true
		return o
	}
	o["name"], o["name_normalized"] = c.Name, c.Name
	o["is_channel"], o["is_group"], o["is_private"] = !c.Private, c.Private, c.Private
	o["is_member"] = !c.Without
	o["is_ext_shared"], o["is_pending_ext_shared"] = c.ExtShared, c.PendingExtShared
	o["is_shared"] = c.ExtShared || c.OrgShared
	return o
}

func (s *Slack) usersInfo(a args) (object, *apiError) {
	u := s.users[a["user"]]
	if u == nil {
		return nil, refuse("user_not_found")
	}
	return object{"user": s.userJSON(u)}, nil
}

func (s *Slack) userJSON(u *User) object {
	profile := object{"real_name": u.RealName, "display_name": u.Name, "team": u.TeamID}
	if u.Email != "" && s.bot().need("users:read.email") == nil {
		profile["email"] = u.Email
	}
	tz := u.TZ
	if tz == "" {
		tz = "Europe/Berlin"
	}
	o := object{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"profile": profile, "is_bot": u.Bot, "is_app_user": false, "updated": time.Now().Unix(), "tz": tz,
	}
	if u.Deleted {
		return o // Slack leaves the roles of a deactivated user out.
	}
	o["is_admin"], o["is_owner"], o["is_primary_owner"] = u.Admin, u.Owner, false
	o["is_restricted"] = u.Guest != NoGuest
	o["is_ultra_restricted"] = u.Guest == SingleChannelGuest
	if u.Stranger {
		o["is_stranger"] = true
	}
	if u.Invited {
		o["is_invited_user"] = true
	}
	if u.WorkflowBot {
		o["is_workflow_bot"] = true
	}
	if u.EnterpriseUserID != "" {
		o["enterprise_user"] = object{
			"id": u.EnterpriseUserID, "enterprise_id": s.opt.EnterpriseID, "enterprise_name": s.opt.EnterpriseName,
			"is_admin": u.Admin, "is_owner": u.Owner, "teams": []string{u.TeamID},
		}
	}
	return o
}

func (s *Slack) usergroupsList(a args) (object, *apiError) {
	list := []any{}
	for _, g := range sorted(s.groups) {
		if g.Disabled && !a.flag("include_disabled") {
			continue
		}
		o := object{
			"id": g.ID, "team_id": s.opt.TeamID, "is_usergroup": true, "name": g.Name, "handle": g.Handle,
			"description": "", "date_create": time.Now().Unix(), "date_update": time.Now().Unix(), "date_delete": 0,
			"user_count": len(g.Members), "prefs": object{"channels": []string{}, "groups": []string{}},
		}
		if g.Disabled {
			o["date_delete"] = time.Now().Unix()
		}
		if a.flag("include_users") {
			o["users"] = slices.Clone(g.Members)
		}
		list = append(list, o)
	}
	return object{"usergroups": list}, nil
}

// usergroupsUsersList refuses a disabled group unless it is asked for. Slack's page does not say which
// way it refuses; no_such_subteam is the error that it lists.
func (s *Slack) usergroupsUsersList(a args) (object, *apiError) {
	g := s.groups[a["usergroup"]]
	if g == nil || g.Disabled && !a.flag("include_disabled") {
		return nil, refuse("no_such_subteam")
	}
	return object{"users": append([]string{}, g.Members...)}, nil
}
