package slacksim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Errors of people who try what Slack does not let them do. Nothing reaches the app then.
var (
	ErrRefused     = errors.New("slack refuses")
	ErrNoButton    = errors.New("no such button")
	ErrManyButtons = errors.New("more than one such button")
)

// errSilent ends an act of which the app does not hear.
var errSilent = errors.New("nothing to send")

// Person is somebody who uses Slack.
type Person struct {
	slack *Slack
	id    string
}

// Edit changes a payload before it is sent, for payloads that an attacker or a broken client made.
type Edit = func(payload map[string]any)

// Person returns the person with a user id that AddUser knows.
func (s *Slack) Person(id string) *Person { return &Person{slack: s, id: id} }

// ID is the person's user id.
func (p *Person) ID() string { return p.id }

// Ephemerals returns the ephemeral messages that this person can still see.
func (p *Person) Ephemerals() []Message { return p.slack.Ephemerals(p.id) }

// DMs returns the direct messages between the bot and this person.
func (p *Person) DMs() []Message { return p.slack.DMs(p.id) }

// WaitEphemeral waits for an ephemeral message to this person that ok accepts.
func (p *Person) WaitEphemeral(ctx context.Context, ok func(Message) bool) (Message, error) {
	return p.slack.WaitEphemeral(ctx, p.id, ok)
}

// WaitDM waits for a direct message to this person that ok accepts.
func (p *Person) WaitDM(ctx context.Context, ok func(Message) bool) (Message, error) {
	return p.slack.WaitDM(ctx, p.id, ok)
}

// Modal returns the modal that the person has before their eyes.
func (p *Person) Modal() (View, bool) {
	p.slack.mu.Lock()
	defer p.slack.mu.Unlock()
	stack := p.slack.stacks[p.id]
	if len(stack) == 0 {
		return View{}, false
	}
	return stack[len(stack)-1].look(), true
}

// Home returns the person's App Home, if the app has published one.
func (p *Person) Home() (View, bool) {
	p.slack.mu.Lock()
	defer p.slack.mu.Unlock()
	v := p.slack.homes[p.id]
	if v == nil {
		return View{}, false
	}
	return v.look(), true
}

// WaitModal waits until the person sees a modal that ok accepts; nil accepts any.
func (p *Person) WaitModal(ctx context.Context, ok func(View) bool) (View, error) {
	return p.waitView(ctx, "modal", p.Modal, ok)
}

// WaitHome waits until the person's App Home is one that ok accepts; nil accepts any.
func (p *Person) WaitHome(ctx context.Context, ok func(View) bool) (View, error) {
	return p.waitView(ctx, "home", p.Home, ok)
}

func (p *Person) waitView(ctx context.Context, what string, get func() (View, bool), ok func(View) bool) (View, error) {
	var v View
	err := p.slack.Wait(ctx, func() bool {
		var is bool
		v, is = get()
		return is && (ok == nil || ok(v))
	})
	if err != nil {
		return View{}, fmt.Errorf("no such %s for %s: %w; there is:\n%s", what, p.id, err, p.slack.RenderView(v))
	}
	return v, nil
}

// act runs build with mu held, applies the edits, and sends what came of it.
func (p *Person) act(ctx context.Context, edits []Edit, build func(s *Slack, u *User) (*envelope, object, error)) (Interaction, error) {
	s := p.slack
	s.mu.Lock()
	u := s.users[p.id]
	from := len(s.changes)
	if u == nil || u.Deleted {
		s.mu.Unlock()
		return Interaction{}, fmt.Errorf("%w: %s cannot sign in", ErrRefused, p.id)
	}
	e, payload, err := build(s, u)
	if err != nil {
		s.mu.Unlock()
		if errors.Is(err, errSilent) {
			err = nil
		}
		return Interaction{}, err
	}
	e.payload = mustJSON(payload)
	s.mu.Unlock()
	if len(edits) > 0 {
		var own object
		if err := decode(e.payload, &own); err != nil {
			return Interaction{}, err
		}
		for _, edit := range edits {
			edit(own)
		}
		e.payload = mustJSON(own)
	}
	return s.deliver(ctx, e, from)
}

// sees finds a channel that a user can look into. The caller holds mu.
func (s *Slack) sees(u *User, channel string) (*Channel, error) {
	c := s.channels[channel]
	switch {
	case c == nil:
		return nil, fmt.Errorf("%w: there is no channel %s", ErrRefused, channel)
	case c.has(u.ID):
	case c.Private, u.Guest != NoGuest, u.Stranger:
		return nil, fmt.Errorf("%w: %s does not see channel %s", ErrRefused, u.ID, channel)
	}
	if u.Stranger && !c.ExtShared {
		return nil, fmt.Errorf("%w: %s is from another team and channel %s is not shared", ErrRefused, u.ID, channel)
	}
	return c, nil
}

// Slash types a slash command into a channel and waits for the ack. Slack sends no slash command from a
// thread, none from an archived channel, and none of a stranger's in a shared channel.
func (p *Person) Slash(ctx context.Context, channel, command, text string, edits ...Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		c, err := s.sees(u, channel)
		switch {
		case err != nil:
			return nil, nil, err
		case !slices.Contains(s.opt.Commands, command):
			return nil, nil, fmt.Errorf("%w: %s is not a valid command", ErrRefused, command)
		case s.bot().need("commands") != nil:
			// An app has its commands and shortcuts through this scope (docs.slack.dev, "commands scope").
			return nil, nil, fmt.Errorf("%w: the app was installed without the scope commands, so there is no %s", ErrRefused, command)
		case u.Stranger:
			return nil, nil, fmt.Errorf("%w: slash commands are not shared with other teams", ErrRefused)
		case c.Archived:
			return nil, nil, fmt.Errorf("%w: channel %s is archived", ErrRefused, channel)
		}
		trigger := s.newTrigger(u.ID, channel, "")
		url := s.newResponseURL("commands", &responseURL{user: u.ID, channel: channel, trigger: trigger})
		if s.opt.EscapeCommands {
			text = s.escapeMentions(text)
		}
		o := object{
			"token": verification, "team_id": s.opt.TeamID, "team_domain": s.opt.TeamDomain, "channel_id": channel,
			"channel_name": c.shownName(), "user_id": u.ID, "user_name": u.Name, "command": command, "text": strings.TrimSpace(text),
			"api_app_id": s.opt.AppID, "is_enterprise_install": fmt.Sprint(s.opt.OrgInstall), "response_url": url,
			"trigger_id": trigger,
		}
		if s.opt.EnterpriseID != "" {
			o["enterprise_id"], o["enterprise_name"] = s.opt.EnterpriseID, s.opt.EnterpriseName
		}
		e := newEnvelope(typeSlash, typeSlash, u.ID)
		e.accepts, e.trigger, e.url = true, trigger, url
		e.answer = func(raw json.RawMessage) string { return s.answerSlash(raw, u.ID, channel, trigger) }
		e.fail = func(why string) string {
			code := "operation_timeout"
			if why == noConnection {
				code = "dispatch_failed"
			}
			return s.slackbot(u.ID, channel, trigger, fmt.Sprintf("%s failed with the error %q", command, code))
		}
		return e, o, nil
	})
}

// Click presses a button of a message, as the message is now: it is found by its action_id, or by the
// beginning of its label.
func (p *Person) Click(ctx context.Context, m Message, button string, edits ...Edit) (Interaction, error) {
	return p.ClickButton(ctx, m, Button{ActionID: button}, edits...)
}

// ClickButton presses one of several buttons that look alike: b is from Message.Buttons. Fields of b that
// are empty are not compared.
func (p *Person) ClickButton(ctx context.Context, m Message, b Button, edits ...Edit) (Interaction, error) {
	return p.onMessage(ctx, m, b, nil, edits)
}

// Choose picks an option of a menu in a message, by its value or its text. The app hears of it at once, except
// in an input without dispatch_action; either way the person's later clicks in the message carry it in their
// state.
func (p *Person) Choose(ctx context.Context, m Message, menu, choice string, edits ...Edit) (Interaction, error) {
	return p.onMessage(ctx, m, Button{ActionID: menu}, &choice, edits)
}

func (p *Person) onMessage(ctx context.Context, m Message, b Button, choice *string, edits []Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		now, err := s.seesMessage(u, m)
		if err != nil {
			return nil, nil, err
		}
		found, err := locate(now.Buttons(), b)
		if err != nil {
			return nil, nil, err
		}
		filled := s.sheetOf(u.ID, now)
		action, err := s.actionJSON(filled.menu(found), choice)
		if err != nil {
			return nil, nil, err
		}
		if choice != nil {
			if err := filled.set(found, *choice); err != nil {
				return nil, nil, err
			}
		}
		if !dispatches(blockOf(now.Blocks, found.BlockID)) {
			return nil, nil, errSilent
		}
		e, o := s.blockActions(u, m.Channel, now, action)
		return e, o, nil
	})
}

// seesMessage finds a message, as it is now, that a person has before them. The caller holds mu.
func (s *Slack) seesMessage(u *User, m Message) (*Message, error) {
	if _, err := s.sees(u, m.Channel); err != nil {
		return nil, err
	}
	now := s.find(m.Channel, m.TS)
	if m.Ephemeral {
		if now = s.findEphemeral(m.Channel, m.TS); now != nil && now.To != u.ID {
			now = nil
		}
	}
	if now == nil {
		return nil, fmt.Errorf("%w: %s sees no message %s in %s", ErrRefused, u.ID, m.TS, m.Channel)
	}
	return now, nil
}

// locate finds one control now: by all that is known of it, or as pick does.
func locate(list []Button, b Button) (Button, error) {
	if b.BlockID == "" && b.Value == "" && b.Text == "" {
		return pick(list, b.ActionID)
	}
	var found []Button
	for _, o := range list {
		same := func(want, have string) bool { return want == "" || want == have }
		if same(b.BlockID, o.BlockID) && same(b.ActionID, o.ActionID) && same(b.Value, o.Value) && same(b.Text, o.Text) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Button{}, fmt.Errorf("%w: %+v; there is %s", ErrNoButton, b, names(list))
	}
	return Button{}, fmt.Errorf("%w: %s", ErrManyButtons, names(found))
}

// Forgery is a click that no client offers: on a button that is not there, in a message that is not there.
type Forgery struct {
	Channel   string
	MessageTS string
	ActionID  string
	BlockID   string
	Value     string
	Text      string
}

// Forge sends a click with whatever is in f. For other lies (another user, another team) add an Edit.
func (p *Person) Forge(ctx context.Context, f Forgery, edits ...Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		m := s.find(f.Channel, f.MessageTS)
		if m == nil {
			m = &Message{Channel: f.Channel, TS: f.MessageTS, User: s.opt.BotUserID}
		}
		e, o := s.blockActions(u, f.Channel, m, object{
			"action_id": f.ActionID, "block_id": f.BlockID, "value": f.Value, "type": "button",
			"text": object{"type": "plain_text", "text": f.Text, "emoji": true}, "action_ts": s.actionTS(),
		})
		return e, o, nil
	})
}

// OpenHome opens the app's Home tab, which sends app_home_opened.
func (p *Person) OpenHome(ctx context.Context, edits ...Edit) (Interaction, error) {
	return p.openTab(ctx, "home", edits)
}

// OpenMessages opens the app's Messages tab, which sends app_home_opened too.
func (p *Person) OpenMessages(ctx context.Context, edits ...Edit) (Interaction, error) {
	return p.openTab(ctx, "messages", edits)
}

func (p *Person) openTab(ctx context.Context, tab string, edits []Edit) (Interaction, error) {
	return p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		if tab == "home" && s.opt.NoHomeTab || tab == "messages" && s.opt.NoMessagesTab {
			return nil, nil, fmt.Errorf("%w: the app has no %s tab", ErrRefused, tab)
		}
		event := object{
			"type": "app_home_opened", "user": u.ID, "channel": s.openIM(u.ID).ID, "tab": tab, "event_ts": s.actionTS(),
		}
		if v := s.homes[u.ID]; v != nil && tab == "home" {
			event["view"] = s.viewJSON(v)
		}
		e := newEnvelope("app_home_opened", typeEvents, u.ID)
		return e, s.eventCallback(event), nil
	})
}

// Event sends any event of the Events API, for instance one that nobody has heard of yet.
func (s *Slack) Event(ctx context.Context, event map[string]any, edits ...Edit) (Interaction, error) {
	s.mu.Lock()
	from := len(s.changes)
	kind, _ := event["type"].(string)
	e := newEnvelope(kind, typeEvents, "")
	payload := s.eventCallback(event)
	for _, edit := range edits {
		edit(payload)
	}
	e.payload = mustJSON(payload)
	s.mu.Unlock()
	return s.deliver(ctx, e, from)
}

func newEnvelope(kind, typ, person string) *envelope {
	return &envelope{id: uuid(), kind: kind, typ: typ, person: person, done: make(chan struct{})}
}

// warned is the warning triangle beside a button that nobody answered.
func warned(why string) string { return "warning: " + why }

// verification is the deprecated verification token, which is still in every payload.
const verification = "simulated-verification-token"

func (s *Slack) actionTS() string {
	now := time.Now().UnixMicro()
	return fmt.Sprintf("%d.%06d", now/1e6, now%1e6)
}

// interaction is what every interactive payload has. The team is null for an app that is installed for a
// whole organisation.
func (s *Slack) interaction(typ string, u *User) object {
	o := object{
		"type": typ, "token": verification, "api_app_id": s.opt.AppID,
		"user":       object{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
		"team":       object{"id": s.opt.TeamID, "domain": s.opt.TeamDomain},
		"enterprise": nil, "is_enterprise_install": s.opt.OrgInstall,
	}
	if s.opt.EnterpriseID != "" {
		o["enterprise"] = object{"id": s.opt.EnterpriseID, "name": s.opt.EnterpriseName}
	}
	if s.opt.OrgInstall {
		o["team"] = nil
	}
	return o
}

// eventCallback wraps an event of the Events API.
func (s *Slack) eventCallback(event object) object {
	var enterprise any
	if s.opt.EnterpriseID != "" {
		enterprise = s.opt.EnterpriseID
	}
	shared := false
	if c := s.channels[str(event, "channel")]; c != nil {
		shared = c.ExtShared
	}
	return object{
		"token": verification, "team_id": s.opt.TeamID, "api_app_id": s.opt.AppID, "type": "event_callback",
		"event_id": "Ev" + strings.ToUpper(secret(5)), "event_time": time.Now().Unix(), "event": event,
		"authorizations": []any{object{
			"enterprise_id": enterprise, "team_id": s.opt.TeamID, "user_id": s.opt.BotUserID, "is_bot": true,
			"is_enterprise_install": s.opt.OrgInstall,
		}},
		"is_ext_shared_channel": shared, "event_context": "4-" + secret(8),
	}
}

// blockActions is the payload of a click in a message. That of an ephemeral message has no message in it
// (recorded payloads: only response_url can change such a message). The caller holds mu.
func (s *Slack) blockActions(u *User, channel string, m *Message, action object) (*envelope, object) {
	trigger := s.newTrigger(u.ID, channel, "")
	url := s.newResponseURL("actions", &responseURL{
		user: u.ID, channel: channel, message: m.TS, ephemeral: m.Ephemeral, trigger: trigger,
	})
	name := ""
	if c := s.channels[channel]; c != nil {
		name = c.shownName()
	}
	values := object{}
	for block, actions := range s.sheetOf(u.ID, m).state {
		values[block] = cloneState(actions)
	}
	o := s.interaction("block_actions", u)
	o["container"], o["trigger_id"], o["response_url"] = container(m), trigger, url
	o["channel"] = object{"id": channel, "name": name}
	o["state"] = object{"values": values}
	o["actions"] = []any{action}
	if !m.Ephemeral {
		o["message"] = s.messageJSON(m)
	}
	e := newEnvelope("block_actions", typeInteractive, u.ID)
	e.trigger, e.url, e.fail = trigger, url, warned
	return e, o
}

// container says where in Slack a message of a payload stands.
func container(m *Message) object {
	o := object{"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": m.Ephemeral}
	if m.ThreadTS != "" {
		o["thread_ts"] = m.ThreadTS
	}
	return o
}

// actionJSON is one entry of "actions".
func (s *Slack) actionJSON(b Button, choice *string) (object, error) {
	o := object{"type": b.Type, "action_id": b.ActionID, "block_id": b.BlockID, "action_ts": s.actionTS()}
	for _, k := range []string{"text", "value", "style", "placeholder"} {
		if v, ok := b.element[k]; ok && (b.Type == "button" || k == "placeholder") {
			o[k] = v
		}
	}
	if choice == nil {
		if b.Type != "button" && b.Type != "workflow_button" {
			return nil, fmt.Errorf("%w: [%s] is a %s: choose an option", ErrRefused, b.Text, b.Type)
		}
		return o, nil
	}
	if b.Type == "overflow" {
		i := slices.IndexFunc(b.Options, func(op Option) bool { return op.Value == *choice || op.Text == *choice })
		if i < 0 {
			return nil, fmt.Errorf("%w: [%s] has no option %q", ErrRefused, b.Text, *choice)
		}
		o["selected_option"] = b.Options[i].raw
		return o, nil
	}
	value, err := chosen(b, *choice)
	if err != nil {
		return nil, err
	}
	maps.Copy(o, value)
	return o, nil
}

// escapeMentions turns @name, @group and #channel into what should_escape makes of them.
func (s *Slack) escapeMentions(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "@"):
			for _, u := range sorted(s.users) {
				if u.Name == w[1:] {
					words[i] = "<@" + u.ID + "|" + u.Name + ">"
				}
			}
			for _, g := range sorted(s.groups) {
				if g.Handle == w[1:] {
					words[i] = "<!subteam^" + g.ID + "|@" + g.Handle + ">"
				}
			}
		case strings.HasPrefix(w, "#"):
			for _, c := range sorted(s.channels) {
				if c.Name != w[1:] {
					continue
				}
				name := c.Name
				if c.Private {
					name = ""
				}
				words[i] = "<#" + c.ID + "|" + name + ">"
			}
		}
	}
	return strings.Join(words, " ")
}
