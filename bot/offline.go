package bot

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"breakglass/bot/view"
	"breakglass/store"
	"breakglass/store/grant"
)

// Finish ends access where no bot runs, and talks to nobody: of the options it needs
// Store and AWS. Of the grants named, which are closing or whose time is up, it pays
// what takes access away and nothing else, by the same code and with the same
// patience as the running bot, until each is closed and proven or the context ends.
// Cards and messages stay owed: the next bot posts them.
//
// Progress hears how each grant stands, at first and at every change, one after the
// other. Finish answers those that have not ended when the context has; an error
// means that the store cannot be read.
func Finish(ctx context.Context, o Options, ids []grant.ID, progress func(grant.Grant)) (left []grant.Grant, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := newWorker(&Bot{o: o, log: o.Log})
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer w.leave(stop) // before the caller closes the store

	told := map[grant.ID]int{}
	look := func() error {
		left = nil
		for _, id := range ids {
			if told[id] < 0 {
				continue
			}
			g, err := o.Store.Grant(id)
			if err != nil {
				return fmt.Errorf("read %s: %w", id, err)
			}
			if v, before := told[id]; !before || v != g.Version {
				told[id] = g.Version
				progress(g)
			}
			if g.Phase.Terminal() {
				told[id] = -1
				continue
			}
			left = append(left, g)
		}
		return nil
	}
	var looked time.Time
	for news := true; ; {
		changed := o.Store.Changed()
		now := time.Now().UTC()
		if news && now.Sub(looked) >= readEvery {
			if err := look(); err != nil || len(left) == 0 {
				return left, err
			}
			looked, news = now, false
		}
		due, next, err := o.Store.Due(now, batch, w.inHand, func(x store.Owed) bool { return !ends(x, ids) || w.skip(x) })
		if err != nil {
			return left, err
		}
		for _, x := range due {
			w.start(work, x)
		}
		if again := looked.Add(readEvery); news && (next.IsZero() || again.Before(next)) {
			next = again
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(max(next.Sub(now), time.Millisecond))
		}
		select {
		case <-changed:
			news = true
		case <-w.wake:
			news = true
		case <-timer:
		case <-ctx.Done():
			// What is in hand may be the last round.
			w.leave(stop)
			err := look()
			return left, err
		}
	}
}

// readEvery is how often all the grants are read, where one event after the other
// comes in: a thousand may be closing.
const readEvery = 100 * time.Millisecond

// ends reports whether paying it takes access of one of the grants away.
func ends(o store.Owed, ids []grant.ID) bool {
	return (o.Effect.Kind == grant.DoClose || o.Effect.Kind == grant.DoExpire) && slices.Contains(ids, o.Grant)
}

// ByHand is how a person does what closing the grant keeps failing at, or all of it:
// commands for a shell.
func ByHand(g grant.Grant) string { return view.ByHand(g) }
