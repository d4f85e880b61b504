package standalone

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLostSecret: a secret of which a power cut left nothing is drawn anew, loudly.
// Any other stays.
func TestLostSecret(t *testing.T) {
	for _, left := range []string{"", "\n", strings.Repeat("\x00", 65), "0123abcd\n"} {
		dir := t.TempDir()
		var log bytes.Buffer
		d, err := openData(dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := os.WriteFile(filepath.Join(dir, "attempt-key"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.secret("attempt-key")
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.secret("attempt-key")
		if err != nil || again != got {
			t.Errorf("%q: drawn twice, %v", left, err)
		}
		key, err := hex.DecodeString(got)
		lost := left != "0123abcd\n"
		if err != nil || lost != (len(key) == 32) || lost != strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%q: %d bytes, %v, log %q", left, len(key), err, log.String())
		}
	}
}

// TestDataIsHidden: a new data directory, one of an earlier version and one that an
// operator made are for their owner alone. One that others use too is not changed.
func TestDataIsHidden(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(dir string) error
		mode os.FileMode
		log  string
	}{
		"new":   {func(string) error { return nil }, 0o700, ""},
		"empty": {func(dir string) error { return os.Mkdir(dir, 0o755) }, 0o700, "level=INFO"},
		"earlier": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600), os.WriteFile(filepath.Join(dir, "tonearm.db-wal"), nil, 0o600))
		}, 0o700, "level=INFO"},
		"shared": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "else"), nil, 0o600), os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
		}, 0o755, "level=WARN"},
		"sticky": {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777|os.ModeSticky)) }, 0o777, "level=WARN"},
		"hidden": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "else"), nil, 0o600))
		}, 0o700, ""},
	} {
		t.Run(name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0))
			dir := filepath.Join(t.TempDir(), "data")
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			d, err := openData(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != tt.mode {
				t.Errorf("mode %v, want %v, %v", info.Mode(), tt.mode, err)
			}
			if (log.Len() > 0) != (tt.log != "") || !strings.Contains(log.String(), tt.log) {
				t.Errorf("log %q, want %q", log.String(), tt.log)
			}
		})
	}
}

// TestFilesAreHidden: of what is kept, no file is readable by others, whatever the
// umask, also where an earlier version made the database.
func TestFilesAreHidden(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	r := &instance{Options: Options{}, data: &dataDir{dir: dir, log: slog.New(slog.DiscardHandler)}}
	defer r.close()
	for i, step := range []func() error{
		func() error { _, err := r.data.secret("attempt-key"); return err },
		func() error { return r.openRecords(t.Context()) },
		func() error { return r.Records.Prepare(t.Context()) },
		func() error { return r.Users.Prepare(t.Context()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) < min(i+1, 3) { // the key, the database, its log
			t.Fatalf("step %d: %q, %v", i, files, err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("step %d: %s has mode %v, %v", i, filepath.Base(file), info.Mode(), err)
			}
		}
	}
}
