package bot_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// said lists when, after start, something was posted into threads that has all
// the words.
func (s *stage) said(start time.Time, words ...string) (at []time.Duration) {
	for _, m := range s.thread(words...) {
		at = append(at, m.At.Sub(start).Round(time.Second))
	}
	return at
}

func wantSaid(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s was said at %v, want %v", what, got, want)
	}
}

const minute = time.Minute

// An undecided request is brought up again, each time after twice as long, to
// those who can decide; then it lapses, and the requester is told.
func TestRemind_undecidedThenLapsed(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		start := time.Now()
		s.asks(askProd)
		time.Sleep(20 * minute)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Lapsed", "nobody had decided in 1 h", "Nothing was changed in AWS")
		if took := time.Since(start); took < time.Hour || took > time.Hour+5*time.Second {
			t.Errorf("it lapsed after %s, want 1 h", took)
		}
		wantSaid(t, "that it waits", s.said(start, "BG-1 has been waiting for"), 10*minute, 30*minute)
		first, second := s.thread("has been waiting for 10 min")[0], s.thread("has been waiting for 30 min")[0]
		if text := s.slack.Render(first); !hasAll(text, []string{"@ben", "@eva", "It needs 2 approvals", "lapses at"}) || strings.HasPrefix(text, "@ana") {
			t.Errorf("the first reminder is for those who can decide, and not for the requester:\n%s", text)
		}
		if text := s.slack.Render(second); strings.Contains(text, "@ben") || !hasAll(text, []string{"@eva", "It needs 1 more approval"}) {
			t.Errorf("who has approved need not be reminded:\n%s", text)
		}
		wantSaid(t, "that it lapsed", s.said(start, "@ana", "lapsed"), time.Hour)
		s.untouched()
		if b := s.card("BG-1").Buttons(); len(b) > 0 {
			t.Errorf("a lapsed card has buttons: %v", b)
		}
	}, approvals(2))
}

// Approvals at and after the instant of lapsing are refused.
func TestRemind_approveWhenItLapses(t *testing.T) {
	for name, late := range map[string]time.Duration{"at the instant": 0, "after": 10 * time.Second, "a second before": -time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.asks(askProd)
				token := s.grant("BG-1").Token
				time.Sleep(minute)
				s.asks(askProd) // its card is there to be clicked with the other's token
				time.Sleep(time.Until(s.grant("BG-1").RequestedAt.Add(time.Hour + late)))
				a := s.ben.presses("BG-2", "Approve", with("value", token))
				if late < 0 {
					s.until("BG-1", "Open until")
					return
				}
				a.refused(s, "BG-1", "lapsed", "nobody had decided", "Nothing changed")
				s.until("BG-1", "Lapsed")
				s.phase("BG-1", grant.Lapsed)
				s.untouched()
			}, quiet)
		})
	}
}

// Reminders while it is open, each once, to the requester.
func TestRemind_whileOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=5h", 1))
		open := s.grant("BG-1").OpenedAt
		s.until("BG-1", "Closing")
		s.proven("BG-1")
		wantSaid(t, "that Support does not know", s.said(open, "@ana", "does not know yet"), 15*minute)
		wantSaid(t, "that it is still open", s.said(open, "@ana", "is still open"), 120*minute, 240*minute)
		wantSaid(t, "that it ends in 30 min", s.said(open, "@ana", "ends in 30 min"), 270*minute)
		wantSaid(t, "that it ends in 10 min", s.said(open, "@ana", "ends in 10 min"), 290*minute)
		wantSaid(t, "that it ends", s.said(open, "ends in"), 270*minute, 290*minute)
	})
}

// The button in a reminder works.
func TestRemind_revokeFromTheReminder(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		time.Sleep(3*time.Hour + 31*minute)
		r := s.thread("ends in 30 min")
		if len(r) != 1 {
			t.Fatalf("no reminder:\n%s", s.wall())
		}
		s.inTime(s.ana.clicks(r[0], "Revoke now"), "Revoke now")
		s.proven("BG-1")
	})
}

// The bot is away while several reminders fall due: what no longer helps is not
// said, what does is said once.
func TestRemind_afterDowntime(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		end := s.grant("BG-1").End
		s.stop()
		time.Sleep(time.Until(end.Add(-5 * minute)))
		s.start()
		time.Sleep(minute)
		if got := s.thread("ends in"); len(got) != 1 || !strings.Contains(s.slack.Render(got[0]), "ends in 5 min") {
			t.Errorf("want one reminder, that it ends in 5 min:\n%s", s.wall())
		}
		s.proven("BG-1")
	})
}

func TestRemind_notAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		end := s.grant("BG-1").End
		s.stop()
		time.Sleep(time.Until(end.Add(2 * time.Hour)))
		s.start()
		s.proven("BG-1")
		time.Sleep(minute)
		if got := append(s.thread("ends in"), append(s.thread("still open"), s.thread("does not know")...)...); len(got) != 0 {
			t.Errorf("reminders of an access that was over:\n%s", s.wall())
		}
	})
}

// Restarts and power cuts around each reminder: never twice, and a restart never
// loses one.
func TestRemind_onceAcrossRestarts(t *testing.T) {
	for _, how := range []string{"restart just before", "restart just after", "restart while it is posted", "power cut after it was posted", "power cut before it was posted"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.opens(strings.Replace(askProd, "for=4h", "for=3h", 1))
				open := s.grant("BG-1").OpenedAt
				for _, at := range []time.Duration{15 * minute, 120 * minute, 150 * minute, 170 * minute} {
					switch how {
					case "restart just before":
						time.Sleep(time.Until(open.Add(at - time.Second)))
						s.restart()
					case "restart just after":
						time.Sleep(time.Until(open.Add(at)))
						s.restart()
					case "restart while it is posted":
						remove := s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", DelayAnswer: 2 * time.Second, Delay: 2 * time.Second})
						time.Sleep(time.Until(open.Add(at + time.Second)))
						s.restart()
						remove()
					default:
						fault := slacksim.Fault{Method: "chat.postMessage", Times: 1, When: func(c slacksim.Call) bool {
							s.cut()
							return true
						}, Answer: slacksim.Drop(), Done: how == "power cut after it was posted"}
						remove := s.slack.Inject(fault)
						time.Sleep(time.Until(open.Add(at + 5*time.Second)))
						remove()
						s.afterCut()
						s.start()
					}
				}
				s.proven("BG-1")
				for _, words := range []string{"does not know yet", "is still open", "ends in 30 min", "ends in 10 min"} {
					n := len(s.thread("@ana", words))
					if n > 1 || n == 0 && how != "power cut before it was posted" {
						t.Errorf("%q was said %d times, want once:\n%s", words, n, s.wall())
					}
				}
			})
		})
	}
}

// Slack refuses to take a reminder for a while: it comes when Slack lets it.
func TestRemind_rateLimited(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		open := s.grant("BG-1").OpenedAt
		time.Sleep(time.Until(open.Add(14 * minute)))
		s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 2, Answer: slacksim.RateLimited(20 * time.Second)})
		time.Sleep(5 * minute)
		wantSaid(t, "that Support does not know", s.said(open, "does not know yet"), 15*minute+40*time.Second)
	})
}
