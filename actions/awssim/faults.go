package awssim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Error is an answer of AWS that is not a success.
type Error struct {
	Status  int
	Code    string
	Message string
}

// Error returns code and message.
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// FaultKind says what goes wrong.
type FaultKind int

// The kinds of fault.
const (
	// Slow only adds the fault's latency.
	Slow FaultKind = iota
	// Throttle refuses with the protocol's throttling error.
	Throttle
	// Deny refuses with the protocol's access-denied error.
	Deny
	// ServerError answers 500.
	ServerError
	// DropBefore cuts the connection and does nothing.
	DropBefore
	// DropAfter carries the call out and cuts the connection instead of
	// answering. The client cannot tell it from DropBefore.
	DropAfter
	// Instead answers with the fault's Error and does nothing.
	Instead
)

// A Fault makes calls go wrong. Empty match fields match everything.
type Fault struct {
	Call    string // "iam:UpdateAssumeRolePolicy", "iam:*", "*:Describe*"
	Account string // of the caller
	Region  string
	Role    string // that the call names, in RoleName or at the end of RoleArn
	// From is the first matching call to suffer: 1, which is also what 0
	// means, is the next one.
	From int
	// Count is how many matching calls suffer; 0 is all of them.
	Count int

	Kind    FaultKind
	Latency time.Duration // before anything else, in addition to Knobs.Latency
	Error   *Error        // for Instead
}

type fault struct {
	Fault
	seen int
}

// Inject adds a fault and returns how to remove it. Where several match a
// call, latencies add up and the oldest one with a kind other than Slow counts.
func (w *World) Inject(f Fault) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	added := &fault{Fault: f}
	w.faults = append(w.faults, added)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.faults = slices.DeleteFunc(w.faults, func(other *fault) bool { return other == added })
	}
}

func (f *fault) matches(c Call) bool {
	return (f.Call == "" || wildcard(f.Call, c.Name())) &&
		(f.Account == "" || f.Account == c.Account) &&
		(f.Region == "" || f.Region == c.Region) &&
		(f.Role == "" || strings.EqualFold(f.Role, c.Role()))
}

// strike collects the faults that a call suffers.
func (w *World) strike(c Call) Fault {
	var out Fault
	for _, f := range w.faults {
		if !f.matches(c) {
			continue
		}
		f.seen++
		if first := max(f.From, 1); f.seen < first || f.Count > 0 && f.seen >= first+f.Count {
			continue
		}
		out.add(f.Fault)
	}
	return out
}

func (f *Fault) add(other Fault) {
	f.Latency += other.Latency
	if f.Kind == Slow {
		f.Kind, f.Error = other.Kind, other.Error
	}
}

// refusal is the answer of the fault kinds that answer instead of acting.
func (f *Fault) refusal(c *call) *Error {
	switch f.Kind {
	case Throttle:
		return throttled(c.Service)
	case Deny:
		return c.denied(c.action(), "*", implicitDeny)
	case ServerError:
		return serverError(c.service.protocol)
	case Instead:
		if f.Error == nil {
			return serverError(c.service.protocol)
		}
		return f.Error
	default:
		return nil
	}
}

func throttled(service string) *Error {
	switch service {
	case "ec2":
		return &Error{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}
	case "iam", "sts":
		return &Error{Status: http.StatusBadRequest, Code: "Throttling", Message: "Rate exceeded"}
	default:
		return &Error{Status: http.StatusBadRequest, Code: "ThrottlingException", Message: "Rate exceeded"}
	}
}

func serverError(p protocol) *Error {
	switch p {
	case ec2Protocol:
		return &Error{Status: http.StatusInternalServerError, Code: "InternalError", Message: "An internal error has occurred"}
	case queryProtocol:
		return &Error{Status: http.StatusInternalServerError, Code: "ServiceFailure", Message: "The request processing has failed because of an unknown error, exception or failure."}
	default:
		return &Error{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: "An error occurred on the server side."}
	}
}

type beforeHook struct {
	run func(context.Context, Call) *Fault
}

type afterHook struct {
	run func(context.Context, Call)
}

// Before runs a function ahead of every call that has a known operation and
// caller, with no lock held: it may use the World, change it, or wait. The
// fault that it returns, if any, strikes this one call; its match fields do not
// count. Hooks run in the order in which they were added.
func (w *World) Before(hook func(context.Context, Call) *Fault) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	added := &beforeHook{run: hook}
	w.before = append(slices.Clone(w.before), added)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.before = slices.DeleteFunc(slices.Clone(w.before), func(h *beforeHook) bool { return h == added })
	}
}

// After runs a function after every call, before the client hears of it, with
// no lock held.
func (w *World) After(hook func(context.Context, Call)) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	added := &afterHook{run: hook}
	w.after = append(slices.Clone(w.after), added)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.after = slices.DeleteFunc(slices.Clone(w.after), func(h *afterHook) bool { return h == added })
	}
}

// errDropped stands for a connection that was cut.
var errDropped = errors.New("connection dropped")

// wait spends a duration unless the client goes away first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
