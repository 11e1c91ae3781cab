package bot

import (
	"cmp"
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
	// homeRights is how long a home believes what its person may do. It only
	// chooses buttons: asking for hundreds of people each minute would leave no
	// answer of Slack's for those who press them.
	homeRights = 10 * time.Minute
	// mostRecalled is how many homes are made anew at the start.
	mostRecalled = 50
)

// homes keeps the App Home of the people who have opened it up to date.
type homes struct {
	bot *Bot

	mu    sync.Mutex
	users map[grant.UserID]*home
	wake  chan struct{}
	ruled chan struct{} // other rules are in force
}

type home struct {
	opened time.Time
	fresh  bool // somebody looks at it now, and it has not been made since
	shown  [sha256.Size]byte
	rights rights
	rules  *rules    // by which those are
	asked  time.Time // when Slack said so; zero: it did not
	tries  int       // how often it has failed
	again  time.Time // when to try again; zero: not
}

// rights are what a person's buttons are chosen by.
type rights struct{ decide, request, revoke bool }

func newHomes(b *Bot) *homes {
	return &homes{bot: b, users: map[grant.UserID]*home{}, wake: make(chan struct{}, 1), ruled: make(chan struct{}, 1)}
}

// opened notes that somebody looks at their home. Slack says so each time.
func (h *homes) opened(u grant.UserID) {
	h.mu.Lock()
	if h.users[u] == nil && len(h.users) >= mostHomes {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(h.users)), func(a, b grant.UserID) int {
			return h.users[a].opened.Compare(h.users[b].opened)
		})
		delete(h.users, oldest)
	}
	h.users[u] = &home{opened: time.Now(), fresh: true}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// stale has all homes made anew: other people may press other buttons now.
func (h *homes) stale() {
	select {
	case h.ruled <- struct{}{}:
	default:
	}
}

// run publishes homes until the context ends.
func (h *homes) run(ctx context.Context) error {
	changed := h.bot.o.Store.Changed()
	h.recall()
	pass := h.all() // those that are still to be made anew
	for ctx.Err() == nil {
		u, rest, ok := h.next(pass)
		if pass = rest; ok {
			h.renew(ctx, u)
			continue
		}
		var timer <-chan time.Time
		if again := h.soonest(); !again.IsZero() {
			timer = time.After(max(time.Until(again), time.Millisecond))
		}
		select {
		case <-h.wake: // somebody is waiting
			continue
		case <-timer:
			continue
		case <-changed:
		case <-h.ruled:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-h.wake:
		case <-time.After(homeEvery): // changes come in bursts
		case <-ctx.Done():
			return nil
		}
		changed, pass = h.bot.o.Store.Changed(), h.all()
	}
	return nil
}

// recall takes up the homes that an earlier run of the program kept, and that show what
// was so then: Slack says only when somebody opens theirs, and somebody may be looking
// at one now. Who that was is not remembered, it is not worth a place in the store; but
// what can be wrong on a home is what somebody may press there or has asked for, so it
// is the homes of the people who had to do with what is live or ended lately, and of
// those who are configured by name to decide. Everybody else's is as old as it says,
// until they open it.
func (h *homes) recall() {
	grants, err := h.bot.o.Store.Live()
	if err == nil {
		var ended []grant.Grant
		ended, err = h.bot.o.Store.Ended("", homeEnded)
		grants = append(grants, ended...)
	}
	if err != nil {
		h.bot.log.Error("whose home may be old could not be read", "err", err)
	}
	if len(grants) == 0 {
		return
	}
	var people []grant.UserID
	for _, g := range grants {
		people = append(people, g.Requester, g.DecidedBy.User)
		for _, a := range g.Approvals {
			people = append(people, a.By)
		}
		if g.Extension != nil {
			people = append(people, g.Extension.By)
		}
	}
	named := h.bot.rules().people
	people = append(append(people, named.Approvers.Users...), named.Revokers.Users...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range people {
		if len(h.users) >= mostRecalled {
			return
		}
		if u != "" && h.users[u] == nil {
			h.users[u] = &home{} // opened longer ago than any that Slack tells of
		}
	}
}

// all lists everybody whose home is kept, those first who looked last.
func (h *homes) all() []grant.UserID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Keys(h.users), func(a, b grant.UserID) int {
		return cmp.Or(h.users[b].opened.Compare(h.users[a].opened), cmp.Compare(a, b))
	})
}

// next takes whose home is to be made: that of somebody who looks at it now goes
// before all others.
func (h *homes) next(pass []grant.UserID) (grant.UserID, []grant.UserID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	first, found := grant.UserID(""), false
	for u, x := range h.users {
		if x.fresh && (!found || x.opened.Before(h.users[first].opened)) {
			first, found = u, true
		}
	}
	if found {
		h.users[first].fresh = false
		return first, pass, true
	}
	for u, x := range h.users {
		if !x.again.IsZero() && !now.Before(x.again) {
			return u, pass, true
		}
	}
	if len(pass) > 0 {
		return pass[0], pass[1:], true
	}
	return "", nil, false
}

// soonest is when the next home that failed is tried again.
func (h *homes) soonest() (at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.users {
		if !x.again.IsZero() && (at.IsZero() || x.again.Before(at)) {
			at = x.again
		}
	}
	return at
}

// renew makes one home anew. What fails is tried again, less and less often, and
// what Slack will never take is let go.
func (h *homes) renew(ctx context.Context, u grant.UserID) {
	h.mu.Lock()
	x := h.users[u]
	if x != nil {
		x.again = time.Time{}
	}
	h.mu.Unlock()
	if x == nil {
		return
	}
	err := h.publish(ctx, u, x)
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && !x.asked.IsZero() {
		x.tries = 0
		return
	}
	x.tries++
	wait := homeEvery << min(x.tries, 8) // to a quarter of an hour
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		wait = max(wait, limited.RetryAfter)
	}
	x.again = time.Now().Add(wait)
	if err == nil {
		return // it stands, but Slack did not say what they may do
	}
	h.bot.log.Warn("an App Home was not published", "user", clip(string(u)), "err", redact(err))
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok && !slices.Contains([]string{"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited"}, e.Err) && h.users[u] == x {
		delete(h.users, u)
	}
}

// publish makes one home anew, where that changes anything.
func (h *homes) publish(ctx context.Context, u grant.UserID, x *home) error {
	ctx, cancel := context.WithTimeout(ctx, slackLimit)
	defer cancel()
	if force := h.bot.rules(); x.asked.IsZero() || time.Since(x.asked) >= homeRights || x.rules != force {
		// As often as homes are published, and no more.
		if err := h.bot.posts.wait(ctx, "users.info/homes", edits); err != nil {
			return err
		}
		if r, ok := force.rights(ctx, u); ok {
			x.rights, x.rules, x.asked = r, force, time.Now()
		} else {
			x.asked = time.Time{}
		}
	}
	v, err := h.bot.homeOf(u, x.rights)
	if err != nil {
		return err
	}
	// The time of day alone is no reason to publish.
	still := v
	still.Now = still.Now.Truncate(time.Hour)
	sum := sha256.Sum256(view.Home(still).JSON())
	if x.shown == sum {
		return nil
	}
	var req slack.HomeTabViewRequest
	if err := json.Unmarshal(view.Home(v).JSON(), &req); err != nil {
		return err
	}
	if err := h.bot.posts.wait(ctx, "views.publish", edits); err != nil {
		return err
	}
	if _, err := h.bot.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: string(u), View: req}); err != nil {
		return h.bot.posts.learn("views.publish", err)
	}
	x.shown = sum
	return nil
}

// homeOf gathers what a person's home shows.
func (b *Bot) homeOf(u grant.UserID, may rights) (view.HomeView, error) {
	v := view.HomeView{User: u, Now: time.Now().UTC(), MayDecide: may.decide, MayRequest: may.request, MayRevoke: may.revoke}
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
	v.Guards, err = b.o.Store.Guards()
	return v, err
}

// rights answers what a person's buttons are: those that they may press, as far
// as Slack says so now. Who may is decided at the click. It answers false where
// Slack does not say.
func (r *rules) rights(ctx context.Context, u grant.UserID) (may rights, ok bool) {
	unknown := func(err error) bool {
		_, is := errors.AsType[*unsure](err)
		return is
	}
	approver, err := r.approver(ctx, u)
	if unknown(err) {
		return may, false
	}
	may.decide = err == nil && approver.Approver
	requester, err := r.requester(ctx, u)
	if unknown(err) {
		return may, false
	}
	may.request = err == nil && requester.Requester
	revoker, err := r.closer(ctx, u, grant.Grant{})
	may.revoke = err == nil && (revoker.Approver || revoker.Revoker)
	return may, !unknown(err)
}
