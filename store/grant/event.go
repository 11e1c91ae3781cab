package grant

import (
	"fmt"
	"time"
)

// Kind names an event. Kinds are stored in the audit log and never change.
type Kind string

// The kinds of events. The first group is done by people, the second by the
// bot.
const (
	KindRequest  Kind = "request"
	KindApprove  Kind = "approve"
	KindDeny     Kind = "deny"
	KindWithdraw Kind = "withdraw"
	KindRevoke   Kind = "revoke"
	KindMarkSent Kind = "mark_sent"
	KindRemove   Kind = "remove"
	KindExtend   Kind = "extend"
	KindSign     Kind = "sign_review"

	KindApproveExtension Kind = "approve_extension"
	KindDenyExtension    Kind = "deny_extension"

	KindCheckDone   Kind = "check_done"
	KindStepChanged Kind = "step_changed"
	KindOpenDelayed Kind = "open_delayed"
	KindOpenFailed  Kind = "open_failed"
	KindReplanned   Kind = "replanned"
	KindUnapproved  Kind = "unapproved"
	KindExtendDone  Kind = "extend_done"

	KindExtendDelayed Kind = "extend_delayed"
	KindExtendFailed  Kind = "extend_failed"

	KindOpenDone    Kind = "open_done"
	KindCloseRound  Kind = "close_round"
	KindLapseDue    Kind = "lapse_due"
	KindEndDue      Kind = "end_due"
	KindReminderDue Kind = "reminder_due"
	KindWatched     Kind = "watched"
	KindCardPosted  Kind = "card_posted"
)

// Kinds lists every kind of event.
var Kinds = []Kind{
	KindRequest, KindApprove, KindDeny, KindWithdraw, KindRevoke, KindMarkSent, KindRemove,
	KindExtend, KindApproveExtension, KindDenyExtension, KindSign,
	KindCheckDone, KindStepChanged, KindOpenDelayed, KindOpenFailed, KindReplanned, KindUnapproved, KindOpenDone, KindCloseRound,
	KindLapseDue, KindEndDue, KindReminderDue, KindWatched, KindCardPosted,
	KindExtendDone, KindExtendDelayed, KindExtendFailed,
}

// Event is something that happens to a grant.
type Event interface {
	Kind() Kind
	// Actor is who did it.
	Actor() Actor
}

// Request begins a grant. [Policy.Request] makes it from words.
type Request struct {
	By        Actor
	Token     string
	Cell      CellName
	Account   AccountID
	Region    string
	Principal RoleARN
	Ticket    string
	Reason    string
	Duration  time.Duration
	Terms     Terms
	// Stray is the token of the stray that the request adopts, and Takes the
	// grant whose outlived statement it takes over; zero for any other request.
	Stray string
	Takes ID
	// Emergency opens at once, without an approver.
	Emergency bool
}

// Approve is an approver's yes.
type Approve struct {
	By Actor
	// For is how long the person agrees to, if that is less than what was asked
	// for; zero: all of it.
	For time.Duration
	// Yes is the [Redirect.Yes] of the redirection of the logs that the person
	// was asked about and agreed to; empty: they were not asked.
	Yes string
}

// Deny is an approver's no.
type Deny struct {
	By  Actor
	Why string
}

// Withdraw is the requester's change of mind.
type Withdraw struct{ By Actor }

// Revoke ends access now; a request that is not decided yet is withdrawn.
type Revoke struct {
	By  Actor
	Why string
}

// MarkSent says that Support has been told.
type MarkSent struct{ By Actor }

// CheckDone is the result of the read-only checks.
type CheckDone struct{ Report Report }

// StepChanged is progress of opening. It is applied before the step's first
// write, so that what may have been written is always known.
type StepChanged struct {
	Step  string
	State StepState
	Note  string
	// Writes are what it changed in AWS.
	Writes []Write
}

// OpenDelayed says that an attempt at opening failed in a way that time may
// mend, and will be tried again after Wait.
type OpenDelayed struct {
	Trouble Trouble
	Wait    time.Duration
}

// OpenFailed says that opening cannot be done without a person.
type OpenFailed struct{ Trouble Trouble }

// Replanned says that opening would do something else than was approved, and so
// went no further. The step of the trouble is the one that found it, before it
// wrote anything that still stands.
type Replanned struct{ Trouble Trouble }

// OpenDone says that access is open, as read back.
type OpenDone struct{ Access Access }

// CloseRound is the result of one round of closing.
type CloseRound struct{ Round Round }

// LapseDue is the clock: nobody has decided for too long.
type LapseDue struct{}

// EndDue is the clock: the end, or the limit on opening, is reached.
type EndDue struct{}

// Unapproved says that people whose approvals count may not approve any more.
type Unapproved struct{ Users []UserID }

// ReminderDue is the clock: a reminder's time has come, or came at Due.
type ReminderDue struct {
	Name string
	Due  time.Time
}

// Watched is what a look at an open grant has shown.
type Watched struct{ Sighting Sighting }

// CardPosted says where the card stands.
type CardPosted struct{ Card Card }

// Kind and Actor of each event.

func (Request) Kind() Kind     { return KindRequest }
func (Approve) Kind() Kind     { return KindApprove }
func (Deny) Kind() Kind        { return KindDeny }
func (Withdraw) Kind() Kind    { return KindWithdraw }
func (Revoke) Kind() Kind      { return KindRevoke }
func (MarkSent) Kind() Kind    { return KindMarkSent }
func (CheckDone) Kind() Kind   { return KindCheckDone }
func (StepChanged) Kind() Kind { return KindStepChanged }
func (OpenDelayed) Kind() Kind { return KindOpenDelayed }
func (OpenFailed) Kind() Kind  { return KindOpenFailed }
func (Replanned) Kind() Kind   { return KindReplanned }
func (Unapproved) Kind() Kind  { return KindUnapproved }
func (OpenDone) Kind() Kind    { return KindOpenDone }
func (CloseRound) Kind() Kind  { return KindCloseRound }
func (LapseDue) Kind() Kind    { return KindLapseDue }
func (EndDue) Kind() Kind      { return KindEndDue }
func (ReminderDue) Kind() Kind { return KindReminderDue }
func (Watched) Kind() Kind     { return KindWatched }
func (CardPosted) Kind() Kind  { return KindCardPosted }

func (Sign) Kind() Kind             { return KindSign }
func (Extend) Kind() Kind           { return KindExtend }
func (ApproveExtension) Kind() Kind { return KindApproveExtension }
func (DenyExtension) Kind() Kind    { return KindDenyExtension }
func (ExtendDone) Kind() Kind       { return KindExtendDone }
func (ExtendDelayed) Kind() Kind    { return KindExtendDelayed }
func (ExtendFailed) Kind() Kind     { return KindExtendFailed }

func (e Request) Actor() Actor   { return e.By }
func (e Approve) Actor() Actor   { return e.By }
func (e Deny) Actor() Actor      { return e.By }
func (e Withdraw) Actor() Actor  { return e.By }
func (e Revoke) Actor() Actor    { return e.By }
func (e MarkSent) Actor() Actor  { return e.By }
func (CheckDone) Actor() Actor   { return Self() }
func (StepChanged) Actor() Actor { return Self() }
func (OpenDelayed) Actor() Actor { return Self() }
func (OpenFailed) Actor() Actor  { return Self() }
func (Replanned) Actor() Actor   { return Self() }
func (Unapproved) Actor() Actor  { return Self() }
func (OpenDone) Actor() Actor    { return Self() }
func (CloseRound) Actor() Actor  { return Self() }
func (LapseDue) Actor() Actor    { return Self() }
func (EndDue) Actor() Actor      { return Self() }
func (ReminderDue) Actor() Actor { return Self() }
func (Watched) Actor() Actor     { return Self() }
func (CardPosted) Actor() Actor  { return Self() }

func (e Sign) Actor() Actor             { return e.By }
func (e Extend) Actor() Actor           { return e.By }
func (e ApproveExtension) Actor() Actor { return e.By }
func (e DenyExtension) Actor() Actor    { return e.By }
func (ExtendDone) Actor() Actor         { return Self() }
func (ExtendDelayed) Actor() Actor      { return Self() }
func (ExtendFailed) Actor() Actor       { return Self() }

// String names an actor in a log line; people's names are Slack's business.
func (a Actor) String() string {
	switch a.Kind {
	case Person:
		return string(a.User)
	case Operator:
		return fmt.Sprintf("operator %s", a.Name)
	default:
		return "breakglass"
	}
}
