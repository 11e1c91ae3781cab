package grant

import (
	"maps"
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
	Unlogged []string `json:"unlogged,omitempty"`
	// Logged holds the ids of live sessions that have one.
	Logged      []string `json:"logged,omitempty"`
	NeverLogged []string `json:"never_logged,omitempty"`
	// Drift is what is not as it was opened, by a short stable name (statement,
	// hard stop, logging, permission), in a sentence each. Read names those that
	// could be judged at all; one that is read and not in Drift is as it should
	// be; what is in Drift and not in Read is not believed.
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
	// Told is the version of the grant whose message told of it; set here.
	Told int `json:"told,omitempty"`
}

// Visit is one session, as it was seen while the grant was open.
type Visit struct {
	Session Session   `json:"session"`
	Seen    time.Time `json:"seen"`
	Gone    time.Time `json:"gone,omitzero"`
	// Back is when it was live again after it had been seen gone.
	Back time.Time `json:"back,omitzero"`
	// Unlogged and NeverLogged say what people were told about it. That a log
	// came later does not unsay that there was none.
	Unlogged    bool `json:"unlogged,omitempty"`
	NeverLogged bool `json:"never_logged,omitempty"`
	// LoggedAt is when the log was there after all.
	LoggedAt time.Time `json:"logged_at,omitzero"`
}

// Since is when the session began: as AWS says, where it says it, and otherwise
// when it was first seen.
func (v Visit) Since() time.Time {
	if s := v.Session.Started; !s.IsZero() && s.Before(v.Seen) {
		return s
	}
	return v.Seen
}

// Drift is one thing that is not as it was opened, as people were told.
type Drift struct {
	Text  string    `json:"text"`
	Since time.Time `json:"since"` // when it was seen first, in whatever words
	// Told is the version of the grant whose message told of it.
	Told int `json:"told"`
}

// Watch is what is known about an open grant by looking.
type Watch struct {
	At time.Time `json:"at"` // of the last look
	// SessionsAt is when the sessions could be listed last; zero: never. Until
	// then nothing is known about who came.
	SessionsAt time.Time        `json:"sessions_at,omitzero"`
	Visits     []Visit          `json:"visits,omitempty"`
	Forgotten  int              `json:"forgotten,omitempty"` // visits that ended and made room for others
	Beyond     int              `json:"beyond,omitempty"`    // live sessions at the last look that found no room
	Drift      map[string]Drift `json:"drift,omitempty"`
	Assumed    []Assumed        `json:"assumed,omitempty"`
	// AssumedMore says that there were more than are listed.
	AssumedMore bool `json:"assumed_more,omitempty"`
}

// Count is how many sessions are live, and how many have ended.
func (w *Watch) Count() (live, ended int) {
	if w == nil {
		return 0, 0
	}
	for _, v := range w.Visits {
		if v.Gone.IsZero() {
			live++
		} else {
			ended++
		}
	}
	return live + w.Beyond, ended + w.Forgotten
}

// Unlogged is how many live sessions are not logged, of which people were told.
func (w *Watch) Unlogged() (n int) {
	if w == nil {
		return 0
	}
	for _, v := range w.Visits {
		if v.Gone.IsZero() && (v.NeverLogged || v.Unlogged && v.LoggedAt.IsZero()) {
			n++
		}
	}
	return n
}

// What one grant remembers is bounded: whoever is inside may start sessions for
// as long as access lasts.
const (
	mostVisits  = 100
	mostAssumed = 100
	mostDrift   = 20
	// mostMoments is how much of the story may be told by looking; the rest of it
	// is kept for what people do.
	mostMoments = 150
	// mostTold is how many sessions one look tells of one by one. A flood of
	// messages would hold up those that matter.
	mostTold = 10
)

// Names of messages about what was seen (Arg of DoSay), with the session's id,
// the drift's name and a count, or the version of the grant behind the colon.
const (
	SayCame        = "came"         // came:<session id>
	SayLeft        = "left"         // left:<session id>
	SayUnlogged    = "unlogged"     // unlogged:<session id>
	SayNeverLogged = "never_logged" // never_logged:<session id>
	SayLogged      = "logged"       // logged:<session id>, after it was unlogged
	SaySessions    = "sessions"     // sessions:<version of the grant>, for too many at once
	SayDrift       = "drift"        // drift:<name>:<version of the grant>
	SayAssumed     = "assumed"      // assumed:<version of the grant>
	RemindUnused   = "unused"
)

// tidy makes a session safe to keep, and its id one that survives the disk: the
// id names what is owed.
func (s Session) tidy() Session {
	s.ID = tidyID(s.ID)
	s.Owner = Clean(s.Owner, 300)
	s.Target = Clean(s.Target, 64)
	s.Document = Clean(s.Document, 128)
	s.Status = Clean(s.Status, 32)
	s.Started = s.Started.UTC()
	return s
}

func tidyID(id string) string { return Clean(id, 128) }

// look is one sighting being taken in.
type look struct {
	g     *Grant
	w     *Watch
	now   time.Time
	moved []string // messages about sessions that start and end
	alarm []string // messages about sessions that leave no log
	rest  []string
	card  bool // what the card shows has changed
}

// watched takes in a sighting: each thing is told once, and again only when it
// changes.
func (g *Grant) watched(s Sighting, now time.Time) []Effect {
	if g.Watch == nil {
		g.Watch = &Watch{}
	}
	l := &look{g: g, w: g.Watch, now: now}
	l.w.At = now
	if s.SessionsRead {
		l.sessions(s)
	}
	l.drift(s)
	l.assumed(s)

	effects := []Effect{{Kind: DoWatch, Due: now.Add(WatchEvery)}}
	if l.card {
		effects = append(effects, card(now))
	}
	many := false
	if len(l.moved) > mostTold {
		l.moved, many = nil, true
	}
	if len(l.alarm) > mostTold {
		l.alarm, many = l.alarm[:mostTold], true
	}
	if many {
		l.moved = append(l.moved, l.versioned(SaySessions))
	}
	for _, name := range slices.Concat(l.moved, l.alarm, l.rest) {
		effects = append(effects, Effect{Kind: DoSay, Arg: name, Due: now})
	}
	return effects
}

func (l *look) versioned(name string) string { return l.g.versioned(name) }

func (l *look) tell(format string, args ...any) {
	if len(l.g.Story) < mostMoments {
		l.g.tell(l.now, Self(), format, args...)
	}
}

func (l *look) sessions(s Sighting) {
	w := l.w
	if w.SessionsAt.IsZero() {
		l.card = true
	}
	w.SessionsAt = l.now
	var live []Session
	seen := map[string]bool{}
	for _, x := range s.Sessions {
		if x = x.tidy(); x.ID != "" && !seen[x.ID] {
			seen[x.ID] = true
			live = append(live, x)
		}
	}
	// Who left goes first: it makes room, at the next look, for who comes.
	for i := range w.Visits {
		if v := &w.Visits[i]; v.Gone.IsZero() && !seen[v.Session.ID] {
			v.Gone = l.now
			l.card = true
			l.tell("saw a session end: %s", v.Session.ID)
			l.moved = append(l.moved, SayLeft+":"+v.Session.ID)
		}
	}
	unlogged, logged, never := tidyIDs(s.Unlogged), tidyIDs(s.Logged), tidyIDs(s.NeverLogged)
	beyond := 0
	for _, x := range live {
		v := l.visit(x)
		if v == nil {
			beyond++
			continue
		}
		id := x.ID
		if never[id] && !v.NeverLogged {
			v.NeverLogged = true
			l.tell("saw a session that is never logged: %s", id)
			l.alarm = append(l.alarm, SayNeverLogged+":"+id)
		}
		if unlogged[id] && !v.Unlogged && !v.NeverLogged && !l.now.Before(v.Since().Add(UnloggedAfter)) {
			v.Unlogged = true
			l.tell("saw a session without a log: %s", id)
			l.alarm = append(l.alarm, SayUnlogged+":"+id)
		}
		if logged[id] && v.Unlogged && v.LoggedAt.IsZero() {
			v.LoggedAt = l.now
			l.tell("saw the log of a session begin late: %s", id)
			l.alarm = append(l.alarm, SayLogged+":"+id)
		}
	}
	if beyond > 0 && w.Beyond == 0 {
		l.tell("saw more live sessions than can be followed one by one: %d", len(live))
		l.rest = append(l.rest, l.versioned(SaySessions))
	}
	l.card = l.card || beyond != w.Beyond
	w.Beyond = beyond
}

func tidyIDs(list []string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, id := range list {
		out[tidyID(id)] = true
	}
	return out
}

// visit answers the visit of a live session, which may be new or back; nil:
// there is no room for it.
func (l *look) visit(x Session) *Visit {
	w := l.w
	i := slices.IndexFunc(w.Visits, func(v Visit) bool { return v.Session.ID == x.ID })
	switch {
	case i >= 0:
		v := &w.Visits[i]
		v.Session = x
		if !v.Gone.IsZero() {
			// AWS's list had left it out, or it was resumed: whoever was told that it
			// is over must be told that it is not.
			v.Gone, v.Back = time.Time{}, l.now
			l.card = true
			l.tell("saw a session live again: %s", x.ID)
			l.moved = append(l.moved, SayCame+":"+x.ID)
		}
		return v
	case len(w.Visits) >= mostVisits:
		// The oldest that has ended makes room, unless its end is only being told.
		old := slices.IndexFunc(w.Visits, func(v Visit) bool { return !v.Gone.IsZero() && v.Gone.Before(l.now) })
		if old < 0 {
			return nil
		}
		w.Visits = slices.Delete(w.Visits, old, old+1)
		w.Forgotten++
	}
	w.Visits = append(w.Visits, Visit{Session: x, Seen: l.now})
	l.card = true
	l.tell("saw a session start: %s", x.ID)
	l.moved = append(l.moved, SayCame+":"+x.ID)
	return &w.Visits[len(w.Visits)-1]
}

func (l *look) drift(s Sighting) {
	w := l.w
	for _, raw := range s.Read {
		name := Clean(raw, 40)
		was, known := w.Drift[name]
		is := ""
		if text := s.Drift[raw]; text != "" {
			if is = Clean(text, MaxReason); is == "" {
				is = "The " + name + " is not as it was opened."
			}
		}
		switch {
		case name == "" || was.Text == is || (!known && len(w.Drift) >= mostDrift):
			continue
		case is == "":
			delete(w.Drift, name)
			l.tell("saw that the %s is as it should be again", name)
		default:
			if w.Drift == nil {
				w.Drift = map[string]Drift{}
			}
			d := Drift{Text: is, Since: l.now, Told: l.g.Version + 1}
			if known {
				d.Since = was.Since
			}
			w.Drift[name] = d
			l.tell("saw a change in AWS: %s", is)
			l.rest = append(l.rest, l.versioned(SayDrift+":"+name))
		}
		l.card = true
	}
}

func (l *look) assumed(s Sighting) {
	w, fresh := l.w, false
	for _, a := range s.Assumed {
		a = Assumed{
			EventID: tidyID(a.EventID), At: a.At.UTC(), By: Clean(a.By, 600), Session: Clean(a.Session, 100), From: Clean(a.From, 100),
		}
		known := slices.ContainsFunc(w.Assumed, func(o Assumed) bool {
			if a.EventID == "" || o.EventID == "" {
				o.Told = 0
				return a == o
			}
			return a.EventID == o.EventID
		})
		switch {
		case known:
		case len(w.Assumed) >= mostAssumed:
			fresh = fresh || !w.AssumedMore // told once; which they are is in CloudTrail
			w.AssumedMore = true
		default:
			a.Told = l.g.Version + 1
			w.Assumed = append(w.Assumed, a)
			fresh = true
		}
	}
	if fresh {
		l.tell("learned from CloudTrail that the role was assumed; %d times so far", len(w.Assumed))
		l.rest = append(l.rest, l.versioned(SayAssumed))
	}
}

// remindUnused says that nobody has come, once that is known: sessions that
// could not be listed lately may be there.
func (g *Grant) remindUnused(now time.Time) []Effect {
	again := func(at time.Time) []Effect {
		if !at.Before(g.End) {
			return nil
		}
		return []Effect{{Kind: DoRemind, Arg: RemindUnused, Due: at}}
	}
	if due := g.OpenedAt.Add(g.Terms.Reminders.Unused); now.Before(due) { // the clock was set back
		return again(due)
	}
	if w := g.Watch; w == nil || w.SessionsAt.IsZero() || now.Sub(w.SessionsAt) > 3*WatchEvery {
		return again(now.Add(WatchEvery))
	}
	if live, ended := g.Watch.Count(); live+ended > 0 {
		return nil
	}
	return []Effect{{Kind: DoSay, Arg: RemindUnused, Due: now, Once: true}}
}

// clone copies what watched changes in place.
func (w *Watch) clone() *Watch {
	if w == nil {
		return nil
	}
	c := *w
	c.Visits = slices.Clone(w.Visits)
	c.Assumed = slices.Clone(w.Assumed)
	c.Drift = maps.Clone(w.Drift)
	return &c
}
