package bot_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// readsHistory gives the app the scope by which it finds what it has posted.
func readsHistory(c *setup) {
	c.slack.BotScopes = append(slices.Clone(slacksim.DefaultBotScopes), "channels:history")
}

// lostAnswers are the ways in which Slack takes a message, and the bot does not
// learn where it stands.
var lostAnswers = map[string]slacksim.Answer{
	"dropped": slacksim.Drop(), "500": slacksim.Status(500), "503": slacksim.Status(503), "HTML": slacksim.Page(),
	"hanging": slacksim.Hang(), "ok false": slacksim.RefuseSilently(), "internal_error": slacksim.Refuse("internal_error"),
}

// losing has the answer to one post lost whose text or blocks have the words.
func (s *stage) losing(answer slacksim.Answer, words string) {
	s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Done: true, Answer: answer, When: func(c slacksim.Call) bool {
		return strings.Contains(c.Args["text"]+c.Args["blocks"], words)
	}})
}

// The card was posted, and its answer lost: it is found, and brought up to date,
// whatever has happened meanwhile.
func TestFind_cardIsNotDoubled(t *testing.T) {
	for name, answer := range lostAnswers {
		for what, slow := range map[string]time.Duration{"": 0, " while the checks come": 2 * time.Second} {
			beside(t, name+what, func(t *testing.T, s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.Latency = slow })
				s.losing(answer, "BG-1 · Requested")
				s.ana.says(askProd)
				s.until("BG-1", "Requested", "Checks:")
				if n := len(s.cards("BG-1")); n != 1 {
					t.Errorf("there are %d cards:\n%s", n, s.wall())
				}
				s.ben.presses("BG-1", "Approve")
				s.until("BG-1", "Open until")
			}, quiet, readsHistory)
		}
	}
}

// So are messages in threads, those that are shown in the channel, too, among
// them.
func TestFind_threadIsNotDoubled(t *testing.T) {
	for name, answer := range lostAnswers {
		beside(t, name, func(t *testing.T, s *stage) {
			s.losing(answer, "was opened without approval")
			s.losing(answer, "is being opened without approval")
			s.losing(answer, "is open until")
			s.losing(answer, "Access is being taken away")
			s.losing(answer, "and proven")
			s.ana.says(strings.Replace(askProd, "grant", "emergency", 1))
			s.until("BG-1", "Open until")
			time.Sleep(2 * minute)
			s.ana.says("revoke")
			s.proven("BG-1")
			time.Sleep(2 * minute)
			s.once("Emergency: BG-1")
			s.once("BG-1 is open until")
			s.once("Access is being taken away")
			s.once("and proven")
		}, quiet, readsHistory, mayDeclare)
	}
}

// mayDeclare lets ana open emergencies.
func mayDeclare(c *setup) { c.people.Emergency.Users = []grant.UserID{ana} }

// Without the scope nothing can be found: then twice is better than not at all,
// and Slack is asked once only.
func TestFind_mayNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.losing(slacksim.Drop(), "BG-1 · Requested")
		s.losing(slacksim.Drop(), "is open until")
		s.ana.says(askProd)
		s.until("BG-1", "Requested", "Checks:")
		if n := len(s.cards("BG-1")); n != 2 {
			t.Errorf("there are %d cards, want the lost one and another", n)
		}
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		time.Sleep(minute)
		if n := len(s.thread("BG-1 is open until")); n != 1 && n != 2 {
			t.Errorf("that it is open is said %d times", n)
		}
		if n := len(s.slack.Calls("conversations.history")) + len(s.slack.Calls("conversations.replies")); n != 1 {
			t.Errorf("Slack was asked %d times for what it does not let us read", n)
		}
	}, quiet)
}

// The history cannot be read just now: the message waits a little, rather than
// standing there twice. Where that lasts it is posted all the same.
func TestFind_historyFails(t *testing.T) {
	for name, answer := range map[string]slacksim.Answer{
		"429": slacksim.RateLimited(20 * time.Second), "500": slacksim.Status(500), "dropped": slacksim.Drop(), "HTML": slacksim.Page(),
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.slack.Inject(slacksim.Fault{Method: "conversations.history", Times: 2, Answer: answer})
			s.losing(slacksim.Drop(), "BG-1 · Requested")
			s.ana.says(askProd)
			s.until("BG-1", "Requested", "Checks:")
			if n := len(s.cards("BG-1")); n != 1 {
				t.Errorf("there are %d cards:\n%s", n, s.wall())
			}
		}, quiet, readsHistory)
		beside(t, name+" for ever", func(t *testing.T, s *stage) {
			s.slack.Inject(slacksim.Fault{Method: "conversations.history", Answer: answer})
			s.losing(slacksim.Drop(), "BG-1 · Requested")
			s.ana.says(askProd)
			began := time.Now()
			s.until("BG-1", "Requested", "Checks:")
			if took := time.Since(began); took > 5*minute {
				t.Errorf("the card stood after %s", took)
			}
		}, quiet, readsHistory)
	}
}

// cutAfterPost cuts the power when the next message stands that has the words, and
// closes the channel then.
func (s *stage) cutAfterPost(words string) chan struct{} {
	var hit atomic.Bool
	cut := make(chan struct{})
	s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Done: true, Answer: slacksim.Drop(), When: func(c slacksim.Call) bool {
		if !strings.Contains(c.Args["text"], words) || !hit.CompareAndSwap(false, true) {
			return false
		}
		s.cut()
		close(cut)
		return true
	}})
	return cut
}

// The power is cut after a message was posted and before that was stored. However
// soon the next bot starts, it says nothing twice.
func TestFind_powerCutAfterThePost(t *testing.T) {
	for _, c := range []struct{ post, again string }{
		{"BG-1 · Requested", ""}, {"is open until", "BG-1 is open until"}, {"Access is being taken away", "Access is being taken away"}, {"and proven", "and proven"},
	} {
		for _, away := range []time.Duration{0, time.Second, time.Minute, 3 * time.Hour} {
			beside(t, fmt.Sprintf("%s %s", c.post, away), func(t *testing.T, s *stage) {
				cut := s.cutAfterPost(c.post)
				go s.drive("BG-1", s.power.off.Load)
				<-cut
				s.afterCut()
				time.Sleep(away)
				s.start()
				s.drive("BG-1", func() bool { return false })
				s.proven("BG-1")
				time.Sleep(minute)
				if n := len(s.cards("BG-1")); n != 1 {
					t.Errorf("there are %d cards:\n%s", n, s.wall())
				}
				if c.again != "" {
					s.once(c.again)
				}
			}, quiet, readsHistory, func(c *setup) { c.policy.Limits.Undecided = 0 })
		}
	}
}

// A post whose answer was lost is to be tried again in a moment, and the power is
// cut before that.
func TestFind_powerCutBeforeTheSecondTry(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.losing(slacksim.Status(503), "is open until")
		s.opens(askProd)
		time.Sleep(200 * time.Millisecond)
		s.crash()
		s.start()
		time.Sleep(minute)
		s.once("BG-1 is open until")
	}, quiet, readsHistory)
}

// chatter has somebody say so many things, in the card's thread or beside it.
func (s *stage) chatter(thread string, n int) {
	s.t.Helper()
	for i := range n {
		form := url.Values{"token": {s.slack.BotToken()}, "channel": {channel}, "text": {fmt.Sprintf("chatter %d", i)}}
		if thread != "" {
			form.Set("thread_ts", thread)
		}
		resp, err := s.slack.HTTPClient().Post(s.slack.APIURL()+"chat.postMessage", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
		if err != nil || resp.StatusCode != http.StatusOK {
			s.t.Fatalf("chatting: %v", err)
		}
		_ = resp.Body.Close()
	}
}

// It is found among hundreds of others, too: a thread is read from its beginning,
// and a channel from its end.
func TestFind_amongMany(t *testing.T) {
	for _, where := range []string{"thread", "channel"} {
		beside(t, where, func(t *testing.T, s *stage) {
			s.slack.SetRateLimits(slacksim.RateLimits{Off: true})
			s.asks(askProd)
			words := "is open until"
			thread := s.card("BG-1").TS
			if where == "channel" {
				words, thread = "BG-2 · Requested", ""
			}
			s.chatter(thread, 250)
			time.Sleep(2 * time.Hour) // what was said long ago need not be read again
			cut := s.cutAfterPost(words)
			if where == "thread" {
				s.ben.tries("status")
				s.inTime(s.ben.clicks(s.card("BG-1"), "Approve"), "Approve")
			} else {
				s.ana.tries(askProd)
			}
			<-cut
			s.afterCut()
			s.chatter(thread, 150)
			s.start()
			time.Sleep(minute)
			if where == "thread" {
				s.once("BG-1 is open until")
			} else if n := len(s.cards("BG-2")); n != 1 {
				t.Errorf("there are %d cards", n)
			}
		}, quiet, readsHistory, func(c *setup) { c.policy.Limits.Undecided = 0 })
	}
}

// The team does not let messages be edited for long. The newest card tells what
// is so, also after a restart: the old one is never taken for it.
func TestFind_cardThatCannotBeEdited(t *testing.T) {
	for _, how := range []string{"", "after a power cut", "slowly"} {
		beside(t, "edit window "+how, func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.slack.SetEditWindow(minute)
			time.Sleep(10 * minute)
			switch how {
			case "after a power cut":
				s.slack.Inject(slacksim.Fault{Method: "chat.update", Answer: slacksim.Status(503)})
				s.ana.says("revoke")
				time.Sleep(5 * minute)
				s.crash()
				s.slack.ClearFaults()
				s.start()
			case "slowly":
				s.slack.Inject(slacksim.Fault{Method: "chat.update", Times: 1, Answer: slacksim.Status(503)})
				s.ana.says("revoke")
			default:
				s.ana.says("revoke")
			}
			s.proven("BG-1")
			if n := len(s.cards("BG-1")); n < 2 || n > 4 {
				t.Errorf("there are %d cards:\n%s", n, s.wall())
			}
		}, quiet, readsHistory)
	}
}

// Somebody deletes the card while the bot is away: a new one comes, with the
// newest state.
func TestFind_cardDeletedWhileAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.crash()
		s.slack.DeleteMessage(channel, s.card("BG-1").TS)
		time.Sleep(5 * time.Hour)
		s.start()
		s.proven("BG-1")
		if n := len(s.cards("BG-1")); n != 1 {
			t.Errorf("there are %d cards", n)
		}
	}, quiet, readsHistory)
}

// A stray's message, too, stands once, though its answer was lost or the power
// cut, and although somebody has pressed on it before the bot knew of it.
func TestFind_strayIsNotDoubled(t *testing.T) {
	for _, how := range []string{"lost", "power cut", "pressed meanwhile"} {
		beside(t, how, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(trustBy(byHand))
			var hit atomic.Bool
			cut := make(chan struct{})
			answer := slacksim.Drop()
			if how == "pressed meanwhile" {
				answer = slacksim.Hang()
			}
			s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Done: true, Answer: answer, When: func(c slacksim.Call) bool {
				if !strings.HasPrefix(c.Args["text"], "Trust ") || !hit.CompareAndSwap(false, true) {
					return false
				}
				if how == "power cut" {
					s.cut()
				}
				close(cut)
				return true
			}})
			<-cut
			switch how {
			case "power cut":
				s.afterCut()
				s.start()
			case "pressed meanwhile":
				time.Sleep(time.Second)
				s.mia.clicks(s.stray(), "Adopt").wants(t, "BG-1 is requested")
			}
			time.Sleep(minute)
			if how == "pressed meanwhile" {
				s.stray("asks to adopt it as BG-1")
			} else {
				s.stray("no grant says so", "Adopt")
			}
			s.rob.clicks(s.stray(), "Remove")
			time.Sleep(5 * minute)
			s.stray("Gone since")
		}, quiet, readsHistory)
	}
}

// Much goes on at once: nothing is said twice, although what is owed is read while
// it is being settled.
func TestFind_nothingTwiceInACrowd(t *testing.T) {
	for n := range 6 {
		beside(t, fmt.Sprint(n), func(t *testing.T, s *stage) {
			const many = 30
			s.slack.SetRateLimits(slacksim.RateLimits{Off: true})
			for n := range many {
				[]person{s.ana, s.eva, s.rob}[n%3].says(askProd)
			}
			time.Sleep(2 * minute)
			for n := range many {
				go s.try(func() (slacksim.Interaction, error) {
					return s.ben.Click(t.Context(), s.card(fmt.Sprintf("BG-%d", n+1)), "Deny", atHome)
				})
			}
			time.Sleep(5 * minute)
			for n := range many {
				id := fmt.Sprintf("BG-%d", n+1)
				if cards, said := len(s.cards(id)), len(s.thread(id+" was denied")); cards != 1 || said != 1 {
					t.Errorf("%s has %d cards, and that it was denied is said %d times", id, cards, said)
				}
			}
		}, quiet)
	}
}

// Another app in the channel has read what our messages are called, and writes one
// of the same name: it is not taken for ours, and the card is posted.
func TestFind_messageOfAnotherApp(t *testing.T) {
	for _, how := range []string{"another bot", "a person"} {
		beside(t, how, func(t *testing.T, s *stage) {
			forged := map[string]any{"type": "message", "user": "U0EVILBOT", "bot_id": "B0EVIL", "app_id": "A0EVIL", "text": "BG-1 · Closed", "ts": "1795424400.000100"}
			if how == "a person" {
				forged = map[string]any{"type": "message", "user": mia, "text": "BG-1 · Closed", "ts": "1795424400.000100"}
			}
			s.slack.Inject(slacksim.Fault{Method: "conversations.history", Answer: func(w http.ResponseWriter, _ *http.Request) (int, string) {
				forged["metadata"] = map[string]any{"event_type": "breakglass_message", "event_payload": map[string]any{"name": s.grant("BG-1").Token + "/card/"}}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "messages": []any{forged}, "has_more": false})
				return http.StatusOK, ""
			}})
			s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Answer: slacksim.Drop()})
			s.ana.says(askProd)
			s.until("BG-1", "Requested", "Checks:")
			if n := len(s.slack.Calls("conversations.history")); n == 0 {
				t.Error("nothing was looked for, so the test shows nothing")
			}
			if ts := s.grant("BG-1").Card.TS; ts == forged["ts"] || len(s.cards("BG-1")) != 1 {
				t.Errorf("the card is taken to stand at %s", ts)
			}
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
		}, quiet, readsHistory)
	}
}
