package bot

import (
	"slices"

	"breakglass/bot/view"
)

// A ScopeUse is one scope of a Slack token, and what the bot does with it. An
// empty Scope stands for what needs none.
type ScopeUse struct {
	Scope   string
	Methods []string // of the Web API
	Gets    []string // what Slack sends for it
	Why     string
	// App says that it is the app-level token's, which the manifest does not grant.
	App bool
	// Spared says that the manifest does not ask for it: without it the methods
	// are refused, and the bot does something else.
	Spared bool
}

// scopeUses is every method of Slack's Web API that the bot calls and everything
// that Slack sends it. The manifest is made from it; a test compares it with the
// code, and every story of the tests is played with these scopes and no other.
var scopeUses = []ScopeUse{
	{
		Scope: "commands", Gets: []string{"slash_commands", "shortcut"},
		Why: "`/breakglass`, and the shortcut",
	},
	{
		Scope: "chat:write", Methods: []string{"chat.postMessage", "chat.update", "chat.postEphemeral"},
		Why: "the card, its thread, reminders by direct message, answers that one person sees",
	},
	{
		Scope: "users:read", Methods: []string{"users.info"},
		Why: "whether somebody is a guest, deactivated or of another company",
	},
	{
		Scope: "usergroups:read", Methods: []string{"usergroups.users.list", "usergroups.list"},
		Why: "who is in the user groups of `people`",
	},
	{
		Scope: "channels:read", Methods: []string{"conversations.info"},
		Why: "whether the approvals channel is shared with another company, where it is public",
	},
	{
		Scope: "groups:read", Methods: []string{"conversations.info"},
		Why: "the same, where it is private",
	},
	{
		Methods: []string{"auth.test", "views.open", "views.update", "views.publish"},
		Gets:    []string{"app_home_opened", "block_actions", "view_submission"},
		Why:     "forms, the App Home, buttons: these need no scope",
	},
	{
		Scope: "connections:write", App: true, Methods: []string{"apps.connections.open"},
		Why: "Socket Mode: the app-level token has it",
	},
	{
		Scope: "channels:history", Spared: true, Methods: []string{"conversations.history", "conversations.replies"},
		Why: "finds a message whose posting was not confirmed. Without it that message is posted a second time, which is rare; with it the app may read a public channel's messages",
	},
	{
		Scope: "groups:history", Spared: true, Methods: []string{"conversations.history", "conversations.replies"},
		Why: "the same, in a private channel",
	},
}

// ScopeTable is what the bot does with each scope.
func ScopeTable() []ScopeUse { return slices.Clone(scopeUses) }

// Manifest is a Slack app manifest, as far as the bot needs one (docs.slack.dev,
// "App manifest reference", version 1).
type Manifest struct {
	Metadata    ManifestMetadata `json:"_metadata" yaml:"_metadata"`
	Display     ManifestDisplay  `json:"display_information" yaml:"display_information"`
	Features    ManifestFeatures `json:"features" yaml:"features"`
	OAuthConfig ManifestOAuth    `json:"oauth_config" yaml:"oauth_config"`
	Settings    ManifestSettings `json:"settings" yaml:"settings"`
}

// ManifestMetadata says which version of the format it is.
type ManifestMetadata struct {
	MajorVersion int `json:"major_version" yaml:"major_version"`
}

// ManifestDisplay is how the app is shown.
type ManifestDisplay struct {
	Name            string `json:"name" yaml:"name"`
	Description     string `json:"description" yaml:"description"`
	LongDescription string `json:"long_description" yaml:"long_description"`
}

// ManifestFeatures are the ways in which people reach the app.
type ManifestFeatures struct {
	AppHome       ManifestHome       `json:"app_home" yaml:"app_home"`
	BotUser       ManifestBotUser    `json:"bot_user" yaml:"bot_user"`
	Shortcuts     []ManifestShortcut `json:"shortcuts" yaml:"shortcuts"`
	SlashCommands []ManifestCommand  `json:"slash_commands" yaml:"slash_commands"`
}

// ManifestHome are the tabs of the app's own page. The bot's direct messages need
// the tab of messages, and nobody has to write there.
type ManifestHome struct {
	HomeTab          bool `json:"home_tab_enabled" yaml:"home_tab_enabled"`
	MessagesTab      bool `json:"messages_tab_enabled" yaml:"messages_tab_enabled"`
	MessagesReadOnly bool `json:"messages_tab_read_only_enabled" yaml:"messages_tab_read_only_enabled"`
}

// ManifestBotUser is the bot's user.
type ManifestBotUser struct {
	DisplayName  string `json:"display_name" yaml:"display_name"`
	AlwaysOnline bool   `json:"always_online" yaml:"always_online"`
}

// ManifestShortcut is an entry of the shortcuts menu.
type ManifestShortcut struct {
	Name        string `json:"name" yaml:"name"`
	Type        string `json:"type" yaml:"type"`
	CallbackID  string `json:"callback_id" yaml:"callback_id"`
	Description string `json:"description" yaml:"description"`
}

// ManifestCommand is a slash command.
type ManifestCommand struct {
	Command      string `json:"command" yaml:"command"`
	Description  string `json:"description" yaml:"description"`
	UsageHint    string `json:"usage_hint" yaml:"usage_hint"`
	ShouldEscape bool   `json:"should_escape" yaml:"should_escape"`
}

// ManifestOAuth is what the bot's token may do.
type ManifestOAuth struct {
	Scopes ManifestScopes `json:"scopes" yaml:"scopes"`
}

// ManifestScopes are the scopes of the bot's token; there is no user's token.
type ManifestScopes struct {
	Bot []string `json:"bot" yaml:"bot"`
}

// ManifestSettings are the app's settings. Without Socket Mode Slack would have to
// reach the bot; interactivity has to be on besides.
type ManifestSettings struct {
	Events        ManifestEvents        `json:"event_subscriptions" yaml:"event_subscriptions"`
	Interactivity ManifestInteractivity `json:"interactivity" yaml:"interactivity"`
	OrgDeploy     bool                  `json:"org_deploy_enabled" yaml:"org_deploy_enabled"`
	SocketMode    bool                  `json:"socket_mode_enabled" yaml:"socket_mode_enabled"`
	// With rotation tokens end after twelve hours, and nothing here renews them.
	TokenRotation bool `json:"token_rotation_enabled" yaml:"token_rotation_enabled"`
}

// ManifestEvents are the events that Slack sends.
type ManifestEvents struct {
	BotEvents []string `json:"bot_events" yaml:"bot_events"`
}

// ManifestInteractivity says whether buttons and forms work.
type ManifestInteractivity struct {
	Enabled bool `json:"is_enabled" yaml:"is_enabled"`
}

// AppManifest is the manifest of the Slack app that the bot is.
func AppManifest() Manifest {
	m := Manifest{
		Metadata: ManifestMetadata{MajorVersion: 1},
		Display: ManifestDisplay{
			Name:        "breakglass",
			Description: "Lets SingleStore Support into a BYOC cell for a while, and proves that it has ended",
			LongDescription: "When SingleStore Support asks for privileged access to a BYOC cell in your AWS account, ask for it here. " +
				"Approvers decide on a card that shows exactly what will happen; sessions are logged; AWS itself ends the access at the time that was approved. " +
				"Closed is said only after the proof: no trust, no usable credentials, no live shell.",
		},
		Features: ManifestFeatures{
			AppHome: ManifestHome{HomeTab: true, MessagesTab: true, MessagesReadOnly: true},
			BotUser: ManifestBotUser{DisplayName: "breakglass", AlwaysOnline: true},
			Shortcuts: []ManifestShortcut{{
				Name: "Request Support access", Type: "global", CallbackID: view.CallbackGrant,
				Description: "Ask the approvers to let SingleStore Support in",
			}},
			SlashCommands: []ManifestCommand{{
				Command: "/breakglass", Description: "Request, approve and revoke access for SingleStore Support",
				UsageHint: "grant … | revoke BG-7 | status | show BG-7 | help",
			}},
		},
		Settings: ManifestSettings{Interactivity: ManifestInteractivity{Enabled: true}, SocketMode: true},
	}
	for _, u := range scopeUses {
		if u.Scope != "" && !u.App && !u.Spared {
			m.OAuthConfig.Scopes.Bot = append(m.OAuthConfig.Scopes.Bot, u.Scope)
		}
		if slices.Contains(u.Gets, "app_home_opened") {
			m.Settings.Events.BotEvents = append(m.Settings.Events.BotEvents, "app_home_opened")
		}
	}
	return m
}
