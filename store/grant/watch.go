package grant

import (
	"fmt"
	"slices"
	"time"
)

// WatchEvery is how often an open grant is looked at in AWS.
const WatchEvery = time.Minute

// UnloggedAfter is how long a session may go without its log stream before
// people are told: the agent creates the stream when the first output is
// uploaded.
const UnloggedAfter = 2 * time.Minute

// Sighting is what AWS shows of an open grant at one moment. What could not be
// read is left as it was seen last.
type Sighting struct {
	// Sessions are the live sessions of the role. SessionsRead is false where
	// they could not be listed.
	Sessions     []Session `json:"sessions,omitempty"`
	SessionsRead bool      `json:"sessions_read"`
	// Unlogged holds the ids of live sessions that have no log stream now;
	// NeverLogged those whose document is never logged (port forwarding, SSH).
	Unlogged    []string `json:"unlogged,omitempty"`
	NeverLogged []string `json:"never_logged,omitempty"`
	// Drift is what is not as it was opened, by a short stable name (statement,
	// hard stop, logging, permission), in a sentence each. Read names those that
	// could be judged at all; one that is read and not in Drift is as it should
	// be.
	Drift map[string]string `json:"drift,omitempty"`
	Read  []string          `json:"read,omitempty"`
	// Assumed are the times the role was assumed, as far as CloudTrail tells by
	// now; it is minutes late, and never complete.
	Assumed []Assumed `json:"assumed,omitempty"`
}

// Assumed is one AssumeRole of the grant's role, from CloudTrail.
type Assumed struct {
	EventID string    `json:"event_id"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`      // account or ARN of the caller
	Session string    `json:"session"` // RoleSessionName
	From    string    `json:"from"`    // source address
}

// Visit is one session, as it was seen while the grant was open.
type Visit struct {
	Session Session   `json:"session"`
	Seen    time.Time `json:"seen"`
	Gone    time.Time `json:"gone,omitzero"`
	// Unlogged and NeverLogged say what people were told about it.
	Unlogged    bool `json:"unlogged,omitempty"`
	NeverLogged bool `json:"never_logged,omitempty"`
}

// Watch is what is known about an open grant by looking.
type Watch struct {
	At      time.Time         `json:"at"`
	Visits  []Visit           `json:"visits,omitempty"`
	Drift   map[string]string `json:"drift,omitempty"` // as people were told
	Assumed []Assumed         `json:"assumed,omitempty"`
}

// mostVisits bounds what one grant remembers, and says.
const mostVisits = 100

// Names of messages about what was seen (Arg of DoSay), with the session's id,
// the drift's name and a count, or the event's id behind the colon.
const (
	SayCame        = "came"         // came:<session id>
	SayLeft        = "left"         // left:<session id>
	SayUnlogged    = "unlogged"     // unlogged:<session id>
	SayNeverLogged = "never_logged" // never_logged:<session id>
	SayDrift       = "drift"        // drift:<name>:<version of the grant>
	SayAssumed     = "assumed"      // assumed:<version of the grant>
	RemindUnused   = "unused"
)

// watched takes in a sighting: each thing is told once, and again only when it
// changes.
func (g *Grant) watched(s Sighting, now time.Time) []Effect {
	if g.Watch == nil {
		g.Watch = &Watch{}
	}
	w := g.Watch
	w.At = now
	effects := []Effect{{Kind: DoWatch, Due: now.Add(WatchEvery)}}
	say := func(format string, args ...any) {
		effects = append(effects, Effect{Kind: DoSay, Arg: fmt.Sprintf(format, args...), Due: now})
	}
	if s.SessionsRead {
		for _, live := range s.Sessions {
			i := slices.IndexFunc(w.Visits, func(v Visit) bool { return v.Session.ID == live.ID })
			if i < 0 {
				if len(w.Visits) >= mostVisits {
					continue
				}
				w.Visits = append(w.Visits, Visit{Session: live, Seen: now})
				i = len(w.Visits) - 1
				g.tell(now, Self(), "saw a session start: %s", live.ID)
				say("%s:%s", SayCame, live.ID)
			}
			v := &w.Visits[i]
			v.Gone = time.Time{}
			if slices.Contains(s.NeverLogged, live.ID) && !v.NeverLogged {
				v.NeverLogged = true
				g.tell(now, Self(), "saw a session that is never logged: %s", live.ID)
				say("%s:%s", SayNeverLogged, live.ID)
			}
			if slices.Contains(s.Unlogged, live.ID) && !v.Unlogged && !v.NeverLogged && !now.Before(v.Seen.Add(UnloggedAfter)) {
				v.Unlogged = true
				g.tell(now, Self(), "saw a session without a log: %s", live.ID)
				say("%s:%s", SayUnlogged, live.ID)
			}
		}
		for i := range w.Visits {
			v := &w.Visits[i]
			if v.Gone.IsZero() && !slices.ContainsFunc(s.Sessions, func(l Session) bool { return l.ID == v.Session.ID }) {
				v.Gone = now
				g.tell(now, Self(), "saw a session end: %s", v.Session.ID)
				say("%s:%s", SayLeft, v.Session.ID)
			}
		}
	}
	for _, name := range s.Read {
		was, is := w.Drift[name], s.Drift[name]
		switch {
		case was == is:
		case is == "":
			delete(w.Drift, name)
			g.tell(now, Self(), "saw that the %s is as it should be again", name)
		default:
			if w.Drift == nil {
				w.Drift = map[string]string{}
			}
			w.Drift[name] = is
			g.tell(now, Self(), "saw a change in AWS: %s", is)
			say("%s:%s:%d", SayDrift, name, g.Version+1)
		}
	}
	fresh := false
	for _, a := range s.Assumed {
		if len(w.Assumed) < mostVisits && !slices.ContainsFunc(w.Assumed, func(o Assumed) bool { return o.EventID == a.EventID }) {
			w.Assumed = append(w.Assumed, a)
			fresh = true
		}
	}
	if fresh {
		say("%s:%d", SayAssumed, g.Version+1)
	}
	return effects
}

// clone copies what watched changes in place.
func (w *Watch) clone() *Watch {
	if w == nil {
		return nil
	}
	c := *w
	c.Visits = slices.Clone(w.Visits)
	c.Assumed = slices.Clone(w.Assumed)
	if w.Drift != nil {
		c.Drift = make(map[string]string, len(w.Drift))
		for k, v := range w.Drift {
			c.Drift[k] = v
		}
	}
	return &c
}
