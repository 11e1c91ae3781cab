package awssim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// historyKept is how long ended sessions are listed.
const historyKept = 30 * 24 * time.Hour

// A session is one Session Manager session.
type session struct {
	region   *Region
	id       string
	target   string
	document string
	reason   string
	owner    string // the ARN of the role session or user
	key      *accessKey
	started  time.Time

	disconnected bool
	ending       bool
	ended        time.Time // once ending
	message      string    // of an agent that refused the session
	limit        time.Time // set by maxSessionDuration
	longest      string    // maxSessionDuration as it stood
	idle         time.Duration
	used         time.Time // last time somebody typed
	opened       time.Time // when the data channel was last opened

	log sessionLog
}

// A Session is one session as a test sees it.
type Session struct {
	ID        string
	Target    string
	Document  string
	Reason    string
	Owner     string
	Status    string // Connected, Disconnected, Terminating or Terminated
	Started   time.Time
	Ended     time.Time // zero while it lives
	Message   string    // the agent's, where it refused the session
	LogGroup  string    // where a log stream of the session's name is, or ""
	LogReason string    // why there is no log stream, or ""
}

// Sessions returns all sessions of the region, oldest first.
func (r *Region) Sessions() []Session {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	now := time.Now()
	r.settle(now)
	var out []Session
	for _, s := range r.sessions {
		info := Session{
			ID: s.id, Target: s.target, Document: s.document, Reason: s.reason, Owner: s.owner,
			Status: s.status(now), Started: s.started, Message: s.message, LogReason: s.log.reason,
		}
		if s.ending {
			info.Ended = s.ended
		}
		if s.log.stream != nil {
			info.LogGroup = s.log.group.name
		}
		out = append(out, info)
	}
	return out
}

func (r *Region) findSession(id string) *session {
	at := slices.IndexFunc(r.sessions, func(s *session) bool { return s.id == id })
	if at < 0 {
		return nil
	}
	return r.sessions[at]
}

// settle brings the sessions up to date: limits that have passed, logs that are
// uploaded at the end.
func (r *Region) settle(now time.Time) {
	for _, s := range r.sessions {
		s.settle(now)
	}
}

func (s *session) settle(now time.Time) {
	if !s.ending {
		if !s.limit.IsZero() && !now.Before(s.limit) {
			s.end(s.limit)
		} else if idleEnd := s.used.Add(s.idle); s.region.account.w.knobs.IdleTimeout && s.idle > 0 && !now.Before(idleEnd) {
			s.end(idleEnd)
		}
	}
	if s.ending && !now.Before(s.ended) {
		s.log.close(s, now)
	}
}

// end makes the session end at a time, for good.
func (s *session) end(at time.Time) {
	s.ending, s.ended = true, at
}

func (s *session) over(now time.Time) bool { return s.ending && !now.Before(s.ended) }

func (s *session) status(now time.Time) string {
	switch {
	case s.over(now):
		return "Terminated"
	case s.ending:
		return "Terminating"
	case s.disconnected:
		return "Disconnected"
	default:
		return "Connected"
	}
}

func (s *session) arn() string {
	return "arn:" + s.region.account.partition + ":ssm:" + s.region.name + ":" + s.region.account.id + ":session/" + s.id
}

// authorizeSession checks a permission on a session, with the tags that
// Session Manager puts on it.
func (c *call) authorizeSession() *Error {
	rc := c.requestKeys()
	if s := c.region.findSession(c.Params["SessionId"]); s != nil {
		for _, prefix := range []string{"ssm:resourceTag/", "aws:ResourceTag/"} {
			rc.set(prefix+"aws:ssmmessages:session-id", s.key.uniqueID())
			rc.set(prefix+"aws:ssmmessages:target-id", s.target)
		}
	}
	arn := "arn:" + c.account.partition + ":ssm:" + c.region.name + ":" + c.account.id + ":session/" + c.Params["SessionId"]
	return c.authorize(c.action(), arn, rc)
}

func noSession() *Error {
	return &Error{Status: http.StatusBadRequest, Code: "DoesNotExistException", Message: "Session does not exist."}
}

// sessionFilterKeys are the members of SessionFilterKey, and how they compare.
var sessionFilterKeys = map[string]func(s *session, value string, now time.Time) bool{
	"Target":     func(s *session, v string, _ time.Time) bool { return s.target == v },
	"Owner":      func(s *session, v string, _ time.Time) bool { return s.owner == v },
	"Status":     func(s *session, v string, now time.Time) bool { return s.status(now) == v },
	"SessionId":  func(s *session, v string, _ time.Time) bool { return s.id == v },
	"AccessType": func(_ *session, v string, _ time.Time) bool { return v == "Standard" },
	"InvokedAfter": func(s *session, v string, _ time.Time) bool {
		t, ok := parseDate(v)
		return ok && s.started.After(t)
	},
	"InvokedBefore": func(s *session, v string, _ time.Time) bool {
		t, ok := parseDate(v)
		return ok && s.started.Before(t)
	},
}

func describeSessions(c *call) (any, *Error) {
	var in struct {
		State      string
		Filters    []jsonFilter
		MaxResults *int
		NextToken  string
	}
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if in.State != "Active" && in.State != "History" {
		return nil, c.invalid("1 validation error detected: Value '" + in.State + "' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [Active, History]")
	}
	if in.Filters != nil && (len(in.Filters) < 1 || len(in.Filters) > 6) {
		return nil, c.invalid("1 validation error detected: Value at 'filters' failed to satisfy constraint: Member must have length from 1 to 6")
	}
	size, err := c.size(in.MaxResults, 200, 1, 200)
	if err != nil {
		return nil, err
	}
	for _, f := range in.Filters {
		// The wire names of this one are lower case.
		if _, known := sessionFilterKeys[f.text("key")]; !known || f.text("value") == "" {
			return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidFilterKey", Message: "The specified key isn't valid."}
		}
	}
	c.region.settle(c.now)
	var all []object
	for _, s := range slices.Backward(c.region.sessions) {
		if s.over(c.now) != (in.State == "History") || s.over(c.now) && c.now.Sub(s.ended) > historyKept {
			continue
		}
		if !slices.ContainsFunc(in.Filters, func(f jsonFilter) bool {
			return !sessionFilterKeys[f.text("key")](s, f.text("value"), c.now)
		}) {
			all = append(all, s.describe(c.now))
		}
	}
	return c.paged("Sessions", all, in.NextToken, size)
}

func (s *session) describe(now time.Time) object {
	out := object{
		"SessionId": s.id, "Target": s.target, "Status": s.status(now), "StartDate": epoch(s.started),
		"DocumentName": s.document, "Owner": s.owner, "AccessType": "Standard",
		"OutputUrl": object{},
	}
	if s.reason != "" {
		out["Reason"] = s.reason
	}
	if s.longest != "" {
		out["MaxSessionDuration"] = s.longest
	}
	if s.over(now) {
		out["EndDate"] = epoch(s.ended)
	}
	return out
}

func terminateSession(c *call) (any, *Error) {
	if err := c.authorizeSession(); err != nil {
		return nil, err
	}
	s := c.region.findSession(c.Params["SessionId"])
	if s == nil {
		return nil, noSession()
	}
	s.settle(c.now)
	if s.over(c.now) {
		return nil, c.invalid("Session is not in a valid state")
	}
	if !s.ending && !c.w.knobs.TerminateIgnored {
		s.end(c.now.Add(c.w.knobs.TerminateDelay))
	}
	s.settle(c.now)
	return object{"SessionId": s.id}, nil
}

func resumeSession(c *call) (any, *Error) {
	if err := c.authorizeSession(); err != nil {
		return nil, err
	}
	s := c.region.findSession(c.Params["SessionId"])
	if s == nil {
		return nil, noSession()
	}
	s.settle(c.now)
	if s.ending {
		return nil, c.invalid("Session is not in a valid state")
	}
	s.disconnected = false
	s.opened = c.now
	return s.opening(), nil
}

// opening is what a client needs to open the data channel.
func (s *session) opening() object {
	return object{
		"SessionId":  s.id,
		"TokenValue": "AAEAA" + s.region.account.w.id(43),
		"StreamUrl":  "wss://ssmmessages." + s.region.name + ".amazonaws.com/v1/data-channel/" + s.id + "?role=publish_subscribe",
	}
}

func startSession(c *call) (any, *Error) {
	var in struct{ Target, DocumentName, Reason string }
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if in.Target == "" {
		return nil, c.invalid("1 validation error detected: Value at 'target' failed to satisfy constraint: Member must not be null")
	}
	if err := c.authorizeStart(in.Target, in.DocumentName); err != nil {
		return nil, err
	}
	d := c.region.findDocument(in.DocumentName)
	switch {
	case in.DocumentName == "":
		in.DocumentName = PreferencesDocument
		d = c.region.documents[in.DocumentName]
	case d == nil || d.kind != "Session":
		return nil, noDocument(in.DocumentName)
	}
	i := c.region.instance(in.Target)
	if i == nil || !i.connected(c.now) {
		return nil, &Error{Status: http.StatusBadRequest, Code: "TargetNotConnected", Message: in.Target + " is not connected."}
	}
	name := c.key.session
	if c.key.user != nil {
		name = c.key.user.name
	}
	s := &session{
		region: c.region, id: name + "-" + strings.ToLower(c.w.id(26)), target: in.Target,
		document: in.DocumentName, reason: in.Reason, owner: c.key.arn(), key: c.key,
		started: c.now, used: c.now, opened: c.now,
	}
	c.region.sessions = append(c.region.sessions, s)
	c.trailed.response = object{"sessionId": s.id}
	s.begin(i, d, c.now)
	return s.opening(), nil
}

// authorizeStart checks ssm:StartSession on the instance, and on the document
// where one is named. Without a name the document is checked only if the policy
// asks for it with ssm:SessionDocumentAccessCheck.
func (c *call) authorizeStart(target, documentName string) *Error {
	rc := c.requestKeys()
	arn := "arn:" + c.account.partition + ":ec2:" + c.region.name + ":" + c.account.id + ":instance/" + target
	if i := c.region.instance(target); i != nil {
		for _, t := range i.tags {
			rc.set("ssm:resourceTag/"+t.key, t.value)
			rc.set("aws:ResourceTag/"+t.key, t.value)
		}
	}
	if documentName == "" {
		rc.set("ssm:SessionDocumentAccessCheck", "false")
		v := c.w.may(c.key, c.action(), arn, rc, c.now)
		if v == allowed {
			return nil
		}
		if v == explicitDeny {
			return c.denied(c.action(), arn, v)
		}
		documentName = PreferencesDocument
	}
	rc.set("ssm:SessionDocumentAccessCheck", "true")
	if err := c.authorize(c.action(), arn, rc); err != nil {
		return err
	}
	return c.authorize(c.action(), c.region.documentARN(documentName), rc)
}

// preferences are what the agent reads from a Session document.
type preferences struct {
	sessionType string
	group       string
	encrypted   bool
	streaming   bool
	idle        time.Duration
	longest     string
	readable    bool
}

// readPreferences reads the version that is in use, as the agent does. Without
// a document there are only defaults.
func (d *document) readPreferences(now time.Time) preferences {
	p := preferences{sessionType: "Standard_Stream", idle: 20 * time.Minute, readable: true}
	if d == nil {
		return p
	}
	v, ok := d.inUse(now)
	if !ok {
		return p
	}
	tree, err := v.tree()
	if err != nil {
		p.readable = false
		return p
	}
	if t := tree.member("sessionType"); t != nil {
		p.sessionType = t.text
	}
	inputs := tree.member("inputs")
	p.group, _ = inputs.input("cloudWatchLogGroupName", '"', &p.readable)
	_, p.encrypted = inputs.input("cloudWatchEncryptionEnabled", 't', &p.readable)
	_, p.streaming = inputs.input("cloudWatchStreamingEnabled", 't', &p.readable)
	p.longest, _ = inputs.input("maxSessionDuration", '"', &p.readable)
	if text, _ := inputs.input("idleSessionTimeout", '"', &p.readable); text != "" {
		if n, err := strconv.Atoi(text); err == nil {
			p.idle = time.Duration(n) * time.Minute
		}
	}
	return p
}

// input reads one input. The agent decodes into typed fields: a string where a
// boolean belongs spoils the whole document.
func (n *node) input(key string, kind byte, readable *bool) (text string, set bool) {
	v := n.member(key)
	if v == nil || v.kind == 'n' {
		return "", false
	}
	if v.kind != kind {
		*readable = false
		return "", false
	}
	return v.text, v.text == "true"
}

// begin is what the agent does when a session reaches it.
func (s *session) begin(i *Instance, d *document, now time.Time) {
	p := d.readPreferences(now)
	if !p.readable {
		s.message = "Failed to parse the session document."
		s.log.reason = "the session never began"
		s.end(now)
		return
	}
	s.idle, s.longest = p.idle, p.longest
	if n, err := strconv.Atoi(p.longest); err == nil && n > 0 {
		s.limit = now.Add(time.Duration(n) * time.Minute)
	}
	if refusal := s.log.open(s, i, p, now); refusal != "" {
		s.message = refusal
		s.end(now)
	}
}
