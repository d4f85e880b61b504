package media_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const home = "tonearm/internal/media"

// documented is the list below a heading of doc.go, without what is said of each entry.
func documented(t *testing.T, heading string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(f.Doc.Text(), "\n# "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n# ")
	var list []string
	for line := range strings.Lines(section) {
		if entry, ok := strings.CutPrefix(line, "  - "); ok {
			name, _, _ := strings.Cut(entry, ":")
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		t.Fatalf("doc.go has no list below %q", heading)
	}
	return list
}

// goList runs go list on packages and returns the fields of its lines.
func goList(t *testing.T, args ...string) [][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// TestOneWay: each package imports only those below it in the list of doc.go, which has
// all of them.
func TestOneWay(t *testing.T) {
	list := documented(t, "Packages")
	tools := []string{"mediatest", "ffmpeg/configure"} // above all others
	order := slices.Concat(tools, list)
	name := func(path string) string { return strings.TrimPrefix(strings.Replace(path, home, "media", 1), "media/") }
	var found []string
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		from := name(line[0])
		found = append(found, from)
		for _, path := range line[1:] {
			if to := name(path); strings.HasPrefix(path, home) && slices.Index(order, to) <= slices.Index(order, from) {
				t.Errorf("%s imports %s, which stands above it in doc.go, or in no place", from, to)
			}
		}
	}
	slices.Sort(order)
	slices.Sort(found)
	if !slices.Equal(order, found) {
		t.Errorf("doc.go lists the packages %v, there are %v", list, found)
	}
}

// TestPath: Convert calls the functions of the other packages that doc.go lists, in that
// order. These are all that take a context or return an error.
func TestPath(t *testing.T) {
	calls := newCallPath(t)
	calls.follow("Convert")
	if want := documented(t, "The path of one conversion"); !slices.Equal(calls.steps, want) {
		t.Errorf("Convert calls\n\t%s\ndoc.go says\n\t%s", strings.Join(calls.steps, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// callPath finds the calls of other packages in the order of the source.
type callPath struct {
	info      *types.Info
	functions map[string]*ast.FuncDecl // of this package, by name
	followed  []string
	steps     []string
}

func newCallPath(t *testing.T) *callPath {
	t.Helper()
	exports := map[string]string{}
	for _, line := range goList(t, "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".") {
		exports[line[0]] = line[len(line)-1]
	}
	c := &callPath{info: &types.Info{Uses: map[*ast.Ident]types.Object{}}, functions: map[string]*ast.FuncDecl{}}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, line := range goList(t, "-f", `{{join .GoFiles " "}}`, ".") {
		for _, file := range line {
			f, err := parser.ParseFile(fset, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					c.functions[fn.Name.Name] = fn
				}
			}
		}
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return os.Open(exports[path])
	}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := config.Check(home, fset, files, c.info); err != nil {
		t.Fatal(err)
	}
	return c
}

// follow adds the calls in a function, and in those of this package that it calls.
func (c *callPath) follow(function string) {
	if slices.Contains(c.followed, function) {
		return
	}
	c.followed = append(c.followed, function)
	var calls []*ast.CallExpr // those that are not complete yet
	ast.PreorderStack(c.functions[function], nil, func(n ast.Node, stack []ast.Node) bool {
		for len(calls) > 0 && !slices.Contains(stack, ast.Node(calls[len(calls)-1])) {
			c.called(calls[len(calls)-1])
			calls = calls[:len(calls)-1]
		}
		if call, ok := n.(*ast.CallExpr); ok {
			calls = append(calls, call)
		}
		return true
	})
	for _, call := range slices.Backward(calls) {
		c.called(call)
	}
}

// called adds one call, whose arguments were added before.
func (c *callPath) called(call *ast.CallExpr) {
	var id *ast.Ident
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		id = fun
	case *ast.SelectorExpr:
		id = fun.Sel
	default:
		return
	}
	fn, ok := c.info.Uses[id].(*types.Func)
	switch {
	case !ok || fn.Pkg() == nil:
	case fn.Pkg().Path() == home:
		c.follow(fn.Name())
	case strings.HasPrefix(fn.Pkg().Path(), home+"/") && isStep(fn.Signature()):
		name := strings.TrimPrefix(fn.FullName(), home+"/")
		name = strings.NewReplacer("(*"+home+"/", "", "("+home+"/", "", ")", "").Replace(name)
		c.steps = append(c.steps, name)
	}
}

// isStep reports whether a function takes a context or returns an error.
func isStep(s *types.Signature) bool {
	fallible := types.Universe.Lookup("error").Type()
	for v := range s.Results().Variables() {
		if types.Identical(v.Type(), fallible) {
			return true
		}
	}
	return s.Params().Len() > 0 && s.Params().At(0).Type().String() == "context.Context"
}
