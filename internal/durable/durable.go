// Package durable writes files that are still there, and whole, after a power cut.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFile writes a file that only its owner can read, or leaves the old one.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return Commit(f, path)
}

// Commit syncs and closes a temporary file in path's directory and gives it that
// name. If that fails, the temporary file is removed.
func Commit(f *os.File, path string) error {
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Sync syncs what a name stands for, a file or a directory.
func Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDir syncs a directory, so that the names in it stay.
func SyncDir(dir string) error {
	if err := Sync(dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// SyncDirs syncs the directories from below root down to a path's own, and root.
// The path is relative to root.
func SyncDirs(root, path string) error {
	for dir := filepath.Dir(path); dir != "." && dir != string(filepath.Separator) && !strings.HasPrefix(dir, ".."); dir = filepath.Dir(dir) {
		if err := SyncDir(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return SyncDir(root)
}

// Lost reports whether a file holds nothing, as one may after a power cut that
// came before its data was on the disk: it is empty, or all zeros.
func Lost(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

// Private makes sure that only its owner can read a file and write to it, whatever the
// umask: it makes the file where it is missing, and takes rights of others away from
// one that an earlier version made, and from the files that SQLite keeps beside it.
func Private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return errors.Join(f.Chmod(0o600), f.Close()) // the umask may have taken more
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		if _, err := Tighten(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Tighten takes the rights of group and others away from a file or directory. It
// reports whether there were any.
func Tighten(path string) (changed bool, err error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return false, err
	}
	return true, os.Chmod(path, info.Mode()&^0o077)
}
