package slacksim

import (
	"context"
	"encoding/json"
	"fmt"
)

// ClickIn presses a button in a modal or in the App Home.
func (p *Person) ClickIn(ctx context.Context, v View, button string, edits ...Edit) (Interaction, error) {
	return p.ClickButtonIn(ctx, v, Button{ActionID: button}, edits...)
}

// ClickButtonIn is ClickButton for a view: b is from View.Buttons.
func (p *Person) ClickButtonIn(ctx context.Context, v View, b Button, edits ...Edit) (Interaction, error) {
	return p.inView(ctx, v, b, nil, edits)
}

// ChooseIn picks an option of a menu in a view, by its value or its text. The app hears of it at once where
// the menu stands in a section or in actions, and in an input only if that has dispatch_action (docs.slack.dev,
// "Input block"); otherwise the choice waits for Submit and the result is empty.
func (p *Person) ChooseIn(ctx context.Context, v View, menu, choice string, edits ...Edit) (Interaction, error) {
	return p.inView(ctx, v, Button{ActionID: menu}, &choice, edits)
}

// EnterIn types into a text input of a view and presses Enter. As with ChooseIn, the app hears of it only if
// the input has dispatch_action. One call is one block_actions, however many characters there are.
func (p *Person) EnterIn(ctx context.Context, v View, input, text string, edits ...Edit) (Interaction, error) {
	return p.inView(ctx, v, Button{ActionID: input}, &text, edits)
}

func (p *Person) inView(ctx context.Context, v View, b Button, choice *string, edits []Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		now, err := s.viewOf(u, v.ID)
		if err != nil {
			return nil, nil, err
		}
		found, err := locate(buttons(now.Blocks), b)
		if err != nil {
			return nil, nil, err
		}
		action, err := s.actionJSON(now.menu(found), choice)
		if err != nil {
			return nil, nil, err
		}
		if choice != nil {
			if err := now.set(found, *choice); err != nil {
				return nil, nil, err
			}
			s.changedView(ViewFilled, now)
		}
		if !dispatches(blockOf(now.Blocks, found.BlockID)) {
			return nil, nil, errSilent
		}
		inModal := ""
		if now.Type == "modal" {
			inModal = now.ID
		}
		trigger := s.newTrigger(u.ID, "", inModal)
		o := s.interaction("block_actions", u)
		o["trigger_id"] = trigger
		o["container"] = object{"type": "view", "view_id": now.ID}
		o["view"] = s.viewJSON(now)
		o["actions"] = []any{action}
		e := newEnvelope("block_actions", typeInteractive, u.ID)
		e.trigger = trigger
		e.fail = warned
		return e, o, nil
	})
}

// dispatches says whether the app hears at once of what happens in a block (docs.slack.dev, "Input block":
// dispatch_action).
func dispatches(b Block) bool { return str(b, "type") != "input" || b["dispatch_action"] == true }

// viewOf finds a view that a person has before them. The caller holds mu.
func (s *Slack) viewOf(u *User, id string) (*view, error) {
	v := s.views[id]
	if v == nil || v.User != u.ID {
		return nil, fmt.Errorf("%w: %s has no view %s open", ErrRefused, u.ID, id)
	}
	if stack := s.stacks[u.ID]; v.Type == "modal" && stack[len(stack)-1] != v {
		return nil, fmt.Errorf("%w: view %s lies under another", ErrRefused, id)
	}
	return v, nil
}

// Fill enters values into the inputs of a view and leaves them there. Nothing reaches the app.
func (p *Person) Fill(v View, values Values) error {
	s := p.slack
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[p.id]
	if u == nil || u.Deleted {
		return fmt.Errorf("%w: %s cannot sign in", ErrRefused, p.id)
	}
	now, err := s.viewOf(u, v.ID)
	if err != nil {
		return err
	}
	if err := now.fill(values); err != nil {
		return err
	}
	s.changedView(ViewFilled, now)
	return nil
}

// Submit fills in a modal and presses its submit button. What the form itself refuses (a required input
// left empty, an option that is not there) is an ErrRefused and reaches no app.
func (p *Person) Submit(ctx context.Context, v View, values Values, edits ...Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		now, err := s.viewOf(u, v.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case now.Type != "modal" || now.Submit == "":
			return nil, nil, fmt.Errorf("%w: view %s has no submit button", ErrRefused, v.ID)
		}
		if err := now.fill(values); err != nil {
			return nil, nil, err
		}
		if err := now.complete(); err != nil {
			return nil, nil, err
		}
		trigger := s.newTrigger(u.ID, "", now.ID)
		o := s.interaction("view_submission", u)
		o["trigger_id"] = trigger
		o["view"] = s.viewJSON(now)
		o["response_urls"] = s.responseURLsOf(now, trigger)
		e := newEnvelope("view_submission", typeInteractive, u.ID)
		e.accepts, e.trigger = true, trigger
		e.answer = func(raw json.RawMessage) string { return s.answerSubmission(now.ID, raw) }
		e.fail = func(string) string {
			if s.views[now.ID] == now { // The person may have closed it meanwhile.
				now.Trouble = troubleConnecting
				s.changedView(ViewUpdated, now)
			}
			return troubleConnecting
		}
		return e, o, nil
	})
}

// responseURLsOf makes one response_url for every menu of conversations that asks for it with
// response_url_enabled and has something chosen (docs.slack.dev, "View interaction payloads"). The caller
// holds mu.
func (s *Slack) responseURLsOf(v *view, trigger string) []any {
	list := []any{}
	for _, b := range buttons(v.Blocks) {
		o := v.state[b.BlockID][b.ActionID]
		channel := str(o, "selected_conversation") + str(o, "selected_channel")
		if b.element["response_url_enabled"] != true || channel == "" || str(blockOf(v.Blocks, b.BlockID), "type") != "input" {
			continue
		}
		list = append(list, object{
			"block_id": b.BlockID, "action_id": b.ActionID, "channel_id": channel,
			"response_url": s.newResponseURL("app", &responseURL{user: v.User, channel: channel, trigger: trigger, publish: true}),
		})
	}
	return list
}

// CloseModal presses the close button of a modal. The app hears of it only if the view has
// notify_on_close; otherwise the result is empty. With clear_on_close the whole stack goes.
func (p *Person) CloseModal(ctx context.Context, v View, edits ...Edit) (Interaction, error) {
	return p.leave(ctx, v, func(v *view) bool { return v.clearOnClose }, edits)
}

// DismissModal presses the x in the corner of a modal: the whole stack goes. The app hears of it as with
// CloseModal.
func (p *Person) DismissModal(ctx context.Context, v View, edits ...Edit) (Interaction, error) {
	return p.leave(ctx, v, func(*view) bool { return true }, edits)
}

func (p *Person) leave(ctx context.Context, v View, whole func(*view) bool, edits []Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		now, err := s.viewOf(u, v.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case now.Type != "modal":
			return nil, nil, fmt.Errorf("%w: view %s is no modal", ErrRefused, v.ID)
		}
		cleared := whole(now)
		o := s.interaction("view_closed", u)
		o["view"] = s.closedViewJSON(now)
		o["is_cleared"] = cleared
		if cleared {
			s.closeViews(s.stacks[u.ID][0])
		} else {
			s.closeViews(now)
		}
		if !now.notifyOnClose {
			return nil, nil, errSilent
		}
		return newEnvelope("view_closed", typeInteractive, u.ID), o, nil
	})
}

// closedViewJSON is the view of a view_closed, which has "the full state of the view, excluding any input
// blocks" (docs.slack.dev, "View interaction payloads"). The caller holds mu.
func (s *Slack) closedViewJSON(v *view) object {
	o := s.viewJSON(v)
	values := object{}
	for block, actions := range v.state {
		if str(blockOf(v.Blocks, block), "type") != "input" {
			values[block] = cloneState(actions)
		}
	}
	o["state"] = object{"values": values}
	return o
}

// Reload restarts the person's client. Ephemeral messages do not outlive that (docs.slack.dev,
// "chat.postEphemeral"), and open modals are gone; the app hears nothing of either.
func (p *Person) Reload() {
	s := p.slack
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range copies(s.ephemerals, func(m *Message) bool { return m.To == p.id }) {
		s.forget(m.Channel, m.TS)
	}
	if stack := s.stacks[p.id]; len(stack) > 0 {
		s.closeViews(stack[0])
	}
}
