package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Apply answers what the grant is after the event, and what is owed because of
// it. On error the grant is returned as it was and nothing is owed: a *[Refusal]
// for people, a *[Moot] for an event of the bot's own that came too late.
//
// The zero Grant with ID set accepts only [Request] and [Remove].
func (g Grant) Apply(ev Event, now time.Time) (Grant, []Effect, error) {
	now = now.UTC()
	allowed, ok := transitions[g.Phase][ev.Kind()]
	if !ok {
		if err := g.mayAtAll(ev); err != nil {
			return g, nil, err
		}
		return g, nil, g.tooLate(ev)
	}
	next := g.clone()
	effects, err := next.apply(ev, now)
	if err != nil {
		return g, nil, err
	}
	if !slices.Contains(allowed, next.Phase) {
		return g, nil, fmt.Errorf("%s led a grant from %s to %s, which the transition table does not know", ev.Kind(), name(g.Phase), name(next.Phase))
	}
	next.Version++
	return next, effects, nil
}

// mayAtAll answers the refusal for people who may not do this in any phase, so
// that someone without the right learns that, and not the phase.
func (g Grant) mayAtAll(ev Event) error {
	switch e := ev.(type) {
	case Approve:
		return g.mayDecide(e.By, "approve")
	case Deny:
		return g.mayDecide(e.By, "deny")
	case Withdraw:
		return g.mayWithdraw(e.By)
	case Revoke:
		return g.mayRevoke(e.By)
	case MarkSent:
		return g.mayMarkSent(e.By)
	case Sign:
		return g.maySign(e.By)
	case Extend:
		return g.mayExtend(e.By)
	case ApproveExtension:
		return g.mayDecide(e.By, "approve more time for")
	case DenyExtension:
		return g.mayDecide(e.By, "deny more time for")
	default:
		return nil
	}
}

// MayDecide answers the refusal for somebody who may not decide on the grant now,
// for forms that are not worth filling in then.
func (g Grant) MayDecide(by Actor, approve bool) error {
	verb := "deny"
	if approve {
		verb = "approve"
	}
	switch {
	case g.Phase != Requested:
		return g.tooLate(Approve{By: by})
	case approve && g.ApprovedBy(by.User):
		return Refuse(AlreadyApproved, "You have approved %s already; it needs %s, from somebody else. Nothing changed.", g.ID, approvals(g.Missing()))
	default:
		return g.mayDecide(by, verb)
	}
}

func (g Grant) mayDecide(by Actor, verb string) error {
	switch {
	case !by.approves():
		return Refuse(NotAllowed, "Only an approver may %s %s, and you are not one of them. Nothing changed. Ask an approver to look at the card.", verb, g.ID)
	case by.User == g.Requester && verb == "approve":
		return Refuse(OwnRequest, "%s is your own request, so somebody else must approve it. Nothing changed. Ask another approver; to take it back, press Withdraw.", g.ID)
	default:
		return nil
	}
}

func (g Grant) mayWithdraw(by Actor) error {
	if by.Kind != Person || by.User != g.Requester {
		return Refuse(NotAllowed, "Only @%s, who asked for %s, may withdraw it. Nothing changed. An approver may press Deny.", g.Requester, g.ID)
	}
	return nil
}

func (g Grant) mayRevoke(by Actor) error {
	switch {
	case by.Kind == Operator:
	case by.Kind == Person && by.User != "" && (by.User == g.Requester || by.Approver || by.Revoker):
	default:
		return Refuse(NotAllowed, "You may not revoke %s: only @%s who asked for it, the approvers and the revokers may. Nothing changed. Ask one of them now.", g.ID, g.Requester)
	}
	return nil
}

func (g Grant) mayMarkSent(by Actor) error {
	if by.Kind != Person || by.User == "" || (by.User != g.Requester && !by.Approver && !by.Revoker) {
		return Refuse(NotAllowed, "Only @%s who asked for %s, or an approver, may mark the confirmation as sent. Nothing changed. Ask one of them.", g.Requester, g.ID)
	}
	return nil
}

// tooLate says, for people, what the grant's phase means for what they wanted.
func (g Grant) tooLate(ev Event) error {
	if ev.Actor().Kind == Bot {
		return &Moot{Event: string(ev.Kind()), Phase: name(g.Phase)}
	}
	return Refuse(WrongPhase, "%s Nothing changed. %s", g.Standing(), g.instead())
}

// instead says what a person can do about a grant that stands where it does.
func (g Grant) instead() string {
	switch g.Phase {
	case Requested:
		return "Wait until it is open."
	case Opening, Open:
		return fmt.Sprintf("To end it, press Revoke now, or `/breakglass revoke %s`.", g.ID)
	case Closing:
		return "It goes on closing by itself; its card shows each step."
	default:
		return "For new access, request it: `/breakglass grant`."
	}
}

// Standing says in a sentence where the grant stands and who brought it there.
func (g Grant) Standing() string {
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
	switch g.Phase {
	case Requested:
		return fmt.Sprintf("%s is waiting for %s.", g.ID, approvals(g.Missing()))
	case Opening:
		if len(g.Approvals) == 0 {
			return fmt.Sprintf("%s is %s and is opening now.", g.ID, g.grounds())
		}
		return fmt.Sprintf("%s is approved (%s) and is opening now.", g.ID, g.approvers())
	case Open:
		return fmt.Sprintf("%s is open until %s (%s).", g.ID, at(g.End), g.grounds())
	case Closing:
		return fmt.Sprintf("%s is closing already (%s).", g.ID, g.Ending.Why)
	case Closed:
		return fmt.Sprintf("%s is closed since %s (%s).", g.ID, at(g.ClosedAt), g.Ending.Why)
	case Denied:
		return fmt.Sprintf("%s was denied by @%s at %s.", g.ID, g.DecidedBy.User, at(g.DecidedAt))
	case Withdrawn:
		return fmt.Sprintf("%s was withdrawn by %s at %s.", g.ID, mention(g.DecidedBy), at(g.DecidedAt))
	case Lapsed:
		return fmt.Sprintf("%s lapsed at %s because nobody had decided.", g.ID, at(g.DecidedAt))
	default:
		return fmt.Sprintf("%s does not exist yet.", g.ID)
	}
}

// grounds says why it may open.
func (g Grant) grounds() string {
	if len(g.Approvals) == 0 {
		return "an emergency of @" + string(g.Requester)
	}
	return "approved by " + g.approvers()
}

func (g Grant) approvers() string {
	names := make([]string, len(g.Approvals))
	for i, a := range g.Approvals {
		names[i] = "@" + string(a.By)
	}
	return strings.Join(names, ", ")
}

func approvals(n int) string {
	if n == 1 {
		return "1 more approval"
	}
	return fmt.Sprintf("%d more approvals", n)
}

// mention names an actor in a text for people; @U… becomes a Slack mention at
// the edge.
func mention(a Actor) string {
	if a.Kind == Person {
		return "@" + string(a.User)
	}
	return a.String()
}

func (g *Grant) tell(now time.Time, by Actor, format string, args ...any) {
	// A story that somehow never ends must not fill the disk; how it ends must
	// still be told, also when a review is signed after that.
	const longest = 200
	if n := len(g.Story); n >= longest {
		g.Story = append(g.Story[:longest-2], g.Story[n-1])
	}
	g.Story = append(g.Story, Moment{At: now, By: Actor{Kind: by.Kind, User: by.User, Name: by.Name}, Text: fmt.Sprintf(format, args...)})
}

func (g *Grant) apply(ev Event, now time.Time) ([]Effect, error) {
	switch e := ev.(type) {
	case Request:
		return g.request(e, now)
	case Approve:
		return g.approve(e, now)
	case Deny:
		if err := g.mayDecide(e.By, "deny"); err != nil {
			return nil, err
		}
		g.Why = Clean(e.Why, MaxReason)
		g.tell(now, e.By, "denied the request")
		return g.decide(Denied, e.By, now, SayDenied), nil
	case Withdraw:
		if err := g.mayWithdraw(e.By); err != nil {
			return nil, err
		}
		g.tell(now, e.By, "withdrew the request")
		return g.decide(Withdrawn, e.By, now, SayWithdrawn), nil
	case Revoke:
		return g.revoke(e, now)
	case MarkSent:
		return g.markSent(e, now)
	case CheckDone:
		return g.checkDone(e.Report, now), nil
	case StepChanged:
		return g.stepChanged(e, now), nil
	case OpenDelayed:
		g.OpenTries++
		t := e.Trouble
		t.Cause = nil // for the log only
		g.OpenError = &t
		setStep(g.Opening, t.Step, Failing, t.Text, now)
		return []Effect{card(now), {Kind: DoOpen, Due: now.Add(e.Wait)}}, nil
	case OpenFailed:
		t := e.Trouble
		t.Cause = nil // for the log only
		g.OpenError = &t
		setStep(g.Opening, t.Step, Failing, t.Text, now)
		g.tell(now, Self(), "could not open access: %s", t.Text)
		return append(g.close(Self(), "it could not be opened", now), Effect{Kind: DoSay, Arg: SayFailed, Due: now}), nil
	case Replanned:
		return g.replanned(e.Trouble, now), nil
	case Unapproved:
		return g.unapproved(e.Users, now), nil
	case Remove:
		return g.remove(e, now)
	case Sign:
		return g.sign(e, now)
	case Extend:
		return g.extend(e, now)
	case ApproveExtension:
		return g.approveExtension(e, now)
	case DenyExtension:
		return g.denyExtension(e, now)
	case ExtendDone:
		return g.extendDone(e, now), nil
	case ExtendDelayed:
		return g.extendDelayed(e, now), nil
	case ExtendFailed:
		return g.extendFailed(e, now), nil
	case OpenDone:
		return g.openDone(e, now), nil
	case CloseRound:
		return g.closeRound(e.Round, now), nil
	case LapseDue:
		if g.Terms.Undecided <= 0 {
			return nil, nil
		}
		if due := g.Since().Add(g.Terms.Undecided); now.Before(due) {
			return []Effect{{Kind: DoLapse, Due: due}}, nil
		}
		g.tell(now, Self(), "let the request lapse: nobody had decided in %s", FormatDuration(g.Terms.Undecided))
		return g.decide(Lapsed, Self(), now, SayLapsed), nil
	case EndDue:
		return g.endDue(now), nil
	case ReminderDue:
		return g.remindDue(e, now), nil
	case Watched:
		return g.watched(e.Sighting, now), nil
	case CardPosted:
		g.Card = e.Card
		return nil, nil
	default:
		return nil, fmt.Errorf("no rule for the event %T", ev)
	}
}

func card(now time.Time) Effect { return Effect{Kind: DoCard, Due: now} }

func (g *Grant) request(e Request, now time.Time) ([]Effect, error) {
	if e.Emergency && (e.By.Kind != Person || e.By.User == "" || !e.By.Emergency) {
		return nil, Refuse(NotAllowed, "You are not among the people who may open an emergency here. Nothing was opened. Request access and have it approved: `/breakglass grant`.")
	}
	if e.By.Kind != Person || e.By.User == "" || !e.By.Requester && !e.Emergency {
		// Without a person there would be nobody whose approval does not count.
		return nil, Refuse(NotAllowed, "You are not among the people who may ask for access here. Nothing was requested. Ask someone who is.")
	}
	*g = Grant{
		ID: g.ID, Phase: Requested, Token: e.Token,
		Cell: e.Cell, Account: e.Account, Region: e.Region, Principal: e.Principal,
		Ticket: e.Ticket, Reason: e.Reason, Duration: e.Duration, Requester: e.By.User, Terms: e.Terms,
		RequestedAt: now, Stray: e.Stray, Takes: e.Takes,
	}
	if e.Emergency {
		return append(g.emergency(now), g.strayEffects(now)...), nil
	}
	g.tell(now, e.By, "asked for %s", FormatDuration(e.Duration))
	return append(g.ask(now), g.strayEffects(now)...), nil
}

// ask puts the request to the approvers, with a new plan where there is none.
func (g *Grant) ask(now time.Time) []Effect {
	effects := []Effect{card(now)}
	if g.Report == nil {
		effects = append(effects, Effect{Kind: DoCheck, Due: now})
	}
	if d := g.Terms.Undecided; d > 0 {
		effects = append(effects, Effect{Kind: DoLapse, Due: now.Add(d)})
	}
	if d := g.Terms.Reminders.Undecided; d > 0 {
		effects = append(effects, Effect{Kind: DoRemind, Arg: RemindUndecided, Due: now.Add(d)})
	}
	return effects
}

// strayEffects brings the message of the stray that the grant deals with up to
// date.
func (g *Grant) strayEffects(now time.Time) []Effect {
	switch {
	case g.Stray == "":
		return nil
	case g.Phase == Closed:
		// Whether it has gone is for AWS to say.
		return []Effect{{Kind: DoSurvey, Arg: string(g.Cell), Due: now}}
	default:
		return []Effect{{Kind: DoStray, Arg: StrayArg(g.Cell, g.Stray), Due: now}}
	}
}

// checkDone takes in the report. Who approved before it was there has not said
// yes to a redirection of the logs that nobody had seen.
func (g *Grant) checkDone(r Report, now time.Time) []Effect {
	g.Report = &r
	effects := []Effect{card(now)}
	agreed := g.agreed(g.Approvals)
	if g.Phase != Requested || len(agreed) == len(g.Approvals) {
		return effects
	}
	g.keep(agreed)
	g.OpenError = &Trouble{
		Kind: Changed, Step: StepCheck,
		Text:   fmt.Sprintf("Opening would move the session logs of the whole region from %s to %s, and that was not on the card yet when this was approved.", Clean(r.Redirect.From, 200), Clean(r.Redirect.To, 200)),
		Remedy: "Approvers: read the card again and approve it anew, if that shall be.",
	}
	g.tell(now, Self(), "took approvals back that were given before the checks were done")
	return append(effects, Effect{Kind: DoSay, Arg: g.versioned(SayReplanned), Due: now})
}

// versioned makes a name that no other message of the grant has: the version
// that the grant has once the event is applied.
func (g *Grant) versioned(name string) string { return fmt.Sprintf("%s:%d", name, g.Version+1) }

// replanned puts the request to the approvers again, as it was never opened.
// Where an earlier attempt has written something already, that is taken back.
func (g *Grant) replanned(t Trouble, now time.Time) []Effect {
	return g.askAgain(t, nil, "opening would do something else than was approved", now)
}

// unapproved takes back the approvals of people who may not approve any more.
func (g *Grant) unapproved(users []UserID, now time.Time) []Effect {
	kept := slices.DeleteFunc(slices.Clone(g.Approvals), func(a Approval) bool { return slices.Contains(users, a.By) })
	if len(kept) == len(g.Approvals) {
		return nil
	}
	var fallen []UserID
	for _, a := range g.Approvals {
		if slices.Contains(users, a.By) {
			fallen = append(fallen, a.By)
		}
	}
	if len(kept) >= max(g.Terms.Approvals, 1) {
		g.Approvals = kept
		return []Effect{card(now)}
	}
	return g.askAgain(Trouble{
		Kind: Changed, Step: StepCheck,
		Text:   "It was approved by somebody who may not approve any more.",
		Who:    fallen,
		Remedy: "Another approver has to look at the card and approve it.",
	}, kept, "somebody who approved it may not approve any more", now)
}

// askAgain leads an opening back to the approvers, with the approvals that are
// kept.
func (g *Grant) askAgain(t Trouble, kept []Approval, why string, now time.Time) []Effect {
	t.Cause = nil // for the log only
	g.OpenError = &t
	if g.mayHaveWritten(t.Step) {
		setStep(g.Opening, t.Step, Failing, t.Text, now)
		g.tell(now, Self(), "could not open access as approved: %s", t.Text)
		return append(g.close(Self(), "it could not be opened as approved", now), Effect{Kind: DoSay, Arg: SayFailed, Due: now})
	}
	g.tell(now, Self(), "asks again, because %s: %s", why, t.Text)
	effects := append(g.quiet(), Effect{Kind: DoOpen, Cancel: true}, Effect{Kind: DoExpire, Cancel: true})
	if g.Emergency {
		effects = append(effects, Effect{Kind: DoRemind, Arg: RemindReview, Cancel: true})
	}
	g.Phase = Requested
	g.AskedAt = now
	g.DecidedAt = time.Time{}
	g.Opening, g.OpenTries, g.Nudges = nil, 0, 0
	// The report may have come when it was opening already.
	if g.keep(g.agreed(kept)); len(g.Approvals) == 0 {
		// Approvals that stay are for the plan on the card, which then stays, too.
		g.Report = nil
	}
	effects = append(effects, g.ask(now)...)
	return append(effects, Effect{Kind: DoSay, Arg: g.versioned(SayReplanned), Due: now})
}

// mayHaveWritten reports whether the opening may have left something in AWS, when
// the step found named has found that it must not go on: then that is for
// closing. A step that is being done, or has failed, may have written before the
// answer was lost or the bot was killed.
//
// One is excused: the step "logging", while it is being done, when it is the one
// that found it. It says so only before its first write, or when what it wrote
// has been replaced by somebody else, and nothing of what comes after it has
// begun. (What an earlier attempt may have written then still stands is the
// approved logging, which a closing leaves on, too.)
func (g *Grant) mayHaveWritten(found string) bool {
	return g.Touched || slices.ContainsFunc(g.Opening, func(s Step) bool {
		switch {
		case s.Name == StepCheck, s.State == Waiting:
			return false
		default:
			return s.Name != StepLogging || s.State != Running || found != StepLogging
		}
	})
}

// agreed lists those of the approvals that are also for the redirection of the logs
// in the report; all, where there is none.
func (g *Grant) agreed(list []Approval) []Approval {
	yes := g.Report.redirect().Yes()
	return slices.DeleteFunc(slices.Clone(list), func(a Approval) bool { return yes != "" && a.Yes != yes })
}

// keep keeps these approvals and no others. Where nobody's is left, nobody has
// agreed to less than was asked for.
func (g *Grant) keep(kept []Approval) {
	g.Approvals = kept
	if len(kept) == 0 && g.Asked > 0 {
		g.Duration, g.Asked = g.Asked, 0
	}
}

func (g *Grant) approve(e Approve, now time.Time) ([]Effect, error) {
	if err := g.mayDecide(e.By, "approve"); err != nil {
		return nil, err
	}
	if due := g.Since().Add(g.Terms.Undecided); g.Terms.Undecided > 0 && !now.Before(due) {
		return nil, Refuse(WrongPhase, "%s has lapsed: nobody had decided in %s. Nothing changed. Ask @%s to request it again.", g.ID, FormatDuration(g.Terms.Undecided), g.Requester)
	}
	if g.ApprovedBy(e.By.User) {
		return nil, Refuse(AlreadyApproved, "You have approved %s already; it needs %s, from somebody else. Nothing changed.", g.ID, approvals(g.Missing()))
	}
	yes := g.Report.redirect().Yes()
	if yes != "" && e.Yes != yes {
		r := g.Report.Redirect
		return nil, Refuse(AskFirst, "Opening %s moves the session logs of the whole region from %s to %s, for everybody, and that needs a yes of its own. Nothing is approved yet. Press Approve on the card as it is now, and agree to that.", g.ID, Clean(r.From, 200), Clean(r.To, 200))
	}
	less, asked := time.Duration(0), max(g.Asked, g.Duration)
	switch {
	case e.For < 0 || e.For > 0 && e.For < time.Second:
		return nil, Refuse(BadRequest, "The shortest access is 1 s. Nothing changed. Approve %s for longer, or deny it.", g.ID)
	case e.For > asked:
		return nil, Refuse(TooLong, "%s asks for %s, so it cannot be approved for %s. Nothing changed. Approve what was asked for, or less.", g.ID, FormatDuration(asked), FormatDuration(e.For))
	case e.For > 0 && e.For < asked:
		// Whoever agreed to more, before or after, has agreed to less, too.
		less = e.For
		g.Asked, g.Duration = asked, min(g.Duration, e.For)
	}
	g.Approvals = append(g.Approvals, Approval{By: e.By.User, At: now, For: less, Yes: yes})
	g.tell(now, e.By, "approved %s", FormatDuration(g.Duration))
	if g.Missing() > 0 {
		return []Effect{card(now)}, nil
	}
	return g.begin(now), nil
}

// begin begins the opening.
func (g *Grant) begin(now time.Time) []Effect {
	g.Phase = Opening
	g.DecidedAt = now
	g.OpenError = nil
	g.Opening = steps(StepCheck, StepLogging, StepHardStop, StepTrust)
	effects := append(
		g.quiet(),
		card(now),
		Effect{Kind: DoOpen, Due: now},
		// From here on the end is owed, whatever becomes of the opening.
		Effect{Kind: DoExpire, Due: now.Add(OpeningLimit)},
	)
	if g.NeedsReview() {
		effects = append(effects, Effect{Kind: DoRemind, Arg: RemindReview, Due: now.Add(firstReview)})
	}
	return effects
}

// quiet takes back every timer of the phase that is being left.
func (g *Grant) quiet() []Effect {
	out := []Effect{
		{Kind: DoCheck, Cancel: true},
		{Kind: DoLapse, Cancel: true},
		{Kind: DoRemind, Arg: RemindUndecided, Cancel: true},
		{Kind: DoRemind, Arg: RemindUnsent, Cancel: true},
		{Kind: DoRemind, Arg: RemindStillOpen, Cancel: true},
		{Kind: DoRemind, Arg: RemindUnused, Cancel: true},
		{Kind: DoWatch, Cancel: true},
		{Kind: DoExtend, Cancel: true},
	}
	if g.Extension != nil {
		out = append(out, Effect{Kind: DoRemind, Arg: numbered(RemindExtend, g.Extension.N), Cancel: true})
	}
	for _, d := range g.Terms.Reminders.BeforeEnd {
		out = append(out, Effect{Kind: DoRemind, Arg: beforeEnd(d), Cancel: true})
	}
	return out
}

func beforeEnd(d time.Duration) string { return RemindBeforeEnd + ":" + d.String() }

// decide ends a request that was never opened.
func (g *Grant) decide(to Phase, by Actor, now time.Time, say string) []Effect {
	g.Phase = to
	g.DecidedAt = now
	g.DecidedBy = Actor{Kind: by.Kind, User: by.User, Name: by.Name}
	effects := append(g.quiet(), card(now), Effect{Kind: DoSay, Arg: say, Due: now})
	return append(effects, g.strayEffects(now)...)
}

func (g *Grant) revoke(e Revoke, now time.Time) ([]Effect, error) {
	if err := g.mayRevoke(e.By); err != nil {
		return nil, err
	}
	if g.Phase == Requested {
		g.tell(now, e.By, "withdrew the request")
		return g.decide(Withdrawn, e.By, now, SayWithdrawn), nil
	}
	why := "revoked by " + mention(e.By)
	if w := Clean(e.Why, MaxReason); w != "" {
		why += ": " + w
	}
	g.tell(now, e.By, "revoked access")
	return append(g.close(e.By, why, now), Effect{Kind: DoSay, Arg: SayClosing, Due: now}), nil
}

// close begins the closing. Nothing leads out of it but the proof.
func (g *Grant) close(by Actor, why string, now time.Time) []Effect {
	g.Phase = Closing
	g.Ending = &Ending{
		Since: now, By: Actor{Kind: by.Kind, User: by.User, Name: by.Name}, Why: why,
		Steps: steps(StepTrust, StepCredentials, StepSessions, StepProof),
	}
	return append(
		g.quiet(),
		Effect{Kind: DoOpen, Cancel: true},
		Effect{Kind: DoExpire, Cancel: true},
		Effect{Kind: DoClose, Due: now},
		card(now),
	)
}

func (g *Grant) markSent(e MarkSent, now time.Time) ([]Effect, error) {
	if err := g.mayMarkSent(e.By); err != nil {
		return nil, err
	}
	if !g.SentAt.IsZero() {
		return nil, Refuse(WrongPhase, "@%s marked the confirmation of %s as sent already, at %s. Nothing changed, and nothing is left to do.", g.SentBy, g.ID, g.SentAt.Format("15:04 UTC"))
	}
	g.SentAt, g.SentBy = now, e.By.User
	g.tell(now, e.By, "told SingleStore Support")
	return []Effect{card(now), {Kind: DoRemind, Arg: RemindUnsent, Cancel: true}}, nil
}

func setStep(list []Step, name string, state StepState, note string, now time.Time) bool {
	for i := range list {
		if list[i].Name != name {
			continue
		}
		s := Step{Name: name, State: state, Note: note, At: now}
		same := list[i].State == state && list[i].Note == note
		if same {
			return false
		}
		list[i] = s
		return true
	}
	return false
}

func (g *Grant) stepChanged(e StepChanged, now time.Time) []Effect {
	if e.Step == StepTrust {
		g.Touched = true
	}
	if !setStep(g.Opening, e.Step, e.State, e.Note, now) {
		return nil
	}
	return []Effect{card(now)}
}

func (g *Grant) openDone(e OpenDone, now time.Time) []Effect {
	a := e.Access
	a.Writes = nil // the audit log's
	g.Touched = true
	g.Access = &a
	switch {
	case a.End.IsZero() || a.End.After(now.Add(g.Duration)):
		// What was read back is later than what was approved: not ours to keep.
		g.OpenError = &Trouble{Kind: Refused, Step: StepTrust, Text: "The end that stands in AWS is not the approved one.", Remedy: "Look at the role's trust policy for a change that was made meanwhile, then request access again."}
		g.tell(now, Self(), "found an end in AWS that nobody approved, and closes")
		return append(g.close(Self(), "its end in AWS was not the approved one", now), Effect{Kind: DoSay, Arg: SayFailed, Due: now})
	case !a.End.After(now):
		// The bot was away for longer than the access: nobody is told that it is
		// open.
		g.OpenError = &Trouble{Kind: Unknown, Step: StepTrust, Text: "Its time was up before it was seen open.", Remedy: "Request access again, for longer."}
		g.tell(now, Self(), "closes access: its time was up before it was seen open")
		return append(g.close(Self(), "its time was up before it was seen open", now), Effect{Kind: DoSay, Arg: SayFailed, Due: now})
	}
	g.Phase = Open
	g.OpenedAt = now
	g.End = a.End.UTC()
	g.OpenError = nil
	for _, s := range g.Opening {
		if s.State != Done {
			setStep(g.Opening, s.Name, Done, s.Note, now)
		}
	}
	g.tell(now, Self(), "opened access until %s", g.End.Format("2006-01-02 15:04:05 UTC"))
	effects := []Effect{
		{Kind: DoOpen, Cancel: true},
		{Kind: DoExpire, Due: g.End},
		{Kind: DoWatch, Due: now.Add(WatchEvery / 4)},
		card(now),
		{Kind: DoSay, Arg: SayOpened, Due: now},
	}
	return append(effects, g.openReminders(now)...)
}

// openReminders sets the reminders of an open grant that are still to come and
// that the end leaves room for: a later end leaves room for more.
func (g *Grant) openReminders(now time.Time) []Effect {
	var effects []Effect
	at := func(name string, due time.Time) {
		if due.After(now) && due.Before(g.End) {
			effects = append(effects, Effect{Kind: DoRemind, Arg: name, Due: due})
		}
	}
	r := g.Terms.Reminders
	for _, d := range r.BeforeEnd {
		if d > 0 {
			at(beforeEnd(d), g.End.Add(-d))
		}
	}
	if d := r.StillOpen; d > 0 {
		at(RemindStillOpen, now.Add(d-max(now.Sub(g.OpenedAt), 0)%d))
	}
	if d := r.Unused; d > 0 {
		at(RemindUnused, g.OpenedAt.Add(d))
	}
	if d := r.Unsent; d > 0 && g.SentAt.IsZero() {
		at(RemindUnsent, g.OpenedAt.Add(d))
	}
	return effects
}

func (g *Grant) endDue(now time.Time) []Effect {
	if g.Phase == Opening {
		limit := g.DecidedAt.Add(OpeningLimit)
		if now.Before(limit) {
			return []Effect{{Kind: DoExpire, Due: limit}}
		}
		g.tell(now, Self(), "gave up opening after %s", FormatDuration(OpeningLimit))
		if g.OpenError == nil {
			g.OpenError = &Trouble{Kind: Unknown, Step: StepCheck, Text: fmt.Sprintf("AWS did not answer within %s.", FormatDuration(OpeningLimit)), Remedy: "Request access again once AWS answers."}
		}
		return append(g.close(Self(), "it could not be opened within "+FormatDuration(OpeningLimit), now), Effect{Kind: DoSay, Arg: SayFailed, Due: now})
	}
	if now.Before(g.End) {
		return []Effect{{Kind: DoExpire, Due: g.End}}
	}
	g.tell(now, Self(), "closes access: its time is up")
	return g.close(Self(), "its time was up", now)
}

// After the bot was away several reminders are late together. They wait a moment
// for each other, to be said in one message.
const (
	lateAfter = time.Minute
	gather    = 3 * time.Second
)

func (g *Grant) remindDue(e ReminderDue, now time.Time) []Effect {
	effects := g.remind(e.Name, now)
	if !e.Due.IsZero() && now.Sub(e.Due) > lateAfter {
		for i := range effects {
			if effects[i].Kind == DoSay {
				effects[i].Due = now.Add(gather)
			}
		}
	}
	return effects
}

func (g *Grant) remind(name string, now time.Time) []Effect {
	say := func(arg string) Effect { return Effect{Kind: DoSay, Arg: arg, Due: now, Once: true} }
	kind, arg, _ := strings.Cut(name, ":")
	r := g.Terms.Reminders
	switch {
	case kind == RemindUndecided && g.Phase == Requested && r.Undecided > 0:
		g.Nudges++
		effects := []Effect{say(fmt.Sprintf("%s:%d", RemindUndecided, g.Nudges))}
		// Each later one waits twice as long.
		shift := min(g.Nudges, 16)
		wait := r.Undecided << shift
		if at := now.Add(wait); wait>>shift == r.Undecided && (g.Terms.Undecided == 0 || at.Before(g.Since().Add(g.Terms.Undecided))) {
			effects = append(effects, Effect{Kind: DoRemind, Arg: RemindUndecided, Due: at})
		}
		return effects
	case kind == RemindBeforeEnd && g.Phase == Open:
		d, err := time.ParseDuration(arg)
		if err != nil || !now.Before(g.End) {
			return nil
		}
		if at := g.End.Add(-d); now.Before(at) { // the clock was set back
			return []Effect{{Kind: DoRemind, Arg: name, Due: at}}
		}
		return []Effect{say(name)}
	case kind == RemindStillOpen && g.Phase == Open && r.StillOpen > 0 && now.Before(g.End):
		n := int(now.Sub(g.OpenedAt) / r.StillOpen)
		effects := []Effect{say(fmt.Sprintf("%s:%d", RemindStillOpen, n))}
		if at := now.Add(r.StillOpen); at.Before(g.End) {
			effects = append(effects, Effect{Kind: DoRemind, Arg: RemindStillOpen, Due: at})
		}
		return effects
	case kind == RemindReview:
		return g.remindReview(now)
	case kind == RemindExtend && g.Phase == Open:
		return g.remindExtension(arg, now)
	case kind == RemindUnused && g.Phase == Open && r.Unused > 0 && now.Before(g.End):
		return g.remindUnused(now)
	case kind == RemindUnsent && g.Phase == Open && g.SentAt.IsZero() && now.Before(g.End):
		return []Effect{say(RemindUnsent)}
	default:
		return nil
	}
}
