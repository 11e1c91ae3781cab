package slacksim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

// onInteraction acks at once and then does what f says, beside the loop.
func onInteraction(f func(slack.InteractionCallback)) func(*app, socketmode.Event) {
	return func(a *app, e socketmode.Event) {
		ackWith(nil)(a, e)
		if c, ok := e.Data.(slack.InteractionCallback); ok {
			f(c)
		}
	}
}

func post(t *testing.T, w *world, opts ...slack.MsgOption) slacksim.Message {
	t.Helper()
	_, ts, err := w.api.PostMessageContext(t.Context(), channel, opts...)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := w.Message(channel, ts)
	return m
}

func TestClick_payloadAndWhatIsThereNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		w.run(onInteraction(func(c slack.InteractionCallback) { got = c }))
		m := post(t, w, card("decide"))
		i, err := w.bob.Click(t.Context(), m, "Approve")
		if err != nil || !i.Acked || i.Failure != "" {
			t.Fatal(i, err)
		}
		synctest.Wait()
		a := got.ActionCallback.BlockActions[0]
		if got.Type != slack.InteractionTypeBlockActions || got.User.ID != w.bob.ID() || got.User.TeamID != w.TeamID() ||
			got.Team.ID != w.TeamID() || got.APIAppID != w.AppID() || got.Channel.ID != channel ||
			got.Container.Type != "message" || got.Container.MessageTs != m.TS || got.Container.IsEphemeral ||
			got.Message.Timestamp != m.TS || len(got.Message.Blocks.BlockSet) != 3 || got.TriggerID != i.TriggerID ||
			got.ResponseURL != i.ResponseURL || got.Enterprise.ID != "" || got.IsEnterpriseInstall {
			t.Errorf("got %+v", got)
		}
		if a.ActionID != "approve" || a.BlockID != "decide" || a.Value != "1" || a.Text.Text != "Approve 4 h" || a.Type != "button" || a.ActionTs == "" {
			t.Errorf("got %+v", a)
		}
		if _, _, _, err := w.api.UpdateMessageContext(t.Context(), channel, m.TS, text("decided")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.bob.Click(t.Context(), m, "Approve"); !errors.Is(err, slacksim.ErrNoButton) {
			t.Errorf("the button is gone, and got %v", err)
		}
		if _, err := w.bob.Forge(t.Context(), slacksim.Forgery{Channel: channel, MessageTS: m.TS, ActionID: "approve", BlockID: "decide", Value: "7"},
			func(p map[string]any) { p["team"] = map[string]any{"id": "T000000EVIL"} }); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got.Team.ID != "T000000EVIL" || got.ActionCallback.BlockActions[0].Value != "7" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestClick_orgInstallHasNoTeam(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{EnterpriseID: "E1", EnterpriseName: "Acme Corp", OrgInstall: true})
		var raw map[string]any
		w.run(func(a *app, e socketmode.Event) {
			ackWith(nil)(a, e)
			if e.Type == socketmode.EventTypeInteractive {
				_ = json.Unmarshal(e.Request.Payload, &raw)
			}
		})
		if i, err := w.ada.Click(t.Context(), post(t, w, card("x")), "deny"); err != nil || !i.Acked {
			t.Fatal(i, err)
		}
		synctest.Wait()
		if team, ok := raw["team"]; !ok || team != nil || raw["is_enterprise_install"] != true || raw["enterprise"].(map[string]any)["id"] != "E1" {
			t.Errorf("got %v", raw)
		}
	})
}

func TestClick_nobodyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		m := post(t, w, card("x"))
		i, err := w.ada.Click(t.Context(), m, "deny")
		if err != nil || i.Failure != "warning: no connection" {
			t.Errorf("got %+v, %v", i, err)
		}
		w.run(nil)
		i, err = w.ada.Click(t.Context(), m, "deny")
		if err != nil || i.Failure != "warning: no ack" || len(i.Ephemerals()) != 0 {
			t.Errorf("got %+v, %v", i, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.ada.Click(ctx, m, "deny"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestClick_lookalikesMenusAndStrangers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		w.run(onInteraction(func(c slack.InteractionCallback) { got = c }))
		opts := []*slack.OptionBlockObject{
			slack.NewOptionBlockObject("bg-1", plain("BG-1"), nil), slack.NewOptionBlockObject("bg-2", plain("BG-2"), nil),
		}
		m := post(t, w, text("x"), slack.MsgOptionBlocks(
			slack.NewActionBlock("one", slack.NewButtonBlockElement("revoke", "1", plain("Revoke now"))),
			slack.NewActionBlock("two", slack.NewButtonBlockElement("revoke", "2", plain("Revoke now"))),
			slack.NewActionBlock("three", slack.NewOptionsSelectBlockElement("static_select", plain("Which?"), "which", opts...),
				slack.NewOverflowBlockElement("more", opts...)),
		))
		if _, err := w.ada.Click(t.Context(), m, "revoke"); !errors.Is(err, slacksim.ErrManyButtons) {
			t.Errorf("got %v", err)
		}
		if _, err := w.ada.ClickButton(t.Context(), m, m.Buttons()[1]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a := got.ActionCallback.BlockActions[0]; a.Value != "2" || a.BlockID != "two" {
			t.Errorf("got %+v", a)
		}
		for _, menu := range []string{"which", "more"} {
			if _, err := w.ada.Choose(t.Context(), m, menu, "BG-2"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if a := got.ActionCallback.BlockActions[0]; a.SelectedOption.Value != "bg-2" || a.ActionID != menu {
				t.Errorf("got %+v", a)
			}
		}
		for _, try := range []string{"BG-3", ""} {
			if _, err := w.ada.Choose(t.Context(), m, "more", try); !errors.Is(err, slacksim.ErrRefused) {
				t.Errorf("%q: got %v", try, err)
			}
		}
		stranger := w.AddUser(slacksim.User{ID: "USTRANGER", Stranger: true})
		if _, err := stranger.ClickButton(t.Context(), m, m.Buttons()[0]); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
		w.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared, c.Members = true, append(c.Members, "USTRANGER") })
		if _, err := stranger.ClickButton(t.Context(), m, m.Buttons()[0]); err != nil {
			t.Errorf("a stranger in a shared channel can click: %v", err)
		}
		synctest.Wait()
		if got.User.ID != "USTRANGER" || got.User.TeamID == w.TeamID() {
			t.Errorf("got %+v", got.User)
		}
	})
}

func TestClick_anEphemeralMessageHasNoMessageInThePayload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		w.run(onInteraction(func(c slack.InteractionCallback) {
			got = c
			_, _, err := w.api.PostMessageContext(t.Context(), "", card("sure?"), slack.MsgOptionReplaceOriginal(c.ResponseURL))
			if err != nil {
				t.Error(err)
			}
		}))
		if _, err := w.api.PostEphemeralContext(t.Context(), channel, w.ada.ID(), card("revoke all?")); err != nil {
			t.Fatal(err)
		}
		m := w.ada.Ephemerals()[0]
		if _, err := w.bob.Click(t.Context(), m, "approve"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
		if _, err := w.ada.Click(t.Context(), m, "approve"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !got.Container.IsEphemeral || got.Message.Timestamp != "" || got.Container.MessageTs != m.TS {
			t.Errorf("got %+v", got)
		}
		if e := w.ada.Ephemerals(); len(e) != 1 || e[0].Text != "sure?" || e[0].Edits != 1 {
			t.Errorf("got %+v", e)
		}
		if _, _, err := w.api.PostMessageContext(t.Context(), "", slack.MsgOptionDeleteOriginal(got.ResponseURL)); err != nil {
			t.Error(err)
		}
		if e := w.ada.Ephemerals(); len(e) != 0 {
			t.Errorf("got %+v", e)
		}
	})
}

func TestResponseURL_fiveTimesInHalfAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(ackWith(nil))
		h := w.HTTPClient()
		send := func(url string, body any) int {
			raw, _ := json.Marshal(body)
			resp, err := h.Post(url, "application/json", bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return resp.StatusCode
		}
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := send(i.ResponseURL, map[string]any{"text": ""}); got != http.StatusBadRequest {
			t.Errorf("no text: %d", got)
		}
		if got := send(i.ResponseURL, map[string]any{"blocks": []any{map[string]any{"type": "nonsense"}}}); got != http.StatusBadRequest {
			t.Errorf("bad blocks: %d", got)
		}
		for n := range 4 {
			if got := send(i.ResponseURL, map[string]any{"text": fmt.Sprint(n)}); got != http.StatusOK {
				t.Errorf("%d: %d", n, got)
			}
		}
		if got := send(i.ResponseURL, map[string]any{"text": "all", "response_type": "in_channel"}); got != http.StatusOK {
			t.Errorf("got %d", got)
		}
		if got := send(i.ResponseURL, map[string]any{"text": "6"}); got != http.StatusNotFound {
			t.Errorf("sixth: %d", got)
		}
		if len(i.Ephemerals()) != 4 || len(w.Messages(channel)) != 1 {
			t.Errorf("got %d ephemerals, %d messages", len(i.Ephemerals()), len(w.Messages(channel)))
		}
		again, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Minute + time.Second)
		if got := send(again.ResponseURL, map[string]any{"text": "late"}); got != http.StatusNotFound {
			t.Errorf("late: %d", got)
		}
		if got := send(strings.TrimSuffix(w.APIURL(), "api/")+"commands/T/1/x", map[string]any{"text": "x"}); got != http.StatusNotFound {
			t.Errorf("unknown: %d", got)
		}
		if got := len(w.Calls("response_url")); got != 10 {
			t.Errorf("logged %d calls", got)
		}
	})
}

// modal is a view with two inputs and a button.
func modal(title string) slack.ModalViewRequest {
	reason := slack.NewPlainTextInputBlockElement(plain("Why?"), "text")
	reason.MaxLength = 20
	cells := slack.NewOptionsSelectBlockElement("static_select", plain("Which?"), "pick",
		slack.NewOptionBlockObject("prod", plain("helios-prod"), nil), slack.NewOptionBlockObject("dev", plain("helios-dev"), nil))
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain(title), Submit: plain("Request"), Close: plain("Cancel"),
		CallbackID: "grant", PrivateMetadata: "opaque", NotifyOnClose: true,
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewInputBlock("cell", plain("Cell"), nil, cells),
			slack.NewInputBlock("reason", plain("Reason"), nil, reason),
			slack.NewActionBlock("more", slack.NewButtonBlockElement("help", "", plain("Help"))),
		}},
	}
}

// opener opens a modal for every slash command and answers submissions with what answer says.
func opener(t *testing.T, w *world, view slack.ModalViewRequest, answer func(slack.InteractionCallback) any) func(*app, socketmode.Event) {
	return func(a *app, e socketmode.Event) {
		switch c := e.Data.(type) {
		case slack.SlashCommand:
			ackWith(nil)(a, e)
			// Not the test's context: the test may see the modal and end before the answer is here.
			if _, err := w.api.OpenViewContext(context.Background(), c.TriggerID, view); err != nil {
				t.Error(err)
			}
		case slack.InteractionCallback:
			if got := answer(c); got != "silence" {
				ackWith(got)(a, e)
			}
		default:
			ackWith(nil)(a, e)
		}
	}
}

func TestModal_openFillSubmit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		var answer any
		w.run(opener(t, w, modal("Grant"), func(c slack.InteractionCallback) any {
			got = c
			return answer
		}))
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", "grant"); err != nil {
			t.Fatal(err)
		}
		v, err := w.ada.WaitModal(t.Context(), nil)
		if err != nil || v.Title != "Grant" || v.CallbackID != "grant" || v.RootID != v.ID || v.Hash == "" {
			t.Fatalf("got %+v, %v", v, err)
		}
		for _, c := range []struct {
			want   string
			values slacksim.Values
		}{
			{"is required", slacksim.Values{"cell": "prod"}},
			{"is too long", slacksim.Values{"cell": "prod", "reason": strings.Repeat("x", 21)}},
			{"no option", slacksim.Values{"cell": "test"}},
			{"no input", slacksim.Values{"colour": "red"}},
		} {
			if _, err := w.ada.Submit(t.Context(), v, c.values); !errors.Is(err, slacksim.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		}
		answer = slack.NewErrorsViewSubmissionResponse(map[string]string{"reason": "say more"})
		i, err := w.ada.Submit(t.Context(), v, slacksim.Values{"Cell": "helios-prod", "text": "node pool"})
		if err != nil || !i.Acked || i.Failure != "" {
			t.Fatal(i, err)
		}
		values := got.View.State.Values
		if got.Type != slack.InteractionTypeViewSubmission || got.View.ID != v.ID || got.View.PrivateMetadata != "opaque" ||
			got.Channel.ID != "" || got.ResponseURL != "" || values["cell"]["pick"].SelectedOption.Value != "prod" ||
			values["reason"]["text"].Value != "node pool" || got.User.ID != w.ada.ID() {
			t.Errorf("got %+v", got)
		}
		v, _ = w.ada.Modal()
		if !cmp.Equal(v.Errors, map[string]string{"reason": "say more"}) || !strings.Contains(w.RenderView(v), "(!) say more") {
			t.Errorf("got %s", w.RenderView(v))
		}
		answer = nil
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"reason": "stuck node pool"}); err != nil {
			t.Fatal(err)
		}
		if v, open := w.ada.Modal(); open {
			t.Errorf("still open: %+v", v)
		}
	})
}

func TestModal_answersOfSubmissions(t *testing.T) {
	fill := slacksim.Values{"cell": "prod", "reason": "x"}
	next, bad := modal("Next"), modal("Next")
	bad.Submit = nil
	for name, c := range map[string]struct {
		answer  any
		title   string // of the modal on top afterwards; "" for none
		failure string
	}{
		"nothing":             {nil, "", ""},
		"empty object":        {map[string]any{}, "", ""},
		"update":              {slack.NewUpdateViewSubmissionResponse(&next), "Next", ""},
		"push":                {slack.NewPushViewSubmissionResponse(&next), "Next", ""},
		"clear":               {slack.NewClearViewSubmissionResponse(), "", ""},
		"errors on no input":  {slack.NewErrorsViewSubmissionResponse(map[string]string{"more": "x"}), "Grant", "no input block more"},
		"no errors":           {slack.NewErrorsViewSubmissionResponse(nil), "Grant", "no errors"},
		"invalid update":      {slack.NewUpdateViewSubmissionResponse(&bad), "Grant", "missing required field: submit"},
		"unknown action":      {map[string]any{"response_action": "explode"}, "Grant", "explode"},
		"not an object":       {[]int{1}, "Grant", "not an object"},
		"no answer in 3 secs": {"silence", "Grant", "trouble connecting"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, slacksim.Options{})
				w.run(opener(t, w, modal("Grant"), func(slack.InteractionCallback) any { return c.answer }))
				if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil {
					t.Fatal(err)
				}
				v, err := w.ada.WaitModal(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				i, err := w.ada.Submit(t.Context(), v, fill)
				if err != nil || !strings.Contains(i.Failure, c.failure) || c.failure == "" && i.Failure != "" {
					t.Errorf("got %+v, %v", i, err)
				}
				top, open := w.ada.Modal()
				if open != (c.title != "") || top.Title != c.title || (top.Trouble != "") != (c.failure != "") {
					t.Errorf("got %+v", top)
				}
				if name == "push" && (top.PreviousID != v.ID || top.RootID != v.ID) || name == "update" && top.ID != v.ID {
					t.Errorf("got %+v", top)
				}
			})
		})
	}
}

func TestModal_triggersStackHashAndClosing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx := t.Context()
		var closed []bool
		w.run(func(a *app, e socketmode.Event) {
			ackWith(nil)(a, e)
			if c, ok := e.Data.(slack.InteractionCallback); ok && c.Type == slack.InteractionTypeViewClosed {
				closed = append(closed, c.IsCleared)
			}
		})
		trigger := func() string {
			i, err := w.ada.Slash(ctx, channel, "/breakglass", "")
			if err != nil {
				t.Fatal(err)
			}
			return i.TriggerID
		}
		_, err := w.api.OpenViewContext(ctx, "1.2.3", modal("x"))
		refused(t, err, "invalid_trigger_id")
		late := trigger()
		time.Sleep(3*time.Second + time.Millisecond)
		_, err = w.api.OpenViewContext(ctx, late, modal("x"))
		refused(t, err, "expired_trigger_id")

		first := trigger()
		view := modal("1")
		view.ExternalID = "one"
		opened, err := w.api.OpenViewContext(ctx, first, view)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.api.OpenViewContext(ctx, first, modal("x"))
		refused(t, err, "exchanged_trigger_id")
		_, err = w.api.OpenViewContext(ctx, trigger(), view)
		refused(t, err, "duplicate_external_id")

		updated, err := w.api.UpdateViewContext(ctx, view, "", opened.Hash, opened.ID)
		if err != nil || updated.ID != opened.ID || updated.Hash == opened.Hash {
			t.Fatal(updated, err)
		}
		_, err = w.api.UpdateViewContext(ctx, view, "", opened.Hash, opened.ID)
		refused(t, err, "hash_conflict")
		if _, err = w.api.UpdateViewContext(ctx, view, "one", "", ""); err != nil {
			t.Error(err)
		}
		_, err = w.api.UpdateViewContext(ctx, view, "", "", "V0NOBODY")
		refused(t, err, "not_found")

		push := func() error {
			v, _ := w.ada.Modal()
			i, err := w.ada.ClickIn(ctx, v, "help")
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.api.PushViewContext(ctx, i.TriggerID, modal("on top"))
			return err
		}
		if err := errors.Join(push(), push()); err != nil {
			t.Fatal(err)
		}
		refused(t, push(), "push_limit_reached")
		_, err = w.api.PushViewContext(ctx, trigger(), modal("x"))
		refused(t, err, "not_found")

		under, _ := w.ada.Modal()
		if _, err := w.ada.CloseModal(ctx, under); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.ClickIn(ctx, under, "help"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
		bottom, _ := w.ada.Modal()
		if bottom.PreviousID != opened.ID {
			t.Errorf("got %+v", bottom)
		}
		synctest.Wait()
		if !cmp.Equal(closed, []bool{false}) {
			t.Errorf("got %v", closed)
		}
	})
}

func TestModal_typedValuesStayWhereTheIDsStay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.InteractionCallback
		w.run(opener(t, w, modal("Grant"), func(c slack.InteractionCallback) any {
			got = c
			if c.Type == slack.InteractionTypeViewSubmission && c.View.Title.Text == "Grant" {
				v := modal("Again")
				v.Blocks.BlockSet[1].(*slack.InputBlock).BlockID = "reason-2"
				v.Blocks.BlockSet[1].(*slack.InputBlock).Optional = true
				return slack.NewUpdateViewSubmissionResponse(&v)
			}
			return nil
		}))
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil {
			t.Fatal(err)
		}
		v, err := w.ada.WaitModal(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "dev", "reason": "typed"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.Submit(t.Context(), v, nil); err != nil {
			t.Fatal(err)
		}
		values := got.View.State.Values
		if values["cell"]["pick"].SelectedOption.Value != "dev" || values["reason-2"]["text"].Value != "" || len(values) != 2 {
			t.Errorf("got %+v", values)
		}
	})
}

func TestHome_publishOpenClick(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx := t.Context()
		var got slack.InteractionCallback
		var opened []*slackevents.AppHomeOpenedEvent
		w.run(func(a *app, e socketmode.Event) {
			ackWith(nil)(a, e)
			switch d := e.Data.(type) {
			case slack.InteractionCallback:
				got = d
			case slackevents.EventsAPIEvent:
				opened = append(opened, d.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent))
			}
		})
		home := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewActionBlock("b", slack.NewButtonBlockElement("revoke", "1", plain("Revoke now"))),
		}}}
		publish := func(hash *string) (*slack.ViewResponse, error) {
			return w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: w.ada.ID(), View: home, Hash: hash})
		}
		if i, err := w.ada.OpenHome(ctx); err != nil || !i.Acked {
			t.Fatal(i, err)
		}
		first, err := publish(nil)
		if err != nil {
			t.Fatal(err)
		}
		second, err := publish(&first.Hash)
		if err != nil || second.ID != first.ID {
			t.Fatal(second, err)
		}
		_, err = publish(&first.Hash)
		refused(t, err, "hash_conflict")
		if _, err := w.ada.OpenHome(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.OpenMessages(ctx); err != nil {
			t.Fatal(err)
		}
		v, _ := w.ada.Home()
		i, err := w.ada.ClickIn(ctx, v, "Revoke")
		if err != nil || !i.Acked || i.ResponseURL != "" {
			t.Fatal(i, err)
		}
		synctest.Wait()
		if len(opened) != 3 || opened[0].View != nil || opened[1].View == nil || opened[2].Tab != "messages" {
			t.Errorf("got %+v", opened)
		}
		if got.Container.Type != "view" || got.Container.ViewID != v.ID || got.View.Hash != v.Hash || got.Channel.ID != "" || got.ResponseURL != "" {
			t.Errorf("got %+v", got)
		}
		_, err = w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: "U0000NOBODY", View: home})
		refused(t, err, "invalid_arguments")
		never := "1.never"
		_, err = w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: w.bob.ID(), View: home, Hash: &never})
		refused(t, err, "hash_conflict")
		w.EditUser(w.bob.ID(), func(u *slacksim.User) { u.Deleted = true })
		_, err = w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: w.bob.ID(), View: home})
		refused(t, err, "invalid_arguments")
		if _, err := w.bob.WaitHome(within(t, time.Second), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHome_switchedOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{NoHomeTab: true, NoMessagesTab: true})
		home := slack.HomeTabViewRequest{Type: slack.VTHomeTab}
		_, err := w.api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: w.ada.ID(), View: home})
		refused(t, err, "not_enabled")
		_, _, err = w.api.PostMessageContext(t.Context(), w.ada.ID(), text("x"))
		refused(t, err, "messages_tab_disabled")
		if _, err := w.ada.OpenHome(t.Context()); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
	})
}

func TestShortcuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got []slack.InteractionCallback
		w.run(onInteraction(func(c slack.InteractionCallback) { got = append(got, c) }))
		if i, err := w.ada.Shortcut(t.Context(), "ask"); err != nil || !i.Acked {
			t.Fatal(i, err)
		}
		m := post(t, w, text("x"))
		if i, err := w.ada.MessageShortcut(t.Context(), m, "about"); err != nil || !i.Acked {
			t.Fatal(i, err)
		}
		synctest.Wait()
		if got[0].Type != slack.InteractionTypeShortcut || got[0].CallbackID != "ask" || got[0].TriggerID == "" ||
			got[0].Channel.ID != "" || got[0].ResponseURL != "" || got[0].APIAppID != "" || got[0].User.TeamID != w.TeamID() ||
			got[1].Type != slack.InteractionTypeMessageAction || got[1].Channel.ID != channel || got[1].Message.Timestamp != m.TS || got[1].ResponseURL == "" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWait_saysWhatIsThereInstead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		post(t, w, text("something else"))
		start := time.Now()
		_, err := w.WaitMessage(t.Context(), channel, contains("Closed"))
		if err == nil || !strings.Contains(err.Error(), "something else") || time.Since(start) != time.Minute {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		go func() {
			time.Sleep(time.Hour)
			_, _, _ = w.api.PostMessageContext(t.Context(), w.ada.ID(), text("Closed"))
		}()
		if m, err := w.ada.WaitDM(within(t, 2*time.Hour), contains("Closed")); err != nil || m.Text != "Closed" {
			t.Error(m, err)
		}
	})
}

func TestChanges_tellTheStoryInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		m := post(t, w, text("one"))
		n := len(w.Changes(0))
		for _, s := range []string{"two", "three"} {
			if _, _, _, err := w.api.UpdateMessageContext(t.Context(), channel, m.TS, text(s)); err != nil {
				t.Fatal(err)
			}
		}
		w.DeleteMessage(channel, m.TS)
		var got []string
		for _, c := range w.Changes(n) {
			got = append(got, fmt.Sprint(c.Kind, " ", c.Message.Text))
		}
		if want := []string{"updated two", "updated three", "deleted three"}; !cmp.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}
