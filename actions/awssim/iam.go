package awssim

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// roleQuota is the fixed quota of all inline policies of a role together.
const roleQuota = 10240

func iamOperations() map[string]operation {
	onRole := func(c *call) []string { return []string{c.roleARN(c.form.Get("RoleName"))} }
	return map[string]operation{
		"GetRole":                     {resources: onRole, run: getRole},
		"UpdateAssumeRolePolicy":      {resources: onRole, run: updateAssumeRolePolicy, write: true},
		"PutRolePolicy":               {authorizesItself: true, run: putRolePolicy, write: true},
		"GetRolePolicy":               {resources: onRole, run: getRolePolicy},
		"DeleteRolePolicy":            {authorizesItself: true, run: deleteRolePolicy, write: true},
		"ListRolePolicies":            {resources: onRole, run: listRolePolicies},
		"ListAttachedRolePolicies":    {resources: onRole, run: listAttachedRolePolicies},
		"ListInstanceProfilesForRole": {resources: onRole, run: listInstanceProfilesForRole},
		"GetInstanceProfile":          {resources: onProfile, run: getInstanceProfile},
		"GetAccountSummary":           {run: getAccountSummary},
		"SimulatePrincipalPolicy":     {resources: onPolicySource, run: simulatePrincipalPolicy},
	}
}

// roleARN is what a role name means to an identity policy: with its path, if
// the role exists.
func (c *call) roleARN(name string) string {
	if r := c.account.roles[strings.ToLower(name)]; r != nil {
		return r.arn()
	}
	return c.account.iamARN("role/" + name)
}

func onProfile(c *call) []string {
	return []string{c.account.iamARN("instance-profile/" + c.form.Get("InstanceProfileName"))}
}

func onPolicySource(c *call) []string { return []string{c.form.Get("PolicySourceArn")} }

// Patterns of the IAM API reference.
var (
	iamName    = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
)

// findRole finds the role that the call names.
func (c *call) findRole() (*Role, *Error) {
	name := c.form.Get("RoleName")
	if !iamName.MatchString(name) {
		return nil, c.invalid("The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	r := c.account.roles[strings.ToLower(name)]
	if r == nil {
		return nil, noSuchEntity("The role with name " + name + " cannot be found.")
	}
	return r, nil
}

func noSuchEntity(message string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "NoSuchEntity", Message: message}
}

// modifiable refuses changes to service-linked roles.
func (r *Role) modifiable() *Error {
	if !r.serviceLinked {
		return nil
	}
	return &Error{
		Status: http.StatusBadRequest, Code: "UnmodifiableEntity",
		Message: "Cannot perform the operation on the protected role '" + r.name + "' - this role is only modifiable by AWS",
	}
}

func overQuota(message string) *Error {
	return &Error{Status: http.StatusConflict, Code: "LimitExceeded", Message: message}
}

func (x *xmlBuffer) role(r *Role, s roleState) {
	x.leaf("Path", r.path)
	x.leaf("RoleName", r.name)
	x.leaf("RoleId", r.id)
	x.leaf("Arn", r.arn())
	x.time("CreateDate", r.created)
	x.leaf("AssumeRolePolicyDocument", percentEncode(r.showTrust(s.trust)))
	if r.description != "" {
		x.leaf("Description", r.description)
	}
	x.leaf("MaxSessionDuration", strconv.Itoa(int(r.maxSession/time.Second)))
	if r.boundary != nil {
		x.in("PermissionsBoundary", func() {
			x.leaf("PermissionsBoundaryType", "Policy")
			x.leaf("PermissionsBoundaryArn", r.boundary.arn)
		})
	}
}

func getRole(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	var x xmlBuffer
	x.in("Role", func() { x.role(r, r.seen(c.now)) })
	return &x, nil
}

// checkDocument refuses a document before its content is looked at.
func (c *call) checkDocument(document string) *Error {
	switch {
	case document == "":
		return c.invalid("1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(document) > 131072:
		return c.invalid("1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have length less than or equal to 131072")
	case !legalCharacters(document):
		return c.invalid("The specified value for policyDocument is invalid. It must contain only printable ASCII characters.")
	}
	return nil
}

func updateAssumeRolePolicy(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	document := c.form.Get("PolicyDocument")
	if err := c.checkDocument(document); err != nil {
		return nil, err
	}
	if err := r.modifiable(); err != nil {
		return nil, err
	}
	p, err := parsePolicy(document, trustPolicy)
	if err != nil {
		return nil, err
	}
	if err := p.checkConditions(); err != nil {
		return nil, err
	}
	if quota := c.account.trustQuota; policySize(document) > quota {
		return nil, overQuota(fmt.Sprintf("Cannot exceed quota for ACLSizePerRole: %d", quota))
	}
	for _, s := range p.statements {
		for _, who := range s.principals {
			if !c.w.validPrincipal(who) {
				return nil, malformed(fmt.Sprintf("Invalid principal in policy: %q:%q", strings.ToUpper(who.kind), who.value))
			}
		}
	}
	r.write(c.now, func(s *roleState) { s.trust = r.storeTrust(document) })
	return &xmlBuffer{}, nil
}

// validPrincipal looks a principal of a trust policy up.
func (w *World) validPrincipal(who principal) bool {
	switch who.kind {
	case "AWS":
		_, ok := w.resolve(who.value)
		return ok
	case "Service":
		return strings.HasSuffix(who.value, ".amazonaws.com") && !strings.ContainsAny(who.value, "*?:/ ")
	case "Federated":
		return who.value != "" && who.value != "*"
	}
	return true
}

// authorizeOnRole checks a write to a role's inline policies, which may depend
// on the permissions boundary that the role has (iam:PermissionsBoundary).
func (c *call) authorizeOnRole() *Error {
	rc := c.requestKeys()
	if r := c.account.roles[strings.ToLower(c.form.Get("RoleName"))]; r != nil && r.boundary != nil {
		rc.set("iam:PermissionsBoundary", r.boundary.arn)
	}
	return c.authorize(c.action(), c.roleARN(c.form.Get("RoleName")), rc)
}

func putRolePolicy(c *call) (any, *Error) {
	if err := c.authorizeOnRole(); err != nil {
		return nil, err
	}
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	name, document := c.form.Get("PolicyName"), c.form.Get("PolicyDocument")
	if !policyName.MatchString(name) {
		return nil, c.invalid("The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if err := c.checkDocument(document); err != nil {
		return nil, err
	}
	if err := r.modifiable(); err != nil {
		return nil, err
	}
	p, err := parsePolicy(document, identityPolicy)
	if err != nil {
		return nil, err
	}
	if err := p.checkConditions(); err != nil {
		return nil, err
	}
	size := policySize(document)
	for other, m := range r.now().inline {
		if other != name {
			size += policySize(m.document)
		}
	}
	if size > roleQuota {
		return nil, overQuota(fmt.Sprintf("Maximum policy size of %d bytes exceeded for role %s", roleQuota, r.name))
	}
	r.write(c.now, func(s *roleState) { s.inline[name] = newManagedPolicy("", document) })
	return &xmlBuffer{}, nil
}

func getRolePolicy(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	name := c.form.Get("PolicyName")
	m, ok := r.seen(c.now).inline[name]
	if !ok {
		return nil, noSuchEntity("The role policy with name " + name + " cannot be found.")
	}
	var x xmlBuffer
	x.leaf("RoleName", r.name)
	x.leaf("PolicyName", name)
	x.leaf("PolicyDocument", percentEncode(m.document))
	return &x, nil
}

func deleteRolePolicy(c *call) (any, *Error) {
	if err := c.authorizeOnRole(); err != nil {
		return nil, err
	}
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	if err := r.modifiable(); err != nil {
		return nil, err
	}
	name := c.form.Get("PolicyName")
	if _, ok := r.now().inline[name]; !ok {
		return nil, noSuchEntity("The role policy with name " + name + " cannot be found.")
	}
	r.write(c.now, func(s *roleState) { delete(s.inline, name) })
	return &xmlBuffer{}, nil
}

// listed writes one page of an IAM list.
func listed[T any](c *call, all []T, write func(*xmlBuffer, []T)) (any, *Error) {
	size, err := c.number("MaxItems", 100, 1, 1000)
	if err != nil {
		return nil, err
	}
	part, next, ok := page(all, c.form.Get("Marker"), size)
	if !ok {
		return nil, c.invalid("Invalid Marker.")
	}
	var x xmlBuffer
	write(&x, part)
	x.leaf("IsTruncated", strconv.FormatBool(next != ""))
	if next != "" {
		x.leaf("Marker", next)
	}
	return &x, nil
}

func listRolePolicies(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(r.seen(c.now).inline))
	return listed(c, names, func(x *xmlBuffer, part []string) { x.leaves("PolicyNames", "member", part) })
}

func listAttachedRolePolicies(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	return listed(c, r.seen(c.now).attached, func(x *xmlBuffer, part []managedPolicy) {
		x.in("AttachedPolicies", func() {
			for _, m := range part {
				x.in("member", func() {
					x.leaf("PolicyName", m.arn[strings.LastIndexByte(m.arn, '/')+1:])
					x.leaf("PolicyArn", m.arn)
				})
			}
		})
	})
}

func (x *xmlBuffer) profile(p *instanceProfile, now time.Time) {
	x.leaf("Path", "/")
	x.leaf("InstanceProfileName", p.name)
	x.leaf("InstanceProfileId", p.id)
	x.leaf("Arn", p.arn())
	x.time("CreateDate", p.created)
	x.in("Roles", func() {
		if p.role != nil {
			x.in("member", func() { x.role(p.role, p.role.seen(now)) })
		}
	})
}

func listInstanceProfilesForRole(c *call) (any, *Error) {
	r, err := c.findRole()
	if err != nil {
		return nil, err
	}
	var profiles []*instanceProfile
	for _, p := range c.account.profileList {
		if p.role == r {
			profiles = append(profiles, p)
		}
	}
	return listed(c, profiles, func(x *xmlBuffer, part []*instanceProfile) {
		x.in("InstanceProfiles", func() {
			for _, p := range part {
				x.in("member", func() { x.profile(p, c.now) })
			}
		})
	})
}

func getInstanceProfile(c *call) (any, *Error) {
	name := c.form.Get("InstanceProfileName")
	p := c.account.profiles[name]
	if p == nil {
		return nil, noSuchEntity("Instance Profile " + name + " cannot be found.")
	}
	var x xmlBuffer
	x.in("InstanceProfile", func() { x.profile(p, c.now) })
	return &x, nil
}

func getAccountSummary(c *call) (any, *Error) {
	summary := map[string]int{
		"Roles": len(c.account.roles), "RolesQuota": 1000,
		"Users": len(c.account.users), "UsersQuota": 5000,
		"InstanceProfiles": len(c.account.profiles), "InstanceProfilesQuota": 1000,
		"AssumeRolePolicySizeQuota": c.account.trustQuota,
		"RolePolicySizeQuota":       roleQuota,
	}
	var x xmlBuffer
	x.in("SummaryMap", func() {
		for _, key := range slices.Sorted(maps.Keys(summary)) {
			x.in("entry", func() {
				x.leaf("key", key)
				x.leaf("value", strconv.Itoa(summary[key]))
			})
		}
	})
	return &x, nil
}

// simulatePrincipalPolicy evaluates what a role or user would be allowed. As
// the API reference has it, each action has one result, with the most
// restrictive decision of its resources on top.
func simulatePrincipalPolicy(c *call) (any, *Error) {
	source := c.form.Get("PolicySourceArn")
	policies, boundary, err := c.policiesOf(source)
	if err != nil {
		return nil, err
	}
	actions := c.list("ActionNames.member")
	if len(actions) == 0 {
		return nil, c.invalid("1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	resources := c.list("ResourceArns.member")
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	for _, document := range c.list("PolicyInputList.member") {
		p, err := parsePolicy(document, identityPolicy)
		if err != nil {
			return nil, c.invalid(err.Message)
		}
		policies = append(policies, p)
	}
	// The simulator knows only the keys that the caller passes, and the time.
	rc := make(requestContext)
	rc.set("aws:CurrentTime", isoTime(c.now))
	rc.set("aws:EpochTime", itoa(c.now.Unix()))
	for i := 1; c.form.Has(fmt.Sprintf("ContextEntries.member.%d.ContextKeyName", i)); i++ {
		prefix := fmt.Sprintf("ContextEntries.member.%d.", i)
		rc.set(c.form.Get(prefix+"ContextKeyName"), c.list(prefix+"ContextKeyValues.member")...)
	}
	var missing []string
	for _, key := range conditionKeys(policies) {
		if _, ok := rc.get(key); !ok {
			missing = append(missing, key)
		}
	}
	results := make([]simulated, 0, len(actions))
	for _, action := range actions {
		results = append(results, simulate(policies, boundary, action, resources, rc))
	}
	return listed(c, results, func(x *xmlBuffer, part []simulated) {
		x.in("EvaluationResults", func() {
			for _, s := range part {
				x.in("member", func() { x.simulated(s, missing) })
			}
		})
	})
}

// simulated is the outcome for one action.
type simulated struct {
	action    string
	decision  verdict
	resources []string
	each      []verdict
}

func simulate(policies, boundary []*policy, action string, resources []string, rc requestContext) simulated {
	s := simulated{action: action, decision: allowed, resources: resources}
	for _, resource := range resources {
		v := evaluate(policies, action, resource, rc)
		if boundary != nil && v == allowed {
			v = evaluate(boundary, action, resource, rc)
		}
		s.each = append(s.each, v)
		if v == explicitDeny || v == implicitDeny && s.decision == allowed {
			s.decision = v
		}
	}
	return s
}

func (x *xmlBuffer) simulated(s simulated, missing []string) {
	resource := "*"
	if len(s.resources) == 1 {
		resource = s.resources[0]
	}
	x.leaf("EvalActionName", s.action)
	x.leaf("EvalResourceName", resource)
	x.leaf("EvalDecision", s.decision.String())
	x.in("MatchedStatements", func() {})
	x.leaves("MissingContextValues", "member", missing)
	x.in("ResourceSpecificResults", func() {
		for i, arn := range s.resources {
			x.in("member", func() {
				x.leaf("EvalResourceName", arn)
				x.leaf("EvalResourceDecision", s.each[i].String())
				x.in("MatchedStatements", func() {})
				x.leaves("MissingContextValues", "member", missing)
			})
		}
	})
}

// policiesOf returns the identity policies of the role or user with this ARN.
func (c *call) policiesOf(arn string) (policies, boundary []*policy, err *Error) {
	id, ok := c.w.resolve(arn)
	if r := c.w.roles[id]; ok && r != nil && r.account == c.account {
		if r.boundary != nil {
			boundary = []*policy{r.boundary.policy}
		}
		return r.at(c.now.Add(-c.w.knobs.Propagation)).policies(), boundary, nil
	}
	if u := c.w.users[id]; ok && u != nil && u.account == c.account {
		if u.policies == nil {
			return []*policy{allowEverything}, nil, nil
		}
		return slices.Collect(maps.Values(u.policies)), nil, nil
	}
	if !strings.HasPrefix(arn, "arn:") {
		return nil, nil, c.invalid("Invalid Entity Arn: " + arn)
	}
	return nil, nil, noSuchEntity("The entity with ARN " + arn + " cannot be found.")
}
