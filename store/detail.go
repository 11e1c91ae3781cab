package store

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"breakglass/store/grant"
)

// bookkeeping reports whether an event changed nothing that anyone would ask
// about, and so needs no audit entry: a timer that came early, a round of closing
// that found what the one before had found, a look at an open grant that found
// nothing to tell.
func bookkeeping(ev grant.Event, before, after grant.Grant, effects []grant.Effect) bool {
	if before.Phase != after.Phase {
		return false
	}
	same := func(a, b grant.Step) bool { return a.State == b.State && a.Note == b.Note }
	switch e := ev.(type) {
	case grant.EndDue, grant.LapseDue:
		return true
	case grant.CardPosted:
		return before.Card == after.Card
	case grant.ReminderDue:
		return !slices.ContainsFunc(effects, func(e grant.Effect) bool { return e.Kind == grant.DoSay })
	case grant.Watched:
		// What was put back is told to nobody, and yet belongs into the log.
		return sameDrift(before.Watch, after.Watch) && !slices.ContainsFunc(effects, func(e grant.Effect) bool { return e.Kind == grant.DoSay })
	case grant.StepChanged:
		return before.Touched == after.Touched && slices.EqualFunc(before.Opening, after.Opening, same)
	case grant.CloseRound:
		return len(e.Round.Removed) == 0 && len(e.Round.Ended) == 0 &&
			slices.EqualFunc(before.Ending.Steps, after.Ending.Steps, same)
	default:
		return false
	}
}

func entry(c Change, before, after grant.Grant) Entry {
	return Entry{
		Time: c.Now, Actor: c.Event.Actor(), Kind: c.Event.Kind(), Grant: after.ID,
		Before: before.Phase, After: after.Phase, Envelope: envelope(c), Ref: c.Ref,
		Detail: detail(c.Event, before, after),
	}
}

func refusedEntry(c Change, g grant.Grant, r *grant.Refusal) Entry {
	id := g.ID
	if id == 0 {
		id = c.Grant
	}
	return Entry{
		Time: c.Now, Actor: c.Event.Actor(), Kind: KindRefused, Grant: id,
		Before: g.Phase, After: g.Phase, Envelope: envelope(c), Ref: c.Ref,
		Detail: raw(refusedDetail{Event: c.Event.Kind(), Code: r.Code}),
	}
}

func envelope(c Change) string {
	for _, k := range c.Keys {
		if k != "" {
			return k
		}
	}
	return ""
}

// The details of the kinds of events. Fields are only ever added: old entries
// are read for ever.

type refusedDetail struct {
	Event grant.Kind `json:"event"`
	Code  grant.Code `json:"code"`
}

type requestDetail struct {
	Cell      grant.CellName  `json:"cell"`
	Account   grant.AccountID `json:"account"`
	Region    string          `json:"region"`
	Principal grant.RoleARN   `json:"principal"`
	Ticket    string          `json:"ticket"`
	Reason    string          `json:"reason"`
	Duration  string          `json:"duration"`
	Approvals int             `json:"approvals"` // how many are needed
	// Stray and Takes say that it adopts trust that no grant explained.
	Stray string   `json:"stray,omitempty"`
	Takes grant.ID `json:"takes,omitempty"`

	Emergency bool `json:"emergency,omitempty"`
}

// decisionDetail holds what was decided on, so that the entry alone says what
// the person agreed to.
type decisionDetail struct {
	Principal grant.RoleARN `json:"principal,omitempty"`
	Duration  string        `json:"duration,omitempty"`  // the least of all
	For       string        `json:"for,omitempty"`       // what this person agreed to, if less than asked for
	Approvals int           `json:"approvals,omitempty"` // with this one
	Needed    int           `json:"needed,omitempty"`
	Statement string        `json:"statement,omitempty"` // as the checks announced it
	Why       string        `json:"why,omitempty"`
	// Redirect is what of the logs was agreed to beside.
	Redirect *grant.Redirect `json:"redirect,omitempty"`
}

type checkDetail struct {
	Findings map[string]grant.Level `json:"findings"`
}

type stepDetail struct {
	Step  string          `json:"step"`
	State grant.StepState `json:"state"`
	Note  string          `json:"note,omitempty"`
}

type troubleDetail struct {
	Kind grant.TroubleKind `json:"kind"`
	Step string            `json:"step"`
	Text string            `json:"text"`
	Who  []grant.UserID    `json:"who,omitempty"`
	Wait string            `json:"wait,omitempty"`
}

type openDetail struct {
	End         time.Time `json:"end"`
	RoleARN     string    `json:"role_arn"`
	InstanceID  string    `json:"instance_id"`
	LogGroup    string    `json:"log_group"`
	Statement   string    `json:"statement"`
	TrustBefore string    `json:"trust_before"`
	TrustAfter  string    `json:"trust_after"`
}

type closeDetail struct {
	Removed      []string        `json:"removed,omitempty"`
	TrustBefore  string          `json:"trust_before,omitempty"`
	TrustAfter   string          `json:"trust_after,omitempty"`
	CutOff       time.Time       `json:"cut_off,omitzero"`
	Ended        []string        `json:"ended,omitempty"` // sessions
	Live         []string        `json:"live,omitempty"`  // sessions
	StillTrusted []grant.ID      `json:"still_trusted,omitempty"`
	Trouble      []troubleDetail `json:"trouble,omitempty"`
}

type reminderDetail struct {
	Name string `json:"name"`
}

type unapprovedDetail struct {
	Users []grant.UserID `json:"users"`
}

type extensionDetail struct {
	N           int       `json:"n,omitempty"`
	For         string    `json:"for,omitempty"`
	Approvals   int       `json:"approvals,omitempty"` // with this one
	Needed      int       `json:"needed,omitempty"`
	From        time.Time `json:"from,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Statement   string    `json:"statement,omitempty"`
	TrustBefore string    `json:"trust_before,omitempty"`
	TrustAfter  string    `json:"trust_after,omitempty"`
}

// watchDetail holds what a look has shown that was not known before.
type watchDetail struct {
	Came        []grant.Session   `json:"came,omitempty"`
	Left        []string          `json:"left,omitempty"`         // sessions
	Unlogged    []string          `json:"unlogged,omitempty"`     // sessions
	Logged      []string          `json:"logged,omitempty"`       // sessions, late
	NeverLogged []string          `json:"never_logged,omitempty"` // sessions
	Beyond      int               `json:"beyond,omitempty"`       // live sessions that are not followed one by one
	Drift       map[string]string `json:"drift,omitempty"`
	PutBack     []string          `json:"put_back,omitempty"` // names of drift
	Assumed     []assumedDetail   `json:"assumed,omitempty"`
	AssumedMore bool              `json:"assumed_more,omitempty"`
}

type assumedDetail struct {
	EventID string    `json:"event_id"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Session string    `json:"session"`
	From    string    `json:"from"`
}

func sameDrift(a, b *grant.Watch) bool {
	if a == nil {
		return b == nil || len(b.Drift) == 0
	}
	return b != nil && maps.Equal(a.Drift, b.Drift)
}

// watched is what changed from one look to the next.
func watched(before, after *grant.Watch) watchDetail {
	if before == nil {
		before = &grant.Watch{}
	}
	if after == nil {
		after = &grant.Watch{}
	}
	var d watchDetail
	old := make(map[string]grant.Visit, len(before.Visits))
	for _, v := range before.Visits {
		old[v.Session.ID] = v
	}
	for _, v := range after.Visits {
		was, known := old[v.Session.ID]
		lives, lived := v.Gone.IsZero(), known && was.Gone.IsZero()
		switch {
		case lives && !lived:
			d.Came = append(d.Came, v.Session)
		case !lives && lived:
			d.Left = append(d.Left, v.Session.ID)
		}
		if v.Unlogged && !was.Unlogged {
			d.Unlogged = append(d.Unlogged, v.Session.ID)
		}
		if !v.LoggedAt.IsZero() && was.LoggedAt.IsZero() {
			d.Logged = append(d.Logged, v.Session.ID)
		}
		if v.NeverLogged && !was.NeverLogged {
			d.NeverLogged = append(d.NeverLogged, v.Session.ID)
		}
	}
	if after.Beyond != before.Beyond {
		d.Beyond = after.Beyond
	}
	for name, is := range after.Drift {
		if before.Drift[name] == is {
			continue
		}
		if d.Drift == nil {
			d.Drift = map[string]string{}
		}
		d.Drift[name] = is.Text
	}
	for name := range before.Drift {
		if _, still := after.Drift[name]; !still {
			d.PutBack = append(d.PutBack, name)
		}
	}
	slices.Sort(d.PutBack)
	for _, a := range after.Assumed[min(len(before.Assumed), len(after.Assumed)):] {
		d.Assumed = append(d.Assumed, assumedDetail{EventID: a.EventID, At: a.At, By: a.By, Session: a.Session, From: a.From})
	}
	d.AssumedMore = after.AssumedMore && !before.AssumedMore
	return d
}

func detail(ev grant.Event, before, after grant.Grant) json.RawMessage {
	switch e := ev.(type) {
	case grant.Request:
		return raw(requestDetail{
			Cell: e.Cell, Account: e.Account, Region: e.Region, Principal: e.Principal,
			Ticket: e.Ticket, Reason: e.Reason, Duration: e.Duration.String(), Approvals: e.Terms.Approvals,
			Stray: e.Stray, Takes: e.Takes, Emergency: e.Emergency,
		})
	case grant.Approve:
		d := decisionDetail{
			Principal: after.Principal, Duration: after.Duration.String(),
			Approvals: len(after.Approvals), Needed: after.Terms.Approvals,
		}
		if n := len(after.Approvals); n > 0 && after.Approvals[n-1].For > 0 {
			d.For = after.Approvals[n-1].For.String()
		}
		if before.Report != nil {
			d.Statement, d.Redirect = before.Report.Statement, before.Report.Redirect
		}
		return raw(d)
	case grant.Deny:
		return raw(decisionDetail{Why: after.Why})
	case grant.Revoke:
		return raw(decisionDetail{Why: grant.Clean(e.Why, grant.MaxReason)})
	case grant.CheckDone:
		found := make(map[string]grant.Level, len(e.Report.Findings))
		for _, f := range e.Report.Findings {
			found[f.Check] = worse(found[f.Check], f.Level)
		}
		return raw(checkDetail{Findings: found})
	case grant.StepChanged:
		return raw(stepDetail{Step: e.Step, State: e.State, Note: e.Note})
	case grant.OpenDelayed:
		return raw(trouble(e.Trouble, e.Wait))
	case grant.OpenFailed:
		return raw(trouble(e.Trouble, 0))
	case grant.OpenDone:
		a := e.Access
		return raw(openDetail{
			End: a.End, RoleARN: a.RoleARN, InstanceID: a.InstanceID, LogGroup: a.LogGroup,
			Statement: a.Statement, TrustBefore: a.TrustBefore, TrustAfter: a.TrustAfter,
		})
	case grant.CloseRound:
		r := e.Round
		d := closeDetail{
			Removed: r.Removed, TrustBefore: r.TrustBefore, TrustAfter: r.TrustAfter, CutOff: r.CutOff,
			Ended: sessionIDs(r.Ended), Live: sessionIDs(r.Live), StillTrusted: r.StillTrusted,
		}
		for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
			if o.Trouble != nil {
				d.Trouble = append(d.Trouble, trouble(*o.Trouble, 0))
			}
		}
		return raw(d)
	case grant.ReminderDue:
		return raw(reminderDetail{Name: e.Name})
	case grant.Remove:
		x := e.Stray
		return raw(strayDetail{Cell: e.Cell, RoleARN: x.RoleARN, Sid: x.Sid, Principal: x.Principal, End: x.End})
	case grant.Replanned:
		return raw(trouble(e.Trouble, 0))
	case grant.Unapproved:
		return raw(unapprovedDetail(e))
	case grant.Extend:
		return raw(extensionDetail{N: after.Extension.N, For: e.For.String()})
	case grant.ApproveExtension:
		x := after.Extension
		return raw(extensionDetail{N: x.N, For: x.For.String(), Approvals: len(x.Approvals), Needed: after.Terms.Approvals, Until: x.Until})
	case grant.DenyExtension:
		return raw(extensionDetail{N: e.N})
	case grant.ExtendDone:
		return raw(extensionDetail{From: before.End, Until: e.Access.End.UTC(), Statement: e.Access.Statement, TrustBefore: e.Access.TrustBefore, TrustAfter: e.Access.TrustAfter})
	case grant.ExtendDelayed:
		return raw(trouble(e.Trouble, e.Wait))
	case grant.ExtendFailed:
		return raw(trouble(e.Trouble, 0))
	case grant.Watched:
		return raw(watched(before.Watch, after.Watch))
	case grant.CardPosted:
		return raw(saidDetail{Message: "card", Channel: e.Card.Channel, TS: e.Card.TS})
	default:
		return nil
	}
}

func trouble(t grant.Trouble, wait time.Duration) troubleDetail {
	d := troubleDetail{Kind: t.Kind, Step: t.Step, Text: t.Text, Who: t.Who}
	if wait > 0 {
		d.Wait = wait.String()
	}
	return d
}

func sessionIDs(list []grant.Session) []string {
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// worse keeps the finding that matters more, where a check has several.
func worse(a, b grant.Level) grant.Level {
	order := []grant.Level{grant.OK, grant.Warning, grant.Unread, grant.Blocks}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

// raw encodes a detail. The details are plain values, which always encode; an
// entry that says so is better than none.
func raw(v any) json.RawMessage {
	data, err := encode(v)
	if err != nil {
		return json.RawMessage(`{"detail":"could not be encoded"}`)
	}
	return data
}
