package actions

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// A Call is one call of AWS with all its attempts, as it is counted. What it says
// is one of few words each, the SDK's own names among them.
type Call struct {
	Service   string // as in an IAM action: iam, logs
	Operation string // GetRole
	Outcome   Outcome
	Took      time.Duration
}

// An Outcome is what became of a call.
type Outcome string

// The outcomes. Refused is an answer, and often an expected one: there is no such
// policy. Denied and Credentials are for a person to mend; Throttled and Again mend
// themselves, and so may Unreachable.
const (
	CallOK          Outcome = "ok"
	CallRefused     Outcome = "refused"     // AWS has answered no
	CallDenied      Outcome = "denied"      // the bot lacks a permission
	CallCredentials Outcome = "credentials" // AWS does not accept the bot's credentials, or there are none
	CallThrottled   Outcome = "throttled"   // too often, also after all attempts
	CallAgain       Outcome = "again"       // AWS is failing, or busy with another change
	CallUnreachable Outcome = "unreachable" // no answer, and nothing was changed
	CallUnknown     Outcome = "unknown"     // no answer to a write, which may have been done
	CallStopped     Outcome = "stopped"     // the bot gave up waiting
)

// Outcomes lists them all.
var Outcomes = []Outcome{CallOK, CallRefused, CallDenied, CallCredentials, CallThrottled, CallAgain, CallUnreachable, CallUnknown, CallStopped}

// observed has every call of every client told to observe.
func observed(cfg aws.Config, observe func(Call)) aws.Config {
	if observe == nil {
		return cfg
	}
	cfg.APIOptions = append(cfg.APIOptions, func(s *middleware.Stack) error {
		return s.Initialize.Add(counting{observe}, middleware.After)
	})
	return cfg
}

// counting tells of each call. It stands outside the retries, and inside what names
// the call.
type counting struct{ observe func(Call) }

func (counting) ID() string { return "breakglass:counting" }

func (c counting) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	began := time.Now()
	out, meta, err := next.HandleInitialize(ctx, in)
	id, operation := awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)
	call := Call{Service: actionPrefix(id), Operation: operation, Outcome: CallOK, Took: time.Since(began)}
	if err != nil {
		// As the client will wrap it further out.
		call.Outcome = outcomeOf(&smithy.OperationError{ServiceID: id, OperationName: operation, Err: err}, !onlyReads(operation))
	}
	c.observe(call)
	return out, meta, err
}

// outcomeOf sorts as everything else here does, into the words that are counted.
func outcomeOf(err error, write bool) Outcome {
	f := sortError(err, write)
	if fetching(err) && f.class != unreachable && f.class != stopped {
		return CallCredentials // the call that gets them is counted by itself
	}
	switch f.class {
	case refused, elsewhere:
		return CallRefused
	case denied:
		return CallDenied
	case credentials:
		return CallCredentials
	case busy:
		if _, throttle := retry.DefaultThrottleErrorCodes[f.code]; throttle || status(err) == http.StatusTooManyRequests {
			return CallThrottled
		}
		return CallAgain
	case lost:
		return CallUnknown
	case stopped:
		return CallStopped
	case unreachable:
		return CallUnreachable
	}
	return CallUnreachable
}

func status(err error) int {
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return r.HTTPStatusCode()
	}
	return 0
}
