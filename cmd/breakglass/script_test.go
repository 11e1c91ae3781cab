package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"breakglass": main, "aws": awsProgram})
}

// TestScripts runs the program as an operator does, against a local Slack and a
// local AWS on loopback. Each script's header tells its story. Scripts may use:
//
//	slack PERSON TEXT…          types /breakglass TEXT; what the person sees is the output
//	press PERSON BUTTON         presses a button of the newest card
//	card WORDS…                 waits until the newest card says every word; prints it
//	thread WORDS                waits for a message in its thread; prints it
//	trust                       prints the role's trust policy
//	terminate                   sends SIGTERM to the programs in the background
//	hangup                      sends them SIGHUP
//	said FILE WORDS…            waits until a line of the file has every word; prints it
//	health PATH CODE            waits until the health port answers so
//	status CODE PROGRAM ARGS…   runs a program that must end with this very code
//	patch FILE OLD NEW          replaces bytes of a file by as many others
//	cut FILE BYTES              leaves the first bytes of a file
//	mode FILE -rw-------        wants a file to have this mode; a socket's begins with s
//	stale FILE, impostor FILE   leaves a dead socket behind; listens on one, and is no bot
//
// where PERSON is ana (on call), ben or cho (approvers).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		UpdateScripts:       *update, // what cmp compares with
		Setup:               raise,
		Cmds: checkCmds(revokeCmds(map[string]func(*testscript.TestScript, bool, []string){
			"slack": cmdSlack, "press": cmdPress, "card": cmdCard, "thread": cmdThread,
			"patch": cmdPatch, "cut": cmdCut, "mode": cmdMode, "stale": cmdStale, "impostor": cmdImpostor,
			"status": cmdStatus, "trust": cmdTrust, "terminate": cmdTerminate, "health": cmdHealth,
			"hangup": cmdHangup, "said": cmdSaid,
		})),
	})
}

const (
	scriptChannel = "C0ACCESS"
	scriptVendor  = "arn:aws:iam::111122223333:role/support"
	// patience bounds what a script waits for; it is no measure of speed. A socket that
	// has gone silent is noticed after 40 s, and opened anew within a minute.
	patience = 2 * time.Minute
)

// scene is the local world of one script.
type scene struct {
	slack  *slacksim.Slack
	cell   awssim.CellScene
	people map[string]*slacksim.Person
	listen string
	world  *awssim.World
	mended func() // ends what `fails` has begun
}

type sceneKey struct{}

func raise(env *testscript.Env) error {
	s := &scene{people: map[string]*slacksim.Person{}}
	world := awssim.New()
	s.world = world
	s.cell = world.NewCell(awssim.Cell{Name: "helios-prod", Vendor: scriptVendor})
	aws, err := world.Start()
	if err != nil {
		return err
	}
	env.Defer(func() { _ = aws.Close() })
	s.slack = slacksim.New(slacksim.Options{Patience: patience})
	env.Defer(s.slack.Close)
	ids := []string{}
	for _, name := range []string{"ana", "ben", "cho"} {
		id := "U0" + strings.ToUpper(name)
		ids = append(ids, id)
		s.people[name] = s.slack.AddUser(slacksim.User{ID: id, Name: name})
	}
	s.slack.AddChannel(slacksim.Channel{ID: scriptChannel, Name: "access", Members: ids})
	if err := s.slack.Start("127.0.0.1:0"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listen = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	config := fmt.Sprintf(`slack: {channel: %s, api_url: %q}
singlestore: {accounts: ["111122223333"]}
people: {approvers: {users: [U0BEN, U0CHO]}}
cells:
  - {name: helios-prod, account: "444455556666", region: us-east-1}
store: {path: breakglass.db}
listen: %s
`, scriptChannel, s.slack.APIURL(), s.listen)
	if err := os.WriteFile(filepath.Join(env.WorkDir, "breakglass.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	if err := permit(s.cell.Bot, config); err != nil {
		return err
	}
	key := s.cell.Bot.Credentials()
	env.Setenv("SLACK_BOT_TOKEN", s.slack.BotToken())
	env.Setenv("SLACK_APP_TOKEN", s.slack.AppToken())
	env.Setenv("AWS_ENDPOINT_URL", aws.URL())
	env.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
	env.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	env.Values[sceneKey{}] = s
	return nil
}

// permit lets the program do in AWS what `breakglass policy` prints for the
// configuration, and nothing else.
func permit(program *awssim.User, config string) error {
	cfg, err := parseConfig("breakglass.yaml", []byte(config))
	if err != nil {
		return err
	}
	list, err := actions.PermissionsFor(cfg.awsCells(), actions.PermissionOptions{Principal: program.ARN()})
	if err != nil {
		return err
	}
	for _, p := range list {
		program.Policy("breakglass "+p.Role, p.Policy.JSON())
	}
	return nil
}

func at(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

func waiting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func must(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

func cmdSlack(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := waiting()
	defer cancel()
	s := at(ts)
	i, err := s.people[args[0]].Slash(ctx, scriptChannel, "/breakglass", strings.Join(args[1:], " "))
	must(ts, err)
	s.print(ctx, ts, i)
}

func cmdPress(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := waiting()
	defer cancel()
	s := at(ts)
	i, err := s.people[args[0]].Click(ctx, s.card(ts), args[1])
	must(ts, err)
	if !i.Acked {
		ts.Fatalf("the click was not acknowledged: %s", i.Failure)
	}
}

// print writes what the person saw in answer.
func (s *scene) print(ctx context.Context, ts *testscript.TestScript, i slacksim.Interaction) {
	must(ts, s.slack.Wait(ctx, func() bool { return len(i.Ephemerals()) > 0 }))
	for _, m := range i.Ephemerals() {
		fmt.Fprintln(ts.Stdout(), s.slack.Render(m))
	}
}

// card is the newest card as it stands.
func (s *scene) card(ts *testscript.TestScript) slacksim.Message {
	for _, m := range slices.Backward(s.slack.Messages(scriptChannel)) {
		if m.ThreadTS == "" {
			return m
		}
	}
	ts.Fatalf("no card stands")
	return slacksim.Message{}
}

func (s *scene) wait(ts *testscript.TestScript, inThread bool, words []string) {
	ctx, cancel := waiting()
	defer cancel()
	m, err := s.slack.WaitMessage(ctx, scriptChannel, func(m slacksim.Message) bool {
		text := s.slack.Render(m)
		return (m.ThreadTS != "") == inThread &&
			!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
	must(ts, err)
	fmt.Fprintln(ts.Stdout(), s.slack.Render(m))
}

func cmdCard(ts *testscript.TestScript, _ bool, args []string)   { at(ts).wait(ts, false, args) }
func cmdThread(ts *testscript.TestScript, _ bool, args []string) { at(ts).wait(ts, true, args) }

func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		must(ts, err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

func cmdTrust(ts *testscript.TestScript, _ bool, _ []string) {
	fmt.Fprintln(ts.Stdout(), at(ts).cell.Role.TrustDocument())
}

// cmdTerminate asks every program in the background to stop, as systemd or
// Kubernetes does. testscript's own kill knows no SIGTERM.
func cmdTerminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		must(ts, cmd.Process.Signal(syscall.SIGTERM))
	}
}

func cmdHealth(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := waiting()
	defer cancel()
	last := ""
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at(ts).listen+args[0], http.NoBody)
		must(ts, err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
		} else {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			last = fmt.Sprintf("%d %s", resp.StatusCode, body)
			if fmt.Sprint(resp.StatusCode) == args[1] {
				fmt.Fprint(ts.Stdout(), string(body))
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	ts.Fatalf("%s answers %s, want %s", args[0], last, args[1])
}
