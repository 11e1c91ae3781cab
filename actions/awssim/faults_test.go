package awssim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions/awssim"
)

func TestFault_codesPerProtocol(t *testing.T) {
	s := newScene()
	for name, test := range map[string]struct {
		call                     func() error
		throttle, denied, broken string
		throttleStatus, denial   int
	}{
		"iam": {func() error {
			_, err := s.bot.iam.GetAccountSummary(t.Context(), nil)
			return err
		}, "Throttling", "AccessDenied", "ServiceFailure", 400, 403},
		"sts": {func() error {
			_, err := s.bot.sts.GetCallerIdentity(t.Context(), nil)
			return err
		}, "Throttling", "AccessDenied", "ServiceFailure", 400, 403},
		"ec2": {func() error {
			_, err := s.bot.ec2.DescribeInstances(t.Context(), nil)
			return err
		}, "RequestLimitExceeded", "UnauthorizedOperation", "InternalError", 503, 403},
		"ssm": {func() error {
			_, err := s.bot.ssm.DescribeInstanceInformation(t.Context(), nil)
			return err
		}, "ThrottlingException", "AccessDeniedException", "InternalServerError", 400, 400},
		"logs": {func() error {
			_, err := s.bot.logs.DescribeLogGroups(t.Context(), nil)
			return err
		}, "ThrottlingException", "AccessDeniedException", "InternalServerError", 400, 400},
		"cloudtrail": {func() error {
			_, err := s.bot.trail.LookupEvents(t.Context(), nil)
			return err
		}, "ThrottlingException", "AccessDeniedException", "InternalServerError", 400, 400},
	} {
		t.Run(name, func(t *testing.T) {
			s.w.Inject(awssim.Fault{Call: name + ":*", Kind: awssim.Throttle, Count: 1})
			s.w.Inject(awssim.Fault{Call: name + ":*", Kind: awssim.Deny, From: 2, Count: 1})
			s.w.Inject(awssim.Fault{Call: name + ":*", Kind: awssim.ServerError, From: 3, Count: 1})
			s.w.Inject(awssim.Fault{Call: name + ":*", Kind: awssim.Instead, From: 4, Count: 1, Error: &awssim.Error{Status: 418, Code: "Teapot", Message: "short and stout"}})
			wantError(t, test.call(), test.throttleStatus, test.throttle, "exceeded")
			wantError(t, test.call(), test.denial, test.denied, "not authorized")
			wantError(t, test.call(), 500, test.broken, "")
			wantError(t, test.call(), 418, "Teapot", "stout")
			if err := test.call(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The SDK's own retries see what they are made for.
func TestFault_retriedBySDK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		cfg := config(s.w, s.Bot.Credentials())
		cfg.Retryer = func() aws.Retryer { return retry.NewStandard() }
		for _, kind := range []awssim.FaultKind{awssim.Throttle, awssim.ServerError, awssim.DropBefore, awssim.DropAfter} {
			s.w.ForgetCalls()
			s.w.Inject(awssim.Fault{Call: "iam:GetAccountSummary", Kind: kind, Count: 2})
			if _, err := iam.NewFromConfig(cfg).GetAccountSummary(t.Context(), nil); err != nil {
				t.Errorf("kind %d: %v", kind, err)
			}
			if got := s.w.Calls(); len(got) != 3 {
				t.Errorf("kind %d: got %d calls, want 3", kind, len(got))
			}
		}
		s.w.ForgetCalls()
		if _, err := iam.NewFromConfig(cfg).GetRole(t.Context(), &iam.GetRoleInput{RoleName: new("nobody")}); err == nil || len(s.w.Calls()) != 1 {
			t.Errorf("a 404 was tried %d times", len(s.w.Calls()))
		}
	})
}

// A dropped connection looks the same before and after; the effect differs.
func TestFault_drop(t *testing.T) {
	s := newScene()
	document := vendorTrust(s.Vendor.ARN())
	s.w.Inject(awssim.Fault{Call: "iam:UpdateAssumeRolePolicy", Role: strings.ToUpper(s.Role.Name()), Kind: awssim.DropBefore, Count: 1})
	s.w.Inject(awssim.Fault{Call: "iam:UpdateAssumeRolePolicy", Kind: awssim.DropAfter, From: 2, Count: 1})
	before := s.trust(t, document)
	if s.Role.TrustDocument() == document {
		t.Error("dropped before, and yet done")
	}
	after := s.trust(t, document)
	if s.Role.TrustDocument() != document {
		t.Error("dropped after, and not done")
	}
	if before == nil || after == nil || before.Error() != after.Error() || !strings.Contains(after.Error(), "connection reset") {
		t.Errorf("got %v and %v, want the same", before, after)
	}
	calls, writes := s.w.Calls(), s.w.Writes()
	if len(calls) != 2 || calls[0].Done || !calls[1].Done || calls[1].Status != 0 || len(writes) != 1 || writes[0].Role() != s.Role.Name() {
		t.Errorf("got %+v", calls)
	}
}

func TestFault_matching(t *testing.T) {
	s := newScene()
	other := s.w.NewCell(awssim.Cell{Account: "777788889999", Region: "eu-west-1", Name: "other"})
	remove := s.w.Inject(awssim.Fault{Account: "777788889999", Kind: awssim.Deny})
	s.w.Inject(awssim.Fault{Call: "sts:*", Region: "eu-west-1", Kind: awssim.Deny})
	s.w.Inject(awssim.Fault{Call: "iam:GetRole", Role: s.Host.Name(), Kind: awssim.Throttle})
	get := func(c clients, role string) error {
		_, err := c.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &role})
		return err
	}
	wantError(t, get(s.bot, s.Host.Name()), 400, "Throttling", "")
	if err := get(s.bot, s.Role.Name()); err != nil {
		t.Error(err)
	}
	theirs := connect(s.w, other.Bot.Credentials())
	wantError(t, get(theirs, other.Role.Name()), 403, "AccessDenied", "")
	remove()
	if err := get(theirs, other.Role.Name()); err != nil {
		t.Error(err)
	}
	if _, err := theirs.sts.GetCallerIdentity(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_, err := theirs.sts.GetCallerIdentity(t.Context(), nil, func(o *sts.Options) { o.Region = "eu-west-1" })
	wantError(t, err, 403, "AccessDenied", "")
	if got := s.w.Calls(); got[len(got)-1].Region != "eu-west-1" || got[len(got)-1].Account != "777788889999" {
		t.Errorf("got %+v", got[len(got)-1])
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.w.Tune(func(k *awssim.Knobs) { k.Latency = 200 * time.Millisecond })
		s.w.Inject(awssim.Fault{Call: "ssm:*", Latency: time.Second})
		start := time.Now()
		if _, err := s.bot.sts.GetCallerIdentity(t.Context(), nil); err != nil || time.Since(start) != 200*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := s.bot.ssm.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: new(runShell), Content: new(preferences("a", false)), DocumentType: "Session"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 500*time.Millisecond {
			t.Errorf("got %v after %v, want the deadline", err, time.Since(start))
		}
		if s.Region.DocumentVersions(runShell) != nil {
			t.Error("done although the client had gone")
		}
	})
}

// A person edits the role between two reads, and a hook picks the fault.
func TestHooks(t *testing.T) {
	s := newScene()
	var log []string
	removeBefore := s.w.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
		log = append(log, "before "+c.Name())
		if c.Op == "UpdateAssumeRolePolicy" {
			s.Role.Describe("edited meanwhile")
			return &awssim.Fault{Kind: awssim.Throttle}
		}
		return nil
	})
	removeAfter := s.w.After(func(_ context.Context, c awssim.Call) {
		log = append(log, fmt.Sprintf("after %s %d %s %t", c.Name(), c.Status, c.Code, c.Done))
	})
	wantError(t, s.trust(t, vendorTrust(s.Vendor.ARN())), 400, "Throttling", "")
	out, err := s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(s.Role.Name())})
	if got := must(t, out, err).Role; *got.Description != "edited meanwhile" {
		t.Errorf("got %v", got.Description)
	}
	removeBefore()
	removeAfter()
	if _, err := s.bot.sts.GetCallerIdentity(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want := "before iam:UpdateAssumeRolePolicy, after iam:UpdateAssumeRolePolicy 400 Throttling false, before iam:GetRole, after iam:GetRole 200  true"
	if got := strings.Join(log, ", "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestCalls(t *testing.T) {
	s := newScene()
	if err := s.trust(t, vendorTrust(s.Vendor.ARN())); err != nil {
		t.Fatal(err)
	}
	_, err := s.bot.logs.DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new("x"), Limit: new(int32(5))})
	if err != nil {
		t.Fatal(err)
	}
	calls := s.w.Calls()
	if len(calls) != 2 || calls[0].Name() != "iam:UpdateAssumeRolePolicy" || !calls[0].Write || calls[0].Caller != s.Bot.ARN() || calls[0].Role() != s.Role.Name() ||
		calls[1].Write || calls[1].Params["logGroupNamePrefix"] != "x" || calls[1].Params["limit"] != "5" || calls[1].Status != 200 {
		t.Errorf("got %+v", calls)
	}
}

func TestServe(t *testing.T) {
	s := newScene()
	server, err := s.w.Start()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(s.w, s.Bot.Credentials())
	cfg.HTTPClient, cfg.BaseEndpoint = nil, new(server.URL())
	client := iam.NewFromConfig(cfg)
	if _, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(s.Role.Name())}); err != nil {
		t.Error(err)
	}
	_, err = client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new("nobody")})
	wantError(t, err, 404, "NoSuchEntity", "")
	s.w.Inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.DropAfter, Count: 1})
	if _, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(s.Role.Name())}); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("got %v, want a cut connection", err)
	}
	instances, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), nil)
	if got := must(t, instances, err); len(got.Reservations) != 1 {
		t.Errorf("got %d reservations", len(got.Reservations))
	}
	// Closing does not wait for what is slow.
	s.w.Tune(func(k *awssim.Knobs) { k.Latency = time.Hour })
	entered := make(chan struct{})
	s.w.Before(func(context.Context, awssim.Call) *awssim.Fault { close(entered); return nil })
	var slow error
	var wg sync.WaitGroup
	wg.Go(func() { _, slow = client.GetAccountSummary(t.Context(), nil) })
	<-entered
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if slow == nil {
		t.Error("an answer came from a closed server")
	}
}

// Concurrent use, for the race detector.
func TestConcurrentUse(t *testing.T) {
	s := openScene()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				c, err := s.assume(t)
				if err != nil {
					t.Error(err)
					return
				}
				out, err := c.ssm.StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.Instance.ID())})
				if err != nil {
					t.Error(err)
					return
				}
				shell, err := s.Region.Shell(*out.SessionId)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = shell.Type("whoami")
				if _, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: out.SessionId}); err != nil {
					t.Error(err)
				}
				s.Role.Inline(fmt.Sprint("p", i), awssim.SessionStarter).Trust(vendorTrust(s.Vendor.ARN()))
				_, _, _, _ = s.w.Calls(), s.w.Writes(), s.Region.Sessions(), s.Role.StoredTrust()
			}
		})
	}
	wg.Wait()
	if got := len(s.Region.Sessions()); got != 80 {
		t.Errorf("got %d sessions, want 80", got)
	}
}

func TestCloudTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openScene()
		s.w.Tune(func(k *awssim.Knobs) { k.TrailDelay = 15 * time.Minute })
		c, id := s.enter(t)
		if err := s.trust(t, vendorTrust(s.Bot.ARN())); err != nil {
			t.Fatal(err)
		}
		if _, err := s.assume(t); err == nil {
			t.Fatal("let in")
		}
		if _, err := s.bot.ssm.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
			t.Fatal(err)
		}
		lookup := func(key trailtypes.LookupAttributeKey, value string) []trailtypes.Event {
			t.Helper()
			time.Sleep(time.Second) // two calls a second
			in := &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}}
			out, err := s.bot.trail.LookupEvents(t.Context(), in)
			return must(t, out, err).Events
		}
		if got := lookup("EventName", "AssumeRole"); len(got) != 0 {
			t.Errorf("got %+v at once", got)
		}
		time.Sleep(15 * time.Minute)

		// Denied attempts of another account are not in this account's trail.
		events := lookup("ResourceName", s.Role.ARN())
		if len(events) != 1 || *events[0].EventName != "AssumeRole" || *events[0].ReadOnly != "true" {
			t.Fatalf("got %+v", events)
		}
		var record struct {
			UserIdentity       struct{ Type, AccountID, PrincipalID string }
			RequestParameters  struct{ RoleSessionName string }
			ResponseElements   struct{ AssumedRoleUser struct{ Arn string } }
			SharedEventID      string
			RecipientAccountID string
			UserAgent          string
		}
		if err := json.Unmarshal([]byte(*events[0].CloudTrailEvent), &record); err != nil {
			t.Fatal(err)
		}
		if record.UserIdentity.Type != "AWSAccount" || record.UserIdentity.AccountID != "111122223333" || record.RequestParameters.RoleSessionName != "jane" ||
			record.RecipientAccountID != "444455556666" || record.SharedEventID == "" || !strings.HasPrefix(record.UserAgent, "aws-sdk-go-v2/") || !strings.HasSuffix(record.ResponseElements.AssumedRoleUser.Arn, "/jane") {
			t.Errorf("got %+v", record)
		}
		started := lookup("EventName", "StartSession")
		if len(started) != 1 || !strings.Contains(*started[0].CloudTrailEvent, `"sessionIssuer":{"accountId":"444455556666","arn":"`+s.Role.ARN()) ||
			!strings.Contains(*started[0].CloudTrailEvent, `"sessionId":"`+id) {
			t.Errorf("got %+v", started)
		}
		if got := lookup("Username", "breakglass-bot"); len(got) != 2 || *got[0].EventName != "TerminateSession" {
			t.Errorf("got %+v, want newest first", got)
		}
		if got := lookup("EventSource", "iam.amazonaws.com"); len(got) != 1 || *got[0].Resources[0].ResourceName != s.Role.Name() {
			t.Errorf("got %+v", got)
		}
		time.Sleep(time.Second)
		var names []string
		for token := (*string)(nil); ; {
			out, err := s.bot.trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{MaxResults: new(int32(1)), NextToken: token})
			for _, e := range must(t, out, err).Events {
				names = append(names, *e.EventName)
			}
			if token = out.NextToken; token == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if got := strings.Join(names, " "); got != "TerminateSession UpdateAssumeRolePolicy StartSession AssumeRole" {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Second)
		for i := range 3 {
			_, err := s.bot.trail.LookupEvents(t.Context(), nil)
			if i < 2 && err != nil {
				t.Error(err)
			} else if i == 2 {
				wantError(t, err, 400, "ThrottlingException", "Rate exceeded")
			}
		}
		time.Sleep(time.Second)
		two := []trailtypes.LookupAttribute{{AttributeKey: "EventName", AttributeValue: new("a")}, {AttributeKey: "Username", AttributeValue: new("b")}}
		_, err := s.bot.trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: two})
		wantError(t, err, 400, "InvalidLookupAttributesException", "only one")
		_, err = s.bot.trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{MaxResults: new(int32(51))})
		wantError(t, err, 400, "InvalidMaxResultsException", "")
		_ = c
	})
}

// Whatever arrives, the answer is a 4xx in the protocol of the service.
func TestHostileRequests(t *testing.T) {
	s := newScene()
	key := s.Bot.Credentials().AccessKeyID
	scope := func(service string) string {
		return "AWS4-HMAC-SHA256 Credential=" + key + "/20261123/us-east-1/" + service + "/aws4_request, SignedHeaders=host, Signature=0"
	}
	form := func(action string) string { return "Action=" + action + "&Version=2010-05-08" }
	for name, test := range map[string]struct {
		authorization, target, body string
		status                      int
		want                        string
	}{
		"no signature":         {"", "AmazonSSM.GetDocument", "{}", 403, "MissingAuthenticationToken"},
		"short scope":          {"AWS4-HMAC-SHA256 Credential=" + key + "/x", "", "", 403, "MissingAuthenticationToken"},
		"hostile region":       {"AWS4-HMAC-SHA256 Credential=" + key + "/1/../iam/aws4_request", "", "", 403, "MissingAuthenticationToken"},
		"unknown service":      {scope("s3"), "", "", 400, "UnknownOperationException"},
		"unknown IAM action":   {scope("iam"), "", form("DeleteEverything"), 400, "<Code>InvalidAction</Code>"},
		"no action":            {scope("sts"), "", "", 400, "<Code>InvalidAction</Code>"},
		"bad form":             {scope("iam"), "", "Action=%zz;", 400, "MalformedQueryString"},
		"markup in name":       {scope("iam"), "", form("GetRole") + "&RoleName=%3C%2FCode%3E%00", 400, "ValidationError"},
		"no parameters":        {scope("iam"), "", form("UpdateAssumeRolePolicy"), 400, "ValidationError"},
		"unknown EC2 action":   {scope("ec2"), "", form("RunInstances"), 400, "<Errors><Error><Code>InvalidAction</Code>"},
		"EC2 number":           {scope("ec2"), "", form("DescribeInstances") + "&MaxResults=many", 400, "InvalidParameterValue"},
		"unknown SSM target":   {scope("ssm"), "AmazonSSM.SendCommand", "{}", 400, `"__type":"UnknownOperationException"`},
		"no target":            {scope("logs"), "", "{}", 400, "UnknownOperationException"},
		"body not an object":   {scope("ssm"), "AmazonSSM.GetDocument", "[1]", 400, "SerializationException"},
		"null body":            {scope("ssm"), "AmazonSSM.GetDocument", "null", 400, "SerializationException"},
		"wrong member type":    {scope("ssm"), "AmazonSSM.DescribeSessions", `{"State":7}`, 400, "SerializationException"},
		"capitals in a filter": {scope("ssm"), "AmazonSSM.DescribeSessions", `{"State":"Active","Filters":[{"Key":"Target","Value":"x"}]}`, 400, "InvalidFilterKey"},
		"deep JSON":            {scope("ssm"), "AmazonSSM.CreateDocument", `{"Name":"abc","DocumentType":"Session","Content":"` + strings.Repeat("[", 9000) + `"}`, 400, "InvalidDocumentContent"},
		"empty page token":     {scope("ssm"), "AmazonSSM.DescribeSessions", `{"State":"Active","NextToken":"page-99999999999999999999999"}`, 400, "InvalidNextToken"},
		"negative token":       {scope("logs"), "Logs_20140328.DescribeLogGroups", `{"nextToken":"page--1"}`, 400, "InvalidParameterException"},
		"lookup token":         {scope("cloudtrail"), "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", `{"NextToken":"x"}`, 400, "InvalidNextTokenException"},
		"too large":            {scope("ssm"), "AmazonSSM.GetDocument", strings.Repeat("x", 1<<20+1), 413, "RequestEntityTooLarge"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(test.body))
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			if test.target != "" {
				r.Header.Set("X-Amz-Target", test.target)
			}
			recorder := httptest.NewRecorder()
			s.w.ServeHTTP(recorder, r)
			body, _ := io.ReadAll(recorder.Result().Body)
			if recorder.Code != test.status || !strings.Contains(string(body), test.want) {
				t.Errorf("got %d %s, want %d …%s…", recorder.Code, body, test.status, test.want)
			}
		})
	}
}

// FuzzServe looks for panics and for 500s that no fault asked for.
func FuzzServe(f *testing.F) {
	f.Add("iam", "", "Action=UpdateAssumeRolePolicy&RoleName=ssm-access-from-other-accounts&PolicyDocument=%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22%2A%22%7D%7D%7D")
	f.Add("sts", "", "Action=AssumeRole&RoleArn=arn:aws:iam::444455556666:role/x&RoleSessionName=ab&Policy=%7B%7D")
	f.Add("ec2", "", "Action=DescribeInstances&Filter.1.Name=tag:Name&Filter.1.Value.1=%5C%2A")
	f.Add("ssm", "AmazonSSM.CreateDocument", `{"Name":"abc","Content":"a:\n- b: [1]\n  c: |\n   x","DocumentFormat":"YAML","DocumentType":"Session"}`)
	f.Add("ssm", "AmazonSSM.StartSession", `{"Target":"i-0","DocumentName":"AWS-StartSSHSession"}`)
	f.Add("logs", "Logs_20140328.GetLogEvents", `{"logGroupName":"/aws/ssm/helios-prod/cluster","logStreamName":"x","nextToken":"f/1"}`)
	f.Add("cloudtrail", "CloudTrail_20131101.LookupEvents", `{"LookupAttributes":[{"AttributeKey":"EventName"}]}`)
	f.Fuzz(func(t *testing.T, service, target, body string) {
		s := newScene()
		key := s.Bot.Credentials().AccessKeyID
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header["Authorization"] = []string{"AWS4-HMAC-SHA256 Credential=" + key + "/20261123/us-east-1/" + service + "/aws4_request"}
		r.Header["X-Amz-Target"] = []string{target}
		recorder := httptest.NewRecorder()
		s.w.ServeHTTP(recorder, r)
		if recorder.Code >= 500 {
			t.Errorf("got %d %s", recorder.Code, recorder.Body)
		}
	})
}
