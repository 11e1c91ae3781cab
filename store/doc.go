// Package store is what breakglass remembers: one bbolt file that holds the
// grants, what they owe, which deliveries have been seen, and the audit log.
//
// Everything that happens goes through [Store.Commit]: one event, one
// transaction, on disk when it returns. Whoever calls it may acknowledge
// afterwards, and never before.
//
// It never decides (that is [grant.Grant.Apply]), never reads a clock (now is
// part of the [Change]), never talks to anyone, and never acts on what is owed:
// the worker does, and brings back the result as the next event. It never
// writes to a file that it does not know to be its own. No type of bbolt leaves
// it; the same contract can be kept with any store that has conditional writes
// over several items.
//
// # The buckets
//
// Numbers in keys are big-endian, times are seconds and nanoseconds, so that
// keys sort as what they mean.
//
//	meta      schema                       → version (8 bytes)
//	          head                         → last audit entry: seq, hash
//	grants    id                           → grant (JSON); its sequence is the last id, or one seen in AWS
//	tokens    token of the card's buttons  → id
//	live      id                           → phase, 0, role of an open one; grants that have not ended
//	ended     cell, 0, end, id             → phase       grants that have; cell "" holds all
//	outbox    due, urgency, seq            → owed (JSON); its sequence is the last seq
//	owes      id, kind, 0, arg             → key in outbox; id 0 is for what is owed for a cell
//	seen      dedupe key                   → when, id
//	seen_at   when, dedupe key             →             for pruning; what began a grant is not
//	audit     seq                          → hash, entry (JSON)
//	guards    cell                         → what is remembered of the cell (JSON)
//
// # Invariants
//
//   - A grant, its indexes, what it owes, its dedupe keys and its audit entry
//     change in one transaction, or none of them does.
//   - A grant in opening, open or closing owes its end or its closing. A
//     transaction that would lose it fails.
//   - An effect of one (grant, kind, arg) is owed at most once. A newer one
//     replaces the older under a new sequence number, and only the same sequence
//     number can be settled or postponed.
//   - Audit entries are numbered without gaps from 1, and each holds the hash of
//     the one before. The last one is also in meta, so that the end cannot be
//     cut off unnoticed.
//   - Ids are never used twice.
//   - An id that a statement in AWS was seen to carry is not given out again,
//     unless it is a million above the last.
//   - A phase or a kind of effect that is not known stops the start, and so does
//     what is known of a cell and cannot be read.
//   - What is new is held against what is there in the transaction that begins it:
//     nobody opens more emergencies in a day by asking for several at once.
//   - What is read for the next thing due, for the status and for one grant does
//     not grow with the number of grants that have ended.
//
// # Decisions
//
// 2026-11-23: one fsync'd transaction per event. A click is acknowledged only
// once it is on disk; saving the sync would trade the one promise of the store
// for a fraction of a millisecond. When the disk is full the commit fails,
// nothing is acknowledged, and what was stored stays as it was; Slack tells the
// person.
//
// 2026-11-23: Update, never Batch. Batch may run a function several times and
// makes lone commits wait for company; a company's clicks do not need it.
//
// 2026-11-23: decoding is strict, so a new field of a stored grant raises the
// schema version, and an older program refuses the file instead of quietly
// dropping the field at its next write. Audit entries and their details only
// ever gain optional fields, in the same step.
//
// 2026-11-23: an older schema is brought up to date when the file is opened, in
// one transaction (schema 2: open grants come to owe their looks). There is no
// way back but a backup, which the refusal of the older program says.
//
// 2026-11-23: a missing file is made complete under another name and then
// linked into place. An empty or torn file is therefore never our own doing,
// and is refused instead of being taken for a first start.
//
// 2026-11-23: the start walks every page once, and only then opens the file for
// writing. bbolt has no checksums of its pages; some torn ones make it loop for
// ever or overwrite what is in use, which nobody can recover from later. It costs
// about a microsecond a page, 0.1 s for 100,000 grants. Names of phases and
// effects are checked for what is live and owed, and for ended grants by their
// index. What is damaged later on becomes an error of the one call that meets it.
//
// 2026-11-24: as long as there has never been a grant, the first look at a cell is
// enough to tell of trust that nobody explains. Two looks keep what is just opening or
// closing from being told; in a new database nothing is, and when the old one is lost
// people should not wait.
//
// 2026-11-23: the hash chain shows that the log was changed by someone who did
// not recompute all of it. Who can write the file can do that; compare
// [Store.Head] with one that was noted elsewhere.
package store
