package bot_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// The main job, end to end: asked for in Slack, approved by somebody else, opened
// in AWS, used, revoked, and proven closed.
func TestStory_fromRequestToProof(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says(askProd).wants(t, "BG-1 is requested", "4 h", "It needs 1 approval, not your own")
		s.until("BG-1", "Requested", "asks to let SingleStore Support in for 4 h", "stuck node pool", "48213", "Checks:", `"Sid": "BreakglassBG1"`, "<end>", "Approve 4 h", "Deny", "Withdraw")
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("the vendor may assume the role before anybody approved")
		}
		s.untouched()

		s.ben.presses("BG-1", "Approve 4 h")
		s.until("BG-1", "Open until 13:00", "i-0", "Privileged access is granted for ticket 48213", "Mark as sent", "Revoke now")
		g := s.grant("BG-1")
		if want := time.Now().Add(4 * time.Hour); g.End.After(want) || g.End.Before(want.Add(-5*time.Second)) {
			t.Errorf("the end is %s, want 4 h from opening", g.End)
		}
		if !strings.Contains(s.slack.Render(s.card("BG-1")), s.cell.Instance.ID()) {
			t.Error("the card does not name the privileged access instance")
		}
		during := s.cell.Role.TrustDocument()
		if !strings.HasPrefix(during, strings.TrimSuffix(trustBefore, "\n  ]\n}")) || !strings.Contains(during, `"Sid":"BreakglassBG1"`) || !strings.Contains(during, `"DateLessThan":{"aws:CurrentTime":"`+g.End.Format(time.RFC3339)+`"}`) {
			t.Errorf("trust policy while open:\n%s", during)
		}
		if _, ok := s.cell.Role.InlinePolicy("BreakglassHardStop"); !ok {
			t.Error("there is no hard stop")
		}

		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatalf("the vendor cannot assume the role while it is open: %v", err)
		}
		shell, err := s.shell(s.cell, "us-east-1", key)
		if err != nil {
			t.Fatalf("the vendor cannot open a shell: %v", err)
		}
		if _, err := shell.Type("whoami"); err != nil {
			t.Fatal(err)
		}

		time.Sleep(20 * time.Minute)
		revoked := time.Now()
		s.ana.says("revoke BG-1").wants(t, "Revoking BG-1 now")
		s.until("BG-1", "Closing")
		if strings.Contains(s.slack.Render(s.card("BG-1")), "Closed") {
			t.Error("the card says Closed before the proof")
		}
		s.proven("BG-1")
		if took := time.Since(revoked); took < 90*time.Second || took > 110*time.Second {
			t.Errorf("the proof took %s, want the 90 s that the trust and then the cut-off need to settle, and little more", took)
		}
		if got := s.cell.Role.TrustDocument(); got != trustBefore {
			t.Errorf("the trust policy afterwards:\n%s\nwant, byte for byte:\n%s", got, trustBefore)
		}
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell that was open answers %v, want that it has ended", err)
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err == nil {
			t.Error("credentials from before the revoke still open a shell")
		}
		proof := s.thread("Closed", "and proven")
		if len(proof) != 1 || !hasAll(s.slack.Render(proof[0]), []string{"statement BreakglassBG1", "1 ended", "Asked for by @ana", "Approved by @ben", "revoked by @ana", "Taken away in 1 min"}) {
			t.Errorf("the proof in the thread:\n%s", s.wall())
		}
	})
}

// Session Manager's preferences belong to the whole region: only the cloudWatch
// inputs change, and logging stays on afterwards.
func TestStory_preferencesKeepForeignBytes(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.ana.says("revoke 1")
		s.proven("BG-1")
		versions := s.cell.Region.DocumentVersions(prefsDoc)
		got := versions[len(versions)-1].Content
		want := strings.NewReplacer(
			`"cloudWatchLogGroupName":""`, `"cloudWatchLogGroupName":"/aws/ssm/helios-prod/cluster"`,
			`"cloudWatchEncryptionEnabled":false`, `"cloudWatchEncryptionEnabled":true`,
			`"cloudWatchStreamingEnabled":false`, `"cloudWatchStreamingEnabled":true`,
		).Replace(preferencesBefore)
		if got != want {
			t.Errorf("preferences:\n%s\nwant:\n%s", got, want)
		}
		if versions[0].Content != preferencesBefore {
			t.Errorf("the old version was changed:\n%s", versions[0].Content)
		}
	})
}

// The vendor can assume the role between open and close, and at no other time.
func TestStory_vendorOnlyWhileOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		can := func(when string, want bool) {
			t.Helper()
			if _, err := s.assume(s.cell, vendor); (err == nil) != want {
				t.Errorf("%s: the vendor may assume the role: %t, want %t (%v)", when, err == nil, want, err)
			}
			if _, err := s.assume(s.cell, vendor2); err == nil {
				t.Errorf("%s: another role of SingleStore may assume the role", when)
			}
		}
		can("before the request", false)
		s.asks(askProd)
		can("requested", false)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		can("open", true)
		s.ben.presses("BG-1", "Revoke now")
		can("closing", false)
		s.proven("BG-1")
		can("closed", false)
	})
}

// With the bot dead AWS itself ends the access at the promised second.
func TestStory_awsEndsItWithoutUs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=1h", 1))
		end := s.grant("BG-1").End
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		s.crash()
		time.Sleep(time.Until(end) + time.Second)
		if _, err := s.assume(s.cell, vendor); err == nil {
			t.Error("the vendor may assume the role after the end")
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err == nil {
			t.Error("credentials from before work after the end")
		}
		s.start()
		s.proven("BG-1")
	})
}

func TestStory_expiryClosesWithinASecond(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=45m", 1))
		end := s.grant("BG-1").End
		time.Sleep(time.Until(end) - time.Second)
		s.phase("BG-1", grant.Open)
		time.Sleep(2 * time.Second)
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("one second after the end the trust policy is\n%s", doc)
		}
		s.phase("BG-1", grant.Closing)
		s.proven("BG-1")
		if why := s.grant("BG-1").Ending.Why; why != "its time was up" {
			t.Errorf("it ended because %q", why)
		}
	})
}

// Any positive duration is legal, seconds included.
func TestStory_accessOfTenSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=10s", 1))
		s.proven("BG-1")
		if g := s.grant("BG-1"); g.End.Sub(g.OpenedAt) > 10*time.Second {
			t.Errorf("open for %s, want 10 s at most", g.End.Sub(g.OpenedAt))
		}
	})
}

func TestStory_deny(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.eva.presses("BG-1", "Deny")
		s.until("BG-1", "Denied by @eva", "Nothing was changed in AWS")
		if b := s.card("BG-1").Buttons(); len(b) > 0 {
			t.Errorf("a denied card has buttons: %v", b)
		}
		if got := s.thread("denied", "@eva", "@ana"); len(got) != 1 {
			t.Errorf("the requester was told %d times, want once:\n%s", len(got), s.wall())
		}
		s.untouched()
	})
}

func TestStory_withdraw(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Withdraw").refused(s, "Only @ana, who asked for BG-1, may withdraw it", "Nothing changed", "Deny")
		s.phase("BG-1", grant.Requested)
		s.ana.presses("BG-1", "Withdraw")
		s.until("BG-1", "Withdrawn by @ana")
		s.untouched()
	})
}

func TestStory_secondClickAfterTheDecision(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		a := s.eva.presses("BG-1", "Revoke now", as("approve"))
		a.refused(s, "BG-1 is open until", "approved by @ben", "Nothing changed")
		a = s.eva.presses("BG-1", "Revoke now", as("deny"))
		a.refused(s, "BG-1 is open until", "approved by @ben", "To end it")
		s.phase("BG-1", grant.Open)
		s.ana.presses("BG-1", "Revoke now")
		s.until("BG-1", "Closing")
		s.proven("BG-1")
	})
}

func TestStory_markAsSentOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.mia.presses("BG-1", "Mark as sent").refused(s, "Only @ana who asked for BG-1, or an approver")
		s.ana.presses("BG-1", "Mark as sent")
		s.until("BG-1", "Support was told by @ana")
		if _, err := s.card("BG-1").Button("Mark as sent"); err == nil {
			t.Error("the card still offers Mark as sent")
		}
		a := s.ben.presses("BG-1", "Revoke now", as("mark_sent"))
		a.refused(s, "@ana marked the confirmation of BG-1 as sent already")
		time.Sleep(30 * time.Minute)
		if got := s.thread("does not know yet"); len(got) != 0 {
			t.Errorf("there was a reminder to tell Support, who had been told:\n%s", s.wall())
		}
	})
}
