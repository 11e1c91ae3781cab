package bot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// Attacks. Each test here, and each script cmd/breakglass/testdata/script/attack-*,
// tells one: who attacks and what they hold, what they try, why it matters, and what
// stops them. They come in by the front door: the real bot, slack-go and the AWS SDK,
// against Slack and AWS as they are.

// ---- What an attacker does.

// keep copies a payload as Slack sends it.
func keep(into *map[string]any) slacksim.Edit {
	return func(payload map[string]any) { *into = again(payload) }
}

// again is a deep copy of a payload, with changes.
func again(payload map[string]any, edits ...slacksim.Edit) (out map[string]any) {
	js, err := json.Marshal(payload)
	if err == nil {
		err = json.Unmarshal(js, &out)
	}
	if err != nil {
		panic(err)
	}
	for _, edit := range edits {
		edit(out)
	}
	return out
}

// sends puts an envelope of the attacker's own making on a socket, and answers
// whether it was acknowledged.
func (s *stage) sends(id, kind string, payload map[string]any) bool {
	s.t.Helper()
	frame, err := json.Marshal(map[string]any{"envelope_id": id, "type": kind, "accepts_response_payload": false, "payload": payload})
	if err != nil {
		s.t.Fatal(err)
	}
	before := len(s.slack.Acks())
	s.slack.Connections()[0].SendText(string(frame))
	time.Sleep(4 * time.Second)
	synctest.Wait()
	return slices.ContainsFunc(s.slack.Acks()[before:], func(a slacksim.Ack) bool { return a.EnvelopeID == id })
}

// inView forges a field of the form of a submission.
func inView(field string, value any) slacksim.Edit {
	return func(payload map[string]any) { payload["view"].(map[string]any)[field] = value }
}

// inField forges what a field of the form holds; it need not be in its menu.
func inField(block string, value any) slacksim.Edit {
	return func(payload map[string]any) {
		values := payload["view"].(map[string]any)["state"].(map[string]any)["values"].(map[string]any)
		for action, a := range values[block].(map[string]any) {
			if a, ok := a.(map[string]any); ok && a["type"] != "plain_text_input" {
				a["selected_option"] = map[string]any{"value": value}
			} else {
				values[block] = map[string]any{action: map[string]any{"type": "plain_text_input", "value": value}}
			}
		}
	}
}

// answers has Slack answer a method with this very text.
func (s *stage) answers(method, text string) (remove func()) {
	return s.slack.Inject(slacksim.Fault{Method: method, Answer: func(w http.ResponseWriter, _ *http.Request) (int, string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
		return http.StatusOK, "forged"
	}})
}

// outside are the hosts, other than Slack and AWS as they are configured, to which
// the bot sends anything from now on.
func (s *stage) outside() func() []string {
	synctest.Wait()
	var mu sync.Mutex
	var hosts []string
	s.power.each.Store(&hook{func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if host := r.URL.Host; host != "localhost" && !strings.HasSuffix(host, ".amazonaws.com") {
			hosts = append(hosts, r.URL.String())
		}
	}})
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(hosts)
	}
}

// ---- What must hold.

// undecided holds that nobody's click has counted, and that nothing was done in AWS.
func (s *stage) undecided(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		s.phase(id, grant.Requested)
		if g := s.grant(id); len(g.Approvals) != 0 {
			s.t.Errorf("%s counts approvals of %+v", id, g.Approvals)
		}
	}
	s.untouched()
}

// approvedBy holds whose approvals count.
func (s *stage) approvedBy(id string, want ...grant.UserID) {
	s.t.Helper()
	var got []grant.UserID
	for _, a := range s.grant(id).Approvals {
		got = append(got, a.By)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%s counts the approvals of %v, want %v", id, got, want)
	}
}

// innocent holds every message and view that anybody was ever shown: what was typed
// rings no bell, names nobody, leads nowhere, hides nothing, and adds no button.
func (s *stage) innocent(victim string) {
	s.t.Helper()
	said := map[string]bool{}
	complain := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !said[text] {
			said[text] = true
			s.t.Error(text)
		}
	}
	bell := regexp.MustCompile(`<(!(channel|here|everyone|subteam)|#C0EVIL|https?:|mailto:|@` + victim + `)`)
	ours := regexp.MustCompile(`^[a-z_]+$`)
	token := regexp.MustCompile(`^(|all|home|[a-z_]* ?[a-z2-7]{26}(:[A-Za-z0-9._-]+)?)$`)
	var c slacksim.Change
	var look func(where string, v any)
	look = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			text, _ := v["text"].(string)
			switch v["type"] {
			case "mrkdwn":
				if found := bell.FindString(text); found != "" {
					complain("%s: Slack would parse %q in %q", where, found, text)
				}
			case "broadcast", "usergroup", "channel", "image", "video", "file", "markdown", "emoji", "context_actions":
				complain("%s: an element that nobody meant: %v", where, v)
			case "user":
				// Refusals name people, and say back what was typed; Slack calls nobody
				// by what only the typist sees.
				if v["user_id"] == victim && c.Message.To == "" {
					complain("%s: @%s is called: %v", where, victim, c.Message.Blocks)
				}
			case "link":
				if !console.MatchString(fmt.Sprint(v["url"])) {
					complain("%s: a link to %v", where, v["url"])
				}
			case "button":
				action, _ := v["action_id"].(string)
				value, _ := v["value"].(string)
				if !ours.MatchString(action) || v["url"] != nil || !token.MatchString(value) {
					complain("%s: a button that nobody meant: %v", where, v)
				}
			}
			for _, x := range v {
				look(where, x)
			}
		case []any:
			for _, x := range v {
				look(where, x)
			}
		case string:
			for _, r := range v {
				if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Bidi_Control) || r == unicode.ReplacementChar) {
					complain("%s: the character %U is shown in %q", where, r, v)
				}
			}
		}
	}
	for _, c = range s.slack.Changes(0) {
		where := string(c.Kind)
		if c.Kind == slacksim.ViewFilled {
			continue // what they see of their own typing
		}
		found := bell.FindString(c.Message.Text)
		if found != "" && c.Message.User == s.slack.BotUserID() && (c.Message.To == "" || found != "<@"+victim) {
			complain("%s: Slack would parse %q in the text %q", where, found, c.Message.Text)
		}
		for _, b := range append(slices.Clone(c.Message.Blocks), c.View.Blocks...) {
			if b["type"] == "input" {
				continue // initial values are shown as typed, in an input
			}
			look(where, b)
		}
	}
}

// ---- Buttons, forms and envelopes.

// A member of the channel with a script in place of Slack's client presses Approve,
// and puts into the button's value what they like: the token of another grant, one of
// nothing, a path, bytes, 100 kB. If the value named the grant and were believed,
// everybody could approve everything, or crash the bot for all.
// What stops them: the value is an opaque token that is looked up whole; who may is
// decided from the state of the grant that it finds, and nothing else in the click
// counts.
func TestAttack_forgedActionValue(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.says(askTest()).wants(t, "BG-2 is requested")
		s.until("BG-2", "Checks:")
		s.mia.says(strings.Replace(askProd, "48213", "3", 1)).wants(t, "BG-3 is requested")
		s.until("BG-3", "Checks:")
		s.eva.presses("BG-3", "Deny")
		s.until("BG-3", "Denied")
		anas, bens, over := s.grant("BG-1").Token, s.grant("BG-2").Token, s.grant("BG-3").Token

		for name, value := range map[string]string{
			"an id":              "BG-1",
			"nobody's":           strings.Repeat("a", len(anas)),
			"most of one":        anas[:len(anas)-1],
			"and more":           anas + "a",
			"in capitals":        strings.ToUpper(anas),
			"behind a space":     " " + anas,
			"before a line":      anas + "\n",
			"behind NUL":         "\x00" + anas,
			"before NUL":         anas + "\x00",
			"two":                anas + bens,
			"a path":             "../../grants/1",
			"an absolute path":   "/etc/passwd",
			"an escaped path":    "%2e%2e%2f" + anas,
			"a query":            "' OR '1'='1",
			"a pattern":          "*",
			"100 kB":             strings.Repeat(anas, 100_000/len(anas)),
			"only a colon":       ":" + anas,
			"an extension":       "1:" + anas,
			"a bucket's own key": "\x00\x00\x00\x00\x00\x00\x00\x01",
		} {
			t.Log(name)
			for _, action := range []string{"approve", "deny", "withdraw", "revoke", "mark_sent", "approve_less", "approve_redirect", "approve_extension", "revoke_cell", "adopt", "remove"} {
				a := s.ben.presses("BG-1", "Approve", as(action), with("value", value))
				if action == "adopt" || action == "remove" {
					continue // of a stray, that is not there
				}
				a.refused(s, "do not know", "othing changed")
			}
			line := "approve " + value
			s.ben.chooses("BG-1", less, with("selected_option", map[string]any{"value": line})).refused(s, "do not know")
		}
		// What is no text at all.
		for _, value := range []any{7, nil, true, []any{anas}, map[string]any{"token": anas}} {
			s.ben.presses("BG-1", "Approve", with("value", value))
		}
		s.undecided("BG-1", "BG-2")

		// The token of another grant is that grant, by its own requester and its own end.
		s.ben.presses("BG-1", "Approve", with("value", bens)).refused(s, "BG-2 is your own request")
		s.ana.presses("BG-2", "Approve", with("value", anas)).refused(s, "BG-1 is your own request")
		s.ben.presses("BG-1", "Approve", with("value", over)).refused(s, "BG-3 was denied by @eva")
		s.mia.presses("BG-1", "Approve", as("revoke_all"), with("value", anas))
		s.undecided("BG-1", "BG-2")
	}, quiet)
}

// Somebody who may ask for access, and has read the forms' source, sends in a form
// that Slack never showed them: as an emergency, for a cell and a time that no menu
// has, on another grant, or as an approver's.
// What stops them: a form's name, hidden fields and menus are taken for what somebody
// typed; rights come from the configuration, limits from the policy, and an approver
// never opens more than was asked for.
func TestAttack_forgedForm(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for name, edit := range map[string]slacksim.Edit{
			"as an emergency":     inView("callback_id", "emergency"),
			"as an approval":      inView("callback_id", "approve_less"),
			"as a denial":         inView("callback_id", "deny"),
			"as more time":        inView("callback_id", "extend"),
			"of nobody's":         inView("callback_id", "approve_all"),
			"for another cell":    inField("cell", "helios-secret"),
			"for a cell and more": inField("cell", prod+"\x00"),
			"for years":           inField("for", "99999h"),
			"for less than no":    inField("for", "-4h"),
			"for ever":            inField("for", "Inf"),
			"for a number":        inField("for", "4"),
			"with 1 MB":           inField("reason", strings.Repeat("x", 1<<20)),
			"without a state":     inView("state", nil),
			"with an odd state":   inView("state", map[string]any{"values": map[string]any{"cell": map[string]any{}}}),
		} {
			t.Log(name)
			s.mia.says("grant")
			if a := s.answered(s.mia.Submit(t.Context(), s.mia.modal(), good(nil), edit)); !a.Acked {
				t.Errorf("%s: not acknowledged", name)
			}
			s.mia.Reload()
		}
		s.live(0)
		s.untouched()
		// What a form hides is never read where a request is made, nor what it has more.
		s.mia.says("grant")
		wants(t, s.mia.submits(s.mia.modal(), good(nil), inView("private_metadata", `{"approvals":0,"requester":"U0ANA"}`), func(p map[string]any) {
			p["view"].(map[string]any)["state"].(map[string]any)["values"].(map[string]any)["approvals"] = map[string]any{"approvals": map[string]any{"type": "plain_text_input", "value": "0"}}
		}), "BG-1 is requested")
		if g := s.grant("BG-1"); g.Requester != mia || g.Terms.Approvals != 1 || g.Emergency {
			t.Errorf("the form was believed: %+v", g)
		}
		s.until("BG-1", "Checks:")

		s.ben.says(askTest())
		s.until("BG-2", "Checks:")
		bens, mias := s.grant("BG-2").Token, s.grant("BG-1").Token
		// Ben's form about Mia's request, sent in for his own.
		s.ben.chooses("BG-1", less)
		s.saysNo(s.ben.submits(s.ben.modal(), values{"for": "2h"}, inView("private_metadata", bens)), "BG-2 is your own request")
		s.ben.Reload()
		// An approver's form for more than was asked for, or for nothing.
		for _, period := range []string{"12h", "99h", "-1h", "0s", "4h0m1s"} {
			s.ben.chooses("BG-1", less)
			s.ben.submits(s.ben.modal(), values{"for": "2h"}, inField("for", period))
			s.ben.Reload()
		}
		// Mia has no such form: she makes one.
		s.mia.says("grant")
		s.saysNo(s.mia.submits(s.mia.modal(), good(nil), inView("callback_id", "approve_less"), inView("private_metadata", bens)), "Only an approver may approve BG-2")
		s.mia.Reload()
		s.mia.says("grant")
		s.saysNo(s.mia.submits(s.mia.modal(), good(nil), inView("callback_id", "approve_less"), inView("private_metadata", mias)), "BG-1")
		s.undecided("BG-1", "BG-2")
	}, quiet, emergencies(ana))
}

// Somebody sits between Slack and the bot (a relay, a proxy that breaks TLS open) and
// plays envelopes back: the same id with another person's click in it, the same click
// under a new id, and all of them again the next day, when nobody remembers them.
// A click that counts twice is one person approving for two.
// What stops them: the id of the envelope and the click's own identity are committed
// with what it did, and for what they have forgotten the grant's phase and the names of
// those who have approved stand.
func TestAttack_replayedEnvelope(t *testing.T) {
	beside(t, "the same id, another payload", func(t *testing.T, s *stage) {
		s.asks(askProd)
		var click map[string]any
		first := s.ben.presses("BG-1", "Approve", keep(&click))
		evas := again(click, from("id", eva), set("trigger_id", "1.2.3"), with("action_ts", "1.000001"))
		if !s.sends(first.EnvelopeID, "interactive", evas) {
			t.Error("it was not acknowledged, so Slack would send it for ever")
		}
		s.approvedBy("BG-1", ben)
		s.phase("BG-1", grant.Requested)
		s.untouched()
		if !s.sends("another-envelope", "interactive", evas) {
			t.Error("it was not acknowledged")
		}
		s.until("BG-1", "Open until") // it was the id alone that was spent
		s.approvedBy("BG-1", ben, eva)
	}, approvals(2), quiet)

	beside(t, "the same payload, a new id", func(t *testing.T, s *stage) {
		s.asks(askProd)
		var click, ask map[string]any
		s.ben.presses("BG-1", "Approve", keep(&click))
		for n := range 5 {
			s.sends(fmt.Sprintf("envelope-%d", n), "interactive", click)
		}
		s.approvedBy("BG-1", ben)
		s.mia.says(askTest(), keep(&ask))
		for n := range 5 {
			s.sends(fmt.Sprintf("envelope-9%d", n), "slash_commands", ask)
		}
		s.live(2)
		s.untouched()
	}, approvals(2), quiet)

	beside(t, "the next day", func(t *testing.T, s *stage) {
		var ask, yes, no map[string]any
		s.ana.says(askProd, keep(&ask))
		s.until("BG-1", "Checks:")
		first := s.ben.presses("BG-1", "Approve", keep(&yes))
		time.Sleep(25 * time.Hour)
		for n := range 10 { // each commit forgets a few
			s.mia.says(fmt.Sprintf("grant cell=helios-test arn=%s ticket=%d for=1h reason=x", vendor, n))
		}
		if _, known, err := s.db.Known("envelope/" + first.EnvelopeID); known || err != nil {
			t.Fatalf("the envelope is still remembered: known %t (%v)", known, err)
		}
		s.sends(first.EnvelopeID, "interactive", yes)
		s.sends("yes-again", "interactive", yes)
		s.approvedBy("BG-1", ben)
		s.phase("BG-1", grant.Requested)
		// What began a grant is remembered as long as the grant.
		s.sends("ask-again", "slash_commands", ask)
		s.live(11)

		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.ana.presses("BG-1", "Revoke now", keep(&no))
		s.proven("BG-1")
		time.Sleep(25 * time.Hour)
		s.mia.says("status")
		s.sends("yes-once-more", "interactive", yes)
		s.sends("no-again", "interactive", no)
		s.phase("BG-1", grant.Closed)
		s.shut(s.cell)
	}, approvals(2), quiet, func(c *setup) { c.policy.Limits.Undecided = 96 * time.Hour })

	// An emergency needs nobody else, so that its words, played back, open access.
	beside(t, "an emergency, the next day", func(t *testing.T, s *stage) {
		var ask map[string]any
		s.ana.says(askEmergency, keep(&ask))
		s.until("BG-1", "Open until")
		s.ana.says("revoke")
		s.proven("BG-1")
		time.Sleep(25 * time.Hour)
		for n := range 10 {
			s.mia.says(fmt.Sprintf("grant cell=helios-test arn=%s ticket=%d for=1h reason=x", vendor, n))
		}
		s.sends("emergency-again", "slash_commands", ask)
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("the emergency of yesterday has opened access again")
		}
	}, quiet, emergencies(ana))
}

// An administrator of another Slack team, or the maker of another app, has got hold of
// a card's token (from a screenshot of the payload, from a shared channel) and sends
// commands, clicks, forms, shortcuts and visits to the bot as if they were ours. In
// their own team they may call themselves U0BEN.
// What stops them: every envelope must name our app, our team and, where it names the
// person's, that team too; in the installation of a whole organisation, where the team
// is null, the person's own team counts.
func TestAttack_otherTeamOrApp(t *testing.T) {
	forgeries := map[string]slacksim.Edit{
		"another team": func(p map[string]any) {
			if _, ok := p["team"]; ok {
				p["team"] = map[string]any{"id": "T0EVIL", "domain": "acme"}
				return
			}
			p["team_id"] = "T0EVIL"
		},
		"a person of another team": func(p map[string]any) {
			if u, ok := p["user"].(map[string]any); ok {
				u["team_id"] = "T0EVIL"
				return
			}
			p["team_id"] = "T0EVIL"
		},
		"no team at all": func(p map[string]any) {
			p["team"], p["team_id"] = nil, ""
			if u, ok := p["user"].(map[string]any); ok {
				delete(u, "team_id")
			}
		},
		"a team that looks like ours": func(p map[string]any) {
			if _, ok := p["team"]; ok {
				p["team"] = map[string]any{"id": "t0000000001", "domain": "acme"}
				return
			}
			p["team_id"] = "T0000000001 "
		},
		"another app": set("api_app_id", "A0EVIL"),
	}
	for _, org := range []bool{false, true} {
		for name, forge := range forgeries {
			if org && name == "a team that looks like ours" {
				continue // an organisation's payload has none
			}
			beside(t, fmt.Sprintf("%s, whole organisation %t", name, org), func(t *testing.T, s *stage) {
				s.asks(askProd)
				for _, button := range []string{"Approve", "Deny"} {
					s.ben.presses("BG-1", button, forge).refused(s, "another", "Nothing changed")
				}
				s.ana.presses("BG-1", "Withdraw", forge).refused(s, "another", "Nothing changed")
				for _, text := range []string{askTest(), "revoke BG-1", "emergency " + strings.TrimPrefix(askTest(), "grant "), "status"} {
					s.ana.says(text, forge).refused(s, "another", "Nothing changed")
				}
				s.ana.says("grant")
				s.inTime(s.answered(s.ana.Submit(t.Context(), s.ana.modal(), good(nil), forge)), "submit")
				s.ana.Reload()
				s.inTimeShortcut(s.ana, "request_access", forge)
				s.ana.noModal()
				s.inTime(s.answered(s.mia.OpenHome(t.Context(), forge)), "home")
				time.Sleep(time.Minute)
				if _, shown := s.mia.Home(); shown {
					t.Error("what is open was shown in a home of another team")
				}
				s.live(1)
				s.undecided("BG-1")
			}, quiet, emergencies(ana), func(c *setup) {
				if org {
					c.slack.OrgInstall, c.slack.EnterpriseID, c.slack.EnterpriseName = true, "E0ACME", "Acme"
				}
			})
		}
	}
}

// ---- Who somebody is.

// Mia, who is in no group of approvers, waits until Slack's answer about the group
// fails (or has a friend at a proxy who makes it so), and presses Approve. A bot that
// took silence, an empty list, an old answer or the answer about another group for a
// yes would let everybody in on a bad day.
// What stops her: only an answer that is ok, whole, less than a minute old and about
// this very group, and that has the very id, makes an approver; everything else is "Slack
// did not say", and nothing is decided.
func TestAttack_groupLookupFailsOpen(t *testing.T) {
	for name, c := range map[string]struct{ answer, says string }{
		"nothing":             {``, "Slack did not say"},
		"no users":            {`{"ok":true}`, "Only an approver"},
		"users null":          {`{"ok":true,"users":null}`, "Only an approver"},
		"nobody":              {`{"ok":true,"users":[]}`, "Only an approver"},
		"an empty id":         {`{"ok":true,"users":[""]}`, "Only an approver"},
		"a star":              {`{"ok":true,"users":["*"]}`, "Only an approver"},
		"small letters":       {`{"ok":true,"users":["u0mia"]}`, "Only an approver"},
		"a longer id":         {`{"ok":true,"users":["U0MIAA","U0MI"]}`, "Only an approver"},
		"one text":            {`{"ok":true,"users":"U0MIA"}`, "Slack did not say"},
		"an object":           {`{"ok":true,"users":{"U0MIA":true}}`, "Slack did not say"},
		"lists in lists":      {`{"ok":true,"users":[["U0MIA"]]}`, "Slack did not say"},
		"not ok":              {`{"ok":false,"users":["U0MIA"]}`, "Slack did not say"},
		"not ok, with reason": {`{"ok":false,"error":"no_such_subteam","users":["U0MIA"]}`, "Slack did not say"},
		"cut off":             {`{"ok":true,"users":["U0MIA"`, "Slack did not say"},
		"HTML":                {`<html>U0MIA</html>`, "Slack did not say"},
		"5 MB":                {`{"ok":true,"users":["` + strings.Repeat("x", 5<<20) + `","U0MIA"]}`, "Slack did not say"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			time.Sleep(2 * time.Minute)
			remove := s.answers("usergroups.users.list", c.answer)
			for range 2 { // the second may be answered from memory
				s.mia.presses("BG-1", "Approve").refused(s, c.says)
			}
			s.mia.presses("BG-1", "Approve", from("id", "")).refused(s)
			s.undecided("BG-1")
			remove()
			s.mia.presses("BG-1", "Deny").refused(s)
			s.undecided("BG-1")
		}, quiet, byGroup)
	}
	for name, f := range map[string]slacksim.Fault{
		"times out":      {Answer: slacksim.Hang()},
		"comes too late": {DelayAnswer: 10 * time.Second},
		"500":            {Answer: slacksim.Status(500)},
		"redirects": {Answer: func(w http.ResponseWriter, _ *http.Request) (int, string) {
			w.Header().Set("Location", "https://evil.example/users")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return http.StatusTemporaryRedirect, "redirect"
		}},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			s.ben.presses("BG-1", "Deny", as("approve_less")) // a good answer, that grows old
			s.ben.Reload()
			s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = []string{eva} })
			time.Sleep(2 * time.Minute)
			f.Method = "usergroups.users.list"
			s.slack.Inject(f)
			leads := s.outside()
			for _, p := range []person{s.mia, s.ben} { // ben was in it, two minutes ago
				p.presses("BG-1", "Approve").refused(s, "Slack did not say")
			}
			s.undecided("BG-1")
			if hosts := leads(); len(hosts) != 0 {
				t.Errorf("somebody else was asked: %q", hosts)
			}
		}, quiet, byGroup)
	}
	// The members of one group are not taken for those of another.
	beside(t, "another group", func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.slack.AddUserGroup(slacksim.UserGroup{ID: "S0ENDERS", Members: []string{mia}})
		s.mia.presses("BG-1", "Approve", as("mark_sent")) // asks both groups
		s.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Answer: slacksim.Hang(), When: func(c slacksim.Call) bool { return c.Args["usergroup"] == group }})
		s.mia.presses("BG-1", "Approve").refused(s, "Only an approver")
		time.Sleep(2 * time.Minute)
		s.mia.presses("BG-1", "Approve").refused(s, "Slack did not say")
		s.undecided("BG-1")
	}, quiet, byGroup, func(c *setup) { c.people.Revokers = bot.Circle{Groups: []grant.GroupID{"S0ENDERS"}} })
}

// Ana asks, and is an approver, too. She cannot approve her own request; so she comes
// back as somebody else: her id in other letters, with a space, from the organisation,
// from a company that shares the channel, from a sister team.
// What stops her: an id counts only as it is written in the configuration or the group,
// and users.info must answer for that very id with a full member of our team.
func TestAttack_ownRequestThroughAnotherID(t *testing.T) {
	for name, id := range map[string]string{
		"small letters":     "u0ana",
		"W for U":           "W0ANA",
		"a space behind":    "U0ANA ",
		"a space before":    " U0ANA",
		"a line behind":     "U0ANA\n",
		"zero width":        "U0ANA\u200b",
		"full width":        "Ｕ0ANA",
		"Cyrillic":          "U0АNA",
		"as a mention":      "<@U0ANA>",
		"by a name":         "ana",
		"NUL":               "U0ANA\x00",
		"two":               "U0ANA,U0BEN",
		"nobody":            "",
		"another's, spaced": "U0BEN ",
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			s.ana.presses("BG-1", "Approve", from("id", id))
			s.ana.chooses("BG-1", less, from("id", id))
			s.undecided("BG-1")
			s.ana.presses("BG-1", "Approve").refused(s, "BG-1 is your own request")
			s.undecided("BG-1")
		}, quiet)
	}
	// Ids that the operator has put into the list besides, because Slack shows them.
	for name, c := range map[string]struct {
		user slacksim.User
		says string
	}{
		"of the organisation, unknown to Slack": {slacksim.User{ID: "W0ANA"}, "Slack did not say who you are"},
		"of a sister team":                      {slacksim.User{ID: "U0ANA2", TeamID: "T0SISTER", EnterpriseUserID: "W0ANA"}, "another Slack team"},
		"of a company that shares the channel":  {slacksim.User{ID: "U0ANA3", TeamID: "T0OTHER", Stranger: true}, "another Slack team"},
		"of a company, said to be of our team":  {slacksim.User{ID: "U0ANA4", Stranger: true}, "another organisation"},
		"as a guest":                            {slacksim.User{ID: "U0ANA5", Guest: slacksim.MultiChannelGuest}, "a guest"},
		"as an app":                             {slacksim.User{ID: "U0ANA6", Bot: true}, "an app"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.slack.EditUser(ana, func(u *slacksim.User) { u.EnterpriseUserID = "W0ANA" })
			s.asks(askProd)
			edits := []slacksim.Edit{from("id", c.user.ID)}
			if c.user.ID != "W0ANA" {
				s.slack.AddUser(c.user)
			}
			if c.user.TeamID != "" {
				edits = append(edits, from("team_id", c.user.TeamID))
			}
			s.ana.presses("BG-1", "Approve", edits...).refused(s, c.says, "othing changed")
			s.undecided("BG-1")
			if c.user.TeamID != "" { // and with the team left out of the payload
				s.ana.presses("BG-1", "Approve", from("id", c.user.ID), from("team_id", "")).refused(s, "othing changed")
				s.undecided("BG-1")
			}
		}, quiet, func(cfg *setup) {
			cfg.people.Approvers.Users = append(cfg.people.Approvers.Users, grant.UserID(c.user.ID))
		})
	}
	// The same person of the organisation, twice in our team.
	beside(t, "a second account", func(t *testing.T, s *stage) {
		s.slack.EditUser(ana, func(u *slacksim.User) { u.EnterpriseUserID = "W0ANA" })
		s.slack.AddUser(slacksim.User{ID: "U0ANA7", EnterpriseUserID: "W0ANA"})
		s.asks(askProd)
		s.ana.presses("BG-1", "Approve", from("id", "U0ANA7")).refused(s, "BG-1 is your own request")
		s.undecided("BG-1")
	}, quiet, func(c *setup) { c.people.Approvers.Users = append(c.people.Approvers.Users, "U0ANA7") })
	// users.info answers for another than was asked for.
	beside(t, "Slack answers for another", func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.answers("users.info", `{"ok":true,"user":{"id":"U0BEN","team_id":"T0000000001"}}`)
		s.ana.presses("BG-1", "Approve", from("id", "W0ANA")).refused(s, "Slack did not say who you are")
		s.undecided("BG-1")
	}, quiet, func(c *setup) { c.people.Approvers.Users = append(c.people.Approvers.Users, "W0ANA") })
}

// Two people must say yes, and Ben wants to be both of them: on the card, with the
// form that he had opened before, in his App Home, under a reminder, on a second
// device, and after a restart that may have forgotten him.
// What stops him: approvals are counted by person in the grant itself, in the one
// transaction that decides.
func TestAttack_onePersonApprovesTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		home := s.ben.looks("Approve 4 h")
		time.Sleep(11 * minute)
		reminder := s.once("has been waiting")
		s.ben.chooses("BG-1", less)
		form := s.ben.modal("Approve for less")
		s.ben.presses("BG-1", "Approve")
		s.approvedBy("BG-1", ben)

		const already = "You have approved BG-1 already"
		tries := 0
		try := func() {
			t.Helper()
			tries++
			s.ben.presses("BG-1", "Approve").refused(s, already)
			s.ben.presses("BG-1", "Approve", with("action_ts", "1.000001"), set("trigger_id", fmt.Sprint("9.9.", tries))).refused(s, already)
			s.ben.chooses("BG-1", less).refused(s, already)
			s.ben.presses("BG-1", "Deny", as("approve_redirect"), with("value", s.grant("BG-1").Token+":x")).refused(s, already)
			under := s.thread("has been waiting")[0]
			a := s.inTime(s.answered(s.ben.Forge(t.Context(), slacksim.Forgery{Channel: channel, MessageTS: under.TS, ActionID: "approve", Value: s.grant("BG-1").Token}, atHome)), "forged")
			a.refused(s, already)
			s.approvedBy("BG-1", ben)
			s.phase("BG-1", grant.Requested)
			s.untouched()
		}
		try()
		s.saysNo(s.ben.submits(form, values{"for": "2h"}), already)
		s.ben.Reload()
		s.ben.pressesIn(home, "Request access", as("approve"), with("value", s.grant("BG-1").Token))
		s.saysNo(s.slack.RenderView(s.ben.modal()), already)
		s.ben.Reload()
		if reminder == "" {
			t.Error("the reminder says nothing")
		}
		s.restart()
		try()
		s.crash()
		s.start()
		try()
		// Many at once, from two devices.
		card, token := s.card("BG-1"), s.grant("BG-1").Token
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := s.ben.Click(t.Context(), card, "Approve", atHome); err != nil {
					t.Error(err)
				}
				if _, err := s.ben.Forge(t.Context(), slacksim.Forgery{Channel: channel, MessageTS: card.TS, ActionID: "approve", Value: token}, atHome); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		s.approvedBy("BG-1", ben)
		s.untouched()
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until", "approved by @ben, @eva")
	}, approvals(2), func(c *setup) {
		c.policy.Limits.Undecided = 24 * time.Hour
		c.policy.Reminders = grant.Reminders{Undecided: 10 * time.Minute}
	})
}

// Ben has left the company. His phone is still signed in to Slack for a while, or
// somebody has his session's cookie; he is still in the list of approvers, because
// nobody has changed the file.
// What stops whoever holds it: users.info is asked at the click and again before
// access opens, is believed for a minute at most, and a deactivated account decides
// nothing; an approval that was given before falls away.
func TestAttack_deactivatedApprover(t *testing.T) {
	leaves := func(s *stage) { s.slack.EditUser(ben, func(u *slacksim.User) { u.Deleted = true }) }
	asBen := from("id", ben)
	beside(t, "presses afterwards", func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.says("status")
		s.ben.chooses("BG-1", less) // he is known as a member from here on
		leaves(s)
		time.Sleep(61 * time.Second)
		for _, button := range []string{"Approve", "Deny"} {
			s.mia.presses("BG-1", button, asBen).refused(s, "this account is deactivated", "Nothing changed")
		}
		s.mia.says(askTest(), asBen).refused(s, "this account is deactivated")
		s.mia.says("emergency "+strings.TrimPrefix(askTest(), "grant "), asBen).refused(s, "this account is deactivated")
		s.live(1)
		s.undecided("BG-1")
		s.restart()
		s.mia.presses("BG-1", "Approve", asBen).refused(s, "this account is deactivated")
		s.undecided("BG-1")
	}, quiet, emergencies(ben))
	beside(t, "pressed before", func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		leaves(s)
		time.Sleep(2 * time.Minute)
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "may not approve any more: @ben", "Approvals: 1 of 2")
		s.approvedBy("BG-1", eva)
		s.untouched()
	}, quiet, approvals(2))
	beside(t, "Slack is made to be silent about him", func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.chooses("BG-1", less)
		leaves(s)
		time.Sleep(61 * time.Second)
		s.answers("users.info", `{"ok":true,"user":{"id":"U0BEN"`)
		s.mia.presses("BG-1", "Approve", asBen).refused(s, "Slack did not say who you are")
		s.undecided("BG-1")
	}, quiet)
}

// ---- Text.

// Whoever writes the ticket at SingleStore, or the mail that Ana copies from, hides a
// second ARN, a longer time or another cell in the words that she pastes: behind the
// reason, in quotes, on a line of its own, with letters and signs that only look right.
// Approvers would read one thing, and another would be opened.
// What stops them: a key is ASCII and stands once; the reason takes the whole rest;
// what is not understood is refused, not skipped; and the card, the plan and the trust
// statement are all written from the one parsed grant.
func TestAttack_smuggledWords(t *testing.T) {
	const head = "grant cell=helios-prod arn=" + vendor + " for=1h ticket=48213 "
	refusals := map[string]string{
		"an ARN twice":               head + "arn=" + vendor2 + " reason=x",
		"an ARN twice, in capitals":  head + "ARN=" + vendor2 + " reason=x",
		"a time twice":               head + "for=12h reason=x",
		"a cell twice":               head + "cell=helios-test reason=x",
		"a line break before a key":  "grant cell=helios-prod ticket=48213\narn=" + vendor2 + " arn=" + vendor + " for=1h reason=x",
		"a full-width sign":          head + "arn＝" + vendor2 + " reason=x",
		"another sign":               head + "arn꞊" + vendor2 + " reason=x",
		"a hidden letter in the key": head + "a\u200brn=" + vendor2 + " reason=x",
		"a Cyrillic key":             head + "аrn=" + vendor2 + " reason=x",
		"a key that nobody knows":    head + "approvals=0 reason=x",
		"a flag":                     head + "--approvals=0 reason=x",
		"full-width digits":          "grant cell=helios-prod arn=arn:aws:iam::１１１１２２２２３３３３:role/singlestore-support for=1h ticket=1 reason=x",
		"Arabic digits":              "grant cell=helios-prod arn=arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/singlestore-support for=1h ticket=1 reason=x",
		"full-width time":            "grant cell=helios-prod arn=" + vendor + " for=１h ticket=1 reason=x",
		"a hidden letter in the ARN": "grant cell=helios-prod arn=arn:aws:iam::111122223333:role/singlestore-\u200bsupport for=1h ticket=1 reason=x",
		"a turned ARN":               "grant cell=helios-prod arn=\u202earn:aws:iam::111122223333:role/singlestore-support for=1h ticket=1 reason=x",
		"a Cyrillic cell":            "grant cell=helios-рrod arn=" + vendor + " for=1h ticket=1 reason=x",
		"no reason but a smuggled":   head + "reason=",
	}
	for name, text := range refusals {
		beside(t, "refused: "+name, func(t *testing.T, s *stage) {
			s.ana.says(text).refused(s, "othing was requested")
			s.live(0)
			s.untouched()
		}, quiet)
	}
	for name, c := range map[string]struct{ text, ticket, reason string }{
		"behind the reason": {
			head + "reason=x arn=" + vendor2 + " for=12h cell=helios-test approvals=0",
			"48213", "x arn=" + vendor2 + " for=12h cell=helios-test approvals=0",
		},
		"on a line of its own": {
			head + "reason=x\narn=" + vendor2 + "\r\nfor=12h",
			"48213", "x arn=" + vendor2 + " for=12h",
		},
		"in the ticket's quotes": {
			strings.Replace(head, "48213", `"48213 arn=`+vendor2+` for=12h"`, 1) + "reason=x",
			"48213 arn=" + vendor2 + " for=12h", "x",
		},
		"with other white space": {
			head + "reason=x\u2028arn=" + vendor2 + "\u00a0for=12h\varn=" + vendor2,
			"48213", "x arn=" + vendor2 + " for=12h arn=" + vendor2,
		},
	} {
		beside(t, "text: "+name, func(t *testing.T, s *stage) {
			s.asks(c.text)
			g := s.grant("BG-1")
			if g.Principal != vendor || g.Cell != prod || g.Duration != time.Hour || g.Terms.Approvals != 1 || g.Ticket != c.ticket || g.Reason != c.reason {
				t.Errorf("it was understood as %s on %s for %s, ticket %q, reason %q", g.Principal, g.Cell, g.Duration, g.Ticket, g.Reason)
			}
			s.until("BG-1", "Approve 1 h")
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
			if doc := s.cell.Role.TrustDocument(); strings.Count(doc, vendor) != 1 || strings.Contains(doc, vendor2) {
				t.Errorf("the trust policy is\n%s", doc)
			}
			if _, err := s.assume(s.cell, vendor2); err == nil {
				t.Error("the smuggled role comes in")
			}
			if left := time.Until(s.grant("BG-1").End); left > time.Hour {
				t.Errorf("it is open for %s", left)
			}
		}, quiet)
	}
}

// Somebody at the other end of the ticket gives an ARN that opens more than one role,
// or another kind of principal, or that breaks out of the JSON of the trust policy:
// a star, root, a user, a session, another partition, our own account, a quote and a
// statement of their own.
// What stops them: an ARN is parsed whole against IAM's own alphabet, its account must
// be one of SingleStore's and its partition the cell's; what does not parse is refused,
// by command and by form alike.
func TestAttack_roleARN(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/"
	arns := map[string]string{
		"everybody":                "*",
		"every role":               role + "*",
		"a star inside":            role + "singlestore-*port",
		"a question mark":          role + "singlestore-suppor?",
		"the account":              "arn:aws:iam::111122223333:root",
		"the account's number":     "111122223333",
		"a user":                   "arn:aws:iam::111122223333:user/support",
		"a group":                  "arn:aws:iam::111122223333:group/support",
		"an instance profile":      "arn:aws:iam::111122223333:instance-profile/support",
		"an identity provider":     "arn:aws:iam::111122223333:saml-provider/okta",
		"a session":                "arn:aws:sts::111122223333:assumed-role/support/me",
		"a federated user":         "arn:aws:sts::111122223333:federated-user/me",
		"a unique id":              "AROAEXAMPLEEXAMPLEEXA",
		"a service":                "ec2.amazonaws.com",
		"our own role":             "arn:aws:iam::444455556666:role/platform-oncall",
		"a stranger's role":        "arn:aws:iam::666677778888:role/singlestore-support",
		"China":                    "arn:aws-cn:iam::111122223333:role/singlestore-support",
		"GovCloud":                 "arn:aws-us-gov:iam::111122223333:role/singlestore-support",
		"a partition of their own": "arn:aws-evil:iam::111122223333:role/singlestore-support",
		"no partition":             "arn::iam::111122223333:role/singlestore-support",
		"a region":                 "arn:aws:iam:us-east-1:111122223333:role/singlestore-support",
		"no name":                  role,
		"only a path":              role + "a/b/",
		"an empty path":            role + "/singlestore-support",
		"a path out":               "arn:aws:iam::111122223333:role/../user/support*",
		"a quote":                  role + `x"},{"AWS":"*`,
		"a statement":              role + `x"},"Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":"*`,
		"a list":                   `["` + vendor + `","*"]`,
		"a backslash":              role + `x\u002a`,
		"an escape":                role + "x%2A",
		"a policy variable":        role + "${aws:username}",
		"two":                      vendor + "," + vendor2,
		"NUL":                      vendor + "\x00",
		"a soft hyphen":            role + "singlestore\u00ad-support",
		"capitals":                 strings.ToUpper(vendor),
		"eleven digits":            "arn:aws:iam::11112222333:role/singlestore-support",
		"thirteen digits":          "arn:aws:iam::1111222233330:role/singlestore-support",
		"a name of 65":             role + strings.Repeat("a", 65),
		"1 MB":                     role + strings.Repeat("a/", 1<<19) + "a",
	}
	for name, arn := range arns {
		beside(t, name, func(t *testing.T, s *stage) {
			a := s.ana.says("grant cell=helios-prod ticket=48213 for=4h arn=" + arn + " reason=x")
			a.refused(s, "othing was requested")
			a = s.ana.says("emergency cell=helios-prod ticket=48213 for=4h arn='" + arn + "' reason=x")
			a.refused(s, "othing was requested")
			s.ana.says("grant")
			s.ana.submits(s.ana.modal(), good(nil), inField("arn", arn))
			if e := s.ana.modal().Errors["arn"]; e == "" {
				t.Error("the form has no error on the ARN")
			}
			s.live(0)
			s.untouched()
		}, quiet, emergencies(ana))
	}
	// A line break behind it is taken off, and nothing else comes of it.
	beside(t, "a line break", func(t *testing.T, s *stage) {
		s.ana.says("grant")
		wants(t, s.ana.submits(s.ana.modal(), good(nil), inField("arn", vendor+"\n")), "BG-1 is requested")
		if g := s.grant("BG-1"); g.Principal != vendor {
			t.Errorf("the principal is %q", g.Principal)
		}
	}, quiet)
	// Where the operator names the roles, nothing beside them.
	for name, c := range map[string]struct{ arn, want string }{
		"exactly that one":        {vendor, "is requested"},
		"one letter more":         {vendor + "2", "not one of the roles"},
		"one letter less":         {vendor[:len(vendor)-1], "not one of the roles"},
		"in another case":         {strings.Replace(vendor, "singlestore-", "SingleStore-", 1), "not one of the roles"},
		"behind a path":           {strings.Replace(vendor, "role/", "role/evil/", 1), "not one of the roles"},
		"what the star allows":    {role + "team/support", "is requested"},
		"beside the star":         {role + "teams", "not one of the roles"},
		"the star itself":         {role + "team/*", "wildcard"},
		"out of the star's path":  {role + "team", "not one of the roles"},
		"in an account beside it": {"arn:aws:iam::111122223334:role/team/support", "not one of SingleStore's accounts"},
	} {
		beside(t, "roles: "+name, func(t *testing.T, s *stage) {
			s.ana.says("grant cell=helios-prod ticket=48213 for=4h arn="+c.arn+" reason=x").wants(t, c.want)
			s.untouched()
		}, quiet, func(cfg *setup) { cfg.policy.Vendor.Roles = []string{vendor, role + "team/*"} })
	}
}

// Whoever may ask, deny, or only type a command, writes what Slack would parse: bells
// for 3,000 people at night, mentions, links with another address behind their words,
// fences that end a code block, blocks of their own with a button, characters that turn
// the line around so that it reads "Denied". It would be shown in the bot's name, which
// people trust, on the card on which they decide.
// What stops them: typed text is cleaned before it is kept, is shown in elements that
// parse nothing or escaped where something is parsed, and is cut to Slack's limits.
func TestAttack_markup(t *testing.T) {
	const victim = "U0VICTIM"
	for name, text := range map[string]string{
		"bells":          "<!channel> <!here> <!everyone> <!subteam^S0PLATFORM|@platform>",
		"mentions":       "<@" + victim + "> <@" + victim + "|ben> @" + victim + " <#C0EVIL> <#C0EVIL|evil>",
		"links":          "<https://evil.example|BG-1> https://evil.example <mailto:x@evil.example|x> <javascript:alert(1)|x>",
		"escaped once":   "&lt;!channel&gt; &lt;@" + victim + "&gt;",
		"escaped twice":  "&amp;lt;!channel&amp;gt; &amp;amp;lt;@" + victim + "&amp;amp;gt;",
		"entities":       "&#60;!channel&#62; &#x3c;@" + victim + "&#x3e;",
		"fences":         "``` <!channel> ``` `<@" + victim + ">` ````",
		"a quote":        "x\n>>> <!channel>\n> Approved by <@" + victim + ">",
		"bidi":           "\u202edeined\u202c \u2066<!channel>\u2069 \u200f\u200e\u061c",
		"zero width":     "<\u200b!\u200bchannel\u200d>\ufeff <\u2060@" + victim + ">\u00ad",
		"controls":       "\x00\x07\x08\x1b[2J\x7f\u0085<!channel>\u2028BG-1 · Closed",
		"invalid":        "\xff\xfe<!channel>\xc3\x28",
		"date":           "<!date^0^{date}^https://evil.example|Closed>",
		"blocks":         `"}]},{"type":"actions","elements":[{"type":"button","action_id":"approve","value":"x","text":{"type":"plain_text","text":"Approve"},"url":"https://evil.example"}]},{"x":"`,
		"the bot's word": "\nBG-1 · Closed · helios-prod\nClosed and proven.",
		"a template":     "{{.Token}} ${token} %s%n %[1]v {date_short}",
		"emoji":          strings.Repeat(":rotating_light:", 50) + strings.Repeat("👩‍👩‍👧‍👦", 50),
		"combining":      "Z" + strings.Repeat("\u0301", 500),
		"3,000 brackets": strings.Repeat("<", 3000),
		"3,000 bells":    strings.Repeat("<!channel>", 300),
		"one long word":  strings.Repeat("&", 3000),
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			ticket := grant.Clean(strings.NewReplacer("\"", "", "'", "").Replace(text), 60)
			if ticket == "" {
				ticket = "48213"
			}
			everywhere := func(id string) {
				for _, p := range []person{s.ana, s.ben, s.mia} {
					p.says("status")
					p.says("show " + id)
					p.says("history")
					s.inTime(s.answered(p.OpenHome(t.Context())), "home")
					time.Sleep(10 * time.Second)
				}
			}
			typed := func(field string) slacksim.Edit { return inField(field, text) }
			// By command, denied with words.
			a := s.ana.says(`grant cell=helios-prod arn=` + vendor + ` for=4h ticket="` + ticket + `" reason=` + text)
			a.wants(t, "BG-1 is requested")
			s.until("BG-1", "Requested", "Checks:")
			everywhere("1")
			s.ben.chooses("BG-1", denyWhy)
			s.ben.submits(s.ben.modal(), values{"reason": "x"}, typed("reason"))
			s.until("BG-1", "Denied")
			everywhere("1")
			// By form, opened, told to Support, and closed.
			s.ana.says("grant")
			if text := s.ana.submits(s.ana.modal(), good(nil), typed("reason"), inField("ticket", ticket)); !strings.Contains(text, "BG-2 is requested") {
				t.Fatalf("nothing was requested:\n%s", text)
			}
			s.ana.Reload()
			s.until("BG-2", "Requested", "Checks:")
			s.ben.presses("BG-2", "Approve")
			s.until("BG-2", "Open until", "Mark as sent")
			time.Sleep(20 * minute) // reminders
			everywhere("2")
			s.ana.presses("BG-2", "Mark as sent")
			s.ana.presses("BG-2", "Revoke now")
			s.proven("BG-2")
			everywhere("2")
			// An emergency, which is told to every approver.
			s.ana.says(`emergency cell=helios-prod arn=` + vendor + ` for=10m ticket="` + ticket + `" reason=` + text)
			s.until("BG-3", "Open until")
			s.ana.says("revoke BG-3")
			s.proven("BG-3")
			// What is not understood is said back, too.
			for _, verb := range []string{"", "show ", "revoke ", "extend ", "history ", "check ", "help ", "grant cell=", "grant arn=", "grant for=", "grant ticket="} {
				s.mia.says(verb + text)
			}
			s.ana.says("grant")
			s.ana.submits(s.ana.modal(), good(nil), typed("cell"), typed("arn"), inField("for", "other"), typed("for_other"))
			s.mia.presses("BG-3", "Sign", as(text), with("value", text), set("channel", map[string]any{"id": channel, "name": text}), func(p map[string]any) {
				p["user"].(map[string]any)["name"] = text
			})
			s.innocent(victim)
			s.quietViews()
		}, emergencies(ana))
	}
}

// ---- Too much.

// Somebody sends what is far too large: a reason of 1 MB, a thousand actions, JSON
// 100,000 levels deep, an id of 1 MB, frames that are no JSON at all. If that ends a
// socket for good, or the process, then nobody can revoke.
// What stops them: every text has a limit before it is looked at, JSON has a depth,
// a panic stays in its envelope, and there are two sockets, that come back.
func TestAttack_oversized(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		huge := strings.Repeat("x", 1<<20)
		s.opens(askProd)
		s.asks(askTest())
		a := s.ana.says("grant cell=helios-prod arn=" + vendor + " ticket=48213 for=4h reason=" + huge)
		a.refused(s, "The reason may have 3000 characters", "othing was requested")
		for _, text := range []string{
			huge, "show " + huge, "revoke " + huge, "help " + huge, "extend " + huge, "history " + huge, "check " + huge,
			"grant ticket=" + huge, "grant cell=" + huge, "grant " + strings.Repeat("arn=x ", 200_000), strings.Repeat("\n", 1<<20), "grant reason=" + strings.Repeat("\u200b", 300_000),
			"grant arn=" + strings.Repeat("\"", 1<<20),
		} {
			s.ana.says(text)
		}
		s.ana.says("grant")
		s.ana.submits(s.ana.modal(), good(nil), inField("reason", huge), inField("ticket", huge), inField("arn", huge))
		s.ana.Reload()
		s.live(2)

		for name, edit := range map[string]slacksim.Edit{
			"1,000 actions": func(p map[string]any) {
				one := p["actions"].([]any)[0]
				var many []any
				for range 1000 {
					many = append(many, one)
				}
				p["actions"] = many
			},
			"a user of 1 MB":     from("id", huge),
			"a team of 1 MB":     set("team", map[string]any{"id": huge}),
			"a trigger of 1 MB":  set("trigger_id", huge),
			"an action of 1 MB":  as(huge),
			"a time of 1 MB":     with("action_ts", huge),
			"a name of 1 MB":     from("name", huge),
			"a channel of 1 MB":  set("channel", map[string]any{"id": huge, "name": huge}),
			"a state of 1 MB":    set("state", map[string]any{"values": map[string]any{huge: map[string]any{huge: map[string]any{"type": "plain_text_input", "value": huge}}}}),
			"10,000 more fields": func(p map[string]any) { maps.Copy(p, manyFields(10_000)) },
		} {
			t.Log(name)
			i, err := s.mia.Click(t.Context(), s.card("BG-2"), "Approve", atHome, edit)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			synctest.Wait()
			_ = i // acknowledged or not: that is Slack's to tell
			s.phase("BG-2", grant.Requested)
		}
		deep := strings.Repeat(`{"a":`, 100_000)
		for _, text := range []string{
			`{"envelope_id":"deep","type":"interactive","payload":` + deep,
			`{"envelope_id":"deep","type":"interactive","payload":` + deep + "1" + strings.Repeat("}", 100_000) + "}",
			strings.Repeat("[", 1<<20), huge, "\x00\x01\x02", "null", "[]", "7", `{"type":"interactive"}`,
			`{"envelope_id":"` + huge + `","type":"slash_commands","payload":{}}`,
			`{"envelope_id":"nothing","type":"interactive","payload":null}`,
			`{"envelope_id":"text","type":"interactive","payload":"text"}`,
			`{"envelope_id":"new","type":"` + huge + `","payload":{}}`,
			`{"type":"disconnect","reason":"` + huge + `"}`,
		} {
			for _, c := range s.slack.Connections() {
				c.SendText(text)
			}
			time.Sleep(10 * time.Second)
			if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
				t.Fatalf("after %.60q the sockets stay away: %v", text, err)
			}
			synctest.Wait()
			s.mia.says("status").wants(t, "BG-1", "BG-2")
		}
		s.phase("BG-1", grant.Open)
		s.undecidedBut("BG-2")
		s.rob.says("revoke BG-1")
		s.until("BG-1", "Closed")
	}, quiet)
}

func manyFields(n int) map[string]any {
	out := map[string]any{}
	for i := range n {
		out[fmt.Sprintf("field%d", i)] = i
	}
	return out
}

// undecidedBut is undecided where something else was opened.
func (s *stage) undecidedBut(id string) {
	s.t.Helper()
	s.phase(id, grant.Requested)
	s.approvedBy(id)
}

// An administrator of the user group (any member may be one) fills it with ten
// thousand people, and then with a hundred thousand, so that looking an approver up
// takes longer than Slack waits, or more memory than there is. Nobody could approve,
// nor could those be told apart who may.
// What stops them: one call that is bounded in size and time and is believed for a
// minute; above the bound Slack "did not say", and revoking does not depend on it.
func TestAttack_groupOfTenThousand(t *testing.T) {
	for _, n := range []int{10_000, 100_000} {
		beside(t, fmt.Sprint(n), func(t *testing.T, s *stage) {
			members := make([]string, 0, n)
			for i := range n - 1 {
				members = append(members, fmt.Sprintf("U0%07d", i))
			}
			s.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = append(members, ben) })
			s.asks(askProd)
			s.mia.presses("BG-1", "Approve").refused(s, "Only an approver")
			asked := len(s.slack.Calls("usergroups.users.list"))
			var all sync.WaitGroup
			card := s.card("BG-1")
			for range 50 {
				all.Go(func() {
					if i, err := s.mia.Click(t.Context(), card, "Approve", atHome); err != nil || !i.Acked {
						t.Errorf("acked %t (%v)", i.Acked, err)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			if more := len(s.slack.Calls("usergroups.users.list")) - asked; more > 1 {
				t.Errorf("the group was asked for %d times more within a minute", more)
			}
			s.undecided("BG-1")
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
			s.ana.says("revoke")
			s.proven("BG-1")
		}, quiet, byGroup)
	}
}

// Mia may ask, as everybody may, and has a script: hundreds of requests, by command
// and by form, at the same instant, and as many clicks that are refused. Approvers
// would drown, press the wrong card, or switch the notifications off; and while the bot
// posts cards, nobody's revoke would be heard.
// What stops her: ten undecided requests a person, counted in the transaction that
// makes them; cards at Slack's pace; and revoking goes before all of it.
func TestAttack_requestFlood(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.mia.says("grant")
		form := s.mia.modal()
		var all sync.WaitGroup
		for n := range 300 {
			all.Go(func() {
				i, err := s.mia.Slash(t.Context(), channel, "/breakglass", strings.Replace(askTest(), "48213", fmt.Sprint(n), 1), atHome)
				if err != nil || !i.Acked {
					t.Errorf("acked %t (%v)", i.Acked, err)
				}
			})
			all.Go(func() {
				if _, err := s.mia.Click(t.Context(), s.card("BG-1"), "Revoke now", atHome); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		s.live(11)
		s.saysNo(s.mia.submits(form, good(nil)), "You have 10 requests that nobody has decided yet")
		s.mia.Reload()
		s.mia.says("emergency "+strings.TrimPrefix(askTest(), "grant ")).refused(s, "You are not among the people who may open an emergency")
		s.live(11)
		s.phase("BG-1", grant.Open)
		if n := len(s.cards("BG-1")); n != 1 {
			t.Errorf("BG-1 has %d cards", n)
		}
		// Others are heard, at once.
		a := s.ana.says("revoke BG-1")
		a.wants(t, "Revoking BG-1 now")
		time.Sleep(10 * time.Second)
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("ten seconds after it was revoked the vendor still comes in")
		}
		s.proven("BG-1")
		s.rob.says(strings.Replace(askProd, "48213", "2", 1)).wants(t, "is requested")
		// What she withdraws she may ask for again, and not more.
		s.mia.says("revoke BG-2")
		s.mia.says(askTest()).wants(t, "is requested")
		s.mia.says(askTest()).refused(s, "You have 10 requests")
	}, quiet)
}

// ---- A hostile Slack.

// Somebody answers in Slack's place (a poisoned name, a proxy with a certificate that
// the company trusts) and sends the bot elsewhere: a socket in the clear, on another
// host, in a file; redirects, with and without the body. The app-level token and the
// socket's ticket would go there, and clicks would come from there.
// What stops them: a socket or a request in the clear is refused unless it stays on
// this machine, no redirect is followed, and nobody is taken for approved while there
// is no Slack; what is open ends in AWS all the same.
func TestAttack_slackLeadsElsewhere(t *testing.T) {
	redirect := func(code int, to string) slacksim.Answer {
		return func(w http.ResponseWriter, _ *http.Request) (int, string) {
			w.Header().Set("Location", to)
			w.WriteHeader(code)
			return code, "redirect"
		}
	}
	// An address with a ticket that is good, so that whoever goes there is let in.
	socket := func(s *stage, at string) slacksim.Answer {
		return func(w http.ResponseWriter, r *http.Request) (int, string) {
			req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://attacker/api/apps.connections.open", http.NoBody)
			if err != nil {
				t.Error(err)
				return 0, "dropped"
			}
			req.Header.Set("Authorization", "Bearer "+s.slack.AppToken())
			resp, err := s.slack.HTTPClient().Do(req)
			if err != nil {
				return 0, "dropped"
			}
			defer resp.Body.Close()
			var open struct{ URL string }
			if err := json.NewDecoder(resp.Body).Decode(&open); err != nil || !strings.HasPrefix(open.URL, "ws://localhost/") {
				t.Errorf("Slack offers %q (%v)", open.URL, err)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(quoted(map[string]any{"ok": true, "url": at + strings.TrimPrefix(open.URL, "ws://localhost/")}))
			return http.StatusOK, "forged"
		}
	}
	for name, c := range map[string]struct {
		at       string // where the socket is said to be
		redirect slacksim.Answer
	}{
		"a socket in the clear":       {at: "ws://evil.example/"},
		"a socket at the metadata":    {at: "ws://169.254.169.254/"},
		"a socket over http":          {at: "http://evil.example/"},
		"a socket in a file":          {at: "file:///etc/"},
		"a socket that looks like us": {at: "ws://localhost@evil.example/"},
		"a socket beside us":          {at: "ws://localhost.evil.example/"},
		"a socket of a number":        {at: "ws://2130706433/"},
		"a socket without a host":     {at: "ws:///"},
		"a socket without a scheme":   {at: "//evil.example/"},
		"301":                         {redirect: redirect(301, "http://evil.example/api/")},
		"302 to TLS":                  {redirect: redirect(302, "https://evil.example/api/")},
		"307, with the body":          {redirect: redirect(307, "https://evil.example/api/")},
		"308, in the clear":           {redirect: redirect(308, "http://evil.example/api/")},
		"303 to a file":               {redirect: redirect(303, "file:///etc/passwd")},
		"to another scheme":           {redirect: redirect(307, "gopher://evil.example:25/")},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askHour)
			leads := s.outside()
			if c.redirect != nil {
				s.slack.Inject(slacksim.Fault{Answer: c.redirect})
			} else {
				s.slack.Inject(slacksim.Fault{
					Method: "apps.connections.open", Answer: socket(s, c.at),
					When: func(c slacksim.Call) bool { return c.Host != "attacker" },
				})
			}
			for _, x := range s.slack.Connections() {
				x.Drop()
			}
			for range 90 {
				time.Sleep(time.Minute)
				if s.bot.Ready() == nil {
					t.Fatal("the bot has a socket that is not Slack's")
				}
			}
			if hosts := leads(); len(hosts) != 0 {
				t.Errorf("the bot went to %q", hosts)
			}
			s.phase("BG-1", grant.Closed)
			s.shut(s.cell)
			s.slack.ClearFaults()
			if err := s.slack.WaitConnections(t.Context(), 2); err != nil {
				t.Fatalf("the bot does not come back: %v\n%s", err, s.log)
			}
			synctest.Wait()
			s.proven("BG-1")
		}, quiet)
	}
}

// The payload of a click says where its answer goes: response_url. Whoever can forge
// one has the bot send requests from inside the company's network: to the metadata
// service of EC2, to a file, to a mail server; or has an honest one redirect there.
// What stops them: only an address that is encrypted or on this machine is called at
// all, redirects are not followed, and where the answer cannot go it is given through
// Slack's Web API.
func TestAttack_responseURL(t *testing.T) {
	for name, u := range map[string]string{
		"metadata":            "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
		"metadata, IPv6":      "http://[fd00:ec2::254]/latest/meta-data/",
		"metadata, a number":  "http://2852039166/latest/meta-data/",
		"metadata of ECS":     "http://169.254.170.2/v2/credentials/",
		"a file":              "file:///etc/passwd",
		"gopher":              "gopher://127.0.0.1:25/_MAIL",
		"any address":         "http://0.0.0.0:9464/",
		"inside the network":  "http://10.0.0.1/",
		"user and password":   "https://localhost:x@evil.example/",
		"looks like loopback": "http://127.0.0.1.evil.example/",
		"loopback, octal":     "http://0177.0.0.1.evil.example/",
		"without a scheme":    "//evil.example/x",
		"with a line break":   "http://localhost\r\nHost: evil.example/",
		"not a URL":           "%%%",
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			leads := s.outside()
			i, err := s.mia.Click(t.Context(), s.card("BG-1"), "Approve", set("response_url", u))
			if err != nil || !i.Acked {
				t.Fatalf("acked %t (%v)", i.Acked, err)
			}
			c, err := s.mia.Slash(t.Context(), channel, "/breakglass", "check", set("response_url", u))
			if err != nil || !c.Acked {
				t.Fatalf("acked %t (%v)", c.Acked, err)
			}
			time.Sleep(time.Minute)
			if hosts := leads(); len(hosts) != 0 {
				t.Errorf("the bot went to %q", hosts)
			}
			if n := len(s.slack.Calls("chat.postEphemeral")); n != 2 {
				t.Errorf("%d answers came through the Web API, want 2", n)
			}
			s.undecided("BG-1")
		}, quiet)
	}
	for name, u := range map[string]string{
		"elsewhere, over TLS":  "https://evil.example/x",
		"metadata, over TLS":   "https://169.254.169.254/latest/meta-data/",
		"another port of ours": "http://localhost:9464/metrics",
		"what listens here":    "http://127.0.0.1:6443/api/v1/secrets",
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(askProd)
			leads := s.outside()
			if i, err := s.mia.Click(t.Context(), s.card("BG-1"), "Approve", set("response_url", u)); err != nil || !i.Acked {
				t.Fatalf("acked %t (%v)", i.Acked, err)
			}
			time.Sleep(time.Minute)
			if hosts := leads(); len(hosts) != 0 {
				t.Errorf("the bot went to %q", hosts)
			}
		}, quiet)
	}
	beside(t, "redirected", func(t *testing.T, s *stage) {
		s.asks(askProd)
		leads := s.outside()
		s.slack.Inject(slacksim.Fault{Method: "response_url", Answer: func(w http.ResponseWriter, _ *http.Request) (int, string) {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return http.StatusTemporaryRedirect, "redirect"
		}})
		s.mia.presses("BG-1", "Approve").refused(s, "Only an approver")
		if hosts := leads(); len(hosts) != 0 {
			t.Errorf("the bot went to %q", hosts)
		}
	}, quiet)
}

// Somebody reads the log: whoever operates the log store, or an auditor. A hostile
// Slack, or a proxy, helps them and puts into its errors what it was sent: tokens,
// tickets, response_urls, line breaks that begin an entry of their own.
// What stops them: what is logged of an answer is a code, URLs are taken out, and every
// value is quoted. Every story's end looks for secrets in the whole log.
func TestAttack_secretsInTheLog(t *testing.T) {
	beside(t, "said back", func(t *testing.T, s *stage) {
		s.asks(askProd)
		for _, method := range []string{"users.info", "chat.postEphemeral", "chat.update", "views.open", "views.publish"} {
			s.slack.Inject(slacksim.Fault{Method: method, Answer: slacksim.Refuse("bad token " + s.slack.BotToken())})
		}
		time.Sleep(2 * time.Minute)
		s.ben.presses("BG-1", "Approve")
		s.ben.tries("grant")
		_, _ = s.ben.OpenHome(t.Context())
		time.Sleep(minute)
	}, quiet)
	beside(t, "a whole day", func(t *testing.T, s *stage) {
		s.opens(askProd)
		for _, method := range []string{"users.info", "usergroups.users.list", "chat.postEphemeral", "chat.update", "chat.postMessage", "views.open", "views.publish", "response_url"} {
			for _, answer := range []slacksim.Answer{slacksim.Status(500), slacksim.Page(), slacksim.Drop(), slacksim.Hang(), slacksim.Refuse("not_ok")} {
				s.slack.Inject(slacksim.Fault{Method: method, Answer: answer})
				s.mia.tries("status")
				s.mia.tries("grant")
				s.mia.clicks(s.card("BG-1"), "Revoke now")
				_, _ = s.mia.OpenHome(t.Context())
				time.Sleep(20 * time.Second)
				s.slack.ClearFaults()
			}
		}
		for _, text := range []string{"x\nlevel=ERROR msg=forged ref=AAAAAAAA", "x\" level=ERROR msg=forged", "\x1b[2Jlevel=ERROR msg=forged"} {
			s.mia.tries(text)
			s.mia.tries("show " + text)
			s.mia.clicks(s.card("BG-1"), "Revoke now", as(text), with("value", text))
			s.mia.clicks(s.card("BG-1"), "Revoke now", from("id", text))
			s.mia.clicks(s.card("BG-1"), "Revoke now", set("team", map[string]any{"id": text}))
			s.slack.Connections()[0].SendText(`{"envelope_id":"e","type":` + string(quoted(text)) + `,"payload":{}}`)
		}
		time.Sleep(minute)
		for line := range strings.Lines(s.log.String()) {
			if strings.HasPrefix(line, "level=") || strings.Contains(line, "\x1b") || !strings.HasPrefix(line, "time=") || strings.Contains(line, " level=ERROR msg=forged") && !strings.Contains(line, `\"`) && !strings.Contains(line, `="`) {
				t.Errorf("an entry of the attacker's own stands in the log: %q", line)
			}
		}
		s.rob.says("revoke BG-1")
		s.proven("BG-1")
	}, quiet)
}

func quoted(v any) []byte {
	js, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return js
}

// ---- SingleStore's side, and our own.

// While access is being closed, somebody puts the trust back: an engineer who wants to
// help, Terraform, or the attacker who has taken over an administrator's session. The
// vendor comes in again at once. The card would say Closed over an open door.
// What stops them: "closed" is read back for a minute after the last removal, whatever
// comes back is removed again, with the credentials and sessions that came of it, and
// what comes back after the proof is told as trust that no grant explains.
func TestAttack_trustIsPutBackWhileClosing(t *testing.T) {
	for name, statement := range map[string]string{
		"as it was":     "",
		"without a Sid": `{"Effect": "Allow", "Principal": {"AWS": "` + vendor + `"}, "Action": "sts:AssumeRole"}`,
		"in a list":     `{"Sid": "Helpful", "Effect": "Allow", "Principal": {"AWS": ["` + vendor + `"]}, "Action": ["sts:AssumeRole", "sts:TagSession"]}`,
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			open := s.cell.Role.TrustDocument()
			if statement != "" {
				open = trustBy(statement)
			}
			var shells []*awssim.Shell
			times := 0
			comesIn := func() {
				key, err := s.assume(s.cell, vendor)
				if err != nil {
					t.Errorf("the vendor was let in, and cannot come: %v", err)
					return
				}
				if shell, err := s.shell(s.cell, "us-east-1", key); err == nil {
					shells = append(shells, shell)
				}
			}
			s.world.After(hookOn("iam:UpdateAssumeRolePolicy", func() {
				if times < 5 && !strings.Contains(s.cell.Role.TrustDocument(), vendor) {
					times++
					s.cell.Role.Trust(open)
					comesIn()
				}
			}))
			s.ana.says("revoke")
			s.proven("BG-1")
			if times != 5 || len(shells) == 0 {
				t.Errorf("the trust was put back %d times, and %d shells were opened: the story was not told", times, len(shells))
			}
			for _, shell := range shells {
				if !ended(shell) {
					t.Error("a shell that was opened meanwhile lives")
				}
			}
			if doc := s.cell.Role.TrustDocument(); strings.Join(strings.Fields(doc), "") != strings.Join(strings.Fields(trustBefore), "") {
				t.Errorf("the trust policy is\n%s", doc)
			}
			// After the proof it is news, and no grant's.
			s.cell.Role.Trust(trustBy(byHand))
			time.Sleep(12 * minute)
			s.stray("SingleStore can come in, and no grant says so")
		}, quiet)
	}
	// Somebody who does not stop is never told that it is closed.
	beside(t, "for half an hour", func(t *testing.T, s *stage) {
		s.opens(askProd)
		open := s.cell.Role.TrustDocument()
		s.ana.says("revoke")
		for range 40 {
			s.cell.Role.Trust(open)
			time.Sleep(45 * time.Second)
			if p := s.grant("BG-1").Phase; p != grant.Closing {
				t.Fatalf("BG-1 is %s while the trust is put back every 45 s\n%s", p, s.wall())
			}
		}
		if strings.Contains(s.slack.Render(s.card("BG-1")), "Closed") {
			t.Error("the card says Closed")
		}
		s.proven("BG-1")
	}, quiet)
}

// SingleStore's engineer (or whoever has taken over their laptop) wants to stay: opens
// shells in the last second, drops off the network so that one looks gone, has taken
// fresh credentials just before the end, and comes back with them afterwards.
// What stops them: the end stands in AWS itself, twice, for new credentials and for
// those that live; and closing ends every session of the role, listed until none is
// seen, whoever is disconnected. Also with the bot dead at that moment.
func TestAttack_shellAcrossTheEnd(t *testing.T) {
	for _, dead := range []bool{false, true} {
		beside(t, fmt.Sprintf("the bot is dead %t", dead), func(t *testing.T, s *stage) {
			s.opens(askHour)
			end := s.grant("BG-1").End
			_, first := s.visits()
			_, dropped := s.visits()
			dropped.Disconnect()
			if dead {
				time.Sleep(time.Until(end.Add(-minute)))
				s.crash()
			}
			time.Sleep(time.Until(end.Add(-time.Second)))
			key, err := s.assume(s.cell, vendor)
			if err != nil {
				t.Fatalf("before the end they may come in: %v", err)
			}
			late, err := s.shell(s.cell, "us-east-1", key)
			if err != nil {
				t.Fatalf("before the end they may open a shell: %v", err)
			}
			back := func(when string) {
				t.Helper()
				if _, err := s.assume(s.cell, vendor); err == nil {
					t.Errorf("%s they get new credentials", when)
				}
				if _, err := s.shell(s.cell, "us-east-1", key); err == nil {
					t.Errorf("%s the old credentials open a shell", when)
				}
			}
			time.Sleep(2 * time.Second)
			back("right after the end")
			if dead {
				time.Sleep(10 * minute)
				back("ten minutes after the end, with nobody there,")
				s.start()
			}
			s.proven("BG-1")
			for name, shell := range map[string]*awssim.Shell{"first": first, "dropped": dropped, "late": late} {
				if !ended(shell) {
					t.Errorf("the %s shell lives on", name)
				}
			}
			time.Sleep(time.Hour)
			back("an hour later")
		}, quiet)
	}
}

// SingleStore's engineer may open a shell, which is recorded. With the same credentials
// they open what is not recorded, or does not look like a shell: a forwarded port, SSH,
// a single command, to the same instance and on to another host; and keep it over the
// end, hoping that only the shells are ended.
// What stops them: every session of the role is looked for, whatever document began it;
// what goes past the log is told at once; and closing ends them all.
func TestAttack_sessionOfAnotherDocument(t *testing.T) {
	documents := map[string]map[string][]string{
		"AWS-StartPortForwardingSession":             {"portNumber": {"3306"}, "localPortNumber": {"3306"}},
		"AWS-StartPortForwardingSessionToRemoteHost": {"host": {"db.internal"}, "portNumber": {"3306"}},
		"AWS-StartSSHSession":                        {"portNumber": {"22"}},
		"AWS-StartInteractiveCommand":                {"command": {"bash"}},
		"AWS-StartNonInteractiveCommand":             {"command": {"nohup sh -c 'sleep 1d'"}},
		prefsDoc:                                     nil,
	}
	for name, parameters := range documents {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			key, err := s.assume(s.cell, vendor)
			if err != nil {
				t.Fatal(err)
			}
			out, err := ssm.NewFromConfig(s.config("us-east-1", key)).StartSession(t.Context(), &ssm.StartSessionInput{
				Target: new(s.cell.Instance.ID()), DocumentName: &name, Parameters: parameters,
			})
			if err != nil {
				t.Fatalf("the session did not begin, so there is nothing to see: %v", err)
			}
			shell, err := s.cell.Region.Shell(*out.SessionId)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * minute)
			s.once("a session has started", *out.SessionId)
			if strings.Contains(name, "Port") || strings.Contains(name, "SSH") {
				s.once("goes past the log", name)
			}
			s.rob.says("revoke BG-1")
			s.proven("BG-1")
			if !ended(shell) {
				t.Error("it lives on")
			}
			if _, err := ssm.NewFromConfig(s.config("us-east-1", key)).StartSession(context.Background(), &ssm.StartSessionInput{
				Target: new(s.cell.Instance.ID()), DocumentName: &name, Parameters: parameters,
			}); err == nil {
				t.Error("the old credentials begin another")
			}
			s.once("and proven", *out.SessionId)
		}, quiet)
	}
}
