package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// endDrift is how much the end may lie behind "now and the duration" when the
// trust is written. The end is computed just before the hard stop is put, so
// that hard stop and trust end at the same second; when the trust is written
// much later than that, both are computed again.
const endDrift = 2 * time.Second

// opening is one run of [AWS.Open].
type opening struct {
	a      *AWS
	cl     *clients
	cell   Cell
	grant  grant.Grant
	others []grant.Grant
	step   func(grant.StepChanged) error

	began time.Time // when the scene was read
	scene *scene
	role  role
	seen  trust.Document // as it was last read
	work  *roleWork

	end   time.Time // of the access
	fixed time.Time // the end to be written, of an extension; zero: it is computed
	early role      // read beside the hard stop, if at all
	ahead bool      // early is newer than anything we have written
}

// Open opens access: check → logging → hard stop → trust. Each step reads
// first, writes only what differs and reads back, so that it may be run again
// after a crash. step is told before and after each; where it answers with an
// error (the grant has been revoked meanwhile) nothing more is written and that
// error is returned. Else the error is a [*grant.Trouble].
//
// others are the other grants that may have access in the same account.
func (a *AWS) Open(ctx context.Context, g grant.Grant, others []grant.Grant, step func(grant.StepChanged) error) (grant.Access, error) {
	c, t := a.cell(g)
	if t != nil {
		return grant.Access{}, t
	}
	if t := a.legalPrincipal(g); t != nil {
		return grant.Access{}, t
	}
	ctx, written := recorded(ctx, g.ID)
	o := &opening{a: a, cl: a.clientsFor(c, g.ID), cell: c, grant: g, others: others, step: step}
	defer o.done()
	var access grant.Access
	for _, s := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{
		{grant.StepCheck, o.check},
		{grant.StepLogging, o.logging},
		{grant.StepHardStop, o.hardStop},
		{grant.StepTrust, func(ctx context.Context) (note string, err error) {
			access, note, err = o.trust(ctx)
			return note, err
		}},
	} {
		if err := step(grant.StepChanged{Step: s.name, State: grant.Running}); err != nil {
			return grant.Access{}, err
		}
		note, err := s.run(ctx)
		if err != nil {
			t := troubled(err, s.name, "the cell "+string(c.Name))
			t.Writes = written.take()
			a.log.WarnContext(ctx, "opening failed", "grant", g.ID.String(), "step", s.name, "kind", string(t.Kind), "error", t.Cause)
			return grant.Access{}, t
		}
		if err := step(grant.StepChanged{Step: s.name, State: grant.Done, Note: note, Writes: written.take()}); err != nil && s.name != grant.StepTrust {
			return grant.Access{}, err
		}
	}
	return access, nil
}

// legalPrincipal looks once more at whom the door is opened for. The request was
// checked when it was made; what was allowed then and is not any more is not
// opened.
func (a *AWS) legalPrincipal(g grant.Grant) *grant.Trouble {
	arn, err := grant.ParseRoleARN(string(g.Principal))
	if err == nil && len(a.vendor.Accounts) > 0 && !a.vendor.Allows(arn) {
		err = errors.New("it is not one of SingleStore's roles in the configuration")
	}
	if err == nil && g.Duration < time.Second {
		return &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepCheck, Text: "The access would be shorter than a second, so nothing was opened.",
			Remedy: "Request it again, for longer.",
		}
	}
	if err == nil {
		return nil
	}
	return &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepCheck,
		Text:   fmt.Sprintf("Access cannot be opened for %q: %s.", grant.Clean(string(g.Principal), 120), err),
		Remedy: "Check the ARN in the ticket and request access again.",
		Cause:  err,
	}
}

// check reads everything and refuses what a finding forbids.
func (o *opening) check(ctx context.Context) (string, error) {
	o.began = time.Now()
	o.scene = look(ctx, o.cl, o.cell)
	j := o.scene.judge(o.grant, nil)
	if list := j.Blocking(); len(list) > 0 {
		t := &grant.Trouble{Kind: grant.Refused, Step: grant.StepCheck, Text: list[0].Text, Remedy: list[0].Remedy, Cause: o.scene.causes()}
		if n := len(list) - 1; n > 0 {
			t.Text += fmt.Sprintf(" (And %s.)", count(n, "more finding"))
		}
		return "", t
	}
	if t := o.scene.passing(); t != nil {
		return "", t
	}
	if t := asApproved(o.grant, j.Report, o.scene.group); t != nil {
		return "", t
	}
	o.role, o.seen = j.role.role, j.trust
	o.work = o.a.work(o.role.arn)
	warnings := 0
	for _, f := range j.Findings {
		if f.Level == grant.Warning {
			warnings++
		}
	}
	if warnings > 0 {
		return fmt.Sprintf("%s, %s, %s", o.role.name, j.InstanceID, count(warnings, "warning")), nil
	}
	return o.role.name + ", " + j.InstanceID, nil
}

// causes are the errors behind the findings, for the log.
func (s *scene) causes() error {
	errs := []error{s.account, s.instErr, s.groupErr, s.prefsErr}
	for _, r := range s.roles {
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}

func (o *opening) logging(ctx context.Context) (string, error) {
	return o.a.enableLogging(ctx, o.cl, o.cell, o.scene.group, o.scene.prefs, func(left change) *grant.Trouble {
		return loggingAsApproved(o.grant, left, o.scene.group)
	})
}

// hardStop puts the policy that makes AWS itself refuse everything after the
// end. It comes before the trust, so that there is no moment in which
// credentials exist that nothing ends.
func (o *opening) hardStop(ctx context.Context) (string, error) {
	if err := o.work.lock.take(ctx); err != nil {
		return "", err
	}
	defer o.work.lock.give()
	more, err := o.easeCutOff(ctx)
	if err != nil {
		return "", err
	}
	o.computeEnd(time.Now())
	note, err := o.putStop(ctx)
	return note + more, err
}

// easeCutOff deals with a revocation of a moment ago, whose cut-off is still in
// the future: what is issued until then would be dead from birth, and
// SingleStore's engineer would not know why. Once that grant is proven closed
// the cut-off has done its work and is moved to now; as long as one is still
// closing it stays, and that is said. The role's lock is held.
func (o *opening) easeCutOff(ctx context.Context) (note string, err error) {
	cut := time.Time{} // where it could not be read there is nothing to ease
	if r := o.scene.read(o.role.arn); r.cutErr == nil {
		cut = r.cut
	}
	if date, newer := o.work.since(&o.work.cut, o.began); newer {
		cut = date
	}
	at := time.Now().UTC().Truncate(time.Second)
	if !cut.After(at) {
		return "", nil
	}
	if o.stillClosing() {
		return "; credentials that are issued before " + cut.Format("15:04:05 UTC") + " are refused, because another grant on this role is closing", nil
	}
	got, err := putDate(ctx, o.cl, o.role.name, cutOffName, at, cutOffPolicy, nil)
	if err != nil {
		return "", putTrouble(err, grant.StepHardStop, cutOffName, o.role)
	}
	o.work.note(&o.work.cut, got)
	return "", nil
}

// stillClosing reports whether another grant on the role is being closed.
func (o *opening) stillClosing() bool {
	for _, g := range o.others {
		if g.Phase == grant.Closing && onSameRole(g, o.grant, o.role.arn) {
			return true
		}
	}
	o.work.mu.Lock()
	defer o.work.mu.Unlock()
	return len(o.work.leaving) > 0
}

// computeEnd sets the end of the access: the one that stands in AWS already
// after a crash, or now and the duration, in whole seconds.
func (o *opening) computeEnd(at time.Time) {
	if !o.fixed.IsZero() {
		o.end = o.fixed
	} else if s, ok := standing(o.seen, o.grant, at); ok && !s.End.IsZero() {
		o.end = s.End
	} else {
		o.end = at.Add(o.grant.Duration).UTC().Truncate(time.Second)
	}
	o.work.mu.Lock()
	o.work.opening[o.grant.ID] = arriving{end: o.end, principal: o.grant.Principal}
	o.work.mu.Unlock()
}

// done takes the grant off the list of those that are arriving.
func (o *opening) done() {
	if o.work == nil {
		return
	}
	o.work.mu.Lock()
	delete(o.work.opening, o.grant.ID)
	o.work.mu.Unlock()
}

// putStop makes the hard stop fit the latest end on the role. The role's lock is
// held. While it is read back the trust policy is read, too: whatever comes next
// needs it as fresh as can be.
func (o *opening) putStop(ctx context.Context) (string, error) {
	current := o.currentStop()
	end := latest(o.end, o.a.latestEnd(o.work, o.role.arn, o.grant, o.others, o.seen))
	if !o.grant.Terms.AWSEnforced && (current.IsZero() || !current.Before(end)) {
		return "left out: AWS does not enforce the end here (limits.aws_enforced)", nil
	}
	text := "refuses everything after " + end.Format("2006-01-02 15:04:05 UTC")
	if current.Equal(end) {
		return text, nil
	}
	var (
		early role
		err   error
	)
	got, putErr := putDate(ctx, o.cl, o.role.name, hardStopName, end, hardStopPolicy, func() { early, err = readRole(ctx, o.cl, o.role.name) })
	if putErr != nil {
		return "", putTrouble(putErr, grant.StepHardStop, hardStopName, o.role)
	}
	o.work.note(&o.work.stop, got)
	o.early, o.ahead = early, err == nil && early.name != ""
	return text, nil
}

func (o *opening) currentStop() time.Time {
	if date, newer := o.work.since(&o.work.stop, o.began); newer {
		return date
	}
	if r := o.scene.read(o.role.arn); r.stopErr == nil {
		return r.stop
	}
	return time.Time{}
}

// latestEnd is the latest end of the other live grants on the role: those that
// we are told of, those whose statement stands in the trust policy, and those
// that are just arriving. What is closing does not count.
func (a *AWS) latestEnd(w *roleWork, roleARN string, g grant.Grant, others []grant.Grant, d trust.Document) time.Time {
	at := time.Now()
	leaves := map[grant.ID]bool{g.ID: true, g.Takes: true}
	var end time.Time
	for _, o := range others {
		if !onSameRole(o, g, roleARN) {
			continue
		}
		if o.Phase != grant.Opening && o.Phase != grant.Open {
			leaves[o.ID] = true
			continue
		}
		delete(leaves, o.ID)
		if o.End.After(at) {
			end = latest(end, o.End)
		}
	}
	end = latest(end, liveEnds(d, leaves, at))
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, o := range w.opening {
		if id != g.ID && o.end.After(at) {
			end = latest(end, o.end)
		}
	}
	return end.UTC()
}

// putTrouble says what it means that one of our inline policies was refused.
func putTrouble(err error, step, name string, r role) *grant.Trouble {
	f := sortError(err, true)
	t := f.trouble(step, "the inline policy "+name+" of "+r.what())
	switch {
	case f.is(codeLimitExceeded):
		t.Text = fmt.Sprintf("The role %s has no room for the inline policy %s (an account allows 10,240 characters of inline policies on a role).", r.name, name)
		t.Remedy = "Remove an inline policy from the role that nobody needs, or make it a managed one."
	case f.is(codeUnmodifiable):
		t.Text = fmt.Sprintf("Only an AWS service may change the role %s.", r.name)
		t.Remedy = "Let the operator name another role for the cell in the configuration."
	case f.is(codeNoSuchEntity):
		t.Text = fmt.Sprintf("The role %s has gone meanwhile.", r.name)
		t.Remedy = "Ask who has deleted it, then request access again."
	}
	return t
}

// trust writes the statement: read, edit, read again, and only if nothing has
// changed in between write, once; then read back until it is seen twice. The
// role's lock is held from reading to writing, and never while waiting: a
// revocation must not wait for an opening.
func (o *opening) trust(ctx context.Context) (grant.Access, string, error) {
	var (
		first   = o.role.document
		writes  int
		unseen  time.Duration // waited for the principal to be known to IAM
		lastErr error
	)
	for range changeTries + writeTries {
		w, err := o.writeOnce(ctx, &first, writes < writeTries)
		if err != nil {
			return grant.Access{}, "", o.trustTrouble(err, false)
		}
		if w.sent.String() != "" && w.err == nil { // written, or standing already
			access, sight, err := o.readBack(ctx, w.sent, w.before)
			switch {
			case err != nil:
				return grant.Access{}, "", o.trustTrouble(err, true)
			case sight == settled:
				access.TrustBefore = trust.Hash([]byte(cmp.Or(w.before, w.sent.String())))
				return access, o.until(), nil
			case sight == stale && w.before != "":
				return grant.Access{}, "", &grant.Trouble{
					Kind: grant.Unknown, Step: grant.StepTrust,
					Text:   fmt.Sprintf("The trust policy of %s was written, but AWS has not shown the change for %s.", o.role.name, visibleLimit),
					Remedy: "Nothing to do now: the bot looks again.", Cause: errUnsettled,
				}
			}
			first = "" // somebody has replaced it at once: begin again from theirs
			continue
		}
		if w.err == nil {
			continue // somebody has changed it: begin again from there
		}
		lastErr = w.err
		writes++
		f := sortError(w.err, true)
		wait := time.Second << (writes - 1)
		if who, ok := invalidPrincipal(f); ok && who == string(o.grant.Principal) && unseen < unseenLimit {
			// A role that was made just now is not known everywhere yet.
			wait = min(2*time.Second+unseen/2, unseenLimit-unseen)
			unseen += wait
			writes--
		} else if f.class != busy && f.class != lost && f.class != unreachable {
			return grant.Access{}, "", o.trustTrouble(w.err, true)
		}
		if err := pause(ctx, wait); err != nil {
			return grant.Access{}, "", o.trustTrouble(lastErr, true)
		}
	}
	if lastErr != nil {
		return grant.Access{}, "", o.trustTrouble(lastErr, true)
	}
	return grant.Access{}, "", &grant.Trouble{
		Kind: grant.Again, Step: grant.StepTrust,
		Text:   fmt.Sprintf("The trust policy of %s kept changing while the bot wanted to add its statement, so it did not.", o.role.name),
		Remedy: "Find out who else is changing it (Terraform, a person). The bot tries again by itself.",
	}
}

// written is what became of one attempt: sent is empty where nothing was.
type written struct {
	sent   trust.Document
	before string // the document that was replaced; empty: the statement stood already
	err    error  // of the write
}

// writeOnce reads, and writes if the document is still the one in first.
func (o *opening) writeOnce(ctx context.Context, first *string, mayWrite bool) (written, error) {
	if err := o.work.lock.take(ctx); err != nil {
		return written{}, err
	}
	defer o.work.lock.give()
	r, err := o.freshRole(ctx)
	if err != nil {
		return written{}, err
	}
	d, err := trust.Parse([]byte(r.document))
	if err != nil {
		return written{}, &unreadableError{what: "the trust policy of " + o.role.what(), err: err}
	}
	o.seen = d
	if !o.fixed.IsZero() {
		if d.Has(own(o.grant, o.fixed)) {
			return written{sent: d}, nil
		}
		if t := o.stillStands(d); t != nil {
			return written{}, t
		}
	} else if s, ok := standing(d, o.grant, time.Now()); ok {
		if !s.End.IsZero() {
			o.end = s.End
		}
		return written{sent: d}, nil
	}
	if r.document != *first || !mayWrite {
		*first = r.document
		return written{}, nil
	}
	if late := time.Since(o.end.Add(-o.grant.Duration)); o.fixed.IsZero() && late > endDrift+time.Second {
		o.computeEnd(time.Now())
		if _, err := o.putStop(ctx); err != nil {
			return written{}, err
		}
		if o.ahead && o.early.document != *first {
			*first = o.early.document
			return written{}, nil
		}
	}
	edited, t := o.edit(d)
	if t != nil {
		return written{}, t
	}
	o.ahead = false
	if err := writeTrust(ctx, o.cl, r.name, edited); err != nil {
		return written{sent: edited, before: d.String(), err: err}, nil
	}
	o.work.replaced(d.String(), edited.String(), time.Now())
	return written{sent: edited, before: d.String()}, nil
}

// unseenLimit is how long a principal that IAM does not know is tried.
const unseenLimit = 20 * time.Second

// freshRole is the trust policy at this moment. The reading that was made beside
// the hard stop's counts once.
func (o *opening) freshRole(ctx context.Context) (role, error) {
	if o.ahead && !o.work.isPast(o.early.document) {
		o.ahead = false
		return o.early, nil
	}
	o.ahead = false
	return readFresh(ctx, o.cl, o.work, o.role.name)
}

// edit adds the statement, or says why it cannot be added.
func (o *opening) edit(d trust.Document) (trust.Document, *grant.Trouble) {
	refuse := func(remedy, format string, args ...any) *grant.Trouble {
		return &grant.Trouble{Kind: grant.Refused, Step: grant.StepTrust, Text: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	if orphans := d.Orphans(); len(orphans) > 0 {
		return d, refuse(orphanRemedy(o.role.name, orphans), "The trust policy of %s names a role or user that has been deleted (%s), and IAM refuses every change while it is there.", o.role.name, values(orphans))
	}
	edited, err := withStatement(d, o.cell, own(o.grant, o.end), time.Now())
	if err != nil {
		t := refuse("Look at the trust policy of the role in the IAM console.", "The trust policy of %s cannot take the statement for %s.", o.role.name, o.grant.Principal)
		t.Cause = err
		return d, t
	}
	if edited.Size() > o.scene.quota {
		return d, refuse(quotaRemedy(o.role.name), "%s", quotaText(o.role.name, edited.Size(), o.scene.quota))
	}
	return edited, nil
}

func orphanRemedy(roleName string, orphans []trust.Mention) string {
	for _, m := range orphans {
		if id, ok := grant.ParseSid(m.Sid); ok {
			return fmt.Sprintf("Revoke %s, whose role SingleStore has deleted; then request access again.", id)
		}
	}
	return "Remove it: IAM console, role " + roleName + ", Trust relationships. (Revoking a grant removes it by itself.)"
}

func (o *opening) until() string {
	if !o.grant.Terms.AWSEnforced {
		return "open; the bot ends it at " + o.end.Format("2006-01-02 15:04:05 UTC")
	}
	return "open until " + o.end.Format("2006-01-02 15:04:05 UTC")
}

// readBack waits until the statement is seen twice, and answers the access as it
// stands in AWS. sent is what was written, before what it replaced.
func (o *opening) readBack(ctx context.Context, sent trust.Document, before string) (grant.Access, sight, error) {
	want := own(o.grant, o.end)
	d, s, err := settle(ctx, o.cl, o.role.name, before, func(d trust.Document) bool { return d.Has(want) })
	if err != nil || s != settled {
		return grant.Access{}, s, err
	}
	if !trust.EqualForeign(sent, d) {
		o.a.log.InfoContext(ctx, "somebody else changed the trust policy right after us, and that is kept", "grant", o.grant.ID.String(), "role", o.role.arn)
	}
	st, _ := d.Statement(want.Sid)
	access := grant.Access{
		At: now(), End: o.end, RoleARN: o.role.arn, RoleName: o.role.name,
		LogGroup: o.scene.group.name, Statement: string(st.Raw),
		TrustBefore: sent.Hash(), TrustAfter: d.Hash(),
	}
	if i, problem, _ := choose(o.scene.instances, o.cell); problem == "" {
		access.InstanceID = i.id
	}
	return access, settled, nil
}

// trustTrouble says what it means that the trust policy could not be changed.
func (o *opening) trustTrouble(err error, write bool) *grant.Trouble {
	if t, ok := asTrouble(err); ok {
		return t
	}
	f := sortError(err, write)
	t := f.trouble(grant.StepTrust, "the trust policy of "+o.role.what())
	who, invalid := invalidPrincipal(f)
	switch {
	case invalid && who == string(o.grant.Principal):
		t.Text = fmt.Sprintf("SingleStore's role %s does not exist (or was mistyped): IAM refuses to trust it. Nothing was opened.", who)
		t.Remedy = "Check the ARN in the ticket, ask SingleStore if it is right, and request access again."
	case invalid && who != "":
		t.Text = fmt.Sprintf("The trust policy of %s names %s, which does not exist, and IAM refuses every change while it is there. Nothing was opened.", o.role.name, who)
		t.Remedy = "Remove it: IAM console, role " + o.role.name + ", Trust relationships. Then request access again."
	case f.is(codeMalformed):
		t.Text = fmt.Sprintf("IAM does not take the new trust policy of %s (%s). Nothing was opened.", o.role.name, f.code)
		t.Remedy = "Look at the trust policy of the role in the IAM console, and at the bot's log for what IAM said."
	case f.is(codeLimitExceeded):
		size := 0
		if edited, err := withStatement(o.seen, o.cell, own(o.grant, o.end), time.Now()); err == nil {
			size = edited.Size()
		}
		t.Text = fmt.Sprintf("With this grant the trust policy of %s would have %d characters, and AWS says that this is more than the account allows (the bot assumed %d). Nothing was opened.", o.role.name, size, o.scene.quota)
		t.Remedy = quotaRemedy(o.role.name)
	case f.is(codeUnmodifiable):
		t.Text = fmt.Sprintf("Only an AWS service may change the role %s. Nothing was opened.", o.role.name)
		t.Remedy = "Let the operator name another role for the cell in the configuration."
	case f.is(codeNoSuchEntity):
		t.Text = fmt.Sprintf("The role %s has gone meanwhile. Nothing was opened.", o.role.name)
		t.Remedy = "Ask who has deleted it, then request access again."
	}
	return t
}
