package bot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// twoOnOneRole opens a grant for each of two of SingleStore's roles.
func (s *stage) twoOnOneRole() {
	s.t.Helper()
	s.opens(askProd)
	s.opens(strings.Replace(askProd, vendor, vendor2, 1))
}

// comes has somebody of SingleStore's open a shell.
func (s *stage) comes(as string) *awssim.Shell {
	s.t.Helper()
	key, err := s.assume(s.cell, as)
	if err != nil {
		s.t.Fatalf("assuming the role as %s: %v", as, err)
	}
	shell, err := s.shell(s.cell, "us-east-1", key)
	if err != nil {
		s.t.Fatalf("opening a shell: %v", err)
	}
	return shell
}

// Two tickets on one role. Revoking one would cut the shell of the other, which
// AWS cannot tell apart: the person is told before anything happens, and the
// other's thread says why its shell went. Its access goes on.
func TestOverlap_isToldBeforeRevoking(t *testing.T) {
	for _, how := range []string{"by command", "by the card"} {
		beside(t, how, func(t *testing.T, s *stage) {
			s.twoOnOneRole()
			shell := s.comes(vendor2)
			time.Sleep(2 * minute)
			var a answer
			if how == "by command" {
				a = s.ana.says("revoke BG-1")
				a.wants(t, "Nothing is revoked yet", "BG-2", "1 shell is open")
				s.phase("BG-1", grant.Open)
				s.inTime(s.ana.clicks(a.Ephemerals()[0], "Revoke BG-1"), "Revoke BG-1")
			} else {
				if !strings.Contains(s.slack.Render(s.card("BG-1")), "Revoke now") || !strings.Contains(question(s, "BG-1"), "BG-2") {
					t.Errorf("the card does not say whom revoking cuts off: %q", question(s, "BG-1"))
				}
				s.ana.presses("BG-1", "Revoke now")
			}
			s.until("BG-1", "Closed")
			if !ended(shell) {
				t.Error("the shell lives, although AWS cannot tell whose it is")
			}
			s.once("BG-2 on helios-prod: its shells and credentials were cut", "BG-1 on the same role was ended")
			s.phase("BG-2", grant.Open)
			if strings.Contains(question(s, "BG-2"), "BG-1") {
				t.Error("the card of BG-2 still speaks of BG-1, which has ended")
			}
			time.Sleep(minute)
			s.comes(vendor2) // may come in again
			s.ana.says("revoke BG-2")
			s.proven("BG-2")
		}, quiet)
	}
}

// ended reports whether a shell is over.
func ended(shell *awssim.Shell) bool {
	_, err := shell.Type("whoami")
	return errors.Is(err, awssim.ErrSessionEnded)
}

// question is what the card's Revoke now asks.
func question(s *stage, id string) string {
	for _, b := range s.card(id).Buttons() {
		if strings.HasPrefix(b.Text, "Revoke") {
			return b.Confirm
		}
	}
	return ""
}

// Where nobody of the other is in, or the same SingleStore role stays trusted,
// there is nothing to ask.
func TestOverlap_nothingToAsk(t *testing.T) {
	beside(t, "nobody is in", func(t *testing.T, s *stage) {
		s.twoOnOneRole()
		time.Sleep(2 * minute)
		s.ana.says("revoke BG-1").wants(t, "Revoking BG-1 now")
		s.until("BG-1", "Closed")
		s.phase("BG-2", grant.Open)
	}, quiet)
	beside(t, "the same role", func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(askProd)
		shell := s.comes(vendor)
		time.Sleep(2 * minute)
		s.ana.says("revoke BG-1").wants(t, "Revoking BG-1 now")
		s.until("BG-1", "Closed")
		if ended(shell) {
			t.Error("the shell was ended, although BG-2 keeps it")
		}
		if m := s.thread("were cut"); len(m) != 0 {
			t.Error("BG-2 is told that its shells were cut")
		}
	}, quiet)
}

// loggedElsewhere has the region's sessions logged to another group.
func loggedElsewhere(c *setup) {
	c.policy.Reminders = grant.Reminders{}
	c.before = func(s *stage) {
		s.cell.Region.LogGroup("/aws/ssm/other/cluster")
		s.cell.Region.Preferences(strings.Replace(preferencesBefore, `"cloudWatchLogGroupName":""`, `"cloudWatchLogGroupName":"/aws/ssm/other/cluster"`, 1))
	}
}

// Opening would move the logs of the whole region. Approving asks for that by
// name; an approval that did not ask, or came before the checks, does not count.
func TestRedirect_needsAYesThatNamesBoth(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		card := s.card("BG-1")
		q := ""
		for _, b := range card.Buttons() {
			if strings.HasPrefix(b.Text, "Approve") {
				q = b.Confirm
			}
		}
		for _, w := range []string{"/aws/ssm/other/cluster", "/aws/ssm/helios-prod/cluster"} {
			if !strings.Contains(q, w) {
				t.Errorf("approving does not ask about %s: %q", w, q)
			}
		}
		s.ben.presses("BG-1", "Approve", asIfPlain).refused(s, "/aws/ssm/other/cluster", "/aws/ssm/helios-prod/cluster", "Nothing is approved yet")
		s.phase("BG-1", grant.Requested)
		s.untouched()
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.ana.says("revoke")
		s.proven("BG-1")
	}, loggedElsewhere)
}

// asIfPlain makes a click look as if the card had not asked.
func asIfPlain(payload map[string]any) {
	for _, a := range payload["actions"].([]any) {
		a := a.(map[string]any)
		a["action_id"] = "approve"
		a["value"], _, _ = strings.Cut(a["value"].(string), ":")
	}
}

// Approved before the checks were on the card: when opening would move the logs
// the approvers are asked again, and nothing was changed.
func TestRedirect_approvedUnseen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Tune(func(k *awssim.Knobs) { k.Latency = 3 * time.Second })
		s.ana.says(askProd)
		s.until("BG-1", "Requested")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Requested", "needs approval again", "Checks:", "/aws/ssm/other/cluster")
		s.untouched()
		s.once("needs approval again", "/aws/ssm/other/cluster")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, loggedElsewhere)
}

// The instance is replaced between the request and its approval: what was on the
// card is not what would happen, so people decide again, on what would.
func TestReplan_asksAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.cell.Instance.State("terminated")
		s.cell.Region.Instance("i-0fedcba9876543210").Name("Privileged access instance").Profile("privileged-access-"+prod).
			Tag("kubernetes.io/cluster/"+prod, "owned").Tag("eks:cluster-name", prod)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Requested", "Why it needs approval again", "Approvals: 0 of 1", "Checks:")
		s.untouched()
		s.once("needs approval again")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.ana.says("revoke")
		s.proven("BG-1")
	}, quiet)
}

// revoke CELL and revoke all end all of a role together: nobody is left whose
// shells were cut, so nobody is told so.
func TestOverlap_revokedTogether(t *testing.T) {
	for _, how := range []string{prod, "all"} {
		beside(t, how, func(t *testing.T, s *stage) {
			s.twoOnOneRole()
			shells := []*awssim.Shell{s.comes(vendor), s.comes(vendor2)}
			time.Sleep(2 * minute)
			a := s.rob.says("revoke " + how)
			if how == "all" {
				s.inTime(s.rob.clicks(a.Ephemerals()[0], "Revoke all"), "Revoke all")
			}
			s.until("BG-1", "Closed")
			s.proven("BG-2")
			for _, shell := range shells {
				if !ended(shell) {
					t.Error("a shell lives")
				}
			}
			if m := s.thread("were cut"); len(m) != 0 {
				t.Errorf("somebody is told that their access goes on:\n%s", s.wall())
			}
		}, quiet)
	}
}

// The clock ends one of two on a role, and asks nobody: the other is told once why
// its shell went, whatever power cuts there are meanwhile, and may come in again.
func TestOverlap_endsByTheClock(t *testing.T) {
	for n := range 24 {
		beside(t, fmt.Sprint("power cut ", n), func(t *testing.T, s *stage) {
			s.opens(strings.Replace(askProd, "for=4h", "for=10m", 1))
			s.opens(strings.Replace(askProd, vendor, vendor2, 1))
			shell := s.comes(vendor2)
			time.Sleep(time.Until(s.grant("BG-1").End.Add(-time.Second)))
			var count atomic.Int32
			var over atomic.Bool
			at := make(chan struct{})
			s.world.After(func(context.Context, awssim.Call) {
				if !over.Load() && int(count.Add(1)) == n {
					s.cut()
					close(at)
				}
			})
			select {
			case <-at:
				s.afterCut()
				time.Sleep(time.Second)
				s.start()
			case <-time.After(90 * time.Second):
				over.Store(true)
			}
			s.until("BG-1", "Closed")
			time.Sleep(2 * minute)
			if !ended(shell) {
				t.Error("the shell lives, although AWS cannot tell whose it is")
			}
			s.once("BG-2 on helios-prod: its shells and credentials were cut")
			s.phase("BG-2", grant.Open)
			s.comes(vendor2)
			s.ana.says("revoke BG-2")
			s.proven("BG-2")
		}, quiet, readsHistory)
	}
}

// Two cells use one role. Revoking what is open on the one cuts the shells of the
// other: the person is told before.
func TestOverlap_ofAnotherCell(t *testing.T) {
	beside(t, "by id", func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(strings.Replace(strings.Replace(askProd, vendor, vendor2, 1), prod, test, 1))
		key, err := s.assume(s.cell2, vendor2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell2, "eu-west-1", key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * minute)
		for _, what := range []string{"BG-1", prod} {
			s.ana.says("revoke "+what).wants(t, "Nothing is revoked yet", "BG-2", "1 shell is open")
			s.phase("BG-1", grant.Open)
		}
	}, quiet, oneRole)
}

// redirects has somebody send the session logs of the region to such a group.
func (s *stage) redirects(group string) {
	s.cell.Region.LogGroup(group)
	s.cell.Region.Preferences(strings.Replace(preferencesBefore, `"cloudWatchLogGroupName":""`, `"cloudWatchLogGroupName":"`+group+`"`, 1))
}

// Between approval and opening somebody sends the logs of the region elsewhere. The
// approvers are asked again, as often as that happens, and two of them must have
// seen the same; a power cut in between changes nothing.
func TestRedirect_betweenApprovalAndOpening(t *testing.T) {
	for _, cut := range []bool{false, true} {
		beside(t, fmt.Sprint("power cut ", cut), func(t *testing.T, s *stage) {
			s.asks(askProd)
			approve := func(people ...person) {
				for _, p := range people {
					p.presses("BG-1", "Approve")
				}
			}
			for n := range 3 {
				group := fmt.Sprintf("/aws/ssm/other-%d/cluster", n)
				approve(s.ben)
				if n == 1 {
					time.Sleep(minute)
				}
				s.redirects(group)
				if cut {
					at := make(chan struct{})
					var hit atomic.Bool
					remove := s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
						if c.Service == "ssm" && hit.CompareAndSwap(false, true) {
							s.cut()
							close(at)
						}
						return nil
					})
					s.inTime(s.eva.clicks(s.card("BG-1"), "Approve"), "Approve")
					select {
					case <-at:
						s.afterCut()
						s.start()
					case <-time.After(minute):
						t.Error("the preferences were not looked at")
					}
					remove()
				} else {
					approve(s.eva)
				}
				s.until("BG-1", "Requested", "needs approval again", "Approvals: 0 of 2", "Checks:", group)
				s.untouched()
			}
			approve(s.ben)
			s.phase("BG-1", grant.Requested)
			approve(s.eva)
			s.until("BG-1", "Open until")
			if n := len(s.thread("needs approval again")); n != 3 {
				t.Errorf("people were asked again %d times, want 3:\n%s", n, s.wall())
			}
			s.ana.says("revoke")
			s.proven("BG-1")
		}, quiet, approvals(2), readsHistory)
	}
}

// One of two approvers agreed to one redirection and the other to another: nobody
// has agreed to what would happen.
func TestRedirect_twoSawDifferentThings(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		old := s.card("BG-1")
		s.ben.presses("BG-1", "Approve") // to the one on the card
		s.redirects("/aws/ssm/third/cluster")
		s.inTime(s.eva.late(old, approveOf(old)), "Approve")
		s.until("BG-1", "Requested", "needs approval again", "/aws/ssm/third/cluster", "Approvals: 0 of 2")
		s.untouched()
		s.eva.late(old, approveOf(old)).refused(s, "/aws/ssm/third/cluster", "Nothing is approved yet")
	}, loggedElsewhere, approvals(2))
}

// approveOf is the label of a card's Approve button.
func approveOf(m slacksim.Message) string {
	for _, b := range m.Buttons() {
		if strings.HasPrefix(b.Text, "Approve") {
			return b.Text
		}
	}
	return ""
}

// Several are open on a cell, and revoking them cuts the shells of another cell on
// the same role: after the question all that were asked about end, and no other.
func TestOverlap_wholeCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(askProd) // for the same SingleStore role: neither alone cuts anybody
		s.opens(strings.Replace(strings.Replace(askProd, vendor, vendor2, 1), prod, test, 1))
		key, err := s.assume(s.cell2, vendor2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell2, "eu-west-1", key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * minute)
		a := s.ana.says("revoke " + prod)
		a.wants(t, "Revoke BG-1 and BG-2, and cut others off?", "Nothing is revoked yet", "BG-3", "1 shell is open")
		for _, id := range []string{"BG-1", "BG-2", "BG-3"} {
			s.phase(id, grant.Open)
		}
		button := "Revoke all on helios-prod"
		hers := s.mia.says("revoke " + prod).Ephemerals()[0]
		s.inTime(s.mia.clicks(hers, button), button).refused(s, "You may not revoke BG-1")
		s.phase("BG-1", grant.Open)
		s.inTime(s.ana.clicks(a.Ephemerals()[0], button), button).wants(t, "Revoking BG-1 and BG-2 now")
		s.until("BG-1", "Closed")
		s.until("BG-2", "Closed")
		s.phase("BG-3", grant.Open)
		// Pressed again there is nothing left to end, and the other cell stays as it is.
		s.inTime(s.ana.clicks(a.Ephemerals()[0], button), button).wants(t, "1 open", "BG-3")
		s.phase("BG-3", grant.Open)
		s.ana.says("revoke BG-3")
		s.proven("BG-3")
	}, quiet, oneRole)
}
