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

	// stopping is closed when the program is told to stop: then nothing waits
	// for its turn any more, and stays owed.
	stopping chan struct{}
	// blind is set once Slack says that we may not read the channel: then posts
	// whose answer was lost cannot be looked for.
	blind atomic.Bool
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
	return &poster{api: api, http: client, turns: map[string]*turn{}, stopping: make(chan struct{})}
}

// longestWait is how long a message waits for its turn in hand; one that would
// wait longer goes back to what is owed, so that it takes no turn from others.
const longestWait = 10 * time.Second

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
	// maybe says that it may have been posted already.
	maybe bool
}

// eventType marks our messages for ourselves (docs.slack.dev, "Message metadata").
const eventType = "breakglass_message"

// post posts a message and answers where it stands. The message is rendered when
// its turn has come, so that it is the newest.
func (p *poster) post(ctx context.Context, to place, render func() (view.Message, error)) (grant.Card, error) {
	if to.maybe {
		if at, ok := p.find(ctx, to); ok {
			return at, nil
		}
	}
	channel, thread := to.channel, to.thread
	key := "chat.postMessage/" + string(channel)
	if err := p.wait(ctx, key, posts); err != nil {
		return grant.Card{}, err
	}
	msg, err := render()
	if err != nil {
		return grant.Card{}, err
	}
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
			return grant.Card{Channel: grant.ChannelID(in), TS: ts}, p.learn(key, err)
		}
	}
	return grant.Card{}, errors.New("Slack refuses the message even without blocks") //nolint:staticcheck // names Slack
}

// find looks for a message that may have been posted, though its answer was lost.
// It needs a scope to read the channel's history, which the app need not have:
// then the message is posted again, which is better than not at all.
func (p *poster) find(ctx context.Context, to place) (grant.Card, bool) {
	if to.name == "" || p.blind.Load() {
		return grant.Card{}, false
	}
	const lately = 100
	var (
		list []slack.Message
		err  error
	)
	if to.thread == "" {
		var h *slack.GetConversationHistoryResponse
		h, err = p.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: string(to.channel), Limit: lately, IncludeAllMetadata: true})
		if err == nil {
			list = h.Messages
		}
	} else {
		list, _, _, err = p.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: string(to.channel), Timestamp: to.thread, Limit: lately, IncludeAllMetadata: true})
	}
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok && e.Err == "missing_scope" {
		p.blind.Store(true)
	}
	if err != nil {
		return grant.Card{}, false
	}
	for _, m := range list {
		if m.BotID != "" && m.Metadata.EventType == eventType && m.Metadata.EventPayload["name"] == to.name && m.Timestamp != "" {
			return grant.Card{Channel: to.channel, TS: m.Timestamp}, true
		}
	}
	return grant.Card{}, false
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
