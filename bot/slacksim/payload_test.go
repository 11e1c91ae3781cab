package slacksim_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

// The envelopes below are Slack's, from the documentation of Socket Mode and the fixtures of
// github.com/slackapi/python-slack-sdk, with the values replaced and the blocks left out.
const (
	slashFixture = `{"envelope_id":"x","type":"slash_commands","accepts_response_payload":true,
 "payload":{"token":"v","team_id":"T111","team_domain":"xxx","channel_id":"C111","channel_name":"random","user_id":"U111",
 "user_name":"testxyz","command":"/breakglass","text":"grant","api_app_id":"A111","is_enterprise_install":"false",
 "response_url":"https://hooks.slack.com/commands/T111/111/xxx","trigger_id":"111.222.xxx"}}`
	eventFixture = `{"envelope_id":"x","type":"events_api","accepts_response_payload":false,"retry_attempt":0,"retry_reason":"",
 "payload":{"token":"v","team_id":"T111","api_app_id":"A111","type":"event_callback","event_id":"Ev111","event_time":1610241741,
 "event":{"type":"app_home_opened","user":"U1","channel":"D1","event_ts":"1","tab":"home"},
 "authorizations":[{"enterprise_id":null,"team_id":"T111","user_id":"U222","is_bot":true,"is_enterprise_install":false}],
 "is_ext_shared_channel":false,"event_context":"1"}}`
	clickFixture = `{"envelope_id":"x","type":"interactive","accepts_response_payload":false,
 "payload":{"type":"block_actions","user":{"id":"U1","username":"u","name":"u","team_id":"T111"},"api_app_id":"A111","token":"v",
 "container":{"type":"message","message_ts":"1548261231.000200","channel_id":"C1","is_ephemeral":false},
 "trigger_id":"1.2.x","team":{"id":"T111","domain":"x"},"enterprise":null,"is_enterprise_install":false,
 "channel":{"id":"C1","name":"ops"},"state":{"values":{}},"response_url":"https://hooks.slack.com/actions/T111/1/x",
 "actions":[{"action_id":"approve","block_id":"b1","text":{"type":"plain_text","text":"x"},"value":"1","style":"primary",
 "type":"button","action_ts":"1548426417.840180"}]}}`
	submitFixture = `{"envelope_id":"x","type":"interactive","accepts_response_payload":true,
 "payload":{"type":"view_submission","team":{"id":"T111","domain":"x"},"user":{"id":"U1","username":"u","name":"u","team_id":"T111"},
 "api_app_id":"A111","token":"v","trigger_id":"1","response_urls":[],"is_enterprise_install":false,"enterprise":null}}`
	viewFixture = `{"id":"V1","team_id":"T111","type":"modal","callback_id":"grant","private_metadata":"x",
 "hash":"156663117.cd33ad1f","root_view_id":"V1","previous_view_id":null,"app_id":"A111","external_id":"",
 "app_installed_team_id":"T111","bot_id":"B1","clear_on_close":false,"notify_on_close":true}`

	// From the fixtures of github.com/slackapi/bolt-python and, for message_action, from a recorded payload.
	closedFixture = `{"type":"view_closed","team":{"id":"T111","domain":"x"},"user":{"id":"W111","username":"x","name":"x","team_id":"T111"},
 "api_app_id":"A111","token":"v","is_cleared":false,"is_enterprise_install":false,"enterprise":null}`
	suggestionFixture = `{"type":"block_suggestion","user":{"id":"W111","username":"x","name":"x","team_id":"T111"},
 "container":{"type":"view","view_id":"V111"},"api_app_id":"A111","token":"v","action_id":"es_a","block_id":"es_b","value":"x",
 "team":{"id":"T111","domain":"x"},"is_enterprise_install":false,"enterprise":null}`
	shortcutFixture = `{"type":"shortcut","token":"v","action_ts":"111.111","team":{"id":"T111","domain":"x"},
 "user":{"id":"W111","username":"x","team_id":"T111"},"callback_id":"x","trigger_id":"1","is_enterprise_install":false,"enterprise":null}`
	messageShortcutFixture = `{"type":"message_action","token":"v","action_ts":"1.1","team":{"id":"T111","domain":"x"},
 "user":{"id":"U1","username":"x","team_id":"T111","name":"x"},"channel":{"id":"C1","name":"x"},"is_enterprise_install":false,
 "enterprise":null,"callback_id":"x","trigger_id":"1","response_url":"https://hooks.slack.com/app/T/1/x","message_ts":"1.1"}`
	homeClickFixture = `{"type":"block_actions","user":{"id":"U1","username":"u","name":"u","team_id":"T111"},"api_app_id":"A111",
 "token":"v","container":{"type":"view","view_id":"V111"},"trigger_id":"1","team":{"id":"T111","domain":"x"},"enterprise":null,
 "is_enterprise_install":false,"actions":[{"action_id":"a","block_id":"b","text":{"type":"plain_text","text":"x"},"value":"1",
 "type":"button","action_ts":"1.1"}]}`
	ephemeralClickFixture = `{"type":"block_actions","user":{"id":"U1","username":"u","name":"u","team_id":"T111"},"api_app_id":"A111",
 "token":"v","container":{"type":"message","message_ts":"1.1","channel_id":"C1","is_ephemeral":true},"trigger_id":"1",
 "team":{"id":"T111","domain":"x"},"enterprise":null,"is_enterprise_install":false,"channel":{"id":"C1","name":"x"},
 "state":{"values":{}},"response_url":"https://hooks.slack.com/actions/T111/1/x","actions":[{"action_id":"approve","block_id":"b",
 "text":{"type":"plain_text","text":"x"},"value":"1","style":"primary","type":"button","action_ts":"1.1"}]}`
)

func TestPayloads_haveSlacksShape(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		conn := dial(t, w, "")
		var got [][]byte
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				_, raw, err := conn.ReadMessage()
				if err != nil {
					return
				}
				got = append(got, raw)
				var f socketmode.Request
				if json := mustUnmarshal(t, raw, &f); json && f.EnvelopeID != "" {
					_ = conn.WriteJSON(map[string]string{"envelope_id": f.EnvelopeID})
				}
			}
		}()
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "grant")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.OpenHome(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.ada.Click(t.Context(), post(t, w, card("x")), "approve"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.api.OpenViewContext(t.Context(), i.TriggerID, modal("x")); err != nil {
			t.Fatal(err)
		}
		v, _ := w.ada.Modal()
		if _, err := w.ada.Submit(t.Context(), v, slacksim.Values{"cell": "prod", "reason": "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = conn.Close()
		<-read
		only := func(raw []byte, without string) map[string]string {
			shape := shapeOfJSON(t, raw)
			for k := range shape {
				if without != "" && strings.HasPrefix(k, without) || k == ".payload.actions[].text.emoji" {
					delete(shape, k)
				}
			}
			return shape
		}
		for n, c := range []struct{ fixture, without string }{
			{slashFixture, ""}, {eventFixture, ""}, {clickFixture, ".payload.message"}, {submitFixture, ".payload.view."},
		} {
			if d := cmp.Diff(shapeOfJSON(t, []byte(c.fixture)), only(got[n+1], c.without)); d != "" {
				t.Errorf("envelope %d: %s", n, d)
			}
		}
		var submitted struct {
			Payload struct{ View map[string]any }
		}
		mustUnmarshal(t, got[4], &submitted)
		view := submitted.Payload.View
		if view["state"].(map[string]any)["values"].(map[string]any)["reason"].(map[string]any)["text"].(map[string]any)["value"] != "x" {
			t.Errorf("got state %v", view["state"])
		}
		for _, k := range []string{"state", "blocks", "title", "submit", "close"} {
			delete(view, k)
		}
		if d := cmp.Diff(shapeOfJSON(t, []byte(viewFixture)), shapeOfJSON(t, asJSON(t, view))); d != "" {
			t.Error(d)
		}
	})
}

func TestPayloads_ofEveryOtherAct(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		got := map[string][]byte{}
		var last []byte
		w.run(func(a *app, e socketmode.Event) {
			if e.Request != nil && e.Type == socketmode.EventTypeInteractive {
				last = e.Request.Payload
			}
			ackWith(nil)(a, e)
		})
		ctx := t.Context()
		did := func(name string) func(slacksim.Interaction, error) {
			return func(i slacksim.Interaction, err error) {
				t.Helper()
				if err != nil || !i.Acked {
					t.Fatal(name, i, err)
				}
				synctest.Wait()
				got[name] = last
			}
		}
		did("shortcut")(w.ada.Shortcut(ctx, "ask"))
		did("message shortcut")(w.ada.MessageShortcut(ctx, post(t, w, text("x")), "about"))
		home := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewActionBlock("b", slack.NewButtonBlockElement("revoke", "1", plain("Revoke now"))),
		}}}
		if _, err := w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: w.ada.ID(), View: home}); err != nil {
			t.Fatal(err)
		}
		v, _ := w.ada.Home()
		did("home click")(w.ada.ClickIn(ctx, v, "revoke"))
		if _, err := w.api.PostEphemeralContext(ctx, channel, w.ada.ID(), card("sure?")); err != nil {
			t.Fatal(err)
		}
		did("ephemeral click")(w.ada.Click(ctx, w.ada.Ephemerals()[0], "approve"))
		i, err := w.ada.Slash(ctx, channel, "/breakglass", "")
		if err != nil {
			t.Fatal(err)
		}
		external := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, nil, "menu")
		view := form(slack.NewInputBlock("in", plain("In"), nil, external))
		view.NotifyOnClose = true
		if _, err := w.api.OpenViewContext(ctx, i.TriggerID, view); err != nil {
			t.Fatal(err)
		}
		v, _ = w.ada.Modal()
		_, i, err = w.ada.SuggestIn(ctx, v, "menu", "abc")
		did("suggestion")(i, err)
		did("closed")(w.ada.CloseModal(ctx, v))
		for name, c := range map[string]struct{ fixture, without string }{
			"shortcut": {shortcutFixture, ""}, "message shortcut": {messageShortcutFixture, ".message."},
			"home click": {homeClickFixture, ".view."}, "ephemeral click": {ephemeralClickFixture, ""},
			"suggestion": {suggestionFixture, ".view."}, "closed": {closedFixture, ".view."},
		} {
			shape := shapeOfJSON(t, got[name])
			for k := range shape {
				if c.without != "" && strings.HasPrefix(k+".", c.without) || k == ".actions[].text.emoji" {
					delete(shape, k)
				}
			}
			if d := cmp.Diff(shapeOfJSON(t, []byte(c.fixture)), shape); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	})
}

func TestEvents_ofAnyKind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared = true })
		a := w.run(ackWith(nil))
		for _, event := range []map[string]any{
			{"type": "app_mention", "user": w.ada.ID(), "text": "<@" + w.BotUserID() + "> hello", "ts": "1.1", "channel": channel, "event_ts": "1.1"},
			{"type": "member_joined_channel", "user": w.bob.ID(), "channel": channel, "channel_type": "C", "team": w.TeamID()},
			{"type": "member_left_channel", "user": w.bob.ID(), "channel": channel, "channel_type": "C", "team": w.TeamID()},
		} {
			if i, err := w.Event(t.Context(), event); err != nil || !i.Acked || i.Kind != event["type"] {
				t.Errorf("got %+v, %v", i, err)
			}
		}
		synctest.Wait()
		events := a.seen(socketmode.EventTypeEventsAPI)
		if len(events) != 3 {
			t.Fatalf("got %d events", len(events))
		}
		for n, want := range []string{"app_mention", "member_joined_channel", "member_left_channel"} {
			e := events[n].Data.(slackevents.EventsAPIEvent)
			if e.InnerEvent.Type != want || e.TeamID != w.TeamID() || !strings.Contains(string(events[n].Request.Payload), `"is_ext_shared_channel":true`) {
				t.Errorf("got %+v", e)
			}
		}
	})
}

func TestAPI_tellsScopesAndTakesTheAppTokenFromTheHeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: []string{"commands", "chat:write"}})
		call := func(method, token string, inHeader bool) (http.Header, string) {
			body := ""
			if !inHeader {
				body = "token=" + token
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.APIURL()+method, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if inHeader {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			resp, err := w.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.Header, string(raw)
		}
		if h, _ := call("users.info", w.BotToken(), false); h.Get("X-OAuth-Scopes") != "commands,chat:write" || h.Get("X-Accepted-OAuth-Scopes") != "users:read" {
			t.Errorf("got %v", h)
		}
		if h, _ := call("auth.test", "xoxb-stranger", true); h.Get("X-OAuth-Scopes") != "" {
			t.Errorf("got %v", h)
		}
		if _, body := call("apps.connections.open", w.AppToken(), false); !strings.Contains(body, "not_authed") {
			t.Errorf("got %s for an app-level token in the body", body)
		}
		if _, body := call("apps.connections.open", w.AppToken(), true); !strings.Contains(body, `"ok":true`) {
			t.Errorf("got %s", body)
		}
	})
}

func TestAPI_formsAndJSONTokensEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		h := w.HTTPClient()
		call := func(method, contentType, bearer, body string) string {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.APIURL()+method, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", contentType)
			if bearer != "" {
				req.Header.Set("Authorization", "Bearer "+bearer)
			}
			resp, err := h.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
				t.Errorf("%s: content type %s", method, ct)
			}
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var answer struct {
				OK    bool
				Error string
			}
			mustUnmarshal(t, raw, &answer)
			if answer.OK {
				return "ok"
			}
			return answer.Error
		}
		const form, json = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
		token, to := w.BotToken(), `"channel":"`+channel+`"`
		for _, c := range []struct{ method, contentType, bearer, body, want string }{
			{"auth.test", form, "", "token=" + token, "ok"},
			{"auth.test", form, token, "", "ok"},
			{"auth.test", json, "", `{"token":"` + token + `"}`, "ok"},
			{"auth.test?token=" + token, form, "", "", "not_authed"},
			{"chat.postMessage", json, token, `{` + to + `,"text":"a","blocks":[{"type":"divider"}]}`, "ok"},
			{"chat.postMessage", json, token, `{` + to + `,"text":"a","blocks":"[{\"type\":\"divider\"}]"}`, "ok"},
			{"chat.postMessage", json, token, `{` + to + `,"text":"a","metadata":{"event_type":"x","event_payload":{}}}`, "ok"},
			{"chat.postMessage", form, token, "channel=" + channel + "&blocks=%5B%7B%22type%22%3A%22divider%22%7D%5D", "ok"},
			{"chat.postMessage", form, token, "channel=" + channel + "&blocks=%7B", "invalid_blocks_format"},
			{"chat.postMessage", form, token, "channel=" + channel + "&text=a&metadata=x", "invalid_metadata_format"},
			{"chat.postMessage", json, token, `{` + to + `,"text":"a","metadata":{"event_type":"x","event_payload":[]}}`, "invalid_metadata_schema"},
			{"chat.postMessage", json, token, `{`, "invalid_json"},
			{"chat.postMessage", json, token, `[]`, "json_not_object"},
			{"chat.postMessage", "text/plain", token, `x`, "invalid_post_type"},
			{"apps.connections.open", json, w.AppToken(), "", "ok"},
			{"chat.nonsense", json, token, "", "unknown_method"},
		} {
			if got := call(c.method, c.contentType, c.bearer, c.body); got != c.want {
				t.Errorf("%s %s: got %s, want %s", c.method, c.body, got, c.want)
			}
		}
		calls := w.Calls("chat.postMessage")
		if calls[0].Args["blocks"] != `[{"type":"divider"}]` || calls[0].Args["channel"] != channel {
			t.Errorf("got %+v", calls[0].Args)
		}
		for _, c := range w.Calls("") {
			for k, v := range c.Args {
				if strings.Contains(v, "xoxb-") {
					t.Errorf("the log keeps a token in %s of %s", k, c.Method)
				}
			}
		}
	})
}

func TestConversationsOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: []string{"chat:write", "im:write", "im:read", "chat:write.public"}})
		w.AddUser(slacksim.User{ID: "U0DELETED", Deleted: true})
		open := func(users ...string) (*slack.Channel, error) {
			c, _, _, err := w.api.OpenConversationContext(t.Context(), &slack.OpenConversationParameters{Users: users, ReturnIM: true})
			return c, err
		}
		c, err := open(w.ada.ID())
		if err != nil || c.ID != w.DM(w.ada.ID()) || !c.IsIM || c.User != w.ada.ID() {
			t.Errorf("got %+v, %v", c, err)
		}
		info, err := w.api.GetConversationInfoContext(t.Context(), &slack.GetConversationInfoInput{ChannelID: c.ID})
		if err != nil || !info.IsIM {
			t.Errorf("got %+v, %v", info, err)
		}
		_, err = open("U0000NOBODY")
		refused(t, err, "user_not_found")
		_, err = open("U0DELETED")
		refused(t, err, "user_disabled")
		w.EditChannel(channel, func(c *slacksim.Channel) { c.Without = true })
		if _, _, err := w.api.PostMessageContext(t.Context(), channel, text("x")); err != nil {
			t.Errorf("chat:write.public posts anywhere: %v", err)
		}
	})
}

func TestScheduledMessages_listAndDelete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		_, id, err := w.api.ScheduleMessageContext(t.Context(), channel, "4102444800", text("x"))
		if err == nil {
			t.Fatalf("got %s: that is more than 120 days away", id)
		}
		_, id, err = w.api.ScheduleMessageContext(t.Context(), channel, "946688400", text("x")) // An hour into the bubble.
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := w.api.GetScheduledMessagesContext(t.Context(), &slack.GetScheduledMessagesParameters{Channel: channel})
		if err != nil || len(list) != 1 || list[0].ID != id {
			t.Fatal(list, err)
		}
		params := &slack.DeleteScheduledMessageParameters{Channel: channel, ScheduledMessageID: id}
		if ok, err := w.api.DeleteScheduledMessageContext(t.Context(), params); !ok || err != nil {
			t.Error(ok, err)
		}
		_, err = w.api.DeleteScheduledMessageContext(t.Context(), params)
		refused(t, err, "invalid_scheduled_message_id")
	})
}
