package slacksim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

const channel = "C0000000OPS"

// world is a Slack with some people in it and a slack-go client beside it.
type world struct {
	*slacksim.Slack
	t        *testing.T
	ada, bob *slacksim.Person // two members
	api      *slack.Client
}

// newWorld makes a world whose clients connect in memory.
func newWorld(t *testing.T, opt slacksim.Options) *world {
	t.Helper()
	w := people(t, slacksim.New(opt))
	w.api = w.client(w.HTTPClient())
	return w
}

// newTCPWorld makes a world whose clients connect over a loopback port.
func newTCPWorld(t *testing.T, opt slacksim.Options) *world {
	t.Helper()
	s := slacksim.New(opt)
	if err := s.Start(""); err != nil {
		t.Fatal(err)
	}
	w := people(t, s)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w.api = w.client(&http.Client{Transport: transport})
	return w
}

func people(t *testing.T, s *slacksim.Slack) *world {
	t.Helper()
	t.Cleanup(s.Close)
	w := &world{Slack: s, t: t}
	w.ada = s.AddUser(slacksim.User{ID: "U00000000ADA", Name: "ada", RealName: "Ada"})
	w.bob = s.AddUser(slacksim.User{ID: "U00000000BOB", Name: "bob", RealName: "Bob"})
	s.AddChannel(slacksim.Channel{ID: channel, Name: "ops", Members: []string{w.ada.ID(), w.bob.ID()}})
	return w
}

func (w *world) client(h *http.Client) *slack.Client {
	return slack.New(w.BotToken(), slack.OptionAppLevelToken(w.AppToken()), slack.OptionAPIURL(w.APIURL()),
		slack.OptionHTTPClient(h))
}

// app is a slack-go socketmode client that runs until the test ends. What arrives is given to handle.
type app struct {
	*socketmode.Client
	mu     sync.Mutex
	events []socketmode.Event
}

// run starts a client and waits until it is connected.
func (w *world) run(handle func(*app, socketmode.Event), opts ...socketmode.Option) *app {
	w.t.Helper()
	before := len(w.Connections())
	a := w.start(handle, append(opts, socketmode.OptionDialer(w.Dialer()))...)
	if err := w.WaitConnections(w.t.Context(), before+1); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) start(handle func(*app, socketmode.Event), opts ...socketmode.Option) *app {
	opts = append(opts, socketmode.OptionLog(log.New(io.Discard, "", 0)))
	a := &app{Client: socketmode.New(w.api, opts...)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.RunContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
			w.t.Logf("socketmode: %v", err)
		}
	})
	running.Go(func() {
		for {
			select {
			case e := <-a.Events:
				a.mu.Lock()
				a.events = append(a.events, e)
				a.mu.Unlock()
				if handle != nil {
					handle(a, e)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return a
}

// seen returns the events of one type so far.
func (a *app) seen(typ socketmode.EventType) []socketmode.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []socketmode.Event
	for _, e := range a.events {
		if e.Type == typ {
			out = append(out, e)
		}
	}
	return out
}

// ackWith acks every request with a payload.
func ackWith(payload any) func(*app, socketmode.Event) {
	return func(a *app, e socketmode.Event) {
		if e.Request != nil && e.Request.EnvelopeID != "" {
			_ = a.AckCtx(context.Background(), e.Request.EnvelopeID, payload)
		}
	}
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// refused checks that a call was refused with code.
func refused(t *testing.T, err error, code string) slack.SlackErrorResponse {
	t.Helper()
	r, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok || r.Err != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return r
}

func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, false)
}

func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// card is a message with two buttons.
func card(text string) slack.MsgOption {
	return slack.MsgOptionCompose(slack.MsgOptionText(text, false), slack.MsgOptionBlocks(
		slack.NewHeaderBlock(plain("BG-1")),
		slack.NewSectionBlock(mrkdwn(text), nil, nil),
		slack.NewActionBlock("decide",
			slack.NewButtonBlockElement("approve", "1", plain("Approve 4 h")).WithStyle(slack.StylePrimary),
			slack.NewButtonBlockElement("deny", "1", plain("Deny")).WithStyle(slack.StyleDanger)),
	))
}

func contains(part string) func(slacksim.Message) bool {
	return func(m slacksim.Message) bool { return strings.Contains(slacksim.Render(m), part) }
}

func mustUnmarshal(t *testing.T, raw []byte, v any) bool {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Errorf("%v: %s", err, raw)
		return false
	}
	return true
}
