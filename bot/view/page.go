package view

import (
	"slices"
	"strings"

	"breakglass/store/grant"
)

// page is a message being written: parts from the top down, the most important
// first. Whatever is put into it, what comes out keeps Slack's limits.
type page struct {
	parts []part
	// rest says where to read what had to be left out.
	rest string
	// sum and most are how many characters and blocks there may be; zero: as in a
	// message.
	sum, most int
	// words is how long the top-level text may be; zero: as in a message that is
	// edited.
	words int
	// broadcast says that it is worth showing in the channel, too.
	broadcast bool
	// others are the other grants that are live, for buttons that concern them.
	others []grant.Grant
}

type part struct {
	kind    partKind
	text    string // of a heading or of code
	lines   []line
	buttons []button
	// joined parts stand in one block with the part before.
	joined bool
}

type partKind int

const (
	heading partKind = iota
	lead             // what matters most; never left out
	para
	program // a block of code
	row     // a paragraph of plain words with a button beside it
	press   // buttons; never left out
)

func (p *page) head(s string) {
	p.parts = append(p.parts, part{kind: heading, text: clip(s, maxHeader)})
}

func (p *page) lead(lines ...line) { p.add(part{kind: lead, lines: lines}) }

func (p *page) para(lines ...line) { p.add(part{kind: para, lines: lines}) }

// more continues the block before.
func (p *page) more(lines ...line) { p.add(part{kind: para, lines: lines, joined: true}) }

// code is a block of code that continues the block before.
func (p *page) code(s string) {
	if s = clip(verbatim(s), maxPiece); strings.TrimSpace(s) != "" {
		p.parts = append(p.parts, part{kind: program, text: s, joined: true})
	}
}

// row is a line of plain words with a button beside it.
func (p *page) row(s string, b button) {
	p.parts = append(p.parts, part{kind: row, lines: []line{ln(clip(s, maxSection))}, buttons: []button{b}})
}

func (p *page) press(buttons ...button) {
	if len(buttons) > 0 {
		p.parts = append(p.parts, part{kind: press, buttons: buttons})
	}
}

// add leaves out empty lines, and paragraphs that have no others.
func (p *page) add(q part) {
	var lines []line
	for _, l := range q.lines {
		if slices.ContainsFunc(l, func(s span) bool { return s.text != "" || s.kind == date }) {
			lines = append(lines, l)
		}
	}
	if q.lines = lines; len(lines) > 0 {
		p.parts = append(p.parts, q)
	}
}

func (p *page) message() Message {
	return Message{Text: p.text(), Blocks: p.blocks(), Broadcast: p.broadcast}
}

// size is about how much of Slack's patience a part costs.
func (q part) size() int {
	n := units(q.text) + 20
	for _, l := range q.lines {
		for _, s := range l {
			n += units(s.text) + len(s.style) + len(s.plain) + len(s.url)
		}
	}
	for _, b := range q.buttons {
		for _, label := range b.labels() {
			n += units(label) + 20
		}
	}
	return n
}

// kept is the parts that fit. What must be said is said; of the rest, what
// comes first.
func (p *page) kept() []part {
	left, blocks := maxSum, maxBlocks
	if p.most > 0 {
		left, blocks = p.sum, p.most
	}
	for _, q := range p.parts {
		if q.vital() {
			left -= q.size()
			blocks--
		}
	}
	var out []part
	short := false
	for _, q := range p.parts {
		switch {
		case q.vital():
		case short && q.joined:
			// What it belongs to may be gone.
			continue
		case q.size() > left || (!q.joined && blocks <= 1):
			short = true
			continue
		default:
			short = false
			left -= q.size()
			if !q.joined {
				blocks--
			}
		}
		out = append(out, q)
	}
	if len(out) < len(p.parts) {
		more := ln("There is more than fits here.")
		if p.rest != "" {
			more = ln("There is more: ", code(p.rest))
		}
		q := part{kind: para, lines: []line{more}}
		at := len(out)
		for at > 0 && out[at-1].kind == press {
			at--
		}
		out = append(out[:at], append([]part{q}, out[at:]...)...)
	}
	return out
}

func (q part) vital() bool {
	return q.kind == heading || q.kind == lead || q.kind == press
}

func (p *page) blocks() []Block {
	out := []Block{}
	for _, q := range p.kept() {
		switch q.kind {
		case heading:
			out = append(out, Block{Type: "header", Text: new(plainText(q.text))})
		case lead:
			if s, ok := mrkdwn(q.lines); ok {
				out = append(out, Block{Type: "section", Text: &object{Type: "mrkdwn", Text: s, Verbatim: true}})
				continue
			}
			out = append(out, Block{Type: "rich_text", Elements: []any{rich(q.lines)}})
		case para, program:
			content := rich(q.lines)
			if q.kind == program {
				content = richPart{Type: "rich_text_preformatted", Elements: []richElement{{Type: "text", Text: q.text}}}
			}
			if n := len(out); q.joined && n > 0 && out[n-1].Type == "rich_text" {
				out[n-1].Elements = append(out[n-1].Elements, content)
				continue
			}
			out = append(out, Block{Type: "rich_text", Elements: []any{content}})
		case row:
			out = append(out, Block{Type: "section", Text: new(plainText(q.lines[0][0].text)), Accessory: &q.buttons[0]})
		case press:
			b := Block{Type: "actions"}
			for _, x := range q.buttons {
				b.Elements = append(b.Elements, x)
			}
			out = append(out, b)
		}
	}
	return out
}

// text is the page as words alone. Buttons are named at its end.
func (p *page) text() string {
	var labels []string
	for _, q := range p.parts {
		for _, b := range q.buttons {
			for _, label := range b.labels() {
				labels = append(labels, Escape(label))
			}
		}
	}
	last := ""
	if len(labels) > 0 {
		last = Cut("\nButtons: "+strings.Join(labels, ", ")+".", 500)
	}
	w := &narrow{left: max(p.words, maxText) - units(last) - 1}
	for _, q := range p.parts {
		if q.text != "" {
			w.line()
			w.words(clip(Escape(q.text), 1500))
		}
		for _, l := range q.lines {
			w.line()
			for _, s := range l {
				if s.kind == words {
					w.words(s.read())
				} else {
					w.token(s.read())
				}
			}
		}
	}
	return w.String() + last
}

// narrow is a text that stops where there is no more room.
type narrow struct {
	strings.Builder
	left int
	full bool
}

// line begins a new line.
func (w *narrow) line() {
	if w.Len() > 0 {
		w.token("\n")
	}
}

// token is written whole or not at all.
func (w *narrow) token(s string) {
	n := units(s)
	switch {
	case w.full:
	case n <= w.left:
		w.left -= n
		w.WriteString(s)
	default:
		w.full = true
		w.WriteString("…")
	}
}

// words may be cut.
func (w *narrow) words(s string) {
	if units(s) > w.left && w.left > 50 && !w.full {
		w.full = true
		s = clip(s, w.left)
		w.WriteString(s)
		return
	}
	w.token(s)
}
