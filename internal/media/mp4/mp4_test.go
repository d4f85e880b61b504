package mp4_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
)

func read(t *testing.T, path string) (*os.File, *mp4.Movie) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	stat, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := mp4.Read(f, stat.Size())
	if err != nil {
		t.Fatal(err)
	}
	return f, m
}

// own is a track's own file.
func own(t *testing.T, f io.ReaderAt, m *mp4.Movie, track *mp4.Track) (b []byte, seek bool, err error) {
	t.Helper()
	p, err := m.Plan(track)
	if err != nil {
		return nil, false, err
	}
	b = bytes.Clone(p.Header)
	for _, e := range p.Extents {
		piece := make([]byte, e.Size)
		if _, err := f.ReadAt(piece, e.Offset); err != nil {
			t.Fatal(err)
		}
		b = append(b, piece...)
	}
	if int64(len(b)-len(p.Header)) != p.Bytes {
		t.Errorf("the plan has %d bytes, its extents %d", p.Bytes, len(b)-len(p.Header))
	}
	return b, p.Seek, nil
}

// ffmpeg returns what it writes for the words of args around an input.
func ffmpeg(t *testing.T, stdin []byte, input, after string) []byte {
	t.Helper()
	args := append([]string{"-nostdin", "-v", "error", "-i", input}, strings.Fields(after)...)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(args, "pipe:1")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("ffmpeg %s %s: %v: %s", filepath.Base(input), after, err, stderr.String())
	}
	return stdout.Bytes()
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return fmt.Sprintf("%d bytes, %s", len(b), hex.EncodeToString(s[:]))
}

// TestSameAudio decodes every audio track of every file in three ways: from the
// file, from its own file, and from its own file through a pipe.
func TestSameAudio(t *testing.T) {
	var combinations atomic.Int32
	t.Cleanup(func() {
		if n := combinations.Load(); n < 40 {
			t.Errorf("only %d tracks", n)
		}
	})
	for _, movie := range mediatest.Movies(t, 2) {
		t.Run(movie.Name, func(t *testing.T) {
			t.Parallel()
			f, m := read(t, movie.Path)
			sameIndex(t, movie, m)
			for i, track := range m.AudioTracks() {
				b, seek, err := own(t, f, m, track)
				if movie.Whole != "" {
					if !errors.Is(err, mp4.Reason(movie.Whole)) {
						t.Errorf("got %v, want %q", err, movie.Whole)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				combinations.Add(1)
				path := filepath.Join(t.TempDir(), "own")
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				for _, cut := range []string{"", "-ss 0.9 -t 0.4 "} { // behind the input: decoded from its beginning
					pcm := " " + cut + "-f f32le"
					want := sum(ffmpeg(t, nil, movie.Path, "-map 0:a:"+strconv.Itoa(i)+pcm))
					if got := sum(ffmpeg(t, b, "pipe:0", "-map 0:a:0"+pcm)); got != want && !seek {
						t.Errorf("track %d %s: through a pipe %s, want %s", i, cut, got, want)
					}
					if got := sum(ffmpeg(t, nil, path, "-map 0:a:0"+pcm)); (seek || cut == "") && got != want {
						t.Errorf("track %d: as a file %s, want %s", i, got, want)
					}
				}
				if movie.Tagged {
					sameTags(t, movie.Path, b)
				}
			}
		})
	}
}

// sameTags compares tags and the attached picture.
func sameTags(t *testing.T, path string, own []byte) {
	t.Helper()
	const tags = "-map_chapters -1 -map_metadata 0 -f ffmetadata"
	want, got := ffmpeg(t, nil, path, tags), ffmpeg(t, own, "pipe:0", tags)
	if g, w := metadata(got), metadata(want); g != w {
		t.Errorf("metadata:\n%s\nwant:\n%s", g, w)
	}
	if strings.Contains(path, "book") {
		const picture = "-map 0:v -c copy -f image2pipe"
		if want, got := ffmpeg(t, nil, path, picture), ffmpeg(t, own, "pipe:0", picture); len(want) == 0 || !bytes.Equal(want, got) {
			t.Errorf("the picture has %d bytes, want %d", len(got), len(want))
		}
	}
}

// metadata leaves out the time code, which is that of another track.
func metadata(b []byte) string {
	return strings.Join(slices.DeleteFunc(strings.Split(string(b), "\n"), func(line string) bool { return strings.HasPrefix(line, "timecode=") }), "\n")
}

// TestChapters reads a list and tracks, and counts how many titles it asks for.
func TestChapters(t *testing.T) {
	for _, movie := range mediatest.Movies(t, 2) {
		want, titles := "0.0-0.0 Kapitel 1 – ü, 0.5-0.0 Kapitel 2 – ü, 1.0-0.0 Kapitel 3 – ü, ", 0
		switch movie.Name {
		case "book.m4a", "chapters.mp4", "chapter track.mov", "words.mp4": // a list and a track, which says the same
		case "chapter track.mp4":
			want, titles = "0.0-0.5 Kapitel 1 – ü, 0.5-1.0 Kapitel 2 – ü, 1.0-1.5 Kapitel 3 – ü, ", 3
		default:
			want = ""
		}
		f, m := read(t, movie.Path)
		asked := 0
		list, count, err := m.Chapters(func(where []mp4.Extent) ([][]byte, error) {
			asked += len(where)
			texts := make([][]byte, len(where))
			for i, e := range where {
				texts[i] = make([]byte, e.Size)
				if _, err := f.ReadAt(texts[i], e.Offset); err != nil {
					return nil, err
				}
			}
			return texts, nil
		})
		got := ""
		for _, c := range list {
			got += fmt.Sprintf("%.1f-%.1f %s, ", c.Start, c.End, c.Title)
		}
		if err != nil || got != want || count != len(list) || asked != titles {
			t.Errorf("%s: %s(%d, %d asked for), %v, want %s", movie.Name, got, count, asked, err, want)
		}
	}
}

// TestEdits: what edit lists show.
func TestEdits(t *testing.T) {
	dir := t.TempDir()
	mediatest.Video(t, dir+"/whole.mp4", 3, 440, "-c:v", "mpeg4", "-c:a", "aac")
	for name, tt := range map[string]struct {
		edits                [][2]float64
		seconds, delay, skip float64
	}{
		"one":     {[][2]float64{{1.5, 0.25}}, 1.5, 0, 0.25},
		"late":    {[][2]float64{{0.7, -1}, {1.5, 0.25}}, 1.5, 0.7, 0.25},
		"to end":  {[][2]float64{{0, 1}}, 3.03 - 1, 0, 1},
		"pieces":  {[][2]float64{{0.5, 0.25}, {0.5, 1.25}}, 1, 0, -1},
		"too far": {[][2]float64{{9, 1}}, 3.03 - 1, 0, 1},
		"a pause": {[][2]float64{{0.5, 0.25}, {1, -1}, {0.5, 1.25}}, 1, 0, -1},
		"ends":    {[][2]float64{{0.5, 0.25}, {1, -1}}, 0.5, 0, -1},
	} {
		mediatest.Remux(t, dir+"/whole.mp4", dir+"/edited.mp4", mediatest.Layout{ChunkSeconds: 1, Edits: tt.edits})
		_, m := read(t, dir+"/edited.mp4")
		if s := m.AudioTracks()[0]; math.Abs(s.Seconds-tt.seconds) > 0.02 || math.Abs(s.Delay-tt.delay) > 0.001 || math.Abs(s.Skip-tt.skip) > 0.001 {
			t.Errorf("%s: %v seconds, delay %v, skip %v; want %+v", name, s.Seconds, s.Delay, s.Skip, tt)
		}
	}
}

// sameIndex compares what the index says with what ffprobe says.
func sameIndex(t *testing.T, movie mediatest.Movie, m *mp4.Movie) {
	t.Helper()
	movieStart := probe(t, movie.Path, "-show_entries", "format=start_time")[0]
	got := m.AudioTracks()
	want := probe(t, movie.Path, "-select_streams", "a", "-show_entries", "stream=id,start_time:stream_tags=language:stream_disposition=default")
	if len(got) != len(want) || len(got) != movie.AudioTracks {
		t.Fatalf("%d audio tracks, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if id, _ := strconv.ParseUint(w["id"], 0, 32); g.ID != uint32(id) {
			t.Errorf("id %d, want %s", g.ID, w["id"])
		}
		if g.Enabled != (w["disposition:default"] == "1") {
			t.Errorf("track %d: enabled %v, want %s", g.ID, g.Enabled, w["disposition:default"])
		}
		if l := strings.TrimSuffix(w["tag:language"], "und"); g.Language != l {
			t.Errorf("track %d: language %q, want %q", g.ID, g.Language, l)
		}
		if start := seconds(w["start_time"]) - seconds(movieStart["start_time"]); movie.Whole == "" && math.Abs(m.Start(g)-start) > 2e-6 {
			t.Errorf("track %d starts at %v, want %v", g.ID, m.Start(g), start)
		}
	}
}

func seconds(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// probe returns the fields of each section that ffprobe shows.
func probe(t *testing.T, path string, args ...string) (sections []map[string]string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", append([]string{"-v", "error", "-of", "default"}, append(args, path)...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		key, value, ok := strings.Cut(strings.ToLower(line), "=")
		switch {
		case line == "[STREAM]", line == "[FORMAT]":
			sections = append(sections, map[string]string{})
		case ok:
			sections[len(sections)-1][key] = value
		}
	}
	return sections
}
