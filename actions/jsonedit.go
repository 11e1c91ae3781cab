package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A member is one key of a JSON object with its value as it stands in the text.
type member struct {
	key        string
	value      []byte
	start, end int // of the value
}

var errNoObject = errors.New("it is not a JSON object")

// membersAt lists the members of the object that path leads to, in order.
// Nothing is decoded, so that numbers, escapes and unknown keys stay as they are
// when the text is edited by position.
func membersAt(doc []byte, path ...string) ([]member, error) {
	list, _, err := object(doc, 0)
	if err != nil {
		return nil, err
	}
	if len(path) == 0 {
		return list, nil
	}
	i := lastIndex(list, path[0])
	if i < 0 {
		return nil, nil
	}
	inner, err := membersAt(list[i].value, path[1:]...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path[0], err)
	}
	for j := range inner {
		inner[j].start += list[i].start
		inner[j].end += list[i].start
	}
	return inner, nil
}

// object reads one JSON object and answers its members and where its closing
// brace is, all counted from the beginning of the text plus offset.
func object(doc []byte, offset int) ([]member, int, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil {
		return nil, 0, err
	} else if t != json.Delim('{') {
		return nil, 0, errNoObject
	}
	var list []member
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, 0, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, 0, errNoObject
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, 0, err
		}
		end := int(dec.InputOffset())
		list = append(list, member{key: key, value: value, start: offset + end - len(value), end: offset + end})
	}
	if _, err := dec.Token(); err != nil {
		return nil, 0, err
	}
	end := int(dec.InputOffset())
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, 0, errors.New("there is something after the JSON object")
	}
	return list, offset + end - 1, nil
}

func lastIndex(list []member, key string) int {
	for i, m := range slices.Backward(list) {
		if m.key == key {
			return i
		}
	}
	return -1
}

// lastOf is the value of a key; of a key that is there twice the last one
// counts, as in every JSON reader that AWS uses.
func lastOf(list []member, key string) ([]byte, bool) {
	i := lastIndex(list, key)
	if i < 0 {
		return nil, false
	}
	return list[i].value, true
}

// setMembers sets members of the object at path (a top-level key; empty: the
// whole text) and leaves every other byte as it is. What is new goes to the end.
func setMembers(doc []byte, path string, set []member) ([]byte, error) {
	top, closing, err := object(doc, 0)
	if err != nil {
		return nil, err
	}
	list := top
	if path != "" {
		i := lastIndex(top, path)
		if i < 0 {
			return insert(doc, closing, len(top) > 0, []member{{key: path, value: objectOf(set)}}), nil
		}
		if list, closing, err = object(top[i].value, top[i].start); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var added, changed []member
	for _, m := range set {
		i := lastIndex(list, m.key)
		if i < 0 {
			added = append(added, m)
			continue
		}
		changed = append(changed, member{value: m.value, start: list[i].start, end: list[i].end})
	}
	// From the end to the beginning, so that positions stay true.
	out := doc
	if len(added) > 0 {
		out = insert(out, closing, len(list) > 0, added)
	}
	slices.SortFunc(changed, func(a, b member) int { return b.start - a.start })
	for _, c := range changed {
		out = slices.Concat(out[:c.start], c.value, out[c.end:])
	}
	return out, nil
}

func insert(doc []byte, at int, comma bool, list []member) []byte {
	inside := objectOf(list)
	inside = inside[1 : len(inside)-1]
	if comma {
		inside = append([]byte{','}, inside...)
	}
	return slices.Concat(doc[:at], inside, doc[at:])
}

func objectOf(list []member) []byte {
	out := []byte{'{'}
	for i, m := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, quote(m.key)...), ':'), m.value...)
	}
	return append(out, '}')
}

// quote writes a JSON string without escaping < > & for HTML.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// sameJSON compares two values without regard to white space, key order and
// the way strings are escaped. Numbers are compared as they are written.
func sameJSON(a, b []byte) bool {
	x, err1 := canonical(a)
	y, err2 := canonical(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func canonical(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// asJSON returns a document as JSON: itself if it is JSON, else what it means
// as YAML, keys in their order. Session documents may be either.
func asJSON(raw []byte) ([]byte, error) {
	if json.Valid(raw) {
		if _, _, err := object(raw, 0); err != nil {
			return nil, err
		}
		return raw, nil
	}
	var node yaml.Node
	if err := yaml.Load(raw, &node); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := writeNode(&b, &node, 0); err != nil {
		return nil, err
	}
	if _, _, err := object(b.Bytes(), 0); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// deepest is how deeply a YAML document may be nested, aliases included.
const deepest = 100

func writeNode(b *bytes.Buffer, n *yaml.Node, depth int) error {
	if depth > deepest || b.Len() > 1<<20 {
		return errors.New("the YAML is nested too deeply")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) != 1 {
			return errors.New("the YAML is empty")
		}
		return writeNode(b, n.Content[0], depth+1)
	case yaml.AliasNode:
		return writeNode(b, n.Alias, depth+1)
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].ShortTag() == "!!merge" {
				return errors.New("the YAML has a merge key")
			}
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(n.Content[i].Value))
			b.WriteByte(':')
			if err := writeNode(b, n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeNode(b, c, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return writeScalar(b, n)
	default:
		return fmt.Errorf("the YAML has a node of kind %d", n.Kind)
	}
}

func writeScalar(b *bytes.Buffer, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		var v bool
		if err := n.Decode(&v); err != nil {
			return err
		}
		b.WriteString(strconv.FormatBool(v))
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value)
			return nil
		}
		b.Write(quote(n.Value))
	default:
		// AWS reads YAML 1.1, where these words are booleans unless they are
		// quoted; the module reads 1.2, where they are strings.
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			switch strings.ToLower(n.Value) {
			case "yes", "on":
				b.WriteString("true")
				return nil
			case "no", "off":
				b.WriteString("false")
				return nil
			}
		}
		b.Write(quote(n.Value))
	}
	return nil
}
