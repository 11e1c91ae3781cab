package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

func entries(t testing.TB, s *Store) []Entry {
	t.Helper()
	var list []Entry
	for e, err := range s.Entries(0) {
		if err != nil {
			t.Fatalf("Entries: %v", err)
		}
		list = append(list, e)
	}
	return list
}

func kinds(list []Entry) []grant.Kind {
	var out []grant.Kind
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return out
}

func TestCommit_wholeLife(t *testing.T) {
	s := newStore(t)
	g := mustClose(t, s, t0)

	got, err := s.Grant(g.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the stored grant is not the one that Commit answered (-answered +stored):\n%s", diff)
	}
	if byToken, err := s.ByToken(g.Token); err != nil || byToken.ID != g.ID {
		t.Errorf("ByToken = %v, %v, want %v", byToken.ID, err, g.ID)
	}
	if live, err := s.Live(); err != nil || len(live) != 0 {
		t.Errorf("Live = %v, %v, want none", live, err)
	}
	if _, ok := owed(t, s, g.ID, grant.DoClose, ""); ok {
		t.Error("a closed grant owes a closing")
	}
	if _, ok := owed(t, s, g.ID, grant.DoSay, grant.SayProof); !ok {
		t.Error("the proof is not owed")
	}
	want := []grant.Kind{
		grant.KindRequest, grant.KindApprove, grant.KindStepChanged, grant.KindOpenDone,
		grant.KindRevoke, grant.KindCloseRound, grant.KindCloseRound,
	}
	if diff := cmp.Diff(want, kinds(entries(t, s))); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

func TestCommit_auditSaysWhatHappened(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.CheckDone{Report: grant.Report{
		At: t0, Statement: `{"Effect":"Allow"}`,
		Findings: []grant.Finding{{Check: "role", Level: grant.OK}, {Check: "role", Level: grant.Warning}, {Check: "agent", Level: grant.OK}},
	}}, Now: t0})
	mustCommit(t, s, Change{Keys: []string{"", "env-1", "click-1"}, Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0.Add(time.Second), Ref: "R3F"})
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.OpenDone{Access: access(t0)}, Now: t0.Add(time.Minute)})
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: alice, Why: "done\u202e"}, Now: t0.Add(time.Hour)})
	mustCommit(t, s, Change{Grant: g.ID, Event: closingRounds(t0.Add(time.Hour))[0], Now: t0.Add(time.Hour)})

	list := entries(t, s)
	approve := list[2]
	if approve.Envelope != "env-1" || approve.Ref != "R3F" || approve.Actor.User != bob.User || !approve.Time.Equal(t0.Add(time.Second)) ||
		approve.Before != grant.Requested || approve.After != grant.Opening || approve.Grant != g.ID || approve.Seq != 3 {
		t.Errorf("the approval's entry is %+v", approve)
	}
	for i, want := range map[int]string{
		0: `{"cell":"helios-prod","account":"444455556666","region":"us-east-1","principal":"arn:aws:iam::111122223333:role/support","ticket":"48213","reason":"stuck node pool","duration":"4h0m0s","approvals":1}`,
		1: `{"findings":{"agent":"ok","role":"warning"}}`,
		2: `{"principal":"arn:aws:iam::111122223333:role/support","duration":"4h0m0s","approvals":1,"needed":1,"statement":"{\"Effect\":\"Allow\"}"}`,
		3: `{"end":"2026-11-23T13:00:00Z","role_arn":"arn:aws:iam::444455556666:role/ssm-access-from-other-accounts","instance_id":"i-0123456789abcdef0","log_group":"/aws/ssm/helios-prod/cluster","statement":"{\"Sid\":\"BreakglassBG1\"}","trust_before":"aa","trust_after":"bb"}`,
		4: `{"why":"done"}`,
		5: `{"removed":["BreakglassBG1"],"trust_before":"bb","trust_after":"aa","cut_off":"2026-11-23T10:02:00Z","ended":["support-0a1b"]}`,
	} {
		if diff := cmp.Diff(want, string(list[i].Detail)); diff != "" {
			t.Errorf("detail of entry %d, %s (-want +got):\n%s", i+1, list[i].Kind, diff)
		}
	}
}

func TestCommit_bookkeepingNeedsNoEntry(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	n := len(entries(t, s))
	quiet := func(ev grant.Event, now time.Time) {
		t.Helper()
		mustCommit(t, s, Change{Grant: g.ID, Event: ev, Now: now})
		if got := len(entries(t, s)); got != n {
			t.Errorf("%s wrote %d entries, want none", ev.Kind(), got-n)
			n = got
		}
	}
	loud := func(ev grant.Event, now time.Time) {
		t.Helper()
		mustCommit(t, s, Change{Grant: g.ID, Event: ev, Now: now})
		if got := len(entries(t, s)); got != n+1 {
			t.Errorf("%s wrote %d entries, want 1", ev.Kind(), got-n)
		}
		n++
	}
	loud(grant.CardPosted{Card: grant.Card{Channel: "C1", TS: "1.2"}}, t0)
	quiet(grant.CardPosted{Card: grant.Card{Channel: "C1", TS: "1.2"}}, t0)
	quiet(grant.EndDue{}, t0)
	quiet(grant.ReminderDue{Name: grant.RemindUndecided}, t0)
	loud(grant.ReminderDue{Name: grant.RemindStillOpen}, t0.Add(2*time.Hour))
	look := func(f func(*grant.Sighting)) grant.Watched {
		s := grant.Sighting{SessionsRead: true, Read: []string{"statement"}}
		f(&s)
		return grant.Watched{Sighting: s}
	}
	nothing := look(func(*grant.Sighting) {})
	gone := look(func(s *grant.Sighting) { s.Drift = map[string]string{"statement": "It is gone."} })
	quiet(grant.ReminderDue{Name: grant.RemindUnused}, t0.Add(2*time.Hour))
	quiet(nothing, t0.Add(2*time.Hour))
	quiet(grant.Watched{}, t0.Add(2*time.Hour))
	loud(gone, t0.Add(2*time.Hour))
	quiet(gone, t0.Add(2*time.Hour))
	loud(nothing, t0.Add(2*time.Hour)) // put back: told to nobody
	quiet(nothing, t0.Add(2*time.Hour))
	loud(grant.EndDue{}, t0.Add(4*time.Hour))
	failing := grant.CloseRound{Round: grant.Round{Trust: grant.Outcome{Trouble: &grant.Trouble{Kind: grant.Again, Step: grant.StepTrust, Text: "AWS is throttling."}}}}
	loud(failing, t0.Add(4*time.Hour))
	quiet(failing, t0.Add(4*time.Hour))
}

func TestCommit_duplicate(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	first := Change{Keys: []string{"env-1", "click-1"}, Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0}
	after := mustCommit(t, s, first)
	row, _ := owed(t, s, g.ID, grant.DoExpire, "")

	for name, c := range map[string]Change{
		"the same delivery":            first,
		"the same envelope":            {Keys: []string{"env-1"}, Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0},
		"the same click, redelivered":  {Keys: []string{"env-2", "click-1"}, Grant: g.ID, Event: grant.Approve{By: bob}, Now: t0},
		"another grant's button":       {Keys: []string{"click-1"}, Grant: 99, Event: grant.Revoke{By: alice}, Now: t0},
		"a request in place of it":     {Keys: []string{"env-1"}, Event: request("another"), Now: t0},
		"a row that it would settle":   {Keys: []string{"env-1"}, Grant: g.ID, Event: grant.EndDue{}, Now: t0, Settles: row},
		"an unknown key before it too": {Keys: []string{"new", "", "env-1"}, Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0},
	} {
		r, err := s.Commit(c)
		if err != nil || !r.Duplicate || r.Grant.ID != g.ID || r.Grant.Version != after.Version {
			t.Errorf("%s: Commit = %+v, %v, want a duplicate of %s as it is", name, r, err, g.ID)
		}
	}
	if got := len(entries(t, s)); got != 2 {
		t.Errorf("%d audit entries, want 2", got)
	}
	if r, err := s.Commit(Change{Keys: []string{"env-2"}, Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0}); err != nil || r.Duplicate {
		t.Errorf("a duplicate's own keys were kept: %+v, %v", r, err)
	}
}

func TestCommit_duplicateRequestAnswersTheGrantItMade(t *testing.T) {
	s := newStore(t)
	c := Change{Keys: []string{"env-1"}, Event: request("tok"), Now: t0}
	g := mustCommit(t, s, c)
	r, err := s.Commit(c)
	if err != nil || !r.Duplicate || r.Grant.ID != g.ID {
		t.Errorf("Commit = %+v, %v, want a duplicate of %s", r, err, g.ID)
	}
}

func TestCommit_keysAreForgottenAfterADay(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	const n = 40
	for i := range n {
		mustCommit(t, s, Change{Keys: []string{fmt.Sprintf("old-%d", i)}, Grant: g.ID, Event: grant.CardPosted{}, Now: t0})
	}
	for i := range n / (pruneMost - 1) {
		mustCommit(t, s, Change{Keys: []string{fmt.Sprintf("new-%d", i)}, Grant: g.ID, Event: grant.CardPosted{}, Now: t0.Add(keepKeys + time.Second)})
	}
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.CardPosted{}, Now: t0.Add(keepKeys + time.Second)})
	err := s.view(func(tx *bbolt.Tx) error {
		seen, at := tx.Bucket(bucketSeen).Stats().KeyN, tx.Bucket(bucketSeenAt).Stats().KeyN
		if want := n / (pruneMost - 1); seen != want || at != want {
			t.Errorf("%d keys and %d times are kept, want %d", seen, at, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommit_refusal(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	c := Change{Keys: []string{"env-9"}, Grant: g.ID, Event: grant.Approve{By: eve}, Now: t0.Add(time.Minute), Ref: "R1"}
	r, err := s.Commit(c)
	refusal, ok := errors.AsType[*grant.Refusal](err)
	if !ok || refusal.Code != grant.NotAllowed {
		t.Fatalf("Commit = %v, want a refusal", err)
	}
	if diff := cmp.Diff(g, r.Grant, cmpopts.EquateEmpty()); diff != "" || r.Before != grant.Requested {
		t.Errorf("the refusal changed the grant:\n%s", diff)
	}
	list := entries(t, s)
	last := list[len(list)-1]
	if last.Kind != KindRefused || last.Actor.User != eve.User || last.Grant != g.ID || last.Envelope != "env-9" ||
		string(last.Detail) != `{"event":"approve","code":"not_allowed"}` {
		t.Errorf("the refusal's entry is %+v, %s", last, last.Detail)
	}
	if r, err := s.Commit(c); err != nil || !r.Duplicate {
		t.Errorf("the refused click came again: %+v, %v, want a duplicate", r, err)
	}
}

func TestCommit_refusedRequestUsesNoID(t *testing.T) {
	s := newStore(t)
	refused := request("tok-1")
	refused.By.Requester = false
	r, err := s.Commit(Change{Keys: []string{"env"}, Event: refused, Now: t0})
	if _, ok := errors.AsType[*grant.Refusal](err); !ok || r.Grant.ID != 0 {
		t.Fatalf("Commit = %+v, %v, want a refusal and no grant", r, err)
	}
	if r, err := s.Commit(Change{Keys: []string{"env"}, Event: refused, Now: t0}); err != nil || !r.Duplicate || r.Grant.ID != 0 {
		t.Errorf("Commit = %+v, %v, want a duplicate of nothing", r, err)
	}
	if g := mustRequest(t, s, t0); g.ID != 1 {
		t.Errorf("the first grant is %s, want BG-1", g.ID)
	}
}

func TestCommit_unknownGrant(t *testing.T) {
	s := newStore(t)
	r, err := s.Commit(Change{Keys: []string{"env"}, Grant: 9, Event: grant.Revoke{By: alice}, Now: t0})
	refusal, ok := errors.AsType[*grant.Refusal](err)
	if !ok || refusal.Code != grant.NotFound || !strings.HasPrefix(refusal.Text, "There is no grant BG-9 here.") || !strings.Contains(refusal.Text, "`/breakglass status`") {
		t.Errorf("Commit = %+v, %v, want a NotFound refusal", r, err)
	}
	if list := entries(t, s); len(list) != 1 || list[0].Grant != 9 || list[0].Kind != KindRefused {
		t.Errorf("the audit log is %+v", list)
	}
	for name, err := range map[string]error{
		"Grant":         second(s.Grant(9)),
		"ByToken":       second(s.ByToken("nobody")),
		"ByToken empty": second(s.ByToken("")),
	} {
		if r, ok := errors.AsType[*grant.Refusal](err); !ok || r.Code != grant.NotFound {
			t.Errorf("%s = %v, want a NotFound refusal", name, err)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestCommit_moot(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	row, ok := owed(t, s, g.ID, grant.DoRemind, grant.RemindUnsent)
	if !ok {
		t.Fatal("no reminder is owed")
	}
	n := len(entries(t, s))
	r, err := s.Commit(Change{Keys: []string{"k"}, Grant: g.ID, Event: grant.LapseDue{}, Now: t0, Settles: row})
	if _, ok := errors.AsType[*grant.Moot](err); !ok || r.Grant.ID != g.ID || r.Before != grant.Open {
		t.Errorf("Commit = %+v, %v, want moot", r, err)
	}
	if _, ok := owed(t, s, g.ID, grant.DoRemind, grant.RemindUnsent); ok {
		t.Error("the row of a moot event was not settled")
	}
	if got := len(entries(t, s)); got != n {
		t.Errorf("a moot event wrote %d audit entries", got-n)
	}
	if now, err := s.Grant(g.ID); err != nil || now.Version != g.Version {
		t.Errorf("a moot event changed the grant: version %d, want %d (%v)", now.Version, g.Version, err)
	}
}

func TestCommit_wrongUse(t *testing.T) {
	s := newStore(t)
	g := mustRequest(t, s, t0)
	same := request(g.Token)
	noToken := request("")
	for name, c := range map[string]Change{
		"no event":                  {Grant: g.ID},
		"an approval of nothing":    {Event: grant.Approve{By: bob}},
		"a request of a grant":      {Grant: g.ID, Event: request("x")},
		"a token that is taken":     {Event: same, Now: t0},
		"no token":                  {Event: noToken, Now: t0},
		"a key that is far too big": {Keys: []string{strings.Repeat("k", longestKey+1)}, Grant: g.ID, Event: grant.Withdraw{By: alice}, Now: t0},
	} {
		before := size(t, s)
		if r, err := s.Commit(c); err == nil {
			t.Errorf("%s: Commit = %+v, want an error", name, r)
		}
		if got := size(t, s); got != before {
			t.Errorf("%s: %d bytes were written", name, got-before)
		}
	}
}

func TestCommit_settlesOnlyTheSameRow(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0})
	old, _ := owed(t, s, g.ID, grant.DoClose, "")
	round := grant.CloseRound{Round: grant.Round{Trust: grant.Outcome{Note: "not yet"}}}

	mustCommit(t, s, Change{Grant: g.ID, Event: round, Now: t0, Settles: old})
	newer, ok := owed(t, s, g.ID, grant.DoClose, "")
	if !ok || newer.Seq == old.Seq {
		t.Fatalf("after a round %+v is owed, want a new closing", newer)
	}
	// A late answer to the older row: it counts, and the newer row stays.
	mustCommit(t, s, Change{Grant: g.ID, Event: grant.CardPosted{}, Now: t0, Settles: old})
	if now, ok := owed(t, s, g.ID, grant.DoClose, ""); !ok || now.Seq != newer.Seq {
		t.Errorf("the newer row was settled in the older's name: %+v", now)
	}
	if done, err := s.Settle(old); done || err != nil {
		t.Errorf("Settle(old) = %v, %v, want false", done, err)
	}
	if done, err := s.Postpone(old, t0.Add(time.Hour)); done || err != nil {
		t.Errorf("Postpone(old) = %v, %v, want false", done, err)
	}
	if done, err := s.Settle(Owed{}); done || err != nil {
		t.Errorf("Settle of nothing = %v, %v, want false", done, err)
	}
}

func TestCommit_endCannotBeLost(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	end, ok := owed(t, s, g.ID, grant.DoExpire, "")
	if !ok {
		t.Fatal("an open grant owes no end")
	}
	if done, err := s.Settle(end); err == nil {
		t.Errorf("Settle of an open grant's end = %v, want an error", done)
	}
	if _, err := s.Commit(Change{Grant: g.ID, Event: grant.CardPosted{}, Now: t0, Settles: end}); err == nil {
		t.Error("Commit settled an open grant's end without closing it")
	}
	if now, ok := owed(t, s, g.ID, grant.DoExpire, ""); !ok || now.Seq != end.Seq {
		t.Errorf("the end is %+v, want it untouched", now)
	}
	if done, err := s.Postpone(end, t0.Add(5*time.Hour)); !done || err != nil {
		t.Errorf("Postpone = %v, %v", done, err)
	}
}

func TestCommit_diskFull(t *testing.T) {
	p := path(t)
	s := openAt(t, p)
	g := mustOpen(t, s, t0)
	before := size(t, s)
	info, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = int(info.Size())
	big := request("big")
	big.Reason = strings.Repeat("x", 2<<20)
	if _, err := s.Commit(Change{Keys: []string{"env"}, Event: big, Now: t0}); err == nil {
		t.Fatal("Commit wrote to a full disk")
	}
	if got := size(t, s); got != before {
		t.Errorf("%d bytes were left behind", got-before)
	}
	if got := mustCommit(t, s, Change{Keys: []string{"env"}, Grant: g.ID, Event: grant.Revoke{By: alice}, Now: t0}); got.Phase != grant.Closing {
		t.Errorf("with the disk full the open grant went to %s, want closing", got.Phase)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

func TestStore_survivesRestart(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	closed := mustClose(t, s, t0)
	opened := mustOpen(t, s, t0.Add(time.Hour))
	before := snapshot(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Grant(1); err == nil {
		t.Error("a closed store answers")
	}

	s = openAt(t, p)
	if diff := cmp.Diff(before, snapshot(t, s)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	g := mustRequest(t, s, t0.Add(2*time.Hour))
	if g.ID != opened.ID+1 || closed.ID != 1 {
		t.Errorf("the next id is %s after %s", g.ID, opened.ID)
	}
	if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, want 0600 (%v)", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p), ".breakglass-new-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// state is all that a store answers.
type state struct {
	Live, Ended []grant.Grant
	Due         []Owed
	Owes        map[grant.ID][]Owed
	Entries     []Entry
	Head        Head
}

func snapshot(t testing.TB, s *Store) state {
	t.Helper()
	st := state{Owes: map[grant.ID][]Owed{}, Entries: entries(t, s)}
	var err error
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st.Live, err = s.Live()
	check(err)
	st.Ended, err = s.Ended("", 1000)
	check(err)
	st.Due, _, err = s.Due(t0.AddDate(100, 0, 0), 0, nil, nil)
	check(err)
	st.Head, err = s.Head()
	check(err)
	for _, g := range append(st.Live, st.Ended...) {
		st.Owes[g.ID], err = s.Owes(g.ID)
		check(err)
	}
	return st
}

func TestBackup(t *testing.T) {
	s := newStore(t)
	mustClose(t, s, t0)
	mustOpen(t, s, t0.Add(time.Hour))
	var b bytes.Buffer
	if err := s.Backup(&b); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, s)
	mustRequest(t, s, t0.Add(2*time.Hour)) // after the backup

	p := path(t)
	if err := os.WriteFile(p, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	restored := openAt(t, p)
	if diff := cmp.Diff(want, snapshot(t, restored)); diff != "" {
		t.Errorf("the backup (-original +restored):\n%s", diff)
	}
	if err := restored.Verify(); err != nil {
		t.Error(err)
	}
	if err := s.Backup(failingWriter{}); err == nil {
		t.Error("Backup to a writer that fails answers no error")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestEnded(t *testing.T) {
	s := newStore(t)
	var want []grant.ID
	for i := range 5 {
		now := t0.Add(time.Duration(i) * time.Hour)
		ev := request(fmt.Sprintf("t-%d", i))
		if i%2 == 1 {
			ev.Cell = "helios-prod-2" // a name that begins with the other's
		}
		g := mustCommit(t, s, Change{Event: ev, Now: now})
		want = append(want, g.ID)
	}
	// They end in the opposite order.
	for i, id := range slices.Backward(want) {
		mustCommit(t, s, Change{Grant: id, Event: grant.Deny{By: bob}, Now: t0.Add(time.Duration(30-i) * time.Hour)})
	}
	for _, tt := range []struct {
		cell grant.CellName
		n    int
		want []grant.ID
	}{
		{"", 10, []grant.ID{1, 2, 3, 4, 5}},
		{"", 2, []grant.ID{1, 2}},
		{"", 0, nil},
		{"", -1, nil},
		{"helios-prod", 10, []grant.ID{1, 3, 5}},
		{"helios-prod-2", 1, []grant.ID{2}},
		{"helios", 10, nil},
		{"zzz", 10, nil},
	} {
		list, err := s.Ended(tt.cell, tt.n)
		if err != nil {
			t.Fatal(err)
		}
		var got []grant.ID
		for _, g := range list {
			got = append(got, g.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Ended(%q, %d) (-want +got):\n%s", tt.cell, tt.n, diff)
		}
	}
}
