package bot_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// play is one story being played.
type play struct {
	*stage
	w     worldOf
	story []step
	keep  []int
	n     struct{ asked, opened, closed, kills, ins, entries int }

	people map[string]person
	asks   int // gives each request a ticket of its own
	free   func()
	last   slacksim.Interaction

	mu     sync.Mutex
	now    int // the step that is being played
	wrong  string
	trap   *step // where the power will be cut
	away   time.Duration
	cutc   chan struct{} // closed when it was
	faults []*awsFault
	twins  int // acts that Slack still delivers twice, in another envelope
	ledger
}

// awsFault is AWS answering the bot wrongly.
type awsFault struct {
	call  string
	fault awssim.Fault
	left  int // how often; negative: until it is over
	until time.Time
}

// run plays the story and holds it to what must be.
func (p *play) run(t *testing.T) {
	p.stage = newStage(t, idle, p.setUp)
	p.prepare()
	p.boot()
	for i := 0; i < len(p.keep) && p.broken() == ""; {
		group := []step{p.at(i)}
		p.turn(p.keep[i])
		for i++; i < len(p.keep) && p.at(i).beside; i++ {
			group = append(group, p.at(i))
		}
		p.steps(group)
		p.check()
	}
	p.turn(-1)
	if p.broken() == "" {
		p.finale()
	}
	p.heal()
	p.reap()
	if what := p.broken(); what != "" {
		t.Errorf("%s", what)
	}
}

func (p *play) at(i int) step {
	if n := p.keep[i]; n >= 0 && n < len(p.story) {
		return p.story[n]
	}
	return step{do: doFinished}
}

func (p *play) turn(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = n
}

// bad notes what is not as it must be; the first counts. The letter is that of the
// invariant in simulation_watch_test.go.
func (p *play) bad(letter, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrongly(letter, format, args...)
}

// wrongly is bad, with the ledger held.
func (p *play) wrongly(letter, format string, args ...any) {
	if p.wrong != "" {
		return
	}
	when := "at the end"
	if p.now >= 0 {
		when = fmt.Sprintf("at step %d", p.now)
	}
	p.wrong = fmt.Sprintf("(%s) %s, %s: %s", letter, when, time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (p *play) broken() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrong
}

// setUp is what this seed wants otherwise than usual.
func (p *play) setUp(c *setup) {
	c.policy.Approvals = p.w.approvals
	c.policy.Limits = grant.Limits{Default: adopted, Max: 2 * time.Hour, Undecided: 20 * time.Minute}
	c.policy.Reminders = grant.Reminders{
		Undecided: 4 * time.Minute, Unsent: 5 * time.Minute, StillOpen: 10 * time.Minute, Unused: 8 * time.Minute,
		BeforeEnd: []time.Duration{10 * time.Minute, 3 * time.Minute},
	}
	if p.w.quiet {
		c.policy.Reminders = grant.Reminders{}
	}
	if p.w.emergency {
		emergencies(ana, mia)(c)
	}
	if p.w.group {
		c.people.Approvers = bot.Circle{Users: []grant.UserID{ana}, Groups: []grant.GroupID{group}}
		c.before = func(s *stage) {
			s.slack.AddUserGroup(slacksim.UserGroup{ID: group, Handle: "platform", Members: []string{ben, eva}})
		}
	}
	// Pings keep sockets alive; fewer of them keep the story cheap.
	c.slack.Socket.PingEvery = 20 * time.Second
	// To find what it may have posted the bot reads the channel.
	c.slack.BotScopes = append([]string{"channels:history"}, slacksim.DefaultBotScopes...)
}

func (p *play) prepare() {
	g := person{p.stage, p.slack.AddUser(slacksim.User{ID: gus, Name: "gus", Guest: slacksim.MultiChannelGuest})}
	p.slack.EditChannel(channel, func(c *slacksim.Channel) { c.Members = append(c.Members, gus) })
	p.people = map[string]person{ana: p.ana, ben: p.ben, eva: p.eva, rob: p.rob, mia: p.mia, gus: g}
	p.cell2.Role.Trust(trustBefore)
	p.cell.Account.Role("auditors")
	p.world.Tune(func(k *awssim.Knobs) { k.Latency = p.w.latency })
	p.begin(p)
	p.world.Before(p.beforeAWS)
	p.world.After(p.afterAWS)
}

// boot starts a bot on the database as it is, as the program does, and waits for its
// sockets, if they come.
func (p *play) boot() {
	p.t.Helper()
	run, cutc := &power{}, make(chan struct{})
	run.after.Store(&hook{func(r *http.Request) {
		p.effect(run, "after a call")
		if !run.off.Load() && strings.HasPrefix(r.URL.Path, "/api/chat.") {
			p.gaze()
		}
	}})
	run.each.Store(&hook{func(*http.Request) { p.effect(run, "before a call") }})
	p.mu.Lock()
	p.cutc = cutc
	p.mu.Unlock()
	p.power = run
	p.log.each = func(entry string) {
		if strings.Contains(entry, "msg=decided") || strings.Contains(entry, "msg=phase") {
			p.effect(run, "after a commit")
		}
	}
	log := slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	hands, err := actions.New(p.t.Context(), actions.Options{
		Cells: []actions.Cell{
			{Name: prod, Account: "444455556666", Region: "us-east-1", EKSCluster: prod},
			{Name: test, Account: "444455556666", Region: "eu-west-1", EKSCluster: test},
		},
		Vendor: p.conf.policy.Vendor, Log: log,
		HTTPClient: &http.Client{Transport: run.line(p.world.HTTPClient().Transport)},
	})
	if err != nil {
		p.t.Fatalf("actions.New: %v", err)
	}
	if p.db, err = store.Open(p.path); err != nil {
		p.bad("f", "the database does not open again: %v", err)
		return
	}
	if err := p.db.Verify(); err != nil {
		p.bad("f", "after a start: %v", err)
	}
	dialer := p.slack.Dialer()
	dial := dialer.NetDialContext
	dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if run.off.Load() {
			return nil, errPower
		}
		c, err := dial(ctx, network, addr)
		return &frames{c, p, run}, err
	}
	p.bot, err = bot.New(bot.Options{
		Channel: channel, APIURL: p.slack.APIURL(), BotToken: p.slack.BotToken(), AppToken: p.slack.AppToken(),
		People: p.conf.people, Policy: p.conf.policy, Store: p.db, AWS: hands, Log: log,
		HTTPClient: &http.Client{Transport: run.line(&loopback{p.slack.Transport()})},
		Dialer:     dialer,
	})
	if err != nil {
		p.t.Fatalf("bot.New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end, p.ended = cancel, make(chan error, 1)
	ended, b := p.ended, p.bot
	go func() { ended <- b.Run(ctx) }()
	p.disturbed(time.Now())
	for range 40 {
		synctest.Wait()
		if len(p.slack.Connections()) >= 2 || run.off.Load() {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// frames is a socket of one run of the bot.
type frames struct {
	net.Conn
	p   *play
	run *power
}

// Write sends what the bot says. An answer to a ping is too short to count.
func (f *frames) Write(b []byte) (int, error) {
	if len(b) > 60 {
		f.p.effect(f.run, "before a frame")
	}
	if f.run.off.Load() {
		return 0, errPower
	}
	return f.Conn.Write(b)
}

// effect is something that the bot does to the world, or has just written down.
func (p *play) effect(run *power, where string) {
	p.mu.Lock()
	hit := p.trap != nil && p.trap.what == where && !run.off.Load()
	if hit {
		p.trap.n--
		if hit = p.trap.n <= 0; hit {
			p.away, p.trap = p.trap.long, nil
		}
	}
	p.mu.Unlock()
	if hit {
		p.cutNow(run)
	}
}

// cutNow is [stage.cut], and takes the sockets off the line, too, before the
// database is copied: nothing that the copy does not hold may get out.
func (p *play) cutNow(run *power) {
	if !run.off.CompareAndSwap(false, true) {
		return
	}
	for _, c := range p.slack.Connections() {
		c.Drop()
	}
	p.freeDisk() // the copy is read from the file that is played to be full
	var b bytes.Buffer
	if err := p.db.Backup(&b); err != nil {
		p.bad("x", "copying the database: %v", err)
	}
	run.disk = b.Bytes()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n.kills++
	p.cuts = append(p.cuts, time.Now())
	close(p.cutc)
}

// reap buries a bot whose power was cut, and starts another one after a while.
func (p *play) reap() {
	p.mu.Lock()
	cutc := p.cutc
	p.mu.Unlock()
	if p.ended == nil {
		return
	}
	select {
	case <-cutc:
	default:
		return
	}
	p.freeDisk()
	p.afterCut()
	time.Sleep(p.away)
	p.boot()
}

// pause lets time pass. A bot whose power is cut meanwhile comes back in it.
func (p *play) pause(d time.Duration) {
	for end := time.Now().Add(d); p.broken() == ""; {
		p.reap()
		left := time.Until(end)
		if left <= 0 {
			break
		}
		p.mu.Lock()
		cutc := p.cutc
		p.mu.Unlock()
		select {
		case <-time.After(left):
		case <-cutc:
		}
	}
	synctest.Wait()
}

// steps plays one step, or several at the same moment.
func (p *play) steps(group []step) {
	p.pause(group[0].after)
	if len(group) == 1 {
		p.play(group[0])
	} else {
		var all sync.WaitGroup
		for _, s := range group {
			all.Go(func() { p.play(s) })
		}
		all.Wait()
	}
	synctest.Wait()
	p.reap()
	select {
	case err := <-p.ended:
		p.ended <- err
		if !p.power.off.Load() {
			p.bad("x", "the bot has ended by itself: %v", err)
		}
	default:
	}
}

// play plays one step. People's acts may be played side by side, the rest may not.
func (p *play) play(s step) {
	who := p.people[s.who]
	switch s.do {
	case doAsk, doForm, doEmergency:
		p.ask(who, s)
	case doPress:
		p.press(who, s)
	case doStale:
		p.stale(who, s)
	case doLess, doDenyWhy:
		p.fillIn(who, s)
	case doRevoke:
		p.revoke(who, s)
	case doExtend:
		if id := p.grantOf(s.on); id > 0 {
			p.slash(who, fmt.Sprintf("extend BG-%d %s", id, s.long), &deed{kind: "extend", grant: id, long: s.long})
		}
	case doLook:
		p.slash(who, s.what, nil)
	case doHome:
		p.act(who, nil, func(e slacksim.Edit) (slacksim.Interaction, error) { return who.OpenHome(context.Background(), e) })
	case doAgain:
		if i := p.lastAct(); i.EnvelopeID != "" {
			_, _ = p.slack.Redeliver(context.Background(), i, s.n == 1) // nothing may come of it
		}
	case doStray:
		p.stray(who, s)
	case doComes:
		p.comes(s)
	case doWait:
		p.pause(s.long)
	default:
		p.mishap(s)
	}
}

// mishap is what happens to the world.
func (p *play) mishap(s step) {
	switch s.do {
	case doLeaves:
	case doDouble:
		p.slack.DuplicateNext(s.n, s.what == "new")
		p.mu.Lock()
		p.twins = 0
		if s.what == "new" {
			p.twins = s.n
		}
		p.mu.Unlock()
	case doMislay:
		f := slacksim.DeliveryFault{Times: s.n}
		switch s.what {
		case "lose":
			f.Lose = true
		case "lose ack":
			f.LoseAck = true
		case "late":
			f.Delay = s.long
		default:
			f.DelayAck = s.long
		}
		time.AfterFunc(2*time.Minute, p.slack.InjectDelivery(f))
	case doSockets:
		p.sockets(s.what)
	case doSlack:
		p.slackFault(s)
	case doDown:
		p.slackTrouble(s.long + time.Minute)
		p.slack.SetDown(true)
		p.pause(s.long)
		p.slack.SetDown(false)
	case doAWS:
		p.fault(s)
	case doKnob:
		p.knob(s)
	case doHuman:
		p.human(s)
	case doLogging:
		p.gates[s.n].logged = time.Now()
		p.gates[s.n].cell.Region.Preferences(strings.Replace(preferencesBefore, `"cloudWatchLogGroupName":""`, `"cloudWatchLogGroupName":"/company/sessions"`, 1))
	case doPeople:
		p.changePeople(s)
	case doDelete:
		if id := p.grantOf(s.on); id > 0 {
			for _, m := range p.cards(fmt.Sprintf("BG-%d", id)) {
				p.slack.DeleteMessage(channel, m.TS)
			}
		}
	case doOrphan:
		p.orphan()
	case doDisk:
		if p.ended != nil && !p.power.off.Load() && p.free == nil {
			free := diskFull(p.t, p.path)
			p.mu.Lock()
			p.free = free
			p.mu.Unlock()
			p.disturbed(time.Now().Add(s.long))
			time.AfterFunc(s.long, p.freeDisk)
		}
	case doStop:
		p.stopFor(s.long)
	case doKill:
		if s.what == "now" {
			p.away = s.long
			p.cutNow(p.power)
			return
		}
		p.mu.Lock()
		p.trap = &s
		p.mu.Unlock()
	}
}

func (p *play) stopFor(away time.Duration) {
	p.mu.Lock()
	p.trap = nil
	p.mu.Unlock()
	p.freeDisk()
	began := time.Now()
	p.end()
	if err := <-p.ended; err != nil && !p.power.off.Load() {
		p.bad("x", "told to stop, Run answers %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		p.bad("x", "stopping took %s, want 10 s at most", took)
	}
	p.ended = nil
	if err := p.db.Close(); err != nil {
		p.bad("x", "closing the database: %v", err)
	}
	time.Sleep(away)
	p.boot()
}

func (p *play) freeDisk() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free != nil {
		p.free()
		p.free = nil
	}
}

func (p *play) sockets(what string) {
	all := p.slack.Connections()
	for i, c := range all {
		switch {
		case what == "drop" && i == 0, what == "all":
			c.Drop()
		case what == "refresh":
			c.Disconnect(slacksim.ReasonRefreshRequested, 0)
		case what == "stall" && i == 0:
			c.Stall()
		}
	}
}

func (p *play) slackFault(s step) {
	method, kind, _ := strings.Cut(s.what, "/")
	f := slacksim.Fault{Method: method, Times: s.n}
	switch kind {
	case "500":
		f.Answer = slacksim.Status(http.StatusInternalServerError)
	case "lost":
		f.Done, f.Answer = true, slacksim.Drop()
	case "limited":
		f.Answer = slacksim.RateLimited(5 * time.Second)
	case "hang":
		f.Answer = slacksim.Hang()
	case "silent":
		f.Answer = slacksim.RefuseSilently()
	}
	const lasts = 2 * time.Minute
	p.slackTrouble(lasts)
	time.AfterFunc(lasts, p.slack.Inject(f))
}

func (p *play) fault(s step) {
	call, kind, _ := strings.Cut(s.what, "/")
	f := &awsFault{call: call, left: s.n, until: time.Now().Add(s.long)}
	if s.n == 0 {
		f.left = -1
	}
	switch kind {
	case "throttled":
		f.fault.Kind = awssim.Throttle
	case "500":
		f.fault.Kind = awssim.ServerError
	case "before":
		f.fault.Kind = awssim.DropBefore
	case "after":
		f.fault.Kind = awssim.DropAfter
	case "denied":
		f.fault.Kind = awssim.Deny
	case "hang":
		f.fault.Latency = 24 * time.Hour
	}
	p.disturbed(f.until)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
}

// strikes answers the fault that a call of the bot suffers.
func (p *play) strikes(c awssim.Call) *awssim.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		prefix, wild := strings.CutSuffix(f.call, "*")
		if f.left == 0 || time.Now().After(f.until) || c.Name() != f.call && (!wild || !strings.HasPrefix(c.Name(), prefix)) {
			continue
		}
		f.left--
		return &f.fault
	}
	return nil
}

func (p *play) knob(s step) {
	long := time.Duration(s.n) * time.Second
	set := func(k *awssim.Knobs, on bool) {
		d := long
		if !on {
			d = 0
		}
		switch s.what {
		case "stale":
			k.StaleReads = d
		case "flapping":
			k.StaleReads, k.FlappingReads = d, on
		case "slow to take effect":
			k.Propagation = d
		case "slow to end sessions":
			k.TerminateDelay = d
		case "ends no sessions":
			k.TerminateIgnored = on
		case "slow documents":
			k.DocumentDelay = d / 2
		case "slow calls":
			k.Latency = max(d/10, p.w.latency)
		}
	}
	p.world.Tune(func(k *awssim.Knobs) { set(k, true) })
	time.AfterFunc(s.long, func() { p.world.Tune(func(k *awssim.Knobs) { set(k, false) }) })
	p.disturbed(time.Now().Add(s.long + long))
	if s.what == "stale" || s.what == "flapping" {
		p.mu.Lock()
		p.staleUntil = time.Now().Add(s.long + long)
		p.mu.Unlock()
	}
}

// heal ends all that is wrong with the world.
func (p *play) heal() {
	p.freeDisk()
	p.slack.ClearFaults()
	p.slack.DuplicateNext(0, false)
	p.world.Tune(func(k *awssim.Knobs) { *k = awssim.Knobs{Latency: p.w.latency} })
	p.mu.Lock()
	p.faults, p.trap, p.away = nil, nil, 0
	p.mu.Unlock()
	p.disturbed(time.Now())
}

func (p *play) changePeople(s step) {
	here := s.what != "leaves"
	if p.w.group {
		p.slack.EditUserGroup(group, func(g *slacksim.UserGroup) {
			var rest []string
			for _, u := range g.Members {
				if u != s.who {
					rest = append(rest, u)
				}
			}
			if here {
				rest = append(rest, s.who)
			}
			g.Members = rest
		})
		if s.who == ana {
			return // is named herself
		}
	} else {
		p.slack.EditUser(s.who, func(u *slacksim.User) { u.Deleted = !here })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.approvers[s.who] = append(p.approvers[s.who], change1{time.Now(), here})
}
