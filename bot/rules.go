package bot

import (
	"errors"
	"fmt"
	"slices"

	"breakglass/store"
	"breakglass/store/grant"
)

// rules are one configuration, whole: who may do what, and within what bounds. They
// never change once they are made, only others take their place, so that whoever
// holds them decides by one configuration and not by halves of two.
type rules struct {
	dir    *directory
	people People
	policy grant.Policy
}

// rules answers those in force. What is decided in several steps takes them once.
func (b *Bot) rules() *rules { return b.ruled.Load() }

// errUnheard is the answer to a decision that was made by rules which were replaced
// meanwhile.
var errUnheard = grant.Refuse(grant.CannotTell, "The configuration of this bot was changed at this very moment, so nothing was decided and nothing changed. Try again.")

// underRules does what takes a decision in, if the rules by which it was made are in
// force still, and holds up others until it is done. Where [Bot.Reconfigure] has come
// back, nothing is taken in any more that was decided before.
//
// Only what adds access is held to that. What takes access away, or changes none, does
// no harm a moment late.
func (b *Bot) underRules(r *rules, ev grant.Event, do func() error) error {
	switch ev.(type) {
	case grant.Request, grant.Approve, grant.Extend, grant.ApproveExtension, grant.Sign:
	default:
		return do()
	}
	b.ruling.RLock()
	defer b.ruling.RUnlock()
	if r != b.rules() {
		return errUnheard
	}
	return do()
}

// Reconfigure puts other people and another policy in force, all at once: each click
// is decided by the old ones or by the new ones. It may be called at any time, while
// the bot runs or before. The cells, their accounts and regions, SingleStore's roles and
// the time that closing waits must be those that the bot was made with; the numbers of
// approvals, the limits and the reminders may be others. What was changed goes into the
// audit log first. An error means that nothing has changed.
//
// What a grant is to live by was fixed when it was requested ([grant.Terms]) and stays:
// the number of approvals, the reminders, who enforces the end, how long it may be
// undecided. Whose approval counts does not: it is looked at anew before the door opens
// and before an end is moved, by what is in force then.
func (b *Bot) Reconfigure(people People, policy grant.Policy, what store.Reloaded) error {
	old := b.rules()
	if err := sameHouse(old.policy, policy); err != nil {
		return fmt.Errorf("reconfigure: %w", err)
	}
	b.ruling.Lock()
	defer b.ruling.Unlock()
	if err := b.o.Store.Reloaded(what); err != nil {
		return fmt.Errorf("reconfigure: %w", err)
	}
	// What Slack has said of people and groups is asked anew: whoever reloads has
	// perhaps just changed a group, too.
	b.people.forget()
	b.ruled.Store(&rules{dir: b.people, people: people, policy: policy})
	b.homes.stale()
	return nil
}

// sameHouse answers what differs between two policies and takes a restart; nil: nothing.
func sameHouse(old, other grant.Policy) error {
	if !slices.Equal(old.Vendor.Accounts, other.Vendor.Accounts) || !slices.Equal(old.Vendor.Roles, other.Vendor.Roles) {
		return errors.New("other roles of SingleStore take a restart")
	}
	if old.Settle != other.Settle {
		return errors.New("another time to settle takes a restart")
	}
	same := slices.EqualFunc(old.Cells, other.Cells, func(a, b grant.Cell) bool {
		a.Approvals, b.Approvals = 0, 0
		return a == b
	})
	if !same {
		return errors.New("other cells take a restart")
	}
	return nil
}
