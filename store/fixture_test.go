package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

var t0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var (
	alice = grant.Actor{Kind: grant.Person, User: "U0ALICE", Requester: true}
	bob   = grant.Actor{Kind: grant.Person, User: "U0BOB", Approver: true}
	carol = grant.Actor{Kind: grant.Person, User: "U0CAROL", Approver: true}
	eve   = grant.Actor{Kind: grant.Person, User: "U0EVE"}
	mia   = grant.Actor{Kind: grant.Person, User: "U0MIA", Emergency: true}
)

func path(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "breakglass.db")
}

// openAt opens a database that is checked, page by page and entry by entry,
// when the test ends.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func newStore(t testing.TB) *Store {
	t.Helper()
	p := path(t)
	t.Cleanup(func() { checkDB(t, p) }) // runs after Close
	s := openAt(t, p)
	return s
}

func checkDB(t testing.TB, path string) {
	t.Helper()
	rawDB(t, path, func(db *bbolt.DB) {
		err := db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("consistency check: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("consistency check: %v", err)
		}
	})
}

// rawDB opens the closed database as bbolt sees it.
func rawDB(t testing.TB, path string, fn func(db *bbolt.DB)) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatalf("open with bbolt: %v", err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Errorf("close with bbolt: %v", err)
		}
	}()
	fn(db)
}

func terms() grant.Terms {
	return grant.Terms{
		Approvals: 1, Undecided: time.Hour, AWSEnforced: true, Settle: time.Minute,
		Reminders: grant.Reminders{
			Undecided: 10 * time.Minute, Unsent: 15 * time.Minute, StillOpen: 2 * time.Hour,
			BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute},
		},
	}
}

func request(token string) grant.Request {
	return grant.Request{
		By: alice, Token: token, Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "stuck node pool",
		Duration: 4 * time.Hour, Terms: terms(),
	}
}

func access(now time.Time) grant.Access {
	return grant.Access{
		At: now, End: now.Add(4 * time.Hour), RoleARN: "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts",
		RoleName: "ssm-access-from-other-accounts", InstanceID: "i-0123456789abcdef0", LogGroup: "/aws/ssm/helios-prod/cluster",
		Statement: `{"Sid":"BreakglassBG1"}`, TrustBefore: "aa", TrustAfter: "bb",
	}
}

const support = "arn:aws:iam::111122223333:role/support"

// ours is a statement of a grant, theirs one that somebody else wrote.
func ours(id grant.ID) grant.Trust {
	return grant.Trust{Sid: id.Sid(), Principal: support, ID: id, End: t0.Add(time.Hour)}
}

func theirs(sid string) grant.Trust { return grant.Trust{Sid: sid, Principal: support} }

func surveyed(list ...grant.Trust) grant.Survey {
	a := access(t0)
	return grant.Survey{RoleARN: a.RoleARN, RoleName: a.RoleName, Trust: list}
}

// urgent asks for an emergency.
func urgent(token string) grant.Request {
	r := request(token)
	r.By, r.Emergency = mia, true
	return r
}

// removal takes a stray away.
func removal(token string, x grant.Stray) grant.Remove {
	r := request(token)
	return grant.Remove{By: bob, Token: token, Cell: r.Cell, Account: r.Account, Region: r.Region, Terms: r.Terms, Stray: x}
}

// closingRounds are two rounds that prove a closing, a settle time apart.
func closingRounds(start time.Time) []grant.CloseRound {
	round := grant.Round{
		Trust: grant.Outcome{Done: true}, Credentials: grant.Outcome{Done: true}, Sessions: grant.Outcome{Done: true},
		CutOff: start.Add(2 * time.Minute),
	}
	first := round
	first.Removed = []string{"BreakglassBG1"}
	first.TrustBefore, first.TrustAfter = "bb", "aa"
	first.Ended = []grant.Session{{ID: "support-0a1b"}}
	return []grant.CloseRound{{Round: first}, {Round: round}}
}

func mustCommit(t testing.TB, s *Store, c Change) grant.Grant {
	t.Helper()
	r, err := s.Commit(c)
	if err != nil {
		t.Fatalf("Commit(%s): %v", c.Event.Kind(), err)
	}
	return r.Grant
}

var tokens int

func mustRequest(t testing.TB, s *Store, now time.Time) grant.Grant {
	t.Helper()
	tokens++
	return mustCommit(t, s, Change{Event: request(fmt.Sprintf("token-%d", tokens)), Now: now})
}

func mustOpen(t testing.TB, s *Store, now time.Time) grant.Grant {
	t.Helper()
	g := mustRequest(t, s, now)
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Approve{By: bob}, Now: now})
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.StepChanged{Step: grant.StepTrust, State: grant.Running}, Now: now})
	return mustCommit(t, s, Change{Grant: g.ID, Event: grant.OpenDone{Access: access(now)}, Now: now})
}

func mustClose(t testing.TB, s *Store, now time.Time) grant.Grant {
	t.Helper()
	g := mustOpen(t, s, now)
	g = mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: alice, Why: "done"}, Now: now})
	for i, r := range closingRounds(now) {
		g = mustCommit(t, s, Change{Grant: g.ID, Event: r, Now: now.Add(time.Duration(i) * time.Minute)})
	}
	if g.Phase != grant.Closed {
		t.Fatalf("the grant is %s, want closed", g.Phase)
	}
	return g
}

func owed(t testing.TB, s *Store, id grant.ID, kind grant.EffectKind, arg string) (Owed, bool) {
	t.Helper()
	list, err := s.Owes(id)
	if err != nil {
		t.Fatalf("Owes: %v", err)
	}
	for _, o := range list {
		if o.Effect.Kind == kind && o.Effect.Arg == arg {
			return o, true
		}
	}
	return Owed{}, false
}
