package actions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// calledInCode is every operation of AWS that the code of this package calls, by
// the names of its clients (clients.go) and of the SDK's paginators.
func calledInCode(t *testing.T) []string {
	t.Helper()
	clients := map[string]string{"iam": "iam", "sts": "sts", "ec2": "ec2", "ssm": "ssm", "logs": "logs", "trail": "cloudtrail"}
	packages := map[string]string{"iam": "iam", "sts": "sts", "ec2": "ec2", "ssm": "ssm", "cloudwatchlogs": "logs", "cloudtrail": "cloudtrail"}
	paginator := regexp.MustCompile(`^New([A-Z]\w+)Paginator$`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for n := range ast.Preorder(file) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				continue
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			switch x := sel.X.(type) {
			case *ast.SelectorExpr: // cl.iam.GetRole(…)
				if service := clients[x.Sel.Name]; service != "" && sel.Sel.Name != "Options" {
					found[service+":"+sel.Sel.Name] = true
				}
			case *ast.Ident: // iam.NewListRolesPaginator(…)
				m := paginator.FindStringSubmatch(sel.Sel.Name)
				if service := packages[x.Name]; service != "" && m != nil {
					found[service+":"+m[1]] = true
				}
				if x.Name == "stscreds" {
					if sel.Sel.Name != "NewAssumeRoleProvider" {
						t.Errorf("%s calls stscreds.%s, of which this test does not know what it calls", name, sel.Sel.Name)
					}
					found["sts:AssumeRole"] = true
				}
			}
		}
	}
	var out []string
	for op := range found {
		out = append(out, op)
	}
	slices.Sort(out)
	return out
}

// What the code calls and what the table lists is the same: no operation without
// a permission, and no permission without an operation.
func TestPermissions_tableIsTheCode(t *testing.T) {
	var listed []string
	for _, p := range actions.PermissionTable() {
		listed = append(listed, p.Operation)
	}
	slices.Sort(listed)
	if diff := cmp.Diff(calledInCode(t), listed); diff != "" {
		t.Errorf("the code calls (-), the table in permissions.go lists (+):\n%s", diff)
	}
}

// docs/permissions.md shows the table as it is.
func TestPermissions_document(t *testing.T) {
	doc, err := os.ReadFile("../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range actions.PermissionTable() {
		row := fmt.Sprintf("| `%s` | %s | %s |\n", p.Operation, p.On, p.Why)
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/permissions.md lacks this row:\n%s", row)
		}
	}
	if n := len(regexp.MustCompile("(?m)^[|] `[a-z0-9]+:").FindAll(doc, -1)); n != len(actions.PermissionTable()) {
		t.Errorf("docs/permissions.md has %d rows, the table %d", n, len(actions.PermissionTable()))
	}
}

// refused are the calls of the bot that AWS refused for want of a permission.
func (s *stage) refused() (ops []string) {
	for _, c := range s.world.Calls() {
		if c.Code == "AccessDenied" || c.Code == "AccessDeniedException" || c.Code == "UnauthorizedOperation" {
			ops = append(ops, c.Name())
		}
	}
	return ops
}

// tour does everything once, as far as it is let.
func (s *stage) tour() {
	s.t.Helper()
	l := s.request()
	s.aws.Check(s.t.Context(), l.g)
	if err := l.tryOpen(); err != nil {
		return
	}
	creds, err := s.vendor(vendorARN).assume()
	if err != nil {
		s.t.Fatal(err)
	}
	s.mustShell(creds)
	time.Sleep(2 * time.Minute)
	s.aws.Watch(s.t.Context(), l.g, nil)
	s.aws.Survey(s.t.Context(), s.conf.Name)
	_, _ = s.aws.Inspect(s.t.Context(), s.conf.Name)
	l.extended(time.Hour)
	_ = l.tryExtend()
	l.revoke()
	s.aws.Close(s.t.Context(), l.g, nil)
}

// scenes are the states in which a tour needs all that it may need.
var scenes = map[string]func(*stage){
	"nobody has saved preferences": func(*stage) {},
	"logging is off": func(s *stage) {
		s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":""}}`)
	},
	"a new version takes a while": func(s *stage) {
		s.world.Tune(func(k *awssim.Knobs) { k.DocumentDelay = 3 * time.Second })
	},
	"with a role of ours": func(s *stage) {
		s.conf.AssumeRole, s.conf.ExternalID = s.cell.Account.Role("breakglass").ARN(), "ours"
		s.start()
	},
	"the role has a path": func(s *stage) { s.cell.Role.Path("/singlestore/support/") },
}

// The policy is enough: whatever the bot does, nothing is refused.
func TestPermissions_enough(t *testing.T) {
	for _, region := range []string{"us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1"} {
		for name, prepare := range scenes {
			t.Run(region+" "+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s := newStage(t, awssim.Cell{Region: region, Vendor: vendorARN})
					s.conf.TrailRegions = map[string][]string{"us-east-1": {"eu-central-1"}}[region]
					s.start()
					prepare(s)
					if grant.PartitionOf(region) == "aws" {
						s.tour()
					} else {
						s.aws.Check(t.Context(), s.asked().g)
						s.aws.Survey(t.Context(), s.conf.Name)
					}
					if ops := s.refused(); len(ops) > 0 {
						t.Errorf("the bot may not call %v", ops)
					}
				})
			})
		}
	}
}

// And it is not more: each single permission is missed when it is not there.
func TestPermissions_eachIsNeeded(t *testing.T) {
	for _, p := range actions.PermissionTable() {
		if p.Operation == "sts:GetCallerIdentity" { // needs none
			continue
		}
		t.Run(p.Operation, func(t *testing.T) {
			missed := false
			for _, prepare := range scenes {
				bubble(t, func(t *testing.T, s *stage) {
					prepare(s)
					s.start()
					deny := `{"Statement":{"Effect":"Deny","Action":"` + p.Operation + `","Resource":"*"}}`
					s.cell.Bot.Policy("less", deny)
					if s.conf.AssumeRole != "" {
						s.cell.Account.Role("breakglass").Inline("less", deny)
					}
					s.tour()
					missed = missed || slices.Contains(s.refused(), p.Operation)
				})
			}
			if !missed {
				t.Errorf("nothing misses %s", p.Operation)
			}
		})
	}
}

// What is only advice may be left out of the policy: access opens and closes all
// the same.
func TestPermissions_adviceMayBeLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Bot.Policy("less", `{"Statement":{"Effect":"Deny","Resource":"*","Action":[
			"iam:SimulatePrincipalPolicy","iam:GetInstanceProfile","iam:GetAccountSummary","ssm:DescribeInstanceInformation","cloudtrail:LookupEvents"]}}`)
		l := s.asked().checked().approved().open()
		time.Sleep(2 * time.Minute)
		if v := l.look(); !v.SessionsRead {
			t.Errorf("sighting: %+v", v)
		}
		l.close()
	})
}

// may asks the local AWS what a policy lets the bot's user do.
func (s *stage) may(action, resource string) string {
	s.t.Helper()
	out, err := iam.NewFromConfig(s.config(s.cell.Account.User("admin").Credentials())).SimulatePrincipalPolicy(s.t.Context(), &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: new(s.cell.Bot.ARN()), ActionNames: []string{action}, ResourceArns: []string{resource},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out.EvaluationResults[0].EvalDecision)
}

// Whoever takes the bot over gets no further than the cell's role.
func TestPermissions_whatTheyRefuse(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		arn := func(service, in, what string) string {
			return "arn:aws:" + service + ":" + in + ":" + account + ":" + what
		}
		role, own := arn("iam", "", "role/"+roleName), s.cell.Bot.ARN()
		for _, tt := range []struct{ action, resource, want string }{
			{"iam:PutRolePolicy", role, "allowed"},
			{"iam:UpdateAssumeRolePolicy", role, "allowed"},
			{"iam:UpdateAssumeRolePolicy", arn("iam", "", "role/a/path/"+roleName), "allowed"},
			{"ssm:UpdateDocument", arn("ssm", region, "document/"+prefsName), "allowed"},

			{"sts:AssumeRole", role, "explicitDeny"},
			{"ssm:StartSession", arn("ec2", region, "instance/i-00f3692ee8133b5fc"), "explicitDeny"},
			{"ssm:SendCommand", arn("ec2", region, "instance/i-00f3692ee8133b5fc"), "explicitDeny"},
			{"iam:AttachRolePolicy", role, "explicitDeny"},
			{"iam:DeleteRolePolicy", role, "explicitDeny"},
			{"iam:PutRolePermissionsBoundary", role, "explicitDeny"},
			{"iam:DeleteRolePermissionsBoundary", role, "explicitDeny"},
			{"iam:PassRole", role, "explicitDeny"},
			{"iam:PutUserPolicy", own, "explicitDeny"},
			{"iam:AttachUserPolicy", own, "explicitDeny"},
			{"iam:CreateAccessKey", own, "explicitDeny"},

			{"iam:PutRolePolicy", arn("iam", "", "role/"+roleName+"-other"), "implicitDeny"},
			{"iam:PutRolePolicy", arn("iam", "", "role/other-"+roleName), "implicitDeny"},
			{"iam:UpdateAssumeRolePolicy", arn("iam", "", "role/admin"), "implicitDeny"},
			{"iam:GetRole", arn("iam", "", "role/admin"), "implicitDeny"},
			{"iam:PutRolePolicy", strings.Replace(role, account, "999988887777", 1), "implicitDeny"},
			{"ssm:UpdateDocument", arn("ssm", region, "document/another"), "implicitDeny"},
			{"ssm:UpdateDocument", arn("ssm", "eu-west-1", "document/"+prefsName), "implicitDeny"},
			{"ssm:DeleteDocument", arn("ssm", region, "document/"+prefsName), "implicitDeny"},
			{"ssm:TerminateSession", arn("ssm", "eu-west-1", "session/x"), "implicitDeny"},
			{"logs:DescribeLogStreams", arn("logs", region, "log-group:/other:log-stream:"), "implicitDeny"},
			{"logs:DeleteLogGroup", arn("logs", region, "log-group:"+logGroup+":*"), "implicitDeny"},
			{"logs:GetLogEvents", arn("logs", region, "log-group:"+logGroup+":log-stream:x"), "implicitDeny"},
		} {
			if got := s.may(tt.action, tt.resource); got != tt.want {
				t.Errorf("%s on %s is %s, want %s", tt.action, tt.resource, got, tt.want)
			}
		}
	})
}

// Even a trust policy that names the bot, which the bot could write, does not let
// it in: a denial of its own is stronger.
func TestPermissions_neverComesInItself(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + s.cell.Bot.ARN() + `"},"Action":"sts:AssumeRole"}]}`)
		assume := func() error {
			_, err := sts.NewFromConfig(s.config(s.cell.Bot.Credentials())).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new(s.cell.Role.ARN()), RoleSessionName: new("breakglass-x")})
			return err
		}
		if err := assume(); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("the bot assumes the role that it opens: %v", err)
		}
		s.cell.Bot.Unrestricted()
		if err := assume(); err != nil {
			t.Errorf("it was not the policy that refused it: %v", err)
		}
	})
}

// The trust of a role of ours takes nobody but the bot, with the external id, in a
// session that is named as its sessions are.
func TestPermissions_trust(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		role := s.cell.Account.Role("breakglass")
		s.conf.AssumeRole, s.conf.ExternalID = role.ARN(), "ours"
		s.start()
		assume := func(u *awssim.User, session, external string) error {
			in := &sts.AssumeRoleInput{RoleArn: new(role.ARN()), RoleSessionName: new(session)}
			if external != "" {
				in.ExternalId = new(external)
			}
			_, err := sts.NewFromConfig(s.config(u.Credentials())).AssumeRole(t.Context(), in)
			return err
		}
		if err := assume(s.cell.Bot, "breakglass-BG-1", "ours"); err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{
			"somebody else":      assume(s.cell.Account.User("admin"), "breakglass-BG-1", "ours"),
			"another session":    assume(s.cell.Bot, "BG-1", "ours"),
			"no external id":     assume(s.cell.Bot, "breakglass-BG-1", ""),
			"another's external": assume(s.cell.Bot, "breakglass-BG-1", "theirs"),
		} {
			if err == nil {
				t.Errorf("%s may assume the bot's role", what)
			}
		}
		if got := s.may("sts:AssumeRole", role.ARN()); got != "allowed" {
			t.Errorf("the bot may assume its role: %s", got)
		}
		if got := s.may("iam:GetRole", s.cell.Role.ARN()); got != "implicitDeny" {
			t.Errorf("the bot itself may read the cell's role: %s", got)
		}
	})
}

// With a boundary, inline policies go only onto a role that has it.
func TestPermissions_boundary(t *testing.T) {
	const fence = "arn:aws:iam::" + account + ":policy/fence"
	for _, has := range []bool{true, false} {
		t.Run(fmt.Sprint(has), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				list, err := actions.PermissionsFor([]actions.Cell{s.conf}, actions.PermissionOptions{Boundary: fence})
				if err != nil {
					t.Fatal(err)
				}
				s.cell.Bot.Policy(ownPolicy, list[0].Policy.JSON())
				if has {
					s.cell.Role.Boundary(fence, awssim.AdministratorAccess)
					s.request().open().close()
					return
				}
				wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepHardStop, "iam:PutRolePolicy")
			})
		})
	}
}

// What is printed for one cell may stand beside what is printed for another, and
// does together what the common policy does.
func TestPermissions_sideBySide(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		second := s.world.NewCell(awssim.Cell{Name: "helios-test", EKSCluster: "helios-test", Region: "eu-west-1", Vendor: vendorARN})
		cells := []actions.Cell{s.conf, {Name: "helios-test", Account: account, Region: "eu-west-1", Role: roleName + "-helios-test"}}
		s.start(func(o *actions.Options) { o.Cells = cells })
		both := func() {
			s.request().open().close()
			l := s.asked(func(r *grant.Request) { r.Cell, r.Region = "helios-test", "eu-west-1" })
			l.checked().approved().open().close()
			if ops := s.refused(); len(ops) > 0 {
				t.Errorf("the bot may not call %v", ops)
			}
		}
		both()
		s.cell.Bot.Without(ownPolicy)
		for _, c := range cells {
			list, err := actions.PermissionsFor([]actions.Cell{c}, actions.PermissionOptions{Principal: s.cell.Bot.ARN()})
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			s.cell.Bot.Policy(string(c.Name), list[0].Policy.JSON())
		}
		both()
		if got := second.Role.InlinePolicies(); len(got) == 0 {
			t.Error("nothing happened on the second role")
		}
	})
}

var sid = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// IAM's grammar and quotas, for a configuration of any shape.
func TestPermissions_grammar(t *testing.T) {
	long := strings.Repeat("x", 64)
	for name, cells := range map[string][]actions.Cell{
		"plain":      {{Name: "helios-prod", Account: account, Region: region}},
		"longest":    {{Name: grant.CellName(long), Account: account, Region: "us-gov-west-1", EKSCluster: strings.Repeat("e", 100), TrailRegions: []string{"us-gov-east-1"}}},
		"role":       {{Name: "a", Account: account, Region: region, AssumeRole: "arn:aws:iam::" + account + ":role/x", ExternalID: "id"}},
		"role's ARN": {{Name: "a", Account: account, Region: region, Role: "arn:aws:iam::" + account + ":role/p/x"}},
		"many": {
			{Name: "a", Account: account, Region: region, EKSCluster: "a"},
			{Name: "b", Account: account, Region: "eu-west-1", EKSCluster: "b"},
			{Name: "c", Account: account, Region: region, Role: "c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := actions.PermissionsFor(cells, actions.PermissionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list {
				docs := []actions.PolicyDocument{p.Policy}
				if p.Trust != nil {
					docs = append(docs, *p.Trust)
					if p.Trust.Size() > 2048 {
						t.Errorf("the trust policy has %d characters", p.Trust.Size())
					}
				}
				if p.Policy.Size() > 6144 {
					t.Errorf("the policy has %d characters, a managed policy may have 6144", p.Policy.Size())
				}
				for _, d := range docs {
					seen := map[string]bool{}
					for _, st := range d.Statement {
						if !sid.MatchString(st.Sid) || seen[st.Sid] {
							t.Errorf("the Sid %q is no Sid, or is there twice", st.Sid)
						}
						seen[st.Sid] = true
						if len(st.Action) == 0 || len(st.Resource) == 0 && st.Principal == nil {
							t.Errorf("%s says nothing: %+v", st.Sid, st)
						}
						if !slices.IsSorted(st.Action) {
							t.Errorf("%s: %v", st.Sid, st.Action)
						}
					}
					var back actions.PolicyDocument
					if err := json.Unmarshal([]byte(d.JSON()), &back); err != nil || !cmp.Equal(back, d) {
						t.Errorf("%v:\n%s", err, cmp.Diff(d, back))
					}
				}
			}
		})
	}
}

func TestPermissions_refused(t *testing.T) {
	cell := actions.Cell{Name: "helios-prod", Account: account, Region: region}
	far := actions.Cell{Name: "far", Account: "999988887777", Region: region, AssumeRole: "arn:aws:iam::999988887777:role/" + roleName}
	for name, tt := range map[string]struct {
		cells  []actions.Cell
		o      actions.PermissionOptions
		option bool
		words  string
	}{
		"no principal":              {[]actions.Cell{cell}, actions.PermissionOptions{Principal: "breakglass"}, true, "must be the ARN of the role or user"},
		"a principal elsewhere":     {[]actions.Cell{cell}, actions.PermissionOptions{Principal: "arn:aws:iam::999988887777:role/x"}, true, "has to run in its account, " + account},
		"no boundary":               {[]actions.Cell{cell}, actions.PermissionOptions{Boundary: "arn:aws:iam::aws:role/x"}, true, "must be the ARN of a policy"},
		"works as what it opens":    {[]actions.Cell{far}, actions.PermissionOptions{}, false, "must not run as it"},
		"runs as what it opens":     {[]actions.Cell{cell}, actions.PermissionOptions{Principal: "arn:aws:iam::" + account + ":role/some/path/" + roleName}, false, "must not run as it"},
		"a region elsewhere":        {[]actions.Cell{{Name: "x", Account: account, Region: region, TrailRegions: []string{"cn-north-1"}}}, actions.PermissionOptions{}, false, "partition"},
		"a role of somebody else's": {[]actions.Cell{{Name: "x", Account: account, Region: region, Role: "arn:aws:iam::999988887777:role/x"}}, actions.PermissionOptions{}, false, "not in the cell's account"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := actions.PermissionsFor(tt.cells, tt.o)
			if err == nil || list != nil || !strings.Contains(err.Error(), tt.words) || errors.Is(err, actions.ErrPermissionOption) != tt.option {
				t.Errorf("got %v, %v", list, err)
			}
		})
	}
}
