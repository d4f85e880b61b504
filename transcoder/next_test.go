package transcoder_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/transcoder"
)

// wantResults checks what was reported, one word for each result, and that every
// file was claimed by a nonce of its own.
func (b *bench) wantResults(words string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, r := range b.results {
		word := string(stateOf(r))
		if r.NextNonce == "" {
			word += ",last"
		}
		got = append(got, word)
	}
	if strings.Join(got, " ") != words {
		b.t.Errorf("reported %v, want %s\n%s", got, words, b.log)
	}
	seen := map[string]bool{}
	for _, nonce := range b.nonces {
		if seen[nonce] {
			b.t.Errorf("two files were claimed by the nonce %s", nonce)
		}
		seen[nonce] = true
	}
}

// One process converts three files, each in an empty directory.
func TestGoesOn(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.files = 3
	dir := ""
	b.onGet = func(http.ResponseWriter, *http.Request, int) bool {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("the directory holds %v when reading begins, %v", entries, err)
		}
		return false
	}
	var lengths []int
	b.onPut = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		lengths = append(lengths, int(r.ContentLength))
		return false
	}
	if code := b.run(t.Context(), func(o *transcoder.Options) { dir = o.Dir }); code != attempt.ExitDone {
		t.Errorf("exit code %d\n%s", code, b.log)
	}
	b.wantResults("done done done")
	if len(lengths) != 3 || slices.Max(lengths) != slices.Min(lengths) || len(b.nonces) != 3 {
		t.Errorf("stored %v bytes, %d files", lengths, len(b.nonces))
	}
}

// If an answer is lost, the same result is reported again, and the same file
// comes.
func TestGoesOnAfterLostAnswer(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.files = 2
	b.onResult = func(n int) bool { return n <= 2 }
	if code := b.run(t.Context()); code != attempt.ExitDone {
		t.Errorf("exit code %d\n%s", code, b.log)
	}
	b.wantResults("done done done done")
	if !reflect.DeepEqual(b.results[0], b.results[1]) || !reflect.DeepEqual(b.results[0], b.results[2]) {
		t.Errorf("reported %+v", b.results)
	}
}

// After bad input, which is the file's fault, the process goes on. After a fault
// of its machine it ends.
func TestGoesOnAfterBadInputAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		bend func(*bench)
		want string
		code int
	}{
		"bad input": {func(b *bench) { b.limits.MaxDurationSeconds = 1 }, "failed failed", attempt.ExitBadInput},
		"store away": {func(b *bench) {
			b.onGet = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(503); return true }
		}, "failed,last", attempt.ExitFault},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, video(t, "in.mp4", 2))
			b.files = 2
			tt.bend(b)
			if code := b.run(t.Context(), func(o *transcoder.Options) { o.Patience = 1 }); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			b.wantResults(tt.want)
		})
	}
}

// A stop ends the second file, and the process goes on with the third one.
func TestStopOfCarried(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.files = 3
	ffmpeg, pidFile := slow(t)
	encoding := func() bool { _, err := os.Stat(pidFile); return err == nil }
	b.onReport = func(conversion.Progress) bool { return len(b.results) == 1 && encoding() }
	link := filepath.Join(t.TempDir(), "ffmpeg") // what runs as ffmpeg for the next file
	use := func(path string) {
		if err := errors.Join(os.RemoveAll(link), os.Symlink(path, link)); err != nil {
			t.Error(err)
		}
	}
	b.onGet = func(_ http.ResponseWriter, _ *http.Request, n int) bool {
		use(map[bool]string{true: ffmpeg, false: mediatest.FFmpeg(t)}[n == 2])
		return false
	}
	if code := b.run(t.Context(), func(o *transcoder.Options) { o.FFmpeg = link }); code != attempt.ExitDone {
		t.Errorf("exit code %d\n%s", code, b.log)
	}
	b.wantResults("done canceled done")
	checkGone(t, pidFile)
}

// SIGTERM during the second file loses it, and nothing more is reported.
func TestTerminatedWhileCarrying(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.files = 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.onReport = func(conversion.Progress) bool {
		if len(b.results) == 1 {
			cancel()
		}
		return false
	}
	if code := b.run(ctx); code != attempt.ExitNoReport {
		t.Errorf("exit code %d\n%s", code, b.log)
	}
	b.wantResults("done")
}
