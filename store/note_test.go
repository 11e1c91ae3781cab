package store

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"breakglass/store/grant"
)

// What was changed in AWS is in the log ahead of the event that tells of it, and
// also where the grant makes nothing of the event any more.
func TestCommit_writesAreLogged(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	w := grant.Write{At: t0, Call: "iam:UpdateAssumeRolePolicy", Target: "role", Before: "b4", After: "af", Outcome: grant.WriteDone, Request: "r-1"}
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0})
	n := len(entries(t, s))
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.StepChanged{Step: grant.StepTrust, State: grant.Running, Writes: []grant.Write{w, w}}, Now: t0, Ref: "REF"})
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: bob}, Now: t0})
	_, err := s.Commit(Change{Grant: g.ID, Event: grant.StepChanged{Step: grant.StepTrust, State: grant.Done, Writes: []grant.Write{w}}, Now: t0})
	if _, ok := errors.AsType[*grant.Moot](err); !ok {
		t.Fatalf("a step of opening while it closes answers %v, want that it is moot", err)
	}
	list := entries(t, s)[n:]
	want := []grant.Kind{KindWrite, KindWrite, grant.KindStepChanged, grant.KindRevoke, KindWrite}
	if got := kinds(list); len(got) != len(want) {
		t.Fatalf("the log has %v, want %v", got, want)
	}
	for i, e := range list {
		if e.Kind != want[i] {
			t.Errorf("entry %d is %s, want %s", i, e.Kind, want[i])
		}
	}
	var got grant.Write
	if err := json.Unmarshal(list[0].Detail, &got); err != nil || got != w {
		t.Errorf("the entry has %s (%v), want %+v", list[0].Detail, err, w)
	}
	if e := list[0]; e.Grant != g.ID || e.Ref != "REF" || e.Actor.Kind != grant.Bot || !e.Time.Equal(t0) {
		t.Errorf("the entry is %+v", e)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

// A refusal is in the log once, however often its delivery comes.
func TestRefused(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	n := len(entries(t, s))
	a := Attempt{Keys: []string{"envelope/1", "click/1"}, Actor: eve, What: "click", Grant: g.ID, Code: grant.NotAllowed, Now: t0.Add(time.Minute), Ref: "REF"}
	for range 3 {
		if err := s.Refused(a); err != nil {
			t.Fatal(err)
		}
	}
	list := entries(t, s)[n:]
	if len(list) != 1 {
		t.Fatalf("the log has %d entries more, want 1", len(list))
	}
	e := list[0]
	if e.Kind != KindRefused || e.Actor.User != "U0EVE" || e.Grant != g.ID || e.Ref != "REF" || e.Envelope != "envelope/1" || e.After != grant.Requested {
		t.Errorf("the entry is %+v", e)
	}
	if want := `{"event":"click","code":"not_allowed"}`; string(e.Detail) != want {
		t.Errorf("its detail is %s, want %s", e.Detail, want)
	}
	// The same click does nothing later on.
	if r, err := s.Commit(Change{Keys: a.Keys, Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0}); err != nil || !r.Duplicate {
		t.Errorf("a click that was refused was taken in when it came again (%v)", err)
	}
}

// A message is settled and in the log together.
func TestSaid(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Deny{By: bob}, Now: t0})
	owed, err := s.Owes(g.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range owed {
		if o.Effect.Kind != grant.DoSay {
			continue
		}
		n := len(entries(t, s))
		if err := s.Said(o, grant.Card{Channel: "C1", TS: "1.2"}, t0); err != nil {
			t.Fatal(err)
		}
		list := entries(t, s)[n:]
		if len(list) != 1 || list[0].Kind != KindSaid || string(list[0].Detail) != `{"message":"`+o.Effect.Arg+`","channel":"C1","ts":"1.2"}` {
			t.Errorf("the log has %+v", list)
		}
		if left, _ := s.Owes(g.ID); len(left) != len(owed)-1 {
			t.Errorf("%d are owed after it was said, want %d", len(left), len(owed)-1)
		}
		return
	}
	t.Fatalf("a denial owes no message: %+v", owed)
}
