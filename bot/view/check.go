package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// CellReport is what the checks of one cell found.
type CellReport struct {
	Cell   grant.CellName
	Report grant.Report
}

// Checking says that the answer to check is being looked for.
func Checking(cells []grant.CellName) Message {
	const most = 8
	p := &page{}
	what := fmt.Sprintf("%d cells", len(cells))
	if len(cells) <= most {
		var names []string
		for _, c := range cells {
			names = append(names, tidy(string(c), 60))
		}
		what = enumerate(names)
	}
	p.lead(ln(bold("Looking at "+what+" now."), " Nothing is changed; the answer follows here in some seconds."))
	return p.message()
}

// Check is what the read-only checks found: a count of what is well, and each
// thing that is not, with what to do about it.
func Check(list []CellReport, _ time.Time) Message {
	const most = 20
	p := &page{rest: "/breakglass check CELL"}
	if len(list) == 0 {
		p.lead(ln(bold("There is no cell to look at.")))
		p.para(ln("What there is: ", code("/breakglass status")))
		return p.message()
	}
	var stuck []CellReport
	silent, unsure := 0, false
	for _, c := range list {
		switch {
		case len(c.Report.Blocking()) > 0:
			stuck = append(stuck, c)
		case len(c.Report.Findings) == 0:
			silent++
		}
		unsure = unsure || slices.ContainsFunc(c.Report.Findings, func(f grant.Finding) bool { return f.Level == grant.Unread })
	}
	p.lead(checkLead(list, len(stuck), silent, unsure))
	for i, c := range list {
		if i == most {
			p.para(ln(fmt.Sprintf("and %d more cells. One of them: ", len(list)-i), code("/breakglass check CELL")))
			break
		}
		name, each := "Checks", 12
		if len(list) > 1 {
			name, each = tidy(string(c.Cell), 60), 6
		}
		lines := []line{ln(bold(name+":"), " "+countFindings(&c.Report)+", at ", when(c.Report.At))}
		found, left := findings(&c.Report, each)
		lines = append(lines, found...)
		if left > 0 {
			lines = append(lines, ln(fmt.Sprintf("and %d more: ", left), code("/breakglass check "+tidy(string(c.Cell), 60))))
		}
		p.para(lines...)
	}
	if len(stuck) > 0 {
		p.para(ln("When that is fixed, look again: ", code("/breakglass check "+tidy(string(stuck[0].Cell), 60))))
	} else {
		p.para(ln("To ask for access: ", code("/breakglass grant")))
	}
	return p.message()
}

// checkLead is the answer in a sentence. A cell of which nothing was reported is
// not called ready.
func checkLead(list []CellReport, stuck, silent int, unsure bool) line {
	what, verb := fmt.Sprintf("All %d cells", len(list)), " can be opened"
	if len(list) == 1 {
		what = tidy(string(list[0].Cell), 60)
	}
	some := func(n int) string {
		if len(list) == 1 {
			return what
		}
		return fmt.Sprintf("%d of %d cells", n, len(list))
	}
	switch {
	case stuck > 0:
		return ln(bold(some(stuck)+" cannot be opened now."), " Opening would stop at the check and change nothing.")
	case silent > 0:
		return ln(bold(some(silent)+" could not be looked at."), " Whether access can be opened there is not known.")
	case unsure:
		return ln(bold(what+verb+","), " as far as it could be looked at.")
	default:
		return ln(bold(what+verb+"."), " Nothing stands in the way.")
	}
}

// countFindings is how many findings there are of each level.
func countFindings(r *grant.Report) string {
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
		return "nothing was reported"
	}
	return strings.Join(sum, ", ")
}

// findings is each finding that is not well, the worst first, with its remedy,
// and how many more there are.
func findings(r *grant.Report, most int) (lines []line, left int) {
	for _, x := range []struct {
		level grant.Level
		mark  string
	}{{grant.Blocks, "✗ Must be fixed: "}, {grant.Unread, "? Unknown: "}, {grant.Warning, "! Warning: "}} {
		for _, f := range r.Findings {
			switch {
			case f.Level != x.level:
				continue
			case most == 0:
				left++
				continue
			}
			most--
			lines = append(lines, ln(x.mark, typed(f.Text, cardNote)))
			if f.Remedy != "" {
				lines = append(lines, ln("→ ", typed(f.Remedy, cardNote)))
			}
		}
	}
	return lines, left
}
