package actions_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// The vendor's own procedure, from the request to the proof, with SingleStore's
// engineer really coming in.
func TestStory_vendorComesAndGoes(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		v := s.vendor(vendorARN)
		before := s.cell.Role.TrustDocument()
		if _, err := v.assume(); err == nil {
			t.Fatal("the vendor may assume the role before anything is open")
		}

		l := s.request().open()
		want := []string{"check running", "check done", "logging running", "logging done", "hard stop running", "hard stop done", "trust running", "trust done"}
		if !slices.Equal(l.steps, want) {
			t.Errorf("steps: got %v, want %v", l.steps, want)
		}
		a := l.g.Access
		if want := time.Now().Add(4 * time.Hour).UTC().Truncate(time.Second); !a.End.Equal(want) {
			t.Errorf("end: got %s, want %s", a.End, want)
		}
		if a.InstanceID != s.cell.Instance.ID() || a.RoleName != roleName || a.LogGroup != logGroup || a.TrustBefore == a.TrustAfter {
			t.Errorf("access: %+v", a)
		}
		statement := `{"Sid":"BreakglassBG1","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"` + a.End.Format(time.RFC3339) + `"}}}`
		if a.Statement != statement {
			t.Errorf("statement: got %s, want %s", a.Statement, statement)
		}

		creds, err := v.assume()
		if err != nil {
			t.Fatalf("the vendor cannot assume the role: %v", err)
		}
		id, sh := s.mustShell(creds)
		if _, err := sh.Type("whoami"); err != nil {
			t.Fatal(err)
		}
		if streams := s.cell.LogGroup.Streams(); !slices.Contains(streams, id) {
			t.Errorf("the session %s is not logged: %v", id, streams)
		}

		time.Sleep(time.Hour / 2)
		revoked := time.Now()
		l.close()
		if got := time.Since(revoked); got < 90*time.Second || got > 100*time.Second {
			t.Errorf("the proof took %s, want a little over a minute and a half: each write has a minute to count", got)
		}
		if got := s.cell.Role.TrustDocument(); got != before {
			t.Errorf("trust policy after: got %s, want %s", got, before)
		}
		if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("the old credentials still open a shell")
		}
		if _, err := v.assume(); err == nil {
			t.Error("the vendor may still assume the role")
		}
		if ended := l.g.Ending.Ended; len(ended) != 1 || ended[0].ID != id || !strings.Contains(ended[0].Owner, ":assumed-role/"+roleName+"/support-engineer") {
			t.Errorf("ended: %+v", ended)
		}
		if prefs := s.cell.Region.DocumentVersions(prefsName); len(prefs) != 1 || !strings.Contains(prefs[0].Content, logGroup) {
			t.Errorf("logging was touched by the revocation: %+v", prefs)
		}
	})
}

// The promise that matters most: AWS ends access by itself, with the bot dead.
func TestStory_endsWithoutUs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request(func(r *grant.Request) { r.Duration = 30 * time.Minute }).open()
		v := s.vendor(vendorARN)
		time.Sleep(20 * time.Minute)
		creds, err := v.assume()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(l.g.End) - time.Second)
		if _, _, err := s.shell(creds); err != nil {
			t.Errorf("a second before the end: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := v.assume(); err == nil {
			t.Error("the role can be assumed after the end")
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("credentials issued before work after the end")
		}
	})
}
