package actions_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// The critical path of opening, in round trips: the longest chain of calls of
// which each needs the answer of the one before, when everything that does not
// is done at the same time.
//
//	1  everything that the check and every first reading need, side by side
//	2  UpdateDocument                  logging before anything that opens (DESIGN 4.2)
//	3  UpdateDocumentDefaultVersion    needs the number of the new version
//	4  GetDocument, both versions      reading back what was written
//	5  PutRolePolicy                   the hard stop before the trust
//	6  GetRolePolicy, and GetRole      reading it back; the last look at the trust policy
//	7  UpdateAssumeRolePolicy          needs that look: it overwrites blindly
//	8  GetRole, twice                  reading it back
//
// Where no preferences were saved yet, CreateDocument makes the default version
// at once and 3 falls away; where logging is on already, 2 to 4 do. Closing has
//
//	1  GetRole twice, both inline policies, the sessions; GetCallerIdentity
//	2  GetRole                         the last look
//	3  UpdateAssumeRolePolicy
//	4  GetRole, twice
//	5  PutRolePolicy                   after the trust, or one could come in behind it
//	6  GetRolePolicy
//	7  DescribeSessions                who came in until the trust was gone
//
// for its first round. On a machine with enough cores these are also lower
// bounds in time; what is reported is time over latency, and over this path.
const (
	pathFresh = 7 // preferences absent
	pathOther = 8 // preferences to be changed
	pathRight = 5 // logging on already
	pathClose = 7
)

// TestOpen_criticalPath counts round trips by the fake clock: where nothing but
// AWS takes time, the time is their number. It cannot flap.
func TestOpen_criticalPath(t *testing.T) {
	for prefs, want := range map[string]int{"absent": pathFresh, "other people's": pathOther, "right already": pathRight} {
		for _, latency := range []time.Duration{time.Millisecond, 200 * time.Millisecond} {
			t.Run(fmt.Sprint(prefs, " ", latency), func(t *testing.T) {
				bubble(t, func(t *testing.T, s *stage) {
					if p := preferences[prefs]; p != "" {
						s.cell.Region.Preferences(p)
					}
					s.world.Tune(func(k *awssim.Knobs) { k.Latency = latency })
					l := s.request()
					began := time.Now()
					l.open()
					if got := int(time.Since(began) / latency); got != want {
						t.Errorf("opening took %d round trips, want %d", got, want)
					}
					l.revoke()
					began = time.Now()
					l.round()
					if got := int(time.Since(began) / latency); got != pathClose {
						t.Errorf("the first round of closing took %d round trips, want %d", got, pathClose)
					}
				})
			})
		}
	}
}

// BenchmarkOpen is approve → open in real time, at the latencies of a network.
func BenchmarkOpen(b *testing.B) {
	for _, latency := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		b.Run(latency.String(), func(b *testing.B) {
			var spent, bare time.Duration
			for b.Loop() {
				b.StopTimer()
				s := newStage(b, awssim.Cell{})
				s.cell.Region.Preferences(preferences["other people's"])
				s.aws.Check(b.Context(), grant.Grant{Cell: cellName}) // the request was checked before it was approved
				s.world.Tune(func(k *awssim.Knobs) { k.Latency = latency })
				l := s.request()
				b.StartTimer()
				began := time.Now()
				l.open()
				spent += time.Since(began)
				b.StopTimer()
				bare += bareChain(b, s, pathOther)
				b.StartTimer()
			}
			report(b, spent, bare, latency, pathOther)
		})
	}
}

// BenchmarkCloseRound is the first round of closing, which ends access.
func BenchmarkCloseRound(b *testing.B) {
	for _, latency := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		b.Run(latency.String(), func(b *testing.B) {
			var spent, bare time.Duration
			for b.Loop() {
				b.StopTimer()
				s := newStage(b, awssim.Cell{})
				l := s.request().open().revoke()
				s.world.Tune(func(k *awssim.Knobs) { k.Latency = latency })
				b.StartTimer()
				began := time.Now()
				l.round()
				spent += time.Since(began)
				b.StopTimer()
				bare += bareChain(b, s, pathClose)
				b.StartTimer()
			}
			report(b, spent, bare, latency, pathClose)
		})
	}
}

// bareChain is how long as many calls take one after the other, with the same
// SDK, the same local AWS and the same machine: at small latencies most of what
// is measured is the CPU time of both.
func bareChain(b *testing.B, s *stage, path int) time.Duration {
	b.Helper()
	client := sts.NewFromConfig(s.config(s.cell.Bot.Credentials()))
	const times = 5
	began := time.Now()
	for range times * path {
		if _, err := client.GetCallerIdentity(b.Context(), &sts.GetCallerIdentityInput{}); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / times
}

func report(b *testing.B, spent, bare, latency time.Duration, path int) {
	b.Helper()
	each := spent / time.Duration(b.N)
	b.ReportMetric(float64(each)*float64(b.N)/float64(bare), "x-bare-chain")
	b.ReportMetric(float64(each.Microseconds())/1000, "ms")
	b.ReportMetric(float64(each)/float64(latency*time.Duration(path)), "x-critical-path")
}
