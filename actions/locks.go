package actions

import (
	"context"
	"strings"
	"sync"
	"time"

	"breakglass/store/grant"
)

// A lock is a mutex that one can stop waiting for.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l lock) give() { <-l }

// roleWork is who is changing a role just now. IAM has no conditional writes:
// UpdateAssumeRolePolicy and PutRolePolicy overwrite whole documents (IAM API
// Reference), so two of our own read-change-write sections on one role must
// never overlap. lock is held for such a section only, never while waiting for
// a grant to settle.
type roleWork struct {
	lock lock

	mu sync.Mutex
	// opening holds the grants that are on their way from the hard stop to the
	// trust policy: nothing in AWS tells of them yet.
	opening map[grant.ID]arriving
	// leaving holds the removals that wait for the lock. Whoever holds it carries
	// them all out in one write.
	leaving map[grant.ID]*removal
	// past holds the trust policies that we have overwritten lately, so that an
	// old replica's answer is not taken for a new one.
	past map[string]time.Time
	// stop and cut are the dates that we have put on the role last.
	stop, cut dated
}

// arriving is what others must know of a grant that is being opened.
type arriving struct {
	end       time.Time
	principal grant.RoleARN
}

// dated is a date in one of our policies, and when we read it back.
type dated struct{ date, seen time.Time }

func (w *roleWork) note(field *dated, date time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*field = dated{date: date, seen: time.Now()}
}

// since answers the date if we have read it back after a moment.
func (w *roleWork) since(field *dated, at time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return field.date, field.seen.After(at)
}

// work returns the role's entry. Role names are unique in an account without
// regard to case (IAM User Guide, "IAM and AWS STS quotas"), so ARNs are too.
func (a *AWS) work(roleARN string) *roleWork {
	key := strings.ToLower(roleARN)
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.roles[key]
	if !ok {
		w = &roleWork{
			lock:    newLock(),
			opening: make(map[grant.ID]arriving),
			leaving: make(map[grant.ID]*removal),
			past:    make(map[string]time.Time),
		}
		a.roles[key] = w
	}
	return w
}

// regionLock is the lock on what a whole region of an account shares: the
// Session Manager preferences.
func (a *AWS) regionLock(c Cell) lock {
	key := string(c.Account) + "/" + c.Region
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.regions[key]
	if !ok {
		l = newLock()
		a.regions[key] = l
	}
	return l
}

// pause waits, or returns why it stopped waiting.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
