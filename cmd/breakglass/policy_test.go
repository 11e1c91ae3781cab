package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"breakglass/actions"
	"breakglass/bot"
)

// printed is what the program prints for these arguments.
func printed(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, func(string) string { return "" }, &out, &errs)
	return out.String(), errs.String(), code
}

// goldenFile holds what is printed against testdata/NAME.
func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew)\n%s", path, diff)
	}
}

// The manifest is the same without any configuration, and the same in both
// languages.
func TestManifest(t *testing.T) {
	t.Chdir(t.TempDir())
	asYAML, errs, code := printed(t, "manifest")
	if code != 0 || errs != "" {
		t.Fatalf("%d: %s", code, errs)
	}
	asJSON, _, _ := printed(t, "manifest", "--json")
	var fromYAML, fromJSON bot.Manifest
	if err := yaml.Load([]byte(asYAML), &fromYAML, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(asJSON), &fromJSON); err != nil {
		t.Fatal(err)
	}
	for _, got := range []bot.Manifest{fromYAML, fromJSON} {
		if diff := cmp.Diff(bot.AppManifest(), got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestManifest_golden(t *testing.T) {
	for name, args := range map[string][]string{"manifest.yaml": {"manifest"}, "manifest.json": {"manifest", "--json"}} {
		got, _, _ := printed(t, args...)
		goldenFile(t, "manifest/"+name, got)
	}
}

const (
	policyHead = `slack: {channel: C0123456789}
singlestore: {accounts: ["111122223333"]}
people: {approvers: {users: [U01]}}
cells:
`
	policyPlain = `  - {name: helios-prod, account: "444455556666", region: us-east-1, eks_cluster: helios-prod}
`
	policyFar = `  - {name: helios-far, account: "777788889999", region: eu-west-1, role: support, assume_role: "arn:aws:iam::777788889999:role/ops/breakglass-bot", external_id: ours-7}
`
)

// policyCases are configurations, and what is asked of them.
var policyCases = map[string]struct {
	cells  string
	args   []string
	golden bool // in every language; else in JSON alone
}{
	"plain":       {policyPlain, nil, true},
	"assume-role": {policyFar, nil, true},
	"mixed":       {policyPlain + policyFar, nil, true},
	"cells-of-one-account": {policyPlain + `  - {name: helios-test, account: "444455556666", region: eu-west-1, eks_cluster: helios-test, log_group: /logs/test, cloudtrail_regions: [eu-central-1]}
`, nil, false},
	"roles-of-one-account": {policyFar + `  - {name: helios-other, account: "777788889999", region: eu-west-1, role: other-support, assume_role: "arn:aws:iam::777788889999:role/ops/breakglass-bot", external_id: ours-8}
`, nil, false},
	"gov": {`  - {name: helios-gov, account: "444455556666", region: us-gov-east-1, assume_role: "arn:aws-us-gov:iam::444455556666:role/breakglass-bot"}
`, nil, false},
	"china":     {`  - {name: helios-cn, account: "444455556666", region: cn-northwest-1}` + "\n", nil, false},
	"principal": {policyPlain + policyFar, []string{"--principal", "arn:aws:iam::444455556666:role/bots/breakglass"}, false},
	"boundary":  {policyPlain, []string{"--boundary", "arn:aws:iam::444455556666:policy/fence"}, false},
	"one-cell":  {policyPlain + policyFar, []string{"HELIOS-FAR"}, false},
}

// policyConfig writes a configuration with these cells.
func policyConfig(t *testing.T, cells string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "breakglass.yaml")
	if err := os.WriteFile(file, []byte(policyHead+cells), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPolicy_golden(t *testing.T) {
	for name, c := range policyCases {
		t.Run(name, func(t *testing.T) {
			file := policyConfig(t, c.cells)
			for ending, flag := range map[string]string{".json": "", ".tf": "--terraform", ".cfn.yaml": "--cloudformation"} {
				args := append([]string{"policy", "-c", file}, c.args...)
				if flag != "" {
					args = append(args, flag)
				}
				got, errs, code := printed(t, args...)
				if code != 0 {
					t.Fatalf("%v: %d: %s", args, code, errs)
				}
				if flag == "" || c.golden {
					goldenFile(t, "policy/"+name+ending, got)
				}
				if strings.Contains(got, "WHAT-THE-BOT-RUNS-AS") != (ending == ".json" && strings.Contains(errs, "--principal")) {
					t.Errorf("%v: the placeholder is not explained, or does not stand where it should: %s", args, errs)
				}
			}
		})
	}
}

// The three languages say the same: what Terraform's jsonencode would make of its
// text, and what CloudFormation reads, are the documents of the JSON.
func TestPolicy_threeLanguagesOneMeaning(t *testing.T) {
	const principal = "arn:aws:iam::444455556666:role/bots/breakglass"
	for name, c := range policyCases {
		t.Run(name, func(t *testing.T) {
			file := policyConfig(t, c.cells)
			args := append([]string{"policy", "-c", file}, c.args...)
			asJSON, _, _ := printed(t, args...)
			asHCL, _, _ := printed(t, append(args, "--terraform")...)
			asYAML, _, _ := printed(t, append(args, "--cloudformation")...)

			want := documents(t, asJSON)
			var fromHCL []any
			for _, r := range parseHCL(t, asHCL, principal) {
				for _, key := range []string{"assume_role_policy", "policy"} {
					if d, ok := r.attributes[key]; ok {
						fromHCL = append(fromHCL, d)
					}
				}
			}
			if diff := cmp.Diff(sortedTexts(want), sortedTexts(fromHCL)); diff != "" {
				t.Errorf("JSON (-) and Terraform (+):\n%s", diff)
			}
			if diff := cmp.Diff(sortedTexts(want), sortedTexts(template(t, asYAML, principal))); diff != "" {
				t.Errorf("JSON (-) and CloudFormation (+):\n%s", diff)
			}
		})
	}
}

// documents are all policies of the JSON, with what the bot runs as filled in.
func documents(t *testing.T, text string) []any {
	t.Helper()
	text = regexp.MustCompile(`arn:[a-z-]+:iam::000000000000:role/WHAT-THE-BOT-RUNS-AS`).ReplaceAllString(text, "arn:aws:iam::444455556666:role/bots/breakglass")
	var found any
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	list, ok := found.([]any)
	if !ok {
		return []any{found}
	}
	var out []any
	for _, item := range list {
		for _, key := range []string{"permissions", "trust"} {
			if d, ok := item.(map[string]any)[key]; ok {
				out = append(out, d)
			}
		}
	}
	return out
}

// sortedTexts makes documents comparable whatever their order.
func sortedTexts(docs []any) map[string]int {
	out := map[string]int{}
	for _, d := range docs {
		text, _ := json.MarshalIndent(d, "", " ") // keys sorted
		out[string(text)]++
	}
	return out
}

// template reads a CloudFormation template and holds what CloudFormation asks of
// it: sections and types that it knows, ids of letters and digits, conditions and
// parameters that exist.
func template(t *testing.T, text, principal string) []any {
	t.Helper()
	var doc map[string]any
	if err := yaml.Load([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"AWSTemplateFormatVersion": true, "Description": true, "Parameters": true, "Conditions": true, "Resources": true, "Outputs": true}
	for section := range doc {
		if !known[section] {
			t.Errorf("CloudFormation knows no section %s", section)
		}
	}
	if doc["AWSTemplateFormatVersion"] != "2010-09-09" {
		t.Errorf("version %v", doc["AWSTemplateFormatVersion"])
	}
	section := func(name string) map[string]any { m, _ := doc[name].(map[string]any); return m }
	id := regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)
	for _, name := range []string{"Parameters", "Conditions", "Resources", "Outputs"} {
		for key := range section(name) {
			if !id.MatchString(key) {
				t.Errorf("%s has the id %q; letters and digits only", name, key)
			}
		}
	}
	used := map[string]bool{}
	var fill func(v any) any
	fill = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["Ref"].(string); ok && len(v) == 1 {
				used[ref] = true
				if _, ok := section("Parameters")[ref]; ok {
					return principal
				}
				if _, ok := section("Resources")[ref]; !ok && !strings.HasPrefix(ref, "AWS::") {
					t.Errorf("nothing is called %s", ref)
				}
				return v
			}
			out := map[string]any{}
			for key, item := range v {
				out[key] = fill(item)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, item := range v {
				out[i] = fill(item)
			}
			return out
		default:
			return v
		}
	}
	var out []any
	for name, r := range section("Resources") {
		r := fill(r).(map[string]any)
		if c, ok := r["Condition"]; ok {
			used[fmt.Sprint(c)] = true
			if section("Conditions")[fmt.Sprint(c)] == nil {
				t.Errorf("%s asks for the condition %v, which is not there", name, c)
			}
		}
		properties := r["Properties"].(map[string]any)
		switch r["Type"] {
		case "AWS::IAM::Role":
			out = append(out, properties["AssumeRolePolicyDocument"])
			for _, p := range properties["Policies"].([]any) {
				out = append(out, p.(map[string]any)["PolicyDocument"])
			}
		case "AWS::IAM::ManagedPolicy":
			out = append(out, properties["PolicyDocument"])
		default:
			t.Errorf("%s has the type %v", name, r["Type"])
		}
	}
	fill(doc["Conditions"])
	fill(doc["Outputs"])
	for _, name := range []string{"Parameters", "Conditions"} {
		for key := range section(name) {
			if !used[key] {
				t.Errorf("nothing uses %s of %s", key, name)
			}
		}
	}
	return out
}

func TestPolicy_only(t *testing.T) {
	file := policyConfig(t, policyPlain+policyFar)
	var everything []identity
	text, _, _ := printed(t, "policy", "-c", file)
	if err := json.Unmarshal([]byte(text), &everything); err != nil {
		t.Fatal(err)
	}
	far, own := everything[0], everything[1]
	for what, want := range map[string]actions.PolicyDocument{"trust": *far.Trust, "bot": own.Permissions} {
		got, _, code := printed(t, "policy", "-c", file, "--only", what)
		if code != 0 || got != want.JSON() {
			t.Errorf("--only %s: %d: %s", what, code, cmp.Diff(want.JSON(), got))
		}
	}
	got, _, code := printed(t, "policy", "-c", file, "helios-far", "--only", "permissions")
	if code != 0 || got != far.Permissions.JSON() {
		t.Errorf("%d: %s", code, cmp.Diff(far.Permissions.JSON(), got))
	}
}

// A policy that IAM would not take is said to be too long.
func TestPolicy_tooLong(t *testing.T) {
	var cells strings.Builder
	for i := range 60 {
		fmt.Fprintf(&cells, "  - {name: helios-%02d, account: \"444455556666\", region: us-east-1, eks_cluster: helios-%02d}\n", i, i)
	}
	_, errs, code := printed(t, "policy", "-c", policyConfig(t, cells.String()))
	if code != 0 || !strings.Contains(errs, "may have 6144") || !strings.Contains(errs, "cell by cell") {
		t.Errorf("%d: %s", code, errs)
	}
	if _, errs, _ := printed(t, "policy", "-c", policyConfig(t, cells.String()), "helios-07"); errs != "" {
		t.Errorf("one cell: %s", errs)
	}
}
