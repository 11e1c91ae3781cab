package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/store"
	"breakglass/store/grant"
)

type showCommand struct {
	Args struct {
		ID string `positional-arg-name:"ID" description:"The grant: BG-7, bg-7 or 7."`
	} `positional-args:"yes" required:"yes"`
	JSON bool `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

// showAnswer is one grant's whole story.
type showAnswer struct {
	At         time.Time `json:"at"`
	BotRunning bool      `json:"bot_running"`
	grantAnswer

	Approvals  []approvalAnswer  `json:"approvals"`
	ReviewedBy grant.UserID      `json:"reviewed_by,omitempty"`
	ReviewedAt time.Time         `json:"reviewed_at,omitzero"`
	Extensions []extensionAnswer `json:"extensions"`
	Checks     []findingAnswer   `json:"checks"`
	Opening    []stepAnswer      `json:"opening"`
	NotOpen    string            `json:"not_open,omitempty"` // why opening has not succeeded
	Access     *accessAnswer     `json:"access,omitempty"`
	Sessions   []sessionAnswer   `json:"sessions"`
	Assumed    []assumedAnswer   `json:"assumed"`
	Closing    []stepAnswer      `json:"closing"`
	Removed    []string          `json:"removed"`
	// StillTrusted are the grants that keep the same principal trusted.
	StillTrusted []string      `json:"still_trusted"`
	Proof        *proofAnswer  `json:"proof,omitempty"`
	Owed         []owedAnswer  `json:"owed"`
	Story        []storyAnswer `json:"story"`
}

type approvalAnswer struct {
	By         grant.UserID `json:"by"`
	At         time.Time    `json:"at"`
	ForSeconds int64        `json:"for_seconds,omitempty"` // what this person agreed to, where it was less
}

type extensionAnswer struct {
	By         grant.UserID     `json:"by"`
	At         time.Time        `json:"at"`
	From       time.Time        `json:"from"`
	To         time.Time        `json:"to"`
	ApprovedBy []approvalAnswer `json:"approved_by"`
}

type findingAnswer struct {
	Check  string      `json:"check"`
	Level  grant.Level `json:"level"`
	Text   string      `json:"text"`
	Remedy string      `json:"remedy,omitempty"`
}

type stepAnswer struct {
	Step  string          `json:"step"`
	State grant.StepState `json:"state"`
	Note  string          `json:"note,omitempty"`
	At    time.Time       `json:"at,omitzero"`
}

type accessAnswer struct {
	RoleARN     string `json:"role_arn"`
	InstanceID  string `json:"instance_id"`
	LogGroup    string `json:"log_group"`
	Statement   string `json:"statement"`
	TrustBefore string `json:"trust_before"` // SHA-256 of the trust policy, hex
	TrustAfter  string `json:"trust_after"`
}

type sessionAnswer struct {
	ID     string    `json:"id"`
	Owner  string    `json:"owner,omitempty"`
	Target string    `json:"target,omitempty"`
	SeenAt time.Time `json:"seen_at,omitzero"`
	GoneAt time.Time `json:"gone_at,omitzero"`
	// Unlogged is what is wrong with its log: none, late (it began late), or never
	// (its kind is never logged); empty: nothing, as far as is known.
	Unlogged string `json:"unlogged,omitempty"`
	// Ended says that closing ended it.
	Ended bool `json:"ended"`
}

type assumedAnswer struct {
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Session string    `json:"session"`
	From    string    `json:"from"`
}

// proofAnswer is what was read back from AWS before the grant counted as closed.
type proofAnswer struct {
	TrustGoneAt time.Time `json:"trust_gone_at,omitzero"`
	// CredentialsBefore: all credentials issued before it are refused.
	CredentialsBefore time.Time `json:"credentials_refused_before,omitzero"`
	SessionsEnded     int       `json:"sessions_ended"`
	Rounds            int       `json:"rounds"`
	Seconds           int64     `json:"seconds"` // from the revoke to the proof
}

type owedAnswer struct {
	What     grant.EffectKind `json:"what"`
	Arg      string           `json:"arg,omitempty"`
	DueAt    time.Time        `json:"due_at"`
	Attempts int              `json:"attempts"`
}

type storyAnswer struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

func (d deskData) show(r *http.Request) (showAnswer, error) {
	word := r.PathValue("id")
	id, ok := grant.ParseID(word)
	if !ok {
		return showAnswer{}, badAsk("%q is not the id of a grant; ids look like BG-7", said(word))
	}
	g, err := d.db.Grant(id)
	if refusal, is := errors.AsType[*grant.Refusal](err); is && refusal.Code == grant.NotFound {
		return showAnswer{}, notThere("there is no grant %s here; `breakglass status` and `breakglass history` list those that there are", id)
	}
	if err != nil {
		return showAnswer{}, err
	}
	owed, err := d.db.Owes(id)
	if err != nil {
		return showAnswer{}, err
	}
	slices.SortStableFunc(owed, func(a, b store.Owed) int { return a.Effect.Due.Compare(b.Effect.Due) })
	a := story(g, time.Now().UTC())
	for _, o := range owed {
		a.Owed = append(a.Owed, owedAnswer{What: o.Effect.Kind, Arg: o.Effect.Arg, DueAt: o.Effect.Due, Attempts: o.Attempt})
	}
	return a, nil
}

// story is everything that is remembered of a grant but what it owes.
func story(g grant.Grant, now time.Time) showAnswer {
	a := showAnswer{
		At: now.Truncate(time.Second), grantAnswer: brief(g, now),
		Approvals: approvals(g.Approvals), Extensions: []extensionAnswer{}, Checks: []findingAnswer{},
		Opening: stepAnswers(g.Opening), Sessions: sessions(g), Assumed: []assumedAnswer{}, Closing: []stepAnswer{},
		Removed: []string{}, StillTrusted: []string{}, Owed: []owedAnswer{}, Story: []storyAnswer{},
	}
	if g.Review != nil {
		a.ReviewedBy, a.ReviewedAt = g.Review.By, g.Review.At
	}
	for _, x := range g.Extensions {
		a.Extensions = append(a.Extensions, extensionAnswer{By: x.By, At: x.At, From: x.From, To: x.To, ApprovedBy: approvals(x.Approvals)})
	}
	if g.Report != nil {
		for _, f := range g.Report.Findings {
			a.Checks = append(a.Checks, findingAnswer(f))
		}
	}
	if g.OpenError != nil {
		a.NotOpen = strings.TrimSpace(g.OpenError.Text + " " + g.OpenError.Remedy)
	}
	if x := g.Access; x != nil {
		a.Access = &accessAnswer{
			RoleARN: x.RoleARN, InstanceID: x.InstanceID, LogGroup: x.LogGroup, Statement: x.Statement,
			TrustBefore: x.TrustBefore, TrustAfter: x.TrustAfter,
		}
	}
	if g.Watch != nil {
		for _, x := range g.Watch.Assumed {
			a.Assumed = append(a.Assumed, assumedAnswer{At: x.At, By: x.By, Session: x.Session, From: x.From})
		}
	}
	if e := g.Ending; e != nil {
		a.Closing = stepAnswers(e.Steps)
		a.Removed = append(a.Removed, e.Removed...)
		for _, id := range e.StillTrusted {
			a.StillTrusted = append(a.StillTrusted, id.String())
		}
		if g.Phase == grant.Closed {
			a.Proof = &proofAnswer{
				TrustGoneAt: e.TrustGoneAt, CredentialsBefore: e.CutOff, SessionsEnded: len(e.Ended),
				Rounds: e.Rounds, Seconds: seconds(max(g.ClosedAt.Sub(e.Since), 0)),
			}
		}
	}
	for _, m := range g.Story {
		a.Story = append(a.Story, storyAnswer{At: m.At, By: m.By.String(), Text: m.Text})
	}
	return a
}

func approvals(list []grant.Approval) []approvalAnswer {
	out := []approvalAnswer{}
	for _, x := range list {
		out = append(out, approvalAnswer{By: x.By, At: x.At, ForSeconds: seconds(x.For)})
	}
	return out
}

func stepAnswers(list []grant.Step) []stepAnswer {
	out := []stepAnswer{}
	for _, s := range list {
		out = append(out, stepAnswer{Step: s.Name, State: s.State, Note: s.Note, At: s.At})
	}
	return out
}

// sessions are those that were seen while it was open, and those that closing
// ended, each once.
func sessions(g grant.Grant) []sessionAnswer {
	out := []sessionAnswer{}
	at := map[string]int{}
	if g.Watch != nil {
		for _, v := range g.Watch.Visits {
			s := sessionAnswer{ID: v.Session.ID, Owner: v.Session.Owner, Target: v.Session.Target, SeenAt: v.Since(), GoneAt: v.Gone}
			switch {
			case v.NeverLogged:
				s.Unlogged = "never"
			case v.Unlogged && !v.LoggedAt.IsZero():
				s.Unlogged = "late"
			case v.Unlogged:
				s.Unlogged = "none"
			}
			at[s.ID] = len(out)
			out = append(out, s)
		}
	}
	if g.Ending != nil {
		for _, x := range g.Ending.Ended {
			i, known := at[x.ID]
			if !known {
				i = len(out)
				out = append(out, sessionAnswer{ID: x.ID, Owner: x.Owner, Target: x.Target, SeenAt: x.Started})
			}
			out[i].Ended = true
		}
	}
	return out
}

// Run is `breakglass show`.
func (s showCommand) Run(env *environment) error {
	id, ok := grant.ParseID(s.Args.ID)
	if !ok {
		return usage("show: %q is not the id of a grant; ids look like BG-7, and `breakglass status` lists them", said(s.Args.ID))
	}
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // nothing was written
	var a showAnswer
	if err := d.get(env.ctx, "/v1/grants/"+id.String(), nil, &a); err != nil {
		return err
	}
	a.BotRunning = d.running
	if s.JSON {
		return printJSON(env, a)
	}
	out := newScreen(env)
	out.grant(a)
	return out.show(env)
}

func (s *screen) grant(a showAnswer) {
	noBot(s, a.BotRunning || a.Phase.Terminal())
	lead := s.styled(a.ID+" · "+title(a.Phase), bold)
	switch {
	case a.Phase == grant.Open:
		lead += " until " + exactly(a.EndsAt) + ", " + a.left(a.At) + " left"
		if *a.LeftSeconds == 0 {
			lead = s.styled(a.ID+" · "+title(a.Phase), bold) + ", but its time is up and it is being ended"
		}
	case !a.EndedAt.IsZero():
		lead += " " + exactly(a.EndedAt)
	}
	s.line("%s · %s", lead, said(string(a.Cell)))
	for _, note := range a.notes() {
		s.line("%s", s.styled(said(title(grant.Phase(note))), yellow))
	}
	s.facts(a)
	s.proof(a)
	s.steps("Opening", a.Opening, a.NotOpen)
	s.steps("Closing", a.Closing, "")
	s.visits(a)
	s.findings(a)
	if len(a.Story) > 0 {
		s.heading("What happened (UTC)")
		var rows [][]cell
		for _, m := range a.Story {
			rows = append(rows, []cell{{text: m.At.UTC().Format(time.DateTime), style: faint}, col(m.By), col(m.Text)})
		}
		s.table("  ", rows)
	}
	if len(a.Owed) > 0 {
		s.heading("What is owed")
		var rows [][]cell
		for _, o := range a.Owed {
			tried := ""
			if o.Attempts > 0 {
				tried = "tried " + count(uint64(o.Attempts), "time", "times")
			}
			rows = append(rows, []cell{{text: exactly(o.DueAt), style: faint}, col(strings.TrimSpace(string(o.What) + " " + o.Arg)), col(tried)})
		}
		s.table("  ", rows)
	}
	s.line("")
	switch a.Phase {
	case grant.Open, grant.Opening:
		s.line("To end it: breakglass revoke %s", a.ID)
	case grant.Requested:
		s.line("To take it back: breakglass revoke %s   To decide: the buttons on its card in Slack", a.ID)
	default:
		s.line("Everything that is open: breakglass status")
	}
}

func (s *screen) facts(a showAnswer) {
	var rows [][]cell
	fact := func(name, format string, args ...any) {
		rows = append(rows, []cell{{text: name, style: faint}, col(fmt.Sprintf(format, args...))})
	}
	if a.Removal {
		fact("Removed", "trust that no grant explained")
	} else {
		fact("Asked for by", "%s at %s, for %s", a.Requester, when(a.RequestedAt), about(time.Duration(a.DurationSeconds)*time.Second))
	}
	for _, x := range a.Approvals {
		less := ""
		if x.ForSeconds > 0 {
			less = ", for " + about(time.Duration(x.ForSeconds)*time.Second)
		}
		fact("Approved by", "%s at %s%s", x.By, when(x.At), less)
	}
	for _, x := range a.Extensions {
		by := make([]string, len(x.ApprovedBy))
		for i, y := range x.ApprovedBy {
			by[i] = string(y.By)
		}
		fact("Extended", "until %s; asked for by %s, approved by %s", when(x.To), x.By, strings.Join(by, ", "))
	}
	if a.ReviewedBy != "" {
		fact("Reviewed by", "%s at %s", a.ReviewedBy, when(a.ReviewedAt))
	}
	if how := a.how(); how != "" && a.Phase == grant.Closing {
		fact("Ending", "%s", how)
	} else if how != "" {
		fact("Ended", "%s", how)
	}
	if !a.Removal {
		fact("Reason", "%s", a.Reason)
		fact("Ticket", "%s", a.Ticket)
	}
	fact("Cell", "%s, account %s, %s", a.Cell, a.Account, a.Region)
	fact("Principal", "%s", a.Principal)
	if x := a.Access; x != nil {
		fact("Role", "%s", x.RoleARN)
		fact("Instance", "%s", x.InstanceID)
		fact("Log group", "%s", x.LogGroup)
		fact("Statement", "%s", x.Statement)
		fact("Trust policy", "SHA-256 before %s, after %s", x.TrustBefore, x.TrustAfter)
	}
	if !a.OpenedAt.IsZero() {
		fact("Opened", "%s", exactly(a.OpenedAt))
	}
	if !a.SupportToldAt.IsZero() {
		fact("Support told", "%s", when(a.SupportToldAt))
	}
	s.line("")
	s.table("  ", rows)
}

// proof is what was read back from AWS.
func (s *screen) proof(a showAnswer) {
	if a.Proof == nil {
		return
	}
	s.heading("Proof, read back from AWS")
	p := a.Proof
	var rows [][]cell
	fact := func(name, format string, args ...any) {
		rows = append(rows, []cell{{text: name, style: green}, col(fmt.Sprintf(format, args...))})
	}
	if !p.TrustGoneAt.IsZero() {
		fact("Trust", "gone since %s", exactly(p.TrustGoneAt))
	}
	if !p.CredentialsBefore.IsZero() {
		fact("Credentials", "all issued before %s are refused", exactly(p.CredentialsBefore))
	}
	if len(a.StillTrusted) == 0 {
		fact("Sessions", "%d ended, none left", p.SessionsEnded)
	} else {
		fact("Still trusted", "the same principal has access under %s", strings.Join(a.StillTrusted, ", "))
	}
	took := about(time.Duration(p.Seconds) * time.Second)
	if a.OpenSeconds > 0 {
		took += "; it had been open for " + about(time.Duration(a.OpenSeconds)*time.Second)
	}
	fact("Taken away in", "%s", took)
	for _, r := range a.Removed {
		fact("Removed", "%s", r)
	}
	s.table("  ", rows)
}

func (s *screen) steps(name string, list []stepAnswer, trouble string) {
	if len(list) == 0 {
		return
	}
	s.heading(name)
	var rows [][]cell
	for _, x := range list {
		st := plainly
		switch x.State {
		case grant.Done:
			st = green
		case grant.Failing:
			st = red
		default:
		}
		rows = append(rows, []cell{col(x.Step), {text: string(x.State), style: st}, col(x.Note)})
	}
	s.table("  ", rows)
	if trouble != "" {
		s.line("  %s", s.styled(said(trouble), red))
	}
}

func (s *screen) visits(a showAnswer) {
	if len(a.Sessions) > 0 {
		s.heading("Sessions")
		rows := [][]cell{header("SESSION", "SINCE", "UNTIL", "LOG", "OWNER")}
		for _, x := range a.Sessions {
			since, until := "-", "live"
			if !x.SeenAt.IsZero() {
				since = exactly(x.SeenAt)
			}
			switch {
			case x.Ended:
				until = "ended by closing"
			case !x.GoneAt.IsZero():
				until = exactly(x.GoneAt)
			case a.Phase.Terminal():
				until = "-"
			}
			rows = append(rows, []cell{col(x.ID), col(since), col(until), {text: x.Unlogged, style: red}, col(x.Owner)})
		}
		s.table("  ", rows)
	}
	if len(a.Assumed) > 0 {
		s.heading("Who assumed the role, as CloudTrail tells")
		var rows [][]cell
		for _, x := range a.Assumed {
			rows = append(rows, []cell{{text: exactly(x.At), style: faint}, col(x.Session), col("from " + x.From), col(x.By)})
		}
		s.table("  ", rows)
	}
}

// findings are the checks that were not simply well.
func (s *screen) findings(a showAnswer) {
	var rows [][]cell
	well := uint64(0)
	for _, f := range a.Checks {
		if f.Level == grant.OK {
			well++
			continue
		}
		rows = append(rows, []cell{{text: string(f.Level), style: yellow}, col(f.Check), col(strings.TrimSpace(f.Text + " " + f.Remedy))})
	}
	if len(a.Checks) == 0 {
		return
	}
	sum := count(well, "check was", "checks were") + " ok"
	if len(rows) > 0 {
		sum += ", " + strconv.Itoa(len(rows)) + " to look at"
	}
	s.heading(sum)
	s.table("  ", rows)
}
