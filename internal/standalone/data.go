package standalone

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dataDir is the directory of everything that is kept. Only one process at a
// time may use it.
type dataDir struct {
	dir  string
	lock *os.File
}

// openData makes the directory where it is missing and locks it.
func openData(dir string) (*dataDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data directory: %w. Choose another one with --data", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot use the data directory: %w. Choose another one with --data", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another process uses %s: stop it, or choose another directory with --data", dir)
	}
	return &dataDir{dir, lock}, nil
}

func (d *dataDir) path(name string) string { return filepath.Join(d.dir, name) }

// secret returns the 32 bytes, in hex, that are stored under name. The first
// call draws them.
func (d *dataDir) secret(name string) (string, error) {
	b, err := os.ReadFile(d.path(name))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	s := newSecret()
	if err := d.replace(name, s+"\n"); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return s, nil
}

// replace writes a file that only its owner can read, or leaves the old one.
func (d *dataDir) replace(name, text string) error {
	partial := d.path(name) + ".new"
	if err := os.WriteFile(partial, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(partial, d.path(name))
}

// Close releases the directory.
func (d *dataDir) Close() { d.lock.Close() }

// newSecret draws 32 bytes in hex.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
