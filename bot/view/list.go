package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// Status is everything that is open, opening, closing or waiting, and trust that
// none of it explains.
func Status(live []grant.Grant, guards []grant.Guard, now time.Time) Message {
	const most = 25
	order := []grant.Phase{grant.Open, grant.Opening, grant.Closing, grant.Requested}
	names := []string{"open", "opening", "closing", "waiting for a decision"}
	var list []grant.Grant
	var sum []string
	for i, ph := range order {
		var some []grant.Grant
		for _, g := range live {
			if g.Phase == ph {
				some = append(some, g)
			}
		}
		slices.SortStableFunc(some, soonest)
		if n := len(some); n > 0 {
			sum = append(sum, fmt.Sprintf("%d %s", n, names[i]))
		}
		list = append(list, some...)
	}
	p := &page{rest: "/breakglass show ID"}
	if len(list) == 0 {
		p.lead(ln(bold("Nothing is open, and nothing is waiting.")))
		p.strays(guards, live)
		p.para(ln("To ask for access: ", code(example("grant"))))
		return p.message()
	}
	p.lead(ln(bold(strings.Join(sum, ", "))))
	for i, g := range list {
		if i == most {
			p.para(ln(fmt.Sprintf("and %d more. One of them: ", len(list)-i), code("/breakglass show ID")))
			break
		}
		p.para(standing(g, now)...)
	}
	p.strays(guards, live)
	first := list[0]
	if first.Phase == grant.Open || first.Phase == grant.Opening {
		p.para(ln("To end one: ", code("/breakglass revoke "+first.ID.String()), "   Its story: ", code(showCommand(first))))
	} else {
		p.para(ln("The story of one: ", code(showCommand(first))))
	}
	return p.message()
}

// soonest puts the nearest end first.
func soonest(a, b grant.Grant) int {
	return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.ID, b.ID))
}

// standing is where a grant stands, in two short lines.
func standing(g grant.Grant, now time.Time) []line {
	first := ln(bold(g.ID.String()+" · "+cell(g)), " · ")
	if g.Emergency {
		first = append(first, ln(bold("emergency"), " · ")...)
	}
	var state line
	switch g.Phase {
	case grant.Open:
		left := "time is up, ending now"
		if d := g.End.Sub(now); d > 0 {
			left = about(d) + " left"
		}
		state = ln(bold("Open until "), until(g).inBold(), " · "+left)
	case grant.Opening:
		state = ln(bold("Opening"), " · "+grant.FormatDuration(g.Duration)+", for "+about(now.Sub(g.DecidedAt))+" now"+running(g.Opening))
	case grant.Closing:
		e := ending(g)
		state = ln(bold("Closing"), " · for "+about(now.Sub(e.Since))+" now"+running(e.Steps))
	case grant.Requested:
		need := fmt.Sprintf("needs %d of %d approvals", g.Missing(), g.Terms.Approvals)
		if g.Missing() == 1 && g.Terms.Approvals == 1 {
			need = "needs 1 approval"
		}
		state = ln(bold("Requested"), " · "+grant.FormatDuration(g.Duration)+", "+need)
		if g.Terms.Undecided > 0 {
			if d := g.Since().Add(g.Terms.Undecided).Sub(now); d > 0 {
				state = append(state, say(", lapses in "+about(d)))
			}
		}
	default:
		state = ln(bold(phaseName(g)))
	}
	second := purpose(g)
	if g.Phase == grant.Open && g.SentAt.IsZero() {
		second = append(second, say(" · Support not told yet"))
	}
	if g.Phase == grant.Open && g.Extension.Pending() {
		second = append(second, say(" · "+grant.FormatDuration(g.Extension.For)+" more asked for"))
	}
	if owesReview(g) {
		second = append(second, say(" · review owed"))
	}
	return []line{append(first, state...), second}
}

// running names the step that is being done or is failing.
func running(list []grant.Step) string {
	for _, s := range list {
		name := strings.ToLower(stepNames[s.Name])
		switch {
		case name == "":
		case s.State == grant.Failing:
			return ", " + name + " is failing and tried again"
		case s.State == grant.Running:
			return ", at " + name
		}
	}
	return ""
}

// purpose is who asked for a grant and what for, in a short line.
func purpose(g grant.Grant) line {
	return ln(user(g.Requester), " · ticket ", typed(g.Ticket, 40), " · ", typed(g.Reason, 60))
}

// plainStanding is where a grant stands in words alone.
func plainStanding(g grant.Grant, now time.Time) string {
	s := g.ID.String() + " · " + cell(g) + " · " + phaseName(g)
	if d := g.End.Sub(now); g.Phase == grant.Open && d > 0 {
		s += " · " + about(d) + " left"
	}
	return s + " · ticket " + tidy(g.Ticket, 40) + "\n" + tidy(g.Reason, 80)
}

// Choose is the answer to revoke alone: which one?
func Choose(grants []grant.Grant, now time.Time) Message {
	const most = 12
	p := &page{rest: "/breakglass revoke ID", others: grants}
	if len(grants) == 0 {
		p.lead(ln(bold("Nothing is open,"), " so there is nothing to revoke."))
		p.para(ln("What there is: ", code("/breakglass status")))
		return p.message()
	}
	p.lead(ln(bold("Which one?"), " Nothing is revoked yet."))
	for i, g := range grants {
		if i == most {
			p.para(ln(fmt.Sprintf("and %d more", len(grants)-i)))
			break
		}
		p.row(plainStanding(g, now), p.revokeButton(g, "Revoke "+g.ID.String()))
	}
	p.para(ln("The same in words: ", code("/breakglass revoke "+grants[0].ID.String()), " or ", code("/breakglass revoke all")))
	return p.message()
}

// ConfirmAll asks, once, before everything that is open is revoked.
func ConfirmAll(grants []grant.Grant, now time.Time) Message {
	const most = 20
	if len(grants) == 0 {
		return Choose(nil, now)
	}
	p := &page{rest: "/breakglass status"}
	n := fmt.Sprintf("all %d", len(grants))
	if len(grants) == 1 {
		n = grants[0].ID.String()
	}
	p.lead(
		ln(bold("Revoke "+n+"?"), " Nothing is revoked yet."),
		ln("SingleStore loses its access and open shells are ended."),
	)
	for i, g := range grants {
		if i == most {
			p.para(ln(fmt.Sprintf("and %d more", len(grants)-i)))
			break
		}
		p.para(standing(g, now)...)
	}
	p.press(button{Type: "button", ActionID: ActionRevokeAll, Text: plainText("Revoke " + n), Value: "all", Style: "danger"})
	return p.message()
}

// Requested tells the requester, alone, that the request stands, and where.
func Requested(g grant.Grant, in grant.ChannelID) Message {
	p := &page{rest: showCommand(g)}
	if g.Phase != grant.Requested {
		p.lead(ln(bold(g.ID.String()+" was requested already."), " It is now: "+phaseName(g)+"."))
		p.para(ln("Its story: ", code(showCommand(g))))
		return p.message()
	}
	need := "1 approval"
	if g.Terms.Approvals != 1 {
		need = fmt.Sprintf("%d approvals", g.Terms.Approvals)
	}
	p.lead(
		ln(bold(g.ID.String()+" is requested:"), " "+grant.FormatDuration(g.Duration)+" on ", say(cell(g)), "."),
		ln("Its card is in ", channel(in), ". It needs "+need+", not your own."),
	)
	p.para(ln("To take it back: ", code("/breakglass revoke "+g.ID.String()), " or Withdraw on the card."))
	return p.message()
}

// Revoking tells somebody, alone, what their revoke set going, and how many
// grants it could not touch.
func Revoking(done []grant.Grant, refused int, in grant.ChannelID) Message {
	p := &page{rest: "/breakglass status"}
	var closing, withdrawn, other []grant.ID
	for _, g := range done {
		switch g.Phase {
		case grant.Closing:
			closing = append(closing, g.ID)
		case grant.Withdrawn:
			withdrawn = append(withdrawn, g.ID)
		default:
			other = append(other, g.ID)
		}
	}
	var lines []line
	if len(closing) > 0 {
		lines = append(lines,
			ln(bold("Revoking "+ids(closing)+" now.")),
			ln("The card in ", channel(in), " shows each step; the proof follows in its thread."),
		)
	}
	if n := len(withdrawn); n > 0 {
		verb := " is withdrawn."
		if n > 1 {
			verb = " are withdrawn."
		}
		lines = append(lines, ln(bold(ids(withdrawn)+verb), " Nothing had been opened."))
	}
	if len(other) > 0 {
		lines = append(lines, ln("Already ended: "+ids(other)+"."))
	}
	if refused > 0 {
		s := "1 other was not revoked: you may not, or it had ended."
		if refused > 1 {
			s = fmt.Sprintf("%d others were not revoked: you may not, or they had ended.", refused)
		}
		lines = append(lines, ln(s+" Nothing changed there."))
	}
	if len(lines) == 0 {
		lines = append(lines, ln("Nothing was revoked."))
	}
	p.lead(lines...)
	p.para(ln("What there is: ", code("/breakglass status")))
	return p.message()
}
