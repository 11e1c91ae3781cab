package awssim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// decodeJSON reads the body of awsJson1_1. The operation is what follows the
// last dot of X-Amz-Target: prefixes differ between SDKs.
func (c *call) decodeJSON(r *http.Request) *Error {
	target := r.Header.Get("X-Amz-Target")
	c.Op = target[strings.LastIndexByte(target, '.')+1:]
	if len(bytes.TrimSpace(c.body)) == 0 {
		c.body = []byte("{}")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &fields); err != nil || fields == nil {
		return &Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: "Start of structure or map found where not expected."}
	}
	c.Params = make(map[string]string, len(fields))
	for key, raw := range fields {
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			c.Params[key] = text
		case len(raw) > 0 && raw[0] != '{' && raw[0] != '[':
			c.Params[key] = string(raw)
		}
	}
	return nil
}

// input reads the body into the operation's input.
func (c *call) input(into any) *Error {
	if err := json.Unmarshal(c.body, into); err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: "The request could not be read: a member has an unexpected type."}
	}
	return nil
}

// object is a JSON answer.
type object map[string]any

func encodeJSON(answer any, id string) *response {
	body, err := json.Marshal(answer)
	if err != nil {
		return encodeJSONError(serverError(jsonProtocol), id)
	}
	return &response{
		status: http.StatusOK, contentType: "application/x-amz-json-1.1", body: body,
		header: map[string]string{"X-Amzn-Requestid": id},
	}
}

func encodeJSONError(e *Error, id string) *response {
	// A map of strings always marshals.
	body, _ := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message})
	return &response{
		status: e.Status, contentType: "application/x-amz-json-1.1", body: body,
		header: map[string]string{"X-Amzn-Requestid": id, "X-Amzn-Errortype": e.Code},
	}
}

// epoch is a time as awsJson1_1 has it: seconds with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// millis is a time as CloudWatch Logs has it.
func millis(t time.Time) int64 { return t.UnixMilli() }
