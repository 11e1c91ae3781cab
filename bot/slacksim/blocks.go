package slacksim

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that Slack refuses about blocks or a view.
type Problem struct {
	Pointer string // where, as a JSON pointer
	Text    string
}

// String words a problem as response_metadata.messages does.
func (p Problem) String() string { return "[ERROR] " + p.Text + " [json-pointer:" + p.Pointer + "]" }

// Limits of Block Kit (docs.slack.dev, "Block Kit reference": one page per block, element and object).
// All of them count characters.
const (
	maxMessageBlocks = 50
	maxViewBlocks    = 100
	maxViewBytes     = 250 << 10
	maxID            = 255
	maxMarkdown      = 12_000
)

// Validate says what Slack would refuse about the blocks of a message, a JSON array. Nil means nothing.
func Validate(blocks []byte) []Problem {
	var list any
	if err := decode(blocks, &list); err != nil {
		return []Problem{{"/blocks", "must be valid JSON: " + err.Error()}}
	}
	c := &checker{message: true, ids: map[string]bool{}}
	c.blocks(list, "/blocks", maxMessageBlocks)
	return c.problems
}

// ValidateView says what Slack would refuse about a view, a JSON object of type modal or home. Nil means
// nothing.
func ValidateView(view []byte) []Problem {
	var v any
	if err := decode(view, &v); err != nil {
		return []Problem{{"/view", "must be valid JSON: " + err.Error()}}
	}
	c := &checker{ids: map[string]bool{}}
	o, ok := v.(object)
	if !ok {
		return []Problem{{"/view", "must provide an object"}}
	}
	switch typ := str(o, "type"); typ {
	case "modal":
		c.fields(o, "/view", modalShape)
		if c.inputs > 0 && o["submit"] == nil {
			c.say("/view", "missing required field: submit")
		}
	case "home":
		c.fields(o, "/view", homeShape)
	default:
		c.say("/view/type", "unsupported type: "+typ)
	}
	if len(view) > maxViewBytes {
		c.say("/view", fmt.Sprintf("must be less than %d bytes", maxViewBytes+1))
	}
	return c.problems
}

// checker walks over blocks and collects what is wrong.
type checker struct {
	message  bool // a message, not a view
	ids      map[string]bool
	inputs   int
	focus    int
	tables   int
	markdown int
	problems []Problem
}

func (c *checker) say(at, text string) { c.problems = append(c.problems, Problem{at, text}) }

// check looks at one value; at is its place.
type check func(c *checker, v any, at string)

// field is one field of an object.
type field struct {
	check    check
	required bool
}

func must(ch check) field { return field{ch, true} }
func may(ch check) field  { return field{ch, false} }

// shape is the fields that an object may have, besides type. A field that is not listed is refused.
type shape map[string]field

func (c *checker) fields(o object, at string, sh shape) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		f, known := sh[k]
		switch {
		case k == "type":
		case !known:
			c.say(at, "invalid additional property: "+k)
		case o[k] == nil:
			c.say(at+"/"+k, "must not be null")
		default:
			f.check(c, o[k], at+"/"+k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(sh)) {
		if _, given := o[k]; sh[k].required && !given {
			c.say(at, "missing required field: "+k)
		}
	}
}

// blocks checks a list of blocks.
func (c *checker) blocks(v any, at string, most int) {
	list, ok := v.([]any)
	if !ok {
		c.say(at, "must provide an array")
		return
	}
	if len(list) > most {
		c.say(at, fmt.Sprintf("no more than %d items allowed", most))
	}
	for i, b := range list {
		c.block(b, at+"/"+strconv.Itoa(i))
	}
}

func (c *checker) block(v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	typ := str(o, "type")
	sh, known := blockShapes[typ]
	if !known || !c.message && (typ == "markdown" || typ == "table") {
		c.say(at+"/type", "unsupported type: "+typ)
		return
	}
	if id := str(o, "block_id"); id != "" {
		if c.ids[id] {
			c.say(at+"/block_id", "block_id must be unique: "+id)
		}
		c.ids[id] = true
	}
	c.fields(o, at, sh)
	switch typ {
	case "section":
		if o["text"] == nil && o["fields"] == nil {
			c.say(at, "must provide text or fields")
		}
	case "image":
		c.oneOf(o, at, "image_url", "slack_file")
	case "input":
		c.inputs++
	case "table":
		if c.tables++; c.tables > 1 {
			c.say(at, "only one table block is allowed")
		}
	case "markdown":
		if c.markdown += utf8.RuneCountInString(str(o, "text")); c.markdown > maxMarkdown {
			c.say(at+"/text", fmt.Sprintf("must be less than %d characters in all markdown blocks", maxMarkdown+1))
		}
	}
}

func (c *checker) oneOf(o object, at string, names ...string) {
	n := 0
	for _, k := range names {
		if o[k] != nil {
			n++
		}
	}
	if n != 1 {
		c.say(at, "must provide exactly one of "+strings.Join(names, ", "))
	}
}

// The tables of what there is. Types that Slack has and that are not here (video, file, the blocks of
// 2026) are refused: see the package comment.
var (
	blockID = may(stringOf(1, maxID))

	blockShapes = map[string]shape{
		"section": {
			"block_id": blockID, "text": may(text(anyText, 3000)), "fields": may(listOf(1, 10, text(anyText, 2000))),
			"accessory": may(element(sectionElements)), "expand": may(boolean),
		},
		"header":  {"block_id": blockID, "text": must(text(plainText, 150)), "level": may(integer(1, 4))},
		"context": {"block_id": blockID, "elements": must(listOf(1, 10, contextElement))},
		"actions": {"block_id": blockID, "elements": must(elements(1, 25, actionElements))},
		"divider": {"block_id": blockID},
		"image": {
			"block_id": blockID, "alt_text": must(stringOf(1, 2000)), "title": may(text(plainText, 2000)),
			"image_url": may(address(3000)), "slack_file": may(anything),
		},
		"input": {
			"block_id": blockID, "label": must(text(plainText, 2000)), "hint": may(text(plainText, 2000)),
			"optional": may(boolean), "dispatch_action": may(boolean), "element": must(element(inputElements)),
		},
		"rich_text": {"block_id": blockID, "elements": must(listOf(1, 1000, richText))},
		"markdown":  {"block_id": blockID, "text": must(stringOf(1, maxMarkdown))},
		"table": {
			"block_id": blockID, "rows": must(listOf(1, 100, listOf(1, 20, tableCell))),
			"column_settings": may(listOf(0, 20, anything)),
		},
	}

	modalShape = shape{
		"title": must(text(plainText, 24)), "submit": may(text(plainText, 24)), "close": may(text(plainText, 24)),
		"blocks": must(viewBlocks), "private_metadata": may(stringOf(0, 3000)), "callback_id": may(stringOf(0, maxID)),
		"external_id": may(stringOf(0, maxID)), "clear_on_close": may(boolean), "notify_on_close": may(boolean),
		"submit_disabled": may(boolean),
	}
	homeShape = shape{
		"blocks": must(viewBlocks), "private_metadata": may(stringOf(0, 3000)), "callback_id": may(stringOf(0, maxID)),
		"external_id": may(stringOf(0, maxID)),
	}

	selects      = []string{"static_select", "external_select", "users_select", "conversations_select", "channels_select"}
	multiSelects = []string{
		"multi_static_select", "multi_external_select", "multi_users_select",
		"multi_conversations_select", "multi_channels_select",
	}
	sectionElements = slices.Concat(selects, multiSelects, []string{
		"button", "checkboxes", "datepicker", "image", "overflow", "radio_buttons", "timepicker", "workflow_button",
	})
	actionElements = slices.Concat(selects, multiSelects, []string{
		"button", "checkboxes", "datepicker", "datetimepicker", "overflow", "radio_buttons", "timepicker", "workflow_button",
	})
	inputElements = slices.Concat(selects, multiSelects, []string{
		"checkboxes", "datepicker", "datetimepicker", "email_text_input", "file_input", "number_input",
		"plain_text_input", "radio_buttons", "rich_text_input", "timepicker", "url_text_input",
	})

	actionID    = may(stringOf(1, maxID))
	placeholder = may(text(plainText, 150))
	focusOnLoad = may(focus)
	dispatch    = may(dispatchConfig)
	style       = may(enum("primary", "danger"))
	question    = may(confirmation)
	maxSelected = may(integer(1, 100))
	minQuery    = may(integer(0, 100))
	menuOptions = may(listOf(1, 100, option(plainText, 75)))
	menuGroups  = may(listOf(1, 100, optionGroup))
	menuChoice  = may(option(plainText, 75))
	ids         = may(listOf(0, 100, stringOf(1, maxID)))

	elementShapes = map[string]shape{
		"button": {
			"action_id": actionID, "text": must(text(plainText, 75)), "url": may(address(3000)), "value": may(stringOf(0, 2000)),
			"style": style, "confirm": question, "accessibility_label": may(stringOf(0, 75)), "visible_to_user_ids": ids,
		},
		"workflow_button": {
			"action_id": actionID, "text": must(text(plainText, 75)), "workflow": must(anything), "style": style,
			"accessibility_label": may(stringOf(0, 75)),
		},
		"image": {"image_url": may(address(3000)), "alt_text": must(stringOf(1, 2000)), "slack_file": may(anything)},
		"overflow": {
			"action_id": actionID, "options": must(listOf(1, 5, option(plainText, 75, "url"))), "confirm": question,
		},
		"checkboxes": {
			"action_id": actionID, "options": must(listOf(1, 10, option(anyText, 75))),
			"initial_options": may(listOf(1, 10, option(anyText, 75))), "confirm": question, "focus_on_load": focusOnLoad,
			"visible_to_user_ids": ids,
		},
		"radio_buttons": {
			"action_id": actionID, "options": must(listOf(1, 10, option(anyText, 75))),
			"initial_option": may(option(anyText, 75)), "confirm": question, "focus_on_load": focusOnLoad,
		},
		"datepicker": {
			"action_id": actionID, "initial_date": may(matching(`^\d{4}-\d{2}-\d{2}$`, "YYYY-MM-DD")), "confirm": question,
			"focus_on_load": focusOnLoad, "placeholder": placeholder,
		},
		"timepicker": {
			"action_id": actionID, "initial_time": may(matching(`^([01]\d|2[0-3]):[0-5]\d$`, "HH:mm")), "confirm": question,
			"focus_on_load": focusOnLoad, "placeholder": placeholder, "timezone": may(stringOf(1, 100)),
		},
		"datetimepicker": {
			"action_id": actionID, "initial_date_time": may(integer(1_000_000_000, 9_999_999_999)), "confirm": question,
			"focus_on_load": focusOnLoad,
		},
		"plain_text_input": {
			"action_id": actionID, "initial_value": may(stringOf(0, 3000)), "multiline": may(boolean),
			"min_length": may(integer(0, 3000)), "max_length": may(integer(1, 3000)), "dispatch_action_config": dispatch,
			"focus_on_load": focusOnLoad, "placeholder": placeholder,
		},
		"email_text_input": {
			"action_id": actionID, "initial_value": may(stringOf(0, 3000)), "dispatch_action_config": dispatch,
			"focus_on_load": focusOnLoad, "placeholder": placeholder,
		},
		"url_text_input": {
			"action_id": actionID, "initial_value": may(stringOf(0, 3000)), "dispatch_action_config": dispatch,
			"focus_on_load": focusOnLoad, "placeholder": placeholder,
		},
		"number_input": {
			"action_id": actionID, "is_decimal_allowed": must(boolean), "initial_value": may(number), "min_value": may(number),
			"max_value": may(number), "dispatch_action_config": dispatch, "focus_on_load": focusOnLoad,
			"placeholder": placeholder,
		},
		"rich_text_input": {
			"action_id": actionID, "initial_value": may(anything), "dispatch_action_config": dispatch,
			"focus_on_load": focusOnLoad, "placeholder": placeholder,
		},
		"file_input": {
			"action_id": actionID, "filetypes": may(listOf(1, 100, stringOf(1, 100))), "max_files": may(integer(1, 10)),
		},
		"static_select": {
			"action_id": actionID, "placeholder": placeholder, "options": menuOptions, "option_groups": menuGroups,
			"initial_option": menuChoice, "confirm": question, "focus_on_load": focusOnLoad,
		},
		"multi_static_select": {
			"action_id": actionID, "placeholder": placeholder, "options": menuOptions, "option_groups": menuGroups,
			"initial_options": menuOptions, "confirm": question, "focus_on_load": focusOnLoad, "max_selected_items": maxSelected,
		},
		"external_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_option": menuChoice, "min_query_length": minQuery,
			"confirm": question, "focus_on_load": focusOnLoad,
		},
		"multi_external_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_options": menuOptions, "min_query_length": minQuery,
			"confirm": question, "focus_on_load": focusOnLoad, "max_selected_items": maxSelected,
		},
		"users_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_user": may(stringOf(1, maxID)), "confirm": question,
			"focus_on_load": focusOnLoad,
		},
		"multi_users_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_users": ids, "confirm": question,
			"focus_on_load": focusOnLoad, "max_selected_items": maxSelected,
		},
		"conversations_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_conversation": may(stringOf(1, maxID)),
			"default_to_current_conversation": may(boolean), "confirm": question, "response_url_enabled": may(boolean),
			"filter": may(anything), "focus_on_load": focusOnLoad,
		},
		"multi_conversations_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_conversations": ids,
			"default_to_current_conversation": may(boolean), "confirm": question, "filter": may(anything),
			"focus_on_load": focusOnLoad, "max_selected_items": maxSelected,
		},
		"channels_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_channel": may(stringOf(1, maxID)), "confirm": question,
			"response_url_enabled": may(boolean), "focus_on_load": focusOnLoad,
		},
		"multi_channels_select": {
			"action_id": actionID, "placeholder": placeholder, "initial_channels": ids, "confirm": question,
			"focus_on_load": focusOnLoad, "max_selected_items": maxSelected,
		},
	}

	richLeafShapes = map[string]shape{
		"text":      {"text": must(stringOf(1, 1_000_000)), "style": may(richStyle)},
		"link":      {"url": must(address(3000)), "text": may(stringOf(0, 1_000_000)), "unsafe": may(boolean), "style": may(richStyle)},
		"emoji":     {"name": must(stringOf(1, 100)), "unicode": may(stringOf(0, 100)), "skin_tone": may(integer(1, 6)), "style": may(richStyle)},
		"user":      {"user_id": must(stringOf(1, maxID)), "style": may(richStyle)},
		"usergroup": {"usergroup_id": must(stringOf(1, maxID)), "style": may(richStyle)},
		"channel":   {"channel_id": must(stringOf(1, maxID)), "style": may(richStyle)},
		"broadcast": {"range": must(enum("here", "channel", "everyone")), "style": may(richStyle)},
		"color":     {"value": must(stringOf(1, 20)), "style": may(richStyle)},
		"date": {
			"timestamp": must(integer(0, 9_999_999_999)), "format": must(stringOf(1, 1000)), "url": may(address(3000)),
			"fallback": may(stringOf(0, 1000)), "style": may(richStyle),
		},
	}
)

func anything(*checker, any, string) {}

func boolean(c *checker, v any, at string) {
	if _, ok := v.(bool); !ok {
		c.say(at, "must provide a boolean")
	}
}

func integer(least, most int64) check {
	return func(c *checker, v any, at string) {
		n, ok := v.(json.Number)
		i, err := strconv.ParseInt(n.String(), 10, 64)
		switch {
		case !ok || err != nil:
			c.say(at, "must provide an integer")
		case i < least:
			c.say(at, fmt.Sprintf("must be at least %d", least))
		case i > most:
			c.say(at, fmt.Sprintf("must be at most %d", most))
		}
	}
}

func number(c *checker, v any, at string) {
	s, ok := v.(string)
	if _, err := strconv.ParseFloat(s, 64); !ok || err != nil {
		c.say(at, "must provide a number as a string")
	}
}

func stringOf(least, most int) check {
	return func(c *checker, v any, at string) {
		s, ok := v.(string)
		if !ok {
			c.say(at, "must provide a string")
			return
		}
		c.length(s, at, least, most)
	}
}

func (c *checker) length(s, at string, least, most int) {
	switch n := utf8.RuneCountInString(s); {
	case n < least:
		c.say(at, fmt.Sprintf("must be more than %d characters", least-1))
	case n > most:
		c.say(at, fmt.Sprintf("must be less than %d characters", most+1))
	}
}

func enum(values ...string) check {
	return func(c *checker, v any, at string) {
		if s, ok := v.(string); !ok || !slices.Contains(values, s) {
			c.say(at, "must be one of "+strings.Join(values, ", "))
		}
	}
}

func matching(pattern, name string) check {
	re := regexp.MustCompile(pattern)
	return func(c *checker, v any, at string) {
		if s, ok := v.(string); !ok || !re.MatchString(s) {
			c.say(at, "must be in the format "+name)
		}
	}
}

func address(most int) check { //nolint:unparam // a limit of Slack's, as everywhere in this table
	return func(c *checker, v any, at string) {
		s, ok := v.(string)
		if !ok {
			c.say(at, "must provide a string")
			return
		}
		c.length(s, at, 1, most)
		if !strings.Contains(s, ":") {
			c.say(at, "must be a valid URL")
		}
	}
}

func listOf(least, most int, item check) check {
	return func(c *checker, v any, at string) {
		list, ok := v.([]any)
		switch {
		case !ok:
			c.say(at, "must provide an array")
			return
		case len(list) < least:
			c.say(at, fmt.Sprintf("no fewer than %d items allowed", least))
		case len(list) > most:
			c.say(at, fmt.Sprintf("no more than %d items allowed", most))
		}
		for i, e := range list {
			item(c, e, at+"/"+strconv.Itoa(i))
		}
	}
}

// textKind says which text objects fit.
type textKind bool

const (
	anyText   textKind = false
	plainText textKind = true
)

// text checks a text object: emoji belongs to plain_text only, verbatim to mrkdwn only.
func text(kind textKind, most int) check {
	return func(c *checker, v any, at string) {
		o, ok := v.(object)
		if !ok {
			c.say(at, "must provide an object")
			return
		}
		sh := shape{"text": must(stringOf(1, most))}
		switch typ := str(o, "type"); {
		case typ == "plain_text":
			sh["emoji"] = may(boolean)
		case typ == "mrkdwn" && kind == anyText:
			sh["verbatim"] = may(boolean)
		default:
			c.say(at+"/type", "failed to match all allowed schemas: unsupported type: "+typ)
			return
		}
		c.fields(o, at, sh)
	}
}

// confirmation checks the question that a control asks first.
func confirmation(c *checker, v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	c.fields(o, at, shape{
		"title": must(text(plainText, 100)), "text": must(text(anyText, 300)), "confirm": must(text(plainText, 30)),
		"deny": must(text(plainText, 30)), "style": may(enum("primary", "danger")),
	})
}

// option checks one choice of a menu. Only overflow menus may have URLs.
func option(kind textKind, most int, more ...string) check { //nolint:unparam // a limit of Slack's, as everywhere in this table
	return func(c *checker, v any, at string) {
		o, ok := v.(object)
		if !ok {
			c.say(at, "must provide an object")
			return
		}
		sh := shape{
			"text": must(text(kind, most)), "value": must(stringOf(1, 150)), "description": may(text(kind, 75)),
		}
		if slices.Contains(more, "url") {
			sh["url"] = may(address(3000))
		}
		c.fields(o, at, sh)
	}
}

func optionGroup(c *checker, v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	c.fields(o, at, shape{"label": must(text(plainText, 75)), "options": must(listOf(1, 100, option(plainText, 75)))})
}

// dispatchConfig checks when a text input with dispatch_action is dispatched.
func dispatchConfig(c *checker, v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	c.fields(o, at, shape{"trigger_actions_on": may(listOf(1, 2, enum("on_enter_pressed", "on_character_entered")))})
}

func focus(c *checker, v any, at string) {
	boolean(c, v, at)
	if v == true {
		if c.focus++; c.focus > 1 {
			c.say(at, "only one element may have focus_on_load")
		}
	}
}

func viewBlocks(c *checker, v any, at string) { c.blocks(v, at, maxViewBlocks) }

// element checks an element and that its type may stand where it stands.
func element(allowed []string) check {
	return func(c *checker, v any, at string) {
		o, ok := v.(object)
		if !ok {
			c.say(at, "must provide an object")
			return
		}
		typ := str(o, "type")
		sh, known := elementShapes[typ]
		if !known || !slices.Contains(allowed, typ) {
			c.say(at+"/type", "unsupported type: "+typ)
			return
		}
		c.fields(o, at, sh)
		c.element(o, typ, at)
	}
}

// element checks what concerns more than one field of an element.
func (c *checker) element(o object, typ, at string) {
	switch typ {
	case "image":
		c.oneOf(o, at, "image_url", "slack_file")
	case "static_select", "multi_static_select":
		c.oneOf(o, at, "options", "option_groups")
	case "plain_text_input":
		if least, most := intOf(o["min_length"]), intOf(o["max_length"]); o["max_length"] != nil && least > most {
			c.say(at+"/min_length", "must not be more than max_length")
		}
	case "number_input":
		least, err := strconv.ParseFloat(str(o, "min_value"), 64)
		if most, bad := strconv.ParseFloat(str(o, "max_value"), 64); err == nil && bad == nil && least > most {
			c.say(at+"/min_value", "must not be more than max_value")
		}
	}
	choices := options(o)
	if len(choices) == 0 {
		return
	}
	among := func(v any, at string) {
		i, ok := v.(object)
		if ok && !slices.ContainsFunc(choices, func(o Option) bool { return o.Value == str(i, "value") && o.Text == textOf(i["text"]) }) {
			c.say(at, "must be one of the options")
		}
	}
	among(o["initial_option"], at+"/initial_option")
	for i, v := range objects(o["initial_options"]) {
		among(v, at+"/initial_options/"+strconv.Itoa(i))
	}
}

// elements checks a list of elements whose action_ids must differ.
func elements(least, most int, allowed []string) check {
	items := listOf(least, most, element(allowed))
	return func(c *checker, v any, at string) {
		items(c, v, at)
		seen := map[string]bool{}
		for i, e := range objects(v) {
			id := str(e, "action_id")
			if id != "" && seen[id] {
				c.say(at+"/"+strconv.Itoa(i)+"/action_id", "action_id must be unique in its block: "+id)
			}
			seen[id] = true
		}
	}
}

func contextElement(c *checker, v any, at string) {
	if o, ok := v.(object); ok && str(o, "type") == "image" {
		element([]string{"image"})(c, v, at)
		return
	}
	text(anyText, 3000)(c, v, at)
}

// richText checks a part of a rich_text block; lists hold such parts again.
func richText(c *checker, v any, at string) {
	c.rich(v, at, func(typ string) (shape, bool) {
		leaves := must(listOf(0, 10_000, richLeaf))
		switch typ {
		case "rich_text_section":
			return shape{"elements": leaves}, true
		case "rich_text_preformatted":
			return shape{"elements": leaves, "border": may(integer(0, 1)), "language": may(stringOf(0, 100))}, true
		case "rich_text_quote":
			return shape{"elements": leaves, "border": may(integer(0, 1))}, true
		case "rich_text_list":
			return shape{
				"elements": must(listOf(1, 10_000, richText)), "style": must(enum("bullet", "ordered")),
				"indent": may(integer(0, 8)), "border": may(integer(0, 1)), "offset": may(integer(0, 1_000_000)),
			}, true
		}
		return nil, false
	})
}

func richLeaf(c *checker, v any, at string) {
	c.rich(v, at, func(typ string) (shape, bool) { sh, ok := richLeafShapes[typ]; return sh, ok })
}

func (c *checker) rich(v any, at string, look func(string) (shape, bool)) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	sh, known := look(str(o, "type"))
	if !known {
		c.say(at+"/type", "unsupported type: "+str(o, "type"))
		return
	}
	c.fields(o, at, sh)
}

func richStyle(c *checker, v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	sh := shape{}
	for _, k := range []string{"bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"} {
		sh[k] = may(boolean)
	}
	c.fields(o, at, sh)
}

func tableCell(c *checker, v any, at string) {
	o, ok := v.(object)
	if !ok {
		c.say(at, "must provide an object")
		return
	}
	switch typ := str(o, "type"); typ {
	case "raw_text":
		c.fields(o, at, shape{"text": must(stringOf(1, 3000))})
	case "rich_text":
		c.fields(o, at, shape{"elements": must(listOf(1, 1000, richText))})
	default:
		c.say(at+"/type", "unsupported type: "+typ)
	}
}

func intOf(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64() // Not a number is reported where the field is checked.
	return i
}
