package slacksim_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"breakglass/bot/slacksim"
)

func TestHistory_findsAPostWhoseAnswerWasLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: append([]string{"channels:history"}, slacksim.DefaultBotScopes...)})
		before := time.Now()
		time.Sleep(time.Minute)
		w.ada.Say(channel, "hello")
		w.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Done: true, Answer: slacksim.Drop()})
		meta := slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "grant", EventPayload: map[string]any{"id": "BG-1"}})
		if _, _, err := w.api.PostMessageContext(t.Context(), channel, card("x"), meta); err == nil {
			t.Fatal("the answer was not lost")
		}
		read := func(all bool) []slack.Message {
			got, err := w.api.GetConversationHistoryContext(t.Context(), &slack.GetConversationHistoryParameters{
				ChannelID: channel, Oldest: fmt.Sprint(before.Unix()), IncludeAllMetadata: all,
			})
			if err != nil {
				t.Fatal(err)
			}
			return got.Messages
		}
		list := read(true)
		if len(list) != 2 || list[0].Metadata.EventPayload["id"] != "BG-1" || list[0].BotID == "" || list[1].Text != "hello" {
			t.Fatalf("got %+v", list)
		}
		if list := read(false); list[0].Metadata.EventType != "grant" || list[0].Metadata.EventPayload != nil {
			t.Errorf("got %+v without include_all_metadata", list[0].Metadata)
		}
		if _, _, _, err := w.api.UpdateMessageContext(t.Context(), channel, list[0].Timestamp, card("y"),
			slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "grant", EventPayload: map[string]any{"id": "BG-2"}})); err != nil {
			t.Fatal(err)
		}
		if list := read(true); list[0].Metadata.EventPayload["id"] != "BG-2" {
			t.Errorf("got %+v", list[0].Metadata)
		}
	})
}

func TestHistory_spansPagesAndThreads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{BotScopes: []string{"channels:history", "chat:write"}})
		ctx := t.Context()
		var posted []slacksim.Message
		for n := range 5 {
			posted = append(posted, w.ada.Say(channel, fmt.Sprint(n)))
			time.Sleep(time.Second)
		}
		for _, s := range []string{"a", "b", "c"} {
			if _, _, err := w.api.PostMessageContext(ctx, channel, text(s), slack.MsgOptionTS(posted[1].TS)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		read := func(p slack.GetConversationHistoryParameters) string {
			p.ChannelID = channel
			got = nil
			for {
				h, err := w.api.GetConversationHistoryContext(ctx, &p)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range h.Messages {
					got = append(got, m.Text)
				}
				if p.Cursor = h.ResponseMetaData.NextCursor; h.HasMore != (p.Cursor != "") {
					t.Errorf("has_more is %t, the cursor %q", h.HasMore, p.Cursor)
				}
				if p.Cursor == "" {
					return strings.Join(got, "")
				}
				got = append(got, "|")
			}
		}
		span := slack.GetConversationHistoryParameters{Oldest: posted[1].TS, Latest: posted[3].TS}
		inclusive := span
		inclusive.Inclusive = true
		if d := cmp.Diff([]string{"43210", "43|21|0", "2", "321"}, []string{
			read(slack.GetConversationHistoryParameters{}), read(slack.GetConversationHistoryParameters{Limit: 2}), read(span), read(inclusive),
		}); d != "" {
			t.Error(d)
		}
		thread, more, _, err := w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: posted[1].TS})
		if err != nil || more || len(thread) != 4 || thread[0].Text != "1" || thread[3].Text != "c" || thread[3].ThreadTimestamp != posted[1].TS {
			t.Errorf("got %+v, %v", thread, err)
		}
		_, _, _, err = w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: "1.1"})
		refused(t, err, "thread_not_found")
		_, err = w.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel, Cursor: "x"})
		refused(t, err, "invalid_cursor")
		w.EditChannel(channel, func(c *slacksim.Channel) { c.Without = true })
		_, err = w.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel})
		refused(t, err, "not_in_channel")
	})
}

func TestHistory_needsAScopeThatTheBotDoesNotUsuallyHave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.AddChannel(slacksim.Channel{ID: "C000PRIVATE", Private: true})
		if _, _, err := w.api.PostMessageContext(t.Context(), w.ada.ID(), text("x")); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]string{channel: "channels:history", "C000PRIVATE": "groups:history", w.DM(w.ada.ID()): "im:history"} {
			_, err := w.api.GetConversationHistoryContext(t.Context(), &slack.GetConversationHistoryParameters{ChannelID: id})
			if r := refused(t, err, "missing_scope"); r.Needed != want {
				t.Errorf("needs %s, want %s", r.Needed, want)
			}
		}
	})
}

func TestConversations_flagsAndPagesOfMembers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{EnterpriseID: "E1"})
		ctx := t.Context()
		type flags struct{ Private, Member, Archived, Shared, Ext, Org, Pending bool }
		for _, c := range []struct {
			edit func(*slacksim.Channel)
			want flags
		}{
			{func(*slacksim.Channel) {}, flags{Member: true}},
			{func(c *slacksim.Channel) { c.Private = true }, flags{Private: true, Member: true}},
			{func(c *slacksim.Channel) { c.Without = true }, flags{}},
			{func(c *slacksim.Channel) { c.Archived = true }, flags{Member: true, Archived: true}},
			{func(c *slacksim.Channel) { c.ExtShared = true }, flags{Member: true, Shared: true, Ext: true}},
			{func(c *slacksim.Channel) { c.OrgShared = true }, flags{Member: true, Shared: true, Org: true}},
			{func(c *slacksim.Channel) { c.PendingExtShared = true }, flags{Member: true, Pending: true}},
		} {
			id := w.AddChannel(slacksim.Channel{})
			w.EditChannel(id, c.edit)
			got, err := w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, flags{
				got.IsPrivate, got.IsMember, got.IsArchived, got.IsShared, got.IsExtShared, got.IsOrgShared, got.IsPendingExtShared,
			}); d != "" {
				t.Error(d)
			}
		}
		_, err := w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: "C0000NOBODY"})
		refused(t, err, "channel_not_found")

		var everyone, got []string
		for n := range 5 {
			everyone = append(everyone, fmt.Sprintf("U000000000%d", n))
		}
		id := w.AddChannel(slacksim.Channel{Members: everyone})
		p := &slack.GetUsersInConversationParameters{ChannelID: id, Limit: 4}
		for {
			list, next, err := w.api.GetUsersInConversationContext(ctx, p)
			if err != nil || len(list) > 4 {
				t.Fatal(list, err)
			}
			got = append(got, list...)
			if p.Cursor = next; next == "" {
				break
			}
		}
		if !cmp.Equal(got, append(everyone, w.BotUserID())) {
			t.Errorf("got %q", got)
		}
	})
}

func TestChat_editWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{EditWindow: time.Hour})
		m := post(t, w, text("x"))
		update := func() error {
			_, _, _, err := w.api.UpdateMessageContext(t.Context(), channel, m.TS, text("y"))
			return err
		}
		time.Sleep(time.Hour)
		if err := update(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		refused(t, update(), "edit_window_closed")
		w.SetEditWindow(0)
		if err := update(); err != nil {
			t.Error(err)
		}
	})
}

func TestChat_systemUsersAndGoneMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		ctx := t.Context()
		for _, id := range []string{"USLACKBOT", "USLACK"} {
			u, err := w.api.GetUserInfoContext(ctx, id)
			if err != nil || u.IsBot {
				t.Errorf("%s: got %+v, %v: it does not say that it is a bot", id, u, err)
			}
			_, _, err = w.api.PostMessageContext(ctx, id, text("x"))
			refused(t, err, "cannot_dm_bot")
		}
		w.run(ackWith(nil))
		m := post(t, w, card("x"))
		i, err := w.ada.Click(ctx, m, "deny")
		if err != nil {
			t.Fatal(err)
		}
		w.DeleteMessage(channel, m.TS) // As a retention policy does.
		_, _, _, err = w.api.UpdateMessageContext(ctx, channel, m.TS, text("y"))
		refused(t, err, "message_not_found")
		_, err = w.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: channel, Ts: m.TS})
		refused(t, err, "message_not_found")
		if _, _, err := w.api.PostMessageContext(ctx, "", text("z"), slack.MsgOptionReplaceOriginal(i.ResponseURL)); err == nil {
			t.Error("replaced what is gone")
		}
		if _, err := w.ada.Click(ctx, m, "deny"); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("got %v", err)
		}
	})
}
