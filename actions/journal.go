package actions

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"breakglass/actions/trust"
	"breakglass/store/grant"
)

// A journal is what one run of an action reads and writes. It sits in the clients
// themselves, below everything that decides, so that no write can be left out of
// the audit log by forgetting it.
type journal struct {
	mu     sync.Mutex
	writes []grant.Write
	read   map[string]string // target → hash of the document that was seen there last
}

type journalKey struct{}

// recorded begins the journal of an action on behalf of a grant.
func recorded(ctx context.Context, id grant.ID) (context.Context, *journal) {
	j := &journal{read: map[string]string{}}
	return context.WithValue(onBehalf(ctx, id), journalKey{}, j), j
}

// take answers the writes since the last time.
func (j *journal) take() []grant.Write {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := j.writes
	j.writes = nil
	return w
}

// journaling writes into the context's journal what the calls read and change.
type journaling struct{}

func (journaling) ID() string { return "breakglass:journal" }

func (journaling) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleInitialize(ctx, in)
	j, ok := ctx.Value(journalKey{}).(*journal)
	if !ok {
		return out, meta, err
	}
	if onlyReads(awsmiddleware.GetOperationName(ctx)) {
		if err == nil {
			j.seen(in.Parameters, out.Result)
		}
		return out, meta, err
	}
	w := grant.Write{
		At:     time.Now().UTC().Truncate(time.Millisecond),
		Call:   service(awsmiddleware.GetServiceID(ctx)) + ":" + awsmiddleware.GetOperationName(ctx),
		Region: awsmiddleware.GetRegion(ctx), Outcome: grant.WriteDone,
	}
	w.Request, _ = awsmiddleware.GetRequestIDMetadata(meta)
	if err != nil {
		// As the client will wrap it further out.
		whole := &smithy.OperationError{ServiceID: awsmiddleware.GetServiceID(ctx), OperationName: awsmiddleware.GetOperationName(ctx), Err: err}
		f := sortError(whole, true)
		if f.class == stopped || f.class == unreachable {
			return out, meta, err // it was never sent
		}
		w.Code, w.Outcome = f.code, grant.WriteRefused
		if f.class == lost {
			w.Outcome = grant.WriteUnknown
		}
	}
	j.wrote(w, in.Parameters)
	return out, meta, err
}

// service is the prefix that IAM policies use for a service.
func service(id string) string {
	return strings.ToLower(strings.ReplaceAll(id, " ", ""))
}

// onlyReads tells by its name whether an operation changes nothing. What is not
// known to be harmless is written down.
func onlyReads(operation string) bool {
	return operation == "AssumeRole" || slices.ContainsFunc([]string{"Get", "List", "Describe", "Lookup", "Filter", "Simulate"}, func(verb string) bool {
		return strings.HasPrefix(operation, verb)
	})
}

// seen notes the documents that a reading shows.
func (j *journal) seen(in, out any) {
	target, doc := "", ""
	switch o := out.(type) {
	case *iam.GetRoleOutput:
		if o.Role == nil {
			return
		}
		target, doc = aws.ToString(o.Role.RoleName), unescaped(o.Role.AssumeRolePolicyDocument)
	case *iam.GetRolePolicyOutput:
		target, doc = aws.ToString(o.RoleName)+"/"+aws.ToString(o.PolicyName), unescaped(o.PolicyDocument)
	case *ssm.GetDocumentOutput:
		// Sessions use the latest version; any other is history.
		if i, ok := in.(*ssm.GetDocumentInput); !ok || aws.ToString(i.DocumentVersion) != latestVersion {
			return
		}
		target, doc = aws.ToString(o.Name), aws.ToString(o.Content)
	default:
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.read[target] = trust.Hash([]byte(doc))
}

// unescaped is a policy as it was written: IAM answers it URL-encoded as RFC 3986
// has it (IAM API Reference, GetRole).
func unescaped(doc *string) string {
	text, err := url.PathUnescape(aws.ToString(doc))
	if err != nil {
		return aws.ToString(doc)
	}
	return text
}

// wrote notes a write, with what stood there before as far as it was read.
func (j *journal) wrote(w grant.Write, in any) {
	var doc *string
	switch i := in.(type) {
	case *iam.UpdateAssumeRolePolicyInput:
		w.Target, doc = aws.ToString(i.RoleName), i.PolicyDocument
	case *iam.PutRolePolicyInput:
		w.Target, doc = aws.ToString(i.RoleName)+"/"+aws.ToString(i.PolicyName), i.PolicyDocument
	case *ssm.CreateDocumentInput:
		w.Target, doc = aws.ToString(i.Name), i.Content
	case *ssm.UpdateDocumentInput:
		w.Target, doc = aws.ToString(i.Name), i.Content
	case *ssm.UpdateDocumentDefaultVersionInput:
		w.Target = aws.ToString(i.Name) + " default version " + aws.ToString(i.DocumentVersion)
	case *ssm.TerminateSessionInput:
		w.Target = aws.ToString(i.SessionId)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if doc != nil {
		w.Before, w.After = j.read[w.Target], trust.Hash([]byte(*doc))
		if w.Outcome == grant.WriteDone {
			j.read[w.Target] = w.After
		}
	}
	j.writes = append(j.writes, w)
}
