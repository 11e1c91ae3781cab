package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// Config is the configuration file, checked: whoever holds one may rely on every
// field as its comment says it. [loadConfig] is the only way to get one.
type Config struct {
	Slack SlackConfig
	// Vendor says which roles SingleStore may come in by.
	Vendor grant.Vendor
	People People
	Limits grant.Limits
	// AWSEnforced puts the end of an access into AWS itself.
	AWSEnforced bool
	Reminders   grant.Reminders
	Cells       []Cell // at least one, no two of one name
	Store       StoreConfig
	// Listen is the host:port of /healthz, /readyz and /metrics.
	Listen string
	// Digest is the SHA-256 of the file, in hex: it names what was configured. Only
	// [loadConfig] sets it.
	Digest string
}

// SlackConfig says where the conversation happens.
type SlackConfig struct {
	Channel grant.ChannelID
	Team    string // empty: the token's own team
	APIURL  string // ends in a slash; https, or http to this machine
}

// People says who may do what, by Slack id.
type People struct {
	Approvers  Members // at least one user or group
	Requesters Members // empty: any full member of the team
	Revokers   Members // besides the requester and the approvers
	Emergency  Members // empty: nobody
	// Approvals is how many distinct people must say yes, never the requester.
	Approvals int
}

// Members is a list of Slack users and user groups.
type Members struct {
	Users  []grant.UserID
	Groups []grant.GroupID
}

// Empty reports whether nobody is named.
func (m Members) Empty() bool { return len(m.Users) == 0 && len(m.Groups) == 0 }

// Cell is one BYOC cell, and how to reach it in AWS.
type Cell struct {
	Name       grant.CellName
	Account    grant.AccountID
	Region     string
	EKSCluster string // may be empty
	Role       string // a role's name; empty: found by convention
	LogGroup   string // never empty
	Instance   string // an instance id; empty: found by its Name tag
	AssumeRole grant.RoleARN
	ExternalID string
	Approvals  int // zero: People.Approvals
	// TrailRegions are more regions in whose CloudTrail it is looked who assumed
	// the role: AWS logs that where SingleStore's call to STS goes in.
	TrailRegions []string
}

// StoreConfig says where the database is.
type StoreConfig struct {
	Path string // relative to the working directory, or absolute
	// HeadFile is where the head of the audit log is noted; empty: nowhere.
	HeadFile string
}

// Policy is what the decisions of package grant need of the configuration.
func (c Config) Policy() grant.Policy {
	p := grant.Policy{
		Vendor: grant.Vendor{
			Accounts: slices.Clone(c.Vendor.Accounts),
			Roles:    slices.Clone(c.Vendor.Roles),
		},
		Limits:      c.Limits,
		Approvals:   c.People.Approvals,
		Reminders:   c.Reminders,
		AWSEnforced: c.AWSEnforced,
	}
	p.Reminders.BeforeEnd = slices.Clone(c.Reminders.BeforeEnd)
	for _, cell := range c.Cells {
		p.Cells = append(p.Cells, grant.Cell{
			Name: cell.Name, Account: cell.Account, Region: cell.Region, Approvals: cell.Approvals,
		})
	}
	return p
}

// What holds where the file is silent (DESIGN 3.3).
const (
	defaultAPIURL    = "https://slack.com/api/"
	defaultApprovals = 1
	defaultStorePath = "breakglass.db"
	defaultListen    = "127.0.0.1:9464"
)

func defaultLimits() grant.Limits {
	return grant.Limits{Default: 4 * time.Hour, Max: 12 * time.Hour, Undecided: time.Hour}
}

func defaultReminders() grant.Reminders {
	return grant.Reminders{
		Undecided: 10 * time.Minute,
		Unsent:    15 * time.Minute,
		BeforeEnd: []time.Duration{30 * time.Minute, 10 * time.Minute},
		StillOpen: 2 * time.Hour,
		Unused:    30 * time.Minute,
	}
}

// maxConfig bounds the file; a configuration of a thousand cells is a third of it.
const maxConfig = 1 << 20

// loadConfig reads and checks the configuration file. What is wrong with it is a
// *[ConfigError] that names every problem, each with its line.
func loadConfig(path string) (Config, error) {
	data, err := readConfig(path)
	if err != nil {
		return Config{}, err
	}
	c, err := parseConfig(path, data)
	if err == nil {
		sum := sha256.Sum256(data)
		c.Digest = hex.EncodeToString(sum[:])
	}
	return c, err
}

func readConfig(path string) ([]byte, error) {
	say := func(text, remedy string) error {
		return &ConfigError{Problems: []Problem{{File: path, Text: text, Remedy: remedy}}}
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, say("there is no such file", "name the configuration with -c FILE (deploy/breakglass.example.yaml is one to start from)")
	case errors.Is(err, fs.ErrPermission):
		return nil, say("may not be read by this user", "give it to the user that runs breakglass, or change its mode")
	case err != nil:
		return nil, say(fmt.Sprintf("cannot be opened: %v", cause(err)), "name the configuration with -c FILE")
	}
	defer f.Close()

	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, say("is a directory", "name the file in it")
	}
	// One byte more than may be there tells a file that is too large from one
	// that just fits, whatever its size claims to be.
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, say(fmt.Sprintf("cannot be read: %v", cause(err)), "look at the disk that it is on")
	}
	return data, nil
}

// cause strips the path off a file error: the message names it already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Problem is one thing that is wrong with the configuration, and what to do.
type Problem struct {
	File   string
	Line   int    // from 1; zero: the file as a whole
	Key    string // for example cells[0].account; empty: no one key
	Text   string
	Remedy string // what to do about it
}

// String is the problem on one line, as editors and people know how to follow.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	if p.Remedy != "" {
		b.WriteString(semicolon + p.Remedy)
	}
	return b.String()
}

// ConfigError is everything that is wrong with the configuration, in the order
// of the file's lines.
type ConfigError struct{ Problems []Problem }

// mostProblems is how many problems are worth reading at once.
const mostProblems = 100

// Error lists the problems, one a line.
func (e *ConfigError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for i, p := range e.Problems {
		if i == mostProblems {
			lines = append(lines, fmt.Sprintf("%s: and %d more problems; mend these first", p.File, len(e.Problems)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}
