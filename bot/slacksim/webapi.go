package slacksim

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object.
type object = map[string]any

// args are the arguments of a call, from a form or from JSON. A value that is no string in JSON is kept
// as its JSON text, so that blocks look the same in both.
type args map[string]string

func (a args) flag(name string) bool { return a[name] == "true" || a[name] == "1" }

// apiError is a refusal of the Web API.
type apiError struct {
	code     string
	messages []string // response_metadata.messages
	more     object
}

func (e *apiError) body() object {
	b := object{"ok": false, "error": e.code}
	if len(e.messages) > 0 {
		b["errors"] = e.messages
		b["response_metadata"] = object{"messages": e.messages}
	}
	maps.Copy(b, e.more)
	return b
}

func refuse(code string) *apiError { return &apiError{code: code} }

// method is one method of the Web API: which token it takes, one of which scopes it needs, how often it
// may be called, and what it does. do runs with mu held and never waits.
type method struct {
	class  TokenClass
	scopes []string
	tier   tier
	do     func(*Slack, args) (object, *apiError)
}

// methods is the table of docs.slack.dev, "Web API methods", cut down to what a bot of this kind calls.
// The scopes of conversations.* depend on the channel and are checked where the channel is known.
func (s *Slack) method(name string) (method, bool) {
	switch name {
	case "auth.test":
		return method{BotToken, nil, special, (*Slack).authTest}, true
	case "apps.connections.open":
		return method{AppToken, []string{"connections:write"}, tier3, (*Slack).connectionsOpen}, true
	case "chat.postMessage":
		return method{BotToken, []string{"chat:write"}, special, (*Slack).chatPostMessage}, true
	case "chat.update":
		return method{BotToken, []string{"chat:write"}, tier3, (*Slack).chatUpdate}, true
	case "chat.delete":
		return method{BotToken, []string{"chat:write"}, tier3, (*Slack).chatDelete}, true
	case "chat.postEphemeral":
		return method{BotToken, []string{"chat:write"}, tier4, (*Slack).chatPostEphemeral}, true
	case "chat.getPermalink":
		return method{BotToken, nil, special, (*Slack).chatGetPermalink}, true
	case "chat.scheduleMessage":
		return method{BotToken, []string{"chat:write"}, tier3, (*Slack).chatScheduleMessage}, true
	case "chat.deleteScheduledMessage":
		return method{BotToken, []string{"chat:write"}, tier3, (*Slack).chatDeleteScheduledMessage}, true
	case "chat.scheduledMessages.list":
		return method{BotToken, nil, tier3, (*Slack).chatScheduledMessagesList}, true
	case "conversations.info":
		return method{BotToken, nil, tier3, (*Slack).conversationsInfo}, true
	case "conversations.members":
		return method{BotToken, nil, tier4, (*Slack).conversationsMembers}, true
	case "conversations.history":
		return method{BotToken, nil, tier3, (*Slack).conversationsHistory}, true
	case "conversations.replies":
		return method{BotToken, nil, tier3, (*Slack).conversationsReplies}, true
	case "conversations.open":
		return method{BotToken, []string{"im:write", "mpim:write"}, tier3, (*Slack).conversationsOpen}, true
	case "users.info":
		return method{BotToken, []string{"users:read"}, tier4, (*Slack).usersInfo}, true
	case "usergroups.list":
		return method{BotToken, []string{"usergroups:read"}, tier2, (*Slack).usergroupsList}, true
	case "usergroups.users.list":
		return method{BotToken, []string{"usergroups:read"}, tier2, (*Slack).usergroupsUsersList}, true
	case "views.open":
		return method{BotToken, nil, tier4, (*Slack).viewsOpen}, true
	case "views.push":
		return method{BotToken, nil, tier4, (*Slack).viewsPush}, true
	case "views.update":
		return method{BotToken, nil, tier4, (*Slack).viewsUpdate}, true
	case "views.publish":
		return method{BotToken, nil, tier4, (*Slack).viewsPublish}, true
	}
	return method{}, false
}

// serveAPI answers /api/<method>.
func (s *Slack) serveAPI(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/api/")
	a, token, bad := readArgs(r)
	inHeader := token != "" && r.Header.Get("Authorization") == "Bearer "+token
	call := Call{Method: name, Args: a, Host: r.Host, At: time.Now()}
	n := s.record(call)

	fault := s.faultFor(call)
	if fault != nil && !s.pause(r, fault.Delay) {
		s.finish(n, 0, "caller gave up", true)
		return
	}
	if name == "apps.connections.open" && !inHeader {
		token = "" // This one is taken from the header only (docs.slack.dev, "apps.connections.open").
	}
	var status, after int
	var body object
	if fault == nil || fault.Answer == nil || fault.Done {
		status, after, body = s.perform(name, a, token, bad)
	}
	if fault != nil {
		if !s.pause(r, fault.DelayAnswer) {
			s.finish(n, 0, "caller gave up", true)
			return
		}
		if fault.Answer != nil {
			code, err := fault.Answer(w, r)
			s.finish(n, code, err, true)
			if code == 0 {
				panic(http.ErrAbortHandler)
			}
			return
		}
	}
	err, _ := body["error"].(string)
	s.finish(n, status, err, fault != nil)
	if status == http.StatusTooManyRequests {
		writeRateLimited(w, after)
		return
	}
	s.tellScopes(w, name, token)
	writeJSON(w, status, body)
}

// tellScopes adds the headers that say what the token may do and what the method takes (slack-go slack.go,
// OptionOnResponseHeaders, names them).
func (s *Slack) tellScopes(w http.ResponseWriter, name, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[token]
	if t == nil || t.Trouble != "" {
		return
	}
	m, _ := s.method(name) // An unknown one has no scopes.
	w.Header().Set("X-OAuth-Scopes", strings.Join(t.Scopes, ","))
	if len(m.scopes) > 0 {
		w.Header().Set("X-Accepted-OAuth-Scopes", strings.Join(m.scopes, ","))
	}
}

// pause waits, unless the caller gives up or the Slack is closed first.
func (s *Slack) pause(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	case <-s.done:
		return false
	}
}

// perform checks the token, the rate and the scopes, in that order, and does what the method does.
func (s *Slack) perform(name string, a args, token string, bad *apiError) (status, after int, body object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.method(name)
	if !ok {
		return http.StatusOK, 0, refuse("unknown_method").body()
	}
	t, err := s.authenticate(token, m)
	if err != nil {
		return http.StatusOK, 0, err.body()
	}
	if after := s.throttle(name, m.tier, a["channel"]); after > 0 {
		return http.StatusTooManyRequests, after, object{"error": "ratelimited"}
	}
	if bad != nil {
		return http.StatusOK, 0, bad.body()
	}
	if err := t.need(m.scopes...); err != nil {
		return http.StatusOK, 0, err.body()
	}
	out, err := m.do(s, a)
	if err != nil {
		return http.StatusOK, 0, err.body()
	}
	if out == nil {
		out = object{}
	}
	out["ok"] = true
	return http.StatusOK, 0, out
}

func (s *Slack) authenticate(token string, m method) (*Token, *apiError) {
	if token == "" {
		return nil, refuse("not_authed")
	}
	t := s.tokens[token]
	switch {
	case t == nil:
		return nil, refuse("invalid_auth")
	case t.Trouble != "":
		return nil, refuse(t.Trouble)
	case t.Class != m.class:
		return nil, refuse("not_allowed_token_type")
	}
	return t, nil
}

// need refuses unless the token has one of the scopes.
func (t *Token) need(scopes ...string) *apiError {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(sc string) bool { return slices.Contains(t.Scopes, sc) }) {
		return nil
	}
	return &apiError{code: "missing_scope", more: object{
		"needed": strings.Join(scopes, ","), "provided": strings.Join(t.Scopes, ","),
	}}
}

// bot is the app's bot token, whose scopes decide what the app may see. The caller holds mu.
func (s *Slack) bot() *Token { return s.tokens[s.opt.BotToken] }

// readArgs reads the arguments and the token. Slack's own SDKs put the token into the header; slack-go
// puts it into the form for most methods (chat.go, users.go) and into the header for views.* and
// apps.connections.open (views.go, socket_mode.go). A token in the query is not accepted.
func readArgs(r *http.Request) (args, string, *apiError) {
	a := args{}
	for k, v := range r.URL.Query() {
		a[k] = v[len(v)-1]
	}
	delete(a, "token")
	token := ""
	if h, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = strings.TrimSpace(h)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return a, token, refuse("request_timeout")
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // Unknown is dealt with below.
	switch {
	case len(bytes.TrimSpace(body)) == 0:
	case mediaType == "application/json":
		more, bad := jsonArgs(body)
		if bad != nil {
			return a, token, bad
		}
		maps.Copy(a, more)
	case mediaType == "application/x-www-form-urlencoded" || mediaType == "":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return a, token, refuse("invalid_form_data")
		}
		for k, v := range form {
			a[k] = v[len(v)-1]
		}
	default:
		return a, token, refuse("invalid_post_type")
	}
	if a["token"] != "" {
		token = a["token"]
		delete(a, "token")
	}
	return a, token, nil
}

func jsonArgs(body []byte) (args, *apiError) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		if json.Valid(body) {
			return nil, refuse("json_not_object")
		}
		return nil, refuse("invalid_json")
	}
	a := args{}
	for k, v := range raw {
		var str string
		switch {
		case string(v) == "null":
		case json.Unmarshal(v, &str) == nil:
			a[k] = str
		default:
			a[k] = string(v)
		}
	}
	return a, nil
}

func writeJSON(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(body)) // The caller may be gone; nothing is left to do then.
}

func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!DOCTYPE html><html><title>Server Error | Slack</title></html>")
}

func writeRateLimited(w http.ResponseWriter, after int) {
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	writeJSON(w, http.StatusTooManyRequests, object{"ok": false, "error": "ratelimited"})
}

// mustJSON encodes what this package itself put together, which never fails.
func mustJSON(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}
