package awssim

import (
	"slices"
	"time"
)

// instanceRotation is how long an instance uses one set of credentials.
const instanceRotation = 6 * time.Hour

// An Instance is one EC2 instance with its SSM agent.
type Instance struct {
	region   *Region
	id       string
	tags     []tag
	state    string
	profile  string // name of its instance profile
	ping     string // what the agent would report if its role lets it
	launched time.Time
}

type tag struct{ key, value string }

// Instance returns the instance with this id and makes it if need be: running,
// without profile or tags, its agent online.
func (r *Region) Instance(id string) *Instance {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	if i := r.instance(id); i != nil {
		return i
	}
	i := &Instance{region: r, id: id, state: "running", ping: "Online", launched: time.Now()}
	r.instances = append(r.instances, i)
	return i
}

func (r *Region) instance(id string) *Instance {
	at := slices.IndexFunc(r.instances, func(i *Instance) bool { return i.id == id })
	if at < 0 {
		return nil
	}
	return r.instances[at]
}

// DefaultHostManagement makes instances without an instance profile use this
// role for their agent (Default Host Management Configuration).
func (r *Region) DefaultHostManagement(role string) *Region {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	r.hostRole = r.account.role(role)
	return r
}

func (i *Instance) lock() func() {
	i.region.account.w.mu.Lock()
	return i.region.account.w.mu.Unlock
}

// ID returns the instance id.
func (i *Instance) ID() string { return i.id }

// Name sets the tag Name.
func (i *Instance) Name(name string) *Instance { return i.Tag("Name", name) }

// Tag sets a tag.
func (i *Instance) Tag(key, value string) *Instance {
	defer i.lock()()
	i.tags = slices.DeleteFunc(i.tags, func(t tag) bool { return t.key == key })
	i.tags = append(i.tags, tag{key, value})
	return i
}

// State sets the state: pending, running, stopping, stopped, shutting-down or
// terminated.
func (i *Instance) State(state string) *Instance {
	defer i.lock()()
	i.state = state
	return i
}

// Profile associates an instance profile.
func (i *Instance) Profile(name string) *Instance {
	defer i.lock()()
	i.profile = name
	return i
}

// Agent sets what the agent reports: Online, ConnectionLost, or "" for an
// instance that Systems Manager does not know.
func (i *Instance) Agent(ping string) *Instance {
	defer i.lock()()
	i.ping = ping
	return i
}

// Credentials returns what the instance metadata service would hand out now.
// Without a role they are empty.
func (i *Instance) Credentials() Credentials {
	defer i.lock()()
	k := i.credentials(time.Now())
	if k == nil {
		return Credentials{}
	}
	w := i.region.account.w
	k.id, k.secret, k.token = "ASIA"+w.id(16), w.id(40), "IQoJ"+w.id(252)
	w.keys[k.id] = k
	return k.credentials()
}

func (i *Instance) arn() string {
	return "arn:" + i.region.account.partition + ":ec2:" + i.region.name + ":" + i.region.account.id + ":instance/" + i.id
}

// role returns the role that the agent works with, or nil.
func (i *Instance) role() *Role {
	if p := i.region.account.profiles[i.profile]; p != nil {
		return p.role
	}
	return i.region.hostRole
}

// credentials returns the instance's current session, or nil without a role.
// They rotate, so that a cut-off by issue time does not cut for ever.
func (i *Instance) credentials(now time.Time) *accessKey {
	role := i.role()
	if role == nil {
		return nil
	}
	issued := i.launched.Add(now.Sub(i.launched).Truncate(instanceRotation))
	return i.region.account.w.instanceSession(role, i, issued)
}

// may tells whether the agent on the instance may do something.
func (i *Instance) may(action, resource string, now time.Time) bool {
	k := i.credentials(now)
	if k == nil {
		return false
	}
	return i.region.account.w.may(k, action, resource, k.context(i.region.name, now), now) == allowed
}

// pingStatus is what Systems Manager reports about the agent. A role that does
// not let the agent report cuts it off.
func (i *Instance) pingStatus(now time.Time) string {
	if i.ping != "Online" {
		return i.ping
	}
	if i.role() != nil && !i.may("ssm:UpdateInstanceInformation", i.arn(), now) {
		return "ConnectionLost"
	}
	return "Online"
}

// connected tells whether a session could be started on the instance.
func (i *Instance) connected(now time.Time) bool {
	return i.state == "running" && i.pingStatus(now) == "Online"
}

// tag returns the value of a tag.
func (i *Instance) tag(key string) (string, bool) {
	for _, t := range i.tags {
		if t.key == key {
			return t.value, true
		}
	}
	return "", false
}
