package trust

import (
	"errors"
	"fmt"
)

// What may be wrong with a document; a [ParseError] wraps one of them.
var (
	// ErrTooLarge is a document of more than [MaxSize] bytes.
	ErrTooLarge = errors.New("the document is too large")
	// ErrSyntax is a document that is not one JSON value in UTF-8.
	ErrSyntax = errors.New("the document is not valid JSON")
	// ErrTooDeep is a document nested deeper than any policy.
	ErrTooDeep = errors.New("the document is nested too deeply")
	// ErrDuplicateKey is an element that appears twice in one object, where
	// two readers may take different ones for the one that counts.
	ErrDuplicateKey = errors.New("an element appears twice")
	// ErrNoStatement is a document without the Statement element.
	ErrNoStatement = errors.New("the document has no Statement")
	// ErrShape is JSON that the grammar of the policy language does not allow.
	ErrShape = errors.New("the document is not a policy")
)

// What may be wrong with an argument; a [ValueError] wraps one of them.
var (
	// ErrSid is a Sid that is not of our form, or that is the placeholder's.
	ErrSid = errors.New("not a statement id of ours")
	// ErrPrincipal is a principal that cannot be used for what was asked.
	ErrPrincipal = errors.New("not a principal that can be used here")
	// ErrAccount is an account id that is not twelve digits.
	ErrAccount = errors.New("not an AWS account id")
	// ErrEnd is an end that cannot be written as a date.
	ErrEnd = errors.New("not an end that can be written")
)

// A ParseError says what is wrong with a document, and where.
type ParseError struct {
	Err    error  // one of the errors above, for errors.Is
	Offset int    // in bytes, from 0
	Detail string // may be empty
}

// Error names the problem and its place.
func (e *ParseError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("trust policy: %v, at byte %d", e.Err, e.Offset)
	}
	return fmt.Sprintf("trust policy: %v, at byte %d: %s", e.Err, e.Offset, e.Detail)
}

// Unwrap is the kind of the problem.
func (e *ParseError) Unwrap() error { return e.Err }

// A ValueError says which argument cannot be used.
type ValueError struct {
	Err   error // one of the errors above, for errors.Is
	Value string
}

// Error names the argument and the problem.
func (e *ValueError) Error() string { return fmt.Sprintf("trust policy: %.200q: %v", e.Value, e.Err) }

// Unwrap is the kind of the problem.
func (e *ValueError) Unwrap() error { return e.Err }
