package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// cutAhead is how far in the future the cut-off is put, as the console does it:
// credentials that are issued while the change still travels die, too (IAM User
// Guide, "Revoke IAM role temporary security credentials").
const cutAhead = 30 * time.Second

// cutSlack is by how much more a cut-off is put ahead where that makes it the last
// one: what follows the cut-off in a round has taken about as long.
const cutSlack = 5 * time.Second

// roundLimit bounds a round: the core looks again, and people see what is stuck.
const roundLimit = 75 * time.Second

// errRoundLimit says that a round took too long.
var errRoundLimit = errors.New("AWS was too slow for this round")

// closing is one run of [AWS.Close].
type closing struct {
	a      *AWS
	cl     *clients
	cell   Cell
	grant  grant.Grant
	others []grant.Grant

	names []string // of the role, as far as they are known before reading
	began time.Time

	account error
	role    role
	work    *roleWork
	gone    bool // the role does not exist
	still   []grant.ID
	left    trust.Document // the trust policy as it was last read; may be the zero value
	parsed  bool
	cut     time.Time // the cut-off as it was read at the beginning
	cutErr  error
	stop    time.Time
	stopErr error
}

// Close does one round of closing: trust, then credentials, and sessions beside
// both. Each is tried whatever becomes of the others. It is short: to wait, and
// to call it proven, is the core's business. others are the other grants that
// may have access in the same account.
func (a *AWS) Close(ctx context.Context, g grant.Grant, others []grant.Grant) grant.Round {
	cell, t := a.cell(g)
	if t != nil {
		return stuck(t)
	}
	ctx, written := recorded(ctx, g.ID)
	c := &closing{a: a, cl: a.clientsFor(cell, g.ID), cell: cell, grant: g, others: others, began: time.Now()}
	r := c.round(ctx)
	r.Writes = written.take()
	for _, x := range []struct {
		step string
		o    grant.Outcome
	}{{grant.StepTrust, r.Trust}, {grant.StepCredentials, r.Credentials}, {grant.StepSessions, r.Sessions}} {
		if t := x.o.Trouble; t != nil {
			a.log.WarnContext(ctx, "closing is not done", "grant", g.ID.String(), "step", x.step, "kind", string(t.Kind), "error", t.Cause)
		}
	}
	return r
}

// stuck is the round in which nothing could even be tried.
func stuck(t *grant.Trouble) grant.Round {
	at := func(step string) grant.Outcome {
		own := *t
		own.Step = step
		return grant.Outcome{Trouble: &own}
	}
	return grant.Round{Trust: at(grant.StepTrust), Credentials: at(grant.StepCredentials), Sessions: at(grant.StepSessions)}
}

func (c *closing) round(ctx context.Context) grant.Round {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errRoundLimit)
	defer cancel()
	var (
		r    grant.Round
		wait = make(chan struct{})
	)
	c.names = c.roleNames()
	// A grant that was opened has sessions to end, and its role's name is known:
	// that does not wait for IAM, whose control plane may be slow or away.
	atOnce := c.grant.Touched && len(c.names) == 1 && len(c.stillTrusted()) == 0
	go func() {
		defer close(wait)
		if c.account = c.cl.rightAccount(ctx, c.cell); c.account == nil && atOnce {
			c.endSessions(ctx, &r, c.names)
		}
	}()
	read, err := c.read(ctx)
	// Reading did not wait for the account, but every write does.
	if accountErr := c.cl.rightAccount(ctx, c.cell); accountErr != nil {
		<-wait
		return stuck(sortError(accountErr, false).trouble(grant.StepTrust, "the caller's account"))
	}
	c.still = c.stillTrusted()
	c.trust(ctx, &r, read, err)
	nothing := !c.grant.Touched && len(r.Removed) == 0 && r.Trust.Done
	switch {
	case len(c.still) > 0:
		r.StillTrusted = c.still
		note := "left alone: " + join(c.still) + " still needs them"
		r.Credentials = grant.Outcome{Skipped: true, Note: note}
		<-wait
		r.Sessions, r.Live, r.Ended = grant.Outcome{Skipped: true, Note: note}, nil, nil
		c.followStop(ctx, &r)
	case nothing:
		<-wait
		const note = "nothing was opened"
		r.Credentials = grant.Outcome{Skipped: true, Note: note}
		r.Sessions = grant.Outcome{Skipped: true, Note: note}
		c.followStop(ctx, &r)
	default:
		if r.Trust.Trouble == nil || c.parsed {
			c.credentials(ctx, &r)
		} else {
			// IAM has just let us down. One short try: it may be worse for reading
			// than for writing, but nobody should wait for it twice.
			short, cancel := context.WithTimeoutCause(ctx, attemptLimit, errRoundLimit)
			c.credentials(short, &r)
			cancel()
		}
		<-wait
		if !atOnce || len(r.Removed) > 0 {
			// Whoever came in before the trust was gone may have a session by now.
			c.endSessions(ctx, &r, c.sessionNames())
		}
	}
	return r
}

func join(ids []grant.ID) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return strings.Join(out, ", ")
}

// roleNames are the names that the grant's role may have. What was opened is
// known; else it is what the check has found, or what convention says.
func (c *closing) roleNames() []string {
	if a := c.grant.Access; a != nil && a.RoleName != "" {
		return []string{a.RoleName}
	}
	if r := c.grant.Report; r != nil && r.RoleName != "" {
		return []string{r.RoleName} // nothing else may have been opened
	}
	return c.cell.roleNames()
}

// sessionNames are the names whose sessions are the grant's.
func (c *closing) sessionNames() []string {
	if c.role.name != "" {
		return []string{c.role.name}
	}
	return c.names
}

// roleARN is the role's ARN, as well as it is known by now.
func (c *closing) roleARN() string {
	switch {
	case c.role.arn != "":
		return c.role.arn
	case c.grant.Access != nil:
		return c.grant.Access.RoleARN
	case c.grant.Report != nil:
		return c.grant.Report.RoleARN
	default:
		return ""
	}
}

// stillTrusted lists the other grants that keep the same principal trusted.
func (c *closing) stillTrusted() []grant.ID {
	var ids []grant.ID
	for _, o := range c.others {
		// One that has written nothing yet trusts nobody, and may never come to it:
		// who is inside now is not there by it, and would be left for nobody to end.
		if o.Phase != grant.Open && (o.Phase != grant.Opening || !o.Touched) {
			continue
		}
		if onSameRole(o, c.grant, c.roleARN()) && strings.EqualFold(string(o.Principal), string(c.grant.Principal)) {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// firstLook is the role as two readings at the beginning show it.
type firstLook struct{ x, y role }

// read reads the role twice, and our two policies, side by side. Where the
// role's name is not sure it takes the one that has the grant's statement.
func (c *closing) read(ctx context.Context) (firstLook, error) {
	type candidate struct {
		look      firstLook
		err       error
		cut, stop time.Time
		cutErr    error
		stopErr   error
	}
	list := make([]candidate, len(c.names))
	var work []func()
	for i, name := range c.names {
		k := &list[i]
		work = append(
			work,
			func() { k.look.x, k.look.y, k.err = readTwice(ctx, c.cl, name) },
			func() { k.cut, k.cutErr = readDate(ctx, c.cl, name, cutOffName, cutOffPolicy) },
			func() { k.stop, k.stopErr = readDate(ctx, c.cl, name, hardStopName, hardStopPolicy) },
		)
	}
	sideBySide(work...)
	// A role that could not be read may be the one; then nothing is known.
	var chosen *candidate
	for i := range list {
		k := &list[i]
		switch {
		case missing(k.err):
		case k.err != nil:
			return firstLook{}, k.err
		case chosen == nil, strings.Contains(k.look.y.document, `"`+c.grant.ID.Sid()+`"`):
			chosen = k
		}
	}
	if chosen == nil {
		c.gone = true
		return firstLook{}, nil
	}
	c.role = chosen.look.y
	c.cut, c.cutErr, c.stop, c.stopErr = chosen.cut, chosen.cutErr, chosen.stop, chosen.stopErr
	return chosen.look, nil
}

// trust is the first step of the round.
func (c *closing) trust(ctx context.Context, r *grant.Round, look firstLook, err error) {
	fail := func(err error, write bool) {
		r.Trust = grant.Outcome{Trouble: c.trustTrouble(err, write)}
	}
	switch {
	case err != nil:
		fail(err, false)
		return
	case c.gone:
		r.Trust = grant.Outcome{Done: true, Note: "the role does not exist any more, so it trusts nobody"}
		return
	}
	c.work = c.a.work(c.role.arn)
	x, errX := trust.Parse([]byte(look.x.document))
	y, errY := trust.Parse([]byte(look.y.document))
	if errX != nil || errY != nil {
		fail(&unreadableError{what: "the trust policy of " + c.role.what(), err: cmp.Or(errX, errY)}, false)
		return
	}
	c.left, c.parsed = y, true
	r.TrustBefore, r.TrustAfter = y.Hash(), y.Hash()
	want, barred := c.wanted()
	absent := func(d trust.Document) bool {
		edited, _, err := withoutStatements(d, c.cell, []leaving{want}, time.Now())
		return err == nil && edited.Equal(d)
	}
	note := "was gone already"
	if c.grant.Removal && len(c.still) > 0 {
		note = "left alone: it is " + join(c.still) + "'s now, and goes with it"
	}
	if !absent(x) || !absent(y) || c.work.isPast(look.x.document) || c.work.isPast(look.y.document) {
		done := c.remove(ctx, want, y.String(), absent)
		if done.before != "" {
			r.TrustBefore, r.TrustAfter = trust.Hash([]byte(done.before)), trust.Hash([]byte(done.before))
		}
		r.Removed = done.removed
		if done.err != nil {
			fail(done.err, true)
			return
		}
		c.left, r.TrustAfter = done.after, done.after.Hash()
		if len(r.Removed) > 0 {
			note = "removed " + strings.Join(r.Removed, "; ")
		}
	}
	if barred != nil {
		fail(barred, false)
		return
	}
	r.Trust = grant.Outcome{Done: true, Note: note}
	c.judgeRest(r, want)
}

// wanted is what the grant wants gone from the trust policy, and why that cannot
// be all. Where nothing was opened it is its own statement alone: what people
// wrote is not ours to end.
func (c *closing) wanted() (leaving, *grant.Trouble) {
	want := leaving{id: c.grant.ID}
	if !c.grant.Touched {
		return want, nil
	}
	// An id may be given again after the database was lost: then the statement
	// that had outlived its grant is a live one's now.
	if !slices.ContainsFunc(c.others, func(o grant.Grant) bool {
		return o.ID == c.grant.Takes && (o.Phase == grant.Opening || o.Phase == grant.Open)
	}) {
		want.takes = c.grant.Takes
	}
	principal := string(c.grant.Principal)
	switch {
	case len(c.still) > 0:
	case c.grant.Removal && c.grant.Takes != 0 && !c.vendors(principal):
		// Somebody has put another name into a statement of ours. The statement
		// goes; what the same name has in people's own statements is its business.
	case principal == "" || principal == "*":
		return want, &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepTrust,
			Text:   fmt.Sprintf("The bot does not take the principal %q out of the trust policy of %s: it names nobody in particular.", principal, c.role.name),
			Remedy: "Narrow the statements that name it: IAM console, role " + c.role.name + ", Trust relationships.",
		}
	default:
		want.principal = principal
	}
	return want, nil
}

// vendors reports whether a principal is SingleStore's, or of somebody deleted,
// of whom it cannot be told.
func (c *closing) vendors(principal string) bool {
	return trust.IsOrphan(principal) || c.a.isVendorAccount(trust.AccountOf(principal))
}

// judgeRest looks for trust that remains by statements that are too wide to be
// taken out: those name more than what is to go, so only a person can say what of
// them must stay. As long as one is there nothing is closed.
func (c *closing) judgeRest(r *grant.Round, want leaving) {
	if want.principal == "" {
		return
	}
	rest, err := c.left.Trusts(want.principal, time.Now())
	if err != nil {
		return // it can only have been named as it is, and that has gone
	}
	for _, t := range rest {
		if t.Maybe {
			r.Trust.Note += fmt.Sprintf("; a statement that people wrote may trust it on a condition (%s)", nameOf(t.Mention))
			continue
		}
		r.Trust = grant.Outcome{Trouble: &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepTrust,
			Text:   fmt.Sprintf("%s is still trusted by %s, through %s in a statement that people wrote (%s). The bot does not touch that, and cannot call this closed.", want.principal, c.role.name, via(t), nameOf(t.Mention)),
			Remedy: "Narrow or remove that statement: IAM console, role " + c.role.name + ", Trust relationships. The bot goes on by itself then.",
		}}
		return
	}
}

// removal is a grant's wait for its statement to be taken out, and the answer.
type removal struct {
	want leaving
	done bool
	removedTrust
}

// removedTrust is what became of it.
type removedTrust struct {
	before  string
	after   trust.Document
	removed []string
	err     error
}

// remove takes the grant's statement out of the trust policy, together with
// those of every other grant that waits for the same: a thousand grants may end
// in one second, and IAM takes a write to a role at a time.
func (c *closing) remove(ctx context.Context, want leaving, first string, absent func(trust.Document) bool) removedTrust {
	own := &removal{want: want}
	w := c.work
	w.mu.Lock()
	w.leaving[want.id] = own
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		if w.leaving[want.id] == own {
			delete(w.leaving, want.id)
		}
		w.mu.Unlock()
	}()
	if err := w.lock.take(ctx); err != nil {
		return removedTrust{err: err}
	}
	defer w.lock.give()
	w.mu.Lock()
	done := own.done
	w.mu.Unlock()
	if done {
		return own.removedTrust
	}
	return c.lead(ctx, own, first, absent)
}

// lead carries out all the removals that wait. The role's lock is held.
func (c *closing) lead(ctx context.Context, own *removal, first string, absent func(trust.Document) bool) removedTrust {
	var (
		removed = make(map[grant.ID][]string)
		served  []*removal
		before  string
		writes  int
		lastErr error
	)
	fail := func(err error) removedTrust {
		return removedTrust{before: before, removed: removed[own.want.id], err: err}
	}
	for range changeTries + writeTries {
		r, err := readFresh(ctx, c.cl, c.work, c.role.name)
		if err != nil {
			return fail(err)
		}
		if r.document != first {
			first = r.document // somebody has changed it: begin again from there
			continue
		}
		d, err := trust.Parse([]byte(r.document))
		if err != nil {
			return fail(&unreadableError{what: "the trust policy of " + c.role.what(), err: err})
		}
		list := c.waiting()
		wants := make([]leaving, len(list))
		for i, x := range list {
			wants[i] = x.want
		}
		edited, words, err := withoutStatements(d, c.cell, wants, time.Now())
		if err != nil {
			return fail(err)
		}
		if writes == 0 || !edited.Equal(d) {
			before = d.String()
		}
		if edited.Equal(d) {
			after, s, err := settle(ctx, c.cl, r.name, "", absent)
			if err != nil {
				return fail(err)
			}
			if s != settled {
				first = ""
				continue
			}
			return c.serve(own, served, before, after, removed)
		}
		if writes >= writeTries {
			break
		}
		writes++
		if err = writeTrust(ctx, c.cl, r.name, edited); err == nil {
			c.work.replaced(d.String(), edited.String(), time.Now())
		} else if f := sortError(err, true); f.class != busy && f.class != lost && f.class != unreachable && !passes(f) {
			return fail(err)
		}
		if lastErr = err; err != nil {
			if err := pause(ctx, time.Second<<(writes-1)); err != nil {
				return fail(lastErr)
			}
			// It may have been done all the same.
			if r, err := readRole(ctx, c.cl, r.name); err != nil || r.document == d.String() {
				continue
			}
		}
		for id, w := range words {
			removed[id] = append(removed[id], w...)
		}
		served = list
		after, s, err := settle(ctx, c.cl, r.name, d.String(), func(d trust.Document) bool {
			same, _, err := withoutStatements(d, c.cell, wants, time.Now())
			return err == nil && same.Equal(d)
		})
		switch {
		case err != nil:
			return fail(err)
		case s == settled:
			if !trust.EqualForeign(edited, after) {
				c.a.log.InfoContext(ctx, "somebody else changed the trust policy right after us, and that is kept", "grant", c.grant.ID.String(), "role", c.role.arn)
			}
			return c.serve(own, served, before, after, removed)
		case s == stale:
			return fail(&grant.Trouble{
				Kind: grant.Unknown, Step: grant.StepTrust,
				Text:   fmt.Sprintf("The trust policy of %s was written without %s, but AWS has not shown the change for %s.", c.role.name, c.goes(), visibleLimit),
				Remedy: "Nothing to do now: the bot looks again.", Cause: errUnsettled,
			})
		}
		first = "" // somebody has put it back at once: begin again from theirs
	}
	if lastErr == nil {
		lastErr = &grant.Trouble{
			Kind: grant.Again, Step: grant.StepTrust,
			Text:   fmt.Sprintf("The trust policy of %s keeps changing while the bot wants to take out %s.", c.role.name, c.goes()),
			Remedy: "Find out who else is changing it (Terraform, a person). The bot tries again by itself.",
		}
	}
	return fail(lastErr)
}

// passes reports whether a refusal may pass by itself: a role or user that has
// just been deleted still reads as its ARN for a moment, and then as an orphan,
// which the next try takes out.
func passes(f failure) bool {
	_, ok := invalidPrincipal(f)
	return ok
}

// waiting lists the removals that wait for the lock, this one among them.
func (c *closing) waiting() []*removal {
	w := c.work
	w.mu.Lock()
	defer w.mu.Unlock()
	needed := make(map[string]bool) // by grants that are just arriving
	for _, o := range w.opening {
		needed[string(o.principal)] = true
	}
	arrives := func(id grant.ID) bool { _, ok := w.opening[id]; return ok }
	list := make([]*removal, 0, len(w.leaving))
	for _, x := range w.leaving {
		own := *x
		if needed[own.want.principal] {
			own.want.principal = ""
		}
		if arrives(own.want.takes) {
			own.want.takes = 0
		}
		list = append(list, &own)
	}
	slices.SortFunc(list, func(a, b *removal) int {
		switch {
		case a.want.id == c.grant.ID:
			return -1
		case b.want.id == c.grant.ID:
			return 1
		case a.want.id < b.want.id:
			return -1
		default:
			return 1
		}
	})
	return list
}

// serve hands the answer to those who waited.
func (c *closing) serve(own *removal, served []*removal, before string, after trust.Document, removed map[grant.ID][]string) removedTrust {
	w := c.work
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range served {
		if x, ok := w.leaving[s.want.id]; ok && x != own && x.want == s.want {
			x.done = true
			x.removedTrust = removedTrust{before: before, after: after, removed: removed[s.want.id]}
		}
	}
	return removedTrust{before: before, after: after, removed: removed[own.want.id]}
}

// trustTrouble says what it means that the statement could not be taken out.
func (c *closing) trustTrouble(err error, write bool) *grant.Trouble {
	if t, ok := asTrouble(err); ok {
		return t
	}
	name := c.role.name
	if name == "" && len(c.names) > 0 {
		name = c.names[0]
	}
	f := sortError(err, write)
	t := f.trouble(grant.StepTrust, "the trust policy of the role "+name)
	if who, ok := invalidPrincipal(f); ok {
		t.Text = fmt.Sprintf("IAM does not take the trust policy of %s without what is to go, because another statement names %s, which does not exist.", name, who)
		t.Remedy = "Remove both by hand: IAM console, role " + name + ", Trust relationships: " + c.goes() + ", and " + who + "."
		return t
	}
	if t.Kind == grant.Refused {
		t.Remedy = "If it is urgent, remove it by hand (IAM console, role " + name + ", Trust relationships): " + c.goes() + ". " + t.Remedy
	}
	return t
}

// goes names for people what is to go from the trust policy.
func (c *closing) goes() string {
	own, taken := "the statement "+c.grant.ID.Sid(), "the statement "+c.grant.Takes.Sid()
	switch {
	case c.grant.Removal && c.grant.Takes != 0:
		return taken
	case c.grant.Removal:
		return "the principal " + string(c.grant.Principal)
	case c.grant.Takes != 0:
		return own + " and " + taken
	default:
		return own
	}
}

// followStop makes the hard stop fit the grants that remain on the role. Where
// none remain it stays: it refuses what should be refused anyway.
func (c *closing) followStop(ctx context.Context, r *grant.Round) {
	if c.gone || !c.parsed || c.stop.IsZero() || c.stopErr != nil {
		return
	}
	if t := c.fitStop(ctx); t != nil {
		r.Credentials = grant.Outcome{Trouble: t}
	}
}

func (c *closing) fitStop(ctx context.Context) *grant.Trouble {
	end := c.a.latestEnd(c.work, c.role.arn, c.grant, c.others, c.left)
	if end.IsZero() || end.Equal(c.stop) {
		return nil
	}
	if err := c.work.lock.take(ctx); err != nil {
		return sortError(err, false).trouble(grant.StepCredentials, "the inline policy "+hardStopName+" of "+c.role.what())
	}
	defer c.work.lock.give()
	// Others may have moved it while we waited, and know of grants that we do not.
	end = c.a.latestEnd(c.work, c.role.arn, c.grant, c.others, c.left)
	if date, newer := c.work.since(&c.work.stop, c.began); newer && !date.Before(end) || end.IsZero() {
		return nil
	}
	got, err := putDate(ctx, c.cl, c.role.name, hardStopName, end, hardStopPolicy, nil)
	if err != nil {
		return putTrouble(err, grant.StepCredentials, hardStopName, c.role)
	}
	c.work.note(&c.work.stop, got)
	return nil
}

// credentials is the second step: what was issued dies. It comes after the
// trust, or else one could come in again behind the cut-off.
func (c *closing) credentials(ctx context.Context, r *grant.Round) {
	name := c.role
	if name.name == "" {
		if c.gone {
			r.Credentials = grant.Outcome{Skipped: true, Note: "the role does not exist any more, and its credentials with it"}
			return
		}
		// It could not be read; it may be possible to write to it all the same.
		name = role{name: c.names[0], arn: cmp.Or(c.roleARN(), c.names[0])}
		c.cutErr = r.Trust.Trouble
	}
	work := c.a.work(name.arn)
	var stop *grant.Trouble
	if c.parsed && !c.stop.IsZero() && c.stopErr == nil {
		stop = c.fitStop(ctx)
	}
	cut, t := c.cutOff(ctx, work, name, len(r.Removed) > 0)
	switch {
	case t != nil:
		r.Credentials = grant.Outcome{Trouble: t}
	case stop != nil:
		r.CutOff, r.Credentials = cut, grant.Outcome{Trouble: stop}
	default:
		r.CutOff = cut
		r.Credentials = grant.Outcome{Done: true, Note: "everything issued before " + cut.Format("15:04:05 UTC") + " is refused"}
	}
}

// cutOff makes sure that there is a cut-off that is late enough: after the trust
// went, and in the end after it has surely gone everywhere.
func (c *closing) cutOff(ctx context.Context, work *roleWork, r role, removed bool) (time.Time, *grant.Trouble) {
	settledAt := time.Now()
	if e := c.grant.Ending; e != nil && !e.TrustGoneAt.IsZero() {
		settledAt = e.TrustGoneAt
	}
	settledAt = settledAt.Add(c.grant.Terms.Settle)
	enough := func(cut time.Time) bool {
		return !cut.IsZero() && (!cut.Before(time.Now()) || !cut.Before(settledAt))
	}
	if !removed && c.cutErr == nil && enough(c.cut) {
		return c.cut, nil
	}
	if err := work.lock.take(ctx); err != nil {
		return time.Time{}, sortError(err, false).trouble(grant.StepCredentials, "the inline policy "+cutOffName+" of "+r.what())
	}
	defer work.lock.give()
	if cut, newer := work.since(&work.cut, c.began); newer && enough(cut) {
		return cut, nil // another closing on this role has just put and read it
	}
	at := time.Now().Add(cutAhead).UTC().Truncate(time.Second)
	if short := settledAt.Sub(at); short > 0 && short <= cutSlack {
		at = at.Add(short).Truncate(time.Second).Add(time.Second) // the last one, then
	}
	got, err := putDate(ctx, c.cl, r.name, cutOffName, at, cutOffPolicy, nil)
	if err != nil {
		t := putTrouble(err, grant.StepCredentials, cutOffName, r)
		if t.Kind == grant.Refused {
			t.Remedy = "If it is urgent, press Revoke active sessions by hand: IAM console, role " + r.name + ", Revoke sessions. " + t.Remedy
		}
		return time.Time{}, t
	}
	work.note(&work.cut, got)
	return got, nil
}

// endSessions is the third step: one look, and everybody told to end. A second
// look in the same round adds to what the first has found.
func (c *closing) endSessions(ctx context.Context, r *grant.Round, names []string) {
	var trouble *grant.Trouble
	for _, name := range names {
		live, told, t := sweep(ctx, c.cl, c.cell, name)
		r.Live, r.Ended = merge(r.Live, live), merge(r.Ended, told)
		if trouble == nil {
			trouble = t
		}
	}
	if trouble != nil {
		r.Sessions = grant.Outcome{Trouble: trouble}
		return
	}
	note := "none live"
	if n := len(r.Live); n > 0 {
		note = count(n, "session") + " live, all told to end"
	}
	r.Sessions = grant.Outcome{Done: true, Note: note}
}

func merge(list, more []grant.Session) []grant.Session {
	for _, s := range more {
		if !slices.ContainsFunc(list, func(o grant.Session) bool { return o.ID == s.ID }) {
			list = append(list, s)
		}
	}
	return list
}
