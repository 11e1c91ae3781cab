package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// What --from-aws does is what Remove does in Slack, for all trust that is found,
// with a database of its own that lasts as long as the command: it holds nothing
// but the removals, so that they go through the very closing that everything else
// goes through, with its retries and its proof.

// awayName is the file of that database. It is never the name of a real one that
// somebody may point --resume at.
const awayName = "from-aws.db"

// cellLook is what a cell's role trusts now.
type cellLook struct {
	cell    grant.Cell
	survey  grant.Survey
	trusted []string // everybody, a line each; nil: could not be read
}

func (c revokeCommand) fromAWS(env *environment, cfg Config) error {
	hands, err := newHands(env, cfg)
	if err != nil {
		return err
	}
	a := &awayRun{cmd: c, env: env, policy: cfg.Policy(), aws: hands, told: newTold(env, c.JSON)}
	if c.Resume != "" {
		return a.resume()
	}
	cells := a.policy.Cells
	if c.Args.What != "" {
		cell, ok := a.policy.Cell(grant.CellName(c.Args.What))
		if !ok {
			return fmt.Errorf("there is no cell %q in the configuration, so nothing was done. --from-aws knows no ids, only cells: %s", said(c.Args.What), joined(cfg.cellNames()))
		}
		cells = []grant.Cell{cell}
	}
	a.warn(cfg.Store.Path)
	return a.run(cells)
}

func joined(names []grant.CellName) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}

// awayRun is one run of --from-aws.
type awayRun struct {
	cmd    revokeCommand
	env    *environment
	policy grant.Policy
	aws    bot.AWS
	told   *toldGrants
	dir    string
	db     *store.Store
}

// warn says what this means for a bot, or for its database.
func (a *awayRun) warn(database string) {
	instead := "revoke " + a.cmd.Args.What
	if a.cmd.All {
		instead = "revoke --all"
	}
	d, err := dial(a.env.ctx, database)
	switch {
	case err == nil:
		_ = d.close()
		fmt.Fprintf(a.env.stderr, "A bot is running on %s. Prefer `breakglass %s`, which goes through it and is in its audit log. What this command removes the bot takes for somebody else's change, and says so in Slack.\n", database, instead)
	case !errors.Is(err, errNoBot):
		fmt.Fprintf(a.env.stderr, "It cannot be told whether a bot is running: %v\n", err)
	default:
		if _, err := os.Lstat(database); err == nil {
			fmt.Fprintf(a.env.stderr, "The database %s is there and is left alone: what is removed now it goes on calling open until a bot looks. If it can be read, prefer `breakglass %s`.\n", database, instead)
		}
	}
}

// run looks at the cells, and removes what is there.
func (a *awayRun) run(cells []grant.Cell) error {
	looks := a.look(cells)
	if err := a.env.ctx.Err(); err != nil {
		return errors.New("nothing was done: it was interrupted while looking")
	}
	var unseen []error
	found := 0
	s := newScreen(a.env)
	for _, l := range looks {
		s.looked(l, a.policy.Vendor.Accounts)
		if t := l.survey.Trouble; t != nil {
			unseen = append(unseen, fmt.Errorf("%s could not be looked at: %s %s", l.cell.Name, said(t.Text), said(t.Remedy)))
		}
		found += len(l.survey.Trust)
	}
	if !a.cmd.JSON {
		if err := s.show(a.env); err != nil {
			return err
		}
	}
	switch {
	case found == 0:
		return errors.Join(unseen...)
	case a.cmd.DryRun:
		return errors.Join(append(unseen, a.dryRun(looks))...)
	}
	if err := a.cmd.sure(a.env, "Remove all of this?"); err != nil {
		return errors.Join(append(unseen, err)...)
	}
	if err := a.remove(looks); err != nil {
		return errors.Join(append(unseen, err)...)
	}
	return errors.Join(append(unseen, a.again(looks))...)
}

// looksAtOnce is how many cells are looked at side by side.
const looksAtOnce = 4

// look looks at each cell, patiently: it may be the only try that people have.
func (a *awayRun) look(cells []grant.Cell) []cellLook {
	stop := showProgress(a.env, func() string { return fmt.Sprintf("looking at %d cells", len(cells)) })
	defer stop()
	looks := make([]cellLook, len(cells))
	slots := make(chan struct{}, looksAtOnce)
	var wg sync.WaitGroup
	for i, cell := range cells {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			looks[i] = a.lookAt(cell)
		})
	}
	wg.Wait()
	return looks
}

func (a *awayRun) lookAt(cell grant.Cell) cellLook {
	ctx := a.env.ctx
	l := cellLook{cell: cell}
	for try := 1; ; try++ {
		l.survey = a.aws.Survey(ctx, cell.Name)
		if t := l.survey.Trouble; t == nil || t.Kind == grant.Refused || try == 4 || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(grant.Backoff(try)):
		case <-ctx.Done():
		}
	}
	if l.survey.Trouble == nil {
		l.trusted = a.aws.Check(ctx, grant.Grant{Cell: cell.Name, Account: cell.Account, Region: cell.Region}).Trusted
	}
	return l
}

// statement names a statement for people.
func statement(t grant.Trust) string {
	if t.Sid != "" {
		return "statement " + said(t.Sid)
	}
	return "a statement without a Sid"
}

func (s *screen) looked(l cellLook, vendor []grant.AccountID) {
	s.line("%s (account %s, %s)", s.styled(said(string(l.cell.Name)), bold), l.cell.Account, l.cell.Region)
	if t := l.survey.Trouble; t != nil {
		s.line("  It cannot be seen whom its role trusts: %s", said(t.Text))
		s.line("  %s", said(t.Remedy))
		return
	}
	if l.trusted != nil {
		s.line("  The role %s trusts now:", said(l.survey.RoleName))
		for _, line := range l.trusted {
			s.line("    %s", said(line))
			if strings.HasPrefix(line, "*") || strings.HasPrefix(line, "everybody ") {
				s.line("      That is anybody, SingleStore too, and is not removed here. By hand: narrow it (IAM console, role %s, Trust relationships).", said(l.survey.RoleName))
			}
		}
	}
	if len(l.survey.Trust) == 0 {
		accounts := make([]string, len(vendor))
		for i, a := range vendor {
			accounts[i] = string(a)
		}
		s.line("  Nothing to remove: the role %s trusts nobody of SingleStore's accounts (%s) by name, and has no statement of breakglass's.", said(l.survey.RoleName), strings.Join(accounts, ", "))
		return
	}
	s.line("  To be removed:")
	for _, t := range l.survey.Trust {
		end := "without end"
		if !t.End.IsZero() {
			end = "until " + when(t.End)
		}
		by := ""
		if t.ID != 0 {
			by = ", written for " + t.ID.String()
		}
		s.line("    %s, by %s%s, %s", said(t.Principal), statement(t), by, end)
	}
	s.line("  Then every credential of the role issued until now is refused, its shells are ended (AWS cannot tell whose they are), and AWS is watched until each of these has had %s to reach all of it.", grant.FormatDuration(grant.DefaultSettle))
}

// removals are what there is to remove, each once. The same role is cut once for
// each region that its cells are in: shells belong to a region.
func (a *awayRun) removals(looks []cellLook, by grant.Actor) ([]grant.Remove, error) {
	var out []grant.Remove
	now := time.Now().UTC()
	seen := map[string]bool{}
	for _, l := range looks {
		for _, t := range l.survey.Trust {
			key := l.survey.RoleARN + " " + l.cell.Region + " " + strings.ToLower(t.Principal)
			if t.ID != 0 {
				key += " " + t.Sid // a statement of ours goes whole, any other's principal wherever it stands
			}
			if seen[key] {
				continue
			}
			seen[key] = true
			x := grant.Stray{Trust: t, Token: rand.Text(), RoleARN: l.survey.RoleARN, RoleName: l.survey.RoleName, Seen: now, Told: now}
			ev, err := a.policy.Removal(by, l.cell.Name, x, rand.Text())
			if err != nil {
				return nil, unslashed(err)
			}
			out = append(out, ev)
		}
	}
	return out, nil
}

func (a *awayRun) dryRun(looks []cellLook) error {
	list, err := a.removals(looks, myself(a.env.ctx))
	if err != nil {
		return err
	}
	var lines []revokeGrant
	for _, ev := range list {
		r, err := a.removing(ev, awayIDs())
		if err != nil {
			return err
		}
		r.ID, r.Phase, r.Steps, r.Result = "", "", nil, "would remove"
		lines = append(lines, r)
	}
	if a.cmd.JSON {
		return a.told.print(lines)
	}
	_, err = fmt.Fprintln(a.env.stdout, "\nNothing was done: this was a dry run.")
	return err
}

// removing is a removal as it begins, under that id.
func (a *awayRun) removing(ev grant.Remove, id grant.ID) (revokeGrant, error) {
	g, _, err := grant.Grant{ID: id}.Apply(ev, time.Now())
	r := away(g)
	r.EndsAt = ev.Stray.End
	return r, err
}

// away is how a removal stands.
func away(g grant.Grant) revokeGrant {
	r := ending(g, nil)
	r.away, r.Standing = true, ""
	return r
}

// awayIDs is above the ids of any real grant on the roles: the removals are grants,
// too, and one must not carry the id of a grant that a bot is opening meanwhile.
func awayIDs() grant.ID {
	n, err := rand.Int(rand.Reader, big.NewInt(400_000))
	if err != nil {
		return 500_000
	}
	return grant.ID(500_000 + n.Uint64())
}

func (a *awayRun) remove(looks []cellLook) error {
	list, err := a.removals(looks, myself(a.env.ctx))
	if err != nil {
		return err
	}
	if err := a.begin(); err != nil {
		return err
	}
	now := time.Now().UTC()
	for _, l := range looks {
		err := a.db.Look(store.Looked{Cell: l.cell.Name, Survey: l.survey, Now: now, Token: rand.Text, Past: awayIDs()})
		if err != nil {
			return errors.Join(err, a.drop())
		}
	}
	var ids []grant.ID
	for _, ev := range list {
		res, err := a.db.Commit(store.Change{Event: ev, Now: now, Ref: rand.Text()[:8]})
		if err != nil {
			return errors.Join(fmt.Errorf("the removal of %s: %w", ev.Stray.Principal, unslashed(err)), a.drop())
		}
		r, err := a.removing(ev, res.Grant.ID)
		if err != nil {
			return errors.Join(err, a.drop())
		}
		a.told.told(r)
		ids = append(ids, res.Grant.ID)
	}
	return a.finish(ids)
}

// begin makes the database of this run, where nobody else can see it.
func (a *awayRun) begin() (err error) {
	if a.dir, err = os.MkdirTemp("", "breakglass-from-aws-"); err != nil { // with mode 0700
		return fmt.Errorf("make a place for the work (TMPDIR names another): %w", err)
	}
	if a.db, err = store.Open(filepath.Join(a.dir, awayName)); err != nil {
		return errors.Join(err, os.Remove(a.dir))
	}
	return nil
}

// drop deletes the database of this run.
func (a *awayRun) drop() error {
	return errors.Join(a.db.Close(), os.Remove(filepath.Join(a.dir, awayName)), os.Remove(a.dir))
}

// finish closes, tells, and deletes the database when all is proven.
func (a *awayRun) finish(ids []grant.ID) error {
	log := slog.New(slog.NewTextHandler(a.env.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	var list []revokeGrant
	for _, id := range ids {
		list = append(list, revokeGrant{ID: id.String()})
	}
	stop := a.told.watch()
	left, err := bot.Finish(a.env.ctx, bot.Options{Store: a.db, AWS: a.aws, Log: log}, ids, func(g grant.Grant) {
		a.told.told(away(g))
	})
	stop()
	list = a.told.now(list)
	err = errors.Join(err, a.told.results(list, "not closed"))
	if len(left) == 0 {
		return errors.Join(err, a.drop())
	}
	open := slices.DeleteFunc(list, revokeGrant.ended)
	return errors.Join(err, a.db.Close(), unfinished(open, "Nothing goes on by itself now. To go on: breakglass revoke --from-aws --resume "+a.dir))
}

// resume goes on where an earlier run was interrupted: the trust may be gone by
// now, and what is left is the proof.
func (a *awayRun) resume() (err error) {
	a.dir = a.cmd.Resume
	file := filepath.Join(a.dir, awayName)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s, so nothing was done: name the directory that the interrupted `breakglass revoke --from-aws` has named, or begin anew without --resume", file)
	}
	if a.db, err = store.Open(file); err != nil {
		return err
	}
	live, err := a.db.Live()
	if err != nil {
		return errors.Join(err, a.db.Close())
	}
	var ids []grant.ID
	for _, g := range live {
		if g.Removal {
			ids = append(ids, g.ID)
		}
	}
	return a.finish(ids)
}

// again looks once more when all is proven: somebody may have put it back.
func (a *awayRun) again(looks []cellLook) error {
	var cells []grant.Cell
	for _, l := range looks {
		if len(l.survey.Trust) > 0 {
			cells = append(cells, l.cell)
		}
	}
	var errs []error
	for _, l := range a.look(cells) {
		switch {
		case a.env.ctx.Err() != nil:
			return errors.New("all of it was removed and proven; the last look was interrupted")
		case l.survey.Trouble != nil:
			errs = append(errs, fmt.Errorf("all of it was removed and proven, but a last look at %s failed: %s", l.cell.Name, said(l.survey.Trouble.Text)))
		case len(l.survey.Trust) > 0:
			errs = append(errs, fmt.Errorf("all of it was removed and proven, and since then somebody has put trust into the role of %s: run the command again", l.cell.Name))
		case !a.cmd.JSON:
			fmt.Fprintf(a.env.stdout, "%s: the role %s trusts nobody of SingleStore's accounts by name now.\n", l.cell.Name, said(l.survey.RoleName))
		}
	}
	return errors.Join(errs...)
}
