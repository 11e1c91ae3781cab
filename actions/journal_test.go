package actions_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// sent lists the writes that reached AWS, with what became of each.
func (s *stage) sent() (out []string) {
	for _, c := range s.world.Calls() {
		if c.Write && c.Op != "AssumeRole" && c.AccessKeyID == s.cell.Bot.Credentials().AccessKeyID {
			became := grant.WriteRefused
			switch {
			case c.Status == 200:
				became = grant.WriteDone
			case c.Status == 0 || c.Status >= 500:
				became = grant.WriteUnknown
			}
			out = append(out, fmt.Sprint(c.Name(), " ", became))
		}
	}
	return out
}

func (l *life) said() (out []string) {
	for _, w := range l.wrote {
		out = append(out, fmt.Sprint(w.Call, " ", w.Outcome))
	}
	return out
}

// Every write of a whole story is told, with the hash of what stood there before
// and of what was sent.
func TestJournal_wholeStory(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		before := s.cell.Role.TrustDocument()
		l := s.request().open()
		opened := s.cell.Role.TrustDocument()
		time.Sleep(time.Minute)
		l.extended(time.Hour)
		if err := l.tryExtend(); err != nil {
			t.Fatal(err)
		}
		extended := s.cell.Role.TrustDocument()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		session, _ := s.mustShell(creds)
		l.close()
		if got, want := l.said(), s.sent(); !slices.Equal(got, want) {
			t.Errorf("the actions say that they wrote\n%q\nand AWS that they wrote\n%q", got, want)
		}
		var trusts []grant.Write
		for _, w := range l.wrote {
			if w.Request == "" || w.At.IsZero() || w.Target == "" {
				t.Errorf("a write without its place: %+v", w)
			}
			if w.Call == "iam:UpdateAssumeRolePolicy" {
				trusts = append(trusts, w)
			}
			if w.Call == "ssm:TerminateSession" && w.Target != session {
				t.Errorf("the session %s was ended, want %s", w.Target, session)
			}
		}
		docs := []string{before, opened, extended, s.cell.Role.TrustDocument()}
		if len(trusts) != len(docs)-1 {
			t.Fatalf("the trust policy was written %d times, want %d", len(trusts), len(docs)-1)
		}
		for i, w := range trusts {
			if w.Target != roleName || w.Before != trust.Hash([]byte(docs[i])) || w.After != trust.Hash([]byte(docs[i+1])) {
				t.Errorf("write %d of the trust policy: %+v\nfrom\n%s\nto\n%s", i+1, w, docs[i], docs[i+1])
			}
		}
		stops := slices.DeleteFunc(slices.Clone(l.wrote), func(w grant.Write) bool { return w.Target != roleName+"/BreakglassHardStop" })
		if len(stops) != 2 || stops[0].Before != "" || stops[1].Before != stops[0].After {
			t.Errorf("the writes of the hard stop do not follow each other: %+v", stops)
		}
	})
}

// Whatever becomes of any one write, it is told, and told as it was.
func TestJournal_faults(t *testing.T) {
	for name, kind := range map[string]awssim.FaultKind{
		"throttled": awssim.Throttle, "denied": awssim.Deny, "500": awssim.ServerError,
		"dropped before": awssim.DropBefore, "dropped after": awssim.DropAfter,
	} {
		for n := 1; n <= 7; n++ {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				bubble(t, func(t *testing.T, s *stage) {
					count := 0
					s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
						if !c.Write || c.Op == "AssumeRole" {
							return nil
						}
						if count++; count != n {
							return nil
						}
						return &awssim.Fault{Kind: kind}
					})
					l := s.request()
					if err := l.tryOpen(); err != nil {
						l.apply(grant.OpenFailed{Trouble: *trouble(t, err)})
					}
					l.close()
					if got, want := l.said(), s.sent(); !slices.Equal(got, want) {
						t.Errorf("the actions say that they wrote\n%q\nand AWS that they wrote\n%q", got, want)
					}
				})
			})
		}
	}
}
