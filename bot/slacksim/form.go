package slacksim

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values are what a person fills in: by block_id, action_id or label of the input. A string fits every
// kind of input; several choices are a []string. For menus it is the value or the text of an option.
type Values map[string]any

// sheet is what one person has filled in on one view, or beside one message.
type sheet struct {
	state   map[string]map[string]object // by block_id and action_id
	offered map[[2]string][]Option       // what the app suggested for an external menu
}

// menu is a control with all the options that the person can choose from.
func (f *sheet) menu(b Button) Button {
	if external(b.Type) {
		for _, o := range append(objects(b.element["initial_options"]), objects([]any{b.element["initial_option"]})...) {
			b.Options = append(b.Options, Option{Text: textOf(o["text"]), Value: str(o, "value"), raw: o})
		}
		b.Options = append(b.Options, f.offered[[2]string{b.BlockID, b.ActionID}]...)
	}
	return b
}

// offer notes what the app suggested, in addition to what it suggested before.
func (f *sheet) offer(b Button, list []Option) {
	if f.offered == nil {
		f.offered = map[[2]string][]Option{}
	}
	key := [2]string{b.BlockID, b.ActionID}
	f.offered[key] = append(f.offered[key], list...)
}

// set enters a value. Buttons and overflow menus hold none.
func (f *sheet) set(b Button, value any) error {
	if stateOf(b.element) == nil {
		return nil
	}
	o, err := chosen(f.menu(b), value)
	if err != nil {
		return err
	}
	if f.state[b.BlockID] == nil {
		f.state[b.BlockID] = map[string]object{}
	}
	f.state[b.BlockID][b.ActionID] = o
	return nil
}

// inherit takes over what was filled in before the blocks changed. It stays where block_id and action_id stay
// (docs.slack.dev, "Modal views": preserving input entry).
func (f *sheet) inherit(old sheet) {
	for block, actions := range f.state {
		for action, value := range actions {
			if typed, ok := old.state[block][action]; ok && typed["type"] == value["type"] {
				f.state[block][action] = typed
			}
		}
	}
	f.offered = old.offered
}

// sheetOf is what a person has filled in beside a message as it is now. The caller holds mu.
func (s *Slack) sheetOf(user string, m *Message) *sheet {
	key := [3]string{user, m.Channel, m.TS}
	f := &sheet{state: initialState(m.Blocks)}
	if old := s.sheets[key]; old != nil {
		f.inherit(*old)
	}
	s.sheets[key] = f
	return f
}

// Filled says what stands in an input, which is named as in Values: a string, which for a menu is the value of
// the option; a []string where there can be several; nil where there is nothing.
func (v View) Filled(input string) any {
	b, err := findInput(v.Buttons(), input)
	if err != nil {
		return nil
	}
	for k, value := range v.State[b.BlockID][b.ActionID] {
		if k != "type" {
			return plainValue(value)
		}
	}
	return nil
}

func plainValue(value any) any {
	switch value := value.(type) {
	case object:
		return str(value, "value")
	case []string:
		return value
	case []any:
		out := []string{}
		for _, e := range value {
			out = append(out, fmt.Sprint(plainValue(e)))
		}
		return out
	}
	return value
}

// initialState is the state of every stateful element before anybody touched it.
func initialState(blocks []Block) map[string]map[string]object {
	state := map[string]map[string]object{}
	for _, b := range buttons(blocks) {
		value := stateOf(b.element)
		if value == nil {
			continue
		}
		if state[b.BlockID] == nil {
			state[b.BlockID] = map[string]object{}
		}
		state[b.BlockID][b.ActionID] = value
	}
	return state
}

// stateOf is what an untouched element contributes to state.values; nil for buttons and overflow menus.
// What is not chosen is null (docs.slack.dev, "View submission payload").
func stateOf(e object) object {
	typ := str(e, "type")
	o := object{"type": typ}
	initial := func(key, from string) object {
		o[key] = e[from]
		return o
	}
	list := func(key, from string) object {
		o[key] = []any{}
		if e[from] != nil {
			o[key] = e[from]
		}
		return o
	}
	switch typ {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		return initial("value", "initial_value")
	case "rich_text_input":
		return initial("rich_text_value", "initial_value")
	case "static_select", "external_select", "radio_buttons":
		return initial("selected_option", "initial_option")
	case "users_select":
		return initial("selected_user", "initial_user")
	case "conversations_select":
		return initial("selected_conversation", "initial_conversation")
	case "channels_select":
		return initial("selected_channel", "initial_channel")
	case "datepicker":
		return initial("selected_date", "initial_date")
	case "timepicker":
		return initial("selected_time", "initial_time")
	case "datetimepicker":
		return initial("selected_date_time", "initial_date_time")
	case "checkboxes", "multi_static_select", "multi_external_select":
		return list("selected_options", "initial_options")
	case "multi_users_select":
		return list("selected_users", "initial_users")
	case "multi_conversations_select":
		return list("selected_conversations", "initial_conversations")
	case "multi_channels_select":
		return list("selected_channels", "initial_channels")
	}
	return nil
}

// chosen is the state of an element after somebody filled it in.
func chosen(b Button, value any) (object, error) {
	o := stateOf(b.element)
	if o == nil {
		return nil, fmt.Errorf("%w: [%s] is a %s, which holds no value", ErrRefused, b.Text, b.Type)
	}
	var several []string
	switch v := value.(type) {
	case string:
		if v != "" {
			several = []string{v}
		}
	case []string:
		several = v
	case nil:
	default:
		several = []string{fmt.Sprint(v)}
	}
	single := func(key string) (object, error) {
		o[key] = nil
		if len(several) > 0 {
			o[key] = several[0]
		}
		return o, nil
	}
	switch b.Type {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		if err := readable(b, several); err != nil {
			return nil, err
		}
		return single("value")
	case "users_select":
		return single("selected_user")
	case "conversations_select":
		return single("selected_conversation")
	case "channels_select":
		return single("selected_channel")
	case "datepicker":
		if err := formatted(b, several, dateForm, "YYYY-MM-DD"); err != nil {
			return nil, err
		}
		return single("selected_date")
	case "timepicker":
		if err := formatted(b, several, timeForm, "HH:mm"); err != nil {
			return nil, err
		}
		return single("selected_time")
	case "datetimepicker":
		o["selected_date_time"] = nil
		if len(several) > 0 {
			seconds, err := strconv.ParseInt(several[0], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: [%s] takes Unix seconds: %w", ErrRefused, b.Text, err)
			}
			o["selected_date_time"] = seconds
		}
		return o, nil
	case "multi_users_select":
		o["selected_users"] = several
		return o, nil
	case "multi_conversations_select":
		o["selected_conversations"] = several
		return o, nil
	case "multi_channels_select":
		o["selected_channels"] = several
		return o, nil
	}
	if most := intOf(b.element["max_selected_items"]); most > 0 && int64(len(several)) > most {
		return nil, fmt.Errorf("%w: [%s] takes %d at most", ErrRefused, b.Text, most)
	}
	picked := []any{}
	for _, want := range several {
		i := slices.IndexFunc(b.Options, func(op Option) bool { return op.Value == want || op.Text == want })
		if i < 0 {
			return nil, fmt.Errorf("%w: [%s] has no option %q", ErrRefused, b.Text, want)
		}
		picked = append(picked, b.Options[i].raw)
	}
	if _, ok := o["selected_options"]; ok {
		o["selected_options"] = picked
		return o, nil
	}
	o["selected_option"] = nil
	if len(picked) > 0 {
		o["selected_option"] = picked[0]
	}
	return o, nil
}

// findInput finds an input by its block_id, or else by its action_id, or else by its label.
func findInput(list []Button, name string) (Button, error) {
	for _, is := range []func(Button) bool{
		func(b Button) bool { return b.BlockID == name },
		func(b Button) bool { return b.ActionID == name },
		func(b Button) bool { return strings.EqualFold(b.Text, name) },
	} {
		if i := slices.IndexFunc(list, is); i >= 0 {
			return list[i], nil
		}
	}
	return Button{}, fmt.Errorf("%w: there is no input %q; there is %s", ErrRefused, name, names(list))
}

// fill enters values into the inputs of a view, and refuses what Slack's own form does not take. The caller
// holds mu.
func (v *view) fill(values Values) error {
	list := buttons(v.Blocks)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b, err := findInput(list, key)
		if err != nil {
			return err
		}
		if str(blockOf(v.Blocks, b.BlockID), "type") != "input" {
			return fmt.Errorf("%w: [%s] is no input of the form: use ChooseIn or ClickIn, of which the app hears", ErrRefused, b.Text)
		}
		if err := v.set(b, values[key]); err != nil {
			return err
		}
	}
	return nil
}

// complete refuses what Slack's own form refuses before it sends anything: an input that is required and
// empty. The caller holds mu.
func (v *view) complete() error {
	for _, b := range v.Blocks {
		if str(b, "type") != "input" {
			continue
		}
		e, _ := b["element"].(object)
		o := v.state[str(b, "block_id")][str(e, "action_id")]
		if b["optional"] != true && blank(o) {
			return fmt.Errorf("%w: %q is required", ErrRefused, textOf(b["label"]))
		}
		// What the app put there itself was never typed.
		value, _ := o["value"].(string)
		if value != "" {
			if err := readable(Button{Text: textOf(b["label"]), Type: str(e, "type"), element: e}, []string{value}); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	dateForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	timeForm = regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d$`)
)

func formatted(b Button, value []string, form *regexp.Regexp, name string) error {
	if len(value) > 0 && !form.MatchString(value[0]) {
		return fmt.Errorf("%w: [%s] takes %s", ErrRefused, b.Text, name)
	}
	return nil
}

// readable refuses what an input for text, numbers, addresses does not take (docs.slack.dev, the page of each
// element). An empty one is a matter of complete.
func readable(b Button, value []string) error {
	if len(value) == 0 {
		return nil
	}
	text, no := value[0], func(why string) error { return fmt.Errorf("%w: %q %s", ErrRefused, b.Text, why) }
	switch n := int64(utf8.RuneCountInString(text)); b.Type {
	case "plain_text_input":
		switch {
		case n < intOf(b.element["min_length"]):
			return no("is too short")
		case b.element["max_length"] != nil && n > intOf(b.element["max_length"]):
			return no("is too long")
		}
	case "number_input":
		number, err := strconv.ParseFloat(text, 64)
		bound := func(key string, otherwise float64) float64 {
			if limit, err := strconv.ParseFloat(str(b.element, key), 64); err == nil {
				return limit
			}
			return otherwise
		}
		switch {
		case err != nil:
			return no("is no number")
		case b.element["is_decimal_allowed"] != true && strings.Contains(text, "."):
			return no("takes whole numbers only")
		case number < bound("min_value", number) || number > bound("max_value", number):
			return no("is out of range")
		}
	case "email_text_input":
		if at := strings.IndexByte(text, '@'); at <= 0 || at == len(text)-1 {
			return no("is no e-mail address")
		}
	case "url_text_input":
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Host == "" {
			return no("is no URL")
		}
	}
	return nil
}

// blank says whether nothing was entered or chosen.
func blank(o object) bool {
	for k, v := range o {
		if k == "type" {
			continue
		}
		switch v := v.(type) {
		case nil:
		case string:
			return v == ""
		case []any:
			return len(v) == 0
		case []string:
			return len(v) == 0
		default:
			return false
		}
	}
	return true
}

func cloneState(actions map[string]object) object {
	out := object{}
	for k, v := range actions {
		out[k] = maps.Clone(v)
	}
	return out
}
