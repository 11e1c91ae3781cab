package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// instanceNames are the values of the Name tag by which SingleStore's procedure
// knows the privileged access instance.
var instanceNames = []string{"Privileged access instance", "Breakglass instance"}

// instance is an EC2 instance as far as we care.
type instance struct {
	id, name, state string
	profileARN      string
	clusters        []string // EKS clusters that its tags name
}

func (i instance) running() bool { return i.state == string(ec2types.InstanceStateNameRunning) }

// readInstances lists the candidates in every state but terminated: a stopped
// one is worth naming, and a terminated one lingers for an hour (Amazon EC2 API
// Reference, DescribeInstances).
func readInstances(ctx context.Context, cl *clients, c Cell) ([]instance, error) {
	in := &ec2.DescribeInstancesInput{}
	if c.Instance != "" {
		in.InstanceIds = []string{c.Instance}
	} else {
		in.Filters = []ec2types.Filter{
			{Name: new("tag:Name"), Values: instanceNames},
			{Name: new("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}},
		}
	}
	var out []instance
	pages := ec2.NewDescribeInstancesPaginator(cl.ec2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				out = append(out, readInstance(i))
			}
		}
	}
	slices.SortFunc(out, func(a, b instance) int { return strings.Compare(a.id, b.id) })
	return out, nil
}

func readInstance(i ec2types.Instance) instance {
	out := instance{id: aws.ToString(i.InstanceId)}
	if i.State != nil {
		out.state = string(i.State.Name)
	}
	if i.IamInstanceProfile != nil {
		out.profileARN = aws.ToString(i.IamInstanceProfile.Arn)
	}
	for _, t := range i.Tags {
		key, value := aws.ToString(t.Key), aws.ToString(t.Value)
		switch {
		case key == "Name":
			out.name = value
		case key == "eks:cluster-name":
			out.clusters = append(out.clusters, value)
		case strings.HasPrefix(key, "kubernetes.io/cluster/"):
			out.clusters = append(out.clusters, strings.TrimPrefix(key, "kubernetes.io/cluster/"))
		}
	}
	return out
}

// choose finds the cell's instance among the candidates. Two cells of a region
// have instances of the same name, so the tags that name a cluster decide first:
// those of our cluster count alone, those of another never.
func choose(all []instance, c Cell) (chosen instance, problem, remedy string) {
	candidates := all
	if c.Instance == "" && c.EKSCluster != "" {
		var own, neutral []instance
		for _, i := range all {
			switch {
			case slices.Contains(i.clusters, c.EKSCluster):
				own = append(own, i)
			case len(i.clusters) == 0:
				neutral = append(neutral, i)
			}
		}
		if candidates = own; len(own) == 0 {
			candidates = neutral
		}
	}
	var up []instance
	for _, i := range candidates {
		if i.running() {
			up = append(up, i)
		}
	}
	names := strings.Join(instanceNames, `" or "`)
	switch {
	case len(up) == 1:
		return up[0], "", ""
	case len(up) > 1:
		return instance{}, fmt.Sprintf("%d running instances in %s could be the privileged access instance: %s.", len(up), c.place(), ids(up)),
			"Let the operator name the right one: `instance` of the cell " + string(c.Name) + " in the configuration."
	case len(candidates) > 0:
		i := candidates[0]
		return i, fmt.Sprintf("The privileged access instance %s is %s, so nobody can open a shell on it.", i.id, i.state),
			fmt.Sprintf("Start it: aws ec2 start-instances --region %s --instance-ids %s", c.Region, i.id)
	case c.Instance != "":
		return instance{}, fmt.Sprintf("There is no instance %s in %s.", c.Instance, c.place()),
			"Let the operator correct `instance` of the cell " + string(c.Name) + " in the configuration."
	case len(all) > 0:
		return instance{}, fmt.Sprintf("No instance named \"%s\" in %s belongs to the cluster %s; those that exist (%s) belong to others.", names, c.place(), c.EKSCluster, ids(all)),
			"Let the operator correct `eks_cluster` or name the `instance` of the cell " + string(c.Name) + " in the configuration."
	default:
		return instance{}, fmt.Sprintf("There is no instance named \"%s\" in %s.", names, c.place()),
			"Ask SingleStore whether the instance exists; if it has another name, let the operator name it: `instance` of the cell " + string(c.Name) + " in the configuration."
	}
}

func ids(list []instance) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.id
	}
	return strings.Join(out, ", ")
}

// agentState asks Systems Manager whether the instance's agent is in touch. An
// instance that has never been is not listed at all.
func agentState(ctx context.Context, cl *clients, id string) (ssmtypes.PingStatus, error) {
	pages := ssm.NewDescribeInstanceInformationPaginator(cl.ssm, &ssm.DescribeInstanceInformationInput{
		Filters: []ssmtypes.InstanceInformationStringFilter{{Key: new("InstanceIds"), Values: []string{id}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, i := range page.InstanceInformationList {
			if aws.ToString(i.InstanceId) == id {
				return i.PingStatus, nil
			}
		}
	}
	return "", nil
}

// roleOf is the ARN of the role that an instance profile carries; empty: none.
func roleOf(ctx context.Context, cl *clients, profileARN string) (string, error) {
	name := profileARN[strings.LastIndexByte(profileARN, '/')+1:]
	out, err := cl.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: new(name)})
	if err != nil || out.InstanceProfile == nil || len(out.InstanceProfile.Roles) == 0 {
		return "", err
	}
	return aws.ToString(out.InstanceProfile.Roles[0].Arn), nil
}

// simulated is what SimulatePrincipalPolicy thinks of some actions: those that
// would be refused. It is advice: it sees neither trust policies nor resource
// control policies, and misses keys that only a real request carries (IAM API
// Reference, SimulatePrincipalPolicy).
func simulated(ctx context.Context, cl *clients, roleARN string, actions, resources []string) (wouldRefuse []string, err error) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: new(roleARN), ActionNames: actions, ResourceArns: resources}
	pages := iam.NewSimulatePrincipalPolicyPaginator(cl.iam, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.EvaluationResults {
			if r.EvalDecision != "allowed" {
				wouldRefuse = append(wouldRefuse, aws.ToString(r.EvalActionName))
			}
		}
	}
	return wouldRefuse, nil
}
