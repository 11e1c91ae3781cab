// Package trust edits the trust policy of an IAM role, and loses nothing.
//
// A trust policy belongs to many people: the company's own engineers, their
// Terraform, other vendors. IAM offers only one way to change it, to overwrite
// the whole document, so whoever changes it must give back everything that was
// there. This package splices bytes: what is not ours is never decoded and
// encoded again, it is copied.
//
// A [Document] is a value. Every edit answers with a new one and leaves its
// receiver as it was. The package does no I/O, reads no clock (time is an
// argument), never merges a principal into somebody else's statement, never
// writes a Deny, never writes an empty list of statements, and never guesses:
// what it cannot read with certainty it refuses in [Parse], because a document
// that was misread could be called closed while it is open.
//
// # What is ours
//
// A statement is ours by its Sid alone: "Breakglass" and then letters and
// digits ([IsOwnSid]). A human may put the same principal in a statement of
// their own; that one is not ours, and only [Document.RemovePrincipal] and
// [Document.RemoveExact] touch it. Where the last statement of a document is
// taken away, the placeholder takes its place: an Allow for the company's own
// account that ended in the year 2000. It trusts nobody and stands in nobody's
// way.
//
// # Invariants
//
// Each is held by a property test and a fuzz target:
//
//   - every foreign statement keeps its bytes and its order through [Document.Put],
//     [Document.Remove] and [Document.Prune], and so does everything outside
//     the list of statements;
//   - Put and then Remove, of any number of our statements in any order, gives
//     back the very bytes that were there before;
//   - a result always parses and has at least one statement;
//   - after RemovePrincipal or RemoveExact no Allow statement names that principal,
//     and nothing but that has gone.
//
// # How an edit is undone
//
// Our statement is written minified, directly behind the last byte of the last
// statement, with a comma and no white space:
//
//	"Statement": [ {A}, {B} ]      becomes   "Statement": [ {A}, {B},{ours} ]
//
// To remove it is to delete from the end of the statement before it to its own
// end, which leaves what was there. If ours is first, the deletion runs to the
// start of the statement behind it.
//
// The grammar also allows one statement without a list. It has to be wrapped,
// and the wrapping has to be told from a list that somebody wrote. The mark is
// one space before the first comma and no other white space beside a bracket
// or comma of the list:
//
//	"Statement": {A}               becomes   "Statement": [{A} ,{ours}]
//	"Statement": [{A}]             becomes   "Statement": [{A},{ours}]
//
// A list that carries the mark, and in which everything behind the first
// statement is ours and minified, is a wrapped one: an edit keeps the mark
// while two statements are left, and takes the brackets off when one is left.
// The second line above can never carry the mark, since nothing of ours is
// written with a space before its comma except by wrapping. White space does
// not count against the quota.
//
// If IAM or a human changes the white space in between, the mark is lost or
// made up, and what is left after the removal is the same policy with other
// brackets or white space: [EqualForeign] still holds.
//
// What was ours before is treated as ours:
//
//   - a document with nothing but the placeholder: Put writes our statement in
//     its place, Remove writes the placeholder back, and the bytes are the same
//     if the placeholder had the bytes that we write and the same account;
//   - a placeholder beside other statements (somebody added theirs later) has
//     lost its purpose: Put takes it away and Remove does not bring it back;
//   - an older statement of ours stays where it is until Remove or Prune names
//     it; if it is the last to go, the placeholder takes its place;
//   - an empty list, which IAM's grammar does not allow, is read; after Put and
//     Remove it holds the placeholder.
//
// # Sources
//
// IAM User Guide: "Grammar of the IAM JSON policy language" (shapes), "IAM JSON
// policy elements: Sid" (letters and digits, unique), "AWS JSON policy
// elements: Principal" (account forms, unique ids of deleted principals), "IAM
// JSON policy elements: Condition operators" (dates, matching), "AWS global
// condition context keys" (aws:CurrentTime is always present), "Troubleshoot
// IAM roles" (a trust policy that ends at a date), "IAM and AWS STS quotas"
// (white space is not counted).
package trust
