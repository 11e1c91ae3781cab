package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Level is how much a finding matters.
type Level string

// The levels of a finding. Unknown means that it could not be read.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Unread  Level = "unknown"
	Blocks  Level = "blocks"
)

// Finding is one thing that the read-only checks found, with what to do.
type Finding struct {
	// Check is a short stable name: account, role, trust, instance, agent, log
	// group, log permissions, preferences, link.
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is what the read-only checks of one cell found, and the plan that
// follows from it.
type Report struct {
	At           time.Time `json:"at"`
	Findings     []Finding `json:"findings"`
	RoleARN      string    `json:"role_arn,omitempty"`
	RoleName     string    `json:"role_name,omitempty"`
	InstanceID   string    `json:"instance_id,omitempty"`
	InstanceName string    `json:"instance_name,omitempty"`
	LogGroup     string    `json:"log_group,omitempty"`
	// Logging says in words what opening will change in the Session Manager
	// preferences, before → after; empty: nothing.
	Logging []string `json:"logging,omitempty"`
	// Redirect says that the region's sessions are logged elsewhere today, and
	// that opening changes that for everybody; nil: it does not.
	Redirect *Redirect `json:"redirect,omitempty"`
	// Statement is the trust statement that opening will add, with the end as
	// the placeholder that [Report.Statement] documents: the literal <end>.
	Statement string `json:"statement,omitempty"`
	// Trusted lists who is trusted by the role now, one line each.
	Trusted []string `json:"trusted,omitempty"`
}

// Redirect is the change of where the Session Manager sessions of an account
// and region are logged, from one log group to another. It takes a yes of its own.
type Redirect struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Yes is what the yes to exactly this redirection is called.
func (r *Redirect) Yes() string {
	if r == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(r.From + "\x00" + r.To))
	return hex.EncodeToString(sum[:6])
}

// redirect is the redirection in the report, if there is one.
func (r *Report) redirect() *Redirect {
	if r == nil {
		return nil
	}
	return r.Redirect
}

// Blocking lists the findings that stop an opening.
func (r *Report) Blocking() []Finding {
	if r == nil {
		return nil
	}
	var out []Finding
	for _, f := range r.Findings {
		if f.Level == Blocks {
			out = append(out, f)
		}
	}
	return out
}

// Access is what was opened, as it was read back from AWS.
type Access struct {
	At          time.Time `json:"at"`
	End         time.Time `json:"end"`
	RoleARN     string    `json:"role_arn"`
	RoleName    string    `json:"role_name"`
	InstanceID  string    `json:"instance_id"`
	LogGroup    string    `json:"log_group"`
	Statement   string    `json:"statement"`
	TrustBefore string    `json:"trust_before"` // SHA-256 of the document, hex
	TrustAfter  string    `json:"trust_after"`

	Writes []Write `json:"-"` // what was changed for it; the audit log has them
}

// Session is one Session Manager session of the role.
type Session struct {
	ID       string    `json:"id"`
	Owner    string    `json:"owner,omitempty"`
	Target   string    `json:"target,omitempty"`
	Document string    `json:"document,omitempty"`
	Status   string    `json:"status,omitempty"`
	Started  time.Time `json:"started,omitzero"`
}

// Outcome is how one step of a close went in one round.
type Outcome struct {
	Done bool `json:"done,omitempty"`
	// Skipped says that the step has nothing to do, for the reason in Note.
	Skipped bool     `json:"skipped,omitempty"`
	Note    string   `json:"note,omitempty"`
	Trouble *Trouble `json:"trouble,omitempty"`
}

// Round is what one round of closing did and then read back. Every round looks
// at everything again; the proof is a round in which nothing was left to do.
type Round struct {
	Trust       Outcome   `json:"trust"`
	Credentials Outcome   `json:"credentials"`
	Sessions    Outcome   `json:"sessions"`
	Removed     []string  `json:"removed,omitempty"` // from the trust policy, in words
	TrustBefore string    `json:"trust_before,omitempty"`
	TrustAfter  string    `json:"trust_after,omitempty"`
	CutOff      time.Time `json:"cut_off,omitzero"` // as read back
	Live        []Session `json:"live,omitempty"`   // seen live in this round
	Ended       []Session `json:"ended,omitempty"`  // told to end in this round
	// StillTrusted names other grants that keep the same principal trusted;
	// then credentials and sessions are theirs and stay.
	StillTrusted []ID `json:"still_trusted,omitempty"`

	Writes []Write `json:"-"` // what was changed in this round; the audit log has them
}
