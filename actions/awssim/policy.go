package awssim

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A policy is a parsed IAM policy document together with its own text.
type policy struct {
	raw        []byte
	statements []statement
}

// A statement is one element of a policy's Statement list.
type statement struct {
	sid        string
	deny       bool
	principals []principal
	actions    patterns
	resources  patterns
	conditions []condition
}

// patterns are the values of Action or Resource, or of their negations.
type patterns struct {
	values  []string
	negated bool
}

// A principal is one value of the Principal element.
type principal struct {
	kind       string // AWS, Service, Federated, CanonicalUser; "*" when Principal is the bare string
	value      string
	start, end int // where the JSON string stands in the document, quotes included
}

// A condition is one key below one operator of the Condition element.
type condition struct {
	operator string
	key      string
	values   []string
}

// policyKind tells the two kinds of document apart that IAM validates here.
type policyKind int

const (
	trustPolicy policyKind = iota
	identityPolicy
)

// parsePolicy reads a document with the grammar of the page "Grammar of the
// IAM JSON policy language" and refuses what IAM refuses with
// MalformedPolicyDocument. Principals are only looked at, not looked up.
func parsePolicy(raw string, kind policyKind) (*policy, *Error) {
	if raw == "" || isSpace(raw[0]) {
		return nil, malformed("JSON strings must not have leading spaces")
	}
	root, err := parseJSON([]byte(raw))
	if err != nil {
		return nil, malformed("This policy contains invalid Json")
	}
	if root.kind != '{' || root.duplicateKey() {
		return nil, malformed("Syntax errors in policy.")
	}
	p := &policy{raw: []byte(raw)}
	var list []*node
	for i, key := range root.keys {
		v := root.values[i]
		switch key {
		case "Version":
			if v.kind != '"' || v.text != "2008-10-17" && v.text != "2012-10-17" {
				return nil, malformed("The policy must contain a valid version string")
			}
		case "Id":
			if v.kind != '"' {
				return nil, malformed("Syntax errors in policy.")
			}
		case "Statement":
			switch v.kind {
			case '{':
				list = []*node{v}
			case '[':
				list = v.values
			}
		default:
			return nil, malformed("Syntax errors in policy.")
		}
	}
	if len(list) == 0 {
		return nil, malformed("Syntax errors in policy.")
	}
	sids := make(map[string]bool)
	for _, n := range list {
		s, err := parseStatement(n, kind)
		if err != nil {
			return nil, err
		}
		if s.sid != "" && sids[s.sid] {
			return nil, malformed("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[s.sid] = true
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func parseStatement(n *node, kind policyKind) (statement, *Error) {
	var s statement
	if n.kind != '{' {
		return s, malformed("Syntax errors in policy.")
	}
	var effect, action, resource, who bool
	for i, key := range n.keys {
		v := n.values[i]
		switch key {
		case "Sid":
			if v.kind != '"' {
				return s, malformed("Syntax errors in policy.")
			}
			if strings.ContainsFunc(v.text, notAlphanumeric) {
				return s, malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
			}
			s.sid = v.text
		case "Effect":
			if v.kind != '"' || v.text != "Allow" && v.text != "Deny" {
				return s, malformed("Syntax errors in policy.")
			}
			effect, s.deny = true, v.text == "Deny"
		case "Principal":
			if kind != trustPolicy {
				return s, malformed("Policy document should not specify a principal.")
			}
			found, ok := parsePrincipals(v)
			if !ok {
				return s, malformed("Syntax errors in policy.")
			}
			s.principals, who = found, true
		case "NotPrincipal":
			if kind != trustPolicy {
				return s, malformed("Policy document should not specify a principal.")
			}
			return s, malformed("Has prohibited field NotPrincipal")
		case "Action", "NotAction":
			values, ok := v.strings()
			if !ok || len(values) == 0 || action {
				return s, malformed("Syntax errors in policy.")
			}
			action = true
			s.actions = patterns{values: values, negated: key == "NotAction"}
		case "Resource", "NotResource":
			if kind == trustPolicy {
				return s, malformed("Has prohibited field " + key)
			}
			values, ok := v.strings()
			if !ok || len(values) == 0 || resource {
				return s, malformed("Syntax errors in policy.")
			}
			resource = true
			s.resources = patterns{values: values, negated: key == "NotResource"}
		case "Condition":
			conditions, err := parseConditions(v)
			if err != nil {
				return s, err
			}
			s.conditions = conditions
		default:
			return s, malformed("Syntax errors in policy.")
		}
	}
	switch {
	case !effect:
		return s, malformed("Missing required field Effect")
	case !action:
		return s, malformed("Policy statement must contain actions.")
	case kind == trustPolicy && !who:
		return s, malformed("Missing required field Principal")
	case kind == identityPolicy && !resource:
		return s, malformed("Policy statement must contain resources.")
	}
	for _, a := range s.actions.values {
		service, _, ok := strings.Cut(a, ":")
		switch {
		case a == "*":
		case !ok:
			return s, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
		case kind == trustPolicy && !strings.EqualFold(service, "sts"):
			return s, malformed("AssumeRole policy may only specify STS AssumeRole actions.")
		}
	}
	for _, r := range s.resources.values {
		if !strings.HasPrefix(r, "*") && !strings.HasPrefix(r, "arn:") {
			return s, malformed("Resource " + r + ` must be in ARN format or "*".`)
		}
	}
	return s, nil
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func parsePrincipals(v *node) ([]principal, bool) {
	if v.kind == '"' {
		return []principal{{kind: "*", value: v.text, start: v.start, end: v.end}}, v.text == "*"
	}
	if v.kind != '{' || len(v.keys) == 0 {
		return nil, false
	}
	var out []principal
	for i, kind := range v.keys {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, kind) {
			return nil, false
		}
		if _, ok := v.values[i].strings(); !ok {
			return nil, false
		}
		values := []*node{v.values[i]}
		if v.values[i].kind == '[' {
			values = v.values[i].values
		}
		if len(values) == 0 {
			return nil, false
		}
		for _, n := range values {
			out = append(out, principal{kind: kind, value: n.text, start: n.start, end: n.end})
		}
	}
	return out, true
}

func parseConditions(v *node) ([]condition, *Error) {
	if v.kind != '{' {
		return nil, malformed("Syntax errors in policy.")
	}
	var out []condition
	for i, operator := range v.keys {
		keys := v.values[i]
		if keys.kind != '{' {
			return nil, malformed("Syntax errors in policy.")
		}
		for j, key := range keys.keys {
			values, ok := keys.values[j].scalars()
			if !ok {
				return nil, malformed("Syntax errors in policy.")
			}
			if !strings.Contains(key, ":") {
				return nil, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
			}
			out = append(out, condition{operator: operator, key: key, values: values})
		}
	}
	return out, nil
}

// checkConditions refuses operators and date values that IAM refuses on write.
// It is apart from parsing so that a builder may store what IAM would not take.
func (p *policy) checkConditions() *Error {
	for _, s := range p.statements {
		for _, c := range s.conditions {
			_, name, _ := splitOperator(c.operator)
			base, known := operators[strings.ToLower(name)]
			if !known {
				return malformed("Invalid Condition type : " + c.operator + ".")
			}
			if base.kind != dateOperator {
				continue
			}
			for _, v := range c.values {
				if _, ok := parseDate(v); !ok {
					return malformed("The policy failed legacy parsing")
				}
			}
		}
	}
	return nil
}

var (
	digits = regexp.MustCompile(`^-?[0-9]+$`)
	// dateLayouts are the shapes of the W3C profile of ISO 8601 that the
	// policy grammar names. Go accepts fractions of a second by itself.
	dateLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"}
)

// parseDate reads the value of a date condition operator: ISO 8601 or epoch
// seconds. Four digits are a year.
func parseDate(s string) (time.Time, bool) {
	if digits.MatchString(s) && len(s) != 4 {
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

// rewrite returns the document with some AWS principals replaced. Every byte
// outside a replaced string stays as it was.
func (p *policy) rewrite(replace func(value string) string) []byte {
	all := p.awsPrincipals()
	slices.SortFunc(all, func(a, b principal) int { return a.start - b.start })
	var out []byte
	last := 0
	for _, who := range all {
		value := replace(who.value)
		if value == who.value {
			continue
		}
		out = append(out, p.raw[last:who.start]...)
		out = append(out, quoteJSON(value)...)
		last = who.end
	}
	return append(out, p.raw[last:]...)
}

// awsPrincipals returns every value below "AWS" in the document.
func (p *policy) awsPrincipals() []principal {
	var out []principal
	for _, s := range p.statements {
		for _, who := range s.principals {
			if who.kind == "AWS" {
				out = append(out, who)
			}
		}
	}
	return out
}

// legalCharacters tells whether a document keeps to the pattern of IAM's
// policyDocumentType: tab, line feed, carriage return and U+0020 to U+00FF.
func legalCharacters(doc string) bool {
	return !strings.ContainsFunc(doc, func(r rune) bool {
		return r != '\t' && r != '\n' && r != '\r' && (r < 0x20 || r > 0xFF)
	})
}

// policySize counts a document as IAM's quotas do: characters that are not
// white space.
func policySize(doc string) int {
	spaces := strings.Count(doc, " ") + strings.Count(doc, "\t") + strings.Count(doc, "\n") + strings.Count(doc, "\r")
	return utf8.RuneCountInString(doc) - spaces
}

func malformed(message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "MalformedPolicyDocument", Message: message}
}
