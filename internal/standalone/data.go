package standalone

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tonearm/internal/durable"
)

// dataDir is the directory of everything that is kept. Only one process at a
// time may use it.
type dataDir struct {
	dir  string
	lock *os.File
	log  *slog.Logger
}

// openData makes the directory where it is missing and locks it.
func openData(dir string, log *slog.Logger) (*dataDir, error) {
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
	return &dataDir{dir, lock, log}, nil
}

func (d *dataDir) path(name string) string { return filepath.Join(d.dir, name) }

// secret returns the 32 bytes, in hex, that are stored under name. The first
// call draws them.
func (d *dataDir) secret(name string) (string, error) {
	if err := d.dropLost(name); err != nil {
		return "", err
	}
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

// dropLost removes a secret of which a power cut left nothing, so that it is drawn
// anew.
func (d *dataDir) dropLost(name string) error {
	b, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !durable.Lost(bytes.TrimSpace(b)) {
		return err
	}
	d.log.Error("a secret was lost, probably in a power cut, and is drawn anew; what was signed with it is no longer accepted", "file", d.path(name))
	return os.Remove(d.path(name))
}

// replace writes a file that only its owner can read, or leaves the old one.
func (d *dataDir) replace(name, text string) error {
	return durable.WriteFile(d.path(name), []byte(text))
}

// Close releases the directory.
func (d *dataDir) Close() { d.lock.Close() }

// newSecret draws 32 bytes in hex.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
