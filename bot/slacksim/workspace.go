package slacksim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options describe the team, the app and how the two behave. The zero value of every field means the
// default that stands beside it.
type Options struct {
	TeamID     string // "T0000000001"
	TeamDomain string // "acme"
	TeamName   string // "Acme"

	EnterpriseID   string // none; set for a team of an Enterprise organisation
	EnterpriseName string
	OrgInstall     bool // the app is installed for the organisation: payloads carry "team": null

	AppID     string // "A0000000001"
	BotUserID string // "U00000000BOT"
	BotID     string // "B0000000001"
	BotName   string // "breakglass"

	BotToken  string   // "xoxb-simulated-bot"
	AppToken  string   // "xapp-1-simulated-app"
	BotScopes []string // DefaultBotScopes
	AppScopes []string // connections:write

	// Commands are the app's slash commands. None means "/breakglass".
	Commands []string
	// EscapeCommands is the manifest's should_escape: mentions arrive as <@U…>.
	EscapeCommands bool
	// EditWindow is how long after its posting a message can be changed: the team's setting for editing
	// messages (docs.slack.dev, "chat.update": edit_window_closed). 0 means for ever. Whether the setting
	// binds apps is not documented.
	EditWindow time.Duration
	// NoHomeTab and NoMessagesTab switch off the tabs that the manifest switches on.
	NoHomeTab     bool
	NoMessagesTab bool

	Socket SocketSettings
	Limits RateLimits

	// Patience bounds the Wait methods when their context has no deadline, so that a test whose bot
	// says nothing fails instead of running for ever: pings keep a synctest bubble's clock going.
	// Default one minute.
	Patience time.Duration
}

// DefaultBotScopes are the scopes of the app's bot token unless Options.BotScopes says otherwise.
var DefaultBotScopes = []string{"commands", "chat:write", "users:read", "usergroups:read", "channels:read", "groups:read"}

// Slack is one local Slack with one team and one app. All its methods may be called at the same time.
type Slack struct {
	opt Options

	// mu guards everything below it. Nothing waits while holding it: no network, no timer, no channel.
	mu      sync.Mutex
	changed chan struct{}
	changes []Change

	users    map[string]*User
	groups   map[string]*UserGroup
	channels map[string]*Channel
	ims      map[string]string // user to the DM between that user and the bot
	tokens   map[string]*Token

	messages   map[string][]*Message
	ephemerals []*Message
	scheduled  map[string]*scheduledMessage
	lastTS     int64

	views  map[string]*view
	stacks map[string][]*view // a person's open modals, bottom first
	homes  map[string]*view
	sheets map[[3]string]*sheet // by person, channel and message

	triggers     map[string]*trigger
	responseURLs map[string]*responseURL

	conns     []*Connection
	connCount int
	nextConn  int
	choose    func([]*Connection) *Connection
	tickets   map[string]time.Time
	envelopes map[string]*envelope
	echoes    map[string][]*envelope // further copies of the same envelope
	acks      []Ack
	doubles   int
	doubleNew bool
	socketOff bool
	opens     []time.Time

	calls   []Call
	faults  []*armed
	mishaps []*armedDelivery
	buckets map[string]*bucket
	down    bool
	serial  int

	net     *listener
	server  *http.Server
	tcp     *http.Server
	base    string
	clients []*http.Transport
	done    chan struct{}
	closing sync.Once
	closed  bool
	work    sync.WaitGroup
}

// New makes a Slack that can be reached in memory (HTTPClient, Dialer). Close ends it.
func New(opt Options) *Slack {
	def := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	def(&opt.TeamID, "T0000000001")
	def(&opt.TeamDomain, "acme")
	def(&opt.TeamName, "Acme")
	def(&opt.AppID, "A0000000001")
	def(&opt.BotUserID, "U00000000BOT")
	def(&opt.BotID, "B0000000001")
	def(&opt.BotName, "breakglass")
	def(&opt.BotToken, "xoxb-simulated-bot")
	def(&opt.AppToken, "xapp-1-simulated-app")
	if opt.BotScopes == nil {
		opt.BotScopes = DefaultBotScopes
	}
	if opt.AppScopes == nil {
		opt.AppScopes = []string{"connections:write"}
	}
	if opt.Commands == nil {
		opt.Commands = []string{"/breakglass"}
	}
	if opt.Patience == 0 {
		opt.Patience = time.Minute
	}
	opt.Socket = opt.Socket.withDefaults()

	s := &Slack{
		opt:          opt,
		changed:      make(chan struct{}),
		users:        map[string]*User{},
		groups:       map[string]*UserGroup{},
		channels:     map[string]*Channel{},
		ims:          map[string]string{},
		tokens:       map[string]*Token{},
		messages:     map[string][]*Message{},
		scheduled:    map[string]*scheduledMessage{},
		views:        map[string]*view{},
		stacks:       map[string][]*view{},
		homes:        map[string]*view{},
		sheets:       map[[3]string]*sheet{},
		triggers:     map[string]*trigger{},
		responseURLs: map[string]*responseURL{},
		tickets:      map[string]time.Time{},
		envelopes:    map[string]*envelope{},
		echoes:       map[string][]*envelope{},
		buckets:      map[string]*bucket{},
		done:         make(chan struct{}),
	}
	s.users[opt.BotUserID] = &User{ID: opt.BotUserID, Name: opt.BotName, RealName: opt.BotName, TeamID: opt.TeamID, Bot: true}
	// Slackbot reports is_bot=false, which is why apps must know its id (docs.slack.dev, "Users").
	s.users["USLACKBOT"] = &User{ID: "USLACKBOT", Name: "slackbot", RealName: "Slackbot", TeamID: opt.TeamID}
	// USLACK is a system user since 2026, of which third parties have told.
	s.users["USLACK"] = &User{ID: "USLACK", Name: "slack", RealName: "Slack", TeamID: opt.TeamID}
	s.tokens[opt.BotToken] = &Token{Value: opt.BotToken, Class: BotToken, Scopes: opt.BotScopes}
	s.tokens[opt.AppToken] = &Token{Value: opt.AppToken, Class: AppToken, Scopes: opt.AppScopes}
	s.listen()
	return s
}

// TeamID is the team's id.
func (s *Slack) TeamID() string { return s.opt.TeamID }

// AppID is the app's id.
func (s *Slack) AppID() string { return s.opt.AppID }

// BotUserID is the user id of the app's bot.
func (s *Slack) BotUserID() string { return s.opt.BotUserID }

// BotToken is the token for the Web API.
func (s *Slack) BotToken() string { return s.opt.BotToken }

// AppToken is the token for apps.connections.open.
func (s *Slack) AppToken() string { return s.opt.AppToken }

// TokenClass says what kind of token it is: Slack refuses the wrong kind with not_allowed_token_type.
type TokenClass string

// The two kinds of token that an app with Socket Mode has.
const (
	BotToken TokenClass = "xoxb"
	AppToken TokenClass = "xapp"
)

// Token is a token and what it may do. Trouble, when set, is the error that every call with it gets:
// invalid_auth, token_revoked, token_expired, account_inactive and so on.
type Token struct {
	Value   string
	Class   TokenClass
	Scopes  []string
	Trouble string
}

// SetToken adds a token, or replaces the one with the same value.
func (s *Slack) SetToken(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[t.Value] = &t
}

// BreakToken makes every later call with the token fail with the given error; "" mends it.
func (s *Slack) BreakToken(value, trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[value]; t != nil {
		t.Trouble = trouble
	}
}

// SetEditWindow changes Options.EditWindow.
func (s *Slack) SetEditWindow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.EditWindow = d
}

// Guest says what kind of guest a user is.
type Guest string

// The kinds of guest.
const (
	NoGuest            Guest = ""
	MultiChannelGuest  Guest = "multi"  // is_restricted
	SingleChannelGuest Guest = "single" // is_restricted and is_ultra_restricted
)

// User is somebody with an account, as users.info tells it.
type User struct {
	ID       string // made up when empty
	Name     string // the handle
	RealName string
	Email    string
	TZ       string
	TeamID   string // the team's own when empty

	Admin, Owner bool
	Guest        Guest
	Deleted      bool // deactivated
	Bot          bool
	WorkflowBot  bool
	Invited      bool // invited and not yet joined
	Stranger     bool // from another team, seen through a shared channel
	// EnterpriseUserID is the user's id in the Enterprise organisation, where there is one.
	EnterpriseUserID string
}

// UserGroup is an @group of people.
type UserGroup struct {
	ID       string // made up when empty
	Handle   string
	Name     string
	Members  []string
	Disabled bool
}

// Channel is a channel or, with an id that begins with D, the direct messages between one person and the
// bot.
type Channel struct {
	ID      string // made up when empty
	Name    string
	Private bool
	Members []string // people; see Without for the bot
	Without bool     // the bot is not a member

	Archived         bool
	ExtShared        bool // shared with another company
	PendingExtShared bool // an invitation to share is under way
	OrgShared        bool // shared within the Enterprise organisation

	im   string // the person, where this is a DM
	mpim bool   // a conversation of several people and the bot
}

// AddUser adds somebody, or replaces the user with the same id, and returns that person.
func (s *Slack) AddUser(u User) *Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = s.nextID("U")
	}
	if u.TeamID == "" {
		u.TeamID = s.opt.TeamID
		if u.Stranger {
			u.TeamID = "T0STRANGERS"
		}
	}
	if u.Name == "" {
		u.Name = strings.ToLower(u.ID)
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	s.users[u.ID] = &u
	s.tell()
	return &Person{slack: s, id: u.ID}
}

// EditUser changes a user in place: deactivate, make a guest and so on.
func (s *Slack) EditUser(id string, edit func(*User)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id]; u != nil {
		edit(u)
		s.tell()
	}
}

// AddUserGroup adds a user group and returns its id.
func (s *Slack) AddUserGroup(g UserGroup) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.ID == "" {
		g.ID = s.nextID("S")
	}
	if g.Handle == "" {
		g.Handle = strings.ToLower(g.ID)
	}
	if g.Name == "" {
		g.Name = g.Handle
	}
	g.Members = slices.Clone(g.Members)
	s.groups[g.ID] = &g
	s.tell()
	return g.ID
}

// EditUserGroup changes a user group in place.
func (s *Slack) EditUserGroup(id string, edit func(*UserGroup)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[id]; g != nil {
		edit(g)
		s.tell()
	}
}

// AddChannel adds a channel and returns its id. The bot is a member unless c.Without says not.
func (s *Slack) AddChannel(c Channel) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ID == "" {
		c.ID = s.nextID("C")
	}
	if c.Name == "" {
		c.Name = strings.ToLower(c.ID)
	}
	c.Members = slices.Clone(c.Members)
	s.channels[c.ID] = &c
	s.tell()
	return c.ID
}

// EditChannel changes a channel in place: archive it, share it, put the bot out.
func (s *Slack) EditChannel(id string, edit func(*Channel)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[id]; c != nil {
		edit(c)
		s.tell()
	}
}

// openIM returns the DM between the bot and a person, opening it if need be. The caller holds mu.
func (s *Slack) openIM(user string) *Channel {
	if id, ok := s.ims[user]; ok {
		return s.channels[id]
	}
	c := &Channel{ID: s.nextID("D"), Private: true, Members: []string{user}, im: user}
	s.channels[c.ID] = c
	s.ims[user] = c.ID
	return c
}

// shownName is the name of a channel in payloads.
func (c *Channel) shownName() string {
	if c.im != "" {
		return "directmessage"
	}
	return c.Name
}

func (c *Channel) has(user string) bool { return slices.Contains(c.Members, user) }

// tell wakes everyone who waits for a change. The caller holds mu.
func (s *Slack) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of anything visible. Take the channel
// first, look second, wait third: then no change is missed.
func (s *Slack) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Wait returns nil once is() is true, looking again after every change. It works in real time and in a
// synctest bubble, and gives up when ctx ends, or after Options.Patience if ctx has no deadline.
func (s *Slack) Wait(ctx context.Context, is func() bool) error {
	ctx, cancel := s.patience(ctx)
	defer cancel()
	for {
		changed := s.Changed()
		if is() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return errClosed
		}
	}
}

func (s *Slack) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, s.opt.Patience,
		fmt.Errorf("waited %s for it (Options.Patience)", s.opt.Patience))
}

// nextID makes an id in Slack's alphabet. The caller holds mu.
func (s *Slack) nextID(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s%010d", prefix, s.serial)
}

// nextTS makes a message timestamp: seconds, a point and six digits that tell messages of the same
// instant apart. The caller holds mu.
func (s *Slack) nextTS() string {
	s.lastTS = max(time.Now().UnixMicro(), s.lastTS+1)
	return fmt.Sprintf("%d.%06d", s.lastTS/1e6, s.lastTS%1e6)
}

// secret makes an unguessable hexadecimal string of 2n digits. Ids that an app may remember across runs
// (envelopes, triggers, events) are random, so that two runs of a simulator never look like a duplicate.
func secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails.
	return hex.EncodeToString(b)
}

func uuid() string {
	h := secret(16)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// later runs f after d unless the Slack is closed before. The caller holds mu.
func (s *Slack) later(d time.Duration, f func()) {
	s.start(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-s.done:
		}
	})
}

// start runs f beside everything else; Close waits for it. The caller holds mu.
func (s *Slack) start(f func()) {
	if s.closed {
		return
	}
	s.work.Go(f)
}

// sorted returns the values of m in the order of their keys, so that answers do not depend on chance.
func sorted[V any](m map[string]V) []V {
	var out []V
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
