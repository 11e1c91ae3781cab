package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"breakglass/store/grant"
)

// Error codes that decide what we do next. IAM, STS and EC2 name them in the
// API references ("Errors" of each action, and "Common errors"); they are
// compared as codes because several are not modelled as types by the SDK.
const (
	codeNoSuchEntity   = "NoSuchEntity"
	codeLimitExceeded  = "LimitExceeded"
	codeMalformed      = "MalformedPolicyDocument"
	codeUnmodifiable   = "UnmodifiableEntity"
	codeNoDocument     = "InvalidDocument"
	codeDocumentExists = "DocumentAlreadyExists"
	codeDuplicate      = "DuplicateDocumentContent"
	codeVersionLimit   = "DocumentVersionLimitExceeded"
	codeDocumentSize   = "MaxDocumentSizeExceeded"
	codeNoInstance     = "InvalidInstanceID.NotFound"
	codeBadInstance    = "InvalidInstanceID.Malformed"
	codeValidation     = "ValidationException"
	codeNoSession      = "DoesNotExistException"
	codeInvalidContent = "InvalidDocumentContent"
	codeInvalidSchema  = "InvalidDocumentSchemaVersion"
	codeInvalidAction  = "InvalidDocumentOperation"
)

// sorts tells what kind of failure a code is. What is not listed is throttling
// by the SDK's own list, a server's fault by its status, or refused.
var sorts = map[string]class{
	"AccessDenied":                        denied,
	"AccessDeniedException":               denied,
	"UnauthorizedOperation":               denied,
	"AuthFailure":                         credentials,
	"ExpiredToken":                        credentials,
	"ExpiredTokenException":               credentials,
	"RequestExpired":                      credentials,
	"InvalidClientTokenId":                credentials,
	"InvalidAccessKeyId":                  credentials,
	"UnrecognizedClientException":         credentials,
	"SignatureDoesNotMatch":               credentials,
	"InvalidSignatureException":           credentials,
	"IncompleteSignature":                 credentials,
	"MissingAuthenticationToken":          credentials,
	"MissingAuthenticationTokenException": credentials,
	"NotAuthorized":                       credentials,
	"OptInRequired":                       credentials,
	"RegionDisabledException":             credentials,
	"TooManyUpdates":                      busy,
	"ConcurrentModification":              busy,
	"EntityTemporarilyUnmodifiable":       busy,
	"ServiceUnavailable":                  busy,
	"ServiceUnavailableException":         busy,
	"Unavailable":                         busy,
}

// A class is why a call did not do what was asked.
type class int

const (
	refused     class = iota // AWS has decided; another try changes nothing
	denied                   // a permission is missing
	credentials              // the credentials are not accepted, or there are none
	busy                     // throttled, or failing before it did anything
	unreachable              // the request was not sent
	lost                     // sent, and no answer that tells whether it was done
	stopped                  // our caller gave up, and nothing was sent
	elsewhere                // the credentials are of another account
)

// A failure is an AWS error, sorted once.
type failure struct {
	class  class
	code   string // AWS's code, empty when there was no answer
	msg    string // AWS's message: for decisions that only it allows, never shown
	action string // iam:GetRole: the innermost call, so also a refused AssumeRole
	err    error
}

// sortError sorts an error of a call. write says that the call changes
// something: then a lost answer leaves open whether it has.
func sortError(err error, write bool) failure {
	f := failure{err: err, action: actionOf(err)}
	if e, ok := errors.AsType[*wrongAccountError](err); ok {
		f.class, f.msg = elsewhere, e.Error()
		return f
	}
	if isUnreadable(err) {
		return f // AWS has answered; asking again gives the same
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		f.code, f.msg = api.ErrorCode(), api.ErrorMessage()
		status := 0
		if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
			status = r.HTTPStatusCode()
		}
		_, throttle := retry.DefaultThrottleErrorCodes[f.code]
		c, known := sorts[f.code]
		// A write of ours whose own answer is a 5xx may have been carried out;
		// one that failed while fetching credentials was never sent.
		mine := write && !fetching(err)
		switch {
		case throttle:
			f.class = busy
		case known && (c != busy || status < 500 || !mine):
			f.class = c
		case status >= 500 && mine:
			f.class = lost
		case status >= 500 || status == 429:
			f.class = busy
		default:
			f.class = refused
		}
		return f
	}
	switch {
	case notSent(err):
		f.class = unreachable
	case fetching(err):
		f.class = credentials
		if gaveUp(err) {
			f.class = stopped
		} else if _, network := errors.AsType[*smithyhttp.RequestSendError](err); network {
			f.class = unreachable
		}
	case write && sent(err):
		f.class = lost
	case gaveUp(err):
		f.class = stopped
	default:
		f.class = unreachable
	}
	return f
}

// unreadableError says that AWS answered with a document that we do not
// understand; nothing is edited then.
type unreadableError struct {
	what string
	err  error
}

func (e *unreadableError) Error() string { return e.what + ": " + e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

func isUnreadable(err error) bool {
	_, ok := errors.AsType[*unreadableError](err)
	return ok
}

func gaveUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// sent reports whether the call was under way when it failed: the SDK wraps
// everything that happens in a call into an OperationError.
func sent(err error) bool {
	_, ok := errors.AsType[*smithy.OperationError](err)
	return ok
}

// fetching reports whether it was the credentials that could not be had, so
// that the call itself was never sent.
func fetching(err error) bool {
	n := 0
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(*smithy.OperationError); ok { //nolint:errorlint // every layer is looked at in turn
			n++
		}
		if strings.HasPrefix(e.Error(), "get identity:") || strings.HasPrefix(e.Error(), "failed to refresh cached credentials") {
			// The SDK has no type for this (aws.CredentialsCache, smithy's
			// resolveAuthScheme), and only these words.
			return true
		}
	}
	return n > 1
}

// actionOf names the IAM action of the innermost call that failed.
func actionOf(err error) string {
	action := ""
	for e := err; e != nil; e = errors.Unwrap(e) {
		if op, ok := e.(*smithy.OperationError); ok { //nolint:errorlint // every layer is looked at in turn
			action = actionPrefix(op.ServiceID) + ":" + op.OperationName
		}
	}
	return action
}

// actionPrefix is how IAM actions name a service.
func actionPrefix(id string) string {
	if id == "CloudWatch Logs" {
		return "logs"
	}
	return strings.ToLower(id)
}

// kind says what to do about the failure.
func (f failure) kind() grant.TroubleKind {
	switch f.class {
	case refused, denied, credentials, elsewhere:
		return grant.Refused
	case lost:
		return grant.Unknown
	default:
		return grant.Again
	}
}

// is reports whether AWS answered with one of the codes.
func (f failure) is(codes ...string) bool {
	for _, c := range codes {
		// The query protocols say NoSuchEntity, the SDK's type for the same
		// error NoSuchEntityException.
		if f.code == c || f.code == c+"Exception" {
			return true
		}
	}
	return false
}

// words says what is true now and what to do, about a call that concerned what.
func (f failure) words(what string) (text, remedy string) {
	action := f.action
	switch action {
	case "":
		action = "AWS"
	case "sts:AssumeRole":
		what = "the role that assume_role names for the cell"
	}
	switch f.class {
	case denied:
		return fmt.Sprintf("The bot may not call %s on %s: AWS refused it.", action, what),
			fmt.Sprintf("Let the operator allow %s for the bot (`breakglass policy` prints all that it needs), and look for an SCP or a permissions boundary that denies it.", action)
	case credentials:
		if f.code == "" {
			return fmt.Sprintf("The bot has no AWS credentials that it could use for %s.", what),
				"Let the operator look at the bot's AWS credentials (AWS_PROFILE, the instance's role) and, where one is configured, at assume_role."
		}
		return fmt.Sprintf("AWS does not accept the bot's credentials for %s (%s).", what, f.code),
			"Let the operator renew the bot's AWS credentials."
	case elsewhere:
		e, _ := errors.AsType[*wrongAccountError](f.err)
		return fmt.Sprintf("The bot's AWS credentials are of account %s, but the cell is in account %s. Nothing is changed with them.", e.got, e.want),
			"Let the operator correct the cell's account or its assume_role in the configuration."
	case busy:
		return fmt.Sprintf("AWS is throttling the bot or failing just now (%s on %s).", action, what),
			"Nothing to do now: the bot tries again by itself."
	case lost:
		return fmt.Sprintf("AWS has not answered whether %s on %s was done.", action, what),
			"Nothing to do now: the bot looks before it tries again."
	case stopped:
		return fmt.Sprintf("The bot stopped waiting for AWS before %s was read or changed.", what),
			"Nothing to do now: the bot tries again by itself."
	case unreachable:
		return fmt.Sprintf("AWS could not be reached (%s on %s).", action, what),
			"If this lasts, let the operator look at the bot's network and at its AWS endpoint."
	default:
		if isUnreadable(f.err) {
			return fmt.Sprintf("The bot does not understand what AWS answers for %s, so it does not touch it.", what),
				"Look at " + what + " in the AWS console, and at the bot's log for the place."
		}
		return fmt.Sprintf("AWS refused %s on %s (%s).", action, what, f.code),
			"Look at the bot's log for what AWS said, and at " + what + " in the AWS console."
	}
}

// trouble makes the failure into what the core understands.
func (f failure) trouble(step, what string) *grant.Trouble {
	text, remedy := f.words(what)
	return &grant.Trouble{Kind: f.kind(), Step: step, Text: text, Remedy: remedy, Cause: f.err}
}

// troubled sorts an error of a step that is either a *grant.Trouble already or
// an error of a read.
func troubled(err error, step, what string) *grant.Trouble {
	if t, ok := asTrouble(err); ok {
		return t
	}
	return sortError(err, false).trouble(step, what)
}
