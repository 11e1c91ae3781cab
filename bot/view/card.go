package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"breakglass/store/grant"
)

// The action_ids of the buttons. The value of each is the grant's token.
const (
	ActionApprove   = "approve"
	ActionDeny      = "deny"
	ActionWithdraw  = "withdraw"
	ActionRevoke    = "revoke"
	ActionMarkSent  = "mark_sent"
	ActionRevokeAll = "revoke_all" // its value says nothing: what is open then is revoked
)

// How much of a text the card shows; the whole is in Show.
const (
	cardReason = 600
	cardNote   = 220
)

// Card is the grant's one message in the channel, edited in place. It changes
// only with the grant: nothing on it grows old by itself.
func Card(g grant.Grant, _ time.Time) Message {
	p := &page{rest: showCommand(g)}
	p.head(title(g))
	switch g.Phase {
	case grant.Requested:
		p.requested(g)
	case grant.Opening:
		p.opening(g)
	case grant.Open:
		p.open(g)
	case grant.Closing:
		p.closing(g)
	case grant.Closed:
		p.ended(g)
	default:
		p.refusedRequest(g)
	}
	return p.message()
}

func showCommand(g grant.Grant) string { return "/breakglass show " + g.ID.String() }

// title is the id, the phase in words and the cell.
func title(g grant.Grant) string {
	return fmt.Sprintf("%s · %s · %s", g.ID, phaseName(g), cell(g))
}

func cell(g grant.Grant) string { return tidy(string(g.Cell), 60) }

// phaseName is the phase as the contract words it. Headings know no time zone
// but UTC; the day is named where it is not the day of opening.
func phaseName(g grant.Grant) string {
	switch g.Phase {
	case grant.Requested:
		return "Requested"
	case grant.Opening:
		return "Opening"
	case grant.Open:
		layout := "15:04 UTC"
		if g.Duration < 10*time.Minute {
			layout = "15:04:05 UTC"
		}
		if end, start := g.End.UTC(), g.OpenedAt.UTC(); end.YearDay() != start.YearDay() || end.Year() != start.Year() {
			layout = "2 Jan " + layout
		}
		return "Open until " + g.End.UTC().Format(layout)
	case grant.Closing:
		return "Closing"
	case grant.Closed:
		return "Closed"
	case grant.Denied:
		return "Denied"
	case grant.Withdrawn:
		return "Withdrawn"
	case grant.Lapsed:
		return "Lapsed"
	default:
		return "Unknown"
	}
}

func (p *page) requested(g grant.Grant) {
	p.lead(
		ln(user(g.Requester), " asks to let SingleStore Support in for ", bold(grant.FormatDuration(g.Duration)), "."),
		approvalLine(g),
		lapseLine(g),
	)
	p.facts(g, cardReason)
	p.checks(g, 8)
	p.plan(g)
	p.press(
		newButton(g, ActionApprove, "Approve "+grant.FormatDuration(g.Duration), "primary", nil),
		newButton(g, ActionDeny, "Deny", "danger", &question{
			"Deny " + g.ID.String() + "?",
			"The request ends and nothing is opened. It can be asked for again.",
			"Deny", "Go back",
		}),
		newButton(g, ActionWithdraw, "Withdraw", "", nil),
	)
}

// approvalLine counts the approvals so far.
func approvalLine(g grant.Grant) line {
	l := ln(bold(fmt.Sprintf("Approvals: %d of %d", len(g.Approvals), max(g.Terms.Approvals, len(g.Approvals)))))
	if len(g.Approvals) > 0 {
		return append(append(l, say(": ")), approvers(g)...)
	}
	return append(l, say(". The requester's own does not count."))
}

func approvers(g grant.Grant) line {
	ids := make([]grant.UserID, len(g.Approvals))
	for i, a := range g.Approvals {
		ids[i] = a.By
	}
	return users(ids)
}

func lapseLine(g grant.Grant) line {
	if g.Terms.Undecided <= 0 {
		return nil
	}
	return ln("Without a decision it lapses at ", when(g.RequestedAt.Add(g.Terms.Undecided)), ".")
}

// facts is what was asked for and why.
func (p *page) facts(g grant.Grant, reason int) {
	p.para(
		fact("Reason", typed(g.Reason, reason)),
		fact("Ticket", typed(g.Ticket, grant.MaxTicket)),
		fact("Cell", say(cell(g)+" · account "+tidy(string(g.Account), 20)+" · "+tidy(g.Region, 30))),
		fact("SingleStore role", typedCode(string(g.Principal), 600)),
	)
}

func fact(name string, s span) line {
	if s.kind == words && s.text == "" {
		return nil
	}
	return ln(bold(name+":"), " ", s)
}

// checks is what the read-only checks found: a count of what is well, and each
// thing that is not, with what to do.
func (p *page) checks(g grant.Grant, most int) {
	r := g.Report
	if r == nil {
		p.para(ln(bold("Checks are running…"), " Their result appears here."))
		return
	}
	count := map[grant.Level]int{}
	for _, f := range r.Findings {
		count[f.Level]++
	}
	var sum []string
	for _, x := range []struct {
		level grant.Level
		name  string
	}{{grant.OK, "ok"}, {grant.Blocks, "must be fixed"}, {grant.Unread, "unknown"}, {grant.Warning, "warning"}} {
		if n := count[x.level]; n > 0 {
			name := x.name
			if x.level == grant.Warning && n > 1 {
				name = "warnings"
			}
			sum = append(sum, fmt.Sprintf("%d %s", n, name))
		}
	}
	if len(sum) == 0 {
		sum = []string{"nothing was reported"}
	}
	lines := []line{ln(bold("Checks:"), " "+strings.Join(sum, ", ")+", at ", when(r.At))}
	left := len(r.Findings) - count[grant.OK]
	for _, x := range []struct {
		level grant.Level
		mark  string
	}{{grant.Blocks, "✗ Must be fixed: "}, {grant.Unread, "? Unknown: "}, {grant.Warning, "! Warning: "}} {
		for _, f := range r.Findings {
			if f.Level != x.level || most == 0 {
				continue
			}
			most--
			left--
			lines = append(lines, ln(x.mark, typed(f.Text, cardNote)))
			if f.Remedy != "" {
				lines = append(lines, ln("→ ", typed(f.Remedy, cardNote)))
			}
		}
	}
	if left > 0 {
		lines = append(lines, ln(fmt.Sprintf("and %d more: ", left), code(showCommand(g))))
	}
	if count[grant.Blocks] > 0 && g.Phase == grant.Requested {
		lines = append(lines, ln("Until that is fixed, opening stops at the check and changes nothing."))
	}
	p.para(lines...)
}

// plan is what approving does, to the letter.
func (p *page) plan(g grant.Grant) {
	r := g.Report
	switch {
	case r == nil:
		return
	case r.Statement == "":
		p.para(ln(bold("What approving does:"), " the checks could not work it out, see above."))
		return
	}
	lines := []line{ln(bold("What approving does"))}
	if len(r.Logging) == 0 {
		lines = append(lines, ln("1. Session logging stays as it is: on, to ", typedCode(r.LogGroup, 512)))
	} else {
		lines = append(lines, ln("1. Session logging changes for the whole region:"))
		for i, l := range r.Logging {
			if i == 6 {
				lines = append(lines, ln(fmt.Sprintf("   and %d more: ", len(r.Logging)-i), code(showCommand(g))))
				break
			}
			lines = append(lines, ln("   ", typed(l, cardNote)))
		}
	}
	n := 2
	if g.Terms.AWSEnforced {
		lines = append(lines, ln("2. A hard stop in AWS: the role may do nothing after the end."))
		n++
	}
	lines = append(lines, ln(fmt.Sprintf("%d. This statement joins the trust policy of ", n), typedCode(r.RoleName, 128), ":"))
	p.para(lines...)
	p.code(pretty(r.Statement))
	d := grant.FormatDuration(g.Duration)
	var end line
	switch {
	case g.Terms.AWSEnforced && strings.Contains(r.Statement, "<end>"):
		end = ln(code("<end>"), " is "+d+" after opening. AWS itself refuses everything after it.")
	case g.Terms.AWSEnforced:
		end = ln("It ends " + d + " after opening. AWS itself refuses everything after that.")
	default:
		end = ln("It ends " + d + " after opening. The bot ends it: here, AWS is not told the end.")
	}
	var reach line
	if r.InstanceID != "" {
		reach = ln("SingleStore can then open a shell on ", typedCode(r.InstanceID, 40), named(r.InstanceName), ".")
	}
	p.more(end, reach)
}

func named(name string) span {
	if name = tidy(name, 60); name != "" {
		name = " (" + name + ")"
	}
	return say(name)
}

// pretty is a JSON object with a line for each of its fields, which is short
// enough for a phone, or the text as it is. Not a character of it changes but
// white space.
func pretty(s string) string {
	d := json.NewDecoder(strings.NewReader(s))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return s
	}
	var b strings.Builder
	for d.More() {
		if b.Len() > 0 {
			b.WriteString(",")
		}
		from := d.InputOffset()
		if _, err := d.Token(); err != nil {
			return s
		}
		name := strings.TrimLeft(s[from:d.InputOffset()], ", \t\r\n")
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return s
		}
		var value bytes.Buffer
		if json.Compact(&value, raw) != nil {
			return s
		}
		b.WriteString("\n  " + name + ": " + value.String())
	}
	if _, err := d.Token(); err != nil || d.More() || b.Len() == 0 {
		return s
	}
	return "{" + b.String() + "\n}"
}

func (p *page) opening(g grant.Grant) {
	p.lead(
		ln(bold("Opening access"), " for ", user(g.Requester), ": "+grant.FormatDuration(g.Duration)+", counted from when it is open."),
		approvedLine(g),
	)
	p.trouble("What is wrong", g.OpenError)
	p.steps(g, g.Opening)
	p.more(ln("If it is not open by ", clock(g.DecidedAt.Add(grant.OpeningLimit)), ", it is given up and undone."))
	p.press(newButton(g, ActionRevoke, "Revoke now", "danger", &question{
		"Revoke " + g.ID.String() + " now?",
		"This stops the opening on " + tidy(string(g.Cell), 40) + " and takes back what has been written so far.",
		"Revoke now", "Let it open",
	}))
	p.facts(g, cardReason)
}

func approvedLine(g grant.Grant) line {
	if len(g.Approvals) == 0 {
		return nil
	}
	return ln("Approved by ", approvers(g), ".")
}

// trouble is what is wrong and what to do about it.
func (p *page) trouble(name string, t *grant.Trouble) {
	if t == nil {
		return
	}
	p.para(
		fact(name, typed(t.Text, 2*cardNote)),
		fact("What to do", typed(t.Remedy, 2*cardNote)),
	)
}

var stepNames = map[string]string{
	grant.StepCheck:       "Check",
	grant.StepLogging:     "Logging",
	grant.StepHardStop:    "Hard stop",
	grant.StepTrust:       "Trust",
	grant.StepCredentials: "Credentials",
	grant.StepSessions:    "Sessions",
	grant.StepProof:       "Proof",
}

// steps is how far opening or closing has come: a mark and a word for each.
func (p *page) steps(g grant.Grant, list []grant.Step) { p.para(stepLines(g, list)...) }

func stepLines(g grant.Grant, list []grant.Step) []line {
	given := len(list) > 0 && list[0].Name == grant.StepCheck && g.Phase != grant.Opening
	var lines []line
	for i, s := range list {
		if i == 12 {
			break
		}
		name := stepNames[s.Name]
		if name == "" {
			name = tidy(s.Name, 40)
		}
		mark, state := "○", "waiting"
		switch s.State {
		case grant.Waiting:
		case grant.Running:
			mark, state = "▸", "running"
		case grant.Done:
			mark, state = "✓", "done"
		case grant.Failing:
			mark, state = "✗", "trying again"
			if given {
				state = "failed"
			}
		}
		l := ln(mark+" ", bold(name), ": "+state)
		if s.Note != "" {
			l = append(l, say(": "), typed(s.Note, cardNote))
		}
		lines = append(lines, l)
	}
	return lines
}

func (p *page) open(g grant.Grant) {
	p.lead(
		ln(bold("Open until "), until(g).inBold(), " for SingleStore Support."),
		endLine(g),
		ln("Asked for by ", user(g.Requester), approvedBy(g), "."),
		sessionsLine(g),
	)
	p.drift(g)
	next := ln(bold("Next:"), " paste this into ticket ", typed(g.Ticket, grant.MaxTicket), ", then press Mark as sent.")
	buttons := []button{newButton(g, ActionMarkSent, "Mark as sent", "primary", nil)}
	if !g.SentAt.IsZero() {
		next = ln(bold("Support was told"), " by ", user(g.SentBy), " at ", when(g.SentAt), ", with this:")
		buttons = nil
	}
	p.para(next)
	p.code(Confirmation(g))
	p.press(append(buttons, revokeButton(g, "Revoke now"))...)
	p.facts(g, cardReason)
	p.access(g)
}

func approvedBy(g grant.Grant) line {
	if len(g.Approvals) == 0 {
		return nil
	}
	return ln(", approved by ", approvers(g))
}

func endLine(g grant.Grant) line {
	if !g.Terms.AWSEnforced {
		return ln("The bot ends it then; here, AWS is not told the end.")
	}
	return ln("After that AWS itself refuses SingleStore, even without this bot.")
}

// access is what was changed in AWS.
func (p *page) access(g grant.Grant) {
	a := g.Access
	if a == nil {
		return
	}
	p.para(
		ln(bold("In AWS:"), " statement ", code(g.ID.Sid()), " on ", typedCode(a.RoleName, 128)),
		fact("Instance", typedCode(a.InstanceID, 40)),
		fact("Session logs", typedCode(a.LogGroup, 512)),
	)
}

func revokeButton(g grant.Grant, label string) button {
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

// Confirmation is the text for SingleStore Support: complete, and plain enough
// to paste into any ticket.
func Confirmation(g grant.Grant) string {
	role, instance := "", ""
	if g.Report != nil {
		role, instance = g.Report.RoleARN, g.Report.InstanceID
	}
	if a := g.Access; a != nil {
		role, instance = a.RoleARN, a.InstanceID
	}
	var b strings.Builder
	put := func(name, value string) {
		if value = grant.Clean(value, 600); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "Privileged access is granted for ticket %s.\n\n", grant.Clean(g.Ticket, grant.MaxTicket))
	put("BYOC cell", string(g.Cell))
	put("AWS account", string(g.Account))
	put("Region", g.Region)
	put("Role to assume", role)
	put("Role that may assume it", string(g.Principal))
	put("Privileged access instance", instance)
	put("Valid until", g.End.UTC().Format("2006-01-02 15:04:05 UTC"))
	put("Our reference", g.ID.String())
	b.WriteString("\nAWS may need up to a minute to accept the role.\nSessions are logged. Please tell us as soon as you are done.")
	return b.String()
}

func (p *page) closing(g grant.Grant) {
	e := ending(g)
	lines := []line{ln(bold("Access is being taken away"), " since ", when(e.Since), ": ", why(e), ".")}
	switch {
	case e.Failing > 0:
		lines = append(lines, ln("A step is failing. It is tried again until AWS shows that nothing is left."))
	case !g.Touched:
		lines = append(lines, ln("Nothing was opened; AWS is being asked to show that nothing is left."))
	default:
		lines = append(lines, ln("It goes on until AWS shows that nothing is left. There is nothing to press."))
	}
	if e.Failing > 0 && g.Terms.AWSEnforced && !g.End.IsZero() {
		lines = append(lines, ln("Whatever fails here, AWS itself refuses SingleStore after ", until(g), "."))
	}
	p.lead(lines...)
	p.trouble("Why it could not be opened", g.OpenError)
	p.steps(g, e.Steps)
	p.still(e)
	p.facts(g, cardReason)
}

func ending(g grant.Grant) grant.Ending {
	if g.Ending == nil {
		return grant.Ending{}
	}
	return *g.Ending
}

// why says why a grant was ended. The core writes "revoked by @U…", and behind
// it what was typed.
func why(e grant.Ending) line {
	for _, name := range []string{"@" + string(e.By.User), e.By.String()} {
		if rest, ok := strings.CutPrefix(e.Why, "revoked by "+name); ok && e.By.Kind != grant.Bot && (rest == "" || rest[0] == ':') {
			return ln("revoked by ", actor(e.By), typed(strings.TrimRight(rest, "."), cardReason))
		}
	}
	if e.Why == "" {
		return ln("for a reason that was not kept")
	}
	return ln(typed(strings.TrimRight(e.Why, "."), cardReason))
}

// still says that other grants keep the same role trusted.
func (p *page) still(e grant.Ending) {
	if len(e.StillTrusted) == 0 {
		return
	}
	p.para(ln(bold("Still trusted:"), " the same SingleStore role has access under "+ids(e.StillTrusted)+", so its credentials and shells are left alone until that ends."))
}

func ids(list []grant.ID) string {
	const most = 8
	var names []string
	for i, id := range list {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		names = append(names, id.String())
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

func (p *page) ended(g grant.Grant) {
	p.lead(proofLead(g)...)
	p.trouble("Why it could not be opened", g.OpenError)
	p.para(proofLines(g)...)
	p.still(ending(g))
	p.para(whoLines(g)...)
	p.facts(g, cardReason)
}

// proofLead says in a sentence what has been proven.
func proofLead(g grant.Grant) []line {
	e := ending(g)
	switch {
	case !g.Touched:
		return []line{
			ln(bold("Closed "), when(g.ClosedAt).inBold(), bold(": it was never opened.")),
			ln("The role's trust was not touched, and AWS shows that nothing of " + g.ID.String() + " is left."),
		}
	case len(e.StillTrusted) > 0:
		return []line{
			ln(bold("Closed "), when(g.ClosedAt).inBold(), bold(", as far as "+g.ID.String()+" goes.")),
			ln("Its own statement is gone. The SingleStore role is still trusted under " + ids(e.StillTrusted) + "."),
		}
	default:
		return []line{
			ln(bold("Closed "), when(g.ClosedAt).inBold(), bold(", and proven.")),
			ln("AWS shows no trust, no usable credentials and no live shell."),
		}
	}
}

// proofLines is the proof in short, one line for each thing that was read back.
func proofLines(g grant.Grant) []line {
	e := ending(g)
	var lines []line
	if !g.Touched {
		return lines
	}
	trust := ln("✓ ", bold("Trust:"), " statement ", code(g.ID.Sid()), " is gone")
	if !e.TrustGoneAt.IsZero() {
		trust = append(trust, say(" since "), exact(e.TrustGoneAt))
	}
	lines = append(lines, trust)
	if len(e.StillTrusted) == 0 {
		if !e.CutOff.IsZero() {
			lines = append(lines, ln("✓ ", bold("Credentials:"), " all issued before ", exact(e.CutOff), " are refused"))
		} else if s := stepNote(e, grant.StepCredentials); s != "" {
			lines = append(lines, ln("✓ ", bold("Credentials:"), " ", typed(s, cardNote)))
		}
		switch n := len(e.Ended); {
		case n > 0:
			lines = append(lines, ln("✓ ", bold("Sessions:"), fmt.Sprintf(" %d ended, none left", n)))
		case e.Empty > 0:
			lines = append(lines, ln("✓ ", bold("Sessions:"), " none was live"))
		default:
			if s := stepNote(e, grant.StepSessions); s != "" {
				lines = append(lines, ln("✓ ", bold("Sessions:"), " ", typed(s, cardNote)))
			}
		}
	}
	if d := g.ClosedAt.Sub(e.Since); !e.Since.IsZero() && d >= 0 {
		lines = append(lines, ln(bold("Taken away"), " in "+grant.FormatDuration(d)+openFor(g, e)))
	}
	if g.OpenedAt.IsZero() {
		lines = append(lines, ln("Opening did not finish. Trust may have been written, so all of it was taken away all the same."))
	}
	return lines
}

func openFor(g grant.Grant, e grant.Ending) string {
	end := e.TrustGoneAt
	if g.OpenedAt.IsZero() || end.Before(g.OpenedAt) {
		return ""
	}
	return "; it had been open for " + grant.FormatDuration(end.Sub(g.OpenedAt))
}

func stepNote(e grant.Ending, name string) string {
	for _, s := range e.Steps {
		if s.Name == name {
			return s.Note
		}
	}
	return ""
}

// whoLines says who did what.
func whoLines(g grant.Grant) []line {
	lines := []line{ln(bold("Asked for by"), " ", user(g.Requester), " for "+grant.FormatDuration(g.Duration))}
	if len(g.Approvals) > 0 {
		lines = append(lines, ln(bold("Approved by"), " ", approvers(g)))
	}
	if e := ending(g); e.Why != "" {
		lines = append(lines, ln(bold("Ended:"), " ", why(e)))
	}
	return lines
}

// refusedRequest is a request that was denied, withdrawn or lapsed.
func (p *page) refusedRequest(g grant.Grant) {
	var first line
	switch g.Phase {
	case grant.Denied:
		first = ln(bold("Denied"), " by ", actor(g.DecidedBy), " at ", when(g.DecidedAt), ".")
	case grant.Withdrawn:
		first = ln(bold("Withdrawn"), " by ", actor(g.DecidedBy), " at ", when(g.DecidedAt), ".")
	case grant.Lapsed:
		first = ln(bold("Lapsed"), " at ", when(g.DecidedAt), ": nobody had decided in "+grant.FormatDuration(g.Terms.Undecided)+".")
	default:
		first = ln(bold("Unknown."), " This version of the bot does not know where this grant stands.")
	}
	p.lead(
		first,
		ln(user(g.Requester), " had asked for "+grant.FormatDuration(g.Duration)+". Nothing was changed in AWS."),
	)
	p.para(fact("Why", typed(g.Why, cardReason)))
	if len(g.Approvals) > 0 {
		p.para(ln(bold("Approved until then by"), " ", approvers(g)))
	}
	p.facts(g, cardReason)
}
