package bot

import (
	"errors"
	"fmt"
	"time"

	"breakglass/store"
)

// What readiness and health go by.
const (
	// heardWithin is how lately something must have come over a socket. Slack pings
	// every few seconds; slack-go itself gives a silent socket up after half a minute
	// to a minute.
	heardWithin = 40 * time.Second
	// behindMost is how long something may be due that nothing keeps from being
	// done.
	behindMost = 30 * time.Second
	// stuckAfter is when the worker is taken to have stopped: something is due for
	// so long, and nothing keeps it from being done.
	stuckAfter = 2 * time.Minute
	// heldMost is how long one attempt may be in hand. Each has a limit of its own,
	// of which the longest is openLimit; one that is over it by so much never ends.
	heldMost = 10 * time.Minute
)

// Ready answers nil while the bot can take in what people want, and do it: a
// socket has said hello and was heard lately, the database takes in what it is
// given, and the worker is not behind.
//
// What waits to be tried again because Slack or AWS does not answer is not behind.
func (b *Bot) Ready() error {
	var why []error
	if b.sockets() == 0 {
		why = append(why, errors.New("no socket to Slack is up"))
	}
	if err := b.o.Store.Writable(); err != nil {
		why = append(why, err)
	}
	switch late, err := b.Behind(); {
	case err != nil:
		why = append(why, err)
	case late > behindMost:
		why = append(why, fmt.Errorf("something has been due for %s, and is not being done", late.Round(time.Second)))
	}
	return errors.Join(why...)
}

// Working answers nil unless a new start is what helps: the worker has stopped, or
// the database can be used by another process only.
//
// It does not fail because Slack or AWS does not answer, and not because the disk is
// full: a bot that is started anew has still no Slack and no disk, and ends nothing
// while it cannot start, where this one goes on ending access in AWS. Those fail
// [Bot.Ready], so that a person looks.
func (b *Bot) Working() error {
	if err := b.o.Store.Writable(); errors.Is(err, store.ErrWedged) {
		return err
	}
	if held := b.work.longestInHand(time.Now()); held > heldMost {
		return fmt.Errorf("something has been in hand for %s, and does not end", held.Round(time.Second))
	}
	late, err := b.Behind()
	if err != nil || late <= stuckAfter {
		return nil //nolint:nilerr // a page that cannot be read cannot be read by the next process either
	}
	return fmt.Errorf("the worker has stopped: something has been due for %s", late.Round(time.Second))
}

// sockets counts those that are up.
func (b *Bot) sockets() (n int) {
	for _, s := range b.socks {
		if s.up() {
			n++
		}
	}
	return n
}

// Sockets answers how many sockets have said hello and were heard lately, and how
// long ago anything has come over any of them; less than zero: never.
func (b *Bot) Sockets() (up int, silent time.Duration) {
	silent = -1
	for _, s := range b.socks {
		if at := s.ear.at(); !at.IsZero() && (silent < 0 || time.Since(at) < silent) {
			silent = time.Since(at)
		}
	}
	return b.sockets(), silent
}

// Behind answers for how long something has been due that nothing keeps from being
// done: neither other work for the same grant, nor Slack's pace, nor the pause
// before the next try. Zero: there is nothing like it. What fell due before the
// program started counts from then.
func (b *Bot) Behind() (time.Duration, error) {
	now := time.Now().UTC()
	due, _, err := b.o.Store.Due(now, 1, b.work.inHand, b.work.waiting)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	since := due[0].Effect.Due
	if since.Before(b.work.began) {
		since = b.work.began
	}
	return now.Sub(since), nil
}
