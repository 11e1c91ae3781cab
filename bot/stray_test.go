package bot_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
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
