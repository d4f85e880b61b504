package remux_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/remux"
)

// seedFiles are the files whose names match, of every kind that is taken apart.
func seedFiles(f *testing.F, pattern string) {
	dir := f.TempDir()
	for name, args := range map[string][]string{
		"aac.mp4":  {"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+faststart"},
		"last.mov": {"-c:v", "mpeg4", "-c:a", "pcm_s16le", "-ac", "1", "-ar", "8000", "-af", "asetpts=PTS+1/TB"},
		"frag.mp4": {"-c:v", "mpeg4", "-g", "1", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"},
		"dash.mp4": {"-c:v", "mpeg4", "-g", "1", "-c:a", "aac", "-movflags", "frag_every_frame+default_base_moof+dash"},
		"aac.mkv":  {"-c:v", "mpeg4", "-c:a", "aac"},
		"live.mkv": {"-c:v", "mpeg4", "-c:a", "aac", "-live", "1", "-af", "asetpts=PTS+0.1/TB"},
		"two.mkv":  {"-map", "0", "-map", "1", "-map", "1", "-c:v", "mpeg4", "-c:a:0", "libmp3lame", "-c:a:1", "ac3", "-metadata:s:a:1", "language=ger"},
		"mp2.ts":   {"-c:v", "mpeg2video", "-c:a", "mp2"},
		"aac.ts":   {"-c:v", "mpeg4", "-c:a", "aac"},
	} {
		if ok, _ := filepath.Match(pattern, name); !ok {
			continue
		}
		path := filepath.Join(dir, name)
		mediatest.Video(f, path, 0.3, 440, args...)
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, track := range []string{"", "1", "ger"} {
			f.Add(b, track)
		}
	}
}

// Each takes untrusted files of one kind apart. What is sent can be read to its end, is
// planned the same again, and has the samples of the track; a copy of a copy is the same.
func FuzzIndexed(f *testing.F)         { fuzzNew(f, "[!fd]*.m[po][4v]") }
func FuzzFragments(f *testing.F)       { fuzzNew(f, "[fd]*.mp4") }
func FuzzMatroska(f *testing.F)        { fuzzNew(f, "*.mkv") }
func FuzzTransportStream(f *testing.F) { fuzzNew(f, "*.ts") }

func fuzzNew(f *testing.F, seeds string) {
	seedFiles(f, seeds)
	f.Fuzz(func(t *testing.T, b []byte, track string) {
		o := remux.Options{Track: track, Small: true}
		p, content := read(t, b, o)
		if p == nil {
			return
		}
		if p.Whole {
			if p.Reason == "" || !bytes.Equal(content, b) {
				t.Fatalf("the whole file (%s) is %d bytes of %d", p.Reason, len(content), len(b))
			}
			return
		}
		if p.Reason != "" || p.Container == "" {
			t.Fatalf("a copy of %q because of %q", p.Container, p.Reason)
		}
		if again, _ := read(t, b, o); again.Fingerprint != p.Fingerprint {
			t.Fatal("another copy the second time")
		}
		m, err := mp4.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if p.Container == "mp4" && !m.Fragmented {
			sameSamples(t, m, content)
			return
		}
		second, copied := read(t, content, o)
		if second == nil || second.Whole || !bytes.Equal(copied, content) {
			t.Fatalf("the copy of a copy is another: %+v", second)
		}
	})
}

// read plans what to send and reads it; nil for a file that is cut.
func read(t *testing.T, b []byte, o remux.Options) (*remux.Plan, []byte) {
	p, err := remux.New(t.Context(), bytes.NewReader(b), int64(len(b)), o)
	if errors.Is(err, remux.ErrTruncated) {
		return nil, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(p.NewReader())
	if err != nil || int64(len(content)) != p.Size {
		t.Fatalf("%d of %d bytes, %v", len(content), p.Size, err)
	}
	return p, content
}

// sameSamples checks that one audio track has its samples in the copy, and that the
// others have none.
func sameSamples(t *testing.T, m *mp4.Movie, content []byte) {
	c, err := mp4.Read(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	was, is := m.AudioTracks(), c.AudioTracks()
	if len(was) != len(is) {
		t.Fatalf("%d audio tracks, %d in the copy", len(was), len(is))
	}
	full := 0
	for i := range is {
		if is[i].Duration == 0 {
			continue
		}
		full++
		var a, b bytes.Buffer
		if err := m.WriteSamples(was[i], &a); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteSamples(is[i], &b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("other samples of track %d", i)
		}
	}
	if full != 1 {
		t.Fatalf("%d audio tracks with samples", full)
	}
}
