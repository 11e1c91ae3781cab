package slacksim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// triggerLife is how long a trigger_id is good for (docs.slack.dev, "Handling user interaction").
	triggerLife = 3 * time.Second
	// maxStack is how many modals lie on each other (docs.slack.dev, "Modals").
	maxStack = 3
	// troubleConnecting is what a modal says when its submission was not answered in time or not sensibly.
	troubleConnecting = "We had some trouble connecting. Try again?"
)

// View is a modal or an App Home as its person sees it at one moment.
type View struct {
	ID, Type        string // Type is modal or home
	User            string
	RootID          string
	PreviousID      string
	ExternalID      string
	CallbackID      string
	PrivateMetadata string
	Hash            string
	Title           string
	Submit, Close   string
	Blocks          []Block
	Errors          map[string]string // by block_id, under the inputs
	Trouble         string            // the banner over the whole modal
	At              time.Time         // when it last changed
	// State is what is filled in, by block_id and action_id, as it is in view.state.values. Filled reads it.
	State map[string]map[string]map[string]any
}

// Buttons returns the controls in the view from top to bottom.
func (v View) Buttons() []Button { return buttons(v.Blocks) }

// Button returns the one control whose action_id is name or whose label begins with name.
func (v View) Button(name string) (Button, error) { return pick(v.Buttons(), name) }

// view is a view and what its person has filled in. A snapshot of it goes out as View.
type view struct {
	View
	title, submit, close any // text objects
	clearOnClose         bool
	notifyOnClose        bool
	sheet
}

// look is the view as it is now. The caller holds mu.
func (v *view) look() View {
	seen := v.View
	seen.State = map[string]map[string]object{}
	for block, actions := range v.state {
		seen.State[block] = map[string]object{}
		for action, value := range actions {
			seen.State[block][action] = maps.Clone(value)
		}
	}
	return seen
}

// trigger is the right to open a view within three seconds of what a person did.
type trigger struct {
	user    string
	expires time.Time
	used    bool
	channel string // where the person acted
	view    string // the modal that the person acted in
}

// newTrigger makes a trigger id. The caller holds mu.
func (s *Slack) newTrigger(user, channel, inView string) string {
	s.serial++
	id := fmt.Sprintf("%d.%d.%s", time.Now().UnixMilli(), s.serial, secret(16))
	s.triggers[id] = &trigger{user: user, expires: time.Now().Add(triggerLife), channel: channel, view: inView}
	return id
}

func (s *Slack) takeTrigger(id string) (*trigger, *apiError) {
	t := s.triggers[id]
	switch {
	case id == "":
		return nil, refuse("invalid_arguments")
	case t == nil:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case time.Now().After(t.expires):
		return nil, refuse("expired_trigger_id")
	}
	return t, nil
}

// readView decodes and validates a view. Views are refused with invalid_arguments where messages are
// refused with invalid_blocks (docs.slack.dev, "views.open").
func (s *Slack) readView(raw, typ string) (*view, *apiError) {
	if len(raw) > maxViewBytes {
		return nil, refuse("view_too_large")
	}
	var o object
	if err := decode([]byte(raw), &o); err != nil {
		return nil, &apiError{code: "invalid_arguments", messages: []string{"[ERROR] failed to parse view [json-pointer:/view]"}}
	}
	problems := ValidateView([]byte(raw))
	if got := str(o, "type"); got != typ && len(problems) == 0 {
		problems = append(problems, Problem{"/view/type", "unsupported type: " + got})
	}
	if len(problems) > 0 {
		e := refuse("invalid_arguments")
		for _, p := range problems {
			e.messages = append(e.messages, p.String())
		}
		return nil, e
	}
	v := &view{
		View: View{
			Type: typ, ExternalID: str(o, "external_id"), CallbackID: str(o, "callback_id"),
			PrivateMetadata: str(o, "private_metadata"), Title: textOf(o["title"]), Submit: textOf(o["submit"]),
			Close: textOf(o["close"]), At: time.Now(),
		},
		title: o["title"], submit: o["submit"], close: o["close"],
	}
	v.clearOnClose, _ = o["clear_on_close"].(bool)
	v.notifyOnClose, _ = o["notify_on_close"].(bool)
	v.Blocks = objects(o["blocks"])
	if v.Blocks == nil {
		v.Blocks = []Block{}
	}
	nameBlocks(v.Blocks)
	v.state = initialState(v.Blocks)
	return v, nil
}

// rehash gives the view a new hash. The caller holds mu.
func (s *Slack) rehash(v *view) {
	v.Hash = fmt.Sprintf("%d.%s", time.Now().Unix(), secret(4))
	v.At = time.Now()
}

func (s *Slack) taken(externalID, except string) bool {
	if externalID == "" {
		return false
	}
	for _, v := range s.views {
		if v.ExternalID == externalID && v.ID != except {
			return true
		}
	}
	return false
}

// show puts a view on top of a person's stack. channel is where the person was, for menus that begin there
// (docs.slack.dev, "Select menu element": default_to_current_conversation). The caller holds mu.
func (s *Slack) show(user, channel string, v *view) {
	for _, b := range buttons(v.Blocks) {
		if o := v.state[b.BlockID][b.ActionID]; channel != "" && b.element["default_to_current_conversation"] == true {
			switch b.Type {
			case "conversations_select":
				if o["selected_conversation"] == nil {
					o["selected_conversation"] = channel
				}
			case "multi_conversations_select":
				if blank(o) {
					o["selected_conversations"] = []any{channel}
				}
			}
		}
	}
	v.ID, v.User = s.nextID("V"), user
	v.RootID = v.ID
	if stack := s.stacks[user]; len(stack) > 0 {
		v.RootID, v.PreviousID = stack[0].ID, stack[len(stack)-1].ID
	}
	s.rehash(v)
	s.views[v.ID] = v
	s.stacks[user] = append(s.stacks[user], v)
	s.changedView(ViewOpened, v)
}

// closeViews takes everything from a view upwards off its person's stack. The caller holds mu.
func (s *Slack) closeViews(v *view) {
	stack := s.stacks[v.User]
	i := slices.Index(stack, v)
	if i < 0 {
		return
	}
	for _, gone := range stack[i:] {
		delete(s.views, gone.ID)
		s.changedView(ViewClosed, gone)
	}
	s.stacks[v.User] = slices.Clone(stack[:i])
}

// replace puts the content of a new view into an old one. What the person typed stays where block_id and
// action_id stay (docs.slack.dev, "views.update").
func (s *Slack) replace(old, v *view) {
	v.inherit(old.sheet)
	v.ID, v.User, v.RootID, v.PreviousID = old.ID, old.User, old.RootID, old.PreviousID
	*old = *v
	s.rehash(old)
	s.changedView(ViewUpdated, old)
}

func (s *Slack) changedView(kind ChangeKind, v *view) {
	s.changes = append(s.changes, Change{At: time.Now(), Kind: kind, View: v.look()})
	s.tell()
}

func (s *Slack) viewsOpen(a args) (object, *apiError) {
	t, err := s.takeTrigger(a["trigger_id"])
	if err != nil {
		return nil, err
	}
	v, err := s.readView(a["view"], "modal")
	if err != nil {
		return nil, err
	}
	if s.taken(v.ExternalID, "") {
		return nil, refuse("duplicate_external_id")
	}
	t.used = true
	// A person has one stack per app. What views.open does to an open one is not documented; here the new
	// modal takes its place.
	if stack := s.stacks[t.user]; len(stack) > 0 {
		s.closeViews(stack[0])
	}
	s.show(t.user, t.channel, v)
	return object{"view": s.viewJSON(v)}, nil
}

func (s *Slack) viewsPush(a args) (object, *apiError) {
	t, err := s.takeTrigger(a["trigger_id"])
	if err != nil {
		return nil, err
	}
	v, err := s.readView(a["view"], "modal")
	if err != nil {
		return nil, err
	}
	stack := s.stacks[t.user]
	switch {
	case t.view == "" || len(stack) == 0:
		return nil, refuse("not_found")
	case len(stack) >= maxStack:
		return nil, refuse("push_limit_reached")
	case s.taken(v.ExternalID, ""):
		return nil, refuse("duplicate_external_id")
	}
	t.used = true
	s.show(t.user, t.channel, v)
	return object{"view": s.viewJSON(v)}, nil
}

func (s *Slack) viewsUpdate(a args) (object, *apiError) {
	var old *view
	switch id, external := a["view_id"], a["external_id"]; {
	case id != "":
		old = s.views[id]
	case external != "":
		for _, v := range s.views {
			if v.ExternalID == external {
				old = v
			}
		}
	default:
		return nil, refuse("invalid_arguments")
	}
	if old == nil {
		return nil, refuse("not_found")
	}
	if h := a["hash"]; h != "" && h != old.Hash {
		return nil, refuse("hash_conflict")
	}
	v, err := s.readView(a["view"], old.Type)
	if err != nil {
		return nil, err
	}
	if s.taken(v.ExternalID, old.ID) {
		return nil, refuse("duplicate_external_id")
	}
	s.replace(old, v)
	return object{"view": s.viewJSON(old)}, nil
}

// viewsPublish publishes a person's App Home. That a switched-off Home tab is refused with not_enabled is
// from the list of errors alone.
func (s *Slack) viewsPublish(a args) (object, *apiError) {
	u := s.users[a["user_id"]]
	switch {
	case u == nil || u.Bot || u.Stranger || u.Deleted:
		return nil, &apiError{code: "invalid_arguments", messages: []string{"[ERROR] invalid user [json-pointer:/user_id]"}}
	case s.opt.NoHomeTab:
		return nil, refuse("not_enabled")
	}
	old := s.homes[u.ID]
	if h := a["hash"]; h != "" && (old == nil || h != old.Hash) {
		return nil, refuse("hash_conflict")
	}
	v, err := s.readView(a["view"], "home")
	if err != nil {
		return nil, err
	}
	if old == nil {
		v.ID, v.User = s.nextID("V"), u.ID
		v.RootID = v.ID
		s.rehash(v)
		s.views[v.ID], s.homes[u.ID] = v, v
		old = v
	} else {
		v.ID, v.User, v.RootID = old.ID, old.User, old.RootID
		*old = *v
		s.rehash(old)
	}
	s.changedView(HomePublished, old)
	return object{"view": s.viewJSON(old)}, nil
}

// viewJSON is a view as Slack describes it in answers and payloads.
func (s *Slack) viewJSON(v *view) object {
	values := object{}
	for block, actions := range v.state {
		values[block] = cloneState(actions)
	}
	o := object{
		"id": v.ID, "team_id": s.opt.TeamID, "type": v.Type, "blocks": v.Blocks, "private_metadata": v.PrivateMetadata,
		"callback_id": v.CallbackID, "state": object{"values": values}, "hash": v.Hash, "title": v.title,
		"submit": v.submit, "close": v.close, "clear_on_close": v.clearOnClose, "notify_on_close": v.notifyOnClose,
		"root_view_id": v.RootID, "previous_view_id": nil, "app_id": s.opt.AppID, "external_id": v.ExternalID,
		"app_installed_team_id": s.opt.TeamID, "bot_id": s.opt.BotID,
	}
	if v.PreviousID != "" {
		o["previous_view_id"] = v.PreviousID
	}
	return o
}

// answerSubmission does what the ack of a view_submission asks for, and says what the person is shown if
// it cannot be done (docs.slack.dev, "Modals": "Handling view_submission"). The caller holds mu.
func (s *Slack) answerSubmission(id string, raw json.RawMessage) (failure string) {
	v := s.views[id]
	if v == nil {
		return ""
	}
	v.Errors, v.Trouble = nil, ""
	fail := func(why string) string {
		v.Trouble = troubleConnecting
		s.changedView(ViewUpdated, v)
		return troubleConnecting + " (" + why + ")"
	}
	var answer struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if len(raw) > 0 && json.Unmarshal(raw, &answer) != nil {
		return fail("the ack is not an object")
	}
	switch answer.Action {
	case "":
		s.closeViews(v)
	case "clear":
		s.closeViews(s.stacks[v.User][0])
	case "errors":
		if len(answer.Errors) == 0 {
			return fail("no errors in it")
		}
		for block := range answer.Errors {
			if str(blockOf(v.Blocks, block), "type") != "input" {
				return fail("no input block " + block)
			}
		}
		v.Errors = answer.Errors
		s.changedView(ViewUpdated, v)
	case "update", "push":
		n, err := s.readView(string(answer.View), "modal")
		if err != nil {
			return fail(fmt.Sprint(err.code, err.messages))
		}
		own := ""
		if answer.Action == "update" {
			own = v.ID
		}
		if s.taken(n.ExternalID, own) {
			return fail("duplicate_external_id")
		}
		if answer.Action == "update" {
			s.replace(v, n)
			return ""
		}
		if len(s.stacks[v.User]) >= maxStack {
			return fail("push_limit_reached")
		}
		s.show(v.User, "", n)
	default:
		return fail("unknown response_action " + answer.Action)
	}
	return ""
}

func blockOf(blocks []Block, id string) Block {
	for _, b := range blocks {
		if str(b, "block_id") == id {
			return b
		}
	}
	return nil
}
