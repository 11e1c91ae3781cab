package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"breakglass/store/grant"
)

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
	lines := []line{ln(bold("Checks:"), " "+countFindings(r)+", at ", when(r.At))}
	found, left := findings(r, most)
	lines = append(lines, found...)
	if left > 0 {
		lines = append(lines, ln(fmt.Sprintf("and %d more: ", left), code(showCommand(g))))
	}
	if len(r.Blocking()) > 0 && g.Phase == grant.Requested {
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
		reach = ln("SingleStore can then open a shell on ", typedCode(r.InstanceID, 40), inBrackets(r.InstanceName), ".")
	}
	p.more(end, reach)
}

// planInShort is the plan in a line, where the card is not before the reader.
func planInShort(g grant.Grant) line {
	r := g.Report
	if r == nil || r.Statement == "" {
		return ln(bold("What approving does:"), " the checks could not work it out.")
	}
	l := ln(bold("What approving does:"), " SingleStore may assume ", typedCode(r.RoleName, 128))
	if r.InstanceID != "" {
		l = append(l, ln(" and open a shell on ", typedCode(r.InstanceID, 40))...)
	}
	l = append(l, say(", until "+grant.FormatDuration(g.Duration)+" after opening. "))
	switch {
	case r.Redirect != nil:
		l = append(l, ln("The region's session logs move to ", typedCode(r.Redirect.To, 200), ".")...)
	case len(r.Logging) > 0:
		l = append(l, say("Session logging changes for the whole region."))
	default:
		l = append(l, say("Session logging stays as it is: on."))
	}
	return l
}

// inBrackets is a name behind the id that it belongs to.
func inBrackets(name string) span {
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

// trouble is what is wrong and what to do about it.
func (p *page) trouble(name string, t *grant.Trouble) {
	if t == nil {
		return
	}
	p.para(
		troubleLine(name, t),
		fact("What to do", typed(t.Remedy, 2*cardNote)),
	)
}

// troubleLine is what is wrong, and with whom.
func troubleLine(name string, t *grant.Trouble) line {
	if len(t.Who) == 0 {
		return fact(name, typed(t.Text, 2*cardNote))
	}
	return append(ln(bold(name+":"), " ", typed(strings.TrimSuffix(t.Text, "."), 2*cardNote), ": "), append(users(t.Who), say("."))...)
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
