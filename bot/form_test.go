package bot_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// values are what is filled into a form.
type values = slacksim.Values

// good is a form for access that is filled in right.
func good(changed values) values {
	v := values{"cell": prod, "arn": vendor, "ticket": "48213", "for": "4h", "reason": "stuck node pool"}
	maps.Copy(v, changed)
	return v
}

// modal is the form or the answer that the person has before them.
func (p person) modal(words ...string) slacksim.View {
	p.s.t.Helper()
	v, ok := p.Modal()
	if text := p.s.slack.RenderView(v); !ok || !hasAll(text, words) {
		p.s.t.Fatalf("@%s should see a form that says %q, and sees:\n%s\n%s", p.ID(), words, text, p.s.log)
	}
	return v
}

// noModal says that the person has no form before them.
func (p person) noModal() {
	p.s.t.Helper()
	if v, ok := p.Modal(); ok {
		p.s.t.Errorf("@%s should see no form, and sees:\n%s", p.ID(), p.s.slack.RenderView(v))
	}
}

// submits sends a form in, which must be acknowledged in time, and answers what
// stands there afterwards.
func (p person) submits(v slacksim.View, with values, edits ...slacksim.Edit) string {
	p.s.t.Helper()
	p.s.inTime(p.s.answered(p.Submit(p.s.t.Context(), v, with, edits...)), "submit")
	now, ok := p.Modal()
	if !ok {
		return ""
	}
	return p.s.slack.RenderView(now)
}

// wants is answer.wants for any text.
func wants(t *testing.T, text string, words ...string) {
	t.Helper()
	answer{text: text}.wants(t, words...)
}

// saysNo holds a refusal that stands where the form stood: words, and a reference
// that is in the log.
func (s *stage) saysNo(text string, words ...string) {
	s.t.Helper()
	ref := sentence.FindString(text)
	if ref == "" || !strings.Contains(s.log.String(), "ref="+strings.TrimPrefix(ref, "Reference: ")) {
		s.t.Errorf("a refusal needs a reference that is also in the log:\n%s", text)
	}
	if strings.Contains(text, "failed on our side") {
		s.t.Errorf("a refusal says that we failed:\n%s", text)
	}
	wants(s.t, text, words...)
}

// chooses picks a line of the menu on a grant's card.
func (p person) chooses(id, line string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	edits = append([]slacksim.Edit{atHome}, edits...)
	return p.s.inTime(p.s.answered(p.Choose(p.s.t.Context(), p.s.card(id), "more", line, edits...)), line)
}

const (
	less    = "Approve for less…"
	denyWhy = "Deny with a reason…"
)

// quietViews holds every view that was ever shown against what text may not do.
func (s *stage) quietViews() {
	s.t.Helper()
	for _, c := range s.slack.Changes(0) {
		for _, b := range c.View.Blocks {
			if found := mrkdwnMarkup(b); found != "" {
				js, _ := json.Marshal(c.View.Blocks)
				s.t.Errorf("a view has markup %q:\n%s", found, js)
			}
		}
	}
}

// live is how many grants there are that have not ended.
func (s *stage) live(want int) {
	s.t.Helper()
	if live, err := s.db.Live(); err != nil || len(live) != want {
		s.t.Errorf("there are %d grants, want %d (%v)\n%s", len(live), want, err, s.log)
	}
}

// From the command to the proof, by forms.
func TestForm_story(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		if a := s.ana.says("grant"); a.text != "" {
			t.Errorf("beside the form there is an answer:\n%s", a.text)
		}
		v := s.ana.modal("Request access", "Cell", "SingleStore role (ARN)", "SingleStore ticket", "For how long?", "Another duration", "Why is access needed?", "Nothing opens before they press Approve")
		if got := v.Filled("for"); got != "4h" {
			t.Errorf("the duration is %v before anybody chose, want the default 4h", got)
		}
		text := s.ana.submits(v, values{"cell": prod, "arn": vendor, "ticket": "48213", "reason": "stuck node pool"})
		wants(t, text, "BG-1 is requested", "4 h", "#singlestore-access", "It needs 1 approval, not your own")
		s.until("BG-1", "Requested", "stuck node pool", "48213", "Checks:")
		if g := s.grant("BG-1"); g.Cell != prod || g.Principal != vendor || g.Duration != 4*time.Hour || g.Ticket != "48213" || g.Reason != "stuck node pool" || g.Requester != ana {
			t.Errorf("the form was understood as %+v", g)
		}
		s.ben.presses("BG-1", "Approve 4 h")
		s.until("BG-1", "Open until")
		s.ana.says("revoke")
		s.proven("BG-1")
	}, quiet)
}

// What is wrong is said on the field it belongs to, and nothing that was typed is
// lost; mended, the same form goes through.
func TestForm_errorsStandOnTheirFields(t *testing.T) {
	for name, c := range map[string]struct {
		with values
		says map[string]string // by field
	}{
		"a wildcard":            {values{"arn": "arn:aws:iam::111122223333:role/*"}, map[string]string{"arn": "wildcard"}},
		"another account":       {values{"arn": "arn:aws:iam::999999999999:role/x"}, map[string]string{"arn": "not one of SingleStore's accounts"}},
		"a session":             {values{"arn": "arn:aws:sts::111122223333:assumed-role/support/me"}, map[string]string{"arn": "one session of a role"}},
		"a blank ticket":        {values{"ticket": "   "}, map[string]string{"ticket": "ticket"}},
		"an invisible ticket":   {values{"ticket": "\u200b\u200b"}, map[string]string{"ticket": "ticket"}},
		"a blank reason":        {values{"reason": " \n "}, map[string]string{"reason": "why"}},
		"too long":              {values{"for": "other", "for_other": "13h"}, map[string]string{"for_other": "longer than the 12 h"}},
		"no duration":           {values{"for": "other", "for_other": "soon"}, map[string]string{"for_other": "is not a duration"}},
		"a negative duration":   {values{"for": "other", "for_other": "-4h"}, map[string]string{"for_other": "duration"}},
		"another, and not said": {values{"for": "other"}, map[string]string{"for_other": "duration"}},
		"another, and blank":    {values{"for": "other", "for_other": "  "}, map[string]string{"for_other": "duration"}},
		"two durations":         {values{"for_other": "90m"}, map[string]string{"for_other": "4 h is chosen above, and 90m is typed here"}},
		"a duration and words":  {values{"for_other": "soon"}, map[string]string{"for_other": "4 h is chosen above, and soon is typed here"}},
		"everything": {
			values{"arn": "*", "ticket": " ", "reason": " ", "for": "other", "for_other": "99h"},
			map[string]string{"arn": "wildcard", "ticket": "ticket", "reason": "why", "for_other": "longer"},
		},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.ana.says("grant")
			v := s.ana.modal()
			with := good(c.with)
			s.ana.submits(v, with)
			now := s.ana.modal()
			for field, says := range c.says {
				if !strings.Contains(strings.ToLower(now.Errors[field]), strings.ToLower(says)) {
					t.Errorf("the field %s says %q, want %q", field, now.Errors[field], says)
				}
			}
			if len(now.Errors) != len(c.says) || now.Trouble != "" {
				t.Errorf("errors stand on %v, trouble %q; want %v", now.Errors, now.Trouble, c.says)
			}
			for field, typed := range with {
				if got := now.Filled(field); got != typed {
					t.Errorf("the field %s has %v, but %v was typed", field, got, typed)
				}
			}
			s.live(0)
			s.untouched()
			wants(t, s.ana.submits(now, good(values{"for_other": ""})), "BG-1 is requested")
			s.live(1)
		})
	}
}

// Durations, chosen and typed.
func TestForm_durations(t *testing.T) {
	for name, c := range map[string]struct {
		with values
		want time.Duration
	}{
		"chosen":              {values{"for": "2h"}, 2 * time.Hour},
		"typed":               {values{"for": "other", "for_other": "1h30m"}, 90 * time.Minute},
		"typed with spaces":   {values{"for": "Another duration", "for_other": " 1 h 30 m "}, 90 * time.Minute},
		"typed with no-break": {values{"for": "other", "for_other": "45\u00a0m"}, 45 * time.Minute},
		"seconds":             {values{"for": "other", "for_other": "90s"}, 90 * time.Second},
		"the most":            {values{"for": "12h"}, 12 * time.Hour},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.ana.says("grant")
			wants(t, s.ana.submits(s.ana.modal(), good(c.with)), "BG-1 is requested")
			if g := s.grant("BG-1"); g.Duration != c.want {
				t.Errorf("asked for %s, want %s", g.Duration, c.want)
			}
		}, quiet)
	}
}

// AWS does not answer at all: the form opens, and the request stands.
func TestForm_opensWhileAWSHangs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(hangingAWS)
		for name, open := range map[string]func(){
			"command":  func() { s.ana.says("grant") },
			"shortcut": func() { s.inTimeShortcut(s.ana, "request_access") },
		} {
			began := time.Now()
			open()
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: the form took %s", name, took)
			}
			s.ana.modal("Request access")
		}
		wants(t, s.ana.submits(s.ana.modal(), good(nil)), "BG-1 is requested")
		s.until("BG-1", "Requested", "Checks are running", "Approve 4 h")
	}, quiet)
}

func (s *stage) inTimeShortcut(p person, id string, edits ...slacksim.Edit) answer {
	s.t.Helper()
	return s.inTime(s.answered(p.Shortcut(s.t.Context(), id, edits...)), "shortcut "+id)
}

// notOpened are the ways in which Slack does not open a form.
var notOpened = map[string]slacksim.Fault{
	"hanging":     {Answer: slacksim.Hang()},
	"slow":        {Delay: 10 * time.Second},
	"answer late": {DelayAnswer: 10 * time.Second, Answer: slacksim.Refuse("internal_error")},
	"expired":     {Answer: slacksim.Refuse("expired_trigger_id")},
	"HTML":        {Answer: slacksim.Page()},
	"500":         {Answer: slacksim.Status(500)},
	"429":         {Answer: slacksim.RateLimited(30 * time.Second)},
	"dropped":     {Answer: slacksim.Drop()},
	"ok false":    {Answer: slacksim.RefuseSilently()},
}

// When Slack does not open the form, whoever asked for it is told in words what to
// type instead, within the three seconds.
func TestForm_slackDoesNotOpenIt(t *testing.T) {
	for name, f := range notOpened {
		f.Method = "views.open"
		beside(t, name, func(t *testing.T, s *stage) {
			const words = "Slack did not open the form in time"
			s.opens(askProd)
			s.asks(askTest())
			s.slack.Inject(f)
			s.ana.says("grant").refused(s, words, "Nothing changed", "/breakglass grant cell=")
			s.ana.says("emergency").refused(s, words, "/breakglass emergency cell=")
			s.ben.chooses("BG-2", less).refused(s, words, "Approve or Deny on the card")
			s.ben.chooses("BG-2", denyWhy).refused(s, words, "Approve or Deny on the card")
			s.ana.presses("BG-1", "Extend").refused(s, words, "/breakglass extend BG-1 2h")
			s.inTimeShortcut(s.ana, "request_access")
			m, err := s.ana.WaitEphemeral(t.Context(), func(m slacksim.Message) bool { return strings.Contains(m.Text, "WHY") })
			if err != nil {
				t.Fatal(err)
			}
			wants(t, s.slack.Render(m), words)
			s.slack.ClearFaults()
			s.ana.says("grant")
			s.ana.modal("Request access")
		}, quiet, emergencies(ana))
	}
}

// emergencies names those who may open one.
func emergencies(ids ...grant.UserID) change {
	return func(c *setup) { c.people.Emergency = bot.Circle{Users: ids} }
}

// Slack is slow to say who somebody is, and then does not open the form: together
// that must not use up the three seconds.
func TestForm_slowLookupThenNoForm(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for range 20 { // what happens at the last instant may happen either way
			time.Sleep(2 * time.Minute)
			if s.grant("BG-1").Phase != grant.Requested {
				s.ana.says(askProd)
			}
			s.slack.Inject(slacksim.Fault{Method: "users.info", Delay: 1900 * time.Millisecond})
			s.slack.Inject(slacksim.Fault{Method: "views.open", Answer: slacksim.Hang()})
			s.ben.chooses("BG-1", less).refused(s, "Slack did not open the form in time")
			s.ana.says("emergency").refused(s, "Slack did not open the form in time")
			s.slack.ClearFaults()
		}
	}, quiet, emergencies(ana), func(c *setup) { c.policy.Limits.Undecided = 24 * time.Hour })
}

// The global shortcut opens the same form, for somebody who is in no channel with
// the bot too; and when it does not open, they are told all the same.
func TestForm_shortcut(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		zoe := person{s, s.slack.AddUser(slacksim.User{ID: "U0ZOE", Name: "zoe"})}
		for _, p := range []person{s.ana, zoe} {
			s.inTimeShortcut(p, "request_access")
			v := p.modal("Request access", "SingleStore role (ARN)", "Why is access needed?")
			p.Reload()
			p.says("grant")
			if a, b := s.slack.RenderView(v), s.slack.RenderView(p.modal()); a != b {
				t.Errorf("the shortcut opens\n%s\nand the command\n%s", a, b)
			}
			p.Reload()
		}
		s.inTimeShortcut(zoe, "request_access")
		wants(t, zoe.submits(zoe.modal(), good(nil)), "BG-1 is requested")
		zoe.Reload()
		s.slack.Inject(slacksim.Fault{Method: "views.open", Answer: slacksim.Refuse("expired_trigger_id")})
		s.inTimeShortcut(zoe, "request_access")
		time.Sleep(5 * time.Second)
		var told strings.Builder
		for _, m := range append(zoe.Ephemerals(), zoe.DMs()...) {
			told.WriteString(s.slack.Render(m))
		}
		wants(t, told.String(), "Slack did not open the form in time", "/breakglass grant cell=")
	}, quiet)
}

// A shortcut for another app, or of another team, opens nothing.
func TestForm_shortcutOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for name, edit := range map[string]slacksim.Edit{
			"team":         set("team", map[string]any{"id": "T0EVIL"}),
			"person":       from("team_id", "T0EVIL"),
			"app":          set("api_app_id", "A0EVIL"),
			"on a message": set("type", "message_action"),
			"no trigger":   set("trigger_id", nil),
		} {
			t.Log(name)
			s.inTimeShortcut(s.ana, "request_access", edit)
			s.ana.noModal()
		}
	}, quiet)
}

// One form that is sent in is one request, however often it arrives.
func TestForm_deliveredTwice(t *testing.T) {
	for _, newEnvelope := range []bool{false, true} {
		for _, emergency := range []bool{false, true} {
			beside(t, fmt.Sprintf("new envelope %t, emergency %t", newEnvelope, emergency), func(t *testing.T, s *stage) {
				command, says := "grant", "BG-1 is requested"
				if emergency {
					command, says = "emergency", "BG-1 is opening now, without approval"
				}
				s.ana.says(command)
				s.slack.DuplicateNext(1, newEnvelope)
				wants(t, s.ana.submits(s.ana.modal(), good(nil)), "BG-1")
				time.Sleep(5 * time.Second)
				s.live(1)
				s.ana.Reload()
				s.ana.says(command)
				v := s.ana.modal()
				a := s.answered(s.ana.Submit(t.Context(), v, good(values{"ticket": "2"})))
				if text := s.slack.RenderView(s.ana.modal("BG-2")); !strings.Contains(text, strings.Replace(says, "BG-1", "BG-2", 1)) {
					t.Errorf("the second form answers:\n%s", text)
				}
				for range 3 {
					if _, err := s.slack.Redeliver(t.Context(), a.Interaction, newEnvelope); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				s.live(2)
			}, quiet, emergencies(ana))
		}
	}
}

// The acknowledgement is lost on its way. The form stays, with Slack's banner over
// it, and the person sends it in again: that is the same request.
func TestForm_sentInAgainAfterALostAck(t *testing.T) {
	for _, c := range []struct{ command, says string }{{"grant", "BG-1 is requested"}, {"emergency", "BG-1"}} {
		t.Run(c.command, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.ana.says(c.command)
				v := s.ana.modal()
				s.slack.InjectDelivery(slacksim.DeliveryFault{Kind: "view_submission", Times: 2, LoseAck: true})
				for range 2 {
					a := s.answered(s.ana.Submit(t.Context(), v, good(nil)))
					if a.Acked || s.ana.modal().Trouble == "" {
						t.Fatal("the ack was not lost")
					}
				}
				wants(t, s.ana.submits(s.ana.modal(), nil), c.says)
				s.live(1)
				// A new form that says the same is a new request.
				s.ana.Reload()
				s.ana.says(c.command)
				wants(t, s.ana.submits(s.ana.modal(), good(nil)), "BG-2")
				s.live(2)
			}, quiet, emergencies(ana))
		})
	}
}

// A refused emergency that is delivered twice is refused twice.
func TestForm_refusedTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for range 3 {
			s.ana.says("emergency " + strings.TrimPrefix(askProd, "grant "))
		}
		s.live(3)
		s.ana.says("emergency")
		s.slack.DuplicateNext(1, true)
		text := s.ana.submits(s.ana.modal(), good(nil))
		time.Sleep(5 * time.Second)
		if v, ok := s.ana.Modal(); ok {
			text += s.slack.RenderView(v)
		}
		if strings.Contains(text, "BG-0") || !strings.Contains(text, "Nothing was opened") {
			t.Errorf("the fourth emergency answers:\n%s", text)
		}
		s.slack.DuplicateNext(1, true)
		a := s.ana.says("emergency " + strings.TrimPrefix(askProd, "grant "))
		time.Sleep(5 * time.Second)
		for _, m := range a.Ephemerals() {
			if text := s.slack.Render(m); strings.Contains(text, "BG-0") {
				t.Errorf("the duplicate of a refused emergency answers:\n%s", text)
			}
		}
		s.live(3)
	}, quiet, emergencies(ana))
}

// When the store takes nothing in, the form stays as it is, and Slack says so.
func TestForm_storeTakesNothingIn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ana.says("grant")
		mine := s.ana.modal()
		s.ben.chooses("BG-1", denyWhy)
		his := s.ben.modal()
		free := diskFull(t, s.path)
		for _, x := range []struct {
			p    person
			v    slacksim.View
			with values
		}{{s.ana, mine, good(values{"ticket": "2"})}, {s.ben, his, values{"reason": "not now"}}} {
			a := s.answered(x.p.Submit(t.Context(), x.v, x.with))
			if a.Acked || !strings.Contains(a.Failure, "trouble connecting") {
				t.Errorf("acked %t, failure %q; want no ack", a.Acked, a.Failure)
			}
			if got := x.p.modal().Filled("reason"); got != x.with["reason"] {
				t.Errorf("the reason is %v, what was typed is lost", got)
			}
		}
		free()
		wants(t, s.ana.submits(s.ana.modal(), nil), "BG-2 is requested")
		s.ben.submits(s.ben.modal(), nil)
		s.until("BG-1", "Denied", "not now")
		s.live(1)
	}, quiet)
}

// Whatever is typed into any field is text.
func TestForm_hostileText(t *testing.T) {
	for name, text := range map[string]string{
		"bells":    "<!channel> <!here> @everyone <!subteam^S0PLATFORM> <@U0BEN>",
		"links":    "<https://evil.example|click to approve> https://evil.example <mailto:x@evil.example|x>",
		"escaped":  "&lt;!channel&gt; &amp;lt;!here&amp;gt;",
		"code":     "``` `x` ```\n```<!channel>```",
		"bidi":     "safe\u202e<!channel>\u2066evil\u2069\u200b",
		"controls": "a\x00b\x07c\x1b[31md\u2028e",
		"json":     `","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"<!channel>"}}],"x":"`,
		"percent":  "%s %d %!v(MISSING) %[1]s",
		"card":     "\nBG-1 · Closed · helios-prod\nClosed and proven.",
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.ana.says("grant")
			short := []rune(text)
			short = short[:min(len(short), 30)]
			s.ana.submits(s.ana.modal(), good(values{"arn": text, "for": "other", "for_other": string(short), "ticket": text, "reason": text}))
			if e := s.ana.modal().Errors; e["arn"] == "" || e["for_other"] == "" {
				t.Errorf("the errors are %v", e)
			}
			wants(t, s.ana.submits(s.ana.modal(), values{"arn": vendor, "for": "4h", "for_other": ""}), "BG-1 is requested")
			s.until("BG-1", "Requested", "Checks:")
			s.ben.chooses("BG-1", less)
			s.ben.submits(s.ben.modal(), values{"for": "other", "for_other": string(short)})
			s.ben.Reload()
			s.ben.chooses("BG-1", denyWhy)
			wants(t, s.ben.submits(s.ben.modal(), values{"reason": text}), "BG-1")
			s.until("BG-1", "Denied")
			s.mia.says("show 1")
			s.mia.says("history")
			s.quietViews()
			if n := len(s.cards("BG-1")); n != 1 {
				t.Errorf("there are %d cards", n)
			}
		}, quiet)
	}
}

// The longest texts, in letters that take the most room on the wire: the answer
// to a form still fits into an acknowledgement, which Slack drops at 20 kB.
func TestForm_answerToTheLongestFits(t *testing.T) {
	for name, letter := range map[string]string{"a few angles": "<xx", "angles": "<", "ampersands": "&", "quotes": `"`, "emoji": "🚨", "letters": "漢", "controls": "\x01x"} {
		beside(t, name, func(t *testing.T, s *stage) {
			long := strings.Repeat(letter, 2990/len([]rune(letter)))
			ticket := strings.Repeat(letter, 98/len([]rune(letter)))
			s.ana.says("grant")
			wants(t, s.ana.submits(s.ana.modal(), good(values{"reason": long, "ticket": ticket})), "BG-1 is requested")
			s.until("BG-1", "Requested", "Checks:")
			s.ben.chooses("BG-1", less)
			s.ben.submits(s.ben.modal(), values{"for": "2h"})
			s.until("BG-1", "Approvals: 1 of 2")
			s.ben.Reload()
			s.eva.chooses("BG-1", denyWhy)
			s.eva.submits(s.eva.modal(), values{"reason": long})
			s.until("BG-1", "Denied")
			s.quietViews()
		}, quiet, approvals(2))
	}
}

// Nothing in what comes back with a form is trusted.
func TestForm_forged(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		huge := strings.Repeat("x", 1<<16)
		in := func(field string, value any) slacksim.Edit {
			return func(p map[string]any) { p["view"].(map[string]any)[field] = value }
		}
		state := func(values any) slacksim.Edit {
			return in("state", map[string]any{"values": values})
		}
		text := func(s string) map[string]any { return map[string]any{"type": "plain_text_input", "value": s} }
		token := s.grant("BG-1").Token
		for name, edit := range map[string]slacksim.Edit{
			"a form that nobody made":       in("callback_id", "approve_all"),
			"no form":                       in("callback_id", ""),
			"a huge name":                   in("callback_id", huge),
			"approving, from the request":   in("callback_id", "approve_less"),
			"denying, without a token":      in("callback_id", "deny"),
			"extending, without a token":    in("callback_id", "extend"),
			"an emergency":                  in("callback_id", "emergency"),
			"no state":                      in("state", nil),
			"no values":                     state(nil),
			"unknown blocks":                state(map[string]any{"evil": map[string]any{"x": text("y")}, "approver": map[string]any{"yes": text(mia)}}),
			"huge values":                   state(map[string]any{"cell": map[string]any{"cell": text(huge)}, "arn": map[string]any{"arn": text(huge)}, "for": map[string]any{"for": text(huge)}, "reason": map[string]any{"reason": text(huge)}, "ticket": map[string]any{"ticket": text(huge)}}),
			"arrays":                        state([]any{map[string]any{"cell": "x"}}),
			"arrays deeper":                 state(map[string]any{"cell": []any{text(prod)}}),
			"numbers":                       state(map[string]any{"cell": map[string]any{"cell": map[string]any{"type": "plain_text_input", "value": 7}}}),
			"another app":                   set("api_app_id", "A0EVIL"),
			"another team":                  set("team", map[string]any{"id": "T0EVIL"}),
			"a person of another team":      from("team_id", "T0EVIL"),
			"nobody":                        from("id", ""),
			"a person whom Slack knows not": from("id", "U0NOBODY"),
		} {
			t.Log(name)
			s.mia.says("grant")
			a := s.answered(s.mia.Submit(t.Context(), s.mia.modal(), good(nil), edit))
			if !a.Acked && name != "arrays" && name != "arrays deeper" && name != "numbers" {
				t.Errorf("%s: not acknowledged", name)
			}
			s.mia.Reload()
			s.live(1)
			s.phase("BG-1", grant.Requested)
		}
		// The metadata names the grant. Whose it is and who may is looked up.
		for name, edit := range map[string]slacksim.Edit{
			"the id":        in("private_metadata", "BG-1"),
			"nothing":       in("private_metadata", ""),
			"huge":          in("private_metadata", huge),
			"a made-up one": in("private_metadata", strings.Repeat("a", 26)),
			"more of it":    in("private_metadata", token+token),
		} {
			t.Log(name)
			s.ben.chooses("BG-1", denyWhy)
			wants(t, s.ben.submits(s.ben.modal(), values{"reason": "no"}, edit), "othing changed", "/breakglass status")
			s.ben.Reload()
			s.phase("BG-1", grant.Requested)
		}
		// Another's form, with the requester's own grant in it.
		s.ben.says(askTest())
		s.until("BG-2", "Checks:")
		s.ben.chooses("BG-1", less)
		wants(t, s.ben.submits(s.ben.modal(), values{"for": "2h"}, in("private_metadata", s.grant("BG-2").Token)), "BG-2 is your own request")
		s.phase("BG-2", grant.Requested)
		// Somebody who is no approver sends in a form that they were never shown.
		s.mia.says("grant")
		forged := func(p map[string]any) {
			v := p["view"].(map[string]any)
			v["callback_id"], v["private_metadata"] = "deny", token
		}
		wants(t, s.mia.submits(s.mia.modal(), good(nil), forged), "Only an approver may deny BG-1")
		s.phase("BG-1", grant.Requested)
		s.untouched()
	}, quiet)
}

// Who sends a form in is looked up then, whoever it was opened for.
func TestForm_whoMaySendItIn(t *testing.T) {
	for name, c := range map[string]struct {
		user slacksim.User
		says string
	}{
		"guest":     {slacksim.User{ID: "U0GUS", Guest: slacksim.MultiChannelGuest}, "this account is a guest"},
		"stranger":  {slacksim.User{ID: "U0STR", Stranger: true, TeamID: "T0000000001"}, "another organisation"},
		"invited":   {slacksim.User{ID: "U0IVY", Invited: true}, "has not joined yet"},
		"bot":       {slacksim.User{ID: "U0BOT", Bot: true}, "this is an app"},
		"no member": {slacksim.User{ID: mia}, "You are not among the people who may ask"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			if c.user.ID != mia {
				s.slack.AddUser(c.user)
			}
			s.asks(askProd)
			s.ben.chooses("BG-1", denyWhy)
			his := s.ben.modal()
			s.ana.says("grant")
			s.saysNo(s.ana.submits(s.ana.modal(), good(nil), from("id", c.user.ID)), c.says, "Nothing ")
			if c.user.ID != mia {
				s.saysNo(s.ben.submits(his, values{"reason": "no"}, from("id", c.user.ID)), c.says)
			}
			s.live(1)
			s.phase("BG-1", grant.Requested)
		}, quiet, func(cfg *setup) {
			cfg.people.Requesters = bot.Circle{Users: []grant.UserID{ana}}
			if c.user.ID != mia {
				cfg.people.Requesters.Users = append(cfg.people.Requesters.Users, grant.UserID(c.user.ID))
				cfg.people.Approvers.Users = append(cfg.people.Approvers.Users, grant.UserID(c.user.ID))
			}
		})
	}
}

// Slack does not say who sends it in: nothing is decided, and it can be sent again.
func TestForm_slackDoesNotSayWho(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("grant")
		v := s.ana.modal()
		s.slack.Inject(slacksim.Fault{Method: "users.info", Answer: slacksim.Hang()})
		s.ana.submits(v, good(nil))
		s.live(0)
		now := s.ana.modal("Slack did not say who you are", "nothing changed", "Try again")
		s.slack.ClearFaults()
		if _, err := s.ana.CloseModal(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if v := s.ana.modal("Request access"); v.Filled("reason") != "stuck node pool" {
			t.Error("Slack hiccups, and what was typed is lost")
		}
		wants(t, s.ana.submits(s.ana.modal(), nil), "BG-1 is requested")
	}, quiet)
}

// Forms that stand open while the bot is away.
func TestForm_leftOpenOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.asks(askTest())
		s.opens(strings.Replace(askProd, "48213", "7", 1))
		s.mia.says("grant")
		s.ben.chooses("BG-1", less)
		s.eva.chooses("BG-2", denyWhy)
		s.ana.presses("BG-3", "Extend")
		asked, lessForm, no, more := s.mia.modal(), s.ben.modal(), s.eva.modal(), s.ana.modal("Ask for more time")
		s.stop()
		if a := s.answered(s.mia.Submit(t.Context(), asked, good(values{"ticket": "99"}))); a.Acked || s.mia.modal().Trouble == "" {
			t.Error("nobody was there, and the form went away")
		}
		s.start()
		wants(t, s.mia.submits(asked, nil), "BG-4 is requested")
		s.ben.submits(lessForm, values{"for": "2h"})
		s.until("BG-1", "Open until", "Asked for 4 h, approved for 2 h")
		s.eva.submits(no, values{"reason": "not in the freeze"})
		s.until("BG-2", "Denied", "not in the freeze")
		wants(t, s.ana.submits(more, values{"for": "2h"}), "Asked for 2 h more for BG-3")
		s.until("BG-3", "More time?")
	}, quiet)
}

// Approving for less: the approver says how much, the card says it, and it ends
// then.
func TestLess_isWhatOpens(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		if a := s.ben.chooses("BG-1", less); a.text != "" {
			t.Errorf("beside the form: %s", a.text)
		}
		v := s.ben.modal("Approve for less", "BG-1 on helios-prod", "@ana asks for 4 h", "Less than 4 h")
		for _, o := range v.Buttons()[0].Options {
			if d, err := grant.ParseDuration(o.Value); err == nil && d >= 4*time.Hour {
				t.Errorf("the form offers %s", o.Text)
			}
		}
		wants(t, s.ben.submits(v, values{"for": "other", "for_other": "90m"}), "BG-1")
		s.until("BG-1", "Open until 10:30", "Asked for 4 h, approved for 1 h 30 min", "@ben for 1 h 30 min")
		if g := s.grant("BG-1"); g.End.Sub(g.OpenedAt) > 90*time.Minute {
			t.Errorf("it is open for %s", g.End.Sub(g.OpenedAt))
		}
		if doc := s.cell.Role.TrustDocument(); !strings.Contains(doc, s.grant("BG-1").End.Format(time.RFC3339)) {
			t.Errorf("AWS is told another end:\n%s", doc)
		}
		time.Sleep(2 * time.Hour)
		s.proven("BG-1")
	}, quiet)
}

// Shorter only, and it is said on the field.
func TestLess_onlyShorter(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.chooses("BG-1", less)
		for typed, says := range map[string]string{
			"5h": "cannot be approved for 5 h", "99d": "cannot be approved", "": "duration", "0s": "duration", "-1h": "duration", "10ms": "shortest", "soon": "duration", "1h; drop": "duration",
		} {
			with := values{"for": "other"}
			if typed != "" {
				with["for_other"] = typed
			} else {
				with["for_other"] = " "
			}
			s.ben.submits(s.ben.modal(), with)
			now := s.ben.modal("Approve for less")
			if e := now.Errors["for_other"]; !strings.Contains(strings.ToLower(e), says) || len(now.Errors) != 1 {
				t.Errorf("%q: the errors are %v, want %q on the field", typed, now.Errors, says)
			}
		}
		s.phase("BG-1", grant.Requested)
		if g := s.grant("BG-1"); len(g.Approvals) != 0 || g.Duration != 4*time.Hour {
			t.Errorf("something was approved: %+v for %s", g.Approvals, g.Duration)
		}
		s.untouched()
		// The same again, once it was refused: it is refused again, and not taken for a duplicate.
		for range 2 {
			s.ben.submits(s.ben.modal(), values{"for": "other", "for_other": "5h"})
			if e := s.ben.modal().Errors["for_other"]; !strings.Contains(e, "cannot be approved for 5 h") {
				t.Errorf("the error is %q", e)
			}
		}
	}, quiet)
}

// Who may decide with words, and who may not: they learn it before they fill in
// anything.
func TestLess_whoMay(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		for _, p := range []person{s.mia, s.rob} {
			p.chooses("BG-1", less).refused(s, "Only an approver may approve BG-1", "Nothing changed")
			p.chooses("BG-1", denyWhy).refused(s, "Only an approver may deny BG-1", "Nothing changed")
			p.noModal()
		}
		s.ana.chooses("BG-1", less).refused(s, "BG-1 is your own request")
		s.ana.noModal()
		// They may at first, and not any more when they send it in.
		s.ben.chooses("BG-1", less)
		v := s.ben.modal()
		s.slack.EditUser(ben, func(u *slacksim.User) { u.Guest = slacksim.MultiChannelGuest })
		time.Sleep(2 * time.Minute)
		s.saysNo(s.ben.submits(v, values{"for": "1h"}), "this account is a guest")
		s.phase("BG-1", grant.Requested)
		s.untouched()
	}, quiet)
}

// Too late: before the form, and with the form open.
func TestLess_tooLate(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		old := s.card("BG-1")
		s.ben.chooses("BG-1", less)
		lessForm := s.ben.modal()
		s.eva.presses("BG-1", "Deny")
		s.until("BG-1", "Denied")
		s.saysNo(s.ben.submits(lessForm, values{"for": "1h"}), "BG-1 was denied by", "eva", "Nothing changed", "/breakglass grant")
		for _, line := range []string{less, denyWhy} {
			s.ben.lateChoice(old, line).refused(s, "BG-1 was denied by", "eva", "Nothing changed")
		}
		s.restart()
		s.ben.lateChoice(old, less).refused(s, "BG-1 was denied by", "eva", "2026-11-23 09:")
	}, quiet)
}

// lateChoice picks from a menu that the person's screen still shows.
func (p person) lateChoice(m slacksim.Message, line string) answer {
	p.s.t.Helper()
	for _, b := range m.Buttons() {
		for _, o := range b.Options {
			if o.Text == line {
				return p.s.inTime(p.s.answered(p.Forge(p.s.t.Context(), slacksim.Forgery{Channel: channel, MessageTS: m.TS, ActionID: b.ActionID}, atHome,
					with("type", "overflow"), with("selected_option", map[string]any{"text": map[string]any{"type": "plain_text", "text": o.Text}, "value": o.Value}))), line)
			}
		}
	}
	p.s.t.Fatalf("there never was a line %q", line)
	return answer{}
}

// Two approvers, one of them for less: the least of what was agreed to opens.
func TestLess_twoApprovers(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("less first %t", first), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.asks(askProd)
				if first {
					s.ben.chooses("BG-1", less)
					s.ben.submits(s.ben.modal(), values{"for": "1h"})
					s.until("BG-1", "Approvals: 1 of 2", "@ben for 1 h", "Approve 1 h", "Asked for 4 h, approved for 1 h")
					s.ben.Reload()
					s.ben.chooses("BG-1", less).refused(s, "You have approved BG-1 already")
					s.ben.noModal()
					s.eva.presses("BG-1", "Approve 1 h")
				} else {
					s.ben.presses("BG-1", "Approve 4 h")
					s.until("BG-1", "Approvals: 1 of 2")
					s.eva.chooses("BG-1", less)
					s.eva.submits(s.eva.modal(), values{"for": "1h"})
				}
				s.until("BG-1", "Open until 10:00", "Asked for 4 h, approved for 1 h")
				if g := s.grant("BG-1"); g.End.Sub(g.OpenedAt) > time.Hour || len(g.Approvals) != 2 {
					t.Errorf("open for %s by %+v", g.End.Sub(g.OpenedAt), g.Approvals)
				}
			}, quiet, approvals(2))
		})
	}
}

// The first approves for an hour while the second still looks at the button that
// says four: a click on the old one gives no more than the hour.
func TestLess_oldApproveButton(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		old := s.card("BG-1")
		s.ben.chooses("BG-1", less)
		s.ben.submits(s.ben.modal(), values{"for": "1h"})
		s.until("BG-1", "Approve 1 h")
		s.eva.late(old, "Approve 4 h")
		s.until("BG-1", "Open until 10:00")
		if g := s.grant("BG-1"); g.End.Sub(g.OpenedAt) > time.Hour {
			t.Errorf("it is open for %s", g.End.Sub(g.OpenedAt))
		}
	}, quiet, approvals(2))
}

// Approving for less agrees to moving the logs only as the form has said it.
func TestLess_withARedirection(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.chooses("BG-1", less)
		v := s.ben.modal("It also moves the session logs", "/aws/ssm/other/cluster", "/aws/ssm/helios-prod/cluster", "Approve and move")
		s.ben.submits(v, values{"for": "1h"})
		s.until("BG-1", "Open until", "approved for 1 h")
		s.ana.says("revoke")
		s.proven("BG-1")
	}, loggedElsewhere)
}

// The form was opened before the checks knew of the redirection.
func TestLess_redirectionUnseen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Tune(func(k *awssim.Knobs) { k.Latency = 3 * time.Second })
		s.ana.says(askProd)
		s.until("BG-1", "Requested")
		s.ben.chooses("BG-1", less)
		v := s.ben.modal("Approve for less")
		s.until("BG-1", "Checks:", "/aws/ssm/other/cluster")
		s.saysNo(s.ben.submits(v, values{"for": "1h"}), "/aws/ssm/other/cluster", "Nothing is approved yet")
		s.phase("BG-1", grant.Requested)
		if g := s.grant("BG-1"); g.Duration != 4*time.Hour || len(g.Approvals) != 0 {
			t.Errorf("approved: %+v for %s", g.Approvals, g.Duration)
		}
		s.untouched()
	}, loggedElsewhere)
}

// Denied with a reason: it stands on the card, in the thread, and in the story.
func TestDeny_withAReason(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.eva.chooses("BG-1", denyWhy)
		v := s.eva.modal("Deny the request", "Why not?", "@ana asks for 4 h")
		s.eva.submits(v, values{"reason": "not in the freeze; ask <!channel> tomorrow"})
		s.until("BG-1", "Denied", "@eva", "not in the freeze; ask <!channel> tomorrow")
		if b := s.card("BG-1").Buttons(); len(b) != 0 {
			t.Errorf("the card has buttons: %v", b)
		}
		time.Sleep(10 * time.Second)
		if m := s.thread("@ana", "denied", "not in the freeze"); len(m) != 1 {
			t.Errorf("the thread tells it %d times:\n%s", len(m), s.wall())
		}
		s.mia.says("show 1").wants(t, "Denied", "not in the freeze", "@eva")
		s.untouched()
	}, quiet)
}

// A duration that is typed beside another one that is chosen is never passed over,
// in any form; where both say the same there is nothing to ask.
func TestForm_durationTypedBesideTheMenu(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("grant")
		v := s.ana.modal()
		s.ana.submits(v, good(values{"for": "4h", "for_other": "1h"}))
		if now := s.ana.modal(); !strings.Contains(now.Errors["for_other"], "empty this") {
			t.Errorf("the form says %v", now.Errors)
		}
		s.live(0)
		wants(t, s.ana.submits(s.ana.modal(), good(values{"for": "4h", "for_other": "240m"})), "BG-1 is requested", "4 h")
		s.until("BG-1", "Requested", "Checks:")

		s.ben.chooses("BG-1", less)
		s.ben.submits(s.ben.modal(less[:len("Approve for less")]), values{"for": "30m", "for_other": "2h"})
		if now := s.ben.modal(); !strings.Contains(now.Errors["for_other"], "30 min is chosen above, and 2h is typed here") {
			t.Errorf("the form says %v", now.Errors)
		}
		s.phase("BG-1", grant.Requested)
		s.ben.submits(s.ben.modal(), values{"for": "other", "for_other": "2h"})
		s.until("BG-1", "Open until")

		s.ana.presses("BG-1", "Extend…")
		s.ana.submits(s.ana.modal("Ask for more time"), values{"for": "1h", "for_other": "3h"})
		if now := s.ana.modal(); !strings.Contains(now.Errors["for_other"], "1 h is chosen above, and 3h is typed here") {
			t.Errorf("the form says %v", now.Errors)
		}
		if s.grant("BG-1").Extension != nil {
			t.Error("more time was asked for")
		}
		wants(t, s.ana.submits(s.ana.modal(), values{"for": "1h", "for_other": ""}), "Asked for 1 h more")
	}, quiet)
}

// So it is for emergencies, which nobody looks at before they open.
func TestForm_emergencyDurationTypedBesideTheMenu(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("emergency")
		s.ana.submits(s.ana.modal(), good(values{"for": "4h", "for_other": "10m"}))
		if now := s.ana.modal(); !strings.Contains(now.Errors["for_other"], "4 h is chosen above, and 10m is typed here") {
			t.Errorf("the form says %v", now.Errors)
		}
		s.live(0)
		s.untouched()
	}, quiet, mayDeclare)
}
