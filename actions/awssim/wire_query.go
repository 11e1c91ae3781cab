package awssim

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// decodeForm reads the form body of the query protocols.
func (c *call) decodeForm(*http.Request) *Error {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "MalformedQueryString", Message: "The query string contains a syntax error."}
	}
	c.form = form
	c.Op = form.Get("Action")
	c.Params = make(map[string]string, len(form))
	for key := range form {
		if key != "Action" && key != "Version" {
			c.Params[key] = form.Get(key)
		}
	}
	return nil
}

// list returns the values of prefix.1, prefix.2 and so on.
func (c *call) list(prefix string) []string {
	var out []string
	for i := 1; ; i++ {
		key := prefix + "." + strconv.Itoa(i)
		if !c.form.Has(key) {
			return out
		}
		out = append(out, c.form.Get(key))
	}
}

// number reads a whole number of a form, or the fallback where there is none.
func (c *call) number(key string, fallback, low, high int) (int, *Error) {
	text := c.form.Get(key)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, c.invalid("1 validation error detected: Value '" + text + "' at '" + key + "' failed to satisfy constraint: Member must have value between " + strconv.Itoa(low) + " and " + strconv.Itoa(high))
	}
	return n, nil
}

// invalid is the error of the call's protocol for an illegal parameter.
func (c *call) invalid(message string) *Error {
	code := "ValidationError"
	switch {
	case c.service.protocol == ec2Protocol:
		code = "InvalidParameterValue"
	case c.Service == "logs":
		code = "InvalidParameterException"
	case c.service.protocol == jsonProtocol:
		code = "ValidationException"
	}
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

// An xmlBuffer is the inside of an XML answer.
type xmlBuffer struct {
	buf bytes.Buffer
}

// leaf writes an element with text.
func (x *xmlBuffer) leaf(name, text string) {
	x.buf.WriteString("<" + name + ">")
	// Writing to a bytes.Buffer does not fail.
	_ = xml.EscapeText(&x.buf, []byte(text))
	x.buf.WriteString("</" + name + ">")
}

// time writes an element with a time.
func (x *xmlBuffer) time(name string, t time.Time) { x.leaf(name, isoTime(t)) }

// in writes an element around others.
func (x *xmlBuffer) in(name string, inside func()) {
	x.buf.WriteString("<" + name + ">")
	inside()
	x.buf.WriteString("</" + name + ">")
}

// leaves writes a list of elements that hold text.
func (x *xmlBuffer) leaves(list, item string, texts []string) {
	x.in(list, func() {
		for _, text := range texts {
			x.leaf(item, text)
		}
	})
}

// encodeXML wraps an answer as its protocol has it.
func (c *call) encodeXML(inside *xmlBuffer, id string) *response {
	var x xmlBuffer
	x.buf.WriteString(`<` + c.Op + `Response xmlns="` + c.service.namespace + `">`)
	if c.service.protocol == ec2Protocol {
		x.leaf("requestId", id)
		x.buf.Write(inside.buf.Bytes())
	} else {
		x.in(c.Op+"Result", func() { x.buf.Write(inside.buf.Bytes()) })
		x.in("ResponseMetadata", func() { x.leaf("RequestId", id) })
	}
	x.buf.WriteString(`</` + c.Op + `Response>`)
	return &response{
		status: http.StatusOK, contentType: "text/xml;charset=UTF-8", body: x.buf.Bytes(),
		header: map[string]string{"X-Amzn-Requestid": id},
	}
}

// encodeXMLError makes <ErrorResponse>, or <Response> for EC2.
func (c *call) encodeXMLError(e *Error, id string) *response {
	var x xmlBuffer
	if c.service.protocol == ec2Protocol {
		x.in("Response", func() {
			x.in("Errors", func() {
				x.in("Error", func() {
					x.leaf("Code", e.Code)
					x.leaf("Message", e.Message)
				})
			})
			x.leaf("RequestID", id)
		})
	} else {
		kind := "Sender"
		if e.Status >= http.StatusInternalServerError {
			kind = "Receiver"
		}
		x.buf.WriteString(`<ErrorResponse xmlns="` + c.service.namespace + `">`)
		x.in("Error", func() {
			x.leaf("Type", kind)
			x.leaf("Code", e.Code)
			x.leaf("Message", e.Message)
		})
		x.leaf("RequestId", id)
		x.buf.WriteString(`</ErrorResponse>`)
	}
	return &response{
		status: e.Status, contentType: "text/xml;charset=UTF-8", body: x.buf.Bytes(),
		header: map[string]string{"X-Amzn-Requestid": id},
	}
}

// percentEncode is RFC 3986, which is how IAM returns policy documents: a space
// is %20 and a plus sign %2B, unlike in forms.
func percentEncode(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(s))
}

// encode puts a successful answer on the wire.
func (c *call) encode(answer any, id string) *response {
	if x, ok := answer.(*xmlBuffer); ok {
		return c.encodeXML(x, id)
	}
	return encodeJSON(answer, id)
}

// encodeError puts a refusal on the wire.
func (c *call) encodeError(e *Error, id string) *response {
	if c.service.protocol == jsonProtocol {
		return encodeJSONError(e, id)
	}
	return c.encodeXMLError(e, id)
}
