package slacksim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// leastTyped is how much must be typed into an external menu before the app is asked, unless the menu
	// says otherwise (docs.slack.dev, "Select menu element": min_query_length).
	leastTyped = 3
	// noSuggestions is what a person is told when the app has no usable answer. Slack's words are not
	// documented.
	noSuggestions = "the options could not be loaded"
)

// SuggestIn types into an external menu of a view and returns what the app suggests. Only what was
// suggested, or was there from the beginning, can then be chosen.
func (p *Person) SuggestIn(ctx context.Context, v View, menu, typed string, edits ...Edit) ([]Option, Interaction, error) {
	return p.suggest(ctx, menu, typed, edits, func(s *Slack, u *User, o object) ([]Block, func() *sheet, error) {
		now, err := s.viewOf(u, v.ID)
		if err != nil {
			return nil, nil, err
		}
		o["container"] = object{"type": "view", "view_id": now.ID}
		o["view"] = s.viewJSON(now)
		return now.Blocks, func() *sheet {
			if s.views[v.ID] == nil {
				return nil
			}
			return &s.views[v.ID].sheet
		}, nil
	})
}

// Suggest is SuggestIn for an external menu of a message.
func (p *Person) Suggest(ctx context.Context, m Message, menu, typed string, edits ...Edit) ([]Option, Interaction, error) {
	return p.suggest(ctx, menu, typed, edits, func(s *Slack, u *User, o object) ([]Block, func() *sheet, error) {
		now, err := s.seesMessage(u, m)
		if err != nil {
			return nil, nil, err
		}
		o["container"] = container(now)
		o["channel"] = object{"id": now.Channel, "name": s.channels[now.Channel].shownName()}
		if !now.Ephemeral {
			o["message"] = s.messageJSON(now)
		}
		return now.Blocks, func() *sheet { return s.sheetOf(u.ID, now) }, nil
	})
}

// suggest asks the app for options (docs.slack.dev, "block_suggestion payloads") and notes its answer on
// the sheet that place finds.
func (p *Person) suggest(
	ctx context.Context, menu, typed string, edits []Edit,
	place func(s *Slack, u *User, o object) ([]Block, func() *sheet, error),
) ([]Option, Interaction, error) {
	var offered []Option
	i, err := p.act(ctx, edits, func(s *Slack, u *User) (*envelope, object, error) {
		o := s.interaction("block_suggestion", u)
		blocks, where, err := place(s, u, o)
		if err != nil {
			return nil, nil, err
		}
		b, err := pick(buttons(blocks), menu)
		if err != nil {
			return nil, nil, err
		}
		if !external(b.Type) {
			return nil, nil, fmt.Errorf("%w: [%s] is a %s, which asks the app for nothing", ErrRefused, b.Text, b.Type)
		}
		least := leastTyped
		if b.element["min_query_length"] != nil {
			least = int(intOf(b.element["min_query_length"]))
		}
		if utf8.RuneCountInString(typed) < least {
			return nil, nil, fmt.Errorf("%w: [%s] asks the app from %d characters on", ErrRefused, b.Text, least)
		}
		o["block_id"], o["action_id"], o["value"] = b.BlockID, b.ActionID, typed
		e := newEnvelope("block_suggestion", typeInteractive, u.ID)
		e.accepts = true
		e.answer = func(raw json.RawMessage) string {
			found, why := readSuggestions(raw)
			if why != "" {
				return noSuggestions + " (" + why + ")"
			}
			offered = found
			if f := where(); f != nil {
				f.offer(b, found)
			}
			return ""
		}
		e.fail = func(why string) string { return noSuggestions + " (" + why + ")" }
		return e, o, nil
	})
	p.slack.mu.Lock()
	defer p.slack.mu.Unlock()
	return slices.Clone(offered), i, err
}

func external(typ string) bool { return strings.HasSuffix(typ, "external_select") }

// readSuggestions reads the options in the ack of a block_suggestion: at most 100, or groups of them. None
// is an answer too.
func readSuggestions(raw json.RawMessage) (found []Option, why string) {
	if len(raw) == 0 {
		return nil, "no options in the ack"
	}
	var o object
	if err := decode(raw, &o); err != nil {
		return nil, "the ack is not an object"
	}
	c := &checker{}
	c.fields(o, "", shape{
		"options": may(listOf(0, 100, option(plainText, 75))), "option_groups": may(listOf(0, 100, optionGroup)),
	})
	c.oneOf(o, "", "options", "option_groups")
	if len(c.problems) > 0 {
		return nil, c.problems[0].String()
	}
	return options(o), ""
}
