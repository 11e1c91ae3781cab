package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Policy is what the operator has configured, as far as decisions need it. It
// is read when a request is made; what it says then is frozen into the grant as
// its [Terms], so that a later change of the configuration never loosens a
// decision that is under way.
type Policy struct {
	Vendor    Vendor
	Limits    Limits
	Approvals int // distinct people, never the requester; a cell may ask for another number
	Reminders Reminders
	Cells     []Cell
	// AWSEnforced puts the end into the trust statement and the hard stop; only
	// for a vendor tool that cannot live with the condition is it false.
	AWSEnforced bool
	// Settle is how long after the trust was seen gone the sessions are looked
	// at before a grant counts as closed; zero means [DefaultSettle].
	Settle time.Duration
}

// DefaultSettle is how long IAM changes may take to reach every part of AWS, as
// far as we wait for it: "changes may not be immediately visible" (IAM User
// Guide, "Troubleshoot IAM: changes that I make are not always immediately
// visible").
const DefaultSettle = 60 * time.Second

// OpeningLimit is how long opening may take, from the deciding approval, before
// it is given up and undone.
const OpeningLimit = 10 * time.Minute

// Vendor says which roles SingleStore may ask access for.
type Vendor struct {
	Accounts []AccountID
	Roles    []string // exact ARNs, or with one trailing *; empty: any role of the accounts
}

// Limits bound a request.
type Limits struct {
	Default   time.Duration // zero: the duration must be named
	Max       time.Duration
	Undecided time.Duration
}

// Reminders say when to speak up; zero turns a reminder off.
type Reminders struct {
	Undecided time.Duration   `json:"undecided"`
	Unsent    time.Duration   `json:"unsent"`
	BeforeEnd []time.Duration `json:"before_end,omitempty"`
	StillOpen time.Duration   `json:"still_open"`
	Unused    time.Duration   `json:"unused"`
}

// Cell is one BYOC cell, as far as decisions need it.
type Cell struct {
	Name      CellName
	Account   AccountID
	Region    string
	Approvals int // zero: the policy's
}

// Cell finds a cell by its name.
func (p Policy) Cell(name CellName) (Cell, bool) {
	for _, c := range p.Cells {
		if c.Name == name {
			return c, true
		}
	}
	return Cell{}, false
}

func (p Policy) cellNames() string {
	names := make([]string, len(p.Cells))
	for i, c := range p.Cells {
		names[i] = string(c.Name)
	}
	return strings.Join(names, ", ")
}

// Ask is a request in the requester's words.
type Ask struct {
	Cell, ARN, Ticket, For, Reason string
}

// Longest texts that a request may hold, in characters.
const (
	MaxTicket = 100
	MaxReason = 3000
)

// Request checks an ask against the policy and makes the event that begins a
// grant. Everything that is wrong with it is said at once.
func (p Policy) Request(by Actor, ask Ask, token string) (Request, error) {
	var wrong []string
	fields := map[string]string{}
	code := BadRequest
	say := func(field string, c Code, format string, args ...any) {
		if len(wrong) == 0 {
			code = c
		}
		wrong = append(wrong, fmt.Sprintf(format, args...))
		fields[field] = wrong[len(wrong)-1]
	}

	cell, ok := p.Cell(CellName(strings.TrimSpace(ask.Cell)))
	switch {
	case ok:
	case strings.TrimSpace(ask.Cell) == "" && len(p.Cells) == 1:
		cell, ok = p.Cells[0], true
	case strings.TrimSpace(ask.Cell) == "":
		say("cell", UnknownCell, "Say which cell: cell=NAME. The cells are %s.", p.cellNames())
	default:
		say("cell", UnknownCell, "There is no cell %q here. The cells are %s.", Clean(ask.Cell, 64), p.cellNames())
	}

	arn, err := p.Vendor.principal(strings.TrimSpace(ask.ARN), cell, ok)
	if err != nil {
		say("arn", BadPrincipal, "%s", err.Error())
	}

	var d time.Duration
	switch {
	case strings.TrimSpace(ask.For) == "" && p.Limits.Default > 0:
		d = p.Limits.Default
	case strings.TrimSpace(ask.For) == "":
		say("for", BadRequest, "Say for how long: for=4h.")
	default:
		if d, err = ParseDuration(ask.For); err != nil {
			say("for", BadRequest, "Duration: %s.", Clean(err.Error(), 120))
		} else if d < time.Second {
			say("for", BadRequest, "Duration: the shortest access is 1 s.")
		} else if p.Limits.Max > 0 && d > p.Limits.Max {
			say("for", TooLong, "%s is longer than the %s that is allowed here. Ask for %s or less.",
				FormatDuration(d), FormatDuration(p.Limits.Max), FormatDuration(p.Limits.Max))
		}
	}

	ticket := Clean(ask.Ticket, MaxTicket+2)
	switch {
	case ticket == "":
		say("ticket", BadRequest, "Name SingleStore's ticket: ticket=48213.")
	case len([]rune(ticket)) > MaxTicket:
		say("ticket", BadRequest, "The ticket may have %d characters at most.", MaxTicket)
	}
	reason := Clean(ask.Reason, MaxReason+2)
	switch {
	case reason == "":
		say("reason", BadRequest, "Say why: reason=… (it takes the rest of the line).")
	case len([]rune(reason)) > MaxReason:
		say("reason", BadRequest, "The reason may have %d characters at most.", MaxReason)
	}

	if !by.Requester {
		return Request{}, Refuse(NotAllowed, "You are not among the people who may ask for access here. Nothing was requested. Ask someone who is, or the operator of this bot (people.requesters).")
	}
	if len(wrong) > 0 {
		r := Refuse(code, "Nothing was requested. %s", strings.Join(wrong, " "))
		r.Fields = fields
		return Request{}, r
	}
	return Request{
		By: by, Token: token,
		Cell: cell.Name, Account: cell.Account, Region: cell.Region,
		Principal: arn, Ticket: ticket, Reason: reason, Duration: d,
		Terms: p.terms(cell),
	}, nil
}

// Emergency checks an ask for an access that opens at once.
func (p Policy) Emergency(by Actor, ask Ask, token string) (Request, error) {
	if !by.Emergency {
		return Request{}, Refuse(NotAllowed, "You are not among the people who may open an emergency here. Nothing was opened. Request access and have it approved: `/breakglass grant`.")
	}
	asking := by
	asking.Requester = true
	r, err := p.Request(asking, ask, token)
	if err != nil {
		return Request{}, err
	}
	r.By, r.Emergency = by, true
	return r, nil
}

// terms are the rules that a grant on a cell lives by.
func (p Policy) terms(cell Cell) Terms {
	need := p.Approvals
	if cell.Approvals > 0 {
		need = cell.Approvals
	}
	settle := p.Settle
	if settle == 0 {
		settle = DefaultSettle
	}
	return Terms{
		Approvals: max(need, 1), Undecided: p.Limits.Undecided, Reminders: p.Reminders,
		AWSEnforced: p.AWSEnforced, Settle: settle,
	}
}

// principal checks that an ARN is a role that SingleStore may come in by.
func (v Vendor) principal(s string, cell Cell, known bool) (RoleARN, error) {
	arn, err := ParseRoleARN(s)
	if err != nil {
		return "", fmt.Errorf("The role ARN %s cannot be used: %w. Copy it from the ticket; it looks like arn:aws:iam::<account>:role/<name>.", quoted(s), err) //nolint:staticcheck // whole sentences, shown to people
	}
	if known && arn.Account() == cell.Account {
		return "", fmt.Errorf("The role ARN %s is a role of the cell's own account, not of SingleStore. Check the ticket.", quoted(s)) //nolint:staticcheck // whole sentences, shown to people
	}
	if !slices.Contains(v.Accounts, arn.Account()) {
		return "", fmt.Errorf("The role ARN %s is in account %s, which is not one of SingleStore's accounts in the configuration. Check the ticket; if SingleStore really uses it now, the operator adds it to singlestore.accounts.", quoted(s), arn.Account()) //nolint:staticcheck // whole sentences, shown to people
	}
	if known && arn.Partition() != PartitionOf(cell.Region) {
		return "", fmt.Errorf("The role ARN %s is in the partition %s, but the cell is in %s. Check the ticket.", quoted(s), arn.Partition(), PartitionOf(cell.Region)) //nolint:staticcheck // whole sentences, shown to people
	}
	if len(v.Roles) > 0 && !slices.ContainsFunc(v.Roles, func(p string) bool { return matches(p, string(arn)) }) {
		return "", fmt.Errorf("The role ARN %s is not one of the roles that singlestore.roles allows. Check the ticket; the operator can add it.", quoted(s)) //nolint:staticcheck // whole sentences, shown to people
	}
	return arn, nil
}

// Allows reports whether the ARN is a role of the vendor, whatever the cell.
func (v Vendor) Allows(arn RoleARN) bool {
	_, err := v.principal(string(arn), Cell{}, false)
	return err == nil
}

func matches(pattern, arn string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(arn, prefix)
	}
	return pattern == arn
}

func quoted(s string) string {
	if s = Clean(s, 120); s == "" {
		return "(none)"
	}
	return s
}

// Clean makes typed text safe to keep and to show on one line: line breaks and
// tabs become spaces; control characters, bidirectional controls and other
// invisible characters go; it is cut at limit characters. It neither begins nor
// ends with a space, so a text that is cut may be one shorter than the limit.
func Clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Co, unicode.Other_Default_Ignorable_Code_Point),
			unicode.Is(unicode.Variation_Selector, r), r == '\u2800':
			continue
		}
		need := 1
		if space {
			need = 2
		}
		if n += need; n > limit {
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
