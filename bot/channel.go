package bot

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"breakglass/store/grant"
)

const (
	// roomEvery is how often Slack is asked whether the channel is still ours alone.
	// People share a channel once in its life: ten minutes are soon enough, and cost
	// nothing of what Slack allows us.
	roomEvery = 10 * time.Minute
	// roomAgain is how often while it is not: whoever mends it is waiting.
	roomAgain = 30 * time.Second
)

// room is the channel in which requests are posted and decided. Shared with another
// organisation it is no place for that: what is said there about access to production,
// and who may press, is not theirs.
//
// While it is shared, or archived, nothing that opens or prolongs access is taken in,
// and nothing new is posted there. Cards that stand are still edited, so that nobody
// believes open what is closed, and whatever takes access away works as ever.
type room struct {
	bot   *Bot
	wrong atomic.Pointer[trespass] // nil: nothing is, as far as Slack has said
}

// trespass is why the channel is no place to decide.
type trespass struct {
	channel grant.ChannelID
	what    string // is true of it
	so      string // what follows from that
	remedy  string // for the operator
}

// sentence is all of it, for the operator.
func (t *trespass) sentence() string {
	return fmt.Sprintf("the channel %s %s%s. %s", t.channel, t.what, t.so, t.remedy)
}

// trespassIn answers what Slack says of the channel that makes it no place to decide;
// nil: nothing.
func trespassIn(id grant.ChannelID, c *slack.Channel) *trespass {
	switch {
	case c.IsExtShared || c.IsPendingExtShared:
		return &trespass{
			id, "is shared with another organisation, or about to be", "",
			"Requests for access must not be decided there: name a channel of your own in slack.channel",
		}
	case c.IsArchived:
		return &trespass{id, "is archived", ", so nothing can be posted there", "Name another one in slack.channel, or bring it back"}
	default:
		return nil
	}
}

// look asks Slack, and answers what is wrong, if anything. Where Slack does not say so,
// for want of a scope for example, it is as it was before: who clicks is looked at at
// each click.
func (r *room) look(ctx context.Context) *trespass {
	b, was := r.bot, r.wrong.Load()
	c, err := b.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: string(b.o.Channel)})
	if err != nil || c == nil {
		if ctx.Err() == nil {
			b.log.Warn("Slack does not say whether the channel is shared with another organisation; give the app channels:read or groups:read", "channel", string(b.o.Channel), "err", redact(err))
		}
		return was
	}
	now := trespassIn(b.o.Channel, c)
	r.wrong.Store(now)
	switch {
	case now != nil && (was == nil || *was != *now):
		b.log.Error("nothing is asked for or approved from now on, until that is mended", "why", now.sentence())
	case now == nil && was != nil:
		b.log.Info("the channel is ours again, and all is as usual", "channel", string(b.o.Channel))
		b.work.resume()
	}
	return now
}

// keep looks again and again until the context ends. Where the bot was started in a
// channel that is not ours, only because access was left, it goes once none is: the
// error is the sentence with which it would not have started.
func (r *room) keep(ctx context.Context, guest bool) error {
	for {
		switch now := r.wrong.Load(); {
		case now == nil:
			guest = false
			if !sleep(ctx, roomEvery) {
				return nil
			}
		case guest:
			left := r.bot.waitForAccess(ctx, roomAgain)
			select {
			case <-ctx.Done():
				return nil
			default:
			}
			if !left {
				return errors.New(now.sentence())
			}
		default:
			if !sleep(ctx, roomAgain) {
				return nil
			}
		}
		r.look(ctx)
	}
}

// ours answers nil, or why nothing may be asked for or approved now.
func (r *room) ours() error {
	w := r.wrong.Load()
	if w == nil {
		return nil
	}
	return grant.Refuse(grant.WrongPlace, "The approvals channel %s, so nothing can be asked for or approved until that is mended. Nothing changed. To revoke, deny or withdraw works as ever. Tell the operator of this bot.", w.what)
}

// lets answers nil for events that take access away or change none, whatever the
// channel is.
func (r *room) lets(ev grant.Event) error {
	switch ev.(type) {
	case grant.Request, grant.Approve, grant.Extend, grant.ApproveExtension:
		return r.ours()
	default:
		return nil
	}
}

// silent reports whether what is owed to the channel must wait: all but the cards that
// stand there.
func (r *room) silent(o grant.Effect) bool {
	return r != nil && r.wrong.Load() != nil && (o.Kind == grant.DoSay || o.Kind == grant.DoStray)
}
