package view

import (
	"fmt"
	"time"

	"breakglass/store/grant"
)

// The action_ids of the buttons of a stray. Their value is the stray's token.
const (
	ActionAdopt  = "adopt"
	ActionRemove = "remove"
)

// Stray is the message about trust that no grant explains, as things are now:
// who is let in, by what, what is being done about it, or what to press. live
// are the grants that have not ended; adoptable says that a grant could be for
// its principal; unlisted is how many more there are that have no message.
func Stray(cell grant.CellName, x grant.Stray, live []grant.Grant, adoptable bool, unlisted int, people People) Message {
	p := &page{rest: "/breakglass status"}
	name := tidy(string(cell), 60)
	by, answered := x.Answers(live)
	switch {
	case !x.Gone.IsZero():
		p.head("Trust that no grant explained has gone · " + name)
		p.lead(ln(bold("Gone since "), when(x.Gone).inBold(), bold("."), " The role does not trust it by that statement any more. There is nothing to press."))
	case answered && by.Phase == grant.Closing:
		p.head("Trust that no grant explains is being removed · " + name)
		p.lead(ln(bold("Being removed"), " under ", bold(by.ID.String()), ", for ", user(by.Requester), ". Its card shows each step, and the proof follows there."))
	case answered && by.Phase == grant.Requested:
		p.head("Trust that no grant explains · " + name)
		p.lead(
			ln(user(by.Requester), " asks to ", bold("adopt"), " it as ", bold(by.ID.String()), ". Approvers decide on that card."),
			ln("Until then it stands as it is, "+endWords(x)+". Remove ends it at once."),
		)
	case answered:
		p.head("Trust is explained now · " + name)
		p.lead(ln(bold(by.ID.String()), " stands behind it now and ends it. There is nothing to press."))
	default:
		p.head("Trust that no grant explains · " + name)
		what := ln(bold("SingleStore can come in, and no grant says so."), " This bot did not open it, or it came back after its end.")
		if x.Idle() {
			what = ln(bold("It lets nobody in any more, but nobody should leave it there."), " This bot did not open it, or it came back after its end.")
		}
		p.lead(append(people.mentions(), what...), endSentence(x))
	}
	p.para(
		fact("Who is trusted", typedCode(x.Principal, 600)),
		ln(bold("Role:"), " ", typedCode(x.RoleName, 128)),
		ln(bold("Statement:"), " ", statementOf(x)),
		ln(bold("First seen:"), " ", when(x.Seen)),
	)
	if unlisted > 0 {
		p.para(ln(bold("And "+more(unlisted)), " in the same trust policy that no grant explains and that are not told one by one. Look at the whole of it in AWS."))
	}
	if !x.Gone.IsZero() || (answered && by.Phase != grant.Requested) {
		return p.message()
	}
	if !answered {
		adopt := ln(bold("Adopt"), " asks the approvers for a grant like any other: with an end, and with proof when it is over.")
		if !adoptable {
			adopt = ln("It cannot be adopted: it is not a SingleStore role that access may be granted to here.")
		}
		p.para(
			ln(bold("Next:"), " find out who put it there, then press one."),
			adopt,
			ln(bold("Remove"), " takes it out of the trust policy, and refuses the role's credentials and ends its shells, like revoking."),
		)
	}
	var buttons []button
	if adoptable && !answered {
		buttons = append(buttons, strayButton(x, ActionAdopt, "Adopt", "", nil))
	}
	p.press(append(buttons, strayButton(x, ActionRemove, "Remove", "danger", &question{
		"Remove it now?",
		clip(tidy(x.Principal, 100)+" loses its trust to "+tidy(x.RoleName, 60)+". Every credential of that role issued until now is refused and its open shells are ended.", maxConfirm),
		"Remove", "Leave it",
	}))...)
	return p.message()
}

// more is so many others.
func more(n int) string {
	if n == 1 {
		return "1 more"
	}
	return fmt.Sprintf("%d more", n)
}

func strayButton(x grant.Stray, action, label, style string, q *question) button {
	return newButton(grant.Grant{Token: x.Token}, action, label, style, q)
}

func statementOf(x grant.Stray) line {
	switch {
	case x.ID != 0:
		return ln(typedCode(x.Sid, 128), ", which was written for "+x.ID.String())
	case x.Sid != "":
		return ln(typedCode(x.Sid, 128), ", which people or other tools wrote")
	default:
		return ln("one without a Sid, which people or other tools wrote")
	}
}

func endWords(x grant.Stray) string {
	if x.End.IsZero() {
		return "without an end"
	}
	return "until " + x.End.UTC().Format("2006-01-02 15:04 UTC")
}

func endSentence(x grant.Stray) line {
	switch {
	case grant.Deleted(x.Principal):
		return ln("It names a role or user that has been deleted.")
	case x.End.IsZero():
		return ln("It has no end.")
	}
	return ln("By its own words it lets nobody in after ", when(x.End), ".")
}

// Blind says that it cannot be seen whom the role of a cell trusts.
func Blind(g grant.Guard) (Message, bool) {
	if g.Blind == nil {
		return Message{}, false
	}
	p := &page{rest: "/breakglass status"}
	p.lead(
		ln(bold("I cannot see whom the role of "+tidy(string(g.Cell), 60)+" trusts.")),
		ln("Until that is mended, trust that nobody granted goes unseen there. What the bot opened itself still ends by itself."),
	)
	p.trouble("What is wrong", g.Blind)
	return p.message(), true
}

// strays lists what no grant explains, for the status.
func (p *page) strays(guards []grant.Guard, live []grant.Grant) {
	const most = 8
	n, beyond := 0, 0
	var lines []line
	for _, g := range guards {
		beyond += g.Beyond
		for _, x := range g.Strays {
			if _, answered := x.Answers(live); answered || !x.Gone.IsZero() || x.Told.IsZero() {
				continue
			}
			if n++; n <= most {
				lines = append(lines, ln("• ", say(tidy(string(g.Cell), 60)), ": ", typedCode(x.Principal, 200), ", "+endWords(x)))
			}
		}
		if g.Blind != nil && g.BlindTold > 0 {
			lines = append(lines, ln("• ", say(tidy(string(g.Cell), 60)), ": it cannot be seen whom the role trusts. ", typed(g.Blind.Text, cardNote)))
		}
	}
	if n > most {
		lines = append(lines, ln("and "+more(n-most)))
	}
	if beyond > 0 {
		lines = append(lines, ln("and "+more(beyond)+" without a message of their own: look at the whole trust policy in AWS."))
	}
	if len(lines) > 0 {
		p.para(append([]line{ln(bold("Trust that no grant explains:"), " its message in the channel has the buttons.")}, lines...)...)
	}
}

// ConfirmRevoke asks before a revoke that would end other people's shells, too: of one
// grant, or of all that are open on a cell.
func ConfirmRevoke(these, cut []grant.Grant, now time.Time) Message {
	const most = 10
	if len(these) == 0 {
		return Choose(nil, now)
	}
	first := these[0]
	action, what, all := ActionRevokeKnowing, first.ID.String(), line(nil)
	label := "Revoke " + what
	if len(these) > 1 {
		list := make([]grant.ID, len(these))
		for i, g := range these {
			list[i] = g.ID
		}
		action, what, label = ActionRevokeCell, ids(list), "Revoke all on "+tidy(string(first.Cell), 50)
	} else {
		all = ln("To end all of them: ", code("/breakglass revoke "+tidy(string(first.Cell), 60)))
	}
	p := &page{rest: "/breakglass status", others: cut}
	p.lead(
		ln(bold("Revoke "+what+", and cut others off?"), " Nothing is revoked yet."),
		ln("These are on the same role, and AWS cannot tell them apart: their shells and credentials end with it. They may come in again until their own end."),
	)
	for i, o := range cut {
		if i == most {
			p.para(ln("and more: ", code("/breakglass status")))
			break
		}
		lines := standing(o, now)
		if n, _ := o.Watch.Count(); n == 1 {
			lines = append(lines, ln("1 shell is open."))
		} else if n > 1 {
			lines = append(lines, ln(fmt.Sprintf("%d shells are open.", n)))
		}
		p.para(lines...)
	}
	p.press(newButton(first, action, label, "danger", nil))
	p.para(all)
	return p.message()
}
