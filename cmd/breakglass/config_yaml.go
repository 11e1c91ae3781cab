package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"breakglass/store/grant"
)

// The file is read as a tree and walked by hand, for three reasons: every
// problem is reported at once and with its line; a value is taken as the text
// that was written, so that an account id without quotes keeps its zeros; and
// nothing of YAML that could make the file say something else than it shows
// (aliases, merge keys, tags) is let in.

// field is one place in the file: a key that is there, or one that could be.
type field struct {
	key  string // its path, for example cells[0].account
	line int    // where it is, or where it would belong
	node *yaml.Node
}

// set reports whether the file says anything here. An empty value and null say
// nothing, as if the key were absent.
func (f field) set() bool {
	return f.node != nil && (f.node.Kind != yaml.ScalarNode || (f.node.Value != "" && f.node.ShortTag() != "!!null"))
}

// walker walks the tree and collects what is wrong with it.
type walker struct {
	file     string
	problems []Problem
}

// say notes a problem. What comes after the first semicolon of the format, if there
// is one, is the remedy.
func (w *walker) say(line int, key, format string, args ...any) {
	p := Problem{File: w.file, Line: max(line, 1), Key: key, Text: fmt.Sprintf(format, args...)}
	if is, _, ok := strings.Cut(format, semicolon); ok {
		n := len(fmt.Sprintf(is, args[:strings.Count(is, "%")]...)) // what is quoted may have semicolons of its own
		p.Text, p.Remedy = p.Text[:n], p.Text[n+len(semicolon):]
	}
	w.problems = append(w.problems, p)
}

// semicolon stands between a problem and its remedy.
const semicolon = "; "

func (w *walker) sayAt(f field, format string, args ...any) { w.say(f.line, f.key, format, args...) }

// fault is the collected error, or nil.
func (w *walker) fault() error {
	if len(w.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(w.problems, func(a, b Problem) int { return a.Line - b.Line })
	return &ConfigError{Problems: w.problems}
}

// tree parses the file; without a tree there is at least one problem.
func (w *walker) tree(data []byte) *yaml.Node {
	if len(data) > maxConfig {
		w.say(1, "", "the file is larger than 1 MiB, which no configuration is; name the right one with -c FILE")
		return nil
	}
	if line, bad := badText(data); bad != "" {
		w.say(line, "", "%s; save the file as plain UTF-8 text", bad)
		return nil
	}
	const empty = "the file is empty; begin with a copy of deploy/breakglass.example.yaml"
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		w.say(1, "", "cannot be parsed: %v; begin with a copy of deploy/breakglass.example.yaml", err)
		return nil
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		w.say(1, "", empty)
		return nil
	case err != nil:
		w.syntax(err, data)
		return nil
	}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) > 0 {
		root = root.Content[0]
	}
	var second yaml.Node
	switch err := loader.Load(&second); {
	case err == nil:
		w.say(second.Line, "", "a second YAML document begins here; keep one document in one file")
	case !errors.Is(err, io.EOF):
		w.syntax(err, data)
		return nil
	}
	if !(field{node: root}).set() {
		w.say(1, "", empty)
		return nil
	}
	w.plain(root)
	return root
}

// badText finds the first line that is not plain UTF-8 text.
func badText(data []byte) (int, string) {
	line := 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, "not UTF-8"
		case r == '\n':
			line++
		case r == '\uFEFF' && i == 0: // the byte order mark that some editors put first
		case r == '\t' || r == '\r':
		case unicode.IsControl(r) || r == '\uFEFF' || r == '\uFFFE' || r == '\uFFFF':
			return line, fmt.Sprintf("has the control character %U", r)
		case unicode.Is(unicode.Bidi_Control, r):
			return line, fmt.Sprintf("has the invisible character %U, which makes the line look other than it is", r)
		}
		i += size
	}
	return line, ""
}

// syntax reports what the parser could not read, in its words and on its line.
func (w *walker) syntax(err error, data []byte) {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		w.say(1, "", "not YAML: %s; compare it with deploy/breakglass.example.yaml", oneLine(err.Error()))
		return
	}
	text := "not YAML: " + oneLine(e.Message)
	line := e.Mark.Line
	if e.ContextMsg != "" {
		text += ", " + oneLine(e.ContextMsg)
		if e.ContextMark.Line > 0 && e.ContextMark.Line != line {
			text += fmt.Sprintf(" that begins on line %d", e.ContextMark.Line)
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	line = min(max(line, 1), len(lines))
	remedy := "look at this line and the one above for a missing quote, bracket, colon or indent"
	if bytes.HasPrefix(bytes.TrimLeft(lines[line-1], " "), []byte("\t")) {
		remedy = "the line begins with a tab: indent with spaces"
	}
	w.say(line, "", "%s; %s", text, remedy)
}

// plain refuses what the file does not need and what could hide something.
func (w *walker) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		w.say(n.Line, "", "the alias *%s is not allowed here; write the value out", shortKey(n.Value))
		return // what it points to is looked at where it stands; following it may never end
	case n.Anchor != "":
		w.say(n.Line, "", "the anchor &%s is not allowed here; write the value out wherever it is needed", shortKey(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		w.say(n.Line, "", "the tag %s is not allowed here; write the plain value", show(n.Tag))
	}
	for _, c := range n.Content {
		w.plain(c)
	}
}

// section reads a mapping with these keys and no others. The answer has a field
// for each of them, whether the file has it or not.
func (w *walker) section(f field, keys ...string) map[string]field {
	out := make(map[string]field, len(keys))
	path := func(k string) string {
		if f.key == "" {
			return k
		}
		return f.key + "." + k
	}
	for _, k := range keys {
		out[k] = field{key: path(k), line: f.line}
	}
	switch {
	case !f.set() || f.node.Kind == yaml.AliasNode:
		return out
	case f.node.Kind != yaml.MappingNode:
		w.sayAt(f, "is %s; it takes the keys %s", kind(f.node), strings.Join(keys, ", "))
		return out
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		k, v := f.node.Content[i], f.node.Content[i+1]
		switch first, twice := seen[k.Value]; {
		case k.Kind == yaml.AliasNode: // said already
			continue
		case k.Kind != yaml.ScalarNode:
			w.say(k.Line, f.key, "has %s for a key; the keys here are %s", kind(k), strings.Join(keys, ", "))
			continue
		case k.ShortTag() == "!!merge":
			w.say(k.Line, f.key, "the merge key << is not allowed here; write the keys out")
			continue
		case twice:
			w.say(k.Line, path(shortKey(k.Value)), "is here twice, first on line %d; keep one of them", first)
			continue
		}
		seen[k.Value] = k.Line
		if _, known := out[k.Value]; !known {
			w.say(k.Line, path(shortKey(k.Value)), "unknown key; %s", hint(k.Value, keys))
			continue
		}
		out[k.Value] = field{key: path(k.Value), line: k.Line, node: v}
	}
	return out
}

// list reads a sequence. ok says that the file has one here, empty or not.
func (w *walker) list(f field) (items []field, ok bool) {
	switch {
	case !f.set() || f.node.Kind == yaml.AliasNode:
		return nil, false
	case f.node.Kind != yaml.SequenceNode:
		w.sayAt(f, "is %s; it takes a list, such as [a, b]", kind(f.node))
		return nil, false
	}
	for i, n := range f.node.Content {
		item := field{key: fmt.Sprintf("%s[%d]", f.key, i), line: n.Line, node: n}
		if !item.set() {
			w.sayAt(item, "is empty; fill it in, or take the line out")
			continue
		}
		items = append(items, item)
	}
	return items, true
}

// text reads a value as the text that was written. ok says that there is one.
func (w *walker) text(f field) (s string, ok bool) {
	switch {
	case !f.set() || f.node.Kind == yaml.AliasNode:
		return "", false
	case f.node.Kind != yaml.ScalarNode:
		w.sayAt(f, "is %s; it takes one value", kind(f.node))
		return "", false
	}
	return f.node.Value, true
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping with keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return "the single value " + show(n.Value)
	default:
		return "something else"
	}
}

// show quotes a value for a message: on one line, not too long, and never a
// token that somebody put into the wrong file.
func show(s string) string {
	if strings.Contains(s, "xox") || strings.Contains(s, "xapp-") {
		return redacted
	}
	const longest = 60
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

func oneLine(s string) string { return grant.Clean(s, 200) }

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

func shortKey(k string) string {
	if keyPattern.MatchString(k) && !strings.Contains(k, "xox") {
		return k
	}
	return show(k)
}

// hint says what the writer of an unknown key may have meant.
func hint(key string, known []string) string {
	low := strings.ToLower(key)
	if strings.Contains(low, "token") || strings.Contains(low, "secret") {
		return "secrets are never read from this file: set SLACK_BOT_TOKEN and SLACK_APP_TOKEN in the environment, or …_FILE naming a file"
	}
	best, distance := "", 3
	for _, k := range known {
		if d := edits(strings.ReplaceAll(low, "-", "_"), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "the keys here are " + strings.Join(known, ", ")
}

// edits is the number of single-character changes between two short words.
func edits(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
