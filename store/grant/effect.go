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
	DoExtend EffectKind = "extend" // have AWS enforce a later end

	// Two are owed for a cell, and for no grant: see [EffectKind.OfCell].
	DoSurvey EffectKind = "survey" // look at the role of the cell Arg
	DoStray  EffectKind = "stray"  // post or edit a message about a cell; Arg is a [StrayArg]
)

// EffectKinds lists every kind.
var EffectKinds = []EffectKind{DoCheck, DoOpen, DoClose, DoExpire, DoLapse, DoCard, DoSay, DoRemind, DoWatch, DoExtend, DoSurvey, DoStray}

// OfCell reports whether effects of this kind are owed for a cell, whichever
// grant's event brought them about.
func (k EffectKind) OfCell() bool { return k == DoSurvey || k == DoStray }

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
	SayReplanned = "replanned" // replanned:<version of the grant>

	SayEmergency    = "emergency"     // opened without an approver: everybody is told
	SayReviewed     = "reviewed"      // the review is signed
	SayExtendAsked  = "extend_asked"  // extend_asked:<N of the extension>
	SayExtendDenied = "extend_denied" // extend_denied:<N>, by an approver or taken back
	SayExtended     = "extended"      // extended:<N>
	SayExtendFailed = "extend_failed" // extend_failed:<version of the grant>
	SayCut          = "cut"           // cut:BG-7, the grant whose end has cut this one's shells

	RemindUndecided = "undecided"
	RemindUnsent    = "unsent"
	RemindBeforeEnd = "before_end" // before_end:30m0s
	RemindStillOpen = "still_open"
	RemindReview    = "review" // review:<n>, of an emergency
	RemindExtend    = "extend" // extend:<N>: an extension that nobody has decided
)
