package bot_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
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
				a = s.inTime(s.ana.clicks(a.Ephemerals()[0], "Revoke BG-1"), "Revoke BG-1")
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
