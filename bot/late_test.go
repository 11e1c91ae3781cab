package bot_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// everyReminder are words of each reminder of an open grant, alone or together
// with others.
var everyReminder = map[string][]string{
	"unsent":     {"does not know"},
	"still open": {"still open", "Still open"},
	"30 min":     {"ends in 30 min", "Ends in 30 min", "ends in 25 min", "Ends in 25 min", "in 25 min"},
	"10 min":     {"ends in 10 min", "Ends in 10 min"},
}

// timesSaid counts the messages in threads that have any of the words.
func (s *stage) timesSaid(words ...string) (n int) {
	for _, m := range s.thread() {
		text := s.slack.Render(m)
		for _, w := range words {
			if strings.Contains(text, w) {
				n++
				break
			}
		}
	}
	return n
}

// awayForHours has the bot be away while reminders fall due, until 25 minutes before
// the end; one more comes after it is back.
func awayForHours(s *stage, ask string) (end time.Time) {
	s.opens(ask)
	end = s.grant("BG-1").End
	time.Sleep(5 * minute)
	s.stop()
	time.Sleep(time.Until(end.Add(-25 * minute)))
	return end
}

// The bot was away for hours, and several reminders fell due: people get one
// message for all of them, and what comes after it in its time.
func TestLate_oneMessage(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		awayForHours(s, askProd)
		before := len(s.thread())
		s.start()
		time.Sleep(minute)
		late := s.thread("these reminders are late", "because the bot was away", "@ana")
		if len(late) != 1 || len(s.thread())-before != 1 {
			t.Fatalf("%d messages, %d of them about late reminders, want one:\n%s", len(s.thread())-before, len(late), s.wall())
		}
		text := s.slack.Render(late[0])
		if !hasAll(text, []string{"25 min", "not know", "[ Revoke now", "[ Mark as sent"}) {
			t.Errorf("the message:\n%s", text)
		}
		s.restart()
		time.Sleep(20 * minute)
		if n := len(s.thread("reminders are late")); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		s.once("ends in 10 min")
		s.inTime(s.ana.clicks(late[0], "Revoke now"), "Revoke now")
		s.proven("BG-1")
	})
}

// Whatever happens while the late ones are said, each is said at most once.
func TestLate_onceAcrossPowerCuts(t *testing.T) {
	for _, how := range []string{"power cut before", "power cut after", "stop"} {
		for n := 1; n <= 10; n++ {
			beside(t, fmt.Sprint(how, " ", n), func(t *testing.T, s *stage) {
				end := awayForHours(s, askHour)
				var count atomic.Int32
				var over atomic.Bool
				at := make(chan struct{})
				hit := func(r *http.Request) {
					if over.Load() || !strings.Contains(r.URL.Path, "/api/") || int(count.Add(1)) != n {
						return
					}
					if how != "stop" {
						s.cut()
					}
					close(at)
				}
				s.launchWith(func(p *power) {
					if how == "power cut after" {
						p.after.Store(&hook{hit})
					} else {
						p.each.Store(&hook{hit})
					}
				})
				select {
				case <-at:
					if how == "stop" {
						s.stop()
					} else {
						s.afterCut()
					}
					s.start()
				case <-time.After(2 * minute):
					over.Store(true) // this run needs fewer calls
				}
				time.Sleep(time.Until(end))
				for what, words := range everyReminder {
					if got := s.timesSaid(words...); got > 1 {
						t.Errorf("%s was said %d times:\n%s", what, got, s.wall())
					}
				}
				s.proven("BG-1")
			})
		}
	}
}

// launchWith launches the bot on a line that is tapped before anything goes over
// it.
func (s *stage) launchWith(tap func(*power)) {
	s.t.Helper()
	usual := s.conf.hands
	defer func() { s.conf.hands = usual }()
	s.conf.hands = func(a bot.AWS) bot.AWS { // made before the bot is
		tap(s.power)
		if usual != nil {
			return usual(a)
		}
		return a
	}
	s.launch()
}

// Reminders that fall due at the same moment are no sign that the bot was away.
func TestLate_notWhenItWasThere(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		time.Sleep(121 * minute)
		if n := len(s.thread("the bot was away")); n != 0 {
			t.Errorf("the bot was there all the time:\n%s", s.wall())
		}
		if n := s.timesSaid("still open", "ends in", "does not know", "Still open", "Ends in"); n == 0 {
			t.Errorf("nothing was said:\n%s", s.wall())
		}
	}, func(c *setup) {
		c.policy.Reminders = grant.Reminders{StillOpen: 2 * time.Hour, Unsent: 2 * time.Hour, BeforeEnd: []time.Duration{2 * time.Hour}}
	})
}

// Nothing late is said about what has ended meanwhile, or ends as the bot is back.
func TestLate_notOfWhatHasEnded(t *testing.T) {
	for how, story := range map[string]func(s *stage){
		"lapsed": func(s *stage) { s.asks(askProd) },
		"closed": func(s *stage) { s.opens(askProd) },
		"asked for more time": func(s *stage) {
			s.opens(askProd)
			s.ana.says("extend BG-1 2h")
			s.until("BG-1", "More time?")
		},
	} {
		beside(t, how, func(t *testing.T, s *stage) {
			story(s)
			before := len(s.thread())
			s.stop()
			time.Sleep(5 * time.Hour)
			s.start()
			if how == "lapsed" {
				s.until("BG-1", "Lapsed")
			} else {
				s.proven("BG-1")
			}
			time.Sleep(5 * minute)
			for _, m := range s.thread()[before:] {
				text := s.slack.Render(m)
				if strings.Contains(text, "because the bot was away") || strings.Contains(text, "waiting") || strings.Contains(text, "ends in") || strings.Contains(text, "has waited") || strings.Contains(text, "does not know") {
					t.Errorf("it is over, and people are told:\n%s", text)
				}
			}
		})
	}
}

// A request waits while the bot is away: one reminder, of all that were due.
func TestLate_undecided(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		time.Sleep(5 * minute)
		s.crash()
		time.Sleep(40 * minute)
		s.start()
		time.Sleep(minute)
		s.crash()
		s.start()
		time.Sleep(minute)
		if n := s.timesSaid("waiting for", "Waiting"); n != 1 {
			t.Errorf("it was said %d times:\n%s", n, s.wall())
		}
		s.until("BG-1", "Lapsed")
	})
}

const askNow = "emergency cell=helios-prod arn=" + vendor + " ticket=48213 for=10m reason=all is down"

// wantsReview says that the review of BG-1 is owed, and has ben sign it.
func (s *stage) wantsReview() {
	s.t.Helper()
	if !s.grant("BG-1").NeedsReview() {
		s.t.Error("nobody owes a review")
	}
	s.ana.presses("BG-1", "Sign review").refused(s, "your own emergency")
	s.ben.presses("BG-1", "Sign review")
	s.until("BG-1", "Review signed", "@ben")
	if g := s.grant("BG-1"); g.NeedsReview() {
		s.t.Error("the review is still owed")
	}
}

// An emergency survives a stop or a power cut at every call: once it is stored it
// ends when it should, everybody is told once, and it owes its review.
func TestEmergency_atEveryCall(t *testing.T) {
	all := 0
	bubble(t, func(_ *testing.T, s *stage) {
		var count atomic.Int32
		s.power.each.Store(&hook{func(*http.Request) { count.Add(1) }})
		s.declares(isNever)
		s.until("BG-1", "Open until")
		time.Sleep(time.Second)
		all = int(count.Load())
	}, quiet, readsHistory, mayDeclare)
	for _, how := range []string{"stop", "power cut before", "power cut after"} {
		for n := 1; n <= all; n += often {
			beside(t, fmt.Sprint(how, " ", n), func(t *testing.T, s *stage) {
				if !s.interrupted(how, n, 5*minute, s.declares) {
					return // this run needed fewer calls
				}
				time.Sleep(time.Second)
				s.start()
				s.declares(isNever)
				s.proven("BG-1")
				s.once("Emergency: BG-1")
				s.wantsReview()
				if live, err := s.db.Live(); err != nil || len(live) != 0 {
					t.Errorf("%d grants are still live (%v)", len(live), err)
				}
			}, quiet, readsHistory, mayDeclare)
		}
	}
}

// declares has ana say it until there is a card.
func (s *stage) declares(down func() bool) {
	for n := 0; n < 60 && !down() && len(s.cards("BG-1")) == 0; n++ {
		if live, err := s.db.Live(); err == nil && len(live) == 0 {
			s.try(func() (slacksim.Interaction, error) {
				return s.ana.Slash(context.Background(), channel, "/breakglass", askNow, atHome)
			})
		}
		time.Sleep(time.Second)
	}
}

// The review is asked for until somebody signs it, each time after twice as long,
// also across restarts just before and just after, and never twice.
func TestEmergency_reviewReminders(t *testing.T) {
	want := []time.Duration{30 * minute, 90 * minute, 210 * minute, 450 * minute, 930 * minute, 1890 * minute, 3330 * minute}
	for n, how := range []string{"", "restart just before", "restart just after", "power cut just after"} {
		if n%often > 0 {
			continue
		}
		beside(t, "always there "+how, func(t *testing.T, s *stage) {
			s.ana.says(askNow)
			s.until("BG-1", "Open until")
			began := s.grant("BG-1").RequestedAt
			for _, at := range want {
				if how == "restart just before" {
					time.Sleep(time.Until(began.Add(at - time.Second)))
					s.restart()
				}
				time.Sleep(time.Until(began.Add(at + 10*time.Second)))
				switch how {
				case "restart just after":
					s.restart()
				case "power cut just after":
					s.crash()
					s.start()
				}
			}
			wantSaid(t, "that the review is owed", s.said(began, "still owes its review"), want...)
			s.wantsReview()
			time.Sleep(72 * time.Hour)
			wantSaid(t, "that the review is owed", s.said(began, "still owes its review"), want...)
		}, mayDeclare, quiet)
	}
}

// Away for days: one message when it is back, and then in their time again.
func TestEmergency_reviewAfterDaysAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says(askNow)
		s.until("BG-1", "Open until")
		time.Sleep(minute)
		s.crash()
		time.Sleep(100 * time.Hour)
		s.start()
		began := time.Now()
		s.proven("BG-1")
		time.Sleep(30 * minute)
		late := s.thread("still owes its review")
		if len(late) != 1 {
			t.Fatalf("it was reminded of %d times, want once:\n%s", len(late), s.wall())
		}
		time.Sleep(time.Until(began.Add(2 * time.Hour)))
		if n := len(s.thread("still owes its review")); n != 2 {
			t.Errorf("after two hours more it was said %d times, want twice:\n%s", n, s.wall())
		}
		s.inTime(s.ben.clicks(late[0], "Sign review"), "Sign review")
		s.until("BG-1", "Review signed")
	}, mayDeclare, quiet)
}

// Slack is down all the time that an emergency lasts: AWS ends it, and everybody is
// told afterwards what has become of it.
func TestEmergency_slackIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for _, method := range []string{"chat.postMessage", "chat.update"} {
			s.slack.Inject(slacksim.Fault{Method: method, Answer: slacksim.Status(503)})
		}
		s.ana.says(askNow)
		time.Sleep(time.Hour)
		s.phase("BG-1", grant.Closed)
		s.shut(s.cell)
		s.slack.ClearFaults()
		s.proven("BG-1")
		time.Sleep(5 * minute)
		s.once("Emergency: BG-1", "It is now: Closed", "It owes a review")
		s.wantsReview()
	}, mayDeclare, quiet, readsHistory)
}
