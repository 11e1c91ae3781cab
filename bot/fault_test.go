package bot_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

var kinds = map[string]awssim.FaultKind{
	"throttled": awssim.Throttle, "500": awssim.ServerError, "dropped before": awssim.DropBefore, "dropped after": awssim.DropAfter,
}

// callsOf lists the AWS calls that the bot makes from the approval until it is
// open, in a run without faults.
func callsOf(t *testing.T) (names []string) {
	t.Helper()
	bubble(t, func(_ *testing.T, s *stage) {
		s.asks(askProd)
		s.world.ForgetCalls()
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		for _, c := range s.world.Calls() {
			names = append(names, c.Name())
		}
	}, quiet)
	if len(names) < 10 {
		t.Fatalf("only %d calls: %v", len(names), names)
	}
	return names
}

// decides waits until opening has come to an end, whichever, and holds that it is
// not a half one: open, with the vendor inside, or closed, with nothing left.
func (s *stage) decides(id string) {
	s.t.Helper()
	limit := time.Now().Add(30 * time.Minute)
	for p := s.grant(id).Phase; p == grant.Opening || p == grant.Closing; p = s.grant(id).Phase {
		if time.Now().After(limit) {
			s.t.Fatalf("%s is still %s after 30 minutes\n%s", id, p, s.wall())
		}
		time.Sleep(time.Second)
	}
	switch g := s.grant(id); g.Phase {
	case grant.Open:
		s.until(id, "Open until")
		if _, err := s.assume(s.cell, vendor); err != nil {
			s.t.Errorf("%s is open, and the vendor cannot come in: %v", id, err)
		}
		if _, ok := s.cell.Role.InlinePolicy("BreakglassHardStop"); !ok {
			s.t.Errorf("%s is open without a hard stop", id)
		}
		versions := s.cell.Region.DocumentVersions(prefsDoc)
		if !strings.Contains(versions[len(versions)-1].Content, "/aws/ssm/helios-prod/cluster") {
			s.t.Errorf("%s is open without logging", id)
		}
		if n := strings.Count(s.cell.Role.TrustDocument(), "BreakglassBG1"); n != 1 {
			s.t.Errorf("the statement stands %d times", n)
		}
	case grant.Closed:
		s.proven(id)
	default:
		s.t.Errorf("%s is %s", id, g.Phase)
	}
}

// Any one call of opening goes wrong, in any way: it ends open or closed, never
// half, and closes afterwards.
func TestFault_eachCallOfOpeningOnce(t *testing.T) {
	calls := callsOf(t)
	for n, name := range calls {
		if n%often > 0 {
			continue
		}
		for what, kind := range kinds {
			beside(t, fmt.Sprintf("%d %s %s", n+1, name, what), func(t *testing.T, s *stage) {
				s.asks(askProd)
				var count atomic.Int32
				s.world.Before(func(context.Context, awssim.Call) *awssim.Fault {
					if int(count.Add(1)) == n+1 {
						return &awssim.Fault{Kind: kind}
					}
					return nil
				})
				s.ben.presses("BG-1", "Approve")
				s.decides("BG-1")
				s.phase("BG-1", grant.Open) // one fault is no reason to give up
				s.ana.says("revoke BG-1")
				s.proven("BG-1")
				if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
					t.Errorf("the trust policy afterwards:\n%s", doc)
				}
			}, quiet)
		}
	}
}

// One kind of call goes wrong for as long as opening is tried, and longer.
func TestFault_eachCallOfOpeningForLong(t *testing.T) {
	calls := map[string]bool{}
	for _, name := range callsOf(t) {
		calls[name] = true
	}
	for n, name := range slices.Sorted(maps.Keys(calls)) {
		if n%often > 0 {
			continue
		}
		for what, kind := range kinds {
			beside(t, name+" "+what, func(t *testing.T, s *stage) {
				s.asks(askProd)
				remove := s.world.Inject(awssim.Fault{Call: name, Kind: kind, Account: s.cell.Account.ID()})
				s.ben.presses("BG-1", "Approve")
				time.Sleep(12 * time.Minute)
				if p := s.grant("BG-1").Phase; p == grant.Opening {
					t.Errorf("it is opening for 12 minutes; 10 are the limit")
				}
				if n := len(s.world.Calls()); n > 2000 {
					t.Errorf("%d calls in 12 minutes: a hot loop", n)
				}
				remove()
				s.decides("BG-1")
			}, quiet)
		}
	}
}

// The bot lacks a permission: nothing stays, the card says in one clear sentence
// what is missing, and what to do.
func TestFault_writeDenied(t *testing.T) {
	for _, call := range []string{"ssm:UpdateDocument", "ssm:UpdateDocumentDefaultVersion", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} {
		beside(t, call, func(t *testing.T, s *stage) {
			s.asks(askProd)
			s.world.Inject(awssim.Fault{Call: call, Kind: awssim.Deny})
			s.ben.presses("BG-1", "Approve")
			text := s.until("BG-1", "Closed", "Why it could not be opened:", "What to do:", call)
			s.proven("BG-1")
			if !strings.Contains(text, "never opened") && !s.grant("BG-1").Touched {
				t.Errorf("the card does not say that it was never opened:\n%s", text)
			}
			for _, raw := range []string{"operation error", "https response", "RequestID", "api error", "smithy", "StatusCode", "not authorized to perform"} {
				if strings.Contains(s.wall(), raw) {
					t.Errorf("the channel is shown the SDK's words (%q):\n%s", raw, s.wall())
				}
			}
			if got := s.thread("@ana BG-1 could not be opened", "What to do:", call); len(got) != 1 {
				t.Errorf("the requester was told %d times, want once:\n%s", len(got), s.wall())
			}
			if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
				t.Errorf("the trust policy afterwards:\n%s", doc)
			}
		}, quiet)
	}
}

// What is not there: the checks say so on the card, and approving changes nothing.
func TestFault_somethingIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*stage)
		says string
	}{
		"role":      {func(s *stage) { s.cell.Role.Delete() }, "There is no role named"},
		"instance":  {func(s *stage) { s.cell.Instance.State("terminated") }, "nstance"},
		"stopped":   {func(s *stage) { s.cell.Instance.State("stopped") }, "stopped"},
		"log group": {func(s *stage) { s.cell.LogGroup.Delete() }, "/aws/ssm/helios-prod/cluster"},
	} {
		for _, when := range []string{"before the request", "after the checks"} {
			beside(t, name+" "+when, func(t *testing.T, s *stage) {
				if when == "before the request" {
					c.harm(s)
					s.asks(askProd)
					text := s.slack.Render(s.card("BG-1"))
					if !hasAll(text, []string{"Must be fixed", c.says, "→", "opening stops at the check and changes nothing"}) {
						t.Errorf("the card does not say that it must be fixed (%q):\n%s", c.says, text)
					}
				} else {
					s.asks(askProd)
					c.harm(s)
				}
				s.ben.presses("BG-1", "Approve")
				s.until("BG-1", "Closed", "Why it could not be opened:", c.says, "What to do:", "never opened")
				s.untouched()
			}, quiet)
		}
	}
}

// The bot's credentials are of another account: nothing is changed there, the card
// says which account they are of, and with the right ones it ends closed.
func TestFault_credentialsOfAnotherAccount(t *testing.T) {
	alone(t, func(t *testing.T, s *stage) {
		key := s.world.Account("999999999999").User("breakglass-bot").Credentials()
		t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
		s.start()
		s.asks(askProd)
		s.until("BG-1", "Must be fixed", "999999999999", "444455556666")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Clos", "Why it could not be opened:", "999999999999")
		s.untouched()
		key = s.cell.Bot.Credentials()
		t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
		s.restart()
		s.proven("BG-1")
	}, idle, quiet)
}

// The agent is not online just now: a warning, and no reason not to open.
func TestFault_agentIsOffline(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Instance.Agent("ConnectionLost")
		s.asks(askProd)
		s.until("BG-1", "2 warnings", "is not online (ConnectionLost)", "→")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet)
}

// While it is being taken away, AWS refuses the bot for hours. The channel is told
// after the third round, with the commands to do it by hand; the bot goes on, and
// closes when it may.
func TestFault_closeIsDenied(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		remove := s.world.Inject(awssim.Fault{Call: "iam:UpdateAssumeRolePolicy", Kind: awssim.Deny})
		began := time.Now()
		s.ana.says("revoke BG-1")
		time.Sleep(2 * time.Minute)
		stuck := s.thread("taking access away keeps failing", "@ben", "@eva", "SingleStore may still have it", "aws iam update-assume-role-policy --role-name "+s.cell.Role.Name(), "BreakglassBG1")
		if len(stuck) != 1 {
			t.Fatalf("the channel was told %d times in two minutes, want once:\n%s", len(stuck), s.wall())
		}
		if g := s.grant("BG-1"); stuck[0].At.Sub(began) > 30*time.Second {
			t.Errorf("it took %s to tell the channel (%d rounds), want the third round", stuck[0].At.Sub(began), g.Ending.Rounds)
		}
		time.Sleep(5 * time.Hour)
		s.phase("BG-1", grant.Closing)
		if text := s.slack.Render(s.card("BG-1")); !hasAll(text, []string{"✗ Trust: trying again", "iam:UpdateAssumeRolePolicy", "A step is failing"}) {
			t.Errorf("the card:\n%s", text)
		}
		rounds := s.grant("BG-1").Ending.Rounds
		if rounds < 200 || rounds > 400 {
			t.Errorf("%d rounds in five hours, want about one a minute", rounds)
		}
		if n := len(s.thread("taking access away keeps failing")); n < 3 || n > 8 {
			t.Errorf("the channel was told %d times in five hours, want about once an hour", n)
		}
		remove()
		s.proven("BG-1")
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("the trust policy afterwards:\n%s", doc)
		}
	}, quiet)
}

// Each write of closing is refused for a while; the others are done meanwhile.
func TestFault_eachStepOfClosingDenied(t *testing.T) {
	for _, call := range []string{"iam:GetRole", "iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "ssm:DescribeSessions", "ssm:TerminateSession", "sts:GetCallerIdentity"} {
		for _, kind := range []awssim.FaultKind{awssim.Deny, awssim.Throttle, awssim.ServerError, awssim.DropAfter} {
			beside(t, fmt.Sprint(call, kind), func(t *testing.T, s *stage) {
				s.opens(askProd)
				key, err := s.assume(s.cell, vendor)
				if err != nil {
					t.Fatal(err)
				}
				shell, err := s.shell(s.cell, "us-east-1", key)
				if err != nil {
					t.Fatal(err)
				}
				remove := s.world.Inject(awssim.Fault{Call: call, Kind: kind, Account: s.cell.Account.ID()})
				s.ana.says("revoke BG-1")
				time.Sleep(10 * time.Minute)
				if kind != awssim.DropAfter && call != "sts:GetCallerIdentity" { // which is known by now
					s.phase("BG-1", grant.Closing)
				}
				if call != "ssm:TerminateSession" && call != "ssm:DescribeSessions" && call != "sts:GetCallerIdentity" {
					if _, err := shell.Type("whoami"); err == nil {
						t.Errorf("while %s fails, the shell stays open", call)
					}
				}
				remove()
				s.proven("BG-1")
			}, quiet)
		}
	}
}

// A session that comes back while it is being closed is ended, too, and the
// watching starts over.
func TestFault_sessionComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err != nil {
			t.Fatal(err)
		}
		// A replica of AWS that has not heard of the cut-off for another 40 s.
		s.world.Tune(func(k *awssim.Knobs) { k.Propagation = 40 * time.Second })
		began := time.Now()
		s.ana.says("revoke BG-1")
		time.Sleep(31 * time.Second) // between two rounds
		second, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatalf("the second shell was to come in: %v", err)
		}
		s.proven("BG-1")
		if _, err := second.Type("whoami"); err == nil {
			t.Error("the shell that came back is still open")
		}
		if n := len(s.grant("BG-1").Ending.Ended); n != 2 {
			t.Errorf("%d sessions ended, want both", n)
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("closed after %s", took)
		}
	}, quiet)
}

// One that comes back just before the proof delays it until none was seen twice.
func TestFault_sessionComesBackLate(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		s.world.Tune(func(k *awssim.Knobs) { k.Propagation = 59 * time.Second })
		began := time.Now()
		s.ana.says("revoke BG-1")
		time.Sleep(57 * time.Second)
		if _, err := s.shell(s.cell, "us-east-1", key); err != nil {
			t.Fatalf("the late shell was to come in: %v", err)
		}
		s.proven("BG-1")
		g := s.grant("BG-1")
		if took := g.ClosedAt.Sub(began); len(g.Ending.Ended) != 1 || took < 68*time.Second {
			t.Errorf("closed after %s with %d sessions ended: none must be seen twice after the one at 57 s", took, len(g.Ending.Ended))
		}
	}, quiet)
}

// Two roles of SingleStore on one role of ours, with different ends: ending one
// leaves the other usable.
func TestFault_twoGrantsOnOneRole(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=1h", 1))
		s.opens(strings.Replace(askProd, vendor, vendor2, 1))
		s.until("BG-1", "Closing")
		s.until("BG-1", "Closed")
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("the first role may still come in")
		}
		if _, err := s.assume(s.cell, vendor2); err != nil {
			t.Fatalf("ending the one ended the other: %v", err)
		}
		// Credentials issued before the other ended are dead; new ones work.
		time.Sleep(time.Minute)
		key, err := s.assume(s.cell, vendor2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err != nil {
			t.Errorf("the other cannot open a shell: %v", err)
		}
		s.phase("BG-2", grant.Open)
		s.ana.says("revoke BG-2")
		s.proven("BG-2")
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("the trust policy afterwards:\n%s", doc)
		}
	}, quiet)
}

// The same role of SingleStore twice: the first to end says that access goes on
// under the other, and leaves its shell alone.
func TestFault_samePrincipalTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=1h", 1))
		s.opens(strings.Replace(askProd, "ticket=48213", "ticket=48299", 1))
		if got := s.thread("BG-2 is open until", "under BG-1 too"); len(got) != 1 {
			t.Errorf("nobody was told that the same role has access already:\n%s", s.wall())
		}
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		shell, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatal(err)
		}
		s.until("BG-1", "Closed", "as far as BG-1 goes", "still trusted under BG-2")
		if _, err := shell.Type("whoami"); err != nil {
			t.Errorf("the shell is ended though BG-2 is open: %v", err)
		}
		if doc := s.cell.Role.TrustDocument(); strings.Contains(doc, "BreakglassBG1") || !strings.Contains(doc, "BreakglassBG2") {
			t.Errorf("the trust policy:\n%s", doc)
		}
		s.until("BG-2", "Closed", "and proven")
		s.proven("BG-2")
		if _, err := shell.Type("whoami"); err == nil {
			t.Error("the shell is still open")
		}
	}, quiet)
}

// Both end in the same second.
func TestFault_manyEndTogether(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Account.SetTrustQuota(8192)
		for n := range 12 {
			arn := fmt.Sprintf("arn:aws:iam::111122223333:role/engineer-%d", n)
			s.world.ForeignRole(arn)
			s.opens(strings.Replace(askProd, vendor, arn, 1))
			time.Sleep(5 * time.Second)
		}
		q := s.rob.says("revoke all")
		s.world.ForgetCalls()
		s.inTime(s.rob.clicks(q.Ephemerals()[0], "Revoke all"), "Revoke all 12").wants(t, "Revoking")
		for n := range 12 {
			s.until(fmt.Sprintf("BG-%d", n+1), "Closed")
		}
		s.shut(s.cell)
		writes := 0
		for _, c := range s.world.Writes() {
			if c.Op == "UpdateAssumeRolePolicy" {
				writes++
			}
		}
		if writes > 12 {
			t.Errorf("the trust policy was written %d times for 12 ends", writes)
		}
		t.Logf("12 ends together: %d writes of the trust policy", writes)
	}, quiet)
}

// The trust policy has no room for another statement: said so, nothing half.
func TestFault_trustPolicyIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Account.SetTrustQuota(400)
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Closed", "Why it could not be opened:", "but this account allows 400", "What to do:", "higher quota")
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("the trust policy afterwards:\n%s", doc)
		}
		s.proven("BG-1")
	}, quiet)
}

// Somebody changes the trust policy by hand while it is open: their statement
// stays, ours goes.
func TestFault_trustChangedByHand(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.cell.Account.Role("auditors")
		byHand := strings.Replace(s.cell.Role.TrustDocument(), `"Statement": [`, `"Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:role/auditors"}, "Action": "sts:AssumeRole"},`, 1)
		s.cell.Role.Trust(byHand)
		s.ana.says("revoke")
		s.proven("BG-1")
		want := strings.Replace(trustBefore, `"Statement": [`, `"Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:role/auditors"}, "Action": "sts:AssumeRole"},`, 1)
		if got := s.cell.Role.TrustDocument(); got != want {
			t.Errorf("the trust policy afterwards:\n%s\nwant:\n%s", got, want)
		}
	}, quiet)
}
