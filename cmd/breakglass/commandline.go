package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jessevdk/go-flags"
)

// The command line is read by go-flags, for what it says of wrong usage, and for the
// size of the binary: it calls no method by a name that is known only at run time, as
// kong does, and everything that prints help with text/template. After such a call the
// linker must keep every exported method, and the clients for AWS have thousands that
// nobody calls (TestWalls_deadCode). go-arg, the other one that is as small, takes an
// empty --yes= for yes and the next word for the value of an empty --why=, and shows a
// command's help without saying what the command does.

// options are the flags of every command, and may stand anywhere.
type options struct {
	Config    string `long:"config" short:"c" value-name:"FILE" default:"breakglass.yaml" description:"The configuration"`
	LogFormat string `long:"log-format" choice:"text" choice:"json" default:"text" description:"How log lines are written"`
}

// runner is a command that does something. Its fields are its flags and words.
type runner interface {
	Run(env *environment) error
}

// command is a word of the command line, or two.
type command struct {
	name   string
	does   string // one sentence, which fits beside the name in the list of commands
	fully  string // what its own help says instead; empty: the same
	runner runner // nil: only with one of the commands below it
}

// commands is every command; one stands before those below it.
func commands() []command {
	return []command{
		{"run", "Run the bot until it is told to stop.", "", &runCommand{}},
		{
			"check", "Say what is wrong in the setup, and what to do about each problem.",
			"Look at the configuration, the secrets, the database, Slack and every cell, and say what to do about each problem.", &checkCommand{},
		},
		{
			"status", "Show what is open, opening, closing or waiting.",
			"Show what is open, opening, closing or waiting, and trust that no grant explains.", &statusCommand{},
		},
		{"show", "Show one grant's whole story.", "", &showCommand{}},
		{"history", "Show what ended last.", "", &historyCommand{}},
		{
			"revoke", "End access now, and prove it.",
			"End access now, and prove it: through the running bot, on the database, or with --from-aws without either.", &revokeCommand{},
		},
		{"audit", "Check or export the audit log.", "", nil},
		{"audit verify", "Check that no entry was changed, removed, added or moved.", "", &auditVerifyCommand{}},
		{"audit export", "Write the entries as JSON Lines (docs/audit.md explains each field).", "", &auditExportCommand{}},
		{"backup", "Write a consistent, checked copy of the live database.", "", &backupCommand{}},
		{"manifest", "Print the Slack app manifest.", "", &manifestCommand{}},
		{
			"policy", "Print the least that the bot may do in AWS.",
			"Print the least that the bot may do in AWS: IAM policies, Terraform or CloudFormation.", &policyCommand{},
		},
		{"version", "Print the version, the commit and the Go version.", "", &versionCommand{}},
	}
}

// parse reads a command line: which command is to run, and with which options. Its
// error is a *usageError that says what to type instead, or, for which flags.WroteHelp
// answers true, the help that was asked for; any other is a mistake in the declarations.
func parse(args []string) (options, runner, error) {
	var opts options
	parser := flags.NewNamedParser("breakglass", flags.HelpFlag|flags.PassDoubleDash)
	parser.LongDescription = "Lets SingleStore Support into a BYOC cell for a while, from Slack, and proves that the access has ended."
	if _, err := parser.AddGroup("Options of every command", "", &opts); err != nil {
		return opts, nil, err
	}
	runners := map[*flags.Command]runner{}
	for _, c := range commands() {
		above, name := parser.Command, c.name
		if group, below, nested := strings.Cut(c.name, " "); nested {
			above, name = parser.Find(group), below
		}
		fully := c.fully
		if fully == "" {
			fully = c.does
		}
		var fields any = c.runner
		if c.runner == nil {
			fields = &struct{}{}
		}
		declared, err := above.AddCommand(name, c.does, fully, fields)
		if err != nil {
			return opts, nil, fmt.Errorf("declare the command %s: %w", c.name, err)
		}
		runners[declared] = c.runner
	}

	left, err := parser.ParseArgs(args)
	if flags.WroteHelp(err) {
		return opts, nil, err
	}
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("unexpected argument `%s'", left[0])
	}
	typed, chosen := parser.Name, parser.Command
	for chosen.Active != nil {
		chosen = chosen.Active
		typed += " " + chosen.Name
	}
	if err != nil {
		// What was typed is repeated, and may be anything.
		text := said(err.Error())
		first, size := utf8.DecodeRuneInString(text)
		return opts, nil, usage("%c%s\nRun `%s --help` to see what may be typed.", unicode.ToLower(first), text[size:], typed)
	}
	return opts, runners[chosen], nil
}
