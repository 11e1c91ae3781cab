package bot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

const (
	askHour  = "grant cell=helios-prod arn=" + vendor + " ticket=48213 for=1h reason=stuck node pool"
	askShort = "grant cell=helios-prod arn=" + vendor + " ticket=48213 for=10m reason=stuck node pool"
	more     = "Approve 20 min more"
)

// wantsMore opens BG-1 for ten minutes and has ana ask for twenty more. It answers the end
// as it stands, and the end that is asked for.
func (s *stage) wantsMore() (old, later time.Time) {
	s.t.Helper()
	s.opens(askShort)
	s.ana.says("extend BG-1 20m").wants(s.t, "Asked for 20 min more")
	s.until("BG-1", "More time?", more)
	old = s.grant("BG-1").End
	return old, old.Add(20 * minute)
}

// endsInAWS are the ends that stand in AWS, of BG-1's statement and of the hard
// stop.
func (s *stage) endsInAWS() (statement, stop time.Time) {
	s.t.Helper()
	type policy struct {
		Statement []struct {
			Sid       string
			Condition map[string]map[string]any
		}
	}
	read := func(doc, sid, operator string) (at time.Time) {
		var p policy
		_ = json.Unmarshal([]byte(doc), &p)
		for _, x := range p.Statement {
			if text, ok := x.Condition[operator]["aws:CurrentTime"].(string); ok && (sid == "" || x.Sid == sid) {
				at, _ = time.Parse(time.RFC3339, text)
			}
		}
		return at
	}
	doc, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
	return read(s.cell.Role.TrustDocument(), "BreakglassBG1", "DateLessThan"), read(doc, "", "DateGreaterThan")
}

// neverPast holds, from now on, that whatever is written ends by then.
func (s *stage) neverPast(end time.Time) {
	s.world.After(func(_ context.Context, c awssim.Call) {
		if c.Op != "UpdateAssumeRolePolicy" && c.Op != "PutRolePolicy" {
			return
		}
		if statement, stop := s.endsInAWS(); statement.After(end) || stop.After(end) {
			s.t.Errorf("after %s the statement ends at %s and the hard stop at %s; %s is what people agreed to", c.Name(), statement, stop, end)
		}
	})
}

// within wants the vendor inside, with a shell, or outside.
func (s *stage) within(want bool, when string) {
	s.t.Helper()
	key, err := s.assume(s.cell, vendor)
	if err == nil {
		_, err = s.shell(s.cell, "us-east-1", key)
	}
	if (err == nil) != want {
		s.t.Errorf("%s the vendor comes in: %t, want %t (%v)", when, err == nil, want, err)
	}
}

// More time is approved: both ends in AWS move, the vendor's engineer comes in
// after the old end and not after the new one, whether the bot lives or not.
func TestExtension_movesTheEnd(t *testing.T) {
	for _, how := range []string{"awake", "away"} {
		beside(t, how, func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			s.neverPast(later)
			if a, b := s.endsInAWS(); !a.Equal(old) || !b.Equal(old) {
				t.Fatalf("it ends at %s and %s in AWS, want %s", a, b, old)
			}
			s.ben.presses("BG-1", more)
			s.until("BG-1", "Open until", "Extended")
			if a, b := s.endsInAWS(); !a.Equal(later) || !b.Equal(later) {
				t.Errorf("it ends at %s and %s in AWS, want %s", a, b, later)
			}
			if g := s.grant("BG-1"); !g.End.Equal(later) || len(g.Extensions) != 1 || g.Extension != nil {
				t.Errorf("the grant ends at %s, %d extensions, %+v", g.End, len(g.Extensions), g.Extension)
			}
			time.Sleep(10 * time.Second)
			s.once("BG-1 on helios-prod is open until", "now.", "@ana", "approved by @ben")
			if how == "away" {
				s.crash()
			}
			time.Sleep(time.Until(old.Add(minute)))
			s.within(true, "after the old end")
			key, err := s.assume(s.cell, vendor)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(later.Add(time.Second)))
			s.within(false, "after the new end")
			if _, err := s.shell(s.cell, "us-east-1", key); err == nil {
				t.Error("credentials of before open a shell after the new end")
			}
			if how == "away" {
				time.Sleep(time.Hour)
				s.start()
			}
			s.proven("BG-1")
			if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
				t.Errorf("the trust policy afterwards:\n%s", doc)
			}
		}, quiet)
	}
}

// Reminders before the end are for the newest end, each once.
func TestExtension_remindsOfTheNewEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		start := time.Now()
		s.opens(askHour)
		s.ana.says("extend BG-1 2h")
		s.until("BG-1", "More time?")
		time.Sleep(35 * minute) // the first end's 30 minutes have been told
		s.ben.presses("BG-1", "Approve 2 h more")
		s.until("BG-1", "Extended")
		s.restart()
		s.proven("BG-1")
		wantSaid(t, "that it ends in 30 min", s.said(start, "@ana", "ends in 30 min"), 30*minute, 150*minute)
		wantSaid(t, "that it ends in 10 min", s.said(start, "@ana", "ends in 10 min"), 170*minute)
	})
}

// extending presses for more time until it is so, or the grant has ended.
func (s *stage) extending(down func() bool) {
	for n := 0; n < 1200 && !down(); n++ {
		cards := s.cards("BG-1")
		if len(cards) > 0 {
			card := cards[len(cards)-1]
			text := s.slack.Render(card)
			if strings.Contains(text, "Extended") || strings.Contains(card.Text, "Clos") {
				return
			}
			if strings.Contains(text, "More time?") {
				s.try(func() (slacksim.Interaction, error) {
					return s.ben.Click(context.Background(), card, more, atHome)
				})
			}
		}
		time.Sleep(time.Second)
	}
}

func isNever() bool { return false }

// The bot is stopped, or the power is cut, at every single call of an extension,
// just before or just after it: it is carried out once, and ends when it should.
func TestExtension_atEveryCall(t *testing.T) {
	all := 0
	bubble(t, func(_ *testing.T, s *stage) {
		s.wantsMore()
		var count atomic.Int32
		s.power.each.Store(&hook{func(*http.Request) { count.Add(1) }})
		s.extending(isNever)
		all = int(count.Load())
	}, quiet, readsHistory)
	if all < 8 {
		t.Fatalf("an extension is %d calls only", all)
	}
	for _, how := range []string{"stop", "power cut before", "power cut after"} {
		for n := 1; n <= all; n += often {
			beside(t, fmt.Sprint(how, " ", n), func(t *testing.T, s *stage) {
				old, later := s.wantsMore()
				s.neverPast(later)
				if !s.interrupted(how, n, 10*minute, s.extending) {
					return // this run needed fewer calls
				}
				time.Sleep(time.Second)
				s.start()
				s.extending(isNever)
				s.until("BG-1", "Open until", "Extended")
				if g := s.grant("BG-1"); !g.End.Equal(later) || len(g.Extensions) != 1 {
					t.Errorf("it ends at %s with %d extensions, want %s with one", g.End, len(g.Extensions), later)
				}
				if a, b := s.endsInAWS(); !a.Equal(later) || !b.Equal(later) {
					t.Errorf("it ends at %s and %s in AWS, want %s", a, b, later)
				}
				time.Sleep(time.Until(old.Add(time.Second)))
				s.once("BG-1 on helios-prod is open until", "now.")
				s.within(true, "after the old end")
				s.ana.says("revoke")
				s.proven("BG-1")
			}, quiet, readsHistory)
		}
	}
}

// callsOfExtending lists the AWS calls of an extension.
func callsOfExtending(t *testing.T) (names []string) {
	t.Helper()
	bubble(t, func(_ *testing.T, s *stage) {
		s.wantsMore()
		time.Sleep(20 * time.Second) // between two looks
		s.world.ForgetCalls()
		s.ben.presses("BG-1", more)
		s.until("BG-1", "Extended")
		for _, c := range s.world.Calls() {
			names = append(names, c.Name())
		}
	}, quiet)
	if len(names) < 5 {
		t.Fatalf("an extension is %v only", names)
	}
	return names
}

// Any one call of an extension goes wrong, in any way: it is carried out all the
// same.
func TestExtension_eachCallFailsOnce(t *testing.T) {
	for n, name := range callsOfExtending(t) {
		if n%often > 0 {
			continue
		}
		for what, kind := range kinds {
			beside(t, fmt.Sprintf("%d %s %s", n+1, name, what), func(t *testing.T, s *stage) {
				old, later := s.wantsMore()
				s.neverPast(later)
				time.Sleep(20 * time.Second)
				var count atomic.Int32
				s.world.Before(func(context.Context, awssim.Call) *awssim.Fault {
					if int(count.Add(1)) == n+1 {
						return &awssim.Fault{Kind: kind}
					}
					return nil
				})
				s.ben.presses("BG-1", more)
				s.until("BG-1", "Open until", "Extended")
				if a, b := s.endsInAWS(); !a.Equal(later) || !b.Equal(later) {
					t.Errorf("it ends at %s and %s in AWS, want %s", a, b, later)
				}
				time.Sleep(time.Until(old.Add(time.Second)))
				s.within(true, "after the old end")
				s.ana.says("revoke")
				s.proven("BG-1")
			}, quiet)
		}
	}
}

// AWS goes wrong for longer than the access lasts: it closes at the old end, or at
// the new one if that could be written, and is proven as soon as AWS lets it.
func TestExtension_oldEndComesWhileAWSFails(t *testing.T) {
	calls := map[string]bool{}
	for _, name := range callsOfExtending(t) {
		calls[name] = true
	}
	for name := range calls {
		for what, kind := range kinds {
			beside(t, name+" "+what, func(t *testing.T, s *stage) {
				old, later := s.wantsMore()
				s.neverPast(later)
				remove := s.world.Inject(awssim.Fault{Call: name, Kind: kind, Account: s.cell.Account.ID()})
				s.world.ForgetCalls()
				s.ben.presses("BG-1", more)
				time.Sleep(time.Until(old.Add(5 * minute)))
				g := s.grant("BG-1")
				switch {
				case g.Phase == grant.Open && g.End.Equal(later):
					s.until("BG-1", "Extended")
				case g.Phase != grant.Closing && g.Phase != grant.Closed:
					t.Errorf("5 min after the old end it is %s until %s", g.Phase, g.End)
				case g.Ending.Since.Sub(old) > 2*time.Second:
					t.Errorf("it began to close %s after the old end", g.Ending.Since.Sub(old))
				}
				if n := len(s.world.Calls()); n > 1500 {
					t.Errorf("%d calls in 15 minutes: a hot loop", n)
				}
				remove()
				s.proven("BG-1")
				if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
					t.Errorf("the trust policy afterwards:\n%s", doc)
				}
			}, quiet)
		}
	}
}

// AWS refuses for good: the old end stands, people are told once what is missing,
// and may ask again once it is mended.
func TestExtension_refused(t *testing.T) {
	for _, call := range []string{"iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		beside(t, call, func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			s.neverPast(later)
			remove := s.world.Inject(awssim.Fault{Call: call, Kind: awssim.Deny})
			s.ben.presses("BG-1", more)
			s.until("BG-1", "Open until", "could not be added", call)
			time.Sleep(minute)
			s.once("could not be extended", "@ana", call)
			if g := s.grant("BG-1"); !g.End.Equal(old) || g.Phase != grant.Open {
				t.Errorf("it is %s until %s, want the old end", g.Phase, g.End)
			}
			remove()
			s.ana.says("extend 20m").wants(t, "Asked for 20 min more")
			s.until("BG-1", more)
			s.ben.presses("BG-1", more)
			s.until("BG-1", "Open until", "Extended")
			time.Sleep(time.Until(old.Add(minute)))
			s.within(true, "after the old end")
			s.proven("BG-1")
		}, quiet)
	}
}

// Revoked at any moment of being extended: it ends at once.
func TestExtension_revokedMeanwhile(t *testing.T) {
	for after := range 16 {
		after := time.Duration(after) * 500 * time.Millisecond
		beside(t, after.String(), func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			s.neverPast(later)
			s.world.Tune(func(k *awssim.Knobs) { k.Latency = time.Second })
			s.ben.presses("BG-1", more)
			time.Sleep(after)
			s.ana.says("revoke BG-1")
			began := time.Now()
			s.proven("BG-1")
			if took := s.grant("BG-1").ClosedAt.Sub(began); took > 3*minute {
				t.Errorf("it took %s", took)
			}
			if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
				t.Errorf("the trust policy afterwards:\n%s", doc)
			}
			time.Sleep(time.Until(old.Add(minute)))
			if n := len(s.strays()); n != 0 {
				t.Errorf("what was revoked has come back:\n%s", s.wall())
			}
		}, quiet)
	}
}

// An extension that hangs holds up no revoke.
func TestExtension_hangsAndIsRevoked(t *testing.T) {
	for _, call := range []string{"iam:GetRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		beside(t, call, func(t *testing.T, s *stage) {
			s.wantsMore()
			remove := s.world.Inject(awssim.Fault{Call: call, Latency: 24 * time.Hour})
			s.ben.presses("BG-1", more)
			time.Sleep(20 * time.Second)
			remove() // what hangs goes on hanging
			s.ana.says("revoke BG-1")
			time.Sleep(10 * time.Second)
			s.within(false, "10 s after it was revoked")
			s.proven("BG-1")
		}, quiet)
	}
}

// Somebody has taken the statement out, or changed it: it is not put back, they
// wanted access to end.
func TestExtension_statementIsGone(t *testing.T) {
	for how, change := range map[string]func(string) string{
		"taken out": func(string) string { return trustBefore },
		"changed":   func(doc string) string { return strings.Replace(doc, vendor, vendor2, 1) },
		"shortened": func(doc string) string {
			return regexp.MustCompile(`"aws:CurrentTime":"[^"]+"`).ReplaceAllString(doc, `"aws:CurrentTime":"2026-11-23T09:05:00Z"`)
		},
	} {
		beside(t, how, func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			s.neverPast(later)
			before := s.cell.Role.TrustDocument()
			now := change(before)
			if now == before {
				t.Fatalf("nothing was changed:\n%s", before)
			}
			s.cell.Role.Trust(now)
			s.ben.presses("BG-1", more)
			s.until("BG-1", "could not be added", "is not as it was opened")
			if got := s.cell.Role.TrustDocument(); got != now {
				t.Errorf("the trust policy is\n%s\nwant it left alone:\n%s", got, now)
			}
			if g := s.grant("BG-1"); !g.End.Equal(old) {
				t.Errorf("it ends at %s, want %s", g.End, old)
			}
			s.proven("BG-1")
			if late := time.Since(old); late > 5*minute {
				t.Errorf("it was proven %s after the old end", late)
			}
		}, quiet)
	}
}

// The power is cut in the middle, and comes back after the new end: it is closed,
// and nobody is told that it is open.
func TestExtension_awayUntilAfterTheNewEnd(t *testing.T) {
	for _, at := range []string{"iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		for name, away := range map[string]time.Duration{"old": 11 * minute, "new": time.Hour} {
			beside(t, at+" "+name, func(t *testing.T, s *stage) {
				_, later := s.wantsMore()
				hit := make(chan struct{})
				var once atomic.Bool
				s.world.After(hookOn(at, func() {
					if once.CompareAndSwap(false, true) {
						s.cut()
						close(hit)
					}
				}))
				s.inTime(s.ben.clicks(s.card("BG-1"), more), more)
				<-hit
				s.afterCut()
				time.Sleep(away)
				if time.Now().After(later) {
					s.within(false, "after the new end")
				}
				s.start()
				s.proven("BG-1")
				if n := len(s.thread("is open until", "now.")); n != 0 {
					t.Errorf("somebody was told that it is open:\n%s", s.wall())
				}
			}, quiet)
		}
	}
}

// The yes comes shortly before the end, and AWS is slow: five calls follow each
// other, of a second each, so it is not done in time and the old end counts.
func TestExtension_approvedAtTheLastMoment(t *testing.T) {
	for _, left := range []time.Duration{4 * time.Second, time.Second, time.Millisecond, 0} {
		beside(t, left.String(), func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			s.neverPast(later)
			s.world.Tune(func(k *awssim.Knobs) { k.Latency = time.Second })
			card := s.card("BG-1")
			time.Sleep(time.Until(old.Add(-left)))
			s.inTime(s.ben.late(card, more), more)
			s.proven("BG-1")
			if s.grant("BG-1").Ending.Since.Sub(old) > time.Second {
				t.Errorf("it began to close at %s, want %s", s.grant("BG-1").Ending.Since, old)
			}
		}, quiet)
	}
}

// Two grants on one role: extending the one past the other moves the hard stop for
// both, and neither end of the statements.
func TestExtension_besideAnother(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		old, later := s.wantsMore()
		s.opens(strings.Replace(askShort, vendor, vendor2, 1))
		other := s.grant("BG-2").End
		s.ben.presses("BG-1", more)
		s.until("BG-1", "Open until", "Extended")
		if g := s.grant("BG-2"); !g.End.Equal(other) {
			t.Errorf("BG-2 ends at %s, want %s", g.End, other)
		}
		s.until("BG-2", "Closed")
		if _, err := s.assume(s.cell, vendor2); err == nil {
			t.Error("the other may still come in")
		}
		time.Sleep(time.Until(old.Add(5 * minute)))
		s.within(true, "after the old end")
		time.Sleep(time.Until(later.Add(time.Second)))
		s.within(false, "after the new end")
		s.proven("BG-1")
	}, quiet)
}

// A button of an older question decides nothing about the newer one.
func TestExtension_buttonOfAnOlderQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		old, _ := s.wantsMore()
		first := s.card("BG-1")
		s.ben.presses("BG-1", "Deny more time")
		s.until("BG-1", "More time was denied")
		s.ana.says("extend BG-1 4h").wants(t, "Asked for 4 h more")
		s.until("BG-1", "Approve 4 h more")
		s.eva.late(first, more).refused(s, "Nothing changed")
		if g := s.grant("BG-1"); !g.Extension.Pending() || len(g.Extension.Approvals) != 0 || !g.End.Equal(old) {
			t.Errorf("the older button has decided: %+v", g.Extension)
		}
	}, quiet)
}

// Two must agree, and one of them may not approve any more when AWS is to be told:
// the old end stands.
func TestExtension_approvalFallsAway(t *testing.T) {
	for how, fall := range falls {
		beside(t, how, func(t *testing.T, s *stage) {
			s.asks(askShort)
			s.ben.presses("BG-1", "Approve")
			s.eva.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
			old := s.grant("BG-1").End
			s.ana.says("extend BG-1 20m").wants(t, "Asked for 20 min more")
			s.until("BG-1", more)
			s.ben.presses("BG-1", more)
			fall(s)
			time.Sleep(2 * minute)
			s.eva.presses("BG-1", more)
			s.until("BG-1", "Open until", "could not be added", "may not approve any more: @ben.")
			s.once("could not be extended", "may not approve any more: @ben.")
			if a, b := s.endsInAWS(); !a.Equal(old) || !b.Equal(old) {
				t.Errorf("it ends at %s and %s in AWS, want %s", a, b, old)
			}
			s.proven("BG-1")
			if late := time.Since(old); late > 5*minute {
				t.Errorf("it was proven %s after the old end", late)
			}
		}, quiet, approvals(2), byGroup)
	}
}

// Slack does not say whether those who approved still may: the old end stands
// until it does, and counts if it never does.
func TestExtension_slackDoesNotSay(t *testing.T) {
	for _, how := range []string{"for a while", "for long"} {
		beside(t, how, func(t *testing.T, s *stage) {
			old, later := s.wantsMore()
			remove := s.stuckAtCheck()
			s.ben.presses("BG-1", more)
			s.slack.Inject(slacksim.Fault{Method: "users.info", Answer: slacksim.Status(503)})
			time.Sleep(70 * time.Second) // what was known of ben is too old
			remove()
			s.until("BG-1", "Open until", "Slack does not say whether those who approved more time")
			time.Sleep(2 * minute)
			if g := s.grant("BG-1"); !g.End.Equal(old) {
				t.Errorf("it was extended until %s while Slack did not say who may", g.End)
			}
			end := old
			if how == "for a while" {
				s.slack.ClearFaults()
				s.until("BG-1", "Open until", "Extended")
				end = later
			}
			s.proven("BG-1")
			if since := s.grant("BG-1").Ending.Since; since.Sub(end) > time.Second {
				t.Errorf("it began to close at %s, want %s", since, end)
			}
		}, quiet)
	}
}

// Somebody asks for more time and takes it back, again and again: after ten times the
// approvers have their peace, and the story has room for how it ends.
func TestExtension_askedInVain(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		for range 10 {
			s.ana.says("extend BG-1 1h").wants(t, "Asked for 1 h more")
			s.until("BG-1", "Approve 1 h more")
			s.ana.presses("BG-1", "Deny more time")
			s.until("BG-1", "taken back")
		}
		s.ana.says("extend BG-1 1h").refused(s, "You have asked for more time for BG-1 10 times", "denied or taken back", "Nothing changed", "/breakglass grant")
		s.ana.presses("BG-1", "Extend…").refused(s, "10 times")
		s.ana.noModal()
		s.mia.says("extend BG-1 1h").wants(t, "Asked for 1 h more") // is not made to pay for it
		s.ana.says("revoke")
		s.proven("BG-1")
		s.mia.says("show BG-1").wants(t, "revoked access")
	}, quiet)
}
