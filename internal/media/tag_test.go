package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	reader "github.com/dhowden/tag"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
)

// makeTag makes the tag for a source, and an MP3 that begins with it.
func makeTag(t *testing.T, source string, o conversion.Options) (tagged, string) {
	t.Helper()
	ff := FFmpeg{Program: ffmpeg.Program{Path: mediatest.FFmpeg(t)}}
	info, err := ff.Probe(t.Context(), source)
	if err != nil {
		t.Fatalf("probe %s: %v", filepath.Base(source), err)
	}
	p, err := newPlan(info, o)
	if err != nil {
		t.Fatal(err)
	}
	made, err := ff.tag(t.Context(), EncodeSpec{Source: info, Options: o, Filename: "holiday video.final.mp4"}, p)
	if err != nil {
		t.Fatalf("tag %s: %v", filepath.Base(source), err)
	}
	target := filepath.Join(t.TempDir(), "out.mp3")
	if _, err := assemble(target, made.bytes, frames(t)); err != nil {
		t.Fatal(err)
	}
	return made, target
}

// frames is a file of MP3 frames without a tag: silence of MPEG-1 at 128 kbit/s
// and 44.1 kHz, mono.
func frames(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frames")
	frame := append([]byte("\xff\xfb\x90\xc4"), make([]byte, 413)...)
	if err := os.WriteFile(path, bytes.Repeat(frame, 40), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func installed(t *testing.T, dir string, args ...string) {
	t.Helper()
	if err := mediatest.Make(t.Context(), dir, args...); err != nil {
		t.Fatal(err)
	}
}

// replace changes bytes of a file that occur there at least once.
func replace(t *testing.T, path, before, after string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(before)) {
		t.Fatalf("no %q in %s", before, filepath.Base(path))
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(content, []byte(before), []byte(after)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// probed is what ffprobe finds in a file.
type probed struct {
	Format   struct{ Tags map[string]string }
	Chapters []struct {
		StartTime string `json:"start_time"`
		EndTime   string `json:"end_time"`
		Tags      map[string]string
	}
	Streams []struct {
		CodecName     string `json:"codec_name"`
		Width, Height int
		Disposition   map[string]int
	}
}

func ffprobe(t *testing.T, path string) probed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters", path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffprobe: %v: %s", err, stderr.String())
	}
	var p probed
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// list writes chapters as ffprobe has them, in seconds.
func (p probed) list() string {
	var all []string
	for _, c := range p.Chapters {
		all = append(all, fmt.Sprintf("%s-%s %s", strings.TrimSuffix(c.StartTime, "000"), strings.TrimSuffix(c.EndTime, "000"), c.Tags["title"]))
	}
	return strings.Join(all, ", ")
}

const leaky = "-map_metadata -1 -metadata location=+48.1+11.5/ -metadata location-eng=+48.1+11.5/ " +
	"-metadata com.apple.quicktime.location.ISO6709=+48.1+11.5/ -metadata com.apple.quicktime.model=SecretPhone " +
	"-metadata encoder=SecretEncoder -metadata copyright=SecretOwner -metadata description=SecretText " +
	"-metadata creation_time=2001-01-01T00:00:00Z -metadata:s:a title=SecretTrack -metadata:s:a handler_name=SecretHandler"

func TestTexts(t *testing.T) {
	dir := t.TempDir()
	full := []string{
		"-metadata", "title=Tïtle=1; #2", "-metadata", "artist=Artist", "-metadata", "album=Album", "-metadata", "date=2026-11-23",
		"-metadata", "genre=Jazz", "-metadata", "comment=line one\nline two", "-metadata", "track=3/12",
	}
	want := conversion.Tags{
		Title: "Tïtle=1; #2", Artist: "Artist", Album: "Album", Date: "2026-11-23", Genre: "Jazz", Comment: "line one\nline two", Track: "3/12",
	}
	inMOV := want
	inMOV.Track = "" // ffmpeg writes none there
	own := conversion.Tags{Title: "Own", Artist: "Me", Album: "Mine", Date: "1999", Genre: "Talk", Comment: "a\nb", Track: "1"}
	tests := []struct {
		name    string
		args    []string
		options conversion.Options
		want    conversion.Tags
	}{
		{"leaky.mp4", append(strings.Fields("-c:a aac -movflags use_metadata_tags "+leaky), full...), conversion.Options{}, want},
		{"leaky.mov", append(strings.Fields("-c:a aac "+leaky), full...), conversion.Options{}, inMOV},
		{"leaky.mkv", append(strings.Fields("-c:a aac "+leaky), full...), conversion.Options{}, want},
		{"leaky.ogg", append(strings.Fields("-c:a libvorbis "+strings.Replace(leaky, "-metadata:s:a title=SecretTrack", "", 1)), full...), conversion.Options{}, want},
		{"leaky.mp3", append(strings.Fields("-c:a libmp3lame "+leaky), full...), conversion.Options{}, want},
		{"leaky.wma", append(strings.Fields("-c:a wmav2 "+leaky), full...), conversion.Options{}, want},
		{"own.mp4", append(strings.Fields("-c:a aac "+leaky), full...), conversion.Options{Tags: &own}, own},
		{"some.mp4", append(strings.Fields("-c:a aac "+leaky), full...), conversion.Options{Tags: &conversion.Tags{Artist: "Me"}},
			conversion.Tags{Title: want.Title, Artist: "Me", Album: want.Album, Date: want.Date, Genre: want.Genre, Comment: want.Comment, Track: want.Track}},
		{"none.mkv", strings.Fields("-c:a aac " + leaky + " -metadata date=yesterday"), conversion.Options{}, conversion.Tags{Title: "holiday video.final"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := filepath.Join(dir, tt.name)
			installed(t, dir, append(append([]string{"-f", "lavfi", "-i", "sine=d=0.5"}, tt.args...), source)...)
			made, target := makeTag(t, source, tt.options)
			content, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			m, err := reader.ReadFrom(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			n, total := m.Track()
			got := conversion.Tags{Title: m.Title(), Artist: m.Artist(), Album: m.Album(), Genre: m.Genre(), Comment: m.Comment()}
			got.Date, _ = m.Raw()["TDRC"].(string)
			if n > 0 {
				got.Track = strings.TrimSuffix(fmt.Sprintf("%d/%d", n, total), "/0")
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			for _, private := range []string{"Secret", "+48.1", "2001", "Lavf", "Lavc", "apple"} {
				if bytes.Contains(made.bytes, []byte(private)) {
					t.Errorf("the tag tells %q", private)
				}
			}
			tags := ffprobe(t, target).Format.Tags
			if tags["title"] != tt.want.Title || tags["artist"] != tt.want.Artist || tags["comment"] != tt.want.Comment || tags["date"] != tt.want.Date {
				t.Errorf("ffprobe reads %v", tags)
			}
		})
	}
}

// chapters in ffmpeg's metadata format: three, of 1 s, 1.5 s and 1.5 s.
const chapters = ";FFMETADATA1\n" +
	"[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=one\n" +
	"[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2500\ntitle=two \\= zwei 二\n" +
	"[CHAPTER]\nTIMEBASE=1/1000\nSTART=2500\nEND=4000\ntitle=three\n"

func TestChapters(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chapters"), []byte(chapters), 0o600); err != nil {
		t.Fatal(err)
	}
	const whole = "0.000-1.000 one, 1.000-2.500 two = zwei 二, 2.500-4.000 three"
	tests := []struct {
		name    string
		args    string
		options conversion.Options
		want    string
	}{
		{"text track.mp4", "", conversion.Options{}, whole},
		{"text track.mov", "", conversion.Options{}, whole},
		{"text track alone.mp4", "-movflags disable_chpl", conversion.Options{}, whole},
		{"segment.mkv", "", conversion.Options{}, whole},
		{"sound comes late.mkv", "-itsoffset 2", conversion.Options{}, "0.000-0.500 two = zwei 二, 0.500-2.000 three"},
		{"list alone.mp4", "", conversion.Options{}, whole},
		{"comments.opus", "-map_chapters -1 -metadata CHAPTER001=00:00:00.000 -metadata CHAPTER001NAME=one -metadata CHAPTER002=00:00:02.500",
			conversion.Options{End: 4}, "0.000-2.500 one, 2.500-4.000 ch1"}, // without a title ffprobe shows the id
		{"tag.mp3", "", conversion.Options{}, whole},
		{"dropped.mkv", "", conversion.Options{Chapters: conversion.ChaptersDrop}, ""},
		{"kept.mkv", "", conversion.Options{Chapters: conversion.ChaptersKeep}, whole},
		{"from.mkv", "", conversion.Options{Start: 1.25}, "0.000-1.250 two = zwei 二, 1.250-2.750 three"},
		{"until.mkv", "", conversion.Options{End: 1.5}, "0.000-1.000 one, 1.000-1.500 two = zwei 二"},
		{"edges.mkv", "", conversion.Options{Start: 1, End: 2.5}, "0.000-1.500 two = zwei 二"},
		{"far end.mkv", "", conversion.Options{Start: 3, End: 100}, "0.000-1.000 three"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := filepath.Join(dir, tt.name)
			t.Parallel()
			var args []string
			if offset, late := strings.CutPrefix(tt.args, "-itsoffset "); late {
				args = append(args, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=4", "-itsoffset", offset, "-f", "lavfi", "-i", "sine=d=2",
					"-f", "ffmetadata", "-i", "chapters", "-map", "0", "-map", "1", "-map_chapters", "2", "-c:a", "flac")
			} else {
				args = append(args, "-f", "lavfi", "-i", "sine=d=4", "-f", "ffmetadata", "-i", "chapters", "-map", "0", "-map_chapters", "1")
				args = append(args, strings.Fields(tt.args)...)
			}
			installed(t, dir, append(args, source)...)
			if tt.name == "list alone.mp4" { // the audio does not refer to the text track any more
				replace(t, source, "tref", "skip")
			}
			made, target := makeTag(t, source, tt.options)
			if got := ffprobe(t, target).list(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			want := 0
			if tt.want != "" {
				want = len(strings.Split(tt.want, ", "))
			}
			if made.chapters != want {
				t.Errorf("%d chapters counted, want %d", made.chapters, want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	all := []chapter{{0, 10, "a"}, {10, 10, "without an end"}, {20, 30, "c"}, {30, 0, "until the end"}}
	for _, tt := range []struct {
		from, until float64
		want        string
	}{
		{0, 40, "[{0s 10s a} {10s 20s without an end} {20s 30s c} {30s 40s until the end}]"},
		{10, 30, "[{0s 10s without an end} {10s 20s c}]"},
		{9.9996, 20, "[{0s 10s without an end}]"},
		{25.5, 1000, "[{0s 4.5s c} {4.5s 16m14.5s until the end}]"},
		{50, 60, "[{0s 10s until the end}]"},
		{40, 40, "[]"},
	} {
		if got := fmt.Sprint(cut(all, tt.from, tt.until)); got != tt.want {
			t.Errorf("from %v until %v: got %s, want %s", tt.from, tt.until, got, tt.want)
		}
	}
	if got := cut([]chapter{{0, math.Inf(1), ""}}, 0, math.Inf(1)); len(got) != 1 || got[0].End.Seconds() != maxTime {
		t.Errorf("without an end: %v", got)
	}
}

func TestTagStops(t *testing.T) {
	source := filepath.Join(t.TempDir(), "in.mp4")
	mediatest.Video(t, source, 1, 440, "-c:v", "mpeg4", "-c:a", "aac")
	ff := FFmpeg{Program: ffmpeg.Program{Path: mediatest.FFmpeg(t)}}
	info, err := ff.Probe(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec := EncodeSpec{Source: info, Options: conversion.Options{Cover: conversion.CoverPoster}}
	if _, err := ff.tag(ctx, spec, plan{track: info.Tracks[0]}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTagInResult: a whole conversion, and what its record says.
func TestTagInResult(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chapters"), []byte(chapters), 0o600); err != nil {
		t.Fatal(err)
	}
	source, target := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "out.mp3")
	installed(t, dir, append(append([]string{}, threeColours...), "-f", "ffmetadata", "-i", "chapters", "-map", "0", "-map", "1",
		"-map_chapters", "2", "-pix_fmt", "yuv420p", source)...)
	ff := FFmpeg{Program: ffmpeg.Program{Path: mediatest.FFmpeg(t)}}
	info, err := ff.Probe(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		options  conversion.Options
		cover    conversion.Cover
		chapters string
		note     bool
	}{
		{conversion.Options{Cover: "1.5", Start: 0.5, End: 2}, "1.5", "0.000-0.500 one, 0.500-1.500 two = zwei 二", false},
		{conversion.Options{Cover: "99", Chapters: conversion.ChaptersDrop}, "", "", true},
	} {
		e, err := ff.Encode(t.Context(), EncodeSpec{Source: info, Target: target, Options: tt.options, Filename: "in.mp4"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := ffprobe(t, target)
		img, _ := coverOf(t, target)
		noted := slices.ContainsFunc(e.MP3.Notes, func(n conversion.Note) bool { return n.Code == conversion.NoteNoCover })
		if e.MP3.Cover != tt.cover || (img != nil) != (tt.cover != "") || noted != tt.note {
			t.Errorf("cover %q, picture %v, notes %v", e.MP3.Cover, img != nil, e.MP3.Notes)
		}
		if e.MP3.Chapters != len(found.Chapters) || found.list() != tt.chapters {
			t.Errorf("%d chapters recorded, there are %s", e.MP3.Chapters, found.list())
		}
	}
}
