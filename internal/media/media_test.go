package media_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
)

// convert converts one file, without a guess.
func convert(t *testing.T, path string, o conversion.Options) (media.Encoded, string, error) {
	t.Helper()
	return convertAs(t, path, filepath.Base(path), o)
}

// convertAs converts a file that the user has under another name.
func convertAs(t *testing.T, path, name string, o conversion.Options) (media.Encoded, string, error) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "out.mp3")
	e, err := convertWith(t.Context(), mediatest.FFmpeg(t), path, media.Spec{Target: target, Options: o, Filename: name}.Plain())
	return e, target, err
}

// convertWith converts with the ffmpeg at a path.
func convertWith(ctx context.Context, program, path string, spec media.Spec) (media.Encoded, error) {
	in, err := media.Open(ffmpeg.Program{Path: program}, path)
	if err != nil {
		return media.Encoded{}, err
	}
	return media.Convert(ctx, in, spec)
}

func codeOf(err error) conversion.Code {
	var e *media.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestCorpus(t *testing.T) {
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	samples := mediatest.Corpus(t, elsewhere.URL+"/secret.ts")
	good, bad := 0, 0
	for _, s := range samples {
		if s.WantCode == "" {
			good++
		} else {
			bad++
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			e, target, err := convert(t, s.Path, conversion.Options{})
			if s.WantCode != "" {
				if codeOf(err) != s.WantCode {
					t.Fatalf("got %v, want code %s", err, s.WantCode)
				}
				return
			}
			if err != nil {
				detail := ""
				var me *media.Error
				if errors.As(err, &me) {
					detail = me.Detail
				}
				t.Fatalf("convert: %v\n%s", err, detail)
			}
			checkGood(t, s, e, target)
		})
	}
	if good < 20 || bad < 9 {
		t.Errorf("corpus has %d good and %d bad files", good, bad)
	}
	t.Cleanup(func() {
		if n := asked.Load(); n != 0 {
			t.Errorf("ffmpeg went elsewhere %d times", n)
		}
	})
}

func checkGood(t *testing.T, s mediatest.Sample, e media.Encoded, target string) {
	t.Helper()
	seconds, hz := mediatest.Tone(t, target)
	if math.Abs(seconds-s.Seconds) > 0.05 {
		t.Errorf("a decoder plays %.3f s, want %.3f", seconds, s.Seconds)
	}
	if math.Abs(e.MP3.Duration-seconds) > 0.001 {
		t.Errorf("duration is recorded as %.4f s, a decoder plays %.4f", e.MP3.Duration, seconds)
	}
	if math.Abs(hz-s.ToneHz) > 1+s.ToneHz/100 {
		t.Errorf("tone of %.1f Hz, want %.1f", hz, s.ToneHz)
	}
	if e.MP3.LengthChecked == s.Unchecked {
		t.Errorf("length checked: %v", e.MP3.LengthChecked)
	}
	if e.MP3.LengthChecked && math.Abs(e.Source.Duration-s.Seconds) > 0.15 {
		t.Errorf("source's duration is recorded as %.3f s, want %.3f", e.Source.Duration, s.Seconds)
	}
	content, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	sha, sum := sha256.Sum256(content), md5.Sum(content)
	if e.MP3.SHA256 != hex.EncodeToString(sha[:]) || e.MP3.ETag != hex.EncodeToString(sum[:]) || e.MP3.Size != int64(len(content)) {
		t.Error("checksums or size are not those of the file")
	}
	if e.MP3.Encoder == conversion.CopyEncoder {
		return
	}
	if e.MP3.VBRQuality == nil || *e.MP3.VBRQuality != 2 || e.MP3.BitrateKbps != 0 {
		t.Errorf("not VBR 2: %+v", e.MP3)
	}
	for _, private := range []string{"+52.52", "private", "Lavf5", "TSSE"} {
		if strings.Contains(string(content[:min(len(content), 4096)]), private) {
			t.Errorf("the MP3 tells %q", private)
		}
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	video := filepath.Join(dir, "in.mkv")
	mediatest.Video(t, video, 2, 440, "-f", "lavfi", "-i", "sine=frequency=880:sample_rate=22050:duration=2",
		"-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg4", "-c:a:0", "aac", "-c:a:1", "flac",
		"-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", "-disposition:a:0", "0", "-disposition:a:1", "default")
	q := func(n int) *int { return &n }
	tests := []struct {
		name     string
		options  conversion.Options
		hz       float64
		rate     int
		channels int
		code     conversion.Code
	}{
		{"default track", conversion.Options{}, 880, 22050, 1, ""},
		{"index", conversion.Options{Track: "0"}, 440, 48000, 1, ""},
		{"language", conversion.Options{Track: "en"}, 440, 48000, 1, ""},
		{"other form of a language", conversion.Options{Track: "DEU"}, 880, 22050, 1, ""},
		{"no such index", conversion.Options{Track: "2"}, 0, 0, 0, conversion.CodeTrackNotFound},
		{"no such language", conversion.Options{Track: "fr"}, 0, 0, 0, conversion.CodeTrackNotFound},
		{"constant bit rate", conversion.Options{Track: "0", BitrateKbps: 128}, 440, 48000, 1, ""},
		{"bit rate above what the rate has", conversion.Options{BitrateKbps: 320}, 880, 22050, 1, ""},
		{"bit rate that needs a lower rate", conversion.Options{Track: "0", BitrateKbps: 8}, 440, 24000, 1, ""},
		{"quality", conversion.Options{VBRQuality: q(9)}, 880, 22050, 1, ""},
		{"rate and channels", conversion.Options{SampleRateHz: 8000, Channels: 2}, 880, 8000, 2, ""},
		{"impossible together", conversion.Options{SampleRateHz: 8000, BitrateKbps: 320}, 0, 0, 0, conversion.CodeInvalidOptions},
		{"impossible", conversion.Options{SampleRateHz: 7}, 0, 0, 0, conversion.CodeInvalidOptions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, target, err := convert(t, video, tt.options)
			if codeOf(err) != tt.code || tt.code == "" && err != nil {
				t.Fatalf("got %v, want code %q", err, tt.code)
			}
			if err != nil {
				return
			}
			seconds, hz := mediatest.Tone(t, target)
			if math.Abs(seconds-2) > 0.05 || math.Abs(hz-tt.hz) > 10 {
				t.Errorf("%.3f s of %.1f Hz", seconds, hz)
			}
			kbps := tt.options.BitrateKbps
			if tt.rate < 32000 {
				kbps = min(kbps, 160)
			}
			if e.MP3.SampleRate != tt.rate || e.MP3.Channels != tt.channels || e.MP3.BitrateKbps != kbps {
				t.Errorf("got %+v", e.MP3)
			}
			if k := float64(kbps); k != 0 && math.Abs(float64(e.MP3.Size-300)*8/2000/k-1) > 0.15 { // header and tag take some
				t.Errorf("%d bytes for 2 s at %v kbit/s", e.MP3.Size, k)
			}
		})
	}
}

func TestTitle(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ name, tag, want string }{
		{"a.mp4", `A=B; #c \ "d"`, `A=B; #c \ "d"`},
		{"b.mkv", "two\nlines\\", `two lines\`},
		{"c.mov", "Ünïcode 日本", "Ünïcode 日本"},
		{"holiday video.final.mp4", "", "holiday video.final"},
	}
	for _, tt := range tests {
		video := filepath.Join(dir, tt.name)
		mediatest.Video(t, video, 0.5, 440, "-c:v", "mpeg4", "-c:a", "aac", "-metadata", "title="+tt.tag, "-metadata:s:a:0", "title=Commentary")
		_, target, err := convert(t, video, conversion.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ffprobe(t, target).Format.Tags["title"]; got != tt.want {
			t.Errorf("%s: title %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestPauses: a track that stops for two seconds is whole, and so is one whose
// clock and audio drift apart.
func TestPauses(t *testing.T) {
	for _, name := range []string{"pause.mkv", "pause.mp4", "pause.mov", "pause.avi"} {
		video := filepath.Join(t.TempDir(), name)
		mediatest.Video(t, video, 5, 440, "-c:v", "mpeg4", "-c:a", "aac", "-af", "aselect=not(between(t\\,1\\,3))")
		e, target, err := convert(t, video, conversion.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if seconds, _ := mediatest.Tone(t, target); math.Abs(seconds-3) > 0.1 || !e.MP3.LengthChecked {
			t.Errorf("%s: %.3f s, checked %v", name, seconds, e.MP3.LengthChecked)
		}
	}
}

// TestCutOgg: the rest of a cut Ogg file has a length of its own, which proves
// nothing.
func TestCutOgg(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.ogg")
	mediatest.Video(t, whole, 5, 440, "-map", "1:a", "-page_duration", "200000")
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.ogg")
	if err := os.WriteFile(cut, content[:len(content)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{whole: true, cut: false} {
		if e, _, err := convert(t, path, conversion.Options{}); err != nil || e.MP3.LengthChecked != want {
			t.Errorf("%s: checked %v, %v", filepath.Base(path), e.MP3.LengthChecked, err)
		}
	}
}

func TestLimits(t *testing.T) {
	video := filepath.Join(t.TempDir(), "in.ts") // promises no length
	mediatest.Video(t, video, 5, 440, "-c:v", "mpeg2video", "-c:a", "aac")
	target := filepath.Join(t.TempDir(), "out.mp3")
	for name, spec := range map[string]media.Spec{
		"seconds": {Target: target, MaxSeconds: 2},
		"bytes":   {Target: target, MaxBytes: 10000},
	} {
		if _, err := convertWith(t.Context(), mediatest.FFmpeg(t), video, spec); codeOf(err) != conversion.CodeLimitExceeded {
			t.Errorf("%s: got %v, want %s", name, err, conversion.CodeLimitExceeded)
		}
	}
	in, err := media.Open(ffmpeg.Program{Path: mediatest.FFmpeg(t), MemoryLimit: 16 << 20}, video)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Probe(t.Context()); err == nil || codeOf(err) != "" {
		t.Logf("16 MiB: %v", err)
		t.Errorf("ffmpeg ran in 16 MiB of memory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := convertWith(ctx, mediatest.FFmpeg(t), video, media.Spec{Target: target}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
}

func TestProgressAndStop(t *testing.T) {
	video := filepath.Join(t.TempDir(), "in.m4a")
	if err := mediatest.Make(t.Context(), filepath.Dir(video), "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=36000", "-c:a", "aac", "-b:a", "8k", "-t", "3600", video); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last float64
	spec := media.Spec{Target: filepath.Join(t.TempDir(), "out.mp3"), Options: conversion.Options{SampleRateHz: 48000}}
	spec.Progress = func(seconds float64) {
		if last = seconds; seconds > 0 {
			cancel()
		}
	}
	_, err := convertWith(ctx, mediatest.FFmpeg(t), video, spec)
	if !errors.Is(err, context.Canceled) || last <= 0 || last >= 3600 {
		t.Errorf("stopped at %v s with %v", last, err)
	}
}

// TestEncodeLong: a file of several chunks becomes an MP3 like any other.
func TestEncodeLong(t *testing.T) {
	const rate, samples = 16000, 8000001 // more than six chunks
	source := filepath.Join(t.TempDir(), "long.wav")
	mediatest.Audio(t, source, "0.3*sin(440*2*PI*t)", rate, samples)
	var reports []float64
	spec := media.Spec{
		Target: filepath.Join(t.TempDir(), "out.mp3"), Options: conversion.Options{BitrateKbps: 16},
		Progress: func(seconds float64) { reports = append(reports, seconds) },
	}
	e, err := convertWith(t.Context(), mediatest.FFmpeg(t), source, spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := math.Round(e.MP3.Duration * rate); got != samples || !e.MP3.LengthChecked || e.MP3.Loudness == nil {
		t.Errorf("%v samples of %d, %+v", got, samples, e.MP3)
	}
	if len(reports) < 3 || !slices.IsSorted(reports) || reports[0] < 50 {
		t.Errorf("progress by chunks: %v", reports)
	}
	small := spec
	small.MaxBytes = 200000
	if _, err := convertWith(t.Context(), mediatest.FFmpeg(t), source, small); codeOf(err) != conversion.CodeLimitExceeded {
		t.Errorf("too large: %v", err)
	}
}
