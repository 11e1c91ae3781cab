// Package view turns grants into what Slack shows: the card, the messages in its
// thread, the answers to commands, the forms and the home tab. It is pure.
//
// It never does I/O, reads no clock (now is an argument), decides nothing, and
// keeps nothing. Buttons and forms carry the grant's opaque token and no other
// state, but for the name of the question that they answer: the number of an
// extension, the redirection of the logs.
//
// Invariants, each held by a test:
//
//   - What people typed and what AWS said is never markup. It stands in rich
//     text and plain text, which Slack does not parse, and is escaped in the
//     top-level text; only lines that hold nothing Slack could take for
//     formatting are said in mrkdwn, and those are verbatim.
//   - Whatever the grant, Slack's limits are kept. What does not fit is left out
//     from the end, and the reader is told so.
//   - The top-level text says what the blocks say: it is all that a screen
//     reader and a notification get.
//   - The word closed is said of no grant that is not proven closed.
//   - A card shows the buttons that work in its phase, and no others. It changes
//     only with its grant.
//   - Answers to a request that open a form stand in a menu, so that no two
//     buttons of a card begin alike.
//   - No button stands without the words that it is about, however little room is
//     left.
//   - A step, a check or a phase is always told in words too, never by a mark or
//     a colour alone.
//
// Decisions, 2026-11-23:
//
//   - Block types of our own instead of slack-go's: the golden files show what
//     Slack gets, and a new version of the library cannot change a card.
//   - All blocks of a message stay under 8,000 characters together: Slack's own
//     limit on the sum is not documented, and 11,000 have been refused
//     (slackapi/bolt-js#2867).
//   - Times are shown in the reader's zone, except in headings, which know no
//     dates, and in the story of Show, which auditors compare with other logs.
//   - The only links lead to a session's log in the AWS console. They are elements
//     of rich text, and every byte of a foreign name in them is encoded.
//   - What CloudTrail shows is always said with what it cannot show.
//   - Reminders carry the button that they speak of; pressed too late it answers
//     who ended the grant and when. Those that decide are only on the card, beside
//     the checks and the plan, and in the home tab, with both in short.
//   - An emergency names every approver, people as well as groups; anything else
//     names the groups, where there are any.
//   - Reminders that come late together are one message: the newest state of each,
//     in a line.
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
//	▸ Sessions: running: 2 ended, watching until 15:42:13 UTC
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
//	✓ Credentials: all issued before 2026-11-23 15:42:43 UTC are refused
//	✓ Sessions: 2 ended, none left
//	Taken away in 1 min 5 s; it had been open for 1 h 3 min 5 s
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
//	✓ Credentials: all issued before 2026-11-23 15:37:41 UTC are refused
//	✓ Sessions: 2 ended, none left
//	Taken away in 1 min 5 s; it had been open for 1 h 5 s
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
package view
