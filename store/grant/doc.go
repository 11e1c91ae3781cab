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
//   - nobody approves their own request, nor more time that they have asked for
//     or that is for their own request; one person counts once;
//   - no path leads to opening without as many distinct approvals as the terms
//     that were frozen at the request ask for, but one: an emergency of somebody
//     who may open one;
//   - an emergency that is or was opened owes a review, from the transaction that
//     opens it until an approver who is not its requester has signed;
//   - access is for no longer than anybody whose approval counts has agreed to,
//     nor than was asked for;
//   - the end, once set, moves only by as many distinct approvals of more time,
//     never earlier, and never later than these have agreed to; another end in
//     AWS closes;
//   - every grant that reached opening owes a close until it is closed: the
//     same transaction that approves it owes its end. Only an opening that has
//     written nothing is led back to the request, when its plan has changed or
//     approvals have fallen away; anything else that ends early is closed;
//   - a removal of trust that no grant explains begins in closing;
//   - a terminal phase never changes. To a closed emergency the signature under
//     its review is added, and it counts how often that was asked for;
//   - the word closed is reached only through proof: no trust, no usable
//     credentials, no live session, each read back, for at least the settle
//     time after the trust was seen gone.
package grant
