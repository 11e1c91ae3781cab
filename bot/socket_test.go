package bot_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

func TestSocket_twoConnections(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		if n := len(s.slack.Connections()); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		if err := s.bot.Ready(); err != nil {
			t.Errorf("connected, and not ready: %v", err)
		}
		// Both are used.
		used := map[int]bool{}
		for range 4 {
			used[s.ana.says("status").Connection] = true
		}
		if len(used) != 2 {
			t.Errorf("the answers came over the connections %v, want both", used)
		}
	})
}

// Whatever happens to one socket, a click lands over the other, at once and for
// as long as the first is away.
func TestSocket_oneIsGone(t *testing.T) {
	for name, harm := range map[string]func(*slacksim.Connection){
		"refreshed": func(c *slacksim.Connection) { c.Disconnect(slacksim.ReasonRefreshRequested, 0) },
		"warned":    func(c *slacksim.Connection) { c.Disconnect(slacksim.ReasonWarning, 10*time.Second) },
		"dropped":   func(c *slacksim.Connection) { c.Drop() },
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			for round := range 5 {
				harm(s.slack.Connections()[round%2])
				for range 10 {
					s.ana.says("status").wants(t, "BG-1")
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(time.Minute)
				if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
					t.Fatal(err)
				}
			}
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
		}, quiet)
	}
}

// A socket that Slack believes in while nothing goes through any more: what Slack
// sends there is lost, and Slack says so; the next click lands, and after a
// minute or so the socket is replaced.
func TestSocket_oneIsHalfOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		dead := s.slack.Connections()[0]
		dead.Stall()
		lost := 0
		for range 4 {
			if a := s.ana.tries("status"); !a.Acked {
				lost++
			}
		}
		if lost != 2 {
			t.Errorf("%d of 4 commands were lost while one of two sockets was dead, want 2", lost)
		}
		time.Sleep(90 * time.Second)
		if n := len(s.slack.Opens()); n < 3 {
			t.Errorf("the dead socket was not replaced: %d opens", n)
		}
		s.slack.SetChooser(func(cs []*slacksim.Connection) *slacksim.Connection { return cs[len(cs)-1] })
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// No PINGs come any more: slack-go gives the socket up, and gets another.
func TestSocket_pingsStop(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for _, c := range s.slack.Connections() {
			c.StopPings()
		}
		time.Sleep(2 * time.Minute)
		if n := len(s.slack.Opens()); n != 4 {
			t.Errorf("%d opens, want the two first and one more each", n)
		}
		s.ana.says("status")
	})
}

// Every five hours or so each connection is refreshed. Over three days no command
// is lost.
func TestSocket_refreshesOverDays(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for range 3 * 24 {
			time.Sleep(time.Hour + 11*time.Second)
			s.ana.says("status")
		}
		if n := len(s.slack.Opens()); n > 2*(2+3*24/5+1) {
			t.Errorf("%d opens in three days, want about two every five hours", n)
		}
	}, quiet, func(c *setup) { c.slack.Socket.PingEvery = 20 * time.Second })
}

func TestSocket_allAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for _, c := range s.slack.Connections() {
			c.Drop()
		}
		if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// Slack is away for two hours: not ready, then connected again within a
// minute, without a storm of calls.
func TestSocket_slackIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=1h", 1))
		s.slack.SetDown(true)
		time.Sleep(10 * time.Second)
		if err := s.bot.Ready(); err == nil {
			t.Error("Slack is down, and the bot says that it is ready")
		}
		time.Sleep(2 * time.Hour)
		s.phase("BG-1", grant.Closed) // AWS work goes on
		s.shut(s.cell)
		s.slack.SetDown(false)
		began := time.Now()
		if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute { // as gate.go promises; slack-go alone would wait five
			t.Errorf("Slack was back for %s before both sockets were", took)
		}
		s.until("BG-1", "Closed")
		s.ana.says("status").wants(t, "Nothing is open")
	}, quiet)
}

// Socket Mode is switched off: Slack ends every socket right after its hello. The
// bot neither gives up nor storms, and is back soon after it is switched on.
func TestSocket_linkDisabledStorm(t *testing.T) {
	for _, storm := range []time.Duration{10 * time.Minute, time.Hour} {
		beside(t, storm.String(), func(t *testing.T, s *stage) {
			n := len(s.slack.Calls("apps.connections.open"))
			s.slack.SetSocketMode(false)
			time.Sleep(storm)
			// Slack allows about 50 a minute. Ours are twelve, after a first twenty.
			n = len(s.slack.Calls("apps.connections.open")) - n
			t.Logf("%d calls of apps.connections.open in %s", n, storm)
			if most := 20 + 12*int(storm/time.Minute); n > most {
				t.Errorf("%d calls of apps.connections.open in %s, want %d at most", n, storm, most)
			}
			s.slack.SetSocketMode(true)
			began := time.Now()
			if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("Socket Mode was on again for %s before both sockets were, want a minute at most", took)
			}
			synctest.Wait()
			s.ana.says("status")
		})
	}
}

// The eleventh connection is ended right after its hello: others hold the ten.
func TestSocket_tooManyWebsockets(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		n := len(s.slack.Calls("apps.connections.open"))
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			s.slack.DisconnectAll(slacksim.ReasonTooMany, 0)
			time.Sleep(time.Second)
		}
		if n = len(s.slack.Calls("apps.connections.open")) - n; n > 140 {
			t.Errorf("%d calls of apps.connections.open in 10 minutes, want 140 at most", n)
		}
		began = time.Now()
		if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s to be connected again, want a minute at most", took)
		}
	})
}

// The answers of Slack that no waiting mends, as the operator reads them.
var permanent = map[string]string{
	"invalid_auth": "does not know the token", "not_authed": "got no token", "account_inactive": "was removed",
	"token_revoked": "was revoked", "token_expired": "has expired", "not_allowed_token_type": "wrong kind",
	"missing_scope": "lacks a scope", "no_permission": "lacks a permission", "team_access_not_granted": "has no access",
	"org_login_required": "moved to an organisation", "forbidden_team": "may not be used", "user_removed_from_team": "removed from the team",
	"team_disabled": "is disabled", "enterprise_is_restricted": "does not allow",
}

// ends waits until Run ends by itself, and holds what it says.
func (s *stage) ends(words ...string) {
	s.t.Helper()
	var err error
	select {
	case err = <-s.ended:
	case <-time.After(2 * time.Minute):
		s.t.Errorf("Run goes on, want it to end with %q\n%s", words, s.log)
		return
	}
	s.ended = nil
	s.end()
	if err := s.db.Close(); err != nil {
		s.t.Error(err)
	}
	if err == nil {
		s.t.Fatalf("Run ended without an error, want %q", words)
	}
	text := err.Error()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("Run ends with %q, which does not say %q", text, w)
		}
	}
	if strings.Contains(text, "xoxb-") && !strings.Contains(text, "takes xoxb-…") || strings.Contains(text, s.slack.BotToken()) || strings.Contains(text, s.slack.AppToken()) || strings.ContainsAny(text, "\n{}") || strings.Contains(text, "ticket=") {
		s.t.Errorf("Run ends with more than a plain sentence: %q", text)
	}
}

func TestSocket_permanentErrors(t *testing.T) {
	for code, words := range permanent {
		beside(t, "bot token at start: "+code, func(t *testing.T, s *stage) {
			s.slack.BreakToken(s.slack.BotToken(), code)
			s.launch()
			s.ends(words, "SLACK_BOT_TOKEN")
		}, idle)
		beside(t, "app token at start: "+code, func(t *testing.T, s *stage) {
			s.slack.BreakToken(s.slack.AppToken(), code)
			s.launch()
			s.ends(words, "SLACK_APP_TOKEN")
		}, idle)
		beside(t, "app token later: "+code, func(t *testing.T, s *stage) {
			time.Sleep(time.Minute)
			s.slack.BreakToken(s.slack.AppToken(), code)
			s.slack.Connections()[0].Drop()
			s.ends(words, "SLACK_APP_TOKEN")
		})
	}
}

// The token is refused for good while access is open and its end falls due: the
// access is still taken away before the program ends, or at once by the next.
func TestSocket_permanentErrorWhileACloseIsOwed(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		shell, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatal(err)
		}
		s.ana.says("revoke BG-1")
		s.slack.BreakToken(s.slack.AppToken(), "token_revoked")
		s.slack.BreakToken(s.slack.BotToken(), "token_revoked")
		s.slack.Connections()[0].Drop()
		s.ends("revoked")
		// Somebody starts it again and again, as systemd does.
		for range 20 {
			s.launch()
			s.ends("revoked")
			time.Sleep(5 * time.Second)
		}
		s.shut(s.cell)
		if _, err := shell.Type("whoami"); err == nil {
			t.Error("the shell is still open")
		}
	}, quiet)
}

// The app is uninstalled while access is open: the bot stays until the access has
// ended at its time and is proven gone, and only then gives up.
func TestSocket_permanentErrorWhileOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		shell, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatal(err)
		}
		s.slack.BreakToken(s.slack.AppToken(), "invalid_auth")
		s.slack.BreakToken(s.slack.BotToken(), "invalid_auth")
		for _, c := range s.slack.Connections() {
			c.Drop()
		}
		time.Sleep(time.Hour)
		s.phase("BG-1", grant.Open)
		time.Sleep(3*time.Hour + 5*time.Minute)
		s.ends("does not know the token")
		s.shut(s.cell)
		if _, err := shell.Type("whoami"); err == nil {
			t.Error("the shell is still open")
		}
	}, quiet)
}

// A proxy answers 404 for a moment in the middle of the day: the bot comes back.
func TestSocket_notFoundForAMoment(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		remove := s.slack.Inject(slacksim.Fault{Method: "apps.connections.open", Answer: slacksim.Status(404)})
		for _, c := range s.slack.Connections() {
			c.Drop()
		}
		time.Sleep(time.Minute)
		remove()
		if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		s.ana.says("status").wants(t, "Nothing is open")
	}, quiet)
}

// A redirect must not carry the token anywhere, least of all out in the clear.
func TestSocket_redirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaked := make(chan string, 10)
		db, err := store.Open(filepath.Join(t.TempDir(), "breakglass.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		b, err := bot.New(bot.Options{
			Channel: channel, APIURL: "http://localhost/api/", BotToken: "xoxb-secret", AppToken: "xapp-secret",
			Store: db, AWS: nobody{}, Log: slog.New(slog.DiscardHandler),
			HTTPClient: &http.Client{Transport: redirector{leaked}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(leaked) > 0 {
			t.Errorf("a request was sent to %s", <-leaked)
		}
	})
}

// redirector answers every call with a redirect to another host.
type redirector struct{ leaked chan string }

func (r redirector) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() != "localhost" {
		r.leaked <- req.URL.Hostname()
	}
	return &http.Response{
		StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"http://evil.example/api/"}},
		Body: http.NoBody, Request: req,
	}, nil
}

// nobody has no AWS: what is asked of it was not meant to be.
type nobody struct{ bot.AWS }

func TestSocket_wrongTeam(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.team = "T0OTHER"
		s.launch()
		s.ends("belongs to the Slack team T0000000001", "slack.team: T0OTHER")
	}, idle)
}

func TestSocket_notSlackAtAll(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.Inject(slacksim.Fault{Answer: slacksim.Status(404)})
		s.launch()
		s.ends("there is no Slack at slack.api_url")
	}, idle)
}

// Slack answers nonsense at the start for a while: the bot waits.
func TestSocket_slackIsIllAtTheStart(t *testing.T) {
	for name, f := range map[string]slacksim.Fault{
		"500": {Answer: slacksim.Status(500)}, "HTML": {Answer: slacksim.Page()}, "hanging": {Answer: slacksim.Hang()},
		"429": {Answer: slacksim.RateLimited(30 * time.Second)}, "internal": {Answer: slacksim.Refuse("internal_error")},
		"dropped": {Answer: slacksim.Drop()}, "ok false": {Answer: slacksim.RefuseSilently()},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.slack.Inject(f)
			s.launch()
			time.Sleep(10 * time.Minute)
			if n := len(s.slack.Calls("")); n > 200 {
				t.Errorf("%d calls in 10 minutes of an ill Slack", n)
			}
			s.slack.ClearFaults()
			if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s.asks(askProd)
		}, idle, quiet)
	}
}

// Slack is down at the start while a close is owed: AWS is closed all the same.
func TestSocket_slackIsDownAtTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=1h", 1))
		s.stop()
		s.slack.SetDown(true)
		time.Sleep(30 * time.Minute)
		s.launch()
		time.Sleep(40 * time.Minute)
		s.phase("BG-1", grant.Closed)
		s.shut(s.cell)
		s.slack.SetDown(false)
		s.proven("BG-1")
	}, quiet)
}

// SIGTERM while commands are being decided: what was taken is acknowledged.
func TestSocket_stopWithAcksInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.Inject(slacksim.Fault{Method: "users.info", Delay: time.Second})
		answers := make(chan slacksim.Interaction, 8)
		for n := range 8 {
			p := person{s, s.slack.AddUser(slacksim.User{ID: fmt.Sprintf("U0P%03d", n)})}
			go func() {
				i, err := p.Slash(context.Background(), channel, "/breakglass", askProd, atHome)
				if err != nil {
					t.Error(err)
				}
				answers <- i
			}()
		}
		time.Sleep(500 * time.Millisecond)
		s.stop()
		for range 8 {
			if i := <-answers; !i.Acked {
				t.Errorf("a command in hand was not acknowledged: %s", i.Failure)
			}
		}
		s.start()
		if live, err := s.db.Live(); err != nil || len(live) != 8 {
			t.Errorf("%d requests, want 8: what was acknowledged is kept (%v)", len(live), err)
		}
	}, quiet)
}

// The same in real time, where slack-go only queues an acknowledgement and loses
// what is queued when it is cut off: exactly what is in the store was acknowledged.
func TestSocket_stopLosesNoAck(t *testing.T) {
	th := newTheatre(t, 64)
	g := th.ask(th.ben)
	card, err := th.slack.WaitMessage(t.Context(), channel, func(m slacksim.Message) bool { return strings.Contains(m.Text, "Requested") })
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var acked atomic.Int32
	for n := range 64 {
		p := th.slack.Person(fmt.Sprintf("U0P%03d", n))
		all.Go(func() {
			i, err := p.Click(context.Background(), card, "Approve", atHome)
			if err != nil {
				t.Error(err)
			}
			if i.Acked {
				acked.Add(1)
			}
		})
	}
	stored := func() int {
		if g, err = th.db.Grant(g.ID); err != nil {
			t.Fatal(err)
		}
		return len(g.Approvals)
	}
	for changed := th.db.Changed(); stored() < 16; changed = th.db.Changed() {
		<-changed
	}
	if err := th.stop(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if a, n := int(acked.Load()), stored(); a != n {
		t.Errorf("%d approvals are stored, and %d were acknowledged", n, a)
	}
}

// SIGTERM right after a click: acknowledged, and done by the next process.
func TestSocket_stopRightAfterTheClick(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.world.Inject(slowAWS)
		s.ben.presses("BG-1", "Approve")
		s.stop()
		s.start()
		s.until("BG-1", "Open until")
		s.ana.says("revoke")
		s.stop()
		s.start()
		s.proven("BG-1")
	}, quiet)
}

// SIGTERM while everything hangs: AWS, Slack's posts, and the answers to people.
func TestSocket_stopWhileEverythingHangs(t *testing.T) {
	for _, method := range []string{"chat.postMessage", "chat.update", "response_url", "chat.postEphemeral", "users.info", "apps.connections.open"} {
		beside(t, method, func(t *testing.T, s *stage) {
			s.asks(askProd)
			time.Sleep(2 * time.Minute)
			s.world.Inject(hangingAWS)
			s.slack.Inject(slacksim.Fault{Method: method, Answer: slacksim.Hang()})
			if method == "chat.postEphemeral" {
				s.slack.Inject(slacksim.Fault{Method: "response_url", Answer: slacksim.Status(500)})
			}
			if method == "apps.connections.open" {
				s.slack.Connections()[0].Drop()
			}
			go func() {
				_, _ = s.mia.Click(context.Background(), s.card("BG-1"), "Approve", atHome)
				_, _ = s.ben.Click(context.Background(), s.card("BG-1"), "Approve", atHome)
			}()
			time.Sleep(100 * time.Millisecond)
			s.stop()
			s.slack.ClearFaults()
			time.Sleep(10 * time.Second)
		}, quiet)
	}
}

// It can be stopped before it ever was connected.
func TestSocket_stopBeforeTheStart(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Second, time.Minute} {
		bubble(t, func(t *testing.T, s *stage) {
			s.slack.SetDown(true)
			s.launch()
			time.Sleep(wait)
			s.stop()
			s.slack.SetDown(false)
		}, idle)
	}
}
