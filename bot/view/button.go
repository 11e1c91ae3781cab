package view

import "breakglass/store/grant"

// The action_ids of the buttons. The value of each is the grant's token, unless
// said otherwise.
const (
	ActionApprove   = "approve"
	ActionDeny      = "deny"
	ActionWithdraw  = "withdraw"
	ActionRevoke    = "revoke"
	ActionMarkSent  = "mark_sent"
	ActionSign      = "sign_review"
	ActionRevokeAll = "revoke_all" // its value says nothing: what is open then is revoked

	// ActionApproveRedirect approves, and says yes to the redirection of the logs
	// whose name stands behind the token and a colon.
	ActionApproveRedirect = "approve_redirect"
	// ActionRevokeKnowing revokes, after it was said whose shells that cuts.
	ActionRevokeKnowing = "revoke_knowing"
	// ActionRevokeCell does so for all that is open then on the cell of the grant.
	ActionRevokeCell = "revoke_cell"

	// These decide on an extension, whose N stands behind the token and a colon.
	ActionApproveExtension = "approve_extension"
	ActionDenyExtension    = "deny_extension"

	// ActionMore is a menu; the value that is chosen is an action_id, a space, and
	// that action's value.
	ActionMore = "more"

	// These open a form: [ApproveLessForm], [DenyForm], [ExtendForm], and, with a
	// value that says nothing, [GrantForm].
	ActionApproveLess = "approve_less"
	ActionDenyWhy     = "deny_why"
	ActionExtend      = "extend"
	ActionRequest     = "request"
)

// decisive are the answers to a request that are given at once. They stand before
// those of the forms, whose labels begin alike.
func decisive(g grant.Grant) []button {
	return []button{approveButton(g), newButton(g, ActionDeny, "Deny", "danger", &question{
		"Deny " + g.ID.String() + "?",
		"The request ends and nothing is opened. It can be asked for again.",
		"Deny", "Go back",
	})}
}

// considered are the answers that need words, in a menu of their own: on a phone
// there is little room, and labels that begin alike are mistaken for each other.
func considered(g grant.Grant) button {
	b := button{Type: "overflow", ActionID: ActionMore}
	if canLess(g) {
		b.Options = append(b.Options, menuItem(g, ActionApproveLess, "Approve for less…"))
	}
	b.Options = append(b.Options, menuItem(g, ActionDenyWhy, "Deny with a reason…"))
	return b
}

// menuItem is one line of a menu. Its value is what a button of its own would say
// by its action_id, and the token.
func menuItem(g grant.Grant, action, label string) option {
	return option{Text: plainText(label), Value: action + " " + g.Token}
}

// labels are what a button or the lines of a menu read.
func (b button) labels() []string {
	if b.Type != "overflow" {
		return []string{b.Text.Text}
	}
	out := make([]string, len(b.Options))
	for i, o := range b.Options {
		out[i] = o.Text.Text
	}
	return out
}

func withdrawButton(g grant.Grant) button { return newButton(g, ActionWithdraw, "Withdraw", "", nil) }

// canLess reports whether there is a shorter access than the one asked for.
func canLess(g grant.Grant) bool { return g.Duration > shortest }

// approveButton is the yes. Where opening moves the logs of the whole region it
// asks, and names both places.
func approveButton(g grant.Grant) button {
	label := "Approve " + grant.FormatDuration(g.Duration)
	if g.Report == nil || g.Report.Redirect == nil {
		return newButton(g, ActionApprove, label, "primary", nil)
	}
	r := g.Report.Redirect
	b := newButton(g, ActionApproveRedirect, label, "primary", &question{
		"Move the session logs, too?",
		"All Session Manager sessions in " + tidy(g.Region, 20) + " are logged to " + clip(tidy(r.From, 512), 80) + ". Opening changes that to " + clip(tidy(r.To, 512), 80) + ", for everybody, and revoking does not change it back.",
		"Approve and move", "Go back",
	})
	b.Value += ":" + r.Yes()
	return b
}

func (p *page) revokeButton(g grant.Grant, label string) button {
	if g.Phase == grant.Opening {
		return newButton(g, ActionRevoke, label, "danger", &question{
			"Revoke " + g.ID.String() + " now?",
			"This stops the opening on " + tidy(string(g.Cell), 40) + " and takes back what has been written so far.",
			"Revoke now", "Let it open",
		})
	}
	if cut := g.Cuts(p.others); len(cut) > 0 {
		list := make([]grant.ID, len(cut))
		for i, o := range cut {
			list[i] = o.ID
		}
		text := "This ends SingleStore's access to " + tidy(string(g.Cell), 40) + " now. It also cuts the shells and credentials of " + ids(list) + " on the same role; they may come in again until their own end."
		return newButton(g, ActionRevokeKnowing, label, "danger", &question{"Revoke " + g.ID.String() + ", and cut others?", text, "Revoke now", "Keep it open"})
	}
	text := "This ends SingleStore's access to " + tidy(string(g.Cell), 40) + " now: its trust goes, every credential of the role issued until now is refused, and open shells are ended. More access needs a new request."
	return newButton(g, ActionRevoke, label, "danger", &question{"Revoke " + g.ID.String() + " now?", text, "Revoke now", "Keep it open"})
}

// question is what a button asks before it does something that cannot be undone.
type question struct{ title, text, yes, no string }

func newButton(g grant.Grant, action, label, style string, q *question) button {
	b := button{Type: "button", ActionID: action, Text: plainText(clip(label, maxButton)), Value: g.Token, Style: style}
	if q != nil {
		b.Confirm = &confirm{
			Title: plainText(clip(q.title, maxTitle)), Text: plainText(clip(q.text, maxConfirm)),
			Confirm: plainText(q.yes), Deny: plainText(q.no),
		}
		if style == "danger" {
			b.Confirm.Style = style
		}
	}
	return b
}

func sentButton(g grant.Grant) button {
	return newButton(g, ActionMarkSent, "Mark as sent", "primary", nil)
}
