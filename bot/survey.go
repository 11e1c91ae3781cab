package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakglass/bot/view"
	"breakglass/store"
	"breakglass/store/grant"
)

// surveyLimit is the longest that one look at a cell's role may take.
const surveyLimit = time.Minute

// survey looks at the role of a cell, whether anything is open there or not.
func (w *worker) survey(ctx context.Context, o store.Owed) error {
	cell := grant.CellName(o.Effect.Arg)
	if _, ok := w.bot.rules().policy.Cell(cell); !ok {
		_, err := w.bot.o.Store.Settle(o) // not in the configuration any more
		return err
	}
	sctx, cancel := context.WithTimeout(ctx, surveyLimit)
	defer cancel()
	s := w.bot.o.AWS.Survey(sctx, cell)
	if err := ctx.Err(); err != nil {
		return err // stopping: half a look is not worth keeping
	}
	ref := reference()
	if s.Trouble != nil {
		w.log.Warn("a cell could not be looked at", "ref", ref, "cell", string(cell), "kind", string(s.Trouble.Kind), "err", s.Trouble)
	}
	return w.bot.o.Store.Look(store.Looked{Cell: cell, Survey: s, Now: time.Now().UTC(), Settles: o, Ref: ref, Token: newToken})
}

// stray posts or edits a message about a cell.
func (w *worker) stray(ctx context.Context, o store.Owed) error {
	ctx, cancel := context.WithTimeout(ctx, slackLimit)
	defer cancel()
	cell, what, ok := grant.ParseStrayArg(o.Effect.Arg)
	if !ok {
		_, err := w.bot.o.Store.Settle(o)
		return err
	}
	g, err := w.bot.o.Store.Guard(cell)
	if err != nil {
		return err
	}
	x, ok := g.Stray(what)
	switch {
	case ok:
	case strings.HasPrefix(what, grant.SayBlind+":"):
		return w.blind(ctx, o, cell)
	default: // forgotten, or of a cell that is not in the configuration any more
		_, err := w.bot.o.Store.Settle(o)
		return err
	}
	render := func() (view.Message, error) {
		newest, err := w.bot.o.Store.Guard(cell)
		if err != nil {
			return view.Message{}, err
		}
		live, err := w.bot.o.Store.Live()
		if err != nil {
			return view.Message{}, err
		}
		now, ok := newest.Stray(what)
		if !ok {
			return view.Message{}, errNotWorth
		}
		return view.Stray(cell, now, live, w.bot.rules().policy.Adoptable(cell, now), newest.Unlisted(what), w.audience()), nil
	}
	if x.Card.TS != "" {
		err := w.bot.posts.update(ctx, x.Card, render)
		switch {
		case err == nil, errors.Is(err, errNotWorth), gone(err) && !x.Gone.IsZero():
			_, err := w.bot.o.Store.Settle(o)
			return err
		case !gone(err):
			return err
		}
		// Somebody deleted the message, but the trust is there: it must be told.
	}
	// Told tells the messages about one stray apart that went and came back.
	at, found, err := w.bot.posts.post(ctx, place{
		channel: w.bot.o.Channel, name: fmt.Sprintf("%s/%d", o.Effect.Arg, x.Told.Unix()),
		maybe: w.maybe(o), tries: o.Attempt, since: x.Seen, after: x.Card.TS,
	}, render)
	switch {
	case errors.Is(err, errNotWorth):
		_, err := w.bot.o.Store.Settle(o)
		return err
	case err != nil:
		return err
	case !found:
		return w.bot.o.Store.Posted(cell, what, at, o)
	}
	// It is as it was when it was posted, and the newest state is still owed.
	if err := w.bot.o.Store.Posted(cell, what, at, store.Owed{}); err != nil {
		return err
	}
	if err := w.bot.posts.update(ctx, at, render); err != nil && !errors.Is(err, errNotWorth) {
		return err
	}
	_, err = w.bot.o.Store.Settle(o)
	return err
}

// blind says that a cell cannot be looked at, if that is still so.
func (w *worker) blind(ctx context.Context, o store.Owed, cell grant.CellName) error {
	render := func() (view.Message, error) {
		g, err := w.bot.o.Store.Guard(cell)
		if err != nil {
			return view.Message{}, err
		}
		m, ok := view.Blind(g)
		if !ok {
			return view.Message{}, errNotWorth
		}
		return m, nil
	}
	to := place{channel: w.bot.o.Channel, name: fmt.Sprintf("%s/%d", o.Effect.Arg, o.Seq), maybe: w.maybe(o), tries: o.Attempt}
	if _, _, err := w.bot.posts.post(ctx, to, render); err != nil && !errors.Is(err, errNotWorth) {
		return err
	}
	_, err := w.bot.o.Store.Settle(o)
	return err
}

// answerStray does what a button of a stray's message says.
func (b *Bot) answerStray(ctx context.Context, in intent, action, token string) (*reply, error) {
	cell, x, err := b.o.Store.Stray(token)
	if err != nil {
		return nil, err
	}
	var ev grant.Event
	if action == view.ActionAdopt {
		by, err := in.rules.requester(ctx, in.user)
		if err != nil {
			return nil, err
		}
		if ev, err = in.rules.policy.Adopt(by, cell, x, newToken()); err != nil {
			return nil, err
		}
	} else {
		by, err := in.rules.closer(ctx, in.user, grant.Grant{})
		if err != nil {
			return nil, err
		}
		if ev, err = in.rules.policy.Removal(by, cell, x, newToken()); err != nil {
			return nil, err
		}
	}
	res, err := b.commit(in, 0, ev)
	if err != nil {
		return nil, err
	}
	if res.Grant.Removal {
		return &reply{msg: view.Revoking([]grant.Grant{res.Grant}, 0, b.o.Channel)}, nil
	}
	return &reply{msg: view.Requested(res.Grant, b.o.Channel)}, nil
}
