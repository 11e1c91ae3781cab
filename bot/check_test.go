package bot_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/bot"
	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

var update = flag.Bool("update", false, "write the golden files anew")

// checked is a Slack in which nothing is wrong, and what the bot is configured with.
type checked struct {
	slack *slacksim.Slack
	o     bot.Options
}

// begin makes the team anew, with another set of scopes for example.
func (c *checked) begin(o slacksim.Options) {
	if c.slack != nil {
		c.slack.Close()
	}
	c.slack = slacksim.New(o)
	c.slack.AddChannel(slacksim.Channel{ID: channel, Name: "access"})
	for _, id := range []string{ana, ben, eva, rob, mia} {
		c.slack.AddUser(slacksim.User{ID: id})
	}
	c.slack.AddUserGroup(slacksim.UserGroup{ID: group, Handle: "platform", Members: []string{ben, eva, mia}})
}

func (c *checked) people(edit func(*bot.People)) { edit(&c.o.People) }

func user(ids ...grant.UserID) bot.Circle { return bot.Circle{Users: ids} }

// Everything that may be wrong with Slack, and what is said of it: testdata has the
// words. Nothing is posted, no socket is opened, and no token is shown.
func TestCheckSlack(t *testing.T) {
	without := func(scopes ...string) slacksim.Options {
		held := []string{}
		for _, s := range slacksim.DefaultBotScopes {
			if !strings.Contains(" "+strings.Join(scopes, " ")+" ", " "+s+" ") {
				held = append(held, s)
			}
		}
		return slacksim.Options{BotScopes: held}
	}
	byGroups := func(c *checked) {
		c.people(func(p *bot.People) { p.Approvers = bot.Circle{Groups: []grant.GroupID{group}} })
	}
	room := func(edit func(*slacksim.Channel)) func(*checked) {
		return func(c *checked) { c.slack.EditChannel(channel, edit) }
	}
	someone := func(id string, edit func(*slacksim.User)) func(*checked) {
		return func(c *checked) { c.slack.EditUser(id, edit) }
	}
	fault := func(f slacksim.Fault) func(*checked) { return func(c *checked) { c.slack.Inject(f) } }
	tests := []struct {
		name string
		edit func(*checked)
	}{
		{"all is well", func(*checked) {}},
		{"all is well, by groups", byGroups},
		{"scopes that the manifest spares", func(c *checked) {
			c.begin(slacksim.Options{BotScopes: append([]string{"channels:history"}, slacksim.DefaultBotScopes...)})
		}},

		{"no bot token", func(c *checked) { c.o.BotToken = "" }},
		{"no app token", func(c *checked) { c.o.AppToken = "" }},
		{"neither", func(c *checked) { c.o.BotToken, c.o.AppToken = "", "" }},
		{"bot token unknown", func(c *checked) { c.o.BotToken = "xoxb-of-somebody-else" }},
		{"bot token revoked", func(c *checked) { c.slack.BreakToken(c.o.BotToken, "token_revoked") }},
		{"bot token, a refusal that nobody knows", func(c *checked) { c.slack.BreakToken(c.o.BotToken, "phase_of_the_moon") }},
		{"app token unknown", func(c *checked) { c.o.AppToken = "xapp-1-of-somebody-else" }},
		{"app token without its scope", func(c *checked) { c.begin(slacksim.Options{AppScopes: []string{"authorizations:read"}}) }},
		{"the two swapped", func(c *checked) { c.o.BotToken, c.o.AppToken = c.o.AppToken, c.o.BotToken }},
		{"another team", func(c *checked) { c.o.Team = "T0OTHERTEAM" }},

		{"no chat:write", func(c *checked) { c.begin(without("chat:write")) }},
		{"no usergroups:read, and no groups", func(c *checked) { c.begin(without("usergroups:read")) }},
		{"no usergroups:read, but groups", func(c *checked) { c.begin(without("usergroups:read")); byGroups(c) }},
		{"no channels:read", func(c *checked) { c.begin(without("channels:read")) }},
		{"no users:read", func(c *checked) { c.begin(without("users:read")) }},
		{"too many scopes", func(c *checked) {
			c.begin(slacksim.Options{BotScopes: append([]string{"files:read", "admin"}, slacksim.DefaultBotScopes...)})
		}},
		{"Slack does not tell the scopes", fault(slacksim.Fault{Method: "auth.test", Answer: func(w http.ResponseWriter, _ *http.Request) (int, string) {
			_, _ = fmt.Fprint(w, `{"ok":true,"team":"Acme","team_id":"T0000000001","user":"breakglass","user_id":"U00000000BOT"}`)
			return http.StatusOK, ""
		}})},

		{"not in the channel", room(func(c *slacksim.Channel) { c.Without = true })},
		{"not in the private channel", room(func(c *slacksim.Channel) { c.Without, c.Private = true, true })},
		{"no such channel", func(c *checked) { c.o.Channel = "C0NOWHERE" }},
		{"shared", room(func(c *slacksim.Channel) { c.ExtShared = true })},
		{"about to be shared", room(func(c *slacksim.Channel) { c.PendingExtShared = true })},
		{"archived", room(func(c *slacksim.Channel) { c.Archived = true })},

		{"unknown user group", func(c *checked) {
			c.people(func(p *bot.People) { p.Revokers.Groups = []grant.GroupID{"S0NOBODY"} })
		}},
		{"user group switched off", func(c *checked) {
			byGroups(c)
			c.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Disabled = true })
		}},
		{"user group empty", func(c *checked) {
			byGroups(c)
			c.slack.EditUserGroup(group, func(g *slacksim.UserGroup) { g.Members = nil })
		}},
		{"user group of guests", func(c *checked) {
			byGroups(c)
			for _, id := range []string{ben, eva, mia} {
				c.slack.EditUser(id, func(u *slacksim.User) { u.Guest = slacksim.MultiChannelGuest })
			}
		}},
		{"a plan without user groups", func(c *checked) {
			byGroups(c)
			c.slack.Inject(slacksim.Fault{Method: "usergroups.list", Answer: slacksim.Refuse("paid_teams_only")})
		}},

		{"unknown user", func(c *checked) { c.people(func(p *bot.People) { p.Revokers = user("U0TYPO") }) }},
		{"guest", someone(rob, func(u *slacksim.User) { u.Guest = slacksim.SingleChannelGuest })},
		{"deactivated", someone(eva, func(u *slacksim.User) { u.Deleted = true })},
		{"an app", func(c *checked) {
			c.people(func(p *bot.People) { p.Emergency = user(grant.UserID(c.slack.BotUserID())) })
		}},
		{"a stranger", someone(rob, func(u *slacksim.User) { u.Stranger = true })},

		{"no approver is left", func(c *checked) {
			c.people(func(p *bot.People) { p.Approvers = user("U0TYPO") })
		}},
		{"too few approvers for a cell", func(c *checked) { c.o.Policy.Cells[1].Approvals = 4 }},
		{"exactly as many approvers as must", func(c *checked) { c.o.Policy.Cells[1].Approvals = 3 }},
		{"one approver", func(c *checked) { c.people(func(p *bot.People) { p.Approvers = user(ben) }) }},
		{"one person with two accounts", func(c *checked) {
			c.begin(slacksim.Options{EnterpriseID: "E0ACME"})
			c.people(func(p *bot.People) { p.Approvers = user(ben, eva) })
			for _, id := range []string{ben, eva} {
				c.slack.EditUser(id, func(u *slacksim.User) { u.EnterpriseUserID = "W0BEN" })
			}
		}},
		{"nobody may ask", func(c *checked) { c.people(func(p *bot.People) { p.Requesters = user("U0TYPO") }) }},

		{"Slack is down", func(c *checked) { c.slack.SetDown(true) }},
		{"Slack says nothing", fault(slacksim.Fault{Answer: slacksim.Hang()})},
		{"Slack is in trouble", fault(slacksim.Fault{Answer: slacksim.Status(http.StatusServiceUnavailable)})},
		{"no Slack is there", fault(slacksim.Fault{Answer: slacksim.Status(http.StatusNotFound)})},
		{"limited for long", fault(slacksim.Fault{Answer: slacksim.RateLimited(10 * time.Minute)})},
		{"limited for a moment", fault(slacksim.Fault{Times: 3, Answer: slacksim.RateLimited(5 * time.Second)})},
		{"not a word about people", fault(slacksim.Fault{Method: "users.info", Answer: slacksim.Status(http.StatusBadGateway)})},
		{"not a word about the channel", fault(slacksim.Fault{Method: "conversations.info", Answer: slacksim.Drop()})},
		{"not a word about groups", func(c *checked) {
			byGroups(c)
			c.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Answer: slacksim.Status(http.StatusBadGateway)})
		}},
	}
	var got strings.Builder
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := checked{o: bot.Options{
					Channel: channel, BotToken: "xoxb-simulated-bot", AppToken: "xapp-1-simulated-app",
					People: bot.People{Approvers: user(ben, eva, mia), Revokers: user(rob)},
					Policy: grant.Policy{Approvals: 1, Cells: []grant.Cell{{Name: prod}, {Name: test, Approvals: 2}}},
				}}
				c.begin(slacksim.Options{})
				tt.edit(&c)
				defer c.slack.Close()
				c.o.APIURL, c.o.HTTPClient = c.slack.APIURL(), c.slack.HTTPClient()
				began := time.Now()
				fmt.Fprintf(&got, "%s\n", tt.name)
				well := 0
				for _, f := range bot.CheckSlack(t.Context(), c.o) {
					if f.Level == grant.OK && !strings.HasPrefix(tt.name, "all is well") {
						well++
						continue
					}
					fmt.Fprintf(&got, "  %-8s %-12s %s\n", f.Level, f.Check, strings.TrimSuffix(f.Text+" → "+f.Remedy, " → "))
					if f.Level != grant.OK && f.Remedy == "" {
						t.Errorf("what to do about it is not said: %s", f.Text)
					}
				}
				fmt.Fprintf(&got, "  and %d ok\n", well)
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %s", took)
				}
				for _, call := range c.slack.Calls("") {
					if call.Method == "chat.postMessage" || strings.HasPrefix(call.Method, "views.") {
						t.Errorf("it called %s", call.Method)
					}
				}
				if n := len(c.slack.Connections()); n != 0 {
					t.Errorf("%d sockets were opened", n)
				}
			})
		})
	}
	for _, secret := range []string{"simulated", "of-somebody-else"} {
		if strings.Contains(got.String(), secret) {
			t.Errorf("a token is shown: %s", secret)
		}
	}
	path := filepath.Join("testdata", "check.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew)\n%s", path, diff)
	}
}
