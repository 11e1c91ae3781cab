package view

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"breakglass/store/grant"
)

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Escape makes the three characters that Slack parses harmless (docs.slack.dev,
// "Formatting message text"). Do not escape twice; cut after escaping, with [Cut].
func Escape(s string) string { return escaper.Replace(s) }

// Cut shortens a text to so many characters at most, the last of which is then
// an ellipsis. It may be given escaped text: an entity such as &amp; stays whole
// or goes whole.
func Cut(s string, runes int) string {
	return cut(s, runes, func(rune) int { return 1 })
}

// clip is [Cut] with characters counted as JavaScript counts them, in UTF-16
// units. Slack does not say how it counts; this is never fewer than it may find.
func clip(s string, units int) string { return cut(s, units, utf16Size) }

func utf16Size(r rune) int {
	if r >= 0x10000 {
		return 2
	}
	return 1
}

// units is the length of a text in UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16Size(r)
	}
	return n
}

func cut(s string, limit int, size func(rune) int) string {
	const ellipsis = "…"
	if limit <= 0 {
		return ""
	}
	n, end := 0, 0 // end is where the text ends if an ellipsis must follow
	for i, r := range s {
		if n += size(r); n > limit {
			return strings.TrimRight(whole(s[:end]), " \n") + ellipsis
		}
		if n <= limit-1 {
			end = i + utf8.RuneLen(r)
			if r == utf8.RuneError {
				_, w := utf8.DecodeRuneInString(s[i:])
				end = i + w
			}
		}
	}
	return s
}

// whole drops an entity at the end that lacks its end.
func whole(s string) string {
	i := strings.LastIndexByte(s, '&')
	if i < 0 {
		return s
	}
	switch tail := s[i:]; {
	case tail != "&" && !strings.HasPrefix("&amp;", tail) && !strings.HasPrefix("&lt;", tail) && !strings.HasPrefix("&gt;", tail):
		return s
	case strings.HasSuffix(tail, ";"):
		return s
	default:
		return s[:i]
	}
}

// span is a piece of a line. The kind says what it is; no text of any span is
// ever parsed by Slack.
type span struct {
	kind  spanKind
	text  string // the words, or the id
	bold  bool
	code  bool
	at    time.Time
	style string // of a date: Slack's format
	plain string // of a date: how it reads where Slack formats nothing
	url   string // of a link
}

type spanKind int

const (
	words spanKind = iota
	person
	group
	place
	date
	link // to the AWS console, and nowhere else
)

// line is one line of a paragraph.
type line []span

// ln puts spans and plain words together to a line.
func ln(pieces ...any) line {
	out := make(line, 0, len(pieces))
	for _, p := range pieces {
		switch p := p.(type) {
		case string:
			out = append(out, say(p))
		case span:
			out = append(out, p)
		case line:
			out = append(out, p...)
		default:
			panic(fmt.Sprintf("view: a line cannot hold a %T", p))
		}
	}
	return out
}

func say(s string) span { return span{text: s} }

func bold(s string) span { return span{text: s, bold: true} }

func code(s string) span { return span{text: s, code: true} }

// typed is text that somebody typed, or that AWS said: on one line, without
// control characters, and no longer than limit.
func typed(s string, limit int) span { return span{text: tidy(s, limit)} }

func typedCode(s string, limit int) span { return span{text: tidy(s, limit), code: true} }

func tidy(s string, limit int) string { return clip(grant.Clean(s, limit+1), limit) }

var (
	userPattern    = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	groupPattern   = regexp.MustCompile(`^S[A-Z0-9]{1,30}$`)
	channelPattern = regexp.MustCompile(`^[CDG][A-Z0-9]{1,30}$`)
)

func user(id grant.UserID) span {
	if !userPattern.MatchString(string(id)) {
		return span{text: "@" + tidy(string(id), 40)}
	}
	return span{kind: person, text: string(id)}
}

func usergroup(id grant.GroupID) span {
	if !groupPattern.MatchString(string(id)) {
		return span{text: "@" + tidy(string(id), 40)}
	}
	return span{kind: group, text: string(id)}
}

func channel(id grant.ChannelID) span {
	if !channelPattern.MatchString(string(id)) {
		return say("the approvals channel")
	}
	return span{kind: place, text: string(id)}
}

// users lists people: "@a, @b and 3 more".
func users(ids []grant.UserID) line {
	const most = 12
	var out line
	for i, id := range ids {
		if i == most {
			return append(out, say(fmt.Sprintf(" and %d more", len(ids)-most)))
		}
		if i > 0 {
			out = append(out, say(", "))
		}
		out = append(out, user(id))
	}
	return out
}

// actor names who did something.
func actor(a grant.Actor) span {
	switch a.Kind {
	case grant.Person:
		return user(a.User)
	case grant.Operator:
		return say("operator " + tidy(a.Name, 60) + " (command line)")
	default:
		return say("breakglass")
	}
}

// Dates show in the reader's own time zone, and in UTC where Slack does not
// format them.

// when is a day and a time, to the minute.
func when(t time.Time) span {
	return instant(t, "{date_short_pretty} at {time}", "2006-01-02 15:04 UTC")
}

// exact is a day and a time, to the second.
func exact(t time.Time) span {
	return instant(t, "{date_short_pretty} at {time_secs}", "2006-01-02 15:04:05 UTC")
}

// clock is a time of day, to the minute.
func clock(t time.Time) span { return instant(t, "{time}", "15:04 UTC") }

func instant(t time.Time, format, plain string) span {
	t = t.UTC()
	switch {
	case t.Unix() <= 0:
		return say("an unknown time")
	case t.Unix() > 9_999_999_999: // Slack's dates have ten digits
		return say(t.Format(plain))
	}
	return span{kind: date, at: t, style: format, plain: t.Format(plain)}
}

// until is when the grant's access ends: to the second where minutes would
// mislead.
func until(g grant.Grant) span {
	if g.Duration < 10*time.Minute {
		return exact(g.End)
	}
	return when(g.End)
}

func (s span) inBold() span {
	s.bold = true
	return s
}

// read is a span as words for the top-level text.
func (s span) read() string {
	switch s.kind {
	case person:
		return "<@" + s.text + ">"
	case group:
		return "<!subteam^" + s.text + ">"
	case place:
		return "<#" + s.text + ">"
	case date:
		return fmt.Sprintf("<!date^%d^%s|%s>", s.at.Unix(), s.style, s.plain)
	case link:
		return Escape(s.text) + " " + s.url
	default:
		return Escape(s.text)
	}
}

// markup is what Slack would take for formatting in mrkdwn, links and mentions
// aside, which verbatim turns off.
var markup = regexp.MustCompile("[*_~`<>&\n]|:[a-z0-9_+'-]+:")

// plainCode is what may be said as code in mrkdwn: our own commands, and names
// that look like them.
var plainCode = regexp.MustCompile(`^/?[a-zA-Z0-9 |=:.\[\]/-]+$`)

// mrkdwn is a paragraph as mrkdwn, and whether it can be said in mrkdwn without
// anything in it being taken for formatting.
func mrkdwn(lines []line) (string, bool) {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for len(l) > 0 {
			// Neighbours of one style are formatted together; the marks must touch
			// words.
			n := 1
			for n < len(l) && l[n].bold == l[0].bold && l[n].code == l[0].code {
				n++
			}
			var said []string
			for _, s := range l[:n] {
				if s.kind == link || (s.code && !plainCode.MatchString(s.text)) || (s.kind == words && markup.MatchString(s.text)) {
					return "", false
				}
				said = append(said, s.read())
			}
			run := strings.Join(said, "")
			mark := ""
			if l[0].code {
				mark = "`"
			} else if l[0].bold {
				mark = "*"
			}
			inner := strings.Trim(run, " ")
			if inner == "" {
				mark = ""
			}
			before, after, _ := strings.Cut(run, inner)
			b.WriteString(before + mark + inner + mark + after)
			l = l[n:]
		}
	}
	s := b.String()
	return s, s != "" && units(s) <= maxSection
}

// element is the span in a rich text.
func (s span) element() richElement {
	var e richElement
	switch s.kind {
	case person:
		e = richElement{Type: "user", UserID: s.text}
	case group:
		e = richElement{Type: "usergroup", UsergroupID: s.text}
	case place:
		e = richElement{Type: "channel", ChannelID: s.text}
	case date:
		e = richElement{Type: "date", Timestamp: s.at.Unix(), Format: s.style, Fallback: s.plain}
	case link:
		e = richElement{Type: "link", URL: s.url, Text: s.text}
	default:
		e = richElement{Type: "text", Text: s.text}
	}
	if s.kind == words && (s.bold || s.code) {
		e.Style = &richStyle{Bold: s.bold, Code: s.code}
	}
	return e
}

// rich is a paragraph as a section of a rich text. Neighbouring words of one
// style become one element.
func rich(lines []line) richPart {
	part := richPart{Type: "rich_text_section"}
	add := func(s span) {
		if s.kind == words && s.text == "" {
			return
		}
		e := s.element()
		if n := len(part.Elements); n > 0 && e.Type == "text" {
			last := &part.Elements[n-1]
			same := last.Type == "text" && (last.Style == nil) == (e.Style == nil) && (e.Style == nil || *last.Style == *e.Style)
			if same && units(last.Text)+units(e.Text) <= maxPiece {
				last.Text += e.Text
				return
			}
		}
		part.Elements = append(part.Elements, e)
	}
	for i, l := range lines {
		if i > 0 {
			add(say("\n"))
		}
		for _, s := range l {
			add(s)
		}
	}
	return part
}

// verbatim is text for a block of code: lines stay, other control characters go.
func verbatim(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r):
			return -1
		default:
			return r
		}
	}, s)
	return strings.Trim(s, "\n")
}
