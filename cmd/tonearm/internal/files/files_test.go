package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func assign(t *testing.T, out, template string, all []*File, places map[string][]string) []string {
	t.Helper()
	o, err := NewOutput(out, template, len(all))
	if err != nil {
		t.Fatal(err)
	}
	o.Assign(all, func(f *File) []string { return places[f.Path] })
	var paths []string
	for _, f := range all {
		paths = append(paths, strings.TrimPrefix(f.Target.Path, out+"/"))
	}
	return paths
}

func TestAssign(t *testing.T) {
	out := t.TempDir()
	write(t, filepath.Join(out, "taken.mp3"), "x")
	list := func() []*File {
		return []*File{
			{Path: "a/x.mp4"}, {Path: "b/x.mp4"}, {Path: "c/x.mov"}, {Path: "taken.mp4"}, {Path: "t/y.mp4", Folder: "sub/deep"},
			{Path: "/x/Ü – 'q' \"z\".webm"}, {Path: "b.c.mkv"}, {Path: "no extension"}, {Path: ".mp4"}, {Path: "-"},
		}
	}
	want := []string{"x.mp3", "x (2).mp3", "x (3).mp3", "taken (2).mp3", "sub/deep/y.mp3", "Ü – 'q' \"z\".mp3", "b.c.mp3", "no extension.mp3", ".mp4.mp3", "stdin.mp3"}
	if got := assign(t, out, "", list(), nil); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// What an earlier run has put there stays the file's.
	places := map[string][]string{"b/x.mp4": {"/elsewhere/x.mp3", filepath.Join(out, "x.mp3")}, "c/x.mov": {filepath.Join(out, "x (7).mp3")}}
	want[0], want[1], want[2] = "x (2).mp3", "x.mp3", "x (7).mp3"
	if got := assign(t, out, "", list(), places); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := assign(t, out, "{dir}-{number}/{name}.{ext}", list()[4:5], nil); got[0] != "sub/deep-1/y.mp4.mp3" {
		t.Errorf("got %q", got)
	}
}

// TestRelease: a file without an MP3 does not keep others from its name.
func TestRelease(t *testing.T) {
	o, err := NewOutput(t.TempDir(), "", 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"x.mp3", "x (2).mp3", "x.mp3"} {
		f := &File{Path: "x.mp4"}
		o.Assign([]*File{f}, func(*File) []string { return nil })
		if got := filepath.Base(f.Target.Path); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
		if i == 1 {
			o.Release(f)
			o.Release(&File{Path: "x.mp4", Target: &Target{Path: filepath.Join(filepath.Dir(f.Target.Path), "x.mp3")}})
			o.Release(&File{Path: "not assigned.mp4"})
		}
	}
}

func TestSave(t *testing.T) {
	const mp3 = "an MP3"
	h := sha256.Sum256([]byte(mp3))
	sum := hex.EncodeToString(h[:])
	save := func(out string, prepare func(path string)) string {
		o, err := NewOutput(out, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		f := &File{Path: "x.mp4"}
		o.Assign([]*File{f}, func(*File) []string { return nil })
		temp, err := f.Target.Temp()
		if err != nil {
			t.Fatal(err)
		}
		defer temp.Close()
		if _, err := temp.WriteString(mp3); err != nil {
			t.Fatal(err)
		}
		prepare(f.Target.Path)
		path, err := f.Target.Save(temp.Name(), int64(len(mp3)), sum)
		if err != nil {
			return err.Error()
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != mp3 {
			t.Errorf("%s holds %q, %v", path, b, err)
		}
		left, _ := filepath.Glob(filepath.Join(out, ".tonearm-*"))
		if len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
		return filepath.Base(path)
	}
	out := t.TempDir()
	nothing := func(string) {}
	if got := save(out, nothing); got != "x.mp3" {
		t.Errorf("the first: %s", got)
	}
	if got := save(out, nothing); got != "x.mp3" {
		t.Errorf("the same again: %s", got)
	}
	write(t, filepath.Join(out, "x.mp3"), "another")
	if got := save(out, nothing); got != "x (2).mp3" {
		t.Errorf("beside another: %s", got)
	}
	if got := save(out, func(path string) { write(t, path, "came meanwhile") }); got != "x (2).mp3" {
		t.Errorf("the same beside another: %s", got)
	}
	out = t.TempDir()
	if got := save(out, func(path string) { write(t, path, "came meanwhile") }); got != "x (2).mp3" {
		t.Errorf("another one came: %s", got)
	}
	if got := save(filepath.Join(out, "one.mp3"), func(path string) { write(t, path, "came meanwhile") }); !strings.Contains(got, ErrTaken.Error()) {
		t.Errorf("the one file that was asked for: %s", got)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	packet := "G" + strings.Repeat("p", 187)
	for path, content := range map[string]string{"v/b.mp4": "v", "v/a/c.MOV": "v", "v/a/.h/d.mp4": "v", "v/x.txt": "v", "v/t.ts": "let a", "v/u.ts": packet + "G"} {
		write(t, path, content)
	}
	if err := errors.Join(os.Symlink("../v", "v/loop"), os.Symlink("../v/b.mp4", "v/link.mp4"), os.Symlink("nowhere", "v/broken.mp4")); err != nil {
		t.Fatal(err)
	}
	got := map[string]error{}
	var order []string
	for _, f := range List([]string{"v", "v/b.mp4", "./v/b.mp4", "gone.mp4", "-"}, true) {
		name := f.Path
		if f.Repeats != nil {
			name += " repeats " + f.Repeats.Path
		}
		order = append(order, name)
		got[f.Path] = f.Err
	}
	want := []string{"v/a/c.MOV", "v/b.mp4", "v/broken.mp4", "v/link.mp4", "v/u.ts", "v/b.mp4 repeats v/b.mp4", "./v/b.mp4 repeats v/b.mp4", "gone.mp4", "-"}
	if !slices.Equal(order, want) {
		t.Errorf("got  %q\nwant %q", order, want)
	}
	for _, path := range []string{"gone.mp4", "v/broken.mp4"} {
		if !errors.Is(got[path], os.ErrNotExist) {
			t.Errorf("%s: %v", path, got[path])
		}
	}
	if f := List([]string{"v"}, false)[0]; !errors.Is(f.Err, ErrFolder) {
		t.Errorf("a folder: %v", f.Err)
	}
}

func TestNumbered(t *testing.T) {
	long := strings.Repeat("ü", 125) + ".mp3" // 254 bytes
	if got := numbered(long, 1); got != long {
		t.Errorf("a name that fits was cut: %s", got)
	}
	if got := numbered(long, 10); len(got) > 255 || !strings.HasSuffix(got, "ü (10).mp3") {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
}
