package awssim

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

func ec2Operations() map[string]operation {
	return map[string]operation{
		"DescribeInstances":                      {run: describeInstances},
		"DescribeIamInstanceProfileAssociations": {run: describeProfileAssociations},
	}
}

// A filter is one of the Filter.N parameters: any of the values will do.
type filter struct {
	name   string
	values []string
}

// filters reads Filter.N.Name and Filter.N.Value.M.
func (c *call) filters() []filter {
	var out []filter
	for i := 1; c.form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		prefix := fmt.Sprintf("Filter.%d.", i)
		out = append(out, filter{c.form.Get(prefix + "Name"), c.list(prefix + "Value")})
	}
	return out
}

// any matches with * and ?, and with a backslash before a literal one; case
// counts.
func (f filter) any(value string) bool {
	return slices.ContainsFunc(f.values, func(pattern string) bool {
		pattern = strings.NewReplacer(`\*`, string(literalStar), `\?`, string(literalQuery), `\\`, `\`).Replace(pattern)
		return wildcard(pattern, value)
	})
}

// matches tells whether an instance passes a filter, and whether there is such
// a filter.
func (f filter) matches(i *Instance) (passes, known bool) {
	if key, ok := strings.CutPrefix(f.name, "tag:"); ok {
		value, tagged := i.tag(key)
		return tagged && f.any(value), true
	}
	switch f.name {
	case "tag-key":
		return slices.ContainsFunc(i.tags, func(t tag) bool { return f.any(t.key) }), true
	case "instance-state-name":
		return f.any(i.state), true
	case "instance-id":
		return f.any(i.id), true
	case "iam-instance-profile.arn":
		p := i.region.account.profiles[i.profile]
		return p != nil && f.any(p.arn()), true
	}
	return false, false
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

func ec2Error(code, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

func describeInstances(c *call) (any, *Error) {
	ids := c.list("InstanceId")
	for _, id := range ids {
		if !instanceID.MatchString(id) {
			return nil, ec2Error("InvalidInstanceID.Malformed", fmt.Sprintf("Invalid id: %q", id))
		}
		if c.region.instance(id) == nil {
			return nil, ec2Error("InvalidInstanceID.NotFound", fmt.Sprintf("The instance ID '%s' does not exist", id))
		}
	}
	if len(ids) > 0 && c.form.Has("MaxResults") {
		return nil, ec2Error("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	size, err := c.number("MaxResults", 1000, 5, 1000)
	if err != nil {
		return nil, err
	}
	found, err := c.findInstances(ids)
	if err != nil {
		return nil, err
	}
	part, next, ok := page(found, c.form.Get("NextToken"), size)
	if !ok {
		return nil, ec2Error("InvalidNextToken", "The token is not valid.")
	}
	var x xmlBuffer
	x.in("reservationSet", func() {
		for _, i := range part {
			x.in("item", func() {
				x.leaf("reservationId", "r-"+strings.TrimPrefix(i.id, "i-"))
				x.leaf("ownerId", c.account.id)
				x.in("instancesSet", func() { x.in("item", func() { x.instance(i) }) })
			})
		}
	})
	if next != "" {
		x.leaf("nextToken", next)
	}
	return &x, nil
}

func (c *call) findInstances(ids []string) ([]*Instance, *Error) {
	filters := c.filters()
	for _, f := range filters {
		if _, known := f.matches(&Instance{region: c.region}); !known {
			return nil, ec2Error("InvalidParameterValue", "The filter '"+f.name+"' is invalid")
		}
	}
	var out []*Instance
	for _, i := range c.region.instances {
		if len(ids) > 0 && !slices.Contains(ids, i.id) {
			continue
		}
		if !slices.ContainsFunc(filters, func(f filter) bool { passes, _ := f.matches(i); return !passes }) {
			out = append(out, i)
		}
	}
	return out, nil
}

// stateCodes are those of the InstanceState data type.
var stateCodes = map[string]string{
	"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80",
}

func (x *xmlBuffer) instance(i *Instance) {
	x.leaf("instanceId", i.id)
	x.in("instanceState", func() {
		x.leaf("code", stateCodes[i.state])
		x.leaf("name", i.state)
	})
	x.leaf("instanceType", "t3.medium")
	x.leaf("launchTime", i.launched.UTC().Format("2006-01-02T15:04:05.000Z"))
	x.in("placement", func() { x.leaf("availabilityZone", i.region.name+"a") })
	if p := i.region.account.profiles[i.profile]; p != nil {
		x.in("iamInstanceProfile", func() {
			x.leaf("arn", p.arn())
			x.leaf("id", p.id)
		})
	}
	if len(i.tags) > 0 {
		x.in("tagSet", func() {
			for _, t := range i.tags {
				x.in("item", func() {
					x.leaf("key", t.key)
					x.leaf("value", t.value)
				})
			}
		})
	}
}

func describeProfileAssociations(c *call) (any, *Error) {
	size, err := c.number("MaxResults", 1000, 5, 1000)
	if err != nil {
		return nil, err
	}
	filters, ids := c.filters(), c.list("AssociationId")
	for _, f := range filters {
		if f.name != "instance-id" && f.name != "state" {
			return nil, ec2Error("InvalidParameterValue", "The filter '"+f.name+"' is invalid")
		}
	}
	var found []*Instance
	for _, i := range c.region.instances {
		if c.account.profiles[i.profile] == nil || len(ids) > 0 && !slices.Contains(ids, i.association()) {
			continue
		}
		if !slices.ContainsFunc(filters, func(f filter) bool {
			return f.name == "instance-id" && !f.any(i.id) || f.name == "state" && !f.any("associated")
		}) {
			found = append(found, i)
		}
	}
	part, next, ok := page(found, c.form.Get("NextToken"), size)
	if !ok {
		return nil, ec2Error("InvalidNextToken", "The token is not valid.")
	}
	var x xmlBuffer
	x.in("iamInstanceProfileAssociationSet", func() {
		for _, i := range part {
			p := c.account.profiles[i.profile]
			x.in("item", func() {
				x.leaf("associationId", i.association())
				x.leaf("instanceId", i.id)
				x.in("iamInstanceProfile", func() {
					x.leaf("arn", p.arn())
					x.leaf("id", p.id)
				})
				x.leaf("state", "associated")
			})
		}
	})
	if next != "" {
		x.leaf("nextToken", next)
	}
	return &x, nil
}

func (i *Instance) association() string { return "iip-assoc-" + strings.TrimPrefix(i.id, "i-") }
