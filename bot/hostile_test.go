package bot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// Whatever is typed is text: it rings no bell, makes no link, breaks out of no
// block. The invariants of every story look at each message that was ever shown.
func TestHostile_text(t *testing.T) {
	for name, text := range map[string]string{
		"bells":      "<!channel> <!here> <!everyone> @channel @here <!subteam^S0PLATFORM> <@U0BEN>",
		"links":      "<https://evil.example|click to approve> https://evil.example mailto:x@evil.example <mailto:x@evil.example|x>",
		"escaped":    "&lt;!channel&gt; &lt;https://evil.example|x&gt; &amp;lt;!here&amp;gt;",
		"code":       "``` `x` ```\n```<!channel>```",
		"formatting": "*bold* _it_ ~no~ >quote\n• list",
		"bidi":       "safe\u202e<!channel>\u2066evil\u2069\u200b\u200d\ufeff",
		"controls":   "a\x00b\x07c\x1b[31md\u0085e\u2028f",
		"broken":     "\xff\xfe<!channel>\xc3",
		"long":       strings.Repeat("<!channel>", 300),
		"emoji":      strings.Repeat(":rotating_light:🚨", 100),
		"json":       `","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"<!channel>"}}],"x":"`,
		"date":       "<!date^0^{date}^https://evil.example|x>",
		"card":       "\nBG-1 · Closed · helios-prod\nClosed and proven.",
		"percent":    "%s %d %!v(MISSING) %[1]s",
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			ticket := text
			if r := []rune(strings.Join(strings.Fields(ticket), "_")); len(r) > 90 {
				ticket = string(r[:90])
			} else {
				ticket = string(r)
			}
			if strings.ContainsAny(ticket[:1], "\"'") {
				ticket = "48213"
			}
			s.ana.says("grant cell=helios-prod arn=" + vendor + " ticket=" + ticket + " for=4h reason=" + text)
			if live, err := s.db.Live(); err != nil || len(live) != 1 {
				t.Fatalf("%d requests (%v)", len(live), err)
			}
			s.until("BG-1", "Requested", "Checks:")
			s.mia.says("status")
			s.mia.says("show 1")
			s.mia.says(text)
			s.mia.says("show " + text)
			s.mia.says("revoke " + text)
			s.mia.says("help " + text)
			s.mia.says("grant cell=" + text + " arn=" + text + " for=" + text)
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
			time.Sleep(20 * time.Minute)
			s.mia.says("revoke")
			s.ana.says("revoke all")
			s.ana.presses("BG-1", "Revoke now")
			s.proven("BG-1")
			s.mia.says("show 1")
			if n := len(s.cards("BG-1")); n != 1 {
				t.Errorf("there are %d cards", n)
			}
		})
	}
}

// A reason of 3,000 characters is kept whole, and shown as far as there is room.
func TestHostile_longestReason(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		reason := strings.TrimSpace(strings.Repeat("every word of it matters ", 120))[:2990] + " THE END"
		s.asks("grant cell=helios-prod arn=" + vendor + " ticket=48213 for=4h reason=" + reason)
		if got := s.grant("BG-1").Reason; got != reason {
			t.Errorf("the reason has %d characters, want %d", len(got), len(reason))
		}
		s.mia.says("show 1").wants(t, "THE END")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until", "Revoke now")
		s.ana.says("revoke")
		s.proven("BG-1")
	}, quiet)
}

// Forged clicks: nothing in a button is trusted but the opaque token.
func TestHostile_forgedButtons(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		const unknown = "This card is of a grant that I do not know"
		huge := strings.Repeat("x", 1<<16)
		for name, edit := range map[string]slacksim.Edit{
			"a grant's id for the token":  with("value", "BG-1"),
			"a number for the token":      with("value", "1"),
			"no token":                    with("value", ""),
			"a token that nobody made":    with("value", strings.Repeat("a", 26)),
			"a huge token":                with("value", huge),
			"a token with a NUL":          with("value", "\x00"),
			"an action that nobody made":  as("approve_all"),
			"no action":                   as(""),
			"a huge action":               as(huge),
			"an action in other capitals": as("APPROVE"),
		} {
			t.Log(name)
			s.ben.presses("BG-1", "Approve", edit).refused(s, unknown, "nothing changed")
		}
		for name, edit := range map[string]slacksim.Edit{
			"two actions": func(p map[string]any) {
				a := p["actions"].([]any)
				p["actions"] = append(a, a[0])
			},
			"no actions":           func(p map[string]any) { p["actions"] = []any{} },
			"actions missing":      func(p map[string]any) { delete(p, "actions") },
			"a null for an action": func(p map[string]any) { p["actions"] = []any{nil} },
			"another type":         set("type", "message_action"),
			"a shortcut":           set("type", "shortcut"),
			"a submission":         set("type", "view_submission"),
			"no user": func(p map[string]any) {
				p["user"] = map[string]any{"team_id": "T0000000001"}
			},
		} {
			t.Log(name)
			s.ben.presses("BG-1", "Approve", edit)
			s.phase("BG-1", grant.Requested)
		}
		if g := s.grant("BG-1"); len(g.Approvals) != 0 {
			t.Errorf("a forged click counts as an approval: %+v", g.Approvals)
		}
		s.untouched()
		// Buttons of other phases, pressed too early.
		s.ana.presses("BG-1", "Approve", as("mark_sent")).refused(s, "BG-1 is waiting for 1 more approval")
		s.mia.presses("BG-1", "Approve", as("revoke")).refused(s, "You may not revoke BG-1")
		s.mia.presses("BG-1", "Approve", as("revoke_all"))
		s.phase("BG-1", grant.Requested)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		// What is "all" is not in the button, and neither is who may.
		s.mia.presses("BG-1", "Revoke now", as("revoke_all"), with("value", "all")).refused(s, "You may not revoke BG-1")
		s.phase("BG-1", grant.Open)
	}, quiet)
}

// The token of another grant acts on that other grant, by its own state and its
// own requester, whatever the card says that it was on.
func TestHostile_tokenOfAnotherGrant(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		if a := s.ben.says(askTest()); !strings.Contains(a.text, "BG-2") {
			t.Fatal(a.text)
		}
		s.until("BG-2", "Checks:")
		// Ben's own request, approved through the card of Ana's.
		s.ben.presses("BG-1", "Approve", with("value", s.grant("BG-2").Token)).refused(s, "BG-2 is your own request")
		// Ana's own, through the card of Ben's.
		s.ana.presses("BG-2", "Approve", with("value", s.grant("BG-1").Token)).refused(s, "BG-1 is your own request")
		s.phase("BG-1", grant.Requested)
		s.phase("BG-2", grant.Requested)
		s.untouched()
	}, quiet)
}

// The message of a click is not believed, whatever it says.
func TestHostile_forgedMessage(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.mia.presses("BG-1", "Approve", func(p map[string]any) {
			m := p["message"].(map[string]any)
			m["text"] = "BG-1 requested by U0BEN, approvers U0MIA"
			m["user"] = mia
			p["channel"] = map[string]any{"id": "C0EVIL"}
			p["container"] = map[string]any{"type": "message", "channel_id": "C0EVIL"}
			p["state"] = map[string]any{"values": map[string]any{"approver": map[string]any{"yes": map[string]any{"type": "plain_text_input", "value": mia}}}}
		}).refused(s, "Only an approver")
		s.phase("BG-1", grant.Requested)
	}, quiet)
}

// A response_url that leads elsewhere in the clear is not called: what it would
// be told goes to the person through Slack.
func TestHostile_responseURLElsewhere(t *testing.T) {
	for _, u := range []string{"http://evil.example/x", "ftp://localhost/x", "javascript:alert(1)", "", "http://user:pw@localhost/x", "http://169.254.169.254/latest/meta-data", "::"} {
		bubble(t, func(t *testing.T, s *stage) {
			s.asks(askProd)
			i, err := s.mia.Click(t.Context(), s.card("BG-1"), "Approve", set("response_url", u))
			if err != nil || !i.Acked {
				t.Fatalf("acked %t (%v)", i.Acked, err)
			}
			time.Sleep(time.Second)
			if n := len(s.slack.Calls("chat.postEphemeral")); n != 1 {
				t.Errorf("%q: %d calls of chat.postEphemeral, want 1", u, n)
			}
		}, quiet)
	}
}

// Nobody can fill the channel or the disk faster than Slack delivers, and one person
// alone has ten requests waiting at most; but people who ask a hundred times get a
// hundred cards at Slack's pace, and the buttons work meanwhile.
func TestHostile_hundredRequests(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for n := range 100 {
			if n%10 == 0 {
				s.mia = person{s, s.slack.AddUser(slacksim.User{ID: fmt.Sprintf("U0MIA%d", n)})}
			}
			s.mia.says(strings.Replace(askProd, "48213", fmt.Sprint(n), 1)).wants(t, "is requested")
		}
		s.mia.says(askProd).refused(s, "You have 10 requests that nobody has decided yet", "BG-92, BG-93", "Nothing was requested", "/breakglass revoke BG-92")
		s.live(101)
		began := time.Now()
		s.ben.presses("BG-1", "Approve")
		for s.grant("BG-1").Phase != grant.Open {
			if time.Since(began) > 30*time.Second {
				t.Fatal("BG-1 is not open half a minute after its approval: the flood keeps AWS work from being done")
			}
			time.Sleep(time.Second)
		}
		s.until("BG-1", "Open until")
		if took := time.Since(began); took > 10*time.Minute {
			t.Errorf("the card told it after %s", took)
		}
		s.ana.says("revoke BG-1")
		s.proven("BG-1")
	}, quiet, func(c *setup) { c.policy.Limits.Undecided = 4 * time.Hour })
}
