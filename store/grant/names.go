package grant

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ID numbers a grant, from 1, never reused within one database. People say it
// aloud: BG-7.
type ID uint64

// String is the id as people read it: BG-7.
func (id ID) String() string { return "BG-" + strconv.FormatUint(uint64(id), 10) }

// Sid is the id of the grant's statement in a trust policy: BreakglassBG7. A
// Sid may hold only letters and digits (IAM User Guide, "IAM JSON policy
// elements: Sid").
func (id ID) Sid() string { return "BreakglassBG" + strconv.FormatUint(uint64(id), 10) }

var idPattern = regexp.MustCompile(`^(?:[Bb][Gg]-?)?([1-9][0-9]{0,17})$`)

// ParseID reads BG-7, bg-7, BG7 or 7.
func ParseID(s string) (ID, bool) {
	m := idPattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	return ID(n), true
}

var sidPattern = regexp.MustCompile(`^BreakglassBG([1-9][0-9]{0,17})$`)

// ParseSid reads the id back out of a statement's Sid.
func ParseSid(s string) (ID, bool) {
	m := sidPattern.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	return ParseID(m[1])
}

// UserID is a Slack user: U… or W….
type UserID string

// ChannelID is a Slack channel or direct message: C…, D… or G….
type ChannelID string

// GroupID is a Slack user group: S….
type GroupID string

// CellName is the name of a BYOC cell, as the configuration names it.
type CellName string

// AccountID is an AWS account: twelve digits, leading zeros included.
type AccountID string

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

// Valid reports whether the id is twelve digits.
func (a AccountID) Valid() bool { return accountPattern.MatchString(string(a)) }

// RoleARN is the ARN of an IAM role, parsed by [ParseRoleARN].
type RoleARN string

// IAM's rules for the parts of a role ARN (IAM User Guide, "IAM identifiers"):
// names are 1 to 64 of these characters. A path may hold more than we accept
// here; wildcards, quotes and white space have no business in a ticket's ARN.
var roleARNPattern = regexp.MustCompile(`^arn:(aws|aws-us-gov|aws-cn):iam::([0-9]{12}):role/((?:[A-Za-z0-9+=,.@_-]+/)*)([A-Za-z0-9+=,.@_-]{1,64})$`)

// ParseRoleARN accepts exactly an IAM role's ARN, in any partition, with or
// without a path, and says in the error what it was given instead.
func ParseRoleARN(s string) (RoleARN, error) {
	if len(s) <= 600 && roleARNPattern.MatchString(s) {
		return RoleARN(s), nil
	}
	switch {
	case s == "":
		return "", fmt.Errorf("no role ARN was given")
	case strings.ContainsAny(s, "*?"):
		return "", fmt.Errorf("it has a wildcard, which would trust more than one role")
	case strings.Contains(s, ":assumed-role/"):
		return "", fmt.Errorf("it names one session of a role, not the role")
	case strings.HasSuffix(s, ":root") || accountPattern.MatchString(s):
		return "", fmt.Errorf("it names a whole AWS account, not a role")
	case strings.Contains(s, ":user/"):
		return "", fmt.Errorf("it names a user, not a role")
	case strings.Contains(s, ":instance-profile/"):
		return "", fmt.Errorf("it names an instance profile, not a role")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("it has characters that no role ARN has, perhaps invisible ones or curly quotes")
	case len(s) > 600:
		return "", fmt.Errorf("it is longer than any role ARN")
	default:
		return "", fmt.Errorf("it is not the ARN of an IAM role")
	}
}

// Partition is aws, aws-us-gov or aws-cn.
func (r RoleARN) Partition() string { return r.part(1) }

// Account is the account that the role lives in.
func (r RoleARN) Account() AccountID { return AccountID(r.part(2)) }

// Name is the role's name without its path.
func (r RoleARN) Name() string { return r.part(4) }

func (r RoleARN) part(n int) string {
	m := roleARNPattern.FindStringSubmatch(string(r))
	if m == nil {
		return ""
	}
	return m[n]
}

// PartitionOf is the AWS partition of a region.
func PartitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	default:
		return "aws"
	}
}
