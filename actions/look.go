package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/store/grant"
)

// usualTrustQuota is the quota "Role trust policy length" of an account that has
// not asked for more ("IAM and AWS STS quotas").
const usualTrustQuota = 2048

// scene is everything about a cell that is read before anything is decided. It
// is read in one go, side by side: none of it depends on the rest.
type scene struct {
	cell Cell

	account error // of rightAccount
	roles   []roleRead

	instances []instance
	instErr   error

	group    logGroup
	groupErr error

	prefs    regionPreferences
	prefsErr error

	quota    int
	quotaErr error
}

// roleRead is one of the names that were looked for.
type roleRead struct {
	role
	err     error
	stop    time.Time // the hard stop's date
	stopErr error
	cut     time.Time // the cut-off's date
	cutErr  error
}

// look reads the scene. Its critical path is one round trip (one more where
// credentials have to be fetched or an answer has several pages).
func look(ctx context.Context, cl *clients, c Cell) *scene {
	names := c.roleNames()
	s := &scene{cell: c, roles: make([]roleRead, len(names))}
	work := []func(){
		func() { s.account = cl.rightAccount(ctx, c) },
		func() { s.instances, s.instErr = readInstances(ctx, cl, c) },
		func() { s.group, s.groupErr = readLogGroup(ctx, cl, c.logGroup()) },
		func() { s.prefs, s.prefsErr = readPreferences(ctx, cl) },
		func() { s.quota, s.quotaErr = readQuota(ctx, cl) },
	}
	for i, name := range names {
		r := &s.roles[i]
		work = append(
			work,
			func() { r.role, r.err = readRole(ctx, cl, name) },
			func() { r.stop, r.stopErr = readDate(ctx, cl, name, hardStopName, hardStopPolicy) },
			func() { r.cut, r.cutErr = readDate(ctx, cl, name, cutOffName, cutOffPolicy) },
		)
	}
	sideBySide(work...)
	return s
}

// readQuota is how long a trust policy may be in this account.
func readQuota(ctx context.Context, cl *clients) (int, error) {
	out, err := cl.iam.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil {
		return usualTrustQuota, err
	}
	if q := out.SummaryMap[string(iamtypes.SummaryKeyTypeAssumeRolePolicySizeQuota)]; q > 0 {
		return int(q), nil
	}
	return usualTrustQuota, errors.New("the summary has no AssumeRolePolicySizeQuota")
}

// found is the one role that the cell's access goes through, or why there is
// none: a finding that blocks.
func (s *scene) found() (roleRead, *grant.Finding) {
	var there []roleRead
	for _, r := range s.roles {
		switch {
		case r.err == nil:
			there = append(there, r)
		case missing(r.err):
		default:
			f := unreadFinding("role", r.err, "the role "+r.name+" of "+s.cell.place())
			return r, &f
		}
	}
	switch len(there) {
	case 1:
		return there[0], nil
	case 0:
		names := make([]string, len(s.roles))
		for i, r := range s.roles {
			names[i] = r.name
		}
		return roleRead{}, &grant.Finding{
			Check: "role", Level: grant.Blocks,
			Text:   fmt.Sprintf("There is no role named %s in account %s.", strings.Join(names, " or "), s.cell.Account),
			Remedy: "Ask SingleStore for the role's name, and let the operator name it: `role` of the cell " + string(s.cell.Name) + " in the configuration.",
		}
	default:
		return roleRead{}, &grant.Finding{
			Check: "role", Level: grant.Blocks,
			Text:   fmt.Sprintf("Both %s and %s are in account %s, and the bot does not guess which one SingleStore uses.", there[0].name, there[1].name, s.cell.Account),
			Remedy: "Ask SingleStore which one it is, and let the operator name it: `role` of the cell " + string(s.cell.Name) + " in the configuration.",
		}
	}
}

// read is what was read of the role with that ARN.
func (s *scene) read(arn string) roleRead {
	for _, r := range s.roles {
		if r.err == nil && r.arn == arn {
			return r
		}
	}
	return roleRead{}
}

// unreadFinding is the finding about something that opening needs and that could
// not be read. Where a person must act it blocks; a passing trouble is unknown,
// because opening reads it again anyway.
func unreadFinding(check string, err error, what string) grant.Finding {
	f := sortError(err, false)
	text, remedy := f.words(what)
	level := grant.Unread
	if f.kind() == grant.Refused {
		level = grant.Blocks
	}
	return grant.Finding{Check: check, Level: level, Text: text, Remedy: remedy}
}

// adviceFinding is the finding about something that could not be read and that
// opening does not need.
func adviceFinding(check string, err error, what string) grant.Finding {
	text, remedy := sortError(err, false).words(what)
	return grant.Finding{Check: check, Level: grant.Unread, Text: text, Remedy: remedy}
}

// passing is the first trouble that time may mend among what opening needs.
func (s *scene) passing() *grant.Trouble {
	type need struct {
		err  error
		what string
	}
	needs := []need{
		{s.account, "the caller's account"},
		{s.instErr, "the instances of " + s.cell.place()},
		{s.groupErr, "the log group " + s.cell.logGroup()},
		{s.prefsErr, "the Session Manager preferences of " + s.cell.place()},
	}
	for _, r := range s.roles {
		if !missing(r.err) {
			needs = append(needs, need{r.err, "the role " + r.name})
		}
	}
	for _, n := range needs {
		if n.err == nil {
			continue
		}
		if f := sortError(n.err, false); f.kind() != grant.Refused {
			return f.trouble(grant.StepCheck, n.what)
		}
	}
	return nil
}

// advice is what is worth telling people and what no decision hangs on. It is
// read for a check only: opening does not wait for it.
type advice struct {
	agent    ssmtypes.PingStatus
	agentErr error

	instanceRole    string // the ARN of the role that the instance has
	instanceRoleErr error

	logsRefused []string // what the instance's role may not do
	logsErr     error

	startRefused []string // what the access role may not do
	startErr     error
}

// logActions are what the instance's role needs so that the agent can write the
// log ("Logging session activity", "Create an IAM role with permissions for
// Session Manager and Amazon S3 and CloudWatch Logs").
var logActions = []string{"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams"}

func advise(ctx context.Context, cl *clients, c Cell, r role, i instance) *advice {
	v := &advice{}
	instanceARN := fmt.Sprintf("arn:%s:ec2:%s:%s:instance/%s", grant.PartitionOf(c.Region), c.Region, c.Account, i.id)
	groupARN := fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s:*", grant.PartitionOf(c.Region), c.Region, c.Account, c.logGroup())
	sideBySide(
		func() { v.agent, v.agentErr = agentState(ctx, cl, i.id) },
		func() {
			if r.arn != "" {
				v.startRefused, v.startErr = simulated(ctx, cl, r.arn, []string{"ssm:StartSession"}, []string{instanceARN})
			}
		},
		func() {
			if i.profileARN == "" {
				return
			}
			if v.instanceRole, v.instanceRoleErr = roleOf(ctx, cl, i.profileARN); v.instanceRole != "" {
				v.logsRefused, v.logsErr = simulated(ctx, cl, v.instanceRole, logActions, []string{groupARN})
			}
		},
	)
	return v
}
