package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// TestCommit_auditOfLooks wants the log to say what each look has shown that was
// not known before, and no more.
func TestCommit_auditOfLooks(t *testing.T) {
	s := newStore(t)
	g := mustOpen(t, s, t0)
	n := len(entries(t, s))
	jo := grant.Session{ID: "jo-1", Owner: "arn:aws:sts::444455556666:assumed-role/r/jo", Target: "i-1", Started: t0}
	assumed := grant.Assumed{EventID: "e1", At: t0, By: "111122223333", Session: "jo", From: "192.0.2.1"}
	looks := []struct {
		see  grant.Sighting
		want string // empty: no entry
	}{
		{grant.Sighting{SessionsRead: true}, ""},
		{
			grant.Sighting{SessionsRead: true, Sessions: []grant.Session{jo}, NeverLogged: []string{"jo-1"}, Assumed: []grant.Assumed{assumed}},
			`{"came":[{"id":"jo-1","owner":"arn:aws:sts::444455556666:assumed-role/r/jo","target":"i-1","started":"2026-11-23T09:00:00Z"}],"never_logged":["jo-1"],"assumed":[{"event_id":"e1","at":"2026-11-23T09:00:00Z","by":"111122223333","session":"jo","from":"192.0.2.1"}]}`,
		},
		{grant.Sighting{SessionsRead: true, Sessions: []grant.Session{jo}, NeverLogged: []string{"jo-1"}, Assumed: []grant.Assumed{assumed}}, ""},
		{
			grant.Sighting{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}}, Unlogged: []string{"x"}, Read: []string{"logging"}, Drift: map[string]string{"logging": "It is off."}},
			`{"came":[{"id":"x"}],"left":["jo-1"],"drift":{"logging":"It is off."}}`,
		},
		{grant.Sighting{}, ""},
		{
			grant.Sighting{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}}, Unlogged: []string{"x"}, Read: []string{"logging"}},
			`{"unlogged":["x"],"put_back":["logging"]}`,
		},
		{grant.Sighting{SessionsRead: true, Sessions: []grant.Session{{ID: "x"}, jo}}, `{"came":[{"id":"jo-1","owner":"arn:aws:sts::444455556666:assumed-role/r/jo","target":"i-1","started":"2026-11-23T09:00:00Z"}]}`},
	}
	for i, l := range looks {
		mustCommit(t, s, Change{Grant: g.ID, Event: grant.Watched{Sighting: l.see}, Now: t0.Add(time.Duration(i+1) * time.Minute)})
		list := entries(t, s)
		got := ""
		if len(list) > n {
			got = string(list[len(list)-1].Detail)
		}
		if diff := cmp.Diff(l.want, got); diff != "" || len(list) > n+1 {
			t.Errorf("look %d, %d new entries (-want +got):\n%s", i+1, len(list)-n, diff)
		}
		n = len(list)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

// TestStore_keepsWhatWasSeen wants a look to come back from the disk as it was
// taken in, and its messages to be payable under names that a hostile session
// chose.
func TestStore_keepsWhatWasSeen(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, s, t0)
	look := grant.Watched{Sighting: grant.Sighting{
		SessionsRead: true, Read: []string{"statement"}, Drift: map[string]string{"statement": "It is gone. <!channel>\xff"},
		Sessions: []grant.Session{{ID: "a:b\x00\xff<&>", Owner: "\u202eevil\xff", Started: t0.In(time.FixedZone("east", 3600))}},
		Assumed:  []grant.Assumed{{EventID: "e\xff", At: t0, By: "\x00"}},
	}}
	g = mustCommit(t, s, Change{Grant: g.ID, Event: look, Now: t0.Add(time.Minute)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	got, err := s.Grant(g.ID)
	if diff := cmp.Diff(g, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("after a restart (-before +after): %v\n%s", err, diff)
	}
	if o, ok := owed(t, s, g.ID, grant.DoSay, "came:a:b<&>"); !ok {
		t.Error("that it came is not owed under its name")
	} else if done, err := s.Settle(o); err != nil || !done {
		t.Errorf("Settle = %v, %v", done, err)
	}
	// The same again is nothing new.
	n := len(entries(t, s))
	mustCommit(t, s, Change{Grant: g.ID, Event: look, Now: t0.Add(2 * time.Minute)})
	if got := len(entries(t, s)); got != n {
		t.Errorf("the same look again wrote %d entries", got-n)
	}
	if _, ok := owed(t, s, g.ID, grant.DoSay, "came:a:b<&>"); ok {
		t.Error("that it came is told twice")
	}
}

// TestOpen_upgrades opens a database of schema 1, which knew no looks: the grants
// that are open come to owe theirs, once, and no others do.
func TestOpen_upgrades(t *testing.T) {
	p := path(t)
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s, t0)
	open := mustOpen(t, s, t0)
	requested := mustRequest(t, s, t0)
	before := entries(t, s)
	o, ok := owed(t, s, open.ID, grant.DoWatch, "")
	if !ok {
		t.Fatal("an open grant owes no look")
	}
	if done, err := s.Settle(o); err != nil || !done {
		t.Fatalf("Settle = %v, %v", done, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rawDB(t, p, func(db *bbolt.DB) {
		err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaSchema, seqKey(1)) })
		if err != nil {
			t.Fatal(err)
		}
	})

	s = openAt(t, p)
	o, ok = owed(t, s, open.ID, grant.DoWatch, "")
	if !ok || o.Effect.Due.After(time.Now()) {
		t.Errorf("the open grant owes a look: %v, %+v", ok, o)
	}
	for _, id := range []grant.ID{1, requested.ID} {
		if _, ok := owed(t, s, id, grant.DoWatch, ""); ok {
			t.Errorf("%s owes a look", id)
		}
	}
	if diff := cmp.Diff(before, entries(t, s)); diff != "" {
		t.Errorf("the audit log (-before +after):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, p)
	if again, _ := owed(t, s, open.ID, grant.DoWatch, ""); again.Seq != o.Seq {
		t.Errorf("the second start owes another look: %+v, then %+v", o, again)
	}
	mustCommit(t, s, Change{Grant: open.ID, Event: grant.Watched{}, Now: t0.Add(time.Minute), Settles: o})
}
