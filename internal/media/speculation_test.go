package media_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/mediatest"
)

// counted returns an ffmpeg, and a function that says how often it was run.
func counted(t *testing.T) (string, func() int) {
	t.Helper()
	dir := t.TempDir()
	runs, program := filepath.Join(dir, "runs"), filepath.Join(dir, "ffmpeg")
	script := fmt.Sprintf("#!/bin/sh\nmkdir -p '%s'/$$\nexec '%s' \"$@\"\n", runs, mediatest.FFmpeg(t))
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, func() int {
		entries, err := os.ReadDir(runs)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(runs); err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
}

// TestConvert: on a guess, Convert runs ffmpeg one time less, and everything else is the
// same.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	tagged := []string{"-metadata", "title=Ein Titel", "-metadata", "artist=Someone"}
	tests := []struct {
		name    string
		args    []string
		options conversion.Options
		spared  int // runs of ffmpeg
		edit    func(b []byte)
	}{
		{name: "camera.mp4", args: append(tagged, "-c:v", "mpeg4", "-c:a", "aac", "-ac", "2"), spared: 1},
		{name: "first.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "aac", "-ar", "44100", "-movflags", "+faststart"}, options: conversion.Options{BitrateKbps: 96}, spared: 1},
		{name: "low.mov", args: []string{"-c:v", "mpeg4", "-c:a", "aac", "-ar", "11025"}, options: conversion.Options{Start: 0.5, End: 1.5}, spared: 1},
		{name: "surround.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "ac3", "-ac", "6"}, spared: 1},
		{name: "two.mp4", args: []string{"-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:v", "mpeg4", "-c:a:0", "aac", "-c:a:1", "alac", "-metadata:s:a:1", "language=deu"}, options: conversion.Options{Track: "de"}, spared: 1},
		{name: "tags.mkv", args: append(tagged, "-c:v", "mpeg4", "-c:a", "libvorbis"), spared: 1},
		{name: "web.webm", args: []string{"-c:v", "libvpx", "-c:a", "libopus"}, spared: 1},
		{name: "poster.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "aac"}, options: conversion.Options{Cover: conversion.CoverPoster}, spared: 1},
		{name: "no loudness ahead.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "aac"}, options: conversion.Options{Loudness: &conversion.Loudness{TargetLUFS: -20}}},
		{name: "nothing to go by.ts", args: []string{"-c:v", "mpeg2video", "-c:a", "mp2"}},
		{name: "not copied.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "libmp3lame"}},
		{name: "wrong guess.mp4", args: []string{"-c:v", "mpeg4", "-c:a", "ac3", "-ac", "2"}, spared: -1, edit: func(b []byte) {
			b[bytes.Index(b, []byte("ac-3"))+21] = 1 // channel in the description
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, tt.name)
			mediatest.Video(t, path, 2, 440, tt.args...)
			if tt.edit != nil {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				tt.edit(b)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			program, runs := counted(t)
			spec := media.Spec{Options: tt.options, Filename: tt.name, Target: filepath.Join(t.TempDir(), "two.mp3")}
			want, err := convertWith(t.Context(), program, path, spec.Plain())
			if err != nil {
				t.Fatal(err)
			}
			before := runs()

			spec.Target = filepath.Join(t.TempDir(), "one.mp3")
			found := 0.0
			spec.Found = func(seconds float64) { found = seconds }
			got, err := convertWith(t.Context(), program, path, spec)
			if err != nil {
				t.Fatal(err)
			}
			if n := before - runs(); n != tt.spared {
				t.Errorf("%d of %d runs of ffmpeg were spared, want %d", n, before, tt.spared)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if want := want.MP3.Duration; found > 0 && math.Abs(found-want) > 0.1 {
				t.Errorf("found %v s, want %v", found, want)
			}
			left, err := os.ReadDir(filepath.Dir(spec.Target))
			if err != nil || len(left) != 1 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// TestConvertRefuses: what cannot become an MP3 is refused in the same words.
func TestConvertRefuses(t *testing.T) {
	for _, s := range mediatest.Corpus(t, "http://127.0.0.1:9/secret.ts") {
		if s.WantCode == "" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			_, _, err := convert(t, s.Path, conversion.Options{})
			var want *media.Error
			if !errors.As(err, &want) {
				t.Fatal(err)
			}
			spec := media.Spec{Target: filepath.Join(t.TempDir(), "out.mp3"), Filename: filepath.Base(s.Path)}
			_, err = convertWith(t.Context(), mediatest.FFmpeg(t), s.Path, spec)
			var got *media.Error
			if !errors.As(err, &got) || got.Code != want.Code || got.Message != want.Message {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

// TestConvertLimits: the limits hold for a speculative encoding too.
func TestConvertLimits(t *testing.T) {
	video := filepath.Join(t.TempDir(), "in.mkv")
	mediatest.Video(t, video, 5, 440, "-c:v", "mpeg4", "-c:a", "aac")
	for name, spec := range map[string]media.Spec{"seconds": {MaxSeconds: 2}, "bytes": {MaxBytes: 10000}} {
		spec.Target = filepath.Join(t.TempDir(), "out.mp3")
		_, err := convertWith(t.Context(), mediatest.FFmpeg(t), video, spec)
		if codeOf(err) != conversion.CodeLimitExceeded || strings.Contains(err.Error(), "ahead") {
			t.Errorf("%s: got %v, want %s", name, err, conversion.CodeLimitExceeded)
		}
	}
}
