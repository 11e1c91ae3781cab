package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/store/grant"
)

// The callback_ids of the forms.
const (
	CallbackGrant       = "grant"
	CallbackEmergency   = "emergency"
	CallbackApproveLess = "approve_less"
	CallbackDeny        = "deny"
	CallbackExtend      = "extend"
)

// The fields of the forms: each is the block_id of an input, and its action_id.
const (
	FieldCell     = "cell"
	FieldARN      = "arn"
	FieldTicket   = "ticket"
	FieldFor      = "for"       // a choice, whose value [grant.ParseDuration] reads, or ChoiceOther
	FieldForOther = "for_other" // goes with ChoiceOther
	FieldReason   = "reason"
)

// ChoiceOther is the value of the choice that no duration of the list fits.
const ChoiceOther = "other"

// Modal is what stands in front of Slack until it is sent or closed: a form, or
// an answer.
type Modal struct{ face surface }

// JSON is the view as Slack takes it.
func (m Modal) JSON() []byte { return m.face.json() }

// surface is a view object of Slack's: a modal or a home tab.
type surface struct {
	Type            string  `json:"type"`
	CallbackID      string  `json:"callback_id,omitempty"`
	Title           *object `json:"title,omitempty"`
	Submit          *object `json:"submit,omitempty"`
	Close           *object `json:"close,omitempty"`
	PrivateMetadata string  `json:"private_metadata,omitempty"`
	Blocks          []Block `json:"blocks"`
}

func (s surface) json() []byte {
	if s.Blocks == nil {
		s.Blocks = []Block{}
	}
	return marshal(s)
}

// form puts the words and then the inputs into a modal. token is all that comes
// back with it.
func form(callback, title, submit, token string, p *page, inputs ...Block) Modal {
	return Modal{surface{
		Type: "modal", CallbackID: callback, PrivateMetadata: token,
		Title:  new(plainText(clip(title, maxViewTitle))),
		Submit: new(plainText(clip(submit, maxViewTitle))),
		Close:  new(plainText("Cancel")),
		Blocks: append(p.blocks(), inputs...),
	}}
}

// Said shows an answer in place of a form.
func Said(title string, m Message) Modal {
	if title = tidy(title, maxViewTitle); title == "" {
		title = "breakglass"
	}
	return Modal{surface{Type: "modal", Title: new(plainText(title)), Close: new(plainText("Close")), Blocks: m.Blocks}}
}

// Form is what the form of a request is made from.
type Form struct {
	Cells        []grant.CellName
	Ask          grant.Ask // what is known already
	Default, Max time.Duration
	Emergency    bool
}

// GrantForm asks for everything that a request needs.
func GrantForm(f Form) Modal {
	p := &page{}
	callback, title, submit, why := CallbackGrant, "Request access", "Request", "Why is access needed?"
	if f.Emergency {
		callback, title, submit, why = CallbackEmergency, "Emergency access", "Open now", "Why can it not wait for an approver?"
		p.lead(
			ln(bold("This opens access at once. Nobody has to approve it.")),
			ln("Every approver and the whole channel are told, with your name. Afterwards it owes a review, which an approver other than you signs."),
		)
	} else {
		p.lead(ln("The approvers get a card with the checks and the plan. ", bold("Nothing opens before they press Approve.")))
	}
	choice, other := durationInputs("For how long?", atMost(f.Max), durations(f.Max, f.Default, f.Max), f.Default, f.Ask.For)
	return form(
		callback, title, submit, "", p,
		cellInput(f),
		textInput(FieldARN, "SingleStore role (ARN)", "As the ticket names it.", "arn:aws:iam::111122223333:role/support", tidy(f.Ask.ARN, maxARN), maxARN),
		textInput(FieldTicket, "SingleStore ticket", "", "48213", tidy(f.Ask.Ticket, grant.MaxTicket), grant.MaxTicket),
		choice, other,
		reasonInput(why, "The approvers read it, and the auditor a year from now.", f.Ask.Reason),
	)
}

// ApproveLessForm approves for a shorter time than was asked for.
func ApproveLessForm(g grant.Grant) Modal {
	p := &page{}
	p.lead(
		ln(bold(g.ID.String()+" on "+cell(g)+":"), " ", user(g.Requester), " asks for ", bold(grant.FormatDuration(g.Duration)), "."),
		ln("Approve it for less. Whoever approves after you approves that, too."),
	)
	token, submit := g.Token, "Approve"
	if g.Report != nil && g.Report.Redirect != nil {
		r := g.Report.Redirect
		token, submit = token+":"+r.Yes(), "Approve and move"
		p.para(
			ln(bold("It also moves the session logs."), " All Session Manager sessions in ", typed(g.Region, 20), " are logged to ", typedCode(r.From, 512), "."),
			ln("Opening changes that to ", typedCode(r.To, 512), ", for everybody, and revoking does not change it back."),
		)
	}
	choice, other := durationInputs("For how long?", "Less than "+grant.FormatDuration(g.Duration)+".", durations(max(g.Duration-1, 1)), 0, "")
	return form(CallbackApproveLess, "Approve for less", submit, token, p, choice, other)
}

// DenyForm denies, and says why.
func DenyForm(g grant.Grant) Modal {
	p := &page{}
	p.lead(
		ln(bold(g.ID.String()+" on "+cell(g)+":"), " ", user(g.Requester), " asks for "+grant.FormatDuration(g.Duration)+"."),
		ln("The request ends and nothing is opened. It can be asked for again."),
	)
	return form(CallbackDeny, "Deny the request", "Deny", g.Token, p, reasonInput("Why not?", "It stands on the card and in its thread.", ""))
}

// ExtendForm asks for more time. Limit is the most that may be asked for at once;
// zero: any.
func ExtendForm(g grant.Grant, limit time.Duration) Modal {
	p := &page{}
	p.lead(
		ln(bold(g.ID.String()+" on "+cell(g)), " is open until ", until(g), "."),
		ln("More time is a new decision: it needs as many approvals as the request did. Until it has them, the end stays as it is."),
	)
	choices := durations(limit)
	first := time.Hour
	if !slices.Contains(choices, first) {
		first = 0
	}
	choice, other := durationInputs("How much more?", atMost(limit), choices, 0, "")
	choice.Element.choose(short(first))
	return form(CallbackExtend, "Ask for more time", "Ask", g.Token, p, choice, other)
}

func atMost(limit time.Duration) string {
	if limit <= 0 {
		return ""
	}
	return grant.FormatDuration(limit) + " at most."
}

// shortest is the shortest access.
const shortest = time.Second

// durations are common choices up to the limit (zero: none), and those that are
// given beside, in order.
func durations(limit time.Duration, more ...time.Duration) []time.Duration {
	const m, h, d = time.Minute, time.Hour, 24 * time.Hour
	common := []time.Duration{5 * m, 10 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 8 * h, 12 * h, d, 2 * d, 3 * d, 7 * d}
	const brief, few = 3, 3 // the brief ones are offered where few others fit
	fits := func(x time.Duration) bool { return x >= shortest && (limit <= 0 || x <= limit) }
	from := brief
	if limit > 0 && limit < common[brief+few-1] {
		from = 0
	}
	var out []time.Duration
	for _, x := range append(slices.Clone(more), common[from:]...) {
		if fits(x) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

// short is a duration as people type it: 90m, 4h, 1h30m, 2d.
func short(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	s := ""
	if n := d / (24 * time.Hour); n > 0 && n < 10_000 {
		s, d = strconv.FormatInt(int64(n), 10)+"d", d%(24*time.Hour)
	}
	if d == 0 {
		return s
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return s + rest
}

// FormErrors puts what is wrong with an ask ([grant.Refusal.Fields]) to the
// inputs it belongs to, in words that fit there. other says that the duration was
// typed. What belongs to no input is left out, as Slack would refuse the whole; if
// nothing is left, [Said] tells it.
func FormErrors(fields map[string]string, other bool) map[string]string {
	out := make(map[string]string, len(fields))
	for name, text := range fields {
		switch name {
		case FieldCell, FieldARN, FieldTicket, FieldFor, FieldForOther, FieldReason:
		default:
			continue
		}
		if name == FieldFor && other {
			name = FieldForOther
		}
		if text = tidy(text, maxFormError); text == "" {
			text = "This cannot be used."
		}
		out[name] = text
	}
	return out
}
