package bot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// The cast.
const (
	ana = "U0ANA" // on call; also an approver, whose own request is not theirs to approve
	ben = "U0BEN" // approver
	eva = "U0EVA" // approver
	rob = "U0ROB" // revoker
	mia = "U0MIA" // a member with no part in it

	channel  = "C0ACCESS"
	prod     = "helios-prod"
	test     = "helios-test"
	vendor   = "arn:aws:iam::111122223333:role/singlestore-support"
	vendor2  = "arn:aws:iam::111122223333:role/singlestore-second"
	askProd  = "grant cell=helios-prod arn=" + vendor + " ticket=48213 for=4h reason=stuck node pool"
	prefsDoc = awssim.PreferencesDocument
)

// What stands in the company's account before, and must stand there after, byte
// for byte.
const (
	trustBefore = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    {
      "Sid": "PlatformOnCall",
      "Effect": "Allow",
      "Principal": {"AWS": ["arn:aws:iam::444455556666:role/platform-oncall"]},
      "Action": ["sts:AssumeRole", "sts:TagSession"]
    }
  ]
}`
	preferencesBefore = `{"schemaVersion":"1.0","description":"Session Manager, ours","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":false,"cloudWatchStreamingEnabled":false,"idleSessionTimeout":"15","maxSessionDuration":"600","kmsKeyId":"","runAsEnabled":true,"runAsDefaultUser":"operator","shellProfile":{"linux":"export TMOUT=900"}}}`
)

func TestMain(m *testing.M) {
	// Nothing of the machine's own AWS configuration may reach a test.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	key := cells(awssim.New())[0].Bot.Credentials()
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1",
		// The same in every world that is made alike.
		"AWS_ACCESS_KEY_ID": key.AccessKeyID, "AWS_SECRET_ACCESS_KEY": key.SecretAccessKey,
	} {
		os.Setenv(name, value)
	}
	// A thousand small worlds come and go here, and memory is not what is short.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(2 << 30)
	os.Exit(m.Run())
}

// setup is what a test may want otherwise than usual.
type setup struct {
	slack  slacksim.Options
	people bot.People
	policy grant.Policy
	before func(*stage)          // after everything stands, before the bot starts
	idle   bool                  // the bot is not started
	hands  func(bot.AWS) bot.AWS // nil: the real ones

	observe bot.Observer
}

type change = func(*setup)

func approvals(n int) change { return func(c *setup) { c.policy.Approvals = n } }

func quiet(c *setup) { c.policy.Reminders = grant.Reminders{} }

func idle(c *setup) { c.idle = true }

// byGroup makes the approvers the members of the user group S0PLATFORM.
func byGroup(c *setup) {
	c.people.Approvers = bot.Circle{Groups: []grant.GroupID{group}}
	c.before = func(s *stage) {
		s.slack.AddUserGroup(slacksim.UserGroup{ID: group, Handle: "platform", Members: []string{ben, eva}})
	}
}

const group = "S0PLATFORM"

// stage is everything that a story happens on: a local Slack, a local AWS, and
// the bot between them, with its database on disk.
type stage struct {
	t     *testing.T
	conf  setup
	slack *slacksim.Slack
	world *awssim.World
	cell  awssim.CellScene // helios-prod
	cell2 awssim.CellScene // helios-test, in another region
	path  string
	log   *logbook

	ana, ben, eva, rob, mia person

	db    *store.Store
	bot   *bot.Bot
	power *power
	end   context.CancelFunc
	ended chan error // nil while the bot does not run

	team                string // slack.team of the configuration
	expectRefusedBlocks bool   // a test makes Slack refuse blocks on purpose
}

// bubble plays a story in a synctest bubble: all time is fake. Stories are played
// side by side with those of other tests, since each has a world of its own.
func bubble(t *testing.T, story func(t *testing.T, s *stage), changes ...change) {
	t.Helper()
	if _, is := aside.LoadOrStore(t, true); !is {
		t.Cleanup(func() { aside.Delete(t) })
		t.Parallel()
	}
	alone(t, story, changes...)
}

// aside holds the tests that run in parallel: saying so twice is a panic.
var aside sync.Map

// alone is bubble for a story that changes what all stories share.
func alone(t *testing.T, story func(t *testing.T, s *stage), changes ...change) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// Bubbles begin in the year 2000.
		time.Sleep(time.Until(time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)))
		story(t, newStage(t, changes...))
	})
}

// beside is bubble for one of many stories that are played side by side.
func beside(t *testing.T, name string, story func(t *testing.T, s *stage), changes ...change) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		bubble(t, story, changes...)
	})
}

func newStage(t *testing.T, changes ...change) *stage {
	t.Helper()
	c := setup{
		people: bot.People{
			Approvers: bot.Circle{Users: []grant.UserID{ben, eva, ana}},
			Revokers:  bot.Circle{Users: []grant.UserID{rob}},
		},
		policy: grant.Policy{
			Vendor:    grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
			Limits:    grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour, Undecided: time.Hour},
			Approvals: 1,
			Reminders: grant.Reminders{
				Undecided: 10 * time.Minute, Unsent: 15 * time.Minute, StillOpen: 2 * time.Hour,
				BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute},
			},
			Cells: []grant.Cell{
				{Name: prod, Account: "444455556666", Region: "us-east-1"},
				{Name: test, Account: "444455556666", Region: "eu-west-1"},
			},
			AWSEnforced: true,
		},
	}
	for _, f := range changes {
		f(&c)
	}
	if c.slack.Patience == 0 {
		c.slack.Patience = 6 * time.Hour
	}
	if c.slack.BotScopes == nil {
		c.slack.BotScopes = scopes() // the manifest's, and no more
	}
	s := &stage{t: t, conf: c, world: awssim.New(), slack: slacksim.New(c.slack), path: filepath.Join(t.TempDir(), "breakglass.db"), log: &logbook{t: t}}
	t.Cleanup(s.slack.Close)
	both := cells(s.world)
	s.cell, s.cell2 = both[0], both[1]
	s.cell.Bot.Policy("breakglass", ownPolicy()) // both cells'
	s.world.ForeignRole(vendor2)
	s.cell.Account.Role("platform-oncall")
	s.cell.Role.Trust(trustBefore)
	s.cell.Region.Preferences(preferencesBefore)
	join := func(u slacksim.User) person { return person{s, s.slack.AddUser(u)} }
	s.ana = join(slacksim.User{ID: ana, Name: "ana"})
	s.ben = join(slacksim.User{ID: ben, Name: "ben"})
	s.eva = join(slacksim.User{ID: eva, Name: "eva"})
	s.rob = join(slacksim.User{ID: rob, Name: "rob"})
	s.mia = join(slacksim.User{ID: mia, Name: "mia"})
	s.slack.AddChannel(slacksim.Channel{ID: channel, Name: "singlestore-access", Members: []string{ana, ben, eva, rob, mia}})
	if c.before != nil {
		c.before(s)
	}
	t.Cleanup(s.finish)
	if !c.idle {
		s.start()
	}
	return s
}

// cells makes the two cells of every story.
func cells(w *awssim.World) [2]awssim.CellScene {
	return [2]awssim.CellScene{
		w.NewCell(awssim.Cell{Name: prod, EKSCluster: prod, Vendor: vendor}),
		w.NewCell(awssim.Cell{Name: test, EKSCluster: test, Region: "eu-west-1", Vendor: vendor}),
	}
}

// cellsInAWS are the same as the actions are told of them.
var cellsInAWS = []actions.Cell{
	{Name: prod, Account: "444455556666", Region: "us-east-1", EKSCluster: prod},
	{Name: test, Account: "444455556666", Region: "eu-west-1", EKSCluster: test},
}

// ownPolicy is what `breakglass policy` prints for these cells: the bot may do that
// and nothing else.
var ownPolicy = sync.OnceValue(func() string {
	list, err := actions.PermissionsFor(cellsInAWS, actions.PermissionOptions{})
	if err != nil {
		panic(err)
	}
	return list[0].Policy.JSON()
})

// start makes a bot as the program does, on the same database, and waits until
// both sockets are up.
func (s *stage) start() {
	s.t.Helper()
	s.launch()
	if err := s.slack.WaitConnections(s.t.Context(), 2); err != nil {
		s.t.Fatalf("the bot's two sockets: %v\n%s", err, s.log)
	}
	synctest.Wait()
}

// launch is start without the waiting.
func (s *stage) launch() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.power = &power{}
	hands, err := actions.New(s.t.Context(), actions.Options{
		Cells:  cellsInAWS,
		Vendor: s.conf.policy.Vendor, Log: log,
		HTTPClient: &http.Client{Transport: s.power.line(s.world.HTTPClient().Transport)},
	})
	if err != nil {
		s.t.Fatalf("actions.New: %v", err)
	}
	var does bot.AWS = hands
	if s.conf.hands != nil {
		does = s.conf.hands(hands)
	}
	if s.db, err = store.Open(s.path); err != nil {
		s.t.Fatalf("store.Open: %v", err)
	}
	s.bot, err = bot.New(bot.Options{
		Team: s.team, Channel: channel, APIURL: s.slack.APIURL(), BotToken: s.slack.BotToken(), AppToken: s.slack.AppToken(),
		People: s.conf.people, Policy: s.conf.policy, Store: s.db, AWS: does, Log: log,
		HTTPClient: &http.Client{Transport: s.power.line(&loopback{s.slack.Transport()})},
		Dialer:     s.slack.Dialer(), Observe: s.conf.observe,
	})
	if err != nil {
		s.t.Fatalf("bot.New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.end, s.ended = cancel, make(chan error, 1)
	ended, b := s.ended, s.bot
	go func() { ended <- b.Run(ctx) }()
}

// stop is SIGTERM: Run must come back with nil within ten seconds.
func (s *stage) stop() {
	s.t.Helper()
	began := time.Now()
	s.end()
	err := <-s.ended
	s.ended = nil
	if err != nil {
		s.t.Errorf("Run answers %v when it is told to stop, want nil", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		s.t.Errorf("stopping took %s, want 10 s at most", took)
	}
	if err := s.db.Close(); err != nil {
		s.t.Errorf("closing the database: %v", err)
	}
}

func (s *stage) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// crash is a power cut: from now on nothing of this bot reaches anyone, and what
// it writes after this instant is lost. The database is the file as it was.
func (s *stage) crash() {
	s.t.Helper()
	s.cut()
	s.afterCut()
}

// cut freezes the database and takes the bot off every line. It may be called
// from a hook.
func (s *stage) cut() {
	s.power.off.Store(true)
	var b bytes.Buffer
	if err := s.db.Backup(&b); err != nil {
		s.t.Errorf("copying the database: %v", err)
	}
	s.power.disk = b.Bytes()
}

func (s *stage) afterCut() {
	s.t.Helper()
	for _, c := range s.slack.Connections() {
		c.Drop()
	}
	s.end()
	<-s.ended
	s.ended = nil
	if err := s.db.Close(); err != nil {
		s.t.Errorf("closing the database: %v", err)
	}
	s.path = filepath.Join(s.t.TempDir(), "breakglass.db")
	if err := os.WriteFile(s.path, s.power.disk, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// finish stops what runs and holds what every story owes.
func (s *stage) finish() {
	if s.ended != nil {
		s.stop()
	}
	s.invariants()
}

// power is the line to the world of one run of the bot.
type power struct {
	off         atomic.Bool
	disk        []byte
	each, after atomic.Pointer[hook] // see every call, before and after it is made
}

// hook is set while the bot runs and makes its calls.
type hook struct{ sees func(*http.Request) }

type line struct {
	p    *power
	next http.RoundTripper
}

func (p *power) line(next http.RoundTripper) http.RoundTripper { return &line{p, next} }

var errPower = errors.New("the power is off")

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if h := l.p.each.Load(); h != nil {
		h.sees(r)
	}
	if l.p.off.Load() {
		return nil, errPower
	}
	resp, err := l.next.RoundTrip(r)
	if h := l.p.after.Load(); h != nil {
		h.sees(r)
	}
	if l.p.off.Load() {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, errPower
	}
	return resp, err
}

func (l *line) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// loopback gives the sockets of the Slack in memory an address that the bot
// takes for this machine: it refuses a socket in the clear to any other.
type loopback struct{ *http.Transport }

func (l *loopback) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.Transport.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/apps.connections.open") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	body = bytes.ReplaceAll(body, []byte("ws://slack.sim/"), []byte("ws://localhost/"))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func atHome(payload map[string]any) {
	if u, ok := payload["response_url"].(string); ok {
		payload["response_url"] = strings.Replace(u, "http://slack.sim/", "http://localhost/", 1)
	}
}

// logbook keeps the bot's log, and shows it when the test fails.
type logbook struct {
	t    *testing.T
	each func(entry string) // sees every entry
	mu   sync.Mutex
	b    bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	if l.each != nil {
		l.each(string(p))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// person is somebody in Slack.
type person struct {
	s *stage
	*slacksim.Person
}

// answer is what came of what somebody did.
type answer struct {
	slacksim.Interaction
	text string // everything that the person alone was shown
}

// tries types a slash command; nothing is expected of what comes of it.
func (p person) tries(text string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	return p.s.answered(p.Slash(p.s.t.Context(), channel, "/breakglass", text, append([]slacksim.Edit{atHome}, edits...)...))
}

// says types a slash command, which must be acknowledged in time.
func (p person) says(text string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	return p.s.inTime(p.tries(text, edits...), text)
}

// clicks presses a button; nothing is expected of what comes of it.
func (p person) clicks(m slacksim.Message, button string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	return p.s.answered(p.Click(p.s.t.Context(), m, button, append([]slacksim.Edit{atHome}, edits...)...))
}

// presses presses a button of a grant's card, which must be acknowledged in time.
func (p person) presses(id, button string, edits ...slacksim.Edit) answer {
	p.s.t.Helper()
	return p.s.inTime(p.clicks(p.s.card(id), button, edits...), button)
}

func (s *stage) answered(i slacksim.Interaction, err error) answer {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("Slack itself does not let this happen: %v", err)
	}
	synctest.Wait()
	return s.seen(i)
}

func (s *stage) seen(i slacksim.Interaction) answer {
	a := answer{Interaction: i}
	for _, m := range i.Ephemerals() {
		a.text += s.slack.Render(m) + "\n"
	}
	return a
}

func (s *stage) inTime(a answer, what string) answer {
	s.t.Helper()
	if !a.Acked || a.Failure != "" || a.After >= 3*time.Second {
		s.t.Errorf("%q: acked %t after %s, failure %q; want an ack within 3 s\n%s", what, a.Acked, a.After, a.Failure, s.log)
	}
	return a
}

// wants holds the answer to words.
func (a answer) wants(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(a.text, w) {
			t.Errorf("the answer does not say %q:\n%s", w, a.text)
		}
	}
}

var sentence = regexp.MustCompile(`(?m)^Reference: [A-Z2-7]{8}$`)

// refused holds a refusal: acknowledged, one answer with a reference that is in
// the log, and the words.
func (a answer) refused(s *stage, words ...string) {
	s.t.Helper()
	if n := len(a.Ephemerals()); n != 1 {
		s.t.Errorf("a refusal was answered with %d messages, want 1:\n%s", n, a.text)
	}
	if ref := sentence.FindString(a.text); ref == "" || !strings.Contains(s.log.String(), "ref="+strings.TrimPrefix(ref, "Reference: ")) {
		s.t.Errorf("a refusal needs a reference that is also in the log:\n%s", a.text)
	}
	if strings.Contains(a.text, "failed on our side") {
		s.t.Errorf("a refusal says that we failed:\n%s", a.text)
	}
	a.wants(s.t, words...)
}

// card is the grant's card as it stands now.
func (s *stage) card(id string) slacksim.Message {
	s.t.Helper()
	cards := s.cards(id)
	if len(cards) == 0 {
		s.t.Fatalf("%s has no card in the channel:\n%s", id, s.wall())
	}
	return cards[len(cards)-1]
}

func (s *stage) cards(id string) (out []slacksim.Message) {
	for _, m := range s.slack.Messages(channel) {
		if m.ThreadTS == "" && strings.HasPrefix(m.Text, id+" · ") {
			out = append(out, m)
		}
	}
	return out
}

// wall is everything in the channel, for failure messages.
func (s *stage) wall() string {
	var b strings.Builder
	for _, m := range s.slack.Messages(channel) {
		fmt.Fprintf(&b, "--- %s %s\n%s\n", m.TS, m.ThreadTS, s.slack.Render(m))
	}
	return b.String()
}

// until waits until the grant's card says all the words.
func (s *stage) until(id string, words ...string) string {
	s.t.Helper()
	m, err := s.slack.WaitMessage(s.t.Context(), channel, func(m slacksim.Message) bool {
		return m.ThreadTS == "" && strings.HasPrefix(m.Text, id+" · ") && hasAll(s.slack.Render(m), words)
	})
	if err != nil {
		s.t.Fatalf("%s: the card never said %q: %v\n%s", id, words, err, s.log)
	}
	synctest.Wait()
	return s.slack.Render(m)
}

func hasAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// thread is what stands in the channel under cards, oldest first.
func (s *stage) thread(words ...string) (out []slacksim.Message) {
	for _, m := range s.slack.Messages(channel) {
		if m.ThreadTS != "" && hasAll(s.slack.Render(m), words) {
			out = append(out, m)
		}
	}
	return out
}

// grant is what the store remembers.
func (s *stage) grant(id string) grant.Grant {
	s.t.Helper()
	n, _ := grant.ParseID(id)
	g, err := s.db.Grant(n)
	if err != nil {
		s.t.Fatalf("%s: %v", id, err)
	}
	return g
}

func (s *stage) phase(id string, want grant.Phase) {
	s.t.Helper()
	if got := s.grant(id).Phase; got != want {
		s.t.Errorf("%s is %s, want %s\n%s", id, got, want, s.log)
	}
}

// asks makes a request and waits for its card and the checks.
func (s *stage) asks(text string) string {
	s.t.Helper()
	a := s.ana.says(text)
	m := regexp.MustCompile(`(BG-[0-9]+) is requested`).FindStringSubmatch(a.text)
	if m == nil {
		s.t.Fatalf("nothing was requested:\n%s\n%s", a.text, s.log)
	}
	s.until(m[1], "Requested", "Checks:")
	return m[1]
}

// opens makes a request, has ben approve it, and waits until it is open.
func (s *stage) opens(text string) string {
	s.t.Helper()
	id := s.asks(text)
	s.ben.presses(id, "Approve")
	s.until(id, "Open until")
	return id
}

// config is an AWS client's, of somebody other than the bot.
func (s *stage) config(region string, c awssim.Credentials) aws.Config {
	return aws.Config{
		Region: region, HTTPClient: s.world.HTTPClient(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	}
}

// assume is SingleStore's engineer trying to assume the cell's role.
func (s *stage) assume(c awssim.CellScene, as string) (awssim.Credentials, error) {
	out, err := sts.NewFromConfig(s.config("us-east-1", s.world.ForeignRole(as).Credentials("support"))).AssumeRole(context.Background(), &sts.AssumeRoleInput{
		RoleArn: new(c.Role.ARN()), RoleSessionName: new("support-engineer"),
	})
	if err != nil {
		return awssim.Credentials{}, err
	}
	k := out.Credentials
	return awssim.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken, Expires: *k.Expiration}, nil
}

// shell opens a shell with the role's credentials.
func (s *stage) shell(c awssim.CellScene, region string, k awssim.Credentials) (*awssim.Shell, error) {
	out, err := ssm.NewFromConfig(s.config(region, k)).StartSession(context.Background(), &ssm.StartSessionInput{Target: new(c.Instance.ID())})
	if err != nil {
		return nil, err
	}
	return c.Region.Shell(*out.SessionId)
}

// shut says that the vendor is outside: no trust of ours, no way in.
func (s *stage) shut(c awssim.CellScene) {
	s.t.Helper()
	if doc := c.Role.TrustDocument(); strings.Contains(doc, "Breakglass") || strings.Contains(doc, "singlestore") {
		s.t.Errorf("the trust policy still has what is ours:\n%s", doc)
	}
	for _, as := range []string{vendor, vendor2} {
		if _, err := s.assume(c, as); err == nil {
			s.t.Errorf("%s may assume %s", as, c.Role.Name())
		}
	}
	for _, x := range c.Region.Sessions() {
		if x.Status == "Connected" || x.Status == "Disconnected" {
			s.t.Errorf("the session %s is %s", x.ID, x.Status)
		}
	}
}

// proven says that a grant is closed, and that what the card says is so.
func (s *stage) proven(id string) {
	s.t.Helper()
	if _, err := s.slack.WaitMessage(s.t.Context(), channel, func(m slacksim.Message) bool {
		return m.ThreadTS == "" && strings.HasPrefix(m.Text, id+" · Closed")
	}); err != nil {
		s.t.Fatalf("%s: the card never said Closed: %v\n%s", id, err, s.log)
	}
	synctest.Wait()
	s.phase(id, grant.Closed)
	s.shut(s.cell)
	s.shut(s.cell2)
}

// untouched says that nothing was changed in AWS.
func (s *stage) untouched() {
	s.t.Helper()
	for _, c := range s.world.Writes() {
		if c.Op != "AssumeRole" {
			s.t.Errorf("AWS was changed: %s by %s", c.Name(), c.Caller)
		}
	}
}

// markup is what would ring a bell or make a link if Slack parsed it.
var markup = regexp.MustCompile(`<!(channel|here|everyone)|<https?://|<mailto:`)

// invariants hold at the end of every story.
func (s *stage) invariants() {
	s.t.Helper()
	db, err := store.Open(s.path)
	if err != nil {
		s.t.Errorf("opening the database again: %v", err)
		return
	}
	defer db.Close()
	if err := db.Verify(); err != nil {
		s.t.Errorf("the audit log: %v", err)
	}
	title := regexp.MustCompile(`^BG-([0-9]+) · Closed`)
	for _, c := range s.slack.Changes(0) {
		m := c.Message
		if m.User == "" || strings.HasPrefix(string(c.Kind), "view") {
			continue
		}
		blocks, _ := json.Marshal(m.Blocks)
		if found := markup.FindString(m.Text); found != "" {
			s.t.Errorf("a message's text has markup %q:\n%s", found, m.Text)
		}
		for _, b := range m.Blocks {
			if found := mrkdwnMarkup(b); found != "" {
				s.t.Errorf("a message's blocks have markup %q:\n%s", found, blocks)
			}
		}
		if m.Text == "" {
			s.t.Errorf("a message has no text for screen readers: %s", blocks)
		}
		for _, secret := range []string{s.slack.BotToken(), s.slack.AppToken(), s.cell.Bot.Credentials().SecretAccessKey} {
			if strings.Contains(m.Text, secret) || strings.Contains(string(blocks), secret) {
				s.t.Errorf("a message shows a secret: %s", m.Text)
			}
		}
		// The word Closed appears only after the proof.
		if n := title.FindStringSubmatch(m.Text); n != nil {
			id, _ := strconv.ParseUint(n[1], 10, 64)
			g, err := db.Grant(grant.ID(id))
			if err != nil || g.Phase != grant.Closed || c.At.Before(g.ClosedAt) {
				s.t.Errorf("at %s a card said Closed; the grant is %s since %s (%v)", c.At, g.Phase, g.ClosedAt, err)
			}
		}
	}
	for _, c := range s.slack.Calls("") {
		if !c.Faulty && !s.expectRefusedBlocks && strings.HasPrefix(c.Method, "chat.") && (strings.HasPrefix(c.Error, "invalid_b") || strings.HasPrefix(c.Error, "msg_")) {
			s.t.Errorf("Slack refused what we sent to %s: %s\n%v", c.Method, c.Error, c.Args)
		}
	}
	s.withinManifest()
	log := s.log.String()
	for _, secret := range []string{
		s.slack.BotToken(), s.slack.AppToken(), s.cell.Bot.Credentials().SecretAccessKey, "link/?ticket", "localhost/actions", "localhost/commands", "slack.sim/actions",
	} {
		if i := strings.Index(log, secret); i >= 0 {
			s.t.Errorf("the log has the secret %q: …%s…", secret, log[max(0, i-200):min(len(log), i+100)])
		}
	}
	if strings.Contains(log, "panic") {
		s.t.Errorf("there was a panic:\n%s", log)
	}
	if s.t.Failed() {
		fmt.Fprintf(s.t.Output(), "the bot's log:\n%s", log)
	}
}

// console is the only kind of address that a message may lead to.
var console = regexp.MustCompile(`^https://[a-z0-9-]+\.console\.aws\.amazon\.com/cloudwatch/home\?region=[a-z0-9-]+#logsV2:log-groups/log-group/[A-Za-z0-9$._-]+/log-events/[A-Za-z0-9$._-]+$`)

// mrkdwnMarkup finds bells and links in what Slack parses: mrkdwn texts.
func mrkdwnMarkup(v any) string {
	switch v := v.(type) {
	case map[string]any:
		if v["type"] == "mrkdwn" {
			text, _ := v["text"].(string)
			return markup.FindString(text)
		}
		for _, x := range v {
			if f := mrkdwnMarkup(x); f != "" {
				return f
			}
		}
		if v["type"] == "broadcast" || (v["type"] == "link" && !console.MatchString(fmt.Sprint(v["url"]))) {
			return fmt.Sprint(v["type"])
		}
	case []any:
		for _, x := range v {
			if f := mrkdwnMarkup(x); f != "" {
				return f
			}
		}
	}
	return ""
}
