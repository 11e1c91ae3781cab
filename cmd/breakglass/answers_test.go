package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store"
	"breakglass/store/grant"
)

// TestCommandsDoc holds docs/commands.md against the answers: every key has a line
// that explains it, and no line is left of one that is gone.
func TestCommandsDoc(t *testing.T) {
	data, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^### .* \\(`([A-Za-z]+)`\\)$")
	row := regexp.MustCompile("^\\| `([a-z_]+)` \\| (yes)? ?\\|")
	type line struct{ always bool }
	doc := map[string]map[string]line{}
	at := ""
	for text := range strings.SplitSeq(string(data), "\n") {
		if m := heading.FindStringSubmatch(text); m != nil {
			at = m[1]
			doc[at] = map[string]line{}
		} else if m := row.FindStringSubmatch(text); m != nil && at != "" {
			doc[at][m[1]] = line{always: m[2] == "yes"}
		}
	}
	seen := map[reflect.Type]bool{reflect.TypeFor[time.Time](): true, reflect.TypeFor[store.Head](): true}
	var hold func(reflect.Type)
	hold = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			hold(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[typ] {
			return
		}
		seen[typ] = true
		var keys []string
		for f := range typ.Fields() {
			if f.Tag.Get("json") == "" && !f.Anonymous && !f.IsExported() {
				continue // no key
			}
			hold(f.Type)
			if f.Anonymous {
				continue
			}
			key, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			keys = append(keys, key)
			is, explained := doc[typ.Name()][key]
			if !explained {
				t.Errorf("docs/commands.md does not explain %q: add a line to the section of `%s`", key, typ.Name())
			} else if is.always != (option == "") {
				t.Errorf("docs/commands.md says of %q in `%s` that always is %v", key, typ.Name(), is.always)
			}
		}
		for key := range doc[typ.Name()] {
			if !slices.Contains(keys, key) {
				t.Errorf("docs/commands.md explains %q of `%s`, which is not there", key, typ.Name())
			}
		}
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[statusAnswer](), reflect.TypeFor[showAnswer](), reflect.TypeFor[historyAnswer](),
		reflect.TypeFor[verifyAnswer](), reflect.TypeFor[backupAnswer](),
		reflect.TypeFor[checkAnswer](),
	} {
		hold(typ)
	}
}

// noon is when the stories of these tests are told.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// told is a store in which five things have happened: one grant was closed with
// proof, one is closing and fails at it, one is open and not as it was opened, one
// waits, and trust was found that nobody granted.
func told(t *testing.T) *store.Store {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "breakglass.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	ana := grant.Actor{Kind: grant.Person, User: "U0ANA", Requester: true}
	ben := grant.Actor{Kind: grant.Person, User: "U0BEN", Approver: true}
	const role = "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts"
	do := func(id grant.ID, at time.Time, ev grant.Event) grant.Grant {
		t.Helper()
		r, err := db.Commit(store.Change{Grant: id, Event: ev, Now: at})
		if err != nil {
			t.Fatalf("%s: %v", ev.Kind(), err)
		}
		return r.Grant
	}
	ask := func(token string, at time.Time, cell grant.CellName, reason string) grant.ID {
		return do(0, at, grant.Request{
			By: ana, Token: token, Cell: cell, Account: "444455556666", Region: "us-east-1",
			Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: reason, Duration: 4 * time.Hour,
			Terms: grant.Terms{Approvals: 1, Undecided: time.Hour, AWSEnforced: true, Settle: time.Minute},
		}).ID
	}
	open := func(id grant.ID, at time.Time) {
		do(id, at, grant.CheckDone{Report: grant.Report{At: at, RoleARN: role, Findings: []grant.Finding{
			{Check: "role", Level: grant.OK, Text: "ssm-access-from-other-accounts"},
			{Check: "trust", Level: grant.Warning, Text: "Others may use this role, too.", Remedy: "Give them a role of their own."},
		}}})
		do(id, at.Add(time.Minute), grant.Approve{By: ben})
		for _, step := range []string{grant.StepLogging, grant.StepHardStop, grant.StepTrust} {
			do(id, at.Add(time.Minute), grant.StepChanged{Step: step, State: grant.Running})
			do(id, at.Add(time.Minute), grant.StepChanged{Step: step, State: grant.Done})
		}
		do(id, at.Add(time.Minute), grant.OpenDone{Access: grant.Access{
			At: at.Add(time.Minute), End: at.Add(time.Minute + 4*time.Hour), RoleARN: role, RoleName: "ssm-access-from-other-accounts",
			InstanceID: "i-0123456789abcdef0", LogGroup: "/aws/ssm/helios-prod/cluster",
			Statement: `{"Sid":"` + id.Sid() + `"}`, TrustBefore: "aa11", TrustAfter: "bb22",
		}})
	}
	shell := grant.Session{ID: "support-0a1b", Owner: "arn:aws:sts::444455556666:assumed-role/ssm/eve", Target: "i-0123456789abcdef0"}

	one := ask("one", noon.Add(-8*time.Hour), "helios-prod", "stuck node pool")
	open(one, noon.Add(-8*time.Hour))
	do(one, noon.Add(-7*time.Hour), grant.Watched{Sighting: grant.Sighting{
		SessionsRead: true, Sessions: []grant.Session{shell}, NeverLogged: []string{shell.ID},
		Assumed: []grant.Assumed{{EventID: "e1", At: noon.Add(-7 * time.Hour), By: "111122223333", Session: "eve", From: "192.0.2.1"}},
	}})
	do(one, noon.Add(-6*time.Hour), grant.Revoke{By: ben, Why: "done"})
	round := grant.Round{
		Trust: grant.Outcome{Done: true}, Credentials: grant.Outcome{Done: true}, Sessions: grant.Outcome{Done: true},
		CutOff: noon.Add(-6*time.Hour + 2*time.Minute),
	}
	first := round
	first.Removed, first.Ended = []string{"statement BreakglassBG1"}, []grant.Session{shell}
	do(one, noon.Add(-6*time.Hour+time.Second), grant.CloseRound{Round: first})
	do(one, noon.Add(-6*time.Hour+time.Minute), grant.CloseRound{Round: round})
	if g := do(one, noon.Add(-6*time.Hour+2*time.Minute), grant.CloseRound{Round: round}); g.Phase != grant.Closed {
		t.Fatalf("%s is %s, want closed", g.ID, g.Phase)
	}

	two := ask("two", noon.Add(-2*time.Hour), "helios-prod", "it hangs")
	open(two, noon.Add(-2*time.Hour))
	do(two, noon.Add(-10*time.Minute), grant.Revoke{By: ana})
	do(two, noon.Add(-9*time.Minute), grant.CloseRound{Round: grant.Round{
		Trust: grant.Outcome{Trouble: &grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "AWS refuses to change the trust policy.", Remedy: "Give it back iam:UpdateAssumeRolePolicy."}},
	}})

	three := ask("three", noon.Add(-time.Hour), "helios-stage", "disk\x1b[31m full") // somebody knows how to colour a terminal
	open(three, noon.Add(-time.Hour))
	do(three, noon.Add(-time.Minute), grant.Watched{Sighting: grant.Sighting{
		SessionsRead: true, Sessions: []grant.Session{shell}, Read: []string{"statement"}, Drift: map[string]string{"statement": "Somebody has changed its statement."},
	}})
	ask("four", noon.Add(-30*time.Minute), "helios-prod", "once more")

	for i := range 2 {
		err := db.Look(store.Looked{
			Cell: "helios-dev", Now: noon.Add(time.Duration(2*i-20) * time.Minute), Token: func() string { return "stray" },
			Survey: grant.Survey{RoleARN: role + "-dev", RoleName: "ssm-access-from-other-accounts-dev", Trust: []grant.Trust{
				{Sid: "BreakglassBG99", ID: 99, Principal: "arn:aws:iam::111122223333:role/support", End: noon.Add(time.Hour)},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "operator", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew)\n%s", path, diff)
	}
}

// What people see at a terminal, and what programs are given.
func TestAnswers(t *testing.T) {
	db := told(t)
	d := deskData{db: db, cells: []grant.CellName{"helios-prod", "helios-stage"}}
	write := func(name string, draw func(*screen), answer any) {
		t.Helper()
		s := &screen{}
		draw(s)
		golden(t, name, s.String())
		if strings.ContainsRune(s.String(), '\x1b') {
			t.Errorf("%s: somebody else's colours", name)
		}
		var b bytes.Buffer
		if err := printJSON(&environment{stdout: &b}, answer); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", b.String())
	}
	for _, id := range []grant.ID{1, 2, 3, 4} {
		g, err := db.Grant(id)
		if err != nil {
			t.Fatal(err)
		}
		a := story(g, noon)
		a.BotRunning = true
		write("show-"+string(g.Phase), func(s *screen) { s.grant(a) }, a)
	}
	st, err := d.statusAt(noon)
	if err != nil {
		t.Fatal(err)
	}
	st.BotRunning = true
	write("status", func(s *screen) { s.status(st) }, st)
	h, err := d.historyAt(noon, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	write("history", func(s *screen) { s.history(h) }, h)
}
