package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// redacted stands wherever a secret would.
const redacted = "[redacted]"

// Secret is a text that does not show itself: not printed with any verb, not
// logged, not marshalled. Converting it to string gives it away, and is done
// once, where the token is handed to Slack's client.
type Secret string

// String is always [redacted].
func (Secret) String() string { return redacted }

// GoString is always [redacted].
func (Secret) GoString() string { return redacted }

// Format writes [redacted] for every verb, also for those that do not suit a
// text, for which fmt would print the value itself.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is always [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is always [redacted].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil } //nolint:unparam // the signature is encoding.TextMarshaler's

// Secrets are Slack's two tokens.
type Secrets struct {
	BotToken Secret // xoxb-…, for everything the bot does
	AppToken Secret // xapp-…, for opening Socket Mode's connections
}

// tokenError is what is wrong with where a token should be, and what to do.
type tokenError struct{ text, remedy string }

func (e *tokenError) Error() string { return e.text + semicolon + e.remedy }

func badToken(remedy, format string, args ...any) error {
	return &tokenError{text: fmt.Sprintf(format, args...), remedy: remedy}
}

// maxSecret bounds a token's file; a token has about a hundred characters.
const maxSecret = 4 << 10

// loadSecrets reads the tokens from the environment, or from the files that it
// names. Everything that is wrong is said at once, and never shows a token.
func loadSecrets(env func(string) string) (Secrets, error) {
	bot, botErr := loadToken(env, botTokenPlace)
	app, appErr := loadToken(env, appTokenPlace)
	if err := errors.Join(botErr, appErr); err != nil {
		return Secrets{}, err
	}
	return Secrets{BotToken: bot, AppToken: app}, nil
}

// tokenPlace is where one of the tokens belongs.
type tokenPlace struct{ name, prefix, what string }

var (
	botTokenPlace = tokenPlace{"SLACK_BOT_TOKEN", "xoxb-", "the bot token, on the app's page OAuth & Permissions"}
	appTokenPlace = tokenPlace{"SLACK_APP_TOKEN", "xapp-", "the app-level token with connections:write, on the app's page Basic Information"}
)

// loadToken reads one of them. Its error is a *[tokenError].
func loadToken(env func(string) string, p tokenPlace) (Secret, error) {
	name := p.name
	value, file := env(name), env(name+"_FILE")
	source := name
	here := fmt.Sprintf("%s (%s…)", p.what, p.prefix)
	switch {
	case value != "" && file != "":
		return "", badToken("unset one of them", "%s and %s_FILE are both set", name, name)
	case value == "" && file == "":
		return "", badToken(fmt.Sprintf("set it to %s, or %s_FILE to a file that holds it", here, name), "%s is not set", name)
	case file != "":
		var err error
		if value, err = secretFile(name+"_FILE", file); err != nil {
			return "", err
		}
		source = file
	}
	value = strings.TrimRight(value, "\r\n")

	switch {
	case strings.HasPrefix(value, p.prefix) && len(value) > len(p.prefix):
	case value == "":
		return "", badToken("it must hold "+here, "%s is empty", source)
	case strings.HasPrefix(value, "xapp-"):
		return "", badToken("here goes "+here, "%s holds an app-level token (xapp-…), which belongs in SLACK_APP_TOKEN", source)
	case strings.HasPrefix(value, "xoxb-"):
		return "", badToken("here goes "+here, "%s holds a bot token (xoxb-…), which belongs in SLACK_BOT_TOKEN", source)
	case strings.HasPrefix(value, "xoxp-"):
		return "", badToken("it must hold "+here, "%s holds a user token (xoxp-…)", source)
	case strings.HasPrefix(value, "xoxe"):
		return "", badToken("turn token rotation off for the app, then it must hold "+here, "%s holds a token that expires (xoxe…)", source)
	default:
		return "", badToken("it must hold "+p.what, "%s does not begin with %s", source, p.prefix)
	}
	for _, r := range value {
		if r <= ' ' || r > '~' {
			return "", badToken("copy the token again", "%s has a space, a line break or a strange character in it", source)
		}
	}
	return Secret(value), nil
}

// secretFile reads a small file that nobody but its owner, and perhaps its group,
// may read. Its error begins with the name of the variable that names the file.
func secretFile(variable, path string) (string, error) {
	bad := func(remedy, format string, args ...any) error {
		return badToken(remedy, "%s: %s: "+format, append([]any{variable, path}, args...)...)
	}
	const unread = "give it to the user that runs breakglass"
	// What is not a regular file is refused before it is opened: opening a
	// named pipe would wait for a writer for ever.
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", bad("put the token there, readable by its owner only", "there is no such file")
	case err != nil:
		return "", bad(unread, "cannot be read: %v", cause(err))
	case !info.Mode().IsRegular():
		return "", bad("name the file that holds the token", "is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", bad(unread, "cannot be read: %v", cause(err))
	}
	defer f.Close()

	info, err := f.Stat()
	if err != nil {
		return "", bad(unread, "cannot be read: %v", cause(err))
	}
	// A group may read: Kubernetes mounts secrets so, for a pod with an fsGroup
	// (kubernetes.io, "Configure a Security Context for a Pod or Container").
	if perm := info.Mode().Perm(); perm&0o037 != 0 {
		return "", bad("run: chmod 600 "+path, "others may read it (its mode is %04o)", perm)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", bad(unread, "cannot be read: %v", cause(err))
	case len(data) > maxSecret:
		return "", bad("name the right file", "is larger than 4 KiB, which no token is")
	}
	return string(data), nil
}
