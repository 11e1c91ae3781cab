package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a test waits for; it is no measure of speed.
const patience = time.Minute

// screen is a terminal that can be read.
type screen struct {
	mu      sync.Mutex
	text    strings.Builder
	read    int // up to where it has been looked at
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(p)
}

// all is everything that stands there.
func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until the words stand there, behind those that were waited for
// before.
func (s *screen) shows(t *testing.T, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		text, changed := s.text.String(), s.changed
		at := strings.Index(text[s.read:], words)
		if at >= 0 {
			s.read += at + len(words)
		}
		s.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the screen does not show %q:\n%s", words, text)
		}
	}
}

// served starts serve, and returns where to type and what is seen.
func served(t *testing.T, dir string) (say func(line string), seen *screen, ended chan error) {
	t.Helper()
	in, keys := io.Pipe()
	seen, ended = newScreen(), make(chan error, 1)
	go func() { ended <- serve(t.Context(), dir, in, seen) }()
	return func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(keys, line); err != nil {
			t.Fatal(err)
		}
	}, seen, ended
}

// A new user starts the real program against the local Slack and the local AWS, with
// what -serve has written and nothing else, and goes through the whole story by
// typing. The program is the one that is built for production.
func TestServe_theRealProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "breakglass")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../breakglass").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// A Unix socket's path may be too long below a test's own directory.
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	say, seen, ended := served(t, dir)
	seen.shows(t, "Start the real program in another terminal")
	say("ana: /breakglass status")
	seen.shows(t, "is the program running?")

	inShell := func(args string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "sh", "-c", `. "$1"/env.sh && exec "$2" `+args+` -c "$1"/breakglass.yaml`, "sh", dir, program)
	}
	bot := inShell("run")
	log := newScreen()
	bot.Stderr = log
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, dir, log)

	say("ana: /breakglass grant arn=" + vendor + " ticket=48213 for=30m reason=leaf node in CrashLoopBackOff")
	seen.shows(t, "only Ana sees\n  │ BG-1 is requested")
	seen.shows(t, "What approving does")
	say("ana: press Approve")
	seen.shows(t, "BG-1 is your own request")
	say("ben: press approve BG-1")
	seen.shows(t, "✓ Hard stop: done")
	seen.shows(t, "BG-1 · Open until")
	say("aws: trust")
	seen.shows(t, `"Sid": "BreakglassBG1"`)
	say("aws: policies")
	seen.shows(t, "BreakglassHardStop")
	say("singlestore: come in")
	seen.shows(t, "SingleStore is inside: ticket-48213-")
	say("singlestore: $ kubectl get pods")
	seen.shows(t, "CrashLoopBackOff")
	say("ana: home")
	seen.shows(t, "Ana's Home tab\n  │ 1 open.")
	for command, has := range map[string]string{"manifest": "/breakglass", "policy": "iam:UpdateAssumeRolePolicy"} {
		if out, err := inShell(command).CombinedOutput(); err != nil || !strings.Contains(string(out), has) {
			t.Errorf("breakglass %s: %v\n%s", command, err, out)
		}
	}
	if out, err := inShell("status").CombinedOutput(); err != nil || !strings.Contains(string(out), "BG-1") {
		t.Errorf("breakglass status: %v\n%s", err, out)
	}
	say("ben: press Extend… BG-1")
	seen.shows(t, "a form for Ben")
	say("ana: /breakglass revoke")
	seen.shows(t, "Sessions: running: 1 ended")
	say("singlestore: $ kubectl get pods")
	seen.shows(t, "The shell is dead")
	say("singlestore: come in")
	seen.shows(t, "AWS answers SingleStore AccessDenied")
	say("aws: stop the instance")
	say("aws: delete the log group")
	seen.shows(t, "The log group is gone")
	say("ben: /breakglass check")
	seen.shows(t, "Create it")

	if err := bot.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := bot.Wait(); err != nil {
		t.Errorf("the program ended with %v:\n%s", err, log.all())
	}
	say("quit")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A later run would have an AWS that the database knows nothing of.
	if err := serve(t.Context(), dir, strings.NewReader(""), newScreen()); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second time in the same directory: %v", err)
	}
}

// ready waits until the program is connected to Slack.
func ready(t *testing.T, dir string, log *screen) {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(dir, "breakglass.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	listen := regexp.MustCompile(`(?m)^listen: (\S+)$`).FindSubmatch(config)
	if listen == nil {
		t.Fatalf("the configuration has no listen:\n%s", config)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(listen[1])+"/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the program is not ready:\n%s", log.all())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// What makes no sense is said, and nothing ends.
func TestServe_whatIsTypedWrong(t *testing.T) {
	say, seen, ended := served(t, t.TempDir())
	for _, c := range []struct{ line, answer string }{
		{"ana grants access", `"ana grants access" is nothing that can be done here`},
		{"eva: /breakglass status", "is nothing that can be done here"},
		{"ana: open the door", "Ana can type /breakglass"},
		{"ben: press Approve", `Ben sees no button that begins with "Approve"`},
		{"ben: press", `Ben sees no button that begins with ""`},
		{"ben: home", "is the program running?"},
		{"singlestore: come in", "AWS answers SingleStore AccessDenied"},
		{"singlestore: $ id", "nobody has come in yet"},
		{"", ""},
		{"help", "ben: press Approve"},
	} {
		say(c.line)
		seen.shows(t, c.answer)
	}
	say("quit")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
