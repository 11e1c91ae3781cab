package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"breakglass/actions/awssim"
)

// engineer is SingleStore's engineer, with the AWS clients that anybody has.
type engineer struct {
	own       *sts.Client // as SingleStore's role
	inside    *ssm.Client // as the role in the company's account
	role      string
	instance  string
	sessionID string
}

// comeIn assumes the role and opens a session.
func comeIn(ctx context.Context, endpoint string, cell awssim.CellScene) (*engineer, error) {
	client := func(id, secret, token string) aws.Config {
		return aws.Config{
			Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
			Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
		}
	}
	own := cell.Vendor.Credentials("support-engineer")
	e := &engineer{
		own:  sts.NewFromConfig(client(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)),
		role: cell.Role.ARN(), instance: cell.Instance.ID(),
	}
	out, err := e.assume(ctx)
	if err != nil {
		return nil, err
	}
	e.inside = ssm.NewFromConfig(client(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken))
	started, err := e.inside.StartSession(ctx, &ssm.StartSessionInput{Target: &e.instance})
	if err != nil {
		return nil, fmt.Errorf("starting a session on %s: %w", e.instance, err)
	}
	e.sessionID = *started.SessionId
	return e, nil
}

func (e *engineer) assume(ctx context.Context) (*sts.AssumeRoleOutput, error) {
	out, err := e.own.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &e.role, RoleSessionName: aws.String("ticket-48213")})
	if err != nil {
		return nil, fmt.Errorf("assuming %s: %w", e.role, err)
	}
	return out, nil
}

// startAgain tries the credentials that were issued while access was open.
func (e *engineer) startAgain(ctx context.Context) error {
	_, err := e.inside.StartSession(ctx, &ssm.StartSessionInput{Target: &e.instance})
	return err
}

func (e *engineer) assumeAgain(ctx context.Context) error {
	_, err := e.assume(ctx)
	return err
}

// denied reports whether AWS said that it is not allowed; no other failure counts.
func denied(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "AccessDeniedException")
}

func reason(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}
