package actions_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// extended has more time asked for and approved; nothing is done yet in AWS.
func (l *life) extended(more time.Duration) *life {
	l.s.t.Helper()
	l.apply(grant.Extend{By: grant.Actor{Kind: grant.Person, User: "U0ANA", Requester: true}, For: more})
	for !l.g.Extension.Doing() {
		by := grant.UserID("U0EXTENDER" + string(rune('A'+len(l.g.Extension.Approvals))))
		l.apply(grant.ApproveExtension{By: grant.Actor{Kind: grant.Person, User: by, Approver: true}, N: l.g.Extension.N})
	}
	return l
}

func (l *life) tryExtend() error {
	l.s.t.Helper()
	access, err := l.s.aws.Extend(l.s.t.Context(), l.g, l.others())
	if t, ok := errors.AsType[*grant.Trouble](err); ok {
		l.wrote = append(l.wrote, t.Writes...)
	}
	if err == nil {
		l.wrote = append(l.wrote, access.Writes...)
		l.apply(grant.ExtendDone{Access: access})
	}
	return err
}

// The hard stop moves before the statement does, both to the second that was
// approved, and nothing else in the policy changes.
func TestExtend_movesTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open()
		old := l.g.End
		before := s.cell.Role.TrustDocument()
		l.extended(time.Hour)
		s.world.ForgetCalls()
		if err := l.tryExtend(); err != nil {
			t.Fatal(err)
		}
		if got, want := l.g.End, old.Add(time.Hour); !got.Equal(want) {
			t.Errorf("it ends at %s, want %s", got, want)
		}
		if got, want := s.writes(), []string{"iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"}; !slices.Equal(got, want) {
			t.Errorf("written were %v, want %v", got, want)
		}
		stamp := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05Z") }
		if got, want := s.cell.Role.TrustDocument(), strings.Replace(before, stamp(old), stamp(l.g.End), 1); got != want {
			t.Errorf("the trust policy is\n%s\nwant\n%s", got, want)
		}
		time.Sleep(time.Until(old.Add(time.Minute)))
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatalf("after the old end: %v", err)
		}
		s.mustShell(creds)
		time.Sleep(time.Until(l.g.End.Add(time.Second)))
		if _, err := s.vendor(vendorARN).assume(); err == nil {
			t.Error("the role can be assumed after the new end")
		}
		if _, _, err := s.shell(creds); err == nil {
			t.Error("credentials from before still open shells after the new end")
		}
	})
}

// What somebody has taken out, or changed, is not put back.
func TestExtend_ofWhatHasGone(t *testing.T) {
	for name, edit := range map[string]func(doc string) string{
		"gone": func(string) string {
			return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		},
		"changed": func(doc string) string {
			return strings.Replace(doc, `"DateLessThan":{"aws:CurrentTime":"2`, `"DateLessThan":{"aws:CurrentTime":"1`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				l := s.request().open()
				time.Sleep(2 * time.Minute)
				s.cell.Role.Trust(edit(s.cell.Role.TrustDocument()))
				now := s.cell.Role.TrustDocument()
				l.extended(time.Hour)
				s.world.ForgetCalls()
				wellSaid(t, wantTrouble(t, l.tryExtend(), grant.Refused, grant.StepTrust, l.g.ID.Sid(), "not extended"))
				s.noWrites()
				if got := s.cell.Role.TrustDocument(); got != now {
					t.Errorf("the trust policy was changed to\n%s", got)
				}
			})
		})
	}
}

// Whatever goes wrong at whichever call, a second try ends at the approved second,
// and at no moment does anything last longer.
func TestExtend_again(t *testing.T) {
	for _, call := range []string{"iam:GetRole", "iam:PutRolePolicy", "iam:GetRolePolicy", "iam:UpdateAssumeRolePolicy", "sts:GetCallerIdentity"} {
		for name, kind := range map[string]awssim.FaultKind{"dropped before": awssim.DropBefore, "dropped after": awssim.DropAfter, "throttled": awssim.Throttle, "denied": awssim.Deny} {
			t.Run(call+" "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, s *stage) {
					l := s.request().open()
					want := l.g.End.Add(time.Hour)
					l.extended(time.Hour)
					remove := s.world.Inject(awssim.Fault{Call: call, Kind: kind, Account: s.cell.Account.ID()})
					if err := l.tryExtend(); err != nil {
						wellSaid(t, trouble(t, err))
					}
					remove()
					if l.g.Extension.Doing() {
						if err := l.tryExtend(); err != nil {
							t.Fatalf("the second try: %v", err)
						}
					}
					if !l.g.End.Equal(want) {
						t.Errorf("it ends at %s, want %s", l.g.End, want)
					}
					if strings.Count(s.cell.Role.TrustDocument(), l.g.ID.Sid()) != 1 {
						t.Errorf("the statement is there more than once, or not at all:\n%s", s.cell.Role.TrustDocument())
					}
					l.revoke().close()
				})
			})
		}
	}
}

// Another grant on the role keeps its own end, and the hard stop follows the
// later of the two.
func TestExtend_besideAnother(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		x := s.request().open()
		y := s.request(func(r *grant.Request) {
			r.Principal = "arn:aws:iam::111122223333:role/second"
			s.world.ForeignRole(string(r.Principal))
		}).open()
		among(x, y)
		end := y.g.End
		if err := x.extended(30 * time.Minute).tryExtend(); err != nil {
			t.Fatal(err)
		}
		stop, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
		if later := x.g.End; !strings.Contains(stop, later.UTC().Format("2006-01-02T15:04:05Z")) {
			t.Errorf("the hard stop is %s, want it at %s", stop, later)
		}
		if !strings.Contains(s.cell.Role.TrustDocument(), end.UTC().Format("2006-01-02T15:04:05Z")) {
			t.Errorf("the other's end has moved:\n%s", s.cell.Role.TrustDocument())
		}
	})
}
