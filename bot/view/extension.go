package view

import (
	"fmt"
	"strconv"
	"time"

	"breakglass/store/grant"
)

// canExtend reports whether more time may be asked for: while a question about
// it is open, or its answer is being carried out, there is no other.
func canExtend(g grant.Grant) bool {
	return g.Phase == grant.Open && !g.Extension.Pending() && !g.Extension.Doing()
}

func extendButton(g grant.Grant) button { return newButton(g, ActionExtend, "Extend…", "", nil) }

// extensionButtons decide on the extension that is asked for, and on no other.
func extensionButtons(g grant.Grant) []button {
	x := g.Extension
	yes := newButton(g, ActionApproveExtension, "Approve "+grant.FormatDuration(x.For)+" more", "primary", nil)
	no := newButton(g, ActionDenyExtension, "Deny more time", "", nil)
	n := ":" + strconv.Itoa(x.N)
	yes.Value += n
	no.Value += n
	return []button{yes, no}
}

// later is the end that an extension leads to, if it is approved.
func later(g grant.Grant) span {
	end := g.End.Add(g.Extension.For)
	if g.Extension.Doing() {
		end = g.Extension.Until
	}
	if g.Duration < 10*time.Minute || g.Extension.For < 10*time.Minute {
		return exact(end)
	}
	return when(end)
}

// extension is the question for more time with its buttons, or what became of the
// last one.
func (p *page) extension(g grant.Grant) {
	if !g.Extension.Pending() {
		p.question(g)
		return
	}
	p.lead(questionLines(g)...)
	p.press(extensionButtons(g)...)
}

// question is the same without buttons.
func (p *page) question(g grant.Grant) {
	x := g.Extension
	switch {
	case x == nil:
	case x.Pending():
		p.para(questionLines(g)...)
	case x.Doing():
		p.lead(
			ln(bold(grant.FormatDuration(x.For)+" more approved:"), " AWS is being told the new end, ", later(g), ". Until that is read back, the end stays as it is."),
			ln("Asked for by ", user(x.By), ", approved by ", approvers(x.Approvals), "."),
		)
		p.trouble("What is wrong", x.Trouble)
	case x.DeniedBy != "":
		p.para(deniedLine(g))
	case x.Trouble != nil:
		p.para(ln(bold(grant.FormatDuration(x.For)+" more could not be added."), " The end stays as it is."))
		p.trouble("Why", x.Trouble)
	}
}

func questionLines(g grant.Grant) []line {
	x := g.Extension
	return []line{
		ln(bold("More time?"), " ", user(x.By), " asks for ", bold(grant.FormatDuration(x.For)+" more"), ", until ", later(g), "."),
		extensionApprovals(g),
		ln("Without a decision the end stays as it is."),
	}
}

func extensionApprovals(g grant.Grant) line {
	x := g.Extension
	l := ln(bold(fmt.Sprintf("Approvals: %d of %d", len(x.Approvals), max(g.Terms.Approvals, len(x.Approvals)))))
	if len(x.Approvals) > 0 {
		return append(append(l, say(": ")), approvals(x.Approvals)...)
	}
	if x.By == g.Requester {
		return append(l, ln(". The one of ", user(x.By), " does not count.")...)
	}
	return append(l, ln(". Those of ", user(x.By), " and ", user(g.Requester), " do not count.")...)
}

func deniedLine(g grant.Grant) line {
	x := g.Extension
	if x.DeniedBy == x.By {
		return ln(bold("More time"), " was asked for by ", user(x.By), " and taken back at ", when(x.DecidedAt), ".")
	}
	return ln(bold("More time was denied"), " by ", user(x.DeniedBy), " at ", when(x.DecidedAt), ": ", user(x.By), " had asked for "+grant.FormatDuration(x.For)+" more.")
}

// extendedLines is each extension that was carried out, the newest last.
func extendedLines(g grant.Grant) []line {
	const most = 6
	var lines []line
	list := g.Extensions
	if n := len(list) - most; n > 0 {
		lines = append(lines, ln(bold("Extended"), fmt.Sprintf(" %d times before", n)))
		list = list[n:]
	}
	for _, x := range list {
		l := ln(bold("Extended"), " from ", when(x.From), " to ", when(x.To), ", asked for by ", user(x.By))
		if len(x.Approvals) > 0 {
			l = append(append(l, say(", approved by ")), approvals(x.Approvals)...)
		}
		lines = append(lines, l)
	}
	return lines
}

// asked answers the extension of that number, if it still waits for a decision.
func asked(arg string, g grant.Grant, now time.Time) (*grant.Extension, bool) {
	x := g.Extension
	if g.Phase != grant.Open || !x.Pending() || strconv.Itoa(x.N) != arg || !now.Before(g.End) {
		return nil, false
	}
	return x, true
}

func (p *page) sayExtendAsked(arg string, g grant.Grant, people People, now time.Time) bool {
	x, ok := asked(arg, g, now)
	if !ok {
		return false
	}
	p.lead(
		append(people.mentions(x.By, g.Requester), ln(bold(g.ID.String()+" on "+cell(g)+": more time?"), " ", user(x.By), " asks for "+grant.FormatDuration(x.For)+" more, until ", later(g), ". It needs "+needs(x.Missing(g.Terms), len(x.Approvals))+".")...),
		ln("Without a decision it ends at ", until(g), "."),
	)
	p.para(ln(bold("Next:"), " press Approve "+grant.FormatDuration(x.For)+" more or Deny more time on the card above."))
	return true
}

func (p *page) sayExtendDenied(arg string, g grant.Grant, now time.Time) bool {
	x := g.Extension
	if g.Phase != grant.Open || x == nil || x.DeniedBy == "" || strconv.Itoa(x.N) != arg || !now.Before(g.End) {
		return false
	}
	told := ln(user(x.By), " ", bold(g.ID.String()+" on "+cell(g)+": "+grant.FormatDuration(x.For)+" more was denied"), " by ", user(x.DeniedBy), ".")
	if x.DeniedBy == x.By {
		told = ln(bold(g.ID.String()+" on "+cell(g)+": the question for more time was taken back"), " by ", user(x.By), ".")
	}
	p.lead(told, ln("The end stays as it is: ", until(g), "."))
	return true
}

// sayExtended tells of the newest end: of an older one there is nothing to tell.
func (p *page) sayExtended(g grant.Grant, now time.Time) bool {
	n := len(g.Extensions)
	if g.Phase != grant.Open || n == 0 || !now.Before(g.End) {
		return false
	}
	x := g.Extensions[n-1]
	l := ln(user(x.By), " ", bold(g.ID.String()+" on "+cell(g)+" is open until "), until(g).inBold(), bold(" now."), " The end was ", when(x.From))
	if len(x.Approvals) > 0 {
		l = append(append(l, say("; approved by ")), approvers(x.Approvals)...)
	}
	p.lead(append(l, say(".")))
	p.para(ln(bold("Next:"), " tell Support in ticket ", typed(g.Ticket, grant.MaxTicket), "; the card above has the text with the new end."))
	return true
}

func (p *page) sayExtendFailed(g grant.Grant, now time.Time) bool {
	x := g.Extension
	if g.Phase != grant.Open || x == nil || x.Pending() || x.Doing() || x.DeniedBy != "" || x.Trouble == nil || !now.Before(g.End) {
		return false
	}
	p.lead(
		ln(user(x.By), " ", bold(g.ID.String()+" on "+cell(g)+" could not be extended"), " by "+grant.FormatDuration(x.For)+". It still ends at ", until(g), "."),
	)
	p.trouble("Why", x.Trouble)
	p.para(ln("To ask again: Extend…, or ", code("/breakglass extend "+g.ID.String()+" "+short(x.For))))
	p.press(extendButton(g))
	return true
}

// remindExtend asks again for a decision on more time.
func remindExtend(arg string, g grant.Grant, people People, now time.Time) (reminder, bool) {
	x, ok := asked(arg, g, now)
	if !ok || x.Missing(g.Terms) == 0 {
		return reminder{}, false
	}
	without := []grant.UserID{x.By, g.Requester}
	for _, a := range x.Approvals {
		without = append(without, a.By)
	}
	need := needs(x.Missing(g.Terms), len(x.Approvals))
	press := "press Approve " + grant.FormatDuration(x.For) + " more or Deny more time on the card above."
	return reminder{
		to: people.spans(without...),
		lead: []line{
			ln(bold(g.ID.String()+" on "+cell(g)+": the question for more time has waited for "+about(now.Sub(x.AskedAt))+"."), " It needs "+need+"."),
			ln(user(x.By), " asks for "+grant.FormatDuration(x.For)+" more. Without a decision it ends at ", until(g), ", in "+about(g.End.Sub(now))+"."),
		},
		next:  []line{ln(bold("Next:"), " "+press)},
		short: ln(bold("More time?"), " ", user(x.By), " asks for "+grant.FormatDuration(x.For)+" more; it needs "+need+": "+press),
	}, true
}

// needs is how many approvals are missing, in words.
func needs(missing, have int) string {
	s := "1 approval"
	if have > 0 {
		s = "1 more approval"
	}
	if missing != 1 {
		s = fmt.Sprintf("%d%ss", missing, s[1:])
	}
	return s
}

// ExtendAsked tells the one who asked for more time, alone, where it is decided.
func ExtendAsked(g grant.Grant, in grant.ChannelID) Message {
	p := &page{rest: showCommand(g)}
	x := g.Extension
	if g.Phase != grant.Open || !x.Pending() {
		p.lead(ln(bold(g.ID.String() + " is now: " + phaseName(g) + ".")))
		p.para(ln("Its story: ", code(showCommand(g))))
		return p.message()
	}
	need := needs(x.Missing(g.Terms), len(x.Approvals))
	p.lead(
		ln(bold("Asked for "+grant.FormatDuration(x.For)+" more for "+g.ID.String()+"."), " It needs "+need+", not your own; the card in ", channel(in), " has the buttons."),
		ln("Until it is approved the end stays as it is: ", until(g), "."),
	)
	p.para(ln("To take it back: Deny more time on the card."))
	return p.message()
}
