package bot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/view"
	"breakglass/store"
	"breakglass/store/grant"
)

// take hands an envelope to a goroutine of its own.
func (b *Bot) take(ctx context.Context, s *socket, ev socketmode.Event) {
	arrived := time.Now()
	if !b.hands.take() {
		b.log.Error("too many envelopes in hand; one was not taken", "limit", maxInHand)
		b.o.Observe.envelope(kindOf(ev), false, 0)
		return
	}
	go func() {
		defer b.hands.put()
		b.handle(ctx, s, ev, arrived)
	}()
}

// maxInHand bounds the envelopes that are handled at one time. Over it an
// envelope is not acknowledged, and Slack tells the person.
const maxInHand = 1024

// hands counts the envelopes in hand.
type hands struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n falls to zero; nil while nobody waits
}

func (h *hands) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n >= maxInHand {
		return false
	}
	h.n++
	return true
}

func (h *hands) put() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
}

// idle answers a channel that is closed once nothing is in hand.
func (h *hands) idle() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	return h.empty
}

// handle turns an envelope into an intent, has it committed, and acknowledges.
func (b *Bot) handle(life context.Context, s *socket, ev socketmode.Event, arrived time.Time) {
	env, acked := ev.Request.EnvelopeID, false
	defer func() {
		// A hostile payload must not take down what others have open.
		if p := recover(); p != nil {
			b.log.Error("an envelope could not be handled", "ref", reference(), "panic", fmt.Sprint(p))
		}
	}()
	ctx, cancel := context.WithTimeoutCause(life, ackWithin, errors.New("Slack's three seconds are over")) //nolint:staticcheck // names Slack
	defer cancel()
	ack := func(payload any) {
		if s.ack(ctx, env, payload) {
			acked = true
			b.o.Observe.envelope(kindOf(ev), true, time.Since(arrived))
		}
	}
	defer func() {
		if !acked {
			b.o.Observe.envelope(kindOf(ev), false, time.Since(arrived))
		}
	}()
	switch data := ev.Data.(type) {
	case slack.SlashCommand:
		b.slash(life, ctx, env, data, ack, b.whisperer(life, data.ResponseURL, data.ChannelID, data.UserID))
	case slack.InteractionCallback:
		whisper := b.whisperer(life, data.ResponseURL, data.Channel.ID, data.User.ID)
		switch {
		case data.View.Type == slack.VTHomeTab:
			whisper = b.overHome(life, data.TriggerID, whisper)
		case data.View.Type == slack.VTModal && data.View.ID != "":
			whisper = b.inModal(life, data.View.ID, whisper)
		}
		b.interaction(ctx, env, data, ack, whisper)
	case slackevents.EventsAPIEvent:
		// Nothing is decided by events; unacknowledged they come again.
		ack(nil)
		b.event(data)
	default:
		ack(nil)
	}
}

// kindOf names the kind of an envelope.
func kindOf(ev socketmode.Event) string {
	switch data := ev.Data.(type) {
	case slack.SlashCommand:
		return EnvelopeCommand
	case slack.InteractionCallback:
		switch data.Type {
		case slack.InteractionTypeBlockActions:
			return EnvelopeClick
		case slack.InteractionTypeViewSubmission:
			return EnvelopeForm
		case slack.InteractionTypeShortcut:
			return EnvelopeShortcut
		default:
			return EnvelopeOther
		}
	case slackevents.EventsAPIEvent:
		return EnvelopeEvent
	default:
		return EnvelopeOther
	}
}

// event takes in what Slack tells beside commands and clicks.
func (b *Bot) event(e slackevents.EventsAPIEvent) {
	opened, ok := e.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent)
	if !ok || opened.Tab != "home" || opened.User == "" || len(opened.User) > 32 {
		return
	}
	if err := b.ours(e.APIAppID, e.TeamID, ""); err != nil {
		b.log.Warn("an event that is not for us was set aside", "user", clip(opened.User), "team", clip(e.TeamID))
		return
	}
	b.homes.opened(grant.UserID(opened.User))
}

// ackWithin leaves Slack's three seconds some room for the way back.
const ackWithin = 2500 * time.Millisecond

// reply is what a person sees in answer, and nobody else.
type reply struct {
	msg view.Message
	// modal is a form to be opened; then msg says what to do where that fails.
	modal *view.Modal
	// later is the rest of the answer, which takes longer than Slack waits; nil:
	// there is none.
	later func(context.Context) reply
}

// payload is the body of an acknowledgement or of a response_url. slack.Msg is
// not used for it: it carries empty metadata and null blocks.
func (r reply) payload() map[string]any {
	p := map[string]any{"response_type": "ephemeral", "text": r.msg.Text}
	if len(r.msg.Blocks) > 0 {
		p["blocks"] = json.RawMessage(r.msg.BlocksJSON())
	}
	return p
}

// largestAck is below the size at which Slack drops an acknowledgement without
// a word: 20 kB (slackapi issue slack-go#1196).
const largestAck = 19_000

// slash handles a slash command.
func (b *Bot) slash(life, ctx context.Context, env string, cmd slack.SlashCommand, ack func(any), whisper func(reply)) {
	user := grant.UserID(cmd.UserID)
	in := intent{
		keys: []string{"envelope/" + env, click("slash", cmd.TriggerID, cmd.UserID, cmd.Command, cmd.Text)},
		user: user, ref: reference(), trigger: cmd.TriggerID, rules: b.rules(),
	}
	if err := b.ours(cmd.APIAppID, cmd.TeamID, ""); err != nil {
		b.log.Warn("a command that is not for us was refused", "user", clip(cmd.UserID), "team", clip(cmd.TeamID))
		ack(b.refusal("command", in, err).payload())
		return
	}
	answer, err := b.command(ctx, in, cmd.Text)
	if err != nil {
		if lost, ok := errors.AsType[*uncommitted](err); ok {
			// Not in the store: not acknowledged, and Slack tells the person.
			b.log.Error("a command could not be stored", "ref", lost.ref, "user", user, "err", lost.cause)
			return
		}
		answer = b.refusal("command", in, err)
	}
	if answer.modal != nil {
		err := b.openForm(ctx, cmd.TriggerID, *answer.modal)
		if err == nil {
			ack(nil)
			return
		}
		answer = b.noForm(user, err, answer.msg.Text)
	}
	if answer.later != nil {
		defer b.follow(life, answer.later, whisper)
	}
	body := answer.payload()
	if js, err := json.Marshal(body); err != nil || len(js) > largestAck {
		ack(nil)
		whisper(answer)
		return
	}
	ack(body)
}

// intent is one thing that a person wants, on its way to the store.
type intent struct {
	keys []string
	user grant.UserID
	ref  string
	// trigger opens a form, within three seconds of the person's act.
	trigger string
	rules   *rules // by which it is decided
}

// mostLater is how many long answers are being worked on at a time.
const mostLater = 4

// follow brings the rest of an answer when it is there. It changes nothing, so
// nothing is lost when the program stops meanwhile.
func (b *Bot) follow(life context.Context, rest func(context.Context) reply, whisper func(reply)) {
	select {
	case b.later <- struct{}{}:
	default:
		whisper(reply{msg: view.Refused("Others are being answered just now, so this was not looked at. Nothing changed. Try again in a minute.", reference())})
		return
	}
	go func() {
		defer func() {
			<-b.later
			if p := recover(); p != nil {
				b.log.Error("an answer could not be worked out", "ref", reference(), "panic", fmt.Sprint(p))
			}
		}()
		if r := rest(life); life.Err() == nil {
			whisper(r)
		}
	}()
}

// interaction handles a click.
func (b *Bot) interaction(ctx context.Context, env string, cb slack.InteractionCallback, ack func(any), whisper func(reply)) {
	user := grant.UserID(cb.User.ID)
	in := intent{keys: []string{"envelope/" + env}, user: user, ref: reference(), trigger: cb.TriggerID, rules: b.rules()}
	tell := func(err error) {
		answer := b.refusal("click", in, err)
		if cb.Type == slack.InteractionTypeViewSubmission {
			// In the form's place: an empty acknowledgement would close it, and the
			// answer with it.
			ack(map[string]any{"response_action": "update", "view": json.RawMessage(view.Said("Not done", answer.msg).JSON())})
			return
		}
		ack(nil)
		whisper(answer)
	}
	if err := b.ours(cb.APIAppID, cb.Team.ID, cb.User.TeamID); err != nil {
		b.log.Warn("a click that is not for us was refused", "user", clip(cb.User.ID), "team", clip(cb.Team.ID))
		tell(err)
		return
	}
	switch cb.Type {
	case slack.InteractionTypeBlockActions:
	case slack.InteractionTypeViewSubmission:
		b.submitted(ctx, env, cb, ack)
		return
	case slack.InteractionTypeShortcut:
		if err := b.room.ours(); err != nil {
			tell(err)
			return
		}
		b.shortcut(ctx, cb, ack, whisper)
		return
	default:
		ack(nil)
		return
	}
	if len(cb.ActionCallback.BlockActions) != 1 || cb.ActionCallback.BlockActions[0] == nil {
		b.log.Warn("a click without exactly one action was set aside", "user", user, "actions", len(cb.ActionCallback.BlockActions))
		ack(nil)
		return
	}
	action := cb.ActionCallback.BlockActions[0]
	what, value := action.ActionID, action.Value
	if what == view.ActionMore {
		what, value, _ = strings.Cut(action.SelectedOption.Value, " ")
	}
	in.keys = append(in.keys, click("action", cb.TriggerID, cb.User.ID, what, value, action.ActionTs))
	answer, err := b.press(ctx, in, what, value)
	var lost *uncommitted
	switch {
	case errors.As(err, &lost):
		b.log.Error("a click could not be stored", "ref", lost.ref, "user", user, "err", lost.cause)
	case err != nil:
		tell(err)
	case answer != nil && answer.modal != nil:
		err := b.openForm(ctx, cb.TriggerID, *answer.modal)
		ack(nil)
		if err != nil {
			whisper(b.noForm(user, err, answer.msg.Text))
		}
	default:
		ack(nil)
		if answer == nil && cb.View.Type == slack.VTModal {
			// No card is edited before their eyes.
			if r, err := b.command(ctx, in, "status"); err == nil {
				answer = &r
			}
		}
		if answer != nil {
			whisper(*answer)
		}
	}
}

// press does what a button says. The button's value is the opaque token of the
// grant; everything else is looked up.
func (b *Bot) press(ctx context.Context, in intent, action, value string) (*reply, error) {
	if action == view.ActionRequest {
		if err := b.room.ours(); err != nil {
			return nil, err
		}
		return &reply{modal: in.rules.form(grant.Ask{}, false), msg: view.Message{Text: "`/breakglass grant cell=NAME arn=ARN ticket=NUMBER for=4h reason=WHY`"}}, nil
	}
	if action == view.ActionRevokeAll {
		r, err := b.revokeAll(ctx, in, "")
		return &r, err
	}
	if len(value) > 64 {
		return nil, unknownCard()
	}
	if action == view.ActionAdopt || action == view.ActionRemove {
		return b.answerStray(ctx, in, action, value)
	}
	value, behind, _ := strings.Cut(value, ":")
	g, err := b.o.Store.ByToken(value)
	if err != nil {
		if refusal, ok := errors.AsType[*grant.Refusal](err); ok && refusal.Code == grant.NotFound {
			return nil, unknownCard()
		}
		return nil, err
	}
	if action == view.ActionRevokeCell {
		r, err := b.revokeAll(ctx, in, g.Cell)
		return &r, err
	}
	var ev grant.Event
	switch action {
	case view.ActionApprove, view.ActionApproveRedirect:
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return nil, err
		}
		if err := b.people.another(ctx, in.user, g.ID, g.Requester, g.Approvals); by.Approver && err != nil {
			return nil, err
		}
		ev = grant.Approve{By: by}
		if action == view.ActionApproveRedirect {
			ev = grant.Approve{By: by, Yes: behind}
		}
	case view.ActionApproveLess, view.ActionDenyWhy:
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return nil, err
		}
		if err := g.MayDecide(by, action == view.ActionApproveLess); err != nil {
			return nil, err
		}
		if action == view.ActionApproveLess {
			if err := b.room.ours(); err != nil {
				return nil, err
			}
		}
		m, words := view.ApproveLessForm(g), "Approve or Deny on the card"
		if action == view.ActionDenyWhy {
			m = view.DenyForm(g)
		}
		return &reply{modal: &m, msg: view.Message{Text: words}}, nil
	case view.ActionExtend:
		// A form that would be refused is not worth filling in.
		if _, _, err := g.Apply(grant.Extend{By: grant.Actor{Kind: grant.Person, User: in.user, Requester: true}, For: time.Second}, time.Now().UTC()); err != nil {
			return nil, err
		}
		if err := b.room.ours(); err != nil {
			return nil, err
		}
		limit := in.rules.policy.Limits.Max
		if limit > 0 {
			// What is left counts, too; a form without a limit is not meant.
			if limit -= max(time.Until(g.End), 0); limit < time.Second {
				return nil, grant.Refuse(grant.TooLong, "%s still has as long to go as is allowed here, %s. Nothing changed. Ask for more later.", g.ID, grant.FormatDuration(in.rules.policy.Limits.Max))
			}
		}
		m := view.ExtendForm(g, limit)
		return &reply{modal: &m, msg: view.Message{Text: "`/breakglass extend " + g.ID.String() + " 2h`"}}, nil
	case view.ActionApproveExtension, view.ActionDenyExtension:
		n, err := strconv.Atoi(behind)
		if err != nil {
			return nil, unknownCard()
		}
		by, err := in.rules.approver(ctx, in.user)
		if own := action == view.ActionDenyExtension && g.Extension.Pending() && g.Extension.By == in.user; err != nil && !own {
			return nil, err
		}
		if x := g.Extension; x != nil && by.Approver && action == view.ActionApproveExtension {
			if err := b.people.another(ctx, in.user, g.ID, x.By, x.Approvals); err != nil {
				return nil, err
			}
		}
		ev = grant.ApproveExtension{By: by, N: n}
		if action == view.ActionDenyExtension {
			ev = grant.DenyExtension{By: by, N: n}
		}
	case view.ActionSign:
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return nil, err
		}
		if err := b.people.another(ctx, in.user, g.ID, g.Requester, nil); by.Approver && err != nil {
			return nil, err
		}
		ev = grant.Sign{By: by}
	case view.ActionDeny:
		by, err := in.rules.approver(ctx, in.user)
		if err != nil {
			return nil, err
		}
		ev = grant.Deny{By: by}
	case view.ActionWithdraw:
		ev = grant.Withdraw{By: grant.Actor{Kind: grant.Person, User: in.user}}
	case view.ActionRevoke, view.ActionRevokeKnowing:
		by, err := in.rules.closer(ctx, in.user, g)
		if err != nil {
			return nil, err
		}
		if action == view.ActionRevoke {
			if ask, err := b.wouldCut(g); ask != nil || err != nil {
				return ask, err
			}
		}
		ev = grant.Revoke{By: by}
	case view.ActionMarkSent:
		by, err := in.rules.closer(ctx, in.user, g)
		if err != nil {
			return nil, err
		}
		ev = grant.MarkSent{By: by}
	default:
		b.log.Warn("a button that nobody made was pressed", "user", in.user, "action", clip(action))
		return nil, unknownCard()
	}
	_, err = b.commit(in, g.ID, ev)
	return nil, err
}

func unknownCard() error {
	return grant.Refuse(grant.NotFound, "This card is of a grant that I do not know, so nothing changed. `/breakglass status` shows what there is.")
}

// commit has the store decide, and remember. What it refuses for people comes
// back as a refusal; anything else means that nothing was stored.
func (b *Bot) commit(in intent, id grant.ID, ev grant.Event) (store.Result, error) {
	if err := b.room.lets(ev); err != nil {
		return store.Result{}, err
	}
	var res store.Result
	err := b.underRules(in.rules, ev, func() (err error) {
		res, err = b.o.Store.Commit(store.Change{Keys: in.keys, Grant: id, Event: ev, Now: time.Now().UTC(), Ref: in.ref})
		return err
	})
	if err == nil {
		if !res.Duplicate {
			b.log.Info("decided", "ref", in.ref, "grant", res.Grant.ID.String(), "event", string(ev.Kind()), "by", ev.Actor().String(), "phase", string(res.Grant.Phase))
		}
		return res, nil
	}
	if refusal, ok := errors.AsType[*grant.Refusal](err); ok {
		return res, refusal
	}
	return res, &uncommitted{ref: in.ref, cause: err}
}

// uncommitted says that the store took nothing in. Such an envelope is not
// acknowledged.
type uncommitted struct {
	ref   string
	cause error
}

func (u *uncommitted) Error() string { return u.cause.Error() }

func (u *uncommitted) Unwrap() error { return u.cause }

// ours answers a refusal for an envelope that is for another app or comes from
// another team. team is the payload's, which is empty for clicks in an
// installation of a whole organisation; userTeam is the person's own.
func (b *Bot) ours(app, team, userTeam string) error {
	us, ourApp := b.us()
	if app != "" && ourApp != "" && app != ourApp {
		return grant.Refuse(grant.NotAllowed, "This was meant for another app. Nothing changed.")
	}
	if team == "" {
		team = userTeam
	}
	if team != us || us == "" || (userTeam != "" && userTeam != us) {
		return grant.Refuse(grant.NotAllowed, "This bot serves another Slack team. Nothing changed. Ask a member of the team that runs it.")
	}
	return nil
}

// refusal turns an error into what the person sees: a refusal's own words, or a
// reference that is also in the log.
func (b *Bot) refusal(what string, in intent, err error) reply {
	if r, ok := errors.AsType[*grant.Refusal](err); ok {
		attrs := []any{"ref", in.ref, "what", what, "user", clip(string(in.user)), "code", string(r.Code)}
		if u, ok := errors.AsType[*unsure](err); ok {
			attrs = append(attrs, "err", redact(u.cause))
		}
		b.log.Info("refused", attrs...)
		b.o.Observe.refused(r.Code)
		b.remember(what, in, r.Code)
		return reply{msg: view.Refused(r.Text, in.ref)}
	}
	b.log.Error("failed", "ref", in.ref, "what", what, "user", clip(string(in.user)), "err", redact(err))
	return reply{msg: view.Failed(in.ref)}
}

// remember has the audit log hold that somebody tried what is not theirs to do, or
// not now. Words that nobody understood are no attempt at anything.
func (b *Bot) remember(what string, in intent, code grant.Code) {
	switch code {
	case grant.BadRequest, grant.NotFound, grant.UnknownCell, grant.AskFirst:
		if what != "click" {
			return
		}
	default:
	}
	// A form may be sent in again after a refusal: what tells one form from
	// another, behind the first two keys, is not used up by it.
	err := b.o.Store.Refused(store.Attempt{
		Keys: in.keys[:min(len(in.keys), 2)], Actor: grant.Actor{Kind: grant.Person, User: grant.UserID(clip(string(in.user)))},
		What: what, Code: code, Now: time.Now(), Ref: in.ref,
	})
	if err != nil {
		b.log.Error("that somebody was refused could not be stored", "ref", in.ref, "err", err)
	}
}

// whisperer answers somebody alone, after the acknowledgement. Where a
// response_url is given it is used: it works where the bot is no member.
func (b *Bot) whisperer(life context.Context, responseURL, channel, user string) func(reply) {
	return func(r reply) {
		ctx, cancel := context.WithTimeout(life, 10*time.Second)
		defer cancel()
		if b.gate.slacks(responseURL) {
			body := r.payload()
			body["replace_original"] = false
			if err := b.posts.respond(ctx, responseURL, body); err == nil {
				return
			}
			b.log.Debug("a response_url did not take the answer; trying chat.postEphemeral", "user", clip(user))
		}
		in := grant.ChannelID(channel)
		if in == "" {
			in = b.o.Channel
		}
		err := b.posts.ephemeral(ctx, in, grant.UserID(user), r.msg)
		if away(err) {
			_, _, err = b.posts.post(ctx, place{channel: grant.ChannelID(user)}, func() (view.Message, error) { return r.msg, nil })
		}
		if err != nil {
			b.log.Warn("an answer could not be delivered", "user", clip(user), "err", redact(err))
		}
	}
}

// away reports whether somebody is not in the channel, where only a direct message
// reaches them.
func away(err error) bool {
	e, ok := errors.AsType[slack.SlackErrorResponse](err)
	return ok && (e.Err == "user_not_in_channel" || e.Err == "channel_not_found" || e.Err == "not_in_channel" || e.Err == "is_archived")
}

// overHome answers somebody who looks at their App Home, where no message can
// stand: in a form without fields.
func (b *Bot) overHome(life context.Context, trigger string, otherwise func(reply)) func(reply) {
	return func(r reply) {
		if err := b.openForm(life, trigger, view.Said("breakglass", r.msg)); err != nil {
			otherwise(r)
		}
	}
}

// inModal answers somebody who pressed a button in an answer of [Bot.overHome]: in
// its place.
func (b *Bot) inModal(life context.Context, id string, otherwise func(reply)) func(reply) {
	return func(r reply) {
		ctx, cancel := context.WithTimeout(life, openWithin)
		defer cancel()
		m := view.Said("breakglass", r.msg)
		var req slack.ModalViewRequest
		err := json.Unmarshal(m.JSON(), &req)
		if err == nil {
			_, err = b.api.UpdateViewContext(ctx, req, "", "", id)
		}
		if err != nil {
			otherwise(r)
		}
	}
}

// click identifies one act of one person, whatever envelope brings it.
func click(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return "click/" + hex.EncodeToString(h.Sum(nil))
}

// clip makes something from a payload safe for a log line.
func clip(s string) string { return grant.Clean(s, 40) }

// newToken makes the opaque id that a grant's buttons carry.
func newToken() string { return strings.ToLower(rand.Text()) }
