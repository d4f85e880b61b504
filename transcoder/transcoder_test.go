package transcoder_test

// Over 500 lines: the store and dispatcher of all tests here, and the tests of one whole attempt.

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/waittest"
	"tonearm/transcoder"
)

const (
	testID    = "0199-test"
	testToken = "1.token"
)

// bench is a dispatcher and an object store whose behaviour a test can bend.
type bench struct {
	t     *testing.T
	store *httptest.Server
	disp  *httptest.Server
	log   *waittest.Buffer

	mu       sync.Mutex
	content  []byte
	etag     string
	options  conversion.Options
	limits   attempt.Limits
	expired  map[string]bool // URLs that the store answers 403 to
	serial   int             // of presigned URLs
	mp3      []byte
	reports  []conversion.Progress
	results  []attempt.Result
	files    int               // how many files the dispatcher has for one process, 0 for 1
	nonces   map[string]string // the nonce that claimed each conversion
	gets     int
	puts     int
	onGet    func(w http.ResponseWriter, r *http.Request, n int) bool // true: answered
	onPut    func(w http.ResponseWriter, r *http.Request, n int) bool
	onCall   func(w http.ResponseWriter, verb string) bool
	onReport func(conversion.Progress) (stop bool)
	onResult func(n int) (lost bool) // whether the answer to the nth result is lost, from 1
}

// idOf and tokenOf name the nth file of a process and its token, from 1.
func idOf(n int) string {
	if n == 1 {
		return testID
	}
	return testID + "-" + strconv.Itoa(n)
}

func tokenOf(id string) string { return testToken + strings.TrimPrefix(id, testID) }

func newBench(t *testing.T, content []byte) *bench {
	b := &bench{t: t, content: content, etag: "abc", expired: map[string]bool{}, nonces: map[string]string{}, log: &waittest.Buffer{},
		limits: attempt.Limits{MaxDurationSeconds: 3600, MaxMP3Bytes: 1 << 30, MaxSourceBytes: 1 << 30}}
	b.store = httptest.NewServer(http.HandlerFunc(b.serveStore))
	b.disp = httptest.NewServer(http.HandlerFunc(b.serveDispatcher))
	t.Cleanup(b.store.Close)
	t.Cleanup(b.disp.Close)
	return b
}

// run runs one attempt and returns its exit code.
func (b *bench) run(ctx context.Context, change ...func(*transcoder.Options)) int {
	b.t.Helper()
	o := transcoder.Options{
		DispatcherURL: b.disp.URL, ConversionID: testID, Token: testToken,
		Dir: filepath.Join(b.t.TempDir(), "work"), FFmpeg: mediatest.FFmpeg(b.t),
		ReportEvery: 20 * time.Millisecond, Patience: 30 * time.Second,
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	for _, f := range change {
		f(&o)
	}
	code := transcoder.Run(ctx, o)
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) != 0 {
		b.t.Errorf("working directory still holds %v", entries)
	}
	for _, secret := range []string{testToken, "signature"} {
		if strings.Contains(b.log.String(), secret) {
			b.t.Errorf("the log holds %q", secret)
		}
	}
	return code
}

func (b *bench) serveStore(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if b.expired[r.URL.RequestURI()] {
		b.mu.Unlock()
		http.Error(w, "expired", http.StatusForbidden)
		return
	}
	content, n, hook := b.content, 0, b.onGet
	if r.Method == http.MethodPut {
		b.puts++
		n, hook = b.puts, b.onPut
	} else {
		b.gets++
		n = b.gets
	}
	b.mu.Unlock()
	if hook != nil && hook(w, r, n) {
		return
	}
	switch r.Method {
	case http.MethodGet:
		b.mu.Lock()
		w.Header().Set("ETag", `"`+b.etag+`"`)
		b.mu.Unlock()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	case http.MethodPut:
		body, err := io.ReadAll(r.Body)
		sum := md5.Sum(body)
		if err != nil || r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) || r.ContentLength != int64(len(body)) {
			http.Error(w, "BadDigest", http.StatusBadRequest)
			return
		}
		b.mu.Lock()
		b.mp3 = body
		b.mu.Unlock()
	}
}

// sign returns fresh URLs. b.mu is held.
func (b *bench) sign() (source, target attempt.Request) {
	b.serial++
	url := func(name string) string {
		return b.store.URL + "/" + name + "?signature=" + strconv.Itoa(b.serial)
	}
	return attempt.Request{Method: http.MethodGet, URL: url("source")}, attempt.Request{Method: http.MethodPut, URL: url("target")}
}

func (b *bench) serveDispatcher(w http.ResponseWriter, r *http.Request) {
	id, verb, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/attempts/"), "/")
	if !ok || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+tokenOf(id) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.mu.Lock()
	hook := b.onCall
	b.mu.Unlock()
	if hook != nil && hook(w, verb) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var answer any
	nonce := ""
	switch verb {
	case "claim":
		var c attempt.Claim
		json.NewDecoder(r.Body).Decode(&c)
		nonce, b.nonces[id] = c.Nonce, c.Nonce
		answer = b.assign(id)
	case "progress":
		var p attempt.Progress
		json.NewDecoder(r.Body).Decode(&p)
		nonce = p.Nonce
		b.reports = append(b.reports, p.Progress)
		source, target := b.sign()
		answer = attempt.ProgressReply{Source: source, Target: target, Stop: b.onReport != nil && b.onReport(p.Progress)}
	case "result":
		var res attempt.Result
		json.NewDecoder(r.Body).Decode(&res)
		nonce = res.Nonce
		b.results = append(b.results, res)
		answer = attempt.ResultReply{State: stateOf(res), Next: b.next(id, res.NextNonce)}
		if b.onResult != nil && b.onResult(len(b.results)) {
			panic(http.ErrAbortHandler)
		}
	}
	if nonce == "" || nonce != b.nonces[id] {
		b.t.Errorf("%s of %s with the nonce %q instead of %q", verb, id, nonce, b.nonces[id])
	}
	json.NewEncoder(w).Encode(answer)
}

func stateOf(r attempt.Result) conversion.State {
	switch {
	case r.Stopped:
		return conversion.Canceled
	case r.Failure != nil:
		return conversion.Failed
	}
	return conversion.Done
}

func (b *bench) assign(id string) attempt.Assignment {
	source, target := b.sign()
	return attempt.Assignment{
		ConversionID: id, Attempt: 1, Filename: "My video.mp4", Options: b.options,
		Source: source, SourceETag: b.etag, SourceSize: int64(len(b.content)), Target: target,
		Limits: b.limits, ReportSeconds: 5,
	}
}

// next returns the file after the file id, claimed by nonce.
func (b *bench) next(id, nonce string) *attempt.Next {
	n := 1
	for idOf(n) != id {
		n++
	}
	if nonce == "" || n >= b.files {
		return nil
	}
	id = idOf(n + 1)
	b.nonces[id] = nonce
	return &attempt.Next{Token: tokenOf(id), Assignment: b.assign(id)}
}

// result returns the only result that was reported.
func (b *bench) result() attempt.Result {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.results) != 1 {
		b.t.Fatalf("%d results were reported, want 1\n%s", len(b.results), b.log)
	}
	return b.results[0]
}

// video makes a video and returns its content.
func video(t *testing.T, name string, seconds float64) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	mediatest.Video(t, path, seconds, 440, "-c:v", "mpeg4", "-c:a", "aac")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// converted checks that the right MP3 was stored and reported.
func (b *bench) converted(code int) {
	b.t.Helper()
	if code != attempt.ExitDone {
		b.t.Fatalf("exit code %d\n%s", code, b.log)
	}
	res := b.result()
	path := filepath.Join(b.t.TempDir(), "stored.mp3")
	if err := os.WriteFile(path, b.mp3, 0o600); err != nil {
		b.t.Fatal(err)
	}
	seconds, hz := mediatest.Tone(b.t, path)
	if math.Abs(seconds-2) > 0.05 || math.Abs(hz-440) > 5 {
		b.t.Errorf("stored %.3f s of %.1f Hz", seconds, hz)
	}
	if res.MP3 == nil || res.MP3.Size != int64(len(b.mp3)) || res.MP3.ETag != fmt.Sprintf("%x", md5.Sum(b.mp3)) || !res.MP3.LengthChecked {
		b.t.Errorf("reported %+v for %d bytes", res.MP3, len(b.mp3))
	}
	if res.Source == nil || res.Source.Codec != "aac" || res.Source.Size != int64(len(b.content)) {
		b.t.Errorf("reported %+v", res.Source)
	}
}

func TestConverts(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.converted(b.run(t.Context()))
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reports { // how many there are depends on the time it took
		if r.Phase == conversion.PhaseNone {
			t.Errorf("reported %+v", b.reports)
		}
	}
}

func TestSourceResumes(t *testing.T) {
	b := newBench(t, video(t, "in.mkv", 2))
	third := len(b.content) / 3
	b.onGet = func(w http.ResponseWriter, r *http.Request, n int) bool {
		switch n {
		case 1: // breaks off after a third of the bytes
			w.Header().Set("ETag", `"abc"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(b.content)))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(b.content)-1, len(b.content)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(b.content[:third])
			panic(http.ErrAbortHandler)
		case 2:
			http.Error(w, "slow down", http.StatusServiceUnavailable)
			return true
		}
		if got, want := r.Header.Get("Range"), fmt.Sprintf("bytes=%d-%d", third, len(b.content)-1); got != want {
			t.Errorf("range %q, want %q", got, want)
		}
		if r.Header.Get("If-Match") != `"abc"` {
			t.Errorf("If-Match %q", r.Header.Get("If-Match"))
		}
		return false
	}
	b.converted(b.run(t.Context()))
	if b.gets != 3 {
		t.Errorf("%d requests", b.gets)
	}
}

func TestExpiredURLs(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.expired["/source?signature=1"] = true
	refused := map[string]bool{}
	b.onPut = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if len(refused) == 0 || refused[r.URL.RawQuery] {
			refused[r.URL.RawQuery] = true
			http.Error(w, "expired", http.StatusForbidden)
			return true
		}
		return false
	}
	b.converted(b.run(t.Context(), func(o *transcoder.Options) { o.ReportEvery = time.Hour }))
}

func TestStoreFailsOnPut(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	b.onPut = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		switch n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			http.Error(w, "InternalError", http.StatusInternalServerError)
			return true
		}
		return false
	}
	b.converted(b.run(t.Context()))
}

func TestDispatcherRestarts(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	calls := map[string]int{}
	b.onCall = func(w http.ResponseWriter, verb string) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if calls[verb]++; calls[verb] <= 2 {
			if calls[verb] == 1 {
				panic(http.ErrAbortHandler)
			}
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	b.converted(b.run(t.Context()))
}

func TestFailures(t *testing.T) {
	good := video(t, "in.mp4", 2)
	tests := []struct {
		name    string
		content []byte
		bend    func(*bench)
		code    conversion.Code
		final   bool
		fault   conversion.WaitReason
	}{
		{"truncated", good[:len(good)*2/3], nil, conversion.CodeTruncated, true, ""},
		{"empty", nil, nil, conversion.CodeEmpty, true, ""},
		{"text", []byte(strings.Repeat("words ", 1000)), nil, conversion.CodeNotMedia, true, ""},
		{"too large", good, func(b *bench) { b.limits.MaxSourceBytes = 10 }, conversion.CodeLimitExceeded, true, ""},
		{"too long", good, func(b *bench) { b.limits.MaxDurationSeconds = 1 }, conversion.CodeLimitExceeded, true, ""},
		{"no such track", good, func(b *bench) { b.options.Track = "7" }, conversion.CodeTrackNotFound, true, ""},
		{"gone", good, func(b *bench) {
			b.onGet = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(404); return true }
		}, conversion.CodeSourceMissing, true, ""},
		{"changed at once", good, func(b *bench) {
			b.onGet = func(http.ResponseWriter, *http.Request, int) bool {
				b.mu.Lock()
				b.etag = "other"
				b.mu.Unlock()
				return false
			}
		}, conversion.CodeSourceChanged, true, ""},
		{"changed half-way", good, func(b *bench) {
			b.onGet = func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n > 1 {
					return false
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(b.content)))
				w.Write(b.content[:1000])
				b.mu.Lock()
				b.etag = "other"
				b.mu.Unlock()
				panic(http.ErrAbortHandler)
			}
		}, conversion.CodeSourceChanged, true, ""},
		{"another size", good, func(b *bench) {
			b.onGet = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.Write(b.content[:50]); return true }
		}, conversion.CodeSourceChanged, true, ""},
		{"no ranges", good, func(b *bench) { // a store that forgets the range must not be believed
			b.onGet = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.Write(b.content); return true }
		}, conversion.CodeStore, false, ""},
		{"store away", good, func(b *bench) {
			b.onGet = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(503); return true }
		}, conversion.CodeStore, false, conversion.FaultStore},
		{"store has no room", good, func(b *bench) {
			b.onPut = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(507); return true }
		}, conversion.CodeStore, false, conversion.FaultStore},
		{"store refuses the MP3", good, func(b *bench) {
			b.onPut = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(400); return true }
		}, conversion.CodeStore, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.content)
			if tt.bend != nil {
				tt.bend(b)
			}
			code := b.run(t.Context(), func(o *transcoder.Options) { o.Patience = 300 * time.Millisecond })
			res := b.result()
			if res.Failure == nil || res.Failure.Code != tt.code || res.Final != tt.final || res.Fault != tt.fault || res.Failure.Message == "" || res.MP3 != nil {
				t.Fatalf("reported %+v\n%s", res, b.log)
			}
			want := attempt.ExitFailed
			switch {
			case tt.final:
				want = attempt.ExitBadInput
			case tt.fault != "":
				want = attempt.ExitFault
			}
			if code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
}

func TestCrashOfFFmpegMayHeal(t *testing.T) {
	b := newBench(t, video(t, "in.mp4", 2))
	crash := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(crash, []byte("#!/bin/sh\nkill -SEGV $$\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	code := b.run(t.Context(), func(o *transcoder.Options) { o.FFmpeg = crash })
	if res := b.result(); code != attempt.ExitFailed || res.Failure == nil || res.Failure.Code != conversion.CodeInternal || res.Final {
		t.Errorf("exit code %d, reported %+v", code, res)
	}
}

// slow returns an ffmpeg that never ends once it encodes. It writes its process
// id to pidFile.
func slow(t *testing.T) (path, pidFile string) {
	t.Helper()
	dir := t.TempDir()
	path, pidFile = filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "pid")
	script := "#!/bin/sh\ncase \"$*\" in *libmp3lame*) echo $$ > " + pidFile + ".new; mv " + pidFile + ".new " + pidFile + "; exec sleep 600;; *) exec " + mediatest.FFmpeg(t) + " \"$@\";; esac\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, pidFile
}

func checkGone(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatalf("ffmpeg never ran: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("ffmpeg (process %d) is still there", pid)
	}
}

func TestStop(t *testing.T) {
	content := video(t, "in.mp4", 2)
	for _, how := range []string{"stop", "409", "terminated"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, content)
			ffmpeg, pidFile := slow(t)
			encoding := func() bool { _, err := os.Stat(pidFile); return err == nil }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := attempt.ExitStopped
			switch how {
			case "stop":
				b.onReport = func(conversion.Progress) bool { return encoding() }
			case "409":
				b.onCall = func(w http.ResponseWriter, verb string) bool {
					if verb != "progress" || !encoding() {
						return false
					}
					w.WriteHeader(http.StatusConflict)
					return true
				}
			case "terminated":
				want = attempt.ExitNoReport
				b.onReport = func(conversion.Progress) bool {
					if encoding() {
						cancel()
					}
					return false
				}
			}
			if code := b.run(ctx, func(o *transcoder.Options) { o.FFmpeg = ffmpeg }); code != want {
				t.Errorf("exit code %d, want %d\n%s", code, want, b.log)
			}
			if len(b.results) != 0 || b.puts != 0 {
				t.Errorf("reported %+v, stored %d times", b.results, b.puts)
			}
			checkGone(t, pidFile)
		})
	}
}

func TestNotOurs(t *testing.T) {
	for status, want := range map[int]int{401: attempt.ExitStopped, 409: attempt.ExitStopped, 400: attempt.ExitNoReport} {
		b := newBench(t, []byte("x"))
		b.onCall = func(w http.ResponseWriter, _ string) bool { w.WriteHeader(status); return true }
		if code := b.run(t.Context()); code != want {
			t.Errorf("answer %d: exit code %d, want %d", status, code, want)
		}
	}
	b := newBench(t, []byte("x"))
	if code := b.run(t.Context(), func(o *transcoder.Options) { o.Token = "" }); code != attempt.ExitUsage {
		t.Errorf("no token: exit code %d", code)
	}
}
