package mediatest

import (
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// TestJudge: the judge finds nothing wrong with what is right, and every fault
// that a result may have.
func TestJudge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heard.mp3")
	sheet := chapters(t, "title=A song\n", 3, Chapter{0, "One"}, Chapter{1.5, "Two"})
	left, right := "0.3*sin(2*PI*if(lt(t,1.5),440,660)*t)", "lt(t,1.5)*"+sine(0.2, 880)
	encode(t, path, both(wave(left+"|"+right, 48000, 3, ""), []string{"-i", sheet}), "-map 0 -map_metadata 1 -c:a libmp3lame -b:a 192k")
	good := func() (Want, Result) {
		w := Want{
			Samples: 3 * 48000, Seconds: 3, Rate: 48000, Channels: 2,
			Sound: [][]Part{{{1.5, 440, 0.3}, {1.5, 660, 0.3}}, {{1.5, 880, 0.2}, {1.5, 0, 0}}},
			Tags:  conversion.Tags{Title: "A song"}, Chapters: []Chapter{{0, "One"}, {1.5, "Two"}},
			Notes: []conversion.NoteCode{conversion.NoteDownmixed}, NoNotes: []conversion.NoteCode{conversion.NoteLimited},
		}
		return w, Result{Path: path, MP3: conversion.MP3{Duration: 3, LengthChecked: true, Notes: []conversion.Note{{Code: conversion.NoteDownmixed}}},
			Source: conversion.Source{Duration: 3}}
	}
	if w, r := good(); len(w.Judge(t, r)) != 0 {
		t.Fatalf("what is right is called wrong: %v", w.Judge(t, r))
	}
	lufs, _ := Loudness(t, path)
	for name, tt := range map[string]struct {
		change func(w *Want, r *Result)
		says   string // '' for nothing
	}{
		"one sample more":       {func(w *Want, _ *Result) { w.Samples++ }, "144000 samples are heard (3.0000 s), expected 144001"},
		"seconds":               {func(w *Want, _ *Result) { w.Samples, w.Seconds = 0, 3.06 }, "3.0000 s are heard, expected 3.0600"},
		"to a sample":           {func(w *Want, _ *Result) { *w = w.Trimmed(0, 2.9999) }, "expected 2.9999"},
		"pitch":                 {func(w *Want, _ *Result) { w.Sound[0][0].Hz = 450 }, "in channel 1, 0.08 to 1.38 s: expected 450 Hz at -10.5 dB, heard 440 Hz at -10.7 dB"},
		"level":                 {func(w *Want, _ *Result) { w.Sound[1][0].Level = 0.25 }, "in channel 2, 0.08 to 1.38 s: expected 880 Hz at -12.0 dB, heard 880 Hz at -14.2 dB"},
		"when the tone changes": {func(w *Want, _ *Result) { w.Sound[0][0].Seconds, w.Sound[0][1].Seconds = 1.7, 1.3 }, "expected 440 Hz at -10.5 dB, heard 657 Hz"},
		"silence":               {func(w *Want, _ *Result) { w.Sound[1][1].Hz = 880 }, "expected 880 Hz, heard silence"},
		"no silence":            {func(w *Want, _ *Result) { w.Sound[0][1].Hz = 0 }, "expected silence, heard 660 Hz"},
		"channels swapped":      {func(w *Want, _ *Result) { w.Sound[0], w.Sound[1] = w.Sound[1], w.Sound[0] }, "expected 880 Hz at -14.0 dB, heard 440 Hz"},
		"rate":                  {func(w *Want, _ *Result) { w.Rate = 44100 }, "48000 Hz, expected 44100"},
		"number of channels":    {func(w *Want, _ *Result) { w.Channels = 1 }, "2 channels, expected 1"},
		"recorded duration":     {func(_ *Want, r *Result) { r.MP3.Duration = 3.01 }, "the record says 3.0100 s"},
		"source's duration":     {func(_ *Want, r *Result) { r.Source.Duration = 1.5 }, "the source's duration is recorded as 1.500 s"},
		"length not checked":    {func(_ *Want, r *Result) { r.MP3.LengthChecked = false }, "length_checked is false"},
		"title":                 {func(w *Want, _ *Result) { w.Tags.Title = "Another" }, `the title is "A song", expected "Another"`},
		"chapter's time":        {func(w *Want, _ *Result) { w.Chapters[1].At = 1.6 }, `chapter 2 is "Two" at 1.500 s`},
		"chapter's title":       {func(w *Want, _ *Result) { w.Chapters[0].Title = "Null" }, `chapter 1 is "One"`},
		"number of chapters":    {func(w *Want, _ *Result) { w.Chapters = w.Chapters[:1] }, "2 chapters, expected 1"},
		"chapters":              {func(w *Want, _ *Result) { w.Chapters, w.NoChaps = nil, true }, "2 chapters, expected 0"},
		"note":                  {func(w *Want, _ *Result) { w.Notes[0] = noteGap }, "the note gap is missing"},
		"false note":            {func(w *Want, _ *Result) { w.NoNotes[0] = conversion.NoteDownmixed }, "the note downmixed is false"},
		"private text":          {func(w *Want, _ *Result) { w.Silent = []string{"A song"} }, `the MP3 tells "A song"`},
		"loudness":              {func(w *Want, _ *Result) { w.LUFS = lufs + 0.6 }, "LUFS, expected"},
		"loudness missed": {func(w *Want, r *Result) {
			w.LUFS, r.MP3.Notes = lufs, append(r.MP3.Notes, conversion.Note{Code: conversion.NoteLoudnessOff, Message: "silent"})
		}, "the loudness was not reached: silent"},
		"refused":         {func(_ *Want, r *Result) { r.Code = conversion.CodeDamaged }, "refused as damaged"},
		"not refused":     {func(w *Want, _ *Result) { w.Code = conversion.CodeDamaged }, "expected the refusal damaged"},
		"another refusal": {func(w *Want, r *Result) { w.Code, r.Code = conversion.CodeDamaged, conversion.CodeTruncated }, "refused as truncated (), expected damaged"},
		"refusal's text": {func(w *Want, r *Result) {
			*w, r.Code, r.Message = Refused(conversion.CodeDamaged, "apac"), conversion.CodeDamaged, `"none"`
		}, `and not "apac"`},
		"another right outcome": {func(w *Want, _ *Result) { other := *w; w.Samples, w.Or = 1, &other }, ""},
		"loud enough":           {func(w *Want, _ *Result) { w.LUFS = lufs + 0.4 }, ""},
	} {
		w, r := good()
		tt.change(&w, &r)
		switch faults := strings.Join(w.Judge(t, r), "\n"); {
		case tt.says == "" && faults != "":
			t.Errorf("%s: %s", name, faults)
		case !strings.Contains(faults, tt.says):
			t.Errorf("%s: got %q, want %q", name, faults, tt.says)
		}
	}
}
