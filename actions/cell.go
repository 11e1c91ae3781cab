package actions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"breakglass/store/grant"
)

// A Cell is one BYOC cell, as far as AWS needs it.
type Cell struct {
	Name    grant.CellName
	Account grant.AccountID
	Region  string
	// EKSCluster is the name that SingleStore's conventions build on; the role
	// and the instance are looked for by it.
	EKSCluster string
	// Role, LogGroup and Instance name what convention does not find. Role is a
	// name or an ARN.
	Role, LogGroup, Instance string
	// AssumeRole is the role that the bot takes on in the cell's account; empty:
	// the SDK's own credentials. ExternalID goes with it.
	AssumeRole, ExternalID string
	// TrailRegions are more regions whose event history is asked who assumed the
	// role, besides the cell's own and the partition's global one: an event is
	// where the caller's STS endpoint is, and the caller chooses that.
	TrailRegions []string
}

// logGroup is where the cell's sessions are logged: SingleStore's procedure
// says /aws/ssm/<cell>/cluster.
func (c Cell) logGroup() string {
	if c.LogGroup != "" {
		return c.LogGroup
	}
	return "/aws/ssm/" + string(c.Name) + "/cluster"
}

// place names where the cell is, for people.
func (c Cell) place() string { return fmt.Sprintf("account %s, region %s", c.Account, c.Region) }

// Options say what [New] needs.
type Options struct {
	Cells  []Cell
	Vendor grant.Vendor
	// Log hears what people are not shown: the errors of AWS. Nil: nothing.
	Log *slog.Logger
	// HTTPClient carries the calls; nil: the SDK's own. It is copied, and gets
	// this package's timeout if it has none.
	HTTPClient *http.Client
	// Observe hears of every call, to count it; nil: nobody does. It must be quick,
	// and safe for concurrent use.
	Observe func(Call)
}

// AWS does the work in AWS. It remembers nothing but clients, credentials,
// who is just now changing which role, and what CloudTrail, which may not be
// asked often, has said lately: everything else is read from AWS each
// time. It is safe for concurrent use.
type AWS struct {
	cells  map[grant.CellName]Cell
	vendor grant.Vendor
	log    *slog.Logger
	cfg    aws.Config

	mu      sync.Mutex
	clients map[clientKey]*clients
	roles   map[string]*roleWork
	regions map[string]lock

	trail trailBook
}

// New loads the SDK's standard configuration (AWS_PROFILE, AWS_ENDPOINT_URL and
// so on; AWS SDKs and Tools Reference Guide, "Settings reference"). It refuses
// an endpoint over plain http that is not on this machine, since credentials
// and sessions would cross the network in the clear. It calls nothing.
func New(ctx context.Context, o Options) (*AWS, error) {
	cells := make(map[grant.CellName]Cell, len(o.Cells))
	for _, c := range o.Cells {
		if c.Name == "" || c.Region == "" || !c.Account.Valid() {
			return nil, fmt.Errorf("cell %q: a name, a region and an account of twelve digits are needed", c.Name)
		}
		if _, twice := cells[c.Name]; twice {
			return nil, fmt.Errorf("cell %q is there twice", c.Name)
		}
		if err := errors.Join(legalRole(c), legalTrail(c)); err != nil {
			return nil, err
		}
		c.TrailRegions = slices.Clone(c.TrailRegions)
		cells[c.Name] = c
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// The SDK writes to standard error otherwise, in a format of its own.
	load := []func(*config.LoadOptions) error{config.WithLogger(sdkLog{o.Log})}
	if o.HTTPClient != nil {
		load = append(load, config.WithHTTPClient(timed(o.HTTPClient)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	cfg = observed(limited(cfg), o.Observe)
	a := &AWS{
		cells: cells, vendor: o.Vendor, log: o.Log, cfg: cfg,
		clients: make(map[clientKey]*clients),
		roles:   make(map[string]*roleWork),
		regions: make(map[string]lock),
	}
	if err := refusePlainHTTP(cfg); err != nil {
		return nil, err
	}
	return a, nil
}

// sdkLog takes what the SDK logs, warnings about credentials for example, into the log
// of the program. What a call does in the end is told elsewhere.
type sdkLog struct{ log *slog.Logger }

// Logf implements logging.Logger.
func (l sdkLog) Logf(_ logging.Classification, format string, args ...any) {
	l.log.Debug("the AWS SDK says", "what", grant.Clean(fmt.Sprintf(format, args...), 500))
}

// legalRole refuses a configured role of another account before anything is
// looked up: only its name would count, and it would be another role.
func legalRole(c Cell) error {
	if !strings.HasPrefix(c.Role, "arn:") {
		return nil
	}
	arn, err := grant.ParseRoleARN(c.Role)
	if err != nil {
		return fmt.Errorf("cell %q: role %q: %w", c.Name, c.Role, err)
	}
	if arn.Account() != c.Account {
		return fmt.Errorf("cell %q: role %q is not in the cell's account %s", c.Name, c.Role, c.Account)
	}
	return nil
}

// regionPattern is how AWS names regions: us-east-1, us-gov-west-1, eusc-de-east-1.
var regionPattern = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$`)

// legalTrail refuses what is no region, or one that the cell's credentials mean
// nothing in, before it is asked every few minutes in vain.
func legalTrail(c Cell) error {
	for _, r := range c.TrailRegions {
		switch {
		case !regionPattern.MatchString(r):
			return fmt.Errorf("cell %q: %q is not the name of an AWS region", c.Name, r)
		case grant.PartitionOf(r) != grant.PartitionOf(c.Region):
			return fmt.Errorf("cell %q: the region %s is in the partition %s, but the cell is in %s", c.Name, r, grant.PartitionOf(r), grant.PartitionOf(c.Region))
		}
	}
	return nil
}

// errNoCell says that the configuration has no such cell any more.
var errNoCell = errors.New("the cell is not in the configuration")

// cell finds the cell of a grant as it was when the grant was requested. The
// configuration may have changed since: another account is another cell, and
// nothing may be done there in the grant's name.
func (a *AWS) cell(g grant.Grant) (Cell, *grant.Trouble) {
	c, ok := a.cells[g.Cell]
	if !ok {
		return Cell{}, &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepCheck,
			Text:   fmt.Sprintf("The cell %q is not in the bot's configuration, so nothing can be read or changed there.", g.Cell),
			Remedy: fmt.Sprintf("Let the operator put the cell %q back into the configuration.", g.Cell),
			Cause:  errNoCell,
		}
	}
	if g.Account != "" && g.Account != c.Account {
		return Cell{}, &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepCheck,
			Text:   fmt.Sprintf("The configuration says that the cell %s is in account %s, but it was in account %s when this was requested.", c.Name, c.Account, g.Account),
			Remedy: fmt.Sprintf("Let the operator put the cell's account back to %s until this grant is closed.", g.Account),
			Cause:  errNoCell,
		}
	}
	if g.Region != "" {
		c.Region = g.Region
	}
	return c, nil
}
