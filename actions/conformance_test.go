package actions_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// What may be found on a cell's role and in its region's preferences before we
// come. Layout, order, unknown conditions: all of it is somebody's.
var (
	trusts = map[string]string{
		"only EC2": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		"other people's": `{
  "Version" : "2008-10-17",
  "Id": "kept-by-hand",
  "Statement": [
    {
      "Sid": "Instances", "Effect": "Allow",
      "Principal": { "Service": ["ec2.amazonaws.com"] },
      "Action": "sts:AssumeRole"
    },
    {"Action":["sts:AssumeRole","sts:TagSession"],"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:root"]},
     "Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":3600}}},
    {"Sid":"NobodyFromOutside","Effect":"Deny","Principal":"*","Action":"sts:AssumeRoleWithSAML"}
  ]
}
`,
		"one, not in a list": `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:AssumeRole"},"Version":"2012-10-17"}`,
	}
	preferences = map[string]string{
		"absent": "",
		"other people's": `{
  "schemaVersion": "1.0",
  "description":   "Set up by the platform team <do not touch>",
  "sessionType": "Standard_Stream",
  "inputs": {
    "idleSessionTimeout": "45",
    "maxSessionDuration":"600",
    "s3BucketName": "session-archive", "s3KeyPrefix": "ssm/", "s3EncryptionEnabled": true,
    "cloudWatchLogGroupName": "", "cloudWatchEncryptionEnabled": false,
    "kmsKeyId": "alias/session-manager",
    "runAsEnabled": true, "runAsDefaultUser": "ssm-user",
    "shellProfile": {"linux": "exec /bin/bash -l", "windows": ""}
  }
}`,
		"right already": `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"/aws/ssm/helios-prod/cluster","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true}}`,
	}
)

// quick makes the closing short: what is tried here is every call, not the wait.
func quick(r *grant.Request) { r.Terms.Settle = 2 * time.Second }

// states calls a test with every pair of starting states; with -short only with
// the one that has the most to lose.
func states(t *testing.T, test func(t *testing.T, prepare func(*stage))) {
	t.Helper()
	for trustName, trustDoc := range trusts {
		for prefsState, prefsDoc := range preferences {
			if testing.Short() && (trustName != "other people's" || prefsState != "other people's") {
				continue
			}
			t.Run(trustName+", preferences "+prefsState, func(t *testing.T) {
				t.Parallel()
				test(t, func(s *stage) {
					s.cell.Role.Trust(trustDoc)
					if prefsDoc != "" {
						s.cell.Region.Preferences(prefsDoc)
					}
				})
			})
		}
	}
}

// foreign checks that nothing of anybody else's has changed.
type foreign struct {
	s     *stage
	trust string
	prefs string
}

func (s *stage) remember() foreign {
	f := foreign{s: s, trust: s.cell.Role.TrustDocument()}
	if v := s.cell.Region.DocumentVersions(prefsName); len(v) > 0 {
		f.prefs = v[len(v)-1].Content
	}
	return f
}

// closed: the trust policy is what it was, byte for byte.
func (f foreign) closed(t testing.TB) {
	t.Helper()
	if got := f.s.cell.Role.TrustDocument(); got != f.trust {
		t.Errorf("trust policy after closing:\n%s\nwant\n%s", got, f.trust)
	}
	f.logging(t)
}

// opened: our statement is there once, and without it the policy is what it was.
func (f foreign) opened(t testing.TB, g grant.Grant) {
	t.Helper()
	got := f.s.cell.Role.TrustDocument()
	if n := strings.Count(got, g.Access.Statement); n != 1 {
		t.Errorf("our statement is there %d times in\n%s", n, got)
	}
	before, err := trust.Parse([]byte(f.trust))
	if err != nil {
		t.Fatal(err)
	}
	if after, err := trust.Parse([]byte(got)); err != nil || after.Foreign() != before.Foreign() {
		t.Errorf("what is not ours has changed (%v):\n%s\nwas\n%s", err, got, f.trust)
	}
	f.logging(t)
}

// logging: the preferences log to our group, and nothing else in them changed.
func (f foreign) logging(t testing.TB) {
	t.Helper()
	versions := f.s.cell.Region.DocumentVersions(prefsName)
	if len(versions) == 0 {
		t.Errorf("there are no preferences")
		return
	}
	last := versions[len(versions)-1]
	if !last.IsDefault {
		t.Errorf("the latest version %d is not the default one", last.Version)
	}
	want := []string{
		`"cloudWatchLogGroupName": "` + logGroup + `"`, `"cloudWatchEncryptionEnabled": true`, `"cloudWatchStreamingEnabled":true`,
	}
	flat := strings.ReplaceAll(last.Content, " ", "")
	for _, w := range want {
		if !strings.Contains(flat, strings.ReplaceAll(w, " ", "")) {
			t.Errorf("%s is not in %s", w, last.Content)
		}
	}
	if f.prefs == "" {
		return
	}
	if got, want := withoutOurs(last.Content), withoutOurs(f.prefs); got != want {
		t.Errorf("the rest of the preferences:\n%s\nwant\n%s", got, want)
	}
}

// withoutOurs takes our three inputs out of a preferences document as text.
func withoutOurs(s string) string {
	for _, old := range []string{
		`,"cloudWatchStreamingEnabled":true`, `"cloudWatchLogGroupName": "` + logGroup + `"`, `"cloudWatchEncryptionEnabled": true`,
		`"cloudWatchLogGroupName": ""`, `"cloudWatchEncryptionEnabled": false`,
	} {
		s = strings.Replace(s, old, "", 1)
	}
	return s
}

// Open, open again, close, close again: what is foreign keeps every byte.
func TestConformance_twice(t *testing.T) {
	states(t, func(t *testing.T, prepare func(*stage)) {
		bubble(t, func(t *testing.T, s *stage) {
			prepare(s)
			f := s.remember()
			l := s.request().open()
			f.opened(t, l.g)

			s.world.ForgetCalls()
			again, err := s.aws.Open(t.Context(), l.g, nil, func(grant.StepChanged) error { return nil })
			if err != nil {
				t.Fatalf("open again: %v", err)
			}
			s.noWrites()
			if !again.End.Equal(l.g.End) || again.Statement != l.g.Access.Statement {
				t.Errorf("opening again gave %+v, want %+v", again, l.g.Access)
			}

			l.close()
			f.closed(t)
			s.world.ForgetCalls()
			time.Sleep(time.Minute)
			r := s.aws.Close(t.Context(), l.g, nil)
			if !r.Trust.Done || !r.Credentials.Done || !r.Sessions.Done || len(r.Removed)+len(r.Live) > 0 {
				t.Errorf("close again: %+v", r)
			}
			s.noWrites()
			f.closed(t)
		})
	})
}

// calls counts the calls of one run.
func (s *stage) calls(run func()) int {
	before := len(s.world.Calls())
	run()
	return len(s.world.Calls()) - before
}

// A crash between any two AWS calls, before or after the call has taken effect,
// and then the same again by a new process: it ends where it would have ended,
// and what it finds of its own does not look like another plan than the approved.
func TestConformance_crash(t *testing.T) {
	states(t, func(t *testing.T, prepare func(*stage)) {
		for _, after := range []bool{false, true} {
			var opens, closes int
			bubble(t, func(t *testing.T, s *stage) { // how many calls there are
				prepare(s)
				l := s.request(quick).checked()
				opens = s.calls(func() { l.open() })
				l.revoke()
				closes = s.calls(func() { l.round() })
			})
			for n := 1; n <= opens; n++ {
				bubble(t, func(t *testing.T, s *stage) {
					prepare(s)
					f := s.remember()
					l := s.request(quick).checked()
					remove := s.crashAt(n, after, func(ctx context.Context) {
						if _, err := s.aws.Open(ctx, l.g, nil, l.step); err == nil && n < opens {
							t.Errorf("opening survived the crash at call %d", n)
						}
					})
					remove()
					s.start()
					l.open()
					f.opened(t, l.g)
					if d := time.Until(l.g.End); d > 4*time.Hour {
						t.Errorf("crash at call %d: the end moved to %s from now", n, d)
					}
					l.close()
					f.closed(t)
				})
			}
			for n := 1; n <= closes; n++ {
				bubble(t, func(t *testing.T, s *stage) {
					prepare(s)
					f := s.remember()
					l := s.request(quick).open().revoke()
					remove := s.crashAt(n, after, func(ctx context.Context) { s.aws.Close(ctx, l.g, nil) })
					remove()
					s.start()
					l.close()
					f.closed(t)
				})
			}
		}
	})
}

// crashAt runs something whose process dies at its n-th AWS call.
func (s *stage) crashAt(n int, after bool, run func(context.Context)) (remove func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var seen atomic.Int64
	if after {
		remove = s.world.After(func(context.Context, awssim.Call) {
			if seen.Add(1) == int64(n) {
				cancel()
			}
		})
	} else {
		remove = s.world.Before(func(context.Context, awssim.Call) *awssim.Fault {
			if seen.Add(1) >= int64(n) {
				cancel()
				return &awssim.Fault{Kind: awssim.DropBefore}
			}
			return nil
		})
	}
	run(ctx)
	return remove
}

// Each fault at each call: it succeeds all the same, or says in words what is
// true and is done at the next try; and nothing foreign is ever harmed.
func TestConformance_faults(t *testing.T) {
	kinds := map[string]awssim.FaultKind{
		"throttle": awssim.Throttle, "deny": awssim.Deny, "500": awssim.ServerError,
		"drop before": awssim.DropBefore, "drop after": awssim.DropAfter,
	}
	states(t, func(t *testing.T, prepare func(*stage)) {
		for kindName, kind := range kinds {
			var opens, closes int
			bubble(t, func(t *testing.T, s *stage) {
				prepare(s)
				l := s.request(quick)
				opens = s.calls(func() { l.open() })
				l.revoke()
				closes = s.calls(func() { l.round() })
			})
			at := func(s *stage, n int) (remove func()) {
				var seen atomic.Int64
				return s.world.Before(func(context.Context, awssim.Call) *awssim.Fault {
					if seen.Add(1) == int64(n) {
						return &awssim.Fault{Kind: kind}
					}
					return nil
				})
			}
			for n := 1; n <= opens; n++ {
				bubble(t, func(t *testing.T, s *stage) {
					prepare(s)
					f := s.remember()
					l := s.request(quick)
					remove := at(s, n)
					err := l.tryOpen()
					remove()
					if err != nil {
						trouble(t, err)
						l.open()
					}
					f.opened(t, l.g)
					l.close()
					f.closed(t)
				})
			}
			for n := 1; n <= closes; n++ {
				bubble(t, func(t *testing.T, s *stage) {
					prepare(s)
					f := s.remember()
					l := s.request(quick).open().revoke()
					remove := at(s, n)
					r, _ := l.round()
					remove()
					for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
						if o.Trouble != nil {
							wellSaid(t, o.Trouble)
						} else if !o.Done {
							t.Errorf("%s at call %d: %+v", kindName, n, r)
						}
					}
					l.close()
					f.closed(t)
				})
			}
		}
	})
}
