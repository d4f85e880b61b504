package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: an image is refused for a shell, for a dynamic program, for a
// library and for its size, and for nothing else.
func TestCheck(t *testing.T) {
	static := build(t, "GOOS=linux", "CGO_ENABLED=0")
	dynamic := build(t, "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-ldflags=-linkmode=internal -buildmode=pie")
	for _, tt := range []struct {
		name, image string
		layers      []map[string][]byte
		want        string // in the error; none if ''
		size        int64
	}{
		{name: "static programs", image: "transcoder", size: int64(len(static)) + 4,
			layers: []map[string][]byte{{"usr/bin/ffmpeg": []byte("old"), "etc/passwd": []byte("root")}, {"usr/bin/ffmpeg": static}}},
		{name: "a shell", image: "tonearm", layers: []map[string][]byte{{"bin/sh": []byte("x")}}, want: "/bin/sh is a shell"},
		{name: "a shell for a GPU", image: "transcoder-gpu", layers: []map[string][]byte{{"bin/dash": []byte("x")}}, want: "/bin/dash is a shell"},
		{name: "a dynamic program", image: "tonearm", layers: []map[string][]byte{{"usr/bin/ffmpeg": dynamic}}, want: "/usr/bin/ffmpeg is not static"},
		{name: "a dynamic program for a GPU", image: "transcoder-gpu", layers: []map[string][]byte{{"usr/bin/ffmpeg-gpu": dynamic}}, size: int64(len(dynamic))},
		{name: "a library", image: "gateway", layers: []map[string][]byte{{"lib/libm.so.6": []byte("x")}}, want: "/lib/libm.so.6 is not static"},
		{name: "too large", image: "transcoder", layers: []map[string][]byte{{"a": make([]byte, 20e6)}, {"b": make([]byte, 20e6)}}, want: "40000000 are too many"},
		{name: "as large, in another image", image: "tonearm", layers: []map[string][]byte{{"a": make([]byte, 40e6)}}, size: 40e6},
		{name: "nothing", image: "tonearm", want: "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), tt.image+".tar")
			save(t, archive, tt.layers)
			size, err := check(archive)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q in it", err, tt.want)
				}
				return
			}
			if err != nil || size != tt.size {
				t.Errorf("size %d, error %v; want %d and none", size, err, tt.size)
			}
		})
	}
}

// build returns a small program, built in this environment.
func build(t *testing.T, env ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", "program", "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(dir, "program"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// save writes an archive as `docker save` does.
func save(t *testing.T, archive string, layers []map[string][]byte) {
	t.Helper()
	files, names := map[string][]byte{}, []string{}
	for i, layer := range layers {
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
		files[names[i]] = pack(t, layer)
	}
	manifest, err := json.Marshal([]any{map[string]any{"Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = manifest
	if err := os.WriteFile(archive, pack(t, files), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
