package actions

import (
	"fmt"
	"slices"
	"strings"

	"breakglass/store/grant"
)

// asApproved refuses to open something else than what the approvers were shown:
// what people have decided on is exactly what happens then. What a report left
// open, because it could not be read, was not shown and is not compared; but a
// redirection of the logs that nobody has seen is never agreed to.
//
// An emergency that nobody was asked about has no approvers; it is told to everybody, and reviewed afterwards.
func asApproved(g grant.Grant, r grant.Report, group logGroup) *grant.Trouble {
	if g.Emergency && len(g.Approvals) == 0 {
		return nil
	}
	left := change{r.Logging, r.Redirect}
	if g.Report == nil {
		return loggingAsApproved(g, left, group)
	}
	for _, x := range []struct{ what, was, is string }{
		{"role", g.Report.RoleARN, r.RoleARN},
		{"instance", g.Report.InstanceID, r.InstanceID},
		{"log group", g.Report.LogGroup, r.LogGroup},
		{"trust statement", g.Report.Statement, r.Statement},
	} {
		if x.was != "" && x.was != x.is {
			return notApproved("The %s is %s now, but %s was shown when this was approved. Nothing was opened.", x.what, x.is, x.was)
		}
	}
	return loggingAsApproved(g, left, group)
}

// loggingAsApproved compares what is still to be changed in the preferences with
// what was shown, and with what people have agreed to.
func loggingAsApproved(g grant.Grant, left change, group logGroup) *grant.Trouble {
	if g.Emergency && len(g.Approvals) == 0 {
		return nil
	}
	if t := linesAsApproved(g, left.lines, group); t != nil {
		return t
	}
	return redirectAsApproved(g, left.redirect)
}

// redirectAsApproved refuses to move the logging of a whole region away from where
// it goes today, unless everybody who approved has agreed to exactly that. The
// report does not tell: it may have come after the approval, and Approve may have
// been pressed while AWS hung and the card said nothing of it.
func redirectAsApproved(g grant.Grant, r *grant.Redirect) *grant.Trouble {
	if r == nil {
		return nil
	}
	agreed := func(a grant.Approval) bool { return a.Yes == r.Yes() }
	if len(g.Approvals) > 0 && !slices.ContainsFunc(g.Approvals, func(a grant.Approval) bool { return !agreed(a) }) {
		return nil
	}
	return notApproved("Opening would move the session logs of the whole region from %s to %s, and not everybody who approved this has agreed to exactly that. Nothing was opened.", r.From, r.To)
}

// linesAsApproved compares line by line. That less is left than was shown is
// fine: somebody has done it, or we ourselves have, before a crash.
func linesAsApproved(g grant.Grant, left []string, group logGroup) *grant.Trouble {
	if g.Report == nil || !slices.ContainsFunc(g.Report.Findings, func(f grant.Finding) bool {
		return f.Check == "preferences" && (f.Level == grant.OK || f.Level == grant.Warning)
	}) {
		return nil // no plan for them was shown
	}
	plan := make([]string, len(g.Report.Logging))
	for i, line := range g.Report.Logging {
		plan[i] = fromOff(line)
	}
	const moved = "default version of " + preferencesName
	for _, line := range left {
		switch {
		case slices.Contains(plan, fromOff(line)):
		case len(plan) > 0 && strings.HasPrefix(line, moved) && !strings.HasPrefix(plan[0], moved):
			// A new version was shown. It has been made, by us before a crash, and
			// only has to become the default one, too.
		default:
			return notApproved("Opening would change a logging setting now (%s) that was not shown like this when this was approved (%s). Nothing was opened.", line, listed(g.Report.Logging))
		}
	}
	// What was to be set must still be what is wanted: a log group that has lost
	// its key, say, makes less to do and means less.
	for _, w := range wanted(group) {
		for _, line := range g.Report.Logging {
			if after, ok := strings.CutPrefix(line, w.key+": "); ok {
				if _, after, ok = strings.Cut(after, " → "); ok && after != shown(w.value) {
					return notApproved("Opening would set %s to %s now, but %s was shown when this was approved. Nothing was opened.", w.key, shown(w.value), after)
				}
			}
		}
	}
	return nil
}

// fromOff makes the ways alike in which a setting is off: not set, empty and
// false mean the same to the agent, and the console changes one into another.
func fromOff(line string) string {
	for _, off := range []string{"(not set)", "(empty)", "false"} {
		line = strings.Replace(line, ": "+off+" → ", ": off → ", 1)
	}
	return line
}

func listed(lines []string) string {
	if len(lines) == 0 {
		return "shown: no change"
	}
	return "shown: " + strings.Join(lines, "; ")
}

// notApproved is the trouble on which the bot asks the approvers again by itself.
func notApproved(format string, args ...any) *grant.Trouble {
	return &grant.Trouble{
		Kind: grant.Changed, Step: grant.StepCheck,
		Text:   fmt.Sprintf(format, args...),
		Remedy: "Look at the card: it shows what would happen now, and needs approval again.",
	}
}
