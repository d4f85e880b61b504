package mp3

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// encodeMP3 returns an MP3 of exactly that many samples.
func encodeMP3(t testing.TB, samples, rate string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.mp3")
	in := []string{"-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=" + rate, "-af", "atrim=end_sample=" + samples}
	if out, err := exec.Command("ffmpeg", append(append(in, args...), path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRead(t *testing.T) {
	tests := []struct {
		name, samples, rate string
		args                []string
		wantSamples         int64
		wantRate, channels  int
	}{
		{"VBR", "44100", "44100", []string{"-q:a", "2"}, 44100, 44100, 1},
		{"CBR stereo", "50001", "48000", []string{"-b:a", "128k", "-ac", "2"}, 50001, 48000, 2},
		{"MPEG-2", "30000", "22050", []string{"-q:a", "4"}, 30000, 22050, 1},
		{"MPEG-2.5", "9999", "8000", []string{"-b:a", "16k"}, 9999, 8000, 1},
		{"short", "1200", "44100", nil, 1200, 44100, 1},
		{"ID3v1 at the end", "44100", "44100", []string{"-write_id3v1", "1", "-metadata", "title=x"}, 44100, 44100, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := encodeMP3(t, tt.samples, tt.rate, tt.args...)
			m, err := Read(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if m.Samples != tt.wantSamples || m.SampleRate != tt.wantRate || m.Channels != tt.channels || m.Size != int64(len(b)) {
				t.Errorf("got %+v", m)
			}
			for name, bad := range map[string][]byte{
				"cut":           b[:len(b)-200],
				"junk":          append(bytes.Clone(b), "some words"...),
				"frame missing": removeLastFrame(b),
			} {
				if _, err := Read(bytes.NewReader(bad)); !errors.Is(err, ErrFormat) {
					t.Errorf("%s: got %v", name, err)
				}
			}
		})
	}
	if m, err := Read(bytes.NewReader(nil)); err != nil || m.Frames != 0 || m.Seconds() != 0 {
		t.Errorf("nothing: %+v, %v", m, err)
	}
}

// removeLastFrame cuts at the last frame, and what follows it, off.
func removeLastFrame(b []byte) []byte {
	head := b[:0]
	for i := len(b) - 4; i > 0; i-- {
		if h, ok := parseHeader(binary.BigEndian.Uint32(b[i:])); ok && (i+h.Size == len(b) || i+h.Size+128 == len(b)) {
			head = b[:i]
			break
		}
	}
	return head
}

func FuzzRead(f *testing.F) {
	b := encodeMP3(f, "4410", "44100", "-q:a", "2")
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte("ID3\x04\x00\x10\x7f\x7f\x7f\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("got %v", err)
			}
			return
		}
		if m.Size != int64(len(b)) || m.Samples < 0 || m.Samples > m.Frames*1152 || math.IsNaN(m.Seconds()) {
			t.Errorf("got %+v for %d bytes", m, len(b))
		}
	})
}
