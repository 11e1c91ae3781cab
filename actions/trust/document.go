package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Document is a trust policy as it was read: its bytes, and where things are
// in them. The zero value has no statements and cannot be edited.
type Document struct {
	raw   []byte
	root  node
	block *node // the value of Statement: an object, or a list of them
	stmts []statement
}

// A statement is one statement with what its elements say.
type statement struct {
	node         *node
	sid          string
	allow        bool
	principal    *node // the Principal element; nil if there is none
	principals   []Principal
	notPrincipal bool
	actions      []string
	notActions   []string
	cond         condition
}

// Effect is Allow or Deny.
type Effect string

// The effects of a statement.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// The kinds of principal that the grammar knows.
const (
	KindAnyone        = "*" // "Principal":"*"
	KindAWS           = "AWS"
	KindFederated     = "Federated"
	KindService       = "Service"
	KindCanonicalUser = "CanonicalUser"
)

// A Principal is one value of a Principal element.
type Principal struct {
	Kind  string // one of the kinds above, or what the document says
	Value string
}

// String is the principal as a person would write it: AWS:arn:….
func (p Principal) String() string {
	if p.Kind == KindAnyone {
		return p.Value
	}
	return p.Kind + ":" + p.Value
}

// A Statement is one statement as people ask about it. It is a copy.
type Statement struct {
	Index      int
	Sid        string
	Effect     Effect
	Principals []Principal
	Actions    []string // of Action
	NotActions []string // of NotAction
	// End is when the statement stops to match, by DateLessThan on
	// aws:CurrentTime; zero if it has no end that could be read.
	End time.Time
	// Conditional says that there is a condition besides the end.
	Conditional bool
	// Ours says that the Sid is one of ours; the placeholder's is.
	Ours bool
	// Placeholder says that it is the inert placeholder, and still inert.
	Placeholder bool
	// Raw is the statement's bytes.
	Raw []byte
}

// Expired reports whether the statement's end has come.
func (s Statement) Expired(at time.Time) bool { return !s.End.IsZero() && !at.Before(s.End) }

// Parse reads a trust policy in any shape that the grammar allows. It keeps the
// bytes. It refuses, with a [*ParseError], what it could misread.
func Parse(raw []byte) (Document, error) {
	root, err := scan(raw)
	if err != nil {
		return Document{}, err
	}
	if root.kind != kindObject {
		return Document{}, shape(&root, "not an object")
	}
	if err := checkKeys(&root, "Version", "Id", "Statement"); err != nil {
		return Document{}, err
	}
	d := Document{raw: bytes.Clone(raw), root: root}
	d.block = d.root.get("Statement")
	if d.block == nil {
		return Document{}, &ParseError{Err: ErrNoStatement}
	}
	switch d.block.kind {
	case kindObject:
		s, err := readStatement(d.block)
		if err != nil {
			return Document{}, err
		}
		d.stmts = []statement{s}
	case kindList:
		d.stmts = make([]statement, len(d.block.items))
		for i := range d.block.items {
			if d.stmts[i], err = readStatement(&d.block.items[i]); err != nil {
				return Document{}, err
			}
		}
	default:
		return Document{}, shape(d.block, "Statement is neither an object nor a list")
	}
	return d, nil
}

// checkKeys refuses an element that appears twice, and one that differs from a
// known element only in case: we would pass over what IAM may obey.
func checkKeys(n *node, known ...string) error {
	seen := make(map[string]bool, len(n.members))
	for _, m := range n.members {
		for _, k := range known {
			if m.key != k && strings.EqualFold(m.key, k) {
				return &ParseError{Err: ErrShape, Offset: m.start, Detail: "the element " + k + " is written in another case"}
			}
		}
		if seen[m.key] {
			return &ParseError{Err: ErrDuplicateKey, Offset: m.start, Detail: m.key}
		}
		seen[m.key] = true
	}
	return nil
}

func readStatement(n *node) (statement, error) {
	s := statement{node: n}
	if n.kind != kindObject {
		return s, shape(n, "a statement is not an object")
	}
	err := checkKeys(n, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return s, err
	}
	if v := n.get("Sid"); v != nil {
		if v.kind != kindString {
			return s, shape(v, "Sid is not a string")
		}
		s.sid = v.text
	}
	switch v := n.get("Effect"); {
	case v == nil:
		return s, shape(n, "a statement has no Effect")
	case v.kind == kindString && v.text == string(Allow):
		s.allow = true
	case v.kind == kindString && v.text == string(Deny):
	default:
		return s, shape(v, "Effect is neither Allow nor Deny")
	}
	s.principal = n.get("Principal")
	if s.principals, err = readPrincipals(s.principal); err != nil {
		return s, err
	}
	not := n.get("NotPrincipal")
	if _, err = readPrincipals(not); err != nil {
		return s, err
	}
	s.notPrincipal = not != nil
	if s.actions, err = readStrings(n.get("Action")); err != nil {
		return s, err
	}
	if s.notActions, err = readStrings(n.get("NotAction")); err != nil {
		return s, err
	}
	s.cond, err = readCondition(n.get("Condition"))
	return s, err
}

func readPrincipals(n *node) ([]Principal, error) {
	switch {
	case n == nil:
		return nil, nil
	case n.kind == kindString && n.text == "*":
		return []Principal{{Kind: KindAnyone, Value: "*"}}, nil
	case n.kind != kindObject:
		return nil, shape(n, `a principal is neither "*" nor an object`)
	}
	if err := checkKeys(n, KindAWS, KindFederated, KindService, KindCanonicalUser); err != nil {
		return nil, err
	}
	var out []Principal
	for i := range n.members {
		values, err := readStrings(&n.members[i].value)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			out = append(out, Principal{Kind: n.members[i].key, Value: v})
		}
	}
	return out, nil
}

// readStrings reads a string or a list of strings.
func readStrings(n *node) ([]string, error) {
	switch {
	case n == nil:
		return nil, nil
	case n.kind == kindString:
		return []string{n.text}, nil
	case n.kind != kindList:
		return nil, shape(n, "neither a string nor a list of strings")
	}
	out := make([]string, len(n.items))
	for i := range n.items {
		if n.items[i].kind != kindString {
			return nil, shape(&n.items[i], "not a string")
		}
		out[i] = n.items[i].text
	}
	return out, nil
}

// ours reports whether the statement has a Sid of ours.
func (s *statement) ours() bool { return IsOwnSid(s.sid) }

// placeholder reports whether the statement is the placeholder and harmless. A
// statement that only borrows its Sid is one like any other.
func (s *statement) placeholder() bool {
	return s.sid == PlaceholderSid && s.allow && !s.cond.end.IsZero() && !s.cond.end.After(placeholderEnd)
}

// Statements is every statement, in order.
func (d Document) Statements() []Statement {
	out := make([]Statement, len(d.stmts))
	for i := range d.stmts {
		out[i] = d.export(i)
	}
	return out
}

// Statement is the first statement with that Sid.
func (d Document) Statement(sid string) (Statement, bool) {
	for i := range d.stmts {
		if d.stmts[i].sid == sid && sid != "" {
			return d.export(i), true
		}
	}
	return Statement{}, false
}

// Ours is every statement of ours, in order, without the placeholder.
func (d Document) Ours() []Statement {
	var out []Statement
	for i := range d.stmts {
		if d.stmts[i].ours() && !d.stmts[i].placeholder() {
			out = append(out, d.export(i))
		}
	}
	return out
}

func (d Document) export(i int) Statement {
	s := &d.stmts[i]
	out := Statement{
		Index: i, Sid: s.sid, Effect: Deny,
		Principals: slices.Clone(s.principals),
		Actions:    slices.Clone(s.actions), NotActions: slices.Clone(s.notActions),
		End: s.cond.end, Conditional: s.cond.more,
		Ours: s.ours(), Placeholder: s.placeholder(),
		Raw: bytes.Clone(d.raw[s.node.start:s.node.end]),
	}
	if s.allow {
		out.Effect = Allow
	}
	return out
}

// Raw is a copy of the document's bytes.
func (d Document) Raw() []byte { return bytes.Clone(d.raw) }

// String is the document's bytes.
func (d Document) String() string { return string(d.raw) }

// Equal reports whether both documents have the same bytes.
func (d Document) Equal(other Document) bool { return bytes.Equal(d.raw, other.raw) }

// Size is what the document takes of the quota; see [Size].
func (d Document) Size() int { return Size(d.raw) }

// Hash is the document's hash; see [Hash].
func (d Document) Hash() string { return Hash(d.raw) }

// Size counts characters as IAM's quota for trust policies does: without the
// white space that stands outside strings.
func Size(raw []byte) int {
	n := utf8.RuneCount(raw)
	for range spaces(raw) {
		n--
	}
	return n
}

// Hash is the SHA-256 of the bytes, in hexadecimal, for the audit record.
func Hash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
