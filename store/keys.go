package store

import (
	"bytes"
	"encoding/binary"
	"time"

	"breakglass/store/grant"
)

// The top-level buckets; doc.go draws them.
var (
	bucketMeta   = []byte("meta")
	bucketGrants = []byte("grants")
	bucketTokens = []byte("tokens")
	bucketLive   = []byte("live")
	bucketEnded  = []byte("ended")
	bucketOutbox = []byte("outbox")
	bucketOwes   = []byte("owes")
	bucketSeen   = []byte("seen")
	bucketSeenAt = []byte("seen_at")
	bucketAudit  = []byte("audit")
	bucketGuards = []byte("guards")

	buckets = [][]byte{
		bucketMeta, bucketGrants, bucketTokens, bucketLive, bucketEnded,
		bucketOutbox, bucketOwes, bucketSeen, bucketSeenAt, bucketAudit, bucketGuards,
	}
)

// The keys of the meta bucket.
var (
	metaSchema = []byte("schema")
	metaHead   = []byte("head")
)

func idKey(id grant.ID) []byte { return seqKey(uint64(id)) }

func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// timeLen is the length of a time in a key.
const timeLen = 12

// timeKey writes a time so that keys sort as times do, whatever the year:
// seconds with the sign turned, then nanoseconds.
func timeKey(t time.Time) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(t.Unix())^(1<<63)) //nolint:gosec // the bits are what is meant
	return binary.BigEndian.AppendUint32(k, uint32(t.Nanosecond()))                   //nolint:gosec // below a billion
}

func keyTime(k []byte) time.Time {
	sec := int64(binary.BigEndian.Uint64(k) ^ (1 << 63)) //nolint:gosec // the bits are what is meant
	return time.Unix(sec, int64(binary.BigEndian.Uint32(k[8:]))).UTC()
}

// outboxLen is the length of an outbox key: due time, urgency, sequence number.
const outboxLen = timeLen + 1 + 8

// outboxKey sorts by due time. Of rows due at the same instant a closing comes
// first, then an end, then the rest in the order in which they came to be owed.
func outboxKey(e grant.Effect, seq uint64) []byte {
	urgency := byte(2)
	switch e.Kind {
	case grant.DoClose:
		urgency = 0
	case grant.DoExpire:
		urgency = 1
	default:
	}
	return binary.BigEndian.AppendUint64(append(timeKey(e.Due), urgency), seq)
}

func outboxSeq(k []byte) uint64 { return binary.BigEndian.Uint64(k[timeLen+1:]) }

// owesKey finds what a grant owes under one kind and argument. Neither holds a
// zero byte.
func owesKey(id grant.ID, e grant.Effect) []byte {
	k := append(idKey(id), e.Kind...)
	return append(append(k, 0), e.Arg...)
}

// splitOwesKey reads the kind and the argument back.
func splitOwesKey(k []byte) (grant.EffectKind, string) {
	kind, arg, _ := bytes.Cut(k[8:], []byte{0})
	return grant.EffectKind(kind), string(arg)
}

// endedKey sorts the grants of one cell, or of all (cell ""), by their end.
func endedKey(cell grant.CellName, end time.Time, id grant.ID) []byte {
	k := append(endedPrefix(cell), timeKey(end)...)
	return append(k, idKey(id)...)
}

func endedPrefix(cell grant.CellName) []byte { return append([]byte(cell), 0) }
