package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"breakglass/actions"
	"breakglass/actions/awssim"
)

// serve keeps a local Slack and a local AWS for the real program, which is started
// beside it and knows of no simulator: everything that it needs is a configuration
// and variables of the environment, which serve writes into dir. What people do is
// read from in, a line each, and what they see is written to out. It ends with ctx,
// with the line quit, or with in.
func serve(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("finding the directory: %w", err)
	}
	w, err := raise() //nolint:contextcheck // it ends by world.end
	if err != nil {
		return err
	}
	err = furnish(ctx, w, dir)
	if err == nil {
		p := newPlay(w, out)
		p.introduce(dir)
		err = p.run(ctx, in)
	}
	if werr := w.end(); err == nil {
		err = werr
	}
	return err
}

// furnish writes the configuration and the environment into dir, and permits the
// program in AWS what `breakglass policy` prints for it, and nothing else.
func furnish(ctx context.Context, w world, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	database := filepath.Join(dir, "breakglass.db")
	if _, err := os.Lstat(database); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already, and tells of an AWS that is gone: remove %s, or name another directory", database, dir)
	}
	// A port that is free now; the program will be the one to listen on it.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	listen := l.Addr().String()
	if err := l.Close(); err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	config := fmt.Sprintf(`# For the real breakglass, against the local Slack and the local AWS of breakglass-demo.
slack: {channel: %s, api_url: %q}
singlestore: {accounts: ["111122223333"]}
people: {approvers: {users: [%s, %s]}} # Ben, and Ana, who may not approve her own
cells:
  - {name: %s, account: %q, region: us-east-1, eks_cluster: %s}
store: {path: %q}
listen: %s
`, channel, w.slack.APIURL(), ben, ana, cell, w.cell.Account.ID(), cell, database, listen)
	var env strings.Builder
	fmt.Fprintln(&env, "# For the shell in which the real breakglass is started:  . env.sh")
	for _, v := range append(w.environment(dir),
		variable{"SLACK_BOT_TOKEN", w.slack.BotToken()}, variable{"SLACK_APP_TOKEN", w.slack.AppToken()},
		variable{"SLACK_BOT_TOKEN_FILE", ""}, variable{"SLACK_APP_TOKEN_FILE", ""},
	) {
		if v.value == "" {
			fmt.Fprintf(&env, "unset %s\n", v.name)
			continue
		}
		fmt.Fprintf(&env, "export %s=%s\n", v.name, quoted(v.value))
	}
	for name, text := range map[string]string{"breakglass.yaml": config, "env.sh": env.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing what the program needs: %w", err)
		}
	}
	list, err := actions.PermissionsFor(w.actionCells(), actions.PermissionOptions{Principal: w.cell.Bot.ARN()})
	if err != nil {
		return err
	}
	for _, p := range list {
		w.cell.Bot.Policy("breakglass "+p.Role, p.Policy.JSON())
	}
	return nil
}

// quoted is a word that a shell takes as it stands.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// whatToType is the help.
const whatToType = `What you type here, a line each:
  ana: /breakglass grant arn=` + vendor + ` ticket=48213 for=30m reason=leaf node in CrashLoopBackOff
  ben: press Approve            the newest button that begins so; "press Approve BG-2" for one of several
  ana: home                     the app's Home tab
  singlestore: come in          assumes the role and opens a shell
  singlestore: $ kubectl get pods
  aws: trust                    the role's trust policy; "aws: policies" for its inline policies
  aws: delete the log group     or "stop the instance": see what a check says then
  help, quit                    (Ctrl-D and Ctrl-C end it, too)
`

// introduce says what there is and how to start the program.
func (p *play) introduce(dir string) {
	p.printf(`A local Slack (%s) and a local AWS (%s), with one cell, helios-prod.
Ana is on call, Ben approves. Start the real program in another terminal:

  . %s
  ./breakglass run -c %s

%s
`, p.slack.APIURL(), p.aws.URL(), quoted(filepath.Join(dir, "env.sh")), quoted(filepath.Join(dir, "breakglass.yaml")), whatToType)
}

// run plays the lines until they, or ctx, end.
func (p *play) run(ctx context.Context, in io.Reader) error {
	ctx, stop := context.WithCancel(ctx)
	defer p.seen.Wait()
	defer stop()
	p.seen.Go(func() { p.follow(ctx) })
	lines, broken := make(chan string), make(chan error, 1)
	// Reading cannot be broken off: where ctx ends first, this is left behind.
	go func() {
		scan := bufio.NewScanner(in)
		for scan.Scan() {
			select {
			case lines <- strings.TrimSpace(scan.Text()):
			case <-ctx.Done():
				return
			}
		}
		broken <- scan.Err()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			if err != nil {
				return fmt.Errorf("reading what to do: %w", err)
			}
			return nil
		case line := <-lines:
			if line == "quit" {
				return nil
			}
			if err := p.act(ctx, line); err != nil {
				p.printf("(!) %v\n", err)
			}
		}
	}
}

// act does what a line says.
func (p *play) act(ctx context.Context, line string) error {
	who, what, _ := strings.Cut(line, ":")
	what = strings.TrimSpace(what)
	switch who = strings.ToLower(strings.TrimSpace(who)); {
	case line == "":
		return nil
	case who == "ana":
		return p.person(ctx, p.ana, what)
	case who == "ben":
		return p.person(ctx, p.ben, what)
	case who == "singlestore" && what == "come in":
		return p.comeIn(ctx)
	case who == "singlestore" && strings.HasPrefix(what, "$"):
		return p.typeIn(strings.TrimSpace(strings.TrimPrefix(what, "$")))
	case who == "aws" && what == "trust":
		p.printf("%s\n", indent(pretty(p.cell.Role.TrustDocument()), "  │ "))
	case who == "aws" && what == "policies":
		for _, name := range p.cell.Role.InlinePolicies() {
			document, _ := p.cell.Role.InlinePolicy(name)
			p.printf("%s\n%s\n", name, indent(pretty(document), "  │ "))
		}
	case who == "aws" && what == "delete the log group":
		p.cell.LogGroup.Delete()
		p.printf("The log group is gone: nothing opens any more, and a check says why.\n")
	case who == "aws" && what == "stop the instance":
		p.cell.Instance.State("stopped")
		p.printf("The privileged access instance is stopped.\n")
	case who == "help":
		p.printf("%s", whatToType)
	default:
		return fmt.Errorf("%q is nothing that can be done here; type help", line)
	}
	return nil
}

// comeIn has SingleStore's engineer open a shell.
func (p *play) comeIn(ctx context.Context) error {
	eng, err := comeIn(ctx, p.aws.URL(), p.cell)
	if err != nil {
		return fmt.Errorf("AWS answers SingleStore %s: %w", reason(err), err)
	}
	if p.shell, err = p.cell.Region.Shell(eng.sessionID); err != nil {
		return err
	}
	p.printf("SingleStore is inside: %s\n", eng.sessionID)
	return nil
}

// typeIn types into the shell that was opened last.
func (p *play) typeIn(command string) error {
	if p.shell == nil {
		return errors.New("nobody has come in yet: singlestore: come in")
	}
	answer, err := p.shell.Type(command)
	if errors.Is(err, awssim.ErrSessionEnded) {
		p.printf("The shell is dead: %v\n", err)
		return nil
	}
	if answer != "" {
		p.printf("%s\n", indent(answer, "  │ "))
	}
	return err
}
