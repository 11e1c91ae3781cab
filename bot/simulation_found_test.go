package bot_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/bot/slacksim"
)

// What TestSimulation has found, each as the shortest story that shows it.

// readable lets the app read the channel, so that it finds what it posted.
func readable(c *setup) {
	c.slack.BotScopes = append([]string{"channels:history"}, slacksim.DefaultBotScopes...)
}

// The power is cut when the card has been posted, and before that is stored. The
// next bot cannot read the channel at first. Then the checks are done: a newer state
// of the card is owed in place of the one that may stand already, and is looked for
// all the same. (Seed 1851 of an older simulation.)
func TestFound_cardPostedBeforeThePowerCut(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var once atomic.Bool
		cut := make(chan struct{})
		s.power.after.Store(&hook{func(r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/chat.postMessage") && once.CompareAndSwap(false, true) {
				s.cut()
				close(cut)
			}
		}})
		s.ana.tries(askProd)
		<-cut
		s.afterCut()
		s.slack.Inject(slacksim.Fault{Method: "conversations.history", Times: 1, Answer: slacksim.Status(http.StatusInternalServerError)})
		s.start()
		s.until("BG-1", "Requested", "Checks:")
		time.Sleep(time.Minute)
		if cards := s.cards("BG-1"); len(cards) != 1 {
			t.Errorf("there are %d cards, want the one that stood", len(cards))
		}
	}, quiet, readable)
}

// The disk fills up between the request and its card: the card is posted, and
// cannot be stored. It is not posted again and again. (Seed 6059 of an older
// simulation.)
func TestFound_cardPostedOnAFullDisk(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Answer: slacksim.RateLimited(5 * time.Second)})
		s.ana.says(askProd)
		synctest.Wait()
		free := diskFull(t, s.path)
		time.Sleep(time.Minute)
		free()
		s.until("BG-1", "Requested", "Checks:")
		time.Sleep(time.Minute)
		if cards := s.cards("BG-1"); len(cards) != 1 {
			t.Errorf("there are %d cards, want one", len(cards))
		}
	}, quiet, readable)
}
