package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// state reads the gauges at each scrape. It reads the grants that may have access,
// what is owed, and what is known of the cells: nothing that grows with the number
// of grants that have ended.
type state struct {
	db  *store.Store
	bot *bot.Bot
	log *slog.Logger

	build, ready, readable, writable, bytes, entries     *prometheus.Desc
	grants, overstay, stuck                              *prometheus.Desc
	owed, due, oldest, behind, posts                     *prometheus.Desc
	sockets, silence                                     *prometheus.Desc
	sessions, unlogged, drift, strays, blind, lookedLast *prometheus.Desc

	descs []*prometheus.Desc
}

// show adds the gauges to what /metrics shows.
func (m *metrics) show(db *store.Store, b *bot.Bot, log *slog.Logger) {
	s := &state{db: db, bot: b, log: log}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		m.note(name, "gauge", help, labels)
		d := prometheus.NewDesc(name, help, labels, nil)
		s.descs = append(s.descs, d)
		return d
	}
	s.build = gauge("breakglass_build_info", "Always 1; the labels say what runs.", "version", "commit", "goversion")
	s.ready = gauge("breakglass_ready", "1 while /readyz answers 200, otherwise 0.")
	s.grants = gauge("breakglass_grants", "Grants that have not ended, by phase.", "phase")
	s.overstay = gauge("breakglass_access_overstay_seconds", "For how long access has stood in AWS that should be over: the longest in the cell, 0 where there is none.", "cell")
	s.stuck = gauge("breakglass_closes_stuck", "Closings that have failed three times in a row or more.", "cell")
	s.owed = gauge("breakglass_effects_owed", "What is owed now or later, by kind.", "kind")
	s.due = gauge("breakglass_effects_due", "The part of it that is due, also while it is being worked on.", "kind")
	s.oldest = gauge("breakglass_effects_oldest_due_seconds", "For how long the oldest of what is due has been due; 0 where nothing is.", "kind")
	s.behind = gauge("breakglass_worker_behind_seconds", "For how long something has been due that nothing keeps from being done. Above 30 the bot is not ready.")
	s.posts = gauge("breakglass_slack_posts_queued", "Messages and cards that are due in Slack and do not stand there yet.")
	s.sockets = gauge("breakglass_slack_sockets", "Sockets on which Slack has said hello and was heard in the last 40 seconds; 2 when all is well.")
	s.silence = gauge("breakglass_slack_silence_seconds", "Seconds since anything, a ping mostly, came over any socket; not there before the first.")
	s.sessions = gauge("breakglass_sessions", "Shells that were live at the last look, in open grants.", "cell")
	s.unlogged = gauge("breakglass_sessions_unlogged", "The part of them that is not logged.", "cell")
	s.drift = gauge("breakglass_drift", "What is not as it was opened, in open grants: somebody has changed trust or logging.", "cell")
	s.strays = gauge("breakglass_strays", "Trust in SingleStore that no grant explains and that people were told of.", "cell")
	s.blind = gauge("breakglass_cell_blind", "1 while the cell's role cannot be looked at, otherwise 0.", "cell")
	s.lookedLast = gauge("breakglass_cell_looked_timestamp_seconds", "When the cell's role could be looked at last, as a Unix time; 0: never.", "cell")
	s.entries = gauge("breakglass_audit_entries", "Entries of the audit log. It never falls.")
	s.bytes = gauge("breakglass_store_bytes", "Size of the database.")
	s.readable = gauge("breakglass_store_readable", "1 where this scrape could read the database. Where it is 0 the gauges that come from there are missing.")
	s.writable = gauge("breakglass_store_writable", "0 from the first write that did not reach the disk until the next that does, otherwise 1.")
	m.registry.MustRegister(s)
}

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(to chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		g, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...)
		if err != nil {
			g = prometheus.NewInvalidMetric(d, err)
		}
		to <- g
	}
	version, commit, _ := built()
	set(s.build, 1, version, commit, runtime.Version())
	set(s.ready, one(s.bot.Ready() == nil))
	set(s.writable, one(s.db.Writable() == nil))
	up, silent := s.bot.Sockets()
	set(s.sockets, float64(up))
	if silent >= 0 {
		set(s.silence, silent.Seconds())
	}
	r, err := s.read(time.Now().UTC())
	set(s.readable, one(err == nil))
	if err != nil {
		s.log.Error("the metrics could not be read from the database", "err", err)
		return
	}
	set(s.behind, r.behind.Seconds())
	set(s.bytes, float64(r.Bytes))
	set(s.entries, float64(r.Entries))
	for _, p := range []grant.Phase{grant.Requested, grant.Opening, grant.Open, grant.Closing} {
		set(s.grants, float64(r.Live[p]), string(p))
	}
	queued := 0
	for _, k := range grant.EffectKinds {
		b := r.Owed[k]
		set(s.owed, float64(b.Owed), string(k))
		set(s.due, float64(b.Due), string(k))
		age := 0.0
		if !b.Oldest.IsZero() {
			age = r.now.Sub(b.Oldest).Seconds()
		}
		set(s.oldest, age, string(k))
		if k == grant.DoCard || k == grant.DoSay || k == grant.DoStray {
			queued += b.Due
		}
	}
	set(s.posts, float64(queued))
	for name, c := range r.cells {
		set(s.overstay, c.overstay.Seconds(), name)
		set(s.stuck, float64(c.stuck), name)
		set(s.sessions, float64(c.sessions), name)
		set(s.unlogged, float64(c.unlogged), name)
		set(s.drift, float64(c.drift), name)
		set(s.strays, float64(c.strays), name)
		set(s.blind, one(c.blind), name)
		set(s.lookedLast, c.looked, name)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// reading is what one scrape has read.
type reading struct {
	store.Figures
	now    time.Time
	behind time.Duration
	cells  map[string]*cellReading
}

type cellReading struct {
	overstay                                 time.Duration
	stuck, sessions, unlogged, drift, strays int
	blind                                    bool
	looked                                   float64
}

// read reads it all. It runs on a goroutine of the registry's, where a panic would
// take the whole bot down.
func (s *state) read(now time.Time) (r reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	r = reading{now: now, cells: map[string]*cellReading{}}
	if r.Figures, err = s.db.Figures(now); err != nil {
		return r, err
	}
	if r.behind, err = s.bot.Behind(); err != nil {
		return r, err
	}
	holding, err := s.db.Holding()
	if err != nil {
		return r, err
	}
	guards, err := s.db.Guards()
	if err != nil {
		return r, err
	}
	for _, g := range guards {
		r.cell(g.Cell).looks(g)
	}
	for _, g := range holding {
		r.cell(g.Cell).holds(g, now)
	}
	return r, nil
}

func (r *reading) cell(name grant.CellName) *cellReading {
	c := r.cells[string(name)]
	if c == nil {
		c = &cellReading{}
		r.cells[string(name)] = c
	}
	return c
}

// looks takes in what is known of the cell's role.
func (c *cellReading) looks(g grant.Guard) {
	c.blind = g.Blind != nil
	if !g.At.IsZero() {
		c.looked = float64(g.At.Unix())
	}
	c.strays = g.Beyond
	for _, x := range g.Strays {
		if !x.Told.IsZero() && x.Gone.IsZero() && x.By == 0 {
			c.strays++
		}
	}
}

// holds takes in a grant that may have access.
func (c *cellReading) holds(g grant.Grant, now time.Time) {
	trustGone := g.Ending != nil && !g.Ending.TrustGoneAt.IsZero()
	if since := owedSince(g); !since.IsZero() && !trustGone {
		c.overstay = max(c.overstay, now.Sub(since))
	}
	if g.Ending != nil && g.Ending.Stuck() {
		c.stuck++
	}
	if g.Phase != grant.Open || g.Watch == nil {
		return
	}
	live, _ := g.Watch.Count()
	c.sessions += live
	c.unlogged += g.Watch.Unlogged()
	c.drift += len(g.Watch.Drift)
}
