package media_test

import (
	"os/exec"
	"strings"
	"testing"

	"tonearm/test/undo"
)

// TestMediaUndone proves that the tests notice: without any one of the mends, those that
// are green turn red.
func TestMediaUndone(t *testing.T) {
	list := undo.Read(t, "testdata/undo.txt", ".")
	list.Args = func(folder, test string) ([]string, string) {
		if folder != "." {
			return nil, ""
		}
		return []string{"-test.run", "^TestMedia$", "-case", test}, "TestMedia/" + test
	}
	if !wholeCorpus() { // whether they still fit is known at once
		list.Apply(t)
		return
	}
	version, err := exec.CommandContext(t.Context(), underTest(t), "-version").Output()
	if err != nil {
		t.Fatal(err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "ffmpeg version "), ".")
	seven := major != "5" && major != "6"
	for _, e := range list.Entries {
		t.Run(e.About, func(t *testing.T) {
			t.Parallel()
			if e.Only != "" && (e.Only == "ffmpeg since 7") != seven {
				t.Skip("needed " + e.Only)
			}
			list.Run(t, e)
		})
	}
}
