package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// HomeView is what a person's home tab is made from. What the person may do is
// only for what is shown: each click is judged anew.
type HomeView struct {
	User                             grant.UserID
	MayDecide, MayRequest, MayRevoke bool
	Live                             []grant.Grant // every grant that has not ended
	Ended                            []grant.Grant // the newest that have, newest first
	Unsigned                         []grant.Grant // emergencies that owe their review, whatever their phase
	Guards                           []grant.Guard
	Now                              time.Time
}

// HomeTab is a person's home tab.
type HomeTab struct{ face surface }

// JSON is the view as Slack takes it.
func (h HomeTab) JSON() []byte { return h.face.json() }

// How many grants a section of the home tab shows. What has buttons is never left
// out for want of room, so that no button stands without what it is about.
const (
	homeWaiting = 8
	homeNow     = 12
	homeYours   = 6
	homeEnded   = 10
)

// Home is a person's home tab: what waits for them first, then what is open, and
// what was.
func Home(h HomeView) HomeTab {
	p := &page{rest: "/breakglass status", others: h.Live, sum: maxHomeSum, most: maxHomeBlocks}
	waiting := h.waiting()
	var open, yours, others []grant.Grant
	for _, g := range h.Live {
		switch {
		case g.Live():
			open = append(open, g)
		case g.Requester == h.User:
			yours = append(yours, g)
		case !slices.ContainsFunc(waiting, func(w errand) bool { return w.g.ID == g.ID }):
			others = append(others, g)
		}
	}
	slices.SortStableFunc(open, soonest)
	p.lead(
		ln(bold(h.summary(len(waiting), open))),
		ln("As of ", when(h.Now), ". Everything else: ", code("/breakglass help")),
	)
	if h.MayRequest {
		p.press(button{Type: "button", ActionID: ActionRequest, Text: plainText("Request access"), Value: "home"})
	}
	p.waitingFor(waiting, h)
	p.openNow(open, others, h)
	p.yours(yours, h.Now)
	p.strays(h.Guards, h.Live)
	p.endedLately(h.Ended)
	return HomeTab{surface{Type: "home", Blocks: p.blocks()}}
}

func (h HomeView) summary(waiting int, open []grant.Grant) string {
	var parts []string
	switch waiting {
	case 0:
	case 1:
		parts = append(parts, "1 thing waits for you")
	default:
		parts = append(parts, fmt.Sprintf("%d things wait for you", waiting))
	}
	count := map[grant.Phase]int{}
	for _, g := range open {
		count[g.Phase]++
	}
	for _, ph := range []struct {
		phase grant.Phase
		name  string
	}{{grant.Open, "open"}, {grant.Opening, "opening"}, {grant.Closing, "closing"}} {
		if n := count[ph.phase]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, ph.name))
		}
	}
	if len(parts) == 0 {
		return "Nothing is open, and nothing waits for you."
	}
	return strings.Join(parts, ", ") + "."
}

// errand is one thing that waits for the person: a request, a question for more
// time, or a review.
type errand struct {
	kind errandKind
	g    grant.Grant
}

type errandKind int

const (
	decide errandKind = iota
	decideMore
	sign
)

// waiting is what the person can decide or sign, what waits longest first.
func (h HomeView) waiting() []errand {
	if !h.MayDecide {
		return nil
	}
	var out []errand
	for _, g := range h.Live {
		if g.Phase == grant.Requested && g.Requester != h.User && g.Missing() > 0 && !g.ApprovedBy(h.User) {
			out = append(out, errand{decide, g})
		}
	}
	for _, g := range h.Live {
		x := g.Extension
		if g.Phase == grant.Open && x.Pending() && h.Now.Before(g.End) && x.By != h.User && g.Requester != h.User &&
			!slices.ContainsFunc(x.Approvals, func(a grant.Approval) bool { return a.By == h.User }) {
			out = append(out, errand{decideMore, g})
		}
	}
	for _, g := range h.Unsigned {
		if owesReview(g) && g.Requester != h.User {
			out = append(out, errand{sign, g})
		}
	}
	slices.SortStableFunc(out, func(a, b errand) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return a.since().Compare(b.since())
	})
	return out
}

func (e errand) since() time.Time {
	if e.kind == decideMore {
		return e.g.Extension.AskedAt
	}
	return e.g.Since()
}

func (p *page) waitingFor(list []errand, h HomeView) {
	if !h.MayDecide {
		return
	}
	p.head("Waiting for you")
	if len(list) == 0 {
		p.para(ln("Nothing."))
	}
	for i, e := range list {
		if i == homeWaiting {
			p.para(ln(fmt.Sprintf("and %d more: ", len(list)-i), code("/breakglass status")))
			return
		}
		g := e.g
		switch e.kind {
		case decide:
			p.decision(g, h.Now)
		case decideMore:
			p.lead(append([]line{
				ln(bold(g.ID.String()+" · "+cell(g)), " · ", user(g.Extension.By), " asks for ", bold(grant.FormatDuration(g.Extension.For)+" more"), ", until ", later(g)),
				extensionApprovals(g),
			}, ln("It ends at ", until(g), ", in "+about(g.End.Sub(h.Now))+", if nobody decides."), purpose(g))...)
			p.press(extensionButtons(g)...)
		case sign:
			p.lead(
				ln(bold(g.ID.String()+" · "+cell(g)+" · review owed")),
				emergencyLine(g),
				purpose(g),
				ln("Look at what was done and why, ", code(showCommand(g)), ", then sign."),
			)
			p.press(signButton(g))
		}
	}
}

// decision is a request with all that approving it does, in short: nobody shall
// have to decide on less than the card says.
func (p *page) decision(g grant.Grant, now time.Time) {
	lines := standing(g, now)
	lines[1] = ln(user(g.Requester), " · ticket ", typed(g.Ticket, grant.MaxTicket), " · ", typed(g.Reason, cardNote))
	lines = append(lines, askedLine(g), fact("SingleStore role", typedCode(string(g.Principal), 200)))
	if r := g.Report; r == nil {
		lines = append(lines, ln(bold("Checks are running…"), " Its card shows them."))
	} else {
		lines = append(lines, ln(bold("Checks:"), " "+countFindings(r)))
		for i, f := range r.Blocking() {
			if i == 3 {
				break
			}
			lines = append(lines, ln("✗ Must be fixed: ", typed(f.Text, cardNote)))
		}
		lines = append(lines, planInShort(g))
	}
	p.lead(append(lines, ln("All of it is on its card, and in ", code(showCommand(g))))...)
	p.press(append(decisive(g), considered(g))...)
}

// openNow is what is open, opening and closing, the nearest end first, and a
// count of what waits for others.
func (p *page) openNow(list, waiting []grant.Grant, h HomeView) {
	p.head("Open now")
	if len(list) == 0 {
		p.para(ln("Nothing is open."))
	}
	for i, g := range list {
		if i == homeNow {
			p.para(ln(fmt.Sprintf("and %d more: ", len(list)-i), code("/breakglass status")))
			break
		}
		lines := standing(g, h.Now)
		if l := sessionsLine(g); g.Phase == grant.Open && l != nil {
			lines = append(lines, l)
		}
		p.lead(lines...)
		p.press(h.buttons(p, g)...)
	}
	if len(waiting) > 0 {
		list := make([]grant.ID, len(waiting))
		for i, g := range waiting {
			list[i] = g.ID
		}
		p.para(ln(bold("Waiting for others to decide:"), " "+ids(list)+". ", code("/breakglass status")))
	}
}

// buttons are those of an open grant that do something for this person.
func (h HomeView) buttons(p *page, g grant.Grant) []button {
	var out []button
	mine := g.Requester == h.User || h.MayDecide || h.MayRevoke
	open := canRevoke(g, h.Now)
	if open && mine && g.SentAt.IsZero() {
		out = append(out, sentButton(g))
	}
	if mine && (open || g.Phase == grant.Opening) {
		out = append(out, p.revokeButton(g, "Revoke now"))
	}
	if open && h.MayRequest && canExtend(g) {
		out = append(out, extendButton(g))
	}
	return out
}

// yours is what the person has asked for and nobody has decided.
func (p *page) yours(list []grant.Grant, now time.Time) {
	if len(list) == 0 {
		return
	}
	p.head("Your requests")
	for i, g := range list {
		if i == homeYours {
			p.para(ln(fmt.Sprintf("and %d more: ", len(list)-i), code("/breakglass status")))
			return
		}
		p.lead(standing(g, now)...)
		p.press(withdrawButton(g))
	}
}

func (p *page) endedLately(list []grant.Grant) {
	p.head("Ended lately")
	if len(list) == 0 {
		p.para(ln("Nothing yet."))
		return
	}
	for i, g := range list {
		if i == homeEnded {
			break
		}
		p.para(endedLines(g)...)
	}
	p.para(ln("More: ", code("/breakglass history"), "   The story of one: ", code(showCommand(list[0]))))
}
