package mp4_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
)

// TestFragments adds up fragments. A file that ends within one is cut; one that ends
// between two is not known to have ended, unless an index says so.
func TestFragments(t *testing.T) {
	dir := t.TempDir()
	const seconds = 4
	for _, tt := range []struct {
		name, flags string
		ended       bool
	}{
		{"mfra.mp4", "frag_keyframe+empty_moov", true},
		{"base.mp4", "frag_keyframe+empty_moov+default_base_moof", true},
		{"none.mp4", "frag_keyframe+empty_moov+skip_trailer", false},
		{"sidx.mp4", "dash+global_sidx+skip_trailer", true},
		{"delayed.mp4", "frag_keyframe+delay_moov+skip_trailer", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			mediatest.Video(t, path, seconds, 440, "-c:v", "mpeg4", "-g", "10", "-c:a", "aac", "-movflags", tt.flags)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m := parsed(t, b)
			sound := m.AudioTracks()[0]
			if !m.Fragmented || m.Ended != tt.ended || m.End > m.Size || math.Abs(sound.Seconds-seconds) > 0.05 {
				t.Errorf("ended %v, end %d of %d, %v s", m.Ended, m.End, m.Size, sound.Seconds)
			}
			moof, mdat := bytes.LastIndex(b, []byte("moof"))-4, bytes.LastIndex(b, []byte("mdat"))-4
			for _, n := range []int{mdat, mdat + 8, mdat + 30} {
				if m := parsed(t, b[:n]); m.End <= m.Size {
					t.Errorf("the first %d bytes, with a moof and without all of its samples, look whole", n)
				}
			}
			if m := parsed(t, b[:moof]); m.Ended {
				t.Error("without the last fragment it has ended")
			}
		})
	}
}

func parsed(t *testing.T, b []byte) *mp4.Movie {
	t.Helper()
	m, err := mp4.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRetimed tells a time table that counts AAC's samples from one that does not.
func TestRetimed(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"aac.mp4": {"-c:v", "mpeg4", "-c:a", "aac"}, "aac.mov": {"-c:v", "mpeg4", "-c:a", "aac", "-ar", "22050"},
		"pause.mp4": {"-c:v", "mpeg4", "-c:a", "aac", "-af", `aselect=not(between(t\,1\,2))`}, "opus.mp4": {"-c:v", "mpeg4", "-c:a", "libopus"},
	} {
		path := filepath.Join(dir, name)
		mediatest.Video(t, path, 3, 440, args...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sound := parsed(t, b).AudioTracks()[0]; sound.Retimed || sound.Usual < 0.015 || sound.Usual > 0.05 {
			t.Errorf("%s: retimed %v, usually %v s", name, sound.Retimed, sound.Usual)
		}
		if name != "aac.mp4" {
			continue
		}
		stts := bytes.Index(b[bytes.Index(b, []byte("soun")):], []byte("\x00\x00\x04\x00")) + bytes.Index(b, []byte("soun"))
		b[stts+3] = 20 // 1044 samples
		if sound := parsed(t, b).AudioTracks()[0]; !sound.Retimed {
			t.Error("a table of 1044 samples a packet counts AAC's")
		}
	}
}
