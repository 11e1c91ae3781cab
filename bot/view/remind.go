package view

import (
	"strconv"
	"strings"
	"time"

	"breakglass/store/grant"
)

// loudFrom is the nudge from which on the whole channel is told, too.
const loudFrom = 3

// reminder is one reminder, in its own message or together with others.
type reminder struct {
	to      []span // whom it asks to do something
	lead    []line // what is so
	more    []line
	next    []line // what to do about it
	short   line   // all of it in a line, for [Merged]
	buttons []button
	loud    bool
}

// put writes it as a message of its own.
func (r reminder) put(p *page) {
	lead := append([]line{}, r.lead...)
	if to := joined(r.to); len(to) > 0 {
		lead[0] = append(append(to, say(" ")), lead[0]...)
	}
	p.broadcast = r.loud
	p.lead(lead...)
	p.para(r.more...)
	p.para(r.next...)
	p.press(r.buttons...)
}

// reminder answers false where there is nothing to remind of any more.
func (p *page) reminder(kind, arg string, g grant.Grant, people People, now time.Time) (reminder, bool) {
	n, _ := strconv.Atoi(arg) // what has no number is not loud
	switch kind {
	case grant.RemindUndecided:
		return remindUndecided(n, g, people, now)
	case grant.RemindUnsent:
		return remindUnsent(g, now)
	case grant.RemindBeforeEnd:
		return p.remindBeforeEnd(arg, g, now)
	case grant.RemindStillOpen:
		return p.remindStillOpen(g, now)
	case grant.RemindUnused:
		return p.remindUnused(g, now)
	case grant.RemindReview:
		return remindReview(n, g, people, now)
	case grant.RemindExtend:
		return remindExtend(arg, g, people, now)
	default:
		return reminder{}, false
	}
}

// Merged is one message for several reminders of a grant that all come late,
// after the bot was away: names are as in [Say]. It answers false when none of
// them is worth saying any more.
func Merged(names []string, g grant.Grant, others []grant.Grant, people People, now time.Time) (Message, bool) {
	p := &page{rest: showCommand(g), others: others}
	found := map[string]reminder{}
	for _, name := range names {
		kind, arg, _ := strings.Cut(name, ":")
		if r, ok := p.reminder(kind, arg, g, people, now); ok {
			r.loud = r.loud || found[kind].loud
			found[kind] = r
		}
	}
	if _, ok := found[grant.RemindBeforeEnd]; ok {
		delete(found, grant.RemindStillOpen) // the end says it
	}
	if len(found) == 0 {
		return Message{}, false
	}
	var to []span
	var lines []line
	var buttons []button
	mentioned, pressed := map[span]bool{}, map[string]bool{}
	for _, kind := range []string{
		grant.RemindBeforeEnd, grant.RemindStillOpen, grant.RemindExtend, grant.RemindUnsent, grant.RemindUnused, grant.RemindUndecided, grant.RemindReview,
	} {
		r, ok := found[kind]
		if !ok {
			continue
		}
		for _, s := range r.to {
			if !mentioned[s] {
				mentioned[s] = true
				to = append(to, s)
			}
		}
		lines = append(lines, append(ln("• "), r.short...))
		for _, b := range r.buttons {
			if !pressed[b.ActionID] {
				pressed[b.ActionID] = true
				buttons = append(buttons, b)
			}
		}
		p.broadcast = p.broadcast || r.loud
	}
	late := "this reminder is late,"
	if len(lines) > 1 {
		late = "these reminders are late,"
	}
	lead := joined(to)
	if len(lead) > 0 {
		lead = append(lead, say(" "))
	}
	p.lead(append([]line{append(lead, ln(bold(g.ID.String()+" on "+cell(g)+":"), " "+late+" because the bot was away. As of now:")...)}, lines...)...)
	p.press(buttons...)
	return p.message(), true
}

func remindUndecided(n int, g grant.Grant, people People, now time.Time) (reminder, bool) {
	lapse := g.Since().Add(g.Terms.Undecided)
	if g.Phase != grant.Requested || g.Missing() == 0 || (g.Terms.Undecided > 0 && !now.Before(lapse)) {
		return reminder{}, false
	}
	without := []grant.UserID{g.Requester}
	for _, a := range g.Approvals {
		without = append(without, a.By)
	}
	since, need := about(now.Sub(g.Since())), needs(g.Missing(), len(g.Approvals))
	next := ln(bold("Next:"), " read the checks and the plan on the card above, then press Approve "+grant.FormatDuration(g.Duration)+" or Deny there.")
	short := ln(bold("Waiting"), " for "+since+": it needs "+need+". Read the card above, then press Approve "+grant.FormatDuration(g.Duration)+" or Deny there.")
	if g.Terms.Undecided > 0 {
		next = append(next, ln(" Without a decision it lapses at ", when(lapse), ".")...)
		short = append(short, ln(" It lapses at ", when(lapse), ".")...)
	}
	return reminder{
		to: people.spans(without...),
		lead: []line{
			ln(bold(g.ID.String()+" has been waiting for "+since+"."), " It needs "+need+"."),
			ln(user(g.Requester), " asks for "+grant.FormatDuration(g.Duration)+" on ", say(cell(g)), " for SingleStore Support."),
		},
		next: []line{next}, short: short, loud: n >= loudFrom,
	}, true
}

func remindUnsent(g grant.Grant, now time.Time) (reminder, bool) {
	if g.Phase != grant.Open || !g.SentAt.IsZero() || !now.Before(g.End) {
		return reminder{}, false
	}
	paste := ln("paste the confirmation from the card above into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent.")
	return reminder{
		to: []span{user(g.Requester)},
		lead: []line{
			ln(bold("SingleStore Support does not know yet that "+g.ID.String()+" is open."), " It has been for "+about(now.Sub(g.OpenedAt))+"."),
		},
		next:    []line{ln(bold("Next:"), " ", paste)},
		short:   ln(bold("Support does not know yet:"), " ", paste),
		buttons: []button{sentButton(g)},
	}, true
}

func (p *page) remindBeforeEnd(arg string, g grant.Grant, now time.Time) (reminder, bool) {
	d, err := time.ParseDuration(arg)
	if err != nil || g.Phase != grant.Open || !now.Before(g.End) {
		return reminder{}, false
	}
	// After downtime several may be late: the one nearest to the end speaks for
	// all.
	for _, o := range g.Terms.Reminders.BeforeEnd {
		if at := g.End.Add(-o); o > 0 && o < d && at.After(g.OpenedAt) && !now.Before(at) {
			return reminder{}, false
		}
	}
	left := about(g.End.Sub(now))
	next := ln("Done already? Press Revoke now.")
	buttons := []button{p.revokeButton(g, "Revoke now")}
	switch x := g.Extension; {
	case canExtend(g):
		next = append(next, say(" More time needed? Press Extend… soon: it needs approval, too."))
		buttons = append(buttons, extendButton(g))
	case x.Pending():
		next = append(next, say(" "+grant.FormatDuration(x.For)+" more is asked for: it still needs "+needs(x.Missing(g.Terms), len(x.Approvals))+", on the card above."))
	default:
		next = append(next, say(" "+grant.FormatDuration(x.For)+" more is approved, and AWS is being told."))
	}
	return reminder{
		to: []span{user(g.Requester)},
		lead: []line{
			ln(bold(g.ID.String()+" on "+cell(g)+" ends in "+left+"."), " At ", until(g), " SingleStore is out and open shells are ended."),
			next,
		},
		short:   ln(bold("It ends in "+left+","), " at ", until(g), ". ", next),
		buttons: buttons,
	}, true
}

func (p *page) remindStillOpen(g grant.Grant, now time.Time) (reminder, bool) {
	if !canRevoke(g, now) {
		return reminder{}, false
	}
	since := about(now.Sub(g.OpenedAt))
	return reminder{
		to: []span{user(g.Requester)},
		lead: []line{
			ln(bold(g.ID.String()+" on "+cell(g)+" is still open,"), " for "+since+" now. It ends by itself at ", until(g), "."),
			ln("Is SingleStore done? Then press Revoke now. Otherwise there is nothing to do."),
		},
		short:   ln(bold("Still open,"), " for "+since+"; it ends by itself at ", until(g), ". Done? Press Revoke now."),
		buttons: []button{p.revokeButton(g, "Revoke now")},
	}, true
}

func (p *page) remindUnused(g grant.Grant, now time.Time) (reminder, bool) {
	live, ended := g.Watch.Count()
	if !canRevoke(g, now) || g.Watch == nil || g.Watch.SessionsAt.IsZero() || live+ended > 0 {
		return reminder{}, false
	}
	r := reminder{
		to: []span{user(g.Requester)},
		lead: []line{
			ln(bold("Nobody has come in yet."), " "+g.ID.String()+" on ", say(cell(g)), " has been open for "+about(now.Sub(g.OpenedAt))+", and AWS shows no session", instanceOf(g), "."),
			ln("Not needed any more? Press Revoke now. Otherwise there is nothing to do; it ends by itself at ", until(g), "."),
		},
		more:    assumedLines("The role was assumed, though, as CloudTrail tells:", g.Watch.Assumed, 5),
		short:   ln(bold("Nobody has come in yet,"), " as far as AWS shows. Not needed any more? Press Revoke now."),
		buttons: []button{p.revokeButton(g, "Revoke now")},
	}
	if g.SentAt.IsZero() {
		r.next = []line{ln("Support has not been told yet, as far as the card says: paste the confirmation into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent there.")}
	}
	return r, true
}

// about is a duration as people say it: to the minute, or to the second under
// two minutes.
func about(d time.Duration) string {
	if d >= 2*time.Minute {
		d = d.Round(time.Minute)
	}
	return grant.FormatDuration(d)
}
