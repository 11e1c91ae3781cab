package slacksim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// ackWithin is how long an app has to ack an envelope (docs.slack.dev, "Using Socket Mode").
	ackWithin = 3 * time.Second
	// maxAck is where an ack gets so large that it is dropped (github.com/slack-go/slack/issues/1196).
	maxAck = 20 << 10
)

// retryAfter is when an event that nobody acked comes again (docs.slack.dev, "Events API": "Retries").
var retryAfter = []time.Duration{0, time.Minute, 5 * time.Minute}

// Interaction is one thing that a person did, and what came of it.
type Interaction struct {
	Kind        string // slash_commands, block_actions, view_submission, view_closed, shortcut, app_home_opened, …
	EnvelopeID  string
	TriggerID   string
	ResponseURL string
	Connection  int // which connection got it; 0 if there was none
	Sent        time.Time

	Acked   bool
	After   time.Duration   // from Sent to the ack
	Payload json.RawMessage // of the ack
	// Failure is what Slack told the person when the app did not answer in time or not sensibly; "" if all
	// was well.
	Failure string

	slack  *Slack
	person string
	from   int // how many changes there were before
	sentAs *envelope
}

// Ephemerals returns the ephemeral messages that the person was shown since then, as they were first
// shown. More may come: see Slack.WaitEphemeral.
func (i Interaction) Ephemerals() []Message {
	if i.slack == nil { // Nothing was sent.
		return nil
	}
	var out []Message
	for _, c := range i.slack.Changes(i.from) {
		if c.Kind == EphemeralShown && c.Message.To == i.person {
			out = append(out, c.Message)
		}
	}
	return out
}

// envelope is one payload on its way to the app and back.
type envelope struct {
	id, kind, typ string // typ is the envelope's type, kind the payload's
	accepts       bool   // accepts_response_payload
	payload       json.RawMessage
	attempt       int
	reason        string
	person        string
	trigger, url  string
	// answer does what the ack's payload asks for; fail shows the person what Slack shows when there is no
	// ack. Both run with mu held and say what the person is told.
	answer func(payload json.RawMessage) string
	fail   func(why string) string

	conn    int
	sent    time.Time
	settled bool
	acked   bool
	after   time.Duration
	reply   json.RawMessage
	failure string
	done    chan struct{}
	echo    bool // an envelope with this id is being waited for already
	mishap  DeliveryFault
}

// The types of envelopes.
const (
	typeSlash       = "slash_commands"
	typeInteractive = "interactive"
	typeEvents      = "events_api"
)

// Why an envelope was not acked.
const (
	noConnection = "no connection"
	noAck        = "no ack"
)

// deliver sends an envelope and waits until it is acked or given up.
func (s *Slack) deliver(ctx context.Context, e *envelope, from int) (Interaction, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Interaction{}, errClosed
	}
	s.dispatch(e)
	if s.doubles > 0 {
		s.doubles--
		s.dispatch(e.twin(s.doubleNew))
	}
	s.mu.Unlock()
	select {
	case <-e.done:
	case <-s.done:
		return Interaction{}, errClosed
	case <-ctx.Done():
		return Interaction{}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Interaction{
		Kind: e.kind, EnvelopeID: e.id, TriggerID: e.trigger, ResponseURL: e.url, Connection: e.conn, Sent: e.sent,
		Acked: e.acked, After: e.after, Payload: e.reply, Failure: e.failure,
		slack: s, person: e.person, from: from, sentAs: e,
	}, nil
}

// twin is the same payload once more, in the same envelope or in another. The caller holds mu.
func (e *envelope) twin(newEnvelope bool) *envelope {
	t := &envelope{
		id: e.id, kind: e.kind, typ: e.typ, accepts: e.accepts, payload: e.payload, attempt: e.attempt, reason: e.reason,
		person: e.person, trigger: e.trigger, url: e.url, answer: e.answer, fail: e.fail, done: make(chan struct{}),
	}
	if newEnvelope {
		t.id = uuid()
	}
	return t
}

// Redeliver sends the payload of an interaction again, as Slack has been seen to do
// (github.com/slackapi/bolt-js/issues/2188): in the same envelope, or in a new one.
func (s *Slack) Redeliver(ctx context.Context, i Interaction, newEnvelope bool) (Interaction, error) {
	if i.sentAs == nil {
		return Interaction{}, fmt.Errorf("%w: nothing was delivered", ErrRefused)
	}
	s.mu.Lock()
	e, from := i.sentAs.twin(newEnvelope), len(s.changes)
	s.mu.Unlock()
	return s.deliver(ctx, e, from)
}

// DuplicateNext makes the next n envelopes arrive twice, over two connections if there are two.
func (s *Slack) DuplicateNext(n int, newEnvelope bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubles, s.doubleNew = n, newEnvelope
}

// dispatch puts an envelope on a connection and starts its clock. The caller holds mu.
func (s *Slack) dispatch(e *envelope) {
	e.sent = time.Now()
	// A second copy of an envelope that is still open, or was acked, changes nothing for the person: what
	// the app says to it is a duplicate ack.
	if old := s.envelopes[e.id]; old == nil || old.settled && !old.acked {
		s.envelopes[e.id] = e
	} else {
		e.echo = true
		s.echoes[e.id] = append(s.echoes[e.id], e)
	}
	c := s.pickConnection()
	if c == nil || !s.send(c, e) {
		s.giveUp(e, noConnection)
		return
	}
	e.conn = c.id
	s.start(func() {
		timer := time.NewTimer(ackWithin)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			if !e.settled {
				s.giveUp(e, noAck)
			}
		case <-e.done:
		case <-s.done:
		}
	})
}

func (e *envelope) frame() object {
	f := object{"envelope_id": e.id, "type": e.typ, "accepts_response_payload": e.accepts, "payload": e.payload}
	if e.typ == typeEvents {
		f["retry_attempt"], f["retry_reason"] = e.attempt, e.reason
	}
	return f
}

// giveUp ends the wait for an ack. Events come again; everything else fails before the person's eyes.
// The caller holds mu.
func (s *Slack) giveUp(e *envelope, why string) {
	e.settled = true
	if e.fail != nil && !e.echo {
		e.failure = e.fail(why)
	}
	if e.typ == typeEvents && !e.echo && e.attempt < len(retryAfter) {
		again := e.twin(s.opt.Socket.NewEnvelopeOnRetry)
		again.attempt, again.reason = e.attempt+1, "timeout"
		s.later(retryAfter[e.attempt], func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !e.acked {
				s.dispatch(again)
			}
		})
	}
	close(e.done)
	s.tell()
}

// reply is a frame of the app.
type reply struct {
	EnvelopeID string          `json:"envelope_id"`
	Payload    json.RawMessage `json:"payload"`
}

// receive takes a frame of the app, unless something happens to it on the way.
func (s *Slack) receive(c *Connection, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in reply
	bad := json.Unmarshal(data, &in) != nil || in.EnvelopeID == ""
	if e := s.envelopes[in.EnvelopeID]; e != nil && e.mishap.DelayAck > 0 {
		s.later(e.mishap.DelayAck, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.settle(c, in, len(data), bad)
		})
		return
	}
	s.settle(c, in, len(data), bad)
}

// settle does what an ack asks for. The caller holds mu.
func (s *Slack) settle(c *Connection, in reply, size int, bad bool) {
	a := Ack{EnvelopeID: in.EnvelopeID, Connection: c.id, At: time.Now(), Payload: in.Payload, Size: size}
	e := s.envelopes[in.EnvelopeID]
	switch {
	case bad:
		a.Verdict = AckMalformed
	case e != nil && e.mishap.LoseAck:
		a.Verdict = AckLost
	case size >= maxAck:
		a.Verdict = AckTooLarge
	case e == nil:
		a.Verdict = AckUnknown
	case e.acked:
		a.Verdict = AckDuplicate
		for _, echo := range s.echoes[e.id] {
			if !echo.settled {
				echo.settled, echo.acked, echo.after, echo.reply = true, true, time.Since(echo.sent), in.Payload
				close(echo.done)
				break
			}
		}
	case s.opt.Socket.OwnAcksOnly && e.conn != c.id:
		a.Verdict = AckElsewhere
	case e.settled:
		a.Verdict = AckLate
		e.acked = e.typ == typeEvents // A late ack stops the retries that are still to come.
	default:
		a.Verdict = AckTaken
		e.settled, e.acked, e.after, e.reply = true, true, time.Since(e.sent), in.Payload
		if e.answer != nil {
			payload := in.Payload
			if p := bytes.TrimSpace(payload); !e.accepts || string(p) == "null" || string(p) == "{}" {
				payload = nil
			}
			e.failure = e.answer(payload)
		}
		close(e.done)
	}
	s.acks = append(s.acks, a)
	s.tell()
}

// answerSlash posts the message in the ack of a slash command (docs.slack.dev, "Implementing slash
// commands": ephemeral unless response_type says in_channel). The caller holds mu.
func (s *Slack) answerSlash(raw json.RawMessage, user, channel, trigger string) string {
	if len(raw) == 0 {
		return ""
	}
	var text string
	a := args{}
	if json.Unmarshal(raw, &text) == nil {
		a["text"] = text
	} else {
		var err *apiError
		if a, err = jsonArgs(raw); err != nil {
			return s.slackbot(user, channel, trigger, fmt.Sprintf("the ack is refused: %s", err.code))
		}
	}
	d, err := readDraft(a)
	switch {
	case err != nil:
		return s.slackbot(user, channel, trigger, fmt.Sprintf("the ack is refused: %s %v", err.code, err.messages))
	case d.empty():
	case a["response_type"] == "in_channel":
		s.post(channel, s.opt.BotUserID, "", d).Trigger = trigger
	default:
		s.whisper(channel, s.opt.BotUserID, user, "", trigger, d)
	}
	return ""
}

// slackbot tells a person something in Slackbot's name. The caller holds mu.
func (s *Slack) slackbot(user, channel, trigger, text string) string {
	s.whisper(channel, "USLACKBOT", user, "", trigger, draft{text: text})
	return text
}
