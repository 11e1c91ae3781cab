package awssim_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"breakglass/actions/awssim"
)

func TestGetRole_documentIsPercentEncoded(t *testing.T) {
	s := newScene()
	s.Role.Path("/support/")
	document := `{ "Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + s.Vendor.ARN() + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"a+b~c"}}}]}`
	if err := s.trust(t, document); err != nil {
		t.Fatal(err)
	}
	out, err := s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(strings.ToUpper(s.Role.Name()))})
	role := must(t, out, err).Role
	raw := *role.AssumeRolePolicyDocument
	if !strings.Contains(raw, "%7B%20%22Version") || !strings.Contains(raw, "a%2Bb~c") {
		t.Errorf("got %s, want %%20 for a space, %%2B for a plus and a bare tilde", raw)
	}
	got, err := url.PathUnescape(raw)
	if err != nil || got != document {
		t.Errorf("got %s (%v), want %s", got, err, document)
	}
	if *role.Arn != "arn:aws:iam::444455556666:role/support/ssm-access-from-other-accounts" || *role.MaxSessionDuration != 3600 {
		t.Errorf("got %s, %d s", *role.Arn, *role.MaxSessionDuration)
	}
	if !strings.Contains(s.Role.StoredTrust(), s.Vendor.UniqueID()) {
		t.Errorf("stored %s, want the principal's unique id %s", s.Role.StoredTrust(), s.Vendor.UniqueID())
	}
}

func TestUpdateAssumeRolePolicy_keepsForeignBytes(t *testing.T) {
	s := newScene()
	document := "{\"Statement\" :\t[ {\"Action\":[ \"sts:AssumeRole\" ],\n\"Principal\":{\"Service\":\"ec2.amazonaws.com\",\"AWS\":[\"444455556666\", \"%s\"]} ,\"Effect\":\"Allow\", \"Condition\":{\"NumericLessThan\":{\"aws:MultiFactorAuthAge\":3.0e1}}}],\"Id\":\"\\u0041\"}"
	if err := s.trust(t, fmt.Sprintf(document, s.Vendor.ARN())); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(fmt.Sprintf(document, s.Vendor.ARN()), `"444455556666"`, `"arn:aws:iam::444455556666:root"`, 1)
	if got := s.Role.TrustDocument(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestUpdateAssumeRolePolicy_refusals(t *testing.T) {
	s := newScene()
	s.Account.SetTrustQuota(2048)
	vendor := s.Vendor.ARN()
	statement := func(members string) string {
		return `{"Version":"2012-10-17","Statement":[{` + members + `}]}`
	}
	good := `"Effect":"Allow","Principal":{"AWS":"` + vendor + `"},"Action":"sts:AssumeRole"`
	for name, test := range map[string]struct {
		document string
		status   int
		code     string
		message  string
	}{
		"malformed JSON":        {`{"Version":`, 400, "MalformedPolicyDocument", "invalid Json"},
		"leading space":         {" " + statement(good), 400, "MalformedPolicyDocument", "leading spaces"},
		"no statement":          {`{"Version":"2012-10-17","Statement":[]}`, 400, "MalformedPolicyDocument", "Syntax errors"},
		"statement missing":     {`{"Version":"2012-10-17"}`, 400, "MalformedPolicyDocument", "Syntax errors"},
		"unknown element":       {statement(good + `,"Comment":"x"`), 400, "MalformedPolicyDocument", "Syntax errors"},
		"duplicate key":         {statement(good + `,"Effect":"Allow"`), 400, "MalformedPolicyDocument", "Syntax errors"},
		"bad version":           {`{"Version":"2020-01-01","Statement":[{` + good + `}]}`, 400, "MalformedPolicyDocument", "version"},
		"bad effect":            {statement(`"Effect":"Maybe","Principal":"*","Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", ""},
		"no principal":          {statement(`"Effect":"Allow","Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", "Principal"},
		"no action":             {statement(`"Effect":"Allow","Principal":"*"`), 400, "MalformedPolicyDocument", "actions"},
		"foreign action":        {statement(`"Effect":"Allow","Principal":"*","Action":"s3:GetObject"`), 400, "MalformedPolicyDocument", "STS"},
		"resource":              {statement(good + `,"Resource":"*"`), 400, "MalformedPolicyDocument", "Has prohibited field Resource"},
		"not principal":         {statement(`"Effect":"Deny","NotPrincipal":{"AWS":"` + vendor + `"},"Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", "NotPrincipal"},
		"sid charset":           {statement(`"Sid":"Breakglass-1",` + good), 400, "MalformedPolicyDocument", "alpha-numeric"},
		"sid twice":             {`{"Statement":[{"Sid":"A",` + good + `},{"Sid":"A",` + good + `}]}`, 400, "MalformedPolicyDocument", "unique"},
		"bad date":              {statement(good + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), 400, "MalformedPolicyDocument", "legacy parsing"},
		"unknown operator":      {statement(good + `,"Condition":{"StringEqual":{"sts:ExternalId":"x"}}`), 400, "MalformedPolicyDocument", "Invalid Condition type"},
		"key without vendor":    {statement(good + `,"Condition":{"StringEquals":{"ExternalId":"x"}}`), 400, "MalformedPolicyDocument", "vendor"},
		"characters":            {statement(`"Sid":"Ticket",` + good + `,"Condition":{"StringEquals":{"sts:ExternalId":"日本"}}`), 400, "ValidationError", "policyDocument"},
		"unknown role":          {vendorTrust("arn:aws:iam::111122223333:role/nobody"), 400, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/nobody"`},
		"wrong path":            {vendorTrust("arn:aws:iam::111122223333:role/x/singlestore-support"), 400, "MalformedPolicyDocument", "Invalid principal"},
		"unknown account":       {vendorTrust("999999999999"), 400, "MalformedPolicyDocument", `"AWS":"999999999999"`},
		"orphan":                {vendorTrust("AROAEXAMPLEEXAMPLEEXA"), 400, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"AROAEXAMPLEEXAMPLEEXA"`},
		"half wildcard":         {vendorTrust("arn:aws:iam::111122223333:role/*"), 400, "MalformedPolicyDocument", "Invalid principal"},
		"other partition":       {vendorTrust("arn:aws-cn:iam::111122223333:role/singlestore-support"), 400, "MalformedPolicyDocument", "Invalid principal"},
		"unknown service":       {statement(`"Effect":"Allow","Principal":{"Service":"nothing"},"Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", `"SERVICE":"nothing"`},
		"principal of no kind":  {statement(`"Effect":"Allow","Principal":{"Robot":"x"},"Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", ""},
		"principal bare string": {statement(`"Effect":"Allow","Principal":"` + vendor + `","Action":"sts:AssumeRole"`), 400, "MalformedPolicyDocument", ""},
		"over quota":            {statement(good + `,"Condition":{"StringEquals":{"sts:ExternalId":"` + strings.Repeat("x", 2048) + `"}}`), 409, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Role.StoredTrust()
			wantError(t, s.trust(t, test.document), test.status, test.code, test.message)
			if s.Role.StoredTrust() != before {
				t.Error("a refused document was stored")
			}
		})
	}
}

func TestUpdateAssumeRolePolicy_accepted(t *testing.T) {
	s := newScene()
	s.Account.User("alice")
	for name, document := range map[string]string{
		"everyone":          `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`,
		"user":              vendorTrust("arn:aws:iam::444455556666:user/alice"),
		"session":           vendorTrust("arn:aws:sts::111122223333:assumed-role/singlestore-support/jane"),
		"root":              vendorTrust("arn:aws:iam::111122223333:root"),
		"not action":        `{"Statement":{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"NotAction":"sts:TagSession"}}`,
		"epoch date":        `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":1795467600}}}}`,
		"date without time": `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"DateLessThanIfExists":{"aws:CurrentTime":"2026-11-23"}}}}`,
		"latin 1":           `{"Id":"é","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`,
		"white space":       `{"Statement":{"Effect":"Allow",` + strings.Repeat(" \n", 4000) + `"Principal":"*","Action":"sts:AssumeRole"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.trust(t, document); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A quota is counted in characters that are not white space, to the last one.
func TestUpdateAssumeRolePolicy_quotaIsExact(t *testing.T) {
	s := newScene()
	size := len(vendorTrust(s.Vendor.ARN()))
	s.Account.SetTrustQuota(size)
	if err := s.trust(t, vendorTrust(s.Vendor.ARN())); err != nil {
		t.Fatal(err)
	}
	s.Account.SetTrustQuota(size - 1)
	wantError(t, s.trust(t, vendorTrust(s.Vendor.ARN())), 409, "LimitExceeded", fmt.Sprintf("ACLSizePerRole: %d", size-1))
	out, err := s.bot.iam.GetAccountSummary(t.Context(), &iam.GetAccountSummaryInput{})
	if got := must(t, out, err).SummaryMap["AssumeRolePolicySizeQuota"]; int(got) != size-1 {
		t.Errorf("got quota %d, want %d", got, size-1)
	}
}

// The story of an orphan: the vendor deletes its role and makes it anew; from
// then on every write that still has the old principal fails, and the new role
// is not the one that is trusted.
func TestOrphan(t *testing.T) {
	s := newScene()
	arn := s.Vendor.ARN()
	if err := s.trust(t, vendorTrust(arn)); err != nil {
		t.Fatal(err)
	}
	id := s.Vendor.UniqueID()
	s.Vendor.Delete()
	again := s.w.ForeignRole(arn)
	if got := s.Role.TrustDocument(); got != vendorTrust(id) {
		t.Errorf("got %s, want the raw id %s", got, id)
	}
	wantError(t, s.trust(t, s.Role.TrustDocument()), 400, "MalformedPolicyDocument", `"AWS":"`+id+`"`)
	s.Vendor = again
	if _, err := s.assume(t); err == nil {
		t.Error("the recreated role was let in")
	}
	if err := s.trust(t, vendorTrust(arn)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.assume(t); err != nil {
		t.Error(err)
	}
}

func TestRole_refusals(t *testing.T) {
	s := newScene()
	s.Account.Role("AWSServiceRoleForX").ServiceLinked()
	name := new("AWSServiceRoleForX")
	_, err := s.bot.iam.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: new(vendorTrust(s.Vendor.ARN()))})
	wantError(t, err, 400, "UnmodifiableEntity", "protected role")
	_, err = s.bot.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: name, PolicyName: new("x"), PolicyDocument: new(awssim.DenyAll)})
	wantError(t, err, 400, "UnmodifiableEntity", "")
	_, err = s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new("nobody")})
	wantError(t, err, 404, "NoSuchEntity", "The role with name nobody cannot be found.")
	_, err = s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new("no/body")})
	wantError(t, err, 400, "ValidationError", "")
	_, err = s.bot.iam.GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: new("none")})
	wantError(t, err, 404, "NoSuchEntity", "")
}

func TestRolePolicy(t *testing.T) {
	s := newScene()
	name, role := new("AWSRevokeOlderSessions"), new(s.Role.Name())
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-11-23T18:02:41Z"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}`
	put := func(document string) error {
		_, err := s.bot.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: role, PolicyName: name, PolicyDocument: &document})
		return err
	}
	_, err := s.bot.iam.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: role, PolicyName: name})
	wantError(t, err, 404, "NoSuchEntity", "cannot be found")
	_, err = s.bot.iam.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: name})
	wantError(t, err, 404, "NoSuchEntity", "")
	if err := put(document); err != nil {
		t.Fatal(err)
	}
	got, err := s.bot.iam.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: role, PolicyName: name})
	if plain, _ := url.PathUnescape(*must(t, got, err).PolicyDocument); plain != document {
		t.Errorf("got %s, want %s", plain, document)
	}
	if stored, _ := s.Role.InlinePolicy(*name); stored != document {
		t.Errorf("got %s, want %s", stored, document)
	}
	wantError(t, put(vendorTrust(s.Vendor.ARN())), 400, "MalformedPolicyDocument", "principal")
	wantError(t, put(`{"Statement":[{"Effect":"Deny","Action":"*"}]}`), 400, "MalformedPolicyDocument", "resources")
	wantError(t, put(`{"Statement":[{"Effect":"Deny","Action":"*","Resource":"bucket"}]}`), 400, "MalformedPolicyDocument", "ARN format")
	wantError(t, put(`{"Statement":[{"Effect":"Deny","Action":"everything","Resource":"*"}]}`), 400, "MalformedPolicyDocument", "vendor")
	wantError(t, put(`{"Statement":[{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::`+strings.Repeat("x", 10240)+`"}]}`), 409, "LimitExceeded", "10240")
	list, err := s.bot.iam.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: role})
	if names := must(t, list, err).PolicyNames; len(names) != 1 || names[0] != *name {
		t.Errorf("got %v, want %s", names, *name)
	}
	if _, err := s.bot.iam.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: name}); err != nil {
		t.Fatal(err)
	}
	if names := s.Role.InlinePolicies(); len(names) != 0 {
		t.Errorf("got %v, want none", names)
	}
}

func TestRoleAndInstanceProfile(t *testing.T) {
	s := newScene()
	host := new(s.Host.Name())
	attached, err := s.bot.iam.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: host, MaxItems: new(int32(1))})
	if got := must(t, attached, err); len(got.AttachedPolicies) != 1 || !got.IsTruncated ||
		*got.AttachedPolicies[0].PolicyName != "AmazonSSMManagedInstanceCore" {
		t.Errorf("got %+v, want the first of two", got.AttachedPolicies)
	}
	attached, err = s.bot.iam.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: host, MaxItems: new(int32(1)), Marker: attached.Marker})
	if got := must(t, attached, err); len(got.AttachedPolicies) != 1 || got.IsTruncated {
		t.Errorf("got %+v, want the last", got.AttachedPolicies)
	}
	_, err = s.bot.iam.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: host, Marker: new("page-999")})
	wantError(t, err, 400, "ValidationError", "Marker")
	profiles, err := s.bot.iam.ListInstanceProfilesForRole(t.Context(), &iam.ListInstanceProfilesForRoleInput{RoleName: host})
	if got := must(t, profiles, err).InstanceProfiles; len(got) != 1 || *got[0].InstanceProfileName != "privileged-access-helios-prod" {
		t.Errorf("got %+v", got)
	}
	profile, err := s.bot.iam.GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: new("privileged-access-helios-prod")})
	if got := must(t, profile, err).InstanceProfile; len(got.Roles) != 1 || *got.Roles[0].Arn != s.Host.ARN() {
		t.Errorf("got %+v, want role %s", got.Roles, s.Host.ARN())
	}
	s.Host.Boundary("arn:aws:iam::444455556666:policy/fence", awssim.AdministratorAccess).Describe("host")
	role, err := s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: host})
	if got := must(t, role, err).Role; got.PermissionsBoundary == nil || *got.PermissionsBoundary.PermissionsBoundaryArn != "arn:aws:iam::444455556666:policy/fence" || *got.Description != "host" {
		t.Errorf("got %+v", got.PermissionsBoundary)
	}
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	s := newScene()
	instance := "arn:aws:ec2:us-east-1:444455556666:instance/" + s.Instance.ID()
	s.Role.Inline("NoPortForwarding", `{"Statement":[{"Effect":"Deny","Action":"ssm:StartSession","Resource":"arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession"},{"Effect":"Deny","Action":"ssm:*","Resource":"*","Condition":{"StringEquals":{"ssm:resourceTag/Name":"Forbidden"}}}]}`)
	simulate := func(resources []string, entries ...types.ContextEntry) types.EvaluationResult {
		out, err := s.bot.iam.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: new(s.Role.ARN()), ActionNames: []string{"ssm:StartSession", "ec2:TerminateInstances"}, ResourceArns: resources, ContextEntries: entries,
		})
		results := must(t, out, err).EvaluationResults
		if len(results) != 2 || results[1].EvalDecision != types.PolicyEvaluationDecisionTypeImplicitDeny {
			t.Fatalf("got %+v, want two results, the second an implicit deny", results)
		}
		return results[0]
	}
	if got := simulate([]string{instance}); got.EvalDecision != "allowed" || len(got.MissingContextValues) != 1 || got.MissingContextValues[0] != "ssm:resourceTag/Name" {
		t.Errorf("got %s, missing %v", got.EvalDecision, got.MissingContextValues)
	}
	got := simulate([]string{instance, "arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSession"})
	if got.EvalDecision != "explicitDeny" || len(got.ResourceSpecificResults) != 2 || got.ResourceSpecificResults[0].EvalResourceDecision != "allowed" {
		t.Errorf("got %+v, want explicitDeny on top, allowed for the instance", got)
	}
	got = simulate([]string{instance}, types.ContextEntry{ContextKeyName: new("ssm:resourceTag/Name"), ContextKeyType: "string", ContextKeyValues: []string{"Forbidden"}})
	if got.EvalDecision != "explicitDeny" {
		t.Errorf("got %s, want explicitDeny", got.EvalDecision)
	}
	_, err := s.bot.iam.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: new("arn:aws:iam::444455556666:role/nobody"), ActionNames: []string{"ssm:StartSession"}})
	wantError(t, err, 404, "NoSuchEntity", "")
}

func TestStaleReads(t *testing.T) {
	s := newScene()
	old := s.Role.TrustDocument()
	read := func() string {
		out, err := s.bot.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: new(s.Role.Name())})
		document, _ := url.PathUnescape(*must(t, out, err).Role.AssumeRolePolicyDocument)
		return document
	}
	s.w.Tune(func(k *awssim.Knobs) { k.StaleReads = time.Hour })
	if err := s.trust(t, vendorTrust(s.Vendor.ARN())); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != old {
		t.Errorf("got %s, want the old document", got)
	}
	s.w.Tune(func(k *awssim.Knobs) { k.FlappingReads = true })
	if first, second := read(), read(); first == second {
		t.Errorf("got %s twice, want replicas that disagree", first)
	}
	s.w.Tune(func(k *awssim.Knobs) { *k = awssim.Knobs{} })
	if got := read(); got != vendorTrust(s.Vendor.ARN()) {
		t.Errorf("got %s, want the new document", got)
	}
}
