package awssim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

func stsOperations() map[string]operation {
	return map[string]operation{
		"GetCallerIdentity": {authorizesItself: true, run: getCallerIdentity},
		"AssumeRole":        {authorizesItself: true, run: assumeRole},
	}
}

// getCallerIdentity needs no permission and cannot be denied.
func getCallerIdentity(c *call) (any, *Error) {
	var x xmlBuffer
	x.leaf("Arn", c.key.arn())
	x.leaf("UserId", c.key.uniqueID())
	x.leaf("Account", c.account.id)
	return &x, nil
}

// Patterns of the STS API reference.
var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

// chainedLimit is the longest session of a role that is assumed with
// credentials of another role ("role chaining").
const chainedLimit = time.Hour

func assumeRole(c *call) (any, *Error) {
	session := c.form.Get("RoleSessionName")
	if !sessionName.MatchString(session) {
		return nil, c.invalid(`1 validation error detected: Value '` + session + `' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	}
	if id := c.form.Get("ExternalId"); id != "" && (len(id) < 2 || len(id) > 1224 || !externalID.MatchString(id)) {
		return nil, c.invalid(`1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]*`)
	}
	chained := c.key.role != nil
	seconds, err := c.number("DurationSeconds", int(time.Hour/time.Second), 900, 43200)
	if err != nil {
		return nil, err
	}
	arn := c.form.Get("RoleArn")
	if !strings.HasPrefix(arn, "arn:"+c.account.partition+":iam::") {
		return nil, c.invalid(arn + " is invalid")
	}
	r := c.w.roleByARN(arn)
	if r == nil {
		// STS does not tell a role that does not exist from one that may not
		// be assumed.
		return nil, c.denied("sts:AssumeRole", arn, implicitDeny)
	}
	c.trailed.role = r
	if err := c.authorizeAssumeRole(r); err != nil {
		return nil, err
	}
	lifetime := time.Duration(seconds) * time.Second
	switch {
	case chained && lifetime > chainedLimit:
		return nil, c.invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	case lifetime > r.maxSession:
		return nil, c.invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	var narrowed []*policy
	if document := c.form.Get("Policy"); document != "" {
		p, err := parsePolicy(document, identityPolicy)
		if err != nil {
			return nil, err
		}
		narrowed = []*policy{p}
	}
	k := c.w.newSession(r, session, c.now, lifetime)
	k.chained = chained
	k.narrowed, k.isNarrowed = narrowed, narrowed != nil
	k.sourceIdentity = c.form.Get("SourceIdentity")
	if k.sourceIdentity == "" {
		k.sourceIdentity = c.key.sourceIdentity
	}
	k.tags = c.sessionTags()
	c.trailed.session = k
	var x xmlBuffer
	x.in("Credentials", func() {
		x.leaf("AccessKeyId", k.id)
		x.leaf("SecretAccessKey", k.secret)
		x.leaf("SessionToken", k.token)
		x.time("Expiration", k.expires)
	})
	x.in("AssumedRoleUser", func() {
		x.leaf("AssumedRoleId", k.uniqueID())
		x.leaf("Arn", k.arn())
	})
	if k.sourceIdentity != "" {
		x.leaf("SourceIdentity", k.sourceIdentity)
	}
	return &x, nil
}

// sessionTags reads Tags.member.N of AssumeRole.
func (c *call) sessionTags() map[string]string {
	out := make(map[string]string)
	for i := 1; c.form.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		prefix := fmt.Sprintf("Tags.member.%d.", i)
		out[c.form.Get(prefix+"Key")] = c.form.Get(prefix + "Value")
	}
	return out
}

// roleByARN finds a role by its exact ARN, path included.
func (w *World) roleByARN(arn string) *Role {
	id, ok := w.resolve(arn)
	if !ok {
		return nil
	}
	return w.roles[id]
}

// authorizeAssumeRole asks the role's trust policy and the caller's identity.
// Session tags and a source identity are permissions of their own.
func (c *call) authorizeAssumeRole(r *Role) *Error {
	actions := []string{"sts:AssumeRole"}
	if c.form.Get("SourceIdentity") != "" || c.key.sourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if len(c.sessionTags()) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	rc := c.requestKeys()
	rc.set("sts:RoleSessionName", c.form.Get("RoleSessionName"))
	if id := c.form.Get("ExternalId"); id != "" {
		rc.set("sts:ExternalId", id)
	}
	if id := c.form.Get("SourceIdentity"); id != "" {
		rc.set("sts:SourceIdentity", id)
	}
	for key, value := range c.sessionTags() {
		rc.set("aws:RequestTag/"+key, value)
	}
	for _, action := range actions {
		if !c.w.mayAssume(c.key, r, action, rc, c.now) {
			return c.denied(action, r.arn(), implicitDeny)
		}
	}
	return nil
}

// mayAssume combines the two sides. The trust policy must allow the caller. The
// caller's own policies must allow it too, except in the same account where the
// trust policy names the caller's role, session or user itself.
func (w *World) mayAssume(k *accessKey, r *Role, action string, rc requestContext, now time.Time) bool {
	identity := w.may(k, action, r.arn(), rc, now)
	trust, direct := w.trusts(k, r, action, rc, now)
	switch {
	case identity == explicitDeny || trust != allowed:
		return false
	case identity == allowed:
		return true
	default:
		return direct && k.account == r.account
	}
}

// trusts evaluates a role's trust policy for a caller. It also tells whether an
// Allow named the caller itself and not only its account.
func (w *World) trusts(k *accessKey, r *Role, action string, rc requestContext, now time.Time) (v verdict, direct bool) {
	p, err := parsePolicy(r.at(now.Add(-w.knobs.Propagation)).trust, trustPolicy)
	if err != nil {
		return implicitDeny, false
	}
	for _, s := range p.statements {
		matched, named := false, false
		for _, who := range s.principals {
			m, n := k.is(who)
			matched, named = matched || m, named || n
		}
		if !matched || !s.actions.match(action, true, nil) || !s.conditionsHold(rc) {
			continue
		}
		if s.deny {
			return explicitDeny, false
		}
		v, direct = allowed, direct || named
	}
	return v, direct
}

// is tells whether a stored principal means the caller, and whether by name.
func (k *accessKey) is(who principal) (matched, named bool) {
	if who.kind == "*" || who.kind == "AWS" && who.value == "*" {
		return true, false
	}
	if who.kind != "AWS" {
		return false, false
	}
	if who.value == k.account.iamARN("root") {
		return true, false
	}
	ids := []string{k.arn()}
	if k.user != nil {
		ids = append(ids, k.user.id)
	} else {
		ids = append(ids, k.role.id)
	}
	named = slices.Contains(ids, who.value)
	return named, named
}
