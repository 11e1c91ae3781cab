package trust

import (
	"fmt"
	"regexp"
	"time"
)

// PlaceholderSid is the Sid of the placeholder.
const PlaceholderSid = "BreakglassPlaceholder"

// placeholderEnd is the end of the placeholder: long ago.
var placeholderEnd = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// dateLayout is how IAM writes a date: UTC, whole seconds.
const dateLayout = "2006-01-02T15:04:05Z"

var (
	sidPattern     = regexp.MustCompile(`^Breakglass[A-Za-z0-9]{1,118}$`)
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	// A role in any partition. Names are 1 to 64 of these characters (IAM User
	// Guide, "IAM identifiers"); a path may hold more than is accepted here, but
	// wildcards, quotation marks and white space have no business in an ARN that
	// somebody typed.
	roleARNPattern = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:iam::([0-9]{12}):role/(?:[A-Za-z0-9+=,.@_-]+/)*([A-Za-z0-9+=,.@_-]{1,64})$`)
)

// maxARN is longer than any role's ARN: a path has at most 512 characters.
const maxARN = 640

// IsOwnSid reports whether a statement with that Sid is ours. The placeholder
// is.
func IsOwnSid(sid string) bool { return sidPattern.MatchString(sid) }

// Own is what a statement of ours says: this role may assume the role, until
// then.
type Own struct {
	Sid          string    // BreakglassBG7
	PrincipalARN string    // the ARN of a role, in any partition
	End          time.Time // zero: without an end
}

// JSON is the statement, minified, byte for byte what is put in the policy. The
// end is cut to whole seconds, in UTC.
func (o Own) JSON() ([]byte, error) {
	if !IsOwnSid(o.Sid) || o.Sid == PlaceholderSid {
		return nil, &ValueError{Err: ErrSid, Value: o.Sid}
	}
	if _, _, err := splitRole(o.PrincipalARN); err != nil {
		return nil, err
	}
	end := o.End.UTC()
	if !o.End.IsZero() && (end.Year() <= placeholderEnd.Year() || end.Year() > 9999) {
		return nil, &ValueError{Err: ErrEnd, Value: end.String()}
	}
	return statementJSON(o.Sid, o.PrincipalARN, o.End), nil
}

// Placeholder is the inert statement that takes the place of the last one, for
// the company's own account.
func Placeholder(account string) ([]byte, error) {
	if !accountPattern.MatchString(account) {
		return nil, &ValueError{Err: ErrAccount, Value: account}
	}
	return statementJSON(PlaceholderSid, account, placeholderEnd), nil
}

// statementJSON writes values that need no escape.
func statementJSON(sid, principal string, end time.Time) []byte {
	var cond string
	if !end.IsZero() {
		cond = fmt.Sprintf(`,"Condition":{"DateLessThan":{"aws:CurrentTime":%q}}`, end.UTC().Format(dateLayout))
	}
	return fmt.Appendf(nil, `{"Sid":%q,"Effect":"Allow","Principal":{"AWS":%q},"Action":"sts:AssumeRole"%s}`, sid, principal, cond)
}

// splitRole is the account and the name of a role's ARN.
func splitRole(arn string) (account, name string, err error) {
	m := roleARNPattern.FindStringSubmatch(arn)
	if len(arn) > maxARN || m == nil {
		return "", "", &ValueError{Err: ErrPrincipal, Value: arn}
	}
	return m[1], m[2], nil
}
