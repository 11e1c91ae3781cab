package bot_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// trustBy is the cell's trust policy with a statement that somebody has put into
// it by hand.
func trustBy(statement string) string {
	return strings.Replace(trustBefore, `"Statement": [`, `"Statement": [`+"\n    "+statement+",", 1)
}

const (
	byHand     = `{"Sid": "LetThemIn", "Effect": "Allow", "Principal": {"AWS": ["` + vendor + `", "arn:aws:iam::444455556666:role/platform-oncall"]}, "Action": "sts:AssumeRole"}`
	byHandLeft = `{"Sid": "LetThemIn", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::444455556666:role/platform-oncall"]}, "Action": "sts:AssumeRole"}`
	outlived   = `{"Effect":"Allow","Principal":{"AWS":"` + vendor + `"},"Action":"sts:AssumeRole","Sid":"BreakglassBG41"}`
)

// strays are the messages about trust that no grant explains.
func (s *stage) strays(words ...string) (out []slacksim.Message) {
	for _, m := range s.slack.Messages(channel) {
		if m.ThreadTS == "" && strings.HasPrefix(m.Text, "Trust ") && hasAll(s.slack.Render(m), words) {
			out = append(out, m)
		}
	}
	return out
}

// stray wants exactly one of them.
func (s *stage) stray(words ...string) slacksim.Message {
	s.t.Helper()
	m := s.strays(words...)
	if len(m) != 1 {
		s.t.Fatalf("there are %d messages about strays that say %q, want 1:\n%s\n%s", len(m), words, s.wall(), s.log)
	}
	return m[0]
}

// late presses a button that the person's screen still shows, although the
// message has been edited.
func (p person) late(m slacksim.Message, button string) answer {
	p.s.t.Helper()
	for _, b := range m.Buttons() {
		if b.Text == button {
			return p.s.answered(p.Forge(p.s.t.Context(), slacksim.Forgery{Channel: channel, MessageTS: m.TS, ActionID: b.ActionID, Value: b.Value}, atHome))
		}
	}
	p.s.t.Fatalf("there never was a button %q", button)
	return answer{}
}

// Somebody lets SingleStore in by hand. It is told, once, whatever restarts there
// are; a revoker removes it, it is proven gone, and what else the statement said
// stays.
func TestStray_isToldAndRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		time.Sleep(11 * minute)
		if n := len(s.strays()); n != 0 {
			t.Fatalf("%d messages although nothing is strange:\n%s", n, s.wall())
		}
		s.cell.Role.Trust(trustBy(byHand))
		_, shell := s.visits()
		time.Sleep(12 * minute)
		m := s.stray("SingleStore can come in, and no grant says so", vendor, "LetThemIn", "Adopt", "Remove")
		s.mia.says("status").wants(t, "Trust that no grant explains", vendor)
		s.restart()
		time.Sleep(11 * minute)
		s.stray()

		s.mia.clicks(m, "Remove").refused(s, "You may not remove trust")
		if _, err := s.assume(s.cell, vendor); err != nil {
			t.Errorf("a stranger's click has removed it: %v", err)
		}
		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-1 now")
		s.proven("BG-1")
		if !ended(shell) {
			t.Error("the shell of whoever came in by it lives")
		}
		if got, want := s.cell.Role.TrustDocument(), trustBy(byHandLeft); strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
			t.Errorf("the trust policy is\n%s\nwant\n%s", got, want)
		}
		s.once("BG-1 on helios-prod", vendor, "LetThemIn")
		time.Sleep(time.Minute)
		m = s.stray("Gone since")
		if strings.Contains(s.slack.Render(m), "[ Remove") {
			t.Error("there are still buttons for what has gone")
		}
	}, quiet)
}

// Two people press at once, one of them twice: it is removed once.
func TestStray_pressedByTwo(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		m := s.stray()
		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-1 now")
		s.ben.late(m, "Remove").refused(s, "BG-1 deals with that already")
		s.ana.late(m, "Adopt").refused(s, "BG-1 deals with that already")
		s.proven("BG-1")
		time.Sleep(time.Minute)
		s.ben.late(m, "Remove").refused(s, "has gone")
		if _, err := s.db.Grant(2); err == nil {
			t.Error("there are two grants for one stray")
		}
	}, quiet)
}

// Adopting puts it under the bot's care: it needs approval, gets an end, and the
// end takes it out together with the bot's own statement.
func TestStray_isAdopted(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		m := s.stray("Adopt")
		s.mia.clicks(m, "Adopt").wants(t, "BG-1 is requested")
		s.until("BG-1", "Requested", "Adopted", "Checks:")
		s.stray("asks to adopt it as BG-1", "Remove")
		s.ana.late(m, "Adopt").refused(s, "BG-1 deals with that already")
		s.ben.presses("BG-1", "Deny")
		s.until("BG-1", "Denied")
		time.Sleep(10 * time.Second)
		m = s.stray("no grant says so", "Adopt")

		s.mia.clicks(m, "Adopt").wants(t, "BG-2 is requested")
		s.until("BG-2", "Requested", "Checks:")
		s.ben.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
		time.Sleep(11 * minute)
		s.mia.says("revoke BG-2")
		s.proven("BG-2")
		time.Sleep(time.Minute)
		s.stray("Gone since")
	}, quiet)
}

// The database is lost while something is open. What stands in AWS is told, its
// number is not given out again, and Remove ends it.
func TestStray_outlivesItsDatabase(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(outlived))
		time.Sleep(7 * minute)
		m := s.stray("BreakglassBG41", "which was written for BG-41")
		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-42 now")
		s.proven("BG-42")
		if got := s.cell.Role.TrustDocument(); got != trustBefore {
			t.Errorf("the trust policy is\n%s\nwant\n%s", got, trustBefore)
		}
	}, quiet)
}

// A statement of ours comes back after its end, out of somebody's old state file.
func TestStray_comesBackAfterItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		old := s.cell.Role.TrustDocument()
		time.Sleep(12 * minute)
		s.ana.says("revoke")
		s.proven("BG-1")
		time.Sleep(10 * minute)
		if n := len(s.strays()); n != 0 {
			t.Fatalf("what a grant explained is told as a stray:\n%s", s.wall())
		}
		s.cell.Role.Trust(old)
		time.Sleep(10 * minute)
		m := s.stray("BreakglassBG1", "which was written for BG-1")
		s.rob.clicks(m, "Remove")
		s.proven("BG-2")
	}, quiet)
}

// Whoever removes it by hand is seen, too; and when it comes back it is news.
func TestStray_goesAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		s.stray("no grant says so")
		s.cell.Role.Trust(trustBefore)
		time.Sleep(7 * minute)
		s.stray("Gone since")
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		if n := len(s.strays("no grant says so")); n != 1 || len(s.strays()) != 2 {
			t.Errorf("it came back, and %d new messages say so:\n%s", n, s.wall())
		}
	}, quiet)
}

// What cannot be looked at is told once, and what only fails for a moment never.
func TestStray_blind(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Call: "iam:GetRole", Role: s.cell.Role.Name(), Kind: awssim.Deny})
		for range 4 {
			time.Sleep(6 * minute)
		}
		n := 0
		for _, m := range s.slack.Messages(channel) {
			if strings.Contains(m.Text, "I cannot see whom the role of "+prod+" trusts") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("it is said %d times that %s cannot be looked at, want once:\n%s", n, prod, s.wall())
		}
	}, quiet)
}

// While something opens and closes beside it, no look takes that for a stray,
// however old the answers are that IAM gives.
func TestStray_neverOurOwn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for range 3 {
			id := s.opens(askProd)
			time.Sleep(4*minute + 57*time.Second)
			s.ana.says("revoke " + id)
			s.proven(id)
			time.Sleep(7 * time.Second)
		}
		time.Sleep(6 * minute)
		if n := len(s.strays()); n != 0 {
			t.Errorf("%d messages about our own grants:\n%s", n, s.wall())
		}
		if g := s.grant("BG-3"); g.Phase != grant.Closed {
			t.Errorf("BG-3 is %s", g.Phase)
		}
	}, quiet)
}

// Any call of a look fails, once or for a while, in any way: the stray is told
// once, and nobody is told that the cell cannot be looked at.
func TestStray_aLookFails(t *testing.T) {
	for _, call := range []string{"sts:GetCallerIdentity", "iam:GetRole"} {
		for what, kind := range kinds {
			for _, count := range []int{1, 40} {
				beside(t, fmt.Sprint(call, " ", what, " ", count), func(t *testing.T, s *stage) {
					s.cell.Role.Trust(trustBy(byHand))
					s.world.Inject(awssim.Fault{Call: call, Kind: kind, Count: count, Account: s.cell.Account.ID()})
					time.Sleep(25 * minute)
					s.stray("no grant says so", "Adopt", "Remove")
					if strings.Contains(s.wall(), "I cannot see") {
						t.Errorf("what passes by itself was told:\n%s", s.wall())
					}
				}, quiet)
			}
		}
	}
}

// IAM answers as it was minutes ago, or now so and now so: what grants explain is
// never told, and what is strange is told once, and once that it has gone.
func TestStray_staleIAM(t *testing.T) {
	for name, tune := range map[string]func(*awssim.Knobs){
		"stale":    func(k *awssim.Knobs) { k.StaleReads = 20 * time.Second },
		"flapping": func(k *awssim.Knobs) { k.StaleReads, k.FlappingReads = 20*time.Second, true },
		"slow":     func(k *awssim.Knobs) { k.Latency, k.Propagation = 2*time.Second, 30*time.Second },
	} {
		beside(t, name+", ours", func(t *testing.T, s *stage) {
			s.world.Tune(tune)
			for n := range 4 {
				id := s.opens(strings.Replace(askProd, "for=4h", fmt.Sprintf("for=%ds", 55+60*n), 1))
				s.until(id, "Closed")
				time.Sleep(time.Duration(n) * 17 * time.Second)
			}
			time.Sleep(6 * minute)
			if n := len(s.strays()); n != 0 {
				t.Errorf("%d messages about our own grants:\n%s", n, s.wall())
			}
		}, quiet)
		beside(t, name+", strange", func(t *testing.T, s *stage) {
			s.world.Tune(tune)
			s.cell.Role.Trust(trustBy(byHand))
			time.Sleep(16 * minute)
			s.stray("no grant says so")
			s.cell.Role.Trust(trustBefore)
			time.Sleep(16 * minute)
			s.stray("Gone since")
		}, quiet)
	}
}

// Somebody lets dozens in. Each is told at most once, the flood is bounded, what
// found no room is told when there is some, and access still ends in time.
func TestStray_flood(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		const many = 60
		s.cell.Account.SetTrustQuota(16384)
		var names []string
		for n := range many {
			arn := fmt.Sprintf("arn:aws:iam::111122223333:role/e%d", n)
			s.world.ForeignRole(arn)
			names = append(names, `"`+arn+`"`)
		}
		s.opens(strings.Replace(askProd, "for=4h", "for=10m", 1))
		end := s.grant("BG-1").End
		s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `"Statement": [`, `"Statement": [{"Sid":"Flood","Effect":"Allow","Principal":{"AWS":[`+strings.Join(names, ",")+`]},"Action":"sts:AssumeRole"},`, 1))
		time.Sleep(9 * minute)
		if n := len(s.strays()); n != 40 {
			t.Errorf("%d of %d are told, want 40", n, many)
		}
		s.mia.says("status").wants(t, "role/e0", "and 32 more", "and 20 more without a message of their own")
		if n := len(s.strays("And 20 more in the same trust policy")); n != 1 {
			t.Errorf("%d messages tell of the 20 that have none, want 1", n)
		}
		s.until("BG-1", "Closing")
		if late := s.grant("BG-1").Ending.TrustGoneAt.Sub(end); late > 5*time.Second {
			t.Errorf("the flood held up the end by %s", late)
		}
		s.until("BG-1", "Closed")
		s.cell.Role.Trust(trustBefore)
		time.Sleep(15 * minute)
		if n, gone := len(s.strays()), len(s.strays("Gone since")); n != 40 || gone != 40 {
			t.Errorf("of %d messages %d say that it has gone, want 40 of 40", n, gone)
		}
	}, quiet)
}

// oneRole has both cells use one role, the one without a cluster's name.
func oneRole(c *setup) {
	c.before = func(s *stage) {
		s.cell.Role.Delete()
		s.cell2.Role.Delete()
		r := s.cell.Account.Role("ssm-access-from-other-accounts").Attach("arn:aws:iam::444455556666:policy/session-starter", awssim.SessionStarter)
		r.Trust(trustBefore)
		s.cell.Role, s.cell2.Role = r, r
	}
}

// Two cells use one role: what is strange there is told once, not twice, and
// removed once.
func TestStray_twoCellsOnOneRole(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(20 * minute)
		m := s.stray("no grant says so")
		s.restart()
		time.Sleep(11 * minute)
		s.stray()
		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-1 now")
		s.proven("BG-1")
		time.Sleep(11 * minute)
		s.stray("Gone since")

		// What a grant of the one cell explains is no news in the other.
		s.opens(askProd)
		time.Sleep(11 * minute)
		s.ana.says("revoke")
		s.proven("BG-2")
		time.Sleep(6 * minute)
		s.stray()
	}, quiet, oneRole)
}

// The cell is taken out of the configuration: its buttons say so, nobody is told
// anything more, and another cell with the same role tells it anew.
func TestStray_cellIsRemovedFromTheConfiguration(t *testing.T) {
	for _, how := range []string{"its own role", "a role of both"} {
		changes := []change{quiet}
		if how == "a role of both" {
			changes = append(changes, oneRole)
		}
		beside(t, how, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(trustBy(byHand))
			time.Sleep(12 * minute)
			old := s.stray("no grant says so")
			cells := s.conf.policy.Cells
			kept := cells[1:]
			if strings.Contains(s.slack.Render(old), "helios-test") {
				kept = cells[:1]
			}
			s.stop()
			s.conf.policy.Cells = kept
			s.start()
			time.Sleep(12 * minute)
			want := 1
			if how == "a role of both" {
				want = 2
			}
			if n := len(s.strays()); n != want {
				t.Errorf("there are %d messages, want %d:\n%s", n, want, s.wall())
			}
			for _, b := range []string{"Adopt", "Remove"} {
				s.ben.late(old, b).refused(s, "not remembered here", "Nothing changed")
			}
			if _, err := s.assume(s.cell, vendor); err != nil {
				t.Errorf("something was done to it: %v", err)
			}
		}, changes...)
	}
}

// Somebody deletes the message: what changes is told in a new one.
func TestStray_messageIsDeleted(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		old := s.stray("no grant says so")
		s.mia.clicks(old, "Adopt").wants(t, "BG-1 is requested")
		s.until("BG-1", "Requested", "Checks:")
		s.slack.DeleteMessage(channel, old.TS)
		s.ben.presses("BG-1", "Deny")
		time.Sleep(minute)
		m := s.stray("no grant says so", "Remove")
		s.slack.DeleteMessage(channel, m.TS)
		s.cell.Role.Trust(trustBefore)
		time.Sleep(11 * minute)
		if n := len(s.strays()); n != 0 {
			t.Errorf("%d messages say that something has gone that nobody sees any more:\n%s", n, s.wall())
		}
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(11 * minute)
		s.stray("no grant says so")
	}, quiet)
}

// Slack is down when it is found, and for an hour: it is told once it is back, if
// it is still there.
func TestStray_slackIsDown(t *testing.T) {
	for _, goes := range []bool{false, true} {
		beside(t, fmt.Sprint("goes meanwhile ", goes), func(t *testing.T, s *stage) {
			s.slack.SetDown(true)
			s.cell.Role.Trust(trustBy(byHand))
			time.Sleep(time.Hour)
			if goes {
				s.cell.Role.Trust(trustBefore)
				time.Sleep(11 * minute)
			}
			s.slack.SetDown(false)
			time.Sleep(5 * minute)
			if goes {
				s.stray("Gone since")
				return
			}
			s.rob.clicks(s.stray("no grant says so"), "Remove")
			s.proven("BG-1")
		}, quiet)
	}
}

// The power is cut at every call from the first look to the message, and at every
// call of the removal: it is told once, and removed once.
func TestStray_powerCutAtEveryCall(t *testing.T) {
	for _, how := range []string{"before", "after"} {
		for n := 1; n <= 30; n += often {
			beside(t, fmt.Sprint(how, " ", n), func(t *testing.T, s *stage) {
				var count atomic.Int32
				var over atomic.Bool
				at := make(chan struct{})
				hit := func(r *http.Request) {
					if over.Load() || strings.Contains(r.URL.Path, "apps.connections.open") || int(count.Add(1)) != n {
						return
					}
					s.cut()
					close(at)
				}
				if how == "after" {
					s.power.after.Store(&hook{hit})
				} else {
					s.power.each.Store(&hook{hit})
				}
				s.cell.Role.Trust(trustBy(byHand))
				stop := make(chan struct{})
				go func() { // somebody removes it as soon as they see it
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Second):
						}
						for _, m := range s.strays("no grant says so") {
							s.try(func() (slacksim.Interaction, error) { return s.rob.Click(context.Background(), m, "Remove", atHome) })
						}
					}
				}()
				select {
				case <-at:
					s.afterCut()
					time.Sleep(time.Second)
					s.start()
				case <-time.After(15 * minute):
					over.Store(true)
				}
				time.Sleep(20 * minute)
				close(stop)
				s.stray("Gone since")
				s.shut(s.cell)
				if _, err := s.db.Grant(2); err == nil {
					t.Error("there are two grants for one stray")
				}
				if live, err := s.db.Live(); err != nil || len(live) != 0 {
					t.Errorf("%d grants are still live (%v)", len(live), err)
				}
			}, quiet, readsHistory)
		}
	}
}

// Adopting is asking for access: those who may not ask may not adopt, and guests
// may nothing. Removing is for those who may take access away.
func TestStray_whoMayPress(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.slack.AddUser(slacksim.User{ID: "U0GUS", Name: "gus", Guest: slacksim.MultiChannelGuest})
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		m := s.stray()
		s.mia.clicks(m, "Adopt").refused(s, "You are not among the people who may ask for access here")
		s.mia.clicks(m, "Adopt", from("id", "U0GUS")).refused(s, "this account is a guest")
		s.mia.clicks(m, "Remove", from("id", "U0GUS")).refused(s, "You may not remove trust")
		s.ana.clicks(m, "Remove", from("id", mia)).refused(s, "You may not remove trust")
		if live, err := s.db.Live(); err != nil || len(live) != 0 {
			t.Errorf("%d grants were made of it (%v)", len(live), err)
		}
		s.stray("no grant says so")
		s.ana.clicks(m, "Adopt").wants(t, "BG-1 is requested")
	}, quiet, func(c *setup) {
		c.people.Requesters = bot.Circle{Users: []grant.UserID{ana, "U0GUS"}}
	})
}

// Somebody lets the whole account of SingleStore in: no grant can be for that, so
// it can only be removed.
func TestStray_wholeAccount(t *testing.T) {
	for name, principal := range map[string]string{"root": "arn:aws:iam::111122223333:root", "id": "111122223333"} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(trustBy(`{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}`))
			time.Sleep(7 * minute)
			m := s.stray("111122223333", "cannot be adopted", "Remove")
			for _, b := range m.Buttons() {
				if b.Text == "Adopt" {
					t.Error("it offers to adopt an account")
				}
			}
			s.ana.clicks(m, "Remove", as("adopt")).refused(s, "cannot be adopted")
			s.rob.clicks(m, "Remove").wants(t, "Revoking BG-1 now")
			s.until("BG-1", "Closed")
			s.shut(s.cell)
			if doc := s.cell.Role.TrustDocument(); strings.Contains(doc, "111122223333") {
				t.Errorf("it is still trusted:\n%s", doc)
			}
			time.Sleep(6 * minute)
			s.stray("Gone since")
		}, quiet)
	}
}

// A stray is removed at the same instant at which a grant on the same role is
// revoked: both end, proven, and nobody else's trust is touched.
func TestStray_removedWhileAnotherIsRevoked(t *testing.T) {
	for _, latency := range []time.Duration{0, 300 * time.Millisecond, 2 * time.Second} {
		beside(t, latency.String(), func(t *testing.T, s *stage) {
			s.opens(askProd)
			s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `"Statement": [`, `"Statement": [`+strings.Replace(byHand, vendor, vendor2, 1)+",", 1))
			time.Sleep(12 * minute)
			m := s.stray(vendor2)
			s.world.Tune(func(k *awssim.Knobs) { k.Latency = latency })
			var both sync.WaitGroup
			both.Go(func() {
				s.try(func() (slacksim.Interaction, error) { return s.rob.Click(t.Context(), m, "Remove", atHome) })
			})
			both.Go(func() {
				s.try(func() (slacksim.Interaction, error) {
					return s.ana.Slash(t.Context(), channel, "/breakglass", "revoke BG-1", atHome)
				})
			})
			both.Wait()
			s.until("BG-1", "Closed")
			s.proven("BG-2")
			doc := s.cell.Role.TrustDocument()
			if !strings.Contains(doc, "LetThemIn") || strings.Count(doc, "platform-oncall") != 2 {
				t.Errorf("somebody else's trust was touched:\n%s", doc)
			}
		}, quiet)
	}
}

// Somebody asks to adopt it, and somebody else removes it before anybody has decided.
// The approval that comes then opens nothing: it was for access that was there.
func TestStray_adoptedWhenItHasGone(t *testing.T) {
	for _, when := range []string{"while it is removed", "when it is proven gone", "a look later", "after a restart"} {
		beside(t, when, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(trustBy(byHand))
			time.Sleep(7 * minute)
			s.mia.clicks(s.stray("Adopt"), "Adopt").wants(t, "BG-1 is requested")
			s.until("BG-1", "Requested", "Checks:")
			s.rob.clicks(s.stray("Remove"), "Remove").wants(t, "Revoking BG-2 now")
			if when != "while it is removed" {
				s.proven("BG-2")
			}
			switch when {
			case "a look later":
				time.Sleep(10 * minute)
			case "after a restart":
				s.restart()
			}
			s.ben.presses("BG-1", "Approve").refused(s, "The trust that BG-1 was to adopt is not there any more", "@rob had it removed, as BG-2", "Nothing was opened")
			s.ben.chooses("BG-1", less)
			s.saysNo(s.ben.submits(s.ben.modal(), values{"for": "30m"}), "The trust that BG-1 was to adopt is not there any more")
			s.phase("BG-1", grant.Requested)
			s.ben.presses("BG-1", "Deny")
			s.until("BG-1", "Denied")
			s.proven("BG-2")
		}, quiet)
	}
	beside(t, "by hand", func(t *testing.T, s *stage) {
		s.cell.Role.Trust(trustBy(byHand))
		time.Sleep(7 * minute)
		s.mia.clicks(s.stray("Adopt"), "Adopt").wants(t, "BG-1 is requested")
		s.until("BG-1", "Requested", "Checks:")
		s.cell.Role.Trust(trustBefore)
		time.Sleep(7 * minute)
		s.ben.presses("BG-1", "Approve").refused(s, "The trust that BG-1 was to adopt is not there any more", "it has gone from")
		s.phase("BG-1", grant.Requested)
		s.untouched()
	}, quiet)
}
