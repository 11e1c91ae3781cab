package awssim_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakglass/actions/awssim"
)

// clients are the real SDK clients with one set of credentials. They do not
// retry, so that each refusal is seen.
type clients struct {
	iam   *iam.Client
	sts   *sts.Client
	ec2   *ec2.Client
	ssm   *ssm.Client
	logs  *cloudwatchlogs.Client
	trail *cloudtrail.Client
}

func config(w *awssim.World, c awssim.Credentials) aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: new("http://aws.invalid"),
		HTTPClient:   w.HTTPClient(),
		Credentials:  credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func connect(w *awssim.World, c awssim.Credentials) clients {
	cfg := config(w, c)
	return clients{
		iam: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg),
		ssm: ssm.NewFromConfig(cfg), logs: cloudwatchlogs.NewFromConfig(cfg), trail: cloudtrail.NewFromConfig(cfg),
	}
}

// scene is a World with one cell and its bot's clients.
type scene struct {
	awssim.CellScene
	w   *awssim.World
	bot clients
}

func newScene() scene {
	w := awssim.New()
	cell := w.NewCell(awssim.Cell{})
	return scene{CellScene: cell, w: w, bot: connect(w, cell.Bot.Credentials())}
}

// wantError checks code, HTTP status (0 for any) and a part of the message.
func wantError(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatalf("got %v, want API error %s", err, code)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Fatalf("got %s: %s, want %s: …%s…", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); status != 0 && (!ok || response.HTTPStatusCode() != status) {
		t.Fatalf("got %v, want HTTP status %d", err, status)
	}
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// vendorTrust is SingleStore's statement.
func vendorTrust(arn string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassBG1","Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}]}`
}

// trust writes a trust policy through the API.
func (s scene) trust(t *testing.T, document string) error {
	t.Helper()
	_, err := s.bot.iam.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{
		RoleName: new(s.Role.Name()), PolicyDocument: &document,
	})
	return err
}

// assume assumes the cell's role as the vendor.
func (s scene) assume(t *testing.T, change ...func(*sts.AssumeRoleInput)) (clients, error) {
	t.Helper()
	in := &sts.AssumeRoleInput{RoleArn: new(s.Role.ARN()), RoleSessionName: new("jane")}
	for _, f := range change {
		f(in)
	}
	out, err := connect(s.w, s.Vendor.Credentials("jane")).sts.AssumeRole(t.Context(), in)
	if err != nil {
		return clients{}, err
	}
	return connect(s.w, awssim.Credentials{
		AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken,
	}), nil
}

// enter assumes the role and starts a session.
func (s scene) enter(t *testing.T) (clients, string) {
	t.Helper()
	c, err := s.assume(t)
	if err != nil {
		t.Fatal(err)
	}
	return c, s.start(t, c)
}

func (s scene) start(t *testing.T, c clients) string {
	t.Helper()
	out, err := c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
	return *must(t, out, err).SessionId
}
