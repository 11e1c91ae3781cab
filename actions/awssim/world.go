package awssim

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"
)

// A World is one local AWS: accounts, everything in them, and the record of
// every call. The zero value is not usable; call [New]. All methods of a World
// and of the things in it are safe for concurrent use.
type World struct {
	services map[string]*service // never changed

	mu       sync.Mutex
	accounts map[string]*Account
	keys     map[string]*accessKey
	roles    map[string]*Role // by unique id: the directory of principals
	users    map[string]*User // by unique id
	calls    []Call
	faults   []*fault
	before   []*beforeHook
	after    []*afterHook
	knobs    Knobs
	counter  uint64
}

// Knobs are the delays and oddities of a World. The zero value is an AWS that
// answers at once and is consistent.
type Knobs struct {
	// Latency is spent before every call is carried out.
	Latency time.Duration
	// StaleReads makes IAM reads answer with the state of so long ago.
	StaleReads time.Duration
	// FlappingReads makes only every second read of a role stale, as replicas
	// that disagree do.
	FlappingReads bool
	// Propagation is how long an IAM write needs to reach the place where
	// permissions are evaluated.
	Propagation time.Duration
	// TrailDelay is how long CloudTrail holds an event back.
	TrailDelay time.Duration
	// DocumentDelay is how long a new document version is Creating or
	// Updating before it is Active.
	DocumentDelay time.Duration
	// TerminateDelay is how long a session stays Terminating.
	TerminateDelay time.Duration
	// TerminateIgnored makes TerminateSession answer that it has worked, and do
	// nothing.
	TerminateIgnored bool
	// WebSocketRecycle closes the data channel of a shell so often; it comes
	// back only if the shell's credentials may still resume the session.
	WebSocketRecycle time.Duration
	// IdleTimeout makes idle sessions end as the preferences say (20 minutes
	// without other word). Off, every session counts as busy.
	IdleTimeout bool
}

// An Account is one AWS account.
type Account struct {
	w           *World
	id          string
	partition   string           // aws, aws-us-gov or aws-cn
	roles       map[string]*Role // by lower-cased name
	users       map[string]*User
	profiles    map[string]*instanceProfile
	profileList []*instanceProfile
	regions     map[string]*Region
	trustQuota  int
}

// A Region is the regional part of one account.
type Region struct {
	account   *Account
	name      string
	instances []*Instance
	documents map[string]*document
	sessions  []*session
	groups    map[string]*LogGroup
	trail     []*trailEvent
	lookups   []time.Time // of the last LookupEvents calls, for their rate limit
	hostRole  *Role       // of Default Host Management Configuration
	prompt    func(command string) string
}

// New returns an empty World.
func New() *World {
	return &World{
		services: services(),
		accounts: make(map[string]*Account),
		keys:     make(map[string]*accessKey),
		roles:    make(map[string]*Role),
		users:    make(map[string]*User),
	}
}

// Tune changes the knobs.
func (w *World) Tune(change func(*Knobs)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.knobs)
}

// Account returns the account with this id and makes it if need be. IAM
// believes in the account ids that were made here and in no others.
func (w *World) Account(id string) *Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.account(id)
}

func (w *World) account(id string) *Account {
	a, ok := w.accounts[id]
	if !ok {
		a = &Account{
			w: w, id: id, partition: "aws", trustQuota: 2048,
			roles:    make(map[string]*Role),
			users:    make(map[string]*User),
			profiles: make(map[string]*instanceProfile),
			regions:  make(map[string]*Region),
		}
		w.accounts[id] = a
	}
	return a
}

// ID returns the account's twelve digits.
func (a *Account) ID() string { return a.id }

// SetTrustQuota sets the quota "Role trust policy length" (2048 at first).
func (a *Account) SetTrustQuota(characters int) *Account {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.trustQuota = characters
	return a
}

// iamARN is the ARN of a thing in IAM, which has no region.
func (a *Account) iamARN(resource string) string {
	return "arn:" + a.partition + ":iam::" + a.id + ":" + resource
}

// partitionOf is the partition of a region.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	default:
		return "aws"
	}
}

// globalRegion is where a partition's IAM is, and records what it does.
func globalRegion(partition string) string {
	switch partition {
	case "aws-us-gov":
		return "us-gov-west-1"
	case "aws-cn":
		return "cn-north-1"
	default:
		return "us-east-1"
	}
}

// Region returns the account's part of a region. An account lives in one
// partition: that of the first region that is built in it.
func (a *Account) Region(name string) *Region {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if len(a.regions) == 0 && len(a.roles) == 0 {
		a.partition = partitionOf(name)
	}
	return a.region(name)
}

func (a *Account) region(name string) *Region {
	r, ok := a.regions[name]
	if !ok {
		r = &Region{
			account: a, name: name,
			documents: make(map[string]*document),
			groups:    make(map[string]*LogGroup),
		}
		a.regions[name] = r
	}
	return r
}

// id returns letters and digits that differ from call to call and are the same
// in every run.
func (w *World) id(length int) string {
	w.counter++
	var out string
	for block := uint64(0); len(out) < length; block++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, w.counter), block))
		out += base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	}
	return out[:length]
}

// A Call is one request that reached the World, whatever became of it.
type Call struct {
	Time        time.Time
	Account     string // the caller's account, empty when the caller is unknown
	Caller      string // the caller's ARN
	AccessKeyID string
	Region      string
	UserAgent   string
	Service     string // the signing name: iam, sts, ec2, ssm, logs, cloudtrail
	Op          string
	Write       bool
	// Params are the form fields of a query protocol, or the top-level
	// scalars of a JSON body.
	Params map[string]string
	// Status and Code are the answer's; Status is 0 where the connection was
	// dropped or the client went away.
	Status int
	Code   string
	// Done tells whether the operation was carried out, even if its answer
	// was lost.
	Done bool
}

// Name returns service and operation as in "iam:GetRole".
func (c Call) Name() string { return c.Service + ":" + c.Op }

// Role returns the name of the role that the call names, if it names one.
func (c Call) Role() string {
	if name := c.Params["RoleName"]; name != "" {
		return name
	}
	arn := c.Params["RoleArn"]
	if arn == "" {
		arn = c.Params["PolicySourceArn"]
	}
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

// Calls returns every call so far, in the order in which they finished.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Writes returns the calls that were carried out and change something.
func (w *World) Writes() []Call {
	return slices.DeleteFunc(w.Calls(), func(c Call) bool { return !c.Write || !c.Done })
}

// ForgetCalls empties the record of calls.
func (w *World) ForgetCalls() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}
