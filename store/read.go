package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"breakglass/store/grant"
)

// Grant answers one grant, or a NotFound refusal.
func (s *Store) Grant(id grant.ID) (g grant.Grant, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		var found bool
		if g, found, err = loadGrant(tx, id); err == nil && !found {
			return notFound(id)
		}
		return err
	})
	return g, err
}

// ByToken answers the grant whose card carries the token, or a NotFound
// refusal.
func (s *Store) ByToken(token string) (g grant.Grant, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		var v []byte
		if token != "" {
			v = tx.Bucket(bucketTokens).Get([]byte(token))
		}
		if v == nil {
			return grant.Refuse(grant.NotFound, "This message belongs to no grant that is remembered here. Nothing changed. `/breakglass status` lists what is open or waiting.")
		}
		id, err := keyID(v)
		if err != nil {
			return err
		}
		g, err = mustLoad(tx, id)
		return err
	})
	return g, err
}

// Live lists every grant that has not ended, by id.
func (s *Store) Live() (grants []grant.Grant, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		grants, err = loadLive(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is open or waiting: %w", err)
	}
	return grants, nil
}

// Holding lists the grants that may have access in AWS, by id. Requests that nobody
// has decided, of which there may be many, are not read for it.
func (s *Store) Holding() (grants []grant.Grant, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		requested := append([]byte(grant.Requested), 0)
		return tx.Bucket(bucketLive).ForEach(func(k, v []byte) error {
			if bytes.HasPrefix(v, requested) {
				return nil
			}
			id, err := keyID(k)
			if err != nil {
				return err
			}
			g, err := mustLoad(tx, id)
			if err == nil && g.Live() {
				grants = append(grants, g)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read what has access: %w", err)
	}
	return grants, nil
}

// Ended lists the last n grants of a cell that ended, the newest first; cell ""
// means every cell.
func (s *Store) Ended(cell grant.CellName, n int) (grants []grant.Grant, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		grants, err = loadEnded(tx, cell, n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what has ended: %w", err)
	}
	return grants, nil
}

func loadEnded(tx *bbolt.Tx, cell grant.CellName, n int) ([]grant.Grant, error) {
	return loadEndedWhile(tx, cell, func(have int, _ time.Time) bool { return have < n })
}

// loadEndedSince reads every grant that ended at that time or later.
func loadEndedSince(tx *bbolt.Tx, since time.Time) ([]grant.Grant, error) {
	return loadEndedWhile(tx, "", func(_ int, end time.Time) bool { return !end.Before(since) })
}

// loadEndedWhile reads the grants of a cell that ended, the newest first, as long
// as more are wanted.
func loadEndedWhile(tx *bbolt.Tx, cell grant.CellName, more func(have int, end time.Time) bool) (grants []grant.Grant, err error) {
	prefix := endedPrefix(cell)
	c := tx.Bucket(bucketEnded).Cursor()
	// Nothing begins with the cell's name and a one, so this is just past the
	// cell's last key.
	k, _ := c.Seek(append([]byte(cell), 1))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	for ; bytes.HasPrefix(k, prefix); k, _ = c.Prev() {
		if len(k) < len(prefix)+timeLen {
			return nil, damaged("a key of a grant that ended is %d bytes long", len(k))
		}
		if !more(len(grants), keyTime(k[len(prefix):])) {
			break
		}
		id, err := keyID(k[len(prefix)+timeLen:])
		if err != nil {
			return nil, err
		}
		g, err := mustLoad(tx, id)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func loadLive(tx *bbolt.Tx) ([]grant.Grant, error) {
	var grants []grant.Grant
	err := tx.Bucket(bucketLive).ForEach(func(k, _ []byte) error {
		id, err := keyID(k)
		if err != nil {
			return err
		}
		g, err := mustLoad(tx, id)
		if err != nil {
			return err
		}
		grants = append(grants, g)
		return nil
	})
	return grants, err
}

// liveValue is what the index of live grants holds: the phase and, of one that is
// open, its role, so that the others on a role are found without reading all; of one
// that waits for a decision, whose it is.
func liveValue(g grant.Grant) []byte {
	v := append([]byte(g.Phase), 0)
	switch {
	case g.Phase == grant.Open && g.Access != nil:
		v = append(v, strings.ToLower(g.Access.RoleARN)...)
	case g.Phase == grant.Requested:
		v = append(v, g.Requester...)
	}
	return v
}

// loadUndecided reads the requests of somebody that nobody has decided yet.
func loadUndecided(tx *bbolt.Tx, of grant.UserID) ([]grant.Grant, error) {
	bare := append([]byte(grant.Requested), 0) // as an older program wrote it, whosever it is
	want := append(bytes.Clone(bare), of...)
	var grants []grant.Grant
	err := tx.Bucket(bucketLive).ForEach(func(k, v []byte) error {
		if !bytes.Equal(v, want) && !bytes.Equal(v, bare) {
			return nil
		}
		id, err := keyID(k)
		if err != nil {
			return err
		}
		g, err := mustLoad(tx, id)
		grants = append(grants, g)
		return err
	})
	return grants, err
}

// loadOpen reads the open grants on a role; "" means any.
func loadOpen(tx *bbolt.Tx, roleARN string) ([]grant.Grant, error) {
	want := append(append([]byte(grant.Open), 0), strings.ToLower(roleARN)...)
	var grants []grant.Grant
	err := tx.Bucket(bucketLive).ForEach(func(k, v []byte) error {
		if !bytes.Equal(v, want) && (roleARN != "" || !bytes.HasPrefix(v, want)) {
			return nil
		}
		id, err := keyID(k)
		if err != nil {
			return err
		}
		g, err := mustLoad(tx, id)
		grants = append(grants, g)
		return err
	})
	return grants, err
}

func loadGrant(tx *bbolt.Tx, id grant.ID) (grant.Grant, bool, error) {
	data := tx.Bucket(bucketGrants).Get(idKey(id))
	if data == nil {
		return grant.Grant{}, false, nil
	}
	g, err := decodeGrant(id, data)
	return g, err == nil, err
}

// mustLoad is for ids that an index names: then the grant must be there.
func mustLoad(tx *bbolt.Tx, id grant.ID) (grant.Grant, error) {
	g, found, err := loadGrant(tx, id)
	if err == nil && !found {
		err = damaged("%s is in an index, but not among the grants", id)
	}
	return g, err
}

func keyID(k []byte) (grant.ID, error) {
	if len(k) != 8 {
		return 0, damaged("a grant's key is %d bytes long", len(k))
	}
	return grant.ID(binary.BigEndian.Uint64(k)), nil
}

// Known answers whether any of the dedupe keys belongs to a delivery that was
// committed before, and the grant that it touched.
func (s *Store) Known(keys ...string) (id grant.ID, known bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		id, known, err = seenBefore(tx, keys)
		return err
	})
	return id, known, err
}
