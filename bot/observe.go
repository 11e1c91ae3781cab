package bot

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// Observer hears what happens in the conversation, to count it. Its functions
// must be quick, and safe for concurrent use; one that is nil is not called. What
// they are told is one of few words each, and never from a payload.
type Observer struct {
	// Envelope hears of everything that Slack has delivered, once it is answered or
	// given up: how long after it had arrived the acknowledgement was handed to the
	// socket, or false where there was none.
	Envelope func(kind string, acked bool, took time.Duration)
	// Refused hears of everybody who was refused something.
	Refused func(code grant.Code)
	// Called hears of every call of Slack's Web API and of response_urls.
	Called func(method, outcome string, took time.Duration)
}

// The kinds of envelopes.
const (
	EnvelopeCommand  = "command"
	EnvelopeClick    = "click"
	EnvelopeForm     = "form"
	EnvelopeShortcut = "shortcut"
	EnvelopeEvent    = "event"
	EnvelopeOther    = "other" // none that the bot has a use for
)

// EnvelopeKinds lists them all.
var EnvelopeKinds = []string{EnvelopeCommand, EnvelopeClick, EnvelopeForm, EnvelopeShortcut, EnvelopeEvent, EnvelopeOther}

// The outcomes of a call of Slack.
const (
	CallOK      = "ok"
	CallLimited = "limited" // Slack said to come back later
	CallRefused = "refused" // Slack said no, with a code; the log has it
	CallFailed  = "failed"  // a fault of Slack's, or an answer that is none
	CallLost    = "lost"    // no answer
)

// CallOutcomes lists them all.
var CallOutcomes = []string{CallOK, CallLimited, CallRefused, CallFailed, CallLost}

// methods are the methods of the Web API that the bot calls.
var methods = []string{
	"apps.connections.open", "auth.test", "chat.postEphemeral", "chat.postMessage", "chat.update",
	"conversations.history", "conversations.info", "conversations.replies", "usergroups.users.list",
	"users.info", "views.open", "views.publish", "views.update",
}

// What stands for a method where there is none.
const (
	methodResponse = "response_url"
	methodOther    = "other"
)

func (o Observer) envelope(kind string, acked bool, took time.Duration) {
	if o.Envelope != nil {
		o.Envelope(kind, acked, took)
	}
}

func (o Observer) refused(code grant.Code) {
	if o.Refused != nil {
		o.Refused(code)
	}
}

// called takes in one call. code is what Slack's answer gave for its refusal.
func (o Observer) called(method string, resp *http.Response, code string, err error, took time.Duration) {
	if o.Called == nil {
		return
	}
	outcome := CallOK
	switch {
	case err != nil:
		outcome = CallLost
	case resp.StatusCode == http.StatusTooManyRequests || code == "ratelimited":
		outcome = CallLimited
	case resp.StatusCode >= http.StatusBadRequest || slices.Contains([]string{"internal_error", "fatal_error", "service_unavailable", "request_timeout"}, code):
		outcome = CallFailed
	case code != "":
		outcome = CallRefused
	}
	o.Called(method, outcome, took)
}

// method names what a request calls: a method of the Web API at home, or somebody's
// response_url, whose path is a secret.
func method(u, home *url.URL) string {
	if home == nil || !strings.EqualFold(u.Host, home.Host) || path.Dir(u.Path) != path.Clean("/"+home.Path) {
		return methodResponse
	}
	if name := path.Base(u.Path); slices.Contains(methods, name) {
		return name
	}
	return methodOther
}
