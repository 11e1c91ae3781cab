package trust

import (
	"slices"
	"strconv"
	"strings"
)

// Foreign is a fingerprint of everything that is not ours: the statements that
// are not ours, in order, and the elements beside Statement. White space and
// the way in which a string is escaped make no difference; the order of keys
// and values, and the way in which a number is written, do. Equal fingerprints
// before and after a write say that nobody else's policy changed.
func (d Document) Foreign() string {
	var b strings.Builder
	for i := range d.root.members {
		m := &d.root.members[i]
		if m.key == "Statement" {
			continue
		}
		b.WriteString(strconv.Quote(m.key) + ":")
		exact(&b, &m.value)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	for i := range d.stmts {
		if !d.stmts[i].ours() {
			exact(&b, d.stmts[i].node)
			b.WriteByte('\n')
		}
	}
	return Hash([]byte(b.String()))
}

// EqualForeign reports whether two documents mean the same apart from what is
// ours. It forgives what IAM itself may do to a document that it saves:
//
//   - white space, escapes, and the order of keys;
//   - one value as a string, or as a list with one element; a single statement
//     in a list or not;
//   - the order of principals, actions and condition values, which are sets;
//   - an account as its id or as the ARN of its root;
//   - "Principal":"*" or {"AWS":"*"};
//   - numbers and booleans in a condition, with or without quotation marks.
//
// The order of statements counts, as do the elements beside Statement. A role
// that was deleted in between reads as its unique id and makes a difference.
func EqualForeign(a, b Document) bool { return a.loose() == b.loose() }

func (d Document) loose() string {
	var b strings.Builder
	looseObject(&b, &d.root, func(b *strings.Builder, m *member) {
		if m.key != "Statement" {
			loose(b, &m.value)
			return
		}
		for i := range d.stmts {
			if !d.stmts[i].ours() {
				looseStatement(b, d.stmts[i].node)
			}
		}
	})
	return b.String()
}

// exact writes a value with its order and its literals.
func exact(b *strings.Builder, n *node) {
	switch n.kind {
	case kindString:
		b.WriteString(strconv.Quote(n.text))
	case kindList:
		b.WriteByte('[')
		for i := range n.items {
			exact(b, &n.items[i])
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case kindObject:
		b.WriteByte('{')
		for i := range n.members {
			b.WriteString(strconv.Quote(n.members[i].key) + ":")
			exact(b, &n.members[i].value)
			b.WriteByte(',')
		}
		b.WriteByte('}')
	default:
		b.WriteString(n.text)
	}
}

// loose writes a value that we know nothing about: only keys lose their order.
func loose(b *strings.Builder, n *node) {
	switch n.kind {
	case kindObject:
		looseObject(b, n, func(b *strings.Builder, m *member) { loose(b, &m.value) })
	case kindList:
		b.WriteByte('[')
		for i := range n.items {
			loose(b, &n.items[i])
			b.WriteByte(',')
		}
		b.WriteByte(']')
	default:
		exact(b, n)
	}
}

// looseObject writes the members sorted by key. Members that share a key stay
// in their order.
func looseObject(b *strings.Builder, n *node, value func(*strings.Builder, *member)) {
	order := make([]*member, len(n.members))
	for i := range n.members {
		order[i] = &n.members[i]
	}
	slices.SortStableFunc(order, func(x, y *member) int { return strings.Compare(x.key, y.key) })
	b.WriteByte('{')
	for _, m := range order {
		b.WriteString(strconv.Quote(m.key) + ":")
		value(b, m)
		b.WriteByte(',')
	}
	b.WriteByte('}')
}

func looseStatement(b *strings.Builder, n *node) {
	looseObject(b, n, func(b *strings.Builder, m *member) {
		switch m.key {
		case "Principal", "NotPrincipal":
			if m.value.kind != kindObject {
				b.WriteString(`{"AWS":["*",],}`)
				return
			}
			looseObject(b, &m.value, func(b *strings.Builder, p *member) {
				looseSet(b, &p.value, func(v string) string {
					if id := accountID(v); id != "" && p.key == KindAWS {
						return id
					}
					return v
				})
			})
		case "Action", "NotAction", "Resource", "NotResource":
			looseSet(b, &m.value, func(v string) string { return v })
		case "Condition":
			looseObject(b, &m.value, func(b *strings.Builder, op *member) {
				looseObject(b, &op.value, func(b *strings.Builder, key *member) {
					looseSet(b, &key.value, func(v string) string { return v })
				})
			})
		default:
			loose(b, &m.value)
		}
	})
}

// looseSet writes a value, or a list of values, as a set of strings; anything
// else as it is.
func looseSet(b *strings.Builder, n *node, normal func(string) string) {
	values := scalars(n)
	if len(values) == 0 {
		loose(b, n)
		return
	}
	for i, v := range values {
		values[i] = strconv.Quote(normal(v))
	}
	slices.Sort(values)
	b.WriteByte('[')
	for _, v := range slices.Compact(values) {
		b.WriteString(v + ",")
	}
	b.WriteByte(']')
}
