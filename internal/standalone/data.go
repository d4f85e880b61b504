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
	"regexp"
	"slices"
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
	hide(dir, log)
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

// ours is what a data directory holds, also of earlier versions, and what a file
// system of its own has in it.
var ours = regexp.MustCompile(`^(lock|tonearm\.db.*|s3|attempts|outbox|inbox\.env|attempt-key|event-token|signing-keys\.pem|\..*|lost\+found)$`)

// hide takes the rights of others away from the data directory, which holds keys and
// what people uploaded. A directory that something else uses as well, or that belongs
// to somebody else, is left as it is, with a warning.
func hide(dir string, log *slog.Logger) {
	entries, err := os.ReadDir(dir)
	shared := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !ours.MatchString(e.Name()) })
	info, failed := os.Stat(dir)
	if err = errors.Join(err, failed); err == nil && info.Mode()&os.ModeSticky == 0 && !shared {
		var changed bool
		if changed, err = durable.Tighten(dir); changed && err == nil {
			log.Info("the data directory is now for its owner alone", "data", dir)
		}
	} else if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = errors.New("it is shared with others")
	}
	if err != nil {
		log.Warn("other users of this machine may read the data directory; run: chmod 700 "+dir, "data", dir, "error", err)
	}
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
