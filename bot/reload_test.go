package bot_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

// reload puts other people and another policy in force, as SIGHUP does.
func (s *stage) reload(change func(*bot.People, *grant.Policy)) {
	s.t.Helper()
	people, policy := s.conf.people, s.conf.policy
	change(&people, &policy)
	what := store.Reloaded{Digest: strings.Repeat("0", 64), Changes: []store.Setting{{Key: "people.approvals"}}, Now: time.Now(), Ref: "RELOADED"}
	if err := s.bot.Reconfigure(people, policy, what); err != nil {
		s.t.Errorf("Reconfigure: %v", err)
		return
	}
	s.conf.people, s.conf.policy = people, policy
}

func onlyApprovers(ids ...grant.UserID) func(*bot.People, *grant.Policy) {
	return func(p *bot.People, _ *grant.Policy) { p.Approvers = bot.Circle{Users: ids} }
}

func TestReload_approverAdded(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.mia.presses("BG-1", "Approve").refused(s, "Nothing changed")
		s.reload(onlyApprovers(ben, eva, mia))
		s.mia.presses("BG-1", "Approve")
		s.until("BG-1", "Open until", "approved by @mia")
	}, quiet)
}

// Ben had approved and is no approver any more: his yes does not count, and Eva's is
// one of two.
func TestReload_approverRemovedWithHalfTheApprovals(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Approvals: 1 of 2: @ben")
		s.reload(onlyApprovers(eva, mia))
		s.eva.presses("BG-1", "Approve")
		s.until("BG-1", "Approvals: 1 of 2: @eva")
		s.phase("BG-1", grant.Requested)
		s.untouched()
		s.ben.presses("BG-1", "Approve").refused(s, "Nothing changed")
		s.mia.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
	}, quiet, approvals(2))
}

// A group's members are believed for a minute; a group that is configured no more is
// not, however fresh the answer.
func TestReload_groupRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.reload(onlyApprovers(eva))
		s.asks(strings.Replace(askProd, "48213", "48214", 1))
		s.ben.presses("BG-2", "Approve").refused(s, "Nothing changed")
		s.phase("BG-2", grant.Requested)
	}, quiet, byGroup)
}

// The approver goes while access is being opened: the door stays shut, although the
// opening was decided before.
func TestReload_whileOpening(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		var once atomic.Bool
		s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
			if c.Op == "PutRolePolicy" && once.CompareAndSwap(false, true) {
				s.reload(onlyApprovers(eva))
			}
			return nil
		})
		s.asks(askProd)
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "may not approve any more")
		for _, c := range s.world.Writes() {
			if c.Op == "UpdateAssumeRolePolicy" {
				t.Errorf("the trust policy was written on the word of nobody: %+v", c)
			}
		}
		if !once.Load() {
			t.Error("nothing was reloaded: the test shows nothing")
		}
	}, quiet)
}

// Lower limits are for what is asked for from now on; what was asked for before keeps
// what stands on its card.
func TestReload_limitLowered(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.reload(func(_ *bot.People, p *grant.Policy) { p.Limits.Max, p.Limits.Default = time.Hour, time.Hour })
		s.ana.says(askProd).wants(t, "is longer than the 1 h that is allowed here")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		if g := s.grant("BG-1"); g.Duration <= time.Hour {
			t.Errorf("BG-1 has %s, want what was asked for", g.Duration)
		}
	}, quiet)
}

// Reminders, like the number of approvals, are a grant's own from the request on.
func TestReload_remindersAndApprovals(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks(askProd)
		s.reload(func(_ *bot.People, p *grant.Policy) {
			p.Reminders, p.Approvals = grant.Reminders{Unsent: time.Minute}, 2
		})
		s.asks(strings.Replace(askProd, "48213", "48214", 1))
		before, after := s.grant("BG-1").Terms, s.grant("BG-2").Terms
		if before.Approvals != 1 || before.Reminders.Undecided != 10*time.Minute {
			t.Errorf("BG-1 lives by %+v, want what was in force when it was asked for", before)
		}
		if after.Approvals != 2 || after.Reminders.Unsent != time.Minute || after.Reminders.Undecided != 0 {
			t.Errorf("BG-2 lives by %+v, want what is in force now", after)
		}
	})
}

// Every reload is in the audit log, and one that would change the wiring is none.
func TestReload_auditedOrNot(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.reload(onlyApprovers(eva))
		for _, change := range []func(*grant.Policy){
			func(p *grant.Policy) { p.Cells = p.Cells[:1] },
			func(p *grant.Policy) { p.Vendor.Accounts = append(p.Vendor.Accounts[:1:1], "999900001111") },
			func(p *grant.Policy) { p.Settle = time.Second },
		} {
			policy := s.conf.policy
			change(&policy)
			if err := s.bot.Reconfigure(s.conf.people, policy, store.Reloaded{}); err == nil || !strings.Contains(err.Error(), "restart") {
				t.Errorf("Reconfigure answers %v, want that it takes a restart", err)
			}
		}
		n := 0
		for e, err := range s.db.Entries(1) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == store.KindReloaded {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d reloads are in the audit log, want 1", n)
		}
	}, quiet)
}

// Reloads go on while people click: nothing is raced for, and no click is lost.
func TestReload_amongClicks(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				list := []grant.UserID{ben, eva}
				s.reload(onlyApprovers(append(list, []grant.UserID{mia, rob}[i%2])...))
			}
		}()
		for range 3 {
			s.asks(askProd)
		}
		close(stop)
		<-stopped
		for _, id := range []string{"BG-1", "BG-2", "BG-3"} {
			s.ben.presses(id, "Approve")
			s.until(id, "Open until")
		}
	}, quiet)
}
