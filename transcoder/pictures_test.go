package transcoder_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/source"
	"tonearm/transcoder"
)

const x264 = "-c:v libx264 -preset ultrafast -g 50 -bf 2 "

// film makes a minute of noisy pictures and a tone, and returns its path. args
// are options of ffmpeg.
func film(t *testing.T, name, args string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	words := strings.Fields("-f lavfi -i testsrc2=s=192x108:r=25:d=60,noise=alls=40:allf=t,format=yuv420p -f lavfi -i sine=d=60 -c:a aac " + args)
	if err := mediatest.Make(t.Context(), filepath.Dir(path), append(words, "file:"+path)...); err != nil {
		t.Fatal(err)
	}
	return path
}

// relaid writes a film in another layout.
func relaid(t *testing.T, path string, l mediatest.Layout) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	mediatest.Remux(t, path, to, l)
	return to
}

// again makes ffmpeg copy a film with other inputs and outputs.
func again(t *testing.T, path, before, after string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	words := append(strings.Fields(before), "-i", path)
	words = append(append(words, strings.Fields(after)...), to)
	if err := mediatest.Make(t.Context(), filepath.Dir(to), words...); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCoverFromParts: the picture of a cover is read alone, and is the same as
// from the whole file.
func TestCoverFromParts(t *testing.T) {
	plain := film(t, "h264.mp4", x264)
	first := relaid(t, plain, mediatest.Layout{ChunkSeconds: 10, First: true, Long: true})
	open := film(t, "open.mp4", x264+"-x264-params open-gop=1")
	few := film(t, "few.mp4", "-c:v libx264 -preset ultrafast -g 5000")
	hevc := film(t, "hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=50")
	late := again(t, plain, "-itsoffset 7 -i "+plain, "-map 0:v -map 1:a -c copy")
	alone := 0
	const poster = conversion.CoverPoster
	for _, tt := range []struct {
		name, path string
		options    conversion.Options
		whole      bool // must be fetched after all
	}{
		{"as ffmpeg writes", plain, conversion.Options{Cover: poster}, false},
		{"index first", first, conversion.Options{Cover: poster}, false},
		{"index last, as of a camera", relaid(t, plain, mediatest.Layout{ChunkSeconds: 10}), conversion.Options{Cover: poster}, false},
		{"at its beginning", first, conversion.Options{Cover: "0"}, false},
		{"in the middle", plain, conversion.Options{Cover: "30.3"}, false},
		{"near a key frame", plain, conversion.Options{Cover: "32"}, false},
		{"near its end", plain, conversion.Options{Cover: "59.97"}, false},
		{"near its end, index first", first, conversion.Options{Cover: "59.9"}, false},
		{"beyond its end", plain, conversion.Options{Cover: "60.5"}, false},
		{"of a part", plain, conversion.Options{Cover: poster, Start: 20, End: 50}, false},
		{"of a longer part", first, conversion.Options{Cover: poster, Start: 5, End: 58}, false},
		{"open groups", open, conversion.Options{Cover: poster}, false},
		{"at a time in open groups", open, conversion.Options{Cover: "30.3"}, false},
		{"few key frames", few, conversion.Options{Cover: "50"}, true},
		{"few key frames, at the beginning", few, conversion.Options{Cover: "3"}, false},
		{"poster of few key frames", few, conversion.Options{Cover: poster}, true},
		{"late pictures", late, conversion.Options{Cover: poster}, false},
		{"at a time in late pictures", late, conversion.Options{Cover: "9"}, false},
		{"before late pictures", late, conversion.Options{Cover: "2"}, false},
		{"late sound", again(t, plain, "-itsoffset 7 -i "+plain, "-map 1:v -map 0:a -c copy"), conversion.Options{Cover: poster}, false},
		{"cut", again(t, plain, "-ss 5.3", "-c copy"), conversion.Options{Cover: "20"}, false},
		{"without an edit list", again(t, plain, "", "-c copy -use_editlist 0"), conversion.Options{Cover: "30"}, false},
		{"negative offsets", again(t, plain, "", "-c copy -movflags +negative_cts_offsets"), conversion.Options{Cover: poster}, false},
		{"with a time code", again(t, plain, "", "-c copy -f mov -timecode 01:00:00:00"), conversion.Options{Cover: poster}, false},
		{"mpeg4", film(t, "mpeg4.mp4", "-c:v mpeg4 -g 50"), conversion.Options{Cover: poster}, false},
		{"mjpeg", film(t, "mjpeg.mov", "-c:v mjpeg"), conversion.Options{Cover: poster}, false},
		{"hevc", hevc, conversion.Options{Cover: poster}, false},
		{"at a time in hevc", hevc, conversion.Options{Cover: "30"}, false},
		{"a decoder that does not complain", film(t, "mpeg2.mov", "-c:v mpeg2video -g 50"), conversion.Options{Cover: poster}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content, err := os.ReadFile(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			f := coverLike(t, tt.path, content, tt.options)
			size := int64(len(content))
			t.Logf("%s, %d of %d bytes in %d requests", f.Read, f.ReadBytes, size, f.Requests)
			if whole := f.Read == string(source.PathWhole); whole != tt.whole {
				t.Errorf("read %s (%s)", f.Read, f.ReadReason)
			}
			most := size / 2
			if f.Read == string(source.PathSparse) {
				alone++
			} else { // everything came together with the audio
				most += size
			}
			if f.ReadBytes > most && !tt.whole {
				t.Errorf("read %s, %d of %d bytes", f.Read, f.ReadBytes, size)
			}
		})
	}
	if alone == 0 {
		t.Error("no sound was read alone")
	}
}

// coverLike converts content in an attempt, and checks that the MP3 is the same
// as from the file.
func coverLike(t *testing.T, path string, content []byte, o conversion.Options) conversion.Source {
	t.Helper()
	want, refused := encodeFile(t, path, o)
	if refused != nil {
		t.Fatal(refused)
	}
	b := newBench(t, content)
	b.options = o
	if code := b.run(t.Context()); code != attempt.ExitDone {
		t.Fatalf("exit code %d\n%s", code, b.log)
	}
	if !bytes.Equal(b.mp3, want) {
		t.Errorf("the MP3 has %d bytes, that of the file %d", len(b.mp3), len(want))
	}
	return *b.result().Source
}

// TestNoPictures: a file without pictures is recognized without reading more of
// it.
func TestNoPictures(t *testing.T) {
	path := film(t, "sound.mp4", "-vn")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if f := coverLike(t, path, content, conversion.Options{Cover: conversion.CoverPoster}); f.Read == string(source.PathWhole) {
		t.Errorf("read %s (%s)", f.Read, f.ReadReason)
	}
}

// TestDamagedPictures: if something is wrong with the pictures that a cover is
// made of, the cover is made from the whole file.
func TestDamagedPictures(t *testing.T) {
	path := relaid(t, film(t, "film.mp4", x264), mediatest.Layout{ChunkSeconds: 10, First: true})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	middle := len(content) * 2 / 5
	clear(content[middle : middle+len(content)/20]) // three seconds, in a chunk of ten seconds of pictures
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cover := range []conversion.Cover{conversion.CoverPoster, "26"} {
		f := coverLike(t, path, content, conversion.Options{Cover: cover})
		if f.Read != string(source.PathWhole) || f.ReadBytes < int64(len(content)) {
			t.Errorf("cover %s: read %s, %d of %d bytes", cover, f.Read, f.ReadBytes, len(content))
		}
	}
}

// TestPicturesFail: a failure of the store while parts are fetched is reported
// like one during any other reading.
func TestPicturesFail(t *testing.T) {
	path := relaid(t, film(t, "film.mp4", x264), mediatest.Layout{ChunkSeconds: 10, First: true})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for code, status := range map[conversion.Code]int{
		conversion.CodeSourceMissing: http.StatusNotFound, conversion.CodeSourceChanged: http.StatusPreconditionFailed, conversion.CodeStore: http.StatusServiceUnavailable,
	} {
		b := newBench(t, content)
		b.options = conversion.Options{Cover: conversion.CoverPoster}
		b.onGet = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if b.keyFrame(r) {
				w.WriteHeader(status)
				return true
			}
			return false
		}
		b.run(t.Context(), func(o *transcoder.Options) { o.Patience = 300 * time.Millisecond })
		if res := b.result(); res.Failure == nil || res.Failure.Code != code {
			t.Errorf("answer %d: reported %+v", status, res.Failure)
		}
	}
	b := newBench(t, content)
	b.options = conversion.Options{Cover: conversion.CoverPoster}
	ctx, cancel := context.WithCancel(t.Context())
	b.onGet = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if b.keyFrame(r) {
			cancel()
			<-r.Context().Done() // never answers
		}
		return false
	}
	if code := b.run(ctx); code != attempt.ExitNoReport {
		t.Errorf("terminated: exit code %d\n%s", code, b.log)
	}
}

// keyFrame reports whether a request is for a key frame in the middle of a film,
// which is smaller than ten seconds of audio.
func (b *bench) keyFrame(r *http.Request) bool {
	var from, to int
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	return from > len(b.content)*2/5 && to-from > 5<<10 && to-from < 50<<10
}
