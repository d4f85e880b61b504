package media

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tonearm/internal/conversion"
	"tonearm/internal/media/probe"
)

func TestChapterTimes(t *testing.T) {
	all := []probe.Chapter{{Start: 0, End: 10, Title: "a"}, {Start: 10, End: 10, Title: "without an end"}, {Start: 20, End: 30, Title: "c"}, {Start: 30, End: 0, Title: "until the end"}}
	same := func(t float64) float64 { return t }
	paused := func(t float64) float64 { return min(t, 19) + max(0, t-30) } // from 19 to 30 there is no sound
	for _, tt := range []struct {
		sound        func(float64) float64
		from, length float64
		want         string
	}{
		{same, 0, 40, "[{0s 10s a} {10s 20s without an end} {20s 30s c} {30s 40s until the end}]"},
		{same, 10, 20, "[{0s 10s without an end} {10s 20s c}]"},
		{same, 9.9996, 10, "[{0s 10s without an end}]"},
		{same, 25.5, 974.5, "[{0s 4.5s c} {4.5s 16m14.5s until the end}]"},
		{same, 50, 10, "[{0s 10s until the end}]"},
		{same, 40, 0, "[]"},
		{paused, 0, 29, "[{0s 10s a} {10s 19s without an end} {19s 29s until the end}]"},
		{paused, 35, 5, "[{0s 5s until the end}]"},
		{paused, 18, 3, "[{0s 1s without an end} {1s 3s until the end}]"},
	} {
		if got := fmt.Sprint(chapters(all, tt.sound, tt.from, tt.length)); got != tt.want {
			t.Errorf("from %v, %v s: got %s, want %s", tt.from, tt.length, got, tt.want)
		}
	}
}

// FuzzMetadata: whatever a source says about itself, the tags are such that the
// options could ask for them, and chapters stay within bounds.
func FuzzMetadata(f *testing.F) {
	f.Add(";FFMETADATA1\ntitle=a\\\nb\ndate=2026\n[CHAPTER]\nTIMEBASE=1/10\nSTART=0\nEND=9\ntitle=\xff\n")
	f.Add("title\\==\\\n[STREAM]\ncomment=\r\n\\")
	f.Add("[CHAPTER]\ntimebase=1e300/1e-300\nstart=NaN\nend=-Inf")
	f.Fuzz(func(t *testing.T, text string) {
		info := probe.Info{Container: "ogg"}
		var told probe.Texts
		if n, err := told.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
		info.Told(&told)
		for track := range 3 { // of an Ogg file the tags of a track, if there are any
			if tags := info.Tags(track); (conversion.Options{Tags: &tags}).Validate() != nil {
				t.Errorf("%v: %+v", (conversion.Options{Tags: &tags}).Validate(), tags)
			}
		}
		const most, longest = 10_000, 250
		if len(info.Chapters) > most {
			t.Errorf("%d chapters", len(info.Chapters))
		}
		last := 0.0
		for i, c := range chapters(info.Chapters, func(t float64) float64 { return t }, 1, 99) {
			start, end := c.Start.Seconds(), c.End.Seconds()
			if start < last || end <= start || end > 99 {
				t.Errorf("chapter %d from %v to %v", i, start, end)
			}
			last = start
			if utf8.RuneCountInString(c.Title) > longest || strings.ContainsFunc(c.Title, unicode.IsControl) {
				t.Errorf("title %q", c.Title)
			}
		}
	})
}
