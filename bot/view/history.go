package view

import (
	"fmt"
	"strings"

	"breakglass/store/grant"
)

// MostHistory is how many grants [History] shows at most: so many fit into one
// message, however long what is to be said of each.
const MostHistory = 20

// History is what ended last, on one cell or, where cell is empty, on all; the
// newest first. asked is how many were asked for.
func History(name grant.CellName, ended []grant.Grant, asked int) Message {
	p := &page{rest: "/breakglass show ID", words: maxSum} // an answer, which is never edited
	on := ""
	if name != "" {
		on = " on " + tidy(string(name), 60)
	}
	if len(ended) == 0 {
		p.lead(ln(bold("Nothing has ended" + on + " yet.")))
		p.para(ln("What there is now: ", code("/breakglass status")))
		return p.message()
	}
	ended = ended[:min(len(ended), MostHistory)]
	what := fmt.Sprintf("The last %d that ended%s", len(ended), on)
	if len(ended) == 1 {
		what = "The last one that ended" + on
	}
	lead := []line{ln(bold(what))}
	if asked > MostHistory {
		lead = append(lead, ln(fmt.Sprintf("You asked for more; %d is the most that fits here.", MostHistory)))
	}
	p.lead(lead...)
	for _, g := range ended {
		p.para(endedLines(g)...)
	}
	p.para(ln("The whole story of one: ", code(showCommand(ended[0]))))
	return p.message()
}

// endedLines is how a grant ended, in two short lines: what and when, then who
// and why.
func endedLines(g grant.Grant) []line {
	first := ln(bold(g.ID.String()+" · "+clip(cell(g), 32)), " · ")
	at := g.DecidedAt
	how := ln(bold(phaseName(g)))
	by := line(nil)
	switch g.Phase {
	case grant.Closed:
		e := ending(g)
		at = g.ClosedAt
		by = why(e, 40)
		switch {
		case g.Removal:
			how = ln(bold("Closed"), " · removed")
		case g.OpenedAt.IsZero():
			how = ln(bold("Closed"), " · never opened")
		default:
			end := at
			if !e.TrustGoneAt.IsZero() {
				end = e.TrustGoneAt
			}
			how = ln(bold("Closed"), " · was open "+about(max(end.Sub(g.OpenedAt), 0)), " · "+sessionCount(g))
		}
	case grant.Denied, grant.Withdrawn:
		by = ln(strings.ToLower(phaseName(g))+" by ", actor(g.DecidedBy))
	case grant.Lapsed:
		by = ln("nobody had decided")
	default: // not an end
		at = g.Since()
	}
	first = append(append(first, how...), ln(" · ", when(at))...)
	second := line{user(g.Requester)}
	if g.Removal {
		second = nil
	}
	if len(g.Approvals) > 0 {
		const most = 2
		list := g.Approvals[:min(len(g.Approvals), most)]
		second = append(second, ln(", approved by ", approvers(list))...)
		if n := len(g.Approvals) - len(list); n > 0 {
			second = append(second, say(fmt.Sprintf(" and %d more", n)))
		}
	}
	if g.Emergency {
		second = append(second, ln(", ", bold("emergency"))...)
		if owesReview(g) {
			second = append(second, ln(", ", bold("review owed"))...)
		}
	}
	if len(by) > 0 {
		if len(second) > 0 {
			second = append(second, say(" · "))
		}
		second = append(second, by...)
	}
	if !g.Removal {
		second = append(second, ln(" · ticket ", typed(g.Ticket, 20))...)
	}
	return []line{first, second}
}

// sessionCount is how many sessions were seen or ended, as far as is known.
func sessionCount(g grant.Grant) string {
	live, ended := g.Watch.Count()
	n := max(live+ended, len(ending(g).Ended))
	switch {
	case n == 1:
		return "1 session"
	case n > 1:
		return fmt.Sprintf("%d sessions", n)
	case g.Watch == nil || g.Watch.SessionsAt.IsZero():
		return "sessions not known"
	default:
		return "no session"
	}
}
