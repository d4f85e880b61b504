package input

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hash returns the MD5 of what the decoders make of a file.
func hash(t *testing.T, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-i", path}, append(args, "-f", "md5", "-")...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("decode %s: %v %s", filepath.Base(path), err, stderr.String())
	}
	return string(out)
}

func open(t *testing.T) Folder {
	t.Helper()
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.audio = 5
	return f
}

// The pictures grow to the bit rate, and decoders see and hear the same as
// before.
func TestMP4(t *testing.T) {
	f := open(t)
	small, err := f.small(t.Context(), 12)
	if err != nil {
		t.Fatal(err)
	}
	wantAudio, wantPictures := hash(t, small, "-map", "0:a"), hash(t, small, "-map", "0:v")
	chunks := map[bool]int{}
	for _, camera := range []bool{true, false} {
		path, err := f.MP4(t.Context(), 12, 4, camera)
		if err != nil {
			t.Fatal(err)
		}
		if got := hash(t, path, "-map", "0:a"); got != wantAudio {
			t.Errorf("camera %v: the audio is another one", camera)
		}
		if got := hash(t, path, "-map", "0:v"); got != wantPictures {
			t.Errorf("camera %v: the pictures are others", camera)
		}
		facts, err := Measure(path)
		if err != nil {
			t.Fatal(err)
		}
		if pictures := facts.Size - facts.Audio - facts.Index; pictures < 12*4e6/8 || pictures > 12*4.4e6/8 {
			t.Errorf("camera %v: 12 s of 4 Mbit/s take %d bytes", camera, pictures)
		}
		chunks[camera] = audioChunks(t, path)
	}
	if chunks[true] < 24 || chunks[true] > 25 || chunks[false] < 100 {
		t.Errorf("the audio is in %d pieces as of a camera, in %d as of ffmpeg", chunks[true], chunks[false])
	}
}

// audioChunks counts the runs of audio in a file.
func audioChunks(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	m, err := readMovie(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, track := range m.tracks {
		end := int64(0)
		for _, s := range track.samples {
			if track.kind == "soun" && s.offset != end {
				n++
			}
			end = s.offset + s.size
		}
	}
	return n
}

func TestHugeTakesNoDisk(t *testing.T) {
	f := open(t)
	const size = 12 << 30
	path, err := f.Huge(t.Context(), 12, size)
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size < size*99/100 || st.Size > size*101/100 || st.Blocks*512 > 16<<20 {
		t.Errorf("%d bytes long, takes %d", st.Size, st.Blocks*512)
	}
	small, err := f.small(t.Context(), 12)
	if err != nil {
		t.Fatal(err)
	}
	if hash(t, path, "-map", "0:a") != hash(t, small, "-map", "0:a") {
		t.Error("the audio is another one")
	}
}

func TestOtherContainers(t *testing.T) {
	f := open(t)
	for name, build := range map[string]func(context.Context, int, int) (string, error){
		"ts": f.TS, "webm": f.WebM,
		"sound": func(ctx context.Context, seconds, _ int) (string, error) { return f.Audio(ctx, seconds) },
	} {
		path, err := build(t.Context(), 12, 2)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_type", "-of", "csv=p=0", path).Output()
		var seconds float64
		words := strings.Fields(string(out))
		if err == nil {
			_, err = fmt.Sscan(words[len(words)-1], &seconds)
		}
		if err != nil || seconds < 11.8 || seconds > 12.2 || !strings.Contains(string(out), "audio") {
			t.Errorf("%s: %v %q", name, err, out)
		}
	}
	if _, err := Measure(filepath.Join(f.dir, version+"-12s-2m.ts")); err == nil {
		t.Error("a transport stream was measured as an MP4")
	}
}
