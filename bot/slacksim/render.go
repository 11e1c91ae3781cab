package slacksim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Render draws a message as plain text for a terminal. Mentions stay ids; Slack.Render knows names.
func Render(m Message) string { return renderer{}.message(m) }

// Render draws a message as plain text for a terminal, with the names of people, groups and channels.
func (s *Slack) Render(m Message) string { return renderer{name: s.nameOf}.message(m) }

// RenderView draws a modal or an App Home.
func (s *Slack) RenderView(v View) string { return renderer{name: s.nameOf}.view(v) }

// nameOf is the name behind an id.
func (s *Slack) nameOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.users[id] != nil:
		return s.users[id].Name
	case s.groups[id] != nil:
		return s.groups[id].Handle
	case s.channels[id] != nil:
		return s.channels[id].Name
	}
	return ""
}

type renderer struct {
	name  func(id string) string
	state map[string]map[string]map[string]any // what is filled in
}

func (r renderer) message(m Message) string {
	if len(m.Blocks) == 0 {
		text := r.mrkdwn(m.Text)
		if m.Edited {
			text += " (edited)"
		}
		return text
	}
	return r.blocks(m.Blocks, nil)
}

func (r renderer) view(v View) string {
	var out []string
	if v.Title != "" {
		out = append(out, v.Title, strings.Repeat("─", len([]rune(v.Title))))
	}
	if v.Trouble != "" {
		out = append(out, "(!) "+v.Trouble)
	}
	r.state = v.State
	out = append(out, r.blocks(v.Blocks, v.Errors))
	var bottom []string
	for _, b := range []string{v.Close, v.Submit} {
		if b != "" {
			bottom = append(bottom, "[ "+b+" ]")
		}
	}
	if len(bottom) > 0 {
		out = append(out, strings.Join(bottom, "  "))
	}
	return strings.Join(out, "\n")
}

func (r renderer) blocks(blocks []Block, errors map[string]string) string {
	var out []string
	for _, b := range blocks {
		out = append(out, r.block(b)...)
		if e := errors[str(b, "block_id")]; e != "" {
			out = append(out, "  (!) "+e)
		}
	}
	return strings.Join(out, "\n")
}

func (r renderer) block(b Block) []string {
	var out []string
	switch str(b, "type") {
	case "header":
		return []string{r.text(b["text"])}
	case "divider":
		return []string{strings.Repeat("─", 40)}
	case "section":
		if t := r.text(b["text"]); t != "" {
			out = append(out, t)
		}
		for _, f := range objects(b["fields"]) {
			// A field is usually a bold label over its value.
			out = append(out, strings.Replace(r.text(f), "\n", ": ", 1))
		}
		if e, ok := b["accessory"].(object); ok {
			if len(out) == 0 {
				out = append(out, "")
			}
			out[len(out)-1] += "  " + r.element(r.filled(b, e))
		}
	case "context":
		var parts []string
		for _, e := range objects(b["elements"]) {
			parts = append(parts, r.element(e))
		}
		return []string{strings.Join(parts, "  ")}
	case "actions":
		var parts []string
		for _, e := range objects(b["elements"]) {
			parts = append(parts, r.element(r.filled(b, e)))
		}
		return []string{strings.Join(parts, "  ")}
	case "image":
		return []string{"(image: " + str(b, "alt_text") + ")"}
	case "markdown":
		return []string{str(b, "text")}
	case "input":
		e, _ := b["element"].(object)
		label := r.text(b["label"])
		if b["optional"] == true {
			label += " (optional)"
		}
		out = append(out, label+": "+r.element(r.filled(b, e)))
		if h := r.text(b["hint"]); h != "" {
			out = append(out, "  "+h)
		}
	case "rich_text":
		for _, e := range objects(b["elements"]) {
			out = append(out, r.rich(e, "")...)
		}
	case "table":
		rows, _ := b["rows"].([]any)
		for _, row := range rows {
			var cells []string
			for _, c := range objects(row) {
				var cell strings.Builder
				cell.WriteString(str(c, "text"))
				for _, e := range objects(c["elements"]) {
					cell.WriteString(strings.Join(r.rich(e, ""), " "))
				}
				cells = append(cells, cell.String())
			}
			out = append(out, strings.Join(cells, " | "))
		}
	default:
		return []string{"(" + str(b, "type") + ")"}
	}
	return out
}

// element draws one control or one piece of a context block.
func (r renderer) element(e object) string {
	switch typ := str(e, "type"); typ {
	case "plain_text", "mrkdwn":
		return r.text(e)
	case "image":
		return "(" + str(e, "alt_text") + ")"
	case "button", "workflow_button":
		return "[ " + textOf(e["text"]) + " ]"
	case "overflow":
		return "[ … ]"
	case "checkboxes", "radio_buttons":
		var parts []string
		chosen := append(objects(e["initial_options"]), objects([]any{e["initial_option"]})...)
		for _, o := range options(e) {
			mark := "( ) "
			if slices.ContainsFunc(chosen, func(c object) bool { return str(c, "value") == o.Value }) {
				mark = "(•) "
			}
			parts = append(parts, mark+o.Text)
		}
		return strings.Join(parts, "  ")
	default:
		shown := textOf(e["placeholder"])
		for _, k := range []string{
			"initial_value", "initial_date", "initial_time", "initial_user", "initial_conversation", "initial_channel",
		} {
			if v := str(e, k); v != "" {
				shown = v
			}
		}
		if o, ok := e["initial_option"].(object); ok {
			shown = textOf(o["text"])
		}
		if strings.HasSuffix(typ, "_select") {
			return "[ " + shown + " ▾ ]"
		}
		return "[ " + shown + " ]"
	}
}

// filled is a control with what is filled in put where its initial value was.
func (r renderer) filled(b Block, e object) object {
	value := r.state[str(b, "block_id")][str(e, "action_id")]
	if value == nil {
		return e
	}
	e = maps.Clone(e)
	for k, v := range value {
		if k != "type" {
			e["initial_"+strings.TrimPrefix(k, "selected_")] = v
		}
	}
	return e
}

func (r renderer) text(v any) string {
	o, ok := v.(object)
	if !ok {
		return ""
	}
	if str(o, "type") == "mrkdwn" {
		return r.mrkdwn(str(o, "text"))
	}
	return str(o, "text")
}

var (
	angled = regexp.MustCompile(`<([^<>]+)>`)
	styled = regexp.MustCompile(`(^|[\s(\[>])([*_~])(\S|\S[^\n]*?\S)([*_~])($|[\s.,;:!?)\]])`)
)

// mrkdwn makes plain text of Slack's markup: dates become their fallback, links their text, mentions
// names, and the marks of bold and italic go. Code keeps its backticks.
func (r renderer) mrkdwn(s string) string {
	// Code is left alone; the odd pieces of a split at ` are inside it.
	parts := strings.Split(s, "`")
	for i := range parts {
		parts[i] = angled.ReplaceAllStringFunc(parts[i], func(m string) string { return r.angled(m[1 : len(m)-1]) })
		if i%2 == 0 {
			for range 2 { // Neighbours share the space between them.
				parts[i] = styled.ReplaceAllStringFunc(parts[i], unstyle)
			}
		}
		parts[i] = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

func unstyle(m string) string {
	g := styled.FindStringSubmatch(m)
	if g[2] != g[4] {
		return m
	}
	return g[1] + g[3] + g[5]
}

// angled resolves what stands between < and >.
func (r renderer) angled(s string) string {
	target, label, labelled := strings.Cut(s, "|")
	named := func(mark, id string) string {
		switch {
		case r.name != nil && r.name(id) != "":
			return mark + r.name(id)
		case labelled && label != "":
			return mark + strings.TrimPrefix(label, mark)
		}
		return mark + id
	}
	switch {
	case strings.HasPrefix(target, "!date^"):
		if labelled {
			return label
		}
		return target
	case strings.HasPrefix(target, "!subteam^"):
		return named("@", strings.TrimPrefix(target, "!subteam^"))
	case strings.HasPrefix(target, "!"):
		return "@" + strings.TrimPrefix(target, "!")
	case strings.HasPrefix(target, "@"):
		return named("@", target[1:])
	case strings.HasPrefix(target, "#"):
		return named("#", target[1:])
	case labelled:
		return label + " (" + target + ")"
	}
	return target
}

// rich draws an element of a rich_text block.
func (r renderer) rich(e object, indent string) []string {
	switch str(e, "type") {
	case "rich_text_list":
		depth := strings.Repeat("  ", int(intOf(e["indent"])))
		var out []string
		for i, item := range objects(e["elements"]) {
			mark := "• "
			if str(e, "style") == "ordered" {
				mark = fmt.Sprintf("%d. ", int(intOf(e["offset"]))+i+1)
			}
			out = append(out, indent+depth+mark+strings.Join(r.rich(item, ""), "\n"))
		}
		return out
	case "rich_text_quote":
		return prefixed("> ", r.leaves(e))
	case "rich_text_preformatted":
		return prefixed("    ", r.leaves(e))
	default:
		return []string{indent + r.leaves(e)}
	}
}

func prefixed(mark, text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		out = append(out, mark+strings.TrimSuffix(line, "\n"))
	}
	return out
}

func (r renderer) leaves(e object) string {
	var b strings.Builder
	for _, l := range objects(e["elements"]) {
		switch str(l, "type") {
		case "text":
			b.WriteString(str(l, "text"))
		case "link":
			if t := str(l, "text"); t != "" {
				b.WriteString(t + " (" + str(l, "url") + ")")
			} else {
				b.WriteString(str(l, "url"))
			}
		case "user":
			b.WriteString(r.angled("@" + str(l, "user_id")))
		case "usergroup":
			b.WriteString(r.angled("!subteam^" + str(l, "usergroup_id")))
		case "channel":
			b.WriteString(r.angled("#" + str(l, "channel_id")))
		case "broadcast":
			b.WriteString("@" + str(l, "range"))
		case "emoji":
			b.WriteString(":" + str(l, "name") + ":")
		case "date":
			b.WriteString(str(l, "fallback"))
		}
	}
	return b.String()
}
