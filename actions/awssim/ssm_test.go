package awssim_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/actions/awssim"
)

const runShell = awssim.PreferencesDocument

// preferences is what the console would save.
func preferences(group string, encrypted bool) string {
	return fmt.Sprintf(`{"schemaVersion":"1.0","description":"Document to hold regional settings for Session Manager","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":%q,"cloudWatchEncryptionEnabled":%t,"cloudWatchStreamingEnabled":true,"kmsKeyId":"","runAsEnabled":false,"runAsDefaultUser":"","idleSessionTimeout":"20","maxSessionDuration":"","shellProfile":{"windows":"","linux":""}}}`, group, encrypted)
}

func (s scene) create(t *testing.T, content string) error {
	t.Helper()
	_, err := s.bot.ssm.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: new(runShell), Content: &content, DocumentType: types.DocumentTypeSession})
	return err
}

func (s scene) update(t *testing.T, content string) error {
	t.Helper()
	_, err := s.bot.ssm.UpdateDocument(t.Context(), &ssm.UpdateDocumentInput{Name: new(runShell), Content: &content, DocumentVersion: new("$LATEST")})
	return err
}

func (s scene) read(t *testing.T, version *string) *ssm.GetDocumentOutput {
	t.Helper()
	out, err := s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new(runShell), DocumentVersion: version})
	return must(t, out, err)
}

func TestDocument_versions(t *testing.T) {
	s := newScene()
	_, err := s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new(runShell)})
	wantError(t, err, 400, "InvalidDocument", "does not exist")
	wantError(t, s.update(t, preferences("a", false)), 400, "InvalidDocument", "")
	if err := s.create(t, preferences("a", false)); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.create(t, preferences("a", false)), 400, "DocumentAlreadyExists", "")
	wantError(t, s.update(t, preferences("a", false)), 400, "DuplicateDocumentContent", "matches another document")
	if err := s.update(t, preferences("b", false)); err != nil {
		t.Fatal(err)
	}
	// An old content is as much a duplicate as the latest one.
	wantError(t, s.update(t, " "+preferences("a", false)), 400, "DuplicateDocumentContent", "")

	for version, want := range map[*string]string{nil: "1", new("$DEFAULT"): "1", new("$LATEST"): "2", new("2"): "2"} {
		if got := s.read(t, version); *got.DocumentVersion != want {
			t.Errorf("got version %s, want %s", *got.DocumentVersion, want)
		}
	}
	_, err = s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new(runShell), DocumentVersion: new("3")})
	wantError(t, err, 400, "InvalidDocumentVersion", "")
	_, err = s.bot.ssm.UpdateDocument(t.Context(), &ssm.UpdateDocumentInput{Name: new(runShell), Content: new(preferences("c", false)), DocumentVersion: new("1")})
	wantError(t, err, 400, "InvalidDocumentVersion", "")

	_, err = s.bot.ssm.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: new(runShell), DocumentVersion: new("3")})
	wantError(t, err, 400, "InvalidDocumentVersion", "")
	_, err = s.bot.ssm.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: new(runShell), DocumentVersion: new("$LATEST")})
	wantError(t, err, 400, "ValidationException", "")
	out, err := s.bot.ssm.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: new(runShell), DocumentVersion: new("2")})
	if got := must(t, out, err).Description; *got.DefaultVersion != "2" {
		t.Errorf("got default %s, want 2", *got.DefaultVersion)
	}
	described, err := s.bot.ssm.DescribeDocument(t.Context(), &ssm.DescribeDocumentInput{Name: new(runShell)})
	if got := must(t, described, err).Document; *got.LatestVersion != "2" || *got.DefaultVersion != "2" || got.Status != types.DocumentStatusActive || *got.SchemaVersion != "1.0" {
		t.Errorf("got %+v", got)
	}
	list, err := s.bot.ssm.ListDocumentVersions(t.Context(), &ssm.ListDocumentVersionsInput{Name: new(runShell), MaxResults: new(int32(1))})
	if got := must(t, list, err); len(got.DocumentVersions) != 1 || !got.DocumentVersions[0].IsDefaultVersion || got.NextToken == nil {
		t.Errorf("got %+v", got.DocumentVersions)
	}
	versions := s.Region.DocumentVersions(runShell)
	if len(versions) != 2 || !versions[1].IsLatest || versions[0].Content != preferences("a", false) {
		t.Errorf("got %+v", versions)
	}
}

func TestDocument_contentRefusals(t *testing.T) {
	s := newScene()
	good := preferences("a", false)
	for name, test := range map[string]struct{ content, code string }{
		"not JSON":           {`{"schemaVersion":`, "InvalidDocumentContent"},
		"no schema":          {strings.Replace(good, `"schemaVersion":"1.0",`, "", 1), "InvalidDocumentSchemaVersion"},
		"other schema":       {strings.Replace(good, `"1.0"`, `"2.2"`, 1), "InvalidDocumentSchemaVersion"},
		"no session type":    {strings.Replace(good, `"sessionType":"Standard_Stream",`, "", 1), "InvalidDocumentContent"},
		"string for boolean": {strings.Replace(good, `"cloudWatchStreamingEnabled":true`, `"cloudWatchStreamingEnabled":"true"`, 1), "InvalidDocumentContent"},
		"number for string":  {strings.Replace(good, `"idleSessionTimeout":"20"`, `"idleSessionTimeout":20`, 1), "InvalidDocumentContent"},
		"idle too long":      {strings.Replace(good, `"idleSessionTimeout":"20"`, `"idleSessionTimeout":"61"`, 1), "InvalidDocumentContent"},
		"session too long":   {strings.Replace(good, `"maxSessionDuration":""`, `"maxSessionDuration":"1441"`, 1), "InvalidDocumentContent"},
		"unknown input":      {strings.Replace(good, `"kmsKeyId"`, `"kmsKey"`, 1), "InvalidDocumentContent"},
		"unknown member":     {strings.Replace(good, `"description"`, `"comment"`, 1), "InvalidDocumentContent"},
		"inputs not a map":   {`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":[]}`, "InvalidDocumentContent"},
		"too big":            {strings.Replace(good, `Document to hold`, strings.Repeat("x", 64<<10), 1), "MaxDocumentSizeExceeded"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, s.create(t, test.content), 400, test.code, "") })
	}
	_, err := s.bot.ssm.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: new("AWS-Mine"), Content: &good, DocumentType: types.DocumentTypeSession})
	wantError(t, err, 400, "ValidationException", "reserved")
	_, err = s.bot.ssm.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: new("x y"), Content: &good, DocumentType: types.DocumentTypeSession})
	wantError(t, err, 400, "ValidationException", "name")
	templated := `{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"g":{"type":"String"}},"inputs":{"cloudWatchLogGroupName":"{{ g }}","cloudWatchStreamingEnabled":"{{ g }}"}}`
	if err := s.create(t, templated); err != nil {
		t.Errorf("templated inputs: %v", err)
	}
}

// GetDocument answers in JSON unless asked otherwise, whatever was stored.
func TestDocument_YAML(t *testing.T) {
	s := newScene()
	content := "---\nschemaVersion: '1.0' # the only one\ndescription: |\n  two\n  lines\nsessionType: Standard_Stream\ninputs:\n  cloudWatchLogGroupName: \"/aws/ssm/helios-prod/cluster\"\n  cloudWatchEncryptionEnabled: false\n  cloudWatchStreamingEnabled: true\n  idleSessionTimeout: '20'\n  shellProfile: {}\nparameters:\n  list:\n  - a: 1\n    b: x#y\n  -\n    - it's\n  - [\"flow\", null]\n"
	create := func(content string) error {
		_, err := s.bot.ssm.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: new(runShell), Content: &content, DocumentType: types.DocumentTypeSession, DocumentFormat: types.DocumentFormatYaml})
		return err
	}
	// "parameters" must be a map of maps for AWS; here it only has to be YAML.
	for _, bad := range []string{"a: 'x", "a: &x y", "\ta: b", "a: b\n   c: d", "", strings.Repeat("- ", 500) + "x"} {
		wantError(t, create(bad), 400, "InvalidDocumentContent", "")
	}
	if err := create(content); err != nil {
		t.Fatal(err)
	}
	got := s.read(t, nil)
	want := `{"schemaVersion":"1.0","description":"two\nlines\n","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"/aws/ssm/helios-prod/cluster","cloudWatchEncryptionEnabled":false,"cloudWatchStreamingEnabled":true,"idleSessionTimeout":"20","shellProfile":{}},"parameters":{"list":[{"a":1,"b":"x#y"},["it's"],["flow",null]]}}`
	if flat := strings.Join(strings.Fields(*got.Content), ""); got.DocumentFormat != types.DocumentFormatJson || flat != strings.Join(strings.Fields(want), "") {
		t.Errorf("got %s\nwant %s", *got.Content, want)
	}
	out, err := s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new(runShell), DocumentFormat: types.DocumentFormatYaml})
	if got := must(t, out, err); *got.Content != content {
		t.Errorf("got %s, want what was stored", *got.Content)
	}
	// The agent reads it, too.
	s.Role.Trust(vendorTrust(s.Vendor.ARN()))
	s.enter(t)
	if got := s.Region.Sessions()[0]; got.LogGroup != "/aws/ssm/helios-prod/cluster" {
		t.Errorf("got %+v, want a log stream", got)
	}
	// And the other way round.
	s.Region.Document("json", "Session", want)
	out, err = s.bot.ssm.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: new("json"), DocumentFormat: types.DocumentFormatYaml})
	if got := must(t, out, err); !strings.Contains(*got.Content, `"cloudWatchStreamingEnabled": true`) || !strings.HasPrefix(*got.Content, "---\n") {
		t.Errorf("got %s", *got.Content)
	}
}

func TestDocument_becomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.w.Tune(func(k *awssim.Knobs) { k.DocumentDelay = 5 * time.Second })
		if err := s.create(t, preferences("a", false)); err != nil {
			t.Fatal(err)
		}
		if got := s.read(t, nil).Status; got != types.DocumentStatusCreating {
			t.Errorf("got %s, want Creating", got)
		}
		wantError(t, s.update(t, preferences("b", false)), 400, "InvalidDocumentOperation", "")
		time.Sleep(5 * time.Second)
		if err := s.update(t, preferences("b", false)); err != nil {
			t.Fatal(err)
		}
		if got := s.read(t, new("$LATEST")).Status; got != types.DocumentStatusUpdating {
			t.Errorf("got %s, want Updating", got)
		}
		_, err := s.bot.ssm.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: new(runShell), DocumentVersion: new("2")})
		wantError(t, err, 400, "InvalidDocumentVersion", "")
		time.Sleep(5 * time.Second)
		if got := s.read(t, new("$LATEST")).Status; got != types.DocumentStatusActive {
			t.Errorf("got %s, want Active", got)
		}
	})
}

func TestDocument_versionLimit(t *testing.T) {
	s := newScene()
	for i := range 1000 {
		s.Region.Preferences(preferences(fmt.Sprint("g", i), false))
	}
	wantError(t, s.update(t, preferences("one more", false)), 400, "DocumentVersionLimitExceeded", "1000")
}

func TestDescribeInstances(t *testing.T) {
	s := newScene()
	s.Region.Instance("i-0aaaaaaaaaaaaaaaa").Name("Breakglass instance").State("stopped").Tag("kubernetes.io/cluster/x", "owned")
	for i := range 5 {
		s.Region.Instance(fmt.Sprintf("i-%017x", i)).Name("worker")
	}
	find := func(filters ...ec2types.Filter) []string {
		t.Helper()
		var ids []string
		pages := ec2.NewDescribeInstancesPaginator(s.bot.ec2, &ec2.DescribeInstancesInput{Filters: filters, MaxResults: new(int32(5))})
		for pages.HasMorePages() {
			out, err := pages.NextPage(t.Context())
			for _, r := range must(t, out, err).Reservations {
				for _, i := range r.Instances {
					ids = append(ids, *i.InstanceId)
				}
			}
		}
		return ids
	}
	filter := func(name string, values ...string) ec2types.Filter {
		return ec2types.Filter{Name: &name, Values: values}
	}
	for name, test := range map[string]struct {
		filters []ec2types.Filter
		want    int
	}{
		"all":            {nil, 7},
		"names":          {[]ec2types.Filter{filter("tag:Name", "Privileged access instance", "Breakglass instance")}, 2},
		"wildcard":       {[]ec2types.Filter{filter("tag:Name", "*access ?nstance")}, 1},
		"case counts":    {[]ec2types.Filter{filter("tag:Name", "privileged access instance")}, 0},
		"literal star":   {[]ec2types.Filter{filter("tag:Name", `\*`)}, 0},
		"tag key":        {[]ec2types.Filter{filter("tag-key", "kubernetes.io/cluster/x")}, 1},
		"state":          {[]ec2types.Filter{filter("instance-state-name", "running")}, 6},
		"both":           {[]ec2types.Filter{filter("tag:Name", "*instance"), filter("instance-state-name", "running", "pending")}, 1},
		"id":             {[]ec2types.Filter{filter("instance-id", s.Instance.ID())}, 1},
		"profile":        {[]ec2types.Filter{filter("iam-instance-profile.arn", "*privileged-access-helios-prod")}, 1},
		"other tag":      {[]ec2types.Filter{filter("tag:Nome", "*")}, 0},
		"all the states": {[]ec2types.Filter{filter("instance-state-name", "stopped")}, 1},
	} {
		if got := find(test.filters...); len(got) != test.want {
			t.Errorf("%s: got %v, want %d", name, got, test.want)
		}
	}
	describe := func(in ec2.DescribeInstancesInput) error {
		_, err := s.bot.ec2.DescribeInstances(t.Context(), &in)
		return err
	}
	wantError(t, describe(ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000000000000fff"}}), 400, "InvalidInstanceID.NotFound", "")
	wantError(t, describe(ec2.DescribeInstancesInput{InstanceIds: []string{"my instance"}}), 400, "InvalidInstanceID.Malformed", "")
	wantError(t, describe(ec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter("colour", "red")}}), 400, "InvalidParameterValue", "colour")
	wantError(t, describe(ec2.DescribeInstancesInput{InstanceIds: []string{s.Instance.ID()}, MaxResults: new(int32(5))}), 400, "InvalidParameterCombination", "")
	wantError(t, describe(ec2.DescribeInstancesInput{NextToken: new("x")}), 400, "InvalidNextToken", "")
	out, err := s.bot.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{s.Instance.ID()}})
	i := must(t, out, err).Reservations[0].Instances[0]
	if i.State.Name != ec2types.InstanceStateNameRunning || *i.State.Code != 16 || i.LaunchTime == nil || len(i.Tags) != 1 ||
		*i.IamInstanceProfile.Arn != "arn:aws:iam::444455556666:instance-profile/privileged-access-helios-prod" {
		t.Errorf("got %+v", i)
	}
	associations, err := s.bot.ec2.DescribeIamInstanceProfileAssociations(t.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []ec2types.Filter{filter("instance-id", s.Instance.ID()), filter("state", "associated")},
	})
	if got := must(t, associations, err).IamInstanceProfileAssociations; len(got) != 1 || *got[0].InstanceId != s.Instance.ID() || *got[0].IamInstanceProfile.Arn != *i.IamInstanceProfile.Arn {
		t.Errorf("got %+v", got)
	}
}

func TestDescribeInstanceInformation(t *testing.T) {
	s := newScene()
	s.Region.Instance("i-0aaaaaaaaaaaaaaaa").State("stopped")
	s.Region.Instance("i-0bbbbbbbbbbbbbbbb").Agent("")
	s.Region.Instance("i-0cccccccccccccccc").Agent("ConnectionLost")
	for i := range 10 {
		s.Region.Instance(fmt.Sprintf("i-%017x", i))
	}
	describe := func(in ssm.DescribeInstanceInformationInput) (*ssm.DescribeInstanceInformationOutput, error) {
		return s.bot.ssm.DescribeInstanceInformation(t.Context(), &in)
	}
	out, err := describe(ssm.DescribeInstanceInformationInput{})
	if got := must(t, out, err); len(got.InstanceInformationList) != 10 || got.NextToken == nil {
		t.Errorf("got %d, want a first page of 10", len(got.InstanceInformationList))
	}
	out, err = describe(ssm.DescribeInstanceInformationInput{NextToken: out.NextToken})
	if got := must(t, out, err); len(got.InstanceInformationList) != 2 || got.NextToken != nil {
		t.Errorf("got %d, want the last 2", len(got.InstanceInformationList))
	}
	byTag := []types.InstanceInformationStringFilter{{Key: new("tag:Name"), Values: []string{"Privileged access instance"}}}
	out, err = describe(ssm.DescribeInstanceInformationInput{Filters: byTag})
	if got := must(t, out, err).InstanceInformationList; len(got) != 1 || got[0].PingStatus != types.PingStatusOnline {
		t.Errorf("got %+v", got)
	}
	out, err = describe(ssm.DescribeInstanceInformationInput{InstanceInformationFilterList: []types.InstanceInformationFilter{{Key: "InstanceIds", ValueSet: []string{"i-0cccccccccccccccc"}}}})
	if got := must(t, out, err).InstanceInformationList; len(got) != 1 || got[0].PingStatus != types.PingStatusConnectionLost {
		t.Errorf("got %+v", got)
	}
	ids := types.InstanceInformationStringFilter{Key: new("InstanceIds"), Values: []string{s.Instance.ID()}}
	_, err = describe(ssm.DescribeInstanceInformationInput{Filters: append(byTag, ids)})
	wantError(t, err, 400, "ValidationException", "combined")
	_, err = describe(ssm.DescribeInstanceInformationInput{Filters: byTag, InstanceInformationFilterList: []types.InstanceInformationFilter{{Key: "PingStatus", ValueSet: []string{"Online"}}}})
	wantError(t, err, 400, "ValidationException", "together")
	_, err = describe(ssm.DescribeInstanceInformationInput{MaxResults: new(int32(4))})
	wantError(t, err, 400, "ValidationException", "")
	_, err = describe(ssm.DescribeInstanceInformationInput{Filters: []types.InstanceInformationStringFilter{{Key: new("Colour"), Values: []string{"red"}}}})
	wantError(t, err, 400, "InvalidFilterKey", "")
}

// If the vendor's role is also the instance's role, a Deny * without the
// exemption for the instance cuts the agent off; credentials rotate in hours.
func TestAgent_cutOffByItsRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		status := func() types.ConnectionStatus {
			out, err := s.bot.ssm.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: new(s.Instance.ID())})
			return must(t, out, err).Status
		}
		time.Sleep(time.Minute)
		cut := time.Now().UTC().Format(time.RFC3339)
		deny := `{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"` + cut + `"}%s}}]}`
		s.Host.Inline("AWSRevokeOlderSessions", fmt.Sprintf(deny, `,"Null":{"ec2:SourceInstanceARN":"true"}`))
		if got := status(); got != types.ConnectionStatusConnected {
			t.Errorf("got %s, want the exemption to hold", got)
		}
		instance := connect(s.w, s.Instance.Credentials())
		s.Host.Inline("Own", `{"Statement":{"Effect":"Allow","Action":"ssm:GetConnectionStatus","Resource":"*","Condition":{"ArnLike":{"ec2:SourceInstanceARN":"arn:aws:ec2:*:*:instance/*"}}}}`)
		if _, err := instance.ssm.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: new(s.Instance.ID())}); err != nil {
			t.Error(err)
		}
		s.Host.Inline("AWSRevokeOlderSessions", fmt.Sprintf(deny, ""))
		if got := status(); got != types.ConnectionStatusNotConnected {
			t.Errorf("got %s, want the agent cut off", got)
		}
		time.Sleep(6 * time.Hour)
		if got := status(); got != types.ConnectionStatusConnected {
			t.Errorf("got %s, want the agent back with new credentials", got)
		}
	})
}
