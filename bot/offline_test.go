package bot_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/bot"
	"breakglass/store"
	"breakglass/store/grant"
)

var root = grant.Actor{Kind: grant.Operator, Name: "root (uid 0)"}

// offline is an operator at a shell, with the database and AWS, and no bot.
type offline struct {
	s     *stage
	hands bot.AWS
	heard []grant.Grant
}

// offline stops the bot, if it runs, and opens its database.
func (s *stage) offline() *offline {
	s.t.Helper()
	if s.ended != nil {
		s.stop()
	}
	hands, err := actions.New(s.t.Context(), actions.Options{
		Cells: []actions.Cell{
			{Name: prod, Account: "444455556666", Region: "us-east-1", EKSCluster: prod},
			{Name: test, Account: "444455556666", Region: "eu-west-1", EKSCluster: test},
		},
		Vendor: s.conf.policy.Vendor, HTTPClient: &http.Client{Transport: s.world.HTTPClient().Transport},
	})
	if err != nil {
		s.t.Fatalf("actions.New: %v", err)
	}
	if s.db, err = store.Open(s.path); err != nil {
		s.t.Fatalf("store.Open: %v", err)
	}
	return &offline{s: s, hands: hands}
}

func (o *offline) revokes(ids ...string) {
	o.s.t.Helper()
	for _, id := range ids {
		if _, err := o.s.db.Commit(store.Change{Grant: o.s.grant(id).ID, Event: grant.Revoke{By: root}, Now: time.Now()}); err != nil {
			o.s.t.Fatalf("revoking %s: %v", id, err)
		}
	}
}

// finishes runs Finish, and answers what it left.
func (o *offline) finishes(ctx context.Context, ids ...string) []grant.Grant {
	o.s.t.Helper()
	list := make([]grant.ID, len(ids))
	for i, id := range ids {
		list[i], _ = grant.ParseID(id)
	}
	left, err := bot.Finish(ctx, bot.Options{Store: o.s.db, AWS: o.hands, Log: slog.New(slog.NewTextHandler(o.s.log, nil))}, list, func(g grant.Grant) {
		o.heard = append(o.heard, g)
	})
	if err != nil {
		o.s.t.Fatalf("Finish: %v", err)
	}
	return left
}

// leaves lets the database go.
func (o *offline) leaves() {
	o.s.t.Helper()
	if err := o.s.db.Close(); err != nil {
		o.s.t.Errorf("closing the database: %v", err)
	}
}

func (o *offline) closed(ids ...string) {
	o.s.t.Helper()
	for _, id := range ids {
		if g := o.s.grant(id); g.Phase != grant.Closed {
			o.s.t.Errorf("%s is %s, want closed\n%s", id, g.Phase, o.s.log)
		}
	}
}

// No bot runs. The operator revokes on the database: trust, credentials and shells
// end and are proven, Slack hears nothing, and the bot posts the rest when it is back.
func TestFinish_closesWithoutSlack(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(askProd)
		_, shell := s.visits()
		o := s.offline()
		calls := len(s.slack.Calls(""))
		o.revokes("BG-1")
		began := time.Now()
		if left := o.finishes(t.Context(), "BG-1"); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
		if took := time.Since(began); took < grant.DefaultSettle+30*time.Second || took > grant.DefaultSettle+50*time.Second {
			t.Errorf("the proof took %s", took)
		}
		o.closed("BG-1")
		s.shut(s.cell)
		if !ended(shell) {
			t.Error("the shell is still open")
		}
		if n := len(s.slack.Calls("")) - calls; n != 0 {
			t.Errorf("Slack was called %d times", n)
		}
		if strings.Contains(s.card("BG-1").Text, "Closed") {
			t.Error("somebody has edited the card")
		}
		if first, last := o.heard[0].Phase, o.heard[len(o.heard)-1].Phase; first != grant.Closing || last != grant.Closed || len(o.heard) < 4 {
			t.Errorf("%d changes were heard of, from %s to %s", len(o.heard), first, last)
		}
		audited := 0
		for e, err := range s.db.Entries(1) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == grant.KindRevoke && e.Actor == root {
				audited++
			}
		}
		if audited != 1 {
			t.Errorf("%d entries of the audit log say that the operator revoked it, want 1", audited)
		}
		o.leaves()
		s.start()
		s.proven("BG-1")
		s.once("and proven")
		if text := s.once("BG-1", "Ended:"); !strings.Contains(text, "operator root (uid 0)") {
			t.Errorf("the proof does not say who revoked it:\n%s", text)
		}
	}, quiet)
}

// The operator presses Ctrl-C: it stops at once, whatever AWS does, and says what
// is left. Called again it goes on.
func TestFinish_stops(t *testing.T) {
	for name, faults := range map[string][]awssim.Fault{
		"while it watches":          nil,
		"while AWS does not answer": {hangingAWS},
		"while AWS refuses":         {{Kind: awssim.Deny}},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.opens(askProd)
			o := s.offline()
			o.revokes("BG-1")
			var mend []func()
			for _, f := range faults {
				f.Account = s.cell.Account.ID()
				mend = append(mend, s.world.Inject(f))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 13*time.Second)
			defer cancel()
			began := time.Now()
			left := o.finishes(ctx, "BG-1")
			if took := time.Since(began); took > 23*time.Second {
				t.Errorf("it stopped %s after it was told to", took-13*time.Second)
			}
			if len(left) != 1 || left[0].Phase != grant.Closing {
				t.Fatalf("left: %v", left)
			}
			if by := bot.ByHand(left[0]); !strings.Contains(by, "aws ") {
				t.Errorf("by hand:\n%s", by)
			}
			for _, f := range mend {
				f()
			}
			if left := o.finishes(t.Context(), "BG-1"); len(left) != 0 {
				t.Fatalf("left: %v", left)
			}
			o.closed("BG-1")
			s.shut(s.cell)
			o.leaves()
			s.start()
			s.proven("BG-1")
		}, quiet)
	}
}

// AWS is in trouble for a while: it is tried until it is done.
func TestFinish_goesOnWhateverFails(t *testing.T) {
	for what, kind := range kinds {
		for _, call := range []string{"iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "ssm:DescribeSessions"} {
			beside(t, call+" "+what, func(t *testing.T, s *stage) {
				s.opens(askProd)
				_, shell := s.visits()
				o := s.offline()
				o.revokes("BG-1")
				s.world.Inject(awssim.Fault{Call: call, Kind: kind, Count: 7})
				if left := o.finishes(t.Context(), "BG-1"); len(left) != 0 {
					t.Fatalf("left: %v", left)
				}
				o.closed("BG-1")
				s.shut(s.cell)
				if !ended(shell) {
					t.Error("the shell is still open")
				}
				o.leaves()
				s.start()
				s.proven("BG-1")
			}, quiet)
		}
	}
}

// What was not named stays as it is, and nothing else that is owed is paid: neither
// an opening nor a look. A grant whose time is up needs nobody to revoke it.
func TestFinish_onlyWhatWasNamed(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.opens(strings.Replace(askProd, "for=4h", "for=10m", 1))
		s.opens(askTest())
		s.asks(strings.Replace(askProd, vendor, vendor2, 1))
		o := s.offline()
		if _, err := s.db.Commit(store.Change{Grant: 3, Event: grant.Approve{By: grant.Actor{Kind: grant.Person, User: ben, Approver: true}}, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		if left := o.finishes(t.Context(), "BG-1"); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
		o.closed("BG-1")
		s.phase("BG-2", grant.Open)
		s.phase("BG-3", grant.Opening)
		if doc := s.cell2.Role.TrustDocument(); !strings.Contains(doc, "BreakglassBG2") {
			t.Errorf("BG-2 was ended, too:\n%s", doc)
		}
		if doc := s.cell.Role.TrustDocument(); strings.Contains(doc, "Breakglass") {
			t.Errorf("the trust policy:\n%s", doc)
		}
		// All at once, one of them decided and never begun.
		o.revokes("BG-2", "BG-3")
		if left := o.finishes(t.Context(), "BG-2", "BG-3", "BG-1"); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
		o.closed("BG-2", "BG-3")
		s.shut(s.cell)
		s.shut(s.cell2)
		o.leaves()
		s.start()
		s.proven("BG-3")
	}, quiet)
}
