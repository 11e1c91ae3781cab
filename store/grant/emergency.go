package grant

import (
	"fmt"
	"time"
)

const (
	// mostEmergencies is how many emergencies one person may open within
	// [EmergencyWindow]: more is no emergency but a way around the approvers.
	mostEmergencies = 3
	// EmergencyWindow is how far back emergencies count for that.
	EmergencyWindow = 24 * time.Hour
	// A review that nobody has signed is asked for again after twice as long each
	// time, but at least once a day, without end.
	firstReview   = 30 * time.Minute
	longestReview = 24 * time.Hour
)

// Review is somebody's signature under an emergency access: they have looked at
// what was done and why.
type Review struct {
	By UserID    `json:"by"`
	At time.Time `json:"at"`
}

// Sign is an approver's signature under an emergency.
type Sign struct{ By Actor }

// NeedsReview reports whether somebody must still sign for it. An emergency that
// was put to the approvers after all, before anything was written, owes no review
// until it opens.
func (g Grant) NeedsReview() bool {
	return g.Emergency && g.Review == nil && (g.Live() || g.Phase == Closed)
}

// TooMany refuses an emergency of somebody who has opened too many lately. It is
// for the moment at which the event is committed. recent are the grants that may
// count, whatever their phase: those that have not ended, and all that ended
// within [EmergencyWindow].
func TooMany(ev Event, recent []Grant, now time.Time) error {
	e, ok := ev.(Request)
	if !ok || !e.Emergency {
		return nil
	}
	n := 0
	for _, g := range recent {
		if g.Emergency && g.Requester == e.By.User && now.Sub(g.RequestedAt) < EmergencyWindow {
			n++
		}
	}
	if n < mostEmergencies {
		return nil
	}
	return Refuse(RateLimited, "You have opened %d emergencies within %s, and that is the most. Nothing was opened. Request access and have somebody approve it: `/breakglass grant`.", n, FormatDuration(EmergencyWindow))
}

// emergency opens at once.
func (g *Grant) emergency(now time.Time) []Effect {
	g.Emergency = true
	g.tell(now, Actor{Kind: Person, User: g.Requester}, "opened an emergency, without an approver")
	return append(g.begin(now), Effect{Kind: DoSay, Arg: SayEmergency, Due: now})
}

func (g Grant) maySign(by Actor) error {
	switch {
	case !by.approves():
		return Refuse(NotAllowed, "Only an approver may sign the review of %s, and you are not one of them. Nothing changed. Ask an approver to look at the card.", g.ID)
	case by.User == g.Requester:
		return Refuse(OwnRequest, "%s was your own emergency, so somebody else must review it. Nothing changed. Ask another approver.", g.ID)
	default:
		return nil
	}
}

func (g *Grant) sign(e Sign, now time.Time) ([]Effect, error) {
	if err := g.maySign(e.By); err != nil {
		return nil, err
	}
	switch {
	case !g.Emergency:
		return nil, Refuse(WrongPhase, "%s was no emergency, so it owes no review. Nothing changed.", g.ID)
	case g.Review != nil:
		return nil, Refuse(WrongPhase, "@%s has signed the review of %s already, at %s. Nothing changed, and nothing is left to do.", g.Review.By, g.ID, g.Review.At.Format("2006-01-02 15:04 UTC"))
	}
	g.Review = &Review{By: e.By.User, At: now}
	g.tell(now, e.By, "signed the review of the emergency")
	return []Effect{
		card(now),
		{Kind: DoRemind, Arg: RemindReview, Cancel: true},
		{Kind: DoSay, Arg: SayReviewed, Due: now},
	}, nil
}

// remindReview asks for the review until somebody has signed it.
func (g *Grant) remindReview(now time.Time) []Effect {
	if !g.NeedsReview() {
		return nil
	}
	g.Reviews++
	wait := min(firstReview<<min(g.Reviews, 10), longestReview)
	return []Effect{
		{Kind: DoSay, Arg: fmt.Sprintf("%s:%d", RemindReview, g.Reviews), Due: now, Once: true},
		{Kind: DoRemind, Arg: RemindReview, Due: now.Add(wait)},
	}
}
