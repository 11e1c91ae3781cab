package bot_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"breakglass/bot"
	"breakglass/bot/slacksim"
)

// scopes are those that the manifest asks for; every story is played with them.
func scopes() []string { return bot.AppManifest().OAuthConfig.Scopes.Bot }

// The local Slack grants what the manifest asks for, also where nobody says which
// scopes: in the tests of the program, and in the demo.
func TestManifest_isTheLocalSlacks(t *testing.T) {
	if got, want := slices.Sorted(slices.Values(slacksim.DefaultBotScopes)), slices.Sorted(slices.Values(scopes())); !slices.Equal(got, want) {
		t.Errorf("the local Slack grants %v, the manifest asks for %v", got, want)
	}
}

// withinManifest holds that a story called nothing that the table of scopes does not
// list, and that Slack refused nothing for want of a scope but what is spared.
func (s *stage) withinManifest() {
	s.t.Helper()
	listed, spared := map[string]bool{}, map[string]bool{}
	for _, u := range bot.ScopeTable() {
		for _, m := range u.Methods {
			listed[m] = true
			// What needs no scope of the manifest's is refused so only where a test has
			// spoilt the token.
			spared[m] = u.Spared || u.App || u.Scope == ""
		}
	}
	asked := slices.Equal(s.conf.slack.BotScopes, scopes())
	for _, c := range s.slack.Calls("") {
		if c.Method == "response_url" { // an address that Slack gave us; no token, no scope
			continue
		}
		if !listed[c.Method] {
			s.t.Errorf("the bot called %s, which the table in manifest.go does not list", c.Method)
		}
		if asked && c.Error == "missing_scope" && !c.Faulty && !spared[c.Method] {
			s.t.Errorf("the manifest asks for no scope for %s", c.Method)
		}
	}
}

// methodOf is the Web API's method behind each of slack-go's that is used here.
var methodOf = map[string]string{
	"AuthTestContext":               "auth.test",
	"GetConversationHistoryContext": "conversations.history",
	"GetConversationInfoContext":    "conversations.info",
	"GetConversationRepliesContext": "conversations.replies",
	"GetUserGroupMembersContext":    "usergroups.users.list",
	"GetUserGroupsContext":          "usergroups.list",
	"GetUserInfoContext":            "users.info",
	"OpenViewContext":               "views.open",
	"PostEphemeralContext":          "chat.postEphemeral",
	"PostMessageContext":            "chat.postMessage",
	"PublishViewContext":            "views.publish",
	"StartSocketModeContext":        "apps.connections.open",
	"UpdateMessageContext":          "chat.update",
	"UpdateViewContext":             "views.update",
}

// What the code calls through its client is what the table lists: whoever adds a
// method adds a row, and sees which scope that costs.
func TestManifest_tableIsTheCode(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for n := range ast.Preorder(file) {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "socketmode" && sel.Sel.Name == "New" {
				called["apps.connections.open"] = true
			}
			if x, ok := sel.X.(*ast.SelectorExpr); !ok || x.Sel.Name != "api" {
				continue
			}
			method, ok := methodOf[sel.Sel.Name]
			if !ok {
				t.Errorf("%s calls slack-go's %s; say in methodOf which method of the Web API that is, and list it in manifest.go", name, sel.Sel.Name)
			}
			called[method] = true
		}
	}
	listed := map[string]bool{}
	for _, u := range bot.ScopeTable() {
		for _, m := range u.Methods {
			listed[m] = true
			if !called[m] {
				t.Errorf("the table lists %s, which nothing calls", m)
			}
		}
	}
	for m := range called {
		if !listed[m] {
			t.Errorf("the code calls %s, which the table does not list", m)
		}
	}
}

// Each scope is needed: without it the local Slack refuses what it is for. And a
// method that needs a scope nobody has asked for would be refused with all of them.
func TestManifest_leastScopes(t *testing.T) {
	call := func(s *slacksim.Slack, method string, args url.Values) string {
		t.Helper()
		tok := s.BotToken()
		if strings.HasPrefix(method, "apps.") {
			tok = s.AppToken()
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL()+method, strings.NewReader(args.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "Bearer "+tok)
		resp, err := s.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return body.Error
	}
	with := func(t *testing.T, list []string) *slacksim.Slack {
		t.Helper()
		s := slacksim.New(slacksim.Options{BotScopes: list})
		t.Cleanup(s.Close)
		s.AddChannel(slacksim.Channel{ID: "C0PUBLIC"})
		s.AddChannel(slacksim.Channel{ID: "C0PRIVATE", Private: true})
		return s
	}
	for _, u := range bot.ScopeTable() {
		in := "C0PUBLIC"
		if strings.HasPrefix(u.Scope, "groups:") {
			in = "C0PRIVATE"
		}
		args := url.Values{"channel": {in}, "text": {"x"}, "ts": {"1.0"}}
		for _, m := range u.Methods {
			if got := call(with(t, scopes()), m, args); (got == "missing_scope") != u.Spared {
				t.Errorf("%s, with what the manifest asks for: %q", m, got)
			}
			if u.Scope == "" || u.App || u.Spared {
				continue
			}
			less := slices.DeleteFunc(slices.Clone(scopes()), func(sc string) bool { return sc == u.Scope })
			if got := call(with(t, less), m, args); got != "missing_scope" {
				t.Errorf("%s works without %s: %q", m, u.Scope, got)
			}
		}
	}
}

// The rules are Slack's own: the schema that it publishes for version 1 of the
// manifest (github.com/slackapi/manifest-schema, schemas/manifest.schema.1.0.0.json)
// and docs.slack.dev, "App manifest reference". Lengths are in characters.
func TestManifest_obeysSlacksRules(t *testing.T) {
	m := bot.AppManifest()
	length := func(what, value string, least, most int) {
		t.Helper()
		if n := utf8.RuneCountInString(value); n < least || n > most {
			t.Errorf("%s has %d characters, Slack wants %d to %d: %q", what, n, least, most, value)
		}
	}
	length("display_information.name", m.Display.Name, 1, 35)
	length("display_information.description", m.Display.Description, 1, 140)
	length("display_information.long_description", m.Display.LongDescription, 175, 4000)
	length("features.bot_user.display_name", m.Features.BotUser.DisplayName, 1, 80)
	count := func(what string, n, least, most int) {
		t.Helper()
		if n < least || n > most {
			t.Errorf("%s has %d entries, Slack wants %d to %d", what, n, least, most)
		}
	}
	count("features.shortcuts", len(m.Features.Shortcuts), 1, 10)
	for _, s := range m.Features.Shortcuts {
		length("shortcut.name", s.Name, 1, 24)
		length("shortcut.callback_id", s.CallbackID, 1, 255)
		length("shortcut.description", s.Description, 1, 150)
		if s.Type != "global" && s.Type != "message" {
			t.Errorf("a shortcut of type %q", s.Type)
		}
	}
	count("features.slash_commands", len(m.Features.SlashCommands), 1, 50)
	for _, c := range m.Features.SlashCommands {
		length("slash_command.command", c.Command, 2, 32)
		length("slash_command.description", c.Description, 1, 2000)
		length("slash_command.usage_hint", c.UsageHint, 1, 1000)
		if !strings.HasPrefix(c.Command, "/") {
			t.Errorf("the command %q does not begin with a slash", c.Command)
		}
	}
	count("oauth_config.scopes.bot", len(m.OAuthConfig.Scopes.Bot), 1, 255)
	count("settings.event_subscriptions.bot_events", len(m.Settings.Events.BotEvents), 1, 100)
	seen := map[string]bool{}
	for _, s := range slices.Concat(m.OAuthConfig.Scopes.Bot, m.Settings.Events.BotEvents) {
		length("scope or event", s, 1, 50)
		if seen[s] {
			t.Errorf("%s is there twice", s)
		}
		seen[s] = true
	}
	if m.Metadata.MajorVersion != 1 {
		t.Errorf("version %d of the manifest", m.Metadata.MajorVersion)
	}
	// No more than this is on, and what the bot lives on is.
	s, h := m.Settings, m.Features.AppHome
	if !s.SocketMode || !s.Interactivity.Enabled || s.OrgDeploy || s.TokenRotation || !h.HomeTab || !h.MessagesTab || !h.MessagesReadOnly {
		t.Errorf("settings: %+v %+v", s, h)
	}

	// The schema allows no key but these, level by level.
	js, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{
		"":                             "_metadata display_information features oauth_config settings",
		"_metadata":                    "major_version",
		"display_information":          "name description long_description background_color",
		"features":                     "app_home bot_user shortcuts slash_commands",
		"features.app_home":            "home_tab_enabled messages_tab_enabled messages_tab_read_only_enabled",
		"features.bot_user":            "display_name always_online",
		"features.shortcuts":           "name type callback_id description",
		"features.slash_commands":      "command description usage_hint should_escape",
		"oauth_config":                 "scopes",
		"oauth_config.scopes":          "bot",
		"settings":                     "event_subscriptions interactivity org_deploy_enabled socket_mode_enabled token_rotation_enabled",
		"settings.event_subscriptions": "bot_events",
		"settings.interactivity":       "is_enabled",
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if !slices.Contains(strings.Fields(known[at]), key) {
					t.Errorf("Slack knows no %q in %q", key, at)
				}
				walk(strings.TrimPrefix(at+"."+key, "."), value)
			}
		case []any:
			for _, item := range v {
				walk(at, item)
			}
		}
	}
	var all any
	if err := json.Unmarshal(js, &all); err != nil {
		t.Fatal(err)
	}
	walk("", all)
}

// docs/install.md shows the table as it is.
func TestManifest_document(t *testing.T) {
	doc, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, u := range bot.ScopeTable() {
		if u.Scope == "" {
			continue
		}
		rows++
		if row := "| `" + u.Scope + "` | " + u.Why + " |\n"; !strings.Contains(string(doc), row) {
			t.Errorf("docs/install.md lacks this row:\n%s", row)
		}
	}
	if n := len(regexp.MustCompile("(?m)^[|] `[a-z.]+:?[a-z]*` ").FindAll(doc, -1)); n != rows {
		t.Errorf("docs/install.md has %d scopes, the table %d", n, rows)
	}
}
