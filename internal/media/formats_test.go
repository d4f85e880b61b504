package media_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/formats.md from what came out")

// containers are the names of ffprobe's formats in the documentation.
var containers = map[string]string{
	"mov,mp4,m4a,3gp,3g2,mj2": "MP4, MOV, M4A, 3GP", "matroska,webm": "Matroska, WebM", "mpegts": "MPEG-TS", "mpeg": "MPEG-PS", "avi": "AVI",
	"flv": "FLV", "asf": "ASF (WMV, WMA)", "ogg": "Ogg", "wav": "WAV", "w64": "Wave64", "aiff": "AIFF", "au": "AU", "caf": "CAF", "flac": "FLAC",
	"mp3": "MP3", "aac": "AAC (ADTS)", "ac3": "AC-3", "dts": "DTS", "tta": "TTA", "wv": "WavPack",
}

// documented is docs/formats.md.
func (v *verdicts) documented() string {
	var b strings.Builder
	b.WriteString("# Formats\n\n" +
		"Written by `make media-test`, which converts every input from a file, through a pipe and by ranges, with and without options, and judges what a decoder plays of the MP3. " +
		"Do not edit: `TONEARM_TEST_MEDIA=1 go test ./internal/media -update` writes it.\n\n" +
		"## Containers and codecs\n\n" +
		"The codecs have ffmpeg's names. *Refused* are broken files, hostile files and codecs that Tonearm does not convert: each with the code that it should have.\n\n" +
		"| container | codec | inputs | right | refused | wrong |\n|---|---|---|---|---|---|\n")
	type key struct{ container, codec string }
	rows := map[key]map[string]int{}
	for _, r := range v.rows {
		codec := r.codec
		if strings.HasPrefix(codec, "pcm_") {
			codec = "PCM"
		}
		k := key{containers[r.container], codec}
		if k.container == "" || k.codec == "" {
			continue
		}
		if rows[k] == nil {
			rows[k] = map[string]int{}
		}
		verdict, _ := r.documented()
		rows[k][verdict]++
	}
	keys := slices.SortedFunc(maps.Keys(rows), func(a, b key) int {
		return cmp.Or(strings.Compare(a.container, b.container), strings.Compare(strings.ToLower(a.codec), strings.ToLower(b.codec)))
	})
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	for _, k := range keys {
		n := rows[k]
		right, refused, wrong := n["right"], n["refused rightly"], n["wrong"]
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s |\n", k.container, k.codec, right+refused+wrong, number(right), number(refused), number(wrong))
	}
	b.WriteString("\n## Unusual files\n\n" +
		"Files that Tonearm or other programs got wrong once, with the specification or the report that says what is right.\n\n" +
		"| file | what it is | what comes out | see |\n|---|---|---|---|\n")
	for _, r := range v.rows {
		if !r.unusual {
			continue
		}
		_, outcome := r.documented()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, r.About, outcome, sources(r.From))
	}
	return b.String()
}

// documented is the verdict, and what comes out. The page is the same for all versions
// of ffmpeg.
func (r row) documented() (verdict, outcome string) {
	const sound = "the right sound"
	switch {
	case len(r.faults) > 0:
		return r.verdict(), "wrong"
	case r.ByVersion:
		return "right", fmt.Sprintf("%s, or `%s`, by the version of ffmpeg", sound, r.Want.Or.Code)
	case r.code != "":
		return r.verdict(), "`" + string(r.code) + "`"
	}
	return r.verdict(), sound
}

// sources are links and names of specifications.
func sources(from []string) string {
	list := make([]string, len(from))
	for i, s := range from {
		list[i] = s
		if link, ok := strings.CutPrefix(s, "https://"); ok {
			name := strings.TrimPrefix(link, "github.com/")
			name = strings.NewReplacer("/issues/", "#", "/pull/", "#").Replace(name)
			list[i] = "[" + name + "](" + s + ")"
		}
	}
	return strings.Join(list, "; ")
}

// document compares docs/formats.md with what came out, or writes it.
func (v *verdicts) document(t *testing.T) {
	const path = "../../docs/formats.md"
	want := v.documented()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("docs/formats.md is not what came out (%v): TONEARM_TEST_MEDIA=1 go test ./internal/media -update", err)
	}
}
