package bot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// openGate stands between slack-go and Slack. It slows apps.connections.open
// down: after a dial that succeeded slack-go
// opens again at once and for ever, thousands of times a second when Slack ends
// every socket right after its hello (link_disabled, too_many_websockets). It
// also refuses a socket that would carry its ticket in the clear, and gives a
// refusal without a reason one.
type openGate struct {
	next http.RoundTripper
	home *url.URL // slack.api_url

	observe Observer

	mu     sync.Mutex
	opened []time.Time // within the last minute
}

// Slack allows about 50 calls a minute (Tier 3). A refresh of two sockets every
// few hours needs far less; a storm is slowed down to about ten a minute, and a
// socket that can be had again is had within a minute.
const (
	freeOpens  = 10
	gateWindow = time.Minute
)

// wait answers how long the next open must wait, and books it.
func (g *openGate) wait(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.opened) > 0 && now.Sub(g.opened[0]) >= gateWindow {
		g.opened = g.opened[1:]
	}
	at := now
	if n := len(g.opened); n >= freeOpens {
		gap := 2 * time.Second
		if n >= 2*freeOpens {
			gap = 10 * time.Second
		}
		if next := g.opened[n-1].Add(gap); next.After(at) {
			at = next
		}
	}
	g.opened = append(g.opened, at)
	return at.Sub(now)
}

// RoundTrip implements http.RoundTripper.
func (g *openGate) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	began, code := time.Now(), ""
	defer func() { g.observe.called(method(req.URL, g.home), resp, code, err, time.Since(began)) }()
	next := g.next
	if next == nil {
		next = http.DefaultTransport
	}
	if !Private(req.URL.String()) {
		// Also where a redirect leads: the token is in the body.
		return nil, errors.New("a request to Slack would have gone out without encryption, and was refused")
	}
	opens := strings.HasSuffix(req.URL.Path, "/apps.connections.open")
	if opens {
		if d := g.wait(time.Now()); d > 0 && !sleep(req.Context(), d) {
			return nil, req.Context().Err()
		}
		began = time.Now() // the wait is ours
	}
	resp, err = next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
		URL   string `json:"url"`
	}
	if json.Unmarshal(body, &answer) == nil {
		if answer.OK != nil && !*answer.OK {
			code = cmp.Or(answer.Error, "no_reason_given")
		}
		switch {
		case opens && answer.URL != "" && !Private(answer.URL):
			return nil, errors.New("apps.connections.open offered a socket without encryption, which was refused")
		case opens && answer.URL != "" && !g.slacks(answer.URL):
			return nil, errors.New("apps.connections.open offered a socket that is not Slack's, which was refused")
		case answer.OK != nil && !*answer.OK && answer.Error == "":
			// slack-go takes this for success, and would have an empty group, a
			// message that stands nowhere, a team without an id.
			body = []byte(`{"ok":false,"error":"no_reason_given"}`)
		case answer.OK != nil && !*answer.OK && !codePattern.MatchString(answer.Error):
			// Slack's errors are codes, and go into the log. What else somebody puts
			// there, what they were sent for example, does not.
			body = []byte(`{"ok":false,"error":"no_known_reason"}`)
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// largestAnswer is more than any answer that we ask Slack for: a user group may
// have tens of thousands of members.
const largestAnswer = 4 << 20

// Private reports whether what is sent to the URL stays private: it is encrypted,
// or never leaves this machine.
func Private(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "https", "wss":
		return true
	case "http", "ws":
		host := u.Hostname()
		ip := net.ParseIP(host)
		return host == "localhost" || (ip != nil && ip.IsLoopback())
	default:
		return false
	}
}

// codePattern is what the errors of Slack's Web API look like.
var codePattern = regexp.MustCompile(`^[a-z0-9_]{1,60}$`)

// slacks reports whether an address that Slack has named is Slack's: on the very host
// of the Web API, or, encrypted, on a name under it (wss-primary.slack.com,
// hooks.slack.com). Nobody leads us elsewhere, least of all to what listens on this
// machine or in this network alone.
func (g *openGate) slacks(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || !Private(raw) {
		return false
	}
	if g.home != nil && strings.EqualFold(u.Host, g.home.Host) {
		return true
	}
	if u.Scheme != "https" && u.Scheme != "wss" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	domains := []string{"slack.com", "slack-gov.com"}
	if g.home != nil && strings.Contains(g.home.Hostname(), ".") && net.ParseIP(g.home.Hostname()) == nil {
		domains = append(domains, strings.ToLower(g.home.Hostname()))
	}
	host := strings.ToLower(u.Hostname())
	return slices.ContainsFunc(domains, func(d string) bool { return strings.HasSuffix(host, "."+d) })
}

// permanentErrors are the answers of Slack that no waiting mends. slack-go's own
// list has only four of them, and retries the others for ever.
var permanentErrors = map[string]string{ //nolint:gosec // sentences about tokens, not tokens
	"invalid_auth":             "Slack does not know the token in %s. Copy it again from the app's settings",
	"not_authed":               "Slack got no token. Put it into %s",
	"account_inactive":         "Slack says that the token in %s belongs to a user or team that was removed. Install the app again",
	"token_revoked":            "Slack says that the token in %s was revoked. Install the app again and use the new token",
	"token_expired":            "Slack says that the token in %s has expired. Turn token rotation off for this app and install it again",
	"not_allowed_token_type":   "the token in %s is of the wrong kind. SLACK_BOT_TOKEN takes xoxb-…, SLACK_APP_TOKEN takes xapp-…",
	"missing_scope":            "the token in %s lacks a scope that breakglass needs. Paste what `breakglass manifest` prints under App Manifest, and install the app again",
	"no_permission":            "the token in %s lacks a permission that breakglass needs. Install the app again",
	"team_access_not_granted":  "the app behind the token in %s has no access to this Slack team. Ask an administrator to approve it",
	"org_login_required":       "the Slack team of the token in %s has moved to an organisation. Install the app again",
	"forbidden_team":           "the app behind the token in %s may not be used in this Slack team. Ask an administrator",
	"user_removed_from_team":   "Slack says that the token in %s belongs to a user who was removed from the team. Install the app again",
	"team_disabled":            "the Slack team of the token in %s is disabled",
	"enterprise_is_restricted": "the organisation of the token in %s does not allow this call",
}

// permanent tells an operator's sentence for an error that no waiting mends.
func permanent(err error, variable string) (string, bool) {
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		if text, ok := permanentErrors[e.Err]; ok {
			return fmt.Sprintf(text, variable), true
		}
	} else if err != nil {
		// slack-go gives apps.connections.open's errors as plain text.
		if text, ok := permanentErrors[err.Error()]; ok {
			return fmt.Sprintf(text, variable), true
		}
	}
	if notFound(err) {
		return "there is no Slack at slack.api_url: it answered 404", true
	}
	return "", false
}

// notFound reports whether the answer was a 404: there is no Slack there, or a
// proxy has lost it for a moment.
func notFound(err error) bool {
	e, ok := errors.AsType[slack.StatusCodeError](err)
	return ok && e.Code == http.StatusNotFound
}

// redact takes URLs out of an error: those of sockets and of response_urls are
// secrets.
func redact(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
