package awssim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func logsOperations() map[string]operation {
	return map[string]operation{
		"DescribeLogGroups":  {resources: onGroups, run: describeLogGroups},
		"DescribeLogStreams": {resources: onGroup, run: describeLogStreams},
		"GetLogEvents":       {resources: onStream, run: getLogEvents},
		"CreateLogGroup":     {resources: onGroup, run: createLogGroup, write: true},
		"PutRetentionPolicy": {resources: onGroup, run: putRetentionPolicy, write: true},
	}
}

// A LogGroup is one CloudWatch Logs group.
type LogGroup struct {
	region    *Region
	name      string
	kmsKey    string
	retention int // days; 0 is for ever
	created   time.Time
	streams   []*logStream
}

type logStream struct {
	name    string
	created time.Time
	events  []logEvent
}

type logEvent struct {
	at      time.Time
	message string
}

// LogGroup returns the group of this name and makes it if need be.
func (r *Region) LogGroup(name string) *LogGroup {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	return r.group(name)
}

func (r *Region) group(name string) *LogGroup {
	g, ok := r.groups[name]
	if !ok {
		g = &LogGroup{region: r, name: name, created: time.Now()}
		r.groups[name] = g
	}
	return g
}

func (g *LogGroup) lock() func() {
	g.region.account.w.mu.Lock()
	return g.region.account.w.mu.Unlock
}

// KMSKey encrypts the group with a key.
func (g *LogGroup) KMSKey(arn string) *LogGroup {
	defer g.lock()()
	g.kmsKey = arn
	return g
}

// Delete removes the group and its streams.
func (g *LogGroup) Delete() {
	defer g.lock()()
	if g.region.groups[g.name] == g {
		delete(g.region.groups, g.name)
	}
}

// Retention returns the retention in days; 0 is for ever.
func (g *LogGroup) Retention() int {
	defer g.lock()()
	return g.retention
}

// Streams returns the names of the group's streams, oldest first.
func (g *LogGroup) Streams() []string {
	defer g.lock()()
	g.region.settle(time.Now())
	var out []string
	for _, s := range g.streams {
		out = append(out, s.name)
	}
	return out
}

// Stream makes an empty stream, as anybody may who can write logs.
func (g *LogGroup) Stream(name string) *LogGroup {
	defer g.lock()()
	if g.stream(name) == nil {
		g.streams = append(g.streams, &logStream{name: name, created: time.Now()})
	}
	return g
}

// Events returns the messages of a stream.
func (g *LogGroup) Events(stream string) []string {
	defer g.lock()()
	g.region.settle(time.Now())
	s := g.stream(stream)
	if s == nil {
		return nil
	}
	var out []string
	for _, e := range s.events {
		out = append(out, e.message)
	}
	return out
}

func (g *LogGroup) stream(name string) *logStream {
	at := slices.IndexFunc(g.streams, func(s *logStream) bool { return s.name == name })
	if at < 0 {
		return nil
	}
	return g.streams[at]
}

func (g *LogGroup) arn() string {
	return "arn:" + g.region.account.partition + ":logs:" + g.region.name + ":" + g.region.account.id + ":log-group:" + g.name
}

// sessionLog is how the agent logs one session.
type sessionLog struct {
	group     *LogGroup
	stream    *logStream
	streaming bool
	wanted    bool // to be uploaded at the end
	buffer    []logEvent
	instance  *Instance
	reason    string // why there is no stream
}

const notEncrypted = "We couldn't start the session because encryption is not set up on the selected CloudWatch Logs log group. Either encrypt the log group or choose an option to enable logging without encryption."

// open decides as the agent's shell plugin does. It returns the agent's message
// where the session must not go on. Everything else that goes wrong only means
// that there is no log: logging fails open.
func (l *sessionLog) open(s *session, i *Instance, p preferences, now time.Time) string {
	l.instance = i
	switch {
	case p.sessionType == "Port":
		l.reason = "port forwarding and SSH sessions are not logged"
		return ""
	case p.sessionType == "NonInteractiveCommands":
		l.reason = "non-interactive commands are not logged"
		return ""
	case p.group == "":
		l.reason = "no log group is set"
		return ""
	}
	region := s.region
	group := region.groups[p.group]
	if group != nil && !i.may("logs:DescribeLogGroups", region.groupsARN(), now) {
		group = nil
		l.reason = "the instance may not describe log groups"
	} else if group == nil {
		l.reason = "the log group does not exist"
	}
	if p.encrypted && (group == nil || group.kmsKey == "") {
		l.reason = "the session never began"
		return notEncrypted
	}
	if group == nil {
		return ""
	}
	l.group = group
	// The agent streams only standard sessions; others upload at the end.
	l.streaming = p.streaming && p.sessionType == "Standard_Stream"
	if !l.streaming {
		l.wanted = true
		l.reason = "the log is uploaded when the session ends"
		return ""
	}
	l.create(s, now)
	return ""
}

// create makes the stream, which has exactly the session's id as its name.
func (l *sessionLog) create(s *session, now time.Time) {
	switch {
	case s.region.groups[l.group.name] != l.group:
		l.reason = "the log group does not exist"
	case !l.instance.may("logs:CreateLogStream", l.group.arn()+":log-stream:"+s.id, now):
		l.reason = "the instance may not create log streams"
	default:
		l.reason = ""
		l.stream = &logStream{name: s.id, created: now}
		l.group.streams = append(l.group.streams, l.stream)
	}
}

// write takes what was typed and printed.
func (l *sessionLog) write(s *session, now time.Time, lines ...string) {
	if l.stream == nil && !l.wanted {
		return
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	if len(lines) == 0 {
		return
	}
	// The structure is the agent's for streamed logs. Maps of strings always
	// marshal.
	message, _ := json.Marshal(object{
		"eventVersion": "1.0", "eventTime": isoTime(now), "awsRegion": s.region.name,
		"target": object{"id": s.target}, "userIdentity": object{"arn": s.owner},
		"runAsUser": "ssm-user", "sessionId": s.id, "sessionData": lines,
	})
	l.buffer = append(l.buffer, logEvent{at: now, message: string(message)})
	if l.streaming {
		l.flush(s, now)
	}
}

func (l *sessionLog) flush(s *session, now time.Time) {
	if l.stream != nil && l.instance.may("logs:PutLogEvents", l.group.arn()+":log-stream:"+s.id, now) {
		l.stream.events = append(l.stream.events, l.buffer...)
		l.buffer = nil
	}
}

// close uploads what was kept for the end. A killed instance loses it.
func (l *sessionLog) close(s *session, now time.Time) {
	if !l.wanted {
		return
	}
	l.wanted = false
	if l.instance.state != "running" {
		l.reason = "the instance was gone when the session ended"
		return
	}
	l.create(s, now)
	l.flush(s, now)
}

// groupsARN is what DescribeLogGroups is authorized on: all groups.
func (r *Region) groupsARN() string {
	return "arn:" + r.account.partition + ":logs:" + r.name + ":" + r.account.id + ":log-group::log-stream:"
}

func onGroups(c *call) []string { return []string{c.region.groupsARN()} }

// groupName reads logGroupName, or logGroupIdentifier, which may be an ARN.
func (c *call) groupName() string {
	if name := c.Params["logGroupName"]; name != "" {
		return name
	}
	id := c.Params["logGroupIdentifier"]
	if _, name, ok := strings.Cut(id, ":log-group:"); ok {
		return strings.TrimSuffix(name, ":*")
	}
	return id
}

func onGroup(c *call) []string {
	return []string{"arn:" + c.account.partition + ":logs:" + c.region.name + ":" + c.account.id + ":log-group:" + c.groupName() + ":log-stream:"}
}

func onStream(c *call) []string { return []string{onGroup(c)[0] + c.Params["logStreamName"]} }

func noLogResource(what string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException", Message: "The specified " + what + " does not exist."}
}

type logsInput struct {
	LogGroupNamePrefix, LogGroupNamePattern         *string
	LogStreamName, LogStreamNamePrefix, KmsKeyID    string
	OrderBy, NextToken                              string
	Descending, StartFromHead                       bool
	Limit, RetentionInDays                          *int
	StartTime, EndTime                              *int64
	LogGroupName, LogGroupIdentifier, LogGroupClass string
}

func describeLogGroups(c *call) (any, *Error) {
	var in logsInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, c.invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	size, err := c.size(in.Limit, 50, 1, 50)
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, name := range slices.Sorted(maps.Keys(c.region.groups)) {
		// A prefix: a longer name matches too. A pattern: any part, any case.
		if in.LogGroupNamePrefix != nil && !strings.HasPrefix(name, *in.LogGroupNamePrefix) ||
			in.LogGroupNamePattern != nil && !strings.Contains(strings.ToLower(name), strings.ToLower(*in.LogGroupNamePattern)) {
			continue
		}
		g := c.region.groups[name]
		group := object{
			"logGroupName": name, "arn": g.arn() + ":*", "logGroupArn": g.arn(), "logGroupClass": "STANDARD",
			"creationTime": millis(g.created), "metricFilterCount": 0, "storedBytes": 0,
		}
		if g.kmsKey != "" {
			group["kmsKeyId"] = g.kmsKey
		}
		if g.retention > 0 {
			group["retentionInDays"] = g.retention
		}
		all = append(all, group)
	}
	return c.logsPage("logGroups", all, in.NextToken, size)
}

// logsPage is paged with the lower-case names of CloudWatch Logs.
func (c *call) logsPage(name string, all []object, token string, size int) (any, *Error) {
	part, next, ok := page(all, token, size)
	if !ok {
		return nil, c.invalid("The specified nextToken is invalid.")
	}
	if part == nil {
		part = []object{}
	}
	out := object{name: part}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

// findGroup finds the group that the call names.
func (c *call) findGroup() (*LogGroup, *Error) {
	name := c.groupName()
	if !groupNamePattern.MatchString(name) {
		return nil, c.invalid(`1 validation error detected: Value '` + name + `' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`)
	}
	g := c.region.groups[name]
	if g == nil {
		return nil, noLogResource("log group")
	}
	return g, nil
}

var groupNamePattern = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)

func describeLogStreams(c *call) (any, *Error) {
	var in logsInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	g, err := c.findGroup()
	if err != nil {
		return nil, err
	}
	if in.OrderBy == "LastEventTime" && in.LogStreamNamePrefix != "" {
		return nil, c.invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	size, err := c.size(in.Limit, 50, 1, 50)
	if err != nil {
		return nil, err
	}
	c.region.settle(c.now)
	streams := slices.DeleteFunc(slices.Clone(g.streams), func(s *logStream) bool {
		return !strings.HasPrefix(s.name, in.LogStreamNamePrefix)
	})
	slices.SortStableFunc(streams, func(a, b *logStream) int {
		if in.OrderBy == "LastEventTime" {
			return a.last().Compare(b.last())
		}
		return strings.Compare(a.name, b.name)
	})
	if in.Descending {
		slices.Reverse(streams)
	}
	all := []object{}
	for _, s := range streams {
		stream := object{
			"logStreamName": s.name, "arn": g.arn() + ":log-stream:" + s.name, "creationTime": millis(s.created), "storedBytes": 0,
		}
		if len(s.events) > 0 {
			stream["firstEventTimestamp"] = millis(s.events[0].at)
			stream["lastEventTimestamp"] = millis(s.last())
			stream["lastIngestionTime"] = millis(s.last())
		}
		all = append(all, stream)
	}
	return c.logsPage("logStreams", all, in.NextToken, size)
}

// last is the time of the last event, or of the stream's creation.
func (s *logStream) last() time.Time {
	if len(s.events) == 0 {
		return s.created
	}
	return s.events[len(s.events)-1].at
}

// getLogEvents pages with tokens that also say when there is nothing more: the
// forward token is then the one that was passed in.
func getLogEvents(c *call) (any, *Error) {
	var in logsInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	g, err := c.findGroup()
	if err != nil {
		return nil, err
	}
	size, err := c.size(in.Limit, 10000, 1, 10000)
	if err != nil {
		return nil, err
	}
	c.region.settle(c.now)
	s := g.stream(in.LogStreamName)
	if s == nil {
		return nil, noLogResource("log stream")
	}
	events := slices.DeleteFunc(slices.Clone(s.events), func(e logEvent) bool {
		return in.StartTime != nil && millis(e.at) < *in.StartTime || in.EndTime != nil && millis(e.at) >= *in.EndTime
	})
	start, end := max(0, len(events)-size), len(events)
	if in.StartFromHead {
		start, end = 0, min(size, len(events))
	}
	if in.NextToken != "" {
		direction, digits, ok := strings.Cut(in.NextToken, "/")
		at, convErr := strconv.Atoi(digits)
		if !ok || convErr != nil || at < 0 || at > len(events) || direction != "f" && direction != "b" {
			return nil, c.invalid("The specified nextToken is invalid.")
		}
		if direction == "f" {
			start, end = at, min(at+size, len(events))
		} else {
			start, end = max(0, at-size), at
		}
	}
	out := []object{}
	for _, e := range events[start:end] {
		out = append(out, object{"timestamp": millis(e.at), "ingestionTime": millis(e.at), "message": e.message})
	}
	return object{"events": out, "nextForwardToken": fmt.Sprintf("f/%d", end), "nextBackwardToken": fmt.Sprintf("b/%d", start)}, nil
}

func createLogGroup(c *call) (any, *Error) {
	var in logsInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if !groupNamePattern.MatchString(in.LogGroupName) {
		_, err := c.findGroup()
		return nil, err
	}
	if c.region.groups[in.LogGroupName] != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "ResourceAlreadyExistsException", Message: "The specified log group already exists"}
	}
	g := c.region.group(in.LogGroupName)
	g.kmsKey = in.KmsKeyID
	return object{}, nil
}

// retentions are the legal values of retentionInDays.
var retentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func putRetentionPolicy(c *call) (any, *Error) {
	var in logsInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	g, err := c.findGroup()
	if err != nil {
		return nil, err
	}
	if in.RetentionInDays == nil || !slices.Contains(retentions, *in.RetentionInDays) {
		return nil, c.invalid("1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set.")
	}
	g.retention = *in.RetentionInDays
	return object{}, nil
}
