package slacksim

import (
	"slices"
	"time"
)

// DeliveryFault is something that goes wrong on the way between Slack and the app: with envelopes, or with
// the acks that come back. What goes wrong inside a connection is on Connection.
type DeliveryFault struct {
	// Kind is the kind of Interaction that is hit: slash_commands, block_actions, view_submission,
	// app_home_opened, …; "" means any.
	Kind string
	// Skip lets that many of them pass first.
	Skip int
	// Times is how often it happens. 0 means until it is removed.
	Times int
	// Delay has the envelope arrive so much later; what is sent meanwhile overtakes it. Slack's three
	// seconds begin before the delay. A connection that closes meanwhile takes the envelope with it.
	Delay time.Duration
	// Lose has the envelope never arrive, though Slack believes so.
	Lose bool
	// DelayAck and LoseAck do the same to the ack: the app believes that it has answered.
	DelayAck time.Duration
	LoseAck  bool
}

type armedDelivery struct {
	DeliveryFault
	seen, used int
}

// InjectDelivery arms a fault and returns what removes it again. Of several that match an envelope, the oldest
// is used. Every sending counts: a retry, a duplicate. ClearFaults removes these, too.
func (s *Slack) InjectDelivery(f DeliveryFault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &armedDelivery{DeliveryFault: f}
	s.mishaps = append(s.mishaps, a)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mishaps = slices.DeleteFunc(s.mishaps, func(b *armedDelivery) bool { return a == b })
	}
}

// mishap picks the fault that hits an envelope and counts its use. The caller holds mu.
func (s *Slack) mishap(e *envelope) DeliveryFault {
	for _, a := range s.mishaps {
		if a.Kind != "" && a.Kind != e.kind {
			continue
		}
		a.seen++
		if a.seen <= a.Skip || a.Times > 0 && a.used >= a.Times {
			continue
		}
		a.used++
		return a.DeliveryFault
	}
	return DeliveryFault{}
}

// send puts an envelope on the way over a connection, with whatever goes wrong there, and says whether Slack
// believes that it is on the way. The caller holds mu.
func (s *Slack) send(c *Connection, e *envelope) bool {
	e.mishap = s.mishap(e)
	switch {
	case e.mishap.Lose:
		return true
	case e.mishap.Delay > 0:
		s.later(e.mishap.Delay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			c.push(e.frame()) // If the connection has closed meanwhile, nobody takes it from there.
		})
		return true
	}
	return c.push(e.frame())
}
