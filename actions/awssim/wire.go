package awssim

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// protocol is one of the three wire protocols of the simulated services.
type protocol int

const (
	queryProtocol protocol = iota // awsQuery: form in, XML out
	ec2Protocol                   // ec2Query: form in, other XML out
	jsonProtocol                  // awsJson1_1
)

// A service is one endpoint of AWS.
type service struct {
	protocol   protocol
	namespace  string // of the XML protocols
	operations map[string]operation
}

// An operation is one action of a service.
type operation struct {
	write bool
	// resources returns the ARNs on which the caller needs the permission;
	// nil stands for "*".
	resources func(*call) []string
	// authorizesItself is set where permission is not a matter of the
	// caller's identity policies alone.
	authorizesItself bool
	// run carries the operation out with the world locked. The answer is an
	// *xmlBuffer or something to marshal as JSON.
	run func(*call) (any, *Error)
}

// services returns the table of everything that can be called, by signing name,
// which is also the prefix of a service's actions.
func services() map[string]*service {
	return map[string]*service{
		"iam":        {protocol: queryProtocol, namespace: "https://iam.amazonaws.com/doc/2010-05-08/", operations: iamOperations()},
		"sts":        {protocol: queryProtocol, namespace: "https://sts.amazonaws.com/doc/2011-06-15/", operations: stsOperations()},
		"ec2":        {protocol: ec2Protocol, namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", operations: ec2Operations()},
		"ssm":        {protocol: jsonProtocol, operations: ssmOperations()},
		"logs":       {protocol: jsonProtocol, operations: logsOperations()},
		"cloudtrail": {protocol: jsonProtocol, operations: cloudtrailOperations()},
	}
}

// A call is a request being worked on.
type call struct {
	Call
	w       *World
	service *service
	op      operation
	key     *accessKey
	account *Account
	region  *Region
	now     time.Time
	form    url.Values
	body    []byte
	// trailed are additions of the operation to its CloudTrail event.
	trailed trailDetails
}

func (c *call) action() string { return c.Service + ":" + c.Op }

// A response is an answer before it is put on the wire.
type response struct {
	status      int
	contentType string
	header      map[string]string
	body        []byte
}

// maxBody is more than any request of the simulated operations may have.
const maxBody = 1 << 20

// serve answers one request. An error means that there is no answer: the
// connection was cut or the client's context ended.
func (w *World) serve(ctx context.Context, r *http.Request) (*response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			return nil, err
		}
	}
	sig := parseSignature(r)
	c := &call{w: w, body: body, Call: Call{Time: time.Now(), UserAgent: r.UserAgent(), Service: sig.service, Region: sig.region, AccessKeyID: sig.accessKeyID}}
	c.service = w.services[sig.service]
	if c.service == nil {
		c.service = &service{protocol: guessProtocol(r)}
	}
	if err := c.decode(r); err != nil {
		return w.finish(ctx, c, nil, err, false)
	}
	w.mu.Lock()
	key, err := w.identify(sig, c.service.protocol, time.Now())
	if err == nil {
		c.key, c.account = key, key.account
		c.Account, c.Caller = key.account.id, key.arn()
		c.region = key.account.region(sig.region)
	}
	w.mu.Unlock()
	if err != nil {
		return w.finish(ctx, c, nil, err, false)
	}
	op, ok := c.service.operations[c.Op]
	if !ok {
		return w.finish(ctx, c, nil, unknownOperation(c.service.protocol, c.Op), false)
	}
	c.op, c.Write = op, op.write
	return w.carryOut(ctx, c)
}

// carryOut runs hooks, faults and the operation itself.
func (w *World) carryOut(ctx context.Context, c *call) (*response, error) {
	w.mu.Lock()
	before := w.before
	w.mu.Unlock()
	var f Fault
	for _, hook := range before {
		if extra := hook.run(ctx, c.snapshot()); extra != nil {
			f.add(*extra)
		}
	}
	w.mu.Lock()
	f.add(w.strike(c.Call))
	delay := w.knobs.Latency + f.Latency
	w.mu.Unlock()
	if err := wait(ctx, delay); err != nil {
		return w.lose(ctx, c, err, false)
	}
	if f.Kind == DropBefore {
		return w.lose(ctx, c, errDropped, false)
	}
	if refusal := f.refusal(c); refusal != nil {
		w.mu.Lock()
		c.now = time.Now()
		c.Time = c.now
		w.trail(c, refusal)
		w.mu.Unlock()
		return w.finish(ctx, c, nil, refusal, false)
	}
	w.mu.Lock()
	c.now = time.Now()
	c.Time = c.now
	answer, err := c.run()
	w.trail(c, err)
	w.mu.Unlock()
	if f.Kind == DropAfter {
		if err != nil {
			c.Status, c.Code = err.Status, err.Code
		}
		return w.lose(ctx, c, errDropped, err == nil)
	}
	return w.finish(ctx, c, answer, err, err == nil)
}

// run checks the caller's permission and carries the operation out.
func (c *call) run() (any, *Error) {
	if !c.op.authorizesItself {
		resources := []string{"*"}
		if c.op.resources != nil {
			resources = c.op.resources(c)
		}
		for _, resource := range resources {
			if err := c.authorize(c.action(), resource, c.requestKeys()); err != nil {
				return nil, err
			}
		}
	}
	return c.op.run(c)
}

// requestKeys returns the global condition keys of the request.
func (c *call) requestKeys() requestContext { return c.key.context(c.Region, c.now) }

// authorize asks the caller's identity policies.
func (c *call) authorize(action, resource string, rc requestContext) *Error {
	if v := c.w.may(c.key, action, resource, rc, c.now); v != allowed {
		return c.denied(action, resource, v)
	}
	return nil
}

// denied is the access-denied error of the call's protocol.
func (c *call) denied(action, resource string, v verdict) *Error {
	message := "User: " + c.Caller + " is not authorized to perform: " + action
	if resource != "*" {
		message += " on resource: " + resource
	}
	if v == explicitDeny {
		message += " with an explicit deny in an identity-based policy"
	} else if c.Service != "sts" {
		message += " because no identity-based policy allows the " + action + " action"
	}
	switch c.service.protocol {
	case ec2Protocol:
		return &Error{Status: http.StatusForbidden, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + message}
	case queryProtocol:
		return &Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: message}
	default:
		return &Error{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: message}
	}
}

// lose records a call whose client gets no answer.
func (w *World) lose(ctx context.Context, c *call, err error, done bool) (*response, error) {
	c.Done = done
	w.record(ctx, c)
	return nil, err
}

// finish records a call and makes its answer.
func (w *World) finish(ctx context.Context, c *call, answer any, failure *Error, done bool) (*response, error) {
	c.Done, c.Status = done, http.StatusOK
	if failure != nil {
		c.Status, c.Code = failure.Status, failure.Code
	}
	id := w.record(ctx, c)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if failure != nil {
		return c.encodeError(failure, id), nil
	}
	return c.encode(answer, id), nil
}

// record keeps the call, runs the hooks and returns a request id.
func (w *World) record(ctx context.Context, c *call) string {
	w.mu.Lock()
	w.calls = append(w.calls, c.snapshot())
	after := w.after
	id := strings.ToLower(w.id(32))
	w.mu.Unlock()
	for _, hook := range after {
		hook.run(ctx, c.snapshot())
	}
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// snapshot returns the public record of the call.
func (c *call) snapshot() Call {
	out := c.Call
	out.Params = maps.Clone(c.Params)
	return out
}

// decode finds the operation and its parameters.
func (c *call) decode(r *http.Request) *Error {
	if len(c.body) > maxBody {
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge", Message: "Request is too large."}
	}
	if c.service.protocol == jsonProtocol {
		return c.decodeJSON(r)
	}
	return c.decodeForm(r)
}

func unknownOperation(p protocol, name string) *Error {
	if p == jsonProtocol {
		return &Error{Status: http.StatusBadRequest, Code: "UnknownOperationException", Message: "The requested operation is not available: " + name}
	}
	return &Error{Status: http.StatusBadRequest, Code: "InvalidAction", Message: "The action " + name + " is not valid for this web service."}
}

// guessProtocol picks an error format for a service that is not simulated.
func guessProtocol(r *http.Request) protocol {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return queryProtocol
	}
	return jsonProtocol
}

// A signature is what a SigV4 Authorization header says about the caller.
type signature struct {
	accessKeyID, region, service, token string
}

// regionName keeps hostile scopes from making regions.
var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// parseSignature reads the scope AKID/date/region/service/aws4_request. What is
// missing stays empty and is refused later.
func parseSignature(r *http.Request) signature {
	s := signature{token: r.Header.Get("X-Amz-Security-Token")}
	_, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if !ok {
		return s
	}
	scope, _, _ := strings.Cut(rest, ",")
	part := strings.Split(strings.TrimSpace(scope), "/")
	if len(part) != 5 || part[4] != "aws4_request" || !regionName.MatchString(part[2]) {
		return s
	}
	s.accessKeyID, s.region, s.service = part[0], part[2], part[3]
	return s
}

// page cuts one page out of a list. Tokens are opaque to clients; here they are
// the position of the next element.
func page[T any](all []T, token string, size int) (part []T, next string, ok bool) {
	start := 0
	if token != "" {
		digits, found := strings.CutPrefix(token, "page-")
		if !found {
			return nil, "", false
		}
		for _, r := range digits {
			if r < '0' || r > '9' || start > len(all) {
				return nil, "", false
			}
			start = start*10 + int(r-'0')
		}
		if start > len(all) {
			return nil, "", false
		}
	}
	end := min(start+size, len(all))
	if end < len(all) {
		next = "page-" + itoa(int64(end))
	}
	return slices.Clone(all[start:end]), next, true
}

// ServeHTTP answers one request of any AWS client. Where a fault cuts the
// connection and the server cannot, the answer is an empty 502.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	answer, err := w.serve(r.Context(), r)
	if err != nil {
		if errors.Is(err, errDropped) {
			if conn, _, hijackErr := http.NewResponseController(rw).Hijack(); hijackErr == nil {
				conn.Close()
				return
			}
		}
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	for name, value := range answer.header {
		rw.Header().Set(name, value)
	}
	rw.Header().Set("Content-Type", answer.contentType)
	rw.Header().Set("Content-Length", itoa(int64(len(answer.body))))
	rw.WriteHeader(answer.status)
	if _, err := rw.Write(answer.body); err != nil {
		return // The client went away; the record of the call is already made.
	}
}
