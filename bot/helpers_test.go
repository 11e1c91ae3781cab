package bot_test

import (
	"context"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
)

// as forges the action of a click: a button that was on an older state of the
// card, or one that nobody made.
func as(action string) slacksim.Edit { return with("action_id", action) }

// with forges a field of the action of a click.
func with(field string, value any) slacksim.Edit {
	return func(payload map[string]any) {
		for _, a := range payload["actions"].([]any) {
			a.(map[string]any)[field] = value
		}
	}
}

// from forges whose click or command it is.
func from(field, value string) slacksim.Edit {
	return func(payload map[string]any) {
		if u, ok := payload["user"].(map[string]any); ok {
			u[field] = value
			return
		}
		payload["user_"+field] = value
	}
}

// set forges a field of the payload.
func set(field string, value any) slacksim.Edit {
	return func(payload map[string]any) { payload[field] = value }
}

func slackChannel(name string, without bool, members ...string) slacksim.Channel {
	return slacksim.Channel{Name: name, Without: without, Members: members}
}

// hookOn is an after-hook of the local AWS for one call.
func hookOn(name string, f func()) func(context.Context, awssim.Call) {
	return func(_ context.Context, c awssim.Call) {
		if c.Name() == name {
			f()
		}
	}
}

var (
	slowAWS    = awssim.Fault{Latency: time.Second}
	hangingAWS = awssim.Fault{Latency: 24 * time.Hour}
)
