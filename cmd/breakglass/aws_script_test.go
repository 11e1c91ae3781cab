package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// awsProgram stands in for the AWS CLI in scripts, with the CLI's names: those of
// operations and arguments are the SDK's own in another spelling, and the calls are
// made by the SDK's own clients. Of --query and --output it knows what the documents
// use. It is no proof that the real AWS CLI takes a line.
func awsProgram() {
	if err := runAWS(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "aws: %v\n", err)
		os.Exit(1)
	}
}

// awsServices are the services by their names in the AWS CLI.
var awsServices = map[string]func(aws.Config) any{
	"iam":        func(c aws.Config) any { return iam.NewFromConfig(c) },
	"sts":        func(c aws.Config) any { return sts.NewFromConfig(c) },
	"ssm":        func(c aws.Config) any { return ssm.NewFromConfig(c) },
	"logs":       func(c aws.Config) any { return cloudwatchlogs.NewFromConfig(c) },
	"cloudtrail": func(c aws.Config) any { return cloudtrail.NewFromConfig(c) },
}

// awsCall is one line of the AWS CLI, understood.
type awsCall struct {
	service, operation string
	input              reflect.Value // pointer to the operation's input
	region, query      string
}

// parseAWS understands a line of the AWS CLI, without its first word.
func parseAWS(args []string, read func(file string) (string, error)) (awsCall, error) {
	if len(args) < 2 {
		return awsCall{}, errors.New("a service and an operation are needed")
	}
	client, ok := awsServices[args[0]]
	if !ok {
		return awsCall{}, fmt.Errorf("there is no service %q here", args[0])
	}
	c := awsCall{service: args[0], operation: camel(args[1])}
	method := reflect.ValueOf(client(aws.Config{})).MethodByName(c.operation)
	if !method.IsValid() {
		return awsCall{}, fmt.Errorf("the SDK's client of %s has no operation %s", c.service, c.operation)
	}
	c.input = reflect.New(method.Type().In(1).Elem())
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		name, ok := strings.CutPrefix(rest[0], "--")
		if !ok || len(rest) < 2 {
			return awsCall{}, fmt.Errorf("%q: arguments are --NAME VALUE", rest[0])
		}
		value := rest[1]
		if file, ok := strings.CutPrefix(value, "file://"); ok {
			var err error
			if value, err = read(file); err != nil {
				return awsCall{}, err
			}
		}
		switch name {
		case "region":
			c.region = value
		case "query":
			c.query = value
		case "output":
			if value != "json" && value != "text" && value != "table" {
				return awsCall{}, fmt.Errorf("there is no output %q", value)
			}
		default:
			field := c.input.Elem().FieldByName(camel(name))
			if !field.IsValid() {
				return awsCall{}, fmt.Errorf("%s has no argument %q", c.operation, rest[0])
			}
			if err := enter(field, value); err != nil {
				return awsCall{}, fmt.Errorf("%s: %w", rest[0], err)
			}
		}
	}
	return c, nil
}

// camel spells a name of the AWS CLI as the SDK does.
func camel(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// enter sets a field to what the AWS CLI makes of a word; a structure is written as
// Key=Value,Key=Value.
func enter(field reflect.Value, value string) error {
	switch field.Kind() {
	case reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		return enter(field.Elem(), value)
	case reflect.String:
		field.SetString(value)
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("not a number: %w", err)
		}
		field.SetInt(n)
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		return enter(field.Index(0), value)
	case reflect.Struct:
		for part := range strings.SplitSeq(value, ",") {
			key, of, ok := strings.Cut(part, "=")
			if f := field.FieldByName(camel(key)); !ok || !f.IsValid() {
				return fmt.Errorf("%q is no Key=Value of %s", part, field.Type())
			} else if err := enter(f, of); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("a %s cannot be entered here", field.Type())
	}
	return nil
}

func runAWS(ctx context.Context, args []string, out io.Writer) error {
	c, err := parseAWS(args, func(file string) (string, error) {
		text, err := os.ReadFile(file)
		return string(text), err
	})
	if err != nil {
		return err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.region), config.WithRetryMaxAttempts(1))
	if err != nil {
		return fmt.Errorf("loading the configuration: %w", err)
	}
	if cfg.Region == "" {
		if c.service != "iam" && c.service != "sts" {
			return errors.New("you must specify a region")
		}
		cfg.Region = "us-east-1"
	}
	answer := reflect.ValueOf(awsServices[c.service](cfg)).MethodByName(c.operation).
		Call([]reflect.Value{reflect.ValueOf(ctx), c.input})
	if err, _ := reflect.TypeAssert[error](answer[1]); err != nil {
		return err
	}
	text, err := json.Marshal(answer[0].Interface())
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if m, ok := tree.(map[string]any); ok {
		delete(m, "ResultMetadata")
		if len(m) == 0 {
			return nil
		}
	}
	if tree, err = ask(plainPolicies(tree), c.query); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(tree)
}

// plainPolicies opens the policies in an answer, which IAM encodes and the AWS CLI shows
// as JSON.
func plainPolicies(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		for name, x := range v {
			v[name] = plainPolicies(x)
			text, ok := x.(string)
			if !ok || !strings.HasSuffix(name, "PolicyDocument") {
				continue
			}
			var policy any
			if plain, err := url.PathUnescape(text); err == nil && json.Unmarshal([]byte(plain), &policy) == nil {
				v[name] = policy
			}
		}
	case []any:
		for i, x := range v {
			v[i] = plainPolicies(x)
		}
	}
	return tree
}

// columns is the one form of a projection that the documents use.
var columns = regexp.MustCompile(`^([A-Za-z]+)\[\]\.\[([A-Za-z, ]+)\]$`)

// ask answers a --query: Name.Name, or Names[].[Name, Name].
func ask(tree any, query string) (any, error) {
	if query == "" {
		return tree, nil
	}
	if m := columns.FindStringSubmatch(query); m != nil {
		list, err := ask(tree, m[1])
		if err != nil {
			return nil, err
		}
		rows := []any{}
		all, _ := list.([]any)
		for _, x := range all {
			row := []any{}
			for name := range strings.SplitSeq(m[2], ",") {
				cell, err := ask(x, strings.TrimSpace(name))
				if err != nil {
					return nil, err
				}
				row = append(row, cell)
			}
			rows = append(rows, row)
		}
		return rows, nil
	}
	for name := range strings.SplitSeq(query, ".") {
		m, ok := tree.(map[string]any)
		if _, there := m[name]; !ok || !there {
			return nil, fmt.Errorf("--query %s: the answer has no %s", query, name)
		}
		tree = m[name]
	}
	return tree, nil
}
