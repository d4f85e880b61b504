package conversion

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestOptionsValidate(t *testing.T) { //nolint:funlen // most of it is a table
	long := strings.Repeat("ü", 1000)
	for _, o := range []Options{
		{},
		{Preset: "voice"}, {Preset: "podcast"}, {Preset: "music"}, {Preset: "archive"},
		{BitrateKbps: 8}, {BitrateKbps: 192}, {BitrateKbps: 320},
		{VBRQuality: new(0)}, {VBRQuality: new(9)},
		{Preset: "archive", VBRQuality: new(0)},
		{SampleRateHz: 8000}, {SampleRateHz: 44100}, {SampleRateHz: 48000},
		{SampleRateHz: 8000, BitrateKbps: 64}, {SampleRateHz: 24000, BitrateKbps: 144}, {SampleRateHz: 32000, BitrateKbps: 320},
		{Preset: "archive", SampleRateHz: 8000, BitrateKbps: 8},
		{Channels: 1}, {Channels: 2},
		{Track: "0"}, {Track: "99"}, {Track: "de"}, {Track: "eng"}, {Track: "ENG"}, {Track: "pt-BR"}, {Track: "zh-Hant"},
		{Start: 0.001}, {Start: 1e6}, {End: 1e6}, {Start: 1, End: 1.001}, {Start: 5},
		{Loudness: &Loudness{TargetLUFS: -36}}, {Loudness: &Loudness{TargetLUFS: -8, TruePeakDB: new(-9.0)}},
		{Loudness: &Loudness{TargetLUFS: -16, TruePeakDB: new(0.0)}},
		{Tags: &Tags{}}, {Tags: &Tags{Title: long, Artist: long, Album: long, Genre: long, Comment: strings.Repeat("ü", 10_000)}},
		{Tags: &Tags{Date: "2026-11-23", Track: "3/12", Comment: "two\nlines"}},
		{Cover: CoverNone}, {Cover: CoverAttached}, {Cover: CoverPoster}, {Cover: "0"}, {Cover: "12.5"}, {Cover: "1e6"},
		{Chapters: ChaptersKeep}, {Chapters: ChaptersDrop}, {Copy: CopyAuto}, {Copy: CopyNever},
	} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}

	loud := func(target float64) Options { return Options{Loudness: &Loudness{TargetLUFS: target}} }
	peak := func(db float64) Options { return Options{Loudness: &Loudness{TargetLUFS: -16, TruePeakDB: &db}} }
	for _, tt := range []struct {
		options     Options
		field, says string
	}{
		{Options{Preset: "Voice"}, "preset", `unknown preset "Voice"; use voice, podcast, music or archive`},
		{Options{BitrateKbps: 128, VBRQuality: new(2)}, "bitrate_kbps", "not both"},
		{Options{BitrateKbps: -1}, "bitrate_kbps", "MP3 has no bit rate of -1 kbit/s; use 8, 16, "},
		{Options{BitrateKbps: 100}, "bitrate_kbps", "or 320 kbit/s"},
		{Options{BitrateKbps: 321}, "bitrate_kbps", "or 320 kbit/s"},
		{Options{VBRQuality: new(-1)}, "vbr_quality", "use 0 (the best)"},
		{Options{VBRQuality: new(10)}, "vbr_quality", "to 9"},
		{Options{SampleRateHz: 96000}, "sample_rate_hz", "or 48000 Hz"},
		{Options{SampleRateHz: -8000}, "sample_rate_hz", "use 8000, "},
		{Options{SampleRateHz: 12000, BitrateKbps: 80}, "sample_rate_hz", "no 80 kbit/s at 12000 Hz"},
		{Options{SampleRateHz: 24000, BitrateKbps: 192}, "sample_rate_hz", "no 192 kbit/s at 24000 Hz"},
		{Options{SampleRateHz: 32000, BitrateKbps: 24}, "sample_rate_hz", "no 24 kbit/s at 32000 Hz"},
		{Options{SampleRateHz: 44100, BitrateKbps: 144}, "sample_rate_hz", "no 144 kbit/s at 44100 Hz"},
		{Options{SampleRateHz: 16000, Preset: "archive"}, "sample_rate_hz", "no 320 kbit/s at 16000 Hz"},
		{Options{Channels: 3}, "channels", "use 1 (mono) or 2 (stereo)"},
		{Options{Channels: -1}, "channels", "use 1 (mono) or 2 (stereo)"},
		{Options{Track: "-1"}, "track", "0 to 99"},
		{Options{Track: "100"}, "track", "0 to 99"},
		{Options{Track: "e"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "engl"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "e1"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "en-"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "en-x"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "en_US"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: " 1"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Track: "日本"}, "track", "use an index from 0 to 99, or a language such as eng"},
		{Options{Start: -0.001}, "start", "0 to 1000000 seconds"},
		{Options{Start: 1e6 + 1}, "start", "0 to 1000000 seconds"},
		{Options{Start: math.NaN()}, "start", "0 to 1000000 seconds"},
		{Options{Start: math.Inf(1)}, "start", "0 to 1000000 seconds"},
		{Options{End: -1}, "end", "0 to 1000000 seconds"},
		{Options{End: 1e6 + 1}, "end", "0 to 1000000 seconds"},
		{Options{End: math.NaN()}, "end", "0 to 1000000 seconds"},
		{Options{Start: 2, End: 2}, "end", "2 is not after the start, 2"},
		{Options{Start: 2, End: 1.5}, "end", "1.5 is not after the start, 2"},
		{loud(-36.1), "loudness.target_lufs", "use -36 to -8 LUFS"},
		{loud(-7.9), "loudness.target_lufs", "use -36 to -8 LUFS"},
		{loud(0), "loudness.target_lufs", "use -36 to -8 LUFS"},
		{loud(math.NaN()), "loudness.target_lufs", "use -36 to -8 LUFS"},
		{peak(-9.1), "loudness.true_peak_db", "use -9 to 0 dBTP"},
		{peak(0.1), "loudness.true_peak_db", "use -9 to 0 dBTP"},
		{peak(math.Inf(-1)), "loudness.true_peak_db", "use -9 to 0 dBTP"},
		{Options{Tags: &Tags{Title: long + "x"}}, "tags.title", "1001 characters are too many; use at most 1000"},
		{Options{Tags: &Tags{Artist: long + "x"}}, "tags.artist", "use at most 1000"},
		{Options{Tags: &Tags{Album: long + "x"}}, "tags.album", "use at most 1000"},
		{Options{Tags: &Tags{Genre: long + "x"}}, "tags.genre", "use at most 1000"},
		{Options{Tags: &Tags{Comment: strings.Repeat("x", 10_001)}}, "tags.comment", "use at most 10000"},
		{Options{Tags: &Tags{Title: "two\nlines"}}, "tags.title", "control characters"},
		{Options{Tags: &Tags{Comment: "a\x00"}}, "tags.comment", "control characters"},
		{Options{Tags: &Tags{Album: "\xff"}}, "tags.album", "UTF-8"},
		{Options{Tags: &Tags{Date: "yesterday"}}, "tags.date", "2026, 2026-11 or 2026-11-23"},
		{Options{Tags: &Tags{Track: "0"}}, "tags.track", "3 or 3/12"},
		{Options{Cover: "front"}, "cover", "use none, attached, poster or 0 to 1000000 seconds"},
		{Options{Cover: "-1"}, "cover", "0 to 1000000 seconds"},
		{Options{Cover: "1000001"}, "cover", "0 to 1000000 seconds"},
		{Options{Cover: "NaN"}, "cover", "0 to 1000000 seconds"},
		{Options{Cover: "Inf"}, "cover", "0 to 1000000 seconds"},
		{Options{Cover: "1:30"}, "cover", "0 to 1000000 seconds"},
		{Options{Chapters: "no"}, "chapters", "use keep or drop"},
		{Options{Copy: "yes"}, "copy", "use auto or never"},
	} {
		var wrong *OptionError
		if err := tt.options.Validate(); !errors.As(err, &wrong) || wrong.Field != tt.field || !strings.Contains(wrong.Message, tt.says) {
			t.Errorf("%+v: got %v, want %q about %s", tt.options, err, tt.says, tt.field)
		}
	}
}

// TestEveryLimitIsDescribed takes every limit in Fields and one step beyond it.
func TestEveryLimitIsDescribed(t *testing.T) {
	for _, f := range Fields {
		good := append([]any{}, f.Values...)
		var bad []any
		if f.Max != nil {
			step := 1.0
			if f.Type == TypeNumber {
				step = 1e-6
			}
			good, bad = append(good, *f.Min, *f.Max), []any{*f.Min - step, *f.Max + step}
		} else if len(f.Values) > 0 {
			bad = []any{7}
			if f.Type == TypeString {
				bad = []any{"other"}
			}
		}
		if f.Length > 0 {
			good, bad = append(good, strings.Repeat("ü", f.Length)), []any{strings.Repeat("ü", f.Length+1)}
		}
		for _, v := range good {
			if err := withOption(t, f.Path, v).Validate(); err != nil {
				t.Errorf("%s of %v: %v", f.Path, v, err)
			}
		}
		for _, v := range bad {
			var wrong *OptionError
			if err := withOption(t, f.Path, v).Validate(); !errors.As(err, &wrong) || wrong.Field != f.Path {
				t.Errorf("%s of %v: got %v", f.Path, v, err)
			}
		}
		if f.Default != nil {
			if err := withOption(t, f.Path, f.Default).Validate(); err != nil {
				t.Errorf("default of %s: %v", f.Path, err)
			}
		}
	}
}

// withOption returns options with one value at a path in their JSON, and with
// the other options that this value needs.
func withOption(t *testing.T, path string, value any) Options {
	t.Helper()
	document := map[string]any{path: value}
	if object, name, below := strings.Cut(path, "."); below {
		inner := map[string]any{name: value}
		if object == "loudness" && name != "target_lufs" {
			inner["target_lufs"] = -16
		}
		document = map[string]any{object: inner}
	}
	var o Options
	text, err := json.Marshal(document)
	if err = errors.Join(err, json.Unmarshal(text, &o)); err != nil {
		t.Fatalf("%s of %v: %v", path, value, err)
	}
	return o
}

func TestResolved(t *testing.T) {
	own := &Loudness{TargetLUFS: -23}
	for _, tt := range []struct{ given, want Options }{
		{Options{}, Options{}},
		{Options{Preset: "none such", Channels: 1}, Options{Preset: "none such", Channels: 1}},
		{Options{Preset: "voice"}, Options{Preset: "voice", BitrateKbps: 64, Channels: 1, Loudness: &Loudness{TargetLUFS: -16}}},
		{Options{Preset: "podcast"}, Options{Preset: "podcast", BitrateKbps: 128, Channels: 2, Loudness: &Loudness{TargetLUFS: -16}}},
		{Options{Preset: "music"}, Options{Preset: "music", VBRQuality: new(2)}},
		{Options{Preset: "archive"}, Options{Preset: "archive", BitrateKbps: 320}},
		{Options{Preset: "voice", VBRQuality: new(5)}, Options{Preset: "voice", VBRQuality: new(5), Channels: 1, Loudness: &Loudness{TargetLUFS: -16}}},
		{Options{Preset: "music", BitrateKbps: 96}, Options{Preset: "music", BitrateKbps: 96}},
		{Options{Preset: "voice", Channels: 2, Loudness: own, Track: "1"}, Options{Preset: "voice", BitrateKbps: 64, Channels: 2, Loudness: own, Track: "1"}},
	} {
		got := tt.given.Resolved()
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: got %+v, want %+v", tt.given, got, tt.want)
		}
		if again := got.Resolved(); !reflect.DeepEqual(again, got) {
			t.Errorf("%+v: a second time %+v", tt.given, again)
		}
	}
	for _, p := range Presets {
		if err := p.Options.Validate(); err != nil {
			t.Errorf("preset %s: %v", p.Name, err)
		}
	}
}

func TestCoverJSON(t *testing.T) {
	for text, want := range map[string]Cover{
		`"none"`: CoverNone, `"12.5"`: "12.5", `12.5`: "12.5", ` 0 `: "0", `1e3`: "1e3", `""`: "", `null`: "",
	} {
		var got Cover
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
		b, err := json.Marshal(want)
		if back := Cover("x"); err != nil || json.Unmarshal(b, &back) != nil || back != want {
			t.Errorf("%q: there and back it is %q by %s, %v", want, back, b, err)
		}
	}
	for _, text := range []string{`true`, `{}`, `[1]`, `NaN`} {
		if got := Cover(""); json.Unmarshal([]byte(text), &got) == nil {
			t.Errorf("%s: got %q, want an error", text, got)
		}
	}
	for c, want := range map[Cover]float64{"0": 0, "12.5": 12.5, "1e3": 1000, "1000000": 1e6} {
		if at, ok := c.Seconds(); !ok || at != want || !c.Decodes() {
			t.Errorf("%s: got %v, %t, decodes %t", c, at, ok, c.Decodes())
		}
	}
	for c, decodes := range map[Cover]bool{"": false, CoverNone: false, CoverAttached: false, CoverPoster: true, "-1": false, "NaN": false, "1e7": false} {
		if at, ok := c.Seconds(); ok || c.Decodes() != decodes {
			t.Errorf("%q: got %v, %t, decodes %t", c, at, ok, c.Decodes())
		}
	}
}

func TestValidDate(t *testing.T) {
	for s, want := range map[string]bool{
		"2026": true, "2026-11": true, "2026-11-23": true, "0001": true, "2024-02-29": true,
		"": false, "26": false, "2026-13": false, "2026-02-30": false, "2025-02-29": false, "2026-1": false, "2026-11-2": false,
		"2026-11-23T10:00": false, "23.11.2026": false, " 2026": false, "２０２６": false,
	} {
		if got := ValidDate(s); got != want {
			t.Errorf("%q: got %t", s, got)
		}
	}
}

func TestValidTrackNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"1": true, "9999": true, "3/12": true, "12/12": true, "03": true,
		"": false, "0": false, "10000": false, "-1": false, "+1": false, "1/": false, "/2": false, "3/2": false, "1/2/3": false, "1/+2": false,
		"one": false, "1 ": false,
	} {
		if got := ValidTrackNumber(s); got != want {
			t.Errorf("%q: got %t", s, got)
		}
	}
}
