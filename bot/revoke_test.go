package bot_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

func askTest() string { return strings.Replace(askProd, prod, test, 1) }

func TestRevoke_whoMay(t *testing.T) {
	for name, c := range map[string]struct {
		who func(*stage) person
		may bool
	}{
		"requester": {func(s *stage) person { return s.ana }, true},
		"approver":  {func(s *stage) person { return s.eva }, true},
		"revoker":   {func(s *stage) person { return s.rob }, true},
		"nobody":    {func(s *stage) person { return s.mia }, false},
	} {
		for _, how := range []string{"command", "button"} {
			beside(t, name+" by "+how, func(t *testing.T, s *stage) {
				s.opens(askProd)
				var a answer
				if how == "command" {
					a = c.who(s).says("revoke BG-1")
				} else {
					a = c.who(s).presses("BG-1", "Revoke now")
				}
				if !c.may {
					a.refused(s, "You may not revoke BG-1", "only @ana who asked for it, the approvers and the revokers may", "Ask one of them now")
					s.phase("BG-1", grant.Open)
					return
				}
				s.proven("BG-1")
			})
		}
	}
}

// Taking access away must work while Slack says nothing about anyone.
func TestRevoke_whileEveryLookupFails(t *testing.T) {
	for name, who := range map[string]func(*stage) person{
		"requester": func(s *stage) person { return s.ana },
		"approver":  func(s *stage) person { return s.eva },
		"revoker":   func(s *stage) person { return s.rob },
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			time.Sleep(2 * time.Minute)
			for _, m := range []string{"users.info", "usergroups.users.list"} {
				s.slack.Inject(slacksim.Fault{Method: m, Answer: slacksim.Hang()})
			}
			if a := who(s).says("revoke BG-1"); a.After > time.Second {
				t.Errorf("the answer took %s: it waited for Slack", a.After)
			}
			s.proven("BG-1")
		}, func(c *setup) {
			c.people.Approvers.Groups = []grant.GroupID{group}
			c.people.Revokers.Groups = []grant.GroupID{group}
		})
	}
}

// Somebody known by a group alone is told that Slack does not say, in time, also
// where several grants are meant.
func TestRevoke_groupLookupHangsForSeveralGrants(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.AddUserGroup(slacksim.UserGroup{ID: "S0REVOKE", Members: []string{mia}})
		s.opens(askProd)
		s.opens(strings.Replace(askProd, vendor, vendor2, 1))
		s.opens(askTest())
		s.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Answer: slacksim.Hang()})
		s.mia.says("revoke "+prod).wants(t, "Slack did not say")
		m := s.mia.says("revoke all")
		if len(m.Ephemerals()) == 0 {
			t.Fatal("there is no question")
		}
		s.inTime(s.mia.clicks(m.Ephemerals()[0], "Revoke all"), "Revoke all").wants(t, "Slack did not say")
		for _, id := range []string{"BG-1", "BG-2", "BG-3"} {
			s.phase(id, grant.Open)
		}
	}, quiet, func(c *setup) {
		c.people.Revokers = bot.Circle{Groups: []grant.GroupID{"S0REVOKE"}}
	})
}

func TestRevoke_byIDInEveryForm(t *testing.T) {
	for _, form := range []string{"BG-1", "bg-1", "1", "Bg1", " BG-1 "} {
		bubble(t, func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.ana.says("revoke "+form).wants(t, "Revoking BG-1 now")
			s.proven("BG-1")
		})
	}
}

func TestRevoke_alone(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("revoke").wants(t, "Nothing is open", "nothing to revoke")
		s.opens(askProd)
		s.ana.says("revoke").wants(t, "Revoking BG-1 now")
		s.proven("BG-1")
	})
}

func TestRevoke_aloneWithSeveralOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(askTest())
		a := s.ana.says("revoke")
		a.wants(t, "Which one?", "Nothing is revoked yet", "BG-1", "BG-2")
		s.phase("BG-1", grant.Open)
		s.phase("BG-2", grant.Open)
		s.inTime(s.ana.clicks(a.Ephemerals()[0], "Revoke BG-2"), "Revoke BG-2")
		s.until("BG-2", "Closed")
		s.phase("BG-1", grant.Open)
		if _, err := s.assume(s.cell, vendor); err != nil {
			t.Errorf("BG-1 was to stay open: %v", err)
		}
		// The list is old by now: the button says who ended it, and ends no other.
		s.inTime(s.ana.clicks(a.Ephemerals()[0], "Revoke BG-2"), "Revoke BG-2").refused(s, "BG-2 is closed since", "revoked by @ana")
		s.phase("BG-1", grant.Open)
	})
}

func TestRevoke_byCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(strings.Replace(askProd, vendor, vendor2, 1))
		s.opens(askTest())
		s.rob.says("revoke "+prod).wants(t, "Revoking BG-1 and BG-2 now")
		s.until("BG-1", "Closed")
		s.until("BG-2", "Closed")
		s.shut(s.cell)
		s.phase("BG-3", grant.Open)
		s.rob.says("revoke "+prod).refused(s, "Nothing is open on helios-prod")
	}, quiet)
}

func TestRevoke_all(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(askTest())
		s.asks(askProd) // not decided: nothing to take away
		a := s.rob.says("revoke all")
		a.wants(t, "Revoke all 2?", "Nothing is revoked yet", "BG-1", "BG-2")
		s.phase("BG-1", grant.Open)
		s.inTime(s.rob.clicks(a.Ephemerals()[0], "Revoke all 2"), "Revoke all 2").wants(t, "Revoking BG-1 and BG-2 now")
		s.proven("BG-1")
		s.proven("BG-2")
		s.phase("BG-3", grant.Requested)
		s.inTime(s.rob.clicks(a.Ephemerals()[0], "Revoke all 2"), "Revoke all 2").wants(t, "waiting for a decision")
	}, quiet)
}

// Who may not revoke one of them does not keep the others open.
func TestRevoke_allByTheRequesterOfOne(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.mia.says(askTest())
		s.until("BG-2", "Checks:")
		s.ben.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
		a := s.mia.says("revoke all")
		s.inTime(s.mia.clicks(a.Ephemerals()[0], "Revoke all"), "Revoke all").wants(t, "Revoking BG-2 now", "1 other was not revoked")
		s.until("BG-2", "Closed")
		s.phase("BG-1", grant.Open)
	}, quiet)
}

func TestRevoke_undecidedRequestIsWithdrawn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.mia.says("revoke BG-1").refused(s, "You may not revoke BG-1")
		s.rob.says("revoke BG-1").wants(t, "BG-1 is withdrawn", "Nothing had been opened")
		s.until("BG-1", "Withdrawn by @rob")
		if got := s.thread("@ana", "withdrawn", "@rob"); len(got) != 1 {
			t.Errorf("the requester was not told:\n%s", s.wall())
		}
		s.untouched()
	})
}

func TestRevoke_whatIsNotThere(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("revoke BG-9").refused(s, "There is no grant BG-9 here", "Nothing changed", "/breakglass status")
		s.ana.says("revoke helios-nix").refused(s, "neither the id of a grant nor a cell", "Nothing changed")
		s.ana.says("revoke BG-0").refused(s, "neither the id")
		s.ana.says("revoke 99999999999999999999999").refused(s, "neither the id")
		s.ana.says("revoke "+test).refused(s, "Nothing is open on helios-test")
		s.ana.says("revoke all").wants(t, "Nothing is open")
		s.untouched()
	})
}

func TestRevoke_twice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.ana.says("revoke BG-1")
		s.rob.says("revoke BG-1").refused(s, "BG-1 is closing already (revoked by @ana)", "It goes on closing by itself")
		s.proven("BG-1")
		s.rob.says("revoke BG-1").refused(s, "BG-1 is closed since", "revoked by @ana")
	})
}

// Somebody revokes while AWS is at it: whichever call is under way, nothing stays.
func TestRevoke_whileOpening(t *testing.T) {
	for name, slow := range map[string]awssim.Fault{
		"each call slow":       {Latency: 2 * time.Second},
		"trust read hangs":     {Call: "iam:GetRole", From: 3, Count: 3, Latency: time.Hour},
		"trust write hangs":    {Call: "iam:UpdateAssumeRolePolicy", Count: 1, Latency: time.Hour},
		"trust write is slow":  {Call: "iam:UpdateAssumeRolePolicy", Latency: 10 * time.Second},
		"hard stop hangs":      {Call: "iam:PutRolePolicy", Count: 1, Latency: time.Hour},
		"preferences hang":     {Call: "ssm:UpdateDocument", Count: 1, Latency: time.Hour},
		"everything hangs":     {Latency: time.Hour, Count: 40},
		"trust write is lost":  {Call: "iam:UpdateAssumeRolePolicy", Count: 1, Kind: awssim.DropAfter, Latency: 10 * time.Second},
		"the caller's account": {Call: "sts:GetCallerIdentity", Count: 3, Latency: time.Hour},
	} {
		for _, after := range []time.Duration{0, 5 * time.Second, 12 * time.Second} {
			beside(t, name+" after "+after.String(), func(t *testing.T, s *stage) {
				s.asks(askProd)
				s.world.Inject(slow)
				s.ben.presses("BG-1", "Approve")
				time.Sleep(after)
				if g := s.grant("BG-1"); g.Phase == grant.Opening {
					s.until("BG-1", "Opening", "Revoke now")
				}
				revoked := time.Now()
				s.ana.says("revoke BG-1").wants(t, "Revoking BG-1 now")
				s.proven("BG-1")
				if took := time.Since(revoked); slow.Count == 1 && took > 100*time.Second {
					t.Errorf("closed after %s: it waited for the opening that hangs", took)
				}
				if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
					t.Errorf("the trust policy afterwards:\n%s", doc)
				}
			}, quiet)
		}
	}
}

// A refusal that Slack delivers again is told again, and means no other grant.
func TestRevoke_refusedTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Answer: slacksim.Status(503)})
		time.Sleep(2 * minute) // what was known of the group is too old
		a := s.mia.says("revoke BG-1")
		a.refused(s, "Slack did not say who is in the user group")
		s.slack.ClearFaults()
		again, err := s.slack.Redeliver(t.Context(), a.Interaction, true)
		if err != nil {
			t.Fatal(err)
		}
		s.seen(again).wants(t, "That was refused already", "Nothing changed")
		s.phase("BG-1", grant.Open)
	}, quiet, byGroup)
}
