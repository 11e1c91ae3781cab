package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"breakglass/store/grant"
)

// endingAtOnce is how many sessions are told to end at the same time.
const endingAtOnce = 8

// liveSessions lists the live sessions of a role, whatever they run on and
// whatever document they use. The owner of a session is the ARN of the role's
// session, whose last part the vendor chooses, and the filter wants it exact; so
// all are listed, page by page, and matched here (Systems Manager API Reference,
// DescribeSessions). State Active holds Connected and Disconnected ones: a
// disconnected session can be resumed, so it is as live as the other.
func liveSessions(ctx context.Context, cl *clients, roleName string) ([]grant.Session, error) {
	var out []grant.Session
	pages := ssm.NewDescribeSessionsPaginator(cl.ssm, &ssm.DescribeSessionsInput{
		State: ssmtypes.SessionStateActive, MaxResults: new(int32(200)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return out, err
		}
		for _, s := range page.Sessions {
			if s.Status == ssmtypes.SessionStatusTerminated || s.Status == ssmtypes.SessionStatusFailed {
				continue
			}
			if !ownedBy(aws.ToString(s.Owner), roleName) {
				continue
			}
			out = append(out, grant.Session{
				ID: aws.ToString(s.SessionId), Owner: aws.ToString(s.Owner), Target: aws.ToString(s.Target),
				Document: aws.ToString(s.DocumentName), Status: string(s.Status), Started: aws.ToTime(s.StartDate).UTC(),
			})
		}
	}
	slices.SortFunc(out, func(a, b grant.Session) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// ownedBy reports whether an owner, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION,
// is a session of the role. A role's path is not part of that ARN, and role
// names do not differ by case (IAM User Guide, "IAM identifiers").
func ownedBy(owner, roleName string) bool {
	_, rest, ok := strings.Cut(owner, ":assumed-role/")
	name, _, _ := strings.Cut(rest, "/")
	return ok && roleName != "" && strings.EqualFold(name, roleName)
}

// endSessions tells sessions to end, several at a time, and answers which were
// told. One that has ended meanwhile counts as told.
func endSessions(ctx context.Context, cl *clients, list []grant.Session) (told []grant.Session, err error) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		slot = make(chan struct{}, endingAtOnce)
	)
	for _, s := range list {
		wg.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			_, e := cl.ssm.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: new(s.ID)}, ssmOnce)
			if e != nil && hasEnded(sortError(e, true)) {
				e = nil
			}
			mu.Lock()
			defer mu.Unlock()
			if e == nil {
				told = append(told, s)
			} else if err == nil {
				err = e
			}
		})
	}
	wg.Wait()
	slices.SortFunc(told, func(a, b grant.Session) int { return strings.Compare(a.ID, b.ID) })
	return told, err
}

// hasEnded recognises the answer for a session that is over. AWS has no code of
// its own for it, only a validation error with these words (seen with the
// current service; the API reference names DoesNotExistException alone).
func hasEnded(f failure) bool {
	return f.is(codeNoSession, "DoesNotExist") ||
		f.is(codeValidation, "Validation") && strings.Contains(strings.ToLower(f.msg), "not in a valid state")
}

// sweep is one look at the role's sessions: who is live, and all of them told to
// end.
func sweep(ctx context.Context, cl *clients, c Cell, roleName string) (live, told []grant.Session, t *grant.Trouble) {
	what := fmt.Sprintf("the sessions of %s in %s", roleName, c.place())
	live, err := liveSessions(ctx, cl, roleName)
	if err != nil {
		t = sortError(err, false).trouble(grant.StepSessions, what)
	}
	if len(live) == 0 {
		return live, nil, t
	}
	told, err = endSessions(ctx, cl, live)
	if err != nil {
		t = sortError(err, true).trouble(grant.StepSessions, what)
		if t.Kind == grant.Refused {
			t.Remedy = fmt.Sprintf("End them by hand now (aws ssm terminate-session --region %s --session-id %s). %s", c.Region, live[0].ID, t.Remedy)
		}
	}
	return live, told, t
}
