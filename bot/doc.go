// Package bot is the conversation: it hears people in Slack, asks the store to
// decide, answers, and pays what is owed.
//
// One click goes all the way like this. An envelope arrives on one of two
// sockets ([Bot.Run], socket.go, gate.go). It is parsed into an intent and the person is
// looked up (intake.go, command.go, people.go). [store.Store.Commit] applies it
// in one transaction. Only then is the envelope acknowledged, inside Slack's
// three seconds; if the commit fails there is no acknowledgement and Slack tells
// the person. What the transaction owes is paid by one worker (worker.go): AWS
// work through the [AWS] interface, messages through post.go, timers. Each result
// is committed as the next event.
//
// It never decides anything itself: who may do what and what follows is
// store/grant's. It never calls AWS or posts a message that is not owed in the
// store first, answers to the person who just spoke excepted. It trusts nothing
// in a button, a message or a modal but the opaque token of the grant. Tokens,
// ticket URLs, response URLs and trigger ids never reach a log.
//
// Decisions, 2026-11-23:
//
//   - slack-go's socketmode client, twice side by side: it drops its socket at
//     every disconnect frame before it opens the next, so one alone has a gap in
//     which Slack tells people that the command failed (socket_mode_managed_conn.go
//     of slack-go v0.35.0). Slack allows ten connections and sends each envelope
//     to one of them (docs.slack.dev, "Using Socket Mode").
//   - The command's answer travels in the acknowledgement, which needs no second
//     call; a button's answer goes to its response_url, and to
//     chat.postEphemeral where there is none.
//   - The envelope id and the click itself (trigger, person, action) are both
//     remembered: Slack has been seen to deliver one click under two envelope ids
//     (slackapi/bolt-js#2188).
//   - Revoking needs no users.info: taking access away must work while Slack
//     answers half of its calls. Ids that are configured, and the requester's, are
//     enough for it.
//   - A post whose outcome is not known is tried again: a card may stand twice,
//     and both work. A reminder may rather be lost: it is settled first.
package bot
