package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// A block of Terraform's language, with its attributes as values. A call of
// jsonencode is what it encodes.
type hclBlock struct {
	kind       string
	labels     []string
	attributes map[string]any
}

// hclReader reads the part of Terraform's language that `breakglass policy` writes,
// by the grammar of github.com/hashicorp/hcl (hclsyntax/spec.md): blocks,
// attributes, strings without templates, lists, objects, traversals and
// jsonencode. Anything else ends the test.
type hclReader struct {
	t         *testing.T
	tokens    []string
	principal string
	blocks    []hclBlock
}

var hclToken = regexp.MustCompile(`#[^\n]*|\n|"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*|[{}\[\](),=]|[ \t]+|.`)

// parseHCL reads a file; var.breakglass_principal is the principal. Every resource
// that is referred to must be there.
func parseHCL(t *testing.T, text, principal string) []hclBlock {
	t.Helper()
	r := &hclReader{t: t, principal: principal}
	for _, tok := range hclToken.FindAllString(text, -1) {
		if strings.Trim(tok, " \t") != "" && tok[0] != '#' {
			r.tokens = append(r.tokens, tok)
		}
	}
	for r.skipLines(); len(r.tokens) > 0; r.skipLines() {
		r.block()
	}
	var out []hclBlock
	names, variable := map[string]bool{}, false
	for _, b := range r.blocks {
		switch {
		case b.kind == "variable" && len(b.labels) == 1 && b.labels[0] == terraformPrincipal:
			variable = true
		case b.kind == "resource" && len(b.labels) == 2:
			name := strings.Join(b.labels, ".")
			if names[name] {
				t.Errorf("%s is there twice", name)
			}
			names[name] = true
			out = append(out, b)
		default:
			t.Errorf("a block %s %v", b.kind, b.labels)
		}
	}
	for _, b := range out {
		for key, v := range b.attributes {
			ref, ok := v.(hclReference)
			switch parts := strings.Split(string(ref), "."); {
			case !ok || key == "provider":
			case len(parts) != 3 || !names[parts[0]+"."+parts[1]]:
				t.Errorf("%s refers to %s, which is not there", strings.Join(b.labels, "."), ref)
			}
		}
	}
	if strings.Contains(text, "var."+terraformPrincipal) != variable {
		t.Error("the variable is used and not declared, or declared and not used")
	}
	return out
}

// hclReference is a traversal such as aws_iam_role.x.id.
type hclReference string

func (r *hclReader) take() string {
	if len(r.tokens) == 0 {
		r.t.Fatal("the file ends in the middle")
	}
	tok := r.tokens[0]
	r.tokens = r.tokens[1:]
	return tok
}

func (r *hclReader) want(tok string) {
	r.t.Helper()
	if got := r.take(); got != tok {
		r.t.Fatalf("got %q, want %q, before %q", got, tok, r.tokens[:min(8, len(r.tokens))])
	}
}

func (r *hclReader) skipLines() {
	for len(r.tokens) > 0 && r.tokens[0] == "\n" {
		r.take()
	}
}

func (r *hclReader) block() {
	b := hclBlock{kind: r.take(), attributes: map[string]any{}}
	for r.tokens[0] != "{" {
		b.labels = append(b.labels, r.text(r.take()))
	}
	r.want("{")
	r.want("\n")
	for r.tokens[0] != "}" {
		key := r.take()
		r.want("=")
		b.attributes[key] = r.expression()
		r.want("\n")
	}
	r.want("}")
	r.want("\n")
	r.blocks = append(r.blocks, b)
}

func (r *hclReader) expression() any {
	switch tok := r.take(); {
	case tok == "jsonencode":
		r.want("(")
		v := r.expression()
		r.want(")")
		return v
	case tok == "[":
		list := []any{}
		for r.skipLines(); r.tokens[0] != "]"; r.skipLines() {
			list = append(list, r.expression())
			r.want(",")
		}
		r.want("]")
		return list
	case tok == "{":
		object := map[string]any{}
		for r.skipLines(); r.tokens[0] != "}"; r.skipLines() {
			key := r.take()
			if key[0] == '"' {
				key = r.text(key)
			}
			r.want("=")
			object[key] = r.expression()
			r.want("\n")
		}
		r.want("}")
		return object
	case tok[0] == '"':
		return r.text(tok)
	case tok == "var."+terraformPrincipal:
		return r.principal
	case tok == "string", strings.Contains(tok, "."):
		return hclReference(tok)
	default:
		r.t.Fatalf("the expression %q", tok)
		return nil
	}
}

// text is a quoted template without anything to fill in.
func (r *hclReader) text(tok string) string {
	r.t.Helper()
	if len(tok) < 2 || tok[0] != '"' {
		r.t.Fatalf("%s is no string", tok)
	}
	s := tok[1 : len(tok)-1]
	if strings.Contains(strings.ReplaceAll(s, "$${", ""), "${") || strings.Contains(strings.ReplaceAll(s, "%%{", ""), "%{") {
		r.t.Fatalf("%s has something to fill in", tok)
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n", "$${", "${", "%%{", "%{").Replace(s)
}

// A string comes back as it was, whatever is in it.
func TestQuoted(t *testing.T) {
	for _, s := range []string{"", "plain", `a "quoted" \ word`, "${aws:username}", "%{if}", "two\nlines", "arn:aws:iam::1:role/*"} {
		text := fmt.Sprintf("resource \"a\" \"b\" {\n  x = %s\n}\n", quoted(s))
		if got := parseHCL(t, text, "")[0].attributes["x"]; got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	}
}
