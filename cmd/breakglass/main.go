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

	"github.com/jessevdk/go-flags"
)

// Exit codes, part of the contract.
const (
	exitDone  = 0
	exitFail  = 1
	exitUsage = 2
)

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
	asked := len(args) > 0
	if !asked {
		args = []string{"--help"}
	}
	opts, command, err := parse(args)
	if flags.WroteHelp(err) {
		fmt.Fprint(stdout, err)
		if !asked {
			return exitUsage // no command: nothing was done
		}
		return exitDone
	}
	if err != nil {
		return failed(err, stderr)
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if opts.LogFormat == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	env := &environment{ctx: ctx, getenv: getenv, stdout: stdout, stderr: stderr, log: slog.New(handler), config: opts.Config}
	if err := command.Run(env); err != nil {
		return failed(err, stderr)
	}
	return exitDone
}

// failed says what went wrong, and is the exit code for it.
func failed(err error, stderr io.Writer) int {
	if problems, ok := errors.AsType[*ConfigError](err); ok {
		fmt.Fprintln(stderr, problems) // each line names its place
		return exitFail
	}
	if errors.Is(err, errBlocks) {
		return exitFail // the answer has said it
	}
	fmt.Fprintf(stderr, "breakglass: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFail
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
