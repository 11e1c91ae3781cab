package bot_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// ready holds what /readyz says: want is a part of it, or empty where the bot is
// to be ready.
func (s *stage) ready(want string) {
	s.t.Helper()
	switch err := s.bot.Ready(); {
	case want == "" && err != nil:
		s.t.Errorf("not ready: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		s.t.Errorf("Ready answers %v, want %q", err, want)
	}
}

func (s *stage) working() {
	s.t.Helper()
	if err := s.bot.Working(); err != nil {
		s.t.Errorf("not working, which has the bot killed: %v", err)
	}
}

// A socket counts while it was heard lately. Both fall silent, though neither is
// closed: the bot is not ready before slack-go has noticed, and is again with the
// next hello.
func TestReady_pingsStop(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ready("")
		time.Sleep(41 * time.Second) // the last ping is a second old
		for _, c := range s.slack.Connections() {
			c.StopPings()
		}
		stopped, opens := time.Now(), len(s.slack.Opens())
		for s.bot.Ready() == nil && time.Since(stopped) < 2*time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(stopped); d < 38*time.Second || d > 40*time.Second {
			t.Errorf("not ready %s after the pings stopped, want 40 s after the last one", d)
		}
		if n := len(s.slack.Opens()); n != opens {
			t.Errorf("slack-go has opened %d more sockets: this test shows nothing", n-opens)
		}
		s.ready("no socket")
		s.working()
		time.Sleep(time.Minute)
		s.ready("")
	}, quiet, func(c *setup) { c.slack.Socket.PingEvery = 20 * time.Second })
}

// One socket that is heard is enough, and pings alone keep it for hours.
func TestReady_oneSocketIsEnough(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for range 3 * 60 * 4 {
			time.Sleep(15 * time.Second)
			s.ready("")
		}
		time.Sleep(5 * time.Second) // a ping has just come; slack-go gives up at 60 s
		s.slack.Connections()[0].StopPings()
		time.Sleep(41 * time.Second)
		s.ready("")
		if up, silent := s.bot.Sockets(); up != 1 || silent > 20*time.Second {
			t.Errorf("%d sockets up, silent for %s; want 1 that was heard", up, silent)
		}
	}, quiet, func(c *setup) { c.slack.Socket.PingEvery = 20 * time.Second })
}

// Slack is away for hours while access is open and ends. The bot is not ready, but
// it works, and nothing may have it killed.
func TestReady_slackAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=30m", 1))
		s.slack.SetDown(true)
		for range 2 * 60 * 4 {
			time.Sleep(15 * time.Second)
			s.ready("no socket")
			s.working()
		}
		s.phase("BG-1", grant.Closed)
		s.slack.SetDown(false)
		time.Sleep(time.Minute)
		s.ready("")
	})
}

// AWS is away for an hour from the end of an access on: what is tried again and
// again is not behind.
func TestReady_awsAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=30m", 1))
		back := s.world.Inject(awssim.Fault{Kind: awssim.DropBefore})
		for range 60 * 4 {
			time.Sleep(15 * time.Second)
			s.ready("")
			s.working()
		}
		back()
		s.proven("BG-1")
	}, quiet)
}

// The disk is full: not ready, as nothing can be decided; and it works, as it still
// ends access in AWS, which a bot that was started anew would not.
func TestReady_diskFull(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=30m", 1))
		free := diskFull(t, s.path)
		s.ready("") // nobody has tried to write
		if c := s.ana.tries(askTest()); c.Acked {
			t.Error("acknowledged, though nothing was stored")
		}
		s.ready("the database has taken nothing in since 2026-11-23T")
		for range 60 * 4 {
			time.Sleep(15 * time.Second)
			s.ready("the database has taken nothing in")
			s.working()
		}
		free()
		time.Sleep(grant.SurveyEvery)
		s.ready("")
		s.proven("BG-1")
	}, quiet)
}

// Something that was due before the program started is not held against it until
// the worker had its time; a worker that does not run makes the bot unready, and
// then has it started anew.
func TestReady_workerBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(filepath.Join(t.TempDir(), "breakglass.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := db.Patrol([]grant.CellName{prod}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		b, err := bot.New(bot.Options{
			Channel: channel, APIURL: "https://slack.invalid/api/", BotToken: "xoxb-1", AppToken: "xapp-1",
			Store: db, AWS: &hanging{}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		const behind = "has been due for"
		began := time.Now()
		for _, c := range []struct {
			after          time.Duration
			behind, killed bool
		}{
			{0, false, false},
			{29 * time.Second, false, false},
			{31 * time.Second, true, false},
			{2 * time.Minute, true, false},
			{2*time.Minute + time.Second, true, true},
		} {
			time.Sleep(time.Until(began.Add(c.after)))
			if err := b.Ready(); strings.Contains(err.Error(), behind) != c.behind {
				t.Errorf("%s: Ready answers %v; want behind %t", c.after, err, c.behind)
			}
			if err := b.Working(); (err != nil) != c.killed {
				t.Errorf("%s: Working answers %v; want an error %t", c.after, err, c.killed)
			}
		}
	})
}

// A call that heeds no limit holds its grant's lane for ever. That is no reason to be
// unready, since others are served; after ten minutes only a new start helps.
func TestReady_heldForEver(t *testing.T) {
	h := &hanging{}
	bubble(t, func(t *testing.T, s *stage) {
		h.let = make(chan struct{})
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		time.Sleep(9 * time.Minute)
		s.ready("")
		s.working()
		time.Sleep(2 * time.Minute)
		s.ready("")
		if err := s.bot.Working(); err == nil || !strings.Contains(err.Error(), "has been in hand for") {
			t.Errorf("Working answers %v after eleven minutes", err)
		}
		close(h.let)
		s.proven("BG-1") // opening was given up meanwhile
		s.working()
	}, quiet, func(c *setup) { c.hands = func(aws bot.AWS) bot.AWS { h.AWS = aws; return h } })
}

// hanging opens nothing until it is let.
type hanging struct {
	bot.AWS
	let chan struct{}
}

func (h *hanging) Open(context.Context, grant.Grant, []grant.Grant, func(grant.StepChanged) error) (grant.Access, error) {
	<-h.let
	return grant.Access{}, errors.New("nobody came")
}

// counts is an observer that keeps everything it hears.
type counts struct {
	mu        sync.Mutex
	envelopes map[string]int
	calls     map[string]int
	refused   map[grant.Code]int
	slowest   time.Duration
}

func (c *counts) observer() bot.Observer {
	c.envelopes, c.calls, c.refused = map[string]int{}, map[string]int{}, map[grant.Code]int{}
	locked := func(f func()) { c.mu.Lock(); defer c.mu.Unlock(); f() }
	return bot.Observer{
		Envelope: func(kind string, acked bool, took time.Duration) {
			locked(func() {
				if !acked {
					kind += " unacknowledged"
				}
				c.envelopes[kind]++
				c.slowest = max(c.slowest, took)
			})
		},
		Called: func(method, outcome string, _ time.Duration) {
			locked(func() { c.calls[method+" "+outcome]++ })
		},
		Refused: func(code grant.Code) { locked(func() { c.refused[code]++ }) },
	}
}

func (c *counts) want(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: counted %d, want %d", what, got, want)
	}
}

// What the bot hears and calls is counted once each, in words of its own.
func TestObserver_counts(t *testing.T) {
	c := &counts{}
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.mia.clicks(s.card("BG-1"), "Approve") // may not
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		free := diskFull(t, s.path)
		s.ana.tries(askTest())
		free()
		s.slack.SetDown(true)
		time.Sleep(time.Minute)
		s.slack.SetDown(false)
		time.Sleep(time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.want(t, "commands", c.envelopes[bot.EnvelopeCommand], 1)
		c.want(t, "commands without an acknowledgement", c.envelopes[bot.EnvelopeCommand+" unacknowledged"], 1)
		c.want(t, "clicks", c.envelopes[bot.EnvelopeClick], 2)
		c.want(t, "refusals", c.refused[grant.NotAllowed], 1)
		c.want(t, "cards", c.calls["chat.postMessage ok"], len(s.slack.Messages(channel)))
		c.want(t, "answers to who may not", c.calls["response_url ok"], 1)
		c.want(t, "connections", c.calls["apps.connections.open ok"], len(s.slack.Opens()))
		if c.calls["apps.connections.open lost"] == 0 {
			t.Error("no call was counted that got no answer")
		}
		if c.calls["other ok"] != 0 {
			t.Error("the bot calls a method that has no name in observe.go")
		}
		if c.slowest > time.Second {
			t.Errorf("the slowest acknowledgement took %s of fake time", c.slowest)
		}
	}, quiet, func(conf *setup) { conf.observe = c.observer() })
}
