package transcoder_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/transcoder"
)

// TestFaults: what is wrong with this machine is not taken for a fault of the
// file.
func TestFaults(t *testing.T) {
	content := video(t, "in.mp4", 2)
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "ffmpeg")
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct {
		change func(*transcoder.Options)
		want   conversion.WaitReason
	}{
		"no ffmpeg":                 {func(o *transcoder.Options) { o.FFmpeg = filepath.Join(t.TempDir(), "none") }, conversion.FaultFFmpeg},
		"an ffmpeg that cannot run": {func(o *transcoder.Options) { o.FFmpeg = script("#!/nonexistent/interpreter\n") }, conversion.FaultFFmpeg},
		"a library is missing":      {func(o *transcoder.Options) { o.FFmpeg = script("#!/bin/sh\nexit 127\n") }, conversion.FaultFFmpeg},
		"no thread for the limits": {func(o *transcoder.Options) {
			o.FFmpeg = script("#!/bin/sh\necho 'fatal error: newosproc' >&2; exit 2\n")
		}, conversion.FaultFFmpeg},
		"ffmpeg speaks of the disk": {func(o *transcoder.Options) {
			o.FFmpeg = script("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
		}, ""},
		"ffmpeg crashes":             {func(o *transcoder.Options) { o.FFmpeg = script("#!/bin/sh\nkill -SEGV $$\n") }, ""},
		"a folder that is not there": {func(o *transcoder.Options) { o.Dir = filepath.Join(mediatest.FFmpeg(t), "work") }, conversion.FaultDisk},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, content)
			code := b.run(t.Context(), tt.change)
			res := b.result()
			exit := attempt.ExitFailed
			if tt.want != "" {
				exit = attempt.ExitFault
			}
			if code != exit || res.Failure == nil || res.Failure.Code != conversion.CodeInternal || res.Final || res.Fault != tt.want {
				t.Errorf("exit code %d, reported %+v, want fault %q\n%s", code, res, tt.want, b.log)
			}
		})
	}
}

// TestHung: an attempt in which nothing moves is ended, with its ffmpeg. One that
// waits for a store with patience is not.
func TestHung(t *testing.T) {
	content := video(t, "in.mp4", 2)
	soon := func(o *transcoder.Options) { o.Silence = 300 * time.Millisecond }
	t.Run("ffmpeg", func(t *testing.T) {
		b := newBench(t, content)
		ffmpeg, pidFile := slow(t)
		code := b.run(t.Context(), soon, func(o *transcoder.Options) { o.FFmpeg = ffmpeg })
		if res := b.result(); code != attempt.ExitFailed || res.Failure == nil || res.Failure.Code != conversion.CodeInternal || res.Final || res.Fault != "" {
			t.Errorf("exit code %d, reported %+v\n%s", code, res, b.log)
		}
		checkGone(t, pidFile)
	})
	t.Run("store", func(t *testing.T) {
		b := newBench(t, content)
		from := time.Now()
		b.onPut = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			if time.Since(from) > time.Second { // far longer than the silence
				return false
			}
			w.WriteHeader(503)
			return true
		}
		b.converted(b.run(t.Context(), func(o *transcoder.Options) { o.Silence = 300 * time.Millisecond }))
	})
}
