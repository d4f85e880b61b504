package filemail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/mail/mailtest"
)

func TestSuite(t *testing.T) {
	mailtest.Run(t, func(t *testing.T) mailtest.Box {
		dir := filepath.Join(t.TempDir(), "new", "outbox")
		s, err := New(dir)
		if err != nil {
			t.Fatal(err)
		}
		return mailtest.Box{Sender: s, Delivered: func() [][]byte {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var all [][]byte
			for _, e := range entries { // whatever is left behind counts
				raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, raw)
			}
			return all
		}}
	})
}

func TestSameMessageTwiceIsOneFile(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Send(t.Context(), mailtest.Sample()); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != mailtest.Sample().ID+".eml" {
		t.Fatalf("%v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info, err)
	}
}

func TestFileNames(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{
		"a.1.2@example.org", "A.1.2@example.org", "../../etc/passwd", "..", ".", "", "/", `a\b@c`, "a/b@c", "a:b@c", "con", "é@c", "e@c",
		strings.Repeat("x", 300), strings.Repeat("x", 301), ".hidden@c", "hidden@c", "a\x00b",
	} {
		name := fileName(id)
		if name != filepath.Base(name) || strings.HasPrefix(name, ".") || len(name) > 255 || !strings.HasSuffix(name, ".eml") ||
			strings.ContainsAny(name, `/\:`+"\x00") || name != strings.ToLower(name) {
			t.Errorf("%.40q is kept in %q", id, name)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%.40q and %.40q are both kept in %q", id, other, name)
		}
		seen[name] = id
	}
}
