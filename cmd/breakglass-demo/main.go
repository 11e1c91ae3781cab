// Command breakglass-demo tells the whole story on a machine with nothing but
// Go: the real bot, the real Slack and AWS client libraries, and a database on
// disk, against a local Slack and a local AWS on loopback. It exits with 0 only
// if everything that it claims was seen to be so.
//
// With -serve it tells nothing, and keeps the two for the real breakglass, started
// beside it, and for people who type at the terminal what they would do in Slack.
//
// It is the only program that imports the simulators. Two things differ in the story
// from production, and it says so: after the trust is gone the bot watches for 4
// seconds instead of 60, and reminds 4 seconds after opening.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// limit is how long the demo may take; it takes about a third of it.
const limit = 30 * time.Second

func main() {
	verbose := flag.Bool("v", false, "show the bot's log too")
	dir := flag.String("serve", "", "tell no story; keep the local Slack and the local AWS for the real breakglass, whose configuration and environment are written into `DIR`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *dir != "" {
		err = serve(ctx, *dir, os.Stdin, os.Stdout)
	} else {
		timed, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the demo took longer than %s", limit))
		err = tell(timed, os.Stdout, *verbose)
		cancel()
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nbreakglass-demo: %v\n", err)
		os.Exit(1)
	}
}

// stage is everything that the story happens on.
type stage struct {
	*teller
	world
	ended chan error // the bot's end

	engineer *engineer // once in
	shell    *awssim.Shell
}

func tell(ctx context.Context, out io.Writer, verbose bool) (err error) {
	dir, err := os.MkdirTemp("", "breakglass-demo-")
	if err != nil {
		return fmt.Errorf("making a place for the database: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, stop, err := build(ctx, dir, out, verbose)
	if err != nil {
		return err
	}
	defer func() {
		if serr := stop(); err == nil {
			err = serr
		}
	}()
	if err := s.story(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%w (%w)", err, cause)
		}
		return err
	}
	return nil
}

// build raises the local Slack and AWS, and starts the bot between them.
func build(ctx context.Context, dir string, out io.Writer, verbose bool) (*stage, func() error, error) {
	s := &stage{teller: newTeller(out), ended: make(chan error, 1)}
	var err error
	if s.world, err = raise(); err != nil { //nolint:contextcheck // it ends by world.end
		return nil, nil, err
	}

	// The bot finds both as it would anywhere: by its configuration, and by the
	// variables of the AWS SDK.
	for _, v := range s.environment(dir) {
		if err := os.Setenv(v.name, v.value); err != nil {
			return nil, nil, fmt.Errorf("setting %s: %w", v.name, err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	if verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	db, err := store.Open(filepath.Join(dir, "breakglass.db"))
	if err != nil {
		return nil, nil, err
	}
	policy := grant.Policy{
		Vendor:      grant.Vendor{Accounts: []grant.AccountID{"111122223333"}},
		Limits:      grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour, Undecided: time.Hour},
		Approvals:   1,
		Reminders:   grant.Reminders{Undecided: 10 * time.Minute, BeforeEnd: []time.Duration{30*time.Minute - 4*time.Second}},
		Cells:       []grant.Cell{{Name: cell, Account: grant.AccountID(s.cell.Account.ID()), Region: "us-east-1"}},
		AWSEnforced: true,
		Settle:      4 * time.Second,
	}
	hands, err := actions.New(ctx, actions.Options{
		Cells: s.actionCells(), Vendor: policy.Vendor, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	b, err := bot.New(bot.Options{
		Channel: channel, APIURL: s.slack.APIURL(), BotToken: s.slack.BotToken(), AppToken: s.slack.AppToken(),
		People: bot.People{Approvers: bot.Circle{Users: []grant.UserID{ben, ana}}},
		Policy: policy, Store: db, AWS: hands, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	running, stopBot := context.WithCancel(ctx)
	go func() { s.ended <- b.Run(running) }()
	stop := func() error {
		stopBot()
		err := <-s.ended
		if cerr := db.Close(); err == nil {
			err = cerr
		}
		if cerr := s.end(); err == nil {
			err = cerr
		}
		return err
	}
	for b.Ready() != nil {
		select {
		case err := <-s.ended:
			s.ended <- err
			return nil, nil, fmt.Errorf("the bot did not start: %w", err)
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return s, stop, nil
}

// indent shifts a text to the right.
func indent(text, by string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = by + l
		}
	}
	return strings.Join(lines, "\n")
}

// pretty lays a policy out for reading.
func pretty(document string) string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(document), "", "  "); err != nil {
		return document
	}
	return b.String()
}
