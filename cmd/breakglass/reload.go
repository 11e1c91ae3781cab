package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// On SIGHUP the configuration is read again, and what it says of people, limits and
// reminders takes effect at once. Everything else is wiring, which a restart does
// better: it is said, and stays as it was.

// hangups tells of each SIGHUP from now on, whose default is to end the program.
func hangups() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1) // several before the file is read are one
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// reloader puts in force what can change while the bot runs.
type reloader struct {
	path    string
	inForce Config
	bot     *bot.Bot
	log     *slog.Logger
}

// run reads the file again at each signal, until the context ends.
func (r *reloader) run(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the file and checks it as at the start. A file with any problem
// changes nothing.
func (r *reloader) reload() {
	cfg, err := loadConfig(r.path)
	if err != nil {
		r.refuse(err)
		return
	}
	next, changes, restart := r.inForce.take(cfg)
	for _, key := range restart {
		r.log.Warn("a change of the configuration takes a restart; until then the old value is in force", "config", r.path, "key", key)
	}
	if len(changes) == 0 {
		r.log.Info("the configuration was read again, and nothing changes", "config", r.path, "digest", cfg.Digest, "restart", len(restart))
		return
	}
	ref := rand.Text()[:8]
	if err := r.bot.Reconfigure(next.circles(), next.Policy(), store.Reloaded{Digest: cfg.Digest, Changes: changes, Now: time.Now(), Ref: ref}); err != nil {
		r.log.Error("the configuration could not be reloaded; what was in force stays", "ref", ref, "config", r.path, "err", err)
		return
	}
	r.inForce = next
	for _, c := range changes {
		log := r.log.With("ref", ref, "key", c.Key)
		if c.From != "" || c.To != "" {
			log.Info("a change of the configuration is in force", "from", c.From, "to", c.To)
		} else {
			log.Info("a change of the configuration is in force", "added", c.Added, "removed", c.Removed)
		}
	}
	r.log.Info("the configuration was reloaded", "ref", ref, "config", r.path, "digest", cfg.Digest, "changed", len(changes), "restart", len(restart))
}

// refuse says everything that is wrong with the file.
func (r *reloader) refuse(err error) {
	problems, ok := errors.AsType[*ConfigError](err)
	if !ok {
		r.log.Error("the configuration could not be reloaded; what was in force stays", "config", r.path, "err", err)
		return
	}
	for i, p := range problems.Problems {
		if i == mostProblems {
			break // mend these first
		}
		r.log.Error("a problem of the configuration", "config", r.path, "line", p.Line, "key", p.Key, "why", p.Text, "remedy", p.Remedy)
	}
	r.log.Error("the configuration was not reloaded; what was in force stays", "config", r.path, "problems", len(problems.Problems))
}

// take answers the configuration with what other says of people, limits and
// reminders; what that changes; and the keys whose change takes a restart.
//
// A cell's approvals go with people.approvals: they are about who decides, and no part
// of how the cell is reached.
func (c Config) take(other Config) (next Config, changes []store.Setting, restart []string) {
	was, is := c.settings(), other.settings()
	for _, s := range is {
		i := slices.IndexFunc(was, func(o setting) bool { return o.key == s.key })
		switch {
		case i < 0:
			restart = append(restart, s.cell) // a cell that comes or goes is one difference, not ten
		case slices.Equal(was[i].values, s.values):
		case s.live:
			changes = append(changes, s.since(was[i]))
		default:
			restart = append(restart, s.key)
		}
	}
	for _, o := range was {
		if !slices.ContainsFunc(is, func(s setting) bool { return s.key == o.key }) {
			restart = append(restart, o.cell)
		}
	}
	restart = slices.Compact(restart)
	next = c
	next.Digest = other.Digest
	next.People, next.Limits, next.AWSEnforced, next.Reminders = other.People, other.Limits, other.AWSEnforced, other.Reminders
	next.Cells = slices.Clone(c.Cells)
	for i := range next.Cells {
		for _, o := range other.Cells {
			if o.Name == next.Cells[i].Name {
				next.Cells[i].Approvals = o.Approvals
			}
		}
	}
	return next, changes, restart
}

// setting is what one key of the configuration says.
type setting struct {
	key    string
	cell   string // the key of the cell that it is about, which may come or go
	values []string
	list   bool // any number of values, in any order
	live   bool // may change while the bot runs
}

// since says what has changed.
func (s setting) since(old setting) store.Setting {
	if !s.list {
		return store.Setting{Key: s.key, From: old.values[0], To: s.values[0]}
	}
	without := func(from, these []string) []string {
		return slices.DeleteFunc(slices.Clone(from), func(v string) bool { return slices.Contains(these, v) })
	}
	return store.Setting{Key: s.key, Added: without(s.values, old.values), Removed: without(old.values, s.values)}
}

// settings lists every key, in the order of the documentation.
func (c Config) settings() []setting {
	var out []setting
	one := func(live bool, key, value string) {
		out = append(out, setting{key: key, values: []string{value}, live: live})
	}
	const wired, live = false, true
	one(wired, "slack.channel", string(c.Slack.Channel))
	one(wired, "slack.team", c.Slack.Team)
	one(wired, "slack.api_url", c.Slack.APIURL)
	out = append(out, listed(wired, "singlestore.accounts", c.Vendor.Accounts), listed(wired, "singlestore.roles", c.Vendor.Roles))
	for _, m := range []struct {
		key string
		Members
	}{
		{"people.approvers", c.People.Approvers},
		{"people.requesters", c.People.Requesters},
		{"people.revokers", c.People.Revokers},
		{"people.emergency", c.People.Emergency},
	} {
		out = append(out, listed(live, m.key+".users", m.Users), listed(live, m.key+".groups", m.Groups))
	}
	one(live, "people.approvals", strconv.Itoa(c.People.Approvals))
	one(live, "limits.default", period(c.Limits.Default))
	one(live, "limits.max", period(c.Limits.Max))
	one(live, "limits.undecided", period(c.Limits.Undecided))
	one(live, "limits.aws_enforced", strconv.FormatBool(c.AWSEnforced))
	one(live, "reminders.undecided", period(c.Reminders.Undecided))
	one(live, "reminders.unsent", period(c.Reminders.Unsent))
	before := make([]string, len(c.Reminders.BeforeEnd))
	for i, d := range c.Reminders.BeforeEnd {
		before[i] = period(d)
	}
	out = append(out, listed(live, "reminders.before_end", before))
	one(live, "reminders.still_open", period(c.Reminders.StillOpen))
	one(live, "reminders.unused", period(c.Reminders.Unused))
	for _, cell := range c.Cells {
		out = append(out, cell.settings()...)
	}
	one(wired, "store.path", c.Store.Path)
	one(wired, "store.head_file", c.Store.HeadFile)
	one(wired, "listen", c.Listen)
	return out
}

// settings lists what is said of a cell.
func (c Cell) settings() []setting {
	at := fmt.Sprintf("cells[%s]", c.Name)
	var out []setting
	for _, s := range []struct{ key, value string }{
		{"account", string(c.Account)},
		{"region", c.Region},
		{"eks_cluster", c.EKSCluster},
		{"role", c.Role},
		{"log_group", c.LogGroup},
		{"instance", c.Instance},
		{"assume_role", string(c.AssumeRole)},
		{"external_id", c.ExternalID},
	} {
		out = append(out, setting{key: at + "." + s.key, values: []string{s.value}})
	}
	needed := "people.approvals"
	if c.Approvals > 0 {
		needed = strconv.Itoa(c.Approvals)
	}
	out = append(out,
		setting{key: at + ".approvals", values: []string{needed}, live: true},
		listed(false, at+".cloudtrail_regions", c.TrailRegions))
	for i := range out {
		out[i].cell = at
	}
	return out
}

// listed is a setting whose order says nothing.
func listed[T ~string](live bool, key string, values []T) setting {
	s := setting{key: key, list: true, live: live}
	for _, v := range values {
		s.values = append(s.values, string(v))
	}
	slices.Sort(s.values)
	return s
}

// period is a duration as people read it; zero turns a reminder off.
func period(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return grant.FormatDuration(d)
}
