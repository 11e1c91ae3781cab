package bot_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// loses stops the bot and takes its database away; the next one starts with an
// empty one.
func (s *stage) loses() {
	s.t.Helper()
	s.stop()
	if err := os.Remove(s.path); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// The database is lost while a grant is open and SingleStore is inside. The new bot
// says at once what it finds, with the number and the end that the statement
// carries; Remove ends it, shells and all, to the proof; the number is not given
// out again.
func TestLost_isToldAtOnceAndRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		end := s.grant("BG-1").End
		_, shell := s.visits()
		s.loses()
		time.Sleep(5 * time.Second)
		m := s.stray("SingleStore can come in, and no grant says so", vendor, "BreakglassBG1", "which was written for BG-1", "Adopt", "Remove")
		if text := s.slack.Render(m); !strings.Contains(text, end.Format("15:04 UTC")) {
			t.Errorf("it does not say that it ends at %s:\n%s", end, text)
		}
		s.mia.says("status").wants(t, "Trust that no grant explains", vendor)
		s.mia.clicks(m, "Remove").refused(s, "You may not remove trust")

		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-2 now")
		s.proven("BG-2")
		if !ended(shell) {
			t.Error("the shell of whoever was inside lives")
		}
		if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
			t.Errorf("the trust policy is\n%s\nwant\n%s", doc, trustBefore)
		}
		time.Sleep(time.Minute)
		s.stray("Gone since")
		if id := s.asks(askProd); id != "BG-3" {
			t.Errorf("the next request is %s, want BG-3", id)
		}
	}, quiet)
}

// Adopting what is left is a request like any other: somebody else must approve it.
// Then it is the new bot's, and its end takes the old statement out, too.
func TestLost_isAdopted(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.visits()
		s.loses()
		time.Sleep(5 * time.Second)
		m := s.stray("which was written for BG-1", "Adopt")
		s.ana.clicks(m, "Adopt").wants(t, "BG-2 is requested")
		s.until("BG-2", "Requested", "Adopted", "Checks:")
		s.ana.clicks(s.card("BG-2"), "Approve").refused(s, "your own request")
		s.phase("BG-2", grant.Requested)
		s.ben.presses("BG-2", "Approve")
		s.until("BG-2", "Open until")
		s.mia.says("revoke BG-2").refused(s, "You may not revoke BG-2")
		s.ana.says("revoke BG-2")
		s.proven("BG-2")
	}, quiet)
}

// Several are open on several cells, and one stands there by hand: each is told
// once, however often the bot starts.
func TestLost_each(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		s.opens(askTest())
		s.opens(strings.Replace(askProd, vendor, vendor2, 1))
		s.loses()
		time.Sleep(5 * time.Second)
		for _, id := range []string{"BG-1", "BG-2", "BG-3"} {
			s.stray("which was written for " + id)
		}
		s.restart()
		time.Sleep(11 * minute)
		if n := len(s.strays()); n != 3 {
			t.Errorf("%d messages, want 3:\n%s", n, s.wall())
		}
		for _, m := range s.strays() {
			s.rob.clicks(m, "Remove").wants(t, "Revoking BG-")
		}
		for _, id := range []string{"BG-4", "BG-5", "BG-6"} {
			s.proven(id)
		}
	}, quiet)
}

// AWS does not answer when the new bot starts: it is told as soon as it can be seen.
func TestLost_whileAWSIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)

		s.stop()
		if err := os.Remove(s.path); err != nil {
			t.Fatal(err)
		}
		f := hangingAWS
		f.Call, f.Account = "iam:*", s.cell.Account.ID()
		mend := s.world.Inject(f)
		s.start()
		time.Sleep(20 * minute)
		if n := len(s.strays()); n != 0 {
			t.Fatalf("told although nothing could be seen:\n%s", s.wall())
		}
		mend()
		time.Sleep(2 * minute)
		m := s.stray("which was written for BG-1", "Remove")
		s.rob.clicks(m, "Remove").wants(t, "Revoking BG-2 now")
		s.proven("BG-2")
	}, quiet)
}
