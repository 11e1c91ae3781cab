package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

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

// world is a local Slack and a local AWS on loopback, with people and a cell.
type world struct {
	slack *slacksim.Slack
	ana   *slacksim.Person
	ben   *slacksim.Person
	cell  awssim.CellScene
	aws   *awssim.Server
}

// raise starts both.
func raise() (world, error) {
	var w world
	sky := awssim.New()
	sky.Tune(func(k *awssim.Knobs) { k.Latency = 60 * time.Millisecond }) // about what AWS takes
	w.cell = sky.NewCell(awssim.Cell{Name: cell, EKSCluster: cell, Vendor: vendor})
	w.cell.Account.Role("platform-oncall")
	w.cell.Role.Trust(trustBefore)
	w.cell.Region.Preferences(preferencesBefore)
	w.cell.Region.SetPrompt(func(command string) string {
		if strings.HasPrefix(command, "kubectl get pods") {
			return "NAME             READY   STATUS             RESTARTS\nsdb-aggregator-0 1/1     Running            0\nsdb-leaf-3       0/1     CrashLoopBackOff   17"
		}
		return ""
	})
	w.slack = slacksim.New(slacksim.Options{})
	w.ana = w.slack.AddUser(slacksim.User{ID: ana, Name: "ana", RealName: "Ana (on call)"})
	w.ben = w.slack.AddUser(slacksim.User{ID: ben, Name: "ben", RealName: "Ben (platform)"})
	w.slack.AddChannel(slacksim.Channel{ID: channel, Name: "singlestore-access", Members: []string{ana, ben}})
	if err := w.slack.Start("127.0.0.1:0"); err != nil {
		w.slack.Close()
		return w, fmt.Errorf("starting the local Slack: %w", err)
	}
	var err error
	if w.aws, err = sky.Start(); err != nil {
		w.slack.Close()
		return w, fmt.Errorf("starting the local AWS: %w", err)
	}
	return w, nil
}

// end stops both.
func (w world) end() error {
	w.slack.Close()
	return w.aws.Close()
}

// actionCells are the cells as package actions wants them.
func (w world) actionCells() []actions.Cell {
	return []actions.Cell{{
		Name: cell, Account: grant.AccountID(w.cell.Account.ID()), Region: "us-east-1", EKSCluster: cell,
		LogGroup: "/aws/ssm/" + cell + "/cluster",
	}}
}

// A variable is one of the environment. Without a value it is not to be set.
type variable struct{ name, value string }

// environment is how the AWS SDK finds the local AWS, and nothing of the person's
// own: dir is a directory in which there is no AWS configuration.
func (w world) environment(dir string) []variable {
	key := w.cell.Bot.Credentials()
	return []variable{
		{"AWS_ENDPOINT_URL", w.aws.URL()},
		{"AWS_ACCESS_KEY_ID", key.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", key.SecretAccessKey},
		{"AWS_SESSION_TOKEN", key.SessionToken},
		{"AWS_EC2_METADATA_DISABLED", "true"},
		{"AWS_CONFIG_FILE", filepath.Join(dir, "none")},
		{"AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none")},
		{"AWS_PROFILE", ""},
	}
}
