package actions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// Extend has AWS enforce a later end of an open grant, g.Extension.Until: first
// the hard stop, then the statement's own date, each read back, so that at no
// moment anything lasts longer than was approved. It may be run again after a
// crash. A statement that is not there any more is not put back: whoever took it
// out wanted access to end.
//
// others are the other grants that may have access in the same account. An error
// is a [*grant.Trouble].
func (a *AWS) Extend(ctx context.Context, g grant.Grant, others []grant.Grant) (grant.Access, error) {
	c, t := a.cell(g)
	if t != nil {
		return grant.Access{}, t
	}
	if g.Access == nil || !g.Extension.Doing() {
		return grant.Access{}, &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepCheck, Text: "There is no approved extension to carry out.", Remedy: "Ask for more time again.",
		}
	}
	until := g.Extension.Until.UTC().Truncate(time.Second)
	if !g.Terms.AWSEnforced {
		access := *g.Access
		access.At, access.End = now(), until
		return access, nil // AWS was never told the end
	}
	ctx, written := recorded(ctx, g.ID)
	fail := func(err error, step string) (grant.Access, error) {
		t := troubled(err, step, "the cell "+string(c.Name))
		t.Writes = written.take()
		return grant.Access{}, t
	}
	o := &opening{
		a: a, cl: a.clientsFor(c, g.ID), cell: c, grant: g, others: others, fixed: until,
		step: func(grant.StepChanged) error { return nil },
	}
	defer o.done()
	if t := o.checkExtension(ctx); t != nil {
		return grant.Access{}, t
	}
	if _, err := o.moveStop(ctx); err != nil {
		return fail(err, grant.StepHardStop)
	}
	access, _, err := o.trust(ctx)
	if err != nil {
		return fail(err, grant.StepTrust)
	}
	// What was opened stays what it was; only its end has moved.
	moved := *g.Access
	moved.At, moved.End, moved.Statement = access.At, access.End, access.Statement
	moved.TrustAfter, moved.Writes = access.TrustAfter, written.take()
	return moved, nil
}

// checkExtension reads the cell and refuses where there is nothing to extend.
func (o *opening) checkExtension(ctx context.Context) *grant.Trouble {
	o.began = time.Now()
	o.scene = look(ctx, o.cl, o.cell)
	r, problem := o.scene.found()
	switch {
	case o.scene.account != nil:
		return troubled(o.scene.account, grant.StepCheck, "the caller's account")
	case problem != nil:
		if t := o.scene.passing(); t != nil {
			return t
		}
		return &grant.Trouble{Kind: grant.Refused, Step: grant.StepCheck, Text: problem.Text, Remedy: problem.Remedy, Cause: o.scene.causes()}
	case !strings.EqualFold(r.arn, o.grant.Access.RoleARN):
		return &grant.Trouble{
			Kind: grant.Refused, Step: grant.StepCheck,
			Text:   fmt.Sprintf("The role is %s now, but access was opened on %s.", r.arn, o.grant.Access.RoleARN),
			Remedy: "Revoke it and request access again.",
		}
	}
	d, err := trust.Parse([]byte(r.document))
	if err != nil {
		return troubled(&unreadableError{what: "the trust policy of " + r.what(), err: err}, grant.StepTrust, "the trust policy of "+r.what())
	}
	o.role, o.seen, o.work = r.role, d, o.a.work(r.arn)
	if o.work.isPast(r.document) {
		return nil // an old answer; it is read again before anything is written
	}
	return o.stillStands(d)
}

// stillStands refuses to extend what somebody has taken out or changed.
func (o *opening) stillStands(d trust.Document) *grant.Trouble {
	if d.Has(own(o.grant, o.grant.Access.End)) || d.Has(own(o.grant, o.fixed)) {
		return nil
	}
	return &grant.Trouble{
		Kind: grant.Refused, Step: grant.StepTrust,
		Text:   fmt.Sprintf("The statement %s in the trust policy of %s is not as it was opened, so it was not extended.", o.grant.ID.Sid(), o.role.name),
		Remedy: "Find out who changed it. Then revoke it and request access again.",
	}
}

// moveStop moves the hard stop to the later end.
func (o *opening) moveStop(ctx context.Context) (string, error) {
	if err := o.work.lock.take(ctx); err != nil {
		return "", err
	}
	defer o.work.lock.give()
	o.computeEnd(time.Now())
	return o.putStop(ctx)
}
