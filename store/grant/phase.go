package grant

import (
	"fmt"
	"slices"
	"strings"
)

// Phase is where a grant stands.
type Phase string

// The phases. From requested a grant ends as denied, withdrawn or lapsed, or
// goes opening → open → closing → closed. An emergency begins in opening, and a
// removal in closing. An opening that has written nothing may lead back to
// requested.
const (
	None      Phase = "" // before the request
	Requested Phase = "requested"
	Opening   Phase = "opening"
	Open      Phase = "open"
	Closing   Phase = "closing"
	Closed    Phase = "closed"
	Denied    Phase = "denied"
	Withdrawn Phase = "withdrawn"
	Lapsed    Phase = "lapsed"
)

// Phases lists every phase in the order of a grant's life.
var Phases = []Phase{None, Requested, Opening, Open, Closing, Closed, Denied, Withdrawn, Lapsed}

// Terminal reports whether nothing follows.
func (p Phase) Terminal() bool {
	return p == Closed || p == Denied || p == Withdrawn || p == Lapsed
}

// Known reports whether the phase is one of [Phases], None excepted: a phase
// read from disk that is not known must stop the start, not be ignored.
func (p Phase) Known() bool { return p != None && slices.Contains(Phases, p) }

// MayLead reports whether some event leads from one phase to another.
func MayLead(from, to Phase) bool {
	if from == to {
		return false
	}
	for _, next := range transitions[from] {
		if slices.Contains(next, to) {
			return true
		}
	}
	return false
}

// transitions is the whole table: in which phase which kind of event may happen,
// and to which phases it may lead. What is missing is refused.
var transitions = map[Phase]map[Kind][]Phase{
	None: {
		KindRequest: {Requested, Opening},
		KindRemove:  {Closing},
	},
	Requested: {
		KindCheckDone:   {Requested},
		KindApprove:     {Requested, Opening},
		KindDeny:        {Denied},
		KindWithdraw:    {Withdrawn},
		KindRevoke:      {Withdrawn},
		KindLapseDue:    {Requested, Lapsed},
		KindReminderDue: {Requested},
		KindCardPosted:  {Requested},
	},
	Opening: {
		KindCheckDone:   {Opening},
		KindStepChanged: {Opening},
		KindOpenDelayed: {Opening},
		KindOpenFailed:  {Closing},
		KindReplanned:   {Requested, Closing},
		KindUnapproved:  {Opening, Requested, Closing},
		KindSign:        {Opening},
		KindReminderDue: {Opening},
		KindOpenDone:    {Open, Closing},
		KindRevoke:      {Closing},
		KindEndDue:      {Opening, Closing},
		KindCardPosted:  {Opening},
	},
	Open: {
		KindRevoke:      {Closing},
		KindEndDue:      {Open, Closing},
		KindMarkSent:    {Open},
		KindReminderDue: {Open},
		KindWatched:     {Open},
		KindSign:        {Open},
		KindExtend:      {Open},
		KindExtendDone:  {Open, Closing},
		KindCardPosted:  {Open},

		KindApproveExtension: {Open},
		KindDenyExtension:    {Open},
		KindExtendDelayed:    {Open},
		KindExtendFailed:     {Open},
	},
	Closing: {
		KindCloseRound:  {Closing, Closed},
		KindSign:        {Closing},
		KindReminderDue: {Closing},
		KindCardPosted:  {Closing},
	},
	// A review may be signed when all is over; that changes nothing else.
	Closed:    {KindCardPosted: {Closed}, KindSign: {Closed}, KindReminderDue: {Closed}},
	Denied:    {KindCardPosted: {Denied}},
	Withdrawn: {KindCardPosted: {Withdrawn}},
	Lapsed:    {KindCardPosted: {Lapsed}},
}

// Table prints the transition table, an event a line and a phase a column: the
// phases that may follow, or a dot where the event is refused.
func Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-17s", "")
	for _, p := range Phases {
		fmt.Fprintf(&b, " | %-19s", name(p))
	}
	b.WriteString("\n")
	for _, k := range Kinds {
		fmt.Fprintf(&b, "%-17s", k)
		for _, p := range Phases {
			cell := "·"
			if next, ok := transitions[p][k]; ok {
				names := make([]string, len(next))
				for i, n := range next {
					names[i] = name(n)
				}
				cell = strings.Join(names, ", ")
			}
			fmt.Fprintf(&b, " | %-19s", cell)
		}
		b.WriteString("\n")
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func name(p Phase) string {
	if p == None {
		return "(none)"
	}
	return string(p)
}
