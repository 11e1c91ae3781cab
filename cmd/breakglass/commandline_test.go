package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jessevdk/go-flags"
)

// typed is a line of a terminal and all that the program answers to it.
func typed(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := printed(t, args...)
	return fmt.Sprintf("$ breakglass %s\n%s%s(exit %d)\n", strings.Join(args, " "), stdout, stderr, code)
}

func TestCommandLine_help(t *testing.T) {
	var all strings.Builder
	all.WriteString(typed(t, "--help"))
	for _, c := range commands() {
		all.WriteString("\n" + typed(t, append(strings.Fields(c.name), "--help")...))
	}
	for line := range strings.Lines(all.String()) {
		if utf8.RuneCountInString(line) > 80+len("\n") {
			t.Errorf("wider than a terminal: %s", line)
		}
	}
	goldenFile(t, "usage/help.golden", all.String())
}

// What is wrong is said with what to type instead. Nothing is done: the exit is 2.
func TestCommandLine_wrong(t *testing.T) {
	var all strings.Builder
	for _, line := range []string{
		"bogus", "statsu", "help", "--confg x", "revoke --al", "-x", "revoke -yz", "revoke -y=true", "revoke --yes= BG-1", "revoke --why= BG-1 BG-2", "--version",
		"version --json", "version extra", "version -- -x",
		"show", "show 1 2", "backup", "audit", "audit verfy",
		"-c", "--log-format", "revoke --why -x", "revoke --why --yes", "--=x",
		"--log-format=xml version", "policy --only=x", "policy --terraform --cloudformation",
		"audit export --from=x", "audit export --from=-1", "history --json=maybe",
	} {
		out := typed(t, strings.Fields(line)...)
		if !strings.HasSuffix(out, "(exit 2)\n") {
			t.Errorf("%q was taken", line)
		}
		all.WriteString(out)
	}
	goldenFile(t, "usage/wrong.golden", all.String())
}

// Whatever is typed, it is a command with its options, help, or wrong usage, in words
// that do nothing to the terminal they are read on.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"revoke BG-1 --yes -c=x", "-yc x revoke", "revoke -yc x", "audit verify --head 1:00 -- -x", "--help revoke", "history a 1 2",
		"audit export --from -1", "\x1b[2J", "--\x1b[2J=\u202e", "policy --only=\xff", "revoke --why=\"", "-é", "---", "- -", "-=", "--= --", "check \"\" \"\"",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		opts, command, err := parse(strings.Split(line, "\x00"))
		if err == nil {
			if command == nil || opts.LogFormat != "text" && opts.LogFormat != "json" {
				t.Errorf("%q: command %v with options %+v", line, command, opts)
			}
			return
		}
		if command != nil {
			t.Errorf("%q is wrong, and runs %T", line, command)
		}
		if _, isUsage := errors.AsType[*usageError](err); !isUsage && !flags.WroteHelp(err) {
			t.Errorf("%q: %v", line, err)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf) }) {
			t.Errorf("%q: %q", line, err)
		}
	})
}
