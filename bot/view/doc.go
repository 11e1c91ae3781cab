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
package view
