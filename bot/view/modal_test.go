package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakglass/store/grant"
)

// field is the input of that name in a form.
func field(t interface{ Fatalf(string, ...any) }, m Modal, name string) Block {
	for _, b := range m.face.Blocks {
		if b.BlockID == name {
			if b.Type != "input" || b.Element.ActionID != name {
				t.Fatalf("%s is a %s with the action %s", name, b.Type, b.Element.ActionID)
			}
			return b
		}
	}
	t.Fatalf("no field %s", name)
	return Block{}
}

func choices(b Block) (values []string) {
	for _, o := range b.Element.Options {
		values = append(values, o.Value)
	}
	return values
}

func chosen(b Block) string {
	if b.Element.InitialOption == nil {
		return ""
	}
	return b.Element.InitialOption.Value
}

func TestGrantForm_duration(t *testing.T) {
	const h = time.Hour
	for _, tt := range []struct {
		name         string
		preset, most time.Duration
		typed        string
		want         string
		chosen       string
		other        string
	}{
		{"the default", 4 * h, 12 * h, "", "30m 1h 2h 4h 8h 12h other", "4h", ""},
		{"a default of its own", 90 * time.Minute, 3 * h, "", "30m 1h 1h30m 2h 3h other", "1h30m", ""},
		{"no default", 0, 4 * h, "", "30m 1h 2h 4h other", "", ""},
		{"what was typed is a choice", 4 * h, 12 * h, " 120m ", "30m 1h 2h 4h 8h 12h other", "2h", ""},
		{"what was typed is another", 4 * h, 12 * h, "100m", "30m 1h 2h 4h 8h 12h other", "other", "100m"},
		{"what was typed is nonsense", 4 * h, 12 * h, "until noon", "30m 1h 2h 4h 8h 12h other", "other", "until noon"},
		{"what was typed is too long", 4 * h, 12 * h, "2d", "30m 1h 2h 4h 8h 12h other", "other", "2d"},
		{"seconds", 20 * time.Second, 30 * time.Second, "", "20s 30s other", "20s", ""},
		{"days", 24 * h, 60 * h, "", "30m 1h 2h 4h 8h 12h 1d 2d 2d12h other", "1d", ""},
		{"no limit", 0, 0, "", "30m 1h 2h 4h 8h 12h 1d 2d 3d 7d other", "", ""},
	} {
		m := GrantForm(Form{Cells: []grant.CellName{"a"}, Default: tt.preset, Max: tt.most, Ask: grant.Ask{For: tt.typed}})
		b := field(t, m, FieldFor)
		if got := strings.Join(choices(b), " "); got != tt.want || chosen(b) != tt.chosen {
			t.Errorf("%s: the choices are %s with %q chosen, want %s with %q", tt.name, got, chosen(b), tt.want, tt.chosen)
		}
		if other := field(t, m, FieldForOther); other.Element.InitialValue != tt.other || !other.Optional {
			t.Errorf("%s: the other duration is %q, want %q", tt.name, other.Element.InitialValue, tt.other)
		}
	}
}

// TestForms_choices holds that every choice of a form can be taken: it is read as
// the duration that it says, and the core would not refuse it for its length.
func TestForms_choices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 40*24*3600).Draw(t, "seconds")) * time.Second
		preset := time.Duration(rapid.Int64Range(0, int64(d/time.Second)).Draw(t, "default")) * time.Second
		g := grant.Grant{ID: 7, Phase: grant.Requested, Token: "TOKEN", Duration: d, Requester: ana}
		for name, x := range map[string]struct {
			form Modal
			most time.Duration
		}{
			"grant":        {GrantForm(Form{Cells: []grant.CellName{"a"}, Default: preset, Max: d}), d},
			"approve less": {ApproveLessForm(g), d - 1},
			"extend":       {ExtendForm(g, d), d},
		} {
			b := field(t, x.form, FieldFor)
			values := choices(b)
			if n := len(values); n == 0 || values[n-1] != ChoiceOther {
				t.Fatalf("%s: the choices are %v, want another duration last", name, values)
			}
			if len(values) == 1 && chosen(b) != ChoiceOther {
				t.Errorf("%s: the only choice is not chosen", name)
			}
			for i, v := range values[:len(values)-1] {
				got, err := grant.ParseDuration(v)
				if err != nil || short(got) != v || (x.most > 0 && got > x.most) || (name == "approve less" && got >= d) {
					t.Errorf("%s of %s: the choice %q is %s (%v)", name, d, v, got, err)
				}
				if text := b.Element.Options[i].Text.Text; strings.TrimSuffix(text, " (default)") != grant.FormatDuration(got) {
					t.Errorf("%s: the choice %q says %q", name, v, text)
				}
			}
		}
		if got, err := grant.ParseDuration(short(d)); d > 0 && (err != nil || got != d) {
			t.Errorf("short(%s) = %q, which is %s (%v)", d, short(d), got, err)
		}
	})
}

func TestGrantForm_cells(t *testing.T) {
	many := make([]grant.CellName, 101)
	for i := range many {
		many[i] = grant.CellName(fmt.Sprintf("cell-%d", i))
	}
	long := grant.CellName(strings.Repeat("x", 151))
	for _, tt := range []struct {
		name  string
		cells []grant.CellName
		typed string
		menu  bool
		want  string
	}{
		{"one", many[:1], "", true, "cell-0"},
		{"one, and another was typed", many[:1], "cell-9", true, "cell-0"},
		{"a hundred", many[:100], " cell-9 ", true, "cell-9"},
		{"one that does not exist", many[:3], "cell-9", true, ""},
		{"too many for a menu", many, "cell-9", false, "cell-9"},
		{"none", nil, "cell-9", false, "cell-9"},
		{"a name too long for a menu", []grant.CellName{long}, "", false, ""},
	} {
		m := GrantForm(Form{Cells: tt.cells, Default: time.Hour, Max: time.Hour, Ask: grant.Ask{Cell: tt.typed}})
		fitsView(t, m.JSON())
		b := field(t, m, FieldCell)
		got := b.Element.InitialValue
		if tt.menu {
			got = chosen(b)
		}
		if (b.Element.Type == "static_select") != tt.menu || got != tt.want {
			t.Errorf("%s: a %s with %q, want a menu %v with %q", tt.name, b.Element.Type, got, tt.menu, tt.want)
		}
	}
}

// TestForms_token holds what comes back with a form: the token, and the yes to
// what the form has said.
func TestForms_token(t *testing.T) {
	plain, moves := sceneNamed(t, "requested").g, sceneNamed(t, "requested_redirect").g
	for _, tt := range []struct {
		name, want, callback string
		form                 Modal
	}{
		{"grant", "", "grant", GrantForm(Form{})},
		{"emergency", "", "emergency", GrantForm(Form{Emergency: true})},
		{"approve less", plain.Token, "approve_less", ApproveLessForm(plain)},
		{"approve less and move", moves.Token + ":" + moves.Report.Redirect.Yes(), "approve_less", ApproveLessForm(moves)},
		{"deny", moves.Token, "deny", DenyForm(moves)},
		{"extend", plain.Token, "extend", ExtendForm(plain, 0)},
		{"said", "", "", Said("x", Card(plain, nil, start))},
	} {
		var v struct {
			Meta     string `json:"private_metadata"`
			Callback string `json:"callback_id"`
			Submit   any    `json:"submit"`
		}
		if err := json.Unmarshal(tt.form.JSON(), &v); err != nil {
			t.Fatal(err)
		}
		if v.Meta != tt.want || v.Callback != tt.callback || (v.Submit != nil) != (tt.callback != "") {
			t.Errorf("%s carries %q as %q, want %q as %q", tt.name, v.Meta, v.Callback, tt.want, tt.callback)
		}
	}
}

// TestFormErrors holds that each error stands at an input that the form has: Slack
// shows none of them otherwise.
func TestFormErrors(t *testing.T) {
	fields := map[string]string{
		"cell": "There is no such cell.", "arn": strings.Repeat("long ", 200), "ticket": " \n", "for": "Too long.", "reason": "Say why.", "surprise": "?",
	}
	form := GrantForm(Form{})
	for _, other := range []bool{false, true} {
		want := map[string]string{
			"cell": "There is no such cell.", "arn": tidy(fields["arn"], maxFormError), "ticket": "This cannot be used.", "for": "Too long.", "reason": "Say why.",
		}
		if other {
			want["for_other"] = want["for"]
			delete(want, "for")
		}
		got := FormErrors(fields, other)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with another duration %v (-want +got):\n%s", other, diff)
		}
		for name := range got {
			field(t, form, name)
		}
	}
	if got := FormErrors(nil, true); len(got) != 0 {
		t.Errorf("without errors there are %v", got)
	}
}
