package actions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakglass/store/grant"
)

// The limits of every call, set here and nowhere else.
const (
	// attemptLimit bounds one HTTP request and its answer.
	attemptLimit = 10 * time.Second
	// callLimit bounds one call with all its attempts.
	callLimit = 25 * time.Second
	// readAttempts is how often a read is tried (standard mode, exponential
	// backoff with jitter; AWS SDKs guide, "Retry behavior"). Adaptive mode may
	// sleep for long and is not for a bot that people wait for.
	readAttempts = 5
	// longestBackoff keeps a throttled read within callLimit.
	longestBackoff = 3 * time.Second
	// sessionLimit is how long the credentials of an assumed role live. One hour
	// is the most that role chaining allows (IAM User Guide, "Roles terms and
	// concepts"), and the bot's own credentials are usually a role's.
	sessionLimit = time.Hour
	// identityLimit is how long the answer of GetCallerIdentity is believed.
	identityLimit = 10 * time.Minute
)

// sessionPrefix is how the sessions of a role that the bot assumes are named; the
// trust policy that [PermissionsFor] makes asks for it.
const sessionPrefix = "breakglass-"

// A clientKey says which clients may be shared: the same region and, where a
// role is assumed, the same session of it.
type clientKey struct{ region, assume, externalID, session string }

// clients are the SDK's clients for one region with one set of credentials.
type clients struct {
	iam   *iam.Client
	sts   *sts.Client
	ec2   *ec2.Client
	ssm   *ssm.Client
	logs  *cloudwatchlogs.Client
	trail *cloudtrail.Client

	used time.Time // guarded by AWS.mu

	identity lock
	account  grant.AccountID
	asked    time.Time
}

// clientsFor returns the clients for a cell. Where a role is assumed the
// session is named after the grant, so that CloudTrail ties every write to the
// request behind it.
func (a *AWS) clientsFor(c Cell, id grant.ID) *clients {
	key := clientKey{region: c.Region}
	if c.AssumeRole != "" {
		key.assume, key.externalID, key.session = c.AssumeRole, c.ExternalID, sessionPrefix+"check"
		if id != 0 {
			key.session = sessionPrefix + id.String()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	cl, ok := a.clients[key]
	if !ok {
		for k, other := range a.clients {
			if now.Sub(other.used) > sessionLimit {
				delete(a.clients, k)
			}
		}
		cl = newClients(a.cfg, key)
		a.clients[key] = cl
	}
	cl.used = now
	return cl
}

func newClients(cfg aws.Config, key clientKey) *clients {
	cfg = cfg.Copy()
	cfg.Region = key.region
	if key.assume != "" {
		cfg.Credentials = aws.NewCredentialsCache(
			stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), key.assume, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = key.session
				o.Duration = sessionLimit
				if key.externalID != "" {
					o.ExternalID = new(key.externalID)
				}
			}),
			// A call that begins just before the end must not fail in the middle.
			func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = time.Minute },
		)
	}
	return &clients{
		iam: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg),
		ssm: ssm.NewFromConfig(cfg), logs: cloudwatchlogs.NewFromConfig(cfg), trail: cloudtrail.NewFromConfig(cfg),
		identity: newLock(),
	}
}

// once turns the SDK's retries off for a write. A repeat after a lost answer
// could overwrite what a person has changed in between, so writes are repeated
// by us, after looking.
func once() aws.Retryer { return aws.NopRetryer{} }

func iamOnce(o *iam.Options) { o.Retryer = once() }
func ssmOnce(o *ssm.Options) { o.Retryer = once() }

// limited puts timeouts, retries and the guard against plain http into the
// configuration that every client is made from.
func limited(cfg aws.Config) aws.Config {
	switch b := cfg.HTTPClient.(type) {
	case nil: // the SDK would make its own, too late to be guarded
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(attemptLimit)
	case *awshttp.BuildableClient:
		cfg.HTTPClient = b.WithTimeout(attemptLimit)
	}
	cfg.HTTPClient = guarded{cfg.HTTPClient}
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = readAttempts
			o.MaxBackoff = longestBackoff
		})
	}
	cfg.RetryMaxAttempts = 0 // AWS_MAX_ATTEMPTS and the profile do not loosen the above
	cfg.APIOptions = append(cfg.APIOptions, func(s *middleware.Stack) error {
		return errors.Join(s.Initialize.Add(deadline{}, middleware.Before), s.Initialize.Add(journaling{}, middleware.After), s.Build.Add(attribution{}, middleware.After))
	})
	return cfg
}

// timed returns a copy of the client that gives up on a request.
func timed(c *http.Client) *http.Client {
	own := *c
	if own.Timeout == 0 {
		own.Timeout = attemptLimit
	}
	return &own
}

// errCallLimit is the cause of a deadline that this package has set.
var errCallLimit = fmt.Errorf("AWS has not answered within %s", callLimit)

// deadline bounds a whole call, with its retries and their pauses.
type deadline struct{}

func (deadline) ID() string { return "breakglass:deadline" }

func (deadline) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, errCallLimit)
	defer cancel() // no call of ours streams its answer
	return next.HandleInitialize(ctx, in)
}

// grantKey is the key of the grant that a context's calls are made for.
type grantKey struct{}

func onBehalf(ctx context.Context, id grant.ID) context.Context {
	if id == 0 {
		return ctx
	}
	return context.WithValue(ctx, grantKey{}, id)
}

// attribution puts the grant's id into the User-Agent, which CloudTrail records
// (CloudTrail User Guide, "CloudTrail record contents"): so a write can be tied to
// its request where no role is assumed, too, and no session can be named after it.
type attribution struct{}

func (attribution) ID() string { return "breakglass:attribution" }

func (attribution) HandleBuild(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
	id, ok := ctx.Value(grantKey{}).(grant.ID)
	if r, isHTTP := in.Request.(*smithyhttp.Request); ok && isHTTP {
		r.Header.Set("User-Agent", strings.TrimSpace(r.Header.Get("User-Agent")+" md/breakglass#"+id.String()))
	}
	return next.HandleBuild(ctx, in)
}

// guarded refuses plain http at the last moment, whatever led there.
type guarded struct{ aws.HTTPClient }

func (g guarded) Do(r *http.Request) (*http.Response, error) {
	if err := plainHTTP(r.URL.String()); err != nil {
		return nil, err
	}
	return g.HTTPClient.Do(r)
}

// errPlainHTTP is what an endpoint is refused with.
var errPlainHTTP = errors.New("plain http would send credentials over the network in the clear; use https, or an address of this machine such as http://127.0.0.1:4566")

// plainHTTP refuses a URL over http unless its host is this machine.
func plainHTTP(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("the AWS endpoint %q is not a URL", raw)
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return nil
	case "http":
		if loopback(u.Hostname()) {
			return nil
		}
		return fmt.Errorf("the AWS endpoint %s://%s: %w", u.Scheme, u.Host, errPlainHTTP)
	default:
		return fmt.Errorf("the AWS endpoint %q begins with neither https:// nor http://", raw)
	}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// refusePlainHTTP looks at every endpoint that the environment or the profile
// sets. The guard on the HTTP client would catch them all, but only at the first
// call: the operator should learn it at the start. The variables are scanned
// besides, for services that only the credential chain uses.
func refusePlainHTTP(cfg aws.Config) error {
	if cfg.BaseEndpoint != nil {
		if err := plainHTTP(*cfg.BaseEndpoint); err != nil {
			return err
		}
	}
	cl := newClients(cfg, clientKey{region: "us-east-1"})
	for _, endpoint := range []*string{
		cl.iam.Options().BaseEndpoint, cl.sts.Options().BaseEndpoint, cl.ec2.Options().BaseEndpoint,
		cl.ssm.Options().BaseEndpoint, cl.logs.Options().BaseEndpoint, cl.trail.Options().BaseEndpoint,
	} {
		if endpoint == nil {
			continue
		}
		if err := plainHTTP(*endpoint); err != nil {
			return err
		}
	}
	if strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		return nil
	}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if value == "" || name != "AWS_ENDPOINT_URL" && !strings.HasPrefix(name, "AWS_ENDPOINT_URL_") {
			continue
		}
		if err := plainHTTP(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// notSent reports whether the request never left this machine.
func notSent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, dns := errors.AsType[*net.DNSError](err)
	return dns || errors.Is(err, errPlainHTTP)
}

// rightAccount refuses to go on unless AWS says that the credentials are of the
// cell's account. It is asked before any write.
func (cl *clients) rightAccount(ctx context.Context, c Cell) error {
	if err := cl.identity.take(ctx); err != nil {
		return err
	}
	defer cl.identity.give()
	if cl.account == "" || time.Since(cl.asked) > identityLimit {
		out, err := cl.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return err
		}
		cl.account, cl.asked = grant.AccountID(aws.ToString(out.Account)), time.Now()
	}
	if cl.account != c.Account {
		return &wrongAccountError{got: cl.account, want: c.Account}
	}
	return nil
}

// wrongAccountError says that the credentials are of another account.
type wrongAccountError struct{ got, want grant.AccountID }

func (e *wrongAccountError) Error() string {
	return fmt.Sprintf("the credentials are of account %s, not %s", e.got, e.want)
}
