package actions

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// conventionalRole is the role of SingleStore's procedure; with a dash and the
// EKS cluster's name behind it, where an account has several cells.
const conventionalRole = "ssm-access-from-other-accounts"

// longestRoleName is IAM's limit ("IAM and AWS STS quotas"); a longer
// conventional name can only have been made by cutting it.
const longestRoleName = 64

// roleNames are the names to look for, the better one first.
func (c Cell) roleNames() []string {
	if c.Role != "" {
		return []string{c.Role[strings.LastIndexByte(c.Role, '/')+1:]}
	}
	if c.EKSCluster == "" {
		return []string{conventionalRole}
	}
	name := conventionalRole + "-" + c.EKSCluster
	return []string{name[:min(len(name), longestRoleName)], conventionalRole}
}

// role is the role as GetRole answers it.
type role struct {
	name, arn string
	boundary  string
	document  string // the trust policy, decoded
}

// isServiceLinked tells the roles that only an AWS service may change.
func (r role) isServiceLinked() bool { return strings.Contains(r.arn, ":role/aws-service-role/") }

// isIdentityCenter tells the roles that IAM Identity Center makes and remakes.
func (r role) isIdentityCenter() bool {
	return strings.Contains(r.arn, ":role/aws-reserved/sso.amazonaws.com/")
}

func (r role) what() string { return "the role " + r.name }

// readRole reads the role and its trust policy. The ARN is the one that IAM
// answers: a path is part of it and cannot be guessed.
func readRole(ctx context.Context, cl *clients, name string) (role, error) {
	out, err := cl.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: new(name)})
	if err != nil {
		return role{name: name}, err
	}
	r := role{name: aws.ToString(out.Role.RoleName), arn: aws.ToString(out.Role.Arn)}
	if b := out.Role.PermissionsBoundary; b != nil {
		r.boundary = aws.ToString(b.PermissionsBoundaryArn)
	}
	// PathUnescape, not QueryUnescape: IAM encodes as RFC 3986 has it, where a +
	// stands for itself, and a + is legal in a role's name (IAM API Reference,
	// GetRole).
	r.document, err = url.PathUnescape(aws.ToString(out.Role.AssumeRolePolicyDocument))
	if err != nil {
		return r, &unreadableError{what: "the trust policy of " + r.what(), err: err}
	}
	return r, nil
}

// missing reports whether IAM says that there is no such role.
func missing(err error) bool { return err != nil && sortError(err, false).is(codeNoSuchEntity) }
