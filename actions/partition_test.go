package actions_test

import (
	"slices"
	"strings"
	"testing"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// A cell in another partition: every ARN is another, and IAM is elsewhere.
func TestPartitions_openAndClose(t *testing.T) {
	for region, partition := range map[string]string{"us-gov-west-1": "aws-us-gov", "us-gov-east-1": "aws-us-gov", "cn-northwest-1": "aws-cn", "eu-west-1": "aws"} {
		t.Run(region, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newStage(t, awssim.Cell{Region: region})
				principal := "arn:" + partition + ":iam::111122223333:role/singlestore-support"
				s.cell.Role.Trust(strings.Replace(trusts["other people's"], "arn:aws:", "arn:"+partition+":", 1))
				f := s.remember()
				l := s.request(func(r *grant.Request) { r.Principal = grant.RoleARN(principal) }).checked()
				for _, x := range l.g.Report.Findings {
					if x.Level != grant.OK && x.Check != "others" {
						t.Errorf("%s %s: %s", x.Level, x.Check, x.Text)
					}
				}
				l.open()
				f.opened(t, l.g)
				a := l.g.Access
				if !strings.HasPrefix(a.RoleARN, "arn:"+partition+":iam::"+account+":role/") || !strings.Contains(a.Statement, `"`+principal+`"`) {
					t.Errorf("access: %+v", a)
				}
				creds, err := s.vendor(principal).assume()
				if err != nil {
					t.Fatal(err)
				}
				id, _ := s.mustShell(creds)
				l.settled()
				v := l.look()
				if len(v.Sessions) != 1 || v.Sessions[0].ID != id || !strings.HasPrefix(v.Sessions[0].Owner, "arn:"+partition+":sts:") || len(v.Unlogged) > 0 {
					t.Errorf("sighting: %+v", v)
				}
				if len(l.g.Watch.Assumed) != 1 {
					t.Errorf("assumed: %+v", l.g.Watch.Assumed)
				}
				l.close()
				f.closed(t)
				if len(l.g.Ending.Ended) != 1 {
					t.Errorf("ended: %+v", l.g.Ending.Ended)
				}
				for _, c := range s.world.Calls() {
					if in := regionsOf[partition]; !slices.Contains(in, c.Region) && c.Region != region {
						t.Errorf("%s went to %s", c.Name(), c.Region)
					}
				}
			})
		})
	}
}

// regionsOf are where the global services of a partition are.
var regionsOf = map[string][]string{"aws": {"us-east-1"}, "aws-us-gov": {"us-gov-west-1"}, "aws-cn": {"cn-north-1"}}

// A principal of another partition does not exist there.
func TestPartitions_principalOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newStage(t, awssim.Cell{Region: "us-gov-west-1"})
		before := s.cell.Role.TrustDocument()
		wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepTrust, vendorARN+" does not exist")
		if got := s.cell.Role.TrustDocument(); got != before {
			t.Errorf("trust policy: %s", got)
		}
	})
}
