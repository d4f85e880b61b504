package media_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/remux"
)

// quickSent are the cases whose copies plain go test converts.
var quickSent = []string{
	"iphone-spatial.mov", "chapter-track-sbtl.mov", "late.mp4", "tracks-last.mkv", "fragments.mp4", "ac3.ts",
	"sent everything.mkv", "sent everything.mp4", "sent two tracks.ts", "sent late fragments every frame.mp4",
	"sent laces.mkv", "varying.mkv",
}

// TestMediaSent compares the MP3 of what package remux would send with that of the
// whole file, byte for byte and with what the record says. It prints how many of the
// files go as sound. Without TONEARM_TEST_MEDIA it tries a few of them.
func TestMediaSent(t *testing.T) {
	table := &sentTable{count: map[string]*sentCount{}}
	t.Cleanup(func() { table.print() })
	cases := slices.Concat(mediatest.Cases(), mediatest.OptionCases(), mediatest.Sent())
	if wholeCorpus() {
		elsewhere := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(elsewhere.Close)
		cases = slices.Concat(cases, mediatest.SampleCases(t, elsewhere.URL), mediatest.MovieCases(t))
	}
	for _, name := range quickSent {
		if !slices.ContainsFunc(cases, func(c mediatest.Case) bool { return c.Name == name }) {
			t.Errorf("no case has the name %s", name)
		}
	}
	for _, c := range cases {
		if !wholeCorpus() && !slices.Contains(quickSent, c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "source")
			named := filepath.Join(t.TempDir(), c.Name)
			c.Make(t, named, &c.Want)
			if err := os.Rename(named, path); err != nil {
				t.Fatal(err)
			}
			s := sending{c: c, path: path, table: table}
			for i, o := range s.options() {
				s.try(t, i, o)
			}
		})
	}
}

// sending is one source that is sent with several options.
type sending struct {
	c     mediatest.Case
	path  string
	table *sentTable
}

// options are those of the case, and those that change what is sent.
func (s *sending) options() []conversion.Options {
	var all []conversion.Options
	for _, try := range s.c.AllTries() {
		all = append(all, try.Options)
	}
	end := max(0.3, s.c.Want.Seconds)
	return append(all,
		conversion.Options{Track: "1"}, conversion.Options{Track: "ger"}, conversion.Options{Track: "7"},
		conversion.Options{Start: s.c.Want.At + 0.25*end, Chapters: conversion.ChaptersDrop, Cover: conversion.CoverNone},
		conversion.Options{Cover: conversion.CoverAttached, End: s.c.Want.At + 0.6*end}, conversion.Options{Cover: conversion.CoverPoster},
		conversion.Options{Copy: conversion.CopyNever, BitrateKbps: 320},
	)
}

// try compares the copy for these options with the whole file. i numbers them.
func (s *sending) try(t *testing.T, i int, o conversion.Options) {
	f, err := os.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p, err := remux.New(t.Context(), f, stat.Size(), remux.Options{Track: o.Track, Pictures: o.Cover.Decodes(), Start: o.Start, End: o.End, Kbps: o.Resolved().BitrateKbps, Small: true})
	if errors.Is(err, remux.ErrTruncated) {
		s.table.add(s.c.Name, i, "refused", "", 0, 0)
		if r := fromFile(t)(t.Context(), s.path, s.c.Name, o); r.Code != conversion.CodeTruncated {
			t.Errorf("%+v: refused as truncated before it is sent, but the converter says %q (%s) %v", o, r.Code, r.Message, r.Err)
		}
		return
	}
	if err != nil {
		t.Errorf("%+v: %v", o, err)
		return
	}
	s.table.add(s.c.Name, i, p.Container, p.Reason, p.Size, stat.Size())
	if p.Whole {
		if i == 0 && soundOnly(s.c.Name) {
			t.Errorf("all of it is sent: %s", p.Reason)
		}
		if p.Size != stat.Size() {
			t.Errorf("%+v: %d of %d bytes of the whole", o, p.Size, stat.Size())
		}
		return
	}
	if allOf(s.c.Name) {
		t.Errorf("%+v: only the sound is sent", o)
	}
	sent := filepath.Join(t.TempDir(), fmt.Sprintf("sent%d", i))
	content, err := io.ReadAll(p.NewReader())
	if err != nil || int64(len(content)) != p.Size {
		t.Fatalf("%+v: %d of %d bytes, %v", o, len(content), p.Size, err)
	}
	if err := os.WriteFile(sent, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for k, way := range ways {
		if i > 0 && k != i%len(ways) { // without options on all ways
			continue
		}
		want := way.convert(t)(t.Context(), s.path, s.c.Name, o)
		got := way.convert(t)(t.Context(), sent, s.c.Name, o)
		if o.End > 0 { // how many packets behind the end are decoded, ffmpeg's threads decide
			uncounted(want.MP3.Notes)
			uncounted(got.MP3.Notes)
		}
		faults := differs(want, got)
		if was, is := recorded(want), recorded(got); was != is {
			faults = append(faults, fmt.Sprintf("the record says %s, that of the whole %s", is, was))
		}
		for _, fault := range faults {
			t.Errorf("%s%s: %s", way.name, named(o), fault)
		}
	}
}

// soundOnly says of which cases only the sound must be sent, at the least.
func soundOnly(name string) bool {
	half := []string{"keyframes", "offsets", "dash", "sidx", "negative"} // samples in the index, or lists of the track's own fragments
	if strings.Contains(name, "fragments ") && slices.ContainsFunc(half, func(s string) bool { return strings.Contains(name, s) }) {
		return false
	}
	return strings.HasPrefix(name, "sent ") || slices.Contains(quickSent, name) && name != "tracks-last.mkv" && !allOf(name)
}

// allOf says of which cases all must be sent.
func allOf(name string) bool {
	return !strings.HasPrefix(name, "sent ") && slices.ContainsFunc(mediatest.Sent(), func(c mediatest.Case) bool { return c.Name == name })
}

// uncounted takes out of notes how many packets could not be decoded.
func uncounted(notes []conversion.Note) {
	for i := range notes {
		if notes[i].Code == conversion.NotePacketsLost {
			notes[i].Message = ""
		}
	}
}

// recorded is what a record says of its source, but for its size.
func recorded(r mediatest.Result) string {
	s, m := r.Source, r.MP3
	return fmt.Sprintf("%s %s, track %d of %d, %.4f s, %d Hz, %d channels, title %q, %d chapters, cover %q",
		s.Container, s.Codec, s.Track, s.AudioTracks, s.Duration, s.SampleRate, s.Channels, s.Title, m.Chapters, m.Cover)
}

// sentTable counts what is sent of the corpus, without options.
type sentTable struct {
	mu    sync.Mutex
	count map[string]*sentCount // by container
	lines []string
}

type sentCount struct {
	whole, sound int
	bytes, of    int64
	reasons      map[remux.Reason]int
}

func (s *sentTable) add(name string, i int, container string, why remux.Reason, size, of int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%-34s %2d %-9s %-17s %9d %9d", name, i, container, why, size, of))
	if i > 0 {
		return
	}
	c := s.count[container]
	if c == nil {
		c = &sentCount{reasons: map[remux.Reason]int{}}
		s.count[container] = c
	}
	if why != "" {
		c.whole++
		c.reasons[why]++
		return
	}
	c.sound, c.bytes, c.of = c.sound+1, c.bytes+size, c.of+of
}

// print prints what was sent with each of the options, and a table of what is sent
// without options for docs/architecture.md.
func (s *sentTable) print() {
	slices.Sort(s.lines)
	fmt.Println(strings.Join(s.lines, "\n"))
	fmt.Println("| container | files | only the sound | of their bytes | all of it, because |\n|---|---|---|---|---|")
	for _, container := range slices.Sorted(maps.Keys(s.count)) {
		c := s.count[container]
		var why []string
		for _, reason := range slices.Sorted(maps.Keys(c.reasons)) {
			why = append(why, fmt.Sprintf("`%s` %d", reason, c.reasons[reason]))
		}
		fmt.Printf("| %s | %d | %d | %.0f %% | %s |\n", container, c.whole+c.sound, c.sound, 100*float64(c.bytes)/float64(max(1, c.of)), strings.Join(why, ", "))
	}
}
