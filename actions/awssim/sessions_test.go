package awssim_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/actions/awssim"
)

const group = "/aws/ssm/helios-prod/cluster"

// openScene is a cell whose role trusts the vendor, with logging set up.
func openScene() scene {
	s := newScene()
	s.Role.Trust(vendorTrust(s.Vendor.ARN()))
	s.Region.Preferences(preferences(group, true))
	return s
}

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openScene()
		_, id := s.enter(t)
		if prefix, suffix, _ := strings.Cut(id, "-"); prefix != "jane" || len(suffix) != 26 || strings.ToLower(suffix) != suffix {
			t.Errorf("got session id %s", id)
		}
		shell, err := s.Region.Shell(id)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := shell.Type("whoami"); err != nil || out != "ssm-user" {
			t.Errorf("got %q, %v", out, err)
		}
		describe := func(state types.SessionState, filters ...types.SessionFilter) []types.Session {
			t.Helper()
			out, err := s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: state, Filters: filters})
			return must(t, out, err).Sessions
		}
		active := describe("Active")
		if len(active) != 1 || *active[0].Owner != "arn:aws:sts::444455556666:assumed-role/ssm-access-from-other-accounts/jane" ||
			active[0].Status != types.SessionStatusConnected || *active[0].DocumentName != runShell || active[0].EndDate != nil {
			t.Fatalf("got %+v", active)
		}
		shell.Disconnect()
		if got := describe("Active", types.SessionFilter{Key: types.SessionFilterKeyStatus, Value: new("Disconnected")}); len(got) != 1 {
			t.Errorf("a disconnected session is not active: %+v", got)
		}
		if got := describe("History"); len(got) != 0 {
			t.Errorf("got %+v, want no history", got)
		}
		time.Sleep(time.Minute)
		if _, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
			t.Fatal(err)
		}
		_, err = s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id})
		wantError(t, err, 400, "ValidationException", "Session is not in a valid state")
		_, err = s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: new("jane-x")})
		wantError(t, err, 400, "DoesNotExistException", "")
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("got %v, want the end", err)
		}
		if _, err := s.Region.Shell(id); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("got %v, want the end", err)
		}
		history := describe("History")
		if len(history) != 1 || history[0].Status != types.SessionStatusTerminated || history[0].EndDate.Sub(*history[0].StartDate) != time.Minute {
			t.Errorf("got %+v", history)
		}
		time.Sleep(31 * 24 * time.Hour)
		if got := describe("History"); len(got) != 0 {
			t.Errorf("got %+v after a month, want none", got)
		}
		events := s.LogGroup.Events(id)
		if len(events) != 1 || !strings.Contains(events[0], `"sessionData":["sh-5.2$ whoami","ssm-user"]`) {
			t.Errorf("got %v", events)
		}
	})
}

func TestDescribeSessions_filters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openScene()
		other := s.Region.Instance("i-0aaaaaaaaaaaaaaaa").Profile("privileged-access-helios-prod")
		c, first := s.enter(t)
		time.Sleep(time.Minute)
		middle := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
		out, err := c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(other.ID())})
		second := *must(t, out, err).SessionId
		s.start(t, connect(s.w, s.Role.Credentials("joe")))
		owner := "arn:aws:sts::444455556666:assumed-role/ssm-access-from-other-accounts/"
		for name, test := range map[string]struct {
			key   types.SessionFilterKey
			value string
			want  int
		}{
			"target":       {types.SessionFilterKeyTargetId, other.ID(), 1},
			"owner":        {types.SessionFilterKeyOwner, owner + "jane", 2},
			"owner prefix": {types.SessionFilterKeyOwner, owner, 0},
			"status":       {types.SessionFilterKeyStatus, "Connected", 3},
			"id":           {types.SessionFilterKeySessionId, first, 1},
			"after":        {types.SessionFilterKeyInvokedAfter, middle, 2},
			"before":       {types.SessionFilterKeyInvokedBefore, middle, 1},
			"access":       {types.SessionFilterKeyAccessType, "Standard", 3},
		} {
			out, err := s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active", Filters: []types.SessionFilter{{Key: test.key, Value: &test.value}}})
			if got := must(t, out, err).Sessions; len(got) != test.want {
				t.Errorf("%s: got %d, want %d", name, len(got), test.want)
			}
		}
		var ids []string
		pages := ssm.NewDescribeSessionsPaginator(s.bot.ssm, &ssm.DescribeSessionsInput{State: "Active", MaxResults: new(int32(1))})
		for pages.HasMorePages() {
			out, err := pages.NextPage(t.Context())
			ids = append(ids, *must(t, out, err).Sessions[0].SessionId)
		}
		if len(ids) != 3 || ids[1] != second || ids[2] != first {
			t.Errorf("got %v, want three, newest first", ids)
		}
		_, err = s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active", Filters: []types.SessionFilter{{Key: "Colour", Value: new("red")}}})
		wantError(t, err, 400, "InvalidFilterKey", "")
		_, err = s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Now"})
		wantError(t, err, 400, "ValidationException", "state")
		_, err = s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active", MaxResults: new(int32(201))})
		wantError(t, err, 400, "ValidationException", "")
		seven := slices.Repeat([]types.SessionFilter{{Key: types.SessionFilterKeyStatus, Value: new("Connected")}}, 7)
		_, err = s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active", Filters: seven})
		wantError(t, err, 400, "ValidationException", "filters")
	})
}

func TestStartSession_refusals(t *testing.T) {
	s := openScene()
	c := connect(s.w, s.Role.Credentials("jane"))
	start := func(target, document string) error {
		in := &ssm.StartSessionInput{Target: &target}
		if document != "" {
			in.DocumentName = &document
		}
		_, err := c.ssm.StartSession(t.Context(), in)
		return err
	}
	id := s.Instance.ID()
	wantError(t, start("i-0123456789abcdef0", ""), 400, "TargetNotConnected", "is not connected")
	s.Instance.State("stopped")
	wantError(t, start(id, ""), 400, "TargetNotConnected", "")
	s.Instance.State("running").Agent("ConnectionLost")
	wantError(t, start(id, ""), 400, "TargetNotConnected", "")
	s.Instance.Agent("Online")
	wantError(t, start(id, "NoSuchDocument"), 400, "InvalidDocument", "")
	// The role of an operator whose policy checks the document.
	s.Role.Attach("arn:aws:iam::444455556666:policy/session-starter", `{"Statement":{"Effect":"Allow","Action":"ssm:StartSession","Resource":["arn:aws:ec2:*:*:instance/*"],"Condition":{"BoolIfExists":{"ssm:SessionDocumentAccessCheck":"true"}}}}`)
	wantError(t, start(id, ""), 400, "AccessDeniedException", "document/"+runShell)
	s.Role.Attach("arn:aws:iam::444455556666:policy/session-starter", `{"Statement":{"Effect":"Allow","Action":"ssm:StartSession","Resource":["arn:aws:ec2:*:*:instance/*","arn:aws:ssm:*:444455556666:document/SSM-SessionManagerRunShell"]}}`)
	if err := start(id, ""); err != nil {
		t.Error(err)
	}
	if err := start(id, runShell); err != nil {
		t.Error(err)
	}
	wantError(t, start(id, "AWS-StartSSHSession"), 400, "AccessDeniedException", "document/AWS-StartSSHSession")
	s.Role.Inline("ByTag", `{"Statement":{"Effect":"Deny","Action":"ssm:StartSession","Resource":"*","Condition":{"StringEquals":{"ssm:resourceTag/Name":"Privileged access instance"}}}}`)
	wantError(t, start(id, ""), 400, "AccessDeniedException", "explicit deny")
}

// Logging fails open, except for the one switch that fails closed.
func TestSession_logging(t *testing.T) {
	withoutKey := func(s scene) { s.LogGroup.KMSKey("") }
	noLogs := func(s scene) { s.Host.Detach("arn:aws:iam::444455556666:policy/session-logging") }
	for name, test := range map[string]struct {
		arrange  func(scene)
		document string
		stream   bool
		reason   string
		message  string
	}{
		"works":                   {stream: true},
		"latest counts":           {arrange: func(s scene) { s.Region.Preferences(preferences("", false)).SetDefaultVersion(runShell, 1) }, reason: "no log group is set"},
		"group missing":           {arrange: func(s scene) { s.LogGroup.Delete(); s.Region.Preferences(preferences(group, false)) }, reason: "does not exist"},
		"group missing, enforced": {arrange: func(s scene) { s.LogGroup.Delete() }, message: "encryption is not set up"},
		"no key":                  {arrange: func(s scene) { withoutKey(s); s.Region.Preferences(preferences(group, false)) }, stream: true},
		"no key, enforced":        {arrange: withoutKey, message: "encryption is not set up"},
		"no permission":           {arrange: func(s scene) { noLogs(s); s.Region.Preferences(preferences(group, false)) }, reason: "may not describe"},
		"no permission, enforced": {arrange: noLogs, message: "encryption is not set up"},
		"no permission to create": {arrange: func(s scene) {
			s.Host.Inline("x", `{"Statement":{"Effect":"Deny","Action":"logs:CreateLogStream","Resource":"*"}}`)
		}, reason: "may not create"},
		"no profile":               {arrange: func(s scene) { s.Instance.Profile(""); s.Region.Preferences(preferences(group, false)) }, reason: "may not describe"},
		"host management":          {arrange: func(s scene) { s.Instance.Profile(""); s.Region.DefaultHostManagement(s.Host.Name()) }, stream: true},
		"SSH":                      {document: "AWS-StartSSHSession", reason: "not logged"},
		"port forwarding":          {document: "AWS-StartPortForwardingSession", reason: "not logged"},
		"non-interactive":          {document: "AWS-StartNonInteractiveCommand", reason: "not logged"},
		"interactive, no settings": {document: "AWS-StartInteractiveCommand", reason: "no log group"},
		"string for boolean": {arrange: func(s scene) {
			s.Region.Preferences(strings.Replace(preferences(group, true), `"cloudWatchStreamingEnabled":true`, `"cloudWatchStreamingEnabled":"true"`, 1))
		}, message: "Failed to parse"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openScene()
			if test.arrange != nil {
				test.arrange(s)
			}
			in := &ssm.StartSessionInput{Target: new(s.Instance.ID())}
			if test.document != "" {
				in.DocumentName = &test.document
			}
			out, err := connect(s.w, s.Role.Credentials("jane")).ssm.StartSession(t.Context(), in)
			id := *must(t, out, err).SessionId
			got := s.Region.Sessions()[0]
			if (got.LogGroup == group) != test.stream || !strings.Contains(got.LogReason, test.reason) || !strings.Contains(got.Message, test.message) {
				t.Errorf("got %+v", got)
			}
			_, err = s.Region.Shell(id)
			if refused := test.message != ""; refused != errors.Is(err, awssim.ErrSessionEnded) || refused != (got.Status == "Terminated") {
				t.Errorf("got %v, %s", err, got.Status)
			}
			streams, err := s.bot.logs.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: new(group), LogStreamNamePrefix: &id})
			if err == nil && (len(streams.LogStreams) == 1) != test.stream {
				t.Errorf("got %d streams, want %t", len(streams.LogStreams), test.stream)
			}
		})
	}
}

// Without streaming the log comes when the session ends, and is lost with the
// instance.
func TestSession_logAtTheEnd(t *testing.T) {
	s := openScene()
	s.Region.Preferences(strings.Replace(preferences(group, true), `"cloudWatchStreamingEnabled":true`, `"cloudWatchStreamingEnabled":false`, 1))
	_, id := s.enter(t)
	shell, err := s.Region.Shell(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shell.Type("whoami"); err != nil {
		t.Fatal(err)
	}
	if got := s.LogGroup.Streams(); len(got) != 0 {
		t.Errorf("got %v before the end", got)
	}
	shell.Exit()
	if got := s.LogGroup.Events(id); len(got) != 1 {
		t.Errorf("got %v after the end", got)
	}
	_, id = s.enter(t)
	s.Instance.State("terminated")
	if _, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
		t.Fatal(err)
	}
	if got := s.LogGroup.Events(id); len(got) != 0 {
		t.Errorf("got %v from an instance that is gone", got)
	}
}

func TestSession_limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openScene()
		s.Region.Preferences(strings.Replace(preferences(group, true), `"maxSessionDuration":""`, `"maxSessionDuration":"30"`, 1))
		_, id := s.enter(t)
		shell, err := s.Region.Shell(id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Minute - time.Second)
		if _, err := shell.Type("whoami"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("got %v after maxSessionDuration", err)
		}
		s.w.Tune(func(k *awssim.Knobs) { k.IdleTimeout = true; k.TerminateDelay = 2 * time.Second })
		_, id = s.enter(t)
		time.Sleep(20 * time.Minute)
		if got := s.Region.Sessions()[1]; got.Status != "Terminated" || got.ID != id {
			t.Errorf("got %+v after idling", got)
		}
		_, id = s.enter(t)
		if _, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
			t.Fatal(err)
		}
		if got := s.Region.Sessions()[2]; got.Status != "Terminating" {
			t.Errorf("got %+v, want Terminating", got)
		}
		_, err = s.bot.ssm.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: &id})
		wantError(t, err, 400, "ValidationException", "valid state")
		time.Sleep(2 * time.Second)
		if got := s.Region.Sessions()[2]; got.Status != "Terminated" {
			t.Errorf("got %+v, want Terminated", got)
		}
	})
}

// The hourly recycling of the WebSocket needs live credentials.
func TestShell_webSocketRecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openScene()
		s.w.Tune(func(k *awssim.Knobs) { k.WebSocketRecycle = 50 * time.Minute })
		c, id := s.enter(t)
		shell, err := s.Region.Shell(id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(55 * time.Minute)
		if _, err := shell.Type("whoami"); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Minute)
		if _, err := shell.Type("whoami"); !errors.Is(err, awssim.ErrSessionEnded) {
			t.Errorf("got %v, want the channel closed with the credentials", err)
		}
		if got := s.Region.Sessions()[0].Status; got != "Disconnected" {
			t.Errorf("got %s", got)
		}
		_, err = c.ssm.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: &id})
		wantError(t, err, 400, "ExpiredTokenException", "")
		if _, err := connect(s.w, s.Role.Credentials("jane")).ssm.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: &id}); err != nil {
			t.Fatal(err)
		}
		if _, err := shell.Type("whoami"); err != nil {
			t.Error(err)
		}
	})
}

// A TerminateSession that answers well and ends nothing.
func TestTerminateSession_ignored(t *testing.T) {
	s := openScene()
	jane := connect(s.w, s.Role.Credentials("jane"))
	id := s.start(t, jane)
	shell, err := s.Region.Shell(id)
	if err != nil {
		t.Fatal(err)
	}
	s.w.Tune(func(k *awssim.Knobs) { k.TerminateIgnored = true })
	out, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id})
	if must(t, out, err); *out.SessionId != id {
		t.Errorf("got %s, want %s", *out.SessionId, id)
	}
	if _, err := shell.Type("whoami"); err != nil {
		t.Errorf("the shell: %v", err)
	}
	list, err := s.bot.ssm.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"})
	if got := must(t, list, err).Sessions; len(got) != 1 || got[0].Status != types.SessionStatusConnected {
		t.Errorf("got %+v", got)
	}
}

// AWS's sample policies let people end only their own sessions.
func TestTerminateSession_ownSessionsOnly(t *testing.T) {
	s := openScene()
	s.Role.Attach("arn:aws:iam::444455556666:policy/session-starter", awssim.SessionStarter)
	jane := connect(s.w, s.Role.Credentials("jane"))
	id := s.start(t, jane)
	s.Role.Attach("arn:aws:iam::444455556666:policy/session-starter", `{"Statement":{"Effect":"Allow","Action":"ssm:TerminateSession","Resource":"arn:aws:ssm:*:*:session/*","Condition":{"StringLike":{"ssm:resourceTag/aws:ssmmessages:session-id":["${aws:userid}"]}}}}`)
	_, err := connect(s.w, s.Role.Credentials("joe")).ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id})
	wantError(t, err, 400, "AccessDeniedException", "session/"+id)
	if _, err := jane.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
		t.Error(err)
	}
}

func TestLogs(t *testing.T) {
	s := openScene()
	s.Region.LogGroup(group + "-old")
	groups := func(in cloudwatchlogs.DescribeLogGroupsInput) []logtypes.LogGroup {
		t.Helper()
		out, err := s.bot.logs.DescribeLogGroups(t.Context(), &in)
		return must(t, out, err).LogGroups
	}
	// A prefix is a prefix.
	found := groups(cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new(group)})
	if len(found) != 2 || *found[0].LogGroupName != group || found[0].KmsKeyId == nil || found[1].KmsKeyId != nil {
		t.Fatalf("got %+v", found)
	}
	if got := groups(cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new("/AWS/ssm")}); len(got) != 0 {
		t.Errorf("got %+v, want case to count", got)
	}
	if got := groups(cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePattern: new("HELIOS")}); len(got) != 2 {
		t.Errorf("got %+v, want any part in any case", got)
	}
	_, err := s.bot.logs.DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{Limit: new(int32(51))})
	wantError(t, err, 400, "InvalidParameterException", "")
	create := func(name string) error {
		_, err := s.bot.logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name, KmsKeyId: new("arn:aws:kms:us-east-1:444455556666:key/k")})
		return err
	}
	if err := create("new"); err != nil {
		t.Fatal(err)
	}
	wantError(t, create("new"), 400, "ResourceAlreadyExistsException", "")
	wantError(t, create("not a name"), 400, "InvalidParameterException", "")
	retain := func(days int32) error {
		_, err := s.bot.logs.PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: new("new"), RetentionInDays: &days})
		return err
	}
	wantError(t, retain(8), 400, "InvalidParameterException", "")
	if err := retain(365); err != nil {
		t.Fatal(err)
	}
	if got := groups(cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new("new")}); *got[0].RetentionInDays != 365 || s.Region.LogGroup("new").Retention() != 365 {
		t.Errorf("got %+v", got)
	}

	_, id := s.enter(t)
	shell, err := s.Region.SetPrompt(func(c string) string { return "ran " + c }).Shell(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"a", "b", "c"} {
		if _, err := shell.Type(command); err != nil {
			t.Fatal(err)
		}
	}
	_, second := s.enter(t)
	streams, err := s.bot.logs.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupIdentifier: found[0].LogGroupArn, Limit: new(int32(1)), Descending: new(true), OrderBy: logtypes.OrderByLastEventTime})
	if got := must(t, streams, err); len(got.LogStreams) != 1 || *got.LogStreams[0].LogStreamName != second || got.NextToken == nil {
		t.Errorf("got %+v, want the newest", got.LogStreams)
	}
	var messages []string
	pages := cloudwatchlogs.NewGetLogEventsPaginator(s.bot.logs, &cloudwatchlogs.GetLogEventsInput{LogGroupName: new(group), LogStreamName: &id, StartFromHead: new(true), Limit: new(int32(2))},
		func(o *cloudwatchlogs.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		for _, e := range must(t, out, err).Events {
			messages = append(messages, *e.Message)
		}
	}
	if len(messages) != 3 || !strings.Contains(messages[2], "ran c") {
		t.Errorf("got %v", messages)
	}
	_, err = s.bot.logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: new(group), LogStreamName: new("none")})
	wantError(t, err, 400, "ResourceNotFoundException", "log stream")
	_, err = s.bot.logs.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: new("none")})
	wantError(t, err, 400, "ResourceNotFoundException", "log group")
}
