package slacksim_test

import (
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
	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

func TestSlash_connectReceiveAckShutDownInABubble(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		var got slack.SlashCommand
		w.run(func(a *app, e socketmode.Event) {
			if e.Type == socketmode.EventTypeSlashCommand {
				got = e.Data.(slack.SlashCommand)
				time.Sleep(time.Second)
				_ = a.AckCtx(t.Context(), e.Request.EnvelopeID, map[string]any{"text": "hello *you*"})
			}
		})
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "status")
		if err != nil {
			t.Fatal(err)
		}
		if !i.Acked || i.After != time.Second || i.Failure != "" {
			t.Errorf("got %+v, want an ack after 1 s", i)
		}
		want := slack.SlashCommand{
			Token: got.Token, TeamID: w.TeamID(), TeamDomain: "acme", ChannelID: channel, ChannelName: "ops",
			UserID: w.ada.ID(), UserName: "ada", Command: "/breakglass", Text: "status", APIAppID: w.AppID(),
			TriggerID: i.TriggerID, ResponseURL: i.ResponseURL,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		var payload map[string]string
		if json.Unmarshal(i.Payload, &payload) != nil || payload["text"] != "hello *you*" {
			t.Errorf("got payload %s", i.Payload)
		}
		if e := i.Ephemerals(); len(e) != 1 || w.Render(e[0]) != "hello you" || e[0].Trigger != i.TriggerID {
			t.Errorf("got ephemerals %+v", e)
		}
	})
}

func TestSlash_overTCP(t *testing.T) {
	w := newTCPWorld(t, slacksim.Options{})
	w.start(ackWith(map[string]any{"response_type": "in_channel", "text": "everybody"}))
	if err := w.WaitConnections(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
	if err != nil || !i.Acked {
		t.Fatal(i, err)
	}
	if m := w.Messages(channel); len(m) != 1 || m[0].Text != "everybody" {
		t.Errorf("got %+v", m)
	}
	if !strings.HasPrefix(i.ResponseURL, "http://127.0.0.1:") || !strings.HasSuffix(w.APIURL(), "/api/") {
		t.Errorf("got %s and %s", i.ResponseURL, w.APIURL())
	}
}

func TestSlash_withoutAnAppWithoutAnAckAndWithABadAck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil || i.Acked || !strings.Contains(i.Failure, "dispatch_failed") || len(i.Ephemerals()) != 1 {
			t.Errorf("got %+v, %v", i, err)
		}
		var answer any
		w.run(func(a *app, e socketmode.Event) {
			if e.Type == socketmode.EventTypeSlashCommand && answer != nil {
				ackWith(answer)(a, e)
			}
		})
		start := time.Now()
		i, err = w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil || i.Acked || !strings.Contains(i.Failure, "operation_timeout") || time.Since(start) != 3*time.Second {
			t.Errorf("got %+v, %v after %s", i, err, time.Since(start))
		}
		if e := w.ada.Ephemerals(); len(e) != 2 || e[1].User != "USLACKBOT" {
			t.Errorf("got %+v", e)
		}
		synctest.Wait()
		answer = map[string]any{"text": "x", "blocks": []any{map[string]any{"type": "section"}}}
		i, err = w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil || !i.Acked || !strings.Contains(i.Failure, "invalid_blocks") {
			t.Errorf("got %+v, %v", i, err)
		}
	})
}

func TestSlash_whoMay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{EscapeCommands: true})
		var text string
		w.run(func(a *app, e socketmode.Event) {
			if e.Type == socketmode.EventTypeSlashCommand {
				text = e.Data.(slack.SlashCommand).Text
			}
			ackWith(nil)(a, e)
		})
		w.AddChannel(slacksim.Channel{ID: "C000PRIVATE", Name: "secret", Private: true})
		stranger := w.AddUser(slacksim.User{ID: "USTRANGER", Stranger: true})
		gone := w.AddUser(slacksim.User{ID: "U0DELETED", Deleted: true})
		w.EditChannel(channel, func(c *slacksim.Channel) { c.ExtShared, c.Members = true, append(c.Members, "USTRANGER") })
		for name, try := range map[string]func() (slacksim.Interaction, error){
			"stranger":    func() (slacksim.Interaction, error) { return stranger.Slash(t.Context(), channel, "/breakglass", "") },
			"deactivated": func() (slacksim.Interaction, error) { return gone.Slash(t.Context(), channel, "/breakglass", "") },
			"private": func() (slacksim.Interaction, error) {
				return w.ada.Slash(t.Context(), "C000PRIVATE", "/breakglass", "")
			},
			"unknown command": func() (slacksim.Interaction, error) { return w.ada.Slash(t.Context(), channel, "/other", "") },
		} {
			if _, err := try(); !errors.Is(err, slacksim.ErrRefused) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		g := w.AddUserGroup(slacksim.UserGroup{Handle: "oncall"})
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", "ask @bob @oncall #ops #secret @nobody"); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("ask <@U00000000BOB|bob> <!subteam^%s|@oncall> <#%s|ops> <#C000PRIVATE|> @nobody", g, channel)
		if text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	})
}

func TestSocket_hello(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		conn := dial(t, w, "")
		var hello struct {
			Type           string
			NumConnections int `json:"num_connections"`
			ConnectionInfo struct {
				AppID string `json:"app_id"`
			} `json:"connection_info"`
			DebugInfo struct {
				Host string
				Life int `json:"approximate_connection_time"`
			} `json:"debug_info"`
		}
		if err := conn.ReadJSON(&hello); err != nil {
			t.Fatal(err)
		}
		if hello.Type != "hello" || hello.NumConnections != 1 || hello.ConnectionInfo.AppID != w.AppID() ||
			hello.DebugInfo.Host == "" || hello.DebugInfo.Life != 18060 {
			t.Errorf("got %+v", hello)
		}
	})
}

// dial opens a connection by hand, in a bubble.
func dial(t *testing.T, w *world, more string) *websocket.Conn {
	t.Helper()
	_, url, err := w.api.StartSocketModeContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := w.Dialer().DialContext(t.Context(), url+more, http.Header{"Origin": {"https://api.slack.com"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	synctest.Wait() // The handshake is answered before the connection is on the list.
	return conn
}

// frames reads frames until the connection ends, as "type reason".
func frames(conn *websocket.Conn) (out []string, err error) {
	for {
		var f struct{ Type, Reason string }
		if err := conn.ReadJSON(&f); err != nil {
			return out, err
		}
		out = append(out, strings.TrimSpace(f.Type+" "+f.Reason))
	}
}

func TestSocket_ticketsAreGoodOnceAndNotForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		open := func() string {
			_, url, err := w.api.StartSocketModeContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return url
		}
		try := func(url string) error {
			conn, resp, err := w.Dialer().DialContext(t.Context(), url, nil)
			if err == nil {
				_ = conn.Close()
			} else if resp != nil {
				_ = resp.Body.Close()
			}
			return err
		}
		first, second := open(), open()
		if err := try(first); err != nil {
			t.Error(err)
		}
		if err := try(first); !errors.Is(err, websocket.ErrBadHandshake) {
			t.Errorf("used again: %v", err)
		}
		time.Sleep(31 * time.Second)
		if err := try(second); !errors.Is(err, websocket.ErrBadHandshake) {
			t.Errorf("late: %v", err)
		}
		if n := len(w.Opens()); n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestSocket_theEleventhIsOneTooMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		for range 10 {
			dial(t, w, "")
		}
		got, err := frames(dial(t, w, ""))
		if want := []string{"hello", "disconnect too_many_websockets"}; !cmp.Equal(got, want) || !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("got %q, %v", got, err)
		}
		if len(w.Connections()) != 10 {
			t.Errorf("got %d connections", len(w.Connections()))
		}
	})
}

func TestSocket_lifeOfAConnection(t *testing.T) {
	for more, life := range map[string]time.Duration{"": 18060 * time.Second, "&debug_reconnects=true": 360 * time.Second} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, slacksim.Options{})
			conn := dial(t, w, more)
			start := time.Now()
			var warned time.Duration
			_ = conn.ReadJSON(new(any))
			if err := conn.ReadJSON(new(any)); err != nil {
				t.Fatal(err)
			}
			warned = time.Since(start)
			got, _ := frames(conn)
			if warned != life-10*time.Second || time.Since(start) != life || !cmp.Equal(got, []string{"disconnect refresh_requested"}) {
				t.Errorf("warned after %s, ended after %s, with %q", warned, time.Since(start), got)
			}
		})
	}
}

func TestSocket_reasonsAndReconnects(t *testing.T) {
	for _, reason := range []string{slacksim.ReasonWarning, slacksim.ReasonRefreshRequested, slacksim.ReasonLinkDisabled, slacksim.ReasonTooMany} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, slacksim.Options{})
			w.run(ackWith(nil))
			w.DisconnectAll(reason, 10*time.Second)
			if err := w.WaitConnections(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || !i.Acked || i.Connection != 2 {
				t.Errorf("%s: got %+v, %v", reason, i, err)
			}
			if len(w.Opens()) != 2 {
				t.Errorf("%s: %d opens", reason, len(w.Opens()))
			}
		})
	}
}

func TestSocket_socketModeSwitchedOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.SetSocketMode(false)
		got, _ := frames(dial(t, w, ""))
		if want := []string{"hello", "disconnect link_disabled"}; !cmp.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		w.SetSocketMode(true)
		w.run(nil)
	})
}

func TestSocket_framesAfterADisconnectAreLostOnSlackGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(ackWith(nil))
		c := w.Connections()[0]
		c.SendText(`{"type":"disconnect","reason":"warning"}`)
		c.SendText(`{"envelope_id":"lost","type":"slash_commands","accepts_response_payload":true,"payload":{}}`)
		if err := w.Wait(t.Context(), func() bool { return len(w.Opens()) == 2 }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if acks := w.Acks(); len(acks) != 0 {
			t.Errorf("got %+v", acks)
		}
	})
}

func TestSocket_aWarnedConnectionIsTheLastChoice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		dial(t, w, "")
		dial(t, w, "")
		w.Connections()[1].Disconnect(slacksim.ReasonWarning, 10*time.Second)
		for range 3 {
			if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || i.Connection != 1 {
				t.Errorf("got %+v, %v", i, err)
			}
		}
		w.Connections()[0].Drop()
		if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || i.Connection != 2 {
			t.Errorf("got %+v, %v", i, err)
		}
		time.Sleep(10 * time.Second)
		if got := w.Connections(); len(got) != 0 {
			t.Errorf("got %d connections", len(got))
		}
	})
}

func TestSocket_pings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(nil)
		time.Sleep(10 * time.Minute)
		c := w.Connections()[0]
		if c.ID() != 1 || c.Pongs() < 119 {
			t.Errorf("connection %d has %d pongs", c.ID(), c.Pongs())
		}
		c.StopPings()
		time.Sleep(2 * time.Minute) // slack-go gives up on the connection and makes a new one.
		if got := w.Connections(); len(got) != 1 || got[0].ID() != 2 || c.Open() {
			t.Errorf("got %d connections", len(got))
		}
	})
}

func TestSocket_answersPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		conn := dial(t, w, "")
		ponged := ""
		conn.SetPongHandler(func(s string) error {
			ponged = s
			return nil
		})
		if err := conn.WriteControl(websocket.PingMessage, []byte("id"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := frames(conn)
		if ponged != "id" {
			t.Errorf("got pong %q, %v", ponged, err)
		}
	})
}

func TestSocket_dropAndStall(t *testing.T) {
	for name, breakIt := range map[string]func(*slacksim.Connection){
		"drop": (*slacksim.Connection).Drop, "stall": (*slacksim.Connection).Stall,
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, slacksim.Options{})
			w.run(ackWith(nil), socketmode.OptionPingInterval(10*time.Second))
			c := w.Connections()[0]
			breakIt(c)
			if open := c.Open(); open != (name == "stall") {
				t.Errorf("%s: open is %t", name, open)
			}
			if name == "stall" { // Slack knows nothing yet.
				if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || i.Acked || i.Connection != 1 {
					t.Errorf("%s: got %+v, %v", name, i, err)
				}
			}
			time.Sleep(2 * time.Minute)
			if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || !i.Acked || c.Open() {
				t.Errorf("%s: got %+v, %v", name, i, err)
			}
		})
	}
	t.Run("tcp", func(t *testing.T) {
		w := newTCPWorld(t, slacksim.Options{})
		w.start(ackWith(nil))
		if err := w.WaitConnections(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.Connections()[0].Drop()
		if err := w.Wait(t.Context(), func() bool { c := w.Connections(); return len(c) == 1 && c[0].ID() == 2 }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSocket_strangeFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		a := w.run(ackWith(nil))
		c := w.Connections()[0]
		c.SendText("this is not JSON")
		c.SendText(`{"type":"from_the_future","envelope_id":"x"}`)
		synctest.Wait()
		if len(a.seen(socketmode.EventTypeIncomingError)) != 1 || len(a.seen(socketmode.EventTypeErrorBadMessage)) != 1 || !c.Open() {
			t.Errorf("got %+v", a.events)
		}
		i, err := w.Event(t.Context(), map[string]any{"type": "nobody_knows_this"})
		if err != nil || i.Acked {
			t.Errorf("got %+v, %v: slack-go does not ack what it cannot parse", i, err)
		}
	})
}

func TestSocket_turnsAndChooser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(ackWith(nil))
		w.run(ackWith(nil))
		took := map[int]int{}
		for range 6 {
			i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
			if err != nil || !i.Acked {
				t.Fatal(i, err)
			}
			took[i.Connection]++
		}
		if !cmp.Equal(took, map[int]int{1: 3, 2: 3}) {
			t.Errorf("got %v", took)
		}
		w.SetChooser(func(c []*slacksim.Connection) *slacksim.Connection { return c[1] })
		for range 3 {
			if i, _ := w.ada.Slash(t.Context(), channel, "/breakglass", ""); i.Connection != 2 {
				t.Errorf("got connection %d", i.Connection)
			}
		}
	})
}

func TestSocket_verdictsOnAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{Socket: slacksim.SocketSettings{OwnAcksOnly: true}})
		conn := dial(t, w, "")
		other := dial(t, w, "")
		w.SetChooser(func(c []*slacksim.Connection) *slacksim.Connection { return c[0] })
		send := func(c *websocket.Conn, v any) {
			if err := c.WriteJSON(v); err != nil {
				t.Error(err)
			}
		}
		_ = conn.ReadJSON(new(any))
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			var first, second struct {
				ID string `json:"envelope_id"`
			}
			_ = conn.ReadJSON(&first)
			_ = other.WriteJSON(map[string]string{"envelope_id": first.ID})
			synctest.Wait()
			send(conn, map[string]any{"envelope_id": first.ID, "payload": map[string]string{"text": strings.Repeat("x", 20<<10)}})
			send(conn, map[string]any{"envelope_id": first.ID, "payload": map[string]any{}})
			send(conn, map[string]any{"envelope_id": first.ID})
			_ = conn.ReadJSON(&second)
			time.Sleep(4 * time.Second)
			send(conn, map[string]any{"envelope_id": second.ID})
			send(conn, map[string]any{"envelope_id": "e"})
			_ = conn.WriteMessage(websocket.TextMessage, []byte("?"))
		}()
		if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || !i.Acked {
			t.Error(i, err)
		}
		if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil || i.Acked {
			t.Error(i, err)
		}
		<-answered
		synctest.Wait()
		var got []slacksim.Verdict
		for _, a := range w.Acks() {
			got = append(got, a.Verdict)
		}
		want := []slacksim.Verdict{
			slacksim.AckElsewhere, slacksim.AckTooLarge, slacksim.AckTaken, slacksim.AckDuplicate,
			slacksim.AckLate, slacksim.AckUnknown, slacksim.AckMalformed,
		}
		if !cmp.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

func TestSocket_duplicates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		a := w.run(ackWith(map[string]string{"text": "once"}))
		ids := func() map[string]int {
			out := map[string]int{}
			for _, e := range a.seen(socketmode.EventTypeSlashCommand) {
				out[e.Request.EnvelopeID]++
			}
			return out
		}
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "")
		if err != nil {
			t.Fatal(err)
		}
		same, err := w.Redeliver(t.Context(), i, false)
		if err != nil || !same.Acked || same.EnvelopeID != i.EnvelopeID || len(w.ada.Ephemerals()) != 1 {
			t.Errorf("got %+v, %v, %d ephemerals", same, err, len(w.ada.Ephemerals()))
		}
		another, err := w.Redeliver(t.Context(), i, true)
		if err != nil || !another.Acked || another.EnvelopeID == i.EnvelopeID || another.TriggerID != i.TriggerID || len(w.ada.Ephemerals()) != 2 {
			t.Errorf("got %+v, %v, %d ephemerals", another, err, len(w.ada.Ephemerals()))
		}
		w.DuplicateNext(1, false)
		for range 2 {
			if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var counts []int
		for _, n := range ids() {
			counts = append(counts, n)
		}
		if len(counts) != 4 || len(a.seen(socketmode.EventTypeSlashCommand)) != 6 || len(w.ada.Ephemerals()) != 4 {
			t.Errorf("got %v, %d ephemerals", counts, len(w.ada.Ephemerals()))
		}
	})
}

func TestEvents_comeAgainUntilAcked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		type arrival struct {
			after   time.Duration
			id      string
			event   string
			attempt int
			reason  string
		}
		var got []arrival
		start := time.Now()
		ackFrom := 99
		w.run(func(a *app, e socketmode.Event) {
			if e.Type != socketmode.EventTypeEventsAPI {
				return
			}
			ev := e.Data.(slackevents.EventsAPIEvent)
			got = append(got, arrival{
				time.Since(start), e.Request.EnvelopeID, ev.Data.(*slackevents.EventsAPICallbackEvent).EventID,
				e.Request.RetryAttempt, e.Request.RetryReason,
			})
			if home, ok := ev.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent); !ok || home.User != w.ada.ID() || home.Tab != "home" {
				t.Errorf("got %+v", ev.InnerEvent.Data)
			}
			if len(got) >= ackFrom {
				ackWith(nil)(a, e)
			}
		})
		i, err := w.ada.OpenHome(t.Context())
		if err != nil || i.Acked {
			t.Fatal(i, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		id, ev := got[0].id, got[0].event
		want := []arrival{
			{0, id, ev, 0, ""},
			{3 * time.Second, id, ev, 1, "timeout"},
			{66 * time.Second, id, ev, 2, "timeout"},
			{369 * time.Second, id, ev, 3, "timeout"},
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(arrival{})); d != "" {
			t.Error(d)
		}
		got, ackFrom, start = nil, 2, time.Now()
		if _, err := w.ada.OpenHome(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(got) != 2 {
			t.Errorf("got %+v, want it to end with the ack", got)
		}
	})
}

func TestEvents_waitForAConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		if i, err := w.ada.OpenHome(t.Context()); err != nil || i.Acked || i.Connection != 0 {
			t.Fatal(i, err)
		}
		time.Sleep(time.Second) // The first retry finds no connection either.
		a := w.run(ackWith(nil))
		time.Sleep(2 * time.Minute)
		if got := a.seen(socketmode.EventTypeEventsAPI); len(got) != 1 || got[0].Request.RetryAttempt != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestClose_endsWhatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		w.run(nil)
		w.Inject(slacksim.Fault{Method: "auth.test", Answer: slacksim.Hang()})
		ended := make(chan error, 2)
		go func() { _, err := w.api.AuthTestContext(context.Background()); ended <- err }()
		go func() {
			_, err := w.ada.Slash(context.Background(), channel, "/breakglass", "")
			ended <- err
		}()
		synctest.Wait()
		w.Close()
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("it went well")
			}
		}
		if _, err := w.ada.Slash(t.Context(), channel, "/breakglass", ""); err == nil {
			t.Error("it is still open")
		}
	})
}
