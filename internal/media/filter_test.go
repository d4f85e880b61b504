package media_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/mediatest"
)

// shift is by how many samples b comes later than a, looked for within ±reach.
// likeness is 1 for the same wave.
func shift(a, b []float64, reach int) (samples int, likeness float64) {
	n := min(len(a), len(b), 20_000) - 2*reach
	likeness = -1
	for d := -reach; d <= reach; d++ {
		var ab, aa, bb float64
		for i := reach; i < reach+n; i++ {
			x, y := a[i], b[i+d]
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		if c := ab / math.Sqrt(aa*bb); c > likeness {
			samples, likeness = d, c
		}
	}
	return samples, likeness
}

// wantAudio checks that an MP3 plays exactly the wanted samples: the same
// number, none shifted, in each channel.
func wantAudio(t *testing.T, target string, want [][]float64) {
	t.Helper()
	got := mediatest.Samples(t, target)
	if len(got) != len(want) {
		t.Fatalf("%d channels, want %d", len(got), len(want))
	}
	for c := range want {
		if len(got[c]) != len(want[c]) {
			t.Errorf("channel %d: %d samples, want %d", c, len(got[c]), len(want[c]))
		}
		if d, likeness := shift(want[c], got[c], 40); d != 0 || likeness < 0.85 {
			t.Errorf("channel %d: shifted by %d samples, likeness %.3f", c, d, likeness)
		}
	}
}

func cut(samples [][]float64, from, to int) [][]float64 {
	out := make([][]float64, len(samples))
	for c := range samples {
		out[c] = samples[c][from:min(to, len(samples[c]))]
	}
	return out
}

// rough is a wave in which every sample differs from its neighbours, and with
// tones that MP3 keeps.
const rough = "0.4*(random(0)*2-1)+0.2*sin(2*PI*440*t)+0.2*sin(2*PI*3000*t)"

// TestTrim: audio begins and ends with the sample that was asked for, on the
// clock of a player.
func TestTrim(t *testing.T) {
	const rate, samples = 44100, 4 * 44100
	dir := t.TempDir()
	for _, name := range []string{"in.wav", "in.m4a", "in.mkv", "in.webm", "late.mov", "late.mkv", "in.mp3", "in.ts"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, name)
			at, rate := 0.0, rate // at: on a player's clock, where the audio begins
			if strings.HasPrefix(name, "late") {
				at = 1
				args := []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=5", "-itsoffset", "1"}
				mediatest.Audio(t, path+".wav", rough, rate, samples)
				args = append(args, "-i", path+".wav", "-c:v", "mpeg4", "-c:a", "pcm_s16le", path)
				if err := mediatest.Make(t.Context(), dir, args...); err != nil {
					t.Fatal(err)
				}
			} else {
				codec := map[string]string{".mkv": "flac", ".webm": "libopus", ".wav": "pcm_s16le", ".mp3": "libmp3lame"}[filepath.Ext(name)]
				if codec == "libopus" {
					rate = 48000
				}
				mediatest.Audio(t, path, rough+"|"+rough, rate, rate*4, "-c:a", cmp.Or(codec, "aac"), "-b:a", "256k")
			}
			whole := mediatest.Samples(t, path)
			if name == "in.m4a" {
				whole = cut(whole, 0, 4*rate) // an encoder's padding, which ffmpeg plays
			}
			for _, trim := range [][2]float64{{1.5, 3.25}, {0, 2.000023}, {2.7, 0}, {2, 100}} {
				e, target, err := convert(t, path, conversion.Options{Start: trim[0], End: trim[1], VBRQuality: new(0)})
				if err != nil {
					t.Errorf("%v: %v", trim, err)
					continue
				}
				sample := func(seconds float64) int { return int(math.Round(max(0, seconds-at) * float64(rate))) }
				from, to := sample(trim[0]), len(whole[0])
				if trim[1] > 0 {
					to = min(to, sample(trim[1]))
				}
				if e.Source.Duration > 0 && math.Abs(e.Source.Duration-4) > 1.1 { // a container may count what is before
					t.Errorf("%v: the source's length is recorded as %v", trim, e.Source.Duration)
				}
				wantAudio(t, target, cut(whole, from, to))
			}
		})
	}
}

// TestNothingToTrim: a trim without audio fails with a code, as truncated if
// the audio should have been there.
func TestNothingToTrim(t *testing.T) {
	dir := t.TempDir()
	made := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		mediatest.Audio(t, path, rough, 48000, 96000, args...)
		return path
	}
	late := filepath.Join(dir, "late.mp4")
	args := []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=5", "-itsoffset", "2", "-f", "lavfi", "-i", "sine=d=2", "-c:v", "mpeg4", late}
	if err := mediatest.Make(t.Context(), dir, args...); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path       string
		start, end float64
		want       conversion.Code
	}{
		{made("a.m4a"), 2, 0, conversion.CodeStartBeyondEnd},
		{made("b.mkv"), 2.5, 3, conversion.CodeStartBeyondEnd},
		{made("c.ts", "-c:a", "aac"), 5, 0, conversion.CodeStartBeyondEnd},
		{made("d.wav"), 1.999995, 0, conversion.CodeStartBeyondEnd}, // less than a sample
		{late, 4.5, 0, conversion.CodeStartBeyondEnd},
		{late, 0, 1.5, conversion.CodeInvalidOptions},
	}
	for _, tt := range tests {
		_, _, err := convert(t, tt.path, conversion.Options{Start: tt.start, End: tt.end})
		if codeOf(err) != tt.want {
			t.Errorf("%s from %v: got %v, want %s", filepath.Base(tt.path), tt.start, err, tt.want)
		}
	}
}

// TestTrimmedLength: a source that lacks audio fails if the trim needs it.
func TestTrimmedLength(t *testing.T) {
	dir := t.TempDir()
	part := func(name, pick string) string { // recognized only by its length
		path := filepath.Join(dir, name)
		args := []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=6", "-f", "lavfi", "-i", "sine=duration=6,aselect='" + pick + "'",
			"-c:v", "flv", "-c:a", "libmp3lame", "-ar", "44100", path}
		if err := mediatest.Make(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content[:len(content)*6/10], 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cut, pause := part("cut.flv", "1"), part("pause.flv", "not(between(t,1,2))")
	for _, tt := range []struct {
		path       string
		start, end float64
		want       conversion.Code
	}{
		{cut, 0, 0, conversion.CodeTruncated},
		{cut, 1, 0, conversion.CodeTruncated},
		{cut, 1, 5, conversion.CodeTruncated},
		{cut, 5, 0, conversion.CodeTruncated},
		{cut, 0.5, 1.5, ""},
		{pause, 0.5, 2.5, ""},
		{pause, 0.5, 0, conversion.CodeTruncated},
	} {
		e, _, err := convert(t, tt.path, conversion.Options{Start: tt.start, End: tt.end})
		if codeOf(err) != tt.want || tt.want == "" && (err != nil || !e.MP3.LengthChecked) {
			t.Errorf("%s, %v to %v: got %v, want %q", filepath.Base(tt.path), tt.start, tt.end, err, tt.want)
		}
	}
}

// tone returns how loud the samples are at a frequency, 1 for full scale, and
// how loud all the rest is. The ends are left out, because an encoder changes
// them.
func tone(samples []float64, rate, hz float64) (level, beside float64) {
	samples = samples[len(samples)/10 : len(samples)*9/10]
	var re, im, power float64
	for i, s := range samples {
		re += s * math.Cos(2*math.Pi*hz*float64(i)/rate)
		im += s * math.Sin(2*math.Pi*hz*float64(i)/rate)
		power += s * s
	}
	n := float64(len(samples))
	level = 2 * math.Hypot(re, im) / n
	return level, math.Sqrt(max(0, power/n-level*level/2))
}

// TestDownmix: every channel lands where it belongs, as loud as ITU-R BS.775
// has it, and the loudest possible sum does not clip.
func TestDownmix(t *testing.T) {
	const hz, rate = 500, 48000
	dir := t.TempDir()
	full := fmt.Sprintf("0.999*sin(2*PI*%d*t)", hz)
	for _, tt := range mediatest.Downmixes {
		name := fmt.Sprint(tt.Layout, " ", tt.Active, " to ", tt.Channels)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := map[string]int{"mono": 1, "stereo": 2, "quad": 4, "5.1": 6, "7.1": 8}[tt.Layout]
			waves := slices.Repeat([]string{"0*t"}, total)
			for _, c := range tt.Active {
				waves[c] = full
			}
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "")+".wav")
			mediatest.Audio(t, path, strings.Join(waves, "|")+"':c='"+tt.Layout, rate, rate)
			e, target, err := convert(t, path, conversion.Options{Channels: tt.Channels, VBRQuality: new(0)})
			if err != nil {
				t.Fatal(err)
			}
			got := mediatest.Samples(t, target)
			if len(got) != tt.Channels {
				t.Fatalf("%d channels", len(got))
			}
			for c, gain := range []float64{tt.Left, tt.Right}[:tt.Channels] {
				level, beside := tone(got[c], rate, hz)
				if want := 0.999 * gain / tt.Sum; math.Abs(level-want) > 0.02 || beside > 0.02 {
					t.Errorf("channel %d: level %.3f and %.3f of distortion, want %.3f", c, level, beside, want)
				}
			}
			if noted := slices.Contains(codes(e.MP3.Notes), conversion.NoteDownmixed); noted != (total > 2) {
				t.Errorf("notes: %v", e.MP3.Notes)
			}
		})
	}
}

// TestRates: the MP3 keeps the source's rate if it can, and nothing is
// resampled upwards without need.
func TestRates(t *testing.T) {
	const note, excess = conversion.NoteRateChanged, conversion.NoteBitrateExcess
	tests := []struct {
		source  int
		options conversion.Options
		want    int
		kbps    int
		notes   []conversion.NoteCode
	}{
		{44100, conversion.Options{}, 44100, 0, nil},
		{96000, conversion.Options{}, 48000, 0, []conversion.NoteCode{note}},
		{88200, conversion.Options{}, 44100, 0, []conversion.NoteCode{note}},
		{88200, conversion.Options{SampleRateHz: 48000}, 48000, 0, nil},
		{15000, conversion.Options{}, 16000, 0, []conversion.NoteCode{note}},
		{15000, conversion.Options{SampleRateHz: 16000}, 16000, 0, nil},
		{22050, conversion.Options{SampleRateHz: 48000}, 22050, 0, []conversion.NoteCode{note}},
		{48000, conversion.Options{SampleRateHz: 16000}, 16000, 0, nil},
		{48000, conversion.Options{BitrateKbps: 8}, 24000, 8, []conversion.NoteCode{note}},
		{8000, conversion.Options{BitrateKbps: 128}, 8000, 64, []conversion.NoteCode{excess}},
		{22050, conversion.Options{BitrateKbps: 320, SampleRateHz: 48000}, 22050, 160, []conversion.NoteCode{note, excess}},
	}
	dir := t.TempDir()
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.source, " ", tt.options.SampleRateHz, " ", tt.options.BitrateKbps), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", " ")+".wav")
			mediatest.Audio(t, filepath.Join(dir, filepath.Base(path)), "0.5*sin(2*PI*1000*t)", tt.source, tt.source*2)
			e, target, err := convert(t, path, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if e.MP3.SampleRate != tt.want || e.MP3.BitrateKbps != tt.kbps || !slices.Equal(codes(e.MP3.Notes), tt.notes) {
				t.Errorf("%d Hz, %d kbit/s, notes %v", e.MP3.SampleRate, e.MP3.BitrateKbps, e.MP3.Notes)
			}
			got := mediatest.Samples(t, target)[0]
			if len(got) != 2*tt.want {
				t.Errorf("%d samples, want %d", len(got), 2*tt.want)
			}
			if level, beside := tone(got, float64(tt.want), 1000); math.Abs(level-0.5) > 0.05 || beside > 0.05 {
				t.Errorf("level %.3f, %.3f of something else", level, beside)
			}
		})
	}
}

// TestBitrateExcess: a bit rate far above a lossy source's is noted.
func TestBitrateExcess(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]bool{"lossy.m4a": true, "lossless.wav": false} {
		path := filepath.Join(dir, name)
		mediatest.Audio(t, path, rough, 44100, 44100, "-b:a", "64k")
		e, _, err := convert(t, path, conversion.Options{BitrateKbps: 320})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(codes(e.MP3.Notes), conversion.NoteBitrateExcess); got != want {
			t.Errorf("%s: notes %v", name, e.MP3.Notes)
		}
	}
}

// TestChangesMidway: a broadcast goes from six channels to two. Nothing is
// lost, and its loudness is that of the whole.
func TestChangesMidway(t *testing.T) {
	dir := t.TempDir()
	var joined []byte
	for i, wave := range []string{strings.Repeat("|0.05*sin(2*PI*440*t)", 6)[1:], "0.5*sin(2*PI*440*t)|0.5*sin(2*PI*440*t)"} {
		part := filepath.Join(dir, fmt.Sprint(i, ".ac3"))
		mediatest.Audio(t, part, wave, 48000, 3*48000, "-b:a", "384k")
		b, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, b...)
	}
	path := filepath.Join(dir, "in.ac3")
	if err := os.WriteFile(path, joined, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []conversion.Options{{}, {Start: 1}, {Loudness: &conversion.Loudness{TargetLUFS: -20}}} {
		e, target, err := convert(t, path, o)
		if err != nil {
			t.Fatal(err)
		}
		if seconds, hz := mediatest.Tone(t, target); math.Abs(seconds-6+o.Start) > 0.1 || math.Abs(hz-440) > 2 {
			t.Errorf("%.3f s of %.1f Hz", seconds, hz)
		}
		lufs, _ := mediatest.Loudness(t, target)
		if l := e.MP3.Loudness; l == nil || math.Abs(l.IntegratedLUFS-lufs) > 0.2 {
			t.Errorf("recorded as %+v, measured %.1f LUFS", l, lufs)
		}
	}
}

// elsewhere are ffmpegs as on the plainest machine of the architecture: one that
// uses no special instructions unless it is told to, and one on an emulated
// processor that has none, if $TONEARM_TEST_QEMU is the command that emulates it.
func elsewhere(t *testing.T) []string {
	t.Helper()
	program := mediatest.FFmpeg(t)
	var all []string
	add := func(script string) {
		path := filepath.Join(t.TempDir(), "ffmpeg")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	if runtime.GOARCH == "amd64" {
		add("case \" $* \" in *\" -cpuflags \"*) exec '" + program + "' \"$@\";; esac\nexec '" + program + "' -cpuflags 0 \"$@\"")
	}
	if qemu := os.Getenv("TONEARM_TEST_QEMU"); qemu != "" {
		add("exec " + qemu + " '" + program + "' \"$@\"")
	}
	return all
}

// TestSameBytes: the same source and options give the same MP3, wherever it
// lies and whatever the processor can do.
func TestSameBytes(t *testing.T) {
	source := filepath.Join(t.TempDir(), "in.m4a")
	mediatest.Audio(t, source, strings.TrimSuffix(strings.Repeat(rough+"|", 6), "|"), 44100, 3*44100)
	for name, o := range map[string]conversion.Options{
		"plain":    {},
		"all":      {Start: 0.5, End: 2.5, SampleRateHz: 32000, BitrateKbps: 96, Loudness: &conversion.Loudness{TargetLUFS: -9}},
		"channels": {Channels: 1},
	} {
		var first []byte
		for _, program := range append(elsewhere(t), mediatest.FFmpeg(t)) {
			copied := filepath.Join(t.TempDir(), "elsewhere")
			b, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, b, 0o600); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(t.TempDir(), "out")
			if _, err := convertWith(t.Context(), program, copied, media.Spec{Target: target, Options: o, Filename: "a.mp4"}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if first != nil && !bytes.Equal(first, got) {
				t.Errorf("%s: two runs give other bytes", name)
			}
			first = got
		}
	}
}
