package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"breakglass/store/grant"
)

// connections is how many sockets stand side by side, so that the refresh or the
// death of one never loses a click.
const connections = 2

// drain is how long the sockets stay up after the last acknowledgement was
// queued: slack-go only queues them, and says nothing when they are written.
const drain = 400 * time.Millisecond

// patience is how long what is in hand may take after the program was told to
// stop. The acknowledgement of an envelope is over before that.
const patience = 4 * time.Second

// longestBackOff is how long a socket waits at most before Slack is tried again.
// slack-go's own back-off grows to five minutes, and cannot be configured: so long
// the bot would be deaf after an outage.
const longestBackOff = 10 * time.Second

var errTooLong = errors.New("slack-go would wait too long")

// socket is one Socket Mode connection, kept up by slack-go.
type socket struct {
	bot    *Bot
	n      int
	client *socketmode.Client
	hello  atomic.Bool
	met    atomic.Bool // Slack has said hello at least once
	ear    ear
}

func newSocket(b *Bot, n int) *socket {
	s := &socket{bot: b, n: n}
	s.client = socketmode.New(b.api, socketmode.OptionLog(log.New(io.Discard, "", 0)), socketmode.OptionDialer(s.ear.dialer(b.o.Dialer)))
	return s
}

// up reports whether Slack has said hello and was heard lately.
func (s *socket) up() bool { return s.hello.Load() && time.Since(s.ear.at()) <= heardWithin }

// run keeps the connection up until the context ends, then waits for what is in
// hand and lets the acknowledgements out. An error is permanent, in a plain
// sentence.
func (s *socket) run(ctx context.Context) error {
	// The socket outlives ctx by the time that acknowledgements need.
	sctx, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	ended := make(chan error, 1)
	var again context.CancelFunc // ends slack-go's loop, to begin it anew
	start := func() {
		var rctx context.Context
		rctx, again = context.WithCancel(sctx) //nolint:gosec // called below, for each
		go func() { ended <- s.client.RunContext(rctx) }()
	}
	start()
	defer func() { again() }()

	stopping := ctx.Done()
	var quiet <-chan struct{} // closed when nothing is in hand any more
	var hang <-chan time.Time
	var fatal error
	for {
		select {
		case ev := <-s.client.Events:
			switch err := s.hear(sctx, ev, stopping == nil); {
			case errors.Is(err, errTooLong):
				again()
			case err != nil:
				fatal = err
				hangUp()
			}
		case <-stopping:
			stopping = nil
			quiet = s.bot.hands.idle()
			hang = time.After(patience) // somebody's answer may hang
		case <-quiet:
			quiet = nil
			hang = time.After(drain)
		case <-hang:
			hangUp()
		case err := <-ended:
			s.hello.Store(false)
			again()
			if fatal == nil && ctx.Err() == nil && (errors.Is(err, context.Canceled) || (s.met.Load() && notFound(err))) {
				if sleep(ctx, longestBackOff) {
					start()
					continue
				}
				return nil
			}
			hangUp()
			<-s.bot.hands.idle()
			if fatal != nil {
				return fatal
			}
			if ctx.Err() != nil {
				return nil
			}
			if text, ok := permanent(err, "SLACK_APP_TOKEN"); ok {
				return errors.New(text)
			}
			return fmt.Errorf("the connection to Slack cannot be kept up: %w", redact(err))
		}
	}
}

// hear takes in one event. It never blocks: a consumer that blocks freezes
// slack-go's client, pongs included. While stopping, new envelopes are not
// taken: Slack tells the person, or sends them to the next process.
func (s *socket) hear(ctx context.Context, ev socketmode.Event, stopping bool) error {
	switch ev.Type {
	case socketmode.EventTypeHello:
		s.hello.Store(true)
		s.met.Store(true)
		if ev.Request != nil {
			s.bot.meet(ev.Request.ConnectionInfo.AppID)
		}
		s.bot.log.Info("socket is up", "socket", s.n)
	case socketmode.EventTypeConnecting:
		s.hello.Store(false)
	case socketmode.EventTypeInvalidAuth:
		if s.met.Load() {
			// slack-go says so of a 404, too, which a proxy may answer once.
			return nil
		}
		return errors.New("Slack refuses the app-level token. Make a new one with the scope connections:write, and put it into SLACK_APP_TOKEN") //nolint:staticcheck // a sentence for the operator
	case socketmode.EventTypeConnectionError:
		e, ok := ev.Data.(*slack.ConnectionErrorEvent)
		if !ok {
			return nil
		}
		if text, ok := permanent(e.ErrorObj, "SLACK_APP_TOKEN"); ok {
			return errors.New(text)
		}
		s.bot.log.Warn("socket cannot be opened yet", "socket", s.n, "err", redact(e.ErrorObj), "wait", min(e.Backoff, longestBackOff))
		if _, limited := errors.AsType[*slack.RateLimitedError](e.ErrorObj); !limited && e.Backoff > longestBackOff {
			return errTooLong
		}
	case socketmode.EventTypeErrorWriteFailed:
		s.bot.log.Warn("an acknowledgement was lost with its socket", "socket", s.n)
	case socketmode.EventTypeErrorBadMessage:
		// Something newer than slack-go knows. Unacknowledged it would come
		// again three times.
		e, ok := ev.Data.(*socketmode.ErrorBadMessage)
		if !ok {
			return nil
		}
		var env struct {
			ID   string `json:"envelope_id"`
			Type string `json:"type"`
		}
		if json.Unmarshal(e.Message, &env) == nil && env.ID != "" {
			began := time.Now()
			s.bot.o.Observe.envelope(EnvelopeOther, s.ack(ctx, env.ID, nil), time.Since(began))
		}
		s.bot.log.Warn("an envelope of an unknown kind was set aside", "socket", s.n, "type", grant.Clean(env.Type, 40), "so_far", s.bot.unknown.Add(1))
	case socketmode.EventTypeSlashCommand, socketmode.EventTypeInteractive, socketmode.EventTypeEventsAPI:
		if stopping || ev.Request == nil {
			return nil
		}
		s.bot.take(ctx, s, ev)
	default:
		s.bot.log.Debug("socket event", "socket", s.n, "type", string(ev.Type))
	}
	return nil
}

// ack acknowledges an envelope, with a payload where Slack takes one, and reports
// whether the socket took it.
func (s *socket) ack(ctx context.Context, envelope string, payload any) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.client.AckCtx(ctx, envelope, payload); err != nil {
		s.bot.log.Warn("an acknowledgement could not be sent", "socket", s.n, "err", err)
		return false
	}
	return true
}

// meet remembers our app id from the first hello.
func (b *Bot) meet(app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.appID == "" {
		b.appID = app
	}
}

func (b *Bot) us() (team, app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.team, b.appID
}
