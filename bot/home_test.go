package bot_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// looks opens the App Home and answers it.
func (p person) looks(words ...string) slacksim.View {
	p.s.t.Helper()
	p.s.inTime(p.s.answered(p.OpenHome(p.s.t.Context())), "app_home_opened")
	return p.home(words...)
}

// home waits until the person's App Home says all the words.
func (p person) home(words ...string) slacksim.View {
	p.s.t.Helper()
	v, err := p.WaitHome(p.s.t.Context(), func(v slacksim.View) bool { return hasAll(p.s.slack.RenderView(v), words) })
	if err != nil {
		p.s.t.Fatalf("the home of @%s never said %q: %v\n%s", p.ID(), words, err, p.s.log)
	}
	synctest.Wait()
	return v
}

// homeSays is home with a limit of time.
func (p person) homeSays(within time.Duration, words ...string) {
	p.s.t.Helper()
	began := time.Now()
	p.home(words...)
	if took := time.Since(began); took > within {
		p.s.t.Errorf("the home of @%s said %q after %s, want %s at most", p.ID(), words, took, within)
	}
}

// presses a button of the App Home, or of the answer to one.
func (p person) pressesIn(v slacksim.View, button string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	return p.s.inTime(p.s.answered(p.ClickIn(p.s.t.Context(), v, button, edits...)), button)
}

// without says that a view has no such words.
func (p person) without(v slacksim.View, words ...string) {
	p.s.t.Helper()
	text := p.s.slack.RenderView(v)
	for _, w := range words {
		if strings.Contains(text, w) {
			p.s.t.Errorf("@%s's view should not say %q:\n%s", p.ID(), w, text)
		}
	}
}

// published is how often whose home was published.
func (s *stage) published() map[string]int {
	out := map[string]int{}
	for _, c := range s.slack.Calls("views.publish") {
		out[c.Args["user_id"]]++
	}
	return out
}

// Each sees what is for them.
func TestHome_whoSeesWhat(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		gus := person{s, s.slack.AddUser(slacksim.User{ID: "U0GUS", Name: "gus", Guest: slacksim.MultiChannelGuest})}
		s.ben.looks("Nothing is open, and nothing waits for you", "Waiting for you", "Request access", "Open now", "Ended lately", "Nothing yet")
		s.opens(askProd)
		s.asks(askTest())
		s.ana.says("grant " + strings.TrimPrefix(strings.Replace(askProd, "48213", "666", 1), "grant "))
		s.until("BG-3", "Checks:")
		s.eva.presses("BG-3", "Deny")
		s.until("BG-3", "Denied")

		v := s.ben.home("1 thing waits for you, 1 open", "BG-2", "stuck node pool", "Approve 4 h", "Deny", "BG-1", "Mark as sent", "Revoke now", "Extend…", "BG-3", "denied by")
		s.ben.without(v, "Withdraw")
		v = s.ana.looks("1 open", "Your requests", "BG-2", "Withdraw", "Revoke now", "Extend…")
		s.ana.without(v, "Approve 4 h")
		v = s.rob.looks("BG-1", "Revoke now", "Waiting for others to decide: BG-2")
		s.rob.without(v, "Approve 4 h", "Waiting for you")
		v = s.mia.looks("BG-1", "Extend…", "Request access", "Waiting for others to decide: BG-2")
		s.mia.without(v, "Approve", "Revoke now", "Withdraw", "Mark as sent")
		v = gus.looks("BG-1", "Ended lately")
		gus.without(v, "Approve", "Revoke now", "Request access", "Extend", "Withdraw")
		s.quietViews()
	}, quiet)
}

// Everything from there: asked for, decided with and without words, extended,
// revoked. Nobody else's home is published.
func TestHome_theWholeStory(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ben.looks("Nothing is open")
		mine := s.ana.looks("Request access")
		s.ana.pressesIn(mine, "Request access")
		wants(t, s.ana.submits(s.ana.modal("Request access"), good(nil)), "BG-1 is requested")
		s.ana.Reload()
		s.ana.homeSays(10*time.Second, "Your requests", "BG-1")
		v := s.ben.home("1 thing waits for you", "Checks:", "Approve 4 h")
		if _, err := s.ben.ChooseIn(t.Context(), v, "more", less); err != nil {
			t.Fatal(err)
		}
		s.ben.submits(s.ben.modal("Approve for less"), values{"for": "2h"})
		s.ben.Reload()
		s.ana.homeSays(20*time.Second, "1 open", "Open until")
		v = s.ana.home("Mark as sent")
		s.ana.pressesIn(v, "Mark as sent")
		s.until("BG-1", "Support was told by @ana")
		s.ana.pressesIn(s.ana.home("Extend…"), "Extend")
		s.ana.submits(s.ana.modal("Ask for more time"), values{"for": "1h"})
		s.ana.Reload()
		v = s.ben.home("asks for 1 h more", "Approve 1 h more")
		s.ben.pressesIn(v, "Approve 1 h more")
		s.until("BG-1", "Extended")
		s.ben.homeSays(10*time.Second, "Nothing.", "1 open")
		s.ana.pressesIn(s.ana.home("Revoke now"), "Revoke now")
		s.proven("BG-1")
		s.ana.homeSays(10*time.Second, "Nothing is open", "BG-1", "Closed", "was open")
		for u := range s.published() {
			if u != ana && u != ben {
				t.Errorf("the home of %s was published, who has not opened it", u)
			}
		}
		for _, m := range append(s.ana.Ephemerals(), s.ben.Ephemerals()...) {
			t.Errorf("a message was shown in the channel to somebody in their home:\n%s", s.slack.Render(m))
		}
		s.quietViews()
	}, quiet)
}

// What is refused is said over the home, in an answer without fields.
func TestHome_refusalsStandOverIt(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		v := s.ben.looks("Approve 4 h")
		token := s.grant("BG-1").Token
		for name, c := range map[string]struct {
			by     person
			action string
			value  string
			says   string
		}{
			"own request":     {s.ana, "approve", token, "BG-1 is your own request"},
			"no approver":     {s.mia, "approve", token, "Only an approver may approve BG-1"},
			"no token":        {s.ben, "approve", "x", "I do not know"},
			"no such button":  {s.ben, "approve_everything", token, "I do not know"},
			"form, too early": {s.ana, "extend", token, "BG-1 is waiting for 1 more approval"},
		} {
			t.Log(name)
			home := v
			if c.by.ID() != ben {
				home = c.by.looks("BG-1")
			}
			c.by.pressesIn(home, "Request access", as(c.action), with("value", c.value))
			s.saysNo(s.slack.RenderView(c.by.modal()), c.says, "othing changed")
			c.by.Reload()
		}
		// Too late, by a second look at an old home.
		s.eva.presses("BG-1", "Deny")
		s.ben.pressesIn(v, "Approve")
		s.saysNo(s.slack.RenderView(s.ben.modal()), "BG-1 was denied by", "eva", "Nothing changed")
		s.phase("BG-1", grant.Denied)
		s.untouched()
	}, quiet)
}

// Where no answer can be opened over the home either, it comes as a message; to
// somebody who is in no channel with the bot as a direct one.
func TestHome_answerCannotBeOpened(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		zoe := person{s, s.slack.AddUser(slacksim.User{ID: "U0ZOE", Name: "zoe"})}
		s.asks(askProd)
		token := s.grant("BG-1").Token
		for _, p := range []person{s.mia, zoe} {
			v := p.looks("BG-1")
			remove := s.slack.Inject(slacksim.Fault{Method: "views.open", Answer: slacksim.Hang()})
			p.pressesIn(v, "Request access", as("approve"), with("value", token))
			p.pressesIn(v, "Request access")
			time.Sleep(5 * time.Second)
			var told strings.Builder
			for _, m := range append(p.Ephemerals(), p.DMs()...) {
				told.WriteString(s.slack.Render(m))
			}
			wants(t, told.String(), "Only an approver may approve BG-1", "Slack did not open the form in time")
			remove()
		}
	}, quiet)
}

// Revoking would cut another's shells, of which the home does not know yet: the
// question stands over it, is answered there, and what came of it is said there.
func TestHome_questionBeforeRevoking(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.twoOnOneRole()
		s.comes(vendor2)
		time.Sleep(2 * minute)
		v := s.ana.looks("2 open", "BG-1", "BG-2")
		token := s.grant("BG-1").Token
		// As on a home from before BG-2 was there: the plain button.
		s.ana.pressesIn(v, "Request access", as("revoke"), with("value", token))
		q := s.ana.modal("Revoke BG-1, and cut others off?", "BG-2", "Nothing is revoked yet")
		s.phase("BG-1", grant.Open)
		s.ana.pressesIn(q, "Revoke")
		s.phase("BG-1", grant.Closing)
		wants(t, s.slack.RenderView(s.ana.modal()), "BG-1", "closing")
		for _, m := range s.ana.Ephemerals() {
			if m.At.After(v.At) {
				t.Errorf("it is said in the channel:\n%s", s.slack.Render(m))
			}
		}
		s.quietViews()
	}, quiet)
}

// Two people look at theirs, and one decides: the other's changes.
func TestHome_refreshedOnChange(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ben.looks("Nothing is open")
		s.eva.looks("Nothing is open")
		s.asks(askProd)
		v := s.ben.home("1 thing waits for you", "Checks:")
		s.eva.home("1 thing waits for you", "Checks:")
		s.ben.pressesIn(v, "Approve")
		s.eva.homeSays(15*time.Second, "1 open", "BG-1", "Open until")
		s.ben.homeSays(15*time.Second, "1 open", "BG-1", "Open until")
		time.Sleep(time.Minute)
		n := s.published()
		time.Sleep(50 * time.Minute) // it is looked at each minute, and nothing changes
		if m := s.published(); m[ben]-n[ben] > 3 || m[eva]-n[eva] > 3 {
			t.Errorf("the homes were published %d and %d times while nothing changed", m[ben]-n[ben], m[eva]-n[eva])
		}
		s.ana.says("revoke")
		s.eva.homeSays(10*time.Second, "1 closing")
		s.proven("BG-1")
		s.eva.homeSays(10*time.Second, "Nothing is open", "Closed")
	}, quiet)
}

// An emergency waits for somebody's signature, also after it was closed.
func TestHome_signFromThere(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ben.looks("Nothing")
		s.ana.says("emergency " + strings.TrimPrefix(askProd, "grant "))
		s.until("BG-1", "Open until")
		s.ben.home("review owed", "Sign review")
		s.ana.says("revoke")
		s.proven("BG-1")
		mine := s.ana.looks("BG-1")
		s.ana.without(mine, "Sign review")
		s.ben.home("1 thing waits for you", "Closed")
		s.ben.pressesIn(s.ben.home("Sign review"), "Sign review")
		s.until("BG-1", "Review signed by @ben")
		s.ben.homeSays(10*time.Second, "nothing waits for you")
	}, quiet, emergencies(ana))
}

// A home from before a restart: its buttons work, and it is made anew when it is
// opened.
func TestHome_overARestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		v := s.ben.looks("Approve 4 h")
		s.restart()
		s.ben.pressesIn(v, "Approve")
		s.until("BG-1", "Open until")
		s.ben.pressesIn(v, "Approve")
		s.saysNo(s.slack.RenderView(s.ben.modal()), "BG-1 is open until", "ben", "Nothing changed")
		s.ben.looks("1 open")
	}, quiet)
}

// Slack does not take a home: that harms nobody, it is tried again by itself, and
// not in a hot loop.
func TestHome_slackDoesNotTakeIt(t *testing.T) {
	for name, f := range map[string]slacksim.Fault{
		"refused": {Answer: slacksim.Refuse("internal_error")},
		"429":     {Answer: slacksim.RateLimited(30 * time.Second)},
		"hanging": {Answer: slacksim.Hang()},
		"HTML":    {Answer: slacksim.Page()},
		"500":     {Answer: slacksim.Status(500)},
		"dropped": {Answer: slacksim.Drop()},
	} {
		f.Method = "views.publish"
		beside(t, name, func(t *testing.T, s *stage) {
			remove := s.slack.Inject(f)
			for _, p := range []person{s.ben, s.eva, s.mia} {
				s.inTime(s.answered(p.OpenHome(t.Context())), "app_home_opened")
			}
			s.opens(askProd)
			time.Sleep(5 * minute)
			if n := len(s.slack.Calls("views.publish")); n > 150 {
				t.Errorf("%d calls of views.publish in five minutes", n)
			}
			remove()
			s.ben.homeSays(10*minute, "1 open", "BG-1")
			s.mia.homeSays(10*minute, "1 open", "BG-1")
			s.ana.says("revoke")
			s.proven("BG-1")
		}, quiet)
	}
}

// What Slack never takes is not tried for ever.
func TestHome_neverTaken(t *testing.T) {
	for _, code := range []string{"not_enabled", "invalid_arguments", "user_not_found"} {
		beside(t, code, func(t *testing.T, s *stage) {
			s.slack.Inject(slacksim.Fault{Method: "views.publish", Answer: slacksim.Refuse(code)})
			s.inTime(s.answered(s.ben.OpenHome(t.Context())), "app_home_opened")
			s.opens(askProd)
			time.Sleep(time.Hour)
			if n := len(s.slack.Calls("views.publish")); n > 2 {
				t.Errorf("%d calls of views.publish, and each was refused for good", n)
			}
			s.slack.ClearFaults()
			s.ben.looks("1 open")
		}, quiet)
	}
}

// Slack does not say at first what somebody may do: the home stands at once, and
// has its buttons as soon as Slack does.
func TestHome_buttonsComeLater(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		time.Sleep(2 * minute)
		s.slack.Inject(slacksim.Fault{Method: "users.info", Answer: slacksim.Hang()})
		v := s.ben.looks("Nothing is open")
		s.ben.without(v, "Approve 4 h")
		time.Sleep(20 * time.Second)
		s.slack.ClearFaults()
		s.ben.homeSays(2*minute, "1 thing waits for you", "Approve 4 h")
	}, quiet)
}

// Hundreds look at their homes while things change: whoever opens one has it at
// once, Slack's limits are kept, and those who decide are not kept waiting.
func TestHome_hundreds(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var crowd []person
		for n := range 300 {
			crowd = append(crowd, person{s, s.slack.AddUser(slacksim.User{ID: fmt.Sprintf("U0P%03d", n)})})
		}
		for _, p := range crowd {
			s.inTime(s.answered(p.OpenHome(t.Context())), "app_home_opened")
		}
		time.Sleep(20 * minute)
		if _, ok := crowd[299].Home(); !ok {
			t.Error("the last who opened it has no home")
		}
		// Things change for half an hour; somebody new looks, and somebody decides.
		for round := range 10 {
			id := s.asks(strings.Replace(askProd, "48213", fmt.Sprint(round), 1))
			time.Sleep(90 * time.Second)
			began := time.Now()
			s.rob.looks(id)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("somebody opened their home and waited for %s", took)
			}
			a := s.ben.presses(id, "Approve")
			if a.text != "" {
				t.Errorf("the approver was told, while hundreds look at their homes:\n%s", a.text)
			}
			s.until(id, "Open until")
			s.ana.says("revoke " + id)
			s.until(id, "Closed")
			time.Sleep(time.Minute)
		}
		most := map[string]int{}
		for _, c := range s.slack.Calls("") {
			if c.Error == "ratelimited" {
				most[c.Method]++
			}
		}
		if len(most) > 0 {
			t.Errorf("Slack said to slow down: %v", most)
		}
		s.shut(s.cell)
	}, quiet)
}

// Events that are not for us, or make no sense, publish nothing.
func TestHome_forgedEvents(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		event := func(field string, value any) slacksim.Edit {
			return func(p map[string]any) { p["event"].(map[string]any)[field] = value }
		}
		for name, edit := range map[string]slacksim.Edit{
			"team":         set("team_id", "T0EVIL"),
			"app":          set("api_app_id", "A0EVIL"),
			"messages tab": event("tab", "messages"),
			"no tab":       event("tab", nil),
			"no user":      event("user", ""),
			"a huge user":  event("user", strings.Repeat("U", 1<<16)),
		} {
			t.Log(name)
			if _, err := s.mia.OpenHome(t.Context(), edit); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		s.inTime(s.answered(s.mia.OpenMessages(t.Context())), "app_home_opened")
		time.Sleep(10 * time.Second)
		if n := s.published(); len(n) != 0 {
			t.Errorf("homes were published: %v", n)
		}
		s.mia.looks("Nothing is open")
	}, quiet)
}

// Text that people typed is text there, too.
func TestHome_hostileText(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ben.looks("Nothing")
		evil := "<!channel> `x` *b* <https://evil.example|click> &lt;!here&gt; \u202eevil " + strings.Repeat("<", 500)
		for n := range 12 {
			[]person{s.ana, s.eva}[n%2].says("grant cell=helios-prod arn=" + vendor + " ticket=<!here>" + fmt.Sprint(n) + " for=4h reason=" + evil)
		}
		s.ben.home("12 things wait for you", "and 4 more")
		s.ana.looks("Your requests", "Withdraw")
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		s.ben.home("Trust that no grant explains", vendor)
		s.quietViews()
	}, quiet, func(c *setup) { c.policy.Limits.Undecided = 4 * time.Hour })
}

// The checks are slow: the home tells what it knows.
func TestHome_beforeTheChecks(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Latency: 24 * time.Hour})
		s.ana.says(askProd)
		s.ben.looks("1 thing waits for you", "Checks are running", "Approve 4 h")
	}, quiet, func(c *setup) { c.people.Revokers = bot.Circle{} })
}

// Somebody looks at their home while the bot is restarted: it does not stay as it was,
// and follows what happens from then on, though they never open it again.
func TestHome_lookedAtOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.looks("1 thing waits for you", "Approve 4 h")
		s.ana.looks("Your requests", "Withdraw")
		s.rob.looks("Waiting for others")
		s.stop()
		time.Sleep(2 * time.Hour) // it lapses meanwhile
		s.start()
		s.ben.homeSays(15*time.Second, "nothing waits for you", "Lapsed")
		s.ana.homeSays(15*time.Second, "Nothing is open", "Lapsed")
		s.asks(askProd)
		s.ben.homeSays(15*time.Second, "1 thing waits for you")
		s.ben.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
		s.rob.homeSays(15*time.Second, "1 open", "Revoke now")
		s.restart()
		time.Sleep(minute)
		n := s.published()
		time.Sleep(50 * time.Minute)
		if m := s.published(); m[ben]-n[ben] > 3 {
			t.Errorf("a home was published %d times while nothing changed", m[ben]-n[ben])
		}
		if _, ok := s.mia.Home(); ok {
			t.Error("somebody who never opened theirs, and has no part in it, has a home")
		}
	}, quiet)
}
