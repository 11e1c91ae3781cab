package bot_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// theatre is a stage in real time: the real store on disk, Slack in memory, AWS in
// process.
type theatre struct {
	b     testing.TB
	stop  func() error // ends the bot, and answers what Run answers
	slack *slacksim.Slack
	world *awssim.World
	db    *store.Store
	ben   *slacksim.Person
}

func newTheatre(b testing.TB, people int) *theatre {
	b.Helper()
	th := &theatre{b: b, world: awssim.New(), slack: slacksim.New(slacksim.Options{Limits: slacksim.RateLimits{Off: true}})}
	cells(th.world)
	policy := grant.Policy{
		Vendor:    grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
		Limits:    grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour},
		Approvals: people + 1, // a click of each is an approval that does not decide
		Cells: []grant.Cell{
			{Name: prod, Account: "444455556666", Region: "us-east-1"},
			{Name: test, Account: "444455556666", Region: "eu-west-1"},
		},
		AWSEnforced: true,
		Settle:      20 * time.Millisecond,
	}
	circle := bot.Circle{Users: []grant.UserID{ben}}
	th.ben = th.slack.AddUser(slacksim.User{ID: ben, Name: "ben"})
	for n := range people {
		id := fmt.Sprintf("U0P%03d", n)
		th.slack.AddUser(slacksim.User{ID: id})
		circle.Users = append(circle.Users, grant.UserID(id))
	}
	if people == 0 {
		th.slack.AddUser(slacksim.User{ID: ana, Name: "ana"})
		policy.Approvals = 1
	}
	th.slack.AddChannel(slacksim.Channel{ID: channel, Name: "singlestore-access"})
	var err error
	if th.db, err = store.Open(filepath.Join(b.TempDir(), "breakglass.db")); err != nil {
		b.Fatal(err)
	}
	hands, err := actions.New(b.Context(), actions.Options{
		Cells: []actions.Cell{
			{Name: prod, Account: "444455556666", Region: "us-east-1", EKSCluster: prod},
			{Name: test, Account: "444455556666", Region: "eu-west-1", EKSCluster: test},
		},
		Vendor: policy.Vendor, HTTPClient: th.world.HTTPClient(),
	})
	if err != nil {
		b.Fatal(err)
	}
	run, err := bot.New(bot.Options{
		Channel: channel, APIURL: th.slack.APIURL(), BotToken: th.slack.BotToken(), AppToken: th.slack.AppToken(),
		People: bot.People{Approvers: circle}, Policy: policy, Store: th.db, AWS: hands, Log: slog.New(slog.DiscardHandler),
		HTTPClient: &http.Client{Transport: &loopback{th.slack.Transport()}}, Dialer: th.slack.Dialer(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx) }()
	th.stop = sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	b.Cleanup(func() {
		if err := th.stop(); err != nil {
			b.Error(err)
		}
		if err := th.db.Close(); err != nil {
			b.Error(err)
		}
		th.slack.Close()
	})
	if err := th.slack.WaitConnections(b.Context(), 2); err != nil {
		b.Fatal(err)
	}
	for run.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	return th
}

// command types one command, which must be acknowledged, and answers how long that
// took.
func (th *theatre) command(p *slacksim.Person, text string) time.Duration {
	i, err := p.Slash(th.b.Context(), channel, "/breakglass", text, atHome)
	if err != nil || !i.Acked {
		th.b.Errorf("%q: acked %t (%v)", text, i.Acked, err)
	}
	return i.After
}

func latencies(b *testing.B, list []time.Duration) {
	slices.Sort(list)
	at := func(q float64) float64 {
		return float64(list[int(q*float64(len(list)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(list))/b.Elapsed().Seconds(), "clicks/s")
	b.ReportMetric(at(0.50), "p50-ack-ms")
	b.ReportMetric(at(0.99), "p99-ack-ms")
	b.ReportMetric(0, "ns/op")
}

// ask makes a request and answers it as the store has it, once it was checked.
func (th *theatre) ask(as *slacksim.Person) grant.Grant {
	th.b.Helper()
	th.command(as, askProd)
	live, err := th.db.Live()
	if err != nil || len(live) == 0 {
		th.b.Fatalf("no request (%v)", err)
	}
	g := live[len(live)-1]
	for g.Report == nil {
		changed := th.db.Changed()
		if g, err = th.db.Grant(g.ID); err != nil {
			th.b.Fatal(err)
		}
		if g.Report == nil {
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return g
}

// A click, its commit on disk, and the acknowledgement at Slack's end: by one
// person after the other, and by 64 at the same instant. Each click is an approval
// that counts, by somebody whom Slack knows already; cards and checks are paid for
// beside it, as they are in life.
func BenchmarkClickToAck(b *testing.B) {
	const crowd = 64
	for _, atOnce := range []int{1, crowd} {
		b.Run(fmt.Sprintf("people=%d", atOnce), func(b *testing.B) {
			th := newTheatre(b, crowd)
			people := make([]*slacksim.Person, crowd)
			for n := range people {
				people[n] = th.slack.Person(fmt.Sprintf("U0P%03d", n))
			}
			g := th.ask(th.ben)
			card, err := th.slack.WaitMessage(b.Context(), channel, func(m slacksim.Message) bool { return strings.Contains(m.Text, "Requested") })
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range people {
				// Who it is, is known from here on.
				if _, err := p.Click(b.Context(), card, "Approve", atHome, with("value", "none")); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Click(b.Context(), card, "Approve", atHome); err != nil {
					b.Fatal(err)
				}
			}
			var took []time.Duration
			var mu sync.Mutex
			next := crowd
			for b.Loop() {
				if next == crowd {
					b.StopTimer()
					g, next = th.ask(th.ben), 0
					b.StartTimer()
				}
				var all sync.WaitGroup
				for _, p := range people[next : next+atOnce] {
					all.Go(func() {
						i, err := p.Click(b.Context(), card, "Approve", atHome, with("value", g.Token))
						if err != nil || !i.Acked {
							b.Errorf("acked %t (%v)", i.Acked, err)
						}
						mu.Lock()
						defer mu.Unlock()
						took = append(took, i.After)
					})
				}
				all.Wait()
				next += atOnce
			}
			latencies(b, took)
			if g, err = th.db.Grant(g.ID); err != nil || len(g.Approvals) != next {
				b.Errorf("%d approvals are counted, want %d (%v)", len(g.Approvals), next, err)
			}
		})
	}
}

// From the deciding click until the grant is open, with an AWS that takes so long
// for every call; also as a multiple of the critical path: the longest chain of
// calls of which each began after the one before had ended.
func BenchmarkApproveToOpen(b *testing.B) {
	for _, latency := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		b.Run(fmt.Sprintf("aws=%s", latency), func(b *testing.B) {
			th := newTheatre(b, 0)
			g := th.ask(th.slack.Person(ana))
			card, err := th.slack.WaitMessage(b.Context(), channel, func(m slacksim.Message) bool { return strings.Contains(m.Text, g.ID.String()) })
			if err != nil {
				b.Fatal(err)
			}
			var total time.Duration
			var path, calls, n int
			for b.Loop() {
				b.StopTimer()
				th.world.Tune(func(k *awssim.Knobs) { k.Latency = 0 })
				g := th.ask(th.slack.Person(ana))
				id := g.ID
				th.world.Tune(func(k *awssim.Knobs) { k.Latency = latency })
				var mu sync.Mutex
				began := map[string]time.Time{}
				var spans []span
				unhookB := th.world.Before(func(ctx context.Context, _ awssim.Call) *awssim.Fault {
					mu.Lock()
					defer mu.Unlock()
					began[fmt.Sprintf("%p", ctx)] = time.Now()
					return nil
				})
				unhookA := th.world.After(func(ctx context.Context, _ awssim.Call) {
					mu.Lock()
					defer mu.Unlock()
					spans = append(spans, span{began[fmt.Sprintf("%p", ctx)], time.Now()})
				})
				b.StartTimer()
				start := time.Now()
				if i, err := th.ben.Click(b.Context(), card, "Approve", atHome, with("value", g.Token), as("approve")); err != nil || !i.Acked {
					b.Fatalf("acked %t (%v)", i.Acked, err)
				}
				for {
					changed := th.db.Changed()
					g, err := th.db.Grant(id)
					if err != nil {
						b.Fatal(err)
					}
					if g.Phase == grant.Open {
						break
					}
					if g.Phase != grant.Opening {
						b.Fatalf("%s is %s", id, g.Phase)
					}
					<-changed
				}
				total += time.Since(start)
				b.StopTimer()
				unhookB()
				unhookA()
				path += criticalPath(spans)
				calls += len(spans)
				n++
				th.world.Tune(func(k *awssim.Knobs) { k.Latency = 0 })
				th.command(th.slack.Person(ana), "revoke "+id.String())
				for {
					changed := th.db.Changed()
					if g, err := th.db.Grant(id); err != nil || g.Phase == grant.Closed {
						break
					}
					<-changed
				}
				b.StartTimer()
			}
			per := total / time.Duration(n)
			b.ReportMetric(float64(per.Microseconds())/1000, "ms/open")
			b.ReportMetric(float64(path)/float64(n), "round-trips-in-a-row")
			b.ReportMetric(float64(calls)/float64(n), "calls")
			b.ReportMetric(float64(per)/(float64(path)/float64(n)*float64(latency)), "×critical-path")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type span struct{ from, to time.Time }

// criticalPath is the greatest number of calls of which each began after the one
// before had ended.
func criticalPath(spans []span) int {
	slices.SortFunc(spans, func(a, b span) int { return a.to.Compare(b.to) })
	n := 0
	var last time.Time
	for _, s := range spans {
		if !s.from.Before(last) {
			n++
			last = s.to
		}
	}
	return n
}
