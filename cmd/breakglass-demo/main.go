// Command breakglass-demo tells the whole story on a machine with nothing but
// Go: the real bot, the real Slack and AWS client libraries, and a database on
// disk, against a local Slack and a local AWS on loopback. It exits with 0 only
// if everything that it claims was seen to be so.
//
// It is the only program that imports the simulators. Two things differ from
// production, and it says so: after the trust is gone the bot watches for 4
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
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// limit is how long the demo may take; it takes about a third of it.
const limit = 30 * time.Second

func main() {
	verbose := flag.Bool("v", false, "show the bot's log too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the demo took longer than %s", limit))
	err := tell(ctx, os.Stdout, *verbose)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nbreakglass-demo: %v\n", err)
		os.Exit(1)
	}
}

// The cast.
const (
	ana     = "U0ANA"
	ben     = "U0BEN"
	channel = "C0ACCESS"
	cell    = "helios-prod"
	vendor  = "arn:aws:iam::111122223333:role/singlestore-support"
)

// What stands in the company's account before, and must stand there after, byte
// for byte: other people's trust, and other settings of Session Manager.
const (
	trustBefore = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    {
      "Sid": "PlatformOnCall",
      "Effect": "Allow",
      "Principal": {"AWS": ["arn:aws:iam::444455556666:role/platform-oncall"]},
      "Action": ["sts:AssumeRole", "sts:TagSession"]
    }
  ]
}`
	preferencesBefore = `{"schemaVersion":"1.0","description":"Session Manager, ours","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":false,"cloudWatchStreamingEnabled":false,"idleSessionTimeout":"15","maxSessionDuration":"600","kmsKeyId":"","runAsEnabled":true,"runAsDefaultUser":"operator","shellProfile":{"linux":"export TMOUT=900"}}}`
)

// stage is everything that the story happens on.
type stage struct {
	*teller
	slack *slacksim.Slack
	ana   *slacksim.Person
	ben   *slacksim.Person
	cell  awssim.CellScene
	aws   *awssim.Server
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

	world := awssim.New()
	world.Tune(func(k *awssim.Knobs) { k.Latency = 60 * time.Millisecond }) // about what AWS takes
	s.cell = world.NewCell(awssim.Cell{Name: cell, EKSCluster: cell, Vendor: vendor})
	s.cell.Account.Role("platform-oncall")
	s.cell.Role.Trust(trustBefore)
	s.cell.Region.Preferences(preferencesBefore)
	s.cell.Region.SetPrompt(func(command string) string {
		if strings.HasPrefix(command, "kubectl get pods") {
			return "NAME             READY   STATUS             RESTARTS\nsdb-aggregator-0 1/1     Running            0\nsdb-leaf-3       0/1     CrashLoopBackOff   17"
		}
		return ""
	})
	var err error
	if s.aws, err = world.Start(); err != nil { //nolint:contextcheck // it ends by Close
		return nil, nil, fmt.Errorf("starting the local AWS: %w", err)
	}
	s.slack = slacksim.New(slacksim.Options{})
	s.ana = s.slack.AddUser(slacksim.User{ID: ana, Name: "ana", RealName: "Ana (on call)"})
	s.ben = s.slack.AddUser(slacksim.User{ID: ben, Name: "ben", RealName: "Ben (platform)"})
	s.slack.AddChannel(slacksim.Channel{ID: channel, Name: "singlestore-access", Members: []string{ana, ben}})
	if err := s.slack.Start("127.0.0.1:0"); err != nil { //nolint:contextcheck // it ends by Close
		return nil, nil, fmt.Errorf("starting the local Slack: %w", err)
	}

	// The bot finds both as it would anywhere: by its configuration, and by the
	// variables of the AWS SDK.
	key := s.cell.Bot.Credentials()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": s.aws.URL(), "AWS_ACCESS_KEY_ID": key.AccessKeyID, "AWS_SECRET_ACCESS_KEY": key.SecretAccessKey,
		"AWS_SESSION_TOKEN": key.SessionToken, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"),
		"AWS_PROFILE": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, nil, fmt.Errorf("setting %s: %w", name, err)
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
		Cells:  []actions.Cell{{Name: cell, Account: policy.Cells[0].Account, Region: "us-east-1", EKSCluster: cell, LogGroup: "/aws/ssm/" + cell + "/cluster"}},
		Vendor: policy.Vendor, Log: log,
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
		s.slack.Close()
		if cerr := s.aws.Close(); err == nil {
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
