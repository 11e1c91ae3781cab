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

// maxSecret bounds a token's file; a token has about a hundred characters.
const maxSecret = 4 << 10

// loadSecrets reads the tokens from the environment, or from the files that it
// names. Everything that is wrong is said at once, and never shows a token.
func loadSecrets(env func(string) string) (Secrets, error) {
	bot, botErr := loadToken(env, "SLACK_BOT_TOKEN", "xoxb-", "the bot token, on the app's page OAuth & Permissions")
	app, appErr := loadToken(env, "SLACK_APP_TOKEN", "xapp-", "the app-level token with connections:write, on the app's page Basic Information")
	if err := errors.Join(botErr, appErr); err != nil {
		return Secrets{}, err
	}
	return Secrets{BotToken: bot, AppToken: app}, nil
}

func loadToken(env func(string) string, name, prefix, what string) (Secret, error) {
	value, file := env(name), env(name+"_FILE")
	source := name
	switch {
	case value != "" && file != "":
		return "", fmt.Errorf("%s and %s_FILE are both set; unset one of them", name, name)
	case value == "" && file == "":
		return "", fmt.Errorf("%s is not set; set it to %s (%s…), or %s_FILE to a file that holds it", name, what, prefix, name)
	case file != "":
		var err error
		if value, err = secretFile(file); err != nil {
			return "", fmt.Errorf("%s_FILE: %w", name, err)
		}
		source = file
	}
	value = strings.TrimRight(value, "\r\n")

	switch {
	case strings.HasPrefix(value, prefix) && len(value) > len(prefix):
	case value == "":
		return "", fmt.Errorf("%s is empty; it must hold %s (%s…)", source, what, prefix)
	case strings.HasPrefix(value, "xapp-"):
		return "", fmt.Errorf("%s holds an app-level token (xapp-…), which belongs in SLACK_APP_TOKEN; here goes %s (xoxb-…)", source, what)
	case strings.HasPrefix(value, "xoxb-"):
		return "", fmt.Errorf("%s holds a bot token (xoxb-…), which belongs in SLACK_BOT_TOKEN; here goes %s (xapp-…)", source, what)
	case strings.HasPrefix(value, "xoxp-"):
		return "", fmt.Errorf("%s holds a user token (xoxp-…); it must hold %s (%s…)", source, what, prefix)
	case strings.HasPrefix(value, "xoxe"):
		return "", fmt.Errorf("%s holds a token that expires (xoxe…); turn token rotation off for the app, then it must hold %s (%s…)", source, what, prefix)
	default:
		return "", fmt.Errorf("%s does not begin with %s; it must hold %s", source, prefix, what)
	}
	for _, r := range value {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("%s has a space, a line break or a strange character in it; copy the token again", source)
		}
	}
	return Secret(value), nil
}

// secretFile reads a small file that nobody but its owner, and perhaps its group,
// may read.
func secretFile(path string) (string, error) {
	// What is not a regular file is refused before it is opened: opening a
	// named pipe would wait for a writer for ever.
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: there is no such file; put the token there, readable by its owner only", path)
	case err != nil:
		return "", fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: is not a file; name the file that holds the token", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w; give it to the user that runs breakglass", path, cause(err))
	}
	defer f.Close()

	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	}
	// A group may read: Kubernetes mounts secrets so, for a pod with an fsGroup
	// (kubernetes.io, "Configure a Security Context for a Pod or Container").
	if perm := info.Mode().Perm(); perm&0o037 != 0 {
		return "", fmt.Errorf("%s: others may read it (its mode is %04o); run: chmod 600 %s", path, perm, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	case len(data) > maxSecret:
		return "", fmt.Errorf("%s: is larger than 4 KiB, which no token is; is it the right file?", path)
	}
	return string(data), nil
}
