package awssim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Credentials are what a client signs with.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    // empty for long-term keys
	Expires         time.Time // zero for long-term keys
}

// A User is an IAM user with one long-term access key. A user without policies
// may do everything in its own account; the first [User.Policy] ends that.
type User struct {
	w       *World
	account *Account
	name    string
	id      string
	key     *accessKey
	// policies are nil for the unrestricted user.
	policies map[string]*policy
}

// User returns the user of this name and makes it, with its key, if need be.
func (a *Account) User(name string) *User {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if u, ok := a.users[name]; ok {
		return u
	}
	u := &User{w: a.w, account: a, name: name, id: "AIDA" + a.w.id(17)}
	u.key = &accessKey{id: "AKIA" + a.w.id(16), secret: a.w.id(40), account: a, user: u}
	a.w.keys[u.key.id] = u.key
	a.users[name] = u
	a.w.users[u.id] = u
	return u
}

// ARN returns the user's ARN.
func (u *User) ARN() string { return u.account.iamARN("user/" + u.name) }

// Credentials returns the user's long-term key.
func (u *User) Credentials() Credentials {
	return Credentials{AccessKeyID: u.key.id, SecretAccessKey: u.key.secret}
}

// Policy puts an identity policy on the user, in place of one of the same name.
// A document that IAM would refuse grants nothing.
func (u *User) Policy(name, document string) *User {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	if u.policies == nil {
		u.policies = make(map[string]*policy)
	}
	u.policies[name], _ = parsePolicy(document, identityPolicy)
	return u
}

// Without takes one policy off the user. A user whose last one goes may do
// nothing; see [User.Unrestricted].
func (u *User) Without(name string) *User {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	if u.policies == nil {
		u.policies = make(map[string]*policy)
	}
	delete(u.policies, name)
	return u
}

// Unrestricted takes all policies away again: everything is allowed.
func (u *User) Unrestricted() *User {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	u.policies = nil
	return u
}

// An accessKey is one key pair and whom it stands for.
type accessKey struct {
	id, secret, token string
	account           *Account
	user              *User // or
	role              *Role
	session           string
	issued, expires   time.Time
	chained           bool      // the session itself was assumed by a session
	instance          *Instance // of credentials that EC2 hands to an instance
	sourceIdentity    string
	tags              map[string]string
	narrowed          []*policy // session policies of AssumeRole
	isNarrowed        bool
}

func (k *accessKey) credentials() Credentials {
	return Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: k.token, Expires: k.expires}
}

// arn is what GetCallerIdentity answers. The path of a role is not part of it.
func (k *accessKey) arn() string {
	if k.user != nil {
		return k.user.ARN()
	}
	return "arn:" + k.account.partition + ":sts::" + k.account.id + ":assumed-role/" + k.role.name + "/" + k.session
}

// principalARN is aws:PrincipalArn: of a session, the ARN of its role.
func (k *accessKey) principalARN() string {
	if k.user != nil {
		return k.user.ARN()
	}
	return k.role.arn()
}

// uniqueID is aws:userid.
func (k *accessKey) uniqueID() string {
	if k.user != nil {
		return k.user.id
	}
	return k.role.id + ":" + k.session
}

// newSession makes temporary credentials of a role.
func (w *World) newSession(r *Role, session string, now time.Time, lifetime time.Duration) *accessKey {
	k := &accessKey{
		id: "ASIA" + w.id(16), secret: w.id(40), token: "IQoJ" + w.id(252),
		account: r.account, role: r, session: session,
		issued: now.Truncate(time.Second), expires: now.Truncate(time.Second).Add(lifetime),
	}
	w.keys[k.id] = k
	return k
}

// instanceSession makes the credentials that EC2 hands to an instance: the
// session is named after it.
func (w *World) instanceSession(r *Role, i *Instance, issued time.Time) *accessKey {
	return &accessKey{
		account: r.account, role: r, session: i.id, instance: i,
		issued: issued.Truncate(time.Second), expires: issued.Truncate(time.Second).Add(instanceRotation),
	}
}

// context returns the global condition keys of a request made with a key.
func (k *accessKey) context(region string, now time.Time) requestContext {
	rc := make(requestContext)
	rc.set("aws:CurrentTime", isoTime(now))
	rc.set("aws:EpochTime", itoa(now.Unix()))
	rc.set("aws:PrincipalArn", k.principalARN())
	rc.set("aws:PrincipalAccount", k.account.id)
	rc.set("aws:userid", k.uniqueID())
	rc.set("aws:SecureTransport", "true")
	rc.set("aws:SourceIp", "203.0.113.10")
	rc.set("aws:RequestedRegion", region)
	if k.user != nil {
		rc.set("aws:username", k.user.name)
		rc.set("aws:PrincipalType", "User")
	} else {
		rc.set("aws:PrincipalType", "AssumedRole")
		rc.set("aws:TokenIssueTime", isoTime(k.issued))
	}
	if k.instance != nil {
		rc.set("ec2:SourceInstanceARN", k.instance.arn())
	}
	if k.sourceIdentity != "" {
		rc.set("aws:SourceIdentity", k.sourceIdentity)
	}
	for name, value := range k.tags {
		rc.set("aws:PrincipalTag/"+name, value)
	}
	return rc
}

// may evaluates the identity-based policies of a caller. The permissions
// boundary and the session policies only narrow what the identity allows.
func (w *World) may(k *accessKey, action, resource string, rc requestContext, now time.Time) verdict {
	var identity []*policy
	var narrower [][]*policy
	switch {
	case k.user != nil && k.user.policies == nil:
		identity = []*policy{allowEverything}
	case k.user != nil:
		identity = slices.Collect(maps.Values(k.user.policies))
	default:
		identity = k.role.at(now.Add(-w.knobs.Propagation)).policies()
		if k.role.boundary != nil {
			narrower = append(narrower, []*policy{k.role.boundary.policy})
		}
		if k.isNarrowed {
			narrower = append(narrower, k.narrowed)
		}
	}
	v := evaluate(identity, action, resource, rc)
	for _, set := range narrower {
		narrowed := evaluate(set, action, resource, rc)
		if narrowed == explicitDeny {
			return explicitDeny
		}
		if v == allowed {
			v = narrowed
		}
	}
	return v
}

// allowEverything is the policy of a principal without restrictions.
var allowEverything = mustPolicy(AdministratorAccess)

// Contents of AWS managed policies, as far as the simulated actions need them.
const (
	AdministratorAccess = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	DenyAll             = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	// SSMManagedInstanceCore allows nothing in logs, like the original.
	SSMManagedInstanceCore = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation","ssm:DescribeDocument","ssm:GetDocument","ssmmessages:CreateControlChannel","ssmmessages:CreateDataChannel","ssmmessages:OpenControlChannel","ssmmessages:OpenDataChannel","ec2messages:*"],"Resource":"*"}]}`
	// SessionLogging is what the Session Manager guide tells to add for
	// CloudWatch logging.
	SessionLogging = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:CreateLogStream","logs:PutLogEvents","logs:DescribeLogGroups","logs:DescribeLogStreams"],"Resource":"*"}]}`
	// SessionStarter is what a support role needs to open a shell.
	SessionStarter = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:StartSession","ssm:ResumeSession","ssm:DescribeSessions","ssm:TerminateSession","ssm:GetConnectionStatus","ssm:DescribeInstanceInformation","ec2:DescribeInstances"],"Resource":"*"}]}`
)

// mustPolicy parses a document of this package. One that does not parse is
// nil and grants nothing.
func mustPolicy(document string) *policy {
	p, err := parsePolicy(document, identityPolicy)
	if err != nil {
		return nil
	}
	return p
}

// resolve turns an AWS principal as written into what IAM stores: the unique
// id of a role or user, the root ARN of an account. It refuses what does not
// exist.
func (w *World) resolve(value string) (string, bool) {
	switch {
	case value == "*":
		return value, true
	case isAccountID(value):
		a := w.accounts[value]
		if a == nil {
			return value, false
		}
		return a.iamARN("root"), true
	case isUniqueID(value):
		// A raw id is legal only while its owner lives.
		return value, w.roles[value] != nil || w.users[value] != nil
	}
	part := strings.SplitN(value, ":", 6)
	if len(part) != 6 || part[0] != "arn" || part[3] != "" {
		return value, false
	}
	a := w.accounts[part[4]]
	if a == nil || part[1] != a.partition {
		return value, false
	}
	kind, rest, _ := strings.Cut(part[5], "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	switch {
	case part[2] == "iam" && part[5] == "root":
		return value, true
	case part[2] == "iam" && kind == "role":
		if r := a.roles[strings.ToLower(name)]; r != nil && r.arn() == value {
			return r.id, true
		}
	case part[2] == "iam" && kind == "user":
		if u := a.users[name]; u != nil && u.ARN() == value {
			return u.id, true
		}
	case part[2] == "sts" && kind == "assumed-role":
		role, session, ok := strings.Cut(rest, "/")
		return value, ok && session != "" && !strings.Contains(session, "*") && a.roles[strings.ToLower(role)] != nil
	}
	return value, false
}

// display turns a stored principal into what a read shows: the ARN while the
// role or user lives, its raw id afterwards.
func (w *World) display(stored string) string {
	if r := w.roles[stored]; r != nil {
		return r.arn()
	}
	if u := w.users[stored]; u != nil {
		return u.ARN()
	}
	return stored
}

func isAccountID(s string) bool {
	return len(s) == 12 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func isUniqueID(s string) bool {
	return (strings.HasPrefix(s, "AROA") || strings.HasPrefix(s, "AIDA")) && !strings.ContainsFunc(s, notAlphanumeric)
}

// identify finds the caller of a request by its access key. Signatures are not
// checked. The code of the refusal depends on the protocol.
func (w *World) identify(s signature, p protocol, now time.Time) (*accessKey, *Error) {
	k := w.keys[s.accessKeyID]
	known := k != nil && k.token == s.token && (k.role == nil || w.roles[k.role.id] == k.role)
	switch {
	case s.accessKeyID == "":
		return nil, &Error{Status: http.StatusForbidden, Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token"}
	case !known && p == ec2Protocol:
		return nil, &Error{Status: http.StatusUnauthorized, Code: "AuthFailure", Message: "AWS was not able to validate the provided access credentials"}
	case !known && p == jsonProtocol:
		return nil, &Error{Status: http.StatusForbidden, Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
	case !known:
		return nil, &Error{Status: http.StatusForbidden, Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid."}
	case k.expires.IsZero() || now.Before(k.expires):
		return k, nil
	case p == ec2Protocol:
		return nil, &Error{Status: http.StatusBadRequest, Code: "RequestExpired", Message: "Request has expired."}
	case p == jsonProtocol:
		return nil, &Error{Status: http.StatusBadRequest, Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}
	default:
		return nil, &Error{Status: http.StatusForbidden, Code: "ExpiredToken", Message: "The security token included in the request is expired"}
	}
}
