package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/durable"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	for _, content := range []string{"one", "another, longer"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", stat.Mode(), err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "secret", "below a file"), nil); err == nil {
		t.Error("a file below a file was written")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// TestCommitFails: a file that cannot get its name leaves nothing behind.
func TestCommitFails(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "by a folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(taken, []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestLost(t *testing.T) {
	for content, want := range map[string]bool{"": true, "\x00\x00": true, "\x00a": false, "a": false} {
		if got := durable.Lost([]byte(content)); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
}

func TestSyncDirs(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.SyncDirs(root, filepath.Join("a", "b", "file")); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDirs(root, filepath.Join("a", "missing", "file")); err == nil {
		t.Error("a directory that is not there was synced")
	}
}
