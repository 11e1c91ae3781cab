package bot_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/store/grant"
)

func unusedAfter(d time.Duration) change {
	return func(c *setup) { c.policy.Reminders = grant.Reminders{Unused: d} }
}

// visits has SingleStore's engineer assume the role and open a shell.
func (s *stage) visits() (id string, shell *awssim.Shell) {
	s.t.Helper()
	key, err := s.assume(s.cell, vendor)
	if err != nil {
		s.t.Fatalf("assuming the role: %v", err)
	}
	if shell, err = s.shell(s.cell, "us-east-1", key); err != nil {
		s.t.Fatalf("opening a shell: %v", err)
	}
	sessions := s.cell.Region.Sessions()
	return sessions[len(sessions)-1].ID, shell
}

// once wants exactly one message with the words in the threads, and answers how
// it reads.
func (s *stage) once(words ...string) string {
	s.t.Helper()
	m := s.thread(words...)
	if len(m) != 1 {
		s.t.Fatalf("%q was said %d times, want once:\n%s", words, len(m), s.wall())
	}
	return s.slack.Render(m[0])
}

// SingleStore comes in and leaves: both are told, once, with who and where the
// log is, whatever restarts there are.
func TestWatch_comesAndLeaves(t *testing.T) {
	for _, how := range []string{"in peace", "with restarts"} {
		beside(t, how, func(t *testing.T, s *stage) {
			again := func() {
				if how == "with restarts" {
					s.restart()
				}
				time.Sleep(90 * time.Second)
			}
			s.opens(askProd)
			time.Sleep(2 * minute)
			s.until("BG-1", "Nobody has come in yet")
			id, shell := s.visits()
			again()
			again()
			text := s.once("a session has started")
			for _, want := range []string{"support-engineer", id, s.cell.Instance.ID(), "https://us-east-1.console.aws.amazon.com/cloudwatch/home", "$252Faws$252Fssm$252Fhelios-prod$252Fcluster/log-events/"} {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%s", want, text)
				}
			}
			s.until("BG-1", "Sessions: 1 live, 0 ended")
			shell.Exit()
			again()
			again()
			s.once("a session has ended", "support-engineer", id, "log-events/")
			s.once("a session has started")
			s.until("BG-1", "Sessions: 0 live, 1 ended")
			s.rob.says("revoke")
			s.proven("BG-1")
			s.once("and proven", "Sessions that were seen: 1", id, "CloudTrail is minutes late")
			s.ana.says("show BG-1").wants(t, "Sessions that were seen: 1", id, "does not show attempts that were refused")
		}, quiet)
	}
}

// Port forwarding is never logged: that is told, with the button that ends it.
func TestWatch_portForwarding(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ssm.NewFromConfig(s.config("us-east-1", key)).StartSession(t.Context(), &ssm.StartSessionInput{
			Target: new(s.cell.Instance.ID()), DocumentName: new("AWS-StartPortForwardingSession"),
			Parameters: map[string][]string{"portNumber": {"3306"}, "localPortNumber": {"3306"}},
		}); err != nil {
			t.Fatalf("forwarding a port: %v", err)
		}
		time.Sleep(5 * minute)
		s.once("a session has started")
		s.once("goes past the log", "AWS-StartPortForwardingSession", "@ana", "@ben", "nothing of what passes through it is recorded")
		if n := len(s.thread("is not logged")); n != 0 {
			t.Error("that it has no log is told twice, in other words")
		}
		s.inTime(s.ana.clicks(s.thread("goes past the log")[0], "Revoke now"), "Revoke now")
		s.proven("BG-1")
	}, quiet)
}

// Somebody takes our statement out while it is open: told once. It is put back:
// nothing is said, and the story says so.
func TestWatch_drift(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		time.Sleep(2 * minute)
		open := s.cell.Role.TrustDocument()
		s.cell.Role.Trust(trustBefore)
		time.Sleep(3 * minute)
		s.restart()
		time.Sleep(3 * minute)
		text := s.once("is not as it was opened")
		if !hasAll(text, []string{"@ana", "@ben", "Revoke now"}) {
			t.Errorf("it does not say who and what to press:\n%s", text)
		}
		s.until("BG-1", "Warning, not as it was opened")
		before := len(s.thread())
		s.cell.Role.Trust(open)
		time.Sleep(3 * minute)
		if n := len(s.thread()); n != before {
			t.Errorf("putting it back was told:\n%s", s.wall())
		}
		if card := s.slack.Render(s.card("BG-1")); strings.Contains(card, "not as it was opened") {
			t.Errorf("the card still warns:\n%s", card)
		}
		s.ana.says("show BG-1").wants(t, "saw a change in AWS", "as it should be again")
		s.inTime(s.ana.clicks(s.thread("is not as it was opened")[0], "Revoke now"), "Revoke now")
		s.proven("BG-1")
	}, quiet)
}

// Nobody comes: said once, and never of an access that was used.
func TestWatch_unused(t *testing.T) {
	for name, used := range map[string]bool{"unused": false, "used": true} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			open := s.grant("BG-1").OpenedAt
			if used {
				time.Sleep(10 * minute)
				s.visits()
			}
			time.Sleep(time.Until(open.Add(29 * minute)))
			s.restart()
			time.Sleep(time.Hour)
			if used {
				wantSaid(t, "that nobody came", s.said(open, "Nobody has come in yet"))
				return
			}
			wantSaid(t, "that nobody came", s.said(open, "@ana", "Nobody has come in yet"), 30*minute)
			s.inTime(s.ana.clicks(s.thread("Nobody has come in yet")[0], "Revoke now"), "Revoke now")
			s.proven("BG-1")
		}, unusedAfter(30*minute))
	}
}

// slowEyes are AWS hands whose looks take as long as they may.
type slowEyes struct {
	bot.AWS
	looks chan time.Duration
}

func (e *slowEyes) Watch(ctx context.Context, _ grant.Grant, _ []grant.Grant) grant.Sighting {
	began := time.Now()
	<-ctx.Done()
	e.looks <- time.Since(began)
	return grant.Sighting{}
}

// A look that hangs holds up nothing: it is cut after 45 s, the next one comes in
// its time, and a revoke meanwhile goes its way at once.
func TestWatch_slowLooksHoldUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		eyes := &slowEyes{looks: make(chan time.Duration, 100)}
		s.conf.hands = func(a bot.AWS) bot.AWS { eyes.AWS = a; return eyes }
		s.start()
		s.opens(askProd)
		if took := <-eyes.looks; took != 45*time.Second {
			t.Errorf("a look took %s, want 45 s", took)
		}
		time.Sleep(minute + time.Second) // the next one has begun
		began := time.Now()
		s.rob.says("revoke")
		s.until("BG-1", "Closing", "statement BreakglassBG1")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the trust was taken away after %s", took)
		}
		s.proven("BG-1")
		time.Sleep(5 * minute)
		if n := len(eyes.looks); n > 1 {
			t.Errorf("%d looks at what is over", n)
		}
	}, quiet, idle)
}
