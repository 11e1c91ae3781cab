package view

import (
	"fmt"
	"strings"
	"time"

	"breakglass/store/grant"
)

// How much of a text the card shows; the whole is in Show.
const (
	cardReason = 600
	cardNote   = 220
)

// Card is the grant's one message in the channel, edited in place. It changes
// only with the grant, and with what opens and ends beside it on the same role:
// nothing on it grows old by itself. others are the other grants that are live.
func Card(g grant.Grant, others []grant.Grant, _ time.Time) Message {
	p := &page{rest: showCommand(g), others: others}
	p.head(title(g))
	switch g.Phase {
	case grant.Requested:
		p.requested(g)
	case grant.Opening:
		p.opening(g)
	case grant.Open:
		p.open(g)
	case grant.Closing:
		p.closing(g)
	case grant.Closed:
		p.ended(g)
	default:
		p.refusedRequest(g)
	}
	return p.message()
}

func showCommand(g grant.Grant) string { return "/breakglass show " + g.ID.String() }

// title is the id, the phase in words and the cell.
func title(g grant.Grant) string {
	s := fmt.Sprintf("%s · %s · %s", g.ID, phaseName(g), cell(g))
	if g.Emergency {
		s += " · emergency"
	}
	return s
}

func cell(g grant.Grant) string { return tidy(string(g.Cell), 60) }

// phaseName is the phase as the contract words it. Headings know no time zone
// but UTC; the day is named where it is not the day of opening.
func phaseName(g grant.Grant) string {
	switch g.Phase {
	case grant.Requested:
		return "Requested"
	case grant.Opening:
		return "Opening"
	case grant.Open:
		layout := "15:04 UTC"
		if g.Duration < 10*time.Minute {
			layout = "15:04:05 UTC"
		}
		if end, start := g.End.UTC(), g.OpenedAt.UTC(); end.YearDay() != start.YearDay() || end.Year() != start.Year() {
			layout = "2 Jan " + layout
		}
		return "Open until " + g.End.UTC().Format(layout)
	case grant.Closing:
		return "Closing"
	case grant.Closed:
		return "Closed"
	case grant.Denied:
		return "Denied"
	case grant.Withdrawn:
		return "Withdrawn"
	case grant.Lapsed:
		return "Lapsed"
	default:
		return "Unknown"
	}
}

func (p *page) requested(g grant.Grant) {
	p.lead(
		ln(user(g.Requester), " asks to let SingleStore Support in for ", bold(grant.FormatDuration(g.Duration)), "."),
		emergencyLine(g),
		askedLine(g),
		approvalLine(g),
		lapseLine(g),
	)
	again := "Why it needs approval again"
	if g.Emergency {
		again = "Why it needs approval"
	}
	p.trouble(again, g.OpenError)
	p.facts(g, cardReason)
	p.checks(g, 8)
	p.plan(g)
	p.press(append(decisive(g), withdrawButton(g), considered(g))...)
}

// askedLine says that less is approved than was asked for.
func askedLine(g grant.Grant) line {
	if g.Asked <= 0 {
		return nil
	}
	return ln("Asked for "+grant.FormatDuration(g.Asked)+", approved for ", bold(grant.FormatDuration(g.Duration)), ".")
}

// approvalLine counts the approvals so far.
func approvalLine(g grant.Grant) line {
	l := ln(bold(fmt.Sprintf("Approvals: %d of %d", len(g.Approvals), max(g.Terms.Approvals, len(g.Approvals)))))
	if len(g.Approvals) > 0 {
		return append(append(l, say(": ")), approvals(g.Approvals)...)
	}
	return append(l, say(". The requester's own does not count."))
}

// approvers names who approved.
func approvers(list []grant.Approval) line {
	ids := make([]grant.UserID, len(list))
	for i, a := range list {
		ids[i] = a.By
	}
	return users(ids)
}

// approvals says who approved, when, and for how long where that was less.
func approvals(list []grant.Approval) line {
	const most = 12
	var out line
	for i, a := range list {
		if i == most {
			return append(out, say(fmt.Sprintf(" and %d more", len(list)-most)))
		}
		if i > 0 {
			out = append(out, say(", "))
		}
		out = append(out, user(a.By))
		if a.For > 0 {
			out = append(out, say(" for "+grant.FormatDuration(a.For)))
		}
		out = append(out, say(" at "), when(a.At))
	}
	return out
}

func lapseLine(g grant.Grant) line {
	if g.Terms.Undecided <= 0 {
		return nil
	}
	return ln("Without a decision it lapses at ", when(g.Since().Add(g.Terms.Undecided)), ".")
}

func (p *page) opening(g grant.Grant) {
	p.lead(
		ln(bold("Opening access"), " for ", user(g.Requester), ": "+grant.FormatDuration(g.Duration)+", counted from when it is open."),
		emergencyLine(g),
		askedLine(g),
		approvedLine(g),
	)
	p.trouble("What is wrong", g.OpenError)
	p.steps(g, g.Opening)
	p.more(ln("If it is not open by ", clock(g.DecidedAt.Add(grant.OpeningLimit)), ", it is given up and undone."))
	p.press(p.revokeButton(g, "Revoke now"))
	p.review(g)
	p.facts(g, cardReason)
	p.para(approvedAt(g))
}

func approvedLine(g grant.Grant) line {
	if len(g.Approvals) == 0 {
		return nil
	}
	return ln("Approved by ", approvers(g.Approvals), ".")
}

// approvedAt says when each approval came; the lead only names the people.
func approvedAt(g grant.Grant) line {
	if len(g.Approvals) == 0 {
		return nil
	}
	return append(ln(bold("Approved by"), " "), approvals(g.Approvals)...)
}

func (p *page) open(g grant.Grant) {
	p.lead(
		ln(bold("Open until "), until(g).inBold(), " for SingleStore Support."),
		emergencyLine(g),
		endLine(g),
		askedBy(g),
		askedLine(g),
		sessionsLine(g),
	)
	p.drift(g)
	p.extension(g)
	p.para(tellSupport(g))
	p.code(Confirmation(g))
	var buttons []button
	if g.SentAt.IsZero() {
		buttons = append(buttons, sentButton(g))
	}
	buttons = append(buttons, p.revokeButton(g, "Revoke now"))
	if canExtend(g) {
		buttons = append(buttons, extendButton(g))
	}
	p.press(buttons...)
	p.review(g)
	p.facts(g, cardReason)
	p.para(append([]line{approvedAt(g)}, extendedLines(g)...)...)
	p.access(g)
}

// tellSupport says what Support knows, and what is left to tell them. The text
// for them follows.
func tellSupport(g grant.Grant) line {
	if g.SentAt.IsZero() {
		return ln(bold("Next:"), " paste this into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent.")
	}
	told := ln(bold("Support was told"), " by ", user(g.SentBy), " at ", when(g.SentAt))
	if n := len(g.Extensions); n > 0 && g.SentAt.Before(g.Extensions[n-1].At) {
		return append(told, ln(", but not of the later end. ", bold("Next:"), " paste this into ticket ", typed(g.Ticket, grant.MaxTicket), ".")...)
	}
	return append(told, say(", with this:"))
}

// askedBy names who asked and who approved. Of an emergency that nobody approved
// its own line says it.
func askedBy(g grant.Grant) line {
	l := ln("Asked for by ", user(g.Requester))
	switch {
	case len(g.Approvals) > 0:
		l = append(l, ln(", approved by ", approvers(g.Approvals))...)
	case g.Emergency:
		return nil
	}
	return append(l, say("."))
}

func endLine(g grant.Grant) line {
	if !g.Terms.AWSEnforced {
		return ln("The bot ends it then; here, AWS is not told the end.")
	}
	return ln("After that AWS itself refuses SingleStore, even without this bot.")
}

// Confirmation is the text for SingleStore Support: complete, and plain enough
// to paste into any ticket.
func Confirmation(g grant.Grant) string {
	role, instance := "", ""
	if g.Report != nil {
		role, instance = g.Report.RoleARN, g.Report.InstanceID
	}
	if a := g.Access; a != nil {
		role, instance = a.RoleARN, a.InstanceID
	}
	var b strings.Builder
	put := func(name, value string) {
		if value = grant.Clean(value, 600); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "Privileged access is granted for ticket %s.\n\n", grant.Clean(g.Ticket, grant.MaxTicket))
	put("BYOC cell", string(g.Cell))
	put("AWS account", string(g.Account))
	put("Region", g.Region)
	put("Role to assume", role)
	put("Role that may assume it", string(g.Principal))
	put("Privileged access instance", instance)
	put("Valid until", g.End.UTC().Format("2006-01-02 15:04:05 UTC"))
	put("Our reference", g.ID.String())
	b.WriteString("\nAWS may need up to a minute to accept the role.\nSessions are logged. Please tell us as soon as you are done.")
	return b.String()
}

func (p *page) closing(g grant.Grant) {
	e := ending(g)
	lines := []line{ln(bold("Access is being taken away"), " since ", when(e.Since), ": ", why(e, cardReason), "."), emergencyLine(g)}
	switch {
	case e.Failing > 0:
		lines = append(lines, ln("A step is failing. It is tried again until AWS shows that nothing is left."))
	case !g.Touched:
		lines = append(lines, ln("Nothing was opened; AWS is being asked to show that nothing is left."))
	default:
		lines = append(lines, ln("It goes on until AWS shows that nothing is left. There is nothing to press."))
	}
	if e.Failing > 0 && g.Terms.AWSEnforced && !g.End.IsZero() {
		lines = append(lines, ln("Whatever fails here, AWS itself refuses SingleStore after ", until(g), "."))
	}
	p.lead(lines...)
	p.trouble("Why it could not be opened", g.OpenError)
	p.steps(g, e.Steps)
	p.still(e)
	p.review(g)
	p.facts(g, cardReason)
	p.para(append([]line{askedLine(g), approvedAt(g)}, extendedLines(g)...)...)
}

func (p *page) ended(g grant.Grant) {
	p.lead(append(proofLead(g), emergencyLine(g))...)
	p.review(g)
	p.trouble("Why it could not be opened", g.OpenError)
	p.para(proofLines(g)...)
	p.still(ending(g))
	p.para(whoLines(g)...)
	p.facts(g, cardReason)
}

// refusedRequest is a request that was denied, withdrawn or lapsed.
func (p *page) refusedRequest(g grant.Grant) {
	var first line
	switch g.Phase {
	case grant.Denied:
		first = ln(bold("Denied"), " by ", actor(g.DecidedBy), " at ", when(g.DecidedAt), ".")
	case grant.Withdrawn:
		first = ln(bold("Withdrawn"), " by ", actor(g.DecidedBy), " at ", when(g.DecidedAt), ".")
	case grant.Lapsed:
		first = ln(bold("Lapsed"), " at ", when(g.DecidedAt), ": nobody had decided in "+grant.FormatDuration(g.Terms.Undecided)+".")
	default:
		first = ln(bold("Unknown."), " This version of the bot does not know where this grant stands.")
	}
	p.lead(
		first,
		ln(user(g.Requester), " had asked for "+grant.FormatDuration(max(g.Asked, g.Duration))+". Nothing was changed in AWS."),
		emergencyLine(g),
	)
	p.para(fact("Why", typed(g.Why, cardReason)))
	if len(g.Approvals) > 0 {
		p.para(append(ln(bold("Approved until then by"), " "), approvals(g.Approvals)...))
	}
	p.facts(g, cardReason)
}
