package view

import (
	"fmt"
	"strings"
	"time"

	"breakglass/store/grant"
)

// History is what ended last, on one cell or, where cell is empty, on all; the
// newest first.
func History(name grant.CellName, ended []grant.Grant, _ time.Time) Message {
	const most = 20
	p := &page{rest: "/breakglass show ID"}
	on := ""
	if name != "" {
		on = " on " + tidy(string(name), 60)
	}
	if len(ended) == 0 {
		p.lead(ln(bold("Nothing has ended" + on + " yet.")))
		p.para(ln("What there is now: ", code("/breakglass status")))
		return p.message()
	}
	what := fmt.Sprintf("The last %d that ended%s", len(ended), on)
	if len(ended) == 1 {
		what = "The last one that ended" + on
	}
	p.lead(ln(bold(what)))
	for i, g := range ended {
		if i == most {
			p.para(ln(fmt.Sprintf("and %d more", len(ended)-i)))
			break
		}
		p.para(endedLines(g)...)
	}
	p.para(ln("The whole story of one: ", code(showCommand(ended[0]))))
	return p.message()
}

// endedLines is how a grant ended, in two short lines: what and when, then who
// and why.
func endedLines(g grant.Grant) []line {
	first := ln(bold(g.ID.String()+" · "+cell(g)), " · ")
	at := g.DecidedAt
	how := ln(bold(phaseName(g)))
	by := line(nil)
	switch g.Phase {
	case grant.Closed:
		e := ending(g)
		at = g.ClosedAt
		by = why(e, 80)
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
		second = append(second, ln(", approved by ", approvers(g.Approvals))...)
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
		second = append(second, ln(" · ticket ", typed(g.Ticket, 40))...)
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
