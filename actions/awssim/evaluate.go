package awssim

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A requestContext holds the condition keys of one request, lower-cased as IAM
// compares them ("condition key names are not case-sensitive").
type requestContext map[string][]string

func (rc requestContext) set(key string, values ...string) {
	rc[strings.ToLower(key)] = values
}

func (rc requestContext) get(key string) ([]string, bool) {
	v, ok := rc[strings.ToLower(key)]
	return v, ok
}

// A verdict is what a set of policies says about one action on one resource.
type verdict int

const (
	implicitDeny verdict = iota
	allowed
	explicitDeny
)

// String returns the words of iam:SimulatePrincipalPolicy.
func (v verdict) String() string {
	switch v {
	case allowed:
		return "allowed"
	case explicitDeny:
		return "explicitDeny"
	default:
		return "implicitDeny"
	}
}

// evaluate applies the logic of the page "Policy evaluation logic": a Deny that
// matches beats everything, without any Allow the answer is no.
func evaluate(policies []*policy, action, resource string, rc requestContext) verdict {
	v := implicitDeny
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, s := range p.statements {
			if !s.actions.match(action, true, nil) || !s.resources.match(resource, false, rc) || !s.conditionsHold(rc) {
				continue
			}
			if s.deny {
				return explicitDeny
			}
			v = allowed
		}
	}
	return v
}

// match tells whether a value is among the patterns, or is not, when negated.
// Policy variables are legal in resources, not in actions.
func (p patterns) match(value string, fold bool, rc requestContext) bool {
	if p.values == nil {
		return true
	}
	found := slices.ContainsFunc(p.values, func(pattern string) bool {
		if fold {
			return wildcard(strings.ToLower(pattern), strings.ToLower(value))
		}
		expanded, ok := expand(pattern, rc)
		return ok && wildcard(expanded, value)
	})
	return found != p.negated
}

// Characters that stand for a literal * or ? while a pattern is matched.
const (
	literalStar  = '\ue000'
	literalQuery = '\ue001'
)

// wildcard matches with * and ? as the policy grammar has them.
func wildcard(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j] || p[i] == literalStar && t[j] == '*' || p[i] == literalQuery && t[j] == '?'):
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

// expand replaces policy variables. A variable that the request does not carry
// makes the whole value match nothing, as the page "Policy variables" says.
func expand(value string, rc requestContext) (string, bool) {
	if !strings.Contains(value, "${") {
		return value, true
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(value, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), true
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", false
		}
		switch name {
		case "*":
			b.WriteRune(literalStar)
		case "?":
			b.WriteRune(literalQuery)
		case "$":
			b.WriteByte('$')
		default:
			key, fallback, hasFallback := strings.Cut(name, ",")
			values, found := rc.get(strings.TrimSpace(key))
			switch {
			case found && len(values) == 1:
				b.WriteString(values[0])
			case hasFallback:
				b.WriteString(strings.Trim(strings.TrimSpace(fallback), "'"))
			default:
				return "", false
			}
		}
		value = after
	}
}

// conditionsHold tells whether every condition of a statement is met.
func (s statement) conditionsHold(rc requestContext) bool {
	return !slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(rc, s.deny) })
}

type operatorKind int

const (
	stringOperator operatorKind = iota
	likeOperator
	foldOperator
	numberOperator
	dateOperator
	boolOperator
	arnOperator
	ipOperator
	nullOperator
	binaryOperator
)

// An operator compares one value of the request with one of the policy.
type operator struct {
	kind    operatorKind
	negated bool
	compare func(order int) bool // for numbers and dates
}

// operators are those of the page "IAM JSON policy elements: Condition
// operators", lower-cased.
var operators = map[string]operator{
	"stringequals":              {kind: stringOperator},
	"stringnotequals":           {kind: stringOperator, negated: true},
	"stringequalsignorecase":    {kind: foldOperator},
	"stringnotequalsignorecase": {kind: foldOperator, negated: true},
	"stringlike":                {kind: likeOperator},
	"stringnotlike":             {kind: likeOperator, negated: true},
	"numericequals":             {kind: numberOperator, compare: isEqual},
	"numericnotequals":          {kind: numberOperator, compare: isEqual, negated: true},
	"numericlessthan":           {kind: numberOperator, compare: isLess},
	"numericlessthanequals":     {kind: numberOperator, compare: isLessOrEqual},
	"numericgreaterthan":        {kind: numberOperator, compare: isGreater},
	"numericgreaterthanequals":  {kind: numberOperator, compare: isGreaterOrEqual},
	"dateequals":                {kind: dateOperator, compare: isEqual},
	"datenotequals":             {kind: dateOperator, compare: isEqual, negated: true},
	"datelessthan":              {kind: dateOperator, compare: isLess},
	"datelessthanequals":        {kind: dateOperator, compare: isLessOrEqual},
	"dategreaterthan":           {kind: dateOperator, compare: isGreater},
	"dategreaterthanequals":     {kind: dateOperator, compare: isGreaterOrEqual},
	"bool":                      {kind: boolOperator},
	"binaryequals":              {kind: binaryOperator},
	"ipaddress":                 {kind: ipOperator},
	"notipaddress":              {kind: ipOperator, negated: true},
	"arnequals":                 {kind: arnOperator},
	"arnlike":                   {kind: arnOperator},
	"arnnotequals":              {kind: arnOperator, negated: true},
	"arnnotlike":                {kind: arnOperator, negated: true},
	"null":                      {kind: nullOperator},
}

func isEqual(order int) bool          { return order == 0 }
func isLess(order int) bool           { return order < 0 }
func isLessOrEqual(order int) bool    { return order <= 0 }
func isGreater(order int) bool        { return order > 0 }
func isGreaterOrEqual(order int) bool { return order >= 0 }

// splitOperator takes a set prefix and the IfExists suffix off an operator.
func splitOperator(s string) (set, name string, ifExists bool) {
	name = s
	if prefix, rest, ok := strings.Cut(s, ":"); ok {
		set, name = strings.ToLower(prefix), rest
	}
	if n := len(name) - len("IfExists"); n > 0 && strings.EqualFold(name[n:], "IfExists") {
		name, ifExists = name[:n], true
	}
	return set, name, ifExists
}

// holds evaluates one condition. What cannot be evaluated fails closed: it does
// not hold in an Allow and does hold in a Deny.
func (c condition) holds(rc requestContext, deny bool) bool {
	set, name, ifExists := splitOperator(c.operator)
	op, known := operators[strings.ToLower(name)]
	if !known || op.kind == binaryOperator || set != "" && set != "forallvalues" && set != "foranyvalue" {
		return deny
	}
	got, present := rc.get(c.key)
	if op.kind == nullOperator {
		return len(c.values) > 0 && slices.ContainsFunc(c.values, func(v string) bool {
			return strings.EqualFold(v, "true") && !present || strings.EqualFold(v, "false") && present
		})
	}
	if !present {
		return ifExists || op.negated || set == "forallvalues"
	}
	one := func(value string) bool {
		matched := slices.ContainsFunc(c.values, func(want string) bool { return op.match(value, want, rc) })
		return matched != op.negated
	}
	if set == "forallvalues" {
		return !slices.ContainsFunc(got, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(got, one)
}

// match compares one value of the request with one value of the policy.
func (o operator) match(got, want string, rc requestContext) bool {
	switch o.kind {
	case numberOperator:
		a, errA := strconv.ParseFloat(got, 64)
		b, errB := strconv.ParseFloat(want, 64)
		return errA == nil && errB == nil && o.compare(compareFloats(a, b))
	case dateOperator:
		// No wildcards and no policy variables in dates.
		a, okA := parseDate(got)
		b, okB := parseDate(want)
		return okA && okB && o.compare(a.Compare(b))
	case boolOperator:
		return strings.EqualFold(got, want)
	case ipOperator:
		return matchAddress(got, want)
	default:
		expanded, ok := expand(want, rc)
		return ok && o.matchText(got, expanded)
	}
}

// matchText compares where policy variables are legal.
func (o operator) matchText(got, want string) bool {
	switch o.kind {
	case stringOperator:
		return got == literally(want)
	case foldOperator:
		return strings.EqualFold(got, literally(want))
	case likeOperator:
		return wildcard(want, got)
	case arnOperator:
		return matchARN(want, got)
	default:
		return false
	}
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func literally(s string) string {
	return strings.NewReplacer(string(literalStar), "*", string(literalQuery), "?").Replace(s)
}

// matchARN compares the six parts of an ARN one by one, each with wildcards.
func matchARN(pattern, arn string) bool {
	p, a := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(p) != 6 || len(a) != 6 {
		return wildcard(pattern, arn)
	}
	for i := range p {
		if !wildcard(p[i], a[i]) {
			return false
		}
	}
	return true
}

func matchAddress(got, want string) bool {
	addr, err := netip.ParseAddr(got)
	if err != nil {
		return false
	}
	if prefix, err := netip.ParsePrefix(want); err == nil {
		return prefix.Contains(addr)
	}
	exact, err := netip.ParseAddr(want)
	return err == nil && exact == addr
}

// conditionKeys returns the keys that the policies ask for, for the answer of
// SimulatePrincipalPolicy.
func conditionKeys(policies []*policy) []string {
	var out []string
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, s := range p.statements {
			for _, c := range s.conditions {
				if !slices.Contains(out, c.key) {
					out = append(out, c.key)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// isoTime is how IAM writes a time, in policies and in the query protocol.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
