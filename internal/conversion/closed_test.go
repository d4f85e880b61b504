package conversion_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const domain = "tonearm/internal/conversion"

// TestClosed type-checks the module and finds what changes a Conversion from
// outside this package: an assignment to a field or to a part of one, the
// address of a field, a slice or map in a field that is changed in place, a
// Conversion that is overwritten through a pointer, a literal with fields.
//
// Tests and packages only for tests (conversiontest and the like) are left out:
// they make records as a bug or an older version would leave them. Values that
// are not in a Conversion yet, such as the MP3 of a result, may be changed
// anywhere.
func TestClosed(t *testing.T) {
	m := readModule(t)
	t.Run("the check", func(t *testing.T) { testCheck(t, m) })
	for path := range m.listed {
		if path == domain || strings.HasSuffix(path, "test") || strings.HasPrefix(path, "tonearm/test/") {
			continue
		}
		for _, w := range m.writes(t, path) {
			t.Error(w)
		}
	}
}

// testCheck checks that check finds each way to write, and lets reading pass.
func testCheck(t *testing.T, m *module) {
	const head = `package p
import ("slices"; "sort"; "time"; "tonearm/internal/conversion")
type wrapped struct { conversion.Conversion; extra int }
type made conversion.Conversion
func f(c conversion.Conversion, p *conversion.Conversion, all []conversion.Conversion, m conversion.MP3, w wrapped) {
	_, _, _, _, _, _ = slices.Sort[[]int], sort.Ints, time.Now, m, w, all
`
	for source, want := range map[string]bool{
		`c.State = conversion.Done`:                             true,
		`p.Object.Size = 1`:                                     true,
		`p.Attempt++`:                                           true,
		`p.Attempt += 2`:                                        true,
		`p.Upload.ID = ""`:                                      true,
		`all[0].Outbox[0].Kind = conversion.Stop`:               true,
		`*p.Source = conversion.Source{}`:                       true,
		`for p.Attempt = range 3 {}`:                            true,
		`c.State, m.Size = conversion.Done, 1`:                  true,
		`*p = c`:                                                true,
		`w.Revision++`:                                          true,
		`w.Conversion.Revision++`:                               true,
		`a := &p.Progress; _ = a`:                               true,
		`_ = (&p.StartedAt).UnmarshalText(nil)`:                 true,
		`_ = p.StartedAt.UnmarshalText(nil)`:                    true,
		`_ = append(p.Outbox[:0], conversion.Message{})`:        true,
		`copy(p.Outbox, []conversion.Message{{}})`:              true,
		`clear(p.MP3.Notes)`:                                    true,
		`slices.Reverse(p.Outbox)`:                              true,
		`_ = slices.DeleteFunc(p.Outbox, nil)`:                  true,
		`sort.Slice(p.Outbox, nil)`:                             true,
		`func() { c.Failures = 0 }()`:                           true,
		`_ = made{ID: "x"}`:                                     true,
		`d := made(c); d.Revision++`:                            true,
		`_ = conversion.Conversion{ID: "x"}`:                    true,
		`_ = []*conversion.Conversion{{ID: "x"}}`:               true,
		`c = *p; all[0] = c`:                                    false,
		`o := c.Object; o.Size = 1`:                             false,
		`m.Size = 1; m.Notes = append(m.Notes, c.MP3.Notes...)`: false,
		`w.extra = len(c.Outbox); _ = conversion.Conversion{}`:  false,
		`_ = slices.Clone(c.Outbox); _ = slices.Contains(c.Outbox, conversion.Message{})`: false,
		`p = &all[0]; _ = c.StartedAt.Add(time.Hour)`:                                     false,
		`_ = p.Cancel(c.StartedAt)`:                                                       false,
	} {
		file, err := parser.ParseFile(m.files, "p.go", head+source+"\n}", 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.check("p", []*ast.File{file})
		if err != nil {
			t.Fatal(err)
		}
		if found := m.find(p); (len(found) > 0) != want {
			t.Errorf("%s: found %q, want something: %t", source, found, want)
		}
	}
}

// module is the packages of this module. They are type-checked from their
// source, so nothing has to be compiled. The types of packages from outside
// come from the files that the compiler exported.
type module struct {
	files   *token.FileSet
	listed  map[string]listed
	checked map[string]*checked
	outside types.Importer
}

type listed struct {
	ImportPath string
	Dir        string
	Export     string // file with the types of a package from outside
	Imports    []string
}

type checked struct {
	*types.Package
	files []*ast.File
	info  *types.Info
}

func readModule(t *testing.T) *module {
	t.Helper()
	m := &module{token.NewFileSet(), goList(t, "tonearm/..."), map[string]*checked{}, nil}
	args := []string{"-export", "-deps"}
	for _, p := range m.listed {
		for _, path := range p.Imports {
			if !strings.HasPrefix(path, "tonearm/") && path != "unsafe" && !slices.Contains(args, path) {
				args = append(args, path)
			}
		}
	}
	outside := goList(t, args...)
	m.outside = importer.ForCompiler(m.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(outside[path].Export) })
	return m
}

func goList(t *testing.T, args ...string) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Export,Imports"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	return all
}

// Import makes a module a types.Importer.
func (m *module) Import(path string) (*types.Package, error) {
	if !strings.HasPrefix(path, "tonearm/") {
		return m.outside.Import(path)
	}
	p, err := m.read(path)
	if err != nil {
		return nil, err
	}
	return p.Package, nil
}

func (m *module) read(path string) (*checked, error) {
	if p := m.checked[path]; p != nil {
		return p, nil
	}
	// This process reads the folder, so that go test runs the test again when a
	// file is added or removed.
	of, err := build.ImportDir(m.listed[path].Dir, 0)
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range of.GoFiles {
		file, err := parser.ParseFile(m.files, filepath.Join(of.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	p, err := m.check(path, parsed)
	if err == nil {
		m.checked[path] = p
	}
	return p, err
}

func (m *module) check(path string, files []*ast.File) (*checked, error) {
	p := &checked{files: files, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	config := types.Config{Importer: m}
	var err error
	p.Package, err = config.Check(path, m.files, files, p.info)
	return p, err
}

// writes returns the places where a package changes conversions.
func (m *module) writes(t *testing.T, path string) []string {
	t.Helper()
	p, err := m.read(path)
	if err != nil {
		t.Fatal(err)
	}
	return m.find(p)
}

func (m *module) find(p *checked) []string {
	conversions := m.checked[domain]
	if conversions == nil { // no package checked so far imports package conversion
		return nil
	}
	c := checker{p.info, conversions.Scope().Lookup("Conversion").Type()}
	var found []string
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if what := c.write(n); what != "" {
				found = append(found, fmt.Sprintf("%s: %s", m.files.Position(n.Pos()), what))
			}
			return true
		})
	}
	return found
}

type checker struct {
	info       *types.Info
	conversion types.Type
}

// write says how n writes into a Conversion; empty if it does not.
func (c *checker) write(n ast.Node) string {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if slices.ContainsFunc(n.Lhs, c.target) {
			return "assigns to a conversion"
		}
	case *ast.IncDecStmt:
		if c.target(n.X) {
			return "counts in a conversion"
		}
	case *ast.RangeStmt:
		if n.Key != nil && c.target(n.Key) || n.Value != nil && c.target(n.Value) {
			return "ranges into a conversion"
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND && c.field(n.X) {
			return "takes the address of a conversion's field"
		}
	case *ast.SelectorExpr:
		if s := c.info.Selections[n]; s != nil && s.Kind() == types.MethodVal && pointer(s.Obj().Type().(*types.Signature).Recv().Type()) &&
			!pointer(c.info.TypeOf(n.X)) && c.field(n.X) {
			return "calls a method that may change a conversion's field"
		}
	case *ast.CallExpr:
		if len(n.Args) > 0 && c.field(n.Args[0]) && c.inPlace(n.Fun) {
			return "changes a slice or map of a conversion in place"
		}
	case *ast.CompositeLit:
		if len(n.Elts) > 0 && c.whole(elem(c.info.TypeOf(n))) {
			return "writes out a conversion"
		}
	}
	return ""
}

// target reports whether an assignment to e writes into a Conversion.
func (c *checker) target(e ast.Expr) bool {
	if star, ok := ast.Unparen(e).(*ast.StarExpr); ok && c.whole(c.info.TypeOf(star)) {
		return true
	}
	return c.field(e)
}

// whole reports whether t is Conversion, or a type made of it.
func (c *checker) whole(t types.Type) bool {
	return types.Identical(t.Underlying(), c.conversion.Underlying())
}

// field reports whether e is a field of a Conversion, or a part of one.
func (c *checker) field(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return c.field(e.X)
	case *ast.StarExpr:
		return c.field(e.X)
	case *ast.IndexExpr:
		return c.field(e.X)
	case *ast.SliceExpr:
		return c.field(e.X)
	case *ast.SelectorExpr:
		s := c.info.Selections[e]
		if s == nil || s.Kind() != types.FieldVal {
			return false
		}
		fields := c.conversion.Underlying().(*types.Struct)
		for i := range fields.NumFields() { // by the field, so that a type made of Conversion counts too
			if fields.Field(i) == s.Obj() {
				return true
			}
		}
		return c.field(e.X)
	}
	return false
}

// inPlace reports whether a function may change its first argument, a slice or
// a map. That is so for some built-in functions, for all of package sort, and
// for packages slices and maps, except their functions that only read or that
// return something new.
func (c *checker) inPlace(function ast.Expr) bool {
	if index, ok := function.(*ast.IndexExpr); ok { // a generic function with its types
		function = index.X
	}
	if name, ok := function.(*ast.Ident); ok {
		_, builtin := c.info.Uses[name].(*types.Builtin)
		return builtin && slices.Contains([]string{"append", "copy", "clear", "delete"}, name.Name)
	}
	name, ok := function.(*ast.SelectorExpr)
	if !ok || c.info.Uses[name.Sel] == nil || c.info.Uses[name.Sel].Pkg() == nil {
		return false
	}
	switch c.info.Uses[name.Sel].Pkg().Path() {
	case "sort":
		return true
	case "slices", "maps":
		for _, reads := range []string{"All", "Backward", "BinarySearch", "Chunk", "Clone", "Compare", "Concat", "Contains", "Equal",
			"Index", "IsSorted", "Keys", "Max", "Min", "Repeat", "Sorted", "Values"} {
			if strings.HasPrefix(name.Sel.Name, reads) {
				return false
			}
		}
		return true
	}
	return false
}

func pointer(t types.Type) bool {
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

// elem returns what t points to, or t itself if it is no pointer.
func elem(t types.Type) types.Type {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}
