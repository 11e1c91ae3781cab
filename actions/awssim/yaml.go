package awssim

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

// Session documents may be written in YAML. What follows reads the part of YAML
// that such documents use: block mappings and sequences, plain and quoted
// scalars, literal blocks, comments, and JSON inside. Anything else is refused.

var errNotYAML = errors.New("not well-formed YAML")

type yamlLine struct {
	indent int
	text   string // without indentation and comment
	raw    string
}

type yamlParser struct {
	lines []yamlLine
	pos   int
	depth int
}

// parseYAML reads one document. The nodes carry no offsets.
func parseYAML(text string) (*node, error) {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") {
		return parseJSON([]byte(trimmed))
	}
	var p yamlParser
	for raw := range strings.SplitSeq(text, "\n") {
		raw = strings.TrimRight(raw, "\r")
		body := strings.TrimLeft(raw, " ")
		line := yamlLine{indent: len(raw) - len(body), raw: raw, text: strings.TrimSpace(stripComment(body))}
		if strings.HasPrefix(body, "\t") {
			return nil, errNotYAML
		}
		if line.indent == 0 && (line.text == "---" || line.text == "...") {
			line.text = ""
		}
		p.lines = append(p.lines, line)
	}
	if !p.skipBlank() {
		return nil, errNotYAML
	}
	n, err := p.block(p.lines[p.pos].indent)
	if err != nil {
		return nil, err
	}
	if p.skipBlank() {
		return nil, errNotYAML
	}
	return n, nil
}

// stripComment cuts a comment off: a # at the start or after a space, outside
// quotes.
func stripComment(s string) string {
	var quote byte
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote && (quote == '\'' || s[i-1] != '\\') {
				quote = 0
			}
		case (c == '"' || c == '\'') && (i == 0 || strings.IndexByte(" :-[{,", s[i-1]) >= 0):
			quote = c
		case c == '#' && (i == 0 || s[i-1] == ' '):
			return s[:i]
		}
	}
	return s
}

// skipBlank moves to the next line with content and tells whether there is one.
func (p *yamlParser) skipBlank() bool {
	for p.pos < len(p.lines) && p.lines[p.pos].text == "" {
		p.pos++
	}
	return p.pos < len(p.lines)
}

// block reads the mapping, sequence or scalar whose lines have this indent.
func (p *yamlParser) block(indent int) (*node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > 100 {
		return nil, errNotYAML
	}
	first := p.lines[p.pos].text
	switch {
	case first == "-" || strings.HasPrefix(first, "- "):
		return p.sequence(indent)
	case cutKey(first) >= 0:
		return p.mapping(indent)
	default:
		p.pos++
		return yamlScalar(first)
	}
}

func (p *yamlParser) sequence(indent int) (*node, error) {
	n := &node{kind: '['}
	for p.skipBlank() && p.lines[p.pos].indent == indent {
		line := &p.lines[p.pos]
		rest, ok := strings.CutPrefix(line.text, "-")
		if !ok || rest != "" && rest[0] != ' ' {
			break
		}
		body := strings.TrimLeft(rest, " ")
		var item *node
		var err error
		if body == "" {
			p.pos++
			item, err = p.nested(indent)
		} else {
			// The item begins on the line of its dash.
			line.indent = indent + len(line.text) - len(body)
			line.text = body
			item, err = p.block(line.indent)
		}
		if err != nil {
			return nil, err
		}
		n.values = append(n.values, item)
	}
	return n, nil
}

func (p *yamlParser) mapping(indent int) (*node, error) {
	n := &node{kind: '{'}
	for p.skipBlank() && p.lines[p.pos].indent == indent {
		text := p.lines[p.pos].text
		colon := cutKey(text)
		if colon < 0 {
			return nil, errNotYAML
		}
		key, err := yamlScalar(strings.TrimSpace(text[:colon]))
		if err != nil {
			return nil, err
		}
		rest := strings.TrimSpace(text[colon+1:])
		p.pos++
		var value *node
		switch rest {
		case "":
			value, err = p.nested(indent)
		case "|", "|-":
			value = p.literal(indent, rest == "|")
		default:
			value, err = yamlScalar(rest)
		}
		if err != nil {
			return nil, err
		}
		n.keys = append(n.keys, key.text)
		n.values = append(n.values, value)
	}
	if p.skipBlank() && p.lines[p.pos].indent > indent {
		return nil, errNotYAML
	}
	return n, nil
}

// nested reads what stands below a key or a lone dash: deeper lines, a
// sequence at the same indent, or nothing, which is null.
func (p *yamlParser) nested(indent int) (*node, error) {
	if p.skipBlank() {
		line := p.lines[p.pos]
		if line.indent > indent || line.indent == indent && strings.HasPrefix(line.text, "- ") {
			return p.block(line.indent)
		}
	}
	return &node{kind: 'n', text: "null"}, nil
}

func (p *yamlParser) literal(indent int, final bool) *node {
	var lines []string
	margin := -1
	for ; p.pos < len(p.lines); p.pos++ {
		raw := p.lines[p.pos].raw
		width := len(raw) - len(strings.TrimLeft(raw, " "))
		if strings.TrimSpace(raw) != "" {
			if width <= indent {
				break
			}
			if margin < 0 {
				margin = width
			}
		}
		lines = append(lines, raw[max(0, min(margin, width)):])
	}
	text := strings.TrimRight(strings.Join(lines, "\n"), "\n")
	if final {
		text += "\n"
	}
	return &node{kind: '"', text: text}
}

// cutKey finds the colon that ends a mapping key, or -1.
func cutKey(s string) int {
	if s == "" || strings.IndexByte("{[", s[0]) >= 0 {
		return -1
	}
	start := 0
	if s[0] == '"' || s[0] == '\'' {
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return -1
		}
		start = end + 2
	}
	for i := start; i < len(s); i++ {
		if s[i] == ':' && (i+1 == len(s) || s[i+1] == ' ') {
			return i
		}
	}
	return -1
}

var yamlNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func yamlScalar(s string) (*node, error) {
	if s == "" {
		return nil, errNotYAML
	}
	switch s[0] {
	case '{', '[':
		return parseJSON([]byte(s))
	case '"':
		n, err := parseJSON([]byte(s))
		if err != nil || n.kind != '"' {
			return nil, errNotYAML
		}
		return n, nil
	case '\'':
		if len(s) < 2 || s[len(s)-1] != '\'' {
			return nil, errNotYAML
		}
		return &node{kind: '"', text: strings.ReplaceAll(s[1:len(s)-1], "''", "'")}, nil
	case '&', '*', '!', '|', '>', '%', '@', '`':
		return nil, errNotYAML
	}
	switch strings.ToLower(s) {
	case "true", "false":
		return &node{kind: 't', text: strings.ToLower(s)}, nil
	case "null", "~":
		return &node{kind: 'n', text: "null"}, nil
	}
	if yamlNumber.MatchString(s) {
		return &node{kind: '0', text: s}, nil
	}
	return &node{kind: '"', text: s}, nil
}

// renderJSON writes a tree as JSON, members in their order.
func (n *node) renderJSON() string {
	var raw bytes.Buffer
	n.writeJSON(&raw)
	var out bytes.Buffer
	if err := json.Indent(&out, raw.Bytes(), "", "  "); err != nil {
		return raw.String()
	}
	return out.String()
}

func (n *node) writeJSON(b *bytes.Buffer) {
	switch n.kind {
	case '{', '[':
		b.WriteByte(n.kind)
		for i, v := range n.values {
			if i > 0 {
				b.WriteByte(',')
			}
			if n.kind == '{' {
				b.WriteString(quoteJSON(n.keys[i]))
				b.WriteByte(':')
			}
			v.writeJSON(b)
		}
		b.WriteByte(n.kind + 2) // '}' and ']' are two after their openers
	case '"':
		b.WriteString(quoteJSON(n.text))
	default:
		b.WriteString(n.text)
	}
}

func quoteJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A string always encodes.
	_ = e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// renderYAML writes a tree as block YAML.
func (n *node) renderYAML() string {
	var b strings.Builder
	b.WriteString("---\n")
	n.writeYAML(&b, "")
	return b.String()
}

func (n *node) writeYAML(b *strings.Builder, indent string) {
	for i, v := range n.values {
		b.WriteString(indent)
		if n.kind == '{' {
			b.WriteString(quoteJSON(n.keys[i]) + ":")
		} else {
			b.WriteString("-")
		}
		if (v.kind == '{' || v.kind == '[') && len(v.values) > 0 {
			b.WriteString("\n")
			v.writeYAML(b, indent+"  ")
			continue
		}
		var flow bytes.Buffer
		v.writeJSON(&flow)
		b.WriteString(" " + flow.String() + "\n")
	}
}
