package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store"
	"breakglass/store/grant"
)

const roleOfAll = "arn:aws:iam::444455556666:role/ssm-access-from-other-accounts"

// threeOpen is a desk on whose database BG-1 and BG-3 are open for one principal, BG-2
// for another on the same role, with a shell inside; BG-4 waits.
func threeOpen(t *testing.T) deskData {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "breakglass.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := time.Now().UTC().Truncate(time.Second)
	commit := func(id grant.ID, ev grant.Event) {
		if _, err := db.Commit(store.Change{Grant: id, Event: ev, Now: now}); err != nil {
			t.Fatal(err)
		}
	}
	for i, principal := range []grant.RoleARN{scriptVendor, scriptVendor + "-2", scriptVendor, scriptVendor} {
		id := grant.ID(i + 1)
		commit(0, grant.Request{
			By: grant.Actor{Kind: grant.Person, User: "U0ANA", Requester: true}, Token: id.String(), Cell: "helios-prod", Account: "444455556666",
			Region: "us-east-1", Principal: principal, Ticket: "48213", Reason: "stuck", Duration: time.Hour, Terms: grant.Terms{Approvals: 1, Settle: time.Minute},
		})
		if id == 4 {
			break
		}
		commit(id, grant.Approve{By: grant.Actor{Kind: grant.Person, User: "U0BEN", Approver: true}})
		commit(id, grant.OpenDone{Access: grant.Access{At: now, End: now.Add(time.Hour), RoleARN: roleOfAll, RoleName: "ssm-access-from-other-accounts"}})
	}
	commit(2, grant.Watched{Sighting: grant.Sighting{SessionsRead: true, Sessions: []grant.Session{
		{ID: "support-0a1", Owner: "arn:aws:sts::444455556666:assumed-role/ssm-access-from-other-accounts/support-engineer", Started: now},
	}}})
	return deskData{db: db, cells: []grant.CellName{"helios-prod", "helios-test"}, log: slog.New(slog.DiscardHandler)}
}

// What else ends is said before the question: shells of others on the role, unless
// somebody keeps the same principal trusted, or they are meant, too.
func TestRevokePlan(t *testing.T) {
	d := threeOpen(t)
	type row struct {
		ID, Do      string
		Cuts, Keeps []string
		Inside      int
	}
	waits := []string{"BG-4 on helios-prod waits for a decision and is left alone; `breakglass revoke BG-4` withdraws it."}
	for name, c := range map[string]struct {
		ask    revokeAsk
		want   []row
		beside []string
	}{
		"cuts two":     {revokeAsk{what: "BG-2"}, []row{{"BG-2", doRevoke, []string{"BG-1", "BG-3"}, nil, 1}}, nil},
		"kept trusted": {revokeAsk{what: "bg1"}, []row{{"BG-1", doRevoke, nil, []string{"BG-3"}, 0}}, nil},
		"waits":        {revokeAsk{what: "4"}, []row{{"BG-4", doWithdraw, nil, nil, 0}}, nil},
		"two of three": {revokeAsk{ids: []string{"BG-1", "BG-3"}}, []row{{"BG-1", doRevoke, []string{"BG-2"}, nil, 0}, {"BG-3", doRevoke, []string{"BG-2"}, nil, 0}}, nil},
		"all":          {revokeAsk{all: true}, []row{{"BG-1", doRevoke, nil, nil, 0}, {"BG-2", doRevoke, nil, nil, 1}, {"BG-3", doRevoke, nil, nil, 0}}, waits},
		"the cell":     {revokeAsk{what: "helios-prod"}, []row{{"BG-1", doRevoke, nil, nil, 0}, {"BG-2", doRevoke, nil, nil, 1}, {"BG-3", doRevoke, nil, nil, 0}}, waits},
		"another cell": {revokeAsk{what: "helios-test"}, nil, []string{"Nothing is open on helios-test, so there is nothing to revoke."}},
	} {
		p, err := d.toEnd(askOf(c.ask.query()))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []row
		for _, g := range p.Grants {
			got = append(got, row{g.ID, g.Do, g.Cuts, g.Keeps, len(g.Sessions)})
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(c.beside) != len(p.Beside) || strings.Join(c.beside, "") != strings.Join(p.Beside, "") {
			t.Errorf("%s: beside %q, want %q", name, p.Beside, c.beside)
		}
	}

	p, err := d.toEnd(revokeAsk{what: "BG-2"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := newTold(&environment{stdout: &out, getenv: os.Getenv}, false).plan(p); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^  inside     1 shell, as of 20`, `(?m)^ +support-0a1, support-engineer, since 20`,
		`(?m)^  also cut   shells and credentials of BG-1, BG-3, on the same role`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("it does not say %s:\n%s", want, &out)
		}
	}
}

// Who it was is never what the command says; one name that is wrong, and nothing is
// done; what somebody else has ended meanwhile keeps the rest from nothing.
func TestRevokeNow(t *testing.T) {
	d := threeOpen(t)
	post := func(body string) (int, string) {
		w := httptest.NewRecorder()
		deskMux(d).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/revoke", strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	phases := func() (out []grant.Phase) {
		live, err := d.db.Live()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range live {
			out = append(out, g.Phase)
		}
		return out
	}
	for _, body := range []string{
		`{"ids":["BG-1"],"by":{"kind":"person","user":"U0BEN"}}`, `{"ids":["BG-1","BG-9"]}`, `{"ids":["BG-1","x"]}`, `{"ids":[]}`, `{}`, ``, `[`,
	} {
		if code, answer := post(body); code < 400 || code > 499 {
			t.Errorf("%s: %d %s", body, code, answer)
		}
	}
	if diff := cmp.Diff([]grant.Phase{grant.Open, grant.Open, grant.Open, grant.Requested}, phases()); diff != "" {
		t.Fatalf("something was done: %s", diff)
	}
	if code, answer := post(`{"ids":["BG-2"]}`); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	if code, answer := post(`{"ids":["BG-2","BG-1","BG-4"],"why":"enough"}`); code != http.StatusOK || strings.Contains(answer, "problems") {
		t.Fatalf("%d %s", code, answer)
	}
	if diff := cmp.Diff([]grant.Phase{grant.Closing, grant.Closing, grant.Open}, phases()); diff != "" {
		t.Errorf("the phases (-want +got):\n%s", diff)
	}
	if g, err := d.db.Grant(4); err != nil || g.Phase != grant.Withdrawn || g.DecidedBy.Kind != grant.Operator {
		t.Errorf("BG-4 is %s by %s (%v)", g.Phase, g.DecidedBy, err)
	}
	if g, err := d.db.Grant(1); err != nil || g.Ending.By.Kind != grant.Operator || !strings.HasSuffix(g.Ending.Why, ": enough") {
		t.Errorf("BG-1 is %+v (%v)", g.Ending, err)
	}
}
