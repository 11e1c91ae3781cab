package actions

import (
	"fmt"
	"strings"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// endPlaceholder stands for the end in a planned statement: it is not known
// before the statement is written.
const endPlaceholder = "<end>"

// own is the statement of a grant. Without enforcement by AWS it has no end.
func own(g grant.Grant, end time.Time) trust.Own {
	o := trust.Own{Sid: g.ID.Sid(), PrincipalARN: string(g.Principal)}
	if g.Terms.AWSEnforced {
		o.End = end
	}
	return o
}

// planned is the statement that opening will add, to be shown before the end is
// known.
func planned(g grant.Grant) string {
	sample := time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
	text, err := own(g, sample).JSON()
	if err != nil {
		return ""
	}
	return strings.Replace(string(text), sample.Format(timeFormat), endPlaceholder, 1)
}

// pruneAfter is how long our statements stay after their end, for the clocks of
// two machines to differ by.
const pruneAfter = time.Minute

// withStatement puts the statement into the document, in the place of an older
// one of the same grant, and takes our ended ones out in the same write: a trust
// policy has a quota, and nobody else would clear up behind us.
func withStatement(d trust.Document, c Cell, o trust.Own, at time.Time) (trust.Document, error) {
	pruned, _, err := d.Prune(string(c.Account), at.Add(-pruneAfter))
	if err != nil {
		return trust.Document{}, err
	}
	edited, err := pruned.Put(o)
	if err != nil {
		return trust.Document{}, err
	}
	if !trust.EqualForeign(d, edited) {
		return trust.Document{}, fmt.Errorf("adding %s would change a statement that is not ours", o.Sid)
	}
	return edited, nil
}

// standing reports whether the grant's statement is there as the grant wants it:
// the same principal, and an end that is still to come and not later than
// approved. A repeated opening keeps it, so that a crash never makes access
// longer.
func standing(d trust.Document, g grant.Grant, at time.Time) (trust.Statement, bool) {
	s, ok := d.Statement(g.ID.Sid())
	if !ok {
		return s, false
	}
	limit := at.Add(g.Duration)
	if g.Terms.AWSEnforced && (!s.End.After(at) || s.End.After(limit)) {
		return s, false
	}
	return s, d.Has(own(g, s.End))
}

// leaving is what one closing grant wants gone. It is comparable: whoever carries
// out the removals of several tells by it whether one has changed its mind.
type leaving struct {
	id grant.ID
	// takes is the grant whose outlived statement goes, too; zero: none.
	takes grant.ID
	// principal goes wherever it stands, when no other grant needs it; else empty.
	principal string
}

// sids are the statements that go.
func (l leaving) sids() []string {
	if l.takes == 0 || l.takes == l.id {
		return []string{l.id.Sid()}
	}
	return []string{l.id.Sid(), l.takes.Sid()}
}

// withoutStatements takes out what the grants want gone, and says for each in
// words what that was. Only when something goes that must go are orphans and our
// ended statements cleared up with it: they let nobody in, but an orphan makes
// IAM refuse the write.
func withoutStatements(d trust.Document, c Cell, list []leaving, at time.Time) (trust.Document, map[grant.ID][]string, error) {
	account := string(c.Account)
	removed := make(map[grant.ID][]string)
	edited := d
	for _, l := range list {
		for _, sid := range l.sids() {
			s, ok := edited.Statement(sid)
			if !ok {
				continue
			}
			var err error
			if edited, err = edited.Remove(account, sid); err != nil {
				return d, nil, err
			}
			removed[l.id] = append(removed[l.id], "statement "+sid+" ("+principalsOf(s)+")")
		}
	}
	for _, l := range list {
		if l.principal == "" {
			continue
		}
		gone, mentions, err := withoutPrincipal(edited, account, l.principal, at)
		if err != nil {
			return d, nil, err
		}
		edited = gone
		for _, m := range mentions {
			removed[l.id] = append(removed[l.id], m.Principal.Value+" from "+nameOf(m))
		}
	}
	if edited.Equal(d) {
		return d, removed, nil
	}
	first := list[0].id
	cleared, orphans, err := edited.RemoveOrphans(account)
	if err != nil {
		return d, nil, err
	}
	for _, m := range orphans {
		removed[first] = append(removed[first], m.Principal.Value+" (a deleted role or user) from "+nameOf(m))
	}
	cleared, pruned, err := cleared.Prune(account, at.Add(-pruneAfter))
	if err != nil {
		return d, nil, err
	}
	for _, sid := range pruned {
		removed[first] = append(removed[first], "statement "+sid+" (ended)")
	}
	return cleared, removed, nil
}

// withoutPrincipal takes a principal out of every Allow; where it is a role, with
// the ARNs of single sessions of it.
func withoutPrincipal(d trust.Document, account, principal string, at time.Time) (trust.Document, []trust.Mention, error) {
	edited, mentions, err := d.RemoveExact(account, principal)
	if err != nil {
		return d, nil, err
	}
	rest, err := edited.Trusts(principal, at)
	if err != nil {
		// Nothing that is known to be trusted by other names than its own, such as
		// what somebody has mistyped by hand.
		return edited, mentions, nil //nolint:nilerr // see above
	}
	for _, t := range rest {
		if t.Via != trust.ViaSession {
			continue
		}
		var more []trust.Mention
		if edited, more, err = edited.RemoveExact(account, t.Principal.Value); err != nil {
			return d, nil, err
		}
		mentions = append(mentions, more...)
	}
	return edited, mentions, nil
}

// everybodyBut stands for the principal of a statement that names whom it does not
// mean. IAM takes no such trust policy any more.
const everybodyBut = "everybody but some (NotPrincipal)"

// nameOf names a statement for people.
func nameOf(m trust.Mention) string {
	if m.Sid != "" {
		return "statement " + m.Sid
	}
	return fmt.Sprintf("statement %d, which has no Sid", m.Index+1)
}

// via says in words how wide a trust is.
func via(t trust.Trust) string {
	switch t.Via {
	case trust.ViaAccount:
		return "its whole account (" + t.Principal.Value + ")"
	case trust.ViaAnyone:
		return `everybody ("*")`
	case trust.ViaNotPrincipal:
		return everybodyBut
	default:
		return t.Principal.Value
	}
}

func values(list []trust.Mention) string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = m.Principal.Value
	}
	return strings.Join(out, ", ")
}

func principalsOf(s trust.Statement) string {
	out := make([]string, len(s.Principals))
	for i, p := range s.Principals {
		out[i] = p.Value
	}
	return strings.Join(out, ", ")
}

// trustedLines says who is trusted, a statement a line.
func trustedLines(d trust.Document, at time.Time) []string {
	var out []string
	for _, s := range d.Statements() {
		if s.Placeholder {
			continue
		}
		line := principalsOf(s)
		if line == "" {
			line = everybodyBut
		}
		if s.Effect == trust.Deny {
			line = "denied: " + line
		}
		switch {
		case s.Expired(at):
			line += ", ended " + s.End.UTC().Format(timeFormat)
		case !s.End.IsZero():
			line += " until " + s.End.UTC().Format(timeFormat)
		}
		if s.Conditional {
			line += ", on a condition"
		}
		if id, ok := grant.ParseSid(s.Sid); ok {
			line += " (" + id.String() + ")"
		} else if s.Sid != "" {
			line += " (" + s.Sid + ")"
		}
		out = append(out, line)
	}
	return out
}

func trustsService(d trust.Document, service string) bool {
	for _, s := range d.Statements() {
		for _, p := range s.Principals {
			if s.Effect == trust.Allow && p.Kind == trust.KindService && p.Value == service {
				return true
			}
		}
	}
	return false
}

// liveEnds is the latest end among our statements, those of the grants in
// without excepted.
func liveEnds(d trust.Document, without map[grant.ID]bool, at time.Time) time.Time {
	var end time.Time
	for _, s := range d.Ours() {
		if id, ok := grant.ParseSid(s.Sid); ok && without[id] {
			continue
		}
		if s.End.After(at) {
			end = latest(end, s.End)
		}
	}
	return end
}
