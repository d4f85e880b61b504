package media_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	reader "github.com/dhowden/tag"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

// tagged is an MP3 and the bytes of its tag.
type tagged struct {
	conversion.MP3
	tag []byte
}

// tagOf converts a source and returns what became of its tag, with the notes about
// that alone.
func tagOf(t *testing.T, source string, o conversion.Options) (tagged, string) {
	t.Helper()
	e, target, err := convertAs(t, source, "holiday video.final.mp4", o)
	if err != nil {
		t.Fatalf("convert %s: %v", filepath.Base(source), err)
	}
	content, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	if bytes.HasPrefix(content, []byte("ID3")) {
		for _, b := range content[6:10] {
			size = size<<7 | int(b)
		}
		size += 10
	}
	e.MP3.Notes = slices.DeleteFunc(e.MP3.Notes, func(n conversion.Note) bool { return n.Code == conversion.NoteCopied })
	return tagged{e.MP3, content[:size]}, target
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
			made, target := tagOf(t, source, tt.options)
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
				if bytes.Contains(made.tag, []byte(private)) {
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
			made, target := tagOf(t, source, tt.options)
			// The first packet of Vorbis gives no sound: in Matroska it begins 3 ms late.
			got := strings.NewReplacer("0.997", "1.000", "1.497", "1.500", "2.497", "2.500", "3.997", "4.000", "1.999", "2.000").Replace(ffprobe(t, target).list())
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			want := 0
			if tt.want != "" {
				want = len(strings.Split(tt.want, ", "))
			}
			if made.Chapters != want {
				t.Errorf("%d chapters counted, want %d", made.Chapters, want)
			}
		})
	}
}

// TestTagInResult: a whole conversion, and what its record says.
func TestTagInResult(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chapters"), []byte(chapters), 0o600); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "in.mp4")
	installed(t, dir, append(append([]string{}, threeColours...), "-f", "ffmetadata", "-i", "chapters", "-map", "0", "-map", "1",
		"-map_chapters", "2", "-pix_fmt", "yuv420p", source)...)
	for _, tt := range []struct {
		options  conversion.Options
		cover    conversion.Cover
		chapters string
		note     bool
	}{
		{conversion.Options{Cover: "1.5", Start: 0.5, End: 2}, "1.5", "0.000-0.500 one, 0.500-1.500 two = zwei 二", false},
		{conversion.Options{Cover: "99", Chapters: conversion.ChaptersDrop}, "", "", true},
	} {
		e, target, err := convert(t, source, tt.options)
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
