package bot_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// Slack delivers an envelope twice, on both sockets: one request comes of it.
func TestEnvelope_deliveredTwice(t *testing.T) {
	for _, newEnvelope := range []bool{false, true} {
		t.Run(fmt.Sprintf("new envelope %t", newEnvelope), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.slack.DuplicateNext(1, newEnvelope)
				a := s.ana.says(askProd)
				time.Sleep(5 * time.Second)
				if live, err := s.db.Live(); err != nil || len(live) != 1 {
					t.Errorf("%d requests came of one command (%v)", len(live), err)
				}
				if n := len(s.cards("BG-1")); n != 1 {
					t.Errorf("there are %d cards", n)
				}
				for _, m := range s.seen(a.Interaction).Ephemerals() {
					if text := s.slack.Render(m); !strings.Contains(text, "BG-1 is requested") {
						t.Errorf("the person is told something else:\n%s", text)
					}
				}
				s.slack.DuplicateNext(1, newEnvelope)
				s.ben.presses("BG-1", "Approve").noAnswer(t)
				s.until("BG-1", "Open until")
				if g := s.grant("BG-1"); len(g.Approvals) != 1 {
					t.Errorf("one click counts %d times", len(g.Approvals))
				}
				s.slack.DuplicateNext(1, newEnvelope)
				s.ben.presses("BG-1", "Revoke now").noAnswer(t)
				s.proven("BG-1")
			}, quiet)
		})
	}
}

func (a answer) noAnswer(t *testing.T) {
	t.Helper()
	if a.text != "" {
		t.Errorf("the person was told, where the card says it all:\n%s", a.text)
	}
}

// A refusal that is delivered twice is the same refusal.
func TestEnvelope_refusedRequestTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.DuplicateNext(1, true)
		a := s.mia.says(askProd)
		time.Sleep(5 * time.Second)
		for _, m := range s.seen(a.Interaction).Ephemerals() {
			if text := s.slack.Render(m); !strings.Contains(text, "You are not among the people who may ask") {
				t.Errorf("the duplicate of a refused request answers:\n%s", text)
			}
		}
	}, func(c *setup) { c.people.Requesters = bot.Circle{Users: []grant.UserID{ana}} })
}

// With two approvals needed, the same click under two envelopes is one approval.
func TestEnvelope_sameClickTwiceIsOneApproval(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		a := s.ben.presses("BG-1", "Approve")
		for _, newEnvelope := range []bool{true, false} {
			if _, err := s.slack.Redeliver(t.Context(), a.Interaction, newEnvelope); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if g := s.grant("BG-1"); len(g.Approvals) != 1 || g.Phase != grant.Requested {
			t.Errorf("one click, delivered three times: %d approvals, %s", len(g.Approvals), g.Phase)
		}
		if got := s.seen(a.Interaction); got.text != "" {
			t.Errorf("a repeated delivery was answered:\n%s", got.text)
		}
		// Two genuine clicks are two envelopes with two triggers: the core refuses.
		s.ben.presses("BG-1", "Approve").refused(s, "You have approved BG-1 already")
	}, approvals(2))
}

// An old click that Slack delivers again, also after a restart, does nothing.
func TestEnvelope_redeliveredAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		ask := s.ana.says(askProd)
		s.until("BG-1", "Checks:")
		s.restart()
		again, err := s.slack.Redeliver(t.Context(), ask.Interaction, true)
		if err != nil || !again.Acked {
			t.Errorf("acked %t (%v)", again.Acked, err)
		}
		time.Sleep(5 * time.Second)
		if _, err := s.db.Grant(2); err == nil {
			t.Error("the command that was delivered again made a second request")
		}
	})
}

// The command that revoked the one open grant is delivered again when another is
// the one that is open: that one is not meant.
func TestEnvelope_revokeAgainMeansTheSameGrant(t *testing.T) {
	for _, text := range []string{"revoke", "revoke " + prod} {
		t.Run(text, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.opens(askProd)
				a := s.ana.says(text)
				s.proven("BG-1")
				s.opens(askProd)
				if _, err := s.slack.Redeliver(t.Context(), a.Interaction, true); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				s.phase("BG-2", grant.Open)
			}, quiet)
		})
	}
}

// The same for the button that revokes all.
func TestEnvelope_revokeAllAgainMeansTheSameGrants(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		q := s.ana.says("revoke all")
		a := s.inTime(s.ana.clicks(q.Ephemerals()[0], "Revoke BG-1"), "Revoke")
		s.proven("BG-1")
		s.opens(askProd)
		if _, err := s.slack.Redeliver(t.Context(), a.Interaction, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		s.phase("BG-2", grant.Open)
	}, quiet)
}

// The store cannot commit: nothing is acknowledged, Slack tells the person, and
// nothing happens in AWS. The same click works once the store does.
func TestEnvelope_notAckedWithoutCommit(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		time.Sleep(time.Second)
		free := diskFull(t, s.path)
		a := s.ben.clicks(s.card("BG-1"), "Approve")
		if a.Acked || a.Failure == "" {
			t.Errorf("acked %t, failure %q: want no ack, and Slack's own warning", a.Acked, a.Failure)
		}
		c := s.ana.tries(askProd)
		if c.Acked || !strings.Contains(c.Failure, "failed with the error") {
			t.Errorf("acked %t, failure %q: want no ack, and Slack's own warning", c.Acked, c.Failure)
		}
		s.untouched()
		s.phase("BG-1", grant.Requested)
		free()
		s.phase("BG-1", grant.Requested)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		if _, err := s.db.Grant(2); err == nil {
			t.Error("the command that was not acknowledged made a request")
		}
	}, quiet)
}

// The disk is full from the deciding click on, for an hour: what was decided goes
// on when there is room, and ends closed.
func TestEnvelope_diskFullWhileOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=30m", 1))
		end := s.grant("BG-1").End
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err != nil {
			t.Fatal(err)
		}
		free := diskFull(t, s.path)
		calls := len(s.world.Calls())
		time.Sleep(time.Until(end.Add(time.Minute)))
		s.shut(s.cell) // the shell, too, though nothing of it can be stored
		if p := s.grant("BG-1").Phase; p != grant.Open {
			t.Errorf("BG-1 is %s, though the disk takes nothing in", p)
		}
		time.Sleep(time.Until(end.Add(time.Hour)))
		if n := len(s.world.Calls()) - calls; n > 10_000 {
			t.Errorf("%d AWS calls in an hour and a half with a full disk: a hot loop", n)
		}
		if n := strings.Count(s.log.String(), "level=ERROR"); n > 5000 {
			t.Errorf("%d errors logged in an hour and a half: a hot loop", n)
		}
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("the vendor may still assume the role: AWS was to enforce the end")
		}
		free()
		s.proven("BG-1")
	}, quiet)
}

// Opening stops where a step cannot be remembered, and nothing half-open stays.
func TestEnvelope_diskFullWhileOpening(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var free func()
		var once sync.Once
		s.world.After(hookOn("ssm:UpdateDocument", func() { once.Do(func() { free = diskFull(t, s.path) }) }))
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		time.Sleep(20 * time.Minute)
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("trust was written though it could not be remembered:\n%s", doc)
		}
		free()
		s.proven("BG-1")
	}, quiet)
}

// diskFull makes every write to a file of this process fail as on a full disk,
// until free is called; what is mapped into memory can still be read.
func diskFull(t *testing.T, path string) (free func()) {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	for _, e := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == path {
			if fd, err = strconv.Atoi(e.Name()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if fd < 0 {
		t.Fatalf("%s is not open", path)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	kept, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(full.Fd()), fd, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	free = func() {
		once.Do(func() {
			if err := syscall.Dup3(kept, fd, syscall.O_CLOEXEC); err != nil {
				t.Error(err)
			}
			_ = syscall.Close(kept)
		})
	}
	t.Cleanup(free)
	return free
}

// The database is gone altogether: nobody gets in.
func TestEnvelope_databaseClosed(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
		a := s.ben.clicks(s.card("BG-1"), "Approve")
		if a.Acked && !strings.Contains(a.text, "failed on our side") {
			t.Errorf("acknowledged without a word:\n%s", a.text)
		}
		c := s.ana.tries(askProd)
		if c.Acked && !strings.Contains(c.text, "failed on our side") {
			t.Errorf("acknowledged without a word:\n%s", c.text)
		}
		s.untouched()
	}, quiet)
}

// What is newer than slack-go is set aside, and acknowledged: else it comes again.
func TestEnvelope_ofUnknownKind(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for i, text := range []string{
			`{"envelope_id":"e-0","type":"from_the_future","payload":{}}`,
			`{"envelope_id":"e-1","type":"events_api","payload":{"type":"event_callback","team_id":"T0000000001","event":{"type":"unheard_of"}}}`,
			`{"envelope_id":"e-2","type":"interactive","payload":{"type":"block_actions","user":{"id":"U0BEN"},"message":{"blocks":[{"type":"actions","elements":[{"type":"future_element"}]}]},"actions":[]}}`,
			`{"envelope_id":"e-3","type":"interactive","payload":{"type":"something_new"}}`,
			`{"envelope_id":"e-4","type":"slash_commands","payload":[]}`,
			`{"envelope_id":"e-5","type":"interactive","payload":null}`,
			`{"envelope_id":"e-6","type":"interactive"}`,
			`{"envelope_id":"e-7","type":"slash_commands","payload":{}}`,
		} {
			s.slack.Connections()[i%2].SendText(text)
			time.Sleep(time.Second)
			acked := false
			for _, a := range s.slack.Acks() {
				acked = acked || a.EnvelopeID == fmt.Sprintf("e-%d", i)
			}
			if !acked {
				t.Errorf("not acknowledged: %s", text)
			}
		}
		if i, err := s.slack.Event(t.Context(), map[string]any{"type": "brand_new_event"}); err != nil || !i.Acked {
			t.Errorf("an event that nobody knows: acked %t (%v)", i.Acked, err)
		}
		if i, err := s.ana.OpenHome(t.Context()); err != nil || !i.Acked {
			t.Errorf("app_home_opened: acked %t (%v)", i.Acked, err)
		}
		if i, err := s.ana.Shortcut(t.Context(), "whatever"); err != nil || !i.Acked {
			t.Errorf("a shortcut: acked %t (%v)", i.Acked, err)
		}
		s.untouched()
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// What is no JSON at all harms nobody.
func TestEnvelope_notJSON(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for _, text := range []string{"", "hello", "{", "[]", "null", `{"envelope_id":7}`, `"\ud800"`, strings.Repeat("x", 1<<20), strings.Repeat("[", 100_000)} {
			for _, c := range s.slack.Connections() {
				c.SendText(text)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
			t.Error(err)
		}
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// Sixty-four people at the same instant: each is acknowledged in time.
func TestEnvelope_sixtyFourPeopleAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var all sync.WaitGroup
		for n := range 64 {
			p := person{s, s.slack.AddUser(slacksim.User{ID: fmt.Sprintf("U0P%03d", n)})}
			all.Go(func() {
				i, err := p.Slash(t.Context(), channel, "/breakglass", askProd, atHome)
				if err != nil || !i.Acked || i.After >= 3*time.Second {
					t.Errorf("person %d: acked %t after %s (%v)", n, i.Acked, i.After, err)
				}
			})
		}
		all.Wait()
		live, err := s.db.Live()
		if err != nil || len(live) != 64 {
			t.Errorf("%d requests, want 64 (%v)", len(live), err)
		}
		// Every card stands, at the rate that Slack allows, and none twice.
		time.Sleep(5 * time.Minute)
		for n := 1; n <= 64; n++ {
			if cards := s.cards(fmt.Sprintf("BG-%d", n)); len(cards) != 1 || !strings.Contains(cards[0].Text, "Checks: 1") {
				t.Errorf("BG-%d has %d cards", n, len(cards))
			}
		}
		limited := 0
		for _, c := range s.slack.Calls("") {
			if c.Status == 429 {
				limited++
			}
		}
		if limited > 64 {
			t.Errorf("Slack had to say 429 %d times", limited)
		}
	}, quiet)
}

// The answer to a command travels in the acknowledgement, as Slack wants it.
func TestEnvelope_ackPayload(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		a := s.ana.says("status")
		var p struct {
			Type   string           `json:"response_type"`
			Text   string           `json:"text"`
			Blocks []map[string]any `json:"blocks"`
		}
		d := json.NewDecoder(bytes.NewReader(a.Payload))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil || p.Type != "ephemeral" || p.Text == "" || len(p.Blocks) == 0 {
			t.Errorf("the payload of the ack: %s (%v)", a.Payload, err)
		}
		s.asks(askProd)
		b := s.ben.presses("BG-1", "Approve")
		if len(b.Payload) > 0 {
			t.Errorf("the ack of a click has a payload: %s", b.Payload)
		}
	}, quiet)
}

// Slack drops an acknowledgement of 20 kB without a word: a large answer comes
// another way, whole.
func TestEnvelope_largeAnswer(t *testing.T) {
	for name, reason := range map[string]string{
		"plain":   strings.Repeat("long reason ", 250),
		"emoji":   strings.Repeat("🚨🔥", 1500),
		"escaped": strings.Repeat("<&>\"", 750),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				for n := range 26 {
					[]person{s.ana, s.eva, s.mia}[n%3].says("grant cell=helios-prod arn=" + vendor + " ticket=" + strings.Repeat("9", 100) + " for=4h reason=" + reason)
					time.Sleep(5 * time.Second)
				}
				s.ana.says("status").wants(t, "26 waiting", "BG-1 ", "BG-12 ")
				s.ben.presses("BG-1", "Approve")
				s.until("BG-1", "Open until")
				s.ana.says("show 1").wants(t, "BG-1 · Open until", "Support was not told yet")
				for _, a := range s.slack.Acks() {
					if a.Verdict != slacksim.AckTaken {
						t.Errorf("an ack of %d bytes is %s", a.Size, a.Verdict)
					}
				}
			}, quiet)
		})
	}
}
