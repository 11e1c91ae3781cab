package slacksim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values are what a person fills in: by block_id, action_id or label of the input. A string fits every
// kind of input; several choices are a []string. For menus it is the value or the text of an option.
type Values map[string]any

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
		return single("value")
	case "users_select":
		return single("selected_user")
	case "conversations_select":
		return single("selected_conversation")
	case "channels_select":
		return single("selected_channel")
	case "datepicker":
		return single("selected_date")
	case "timepicker":
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

// fill enters values into a view, and refuses what Slack's own form refuses before it sends anything: an
// input that is required and empty, or text that is too short or too long. The caller holds mu.
func (v *view) fill(values Values) error {
	list := buttons(v.Blocks)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(list, func(b Button) bool { return b.BlockID == key })
		if i < 0 {
			i = slices.IndexFunc(list, func(b Button) bool { return b.ActionID == key })
		}
		if i < 0 {
			i = slices.IndexFunc(list, func(b Button) bool { return strings.EqualFold(b.Text, key) })
		}
		if i < 0 {
			return fmt.Errorf("%w: there is no input %q; there is %s", ErrRefused, key, names(list))
		}
		o, err := chosen(list[i], values[key])
		if err != nil {
			return err
		}
		v.state[list[i].BlockID][list[i].ActionID] = o
	}
	for _, b := range v.Blocks {
		if str(b, "type") != "input" {
			continue
		}
		e, _ := b["element"].(object)
		o := v.state[str(b, "block_id")][str(e, "action_id")]
		text, _ := o["value"].(string)
		n, label := int64(utf8.RuneCountInString(text)), textOf(b["label"])
		switch {
		case b["optional"] != true && blank(o):
			return fmt.Errorf("%w: %q is required", ErrRefused, label)
		case n > 0 && n < intOf(e["min_length"]):
			return fmt.Errorf("%w: %q is too short", ErrRefused, label)
		case e["max_length"] != nil && n > intOf(e["max_length"]):
			return fmt.Errorf("%w: %q is too long", ErrRefused, label)
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
