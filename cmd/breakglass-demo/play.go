package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
)

// play is what people do in the world, and what they see of it.
type play struct {
	world
	shell *awssim.Shell // that was opened last

	seen sync.WaitGroup
	mu   sync.Mutex // guards out
	out  io.Writer
}

func newPlay(w world, out io.Writer) *play { return &play{world: w, out: out} }

func (p *play) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format, args...)
}

// follow prints what changes in Slack until ctx ends: what is new whole, and of
// what is edited the lines that were not there before.
func (p *play) follow(ctx context.Context) {
	before := map[string][]string{}
	for n := 0; ; {
		changed := p.slack.Changed()
		for _, c := range p.slack.Changes(n) {
			n++
			switch c.Kind {
			case slacksim.Posted, slacksim.Updated, slacksim.EphemeralShown, slacksim.EphemeralEdited:
				m := c.Message
				lines := strings.Split(p.slack.Render(m), "\n")
				key := m.Channel + m.TS + m.To
				news := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return slices.Contains(before[key], l) })
				before[key] = lines
				if len(news) > 0 {
					p.printf("%s\n%s\n", p.where(m, c.Kind), indent(strings.Join(news, "\n"), "  │ "))
				}
			case slacksim.ViewOpened:
				p.printf("a form for %s, which cannot be filled in here: type the command with its words instead\n%s\n", p.name(c.View.User), indent(p.slack.RenderView(c.View), "  │ "))
			case slacksim.Deleted, slacksim.EphemeralGone, slacksim.ViewUpdated, slacksim.ViewFilled, slacksim.ViewClosed, slacksim.HomePublished:
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// where says where a message stands.
func (p *play) where(m slacksim.Message, kind slacksim.ChangeKind) string {
	place := "#singlestore-access"
	switch {
	case m.Ephemeral:
		place = "only " + p.name(m.To) + " sees"
	case m.Channel != channel:
		place = "direct message"
		for _, id := range []string{ana, ben} {
			if p.slack.DM(id) == m.Channel {
				place = "direct message to " + p.name(id)
			}
		}
	case m.ThreadTS != "":
		place = "in the card's thread"
	}
	if kind == slacksim.Updated || kind == slacksim.EphemeralEdited {
		place += ", changed"
	}
	return place
}

func (*play) name(id string) string {
	switch id {
	case ana:
		return "Ana"
	case ben:
		return "Ben"
	}
	return id
}

// person has somebody do something in Slack.
func (p *play) person(ctx context.Context, who *slacksim.Person, what string) error {
	word, rest, _ := strings.Cut(what, " ")
	rest = strings.TrimSpace(rest)
	var i slacksim.Interaction
	var err error
	switch word {
	case "/breakglass":
		i, err = who.Slash(ctx, channel, "/breakglass", rest)
	case "press":
		i, err = p.press(ctx, who, rest)
	case "home":
		if i, err = who.OpenHome(ctx); err == nil && i.Acked {
			var v slacksim.View
			if v, err = who.WaitHome(ctx, nil); err == nil {
				p.printf("%s's Home tab\n%s\n", p.name(who.ID()), indent(p.slack.RenderView(v), "  │ "))
			}
		}
	default:
		return fmt.Errorf("%s can type /breakglass …, press BUTTON, or look at home; type help", p.name(who.ID()))
	}
	if err != nil {
		return err
	}
	if i.Failure != "" || !i.Acked {
		return errors.New("nobody has answered Slack: is the program running? It is started in another terminal, as was said above")
	}
	return nil
}

// grantAtTheEnd is the id of a grant behind a button's name.
var grantAtTheEnd = regexp.MustCompile(`^(.*\S)\s+(BG-\d+)$`)

// press presses the newest button whose label begins with the words, of what the
// person sees; with the id of a grant behind them, of that grant.
func (p *play) press(ctx context.Context, who *slacksim.Person, words string) (slacksim.Interaction, error) {
	of := regexp.MustCompile("")
	if m := grantAtTheEnd.FindStringSubmatch(words); m != nil {
		words, of = m[1], regexp.MustCompile(regexp.QuoteMeta(m[2])+`\b`)
	}
	if first, size := utf8.DecodeRuneInString(words); size > 0 {
		words = string(unicode.ToUpper(first)) + words[size:]
	}
	sees := slices.Concat(p.slack.Messages(channel), who.DMs(), who.Ephemerals())
	slices.SortStableFunc(sees, func(a, b slacksim.Message) int { return a.At.Compare(b.At) })
	for _, m := range slices.Backward(sees) {
		if _, err := m.Button(words); words != "" && err == nil && of.MatchString(p.slack.Render(m)) {
			return who.Click(ctx, m, words)
		}
	}
	return slacksim.Interaction{}, fmt.Errorf("%s sees no button that begins with %q", p.name(who.ID()), words)
}
