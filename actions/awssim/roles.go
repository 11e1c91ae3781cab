package awssim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A Role is one IAM role. It stays usable as a handle after [Role.Delete], but
// AWS then no longer knows it; a role made anew under the same name is another
// one with another unique id, as in AWS.
//
// The builder methods are what a person does by hand: they take effect at once,
// everywhere, and are not checked, so that a test can make any state that AWS
// could be found in.
type Role struct {
	w             *World
	account       *Account
	name, path    string
	id            string
	created       time.Time
	description   string
	serviceLinked bool
	maxSession    time.Duration
	boundary      *managedPolicy
	history       []roleState // never empty, newest last
	reads         int
}

// A roleState is what the IAM API changes about a role. It is never modified:
// a change appends a new one, so that late readers can be served the old one.
type roleState struct {
	since    time.Time
	trust    string // with unique ids in place of role and user ARNs
	inline   map[string]managedPolicy
	attached []managedPolicy
}

// A managedPolicy is a named policy document, attached or inline.
type managedPolicy struct {
	arn      string // empty for inline policies
	document string
	policy   *policy // nil where the document does not parse
}

func newManagedPolicy(arn, document string) managedPolicy {
	p, _ := parsePolicy(document, identityPolicy)
	return managedPolicy{arn: arn, document: document, policy: p}
}

// policies returns all identity policies of the role.
func (s roleState) policies() []*policy {
	var out []*policy
	for _, name := range slices.Sorted(maps.Keys(s.inline)) {
		out = append(out, s.inline[name].policy)
	}
	for _, m := range s.attached {
		out = append(out, m.policy)
	}
	return out
}

const ec2Trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// Role returns the role of this name (case does not matter) and makes it if
// need be: path "/", trusting ec2.amazonaws.com, without any permission.
func (a *Account) Role(name string) *Role {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.role(name)
}

func (a *Account) role(name string) *Role {
	if r := a.roles[strings.ToLower(name)]; r != nil {
		return r
	}
	r := &Role{
		w: a.w, account: a, name: name, path: "/", id: "AROA" + a.w.id(17),
		created: time.Now(), maxSession: time.Hour,
		history: []roleState{{trust: ec2Trust}},
	}
	a.roles[strings.ToLower(name)] = r
	a.w.roles[r.id] = r
	return r
}

// LookupRole returns the role of this name, if there is one.
func (a *Account) LookupRole(name string) (*Role, bool) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	r, ok := a.roles[strings.ToLower(name)]
	return r, ok
}

// ForeignRole makes a role of another company from its ARN, with its account
// and path, and allows it everything, so that only the trust policy of the role
// that it wants to assume counts.
func (w *World) ForeignRole(arn string) *Role {
	w.mu.Lock()
	defer w.mu.Unlock()
	part := strings.SplitN(arn, ":", 6)
	account, resource := "", arn
	if len(part) == 6 {
		account, resource = part[4], strings.TrimPrefix(part[5], "role")
	}
	slash := strings.LastIndexByte(resource, '/')
	a := w.account(account)
	if len(part) == 6 && len(a.roles) == 0 && part[1] != "" {
		a.partition = part[1]
	}
	r := a.role(resource[slash+1:])
	if slash > 0 {
		r.path = resource[:slash+1]
	}
	r.edit(func(s *roleState) {
		s.attached = []managedPolicy{newManagedPolicy("arn:"+r.account.partition+":iam::aws:policy/AdministratorAccess", AdministratorAccess)}
	})
	return r
}

// edit changes the state for every reader, past ones included.
func (r *Role) edit(change func(*roleState)) {
	s := r.now().clone()
	change(&s)
	r.history = []roleState{s}
}

// write changes the state from now on.
func (r *Role) write(now time.Time, change func(*roleState)) {
	s := r.now().clone()
	change(&s)
	s.since = now
	r.history = append(r.history, s)
}

func (s roleState) clone() roleState {
	s.inline = maps.Clone(s.inline)
	if s.inline == nil {
		s.inline = make(map[string]managedPolicy)
	}
	s.attached = slices.Clone(s.attached)
	return s
}

func (r *Role) now() roleState { return r.history[len(r.history)-1] }

// at returns the state that was current at a time.
func (r *Role) at(t time.Time) roleState {
	for _, s := range slices.Backward(r.history) {
		if !s.since.After(t) {
			return s
		}
	}
	return r.history[0]
}

// seen returns the state that an IAM read shows.
func (r *Role) seen(now time.Time) roleState {
	r.reads++
	stale := r.w.knobs.StaleReads
	if r.w.knobs.FlappingReads && r.reads%2 == 0 {
		stale = 0
	}
	return r.at(now.Add(-stale))
}

func (r *Role) arn() string { return r.account.iamARN("role" + r.path + r.name) }

// storeTrust turns role and user ARNs into unique ids where they exist.
func (r *Role) storeTrust(document string) string {
	p, err := parsePolicy(document, trustPolicy)
	if err != nil {
		return document
	}
	return string(p.rewrite(func(value string) string {
		stored, _ := r.w.resolve(value)
		return stored
	}))
}

// showTrust is the inverse of storeTrust, as good as AWS has it.
func (r *Role) showTrust(stored string) string {
	p, err := parsePolicy(stored, trustPolicy)
	if err != nil {
		return stored
	}
	return string(p.rewrite(r.w.display))
}

// Name returns the role's name as it was created.
func (r *Role) Name() string { return r.name }

// ARN returns the role's ARN, path included.
func (r *Role) ARN() string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.arn()
}

// UniqueID returns the AROA id.
func (r *Role) UniqueID() string { return r.id }

// Path sets the path, which begins and ends with a slash.
func (r *Role) Path(path string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.path = path
	return r
}

// Trust replaces the trust policy, as a person does in the console.
func (r *Role) Trust(document string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.edit(func(s *roleState) { s.trust = r.storeTrust(document) })
	return r
}

// Inline puts an inline policy on the role.
func (r *Role) Inline(name, document string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.edit(func(s *roleState) { s.inline[name] = newManagedPolicy("", document) })
	return r
}

// RemoveInline takes an inline policy off the role.
func (r *Role) RemoveInline(name string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.edit(func(s *roleState) { delete(s.inline, name) })
	return r
}

// Attach attaches a managed policy: its ARN and what it says.
func (r *Role) Attach(arn, document string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.edit(func(s *roleState) {
		s.attached = slices.DeleteFunc(s.attached, func(m managedPolicy) bool { return m.arn == arn })
		s.attached = append(s.attached, newManagedPolicy(arn, document))
	})
	return r
}

// Detach detaches a managed policy.
func (r *Role) Detach(arn string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.edit(func(s *roleState) {
		s.attached = slices.DeleteFunc(s.attached, func(m managedPolicy) bool { return m.arn == arn })
	})
	return r
}

// Boundary sets the permissions boundary.
func (r *Role) Boundary(arn, document string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	boundary := newManagedPolicy(arn, document)
	r.boundary = &boundary
	return r
}

// MaxSession sets MaxSessionDuration (one hour at first).
func (r *Role) MaxSession(d time.Duration) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.maxSession = d
	return r
}

// Describe sets the description.
func (r *Role) Describe(text string) *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.description = text
	return r
}

// ServiceLinked makes the role one that only an AWS service may change.
func (r *Role) ServiceLinked() *Role {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.serviceLinked = true
	if r.path == "/" {
		r.path = "/aws-service-role/"
	}
	return r
}

// Delete removes the role. Trust policies that name it show its unique id from
// now on, and its credentials are void.
func (r *Role) Delete() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.account.roles[strings.ToLower(r.name)] == r {
		delete(r.account.roles, strings.ToLower(r.name))
	}
	delete(r.w.roles, r.id)
	for _, p := range r.account.profiles {
		if p.role == r {
			p.role = nil
		}
	}
}

// Credentials hands out temporary credentials of the role for an hour, as if
// somebody its trust policy allows had assumed it.
func (r *Role) Credentials(session string) Credentials {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.w.newSession(r, session, time.Now(), time.Hour).credentials()
}

// TrustDocument returns the trust policy as GetRole shows it, decoded.
func (r *Role) TrustDocument() string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.showTrust(r.now().trust)
}

// StoredTrust returns the trust policy as IAM keeps it, with unique ids.
func (r *Role) StoredTrust() string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.now().trust
}

// InlinePolicy returns the document of an inline policy.
func (r *Role) InlinePolicy(name string) (string, bool) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	m, ok := r.now().inline[name]
	return m.document, ok
}

// InlinePolicies returns the names of all inline policies, sorted.
func (r *Role) InlinePolicies() []string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return slices.Sorted(maps.Keys(r.now().inline))
}

// An instanceProfile carries a role to EC2 instances.
type instanceProfile struct {
	account *Account
	name    string
	id      string
	role    *Role
	created time.Time
}

func (p *instanceProfile) arn() string {
	return p.account.iamARN("instance-profile/" + p.name)
}

// InstanceProfile makes an instance profile that carries a role.
func (a *Account) InstanceProfile(name, role string) *Account {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	p := a.profiles[name]
	if p == nil {
		p = &instanceProfile{account: a, name: name, id: "AIPA" + a.w.id(17), created: time.Now()}
		a.profiles[name] = p
		a.profileList = append(a.profileList, p)
	}
	p.role = a.role(role)
	return a
}
