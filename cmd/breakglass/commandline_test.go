package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// commandNames lists every command of the program, groups too, as they are typed.
func commandNames() []string {
	var walk func(above string, t reflect.Type) []string
	walk = func(above string, t reflect.Type) []string {
		var names []string
		for f := range t.Fields() {
			if _, ok := f.Tag.Lookup("cmd"); !ok {
				continue
			}
			name := strings.TrimSpace(above + " " + strings.ToLower(f.Name))
			names = append(append(names, name), walk(name, f.Type)...)
		}
		return names
	}
	return walk("", reflect.TypeFor[commandLine]())
}

// typed is a line of a terminal and all that the program answers to it.
func typed(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := printed(t, args...)
	return fmt.Sprintf("$ breakglass %s\n%s%s(exit %d)\n", strings.Join(args, " "), stdout, stderr, code)
}

func TestCommandLine_help(t *testing.T) {
	all := typed(t, "--help")
	for _, name := range commandNames() {
		all += "\n" + typed(t, append(strings.Fields(name), "--help")...)
	}
	goldenFile(t, "usage/help.golden", all)
}

// What is wrong is said with what to type instead. Nothing is done: the exit is 2.
func TestCommandLine_wrong(t *testing.T) {
	var all string
	for _, line := range []string{
		"bogus", "statsu", "help", "--confg x", "revoke --al", "-x", "revoke -yz", "revoke -y=true", "--version",
		"version --json", "version --help --bogus", "version extra", "version -- -x",
		"show", "show 1 2", "backup", "audit", "audit verfy",
		"-c", "--log-format", "revoke --why -x", "revoke --why --yes", "--=x",
		"--log-format=xml version", "policy --only=x", "policy --terraform --cloudformation",
		"audit export --from=x", "audit export --from=-1", "history --json=maybe",
	} {
		out := typed(t, strings.Fields(line)...)
		if !strings.HasSuffix(out, "(exit 2)\n") {
			t.Errorf("%q was taken", line)
		}
		all += out
	}
	goldenFile(t, "usage/wrong.golden", all)
}
