package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"breakglass/actions"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

type revokeCommand struct {
	Args struct {
		What string `positional-arg-name:"ID-OR-CELL" description:"The grant to end (BG-7), or the cell on which to end everything."`
	} `positional-args:"yes"`
	All     bool   `long:"all" description:"End everything that is open, on every cell."`
	Yes     bool   `long:"yes" short:"y" description:"Do not ask."`
	DryRun  bool   `long:"dry-run" description:"Say what would be done, and do nothing."`
	JSON    bool   `long:"json" description:"Print a line of JSON for each grant (docs/revoke.md has the keys). Never asks: needs --yes or --dry-run."`
	NoWait  bool   `long:"no-wait" description:"Do not wait for the proof; the running bot goes on by itself."`
	Why     string `long:"why" value-name:"TEXT" unquote:"false" description:"The reason, for the card and the audit log."`
	FromAWS bool   `long:"from-aws" description:"Without the database: find what to remove in AWS itself, on the cell or with --all."`
	Resume  string `long:"resume" value-name:"DIR" description:"Go on with a --from-aws that was interrupted; it names the directory."`
}

// legal says what is wrong with the way it was called.
func (c revokeCommand) legal() error {
	named := c.Args.What != "" || c.All || c.Resume != ""
	switch {
	case c.Args.What != "" && c.All:
		return usage("revoke takes the id of a grant, a cell, or --all: one of them")
	case c.Resume != "" && (!c.FromAWS || c.Args.What != "" || c.All || c.DryRun):
		return usage("--resume goes with --from-aws alone: breakglass revoke --from-aws --resume DIR")
	case !named && c.FromAWS:
		return usage("say which cell, or --all: breakglass revoke --from-aws --all")
	case !named:
		return usage("say which grant or cell, or --all: for example breakglass revoke BG-7. `breakglass status` lists what is open")
	case c.FromAWS && c.NoWait:
		return usage("--no-wait does not go with --from-aws: nobody would go on after this command")
	case c.NoWait && c.DryRun:
		return usage("--no-wait does not go with --dry-run, which waits for nothing")
	case c.JSON && !c.Yes && !c.DryRun:
		return usage("--json never asks: add --yes to do it, or --dry-run to see what would be done")
	default:
		return nil
	}
}

// closer ends access: through the running bot, or on the database itself.
type closer interface {
	// plan says what would be done.
	plan(ctx context.Context, ask revokeAsk) (revokePlan, error)
	// revoke commits the end of grants, and answers how they stand then.
	revoke(ctx context.Context, o revokeOrder) (revokePlan, error)
	// follow tells how closings go until all have ended, or the context has.
	follow(ctx context.Context, ids []string, told func(revokeGrant)) error
	// goesOn says in a sentence what happens with what is left.
	goesOn(left []revokeGrant) string
	close() error
}

// Run is `breakglass revoke`.
func (c revokeCommand) Run(env *environment) error {
	if err := c.legal(); err != nil {
		return err
	}
	cfg, err := loadConfig(env.config)
	if err != nil {
		return err
	}
	if c.FromAWS {
		return c.fromAWS(env, cfg)
	}
	ask := revokeAsk{what: c.Args.What, all: c.All}
	if c.DryRun {
		d, err := reach(env)
		if err != nil {
			return err
		}
		defer d.close() //nolint:errcheck // nothing was written
		var p revokePlan
		if err := d.get(env.ctx, "/v1/revoke", ask.query(), &p); err != nil {
			return err
		}
		return newTold(env, c.JSON).dryRun(p)
	}
	w, err := c.closer(env, cfg)
	if err != nil {
		return err
	}
	err = c.end(env, w, ask)
	return errors.Join(err, w.close())
}

// closer finds who can end access: the running bot, or else this process.
func (c revokeCommand) closer(env *environment, cfg Config) (closer, error) {
	file := cfg.Store.Path
	d, err := dial(env.ctx, file)
	if err == nil {
		return &byBot{desk: d, database: file}, nil
	}
	if !errors.Is(err, errNoBot) {
		return nil, err
	}
	if c.NoWait {
		return nil, errors.New("no bot is running, so nobody would close it after this command, and nothing was done. Leave --no-wait away: then it is closed here")
	}
	// Opening would make a new database, and there is nothing to end in one.
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, databaseTrouble(fmt.Errorf("open the database %s: there is no such file. Check store.path in the configuration, and the directory that this command runs in", file))
	}
	db, err := store.Open(file)
	if errors.Is(err, store.ErrHeld) {
		// A bot that has just started holds the file a moment before it answers.
		if d, err := dial(env.ctx, file); !errors.Is(err, errNoBot) {
			return &byBot{desk: d, database: file}, err
		}
		return nil, fmt.Errorf("another process has %s open, but no bot answers on %s. If the bot has just started, try again; else stop that process and try again. %s", file, socketPath(file), fromAWS)
	}
	if err != nil {
		return nil, databaseTrouble(err)
	}
	w, err := newByHand(env, cfg, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return w, nil
}

// end plans, asks, commits and follows.
func (c revokeCommand) end(env *environment, w closer, ask revokeAsk) error {
	p, err := w.plan(env.ctx, ask)
	if err != nil {
		return err
	}
	t := newTold(env, c.JSON)
	if err := t.plan(p); err != nil {
		return err
	}
	order := revokeOrder{Why: c.Why}
	var asked []string
	for _, g := range p.Grants {
		if g.Do != doNothing {
			order.IDs = append(order.IDs, g.ID)
		}
		if g.Do == doRevoke || g.Do == doWithdraw {
			asked = append(asked, g.ID)
		}
	}
	if len(order.IDs) == 0 {
		return t.results(p.Grants, "")
	}
	if len(asked) > 0 {
		if err := c.sure(env, "Revoke "+strings.Join(asked, ", ")+"?"); err != nil {
			return err
		}
		done, err := w.revoke(env.ctx, order)
		if err != nil {
			return err
		}
		p.Grants, p.Problems = merged(p.Grants, done.Grants), done.Problems
	}
	// What could not be committed is not waited for: it stays as it is.
	var ids []string
	for _, g := range p.Grants {
		if slices.Contains(order.IDs, g.ID) && (g.ended() || g.Do == doFinish) {
			ids = append(ids, g.ID)
			t.told(g)
		}
	}
	failed := problems(p.Problems)
	if c.NoWait {
		return errors.Join(failed, t.results(p.Grants, "closing"))
	}
	stop := t.watch()
	err = w.follow(env.ctx, ids, t.told)
	stop()
	now := t.now(p.Grants)
	err = errors.Join(failed, err, t.results(now, "not closed"))
	left := slices.DeleteFunc(slices.Clone(now), func(g revokeGrant) bool { return g.ended() || !slices.Contains(ids, g.ID) })
	if len(left) > 0 {
		err = errors.Join(err, unfinished(left, w.goesOn(left)))
	}
	return err
}

func problems(list []string) error {
	errs := make([]error, len(list))
	for i, p := range list {
		errs[i] = errors.New(p)
	}
	return errors.Join(errs...)
}

// merged are the grants of the plan as they stand now.
func merged(list, now []revokeGrant) []revokeGrant {
	out := slices.Clone(list)
	for i, g := range out {
		if k := slices.IndexFunc(now, func(n revokeGrant) bool { return n.ID == g.ID }); k >= 0 {
			out[i] = now[k]
		}
	}
	return out
}

// unfinished says what is left, and what to do about it.
func unfinished(left []revokeGrant, goesOn string) error {
	var b strings.Builder
	for i, g := range left {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s is not closed yet", g.name())
		sep, trusted := ": ", true
		for _, s := range g.Steps {
			if s.Step == grant.StepTrust && s.State == grant.Done {
				trusted = false
			}
			if s.State != grant.Done && s.Step != grant.StepProof {
				fmt.Fprintf(&b, "%s%s", sep, s.text())
				sep = "; "
			}
		}
		b.WriteString(".")
		if trusted && !g.EndsAt.IsZero() && g.EndsAt.After(time.Now()) {
			fmt.Fprintf(&b, " AWS lets nobody in by it after %s.", when(g.EndsAt))
		}
		if g.ByHand != "" {
			fmt.Fprintf(&b, "\nBy hand, as somebody who may change the role:\n%s", g.ByHand)
		}
	}
	fmt.Fprintf(&b, "\n%s", goesOn)
	return errors.New(b.String())
}

// errNoAnswer: the person at the terminal said anything but yes.
var errNoAnswer = errors.New("nothing was done: the answer was not yes")

// sure asks the person at the terminal.
func (c revokeCommand) sure(env *environment, question string) error {
	if c.Yes {
		return nil
	}
	if !isTerminal(os.Stdin) || isNull(os.Stdin) {
		return usage("there is no terminal to ask at, so nothing was done: add --yes to do it")
	}
	fmt.Fprintf(env.stderr, "\n%s Type yes: ", question)
	type answer struct {
		text string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		typed <- answer{text, err}
	}()
	select {
	case <-env.ctx.Done():
		fmt.Fprintln(env.stderr)
		return errors.New("nothing was done: it was interrupted before the answer")
	case a := <-typed:
		if strings.EqualFold(strings.TrimSpace(a.text), "yes") {
			return nil
		}
		return errNoAnswer
	}
}

// isNull reports whether a file is the null device, which looks like a terminal.
func isNull(f *os.File) bool {
	here, err := f.Stat()
	if err != nil {
		return true
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(here, null)
}

// ---- The two ways.

// byBot has the running bot do it.
type byBot struct {
	desk     *desk
	database string
}

// These bound how the running bot is followed.
const (
	followEvery = 500 * time.Millisecond
	// followPatience is how long the bot may be away: it may just be restarted.
	followPatience = 20 * time.Second
)

func (b *byBot) plan(ctx context.Context, ask revokeAsk) (p revokePlan, err error) {
	err = b.desk.get(ctx, "/v1/revoke", ask.query(), &p)
	return p, err
}

func (b *byBot) revoke(ctx context.Context, o revokeOrder) (p revokePlan, err error) {
	err = b.desk.post(ctx, "/v1/revoke", o, &p)
	if _, said := errors.AsType[*deskProblem](err); err != nil && !said {
		err = fmt.Errorf("the bot did not answer, so perhaps it was not revoked: %w. Look with `breakglass status`, and try again", err)
	}
	return p, err
}

func (b *byBot) follow(ctx context.Context, ids []string, told func(revokeGrant)) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	heard := time.Now()
	for {
		p, err := b.plan(ctx, revokeAsk{ids: ids})
		if err == nil {
			heard = time.Now()
			for _, g := range p.Grants {
				told(g)
			}
			if !slices.ContainsFunc(p.Grants, func(g revokeGrant) bool { return !g.ended() }) {
				return nil
			}
		}
		if ctx.Err() != nil {
			return b.lastLook(ctx, ids, told)
		}
		if time.Since(heard) > followPatience {
			return fmt.Errorf("the bot has not answered for %s (%w)", grant.FormatDuration(followPatience), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b.lastLook(ctx, ids, told)
		}
	}
}

// lastLook is for what an operator who stops waiting is told.
func (b *byBot) lastLook(ctx context.Context, ids []string, told func(revokeGrant)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if p, err := b.plan(ctx, revokeAsk{ids: ids}); err == nil {
		for _, g := range p.Grants {
			told(g)
		}
	}
	return nil
}

func (*byBot) goesOn(left []revokeGrant) string {
	return fmt.Sprintf("The running bot goes on by itself; `breakglass show %s` tells how far it is. If the bot has stopped, start it, or run this command again: then it is closed here.", left[0].ID)
}

func (b *byBot) close() error { return b.desk.close() }

// byHand does it in this process, on the database, and without Slack.
type byHand struct {
	env  *environment
	data deskData
	aws  bot.AWS
}

func newByHand(env *environment, cfg Config, db *store.Store) (*byHand, error) {
	hands, err := newHands(env, cfg)
	if err != nil {
		return nil, err
	}
	return &byHand{
		env: env, aws: hands,
		data: deskData{db: db, cells: cfg.cellNames(), log: slog.New(slog.DiscardHandler)},
	}, nil
}

// newHands are the bot's hands in AWS, and what a person must do is said at once.
func newHands(env *environment, cfg Config) (bot.AWS, error) {
	hands, err := actions.New(env.ctx, actions.Options{Cells: cfg.awsCells(), Vendor: cfg.Policy().Vendor})
	if err != nil {
		return nil, err
	}
	return &advised{AWS: hands, env: env, came: map[string]int{}}, nil
}

// advised says to the operator what to do about trouble: once, and not before it has
// come a second time, since most of it is over by then.
type advised struct {
	bot.AWS

	env  *environment
	mu   sync.Mutex
	came map[string]int
}

// Close closes, and speaks of trouble.
func (a *advised) Close(ctx context.Context, g grant.Grant, others []grant.Grant) grant.Round {
	r := a.AWS.Close(ctx, g, others)
	for _, o := range []grant.Outcome{r.Trust, r.Credentials, r.Sessions} {
		if o.Trouble == nil || ctx.Err() != nil {
			continue
		}
		text := fmt.Sprintf("%s: %s %s", g.Cell, said(o.Trouble.Text), said(o.Trouble.Remedy))
		key := g.ID.String() + text
		a.mu.Lock()
		if a.came[key]++; a.came[key] == 2 {
			fmt.Fprintln(a.env.stderr, text)
		}
		a.mu.Unlock()
	}
	return r
}

func (h *byHand) plan(_ context.Context, ask revokeAsk) (revokePlan, error) {
	p, err := h.data.toEnd(ask)
	if err != nil {
		return p, unslashed(err)
	}
	p.Beside = append(p.Beside, h.overdue(p)...)
	return p, nil
}

// overdue are the grants that should have ended while no bot ran.
func (h *byHand) overdue(p revokePlan) (beside []string) {
	live, err := h.data.db.Live()
	if err != nil {
		return nil
	}
	for _, g := range live {
		if slices.ContainsFunc(p.Grants, func(r revokeGrant) bool { return r.ID == g.ID.String() }) {
			continue
		}
		switch {
		case g.Phase == grant.Closing:
			beside = append(beside, fmt.Sprintf("%s on %s is closing, and with no bot running nobody goes on with it: `breakglass revoke %s` does.", g.ID, g.Cell, g.ID))
		case g.Phase == grant.Open && !g.End.After(time.Now()):
			beside = append(beside, fmt.Sprintf("%s on %s is past its end, and with no bot running nobody closes it: `breakglass revoke %s` does.", g.ID, g.Cell, g.ID))
		}
	}
	return beside
}

func (h *byHand) revoke(ctx context.Context, o revokeOrder) (revokePlan, error) {
	p, err := h.data.revoke(myself(ctx), o)
	return p, unslashed(err)
}

func (h *byHand) follow(ctx context.Context, ids []string, told func(revokeGrant)) error {
	list := make([]grant.ID, len(ids))
	for i, word := range ids {
		list[i], _ = grant.ParseID(word)
	}
	log := slog.New(slog.NewTextHandler(h.env.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	_, err := bot.Finish(ctx, bot.Options{Store: h.data.db, AWS: h.aws, Log: log}, list, func(g grant.Grant) {
		told(ending(g, nil))
	})
	return err
}

func (*byHand) goesOn(left []revokeGrant) string {
	return fmt.Sprintf("Nothing goes on by itself now. Run `breakglass revoke %s` again, or start the bot: either goes on where this has stopped.", left[0].ID)
}

func (h *byHand) close() error { return h.data.db.Close() }

// unslashed is a refusal as it is said at a terminal: without the slash of Slack.
func unslashed(err error) error {
	if r, ok := errors.AsType[*grant.Refusal](err); ok {
		return errors.New(strings.ReplaceAll(r.Text, "`/breakglass", "`breakglass"))
	}
	return err
}

// ---- What the operator reads.

// toldGrants says how grants end, each thing once.
type toldGrants struct {
	env  *environment
	json bool

	mu    sync.Mutex
	last  map[string]revokeGrant
	lines map[string]string // by grant and step
}

func newTold(env *environment, asJSON bool) *toldGrants {
	return &toldGrants{env: env, json: asJSON, last: map[string]revokeGrant{}, lines: map[string]string{}}
}

// name is the grant for people; of --from-aws, whose removals have numbers that say
// nothing to anybody, it is the trust.
func (r revokeGrant) name() string {
	switch {
	case r.away && r.WrittenFor != "":
		return fmt.Sprintf("%s: %s (written for %s)", r.Cell, said(string(r.Principal)), r.WrittenFor)
	case r.away:
		return fmt.Sprintf("%s: %s", r.Cell, said(string(r.Principal)))
	default:
		return r.ID
	}
}

func (s revokeStep) text() string {
	switch {
	case s.State == grant.Failing:
		return s.Step + " fails and is tried again: " + said(s.Note)
	case s.Note != "":
		return s.Step + ": " + said(s.Note)
	case s.State == grant.Done:
		return s.Step + ": done"
	case s.State == grant.Running:
		return s.Step + ": under way"
	default:
		return s.Step + ": not begun"
	}
}

// dryRun says what would be done, and ends there.
func (t *toldGrants) dryRun(p revokePlan) error {
	if err := t.plan(p); err != nil {
		return err
	}
	for i, g := range p.Grants {
		p.Grants[i].Result = "would " + g.Do
		if g.Do == doNothing {
			p.Grants[i].Result = "nothing to do"
		}
	}
	if t.json {
		return t.print(p.Grants)
	}
	if len(p.Grants) > 0 {
		fmt.Fprintln(t.env.stdout, "\nNothing was done: this was a dry run.")
	}
	return nil
}

// plan says what will be done.
func (t *toldGrants) plan(p revokePlan) error {
	s := newScreen(t.env)
	for i, g := range p.Grants {
		if i > 0 {
			s.line("")
		}
		s.revoking(g)
	}
	if len(p.Grants) > 0 && len(p.Beside) > 0 {
		s.line("")
	}
	for _, b := range p.Beside {
		s.line("%s", said(b))
	}
	if t.json {
		return nil
	}
	return s.show(t.env)
}

func (s *screen) revoking(g revokeGrant) {
	s.line("%s on %s (account %s, %s)", s.styled(g.ID, bold), said(string(g.Cell)), g.Account, g.Region)
	s.line("  %s", said(g.Standing))
	if g.Do == doNothing {
		s.line("  There is nothing to revoke.")
		return
	}
	if g.Do == doWithdraw {
		s.line("  It gives nobody access. Revoking withdraws the request.")
		return
	}
	role := g.Role
	if role == "" {
		role = "not known yet"
	}
	rows := [][]cell{{col("principal"), col(string(g.Principal))}, {col("role"), col(role)}}
	if !g.EndsAt.IsZero() {
		rows = append(rows, []cell{col("end"), col(when(g.EndsAt))})
	}
	rows = append(rows, []cell{col("inside"), col(g.inside())})
	for _, x := range g.Sessions {
		rows = append(rows, []cell{col(""), col(fmt.Sprintf("%s, %s, since %s", x.ID, path.Base(x.Owner), when(x.Since)))})
	}
	if len(g.Cuts) > 0 {
		rows = append(rows, []cell{col("also cut"), col("shells and credentials of " + strings.Join(g.Cuts, ", ") + ", on the same role: AWS cannot tell them apart. They may come in again until their own end")})
	}
	if g.Others != "" {
		rows = append(rows, []cell{col("also cut"), col(g.Others)})
	}
	s.table("  ", rows)
	switch {
	case g.Do == doFinish:
		s.line("  It goes on closing until that is proven.")
	case len(g.Keeps) > 0:
		s.line("  Its own statement is removed. %s keeps the same principal trusted, so credentials and shells stay.", strings.Join(g.Keeps, ", "))
	default:
		s.line("  Its trust is removed, every credential of the role issued until now is refused, its shells are ended; then AWS is watched for at least %s before it counts as closed.", grant.FormatDuration(time.Duration(g.WatchSeconds)*time.Second))
	}
}

// inside says who is known to be in.
func (r revokeGrant) inside() string {
	switch n := len(r.Sessions); {
	case r.SessionsAt.IsZero():
		return "not known: nobody has looked yet"
	case n == 0:
		return "no shell, when it was looked at last, " + exactly(r.SessionsAt)
	default:
		return fmt.Sprintf("%s, as of %s", count(uint64(n), "shell", "shells"), exactly(r.SessionsAt))
	}
}

// told says what is new about a grant, a line for each step that has changed.
func (t *toldGrants) told(g revokeGrant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, known := t.last[g.ID]
	if known {
		g = g.with(before)
	}
	t.last[g.ID] = g
	for _, s := range g.Steps {
		if s.State == grant.Waiting || s.Step == grant.StepProof {
			continue
		}
		if text := s.text(); t.lines[g.ID+s.Step] != text {
			t.lines[g.ID+s.Step] = text
			t.say(g, text)
		}
	}
	if g.ended() && (!known || before.Phase != g.Phase) && g.Do != "" {
		t.say(g, g.outcome())
	}
}

// with keeps of an older picture what the newer one does not show.
func (r revokeGrant) with(before revokeGrant) revokeGrant {
	if r.EndsAt.IsZero() {
		r.EndsAt = before.EndsAt
	}
	return r
}

func (t *toldGrants) say(g revokeGrant, text string) {
	if t.json {
		return
	}
	clear := ""
	if isTerminal(t.env.stdout) {
		clear = "\r\x1b[K"
	}
	fmt.Fprintf(t.env.stdout, "%s%s %s  %s\n", clear, time.Now().UTC().Format("15:04:05 UTC"), g.name(), text)
}

// outcome says how it ended.
func (r revokeGrant) outcome() string {
	p := r.Proof
	switch {
	case r.Phase == grant.Withdrawn:
		return "withdrawn: nobody was let in by it"
	case r.Phase != grant.Closed:
		return said(r.Standing)
	case p == nil:
		return "closed"
	case len(p.StillTrusted) > 0:
		return "closed, as far as it goes: its own statement is gone, and " + strings.Join(p.StillTrusted, ", ") + " keeps the same principal trusted"
	case p.NeverOpened:
		return "closed: it was never opened, and AWS shows that nothing of it is left"
	}
	shells := "no live shell"
	if n := len(p.SessionsEnded); n > 0 {
		shells += fmt.Sprintf(" (%d ended)", n)
	}
	issued := "no usable credentials"
	if !p.RefusedBefore.IsZero() {
		issued += " (all from before " + exactly(p.RefusedBefore) + " are refused)"
	}
	return fmt.Sprintf("closed and proven: no trust since %s, %s, %s; it took %s", exactly(p.TrustGoneAt), issued, shells, about(time.Duration(p.TookSeconds)*time.Second))
}

// watch tells a person at a terminal how long it will take.
func (t *toldGrants) watch() (stop func()) {
	return showProgress(t.env, func() string {
		t.mu.Lock()
		defer t.mu.Unlock()
		left, until := 0, time.Time{}
		for _, g := range t.last {
			if g.ended() {
				continue
			}
			left++
			if g.WatchedUntil.After(until) {
				until = g.WatchedUntil
			}
		}
		text := fmt.Sprintf("%d to go", left)
		if wait := time.Until(until); wait > 0 {
			text += fmt.Sprintf(", watching AWS for %s more", about(wait))
		}
		return text + " (Ctrl-C stops the waiting)"
	})
}

// now are the grants as they were heard of last.
func (t *toldGrants) now(list []revokeGrant) []revokeGrant {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(list)
	for i, g := range out {
		if n, ok := t.last[g.ID]; ok {
			out[i] = n
		}
	}
	return out
}

// results prints what has become of each, for programs.
func (t *toldGrants) results(list []revokeGrant, otherwise string) error {
	if !t.json {
		return nil
	}
	out := slices.Clone(list)
	for i, g := range out {
		switch {
		case g.Do == doNothing && g.Result == "" && !t.heard(g.ID):
			out[i].Result = "nothing to do"
		case g.ended():
			out[i].Result = string(g.Phase)
		default:
			out[i].Result = otherwise
		}
	}
	return t.print(out)
}

func (t *toldGrants) heard(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.last[id]
	return ok
}

func (t *toldGrants) print(list []revokeGrant) error {
	enc := json.NewEncoder(t.env.stdout)
	enc.SetEscapeHTML(false)
	for _, g := range list {
		if err := enc.Encode(g); err != nil {
			return err
		}
	}
	return nil
}
