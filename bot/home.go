package bot

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"breakglass/bot/view"
	"breakglass/store/grant"
)

const (
	// mostHomes is how many people's App Home is kept up to date at a time; those
	// who looked longest ago are let go. Everybody's is made anew when they open it.
	mostHomes = 200
	// homeEvery is how often homes are made anew at most while things change.
	homeEvery = 3 * time.Second
	homeEnded = 10
	// homeSearch is how many of the newest ended grants are searched for
	// emergencies that nobody has reviewed.
	homeSearch = 200
)

// homes keeps the App Home of the people who have opened it up to date.
type homes struct {
	bot *Bot

	mu    sync.Mutex
	users map[grant.UserID]*home
	wake  chan struct{}
}

type home struct {
	opened time.Time
	shown  [sha256.Size]byte
}

func newHomes(b *Bot) *homes {
	return &homes{bot: b, users: map[grant.UserID]*home{}, wake: make(chan struct{}, 1)}
}

// opened notes that somebody looks at their home. Slack says so each time.
func (h *homes) opened(u grant.UserID) {
	h.mu.Lock()
	if x := h.users[u]; x != nil {
		x.opened, x.shown = time.Now(), [sha256.Size]byte{}
	} else {
		if len(h.users) >= mostHomes {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(h.users)), func(a, b grant.UserID) int {
				return h.users[a].opened.Compare(h.users[b].opened)
			})
			delete(h.users, oldest)
		}
		h.users[u] = &home{opened: time.Now()}
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run publishes homes until the context ends.
func (h *homes) run(ctx context.Context) error {
	for {
		changed := h.bot.o.Store.Changed()
		h.mu.Lock()
		users := slices.Collect(maps.Keys(h.users))
		h.mu.Unlock()
		slices.Sort(users)
		for _, u := range users {
			if ctx.Err() != nil {
				return nil
			}
			if err := h.publish(ctx, u); err != nil && ctx.Err() == nil {
				h.bot.log.Warn("an App Home was not published", "user", clip(string(u)), "err", redact(err))
			}
		}
		select {
		case <-h.wake:
			continue // somebody is waiting
		case <-changed:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-h.wake:
		case <-time.After(homeEvery): // changes come in bursts
		case <-ctx.Done():
			return nil
		}
	}
}

// publish makes one home anew, where that changes anything.
func (h *homes) publish(ctx context.Context, u grant.UserID) error {
	ctx, cancel := context.WithTimeout(ctx, slackLimit)
	defer cancel()
	v, err := h.bot.homeOf(ctx, u)
	if err != nil {
		return err
	}
	js := view.Home(v).JSON()
	sum := sha256.Sum256(js)
	h.mu.Lock()
	x := h.users[u]
	same := x == nil || x.shown == sum
	h.mu.Unlock()
	if same {
		return nil
	}
	var req slack.HomeTabViewRequest
	if err := json.Unmarshal(js, &req); err != nil {
		return err
	}
	if err := h.bot.posts.wait(ctx, "views.publish", edits); err != nil {
		return err
	}
	if _, err := h.bot.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: string(u), View: req}); err != nil {
		return h.bot.posts.learn("views.publish", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.users[u]; x != nil {
		x.shown = sum
	}
	return nil
}

// homeOf gathers what a person's home shows.
func (b *Bot) homeOf(ctx context.Context, u grant.UserID) (view.HomeView, error) {
	v := view.HomeView{User: u, Now: time.Now().UTC()}
	var err error
	if v.Live, err = b.o.Store.Live(); err != nil {
		return v, err
	}
	ended, err := b.o.Store.Ended("", homeSearch)
	if err != nil {
		return v, err
	}
	for _, g := range ended {
		if g.NeedsReview() {
			v.Unsigned = append(v.Unsigned, g)
		}
	}
	v.Ended = ended[:min(len(ended), homeEnded)]
	if v.Guards, err = b.o.Store.Guards(); err != nil {
		return v, err
	}
	// Buttons are shown to those who may press them, as far as Slack says so now;
	// who may is decided at the click.
	approver, err := b.people.approver(ctx, u)
	v.MayDecide = err == nil && approver.Approver
	if _, refused := errors.AsType[*grant.Refusal](err); err != nil && !refused {
		return v, err
	}
	if revoker, err := b.people.closer(ctx, u, grant.Grant{}); err == nil {
		v.MayRevoke = revoker.Approver || revoker.Revoker
	}
	requester, err := b.people.requester(ctx, u)
	v.MayRequest = err == nil && requester.Requester
	return v, nil
}
