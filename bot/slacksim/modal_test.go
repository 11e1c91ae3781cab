package slacksim_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

// opened has ada type the command and returns the modal that the app opens for it.
func opened(t *testing.T, w *world) slacksim.View {
	t.Helper()
	if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", "grant"); err != nil {
		t.Fatal(err)
	}
	v, err := w.ada.WaitModal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// form is a modal with the given blocks.
func form(blocks ...slack.Block) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain("Form"), Submit: plain("Send"), CallbackID: "form", Blocks: slack.Blocks{BlockSet: blocks},
	}
}

func choices(names ...string) []*slack.OptionBlockObject {
	var out []*slack.OptionBlockObject
	for _, n := range names {
		out = append(out, slack.NewOptionBlockObject(strings.ToLower(n), plain(n), nil))
	}
	return out
}

func TestModal_keepsWhatWasTypedUnderErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var answer any = slack.NewErrorsViewSubmissionResponse(map[string]string{"reason": "say more"})
		var got slack.InteractionCallback
		w.run(opener(t, w, modal("Grant"), func(c slack.InteractionCallback) any {
			got = c
			return answer
		}))
		v := opened(t, w)
		if v.Filled("cell") != nil || v.Filled("reason") != nil || v.Filled("nowhere") != nil {
			t.Errorf("got %v before anything was typed", v.State)
		}
		if err := w.ada.Fill(v, slacksim.Values{"Reason": "node pool"}); err != nil {
			t.Fatal(err)
		}
		if v, _ = w.ada.Modal(); v.Filled("reason") != "node pool" || len(w.Acks()) != 1 {
			t.Errorf("got %v after %d acks, want it filled in and nothing sent", v.State, len(w.Acks()))
		}
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "prod"}); err != nil {
			t.Fatal(err)
		}
		v, _ = w.ada.Modal()
		if v.Filled("cell") != "prod" || v.Filled("text") != "node pool" || v.Errors["reason"] != "say more" {
			t.Errorf("got %+v", v)
		}
		if shown := w.RenderView(v); !strings.Contains(shown, "Reason: [ node pool ]\n  (!) say more") || !strings.Contains(shown, "Cell: [ helios-prod ▾ ]") {
			t.Errorf("got %s", shown)
		}
		answer = nil
		if i, err := w.ada.Submit(t.Context(), v, slacksim.Values{"reason": "stuck node pool"}); err != nil || i.Failure != "" {
			t.Fatal(i, err)
		}
		values := got.View.State.Values
		if values["cell"]["pick"].SelectedOption.Value != "prod" || values["reason"]["text"].Value != "stuck node pool" {
			t.Errorf("got %+v", values)
		}
		if err := w.ada.Fill(v, nil); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("filled in a modal that is closed: %v", err)
		}
	})
}

func TestModal_formRefuses(t *testing.T) {
	text := slack.NewPlainTextInputBlockElement(nil, "text").WithMinLength(3).WithMaxLength(5)
	number := &slack.NumberInputBlockElement{Type: slack.METNumber, ActionID: "number", MinValue: "1", MaxValue: "12"}
	several := slack.NewOptionsMultiSelectBlockElement(slack.MultiOptTypeStatic, nil, "several", choices("A", "B", "C")...).WithMaxSelectedItems(2)
	input := func(id string, e slack.BlockElement) slack.Block {
		b := slack.NewInputBlock(id, plain(strings.ToUpper(id)), nil, e)
		b.Optional = true
		return b
	}
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		w.run(opener(t, w, form(
			input("text", text), input("number", number), input("several", several),
			input("mail", slack.NewEmailTextInputBlockElement(nil, "mail")), input("link", slack.NewURLTextInputBlockElement(nil, "link")),
			input("day", slack.NewDatePickerBlockElement("day")), input("hour", slack.NewTimePickerBlockElement("hour")),
			slack.NewActionBlock("beside", slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "side", choices("A")...)),
		), func(c slack.InteractionCallback) any {
			got = c
			return nil
		}))
		v := opened(t, w)
		for _, c := range []struct {
			values slacksim.Values
			want   string
		}{
			{slacksim.Values{"text": "ab"}, "too short"},
			{slacksim.Values{"text": "abcdef"}, "too long"},
			{slacksim.Values{"number": "four"}, "no number"},
			{slacksim.Values{"number": "1.5"}, "whole numbers"},
			{slacksim.Values{"number": "13"}, "out of range"},
			{slacksim.Values{"several": []string{"a", "b", "c"}}, "takes 2 at most"},
			{slacksim.Values{"mail": "ada"}, "no e-mail address"},
			{slacksim.Values{"link": "nowhere"}, "no URL"},
			{slacksim.Values{"day": "23.11.2026"}, "YYYY-MM-DD"},
			{slacksim.Values{"hour": "25:00"}, "HH:mm"},
			{slacksim.Values{"side": "a"}, "no input of the form"},
		} {
			if _, err := w.ada.Submit(t.Context(), v, c.values); !errors.Is(err, slacksim.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: got %v, want %s", c.values, err, c.want)
			}
		}
		good := slacksim.Values{
			"text": "abc", "number": 4, "several": []string{"a", "C"}, "mail": "ada@example.com", "link": "https://example.com",
			"day": "2026-11-23", "hour": "18:40",
		}
		if err := w.ada.Fill(v, good); err != nil {
			t.Fatal(err)
		}
		v, _ = w.ada.Modal()
		if d := cmp.Diff([]any{"4", []string{"a", "c"}, "18:40"}, []any{v.Filled("number"), v.Filled("several"), v.Filled("hour")}); d != "" {
			t.Error(d)
		}
		if _, err := w.ada.Submit(t.Context(), v, nil); err != nil {
			t.Fatal(err)
		}
		values := got.View.State.Values
		if values["text"]["text"].Value != "abc" || values["number"]["number"].Value != "4" || len(values["several"]["several"].SelectedOptions) != 2 ||
			values["day"]["day"].SelectedDate != "2026-11-23" || values["hour"]["hour"].SelectedTime != "18:40" {
			t.Errorf("got %+v", values)
		}
	})
}

func TestModal_whatDispatchesTheAppHearsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var raws []map[string]any
		menu := func(id string) *slack.SelectBlockElement {
			return slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, id, choices("A", "B")...)
		}
		quiet := slack.NewInputBlock("quiet", plain("Quiet"), nil, menu("quiet"))
		loud := slack.NewInputBlock("loud", plain("Loud"), nil, menu("loud")).WithDispatchAction(true)
		text := slack.NewInputBlock("text", plain("Text"), nil, slack.NewPlainTextInputBlockElement(nil, "text").WithMaxLength(5)).WithDispatchAction(true)
		side := slack.NewSectionBlock(mrkdwn("x"), nil, slack.NewAccessory(menu("side")))
		side.BlockID = "side"
		handle := opener(t, w, form(quiet, loud, text, side), func(slack.InteractionCallback) any { return nil })
		w.run(func(a *app, e socketmode.Event) {
			if e.Type == socketmode.EventTypeInteractive {
				var raw map[string]any
				mustUnmarshal(t, e.Request.Payload, &raw)
				raws = append(raws, raw)
			}
			handle(a, e)
		})
		v := opened(t, w)
		if i, err := w.ada.ChooseIn(t.Context(), v, "quiet", "A"); err != nil || i.EnvelopeID != "" || i.Ephemerals() != nil {
			t.Errorf("got %+v, %v: an input waits for the submission", i, err)
		}
		if _, err := w.ada.EnterIn(t.Context(), v, "text", "abcdef"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
		for _, act := range []func() (slacksim.Interaction, error){
			func() (slacksim.Interaction, error) { return w.ada.ChooseIn(t.Context(), v, "loud", "B") },
			func() (slacksim.Interaction, error) { return w.ada.EnterIn(t.Context(), v, "text", "abc") },
			func() (slacksim.Interaction, error) { return w.ada.ChooseIn(t.Context(), v, "side", "b") },
		} {
			if i, err := act(); err != nil || !i.Acked || i.Kind != "block_actions" || i.TriggerID == "" || i.ResponseURL != "" {
				t.Errorf("got %+v, %v", i, err)
			}
		}
		synctest.Wait()
		if len(raws) != 3 {
			t.Fatalf("got %d payloads", len(raws))
		}
		for n, want := range []struct{ action, key, value string }{{"loud", "selected_option", "b"}, {"text", "value", "abc"}, {"side", "selected_option", "b"}} {
			for _, k := range []string{"channel", "message", "response_url", "state"} {
				if _, there := raws[n][k]; there {
					t.Errorf("%s: the payload of a view has %s", want.action, k)
				}
			}
			if d := cmp.Diff(map[string]any{"type": "view", "view_id": v.ID}, raws[n]["container"]); d != "" {
				t.Error(d)
			}
			action := raws[n]["actions"].([]any)[0].(map[string]any)
			value := action[want.key]
			if o, ok := value.(map[string]any); ok {
				value = o["value"]
			}
			if action["action_id"] != want.action || action["block_id"] != want.action || value != want.value {
				t.Errorf("got %v", action)
			}
		}
		state := raws[2]["view"].(map[string]any)["state"].(map[string]any)["values"].(map[string]any)
		if got := slices.Sorted(maps.Keys(state)); !cmp.Equal(got, []string{"loud", "quiet", "side", "text"}) {
			t.Errorf("got state of %q", got)
		}
	})
}

func TestModal_externalMenus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		menu := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, nil, "cell")
		var asked []slack.InteractionCallback
		var answer any
		w.run(opener(t, w, form(slack.NewInputBlock("cell", plain("Cell"), nil, menu)), func(c slack.InteractionCallback) any {
			asked = append(asked, c)
			return answer
		}))
		v := opened(t, w)
		for _, c := range []struct {
			answer any
			want   string // the failure
		}{
			{"silence", "no ack"},
			{nil, "no options"},
			{map[string]any{"options": "x"}, "must provide an array"},
			{map[string]any{"options": choices(strings.Fields(strings.Repeat("x ", 101))...)}, "no more than 100"},
		} {
			synctest.Wait()
			answer = c.answer
			if list, i, err := w.ada.SuggestIn(t.Context(), v, "cell", "hel"); err != nil || list != nil || !strings.Contains(i.Failure, c.want) {
				t.Errorf("got %v, %+v, %v", list, i, err)
			}
		}
		if _, _, err := w.ada.SuggestIn(t.Context(), v, "cell", "he"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("two characters are too few to be asked: %v", err)
		}
		answer = slack.OptionGroupsResponse{OptionGroups: []*slack.OptionGroupBlockObject{slack.NewOptionGroupBlockElement(plain("G"), choices("Prod", "Dev")...)}}
		list, i, err := w.ada.SuggestIn(t.Context(), v, "cell", "hel")
		if err != nil || !i.Acked || i.Failure != "" || len(list) != 2 || list[0].Value != "prod" {
			t.Errorf("got %v, %+v, %v", list, i, err)
		}
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "test"}); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("chose what was not suggested: %v", err)
		}
		answer = nil
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "Dev"}); err != nil {
			t.Fatal(err)
		}
		last, first := asked[len(asked)-1], asked[0]
		if last.View.State.Values["cell"]["cell"].SelectedOption.Value != "dev" || first.Type != slack.InteractionTypeBlockSuggestion ||
			first.Value != "hel" || first.ActionID != "cell" || first.BlockID != "cell" || first.Container.ViewID != v.ID {
			t.Errorf("got %+v, then %+v", first, last)
		}

		m := post(t, w, text("x"), slack.MsgOptionBlocks(slack.NewActionBlock("b", menu)))
		answer = slack.OptionsResponse{Options: choices("Prod")}
		if list, _, err := w.bob.Suggest(t.Context(), m, "cell", "pro"); err != nil || len(list) != 1 {
			t.Errorf("got %v, %v", list, err)
		}
		if got := asked[len(asked)-1]; got.Message.Timestamp != m.TS || got.Channel.ID != channel {
			t.Errorf("got %+v", got)
		}
		if _, err := w.bob.Choose(t.Context(), m, "cell", "Prod"); err != nil {
			t.Error(err)
		}
		if _, err := w.ada.Choose(t.Context(), m, "cell", "Prod"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("it was suggested to somebody else: %v", err)
		}
	})
}

func TestModal_responseURLsOfMenusThatAskForThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		menu := slack.NewOptionsSelectBlockElement(slack.OptTypeConversations, nil, "where")
		menu.DefaultToCurrentConversation, menu.ResponseURLEnabled = true, true
		var got slack.InteractionCallback
		w.run(opener(t, w, form(slack.NewInputBlock("where", plain("Where"), nil, menu)), func(c slack.InteractionCallback) any {
			got = c
			return nil
		}))
		v := opened(t, w)
		if v.Filled("where") != channel {
			t.Errorf("got %v, want the channel of the command", v.State)
		}
		if _, err := w.ada.Submit(t.Context(), v, nil); err != nil {
			t.Fatal(err)
		}
		if len(got.ResponseURLs) != 1 || got.ResponseURLs[0].ChannelID != channel || got.ResponseURLs[0].BlockID != "where" || got.ResponseURLs[0].ActionID != "where" {
			t.Fatalf("got %+v", got.ResponseURLs)
		}
		resp, err := w.HTTPClient().Post(got.ResponseURLs[0].ResponseURL, "application/json", strings.NewReader(`{"text":"asked"}`))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		if m := w.Messages(channel); len(m) != 1 || m[0].Text != "asked" {
			t.Errorf("got %+v", m)
		}
	})
}

func TestModal_closingAndReloading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var closed []map[string]any
		handle := opener(t, w, modal("Grant"), func(slack.InteractionCallback) any {
			next := modal("Next")
			return slack.NewPushViewSubmissionResponse(&next)
		})
		w.run(func(a *app, e socketmode.Event) {
			if c, ok := e.Data.(slack.InteractionCallback); ok && c.Type == slack.InteractionTypeViewClosed {
				var raw map[string]any
				mustUnmarshal(t, e.Request.Payload, &raw)
				closed = append(closed, raw)
				ackWith(nil)(a, e)
				return
			}
			handle(a, e)
		})
		stack := func() slacksim.View {
			v := opened(t, w)
			if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "prod", "reason": "x"}); err != nil {
				t.Fatal(err)
			}
			v, _ = w.ada.Modal()
			return v
		}
		top := stack()
		if err := w.ada.Fill(top, slacksim.Values{"reason": "secret"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.CloseModal(t.Context(), top); err != nil {
			t.Fatal(err)
		}
		if v, open := w.ada.Modal(); !open || v.Title != "Grant" || v.Filled("reason") != "x" {
			t.Errorf("got %+v, want the view below with what was typed there", v)
		}
		if _, err := w.ada.DismissModal(t.Context(), stack()); err != nil {
			t.Fatal(err)
		}
		if v, open := w.ada.Modal(); open {
			t.Errorf("got %+v", v)
		}
		synctest.Wait()
		if len(closed) != 2 || closed[0]["is_cleared"] != false || closed[1]["is_cleared"] != true {
			t.Fatalf("got %v", closed)
		}
		state := closed[0]["view"].(map[string]any)["state"].(map[string]any)["values"]
		if !cmp.Equal(state, map[string]any{}) {
			t.Errorf("got %v: view_closed has no inputs in it", state)
		}

		stack()
		if _, err := w.api.PostEphemeralContext(t.Context(), channel, w.ada.ID(), text("only you")); err != nil {
			t.Fatal(err)
		}
		w.ada.Reload()
		if _, open := w.ada.Modal(); open || len(w.ada.Ephemerals()) != 0 || len(closed) != 2 {
			t.Errorf("after a reload there is a modal (%t), %d ephemerals, %d views closed", open, len(w.ada.Ephemerals()), len(closed))
		}
		home := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewDividerBlock()}}}
		if _, err := w.api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: w.ada.ID(), View: home}); err != nil {
			t.Fatal(err)
		}
		v, _ := w.ada.Home()
		if _, err := w.ada.CloseModal(t.Context(), v); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("closed the App Home: %v", err)
		}
	})
}

func TestModal_closedWhileItsSubmissionHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(opener(t, w, modal("Grant"), func(slack.InteractionCallback) any { return "silence" }))
		v := opened(t, w)
		submitted := make(chan slacksim.Interaction, 1)
		go func() {
			i, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "prod", "reason": "x"})
			if err != nil {
				t.Error(err)
			}
			submitted <- i
		}()
		time.Sleep(time.Second)
		w.ada.Reload()
		n := len(w.Changes(0))
		if i := <-submitted; i.Acked || i.Failure != "We had some trouble connecting. Try again?" {
			t.Errorf("got %+v", i)
		}
		if more := w.Changes(n); len(more) != 0 {
			t.Errorf("got %+v", more)
		}
	})
}

func TestModal_ackCannotTakeAnExternalID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		first, next := modal("Grant"), modal("Next")
		first.ExternalID, next.ExternalID = "one", "one"
		action := slack.NewPushViewSubmissionResponse(&next)
		w.run(opener(t, w, first, func(slack.InteractionCallback) any { return action }))
		v := opened(t, w)
		fill := slacksim.Values{"cell": "prod", "reason": "x"}
		if i, err := w.ada.Submit(t.Context(), v, fill); err != nil || !strings.Contains(i.Failure, "duplicate_external_id") {
			t.Errorf("got %+v, %v", i, err)
		}
		action = slack.NewUpdateViewSubmissionResponse(&next)
		if i, err := w.ada.Submit(t.Context(), v, fill); err != nil || i.Failure != "" {
			t.Errorf("got %+v, %v: it is the view's own", i, err)
		}
	})
}

func TestModal_aLateSubmissionCanBeTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(opener(t, w, modal("Grant"), func(slack.InteractionCallback) any { return nil }))
		v := opened(t, w)
		w.InjectDelivery(slacksim.DeliveryFault{Kind: "view_submission", Times: 1, LoseAck: true})
		i, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "prod", "reason": "node pool"})
		if err != nil || i.Acked || i.Failure == "" {
			t.Fatalf("got %+v, %v", i, err)
		}
		v, _ = w.ada.Modal()
		if v.Trouble != "We had some trouble connecting. Try again?" || v.Filled("reason") != "node pool" {
			t.Errorf("got %+v", v)
		}
		if i, err := w.ada.Submit(t.Context(), v, nil); err != nil || !i.Acked {
			t.Errorf("got %+v, %v", i, err)
		}
		if v, open := w.ada.Modal(); open {
			t.Errorf("got %+v", v)
		}
	})
}

func TestMenu_clicksCarryWhatThePersonChose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got []map[string]any
		w.run(func(a *app, e socketmode.Event) {
			ackWith(nil)(a, e)
			if e.Type == socketmode.EventTypeInteractive {
				var raw struct {
					State struct{ Values map[string]any }
				}
				mustUnmarshal(t, e.Request.Payload, &raw)
				got = append(got, raw.State.Values)
			}
		})
		m := post(t, w, text("x"), slack.MsgOptionBlocks(
			slack.NewActionBlock("b",
				slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "which", choices("A", "B")...),
				slack.NewButtonBlockElement("go", "1", plain("Go"))),
			slack.NewInputBlock("why", plain("Why"), nil, slack.NewPlainTextInputBlockElement(nil, "text")),
		))
		if i, err := w.ada.Choose(t.Context(), m, "why", "because"); err != nil || i.EnvelopeID != "" {
			t.Errorf("got %+v, %v", i, err)
		}
		if _, err := w.ada.Choose(t.Context(), m, "which", "B"); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*slacksim.Person{w.ada, w.bob} {
			if _, err := p.Click(t.Context(), m, "go"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		at := func(n int, block, action, key string) any {
			return got[n][block].(map[string]any)[action].(map[string]any)[key]
		}
		if len(got) != 3 || at(1, "b", "which", "selected_option").(map[string]any)["value"] != "b" || at(1, "why", "text", "value") != "because" {
			t.Errorf("got %v", got)
		}
		if at(2, "b", "which", "selected_option") != nil || at(2, "why", "text", "value") != nil {
			t.Errorf("bob's click carries what ada chose: %v", got[2])
		}
	})
}

func TestOpens_fatalAndOtherErrors(t *testing.T) {
	for code, ends := range map[string]bool{
		"invalid_auth": true, "not_authed": true, "account_inactive": true, "token_revoked": true,
		"token_expired": false, "not_allowed_token_type": false, "missing_scope": false, "team_access_not_granted": false,
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, slacksim.Options{})
			defer w.Inject(slacksim.Fault{Method: "apps.connections.open", Answer: slacksim.Refuse(code)})()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			client := socketmode.New(w.api, socketmode.OptionDialer(w.Dialer()))
			go func() {
				for {
					select {
					case <-client.Events:
					case <-ctx.Done():
						return
					}
				}
			}()
			err := client.RunContext(ctx)
			if ended := ctx.Err() == nil; ended != ends {
				t.Errorf("%s: the client ended (%t) with %v", code, ended, err)
			}
		})
	}
}
