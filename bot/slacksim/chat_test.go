package slacksim_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"breakglass/bot/slacksim"
)

func text(s string) slack.MsgOption { return slack.MsgOptionText(s, false) }

func TestChat_postUpdateDeleteInBothTransports(t *testing.T) {
	story := func(t *testing.T, w *world) {
		ctx := t.Context()
		ch, ts, err := w.api.PostMessageContext(ctx, channel, card("*BG-1* needs a decision"))
		if err != nil || ch != channel {
			t.Fatal(ch, err)
		}
		m, ok := w.Message(channel, ts)
		if !ok || m.User != w.BotUserID() || m.Text != "*BG-1* needs a decision" || len(m.Blocks) != 3 {
			t.Fatalf("got %+v", m)
		}
		if b, err := m.Button("approve"); err != nil || b.Text != "Approve 4 h" || b.BlockID != "decide" || b.Value != "1" {
			t.Errorf("got %+v, %v", b, err)
		}
		if _, _, err := w.api.PostMessageContext(ctx, channel, text("in the thread"), slack.MsgOptionTS(ts)); err != nil {
			t.Fatal(err)
		}
		if th := w.Thread(channel, ts); len(th) != 1 || th[0].Text != "in the thread" {
			t.Errorf("got thread %+v", th)
		}
		link, err := w.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: channel, Ts: ts})
		if want := "https://acme.slack.com/archives/" + channel + "/p" + strings.ReplaceAll(ts, ".", ""); err != nil || link != want {
			t.Errorf("got %q, %v, want %q", link, err, want)
		}
		if _, _, _, err := w.api.UpdateMessageContext(ctx, channel, ts, text("closed")); err != nil {
			t.Fatal(err)
		}
		m, _ = w.Message(channel, ts)
		if m.Text != "closed" || m.Blocks != nil || m.Edits != 1 || !m.Edited {
			t.Errorf("got %+v, want the blocks gone", m)
		}
		if _, _, err := w.api.DeleteMessageContext(ctx, channel, ts); err != nil {
			t.Fatal(err)
		}
		if _, ok := w.Message(channel, ts); ok {
			t.Error("it is still there")
		}
		_, _, _, err = w.api.UpdateMessageContext(ctx, channel, ts, text("again"))
		refused(t, err, "message_not_found")
	}
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(t *testing.T) { story(t, newWorld(t, slacksim.Options{})) })
	})
	t.Run("tcp", func(t *testing.T) { story(t, newTCPWorld(t, slacksim.Options{})) })
}

func TestChat_refusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx := t.Context()
		w.AddUser(slacksim.User{ID: "U000000GONE", Deleted: true})
		w.AddChannel(slacksim.Channel{ID: "C000PRIVATE", Private: true, Without: true})
		w.AddChannel(slacksim.Channel{ID: "C0000PUBLIC", Without: true})
		w.AddChannel(slacksim.Channel{ID: "C00ARCHIVED", Archived: true})
		for channel, want := range map[string]string{
			"C0000NOBODY": "channel_not_found", "C000PRIVATE": "channel_not_found", "C0000PUBLIC": "not_in_channel",
			"C00ARCHIVED": "is_archived", "U0000NOBODY": "user_not_found", "U000000GONE": "channel_not_found",
			w.BotUserID(): "cannot_dm_bot",
		} {
			_, _, err := w.api.PostMessageContext(ctx, channel, text("x"))
			if r, ok := errors.AsType[slack.SlackErrorResponse](err); !ok || r.Err != want {
				t.Errorf("%s: got %v, want %s", channel, err, want)
			}
		}
		_, _, err := w.api.PostMessageContext(ctx, channel)
		refused(t, err, "no_text")

		human := w.ada.Say(channel, "mine")
		_, _, _, err = w.api.UpdateMessageContext(ctx, channel, human.TS, text("yours"))
		refused(t, err, "cant_update_message")
		_, _, err = w.api.DeleteMessageContext(ctx, channel, human.TS)
		refused(t, err, "cant_delete_message")

		_, dm, err := w.api.PostMessageContext(ctx, w.ada.ID(), text("hello"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = w.api.UpdateMessageContext(ctx, w.ada.ID(), dm, text("x"))
		refused(t, err, "channel_not_found")
		if _, _, _, err = w.api.UpdateMessageContext(ctx, w.DM(w.ada.ID()), dm, text("better")); err != nil {
			t.Fatal(err)
		}
		if got := w.ada.DMs(); len(got) != 1 || got[0].Text != "better" || !strings.HasPrefix(got[0].Channel, "D") {
			t.Errorf("got %+v", got)
		}

		_, ts, err := w.api.PostMessageContext(ctx, channel, text(strings.Repeat("é", 40_001)))
		if m, _ := w.Message(channel, ts); err != nil || len([]rune(m.Text)) != 40_000 {
			t.Errorf("got %d characters, %v", len([]rune(m.Text)), err)
		}
		_, _, _, err = w.api.UpdateMessageContext(ctx, channel, ts, text(strings.Repeat("é", 4_001)))
		refused(t, err, "msg_too_long")
		if _, _, _, err = w.api.UpdateMessageContext(ctx, channel, ts, text(strings.Repeat("é", 4_000))); err != nil {
			t.Error(err)
		}
	})
}

func TestChat_aReplyWhoseParentIsGoneStandsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		_, ts, err := w.api.PostMessageContext(t.Context(), channel, text("parent"))
		if err != nil {
			t.Fatal(err)
		}
		w.DeleteMessage(channel, ts)
		_, _, m, err := w.api.PostMessageWithResponseContext(t.Context(), channel, text("child"), slack.MsgOptionTS(ts))
		if err != nil || m.ThreadTimestamp != "" {
			t.Errorf("got thread %q, %v", m.ThreadTimestamp, err)
		}
	})
}

func TestChat_ephemeralGoesToMembersOnlyAndCannotBeUpdated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.AddUser(slacksim.User{ID: "U00OUTSIDER"})
		ts, err := w.api.PostEphemeralContext(t.Context(), channel, w.ada.ID(), text("only you"))
		if err != nil {
			t.Fatal(err)
		}
		if e := w.ada.Ephemerals(); len(e) != 1 || e[0].Text != "only you" || e[0].TS != ts {
			t.Errorf("got %+v", e)
		}
		if e := w.bob.Ephemerals(); e != nil || w.Messages(channel) != nil {
			t.Error("somebody else sees it")
		}
		_, _, _, err = w.api.UpdateMessageContext(t.Context(), channel, ts, text("x"))
		refused(t, err, "message_not_found")
		_, err = w.api.PostEphemeralContext(t.Context(), channel, "U00OUTSIDER", text("x"))
		refused(t, err, "user_not_in_channel")
	})
}

func TestChat_metadataStaysUnlessGiven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		meta := slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "grant", EventPayload: map[string]any{"id": "BG-1"}})
		_, ts, err := w.api.PostMessageContext(t.Context(), channel, text("a"), meta)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := w.api.UpdateMessageContext(t.Context(), channel, ts, card("b")); err != nil {
			t.Fatal(err)
		}
		m, _ := w.Message(channel, ts)
		if !strings.Contains(string(m.Metadata), "BG-1") || m.Edited || m.Edits != 1 {
			t.Errorf("got %s, edited %v", m.Metadata, m.Edited)
		}
	})
}

func TestChat_schedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx, now := t.Context(), time.Now()
		at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
		post := func(d time.Duration, more ...slack.MsgOption) error {
			_, _, err := w.api.ScheduleMessageContext(ctx, channel, at(d), append(more, text("later"))...)
			return err
		}
		refused(t, post(-time.Hour), "time_in_past")
		refused(t, post(121*24*time.Hour), "time_too_far")
		if err := post(time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := post(time.Hour, slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "x", EventPayload: map[string]any{}})); err != nil {
			t.Fatal(err)
		}
		for range 28 {
			if err := post(time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, post(time.Hour), "restricted_too_many")
		time.Sleep(time.Hour + time.Second)
		if got := len(w.Messages(channel)); got != 29 {
			t.Errorf("got %d messages, want all but the one with metadata", got)
		}
	})
}

func TestAPI_tokensAndScopes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: []string{"commands", "chat:write", "channels:read"}})
		ctx := t.Context()
		got, err := w.api.AuthTestContext(ctx)
		if err != nil || got.TeamID != w.TeamID() || got.UserID != w.BotUserID() || got.BotID == "" {
			t.Fatalf("got %+v, %v", got, err)
		}
		_, err = w.api.GetUserInfoContext(ctx, w.ada.ID())
		if r := refused(t, err, "missing_scope"); r.Needed != "users:read" || r.Provided != "commands,chat:write,channels:read" {
			t.Errorf("got needed %q provided %q", r.Needed, r.Provided)
		}
		_, _, _, err = w.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{w.ada.ID()}})
		refused(t, err, "missing_scope")

		try := func(token string) error {
			_, err := slack.New(token, slack.OptionAPIURL(w.APIURL()), slack.OptionHTTPClient(w.HTTPClient())).AuthTestContext(ctx)
			return err
		}
		refused(t, try(""), "not_authed")
		refused(t, try("xoxb-stranger"), "invalid_auth")
		refused(t, try(w.AppToken()), "not_allowed_token_type")
		w.BreakToken(w.BotToken(), "token_revoked")
		refused(t, try(w.BotToken()), "token_revoked")
		w.BreakToken(w.BotToken(), "")
		if err := try(w.BotToken()); err != nil {
			t.Error(err)
		}
		wrong := slack.New(w.BotToken(), slack.OptionAppLevelToken(w.BotToken()), slack.OptionAPIURL(w.APIURL()), slack.OptionHTTPClient(w.HTTPClient()))
		_, _, err = wrong.StartSocketModeContext(ctx)
		refused(t, err, "not_allowed_token_type")
		_, err = w.api.GetEmojiContext(ctx)
		refused(t, err, "unknown_method")
	})
}

func TestAPI_peopleGroupsAndChannels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{EnterpriseID: "E0000000001", EnterpriseName: "Acme Corp"})
		ctx := t.Context()
		for _, u := range []slacksim.User{
			{ID: "U000MULTI", Guest: slacksim.MultiChannelGuest},
			{ID: "U00SINGLE", Guest: slacksim.SingleChannelGuest},
			{ID: "U0DELETED", Deleted: true},
			{ID: "U00000BOT", Bot: true},
			{ID: "U0INVITED", Invited: true},
			{ID: "USTRANGER", Stranger: true},
			{ID: "U0000ADMN", Admin: true, EnterpriseUserID: "W0001", Email: "a@example.com"},
		} {
			w.AddUser(u)
		}
		type row struct {
			Guest, Single, Deleted, Bot, Invited, Stranger, Admin, Ours bool
			Enterprise, Email                                           string
		}
		want := map[string]row{
			"U000MULTI": {Guest: true, Ours: true}, "U00SINGLE": {Guest: true, Single: true, Ours: true},
			"U0DELETED": {Deleted: true, Ours: true}, "U00000BOT": {Bot: true, Ours: true},
			"U0INVITED": {Invited: true, Ours: true}, "USTRANGER": {Stranger: true}, "USLACKBOT": {Ours: true},
			"U0000ADMN": {Admin: true, Ours: true, Enterprise: "W0001"},
		}
		got := map[string]row{}
		for id := range want {
			u, err := w.api.GetUserInfoContext(ctx, id)
			if err != nil {
				t.Fatal(id, err)
			}
			got[id] = row{
				u.IsRestricted, u.IsUltraRestricted, u.Deleted, u.IsBot, u.IsInvitedUser, u.IsStranger, u.IsAdmin,
				u.TeamID == w.TeamID(), u.Enterprise.ID, u.Profile.Email,
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		_, err := w.api.GetUserInfoContext(ctx, "U0000NOBODY")
		refused(t, err, "user_not_found")

		g := w.AddUserGroup(slacksim.UserGroup{Handle: "oncall", Members: []string{w.ada.ID(), "U0DELETED"}})
		if m, err := w.api.GetUserGroupMembersContext(ctx, g); err != nil || !cmp.Equal(m, []string{w.ada.ID(), "U0DELETED"}) {
			t.Error(m, err)
		}
		w.EditUserGroup(g, func(g *slacksim.UserGroup) { g.Disabled = true })
		_, err = w.api.GetUserGroupMembersContext(ctx, g)
		refused(t, err, "no_such_subteam")
		if m, err := w.api.GetUserGroupMembersContext(ctx, g, slack.GetUserGroupMembersOptionIncludeDisabled(true)); err != nil || len(m) != 2 {
			t.Error(m, err)
		}
		groups, err := w.api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeDisabled(true), slack.GetUserGroupsOptionIncludeUsers(true))
		if err != nil || len(groups) != 1 || groups[0].Handle != "oncall" || groups[0].DateDelete == 0 || len(groups[0].Users) != 2 {
			t.Error(groups, err)
		}
		defer w.Inject(slacksim.Fault{Method: "usergroups.users.list", Answer: slacksim.Refuse("permission_denied")})()
		_, err = w.api.GetUserGroupMembersContext(ctx, g)
		refused(t, err, "permission_denied")

		w.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared, c.PendingExtShared = true, true })
		c, err := w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
		if err != nil || !c.IsExtShared || !c.IsPendingExtShared || !c.IsShared || c.Name != "ops" {
			t.Errorf("got %+v, %v", c, err)
		}
		members, _, err := w.api.GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{ChannelID: channel})
		if err != nil || len(members) != 3 {
			t.Error(members, err)
		}
	})
}

func TestLimits_perMethodAndPerChannel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{Limits: slacksim.RateLimits{ChannelBurst: 3}})
		post := func() error {
			_, _, err := w.api.PostMessageContext(t.Context(), channel, text("x"))
			return err
		}
		for range 3 {
			if err := post(); err != nil {
				t.Fatal(err)
			}
		}
		limited, ok := errors.AsType[*slack.RateLimitedError](post())
		if !ok || limited.RetryAfter != time.Second {
			t.Fatalf("got %+v, want a second", limited)
		}
		time.Sleep(limited.RetryAfter)
		if err := post(); err != nil {
			t.Error(err)
		}

		list := func() error {
			_, err := w.api.GetUserGroupsContext(t.Context())
			return err
		}
		for range 20 {
			if err := list(); err != nil {
				t.Fatal(err)
			}
		}
		if limited, ok := errors.AsType[*slack.RateLimitedError](list()); !ok || limited.RetryAfter != 3*time.Second {
			t.Errorf("got %v, want 3 s: tier 2 is 20 a minute", limited)
		}
		w.SetRateLimits(slacksim.RateLimits{Off: true})
		for range 100 {
			if err := list(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFaults(t *testing.T) {
	posts := func(t *testing.T, f slacksim.Fault) (visible int, after time.Duration, err error) {
		t.Helper()
		w := newWorld(t, slacksim.Options{})
		f.Method = "chat.postMessage"
		w.Inject(f)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, _, err = w.api.PostMessageContext(ctx, channel, text("x"))
		return len(w.Messages(channel)), time.Since(start), err
	}
	for name, c := range map[string]struct {
		fault   slacksim.Fault
		err     string // part of the error; "" for none
		visible int
		after   time.Duration
	}{
		"refused before":  {slacksim.Fault{Answer: slacksim.Refuse("internal_error")}, "internal_error", 0, 0},
		"refused after":   {slacksim.Fault{Done: true, Answer: slacksim.Refuse("internal_error")}, "internal_error", 1, 0},
		"dropped before":  {slacksim.Fault{Answer: slacksim.Drop()}, "EOF", 0, 0},
		"dropped after":   {slacksim.Fault{Done: true, Answer: slacksim.Drop()}, "EOF", 1, 0},
		"503":             {slacksim.Fault{Answer: slacksim.Status(503)}, "503", 0, 0},
		"a page":          {slacksim.Fault{Answer: slacksim.Page()}, "invalid character '<'", 0, 0},
		"no error":        {slacksim.Fault{Answer: slacksim.RefuseSilently()}, "", 0, 0},
		"rate limited":    {slacksim.Fault{Answer: slacksim.RateLimited(7 * time.Second)}, "retry after 7s", 0, 0},
		"slow":            {slacksim.Fault{Delay: 2 * time.Second, DelayAnswer: time.Second}, "", 1, 3 * time.Second},
		"hangs":           {slacksim.Fault{Answer: slacksim.Hang()}, "deadline exceeded", 0, 10 * time.Second},
		"done, and hangs": {slacksim.Fault{Done: true, Answer: slacksim.Hang()}, "deadline exceeded", 1, 10 * time.Second},
		"later":           {slacksim.Fault{Skip: 1, Answer: slacksim.Drop()}, "", 1, 0},
		"not this one":    {slacksim.Fault{When: func(c slacksim.Call) bool { return c.Args["text"] != "x" }, Answer: slacksim.Drop()}, "", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				visible, after, err := posts(t, c.fault)
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				if visible != c.visible || after != c.after {
					t.Errorf("got %d messages after %s, want %d after %s", visible, after, c.visible, c.after)
				}
			})
		})
	}
}

func TestFaults_timesRemovalAndLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		remove := w.Inject(slacksim.Fault{Times: 2, Answer: slacksim.Status(500)})
		for i := range 4 {
			_, err := w.api.AuthTestContext(t.Context())
			if (err != nil) != (i < 2) {
				t.Errorf("call %d: %v", i, err)
			}
		}
		remove()
		w.ClearFaults()
		calls := w.Calls("auth.test")
		var got []string
		for _, c := range calls {
			got = append(got, fmt.Sprintf("%d %s %t", c.Status, c.Error, c.Faulty))
		}
		if want := []string{"500 500 true", "500 500 true", "200  false", "200  false"}; !cmp.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if _, ok := calls[0].Args["token"]; ok {
			t.Error("the log keeps tokens")
		}
	})
}

func TestSetDown_nothingConnectsAndNothingIsLost(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *world{
		"memory": func(t *testing.T) *world { return newWorld(t, slacksim.Options{}) },
		"tcp":    func(t *testing.T) *world { return newTCPWorld(t, slacksim.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := make(t)
			if _, _, err := w.api.PostMessageContext(t.Context(), channel, text("before")); err != nil {
				t.Fatal(err)
			}
			w.SetDown(true)
			if _, err := w.api.AuthTestContext(t.Context()); err == nil {
				t.Error("it answers")
			}
			w.SetDown(false)
			if _, err := w.api.AuthTestContext(t.Context()); err != nil {
				t.Error(err)
			}
			if len(w.Messages(channel)) != 1 {
				t.Error("lost")
			}
		})
	}
}

// Without the scope commands an app has neither commands nor shortcuts.
func TestCommands_needTheirScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: []string{"chat:write"}})
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", "help"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("a command without its scope: %v", err)
		}
		if _, err := w.ada.Shortcut(t.Context(), "grant"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("a shortcut without the scope of commands: %v", err)
		}
	})
}
