package actions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// among sets what each grant hears of the others, as the bot's worker tells it.
func among(list ...*life) {
	for _, l := range list {
		l.others = func() []grant.Grant {
			var out []grant.Grant
			for _, o := range list {
				if o != l && o.g.Live() {
					out = append(out, o.g)
				}
			}
			return out
		}
	}
}

// Sessions of other people, on the same instance and elsewhere, are left alone;
// ours end wherever they run, connected or not.
func TestClose_onlyTheRolesSessions(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		admin := s.cell.Account.Role("Administrator").Attach("arn:aws:iam::aws:policy/AdministratorAccess", awssim.AdministratorAccess)
		similar := s.cell.Account.Role(roleName+"-2").Attach("arn:aws:iam::aws:policy/AdministratorAccess", awssim.AdministratorAccess)
		elsewhere := s.cell.Region.Instance("i-0aaaaaaaaaaaaaaaa").Profile("privileged-access-" + cellName)
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		var mine, theirs []string
		for range 3 {
			id, _ := s.mustShell(creds)
			mine = append(mine, id)
		}
		id, sh := s.mustShell(creds)
		sh.Disconnect()
		mine = append(mine, id)
		here := s.cell.Instance
		s.cell.Instance = elsewhere
		id, _ = s.mustShell(creds)
		s.cell.Instance = here
		mine = append(mine, id)
		for _, r := range []*awssim.Role{admin, similar} {
			id, _ := s.mustShell(r.Credentials("support-engineer"))
			theirs = append(theirs, id)
		}
		l.close()
		var ended []string
		for _, e := range l.g.Ending.Ended {
			ended = append(ended, e.ID)
		}
		slices.Sort(ended)
		slices.Sort(mine)
		if !slices.Equal(ended, mine) {
			t.Errorf("ended %v, want %v", ended, mine)
		}
		for _, session := range s.cell.Region.Sessions() {
			if live := session.Status != "Terminated"; live != slices.Contains(theirs, session.ID) {
				t.Errorf("session %s of %s is %s", session.ID, session.Owner, session.Status)
			}
		}
	})
}

// More sessions than fit on a page.
func TestClose_manySessions(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		for range 230 {
			s.mustShell(creds)
		}
		r, _ := l.revoke().round()
		if len(r.Live) != 230 || len(r.Ended) != 230 {
			t.Errorf("live %d, ended %d, want 230", len(r.Live), len(r.Ended))
		}
		l.close()
	})
}

// A session that somebody opens between our first look and the removal of the
// trust, and one that is told to end and takes its time.
func TestClose_sessionsThatComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Tune(func(k *awssim.Knobs) { k.TerminateDelay = 20 * time.Second })
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		var late string
		s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
			if c.Name() == "iam:UpdateAssumeRolePolicy" && late == "" {
				late = "…"
				late, _ = s.mustShell(creds)
			}
			return nil
		})
		l.close()
		if n := len(l.g.Ending.Ended); n != 1 || l.g.Ending.Ended[0].ID != late {
			t.Errorf("ended %+v, want %s", l.g.Ending.Ended, late)
		}
		if r := l.rounds[0]; len(r.Live) != 1 {
			t.Errorf("the first round saw %+v", r.Live)
		}
		if d := l.g.ClosedAt.Sub(l.g.Ending.Since); d < time.Minute {
			t.Errorf("closed after %s", d)
		}
	})
}

// TerminateSession answers that it has worked, and the session lives on: what
// counts is the list, and everybody on it is told to end in every round.
func TestClose_terminateThatEndsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		id, shell := s.mustShell(creds)
		s.world.Tune(func(k *awssim.Knobs) { k.TerminateIgnored = true })
		l.revoke()
		for works := time.Now().Add(3 * time.Minute); time.Now().Before(works); {
			r, due := l.round()
			if due.IsZero() {
				t.Fatal("it is closed while the shell lives")
			}
			if len(r.Live) != 1 || r.Live[0].ID != id || len(r.Ended) != 1 {
				t.Errorf("round: %+v", r)
			}
			time.Sleep(time.Until(due))
		}
		if _, err := shell.Type("whoami"); err != nil {
			t.Errorf("the shell: %v", err)
		}
		s.world.Tune(func(k *awssim.Knobs) { k.TerminateIgnored = false })
		l.close()
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
	})
}

// A session that ends by itself before it can be told to.
func TestClose_sessionEndedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
			if c.Name() == "ssm:TerminateSession" {
				sh.Exit()
			}
			return nil
		})
		r, _ := l.revoke().round()
		if r.Sessions.Trouble != nil || !r.Sessions.Done {
			t.Errorf("sessions: %+v", r.Sessions)
		}
		l.close()
	})
}

// Each step is tried though another fails: IAM is away, the session dies all the
// same; Systems Manager is away, the trust goes all the same.
func TestClose_stepsAreIndependent(t *testing.T) {
	for name, tt := range map[string]struct {
		call string
		ok   func(grant.Round) bool
	}{
		"iam is away": {"iam:*", func(r grant.Round) bool {
			return r.Trust.Trouble != nil && r.Credentials.Trouble != nil && r.Sessions.Done && len(r.Ended) == 1
		}},
		"the trust cannot be written": {"iam:UpdateAssumeRolePolicy", func(r grant.Round) bool {
			return r.Trust.Trouble != nil && r.Credentials.Done && r.Sessions.Done && len(r.Ended) == 1
		}},
		"the policy cannot be put": {"iam:PutRolePolicy", func(r grant.Round) bool {
			return r.Trust.Done && r.Credentials.Trouble != nil && r.Sessions.Done && len(r.Ended) == 1
		}},
		"sessions cannot be ended": {"ssm:TerminateSession", func(r grant.Round) bool {
			return r.Trust.Done && r.Credentials.Done && r.Sessions.Trouble != nil && len(r.Live) == 1
		}},
		"sessions cannot be listed": {"ssm:DescribeSessions", func(r grant.Round) bool {
			return r.Trust.Done && r.Credentials.Done && r.Sessions.Trouble != nil
		}},
	} {
		for _, kind := range []awssim.FaultKind{awssim.Deny, awssim.ServerError, awssim.DropBefore} {
			t.Run(fmt.Sprint(name, " ", kind), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, s *stage) {
					f := s.remember()
					l := s.request().open()
					creds, err := s.vendor(vendorARN).assume()
					if err != nil {
						t.Fatal(err)
					}
					s.mustShell(creds)
					remove := s.world.Inject(awssim.Fault{Call: tt.call, Account: account, Kind: kind})
					began := time.Now()
					r, _ := l.revoke().round()
					if !tt.ok(r) {
						t.Errorf("round: %+v", r)
					}
					if d := time.Since(began); d > 40*time.Second {
						t.Errorf("the round took %s", d)
					}
					for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
						if o.Trouble == nil {
							continue
						}
						wellSaid(t, o.Trouble)
						if kind == awssim.Deny && !strings.Contains(o.Trouble.Text, "may not call ") {
							t.Errorf("the missing permission is not named: %s", o.Trouble.Text)
						}
					}
					remove()
					l.close()
					f.closed(t)
				})
			})
		}
	}
}

// IAM hangs. The sessions end at once all the same, and the round comes to its
// end, so that people see what is stuck.
func TestClose_iamHangs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		remove := s.world.Inject(awssim.Fault{Call: "iam:*", Latency: time.Hour})
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
				t.Errorf("after a second the shell lives: %v", err)
			}
		})
		r, _ := l.revoke().round()
		if d := time.Since(began); d > 40*time.Second {
			t.Errorf("the round took %s", d)
		}
		if r.Trust.Trouble == nil || r.Credentials.Trouble == nil || !r.Sessions.Done {
			t.Errorf("round: %+v", r)
		}
		for _, o := range []grant.Outcome{r.Trust, r.Credentials} {
			if o.Trouble != nil {
				wellSaid(t, o.Trouble)
			}
		}
		remove()
		l.close()
	})
}

// Two grants for one principal: the first to end takes its statement, and leaves
// the other's access and sessions alone.
func TestClose_anotherGrantOfTheSamePrincipal(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		f := s.remember()
		long := s.request().open()
		short := s.request(func(r *grant.Request) { r.Duration = time.Hour })
		among(long, short)
		short.open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		short.close()
		if got := short.g.Ending.StillTrusted; !slices.Equal(got, []grant.ID{long.g.ID}) {
			t.Errorf("still trusted by %v", got)
		}
		if len(short.rounds) != 1 {
			t.Errorf("%d rounds, want 1: there is nothing to wait for", len(short.rounds))
		}
		if _, err := sh.Type("whoami"); err != nil {
			t.Errorf("the other grant's shell: %v", err)
		}
		if _, _, err := s.shell(creds); err != nil {
			t.Errorf("the other grant's credentials: %v", err)
		}
		if got := s.cell.Role.TrustDocument(); strings.Contains(got, short.g.ID.Sid()) || !strings.Contains(got, long.g.Access.Statement) {
			t.Errorf("trust policy: %s", got)
		}
		long.close()
		if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		f.closed(t)
	})
}

// Another grant for the principal is approved, and has written nothing yet; perhaps it
// never will. Who is inside came in by the one that ends, and is put out with it.
func TestClose_anotherThatHasWrittenNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		ends := s.request().open()
		waits := s.request()
		among(ends, waits)
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		ends.close()
		if got := ends.g.Ending.StillTrusted; len(got) != 0 {
			t.Errorf("left to %v, which has opened nothing", got)
		}
		if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("the credentials still open shells")
		}
		waits.open()
		if _, err := s.vendor(vendorARN).assume(); err != nil {
			t.Errorf("the other is open, and lets nobody in: %v", err)
		}
	})
}

// The hard stop follows the latest end of what is open on the role.
func TestClose_hardStopFollows(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		stop := func() string { p, _ := s.cell.Role.InlinePolicy("BreakglassHardStop"); return p }
		has := func(l *life) bool { return strings.Contains(stop(), l.g.End.Format(time.RFC3339)) }
		short := s.request(func(r *grant.Request) { r.Duration = time.Hour }).open()
		if !has(short) {
			t.Errorf("hard stop: %s", stop())
		}
		long := s.request(func(r *grant.Request) { r.Principal = otherARN })
		among(long, short)
		long.open()
		if !has(long) {
			t.Errorf("hard stop after the longer one: %s", stop())
		}
		third := s.request(func(r *grant.Request) { r.Duration = 2 * time.Hour })
		third.others = func() []grant.Grant { return nil } // the statements in AWS count, too
		third.open()
		if !has(long) {
			t.Errorf("hard stop after the third: %s", stop())
		}
		among(long, short, third)
		third.close()
		long.close()
		if !has(short) {
			t.Errorf("hard stop after the longer ones are closed: %s", stop())
		}
		short.close()
		if !has(short) {
			t.Errorf("hard stop after all: %s", stop())
		}
	})
}

// A thousand grants may end in one second; what waits for one role goes in one
// write.
func TestClose_manyAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Account.SetTrustQuota(8192)
		s.world.Tune(func(k *awssim.Knobs) { k.Latency = 50 * time.Millisecond })
		f := s.remember()
		var all []*life
		for range 20 {
			l := s.request()
			all = append(all, l)
			among(all...)
			l.open()
		}
		for _, l := range all {
			l.revoke()
		}
		s.world.ForgetCalls()
		began := time.Now()
		rounds := make([]grant.Round, len(all))
		var wg sync.WaitGroup
		for i, l := range all {
			others := l.others()
			wg.Go(func() { rounds[i] = s.aws.Close(t.Context(), l.g, others) })
		}
		wg.Wait()
		if d := time.Since(began); d > time.Second {
			t.Errorf("the round took %s", d)
		}
		removed := 0
		for i, r := range rounds {
			if !r.Trust.Done || !r.Credentials.Done || !r.Sessions.Done {
				t.Errorf("round of %s: %+v", all[i].g.ID, r)
			}
			removed += len(r.Removed)
		}
		if removed != len(all) {
			t.Errorf("%d removed, want each its own", removed)
		}
		n := map[string]int{}
		for _, w := range s.writes() {
			n[w]++
		}
		if n["iam:UpdateAssumeRolePolicy"] != 1 || n["iam:PutRolePolicy"] != 1 {
			t.Errorf("writes: %v", n)
		}
		f.closed(t)
	})
}

// The vendor's own instructions have a human paste the principal without a Sid.
// The last grant for it takes that out, too; and no earlier one.
func TestClose_principalThatAHumanPut(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:root","` + vendorARN + `"]},"Action":"sts:AssumeRole"}]}`)
		one := s.request()
		finding(t, s.aws.Check(t.Context(), one.g), "trust", grant.Warning, "trusted already", "statement 2, which has no Sid")
		one.open()
		two := s.request()
		among(one, two)
		two.open()
		one.close()
		if got := s.cell.Role.TrustDocument(); strings.Count(got, vendorARN) != 2 {
			t.Errorf("trust policy after the first: %s", got)
		}
		two.close()
		const want = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:root"]},"Action":"sts:AssumeRole"}]}`
		if got := s.cell.Role.TrustDocument(); got != want {
			t.Errorf("trust policy after the last:\n%s\nwant\n%s", got, want)
		}
		if !slices.ContainsFunc(two.g.Ending.Removed, func(r string) bool { return strings.Contains(r, "statement 2") }) {
			t.Errorf("removed: %v", two.g.Ending.Removed)
		}
	})
}

// Another grant for the principal is just being opened, between its hard stop
// and its statement: nothing in AWS tells of it yet, nor does the caller.
func TestClose_whileAnotherArrives(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
		one := s.request().open().revoke()
		two := s.request()
		_, err := s.aws.Open(t.Context(), two.g, nil, func(ev grant.StepChanged) error {
			if ev.Step == grant.StepTrust && ev.State == grant.Running {
				s.aws.Close(t.Context(), one.g, nil)
			}
			return two.step(ev)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.cell.Role.TrustDocument(); !strings.Contains(got, "ByHand") || strings.Contains(got, one.g.ID.Sid()) || !strings.Contains(got, two.g.ID.Sid()) {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// A grant that was never opened takes nothing away from anybody.
func TestClose_nothingWasOpened(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
		f := s.remember()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		s.world.ForgetCalls()
		l := s.request().close()
		if len(l.rounds) != 1 || !l.rounds[0].Credentials.Skipped || l.rounds[0].Credentials.Note != "nothing was opened" {
			t.Errorf("rounds: %+v", l.rounds)
		}
		s.noWrites()
		if _, err := sh.Type("whoami"); err != nil {
			t.Errorf("somebody else's shell: %v", err)
		}
		if got := s.cell.Role.TrustDocument(); got != f.trust {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// One orphan in any statement makes IAM refuse every write, our revocation
// included: it goes in the same write, and that is said.
func TestClose_orphans(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		gone := s.world.ForeignRole("arn:aws:iam::111122223333:role/left-the-company")
		s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `{"Service":"ec2.amazonaws.com"}`, `{"Service":"ec2.amazonaws.com","AWS":["`+gone.ARN()+`"]}`, 1))
		gone.Delete()
		l.close()
		if got := s.cell.Role.TrustDocument(); strings.Contains(got, "AROA") || !strings.Contains(got, "ec2.amazonaws.com") {
			t.Errorf("trust policy: %s", got)
		}
		if !slices.ContainsFunc(l.g.Ending.Removed, func(r string) bool { return strings.Contains(r, gone.UniqueID()) }) {
			t.Errorf("removed: %v", l.g.Ending.Removed)
		}
	})
}

// SingleStore deletes its own role while access is open: our statement is the
// orphan then.
func TestClose_vendorsRoleIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		f := s.remember()
		l := s.request().open()
		s.cell.Vendor.Delete()
		l.close()
		f.closed(t)
	})
}

// Our statement was the only one: a placeholder stays that trusts nobody.
func TestClose_lastStatement(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[` + l.g.Access.Statement + `]}`)
		l.close()
		got := s.cell.Role.TrustDocument()
		if !strings.Contains(got, "BreakglassPlaceholder") || strings.Contains(got, "Deny") || strings.Contains(got, vendorARN) {
			t.Errorf("trust policy: %s", got)
		}
		s.request().open().close() // it is in nobody's way
	})
}

// A human has trusted the vendor's whole account meanwhile. That is theirs to
// change; but nobody may call it closed.
func TestClose_tooWideForUs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request(quick).open()
		doc := s.cell.Role.TrustDocument()
		s.cell.Role.Trust(strings.Replace(doc, `{"Service":"ec2.amazonaws.com"}`, `{"AWS":"arn:aws:iam::111122223333:root"}`, 1))
		r, _ := l.revoke().round()
		if r.Trust.Trouble == nil || r.Trust.Done || !r.Credentials.Done {
			t.Fatalf("round: %+v", r)
		}
		wantTrouble(t, r.Trust.Trouble, grant.Refused, grant.StepTrust, "still trusted", "its whole account", "Narrow or remove")
		if strings.Contains(s.cell.Role.TrustDocument(), l.g.ID.Sid()) {
			t.Error("our own statement is still there")
		}
		s.cell.Role.Trust(doc)
		l.close()
	})
}

// The role is deleted while access is open: nothing can be trusted any more, and
// its sessions still have to end.
func TestClose_roleIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		s.cell.Role.Delete()
		l.close()
		if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if r := l.rounds[0]; !r.Credentials.Skipped || !strings.Contains(r.Credentials.Note, "does not exist any more") {
			t.Errorf("credentials: %+v", r.Credentials)
		}
	})
}

// The role is the instance's own: the denies spare the instance, or its agent
// would be cut off and nobody could open a shell any more.
func TestClose_sparesTheInstance(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Attach("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore", awssim.SSMManagedInstanceCore).
			Attach("arn:aws:iam::444455556666:policy/session-logging", awssim.SessionLogging)
		s.cell.Account.InstanceProfile("shared", roleName)
		s.cell.Instance.Profile("shared")
		l := s.request()
		finding(t, s.aws.Check(t.Context(), l.g), "link", grant.OK, "is the instance's own role", "spares the instance")
		l.open().close()
		later := s.request(func(r *grant.Request) { r.Principal = otherARN }).open()
		creds, err := s.vendor(otherARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		id, _ := s.mustShell(creds)
		if streams := s.cell.LogGroup.Streams(); !slices.Contains(streams, id) {
			t.Errorf("the instance cannot write its log: %v", streams)
		}
		time.Sleep(time.Until(later.g.End) + time.Minute) // the hard stop bites
		if _, err := ssm.NewFromConfig(s.config(s.cell.Instance.Credentials())).DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"}); err != nil {
			t.Errorf("the instance's own credentials: %v", err)
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("the vendor's credentials work after the end")
		}
		later.close()
	})
}

// The bot's credentials are of another account than the cell's: it ends nobody's
// sessions there, and writes nothing.
func TestClose_wrongAccount(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		s.mustShell(creds)
		s.world.Account("999988887777")
		s.conf.Account, l.g.Account = "999988887777", "999988887777"
		s.start()
		s.world.ForgetCalls()
		r, _ := l.revoke().round()
		for step, o := range map[string]grant.Outcome{grant.StepTrust: r.Trust, grant.StepCredentials: r.Credentials, grant.StepSessions: r.Sessions} {
			wantTrouble(t, o.Trouble, grant.Refused, step, "of account "+account)
		}
		s.noWrites()
	})
}

// What AWS says about a session that has ended already is a validation error.
func TestClose_sessionInNoValidState(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		s.mustShell(creds)
		remove := s.world.Inject(awssim.Fault{Call: "ssm:TerminateSession", Kind: awssim.Instead, Error: &awssim.Error{Status: 400, Code: "ValidationException", Message: "Session is not in a valid state"}})
		if r, _ := l.revoke().round(); r.Sessions.Trouble != nil || !r.Sessions.Done {
			t.Errorf("sessions: %+v", r.Sessions)
		}
		remove()
		l.close()
	})
}

// The write was done and its answer lost: we look, and do not do it again.
func TestClose_answerLost(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		f := s.remember()
		l := s.request().open()
		s.world.ForgetCalls()
		s.world.Inject(awssim.Fault{Call: "iam:UpdateAssumeRolePolicy", Count: 1, Kind: awssim.DropAfter})
		r, _ := l.revoke().round()
		if !r.Trust.Done || len(r.Removed) != 1 {
			t.Errorf("trust: %+v, removed %v", r.Trust, r.Removed)
		}
		if n := strings.Count(strings.Join(s.writes(), " "), "UpdateAssumeRolePolicy"); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
		l.close()
		f.closed(t)
	})
}

// Terraform puts our statement back after it was removed: the next round takes
// it out again, and the clock of the proof begins anew.
func TestClose_statementComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		with := s.cell.Role.TrustDocument()
		time.AfterFunc(40*time.Second, func() { s.cell.Role.Trust(with) })
		began := time.Now()
		l.close()
		if d := time.Since(began); d < 95*time.Second {
			t.Errorf("closed after %s, want a minute from the second removal", d)
		}
		if strings.Contains(s.cell.Role.TrustDocument(), l.g.ID.Sid()) {
			t.Error("the statement is there")
		}
	})
}

// Credentials that were issued while the removal still travelled through AWS die
// as well.
func TestClose_slowPropagation(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		s.world.Tune(func(k *awssim.Knobs) { k.Propagation = 10 * time.Second })
		time.Sleep(time.Minute)
		r, due := l.revoke().round()
		if !r.Trust.Done {
			t.Fatalf("round: %+v", r)
		}
		creds, err := s.vendor(vendorARN).assume() // the old trust still answers
		if err != nil {
			t.Fatal(err)
		}
		_, sh := s.mustShell(creds)
		time.Sleep(time.Until(due))
		l.close()
		if _, err := sh.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("late credentials still work")
		}
		if cut := l.g.Ending.CutOff; cut.Before(l.g.Ending.TrustGoneAt.Add(grant.DefaultSettle)) {
			t.Errorf("the cut-off %s is before everything had settled", cut)
		}
	})
}

// The grant's cell is not configured any more: it cannot be closed, and that is
// said, not skipped.
func TestClose_cellIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().revoke()
		s.conf.Name = "renamed"
		s.start()
		r, _ := l.round()
		for step, o := range map[string]grant.Outcome{grant.StepTrust: r.Trust, grant.StepCredentials: r.Credentials, grant.StepSessions: r.Sessions} {
			wantTrouble(t, o.Trouble, grant.Refused, step, "put the cell")
		}
	})
}
