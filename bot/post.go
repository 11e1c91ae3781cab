package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"breakglass/bot/view"
	"breakglass/store/grant"
)

// poster writes to Slack at the rate that Slack allows. It renders nothing and
// decides nothing.
type poster struct {
	api  *slack.Client
	http *http.Client

	mu    sync.Mutex
	turns map[string]*turn
	// doubt has the names of messages that may have been posted: their answer was
	// lost.
	doubt map[string]bool

	// stopping is closed when the program is told to stop: then nothing waits
	// for its turn any more, and stays owed.
	stopping chan struct{}
	// blind is set once Slack says that we may not read the channel: then posts
	// whose answer was lost cannot be looked for.
	blind atomic.Bool
	// self is who writes our messages, once Slack has said so.
	self atomic.Pointer[writer]
}

// writer is who wrote a message: an app's own user, and its bot id. Ids are never
// given out twice, names are.
type writer struct{ user, bot string }

// wrote reports whether it is the writer of the message. Metadata alone says nothing:
// every app in the channel can read ours, and write the same.
func (w writer) wrote(m slack.Message) bool {
	return w.bot != "" && m.BotID == w.bot || w.user != "" && m.User == w.user
}

// us answers who we are.
func (p *poster) us(ctx context.Context) (writer, error) {
	if w := p.self.Load(); w != nil {
		return *w, nil
	}
	who, err := p.api.AuthTestContext(ctx)
	if err != nil {
		return writer{}, err
	}
	return p.weAre(who), nil
}

// weAre takes in what Slack says of our token.
func (p *poster) weAre(who *slack.AuthTestResponse) writer {
	w := writer{user: who.UserID, bot: who.BotID}
	p.self.Store(&w)
	return w
}

// turn is a token bucket for one method and channel.
type turn struct {
	tokens float64
	at     time.Time
	until  time.Time // Slack said to wait until then
}

// pace is what Slack takes: so many at once, and then one each.
type pace struct {
	burst float64
	each  time.Duration
}

// Slack takes about one message a second and channel, with short bursts, and
// fifty or more chat.update a minute and team (docs.slack.dev, "Rate limits").
var (
	posts = pace{burst: 5, each: time.Second}
	edits = pace{burst: 15, each: 1500 * time.Millisecond}
)

func newPoster(api *slack.Client, client *http.Client) *poster {
	return &poster{api: api, http: client, turns: map[string]*turn{}, doubt: map[string]bool{}, stopping: make(chan struct{})}
}

// longestWait is how long a message waits for its turn in hand; one that would
// wait longer goes back to what is owed, so that it takes no turn from others.
const longestWait = 25 * time.Second

// reserve takes a turn and answers how long to wait for it, or answers false
// with the time after which to ask again.
func (p *poster) reserve(key string, rate pace, now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turns[key]
	if t == nil {
		t = &turn{tokens: rate.burst, at: now}
		p.turns[key] = t
	}
	t.tokens = min(rate.burst, t.tokens+float64(now.Sub(t.at))/float64(rate.each))
	t.at = now
	t.tokens--
	wait := time.Duration(0)
	if t.tokens < 0 {
		wait = time.Duration(-t.tokens * float64(rate.each))
	}
	if wait = max(wait, t.until.Sub(now)); wait > longestWait {
		t.tokens++ // not taken
		return wait, false
	}
	return wait, true
}

// hold keeps everyone from a method and channel for as long as Slack says.
func (p *poster) hold(key string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.turns[key]; t != nil && until.After(t.until) {
		t.until = until
	}
}

// wait waits for a turn.
func (p *poster) wait(ctx context.Context, key string, rate pace) error {
	d, ok := p.reserve(key, rate, time.Now())
	if !ok {
		return &slack.RateLimitedError{RetryAfter: d}
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.stopping:
		return errStopping
	}
}

// learn passes an error on, and obeys it when it says to slow down.
func (p *poster) learn(key string, err error) error {
	if e, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		p.hold(key, time.Now().Add(e.RetryAfter))
	}
	return err
}

func options(msg view.Message, withBlocks bool) ([]slack.MsgOption, error) {
	opts := []slack.MsgOption{
		slack.MsgOptionText(msg.Text, false),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
	}
	if !withBlocks || len(msg.Blocks) == 0 {
		return opts, nil
	}
	var blocks slack.Blocks
	if err := json.Unmarshal(msg.BlocksJSON(), &blocks); err != nil {
		return nil, fmt.Errorf("reading our own blocks: %w", err)
	}
	return append(opts, slack.MsgOptionBlocks(blocks.BlockSet...)), nil
}

// place is where a message goes.
type place struct {
	channel grant.ChannelID
	thread  string // the message that it answers; empty: it stands for itself
	// name tells the message from all others, so that one whose answer was lost is
	// found again; empty: it is never looked for.
	name string
	// maybe says that it may have been posted already: after since, and after the
	// message at the timestamp after, which it stands for now.
	maybe bool
	since time.Time
	after string
	// tries is how often it was tried before.
	tries int
}

// eventType marks our messages for ourselves (docs.slack.dev, "Message metadata").
const eventType = "breakglass_message"

// post posts a message and answers where it stands. The message is rendered when
// its turn has come, so that it is the newest; one that was posted before is found,
// and stands there as it was then.
func (p *poster) post(ctx context.Context, to place, render func() (view.Message, error)) (at grant.Card, found bool, err error) {
	key := "chat.postMessage/" + string(to.channel)
	if err := p.wait(ctx, key, posts); err != nil {
		return grant.Card{}, false, err
	}
	if to.maybe || p.doubts(to.name) {
		at, found, err := p.find(ctx, to)
		switch {
		case found:
			p.doubtful(to.name, false)
			return at, true, nil
		case err != nil && to.tries < patientTries:
			return grant.Card{}, false, p.learn(key, err)
		}
	}
	msg, err := render()
	if err != nil {
		return grant.Card{}, false, err
	}
	at, err = p.put(ctx, to, msg)
	p.doubtful(to.name, err != nil)
	return at, false, p.learn(key, err)
}

// patientTries is how often a message waits until the channel can be read; then
// twice is better than not at all.
const patientTries = 5

func (p *poster) doubts(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubt[name]
}

func (p *poster) doubtful(name string, is bool) {
	if name == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !is {
		delete(p.doubt, name)
		return
	}
	p.doubt[name] = true
}

// put posts a message, without its blocks where Slack dislikes them.
func (p *poster) put(ctx context.Context, to place, msg view.Message) (grant.Card, error) {
	channel, thread := to.channel, to.thread
	for _, blocks := range []bool{true, false} {
		opts, err := options(msg, blocks)
		if err != nil {
			return grant.Card{}, err
		}
		if thread != "" {
			opts = append(opts, slack.MsgOptionTS(thread))
			if msg.Broadcast {
				opts = append(opts, slack.MsgOptionBroadcast())
			}
		}
		if to.name != "" {
			opts = append(opts, slack.MsgOptionMetadata(slack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{"name": to.name}}))
		}
		in, ts, err := p.api.PostMessageContext(ctx, string(channel), opts...)
		if err == nil && ts == "" {
			err = errors.New("Slack took the message but did not say where it stands") //nolint:staticcheck // names Slack
		}
		if err == nil || !blocksRefused(err) {
			return grant.Card{Channel: grant.ChannelID(in), TS: ts}, err
		}
	}
	return grant.Card{}, errors.New("Slack refuses the message even without blocks") //nolint:staticcheck // names Slack
}

// find looks for a message that may have been posted, though its answer was lost.
// It needs a scope to read the channel's history, which the app need not have:
// then the message is posted again, which is better than not at all. An error says
// that asking again may help.
func (p *poster) find(ctx context.Context, to place) (at grant.Card, found bool, err error) {
	if to.name == "" || p.blind.Load() {
		return grant.Card{}, false, nil
	}
	us, err := p.us(ctx)
	if err != nil {
		return grant.Card{}, false, err
	}
	const pages = 10
	cursor := ""
	for range pages {
		var list []slack.Message
		if list, cursor, err = p.read(ctx, to, cursor); err != nil {
			break
		}
		for _, m := range list {
			if us.wrote(m) && m.Metadata.EventType == eventType && m.Metadata.EventPayload["name"] == to.name && m.Timestamp > to.after {
				return grant.Card{Channel: to.channel, TS: m.Timestamp}, true, nil
			}
		}
		if cursor == "" {
			break
		}
	}
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		if e.Err == "missing_scope" {
			p.blind.Store(true)
		}
		if e.Err != "internal_error" && e.Err != "fatal_error" && e.Err != "service_unavailable" && e.Err != "request_timeout" {
			return grant.Card{}, false, nil
		}
	}
	return grant.Card{}, false, err
}

// read reads a page of the channel, from its end, or of the thread, from its
// beginning.
func (p *poster) read(ctx context.Context, to place, cursor string) (list []slack.Message, next string, err error) {
	const most = 200
	oldest := ""
	if !to.since.IsZero() {
		// Slack's clock need not be ours.
		oldest = fmt.Sprint(to.since.Add(-10 * time.Minute).Unix())
	}
	if to.thread != "" {
		list, _, next, err = p.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
			ChannelID: string(to.channel), Timestamp: to.thread, Cursor: cursor, Oldest: oldest, Limit: most, IncludeAllMetadata: true,
		})
		return list, next, err
	}
	h, err := p.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: string(to.channel), Cursor: cursor, Oldest: oldest, Limit: most, IncludeAllMetadata: true,
	})
	if err != nil {
		return nil, "", err
	}
	return h.Messages, h.ResponseMetaData.NextCursor, nil
}

// update edits a message.
func (p *poster) update(ctx context.Context, card grant.Card, render func() (view.Message, error)) error {
	// Slack counts chat.update per method and team.
	const key = "chat.update"
	if err := p.wait(ctx, key, edits); err != nil {
		return err
	}
	msg, err := render()
	if err != nil {
		return err
	}
	for _, blocks := range []bool{true, false} {
		opts, err := options(msg, blocks)
		if err != nil {
			return err
		}
		_, _, _, err = p.api.UpdateMessageContext(ctx, string(card.Channel), card.TS, opts...)
		if err == nil || !blocksRefused(err) {
			return p.learn(key, err)
		}
	}
	return errors.New("Slack refuses the edit even without blocks") //nolint:staticcheck // names Slack
}

// ephemeral shows a message to one person.
func (p *poster) ephemeral(ctx context.Context, channel grant.ChannelID, user grant.UserID, msg view.Message) error {
	opts, err := options(msg, true)
	if err != nil {
		return err
	}
	_, err = p.api.PostEphemeralContext(ctx, string(channel), string(user), opts...)
	return err
}

// blocksRefused reports whether Slack dislikes the blocks; the words alone are
// better than silence.
func blocksRefused(err error) bool {
	e, ok := errors.AsType[slack.SlackErrorResponse](err)
	return ok && (e.Err == "invalid_blocks" || e.Err == "invalid_blocks_format" || e.Err == "msg_blocks_too_long")
}

// gone reports whether the message to be edited is not there any more.
func gone(err error) bool {
	e, ok := errors.AsType[slack.SlackErrorResponse](err)
	return ok && (e.Err == "message_not_found" || e.Err == "cant_update_message" || e.Err == "edit_window_closed")
}

// respond posts to a response_url. Its URL never reaches an error.
func (p *poster) respond(ctx context.Context, to string, body map[string]any) error {
	js, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(js))
	if err != nil {
		return errors.New("the response_url is malformed")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return redact(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("reading the answer of a response_url: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a response_url answered %d", resp.StatusCode)
	}
	var verdict struct {
		OK *bool `json:"ok"`
	}
	if strings.HasPrefix(strings.TrimSpace(string(answer)), "{") && json.Unmarshal(answer, &verdict) == nil && verdict.OK != nil && !*verdict.OK {
		return errors.New("a response_url refused the answer")
	}
	return nil
}
