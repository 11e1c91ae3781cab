package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
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

// socket is one Socket Mode connection, kept up by slack-go.
type socket struct {
	bot    *Bot
	n      int
	client *socketmode.Client
	hello  atomic.Bool
}

func newSocket(b *Bot, n int) *socket {
	opts := []socketmode.Option{socketmode.OptionLog(log.New(io.Discard, "", 0))}
	if b.o.Dialer != nil {
		opts = append(opts, socketmode.OptionDialer(b.o.Dialer))
	}
	return &socket{bot: b, n: n, client: socketmode.New(b.api, opts...)}
}

func (s *socket) up() bool { return s.hello.Load() }

// run keeps the connection up until the context ends, then waits for what is in
// hand and lets the acknowledgements out. An error is permanent, in a plain
// sentence.
func (s *socket) run(ctx context.Context) error {
	// The socket outlives ctx by the time that acknowledgements need.
	sctx, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	ended := make(chan error, 1)
	go func() { ended <- s.client.RunContext(sctx) }()

	stopping := ctx.Done()
	var quiet <-chan struct{} // closed when nothing is in hand any more
	var hang <-chan time.Time
	var fatal error
	for {
		select {
		case ev := <-s.client.Events:
			if err := s.hear(sctx, ev, stopping == nil); err != nil {
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
		if ev.Request != nil {
			s.bot.meet(ev.Request.ConnectionInfo.AppID)
		}
		s.bot.log.Info("socket is up", "socket", s.n)
	case socketmode.EventTypeConnecting:
		s.hello.Store(false)
	case socketmode.EventTypeInvalidAuth:
		return errors.New("Slack refuses the app-level token. Make a new one with the scope connections:write, and put it into SLACK_APP_TOKEN") //nolint:staticcheck // a sentence for the operator
	case socketmode.EventTypeConnectionError:
		e, ok := ev.Data.(*slack.ConnectionErrorEvent)
		if !ok {
			return nil
		}
		if text, ok := permanent(e.ErrorObj, "SLACK_APP_TOKEN"); ok {
			return errors.New(text)
		}
		s.bot.log.Warn("socket cannot be opened yet", "socket", s.n, "err", redact(e.ErrorObj), "wait", e.Backoff)
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
			s.ack(ctx, env.ID, nil)
		}
		s.bot.log.Warn("an envelope of an unknown kind was set aside", "socket", s.n, "type", grant.Clean(env.Type, 40))
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

// ack acknowledges an envelope, with a payload where Slack takes one.
func (s *socket) ack(ctx context.Context, envelope string, payload any) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.client.AckCtx(ctx, envelope, payload); err != nil {
		s.bot.log.Warn("an acknowledgement could not be sent", "socket", s.n, "err", err)
	}
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

// permanentErrors are the answers of Slack that no waiting mends. slack-go's own
// list has only four of them, and retries the others for ever.
var permanentErrors = map[string]string{ //nolint:gosec // sentences about tokens, not tokens
	"invalid_auth":             "Slack does not know the token in %s. Copy it again from the app's settings",
	"not_authed":               "Slack got no token. Put it into %s",
	"account_inactive":         "Slack says that the token in %s belongs to a user or team that was removed. Install the app again",
	"token_revoked":            "Slack says that the token in %s was revoked. Install the app again and use the new token",
	"token_expired":            "Slack says that the token in %s has expired. Turn token rotation off for this app and install it again",
	"not_allowed_token_type":   "the token in %s is of the wrong kind: SLACK_BOT_TOKEN takes xoxb-…, SLACK_APP_TOKEN takes xapp-…",
	"missing_scope":            "the token in %s lacks a scope that breakglass needs. Compare its scopes with the manifest in the README, and install the app again",
	"no_permission":            "the token in %s lacks a permission that breakglass needs. Install the app again",
	"team_access_not_granted":  "the app behind the token in %s has no access to this Slack team. Ask an administrator to approve it",
	"org_login_required":       "the Slack team of the token in %s has moved to an organisation. Install the app again",
	"forbidden_team":           "the app behind the token in %s may not be used in this Slack team. Ask an administrator",
	"user_removed_from_team":   "Slack says that the token in %s belongs to a user who was removed from the team. Install the app again",
	"team_disabled":            "the Slack team of the token in %s is disabled",
	"enterprise_is_restricted": "the organisation of the token in %s does not allow this call",
}

// permanent tells an operator's sentence for an error that no waiting mends.
func permanent(err error, variable string) (string, bool) {
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		if text, ok := permanentErrors[e.Err]; ok {
			return fmt.Sprintf(text, variable), true
		}
	} else if err != nil {
		// slack-go gives apps.connections.open's errors as plain text.
		if text, ok := permanentErrors[err.Error()]; ok {
			return fmt.Sprintf(text, variable), true
		}
	}
	if e, ok := errors.AsType[slack.StatusCodeError](err); ok && e.Code == http.StatusNotFound {
		return "there is no Slack at slack.api_url: it answered 404", true
	}
	return "", false
}

// redact takes URLs out of an error: those of sockets and of response_urls are
// secrets.
func redact(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}

// openGate stands between slack-go and Slack. It slows apps.connections.open
// down: after a dial that succeeded slack-go
// opens again at once and for ever, thousands of times a second when Slack ends
// every socket right after its hello (link_disabled, too_many_websockets). It
// also refuses a socket that would carry its ticket in the clear, and gives a
// refusal without a reason one.
type openGate struct {
	next http.RoundTripper

	mu     sync.Mutex
	opened []time.Time // within the last minute
}

// Slack allows about 50 calls a minute (Tier 3). A refresh of two sockets every
// few hours needs far less; a storm is slowed down to six a minute.
const (
	freeOpens  = 10
	gateWindow = time.Minute
)

// wait answers how long the next open must wait, and books it.
func (g *openGate) wait(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.opened) > 0 && now.Sub(g.opened[0]) >= gateWindow {
		g.opened = g.opened[1:]
	}
	at := now
	if n := len(g.opened); n >= freeOpens {
		gap := 2 * time.Second
		if n >= 2*freeOpens {
			gap = 10 * time.Second
		}
		if next := g.opened[n-1].Add(gap); next.After(at) {
			at = next
		}
	}
	g.opened = append(g.opened, at)
	return at.Sub(now)
}

// RoundTrip implements http.RoundTripper.
func (g *openGate) RoundTrip(req *http.Request) (*http.Response, error) {
	next := g.next
	if next == nil {
		next = http.DefaultTransport
	}
	opens := strings.HasSuffix(req.URL.Path, "/apps.connections.open")
	if opens {
		if d := g.wait(time.Now()); d > 0 && !sleep(req.Context(), d) {
			return nil, req.Context().Err()
		}
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
		URL   string `json:"url"`
	}
	if json.Unmarshal(body, &answer) == nil {
		if opens && answer.URL != "" && !Private(answer.URL) {
			return nil, errors.New("apps.connections.open offered a socket without encryption, which was refused")
		}
		if answer.OK != nil && !*answer.OK && answer.Error == "" {
			// slack-go takes this for success, and would have an empty group, a
			// message that stands nowhere, a team without an id.
			body = []byte(`{"ok":false,"error":"no_reason_given"}`)
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// largestAnswer is more than any answer that we ask Slack for: a user group may
// have tens of thousands of members.
const largestAnswer = 4 << 20

// Private reports whether what is sent to the URL stays private: it is encrypted,
// or never leaves this machine.
func Private(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "https", "wss":
		return true
	case "http", "ws":
		host := u.Hostname()
		ip := net.ParseIP(host)
		return host == "localhost" || (ip != nil && ip.IsLoopback())
	default:
		return false
	}
}

// take hands an envelope to a goroutine of its own.
func (b *Bot) take(ctx context.Context, s *socket, ev socketmode.Event) {
	if !b.hands.take() {
		b.log.Error("too many envelopes in hand; one was not taken", "limit", maxInHand)
		return
	}
	go func() {
		defer b.hands.put()
		b.handle(ctx, s, ev)
	}()
}

// maxInHand bounds the envelopes that are handled at one time. Over it an
// envelope is not acknowledged, and Slack tells the person.
const maxInHand = 1024

// hands counts the envelopes in hand.
type hands struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n falls to zero; nil while nobody waits
}

func (h *hands) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n >= maxInHand {
		return false
	}
	h.n++
	return true
}

func (h *hands) put() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
}

// idle answers a channel that is closed once nothing is in hand.
func (h *hands) idle() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	return h.empty
}

// handle turns an envelope into an intent, has it committed, and acknowledges.
func (b *Bot) handle(life context.Context, s *socket, ev socketmode.Event) {
	env := ev.Request.EnvelopeID
	defer func() {
		// A hostile payload must not take down what others have open.
		if p := recover(); p != nil {
			b.log.Error("an envelope could not be handled", "ref", reference(), "panic", fmt.Sprint(p))
		}
	}()
	ctx, cancel := context.WithTimeoutCause(life, ackWithin, errors.New("Slack's three seconds are over")) //nolint:staticcheck // names Slack
	defer cancel()
	ack := func(payload any) { s.ack(ctx, env, payload) }
	switch data := ev.Data.(type) {
	case slack.SlashCommand:
		b.slash(ctx, env, data, ack, b.whisperer(life, data.ResponseURL, data.ChannelID, data.UserID))
	case slack.InteractionCallback:
		b.interaction(ctx, env, data, ack, b.whisperer(life, data.ResponseURL, data.Channel.ID, data.User.ID))
	case slackevents.EventsAPIEvent:
		// Nothing is decided by events today; unacknowledged they come again.
		ack(nil)
	default:
		ack(nil)
	}
}

// ackWithin leaves Slack's three seconds some room for the way back.
const ackWithin = 2500 * time.Millisecond
