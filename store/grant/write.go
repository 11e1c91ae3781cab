package grant

import "time"

// Write is one call that changes something in AWS, as it was sent. It is what the
// audit log holds of it, whatever became of the step that it was part of.
type Write struct {
	At   time.Time `json:"at"`   // when it was answered, or given up
	Call string    `json:"call"` // iam:UpdateAssumeRolePolicy
	// Target is what it changed: a role's name, with the inline policy's behind a
	// slash; a document; a session's id.
	Target string `json:"target"`
	Region string `json:"region,omitempty"`
	// Before is the SHA-256, in hex, of what was read there last, and After of
	// what was sent. Before is empty where there was nothing, or it was not read;
	// both are where the call carries no document.
	Before  string       `json:"before,omitempty"`
	After   string       `json:"after,omitempty"`
	Outcome WriteOutcome `json:"outcome"`
	// Code is AWS's error code, and Request AWS's id of the request, by which
	// CloudTrail names it, too.
	Code    string `json:"code,omitempty"`
	Request string `json:"request,omitempty"`
}

// WriteOutcome says what became of a write.
type WriteOutcome string

// The outcomes of a write.
const (
	WriteDone    WriteOutcome = "done"
	WriteRefused WriteOutcome = "refused" // AWS did not do it
	WriteUnknown WriteOutcome = "unknown" // sent, and no answer that tells whether it was done
)

// Writes lists the writes that an event brings with it, in the order in which
// they were answered.
func Writes(ev Event) []Write {
	switch e := ev.(type) {
	case StepChanged:
		return e.Writes
	case OpenDelayed:
		return e.Trouble.Writes
	case OpenFailed:
		return e.Trouble.Writes
	case Replanned:
		return e.Trouble.Writes
	case OpenDone:
		return e.Access.Writes
	case ExtendDone:
		return e.Access.Writes
	case ExtendDelayed:
		return e.Trouble.Writes
	case ExtendFailed:
		return e.Trouble.Writes
	case CloseRound:
		return e.Round.Writes
	default:
		return nil
	}
}
