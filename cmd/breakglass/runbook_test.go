package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
)

// These tests hold what the documents tell people to type. The runbook's commands
// are run, by the scripts runbook-*.txtar, a script for each incident. Those of the
// other documents are held to the names of commands, operations and arguments.

const runbook = repoRoot + "/docs/runbook.md"

// What scripts about the runbook may use besides, and the program aws:
//
//	as admin, as bot            whose AWS credentials the programs have that follow
//	refuse OPERATION            the bot's IAM identity loses an operation; "refuse nothing" gives all back
//	fails CALL, fails nothing   AWS answers such calls (iam:*) with 500
//	leaked bot, leaked app      Slack's token is revoked; the variable has a new one from now on
//	find-session                SESSION_ID is that of a live shell
//	role NAME                   a role of this name is there, of which nothing else is said
func runbookCmds(cmds map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	cmds["as"], cmds["refuse"], cmds["fails"] = cmdAs, cmdRefuse, cmdFails
	cmds["leaked"], cmds["find-session"], cmds["role"] = cmdLeaked, cmdFindSession, cmdRole
	return cmds
}

func cmdAs(ts *testscript.TestScript, _ bool, args []string) {
	user := at(ts).cell.Bot
	if args[0] == "admin" {
		user = at(ts).cell.Account.User("admin").Unrestricted()
	}
	key := user.Credentials()
	ts.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
	ts.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
}

func cmdRefuse(ts *testscript.TestScript, _ bool, args []string) {
	const name = "not that"
	if args[0] == "nothing" {
		at(ts).cell.Bot.Without(name)
		return
	}
	at(ts).cell.Bot.Policy(name, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":%q,"Resource":"*"}]}`, args[0]))
}

func cmdFails(ts *testscript.TestScript, _ bool, args []string) {
	s := at(ts)
	if s.mended != nil {
		s.mended()
		s.mended = nil
	}
	if args[0] != "nothing" {
		s.mended = s.world.Inject(awssim.Fault{Call: args[0], Kind: awssim.ServerError})
	}
}

func cmdLeaked(ts *testscript.TestScript, _ bool, args []string) {
	slack := at(ts).slack
	name, fresh := "SLACK_BOT_TOKEN", slacksim.Token{Value: "xoxb-another", Class: slacksim.BotToken, Scopes: slacksim.DefaultBotScopes}
	if args[0] == "app" {
		name, fresh = "SLACK_APP_TOKEN", slacksim.Token{Value: "xapp-another", Class: slacksim.AppToken, Scopes: []string{"connections:write"}}
	}
	slack.SetToken(fresh)
	slack.BreakToken(ts.Getenv(name), "token_revoked")
	ts.Setenv(name, fresh.Value)
}

func cmdFindSession(ts *testscript.TestScript, _ bool, _ []string) {
	for _, x := range at(ts).cell.Region.Sessions() {
		if x.Status == "Connected" {
			ts.Setenv("SESSION_ID", x.ID)
			return
		}
	}
	ts.Fatalf("no shell is live")
}

func cmdRole(ts *testscript.TestScript, _ bool, args []string) { at(ts).cell.Account.Role(args[0]) }

// linesToType are the lines of a document's console blocks that somebody is to type: those
// after a $, and those for Slack.
func linesToType(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	inside := false
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		switch command, shell := strings.CutPrefix(line, "$ "); {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case shell:
			lines = append(lines, command)
		case strings.HasPrefix(line, "/breakglass"):
			lines = append(lines, line)
		}
	}
	return lines
}

// TestRunbook_everyLineIsRun wants each line of the runbook in a script of the runbook,
// as it stands: on a line of its own behind exec or status, typed by somebody in
// Slack, or in a file that sh runs.
func TestRunbook_everyLineIsRun(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "runbook-*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var run []string
	prefix := regexp.MustCompile(`^(!? ?exec |status \d+ |until '[^']*' )`)
	inSlack := regexp.MustCompile(`^slack [a-z]+ `)
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		file := ""
		for line := range strings.SplitSeq(string(text), "\n") {
			switch {
			case strings.HasPrefix(line, "-- "):
				if file = strings.Trim(line, "- "); !strings.Contains(string(text), "\nexec sh "+file) {
					file = ""
				}
				if file == "" {
					file = "-" // not one that is run
				}
			case file == "" && inSlack.MatchString(line):
				run = append(run, "/breakglass "+inSlack.ReplaceAllString(line, ""))
			case file == "" && prefix.MatchString(line):
				line = prefix.ReplaceAllString(line, "")
				line, _, _ = strings.Cut(line, " &") // in the background
				run = append(run, line)
			case file != "" && file != "-":
				run = append(run, line)
			}
		}
	}
	lines := linesToType(t, runbook)
	if len(scripts) < 8 || len(lines) < 30 {
		t.Fatalf("%d scripts and %d lines: the test looks at too little", len(scripts), len(lines))
	}
	for _, line := range lines {
		if !slices.Contains(run, line) {
			t.Errorf("no script runs what the runbook has people type:\n%s\nAdd it, as it stands, to testdata/script/runbook-*.txtar", line)
		}
	}
}

// words splits a line as a shell does, as far as the documents need it. What a
// redirection names, and a comment, are left out.
func words(line string) []string {
	var out []string
	word, open, quote := "", false, rune(0)
	end := func() {
		if open {
			out = append(out, word)
		}
		word, open = "", false
	}
	for i, r := range line {
		switch {
		case quote == ')': // of a command's output, which is one word here
			word, open = word+string(r), true
			if r == quote {
				quote = 0
			}
		case quote == 0 && strings.HasPrefix(line[i:], "$("):
			word, quote, open = word+"$", ')', true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, open = r, true
		case quote == 0 && r == ' ':
			end()
		default:
			word, open = word+string(r), true
		}
	}
	end()
	for i, w := range out {
		if w == ">" || w == "|" || strings.HasPrefix(w, "#") {
			return out[:i]
		}
	}
	return out
}

// TestDocs_commands holds what all documents have people type to the program and to
// the AWS SDK: commands, flags, operations and arguments of these names are there.
func TestDocs_commands(t *testing.T) {
	programs := map[string]int{}
	for _, name := range documented(t) {
		for _, line := range linesToType(t, filepath.Join(repoRoot, name)) {
			w := words(line)
			if len(w) == 0 {
				continue
			}
			program := strings.TrimPrefix(w[0], "./")
			programs[program]++
			switch program {
			case "breakglass":
				// With --help a line is understood, and nothing is done.
				var said strings.Builder
				if code := run(t.Context(), append(w[1:], "--help"), func(string) string { return "" }, io.Discard, &said); code != exitDone {
					t.Errorf("%s: %s\n%s", name, line, &said)
				}
			case "aws":
				if _, err := parseAWS(w[1:], func(string) (string, error) { return "", nil }); err != nil {
					t.Errorf("%s: %s\n%v", name, line, err)
				}
			}
		}
	}
	if programs["breakglass"] < 30 || programs["aws"] < 12 {
		t.Fatalf("the documents have lines of %v: the test looks at too little", programs)
	}
}

// documented are the Markdown files for people, by their names in the repository.
func documented(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
	}
	if !slices.Contains(names, "README.md") || !slices.Contains(names, "docs/runbook.md") {
		t.Fatalf("the documents are %v", names)
	}
	return names
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`^#+ +(.*)$`)
	// mdFile is a file of this repository that is named in the text.
	mdFile = regexp.MustCompile("`((?:actions|bot|cmd|store|docs|deploy|\\.ci)/[A-Za-z0-9_./*-]*[A-Za-z0-9_*])`")
)

// anchors are the places of a document that a link may lead to, as GitHub makes them
// of its headings.
func anchors(text string) []string {
	var out []string
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if m := mdHeading.FindStringSubmatch(line); m != nil && !fenced {
			keep := func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
					return r
				}
				return -1
			}
			out = append(out, strings.Map(keep, strings.ToLower(m[1])))
		}
	}
	return out
}

// TestDocs_links follows every link of every document that leads into the repository,
// wants every file that they name, and wants each page of docs reachable from the
// README.
func TestDocs_links(t *testing.T) {
	leads := map[string][]string{}
	count := 0
	for _, name := range documented(t) {
		data, err := os.ReadFile(filepath.Join(repoRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			count++
			path, place, _ := strings.Cut(target, "#")
			to := name
			if path != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), path))
			}
			leads[name] = append(leads[name], to)
			there, err := os.Stat(filepath.Join(repoRoot, to))
			if err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
				continue
			}
			if place == "" || there.IsDir() {
				continue
			}
			other, err := os.ReadFile(filepath.Join(repoRoot, to))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(anchors(string(other)), place) {
				t.Errorf("%s: %s has no heading for #%s", name, to, place)
			}
		}
		for _, m := range mdFile.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], ".ci/bin") {
				continue // what .ci/run installs
			}
			if found, err := filepath.Glob(filepath.Join(repoRoot, m[1])); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
	reached := map[string]bool{}
	for next := []string{"README.md"}; len(next) > 0; next = next[1:] {
		if !reached[next[0]] {
			reached[next[0]] = true
			next = append(next, leads[next[0]]...)
		}
	}
	for _, name := range documented(t) {
		if strings.HasPrefix(name, "docs/") && !reached[name] {
			t.Errorf("no link leads from the README to %s", name)
		}
	}
	if count < 40 {
		t.Fatalf("only %d links were found", count)
	}
}

// TestThreatModel_namesTests wants the tests that the threat model points at.
func TestThreatModel_namesTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repoRoot, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	for _, name := range tracked(t) {
		switch {
		case strings.HasSuffix(name, "_test.go"):
			code, err := os.ReadFile(filepath.Join(repoRoot, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range function.FindAllStringSubmatch(string(code), -1) {
				there[m[1]] = true
			}
		case strings.HasSuffix(name, ".txtar"):
			there[strings.TrimSuffix(filepath.Base(name), ".txtar")] = true
		}
	}
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*_[A-Za-z0-9]+|attack-[a-z-]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 30 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !there[m[1]] {
			t.Errorf("the threat model points at %s, which is not there", m[1])
		}
	}
}

// TestContributing_stepsOfCI wants the Go commands of .ci/run in the page for those who
// are to run them.
func TestContributing_stepsOfCI(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(repoRoot, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(repoRoot, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^step '[^']+' (go .*)$`).FindAllStringSubmatch(string(script), -1)
	if len(steps) < 7 {
		t.Fatalf("only %d steps were found", len(steps))
	}
	for _, m := range steps {
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("CONTRIBUTING.md does not have the step `%s` of .ci/run", m[1])
		}
	}
}
