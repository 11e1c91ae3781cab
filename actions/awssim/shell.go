package awssim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrSessionEnded is what a shell answers once its session has ended or its
// data channel is closed.
var ErrSessionEnded = errors.New("session ended")

// A Shell is the data channel of a session: what SingleStore's engineer types
// into. Once open it lives on when credentials expire or are denied; it ends
// with TerminateSession.
type Shell struct {
	region  *Region
	session *session
}

// Shell opens the data channel of a session that StartSession made.
func (r *Region) Shell(sessionID string) (*Shell, error) {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	s := r.findSession(sessionID)
	if s == nil {
		return nil, fmt.Errorf("open shell %s: no such session", sessionID)
	}
	now := time.Now()
	s.settle(now)
	if s.over(now) {
		if s.message != "" {
			return nil, fmt.Errorf("open shell %s: %s: %w", sessionID, s.message, ErrSessionEnded)
		}
		return nil, fmt.Errorf("open shell %s: %w", sessionID, ErrSessionEnded)
	}
	return &Shell{region: r, session: s}, nil
}

// SetPrompt sets what commands print. At first, nothing but whoami does.
func (r *Region) SetPrompt(answer func(command string) string) *Region {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	r.prompt = answer
	return r
}

// Type runs a command and returns what it prints. The command and its output go
// to the session's log, where there is one.
func (sh *Shell) Type(command string) (string, error) {
	w, s := sh.region.account.w, sh.session
	w.mu.Lock()
	now := time.Now()
	err := sh.alive(now)
	answer := sh.region.prompt
	w.mu.Unlock()
	if err != nil {
		return "", err
	}
	output := ""
	switch {
	case answer != nil:
		output = answer(command)
	case command == "whoami":
		output = "ssm-user"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.used = now
	s.log.write(s, now, "sh-5.2$ "+command, output)
	return output, nil
}

// alive checks the session and, where the recycling of WebSockets is on, that
// it could be resumed.
func (sh *Shell) alive(now time.Time) error {
	s, w := sh.session, sh.region.account.w
	s.settle(now)
	if s.over(now) {
		return fmt.Errorf("%s: %w", s.id, ErrSessionEnded)
	}
	if every := w.knobs.WebSocketRecycle; every > 0 && now.Sub(s.opened) >= every && !s.disconnected {
		k := s.key
		live := k.expires.IsZero() || now.Before(k.expires)
		if live && w.may(k, "ssm:ResumeSession", s.arn(), k.context(s.region.name, now), now) == allowed {
			s.opened = s.opened.Add(now.Sub(s.opened).Truncate(every))
		} else {
			s.disconnected = true
		}
	}
	if s.disconnected {
		return fmt.Errorf("%s: data channel closed, resuming answers %d: %w", s.id, http.StatusForbidden, ErrSessionEnded)
	}
	return nil
}

// Exit ends the session as the command exit does.
func (sh *Shell) Exit() {
	w := sh.region.account.w
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	sh.session.settle(now)
	if !sh.session.ending {
		sh.session.end(now)
		sh.session.settle(now)
	}
}

// Disconnect closes the data channel without ending the session, as closing
// the browser tab does. The session stays in the list of active ones.
func (sh *Shell) Disconnect() {
	sh.region.account.w.mu.Lock()
	defer sh.region.account.w.mu.Unlock()
	sh.session.disconnected = true
}
