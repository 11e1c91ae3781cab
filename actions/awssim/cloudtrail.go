package awssim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func cloudtrailOperations() map[string]operation {
	return map[string]operation{
		"LookupEvents": {run: lookupEvents},
	}
}

// trailKept is how long the event history goes back.
const trailKept = 90 * 24 * time.Hour

// longestAgent is where an event cuts the caller's User-Agent off.
const longestAgent = 1024

// A trailEvent is one management event of a region's event history. Only writes
// and AssumeRole are kept: the plain reads of a polling client would bury them.
type trailEvent struct {
	Call
	id, shared string
	region     string
	recipient  string     // the account whose history it is in
	key        *accessKey // of the caller
	foreign    bool       // the caller is of another account
	visible    time.Time
	role       *Role // that the event is about
	failure    *Error
	response   object
}

// trailDetails are what only the operation knows about its event.
type trailDetails struct {
	role     *Role      // that the call is about
	session  *accessKey // that AssumeRole handed out
	response object
}

// trail records a call in the event history of the caller's account and, for a
// role that somebody of another account assumed, in that role's account.
// A denied cross-account AssumeRole is recorded only where the caller is.
func (w *World) trail(c *call, failure *Error) {
	if !c.Write && c.Op != "AssumeRole" {
		return
	}
	region := c.region
	if c.Service == "iam" {
		// IAM is global; its events are in one region of the partition.
		region = c.account.region(globalRegion(c.account.partition))
		c.trailed.role = c.account.roles[strings.ToLower(c.Params["RoleName"])]
	}
	e := &trailEvent{
		Call: c.Call, id: w.eventID(), region: region.name, recipient: c.account.id, key: c.key,
		visible: c.now.Add(w.knobs.TrailDelay), role: c.trailed.role, failure: failure, response: c.trailed.response,
	}
	if k := c.trailed.session; k != nil && failure == nil {
		e.shared = w.eventID()
		e.response = object{
			"assumedRoleUser": object{"assumedRoleId": k.uniqueID(), "arn": k.arn()},
			"credentials":     object{"accessKeyId": k.id, "expiration": isoTime(k.expires)},
		}
		if k.account != c.account {
			other := *e
			other.id, other.foreign, other.recipient = w.eventID(), true, k.account.id
			k.account.region(region.name).remember(&other)
		}
	}
	region.remember(e)
}

// remember appends an event and forgets what is too old, now and then.
func (r *Region) remember(e *trailEvent) {
	if len(r.trail)%1024 == 1023 {
		r.trail = slices.DeleteFunc(r.trail, func(old *trailEvent) bool { return e.Time.Sub(old.Time) > trailKept })
	}
	r.trail = append(r.trail, e)
}

func (w *World) eventID() string {
	id := strings.ToLower(w.id(32))
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// username is what LookupEvents calls the user: of a session, its name.
func (k *accessKey) username() string {
	if k.user != nil {
		return k.user.name
	}
	return k.session
}

// identity is the userIdentity element.
func (k *accessKey) identity() object {
	out := object{"principalId": k.uniqueID(), "arn": k.arn(), "accountId": k.account.id, "accessKeyId": k.id}
	if k.user != nil {
		out["type"], out["userName"] = "IAMUser", k.user.name
		return out
	}
	out["type"] = "AssumedRole"
	out["sessionContext"] = object{
		"sessionIssuer": object{
			"type": "Role", "principalId": k.role.id, "arn": k.role.arn(), "accountId": k.account.id, "userName": k.role.name,
		},
		"attributes": object{"creationDate": isoTime(k.issued), "mfaAuthenticated": "false"},
	}
	return out
}

// attribute returns the value of an event under a LookupAttribute key.
func (e *trailEvent) attribute(key string) (value string, known bool) {
	switch key {
	case "EventId":
		return e.id, true
	case "EventName":
		return e.Op, true
	case "ReadOnly":
		return strconv.FormatBool(!e.Write), true
	case "Username":
		return e.username(), true
	case "EventSource":
		return e.source(), true
	case "AccessKeyId":
		return e.keyID(), true
	case "ResourceType":
		if e.role == nil {
			return "", true
		}
		return "AWS::IAM::Role", true
	case "ResourceName":
		return e.resource(), true
	}
	return "", false
}

func (e *trailEvent) source() string { return e.Service + ".amazonaws.com" }

func (e *trailEvent) username() string {
	if e.foreign {
		return ""
	}
	return e.key.username()
}

func (e *trailEvent) keyID() string {
	if e.foreign {
		return ""
	}
	return e.key.id
}

// resource is the role of the event: its ARN for AssumeRole, its name for IAM.
func (e *trailEvent) resource() string {
	switch {
	case e.role == nil:
		return ""
	case e.Service == "iam":
		return e.role.name
	default:
		return e.role.arn()
	}
}

// record is the event as CloudTrail delivers it.
func (e *trailEvent) record() object {
	parameters := make(object, len(e.Params))
	for key, value := range e.Params {
		if key != "" {
			parameters[strings.ToLower(key[:1])+key[1:]] = value
		}
	}
	out := object{
		"eventVersion": "1.11", "eventID": e.id, "eventTime": isoTime(e.Time), "eventSource": e.source(), "eventName": e.Op,
		"awsRegion": e.region, "sourceIPAddress": "203.0.113.10", "userAgent": e.UserAgent[:min(len(e.UserAgent), longestAgent)], "readOnly": !e.Write,
		"eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management",
		"recipientAccountId": e.recipient, "userIdentity": e.key.identity(), "requestParameters": parameters,
	}
	if e.foreign {
		out["userIdentity"] = object{"type": "AWSAccount", "principalId": e.key.uniqueID(), "accountId": e.key.account.id}
	}
	if e.shared != "" {
		out["sharedEventID"] = e.shared
	}
	if e.failure != nil {
		out["errorCode"], out["errorMessage"] = e.failure.Code, e.failure.Message
	}
	if e.response != nil {
		out["responseElements"] = e.response
	}
	return out
}

// lookupEvents allows two calls a second per account and region, one attribute
// and fifty events a page, newest first.
func lookupEvents(c *call) (any, *Error) {
	var in struct {
		LookupAttributes []struct{ AttributeKey, AttributeValue string }
		StartTime        *float64
		EndTime          *float64
		MaxResults       *int
		NextToken        string
	}
	if err := c.input(&in); err != nil {
		return nil, err
	}
	r := c.region
	r.lookups = slices.DeleteFunc(r.lookups, func(t time.Time) bool { return c.now.Sub(t) >= time.Second })
	if len(r.lookups) >= 2 {
		return nil, throttled(c.Service)
	}
	r.lookups = append(r.lookups, c.now)
	if len(in.LookupAttributes) > 1 {
		return nil, lookupError("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
	}
	if in.MaxResults != nil && (*in.MaxResults < 1 || *in.MaxResults > 50) {
		return nil, lookupError("InvalidMaxResultsException", "The value of MaxResults must be from 1 to 50.")
	}
	if in.StartTime != nil && in.EndTime != nil && *in.StartTime > *in.EndTime {
		return nil, lookupError("InvalidTimeRangeException", "The start time is after the end time.")
	}
	size := 50
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if len(in.LookupAttributes) == 1 {
		if _, known := (&trailEvent{key: c.key}).attribute(in.LookupAttributes[0].AttributeKey); !known {
			return nil, lookupError("InvalidLookupAttributesException", "The lookup attribute key is not valid.")
		}
	}
	found := []object{}
	// A token names the last event of the page before, so that new events do
	// not shift the pages.
	skipping := in.NextToken != ""
	for _, e := range slices.Backward(r.trail) {
		if skipping {
			skipping = e.id != in.NextToken
			continue
		}
		if e.visible.After(c.now) || c.now.Sub(e.Time) > trailKept ||
			in.StartTime != nil && epoch(e.Time) < *in.StartTime || in.EndTime != nil && epoch(e.Time) > *in.EndTime {
			continue
		}
		if len(in.LookupAttributes) == 1 {
			if value, _ := e.attribute(in.LookupAttributes[0].AttributeKey); value != in.LookupAttributes[0].AttributeValue {
				continue
			}
		}
		if len(found) == size {
			return object{"Events": found, "NextToken": found[size-1]["EventId"]}, nil
		}
		found = append(found, e.describe())
	}
	if skipping {
		return nil, lookupError("InvalidNextTokenException", "The next token is not valid.")
	}
	return object{"Events": found}, nil
}

func (e *trailEvent) describe() object {
	// The record holds strings, booleans and maps of them: it always marshals.
	record, _ := json.Marshal(e.record())
	out := object{
		"EventId": e.id, "EventName": e.Op, "EventSource": e.source(), "EventTime": epoch(e.Time),
		"ReadOnly": strconv.FormatBool(!e.Write), "Resources": []object{}, "CloudTrailEvent": string(record),
	}
	if e.role != nil {
		out["Resources"] = []object{{"ResourceType": "AWS::IAM::Role", "ResourceName": e.resource()}}
	}
	if e.username() != "" {
		out["Username"] = e.username()
	}
	if e.keyID() != "" {
		out["AccessKeyId"] = e.keyID()
	}
	return out
}

func lookupError(code, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}
