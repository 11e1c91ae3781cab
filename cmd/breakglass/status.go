package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

type statusCommand struct {
	JSON bool `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

// statusAnswer is what has not ended, and trust that no grant explains.
type statusAnswer struct {
	At time.Time `json:"at"`
	// BotRunning says who answered: the running bot, or the database itself.
	BotRunning bool          `json:"bot_running"`
	Grants     []grantAnswer `json:"grants"`
	Cells      []cellAnswer  `json:"cells"`
}

// grantAnswer is one grant in short.
type grantAnswer struct {
	ID              string          `json:"id"`
	Phase           grant.Phase     `json:"phase"`
	Cell            grant.CellName  `json:"cell"`
	Account         grant.AccountID `json:"account"`
	Region          string          `json:"region"`
	Principal       grant.RoleARN   `json:"principal"`
	Requester       grant.UserID    `json:"requester"`
	Ticket          string          `json:"ticket"`
	Reason          string          `json:"reason"`
	DurationSeconds int64           `json:"duration_seconds"`
	RequestedAt     time.Time       `json:"requested_at"`
	ApprovedBy      []grant.UserID  `json:"approved_by"`
	ApprovalsNeeded int             `json:"approvals_needed"` // of all, not how many more
	Emergency       bool            `json:"emergency"`
	ReviewOwed      bool            `json:"review_owed"`
	Removal         bool            `json:"removal"` // takes away trust that no grant explained

	LapsesAt time.Time `json:"lapses_at,omitzero"` // while it is requested

	Step        string    `json:"step,omitempty"`         // of opening or closing, under way or failing
	StepFailing string    `json:"step_failing,omitempty"` // why the step fails
	ClosingAt   time.Time `json:"closing_since,omitzero"`

	OpenedAt         time.Time         `json:"opened_at,omitzero"`
	EndsAt           time.Time         `json:"ends_at,omitzero"` // as AWS enforces it
	LeftSeconds      *int64            `json:"left_seconds,omitempty"`
	SessionsLive     int               `json:"sessions_live"`
	SessionsEnded    int               `json:"sessions_ended"`
	SupportToldAt    time.Time         `json:"support_told_at,omitzero"`
	MoreAskedSeconds int64             `json:"more_asked_seconds,omitempty"`
	Drift            map[string]string `json:"drift,omitempty"` // what is not as it was opened

	EndedAt     time.Time `json:"ended_at,omitzero"`
	EndedBy     string    `json:"ended_by,omitempty"`
	Why         string    `json:"why,omitempty"`
	OpenSeconds int64     `json:"open_seconds,omitempty"` // how long it had been open
}

// cellAnswer is what is known of one cell beside its grants.
type cellAnswer struct {
	Cell     grant.CellName `json:"cell"`
	LookedAt time.Time      `json:"looked_at,omitzero"` // at its role, for the last time
	Blind    string         `json:"blind,omitempty"`    // why its role cannot be looked at
	Strays   []strayAnswer  `json:"strays"`
	Beyond   int            `json:"beyond,omitempty"` // strays that are not listed one by one
}

// strayAnswer is trust that no grant explains.
type strayAnswer struct {
	Principal string    `json:"principal"`
	RoleARN   string    `json:"role_arn"`
	Sid       string    `json:"sid,omitempty"`
	Grant     string    `json:"grant,omitempty"` // that the statement was written for
	EndsAt    time.Time `json:"ends_at,omitzero"`
	SeenAt    time.Time `json:"seen_at"` // for the first time
}

func (d deskData) status(*http.Request) (statusAnswer, error) { return d.statusAt(time.Now().UTC()) }

func (d deskData) statusAt(now time.Time) (statusAnswer, error) {
	live, err := d.db.Live()
	if err != nil {
		return statusAnswer{}, err
	}
	guards, err := d.db.Guards()
	if err != nil {
		return statusAnswer{}, err
	}
	a := statusAnswer{At: now.Truncate(time.Second), Grants: []grantAnswer{}, Cells: []cellAnswer{}}
	order := []grant.Phase{grant.Open, grant.Opening, grant.Closing, grant.Requested}
	slices.SortStableFunc(live, func(a, b grant.Grant) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Phase), slices.Index(order, b.Phase)), a.End.Compare(b.End), cmp.Compare(a.ID, b.ID))
	})
	for _, g := range live {
		a.Grants = append(a.Grants, brief(g, now))
	}
	for _, name := range d.cells {
		if !slices.ContainsFunc(guards, func(g grant.Guard) bool { return g.Cell == name }) {
			guards = append(guards, grant.Guard{Cell: name})
		}
	}
	for _, g := range guards {
		c := cellAnswer{Cell: g.Cell, LookedAt: g.At, Beyond: g.Beyond, Strays: []strayAnswer{}}
		if g.Blind != nil {
			c.Blind = g.Blind.Text
		}
		for _, x := range g.Strays {
			if _, answered := x.Answers(live); answered || !x.Gone.IsZero() || x.Told.IsZero() {
				continue
			}
			s := strayAnswer{Principal: x.Principal, RoleARN: x.RoleARN, Sid: x.Sid, EndsAt: x.End, SeenAt: x.Seen}
			if x.ID != 0 {
				s.Grant = x.ID.String()
			}
			c.Strays = append(c.Strays, s)
		}
		a.Cells = append(a.Cells, c)
	}
	return a, nil
}

// brief is a grant in short, as it stands now.
func brief(g grant.Grant, now time.Time) grantAnswer {
	a := grantAnswer{
		ID: g.ID.String(), Phase: g.Phase, Cell: g.Cell, Account: g.Account, Region: g.Region, Principal: g.Principal,
		Requester: g.Requester, Ticket: g.Ticket, Reason: g.Reason, DurationSeconds: seconds(g.Duration),
		RequestedAt: g.RequestedAt, ApprovedBy: []grant.UserID{}, ApprovalsNeeded: g.Terms.Approvals,
		Emergency: g.Emergency, ReviewOwed: g.NeedsReview(), Removal: g.Removal,
		OpenedAt: g.OpenedAt, EndsAt: g.End, SupportToldAt: g.SentAt,
	}
	for _, x := range g.Approvals {
		a.ApprovedBy = append(a.ApprovedBy, x.By)
	}
	a.SessionsLive, a.SessionsEnded = g.Watch.Count()
	steps := g.Opening
	if g.Ending != nil {
		steps = g.Ending.Steps
		a.ClosingAt, a.Why, a.EndedBy = g.Ending.Since, g.Ending.Why, g.Ending.By.String()
		a.SessionsEnded = max(a.SessionsEnded, len(g.Ending.Ended))
	}
	if g.Phase == grant.Opening || g.Phase == grant.Closing {
		for _, s := range steps {
			if s.State == grant.Running || s.State == grant.Failing {
				a.Step = s.Name
				if s.State == grant.Failing {
					a.StepFailing = s.Note
				}
				break
			}
		}
	}
	switch g.Phase {
	case grant.Requested:
		if g.Terms.Undecided > 0 {
			a.LapsesAt = g.Since().Add(g.Terms.Undecided)
		}
	case grant.Open:
		a.LeftSeconds = new(max(seconds(g.End.Sub(now)), 0))
		if g.Extension.Pending() {
			a.MoreAskedSeconds = seconds(g.Extension.For)
		}
		if g.Watch != nil {
			for name, is := range g.Watch.Drift {
				if a.Drift == nil {
					a.Drift = map[string]string{}
				}
				a.Drift[name] = is.Text
			}
		}
	case grant.Closed:
		a.EndedAt, a.SessionsLive = g.ClosedAt, 0
		if end := g.Ending.TrustGoneAt; !g.OpenedAt.IsZero() && end.After(g.OpenedAt) {
			a.OpenSeconds = seconds(end.Sub(g.OpenedAt))
		}
	case grant.Denied, grant.Withdrawn, grant.Lapsed:
		a.EndedAt, a.EndedBy, a.Why = g.DecidedAt, g.DecidedBy.String(), g.Why
	default:
	}
	return a
}

// Run is `breakglass status`.
func (s statusCommand) Run(env *environment) error {
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // nothing was written
	var a statusAnswer
	if err := d.get(env.ctx, "/v1/status", nil, &a); err != nil {
		return err
	}
	a.BotRunning = d.running
	if s.JSON {
		return printJSON(env, a)
	}
	out := newScreen(env)
	out.status(a)
	return out.show(env)
}

func (s *screen) status(a statusAnswer) {
	noBot(s, a.BotRunning)
	if len(a.Grants) == 0 {
		s.line("Nothing is open, and nothing is waiting.")
	} else {
		rows := [][]cell{header("ID", "PHASE", "CELL", "ENDS", "LEFT", "WHO", "TICKET", "PRINCIPAL")}
		for _, g := range a.Grants {
			rows = append(rows, []cell{
				{text: g.ID, style: bold},
				{text: title(g.Phase), style: phaseStyle(g.Phase)},
				col(string(g.Cell)),
				col(g.ends()), col(g.left(a.At)), col(string(g.Requester)), col(g.Ticket), col(string(g.Principal)),
			})
		}
		s.table("", rows)
		for _, g := range a.Grants {
			for _, note := range g.notes() {
				s.line("%s: %s", g.ID, said(note))
			}
		}
	}
	s.strays(a.Cells)
	s.line("")
	switch {
	case len(a.Grants) == 0:
		s.line("What ended lately: breakglass history")
	case a.Grants[0].Phase == grant.Open || a.Grants[0].Phase == grant.Opening:
		s.line("To end one: breakglass revoke %s   Its whole story: breakglass show %s", a.Grants[0].ID, a.Grants[0].ID)
	default:
		s.line("The whole story of one: breakglass show %s", a.Grants[0].ID)
	}
}

// noBot says that nobody does what is owed.
func noBot(s *screen, running bool) {
	if running {
		return
	}
	s.line("%s", s.styled("No bot is running: this is what the database says.", yellow))
	s.line("AWS ends what is open at its own time, but nothing is closed and proven until `breakglass run` is started.\n")
}

func header(names ...string) []cell {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i] = cell{text: n, style: faint}
	}
	return row
}

func title(p grant.Phase) string {
	if p == "" {
		return ""
	}
	return strings.ToUpper(string(p[:1])) + string(p[1:])
}

func phaseStyle(p grant.Phase) style {
	switch p {
	case grant.Open:
		return yellow
	case grant.Opening, grant.Closing:
		return red
	case grant.Closed:
		return green
	default:
		return plainly
	}
}

// ends is when it ends by itself.
func (a grantAnswer) ends() string {
	switch {
	case a.Phase == grant.Open:
		return when(a.EndsAt)
	case a.Phase == grant.Requested && !a.LapsesAt.IsZero():
		return "lapses " + when(a.LapsesAt)
	default:
		return "-"
	}
}

// left is how long is left, or how long it has been at it.
func (a grantAnswer) left(now time.Time) string {
	switch {
	case a.LeftSeconds != nil && *a.LeftSeconds == 0:
		return "time is up"
	case a.LeftSeconds != nil:
		return about(time.Duration(*a.LeftSeconds) * time.Second)
	case a.Phase == grant.Requested && !a.LapsesAt.IsZero():
		return about(max(a.LapsesAt.Sub(now), 0))
	case a.Phase == grant.Closing:
		return "for " + about(max(now.Sub(a.ClosingAt), 0))
	default:
		return "-"
	}
}

// how says how it ended, or is ending; empty: it does not.
func (a grantAnswer) how() string {
	why := a.Why
	switch a.Phase {
	case grant.Closing, grant.Closed:
		if by, revoked := strings.CutPrefix(why, "revoked by @"); revoked {
			return "revoked by " + by // as people are named here
		}
		return why
	case grant.Denied, grant.Withdrawn:
		return strings.TrimSuffix(string(a.Phase)+" by "+a.EndedBy+": "+why, ": ")
	case grant.Lapsed:
		return "nobody had decided"
	default:
		return ""
	}
}

// notes are what should not be overlooked, a sentence each.
func (a grantAnswer) notes() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	duration := about(time.Duration(a.DurationSeconds) * time.Second)
	switch a.Phase {
	case grant.Requested:
		add("asked for %s; %d of %d approvals", duration, len(a.ApprovedBy), a.ApprovalsNeeded)
	case grant.Opening:
		add("for %s, counted from when it is open", duration)
	case grant.Open:
		if a.SessionsLive > 0 {
			add("%s open", count(uint64(a.SessionsLive), "shell is", "shells are"))
		}
		if a.SupportToldAt.IsZero() {
			add("Support has not been told yet")
		}
	default:
	}
	if a.Emergency {
		add("an emergency, opened without an approver")
	}
	if a.ReviewOwed {
		add("the review of the emergency is owed")
	}
	if a.MoreAskedSeconds > 0 {
		add("%s more are asked for", about(time.Duration(a.MoreAskedSeconds)*time.Second))
	}
	switch {
	case a.StepFailing != "":
		add("%s is failing and tried again: %s", a.Step, a.StepFailing)
	case a.Step != "":
		add("at the step %s", a.Step)
	}
	names := make([]string, 0, len(a.Drift))
	for name := range a.Drift {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add("not as it was opened: %s", a.Drift[name])
	}
	return out
}

func (s *screen) strays(cells []cellAnswer) {
	for _, x := range cells {
		if x.Blind != "" {
			s.line("\n%s %s", s.styled(said(string(x.Cell))+": it cannot be seen whom its role trusts.", red), said(x.Blind))
		}
		if len(x.Strays) == 0 {
			continue
		}
		s.line("\n%s", s.styled(said(string(x.Cell))+": trust that no grant explains", red))
		rows := [][]cell{header("PRINCIPAL", "STATEMENT", "ENDS", "SEEN", "ROLE")}
		for _, t := range x.Strays {
			end := "never"
			if !t.EndsAt.IsZero() {
				end = when(t.EndsAt)
			}
			sid := t.Sid
			if sid == "" {
				sid = "(no Sid)"
			}
			rows = append(rows, []cell{col(t.Principal), col(sid), col(end), col(when(t.SeenAt)), col(t.RoleARN)})
		}
		s.table("  ", rows)
		if x.Beyond > 0 {
			s.line("  and %d more", x.Beyond)
		}
		s.line("  Its message in Slack has the buttons Adopt and Remove.")
	}
}
