package slacksim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is something that goes wrong with calls of the Web API, or with response_url's, which go by the
// method name "response_url".
type Fault struct {
	// Method is the method that fails; "" or "*" means any.
	Method string
	// When narrows it down to some calls. Nil means all.
	When func(Call) bool
	// Skip lets that many matching calls pass first.
	Skip int
	// Times is how often it happens. 0 means until it is removed.
	Times int
	// Delay is waited before anything is done, DelayAnswer after it was done.
	Delay, DelayAnswer time.Duration
	// Done has the call do its work and fail only then: for the caller the outcome is unknown.
	Done bool
	// Answer is what the caller gets. Nil means the usual answer: then the fault is only slow.
	Answer Answer
}

// Answer is a way to answer a call wrongly.
type Answer func(w http.ResponseWriter, r *http.Request) (status int, err string)

// Refuse answers ok:false with the given error.
func Refuse(code string) Answer {
	return func(w http.ResponseWriter, _ *http.Request) (int, string) {
		writeJSON(w, http.StatusOK, object{"ok": false, "error": code})
		return http.StatusOK, code
	}
}

// RefuseSilently answers ok:false without an error. slack-go takes it for success (misc.go,
// SlackResponse.Err).
func RefuseSilently() Answer {
	return func(w http.ResponseWriter, _ *http.Request) (int, string) {
		writeJSON(w, http.StatusOK, object{"ok": false})
		return http.StatusOK, ""
	}
}

// Status answers with an HTTP status and an HTML page, as Slack does when it is in trouble.
func Status(code int) Answer {
	return func(w http.ResponseWriter, _ *http.Request) (int, string) {
		writePage(w, code)
		return code, strconv.Itoa(code)
	}
}

// Page answers 200 with an HTML page instead of JSON.
func Page() Answer {
	return func(w http.ResponseWriter, _ *http.Request) (int, string) {
		writePage(w, http.StatusOK)
		return http.StatusOK, "html"
	}
}

// RateLimited answers 429 with a Retry-After header; without one if after is 0.
func RateLimited(after time.Duration) Answer {
	return func(w http.ResponseWriter, _ *http.Request) (int, string) {
		writeRateLimited(w, int(after.Seconds()))
		return http.StatusTooManyRequests, "ratelimited"
	}
}

// Drop closes the connection without an answer.
func Drop() Answer {
	return func(http.ResponseWriter, *http.Request) (int, string) {
		return 0, "dropped"
	}
}

// Hang says nothing until the caller gives up.
func Hang() Answer {
	return func(_ http.ResponseWriter, r *http.Request) (int, string) {
		<-r.Context().Done()
		return 0, "hung"
	}
}

type armed struct {
	Fault
	seen, used int
}

// Inject arms a fault and returns what removes it again. Of several that match a call, the oldest is used.
func (s *Slack) Inject(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &armed{Fault: f}
	s.faults = append(s.faults, a)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(b *armed) bool { return a == b })
	}
}

// ClearFaults removes every fault.
func (s *Slack) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.mishaps = nil, nil
}

// faultFor picks the fault that hits a call and counts its use. When is called without mu held.
func (s *Slack) faultFor(c Call) *Fault {
	s.mu.Lock()
	faults := slices.Clone(s.faults)
	s.mu.Unlock()
	for _, a := range faults {
		if a.Method != "" && a.Method != "*" && a.Method != c.Method {
			continue
		}
		if a.When != nil && !a.When(c) {
			continue
		}
		if f := s.use(a); f != nil {
			return f
		}
	}
	return nil
}

func (s *Slack) use(a *armed) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.faults, a) {
		return nil
	}
	a.seen++
	if a.seen <= a.Skip || a.Times > 0 && a.used >= a.Times {
		return nil
	}
	a.used++
	f := a.Fault
	return &f
}

// Call is one call of the Web API as it arrived. The token is left out.
type Call struct {
	Method string
	Args   map[string]string // arrays and objects as JSON
	Host   string
	At     time.Time
	Took   time.Duration // 0 while it is under way
	Status int           // 0 while it is under way, or if there was no answer
	Error  string        // what it was refused with
	Faulty bool          // an injected fault hit it
}

// Calls returns the calls so far of one method, or of all for "".
func (s *Slack) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			c.Args = maps.Clone(c.Args)
			out = append(out, c)
		}
	}
	return out
}

// record notes a call and returns its place in the log.
func (s *Slack) record(c Call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	s.tell()
	return len(s.calls) - 1
}

func (s *Slack) finish(i, status int, err string, faulty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.calls[i]
	c.Status, c.Error, c.Faulty = status, err, faulty
	c.Took = time.Since(c.At)
	s.tell()
}
