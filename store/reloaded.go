package store

import (
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// KindReloaded says that another configuration took effect while the bot ran.
const KindReloaded grant.Kind = "reloaded"

// Reloaded is another configuration that takes effect.
type Reloaded struct {
	Digest  string // SHA-256 of the file, in hex
	Changes []Setting
	Now     time.Time
	Ref     string // the reference that is also in the program's own log
}

// Setting is one key of the configuration that says something else now. A list has
// what was added to it and taken from it, anything else what it was and is.
type Setting struct {
	Key     string   `json:"key"`
	From    string   `json:"from,omitempty"`
	To      string   `json:"to,omitempty"`
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

type reloadedDetail struct {
	Digest  string    `json:"digest"`
	Changes []Setting `json:"changes"`
}

// Reloaded puts into the audit log that another configuration takes effect. Whoever
// puts it in force does that afterwards, and not where this is an error.
func (s *Store) Reloaded(r Reloaded) error {
	err := s.update(func(tx *bbolt.Tx) error {
		return appendEntry(tx, Entry{
			Time: r.Now.UTC().Round(0), Actor: grant.Self(), Kind: KindReloaded, Ref: r.Ref,
			Detail: raw(reloadedDetail{Digest: r.Digest, Changes: r.Changes}),
		})
	})
	if err != nil {
		return fmt.Errorf("note that the configuration was reloaded: %w", err)
	}
	return nil
}
