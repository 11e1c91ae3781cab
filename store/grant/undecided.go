package grant

// mostUndecided is how many requests of one person may wait for a decision at a
// time. Each has a card, and the channel takes about one message a second from
// everybody together.
const mostUndecided = 10

// TooManyUndecided refuses a request of somebody who has too many that nobody has
// decided. It is for the moment at which the event is committed. waiting are the
// grants that may count: all of that person's that have not ended, at least.
func TooManyUndecided(ev Event, waiting []Grant) error {
	e, ok := ev.(Request)
	if !ok || e.Emergency {
		return nil
	}
	var ids []ID
	for _, g := range waiting {
		if g.Phase == Requested && g.Requester == e.By.User {
			ids = append(ids, g.ID)
		}
	}
	if len(ids) < mostUndecided {
		return nil
	}
	return Refuse(RateLimited, "You have %d requests that nobody has decided yet, and that is the most: %s. Nothing was requested. Wait for a decision, or take one back: `/breakglass revoke %s`.", len(ids), listed(ids), ids[0])
}

// listed is ids as in a sentence: the first of them, and how many more.
func listed(ids []ID) string {
	const most = 20
	s := ""
	for i, id := range ids {
		switch {
		case i == most:
			return s + " and more"
		case i > 0:
			s += ", "
		}
		s += id.String()
	}
	return s
}
