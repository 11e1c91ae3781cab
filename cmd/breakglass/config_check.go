package main

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"breakglass/store/grant"
)

// What ids and names look like, from the vendors' own references. The Slack
// patterns are wide on purpose: Slack promises the first letter, not the length.
var (
	channelPattern = regexp.MustCompile(`^[CG][A-Z0-9]{1,20}$`)
	teamPattern    = regexp.MustCompile(`^[TE][A-Z0-9]{1,20}$`)
	userPattern    = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)
	groupPattern   = regexp.MustCompile(`^S[A-Z0-9]{1,20}$`)

	cellPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	digitsPattern   = regexp.MustCompile(`^[0-9]+$`)
	regionPattern   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	clusterPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	roleNamePattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	logGroupPattern = regexp.MustCompile(`^[A-Za-z0-9_./#-]{1,512}$`)
	instancePattern = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	externalPattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@:/-]+$`) // and 2 to 1224 of them
	// Only the part after role/ may be left open: a * before it would let
	// another account, or something that is no role, match.
	rolePrefixPattern = regexp.MustCompile(`^arn:(?:aws|aws-us-gov|aws-cn):iam::([0-9]{12}):role/[A-Za-z0-9+=,.@_/-]{0,512}\*$`)
)

// parseConfig checks a configuration; name is what messages call the file.
func parseConfig(name string, data []byte) (Config, error) {
	w := &walker{file: name}
	root := w.tree(data)
	if root == nil {
		return Config{}, w.fault()
	}
	top := w.section(field{line: 1, node: root}, "slack", "singlestore", "people", "limits", "reminders", "cells", "store", "listen")
	if root.Kind != yaml.MappingNode {
		return Config{}, w.fault() // and not, besides, that every key is missing
	}

	var c Config
	c.Slack = w.slack(top["slack"])
	c.Vendor = w.vendor(top["singlestore"])
	c.People = w.people(top["people"])
	c.Limits, c.AWSEnforced = w.limits(top["limits"])
	c.Reminders = w.reminders(top["reminders"])
	c.Cells = w.cells(top["cells"], c.Vendor, c.People)
	c.Store = w.store(top["store"])
	c.Listen = w.listen(top["listen"])
	if err := w.fault(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// match reads a text that must match a pattern; what says what it must be, with
// an example. An empty answer means that there is none, or none that is right.
func (w *walker) match(f field, p *regexp.Regexp, what string) string {
	s, ok := w.text(f)
	if !ok {
		return ""
	}
	if !p.MatchString(s) {
		w.sayAt(f, "%s is not %s", show(s), what)
		return ""
	}
	return s
}

// need reports a key that must be there and is not.
func (w *walker) need(f field, remedy string) {
	if !f.set() {
		w.sayAt(f, "is missing; %s", remedy)
	}
}

func emptyList(f field) bool {
	return f.node != nil && f.node.Kind == yaml.SequenceNode && len(f.node.Content) == 0
}

// duration reads a duration, or answers the default. zero says that 0 is allowed
// and means off.
func (w *walker) duration(f field, otherwise time.Duration, zero bool) (d time.Duration, ok bool) {
	s, set := w.text(f)
	if !set {
		return otherwise, !f.set()
	}
	d, err := grant.ParseDuration(s)
	plain, notPlain := time.ParseDuration(s)
	off := notPlain == nil && plain == 0
	switch {
	case err == nil:
		return d, true
	case off && zero:
		return 0, true
	case off:
		w.sayAt(f, "%s is not a positive duration; write one such as 45s, 90m, 4h, 1h30m or 2d", show(s))
	case strings.HasPrefix(strings.TrimSpace(s), "-"):
		w.sayAt(f, "%s is negative; write a positive duration such as 45s, 90m, 4h, 1h30m or 2d", show(s))
	case digitsPattern.MatchString(s):
		n := s[:min(len(s), 12)]
		w.sayAt(f, "%s has no unit; write %ss, %sm or %sh", show(s), n, n, n)
	default:
		w.sayAt(f, "%s is not a duration; write one such as 45s, 90m, 4h, 1h30m or 2d", show(s))
	}
	return otherwise, false
}

// count reads a whole number from 1, or answers the default.
func (w *walker) count(f field, otherwise int) int {
	s, ok := w.text(f)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 100 || !digitsPattern.MatchString(s) || s[0] == '0' {
		w.sayAt(f, "%s is not a whole number from 1 to 100", show(s))
		return otherwise
	}
	return n
}

// flag reads true or false, or answers the default.
func (w *walker) flag(f field, otherwise bool) bool {
	switch s, ok := w.text(f); {
	case !ok:
		return otherwise
	case s == "true":
		return true
	case s == "false":
		return false
	default:
		w.sayAt(f, "%s is neither true nor false", show(s))
		return otherwise
	}
}

// unique reads a list of texts that match a pattern, no two of them the same.
func unique[T ~string](w *walker, f field, p *regexp.Regexp, what string) []T {
	items, _ := w.list(f)
	var out []T
	for _, item := range items {
		v := T(w.match(item, p, what))
		switch {
		case v == "":
		case slices.Contains(out, v):
			w.sayAt(item, "%s is in the list twice; keep one of them", show(string(v)))
		default:
			out = append(out, v)
		}
	}
	return out
}

func (w *walker) slack(f field) SlackConfig {
	s := w.section(f, "channel", "team", "api_url")
	const channel = "the id of the channel for requests: in Slack, open the channel's details, it is the last line, C0123456789"
	w.need(s["channel"], "give "+channel)
	return SlackConfig{
		Channel: grant.ChannelID(w.match(s["channel"], channelPattern, "a channel id; give "+channel)),
		Team:    w.match(s["team"], teamPattern, "a team id such as T0123456789; leave the key out for the token's own team"),
		APIURL:  w.apiURL(s["api_url"]),
	}
}

// apiURL reads the address that tokens are sent to.
func (w *walker) apiURL(f field) string {
	s, ok := w.text(f)
	if !ok {
		return defaultAPIURL
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || (u.Scheme != "https" && u.Scheme != "http"):
		w.sayAt(f, "%s is not a web address; write one such as %s", hideUser(s), defaultAPIURL)
	case u.User != nil:
		w.sayAt(f, "has a user name or password in it, which Slack does not use; take it out")
	case u.Hostname() == "":
		w.sayAt(f, "%s names no host; write an address such as %s", show(s), defaultAPIURL)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		w.sayAt(f, "%s has a ? or # in it; write only the part before it", show(s))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		w.sayAt(f, "%s would send the tokens in the clear; use https (http is allowed only to this machine, such as http://127.0.0.1:8080/api/)", show(s))
	case !strings.HasSuffix(u.Path, "/"):
		return u.JoinPath("/").String()
	default:
		return u.String()
	}
	return defaultAPIURL
}

func hideUser(s string) string {
	if strings.Contains(s, "@") {
		return redacted
	}
	return show(s)
}

// loopback reports whether a host is certainly this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

const accountIs = `twelve digits; an AWS account id looks like "444455556666"`

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

func (w *walker) vendor(f field) grant.Vendor {
	s := w.section(f, "accounts", "roles")
	accounts := s["accounts"]
	v := grant.Vendor{Accounts: unique[grant.AccountID](w, accounts, accountPattern, accountIs)}
	const remedy = "list the AWS accounts that SingleStore's roles come from; SingleStore Support names them"
	w.need(accounts, remedy)
	if emptyList(accounts) {
		w.sayAt(accounts, "is empty; %s", remedy)
	}

	items, _ := w.list(s["roles"])
	for _, item := range items {
		role, ok := w.text(item)
		if !ok {
			continue
		}
		account, problem := rolePattern(role)
		switch {
		case problem != "":
			w.sayAt(item, "%s %s", show(role), problem)
		case len(v.Accounts) > 0 && !slices.Contains(v.Accounts, account):
			w.sayAt(item, "%s is in account %s, which singlestore.accounts does not list; correct the ARN, or list the account", show(role), account)
		case slices.Contains(v.Roles, role):
			w.sayAt(item, "%s is in the list twice; keep one of them", show(role))
		default:
			v.Roles = append(v.Roles, role)
		}
	}
	return v
}

// rolePattern checks an exact role ARN, or one that ends in *.
func rolePattern(s string) (grant.AccountID, string) {
	if m := rolePrefixPattern.FindStringSubmatch(s); m != nil {
		return grant.AccountID(m[1]), ""
	}
	if strings.Contains(s, "*") {
		return "", "has its * in the wrong place; one * may end the ARN, after role/, such as arn:aws:iam::111122223333:role/support-*"
	}
	arn, err := grant.ParseRoleARN(s)
	if err != nil {
		return "", "cannot be used: " + err.Error() + "; write one such as arn:aws:iam::111122223333:role/support"
	}
	return arn.Account(), ""
}

func (w *walker) members(f field) Members {
	s := w.section(f, "users", "groups")
	return Members{
		Users: unique[grant.UserID](w, s["users"], userPattern,
			"a user id such as U0123456789; in Slack, open the profile, then ⋮ and Copy member ID (a user group, S…, belongs under groups)"),
		Groups: unique[grant.GroupID](w, s["groups"], groupPattern,
			"a user group's id such as S0123456789; in Slack, open People, User groups, the group, then ⋮ and Copy group ID (a person, U…, belongs under users)"),
	}
}

func (w *walker) people(f field) People {
	s := w.section(f, "approvers", "requesters", "revokers", "emergency", "approvals")
	before := len(w.problems)
	p := People{Approvers: w.members(s["approvers"])}
	if p.Approvers.Empty() && len(w.problems) == before {
		w.sayAt(s["approvers"], "names nobody; list at least one user or group, or no request could ever be approved")
	}
	p.Requesters = w.members(s["requesters"])
	p.Revokers = w.members(s["revokers"])
	p.Emergency = w.members(s["emergency"])
	p.Approvals = w.count(s["approvals"], defaultApprovals)
	w.enough(s["approvals"], p.Approvals, p.Approvers)
	return p
}

// enough checks that the approvers could give so many approvals at all. How many
// people a group has is Slack's to know.
func (w *walker) enough(f field, approvals int, by Members) {
	if f.set() && !by.Empty() && len(by.Groups) == 0 && approvals > len(by.Users) {
		w.sayAt(f, "asks for %d approvals, but people.approvers names only %d; lower it, or name more approvers", approvals, len(by.Users))
	}
}

func (w *walker) limits(f field) (grant.Limits, bool) {
	s := w.section(f, "default", "max", "undecided", "aws_enforced")
	l := defaultLimits()
	var okDefault, okMax bool
	l.Max, okMax = w.duration(s["max"], l.Max, false)
	l.Default, okDefault = w.duration(s["default"], l.Default, false)
	l.Undecided, _ = w.duration(s["undecided"], l.Undecided, false)
	const shortest = "is shorter than 1 s, the shortest access there is"
	switch {
	case okMax && l.Max < time.Second:
		w.sayAt(s["max"], shortest)
	case okDefault && l.Default < time.Second:
		w.sayAt(s["default"], shortest)
	case okMax && okDefault && l.Default > l.Max:
		if s["default"].set() {
			w.sayAt(s["default"], "%s is longer than limits.max, %s; lower it, or raise limits.max", grant.FormatDuration(l.Default), grant.FormatDuration(l.Max))
		}
		// Whoever only lowers the most that is allowed has lowered the default too.
		l.Default = l.Max
	}
	return l, w.flag(s["aws_enforced"], true)
}

func (w *walker) reminders(f field) grant.Reminders {
	s := w.section(f, "undecided", "unsent", "before_end", "still_open", "unused")
	r := defaultReminders()
	r.Undecided, _ = w.duration(s["undecided"], r.Undecided, true)
	r.Unsent, _ = w.duration(s["unsent"], r.Unsent, true)
	r.StillOpen, _ = w.duration(s["still_open"], r.StillOpen, true)
	r.Unused, _ = w.duration(s["unused"], r.Unused, true)

	before := s["before_end"]
	if n := before.node; n != nil && n.Kind == yaml.ScalarNode && n.Value == "0" {
		r.BeforeEnd = nil
		return r
	}
	items, ok := w.list(before)
	if !ok {
		return r
	}
	r.BeforeEnd = nil
	for _, item := range items {
		switch d, ok := w.duration(item, 0, false); {
		case !ok:
		case slices.Contains(r.BeforeEnd, d):
			w.sayAt(item, "%s is in the list twice; keep one of them", grant.FormatDuration(d))
		default:
			r.BeforeEnd = append(r.BeforeEnd, d)
		}
	}
	// The order of the file means nothing; the first to come is the longest.
	slices.SortFunc(r.BeforeEnd, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	return r
}

func (w *walker) cells(f field, v grant.Vendor, p People) []Cell {
	const remedy = "describe at least one cell: its name, account and region"
	w.need(f, remedy)
	if emptyList(f) {
		w.sayAt(f, "is empty; %s", remedy)
	}
	items, _ := w.list(f)

	var cells []Cell
	lines := make(map[string]int) // of names, in lower case: people say them aloud
	for _, item := range items {
		c, name := w.cell(item, v, p)
		if low := strings.ToLower(string(c.Name)); low != "" {
			if first, twice := lines[low]; twice {
				w.sayAt(name, "there is a cell %s on line %d already; give this one another name, or take it out", show(string(c.Name)), first)
				continue
			}
			lines[low] = name.line
		}
		cells = append(cells, c)
	}
	return cells
}

func (w *walker) cell(f field, v grant.Vendor, p People) (Cell, field) {
	s := w.section(f, "name", "account", "region", "eks_cluster", "role", "log_group", "instance", "assume_role", "external_id", "approvals", "cloudtrail_regions")
	if f.node.Kind != yaml.MappingNode {
		return Cell{}, s["name"] // said already
	}
	w.need(s["name"], "name the cell as people call it, such as helios-prod")
	w.need(s["account"], `give the AWS account of the cell, such as "444455556666"`)
	w.need(s["region"], "give the AWS region of the cell, such as us-east-1")

	c := Cell{
		Name:       w.cellName(s["name"]),
		Account:    grant.AccountID(w.match(s["account"], accountPattern, accountIs)),
		Region:     w.match(s["region"], regionPattern, "an AWS region such as us-east-1 or us-gov-west-1"),
		EKSCluster: w.match(s["eks_cluster"], clusterPattern, "the name of an EKS cluster: letters, digits, - and _, 100 at most"),
		Role:       w.roleName(s["role"]),
		LogGroup:   w.match(s["log_group"], logGroupPattern, "the name of a log group: letters, digits and _ - / . #, 512 at most"),
		Instance:   w.match(s["instance"], instancePattern, "an instance id such as i-0123456789abcdef0"),
		ExternalID: w.externalID(s["external_id"]),
		Approvals:  w.count(s["approvals"], 0),
	}
	if c.LogGroup == "" && c.Name != "" {
		c.LogGroup = "/aws/ssm/" + string(c.Name) + "/cluster"
	}
	if slices.Contains(v.Accounts, c.Account) {
		w.sayAt(s["account"], "%s is one of singlestore.accounts; a cell lives in your own account, correct one of the two", c.Account)
	}
	c.AssumeRole = w.assumeRole(s["assume_role"], c)
	c.TrailRegions = w.regions(s["cloudtrail_regions"], c)
	if c.ExternalID != "" && !s["assume_role"].set() {
		w.sayAt(s["external_id"], "has no use without assume_role; name the role, or take this out")
	}
	w.enough(s["approvals"], c.Approvals, p.Approvers)
	return c, s["name"]
}

// regions reads a list of regions of the cell's partition.
func (w *walker) regions(f field, c Cell) []string {
	items, _ := w.list(f)
	var out []string
	for _, item := range items {
		switch r := w.match(item, regionPattern, "an AWS region such as us-east-1 or us-gov-west-1"); {
		case r == "":
		case slices.Contains(out, r):
			w.sayAt(item, "%s is in the list twice; keep one of them", r)
		case c.Region != "" && grant.PartitionOf(r) != grant.PartitionOf(c.Region):
			w.sayAt(item, "%s is in the partition %s, but the cell is in %s; take it out", r, grant.PartitionOf(r), grant.PartitionOf(c.Region))
		default:
			out = append(out, r)
		}
	}
	return out
}

// cellName reads a name that no command can take for something else.
func (w *walker) cellName(f field) grant.CellName {
	name := w.match(f, cellPattern, "a cell's name: letters, digits and . _ -, 64 at most, the first a letter or a digit")
	_, id := grant.ParseID(name)
	switch {
	case id || digitsPattern.MatchString(name):
		w.sayAt(f, "%s reads like the number of a grant; give the cell another name", show(name))
	case strings.EqualFold(name, "all"):
		w.sayAt(f, "%s means every cell in the commands; give the cell another name", show(name))
	default:
		return grant.CellName(name)
	}
	return ""
}

func (w *walker) roleName(f field) string {
	if s, ok := w.text(f); ok && strings.Contains(s, "/") {
		w.sayAt(f, "%s is not a role's bare name; write only the part after the last /, such as %s", show(s), show(s[strings.LastIndex(s, "/")+1:]))
		return ""
	}
	return w.match(f, roleNamePattern, "a role's name: letters, digits and _ + = , . @ -, 64 at most")
}

func (w *walker) externalID(f field) string {
	const what = "an external id: 2 to 1224 letters, digits and _ + = , . @ : / -"
	id := w.match(f, externalPattern, what)
	if n := len(id); id != "" && (n < 2 || n > 1224) {
		w.sayAt(f, "%s is not %s", show(id), what)
		return ""
	}
	return id
}

func (w *walker) assumeRole(f field, c Cell) grant.RoleARN {
	s, ok := w.text(f)
	if !ok {
		return ""
	}
	arn, err := grant.ParseRoleARN(s)
	switch {
	case err != nil:
		w.sayAt(f, "%s cannot be used: %v; write one such as arn:aws:iam::444455556666:role/breakglass-bot", show(s), err)
	case c.Account != "" && arn.Account() != c.Account:
		w.sayAt(f, "is in account %s, but the cell is in %s; name a role in the cell's account", arn.Account(), c.Account)
	case c.Region != "" && arn.Partition() != grant.PartitionOf(c.Region):
		w.sayAt(f, "begins with arn:%s, but the region %s needs arn:%s", arn.Partition(), c.Region, grant.PartitionOf(c.Region))
	default:
		return arn
	}
	return ""
}

func (w *walker) store(f field) StoreConfig {
	s := w.section(f, "path", "head_file")
	path, ok := w.path(s["path"], defaultStorePath)
	if !ok {
		path = defaultStorePath
	}
	head, _ := w.path(s["head_file"], "heads.jsonl")
	if head != "" && filepath.Clean(head) == filepath.Clean(path) {
		w.sayAt(s["head_file"], "%s is the database itself; name another file, best one that others take away", show(head))
	}
	return StoreConfig{Path: path, HeadFile: head}
}

// path reads the name of a file. ok says that there is one.
func (w *walker) path(f field, example string) (path string, ok bool) {
	path, ok = w.text(f)
	switch {
	case !ok:
	case strings.HasSuffix(path, "/"):
		w.sayAt(f, "%s is a directory; name the file in it, such as %s%s", show(path), strings.Trim(show(path), `"`), example)
	case strings.ContainsAny(path, "\x00\r\n"):
		w.sayAt(f, "%s has a line break in it; write the path on one line", show(path))
	case strings.HasPrefix(path, "~"):
		w.sayAt(f, "%s begins with ~, which only a shell understands; write the whole path", show(path))
	}
	return path, ok
}

func (w *walker) listen(f field) string {
	s, ok := w.text(f)
	if !ok {
		return defaultListen
	}
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || strconv.FormatUint(n, 10) != port || strings.ContainsAny(host, " \t\r\n/@") {
		w.sayAt(f, "%s is not host:port; write one such as %s", show(s), defaultListen)
		return defaultListen
	}
	return s
}
