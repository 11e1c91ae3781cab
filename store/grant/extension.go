package grant

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// mostInVain is how many times one person may ask for more time in vain: each question
// calls the approvers, and stands in a story that has no room for ever more of them.
const mostInVain = 10

// Extension is more time that somebody asks for: a new decision about a grant
// that is open. At most one is asked for at a time.
type Extension struct {
	// N counts the extensions that were ever asked for, so that a button of an
	// older one decides nothing.
	N         int           `json:"n"`
	By        UserID        `json:"by"`
	For       time.Duration `json:"for"`
	AskedAt   time.Time     `json:"asked_at"`
	Approvals []Approval    `json:"approvals,omitempty"`
	// DecidedAt is when the last approval came, or the no; zero: it is not decided
	// yet. Until is the end that AWS is being told from the yes on. DeniedBy said
	// the no: an approver, or whoever took the question back.
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	DeniedBy  UserID    `json:"denied_by,omitempty"`
	// Trouble is why AWS could not be told yet.
	Trouble *Trouble `json:"trouble,omitempty"`
	Tries   int      `json:"tries,omitempty"`
}

// Pending reports whether the extension waits for a decision.
func (e *Extension) Pending() bool { return e != nil && e.DecidedAt.IsZero() }

// Doing reports whether AWS is being told of the new end.
func (e *Extension) Doing() bool { return e != nil && !e.Until.IsZero() }

// Missing is how many approvals the extension still needs.
func (e *Extension) Missing(t Terms) int { return max(t.Approvals-len(e.Approvals), 0) }

// Extended is an extension that was carried out.
type Extended struct {
	By        UserID     `json:"by"`
	At        time.Time  `json:"at"`
	From      time.Time  `json:"from"`
	To        time.Time  `json:"to"`
	Approvals []Approval `json:"approvals,omitempty"`
}

func (e *Extension) clone() *Extension {
	if e == nil {
		return nil
	}
	c := *e
	c.Approvals = slices.Clone(e.Approvals)
	return &c
}

// Extend asks for more time. [Policy.Extend] makes it from words.
type Extend struct {
	By  Actor
	For time.Duration
	Max time.Duration // the longest that a grant may still have to go; zero: any
}

// ApproveExtension is an approver's yes to the extension N.
type ApproveExtension struct {
	By Actor
	N  int
}

// DenyExtension is the no to the extension N: an approver's, or that of whoever
// asked for it, which takes the question back.
type DenyExtension struct {
	By Actor
	N  int
}

// ExtendDone says that AWS enforces the later end, as read back.
type ExtendDone struct{ Access Access }

// ExtendDelayed says that an attempt has failed in a way that time may mend.
type ExtendDelayed struct {
	Trouble Trouble
	Wait    time.Duration
}

// ExtendFailed says that the later end cannot be written; the old one stands.
type ExtendFailed struct{ Trouble Trouble }

// Extend checks the words of somebody who asks for more time.
func (p Policy) Extend(by Actor, words string) (Extend, error) {
	d, err := ParseDuration(words)
	switch {
	case err != nil:
		return Extend{}, Refuse(BadRequest, "Duration: %s. Nothing changed. Say how much more, for example `/breakglass extend BG-7 2h`.", Clean(err.Error(), 120))
	case d < time.Second:
		return Extend{}, Refuse(BadRequest, "The shortest extension is 1 s. Nothing changed. Say how much more, for example `/breakglass extend BG-7 2h`.")
	}
	return Extend{By: by, For: d, Max: p.Limits.Max}, nil
}

func (g Grant) mayExtend(by Actor) error {
	if by.Kind != Person || by.User == "" || !by.Requester {
		return Refuse(NotAllowed, "You are not among the people who may ask for access here, nor for more time. Nothing changed. Ask someone who is.")
	}
	return nil
}

func (g *Grant) extend(e Extend, now time.Time) ([]Effect, error) {
	if err := g.mayExtend(e.By); err != nil {
		return nil, err
	}
	switch {
	case !now.Before(g.End):
		return nil, Refuse(WrongPhase, "The time of %s is up, so it cannot be extended. Nothing changed. Request access again: `/breakglass grant`.", g.ID)
	case g.Extension.Pending():
		return nil, Refuse(WrongPhase, "@%s has asked for %s more for %s already, and approvers decide on its card. Nothing changed. Ask again after that.", g.Extension.By, FormatDuration(g.Extension.For), g.ID)
	case g.Extension.Doing():
		return nil, Refuse(WrongPhase, "%s is being extended until %s just now. Nothing changed. Ask again in a minute.", g.ID, g.Extension.Until.Format("15:04 UTC"))
	case g.ExtensionsInVain[e.By.User] >= mostInVain:
		return nil, Refuse(RateLimited, "You have asked for more time for %s %d times, and it was denied or taken back; that is the most. Nothing changed. Somebody else may ask, or request access again: `/breakglass grant`.", g.ID, g.ExtensionsInVain[e.By.User])
	case e.For < time.Second:
		return nil, Refuse(BadRequest, "The shortest extension is 1 s. Nothing changed.")
	}
	left := g.End.Sub(now) + e.For
	if left < e.For { // more than there are nanoseconds for
		left = math.MaxInt64
	}
	if e.Max > 0 && left > e.Max {
		return nil, Refuse(TooLong, "%s would then have %s to go, longer than the %s that is allowed here. Nothing changed. Ask for less, or ask later.", g.ID, FormatDuration(left.Round(time.Second)), FormatDuration(e.Max))
	}
	g.ExtensionsAsked++
	n := g.ExtensionsAsked
	g.Extension = &Extension{N: n, By: e.By.User, For: e.For, AskedAt: now}
	g.tell(now, e.By, "asked for %s more", FormatDuration(e.For))
	effects := []Effect{card(now), {Kind: DoSay, Arg: numbered(SayExtendAsked, n), Due: now}}
	if d := g.Terms.Reminders.Undecided; d > 0 {
		effects = append(effects, Effect{Kind: DoRemind, Arg: numbered(RemindExtend, n), Due: now.Add(d)})
	}
	return effects, nil
}

func numbered(name string, n int) string { return name + ":" + strconv.Itoa(n) }

// question answers the extension that a decision is about, or why there is none.
func (g Grant) question(n int) (*Extension, error) {
	x := g.Extension
	switch {
	case x != nil && x.N == n && x.Pending():
		return x, nil
	case x != nil && x.N == n && x.DeniedBy != "":
		return nil, Refuse(WrongPhase, "More time for %s was denied by @%s at %s already. Nothing changed. To ask again: `/breakglass extend %s 1h`.", g.ID, x.DeniedBy, x.DecidedAt.Format("15:04 UTC"), g.ID)
	default:
		return nil, Refuse(WrongPhase, "That question is decided already: %s Nothing changed. `/breakglass show %s` tells who decided what.", g.Standing(), g.ID)
	}
}

func (g *Grant) approveExtension(e ApproveExtension, now time.Time) ([]Effect, error) {
	if !e.By.approves() {
		return nil, g.mayDecide(e.By, "approve more time for")
	}
	x, err := g.question(e.N)
	switch {
	case err != nil:
		return nil, err
	case e.By.User == x.By || e.By.User == g.Requester:
		return nil, Refuse(OwnRequest, "More time for %s is asked for by you or for your own request, so somebody else must approve it. Nothing changed. Ask another approver.", g.ID)
	case !now.Before(g.End):
		return nil, Refuse(WrongPhase, "The time of %s is up, so it cannot be extended. Nothing changed. Access has to be requested again: `/breakglass grant`.", g.ID)
	case slices.ContainsFunc(x.Approvals, func(a Approval) bool { return a.By == e.By.User }):
		return nil, Refuse(AlreadyApproved, "You have approved more time for %s already; it needs %s, from somebody else. Nothing changed.", g.ID, approvals(x.Missing(g.Terms)))
	}
	x.Approvals = append(x.Approvals, Approval{By: e.By.User, At: now})
	g.tell(now, e.By, "approved %s more", FormatDuration(x.For))
	if x.Missing(g.Terms) > 0 {
		return []Effect{card(now)}, nil
	}
	x.DecidedAt, x.Until = now, g.End.Add(x.For)
	return []Effect{card(now), {Kind: DoExtend, Due: now}, {Kind: DoRemind, Arg: numbered(RemindExtend, x.N), Cancel: true}}, nil
}

func (g *Grant) denyExtension(e DenyExtension, now time.Time) ([]Effect, error) {
	asked := g.Extension != nil && e.By.Kind == Person && e.By.User == g.Extension.By
	if !asked {
		if err := g.mayDecide(e.By, "deny more time for"); err != nil {
			return nil, err
		}
	}
	x, err := g.question(e.N)
	if err != nil {
		return nil, err
	}
	x.DecidedAt, x.DeniedBy = now, e.By.User
	if g.ExtensionsInVain == nil {
		g.ExtensionsInVain = map[UserID]int{}
	}
	g.ExtensionsInVain[x.By]++
	g.tell(now, e.By, "denied more time")
	return []Effect{
		card(now),
		{Kind: DoSay, Arg: numbered(SayExtendDenied, x.N), Due: now},
		{Kind: DoRemind, Arg: numbered(RemindExtend, x.N), Cancel: true},
	}, nil
}

func (g *Grant) extendDone(e ExtendDone, now time.Time) []Effect {
	x, a := g.Extension, e.Access
	a.Writes = nil // the audit log's
	switch {
	case !x.Doing() && !a.End.After(g.End):
		return nil // it is known
	case !x.Doing(), a.End.After(x.Until), !a.End.After(g.End):
		g.tell(now, Self(), "found an end in AWS that nobody approved, and closes")
		return append(g.close(Self(), "its end in AWS was not the approved one", now), Effect{Kind: DoSay, Arg: SayClosing, Due: now})
	}
	g.Extensions = append(g.Extensions, Extended{By: x.By, At: now, From: g.End, To: a.End.UTC(), Approvals: x.Approvals})
	g.Extension, g.Access, g.End = nil, &a, a.End.UTC()
	g.tell(now, Self(), "extended access until %s", g.End.Format("2006-01-02 15:04:05 UTC"))
	effects := []Effect{
		{Kind: DoExtend, Cancel: true},
		{Kind: DoExpire, Due: g.End},
		card(now),
		{Kind: DoSay, Arg: numbered(SayExtended, x.N), Due: now},
	}
	return append(effects, g.openReminders(now)...)
}

func (g *Grant) extendDelayed(e ExtendDelayed, now time.Time) []Effect {
	x := g.Extension
	if !x.Doing() {
		return []Effect{{Kind: DoExtend, Cancel: true}}
	}
	x.Tries++
	t := e.Trouble
	t.Cause = nil // for the log only
	x.Trouble = &t
	return []Effect{card(now), {Kind: DoExtend, Due: now.Add(e.Wait)}}
}

func (g *Grant) extendFailed(e ExtendFailed, now time.Time) []Effect {
	x := g.Extension
	effects := []Effect{{Kind: DoExtend, Cancel: true}, card(now)}
	if !x.Doing() {
		return effects
	}
	t := e.Trouble
	t.Cause = nil // for the log only
	x.Until, x.Trouble = time.Time{}, &t
	g.tell(now, Self(), "could not extend access: %s", t.Text)
	return append(effects, Effect{Kind: DoSay, Arg: g.versioned(SayExtendFailed), Due: now})
}

// remindExtension asks the approvers again, each time after twice as long.
func (g *Grant) remindExtension(arg string, now time.Time) []Effect {
	x, n := g.Extension, 0
	if _, err := fmt.Sscanf(arg, "%d", &n); err != nil || !x.Pending() || x.N != n || !now.Before(g.End) {
		return nil
	}
	name := numbered(RemindExtend, n)
	effects := []Effect{{Kind: DoSay, Arg: name, Due: now, Once: true}}
	// However the clock was set meanwhile, it goes on.
	if at := now.Add(max(now.Sub(x.AskedAt), g.Terms.Reminders.Undecided)); at.After(now) && at.Before(g.End) {
		effects = append(effects, Effect{Kind: DoRemind, Arg: name, Due: at})
	}
	return effects
}
