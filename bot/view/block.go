package view

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Message is one Slack message.
type Message struct {
	// Text is the top-level text. It says everything that the blocks say, for
	// notifications and for screen readers, which read it and skip the blocks.
	// What was typed in it is escaped.
	Text   string
	Blocks []Block
	// Broadcast says that a reply in a thread is worth showing in the channel, too.
	Broadcast bool
}

// BlocksJSON is the blocks as Slack takes them.
func (m Message) BlocksJSON() []byte {
	blocks := m.Blocks
	if blocks == nil {
		blocks = []Block{}
	}
	return marshal(blocks)
}

func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// The types below hold nothing that JSON cannot write.
		panic(fmt.Sprintf("view: blocks that JSON cannot write: %v", err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Block is one block of Block Kit, of the few kinds that are needed here.
type Block struct {
	Type      string  `json:"type"`
	Text      *object `json:"text,omitempty"`
	Accessory *button `json:"accessory,omitempty"`
	Elements  []any   `json:"elements,omitempty"` // buttons, or the parts of a rich text

	// Of an input in a form.
	BlockID  string   `json:"block_id,omitempty"`
	Label    *object  `json:"label,omitempty"`
	Hint     *object  `json:"hint,omitempty"`
	Element  *element `json:"element,omitempty"`
	Optional bool     `json:"optional,omitempty"`
}

// object is a text object.
type object struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"` // of mrkdwn: names and addresses are not made links
	Emoji    *bool  `json:"emoji,omitempty"`    // of plain_text: false leaves :colons: alone
}

func plainText(s string) object { return object{Type: "plain_text", Text: s, Emoji: new(false)} }

// button is a button or a menu. Its value is the grant's opaque token and nothing else:
// nothing that comes back with a click is trusted.
type button struct {
	Type     string   `json:"type"`
	ActionID string   `json:"action_id"`
	Text     object   `json:"text,omitzero"`
	Value    string   `json:"value,omitempty"`
	Options  []option `json:"options,omitempty"` // of a menu
	Style    string   `json:"style,omitempty"`
	Confirm  *confirm `json:"confirm,omitempty"`
}

// confirm is the question that Slack asks before it sends a click.
type confirm struct {
	Title   object `json:"title"`
	Text    object `json:"text"`
	Confirm object `json:"confirm"`
	Deny    object `json:"deny"`
	Style   string `json:"style,omitempty"`
}

// richPart is a section or a preformatted part of a rich text.
type richPart struct {
	Type     string        `json:"type"`
	Elements []richElement `json:"elements"`
}

// richElement is a piece of text, a mention, a link or a date in a rich text. Its text
// is never parsed by Slack, so it needs no escaping.
type richElement struct {
	Type        string     `json:"type"`
	Text        string     `json:"text,omitempty"`
	UserID      string     `json:"user_id,omitempty"`
	UsergroupID string     `json:"usergroup_id,omitempty"`
	ChannelID   string     `json:"channel_id,omitempty"`
	URL         string     `json:"url,omitempty"`
	Timestamp   int64      `json:"timestamp,omitempty"`
	Format      string     `json:"format,omitempty"`
	Fallback    string     `json:"fallback,omitempty"`
	Style       *richStyle `json:"style,omitempty"`
}

type richStyle struct {
	Bold bool `json:"bold,omitempty"`
	Code bool `json:"code,omitempty"`
}

// Slack's limits that matter here, in characters (docs.slack.dev, "Reference:
// Block Kit"; chat.update answers msg_too_long over 4,000). The sums are ours:
// Slack refuses messages whose blocks hold too much in all, with
// msg_blocks_too_long and without saying how much is too much; 11,000 has been
// refused (slackapi/bolt-js#2867, #2509).
const (
	maxText    = 3900
	maxSection = 2900
	maxHeader  = 150
	maxButton  = 75
	maxConfirm = 300
	maxTitle   = 100
	maxBlocks  = 48
	maxSum     = 8000
	maxPiece   = 2900 // one text of a rich text, or one block of code
	maxURL     = 2900 // Slack: 3,000
)

// The limits of forms and of the home tab (docs.slack.dev, "Reference: Block Kit"
// and "View object"). How long an error beside an input may be is not documented;
// ours are a sentence or two. The sum of a home tab is ours, too: Slack takes
// 250 KB.
const (
	maxViewTitle     = 24
	maxLabel         = 2000
	maxPlaceholder   = 150
	maxOption        = 75
	maxOptionValue   = 150
	maxOptions       = 100
	maxFormError     = 300
	maxARN           = 700
	maxTypedDuration = 40
	maxHomeBlocks    = 98
	maxHomeSum       = 12_000
)
