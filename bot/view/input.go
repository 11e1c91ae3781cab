package view

import (
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// element is a control of a form: a line of text, or a menu.
type element struct {
	Type          string   `json:"type"`
	ActionID      string   `json:"action_id"`
	Placeholder   *object  `json:"placeholder,omitempty"`
	Options       []option `json:"options,omitempty"`
	InitialOption *option  `json:"initial_option,omitempty"`
	InitialValue  string   `json:"initial_value,omitempty"`
	Multiline     bool     `json:"multiline,omitempty"`
	MaxLength     int      `json:"max_length,omitempty"`
}

// option is one choice of a menu.
type option struct {
	Text  object `json:"text"`
	Value string `json:"value"`
}

// choose preselects the option of that value, if there is one.
func (e *element) choose(value string) {
	if i := slices.IndexFunc(e.Options, func(o option) bool { return o.Value == value }); i >= 0 {
		e.InitialOption = new(e.Options[i])
	}
}

func input(field, label, hint string, e element) Block {
	e.ActionID = field
	b := Block{Type: "input", BlockID: field, Label: new(plainText(clip(label, maxLabel))), Element: &e}
	if hint != "" {
		b.Hint = new(plainText(clip(hint, maxLabel)))
	}
	return b
}

func textInput(field, label, hint, placeholder, value string, most int) Block {
	e := element{Type: "plain_text_input", InitialValue: value, MaxLength: most}
	if placeholder != "" {
		e.Placeholder = new(plainText(clip(placeholder, maxPlaceholder)))
	}
	return input(field, label, hint, e)
}

func menu(field, label, hint, placeholder string, options []option) Block {
	return input(field, label, hint, element{Type: "static_select", Placeholder: new(plainText(placeholder)), Options: options})
}

func reasonInput(label, hint, value string) Block {
	b := textInput(FieldReason, label, hint, "", clip(verbatim(value), grant.MaxReason), grant.MaxReason)
	b.Element.Multiline = true
	return b
}

// cellInput is a menu of the cells, or a line of text where a menu cannot hold
// them.
func cellInput(f Form) Block {
	typed := strings.TrimSpace(f.Ask.Cell)
	fits := len(f.Cells) > 0 && len(f.Cells) <= maxOptions
	var options []option
	for _, c := range f.Cells {
		label := tidy(string(c), maxOption)
		fits = fits && label != "" && units(string(c)) <= maxOptionValue
		options = append(options, option{plainText(label), string(c)})
	}
	if !fits {
		return textInput(FieldCell, "Cell", "Its name, as breakglass is configured.", "helios-prod", tidy(typed, maxOptionValue), maxOptionValue)
	}
	b := menu(FieldCell, "Cell", "", "Choose a cell", options)
	if len(options) == 1 {
		typed = options[0].Value
	}
	b.Element.choose(typed)
	return b
}

// durationInputs are a menu of durations and a line of text for another one.
// preset is marked as the default; what was typed before comes before it.
func durationInputs(label, hint string, choices []time.Duration, preset time.Duration, typed string) (menuBlock, otherBlock Block) {
	var options []option
	for _, d := range choices {
		text := grant.FormatDuration(d)
		if d == preset {
			text += " (default)"
		}
		options = append(options, option{plainText(clip(text, maxOption)), short(d)})
	}
	options = append(options, option{plainText("Another duration"), ChoiceOther})
	menuBlock = menu(FieldFor, label, hint, "Choose a duration", options)
	another := ""
	if typed = strings.TrimSpace(typed); typed == "" {
		menuBlock.Element.choose(short(preset))
	} else if d, err := grant.ParseDuration(typed); err == nil && slices.Contains(choices, d) {
		menuBlock.Element.choose(short(d))
	} else {
		menuBlock.Element.choose(ChoiceOther)
		another = tidy(typed, maxTypedDuration)
	}
	if len(choices) == 0 {
		menuBlock.Element.choose(ChoiceOther)
	}
	otherBlock = textInput(FieldForOther, "Another duration", "Only if you chose that above: 45m, 90m, 1h30m, 2d.", "90m", another, maxTypedDuration)
	otherBlock.Optional = true
	return menuBlock, otherBlock
}
