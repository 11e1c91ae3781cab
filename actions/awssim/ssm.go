package awssim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func ssmOperations() map[string]operation {
	return map[string]operation{
		"GetDocument":                  {resources: onDocument, run: getDocument},
		"DescribeDocument":             {resources: onDocument, run: describeDocument},
		"CreateDocument":               {resources: onDocument, run: createDocument, write: true},
		"UpdateDocument":               {resources: onDocument, run: updateDocument, write: true},
		"UpdateDocumentDefaultVersion": {resources: onDocument, run: updateDocumentDefaultVersion, write: true},
		"ListDocumentVersions":         {resources: onDocument, run: listDocumentVersions},
		"DescribeSessions":             {run: describeSessions},
		"TerminateSession":             {authorizesItself: true, run: terminateSession, write: true},
		"StartSession":                 {authorizesItself: true, run: startSession, write: true},
		"ResumeSession":                {authorizesItself: true, run: resumeSession, write: true},
		"DescribeInstanceInformation":  {run: describeInstanceInformation},
		"GetConnectionStatus":          {run: getConnectionStatus},
	}
}

// size checks an optional MaxResults or limit.
func (c *call) size(asked *int, fallback, low, high int) (int, *Error) {
	if asked == nil {
		return fallback, nil
	}
	if *asked < low || *asked > high {
		return 0, c.invalid("1 validation error detected: Value '" + strconv.Itoa(*asked) + "' at 'maxResults' failed to satisfy constraint: Member must have value between " + strconv.Itoa(low) + " and " + strconv.Itoa(high))
	}
	return *asked, nil
}

// paged answers with one page of a list.
func (c *call) paged(name string, all []object, token string, size int) (any, *Error) {
	part, next, ok := page(all, token, size)
	if !ok {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidNextToken", Message: "The specified token isn't valid."}
	}
	if part == nil {
		part = []object{}
	}
	out := object{name: part}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// jsonFilter is a filter of DescribeInstanceInformation. The two lists of that
// operation spell their members differently, so case counts.
type jsonFilter map[string]json.RawMessage

func (f jsonFilter) text(member string) string {
	var s string
	if json.Unmarshal(f[member], &s) != nil {
		return ""
	}
	return s
}

func (f jsonFilter) texts(member string) []string {
	var s []string
	if json.Unmarshal(f[member], &s) != nil {
		return nil
	}
	return s
}

func describeInstanceInformation(c *call) (any, *Error) {
	var in struct {
		Filters, InstanceInformationFilterList []jsonFilter
		MaxResults                             *int
		NextToken                              string
	}
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if len(in.Filters) > 0 && len(in.InstanceInformationFilterList) > 0 {
		return nil, c.invalid("Filters and InstanceInformationFilterList can't be used together.")
	}
	size, err := c.size(in.MaxResults, 10, 5, 50)
	if err != nil {
		return nil, err
	}
	var filters []filter
	tags := 0
	for _, f := range in.Filters {
		filters = append(filters, filter{f.text("Key"), f.texts("Values")})
	}
	for _, f := range in.InstanceInformationFilterList {
		filters = append(filters, filter{f.text("key"), f.texts("valueSet")})
	}
	for _, f := range filters {
		if strings.HasPrefix(f.name, "tag:") || f.name == "tag-key" {
			tags++
		} else if !slices.Contains([]string{"InstanceIds", "PingStatus", "ResourceType", "PlatformTypes", "IamRole"}, f.name) {
			return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidFilterKey", Message: "The specified key isn't valid."}
		}
		if len(f.values) == 0 {
			return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidInstanceInformationFilterValue", Message: "The specified filter value isn't valid."}
		}
	}
	if tags > 0 && tags < len(filters) {
		return nil, c.invalid("Tag filters can't be combined with other filter types.")
	}
	var all []object
	for _, i := range c.region.instances {
		if known := i.ping != "" && (i.state == "running" || i.state == "pending"); !known {
			continue
		}
		if !slices.ContainsFunc(filters, func(f filter) bool { return !f.matchesAgent(i, c.now) }) {
			all = append(all, i.information(c.now))
		}
	}
	return c.paged("InstanceInformationList", all, in.NextToken, size)
}

// matchesAgent applies a filter of DescribeInstanceInformation, whose values
// are literal.
func (f filter) matchesAgent(i *Instance, now time.Time) bool {
	if key, ok := strings.CutPrefix(f.name, "tag:"); ok {
		value, tagged := i.tag(key)
		return tagged && slices.Contains(f.values, value)
	}
	switch f.name {
	case "tag-key":
		return slices.ContainsFunc(i.tags, func(t tag) bool { return slices.Contains(f.values, t.key) })
	case "InstanceIds":
		return slices.Contains(f.values, i.id)
	case "PingStatus":
		return slices.Contains(f.values, i.pingStatus(now))
	case "ResourceType":
		return slices.Contains(f.values, "EC2Instance")
	case "PlatformTypes":
		return slices.Contains(f.values, "Linux")
	}
	return i.role() != nil && slices.Contains(f.values, i.role().name)
}

func (i *Instance) information(now time.Time) object {
	last := now
	if i.pingStatus(now) != "Online" {
		last = now.Add(-15 * time.Minute)
	}
	return object{
		"InstanceId": i.id, "PingStatus": i.pingStatus(now), "LastPingDateTime": epoch(last),
		"AgentVersion": "3.3.2299.0", "IsLatestVersion": true, "PlatformType": "Linux",
		"PlatformName": "Amazon Linux", "PlatformVersion": "2023", "ResourceType": "EC2Instance",
	}
}

func getConnectionStatus(c *call) (any, *Error) {
	var in struct{ Target string }
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if in.Target == "" {
		return nil, c.invalid("1 validation error detected: Value at 'target' failed to satisfy constraint: Member must not be null")
	}
	status := "notconnected"
	if i := c.region.instance(in.Target); i != nil && i.connected(c.now) {
		status = "connected"
	}
	return object{"Target": in.Target, "Status": status}, nil
}
