package actions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"breakglass/store/grant"
)

// LookupEvents allows two requests a second in an account and region, for
// everybody together ("Quotas in AWS CloudTrail"), and is slow.
const (
	trailEvery = 3 * time.Minute        // one lookup for a role and region
	trailPace  = 600 * time.Millisecond // between our requests to a region
	trailLimit = 5 * time.Second        // how long a look waits for it
	trailPages = 3                      // of fifty events, the newest first
	trailMost  = 300                    // events that are kept for a role and region
)

// trailBook remembers when CloudTrail was asked last, and what it said: grants
// on one role share the answer.
type trailBook struct {
	mu    sync.Mutex
	looks map[string]*trailLook // by role and region
	next  map[string]time.Time  // by account and region: when the next request may go
}

type trailLook struct {
	asked  time.Time
	events []trailEvent
}

// trailEvent is one AssumeRole of a role.
type trailEvent struct {
	grant.Assumed
	account string // of the caller; empty where it was a service
	arn     string
}

// globalRegion is the region in which a partition's global services record what
// they do, STS's global endpoint among them (CloudTrail User Guide, "Global
// service events"; STS is regional outside the aws partition).
func globalRegion(partition string) string {
	switch partition {
	case "aws-us-gov":
		return "us-gov-west-1"
	case "aws-cn":
		return "cn-north-1"
	default:
		return "us-east-1"
	}
}

// trailRegions are the regions whose event history is asked: the cell's own, the
// partition's global one, and those that the operator has named.
func (c Cell) trailRegions() []string {
	regions := append([]string{c.Region, globalRegion(grant.PartitionOf(c.Region))}, c.TrailRegions...)
	slices.Sort(regions)
	return slices.Compact(regions)
}

// assumed tells who of SingleStore has assumed the role since the grant was
// opened, from the event history of the cell's regions. It is advice: an error is
// only logged, and a region that is slow holds up no other.
//
// It is never complete. Events appear minutes after they happen, commonly up to
// a quarter of an hour. They are recorded in the region whose STS endpoint the
// caller has used, which may be another one. And a refused attempt from another
// account is recorded there, not here (IAM User Guide, "Logging IAM and AWS STS
// API calls with AWS CloudTrail"). So an empty answer does not say that nobody
// has tried, or come.
func (w *watching) assumed(ctx context.Context) []grant.Assumed {
	ctx, cancel := context.WithTimeout(ctx, trailLimit)
	defer cancel()
	regions := w.cell.trailRegions()
	found := make([][]trailEvent, len(regions))
	work := make([]func(), len(regions))
	for i, region := range regions {
		work[i] = func() { found[i] = w.events(ctx, region) }
	}
	sideBySide(work...)
	since := openedSince(w.grant)
	var out []grant.Assumed
	for _, e := range slices.Concat(found...) {
		if !e.At.Before(since) && w.isVendor(e) {
			out = append(out, e.Assumed)
		}
	}
	slices.SortFunc(out, func(a, b grant.Assumed) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.EventID, b.EventID)
	})
	return slices.CompactFunc(out, func(a, b grant.Assumed) bool { return a.EventID == b.EventID })
}

// isVendor tells SingleStore's events from those of EC2, where the role is an
// instance's own, and of other people whom the role trusts. Of a caller in
// another account CloudTrail tells the account, not always the role.
func (w *watching) isVendor(e trailEvent) bool {
	return e.arn != "" && strings.EqualFold(e.arn, string(w.grant.Principal)) ||
		e.account != "" && (e.account == string(w.grant.Principal.Account()) || slices.Contains(w.a.vendor.Accounts, grant.AccountID(e.account)))
}

// openedSince is when the door was opened: the end is computed just before the
// trust is written, and what was seen in AWS only later is called open.
func openedSince(g grant.Grant) time.Time {
	since := g.OpenedAt
	if since.IsZero() || g.Access.At.Before(since) {
		since = g.Access.At
	}
	if at := g.Access.End.Add(-g.Duration); !g.Access.End.IsZero() && at.Before(since) {
		since = at
	}
	return since.Truncate(time.Second)
}

// events is what is known of the role in one region, asking CloudTrail where it
// is time to.
func (w *watching) events(ctx context.Context, region string) []trailEvent {
	book, arn := &w.a.trail, w.grant.Access.RoleARN
	since := openedSince(w.grant)
	for _, o := range w.others {
		if o.Access != nil && onSameRole(o, w.grant, arn) {
			if at := openedSince(o); at.Before(since) {
				since = at // it is asked for them, too
			}
		}
	}
	events, ask, wait := book.look(strings.ToLower(arn)+" "+region, string(w.cell.Account)+" "+region, time.Now())
	if !ask {
		return events
	}
	err := pause(ctx, wait)
	var fresh []trailEvent
	if err == nil {
		fresh, err = lookupAssumed(ctx, w.cl, region, arn, since)
	}
	if err != nil {
		w.a.log.DebugContext(ctx, "CloudTrail did not tell who assumed the role", "grant", w.grant.ID.String(), "region", region, "error", err)
	}
	return book.add(strings.ToLower(arn)+" "+region, fresh)
}

// look answers what is known, whether to ask anew, and how long to wait before
// that. The requests of one lookup are counted in advance.
func (b *trailBook) look(key, place string, now time.Time) (events []trailEvent, ask bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.looks == nil {
		b.looks, b.next = make(map[string]*trailLook), make(map[string]time.Time)
	}
	for k, l := range b.looks {
		if now.Sub(l.asked) > 10*trailEvery {
			delete(b.looks, k)
		}
	}
	l, ok := b.looks[key]
	if ok && now.Sub(l.asked) < trailEvery {
		return slices.Clone(l.events), false, 0
	}
	next := latest(b.next[place], now)
	if next.Sub(now) > trailLimit/2 {
		if ok {
			events = slices.Clone(l.events)
		}
		return events, false, 0 // many roles are being watched: at the next look
	}
	if !ok {
		l = &trailLook{}
		b.looks[key] = l
	}
	l.asked = now
	b.next[place] = next.Add(trailPages * trailPace)
	return nil, true, next.Sub(now)
}

// add takes in what was found and answers all that is known.
func (b *trailBook) add(key string, fresh []trailEvent) []trailEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.looks[key]
	if !ok {
		return fresh
	}
	for _, e := range slices.Backward(fresh) { // the oldest first
		if !slices.ContainsFunc(l.events, func(o trailEvent) bool { return o.EventID == e.EventID }) {
			l.events = append(l.events, e)
		}
	}
	if n := len(l.events); n > trailMost {
		l.events = slices.Delete(l.events, 0, n-trailMost)
	}
	return slices.Clone(l.events)
}

// lookupAssumed asks one region's event history. What was found before an error
// counts.
func lookupAssumed(ctx context.Context, cl *clients, region, roleARN string, since time.Time) ([]trailEvent, error) {
	in := &cloudtrail.LookupEventsInput{
		LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: cttypes.LookupAttributeKeyResourceName, AttributeValue: new(roleARN)}},
		StartTime:        new(since),
		MaxResults:       new(int32(50)),
	}
	var out []trailEvent
	for page := range trailPages {
		if page > 0 {
			if err := pause(ctx, trailPace); err != nil {
				return out, err
			}
		}
		// Never repeated by the SDK: that would break the pace.
		answer, err := cl.trail.LookupEvents(ctx, in, func(o *cloudtrail.Options) { o.Region, o.Retryer = region, once() })
		if err != nil {
			return out, err
		}
		for _, e := range answer.Events {
			if a, ok := assumeRoleOf(aws.ToString(e.CloudTrailEvent), roleARN); ok {
				out = append(out, a)
			}
		}
		if in.NextToken = answer.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	return out, nil
}

// assumeRoleOf reads an event's record (CloudTrail User Guide, "CloudTrail
// record contents"). One that is not a successful AssumeRole of the role does
// not count.
func assumeRoleOf(record, roleARN string) (trailEvent, bool) {
	var r struct {
		EventID         string    `json:"eventID"`
		EventTime       time.Time `json:"eventTime"`
		EventName       string    `json:"eventName"`
		ErrorCode       string    `json:"errorCode"`
		SourceIPAddress string    `json:"sourceIPAddress"`
		UserIdentity    struct {
			ARN            string `json:"arn"`
			AccountID      string `json:"accountId"`
			SessionContext struct {
				SessionIssuer struct {
					ARN string `json:"arn"`
				} `json:"sessionIssuer"`
			} `json:"sessionContext"`
		} `json:"userIdentity"`
		RequestParameters struct {
			RoleARN         string `json:"roleArn"`
			RoleSessionName string `json:"roleSessionName"`
		} `json:"requestParameters"`
	}
	if json.Unmarshal([]byte(record), &r) != nil || r.EventID == "" || r.EventName != "AssumeRole" || r.ErrorCode != "" ||
		!strings.EqualFold(r.RequestParameters.RoleARN, roleARN) {
		return trailEvent{}, false
	}
	e := trailEvent{account: r.UserIdentity.AccountID, arn: r.UserIdentity.SessionContext.SessionIssuer.ARN}
	if e.arn == "" {
		e.arn = r.UserIdentity.ARN
	}
	by := r.UserIdentity.ARN
	if by == "" {
		by = r.UserIdentity.AccountID
	}
	// The caller chooses some of these, and people will read them.
	e.Assumed = grant.Assumed{
		EventID: grant.Clean(r.EventID, 64), At: r.EventTime.UTC(), By: grant.Clean(by, 300),
		Session: grant.Clean(r.RequestParameters.RoleSessionName, 64), From: grant.Clean(r.SourceIPAddress, 64),
	}
	return e, true
}
