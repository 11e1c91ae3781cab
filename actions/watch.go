package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// The names of drift (see [grant.Sighting]).
const (
	driftStatement  = "statement"
	driftHardStop   = "hard stop"
	driftLogging    = "logging"
	driftPermission = "permission"
)

// watchLimit bounds one look: the next one comes in a minute.
const watchLimit = 30 * time.Second

// errWatchLimit says that a look took too long.
var errWatchLimit = errors.New("AWS was too slow for this look")

// codeNoLogResource is CloudWatch Logs' answer for a group or stream that does
// not exist (CloudWatch Logs API Reference, DescribeLogStreams).
const codeNoLogResource = "ResourceNotFoundException"

// watching is one run of [AWS.Watch].
type watching struct {
	a      *AWS
	cl     *clients
	cell   Cell
	grant  grant.Grant
	others []grant.Grant
	at     time.Time

	account  error
	role     role
	roleErr  error
	stop     time.Time
	stopErr  error
	group    logGroup
	groupErr error
	prefs    preferences
	prefsErr error

	sessions   []grant.Session
	sessionErr error
	streamErr  error
	streams    map[string]bool // by session: it has its log; missing: not known

	s grant.Sighting
}

// Watch looks at an open grant: whether everything in AWS is as it was opened,
// who is in, and who came. It reads side by side and changes nothing. What was
// throttled, or could not be reached, is left out of the sighting; it never
// stands for "as it should be".
//
// What it cannot see: sessions in other regions than the cell's, what happens on
// the instance outside Session Manager (ssm:SendCommand), and whether the
// permissions to write, which the closing needs, are still there.
//
// others are the other grants that may have access in the same account.
func (a *AWS) Watch(ctx context.Context, g grant.Grant, others []grant.Grant) grant.Sighting {
	c, t := a.cell(g)
	if t != nil || g.Access == nil {
		return grant.Sighting{}
	}
	ctx, cancel := context.WithTimeoutCause(onBehalf(ctx, g.ID), watchLimit, errWatchLimit)
	defer cancel()
	w := &watching{
		a: a, cl: a.clientsFor(c, g.ID), cell: c, grant: g, others: others, at: time.Now(),
		streams: make(map[string]bool),
	}
	w.read(ctx)
	w.judgePermission(ctx)
	if w.account != nil {
		return w.s // whatever was read may be another account's
	}
	w.judgeStatement()
	w.judgeHardStop()
	w.judgeLogging()
	w.judgeSessions()
	return w.s
}

// read reads everything. Its critical path is two round trips: the sessions,
// and the streams of their logs.
func (w *watching) read(ctx context.Context) {
	access := w.grant.Access
	var assumed []grant.Assumed
	sideBySide(
		func() { w.account = w.cl.rightAccount(ctx, w.cell) },
		func() { w.role, w.roleErr = readRole(ctx, w.cl, access.RoleName) },
		func() { w.stop, w.stopErr = readDate(ctx, w.cl, access.RoleName, hardStopName, hardStopPolicy) },
		func() { w.group, w.groupErr = readLogGroup(ctx, w.cl, access.LogGroup) },
		// Sessions use the latest version of the preferences; which one is the
		// default makes no difference to them.
		func() { w.prefs, w.prefsErr = readVersion(ctx, w.cl, latestVersion) },
		// Asked without a session, too: else the loss of this permission would
		// come and go with the sessions.
		func() { w.streamErr = w.mayReadStreams(ctx) },
		func() {
			if w.sessions, w.sessionErr = liveSessions(ctx, w.cl, access.RoleName); w.sessionErr == nil {
				w.findStreams(ctx)
			}
		},
		func() { assumed = w.assumed(ctx) },
	)
	if w.account == nil {
		w.s.Assumed = assumed
	}
}

// mayReadStreams asks for any one stream of the log group.
func (w *watching) mayReadStreams(ctx context.Context) error {
	_, err := w.cl.logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{
		LogGroupName: new(w.grant.Access.LogGroup), Limit: new(int32(1)),
	})
	if err != nil && sortError(err, false).is(codeNoLogResource) {
		return nil // that is told where the group itself is looked for
	}
	return err
}

// streamsAtOnce is how many log streams are looked for at the same time:
// DescribeLogStreams has a quota of a few requests a second ("CloudWatch Logs
// quotas").
const streamsAtOnce = 4

// findStreams looks for the log stream of each session. The agent names it
// exactly like the session (amazon-ssm-agent, shell.go), but the search is by
// prefix.
func (w *watching) findStreams(ctx context.Context) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		slot = make(chan struct{}, streamsAtOnce)
	)
	for _, s := range w.sessions {
		wg.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			found, err := hasStream(ctx, w.cl, w.grant.Access.LogGroup, s.ID)
			if err != nil {
				w.a.log.DebugContext(ctx, "a log stream could not be looked for", "grant", w.grant.ID.String(), "session", s.ID, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			w.streams[s.ID] = found
		})
	}
	wg.Wait()
}

// hasStream reports whether the group has a stream of exactly that name. A group
// that does not exist has none.
func hasStream(ctx context.Context, cl *clients, group, name string) (bool, error) {
	pages := cloudwatchlogs.NewDescribeLogStreamsPaginator(cl.logs, &cloudwatchlogs.DescribeLogStreamsInput{
		LogGroupName: new(group), LogStreamNamePrefix: new(name),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			if sortError(err, false).is(codeNoLogResource) {
				return false, nil
			}
			return false, err
		}
		for _, s := range page.LogStreams {
			if aws.ToString(s.LogStreamName) == name {
				return true, nil
			}
		}
	}
	return false, nil
}

// judged puts down that something could be judged, and what is wrong with it;
// empty: nothing.
func (w *watching) judged(name, drift string) {
	w.s.Read = append(w.s.Read, name)
	if drift == "" {
		return
	}
	if w.s.Drift == nil {
		w.s.Drift = make(map[string]string)
	}
	w.s.Drift[name] = drift
}

// settling reports whether what is seen may still be what was before the
// opening: IAM is eventually consistent, and the process that opened may have
// been another one.
func (w *watching) settling() bool { return w.at.Before(w.grant.Access.At.Add(staleLimit)) }

// over reports whether the grant's end has come: what goes now goes rightly.
func (w *watching) over() bool { return !w.at.Before(w.grant.Access.End) }

// judgePermission tells of reads that AWS refuses. All of them worked when this
// was opened. Only where every one has an answer is it known that none is
// refused.
func (w *watching) judgePermission(ctx context.Context) {
	var (
		lost    []string // actions
		other   string   // what is not about one action
		unknown bool
	)
	for _, r := range []struct {
		err  error
		what string
	}{
		{w.account, "the caller's account"},
		{w.roleErr, "the role " + w.grant.Access.RoleName},
		{w.stopErr, "the inline policy " + hardStopName},
		{w.groupErr, "the log group " + w.grant.Access.LogGroup},
		{w.prefsErr, "the Session Manager preferences"},
		{w.sessionErr, "the sessions"},
		{w.streamErr, "the log streams"},
	} {
		if r.err == nil || isUnreadable(r.err) || missing(r.err) {
			continue
		}
		f := sortError(r.err, false)
		if f.is(codeNoDocument) {
			continue
		}
		w.a.log.DebugContext(ctx, "an open grant could not be looked at", "grant", w.grant.ID.String(), "what", r.what, "error", r.err)
		switch f.class {
		case denied:
			lost = append(lost, f.action)
		case credentials, elsewhere:
			if other == "" {
				other, _ = f.words(r.what)
			}
		default:
			unknown = true
		}
	}
	const blind = "Until that is mended the bot does not see whether access is still as approved, and may not be able to end it early."
	slices.Sort(lost)
	switch lost = slices.Compact(lost); {
	case other != "":
		w.judged(driftPermission, other+" "+blind)
	case len(lost) > 0:
		w.judged(driftPermission, fmt.Sprintf("The bot may not call %s any more: AWS refuses it. %s", strings.Join(lost, ", "), blind))
	case !unknown:
		w.judged(driftPermission, "")
	}
}

// judgeStatement compares our statement with what was read back when it was
// opened.
func (w *watching) judgeStatement() {
	if w.over() || w.roleErr != nil && !missing(w.roleErr) && !isUnreadable(w.roleErr) {
		return
	}
	drift := w.statementDrift()
	if drift != "" && (w.settling() || w.a.work(w.grant.Access.RoleARN).isPast(w.role.document)) {
		return // perhaps a replica's that has not heard of our own write
	}
	w.judged(driftStatement, drift)
}

func (w *watching) statementDrift() string {
	access, sid := w.grant.Access, w.grant.ID.Sid()
	switch {
	case missing(w.roleErr):
		return fmt.Sprintf("The role %s has gone from account %s: SingleStore cannot assume it.", access.RoleName, w.cell.Account)
	case w.roleErr == nil && !strings.EqualFold(w.role.arn, access.RoleARN):
		return fmt.Sprintf("The role %s was made anew as %s: SingleStore cannot assume it by the ARN that was opened.", access.RoleARN, w.role.arn)
	}
	d, err := trust.Parse([]byte(w.role.document))
	if w.roleErr != nil || err != nil {
		return fmt.Sprintf("The trust policy of %s was replaced by one that the bot does not understand, so it cannot tell whom the role trusts.", access.RoleName)
	}
	st, ok := d.Statement(sid)
	if !ok {
		return fmt.Sprintf("The statement %s has gone from the trust policy of %s (Terraform, or a person): %s", sid, access.RoleName, w.consequence(d))
	}
	// White space aside, because the console lays out a whole document anew when
	// somebody saves another statement; what AWS enforces is the same.
	if string(st.Raw) == access.Statement || d.Has(own(w.grant, access.End)) {
		return ""
	}
	var now string
	switch {
	case slices.ContainsFunc(st.Principals, func(p trust.Principal) bool { return trust.IsOrphan(p.Value) }):
		return fmt.Sprintf("SingleStore has deleted its role %s: the statement %s in the trust policy of %s shows %s in its place and lets nobody in, not even a new role of the same name. Access has to be revoked and requested again.",
			w.grant.Principal, sid, access.RoleName, principalsOf(st))
	case principalsOf(st) != string(w.grant.Principal):
		now = fmt.Sprintf("it is about %s now, not %s", principalsOf(st), w.grant.Principal)
	case w.grant.Terms.AWSEnforced && st.End.IsZero():
		now = "it has no end now that could be read, instead of " + access.End.UTC().Format(timeFormat)
	case w.grant.Terms.AWSEnforced && !st.End.Equal(access.End):
		now = fmt.Sprintf("it ends %s now, not %s", st.End.UTC().Format(timeFormat), access.End.UTC().Format(timeFormat))
	default:
		now = "it reads " + grant.Clean(string(st.Raw), 500) + " now"
	}
	return fmt.Sprintf("The statement %s in the trust policy of %s was changed (Terraform, or a person): %s. Access is not what was approved.", sid, access.RoleName, now)
}

// consequence says what it means that our statement has gone: another one may
// still let SingleStore in.
func (w *watching) consequence(d trust.Document) string {
	standing, err := d.Trusts(string(w.grant.Principal), w.at)
	if err != nil || len(standing) == 0 {
		return "SingleStore cannot assume the role."
	}
	names := make([]string, len(standing))
	for i, t := range standing {
		names[i] = nameOf(t.Mention)
		if id, ok := grant.ParseSid(t.Sid); ok {
			names[i] += " of " + id.String()
		}
	}
	return "SingleStore is let in by " + strings.Join(slices.Compact(names), ", ") + " instead, so access is not what was approved."
}

// judgeHardStop looks for the policy that ends issued credentials. A later date
// is another grant's; an earlier one ends this one's access too soon.
func (w *watching) judgeHardStop() {
	if !w.grant.Terms.AWSEnforced || w.over() || w.stopErr != nil || w.roleErr != nil {
		return
	}
	access, drift := w.grant.Access, ""
	switch {
	case w.stop.IsZero():
		drift = fmt.Sprintf("The inline policy %s has gone from the role %s, or was changed (Terraform, or a person): credentials that are issued before %s outlive it by up to their own hour.",
			hardStopName, access.RoleName, access.End.UTC().Format(timeFormat))
	case w.stop.Before(access.End):
		drift = fmt.Sprintf("The inline policy %s of the role %s was changed: it refuses everything after %s, not %s, so SingleStore is cut off too early.",
			hardStopName, access.RoleName, w.stop.UTC().Format(timeFormat), access.End.UTC().Format(timeFormat))
	}
	if drift != "" && w.settling() {
		return
	}
	w.judged(driftHardStop, drift)
}

// judgeLogging compares the region's preferences with what was opened.
func (w *watching) judgeLogging() {
	absent := w.prefsErr != nil && sortError(w.prefsErr, false).is(codeNoDocument)
	broken := isUnreadable(w.prefsErr)
	if w.groupErr != nil || w.prefsErr != nil && !absent && !broken {
		return
	}
	drift := w.loggingDrift(absent, broken)
	if drift != "" && w.settling() {
		return
	}
	w.judged(driftLogging, drift)
}

func (w *watching) loggingDrift(absent, broken bool) string {
	what, name := "the Session Manager preferences of "+w.cell.place(), w.group.name
	switch {
	case !w.group.exists:
		return fmt.Sprintf("The log group %s has gone, so sessions are not logged.", name)
	case absent:
		return fmt.Sprintf("Somebody has deleted %s, so new sessions are not logged.", what)
	case broken:
		return fmt.Sprintf("Somebody has replaced %s by something that the bot does not understand, so it cannot tell whether sessions are logged.", what)
	}
	lines, err := w.prefs.differences(wanted(w.group))
	current := w.prefs.group()
	switch {
	case err != nil:
		return fmt.Sprintf("In %s a logging setting is filled in from a parameter now, so the bot cannot tell whether sessions are logged.", what)
	case current == "":
		return fmt.Sprintf("Session logging was switched off in %s: new sessions are not logged to %s.", what, name)
	case current != name:
		return fmt.Sprintf("Session logging was redirected in %s%s: new sessions are logged to %s, not to %s.", what, w.redirectedBy(current), current, name)
	case len(lines) > 0:
		return fmt.Sprintf("The logging settings in %s were changed (is → should be): %s.", what, strings.Join(lines, "; "))
	}
	return ""
}

// redirectedBy names the grant that the preferences were redirected for: there
// is one document for a whole account and region, and two cells may share it.
func (w *watching) redirectedBy(group string) string {
	for _, o := range w.others {
		if o.Access != nil && o.Access.LogGroup == group && o.Region == w.grant.Region && o.Account == w.grant.Account {
			return fmt.Sprintf(" for %s on %s", o.ID, o.Cell)
		}
	}
	return ""
}

// judgeSessions tells who is in, and who of them leaves no log.
func (w *watching) judgeSessions() {
	if w.sessionErr != nil {
		return
	}
	w.s.SessionsRead, w.s.Sessions = true, w.sessions
	for _, s := range w.sessions {
		found, known := w.streams[s.ID]
		switch {
		case found:
			w.s.Logged = append(w.s.Logged, s.ID)
		case neverLogged(s.Document):
			w.s.NeverLogged = append(w.s.NeverLogged, s.ID)
		case known:
			w.s.Unlogged = append(w.s.Unlogged, s.ID)
		}
	}
}

// neverLogged reports whether sessions with the document write no log whatever
// the preferences say: "Logging isn't available for Session Manager sessions
// that connect through port forwarding or SSH" (Systems Manager User Guide,
// "Logging session activity"), and a command's output is not streamed. Only the
// preferences document itself, which is also what no name means, is sure to be
// logged.
func neverLogged(document string) bool {
	name := document[strings.LastIndexByte(document, '/')+1:]
	return name != "" && name != preferencesName
}
