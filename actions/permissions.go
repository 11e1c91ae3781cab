package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"breakglass/store/grant"
)

// A permission is one operation of AWS that this package calls, and what it is
// for. A test compares the table with the code: an operation that is called and
// not listed fails it, and one that is listed and not called, too.
type permission struct {
	operation string // as the code calls it; the IAM action has the same name
	on        *scope // nil: AWS asks for no permission
	why       string
}

// A scope is what a statement of the policy allows its actions on.
type scope struct {
	sid       string
	what      string // for people
	resources func(Cell) []string
	// regions are those that the call may go to, where the service has no
	// resources that could be named; nil: the resource says it, or IAM, which is
	// in no region.
	regions func(Cell) []string
	// bounded asks for the permissions boundary, where there is one to ask for;
	// else these are actions like the others on the role.
	bounded bool
}

// The scopes, in the order of the statements. What has no resource type in the
// Service Authorization Reference can only be allowed on "*".
var (
	onRole = &scope{
		sid: "OpenAndClose", what: "the cell's role",
		resources: Cell.roleARNs,
	}
	onInline = &scope{
		sid: "EndCredentials", what: "the cell's role; with `--boundary`, only while it has that boundary",
		resources: Cell.roleARNs, bounded: true,
	}
	onAnyRole = &scope{
		sid: "AskWhatRolesMayDo", what: "any role of the account: which one the instance has is only known by then",
		resources: func(c Cell) []string { return []string{c.arn("iam", "role/*")} },
	}
	onProfiles = &scope{
		sid: "ReadTheInstancesProfile", what: "any instance profile of the account",
		resources: func(c Cell) []string { return []string{c.arn("iam", "instance-profile/*")} },
	}
	onAccount = &scope{
		sid: "ReadTheAccountsQuotas", what: "`*`; it has no resource type",
		resources: everything,
	}
	onPreferences = &scope{
		sid: "SessionLogging", what: "the document `" + preferencesName + "` of the cell's region",
		resources: func(c Cell) []string { return []string{c.arn("ssm", "document/"+preferencesName)} },
	}
	onSessions = &scope{
		sid: "EndSessions", what: "any session of the cell's region: who owns it is not in its ARN",
		resources: func(c Cell) []string { return []string{c.arn("ssm", "session/*")} },
	}
	onGroups = &scope{
		sid: "FindTheLogGroup", what: "the log groups of the cell's region: AWS asks for all when it looks for one",
		resources: func(c Cell) []string { return []string{c.arn("logs", "log-group:*")} },
	}
	onGroup = &scope{
		sid: "LookForLogs", what: "the cell's log group",
		resources: func(c Cell) []string { return []string{c.arn("logs", "log-group:"+c.logGroup()+":*")} },
	}
	onRegion = &scope{
		sid: "LookAround", what: "`*`, in the cell's region; they have no resource types",
		resources: everything,
		regions:   func(c Cell) []string { return []string{c.Region} },
	}
	onTrail = &scope{
		sid: "SeeWhoAssumedIt", what: "`*`, in the cell's region, the partition's global one and those of `cloudtrail_regions`; it has no resource type",
		resources: everything,
		regions:   Cell.trailRegions,
	}
	onOurRole = &scope{
		sid: "TakeOnTheCellsRoles", what: "the roles of `assume_role`, for what the bot itself runs as",
		resources: func(c Cell) []string { return []string{c.AssumeRole} },
	}
)

func everything(Cell) []string { return []string{"*"} }

// permissions is every operation that this package calls.
var permissions = []permission{
	{"iam:GetRole", onRole, "who is trusted; read again before each write and after it"},
	{"iam:GetRolePolicy", onRole, "the dates in the inline policies `" + hardStopName + "` and `" + cutOffName + "`"},
	{"iam:UpdateAssumeRolePolicy", onRole, "adds the statement, and takes it out"},
	{"iam:PutRolePolicy", onInline, "the hard stop at the end, and the cut-off of issued credentials"},
	{"iam:SimulatePrincipalPolicy", onAnyRole, "advice in checks: may the instance write its log, may the role start a session"},
	{"iam:GetInstanceProfile", onProfiles, "the instance's role, for that advice"},
	{"iam:GetAccountSummary", onAccount, "how long a trust policy may be in this account"},
	{"ssm:GetDocument", onPreferences, "what sessions are logged to"},
	{"ssm:DescribeDocument", onPreferences, "whether a new version is active yet"},
	{"ssm:CreateDocument", onPreferences, "switches logging on where nobody has saved preferences"},
	{"ssm:UpdateDocument", onPreferences, "switches logging on"},
	{"ssm:UpdateDocumentDefaultVersion", onPreferences, "has the console show what sessions use"},
	{"ssm:TerminateSession", onSessions, "ends open shells"},
	{"logs:DescribeLogGroups", onGroups, "whether the log group exists and has a key"},
	{"logs:DescribeLogStreams", onGroup, "whether a session leaves a log"},
	{"ec2:DescribeInstances", onRegion, "the privileged access instance"},
	{"ssm:DescribeInstanceInformation", onRegion, "whether its agent is online"},
	{"ssm:DescribeSessions", onRegion, "who is in, and whether all are out"},
	{"cloudtrail:LookupEvents", onTrail, "who assumed the role"},
	{"sts:AssumeRole", onOurRole, "works in the account of a cell that names `assume_role`"},
	{"sts:GetCallerIdentity", nil, "whose credentials these are, before any write"},
}

// What is denied whatever else the bot's identity is allowed, because the bot
// never does it, and somebody who has taken the bot over would. Wildcards keep it
// short: a policy has a quota, too.
var (
	// Of the cell's role only the trust and the inline policies are written; and
	// whoever writes its trust could trust itself, and come in.
	denyMore = []string{
		"iam:Attach*", "iam:Delete*", "iam:Detach*", "iam:PassRole", "iam:PutRolePermissionsBoundary", "iam:TagRole", "iam:UntagRole", "iam:UpdateRole", "iam:UpdateRoleDescription",
		"sts:AssumeRole",
	}
	denyShells = []string{"ssm:ResumeSession", "ssm:SendCommand", "ssm:StartAutomationExecution", "ssm:StartSession"}
	// Of what the bot runs as, nothing.
	denyChangingItself = []string{"iam:Add*", "iam:Attach*", "iam:Create*", "iam:Delete*", "iam:Detach*", "iam:PassRole", "iam:Put*", "iam:Tag*", "iam:Untag*", "iam:Update*"}
)

// PermissionOptions say what the configuration does not.
type PermissionOptions struct {
	// Principal is the ARN of the role or user that the bot itself runs as;
	// empty: a placeholder that IAM refuses stands for it.
	Principal string
	// Boundary is the ARN of the permissions boundary that the cells' roles have;
	// with it, inline policies may only be put on a role that has it.
	Boundary string
}

// PrincipalPlaceholder stands for what the bot runs as, where nobody has said.
// There is no such account, so IAM refuses a trust policy that still has it.
const PrincipalPlaceholder = "arn:aws:iam::000000000000:role/WHAT-THE-BOT-RUNS-AS"

// Permissions are what one identity needs, for the cells that the bot works in
// with it.
type Permissions struct {
	// Role is the role that the bot assumes for these cells; empty: the bot's own
	// credentials, of whatever it runs as.
	Role string
	// Account is where the identity is; empty: not known.
	Account grant.AccountID
	Cells   []grant.CellName // that it works in by itself
	// Policy is what the identity may do, and Trust who may assume Role; without a
	// Role there is none.
	Policy PolicyDocument
	Trust  *PolicyDocument
}

// A PolicyDocument is a policy in IAM's language.
type PolicyDocument struct {
	Version   string
	Statement []PolicyStatement
}

// A PolicyStatement is one statement of it.
type PolicyStatement struct {
	Sid       string
	Effect    string
	Principal map[string]string `json:",omitempty"`
	Action    []string
	Resource  []string                       `json:",omitempty"`
	Condition map[string]map[string][]string `json:",omitempty"`
}

// JSON is the document as IAM takes it, laid out for people.
func (d PolicyDocument) JSON() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		panic(err) // strings, and lists and maps of them
	}
	return b.String()
}

// Size is what IAM counts against its quotas: the characters that are not white
// space ("IAM and AWS STS quotas").
func (d PolicyDocument) Size() int {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // as above
	}
	return len(text) // there is no white space in any value
}

// PermissionsFor is the least that the bot needs for these cells: one entry for
// each role that it assumes, in the order of the cells, and last, where it is
// needed, one for what the bot itself runs as. Those of different cells may be
// put side by side: what one denies, none other needs.
func PermissionsFor(cells []Cell, o PermissionOptions) ([]Permissions, error) {
	if err := legalPermissions(cells, o); err != nil {
		return nil, err
	}
	var out []Permissions
	var own []Permissions // of the bot itself, by account
	var far []Cell        // those with a role of ours
	for _, c := range cells {
		list := &own
		if c.AssumeRole != "" {
			list, far = &out, append(far, c)
		}
		i := slices.IndexFunc(*list, func(p Permissions) bool { return p.Role == c.AssumeRole && p.Account == c.Account })
		if i < 0 {
			i = len(*list)
			*list = append(*list, Permissions{Role: c.AssumeRole, Account: c.Account})
		}
		(*list)[i].add(c, o)
	}
	if len(far) > 0 && len(own) == 0 {
		_, account, _ := identityOf(o.Principal)
		own = []Permissions{{Account: account}}
	}
	for i := range own {
		for _, c := range far {
			own[i].allow(onOurRole, []string{"sts:AssumeRole"}, c, nil)
		}
		if o.Principal != "" {
			own[i].deny("NeverChangeItself", denyChangingItself, o.Principal)
		}
	}
	for i := range out {
		out[i].Trust = trustFor(out[i], cells, o)
		out[i].deny("NeverChangeItself", denyChangingItself, out[i].Role)
	}
	return append(out, own...), nil
}

// add allows what a cell needs.
func (p *Permissions) add(c Cell, o PermissionOptions) {
	p.Cells = append(p.Cells, c.Name)
	for _, s := range scopes() {
		if s == onOurRole {
			continue // that is the bot's own to have
		}
		var actions []string
		for _, x := range permissions {
			if x.on == s {
				actions = append(actions, x.operation)
			}
		}
		condition := map[string][]string{}
		if s.regions != nil {
			condition["aws:RequestedRegion"] = s.regions(c)
		}
		switch {
		case s.bounded && o.Boundary != "":
			condition["iam:PermissionsBoundary"] = []string{o.Boundary}
		case s.bounded:
			s = onRole // the same resources
		}
		p.allow(s, actions, c, condition)
	}
	p.deny("NeverComeInNorWidenTheRole", denyMore, c.roleARNs()...)
	p.deny("NeverOpenAShell", denyShells, "*")
}

// scopes are those that the table uses, in its order.
func scopes() []*scope {
	var out []*scope
	for _, p := range permissions {
		if p.on != nil && !slices.Contains(out, p.on) {
			out = append(out, p.on)
		}
	}
	return out
}

func (p *Permissions) allow(s *scope, actions []string, c Cell, equals map[string][]string) {
	p.say("Allow", s.sid, actions, s.resources(c), equals)
}

func (p *Permissions) deny(sid string, actions []string, resources ...string) {
	p.say("Deny", sid, actions, resources, nil)
}

// say adds a statement, or widens the one of that name to more actions, or to more
// resources. Denials stand behind what is allowed.
func (p *Permissions) say(effect, sid string, actions, resources []string, equals map[string][]string) {
	d := &p.Policy
	d.Version = "2012-10-17"
	i := slices.IndexFunc(d.Statement, func(s PolicyStatement) bool { return s.Sid == sid })
	if i < 0 {
		s := PolicyStatement{Sid: sid, Effect: effect}
		if len(equals) > 0 {
			s.Condition = map[string]map[string][]string{"StringEquals": {}}
		}
		i = len(d.Statement)
		if at := slices.IndexFunc(d.Statement, func(s PolicyStatement) bool { return s.Effect == "Deny" }); effect == "Allow" && at >= 0 {
			i = at
		}
		d.Statement = slices.Insert(d.Statement, i, s)
	}
	s := &d.Statement[i]
	s.Action = slices.Sorted(slices.Values(union(s.Action, actions)))
	s.Resource = union(s.Resource, resources)
	for key, values := range equals {
		s.Condition["StringEquals"][key] = union(s.Condition["StringEquals"][key], values)
	}
}

// union keeps the order in which things were first said.
func union(list, more []string) []string {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// trustFor is who may assume a role of ours: the bot alone, with the cells'
// external id, in sessions that are named as the bot names them.
func trustFor(p Permissions, cells []Cell, o PermissionOptions) *PolicyDocument {
	principal := o.Principal
	if principal == "" {
		_, rest, _ := strings.Cut(p.Role, ":")
		partition, _, _ := strings.Cut(rest, ":")
		principal = strings.Replace(PrincipalPlaceholder, "arn:aws:", "arn:"+partition+":", 1)
	}
	s := PolicyStatement{
		Sid: "OnlyTheBot", Effect: "Allow", Principal: map[string]string{"AWS": principal}, Action: []string{"sts:AssumeRole"},
		Condition: map[string]map[string][]string{"StringLike": {"sts:RoleSessionName": {sessionPrefix + "*"}}},
	}
	var ids []string
	for _, c := range cells {
		if c.AssumeRole == p.Role && c.ExternalID != "" {
			ids = union(ids, []string{c.ExternalID})
		}
	}
	if len(ids) > 0 {
		s.Condition["StringEquals"] = map[string][]string{"sts:ExternalId": ids}
	}
	return &PolicyDocument{Version: "2012-10-17", Statement: []PolicyStatement{s}}
}

// arn is the ARN of something in the cell's account, and region where the service
// has any.
func (c Cell) arn(service, resource string) string {
	region := c.Region
	if service == "iam" {
		region = ""
	}
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", grant.PartitionOf(c.Region), service, region, c.Account, resource)
}

// roleARNs are the ARNs that the cell's role may have. Its path is part of the ARN
// and not of the name; where only the name is known any path is allowed, which
// makes it no other role: names are unique in an account ("IAM identifiers").
func (c Cell) roleARNs() []string {
	if strings.HasPrefix(c.Role, "arn:") {
		return []string{c.Role}
	}
	var out []string
	for _, name := range c.roleNames() {
		out = append(out, c.arn("iam", "role/"+name), c.arn("iam", "role/*/"+name))
	}
	return out
}

var (
	identityPattern = regexp.MustCompile(`^arn:(aws|aws-us-gov|aws-cn):iam::([0-9]{12}):(?:role|user)/(?:[!-~]+/)?([\w+=,.@-]{1,64})$`)
	boundaryPattern = regexp.MustCompile(`^arn:(?:aws|aws-us-gov|aws-cn):iam::(?:[0-9]{12}|aws):policy/(?:[!-~]+/)?[\w+=,.@-]{1,128}$`)
)

// identityOf takes the ARN of a role or user apart.
func identityOf(arn string) (name string, account grant.AccountID, ok bool) {
	m := identityPattern.FindStringSubmatch(arn)
	if m == nil {
		return "", "", false
	}
	return m[3], grant.AccountID(m[2]), true
}

// ErrPermissionOption is what a PermissionOptions is refused with.
var ErrPermissionOption = errors.New("cannot be used")

// legalPermissions refuses what no policy could be right for.
func legalPermissions(cells []Cell, o PermissionOptions) error {
	if _, _, ok := identityOf(o.Principal); o.Principal != "" && !ok {
		return fmt.Errorf("the principal %q %w: it must be the ARN of the role or user that the bot runs as, such as arn:aws:iam::444455556666:role/breakglass", o.Principal, ErrPermissionOption)
	}
	if o.Boundary != "" && !boundaryPattern.MatchString(o.Boundary) {
		return fmt.Errorf("the boundary %q %w: it must be the ARN of a policy, such as arn:aws:iam::444455556666:policy/support-boundary", o.Boundary, ErrPermissionOption)
	}
	for _, c := range cells {
		if err := errors.Join(legalRole(c), legalTrail(c)); err != nil {
			return err
		}
		if _, account, ok := identityOf(o.Principal); ok && c.AssumeRole == "" && account != c.Account {
			return fmt.Errorf("the principal %s %w: the cell %s names no assume_role, so the bot has to run in its account, %s", o.Principal, ErrPermissionOption, c.Name, c.Account)
		}
		works := []string{o.Principal}
		for _, other := range cells {
			works = append(works, other.AssumeRole)
		}
		for _, arn := range works {
			name, account, ok := identityOf(arn)
			if ok && account == c.Account && strings.Contains(arn, ":role/") && slices.ContainsFunc(c.roleNames(), func(n string) bool { return strings.EqualFold(n, name) }) {
				return fmt.Errorf("the role %s is the one that SingleStore comes in by on the cell %s; the bot must not run as it: it could give itself whatever it wants. Let it work with a role of its own", arn, c.Name)
			}
		}
	}
	return nil
}

// A TableRow is one row of the table of permissions, for people.
type TableRow struct{ Operation, On, Why string }

// PermissionTable is what each operation that is called is allowed on, and why it
// is called.
func PermissionTable() []TableRow {
	out := make([]TableRow, len(permissions))
	for i, p := range permissions {
		on := "nothing; AWS asks for no permission"
		if p.on != nil {
			on = p.on.what
		}
		out[i] = TableRow{p.operation, on, p.why}
	}
	return out
}
