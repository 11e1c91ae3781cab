package actions_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

const (
	account   = "444455556666"
	region    = "us-east-1"
	cellName  = "helios-prod"
	roleName  = "ssm-access-from-other-accounts"
	vendorARN = "arn:aws:iam::111122223333:role/singlestore-support"
	otherARN  = "arn:aws:iam::111122223333:role/singlestore-second"
	logGroup  = "/aws/ssm/helios-prod/cluster"
	prefsName = awssim.PreferencesDocument
)

func TestMain(m *testing.M) {
	// Nothing of the machine's own AWS configuration may reach a test.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": region,
	} {
		os.Setenv(name, value)
	}
	// The local AWS hands out the same keys in every run, so that tests can run
	// side by side without each setting its own.
	key := awssim.New().NewCell(awssim.Cell{}).Bot.Credentials()
	os.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
	os.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
	os.Exit(m.Run())
}

// stage is a local AWS with one cell, and the actions that work on it.
type stage struct {
	t     testing.TB
	world *awssim.World
	cell  awssim.CellScene
	conf  actions.Cell
	aws   *actions.AWS
	nextN grant.ID
}

// bubble runs a test on a stage in a synctest bubble: all time is fake.
func bubble(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	inBubble(t, func(t *testing.T) { test(t, newStage(t, awssim.Cell{})) })
}

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// Bubbles begin in the year 2000, which is where placeholders end.
		time.Sleep(time.Until(time.Date(2026, time.November, 23, 20, 0, 0, 0, time.UTC)))
		test(t)
	})
}

func newStage(t testing.TB, c awssim.Cell) *stage {
	t.Helper()
	s := &stage{t: t, world: awssim.New()}
	if c.Name == "" {
		c.Name = cellName
	}
	s.cell = s.world.NewCell(c)
	s.world.ForeignRole(otherARN)
	s.conf = actions.Cell{Name: grant.CellName(c.Name), Account: account, Region: region, EKSCluster: c.EKSCluster}
	if c.Account != "" {
		s.conf.Account = grant.AccountID(c.Account)
	}
	if c.Region != "" {
		s.conf.Region = c.Region
	}
	s.start()
	return s
}

// start makes new actions, as after a restart of the bot.
func (s *stage) start(change ...func(*actions.Options)) {
	s.t.Helper()
	if key := s.cell.Bot.Credentials(); key.AccessKeyID != os.Getenv("AWS_ACCESS_KEY_ID") {
		s.t.Fatalf("the local AWS made the key %s, not the usual one", key.AccessKeyID)
	}
	o := actions.Options{
		Cells:      []actions.Cell{s.conf},
		Vendor:     grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
		Log:        slog.New(slog.NewTextHandler(output(s.t), nil)),
		HTTPClient: s.world.HTTPClient(),
	}
	for _, f := range change {
		f(&o)
	}
	s.permit(o.Cells)
	a, err := actions.New(s.t.Context(), o)
	if err != nil {
		s.t.Fatalf("New: %v", err)
	}
	s.aws = a
}

// ownPolicy is the name under which the bot's permissions stand.
const ownPolicy = "breakglass"

// permit gives the bot exactly the permissions that `breakglass policy` prints
// for these cells, and its roles exactly that trust: so every test that works
// proves that they are enough.
func (s *stage) permit(cells []actions.Cell) {
	s.t.Helper()
	list, err := actions.PermissionsFor(cells, actions.PermissionOptions{Principal: s.cell.Bot.ARN()})
	if errors.Is(err, actions.ErrPermissionOption) { // a cell elsewhere that nobody can reach
		list, err = actions.PermissionsFor(cells, actions.PermissionOptions{})
	}
	if err != nil {
		s.t.Fatalf("the bot's permissions: %v", err)
	}
	for _, p := range list {
		if p.Role == "" {
			s.cell.Bot.Policy(ownPolicy, p.Policy.JSON())
			continue
		}
		name := p.Role[strings.LastIndexByte(p.Role, '/')+1:]
		s.world.Account(string(p.Account)).Role(name).Trust(p.Trust.JSON()).Inline(ownPolicy, p.Policy.JSON())
	}
}

type writer interface{ Write([]byte) (int, error) }

func output(t testing.TB) writer { return t.Output() }

// life is one grant with the core applied to it, as the bot does.
type life struct {
	s      *stage
	g      grant.Grant
	steps  []string
	others func() []grant.Grant
	rounds []grant.Round
	wrote  []grant.Write // what the actions say that they changed
}

const (
	requester = grant.UserID("U0REQ")
	approver  = grant.UserID("U0APP")
)

// request makes an approved request: it is opening. Nothing was checked before.
func (s *stage) request(change ...func(*grant.Request)) *life {
	s.t.Helper()
	return s.asked(change...).approved()
}

// asked makes a request that nobody has decided on.
func (s *stage) asked(change ...func(*grant.Request)) *life {
	s.t.Helper()
	s.nextN++
	l := &life{s: s, g: grant.Grant{ID: s.nextN}, others: func() []grant.Grant { return nil }}
	req := grant.Request{
		By: grant.Actor{Kind: grant.Person, User: requester, Requester: true}, Token: "token",
		Cell: s.conf.Name, Account: s.conf.Account, Region: s.conf.Region,
		Principal: vendorARN, Ticket: "48213", Reason: "stuck node pool", Duration: 4 * time.Hour,
		Terms: grant.Terms{Approvals: 1, AWSEnforced: true, Settle: grant.DefaultSettle},
	}
	for _, f := range change {
		f(&req)
	}
	l.apply(req)
	return l
}

// approved has the approver read the card and agree to all of it.
func (l *life) approved() *life {
	l.s.t.Helper()
	yes := ""
	if r := l.g.Report; r != nil {
		yes = r.Redirect.Yes()
	}
	l.apply(grant.Approve{By: grant.Actor{Kind: grant.Person, User: approver, Approver: true}, Yes: yes})
	return l
}

func (l *life) apply(ev grant.Event) []grant.Effect {
	l.s.t.Helper()
	g, effects, err := l.g.Apply(ev, time.Now())
	if err != nil {
		l.s.t.Fatalf("%s: %s: %v", l.g.ID, ev.Kind(), err)
	}
	l.g = g
	return effects
}

// step commits progress as the bot does: a refusal by the core stops the opening.
func (l *life) step(ev grant.StepChanged) error {
	l.steps = append(l.steps, ev.Step+" "+string(ev.State))
	l.wrote = append(l.wrote, ev.Writes...)
	g, _, err := l.g.Apply(ev, time.Now())
	if err != nil {
		return err
	}
	l.g = g
	return nil
}

// tryOpen opens once.
func (l *life) tryOpen() error {
	l.s.t.Helper()
	access, err := l.s.aws.Open(l.s.t.Context(), l.g, l.others(), l.step)
	if t, ok := errors.AsType[*grant.Trouble](err); ok {
		l.wrote = append(l.wrote, t.Writes...)
	}
	if err != nil {
		return err
	}
	l.apply(grant.OpenDone{Access: access})
	return nil
}

func (l *life) open() *life {
	l.s.t.Helper()
	if err := l.tryOpen(); err != nil {
		l.s.t.Fatalf("%s: open: %v", l.g.ID, err)
	}
	if l.g.Phase != grant.Open {
		l.s.t.Fatalf("%s is %s after opening", l.g.ID, l.g.Phase)
	}
	return l
}

// revoke begins the closing.
func (l *life) revoke() *life {
	l.s.t.Helper()
	l.apply(grant.Revoke{By: grant.Actor{Kind: grant.Person, User: requester}})
	return l
}

// round does one round of closing and answers when the next is due; zero: it is
// closed.
func (l *life) round() (grant.Round, time.Time) {
	l.s.t.Helper()
	r := l.s.aws.Close(l.s.t.Context(), l.g, l.others())
	l.rounds = append(l.rounds, r)
	l.wrote = append(l.wrote, r.Writes...)
	for _, e := range l.apply(grant.CloseRound{Round: r}) {
		if e.Kind == grant.DoClose && !e.Cancel {
			return r, e.Due
		}
	}
	return r, time.Time{}
}

// close does rounds until the core calls it proven.
func (l *life) close() *life {
	l.s.t.Helper()
	if l.g.Phase != grant.Closing {
		l.revoke()
	}
	limit := time.Now().Add(10 * time.Minute)
	for {
		r, due := l.round()
		if due.IsZero() {
			break
		}
		if time.Now().After(limit) {
			l.s.t.Fatalf("%s is not closed after 10 minutes; the last round: %+v", l.g.ID, r)
		}
		time.Sleep(time.Until(due))
	}
	if l.g.Phase != grant.Closed {
		l.s.t.Fatalf("%s is %s", l.g.ID, l.g.Phase)
	}
	return l
}

// vendor is SingleStore's engineer with a role of theirs.
type vendor struct {
	s    *stage
	role *awssim.Role
}

func (s *stage) vendor(arn string) vendor { return vendor{s: s, role: s.world.ForeignRole(arn)} }

func (s *stage) config(c awssim.Credentials) aws.Config {
	return aws.Config{
		Region: s.conf.Region, HTTPClient: s.world.HTTPClient(),
		Credentials:      credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		RetryMaxAttempts: 1,
	}
}

// assume tries to assume the cell's role.
func (v vendor) assume() (awssim.Credentials, error) {
	out, err := sts.NewFromConfig(v.s.config(v.role.Credentials("support"))).AssumeRole(v.s.t.Context(), &sts.AssumeRoleInput{
		RoleArn: new(v.s.cell.Role.ARN()), RoleSessionName: new("support-engineer"),
	})
	if err != nil {
		return awssim.Credentials{}, err
	}
	c := out.Credentials
	return awssim.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken, Expires: *c.Expiration}, nil
}

// shell opens a shell on the cell's instance.
func (s *stage) shell(c awssim.Credentials) (string, *awssim.Shell, error) {
	out, err := ssm.NewFromConfig(s.config(c)).StartSession(s.t.Context(), &ssm.StartSessionInput{Target: new(s.cell.Instance.ID())})
	if err != nil {
		return "", nil, err
	}
	sh, err := s.cell.Region.Shell(*out.SessionId)
	return *out.SessionId, sh, err
}

func (s *stage) mustShell(c awssim.Credentials) (string, *awssim.Shell) {
	s.t.Helper()
	id, sh, err := s.shell(c)
	if err != nil {
		s.t.Fatalf("shell: %v", err)
	}
	return id, sh
}

// trouble is the trouble of an error, or the test fails.
func trouble(t testing.TB, err error) *grant.Trouble {
	t.Helper()
	tr, ok := errors.AsType[*grant.Trouble](err)
	if !ok {
		t.Fatalf("got error %v, want a trouble", err)
	}
	wellSaid(t, tr)
	return tr
}

// wellSaid holds what every trouble owes the person who reads it.
func wellSaid(t testing.TB, tr *grant.Trouble) {
	t.Helper()
	if tr.Text == "" || tr.Remedy == "" {
		t.Errorf("a trouble without text or remedy: %+v", tr)
	}
	for _, raw := range []string{"operation error", "https response", "RequestID", "api error", "smithy", "StatusCode"} {
		if strings.Contains(tr.Text+tr.Remedy, raw) {
			t.Errorf("the trouble shows the SDK's words (%q): %s / %s", raw, tr.Text, tr.Remedy)
		}
	}
}

func wantTrouble(t testing.TB, err error, kind grant.TroubleKind, step string, words ...string) *grant.Trouble {
	t.Helper()
	tr := trouble(t, err)
	if tr.Kind != kind || tr.Step != step {
		t.Errorf("got %s trouble at %q, want %s at %q: %v", tr.Kind, tr.Step, kind, step, tr)
	}
	for _, w := range words {
		if !strings.Contains(tr.Text+" "+tr.Remedy, w) {
			t.Errorf("%q is not in: %s / %s", w, tr.Text, tr.Remedy)
		}
	}
	return tr
}

// finding is the finding of a check at a level, or the test fails.
func finding(t testing.TB, r grant.Report, check string, level grant.Level, words ...string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check != check || f.Level != level {
			continue
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.Text+" "+f.Remedy, w) }) {
			if level != grant.OK && f.Remedy == "" {
				t.Errorf("finding %s (%s) has no remedy: %s", f.Check, f.Level, f.Text)
			}
			return
		}
	}
	t.Errorf("there is no finding %s of level %s with %q in\n%s", check, level, words, findings(r))
}

func findings(r grant.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-8s %-16s %s | %s\n", f.Level, f.Check, f.Text, f.Remedy)
	}
	return b.String()
}

// writes names the writes that AWS has carried out.
func (s *stage) writes() []string {
	var out []string
	for _, c := range s.world.Writes() {
		out = append(out, c.Name())
	}
	return out
}

func (s *stage) noWrites() {
	s.t.Helper()
	if w := s.writes(); len(w) > 0 {
		s.t.Errorf("AWS was changed: %v", w)
	}
}

// The table of traps in the package comment names tests that exist.
func TestDoc_trapsNameTests(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	inTrust, err := filepath.Glob("trust/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range append(files, inTrust...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	names := regexp.MustCompile(`Test[A-Z][A-Za-z]*_[A-Za-z]+`).FindAllString(string(doc), -1)
	if len(names) < 60 {
		t.Fatalf("only %d tests are named", len(names))
	}
	for _, n := range names {
		if !strings.Contains(all.String(), "func "+n+"(") {
			t.Errorf("there is no test %s", n)
		}
	}
}
