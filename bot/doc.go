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
//   - A post whose outcome is not known is looked for before it is tried again;
//     where the app may not read the channel's history, a card may stand twice, and
//     both work. A reminder may rather be lost: it is settled first.
//   - Forms open before anything else is asked, since their trigger lives three
//     seconds; whatever they cannot do in time can be said in words.
//   - Just before a door opens the approvers are looked up once more. Where Slack
//     does not answer, it stays shut until the opening is given up.
//   - The channel is looked at every ten minutes. Once it is shared with another
//     organisation, or archived, nothing that opens or prolongs access is taken in, and
//     nothing new is posted there; cards that stand are still edited, and whatever takes
//     access away works. Started there, the bot stays only while access is left.
//   - A message counts as ours only where our own bot user wrote it: every app in the
//     channel can copy its metadata.
//   - A deleted message about trust that no grant explains comes back with the next
//     change only: to notice that it is gone Slack would have to be asked all the time.
//     The status and the App Home list it meanwhile.
//   - Readiness goes by hello and by what was heard on the connection itself in the last
//     40 seconds, since slack-go shows nobody Slack's pings (ear.go). slack-go gives up a
//     socket that has heard none, too, but only 30 to 60 seconds after the last one.
//   - Health fails only for what a new start mends (health.go, [Bot.Working]): one that
//     fails while Slack, AWS or the disk is away would have the bot killed over and over,
//     and nothing would end access meanwhile. Those make it unready, and are counted.
//
// # The card in each phase
//
// As a reader in UTC sees it; buttons stand in brackets, with dots where they ask first.
//
//	BG-7 · Requested · helios-prod
//	==============================
//
//	@U0ANA asks to let SingleStore Support in for 4 h.
//	Approvals: 0 of 2. The requester's own does not count.
//	Without a decision it lapses at 2026-11-23 15:36 UTC.
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	Checks: 5 ok, 1 warning, at 2026-11-23 14:36 UTC
//	! Warning: The log group has no KMS key, so Session Manager cannot insist on encryption.
//	→ Give /aws/ssm/helios-prod/cluster a KMS key when there is time.
//
//	What approving does
//	1. Session logging changes for the whole region:
//	   cloudWatchLogGroupName: (none) → /aws/ssm/helios-prod/cluster
//	   cloudWatchStreamingEnabled: false → true
//	2. A hard stop in AWS: the role may do nothing after the end.
//	3. This statement joins the trust policy of `ssm-access-from-other-accounts-helios-prod`:
//	    {
//	      "Sid": "BreakglassBG7",
//	      "Effect": "Allow",
//	      "Principal": {"AWS":"arn:aws:iam::111122223333:role/support"},
//	      "Action": "sts:AssumeRole",
//	      "Condition": {"DateLessThan":{"aws:CurrentTime":"<end>"}}
//	    }
//	`<end>` is 4 h after opening. AWS itself refuses everything after it.
//	SingleStore can then open a shell on `i-0a1b2c3d4e5f60718` (Privileged access instance).
//
//	[ Approve 4 h ] [ Deny … ] [ Withdraw ] [ ⋯ Approve for less… | Deny with a reason… ]
//
//	BG-7 · Opening · helios-prod
//	============================
//
//	Opening access for @U0ANA: 4 h, counted from when it is open.
//	Approved by @U0BEN, @U0EVA.
//
//	✓ Check: done: nothing blocks
//	✓ Logging: done: on, to /aws/ssm/helios-prod/cluster
//	▸ Hard stop: running
//	○ Trust: waiting
//	If it is not open by 14:48 UTC, it is given up and undone.
//
//	[ Revoke now … ]
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	Approved by @U0BEN at 2026-11-23 14:37 UTC, @U0EVA at 2026-11-23 14:38 UTC
//
//	BG-7 · Open until 18:38 UTC · helios-prod
//	=========================================
//
//	Open until 2026-11-23 18:38 UTC for SingleStore Support.
//	After that AWS itself refuses SingleStore, even without this bot.
//	Asked for by @U0ANA, approved by @U0BEN, @U0EVA.
//
//	Next: paste this into ticket 48213, then press Mark as sent.
//	    Privileged access is granted for ticket 48213.
//
//	    BYOC cell: helios-prod
//	    AWS account: 444455556666
//	    Region: us-east-1
//	    Role to assume: arn:aws:iam::444455556666:role/ssm-access-from-other-accounts-helios-prod
//	    Role that may assume it: arn:aws:iam::111122223333:role/support
//	    Privileged access instance: i-0a1b2c3d4e5f60718
//	    Valid until: 2026-11-23 18:38:07 UTC
//	    Our reference: BG-7
//
//	    AWS may need up to a minute to accept the role.
//	    Sessions are logged. Please tell us as soon as you are done.
//
//	[ Mark as sent ] [ Revoke now … ] [ Extend… ]
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	Approved by @U0BEN at 2026-11-23 14:37 UTC, @U0EVA at 2026-11-23 14:38 UTC
//
//	In AWS: statement `BreakglassBG7` on `ssm-access-from-other-accounts-helios-prod`
//	Instance: `i-0a1b2c3d4e5f60718`
//	Session logs: `/aws/ssm/helios-prod/cluster`
//
//	BG-7 · Open until 18:38 UTC · helios-prod
//	=========================================
//
//	Open until 2026-11-23 18:38 UTC for SingleStore Support.
//	After that AWS itself refuses SingleStore, even without this bot.
//	Asked for by @U0ANA, approved by @U0BEN, @U0EVA.
//
//	More time? @U0ANA asks for 2 h more, until 2026-11-23 20:38 UTC.
//	Approvals: 0 of 2. The one of @U0ANA does not count.
//	Without a decision the end stays as it is.
//
//	[ Approve 2 h more ] [ Deny more time ]
//
//	Next: paste this into ticket 48213, then press Mark as sent.
//	    Privileged access is granted for ticket 48213.
//
//	    BYOC cell: helios-prod
//	    AWS account: 444455556666
//	    Region: us-east-1
//	    Role to assume: arn:aws:iam::444455556666:role/ssm-access-from-other-accounts-helios-prod
//	    Role that may assume it: arn:aws:iam::111122223333:role/support
//	    Privileged access instance: i-0a1b2c3d4e5f60718
//	    Valid until: 2026-11-23 18:38:07 UTC
//	    Our reference: BG-7
//
//	    AWS may need up to a minute to accept the role.
//	    Sessions are logged. Please tell us as soon as you are done.
//
//	[ Mark as sent ] [ Revoke now … ]
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	Approved by @U0BEN at 2026-11-23 14:37 UTC, @U0EVA at 2026-11-23 14:38 UTC
//
//	In AWS: statement `BreakglassBG7` on `ssm-access-from-other-accounts-helios-prod`
//	Instance: `i-0a1b2c3d4e5f60718`
//	Session logs: `/aws/ssm/helios-prod/cluster`
//
//	BG-7 · Closing · helios-prod
//	============================
//
//	Access is being taken away since 2026-11-23 15:41 UTC: revoked by @U0BEN: Support is done.
//	It goes on until AWS shows that nothing is left. There is nothing to press.
//
//	✓ Trust: done: statement BreakglassBG7 is gone
//	✓ Credentials: done: everything issued before now is refused
//	▸ Sessions: running: 2 ended, watching until 15:42:38 UTC
//	○ Proof: waiting
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	Approved by @U0BEN at 2026-11-23 14:37 UTC, @U0EVA at 2026-11-23 14:38 UTC
//
//	BG-7 · Closed · helios-prod
//	===========================
//
//	Closed 2026-11-23 15:42 UTC, and proven.
//	AWS shows no trust, no usable credentials and no live shell.
//
//	✓ Trust: statement `BreakglassBG7` is gone since 2026-11-23 15:41:13 UTC
//	✓ Credentials: all issued before 2026-11-23 15:42:13 UTC are refused
//	✓ Sessions: 2 ended, none left
//	Taken away in 1 min 35 s; it had been open for 1 h 3 min 5 s
//
//	Asked for by @U0ANA for 4 h
//	Approved by @U0BEN at 2026-11-23 14:37 UTC, @U0EVA at 2026-11-23 14:38 UTC
//	Ended: revoked by @U0BEN: Support is done
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	BG-7 · Closed · helios-prod · emergency
//	=======================================
//
//	Closed 2026-11-23 15:37 UTC, and proven.
//	AWS shows no trust, no usable credentials and no live shell.
//	Emergency: opened without approval by @U0ANA.
//
//	Review owed: an approver other than @U0ANA looks at what was done and why, then presses Sign review.
//
//	[ Sign review … ]
//
//	✓ Trust: statement `BreakglassBG7` is gone since 2026-11-23 15:36:11 UTC
//	✓ Credentials: all issued before 2026-11-23 15:37:11 UTC are refused
//	✓ Sessions: 2 ended, none left
//	Taken away in 1 min 35 s; it had been open for 1 h 5 s
//
//	Asked for by @U0ANA for 4 h
//	Ended: revoked by @U0BEN: Support is done
//
//	Reason: database down, no approver awake
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	BG-7 · Denied · helios-prod
//	===========================
//
//	Denied by @U0EVA at 2026-11-23 14:37 UTC.
//	@U0ANA had asked for 4 h. Nothing was changed in AWS.
//
//	Why: wrong cell, see the ticket
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	BG-7 · Withdrawn · helios-prod
//	==============================
//
//	Withdrawn by @U0ANA at 2026-11-23 14:37 UTC.
//	@U0ANA had asked for 4 h. Nothing was changed in AWS.
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
//
//	BG-7 · Lapsed · helios-prod
//	===========================
//
//	Lapsed at 2026-11-23 15:36 UTC: nobody had decided in 1 h.
//	@U0ANA had asked for 4 h. Nothing was changed in AWS.
//
//	Reason: stuck node pool
//	Ticket: 48213
//	Cell: helios-prod · account 444455556666 · us-east-1
//	SingleStore role: `arn:aws:iam::111122223333:role/support`
package bot
