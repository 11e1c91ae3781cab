package bot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"breakglass/bot/view"
	"breakglass/store"
	"breakglass/store/grant"
)

// worker pays what is owed. It takes what is due out of the store, runs it, and
// commits the result as the next event. What is not committed stays owed: after
// a crash it is run again, which every effect bears.
type worker struct {
	bot *Bot
	log *slog.Logger

	mu    sync.Mutex
	busy  map[string]bool                 // lanes in use, and lanes resting after a failure
	hand  map[uint64]time.Time            // the rows on those lanes, and since when
	waits map[uint64]store.Owed           // rows that were seen to wait for their lane
	talks int                             // how many of them wait for Slack
	opens map[grant.ID]context.CancelFunc // openings in flight, to be cut short by a close
	shown map[grant.ID][sha256.Size]byte  // what each card looks like, to skip edits that change nothing
	wake  chan struct{}
	began time.Time
	late  time.Time // when a reminder fell due last whose time had been long before
	lost  time.Time // when it last did not take in what became of an effect
	wg    sync.WaitGroup
}

const (
	// batch is how many effects are looked at in one go.
	batch = 256
	// grace is how long what is in hand may go on after the program was told
	// to stop; each effect can be left at any point and is run again.
	grace = 6 * time.Second
	// checksAtOnce bounds the checks of requests that run side by side.
	checksAtOnce = 8
	// The longest one attempt may take.
	checkLimit    = time.Minute
	openLimit     = 3 * time.Minute
	closeLimit    = 2 * time.Minute
	watchLimit    = 45 * time.Second // less than from one look to the next
	surveysAtOnce = 4
	// talksAtOnce bounds what waits for Slack: a channel takes about a message a
	// second, and more in the queue would only time out there.
	talksAtOnce = 16
	slackLimit  = time.Minute
)

func newWorker(b *Bot) *worker {
	return &worker{
		bot: b, log: b.log,
		busy:  map[string]bool{},
		hand:  map[uint64]time.Time{},
		waits: map[uint64]store.Owed{},
		opens: map[grant.ID]context.CancelFunc{},
		shown: map[grant.ID][sha256.Size]byte{},
		wake:  make(chan struct{}, 1),
		began: time.Now(),
	}
}

// lane says what may not run side by side: the AWS work of one grant, and its
// messages, so that they appear in order. Work on one role is kept apart where
// the role is known, in package actions.
func lane(o store.Owed) string {
	switch o.Effect.Kind {
	case grant.DoOpen, grant.DoClose, grant.DoExtend:
		return "aws/" + o.Grant.String()
	case grant.DoCheck:
		// Checks only read, for requests that nobody has decided: a flood of them
		// must not crowd out what ends access.
		return fmt.Sprintf("check/%d", o.Grant%checksAtOnce)
	case grant.DoWatch:
		// Of its own: a slow look holds up neither a close nor a message.
		return "watch/" + o.Grant.String()
	case grant.DoCard, grant.DoSay:
		return "slack/" + o.Grant.String()
	case grant.DoSurvey:
		// A few at a time: a hundred cells must not use up what AWS allows us.
		h := fnv.New32a()
		_, _ = h.Write([]byte(o.Effect.Arg))
		return fmt.Sprintf("survey/%d", h.Sum32()%surveysAtOnce)
	case grant.DoStray:
		return "slack/" + o.Effect.Arg
	case grant.DoExpire, grant.DoLapse, grant.DoRemind:
		return "clock/" + o.Grant.String()
	default:
		return "clock/" + o.Grant.String()
	}
}

// run works until the context ends, then gives what is in hand a moment to
// finish.
func (w *worker) run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	w.endsFirst(work)
	for ctx.Err() == nil {
		changed := w.bot.o.Store.Changed()
		now := time.Now().UTC()
		due, next, err := w.bot.o.Store.Due(now, batch, w.inHand, w.skip)
		if err != nil {
			w.log.Error("what is owed could not be read", "err", err)
			next = now.Add(time.Second)
		}
		for _, o := range due {
			w.start(work, o)
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(max(next.Sub(now), time.Millisecond))
		}
		select {
		case <-changed:
		case <-w.wake:
		case <-timer:
		case <-ctx.Done():
		}
	}
	close(w.bot.posts.stopping)
	w.leave(stop)
	return nil
}

// endsFirst begins with what ends access: after a long absence much may be owed, and
// nothing of it may stand in the way of that.
func (w *worker) endsFirst(ctx context.Context) {
	due, _, err := w.bot.o.Store.Due(time.Now().UTC(), 0, nil, func(o store.Owed) bool {
		return o.Effect.Kind != grant.DoClose && o.Effect.Kind != grant.DoExpire
	})
	if err != nil {
		w.log.Error("what is owed could not be read", "err", err)
	}
	for _, o := range due {
		w.start(ctx, o)
	}
}

// leave gives what is in hand a moment to finish, and then stops it.
func (w *worker) leave(stop context.CancelCauseFunc) {
	done := make(chan struct{})
	go func() { w.wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(grace):
	}
	stop(errStopping)
	<-done
}

var errStopping = errors.New("breakglass is stopping")

// inHand leaves out what is being worked on or known to wait, by the row's number
// alone: there may be a thousand that wait for Slack's pace.
func (w *worker) inHand(seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, is := w.hand[seq]; is {
		return true
	}
	o, known := w.waits[seq]
	return known && w.blocked(o)
}

// waiting reports whether something else keeps an effect from being done now.
func (w *worker) waiting(o store.Owed) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocked(o)
}

// longestInHand is for how long the oldest of what is in hand has been there.
func (w *worker) longestInHand(now time.Time) (held time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, since := range w.hand {
		held = max(held, now.Sub(since))
	}
	return held
}

// blocked reports whether an effect has to wait for others. The lock is held.
func (w *worker) blocked(o store.Owed) bool {
	return w.busy[lane(o)] || talk(o) && w.talks >= talksAtOnce || w.bot.room.silent(o.Effect)
}

// skip leaves out what may not run now. A close that waits for an opening in
// flight cuts it short.
func (w *worker) skip(o store.Owed) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.Effect.Kind == grant.DoClose {
		if cut := w.opens[o.Grant]; cut != nil {
			cut()
		}
	}
	blocked := w.blocked(o)
	if blocked && o.Effect.Kind != grant.DoClose {
		if len(w.waits) > 10_000 {
			clear(w.waits) // costs one reading each
		}
		w.waits[o.Seq] = o
	}
	return blocked
}

// resume goes on with what could not be said in the channel. Its reminders are late,
// and are said together.
func (w *worker) resume() {
	w.mu.Lock()
	w.late = time.Now()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func talk(o store.Owed) bool {
	return o.Effect.Kind == grant.DoCard || o.Effect.Kind == grant.DoSay || o.Effect.Kind == grant.DoStray
}

// start runs an effect on its lane, unless the lane is taken.
func (w *worker) start(ctx context.Context, o store.Owed) {
	l := lane(o)
	w.mu.Lock()
	if w.blocked(o) {
		w.mu.Unlock()
		return
	}
	delete(w.waits, o.Seq)
	if talk(o) {
		w.talks++
	}
	w.busy[l], w.hand[o.Seq] = true, time.Now()
	w.mu.Unlock()
	w.wg.Go(func() {
		rest := w.pay(ctx, o)
		if rest > 0 {
			// The store or Slack is in trouble: the lane rests, outside the
			// wait group, so that stopping does not wait for it.
			time.AfterFunc(rest, func() { w.free(l, o) })
			return
		}
		w.free(l, o)
	})
}

func (w *worker) free(l string, o store.Owed) {
	w.mu.Lock()
	delete(w.busy, l)
	delete(w.hand, o.Seq)
	if talk(o) {
		w.talks--
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// pay runs one effect and has its result committed. It answers how long the lane
// must rest when that could not be done.
func (w *worker) pay(ctx context.Context, o store.Owed) time.Duration {
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		err = w.run1(ctx, o)
	}()
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil || errors.Is(err, errStopping):
		return 0 // it stays owed
	}
	if _, ok := errors.AsType[*grant.Moot](err); ok {
		return 0 // settled by the store
	}
	wait := jitter(grant.Backoff(o.Attempt + 1))
	level := slog.LevelError
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		wait, level = max(limited.RetryAfter, time.Second), slog.LevelInfo
	}
	w.log.Log(ctx, level, "an effect could not be paid yet; it stays owed", "ref", reference(), "grant", o.Grant.String(), "effect", string(o.Effect.Kind), "arg", o.Effect.Arg, "attempt", o.Attempt+1, "wait", wait, "err", redact(err))
	if _, err := w.bot.o.Store.Postpone(o, time.Now().UTC().Add(wait)); err != nil {
		w.log.Error("the store does not take a postponement", "grant", o.Grant.String(), "err", err)
		w.forgot()
		switch o.Effect.Kind {
		case grant.DoWatch, grant.DoSurvey:
			return grant.WatchEvery // a full disk is no reason to look more often
		case grant.DoExpire, grant.DoClose:
			return unwrittenEvery
		default:
			return 2 * time.Second
		}
	}
	return 0
}

// forgot notes that the store did not take in what became of an effect.
func (w *worker) forgot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = time.Now()
}

// jitter keeps many retries apart.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/5+1) //nolint:gosec // spreads retries; nothing secret
}

// stillOwed reports whether an effect is owed as it was when it was listed. The
// lane may have been free only since the list was read, because the very same
// effect was paid meanwhile: it must not be paid twice.
func (w *worker) stillOwed(o store.Owed) (bool, error) {
	owed, err := w.bot.o.Store.Owes(o.Grant)
	return slices.ContainsFunc(owed, func(x store.Owed) bool { return x.Seq == o.Seq && x.Attempt == o.Attempt }), err
}

func (w *worker) run1(ctx context.Context, o store.Owed) error {
	if owed, err := w.stillOwed(o); err != nil || !owed {
		return err
	}
	switch o.Effect.Kind {
	case grant.DoSurvey:
		return w.survey(ctx, o)
	case grant.DoStray:
		return w.stray(ctx, o)
	default:
	}
	g, err := w.bot.o.Store.Grant(o.Grant)
	if err != nil {
		return err
	}
	switch o.Effect.Kind {
	case grant.DoExpire:
		return w.expire(ctx, o, g)
	case grant.DoLapse:
		return w.commit(o, grant.LapseDue{})
	case grant.DoRemind:
		w.fellDue(o)
		return w.commit(o, grant.ReminderDue{Name: o.Effect.Arg, Due: o.Effect.Due})
	case grant.DoCheck:
		return w.check(ctx, o, g)
	case grant.DoOpen:
		return w.open(ctx, o, g)
	case grant.DoExtend:
		return w.extend(ctx, o, g)
	case grant.DoClose:
		return w.close(ctx, o, g)
	case grant.DoWatch:
		return w.watch(ctx, o, g)
	case grant.DoCard:
		return w.card(ctx, o, g)
	case grant.DoSay:
		return w.say(ctx, o, g)
	default:
		return fmt.Errorf("no way to pay the effect %q", o.Effect.Kind)
	}
}

// commit has the store take in the result of an effect, and settle it.
func (w *worker) commit(o store.Owed, ev grant.Event) error {
	return w.record(o.Grant, o, ev)
}

// record has the store take in an event of the bot's own.
func (w *worker) record(id grant.ID, settles store.Owed, ev grant.Event) error {
	ref := reference()
	res, err := w.bot.o.Store.Commit(store.Change{Grant: id, Event: ev, Now: time.Now().UTC(), Settles: settles, Ref: ref})
	if err != nil {
		return err
	}
	if res.Before != res.Grant.Phase {
		w.log.Info("phase", "ref", ref, "grant", id.String(), "from", string(res.Before), "to", string(res.Grant.Phase))
	}
	return nil
}

// others lists the other grants that may have access in the same account.
func (w *worker) others(g grant.Grant) ([]grant.Grant, error) {
	holding, err := w.bot.o.Store.Holding()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(holding, func(l grant.Grant) bool { return l.ID == g.ID || l.Account != g.Account }), nil
}

// unwrittenEvery is how often what ends access is done while the store takes
// nothing in.
const unwrittenEvery = 20 * time.Second

// expire ends what has reached its end. Where the store does not take that in, a
// full disk for example, access is ended all the same: that it ends has been owed
// since the grant was approved, and each round may be done again. It is called
// closed only once it can be remembered.
func (w *worker) expire(ctx context.Context, o store.Owed, g grant.Grant) error {
	failed := w.commit(o, grant.EndDue{})
	if _, moot := errors.AsType[*grant.Moot](failed); failed == nil || moot {
		return failed
	}
	next, _, err := g.Apply(grant.EndDue{}, time.Now().UTC())
	if err != nil || next.Phase != grant.Closing {
		return failed
	}
	others, err := w.others(next)
	if err != nil {
		return errors.Join(failed, err)
	}
	cctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	w.log.Error("the end cannot be stored; access is ended all the same", "grant", g.ID.String(), "err", failed)
	w.bot.o.AWS.Close(cctx, next, others)
	return failed
}

func (w *worker) check(ctx context.Context, o store.Owed, g grant.Grant) error {
	if g.Phase != grant.Requested {
		return w.commit(o, grant.CheckDone{}) // moot: settles it
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	report := w.bot.o.AWS.Check(ctx, g)
	if err := ctx.Err(); errors.Is(context.Cause(ctx), errStopping) {
		return err
	}
	return w.commit(o, grant.CheckDone{Report: report})
}

func (w *worker) open(ctx context.Context, o store.Owed, g grant.Grant) error {
	if g.Phase != grant.Opening {
		return w.commit(o, grant.OpenDone{}) // moot: settles it
	}
	others, err := w.others(g)
	if err != nil {
		return err
	}
	force := w.bot.rules()
	if done, err := w.stillApproved(ctx, force, o, g); done || err != nil {
		return err
	}
	octx, cut := w.cuttable(ctx, g.ID)
	defer cut()

	var stopped error // the store's answer to a step, when it was not yes
	access, err := w.bot.o.AWS.Open(octx, g, others, func(s grant.StepChanged) error {
		if s.Step == grant.StepTrust && s.State == grant.Running && w.bot.rules() != force {
			// The door is not open yet, and other people may decide now.
			return &grant.Trouble{
				Kind: grant.Again, Step: grant.StepTrust,
				Text:   "The configuration of this bot was changed meanwhile, so it is looked at anew whether those who approved may still approve.",
				Remedy: "Nothing to do: it is tried again by itself.",
			}
		}
		stopped = w.record(g.ID, store.Owed{}, s)
		return stopped
	})
	var trouble *grant.Trouble
	switch {
	case err == nil:
		return w.commit(o, grant.OpenDone{Access: access})
	case stopped != nil:
		return stopped
	case ctx.Err() != nil:
		return w.breakOff(ctx, g, err)
	case errors.As(err, &trouble):
	default:
		trouble = &grant.Trouble{Kind: grant.Unknown, Step: grant.StepCheck, Text: "Something failed on our side while opening.", Remedy: "It is tried again by itself.", Cause: err}
	}
	w.log.Warn("opening failed", "grant", g.ID.String(), "step", trouble.Step, "kind", string(trouble.Kind), "err", trouble)
	switch trouble.Kind {
	case grant.Refused:
		return w.commit(o, grant.OpenFailed{Trouble: *trouble})
	case grant.Changed:
		return w.commit(o, grant.Replanned{Trouble: *trouble})
	case grant.Again, grant.Unknown:
	}
	return w.commit(o, grant.OpenDelayed{Trouble: *trouble, Wait: jitter(grant.Backoff(g.OpenTries + 1))})
}

// breakOff leaves AWS work in the middle, because the program ends. It stays owed;
// what was written so far belongs into the audit log all the same.
func (w *worker) breakOff(ctx context.Context, g grant.Grant, err error) error {
	if t, ok := errors.AsType[*grant.Trouble](err); ok && len(t.Writes) > 0 {
		err := w.record(g.ID, store.Owed{}, grant.StepChanged{Step: t.Step, State: grant.Running, Writes: t.Writes})
		if _, moot := errors.AsType[*grant.Moot](err); err != nil && !moot {
			w.log.Error("what was written could not be stored", "grant", g.ID.String(), "err", err)
		}
	}
	return ctx.Err()
}

// cuttable is a context that a close of the same grant cuts short.
func (w *worker) cuttable(ctx context.Context, id grant.ID) (context.Context, context.CancelFunc) {
	octx, cut := context.WithTimeout(ctx, openLimit)
	w.mu.Lock()
	w.opens[id] = cut
	w.mu.Unlock()
	return octx, func() {
		w.mu.Lock()
		delete(w.opens, id)
		w.mu.Unlock()
		cut()
	}
}

// stillApproved looks, just before the door opens, whether those who approved may
// still approve. It answers true when the opening does not go on now.
func (w *worker) stillApproved(ctx context.Context, force *rules, o store.Owed, g grant.Grant) (done bool, err error) {
	fallen, err := force.fallen(ctx, g.Approvals)
	switch {
	case err != nil && ctx.Err() != nil:
		return true, ctx.Err()
	case err != nil:
		w.log.Warn("opening waits: Slack does not say whether those who approved still may", "grant", g.ID.String(), "err", redact(err))
		return true, w.commit(o, grant.OpenDelayed{Wait: jitter(grant.Backoff(g.OpenTries + 1)), Trouble: grant.Trouble{
			Kind: grant.Again, Step: grant.StepCheck,
			Text:   "Slack does not say whether those who approved may still approve, so nothing was opened yet.",
			Remedy: "Nothing to do: it is tried again by itself.",
		}})
	case len(fallen) > 0:
		// Where enough approvals remain the opening is still owed, and runs anew.
		return true, w.record(g.ID, store.Owed{}, grant.Unapproved{Users: fallen})
	default:
		return false, nil
	}
}

// extend has AWS enforce a later end.
func (w *worker) extend(ctx context.Context, o store.Owed, g grant.Grant) error {
	if g.Phase != grant.Open || !g.Extension.Doing() {
		_, err := w.bot.o.Store.Settle(o)
		return err
	}
	others, err := w.others(g)
	if err != nil {
		return err
	}
	if done, err := w.stillExtended(ctx, o, g); done || err != nil {
		return err
	}
	ectx, cut := w.cuttable(ctx, g.ID)
	defer cut()
	access, err := w.bot.o.AWS.Extend(ectx, g, others)
	var trouble *grant.Trouble
	switch {
	case err == nil:
		return w.commit(o, grant.ExtendDone{Access: access})
	case ctx.Err() != nil:
		return w.breakOff(ctx, g, err)
	case errors.As(err, &trouble):
	default:
		trouble = &grant.Trouble{Kind: grant.Unknown, Step: grant.StepTrust, Text: "Something failed on our side while extending.", Remedy: "It is tried again by itself.", Cause: err}
	}
	w.log.Warn("extending failed", "grant", g.ID.String(), "step", trouble.Step, "kind", string(trouble.Kind), "err", trouble)
	if trouble.Kind == grant.Refused {
		return w.commit(o, grant.ExtendFailed{Trouble: *trouble})
	}
	return w.commit(o, grant.ExtendDelayed{Trouble: *trouble, Wait: jitter(grant.Backoff(g.Extension.Tries + 1))})
}

// stillExtended looks, before AWS is told a later end, whether those who approved
// it may still approve. It answers true when the end is not moved now: it stands as
// it was until people have decided anew.
func (w *worker) stillExtended(ctx context.Context, o store.Owed, g grant.Grant) (done bool, err error) {
	fallen, err := w.bot.rules().fallen(ctx, g.Extension.Approvals)
	switch {
	case err != nil && ctx.Err() != nil:
		return true, ctx.Err()
	case err != nil:
		w.log.Warn("extending waits: Slack does not say whether those who approved still may", "grant", g.ID.String(), "err", redact(err))
		return true, w.commit(o, grant.ExtendDelayed{Wait: jitter(grant.Backoff(g.Extension.Tries + 1)), Trouble: grant.Trouble{
			Kind: grant.Again, Step: grant.StepCheck,
			Text:   "Slack does not say whether those who approved more time may still approve, so the end was not moved yet.",
			Remedy: "Nothing to do: it is tried again by itself.",
		}})
	case len(fallen) > 0:
		return true, w.commit(o, grant.ExtendFailed{Trouble: grant.Trouble{
			Kind: grant.Changed, Step: grant.StepCheck,
			Text:   "More time was approved by somebody who may not approve any more.",
			Who:    fallen,
			Remedy: "Ask for more time again, and have another approver approve it.",
		}})
	default:
		return false, nil
	}
}

func (w *worker) close(ctx context.Context, o store.Owed, g grant.Grant) error {
	if g.Phase != grant.Closing {
		return w.commit(o, grant.CloseRound{}) // moot: settles it
	}
	others, err := w.others(g)
	if err != nil {
		return err
	}
	cctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	round := w.bot.o.AWS.Close(cctx, g, others)
	for _, out := range []grant.Outcome{round.Trust, round.Credentials, round.Sessions} {
		if out.Trouble != nil {
			w.log.Warn("a step of closing failed; it goes on", "grant", g.ID.String(), "step", out.Trouble.Step, "kind", string(out.Trouble.Kind), "err", out.Trouble)
		}
	}
	// Even when stopping: what was done is worth remembering.
	return w.commit(o, grant.CloseRound{Round: round})
}

// watch looks at an open grant. What the look shows of a grant that has begun to
// close meanwhile is moot.
func (w *worker) watch(ctx context.Context, o store.Owed, g grant.Grant) error {
	if g.Phase != grant.Open {
		return w.commit(o, grant.Watched{}) // moot: settles it
	}
	others, err := w.others(g)
	if err != nil {
		return err
	}
	wctx, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	sighting := w.bot.o.AWS.Watch(wctx, g, others)
	if err := ctx.Err(); err != nil {
		return err // stopping: half a look is not worth keeping
	}
	return w.commit(o, grant.Watched{Sighting: sighting})
}

// card posts or edits the grant's card to its newest state.
func (w *worker) card(ctx context.Context, o store.Owed, g grant.Grant) error {
	ctx, cancel := context.WithTimeout(ctx, slackLimit)
	defer cancel()
	var sum [sha256.Size]byte
	render := func() (view.Message, error) {
		newest, err := w.bot.o.Store.Grant(o.Grant)
		if err != nil {
			return view.Message{}, err
		}
		others, err := w.others(newest)
		if err != nil {
			return view.Message{}, err
		}
		m := view.Card(newest, others, time.Now().UTC())
		sum = sha256.Sum256(append([]byte(m.Text+"\x00"), m.BlocksJSON()...))
		return m, nil
	}
	if g.Card.TS != "" {
		if _, err := render(); err != nil {
			return err
		}
		w.mu.Lock()
		same := w.shown[g.ID] == sum
		w.mu.Unlock()
		if !same {
			err := w.bot.posts.update(ctx, g.Card, render)
			switch {
			case err == nil:
				w.show(g.ID, sum)
			case gone(err):
				// Somebody deleted the card: there must be one.
				return w.newCard(ctx, o, g, render, &sum)
			default:
				return err
			}
		}
		_, err := w.bot.o.Store.Settle(o)
		return err
	}
	return w.newCard(ctx, o, g, render, &sum)
}

func (w *worker) newCard(ctx context.Context, o store.Owed, g grant.Grant, render func() (view.Message, error), sum *[sha256.Size]byte) error {
	if err := w.bot.room.ours(); err != nil {
		return err // it stays owed
	}
	at, found, err := w.bot.posts.post(ctx, w.place(o, g), render)
	switch {
	case err != nil:
		return err
	case !found:
		w.show(o.Grant, *sum)
		return w.commit(o, grant.CardPosted{Card: at})
	}
	// It is as it was when it was posted, and the newest state is still owed.
	if err := w.record(o.Grant, store.Owed{}, grant.CardPosted{Card: at}); err != nil {
		return err
	}
	if err := w.bot.posts.update(ctx, at, render); err != nil {
		return err
	}
	w.show(o.Grant, *sum)
	_, err = w.bot.o.Store.Settle(o)
	return err
}

// place is where the message of a grant goes. One that was tried before, or was
// owed already when the program started, may stand there: the program may have
// ended between the post and its commit.
func (w *worker) place(o store.Owed, g grant.Grant) place {
	to := place{
		channel: w.bot.o.Channel,
		// The token is the grant's own, also after the loss of a database.
		name:  fmt.Sprintf("%s/%s/%s", g.Token, o.Effect.Kind, o.Effect.Arg),
		maybe: w.maybe(o), tries: o.Attempt, since: g.RequestedAt,
	}
	if o.Effect.Kind == grant.DoCard && g.RequestedAt.Before(w.unsureBefore()) {
		to.maybe = true // a newer state of the card, owed only now, may have taken the place of one that was posted
	}
	if o.Effect.Kind == grant.DoSay {
		to.channel, to.thread = g.Card.Channel, g.Card.TS
	} else {
		to.after = g.Card.TS // one that cannot be edited any more is not meant
	}
	return to
}

// maybe reports whether an effect may have been paid before, by an earlier run of
// the program or in an earlier attempt.
func (w *worker) maybe(o store.Owed) bool {
	return o.Attempt > 0 || o.Effect.Due.Before(w.unsureBefore())
}

// unsureBefore is until when what was owed may have been paid without a record: by
// an earlier run of the program, or while the store took nothing in.
func (w *worker) unsureBefore() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost.After(w.began) {
		return w.lost
	}
	return w.began
}

// show remembers what a card looks like, for the grants that still change.
func (w *worker) show(id grant.ID, sum [sha256.Size]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.shown) > 10_000 {
		clear(w.shown) // costs one needless edit each
	}
	w.shown[id] = sum
}

// say posts a message in the thread of the grant's card.
func (w *worker) say(ctx context.Context, o store.Owed, g grant.Grant) error {
	ctx, cancel := context.WithTimeout(ctx, slackLimit)
	defer cancel()
	if g.Card.TS == "" {
		return errors.New("the card does not stand yet")
	}
	render := func() (view.Message, error) {
		newest, err := w.bot.o.Store.Grant(o.Grant)
		if err != nil {
			return view.Message{}, err
		}
		others, err := w.others(newest)
		if err != nil {
			return view.Message{}, err
		}
		m, ok := view.Say(o.Effect.Arg, newest, others, w.audience(), time.Now().UTC())
		if !ok {
			return view.Message{}, errNotWorth
		}
		return m, nil
	}
	if o.Effect.Once {
		return w.sayOnce(ctx, o, g, render)
	}
	at, _, err := w.bot.posts.post(ctx, w.place(o, g), render)
	switch {
	case err == nil:
		return w.bot.o.Store.Said(o, at, time.Now())
	case !errors.Is(err, errNotWorth):
		return err
	}
	_, err = w.bot.o.Store.Settle(o)
	return err
}

var errNotWorth = errors.New("not worth saying any more")

// sayOnce posts a reminder, which may rather be lost than come twice: it is
// settled before it is posted, and tried again only when Slack said that it did
// not take it.
func (w *worker) sayOnce(ctx context.Context, o store.Owed, g grant.Grant, render func() (view.Message, error)) error {
	if ok, err := w.bot.o.Store.Settle(o); err != nil || !ok {
		return err
	}
	var more []string
	if w.wasAway(o) {
		var err error
		if more, err = w.takeUp(o); err != nil {
			return err
		}
	}
	if len(more) > 0 {
		names := append([]string{o.Effect.Arg}, more...)
		render = func() (view.Message, error) {
			newest, err := w.bot.o.Store.Grant(o.Grant)
			if err != nil {
				return view.Message{}, err
			}
			others, err := w.others(newest)
			if err != nil {
				return view.Message{}, err
			}
			m, ok := view.Merged(names, newest, others, w.audience(), time.Now().UTC())
			if !ok {
				return view.Message{}, errNotWorth
			}
			return m, nil
		}
	}
	for range 3 {
		at, _, err := w.bot.posts.post(ctx, place{channel: g.Card.Channel, thread: g.Card.TS}, render)
		switch {
		case errors.Is(err, errNotWorth):
			return nil
		case err == nil:
			for _, name := range append([]string{o.Effect.Arg}, more...) {
				told := o
				told.Effect.Arg = name
				if err := w.bot.o.Store.Said(told, at, time.Now()); err != nil {
					// It is not owed any more, so it is not said twice.
					w.log.Error("that a reminder was given could not be stored", "grant", g.ID.String(), "reminder", name, "err", err)
				}
			}
			return nil
		}
		limited, ok := errors.AsType[*slack.RateLimitedError](err)
		w.log.Warn("a reminder was not posted", "grant", g.ID.String(), "reminder", o.Effect.Arg, "err", redact(err))
		if !ok || !sleep(ctx, limited.RetryAfter) {
			return nil
		}
	}
	return nil
}

// longAgo is how late a reminder is that nobody could give in time: the program, or
// the machine, was away. Package grant lets those wait for each other.
const longAgo = time.Minute

func (w *worker) fellDue(o store.Owed) {
	if time.Since(o.Effect.Due) <= longAgo {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = time.Now()
}

// wasAway reports whether the bot was away when a reminder should have been given.
// Reminders that fall due together while it is there are no sign of that.
func (w *worker) wasAway(o store.Owed) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return o.Effect.Due.Before(w.began) || time.Since(w.late) < longAgo
}

// takeUp takes up the other reminders of the same grant that are due, too: after
// the bot was away people get one message for all.
func (w *worker) takeUp(o store.Owed) (names []string, err error) {
	owed, err := w.bot.o.Store.Owes(o.Grant)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	for _, x := range owed {
		if x.Effect.Kind != grant.DoSay || !x.Effect.Once || x.Effect.Due.After(now) {
			continue
		}
		ok, err := w.bot.o.Store.Settle(x)
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, x.Effect.Arg)
		}
	}
	return names, nil
}

func (w *worker) audience() view.People {
	p := w.bot.rules().people.Approvers
	return view.People{Approvers: p.Users, ApproverGroups: p.Groups}
}
