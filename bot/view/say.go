package view

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"breakglass/store/grant"
)

// People are those who decide, as they are configured.
type People struct {
	Approvers      []grant.UserID
	ApproverGroups []grant.GroupID
}

// spans names the groups, each once, or the people where there is no group;
// those who need not be asked are left out.
func (p People) spans(without ...grant.UserID) []span {
	const mostGroups, mostPeople = 5, 12
	var out []span
	for i, id := range p.ApproverGroups {
		if i == mostGroups {
			break
		}
		out = append(out, usergroup(id))
	}
	if len(out) > 0 {
		return out
	}
	seen := map[grant.UserID]bool{}
	for _, id := range without {
		seen[id] = true
	}
	return named(p.Approvers, seen, mostPeople)
}

// everybody names all groups and all people, up to as many as fit into a message
// beside what it says.
func (p People) everybody() []span {
	const mostGroups, mostPeople = 20, 120
	var out []span
	for i, id := range p.ApproverGroups {
		if i == mostGroups {
			out = append(out, say(fmt.Sprintf("%d more groups", len(p.ApproverGroups)-i)))
			break
		}
		out = append(out, usergroup(id))
	}
	return append(out, named(p.Approvers, map[grant.UserID]bool{}, mostPeople)...)
}

// named is the people, each once, without those who have been seen.
func named(ids []grant.UserID, seen map[grant.UserID]bool, most int) []span {
	var rest []grant.UserID
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			rest = append(rest, id)
		}
	}
	var out []span
	for i, id := range rest {
		if i == most {
			return append(out, say(fmt.Sprintf("%d more", len(rest)-i)))
		}
		out = append(out, user(id))
	}
	return out
}

// joined is mentions with commas between.
func joined(list []span) line {
	var out line
	for i, s := range list {
		if i > 0 {
			out = append(out, say(", "))
		}
		out = append(out, s)
	}
	return out
}

// mentions is [People.spans], to begin a sentence with.
func (p People) mentions(without ...grant.UserID) line {
	if out := joined(p.spans(without...)); len(out) > 0 {
		return append(out, say(" "))
	}
	return nil
}

// Say is the message of that name (store/grant: the Say and Remind constants,
// with what follows their colon) in the card's thread, for the grant as it is
// now. others are the other grants that are live. It answers false when the
// message is not worth saying any more, or is not known.
func Say(name string, g grant.Grant, others []grant.Grant, people People, now time.Time) (Message, bool) {
	kind, arg, _ := strings.Cut(name, ":")
	p := &page{rest: showCommand(g), others: others}
	ok := false
	switch kind {
	case grant.SayDenied, grant.SayWithdrawn, grant.SayLapsed:
		ok = p.sayDecided(kind, g)
	case grant.SayOpened:
		ok = p.sayOpened(g, others, now)
	case grant.SayFailed:
		ok = p.sayFailed(g)
	case grant.SayClosing:
		ok = p.sayClosing(g)
	case grant.SayStuck:
		ok = p.sayStuck(g, people, now)
	case grant.SayProof:
		ok = p.sayProof(g, others)
	case grant.SayEmergency:
		ok = p.sayEmergency(g, people, now)
	case grant.SayReviewed:
		ok = p.sayReviewed(g)
	case grant.SayExtendAsked:
		ok = p.sayExtendAsked(arg, g, people, now)
	case grant.SayExtendDenied:
		ok = p.sayExtendDenied(arg, g, now)
	case grant.SayExtended:
		ok = p.sayExtended(g, now)
	case grant.SayExtendFailed:
		ok = p.sayExtendFailed(g, now)
	case grant.SayCame:
		ok = p.sayCame(arg, g)
	case grant.SayLeft:
		ok = p.sayLeft(arg, g, now)
	case grant.SayUnlogged, grant.SayNeverLogged:
		ok = p.sayUnlogged(kind, arg, g, people, now)
	case grant.SaySessions:
		ok = p.saySessions(g, now)
	case grant.SayDrift:
		ok = p.sayDrift(arg, g, people, now)
	case grant.SayAssumed:
		ok = p.sayAssumed(arg, g)
	case grant.SayReplanned:
		ok = p.sayReplanned(arg, g, people)
	case grant.SayCut:
		ok = p.sayCut(arg, g, now)
	case grant.SayLogged:
		ok = p.sayLogged(arg, g)
	default:
		var r reminder
		if r, ok = p.reminder(kind, arg, g, people, now); ok {
			r.put(p)
		}
	}
	if !ok {
		return Message{}, false
	}
	return p.message(), true
}

func (p *page) sayDecided(kind string, g grant.Grant) bool {
	to := ln(user(g.Requester), " ")
	again := ln("Nothing was changed in AWS. To ask again: ", code("/breakglass grant"))
	switch {
	case kind == grant.SayDenied && g.Phase == grant.Denied:
		p.lead(ln(to, g.ID.String()+" was ", bold("denied"), " by ", actor(g.DecidedBy), "."))
		p.para(fact("Why", typed(g.Why, cardReason)))
	case kind == grant.SayWithdrawn && g.Phase == grant.Withdrawn:
		if g.DecidedBy.Kind == grant.Person && g.DecidedBy.User == g.Requester {
			to = nil // need not be told
		}
		p.lead(ln(to, g.ID.String()+" was ", bold("withdrawn"), " by ", actor(g.DecidedBy), "."))
	case kind == grant.SayLapsed && g.Phase == grant.Lapsed:
		p.lead(ln(to, g.ID.String()+" has ", bold("lapsed"), ": nobody had decided in "+grant.FormatDuration(g.Terms.Undecided)+"."))
	default:
		return false
	}
	p.para(again)
	return true
}

// sayReplanned says that the approvers are asked again.
func (p *page) sayReplanned(_ string, g grant.Grant, people People) bool {
	if g.Phase != grant.Requested || g.OpenError == nil {
		return false
	}
	p.lead(
		ln(people.mentions(g.Requester), user(g.Requester), " ", bold(g.ID.String()+" needs approval again."), " Nothing was opened."),
	)
	p.para(troubleLine("Why", g.OpenError))
	p.para(ln(bold("Next:"), " read the card above as it is now, then press Approve "+grant.FormatDuration(g.Duration)+" or Deny there."))
	return true
}

// sayCut says why the shells of this grant have just ended.
func (p *page) sayCut(by string, g grant.Grant, now time.Time) bool {
	if g.Phase != grant.Open || !now.Before(g.End) {
		return false
	}
	p.lead(
		ln(user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+": its shells and credentials were cut,"), " because "+tidy(by, 20)+" on the same role was ended. AWS cannot tell the two apart."),
		ln("Access under "+g.ID.String()+" goes on until ", until(g), ": SingleStore assumes the role anew and opens a new shell. Tell them in ticket ", typed(g.Ticket, grant.MaxTicket), "."),
	)
	return true
}

// sayLogged says that a session that had no log has one now.
func (p *page) sayLogged(id string, g grant.Grant) bool {
	v, ok := visitOf(g, id)
	if !ok || v.LoggedAt.IsZero() {
		return false
	}
	p.lead(ln(bold(g.ID.String()+" on "+cell(g)+": the session has its log now,"), " of ", who(v.Session), onto(v.Session), ", seen ", when(v.LoggedAt), ". What was typed before its log began may be missing in it."))
	p.sessionFacts(g, v)
	return true
}

func (p *page) sayOpened(g grant.Grant, others []grant.Grant, now time.Time) bool {
	if g.Phase != grant.Open || !now.Before(g.End) {
		return false
	}
	p.lead(
		ln(user(g.Requester), " ", bold(g.ID.String()+" is open until "), until(g).inBold(), bold("."), " SingleStore Support can come in to ", say(cell(g)), "."),
	)
	if g.SentAt.IsZero() {
		p.para(ln(bold("Next:"), " the confirmation for Support is on the card above. Paste it into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent."))
	}
	if also := sameRole(g, others); len(also) > 0 {
		p.para(ln(bold("Note:"), " the same SingleStore role has access to this cell under "+ids(also)+" too."))
	}
	return true
}

// sameRole lists the other grants under which the same role has access to the
// same cell.
func sameRole(g grant.Grant, others []grant.Grant) []grant.ID {
	var out []grant.ID
	for _, o := range others {
		if o.ID != g.ID && o.Live() && o.Cell == g.Cell && o.Principal == g.Principal {
			out = append(out, o.ID)
		}
	}
	return out
}

func (p *page) sayFailed(g grant.Grant) bool {
	if g.Phase != grant.Closing && g.Phase != grant.Closed {
		return false
	}
	now := "SingleStore has no access under it."
	if g.Touched && g.Phase == grant.Closing {
		now = "SingleStore may have been let in for a moment; that is being taken back."
	}
	p.lead(ln(user(g.Requester), " ", bold(g.ID.String()+" could not be opened."), " "+now))
	if g.OpenError == nil {
		p.para(ln(bold("Why:"), " ", why(ending(g), cardReason), "."))
	}
	p.trouble("Why", g.OpenError)
	after := ln("What had been written is being taken back; the card shows how far that is. Then ask again: ", code("/breakglass grant"))
	switch {
	case g.Phase == grant.Closed && !g.Touched:
		after = ln("The role's trust was not touched. To ask again: ", code("/breakglass grant"))
	case g.Phase == grant.Closed:
		after = ln("What had been written is taken back. To ask again: ", code("/breakglass grant"))
	}
	p.para(after)
	return true
}

func (p *page) sayClosing(g grant.Grant) bool {
	if g.Phase != grant.Closing {
		return false
	}
	p.lead(ln(bold("Access is being taken away"), ": ", why(ending(g), cardReason), "."))
	if !g.Touched {
		p.para(ln("Nothing had been opened yet. The proof follows here."))
		return true
	}
	p.para(
		ln("First the trust, then the credentials, then the shells."),
		ln("AWS may take "+grant.FormatDuration(g.Terms.Settle)+" to apply each of them everywhere, so it is watched until then. The proof follows here."),
	)
	return true
}

// What may stand in a command that somebody pastes into a shell.
var (
	roleNamePattern  = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)
	regionPattern    = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	accountPattern   = regexp.MustCompile(`^[0-9]{12}$`)
	principalPattern = regexp.MustCompile(`^[A-Za-z0-9+=,.@_:/-]{1,600}$`)
)

func (p *page) sayStuck(g grant.Grant, people People, now time.Time) bool {
	e := ending(g)
	if g.Phase != grant.Closing || e.Failing == 0 {
		return false
	}
	p.broadcast = true
	to := people.mentions(g.Requester)
	p.lead(
		ln(to, user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+": taking access away keeps failing."), " SingleStore may still have it."),
		ln(fmt.Sprintf("The last %d rounds failed. It started ", e.Failing), when(e.Since), " and is tried again every minute or sooner, without end."),
	)
	var failing []line
	stuck := map[string]bool{}
	for _, s := range e.Steps {
		if s.State != grant.Failing || len(failing) == 4 {
			continue
		}
		stuck[s.Name] = true
		name := stepNames[s.Name]
		if name == "" {
			name = tidy(s.Name, 40)
		}
		l := ln("✗ ", bold(name), ": failing")
		if !s.At.IsZero() {
			l = append(l, say(" since "), when(s.At))
		}
		failing = append(failing, append(l, say(": "), typed(s.Note, 2*cardNote)))
	}
	p.para(failing...)
	if g.Terms.AWSEnforced && !g.End.IsZero() {
		word := " after "
		if !now.Before(g.End) {
			word = " since "
		}
		p.para(ln("AWS itself refuses SingleStore"+word, until(g), ". A shell that is open may stay open."))
	}
	p.para(ln(bold("By hand"), ", as somebody who may change the role. The bot sees it and goes on:"))
	p.code(byHand(g, stuck))
	return true
}

// ByHand is the commands that end the grant's access as the closing would: the steps
// that are failing, or all of them where none is.
func ByHand(g grant.Grant) string {
	stuck := map[string]bool{}
	for _, s := range ending(g).Steps {
		stuck[s.Name] = s.State == grant.Failing
	}
	return byHand(g, stuck)
}

// byHand is the commands that do the failing steps, or all of them where none
// is known to fail. What is not surely harmless in a shell is left to the reader
// as a word in capitals.
func byHand(g grant.Grant, stuck map[string]bool) string {
	role := ""
	switch {
	case g.Access != nil:
		role = g.Access.RoleName
	case g.Report != nil:
		role = g.Report.RoleName
	}
	pick := func(s string, ok *regexp.Regexp, other string) string {
		if ok.MatchString(s) {
			return s
		}
		return other
	}
	role = pick(role, roleNamePattern, "ROLE_NAME")
	region := pick(g.Region, regionPattern, "REGION")
	account := pick(string(g.Account), accountPattern, "of the cell")
	goes := "the statement whose Sid is " + g.ID.Sid()
	switch {
	case g.Removal && g.Takes != 0:
		goes = "the statement whose Sid is " + g.Takes.Sid()
	case g.Removal:
		goes = pick(string(g.Principal), principalPattern, "the principal that is named above") + " wherever it stands"
	}
	all := !stuck[grant.StepTrust] && !stuck[grant.StepCredentials] && !stuck[grant.StepSessions]

	var b strings.Builder
	fmt.Fprintf(&b, "# in account %s\n", account)
	if all || stuck[grant.StepTrust] {
		fmt.Fprintf(&b, `
# Trust: take out %[2]s
aws iam get-role --role-name %[1]s --query Role.AssumeRolePolicyDocument --output json > trust.json
# edit trust.json; if no other statement is left, set its DateLessThan to 2000-01-01T00:00:00Z instead
aws iam update-assume-role-policy --role-name %[1]s --policy-document file://trust.json
`, role, goes)
	}
	if all || stuck[grant.StepCredentials] {
		fmt.Fprintf(&b, `
# Credentials: refuse all that were issued until now; run it again a minute after the trust is gone
aws iam put-role-policy --role-name %s --policy-name AWSRevokeOlderSessions --policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"'$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)'"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}'
`, role)
	}
	if all || stuck[grant.StepSessions] {
		fmt.Fprintf(&b, `
# Sessions: list those of the role, then end each
aws ssm describe-sessions --region %[2]s --state Active --query "Sessions[?contains(Owner, ':assumed-role/%[1]s/')].[SessionId,Target,StartDate]" --output table
aws ssm terminate-session --region %[2]s --session-id SESSION_ID
`, role, region)
	}
	return b.String()
}

func (p *page) sayProof(g grant.Grant, others []grant.Grant) bool {
	if g.Phase != grant.Closed {
		return false
	}
	e := ending(g)
	first := proofLead(g)
	p.lead(append(append([]line{ln(g.ID.String()+" on ", say(cell(g)), ": ", first[0])}, first[1:]...), emergencyLine(g))...)
	p.review(g)
	p.trouble("Why it could not be opened", g.OpenError)
	p.para(proofLines(g)...)
	if len(e.Removed) > 0 {
		lines := []line{ln(bold("Taken out of the trust policy:"))}
		for i, r := range e.Removed {
			if i == 8 {
				lines = append(lines, ln(fmt.Sprintf("and %d more: ", len(e.Removed)-i), code(showCommand(g))))
				break
			}
			lines = append(lines, ln("• ", typed(r, cardNote)))
		}
		p.para(lines...)
	}
	if a := g.Access; a != nil && a.TrustBefore != "" && a.TrustAfter != "" {
		p.para(ln(bold("Trust policy, SHA-256:"), " before opening ", typedCode(a.TrustBefore, 13), ", while open ", typedCode(a.TrustAfter, 13)))
	}
	p.sessions(e.Ended, 15)
	p.seen(g, 8)
	p.still(e)
	p.para(whoLines(g)...)
	if len(e.Ended) > 0 {
		p.para(ln(bold("Note:"), " processes started in a shell may still run on the instance", instance(g), ". Look there if that matters."))
	}
	var left []grant.ID
	for _, o := range others {
		if o.ID != g.ID && o.Live() && o.Cell == g.Cell {
			left = append(left, o.ID)
		}
	}
	if len(left) > 0 {
		p.para(ln(bold("Still live on this cell:"), " "+ids(left)+". ", code("/breakglass status")))
	}
	return true
}

// sessions lists the sessions that were ended.
func (p *page) sessions(list []grant.Session, most int) {
	if len(list) == 0 {
		return
	}
	lines := []line{ln(bold("Sessions that were ended:"))}
	for i, s := range list {
		if i == most {
			lines = append(lines, ln(fmt.Sprintf("and %d more", len(list)-i)))
			break
		}
		l := ln("• ", typedCode(s.ID, 100))
		if !s.Started.IsZero() {
			l = append(l, say(", since "), when(s.Started))
		}
		if s.Document != "" {
			l = append(l, say(", "), typed(s.Document, 60))
		}
		lines = append(lines, l)
	}
	p.para(lines...)
}

func instance(g grant.Grant) line {
	id := ""
	switch {
	case g.Access != nil:
		id = g.Access.InstanceID
	case g.Report != nil:
		id = g.Report.InstanceID
	}
	if id == "" {
		return nil
	}
	return ln(" ", typedCode(id, 40))
}
