package awssim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"breakglass/actions/awssim"
)

func TestGetCallerIdentity(t *testing.T) {
	s := newScene()
	out, err := s.bot.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if got := must(t, out, err); *got.Account != "444455556666" || *got.Arn != "arn:aws:iam::444455556666:user/breakglass-bot" {
		t.Errorf("got %s, %s", *got.Account, *got.Arn)
	}
	// Nothing can forbid it.
	s.Role.Path("/x/").Attach("arn:aws:iam::aws:policy/AWSDenyAll", awssim.DenyAll)
	out, err = connect(s.w, s.Role.Credentials("jane")).sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if got := must(t, out, err); *got.Arn != "arn:aws:sts::444455556666:assumed-role/ssm-access-from-other-accounts/jane" || *got.UserId != s.Role.UniqueID()+":jane" {
		t.Errorf("got %s, %s", *got.Arn, *got.UserId)
	}
}

func TestCredentials_refused(t *testing.T) {
	s := newScene()
	unknown := connect(s.w, awssim.Credentials{AccessKeyID: "AKIANOBODY", SecretAccessKey: "x"})
	noToken := s.Role.Credentials("jane")
	noToken.SessionToken = ""
	gone := s.Account.Role("gone")
	goneKey := gone.Credentials("jane")
	gone.Delete()
	for name, c := range map[string]clients{"unknown": unknown, "no token": connect(s.w, noToken), "role deleted": connect(s.w, goneKey)} {
		t.Run(name, func(t *testing.T) {
			_, err := c.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			wantError(t, err, 403, "InvalidClientTokenId", "security token")
			_, err = c.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new("x")})
			wantError(t, err, 403, "InvalidClientTokenId", "")
			_, err = c.ssm.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: new("i-1")})
			wantError(t, err, 403, "UnrecognizedClientException", "")
			_, err = c.ec2.DescribeInstances(t.Context(), nil)
			wantError(t, err, 401, "AuthFailure", "")
		})
	}
}

func TestCredentials_expire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		c := connect(s.w, s.Role.Credentials("jane"))
		time.Sleep(time.Hour - time.Second)
		if _, err := c.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err := c.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		wantError(t, err, 403, "ExpiredToken", "expired")
		_, err = c.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"})
		wantError(t, err, 400, "ExpiredTokenException", "")
		_, err = c.ec2.DescribeInstances(t.Context(), nil)
		wantError(t, err, 400, "RequestExpired", "")
	})
}

// Each row is a trust policy, with VENDOR for the vendor's ARN, and whether the
// vendor's session may assume the role at noon on 2000-01-01.
func TestAssumeRole_trust(t *testing.T) {
	allow := func(members string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"Action":"sts:AssumeRole"` + members + `}`
	}
	condition := func(c string) string { return allow(`,"Condition":` + c) }
	external := func(in *sts.AssumeRoleInput) { in.ExternalId = new("ticket-1") }
	for name, test := range map[string]struct {
		statements string
		change     func(*sts.AssumeRoleInput)
		want       bool
	}{
		"role":                      {statements: allow(""), want: true},
		"account root":              {statements: `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}`, want: true},
		"everyone":                  {statements: `{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`, want: true},
		"everyone in AWS":           {statements: `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:*"}`, want: true},
		"session":                   {statements: `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/singlestore-support/jane"},"Action":"sts:Assume?ole"}`, want: true},
		"other session":             {statements: `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/singlestore-support/joe"},"Action":"sts:AssumeRole"}`},
		"own account":               {statements: `{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}`},
		"service":                   {statements: `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`},
		"action case":               {statements: `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"Action":"STS:assumerole"}`, want: true},
		"other action":              {statements: `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"Action":"sts:TagSession"}`},
		"not action":                {statements: `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"NotAction":"sts:TagSession"}`, want: true},
		"not this action":           {statements: `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"NotAction":"sts:Assume*"}`},
		"deny wins":                 {statements: allow("") + `,{"Effect":"Deny","Principal":{"AWS":"VENDOR"},"Action":"sts:*"}`},
		"deny of someone else":      {statements: allow("") + `,{"Effect":"Deny","Principal":{"AWS":"444455556666"},"Action":"sts:*"}`, want: true},
		"before the end":            {statements: condition(`{"DateLessThan":{"aws:CurrentTime":"2000-01-01T12:00:01Z"}}`), want: true},
		"at the end":                {statements: condition(`{"DateLessThan":{"aws:CurrentTime":"2000-01-01T12:00:00Z"}}`)},
		"at the end, equals":        {statements: condition(`{"DateLessThanEquals":{"aws:CurrentTime":"2000-01-01T12:00:00Z"}}`), want: true},
		"before the start":          {statements: condition(`{"DateGreaterThan":{"aws:CurrentTime":"2000-01-01T12:00:00Z"}}`)},
		"from the start":            {statements: condition(`{"DateGreaterThanEquals":{"aws:CurrentTime":"2000-01-01T13:00:00+01:00"}}`), want: true},
		"epoch key":                 {statements: condition(`{"DateLessThan":{"aws:EpochTime":"946728001"}}`), want: true},
		"external id":               {statements: condition(`{"StringEquals":{"sts:ExternalId":["other","ticket-1"]}}`), change: external, want: true},
		"external id missing":       {statements: condition(`{"StringEquals":{"sts:ExternalId":"ticket-1"}}`)},
		"external id if exists":     {statements: condition(`{"StringEqualsIfExists":{"sts:ExternalId":"ticket-1"}}`), want: true},
		"external id like":          {statements: condition(`{"StringLike":{"sts:externalid":"ticket-*"}}`), change: external, want: true},
		"external id no wildcard":   {statements: condition(`{"StringEquals":{"sts:ExternalId":"ticket-*"}}`), change: external},
		"external id not":           {statements: condition(`{"StringNotEquals":{"sts:ExternalId":"ticket-1"}}`), change: external},
		"external id not, absent":   {statements: condition(`{"StringNotEquals":{"sts:ExternalId":"ticket-1"}}`), want: true},
		"external id ignore case":   {statements: condition(`{"StringEqualsIgnoreCase":{"sts:ExternalId":"TICKET-1"}}`), change: external, want: true},
		"principal arn":             {statements: `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole","Condition":{"ArnEquals":{"aws:PrincipalArn":"VENDOR"}}}`, want: true},
		"principal arn like":        {statements: condition(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/singlestore-*"}}`), want: true},
		"principal arn, other":      {statements: condition(`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/other"}}`)},
		"principal arn, not":        {statements: condition(`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/other"}}`), want: true},
		"bool":                      {statements: condition(`{"Bool":{"aws:SecureTransport":"true"}}`), want: true},
		"bool missing":              {statements: condition(`{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`)},
		"null true":                 {statements: condition(`{"Null":{"sts:ExternalId":"true"}}`), want: true},
		"null false":                {statements: condition(`{"Null":{"sts:ExternalId":"false"}}`)},
		"session name":              {statements: condition(`{"StringEquals":{"sts:RoleSessionName":"jane"}}`), want: true},
		"address":                   {statements: condition(`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`), want: true},
		"other address":             {statements: condition(`{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`)},
		"number":                    {statements: condition(`{"NumericGreaterThan":{"aws:EpochTime":1}}`), want: true},
		"all of two":                {statements: condition(`{"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"sts:ExternalId":"ticket-1"}}`)},
		"for all values":            {statements: condition(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`), want: true},
		"for any value":             {statements: condition(`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}`)},
		"variable":                  {statements: condition(`{"StringLike":{"aws:userid":"*:${sts:RoleSessionName}"}}`), want: true},
		"variable missing":          {statements: condition(`{"StringLike":{"aws:userid":"*${sts:ExternalId}"}}`)},
		"variable with default":     {statements: condition(`{"StringLike":{"aws:userid":"*:${sts:ExternalId, 'jane'}"}}`), want: true},
		"unknown operator, allow":   {statements: condition(`{"StringSmells":{"sts:RoleSessionName":"jane"}}`)},
		"unknown operator, deny":    {statements: allow("") + `,{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringSmells":{"sts:RoleSessionName":"nobody"}}}`},
		"tags need their own":       {statements: allow(""), change: func(in *sts.AssumeRoleInput) { in.Tags = []types.Tag{{Key: new("a"), Value: new("b")}} }},
		"source identity too":       {statements: allow(""), change: func(in *sts.AssumeRoleInput) { in.SourceIdentity = new("jane") }},
		"source identity permitted": {statements: allow("") + `,{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"Action":"sts:SetSourceIdentity"}`, change: func(in *sts.AssumeRoleInput) { in.SourceIdentity = new("jane") }, want: true},
		"tags permitted":            {statements: `{"Effect":"Allow","Principal":{"AWS":"VENDOR"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:RequestTag/a":"b"}}}`, change: func(in *sts.AssumeRoleInput) { in.Tags = []types.Tag{{Key: new("a"), Value: new("b")}} }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(12 * time.Hour)
				s := newScene()
				s.Role.Trust(strings.ReplaceAll(`{"Version":"2012-10-17","Statement":[`+test.statements+`]}`, "VENDOR", s.Vendor.ARN()))
				change := test.change
				if change == nil {
					change = func(*sts.AssumeRoleInput) {}
				}
				_, err := s.assume(t, change)
				if test.want && err != nil {
					t.Errorf("got %v, want to be let in", err)
				} else if !test.want {
					wantError(t, err, 403, "AccessDenied", "is not authorized to perform: sts:")
				}
			})
		})
	}
}

func TestAssumeRole_durations(t *testing.T) {
	s := newScene()
	s.Role.Trust(vendorTrust(s.Vendor.ARN())).MaxSession(12 * time.Hour)
	_, err := s.assume(t, func(in *sts.AssumeRoleInput) { in.DurationSeconds = new(int32(3601)) })
	wantError(t, err, 400, "ValidationError", "role chaining")
	if _, err := s.assume(t, func(in *sts.AssumeRoleInput) { in.DurationSeconds = new(int32(3600)) }); err != nil {
		t.Error(err)
	}
	_, err = s.assume(t, func(in *sts.AssumeRoleInput) { in.DurationSeconds = new(int32(899)) })
	wantError(t, err, 400, "ValidationError", "900")
	_, err = s.assume(t, func(in *sts.AssumeRoleInput) { in.RoleSessionName = new("no spaces") })
	wantError(t, err, 400, "ValidationError", "roleSessionName")

	// A user is not a chain: it gets what the role allows, and no more.
	user := s.w.Account("111122223333").User("support")
	s.Role.Trust(vendorTrust(user.ARN())).MaxSession(2 * time.Hour)
	c := connect(s.w, user.Credentials())
	in := &sts.AssumeRoleInput{RoleArn: new(s.Role.ARN()), RoleSessionName: new("jane"), DurationSeconds: new(int32(7200))}
	out, err := c.sts.AssumeRole(t.Context(), in)
	if left := time.Until(*must(t, out, err).Credentials.Expiration); left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("got %v, want two hours", left)
	}
	in.DurationSeconds = new(int32(7201))
	_, err = c.sts.AssumeRole(t.Context(), in)
	wantError(t, err, 400, "ValidationError", "MaxSessionDuration")
}

// Both sides of an AssumeRole count: who may ask, and who is trusted.
func TestAssumeRole_identitySide(t *testing.T) {
	s := newScene()
	target := s.Account.Role("target")
	ask := func(c clients) error {
		_, err := c.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new(target.ARN()), RoleSessionName: new("x1")})
		return err
	}
	const nothing = `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	s.Bot.Policy("p", nothing)
	target.Trust(vendorTrust("444455556666"))
	wantError(t, ask(s.bot), 403, "AccessDenied", "") // the root of the account delegates to its policies
	target.Trust(vendorTrust(s.Bot.ARN()))
	if err := ask(s.bot); err != nil { // named itself, in its own account
		t.Error(err)
	}
	s.Bot.Policy("p", `{"Statement":{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"arn:aws:iam::444455556666:role/tar*"}}`)
	wantError(t, ask(s.bot), 403, "AccessDenied", "")
	s.Bot.Unrestricted()

	foreign := s.w.Account("111122223333").User("support")
	foreign.Policy("p", nothing)
	target.Trust(vendorTrust(foreign.ARN()))
	wantError(t, ask(connect(s.w, foreign.Credentials())), 403, "AccessDenied", "")
	foreign.Policy("p", `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"`+target.ARN()+`"}}`)
	if err := ask(connect(s.w, foreign.Credentials())); err != nil {
		t.Error(err)
	}
	_, err := s.bot.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::444455556666:role/nobody"), RoleSessionName: new("x1")})
	wantError(t, err, 403, "AccessDenied", "role/nobody")
}

func TestAssumeRole_sessionPolicyNarrows(t *testing.T) {
	s := newScene()
	s.Role.Trust(vendorTrust(s.Vendor.ARN()))
	c, err := s.assume(t, func(in *sts.AssumeRoleInput) {
		in.Policy = new(`{"Statement":{"Effect":"Allow","Action":["ssm:DescribeSessions","iam:*"],"Resource":"*"}}`)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"}); err != nil {
		t.Error(err)
	}
	_, err = c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
	wantError(t, err, 400, "AccessDeniedException", "ssm:StartSession")
	_, err = c.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(s.Role.Name())})
	wantError(t, err, 403, "AccessDenied", "iam:GetRole")
}

// The bot's own policy is enforced to the letter, with its resources.
func TestIdentityPolicy_leastPrivilege(t *testing.T) {
	s := newScene()
	s.Role.Path("/team/")
	s.Bot.Policy("bot", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:GetRole","iam:PutRolePolicy"],"Resource":"arn:aws:iam::444455556666:role/team/ssm-access*"},
		{"Effect":"Deny","Action":"iam:PutRolePolicy","Resource":"*","Condition":{"StringNotEquals":{"iam:PermissionsBoundary":"arn:aws:iam::444455556666:policy/fence"}}},
		{"Effect":"Allow","Action":"ssm:GetDocument","Resource":"arn:aws:ssm:us-east-1:444455556666:document/SSM-SessionManagerRunShell"},
		{"Effect":"Allow","Action":["logs:DescribeLogStreams"],"Resource":"arn:aws:logs:us-east-1:444455556666:log-group:/aws/ssm/*:*"}]}`)
	get := func(role string) error {
		_, err := s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &role})
		return err
	}
	if err := get(s.Role.Name()); err != nil {
		t.Error(err)
	}
	wantError(t, get(s.Host.Name()), 403, "AccessDenied", "on resource: "+s.Host.ARN()+" because no identity-based policy")
	put := func() error {
		_, err := s.bot.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new(s.Role.Name()), PolicyName: new("p"), PolicyDocument: new(awssim.DenyAll)})
		return err
	}
	wantError(t, put(), 403, "AccessDenied", "explicit deny")
	s.Role.Boundary("arn:aws:iam::444455556666:policy/fence", awssim.AdministratorAccess)
	if err := put(); err != nil {
		t.Error(err)
	}
	_, err := s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new("SSM-SessionManagerRunShell")})
	wantError(t, err, 400, "InvalidDocument", "")
	_, err = s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new("AWS-StartSSHSession")})
	wantError(t, err, 400, "AccessDeniedException", "arn:aws:ssm:us-east-1::document/AWS-StartSSHSession")
	_, err = s.bot.ec2.DescribeInstances(t.Context(), nil)
	wantError(t, err, 403, "UnauthorizedOperation", "")
}

func TestPermissionsBoundary(t *testing.T) {
	s := newScene()
	c := connect(s.w, s.Role.Credentials("jane"))
	s.start(t, c)
	s.Role.Boundary("arn:aws:iam::444455556666:policy/fence", `{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}`)
	_, err := c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
	wantError(t, err, 400, "AccessDeniedException", "")
}

// The whole promise of AWS-enforced expiry, by the clock alone: the trust ends,
// the credentials that were issued end, the shell does not.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		start := time.Now()
		end := start.Add(30 * time.Minute).UTC().Format(time.RFC3339)
		put := func(name, document string) {
			_, err := s.bot.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new(s.Role.Name()), PolicyName: &name, PolicyDocument: &document})
			if err != nil {
				t.Fatal(err)
			}
		}
		put("BreakglassHardStop", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"`+end+`"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}`)
		if err := s.trust(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+s.Vendor.ARN()+`"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"`+end+`"}}}]}`); err != nil {
			t.Fatal(err)
		}
		c, id := s.enter(t)
		shell, err := s.Region.Shell(id)
		if err != nil {
			t.Fatal(err)
		}

		time.Sleep(30*time.Minute - time.Second)
		s.start(t, c)
		if _, err := s.assume(t); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err = s.assume(t)
		wantError(t, err, 403, "AccessDenied", "sts:AssumeRole")
		time.Sleep(time.Second)
		_, err = c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
		wantError(t, err, 400, "AccessDeniedException", "explicit deny")
		_, err = c.ssm.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: &id})
		wantError(t, err, 400, "AccessDeniedException", "explicit deny")
		if _, err := shell.Type("whoami"); err != nil {
			t.Errorf("the open shell died: %v", err)
		}
	})
}

// AWSRevokeOlderSessions kills what was issued before the cut-off and nothing
// that is issued after it.
func TestTokenIssueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.Role.Trust(vendorTrust(s.Vendor.ARN()))
		old, err := s.assume(t)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		cut := time.Now().Add(30 * time.Second).UTC().Format(time.RFC3339)
		s.Role.Inline("AWSRevokeOlderSessions", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"`+cut+`"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}`)
		describe := func(c clients) error {
			_, err := c.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"})
			return err
		}
		wantError(t, describe(old), 400, "AccessDeniedException", "explicit deny")
		within, err := s.assume(t)
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, describe(within), 400, "AccessDeniedException", "explicit deny")
		time.Sleep(30 * time.Second)
		after, err := s.assume(t)
		if err != nil {
			t.Fatal(err)
		}
		if err := describe(after); err != nil {
			t.Error(err)
		}
	})
}

// IAM writes reach the data plane late.
func TestPropagation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.w.Tune(func(k *awssim.Knobs) { k.Propagation = 10 * time.Second })
		if err := s.trust(t, vendorTrust(s.Vendor.ARN())); err != nil {
			t.Fatal(err)
		}
		_, err := s.assume(t)
		wantError(t, err, 403, "AccessDenied", "")
		time.Sleep(10 * time.Second)
		c, err := s.assume(t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.bot.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new(s.Role.Name()), PolicyName: new("x"), PolicyDocument: new(awssim.DenyAll)}); err != nil {
			t.Fatal(err)
		}
		s.start(t, c)
		time.Sleep(10 * time.Second)
		_, err = c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
		wantError(t, err, 400, "AccessDeniedException", "")
	})
}
