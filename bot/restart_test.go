package bot_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// drive plays the people: whatever stands on the card is decided, used and ended,
// until the grant has ended.
func (s *stage) drive(id string, down func() bool) {
	s.t.Helper()
	began := time.Now()
	for {
		if down() {
			return
		}
		if time.Since(began) > 2*time.Hour {
			s.t.Errorf("%s has not ended after two hours\n%s\n%s", id, s.wall(), s.log)
			return
		}
		cards := s.cards(id)
		if len(cards) == 0 {
			if live, err := s.db.Live(); err == nil && len(live) == 0 {
				s.try(func() (slacksim.Interaction, error) {
					return s.ana.Slash(context.Background(), channel, "/breakglass", askProd, atHome)
				})
			}
			time.Sleep(time.Second)
			continue
		}
		card := cards[len(cards)-1]
		switch text := card.Text; {
		case strings.Contains(text, "· Requested ·"):
			s.try(func() (slacksim.Interaction, error) {
				return s.ben.Click(context.Background(), card, "Approve", atHome)
			})
		case strings.Contains(text, "· Open until"):
			s.try(func() (slacksim.Interaction, error) {
				return s.ana.Click(context.Background(), card, "Revoke now", atHome)
			})
		case strings.Contains(text, "· Closed ·"):
			return
		}
		time.Sleep(time.Second)
	}
}

// try does what a person does who may be told that it failed, and tries again.
func (s *stage) try(f func() (slacksim.Interaction, error)) {
	if _, err := f(); err != nil && !strings.Contains(err.Error(), "no such button") {
		s.t.Error(err)
	}
}

// interrupted plays a story until the bot's nth call, and ends the bot there: by
// "stop", a "power cut before" the call or a "power cut after" it. It answers false
// where the story needs fewer calls.
func (s *stage) interrupted(how string, n int, limit time.Duration, story func(down func() bool)) bool {
	s.t.Helper()
	var count atomic.Int32
	var down atomic.Bool
	at := make(chan struct{})
	h := &hook{func(*http.Request) {
		if int(count.Add(1)) != n {
			return
		}
		down.Store(true)
		if how != "stop" {
			s.cut()
		}
		close(at)
	}}
	if how == "power cut after" {
		s.power.after.Store(h)
	} else {
		s.power.each.Store(h)
	}
	go story(down.Load)
	select {
	case <-at:
	case <-time.After(limit):
		return false
	}
	if how == "stop" {
		s.stop()
	} else {
		s.afterCut()
	}
	return true
}

// callsOfAStory is what a whole story costs in calls, to AWS and to Slack.
func callsOfAStory(t *testing.T) (n int) {
	t.Helper()
	bubble(t, func(_ *testing.T, s *stage) {
		s.slack.SetRateLimits(slacksim.RateLimits{Off: true})
		var count atomic.Int32
		s.power.each.Store(&hook{func(*http.Request) { count.Add(1) }})
		s.drive("BG-1", func() bool { return false })
		n = int(count.Load())
	}, quiet)
	if n < 30 {
		t.Fatalf("a whole story is %d calls only", n)
	}
	return n
}

// The bot is stopped, or the power is cut, at every single call that it makes to
// AWS and Slack in a whole story: just before the call, or just after it. A new bot
// on the same file always ends it, closed and proven.
func TestRestart_atEveryCall(t *testing.T) {
	all := callsOfAStory(t)
	for _, how := range []string{"stop", "power cut before", "power cut after"} {
		t.Run(how, func(t *testing.T) {
			for n := 1; n <= all; n += often {
				beside(t, fmt.Sprint(n), func(t *testing.T, s *stage) {
					if !s.interrupted(how, n, time.Hour, func(down func() bool) { s.drive("BG-1", down) }) {
						return // this run needed fewer calls
					}
					time.Sleep(5 * time.Second)
					s.start()
					s.drive("BG-1", func() bool { return false })
					s.proven("BG-1")
					if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
						t.Errorf("the trust policy afterwards:\n%s", doc)
					}
					if live, err := s.db.Live(); err != nil || len(live) != 0 {
						t.Errorf("%d grants are still live (%v)", len(live), err)
					}
					if cards := s.cards("BG-1"); len(cards) > 2 {
						t.Errorf("there are %d cards", len(cards))
					}
				}, quiet)
			}
		})
	}
}

// The power is cut while it is open, and comes back after the end.
func TestRestart_awayAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		shell, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatal(err)
		}
		end := s.grant("BG-1").End
		s.crash()
		time.Sleep(time.Until(end) + 3*time.Hour)
		s.start()
		s.proven("BG-1")
		if _, err := shell.Type("whoami"); err == nil {
			t.Error("the shell is still open")
		}
	}, quiet)
}

// The bot is away while a request would have lapsed.
func TestRestart_awayAtTheLapse(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		card := s.card("BG-1")
		s.stop()
		time.Sleep(2 * time.Hour)
		// Nobody answers: Slack says so.
		a := s.answered(s.ben.Click(t.Context(), card, "Approve", atHome))
		if a.Acked || a.Failure == "" {
			t.Error("a click without a bot was acknowledged")
		}
		s.start()
		s.until("BG-1", "Lapsed")
		s.untouched()
	}, quiet)
}

// The bot is away for longer than the access while it is opening: nobody is told
// that it is open, and it ends closed.
func TestRestart_awayWhileOpening(t *testing.T) {
	for _, at := range []string{"ssm:UpdateDocument", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		beside(t, at, func(t *testing.T, s *stage) {
			s.asks(strings.Replace(askProd, "for=4h", "for=15m", 1))
			hit := make(chan struct{})
			var once atomic.Bool
			s.world.After(func(_ context.Context, c awssim.Call) {
				if c.Name() == at && once.CompareAndSwap(false, true) {
					s.cut()
					close(hit)
				}
			})
			s.inTime(s.ben.clicks(s.card("BG-1"), "Approve"), "Approve")
			<-hit
			s.afterCut()
			time.Sleep(time.Hour)
			from := len(s.slack.Changes(0))
			s.start()
			s.proven("BG-1")
			for _, c := range s.slack.Changes(from) {
				if strings.Contains(c.Message.Text, "Open until") {
					t.Errorf("somebody was told that it is open:\n%s", c.Message.Text)
				}
			}
		}, quiet)
	}
}

// Restarts say nothing twice.
func TestRestart_saysNothingTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.restart()
		s.restart()
		s.phase("BG-1", grant.Open)
		s.ana.says("revoke")
		s.restart()
		s.proven("BG-1")
		if n := len(s.thread("and proven")); n != 1 {
			t.Errorf("the proof stands %d times in the thread", n)
		}
		if n := len(s.thread("is open until")); n != 1 {
			t.Errorf("that it is open was said %d times", n)
		}
	}, quiet)
}

// The power is cut after the first of two grants was revoked, and Slack delivers
// the command to the next bot: both were meant, both end.
func TestRestart_betweenTwoRevokes(t *testing.T) {
	for _, how := range []string{"cell", "all"} {
		beside(t, how, func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.opens(strings.Replace(askProd, vendor, vendor2, 1))
			var once atomic.Bool
			cut := make(chan struct{})
			var a answer
			q := s.rob.says("revoke all")
			s.log.each = func(entry string) {
				if strings.Contains(entry, "event=revoke") && once.CompareAndSwap(false, true) {
					s.cut()
					close(cut)
				}
			}
			if how == "cell" {
				a = s.rob.tries("revoke " + prod)
			} else {
				a = s.rob.clicks(q.Ephemerals()[0], "Revoke all")
			}
			<-cut
			s.afterCut()
			s.start()
			if again, err := s.slack.Redeliver(t.Context(), a.Interaction, true); err != nil || !again.Acked {
				t.Errorf("acked %t (%v)", again.Acked, err)
			}
			time.Sleep(5 * time.Second)
			for _, id := range []string{"BG-1", "BG-2"} {
				if p := s.grant(id).Phase; p != grant.Closing && p != grant.Closed {
					t.Errorf("%s is %s: it was meant, too", id, p)
				}
			}
		}, quiet)
	}
}
