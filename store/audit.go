package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Entry is one line of the audit log. Each names the hash of the one before, so
// that none can be changed, removed, added or moved unnoticed.
//
// Hash is the SHA-256, in hex, of the entry as one line of JSON in this order
// of fields, without the field hash itself: for a line of an export,
//
//	jq -cj 'del(.hash)' | sha256sum
type Entry struct {
	Seq    uint64      `json:"seq"`
	Time   time.Time   `json:"time"`
	Actor  grant.Actor `json:"actor"`
	Kind   grant.Kind  `json:"kind"` // the event's, or "refused"
	Grant  grant.ID    `json:"grant,omitempty"`
	Before grant.Phase `json:"before,omitempty"`
	After  grant.Phase `json:"after,omitempty"`
	// Envelope is the first dedupe key of the delivery.
	Envelope string `json:"envelope,omitempty"`
	Ref      string `json:"ref,omitempty"`
	// Detail is what mattered about the event, by its kind.
	Detail json.RawMessage `json:"detail,omitempty"`
	Prev   string          `json:"prev"` // the hash of the entry before; empty in the first
	Hash   string          `json:"hash,omitempty"`
}

// Kinds of audit entries that are not about an event of a grant.
const (
	// KindRefused says that something was refused.
	KindRefused grant.Kind = "refused"
	// KindWrite is one call that changed something in AWS, or may have.
	KindWrite grant.Kind = "aws_write"
	// KindSaid is a message that was posted: a card, its thread, a reminder.
	KindSaid grant.Kind = "said"
)

// Head is the end of the audit log. Whoever can write the file can rewrite all
// of the log; a head that was noted elsewhere shows it.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// ChainError says where the audit log has been tampered with.
type ChainError struct {
	Seq     uint64 // the first entry that is not as it was written
	Problem string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("the audit log is broken at entry %d: %s", e.Seq, e.Problem)
}

// page is how many entries are read in one transaction: the caller's loop runs
// outside, so that a slow reader holds nothing up.
const page = 256

// Entries reads the audit log from a sequence number on, oldest first.
func (s *Store) Entries(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			var entries []Entry
			err := s.view(func(tx *bbolt.Tx) error {
				c := tx.Bucket(bucketAudit).Cursor()
				for k, v := c.Seek(seqKey(from)); k != nil && len(entries) < page; k, v = c.Next() {
					e, err := decodeEntry(k, v)
					if err != nil {
						return err
					}
					entries = append(entries, e)
				}
				return nil
			})
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
				from = e.Seq + 1
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("read the audit log: %w", err))
				return
			}
			if len(entries) < page {
				return
			}
		}
	}
}

// Head answers the end of the audit log; zero if it is empty.
func (s *Store) Head() (h Head, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		h, err = head(tx)
		return err
	})
	return h, err
}

// Verify reads the whole audit log and answers a *[ChainError] that says where
// an entry was changed, removed, added or moved.
func (s *Store) Verify() error {
	return s.view(verify)
}

func verify(tx *bbolt.Tx) error {
	last := Head{}
	c := tx.Bucket(bucketAudit).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		want := last.Seq + 1
		if len(k) != 8 {
			return &ChainError{Seq: want, Problem: "a record that is no entry was added"}
		}
		switch seq := binary.BigEndian.Uint64(k); {
		case seq < want:
			return &ChainError{Seq: seq, Problem: "the entry was added"}
		case seq > want:
			return &ChainError{Seq: want, Problem: "the entry is missing"}
		}
		e, err := decodeEntry(k, v)
		if err != nil {
			return &ChainError{Seq: want, Problem: "the entry was changed: it cannot be read"}
		}
		sum := sha256.Sum256(v[sha256.Size:])
		switch {
		case !bytes.Equal(sum[:], v[:sha256.Size]):
			return &ChainError{Seq: want, Problem: "the entry was changed: it does not have its hash"}
		case e.Seq != want:
			return &ChainError{Seq: want, Problem: fmt.Sprintf("the entry was moved: it was number %d", e.Seq)}
		case e.Prev != last.Hash:
			return &ChainError{Seq: want, Problem: "the entry does not follow the one before it"}
		}
		last = Head{Seq: e.Seq, Hash: e.Hash}
	}
	h, err := head(tx)
	switch {
	case err != nil:
		return &ChainError{Seq: last.Seq + 1, Problem: "the record of the last entry cannot be read"}
	case h.Seq > last.Seq:
		return &ChainError{Seq: last.Seq + 1, Problem: fmt.Sprintf("the entry is missing, and so are all up to %d", h.Seq)}
	case h.Seq < last.Seq:
		return &ChainError{Seq: h.Seq + 1, Problem: "the entry was added after the last one"}
	case h.Hash != last.Hash:
		return &ChainError{Seq: last.Seq, Problem: "the entry is not the one that was written last"}
	}
	return nil
}

func head(tx *bbolt.Tx) (Head, error) {
	v := tx.Bucket(bucketMeta).Get(metaHead)
	if v == nil {
		return Head{}, nil
	}
	if len(v) != 8+sha256.Size {
		return Head{}, damaged("the record of the last audit entry is %d bytes long", len(v))
	}
	return Head{Seq: binary.BigEndian.Uint64(v), Hash: hex.EncodeToString(v[8:])}, nil
}

// appendEntry chains the entry to the last one. An entry is stored as its hash
// and the bytes that were hashed.
func appendEntry(tx *bbolt.Tx, e Entry) error {
	h, err := head(tx)
	if err != nil {
		return err
	}
	audit := tx.Bucket(bucketAudit)
	// The sequence never falls behind what is there: should someone have added
	// entries by hand, they stay as evidence, the gap shows in Verify, and access
	// can still be closed.
	e.Seq = h.Seq + 1
	if k, _ := audit.Cursor().Last(); len(k) == 8 {
		e.Seq = max(e.Seq, binary.BigEndian.Uint64(k)+1)
	}
	e.Prev, e.Hash = h.Hash, ""
	body, err := encode(e)
	if err != nil {
		return fmt.Errorf("encode an audit entry: %w", err)
	}
	sum := sha256.Sum256(body)
	audit.FillPercent = 0.9 // entries are only ever added at the end
	if err := audit.Put(seqKey(e.Seq), append(sum[:], body...)); err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(metaHead, append(seqKey(e.Seq), sum[:]...))
}

func decodeEntry(k, v []byte) (Entry, error) {
	var e Entry
	if len(k) != 8 || len(v) < sha256.Size {
		return e, damaged("an audit entry is cut short")
	}
	if err := decode(v[sha256.Size:], &e); err != nil {
		return Entry{}, damaged("the audit entry %d cannot be read: %v", binary.BigEndian.Uint64(k), err)
	}
	e.Hash = hex.EncodeToString(v[:sha256.Size])
	return e, nil
}
