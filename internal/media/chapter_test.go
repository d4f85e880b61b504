package media

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tonearm/internal/conversion"
	"tonearm/internal/media/probe"
)

func TestCut(t *testing.T) {
	all := []probe.Chapter{{Start: 0, End: 10, Title: "a"}, {Start: 10, End: 10, Title: "without an end"}, {Start: 20, End: 30, Title: "c"}, {Start: 30, End: 0, Title: "until the end"}}
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
	if got := cut([]probe.Chapter{{Start: 0, End: math.Inf(1), Title: ""}}, 0, math.Inf(1)); len(got) != 1 || got[0].End.Seconds() != probe.MaxTime {
		t.Errorf("without an end: %v", got)
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
		for i, c := range cut(info.Chapters, 1, 100) {
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
