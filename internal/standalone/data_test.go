package standalone

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
