package slacksim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxText is where chat.postMessage cuts a text (docs.slack.dev, "chat.postMessage": truncated).
	maxText = 40_000
	// maxUpdateText is where chat.update refuses one with msg_too_long.
	maxUpdateText = 4_000
	// scheduleHorizon, scheduleWindow and schedulePerWindow are the limits of chat.scheduleMessage.
	scheduleHorizon   = 120 * 24 * time.Hour
	scheduleWindow    = 5 * time.Minute
	schedulePerWindow = 30
)

// draft is what a caller wants to say.
type draft struct {
	text       string
	blocks     []Block
	withBlocks bool // blocks were given, though perhaps none
	legacy     bool // attachments were given
	metadata   json.RawMessage
	withMeta   bool
}

// readDraft reads and validates text, blocks and metadata.
func readDraft(a args) (draft, *apiError) {
	d := draft{text: a["text"]}
	if raw, ok := a["blocks"]; ok && raw != "" && raw != "null" {
		blocks, err := readBlocks([]byte(raw))
		if err != nil {
			return d, err
		}
		d.blocks, d.withBlocks = blocks, true
	}
	if raw, ok := a["attachments"]; ok && raw != "" && raw != "null" && raw != "[]" {
		if !json.Valid([]byte(raw)) {
			return d, refuse("invalid_attachments")
		}
		// Attachments are legacy; they are accepted as content and not shown.
		d.legacy = true
	}
	if raw, ok := a["metadata"]; ok && raw != "" {
		var m struct {
			EventType    string          `json:"event_type"`
			EventPayload json.RawMessage `json:"event_payload"`
		}
		if json.Unmarshal([]byte(raw), &m) != nil {
			return d, refuse("invalid_metadata_format")
		}
		if m.EventType != "" {
			if payload := bytes.TrimSpace(m.EventPayload); len(payload) == 0 || payload[0] != '{' {
				return d, refuse("invalid_metadata_schema")
			}
			d.metadata = json.RawMessage(raw)
		}
		d.withMeta = true
	}
	return d, nil
}

// readBlocks decodes and validates a list of blocks and gives ids to what has none.
func readBlocks(raw []byte) ([]Block, *apiError) {
	var blocks []Block
	if err := decode(raw, &blocks); err != nil {
		return nil, refuse("invalid_blocks_format")
	}
	if problems := Validate(raw); len(problems) > 0 {
		e := refuse("invalid_blocks")
		for _, p := range problems {
			e.messages = append(e.messages, p.String())
		}
		return nil, e
	}
	nameBlocks(blocks)
	return blocks, nil
}

// nameBlocks gives a block_id and an action_id to whatever was sent without, as Slack does.
func nameBlocks(blocks []Block) {
	for _, b := range blocks {
		if str(b, "block_id") == "" {
			b["block_id"] = secret(3)[:5]
		}
		name := func(e object) {
			if e != nil && interactive(str(e, "type")) && str(e, "action_id") == "" {
				e["action_id"] = secret(3)[:5]
			}
		}
		for _, e := range objects(b["elements"]) {
			name(e)
		}
		e, _ := b["accessory"].(object)
		name(e)
		e, _ = b["element"].(object)
		name(e)
	}
}

func (d draft) empty() bool { return d.text == "" && len(d.blocks) == 0 && !d.legacy }

func (d draft) without(max int) string {
	if utf8.RuneCountInString(d.text) <= max {
		return d.text
	}
	return string([]rune(d.text)[:max])
}

// place finds where a message may be posted: a channel the bot is in, a DM, or a person, whose DM is
// opened (docs.slack.dev, "chat.postMessage": "a user ID opens the DM").
func (s *Slack) place(id string) (*Channel, *apiError) {
	if id == "" {
		return nil, refuse("channel_not_found")
	}
	if u := s.users[id]; u != nil {
		switch {
		case u.Bot || id == "USLACKBOT" || id == "USLACK":
			return nil, refuse("cannot_dm_bot")
		case u.Deleted || u.Stranger:
			return nil, refuse("channel_not_found")
		case s.opt.NoMessagesTab:
			return nil, refuse("messages_tab_disabled")
		}
		return s.openIM(id), nil
	}
	if strings.HasPrefix(id, "U") || strings.HasPrefix(id, "W") {
		return nil, refuse("user_not_found")
	}
	c := s.channels[id]
	switch {
	case c == nil, c.Private && c.Without:
		return nil, refuse("channel_not_found")
	case c.im != "" && s.opt.NoMessagesTab:
		return nil, refuse("messages_tab_disabled")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.Without && s.bot().need("chat:write.public") != nil:
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

// post adds a message to a channel. The caller holds mu.
func (s *Slack) post(channel, user, thread string, d draft) *Message {
	m := &Message{
		Channel: channel, TS: s.nextTS(), User: user, Text: d.without(maxText), Blocks: d.blocks,
		Metadata: d.metadata, At: time.Now(),
	}
	// A reply whose parent is gone is posted un-threaded (slack-go chat.go, PostMessageWithResponseContext).
	if parent := s.find(channel, thread); parent != nil {
		m.ThreadTS = parent.TS
		if parent.ThreadTS != "" {
			m.ThreadTS = parent.ThreadTS
		}
	}
	s.messages[channel] = append(s.messages[channel], m)
	s.changedMessage(Posted, m)
	return m
}

// whisper shows an ephemeral message to one person. The caller holds mu.
func (s *Slack) whisper(channel, from, to, thread, trigger string, d draft) *Message {
	m := &Message{
		Channel: channel, TS: s.nextTS(), ThreadTS: thread, User: from, To: to, Ephemeral: true,
		Text: d.without(maxText), Blocks: d.blocks, At: time.Now(), Trigger: trigger,
	}
	s.ephemerals = append(s.ephemerals, m)
	s.changedMessage(EphemeralShown, m)
	return m
}

func (s *Slack) chatPostMessage(a args) (object, *apiError) {
	d, err := readDraft(a)
	if err != nil {
		return nil, err
	}
	c, err := s.place(a["channel"])
	if err != nil {
		return nil, err
	}
	if d.empty() {
		return nil, refuse("no_text")
	}
	m := s.post(c.ID, s.opt.BotUserID, a["thread_ts"], d)
	return object{"channel": c.ID, "ts": m.TS, "message": s.messageJSON(m)}, nil
}

// chatUpdate changes a message of the bot's own. Text without blocks removes the blocks; metadata is
// kept when it is left out (docs.slack.dev, "chat.update"). What blocks without text do to the old text
// is not documented: here the text becomes empty, the worse of the two for whoever relies on it.
func (s *Slack) chatUpdate(a args) (object, *apiError) {
	d, err := readDraft(a)
	if err != nil {
		return nil, err
	}
	c := s.channels[a["channel"]]
	switch {
	case c == nil, c.Private && c.Without:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_inactive")
	}
	m := s.find(c.ID, a["ts"])
	switch {
	case m == nil:
		return nil, refuse("message_not_found")
	case m.User != s.opt.BotUserID:
		return nil, refuse("cant_update_message")
	case s.opt.EditWindow > 0 && time.Since(m.At) > s.opt.EditWindow:
		return nil, refuse("edit_window_closed")
	case utf8.RuneCountInString(d.text) > maxUpdateText:
		return nil, refuse("msg_too_long")
	case d.empty():
		return nil, refuse("no_text")
	}
	m.Text, m.Blocks = d.text, d.blocks
	if d.withMeta {
		m.Metadata = d.metadata
	}
	m.Edits++
	m.Edited = len(d.blocks) == 0
	s.changedMessage(Updated, m)
	return object{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": s.messageJSON(m)}, nil
}

func (s *Slack) chatDelete(a args) (object, *apiError) {
	c := s.channels[a["channel"]]
	if c == nil || c.Private && c.Without {
		return nil, refuse("channel_not_found")
	}
	m := s.find(c.ID, a["ts"])
	switch {
	case m == nil:
		return nil, refuse("message_not_found")
	case m.User != s.opt.BotUserID:
		return nil, refuse("cant_delete_message")
	}
	s.remove(c.ID, m.TS)
	return object{"channel": c.ID, "ts": m.TS}, nil
}

func (s *Slack) chatPostEphemeral(a args) (object, *apiError) {
	d, err := readDraft(a)
	if err != nil {
		return nil, err
	}
	c := s.channels[a["channel"]]
	switch {
	case c == nil, c.Private && c.Without:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.Without:
		return nil, refuse("not_in_channel")
	}
	u := s.users[a["user"]]
	switch {
	case u == nil || u.Deleted || !c.has(u.ID):
		return nil, refuse("user_not_in_channel")
	case d.empty():
		return nil, refuse("no_text")
	}
	m := s.whisper(c.ID, s.opt.BotUserID, u.ID, a["thread_ts"], "", d)
	return object{"channel": c.ID, "message_ts": m.TS}, nil
}

func (s *Slack) chatGetPermalink(a args) (object, *apiError) {
	c := s.channels[a["channel"]]
	if c == nil || c.Private && c.Without {
		return nil, refuse("channel_not_found")
	}
	m := s.find(c.ID, a["message_ts"])
	if m == nil {
		return nil, refuse("message_not_found")
	}
	link := fmt.Sprintf("https://%s.slack.com/archives/%s/p%s", s.opt.TeamDomain, c.ID, strings.ReplaceAll(m.TS, ".", ""))
	if m.ThreadTS != "" {
		link += "?thread_ts=" + m.ThreadTS + "&cid=" + c.ID
	}
	return object{"channel": c.ID, "permalink": link}, nil
}

// scheduledMessage is a message that is still to be posted.
type scheduledMessage struct {
	id, channel, thread string
	at                  time.Time
	draft               draft
}

// chatScheduleMessage accepts metadata and then never posts the message, which is what Slack's page of
// this method warns of.
func (s *Slack) chatScheduleMessage(a args) (object, *apiError) {
	d, err := readDraft(a)
	if err != nil {
		return nil, err
	}
	c, err := s.place(a["channel"])
	if err != nil {
		return nil, err
	}
	seconds, bad := strconv.ParseInt(a["post_at"], 10, 64)
	at, now := time.Unix(seconds, 0), time.Now()
	switch {
	case bad != nil || d.empty():
		return nil, refuse("invalid_arguments")
	case !at.After(now):
		return nil, refuse("time_in_past")
	case at.Sub(now) > scheduleHorizon:
		return nil, refuse("time_too_far")
	}
	near := 0
	for _, o := range s.scheduled {
		if o.channel == c.ID && o.at.Truncate(scheduleWindow).Equal(at.Truncate(scheduleWindow)) {
			near++
		}
	}
	if near >= schedulePerWindow {
		return nil, refuse("restricted_too_many")
	}
	m := &scheduledMessage{id: s.nextID("Q"), channel: c.ID, thread: a["thread_ts"], at: at, draft: d}
	s.scheduled[m.id] = m
	if d.metadata == nil {
		s.later(at.Sub(now), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.scheduled[m.id] != m {
				return
			}
			delete(s.scheduled, m.id)
			s.post(m.channel, s.opt.BotUserID, m.thread, m.draft)
		})
	}
	return object{
		"channel": c.ID, "scheduled_message_id": m.id, "post_at": seconds,
		"message": object{"type": "message", "text": d.text, "user": s.opt.BotUserID, "bot_id": s.opt.BotID, "team": s.opt.TeamID},
	}, nil
}

func (s *Slack) chatDeleteScheduledMessage(a args) (object, *apiError) {
	m := s.scheduled[a["scheduled_message_id"]]
	if m == nil || m.channel != a["channel"] {
		return nil, refuse("invalid_scheduled_message_id")
	}
	delete(s.scheduled, m.id)
	return nil, nil
}

func (s *Slack) chatScheduledMessagesList(a args) (object, *apiError) {
	list := []any{}
	for _, m := range sorted(s.scheduled) {
		if a["channel"] == "" || a["channel"] == m.channel {
			list = append(list, object{"id": m.id, "channel_id": m.channel, "post_at": m.at.Unix(), "text": m.draft.text})
		}
	}
	return object{"scheduled_messages": list, "response_metadata": object{"next_cursor": ""}}, nil
}

// messageJSON is a message as Slack describes it in answers and payloads.
func (s *Slack) messageJSON(m *Message) object {
	o := object{"type": "message", "user": m.User, "text": m.Text, "ts": m.TS, "team": s.opt.TeamID}
	if m.User == s.opt.BotUserID {
		o["bot_id"] = s.opt.BotID
		o["app_id"] = s.opt.AppID
	}
	if m.Blocks != nil {
		o["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		o["thread_ts"] = m.ThreadTS
		o["parent_user_id"] = s.opt.BotUserID
	}
	if m.Metadata != nil {
		o["metadata"] = m.Metadata
	}
	if m.Edited {
		o["edited"] = object{"user": m.User, "ts": m.TS}
	}
	if n := len(copies(s.messages[m.Channel], func(r *Message) bool { return r.ThreadTS == m.TS })); n > 0 {
		o["thread_ts"] = m.TS
		o["reply_count"] = n
	}
	return o
}

// decode reads JSON and refuses anything after it.
func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("data after the JSON value")
	}
	return nil
}

// Say posts a message of a person, so that there is something in a channel that is not the bot's.
func (p *Person) Say(channel, text string) Message {
	s := p.slack
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.post(channel, p.id, "", draft{text: text})
}

// interactive says whether an element has an action_id.
func interactive(typ string) bool {
	return !slices.Contains([]string{"", "image", "plain_text", "mrkdwn"}, typ) && !strings.HasPrefix(typ, "rich_text_s") &&
		!slices.Contains([]string{"rich_text_list", "rich_text_quote", "rich_text_preformatted"}, typ)
}
