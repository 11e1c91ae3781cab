package actions_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"breakglass/actions/awssim"
	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// Trust policies in every style that IAM takes. %s is the vendor's role, where a
// person has put it besides; the bot's grant ends that, too.
var shapes = map[string]string{
	"no version":             `{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	"version 2008 and an id": `{"Version":"2008-10-17","Id":"by hand","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	"version at the end":     `{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}],"Version":"2012-10-17"}`,
	"an object, not a list":  `{"Version":"2012-10-17","Statement":{"Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"},"Effect":"Allow"}}`,
	"lists of one":           `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com"]},"Action":["sts:AssumeRole"]}]}`,
	"NotAction":              `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"NotAction":["sts:TagSession","sts:SetSourceIdentity"]}]}`,
	"numbers and booleans":   `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:AssumeRole","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":3.60e3},"NumericGreaterThan":{"aws:MultiFactorAuthAge":[-0,1E1,"2"]},"Bool":{"aws:MultiFactorAuthPresent":true,"aws:SecureTransport":["true"]}}}]}`,
	"escapes":                `{"Version":"2012-10-17","Id":"\u0041\/\"","Statement":[{"\u0045ffect":"All\u006fw","Principal":{"\u0053ervice":"ec2.amazonaws\u002ecom"},"Action":"sts:\u0041ssumeRole","Condition":{"StringLike":{"sts:RoleSessionName":"\u002a\\\"+ü"}}}]}`,
	"white space":            "{\n\t\"Statement\" :\r\n[ {\"Effect\" : \"Allow\",\n\n \"Principal\":{\"Service\":\"ec2.amazonaws.com\"} , \"Action\":\"sts:AssumeRole\"}\n ]\n}\n\n",
	"Deny for everybody":     `{"Version":"2012-10-17","Statement":[{"Sid":"x","Effect":"Deny","Principal":"*","Action":"sts:AssumeRole","Condition":{"Bool":{"aws:SecureTransport":"false"}}},{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::444455556666:saml-provider/idp","Service":"ec2.amazonaws.com"},"Action":["sts:AssumeRoleWithSAML","sts:AssumeRole"]}]}`,
}

// What others wrote keeps every byte through opening and closing, whatever style
// it is in; and while access is open only our statement is there besides.
func TestOpen_anyShape(t *testing.T) {
	for name, doc := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.cell.Role.Trust(doc)
				if got := s.cell.Role.TrustDocument(); got != doc {
					t.Fatalf("the local AWS keeps %s", got)
				}
				f := s.remember()
				l := s.asked(quick).checked().approved().open()
				f.opened(t, l.g)
				if got := s.cell.Role.TrustDocument(); strings.Contains(doc, "\n") && !strings.Contains(got, "\n") {
					t.Errorf("the layout is lost: %s", got)
				}
				if _, err := s.vendor(vendorARN).assume(); err != nil {
					t.Errorf("the vendor cannot come in: %v", err)
				}
				l.close()
				f.closed(t)
			})
		})
	}
}

// The quota counts what is not white space; one character too much is refused
// before anything is written, with both numbers, and not one less.
func TestOpen_quotaIsExact(t *testing.T) {
	spacious := strings.Replace(shapes["no version"], `[`, `[`+strings.Repeat(" \n\t", 700), 1)
	need := 0
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Role.Trust(spacious)
		l := s.request(quick).open()
		doc := s.cell.Role.TrustDocument()
		if need = trust.Size([]byte(doc)); need > 400 || len(doc) < 2048 {
			t.Errorf("%d characters of %d count", need, len(doc))
		}
		l.close()
	})
	for _, short := range []int{0, 1} {
		bubble(t, func(t *testing.T, s *stage) {
			s.cell.Role.Trust(spacious)
			s.cell.Account.SetTrustQuota(need - short)
			l := s.asked(quick)
			r := s.aws.Check(t.Context(), l.g)
			if short == 0 {
				finding(t, r, "trust", grant.OK, fmt.Sprintf("%d of %d characters", need, need))
				l.approved().open()
				return
			}
			words := []string{fmt.Sprintf("would have %d characters, but this account allows %d", need, need-1), "Service Quotas"}
			finding(t, r, "quota", grant.Blocks, words...)
			wantTrouble(t, l.approved().tryOpen(), grant.Refused, grant.StepCheck, words...)
			s.noWrites()
		})
	}
}

// A write whose answer was lost, or that failed with a 500, may have been done. It
// is looked up, and not done again.
func TestOpen_answerLost(t *testing.T) {
	for call, prepare := range map[string]func(*stage){
		"iam:PutRolePolicy":                func(*stage) {},
		"iam:UpdateAssumeRolePolicy":       func(*stage) {},
		"ssm:CreateDocument":               func(*stage) {},
		"ssm:UpdateDocument":               func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) },
		"ssm:UpdateDocumentDefaultVersion": func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) },
	} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				prepare(s)
				f := s.remember()
				l := s.asked(quick).checked().approved()
				s.world.Inject(awssim.Fault{Call: call, Count: 1, Kind: awssim.DropAfter})
				l.open()
				if n := strings.Count(strings.Join(s.writes(), " ")+" ", call+" "); n != 1 {
					t.Errorf("%s was carried out %d times, want 1: %v", call, n, s.writes())
				}
				f.opened(t, l.g)
				l.close()
				f.closed(t)
			})
		})
	}
}

// The limits of every call: a read is tried five times, a write is sent once and
// looked up before it is sent again, one attempt takes ten seconds at most and a
// call twenty-five. Nothing in the environment loosens them.
func TestCalls_limits(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "50")
	t.Setenv("AWS_RETRY_MODE", "adaptive")
	count := func(s *stage, name string) (n int) {
		for _, c := range s.world.Calls() {
			if c.Name() == name {
				n++
			}
		}
		return n
	}
	t.Run("a read", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			s.world.Inject(awssim.Fault{Call: "iam:GetRole", Kind: awssim.Throttle})
			began := time.Now()
			s.aws.Survey(t.Context(), s.conf.Name)
			if n, d := count(s, "iam:GetRole"), time.Since(began); n != 5 || d > 25*time.Second {
				t.Errorf("%d attempts in %s, want 5", n, d)
			}
		})
	})
	t.Run("a read that hangs", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			s.world.Inject(awssim.Fault{Call: "iam:GetRole", Latency: time.Hour})
			began := time.Now()
			s.aws.Survey(t.Context(), s.conf.Name)
			if n, d := count(s, "iam:GetRole"), time.Since(began); n < 2 || n > 3 || d != 25*time.Second {
				t.Errorf("%d attempts in %s, want ten seconds for each and 25 for all", n, d)
			}
		})
	})
	for call, looks := range map[string]string{
		"iam:UpdateAssumeRolePolicy": "iam:GetRole", "iam:PutRolePolicy": "iam:GetRolePolicy", "ssm:CreateDocument": "ssm:GetDocument",
	} {
		t.Run("a write: "+call, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Inject(awssim.Fault{Call: call, Kind: awssim.ServerError})
				if tr := trouble(t, s.request().tryOpen()); tr.Kind == grant.Refused {
					t.Errorf("a 500 is taken for a refusal: %v", tr)
				}
				sent, looked := 0, true
				for _, c := range s.world.Calls() {
					switch c.Name() {
					case looks:
						looked = true
					case call:
						if !looked {
							t.Errorf("%s was sent again without a look in between", call)
						}
						sent, looked = sent+1, false
					}
				}
				if sent < 2 || sent > 4 {
					t.Errorf("%s was sent %d times", call, sent)
				}
			})
		})
	}
	t.Run("ending a session", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			l := s.request().open()
			creds, err := s.vendor(vendorARN).assume()
			if err != nil {
				t.Fatal(err)
			}
			s.mustShell(creds)
			s.world.Inject(awssim.Fault{Call: "ssm:TerminateSession", Kind: awssim.ServerError})
			looks := count(s, "ssm:DescribeSessions")
			r, _ := l.revoke().round()
			looks = count(s, "ssm:DescribeSessions") - looks
			if sent := count(s, "ssm:TerminateSession"); r.Sessions.Trouble == nil || sent != looks {
				t.Errorf("sent %d times in %d looks: %+v", sent, looks, r.Sessions)
			}
		})
	})
}

// Every call that is made for a grant says so in its User-Agent, which CloudTrail
// keeps: with credentials of the SDK's own chain no session is named after it.
func TestCalls_nameTheGrant(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.asked().checked().approved().open().settled()
		l.close()
		all := s.world.Calls()
		for _, c := range all {
			if !strings.HasSuffix(c.UserAgent, " md/breakglass#BG-1") || !strings.Contains(c.UserAgent, "aws-sdk-go-v2/") {
				t.Errorf("%s said %q", c.Name(), c.UserAgent)
			}
		}
		if len(all) < 30 {
			t.Errorf("only %d calls", len(all))
		}
		s.world.ForgetCalls()
		s.survey()
		s.aws.Check(t.Context(), grant.Grant{Cell: cellName})
		for _, c := range s.world.Calls() {
			if strings.Contains(c.UserAgent, "breakglass#") {
				t.Errorf("%s was made for nobody, and said %q", c.Name(), c.UserAgent)
			}
		}
	})
}
