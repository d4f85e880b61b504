package media_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/mediatest"
)

// mp3In makes MP3 in the container of a name; a source of 2 s and a bit.
func mp3In(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	mediatest.Audio(t, path, rough+"|0.5*sin(2*PI*300*t)", 44100, 2*44100+345, append([]string{"-c:a", "libmp3lame"}, args...)...)
	return path
}

func copied(t *testing.T, path string, o conversion.Options) (conversion.MP3, string) {
	t.Helper()
	e, target, err := convert(t, path, o)
	if err != nil {
		t.Fatal(err)
	}
	if e.MP3.Encoder != conversion.CopyEncoder || !slices.Contains(codes(e.MP3.Notes), conversion.NoteCopied) || e.MP3.VBRQuality != nil {
		t.Fatalf("not copied: %+v", e.MP3)
	}
	if l := e.MP3.Loudness; l == nil || l.IntegratedLUFS > -3 || l.IntegratedLUFS < -20 {
		t.Errorf("loudness %+v", l)
	}
	return e.MP3, target
}

// TestCopyFile: the frames of an MP3 file are passed through bit for bit, its
// information frame with them, and nothing of its own tags.
func TestCopyFile(t *testing.T) {
	for name, args := range map[string][]string{
		"vbr":           {"-q:a", "3"},
		"cbr":           {"-b:a", "160k"},
		"mpeg-2":        {"-ar", "22050", "-b:a", "64k"},
		"no info frame": {"-write_xing", "0", "-b:a", "128k"},
	} {
		t.Run(name, func(t *testing.T) {
			source := mp3In(t, "in.mp3", append(args, "-id3v2_version", "0", "-write_id3v1", "0")...)
			frames, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			head := append([]byte("ID3\x04\x00\x00\x00\x00\x00\x20"), bytes.Repeat([]byte{0}, 32)...)
			ape := append([]byte("APETAGEX\xd0\x07\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), make([]byte, 8)...)
			v1 := append([]byte("TAGOld title"), make([]byte, 116)...)
			if err := os.WriteFile(source, slices.Concat(head, frames, ape, v1), 0o600); err != nil {
				t.Fatal(err)
			}
			m, target := copied(t, source, conversion.Options{Preset: "music", VBRQuality: new(2)})
			got, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasSuffix(got, frames) || bytes.Contains(got, []byte("APETAGEX")) {
				t.Error("the frames are not those of the source, alone")
			}
			if want := map[string]int{"cbr": 160, "mpeg-2": 64, "no info frame": 128}[name]; m.BitrateKbps != want {
				t.Errorf("%d kbit/s, want %d", m.BitrateKbps, want)
			}
		})
	}
}

// TestCopyOut: frames from other containers are copied unchanged, and a player
// plays the same as from the container.
func TestCopyOut(t *testing.T) {
	for _, name := range []string{"in.mp4", "in.mov", "in.mkv", "in.avi", "in.flv", "in.ts"} {
		for _, quality := range []string{"-b:a 128k", "-q:a 2"} {
			t.Run(name+quality, func(t *testing.T) {
				t.Parallel()
				source := mp3In(t, name, strings.Fields(quality)...)
				_, target := copied(t, source, conversion.Options{})
				var whole []string
				if ext := filepath.Ext(name); ext == ".mp4" || ext == ".mov" {
					whole = []string{"-ignore_editlist", "1"}
				}
				if got, want := mediatest.Packets(t, target), mediatest.Packets(t, source, whole...); len(want) == 0 || !slices.Equal(got, want) {
					t.Errorf("%d packets, want %d, or others", len(got), len(want))
				}
				want := mediatest.Samples(t, source)
				if whole != nil {
					want = cut(want, 0, 2*44100+345)
				}
				if name == "in.mkv" { // the padding at its end is not copied
					want = cut(want, 0, len(want[0])/1152*1152)
					target = trimmed(t, target, len(want[0]))
				}
				wantAudio(t, target, want)
			})
		}
	}
}

// trimmed is a WAV of the first samples of an audio file.
func trimmed(t *testing.T, path string, samples int) string {
	t.Helper()
	wav := filepath.Join(t.TempDir(), "trimmed.wav")
	mediatest.Trim(t, path, wav, samples)
	return wav
}

// TestCopyNot: what cannot be copied is encoded, and the result says why.
func TestCopyNot(t *testing.T) {
	source := mp3In(t, "in.mp3", "-b:a", "128k")
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(name string, parts ...[]byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, slices.Concat(parts...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := []string{"-id3v2_version", "0", "-write_xing", "0", "-b:a", "128k"}
	half := len(content) / 2
	edited := mp3In(t, "in.mp4")
	mediatest.SkipEdit(t, edited, 20000)
	tests := []struct {
		name, path string
		options    conversion.Options
		reason     string
		seconds    float64
	}{
		{"bit rate", source, conversion.Options{BitrateKbps: 128}, "bitrate_kbps", 0},
		{"quality", source, conversion.Options{VBRQuality: new(2)}, "vbr_quality", 0},
		{"preset", source, conversion.Options{Preset: "archive"}.Resolved(), "bitrate_kbps", 0},
		{"rate", source, conversion.Options{SampleRateHz: 22050}, "sample_rate_hz", 0},
		{"channels", source, conversion.Options{Channels: 1}, "channels", 0},
		{"start", source, conversion.Options{Start: 1}, "start", 1},
		{"end", source, conversion.Options{End: 1}, "end", 1},
		{"loudness", source, conversion.Options{Loudness: &conversion.Loudness{TargetLUFS: -20}}, "loudness", 0},
		{"junk between", write("in.mp3", content[:half], make([]byte, 1000), content[half:]), conversion.Options{}, "frames", 0},
		{"channels change", write("in.mp3", read(mp3In(t, "a.mp3", plain...)), read(mp3In(t, "b.mp3", append(plain, "-ac", "1")...))), conversion.Options{}, "channels", 4},
		{"rate changes", write("in.mp3", read(mp3In(t, "a.mp3", plain...)), read(mp3In(t, "b.mp3", append(plain, "-ar", "48000")...))), conversion.Options{}, "sample rate", 4},
		{"cut by an edit list", edited, conversion.Options{}, "cuts its beginning", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, target, err := convert(t, tt.path, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(e.MP3.Notes, func(n conversion.Note) bool { return n.Code == conversion.NoteNotCopied })
			if i < 0 || !strings.Contains(e.MP3.Notes[i].Message, tt.reason) || e.MP3.Encoder == conversion.CopyEncoder {
				t.Errorf("encoder %q, notes %v, want %s", e.MP3.Encoder, e.MP3.Notes, tt.reason)
			}
			seconds, _ := mediatest.Tone(t, target)
			want := tt.seconds
			if want == 0 {
				want = 2
			}
			if math.Abs(seconds-want) > 0.5 {
				t.Errorf("%.2f s", seconds)
			}
		})
	}
	e, _, err := convert(t, source, conversion.Options{Copy: conversion.CopyNever})
	if err != nil || e.MP3.Encoder == conversion.CopyEncoder || e.MP3.VBRQuality == nil || len(e.MP3.Notes) > 0 {
		t.Errorf("copy never: %+v, %v", e.MP3, err)
	}
}

// TestFramesElsewhere: what stands between the frames of an MP3 or behind them takes no
// sound away, and none of it is told as lost. Neither does a wrong count of frames.
func TestFramesElsewhere(t *testing.T) {
	read := func(args ...string) []byte {
		b, err := os.ReadFile(mp3In(t, "in.mp3", append([]string{"-b:a", "128k", "-id3v2_version", "0"}, args...)...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bare, informed := read("-write_xing", "0"), read()
	recount := func(n uint32) []byte {
		b := bytes.Clone(informed)
		binary.BigEndian.PutUint32(b[bytes.Index(b, []byte("Info"))+8:], n)
		return b
	}
	tag := append([]byte("ID3\x04\x00\x00\x00\x00\x00\x40"), make([]byte, 64)...)
	alone := func(file []byte, o conversion.Options) conversion.MP3 {
		t.Helper()
		path := filepath.Join(t.TempDir(), "in.mp3")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := convertWith(t.Context(), underTest(t), path, media.Spec{Target: filepath.Join(t.TempDir(), "out.mp3"), Options: o})
		if err != nil {
			t.Fatal(err)
		}
		return e.MP3
	}
	want := alone(bare, conversion.Options{VBRQuality: new(5)}).Duration
	counted := alone(informed, conversion.Options{VBRQuality: new(5)}).Duration
	tests := []struct {
		name string
		file []byte
		want float64
	}{
		{"a tag between", slices.Concat(bare, tag, bare), 2 * want},
		{"junk between", slices.Concat(bare, bytes.Repeat([]byte("junk"), 100), bare), 2 * want},
		{"a tag behind", slices.Concat(bare, tag), want},
		{"zeros behind", slices.Concat(bare, make([]byte, 3000)), want},
		{"half of the frames counted", recount(38), counted},
		{"days of frames counted", recount(1e8), counted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := alone(tt.file, conversion.Options{VBRQuality: new(5)})
			if math.Abs(m.Duration-tt.want) > 0.001 || slices.Contains(codes(m.Notes), conversion.NotePacketsLost) || slices.Contains(codes(m.Notes), conversion.NoteGap) {
				t.Errorf("%.3f s, expected %.3f, notes %v", m.Duration, tt.want, m.Notes)
			}
		})
	}
}
