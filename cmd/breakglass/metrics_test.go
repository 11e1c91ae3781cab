package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
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
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// watched is the bot as `breakglass run` makes it, with its metrics, between a Slack
// and an AWS in memory: in a bubble, so that hours of a story take none.
type watched struct {
	t       *testing.T
	slack   *slacksim.Slack
	world   *awssim.World
	cell    awssim.CellScene
	people  map[string]*slacksim.Person
	metrics *metrics
	db      *store.Store
}

func inMetricsBubble(t *testing.T, story func(w *watched)) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // nothing of the machine's own AWS configuration
		}
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	key := awssim.New().NewCell(awssim.Cell{Name: "helios-prod", Vendor: scriptVendor}).Bot.Credentials()
	t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID) // the same in every world that is made alike
	t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC))) // bubbles begin in the year 2000
		w := &watched{t: t, world: awssim.New(), slack: slacksim.New(slacksim.Options{Patience: 12 * time.Hour}), people: map[string]*slacksim.Person{}}
		defer w.slack.Close()
		w.cell = w.world.NewCell(awssim.Cell{Name: "helios-prod", Vendor: scriptVendor})
		var ids []string
		for _, name := range []string{"ana", "ben"} {
			id := "U0" + strings.ToUpper(name)
			ids = append(ids, id)
			w.people[name] = w.slack.AddUser(slacksim.User{ID: id, Name: name})
		}
		w.slack.AddChannel(slacksim.Channel{ID: scriptChannel, Name: "access", Members: ids})
		w.run(story)
	})
}

func (w *watched) run(story func(w *watched)) {
	t := w.t
	config := `slack: {channel: C0ACCESS}
singlestore: {accounts: ["111122223333"]}
people: {approvers: {users: [U0BEN]}}
cells:
  - {name: helios-prod, account: "444455556666", region: us-east-1}
`
	cfg := mustParse(t, config)
	if err := permit(w.cell.Bot, config); err != nil {
		t.Fatal(err)
	}
	var err error
	w.metrics = newMetrics(cfg.cellNames())
	if w.db, err = store.OpenObserved(filepath.Join(t.TempDir(), "breakglass.db"), w.metrics.ofStore()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	hands, err := actions.New(t.Context(), actions.Options{
		Cells: cfg.awsCells(), Vendor: cfg.Policy().Vendor, Log: log, HTTPClient: w.world.HTTPClient(), Observe: w.metrics.ofAWS,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bot.New(bot.Options{
		Channel: cfg.Slack.Channel, APIURL: w.slack.APIURL(), BotToken: w.slack.BotToken(), AppToken: w.slack.AppToken(),
		People: bot.People{Approvers: bot.Circle(cfg.People.Approvers)}, Policy: cfg.Policy(),
		Store: w.db, AWS: hands, Log: log, Observe: w.metrics.ofBot(),
		HTTPClient: &http.Client{Transport: localSockets{w.slack.Transport()}}, Dialer: w.slack.Dialer(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.metrics.show(w.db, b, log)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := w.db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	if err := w.slack.WaitConnections(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	story(w)
}

// localSockets gives the sockets of the Slack in memory an address that the bot
// takes for this machine.
type localSockets struct{ *http.Transport }

func (l localSockets) RoundTrip(r *http.Request) (*http.Response, error) {
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

// scrape reads all series, by name and labels as they are written.
func (w *watched) scrape() map[string]float64 {
	w.t.Helper()
	answer := httptest.NewRecorder()
	w.metrics.serve(slog.New(slog.NewTextHandler(w.t.Output(), nil)))(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return series(w.t, answer.Body.String())
}

func series(t testing.TB, text string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("no number at the end of %q", line)
		}
		out[line[:i]] = v
	}
	return out
}

// wants holds series to values.
func (w *watched) wants(want map[string]float64) {
	w.t.Helper()
	got := w.scrape()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			w.t.Errorf("%s: %s is %v (there: %t), want %v", time.Now().UTC().Format(time.TimeOnly), name, g, ok, v)
		}
	}
}

// between holds series to what is not the same in each run.
func (w *watched) between(name string, low, high float64) {
	w.t.Helper()
	if v, ok := w.scrape()[name]; !ok || v < low || v > high {
		w.t.Errorf("%s is %v (there: %t), want %v to %v", name, v, ok, low, high)
	}
}

func (w *watched) says(name, text string) {
	w.t.Helper()
	i, err := w.people[name].Slash(w.t.Context(), scriptChannel, "/breakglass", text)
	if err != nil || !i.Acked {
		w.t.Fatalf("%q was not acknowledged: %v %s", text, err, i.Failure)
	}
	synctest.Wait()
}

func (w *watched) presses(name, button string) {
	w.t.Helper()
	for _, m := range w.slack.Messages(scriptChannel) {
		if m.ThreadTS == "" {
			if i, err := w.people[name].Click(w.t.Context(), m, button); err != nil || !i.Acked {
				w.t.Fatalf("%q was not acknowledged: %v %s", button, err, i.Failure)
			}
			synctest.Wait()
			return
		}
	}
	w.t.Fatal("no card stands")
}

func (w *watched) clients(key awssim.Credentials) aws.Config {
	return aws.Config{
		Region: "us-east-1", HTTPClient: w.world.HTTPClient(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken),
	}
}

// One access from the request to the proof, as a dashboard sees it: somebody inside,
// AWS away at the end, and trust that nobody explains.
func TestMetrics_story(t *testing.T) {
	inMetricsBubble(t, func(w *watched) {
		t := w.t // the bubble's own
		w.wants(map[string]float64{
			"breakglass_ready":          1,
			"breakglass_slack_sockets":  2,
			"breakglass_store_readable": 1, "breakglass_store_writable": 1,
			`breakglass_grants{phase="open"}`:                                            0,
			`breakglass_strays{cell="helios-prod"}`:                                      0,
			`breakglass_transitions_total{from="none",to="requested"}`:                   0,
			`breakglass_findings_total{cell="helios-prod",kind="stray"}`:                 0,
			`breakglass_cell_looked_timestamp_seconds{cell="helios-prod"}`:               float64(time.Now().Unix()),
			`breakglass_aws_calls_total{operation="GetRole",outcome="ok",service="iam"}`: w.scrape()[`breakglass_aws_call_seconds_count{operation="GetRole",service="iam"}`],
		})

		w.says("ana", "grant arn="+scriptVendor+" ticket=48213 for=30m reason=stuck node pool")
		time.Sleep(5 * time.Second)
		w.wants(map[string]float64{
			`breakglass_grants{phase="requested"}`:                     1,
			`breakglass_transitions_total{from="none",to="requested"}`: 1,
			`breakglass_envelopes_total{kind="command"}`:               1,
			"breakglass_ack_seconds_count":                             1,
			"breakglass_acks_late_total":                               0,
			"breakglass_slack_posts_queued":                            0,
			`breakglass_effects_owed{kind="lapse"}`:                    1,
			`breakglass_effects_due{kind="lapse"}`:                     0,
		})
		w.presses("ana", "Approve") // her own
		w.presses("ben", "Approve")
		time.Sleep(time.Minute)
		w.wants(map[string]float64{
			`breakglass_grants{phase="open"}`:                               1,
			`breakglass_refusals_total{code="own_request"}`:                 0,
			`breakglass_refusals_total{code="not_allowed"}`:                 1,
			`breakglass_envelopes_total{kind="click"}`:                      2,
			`breakglass_transitions_total{from="opening",to="open"}`:        1,
			"breakglass_open_seconds_count":                                 1,
			`breakglass_access_overstay_seconds{cell="helios-prod"}`:        0,
			`breakglass_sessions{cell="helios-prod"}`:                       0,
			`breakglass_slack_calls_total{method="auth.test",outcome="ok"}`: 1,
		})
		w.between("breakglass_audit_entries", 5, 100)
		w.between("breakglass_store_bytes", 1, 4<<20)

		// Somebody is inside.
		out, err := sts.NewFromConfig(w.clients(w.cell.Vendor.Credentials("support"))).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: new(w.cell.Role.ARN()), RoleSessionName: new("support-engineer"),
		})
		if err != nil {
			t.Fatal(err)
		}
		k := out.Credentials
		inside := w.clients(awssim.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken})
		if _, err := ssm.NewFromConfig(inside).StartSession(t.Context(), &ssm.StartSessionInput{Target: new(w.cell.Instance.ID())}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.wants(map[string]float64{
			`breakglass_sessions{cell="helios-prod"}`: 1,
		})

		// The end comes while AWS answers nobody.
		back := w.world.Inject(awssim.Fault{Kind: awssim.ServerError})
		time.Sleep(40 * time.Minute)
		w.wants(map[string]float64{
			`breakglass_grants{phase="closing"}`:          1,
			`breakglass_closes_stuck{cell="helios-prod"}`: 1,
			"breakglass_ready":                            1,
			"breakglass_worker_behind_seconds":            0,
			"breakglass_close_seconds_count":              0,
		})
		w.between(`breakglass_access_overstay_seconds{cell="helios-prod"}`, 10*60, 20*60)
		w.between(`breakglass_aws_calls_total{operation="GetRole",outcome="again",service="iam"}`, 3, 1000)
		back()
		time.Sleep(5 * time.Minute)
		w.wants(map[string]float64{
			`breakglass_grants{phase="closing"}`:                       0,
			`breakglass_transitions_total{from="closing",to="closed"}`: 1,
			`breakglass_closes_stuck{cell="helios-prod"}`:              0,
			`breakglass_access_overstay_seconds{cell="helios-prod"}`:   0,
			`breakglass_sessions_unlogged{cell="helios-prod"}`:         0,
			"breakglass_close_seconds_count":                           1,
			"breakglass_trust_removal_seconds_count":                   1,
		})
		w.between("breakglass_close_seconds_sum", 15*60, 25*60) // from the end on, not from the first try that worked

		// Somebody lets SingleStore in by hand.
		w.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + scriptVendor + `"},"Action":"sts:AssumeRole"}]}`)
		time.Sleep(10 * time.Minute)
		w.wants(map[string]float64{
			`breakglass_strays{cell="helios-prod"}`:                      1,
			`breakglass_findings_total{cell="helios-prod",kind="stray"}`: 1,
			`breakglass_cell_blind{cell="helios-prod"}`:                  0,
		})
	})
}

// Slack goes away: sockets, silence and readiness say so, and what could not be
// posted is counted until it stands.
func TestMetrics_slackAway(t *testing.T) {
	inMetricsBubble(t, func(w *watched) {
		w.slack.SetDown(true)
		time.Sleep(2 * time.Minute)
		w.wants(map[string]float64{"breakglass_ready": 0, "breakglass_slack_sockets": 0, "breakglass_store_writable": 1})
		w.between("breakglass_slack_silence_seconds", 110, 130)
		w.between(`breakglass_slack_calls_total{method="apps.connections.open",outcome="lost"}`, 2, 100)
		w.slack.SetDown(false)
		time.Sleep(time.Minute)
		w.wants(map[string]float64{"breakglass_ready": 1, "breakglass_slack_sockets": 2})
	})
}

// shownBeside shows the metrics with a bot that never runs, and so talks to nobody.
func shownBeside(t *testing.T, m *metrics, db *store.Store) *bot.Bot {
	t.Helper()
	b, err := bot.New(bot.Options{
		Channel: scriptChannel, APIURL: "https://slack.invalid/api/", BotToken: "xoxb-1", AppToken: "xapp-1",
		Store: db, AWS: struct{ bot.AWS }{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.show(db, b, slog.New(slog.DiscardHandler))
	return b
}

// The database is gone: what was counted is shown still, and what would be read from
// it is missing, not zero.
func TestMetrics_databaseGone(t *testing.T) {
	m := newMetrics([]grant.CellName{"helios-prod"})
	db, err := store.OpenObserved(filepath.Join(t.TempDir(), "breakglass.db"), m.ofStore())
	if err != nil {
		t.Fatal(err)
	}
	shownBeside(t, m, db)
	w := &watched{t: t, metrics: m}
	w.wants(map[string]float64{"breakglass_store_readable": 1, `breakglass_grants{phase="open"}`: 0})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got := w.scrape()
	if v := got["breakglass_store_readable"]; v != 0 {
		t.Errorf("a closed database is readable: %v", v)
	}
	for name := range got {
		if strings.HasPrefix(name, "breakglass_grants") || strings.HasPrefix(name, "breakglass_access") {
			t.Errorf("%s is shown, though nothing is known of it", name)
		}
	}
	if _, there := got[`breakglass_transitions_total{from="none",to="requested"}`]; !there {
		t.Error("the counters are gone, too")
	}
}

// A scrape reads what is live and never what has ended, so that ten thousand grants
// that have ended make it no slower: shown by what it allocates.
func TestMetrics_flat(t *testing.T) {
	measure := func(ended int) float64 {
		m := newMetrics(nil)
		db, err := store.Open(filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", ended)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		for n := range ended {
			if err := deny(db, n); err != nil {
				t.Fatal(err)
			}
		}
		b := shownBeside(t, m, db)
		s := &state{db: db, bot: b}
		if r, err := s.read(time.Now()); err != nil || len(r.Live) != 0 {
			t.Fatalf("%v live (%v), want none", r.Live, err)
		}
		return testing.AllocsPerRun(20, func() { _, _ = s.read(time.Now()) })
	}
	few, many := measure(0), measure(200)
	if many > 2*few+20 {
		t.Errorf("a reading allocates %.0f times with nothing in the store, and %.0f times after 200 grants", few, many)
	}
}

// deny makes a request, and denies it; its messages count as posted.
func deny(db *store.Store, n int) error {
	now := time.Now()
	res, err := db.Commit(store.Change{Now: now, Event: grant.Request{
		By: grant.Actor{Kind: grant.Person, User: grant.UserID(fmt.Sprintf("U%07d", n)), Requester: true}, Token: fmt.Sprintf("token%d", n),
		Cell: "helios-prod", Account: "444455556666", Region: "us-east-1", Principal: scriptVendor, Ticket: "1", Reason: "many",
		Duration: time.Hour, Terms: grant.Terms{Approvals: 1, Undecided: time.Hour, Settle: grant.DefaultSettle},
	}})
	if err != nil {
		return err
	}
	if _, err := db.Commit(store.Change{Now: now, Grant: res.Grant.ID, Event: grant.Deny{By: grant.Actor{Kind: grant.Person, User: "U0BEN", Approver: true}}}); err != nil {
		return err
	}
	owed, err := db.Owes(res.Grant.ID)
	if err != nil {
		return err
	}
	for _, o := range owed {
		if _, err := db.Settle(o); err != nil {
			return err
		}
	}
	return nil
}
