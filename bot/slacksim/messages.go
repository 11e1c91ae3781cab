package slacksim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Block is one Block Kit block as JSON. Blocks that are handed out are shared: read them only.
type Block = map[string]any

// Message is a message as people see it at one moment.
type Message struct {
	Channel  string
	TS       string
	ThreadTS string // the message that this one replies to
	User     string // who wrote it: the bot, a person, or USLACKBOT
	Text     string
	Blocks   []Block
	Metadata json.RawMessage
	At       time.Time

	Edits  int  // how often it was changed
	Edited bool // whether it shows "(edited)": only for text without blocks
	// Ephemeral messages are seen by To alone and are gone when that person reloads.
	Ephemeral bool
	To        string
	// Trigger is the trigger id of the interaction that this message answers, where it came through an
	// ack or a response_url.
	Trigger string
}

// Change is one change of what people see.
type Change struct {
	At      time.Time
	Kind    ChangeKind
	Message Message // for changes of messages
	View    View    // for changes of views
}

// ChangeKind says what changed.
type ChangeKind string

// The kinds of change.
const (
	Posted          ChangeKind = "posted"
	Updated         ChangeKind = "updated"
	Deleted         ChangeKind = "deleted"
	EphemeralShown  ChangeKind = "ephemeral"
	EphemeralEdited ChangeKind = "ephemeral updated"
	EphemeralGone   ChangeKind = "ephemeral deleted"
	ViewOpened      ChangeKind = "view opened"
	ViewUpdated     ChangeKind = "view updated"
	ViewFilled      ChangeKind = "view filled in" // by its person, before anything was sent
	ViewClosed      ChangeKind = "view closed"
	HomePublished   ChangeKind = "home published"
)

// Changes returns what changed, in order, leaving out the first from changes.
func (s *Slack) Changes(from int) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changes[min(from, len(s.changes)):])
}

// changedMessage notes a change of a message and wakes who waits. The caller holds mu.
func (s *Slack) changedMessage(kind ChangeKind, m *Message) {
	s.changes = append(s.changes, Change{At: time.Now(), Kind: kind, Message: *m})
	s.tell()
}

// Messages returns what stands in a channel or DM now, oldest first, threads included, ephemerals not.
func (s *Slack) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.messages[channel], func(*Message) bool { return true })
}

// Message returns one message as it is now.
func (s *Slack) Message(channel, ts string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.find(channel, ts); m != nil {
		return *m, true
	}
	return Message{}, false
}

// Thread returns the replies to a message, oldest first.
func (s *Slack) Thread(channel, ts string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.messages[channel], func(m *Message) bool { return m.ThreadTS == ts })
}

// Ephemerals returns every ephemeral message that a person can still see, in any channel, oldest first.
func (s *Slack) Ephemerals(user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.ephemerals, func(m *Message) bool { return m.To == user })
}

// DMs returns the direct messages between the bot and a person.
func (s *Slack) DMs(user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.messages[s.ims[user]], func(*Message) bool { return true })
}

// DM returns the id of the DM between the bot and a person, "" while there is none.
func (s *Slack) DM(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ims[user]
}

// WaitMessage waits for a message in a channel that ok accepts and returns it; the newest, of several.
// Nil accepts any.
func (s *Slack) WaitMessage(ctx context.Context, channel string, ok func(Message) bool) (Message, error) {
	return s.await(ctx, "#"+channel, func() []Message { return s.Messages(channel) }, ok)
}

// WaitEphemeral is WaitMessage for the ephemerals of a person.
func (s *Slack) WaitEphemeral(ctx context.Context, user string, ok func(Message) bool) (Message, error) {
	return s.await(ctx, "ephemerals of "+user, func() []Message { return s.Ephemerals(user) }, ok)
}

// WaitDM is WaitMessage for the direct messages of a person.
func (s *Slack) WaitDM(ctx context.Context, user string, ok func(Message) bool) (Message, error) {
	return s.await(ctx, "direct messages of "+user, func() []Message { return s.DMs(user) }, ok)
}

func (s *Slack) await(ctx context.Context, where string, list func() []Message, ok func(Message) bool) (Message, error) {
	var found Message
	err := s.Wait(ctx, func() bool {
		for _, m := range slices.Backward(list()) {
			if ok == nil || ok(m) {
				found = m
				return true
			}
		}
		return false
	})
	if err == nil {
		return found, nil
	}
	var seen strings.Builder
	for _, m := range list() {
		fmt.Fprintf(&seen, "\n--- %s\n%s", m.TS, s.Render(m))
	}
	if seen.Len() == 0 {
		seen.WriteString(" nothing")
	}
	return Message{}, fmt.Errorf("no such message in %s: %w; there is:%s", where, err, seen.String())
}

// DeleteMessage removes a message as a workspace admin or a retention policy does.
func (s *Slack) DeleteMessage(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(channel, ts)
}

func (s *Slack) remove(channel, ts string) {
	if m := s.find(channel, ts); m != nil {
		s.messages[channel] = slices.DeleteFunc(s.messages[channel], func(o *Message) bool { return o == m })
		s.changedMessage(Deleted, m)
	}
}

func (s *Slack) find(channel, ts string) *Message {
	return one(s.messages[channel], channel, ts)
}

func (s *Slack) findEphemeral(channel, ts string) *Message {
	return one(s.ephemerals, channel, ts)
}

func one(list []*Message, channel, ts string) *Message {
	for _, m := range list {
		if m.Channel == channel && m.TS == ts {
			return m
		}
	}
	return nil
}

func copies(list []*Message, ok func(*Message) bool) []Message {
	var out []Message
	for _, m := range list {
		if ok(m) {
			out = append(out, *m)
		}
	}
	return out
}

// Button is a button or another control in a message or a view.
type Button struct {
	BlockID  string
	ActionID string
	Type     string // button, static_select, overflow, …
	Text     string // the label, or a menu's placeholder
	Value    string
	URL      string
	Style    string
	Confirm  string // the text of the question that it asks first
	Options  []Option

	element object
}

// Option is one choice of a menu.
type Option struct {
	Text  string
	Value string

	raw object
}

// Buttons returns the controls in the message from top to bottom.
func (m Message) Buttons() []Button { return buttons(m.Blocks) }

// Button returns the one control whose action_id is name or whose label begins with name.
func (m Message) Button(name string) (Button, error) { return pick(m.Buttons(), name) }

// buttons lists every interactive element in blocks, inputs included.
func buttons(blocks []Block) []Button {
	var out []Button
	add := func(b Block, e object) {
		if e == nil || str(e, "action_id") == "" {
			return
		}
		bt := Button{
			BlockID: str(b, "block_id"), ActionID: str(e, "action_id"), Type: str(e, "type"),
			Text: textOf(e["text"]), Value: str(e, "value"), URL: str(e, "url"), Style: str(e, "style"), element: e,
		}
		if bt.Text == "" {
			bt.Text = textOf(e["placeholder"])
		}
		if str(b, "type") == "input" {
			bt.Text = textOf(b["label"])
		}
		if c, ok := e["confirm"].(object); ok {
			bt.Confirm = textOf(c["title"]) + ": " + textOf(c["text"])
		}
		bt.Options = options(e)
		out = append(out, bt)
	}
	for _, b := range blocks {
		switch str(b, "type") {
		case "actions":
			for _, e := range objects(b["elements"]) {
				add(b, e)
			}
		case "section":
			e, _ := b["accessory"].(object)
			add(b, e)
		case "input":
			e, _ := b["element"].(object)
			add(b, e)
		}
	}
	return out
}

func options(e object) []Option {
	var out []Option
	for _, o := range objects(e["options"]) {
		out = append(out, Option{Text: textOf(o["text"]), Value: str(o, "value"), raw: o})
	}
	for _, g := range objects(e["option_groups"]) {
		out = append(out, options(g)...)
	}
	return out
}

// pick finds a control by action_id, or else by the beginning of its label, or else by block_id.
func pick(list []Button, name string) (Button, error) {
	match := func(ok func(Button) bool) []Button {
		var found []Button
		for _, b := range list {
			if ok(b) {
				found = append(found, b)
			}
		}
		return found
	}
	found := match(func(b Button) bool { return b.ActionID == name })
	if len(found) == 0 {
		found = match(func(b Button) bool { return strings.HasPrefix(strings.ToLower(b.Text), strings.ToLower(name)) })
	}
	if len(found) == 0 {
		found = match(func(b Button) bool { return b.BlockID == name })
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Button{}, fmt.Errorf("%w: %q; there is %s", ErrNoButton, name, names(list))
	default:
		return Button{}, fmt.Errorf("%w: %q is one of %s", ErrManyButtons, name, names(found))
	}
}

func names(list []Button) string {
	if len(list) == 0 {
		return "none"
	}
	var out []string
	for _, b := range list {
		out = append(out, fmt.Sprintf("[%s] (%s %s)", b.Text, b.ActionID, b.Value))
	}
	return strings.Join(out, ", ")
}

// str reads a string out of JSON; "" if it is none.
func str(o object, key string) string {
	v, _ := o[key].(string)
	return v
}

// textOf reads the text of a text object.
func textOf(v any) string {
	o, _ := v.(object)
	return str(o, "text")
}

// objects reads an array of objects out of JSON.
func objects(v any) []object {
	list, _ := v.([]any)
	var out []object
	for _, e := range list {
		if o, ok := e.(object); ok {
			out = append(out, o)
		}
	}
	return out
}
