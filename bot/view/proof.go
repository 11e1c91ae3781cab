package view

import (
	"fmt"
	"strings"

	"breakglass/store/grant"
)

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
	if g.Removal {
		trust = ln("✓ ", bold("Trust:"), " ", typedCode(string(g.Principal), 200), " is gone from the trust policy")
	}
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
	if g.OpenedAt.IsZero() && !g.Removal {
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
	if g.Removal {
		return []line{ln(bold("Removed by"), " ", actor(ending(g).By), ", because no grant explains it")}
	}
	lines := []line{ln(bold("Asked for by"), " ", user(g.Requester), " for "+grant.FormatDuration(max(g.Asked, g.Duration))), askedLine(g), approvedAt(g)}
	lines = append(lines, extendedLines(g)...)
	if e := ending(g); e.Why != "" {
		lines = append(lines, ln(bold("Ended:"), " ", why(e, cardReason)))
	}
	return lines
}

// why says why a grant was ended. The core writes "revoked by @U…", and behind
// it what was typed.
func why(e grant.Ending, most int) line {
	for _, name := range []string{"@" + string(e.By.User), e.By.String()} {
		if rest, ok := strings.CutPrefix(e.Why, "revoked by "+name); ok && e.By.Kind != grant.Bot && (rest == "" || rest[0] == ':') {
			return ln("revoked by ", actor(e.By), typed(strings.TrimRight(rest, "."), most))
		}
	}
	if e.Why == "" {
		return ln("for a reason that was not kept")
	}
	return ln(typed(strings.TrimRight(e.Why, "."), most))
}

func ending(g grant.Grant) grant.Ending {
	if g.Ending == nil {
		return grant.Ending{}
	}
	return *g.Ending
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
	return enumerate(names)
}

// enumerate is names as in a sentence: a, b and c.
func enumerate(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
