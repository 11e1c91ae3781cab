package bot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"breakglass/store"
	"breakglass/store/grant"
)

// After a long absence a thousand requests owe their checks, cards, reminders and
// ends of waiting, and two accesses are over: those end at once, and all the rest
// comes to its end, too.
func TestStart_closingsFirst(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=30m", 1))
		s.opens(strings.Replace(askTest(), "for=4h", "for=30m", 1))
		s.stop()
		db, err := store.Open(s.path)
		if err != nil {
			t.Fatal(err)
		}
		const many = 1000 / often
		for n := range many {
			by := grant.UserID(fmt.Sprintf("U%07d", n))
			_, err := db.Commit(store.Change{Now: time.Now(), Event: grant.Request{
				By: grant.Actor{Kind: grant.Person, User: by, Requester: true}, Token: fmt.Sprintf("token%d", n),
				Cell: prod, Account: "444455556666", Region: "us-east-1", Principal: vendor, Ticket: "1", Reason: "many",
				Duration: time.Hour, Terms: grant.Terms{Approvals: 1, Undecided: time.Hour, AWSEnforced: true, Settle: grant.DefaultSettle},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		s.start()
		time.Sleep(2 * time.Second)
		for _, id := range []string{"BG-1", "BG-2"} {
			s.phase(id, grant.Closing)
		}
		s.shut(s.cell)
		s.shut(s.cell2)
		s.proven("BG-1")
		s.proven("BG-2")
		time.Sleep(3 * time.Hour) // Slack takes a message a second
		live, err := s.db.Live()
		if err != nil || len(live) != 0 {
			t.Errorf("%d grants are still live (%v)", len(live), err)
		}
	}, quiet)
}
