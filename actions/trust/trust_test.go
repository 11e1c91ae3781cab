package trust_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/actions/trust"
)

const (
	company = "444455556666"
	support = "arn:aws:iam::111122223333:role/support"

	// What SingleStore's instructions tell people to add by hand.
	vendor = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/support"},"Action":"sts:AssumeRole"}`
	// The statement that makes it an instance role.
	ec2 = `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`
	// Somebody else's, in somebody else's style.
	others = `{ "Sid" : "Auditors", "Principal": {"AWS": ["arn:aws:iam::999900001111:root", "222233334444"]},
      "Action": ["sts:AssumeRole", "sts:TagSession"], "Effect": "Allow",
      "Condition": {"StringEquals": {"sts:ExternalId": "a+b\u002Fc, {]"}, "Bool": {"aws:MultiFactorAuthPresent": true}} }`

	ours = `{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/support"},` +
		`"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}}`
	placeholder = `{"Sid":"BreakglassPlaceholder","Effect":"Allow","Principal":{"AWS":"444455556666"},` +
		`"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"2000-01-01T00:00:00Z"}}}`
)

var (
	end = time.Date(2026, 11, 23, 21, 20, 0, 0, time.UTC)
	own = trust.Own{Sid: "BreakglassBG7", PrincipalARN: support, End: end}
)

// policy is a policy with these statements in a list.
func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func parse(t testing.TB, raw string) trust.Document {
	t.Helper()
	d, err := trust.Parse([]byte(raw))
	if err != nil {
		t.Fatalf("Parse(%s): %v", raw, err)
	}
	return d
}

// must unwraps an edit.
func must(t testing.TB) func(trust.Document, error) trust.Document {
	return func(d trust.Document, err error) trust.Document {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// oursNumber is a statement of ours for another grant.
func oursNumber(n int) trust.Own {
	return trust.Own{Sid: fmt.Sprintf("BreakglassBG%d", n), PrincipalARN: support, End: end}
}

func TestOwn_JSON(t *testing.T) {
	tests := []struct {
		name string
		own  trust.Own
		want string
		err  error
	}{
		{"with an end", own, ours, nil},
		{"end in another zone, with a fraction", trust.Own{
			Sid: own.Sid, PrincipalARN: support,
			End: end.Add(999 * time.Millisecond).In(time.FixedZone("", 3600)),
		}, ours, nil},
		{
			"without an end",
			trust.Own{Sid: own.Sid, PrincipalARN: support},
			`{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/support"},"Action":"sts:AssumeRole"}`, nil,
		},
		{
			"role with a path, in China",
			trust.Own{Sid: own.Sid, PrincipalARN: "arn:aws-cn:iam::111122223333:role/a/b=c/d@e"},
			`{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"arn:aws-cn:iam::111122223333:role/a/b=c/d@e"},"Action":"sts:AssumeRole"}`, nil,
		},
		{"hyphen in the Sid", trust.Own{Sid: "BreakglassBG-7", PrincipalARN: support}, "", trust.ErrSid},
		{"no number in the Sid", trust.Own{Sid: "Breakglass", PrincipalARN: support}, "", trust.ErrSid},
		{"somebody's Sid", trust.Own{Sid: "Auditors", PrincipalARN: support}, "", trust.ErrSid},
		{"line feed behind the Sid", trust.Own{Sid: "BreakglassBG7\n", PrincipalARN: support}, "", trust.ErrSid},
		{"the placeholder's Sid", trust.Own{Sid: trust.PlaceholderSid, PrincipalARN: support}, "", trust.ErrSid},
		{"quotation mark in the ARN", trust.Own{Sid: own.Sid, PrincipalARN: support + `"`}, "", trust.ErrPrincipal},
		{"wildcard", trust.Own{Sid: own.Sid, PrincipalARN: support + "*"}, "", trust.ErrPrincipal},
		{"a whole account", trust.Own{Sid: own.Sid, PrincipalARN: "arn:aws:iam::111122223333:root"}, "", trust.ErrPrincipal},
		{"account id", trust.Own{Sid: own.Sid, PrincipalARN: "111122223333"}, "", trust.ErrPrincipal},
		{"everybody", trust.Own{Sid: own.Sid, PrincipalARN: "*"}, "", trust.ErrPrincipal},
		{"a user", trust.Own{Sid: own.Sid, PrincipalARN: "arn:aws:iam::111122223333:user/eve"}, "", trust.ErrPrincipal},
		{"white space behind the ARN", trust.Own{Sid: own.Sid, PrincipalARN: support + "\n"}, "", trust.ErrPrincipal},
		{"a path without end", trust.Own{Sid: own.Sid, PrincipalARN: "arn:aws:iam::111122223333:role/" + strings.Repeat("a/", 400) + "b"}, "", trust.ErrPrincipal},
		{"an end in the year 10000", trust.Own{Sid: own.Sid, PrincipalARN: support, End: end.AddDate(8000, 0, 0)}, "", trust.ErrEnd},
		{"an end before there was IAM", trust.Own{Sid: own.Sid, PrincipalARN: support, End: time.Unix(1, 0)}, "", trust.ErrEnd},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.own.JSON()
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("JSON() = %s, %v, want %s, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestPlaceholder(t *testing.T) {
	got, err := trust.Placeholder(company)
	if string(got) != placeholder || err != nil {
		t.Errorf("Placeholder() = %s, %v, want %s", got, err, placeholder)
	}
	if _, err := trust.Placeholder("44445555666"); !errors.Is(err, trust.ErrAccount) {
		t.Errorf("eleven digits: got %v, want %v", err, trust.ErrAccount)
	}
}

func TestParse_refuses(t *testing.T) {
	tests := []struct {
		name, raw string
		want      error
	}{
		{"nothing", "", trust.ErrSyntax},
		{"half a document", `{"Statement":[`, trust.ErrSyntax},
		{"something behind the document", policy(ec2) + "x", trust.ErrSyntax},
		{"two documents", policy(ec2) + policy(ec2), trust.ErrSyntax},
		{"byte order mark", "\ufeff" + policy(ec2), trust.ErrSyntax},
		{"not UTF-8", "{\"Id\":\"\xff\",\"Statement\":" + ec2 + "}", trust.ErrSyntax},
		{"comment", `{"Statement":` + ec2 + `/**/}`, trust.ErrSyntax},
		{"comma too many", policy(ec2, ""), trust.ErrSyntax},
		{"still percent-encoded", "%7B%22Statement%22%3A%5B%5D%7D", trust.ErrSyntax},
		{"half of a surrogate pair", `{"Id":"\ud83d","Statement":` + ec2 + `}`, trust.ErrSyntax},
		{"the other half", `{"Id":"\udd11 ","Statement":` + ec2 + `}`, trust.ErrSyntax},
		{"half, and then an escape", `{"Id":"\ud83d\u0041","Statement":` + ec2 + `}`, trust.ErrSyntax},
		{"a list", `[` + ec2 + `]`, trust.ErrShape},
		{"a string", `"Statement"`, trust.ErrShape},
		{"null", `null`, trust.ErrShape},
		{"no Statement", `{"Version":"2012-10-17"}`, trust.ErrNoStatement},
		{"Statement is null", `{"Statement":null}`, trust.ErrShape},
		{"statement is a string", `{"Statement":["x"]}`, trust.ErrShape},
		{"list in the list", `{"Statement":[[` + ec2 + `]]}`, trust.ErrShape},
		{"Statement twice", `{"Statement":` + ec2 + `,"Statement":` + vendor + `}`, trust.ErrDuplicateKey},
		{"Statement twice, once escaped", `{"Statement":` + ec2 + `,"\u0053tatement":` + vendor + `}`, trust.ErrDuplicateKey},
		{"Sid twice", policy(`{"Sid":"BreakglassBG7","Sid":"Mine","Effect":"Allow"}`), trust.ErrDuplicateKey},
		{"Principal twice", policy(`{"Effect":"Allow","Principal":"*","Principal":{"AWS":"444455556666"}}`), trust.ErrDuplicateKey},
		{"AWS twice", policy(`{"Effect":"Allow","Principal":{"AWS":"444455556666","AWS":"*"}}`), trust.ErrDuplicateKey},
		{"Effect twice", policy(`{"Effect":"Deny","Effect":"Allow"}`), trust.ErrDuplicateKey},
		{"Effect in lower case", policy(`{"effect":"Allow"}`), trust.ErrShape},
		{"a second principal in lower case", policy(`{"Effect":"Allow","Principal":{"Service":"x","aws":"*"}}`), trust.ErrShape},
		{"statement in lower case", `{"statement":[],"Statement":` + ec2 + `}`, trust.ErrShape},
		{"no Effect", policy(`{"Principal":"*"}`), trust.ErrShape},
		{"another Effect", policy(`{"Effect":"allow"}`), trust.ErrShape},
		{"Sid is a number", policy(`{"Sid":7,"Effect":"Allow"}`), trust.ErrShape},
		{"a bare ARN as the Principal", policy(`{"Effect":"Allow","Principal":"` + support + `"}`), trust.ErrShape},
		{"a list as the Principal", policy(`{"Effect":"Allow","Principal":["*"]}`), trust.ErrShape},
		{"a number as a principal", policy(`{"Effect":"Allow","Principal":{"AWS":444455556666}}`), trust.ErrShape},
		{"a list in a list of principals", policy(`{"Effect":"Allow","Principal":{"AWS":[["*"]]}}`), trust.ErrShape},
		{"NotPrincipal is a number", policy(`{"Effect":"Allow","NotPrincipal":1}`), trust.ErrShape},
		{"Action is an object", policy(`{"Effect":"Allow","Action":{}}`), trust.ErrShape},
		{"NotAction is a bool", policy(`{"Effect":"Allow","NotAction":true}`), trust.ErrShape},
		{"Condition is a list", policy(`{"Effect":"Allow","Condition":[]}`), trust.ErrShape},
		{"operator is a string", policy(`{"Effect":"Allow","Condition":{"Bool":"true"}}`), trust.ErrShape},
		{"nesting bomb", `{"Id":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,"Statement":` + ec2 + `}`, trust.ErrTooDeep},
		{"bomb of objects", `{"Id":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000) + `,"Statement":` + ec2 + `}`, trust.ErrTooDeep},
		{"bomb of bombs", strings.Repeat("[", 30000), trust.ErrSyntax},
		{"too large", policy(ec2) + strings.Repeat(" ", trust.MaxSize), trust.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := trust.Parse([]byte(tt.raw))
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if _, ok := errors.AsType[*trust.ParseError](err); !ok {
				t.Errorf("got a %T, want a *ParseError", err)
			}
		})
	}
}

func TestParse_shapes(t *testing.T) {
	tests := []struct{ name, raw string }{
		{"one statement, no list, no version", `{"Statement":` + ec2 + `}`},
		{"old version, with an id", `{"Id":"x","Version":"2008-10-17","Statement":[` + ec2 + `]}`},
		{"white space everywhere", " \n{\t\"Statement\" :\r\n [ " + ec2 + " ] , \"Version\":\"2012-10-17\" } \n"},
		{"escapes in keys and values", `{"Stat\u0065ment":{"\u0045ffect":"All\u006fw","Principal":{"\u0041WS":"\u002a"},"Action":"sts:\u0041ssumeRole"}}`},
		{"unknown elements, and twice inside", `{"X":{"a":1,"a":[null,-1.5e+3,true]},"Statement":[{"Effect":"Allow","Y":[{}]}]}`},
		{"condition values of all kinds", policy(`{"Effect":"Deny","Principal":"*","NotAction":["sts:*"],"Condition":{"Bool":{"a":true,"b":["true",false]},"NumericLessThan":{"c":1e3,"d":[1,2.5]},"Null":{"e":null}}}`)},
		{"a condition key twice", policy(`{"Effect":"Allow","Principal":"*","Condition":{"Bool":{"a":true},"Bool":{"b":true}}}`)},
		{"all kinds of principals", policy(`{"Effect":"Allow","Principal":{"AWS":["1","2"],"Federated":"f","Service":["s"],"CanonicalUser":"c","New":"n"},"Action":"sts:AssumeRole"}`)},
		{"a surrogate pair", `{"Id":"\ud83d\udd11","Statement":` + ec2 + `}`},
		{"empty list", `{"Statement":[ ]}`},
		{"people's own", policy(vendor, ec2, others)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := parse(t, tt.raw)
			if d.String() != tt.raw || string(d.Raw()) != tt.raw {
				t.Errorf("got %s, want %s", d, tt.raw)
			}
		})
	}
}

func TestDocument_Statements(t *testing.T) {
	got := parse(t, policy(vendor, ec2, others, ours, placeholder)).Statements()
	want := []trust.Statement{
		{Index: 0, Effect: trust.Allow, Principals: []trust.Principal{{Kind: "AWS", Value: support}}, Actions: []string{"sts:AssumeRole"}, Raw: []byte(vendor)},
		{Index: 1, Effect: trust.Allow, Principals: []trust.Principal{{Kind: "Service", Value: "ec2.amazonaws.com"}}, Actions: []string{"sts:AssumeRole"}, Raw: []byte(ec2)},
		{
			Index: 2, Sid: "Auditors", Effect: trust.Allow, Principals: []trust.Principal{{Kind: "AWS", Value: "arn:aws:iam::999900001111:root"}, {Kind: "AWS", Value: "222233334444"}},
			Actions: []string{"sts:AssumeRole", "sts:TagSession"}, Conditional: true, Raw: []byte(others),
		},
		{
			Index: 3, Sid: "BreakglassBG7", Effect: trust.Allow, Principals: []trust.Principal{{Kind: "AWS", Value: support}}, Actions: []string{"sts:AssumeRole"},
			End: end, Ours: true, Raw: []byte(ours),
		},
		{
			Index: 4, Sid: trust.PlaceholderSid, Effect: trust.Allow, Principals: []trust.Principal{{Kind: "AWS", Value: company}}, Actions: []string{"sts:AssumeRole"},
			End: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), Ours: true, Placeholder: true, Raw: []byte(placeholder),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Statements() (-want +got):\n%s", diff)
	}
	d := parse(t, policy(vendor, ours))
	if s, ok := d.Statement("BreakglassBG7"); !ok || s.Index != 1 {
		t.Errorf("Statement(BreakglassBG7) = %v, %v", s, ok)
	}
	if _, ok := d.Statement(""); ok {
		t.Error(`Statement("") found a statement without a Sid`)
	}
	if s, _ := d.Statement("BreakglassBG7"); s.Expired(end.Add(-1)) || !s.Expired(end) {
		t.Error("a statement expires at its end, not before and not after")
	}
}

// A document cannot be changed through what it hands out.
func TestDocument_isAValue(t *testing.T) {
	raw := []byte(policy(vendor, ours))
	d, err := trust.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	before := d.String()
	clear(raw)
	clear(d.Raw())
	for _, s := range d.Statements() {
		clear(s.Raw)
		clear(s.Principals)
		clear(s.Actions)
	}
	must(t)(d.Put(oursNumber(8)))
	must(t)(d.Remove(company, "BreakglassBG7"))
	if d.String() != before || len(d.Statements()) != 2 || d.Statements()[0].Principals[0].Value != support {
		t.Errorf("the document changed: %s", d)
	}
}

func TestStatement_end(t *testing.T) {
	tests := []struct {
		condition string
		want      string // as RFC 3339; empty: none
	}{
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThan":{"AWS:currenttime":["2026-11-23T22:20:00+01:00"]}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23T21:20:00.5Z"}}`, "2026-11-23T21:20:00.5Z"},
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23T21:20Z"}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23"}}`, "2026-11-23T00:00:00Z"},
		{`{"DateLessThan":{"aws:CurrentTime":1795468800}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThan":{"aws:CurrentTime":"1795468800"}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThan":{"aws:EpochTime":"1795468800"}}`, "2026-11-23T21:20:00Z"},
		{`{"NumericLessThan":{"aws:EpochTime":1795468800}}`, "2026-11-23T21:20:00Z"},
		{`{"DateLessThanEquals":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, "2026-11-23T21:20:01Z"},
		{`{"DateLessThanIfExists":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, "2026-11-23T21:20:00Z"},
		// Any one value is enough to match; every operator has to match.
		{`{"DateLessThan":{"aws:CurrentTime":["2026-11-23T21:20:00Z","2027-01-01T00:00:00Z"]}}`, "2027-01-01T00:00:00Z"},
		{`{"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"},"DateLessThanEquals":{"aws:CurrentTime":"2026-01-01"}}`, "2026-01-01T00:00:01Z"},
		// What cannot be read is no end.
		{`{"DateLessThan":{"aws:CurrentTime":["2026-11-23T21:20:00Z","soon"]}}`, ""},
		{`{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`, ""},
		{`{"DateLessThan":{"aws:CurrentTime":[]}}`, ""},
		{`{"DateLessThan":{"aws:CurrentTime":{"a":"b"}}}`, ""},
		{`{"DateLessThan":{"aws:CurrentTime":"1795468800000"}}`, ""},
		{`{"DateLessThan":{"aws:TokenIssueTime":"2026-11-23T21:20:00Z"}}`, ""},
		{`{"DateGreaterThan":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, ""},
		{`{"DateNotEquals":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, ""},
		{`{"StringEquals":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, ""},
		{`{"NumericLessThan":{"aws:CurrentTime":1795468800}}`, ""},
		{`{"ForAllValues:DateLessThan":{"aws:CurrentTime":"2026-11-23T21:20:00Z"}}`, ""},
		// Of two that have the same name nobody knows which one counts.
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23"},"DateLessThan":{"aws:CurrentTime":"2099-11-23"}}`, ""},
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-23","aws:currenttime":"2099-11-23"}}`, ""},
		{`{}`, ""},
	}
	for _, tt := range tests {
		d := parse(t, policy(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":`+tt.condition+`}`))
		got := ""
		if e := d.Statements()[0].End; !e.IsZero() {
			got = e.Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.condition, got, tt.want)
		}
	}
}

func TestDocument_Put(t *testing.T) {
	eight := strings.ReplaceAll(ours, "BG7", "BG8")
	tests := []struct{ name, before, want string }{
		{"behind the last of a list", policy(ec2, vendor), policy(ec2, vendor, ours)},
		{"white space of the list stays", "{\"Statement\": [\n  " + ec2 + " ,\n  " + others + "\n]}\n", "{\"Statement\": [\n  " + ec2 + " ,\n  " + others + "," + ours + "\n]}\n"},
		{"a statement without a list is wrapped", `{"Statement": ` + others + ` ,"Version":"2012-10-17"}`, `{"Statement": [` + others + ` ,` + ours + `] ,"Version":"2012-10-17"}`},
		{"a wrapped list grows", `{"Statement":[` + ec2 + ` ,` + eight + `]}`, `{"Statement":[` + ec2 + ` ,` + eight + `,` + ours + `]}`},
		{"already there", policy(ec2, ours, vendor), policy(ec2, ours, vendor)},
		{"already there, in IAM's own format", policy(strings.ReplaceAll(ours, ":{", " : {\n"), ec2), policy(strings.ReplaceAll(ours, ":{", " : {\n"), ec2)},
		{"extended in place", policy(strings.ReplaceAll(ours, "T21", "T19"), ec2), policy(ours, ec2)},
		{"tampered with", policy(ec2, strings.ReplaceAll(ours, `"Allow"`, `"Deny"`)), policy(ec2, ours)},
		{"principal deleted since", policy(strings.ReplaceAll(ours, support, "AROAEXAMPLE")), policy(ours)},
		{"twice, once is enough", policy(ours, ec2, ours), policy(ours, ec2)},
		{"the placeholder makes room", policy(placeholder), policy(ours)},
		{"so does one without a list", `{"Statement":` + placeholder + `}`, `{"Statement":` + ours + `}`},
		{"and one beside others", policy(ec2, placeholder, vendor), policy(ec2, ours, vendor)},
		{"and one beside ours", policy(placeholder, ours), policy(ours)},
		{"a placeholder that was tampered with stays", policy(strings.ReplaceAll(placeholder, "2000", "2099")), policy(strings.ReplaceAll(placeholder, "2000", "2099"), ours)},
		{"empty list", `{"Statement":[ ]}`, `{"Statement":[` + ours + ` ]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := must(t)(parse(t, tt.before).Put(own))
			if d.String() != tt.want {
				t.Errorf("got  %s\nwant %s", d, tt.want)
			}
			if !d.Has(own) {
				t.Error("Has() is false after Put()")
			}
			if again := must(t)(d.Put(own)); !again.Equal(d) {
				t.Errorf("a second Put() changed it: %s", again)
			}
		})
	}
	if _, err := parse(t, policy(ec2)).Put(trust.Own{Sid: "Mine", PrincipalARN: support}); !errors.Is(err, trust.ErrSid) {
		t.Errorf("got %v, want %v", err, trust.ErrSid)
	}
	if parse(t, policy(ours)).Has(trust.Own{Sid: own.Sid, PrincipalARN: support, End: end.Add(time.Hour)}) {
		t.Error("Has() is true for another end")
	}
}

func TestDocument_Remove(t *testing.T) {
	eight := strings.ReplaceAll(ours, "BG7", "BG8")
	tests := []struct{ name, before, want string }{
		{"the last", policy(ec2, ours), policy(ec2)},
		{"the first", policy(ours, " "+ec2), policy(ec2)},
		{"in the middle, with somebody's behind", policy(ec2, " "+ours+" ", "\n"+vendor), policy(ec2+" ", "\n"+vendor)},
		{"twice", policy(ours, ours, ec2, ours), policy(ec2)},
		{"without a Sid the same", policy(vendor, ours), policy(vendor)},
		{"not there", policy(vendor, eight), policy(vendor, eight)},
		{"out of its wrapping", `{"Statement": [` + others + ` ,` + ours + `] }`, `{"Statement": ` + others + ` }`},
		{"wrapped, and one of ours stays", `{"Statement":[` + ec2 + ` ,` + ours + `,` + eight + `]}`, `{"Statement":[` + ec2 + ` ,` + eight + `]}`},
		{"wrapped, the first is ours", `{"Statement":[` + ours + ` ,` + eight + `]}`, `{"Statement":` + eight + `}`},
		{"wrapped, then somebody added theirs", `{"Statement":[` + ec2 + ` ,` + ours + `,` + vendor + `]}`, policyless(ec2 + "," + vendor)},
		{"wrapped, then reformatted", `{"Statement":[` + ec2 + ` , ` + ours + `]}`, policyless(ec2)},
		{"somebody's list that looks wrapped, but for white space", `{"Statement":[ ` + ec2 + ` ,` + ours + `]}`, `{"Statement":[ ` + ec2 + `]}`},
		{"or behind ours", `{"Statement":[` + ec2 + ` ,` + ours + ` ]}`, `{"Statement":[` + ec2 + ` ]}`},
		{"or within ours", `{"Statement":[` + ec2 + ` ,` + strings.Replace(ours, ":", ": ", 1) + `]}`, policyless(ec2)},
		{"the only one", policy(ours), policy(placeholder)},
		{"the only one, without a list", `{"Statement":` + ours + `}`, `{"Statement":` + placeholder + `}`},
		{"the only one, in white space", policy("\n " + ours + "\n"), policy("\n " + placeholder + "\n")},
		{"the placeholder is not what was asked for", policy(placeholder), policy(placeholder)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := parse(t, tt.before)
			d := must(t)(before.Remove(company, "BreakglassBG7", "BreakglassBG9"))
			if d.String() != tt.want {
				t.Errorf("got  %s\nwant %s", d, tt.want)
			}
			if !trust.EqualForeign(before, d) || before.Foreign() != d.Foreign() {
				t.Error("what is not ours changed")
			}
		})
	}
	for _, tt := range [][2]string{{policy(placeholder), policy(placeholder)}, {policy(placeholder, vendor), policy(vendor)}} {
		if d := must(t)(parse(t, tt[0]).Remove(company, trust.PlaceholderSid)); d.String() != tt[1] {
			t.Errorf("the placeholder itself: got %s, want %s", d, tt[1])
		}
	}
	d := parse(t, `{"Statement":[`+ec2+` ,`+ours+`,`+eight+`]}`)
	if got := must(t)(d.Remove(company, "BreakglassBG7", "BreakglassBG8")); got.String() != `{"Statement":`+ec2+`}` {
		t.Errorf("both at once: got %s", got)
	}
	d = parse(t, `{"Statement":[`+ours+` ,`+eight+`]}`)
	if got := must(t)(d.Remove(company, "BreakglassBG7", "BreakglassBG8")); got.String() != `{"Statement":`+placeholder+`}` {
		t.Errorf("both at once, nothing left: got %s", got)
	}
	if _, err := d.Remove(company, "Auditors"); !errors.Is(err, trust.ErrSid) {
		t.Errorf("somebody's Sid: got %v, want %v", err, trust.ErrSid)
	}
	if _, err := parse(t, policy(ours)).Remove("", "BreakglassBG7"); !errors.Is(err, trust.ErrAccount) {
		t.Errorf("no account for the placeholder: got %v, want %v", err, trust.ErrAccount)
	}
}

func policyless(statements string) string { return `{"Statement":[` + statements + `]}` }

// What was only ours, or nobody's, comes back as the package comment says.
func TestPutRemove_withoutOthers(t *testing.T) {
	foreignPlaceholder := strings.ReplaceAll(placeholder, company, "777788889999")
	expired := strings.ReplaceAll(ours, "BG7", "BG3")
	tests := []struct{ name, before, after string }{
		{"the placeholder", policy(" " + placeholder + "\n"), policy(" " + placeholder + "\n")},
		{"the placeholder without a list", `{"Statement": ` + placeholder + `}`, `{"Statement": ` + placeholder + `}`},
		{"a placeholder of another account", policy(foreignPlaceholder), policy(placeholder)},
		{"the placeholder beside others", policy(ec2, placeholder), policy(ec2)},
		{"an expired one of ours", policy(" " + expired), policy(" " + expired)},
		{"an expired one without a list", `{"Statement":` + expired + `}`, `{"Statement":` + expired + `}`},
		{"empty list", `{"Statement":[]}`, `{"Statement":[` + placeholder + `]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := parse(t, tt.before)
			for _, o := range []trust.Own{own, oursNumber(8)} {
				d = must(t)(d.Put(o))
			}
			d = must(t)(d.Remove(company, "BreakglassBG7"))
			d = must(t)(d.Remove(company, "BreakglassBG8"))
			if d.String() != tt.after {
				t.Errorf("got  %s\nwant %s", d, tt.after)
			}
		})
	}
}

func TestDocument_Prune(t *testing.T) {
	old := strings.ReplaceAll(strings.ReplaceAll(ours, "BG7", "BG3"), "2026-11-23", "2026-11-20")
	contractor := `{"Sid":"BreakglassContractor","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/c"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01"}}}`
	endless := `{"Sid":"BreakglassBG1","Effect":"Allow","Principal":{"AWS":"` + support + `"},"Action":"sts:AssumeRole"}`
	orphaned := strings.ReplaceAll(strings.ReplaceAll(old, "BG3", "BG4"), support, "AROAEXAMPLE")
	before := end.Add(-time.Hour)

	d, gone, err := parse(t, policy(old, ec2, contractor, endless, orphaned, ours)).Prune(company, before)
	if want := policy(ec2, contractor, endless, ours); err != nil || d.String() != want {
		t.Errorf("got  %s, %v\nwant %s", d, err, want)
	}
	if diff := cmp.Diff([]string{"BreakglassBG3", "BreakglassBG4"}, gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
	d, _, err = parse(t, policy(old)).Prune(company, before)
	if err != nil || d.String() != policy(placeholder) {
		t.Errorf("the only one: got %s, %v", d, err)
	}
	d, gone, err = d.Prune(company, before)
	if err != nil || d.String() != policy(placeholder) || gone != nil {
		t.Errorf("the placeholder was pruned: %s, %v, %v", d, gone, err)
	}
	if _, gone, _ := parse(t, policy(old)).Prune(company, time.Date(2026, 11, 20, 21, 20, 0, 0, time.UTC)); gone != nil {
		t.Errorf("pruned one that does not end before: %v", gone)
	}
}

func TestDocument_RemovePrincipal(t *testing.T) {
	const statement = `{"Effect":"Allow","Principal":%s,"Action":"sts:AssumeRole"}`
	list := func(principal string) string { return policy(" "+fmt.Sprintf(statement, principal), ec2) }
	tests := []struct {
		name, before, want string
		mentions           int
	}{
		{"the vendor's own statement", policy(ec2, vendor, others), policy(ec2, others), 1},
		{"twice, and ours", policy(vendor, ec2, vendor, ours), policy(ec2), 3},
		{"the only statement", policy(vendor), policy(placeholder), 1},
		{"the only statement, without a list", `{"Statement":` + vendor + `}`, `{"Statement":` + placeholder + `}`, 1},
		{"list of one", list(`{"AWS":[ "` + support + `" ]}`), policy(" " + ec2), 1},
		{"first of a list", list(`{"AWS": [ "` + support + `" , "x" ]}`), list(`{"AWS": [ "x" ]}`), 1},
		{"last of a list", list(`{"AWS":["x" , "` + support + `" ]}`), list(`{"AWS":["x" ]}`), 1},
		{"several of a list, escaped", list(`{"AWS":["` + support + `","x", "arn:aws:iam::111122223333:role\/support","y" ,"` + support + `"]}`), list(`{"AWS":["x","y"]}`), 3},
		{"beside a service", list(`{ "AWS":"` + support + `" , "Service":"ec2.amazonaws.com"}`), list(`{ "Service":"ec2.amazonaws.com"}`), 1},
		{"behind a service", list(`{"Service":["a"] ,"AWS":["` + support + `"] }`), list(`{"Service":["a"] }`), 1},
		{"between others", list(`{"Federated":"f", "AWS":"` + support + `", "Service":"s"}`), list(`{"Federated":"f", "Service":"s"}`), 1},
		{"beside an empty list", list(`{"AWS":"` + support + `","Service":[]}`), policy(" " + ec2), 1},
		{"only as a service", list(`{"Service":"` + support + `"}`), list(`{"Service":"` + support + `"}`), 0},
		{"never from a Deny", policy(strings.ReplaceAll(vendor, "Allow", "Deny"), ec2), policy(strings.ReplaceAll(vendor, "Allow", "Deny"), ec2), 0},
		{
			"not everybody, not its account", policy(fmt.Sprintf(statement, `"*"`), fmt.Sprintf(statement, `{"AWS":["*","111122223333","arn:aws:iam::111122223333:root"]}`)),
			policy(fmt.Sprintf(statement, `"*"`), fmt.Sprintf(statement, `{"AWS":["*","111122223333","arn:aws:iam::111122223333:root"]}`)), 0,
		},
		{"not one that begins like it", policy(strings.ReplaceAll(vendor, "support", "support2")), policy(strings.ReplaceAll(vendor, "support", "support2")), 0},
		{"wrapped, of the first", `{"Statement":[` + vendor + ` ,` + strings.ReplaceAll(ours, "support", "x") + `]}`, `{"Statement":` + strings.ReplaceAll(ours, "support", "x") + `}`, 1},
		{
			"wrapped, out of the first", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["y","` + support + `"]}} ,` + strings.ReplaceAll(ours, "support", "x") + `]}`,
			`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["y"]}} ,` + strings.ReplaceAll(ours, "support", "x") + `]}`, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, gone, err := parse(t, tt.before).RemovePrincipal(company, support)
			if err != nil || d.String() != tt.want {
				t.Errorf("got  %s, %v\nwant %s", d, err, tt.want)
			}
			if len(gone) != tt.mentions {
				t.Errorf("got %d mentions, want %d: %v", len(gone), tt.mentions, gone)
			}
		})
	}
	for _, arn := range []string{"", "*", "111122223333", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:role/*", "AROAEXAMPLE"} {
		if _, _, err := parse(t, policy(vendor)).RemovePrincipal(company, arn); !errors.Is(err, trust.ErrPrincipal) {
			t.Errorf("%q: got %v, want %v", arn, err, trust.ErrPrincipal)
		}
	}
	const session = "arn:aws:sts::111122223333:assumed-role/support/alice"
	if d, _, err := parse(t, policy(ec2, strings.ReplaceAll(vendor, support, session))).RemovePrincipal(company, session); err != nil || d.String() != policy(ec2) {
		t.Errorf("a session: got %s, %v", d, err)
	}
}

// What a person has pointed at goes, whatever it is, and only that.
func TestDocument_RemoveExact(t *testing.T) {
	const (
		root    = "arn:aws:iam::111122223333:root"
		id      = "111122223333"
		user    = "arn:aws:iam::111122223333:user/tools/eve"
		session = "arn:aws:sts::111122223333:assumed-role/support/alice"
		orphan  = "AROAJQABLZS4A3QDU576Q"
		mixed   = ` {"Effect":"Allow", "Principal":{"AWS":["%s", "222233334444"],"Service":"s"},"NotAction":"sts:Tag*","Condition":{"NumericLessThan":{"x":1.50e+3}}}`
	)
	in := func(who string) string { return fmt.Sprintf(mixed, who) }
	const without = ` {"Effect":"Allow", "Principal":{"AWS":["222233334444"],"Service":"s"},"NotAction":"sts:Tag*","Condition":{"NumericLessThan":{"x":1.50e+3}}}`
	for _, tt := range []struct {
		name, value, before, want string
		mentions                  int
	}{
		{"an account's root", root, policy(ec2, in(root), vendor, ours), policy(ec2, without, vendor, ours), 1},
		{"an account's id is its root", root, policy(ec2, in(id), vendor), policy(ec2, without, vendor), 1},
		{"and the other way round", id, policy(ec2, in(root), in(id)), policy(ec2, without, without), 2},
		{"another account", "333344445555", policy(ec2, in(root)), policy(ec2, in(root)), 0},
		{"a user", user, policy(in(user), in(root)), policy(without, in(root)), 1},
		{"a session, not its role", session, policy(in(session), vendor), policy(without, vendor), 1},
		{"a role, not its sessions", support, policy(in(session), vendor), policy(in(session)), 1},
		{"somebody deleted", orphan, policy(in(orphan), in("AROAOTHER")), policy(without, in("AROAOTHER")), 1},
		{"somebody deleted, by a statement of ours", orphan, policy(ec2, strings.ReplaceAll(ours, support, orphan)), policy(ec2), 1},
		{"the last one", root, policy(strings.ReplaceAll(vendor, support, root)), policy(placeholder), 1},
		{"what looks like none", "arn:aws:iam::111122223333:role/sup*", policy(ec2, in("arn:aws:iam::111122223333:role/sup*"), vendor), policy(ec2, without, vendor), 1},
		{"never from a Deny", root, policy(ec2, strings.ReplaceAll(in(root), "Allow", "Deny")), policy(ec2, strings.ReplaceAll(in(root), "Allow", "Deny")), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, gone, err := parse(t, tt.before).RemoveExact(company, tt.value)
			if err != nil || d.String() != tt.want {
				t.Errorf("got  %s, %v\nwant %s", d, err, tt.want)
			}
			if len(gone) != tt.mentions {
				t.Errorf("got %d mentions, want %d: %v", len(gone), tt.mentions, gone)
			}
		})
	}
	for _, value := range []string{"", "*"} {
		if _, _, err := parse(t, policy(vendor)).RemoveExact(company, value); !errors.Is(err, trust.ErrPrincipal) {
			t.Errorf("%q: got %v, want %v", value, err, trust.ErrPrincipal)
		}
	}
}

// The same question about others than roles.
func TestDocument_Trusts_anybody(t *testing.T) {
	const (
		root    = "arn:aws:iam::111122223333:root"
		id      = "111122223333"
		user    = "arn:aws:iam::111122223333:user/tools/eve"
		session = "arn:aws:sts::111122223333:assumed-role/support/alice"
		orphan  = "AROAJQABLZS4A3QDU576Q"
	)
	lets := func(who string, more ...string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + who + `"},"Action":"sts:AssumeRole"` + strings.Join(more, "") + `}`
	}
	onlySupport := `,"Condition":{"ArnEquals":{"aws:PrincipalArn":"` + support + `"}}`
	for _, tt := range []struct {
		name, who, statement string
		want                 trust.Via
		maybe                bool
	}{
		{"an account's root", root, lets(root), trust.ViaARN, false},
		{"its id", root, lets(id), trust.ViaARN, false},
		{"the id of its root", id, lets(root), trust.ViaARN, false},
		{"a role of the account", root, lets(support), "", false},
		{"an account on a condition", root, lets(id, onlySupport), trust.ViaARN, true},
		{"everybody", id, lets("*"), trust.ViaAnyone, false},
		{"everybody but", id, `{"Effect":"Allow","NotPrincipal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}`, trust.ViaNotPrincipal, true},
		{"a user", user, lets(user), trust.ViaARN, false},
		{"a user through the account", user, lets(root), trust.ViaAccount, false},
		{"the account, but not for this user", user, lets(root, onlySupport), "", false},
		{"a session", session, lets(session), trust.ViaARN, false},
		{"a session through the account", session, lets(id), trust.ViaAccount, false},
		{"the account, and the session may be of that role", session, lets(id, onlySupport), trust.ViaAccount, true},
		{"a session's role is another matter", session, lets(support), "", false},
		{"somebody deleted", orphan, lets(orphan), trust.ViaARN, false},
		{"somebody deleted is not everybody", orphan, lets("*"), "", false},
		{"somebody else deleted", orphan, lets("AROAOTHER"), "", false},
		{"somebody deleted is not not-somebody", orphan, `{"Effect":"Allow","NotPrincipal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t, policy(ec2, tt.statement)).Trusts(tt.who, end)
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.want == "" && len(got) > 0:
				t.Errorf("got %v, want none", got)
			case tt.want != "" && (len(got) != 1 || got[0].Via != tt.want || got[0].Maybe != tt.maybe):
				t.Errorf("got %v, want one via %q, maybe %v", got, tt.want, tt.maybe)
			}
		})
	}
	for _, who := range []string{"", "*", "x", "arn:aws:iam::1:root", "arn:aws:iam::111122223333:user/*"} {
		if _, err := parse(t, policy(ec2)).Trusts(who, end); !errors.Is(err, trust.ErrPrincipal) {
			t.Errorf("%q: got %v, want %v", who, err, trust.ErrPrincipal)
		}
	}
}

func TestDocument_Orphans(t *testing.T) {
	const (
		deleted = `{"Sid":"Gone","Effect":"Allow","Principal":{"AWS":"AROAJQABLZS4A3QDU576Q"},"Action":"sts:AssumeRole"}`
		mixed   = `{"Effect":"Allow","Principal":{"AWS":["AIDAJQABLZS4A3QDU576Q", "222233334444","arn:aws:iam::222233334444:role/AROA1"]},"Action":"sts:AssumeRole"}`
		denied  = `{"Effect":"Deny","Principal":{"Service":"x","AWS":["AROA2"]},"Action":"*"}`
		none    = `{"Effect":"Allow","Principal":{"AWS":"AROA"},"Action":"sts:AssumeRole"}`
		service = `{"Effect":"Allow","Principal":{"Service":"AROA3"},"Action":"sts:AssumeRole"}`
	)
	d := parse(t, policy(deleted, ec2, mixed, denied, none, service))
	want := []trust.Mention{
		{Index: 0, Sid: "Gone", Effect: trust.Allow, Principal: trust.Principal{Kind: "AWS", Value: "AROAJQABLZS4A3QDU576Q"}},
		{Index: 2, Effect: trust.Allow, Principal: trust.Principal{Kind: "AWS", Value: "AIDAJQABLZS4A3QDU576Q"}},
		{Index: 3, Effect: trust.Deny, Principal: trust.Principal{Kind: "AWS", Value: "AROA2"}},
	}
	if diff := cmp.Diff(want, d.Orphans()); diff != "" {
		t.Errorf("Orphans() (-want +got):\n%s", diff)
	}
	got, gone, err := d.RemoveOrphans(company)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
	if want := policy(ec2, strings.Replace(mixed, `"AIDAJQABLZS4A3QDU576Q", `, "", 1), strings.Replace(denied, `,"AWS":["AROA2"]`, "", 1), none, service); got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, _, err = parse(t, policy(deleted)).RemoveOrphans(company)
	if err != nil || got.String() != policy(placeholder) {
		t.Errorf("the only one: got %s, %v", got, err)
	}
}

func TestDocument_Trusts(t *testing.T) {
	const action = `"Action":"sts:AssumeRole"`
	now := end.Add(-time.Hour)
	tests := []struct {
		name, statement string
		want            trust.Via // empty: does not trust
		maybe           bool
	}{
		{"the vendor's own", vendor, trust.ViaARN, false},
		{"ours", ours, trust.ViaARN, false},
		{"in a list", `{"Effect":"Allow","Principal":{"AWS":["x","` + support + `"]},` + action + `}`, trust.ViaARN, false},
		{"another role", strings.ReplaceAll(vendor, "support", "support2"), "", false},
		{"another case is another role", strings.ReplaceAll(vendor, "support", "Support"), "", false},
		{"the role in another path", strings.ReplaceAll(vendor, "role/support", "role/x/support"), "", false},
		{"ended", strings.ReplaceAll(ours, "T21", "T20"), "", false},
		{"ended a second ago", strings.ReplaceAll(ours, "T21:20:00", "T20:19:59"), "", false},
		{"ends in a second", strings.ReplaceAll(ours, "T21:20:00", "T20:20:01"), trust.ViaARN, false},
		{"an end that cannot be read", strings.ReplaceAll(ours, "2026-11-23T", "the end of "), trust.ViaARN, true},
		{"starts tomorrow", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"},` + action + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-11-24"}}}`, trust.ViaARN, true},
		{"with an external id", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"},` + action + `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}}`, trust.ViaARN, true},
		{"its account's root", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` + action + `}`, trust.ViaAccount, false},
		{"its account's id", `{"Effect":"Allow","Principal":{"AWS":"111122223333"},` + action + `}`, trust.ViaAccount, false},
		{"another account", `{"Effect":"Allow","Principal":{"AWS":["444455556666","arn:aws:iam::444455556666:root"]},` + action + `}`, "", false},
		{"a role called root", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/x:root"},` + action + `}`, "", false},
		{"everybody", `{"Effect":"Allow","Principal":"*",` + action + `}`, trust.ViaAnyone, false},
		{"everybody, as AWS", `{"Effect":"Allow","Principal":{"AWS":"*"},` + action + `}`, trust.ViaAnyone, false},
		{"every service", `{"Effect":"Allow","Principal":{"Service":"*"},` + action + `}`, "", false},
		{"everybody but", `{"Effect":"Allow","NotPrincipal":{"AWS":"444455556666"},` + action + `}`, trust.ViaNotPrincipal, true},
		{"a wildcard", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/sup*"},` + action + `}`, trust.ViaPattern, true},
		{"another wildcard", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/dev*"},` + action + `}`, "", false},
		{"one of its sessions", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/support/alice"},` + action + `}`, trust.ViaSession, false},
		{"a session of another role", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/dev/support"},` + action + `}`, "", false},
		{"its account, roles like it", `{"Effect":"Allow","Principal":{"AWS":"111122223333"},` + action + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/sup*"}}}`, trust.ViaAccount, true},
		{"its account, roles unlike it", `{"Effect":"Allow","Principal":{"AWS":"111122223333"},` + action + `,"Condition":{"ArnLike":{"aws:principalarn":["arn:aws:iam::*:role/dev?","x"]}}}`, "", false},
		{"its account, a variable", `{"Effect":"Allow","Principal":{"AWS":"111122223333"},` + action + `,"Condition":{"StringLike":{"aws:PrincipalArn":"${aws:x}"}}}`, trust.ViaAccount, true},
		{"its account, all but some", `{"Effect":"Allow","Principal":{"AWS":"111122223333"},` + action + `,"Condition":{"ArnNotLike":{"aws:PrincipalArn":"` + support + `"}}}`, trust.ViaAccount, true},
		{"everybody of another account", `{"Effect":"Allow","Principal":"*",` + action + `,"Condition":{"StringEquals":{"aws:PrincipalAccount":"444455556666"}}}`, "", false},
		{"everybody of its account", `{"Effect":"Allow","Principal":"*",` + action + `,"Condition":{"StringEquals":{"aws:PrincipalAccount":["444455556666",111122223333]}}}`, trust.ViaAnyone, true},
		{"everybody of an organization", `{"Effect":"Allow","Principal":"*",` + action + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`, trust.ViaAnyone, true},
		{"a Deny", strings.ReplaceAll(vendor, "Allow", "Deny"), "", false},
		{"only tags", strings.ReplaceAll(vendor, "AssumeRole", "TagSession"), "", false},
		{"AssumeRoleWithSAML is another action", strings.ReplaceAll(vendor, "AssumeRole", "AssumeRoleWithSAML"), "", false},
		{"any action like it", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"},"Action":["x","STS:assume*"]}`, trust.ViaARN, false},
		{"all actions but some", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"},"NotAction":"sts:Tag*"}`, trust.ViaARN, false},
		{"all actions but this", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"},"NotAction":"sts:*"}`, "", false},
		{"no action", `{"Effect":"Allow","Principal":{"AWS":"` + support + `"}}`, trust.ViaARN, false},
		{"no principal", `{"Effect":"Allow",` + action + `}`, "", false},
		{"the placeholder", placeholder, "", false},
		{"a placeholder that was tampered with", strings.ReplaceAll(strings.ReplaceAll(placeholder, company, support), "2000", "2099"), trust.ViaARN, false},
		{"deleted", strings.ReplaceAll(vendor, support, "AROAEXAMPLE"), "", false},
		{"ec2", ec2, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t, policy(ec2, tt.statement)).Trusts(support, now)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if len(got) != 0 {
					t.Errorf("got %v, want none", got)
				}
				return
			}
			if len(got) != 1 || got[0].Via != tt.want || got[0].Maybe != tt.maybe || got[0].Index != 1 {
				t.Errorf("got %v, want one via %q, maybe %v", got, tt.want, tt.maybe)
			}
		})
	}
	if _, err := parse(t, policy(ec2)).Trusts("arn:aws:iam::111122223333:role/*", now); !errors.Is(err, trust.ErrPrincipal) {
		t.Errorf("a wildcard: got %v, want %v", err, trust.ErrPrincipal)
	}
}

func TestDocument_PrincipalsFrom(t *testing.T) {
	d := parse(t, policy(vendor, ec2, others, ours,
		`{"Sid":"Session","Effect":"Allow","Principal":{"AWS":["arn:aws-cn:sts::222233334444:assumed-role/a/b","x"]}}`,
		`{"Effect":"Deny","Principal":{"AWS":"111122223333"}}`, `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/x"}}`))
	got := d.PrincipalsFrom([]string{"111122223333", "222233334444"})
	want := []trust.Mention{
		{Index: 0, Effect: trust.Allow, Principal: trust.Principal{Kind: "AWS", Value: support}},
		{Index: 2, Sid: "Auditors", Effect: trust.Allow, Principal: trust.Principal{Kind: "AWS", Value: "222233334444"}},
		{Index: 3, Sid: "BreakglassBG7", Effect: trust.Allow, Ours: true, End: end, Principal: trust.Principal{Kind: "AWS", Value: support}},
		{Index: 4, Sid: "Session", Effect: trust.Allow, Principal: trust.Principal{Kind: "AWS", Value: "arn:aws-cn:sts::222233334444:assumed-role/a/b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PrincipalsFrom() (-want +got):\n%s", diff)
	}
}

func TestEqualForeign(t *testing.T) {
	tests := []struct {
		name, a, b     string
		equal, foreign bool // foreign: the fingerprints are the same too
	}{
		{"ours makes no difference", policy(ec2), policy(ec2, ours, placeholder), true, true},
		{"white space", policy(others), policy(strings.Join(strings.Fields(others), "")), false, false}, // inside a string
		{"white space outside strings", policy(others), policy(compact(t, others)), true, true},
		{"escapes", policy(vendor), policy(strings.ReplaceAll(vendor, "/", `\/`)), true, true},
		{"a list or not", policy(vendor), `{"Version":"2012-10-17","Statement":` + vendor + `}`, true, true},
		{"list of one", policy(vendor), policy(strings.ReplaceAll(vendor, `"sts:AssumeRole"`, `["sts:AssumeRole"]`)), true, false},
		{"order of keys", policy(`{"Effect":"Allow","Principal":"*"}`), policy(`{"Principal":"*","Effect":"Allow"}`), true, false},
		{"order of principals", policy(`{"Effect":"Allow","Principal":{"AWS":["a","b"]}}`), policy(`{"Effect":"Allow","Principal":{"AWS":["b","a"]}}`), true, false},
		{"account as its root", policy(`{"Effect":"Allow","Principal":{"AWS":"111122223333"}}`), policy(`{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root"]}}`), true, false},
		{"not as a service", policy(`{"Effect":"Allow","Principal":{"Service":"111122223333"}}`), policy(`{"Effect":"Allow","Principal":{"Service":["arn:aws:iam::111122223333:root"]}}`), false, false},
		{"everybody", policy(`{"Effect":"Allow","Principal":"*"}`), policy(`{"Effect":"Allow","Principal":{"AWS":"*"}}`), true, false},
		{"quoted bool", policy(`{"Effect":"Allow","Condition":{"Bool":{"a":true}}}`), policy(`{"Effect":"Allow","Condition":{"Bool":{"a":["true"]}}}`), true, false},
		{"another bool", policy(`{"Effect":"Allow","Condition":{"Bool":{"a":true}}}`), policy(`{"Effect":"Allow","Condition":{"Bool":{"a":false}}}`), false, false},
		{"another value", policy(vendor), policy(strings.ReplaceAll(vendor, "support", "support2")), false, false},
		{"one more principal", policy(`{"Effect":"Allow","Principal":{"AWS":["a"]}}`), policy(`{"Effect":"Allow","Principal":{"AWS":["a","b"]}}`), false, false},
		{"order of statements", policy(ec2, vendor), policy(vendor, ec2), false, false},
		{"one more statement", policy(ec2), policy(ec2, vendor), false, false},
		{"without the Version", policy(ec2), `{"Statement":` + ec2 + `}`, false, false},
		{"order of unknown values", `{"X":[1,2],"Statement":` + ec2 + `}`, `{"X":[2,1],"Statement":` + ec2 + `}`, false, false},
		{"order of unknown keys", `{"X":{"a":1,"b":[]},"Statement":` + ec2 + `}`, `{"Statement":` + ec2 + `,"X":{"b":[],"a":1}}`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := parse(t, tt.a), parse(t, tt.b)
			if got := trust.EqualForeign(a, b); got != tt.equal {
				t.Errorf("EqualForeign() = %v, want %v", got, tt.equal)
			}
			if got := a.Foreign() == b.Foreign(); got != tt.foreign {
				t.Errorf("same fingerprint: %v, want %v", got, tt.foreign)
			}
		})
	}
}

func compact(t testing.TB, raw string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSize(t *testing.T) {
	tests := []struct {
		raw  string
		want int
	}{
		{"", 0},
		{" {\t\"a b\" :\r\n 1 } ", 9},
		{`{"a\" b": "é "}`, 14},
		{ours, len(ours)},
	}
	for _, tt := range tests {
		if got := trust.Size([]byte(tt.raw)); got != tt.want {
			t.Errorf("Size(%q) = %d, want %d", tt.raw, got, tt.want)
		}
	}
	if d := parse(t, policy(others)); d.Size() != trust.Size([]byte(compact(t, policy(others)))) {
		t.Error("white space outside strings was counted")
	}
}

func TestHash(t *testing.T) {
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := trust.Hash(nil); got != want {
		t.Errorf("Hash(nil) = %s, want %s", got, want)
	}
	if d := parse(t, policy(ec2)); d.Hash() != trust.Hash([]byte(policy(ec2))) {
		t.Error("the document's hash is not that of its bytes")
	}
}

func TestZeroDocument(t *testing.T) {
	var d trust.Document
	if _, err := d.Put(own); !errors.Is(err, trust.ErrNoStatement) {
		t.Errorf("Put: got %v, want %v", err, trust.ErrNoStatement)
	}
	must(t)(d.Remove(company, own.Sid))
	if len(d.Statements()) != 0 || d.Size() != 0 || d.Has(own) || d.Orphans() != nil || d.Foreign() == "" || !trust.EqualForeign(d, d) {
		t.Error("a zero document has something in it")
	}
}

func TestErrors_text(t *testing.T) {
	_, err := trust.Parse([]byte(`{"Statement":{"Effect":"Allow","Sid":"a","Sid":"b"}}`))
	if got, want := err.Error(), "trust policy: an element appears twice, at byte 41: Sid"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = trust.Placeholder("12")
	if got, want := err.Error(), `trust policy: "12": not an AWS account id`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The package stays pure: it imports nothing that does I/O or knows the time.
func TestPackage_isPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"time.Now", "panic(", `"os"`, `"io"`, `"net`, `"context"`} {
			if strings.Contains(string(src), bad) {
				t.Errorf("%s has %s", f, bad)
			}
		}
	}
}
