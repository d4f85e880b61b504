package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// TestPrivate: a file is its owner's alone under every umask, and one of an earlier
// version becomes so, with what SQLite keeps beside it, and keeps what it holds.
func TestPrivate(t *testing.T) {
	mode := func(path string) fs.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	for _, umask := range []int{0, 0o022, 0o777} {
		path := filepath.Join(t.TempDir(), "new.db")
		before := syscall.Umask(umask)
		err := durable.Private(path)
		syscall.Umask(before)
		if err != nil || mode(path) != 0o600 {
			t.Errorf("umask %03o: mode %03o, %v", umask, mode(path), err)
		}
	}
	path := filepath.Join(t.TempDir(), "old.db")
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := errors.Join(os.WriteFile(name, []byte("old"), 0o600), os.Chmod(name, 0o664)); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.Private(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if b, err := os.ReadFile(name); err != nil || string(b) != "old" || mode(name) != 0o600 {
			t.Errorf("%s: %q, mode %03o, %v", filepath.Base(name), b, mode(name), err)
		}
	}
	if err := durable.Private(filepath.Join(t.TempDir(), "missing", "x.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is missing: %v", err)
	}
}
