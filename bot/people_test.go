package bot_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

func TestPeople_ownRequestIsNotApprovable(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ana.presses("BG-1", "Approve").refused(s, "BG-1 is your own request, so somebody else must approve it", "Nothing changed", "Withdraw")
		s.phase("BG-1", grant.Requested)
		s.untouched()
	})
}

func TestPeople_whoIsNoApproverDecidesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for _, p := range []person{s.mia, s.rob} {
			p.presses("BG-1", "Approve").refused(s, "Only an approver may approve BG-1", "Nothing changed", "Ask an approver")
			p.presses("BG-1", "Deny").refused(s, "Only an approver may deny BG-1")
		}
		s.phase("BG-1", grant.Requested)
		s.untouched()
	})
}

// Everybody below is configured as an approver by id: what Slack says about the
// account still counts.
func TestPeople_onlyFullMembersDecide(t *testing.T) {
	for name, c := range map[string]struct {
		user slacksim.User
		says string
	}{
		"guest of several channels": {slacksim.User{ID: "U0GUS", Guest: slacksim.MultiChannelGuest}, "this account is a guest"},
		"guest of one channel":      {slacksim.User{ID: "U0SUE", Guest: slacksim.SingleChannelGuest}, "this account is a guest"},
		"deactivated":               {slacksim.User{ID: "U0DAN", Deleted: true}, "this account is deactivated"},
		"bot":                       {slacksim.User{ID: "U0BOT", Bot: true}, "this is an app"},
		"workflow":                  {slacksim.User{ID: "U0FLOW", Bot: true, WorkflowBot: true}, "this is an app"},
		"invited":                   {slacksim.User{ID: "U0IVY", Invited: true}, "this account has not joined yet"},
		"stranger":                  {slacksim.User{ID: "U0STR", Stranger: true}, "another"},
		"other team":                {slacksim.User{ID: "U0OTH", TeamID: "T0OTHER"}, "another"},
		"Slackbot":                  {slacksim.User{ID: "USLACKBOT", Name: "slackbot"}, "this is an app"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			p := person{s, s.slack.AddUser(c.user)}
			id := c.user.ID
			s.asks(askProd)
			// The click comes through somebody who can click: what counts is whom
			// the payload names and what Slack says of them.
			edits := []slacksim.Edit{from("id", id)}
			if c.user.TeamID != "" || c.user.Stranger {
				edits = nil
				s.slack.EditChannel(channel, func(ch *slacksim.Channel) { ch.ExtShared, ch.Members = true, append(ch.Members, id) })
			} else {
				p = s.mia
			}
			for _, button := range []string{"Approve", "Deny"} {
				p.presses("BG-1", button, edits...).refused(s, c.says, "Nothing changed")
			}
			s.phase("BG-1", grant.Requested)
			if c.user.Stranger || c.user.Deleted {
				return // Slack itself sends no command of theirs
			}
			s.mia.says(askProd, from("id", id)).wants(t, c.says)
			if live, err := s.db.Live(); err != nil || len(live) != 1 {
				t.Errorf("there are %d requests, want the first alone (%v)", len(live), err)
			}
			s.untouched()
		}, func(cfg *setup) {
			cfg.people.Approvers.Users = append(cfg.people.Approvers.Users, grant.UserID(c.user.ID))
		})
	}
}

func TestPeople_payloadOfAnotherTeamOrApp(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for name, edit := range map[string]slacksim.Edit{
			"team":                 set("team", map[string]any{"id": "T0EVIL", "domain": "evil"}),
			"team of the person":   from("team_id", "T0EVIL"),
			"no team at all":       func(p map[string]any) { p["team"] = nil; delete(p["user"].(map[string]any), "team_id") },
			"team null, their own": func(p map[string]any) { p["team"] = nil; p["user"].(map[string]any)["team_id"] = "T0EVIL" },
		} {
			t.Log(name)
			s.ben.presses("BG-1", "Approve", edit).refused(s, "This bot serves another Slack team", "Nothing changed")
		}
		s.ben.presses("BG-1", "Approve", set("api_app_id", "A0EVIL")).refused(s, "another app", "Nothing changed")
		s.ana.says(askProd, set("team_id", "T0EVIL")).wants(t, "This bot serves another Slack team")
		s.ana.says(askProd, set("api_app_id", "A0EVIL")).wants(t, "another app")
		s.phase("BG-1", grant.Requested)
		if _, err := s.db.Grant(2); err == nil {
			t.Error("a command of another team made a request")
		}
		s.untouched()
	})
}

// An app that is installed for a whole organisation gets payloads without a team.
func TestPeople_organisationInstall(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.ana.presses("BG-1", "Revoke now")
		s.proven("BG-1")
	}, func(c *setup) {
		c.slack.OrgInstall, c.slack.EnterpriseID, c.slack.EnterpriseName = true, "E0ACME", "Acme"
	})
}

func TestPeople_onlyRequestersMayAsk(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says(askProd).refused(s, "You are not among the people who may ask for access here", "Nothing was requested")
		s.asks(askProd)
	}, func(c *setup) { c.people.Requesters = bot.Circle{Users: []grant.UserID{ana}} })
}

func TestPeople_requesterThroughAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says(askProd).refused(s, "You are not among the people who may ask")
		s.asks(askProd)
	}, func(c *setup) {
		c.people.Requesters = bot.Circle{Groups: []grant.GroupID{"S0ONCALL"}}
		c.before = func(s *stage) { s.slack.AddUserGroup(slacksim.UserGroup{ID: "S0ONCALL", Members: []string{ana}}) }
	})
}

// A user group's members are believed for at most a minute.
func TestPeople_approverThroughAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		asked := func() int { return len(s.slack.Calls("usergroups.users.list")) }
		s.asks(askProd)
		s.mia.presses("BG-1", "Approve").refused(s, "Only an approver")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		if n := asked(); n != 1 {
			t.Errorf("the group was asked for %d times within a minute, want once", n)
		}
		s.ana.presses("BG-1", "Revoke now")
		s.proven("BG-1")

		s.asks(askProd)
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = []string{eva} })
		time.Sleep(time.Minute)
		s.ben.presses("BG-2", "Approve").refused(s, "Only an approver")
		s.phase("BG-2", grant.Requested)
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Disabled = true })
		time.Sleep(time.Minute)
		s.eva.presses("BG-2", "Approve")
		s.phase("BG-2", grant.Requested)
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Disabled = false })
		time.Sleep(time.Minute)
		s.eva.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
	}, byGroup, quiet)
}

// Within the minute the old answer counts, and not a second longer.
func TestPeople_groupIsBelievedForAMinuteAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.mia.presses("BG-1", "Approve") // the group is known from here on
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = nil })
		time.Sleep(59 * time.Second)
		s.ben.presses("BG-1", "Approve")
		if g := s.grant("BG-1"); len(g.Approvals) != 1 {
			t.Errorf("59 s after it was asked for, the group's answer was not used: %+v", g.Approvals)
		}
		time.Sleep(time.Second)
		s.eva.presses("BG-1", "Approve").refused(s, "Only an approver")
		if g := s.grant("BG-1"); len(g.Approvals) != 1 || g.Phase != grant.Requested {
			t.Errorf("60 s after it was asked for, the group's answer was still used: %+v", g.Approvals)
		}
	}, byGroup, approvals(2))
}

// A guest in the approvers' group is a guest.
func TestPeople_guestInTheGroup(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.EditUser(ben, func(u *slacksim.User) { u.Guest = slacksim.MultiChannelGuest })
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve").refused(s, "this account is a guest")
		s.phase("BG-1", grant.Requested)
	}, byGroup)
}

// When Slack does not say who somebody is, nobody is let through, and they learn
// so within three seconds.
func TestPeople_lookupFailsClosed(t *testing.T) {
	for _, method := range []string{"usergroups.users.list", "users.info"} {
		for name, f := range map[string]slacksim.Fault{
			"error":         {Answer: slacksim.Refuse("internal_error")},
			"no such group": {Answer: slacksim.Refuse("no_such_subteam")},
			"hanging":       {Answer: slacksim.Hang()},
			"HTML":          {Answer: slacksim.Page()},
			"500":           {Answer: slacksim.Status(500)},
			"429":           {Answer: slacksim.RateLimited(30 * time.Second)},
			"dropped":       {Answer: slacksim.Drop()},
			"ok false":      {Answer: slacksim.RefuseSilently()},
			"slow":          {Delay: 10 * time.Second},
		} {
			beside(t, method+" "+name, func(t *testing.T, s *stage) {
				s.asks(askProd)
				time.Sleep(2 * time.Minute) // what was known is too old
				f.Method = method
				s.slack.Inject(f)
				a := s.ben.presses("BG-1", "Approve")
				s.phase("BG-1", grant.Requested)
				s.untouched()
				a.refused(s, "Slack did not say", "nothing changed", "Try again")
				s.slack.ClearFaults()
				s.ben.presses("BG-1", "Approve")
				s.until("BG-1", "Open until")
			}, byGroup)
		}
	}
}

// A group that cannot be read does not hide another that can.
func TestPeople_oneGroupFailsTheOtherAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", When: func(c slacksim.Call) bool { return c.Args["usergroup"] == group }, Answer: slacksim.Refuse("internal_error")})
		s.slack.AddUserGroup(slacksim.UserGroup{ID: "S0SECOPS", Members: []string{eva}})
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve").refused(s, "Slack did not say")
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, byGroup, func(c *setup) { c.people.Approvers.Groups = append(c.people.Approvers.Groups, "S0SECOPS") })
}

func TestPeople_twoApprovals(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.until("BG-1", "Approvals: 0 of 2")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Approvals: 1 of 2: @ben")
		s.ben.presses("BG-1", "Approve").refused(s, "You have approved BG-1 already; it needs 1 more approval, from somebody else")
		s.ana.presses("BG-1", "Approve").refused(s, "your own request")
		s.phase("BG-1", grant.Requested)
		s.untouched()
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until", "approved by @ben, @eva")
	}, approvals(2))
}

// A cell may ask for more approvals than the others.
func TestPeople_approvalsOfTheCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(strings.Replace(askProd, prod, test, 1))
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Approvals: 1 of 2")
		s.phase("BG-1", grant.Requested)
		s.asks(askProd)
		s.ben.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
	}, func(c *setup) { c.policy.Cells[1].Approvals = 2 })
}

func TestPeople_twoApproveAtTheSameInstant(t *testing.T) {
	for _, need := range []int{1, 2} {
		bubble(t, func(t *testing.T, s *stage) {
			s.asks(askProd)
			card := s.card("BG-1")
			var both sync.WaitGroup
			var answers [2]answer
			for i, p := range []person{s.ben, s.eva} {
				both.Go(func() {
					in, err := p.Click(t.Context(), card, "Approve", atHome)
					if err != nil {
						t.Error(err)
					}
					answers[i].Interaction = in
				})
			}
			both.Wait()
			synctest.Wait()
			refusals := 0
			for i := range answers {
				answers[i] = s.inTime(s.seen(answers[i].Interaction), "Approve")
				if answers[i].text != "" {
					refusals++
					answers[i].refused(s, "BG-1 is")
				}
			}
			if want := 2 - need; refusals != want {
				t.Errorf("%d of two were refused, want %d: with %d needed", refusals, want, need)
			}
			s.until("BG-1", "Open until")
			if g := s.grant("BG-1"); len(g.Approvals) != need {
				t.Errorf("%d approvals are counted, want %d", len(g.Approvals), need)
			}
			trust := 0
			for _, c := range s.world.Writes() {
				if c.Op == "UpdateAssumeRolePolicy" {
					trust++
				}
			}
			if trust != 1 {
				t.Errorf("the trust policy was written %d times, want once", trust)
			}
		}, approvals(need))
	}
}

// The requester and one other are one approval, not two.
func TestPeople_requesterAndOneOther(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ana.presses("BG-1", "Approve").refused(s, "your own request")
		s.ben.presses("BG-1", "Approve")
		s.ana.presses("BG-1", "Approve").refused(s, "your own request")
		s.phase("BG-1", grant.Requested)
		if g := s.grant("BG-1"); len(g.Approvals) != 1 {
			t.Errorf("%d approvals are counted, want 1", len(g.Approvals))
		}
		s.untouched()
	}, approvals(2))
}
