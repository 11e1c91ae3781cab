package trust_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"breakglass/actions/trust"
)

// A policyWriter writes documents that the grammar allows: any element in any
// order, in any shape, with any white space and escapes.
type policyWriter struct{ t *rapid.T }

func (w policyWriter) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(w.t, label)
}

func (w policyWriter) flip(label string) bool { return rapid.Bool().Draw(w.t, label) }

func (w policyWriter) space() string {
	return w.pick("space", "", "", "", " ", "\n", "\t", "  ", "\r\n    ")
}

// str writes a string, at times with escapes where none are needed.
func (w policyWriter) str(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	if s == "" || rapid.IntRange(0, 5).Draw(w.t, "escape") > 0 {
		return string(raw)
	}
	if s[0] < 0x80 && s[0] != '"' && s[0] != '\\' {
		return fmt.Sprintf(`"\u%04X`, s[0]) + string(raw[2:])
	}
	return string(raw)
}

func (w policyWriter) list(items ...string) string {
	return w.row("[", "]", items)
}

// object writes members, each already a key and a value, in any order.
func (w policyWriter) object(members ...string) string {
	return w.row("{", "}", rapid.Permutation(members).Draw(w.t, "order"))
}

func (w policyWriter) row(left, right string, items []string) string {
	var b strings.Builder
	b.WriteString(left + w.space())
	for i, item := range items {
		if i > 0 {
			b.WriteString(w.space() + "," + w.space())
		}
		b.WriteString(item)
	}
	return b.String() + w.space() + right
}

func (w policyWriter) member(key, value string) string {
	return w.str(key) + w.space() + ":" + w.space() + value
}

// oneOrMore writes one value, or a list of one to three.
func (w policyWriter) oneOrMore(value func() string) string {
	n := rapid.IntRange(0, 3).Draw(w.t, "values")
	if n == 0 {
		return value()
	}
	items := make([]string, n)
	for i := range items {
		items[i] = value()
	}
	return w.list(items...)
}

func (w policyWriter) principal() string {
	if w.flip("everybody") && w.flip("really") {
		return w.str("*")
	}
	var members []string
	if w.flip("AWS") {
		members = append(members, w.member("AWS", w.oneOrMore(func() string {
			return w.str(w.pick("aws", support, support, company, "111122223333", "arn:aws:iam::111122223333:root", "*",
				"AROAJQABLZS4A3QDU576Q", "AIDAJQABLZS4A3QDU576Q", "arn:aws:iam::999900001111:user/path/eve", "arn:aws:sts::111122223333:assumed-role/support/alice"))
		})))
	}
	for _, kind := range []string{"Service", "Federated", "CanonicalUser"} {
		if w.flip(kind) {
			members = append(members, w.member(kind, w.oneOrMore(func() string {
				return w.str(w.pick("name", "ec2.amazonaws.com", "arn:aws:iam::444455556666:saml-provider/x", "cognito-identity.amazonaws.com", "\u00ff\"\\/{},["))
			})))
		}
	}
	return w.object(members...)
}

func (w policyWriter) condition() string {
	var members []string
	for _, op := range []string{"StringEquals", "DateLessThan", "Bool", "NumericLessThan", "ForAnyValue:StringLikeIfExists", "ArnLike"} {
		if !w.flip(op) {
			continue
		}
		members = append(members, w.member(op, w.object(w.member(
			w.pick("key", "aws:CurrentTime", "sts:ExternalId", "aws:PrincipalArn", "aws:RequestTag/a b"),
			w.oneOrMore(func() string {
				return w.pick("value", `"2020-01-01T00:00:00Z"`, `"x] } ,{ \" \\"`, "1.50e+3", "-0", "true", "false", `"${aws:x}"`, `""`, "1795468800")
			})))))
	}
	return w.object(members...)
}

func (w policyWriter) statement() string {
	members := []string{w.member("Effect", w.str(w.pick("effect", "Allow", "Allow", "Deny")))}
	if w.flip("sid") {
		members = append(members, w.member("Sid", w.str(w.pick("sid", "", "Auditors", "breakglassBG7", "Breakglass", "BreakglassBG99", "xBreakglassBG7"))))
	}
	if !w.flip("no principal") || w.flip("principal") {
		members = append(members, w.member("Principal", w.principal()))
	}
	if !w.flip("no action") || w.flip("action") {
		members = append(members, w.member(w.pick("key", "Action", "NotAction"), w.oneOrMore(func() string {
			return w.str(w.pick("action", "sts:AssumeRole", "sts:TagSession", "sts:*", "*"))
		})))
	}
	if w.flip("condition") {
		members = append(members, w.member("Condition", w.condition()))
	}
	if w.flip("unknown") && w.flip("key") {
		members = append(members, w.member("Later", `{"a":[1,{"a":null}],"a":"\ud83d\udd11"}`))
	}
	return w.object(members...)
}

func (w policyWriter) document() string {
	var block string
	n := rapid.IntRange(0, 4).Draw(w.t, "statements")
	switch {
	case n > 0:
		items := make([]string, n)
		for i := range items {
			items[i] = w.statement()
		}
		block = w.list(items...)
	case rapid.IntRange(0, 4).Draw(w.t, "placeholder") == 0:
		block = placeholder
		if w.flip("list") {
			block = w.list(placeholder)
		}
	default:
		block = w.statement()
	}
	members := []string{w.member("Statement", block)}
	if w.flip("version") {
		members = append(members, w.member("Version", w.str(w.pick("version", "2008-10-17", "2012-10-17"))))
	}
	if w.flip("id") {
		members = append(members, w.member("Id", w.str(w.pick("id", "", "cd3ad3d9-2776-4ef1-a904-4c229d1642ee", "Statement"))))
	}
	return w.space() + w.object(members...) + w.space()
}

// statementsOf reads the statements with encoding/json alone: what the package
// says about itself is not proof.
func statementsOf(t testing.TB, raw []byte) []string {
	t.Helper()
	var doc struct{ Statement json.RawMessage }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	var list []json.RawMessage
	if json.Unmarshal(doc.Statement, &list) != nil {
		list = []json.RawMessage{doc.Statement}
	}
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// sidOf reads a statement's Sid with encoding/json alone.
func sidOf(statement string) string {
	var s struct{ Sid string }
	if json.Unmarshal([]byte(statement), &s) != nil {
		return ""
	}
	return s.Sid
}

// withoutSids leaves out the statements with these Sids.
func withoutSids(statements []string, sids []string) []string {
	return slices.DeleteFunc(slices.Clone(statements), func(s string) bool { return slices.Contains(sids, sidOf(s)) })
}

// play puts and removes statements of ours as the script says, checks after each
// step that nothing else changed, and removes what is left in the end.
func play(t testing.TB, original trust.Document, script []byte) (trust.Document, error) {
	t.Helper()
	const grants = 4
	var sids []string
	for i := range grants {
		sids = append(sids, oursNumber(i+1).Sid)
	}
	written := append([]string{trust.PlaceholderSid}, sids...)
	foreign := withoutSids(statementsOf(t, original.Raw()), written)
	d := original
	open := map[int]bool{}
	for i, sid := range sids {
		_, open[i] = original.Statement(sid)
	}
	for step, b := range script {
		n, kind := int(b)%grants, int(b)/grants%5
		var err error
		switch kind {
		case 0, 1:
			d, err = d.Put(oursNumber(n + 1))
			open[n] = true
		case 2: // Extended, or without an end.
			o := oursNumber(n + 1)
			o.End = []time.Time{{}, end.Add(time.Duration(b) * time.Hour)}[int(b)&1]
			d, err = d.Put(o)
			open[n] = true
		case 3:
			d, err = d.Remove(company, sids[n])
			open[n] = false
		case 4:
			d, err = d.Remove(company, sids[n], sids[(n+1)%grants])
			open[n], open[(n+1)%grants] = false, false
		}
		if err != nil {
			return d, fmt.Errorf("step %d: %w", step, err)
		}
		now := statementsOf(t, d.Raw())
		if got := withoutSids(now, written); !slices.Equal(got, foreign) {
			t.Fatalf("step %d: others' statements changed:\nbefore %q\nafter  %q", step, foreign, got)
		}
		if len(now) == 0 && len(original.Statements()) > 0 {
			t.Fatalf("step %d: no statement is left", step)
		}
		for i, sid := range sids {
			if _, ok := d.Statement(sid); ok != open[i] {
				t.Fatalf("step %d: %s is there: %v, want %v", step, sid, ok, open[i])
			}
		}
		if d.Foreign() != original.Foreign() || !trust.EqualForeign(d, original) {
			t.Fatalf("step %d: the fingerprint of what is not ours changed: %s, was %s", step, d, original)
		}
	}
	// Leave in the order in which the script ended, not in the order of ids.
	last := rand.New(rand.NewPCG(uint64(len(script)), 1)).Perm(grants)
	for _, n := range last {
		var err error
		if d, err = d.Remove(company, sids[n]); err != nil {
			return d, err
		}
	}
	return d, nil
}

// reversible reports whether the package promises the very bytes back: nothing
// in the document is ours, but for a placeholder that stands alone and is as we
// write it.
func reversible(t testing.TB, raw []byte) bool {
	t.Helper()
	all := statementsOf(t, raw)
	if len(all) == 0 {
		return false
	}
	if len(all) == 1 && all[0] == placeholder {
		return true
	}
	return !slices.ContainsFunc(all, func(s string) bool {
		sid := sidOf(s)
		return sid == trust.PlaceholderSid || slices.Contains([]string{"BreakglassBG1", "BreakglassBG2", "BreakglassBG3", "BreakglassBG4"}, sid)
	})
}

func TestProperty_putAndRemoveGiveTheBytesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		raw := policyWriter{rt}.document()
		script := rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(rt, "script")
		d := parse(t, raw)
		got, err := play(t, d, script)
		if err != nil {
			rt.Fatal(err)
		}
		if got.String() != raw {
			rt.Fatalf("got  %q\nwant %q", got, raw)
		}
	})
}

// Whatever IAM or a human does to the white space in between, what is left is
// the same policy.
func TestProperty_reformattedInBetween(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		original := parse(t, policyWriter{rt}.document())
		d := original
		open := map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			o := oursNumber(rapid.IntRange(1, 3).Draw(rt, "grant"))
			var err error
			if rapid.Bool().Draw(rt, "put") {
				d, err = d.Put(o)
				open[o.Sid] = true
			} else {
				d, err = d.Remove(company, o.Sid)
				delete(open, o.Sid)
			}
			if err != nil {
				rt.Fatal(err)
			}
			d = parse(t, reformat(rt, d.String()))
			if !trust.EqualForeign(original, d) {
				rt.Fatalf("what is not ours changed:\n%s\n%s", original, d)
			}
			if original.Foreign() != d.Foreign() {
				rt.Fatalf("the fingerprint changed:\n%s\n%s", original, d)
			}
		}
		for sid := range open {
			var err error
			if d, err = d.Remove(company, sid); err != nil {
				rt.Fatal(err)
			}
		}
		if len(d.Ours()) != len(original.Ours()) {
			rt.Fatalf("something of ours is left: %s", d)
		}
		if !trust.EqualForeign(original, d) {
			rt.Fatalf("what is not ours changed:\n%s\n%s", original, d)
		}
	})
}

func reformat(rt *rapid.T, raw string) string {
	var b bytes.Buffer
	var err error
	switch rapid.IntRange(0, 2).Draw(rt, "format") {
	case 0:
		return raw
	case 1:
		err = json.Compact(&b, []byte(raw))
	default:
		err = json.Indent(&b, []byte(raw), "", rapid.SampledFrom([]string{"  ", "\t", ""}).Draw(rt, "indent"))
	}
	if err != nil {
		rt.Fatal(err)
	}
	return b.String()
}

// After RemovePrincipal, or RemoveExact, nobody is trusted by that value, and
// nothing else changed.
func TestProperty_removePrincipal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := parse(t, policyWriter{rt}.document())
		if rapid.Bool().Draw(rt, "ours") {
			d = must(t)(d.Put(own))
		}
		who, remove := support, d.RemovePrincipal
		if rapid.Bool().Draw(rt, "exactly") {
			remove = d.RemoveExact
			who = rapid.SampledFrom([]string{
				support, "111122223333", "arn:aws:iam::111122223333:root", "AROAJQABLZS4A3QDU576Q",
				"arn:aws:iam::999900001111:user/path/eve", "arn:aws:sts::111122223333:assumed-role/support/alice",
			}).Draw(rt, "who")
		}
		is := func(principal string) bool {
			const id, root = "111122223333", "arn:aws:iam::111122223333:root"
			return principal == who || (who == id || who == root) && (principal == id || principal == root)
		}
		got, gone, err := remove(company, who)
		if err != nil {
			rt.Fatal(err)
		}
		if (len(gone) == 0) != got.Equal(d) {
			rt.Fatalf("%d mentions, but the document is the same: %v", len(gone), got.Equal(d))
		}
		trusts, err := got.Trusts(who, time.Time{})
		if err != nil {
			rt.Fatal(err)
		}
		for _, tr := range trusts {
			if tr.Via == trust.ViaARN {
				rt.Fatalf("still trusted: %s", got)
			}
		}
		// A model over decoded values says what has to be left.
		want := model(t, d.Raw(), func(effect, principal string) bool { return effect == "Allow" && is(principal) })
		if have := model(t, got.Raw(), func(string, string) bool { return false }); !bytes.Equal(have, want) {
			rt.Fatalf("got  %s\nwant %s", have, want)
		}
		untouched := map[int]bool{}
		for i := range d.Statements() {
			untouched[i] = true
		}
		for _, m := range gone {
			delete(untouched, m.Index)
		}
		after := statementsOf(t, got.Raw())
		for i, s := range statementsOf(t, d.Raw()) {
			if untouched[i] && !slices.Contains(after, s) {
				rt.Fatalf("%s lost its bytes in %s", s, got)
			}
		}
	})
}

// After RemoveOrphans there are none, and nothing else changed.
func TestProperty_removeOrphans(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := parse(t, policyWriter{rt}.document())
		got, gone, err := d.RemoveOrphans(company)
		if err != nil {
			rt.Fatal(err)
		}
		if len(gone) != len(d.Orphans()) || got.Orphans() != nil {
			rt.Fatalf("%d gone of %d, left %v", len(gone), len(d.Orphans()), got.Orphans())
		}
		want := model(t, d.Raw(), func(_, principal string) bool { return trust.IsOrphan(principal) })
		if have := model(t, got.Raw(), func(string, string) bool { return false }); !bytes.Equal(have, want) {
			rt.Fatalf("got  %s\nwant %s", have, want)
		}
	})
}

// model removes AWS principals from decoded values, the slow and lossy way. The
// statements come back without the placeholder, which has its own tests.
func model(t testing.TB, raw []byte, drop func(effect, principal string) bool) []byte {
	t.Helper()
	var out []any
	for _, text := range statementsOf(t, raw) {
		var s map[string]any
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if s["Sid"] == trust.PlaceholderSid {
			continue
		}
		principal, ok := s["Principal"].(map[string]any)
		if !ok {
			out = append(out, s)
			continue
		}
		effect, _ := s["Effect"].(string)
		dropped := false
		switch v := principal["AWS"].(type) {
		case string:
			if drop(effect, v) {
				dropped = true
				delete(principal, "AWS")
			}
		case []any:
			left := slices.DeleteFunc(slices.Clone(v), func(x any) bool { return drop(effect, x.(string)) })
			dropped = len(left) < len(v)
			principal["AWS"] = left
			if dropped && len(left) == 0 {
				delete(principal, "AWS")
			}
		}
		if !dropped || len(principal) > 0 {
			out = append(out, s)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var seeds = []string{
	policy(vendor), policy(ec2, vendor, others), policy(ours), policy(placeholder), policy(ec2, ours, vendor), policy(placeholder, ec2),
	`{"Statement":` + ec2 + `}`, `{"Statement":` + ours + `}`, `{"Statement":` + placeholder + `}`, `{"Statement": ` + others + ` , "Id":""}`,
	`{"Statement":[` + ec2 + ` ,` + strings.ReplaceAll(ours, "BG7", "BG1") + `]}`,
	`{"Statement":[` + ec2 + ` ,` + strings.ReplaceAll(ours, "BG7", "BG1") + `,` + strings.ReplaceAll(ours, "BG7", "BG2") + `]}`,
	`{"Statement":[ ]}`, `{"Statement":[{"Effect":"Deny","NotPrincipal":{"AWS":["1"]},"Condition":{"Bool":{"a":[true,null]}}}]}`,
	`{"Statement":{"Effect":"Allow","Principal":{"AWS":["AROA1","*"],"Service":[]}},"X":{"a":1,"a":"\ud83d\udd11"}}`,
	`{"Stat\u0065ment":{"Effect":"Allow","Principal":"*","Sid":"Breakglas\u0073BG1"}}`,
	`{`, `[]`, `{"Statement":[[]]}`, "{\"Statement\":\"\\", `{"Statement":{"Effect":"Allow","Effect":"Allow"}}`,
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := trust.Parse(raw)
		if err != nil {
			if _, ok := errors.AsType[*trust.ParseError](err); !ok {
				t.Fatalf("got a %T, want a *ParseError: %v", err, err)
			}
			_ = err.Error()
			return
		}
		if !json.Valid(raw) || !bytes.Equal(d.Raw(), raw) {
			t.Fatalf("%q was read as %q", raw, d)
		}
		var want []string
		if want = statementsOf(t, raw); len(want) != len(d.Statements()) {
			t.Fatalf("got %d statements, want %d", len(d.Statements()), len(want))
		}
		for i, s := range d.Statements() {
			if string(s.Raw) != want[i] || s.Sid != sidOf(want[i]) {
				t.Fatalf("got statement %q of %q, want %q", s.Sid, s.Raw, want[i])
			}
		}
		if got := len([]rune(compact(t, string(raw)))); d.Size() != got {
			t.Fatalf("Size() = %d, want %d", d.Size(), got)
		}
		var wide bytes.Buffer
		if err := json.Indent(&wide, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		if wide.Len() <= trust.MaxSize {
			if e := parse(t, wide.String()); e.Foreign() != d.Foreign() || !trust.EqualForeign(d, e) {
				t.Fatalf("white space made a difference: %q", raw)
			}
		}
		trusts, err := d.Trusts(support, end)
		if err != nil {
			t.Fatal(err)
		}
		left, _, err := d.RemovePrincipal(company, support)
		if err != nil {
			if !errors.Is(err, trust.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		after, err := left.Trusts(support, end)
		if err != nil {
			t.Fatal(err)
		}
		if len(after) > len(trusts) || slices.ContainsFunc(after, func(t trust.Trust) bool { return t.Via == trust.ViaARN }) {
			t.Fatalf("still trusted: %q", left)
		}
		if left, _, err = left.RemoveOrphans(company); err == nil && left.Orphans() != nil {
			t.Fatalf("still orphans: %q", left)
		}
	})
}

func FuzzPutRemove(f *testing.F) {
	scripts := [][]byte{{0}, {0, 1, 2, 12, 13}, {0, 1, 12, 0, 13, 2}, {8, 9, 16, 0, 3, 15}}
	for i, s := range seeds {
		f.Add([]byte(s), scripts[i%len(scripts)])
	}
	f.Fuzz(func(t *testing.T, raw, script []byte) {
		d, err := trust.Parse(raw)
		if err != nil || len(script) > 64 {
			return
		}
		got, err := play(t, d, script)
		if err != nil {
			if !errors.Is(err, trust.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if reversible(t, raw) && !bytes.Equal(got.Raw(), raw) {
			t.Fatalf("got  %q\nwant %q", got, raw)
		}
	})
}

// big is a policy of about 4 kB, the most that IAM's quota allows on request.
func big() string {
	items := []string{ec2, vendor}
	for i := 0; len(policy(items...)) < 3800; i++ {
		items = append(items, strings.ReplaceAll(others, "Auditors", fmt.Sprintf("Auditors%d", i)))
	}
	return policy(items...)
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(big())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutRemove(b *testing.B) {
	d := parse(b, big())
	b.SetBytes(int64(len(d.Raw())))
	b.ReportAllocs()
	for b.Loop() {
		e, err := d.Put(own)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = e.Remove(company, own.Sid); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrusts(b *testing.B) {
	d := must(b)(parse(b, big()).Put(own))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Trusts(support, end); err != nil {
			b.Fatal(err)
		}
	}
}
