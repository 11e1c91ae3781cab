package bot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"

	"breakglass/store"
	"breakglass/store/grant"
)

// AWS is what the bot asks to be done to a cell. Every method may be called
// again after a crash at any point, does no harm then, and returns promptly when
// the context ends.
type AWS interface {
	// Check looks, and changes nothing. What cannot be read is a finding.
	Check(ctx context.Context, g grant.Grant) grant.Report
	// Open opens access and reads it back. Before each step and after it, step
	// is called; when step answers an error, opening stops there with that
	// error. Any other error is a *grant.Trouble. Others are the other live
	// grants in the same AWS account.
	Open(ctx context.Context, g grant.Grant, others []grant.Grant, step func(grant.StepChanged) error) (grant.Access, error)
	// Extend has AWS enforce a later end of an open grant, g.Extension.Until, and
	// reads it back. Its error is a *grant.Trouble.
	Extend(ctx context.Context, g grant.Grant, others []grant.Grant) (grant.Access, error)
	// Close does one round of closing: every step is tried, and read back.
	Close(ctx context.Context, g grant.Grant, others []grant.Grant) grant.Round
	// Watch looks at an open grant, and changes nothing: who is in, whether it is
	// logged, whether anything is not as it was opened, who assumed the role. What
	// cannot be read is left out, and said to be left out; it is never an error.
	// Others are as in Open: a session or a statement of theirs is no news here. It
	// holds up no Open and no Close, however slow AWS is.
	Watch(ctx context.Context, g grant.Grant, others []grant.Grant) grant.Sighting
	// Survey looks at the role of a cell, and changes nothing: whom of SingleStore
	// it trusts, whether a grant explains that or not. It holds up nothing either.
	Survey(ctx context.Context, cell grant.CellName) grant.Survey
}

// Circle is a set of people: users, and the members of user groups.
type Circle struct {
	Users  []grant.UserID
	Groups []grant.GroupID
}

// Empty reports whether nobody is named.
func (c Circle) Empty() bool { return len(c.Users) == 0 && len(c.Groups) == 0 }

// People says who may do what. An empty Requesters means any full member of the
// team; the others mean nobody when they are empty.
type People struct {
	Approvers, Requesters, Revokers, Emergency Circle
}

// Options are what a Bot is made of. All but Team, Observe, HTTPClient and Dialer
// are required.
type Options struct {
	Channel  grant.ChannelID // where requests are posted and decided
	Team     string          // empty: the token's own team
	APIURL   string          // ends in /
	BotToken string          // xoxb-…
	AppToken string          // xapp-…
	People   People
	Policy   grant.Policy
	Store    *store.Store
	AWS      AWS
	Log      *slog.Logger
	Observe  Observer

	HTTPClient *http.Client      // nil: one with a timeout
	Dialer     *websocket.Dialer // nil: slack-go's
}

// Bot is the running conversation.
type Bot struct {
	o      Options
	log    *slog.Logger
	api    *slack.Client
	people *directory
	ruled  atomic.Pointer[rules]
	ruling sync.RWMutex // held while other rules take the place of those in force
	posts  *poster
	room   *room
	gate   *openGate
	socks  []*socket
	work   *worker
	homes  *homes
	later  chan struct{} // a place for each long answer

	unknown atomic.Int64 // envelopes of kinds that slack-go does not know

	mu    sync.Mutex
	team  string // known after auth.test
	appID string // known after the first hello

	hands hands
}

// New checks the options and makes a bot; nothing is contacted yet.
func New(o Options) (*Bot, error) {
	var missing []error
	for _, f := range []struct {
		name string
		ok   bool
	}{
		{"Channel", o.Channel != ""},
		{"APIURL", o.APIURL != ""},
		{"BotToken", o.BotToken != ""},
		{"AppToken", o.AppToken != ""},
		{"Store", o.Store != nil},
		{"AWS", o.AWS != nil},
		{"Log", o.Log != nil},
	} {
		if !f.ok {
			missing = append(missing, fmt.Errorf("bot: option %s is missing", f.name))
		}
	}
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	b := &Bot{o: o, log: o.Log, team: o.Team}
	client, err := b.connect()
	if err != nil {
		return nil, err
	}
	b.people = newDirectory(b.api)
	b.ruled.Store(&rules{dir: b.people, people: o.People, policy: o.Policy})
	b.o.People, b.o.Policy = People{}, grant.Policy{} // they may be replaced: ask rules
	b.posts = newPoster(b.api, client)
	b.room = &room{bot: b}
	for n := range connections {
		b.socks = append(b.socks, newSocket(b, n))
	}
	b.work = newWorker(b)
	b.homes = newHomes(b)
	b.later = make(chan struct{}, mostLater)
	return b, nil
}

// connect makes the client of Slack's Web API, and answers what it calls through.
// Nothing is contacted yet.
func (b *Bot) connect() (*http.Client, error) {
	o := b.o
	client := o.HTTPClient
	if client == nil {
		client = &http.Client{} // slack-go's own has no timeout
	} else {
		c := *client
		client = &c
	}
	if client.Timeout == 0 {
		client.Timeout = 15 * time.Second
	}
	// Slack's Web API redirects nobody, and a token must not follow one.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	home, err := url.Parse(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("bot: option APIURL: %w", err)
	}
	b.gate = &openGate{next: client.Transport, home: home, observe: o.Observe}
	client.Transport = b.gate
	b.api = slack.New(
		o.BotToken,
		slack.OptionAppLevelToken(o.AppToken),
		slack.OptionAPIURL(o.APIURL),
		slack.OptionHTTPClient(client),
		slack.OptionLog(log.New(io.Discard, "", 0)), // its debug lines carry tickets and payloads
	)
	return client, nil
}

// Run talks and works until the context ends, then finishes or safely leaves
// what is in hand and returns nil. An error means that it cannot go on: it is a
// plain sentence.
func (b *Bot) Run(ctx context.Context) error {
	known := b.rules().policy.Cells
	cells := make([]grant.CellName, len(known))
	for i, c := range known {
		cells[i] = c.Name
	}
	if err := b.o.Store.Patrol(cells, time.Now().UTC()); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	// AWS work and timers go on whether Slack answers or not.
	group.Go(func() error { return b.work.run(gctx) })
	group.Go(func() error {
		for {
			err := b.talk(gctx)
			if err == nil || gctx.Err() != nil || !b.accessLeft(gctx) {
				return err
			}
			// Slack refuses us for good, but there is access to be ended: the
			// worker must live until that is proven. Perhaps Slack comes back.
			b.log.Error("Slack refuses the bot; it stays to end the access that is left, and tries again", "err", err, "wait", slackAgain)
			if !b.waitForAccess(gctx, slackAgain) {
				return err
			}
		}
	})
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	return nil // told to stop, and stopped
}

// talk keeps the conversation up until the context ends or Slack refuses us for
// good.
func (b *Bot) talk(ctx context.Context) error {
	if err := b.introduce(ctx); err != nil {
		return err
	}
	wrong := b.room.look(ctx)
	if wrong != nil && !b.accessLeft(ctx) {
		return errors.New(wrong.sentence())
	}
	// With access left people must be able to revoke it, also there.
	sockets, sctx := errgroup.WithContext(ctx)
	sockets.Go(func() error { return b.room.keep(sctx, wrong != nil) })
	for _, s := range b.socks {
		sockets.Go(func() error { return s.run(sctx) })
	}
	sockets.Go(func() error { return b.homes.run(sctx) })
	return sockets.Wait()
}

// slackAgain is how often Slack is asked again after it refused us for good, as
// long as there is access to be ended.
const slackAgain = 30 * time.Second

// accessLeft reports whether any grant may have access in AWS. Where that cannot
// be read, it may.
func (b *Bot) accessLeft(ctx context.Context) bool {
	live, err := b.o.Store.Live()
	if err != nil {
		b.log.ErrorContext(ctx, "what is open could not be read", "err", err)
		return true
	}
	return slices.ContainsFunc(live, grant.Grant.Live)
}

// waitForAccess waits for so long, and answers false as soon as no access is left.
func (b *Bot) waitForAccess(ctx context.Context, d time.Duration) bool {
	limit := time.After(d)
	for {
		changed := b.o.Store.Changed()
		if !b.accessLeft(ctx) {
			return false
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // a change that owes nothing wakes nobody
		case <-limit:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// introduce learns who we are. Permanent refusals end the program; anything else
// is tried again, for as long as it takes: Slack may be down while there is
// access to be closed.
func (b *Bot) introduce(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		who, err := b.api.AuthTestContext(ctx)
		if err == nil && who.TeamID == "" {
			err = errors.New("auth.test did not say which team this is")
		}
		switch {
		case err == nil && b.o.Team != "" && who.TeamID != b.o.Team:
			return errors.New(otherTeam(who.TeamID, b.o.Team))
		case err == nil:
			b.mu.Lock()
			b.team = who.TeamID
			b.mu.Unlock()
			b.people.home(who.TeamID)
			b.posts.weAre(who)
			b.log.Info("connected to Slack's Web API", "team", who.TeamID, "bot_user", who.UserID)
			return nil
		}
		if text, ok := permanent(err, "SLACK_BOT_TOKEN"); ok {
			return errors.New(text)
		}
		wait := grant.Backoff(attempt)
		b.log.Warn("Slack does not answer yet", "err", redact(err), "wait", wait)
		if !sleep(ctx, wait) {
			return context.Cause(ctx) // Run knows that it was told to stop
		}
	}
}

func otherTeam(got, want string) string {
	return fmt.Sprintf("the bot token belongs to the Slack team %s, but the configuration says slack.team: %s", got, want)
}

// reference names one failure for a person and the log alike.
func reference() string { return rand.Text()[:8] }

// sleep waits, and answers false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
