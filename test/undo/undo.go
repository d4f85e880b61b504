// Package undo proves that tests notice. It takes back one mend at a time, in
// copies of the source files, and requires that the tests which are there for it
// turn red.
package undo

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Entry takes back one mend.
type Entry struct {
	About   string   // what the mend is for, and what is undone
	Only    string   // a condition for it, which the caller knows; '' for always
	Folder  string   // of the tests, relative to the list's Root
	Tests   []string // that turn red; a case of a test after a slash
	changes []change
}

// change is in a file, relative to the list's Root.
type change struct{ file, old, new string }

// List is a file of entries.
//
// An entry begins with "= " and what it is about. Then come lines in any order: a
// folder ("./gateway"), the names of tests in it, "only CONDITION", and a file with
// the text that is taken out ("- ") and what comes in its place ("+ ", or "+" for
// nothing), once or more often. The old text must be in the file exactly once. What stands before the
// first entry says what the file is.
type List struct {
	Root    string // the folder that the files' names begin at
	Entries []Entry
	// Args are the arguments of a test program that run a test of a folder, and the
	// name under which it reports. Where it is nil, the test is run by its name.
	Args func(folder, test string) (args []string, name string)

	green sync.Map // *sync.Once by folder and test: it is right as it is
}

// Read reads a list.
func Read(t *testing.T, path, root string) *List {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := &List{Root: root}
	_, entries, _ := strings.Cut(string(text), "\n= ")
	for entry := range strings.SplitSeq(entries, "\n= ") {
		e := parse(entry)
		if len(e.Tests) == 0 || len(e.changes) == 0 {
			t.Fatalf("%s: the entry %q lacks a test or a change", path, e.About)
		}
		list.Entries = append(list.Entries, e)
	}
	return list
}

func parse(text string) Entry {
	e := Entry{Folder: "."}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		last := &change{}
		if n := len(e.changes); n > 0 {
			last = &e.changes[n-1]
		}
		switch {
		case i == 0:
			e.About = line
		case strings.HasPrefix(line, "- "):
			last.old = strings.TrimPrefix(last.old+"\n"+line[2:], "\n")
		case line == "+" || strings.HasPrefix(line, "+ "):
			last.new = strings.TrimPrefix(last.new+"\n"+strings.TrimPrefix(line[1:], " "), "\n")
		case strings.HasPrefix(line, "only "):
			e.Only = strings.TrimPrefix(line, "only ")
		case strings.HasSuffix(line, ".go"):
			e.changes = append(e.changes, change{file: line})
		case strings.HasPrefix(line, "./"):
			e.Folder = line
		case line != "":
			e.Tests = append(e.Tests, line)
		}
	}
	return e
}

// Apply requires that every entry still fits the code, without running a test.
func (l *List) Apply(t *testing.T) {
	t.Helper()
	for _, e := range l.Entries {
		if _, err := l.apply(e, t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

// apply writes the changed files into a folder and returns their paths by those of the
// files that they stand for.
func (l *List) apply(e Entry, dir string) (map[string]string, error) {
	changed := map[string]string{}
	for _, c := range e.changes {
		original, err := filepath.Abs(filepath.Join(l.Root, c.file))
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(cmp.Or(changed[original], original)) //nolint:gosec // a file of this repository
		if err != nil {
			return nil, err
		}
		if n := strings.Count(string(content), c.old); n != 1 || c.old == c.new {
			return nil, fmt.Errorf("%s: %q is %d times in %s, not once: adapt the entry to the code", e.About, c.old, n, c.file)
		}
		changed[original] = filepath.Join(dir, strings.ReplaceAll(c.file, "/", "-"))
		if err := os.WriteFile(changed[original], bytes.Replace(content, []byte(c.old), []byte(c.new), 1), 0o600); err != nil { //nolint:gosec // in a folder of the test
			return nil, err
		}
	}
	return changed, nil
}

// Run requires that each test of an entry is green as the code is, and red without
// the mend. Nothing in the folders is touched.
func (l *List) Run(t *testing.T, e Entry) {
	t.Helper()
	program := l.build(t, e, true)
	for _, test := range e.Tests {
		once, _ := l.green.LoadOrStore(e.Folder+" "+test, &sync.Once{})
		once.(*sync.Once).Do(func() {
			if !l.try(t, e, l.build(t, e, false), test) {
				t.Errorf("%s is red as it is", test)
			}
		})
		if l.try(t, e, program, test) {
			t.Errorf("%s is green without it", test)
		}
	}
}

// build makes the test program of the folder, without the mend or as it is.
func (l *List) build(t *testing.T, e Entry, undone bool) string {
	t.Helper()
	dir, changed := t.TempDir(), map[string]string{}
	if undone {
		var err error
		if changed, err = l.apply(e, dir); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": changed})
	if err != nil {
		t.Fatal(err)
	}
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "undone.test")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-o", program, e.Folder) //nolint:gosec // a folder of this repository
	cmd.Dir = l.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	return program
}

// try runs a test in a test program, and reports whether it is green.
func (l *List) try(t *testing.T, e Entry, program, test string) bool {
	t.Helper()
	var parts []string
	for part := range strings.SplitSeq(test, "/") {
		parts = append(parts, "^"+part+"$")
	}
	args, name := []string{"-test.run", strings.Join(parts, "/")}, test
	if l.Args != nil {
		if own, as := l.Args(e.Folder, test); own != nil {
			args, name = own, as
		}
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "-test.v")...)
	cmd.Dir = filepath.Join(l.Root, e.Folder)
	out, err := cmd.CombinedOutput()
	verdict := " " + name + " ("
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS:"+verdict)):
		return true
	case err != nil && bytes.Contains(out, []byte("--- FAIL:"+verdict)):
		t.Logf("%s: %s", test, firstFault(out))
		return false
	}
	t.Fatalf("%s: no verdict: %v\n%s", test, err, out)
	return false
}

// firstFault is the first line that a test logged.
func firstFault(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if _, fault, ok := strings.Cut(line, "_test.go:"); ok {
			return strings.TrimSpace(fault)
		}
	}
	return ""
}
