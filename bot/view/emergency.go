package view

import (
	"time"

	"breakglass/store/grant"
)

// emergencyLine says, in every phase, that nobody approved before it opened.
func emergencyLine(g grant.Grant) line {
	if !g.Emergency {
		return nil
	}
	by := user(g.Requester)
	switch {
	case g.Phase == grant.Requested:
		return ln(bold("Emergency:"), " ", by, " asked to open it without approval; now it needs approval.")
	case len(g.Approvals) > 0:
		// Its plan had changed, so that it was asked for after all.
		return ln(bold("Emergency:"), " ", by, " asked to open it without approval; it was approved before it opened.")
	case g.Phase == grant.Opening:
		return ln(bold("Emergency:"), " being opened without approval by ", by, ".")
	case g.Phase == grant.Open, g.Touched:
		return ln(bold("Emergency:"), " opened without approval by ", by, ".")
	default:
		return ln(bold("Emergency:"), " ", by, " asked to open it without approval.")
	}
}

// owesReview reports whether the review can be signed now.
func owesReview(g grant.Grant) bool {
	return g.NeedsReview() && (g.Live() || g.Phase == grant.Closed)
}

// review is the signature under an emergency, or the button that gives it.
func (p *page) review(g grant.Grant) {
	if owesReview(g) {
		p.lead(reviewOwed(g, "."))
		p.press(signButton(g))
		return
	}
	p.para(signedLine(g))
}

func reviewOwed(g grant.Grant, where string) line {
	return ln(bold("Review owed:"), " an approver other than ", user(g.Requester), " looks at what was done and why, then presses Sign review"+where)
}

func signedLine(g grant.Grant) line {
	if g.Review == nil {
		return nil
	}
	return ln(bold("Review signed"), " by ", user(g.Review.By), " at ", when(g.Review.At), ".")
}

func signButton(g grant.Grant) button {
	return newButton(g, ActionSign, "Sign review", "", &question{
		"Sign the review of " + g.ID.String() + "?",
		"You say that you have looked at what was done under " + g.ID.String() + " on " + tidy(string(g.Cell), 60) + ", and why. Your name and the time are kept.",
		"Sign review", "Not yet",
	})
}

// sayEmergency tells everybody who decides, by name and by group: nobody was
// asked before. It is told however late, and with what has become of it.
func (p *page) sayEmergency(g grant.Grant, people People, now time.Time) bool {
	if !g.Emergency {
		return false
	}
	p.broadcast = true
	what, state := "was opened without approval", ln(" It is now: "+phaseName(g)+".")
	next := "look at what was done and why."
	var buttons []button
	switch {
	case g.Phase == grant.Requested:
		what, state = "was asked for without approval", ln(" Its plan has changed since, so it needs approval now. Nothing is open.")
		next = "read the card, then press Approve " + grant.FormatDuration(g.Duration) + " or Deny there."
	case g.Phase == grant.Opening:
		what, state = "is being opened without approval", ln(" It is for "+grant.FormatDuration(g.Duration)+".")
	case canRevoke(g, now):
		state = ln(" It is open until ", until(g), ".")
	case !g.Touched:
		what = "was asked for without approval"
	}
	if g.Phase == grant.Opening || canRevoke(g, now) {
		next = "look at it now. If it is not right, press Revoke now."
		buttons = []button{p.revokeButton(g, "Revoke now")}
	}
	p.lead(
		append(ln(bold("Emergency: "+g.ID.String()+" on "+cell(g)+" "+what), " by ", user(g.Requester), "."), state...),
		joined(people.everybody()),
	)
	p.facts(g, cardReason)
	todo := ln(bold("Next:"), " "+next)
	if owesReview(g) {
		todo = append(todo, ln(" It owes a review: an approver other than ", user(g.Requester), " presses Sign review on the card.")...)
	}
	p.para(todo)
	p.press(buttons...)
	return true
}

func (p *page) sayReviewed(g grant.Grant) bool {
	if g.Review == nil {
		return false
	}
	p.lead(
		ln(bold("The review of "+g.ID.String()+" on "+cell(g)+" is signed"), " by ", user(g.Review.By), " at ", when(g.Review.At), ". Nothing is owed for it any more."),
	)
	return true
}

// remindReview asks for the signature under an emergency.
func remindReview(n int, g grant.Grant, people People, now time.Time) (reminder, bool) {
	if !owesReview(g) {
		return reminder{}, false
	}
	since := about(now.Sub(g.RequestedAt))
	return reminder{
		to: people.spans(g.Requester),
		lead: []line{
			ln(bold(g.ID.String()+" on "+cell(g)+" still owes its review."), " ", user(g.Requester), " opened it as an emergency, without approval, "+since+" ago."),
		},
		next:    []line{ln(bold("Next:"), " read its story, ", code(showCommand(g)), ", and the thread, then press Sign review. Any approver may sign, except ", user(g.Requester), ".")},
		short:   ln(bold("Review owed"), " for "+since+": an approver other than ", user(g.Requester), " reads ", code(showCommand(g)), ", then presses Sign review."),
		buttons: []button{signButton(g)},
		loud:    n >= loudFrom,
	}, true
}

// Emergency tells the one who opened it, alone, what happens now.
func Emergency(g grant.Grant, in grant.ChannelID) Message {
	p := &page{rest: showCommand(g)}
	first := ln(bold(g.ID.String()+" is opening now, without approval:"), " "+grant.FormatDuration(g.Duration)+" on ", say(cell(g)), ".")
	if g.Phase != grant.Opening {
		first = ln(bold(g.ID.String()+" was asked for already."), " It is now: "+phaseName(g)+".")
	}
	lines := []line{first, ln("Its card is in ", channel(in), ". Every approver is told.")}
	if g.NeedsReview() {
		lines = append(lines, ln("It owes a review: an approver other than you signs it. Nothing waits for that."))
	}
	p.lead(lines...)
	if g.Live() && g.Phase != grant.Closing {
		p.para(ln("To end it: ", code("/breakglass revoke "+g.ID.String())))
	} else {
		p.para(ln("Its story: ", code(showCommand(g))))
	}
	return p.message()
}
