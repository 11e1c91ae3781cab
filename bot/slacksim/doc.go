// Package slacksim is a local Slack: one team, its people and channels, and one app, reached through the
// Web API and Socket Mode by the same client library that reaches the real one.
//
// It is for tests and for the demonstration. A bot that was written for Slack runs against it unchanged:
// give its client APIURL, HTTPClient and Dialer (in memory, which works in a testing/synctest bubble), or
// Start it on a loopback port. People act through Person: Slash, Shortcut and MessageShortcut begin
// something; Click, Choose and Suggest work on messages; Fill, EnterIn, ChooseIn, SuggestIn, ClickIn, Submit,
// CloseModal and DismissModal on a modal; OpenHome and the same words on the App Home; Reload forgets what only
// the client knew. What they see is read with Messages, Thread, Ephemerals, DMs, Modal, Home and View.Filled,
// waited for with WaitMessage and its sisters, and drawn with Render and RenderView. Calls fail with Inject,
// envelopes and acks with InjectDelivery, DuplicateNext and Redeliver, connections by the methods of Connection.
//
// What it never does: talk to the network beyond its own loopback port, import anything of the program
// that it tests, keep state outside its Slack values, or be part of a production binary. It has no opinion
// about the bot; it only refuses what Slack refuses.
//
// # Invariants
//
//   - Every write is validated: blocks that Slack would refuse never become visible.
//   - Every envelope goes to exactly one connection, unless DuplicateNext or Redeliver say otherwise.
//   - What a person did is answered before their eyes: by the app's ack, or after three seconds by Slack's
//     own complaint. Interaction tells which.
//   - The mutex is never held while anything waits. Waiting is done on channels and timers of package time
//     alone, so a bubble's clock moves when everybody is idle; Close leaves no goroutine behind.
//   - Ids that an app may store (envelopes, triggers, events, tickets) are random: two runs never look like
//     a duplicate delivery. Everything else is counted, so runs can be compared.
//
// # Where each behaviour comes from
//
// Pages without a host are pages of docs.slack.dev. "unverified" marks what no public source states; there
// the choice made here is the one that is harder on the app, or else the one that is simplest.
//
//	behaviour                                          source
//	apps.connections.open: app-level token with        Methods: apps.connections.open
//	  connections:write in the header, URL with a
//	  single-use ticket
//	a ticket that is spent or late is refused (401)    that it is: Using Socket Mode; the status: unverified
//	hello, disconnect and its four reasons             Using Socket Mode; github.com/slackapi/node-slack-sdk
//	warning 10 s before the end, 18060 s of life,      Using Socket Mode; the exact lead: unverified
//	  360 s with debug_reconnects=true
//	at most 10 connections, each envelope to one       Using Socket Mode
//	the 11th gets hello, then too_many_websockets      that it gets the reason: Using Socket Mode; the hello: unverified
//	turns between connections, and whether one that    unverified; see SetChooser
//	  was warned still gets envelopes
//	link_disabled after hello while Socket Mode is off unverified
//	PING every few seconds                             slack-go socketmode/socket_mode_managed_conn.go; the period: unverified
//	a minute without PONG closes the connection        unverified; see SocketSettings.PongWithin
//	any Origin is accepted                             slack-go socketmode/socket_mode_managed_conn.go sends one
//	ack within 3 s; what the person sees otherwise     Using Socket Mode; Implementing slash commands; Modals
//	dispatch_failed without a connection and           that both exist: Implementing slash commands; which is
//	  operation_timeout after 3 s                      which: unverified
//	acks of 20 KB are dropped                          github.com/slack-go/slack/issues/1196
//	acks over another connection count                 unverified; see SocketSettings.OwnAcksOnly
//	events come again at once, after 1 and 5 minutes   Events API, "Retries"
//	  … in the same envelope                           github.com/slackapi/bolt-js/issues/2487
//	slash commands and clicks seen twice               github.com/slackapi/bolt-js/issues/2188
//	envelopes that overtake others, arrive late or     that it happens: Events API; github.com/slackapi/python-slack-sdk/issues/1701;
//	  not at all, and so do acks                       when: only as InjectDelivery says
//	retry_reason is "timeout", even while there was    that there is a reason: Events API; which: unverified
//	  no connection
//	payloads of slash commands, events, clicks, modals Implementing slash commands; Reference: app_home_opened,
//	                                                   block_actions, view_submission; fixtures of
//	                                                   github.com/slackapi/python-slack-sdk
//	no message in the payload of an ephemeral's button recorded payloads; the page is silent
//	no api_app_id in the payloads of shortcuts, no     Shortcuts interaction payloads; fixtures of
//	  channel in those of global ones                  github.com/slackapi/bolt-python; recorded payloads
//	strangers may use shortcuts and the App Home       allowed here, so that the app has to refuse; unverified
//	what people choose in a message is in the state    Reference: block_actions
//	  of their later clicks there
//	  … and stays as in views when it is edited        unverified
//	accepts_response_payload is false for clicks       recorded payloads; the page's example says true
//	token in header, form or JSON                      Web API; slack-go chat.go, users.go, views.go
//	X-OAuth-Scopes, X-Accepted-OAuth-Scopes            slack-go slack.go, OptionOnResponseHeaders
//	cursors                                            Pagination; what is in them: Slack's own affair
//	errors of the methods                              Methods: the page of each
//	usergroups.users.list of a disabled group          that it needs include_disabled: its page; the error: unverified
//	posting to U… opens the DM and returns D…          Methods: chat.postMessage
//	a reply whose parent is gone is un-threaded        slack-go chat.go, PostMessageWithResponseContext
//	chat.update: own messages only, text alone removes Methods: chat.update
//	  the blocks, metadata stays, 4,000 characters
//	chat.update: blocks alone empty the text           unverified
//	chat.update in a public channel the bot has left   allowed here; unverified
//	edit_window_closed after the team's edit window    Methods: chat.update; that it binds apps: unverified
//	conversations.history, conversations.replies       Methods: the page of each
//	  … event_payload with include_all_metadata only   github.com/Automattic/matrix-appservice-slack/pull/8
//	  … replies to replies and broadcasts              not modelled
//	USLACK, a system user that is no bot               third parties
//	chat.postEphemeral only to members, gone after a   Methods: chat.postEphemeral
//	  reload
//	open modals are gone after a reload, unheard       unverified
//	chat.scheduleMessage: 120 days, 30 in 5 minutes,   Methods: chat.scheduleMessage
//	  never posts what has metadata
//	trigger_id: 3 s, once                              Handling user interaction; Methods: views.open
//	views: stack of 3, hash, external_id, 250 KB       Methods: views.open, views.push, views.update
//	views.open while a modal is open replaces it       unverified
//	a refused views.open leaves the trigger_id usable  unverified
//	typed values stay where block_id and action_id do  Modal views, "Preserving input entry"
//	  … but views.publish forgets them                 unverified
//	views.publish refuses strangers and deactivated    that unknown users are refused: Methods: views.publish;
//	  people with invalid_arguments                    these: unverified
//	response_action errors, update, push, clear        Modals; errors only under input blocks
//	no ack, or one that cannot be followed: the modal  Modals; that what was typed stays: unverified
//	  stays, with "We had some trouble connecting"
//	what the form refuses before anything is sent:     the page of each element; the very rules for e-mail
//	  required, length, number, address, date          addresses and URLs: unverified
//	dispatch_action, dispatch_action_config            Input block; Dispatch action configuration object
//	  … one block_actions for a text, not for each     simplest; with on_character_entered there are more
//	  character
//	view_closed from Cancel and x with notify_on_close Modals; View interaction payloads: no input blocks in
//	                                                   its state
//	  … is_cleared after the x, one view_closed for    what is_cleared means: View interaction payloads; the
//	  the whole stack                                  rest: unverified
//	block_suggestion: min_query_length, 100 options    block_suggestion payloads; Select menu element
//	  … what people see when there is no good answer   unverified
//	response_urls, default_to_current_conversation     View interaction payloads; Select menu element; at the top
//	                                                   level, as recorded, not inside the view as in the example
//	  … they post for everyone by default              unverified
//	response_url: 5 posts in 30 minutes                Handling user interaction
//	  … 404 expired_url, 404 no_service                emulators only; unverified
//	  … replace_original of a slash command posts anew unverified
//	tiers, one message per second and channel, 429     Rate limits; bursts are RateLimits' choice
//	Block Kit's limits                                 Block Kit reference: the page of each block, element, object
//	  … the wording of the complaints                  field reports; do not match on it
//	  … fields that are not documented are refused     field reports ("invalid additional property")
//	characters are counted as Unicode code points      slack-go block_object.go; Slack's own unit: unverified
//
// # Not modelled
//
// The blocks video, file, call and those of 2026 (alert, card, carousel, data_table, …) are refused as
// unsupported types. Attachments are accepted and not shown. Files, reactions, search, OAuth and token rotation
// are missing: such methods answer unknown_method. Payloads are delivered in order unless InjectDelivery says
// otherwise, though Slack does not promise it. Events are not disabled after too many failures, and not delayed
// for hours. Retention policies are played by DeleteMessage. A control's visible_to_user_ids hides nothing: that
// is how a client that ignores it looks. How text arrives that people type with <, > and & is not modelled for
// want of a source: slash commands get it as it was typed, unless an Edit says otherwise.
package slacksim
