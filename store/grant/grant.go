package grant

import (
	"maps"
	"slices"
	"time"
)

// Actor is who does something, with what they may do as it was found out at
// that moment. The edge that hears the person (Slack, the command line) fills
// it in from configured ids; the core only believes it.
type Actor struct {
	Kind ActorKind `json:"kind"`
	// User is the Slack user of a person; Name is the system user of an operator.
	User UserID `json:"user,omitempty"`
	Name string `json:"name,omitempty"`

	Requester bool `json:"-"`
	Emergency bool `json:"-"`
	Approver  bool `json:"-"`
	Revoker   bool `json:"-"`
}

// ActorKind tells people, operators at the command line and the bot apart.
type ActorKind string

// The kinds of actors.
const (
	Person   ActorKind = "person"
	Operator ActorKind = "operator"
	Bot      ActorKind = "bot"
)

// approves reports whether it is a person whose approvals may count.
func (a Actor) approves() bool { return a.Kind == Person && a.User != "" && a.Approver }

// Self is the bot acting on its own: the clock, the worker.
func Self() Actor { return Actor{Kind: Bot} }

// Terms are the rules that a grant lives by, frozen when it was requested.
type Terms struct {
	Approvals   int           `json:"approvals"`
	Undecided   time.Duration `json:"undecided"`
	Reminders   Reminders     `json:"reminders"`
	AWSEnforced bool          `json:"aws_enforced"`
	Settle      time.Duration `json:"settle"`
}

// Approval is one person's yes.
type Approval struct {
	By UserID    `json:"by"`
	At time.Time `json:"at"`
	// For is how long they agreed to, where that was less; zero: all of it.
	For time.Duration `json:"for,omitempty"`
	// Yes is the [Redirect.Yes] that the person gave with it.
	Yes string `json:"yes,omitempty"`
}

// Grant is one access, from the request to the proof of its end. Times are UTC.
type Grant struct {
	ID      ID    `json:"id"`
	Version int   `json:"version"` // counts the events applied
	Phase   Phase `json:"phase"`
	// Token is the opaque id that the card's buttons carry: random, so that a
	// card of a lost database never acts on another grant of the same number.
	Token string `json:"token"`

	Cell      CellName      `json:"cell"`
	Account   AccountID     `json:"account"`
	Region    string        `json:"region"`
	Principal RoleARN       `json:"principal"`
	Ticket    string        `json:"ticket"`
	Reason    string        `json:"reason"`
	Duration  time.Duration `json:"duration"`
	Requester UserID        `json:"requester"`
	Terms     Terms         `json:"terms"`

	// Stray is the token of the stray that this grant adopts or removes; Takes is
	// the grant whose outlived statement goes with this one's. Removal says that
	// it only ends what no grant explains; then it was never asked for or opened.
	Stray   string `json:"stray,omitempty"`
	Takes   ID     `json:"takes,omitempty"`
	Removal bool   `json:"removal,omitempty"`

	RequestedAt time.Time `json:"requested_at"`
	// Asked is the duration that was asked for, where less was approved; zero:
	// what was asked for was approved.
	Asked time.Duration `json:"asked,omitempty"`
	// Emergency says that it was opened without an approver. It owes a review,
	// which is nil until somebody has signed it.
	Emergency bool    `json:"emergency,omitempty"`
	Review    *Review `json:"review,omitempty"`
	// Reviews counts how often the review has been asked for.
	Reviews int `json:"reviews,omitempty"`
	// Extension is what is asked for now, and Extensions what was carried out.
	Extension  *Extension `json:"extension,omitempty"`
	Extensions []Extended `json:"extensions,omitempty"`
	// ExtensionsAsked counts them, and ExtensionsInVain, of each person, those that
	// were denied or taken back.
	ExtensionsAsked  int            `json:"extensions_asked,omitempty"`
	ExtensionsInVain map[UserID]int `json:"extensions_in_vain,omitempty"`

	// AskedAt is when it was put to the approvers again, because the plan had
	// changed; zero: never.
	AskedAt   time.Time  `json:"asked_at,omitzero"`
	Approvals []Approval `json:"approvals,omitempty"`
	DecidedAt time.Time  `json:"decided_at,omitzero"`
	DecidedBy Actor      `json:"decided_by,omitzero"` // who denied or withdrew
	Why       string     `json:"why,omitempty"`       // the reason of a denial

	// Report is the newest result of the read-only checks; nil before the first.
	Report *Report `json:"report,omitempty"`

	// Touched is set, and stored, before the first write to the role's trust
	// policy: from then on closing kills credentials and sessions too.
	Touched bool   `json:"touched,omitempty"`
	Opening []Step `json:"opening,omitempty"`
	// OpenTries counts the attempts at opening that have failed so far.
	OpenTries int      `json:"open_tries,omitempty"`
	OpenError *Trouble `json:"open_error,omitempty"`

	OpenedAt time.Time `json:"opened_at,omitzero"`
	End      time.Time `json:"end,omitzero"` // as AWS enforces it; zero before open
	Access   *Access   `json:"access,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"` // Support was told
	SentBy   UserID    `json:"sent_by,omitempty"`
	Nudges   int       `json:"nudges,omitempty"`
	Watch    *Watch    `json:"watch,omitempty"` // nil before the first look

	Ending   *Ending   `json:"ending,omitempty"`
	ClosedAt time.Time `json:"closed_at,omitzero"`

	Card  Card     `json:"card,omitzero"`
	Story []Moment `json:"story,omitempty"`
}

// Card is where the grant's message stands in Slack.
type Card struct {
	Channel ChannelID `json:"channel"`
	TS      string    `json:"ts"`
}

// Moment is one line of a grant's story.
type Moment struct {
	At   time.Time `json:"at"`
	By   Actor     `json:"by"`
	Text string    `json:"text"`
}

// Step is one step of opening or closing, as people see it.
type Step struct {
	Name  string    `json:"name"`
	State StepState `json:"state"`
	Note  string    `json:"note,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// StepState is how far a step has come.
type StepState string

// The states of a step.
const (
	Waiting StepState = "waiting"
	Running StepState = "running"
	Done    StepState = "done"
	Failing StepState = "failing" // it is being tried again
)

// The names of the steps, in their order (DESIGN 4.2 and 4.3).
const (
	StepCheck       = "check"
	StepLogging     = "logging"
	StepHardStop    = "hard stop"
	StepTrust       = "trust"
	StepCredentials = "credentials"
	StepSessions    = "sessions"
	StepProof       = "proof"
)

func steps(names ...string) []Step {
	s := make([]Step, len(names))
	for i, n := range names {
		s[i] = Step{Name: n, State: Waiting}
	}
	return s
}

// Ending is how far the closing of a grant has come.
type Ending struct {
	Since time.Time `json:"since"`
	By    Actor     `json:"by"`
	Why   string    `json:"why"`
	Steps []Step    `json:"steps"`
	// TrustGoneAt is when the trust was first read back gone, and has been gone
	// in every round since; zero before, and again when it came back.
	TrustGoneAt time.Time `json:"trust_gone_at,omitzero"`
	// CutOff is the instant before which every credential is dead.
	CutOff time.Time `json:"cut_off,omitzero"`
	// CutOffSince is when a CutOff that covers the settling of the trust was first
	// read back; zero as long as there is none.
	CutOffSince time.Time `json:"cut_off_since,omitzero"`
	// Empty counts the rounds in a row in which no session was live.
	Empty   int       `json:"empty"`
	Rounds  int       `json:"rounds"`
	Failing int       `json:"failing"` // rounds in a row in which a step failed
	Removed []string  `json:"removed,omitempty"`
	Ended   []Session `json:"ended,omitempty"`
	// StillTrusted names the grants that keep the same principal trusted.
	StillTrusted []ID `json:"still_trusted,omitempty"`
}

// clone copies everything that Apply may change in place.
func (g Grant) clone() Grant {
	g.Approvals = slices.Clone(g.Approvals)
	g.Opening = slices.Clone(g.Opening)
	g.Story = slices.Clone(g.Story)
	g.Watch = g.Watch.clone()
	g.Extension = g.Extension.clone()
	g.Extensions = slices.Clone(g.Extensions)
	g.ExtensionsInVain = maps.Clone(g.ExtensionsInVain)
	if g.Ending != nil {
		c := *g.Ending
		c.Steps = slices.Clone(c.Steps)
		c.Removed = slices.Clone(c.Removed)
		c.Ended = slices.Clone(c.Ended)
		c.StillTrusted = slices.Clone(c.StillTrusted)
		g.Ending = &c
	}
	return g
}

// Live reports whether the grant may have access in AWS, now or soon.
func (g Grant) Live() bool { return g.Phase == Opening || g.Phase == Open || g.Phase == Closing }

// Since is when it was put to the approvers last.
func (g Grant) Since() time.Time {
	if g.AskedAt.IsZero() {
		return g.RequestedAt
	}
	return g.AskedAt
}

// Missing is how many approvals are still needed.
func (g Grant) Missing() int { return max(g.Terms.Approvals-len(g.Approvals), 0) }

// ApprovedBy reports whether the person's approval is counted.
func (g Grant) ApprovedBy(u UserID) bool {
	return slices.ContainsFunc(g.Approvals, func(a Approval) bool { return a.By == u })
}
