package actions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// stray finds trust by what it names, as the look at the role shows it.
func (s *stage) stray(principal string) grant.Trust {
	s.t.Helper()
	v := s.survey()
	i := slices.IndexFunc(v.Trust, func(t grant.Trust) bool { return t.Principal == principal })
	if i < 0 {
		s.t.Fatalf("%s is not among %+v", principal, v)
	}
	return v.Trust[i]
}

// remove is an approver's press on Remove.
func (s *stage) remove(x grant.Trust, change ...func(*grant.Remove)) *life {
	s.t.Helper()
	if s.nextN < 100 {
		s.nextN = 100 // far from the ids in the documents
	}
	s.nextN++
	l := &life{s: s, g: grant.Grant{ID: s.nextN}, others: func() []grant.Grant { return nil }}
	e := grant.Remove{
		By: grant.Actor{Kind: grant.Person, User: approver, Approver: true}, Token: "token",
		Cell: s.conf.Name, Account: s.conf.Account, Region: s.conf.Region,
		Stray: grant.Stray{Trust: x, Token: "stray", RoleARN: s.cell.Role.ARN(), RoleName: s.cell.Role.Name(), Seen: time.Now()},
		Terms: grant.Terms{AWSEnforced: true, Settle: grant.DefaultSettle},
	}
	for _, f := range change {
		f(&e)
	}
	l.apply(e)
	return l
}

// soon makes the proof short.
func soon(e *grant.Remove) { e.Terms.Settle = 2 * time.Second }

// removed holds what the grant says that it took out.
func (l *life) removed(words ...string) {
	l.s.t.Helper()
	all := strings.Join(l.g.Ending.Removed, "; ")
	for _, w := range words {
		if !strings.Contains(all, w) {
			l.s.t.Errorf("%q is not in what was removed: %s", w, all)
		}
	}
	if len(words) == 0 && all != "" {
		l.s.t.Errorf("removed: %s", all)
	}
}

// A document with something in every style that somebody may have left there; %s
// is where the stray is.
const strayIn = `{
  "Statement": [%s
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    {"NotAction":["sts:TagSession"],"Effect":"Allow", "Principal":{"AWS":"arn:aws:iam::444455556666:role/auditor"},"Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":3.6e3},"StringEquals":{"sts:ExternalId":"a\u002Bb"}}}
  ],
  "Version": "2008-10-17"
}`

// Whatever trust no grant explains is taken out as exactly what it is, everything
// else keeps its bytes, and what it may have let in ends.
func TestRemoval_everyForm(t *testing.T) {
	const (
		auditor = "arn:aws:iam::444455556666:role/auditor"
		root    = "arn:aws:iam::111122223333:root"
		another = "arn:aws:iam::222233334444:root"
		user    = "arn:aws:iam::111122223333:user/eve"
		session = "arn:aws:sts::111122223333:assumed-role/singlestore-support/alice"
		byHand  = `{"Effect":"Allow","Principal":{"AWS":%s},"Action":"sts:AssumeRole"},`
		outlast = `{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"%s"},"Action":"sts:AssumeRole"%s},`
		until   = `,"Condition":{"DateLessThan":{"aws:CurrentTime":"2026-12-24T00:00:00Z"}}`
	)
	for name, tt := range map[string]struct {
		principal     string
		before, after string // what stands in strayIn
		words         []string
	}{
		"the vendor's role, in a list with others": {
			vendorARN, fmt.Sprintf(byHand, `[ "`+another+`", "`+vendorARN+`" , "`+auditor+`"]`), fmt.Sprintf(byHand, `[ "`+another+`" , "`+auditor+`"]`),
			[]string{vendorARN + " from statement 1, which has no Sid"},
		},
		"the vendor's role, in a statement of its own": {
			vendorARN, fmt.Sprintf(byHand, `"`+vendorARN+`"`), "",
			[]string{vendorARN + " from statement 1"},
		},
		"the vendor's whole account": {
			root, fmt.Sprintf(byHand, `["`+auditor+`","`+root+`"]`), fmt.Sprintf(byHand, `["`+auditor+`"]`),
			[]string{root + " from statement 1"},
		},
		"its account by the id": {
			root, fmt.Sprintf(byHand, `"111122223333"`), "",
			[]string{root + " from statement 1"},
		},
		"a user": {
			user, fmt.Sprintf(byHand, `["`+user+`"]`), "",
			[]string{user + " from statement 1"},
		},
		"one session": {
			session, fmt.Sprintf(byHand, `"`+session+`"`), "",
			[]string{session + " from statement 1"},
		},
		"a statement of ours that outlived its grant": {
			vendorARN, fmt.Sprintf(outlast, vendorARN, until), "",
			[]string{"statement BreakglassBG7 (" + vendorARN + ")"},
		},
		"one of ours without an end": {
			vendorARN, fmt.Sprintf(outlast, vendorARN, ""), "",
			[]string{"statement BreakglassBG7 (" + vendorARN + ")"},
		},
		"one of ours that has ended": {
			vendorARN, fmt.Sprintf(outlast, vendorARN, strings.Replace(until, "2026-12", "2026-11", 1)), "",
			[]string{"statement BreakglassBG7 (" + vendorARN + ")"},
		},
		"one of ours for a role that was deleted": {
			"AROA", fmt.Sprintf(outlast, "arn:aws:iam::111122223333:role/deleted", ""), "",
			[]string{"statement BreakglassBG7 (AROA"},
		},
		"one of ours that names the company's own, who keep what is theirs": {
			auditor, fmt.Sprintf(outlast, auditor, ""), "",
			[]string{"statement BreakglassBG7 (" + auditor + ")"},
		},
		"one of ours for everybody": {
			"*", fmt.Sprintf(outlast, "*", ""), "",
			[]string{"statement BreakglassBG7 (*)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.cell.Account.Role("auditor")
				s.world.Account("111122223333").User("eve")
				s.world.Account("222233334444")
				deleted := s.world.ForeignRole("arn:aws:iam::111122223333:role/deleted")
				s.cell.Role.Trust(fmt.Sprintf(strayIn, tt.before))
				deleted.Delete()
				principal := strings.Replace(tt.principal, "AROA", deleted.UniqueID(), 1)
				s.cell.Role.Attach("arn:aws:iam::"+account+":policy/session-starter", awssim.SessionStarter)
				_, shell := s.mustShell(s.cell.Role.Credentials("whoever-came-in"))

				l := s.remove(s.stray(principal))
				began := time.Now()
				l.close()
				if d := time.Since(began); d < time.Minute {
					t.Errorf("called proven after %s", d)
				}
				if got, want := s.cell.Role.TrustDocument(), fmt.Sprintf(strayIn, tt.after); strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
					t.Errorf("trust policy:\n%s\nwant\n%s", got, want)
				}
				if _, tail, _ := strings.Cut(strayIn, "%s\n"); !strings.HasSuffix(s.cell.Role.TrustDocument(), strings.TrimSpace(tail)) {
					t.Errorf("others' statements lost their bytes:\n%s", s.cell.Role.TrustDocument())
				}
				l.removed(tt.words...)
				if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
					t.Errorf("the shell lives: %v", err)
				}
				if p, _ := s.cell.Role.InlinePolicy("AWSRevokeOlderSessions"); p == "" {
					t.Error("what was issued was not revoked")
				}
				s.trusts()
			})
		})
	}
}

// It was the only statement: the placeholder takes its place.
func TestRemoval_lastStatement(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`)
		s.remove(s.stray("arn:aws:iam::111122223333:root")).close()
		if got := s.cell.Role.TrustDocument(); !strings.Contains(got, "BreakglassPlaceholder") || strings.Contains(got, "Deny") || strings.Contains(got, "111122223333") {
			t.Errorf("trust policy: %s", got)
		}
		s.trusts()
	})
}

// SingleStore's engineer came in by trust that nobody explains: credentials and
// shell end with it, and there is no way back in.
func TestRemoval_endsWhatItLetIn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		v := s.vendor(vendorARN)
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"Wide","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`)
		creds, err := v.assume()
		if err != nil {
			t.Fatal(err)
		}
		id, shell := s.mustShell(creds)
		l := s.remove(s.stray("arn:aws:iam::111122223333:root")).close()
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("the credentials still open a shell")
		}
		if _, err := v.assume(); err == nil {
			t.Error("the vendor may still assume the role")
		}
		if e := l.g.Ending.Ended; len(e) != 1 || e[0].ID != id {
			t.Errorf("ended: %+v", e)
		}
	})
}

// What somebody else is trusted by besides is not taken out with it; but as long
// as it lets the same principal in, nothing is called closed.
func TestRemoval_stillTrustedByWiderOnes(t *testing.T) {
	for _, principal := range []string{vendorARN, "arn:aws:iam::111122223333:user/eve", "arn:aws:sts::111122223333:assumed-role/singlestore-support/alice"} {
		t.Run(principal, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Account("111122223333").User("eve")
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"Wide","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"},{"Sid":"Narrow","Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`)
				narrow := s.remove(s.stray(principal), soon)
				r, _ := narrow.round()
				wantTrouble(t, r.Trust.Trouble, grant.Refused, grant.StepTrust, principal+" is still trusted", "its whole account", "statement Wide")
				narrow.removed(principal + " from statement Narrow")
				s.remove(s.stray("arn:aws:iam::111122223333:root"), soon).close()
				narrow.close()
				s.trusts()
			})
		})
	}
}

// A crash between any two calls, and the same again by a new process.
func TestRemoval_crash(t *testing.T) {
	removals(t, func(t *testing.T, prepare func(*stage) *life) {
		for _, after := range []bool{false, true} {
			for n := 1; n <= closeCalls(t, prepare); n++ {
				bubble(t, func(t *testing.T, s *stage) {
					l := prepare(s)
					remove := s.crashAt(n, after, func(ctx context.Context) { s.aws.Close(ctx, l.g, nil) })
					remove()
					s.start()
					l.close()
					s.trusts()
				})
			}
		}
	})
}

// Each fault at each call of a round: it is said in words, and the next round does
// it.
func TestRemoval_faults(t *testing.T) {
	removals(t, func(t *testing.T, prepare func(*stage) *life) {
		for _, kind := range []awssim.FaultKind{awssim.Throttle, awssim.Deny, awssim.ServerError, awssim.DropBefore, awssim.DropAfter} {
			for n := 1; n <= closeCalls(t, prepare); n++ {
				bubble(t, func(t *testing.T, s *stage) {
					l := prepare(s)
					var seen atomic.Int64
					remove := s.world.Before(func(context.Context, awssim.Call) *awssim.Fault {
						if seen.Add(1) == int64(n) {
							return &awssim.Fault{Kind: kind}
						}
						return nil
					})
					r, _ := l.round()
					remove()
					for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
						if o.Trouble != nil {
							wellSaid(t, o.Trouble)
						} else if !o.Done {
							t.Errorf("fault %v at call %d: %+v", kind, n, r)
						}
					}
					l.close()
					s.trusts()
				})
			}
		}
	})
}

// removals calls a test with a stray of each sort, that prepare begins to remove.
func removals(t *testing.T, test func(t *testing.T, prepare func(*stage) *life)) {
	t.Helper()
	for name, tt := range map[string]struct{ statement, principal string }{
		"people's": {`{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root"]},"Action":"sts:AssumeRole"},`, "arn:aws:iam::111122223333:root"},
		"ours":     {`{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"},`, vendorARN},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(s *stage) *life {
				s.cell.Account.Role("auditor")
				s.cell.Role.Trust(fmt.Sprintf(strayIn, tt.statement))
				x := s.stray(tt.principal)
				s.start() // a process that has not read anything yet
				return s.remove(x, soon)
			})
		})
	}
}

// closeCalls counts the calls of one round.
func closeCalls(t *testing.T, prepare func(*stage) *life) int {
	t.Helper()
	n := 0
	bubble(t, func(_ *testing.T, s *stage) {
		l := prepare(s)
		n = s.calls(func() { l.round() })
	})
	if n < 8 {
		t.Fatalf("a round has only %d calls", n)
	}
	return n
}

// IAM answers with old states: the removal is neither done twice nor called done
// before it is seen.
func TestRemoval_staleReads(t *testing.T) {
	for _, flapping := range []bool{false, true} {
		t.Run(fmt.Sprintf("flapping %t", flapping), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
				x := s.stray(vendorARN)
				s.world.Tune(func(k *awssim.Knobs) { k.StaleReads, k.FlappingReads = 6*time.Second, flapping })
				l := s.remove(x)
				began := time.Now()
				if r, _ := l.round(); !r.Trust.Done || time.Since(began) < 6*time.Second {
					t.Errorf("after %s: %+v", time.Since(began), r.Trust)
				}
				l.close()
				if n := strings.Count(strings.Join(s.writes(), " "), "UpdateAssumeRolePolicy"); n != 1 {
					t.Errorf("%d writes of the trust policy, want 1", n)
				}
				s.trusts()
			})
		})
	}
}

// Another grant is open on the role. It keeps its statement; and where it is for
// the same principal, what people wrote for that stays with it until it ends.
func TestRemoval_anotherGrantIsOpen(t *testing.T) {
	const stray = `{"Sid":"ByHand","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"},{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"},`
	const ec2Only = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	prepare := func(s *stage) (byHand, outlived grant.Trust) {
		s.cell.Role.Trust(strings.Replace(ec2Only, "[", "["+stray, 1))
		v := s.survey()
		return v.Trust[0], v.Trust[1]
	}
	t.Run("for another principal", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			byHand, _ := prepare(s)
			open := s.request(func(r *grant.Request) { r.Principal = otherARN }).open()
			l := s.remove(byHand)
			among(open, l)
			l.close()
			l.removed(vendorARN+" from statement ByHand", vendorARN+" from statement BreakglassBG7")
			if got := s.cell.Role.TrustDocument(); !strings.Contains(got, open.g.Access.Statement) || strings.Contains(got, vendorARN) {
				t.Errorf("trust policy: %s", got)
			}
			stop, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
			if !strings.Contains(stop, open.g.End.Format(time.RFC3339)) {
				t.Errorf("hard stop: %s", stop)
			}
			open.close()
		})
	})
	t.Run("for the same principal", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			byHand, outlived := prepare(s)
			open := s.request().open()
			creds, err := s.vendor(vendorARN).assume()
			if err != nil {
				t.Fatal(err)
			}
			_, shell := s.mustShell(creds)
			ours, theirs := s.remove(outlived), s.remove(byHand)
			among(open, ours, theirs)
			ours.close()
			ours.removed("statement BreakglassBG7 (" + vendorARN + ")")
			theirs.close()
			theirs.removed()
			if note := theirs.rounds[0].Trust.Note; !strings.Contains(note, "left alone: it is BG-1's now") {
				t.Errorf("trust: %s", note)
			}
			if got := s.cell.Role.TrustDocument(); !strings.Contains(got, "ByHand") || strings.Contains(got, "BreakglassBG7") || !strings.Contains(got, open.g.Access.Statement) {
				t.Errorf("trust policy: %s", got)
			}
			if _, err := shell.Type("whoami"); err != nil {
				t.Errorf("the open grant's shell: %v", err)
			}
			open.close()
			if got := s.cell.Role.TrustDocument(); got != ec2Only {
				t.Errorf("trust policy: %s", got)
			}
		})
	})
}

// The role has been deleted meanwhile: nothing trusts anybody, and its sessions
// still end.
func TestRemoval_roleIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		_, shell := s.mustShell(creds)
		l := s.remove(s.stray(vendorARN))
		s.cell.Role.Delete()
		l.close()
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("the shell lives: %v", err)
		}
		if r := l.rounds[0]; !strings.Contains(r.Trust.Note, "does not exist any more") || !r.Credentials.Skipped {
			t.Errorf("round: %+v", r)
		}
	})
}

// Removals and the ends of grants that come together go in one write.
func TestRemoval_manyAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Account.SetTrustQuota(8192)
		s.world.Tune(func(k *awssim.Knobs) { k.Latency = 50 * time.Millisecond })
		s.cell.Account.Role("auditor")
		s.world.Account("111122223333").User("eve")
		var more strings.Builder
		for _, n := range []int{7, 8, 9} {
			fmt.Fprintf(&more, `{"Sid":"BreakglassBG%d","Effect":"Allow","Principal":{"AWS":"%s"},"Action":"sts:AssumeRole"},`, n, otherARN)
		}
		all := []*life{s.request(quick).open()}
		s.cell.Role.Trust(fmt.Sprintf(strayIn, `{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/eve","arn:aws:iam::444455556666:role/auditor"]},"Action":"sts:AssumeRole"},`+all[0].g.Access.Statement+`,`+more.String()))
		for _, x := range s.survey().Trust {
			if x.ID != all[0].g.ID {
				all = append(all, s.remove(x, soon))
			}
		}
		if len(all) != 6 {
			t.Fatalf("%d to be closed, want 6", len(all))
		}
		among(all...)
		all[0].revoke()
		s.world.ForgetCalls()
		rounds := make([]grant.Round, len(all))
		var wg sync.WaitGroup
		for i, l := range all {
			others := l.others()
			wg.Go(func() { rounds[i] = s.aws.Close(t.Context(), l.g, others) })
		}
		wg.Wait()
		for i, r := range rounds {
			if r.Trust.Trouble != nil || len(r.Removed) == 0 {
				t.Errorf("%s: %+v", all[i].g.ID, r)
			}
		}
		if n := strings.Count(strings.Join(s.writes(), " "), "UpdateAssumeRolePolicy"); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
		for _, l := range all {
			l.close()
		}
		s.trusts()
		if got := s.cell.Role.TrustDocument(); !strings.Contains(got, `{"AWS":["arn:aws:iam::444455556666:role/auditor"]}`) {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// Where the bot may not write, the person who has to do it by hand is told what.
func TestRemoval_deniedNamesIt(t *testing.T) {
	for principal, words := range map[string]string{vendorARN: "the statement BreakglassBG7", otherARN: "the principal " + otherARN} {
		bubble(t, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":{"AWS":"` + otherARN + `"},"Action":"sts:AssumeRole"}]}`)
			l := s.remove(s.stray(principal))
			s.world.Inject(awssim.Fault{Call: "iam:UpdateAssumeRolePolicy", Kind: awssim.Deny})
			r, _ := l.round()
			tr := wantTrouble(t, r.Trust.Trouble, grant.Refused, grant.StepTrust, "may not call iam:UpdateAssumeRolePolicy", words, roleName)
			if strings.Contains(tr.Remedy, l.g.ID.Sid()) {
				t.Errorf("it names a statement that was never there: %s", tr.Remedy)
			}
		})
	}
}

// A name that is nobody's is in a statement that people wrote: the bot does not
// decide whom that means, and calls nothing closed.
func TestRemoval_nobodyInParticular(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		const doc = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}]}`
		s.cell.Role.Trust(doc)
		r, _ := s.remove(grant.Trust{Principal: "*"}).round()
		wantTrouble(t, r.Trust.Trouble, grant.Refused, grant.StepTrust, `the principal "*"`, "Narrow")
		if got := s.cell.Role.TrustDocument(); got != doc {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// The database was lost, and its ids are given again: the statement that had
// outlived BG-7 has become the new BG-7's.
func TestRemoval_idGivenAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
		x := s.stray(vendorARN)
		s.nextN = 6
		seven := s.request(func(r *grant.Request) { r.Principal = otherARN }).open()
		l := s.remove(x)
		among(seven, l)
		l.close()
		if got := s.cell.Role.TrustDocument(); !strings.Contains(got, seven.g.Access.Statement) {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// An adopted statement goes with the grant that took it over, and stays as it was
// where that was never opened.
func TestClose_adopted(t *testing.T) {
	const before = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	with := strings.Replace(before, "[", `[{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"`+vendorARN+`"},"Action":"sts:AssumeRole"},`, 1)
	adopt := func(r *grant.Request) { r.Stray, r.Takes = "stray", 7 }
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(with)
		l := s.request(adopt).open()
		if got := s.cell.Role.TrustDocument(); !strings.Contains(got, "BreakglassBG7") || !strings.Contains(got, l.g.Access.Statement) {
			t.Errorf("trust policy: %s", got)
		}
		l.close()
		l.removed("statement BreakglassBG1 ("+vendorARN+")", "statement BreakglassBG7 ("+vendorARN+")")
		if got := s.cell.Role.TrustDocument(); got != before {
			t.Errorf("trust policy: %s", got)
		}
	})
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(with)
		s.request(adopt).close()
		s.noWrites()
		if got := s.cell.Role.TrustDocument(); got != with {
			t.Errorf("trust policy: %s", got)
		}
	})
	bubble(t, func(t *testing.T, s *stage) { // another grant for the same principal keeps it in, but not by that
		s.cell.Role.Trust(with)
		other := s.request().open()
		l := s.request(adopt)
		among(other, l)
		l.open().close()
		if got := s.cell.Role.TrustDocument(); strings.Contains(got, "BreakglassBG7") || strings.Contains(got, l.g.ID.Sid()) || !strings.Contains(got, other.g.Access.Statement) {
			t.Errorf("trust policy: %s", got)
		}
	})
}
