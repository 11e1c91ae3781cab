package slacksim_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"breakglass/bot/slacksim"
)

func TestRender(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		g := w.AddUserGroup(slacksim.UserGroup{Handle: "oncall"})
		opts := []*slack.OptionBlockObject{slack.NewOptionBlockObject("a", plain("4 h"), nil), slack.NewOptionBlockObject("b", plain("8 h"), nil)}
		m := post(t, w, text("fallback"), slack.MsgOptionBlocks(
			slack.NewHeaderBlock(plain("BG-7 · Requested")),
			slack.NewSectionBlock(mrkdwn("<@U00000000ADA> asks <!subteam^"+g+"> in <#"+channel+"> for *helios-prod*, _now_, ~later~: `a *b* &lt;c&gt;`\n"+
				"Until <!date^1735689600^{time}|2026-11-23 18:40 UTC>, see <https://example.com/t|ticket> &amp; <!here>"), nil,
				slack.NewAccessory(slack.NewButtonBlockElement("x", "", plain("Details")))),
			slack.NewSectionBlock(nil, []*slack.TextBlockObject{mrkdwn("*Cell*\nhelios-prod"), mrkdwn("*Ticket*\n48213")}, nil),
			slack.NewDividerBlock(),
			slack.NewContextBlock("", mrkdwn("one"), mrkdwn("two")),
			slack.NewRichTextBlock("",
				slack.NewRichTextList(slack.RTEListOrdered, 0,
					slack.NewRichTextSection(slack.NewRichTextSectionTextElement("logging on", nil)),
					slack.NewRichTextSection(slack.NewRichTextSectionTextElement("ask ", nil), slack.NewRichTextSectionUserElement("U00000000BOB", nil))),
				&slack.RichTextQuote{Type: slack.RTEQuote, Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement("stuck <node> *pool*", nil)}},
				&slack.RichTextPreformatted{Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement("{\n}", nil)}}),
			slack.NewActionBlock("", slack.NewButtonBlockElement("approve", "", plain("Approve 4 h")), slack.NewButtonBlockElement("deny", "", plain("Deny")),
				slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Extend"), "extend", opts...)),
		))
		want := `BG-7 · Requested
@ada asks @oncall in #ops for helios-prod, now, later: ` + "`a *b* <c>`" + `
Until 2026-11-23 18:40 UTC, see ticket (https://example.com/t) & @here  [ Details ]
Cell: helios-prod
Ticket: 48213
────────────────────────────────────────
one  two
1. logging on
2. ask @bob
> stuck <node> *pool*
    {
    }
[ Approve 4 h ]  [ Deny ]  [ Extend ▾ ]`
		if d := cmp.Diff(want, w.Render(m)); d != "" {
			t.Error(d)
		}
		if got := slacksim.Render(slacksim.Message{Text: "*a* <@U1> 2 * 3 * 4", Edited: true}); got != "a @U1 2 * 3 * 4 (edited)" {
			t.Errorf("got %q", got)
		}
	})
}

func TestRenderView(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(opener(t, w, modal("Grant"), func(slack.InteractionCallback) any { return nil }))
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil {
			t.Fatal(err)
		}
		v, err := w.ada.WaitModal(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		const want = "Grant\n─────\nCell: [ Which? ▾ ]\nReason: [ Why? ]\n[ Help ]\n[ Cancel ]  [ Request ]"
		if d := cmp.Diff(want, w.RenderView(v)); d != "" {
			t.Error(d)
		}
	})
}

// shapeOf lists the paths in a JSON value, with the kind of value at each.
func shapeOf(v any, at string, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			shapeOf(e, at+"."+k, out)
		}
	case []any:
		for _, e := range v {
			shapeOf(e, at+"[]", out)
		}
		if len(v) == 0 {
			out[at] = "[]"
		}
	case string:
		out[at] = "string"
	case bool:
		out[at] = "bool"
	case float64:
		out[at] = "number"
	case nil:
		out[at] = "null"
	}
}

func shapeOfJSON(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err, string(raw))
	}
	out := map[string]string{}
	shapeOf(v, "", out)
	return out
}
