package grant

import (
	"strings"
	"time"
)

// onRole reports whether the grant is, or may be, on the role with that ARN.
func (g Grant) onRole(arn string) bool {
	switch {
	case g.Access != nil && g.Access.RoleARN != "":
		return strings.EqualFold(g.Access.RoleARN, arn)
	case g.Report != nil && g.Report.RoleARN != "":
		return strings.EqualFold(g.Report.RoleARN, arn)
	default:
		return strings.Contains(arn, ":"+string(g.Account)+":") // it is not known yet
	}
}

// roleARN is the grant's role, as far as it is known.
func (g Grant) roleARN() string {
	switch {
	case g.Access != nil:
		return g.Access.RoleARN
	case g.Report != nil:
		return g.Report.RoleARN
	default:
		return ""
	}
}

// SameRole reports whether two grants are on one role of one account.
func SameRole(a, b Grant) bool {
	if a.Account != b.Account {
		return false
	}
	x, y := a.roleARN(), b.roleARN()
	if x == "" || y == "" {
		return a.Cell == b.Cell
	}
	return strings.EqualFold(x, y)
}

// Cuts lists the grants whose shells and credentials end with this one. AWS
// cannot tell from a request made with the role who assumed it (IAM User Guide,
// "AWS global condition context keys"), so they are the whole role's. Where
// another grant keeps the same principal trusted nobody's are ended.
func (g Grant) Cuts(live []Grant) []Grant {
	var out []Grant
	for _, o := range live {
		if o.ID == g.ID || (o.Phase != Open && o.Phase != Opening) || !SameRole(o, g) {
			continue
		}
		if strings.EqualFold(string(o.Principal), string(g.Principal)) {
			return nil
		}
		out = append(out, o)
	}
	return out
}

func movedOpen(before, after Grant) bool {
	return before.Phase != after.Phase && (before.Phase == Open || after.Phase == Open)
}

// nowCut reports whether the credentials of the whole role have just been cut off.
func nowCut(before, after Grant) bool {
	return after.Ending != nil && !after.Ending.CutOff.IsZero() && (before.Ending == nil || before.Ending.CutOff.IsZero())
}

// ConcernsOthers reports whether a change of one grant may owe something to the
// open grants on its role, and names the role by its ARN; empty: it never came to
// be known, because opening failed early.
func ConcernsOthers(before, after Grant) (roleARN string, ok bool) {
	return after.roleARN(), movedOpen(before, after) || nowCut(before, after)
}

// Bystanders answers what a change of one grant owes to the others on its role:
// their cards say whom revoking would cut, and whose shells were just cut must
// learn why. live are the grants
// that are open.
func Bystanders(before, after Grant, live []Grant, now time.Time) map[ID][]Effect {
	out := map[ID][]Effect{}
	moved, cut := movedOpen(before, after), nowCut(before, after)
	if !moved && !cut {
		return nil
	}
	for _, o := range live {
		if o.ID == after.ID || o.Phase != Open || !SameRole(o, after) {
			continue
		}
		if moved {
			out[o.ID] = append(out[o.ID], card(now))
		}
		if cut {
			out[o.ID] = append(out[o.ID], Effect{Kind: DoSay, Arg: SayCut + ":" + after.ID.String(), Due: now})
		}
	}
	return out
}
