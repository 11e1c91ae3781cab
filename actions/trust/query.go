package trust

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Mention is a principal and the statement that names it.
type Mention struct {
	Index     int
	Sid       string
	Effect    Effect
	Ours      bool
	Principal Principal
	End       time.Time // of the statement; zero: none
}

// Via says how a statement comes to trust a role.
type Via string

// The ways to trust a role.
const (
	ViaARN          Via = "arn"           // it is named: its ARN, or what was asked about
	ViaSession      Via = "session"       // the ARN of one of its sessions
	ViaAccount      Via = "account"       // its account, as an id or as the root's ARN
	ViaAnyone       Via = "anyone"        // "*"
	ViaPattern      Via = "pattern"       // a principal with a wildcard in it
	ViaNotPrincipal Via = "not-principal" // everybody except some
)

// A Trust is a statement that lets a role assume the role.
type Trust struct {
	Mention
	Via Via
	// Maybe says that a condition besides the end may hold it back: one that
	// cannot be judged from the document, or a wildcard that fits.
	Maybe bool
}

// orphanPattern is the unique id that IAM shows in the place of a role or user
// that was deleted.
var orphanPattern = regexp.MustCompile(`^A(ROA|IDA)[A-Z0-9]+$`)

// IsOrphan reports whether an AWS principal is what is left of a deleted role
// or user.
func IsOrphan(value string) bool { return orphanPattern.MatchString(value) }

func (d Document) mention(i int, p Principal) Mention {
	s := &d.stmts[i]
	m := Mention{Index: i, Sid: s.sid, Effect: Deny, Ours: s.ours(), Principal: p, End: s.cond.end}
	if s.allow {
		m.Effect = Allow
	}
	return m
}

// Orphans is every principal, of an Allow or a Deny, that no longer exists. One
// is enough for IAM to refuse every write of the document.
func (d Document) Orphans() []Mention {
	var out []Mention
	for i := range d.stmts {
		for _, p := range d.stmts[i].principals {
			if p.Kind == KindAWS && IsOrphan(p.Value) {
				out = append(out, d.mention(i, p))
			}
		}
	}
	return out
}

// accountARNPattern takes the account out of a principal's ARN.
var accountARNPattern = regexp.MustCompile(`^arn:[^:]*:[^:]*:[^:]*:([0-9]{12}):`)

// AccountOf is the account of an AWS principal; "" if it does not say.
func AccountOf(value string) string {
	if accountPattern.MatchString(value) {
		return value
	}
	if m := accountARNPattern.FindStringSubmatch(value); m != nil {
		return m[1]
	}
	return ""
}

// PrincipalsFrom is every AWS principal of an Allow statement that belongs to
// one of the accounts, ended or not.
func (d Document) PrincipalsFrom(accounts []string) []Mention {
	var out []Mention
	for i := range d.stmts {
		for _, p := range d.stmts[i].principals {
			if !d.stmts[i].allow || p.Kind != KindAWS {
				continue
			}
			if account := AccountOf(p.Value); account != "" && slices.Contains(accounts, account) {
				out = append(out, d.mention(i, p))
			}
		}
	}
	return out
}

// A subject is whom a question about trust is about, in any form in which an AWS
// principal may stand in a policy.
type subject struct {
	value   string
	account string // empty: of somebody deleted, and lost with them
	role    string // the name of a role; empty: it is none
	arn     string // aws:PrincipalArn of its requests; empty: it may be one of several
}

func subjectOf(value string) (subject, error) {
	who := subject{value: value}
	m := principalARNPattern.FindStringSubmatch(value)
	switch {
	case accountID(value) != "":
		who.account = accountID(value)
	case IsOrphan(value):
	case m == nil || len(value) > maxARN:
		return who, &ValueError{Err: ErrPrincipal, Value: value}
	default:
		who.account = m[1]
		kind, rest, _ := strings.Cut(m[2], "/")
		if kind == "role" {
			who.role = rest[strings.LastIndexByte(rest, '/')+1:]
		}
		if kind == "role" || kind == "user" {
			who.arn = value // that of a session is its role's, path included
		}
	}
	return who, nil
}

// Trusts is every Allow statement that lets a principal assume the role at a
// moment, once for each value that does. The principal is usually a role; it may
// be anything that can stand in a policy but "*". None means that none does:
// whatever cannot be judged from the document is listed, with Maybe set. Left
// out are statements that have ended, that are not about sts:AssumeRole, or that
// ask for another aws:PrincipalArn or aws:PrincipalAccount. What a Deny statement
// takes back is not counted, nor is what names only a part of it: of an account
// one of its roles, of a session its role.
func (d Document) Trusts(principal string, at time.Time) ([]Trust, error) {
	who, err := subjectOf(principal)
	if err != nil {
		return nil, err
	}
	var out []Trust
	for i := range d.stmts {
		s := &d.stmts[i]
		ended := !s.cond.end.IsZero() && !at.Before(s.cond.end)
		if !s.allow || ended || !s.assumes() || !s.cond.allows(who.arn, who.account) {
			continue
		}
		if s.notPrincipal && who.account != "" {
			out = append(out, Trust{Mention: d.mention(i, Principal{}), Via: ViaNotPrincipal, Maybe: true})
		}
		for _, p := range s.principals {
			if via, ok := trustedVia(p, who); ok {
				out = append(out, Trust{Mention: d.mention(i, p), Via: via, Maybe: s.cond.more || via == ViaPattern})
			}
		}
	}
	return out, nil
}

// assumes reports whether the statement is about sts:AssumeRole.
func (s *statement) assumes() bool {
	const action = "sts:AssumeRole"
	fits := func(pattern string) bool { return glob(pattern, action) }
	switch {
	case len(s.notActions) > 0:
		return !slices.ContainsFunc(s.notActions, fits) || slices.ContainsFunc(s.actions, fits)
	case len(s.actions) > 0:
		return slices.ContainsFunc(s.actions, fits)
	default:
		return true
	}
}

func trustedVia(p Principal, who subject) (Via, bool) {
	v := p.Value
	switch {
	case p.Kind == KindAnyone, p.Kind == KindAWS && v == "*":
		return ViaAnyone, who.account != ""
	case p.Kind != KindAWS:
		return "", false
	case samePrincipal(v, who.value):
		return ViaARN, true
	case who.account == "": // deleted: nothing else can be they
		return "", false
	case accountID(v) == who.account:
		return ViaAccount, true
	case who.role != "" && AccountOf(v) == who.account && strings.Contains(v, ":assumed-role/"+who.role+"/"):
		return ViaSession, true
	case strings.ContainsAny(v, "*?"):
		return ViaPattern, glob(v, who.value)
	}
	return "", false
}

// accountID is the id of a principal that is a whole account, in either of its
// forms; "" for any other.
func accountID(value string) string {
	if accountPattern.MatchString(value) {
		return value
	}
	if m := accountARNPattern.FindStringSubmatch(value); m != nil && strings.HasSuffix(value, "::"+m[1]+":root") {
		return m[1]
	}
	return ""
}
