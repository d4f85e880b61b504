package transcoder_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/source"
)

// TestSameAsFile: the MP3 is the same as that of a file on the local disk,
// whatever is read of the source, and whether or not the encoding has to wait
// for it.
func TestSameAsFile(t *testing.T) {
	quality := 4
	options := map[string]conversion.Options{
		"default":  {},
		"trim":     {Start: 0.25, End: 0.75, VBRQuality: &quality},
		"loudness": {Loudness: &conversion.Loudness{TargetLUFS: -20}, Channels: 1, BitrateKbps: 96},
		"poster":   {Cover: conversion.CoverPoster, Copy: conversion.CopyNever},
	}
	type file struct {
		path   string
		tracks int
	}
	var sources []file
	for _, m := range mediatest.Movies(t, 1) {
		sources = append(sources, file{m.Path, m.AudioTracks})
	}
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"tags.mkv":      {"-c:v", "mpeg4", "-c:a", "libvorbis", "-metadata", "artist=Someone", "-metadata", "title=Ein Titel"},
		"web.webm":      {"-c:v", "libvpx", "-c:a", "libopus"},
		"cable.ts":      {"-c:v", "mpeg2video", "-c:a", "mp2"},
		"plain.wav":     {"-vn", "-c:a", "pcm_s16le", "-metadata", "artist=Someone"},
		"lossless.flac": {"-vn", "-c:a", "flac", "-metadata", "artist=Someone"},
		"old.avi":       {"-c:v", "mpeg4", "-c:a", "libmp3lame"},
		"film.flv":      {"-c:v", "flv1", "-c:a", "aac"},
	} {
		path := filepath.Join(dir, name)
		mediatest.Video(t, path, 2, 440, args...)
		sources = append(sources, file{path, 1})
	}
	mediatest.TagsLast(t, filepath.Join(dir, "tags.mkv"), filepath.Join(dir, "tags last.mkv"))
	sources = append(sources, file{filepath.Join(dir, "tags last.mkv"), 1})
	names := []string{"default", "trim", "loudness", "poster"}
	reads := map[string]int{}
	for i, s := range sources {
		content, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for track := range s.tracks {
			name := names[(i+track)%len(names)]
			o := options[name]
			o.Track = fmt.Sprint(track)
			t.Run(fmt.Sprintf("%s/%d/%s", filepath.Base(s.path), track, name), func(t *testing.T) {
				want, refused := encodeFile(t, s.path, o)
				b := newBench(t, content)
				b.options = o
				code := b.run(t.Context())
				res := b.result()
				switch {
				case refused != nil && (res.Failure == nil || res.Failure.Code != refused.Code || res.Failure.Message != refused.Message):
					t.Fatalf("reported %+v, the file is refused: %v", res, refused)
				case refused != nil:
					return
				case code != attempt.ExitDone:
					t.Fatalf("exit code %d\n%s", code, b.log)
				}
				reads[res.Source.Read]++
				if !bytes.Equal(b.mp3, want) {
					t.Errorf("read %s (%s): the MP3 has %d bytes, that of the file %d", res.Source.Read, res.Source.ReadReason, len(b.mp3), len(want))
				}
				if res.Source.Track != track || res.Source.AudioTracks != s.tracks || res.Source.Size != int64(len(content)) {
					t.Errorf("source %+v", res.Source)
				}
			})
		}
	}
	t.Logf("read %v", reads)
	for _, way := range []source.Path{source.PathSparse, source.PathWhole} {
		if reads[string(way)] == 0 {
			t.Errorf("none was read %s", way)
		}
	}
}

// encodeFile converts a local file as it is, or returns why the file is
// refused.
func encodeFile(t *testing.T, path string, o conversion.Options) ([]byte, *media.Error) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "file.mp3")
	in, err := media.Open(ffmpeg.Program{Path: mediatest.FFmpeg(t)}, path)
	if err == nil {
		_, err = media.Convert(t.Context(), in, media.Spec{Target: target, Options: o, Filename: "My video.mp4"})
	}
	var refused *media.Error
	if errors.As(err, &refused) {
		return nil, refused
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}
