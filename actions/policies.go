package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// The two inline policies that we put on the role. The second has the name that
// the console's "Revoke active sessions" uses, so that people recognise it (IAM
// User Guide, "Revoke IAM role temporary security credentials").
const (
	hardStopName = "BreakglassHardStop"
	cutOffName   = "AWSRevokeOlderSessions"
)

// timeFormat is how a date stands in our policies: UTC, whole seconds ("IAM
// JSON policy elements: Condition operators", date operators).
const timeFormat = "2006-01-02T15:04:05Z"

// Both denies spare requests that an EC2 instance signs with its own
// credentials: only they carry ec2:SourceInstanceARN ("AWS global condition
// context keys"). Where the role is the instance's own, a bare deny would cut
// off its agent, and with it Session Manager, for everybody.
func hardStopPolicy(end time.Time) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"BreakglassHardStop","Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"` +
		end.UTC().Format(timeFormat) + `"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}`
}

func cutOffPolicy(before time.Time) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"` +
		before.UTC().Format(timeFormat) + `"},"Null":{"ec2:SourceInstanceARN":"true"}}}]}`
}

// readDate reads one of our policies from the role and answers the date in it;
// zero if there is none. A policy of that name that is not exactly ours is no
// guarantee, so its date does not count.
func readDate(ctx context.Context, cl *clients, role, name string, write func(time.Time) string) (time.Time, error) {
	out, err := cl.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: new(role), PolicyName: new(name)})
	if err != nil {
		if sortError(err, false).is(codeNoSuchEntity) {
			return time.Time{}, nil
		}
		return time.Time{}, err
	}
	// PathUnescape: IAM encodes as RFC 3986 has it, where a + is a + (IAM API
	// Reference, GetRolePolicy).
	doc, err := url.PathUnescape(aws.ToString(out.PolicyDocument))
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // not ours, then
	}
	return dateIn(doc, write), nil
}

func dateIn(doc string, write func(time.Time) string) time.Time {
	var p struct {
		Statement []struct {
			Condition map[string]map[string]any
		}
	}
	if json.Unmarshal([]byte(doc), &p) != nil || len(p.Statement) != 1 {
		return time.Time{}
	}
	for _, keys := range p.Statement[0].Condition {
		for _, v := range keys {
			s, _ := v.(string)
			at, err := time.Parse(timeFormat, s)
			if err == nil && sameJSON([]byte(doc), []byte(write(at))) {
				return at
			}
		}
	}
	return time.Time{}
}

// putDate writes one of our policies and reads it back until it is seen. The
// caller holds the role's lock. beside, if any, runs beside the first reading.
func putDate(ctx context.Context, cl *clients, role, name string, at time.Time, write func(time.Time) string, beside func()) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, visibleLimit, fmt.Errorf("%s was not seen on the role within %s", name, visibleLimit))
	defer cancel()
	if beside == nil {
		beside = func() {}
	}
	var last error
	for try := range writeTries {
		if try > 0 {
			if err := pause(ctx, time.Second<<(try-1)); err != nil {
				return time.Time{}, fmt.Errorf("%w (%w)", err, last)
			}
			// Whatever became of the last try: look before doing it again.
			if got, err := readDate(ctx, cl, role, name, write); err == nil && got.Equal(at) {
				return got, nil
			}
		}
		_, err := cl.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
			RoleName: new(role), PolicyName: new(name), PolicyDocument: new(write(at)),
		}, iamOnce)
		if err != nil {
			last = err
			if f := sortError(err, true); f.class == busy || f.class == lost || f.class == unreachable {
				continue
			}
			return time.Time{}, err
		}
		for wait := firstPause; ; wait = min(2*wait, longestPause) {
			var (
				got time.Time
				err error
			)
			sideBySide(func() { got, err = readDate(ctx, cl, role, name, write) }, beside)
			beside = func() {}
			if err != nil {
				return time.Time{}, err
			}
			if got.Equal(at) {
				return got, nil
			}
			if err := pause(ctx, wait); err != nil {
				return time.Time{}, err
			}
		}
	}
	return time.Time{}, last
}
