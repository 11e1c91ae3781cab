// Package grant is the pure core of breakglass: what a grant is, which phase
// follows which, who may do what, and what is owed next.
//
// A [Grant] is a value. Everything that happens to it is an [Event], and
// [Grant.Apply] answers with the grant as it is afterwards and the [Effect]s
// that are owed because of it: AWS calls, messages, reminders, the end. The
// caller stores all three in one transaction and only then acts.
//
// It never does I/O, never reads a clock (now is an argument, in UTC), never
// logs, and never changes its receiver: on error the grant is returned as it
// was and nothing is owed.
//
// Invariants, each held by a property test:
//
//   - nobody approves their own request, and one person counts once;
//   - no path leads to opening without as many distinct approvals as the terms
//     that were frozen at the request ask for;
//   - the end, once set, never moves later without an approval;
//   - every grant that reached opening owes a close until it is closed: the
//     same transaction that approves it owes its end;
//   - a terminal phase never changes;
//   - the word closed is reached only through proof: no trust, no usable
//     credentials, no live session, each read back, for at least the settle
//     time after the trust was seen gone.
package grant
