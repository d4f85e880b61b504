package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// buildTranscoder builds the real program into a new folder. It has the version
// of this test, unless another one is stamped on it.
func buildTranscoder(t *testing.T, stamp string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", "-X tonearm/internal/version.stamped="+stamp,
		"-o", filepath.Join(dir, "transcoder"), "tonearm/cmd/transcoder")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

func TestTranscoderFor(t *testing.T) {
	same, other, none, folder := buildTranscoder(t, ""), buildTranscoder(t, "v0.0.1"), t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "transcoder"), 0o700); err != nil {
		t.Fatal(err)
	}
	mayNotRun := buildTranscoder(t, "")
	if err := os.Chmod(filepath.Join(mayNotRun, "transcoder"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		dir string
		own bool
	}{
		"same version":      {same, false},
		"another version":   {other, true},
		"none":              {none, true},
		"a folder":          {folder, true},
		"may not be run":    {mayNotRun, true},
		"another program's": {foreign(t), true},
	} {
		self := filepath.Join(tt.dir, "tonearm")
		want := []string{filepath.Join(tt.dir, "transcoder")}
		if tt.own {
			want = []string{self, "transcoder"}
		}
		if got := transcoderFor(t.Context(), self, slog.New(slog.DiscardHandler)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// foreign returns a folder with a program that has the name and is something
// else.
func foreign(t *testing.T) (dir string) {
	t.Helper()
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "transcoder")); err != nil {
		t.Fatal(err)
	}
	return dir
}
