package view

import (
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// The people and the times of the story that the goldens tell.
const (
	ana = grant.UserID("U0ANA")
	ben = grant.UserID("U0BEN")
	eva = grant.UserID("U0EVA")
)

var start = time.Date(2026, 11, 23, 14, 36, 0, 0, time.UTC)

func terms() grant.Terms {
	return grant.Terms{
		Approvals: 2, Undecided: time.Hour, AWSEnforced: true, Settle: time.Minute,
		Reminders: grant.Reminders{
			Undecided: 10 * time.Minute, Unsent: 15 * time.Minute,
			BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute}, StillOpen: 2 * time.Hour, Unused: 30 * time.Minute,
		},
	}
}

// tale plays a grant's life through the core, so that every view is of a grant
// that can be.
type tale struct {
	t   *testing.T
	g   grant.Grant
	now time.Time
}

func begin(t *testing.T) *tale {
	t.Helper()
	s := &tale{t: t, g: grant.Grant{ID: 7}, now: start}
	s.event(grant.Request{
		By: grant.Actor{Kind: grant.Person, User: ana, Requester: true}, Token: "TOKENOFBG7",
		Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "stuck node pool",
		Duration: 4 * time.Hour, Terms: terms(),
	})
	return s
}

func (s *tale) event(ev grant.Event) *tale {
	s.t.Helper()
	g, _, err := s.g.Apply(ev, s.now)
	if err != nil {
		s.t.Fatalf("%s: %v", ev.Kind(), err)
	}
	s.g = g
	return s
}

func (s *tale) after(d time.Duration) *tale {
	s.now = s.now.Add(d)
	return s
}

const (
	role      = "ssm-access-from-other-accounts-helios-prod"
	box       = "i-0a1b2c3d4e5f60718"
	logs      = "/aws/ssm/helios-prod/cluster"
	statement = `{"Sid":"BreakglassBG7","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/support"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"<end>"}}}`
)

func report(at time.Time) grant.Report {
	return grant.Report{
		At: at,
		Findings: []grant.Finding{
			{Check: "account", Level: grant.OK, Text: "the account is 444455556666"},
			{Check: "role", Level: grant.OK, Text: "the role is there"},
			{Check: "trust", Level: grant.OK, Text: "the trust policy is readable, 1 other statement"},
			{Check: "instance", Level: grant.OK, Text: "the instance is running"},
			{Check: "agent", Level: grant.OK, Text: "the agent is online"},
			{Check: "log group", Level: grant.Warning, Text: "The log group has no KMS key, so Session Manager cannot insist on encryption.", Remedy: "Give " + logs + " a KMS key when there is time."},
		},
		RoleARN: "arn:aws:iam::444455556666:role/" + role, RoleName: role,
		InstanceID: box, InstanceName: "Privileged access instance", LogGroup: logs,
		Logging:   []string{"cloudWatchLogGroupName: (none) → " + logs, "cloudWatchStreamingEnabled: false → true"},
		Statement: statement,
		Trusted:   []string{"ec2.amazonaws.com (service)"},
	}
}

func (s *tale) checked() *tale {
	s.after(2 * time.Second)
	return s.event(grant.CheckDone{Report: report(s.now)})
}

func (s *tale) blocked() *tale {
	s.after(2 * time.Second)
	r := report(s.now)
	r.Findings[3] = grant.Finding{Check: "instance", Level: grant.Blocks, Text: "No instance named Privileged access instance or Breakglass instance runs in us-east-1.", Remedy: "Start it, or set cells[].instance in the configuration."}
	r.Findings[4] = grant.Finding{Check: "agent", Level: grant.Unread, Text: "Whether the agent is online could not be read.", Remedy: "Allow ssm:DescribeInstanceInformation to the bot."}
	r.InstanceID, r.InstanceName = "", ""
	return s.event(grant.CheckDone{Report: r})
}

func approver(u grant.UserID) grant.Actor {
	return grant.Actor{Kind: grant.Person, User: u, Approver: true}
}

func (s *tale) approved() *tale {
	s.after(90 * time.Second).event(grant.Approve{By: approver(ben)})
	return s.after(30 * time.Second).event(grant.Approve{By: approver(eva)})
}

func (s *tale) step(name string, state grant.StepState, note string) *tale {
	return s.after(time.Second).event(grant.StepChanged{Step: name, State: state, Note: note})
}

func (s *tale) half() *tale {
	s.step(grant.StepCheck, grant.Done, "nothing blocks")
	s.step(grant.StepLogging, grant.Done, "on, to "+logs)
	return s.step(grant.StepHardStop, grant.Running, "")
}

func (s *tale) opened() *tale {
	s.step(grant.StepHardStop, grant.Done, "everything is denied after the end")
	s.step(grant.StepTrust, grant.Running, "")
	s.after(time.Second)
	end := s.now.Add(s.g.Duration - time.Second)
	return s.event(grant.OpenDone{Access: grant.Access{
		At: s.now, End: end, RoleARN: "arn:aws:iam::444455556666:role/" + role, RoleName: role,
		InstanceID: box, LogGroup: logs,
		Statement:   strings.Replace(statement, "<end>", end.Format("2006-01-02T15:04:05Z"), 1),
		TrustBefore: strings.Repeat("a1b2c3d4", 8), TrustAfter: strings.Repeat("e5f60718", 8),
	}})
}

func (s *tale) sent() *tale {
	return s.after(3 * time.Minute).event(grant.MarkSent{By: grant.Actor{Kind: grant.Person, User: ana}})
}

func (s *tale) revoked() *tale {
	return s.after(time.Hour).event(grant.Revoke{By: approver(ben), Why: "Support is done"})
}

func sessions() []grant.Session {
	return []grant.Session{
		{ID: "vendor-jo-0123456789abcdef0", Started: start.Add(20 * time.Minute), Document: "SSM-SessionManagerRunShell"},
		{ID: "vendor-jo-0fedcba9876543210", Started: start.Add(50 * time.Minute)},
	}
}

// The sessions of the story: jo is in and out again, kim stays without a log, lee
// forwards a port.
const (
	jo  = "vendor-jo-0123456789abcdef0"
	kim = "kim@singlestore-0fedcba9876543210"
	lee = "lee-00000000000000001"
)

func session(id, name string, at time.Time) grant.Session {
	return grant.Session{
		ID: id, Owner: "arn:aws:sts::444455556666:assumed-role/" + role + "/" + name, Target: box,
		Document: "SSM-SessionManagerRunShell", Status: "Connected", Started: at,
	}
}

// looked is a look that could read everything and saw what f says.
func (s *tale) looked(f func(*grant.Sighting)) *tale {
	s.after(time.Minute)
	see := grant.Sighting{SessionsRead: true, Read: []string{"statement", "hard stop", "logging", "permission"}}
	if f != nil {
		f(&see)
	}
	return s.event(grant.Watched{Sighting: see})
}

func (s *tale) visited() *tale {
	at := s.now
	assumed := []grant.Assumed{{EventID: "e1", At: at.Add(20 * time.Second), By: "111122223333", Session: "vendor-jo", From: "192.0.2.7"}}
	s.looked(func(x *grant.Sighting) {
		x.Sessions = []grant.Session{session(jo, "vendor-jo", at.Add(30*time.Second))}
	})
	in := []grant.Session{session(kim, "kim@singlestore", s.now), session(lee, "lee", s.now)}
	in[1].Document = "AWS-StartPortForwardingSession"
	s.after(10 * time.Minute)
	s.looked(func(x *grant.Sighting) {
		x.Sessions, x.Unlogged, x.NeverLogged, x.Assumed = in, []string{kim}, []string{lee}, assumed
	})
	return s.looked(func(x *grant.Sighting) {
		x.Sessions, x.Assumed = in[:1], assumed
		x.Drift = map[string]string{"statement": "The statement BreakglassBG7 is no longer in the trust policy, so SingleStore cannot come in."}
	})
}

func (s *tale) round(r grant.Round) *tale {
	return s.after(5 * time.Second).event(grant.CloseRound{Round: r})
}

func (s *tale) firstRound() *tale {
	return s.round(grant.Round{
		Trust:       grant.Outcome{Done: true, Note: "statement BreakglassBG7 is gone"},
		Credentials: grant.Outcome{Done: true}, CutOff: s.now.Add(30 * time.Second),
		Sessions: grant.Outcome{Done: true}, Live: sessions(), Ended: sessions(),
		Removed: []string{"statement BreakglassBG7"},
	})
}

func (s *tale) stuck() *tale {
	denied := &grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "AWS does not let the bot change the trust policy (AccessDenied).", Remedy: "Allow iam:UpdateAssumeRolePolicy to the bot."}
	for range 3 {
		s.round(grant.Round{
			Trust:       grant.Outcome{Trouble: denied},
			Credentials: grant.Outcome{Done: true}, CutOff: s.now.Add(30 * time.Second),
			Sessions: grant.Outcome{Done: true},
		})
	}
	return s
}

func (s *tale) proven() *tale {
	quiet := grant.Round{
		Trust:       grant.Outcome{Done: true, Note: "statement BreakglassBG7 is gone"},
		Credentials: grant.Outcome{Done: true},
		Sessions:    grant.Outcome{Done: true},
	}
	for s.g.Phase == grant.Closing {
		if s.g.Ending.CutOffSince.IsZero() {
			quiet.CutOff = s.now.Add(35 * time.Second)
		}
		s.round(quiet)
	}
	return s
}

func (s *tale) failed() *tale {
	s.step(grant.StepCheck, grant.Done, "nothing blocks")
	s.after(time.Second)
	return s.event(grant.OpenFailed{Trouble: grant.Trouble{
		Kind: grant.Refused, Step: grant.StepLogging,
		Text:   "AWS does not let the bot change the Session Manager preferences (AccessDenied).",
		Remedy: "Allow ssm:UpdateDocument on SSM-SessionManagerRunShell to the bot, then ask again.",
	}})
}

func (s *tale) neverOpened() *tale {
	return s.round(grant.Round{
		Trust:       grant.Outcome{Done: true, Note: "no statement of ours"},
		Credentials: grant.Outcome{Done: true, Skipped: true, Note: "nothing was opened"},
		Sessions:    grant.Outcome{Done: true, Skipped: true, Note: "nothing was opened"},
	})
}

func throttled() *grant.Trouble {
	return &grant.Trouble{Kind: grant.Again, Step: grant.StepHardStop, Text: "AWS is limiting the number of calls (Throttling).", Remedy: "Nothing: it is tried again."}
}

func gone() *grant.Trouble {
	return &grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: "The statement BreakglassBG7 is no longer in the trust policy.", Remedy: "Find out who took it out, then ask for new access."}
}

func replan() grant.Event {
	return grant.Replanned{Trouble: grant.Trouble{
		Kind: grant.Changed, Step: grant.StepCheck, Text: "The instance is i-0fedcba9876543210 now, but " + box + " was shown when this was approved. Nothing was opened.",
		Remedy: "Look at the card: it shows what would happen now, and needs approval again.",
	}}
}

// emergency begins as an emergency, which opens at once.
func emergency(t *testing.T) *tale {
	t.Helper()
	s := &tale{t: t, g: grant.Grant{ID: 7}, now: start}
	s.event(grant.Request{
		By: grant.Actor{Kind: grant.Person, User: ana, Requester: true, Emergency: true}, Token: "TOKENOFBG7",
		Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "database down, no approver awake",
		Duration: 4 * time.Hour, Terms: terms(), Emergency: true,
	})
	return s
}

func (s *tale) signed() *tale {
	return s.after(5 * time.Minute).event(grant.Sign{By: approver(eva)})
}

func (s *tale) moreTime() *tale {
	return s.after(time.Hour).event(grant.Extend{By: grant.Actor{Kind: grant.Person, User: ana, Requester: true}, For: 2 * time.Hour})
}

func (s *tale) moreApproved() *tale {
	n := s.g.Extension.N
	s.after(time.Minute).event(grant.ApproveExtension{By: approver(ben), N: n})
	return s.after(time.Minute).event(grant.ApproveExtension{By: approver(eva), N: n})
}

func (s *tale) moreDone() *tale {
	a := *s.g.Access
	a.At, a.End = s.now, s.g.Extension.Until
	return s.after(2 * time.Second).event(grant.ExtendDone{Access: a})
}

// scene is a grant at a moment that a reader may see.
type scene struct {
	name   string
	tale   *tale
	others []grant.Grant
}

// scenes are grants in every phase and in its more interesting states.
func scenes(t *testing.T) []scene {
	t.Helper()
	single := begin(t)
	single.g.Terms.Approvals = 1
	bot := begin(t)
	bot.g.Terms.AWSEnforced = false
	again := begin(t).checked().approved().half()
	again.after(time.Second).event(grant.OpenDelayed{Wait: 2 * time.Second, Trouble: *throttled()})
	still := begin(t).checked().approved().half().opened().revoked()
	still.round(grant.Round{
		Trust:       grant.Outcome{Done: true, Note: "statement BreakglassBG7 is gone"},
		Credentials: grant.Outcome{Done: true, Skipped: true, Note: "BG-9 keeps them"},
		Sessions:    grant.Outcome{Done: true, Skipped: true, Note: "BG-9 keeps them"},
		Removed:     []string{"statement BreakglassBG7"}, StillTrusted: []grant.ID{9},
	})
	redirect := begin(t).checked()
	redirect.g.Report.Logging = []string{"cloudWatchLogGroupName: /aws/ssm/other/cluster → " + logs}
	redirect.g.Report.Redirect = &grant.Redirect{From: "/aws/ssm/other/cluster", To: logs}
	replanned := begin(t).checked().approved()
	replanned.step(grant.StepCheck, grant.Running, "").event(replan()).checked()
	overlap := begin(t).checked().approved().half().opened()
	beside := overlap.g
	beside.ID, beside.Principal = 9, "arn:aws:iam::111122223333:role/on-call"
	late := begin(t).checked().approved().half().opened().sent().visited()
	late.looked(func(x *grant.Sighting) {
		x.Sessions, x.Logged = []grant.Session{session(kim, "kim@singlestore", late.now)}, []string{kim}
	})
	removal := func() *tale {
		s := &tale{t: t, g: grant.Grant{ID: 12}, now: start}
		x := strays(t).Strays[0]
		return s.event(grant.Remove{
			By: approver(ben), Token: "TOKENOFBG12", Cell: "helios-prod", Account: "444455556666", Region: "us-east-1",
			Stray: x, Terms: terms(),
		})
	}
	round := grant.Round{
		Trust:       grant.Outcome{Done: true, Note: "removed it"},
		Credentials: grant.Outcome{Done: true}, CutOff: start.Add(35 * time.Second),
		Sessions: grant.Outcome{Done: true},
		Removed:  []string{"arn:aws:iam::111122223333:role/support from statement LetThemIn"},
	}
	less := begin(t).checked().after(time.Minute).event(grant.Approve{By: approver(ben), For: 2 * time.Hour})
	lessOpen := begin(t).checked().after(time.Minute).event(grant.Approve{By: approver(ben), For: 2 * time.Hour})
	lessOpen.after(30 * time.Second).event(grant.Approve{By: approver(eva)}).half().opened()
	extended := begin(t).checked().approved().half().opened().sent().looked(nil).moreTime().moreApproved().moreDone()
	tryingAgain := begin(t).checked().approved().half().opened().sent().moreTime().moreApproved()
	tryingAgain.after(time.Second).event(grant.ExtendDelayed{Trouble: *throttled(), Wait: time.Minute})
	failed := begin(t).checked().approved().half().opened().sent().moreTime().moreApproved()
	failed.after(time.Second).event(grant.ExtendFailed{Trouble: *gone()})
	asksAgain := begin(t).checked().approved().half().opened().sent().moreTime().moreApproved().moreDone().moreTime()
	return []scene{
		{"requested_less", less, nil},
		{"open_less", lessOpen, nil},
		{"open_more_asked", begin(t).checked().approved().half().opened().moreTime(), nil},
		{"open_more_half", begin(t).checked().approved().half().opened().moreTime().after(time.Minute).event(grant.ApproveExtension{By: approver(ben), N: 1}), nil},
		{"open_more_approved", begin(t).checked().approved().half().opened().sent().moreTime().moreApproved(), nil},
		{"open_more_trying_again", tryingAgain, nil},
		{"open_more_failed", failed, nil},
		{"open_more_denied", begin(t).checked().approved().half().opened().moreTime().after(time.Minute).event(grant.DenyExtension{By: approver(eva), N: 1}), nil},
		{"open_more_taken_back", begin(t).checked().approved().half().opened().moreTime().after(time.Minute).event(grant.DenyExtension{By: grant.Actor{Kind: grant.Person, User: ana}, N: 1}), nil},
		{"open_extended", extended, nil},
		{"open_extended_more_asked", asksAgain, nil},
		{"closed_extended", begin(t).checked().approved().half().opened().sent().moreTime().moreApproved().moreDone().revoked().firstRound().proven(), nil},
		{"emergency_opening", emergency(t).half(), nil},
		{"emergency_open", emergency(t).half().opened(), nil},
		{"emergency_open_signed", emergency(t).half().opened().signed(), nil},
		{"emergency_closing", emergency(t).half().opened().revoked().firstRound(), nil},
		{"emergency_closed", emergency(t).half().opened().revoked().firstRound().proven(), nil},
		{"emergency_closed_signed", emergency(t).half().opened().revoked().firstRound().proven().signed(), nil},
		{"emergency_closed_never_opened", emergency(t).failed().neverOpened(), nil},
		{"emergency_requested", emergency(t).event(replan()).checked(), nil},
		{"requested_redirect", redirect, nil},
		{"requested_again", replanned, nil},
		{"open_overlap", overlap, []grant.Grant{beside}},
		{"open_logged_late", late, nil},
		{"closing_removal", removal().round(round), nil},
		{"closed_removal", removal().round(round).proven(), nil},
		{"requested", begin(t).checked(), nil},
		{"requested_unchecked", single, nil},
		{"requested_blocked", begin(t).blocked(), nil},
		{"requested_half_approved", begin(t).checked().after(time.Minute).event(grant.Approve{By: approver(ben)}), nil},
		{"requested_bot_enforced", bot.checked(), nil},
		{"opening", begin(t).checked().approved().half(), nil},
		{"opening_trying_again", again, nil},
		{"open", begin(t).checked().approved().half().opened(), nil},
		{"open_sent", begin(t).checked().approved().half().opened().sent(), nil},
		{"open_nobody", begin(t).checked().approved().half().opened().looked(nil), nil},
		{"open_unread", begin(t).checked().approved().half().opened().event(grant.Watched{}), nil},
		{"open_watched", begin(t).checked().approved().half().opened().sent().visited(), nil},
		{"closing", begin(t).checked().approved().half().opened().sent().revoked().firstRound(), nil},
		{"closing_stuck", begin(t).checked().approved().half().opened().sent().revoked().stuck(), nil},
		{"closing_failed", begin(t).checked().approved().failed(), nil},
		{"closed", begin(t).checked().approved().half().opened().sent().revoked().firstRound().proven(), nil},
		{"closed_watched", begin(t).checked().approved().half().opened().sent().visited().revoked().firstRound().proven(), nil},
		{"closed_nobody", begin(t).checked().approved().half().opened().sent().looked(nil).revoked().firstRound().proven(), nil},
		{"closed_never_opened", begin(t).checked().approved().failed().neverOpened(), nil},
		{"closed_still_trusted", still, nil},
		{"denied", begin(t).checked().after(time.Minute).event(grant.Deny{By: approver(eva), Why: "wrong cell, see the ticket"}), nil},
		{"withdrawn", begin(t).checked().after(time.Minute).event(grant.Withdraw{By: grant.Actor{Kind: grant.Person, User: ana}}), nil},
		{"withdrawn_operator", begin(t).checked().after(time.Minute).event(grant.Revoke{By: grant.Actor{Kind: grant.Operator, Name: "root"}}), nil},
		{"lapsed", begin(t).checked().after(time.Hour).event(grant.LapseDue{}), nil},
	}
}

func sceneNamed(t *testing.T, name string) *tale {
	t.Helper()
	for _, s := range scenes(t) {
		if s.name == name {
			return s.tale
		}
	}
	t.Fatalf("no scene %s", name)
	return nil
}
