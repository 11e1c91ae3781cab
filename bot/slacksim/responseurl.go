package slacksim

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A response_url is good for five posts within half an hour (docs.slack.dev, "Handling user interaction").
const (
	responseUses = 5
	responseLife = 30 * time.Minute
)

// responseURL is the right to answer an interaction without a token.
type responseURL struct {
	user, channel, trigger string
	message                string // what the person acted on; "" for a slash command
	ephemeral              bool   // and whether that was ephemeral
	publish                bool   // posts for everyone unless the post says otherwise
	expires                time.Time
	uses                   int
}

// newResponseURL makes a response_url. Slack's own live at hooks.slack.com; these live where the Web API
// does. The caller holds mu.
func (s *Slack) newResponseURL(kind string, r *responseURL) string {
	r.expires = time.Now().Add(responseLife)
	path := "/" + kind + "/" + s.opt.TeamID + "/" + s.nextID("")[1:] + "/" + secret(12)
	s.responseURLs[path] = r
	return s.base + path
}

// serveResponseURL answers a post to a response_url. What Slack says to one that is spent or never was
// is not documented; expired_url and no_service with status 404 are from the field.
func (s *Slack) serveResponseURL(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20)) // What is missing fails to parse below.
	a, bad := jsonArgs(body)
	if form, err := url.ParseQuery(string(body)); bad != nil && err == nil && form.Get("payload") != "" {
		a, bad = jsonArgs([]byte(form.Get("payload")))
	}
	if a == nil {
		a = args{}
	}
	call := Call{Method: "response_url", Args: a, Host: r.Host, At: time.Now()}
	n := s.record(call)
	fault := s.faultFor(call)
	if fault != nil && !s.pause(r, fault.Delay) {
		s.finish(n, 0, "caller gave up", true)
		return
	}
	status, text := http.StatusOK, "ok"
	if fault == nil || fault.Answer == nil || fault.Done {
		status, text = s.respond(r.URL.Path, a, bad)
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
	refused := ""
	if status != http.StatusOK {
		refused = text
	}
	s.finish(n, status, refused, fault != nil)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // The caller may be gone.
}

// respond does what the post asks for.
func (s *Slack) respond(path string, a args, bad *apiError) (status int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.responseURLs[path]
	switch {
	case r == nil:
		return http.StatusNotFound, "no_service"
	case r.uses >= responseUses || time.Now().After(r.expires):
		return http.StatusNotFound, "expired_url"
	case bad != nil:
		return http.StatusBadRequest, "invalid_payload"
	}
	// slack-go's own poster always sends "metadata":{"event_type":"",…} (chat.go, responseURLSender); an
	// empty event type counts as no metadata.
	d, err := readDraft(a)
	if err != nil {
		return http.StatusBadRequest, strings.TrimSpace(err.code + " " + strings.Join(err.messages, " "))
	}
	if a.flag("delete_original") {
		if r.message == "" {
			return http.StatusBadRequest, "no_original"
		}
		r.uses++
		if r.ephemeral {
			s.forget(r.channel, r.message)
		} else {
			s.remove(r.channel, r.message)
		}
		return http.StatusOK, "ok"
	}
	if d.empty() {
		return http.StatusBadRequest, "no_text"
	}
	if a.flag("replace_original") && r.message != "" {
		m := s.find(r.channel, r.message)
		kind := Updated
		if r.ephemeral {
			m, kind = s.findEphemeral(r.channel, r.message), EphemeralEdited
		}
		// Only a message of the app itself can be replaced. An ephemeral one stays ephemeral.
		if m == nil || m.User != s.opt.BotUserID {
			return http.StatusNotFound, "message_not_found"
		}
		r.uses++
		m.Text, m.Blocks = d.text, d.blocks
		m.Edits++
		m.Edited = len(d.blocks) == 0 && !m.Ephemeral
		s.changedMessage(kind, m)
		return http.StatusOK, "ok"
	}
	r.uses++
	if a["response_type"] == "in_channel" || r.publish && a["response_type"] == "" {
		s.post(r.channel, s.opt.BotUserID, a["thread_ts"], d).Trigger = r.trigger
	} else {
		s.whisper(r.channel, s.opt.BotUserID, r.user, a["thread_ts"], r.trigger, d)
	}
	return http.StatusOK, "ok"
}

// forget takes an ephemeral message away. The caller holds mu.
func (s *Slack) forget(channel, ts string) {
	m := s.findEphemeral(channel, ts)
	if m == nil {
		return
	}
	for i, o := range s.ephemerals {
		if o == m {
			s.ephemerals = append(s.ephemerals[:i:i], s.ephemerals[i+1:]...)
			break
		}
	}
	s.changedMessage(EphemeralGone, m)
}
