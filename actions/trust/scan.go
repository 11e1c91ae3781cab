package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxSize is the largest document that [Parse] reads, in bytes. IAM's own limit
// is far below it.
const MaxSize = 64 << 10

// maxDepth bounds the recursion of the scanner. A policy needs six levels.
const maxDepth = 64

type kind byte

const (
	kindString kind = iota
	kindNumber
	kindBool
	kindNull
	kindList
	kindObject
)

// A span is a half-open range of bytes in the document.
type span struct{ start, end int }

// A node is a JSON value and where it stands.
type node struct {
	span
	kind    kind
	text    string   // the value of a string; the literal of a number, bool or null
	items   []node   // of a list
	members []member // of an object
}

// A member is one key with its value; its span runs from the key's quotation
// mark to the end of the value.
type member struct {
	span
	key   string
	value node
}

// get is the value of a key; nil if the object has none.
func (n *node) get(key string) *node {
	for i := range n.members {
		if n.members[i].key == key {
			return &n.members[i].value
		}
	}
	return nil
}

// scan reads one JSON value. The syntax is checked first, by encoding/json; the
// scanner behind it only finds where things are.
func scan(raw []byte) (node, error) {
	if len(raw) > MaxSize {
		return node{}, &ParseError{Err: ErrTooLarge, Offset: MaxSize}
	}
	if !utf8.Valid(raw) {
		return node{}, &ParseError{Err: ErrSyntax, Detail: "not UTF-8"}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		e := &ParseError{Err: ErrSyntax, Detail: err.Error()}
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			e.Offset = int(syntax.Offset)
		}
		return node{}, e
	}
	s := scanner{raw: raw}
	s.space()
	return s.value(0)
}

type scanner struct {
	raw []byte
	pos int
}

// peek is the byte at the position; 0 at the end of the document.
func (s *scanner) peek() byte {
	if s.pos < len(s.raw) {
		return s.raw[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.raw) && isSpace(s.raw[s.pos]) {
		s.pos++
	}
}

func (s *scanner) value(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, &ParseError{Err: ErrTooDeep, Offset: s.pos}
	}
	n := node{span: span{start: s.pos}}
	var err error
	switch s.peek() {
	case '"':
		n.kind = kindString
		n.text, err = s.str()
	case '{':
		n.kind = kindObject
		n.members, err = s.object(depth)
	case '[':
		n.kind = kindList
		n.items, err = s.list(depth)
	default:
		n.text = s.literal()
		switch n.text {
		case "true", "false":
			n.kind = kindBool
		case "null":
			n.kind = kindNull
		default:
			n.kind = kindNumber
		}
	}
	n.end = s.pos
	return n, err
}

func (s *scanner) object(depth int) ([]member, error) {
	var out []member
	s.pos++ // {
	for s.space(); s.pos < len(s.raw) && s.peek() != '}'; s.space() {
		m := member{span: span{start: s.pos}}
		var err error
		if m.key, err = s.str(); err != nil {
			return nil, err
		}
		s.space()
		s.pos++ // :
		s.space()
		if m.value, err = s.value(depth + 1); err != nil {
			return nil, err
		}
		m.end = s.pos
		out = append(out, m)
		s.comma()
	}
	s.pos++ // }
	return out, nil
}

func (s *scanner) list(depth int) ([]node, error) {
	var out []node
	s.pos++ // [
	for s.space(); s.pos < len(s.raw) && s.peek() != ']'; s.space() {
		n, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		s.comma()
	}
	s.pos++ // ]
	return out, nil
}

func (s *scanner) comma() {
	s.space()
	if s.peek() == ',' {
		s.pos++
	}
}

func (s *scanner) literal() string {
	start := s.pos
	for s.pos < len(s.raw) {
		switch c := s.raw[s.pos]; {
		case isSpace(c), c == ',', c == ']', c == '}':
			return string(s.raw[start:s.pos])
		}
		s.pos++
	}
	return string(s.raw[start:])
}

// str reads a string and decodes its escapes. Half of a surrogate pair is
// refused: it has no value that two readers would agree on.
func (s *scanner) str() (string, error) {
	s.pos++ // "
	start, plain := s.pos, true
	for s.pos < len(s.raw) && s.raw[s.pos] != '"' {
		if s.raw[s.pos] == '\\' {
			plain = false
			s.pos++
		}
		s.pos++
	}
	body := s.raw[start:min(s.pos, len(s.raw))]
	s.pos++ // "
	if plain {
		return string(body), nil
	}
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		i++
		if body[i] != 'u' {
			out = append(out, unescape(body[i]))
			continue
		}
		r := hex4(body, i+1)
		i += 4
		if utf16.IsSurrogate(r) {
			low := rune(utf8.RuneError)
			if i+2 < len(body) && body[i+1] == '\\' && body[i+2] == 'u' {
				low = hex4(body, i+3)
			}
			pair := utf16.DecodeRune(r, low)
			if pair == utf8.RuneError {
				return "", &ParseError{Err: ErrSyntax, Offset: start, Detail: "half of a surrogate pair"}
			}
			r = pair
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), nil
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default: // quotation mark, solidus, reverse solidus
		return c
	}
}

// hex4 is the four hexadecimal digits at an offset.
func hex4(b []byte, at int) rune {
	if at+4 > len(b) {
		return utf8.RuneError
	}
	v, err := strconv.ParseUint(string(b[at:at+4]), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(v) //nolint:gosec // four hexadecimal digits
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// minified reports whether there is no white space outside strings.
func minified(raw []byte) bool {
	for range spaces(raw) {
		return false
	}
	return true
}

// spaces yields the offset of each white space character outside strings.
func spaces(raw []byte) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		inside := false
		for i := 0; i < len(raw); i++ {
			switch c := raw[i]; {
			case inside && c == '\\':
				i++
			case c == '"':
				inside = !inside
			case !inside && isSpace(c) && !yield(i):
				return
			}
		}
	}
}

// shape is a ParseError for JSON that is not a policy.
func shape(n *node, format string, args ...any) error {
	return &ParseError{Err: ErrShape, Offset: n.start, Detail: fmt.Sprintf(format, args...)}
}
