package awssim

import (
	"encoding/json"
	"errors"
	"slices"
)

// A node is one JSON value that remembers where in the text it stood, so that
// a policy can be changed in one place and keep every other byte.
type node struct {
	kind       byte // '{', '[', '"', '0' for a number, 't' for true or false, 'n' for null
	start, end int
	text       string   // a string decoded, or the literal of a number or boolean
	keys       []string // of an object, in order
	values     []*node  // of an object or a list, in order
}

var errNotJSON = errors.New("not well-formed JSON")

// parseJSON reads one JSON value and nothing after it.
func parseJSON(raw []byte) (*node, error) {
	if !json.Valid(raw) {
		return nil, errNotJSON
	}
	p := jsonParser{raw: raw}
	return p.value()
}

// A jsonParser walks text that json.Valid has already accepted.
type jsonParser struct {
	raw []byte
	pos int
}

func (p *jsonParser) space() {
	for p.pos < len(p.raw) && isSpace(p.raw[p.pos]) {
		p.pos++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// peek skips white space and returns the next byte, or 0 at the end.
func (p *jsonParser) peek() byte {
	p.space()
	if p.pos >= len(p.raw) {
		return 0
	}
	return p.raw[p.pos]
}

func (p *jsonParser) value() (*node, error) {
	c := p.peek()
	n := &node{start: p.pos}
	switch c {
	case '{':
		n.kind = '{'
		p.pos++
		for p.peek() != '}' {
			key, err := p.value()
			if err != nil {
				return nil, err
			}
			if p.peek() != ':' {
				return nil, errNotJSON
			}
			p.pos++
			value, err := p.value()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key.text)
			n.values = append(n.values, value)
			if p.peek() == ',' {
				p.pos++
			}
		}
		p.pos++
	case '[':
		n.kind = '['
		p.pos++
		for p.peek() != ']' {
			value, err := p.value()
			if err != nil {
				return nil, err
			}
			n.values = append(n.values, value)
			if p.peek() == ',' {
				p.pos++
			}
		}
		p.pos++
	case '"':
		n.kind = '"'
		p.pos++
		for p.pos < len(p.raw) && p.raw[p.pos] != '"' {
			if p.raw[p.pos] == '\\' {
				p.pos++
			}
			p.pos++
		}
		p.pos++
		if p.pos > len(p.raw) {
			return nil, errNotJSON
		}
		if err := json.Unmarshal(p.raw[n.start:p.pos], &n.text); err != nil {
			return nil, errNotJSON
		}
	case 0:
		return nil, errNotJSON
	default:
		for p.pos < len(p.raw) && !isSpace(p.raw[p.pos]) && !slices.Contains([]byte(",]}:"), p.raw[p.pos]) {
			p.pos++
		}
		n.text = string(p.raw[n.start:p.pos])
		switch c {
		case 't', 'f':
			n.kind = 't'
		case 'n':
			n.kind = 'n'
		default:
			n.kind = '0'
		}
		if p.pos == n.start {
			return nil, errNotJSON
		}
	}
	n.end = p.pos
	return n, nil
}

// member returns the value of a key of an object, or nil.
func (n *node) member(key string) *node {
	if n == nil || n.kind != '{' {
		return nil
	}
	if i := slices.Index(n.keys, key); i >= 0 {
		return n.values[i]
	}
	return nil
}

// duplicateKey tells whether an object anywhere in the tree names a key twice.
func (n *node) duplicateKey() bool {
	if n.kind == '{' {
		seen := make(map[string]bool, len(n.keys))
		for _, k := range n.keys {
			if seen[k] {
				return true
			}
			seen[k] = true
		}
	}
	return slices.ContainsFunc(n.values, (*node).duplicateKey)
}

// scalars returns the texts of a scalar or of a list of scalars.
func (n *node) scalars() ([]string, bool) {
	switch n.kind {
	case '"', '0', 't':
		return []string{n.text}, true
	case '[':
		out := make([]string, 0, len(n.values))
		for _, v := range n.values {
			if v.kind != '"' && v.kind != '0' && v.kind != 't' {
				return nil, false
			}
			out = append(out, v.text)
		}
		return out, true
	}
	return nil, false
}

// strings is scalars for places where only strings are legal.
func (n *node) strings() ([]string, bool) {
	switch n.kind {
	case '"':
		return []string{n.text}, true
	case '[':
		if slices.ContainsFunc(n.values, func(v *node) bool { return v.kind != '"' }) {
			return nil, false
		}
		return n.scalars()
	}
	return nil, false
}
