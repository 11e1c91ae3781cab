package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"breakglass/bot/view"
	"breakglass/store/grant"
)

// command does one slash command and answers what the person sees. The text is
// what was typed behind /breakglass.
func (b *Bot) command(ctx context.Context, in intent, text string) (reply, error) {
	text = strings.TrimSpace(unescape(text))
	verb, rest, _ := strings.Cut(plain(text), " ")
	typed := behind(text, rest)
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(verb) {
	case "", "status":
		live, err := b.o.Store.Live()
		if err != nil {
			return reply{}, err
		}
		return b.status(live)
	case "show":
		g, err := b.named(rest, "show")
		if err != nil {
			return reply{}, err
		}
		return reply{msg: view.Show(g, time.Now().UTC())}, nil
	case "help":
		msg, ok := view.Help(strings.ToLower(rest))
		if !ok {
			return reply{}, b.noSuchCommand(rest)
		}
		return reply{msg: msg}, nil
	case "grant":
		return b.request(ctx, in, typed, false)
	case "emergency":
		return b.request(ctx, in, typed, true)
	case "extend":
		return b.extend(ctx, in, rest)
	case "history":
		return b.history(rest)
	case "check":
		return b.check(rest)
	case "revoke":
		return b.revoke(ctx, in, rest)
	default:
		return reply{}, b.noSuchCommand(verb)
	}
}

func (b *Bot) noSuchCommand(word string) error {
	word = grant.Clean(word, 40)
	if near, ok := view.Nearest(word); ok {
		return grant.Refuse(grant.BadRequest, "There is no command %q, so nothing happened. Did you mean `/breakglass %s`? `/breakglass help %s` shows how it is used.", word, near, near)
	}
	return grant.Refuse(grant.BadRequest, "There is no command %q, so nothing happened. `/breakglass help` lists the commands, for example `/breakglass status`.", word)
}

// named finds the grant that a person means by BG-7, bg-7 or 7.
func (b *Bot) named(word, verb string) (grant.Grant, error) {
	id, ok := grant.ParseID(word)
	if !ok {
		if word == "" {
			return grant.Grant{}, grant.Refuse(grant.BadRequest, "Say which grant, for example `/breakglass %s BG-7`. `/breakglass status` lists them.", verb)
		}
		return grant.Grant{}, grant.Refuse(grant.BadRequest, "%q is not the id of a grant. Nothing changed. Ids look like BG-7; `/breakglass status` lists them.", grant.Clean(word, 40))
	}
	return b.o.Store.Grant(id)
}

// request makes a request from key=value words, as they were typed.
func (b *Bot) request(ctx context.Context, in intent, words string, emergency bool) (reply, error) {
	if emergency {
		// Whoever may not learns that before they fill in a form.
		by, err := in.rules.emergency(ctx, in.user)
		if err != nil {
			return reply{}, err
		}
		if _, err := in.rules.policy.Emergency(by, grant.Ask{}, ""); !by.Emergency {
			return reply{}, err
		}
	}
	if err := b.room.ours(); err != nil {
		return reply{}, err
	}
	if strings.TrimSpace(words) == "" {
		verb := "grant"
		if emergency {
			verb = "emergency"
		}
		return reply{modal: in.rules.form(grant.Ask{}, emergency), msg: view.Message{Text: fmt.Sprintf("`/breakglass %s cell=%s arn=arn:aws:iam::111122223333:role/support ticket=48213 for=4h reason=stuck node pool`", verb, b.exampleCell())}}, nil
	}
	ask, err := parseAsk(words)
	if err != nil {
		return reply{}, err
	}
	return b.ask(ctx, in, ask, emergency)
}

// extend asks for more time; the id may be left out where one grant is open.
func (b *Bot) extend(ctx context.Context, in intent, words string) (reply, error) {
	parts := strings.Fields(words)
	if len(parts) == 1 {
		if _, err := grant.ParseDuration(parts[0]); err == nil {
			live, err := b.o.Store.Live()
			if err != nil {
				return reply{}, err
			}
			open := slices.DeleteFunc(live, func(g grant.Grant) bool { return g.Phase != grant.Open })
			if len(open) == 1 {
				return b.extendBy(ctx, in, open[0], parts[0])
			}
		}
	}
	if len(parts) != 2 {
		return reply{}, grant.Refuse(grant.BadRequest, "Say which grant, and how much more. Nothing changed. For example `/breakglass extend BG-7 2h`; `/breakglass status` lists what is open.")
	}
	g, err := b.named(parts[0], "extend")
	if err != nil {
		return reply{}, err
	}
	return b.extendBy(ctx, in, g, parts[1])
}

// usualHistory is how many ended grants history lists where no number is said.
const usualHistory = 10

// history lists the grants that ended last.
func (b *Bot) history(words string) (reply, error) {
	var cell grant.CellName
	n := usualHistory
	for w := range strings.FieldsSeq(words) {
		if _, ok := b.rules().policy.Cell(grant.CellName(w)); ok && cell == "" {
			cell = grant.CellName(w)
			continue
		}
		k, err := strconv.Atoi(w)
		if err != nil || k < 1 {
			return reply{}, grant.Refuse(grant.BadRequest, "%q is neither a cell nor a number. Nothing changed. Say `/breakglass history %s 20`; the cells are %s.", grant.Clean(w, 60), b.exampleCell(), b.cellNames())
		}
		n = k
	}
	ended, err := b.o.Store.Ended(cell, min(n, view.MostHistory))
	if err != nil {
		return reply{}, err
	}
	return reply{msg: view.History(cell, ended, n)}, nil
}

func (b *Bot) cellNames() string {
	names := make([]string, len(b.rules().policy.Cells))
	for i, c := range b.rules().policy.Cells {
		names[i] = string(c.Name)
	}
	return strings.Join(names, ", ")
}

// check looks at one cell or all, and answers when that is done.
func (b *Bot) check(what string) (reply, error) {
	var cells []grant.Cell
	for _, c := range b.rules().policy.Cells {
		if what == "" || c.Name == grant.CellName(what) {
			cells = append(cells, c)
		}
	}
	if len(cells) == 0 {
		return reply{}, grant.Refuse(grant.UnknownCell, "There is no cell %q here. Nothing was looked at. The cells are %s.", grant.Clean(what, 60), b.cellNames())
	}
	names := make([]grant.CellName, len(cells))
	for i, c := range cells {
		names[i] = c.Name
	}
	return reply{msg: view.Checking(names), later: func(ctx context.Context) reply {
		ctx, cancel := context.WithTimeout(ctx, checkLimit)
		defer cancel()
		reports := make([]view.CellReport, len(cells))
		var wg sync.WaitGroup
		slots := make(chan struct{}, surveysAtOnce)
		for i, c := range cells {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() {
					<-slots
					if p := recover(); p != nil {
						b.log.Error("a cell could not be checked", "ref", reference(), "cell", string(c.Name), "cause", fmt.Sprint(p))
					}
				}()
				reports[i].Cell = c.Name
				reports[i] = view.CellReport{Cell: c.Name, Report: b.o.AWS.Check(ctx, grant.Grant{Cell: c.Name, Account: c.Account, Region: c.Region})}
			})
		}
		wg.Wait()
		return reply{msg: view.Check(reports, time.Now().UTC())}
	}}, nil
}

func (b *Bot) exampleCell() string {
	if len(b.rules().policy.Cells) > 0 {
		return string(b.rules().policy.Cells[0].Name)
	}
	return "NAME"
}

// revoke closes one grant, all of a cell, or all.
func (b *Bot) revoke(ctx context.Context, in intent, what string) (reply, error) {
	live, err := b.o.Store.Live()
	if err != nil {
		return reply{}, err
	}
	open := make([]grant.Grant, 0, len(live))
	for _, g := range live {
		if g.Phase == grant.Opening || g.Phase == grant.Open {
			open = append(open, g)
		}
	}
	now := time.Now().UTC()
	switch {
	case strings.EqualFold(what, "all"):
		if len(open) == 0 {
			return b.status(live)
		}
		return reply{msg: view.ConfirmAll(open, now)}, nil
	case what == "" && len(open) == 1:
		return b.revokeThese(ctx, in, open)
	case what == "":
		return reply{msg: view.Choose(open, now)}, nil
	}
	if _, ok := b.rules().policy.Cell(grant.CellName(what)); ok {
		var there []grant.Grant
		for _, g := range open {
			if g.Cell == grant.CellName(what) {
				there = append(there, g)
			}
		}
		if len(there) == 0 {
			return reply{}, grant.Refuse(grant.WrongPhase, "Nothing is open on %s. Nothing changed. `/breakglass status` shows what there is.", what)
		}
		if ask, err := b.wouldCut(there...); err != nil {
			return reply{}, err
		} else if ask != nil {
			return *ask, nil
		}
		return b.revokeThese(ctx, in, there)
	}
	if _, ok := grant.ParseID(what); !ok {
		return reply{}, grant.Refuse(grant.BadRequest, "%q is neither the id of a grant nor a cell. Nothing changed. Say `/breakglass revoke BG-7`; `/breakglass status` lists what is open.", grant.Clean(what, 60))
	}
	g, err := b.named(what, "revoke")
	if err != nil {
		return reply{}, err
	}
	if ask, err := b.wouldCut(g); err != nil {
		return reply{}, err
	} else if ask != nil {
		return *ask, nil
	}
	return b.revokeThese(ctx, in, []grant.Grant{g})
}

// status answers everything that is open or waiting, and what no grant explains.
func (b *Bot) status(live []grant.Grant) (reply, error) {
	guards, err := b.o.Store.Guards()
	if err != nil {
		return reply{}, err
	}
	return reply{msg: view.Status(live, guards, time.Now().UTC())}, nil
}

// wouldCut answers a question where revoking these grants would end live shells of
// others, too; nil where it would not. It is for people who have not been told.
func (b *Bot) wouldCut(these ...grant.Grant) (*reply, error) {
	live, err := b.o.Store.Live()
	if err != nil {
		return nil, err
	}
	var cut []grant.Grant
	has := func(list []grant.Grant, id grant.ID) bool {
		return slices.ContainsFunc(list, func(x grant.Grant) bool { return x.ID == id })
	}
	// Those that end together keep nothing open for each other.
	rest := slices.DeleteFunc(live, func(o grant.Grant) bool { return has(these, o.ID) })
	for _, g := range these {
		if g.Phase != grant.Open && g.Phase != grant.Opening {
			continue
		}
		for _, o := range g.Cuts(rest) {
			if !has(cut, o.ID) {
				cut = append(cut, o)
			}
		}
	}
	if !slices.ContainsFunc(cut, func(o grant.Grant) bool { n, _ := o.Watch.Count(); return n > 0 }) {
		return nil, nil
	}
	return &reply{msg: view.ConfirmRevoke(these, cut, time.Now().UTC())}, nil
}

// revokeAll is the second half of `revoke all`, after the question, and of `revoke
// CELL` where cell is not empty.
func (b *Bot) revokeAll(ctx context.Context, in intent, cell grant.CellName) (reply, error) {
	live, err := b.o.Store.Live()
	if err != nil {
		return reply{}, err
	}
	var open []grant.Grant
	for _, g := range live {
		if (g.Phase == grant.Opening || g.Phase == grant.Open) && (cell == "" || g.Cell == cell) {
			open = append(open, g)
		}
	}
	if len(open) == 0 {
		return b.status(live)
	}
	return b.revokeThese(ctx, in, open)
}

// revokeThese revokes each, and answers for all. One refusal does not keep the
// others open.
func (b *Bot) revokeThese(ctx context.Context, in intent, grants []grant.Grant) (reply, error) {
	var done []grant.Grant
	var refused []error
	// A second delivery of the same words must not find other grants to end; one
	// that was cut off in the middle goes on with the rest.
	if id, known, err := b.o.Store.Known(in.keys...); err != nil {
		return reply{}, &uncommitted{ref: in.ref, cause: err}
	} else if known && id == 0 {
		return reply{}, grant.Refuse(grant.WrongPhase, "That was refused already. Nothing changed. `/breakglass status` shows what there is.")
	} else if known {
		g, err := b.o.Store.Grant(id)
		if err != nil {
			return reply{}, err
		}
		return reply{msg: view.Show(g, time.Now().UTC())}, nil
	}
	type may struct {
		g  grant.Grant
		by grant.Actor
	}
	var list []may
	rights := in.rules.closers(ctx, in.user)
	for _, g := range grants {
		by, err := rights(g)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		list = append(list, may{g, by})
	}
	for i, m := range list {
		g := m.g
		each := in
		each.keys = nil
		for _, k := range in.keys {
			each.keys = append(each.keys, fmt.Sprintf("%s/%s", k, g.ID))
		}
		if i == len(list)-1 {
			each.keys = append(each.keys, in.keys...)
		}
		res, err := b.commit(each, g.ID, grant.Revoke{By: m.by})
		if err != nil {
			if _, ok := errors.AsType[*uncommitted](err); ok {
				return reply{}, err
			}
			refused = append(refused, err)
			continue
		}
		done = append(done, res.Grant)
	}
	if len(done) == 0 {
		return reply{}, refused[0]
	}
	return reply{msg: view.Revoking(done, len(refused), b.o.Channel)}, nil
}

// tidy undoes what keyboards and Slack do to typed commands.
func tidy(s string) string { return strings.TrimSpace(plain(unescape(s))) }

// unescape undoes what Slack does to typed text (docs.slack.dev, "Formatting message
// text": only &, < and > are escaped, & last to be undone).
func unescape(s string) string {
	return strings.ReplaceAll(strings.NewReplacer("&lt;", "<", "&gt;", ">").Replace(s), "&amp;", "&")
}

// plain undoes what keyboards do to words: smart quotes, dashes, spaces that do not
// break. Each character stands for one.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\u00a0', '\u202f', '\u2009', '\t', '\r', '\n':
			return ' '
		case '“', '”', '„':
			return '"'
		case '‘', '’':
			return '\''
		case '\u2010', '\u2011', '–', '—', '\u2212':
			return '-'
		default:
			return r
		}
	}, s)
}

// behind is the end of a text as it was typed, that reads rest in plain words.
func behind(typed, rest string) string {
	for n := utf8.RuneCountInString(typed) - utf8.RuneCountInString(rest); n > 0; n-- {
		_, size := utf8.DecodeRuneInString(typed)
		typed = typed[size:]
	}
	return typed
}

// parseAsk reads key=value words; reason takes the rest of the line, so nothing
// in it is ever taken for another key, and not a character of it is changed.
func parseAsk(words string) (grant.Ask, error) {
	var ask grant.Ask
	fields := map[string]*string{"cell": &ask.Cell, "arn": &ask.ARN, "ticket": &ask.Ticket, "for": &ask.For, "reason": &ask.Reason}
	seen := map[string]bool{}
	words = strings.TrimSpace(words)
	for rest := strings.TrimSpace(plain(words)); rest != ""; rest = strings.TrimSpace(rest) {
		word, after, _ := strings.Cut(rest, " ")
		typed, _, ok := strings.Cut(word, "=")
		key := strings.ToLower(typed)
		field := fields[key]
		if !ok || field == nil {
			return ask, grant.Refuse(grant.BadRequest, "I do not understand %q, so nothing was requested. Write key=value words: cell, arn, ticket, for, and last reason, which takes the rest of the line. For example `/breakglass grant cell=helios-prod arn=arn:aws:iam::111122223333:role/support ticket=48213 for=4h reason=stuck node pool`.", grant.Clean(word, 60))
		}
		if seen[key] {
			return ask, grant.Refuse(grant.BadRequest, "%s= is given twice, so nothing was requested. Give it once.", key)
		}
		seen[key] = true
		value := rest[len(typed)+1:] // lower case may have another length
		if key == "reason" {
			*field = unquote(behind(words, value))
			return ask, nil
		}
		if len(value) > 0 && (value[0] == '"' || value[0] == '\'') {
			if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
				*field, rest = value[1:1+end], value[end+2:]
				continue
			}
		}
		value, _, _ = strings.Cut(value, " ")
		*field, rest = unquote(value), after
	}
	return ask, nil
}

// bare takes off the quotes around a whole text, of whatever kind. Of “these” words
// and “those” the first and the last are no pair.
func bare(s string) string {
	s = strings.TrimSpace(s)
	r, p := []rune(s), []rune(plain(s))
	n := len(p)
	if n < 2 || p[0] != p[n-1] || (p[0] != '"' && p[0] != '\'') || r[0] != p[0] && slices.Contains(p[1:n-1], p[0]) {
		return s
	}
	return string(r[1 : n-1])
}

// unquote takes off quotes around a value, and the angle brackets that Slack
// puts around what it takes for a link: <text|text>.
func unquote(s string) string {
	s = bare(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && strings.Count(s, "<") == 1 {
		inner := s[1 : len(s)-1]
		if link, label, ok := strings.Cut(inner, "|"); ok {
			inner = link
			if !strings.Contains(link, "arn:") {
				inner = label
			}
		}
		s = inner
	}
	return s
}
