package bot_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

const moreTime = "Approve 1 h more"

// unfit are the ways in which the channel becomes no place to decide.
var unfit = map[string]struct {
	edit func(*slacksim.Channel)
	says string
}{
	"shared":             {func(c *slacksim.Channel) { c.ExtShared = true }, "is shared with another organisation"},
	"about to be shared": {func(c *slacksim.Channel) { c.PendingExtShared = true }, "is shared with another organisation, or about to be"},
}

func (s *stage) mend() {
	s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared, c.PendingExtShared, c.Archived = false, false, false })
}

// The channel becomes shared while the bot runs. Within ten minutes nothing is asked
// for or approved any more, in no way; what takes access away, and what only tells,
// works as ever; nothing new is posted. Mended, all goes on, and what waited is said.
func TestChannel_becomesSharedMeanwhile(t *testing.T) {
	for name, c := range unfit {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.asks(askTest())
			s.asks(askTest())
			s.asks(askTest())
			s.ana.says("extend BG-1 1h").wants(t, "Asked for 1 h more")
			s.until("BG-1", moreTime)
			s.ana.says("grant")
			form := s.ana.modal()
			s.ben.looks("things wait for you")
			s.cell2.Role.Trust(trustBy(byHand))
			s.slack.EditChannel(channel, c.edit)
			time.Sleep(11 * minute)
			posted := len(s.slack.Messages(channel))

			shared := []string{c.says, "nothing can be asked for or approved until that is mended", "Nothing changed"}
			s.ana.says("grant").refused(s, shared...)
			s.ana.says(askProd).refused(s, shared...)
			s.ana.says("emergency").refused(s, shared...)
			s.ana.says(strings.Replace(askProd, "grant", "emergency", 1)).refused(s, shared...)
			s.ana.says("extend BG-1 2h").refused(s, shared...)
			s.saysNo(s.ana.submits(form, good(nil)), shared...)
			s.ben.presses("BG-2", "Approve").refused(s, shared...)
			s.ben.chooses("BG-2", less).refused(s, shared...)
			s.ben.presses("BG-1", moreTime).refused(s, shared...)
			s.inTimeShortcut(s.mia, "request_access").refused(s, shared...)
			s.live(4)
			for _, id := range []string{"BG-2", "BG-3", "BG-4"} {
				s.phase(id, grant.Requested)
			}
			if n := len(s.grant("BG-1").Extension.Approvals); n != 0 {
				t.Errorf("more time has %d approvals", n)
			}

			s.mia.says("status").wants(t, "1 open", "3 waiting")
			s.mia.says("show BG-1").wants(t, "BG-1 · Open until")
			s.ana.presses("BG-1", "Mark as sent")
			s.until("BG-1", "Support was told")
			s.ben.presses("BG-2", "Deny")
			s.until("BG-2", "Denied")
			s.ana.presses("BG-3", "Withdraw")
			s.until("BG-3", "Withdrawn")
			s.rob.says("revoke BG-1").wants(t, "Revoking BG-1 now")
			s.until("BG-1", "Closed")
			s.shut(s.cell)
			time.Sleep(10 * minute)
			if n := len(s.slack.Messages(channel)); n != posted {
				t.Errorf("%d new messages stand in a channel that is shared:\n%s", n-posted, s.wall())
			}

			s.mend()
			time.Sleep(2 * minute)
			s.once("and proven")
			s.once("BG-2 was denied")
			if n := len(s.strays("Trust that no grant explains")); n != 1 {
				t.Errorf("what no grant explains is told %d times, want once", n)
			}
			s.opens(askProd)
			s.ana.says("revoke BG-5")
			s.until("BG-5", "Closed")
		}, quiet, mayDeclare, func(c *setup) { c.policy.Limits.Undecided = 4 * time.Hour })
	}
}

// Reminders that fell due meanwhile are one message afterwards, of what is so then.
func TestChannel_remindersWait(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared = true })
		time.Sleep(3*time.Hour + 35*minute)
		if m := s.thread("BG-1"); len(m) > 2 { // open, and perhaps one before it was noticed
			t.Errorf("a shared channel is told %d things", len(m))
		}
		before := len(s.thread())
		s.mend()
		time.Sleep(minute)
		if n := len(s.thread()) - before; n != 1 {
			t.Errorf("the reminders that waited are %d messages, want 1:\n%s", n, s.wall())
		}
		s.once("these reminders are late", "ends in", "Support does not know yet")
		s.proven("BG-1")
	})
}

// With access open the bot starts in a channel that is not ours, and lets people
// revoke from the first moment; nothing else; and leaves when nothing is open.
func TestChannel_isNotOursAndAccessIsOpen(t *testing.T) {
	for name, c := range unfit {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.asks(askTest())
			s.stop()
			s.slack.EditChannel(channel, c.edit)
			s.launch()
			if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			s.ben.presses("BG-2", "Approve").refused(s, c.says)
			s.ana.says(askProd).refused(s, c.says)
			s.phase("BG-2", grant.Requested)
			s.rob.presses("BG-1", "Revoke now")
			s.until("BG-1", "Closed")
			if text := s.leaves(minute); !hasAll(text, []string{channel, c.says, "slack.channel"}) {
				t.Errorf("it says %q", text)
			}
			s.shut(s.cell)
			// Nothing is open any more, so it does not start at all.
			s.launch()
			if text := s.leaves(minute); !strings.Contains(text, c.says) {
				t.Errorf("it says %q", text)
			}
		}, quiet)
	}
}

// Slack does not say for a while how it is with the channel: it counts as it was.
func TestChannel_slackDoesNotSay(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared = true })
		time.Sleep(11 * minute)
		remove := s.slack.Inject(slacksim.Fault{Method: "conversations.info", Answer: slacksim.Status(503)})
		s.mend()
		time.Sleep(5 * minute)
		s.ben.presses("BG-1", "Approve").refused(s, "is shared with another organisation")
		remove()
		time.Sleep(minute)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.slack.Inject(slacksim.Fault{Method: "conversations.info", Answer: slacksim.Status(503)})
		time.Sleep(30 * minute)
		s.opens(askTest())
	}, quiet)
}
