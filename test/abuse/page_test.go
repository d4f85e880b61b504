package abuse

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
)

// TestSecurityPage: each claim of docs/security.md names a test of it, and all tests
// that are named exist. A claim begins with its subject in bold letters.
func TestSecurityPage(t *testing.T) {
	there := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	claims := 0
	for line := range strings.Lines(string(page)) {
		named := testName.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("there is no %s", m[1])
			}
		}
		if text := strings.TrimPrefix(line, "- "); strings.HasPrefix(text, "**") {
			claims++
			if len(named) == 0 {
				t.Errorf("no test is named for: %.80s", text)
			}
		}
	}
	if claims < 25 {
		t.Errorf("%d claims", claims)
	}
}
