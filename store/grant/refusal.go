package grant

import "fmt"

// Code sorts refusals, for logs, metrics and tests. Codes never change.
type Code string

// The refusals. The text that goes with each says what is true now and what to
// do next.
const (
	NotAllowed      Code = "not_allowed"      // the person may not do this
	OwnRequest      Code = "own_request"      // approver and requester are one person
	AlreadyApproved Code = "already_approved" // this person's approval is counted
	WrongPhase      Code = "wrong_phase"      // too late, or too early
	BadRequest      Code = "bad_request"      // what was asked for is malformed
	UnknownCell     Code = "unknown_cell"
	BadPrincipal    Code = "bad_principal" // the ARN is not an allowed SingleStore role
	TooLong         Code = "too_long"      // the duration is over the maximum
	NotFound        Code = "not_found"     // no such grant
	CannotTell      Code = "cannot_tell"   // Slack did not answer who this is: fail closed
	RateLimited     Code = "rate_limited"  // too many of them lately
	AskFirst        Code = "ask_first"     // what it would do beside must be agreed to first
	WrongPlace      Code = "wrong_place"   // the approvals channel is not ours alone
)

// Codes lists every code.
var Codes = []Code{
	NotAllowed, OwnRequest, AlreadyApproved, WrongPhase, BadRequest, UnknownCell, BadPrincipal,
	TooLong, NotFound, CannotTell, RateLimited, AskFirst, WrongPlace,
}

// Refusal is the only error whose text people are shown: one or two plain
// sentences, what is true now and what to do next. It changes nothing.
type Refusal struct {
	Code Code
	Text string
	// Fields says what is wrong with which part of an ask (cell, arn, ticket, for,
	// reason), in a sentence each, for forms that show it in its place.
	Fields map[string]string
}

func (r *Refusal) Error() string { return r.Text }

// Refuse builds a refusal; the text is formatted as by fmt.Sprintf.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Moot is the answer to an event of the bot's own making (a timer, a result)
// that came too late to matter, for example a reminder for a grant that has
// ended. It is no fault: the owed effect is simply settled.
type Moot struct{ Event, Phase string }

func (m *Moot) Error() string {
	return fmt.Sprintf("%s does not matter any more: the grant is %s", m.Event, m.Phase)
}

// Trouble is what an AWS step answers when it could not do its work, sorted
// once where the AWS error is seen.
type Trouble struct {
	Kind TroubleKind `json:"kind"`
	// Step is the step that failed: check, logging, hard stop, trust,
	// credentials, sessions.
	Step string `json:"step"`
	// Text says for people what is true now.
	Text string `json:"text"`
	// Remedy says for people what to do next.
	Remedy string `json:"remedy"`
	// Who are the people that Text speaks of. It reads on without their names, which
	// only the edge can make.
	Who []UserID `json:"who,omitempty"`
	// Cause is the error for the log; it is never shown to people and never
	// stored.
	Cause error `json:"-"`
	// Writes are what was changed in AWS all the same; the audit log has them.
	Writes []Write `json:"-"`
}

// TroubleKind says what to do about a Trouble.
type TroubleKind string

// The kinds of trouble.
const (
	Refused TroubleKind = "refused" // a person must act first; trying again changes nothing
	Again   TroubleKind = "again"   // throttled, unavailable: try again later
	Unknown TroubleKind = "unknown" // the outcome is not known: look, then decide
	Changed TroubleKind = "changed" // it would do something else than was approved: ask again
)

func (t *Trouble) Error() string {
	s := t.Step + ": " + t.Text
	if t.Cause != nil {
		s += ": " + t.Cause.Error()
	}
	return s
}

func (t *Trouble) Unwrap() error { return t.Cause }
