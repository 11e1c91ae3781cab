package trust

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A condition is what we understand of a Condition element. Whatever we do not
// understand counts as fulfilled: to report a trust that does not hold costs a
// look, to miss one costs the promise.
type condition struct {
	end  time.Time // first moment at which it can no longer hold; zero: none
	more bool      // there is something besides the end
	// tests must all hold: each is a key that is present in every request and
	// the patterns of which its value has to match one.
	tests []test
}

type test struct {
	key      string // in lower case
	patterns []string
}

func readCondition(n *node) (condition, error) {
	var c condition
	if n == nil {
		return c, nil
	}
	if n.kind != kindObject {
		return c, shape(n, "Condition is not an object")
	}
	seen := map[string]bool{}
	twice := false
	for i := range n.members {
		op := &n.members[i]
		if op.value.kind != kindObject {
			return c, shape(&op.value, "the operator %.60q of a condition is not an object", op.key)
		}
		for j := range op.value.members {
			m := &op.value.members[j]
			name := strings.TrimSuffix(strings.ToLower(op.key), "ifexists")
			key := strings.ToLower(m.key)
			c.read(name, key, &m.value)
			// An operator or a key that is there twice: one of the two counts,
			// nobody knows which.
			id := strings.ToLower(op.key) + "\x00" + key
			twice = twice || seen[id]
			seen[id] = true
		}
		id := strings.ToLower(op.key)
		twice = twice || seen[id]
		seen[id] = true
	}
	if twice {
		return condition{more: true}, nil
	}
	return c, nil
}

// read takes one key of one operator, both in lower case. The keys here are in
// every request that a role makes, so IfExists changes nothing.
func (c *condition) read(op, key string, value *node) {
	switch key {
	case "aws:currenttime", "aws:epochtime":
		if end, ok := readEnd(op, key, value); ok {
			if c.end.IsZero() || end.Before(c.end) {
				c.end = end
			}
			return
		}
	case "aws:principalarn", "aws:principalaccount":
		switch op {
		case "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike":
			if patterns := scalars(value); len(patterns) > 0 {
				c.tests = append(c.tests, test{key: key, patterns: patterns})
			}
		}
	}
	c.more = true
}

// readEnd is the end that an operator sets. Of several values the latest one
// counts, since any one of them is enough to match.
func readEnd(op, key string, value *node) (end time.Time, ok bool) {
	switch op {
	case "datelessthan", "datelessthanequals":
	case "numericlessthan", "numericlessthanequals":
		if key != "aws:epochtime" {
			return time.Time{}, false
		}
	default:
		return time.Time{}, false
	}
	for _, v := range scalars(value) {
		t, good := parseDate(v)
		if !good {
			return time.Time{}, false
		}
		if strings.HasSuffix(op, "equals") {
			t = t.Add(time.Second)
		}
		if t.After(end) {
			end = t
		}
		ok = true
	}
	return end, ok
}

// scalars is a string, number or bool, or a list of them, as text; nothing if
// the value is anything else.
func scalars(n *node) []string {
	switch n.kind {
	case kindString, kindNumber, kindBool:
		return []string{n.text}
	case kindList:
		var out []string
		for i := range n.items {
			switch n.items[i].kind {
			case kindString, kindNumber, kindBool:
				out = append(out, n.items[i].text)
			default:
				return nil
			}
		}
		return out
	default:
		return nil
	}
}

// The forms of a date: the W3C's profile of ISO 8601, and seconds since 1970.
var (
	dateLayouts = []string{
		"2006", "2006-01", "2006-01-02", "2006-01-02T15:04Z07:00", time.RFC3339,
	}
	epochPattern = regexp.MustCompile(`^[0-9]{5,11}$`)
)

func parseDate(s string) (time.Time, bool) {
	if epochPattern.MatchString(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(n, 0).UTC(), err == nil
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// allows reports whether the tests may hold for a principal. What is not known
// of it may be anything.
func (c *condition) allows(arn, account string) bool {
	for _, t := range c.tests {
		value := arn
		if t.key == "aws:principalaccount" {
			value = account
		}
		if value == "" {
			continue
		}
		fits := func(p string) bool { return strings.Contains(p, "${") || glob(p, value) }
		if !slices.ContainsFunc(t.patterns, fits) {
			return false
		}
	}
	return true
}

// glob matches * and ? in the widest way that any of IAM's operators does: over
// the borders of an ARN's parts, and without regard to case.
func glob(pattern, s string) bool {
	p, t := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(s))
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
