package trust

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A splice puts bytes in the place of a span.
type splice struct {
	span
	with []byte
}

// A change is what happens to one statement: it goes, or some of its bytes do.
type change struct {
	drop    bool
	splices []splice // in order, within the statement
}

// Put adds our statement behind the last one, or puts it in the place of the
// one that has its Sid. If it is there already and says the same, the document
// is returned as it is. The placeholder makes room.
func (d Document) Put(o Own) (Document, error) {
	text, err := o.JSON()
	if err != nil {
		return Document{}, err
	}
	if d.block == nil {
		return Document{}, &ParseError{Err: ErrNoStatement}
	}
	changes := map[int]change{}
	place := -1
	for i := range d.stmts {
		if d.stmts[i].sid != o.Sid {
			continue
		}
		if place >= 0 {
			changes[i] = change{drop: true}
			continue
		}
		place = i
		if !d.says(i, text) {
			changes[i] = change{splices: []splice{{d.stmts[i].node.span, text}}}
		}
	}
	for i := range d.stmts {
		switch {
		case !d.stmts[i].placeholder():
		case place < 0:
			place = i
			changes[i] = change{splices: []splice{{d.stmts[i].node.span, text}}}
		default:
			changes[i] = change{drop: true}
		}
	}
	if place >= 0 {
		return d.apply(changes, "")
	}
	var s []splice
	switch n := len(d.stmts); {
	case d.block.kind == kindObject:
		s = []splice{
			{span{d.block.start, d.block.start}, []byte("[")},
			{span{d.block.end, d.block.end}, slices.Concat([]byte(wrapGap), text, []byte("]"))},
		}
	case n == 0:
		at := d.block.start + 1
		s = []splice{{span{at, at}, text}}
	default:
		at := d.stmts[n-1].node.end
		s = []splice{{span{at, at}, slices.Concat([]byte(","), text)}}
	}
	return Parse(spliced(d.raw, s))
}

// Has reports whether our statement is in the document and says the same, so
// that Put would have nothing to write for it.
func (d Document) Has(o Own) bool {
	text, err := o.JSON()
	if err != nil {
		return false
	}
	for i := range d.stmts {
		if d.stmts[i].sid == o.Sid {
			return d.says(i, text)
		}
	}
	return false
}

// Remove takes away every statement with one of the Sids, which must be ours.
// Sids that are not in the document are passed over. The account is the
// company's own, for the placeholder.
func (d Document) Remove(account string, sids ...string) (Document, error) {
	for _, sid := range sids {
		if !IsOwnSid(sid) {
			return Document{}, &ValueError{Err: ErrSid, Value: sid}
		}
	}
	changes := map[int]change{}
	for i := range d.stmts {
		if slices.Contains(sids, d.stmts[i].sid) {
			changes[i] = change{drop: true}
		}
	}
	return d.apply(changes, account)
}

// Prune takes away our statements that ended before a moment, and says which. A
// statement that has a Sid of ours but does not say what we write is left: it
// may be somebody's who liked the name.
func (d Document) Prune(account string, before time.Time) (Document, []string, error) {
	changes := map[int]change{}
	var sids []string
	for i := range d.stmts {
		s := &d.stmts[i]
		if !s.ours() || s.placeholder() || len(s.principals) != 1 || s.cond.end.IsZero() || !s.cond.end.Before(before) {
			continue
		}
		if d.says(i, statementJSON(s.sid, s.principals[0].Value, s.cond.end)) {
			changes[i] = change{drop: true}
			sids = append(sids, s.sid)
		}
	}
	out, err := d.apply(changes, account)
	return out, sids, err
}

// principalARNPattern is an ARN that names one principal: a role, a user, a
// session. Never a whole account.
var principalARNPattern = regexp.MustCompile(`^arn:[^:]+:(?:iam|sts)::([0-9]{12}):([^*]+)$`)

// RemovePrincipal takes an AWS principal out of every Allow statement, ours and
// those that people wrote: the statement goes if it names nobody else, else
// only that value. It says where it was. It refuses "*", accounts and their
// root: those trust more than one principal, and only a person can say which
// of them stay. The account is the company's own, for the placeholder.
func (d Document) RemovePrincipal(account, arn string) (Document, []Mention, error) {
	m := principalARNPattern.FindStringSubmatch(arn)
	if m == nil || m[2] == "root" {
		return Document{}, nil, &ValueError{Err: ErrPrincipal, Value: arn}
	}
	return d.RemoveExact(account, arn)
}

// RemoveExact is RemovePrincipal for a value that a person has pointed at, so
// that it may be any: an account as well (in both its forms, which IAM takes for
// the same), a user, the unique id of somebody deleted. Nothing that it stands
// for goes with it: to remove an account leaves the roles of that account that
// are named besides. Only "*" is refused, which is nobody's.
func (d Document) RemoveExact(account, value string) (Document, []Mention, error) {
	if value == "" || value == "*" {
		return Document{}, nil, &ValueError{Err: ErrPrincipal, Value: value}
	}
	return d.removeValues(account, func(s *statement, v string) bool { return s.allow && samePrincipal(v, value) })
}

// samePrincipal reports whether IAM takes two values for one: an account may be
// written as its id or as the ARN of its root.
func samePrincipal(a, b string) bool {
	return a == b || accountID(a) != "" && accountID(a) == accountID(b)
}

// RemoveOrphans takes away every principal that [Document.Orphans] lists, in
// Deny statements too: they match nobody, and IAM refuses the document as long
// as one is in it. The account is the company's own, for the placeholder.
func (d Document) RemoveOrphans(account string) (Document, []Mention, error) {
	return d.removeValues(account, func(_ *statement, value string) bool { return IsOrphan(value) })
}

func (d Document) removeValues(account string, match func(*statement, string) bool) (Document, []Mention, error) {
	changes := map[int]change{}
	var gone []Mention
	for i := range d.stmts {
		s := &d.stmts[i]
		left := 0
		for _, p := range s.principals {
			if p.Kind == KindAWS && match(s, p.Value) {
				gone = append(gone, d.mention(i, p))
			} else {
				left++
			}
		}
		switch {
		case left == len(s.principals):
		case left == 0:
			changes[i] = change{drop: true}
		default:
			changes[i] = change{splices: dropValues(s.principal, func(value string) bool { return match(s, value) })}
		}
	}
	out, err := d.apply(changes, account)
	if err != nil {
		return Document{}, nil, err
	}
	return out, gone, nil
}

// dropValues cuts values out of the AWS member of a Principal element, or the
// whole member if none is left.
func dropValues(principal *node, match func(string) bool) []splice {
	whole := make([]bool, len(principal.members))
	spans := make([]span, len(principal.members))
	for i := range principal.members {
		m := &principal.members[i]
		spans[i] = m.span
		switch {
		case m.key != KindAWS:
		case m.value.kind == kindString:
			whole[i] = match(m.value.text)
		default:
			drop := make([]bool, len(m.value.items))
			items := make([]span, len(m.value.items))
			for j := range m.value.items {
				drop[j], items[j] = match(m.value.items[j].text), m.value.items[j].span
			}
			if slices.Contains(drop, false) {
				return cut(items, drop)
			}
			whole[i] = true
		}
	}
	return cut(spans, whole)
}

// cut deletes some of the things that stand in a row between commas, but not
// all of them. Each goes with the gap before it, or, where nothing before it
// stays, with the gap behind it.
func cut(row []span, drop []bool) []splice {
	var out []splice
	kept := false
	for i := range row {
		switch {
		case !drop[i]:
			kept = true
		case kept:
			out = append(out, splice{span: span{row[i-1].end, row[i].end}})
		default:
			out = append(out, splice{span: span{row[i].start, row[i+1].start}})
		}
	}
	return out
}

// apply makes changes to statements. Without any the document is returned as
// it is.
func (d Document) apply(changes map[int]change, account string) (Document, error) {
	if len(changes) == 0 {
		return d, nil
	}
	row := make([]span, len(d.stmts))
	drop := make([]bool, len(d.stmts))
	var within []splice
	for i := range d.stmts {
		row[i], drop[i] = d.stmts[i].node.span, changes[i].drop
		if !drop[i] {
			within = append(within, changes[i].splices...)
		}
	}
	if !slices.Contains(drop, false) {
		text, err := Placeholder(account)
		if err != nil {
			return Document{}, err
		}
		place := span{row[0].start, row[len(row)-1].end}
		if d.wrapped() {
			place = d.block.span
		}
		return Parse(spliced(d.raw, []splice{{place, text}}))
	}
	if !d.wrapped() {
		all := append(within, cut(row, drop)...)
		slices.SortFunc(all, func(a, b splice) int { return a.start - b.start })
		return Parse(spliced(d.raw, all))
	}
	var kept [][]byte
	for i := range d.stmts {
		if !drop[i] {
			kept = append(kept, splicedSpan(d.raw, row[i], changes[i].splices))
		}
	}
	text := kept[0]
	if len(kept) > 1 {
		text = slices.Concat([]byte("["), kept[0], []byte(wrapGap), bytes.Join(kept[1:], []byte(",")), []byte("]"))
	}
	return Parse(spliced(d.raw, []splice{{d.block.span, text}}))
}

// wrapGap is what stands between the first two statements of a list that Put
// made of a single statement; see the package comment.
const wrapGap = " ,"

// wrapped reports whether the list of statements is one that Put made.
func (d Document) wrapped() bool {
	n := len(d.stmts)
	if d.block.kind != kindList || n < 2 ||
		d.stmts[0].node.start != d.block.start+1 || d.stmts[n-1].node.end != d.block.end-1 {
		return false
	}
	gap := wrapGap
	for i := 1; i < n; i++ {
		at := d.stmts[i].node.span
		if !d.stmts[i].ours() || string(d.raw[d.stmts[i-1].node.end:at.start]) != gap || !minified(d.raw[at.start:at.end]) {
			return false
		}
		gap = ","
	}
	return true
}

// says reports whether a statement means the same as a text of ours.
func (d Document) says(i int, text []byte) bool {
	n, err := scan(text)
	if err != nil {
		return false
	}
	var a, b strings.Builder
	looseStatement(&a, d.stmts[i].node)
	looseStatement(&b, &n)
	return a.String() == b.String()
}

// spliced is raw with the splices, which are in order, put in.
func spliced(raw []byte, splices []splice) []byte {
	return splicedSpan(raw, span{0, len(raw)}, splices)
}

func splicedSpan(raw []byte, of span, splices []splice) []byte {
	var out []byte
	at := of.start
	for _, s := range splices {
		out = append(out, raw[at:s.start]...)
		out = append(out, s.with...)
		at = s.end
	}
	return append(out, raw[at:of.end]...)
}
