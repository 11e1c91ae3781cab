package bot_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// The card stands, with its buttons, within seconds of the request, whatever AWS
// does; the checks are edited in when they come.
func TestPost_cardStandsWhileAWSHangs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		// Longer than one check may take, and than the program waits for it.
		remove := s.world.Inject(awssim.Fault{Latency: 5 * time.Minute})
		s.ana.says(askProd)
		time.Sleep(3 * time.Second)
		m := s.card("BG-1")
		for _, b := range []string{"Approve 4 h", "Deny", "Withdraw"} {
			if _, err := m.Button(b); err != nil {
				t.Error(err)
			}
		}
		if text := s.slack.Render(m); !strings.Contains(text, "Checks are running") {
			t.Errorf("the card does not say that the checks are running:\n%s", text)
		}
		time.Sleep(2 * time.Minute)
		remove()
		s.until("BG-1", "Requested", "Checks:")
		s.eva.presses("BG-1", "Deny")
		s.until("BG-1", "Denied")
	}, quiet)
}

// The checks take half a minute: the very card that stands is edited.
func TestPost_checksAreEditedIn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Latency: 3 * time.Second})
		s.ana.says(askProd)
		time.Sleep(2 * time.Second)
		ts := s.card("BG-1").TS
		s.until("BG-1", "Checks: 10 ok", "What approving does")
		if cards := s.cards("BG-1"); len(cards) != 1 || cards[0].TS != ts {
			t.Errorf("there are %d cards, want the first one edited", len(cards))
		}
	}, quiet)
}

// Approved before the checks have come: the opening checks by itself.
func TestPost_approvedBeforeTheChecks(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Latency: 2 * time.Second})
		s.ana.says(askProd)
		time.Sleep(time.Second)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// Slack says when to come again, and is not asked before.
func TestPost_retryAfterIsHonoured(t *testing.T) {
	for _, method := range []string{"chat.postMessage", "chat.update"} {
		t.Run(method, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				if method == "chat.update" {
					s.asks(askProd)
					time.Sleep(time.Minute)
				}
				s.slack.Inject(slacksim.Fault{Method: method, Times: 1, Answer: slacksim.RateLimited(25 * time.Second)})
				if method == "chat.update" {
					s.ben.presses("BG-1", "Approve")
					s.until("BG-1", "Open until")
				} else {
					s.ana.says(askProd)
					s.until("BG-1", "Requested", "Checks:")
				}
				var last time.Time
				for _, c := range s.slack.Calls(method) {
					if !last.IsZero() && c.At.Sub(last) < 25*time.Second {
						t.Errorf("%s was called again %s after Slack had asked for 25 s", method, c.At.Sub(last))
					}
					last = time.Time{}
					if c.Status == 429 {
						last = c.At
					}
				}
			}, quiet)
		})
	}
}

// Slack drops the connection after it has posted: what became of it is not known.
// At least one card stands, and the buttons of each work.
func TestPost_outcomeUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Done: true, Answer: slacksim.Drop()})
		s.ana.says(askProd)
		s.until("BG-1", "Requested", "Checks:")
		cards := s.cards("BG-1")
		if len(cards) < 1 || len(cards) > 2 {
			t.Fatalf("there are %d cards:\n%s", len(cards), s.wall())
		}
		// The first, which the bot does not know of.
		s.inTime(s.ben.clicks(cards[0], "Approve"), "Approve")
		s.until("BG-1", "Open until")
		s.phase("BG-1", grant.Open)
		s.inTime(s.eva.clicks(s.cards("BG-1")[0], "Approve"), "Approve").refused(s, "BG-1 is open until", "approved by @ben")
		s.ana.presses("BG-1", "Revoke now")
		s.proven("BG-1")
	}, quiet)
}

func TestPost_cardIsDeleted(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.slack.DeleteMessage(channel, s.card("BG-1").TS)
		s.eva.says("show BG-1") // nothing moves by itself
		s.ben.tries("status")
		if len(s.cards("BG-1")) != 0 {
			t.Error("there is a card already")
		}
		s.asks(askProd) // the other's card is there to be clicked with the token
		s.ben.presses("BG-2", "Approve", with("value", s.grant("BG-1").Token))
		s.until("BG-1", "Open until", "Revoke now")
		s.ana.presses("BG-1", "Revoke now")
		s.proven("BG-1")
		if n := len(s.cards("BG-1")); n != 1 {
			t.Errorf("there are %d cards, want one", n)
		}
		if got := s.thread("and proven"); len(got) != 1 || got[0].ThreadTS != s.card("BG-1").TS {
			t.Errorf("the proof is not in the new card's thread:\n%s", s.wall())
		}
	}, quiet)
}

// Slack dislikes the blocks: the words get through.
func TestPost_invalidBlocks(t *testing.T) {
	for _, code := range []string{"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"} {
		t.Run(code, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				withBlocks := func(c slacksim.Call) bool { return c.Args["blocks"] != "" }
				for _, m := range []string{"chat.postMessage", "chat.update"} {
					s.slack.Inject(slacksim.Fault{Method: m, When: withBlocks, Answer: slacksim.Refuse(code)})
				}
				s.ana.says(askProd)
				time.Sleep(10 * time.Second)
				m := s.card("BG-1")
				if !hasAll(m.Text, []string{"Requested", "stuck node pool", "48213", "Checks:"}) {
					t.Errorf("the words did not get through:\n%s", m.Text)
				}
				if n := len(s.slack.Calls("")); n > 40 {
					t.Errorf("%d calls: a hot loop", n)
				}
			}, quiet)
		})
	}
}

// The bot is not in the channel (any more), or the channel is gone: it tries again,
// ever more slowly, and says it in the log; AWS goes on.
func TestPost_channelRefuses(t *testing.T) {
	for _, code := range []string{"channel_not_found", "not_in_channel", "is_archived", "restricted_action", "internal_error"} {
		t.Run(code, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				remove := s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Answer: slacksim.Refuse(code)})
				s.ana.says(askProd)
				time.Sleep(time.Hour)
				n := len(s.slack.Calls("chat.postMessage"))
				if n < 30 || n > 90 {
					t.Errorf("%d tries in an hour, want about one a minute after a few quick ones", n)
				}
				if !strings.Contains(s.log.String(), code) {
					t.Errorf("the log does not name %s", code)
				}
				remove()
				s.until("BG-1", "Requested", "Checks:")
				s.ben.presses("BG-1", "Approve")
				s.until("BG-1", "Open until")
			}, quiet, func(c *setup) { c.policy.Limits.Undecided = 3 * time.Hour })
		})
	}
}

// No message can be edited, or posted, for hours while access opens and ends: AWS
// is not waited for, and the card tells the end of it afterwards.
func TestPost_nothingCanBeSaidWhileItOpensAndCloses(t *testing.T) {
	for name, f := range map[string]slacksim.Answer{"500": slacksim.Status(500), "hanging": slacksim.Hang(), "HTML": slacksim.Page(), "ok false": slacksim.RefuseSilently()} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.asks(strings.Replace(askProd, "for=4h", "for=1h", 1))
				card := s.card("BG-1")
				for _, m := range []string{"chat.update", "chat.postMessage"} {
					s.slack.Inject(slacksim.Fault{Method: m, Answer: f})
				}
				s.inTime(s.ben.clicks(card, "Approve"), "Approve")
				time.Sleep(5 * time.Second)
				s.phase("BG-1", grant.Open)
				time.Sleep(2 * time.Hour)
				s.phase("BG-1", grant.Closed)
				s.shut(s.cell)
				if n := len(s.slack.Calls("chat.update")); n > 300 {
					t.Errorf("%d edits were tried in two hours", n)
				}
				s.slack.ClearFaults()
				s.proven("BG-1")
			}, quiet)
		})
	}
}

// Progress is told step by step, on the card.
func TestPost_stepsOnTheCard(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Latency: 500 * time.Millisecond})
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Opening", "▸ Check: running", "○ Trust: waiting", "Revoke now")
		s.until("BG-1", "✓ Check: done", "▸ Logging: running")
		s.until("BG-1", "✓ Logging: done", "▸ Hard stop: running")
		s.until("BG-1", "✓ Hard stop: done", "▸ Trust: running")
		s.until("BG-1", "Open until")
		s.ana.presses("BG-1", "Revoke now")
		s.until("BG-1", "Closing", "✓ Trust: done", "✓ Credentials: done", "▸ Sessions: running")
		s.proven("BG-1")
	}, quiet)
}

// Only the newest state of a card is worth posting: what piled up while Slack did
// not answer is one edit.
func TestPost_onlyTheNewestState(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		card := s.card("BG-1")
		edits := len(s.slack.Calls("chat.update"))
		remove := s.slack.Inject(slacksim.Fault{Method: "chat.update", Answer: slacksim.Status(503)})
		s.inTime(s.ben.clicks(card, "Approve"), "Approve")
		time.Sleep(time.Minute)
		s.ana.says("revoke")
		time.Sleep(5 * time.Minute)
		remove()
		s.proven("BG-1")
		synctest.Wait()
		done := 0
		for _, c := range s.slack.Calls("chat.update")[edits:] {
			if c.Error == "" && c.Status == 200 {
				done++
			}
		}
		if done != 1 {
			t.Errorf("%d edits reached Slack after it had been away, want the newest alone", done)
		}
		time.Sleep(10 * time.Minute)
		if n := len(s.thread("and proven")); n != 1 {
			t.Errorf("the proof stands %d times in the thread", n)
		}
	}, quiet)
}

// A card that nobody touches costs no calls to Slack but the look at the channel, six
// an hour, and to AWS only the look once a minute.
func TestPost_idleIsQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		time.Sleep(time.Minute)
		theirs := func() int { return len(s.slack.Calls("")) - len(s.slack.Calls("conversations.info")) }
		slack, aws, writes := theirs(), len(s.world.Calls()), len(s.world.Writes())
		time.Sleep(3 * time.Hour)
		if n := theirs() - slack; n != 0 {
			t.Errorf("%d calls to Slack in three quiet hours", n)
		}
		if n := len(s.slack.Calls("conversations.info")); n > 20 {
			t.Errorf("%d looks at the channel in three quiet hours", n)
		}
		const looks = 180
		if n := len(s.world.Calls()) - aws; n < looks || n > 10*looks {
			t.Errorf("%d calls to AWS in three quiet hours, want some for each of %d looks", n, looks)
		}
		for _, c := range s.world.Writes()[writes:] {
			if c.Op != "AssumeRole" {
				t.Errorf("a look changed AWS: %s", c.Name())
			}
		}
	}, quiet)
}
