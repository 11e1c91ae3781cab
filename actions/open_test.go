package actions_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// What is wrong with a cell is said in one clear sentence, and nothing is
// changed.
func TestOpen_refused(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*stage)
		words   []string
	}{
		"no role": {
			func(s *stage) { s.cell.Role.Delete() },
			[]string{"There is no role named " + roleName, account, "`role`"},
		},
		"no instance": {
			func(s *stage) { s.cell.Instance.State("terminated") },
			[]string{"There is no instance named", region, account},
		},
		"instance stopped": {
			func(s *stage) { s.cell.Instance.State("stopped") },
			[]string{"is stopped", "start-instances"},
		},
		"two instances": {
			func(s *stage) { s.cell.Region.Instance("i-0fedcba9876543210").Name("Breakglass instance") },
			[]string{"2 running instances", "i-0fedcba9876543210", "`instance`"},
		},
		"no log group": {
			func(s *stage) { s.cell.LogGroup.Delete(); s.cell.Region.LogGroup(logGroup + "-old") },
			[]string{"There is no log group " + logGroup, "no audit, no access", logGroup + "-old", "create-log-group"},
		},
		"trust policy full": {
			func(s *stage) { s.cell.Account.SetTrustQuota(200) },
			[]string{"characters, but this account allows 200", "Role trust policy length"},
		},
		"orphan in the trust policy": {
			func(s *stage) {
				gone := s.world.ForeignRole("arn:aws:iam::111122223333:role/left-the-company")
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + gone.ARN() + `"},"Action":"sts:AssumeRole"}]}`)
				gone.Delete()
			},
			[]string{"AROA", "has been deleted", "Trust relationships"},
		},
		"trusted without end already": {
			func(s *stage) {
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"Wide","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`)
			},
			[]string{"without end", "its whole account", "statement Wide", "Narrow"},
		},
		"service-linked role": {
			func(s *stage) { s.cell.Role.ServiceLinked() },
			[]string{"only AWS itself may change"},
		},
		"role of IAM Identity Center": {
			func(s *stage) { s.cell.Role.Path("/aws-reserved/sso.amazonaws.com/eu-west-1/") },
			[]string{"belongs to IAM Identity Center", "cannot be changed in IAM", "`role`"},
		},
		"encryption from a parameter": {
			func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"on":{"type":"String"}},"inputs":{"cloudWatchEncryptionEnabled":"{{on}}"}}`)
			},
			[]string{"filled in from a parameter", "cloudWatchEncryptionEnabled"},
		},
		"log group from a parameter": {
			func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"group":{"type":"String"}},"inputs":{"cloudWatchLogGroupName":"{{group}}"}}`)
			},
			[]string{"filled in from a parameter", "cloudWatchLogGroupName"},
		},
		"preferences that are no document": {
			func(s *stage) { s.cell.Region.Preferences("- just\n- a list\n") },
			[]string{"neither JSON nor YAML"},
		},
		"wrong account": {
			func(s *stage) { s.conf.Account = "999988887777"; s.world.Account("999988887777"); s.start() },
			[]string{"of account " + account, "cell is in account 999988887777", "assume_role"},
		},
		"no permission to read the role": {
			func(s *stage) {
				s.cell.Bot.Policy("deny", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:GetRole","Resource":"*"}]}`)
			},
			[]string{"may not call iam:GetRole", "Let the operator allow iam:GetRole"},
		},
		"no permission to read the log groups": {
			func(s *stage) {
				s.cell.Bot.Policy("deny", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"logs:*","Resource":"*"}]}`)
			},
			[]string{"may not call logs:DescribeLogGroups"},
		},
		"credentials that are not accepted": {
			func(s *stage) {
				s.world.Inject(awssim.Fault{Kind: awssim.Instead, Error: &awssim.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}})
			},
			[]string{"does not accept the bot's credentials", "ExpiredToken"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				tt.prepare(s)
				before := s.cell.Role.TrustDocument()
				l := s.request()
				err := l.tryOpen()
				wantTrouble(t, err, grant.Refused, grant.StepCheck, tt.words...)
				s.noWrites()
				if slices.Contains(l.steps, "trust running") || l.g.Touched {
					t.Errorf("the trust step was begun: %v", l.steps)
				}
				if got := s.cell.Role.TrustDocument(); got != before {
					t.Errorf("trust policy: %s", got)
				}
			})
		})
	}
}

// The request is from before a change of the configuration, or damaged: it is
// looked at once more before the door opens.
func TestOpen_badRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*grant.Request)
		words  string
	}{
		"everybody":        {func(r *grant.Request) { r.Principal = "*" }, "wildcard"},
		"whole account":    {func(r *grant.Request) { r.Principal = "arn:aws:iam::111122223333:root" }, "whole AWS account"},
		"one session":      {func(r *grant.Request) { r.Principal = "arn:aws:sts::111122223333:assumed-role/x/y" }, "one session"},
		"other account":    {func(r *grant.Request) { r.Principal = "arn:aws:iam::222233334444:role/x" }, "not one of SingleStore's"},
		"malformed":        {func(r *grant.Request) { r.Principal = `arn:aws:iam::111122223333:role/x"}` }, "not the ARN"},
		"unknown cell":     {func(r *grant.Request) { r.Cell = "elsewhere" }, "not in the bot's configuration"},
		"cell has moved":   {func(r *grant.Request) { r.Account = "999988887777" }, "put the cell's account back"},
		"less than second": {func(r *grant.Request) { r.Duration = time.Millisecond }, "shorter than a second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				wantTrouble(t, s.request(tt.change).tryOpen(), grant.Refused, grant.StepCheck, tt.words)
				if calls := s.world.Calls(); len(calls) > 0 {
					t.Errorf("AWS was called: %v", calls)
				}
			})
		})
	}
}

// A passing trouble is not a refusal: nothing is written, and the next try opens.
func TestOpen_throttled(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		remove := s.world.Inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle})
		l := s.request()
		began := time.Now()
		wantTrouble(t, l.tryOpen(), grant.Again, grant.StepCheck, "throttling the bot", "iam:GetRole", "tries again by itself")
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("it took %s to give up", d)
		}
		s.noWrites()
		remove()
		l.open()
	})
}

// Writes are refused for want of permission: what is missing is named.
func TestOpen_deniedWrites(t *testing.T) {
	for call, step := range map[string]string{
		"ssm:CreateDocument":         grant.StepLogging,
		"iam:PutRolePolicy":          grant.StepHardStop,
		"iam:UpdateAssumeRolePolicy": grant.StepTrust,
	} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Inject(awssim.Fault{Call: call, Kind: awssim.Deny})
				before := s.cell.Role.TrustDocument()
				wantTrouble(t, s.request().tryOpen(), grant.Refused, step, "may not call "+call)
				if got := s.cell.Role.TrustDocument(); got != before {
					t.Errorf("trust policy: %s", got)
				}
			})
		})
	}
}

// AWS principals are validated on write: a mistyped ARN is found out there. A
// role that was made a moment ago is only not known yet.
func TestOpen_principalUnknownToIAM(t *testing.T) {
	const typo = "arn:aws:iam::111122223333:role/singlestore-suport"
	t.Run("mistyped", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			before := s.cell.Role.TrustDocument()
			began := time.Now()
			l := s.request(func(r *grant.Request) { r.Principal = typo })
			wantTrouble(t, l.tryOpen(), grant.Refused, grant.StepTrust, typo+" does not exist (or was mistyped)", "Check the ARN in the ticket")
			if d := time.Since(began); d < 15*time.Second || d > 40*time.Second {
				t.Errorf("it gave up after %s, want about 20 s", d)
			}
			if got := s.cell.Role.TrustDocument(); got != before {
				t.Errorf("trust policy: %s", got)
			}
		})
	})
	t.Run("just made", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			time.AfterFunc(8*time.Second, func() { s.world.ForeignRole(typo) })
			l := s.request(func(r *grant.Request) { r.Principal = typo; r.Duration = time.Hour }).open()
			if d := time.Until(l.g.End); d < time.Hour-5*time.Second {
				t.Errorf("the end is %s away: it was computed too early", d)
			}
			stop, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
			if !strings.Contains(stop, l.g.End.Format(time.RFC3339)) {
				t.Errorf("the hard stop has another end than the trust (%s): %s", l.g.End, stop)
			}
		})
	})
}

// The grant is revoked while it opens: the core refuses the trust step, and the
// trust policy is not touched.
func TestOpen_revokedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		before := s.cell.Role.TrustDocument()
		l := s.request()
		moot := errors.New("revoked")
		_, err := s.aws.Open(t.Context(), l.g, nil, func(ev grant.StepChanged) error {
			if ev.Step == grant.StepTrust {
				return moot
			}
			return l.step(ev)
		})
		if !errors.Is(err, moot) {
			t.Errorf("got %v, want the error of the step", err)
		}
		if got := s.cell.Role.TrustDocument(); got != before {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// A human saves the policy between our reading and our writing, again and again:
// their change is kept, whoever wins.
func TestOpen_humanEditsMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		edits := 0
		remove := s.world.After(func(_ context.Context, c awssim.Call) {
			if c.Name() == "iam:GetRole" && edits < 3 {
				edits++
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"Edit` + strconv.Itoa(edits) + `","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
			}
		})
		l := s.request().open()
		remove()
		got := s.cell.Role.TrustDocument()
		if !strings.Contains(got, `"Edit3"`) || !strings.Contains(got, l.g.ID.Sid()) {
			t.Errorf("trust policy: %s", got)
		}
		if n := strings.Count(strings.Join(s.writes(), " "), "UpdateAssumeRolePolicy"); n != 1 {
			t.Errorf("%d writes of the trust policy, want 1", n)
		}
	})
}

// Terraform puts its own document back right after our write.
func TestOpen_overwrittenAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		const theirs = `{"Version":"2012-10-17","Statement":[{"Sid":"Terraform","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		once := true
		s.world.After(func(_ context.Context, c awssim.Call) {
			if c.Name() == "iam:UpdateAssumeRolePolicy" && once {
				once = false
				s.cell.Role.Trust(theirs)
			}
		})
		l := s.request().open()
		got := s.cell.Role.TrustDocument()
		if !strings.Contains(got, `"Terraform"`) || !strings.Contains(got, l.g.ID.Sid()) {
			t.Errorf("trust policy: %s", got)
		}
	})
}

// IAM answers with old states, from all replicas or from every second one: what
// was written is waited for, and never edited from an old reading.
func TestOpen_staleReads(t *testing.T) {
	for _, flapping := range []bool{false, true} {
		t.Run("flapping "+strconv.FormatBool(flapping), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.StaleReads, k.FlappingReads = 6*time.Second, flapping })
				f := s.remember()
				began := time.Now()
				one := s.request().open()
				if d := time.Since(began); d < 5*time.Second {
					t.Errorf("called open after %s, when one replica still had the old policy", d)
				}
				two := s.request(func(r *grant.Request) { r.Principal = otherARN }).open()
				doc := s.cell.Role.TrustDocument()
				for _, l := range []*life{one, two} {
					if !strings.Contains(doc, l.g.Access.Statement) {
						t.Errorf("%s is not in %s", l.g.ID, doc)
					}
				}
				both := func(l *life) func() []grant.Grant { return func() []grant.Grant { return []grant.Grant{l.g} } }
				one.others, two.others = both(two), both(one)
				one.close()
				two.close()
				f.closed(t)
			})
		})
	}
}

// Without AWS's enforcement there is neither a condition nor a hard stop.
func TestOpen_notEnforced(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		f := s.remember()
		l := s.request(func(r *grant.Request) { r.Terms.AWSEnforced = false }).open()
		if strings.Contains(l.g.Access.Statement, "Condition") {
			t.Errorf("statement: %s", l.g.Access.Statement)
		}
		if p := s.cell.Role.InlinePolicies(); len(p) > 0 {
			t.Errorf("inline policies: %v", p)
		}
		if d := time.Until(l.g.End); d > 4*time.Hour || d < 4*time.Hour-2*time.Second {
			t.Errorf("end in %s", d)
		}
		l.close()
		f.closed(t)
	})
}

// An earlier grant's hard stop is still on the role. It must not stop the next
// one, not even one that AWS does not enforce.
func TestOpen_afterAnEarlierHardStop(t *testing.T) {
	for _, enforced := range []bool{true, false} {
		bubble(t, func(t *testing.T, s *stage) {
			s.request(quick, func(r *grant.Request) { r.Duration = time.Minute }).open().close()
			time.Sleep(time.Hour)
			finding(t, s.aws.Check(t.Context(), grant.Grant{Cell: cellName}), "hard stop", grant.OK, "BreakglassHardStop")
			s.request(func(r *grant.Request) { r.Terms.AWSEnforced = enforced }).open()
			creds, err := s.vendor(vendorARN).assume()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.shell(creds); err != nil {
				t.Errorf("enforced %t: %v", enforced, err)
			}
		})
	}
}

// SingleStore comes back right after a revocation. Its cut-off reaches half a
// minute into the future, and what is issued until then would be dead.
func TestOpen_rightAfterARevocation(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		first := s.request().open()
		old, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		first.close()
		second := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.shell(creds); err != nil {
			t.Errorf("new credentials: %v", err)
		}
		if _, _, err := s.shell(old); err == nil {
			t.Error("the old credentials live again")
		}

		second.revoke().round()
		third := s.request(func(r *grant.Request) { r.Principal = otherARN })
		among(second, third)
		third.open()
		i := slices.IndexFunc(third.g.Opening, func(s grant.Step) bool { return s.Name == grant.StepHardStop })
		if note := third.g.Opening[i].Note; !strings.Contains(note, "are refused, because another grant on this role is closing") {
			t.Errorf("hard stop: %s", note)
		}
	})
}

// Our own ended statements make room in the same write.
func TestOpen_prunesOurEndedStatements(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Sid":"BreakglassBG90","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-20T00:00:00Z"}}}]}`)
		s.request().open()
		if got := s.cell.Role.TrustDocument(); strings.Contains(got, "BreakglassBG90") {
			t.Errorf("the ended statement is still in %s", got)
		}
	})
}

// The role is found by the cluster's name first, by its ARN with its path, or as
// the configuration names it.
func TestOpen_findsTheRole(t *testing.T) {
	t.Run("by cluster", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := newStage(t, awssim.Cell{EKSCluster: "prod-eks"})
			l := s.request().open()
			if l.g.Access.RoleName != roleName+"-prod-eks" {
				t.Errorf("role: %s", l.g.Access.RoleName)
			}
			l.close()
		})
	})
	t.Run("both", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := newStage(t, awssim.Cell{EKSCluster: "prod-eks"})
			s.cell.Account.Role(roleName)
			wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepCheck, "Both", roleName+"-prod-eks", "`role`")
			s.noWrites()
			s.conf.Role = roleName + "-prod-eks"
			s.start()
			s.request().open()
		})
	})
	t.Run("with a path", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			s.cell.Role.Path("/singlestore/byoc/")
			l := s.request().open()
			if l.g.Access.RoleARN != "arn:aws:iam::"+account+":role/singlestore/byoc/"+roleName {
				t.Errorf("role: %s", l.g.Access.RoleARN)
			}
			creds, err := s.vendor(vendorARN).assume()
			if err != nil {
				t.Fatal(err)
			}
			s.mustShell(creds)
			l.close()
			if len(l.g.Ending.Ended) != 1 {
				t.Errorf("ended: %+v", l.g.Ending.Ended)
			}
		})
	})
}

// The bot's role in the cell's account: taken on with the external id, and named
// after the grant, so that CloudTrail ties each write to the request.
func TestOpen_assumesTheCellsRole(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		bot := s.cell.Account.Role("breakglass")
		s.conf.AssumeRole, s.conf.ExternalID = bot.ARN(), "ours"
		s.start()
		if !strings.Contains(bot.TrustDocument(), `"ours"`) {
			t.Fatalf("its trust: %s", bot.TrustDocument())
		}
		l := s.request().open()
		time.Sleep(3 * time.Hour) // the credentials have to be renewed
		l.close()
		n := map[string]int{}
		for _, c := range s.world.Writes() {
			n[c.Name()]++
			if c.Service != "sts" && !strings.HasSuffix(c.Caller, ":assumed-role/breakglass/breakglass-BG-1") {
				t.Errorf("%s was called by %s", c.Name(), c.Caller)
			}
		}
		if n["iam:UpdateAssumeRolePolicy"] != 2 {
			t.Errorf("writes: %v", n)
		}

		trust := bot.TrustDocument()
		s.conf.ExternalID = "not-ours"
		s.start()
		bot.Trust(trust)
		wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepCheck, "may not call sts:AssumeRole")
	})
}

// A context that is cancelled ends everything at once.
func TestOpen_cancelled(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if _, err := s.aws.Open(ctx, l.g, nil, l.step); err == nil {
			t.Error("it opened")
		} else {
			wantTrouble(t, err, grant.Again, grant.StepCheck)
		}
		r := s.aws.Close(ctx, l.g, nil)
		for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
			if o.Trouble == nil {
				t.Errorf("a step of a cancelled round has no trouble: %+v", o)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("it took %s", d)
		}
		s.noWrites()
	})
}

// No token or credential ever leaves this machine in the clear.
func TestNew_refusesPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		variable, value string
		ok              bool
	}{
		{"AWS_ENDPOINT_URL", "http://127.0.0.1:4566", true},
		{"AWS_ENDPOINT_URL", "http://localhost:4566", true},
		{"AWS_ENDPOINT_URL", "http://[::1]:4566", true},
		{"AWS_ENDPOINT_URL", "https://aws.example.com", true},
		{"AWS_ENDPOINT_URL", "http://aws.example.com", false},
		{"AWS_ENDPOINT_URL", "http://127.0.0.1.example.com", false},
		{"AWS_ENDPOINT_URL", "HTTP://10.0.0.1:4566", false},
		{"AWS_ENDPOINT_URL", "ftp://127.0.0.1", false},
		{"AWS_ENDPOINT_URL_STS", "http://sts.example.com", false},
		{"AWS_ENDPOINT_URL_IAM", "http://iam.example.com", false},
		{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://logs.example.com", false},
		{"AWS_ENDPOINT_URL_SSO", "http://sso.example.com", false},
	} {
		t.Run(tt.variable+"="+tt.value, func(t *testing.T) {
			t.Setenv(tt.variable, tt.value)
			_, err := actions.New(t.Context(), actions.Options{})
			if (err == nil) != tt.ok {
				t.Errorf("got %v, want ok %t", err, tt.ok)
			}
		})
	}
}

func TestNew_badCells(t *testing.T) {
	good := actions.Cell{Name: "a", Account: account, Region: region}
	for name, cells := range map[string][]actions.Cell{
		"twice":         {good, good},
		"nowhere":       {{Name: "a", Account: account}},
		"short account": {{Name: "a", Account: "123", Region: region}},
		"other account": {{Name: "a", Account: account, Region: region, Role: "arn:aws:iam::999988887777:role/x"}},
		"no region":     {{Name: "a", Account: account, Region: region, TrailRegions: []string{"eu-west-1", "Frankfurt"}}},
		"a host":        {{Name: "a", Account: account, Region: region, TrailRegions: []string{"eu-west-1.example.com"}}},
		"empty region":  {{Name: "a", Account: account, Region: region, TrailRegions: []string{""}}},
		"in China":      {{Name: "a", Account: account, Region: region, TrailRegions: []string{"cn-north-1"}}},
		"not in China":  {{Name: "a", Account: account, Region: "cn-north-1", TrailRegions: []string{"us-east-1"}}},
		"not a role":    {{Name: "a", Account: account, Region: region, Role: "arn:aws:iam::444455556666:user/x"}},
	} {
		if _, err := actions.New(t.Context(), actions.Options{Cells: cells}); err == nil || !strings.Contains(err.Error(), `cell "`) {
			t.Errorf("%s: got %v, want an error that names the cell", name, err)
		}
	}
	good.TrailRegions = []string{"eu-west-1", "ap-southeast-5", "us-east-1", "me-south-1"}
	if _, err := actions.New(t.Context(), actions.Options{Cells: []actions.Cell{good}}); err != nil {
		t.Error(err)
	}
}

// The policy grows past the quota, or an orphan appears, between the check and
// the write: it is refused before the write, with the number or the name.
func TestOpen_changesAfterTheCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*stage)
		words  []string
	}{
		"full": {
			func(s *stage) {
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("x", 1800) + `","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
			},
			[]string{"this account allows 2048"},
		},
		"orphan": {
			func(s *stage) {
				gone := s.world.ForeignRole("arn:aws:iam::111122223333:role/left-the-company")
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassBG77","Effect":"Allow","Principal":{"AWS":"` + gone.ARN() + `"},"Action":"sts:AssumeRole"}]}`)
				gone.Delete()
			},
			[]string{"AROA", "Revoke BG-77"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				l := s.request()
				_, err := s.aws.Open(t.Context(), l.g, nil, func(ev grant.StepChanged) error {
					if ev.Step == grant.StepHardStop && ev.State == grant.Running {
						tt.change(s)
					}
					return l.step(ev)
				})
				wantTrouble(t, err, grant.Refused, grant.StepTrust, tt.words...)
				if slices.Contains(s.writes(), "iam:UpdateAssumeRolePolicy") {
					t.Error("the trust policy was written")
				}
			})
		})
	}
}

// The account's quota cannot be read and is smaller than assumed: AWS says so,
// and it is said with the number.
func TestOpen_quotaUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Account.SetTrustQuota(200)
		s.world.Inject(awssim.Fault{Call: "iam:GetAccountSummary", Kind: awssim.Deny})
		wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepTrust, "more than the account allows", "the bot assumed 2048")
	})
}

// Two openings and a closing on one role at the same time, with replicas that are
// seconds behind: nobody edits a document that another has replaced already.
func TestOpen_sideBySideWithStaleReads(t *testing.T) {
	for _, apart := range []time.Duration{0, 50 * time.Millisecond, 400 * time.Millisecond, time.Second, 3 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				f := s.remember()
				ended := s.request(quick).open().revoke()
				s.world.Tune(func(k *awssim.Knobs) { k.StaleReads, k.Latency = 6*time.Second, 50*time.Millisecond })
				time.Sleep(10 * time.Second)
				one := s.request(quick)
				two := s.request(quick, func(r *grant.Request) { r.Principal = otherARN })
				var wg sync.WaitGroup
				wg.Go(func() { one.open() })
				time.Sleep(apart)
				wg.Go(func() { two.open() })
				time.Sleep(apart)
				wg.Go(func() { s.aws.Close(t.Context(), ended.g, nil) })
				wg.Wait()
				doc := s.cell.Role.TrustDocument()
				if !strings.Contains(doc, one.g.Access.Statement) || !strings.Contains(doc, two.g.Access.Statement) || strings.Contains(doc, ended.g.ID.Sid()) {
					t.Errorf("trust policy: %s", doc)
				}
				stop, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
				last := two.g.End
				if one.g.End.After(last) {
					last = one.g.End
				}
				if !strings.Contains(stop, last.Format(time.RFC3339)) {
					t.Errorf("hard stop: %s, ends %s and %s", stop, one.g.End, two.g.End)
				}
				among(one, two)
				one.close()
				two.close()
				f.closed(t)
			})
		})
	}
}
