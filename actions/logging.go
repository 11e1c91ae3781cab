package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/store/grant"
)

// preferencesName is the document that holds a region's Session Manager
// preferences: one for the whole account and region, shared by all cells and by
// everybody else who uses Session Manager there (Systems Manager User Guide,
// "Update Session Manager preferences (command line)").
const preferencesName = "SSM-SessionManagerRunShell"

const (
	latestVersion  = "$LATEST"
	defaultVersion = "$DEFAULT"
)

// The three inputs that are ours to set ("Session document schema").
const (
	inputGroup      = "cloudWatchLogGroupName"
	inputEncryption = "cloudWatchEncryptionEnabled"
	inputStreaming  = "cloudWatchStreamingEnabled"
)

// emptyPreferences is what the console writes when preferences are first saved,
// with logging still off.
const emptyPreferences = `{"schemaVersion":"1.0","description":"Document to hold regional settings for Session Manager","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":false,"cloudWatchStreamingEnabled":false,"kmsKeyId":"","runAsEnabled":false,"runAsDefaultUser":"","idleSessionTimeout":"20","maxSessionDuration":"","shellProfile":{"windows":"","linux":""}}}`

// logGroup is what is known of the cell's log group.
type logGroup struct {
	name    string
	exists  bool
	kms     bool
	similar []string // groups whose name only begins alike
}

// readLogGroup looks for exactly this group: DescribeLogGroups matches by
// prefix, so /aws/ssm/a/cluster also finds /aws/ssm/a/cluster-old (CloudWatch
// Logs API Reference).
func readLogGroup(ctx context.Context, cl *clients, name string) (logGroup, error) {
	g := logGroup{name: name}
	pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(cl.logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return g, err
		}
		for _, found := range page.LogGroups {
			if aws.ToString(found.LogGroupName) == name {
				g.exists, g.kms = true, encrypted(found)
				return g, nil
			}
			g.similar = append(g.similar, aws.ToString(found.LogGroupName))
		}
	}
	return g, nil
}

func encrypted(g logtypes.LogGroup) bool { return aws.ToString(g.KmsKeyId) != "" }

// preferences is the preferences document, in one version.
type preferences struct {
	version string
	active  bool   // not just being made, when sessions do not use it yet
	raw     string // as AWS has it
	doc     []byte // the same as JSON
}

// read of both versions: StartSession uses the latest, the console's page shows
// the default one.
type regionPreferences struct {
	absent          bool
	latest, current preferences // current is the default version
}

// errTemplated says that an input of ours is filled in at the start of each
// session, so that setting it would change what somebody else has built.
var errTemplated = errors.New("is a {{parameter}}")

func readPreferences(ctx context.Context, cl *clients) (regionPreferences, error) {
	var (
		p    regionPreferences
		errs [2]error
	)
	sideBySide(
		func() { p.latest, errs[0] = readVersion(ctx, cl, latestVersion) },
		func() { p.current, errs[1] = readVersion(ctx, cl, defaultVersion) },
	)
	for _, err := range errs {
		switch {
		case err == nil:
		case sortError(err, false).is(codeNoDocument):
			p.absent = true
		default:
			return p, err
		}
	}
	if p.absent && (errs[0] == nil || errs[1] == nil) {
		// One version answers and the other does not: it is being made or
		// deleted at this moment.
		return p, errors.Join(errs[0], errs[1])
	}
	return p, nil
}

func readVersion(ctx context.Context, cl *clients, version string) (preferences, error) {
	out, err := cl.ssm.GetDocument(ctx, &ssm.GetDocumentInput{
		Name: new(preferencesName), DocumentVersion: new(version), DocumentFormat: ssmtypes.DocumentFormatJson,
	})
	if err != nil {
		return preferences{}, err
	}
	p := preferences{
		version: aws.ToString(out.DocumentVersion), raw: aws.ToString(out.Content),
		active: out.Status == ssmtypes.DocumentStatusActive || out.Status == "",
	}
	p.doc, err = asJSON([]byte(p.raw))
	if err != nil {
		return p, &unreadableError{what: "the Session Manager preferences", err: err}
	}
	return p, nil
}

// wanted are the inputs as they should be, in JSON. Encryption is enforced
// exactly where the group has a key: enforced without one, no session in the
// whole region starts; not enforced with one, a session whose log cannot be
// written goes on without (Systems Manager User Guide, "Logging session
// activity", and the agent's own validation of the inputs).
func wanted(group logGroup) []member {
	return []member{
		{key: inputGroup, value: quote(group.name)},
		{key: inputEncryption, value: []byte(strconv.FormatBool(group.kms))},
		{key: inputStreaming, value: []byte("true")},
	}
}

// differences says in words what setting the inputs would change.
func (p preferences) differences(want []member) ([]string, error) {
	inputs, err := membersAt(p.doc, "inputs")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, w := range want {
		was, found := lastOf(inputs, w.key)
		if found && strings.Contains(string(was), "{{") {
			return nil, fmt.Errorf("%s %w: %s", w.key, errTemplated, was)
		}
		if found && sameJSON(was, w.value) {
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s → %s", w.key, shown(was), shown(w.value)))
	}
	return out, nil
}

// group is the log group that the document names now.
func (p preferences) group() string {
	inputs, err := membersAt(p.doc, "inputs")
	if err != nil {
		return ""
	}
	raw, _ := lastOf(inputs, inputGroup)
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func shown(raw []byte) string {
	switch s := string(raw); s {
	case "":
		return "(not set)"
	case `""`:
		return "(empty)"
	default:
		return strings.Trim(s, `"`)
	}
}

// plan says in words what opening would change in the preferences, before →
// after; nothing when everything is right already.
func (p regionPreferences) plan(group logGroup) ([]string, error) {
	want := wanted(group)
	if p.absent {
		lines, err := preferences{doc: []byte(emptyPreferences)}.differences(want)
		return append([]string{"document " + preferencesName + ": absent → created"}, lines...), err
	}
	lines, err := p.latest.differences(want)
	if err != nil {
		return nil, err
	}
	if len(lines) > 0 {
		return lines, nil
	}
	if p.latest.version != p.current.version {
		return []string{fmt.Sprintf("default version of %s: %s → %s", preferencesName, p.current.version, p.latest.version)}, nil
	}
	return nil, nil
}

// redirect is what opening changes about where the sessions of the whole region
// are logged; nil: nothing, because they go to the group already, or nowhere. The
// latest version counts: sessions use no other.
func (p regionPreferences) redirect(group logGroup) *grant.Redirect {
	return p.latest.redirect(group)
}

func (p preferences) redirect(group logGroup) *grant.Redirect {
	if was := p.group(); was != "" && was != group.name {
		return &grant.Redirect{From: was, To: group.name}
	}
	return nil
}

// change is what is left to do to the preferences, as people are asked about it.
type change struct {
	lines    []string // before → after
	redirect *grant.Redirect
}

// How long a new version of the preferences may take, and how often we begin
// again when somebody else is editing them too.
const (
	documentLimit = 30 * time.Second
	documentTries = 4
)

// A prefsWriter is what the step "logging" knows while it works.
type prefsWriter struct {
	cl    *clients
	group logGroup
	what  string // the preferences, for people
	// approved says whether what is left to do is what people have approved.
	approved func(left change) *grant.Trouble
}

// enableLogging is the step "logging": the region's preferences log to the
// cell's group. It begins with what the check has read, writes only what
// differs, and answers what it did in words. Where somebody else has changed the
// preferences meanwhile, approved says whether what is left to do then is still
// what people were shown. Logging is never switched off again: other sessions
// may rely on it.
func (a *AWS) enableLogging(ctx context.Context, cl *clients, c Cell, group logGroup, seen regionPreferences, approved func(left change) *grant.Trouble) (string, error) {
	if lines, err := seen.plan(group); err == nil && len(lines) == 0 && seen.latest.active {
		return "was on already: " + group.name, nil
	}
	l := a.regionLock(c)
	if err := l.take(ctx); err != nil {
		return "", err
	}
	defer l.give()

	w := prefsWriter{cl: cl, group: group, what: "the Session Manager preferences of " + c.place(), approved: approved}
	var last error
	for try := range documentTries {
		if try > 0 {
			if err := pause(ctx, time.Second<<(try-1)); err != nil {
				return "", err
			}
			var err error
			if seen, err = readPreferences(ctx, cl); err != nil {
				if f := sortError(err, false); f.kind() == grant.Again {
					last = err
					continue
				}
				return "", troubled(unreadable(err, w.what), grant.StepLogging, w.what)
			}
		}
		lines, err := seen.plan(group)
		if err != nil {
			return "", templated(err, w.what)
		}
		if !seen.absent && !seen.latest.active {
			// Somebody's new version is being made, or our own from before a crash:
			// it can be neither changed nor relied on yet.
			if err := waitActive(ctx, cl, seen.latest.version); err != nil {
				if f := sortError(err, false); f.kind() == grant.Again && !isTrouble(err) {
					last = err
					continue
				}
				return "", preferencesTrouble(sortError(err, false), w.what)
			}
		}
		if len(lines) == 0 {
			return note(try, group), nil
		}
		if t := approved(change{lines, seen.redirect(group)}); t != nil {
			t.Step = grant.StepLogging
			return "", t
		}
		version, err := w.write(ctx, seen, last)
		if err != nil {
			switch f := sortError(err, true); {
			case isTrouble(err):
				return "", preferencesTrouble(f, w.what)
			case f.is(codeDocumentExists, codeDuplicate, codeInvalidAction), f.class == busy, f.class == lost:
				// Look again: somebody, or our own write whose answer was lost,
				// may have done it, or is just at it.
				last = err
				continue
			default:
				return "", preferencesTrouble(f, w.what)
			}
		}
		back, err := settledPreferences(ctx, cl, version)
		if err != nil {
			last = err
			continue
		}
		seen = back
		if rest, err := seen.plan(group); err == nil && len(rest) == 0 {
			return note(try, group), nil
		}
		last = fmt.Errorf("version %s of %s was replaced at once by version %s", version, preferencesName, back.latest.version)
	}
	if f := sortError(last, true); f.kind() != grant.Again {
		return "", preferencesTrouble(f, w.what)
	}
	return "", &grant.Trouble{
		Kind: grant.Again, Step: grant.StepLogging,
		Text:   "Session logging could not be switched on and read back: " + w.what + " kept changing or AWS was busy.",
		Remedy: "Nothing to do now: the bot tries again by itself. If somebody is editing the preferences, let them finish.",
		Cause:  last,
	}
}

func note(try int, group logGroup) string {
	if try > 0 {
		return fmt.Sprintf("on: %s (read back after %d tries)", group.name, try+1)
	}
	return "on: " + group.name
}

// write writes one new version, or only moves the default version, and answers
// the number of the version that should now be latest and default.
func (w prefsWriter) write(ctx context.Context, seen regionPreferences, last error) (string, error) {
	cl, want := w.cl, wanted(w.group)
	if seen.absent {
		content, err := setMembers([]byte(emptyPreferences), "inputs", want)
		if err != nil {
			return "", err
		}
		out, err := cl.ssm.CreateDocument(ctx, &ssm.CreateDocumentInput{
			Name: new(preferencesName), Content: new(string(content)),
			DocumentType: ssmtypes.DocumentTypeSession, DocumentFormat: ssmtypes.DocumentFormatJson,
		}, ssmOnce)
		if err != nil {
			return "", err
		}
		version := "1"
		if d := out.DocumentDescription; d != nil {
			version = aws.ToString(d.LatestVersion)
			if d.Status == ssmtypes.DocumentStatusActive {
				return version, nil
			}
		}
		return version, waitActive(ctx, cl, version) // a first version is the default one
	}

	version, active := seen.latest.version, true
	if lines, err := seen.latest.differences(want); err != nil {
		return "", err
	} else if len(lines) > 0 {
		content, err := setMembers(seen.latest.doc, "inputs", want)
		if err != nil {
			return "", err
		}
		// AWS does not take a content that the document has had before. The first
		// time that may be our own write whose answer was lost; the second time
		// it is an older version.
		again := last != nil && sortError(last, true).is(codeDuplicate)
		if version, active, err = updatePreferences(ctx, cl, content, again); err != nil {
			return "", err
		}
		if version, active, err = w.keepOthers(ctx, seen.latest.version, version, active, content); err != nil {
			return "", err
		}
	}
	if !active {
		if err := waitActive(ctx, cl, version); err != nil {
			return "", err
		}
	}
	_, err := cl.ssm.UpdateDocumentDefaultVersion(ctx, &ssm.UpdateDocumentDefaultVersionInput{
		Name: new(preferencesName), DocumentVersion: new(version),
	}, ssmOnce)
	return version, err
}

// updatePreferences makes a content the latest version. With varied the content
// is told apart from every earlier one by its description, the one thing that
// means nothing to AWS: StartSession only ever uses the latest version, so an
// older one of the same content would be of no use.
func updatePreferences(ctx context.Context, cl *clients, content []byte, varied bool) (version string, active bool, err error) {
	if varied {
		if content, err = vary(content, time.Now()); err != nil {
			return "", false, err
		}
	}
	out, err := cl.ssm.UpdateDocument(ctx, &ssm.UpdateDocumentInput{
		Name: new(preferencesName), Content: new(string(content)),
		DocumentVersion: new(latestVersion), DocumentFormat: ssmtypes.DocumentFormatJson,
	}, ssmOnce)
	if err != nil || out.DocumentDescription == nil {
		return "", false, err
	}
	d := out.DocumentDescription
	return aws.ToString(d.DocumentVersion), d.Status == ssmtypes.DocumentStatusActive, nil
}

// keepOthers notices by the number of our version that somebody else saved one
// between our reading and our writing, and puts theirs back under ours:
// UpdateDocument has no condition, it just makes the next version. Where nobody
// has agreed to what ours makes of theirs, such as to move the logs away from
// where they have just sent them, theirs becomes the latest again as it was.
func (w prefsWriter) keepOthers(ctx context.Context, read, version string, active bool, content []byte) (string, bool, error) {
	for range documentTries {
		was, is := versionNumber(read), versionNumber(version)
		if was == 0 || is <= was+1 {
			break
		}
		theirs, err := readVersion(ctx, w.cl, strconv.Itoa(is-1))
		if err != nil {
			return "", false, err
		}
		if t := w.refuses(theirs); t != nil {
			return "", false, w.putBack(ctx, theirs, version, t)
		}
		merged, err := setMembers(theirs.doc, "inputs", wanted(w.group))
		if err != nil {
			return "", false, err
		}
		if sameJSON(merged, content) {
			break
		}
		if !active {
			if err := waitActive(ctx, w.cl, version); err != nil {
				return "", false, err
			}
		}
		read, content = version, merged
		version, active, err = updatePreferences(ctx, w.cl, content, false)
		if err != nil && sortError(err, true).is(codeDuplicate) {
			version, active, err = updatePreferences(ctx, w.cl, content, true)
		}
		if err != nil {
			return "", false, err
		}
	}
	return version, active, nil
}

// refuses says why our settings may not be put on top of a version.
func (w prefsWriter) refuses(theirs preferences) *grant.Trouble {
	lines, err := theirs.differences(wanted(w.group))
	if err != nil {
		t, _ := asTrouble(templated(err, w.what))
		return t
	}
	if len(lines) == 0 {
		return nil
	}
	return w.approved(change{lines, theirs.redirect(w.group)})
}

// putBack makes what somebody else has just saved, and our version has covered,
// the latest version again, and answers the trouble that was the reason; or one
// that says that it has to be done by hand.
func (w prefsWriter) putBack(ctx context.Context, theirs preferences, ours string, reason *grant.Trouble) error {
	var err error
	for try := range documentTries {
		if try > 0 && pause(ctx, time.Second<<(try-1)) != nil {
			break
		}
		if err = waitActive(ctx, w.cl, ours); err == nil {
			_, _, err = updatePreferences(ctx, w.cl, theirs.doc, true)
		}
		if err == nil {
			reason.Step = grant.StepLogging
			return reason
		}
	}
	return &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepLogging,
		Text:   fmt.Sprintf("Somebody saved %s at the same moment as the bot: their version %s was covered by the bot's version %s, and could not be put back. %s", w.what, theirs.version, ours, reason.Text),
		Remedy: "Look at both versions of the document " + preferencesName + " in the Systems Manager console and save the right one; then request access again.",
		Cause:  err,
	}
}

// versionNumber is the number of a document version; 0: it has none.
func versionNumber(version string) int {
	n, err := strconv.Atoi(version)
	if err != nil {
		return 0
	}
	return n
}

// vary makes a content unlike every earlier one.
func vary(content []byte, now time.Time) ([]byte, error) {
	top, err := membersAt(content)
	if err != nil {
		return nil, err
	}
	var text string
	if raw, ok := lastOf(top, "description"); ok {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
	}
	if at := strings.LastIndex(text, " (breakglass "); at >= 0 {
		text = text[:at]
	}
	text += now.UTC().Format(" (breakglass 2006-01-02T15:04:05.000Z)")
	return setMembers(content, "", []member{{key: "description", value: quote(text)}})
}

// waitActive waits until a version is ready: until then it can be neither the
// default nor be relied on.
func waitActive(ctx context.Context, cl *clients, version string) error {
	ctx, cancel := context.WithTimeout(ctx, documentLimit)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		out, err := cl.ssm.DescribeDocument(ctx, &ssm.DescribeDocumentInput{Name: new(preferencesName), DocumentVersion: new(version)})
		if err != nil {
			return err
		}
		switch out.Document.Status {
		case ssmtypes.DocumentStatusActive:
			return nil
		case ssmtypes.DocumentStatusFailed:
			return &grant.Trouble{
				Kind: grant.Refused, Step: grant.StepLogging,
				Text:   fmt.Sprintf("AWS could not take the new version %s of %s into use.", version, preferencesName),
				Remedy: "Look at the document " + preferencesName + " in the Systems Manager console (Session Manager, Preferences), then request access again.",
				Cause:  errors.New(aws.ToString(out.Document.StatusInformation)),
			}
		case ssmtypes.DocumentStatusCreating, ssmtypes.DocumentStatusUpdating, ssmtypes.DocumentStatusDeleting:
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// settledPreferences reads both versions back until they are the one that was
// written, or a newer one.
func settledPreferences(ctx context.Context, cl *clients, version string) (regionPreferences, error) {
	ctx, cancel := context.WithTimeout(ctx, documentLimit)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		p, err := readPreferences(ctx, cl)
		if err != nil || !p.absent && !older(p.latest.version, version) && !older(p.current.version, version) {
			return p, err
		}
		if err := pause(ctx, wait); err != nil {
			return p, err
		}
	}
}

func older(a, b string) bool {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && x < y
}

func unreadable(err error, what string) error {
	if !isUnreadable(err) {
		return err
	}
	return &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepLogging,
		Text:   what + " are neither JSON nor YAML that the bot understands, so it does not touch them.",
		Remedy: "Save them once in the Systems Manager console (Session Manager, Preferences), then request access again.",
		Cause:  err,
	}
}

func templated(err error, what string) error {
	return &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepLogging,
		Text:   "In " + what + " a logging setting is filled in from a parameter, so the bot does not touch it.",
		Remedy: "Set " + inputGroup + ", " + inputEncryption + " and " + inputStreaming + " to fixed values in the document " + preferencesName + ", then request access again.",
		Cause:  err,
	}
}

// preferencesTrouble says what the refusals of the document calls mean.
func preferencesTrouble(f failure, what string) *grant.Trouble {
	if t, ok := errors.AsType[*grant.Trouble](f.err); ok {
		return t
	}
	t := f.trouble(grant.StepLogging, what)
	switch {
	case f.is(codeVersionLimit):
		t.Text = "The document " + preferencesName + " has as many versions as AWS allows, so session logging cannot be changed."
		t.Remedy = "Delete old versions of it (`aws ssm delete-document --name " + preferencesName + " --document-version N`), then request access again."
	case f.is(codeDocumentSize, codeInvalidContent, codeInvalidSchema, codeInvalidAction):
		t.Text = "AWS does not take the new content of " + what + " (" + f.code + ")."
		t.Remedy = "Save the preferences once in the Systems Manager console (Session Manager, Preferences), then request access again."
	}
	return t
}
