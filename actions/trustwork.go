package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"breakglass/store/grant"
)

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

// writeTrust sends a trust policy, once.
func writeTrust(ctx context.Context, cl *clients, roleName string, p *policy) error {
	_, err := cl.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
		RoleName: new(roleName), PolicyDocument: new(p.document()),
	}, iamOnce)
	return err
}

// readTwice reads the role twice at once: two answers that agree come from
// replicas that have both heard of the change.
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
var errUnsettled = errors.New("the change was not read back in time")

// What reading back a trust policy may find.
type sight int

const (
	stale   sight = iota // still what it was before the write
	settled              // what was wanted
	other                // something else: somebody changed it after us
)

// settle reads the trust policy until two readings at once show what was
// wanted. It answers the newest document, and settled, other, or stale when the
// time is up.
func settle(ctx context.Context, cl *clients, name, before string, wanted func(*policy) bool) (role, *policy, sight, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, visibleLimit, errUnsettled)
	defer cancel()
	strange := 0
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		x, y, err := readTwice(ctx, cl, name)
		if err != nil {
			return x, nil, stale, err
		}
		p, errX := parsePolicy(x.document)
		q, errY := parsePolicy(y.document)
		switch {
		case errX == nil && errY == nil && wanted(p) && wanted(q):
			return y, q, settled, nil
		case x.document == y.document && x.document != before:
			// Both agree on something that is neither the old nor the new: seen
			// again, it is what somebody else has written.
			if strange++; strange > 1 {
				return y, q, other, errY
			}
		}
		if err := pause(ctx, wait); err != nil {
			if errors.Is(err, errUnsettled) {
				return y, q, stale, nil
			}
			return y, q, stale, err
		}
	}
}

// byHand is how a person removes a statement when the bot cannot.
func byHand(roleName, sid string) string {
	return fmt.Sprintf("If it is urgent, remove the statement %s by hand: IAM console, role %s, Trust relationships.", sid, roleName)
}

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// onSameRole reports whether another grant is on the role.
func onSameRole(o grant.Grant, g grant.Grant, roleARN string) bool {
	switch {
	case o.Account != g.Account:
		return false
	case o.Access != nil && o.Access.RoleARN != "":
		return strings.EqualFold(o.Access.RoleARN, roleARN)
	case o.Report != nil && o.Report.RoleARN != "":
		return strings.EqualFold(o.Report.RoleARN, roleARN)
	default:
		return o.Cell == g.Cell
	}
}
