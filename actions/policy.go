package actions

import (
	"errors"
	"time"

	"breakglass/store/grant"
)

// policy is a parsed trust policy.
type policy struct{ raw string }

// ours is a statement of ours.
type ours struct {
	id        grant.ID
	sid       string
	principal string
	end       time.Time // zero: without an end
	raw       string
}

func parsePolicy(raw string) (*policy, error) { return nil, errors.New("not yet") }

func planned(g grant.Grant) string { return "" }

func (p *policy) document() string                         { return p.raw }
func (p *policy) size() int                                { return 0 }
func (p *policy) trusted() []string                        { return nil }
func (p *policy) orphans() []string                        { return nil }
func (p *policy) trustsInstances() bool                    { return false }
func (p *policy) ours() []ours                             { return nil }
func (p *policy) our(id grant.ID) (ours, bool)             { return ours{}, false }
func (p *policy) names(principal grant.RoleARN) bool       { return false }
func (p *policy) same(o *policy) bool                      { return false }
func (p *policy) keepsForeign(of *policy) bool             { return false }
func (p *policy) foreign(v grant.Vendor) []string          { return nil }
func (p *policy) opened(g grant.Grant, end, now time.Time) (*policy, error) {
	return p, nil
}
func (p *policy) closed(out []leaving, account grant.AccountID, partition string, now time.Time) (*policy, map[grant.ID][]string, error) {
	return p, nil, nil
}

// leaving is what one closing grant wants gone.
type leaving struct {
	id        grant.ID
	principal grant.RoleARN // empty: only the statement
}
