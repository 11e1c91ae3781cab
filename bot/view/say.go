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

// mentions names the groups, each once, or the people where there is no group;
// those who need not be asked are left out.
func (p People) mentions(without ...grant.UserID) line {
	var out line
	for i, id := range p.ApproverGroups {
		if i == 5 {
			break
		}
		if i > 0 {
			out = append(out, say(", "))
		}
		out = append(out, usergroup(id))
	}
	if len(out) > 0 {
		return append(out, say(" "))
	}
	var rest []grant.UserID
	seen := map[grant.UserID]bool{}
	for _, id := range without {
		seen[id] = true
	}
	for _, id := range p.Approvers {
		if !seen[id] {
			seen[id] = true
			rest = append(rest, id)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return append(users(rest), say(" "))
}

// Say is the message of that name (store/grant: the Say and Remind constants,
// with what follows their colon) in the card's thread, for the grant as it is
// now. others are the other grants that are live. It answers false when the
// message is not worth saying any more, or is not known.
func Say(name string, g grant.Grant, others []grant.Grant, people People, now time.Time) (Message, bool) {
	kind, arg, _ := strings.Cut(name, ":")
	p := &page{rest: showCommand(g)}
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
	case grant.RemindUndecided:
		ok = p.remindUndecided(g, people, now)
	case grant.RemindUnsent:
		ok = p.remindUnsent(g, now)
	case grant.RemindBeforeEnd:
		ok = p.remindBeforeEnd(arg, g, now)
	case grant.RemindStillOpen:
		ok = p.remindStillOpen(g, now)
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
	case grant.RemindUnused:
		ok = p.remindUnused(g, now)
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
		p.para(ln(bold("Why:"), " ", why(ending(g)), "."))
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
	p.lead(ln(bold("Access is being taken away"), ": ", why(ending(g)), "."))
	if !g.Touched {
		p.para(ln("Nothing had been opened yet. The proof follows here."))
		return true
	}
	p.para(
		ln("First the trust, then the credentials, then the shells."),
		ln("AWS may take "+grant.FormatDuration(g.Terms.Settle)+" to apply that everywhere, so it is watched for as long. The proof follows here."),
	)
	return true
}

// What may stand in a command that somebody pastes into a shell.
var (
	roleNamePattern = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)
	regionPattern   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	accountPattern  = regexp.MustCompile(`^[0-9]{12}$`)
)

func (p *page) sayStuck(g grant.Grant, people People, now time.Time) bool {
	e := ending(g)
	if g.Phase != grant.Closing || e.Failing == 0 {
		return false
	}
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
	all := !stuck[grant.StepTrust] && !stuck[grant.StepCredentials] && !stuck[grant.StepSessions]

	var b strings.Builder
	fmt.Fprintf(&b, "# in account %s\n", account)
	if all || stuck[grant.StepTrust] {
		fmt.Fprintf(&b, `
# Trust: take out the statement whose Sid is %[2]s
aws iam get-role --role-name %[1]s --query Role.AssumeRolePolicyDocument --output json > trust.json
# edit trust.json; if no other statement is left, set its DateLessThan to 2000-01-01T00:00:00Z instead
aws iam update-assume-role-policy --role-name %[1]s --policy-document file://trust.json
`, role, g.ID.Sid())
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
	p.lead(append([]line{ln(g.ID.String()+" on ", say(cell(g)), ": ", first[0])}, first[1:]...)...)
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

func (p *page) remindUndecided(g grant.Grant, people People, now time.Time) bool {
	lapse := g.RequestedAt.Add(g.Terms.Undecided)
	if g.Phase != grant.Requested || g.Missing() == 0 || (g.Terms.Undecided > 0 && !now.Before(lapse)) {
		return false
	}
	without := []grant.UserID{g.Requester}
	for _, a := range g.Approvals {
		without = append(without, a.By)
	}
	need := "1 more approval"
	if n := g.Missing(); n > 1 {
		need = fmt.Sprintf("%d more approvals", n)
	}
	if len(g.Approvals) == 0 {
		need = strings.Replace(need, " more", "", 1)
	}
	p.lead(
		ln(people.mentions(without...), bold(g.ID.String()+" has been waiting for "+about(now.Sub(g.RequestedAt))+"."), " It needs "+need+"."),
		ln(user(g.Requester), " asks for "+grant.FormatDuration(g.Duration)+" on ", say(cell(g)), " for SingleStore Support."),
	)
	next := ln(bold("Next:"), " read the checks and the plan on the card above, then press Approve "+grant.FormatDuration(g.Duration)+" or Deny there.")
	if g.Terms.Undecided > 0 {
		next = append(next, say(" Without a decision it lapses at "), when(lapse), say("."))
	}
	p.para(next)
	return true
}

func (p *page) remindUnsent(g grant.Grant, now time.Time) bool {
	if g.Phase != grant.Open || !g.SentAt.IsZero() || !now.Before(g.End) {
		return false
	}
	p.lead(ln(user(g.Requester), " ", bold("SingleStore Support does not know yet that "+g.ID.String()+" is open."), " It has been for "+about(now.Sub(g.OpenedAt))+"."))
	p.para(ln(bold("Next:"), " paste the confirmation from the card above into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent."))
	p.press(newButton(g, ActionMarkSent, "Mark as sent", "primary", nil))
	return true
}

func (p *page) remindBeforeEnd(arg string, g grant.Grant, now time.Time) bool {
	d, err := time.ParseDuration(arg)
	if err != nil || g.Phase != grant.Open || !now.Before(g.End) {
		return false
	}
	// After downtime several may be late: the one nearest to the end speaks for
	// all.
	for _, o := range g.Terms.Reminders.BeforeEnd {
		if at := g.End.Add(-o); o > 0 && o < d && at.After(g.OpenedAt) && !now.Before(at) {
			return false
		}
	}
	p.lead(
		ln(user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+" ends in "+about(g.End.Sub(now))+"."), " At ", until(g), " SingleStore is out and open shells are ended."),
		ln("Done already? Press Revoke now. More time needed? Ask for a new grant before then: ", code("/breakglass grant")),
	)
	p.press(revokeButton(g, "Revoke now"))
	return true
}

func (p *page) remindStillOpen(g grant.Grant, now time.Time) bool {
	if g.Phase != grant.Open || !now.Before(g.End) {
		return false
	}
	p.lead(
		ln(user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+" is still open,"), " for "+about(now.Sub(g.OpenedAt))+" now. It ends by itself at ", until(g), "."),
		ln("Is SingleStore done? Then press Revoke now. Otherwise there is nothing to do."),
	)
	p.press(revokeButton(g, "Revoke now"))
	return true
}

// about is a duration as people say it: to the minute, or to the second under
// two minutes.
func about(d time.Duration) string {
	if d >= 2*time.Minute {
		d = d.Round(time.Minute)
	}
	return grant.FormatDuration(d)
}
