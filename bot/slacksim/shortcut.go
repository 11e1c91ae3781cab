package slacksim

import (
	"context"
	"fmt"
)

// Shortcut uses a global shortcut. Its payload has no channel, and neither it nor that of a message shortcut
// has an api_app_id (docs.slack.dev, "Shortcuts interaction payloads"; recorded payloads).
func (p *Person) Shortcut(ctx context.Context, callbackID string, edits ...Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		if s.bot().need("commands") != nil {
			return nil, nil, fmt.Errorf("%w: the app was installed without the scope commands, so it has no shortcuts", ErrRefused)
		}
		trigger := s.newTrigger(u.ID, "", "")
		o := s.interaction("shortcut", u)
		delete(o, "api_app_id")
		o["user"] = object{"id": u.ID, "username": u.Name, "team_id": u.TeamID}
		o["callback_id"], o["trigger_id"], o["action_ts"] = callbackID, trigger, s.actionTS()
		e := newEnvelope("shortcut", typeInteractive, u.ID)
		e.trigger, e.fail = trigger, warned
		return e, o, nil
	})
}

// MessageShortcut uses a shortcut on a message.
func (p *Person) MessageShortcut(ctx context.Context, m Message, callbackID string, edits ...Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		if s.bot().need("commands") != nil {
			return nil, nil, fmt.Errorf("%w: the app was installed without the scope commands, so it has no shortcuts", ErrRefused)
		}
		c, err := s.sees(u, m.Channel)
		if err != nil {
			return nil, nil, err
		}
		now := s.find(m.Channel, m.TS)
		if now == nil {
			return nil, nil, fmt.Errorf("%w: there is no message %s in %s", ErrRefused, m.TS, m.Channel)
		}
		trigger := s.newTrigger(u.ID, c.ID, "")
		url := s.newResponseURL("app", &responseURL{user: u.ID, channel: c.ID, message: now.TS, trigger: trigger})
		o := s.interaction("message_action", u)
		delete(o, "api_app_id")
		o["callback_id"], o["trigger_id"], o["action_ts"] = callbackID, trigger, s.actionTS()
		o["channel"] = object{"id": c.ID, "name": c.shownName()}
		o["message_ts"], o["message"], o["response_url"] = now.TS, s.messageJSON(now), url
		e := newEnvelope("message_action", typeInteractive, u.ID)
		e.trigger, e.url, e.fail = trigger, url, warned
		return e, o, nil
	})
}
