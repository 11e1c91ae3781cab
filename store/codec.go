package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"breakglass/store/grant"
)

// Everything that is stored as JSON goes through this file. Decoding is strict:
// a field that this program does not know was written by a newer one, which
// must have raised the schema version when it added it, and reading past it
// would drop it at the next write.

// row is an outbox row; its due time and sequence number are also in its key.
type row struct {
	Grant   grant.ID     `json:"grant"`
	Effect  grant.Effect `json:"effect"`
	Attempt int          `json:"attempt,omitempty"`
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func decode(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func encodeGrant(g grant.Grant) ([]byte, error) {
	data, err := encode(g)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", g.ID, err)
	}
	return data, nil
}

func decodeGrant(id grant.ID, data []byte) (grant.Grant, error) {
	var g grant.Grant
	if err := decode(data, &g); err != nil {
		return grant.Grant{}, damaged("%s cannot be read: %v", id, err)
	}
	switch {
	case g.ID != id:
		return grant.Grant{}, damaged("%s is stored in the place of %s", g.ID, id)
	case !g.Phase.Known():
		return grant.Grant{}, damaged("%s is in the phase %q, which this program does not know", id, g.Phase)
	case g.Ending == nil && (g.Phase == grant.Closing || g.Phase == grant.Closed):
		return grant.Grant{}, damaged("%s is %s without an ending", id, g.Phase)
	}
	return g, nil
}

func decodeRow(key, data []byte) (Owed, error) {
	var r row
	if len(key) != outboxLen {
		return Owed{}, damaged("a key of the outbox is %d bytes long", len(key))
	}
	seq := outboxSeq(key)
	if err := decode(data, &r); err != nil {
		return Owed{}, damaged("the outbox row %d cannot be read: %v", seq, err)
	}
	if !slices.Contains(grant.EffectKinds, r.Effect.Kind) {
		return Owed{}, damaged("the outbox row %d of %s is of the kind %q, which this program does not know", seq, r.Grant, r.Effect.Kind)
	}
	if !bytes.Equal(key, outboxKey(r.Effect, seq)) {
		return Owed{}, damaged("the outbox row %d of %s is due at %s, but stored under another time", seq, r.Grant, r.Effect.Due)
	}
	return Owed{Seq: seq, Grant: r.Grant, Effect: r.Effect, Attempt: r.Attempt}, nil
}
