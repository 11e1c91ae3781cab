package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// How often one round tries to change a trust policy: writes that AWS was too
// busy for or whose answer was lost, and beginnings anew because somebody else
// was changing it.
const (
	writeTries  = 3
	changeTries = 6
)

// How long IAM may take to show everywhere what was written. "Changes that I
// make are not always immediately visible" (IAM User Guide, "Troubleshoot IAM").
const (
	visibleLimit = 30 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// staleLimit is how long a document that we have replaced is taken for an
// answer from a replica that has not heard of it.
const staleLimit = time.Minute

// writeTrust sends a trust policy, once.
func writeTrust(ctx context.Context, cl *clients, roleName string, d trust.Document) error {
	_, err := cl.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
		RoleName: new(roleName), PolicyDocument: new(d.String()),
	}, iamOnce)
	return err
}

// invalidPrincipal tells from IAM's message which principal a new trust policy
// was refused for. IAM has one code, MalformedPolicyDocument, for everything
// that is wrong with a document, so the message has to be read.
func invalidPrincipal(f failure) (principal string, ok bool) {
	if !f.is(codeMalformed) || !strings.Contains(f.msg, "Invalid principal") {
		return "", false
	}
	// Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/x"
	_, rest, _ := strings.Cut(f.msg, `"AWS":"`)
	principal, _, _ = strings.Cut(rest, `"`)
	return principal, true
}

// replaced remembers that a document of the role has been overwritten by us.
// The caller holds the role's lock.
func (w *roleWork) replaced(old, by string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for doc, when := range w.past {
		if at.Sub(when) > staleLimit {
			delete(w.past, doc)
		}
	}
	w.past[old] = at
	delete(w.past, by)
}

// isPast reports whether a document is one that we have overwritten just now.
func (w *roleWork) isPast(doc string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	when, ok := w.past[doc]
	return ok && time.Since(when) <= staleLimit
}

// readFresh reads the role. A document that we have overwritten within the last
// minute is an old replica's, or somebody has put it back; it is believed only
// when it stays. To edit an old document would undo what has been done since.
func readFresh(ctx context.Context, cl *clients, w *roleWork, name string) (role, error) {
	limit := time.Now().Add(visibleLimit)
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		r, err := readRole(ctx, cl, name)
		if err != nil || !w.isPast(r.document) || time.Now().After(limit) {
			return r, err
		}
		if err := pause(ctx, wait); err != nil {
			return r, err
		}
	}
}

// readTwice reads the role twice at once: two answers that agree come, as far
// as one can tell from outside, from replicas that have both heard of a change.
func readTwice(ctx context.Context, cl *clients, name string) (x, y role, err error) {
	var errs [2]error
	sideBySide(
		func() { x, errs[0] = readRole(ctx, cl, name) },
		func() { y, errs[1] = readRole(ctx, cl, name) },
	)
	if errs[0] != nil {
		return x, y, errs[0]
	}
	return x, y, errs[1]
}

// errUnsettled says that a change was not read back in time.
var errUnsettled = fmt.Errorf("the change was not read back within %s", visibleLimit)

// A sight is what reading back a trust policy has found.
type sight int

const (
	stale   sight = iota // still what it was before the write
	settled              // what was wanted
	other                // something else: somebody has changed it after us
)

// settle reads the trust policy until two readings at once show what was
// wanted. It waits only while they do not.
func settle(ctx context.Context, cl *clients, name, before string, wanted func(trust.Document) bool) (trust.Document, sight, error) {
	limit := time.Now().Add(visibleLimit)
	strange := 0
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		x, y, err := readTwice(ctx, cl, name)
		if err != nil {
			return trust.Document{}, stale, err
		}
		p, errX := trust.Parse([]byte(x.document))
		q, errY := trust.Parse([]byte(y.document))
		switch {
		case errX == nil && errY == nil && wanted(p) && wanted(q):
			return q, settled, nil
		case x.document == y.document && x.document != before:
			// Both agree on something that is neither the old nor the new. Seen
			// again, it is what somebody else has written.
			if strange++; strange > 1 {
				return q, other, nil
			}
		}
		if time.Now().After(limit) {
			return q, stale, nil
		}
		if err := pause(ctx, wait); err != nil {
			return q, stale, err
		}
	}
}

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// onSameRole reports whether another grant is on the role.
func onSameRole(o, g grant.Grant, roleARN string) bool {
	switch {
	case o.ID == g.ID || o.Account != g.Account && o.Account != "" && g.Account != "":
		return false
	case roleARN == "":
		return o.Cell == g.Cell
	case o.Access != nil && o.Access.RoleARN != "":
		return strings.EqualFold(o.Access.RoleARN, roleARN)
	case o.Report != nil && o.Report.RoleARN != "":
		return strings.EqualFold(o.Report.RoleARN, roleARN)
	default:
		return o.Cell == g.Cell
	}
}

// asTrouble is the trouble in an error, if it is one already.
func asTrouble(err error) (*grant.Trouble, bool) { return errors.AsType[*grant.Trouble](err) }

func isTrouble(err error) bool {
	_, ok := asTrouble(err)
	return ok
}
