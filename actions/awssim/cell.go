package awssim

import (
	"crypto/sha256"
	"encoding/hex"
)

// A Cell describes one BYOC cell as SingleStore sets it up. Empty fields get
// the value in their comment.
type Cell struct {
	Account    string // 444455556666
	Region     string // us-east-1
	Name       string // helios-prod
	EKSCluster string // none: the role's name has no suffix
	Instance   string // an id made from the cell's name
	Vendor     string // arn:aws:iam::111122223333:role/singlestore-support, in the region's partition
}

// A CellScene is a cell that stands, with everything that the bot, a person
// with access and SingleStore's engineer would find.
type CellScene struct {
	Account  *Account
	Region   *Region
	Bot      *User     // breakglass-bot, unrestricted until it gets a policy
	Role     *Role     // that the vendor is to assume; it trusts only EC2
	Host     *Role     // of the instance, allowed to write session logs
	Instance *Instance // "Privileged access instance", running, agent online
	LogGroup *LogGroup // /aws/ssm/NAME/cluster, encrypted
	Vendor   *Role     // in SingleStore's account
}

// NewCell builds a cell. There are no Session Manager preferences yet, and
// nobody is trusted.
func (w *World) NewCell(c Cell) CellScene {
	for field, fallback := range map[*string]string{
		&c.Account: "444455556666", &c.Region: "us-east-1", &c.Name: "helios-prod",
	} {
		if *field == "" {
			*field = fallback
		}
	}
	partition := partitionOf(c.Region)
	if c.Vendor == "" {
		c.Vendor = "arn:" + partition + ":iam::111122223333:role/singlestore-support"
	}
	role := "ssm-access-from-other-accounts"
	if c.EKSCluster != "" {
		role += "-" + c.EKSCluster
	}
	if c.Instance == "" {
		c.Instance = instanceIDFor(c.Name)
	}
	a := w.Account(c.Account)
	r := a.Region(c.Region)
	s := CellScene{
		Account: a, Region: r, Bot: a.User("breakglass-bot"),
		Role: a.Role(role).Attach("arn:"+partition+":iam::"+c.Account+":policy/session-starter", SessionStarter),
		Host: a.Role("privileged-access-"+c.Name).
			Attach("arn:"+partition+":iam::aws:policy/AmazonSSMManagedInstanceCore", SSMManagedInstanceCore).
			Attach("arn:"+partition+":iam::"+c.Account+":policy/session-logging", SessionLogging),
		LogGroup: r.LogGroup("/aws/ssm/" + c.Name + "/cluster").
			KMSKey("arn:" + partition + ":kms:" + c.Region + ":" + c.Account + ":key/2f6e1f0a-0000-4000-8000-000000000000"),
		Vendor: w.ForeignRole(c.Vendor),
	}
	a.InstanceProfile("privileged-access-"+c.Name, s.Host.Name())
	s.Instance = r.Instance(c.Instance).Name("Privileged access instance").Profile("privileged-access-" + c.Name)
	if c.EKSCluster != "" {
		s.Instance.Tag("kubernetes.io/cluster/"+c.EKSCluster, "owned").Tag("eks:cluster-name", c.EKSCluster)
	}
	return s
}

// instanceIDFor makes an instance id that is the same for the same name.
func instanceIDFor(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "i-0" + hex.EncodeToString(sum[:8])
}
