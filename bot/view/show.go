package view

import (
	"fmt"
	"time"

	"breakglass/store/grant"
)

// Show is one grant's whole story, for one reader. Times in the story are UTC.
func Show(g grant.Grant, now time.Time) Message {
	// What does not fit here fits nowhere. It travels in an acknowledgement, which
	// takes less than a message.
	p := &page{sum: maxSum - 500, most: maxBlocks}
	p.head(title(g))
	e := ending(g)
	switch g.Phase {
	case grant.Requested:
		p.lead(ln(user(g.Requester), " asks to let SingleStore Support in for ", bold(grant.FormatDuration(g.Duration)), "."), emergencyLine(g), askedLine(g), approvalLine(g), lapseLine(g))
	case grant.Opening:
		p.lead(ln(bold("Opening access"), " for ", user(g.Requester), ": "+grant.FormatDuration(g.Duration)+", counted from when it is open."), emergencyLine(g), approvedLine(g))
	case grant.Open:
		left := "Its time is up and it is being ended."
		if d := g.End.Sub(now); d > 0 {
			left = about(d) + " left."
		}
		p.lead(ln(bold("Open until "), until(g).inBold(), ". "+left), emergencyLine(g), endLine(g), askedBy(g))
	case grant.Closing:
		p.lead(ln(bold("Access is being taken away"), " since ", when(e.Since), ": ", why(e, cardReason), "."), emergencyLine(g))
	case grant.Closed:
		p.lead(append(proofLead(g), emergencyLine(g))...)
	default:
		p.lead(ln(bold(phaseName(g)), " at ", when(g.DecidedAt), " by ", actor(g.DecidedBy), "."), ln("Nothing was changed in AWS."), emergencyLine(g))
	}
	if owesReview(g) {
		p.para(reviewOwed(g, " on the card."))
	} else {
		p.para(signedLine(g))
	}
	if g.Phase == grant.Open {
		p.drift(g)
		p.question(g)
	}
	p.trouble("Why it is not open", g.OpenError)
	if g.Phase == grant.Closed {
		p.para(proofLines(g)...)
	}
	if g.Phase == grant.Closing {
		p.steps(g, e.Steps)
	}
	p.still(e)
	if g.Phase.Terminal() {
		p.para(fact("Why", typed(g.Why, cardReason)))
	}
	if g.Phase == grant.Closed || g.Phase == grant.Closing {
		p.para(whoLines(g)...)
	}
	p.facts(g, grant.MaxReason)
	if g.Phase == grant.Open || g.Phase == grant.Opening {
		p.para(append([]line{askedLine(g), approvedAt(g)}, extendedLines(g)...)...)
	}
	p.support(g)
	p.seen(g, 4)
	p.story(g)
	if len(g.Opening) > 0 {
		p.para(append([]line{ln(bold("Opening, step by step"))}, stepLines(g, g.Opening)...)...)
	}
	if g.Access != nil {
		p.access(g)
		p.code(pretty(g.Access.Statement))
		if g.Access.TrustBefore != "" {
			p.more(ln("Trust policy, SHA-256: before ", typedCode(g.Access.TrustBefore, 64), ", after ", typedCode(g.Access.TrustAfter, 64)))
		}
	}
	p.sessions(e.Ended, 20)
	if g.Report != nil {
		p.checks(g, 15)
		if g.Access == nil && !g.Phase.Terminal() {
			p.plan(g)
		}
		p.trusted(g)
	}
	p.next(g)
	return p.message()
}

// support says whether Support was told.
func (p *page) support(g grant.Grant) {
	switch {
	case !g.SentAt.IsZero():
		p.para(ln(bold("Support was told"), " by ", user(g.SentBy), " at ", when(g.SentAt)))
	case g.Phase == grant.Open:
		p.para(ln(bold("Support was not told yet."), " The confirmation is on the card; press Mark as sent there."))
	}
}

// trusted lists who was trusted by the role when it was checked.
func (p *page) trusted(g grant.Grant) {
	if len(g.Report.Trusted) == 0 {
		return
	}
	lines := []line{ln(bold("Trusted by the role when it was checked:"))}
	for i, t := range g.Report.Trusted {
		if i == 10 {
			lines = append(lines, ln(fmt.Sprintf("and %d more", len(g.Report.Trusted)-i)))
			break
		}
		lines = append(lines, ln("• ", typed(t, cardNote)))
	}
	p.para(lines...)
}

// story is what happened, in order. A long one keeps its beginning and its end.
func (p *page) story(g grant.Grant) {
	const first, last = 5, 25
	if len(g.Story) == 0 {
		return
	}
	lines := []line{ln(bold("What happened"), " (UTC)")}
	day := ""
	for i, m := range g.Story {
		if skipped := len(g.Story) - first - last; skipped > 0 && i >= first && i < first+skipped {
			if i == first {
				lines = append(lines, ln(fmt.Sprintf("… %d more in between", skipped)))
			}
			continue
		}
		at := m.At.UTC()
		layout := "15:04:05"
		if d := at.Format(time.DateOnly); d != day {
			day = d
			lines = append(lines, ln(bold(day)))
		}
		lines = append(lines, ln(at.Format(layout)+" ", actor(m.By), " ", typed(m.Text, cardNote)))
	}
	p.para(lines...)
}

// next is the next useful command.
func (p *page) next(g grant.Grant) {
	switch {
	case g.Live() && g.Phase != grant.Closing:
		p.para(ln("To end it: ", code("/breakglass revoke "+g.ID.String())))
	case g.Phase == grant.Requested:
		p.para(ln("To take it back: ", code("/breakglass revoke "+g.ID.String()), ". To decide: the buttons on its card."))
	default:
		p.para(ln("Everything that is open: ", code("/breakglass status")))
	}
}
