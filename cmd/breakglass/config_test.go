package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/store/grant"
)

var update = flag.Bool("update", false, "write the golden files anew")

// exampleFile is what the README and the error messages send people to.
const exampleFile = "../../deploy/breakglass.example.yaml"

// minimal has what is required and nothing else.
const minimal = `slack: {channel: C0123456789}
singlestore: {accounts: [111122223333]}
people: {approvers: {users: [U01, U02]}}
cells:
  - {name: helios-prod, account: 444455556666, region: us-east-1}
`

func mustParse(t *testing.T, text string) Config {
	t.Helper()
	c, err := parseConfig("breakglass.yaml", []byte(text))
	if err != nil {
		t.Fatalf("the configuration is refused:\n%v\n\n%s", err, text)
	}
	return c
}

func TestConfig_minimal(t *testing.T) {
	want := Config{
		Slack:  SlackConfig{Channel: "C0123456789", APIURL: "https://slack.com/api/"},
		Vendor: grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
		People: People{Approvers: Members{Users: []grant.UserID{"U01", "U02"}}, Approvals: 1},
		Limits: grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour, Undecided: time.Hour},
		Reminders: grant.Reminders{
			Undecided: 10 * time.Minute, Unsent: 15 * time.Minute,
			BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute},
			StillOpen: 2 * time.Hour, Unused: 30 * time.Minute,
		},
		AWSEnforced: true,
		Cells: []Cell{{
			Name: "helios-prod", Account: "444455556666", Region: "us-east-1",
			LogGroup: "/aws/ssm/helios-prod/cluster",
		}},
		Store:  StoreConfig{Path: "breakglass.db"},
		Listen: "127.0.0.1:9464",
	}
	if diff := cmp.Diff(want, mustParse(t, minimal)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The example must load, and every default that it shows must be the default:
// loading it differs from the minimal file only where its values are examples.
func TestConfig_example(t *testing.T) {
	got, err := loadConfig(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, minimal)
	want.Slack.Team = "T0123456789"
	want.People.Approvers = Members{Users: []grant.UserID{"U01"}, Groups: []grant.GroupID{"S01"}}
	want.Cells[0].EKSCluster = "helios-prod"
	want.Cells[0].AssumeRole = "arn:aws:iam::444455556666:role/breakglass-bot"
	want.Cells[0].Approvals = 2
	if len(got.Digest) != 64 {
		t.Errorf("the digest of the file is %q, want a SHA-256", got.Digest)
	}
	got.Digest = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Others read an unquoted 012345670123 as an octal number and make another
// account of it, without a word.
func TestConfig_accountWithoutQuotes(t *testing.T) {
	text := strings.NewReplacer("111122223333", "012345670123", "444455556666", "000000000042").Replace(minimal)
	c := mustParse(t, text)
	if got := c.Vendor.Accounts[0]; got != "012345670123" {
		t.Errorf("singlestore.accounts[0] = %q, want 012345670123", got)
	}
	if got := c.Cells[0].Account; got != "000000000042" {
		t.Errorf("cells[0].account = %q, want 000000000042", got)
	}
}

func TestConfig_values(t *testing.T) {
	tests := []struct {
		name, add string // appended to the minimal file
		want      func(*Config)
	}{
		{"seconds", "limits: {default: 5s, max: 45s, undecided: 250ms}", func(c *Config) {
			c.Limits = grant.Limits{Default: 5 * time.Second, Max: 45 * time.Second, Undecided: 250 * time.Millisecond}
		}},
		{"days", "limits: {max: 2d12h}", func(c *Config) { c.Limits.Max = 60 * time.Hour }},
		{"a lower maximum lowers the default", "limits: {max: 2h}", func(c *Config) { c.Limits.Max, c.Limits.Default = 2*time.Hour, 2*time.Hour }},
		{"not enforced by AWS", "limits: {aws_enforced: false}", func(c *Config) { c.AWSEnforced = false }},
		{"reminders off", "reminders: {undecided: 0, unsent: 0, before_end: 0, still_open: 0, unused: 0}", func(c *Config) { c.Reminders = grant.Reminders{} }},
		{"no reminder before the end", "reminders: {before_end: []}", func(c *Config) { c.Reminders.BeforeEnd = nil }},
		{"reminders in any order", "reminders: {before_end: [1m, 1h, 20s]}", func(c *Config) {
			c.Reminders.BeforeEnd = []time.Duration{time.Hour, time.Minute, 20 * time.Second}
		}},
		{"null is as absent", "limits:\nreminders: ~\nstore: {path: null}\nlisten: \"\"", func(*Config) {}},
		{"store", "store: {path: /var/lib/breakglass/breakglass.db}", func(c *Config) { c.Store.Path = "/var/lib/breakglass/breakglass.db" }},
		{"head file", "store: {head_file: /var/log/breakglass/heads.jsonl}", func(c *Config) { c.Store.HeadFile = "/var/log/breakglass/heads.jsonl" }},
		{"listen on every address", "listen: :9464", func(c *Config) { c.Listen = ":9464" }},
		{"listen on IPv6", `listen: "[::1]:0"`, func(c *Config) { c.Listen = "[::1]:0" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := mustParse(t, minimal)
			tt.want(&want)
			if diff := cmp.Diff(want, mustParse(t, minimal+tt.add)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestConfig_apiURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://slack.com/api/":        "https://slack.com/api/",
		"https://slack.com/api":         "https://slack.com/api/",
		"https://slack-gov.com/api/":    "https://slack-gov.com/api/",
		"https://slack.com":             "https://slack.com/",
		"http://127.0.0.1:8080/api":     "http://127.0.0.1:8080/api/",
		"http://127.9.9.9/":             "http://127.9.9.9/",
		"http://localhost:1/api/":       "http://localhost:1/api/",
		"http://[::1]:8080/api/":        "http://[::1]:8080/api/",
		"http://slack.com/api/":         "",
		"http://10.0.0.1/api/":          "",
		"http://localhost.evil.com/":    "",
		"http://127.0.0.1.evil.com/":    "",
		"http://0.0.0.0/":               "",
		"https://user:pw@slack.com/api": "",
		"https://slack.com/api/?a=b":    "",
		"https://slack.com/api/#a":      "",
		"https:///api/":                 "",
		"https:slack.com":               "",
		"slack.com/api/":                "",
		"ftp://slack.com/api/":          "",
		"//slack.com/api/":              "",
		"https://slack.com:x/":          "",
	} {
		c, err := parseConfig("f", []byte(strings.Replace(minimal, "C0123456789", "C0123456789, api_url: '"+in+"'", 1)))
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is taken as %s, want a refusal", in, c.Slack.APIURL)
		case want != "" && err != nil:
			t.Errorf("%s is refused: %v", in, err)
		case c.Slack.APIURL != want:
			t.Errorf("%s is taken as %s, want %s", in, c.Slack.APIURL, want)
		case err != nil && strings.Contains(err.Error(), "pw@"):
			t.Errorf("%s: the message shows the password: %v", in, err)
		}
	}
}

func TestConfig_policy(t *testing.T) {
	c, err := loadConfig(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want := grant.Policy{
		Vendor:      grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
		Limits:      c.Limits,
		Approvals:   1,
		Reminders:   c.Reminders,
		Cells:       []grant.Cell{{Name: "helios-prod", Account: "444455556666", Region: "us-east-1", Approvals: 2}},
		AWSEnforced: true,
	}
	if diff := cmp.Diff(want, c.Policy()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, err = c.Policy().Request(grant.Actor{Kind: grant.Person, User: "U09", Requester: true}, grant.Ask{
		ARN: "arn:aws:iam::111122223333:role/support", Ticket: "48213", Reason: "stuck node pool",
	}, "token")
	if err != nil {
		t.Errorf("the policy refuses an ordinary request: %v", err)
	}
}

// Every file in testdata/config is wrong, in ways that its golden lists.
func TestConfig_problems(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parseConfig("breakglass.yaml", data)
			if err == nil {
				t.Fatal("the file is accepted, want problems")
			}
			checkProblems(t, data, err)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got; go test -update writes it anew)\n%s", diff)
			}
		})
	}
}

// checkProblems holds what every refusal of a file owes its reader.
func checkProblems(tb testing.TB, data []byte, err error) {
	tb.Helper()
	e, ok := errors.AsType[*ConfigError](err)
	if !ok {
		tb.Fatalf("the error is a %T, want a *ConfigError: %v", err, err)
	}
	lines := bytes.Count(data, []byte("\n")) + 1
	last := 0
	for _, p := range e.Problems {
		if p.Line < 1 || p.Line > lines {
			tb.Errorf("line %d of %d: %s", p.Line, lines, p)
		}
		if p.Line < last {
			tb.Errorf("line %d comes after line %d", p.Line, last)
		}
		last = p.Line
		if p.Text == "" || p.Remedy == "" {
			tb.Errorf("what is wrong, or what to do, is missing: %s", p)
		}
		if strings.ContainsAny(p.String(), "\n\r\x00") {
			tb.Errorf("not on one line: %q", p.String())
		}
		if len(p.String()) > 1000 {
			tb.Errorf("too long to read: %s", p)
		}
	}
}

// The awkward bytes that a text file in testdata could not hold, or should not.
func TestConfig_notText(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x, x]\n")
	for c := 'b'; c <= 'z'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [*%c, *%c]\n", c, c, c-1, c-1)
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", "f:1: the file is empty"},
		{"only a comment", "# nothing\n", "f:1: the file is empty"},
		{"only a marker", "---\n", "f:1: the file is empty"},
		{"not UTF-8", "slack:\n  channel: \"\xff\"\n", "f:2: not UTF-8"},
		{"UTF-16", "\xff\xfes\x00l\x00", "f:1: not UTF-8"},
		{"control character", "slack:\n\n  channel: \x07\n", "f:3: has the control character U+0007"},
		{"NUL", "slack: \x00", "f:1: has the control character U+0000"},
		{"turned around", "slack: {channel: C01} # \u202e\n", "f:1: has the invisible character U+202E"},
		{"1 MiB and a byte", strings.Repeat("#", maxConfig+1), "f:1: the file is larger than 1 MiB"},
		{"alias bomb", bomb.String(), "f:1: the anchor &a is not allowed here"},
		{"deep nesting", strings.Repeat("[", 20_000), "f:1: not YAML: exceeded max depth"},
		{"deep and closed", strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000), "f:1: is a list"},
		{"alias to itself", "slack: &a [*a]\n", "f:1: the anchor &a is not allowed here"},
		{"many problems", "slack:\n" + func() string {
			var b strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&b, "  unknown%d: 1\n", i)
			}
			return b.String()
		}(), "f: and 904 more problems; mend these first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig("f", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			checkProblems(t, []byte(tt.text), err)
		})
	}
	t.Run("byte order mark and CRLF", func(t *testing.T) {
		got := mustParse(t, "\uFEFF"+strings.ReplaceAll(minimal, "\n", "\r\n"))
		if diff := cmp.Diff(mustParse(t, minimal), got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestLoadConfig_unreadable(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "none.yaml: there is no such file; name the configuration with -c FILE",
		dir:                             ": is a directory; name the file in it",
	} {
		if _, err := loadConfig(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("loadConfig(%s): got %v, want %q", path, err, want)
		}
	}
}

func TestSecret_neverShows(t *testing.T) {
	const text = "xoxb-1234-abcdef"
	s := Secrets{BotToken: text, AppToken: Secret(text)}
	var out bytes.Buffer
	for _, verb := range "vsqxXdtbcoOUeEfFgG" {
		fmt.Fprintf(&out, "%"+string(verb)+"\n", s.BotToken)
		fmt.Fprintf(&out, "%"+string(verb)+"\n", s)
		fmt.Fprintf(&out, "%+"+string(verb)+"\n", &s)
		fmt.Fprintf(&out, "%#"+string(verb)+"\n", []Secret{text})
	}
	fmt.Fprintln(&out, errors.New("wrapped"), s, s.BotToken.String(), s.BotToken.GoString())
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "secret", s.BotToken, "secrets", s, "pointer", &s)
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"s": s, "list": []Secret{text}}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows:\n%s", out.String())
		}
	}
	if string(s.BotToken) != text {
		t.Error("the secret is lost")
	}
}

func TestLoadSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // the umask has no say
			t.Fatal(err)
		}
		return path
	}
	const bot, app = "xoxb-1-SECRET", "xapp-1-A-SECRET"
	tests := []struct {
		name string
		env  map[string]string
		want []string // parts of the error; none: the two tokens
	}{
		{"environment", map[string]string{"SLACK_BOT_TOKEN": bot, "SLACK_APP_TOKEN": app + "\n"}, nil},
		{"files", map[string]string{
			"SLACK_BOT_TOKEN_FILE": file("bot", bot+"\n", 0o600), "SLACK_APP_TOKEN_FILE": file("app", app+"\r\n", 0o400),
		}, nil},
		{"nothing", nil, []string{
			"SLACK_BOT_TOKEN is not set; set it to the bot token",
			"SLACK_APP_TOKEN is not set; set it to the app-level token",
		}},
		{"both", map[string]string{"SLACK_BOT_TOKEN": bot, "SLACK_BOT_TOKEN_FILE": "x", "SLACK_APP_TOKEN": app}, []string{
			"SLACK_BOT_TOKEN and SLACK_BOT_TOKEN_FILE are both set; unset one of them",
		}},
		{"swapped", map[string]string{"SLACK_BOT_TOKEN": app, "SLACK_APP_TOKEN": bot}, []string{
			"SLACK_BOT_TOKEN holds an app-level token (xapp-…), which belongs in SLACK_APP_TOKEN",
			"SLACK_APP_TOKEN holds a bot token (xoxb-…), which belongs in SLACK_BOT_TOKEN",
		}},
		{"user token", map[string]string{"SLACK_BOT_TOKEN": "xoxp-SECRET", "SLACK_APP_TOKEN": app}, []string{"SLACK_BOT_TOKEN holds a user token"}},
		{"rotated token", map[string]string{"SLACK_BOT_TOKEN": "xoxe.xoxb-SECRET", "SLACK_APP_TOKEN": app}, []string{"turn token rotation off"}},
		{"some other text", map[string]string{"SLACK_BOT_TOKEN": "SECRET", "SLACK_APP_TOKEN": app}, []string{"SLACK_BOT_TOKEN does not begin with xoxb-"}},
		{"only the prefix", map[string]string{"SLACK_BOT_TOKEN": "xoxb-", "SLACK_APP_TOKEN": app}, []string{"SLACK_BOT_TOKEN"}},
		{"a space in it", map[string]string{"SLACK_BOT_TOKEN": "xoxb-1 SECRET", "SLACK_APP_TOKEN": app}, []string{"SLACK_BOT_TOKEN has a space"}},
		{"two lines", map[string]string{"SLACK_BOT_TOKEN_FILE": file("two", bot+"\n"+app, 0o600), "SLACK_APP_TOKEN": app}, []string{"two has a space, a line break"}},
		{"others may read it", map[string]string{"SLACK_BOT_TOKEN_FILE": file("open", bot, 0o644), "SLACK_APP_TOKEN": app}, []string{
			"SLACK_BOT_TOKEN_FILE: ", "open: others may read it (its mode is 0644); run: chmod 600 ",
		}},
		{"no file", map[string]string{"SLACK_BOT_TOKEN_FILE": filepath.Join(dir, "none"), "SLACK_APP_TOKEN": app}, []string{"none: there is no such file"}},
		{"a directory", map[string]string{"SLACK_BOT_TOKEN_FILE": dir, "SLACK_APP_TOKEN": app}, []string{": is not a file"}},
		{"an empty file", map[string]string{"SLACK_BOT_TOKEN_FILE": file("nil", "\n", 0o600), "SLACK_APP_TOKEN": app}, []string{"nil is empty"}},
		{"a large file", map[string]string{"SLACK_BOT_TOKEN_FILE": file("large", bot+strings.Repeat("a", maxSecret), 0o600), "SLACK_APP_TOKEN": app}, []string{"larger than 4 KiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := loadSecrets(func(k string) string { return tt.env[k] })
			if tt.want == nil {
				if err != nil || string(got.BotToken) != bot || string(got.AppToken) != app {
					t.Fatalf("got %q and %q (%v), want the two tokens", string(got.BotToken), string(got.AppToken), err)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted, want %q", tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error shows a token: %v", err)
			}
			if n := strings.Count(err.Error(), "\n") + 1; n > 2 {
				t.Errorf("got %d lines, want one a token: %v", n, err)
			}
			if got != (Secrets{}) {
				t.Error("tokens come with the error")
			}
		})
	}
}

// FuzzConfig: no file, however odd, makes a panic; what is refused is refused
// with lines; and what is accepted holds what the program relies on.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, exampleFile) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("? {a: b}\n: c\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig("f", data)
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		p := c.Policy()
		if len(p.Cells) == 0 || c.People.Approvers.Empty() || c.Slack.Channel == "" || p.Approvals < 1 ||
			p.Limits.Default <= 0 || p.Limits.Default > p.Limits.Max || p.Limits.Undecided <= 0 ||
			!strings.HasSuffix(c.Slack.APIURL, "/") || c.Listen == "" || c.Store.Path == "" {
			t.Errorf("accepted, but not whole: %+v", c)
		}
		for _, a := range p.Vendor.Accounts {
			if !a.Valid() {
				t.Errorf("the account %q is accepted", a)
			}
		}
		for _, cell := range c.Cells {
			if !cell.Account.Valid() || cell.Region == "" || cell.LogGroup == "" || cell.Name == "" {
				t.Errorf("the cell is accepted, but not whole: %+v", cell)
			}
		}
	})
}
