package main

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"breakglass/actions"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// metrics are what /metrics shows: counters of what has happened since the start,
// and gauges that are read from the database and the bot at each scrape, so that
// they are never other than what is true (metrics_state.go). docs/metrics.md has
// them all; a test holds it to this file.
//
// The values of labels are of few kinds: phases, outcomes, the names of calls, and
// the cells of the configuration. No person, grant, ARN or text of anybody's is one.
type metrics struct {
	registry *prometheus.Registry
	book     []described

	transitions, refusals, findings *prometheus.CounterVec
	openSeconds, closeSeconds       prometheus.Histogram
	trustSeconds                    prometheus.Histogram
	writeSeconds                    prometheus.Histogram
	writeFailures, acksLate         prometheus.Counter
	envelopes, slackCalls, awsCalls *prometheus.CounterVec
	ackSeconds, slackSeconds        prometheus.Histogram
	awsSeconds                      *prometheus.HistogramVec
}

// described is a metric as its documentation has it.
type described struct {
	name, kind, help string
	labels           []string
}

// lateAck is when Slack gives up waiting for an acknowledgement (docs.slack.dev,
// "Handling user interaction").
const lateAck = 3 * time.Second

// newMetrics makes the counters, for the cells of the configuration.
func newMetrics(cells []grant.CellName) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	m.transitions = m.counters("breakglass_transitions_total", "Grants that went from one phase to another.", "from", "to")
	m.openSeconds = m.histogram("breakglass_open_seconds", "Seconds from the deciding approval until access was open.",
		.25, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
	m.trustSeconds = m.histogram("breakglass_trust_removal_seconds", "Seconds from the revocation or the end until AWS showed no trust any more. Counted when the closing is proven.",
		.1, .25, .5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
	m.closeSeconds = m.histogram("breakglass_close_seconds", "Seconds from the revocation or the end until the closing was proven. The proof watches for 60 seconds after the trust is gone.",
		1, 10, 60, 65, 70, 80, 90, 120, 180, 300, 600, 1800, 3600)
	m.refusals = m.counters("breakglass_refusals_total", "Requests and clicks that were refused, by reason.", "code")
	m.findings = m.counters("breakglass_findings_total", "What people were told of a cell: stray is trust that no grant explains, blind that its role cannot be looked at.", "cell", "kind")
	m.writeSeconds = m.histogram("breakglass_store_write_seconds", "Seconds that a write to the database took, the wait for others included.",
		.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5)
	m.writeFailures = m.counter("breakglass_store_write_failures_total", "Writes that did not reach the disk.")
	m.envelopes = m.counters("breakglass_envelopes_total", "What Slack has delivered, by kind.", "kind")
	m.ackSeconds = m.histogram("breakglass_ack_seconds", "Seconds from the arrival of an envelope until its acknowledgement was handed to the socket, with the commit on disk in between.",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3)
	m.acksLate = m.counter("breakglass_acks_late_total", "Envelopes that were acknowledged after Slack's three seconds, or not at all: somebody was told that it failed.")
	m.slackCalls = m.counters("breakglass_slack_calls_total", "Calls of Slack's Web API and of response URLs, by what became of them.", "method", "outcome")
	m.slackSeconds = m.histogram("breakglass_slack_call_seconds", "Seconds that a call of Slack took.",
		.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15)
	m.awsCalls = m.counters("breakglass_aws_calls_total", "Calls of AWS with all their attempts, by what became of them.", "service", "operation", "outcome")
	m.awsSeconds = m.histograms("breakglass_aws_call_seconds", "Seconds that a call of AWS took, with all its attempts.",
		[]float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25}, "service", "operation")

	// A counter that is there from the start shows its first step as an increase.
	for _, from := range grant.Phases {
		for _, to := range grant.Phases {
			if grant.MayLead(from, to) {
				m.transitions.WithLabelValues(phaseLabel(from), phaseLabel(to))
			}
		}
	}
	for _, code := range grant.Codes {
		m.refusals.WithLabelValues(string(code))
	}
	for _, cell := range cells {
		m.findings.WithLabelValues(string(cell), string(store.KindStray))
		m.findings.WithLabelValues(string(cell), string(store.KindBlind))
	}
	for _, kind := range bot.EnvelopeKinds {
		m.envelopes.WithLabelValues(kind)
	}
	return m
}

// These make a metric, register it, and note it for the documentation.

func (m *metrics) note(name, kind, help string, labels []string) {
	m.book = append(m.book, described{name, kind, help, labels})
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	m.note(name, "counter", help, nil)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	m.note(name, "counter", help, labels)
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *metrics) histogram(name, help string, buckets ...float64) prometheus.Histogram {
	m.note(name, "histogram", help, nil)
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func (m *metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	m.note(name, "histogram", help, labels)
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func phaseLabel(p grant.Phase) string {
	if p == grant.None {
		return "none"
	}
	return string(p)
}

// ofStore is what the store tells.
func (m *metrics) ofStore() store.Observer {
	return store.Observer{
		Wrote: func(took time.Duration, err error) {
			m.writeSeconds.Observe(took.Seconds())
			if err != nil {
				m.writeFailures.Inc()
			}
		},
		Moved: m.moved,
		Told: func(cell grant.CellName, kind grant.Kind) {
			m.findings.WithLabelValues(string(cell), string(kind)).Inc()
		},
	}
}

func (m *metrics) moved(from grant.Phase, g grant.Grant) {
	m.transitions.WithLabelValues(phaseLabel(from), phaseLabel(g.Phase)).Inc()
	switch {
	case from == grant.Opening && g.Phase == grant.Open:
		m.openSeconds.Observe(g.OpenedAt.Sub(g.DecidedAt).Seconds())
	case from == grant.Closing && g.Phase == grant.Closed && g.Ending != nil:
		since := owedSince(g)
		m.trustSeconds.Observe(max(g.Ending.TrustGoneAt.Sub(since), 0).Seconds())
		m.closeSeconds.Observe(g.ClosedAt.Sub(since).Seconds())
	}
}

// owedSince is since when the access of a grant should be over: its end, or when it
// was revoked before that. Zero: it may still be there.
func owedSince(g grant.Grant) time.Time {
	if g.Ending == nil {
		return g.End
	}
	if !g.End.IsZero() && g.End.Before(g.Ending.Since) {
		return g.End
	}
	return g.Ending.Since
}

// ofBot is what the bot tells.
func (m *metrics) ofBot() bot.Observer {
	return bot.Observer{
		Envelope: func(kind string, acked bool, took time.Duration) {
			m.envelopes.WithLabelValues(kind).Inc()
			if acked {
				m.ackSeconds.Observe(took.Seconds())
			}
			if !acked || took > lateAck {
				m.acksLate.Inc()
			}
		},
		Refused: func(code grant.Code) { m.refusals.WithLabelValues(string(code)).Inc() },
		Called: func(method, outcome string, took time.Duration) {
			m.slackCalls.WithLabelValues(method, outcome).Inc()
			m.slackSeconds.Observe(took.Seconds())
		},
	}
}

// ofAWS is what the actions tell.
func (m *metrics) ofAWS(c actions.Call) {
	m.awsCalls.WithLabelValues(c.Service, c.Operation, string(c.Outcome)).Inc()
	m.awsSeconds.WithLabelValues(c.Service, c.Operation).Observe(c.Took.Seconds())
}

// serve answers a scrape in Prometheus's text format, which every scraper reads.
// promhttp would do it as well, and bring two compressions and more.
func (m *metrics) serve(log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		families, err := m.registry.Gather()
		if err != nil {
			// What could be gathered is shown all the same: an alert must not fall
			// silent because of something else.
			log.ErrorContext(r.Context(), "a metric could not be read", "err", err)
		}
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		enc := expfmt.NewEncoder(w, format)
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				return // whoever scraped has gone
			}
		}
	}
}
