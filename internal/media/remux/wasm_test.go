package remux_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/remux"
)

// maxPage is how many bytes a web page may load for the package, compressed by gzip.
const maxPage = 3 << 19

// TestWebAssembly builds the package for a web page, without a network and without
// programs to run. Where there is Node.js, it plans the same there as here.
func TestWebAssembly(t *testing.T) {
	deps := run(t, "go", "list", "-deps", "tonearm/internal/media/remux")
	for _, dep := range strings.Fields(deps) {
		if slices.Contains([]string{"net", "net/http", "os/exec", "os/signal", "encoding/json"}, dep) {
			t.Errorf("the package needs %s", dep)
		}
	}
	page := filepath.Join(t.TempDir(), "page.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", page, "./testdata/page")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	z, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(b)
	if closed := z.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	t.Logf("%d bytes, %d with gzip", len(b), small.Len())
	if small.Len() > maxPage {
		t.Errorf("%d bytes with gzip, more than %d", small.Len(), maxPage)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Log("no Node.js: it was built and not run")
		return
	}
	root := strings.TrimSpace(run(t, "go", "env", "GOROOT"))
	for name, args := range map[string][]string{
		"a.mp4": {"-c:v", "mpeg4", "-c:a", "aac"}, "f.mp4": {"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"},
		"a.mkv": {"-c:v", "mpeg4", "-c:a", "flac"}, "a.ts": {"-c:v", "mpeg2video", "-c:a", "mp2"}, "a.avi": {"-c:v", "mpeg4", "-c:a", "libmp3lame"},
	} {
		path := filepath.Join(t.TempDir(), name)
		mediatest.Video(t, path, 2, 440, args...)
		got := strings.TrimSpace(run(t, node, filepath.Join(root, "lib/wasm/wasm_exec_node.js"), page, path))
		if want := planned(t, path); got != want {
			t.Errorf("%s: a page plans %q, this program %q", name, got, want)
		}
	}
}

// planned is what the page says of a file.
func planned(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p, err := remux.New(t.Context(), f, stat.Size(), remux.Options{Small: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, p.NewReader()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %v %s %x", p.Container, p.Size, p.Whole, p.Fingerprint, sum.Sum(nil)))
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.String())
	}
	return string(out)
}
