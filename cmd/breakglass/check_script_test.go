package main

import (
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"breakglass/bot/slacksim"
)

// What scripts about checking may use besides:
//
//	spoil WHAT [ARG…]           something is not as it should be: scope NAME,
//	                            outside, shared, user ID, stopped, no-log-group, policy,
//	                            slack (it is down)
//	mended                      Slack is as it was
//	hostile FILE                has the configuration name the instance, and somebody
//	                            with the right to tag it names it for your terminal
func checkCmds(cmds map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	cmds["spoil"], cmds["mended"], cmds["hostile"] = cmdSpoil, cmdMended, cmdHostile
	return cmds
}

func cmdSpoil(ts *testscript.TestScript, _ bool, args []string) {
	s := at(ts)
	channel := func(edit func(*slacksim.Channel)) { s.slack.EditChannel(scriptChannel, edit) }
	switch args[0] {
	case "scope":
		s.slack.SetToken(slacksim.Token{
			Value: s.slack.BotToken(), Class: slacksim.BotToken,
			Scopes: slices.DeleteFunc(slices.Clone(slacksim.DefaultBotScopes), func(x string) bool { return slices.Contains(args[1:], x) }),
		})
	case "outside":
		channel(func(c *slacksim.Channel) { c.Without = true })
	case "shared":
		channel(func(c *slacksim.Channel) { c.ExtShared = true })
	case "user":
		s.slack.EditUser(args[1], func(u *slacksim.User) { u.Deleted = true })
	case "slack":
		s.slack.SetDown(true)
	case "stopped":
		s.cell.Instance.Name("Privileged access instance").State("stopped")
	case "no-log-group":
		s.cell.LogGroup.Delete()
	case "policy":
		s.cell.Bot.Policy("a boundary of somebody's", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["iam:GetAccountSummary","ssm:DescribeInstanceInformation"],"Resource":"*"}]}`)
	default:
		ts.Fatalf("nobody knows how to spoil %s", args[0])
	}
}

func cmdMended(ts *testscript.TestScript, _ bool, _ []string) {
	s := at(ts)
	s.slack.SetDown(false)
	s.slack.SetToken(slacksim.Token{Value: s.slack.BotToken(), Class: slacksim.BotToken, Scopes: slacksim.DefaultBotScopes})
	s.slack.EditChannel(scriptChannel, func(c *slacksim.Channel) { c.Without, c.ExtShared = false, false })
	for _, id := range []string{"U0ANA", "U0BEN", "U0CHO"} {
		s.slack.EditUser(id, func(u *slacksim.User) { u.Deleted = false })
	}
}

func cmdHostile(ts *testscript.TestScript, _ bool, args []string) {
	s := at(ts)
	s.cell.Instance.Name("Privileged\x1b[31m\u202e\x07\nhallo")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "INSTANCE", s.cell.Instance.ID())
	must(ts, os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
