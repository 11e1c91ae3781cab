package bot_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// falls are the ways in which ben loses the right to approve.
var falls = map[string]func(*stage){
	"removed from the group": func(s *stage) {
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = []string{eva} })
	},
	"deactivated": func(s *stage) { s.slack.EditUser(ben, func(u *slacksim.User) { u.Deleted = true }) },
	"guest":       func(s *stage) { s.slack.EditUser(ben, func(u *slacksim.User) { u.Guest = slacksim.MultiChannelGuest }) },
}

// stuckAtCheck keeps opening from getting beyond its first look.
func (s *stage) stuckAtCheck() (remove func()) {
	return s.world.Inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle, Account: s.cell.Account.ID()})
}

// Between the click and the opening the approver loses the right to approve: the
// approval does not count, nothing is opened, and another one is asked for.
func TestApprovers_fallAwayBeforeItOpens(t *testing.T) {
	for how, fall := range falls {
		for _, restarts := range []string{"", " across a restart", " across a power cut"} {
			beside(t, how+restarts, func(t *testing.T, s *stage) {
				s.asks(askProd)
				remove := s.stuckAtCheck()
				s.ben.presses("BG-1", "Approve")
				time.Sleep(minute)
				fall(s)
				switch restarts {
				case " across a restart":
					s.restart()
				case " across a power cut":
					s.crash()
					s.start()
				}
				time.Sleep(minute)
				remove()
				s.until("BG-1", "Requested", "Why it needs approval again", "may not approve any more: @ben.", "Approvals: 0 of 1", "Checks:")
				s.untouched()
				time.Sleep(10 * time.Second)
				s.once("needs approval again", "may not approve any more: @ben.")
				s.eva.presses("BG-1", "Approve")
				s.until("BG-1", "Open until", "approved by @eva")
				s.ana.says("revoke")
				s.proven("BG-1")
			}, quiet, byGroup)
		}
	}
}

// One of two falls away before the second has approved, and is not counted; the
// other's approval is kept.
func TestApprovers_oneOfTwo(t *testing.T) {
	for how, fall := range falls {
		beside(t, how, func(t *testing.T, s *stage) {
			s.slack.AddUser(slacksim.User{ID: "U0ZOE", Name: "zoe"})
			s.asks(askProd)
			s.ben.presses("BG-1", "Approve")
			time.Sleep(5 * minute)
			fall(s)
			s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = append(g.Members, "U0ZOE") })
			s.eva.presses("BG-1", "Approve")
			s.until("BG-1", "Requested", "may not approve any more: @ben.", "Approvals: 1 of 2: @eva", "Checks:")
			s.untouched()
			s.eva.presses("BG-1", "Approve").refused(s, "You have approved BG-1 already")
			zoe := person{s, s.slack.Person("U0ZOE")}
			s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.Members = append(c.Members, "U0ZOE") })
			zoe.presses("BG-1", "Approve")
			s.until("BG-1", "Open until", "approved by @eva, @zoe")
			s.ana.says("revoke")
			s.proven("BG-1")
		}, quiet, byGroup, approvals(2))
	}
}

// Both fall away: nobody's approval is left.
func TestApprovers_bothFall(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		remove := s.stuckAtCheck()
		s.ben.presses("BG-1", "Approve")
		s.eva.presses("BG-1", "Approve")
		time.Sleep(minute)
		s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = []string{rob} })
		time.Sleep(minute)
		remove()
		s.until("BG-1", "Requested", "Approvals: 0 of 2", "may not approve any more: @ben, @eva.")
		s.untouched()
		time.Sleep(2 * time.Hour)
		s.until("BG-1", "Lapsed")
	}, quiet, byGroup, approvals(2))
}

// The approver falls after something was written, and before the bot could go on:
// what was written is taken back.
func TestApprovers_fallInTheMiddle(t *testing.T) {
	for _, at := range []string{"ssm:UpdateDocument", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		beside(t, at, func(t *testing.T, s *stage) {
			s.asks(askProd)
			s.crashAt(at)
			falls["deactivated"](s)
			time.Sleep(2 * minute)
			s.start()
			time.Sleep(10 * minute)
			g := s.grant("BG-1")
			if g.Phase != grant.Closed && g.Phase != grant.Requested {
				t.Errorf("it is %s\n%s", g.Phase, s.wall())
			}
			s.shut(s.cell)
			if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
				t.Errorf("the trust policy afterwards:\n%s", doc)
			}
			if g.Phase == grant.Closed {
				s.proven("BG-1")
			}
		}, quiet, byGroup)
	}
}

// crashAt has ben approve BG-1, and cuts the power after the first such call.
func (s *stage) crashAt(call string) {
	s.t.Helper()
	hit := make(chan struct{})
	done := false
	s.world.After(hookOn(call, func() {
		if !done {
			done = true
			s.cut()
			close(hit)
		}
	}))
	s.inTime(s.ben.clicks(s.card("BG-1"), "Approve"), "Approve")
	<-hit
	s.afterCut()
}

// Slack does not say whether the approver still may. Opening waits, says so, and
// goes on once Slack answers; after ten minutes it is given up, proven closed.
func TestApprovers_slackDoesNotSay(t *testing.T) {
	for _, method := range []string{"usergroups.users.list", "users.info"} {
		for name, answer := range map[string]slacksim.Answer{
			"503": slacksim.Status(503), "hanging": slacksim.Hang(), "HTML": slacksim.Page(), "429": slacksim.RateLimited(30 * time.Second),
			"ok false": slacksim.RefuseSilently(), "error": slacksim.Refuse("internal_error"),
		} {
			for _, long := range []bool{false, true} {
				if long {
					name += " for long"
				}
				beside(t, method+" "+name, func(t *testing.T, s *stage) {
					s.asks(askProd)
					remove := s.stuckAtCheck()
					s.ben.presses("BG-1", "Approve")
					began := time.Now()
					s.slack.Inject(slacksim.Fault{Method: method, Answer: answer})
					time.Sleep(70 * time.Second) // what was known is too old
					remove()
					s.until("BG-1", "Opening", "Slack does not say whether those who approved may still approve")
					time.Sleep(2 * minute)
					s.phase("BG-1", grant.Opening)
					s.untouched()
					if !long {
						s.slack.ClearFaults()
						s.until("BG-1", "Open until")
						return
					}
					s.until("BG-1", "Clos", "Why it could not be opened:", "Slack does not say")
					s.proven("BG-1")
					if took := s.grant("BG-1").Ending.Since.Sub(began); took > 10*minute+time.Second {
						t.Errorf("it was given up after %s, want 10 min", took)
					}
					for _, c := range s.world.Writes() {
						if c.Op == "UpdateAssumeRolePolicy" {
							t.Errorf("the trust was written: %s", c.Name())
						}
					}
				}, quiet, byGroup)
			}
		}
	}
}

// A revoke does not wait for Slack's word about the approvers.
func TestApprovers_revokedWhileSlackDoesNotSay(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.crashAt("iam:UpdateAssumeRolePolicy")
		remove := s.slack.Inject(slacksim.Fault{Method: "users.info", Answer: slacksim.Hang()})
		time.Sleep(2 * minute)
		s.start()
		time.Sleep(time.Second)
		s.ana.says("revoke BG-1")
		time.Sleep(5 * time.Second)
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("5 s after it was revoked the vendor still comes in")
		}
		remove()
		s.proven("BG-1")
	}, quiet)
}

// Right after a restart Slack has not said yet which team we belong to: nobody is
// taken for a stranger for that, and nothing is opened until it has.
func TestApprovers_restartBeforeSlackAnswers(t *testing.T) {
	for _, down := range []time.Duration{30 * time.Second, 5 * minute, 20 * minute} {
		beside(t, down.String(), func(t *testing.T, s *stage) {
			s.asks(askProd)
			remove := s.stuckAtCheck()
			s.ben.presses("BG-1", "Approve")
			time.Sleep(10 * time.Second)
			s.stop()
			remove()
			back := s.slack.Inject(slacksim.Fault{Method: "auth.test", Answer: slacksim.Status(503)})
			s.launch()
			time.Sleep(down)
			s.untouched()
			if p := s.grant("BG-1").Phase; p == grant.Requested {
				t.Errorf("ben's approval was taken back although nobody has said anything about him\n%s", s.log)
			}
			back()
			if down < 10*minute {
				s.until("BG-1", "Open until", "approved by @ben")
				s.ana.says("revoke")
			}
			s.proven("BG-1")
			if n := len(s.thread("needs approval again")); n != 0 {
				t.Errorf("people were asked again:\n%s", s.wall())
			}
		}, quiet)
	}
}

// The token's own team is the one that counts for members of another.
func TestApprovers_memberOfAnotherTeamNow(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		remove := s.stuckAtCheck()
		s.ben.presses("BG-1", "Approve")
		s.slack.EditUser(ben, func(u *slacksim.User) { u.TeamID = "T0OTHER" })
		time.Sleep(70 * time.Second)
		remove()
		s.until("BG-1", "Requested", "may not approve any more")
		s.untouched()
	}, quiet)
}

// leaves waits until Run comes back by itself, and answers what it says.
func (s *stage) leaves(limit time.Duration) string {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.ended = nil
		s.end()
		if cerr := s.db.Close(); cerr != nil {
			s.t.Error(cerr)
		}
		if err == nil {
			s.t.Error("Run came back without a reason")
			return ""
		}
		return err.Error()
	case <-time.After(limit):
		s.t.Fatalf("Run goes on after %s\n%s", limit, s.log)
		return ""
	}
}

// A channel that is shared with another organisation, or about to be, or archived:
// the bot does not start there, and says why in a sentence.
func TestChannel_isNotOurs(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*slacksim.Channel)
		says string
	}{
		"shared":             {func(c *slacksim.Channel) { c.ExtShared = true }, "is shared with another organisation"},
		"about to be shared": {func(c *slacksim.Channel) { c.PendingExtShared = true }, "is shared with another organisation, or about to be"},
		"archived":           {func(c *slacksim.Channel) { c.Archived = true }, "is archived"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.slack.EditChannel(channel, c.edit)
			s.launch()
			if text := s.leaves(minute); !hasAll(text, []string{channel, c.says, "slack.channel"}) {
				t.Errorf("it says %q", text)
			}
			if n := len(s.slack.Calls("apps.connections.open")); n != 0 {
				t.Error("it has opened a socket")
			}
		}, quiet, idle)
		beside(t, name+" while access is open", func(t *testing.T, s *stage) {
			s.opens(askHour)
			s.visits()
			s.stop()
			s.slack.EditChannel(channel, c.edit)
			s.launch()
			text := s.leaves(3 * time.Hour)
			if !hasAll(text, []string{channel, c.says}) {
				t.Errorf("it says %q", text)
			}
			s.shut(s.cell)
			db, err := store.Open(s.path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if g, err := db.Grant(1); err != nil || g.Phase != grant.Closed {
				t.Errorf("BG-1 is %s (%v): it left before the proof", g.Phase, err)
			}
		}, quiet)
		beside(t, name+" is mended", func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.stop()
			s.slack.EditChannel(channel, c.edit)
			s.launch()
			time.Sleep(5 * minute)
			s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared, c.PendingExtShared, c.Archived = false, false, false })
			time.Sleep(minute)
			s.ana.says("revoke")
			s.proven("BG-1")
		}, quiet)
	}
	beside(t, "of the organisation", func(t *testing.T, s *stage) {
		s.opens(askProd) // within the company it may be shared
	}, quiet, func(c *setup) {
		c.slack.EnterpriseID = "E0ACME"
		c.before = func(s *stage) { s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.OrgShared = true }) }
	})
}

// Slack does not let the bot see that: it says so in its log, and goes on.
func TestChannel_cannotBeSeen(t *testing.T) {
	for name, change := range map[string]change{
		"scope": func(c *setup) {
			c.slack.BotScopes = []string{"commands", "chat:write", "users:read", "usergroups:read"}
		},
		"500": func(c *setup) {
			c.before = func(s *stage) {
				s.slack.Inject(slacksim.Fault{Method: "conversations.info", Answer: slacksim.Status(500)})
			}
		},
		"ok false": func(c *setup) {
			c.before = func(s *stage) {
				s.slack.Inject(slacksim.Fault{Method: "conversations.info", Answer: slacksim.RefuseSilently()})
			}
		},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			if !strings.Contains(s.log.String(), "channels:read") {
				t.Error("the log does not say what is missing")
			}
			s.opens(askProd)
		}, quiet, change)
	}
}

// The channel becomes shared while the bot runs: strangers decide nothing, and the
// next start is refused once nothing is open any more.
func TestChannel_becomesShared(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askHour)
		s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared = true; c.Members = append(c.Members, "U0STR") })
		str := person{s, s.slack.AddUser(slacksim.User{ID: "U0STR", Name: "str", Stranger: true, TeamID: "T0OTHER"})}
		a := str.clicks(s.card("BG-1"), "Revoke now")
		if s.grant("BG-1").Phase != grant.Open {
			t.Errorf("a stranger has revoked: %s", a.text)
		}
		s.ana.says("revoke")
		s.proven("BG-1")
		s.stop()
		s.launch()
		if text := s.leaves(minute); !strings.Contains(text, "is shared with another organisation") {
			t.Errorf("it says %q", text)
		}
	}, quiet)
}
