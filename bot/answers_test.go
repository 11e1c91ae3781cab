package bot_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

var askEmergency = strings.Replace(askProd, "grant", "emergency", 1)

// later waits for the answer that follows the first one.
func (p person) later(words ...string) string {
	p.s.t.Helper()
	m, err := p.WaitEphemeral(p.s.t.Context(), func(m slacksim.Message) bool { return hasAll(p.s.slack.Render(m), words) })
	if err != nil {
		p.s.t.Fatalf("@%s was never told %q: %v\n%s", p.ID(), words, err, p.s.log)
	}
	return p.s.slack.Render(m)
}

// More time, by form: asked for, decided by two others on the card, carried out in
// AWS and on the card.
func TestExtend_byForm(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until 13:00")
		s.mia.presses("BG-1", "Extend")
		v := s.mia.modal("Ask for more time", "BG-1 on helios-prod", "How much more?")
		wants(t, s.mia.submits(v, values{"for": "2h"}), "Asked for 2 h more for BG-1", "It needs 2 approvals, not your own", "the end stays as it is", "To take it back")
		text := s.until("BG-1", "More time?", "@mia asks for 2 h more", "Approvals: 0 of 2", "Approve 2 h more", "Deny more time")
		if strings.Contains(text, "Extend…") {
			t.Errorf("the card offers to ask for yet more:\n%s", text)
		}
		before := s.cell.Role.TrustDocument()
		s.ana.presses("BG-1", "Approve 2 h more").refused(s, "for your own request", "Ask another approver")
		s.mia.presses("BG-1", "Approve 2 h more").refused(s, "Only an approver may approve more time for BG-1")
		s.ben.presses("BG-1", "Approve 2 h more").noAnswer(t)
		s.until("BG-1", "Approvals: 1 of 2: @ben")
		s.ben.presses("BG-1", "Approve 2 h more").refused(s, "You have approved more time for BG-1 already")
		if doc := s.cell.Role.TrustDocument(); doc != before {
			t.Errorf("the end moved in AWS before it was approved:\n%s", doc)
		}
		old := s.card("BG-1")
		s.eva.presses("BG-1", "Approve 2 h more").noAnswer(t)
		s.until("BG-1", "Open until 15:00", "Extended", "asked for by @mia", "Extend…")
		g := s.grant("BG-1")
		if doc := s.cell.Role.TrustDocument(); !strings.Contains(doc, g.End.Format(time.RFC3339)) || g.End.Sub(g.OpenedAt) < 6*time.Hour-time.Minute {
			t.Errorf("the end is %s, and AWS is told\n%s", g.End, doc)
		}
		// The old buttons, at once, later, and after a restart.
		for range 2 {
			s.ben.late(old, "Approve 2 h more").refused(s, "decided already", "BG-1 is open until 2026-11-23 15:00", "Nothing changed")
			s.ben.late(old, "Deny more time").refused(s, "decided already")
			s.restart()
		}
		if _, err := s.assume(s.cell, vendor); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Until(g.End.Add(10 * time.Minute)))
		s.proven("BG-1")
	}, quiet, approvals(2))
}

// In words: with the id, and without where one is open.
func TestExtend_byWords(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("extend 2h").refused(s, "Say which grant", "Nothing changed", "/breakglass extend BG-7 2h")
		s.opens(askProd)
		s.ana.says("extend 2h").wants(t, "Asked for 2 h more for BG-1")
		s.until("BG-1", "More time?")
		s.mia.says("extend BG-1 1h").refused(s, "@ana", "has asked for 2 h more for BG-1 already", "Nothing changed")
		s.ben.presses("BG-1", "Deny more time")
		s.until("BG-1", "More time was denied by @ben")
		s.mia.says("extend bg-1 90m").wants(t, "Asked for 1 h 30 min more for BG-1")
		s.until("BG-1", "@mia asks for 1 h 30 min more")
		s.mia.presses("BG-1", "Deny more time")
		s.until("BG-1", "taken back")
		s.opens(askTest())
		s.ana.says("extend 2h").refused(s, "Say which grant")
		s.ana.says("extend 2 1h30m").wants(t, "Asked for 1 h 30 min more for BG-2")
		for typed, says := range map[string]string{
			"":                  "Say which grant",
			"BG-1":              "Say which grant",
			"BG-1 soon":         "is not a duration",
			"BG-1 -2h":          "is not a",
			"BG-1 0s":           "is not a positive duration",
			"BG-1 1ms":          "shortest extension is 1 s",
			"BG-1 99d":          "longer than the 12 h that is allowed here",
			"BG-1 9h":           "longer than the 12 h that is allowed here",
			"BG-99 1h":          "There is no grant BG-99 here",
			"helios-prod 1h":    "is not the id of a grant",
			"BG-1 1h please":    "Say which grant",
			"<!channel> 1h":     "is not the id of a grant",
			"BG-1 9999999999h":  "is not a duration",
			"BG-1 <!channel>":   "is not a duration",
			"all 1h":            "is not the id of a grant",
			"BG-0 1h":           "is not the id of a grant",
			"BG-1 1h\u202eevil": "is not a duration",
		} {
			t.Log(typed)
			s.mia.says("extend "+typed).refused(s, says, "Nothing changed")
		}
		s.phase("BG-1", grant.Open)
	}, quiet)
}

// Who may ask, and when.
func TestExtend_whoAndWhen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ana.says("extend BG-1 1h").refused(s, "BG-1 is waiting for 1 more approval", "Nothing changed")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.mia.says("extend BG-1 1h").refused(s, "You are not among the people who may ask for access here, nor for more time")
		s.mia.presses("BG-1", "Extend")
		s.saysNo(s.mia.submits(s.mia.modal(), values{"for": "1h"}), "You are not among the people who may ask for access here, nor for more time")
		s.mia.Reload()
		old := s.card("BG-1")
		// The form stands open while somebody else asks: what was not asked twice is said.
		s.ana.presses("BG-1", "Extend")
		v := s.ana.modal()
		s.ben.says("extend BG-1 1h").wants(t, "Asked for 1 h more")
		s.saysNo(s.ana.submits(v, values{"for": "2h"}), "has asked for 1 h more for BG-1 already")
		s.ana.Reload()
		s.until("BG-1", "More time?")
		// And an Extend… button of before does not open a form for nothing.
		s.ana.late(old, "Extend…").refused(s, "has asked for 1 h more for BG-1 already", "Nothing changed")
		s.ana.noModal()
		s.ana.says("revoke")
		s.proven("BG-1")
		s.ana.says("extend BG-1 1h").refused(s, "BG-1 is closed since", "/breakglass grant")
		s.ana.late(old, "Extend…").refused(s, "BG-1 is closed since", "Nothing changed")
		s.ana.noModal()
	}, quiet, func(c *setup) { c.people.Requesters = bot.Circle{Users: []grant.UserID{ana, ben}} })
}

// The most counts what is left: the form offers no more than may be asked for.
func TestExtend_atTheMost(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=12h", 1))
		s.ana.presses("BG-1", "Extend").refused(s, "Nothing changed")
		s.ana.noModal()
		time.Sleep(2 * time.Hour)
		s.ana.presses("BG-1", "Extend")
		v := s.ana.modal()
		for _, o := range v.Buttons()[0].Options {
			if d, err := grant.ParseDuration(o.Value); err == nil && d > 2*time.Hour+time.Minute {
				t.Errorf("the form offers %s with 10 of 12 h left", o.Text)
			}
		}
		s.ana.submits(v, values{"for": "other", "for_other": "3h"})
		if e := s.ana.modal().Errors["for_other"]; !strings.Contains(e, "longer than the 12 h that is allowed here") {
			t.Errorf("the error is %q", e)
		}
		time.Sleep(2 * time.Hour)
		// Asked for again in the same form, it fits now.
		wants(t, s.ana.submits(s.ana.modal(), values{"for": "other", "for_other": "3h"}), "Asked for 3 h more")
		s.until("BG-1", "More time?")
	}, quiet)
}

// An emergency opens at once, everybody is told, and it owes a review that another
// approver signs once.
func TestEmergencyWords_story(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says(askEmergency).wants(t, "BG-1 is opening now, without approval", "Every approver is told", "owes a review", "/breakglass revoke BG-1")
		s.until("BG-1", "Open until", "emergency", "opened without approval by @ana", "Review owed", "Sign review", "Revoke now")
		if _, err := s.assume(s.cell, vendor); err != nil {
			t.Errorf("the vendor cannot come in: %v", err)
		}
		time.Sleep(10 * time.Second)
		m := s.thread("Emergency: BG-1 on helios-prod")
		if len(m) != 1 || !hasAll(s.slack.Render(m[0]), []string{"@ana", "@ben", "@eva", "stuck node pool", "Revoke now"}) {
			t.Errorf("everybody is to be told once:\n%s", s.wall())
		}
		told := false
		for _, c := range s.slack.Calls("chat.postMessage") {
			told = told || c.Args["reply_broadcast"] == "true" && strings.Contains(c.Args["text"], "BG-1")
		}
		if !told {
			t.Error("the channel is not told, only the thread")
		}
		s.ana.presses("BG-1", "Sign review").refused(s, "BG-1 was your own emergency, so somebody else must review it")
		s.mia.presses("BG-1", "Sign review").refused(s, "Only an approver may sign the review of BG-1")
		s.ana.says("revoke")
		s.proven("BG-1")
		s.until("BG-1", "Closed", "Sign review")
		s.mia.says("history").wants(t, "BG-1", "emergency", "review owed")
		s.restart()
		old := s.card("BG-1")
		s.ben.presses("BG-1", "Sign review").noAnswer(t)
		s.until("BG-1", "Review signed by @ben")
		for range 2 {
			s.eva.late(old, "Sign review").refused(s, "has signed the review of BG-1 already", "ben", "2026-11-23 09:", "Nothing changed")
			s.restart()
		}
		if b := s.card("BG-1").Buttons(); len(b) != 0 {
			t.Errorf("the card still has buttons: %v", b)
		}
	}, quiet, emergencies(ana))
}

// By form, and who may: they learn it before they fill in anything.
func TestEmergencyWords_whoMay(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		gus := person{s, s.slack.AddUser(slacksim.User{ID: "U0GUS", Guest: slacksim.SingleChannelGuest})}
		s.slack.EditChannel(channel, func(c *slacksim.Channel) { c.Members = append(c.Members, "U0GUS") })
		for _, text := range []string{"emergency", askEmergency, "emergency please"} {
			s.mia.says(text).refused(s, "You are not among the people who may open an emergency here", "Nothing was opened")
			s.ben.says(text).refused(s, "You are not among the people who may open an emergency here")
			gus.says(text).refused(s, "this account is a guest")
			s.mia.noModal()
			gus.noModal()
		}
		s.live(0)
		s.ana.says("emergency")
		v := s.ana.modal("Emergency access", "This opens access at once", "with your name", "Open now", "Why can it not wait for an approver?")
		s.ana.submits(v, good(values{"arn": "*", "for": "other", "for_other": "99h"}))
		if e := s.ana.modal().Errors; e["arn"] == "" || e["for_other"] == "" || len(e) != 2 {
			t.Errorf("the errors are %v", e)
		}
		s.live(0)
		s.untouched()
		wants(t, s.ana.submits(s.ana.modal(), good(values{"for": "1h", "for_other": ""})), "BG-1 is opening now, without approval")
		s.until("BG-1", "Open until 10:00", "emergency")
		// The requester's form, sent in as an emergency by somebody who may not.
		s.mia.says("grant")
		forged := func(p map[string]any) { p["view"].(map[string]any)["callback_id"] = "emergency" }
		s.saysNo(s.mia.submits(s.mia.modal(), good(nil), forged), "You are not among the people who may open an emergency here")
		s.live(1)
	}, quiet, emergencies(ana, "U0GUS"))
}

// Nobody is configured: nobody may.
func TestEmergencyWords_nobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for _, p := range []person{s.ana, s.ben, s.rob} {
			p.says(askEmergency).refused(s, "You are not among the people who may open an emergency here")
		}
		s.live(0)
		s.untouched()
	}, quiet)
}

// Three in a day for each person, by words and forms together, over restarts.
func TestEmergencyWords_rate(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for n := range 3 {
			if n == 1 {
				s.ana.says("emergency")
				s.ana.submits(s.ana.modal(), good(values{"for": "30m"}))
				s.ana.Reload()
			} else {
				s.ana.says(strings.Replace(askEmergency, "4h", "30m", 1))
			}
			id := fmt.Sprintf("BG-%d", n+1)
			s.until(id, "Open until")
			s.ana.says("revoke " + id)
			s.until(id, "Closed")
			time.Sleep(time.Hour)
		}
		s.restart()
		s.ana.says(askEmergency).refused(s, "You have opened 3 emergencies within 1 d", "Nothing was opened", "/breakglass grant")
		s.ana.says("emergency")
		s.saysNo(s.ana.submits(s.ana.modal(), good(nil)), "You have opened 3 emergencies within 1 d")
		s.live(0)
		s.rob.says(askEmergency).wants(t, "BG-4 is opening now")
		time.Sleep(21 * time.Hour)
		s.ana.says(askEmergency).wants(t, "BG-5 is opening now")
	}, quiet, emergencies(ana, rob))
}

// What ended last, in each form of the words.
func TestHistory(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says("history").wants(t, "Nothing has ended yet", "/breakglass status")
		for n := range 25 {
			text := askProd
			if n%5 == 0 {
				text = askTest()
			}
			s.ana.says(strings.Replace(text, "48213", fmt.Sprint("T", n+1), 1))
			s.ana.says(fmt.Sprintf("revoke %d", n+1))
			time.Sleep(10 * time.Second)
		}
		count := func(a answer) int { return len(regexp.MustCompile(`(?m)^BG-\d+ · `).FindAllString(a.text, -1)) }
		for typed, want := range map[string]int{
			"": 10, "3": 3, "helios-test": 5, "helios-test 2": 2, "2 helios-test": 2, "helios-prod": 10, "20": 20, "50": 20, "999999": 20,
		} {
			a := s.mia.says("history " + typed)
			if got := count(a); got != want {
				t.Errorf("history %s lists %d, want %d:\n%s", typed, got, want, a.text)
			}
			a.wants(t, "Withdrawn", "@ana", "/breakglass show BG-")
			if most := strings.Contains(a.text, "You asked for more; 20 is the most"); most != (typed == "50" || typed == "999999") {
				t.Errorf("history %s says that there is a most: %t:\n%s", typed, most, a.text)
			}
			if strings.Contains(typed, test) && strings.Contains(a.text, "helios-prod") {
				t.Errorf("history %s lists another cell:\n%s", typed, a.text)
			}
		}
		a := s.mia.says("history 2")
		a.wants(t, "BG-25", "BG-24")
		for _, typed := range []string{"0", "-1", "helios-nix", "1.5", "99999999999999999999", "<!channel>", "helios-test helios-prod", "all", "BG-1"} {
			s.mia.says("history "+typed).refused(s, "is neither a cell nor a number", "Nothing changed", "helios-prod, helios-test", "/breakglass history")
		}
	}, quiet)
}

// Looking at cells: a first answer at once, and the findings after.
func TestCheck_answers(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says("check").wants(t, "Looking at helios-prod and helios-test now", "Nothing is changed")
		text := s.mia.later("All 2 cells can be opened", "helios-prod:", "helios-test:")
		wants(t, text, "/breakglass grant")
		s.mia.says("check helios-test").wants(t, "Looking at helios-test now")
		s.mia.later("helios-test can be opened", "Checks:")
		s.cell.Instance.State("stopped")
		s.mia.says("check helios-prod")
		text = s.mia.later("helios-prod cannot be opened now", "Must be fixed", "→")
		wants(t, text, "/breakglass check helios-prod")
		for _, typed := range []string{"helios-nix", "helios-prod helios-test", "all", "BG-1", "<!channel>", "*", strings.Repeat("x", 5000)} {
			s.mia.says("check "+typed).refused(s, "There is no cell", "Nothing was looked at", "helios-prod, helios-test")
		}
		s.untouched()
	}, quiet)
}

// AWS hangs: the command is acknowledged at once, and the answer comes, and says
// that it could not look.
func TestCheck_whileAWSHangs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(hangingAWS)
		began := time.Now()
		a := s.mia.says("check")
		if a.After > time.Second {
			t.Errorf("it was acknowledged after %s", a.After)
		}
		text := s.mia.later("cells", "/breakglass")
		for !strings.Contains(text, "Unknown") && !strings.Contains(text, "could not be looked at") && !strings.Contains(text, "cannot be opened") {
			text = s.mia.later("2 cells")
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the answer came after %s", took)
		}
		if strings.Contains(text, "can be opened.") {
			t.Errorf("nothing could be seen, and the answer is:\n%s", text)
		}
	}, quiet)
}

// Everybody checks at once while AWS hangs: some are told to come again, all are
// acknowledged, and the buttons work.
func TestCheck_flood(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		remove := s.world.Inject(awssim.Fault{Latency: 30 * time.Second})
		var all sync.WaitGroup
		busy := 0
		var mu sync.Mutex
		for range 60 {
			all.Go(func() {
				in, err := s.mia.Slash(t.Context(), channel, "/breakglass", "check", atHome)
				if err != nil || !in.Acked || in.After > 3*time.Second {
					t.Errorf("acked %t after %s (%v)", in.Acked, in.After, err)
				}
				mu.Lock()
				defer mu.Unlock()
				busy++
			})
		}
		all.Wait()
		synctest.Wait()
		told := 0
		for _, m := range s.mia.Ephemerals() {
			if strings.Contains(s.slack.Render(m), "Others are being answered just now") {
				told++
			}
		}
		if told < 50 {
			t.Errorf("%d of %d were told to come again", told, busy)
		}
		remove()
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		time.Sleep(2 * minute)
		s.mia.says("check helios-prod").wants(t, "Looking at helios-prod now")
		s.mia.later("helios-prod can be opened")
	}, quiet)
}

// panicky breaks down when it looks at a cell.
type panicky struct{ bot.AWS }

func (panicky) Check(context.Context, grant.Grant) grant.Report { panic("a nil map") }

// Looking at a cell breaks down on our side: what others have open goes on.
func TestCheck_breaksDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says("check helios-prod").wants(t, "Looking at helios-prod now")
		s.mia.later("helios-prod could not be looked at")
		s.mia.says("status").wants(t, "Nothing is open")
	}, quiet, func(c *setup) { c.hands = func(h bot.AWS) bot.AWS { return panicky{h} } })
}

// Told to stop while somebody waits for an answer: it stops in time.
func TestCheck_stopMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(hangingAWS)
		s.mia.says("check").wants(t, "Looking at")
		s.restart()
		s.mia.says("status").wants(t, "Nothing is open")
	}, quiet)
}

// Each short answer ends with a command that is of use next.
func TestAnswers_nextCommand(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		last := func(text string) string {
			lines := strings.Split(strings.TrimSpace(text), "\n")
			return lines[len(lines)-1]
		}
		hold := func(text, want string) {
			t.Helper()
			a := s.mia.says(text)
			if got := last(a.text); !strings.Contains(got, want) {
				t.Errorf("%q ends with %q, want %q in it", text, got, want)
			}
		}
		hold("status", "/breakglass grant")
		hold("history", "/breakglass status")
		hold("help", "/breakglass help")
		s.asks(askProd)
		hold("status", "/breakglass show BG-1")
		hold("show 1", "/breakglass revoke BG-1")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		hold("status", "/breakglass revoke BG-1")
		hold("show 1", "/breakglass revoke BG-1")
		s.ana.says("revoke")
		hold("show 1", "/breakglass status")
		s.proven("BG-1")
		hold("history", "/breakglass show BG-1")
		hold("show 1", "/breakglass status")
	}, quiet)
}

// The answers say it while more time is asked for and after, and of less.
func TestAnswers_tellDecisions(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.chooses("BG-1", less)
		s.ben.submits(s.ben.modal(), values{"for": "2h"})
		s.until("BG-1", "Open until")
		s.mia.says("show 1").wants(t, "Asked for 4 h, approved for 2 h", "@ben")
		s.ana.says("extend 1h")
		s.mia.says("status").wants(t, "1 h more asked for")
		s.mia.says("show 1").wants(t, "More time?", "asked for 1 h more")
		s.eva.presses("BG-1", "Approve 1 h more")
		s.until("BG-1", "Extended")
		s.mia.says("show 1").wants(t, "Extended", "approved 1 h more", "extended access until 2026-11-23 12:0")
	}, quiet)
}

// Second click, late click, click after a restart: who did what, and when.
func TestAnswers_lateClicks(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		asked := s.card("BG-1")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		open := s.card("BG-1")
		s.ana.says("extend 1h")
		s.until("BG-1", "More time?")
		more := s.card("BG-1")
		s.ben.presses("BG-1", "Deny more time").noAnswer(t)
		s.until("BG-1", "More time was denied")
		for range 2 {
			s.eva.late(asked, "Approve 4 h").refused(s, "BG-1 is open until 2026-11-23 13:0", "approved by", "ben", "Nothing changed")
			s.eva.lateChoice(asked, less).refused(s, "BG-1 is open until", "ben", "Nothing changed")
			s.eva.lateChoice(asked, denyWhy).refused(s, "BG-1 is open until", "ben")
			s.eva.late(more, "Approve 1 h more").refused(s, "More time for BG-1 was denied by", "ben", "at 09:0", "Nothing changed")
			s.eva.late(more, "Deny more time").refused(s, "More time for BG-1 was denied by", "ben")
			s.eva.noModal()
			s.restart()
		}
		s.ana.says("revoke")
		s.proven("BG-1")
		for range 2 {
			s.ana.late(open, "Extend…").refused(s, "BG-1 is closed since 2026-11-23 09:", "ana", "Nothing changed")
			s.eva.late(more, "Approve 1 h more").refused(s, "BG-1 is closed since", "Nothing changed")
			s.eva.lateChoice(asked, less).refused(s, "BG-1 is closed since", "ana")
			s.restart()
		}
		s.ana.noModal()
	}, quiet)
}
