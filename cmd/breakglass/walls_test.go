package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// These tests hold the architecture (DESIGN section 5): what may import what, and
// what may be in the repository at all. A package that is new here fails until
// it has a line in the table; whoever adds the line decides where it belongs.

const (
	module   = "breakglass"
	repoRoot = "../.."
)

// wall is what one package of this module may import of this module. Tests
// may, besides, import the simulators named for them.
type wall struct {
	may   []string
	tests []string
	pure  bool // no I/O, no clock's neighbours, and nothing from other modules
}

var walls = map[string]wall{
	"cmd/breakglass":      {may: []string{"bot", "actions", "store", "store/grant"}, tests: []string{"actions/awssim", "bot/slacksim", "actions/trust", "bot/view"}},
	"cmd/breakglass-demo": {may: []string{"bot", "actions", "store", "store/grant", "actions/awssim", "bot/slacksim"}},
	"bot":                 {may: []string{"store", "store/grant", "bot/view"}, tests: []string{"bot/slacksim", "actions", "actions/awssim"}},
	"bot/view":            {may: []string{"store/grant"}, tests: []string{"bot/slacksim"}, pure: true},
	"bot/slacksim":        {},
	"actions":             {may: []string{"store/grant", "actions/trust"}, tests: []string{"actions/awssim"}},
	"actions/trust":       {may: []string{"store/grant"}, pure: true},
	"actions/awssim":      {},
	"store":               {may: []string{"store/grant"}},
	"store/grant":         {pure: true},
}

// impure are the parts of the standard library with which a pure package could
// reach the world, or that answer differently each time they are asked. A name
// stands for the packages below it too.
var impure = []string{
	"C", "crypto/rand", "database", "embed", "io/ioutil", "log", "math/rand", "net", "os", "path/filepath",
	"plugin", "runtime", "syscall", "testing", "unsafe",
}

// harmless are packages below an impure name that only compute.
var harmless = []string{"net/netip", "net/url"}

// borders are the modules whose types stop at one package. Each is imported by
// the packages named, and in tests by those named for tests as well.
var borders = []struct {
	module     string
	may, tests []string
}{
	{"github.com/slack-go/slack", []string{"bot"}, []string{"bot/slacksim", "cmd/breakglass", "cmd/breakglass-demo"}},
	// The demo's SingleStore engineer is an AWS client of their own.
	{"github.com/aws", []string{"actions", "cmd/breakglass-demo"}, []string{"actions/awssim", "bot", "cmd/breakglass"}}, // the demo and the bot's tests play the vendor
	{"go.etcd.io/bbolt", []string{"store"}, nil},
	{"go.yaml.in/yaml", []string{"cmd/breakglass", "actions"}, nil}, // the configuration; preferences documents written in YAML
	{"github.com/jessevdk/go-flags", []string{"cmd/breakglass"}, nil},
	{"github.com/prometheus", []string{"cmd/breakglass"}, nil}, // the others only tell what happened
	{"github.com/google/go-cmp", nil, []string{"*"}},
	{"github.com/rogpeppe/go-internal", nil, []string{"*"}},
	{"pgregory.net/rapid", nil, []string{"*"}},
}

// goPackage is what `go list -json` says of a package, as far as it is needed.
type goPackage struct {
	ImportPath, Dir, Doc, Name         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// inModule is the path within the module; ok says that it is in the module.
func inModule(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Doc,Name,Imports,TestImports,XTestImports,Deps,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = repoRoot
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	found := make(map[string]goPackage)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ok := inModule(p.ImportPath); ok {
			found[name] = p
		}
	}
	if _, ok := found["store/grant"]; !ok {
		t.Fatal("go list does not know store/grant: nothing would be checked")
	}
	return found
}

func under(path, name string) bool { return path == name || strings.HasPrefix(path, name+"/") }

func TestWalls_imports(t *testing.T) {
	for name, p := range packages(t) {
		w, known := walls[name]
		if !known {
			t.Errorf("%s: a new package; give it a line in the table of this test, and a reason in its package comment", name)
			continue
		}
		check := func(imports, also []string, where string) {
			for _, path := range imports {
				if in, ok := inModule(path); ok && in != name && !slices.Contains(w.may, in) && !slices.Contains(also, in) {
					t.Errorf("%s%s imports %s, which is on the other side of a wall", name, where, in)
				}
			}
		}
		check(p.Imports, nil, "")
		check(p.TestImports, w.tests, " (its tests)")
		check(p.XTestImports, w.tests, " (its tests)")
	}
}

func TestWalls_pure(t *testing.T) {
	for name, p := range packages(t) {
		if !walls[name].pure {
			continue
		}
		for _, path := range p.Imports {
			isStd := !strings.Contains(strings.Split(path, "/")[0], ".")
			switch _, ours := inModule(path); {
			case ours:
			case !isStd:
				t.Errorf("%s is pure and imports %s from another module", name, path)
			case slices.Contains(harmless, path):
			case slices.ContainsFunc(impure, func(bad string) bool { return under(path, bad) }):
				t.Errorf("%s is pure and imports %s", name, path)
			}
		}
	}
}

func TestWalls_borders(t *testing.T) {
	for name, p := range packages(t) {
		for _, b := range borders {
			check := func(imports []string, may []string, where string) {
				for _, path := range imports {
					if under(path, b.module) && !slices.Contains(may, name) && !slices.Contains(may, "*") {
						t.Errorf("%s%s imports %s, whose types stop at %v", name, where, path, b.may)
					}
				}
			}
			check(p.Imports, b.may, "")
			check(p.TestImports, slices.Concat(b.may, b.tests), " (its tests)")
			check(p.XTestImports, slices.Concat(b.may, b.tests), " (its tests)")
		}
	}
}

// The production binary cannot be told to pretend.
func TestWalls_noSimulatorInTheBinary(t *testing.T) {
	p, ok := packages(t)["cmd/breakglass"]
	if !ok {
		t.Fatal("go list does not know cmd/breakglass")
	}
	for _, dep := range p.Deps {
		if name, ours := inModule(dep); ours && strings.HasSuffix(name, "sim") {
			t.Errorf("cmd/breakglass is built with %s", name)
		}
		if dep == "testing" {
			t.Error("cmd/breakglass is built with package testing")
		}
	}
}

// The linker leaves out what nobody calls, unless something calls a method by a name
// that is known only at run time (reflect's MethodByName and Method; text/template
// does): then it keeps every exported method of every type, and the clients for AWS
// alone make the binary three times as big. The linker itself says who does. Neither
// the source nor the imports would: a name may be a constant, which it can follow,
// and what is imported may never be reached.
func TestWalls_deadCode(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(t.TempDir(), "breakglass"), "-ldflags=-s -w -dumpdep", "./cmd/breakglass")
	cmd.Dir = repoRoot
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out[:min(len(out), 4000)])
	}
	if !bytes.Contains(out, []byte("\nmain.main -> main.run\n")) {
		t.Fatal("the linker does not say that main calls run: nothing would be checked")
	}
	for line := range bytes.Lines(out) {
		if bytes.HasSuffix(line, []byte(" <ReflectMethod>\n")) {
			t.Errorf("%s: calls a method by name, so nothing that is exported is left out of the binary", bytes.TrimSpace(line))
		}
	}
}

func TestWalls_packageComments(t *testing.T) {
	for name, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(name) + " "
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: the package comment begins %q, want %q", name, p.Doc, want)
		}
	}
}

func TestWalls_goMod(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repoRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^\s*(replace|exclude|retract)\b.*$`).Find(data); m != nil {
		t.Errorf("go.mod: %s; what is built must be what the module proxy has", m)
	}
}

// tracked lists the files of the repository, by slashed path: what git tracks
// and what it would, or, without git, what is there.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = repoRoot
	var files []string
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			// What is deleted but not committed is listed still.
			if _, err := os.Lstat(filepath.Join(repoRoot, name)); err == nil {
				files = append(files, name)
			}
		}
		return files
	}
	err := filepath.WalkDir(repoRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repoRoot, path)
		if err != nil {
			return err
		}
		switch name = filepath.ToSlash(name); {
		case d.IsDir() && (name == ".git" || name == ".ci/bin" || name == "dist"):
			return filepath.SkipDir
		case !d.IsDir():
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWalls_topLevel(t *testing.T) {
	folders := []string{"cmd", "bot", "actions", "store", "deploy", "docs", ".ci"}
	for _, name := range tracked(t) {
		if top, _, nested := strings.Cut(name, "/"); nested && !slices.Contains(folders, top) {
			t.Errorf("%s: the folders at the top are %s", name, strings.Join(folders, ", "))
		}
	}
}

// Nothing in the repository may work only on the machine it was written on. The
// parts are joined here so that this file does not find itself.
func TestWalls_noMachineNames(t *testing.T) {
	var banned []string
	for _, parts := range [][]string{
		{"/wo", "rk/"},
		{"/ro", "ot/"},
		{"/ho", "me/"},
		{"/Us", "ers/"},
		{"/var/fol", "ders/"},
		{"proxy.go", "lang.org"},
		{"sum.go", "lang.org"},
		{"registry.npm", "js.org"},
		{"deb.deb", "ian.org"},
		{"docker", ".io/"},
		{"gcr", ".io/"},
		{"quay", ".io/"},
		{"vuln.go", ".dev"},
	} {
		banned = append(banned, strings.Join(parts, ""))
	}
	for _, name := range tracked(t) {
		data, err := os.ReadFile(filepath.Join(repoRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, 0) >= 0 {
			continue // not text
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			for _, bad := range banned {
				if bytes.Contains(line, []byte(bad)) {
					t.Errorf("%s:%d: names %s", name, i+1, bad)
				}
			}
		}
	}
}

// A test that is skipped proves nothing, and one that sleeps proves it slowly and
// not always. In a synctest bubble sleeping takes no time and is exact; a package's
// fixture raises its bubbles, so it is enough that the package has them.
func TestWalls_noSkippingNoSleeping(t *testing.T) {
	bubbles := map[string]bool{}
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(repoRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("synctest.Test(")) {
			bubbles[filepath.Dir(name)] = true
		}
	}
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(repoRoot, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		discards := rapidFuncs(file)
		bubble := bubbles[filepath.Dir(name)]
		for n := range ast.Preorder(file) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				continue
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			x, _ := sel.X.(*ast.Ident)
			switch {
			case x == nil:
			case x.Name == "time" && sel.Sel.Name == "Sleep" && !bubble:
				t.Errorf("%s sleeps; run it in a synctest bubble", set.Position(call.Pos()))
			case slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) && !discards(call.Pos()):
				t.Errorf("%s skips a test; make it run everywhere, or take it out", set.Position(call.Pos()))
			}
		}
	}
}

// rapidFuncs answers whether a place is in a function that takes a *rapid.T: its
// Skip discards one drawn case, and no test.
func rapidFuncs(file *ast.File) func(token.Pos) bool {
	var bodies []*ast.BlockStmt
	for n := range ast.Preorder(file) {
		var sig *ast.FuncType
		var body *ast.BlockStmt
		switch f := n.(type) {
		case *ast.FuncDecl:
			sig, body = f.Type, f.Body
		case *ast.FuncLit:
			sig, body = f.Type, f.Body
		}
		if body == nil {
			continue
		}
		for _, p := range sig.Params.List {
			star, _ := p.Type.(*ast.StarExpr)
			if star == nil {
				continue
			}
			if sel, ok := star.X.(*ast.SelectorExpr); ok && sel.Sel.Name == "T" {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "rapid" {
					bodies = append(bodies, body)
				}
			}
		}
	}
	return func(at token.Pos) bool {
		return slices.ContainsFunc(bodies, func(b *ast.BlockStmt) bool { return b.Pos() <= at && at < b.End() })
	}
}
