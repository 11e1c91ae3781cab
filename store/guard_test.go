package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

const prod grant.CellName = "helios-prod"

// mustLook looks at the cell, as the worker would.
func mustLook(t testing.TB, s *Store, cell grant.CellName, see grant.Survey, now time.Time) {
	t.Helper()
	row, _ := owed(t, s, 0, grant.DoSurvey, string(cell))
	token := func() string { tokens++; return fmt.Sprint("stray-", tokens) }
	if err := s.Look(Looked{Cell: cell, Survey: see, Now: now, Settles: row, Ref: "R3F", Token: token}); err != nil {
		t.Fatalf("Look: %v", err)
	}
}

// mustStray has a cell remember trust that people were told of.
func mustStray(t testing.TB, s *Store, cell grant.CellName, x grant.Trust) grant.Stray {
	t.Helper()
	for i := range 2 {
		mustLook(t, s, cell, surveyed(x), t0.Add(time.Duration(i)*time.Minute))
	}
	g, err := s.Guard(cell)
	if err != nil || len(g.Strays) == 0 || g.Strays[len(g.Strays)-1].Told.IsZero() {
		t.Fatalf("Guard = %+v, %v, want a stray that was told", g, err)
	}
	return g.Strays[len(g.Strays)-1]
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestPatrol(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	surveys := func() string {
		list, err := s.Owes(0)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range list {
			if o.Effect.Kind == grant.DoSurvey {
				out = append(out, fmt.Sprint(o.Effect.Arg, "@", o.Effect.Due.Sub(t0)))
			}
		}
		return strings.Join(out, " ")
	}
	patrol := func(want string, now time.Time, cells ...grant.CellName) {
		t.Helper()
		ch := s.Changed()
		if err := s.Patrol(cells, now); err != nil {
			t.Fatal(err)
		}
		if got := surveys(); got != want {
			t.Errorf("Patrol(%v) owes %q, want %q", cells, got, want)
		}
		if !isClosed(ch) {
			t.Error("nobody was told of the patrol")
		}
	}
	patrol("a@0s b@0s", t0, "a", "b")
	patrol("a@0s b@0s", t0, "b", "a", "b")
	// A start, months later by a clock that was wrong: it is looked at now.
	mustLook(t, s, "a", surveyed(), t0.AddDate(0, 3, 0))
	if row, _ := owed(t, s, 0, grant.DoSurvey, "b"); row.Seq != 0 {
		if done, err := s.Postpone(row, t0.AddDate(1, 0, 0)); !done || err != nil {
			t.Fatal(done, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	patrol("a@1m0s b@1m0s", t0.Add(time.Minute), "a", "b")
	if row, _ := owed(t, s, 0, grant.DoSurvey, "b"); row.Attempt != 0 {
		t.Errorf("the attempts of before count: %+v", row)
	}

	// Nothing that a grant owes is touched, not even of a cell that is not there.
	g := mustOpen(t, s, t0)
	before, err := s.Owes(g.ID)
	if err != nil {
		t.Fatal(err)
	}
	patrol("b@2m0s", t0.Add(2*time.Minute), "b")
	patrol("", t0.Add(2*time.Minute))
	after, err := s.Owes(g.ID)
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("a patrol changed what a grant owes: %v\n%s", err, diff)
	}
	if list := entries(t, s); len(list) != 4 {
		t.Errorf("the audit log has %d entries, want the 4 of the grant", len(list))
	}
}

// TestPatrol_aRenamedCell: what the old name remembers would keep the new one
// silent for ever.
func TestPatrol_aRenamedCell(t *testing.T) {
	s := newStore(t)
	if err := s.Patrol([]grant.CellName{"old", "other"}, t0); err != nil {
		t.Fatal(err)
	}
	x := mustStray(t, s, "old", theirs("Manual"))
	mustLook(t, s, "other", grant.Survey{RoleARN: "arn:aws:iam::444455556666:role/another"}, t0)
	if err := s.Patrol([]grant.CellName{"new", "other"}, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Stray(x.Token); !isRefusal(err, grant.NotFound) {
		t.Errorf("Stray of a cell of before = %v, want NotFound", err)
	}
	if list, err := s.Guards(); err != nil || len(list) != 1 || list[0].Cell != "other" || list[0].At.IsZero() {
		t.Errorf("Guards = %+v, %v, want the other cell alone", list, err)
	}
	y := mustStray(t, s, "new", theirs("Manual"))
	if cell, got, err := s.Stray(y.Token); err != nil || cell != "new" || got.Token == x.Token {
		t.Errorf("Stray = %s, %+v, %v", cell, got, err)
	}
}

func isRefusal(err error, code grant.Code) bool {
	r, ok := errors.AsType[*grant.Refusal](err)
	return ok && r.Code == code
}

// TestLook_firstOfAnEmptyStore: nothing of ours can be on its way in or out, so the
// first look at each cell is enough. With a grant it is not, nor is a later look.
func TestLook_firstOfAnEmptyStore(t *testing.T) {
	told := func(s *Store, cell grant.CellName) int {
		t.Helper()
		g, err := s.Guard(cell)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, x := range g.Strays {
			if _, is := owed(t, s, 0, grant.DoStray, grant.StrayArg(cell, x.Token)); is && !x.Told.IsZero() {
				n++
			}
		}
		return n
	}
	s := newStore(t)
	other := surveyed(theirs("Manual"))
	other.RoleARN += "-2"
	mustLook(t, s, prod, surveyed(ours(7), theirs("Manual")), t0)
	mustLook(t, s, "other", other, t0)
	if n, m := told(s, prod), told(s, "other"); n != 2 || m != 1 {
		t.Errorf("%d and %d are told after the first looks, want 2 and 1", n, m)
	}
	if list := entries(t, s); len(list) != 3 {
		t.Errorf("the log: %+v", list)
	}
	mustLook(t, s, prod, surveyed(ours(7), theirs("Manual"), theirs("Late")), t0.Add(time.Minute))
	if n := told(s, prod); n != 2 {
		t.Errorf("%d are told after a second look, want 2", n)
	}
	if g := mustRequest(t, s, t0); g.ID != 8 {
		t.Errorf("the next grant is %s, want BG-8", g.ID)
	}

	s = newStore(t)
	mustRequest(t, s, t0)
	mustLook(t, s, prod, surveyed(ours(7)), t0)
	if n := told(s, prod); n != 0 {
		t.Errorf("%d are told after the first look of a store with a grant, want none", n)
	}
}

func TestLook(t *testing.T) {
	s := newStore(t)
	if err := s.Patrol([]grant.CellName{prod}, t0); err != nil {
		t.Fatal(err)
	}
	mustLook(t, s, prod, surveyed(), t0.Add(-time.Minute))
	first, _ := owed(t, s, 0, grant.DoSurvey, string(prod))
	ch := s.Changed()
	mustLook(t, s, prod, surveyed(theirs("Manual")), t0)
	second, ok := owed(t, s, 0, grant.DoSurvey, string(prod))
	if !ok || second.Seq == first.Seq || !second.Effect.Due.Equal(t0.Add(grant.SurveyAgain)) || second.Grant != 0 {
		t.Errorf("after a look %+v is owed, %v", second, ok)
	}
	if !isClosed(ch) {
		t.Error("nobody was told of the next look")
	}
	if list := entries(t, s); len(list) != 0 {
		t.Errorf("what nobody is told is in the log: %+v", list)
	}
	mustLook(t, s, prod, surveyed(theirs("Manual")), t0.Add(time.Minute).In(time.FixedZone("east", 3600)))
	g, err := s.Guard(prod)
	if err != nil || len(g.Strays) != 1 || g.Cell != prod || !g.At.Equal(t0.Add(time.Minute)) || g.At.Location() != time.UTC {
		t.Fatalf("Guard = %+v, %v", g, err)
	}
	x := g.Strays[0]
	message, ok := owed(t, s, 0, grant.DoStray, grant.StrayArg(prod, x.Token))
	if !ok || !message.Effect.Due.Equal(t0.Add(time.Minute)) {
		t.Errorf("the message is owed as %+v, %v", message, ok)
	}
	// It is due like any other row.
	if due, _, err := s.Due(t0.Add(time.Minute), 0, nil, nil); err != nil || len(due) != 1 || due[0] != message {
		t.Errorf("Due = %+v, %v", due, err)
	}
	at := grant.Card{Channel: "C1", TS: "1.1"}
	if err := s.Posted(prod, x.Token, at, message); err != nil {
		t.Fatal(err)
	}
	if _, ok := owed(t, s, 0, grant.DoStray, message.Effect.Arg); ok {
		t.Error("the message that was posted is still owed")
	}
	if cell, got, err := s.Stray(x.Token); err != nil || cell != prod || got.Card != at {
		t.Errorf("Stray = %s, %+v, %v", cell, got, err)
	}

	for i, see := range []grant.Survey{surveyed(), unseen(), unseen()} {
		mustLook(t, s, prod, see, t0.Add(time.Duration(6+i)*time.Minute))
	}
	want := []string{
		`stray {"cell":"helios-prod","role_arn":"arn:aws:iam::444455556666:role/ssm-access-from-other-accounts","sid":"Manual","principal":"arn:aws:iam::111122223333:role/support"}`,
		`stray {"cell":"helios-prod","role_arn":"arn:aws:iam::444455556666:role/ssm-access-from-other-accounts","sid":"Manual","principal":"arn:aws:iam::111122223333:role/support","gone":true}`,
		`blind {"cell":"helios-prod","text":"No such role."}`,
	}
	var got []string
	for _, e := range entries(t, s) {
		got = append(got, fmt.Sprint(e.Kind, " ", string(e.Detail)))
		if e.Grant != 0 || e.Actor != grant.Self() || e.Ref != "R3F" || e.Before != "" || e.After != "" || e.Time.Location() != time.UTC {
			t.Errorf("an entry about a cell is %+v", e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

func unseen() grant.Survey {
	return grant.Survey{Trouble: &grant.Trouble{Kind: grant.Refused, Step: grant.StepCheck, Text: "No such role.", Cause: errors.New("secret")}}
}

// TestLook_isWholeOrNot: a look that fails on the way has changed nothing.
func TestLook_isWholeOrNot(t *testing.T) {
	s := newStore(t)
	if err := s.Patrol([]grant.CellName{prod}, t0); err != nil {
		t.Fatal(err)
	}
	row, _ := owed(t, s, 0, grant.DoSurvey, string(prod))
	bad := func(name string, l Looked) {
		t.Helper()
		l.Settles, l.Now = row, t0
		if err := s.Look(l); err == nil {
			t.Errorf("%s was taken in", name)
		}
		if now, ok := owed(t, s, 0, grant.DoSurvey, string(prod)); !ok || now != row {
			t.Errorf("%s: owed is %+v, %v", name, now, ok)
		}
		if list, err := s.Guards(); err != nil || len(list) != 0 {
			t.Errorf("%s: %+v is remembered, %v", name, list, err)
		}
		if g := mustRequest(t, s, t0); uint64(g.ID) > 50 {
			t.Errorf("%s: the next grant is %s", name, g.ID)
		}
	}
	token := func() string { return "t" }
	bad("a look at no cell", Looked{Survey: surveyed(ours(70)), Token: token})
	bad("a look without tokens", Looked{Cell: prod, Survey: surveyed(ours(70))})
	mustLook(t, s, prod, surveyed(), t0) // and the lock was given back
}

// TestLook_idsOfStatementsAreNotGivenOut: after the loss of a database its
// statements still stand, and a new grant of the same number would own them.
func TestLook_idsOfStatementsAreNotGivenOut(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	if g := mustRequest(t, s, t0); g.ID != 1 {
		t.Fatalf("the first grant is %s", g.ID)
	}
	mustLook(t, s, prod, surveyed(ours(7), ours(5), theirs("Manual"), grant.Trust{Sid: "BreakglassBG0"}), t0)
	if g := mustRequest(t, s, t0); g.ID != 8 {
		t.Errorf("after BG-7 was seen comes %s", g.ID)
	}
	mustLook(t, s, prod, surveyed(ours(3)), t0) // an older one takes nothing back
	mustLook(t, s, prod, unseen(), t0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	if g := mustRequest(t, s, t0); g.ID != 9 {
		t.Errorf("then comes %s", g.ID)
	}
}

// TestLook_idsFarAbove: whoever may write the trust policy cannot use the numbers
// up, nor make them unreadable.
func TestLook_idsFarAbove(t *testing.T) {
	s := newStore(t)
	if g := mustRequest(t, s, t0); g.ID != 1 {
		t.Fatalf("the first grant is %s", g.ID)
	}
	for _, id := range []grant.ID{1 + farthestID + 1, 1<<53 - 1, 1 << 53, 999999999999999999, 1<<64 - 1} {
		mustLook(t, s, prod, surveyed(ours(id)), t0)
	}
	if g := mustRequest(t, s, t0); g.ID != 2 {
		t.Errorf("after statements of far too high ids comes %s", g.ID)
	}
	// One look cannot climb by itself, in whatever order.
	mustLook(t, s, prod, surveyed(ours(2+farthestID), ours(2+2*farthestID), ours(3), ours(2+farthestID+1)), t0)
	g := mustRequest(t, s, t0)
	if got, err := s.Grant(g.ID); err != nil || got.ID != g.ID || g.ID != 2+farthestID+1 {
		t.Errorf("after the highest that counts comes %s: %v", g.ID, err)
	}
}

// TestLook_doesNotPutOffANewerOne: while a look was under way a grant ended, and
// with it came to be owed a look that would see it.
func TestLook_doesNotPutOffANewerOne(t *testing.T) {
	s := newStore(t)
	if err := s.Patrol([]grant.CellName{prod}, t0); err != nil {
		t.Fatal(err)
	}
	x := mustStray(t, s, prod, theirs("Manual"))
	started, ok := owed(t, s, 0, grant.DoSurvey, string(prod))
	if !ok {
		t.Fatal("no look is owed")
	}
	g := mustCommit(t, s, Change{Event: removal("tok-removal", x), Now: t0})
	now := t0
	for i, r := range closingRounds(t0) {
		now = t0.Add(time.Duration(i) * time.Minute)
		g = mustCommit(t, s, Change{Grant: g.ID, Event: r, Now: now})
	}
	wanted, _ := owed(t, s, 0, grant.DoSurvey, string(prod))
	if g.Phase != grant.Closed || wanted.Seq == started.Seq || !wanted.Effect.Due.Equal(now) {
		t.Fatalf("%s is %s; owed is %+v", g.ID, g.Phase, wanted)
	}
	look := Looked{Cell: prod, Survey: surveyed(theirs("Manual")), Now: now.Add(time.Second), Settles: started, Token: func() string { return "t" }}
	if err := s.Look(look); err != nil {
		t.Fatal(err)
	}
	if row, _ := owed(t, s, 0, grant.DoSurvey, string(prod)); row != wanted {
		t.Errorf("the look that began before put off the one that is wanted: %+v, want %+v", row, wanted)
	}
	look.Survey, look.Settles = surveyed(), wanted
	if err := s.Look(look); err != nil {
		t.Fatal(err)
	}
	if row, _ := owed(t, s, 0, grant.DoSurvey, string(prod)); !row.Effect.Due.Equal(look.Now.Add(grant.SurveyEvery)) {
		t.Errorf("the next look is owed as %+v", row)
	}
	if _, got, err := s.Stray(x.Token); err != nil || got.Gone.IsZero() {
		t.Errorf("the stray that was removed: %+v, %v", got, err)
	}
}

// TestLook_seesTheGrantsAsTheyAre: what the look has read in AWS is judged by the
// grants of the moment of the commit.
func TestLook_seesTheGrantsAsTheyAre(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	mustLook(t, s, prod, surveyed(ours(g.ID), theirs("Manual")), t0)
	mustLook(t, s, "two", surveyed(ours(g.ID)), t0) // the role's other cell
	for _, cell := range []grant.CellName{prod, "two"} {
		if known, err := s.Guard(cell); err != nil || len(known.Strays) != 0 {
			t.Errorf("what an open grant explains is a stray of %s: %+v, %v", cell, known.Strays, err)
		}
	}
	x := mustStray(t, s, prod, ours(99))
	// The other cell knows that it was told.
	mustLook(t, s, "two", surveyed(ours(99)), t0)
	if known, err := s.Guard("two"); err != nil || len(known.Strays) != 0 {
		t.Errorf("told by two cells: %+v, %v", known.Strays, err)
	}
	// Before it was removed it was there; now a grant takes it out.
	r := mustCommit(t, s, Change{Event: removal("tok-r", x), Now: t0})
	mustLook(t, s, prod, surveyed(ours(99)), t0.Add(2*time.Minute))
	if _, got, err := s.Stray(x.Token); err != nil || !got.Gone.IsZero() || got.By != r.ID {
		t.Errorf("while it is removed: %+v, %v", got, err)
	}
}

func TestGuards_surviveTheDisk(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range []grant.CellName{"b", "a", "a b"} {
		if g, err := s.Guard(cell); err != nil || g.Cell != cell || !g.At.IsZero() {
			t.Errorf("Guard of what was never looked at = %+v, %v", g, err)
		}
		mustLook(t, s, cell, surveyed(theirs("<&>\u2028 "+string(cell))), t0)
	}
	if err := s.Posted("nowhere", "nobody's", grant.Card{TS: "1"}, Owed{}); err != nil {
		t.Errorf("Posted = %v", err)
	}
	for _, token := range []string{"", "nobody's", "blind:1"} {
		if cell, x, err := s.Stray(token); !isRefusal(err, grant.NotFound) || cell != "" {
			t.Errorf("Stray(%q) = %s, %+v, %v", token, cell, x, err)
		}
	}
	before, err := s.Guards()
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := errors.Join(s.Backup(&backup), s.Close()); err != nil {
		t.Fatal(err)
	}
	copied := path(t)
	if err := os.WriteFile(copied, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{p, copied} {
		after, err := openAt(t, p).Guards()
		if diff := cmp.Diff(before, after, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("Guards of %s: %v\n%s", p, err, diff)
		}
	}
}

// TestGuards_damaged: what cannot be read is not overwritten as if it were
// nothing.
func TestGuards_damaged(t *testing.T) {
	for name, data := range map[string]string{
		"no JSON":            "{",
		"an unknown field":   `{"cell":"helios-prod","novel":1}`,
		"in another's place": `{"cell":"helios-two"}`,
		"two values":         `{"cell":"helios-prod"}{}`,
	} {
		s := newStore(t)
		put := func(tx *bbolt.Tx) error { return tx.Bucket(bucketGuards).Put([]byte(prod), []byte(data)) }
		if err := s.update(put); err != nil {
			t.Fatal(err)
		}
		look := Looked{Cell: prod, Survey: surveyed(), Now: t0, Token: func() string { return "t" }}
		for what, err := range map[string]error{
			"Guard": second(s.Guard(prod)), "Guards": second(s.Guards()), "Look": s.Look(look), "Posted": s.Posted(prod, "t", grant.Card{}, Owed{}),
		} {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %s = %v, want ErrDamaged", name, what, err)
			}
		}
		if err := s.view(func(tx *bbolt.Tx) error {
			if got := string(tx.Bucket(bucketGuards).Get([]byte(prod))); got != data {
				t.Errorf("%s: it was overwritten with %s", name, got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, s, t0) // grants go on, until the next start
	}
}

// TestCommit_alone: many people press at once, and one of them is heard.
func TestCommit_alone(t *testing.T) {
	s := newStore(t)
	x := mustStray(t, s, prod, theirs("Manual"))
	const people = 16
	var began, refused atomic.Int32
	var group sync.WaitGroup
	for i := range people {
		group.Go(func() {
			var ev grant.Event = removal(fmt.Sprint("tok-r", i), x)
			if i%2 == 0 {
				r := request(fmt.Sprint("tok-a", i))
				r.Stray, r.Takes = x.Token, x.ID
				ev = r
			}
			keys := []string{fmt.Sprint("click-", i)}
			res, err := s.Commit(Change{Keys: keys, Event: ev, Now: t0})
			switch {
			case err == nil && !res.Duplicate:
				began.Add(1)
			case isRefusal(err, grant.WrongPhase):
				refused.Add(1)
				if res.Grant.ID != 0 {
					t.Errorf("refused, and yet %s", res.Grant.ID)
				}
				// The same click, delivered again, is answered by nothing.
				if again, err := s.Commit(Change{Keys: keys, Event: ev, Now: t0}); err != nil || !again.Duplicate || again.Grant.ID != 0 {
					t.Errorf("again: %+v, %v", again, err)
				}
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	live, err := s.Live()
	if err != nil {
		t.Fatal(err)
	}
	// Removing is stronger than a request that nobody has decided.
	removals := 0
	for _, g := range live {
		if g.Removal {
			removals++
		}
	}
	if removals != 1 || len(live) > 2 || int(began.Load()) != len(live) || began.Load()+refused.Load() != people {
		t.Errorf("%d removals, %d live, %d began, %d refused", removals, len(live), began.Load(), refused.Load())
	}
	// A refused one uses no id.
	if g := mustRequest(t, s, t0); int(g.ID) != len(live)+1 {
		t.Errorf("the next grant is %s after %d", g.ID, len(live))
	}
	// When the removal is over, it may be pressed again.
	for _, g := range live {
		if g.Removal {
			for i, r := range closingRounds(t0) {
				mustCommit(t, s, Change{Grant: g.ID, Event: r, Now: t0.Add(time.Duration(i) * time.Minute)})
			}
		}
	}
	mustCommit(t, s, Change{Event: removal("tok-later", x), Now: t0.Add(time.Hour)})
}

func TestCommit_removal(t *testing.T) {
	s := newStore(t)
	x := mustStray(t, s, prod, ours(3))
	n := len(entries(t, s))
	for name, c := range map[string]Change{
		"of a grant":         {Grant: 1, Event: removal("tok", x)},
		"without a token":    {Event: removal("", x)},
		"with a taken token": {Event: removal(mustRequest(t, s, t0).Token, x)},
	} {
		c.Now = t0
		if r, err := s.Commit(c); err == nil {
			t.Errorf("%s: Commit = %+v, want an error", name, r)
		}
	}
	stranger := removal("tok-e", x)
	stranger.By = eve
	if _, err := s.Commit(Change{Event: stranger, Now: t0}); !isRefusal(err, grant.NotAllowed) {
		t.Errorf("eve removes: %v", err)
	}
	g := mustCommit(t, s, Change{Keys: []string{"click"}, Event: removal("tok-r", x), Now: t0})
	if _, ok := owed(t, s, g.ID, grant.DoClose, ""); !ok {
		t.Error("a removal owes no closing")
	}
	// What is owed for the cell is not the grant's.
	if o, ok := owed(t, s, 0, grant.DoStray, grant.StrayArg(prod, x.Token)); !ok || o.Grant != 0 {
		t.Errorf("the stray's message is owed as %+v, %v", o, ok)
	}
	list, err := s.Owes(g.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if o.Effect.Kind.OfCell() {
			t.Errorf("%s owes %+v, which is the cell's", g.ID, o)
		}
	}
	// Its closing cannot be lost, by whatever is settled for the cell.
	row, _ := owed(t, s, g.ID, grant.DoClose, "")
	if done, err := s.Settle(row); err == nil {
		t.Errorf("Settle of a removal's closing = %v, want an error", done)
	}
	row.Grant = 0
	if done, err := s.Settle(row); done || err != nil {
		t.Errorf("Settle in the name of the cell = %v, %v", done, err)
	}
	if byToken, err := s.ByToken("tok-r"); err != nil || byToken.ID != g.ID || !byToken.Removal {
		t.Errorf("ByToken = %+v, %v", byToken, err)
	}
	var details []string
	for _, e := range entries(t, s)[n:] {
		details = append(details, fmt.Sprint(e.Kind, " ", e.Before, ">", e.After, " ", string(e.Detail)))
	}
	want := []string{
		`request >requested ` + string(entries(t, s)[n].Detail),
		`refused > {"event":"remove","code":"not_allowed"}`,
		`remove >closing {"cell":"helios-prod","role_arn":"arn:aws:iam::444455556666:role/ssm-access-from-other-accounts","sid":"BreakglassBG3","principal":"arn:aws:iam::111122223333:role/support","end":"2026-11-23T10:00:00Z"}`,
	}
	if diff := cmp.Diff(want, details); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	// A message about the cell can be settled without any grant.
	if o, ok := owed(t, s, 0, grant.DoStray, grant.StrayArg(prod, x.Token)); ok {
		if done, err := s.Postpone(o, t0.Add(time.Minute)); !done || err != nil {
			t.Errorf("Postpone = %v, %v", done, err)
		}
		if done, err := s.Settle(o); !done || err != nil {
			t.Errorf("Settle = %v, %v", done, err)
		}
	}
}

// TestCommit_auditOfNewDecisions: what was agreed to, and what opening would have
// done instead.
func TestCommit_auditOfNewDecisions(t *testing.T) {
	s := newStore(t)
	x := mustStray(t, s, prod, ours(3))
	told := len(entries(t, s))
	adopts := request("tok-a")
	adopts.Stray, adopts.Takes = x.Token, 3
	g := mustCommit(t, s, Change{Event: adopts, Now: t0})
	moved := &grant.Redirect{From: "/old", To: "/new"}
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.CheckDone{Report: grant.Report{At: t0, Redirect: moved}}, Now: t0})
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Approve{By: bob, Yes: moved.Yes()}, Now: t0})
	g = mustCommit(t, s, Change{Grant: g.ID, Event: grant.Replanned{Trouble: grant.Trouble{Kind: grant.Changed, Step: grant.StepCheck, Text: "Another instance.", Cause: errors.New("secret")}}, Now: t0})
	if g.Phase != grant.Requested {
		t.Errorf("asked again as %s", g.Phase)
	}
	if _, ok := owed(t, s, g.ID, grant.DoExpire, ""); ok {
		t.Error("a request owes an end")
	}
	want := []string{
		`"approvals":1,"stray":"` + x.Token + `","takes":3}`,
		`{"findings":{}}`,
		`"redirect":{"from":"/old","to":"/new"}}`,
		`{"kind":"changed","step":"check","text":"Another instance."}`,
	}
	for i, e := range entries(t, s)[told:] {
		if !strings.HasSuffix(string(e.Detail), want[i]) {
			t.Errorf("%s: %s, want %s", e.Kind, e.Detail, want[i])
		}
	}
	// A log that begins late is in the log.
	open := mustOpen(t, s, t0)
	for i, see := range []grant.Sighting{
		{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}}},
		{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}}, Unlogged: []string{"x"}},
		{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}}, Logged: []string{"x"}},
	} {
		mustCommit(t, s, Change{Grant: open.ID, Event: grant.Watched{Sighting: see}, Now: t0.Add(time.Duration(2*i) * time.Minute)})
	}
	list := entries(t, s)
	if got := string(list[len(list)-1].Detail); got != `{"logged":["x"]}` {
		t.Errorf("the last entry says %s", got)
	}
}

// TestCommit_bystanders: who else is open on the role learns what another grant's
// change means to them, and nobody else does.
func TestCommit_bystanders(t *testing.T) {
	s := newStore(t)
	role := func(suffix string) grant.Access {
		a := access(t0)
		a.RoleARN += suffix
		return a
	}
	open := func(cell grant.CellName, a grant.Access) grant.Grant {
		tokens++
		r := request(fmt.Sprint("token-", tokens))
		r.Cell, r.Principal = cell, grant.RoleARN(fmt.Sprint(support, "-", tokens))
		g := mustCommit(t, s, Change{Event: r, Now: t0})
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0})
		return mustCommit(t, s, Change{Grant: g.ID, Event: grant.OpenDone{Access: a}, Now: t0})
	}
	settleCards := func() {
		t.Helper()
		due, _, err := s.Due(t0.AddDate(1, 0, 0), 0, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range due {
			if o.Effect.Kind != grant.DoCard && o.Effect.Kind != grant.DoSay {
				continue
			}
			if done, err := s.Settle(o); err != nil || !done {
				t.Fatal(done, err)
			}
		}
	}
	cards := func(kind grant.EffectKind, arg string) string {
		var out []string
		live, err := s.Live()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range live {
			if _, ok := owed(t, s, g.ID, kind, arg); ok {
				out = append(out, g.ID.String())
			}
		}
		return strings.Join(out, " ")
	}
	want := func(when, cardsWant, cutWant, arg string) {
		t.Helper()
		if got := cards(grant.DoCard, ""); got != cardsWant {
			t.Errorf("%s: cards of %q, want %q", when, got, cardsWant)
		}
		if got := cards(grant.DoSay, arg); got != cutWant {
			t.Errorf("%s: cut are %q, want %q", when, got, cutWant)
		}
		settleCards()
	}
	upper := role("")
	upper.RoleARN = strings.ToUpper(upper.RoleARN)
	open(prod, role(""))   // BG-1
	open(prod, role("-2")) // BG-2
	open("two", upper)     // BG-3, the same role through another cell
	asked := mustRequest(t, s, t0)
	approved := mustCommit(t, s, Change{Grant: asked.ID, Event: grant.Approve{By: bob}, Now: t0}) // BG-4
	settleCards()

	mustCommit(t, s, Change{Grant: approved.ID, Event: grant.OpenDone{Access: role("")}, Now: t0})
	want("BG-4 opens", "BG-1 BG-3 BG-4", "", "cut:BG-4")
	mustCommit(t, s, Change{Grant: approved.ID, Event: grant.Revoke{By: alice}, Now: t0})
	want("BG-4 is revoked", "BG-1 BG-3 BG-4", "", "cut:BG-4")
	rounds := closingRounds(t0)
	mustCommit(t, s, Change{Grant: approved.ID, Event: rounds[0], Now: t0})
	want("BG-4 cuts", "BG-4", "BG-1 BG-3", "cut:BG-4")
	mustCommit(t, s, Change{Grant: approved.ID, Event: rounds[1], Now: t0.Add(time.Minute)})
	want("BG-4 is closed", "", "", "cut:BG-4")

	x := mustStray(t, s, prod, theirs("Manual"))
	settleCards()
	r := mustCommit(t, s, Change{Event: removal("tok-r", x), Now: t0}) // BG-5
	want("a removal begins", r.ID.String(), "", "cut:"+r.ID.String())
	mustCommit(t, s, Change{Grant: r.ID, Event: rounds[0], Now: t0})
	want("a removal cuts", r.ID.String(), "BG-1 BG-3", "cut:"+r.ID.String())

	// One that was approved before the checks were done, and was given up.
	early := mustRequest(t, s, t0) // BG-6
	settleCards()
	for _, ev := range []grant.Event{
		grant.Approve{By: bob},
		grant.StepChanged{Step: grant.StepTrust, State: grant.Running},
		grant.OpenFailed{Trouble: grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "No."}},
		rounds[0],
	} {
		early = mustCommit(t, s, Change{Grant: early.ID, Event: ev, Now: t0})
	}
	if early.Report != nil || early.Access != nil {
		t.Fatalf("the role of %s is known: %+v", early.ID, early.Report)
	}
	// Which role that was is not known any more, so who is in the same cell is told.
	want("BG-6 cuts", "BG-6", "BG-1 BG-2", "cut:BG-6")

	// None of this is an event of theirs.
	for _, id := range []grant.ID{1, 2, 3} {
		if g, err := s.Grant(id); err != nil || g.Phase != grant.Open || g.Version != 3 {
			t.Errorf("%s: %s in version %d, %v", id, g.Phase, g.Version, err)
		}
	}
}

// TestOpen_upgradesFrom2 opens a database that knew nothing of cells: the index
// finds the open grants of a role afterwards, and nothing is owed twice.
func TestOpen_upgradesFrom2(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s, t0)
	open := mustOpen(t, s, t0)
	closing := mustOpen(t, s, t0)
	mustCommit(t, s, Change{Grant: closing.ID, Event: grant.Revoke{By: alice}, Now: t0})
	asked := mustRequest(t, s, t0)
	before, _, err := s.Due(t0.AddDate(1, 0, 0), 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := entries(t, s)
	index := func(s *Store) map[uint64]string {
		out := map[uint64]string{}
		if err := s.view(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketLive).ForEach(func(k, v []byte) error {
				id, err := keyID(k)
				out[uint64(id)] = string(v)
				return err
			})
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := index(s)
	if role := "open\x00" + access(t0).RoleARN; want[uint64(open.ID)] != role || want[uint64(closing.ID)] != "closing\x00" || want[uint64(asked.ID)] != "requested\x00U0ALICE" {
		t.Errorf("the index holds %v", want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rawDB(t, p, func(db *bbolt.DB) {
		err := db.Update(func(tx *bbolt.Tx) error {
			live := tx.Bucket(bucketLive)
			for id, v := range want { // as version 2 wrote it
				phase, _, _ := strings.Cut(v, "\x00")
				if err := live.Put(seqKey(id), []byte(phase)); err != nil {
					return err
				}
			}
			return errors.Join(tx.DeleteBucket(bucketGuards), tx.Bucket(bucketMeta).Put(metaSchema, seqKey(2)))
		})
		if err != nil {
			t.Fatal(err)
		}
	})

	s = openAt(t, p)
	if diff := cmp.Diff(want, index(s)); diff != "" {
		t.Errorf("the index (-want +got):\n%s", diff)
	}
	after, _, err := s.Due(t0.AddDate(1, 0, 0), 0, nil, nil)
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("what is owed: %v (-before +after):\n%s", err, diff)
	}
	if diff := cmp.Diff(log, entries(t, s)); diff != "" {
		t.Errorf("the audit log (-before +after):\n%s", diff)
	}
	if list, err := s.Guards(); err != nil || len(list) != 0 {
		t.Errorf("Guards = %v, %v", list, err)
	}
	mustLook(t, s, prod, surveyed(ours(99)), t0)
	// The open one is found by its role.
	card, _ := owed(t, s, open.ID, grant.DoCard, "")
	if done, err := s.Settle(card); !done || err != nil {
		t.Fatal(done, err)
	}
	mustOpen(t, s, t0)
	if _, ok := owed(t, s, open.ID, grant.DoCard, ""); !ok {
		t.Error("the grant of before is not found by its role")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p) // the second start has nothing to do, and forgets nothing
	if g, err := s.Guard(prod); err != nil || len(g.Strays) != 1 {
		t.Errorf("Guard after the second start = %+v, %v", g, err)
	}
}
