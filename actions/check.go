package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// Check reads everything that opening would need and says what it found, each
// with what to do. It changes nothing and never fails: what cannot be read is
// itself a finding. The grant may be a request, or have nothing but its cell.
func (a *AWS) Check(ctx context.Context, g grant.Grant) grant.Report {
	c, t := a.cell(g)
	if t != nil {
		return grant.Report{At: now(), Findings: []grant.Finding{{Check: "account", Level: grant.Blocks, Text: t.Text, Remedy: t.Remedy}}}
	}
	ctx = onBehalf(ctx, g.ID)
	cl := a.clientsFor(c, g.ID)
	s := look(ctx, cl, c)
	chosen, problem, _ := choose(s.instances, c)
	var v *advice
	if s.account == nil && s.instErr == nil && problem == "" {
		r, _ := s.found()
		v = advise(ctx, cl, c, r.role, chosen)
	}
	return s.judge(g, v).Report
}

// now is this moment as it is stored: UTC, whole seconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// judgement is the report with what the steps of opening go on with.
type judgement struct {
	grant.Report
	role  roleRead
	trust trust.Document
}

// judge makes findings of the scene. It does no I/O. Without advice (nil) the
// findings that nothing hangs on are left out.
func (s *scene) judge(g grant.Grant, v *advice) judgement {
	j := judgement{Report: grant.Report{At: now(), LogGroup: s.cell.logGroup()}}
	say := func(check string, level grant.Level, remedy, format string, args ...any) {
		j.Findings = append(j.Findings, grant.Finding{Check: check, Level: level, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}

	if s.account != nil {
		j.Findings = append(j.Findings, unreadFinding("account", s.account, "the caller's account"))
	} else {
		say("account", grant.OK, "", "The bot works in account %s, as the configuration says.", s.cell.Account)
	}
	s.judgeRole(&j, g, say)
	i := s.judgeInstance(&j, say)
	s.judgeLogging(&j, say)
	if v != nil {
		s.judgeAdvice(&j, v, i, say)
	}
	return j
}

type sayFunc func(check string, level grant.Level, remedy, format string, args ...any)

func (s *scene) judgeRole(j *judgement, g grant.Grant, say sayFunc) {
	r, problem := s.found()
	j.role = r
	if problem != nil {
		j.Findings = append(j.Findings, *problem)
		return
	}
	j.RoleName, j.RoleARN = r.name, r.arn
	switch {
	case r.isServiceLinked():
		say("role", grant.Blocks, "Let the operator name another role: `role` of the cell "+string(s.cell.Name)+" in the configuration.",
			"The role %s is a service-linked role, whose trust only AWS itself may change.", r.arn)
		return
	case r.isIdentityCenter():
		say("role", grant.Blocks, "Let the operator name another role: `role` of the cell "+string(s.cell.Name)+" in the configuration.",
			"The role %s belongs to IAM Identity Center, whose roles cannot be changed in IAM.", r.arn)
		return
	default:
		say("role", grant.OK, "", "The role is %s.", r.arn)
	}
	if r.boundary != "" {
		say("boundary", grant.Warning, "If SingleStore cannot open a shell although access is open, look at the boundary first.",
			"The role has the permissions boundary %s. It limits what SingleStore can do with the role, not who may assume it.", r.boundary)
	}
	if !r.stop.IsZero() && r.stop.Before(time.Now()) {
		say("hard stop", grant.OK, "",
			"The inline policy %s of an earlier grant still refuses everything with this role since %s. Opening moves it; for access that is opened by hand delete it first.", hardStopName, r.stop.Format("2006-01-02 15:04:05 UTC"))
	}
	s.judgeTrust(j, g, say)
}

func (s *scene) judgeTrust(j *judgement, g grant.Grant, say sayFunc) {
	r := j.role
	d, err := trust.Parse([]byte(r.document))
	if err != nil {
		say("trust", grant.Blocks, "Look at the trust policy of the role in the IAM console and save it once.",
			"The trust policy of %s is not one that the bot understands, so it does not touch it.", r.name)
		return
	}
	j.trust = d
	at := time.Now()
	j.Trusted = trustedLines(d, at)
	if orphans := d.Orphans(); len(orphans) > 0 {
		// Whether it blocks depends on what is asked: a check of a cell only tells.
		level := grant.Warning
		if g.Principal != "" {
			level = grant.Blocks
		}
		say("orphans", level, "Remove it: IAM console, role "+r.name+", Trust relationships. (Revoking a grant removes it by itself.)",
			"The trust policy of %s names a role or user that has been deleted (%s). It lets nobody in, but IAM refuses every change while it is there.", r.name, values(orphans))
	}
	if trustsService(d, "ec2.amazonaws.com") {
		say("link", grant.OK, "", "The role %s may be an instance's own role, too: it trusts ec2.amazonaws.com. Revoking spares the instance itself.", r.name)
	}
	if s.quotaErr != nil {
		j.Findings = append(j.Findings, adviceFinding("quota", s.quotaErr, fmt.Sprintf("the account's quotas (%d characters for a trust policy are assumed)", s.quota)))
	}
	if g.Principal == "" {
		say("trust", grant.OK, "", "The trust policy of %s can be read; it has %s and takes %d of %d characters.", r.name, count(len(d.Statements()), "statement"), d.Size(), s.quota)
		return
	}
	judgeStanding(r.name, g, d, at, say)
	judgeBystanders(g, d, at, say)
	edited, err := withStatement(d, s.cell, own(g, at.Add(g.Duration)), at)
	if err != nil {
		say("trust", grant.Blocks, "Look at the trust policy of the role in the IAM console.",
			"The trust policy of %s cannot take the statement for %s.", r.name, g.Principal)
		return
	}
	j.Statement = planned(g)
	if edited.Size() > s.quota {
		say("quota", grant.Blocks, quotaRemedy(r.name), "%s", quotaText(r.name, edited.Size(), s.quota))
		return
	}
	say("trust", grant.OK, "", "The trust policy of %s has room: %d of %d characters with this grant.", r.name, edited.Size(), s.quota)
}

// judgeStanding looks for trust that the vendor's role has already, by a
// statement that no grant stands behind.
func judgeStanding(roleName string, g grant.Grant, d trust.Document, at time.Time, say sayFunc) {
	standing, err := d.Trusts(string(g.Principal), at)
	if err != nil {
		return // the ARN was checked when the request was made
	}
	for _, t := range standing {
		switch {
		case t.Ours:
		case t.Via == trust.ViaARN || t.Via == trust.ViaSession:
			say("trust", grant.Warning, "If somebody needs that statement, take it up with them first.",
				"%s is trusted already, by a statement that people wrote (%s). Revoking the last grant for it removes that one, too.", g.Principal, nameOf(t.Mention))
		case t.Maybe:
			say("trust", grant.Warning, "Look at that statement's condition.",
				"%s may be trusted already, by %s in a statement that people wrote (%s); the bot cannot tell whether its condition holds.", g.Principal, via(t), nameOf(t.Mention))
		default:
			say("trust", grant.Blocks, "Narrow that statement in the IAM console (role "+roleName+", Trust relationships), then request access again.",
				"%s is trusted already and without end, by %s in a statement that people wrote (%s). Access could not be proven closed.", g.Principal, via(t), nameOf(t.Mention))
		}
	}
}

// judgeBystanders names whoever else the role lets in. AWS cannot tell from a
// request made with the role who assumed it (IAM User Guide, "AWS global condition
// context keys": the keys name the role's session, not the account behind it), so
// what ends the one ends the other: the hard stop, the cut-off and the end of the
// sessions are the whole role's. People must know before they approve.
func judgeBystanders(g grant.Grant, d trust.Document, at time.Time, say sayFunc) {
	var people, grants []string
	for _, s := range d.Statements() {
		if s.Placeholder || s.Effect != trust.Allow || s.Expired(at) {
			continue
		}
		id, ours := grant.ParseSid(s.Sid)
		for _, p := range s.Principals {
			switch {
			case p.Kind != trust.KindAWS || strings.EqualFold(p.Value, string(g.Principal)) || trust.IsOrphan(p.Value):
			case ours && id == g.ID:
			case ours:
				grants = append(grants, fmt.Sprintf("%s (%s)", id, p.Value))
			default:
				people = append(people, p.Value)
			}
		}
	}
	if len(grants) > 0 {
		say("others", grant.Warning, "Let both end together, or tell the other ticket before you revoke one.",
			"%s is open on this role, too. Ending one ends the shells and credentials of the other, which may come in again until its own end.", strings.Join(grants, ", "))
	}
	if len(people) > 0 {
		say("others", grant.Warning, "If they need it, give them a role of their own. After the end, deleting the inline policy "+hardStopName+" lets them in again.",
			"Others may use this role, too: %s. AWS cannot tell them from SingleStore: closing ends their shells, and after the end they can do nothing with the role.", strings.Join(people, ", "))
	}
}

func quotaText(role string, size, quota int) string {
	return fmt.Sprintf("With this grant the trust policy of %s would have %d characters, but this account allows %d.", role, size, quota)
}

func quotaRemedy(role string) string {
	return "Remove statements from the trust policy of " + role + " that nobody needs, or ask AWS for a higher quota (Service Quotas, IAM, Role trust policy length)."
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (s *scene) judgeInstance(j *judgement, say sayFunc) instance {
	if s.instErr != nil {
		if f := sortError(s.instErr, false); f.is(codeNoInstance, codeBadInstance) {
			say("instance", grant.Blocks, "Let the operator correct `instance` of the cell "+string(s.cell.Name)+" in the configuration.",
				"There is no instance %s in %s.", s.cell.Instance, s.cell.place())
			return instance{}
		}
		j.Findings = append(j.Findings, unreadFinding("instance", s.instErr, "the instances of "+s.cell.place()))
		return instance{}
	}
	i, problem, remedy := choose(s.instances, s.cell)
	j.InstanceID, j.InstanceName = i.id, i.name
	if problem != "" {
		say("instance", grant.Blocks, remedy, "%s", problem)
		return instance{}
	}
	say("instance", grant.OK, "", "The instance is %s (%s), running in %s.", i.id, i.name, s.cell.Region)
	return i
}

func (s *scene) judgeLogging(j *judgement, say sayFunc) {
	c := s.cell
	switch {
	case s.groupErr != nil:
		j.Findings = append(j.Findings, unreadFinding("log group", s.groupErr, "the log group "+c.logGroup()))
	case !s.group.exists:
		similar := ""
		if len(s.group.similar) > 0 {
			similar = fmt.Sprintf(" There is %s, which is another one.", strings.Join(s.group.similar, ", "))
		}
		say("log group", grant.Blocks, fmt.Sprintf("Create it: aws logs create-log-group --region %s --log-group-name %s (with a KMS key, if sessions shall be refused when they cannot be logged).", c.Region, c.logGroup()),
			"There is no log group %s in %s, so sessions would not be logged: no audit, no access.%s", c.logGroup(), c.place(), similar)
	case !s.group.kms:
		say("log group", grant.Warning, fmt.Sprintf("Give it a key if you can: aws logs associate-kms-key --region %s --log-group-name %s --kms-key-id ARN", c.Region, c.logGroup()),
			"The log group %s has no KMS key. Then Session Manager lets a session go on even when its log cannot be written.", c.logGroup())
	default:
		say("log group", grant.OK, "", "The log group %s exists and has a KMS key: a session that cannot be logged does not start.", c.logGroup())
	}

	what := "the Session Manager preferences of " + c.place()
	if s.prefsErr != nil {
		if isUnreadable(s.prefsErr) {
			t, _ := errors.AsType[*grant.Trouble](unreadable(s.prefsErr, what))
			say("preferences", grant.Blocks, t.Remedy, "%s", t.Text)
			return
		}
		j.Findings = append(j.Findings, unreadFinding("preferences", s.prefsErr, what))
		return
	}
	if s.groupErr != nil || !s.group.exists {
		return // there is nothing yet that they could point at
	}
	lines, err := s.prefs.plan(s.group)
	if err != nil {
		t, _ := errors.AsType[*grant.Trouble](templated(err, what))
		say("preferences", grant.Blocks, t.Remedy, "%s", t.Text)
		return
	}
	j.Logging, j.Redirect = lines, s.prefs.redirect(s.group)
	switch {
	case s.prefs.absent:
		say("preferences", grant.OK, "", "No Session Manager preferences have been saved in %s yet; opening creates them.", c.Region)
	case j.Redirect != nil:
		say("preferences", grant.Warning, "Agree to it only if all of them may be logged to "+j.Redirect.To+" from now on. If "+j.Redirect.From+" belongs to another cell or team, ask them first.",
			"All Session Manager sessions in %s are logged to %s now; the preferences are shared. Opening changes that to %s, for everybody, and revoking does not change it back.", c.place(), j.Redirect.From, j.Redirect.To)
	case len(lines) > 0:
		say("preferences", grant.OK, "", "Opening switches session logging on, for all sessions in %s.", c.place())
	default:
		say("preferences", grant.OK, "", "Session logging is on: %s.", c.logGroup())
	}
	if !s.prefs.absent && s.prefs.latest.version != s.prefs.current.version {
		say("preferences", grant.Warning, "Opening makes the latest version the default one, too.",
			"The preferences that sessions use (version %s) are not the ones that the console shows (version %s).", s.prefs.latest.version, s.prefs.current.version)
	}
}

func (s *scene) judgeAdvice(j *judgement, v *advice, i instance, say sayFunc) {
	c := s.cell
	switch {
	case v.agentErr != nil:
		j.Findings = append(j.Findings, adviceFinding("agent", v.agentErr, "the agent of the instance "+i.id))
	case v.agent == ssmtypes.PingStatusOnline:
		say("agent", grant.OK, "", "The Systems Manager agent of %s is online.", i.id)
	case v.agent == "":
		say("agent", grant.Warning, "Look at the agent and at the instance's role (AmazonSSMManagedInstanceCore).",
			"Systems Manager does not know the instance %s: its agent has never been in touch, and no shell can be opened.", i.id)
	default:
		say("agent", grant.Warning, "Look at the instance; restart the agent if need be.",
			"The Systems Manager agent of %s is not online (%s), so no shell can be opened just now.", i.id, v.agent)
	}

	switch {
	case i.profileARN == "":
		say("log permissions", grant.Unread, "If the region uses Default Host Management Configuration, that role needs "+strings.Join(logActions, ", ")+".",
			"The instance %s has no instance profile, so it cannot be seen whether it may write its log.", i.id)
	case v.instanceRoleErr != nil:
		j.Findings = append(j.Findings, adviceFinding("log permissions", v.instanceRoleErr, "the role of the instance "+i.id))
	case v.instanceRole == "":
		say("log permissions", grant.Warning, "Put a role into the instance profile "+i.profileARN+".",
			"The instance profile of %s has no role, so the instance cannot write its log.", i.id)
	case v.logsErr != nil:
		j.Findings = append(j.Findings, adviceFinding("log permissions", v.logsErr, "the permissions of "+v.instanceRole))
	case len(v.logsRefused) > 0:
		say("log permissions", grant.Warning, "Allow these to "+v.instanceRole+" on the log group "+c.logGroup()+".",
			"The instance's role would probably be refused %s, so sessions might not be logged.", strings.Join(v.logsRefused, ", "))
	default:
		say("log permissions", grant.OK, "", "The instance's role may write to %s, as far as IAM can simulate it.", c.logGroup())
	}

	if j.RoleARN == "" {
		return
	}
	if v.instanceRole != "" && strings.EqualFold(v.instanceRole, j.RoleARN) {
		say("link", grant.OK, "", "The role %s is the instance's own role. Revoking spares the instance itself.", j.RoleName)
	}
	switch {
	case v.startErr != nil:
		j.Findings = append(j.Findings, adviceFinding("link", v.startErr, "the permissions of "+j.RoleName))
	case len(v.startRefused) > 0:
		say("link", grant.Warning, "Look at the permissions of the role with SingleStore before Support is told.",
			"The role %s would probably be refused to start a session on %s.", j.RoleName, i.id)
	default:
		say("link", grant.OK, "", "The role %s may start sessions on %s, as far as IAM can simulate it.", j.RoleName, i.id)
	}
}
