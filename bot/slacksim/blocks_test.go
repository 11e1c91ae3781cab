package slacksim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"breakglass/bot/slacksim"
)

// long is a text of n characters that are more than one byte each.
func long(n int) string { return strings.Repeat("é", n) }

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func problems(list []slacksim.Problem) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Pointer+": "+p.Text)
	}
	return out
}

func TestValidate_takesWhatSlackGoBuilds(t *testing.T) {
	confirm := slack.NewConfirmationBlockObject(plain("Sure?"), mrkdwn("*Really*?"), plain("Yes"), plain("No")).WithStyle(slack.StyleDanger)
	button := slack.NewButtonBlockElement("revoke", "1", plain("Revoke now")).WithStyle(slack.StyleDanger).WithConfirm(confirm)
	options := []*slack.OptionBlockObject{slack.NewOptionBlockObject("a", plain("A"), plain("first")), slack.NewOptionBlockObject("b", plain("B"), nil)}
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Which?"), "menu", options...)
	menu.InitialOption = options[0]
	date := slack.NewDatePickerBlockElement("date")
	date.InitialDate = "2026-11-23"
	list := slack.NewRichTextList(slack.RTEListBullet, 0,
		slack.NewRichTextSection(slack.NewRichTextSectionTextElement("one", &slack.RichTextSectionTextStyle{Bold: true})))
	raw := asJSON(t, []slack.Block{
		slack.NewHeaderBlock(plain(long(150))),
		slack.NewSectionBlock(mrkdwn(long(3000)), []*slack.TextBlockObject{mrkdwn(long(2000)), plain("b")}, slack.NewAccessory(button)),
		slack.NewDividerBlock(),
		slack.NewContextBlock("", mrkdwn("by <@U1>"), slack.NewImageBlockElement("https://example.com/a.png", "a")),
		slack.NewActionBlock("act", button, menu, date, slack.NewOverflowBlockElement("more", options...),
			slack.NewCheckboxGroupsBlockElement("check", options...), slack.NewRadioButtonsBlockElement("radio", options...),
			slack.NewOptionsSelectBlockElement(slack.OptTypeUser, plain("Who?"), "who"), slack.NewTimePickerBlockElement("time")),
		slack.NewInputBlock("in", plain("Reason"), plain("a hint"), slack.NewPlainTextInputBlockElement(plain("Why?"), "text")),
		slack.NewImageBlock("https://example.com/a.png", "a picture", "", plain("title")),
		slack.NewRichTextBlock("", list, slack.NewRichTextSection(
			slack.NewRichTextSectionUserElement("U1", nil), slack.NewRichTextSectionLinkElement("https://example.com", "x", nil),
			slack.NewRichTextSectionUserGroupElement("S1"), slack.NewRichTextSectionEmojiElement("wave", 0, nil))),
		slack.NewMarkdownBlock("", "**hi**"),
	})
	if got := slacksim.Validate(raw); got != nil {
		t.Errorf("got %q", problems(got))
	}
}

func TestValidate_refusals(t *testing.T) {
	button := func(more string) string {
		return `[{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}` + more + `}]}]`
	}
	option := `{"text":{"type":"plain_text","text":"A"},"value":"a"}`
	repeat := func(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for name, c := range map[string]struct{ blocks, want string }{
		"not JSON":               {`[`, "/blocks: must be valid JSON: unexpected EOF"},
		"no list":                {`{}`, "/blocks: must provide an array"},
		"51 blocks":              {"[" + repeat(`{"type":"divider"}`, 51) + "]", "/blocks: no more than 50 items allowed"},
		"unknown block":          {`[{"type":"alert"}]`, "/blocks/0/type: unsupported type: alert"},
		"unknown field":          {`[{"type":"divider","disabled":true}]`, "/blocks/0: invalid additional property: disabled"},
		"same block_id":          {`[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`, "/blocks/1/block_id: block_id must be unique: a"},
		"long block_id":          {`[{"type":"divider","block_id":"` + long(256) + `"}]`, "/blocks/0/block_id: must be less than 256 characters"},
		"empty section":          {`[{"type":"section"}]`, "/blocks/0: must provide text or fields"},
		"section text":           {`[{"type":"section","text":{"type":"mrkdwn","text":"` + long(3001) + `"}}]`, "/blocks/0/text/text: must be less than 3001 characters"},
		"empty text":             {`[{"type":"section","text":{"type":"mrkdwn","text":""}}]`, "/blocks/0/text/text: must be more than 0 characters"},
		"emoji in mrkdwn":        {`[{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}]`, "/blocks/0/text: invalid additional property: emoji"},
		"verbatim in plain":      {`[{"type":"section","text":{"type":"plain_text","text":"x","verbatim":true}}]`, "/blocks/0/text: invalid additional property: verbatim"},
		"11 fields":              {`[{"type":"section","fields":[` + repeat(`{"type":"mrkdwn","text":"x"}`, 11) + `]}]`, "/blocks/0/fields: no more than 10 items allowed"},
		"long field":             {`[{"type":"section","fields":[{"type":"mrkdwn","text":"` + long(2001) + `"}]}]`, "/blocks/0/fields/0/text: must be less than 2001 characters"},
		"mrkdwn header":          {`[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`, "/blocks/0/text/type: failed to match all allowed schemas: unsupported type: mrkdwn"},
		"long header":            {`[{"type":"header","text":{"type":"plain_text","text":"` + long(151) + `"}}]`, "/blocks/0/text/text: must be less than 151 characters"},
		"11 in context":          {`[{"type":"context","elements":[` + repeat(`{"type":"mrkdwn","text":"x"}`, 11) + `]}]`, "/blocks/0/elements: no more than 10 items allowed"},
		"no actions":             {`[{"type":"actions","elements":[]}]`, "/blocks/0/elements: no fewer than 1 items allowed"},
		"26 actions":             {`[{"type":"actions","elements":[` + repeat(`{"type":"button","text":{"type":"plain_text","text":"x"}}`, 26) + `]}]`, "/blocks/0/elements: no more than 25 items allowed"},
		"input in actions":       {`[{"type":"actions","elements":[{"type":"plain_text_input"}]}]`, "/blocks/0/elements/0/type: unsupported type: plain_text_input"},
		"same action_id":         {`[{"type":"actions","elements":[` + repeat(`{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}}`, 2) + `]}]`, "/blocks/0/elements/1/action_id: action_id must be unique in its block: a"},
		"default style":          {button(`,"style":"default"`), "/blocks/0/elements/0/style: must be one of primary, danger"},
		"disabled button":        {button(`,"disabled":true`), "/blocks/0/elements/0: invalid additional property: disabled"},
		"long value":             {button(`,"value":"` + long(2001) + `"`), "/blocks/0/elements/0/value: must be less than 2001 characters"},
		"long url":               {button(`,"url":"https://` + long(3000) + `"`), "/blocks/0/elements/0/url: must be less than 3001 characters"},
		"long accessibility":     {button(`,"accessibility_label":"` + long(76) + `"`), "/blocks/0/elements/0/accessibility_label: must be less than 76 characters"},
		"null confirm":           {button(`,"confirm":null`), "/blocks/0/elements/0/confirm: must not be null"},
		"half a confirm":         {button(`,"confirm":{"title":{"type":"plain_text","text":"x"},"text":{"type":"plain_text","text":"x"},"confirm":{"type":"plain_text","text":"x"}}`), "/blocks/0/elements/0/confirm: missing required field: deny"},
		"long confirm":           {button(`,"confirm":{"title":{"type":"plain_text","text":"x"},"text":{"type":"mrkdwn","text":"` + long(301) + `"},"confirm":{"type":"plain_text","text":"x"},"deny":{"type":"plain_text","text":"x"}}`), "/blocks/0/elements/0/confirm/text/text: must be less than 301 characters"},
		"long label":             {`[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"` + long(76) + `"}}]}]`, "/blocks/0/elements/0/text/text: must be less than 76 characters"},
		"mrkdwn label":           {`[{"type":"actions","elements":[{"type":"button","text":{"type":"mrkdwn","text":"x"}}]}]`, "/blocks/0/elements/0/text/type: failed to match all allowed schemas: unsupported type: mrkdwn"},
		"101 options":            {`[{"type":"actions","elements":[{"type":"static_select","options":[` + repeat(option, 101) + `]}]}]`, "/blocks/0/elements/0/options: no more than 100 items allowed"},
		"no options":             {`[{"type":"actions","elements":[{"type":"static_select"}]}]`, "/blocks/0/elements/0: must provide exactly one of options, option_groups"},
		"6 in overflow":          {`[{"type":"actions","elements":[{"type":"overflow","options":[` + repeat(option, 6) + `]}]}]`, "/blocks/0/elements/0/options: no more than 5 items allowed"},
		"11 radio buttons":       {`[{"type":"actions","elements":[{"type":"radio_buttons","options":[` + repeat(option, 11) + `]}]}]`, "/blocks/0/elements/0/options: no more than 10 items allowed"},
		"long option":            {`[{"type":"actions","elements":[{"type":"static_select","options":[{"text":{"type":"plain_text","text":"` + long(76) + `"},"value":"a"}]}]}]`, "/blocks/0/elements/0/options/0/text/text: must be less than 76 characters"},
		"long option value":      {`[{"type":"actions","elements":[{"type":"static_select","options":[{"text":{"type":"plain_text","text":"x"},"value":"` + long(151) + `"}]}]}]`, "/blocks/0/elements/0/options/0/value: must be less than 151 characters"},
		"foreign initial option": {`[{"type":"actions","elements":[{"type":"static_select","options":[` + option + `],"initial_option":{"text":{"type":"plain_text","text":"B"},"value":"b"}}]}]`, "/blocks/0/elements/0/initial_option: must be one of the options"},
		"date":                   {`[{"type":"actions","elements":[{"type":"datepicker","initial_date":"23.11.2026"}]}]`, "/blocks/0/elements/0/initial_date: must be in the format YYYY-MM-DD"},
		"alt text":               {`[{"type":"image","image_url":"https://x"}]`, "/blocks/0: missing required field: alt_text"},
		"no input element":       {`[{"type":"input","label":{"type":"plain_text","text":"x"}}]`, "/blocks/0: missing required field: element"},
		"button as input":        {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"button","text":{"type":"plain_text","text":"x"}}}]`, "/blocks/0/element/type: unsupported type: button"},
		"max_length":             {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","max_length":3001}}]`, "/blocks/0/element/max_length: must be at most 3000"},
		"min over max":           {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","min_length":5,"max_length":4}}]`, "/blocks/0/element/min_length: must not be more than max_length"},
		"dispatch":               {`[{"type":"input","dispatch_action":true,"label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","dispatch_action_config":{"trigger_actions_on":["on_blur"]}}}]`, "/blocks/0/element/dispatch_action_config/trigger_actions_on/0: must be one of on_enter_pressed, on_character_entered"},
		"number bounds":          {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"number_input","is_decimal_allowed":false,"min_value":"5","max_value":"4"}}]`, "/blocks/0/element/min_value: must not be more than max_value"},
		"number without kind":    {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"number_input"}}]`, "/blocks/0/element: missing required field: is_decimal_allowed"},
		"number":                 {`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"number_input","is_decimal_allowed":"no","min_value":1}}]`, "/blocks/0/element/is_decimal_allowed: must provide a boolean|/blocks/0/element/min_value: must provide a number as a string"},
		"wrong kinds":            {`[7,{"type":"section","text":"x","fields":{}},{"type":"header","text":{"type":"plain_text","text":7}}]`, "/blocks/0: must provide an object|/blocks/1/fields: must provide an array|/blocks/1/text: must provide an object|/blocks/2/text/text: must provide a string"},
		"group without label":    {`[{"type":"actions","elements":[{"type":"static_select","option_groups":[{"options":[` + option + `]}]}]}]`, "/blocks/0/elements/0/option_groups/0: missing required field: label"},
		"url of a button":        {button(`,"url":"nowhere"`), "/blocks/0/elements/0/url: must be a valid URL"},
		"two markdowns":          {`[{"type":"markdown","text":"` + long(12_000) + `"},{"type":"markdown","text":"x"}]`, "/blocks/1/text: must be less than 12001 characters in all markdown blocks"},
		"two tables":             {"[" + repeat(`{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}`, 2) + "]", "/blocks/1: only one table block is allowed"},
		"21 columns":             {`[{"type":"table","rows":[[` + repeat(`{"type":"raw_text","text":"x"}`, 21) + `]]}]`, "/blocks/0/rows/0: no more than 20 items allowed"},
		"rich text leaf":         {`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"spell"}]}]}]`, "/blocks/0/elements/0/elements/0/type: unsupported type: spell"},
		"rich text style":        {`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x","style":{"bald":true}}]}]}]`, "/blocks/0/elements/0/elements/0/style: invalid additional property: bald"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := problems(slacksim.Validate([]byte(c.blocks))); strings.Join(got, "|") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestValidateView_refusals(t *testing.T) {
	view := func(edit func(*slack.ModalViewRequest)) []byte {
		v := modal("x")
		edit(&v)
		return asJSON(t, v)
	}
	for name, c := range map[string]struct {
		view []byte
		want []string
	}{
		"good":          {view(func(*slack.ModalViewRequest) {}), nil},
		"no submit":     {view(func(v *slack.ModalViewRequest) { v.Submit = nil }), []string{"/view: missing required field: submit"}},
		"no title":      {view(func(v *slack.ModalViewRequest) { v.Title = nil }), []string{"/view: missing required field: title"}},
		"long title":    {view(func(v *slack.ModalViewRequest) { v.Title = plain(long(25)) }), []string{"/view/title/text: must be less than 25 characters"}},
		"long close":    {view(func(v *slack.ModalViewRequest) { v.Close = plain(long(25)) }), []string{"/view/close/text: must be less than 25 characters"}},
		"metadata":      {view(func(v *slack.ModalViewRequest) { v.PrivateMetadata = long(3001) }), []string{"/view/private_metadata: must be less than 3001 characters"}},
		"callback_id":   {view(func(v *slack.ModalViewRequest) { v.CallbackID = long(256) }), []string{"/view/callback_id: must be less than 256 characters"}},
		"external_id":   {view(func(v *slack.ModalViewRequest) { v.ExternalID = long(256) }), []string{"/view/external_id: must be less than 256 characters"}},
		"message block": {view(func(v *slack.ModalViewRequest) { v.Blocks.BlockSet[2] = slack.NewMarkdownBlock("", "x") }), []string{"/view/blocks/2/type: unsupported type: markdown"}},
		"two focuses": {view(func(v *slack.ModalViewRequest) {
			for _, b := range v.Blocks.BlockSet[:2] {
				switch e := b.(*slack.InputBlock).Element.(type) {
				case *slack.PlainTextInputBlockElement:
					e.FocusOnLoad = true
				case *slack.SelectBlockElement:
					e.FocusOnLoad = true
				}
			}
		}), []string{"/view/blocks/1/element/focus_on_load: only one element may have focus_on_load"}},
		"101 blocks": {view(func(v *slack.ModalViewRequest) {
			for range 98 {
				v.Blocks.BlockSet = append(v.Blocks.BlockSet, slack.NewDividerBlock())
			}
		}), []string{"/view/blocks: no more than 100 items allowed"}},
		"a home with a title": {[]byte(`{"type":"home","blocks":[],"title":{"type":"plain_text","text":"x"}}`), []string{"/view: invalid additional property: title"}},
		"neither":             {[]byte(`{"type":"window","blocks":[]}`), []string{"/view/type: unsupported type: window"}},
		"no object":           {[]byte(`[]`), []string{"/view: must provide an object"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := problems(slacksim.ValidateView(c.view)); !cmp.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestValidate_isRunOnEveryWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx := t.Context()
		bad := slack.MsgOptionBlocks(slack.NewSectionBlock(mrkdwn(long(3001)), nil, nil))
		m := post(t, w, text("x"))
		_, _, post := w.api.PostMessageContext(ctx, channel, bad)
		_, _, _, update := w.api.UpdateMessageContext(ctx, channel, m.TS, bad)
		_, ephemeral := w.api.PostEphemeralContext(ctx, channel, w.ada.ID(), bad)
		_, _, schedule := w.api.ScheduleMessageContext(ctx, channel, "4102444800", bad)
		const want = "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
		for _, err := range []error{post, update, ephemeral, schedule} {
			if r := refused(t, err, "invalid_blocks"); !cmp.Equal(r.ResponseMetadata.Messages, []string{want}) {
				t.Errorf("got %q", r.ResponseMetadata.Messages)
			}
		}
		w.run(ackWith(nil))
		i, err := w.ada.Slash(ctx, channel, "/breakglass", "")
		if err != nil {
			t.Fatal(err)
		}
		v := modal(long(25))
		_, open := w.api.OpenViewContext(ctx, i.TriggerID, v)
		home := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewSectionBlock(mrkdwn(long(3001)), nil, nil)}}}
		_, publish := w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: w.ada.ID(), View: home})
		for _, err := range []error{open, publish} {
			if r := refused(t, err, "invalid_arguments"); len(r.ResponseMetadata.Messages) != 1 || !strings.Contains(r.ResponseMetadata.Messages[0], "[json-pointer:/view/") {
				t.Errorf("got %q", r.ResponseMetadata.Messages)
			}
		}
		v = modal("x")
		v.PrivateMetadata = ""
		for i := range 90 {
			v.Blocks.BlockSet = append(v.Blocks.BlockSet, slack.NewSectionBlock(mrkdwn(fmt.Sprint(i, strings.Repeat("x", 2900))), nil, nil))
		}
		_, err = w.api.OpenViewContext(ctx, i.TriggerID, v)
		refused(t, err, "view_too_large")
		if _, ok := errors.AsType[slack.SlackErrorResponse](err); !ok {
			t.Error(err)
		}
	})
}
