package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

func put(t testing.TB, s *Store, id grant.ID, effects ...grant.Effect) {
	t.Helper()
	if err := s.update(func(tx *bbolt.Tx) error { return putEffects(tx, id, effects) }); err != nil {
		t.Fatal(err)
	}
}

func TestOutbox_newerReplacesOlder(t *testing.T) {
	s := newStore(t)
	e := grant.Effect{Kind: grant.DoCard, Due: t0}
	put(t, s, 1, e)
	old, _ := owed(t, s, 1, grant.DoCard, "")
	if done, err := s.Postpone(old, t0.Add(time.Minute)); !done || err != nil {
		t.Fatalf("Postpone = %v, %v", done, err)
	}
	postponed, _ := owed(t, s, 1, grant.DoCard, "")
	if postponed.Seq != old.Seq || postponed.Attempt != 1 || !postponed.Effect.Due.Equal(t0.Add(time.Minute)) {
		t.Errorf("postponed row is %+v", postponed)
	}
	put(t, s, 1, e)
	due, next, err := s.Due(t0, 0, nil, nil)
	if err != nil || len(due) != 1 || due[0].Seq == old.Seq || due[0].Attempt != 0 || !next.IsZero() {
		t.Errorf("Due = %+v, %v, %v, want the newer row alone", due, next, err)
	}
	// Another argument, or another grant, is another effect.
	put(t, s, 1, grant.Effect{Kind: grant.DoSay, Arg: "a", Due: t0}, grant.Effect{Kind: grant.DoSay, Arg: "b", Due: t0, Once: true})
	put(t, s, 2, e)
	if due, _, _ := s.Due(t0, 0, nil, nil); len(due) != 4 {
		t.Errorf("%d rows are due, want 4", len(due))
	}
	if o, _ := owed(t, s, 1, grant.DoSay, "b"); !o.Effect.Once {
		t.Error("Once was lost")
	}
	put(t, s, 1, grant.Effect{Kind: grant.DoCard, Cancel: true}, grant.Effect{Kind: grant.DoCheck, Cancel: true})
	if _, ok := owed(t, s, 1, grant.DoCard, ""); ok {
		t.Error("a cancelled effect is still owed")
	}
	if _, ok := owed(t, s, 2, grant.DoCard, ""); !ok {
		t.Error("another grant's effect was cancelled")
	}
}

func TestDue_order(t *testing.T) {
	s := newStore(t)
	at := t0.Add(time.Hour)
	put(t, s, 1, grant.Effect{Kind: grant.DoSay, Arg: "x", Due: at}, grant.Effect{Kind: grant.DoExpire, Due: at})
	put(t, s, 2, grant.Effect{Kind: grant.DoCard, Due: at}, grant.Effect{Kind: grant.DoClose, Due: at})
	put(t, s, 3, grant.Effect{Kind: grant.DoCard, Due: at.Add(-time.Nanosecond)})
	put(t, s, 4, grant.Effect{Kind: grant.DoClose, Due: at.Add(time.Nanosecond)})
	put(t, s, 5, grant.Effect{Kind: grant.DoClose, Due: t0.AddDate(400, 0, 0)}) // beyond what nanoseconds can count

	type line struct {
		ID   grant.ID
		Kind grant.EffectKind
	}
	lines := func(list []Owed) (out []line) {
		for _, o := range list {
			out = append(out, line{o.Grant, o.Effect.Kind})
		}
		return out
	}
	due, next, err := s.Due(at, 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []line{{3, grant.DoCard}, {2, grant.DoClose}, {1, grant.DoExpire}, {1, grant.DoSay}, {2, grant.DoCard}}
	if diff := cmp.Diff(want, lines(due)); diff != "" {
		t.Errorf("Due (-want +got):\n%s", diff)
	}
	if !next.Equal(at.Add(time.Nanosecond)) {
		t.Errorf("next = %v, want %v", next, at.Add(time.Nanosecond))
	}
	due, next, err = s.Due(at, 2, nil, func(o Owed) bool { return o.Grant == 2 })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]line{{3, grant.DoCard}, {1, grant.DoExpire}}, lines(due)); diff != "" {
		t.Errorf("Due with skip and limit (-want +got):\n%s", diff)
	}
	if !next.Equal(at.Add(time.Nanosecond)) {
		t.Errorf("next = %v with a limit, want %v", next, at.Add(time.Nanosecond))
	}
	if due, next, _ := s.Due(t0, 0, nil, nil); len(due) != 0 || !next.Equal(at.Add(-time.Nanosecond)) {
		t.Errorf("Due before everything = %v, %v", due, next)
	}
	if due, next, _ := s.Due(at.AddDate(1, 0, 0), 0, nil, nil); len(due) != 6 || next.Year() != 2426 {
		t.Errorf("Due a year later = %v, %v", due, next)
	}
	if due, next, err := s.Due(t0.AddDate(500, 0, 0), 0, nil, nil); len(due) != 7 || !next.IsZero() || err != nil {
		t.Errorf("Due after everything = %d rows, %v, %v", len(due), next, err)
	}
}

func TestChanged(t *testing.T) {
	s := newStore(t)
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	ch := s.Changed()
	g := mustRequest(t, s, t0)
	if !closed(ch) {
		t.Error("a request owes work, and nobody was told")
	}
	ch = s.Changed()
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.CardPosted{}, Now: t0})
	if _, err := s.Commit(Change{Grant: g.ID, Event: grant.Approve{By: eve}, Now: t0}); err == nil {
		t.Error("eve approved")
	}
	if closed(ch) {
		t.Error("told of a commit that owes nothing")
	}
	row, _ := owed(t, s, g.ID, grant.DoCard, "")
	if done, err := s.Postpone(row, t0.Add(time.Second)); !done || err != nil {
		t.Fatal(done, err)
	}
	if !closed(ch) {
		t.Error("nobody was told of a postponed row")
	}
}
