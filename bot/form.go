package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"breakglass/bot/view"
	"breakglass/store"
	"breakglass/store/grant"
)

// openWithin is how long Slack may take to open a form: the trigger is good for
// three seconds, and the acknowledgement has to go out in them, too.
const openWithin = 2 * time.Second

// roomToAck is what is left of Slack's three seconds for the acknowledgement when
// a form does not open.
const roomToAck = 300 * time.Millisecond

// openForm shows a form to the person whose act the trigger stands for. It asks
// nobody but Slack, so that it opens in time whatever AWS does.
func (b *Bot) openForm(ctx context.Context, trigger string, m view.Modal) error {
	end := time.Now().Add(openWithin)
	if last, ok := ctx.Deadline(); ok && last.Add(-roomToAck).Before(end) {
		end = last.Add(-roomToAck)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	var req slack.ModalViewRequest
	if err := json.Unmarshal(m.JSON(), &req); err != nil {
		return fmt.Errorf("reading our own form: %w", err)
	}
	_, err := b.api.OpenViewContext(ctx, trigger, req)
	return err
}

// form is what the form for a request shows.
func (r *rules) form(ask grant.Ask, emergency bool) *view.Modal {
	f := view.Form{Ask: ask, Default: r.policy.Limits.Default, Max: r.policy.Limits.Max, Emergency: emergency}
	for _, c := range r.policy.Cells {
		f.Cells = append(f.Cells, c.Name)
	}
	m := view.GrantForm(f)
	return &m
}

// shortcut handles a global shortcut: the same form as of `/breakglass grant`.
func (b *Bot) shortcut(ctx context.Context, cb slack.InteractionCallback, ack func(any), whisper func(reply)) {
	err := b.openForm(ctx, cb.TriggerID, *b.rules().form(grant.Ask{}, false))
	ack(nil)
	if err != nil {
		whisper(b.noForm(grant.UserID(cb.User.ID), err, "`/breakglass grant cell=NAME arn=ARN ticket=NUMBER for=4h reason=WHY`"))
	}
}

// noForm is the answer where a form could not be opened.
func (b *Bot) noForm(user grant.UserID, err error, instead string) reply {
	ref := reference()
	b.log.Warn("a form could not be opened", "ref", ref, "user", clip(string(user)), "err", redact(err))
	return reply{msg: view.Refused(fmt.Sprintf("Slack did not open the form in time. Nothing changed. Try again, or say it in words: %s.", instead), ref)}
}

// submitted handles a form that was sent in. What is wrong is shown on the field
// it belongs to, and what was typed stays.
func (b *Bot) submitted(ctx context.Context, env string, cb slack.InteractionCallback, ack func(any)) {
	user := grant.UserID(cb.User.ID)
	in := intent{
		keys: []string{"envelope/" + env, click("form", cb.TriggerID, cb.User.ID, cb.View.ID, cb.View.CallbackID)},
		user: user, ref: reference(), trigger: cb.TriggerID, rules: b.rules(),
	}
	if ask := cb.View.CallbackID == view.CallbackGrant || cb.View.CallbackID == view.CallbackEmergency; ask && cb.View.ID != "" {
		// One form is one request, also where its answer was lost and the person
		// sends it in again.
		in.keys = append(in.keys, click("sent in", cb.View.ID, cb.User.ID))
	}
	typed := entries(cb.View.State)
	title, answer, err := b.fill(ctx, in, cb.View.CallbackID, cb.View.PrivateMetadata, typed)
	if lost, ok := errors.AsType[*uncommitted](err); ok {
		b.log.Error("a form could not be stored", "ref", lost.ref, "user", user, "err", lost.cause)
		return // not acknowledged: the form stays, and Slack tells the person
	}
	if refusal, ok := errors.AsType[*grant.Refusal](err); ok && len(view.FormErrors(refusal.Fields, false)) > 0 {
		b.log.Info("refused", "what", "form", "user", clip(string(user)), "code", string(refusal.Code), "fields", slices.Sorted(maps.Keys(refusal.Fields)))
		b.o.Observe.refused(refusal.Code)
		ack(map[string]any{"response_action": "errors", "errors": view.FormErrors(refusal.Fields, typed["for"] == view.ChoiceOther)})
		return
	}
	instead := "update"
	if err != nil {
		title, answer = "Not done", b.refusal("form", in, err)
		if refusal, ok := errors.AsType[*grant.Refusal](err); !ok || refusal.Code == grant.CannotTell {
			instead = "push" // over the form, which can be sent in again
		}
	}
	m := view.Said(title, answer.msg)
	payload := map[string]any{"response_action": instead, "view": json.RawMessage(m.JSON())}
	if js, err := json.Marshal(payload); err != nil || len(js) > largestAck {
		ack(nil) // done, and the form goes; the card says the rest
		return
	}
	ack(payload)
}

// entries are what was typed and chosen, by block.
func entries(state *slack.ViewState) map[string]string {
	out := map[string]string{}
	if state == nil {
		return out
	}
	for block, actions := range state.Values {
		for _, a := range actions {
			s := a.Value
			if a.SelectedOption.Value != "" {
				s = a.SelectedOption.Value
			}
			if len(s) > 20_000 {
				s = s[:20_000] // no form of ours takes more
			}
			out[block] = s
		}
	}
	return out
}

// period is the duration that was chosen, or typed under "other".
func period(typed map[string]string) string {
	if d := typed["for"]; d != "" && d != view.ChoiceOther {
		return d
	}
	return tidy(typed["for_other"])
}

// fill does what a form asks for.
func (b *Bot) fill(ctx context.Context, in intent, callback, metadata string, typed map[string]string) (title string, r reply, err error) {
	if err := onePeriod(typed); err != nil {
		return "", reply{}, err
	}
	switch callback {
	case view.CallbackGrant, view.CallbackEmergency:
		ask := grant.Ask{
			Cell: typed["cell"], ARN: unquote(tidy(typed["arn"])), Ticket: typed["ticket"], For: period(typed), Reason: typed["reason"],
		}
		r, err = b.ask(ctx, in, ask, callback == view.CallbackEmergency)
		return "Request access", r, err
	}
	if len(metadata) > 64 {
		return "", reply{}, unknownCard()
	}
	token, yes, _ := strings.Cut(metadata, ":")
	g, err := b.o.Store.ByToken(token)
	if err != nil {
		return "", reply{}, err
	}
	switch callback {
	case view.CallbackDeny:
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return "", reply{}, err
		}
		res, err := b.commit(in, g.ID, grant.Deny{By: by, Why: typed["reason"]})
		return "Deny", reply{msg: view.Show(res.Grant, time.Now().UTC())}, err
	case view.CallbackApproveLess:
		d, err := grant.ParseDuration(period(typed))
		if err != nil {
			return "", reply{}, badPeriod(err)
		}
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return "", reply{}, err
		}
		if err := b.people.another(ctx, in.user, g.ID, g.Requester, g.Approvals); by.Approver && err != nil {
			return "", reply{}, err
		}
		res, err := b.commit(in, g.ID, grant.Approve{By: by, For: d, Yes: yes})
		if refusal, ok := errors.AsType[*grant.Refusal](err); ok && (refusal.Code == grant.BadRequest || refusal.Code == grant.TooLong) {
			return "", reply{}, onPeriod(refusal)
		}
		return "Approve", reply{msg: view.Show(res.Grant, time.Now().UTC())}, err
	case view.CallbackExtend:
		r, err := b.extendBy(ctx, in, g, period(typed))
		if refusal, ok := errors.AsType[*grant.Refusal](err); ok && (refusal.Code == grant.BadRequest || refusal.Code == grant.TooLong) {
			return "", reply{}, onPeriod(refusal)
		}
		return "Extend", r, err
	default:
		b.log.Warn("a form that nobody made was sent in", "user", in.user, "form", clip(callback))
		return "", reply{}, unknownCard()
	}
}

// onePeriod refuses a form whose menu and line of text do not say one duration:
// whoever typed one meant it, and whoever approves sees only one.
func onePeriod(typed map[string]string) error {
	chosen, words := typed[view.FieldFor], tidy(typed[view.FieldForOther])
	switch {
	case chosen == view.ChoiceOther && words == "":
		// Not the default: they wanted another one, and did not say which.
		return onPeriod(grant.Refuse(grant.BadRequest, "Duration: say how long, for example 90m, or choose one above."))
	case chosen == view.ChoiceOther || chosen == "" || words == "":
		return nil
	}
	a, errA := grant.ParseDuration(chosen)
	b, errB := grant.ParseDuration(words)
	if errA == nil && errB == nil && a == b {
		return nil
	}
	if errA == nil {
		chosen = grant.FormatDuration(a)
	}
	r := grant.Refuse(grant.BadRequest, "Duration: %s is chosen above, and %s is typed here. Choose Another duration above, or empty this.", grant.Clean(chosen, 20), grant.Clean(words, 20))
	r.Fields = map[string]string{view.FieldForOther: r.Text}
	return r
}

func badPeriod(err error) error {
	return onPeriod(grant.Refuse(grant.BadRequest, "Duration: %s.", grant.Clean(err.Error(), 120)))
}

// onPeriod shows a refusal on the form's duration.
func onPeriod(r *grant.Refusal) error {
	own := *r
	own.Fields = map[string]string{"for": r.Text}
	return &own
}

// ask makes a request, or opens an emergency.
func (b *Bot) ask(ctx context.Context, in intent, ask grant.Ask, emergency bool) (reply, error) {
	if emergency {
		by, err := in.rules.emergency(ctx, in.user)
		if err != nil {
			return reply{}, err
		}
		ev, err := in.rules.policy.Emergency(by, ask, newToken())
		if err != nil {
			return reply{}, err
		}
		res, err := b.begin(in, ev)
		if err != nil {
			return reply{}, err
		}
		return reply{msg: view.Emergency(res.Grant, b.o.Channel)}, nil
	}
	by, err := in.rules.requester(ctx, in.user)
	if err != nil {
		return reply{}, err
	}
	ev, err := in.rules.policy.Request(by, ask, newToken())
	if err != nil {
		return reply{}, err
	}
	res, err := b.begin(in, ev)
	if err != nil {
		return reply{}, err
	}
	return reply{msg: view.Requested(res.Grant, b.o.Channel)}, nil
}

// begin commits what begins a grant. A second delivery of what was refused is
// refused, too: there is no grant to tell of.
func (b *Bot) begin(in intent, ev grant.Event) (store.Result, error) {
	res, err := b.commit(in, 0, ev)
	if err == nil && res.Duplicate && res.Grant.ID == 0 {
		return res, grant.Refuse(grant.WrongPhase, "That was refused already. Nothing was opened. To ask again: `/breakglass grant`.")
	}
	return res, err
}

// extendBy asks for more time.
func (b *Bot) extendBy(ctx context.Context, in intent, g grant.Grant, words string) (reply, error) {
	by, err := in.rules.requester(ctx, in.user)
	if err != nil {
		return reply{}, err
	}
	ev, err := in.rules.policy.Extend(by, words)
	if err != nil {
		return reply{}, err
	}
	res, err := b.commit(in, g.ID, ev)
	if err != nil {
		return reply{}, err
	}
	return reply{msg: view.ExtendAsked(res.Grant, b.o.Channel)}, nil
}
