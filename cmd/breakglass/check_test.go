package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// What people see at a terminal and elsewhere, and what programs are given, of an
// answer in which there is one of each kind; nothing of it is obeyed by a terminal,
// and no token is in it.
func TestCheckAnswer(t *testing.T) {
	_, err := parseConfig("breakglass.yaml", []byte("slack: {channel: \"xoxb-1-SECRET\"}\ncells:\n  - {name: \"a; b\"}\n"))
	broken, ok := err.(*ConfigError) //nolint:errorlint // it is not wrapped here
	if !ok {
		t.Fatalf("got %v, want a *ConfigError", err)
	}
	cellSection := sectionAnswer{Section: ofCell, Cell: "helios-prod", title: "Cell helios-prod, account 444455556666, us-east-1"}
	cellSection.report(grant.Report{
		Findings: []grant.Finding{
			{Check: "account", Level: grant.OK, Text: "The bot works in account 444455556666, as the configuration says."},
			{Check: "log group", Level: grant.Blocks, Text: "There is no log group.", Remedy: "Create it."},
			{Check: "agent", Level: grant.Unread, Text: "The bot may not call it.", Remedy: "Let the operator allow it."},
			{Check: "boundary", Level: grant.Warning, Text: "\x1b[31mA boundary\u202e\r\n of somebody's", Remedy: "Look at it\x07."},
			{Check: "new", Level: "worse", Text: "A level that nobody knows.", Remedy: "Take it for the worst."},
		},
		Trusted: []string{"ec2.amazonaws.com", "arn:aws:iam::444455556666:role/\x1b[2Jon-call"},
		Logging: []string{"cloudWatchLogGroupName: (empty) → /aws/ssm/helios-prod/cluster"},
	})
	var a checkAnswer
	a.At = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	getenv := func(string) string { return "" }
	_, botErr := loadToken(func(name string) string { return map[string]string{"SLACK_BOT_TOKEN_FILE": "xoxb-1-SECRET"}[name] }, botTokenPlace)
	_, appErr := loadToken(getenv, appTokenPlace)
	for _, s := range []sectionAnswer{
		checkedConfiguration("xapp-1-SECRET", Config{}, broken), checkedSecrets(getenv, botErr, appErr), theRest(),
		checkedConfiguration("breakglass.yaml", mustParse(t, minimal), nil), cellSection,
	} {
		a.add(s)
	}
	for name, s := range map[string]*screen{"check": {}, "check-terminal": {person: true, colour: true}} {
		for i, section := range a.Sections {
			s.section(section, i == 0)
		}
		s.verdict(&a, "nowhere/breakglass.yaml")
		golden(t, name, s.String())
		plain := s.String()
		for _, ours := range []style{bold, faint, green, yellow, red} {
			plain = strings.ReplaceAll(plain, "\x1b["+string(ours)+"m", "")
		}
		if plain = strings.ReplaceAll(plain, "\x1b[0m", ""); strings.ContainsAny(plain, "\x1b\x07\r\u202e") {
			t.Errorf("%s: a terminal would obey somebody else: %q", name, plain)
		}
		if strings.Contains(plain, "SECRET") {
			t.Errorf("%s shows a token:\n%s", name, plain)
		}
	}
	var b bytes.Buffer
	if err := printJSON(&environment{stdout: &b}, a); err != nil {
		t.Fatal(err)
	}
	golden(t, "check.json", b.String())
	if strings.Contains(b.String(), "SECRET") {
		t.Errorf("a token is shown:\n%s", b.String())
	}
}

func TestCheckAnswer_verdict(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    checkAnswer
		want string
	}{
		{"well", checkAnswer{OK: 20}, "Nothing blocks: 20 ok. If it does not run yet, start the bot: breakglass run -c here.yaml"},
		{"warnings", checkAnswer{OK: 19, Warnings: 1}, "Nothing blocks: 19 ok, 1 warning. "},
		{"unknown", checkAnswer{OK: 18, Warnings: 2, Unknown: 1}, "Nothing blocks, as far as could be seen: 18 ok, 2 warnings, 1 unknown. Look at what is unknown, then start the bot: breakglass run -c here.yaml"},
		{"blocks", checkAnswer{OK: 1, Blocks: 1}, "1 problem blocks; 1 ok. What to do stands after each →. Then run breakglass check -c here.yaml again."},
		{"all blocks", checkAnswer{Blocks: 3}, "3 problems block. What to do "},
		{"in cells", checkAnswer{Blocks: 2, Sections: []sectionAnswer{
			{Section: ofSecrets, Findings: []placedFinding{{findingAnswer: findingAnswer{Level: grant.Warning}}}},
			{Section: ofSlack, Findings: []placedFinding{{findingAnswer: findingAnswer{Level: grant.Blocks}}}},
			{Section: ofCell, Cell: "helios-prod", Findings: []placedFinding{{findingAnswer: findingAnswer{Level: grant.Blocks}}}},
		}}, "2 problems block (Slack, helios-prod). What to do "},
	} {
		s := &screen{}
		s.verdict(&tt.a, "here.yaml")
		if !strings.Contains(s.String(), tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, s.String(), tt.want)
		}
	}
}

// A cell of which AWS has said nothing is not called ready, whatever the reason.
func TestCheckAnswer_silence(t *testing.T) {
	for _, tt := range []struct {
		name  string
		found []grant.Finding
		want  bool // blocks
	}{
		{"nothing at all", nil, true},
		{"not even the account", []grant.Finding{{Check: "account", Level: grant.Unread}, {Check: "role", Level: grant.Unread}}, true},
		{"no account, but a role", []grant.Finding{{Check: "role", Level: grant.OK}}, true},
		{"the account, and no role", []grant.Finding{{Check: "account", Level: grant.OK}, {Check: "role", Level: grant.Unread}}, false},
	} {
		s := sectionAnswer{}
		s.report(grant.Report{Findings: tt.found})
		var a checkAnswer
		a.add(s)
		if got := a.Blocks > 0; got != tt.want {
			t.Errorf("%s: blocks %v, want %v", tt.name, got, tt.want)
		}
	}
}
