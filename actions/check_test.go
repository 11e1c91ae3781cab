package actions_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// Everything is in order: each finding is OK, and the plan is what will be done.
func TestCheck_allWell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request()
		r := s.aws.Check(t.Context(), l.g)
		s.noWrites()
		for _, f := range r.Findings {
			if f.Level != grant.OK {
				t.Errorf("%s %s: %s", f.Level, f.Check, f.Text)
			}
		}
		for _, check := range []string{"account", "role", "trust", "instance", "agent", "log group", "log permissions", "preferences", "link"} {
			finding(t, r, check, grant.OK)
		}
		want := `{"Sid":"BreakglassBG1","Effect":"Allow","Principal":{"AWS":"` + vendorARN + `"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"<end>"}}}`
		if r.Statement != want {
			t.Errorf("statement: got %s, want %s", r.Statement, want)
		}
		if r.RoleARN != s.cell.Role.ARN() || r.InstanceID != s.cell.Instance.ID() || r.LogGroup != logGroup || len(r.Trusted) != 1 {
			t.Errorf("report: %+v", r)
		}
		l.open()
		if got := strings.Replace(l.g.Access.Statement, l.g.End.Format(time.RFC3339), "<end>", 1); got != want {
			t.Errorf("what was opened is not the plan: %s", got)
		}
	})
}

// A cell is checked without any request.
func TestCheck_onlyTheCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		r := s.aws.Check(t.Context(), grant.Grant{Cell: cellName})
		if len(r.Blocking()) > 0 || r.Statement != "" || r.RoleARN == "" {
			t.Errorf("report: %+v", r)
		}
		finding(t, s.aws.Check(t.Context(), grant.Grant{Cell: "elsewhere"}), "account", grant.Blocks, "not in the bot's configuration")
	})
}

// What is worth knowing and does not block.
func TestCheck_findings(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*stage)
		check   string
		level   grant.Level
		words   []string
	}{
		"agent offline": {
			func(s *stage) { s.cell.Instance.Agent("ConnectionLost") },
			"agent", grant.Warning,
			[]string{"not online", "ConnectionLost"},
		},
		"agent never seen": {
			func(s *stage) { s.cell.Instance.Agent("") },
			"agent", grant.Warning,
			[]string{"does not know the instance"},
		},
		"agent unreadable": {
			func(s *stage) {
				s.world.Inject(awssim.Fault{Call: "ssm:DescribeInstanceInformation", Kind: awssim.Deny})
			},
			"agent", grant.Unread,
			[]string{"may not call ssm:DescribeInstanceInformation"},
		},
		"others may use the role": {
			func(s *stage) {
				s.cell.Account.Role("platform-oncall")
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/platform-oncall"},"Action":"sts:AssumeRole"}]}`)
			},
			"others", grant.Warning,
			[]string{"role/platform-oncall", "closing ends their shells", "BreakglassHardStop"},
		},
		"another grant is open on the role": {
			func(s *stage) {
				s.world.ForeignRole("arn:aws:iam::111122223333:role/another")
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassBG99","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/another"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"2099-01-01T00:00:00Z"}}}]}`)
			},
			"others", grant.Warning,
			[]string{"BG-99", "ends the shells"},
		},
		"no key on the log group": {
			func(s *stage) { s.cell.LogGroup.Delete(); s.cell.Region.LogGroup(logGroup) },
			"log group", grant.Warning,
			[]string{"no KMS key", "associate-kms-key"},
		},
		"instance may not log": {
			func(s *stage) { s.cell.Host.Detach("arn:aws:iam::" + account + ":policy/session-logging") },
			"log permissions", grant.Warning,
			[]string{"logs:PutLogEvents", "might not be logged"},
		},
		"no instance profile": {
			func(s *stage) { s.cell.Instance.Profile("") },
			"log permissions", grant.Unread,
			[]string{"no instance profile", "Default Host Management"},
		},
		"simulation not permitted": {
			func(s *stage) { s.world.Inject(awssim.Fault{Call: "iam:SimulatePrincipalPolicy", Kind: awssim.Deny}) },
			"log permissions", grant.Unread,
			[]string{"iam:SimulatePrincipalPolicy"},
		},
		"role may not start sessions": {
			func(s *stage) { s.cell.Role.Detach("arn:aws:iam::" + account + ":policy/session-starter") },
			"link", grant.Warning,
			[]string{"probably be refused to start a session"},
		},
		"permissions boundary": {
			func(s *stage) {
				s.cell.Role.Boundary("arn:aws:iam::"+account+":policy/fence", awssim.AdministratorAccess)
			},
			"boundary", grant.Warning,
			[]string{"policy/fence", "not who may assume it"},
		},
		"quota unreadable": {
			func(s *stage) { s.world.Inject(awssim.Fault{Call: "iam:GetAccountSummary", Kind: awssim.Deny}) },
			"quota", grant.Unread,
			[]string{"2048", "iam:GetAccountSummary"},
		},
		"preferences point elsewhere": {
			func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"/aws/ssm/other/cluster"}}`)
			},
			"preferences", grant.Warning,
			[]string{"/aws/ssm/other/cluster", logGroup, "for everybody"},
		},
		"latest is not default": {
			func(s *stage) {
				s.cell.Region.Preferences(preferences["right already"])
				s.cell.Region.Preferences(preferences["other people's"])
				s.cell.Region.SetDefaultVersion(prefsName, 1)
			},
			"preferences", grant.Warning,
			[]string{"version 2", "version 1"},
		},
		"role is an instance's, too": {
			func(*stage) {},
			"link", grant.OK,
			[]string{"trusts ec2.amazonaws.com", "spares the instance"},
		},
		"somebody else is trusted": {
			func(s *stage) {
				s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Sid":"Who","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}]}`)
			},
			"trust", grant.Warning,
			[]string{"may be trusted already", "whole account", "statement Who"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				tt.prepare(s)
				l := s.asked()
				r := s.aws.Check(t.Context(), l.g)
				finding(t, r, tt.check, tt.level, tt.words...)
				if b := r.Blocking(); len(b) > 0 {
					t.Errorf("it blocks: %+v", b)
				}
				s.noWrites()
				l.checked().approved().open()
			})
		})
	}
}

// AWS is throttling: what opening reads again anyway is unknown, not forbidden.
func TestCheck_throttled(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.world.Inject(awssim.Fault{Kind: awssim.Throttle})
		r := s.aws.Check(t.Context(), s.request().g)
		if b := r.Blocking(); len(b) > 0 {
			t.Errorf("it blocks: %+v", b)
		}
		for _, check := range []string{"account", "role", "instance", "log group", "preferences"} {
			finding(t, r, check, grant.Unread, "throttling")
		}
	})
}

// Two cells of one region have instances of the same name; the tags of the
// cluster tell them apart, also when ours is stopped.
func TestCheck_instanceByCluster(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newStage(t, awssim.Cell{EKSCluster: "prod-eks"})
		s.cell.Region.Instance("i-0bbbbbbbbbbbbbbbb").Name("Privileged access instance").Tag("kubernetes.io/cluster/staging", "owned")
		g := grant.Grant{Cell: cellName}
		if r := s.aws.Check(t.Context(), g); r.InstanceID != s.cell.Instance.ID() {
			t.Errorf("instance %s, want %s", r.InstanceID, s.cell.Instance.ID())
		}
		s.cell.Instance.State("stopped")
		finding(t, s.aws.Check(t.Context(), g), "instance", grant.Blocks, s.cell.Instance.ID()+" is stopped")
		s.cell.Instance.State("terminated")
		finding(t, s.aws.Check(t.Context(), g), "instance", grant.Blocks, "belongs to the cluster prod-eks", "i-0bbbbbbbbbbbbbbbb")
		s.conf.Instance = "i-0bbbbbbbbbbbbbbbb"
		s.start()
		finding(t, s.aws.Check(t.Context(), g), "instance", grant.OK, "i-0bbbbbbbbbbbbbbbb")
		s.conf.Instance = "i-0cccccccccccccccc"
		s.start()
		finding(t, s.aws.Check(t.Context(), g), "instance", grant.Blocks, "no instance i-0cccccccccccccccc")
	})
}

// What is open now, from AWS alone.
func TestInspect(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := s.mustShell(creds)
		gone := s.world.ForeignRole("arn:aws:iam::222233334444:role/gone")
		s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `"Statement":[`, `"Statement":[{"Sid":"ByHand","Effect":"Allow","Principal":{"AWS":["`+otherARN+`","`+gone.ARN()+`"]},"Action":"sts:AssumeRole"},`, 1))
		gone.Delete()
		s.world.ForgetCalls()
		inv, err := s.aws.Inspect(t.Context(), cellName)
		if err != nil {
			t.Fatal(err)
		}
		s.noWrites()
		if len(inv.Ours) != 1 || inv.Ours[0].ID != l.g.ID || inv.Ours[0].Principal != vendorARN || !inv.Ours[0].End.Equal(l.g.End) {
			t.Errorf("ours: %+v", inv.Ours)
		}
		if len(inv.Vendor) != 1 || inv.Vendor[0].Principal != otherARN || inv.Vendor[0].Sid != "ByHand" {
			t.Errorf("vendor: %+v", inv.Vendor)
		}
		if len(inv.Orphans) != 1 || inv.Orphans[0] != gone.UniqueID() {
			t.Errorf("orphans: %v", inv.Orphans)
		}
		if !inv.HardStop.Equal(l.g.End) || !inv.CutOff.IsZero() || !inv.LoggingOn || len(inv.Unread) > 0 {
			t.Errorf("inventory: %+v", inv)
		}
		if len(inv.Sessions) != 1 || inv.Sessions[0].ID != id || inv.Sessions[0].Status != "Connected" {
			t.Errorf("sessions: %+v", inv.Sessions)
		}

		// The database is lost: what is to be removed is found here.
		lost := grant.Grant{ID: inv.Ours[0].ID, Cell: inv.Cell, Account: inv.Account, Region: inv.Region, Principal: vendorARN, Phase: grant.Closing, Touched: true}
		if r := s.aws.Close(t.Context(), lost, nil); !r.Trust.Done || !r.Credentials.Done || len(r.Ended) != 1 {
			t.Errorf("round: %+v", r)
		}

		s.world.Inject(awssim.Fault{Call: "logs:*", Kind: awssim.Deny})
		if inv, err := s.aws.Inspect(t.Context(), cellName); err != nil || len(inv.Unread) != 1 || inv.LoggingOn {
			t.Errorf("inventory without logs: %+v, %v", inv, err)
		}
		s.world.Inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Deny})
		_, err = s.aws.Inspect(t.Context(), cellName)
		wantTrouble(t, err, grant.Refused, grant.StepCheck, "may not call iam:GetRole")
	})
}
