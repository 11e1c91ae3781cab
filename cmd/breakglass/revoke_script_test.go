package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rogpeppe/go-internal/testscript"

	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// What scripts about revoking may use besides:
//
//	outage on, outage off       Slack answers nobody; it is back
//	entrust FILE                somebody saves the role's trust policy by hand
//	comes                       SingleStore's engineer opens a shell
//	inside N                    wants N live shells
//	gone WORD                   waits until the trust policy does not have the word
//	until PATTERN PROGRAM…      runs it until its output has the pattern
//	interrupt WORD              sends SIGINT to the programs in the background that were called with the word
//	opened DURATION             makes a database in which BG-1 is open, and opens it in AWS; only so long is
//	                            watched at its end, since scripts run in real time
func revokeCmds(cmds map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	cmds["outage"], cmds["entrust"], cmds["comes"], cmds["inside"] = cmdOutage, cmdEntrust, cmdComes, cmdInside
	cmds["gone"], cmds["until"], cmds["interrupt"], cmds["opened"] = cmdGone, cmdUntil, cmdInterrupt, cmdOpened
	return runbookCmds(cmds)
}

func cmdOutage(ts *testscript.TestScript, _ bool, args []string) {
	s := at(ts)
	if args[0] == "off" {
		s.slack.ClearFaults()
		return
	}
	s.slack.Inject(slacksim.Fault{Answer: slacksim.Drop()})
	for _, c := range s.slack.Connections() {
		c.Drop()
	}
}

func cmdEntrust(ts *testscript.TestScript, _ bool, args []string) {
	s := at(ts)
	s.cell.Account.Role("platform-oncall")
	s.cell.Role.Trust(ts.ReadFile(args[0]))
}

func (s *scene) config(ts *testscript.TestScript, key, secret, token string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: new(ts.Getenv("AWS_ENDPOINT_URL")), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, token),
	}
}

func cmdComes(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := waiting()
	defer cancel()
	s := at(ts)
	key := s.cell.Vendor.Credentials("support")
	out, err := sts.NewFromConfig(s.config(ts, key.AccessKeyID, key.SecretAccessKey, key.SessionToken)).AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: new(s.cell.Role.ARN()), RoleSessionName: new("support-engineer"),
	})
	must(ts, err)
	k := out.Credentials
	_, err = ssm.NewFromConfig(s.config(ts, *k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)).StartSession(ctx, &ssm.StartSessionInput{Target: new(s.cell.Instance.ID())})
	must(ts, err)
}

func cmdInside(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, x := range at(ts).cell.Region.Sessions() {
		if x.Status == "Connected" || x.Status == "Disconnected" {
			n++
		}
	}
	if fmt.Sprint(n) != args[0] {
		ts.Fatalf("%d shells are live, want %s", n, args[0])
	}
}

// eventually waits for something to become so.
func eventually(ts *testscript.TestScript, what string, is func() bool) {
	ctx, cancel := waiting()
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			ts.Fatalf("not within %s: %s", patience, what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func cmdGone(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[0]+" is gone from the trust policy", func() bool {
		return !strings.Contains(at(ts).cell.Role.TrustDocument(), args[0])
	})
}

func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	eventually(ts, args[0], func() bool {
		err := ts.Exec(args[1], args[2:]...)
		return err == nil && want.MatchString(ts.ReadFile("stdout"))
	})
}

func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		if !slices.Contains(cmd.Args, args[0]) {
			continue
		}
		if err := cmd.Process.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
			must(ts, err)
		}
	}
}

func cmdOpened(ts *testscript.TestScript, _ bool, args []string) {
	watched, err := time.ParseDuration(args[0])
	must(ts, err)
	s := at(ts)
	db, err := store.Open(ts.MkAbs("breakglass.db"))
	must(ts, err)
	now := time.Now().UTC().Truncate(time.Second)
	end := now.Add(4 * time.Hour)
	commit := func(id grant.ID, ev grant.Event) {
		_, err := db.Commit(store.Change{Grant: id, Event: ev, Now: now})
		must(ts, err)
	}
	commit(0, grant.Request{
		By: grant.Actor{Kind: grant.Person, User: "U0ANA", Requester: true}, Token: "token", Cell: "helios-prod", Account: "444455556666",
		Region: "us-east-1", Principal: scriptVendor, Ticket: "48213", Reason: "stuck", Duration: 4 * time.Hour,
		Terms: grant.Terms{Approvals: 1, AWSEnforced: true, Settle: watched},
	})
	commit(1, grant.Approve{By: grant.Actor{Kind: grant.Person, User: "U0BEN", Approver: true}})
	statement := fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":%q},"Action":"sts:AssumeRole","Sid":"BreakglassBG1","Condition":{"DateLessThan":{"aws:CurrentTime":%q}}}`, scriptVendor, end.Format(time.RFC3339))
	commit(1, grant.OpenDone{Access: grant.Access{
		At: now, End: end, RoleARN: s.cell.Role.ARN(), RoleName: s.cell.Role.Name(), InstanceID: s.cell.Instance.ID(),
		LogGroup: "/aws/ssm/helios-prod/cluster", Statement: statement,
	}})
	must(ts, db.Close())
	s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `"Statement":[`, `"Statement":[`+statement+",", 1))
	if doc := s.cell.Role.TrustDocument(); !strings.Contains(doc, "BreakglassBG1") {
		ts.Fatalf("the role's trust policy: %s", doc)
	}
}
