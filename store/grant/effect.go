package grant

import "time"

// EffectKind says what is owed. Kinds are stored and never change.
type EffectKind string

// The kinds of effects.
const (
	DoCheck  EffectKind = "check"  // read-only checks of the cell
	DoOpen   EffectKind = "open"   // open access in AWS
	DoClose  EffectKind = "close"  // one round of closing in AWS
	DoExpire EffectKind = "expire" // the end: give EndDue
	DoLapse  EffectKind = "lapse"  // give LapseDue
	DoCard   EffectKind = "card"   // post or edit the card to the newest state
	DoSay    EffectKind = "say"    // a message in the card's thread, named by Arg
	DoRemind EffectKind = "remind" // give ReminderDue for the reminder Arg
	DoWatch  EffectKind = "watch"  // look at an open grant in AWS
)

// EffectKinds lists every kind.
var EffectKinds = []EffectKind{DoCheck, DoOpen, DoClose, DoExpire, DoLapse, DoCard, DoSay, DoRemind, DoWatch}

// Effect is one thing owed for a grant, not before Due. A grant owes an effect
// of one kind and Arg at most once: a newer one replaces the older.
type Effect struct {
	Kind EffectKind `json:"kind"`
	Arg  string     `json:"arg,omitempty"`
	Due  time.Time  `json:"due"`
	// Once marks a message that may rather be lost than be posted twice: a
	// reminder.
	Once bool `json:"once,omitempty"`
	// Cancel takes back what is owed under this kind and Arg.
	Cancel bool `json:"-"`
}

// The names of messages (Arg of DoSay) and reminders (Arg of DoRemind). Some
// carry a number or a duration after a colon, so that each is its own message.
const (
	SayDenied    = "denied"
	SayLapsed    = "lapsed"
	SayWithdrawn = "withdrawn"
	SayOpened    = "opened"
	SayFailed    = "failed"
	SayClosing   = "closing"
	SayStuck     = "stuck"
	SayProof     = "proof"

	RemindUndecided = "undecided"
	RemindUnsent    = "unsent"
	RemindBeforeEnd = "before_end" // before_end:30m0s
	RemindStillOpen = "still_open"
)
