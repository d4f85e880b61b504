package media_test

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

// undo takes back one mend of this package or of those below it.
type undo struct {
	about   string   // the kind of fault, and what is undone
	only    string   // "before 7" or "since 7": the versions of ffmpeg that need the mend; '' for all
	folder  string   // of the tests
	tests   []string // that turn red: cases of TestMedia, or tests of another folder
	changes []change
}

// change is in a file of this folder.
type change struct{ file, old, new string }

// parseUndos reads testdata/undo.txt, which says how an entry looks.
func parseUndos(text string) ([]undo, error) {
	_, text, _ = strings.Cut(text, "\n= ")
	var all []undo
	for entry := range strings.SplitSeq(text, "\n= ") {
		u := undo{folder: "."}
		for i, line := range strings.Split(strings.TrimSpace(entry), "\n") {
			last := &change{}
			if n := len(u.changes); n > 0 {
				last = &u.changes[n-1]
			}
			switch {
			case i == 0:
				u.about = line
			case strings.HasPrefix(line, "- "):
				last.old = strings.TrimPrefix(last.old+"\n"+line[2:], "\n")
			case strings.HasPrefix(line, "+ "):
				last.new = strings.TrimPrefix(last.new+"\n"+line[2:], "\n")
			case strings.HasPrefix(line, "ffmpeg "):
				u.only = strings.TrimPrefix(line, "ffmpeg ")
			case strings.HasSuffix(line, ".go"):
				u.changes = append(u.changes, change{file: line})
			case strings.HasPrefix(line, "./"):
				u.folder = line
			default:
				u.tests = append(u.tests, line)
			}
		}
		if len(u.tests) == 0 || len(u.changes) == 0 {
			return nil, fmt.Errorf("the entry %q lacks a test or a change", u.about)
		}
		all = append(all, u)
	}
	return all, nil
}

// apply writes the changed files into a folder and returns their paths by those of the
// files that they stand for.
func (u undo) apply(dir string) (map[string]string, error) {
	changed := map[string]string{}
	for _, c := range u.changes {
		original, err := filepath.Abs(c.file)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(cmp.Or(changed[original], original))
		if err != nil {
			return nil, err
		}
		if n := strings.Count(string(content), c.old); n != 1 || c.old == c.new {
			return nil, fmt.Errorf("%s: %q is %d times in %s, not once: adapt testdata/undo.txt to the code", u.about, c.old, n, c.file)
		}
		changed[original] = filepath.Join(dir, strings.ReplaceAll(c.file, "/", "-"))
		if err := os.WriteFile(changed[original], bytes.Replace(content, []byte(c.old), []byte(c.new), 1), 0o600); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// build makes the test program of the folder, without the mend or as it is. Nothing in
// the folders is touched.
func (u undo) build(t *testing.T, undone bool) string {
	t.Helper()
	dir, changed := t.TempDir(), map[string]string{}
	if undone {
		var err error
		if changed, err = u.apply(dir); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": changed})
	if err != nil {
		t.Fatal(err)
	}
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "media.test")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-o", program, u.folder).CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	return program
}

// try runs a test in a test program, and reports whether it is green.
func (u undo) try(t *testing.T, program, test string) bool {
	t.Helper()
	args, verdict := []string{"-test.run", "^" + test + "$"}, " "+test+" ("
	if u.folder == "." {
		args, verdict = []string{"-test.run", "^TestMedia$", "-case", test}, " TestMedia/"+test+" ("
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "-test.v")...)
	cmd.Dir = u.folder
	out, err := cmd.CombinedOutput()
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

// TestMediaUndone proves that the tests notice: without any one of the mends, those that
// are green turn red.
func TestMediaUndone(t *testing.T) {
	text, err := os.ReadFile("testdata/undo.txt")
	if err != nil {
		t.Fatal(err)
	}
	undos, err := parseUndos(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if !wholeCorpus() { // whether they still apply is known at once
		for _, u := range undos {
			if _, err := u.apply(t.TempDir()); err != nil {
				t.Error(err)
			}
		}
		return
	}
	version, err := exec.CommandContext(t.Context(), underTest(t), "-version").Output()
	if err != nil {
		t.Fatal(err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "ffmpeg version "), ".")
	seven := major != "5" && major != "6"
	var tried sync.Map // *sync.Once by folder and test: whether it is right as it is
	for _, u := range undos {
		t.Run(u.about, func(t *testing.T) {
			t.Parallel()
			if u.only != "" && (u.only == "since 7") != seven {
				t.Skipf("only an ffmpeg %s needs this mend", u.only)
			}
			program := u.build(t, true)
			for _, test := range u.tests {
				once, _ := tried.LoadOrStore(u.folder+" "+test, &sync.Once{})
				once.(*sync.Once).Do(func() {
					if !u.try(t, u.build(t, false), test) {
						t.Errorf("%s is red as it is", test)
					}
				})
				if u.try(t, program, test) {
					t.Errorf("%s is green without it", test)
				}
			}
		})
	}
}
