package bot_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/store"
	"breakglass/store/grant"
)

// entries are the audit log as it stands.
func (s *stage) entries(kind grant.Kind) (out []store.Entry) {
	s.t.Helper()
	for e, err := range s.db.Entries(1) {
		if err != nil {
			s.t.Fatal(err)
		}
		if kind == "" || e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// The log of a whole story has every call that changed something in AWS, every
// session, and every message that was posted.
func TestAudit_wholeStory(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		key, err := s.assume(s.cell, vendor)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shell(s.cell, "us-east-1", key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute) // a reminder, looks
		s.ana.says("revoke BG-1")
		s.proven("BG-1")

		var wrote, logged []string
		for _, c := range s.world.Writes() {
			if c.Op != "AssumeRole" && c.AccessKeyID == s.cell.Bot.Credentials().AccessKeyID {
				wrote = append(wrote, c.Name())
			}
		}
		for _, e := range s.entries(store.KindWrite) {
			var w grant.Write
			if err := json.Unmarshal(e.Detail, &w); err != nil {
				t.Fatal(err)
			}
			if e.Grant != 1 || e.Ref == "" || w.Request == "" || w.Outcome != grant.WriteDone {
				t.Errorf("a write without who and when: %+v %+v", e, w)
			}
			logged = append(logged, w.Call)
		}
		if !slices.Equal(wrote, logged) {
			t.Errorf("AWS was changed by\n%q\nand the audit log has\n%q", wrote, logged)
		}

		stands := map[string]bool{}
		for _, m := range s.slack.Messages(channel) {
			stands[m.TS] = true
		}
		for _, e := range s.entries("") {
			if e.Kind != store.KindSaid && e.Kind != grant.KindCardPosted {
				continue
			}
			var d struct{ Message, Channel, TS string }
			if err := json.Unmarshal(e.Detail, &d); err != nil || d.Message == "" || d.Channel != channel {
				t.Errorf("a message without its place: %s (%v)", e.Detail, err)
			}
			delete(stands, d.TS)
		}
		if len(stands) > 0 {
			t.Errorf("messages that the audit log does not have: %v\n%s", stands, s.wall())
		}
		came := false
		for _, e := range s.entries(grant.KindWatched) {
			came = came || strings.Contains(string(e.Detail), `"came":[{"id":"`)
		}
		if !came {
			t.Error("the log does not have the session")
		}
	})
}

// Whoever was refused is in the log once, with the reference that they were shown.
func TestAudit_refusals(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		n := 0
		refused := func(a answer, what string, by string, code grant.Code) {
			t.Helper()
			list := s.entries(store.KindRefused)
			if len(list) != n+1 {
				t.Fatalf("%s: the log has %d refusals, want %d", what, len(list), n+1)
			}
			n++
			e := list[n-1]
			if string(e.Actor.User) != by || !strings.Contains(string(e.Detail), fmt.Sprintf(`"code":%q`, code)) || e.Envelope == "" || !e.Time.Equal(time.Now()) {
				t.Errorf("%s: the entry is %+v %s, want by %s, %s", what, e, e.Detail, by, code)
			}
			if !strings.Contains(a.text, "Reference: "+e.Ref) {
				t.Errorf("%s: the person was shown another reference than %s:\n%s", what, e.Ref, a.text)
			}
		}
		refused(s.ana.presses("BG-1", "Approve"), "approving one's own", ana, grant.OwnRequest)
		refused(s.mia.presses("BG-1", "Approve"), "approving without the right", mia, grant.NotAllowed)
		refused(s.mia.presses("BG-1", "Withdraw"), "withdrawing another's", mia, grant.NotAllowed)
		s.ben.presses("BG-1", "Approve")
		refused(s.ben.presses("BG-1", "Approve"), "approving twice", ben, grant.AlreadyApproved)
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		refused(s.ben.says("extend BG-1 20h"), "more than is allowed", ben, grant.TooLong)
		refused(s.mia.says("revoke BG-1"), "revoking without the right", mia, grant.NotAllowed)
		refused(s.mia.says("emergency cell=helios-prod arn="+vendor+" ticket=1 for=1h reason=now"), "an emergency without the right", mia, grant.NotAllowed)
		s.mia.says("gramt")
		s.mia.says("show BG-77")
		if got := len(s.entries(store.KindRefused)); got != n {
			t.Errorf("words that nobody understood are in the log: %d entries, want %d", got, n)
		}
	}, quiet, approvals(2))
}
