package actions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// survey looks at the cell's role, and holds that looking changes nothing.
func (s *stage) survey() grant.Survey {
	s.t.Helper()
	before := len(s.world.Writes())
	v := s.aws.Survey(s.t.Context(), s.conf.Name)
	if w := s.world.Writes()[before:]; len(w) > 0 {
		s.t.Errorf("looking changed AWS: %v", w)
	}
	if v.Trouble != nil {
		wellSaid(s.t, v.Trouble)
		if v.RoleARN != "" || len(v.Trust) > 0 {
			s.t.Errorf("trouble, and still something seen: %+v", v)
		}
	}
	return v
}

func (s *stage) trusts(want ...grant.Trust) {
	s.t.Helper()
	v := s.survey()
	if v.Trouble != nil {
		s.t.Fatalf("trouble: %v", v.Trouble)
	}
	if v.RoleARN != s.cell.Role.ARN() || v.RoleName != s.cell.Role.Name() {
		s.t.Errorf("role: %s, %s", v.RoleName, v.RoleARN)
	}
	if diff := cmp.Diff(want, v.Trust); diff != "" {
		s.t.Errorf("trust (-want +got):\n%s", diff)
	}
}

// Whoever of SingleStore's accounts a statement names is reported, in every form,
// whoever wrote it; the company's own people and services are nobody's business.
func TestSurvey_whoIsTrusted(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.trusts()

		gone := s.world.ForeignRole("arn:aws:iam::111122223333:role/left-the-company")
		user := s.world.Account("111122223333").User("eve")
		const session = "arn:aws:sts::111122223333:assumed-role/singlestore-support/alice"
		allow := func(sid, principal string, more ...string) string {
			return `{"Sid":"` + sid + `","Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + strings.Join(more, "") + `}`
		}
		until := func(end string) string { return `,"Condition":{"DateLessThan":{"aws:CurrentTime":"` + end + `"}}` }
		s.cell.Role.Trust(`{"Version":"2008-10-17","Statement":[` + strings.Join([]string{
			allow("", `{"Service":"ec2.amazonaws.com","AWS":["arn:aws:iam::444455556666:root","`+vendorARN+`","arn:aws:iam::444455556666:role/nobody"]}`),
			allow("Wide", `{"AWS":"111122223333"}`, `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`),
			allow("Lists", `{"AWS":["`+session+`","`+user.ARN()+`","`+otherARN+`"]}`, until("2026-12-24T00:00:00Z")),
			allow("BreakglassBG7", `{"AWS":"`+gone.ARN()+`"}`, until("2026-11-30T00:00:00Z")),
			allow("BreakglassBG8", `{"AWS":["`+vendorARN+`","arn:aws:iam::444455556666:root"]}`),
			allow("BreakglassBG9", `{"AWS":"`+vendorARN+`"}`, until("2026-11-01T00:00:00Z")),
			allow("BreakglassPlaceholder", `{"AWS":"444455556666"}`, until("2000-01-01T00:00:00Z")),
			strings.Replace(allow("Never", `{"AWS":"`+vendorARN+`"}`), "Allow", "Deny", 1),
			allow("Everybody", `"*"`, `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`),
		}, ",") + `]}`)
		gone.Delete()
		day := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
		s.trusts(
			grant.Trust{Principal: vendorARN},
			grant.Trust{Sid: "Wide", Principal: "arn:aws:iam::111122223333:root"}, // as IAM reads an account back
			grant.Trust{Sid: "Lists", Principal: session, End: day(time.December, 24)},
			grant.Trust{Sid: "Lists", Principal: user.ARN(), End: day(time.December, 24)},
			grant.Trust{Sid: "Lists", Principal: otherARN, End: day(time.December, 24)},
			grant.Trust{Sid: "BreakglassBG7", ID: 7, Principal: gone.UniqueID(), End: day(time.November, 30)},
			grant.Trust{Sid: "BreakglassBG8", ID: 8, Principal: vendorARN},
			grant.Trust{Sid: "BreakglassBG8", ID: 8, Principal: "arn:aws:iam::444455556666:root"},
			grant.Trust{Sid: "BreakglassBG9", ID: 9, Principal: vendorARN, End: day(time.November, 1)},
		)
	})
}

// What a grant of the bot's opened is reported like anything else, and is gone
// with it.
func TestSurvey_followsAGrant(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		s.trusts(grant.Trust{Sid: "BreakglassBG1", ID: 1, Principal: vendorARN, End: l.g.End})
		l.close()
		s.trusts()
	})
}

// It is made for every cell every five minutes: a call for the role, and now and
// then one for the account.
func TestSurvey_fewCalls(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for range 12 {
			s.survey()
			time.Sleep(grant.SurveyEvery)
		}
		n := map[string]int{}
		for _, c := range s.world.Calls() {
			n[c.Name()]++
		}
		if want := map[string]int{"iam:GetRole": 12, "sts:GetCallerIdentity": 4}; !cmp.Equal(n, want) {
			t.Errorf("calls in an hour: %v, want %v", n, want)
		}
	})
}

// The role is found as the check finds it.
func TestSurvey_findsTheRole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newStage(t, awssim.Cell{EKSCluster: "prod-eks"})
		s.cell.Role.Path("/singlestore/byoc/")
		s.trusts()
		if v := s.survey(); v.RoleName != roleName+"-prod-eks" || !strings.Contains(v.RoleARN, ":role/singlestore/byoc/") {
			t.Errorf("survey: %+v", v)
		}
		bare := s.cell.Account.Role(roleName)
		wantTrouble(t, s.survey().Trouble, grant.Refused, grant.StepCheck, "Both", roleName+"-prod-eks", "`role`")
		s.cell.Role.Delete()
		if v := s.survey(); v.RoleName != roleName {
			t.Errorf("survey: %+v", v)
		}
		bare.Delete()
		wantTrouble(t, s.survey().Trouble, grant.Refused, grant.StepCheck, "There is no role named "+roleName+"-prod-eks or "+roleName, account, "`role`")
		named := s.cell.Account.Role("another-name")
		s.conf.Role = named.ARN()
		s.start()
		if v := s.survey(); v.RoleName != "another-name" {
			t.Errorf("survey: %+v", v)
		}
	})
}

// Why a role cannot be looked at: what a person must mend is told from what
// passes by itself, and nothing is ever reported besides.
func TestSurvey_trouble(t *testing.T) {
	inject := func(f awssim.Fault) func(*stage) { return func(s *stage) { s.world.Inject(f) } }
	for name, tt := range map[string]struct {
		prepare func(*stage)
		kind    grant.TroubleKind
		step    string
		words   []string
	}{
		"no permission": {
			inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Deny}),
			grant.Refused, grant.StepCheck,
			[]string{"may not call iam:GetRole", "Let the operator allow iam:GetRole"},
		},
		"credentials": {
			inject(awssim.Fault{Kind: awssim.Instead, Error: &awssim.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}}),
			grant.Refused, grant.StepCheck,
			[]string{"does not accept the bot's credentials", "renew"},
		},
		"wrong account": {
			func(s *stage) { s.conf.Account = "999988887777"; s.world.Account("999988887777"); s.start() },
			grant.Refused, grant.StepCheck,
			[]string{"of account " + account, "cell is in account 999988887777"},
		},
		"no such cell": {
			func(s *stage) { s.conf.Name = "elsewhere" },
			grant.Refused, grant.StepCheck,
			[]string{"not in the bot's configuration"},
		},
		"a policy that is none": {
			func(s *stage) { s.cell.Role.Trust(`[]`) },
			grant.Refused, grant.StepTrust,
			[]string{"does not understand", "the trust policy of the role " + roleName},
		},
		"throttled": {
			inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle}),
			grant.Again, grant.StepCheck,
			[]string{"throttling the bot", "tries again by itself"},
		},
		"the account is not told": {
			inject(awssim.Fault{Call: "sts:*", Kind: awssim.ServerError}),
			grant.Again, grant.StepCheck,
			[]string{"sts:GetCallerIdentity"},
		},
		"unreachable": {
			inject(awssim.Fault{Kind: awssim.DropBefore}),
			grant.Again, grant.StepCheck,
			[]string{"could not be reached"},
		},
		"hanging": {
			inject(awssim.Fault{Call: "iam:*", Latency: time.Hour}),
			grant.Again, grant.StepCheck,
			[]string{"tries again by itself"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}]}`)
				tt.prepare(s)
				began := time.Now()
				v := s.survey()
				if v.Trouble == nil {
					t.Fatalf("survey: %+v", v)
				}
				wantTrouble(t, v.Trouble, tt.kind, tt.step, tt.words...)
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("the look took %s", d)
				}
			})
		})
	}
	t.Run("stopped", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			wantTrouble(t, s.aws.Survey(ctx, s.conf.Name).Trouble, grant.Again, grant.StepCheck)
		})
	})
}

// IAM still answers with the policy that we have just replaced: the statement that
// it shows is not there any more, and nobody is told that it is.
func TestSurvey_staleReads(t *testing.T) {
	for name, tt := range map[string]struct {
		stale    time.Duration
		flapping bool
		seen     bool // in the end
	}{
		"for a moment":           {stale: 6 * time.Second, seen: true},
		"every second replica":   {stale: 50 * time.Second, flapping: true, seen: true},
		"for longer than we ask": {stale: 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				l := s.request().open()
				time.Sleep(5 * time.Minute)
				if r, _ := l.revoke().round(); !r.Trust.Done {
					t.Fatalf("round: %+v", r)
				}
				s.world.Tune(func(k *awssim.Knobs) { k.StaleReads, k.FlappingReads = tt.stale, tt.flapping })
				for range 4 { // whichever replica answers
					began := time.Now()
					v := s.survey()
					if d := time.Since(began); d > 15*time.Second {
						t.Errorf("the look took %s", d)
					}
					if len(v.Trust) > 0 || tt.seen != (v.Trouble == nil) {
						t.Errorf("survey: %+v", v)
					}
					if v.Trouble != nil {
						wantTrouble(t, v.Trouble, grant.Again, grant.StepTrust, "has just changed", "as it was before", "looks again by itself")
					}
				}
				time.Sleep(time.Minute)
				s.trusts()
			})
		})
	}
}

// Somebody's Terraform puts the statement back after it was removed: as soon as it
// can be told from an old answer it is reported.
func TestSurvey_putBackAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		with := s.cell.Role.TrustDocument()
		l.close()
		s.cell.Role.Trust(with)
		time.Sleep(grant.SurveyAgain)
		s.trusts(grant.Trust{Sid: "BreakglassBG1", ID: 1, Principal: vendorARN, End: l.g.End})
	})
}

// A cell of another partition, and one that is read with a role of its own.
func TestSurvey_elsewhere(t *testing.T) {
	t.Run("partition", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := newStage(t, awssim.Cell{Region: "us-gov-west-1"})
			const role = "arn:aws-us-gov:iam::111122223333:role/singlestore-support"
			s.cell.Role.Trust(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":"sts:AssumeRole"}}`)
			s.trusts(grant.Trust{Principal: role})
		})
	})
	t.Run("assumed role", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			bot := s.cell.Account.Role("breakglass")
			s.conf.AssumeRole = bot.ARN()
			s.start()
			s.trusts()
			s.start()
			bot.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
			wantTrouble(t, s.survey().Trouble, grant.Refused, grant.StepCheck, "may not call sts:AssumeRole")
		})
	})
}

// Many cells share one account: each is looked at on its own.
func TestSurvey_manyCells(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var cells []actions.Cell
		for i := range 20 {
			name := fmt.Sprintf("cell-%02d", i)
			s.cell.Account.Role(name).Trust(`{"Statement":{"Sid":"BreakglassBG` + fmt.Sprint(i+1) + `","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole"}}`)
			cells = append(cells, actions.Cell{Name: grant.CellName(name), Account: account, Region: region, Role: name})
		}
		s.start(func(o *actions.Options) { o.Cells = cells })
		s.world.Tune(func(k *awssim.Knobs) { k.Latency = 100 * time.Millisecond })
		for i, c := range cells {
			v := s.aws.Survey(t.Context(), c.Name)
			if v.Trouble != nil || !slices.Equal(v.Trust, []grant.Trust{{Sid: fmt.Sprintf("BreakglassBG%d", i+1), ID: grant.ID(i + 1), Principal: vendorARN}}) {
				t.Errorf("%s: %+v", c.Name, v)
			}
		}
	})
}
