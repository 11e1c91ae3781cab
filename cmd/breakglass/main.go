// Command breakglass is the Slack bot that lets SingleStore Support into a BYOC
// cell for a while, and proves that the access has ended.
//
// This package is flags, configuration and wiring; it decides nothing. It never
// imports the simulators: it cannot be told to pretend.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes, part of the contract.
const (
	exitDone  = 0
	exitFail  = 1
	exitUsage = 2
)

// commandLine is every flag and command. The configuration may stand anywhere.
type commandLine struct {
	Config    string `short:"c" name:"config" default:"breakglass.yaml" placeholder:"FILE" help:"The configuration (default: ${default})."`
	LogFormat string `name:"log-format" enum:"text,json" default:"text" help:"How log lines are written: text or json."`

	Run      runCommand      `cmd:"" help:"Run the bot until it is told to stop."`
	Status   statusCommand   `cmd:"" help:"Show what is open, opening, closing or waiting, and trust that no grant explains."`
	Show     showCommand     `cmd:"" help:"Show one grant's whole story."`
	History  historyCommand  `cmd:"" help:"Show what ended last."`
	Revoke   revokeCommand   `cmd:"" help:"End access now, and prove it: through the running bot, on the database, or with --from-aws without either."`
	Audit    auditCommand    `cmd:"" help:"Check or export the audit log."`
	Backup   backupCommand   `cmd:"" help:"Write a consistent, checked copy of the live database."`
	Manifest manifestCommand `cmd:"" help:"Print the Slack app manifest."`
	Policy   policyCommand   `cmd:"" help:"Print the least that the bot may do in AWS: IAM policies, Terraform or CloudFormation."`
	Version  versionCommand  `cmd:"" help:"Print the version, the commit and the Go version."`
}

// environment is what a command gets to work with.
type environment struct {
	ctx    context.Context //nolint:containedctx // lives exactly as long as the command
	getenv func(string) string
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
	config string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	// What is said about a wrong argument repeats it, and somebody may type a token
	// where a file or a command is expected.
	stderr = &masked{stderr}
	var cli commandLine
	helped := false
	parser, err := kong.New(
		&cli,
		kong.Name("breakglass"),
		kong.Description("Lets SingleStore Support into a BYOC cell for a while, from Slack, and proves that the access has ended."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintf(stderr, "breakglass: %v\n", err)
		return exitFail
	}
	asked := len(args) > 0
	if !asked {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if helped {
		if !asked {
			return exitUsage // no command: nothing was done
		}
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "breakglass: %v\nRun `breakglass --help` to see the commands.\n", err)
		return exitUsage
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if cli.LogFormat == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	env := &environment{ctx: ctx, getenv: getenv, stdout: stdout, stderr: stderr, log: slog.New(handler), config: cli.Config}
	if err := parsed.Run(env); err != nil {
		if problems, ok := errors.AsType[*ConfigError](err); ok {
			fmt.Fprintln(stderr, problems) // each line names its place
			return exitFail
		}
		fmt.Fprintf(stderr, "breakglass: %v\n", err)
		if _, ok := errors.AsType[*usageError](err); ok {
			return exitUsage
		}
		return exitFail
	}
	return exitDone
}

// masked takes what looks like one of Slack's tokens out of what is written.
type masked struct{ w io.Writer }

var tokenPattern = regexp.MustCompile(`\bx(?:ox[a-z]|app)-[A-Za-z0-9-]+`)

// Write implements io.Writer.
func (m *masked) Write(p []byte) (int, error) {
	if _, err := m.w.Write(tokenPattern.ReplaceAll(p, []byte("(a token)"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

type versionCommand struct{}

// Run prints what is known about this build.
func (versionCommand) Run(env *environment) error {
	version, commit, changed := built()
	_, err := fmt.Fprintf(env.stdout, "breakglass %s\ncommit %s%s\n%s %s/%s\n", version, commit, changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// built is what is known about this build; changed is in words, or empty.
func built() (version, commit, changed string) {
	version, commit = "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					changed = " (with changes)"
				}
			}
		}
	}
	return version, commit, changed
}
