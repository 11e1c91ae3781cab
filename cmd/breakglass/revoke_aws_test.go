package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// These play --from-aws to its end in fake time, with the minute that the proof takes.

const (
	foreignTrust = `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`
	outlivedBy   = `{"Sid":"BreakglassBG1","Effect":"Allow","Principal":{"AWS":"` + scriptVendor + `"},"Action":"sts:AssumeRole","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-23T12:00:00Z"}}}`
	handWritten  = `{"Effect":"Allow","Principal":{"AWS":"` + scriptVendor + `"},"Action":"sts:AssumeRole"}`
	anybody      = `{"Sid":"Anybody","Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}`
)

// away is a world without a database.
type awayWorld struct {
	*testing.T

	world *awssim.World
	cells []awssim.CellScene
	tmp   string
	out   bytes.Buffer
	mu    sync.Mutex
}

func (w *awayWorld) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func playAway(t *testing.T, story func(t *testing.T, w *awayWorld)) {
	t.Helper()
	tmp := t.TempDir()
	// Nothing of the machine's own AWS configuration may reach a test.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range map[string]string{
		"TMPDIR": tmp, "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	key := awssim.New().NewCell(awssim.Cell{Name: "helios-prod", Vendor: scriptVendor}).Bot.Credentials()
	t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)))
		w := &awayWorld{T: t, world: awssim.New(), tmp: tmp}
		w.cells = []awssim.CellScene{
			w.world.NewCell(awssim.Cell{Name: "helios-prod", EKSCluster: "helios-prod", Vendor: scriptVendor}),
			w.world.NewCell(awssim.Cell{Name: "helios-test", EKSCluster: "helios-test", Region: "eu-west-1", Vendor: scriptVendor}),
		}
		story(t, w)
	})
}

// trusts sets the trust policy of a cell.
func (w *awayWorld) trusts(cell int, statements ...string) {
	w.cells[cell].Role.Trust(`{"Version":"2012-10-17","Statement":[` + strings.Join(append([]string{foreignTrust}, statements...), ",") + `]}`)
}

// comes opens a shell.
func (w *awayWorld) comes(cell int, region string) {
	w.Helper()
	config := func(k awssim.Credentials) aws.Config {
		return aws.Config{
			Region: region, HTTPClient: w.world.HTTPClient(), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken),
		}
	}
	out, err := sts.NewFromConfig(config(w.cells[cell].Vendor.Credentials("support"))).AssumeRole(w.Context(), &sts.AssumeRoleInput{
		RoleArn: new(w.cells[cell].Role.ARN()), RoleSessionName: new("support-engineer"),
	})
	if err != nil {
		w.Fatal(err)
	}
	k := out.Credentials
	key := awssim.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken}
	if _, err := ssm.NewFromConfig(config(key)).StartSession(w.Context(), &ssm.StartSessionInput{Target: new(w.cells[cell].Instance.ID())}); err != nil {
		w.Fatal(err)
	}
}

func (w *awayWorld) inside(cell, want int) {
	w.Helper()
	n := 0
	for _, x := range w.cells[cell].Region.Sessions() {
		if x.Status == "Connected" || x.Status == "Disconnected" {
			n++
		}
	}
	if n != want {
		w.Errorf("%d shells are live, want %d", n, want)
	}
}

// run is the command, from where its flags have been read.
func (w *awayWorld) run(ctx context.Context, cmd revokeCommand) error {
	w.Helper()
	w.mu.Lock()
	w.out.Reset()
	w.mu.Unlock()
	cmd.FromAWS, cmd.Yes = true, true
	env := &environment{ctx: ctx, getenv: func(string) string { return "" }, stdout: w, stderr: w, log: slog.New(slog.DiscardHandler)}
	vendor := grant.Vendor{Accounts: []grant.AccountID{"111122223333"}}
	hands, err := actions.New(ctx, actions.Options{
		Cells: []actions.Cell{
			{Name: "helios-prod", Account: "444455556666", Region: "us-east-1", EKSCluster: "helios-prod"},
			{Name: "helios-test", Account: "444455556666", Region: "eu-west-1", EKSCluster: "helios-test"},
		},
		Vendor: vendor, HTTPClient: w.world.HTTPClient(),
	})
	if err != nil {
		w.Fatal(err)
	}
	a := &awayRun{
		cmd: cmd, env: env, told: newTold(env, cmd.JSON), aws: &advised{AWS: hands, env: env, came: map[string]int{}},
		policy: grant.Policy{Vendor: vendor, AWSEnforced: true, Cells: []grant.Cell{
			{Name: "helios-prod", Account: "444455556666", Region: "us-east-1"},
			{Name: "helios-test", Account: "444455556666", Region: "eu-west-1"},
		}},
	}
	if cmd.Resume != "" {
		err = a.resume()
	} else {
		err = a.run(a.policy.Cells)
	}
	return err
}

func (w *awayWorld) says(patterns ...string) {
	w.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(w.text()) {
			w.Errorf("it does not say %s:\n%s", p, &w.out)
		}
	}
}

// clean says that nothing of the run is left on the disk.
func (w *awayWorld) clean() {
	w.Helper()
	if left, err := filepath.Glob(filepath.Join(w.tmp, "*")); err != nil || len(left) > 0 {
		w.Errorf("left on the disk: %q (%v)", left, err)
	}
}

func (w *awayWorld) shut(cell int) {
	w.Helper()
	if doc := w.cells[cell].Role.TrustDocument(); strings.Contains(doc, "111122223333") || strings.Contains(doc, "Breakglass") || !strings.Contains(doc, "ec2.amazonaws.com") {
		w.Errorf("the trust policy is %s", doc)
	}
	w.inside(cell, 0)
}

// The database is lost. What the bot had opened and what somebody has put there by
// hand is removed from both cells, closed and proven, and no trace is left here.
func TestFromAWS_closesAndProves(t *testing.T) {
	playAway(t, func(t *testing.T, w *awayWorld) {
		w.trusts(0, outlivedBy, handWritten)
		w.trusts(1, handWritten)
		w.comes(0, "us-east-1")
		w.comes(1, "eu-west-1")
		began := time.Now()
		if err := w.run(t.Context(), revokeCommand{All: true}); err != nil {
			t.Fatalf("%v\n%s", err, &w.out)
		}
		if took := time.Since(began); took < grant.DefaultSettle {
			t.Errorf("it was called proven after %s", took)
		}
		w.shut(0)
		w.shut(1)
		w.clean()
		w.says(
			`^..:..:.. UTC helios-prod: \S+ \(written for BG-1\)  closed and proven: no trust since 2026-`,
			`^..:..:.. UTC helios-prod: `+scriptVendor+`  closed and proven: .*no live shell`,
			`^..:..:.. UTC helios-test: `+scriptVendor+`  closed and proven: .*\(1 ended\)`,
			`^helios-prod: the role \S+ trusts nobody of SingleStore's accounts by name now\.$`,
			`^helios-test: the role `,
		)
		if err := w.run(t.Context(), revokeCommand{All: true}); err != nil {
			t.Errorf("with nothing to remove: %v", err)
		}
		w.says(`^  Nothing to remove: `)
	})
}

// It is interrupted when the trust is gone already. Only the run's own database
// knows what is left to be proven; with it, it is.
func TestFromAWS_resumes(t *testing.T) {
	playAway(t, func(t *testing.T, w *awayWorld) {
		w.trusts(0, outlivedBy)
		w.comes(0, "us-east-1")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := w.run(ctx, revokeCommand{All: true})
		if err == nil {
			t.Fatalf("it says that it is done:\n%s", &w.out)
		}
		m := regexp.MustCompile(`--from-aws --resume (\S+)$`).FindStringSubmatch(err.Error())
		if m == nil || !strings.Contains(err.Error(), "is not closed yet: sessions: ") {
			t.Fatalf("it says %v", err)
		}
		if err := w.run(t.Context(), revokeCommand{Resume: m[1], JSON: true}); err != nil {
			t.Fatalf("%v\n%s", err, &w.out)
		}
		var line revokeGrant
		if err := json.Unmarshal(w.out.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, &w.out)
		}
		if line.Result != "closed" || line.WrittenFor != "BG-1" || line.Statement != "statement BreakglassBG1" || line.Cell != "helios-prod" || line.ClosedAt.IsZero() || line.Proof == nil || len(line.Proof.SessionsEnded) != 1 {
			t.Errorf("it prints %s", &w.out)
		}
		w.shut(0)
		w.clean()
		if err := w.run(t.Context(), revokeCommand{Resume: m[1]}); err == nil || !strings.Contains(err.Error(), "there is no ") {
			t.Errorf("resuming what is done: %v", err)
		}
	})
}

// A trust that is too wide is not touched, and nothing is called closed beside it;
// what to do by hand is said, and done it goes on by itself.
func TestFromAWS_tooWide(t *testing.T) {
	playAway(t, func(t *testing.T, w *awayWorld) {
		w.trusts(0, handWritten, anybody)
		time.AfterFunc(3*time.Minute, func() { w.trusts(0) })
		if err := w.run(t.Context(), revokeCommand{All: true}); err != nil {
			t.Fatal(err)
		}
		w.says(
			`^    \* \(Anybody\)$`, `^      That is anybody, SingleStore too, and is not removed here\. By hand: narrow it \(IAM console, role \S+, Trust relationships\)\.$`,
			`trust fails and is tried again: \S+ is still trusted by \S+, through everybody \("\*"\)`,
			`^helios-prod: .* Narrow or remove that statement: IAM console`, `closed and proven`,
		)
		w.clean()
	})
}

// A cell that cannot be looked at is no cell that is shut; the others are done.
func TestFromAWS_blind(t *testing.T) {
	playAway(t, func(t *testing.T, w *awayWorld) {
		w.trusts(0, handWritten)
		w.trusts(1, handWritten)
		w.world.Inject(awssim.Fault{Call: "iam:GetRole", Role: w.cells[1].Role.Name(), Kind: awssim.Deny})
		err := w.run(t.Context(), revokeCommand{All: true})
		if err == nil || !strings.Contains(err.Error(), "helios-test could not be looked at: ") {
			t.Errorf("it says %v", err)
		}
		w.shut(0)
		w.says(`^  It cannot be seen whom its role trusts: `, `closed and proven`)
		if doc := w.cells[1].Role.TrustDocument(); !strings.Contains(doc, scriptVendor) {
			t.Errorf("what could not be seen was changed: %s", doc)
		}
		w.clean()
	})
}

// Somebody puts it back when all is proven.
func TestFromAWS_putBack(t *testing.T) {
	playAway(t, func(t *testing.T, w *awayWorld) {
		w.trusts(0, handWritten)
		w.world.Tune(func(k *awssim.Knobs) { k.Latency = time.Second })
		go func() {
			for !strings.Contains(w.text(), "closed and proven") {
				time.Sleep(10 * time.Millisecond)
			}
			w.trusts(0, handWritten)
		}()
		err := w.run(t.Context(), revokeCommand{All: true})
		if err == nil || !strings.Contains(err.Error(), "since then somebody has put trust into the role of helios-prod: run the command again") {
			t.Errorf("it says %v", err)
		}
		w.clean()
	})
}

func (w *awayWorld) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}
