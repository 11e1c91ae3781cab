package view

import (
	"regexp"
	"strings"

	"breakglass/store/grant"
)

// refs are people ("@U…", as store/grant writes them) and commands in backticks
// in the text of a refusal.
var refs = regexp.MustCompile("@[UW][A-Z0-9]{1,30}\\b|`/breakglass[^`]*`")

// Refused is a refusal for the one who was refused: what is true now and what to
// do next, with the reference that is also in the log. People become mentions
// and commands become code; whatever else is in it stays text.
func Refused(text, ref string) Message {
	p := &page{}
	var lines []line
	for l := range strings.Lines(clip(verbatim(text), maxSection)) {
		lines = append(lines, refusalLine(strings.TrimRight(l, "\n")))
	}
	if len(lines) == 0 {
		lines = []line{ln("That was refused. Nothing changed.")}
	}
	p.lead(lines...)
	p.reference(ref)
	return p.message()
}

func refusalLine(s string) line {
	var out line
	for s != "" {
		at := refs.FindStringIndex(s)
		if at == nil {
			return append(out, say(s))
		}
		if at[0] > 0 {
			out = append(out, say(s[:at[0]]))
		}
		found := s[at[0]:at[1]]
		s = s[at[1]:]
		switch {
		case found[0] != '@':
			out = append(out, code(strings.Trim(found, "`")))
		case strings.HasPrefix(s, "…"):
			out = append(out, say(found)) // cut short it may be somebody else
		default:
			out = append(out, user(grant.UserID(found[1:])))
		}
	}
	return out
}

// Failed says that something went wrong on our side.
func Failed(ref string) Message {
	p := &page{}
	p.lead(
		ln(bold("Something failed on our side."), " Nothing changed as far as I know."),
		ln("Look at ", code("/breakglass status"), ", then try again. If it fails again, give the operator of this bot the reference."),
	)
	p.reference(ref)
	return p.message()
}

func (p *page) reference(ref string) {
	if ref = tidy(ref, 80); ref != "" {
		p.para(ln("Reference: ", code(ref)))
	}
}
