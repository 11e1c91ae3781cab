package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"breakglass/store/grant"
)

// auditDoc explains the audit log to those who read an export.
const auditDoc = "../docs/audit.md"

// described reads the tables of the document: by the Go type in a section's heading,
// or the heading itself, the first column of its table.
func described(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(auditDoc)
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^#+ (.*?)(?: \\(`([A-Za-z]+)`\\))?$")
	row := regexp.MustCompile("^\\| `([a-z_]+)` \\|")
	found := map[string][]string{}
	at := ""
	for line := range strings.SplitSeq(string(data), "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			if at = m[2]; at == "" {
				at = m[1]
			}
		} else if m := row.FindStringSubmatch(line); m != nil {
			found[at] = append(found[at], m[1])
		}
	}
	return found
}

// parsed reads a package's files, without its tests.
func parsed(t *testing.T, dir string) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, e := range entries {
		if name := e.Name(); e.Type() == fs.FileMode(0) && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), dir+"/"+name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	return files
}

// structs finds the struct types of some files.
func structs(files []*ast.File) map[string]*ast.StructType {
	found := map[string]*ast.StructType{}
	for _, f := range files {
		for n := range ast.Preorder(f) {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					found[spec.Name.Name] = s
				}
			}
		}
	}
	return found
}

// keys are the JSON keys of a struct, and the names of the types it is made of.
func keys(s *ast.StructType) (names, types []string) {
	for _, f := range s.Fields.List {
		name := ""
		if f.Tag != nil {
			tag, _ := strconv.Unquote(f.Tag.Value)
			name, _, _ = strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		}
		if name == "-" || len(f.Names) == 0 {
			continue
		}
		names = append(names, name)
		for n := range ast.Preorder(f.Type) {
			if id, ok := n.(*ast.Ident); ok {
				types = append(types, id.Name)
			}
		}
	}
	return names, types
}

// TestAuditDoc holds the document against the types: every field of an entry and of
// every detail has a line that explains it, and no line is left of one that is gone.
func TestAuditDoc(t *testing.T) {
	doc := described(t)
	files := parsed(t, ".")
	known := structs(parsed(t, "grant"))
	own := structs(files)
	maps.Copy(known, own)
	need := []string{"Entry", "Write"} // a write is a detail as it stands
	for name := range own {
		if strings.HasSuffix(name, "Detail") {
			need = append(need, name)
		}
	}
	slices.Sort(need)
	seen := map[string]bool{}
	for len(need) > 0 {
		name := need[0]
		need = need[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		want, types := keys(known[name])
		for _, t := range types {
			if known[t] != nil {
				need = append(need, t)
			}
		}
		for _, k := range want {
			if !slices.Contains(doc[name], k) {
				t.Errorf("%s does not explain %q of an audit entry: add a line to the section of `%s`", auditDoc, k, name)
			}
		}
		for _, k := range doc[name] {
			if !slices.Contains(want, k) {
				t.Errorf("%s explains %q of `%s`, which is not there", auditDoc, k, name)
			}
		}
	}
	if len(seen) < 15 || !seen["Actor"] || !seen["Session"] {
		t.Fatalf("only %d types were found: the test looks at nothing", len(seen))
	}
}

// TestAuditDoc_kinds wants every kind of entry in the document's table.
func TestAuditDoc_kinds(t *testing.T) {
	var want []string
	for _, k := range grant.Kinds {
		want = append(want, string(k))
	}
	for _, f := range parsed(t, ".") {
		for n := range ast.Preorder(f) {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				continue
			}
			if typ, ok := spec.Type.(*ast.SelectorExpr); ok && typ.Sel.Name == "Kind" {
				for _, v := range spec.Values {
					text, _ := strconv.Unquote(v.(*ast.BasicLit).Value)
					want = append(want, text)
				}
			}
		}
	}
	for _, k := range []grant.Kind{KindRefused, KindStray, KindBlind} {
		if !slices.Contains(want, string(k)) {
			t.Fatalf("the constant %q was not found: the test looks at too little", k)
		}
	}
	got := described(t)["Kinds"]
	for _, k := range want {
		if !slices.Contains(got, k) {
			t.Errorf("%s does not explain the kind %q: add a line to its table of kinds", auditDoc, k)
		}
	}
	for _, k := range got {
		if !slices.Contains(want, k) {
			t.Errorf("%s explains the kind %q, which is not there", auditDoc, k)
		}
	}
}
