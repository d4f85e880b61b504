package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
	"tonearm/internal/source"
)

// store serves one object at /object?key=N, and counts.
type store struct {
	mu      sync.Mutex
	content []byte
	etag    string
	key     int // the key that is accepted
	// spoil may answer a request itself; n counts requests from 0.
	spoil func(n int64, w http.ResponseWriter, r *http.Request) (answered bool)

	requests, bytes, renewed atomic.Int64
	url                      string
}

func newStore(t *testing.T, content []byte) *store {
	s := &store{content: content, etag: `"one"`}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1) - 1
	s.mu.Lock()
	content, etag, key := s.content, s.etag, s.key
	s.mu.Unlock()
	w.Header().Set("ETag", etag)
	switch {
	case r.URL.Query().Get("key") != strconv.Itoa(key):
		w.WriteHeader(http.StatusForbidden)
	case r.Header.Get("If-Match") == "" && !strings.HasPrefix(r.Header.Get("Range"), "bytes=0-"):
		w.WriteHeader(http.StatusNotFound) // only the first request may lack the header
	case s.spoil != nil && s.spoil(n, w, r):
	default:
		http.ServeContent(counted{w, &s.bytes}, r, "", time.Time{}, bytes.NewReader(content))
	}
}

type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b))) // counted before the client gets them
	n, err := c.ResponseWriter.Write(b)
	c.bytes.Add(int64(n - len(b)))
	return n, err
}

// options returns options to read the store's object. Every renewal has a new
// key.
func (s *store) options(mode source.Mode) source.Options {
	return source.Options{
		Size: int64(len(s.content)), HTTP: source.NewClient(8), Mode: mode, Connections: 8, Patience: time.Minute,
		Request: func(ctx context.Context, refused bool) (*http.Request, error) {
			if refused {
				s.renewed.Add(1)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/object?key=%d", s.url, s.key), nil)
		},
	}
}

// audio reads the audio track with this number.
func audio(t *testing.T, o source.Options, track int) (b []byte, st *source.Stream, f source.Stats, err error) {
	t.Helper()
	object, err := source.Open(t.Context(), o)
	if err != nil {
		return nil, nil, f, err
	}
	m, why := object.Movie()
	if m == nil {
		return nil, nil, f, why
	}
	st, err = object.Audio(t.Context(), m.AudioTracks()[track])
	if err != nil {
		return nil, nil, f, err
	}
	defer st.Close()
	b, err = io.ReadAll(st)
	return b, st, object.Stats(), err
}

func chapters(t *testing.T, o source.Options) []mp4.Chapter {
	t.Helper()
	object, err := source.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	list, count, err := object.Chapters(t.Context())
	if err != nil || count != len(list) {
		t.Errorf("%d of %d chapters: %v", len(list), count, err)
	}
	return list
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMovies reads every track of every file in all ways: the bytes are the
// same. The chapters are read as well.
func TestMovies(t *testing.T) {
	for _, movie := range mediatest.Movies(t, 1) {
		t.Run(movie.Name, func(t *testing.T) {
			s := newStore(t, load(t, movie.Path))
			for track := range movie.AudioTracks {
				want, _, _, err := audio(t, s.options(source.Sparse), track)
				if movie.Whole != "" {
					if !errors.Is(err, mp4.Reason(movie.Whole)) {
						t.Errorf("got %v, want %q", err, movie.Whole)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				m, err := mp4.Read(bytes.NewReader(want), int64(len(want)))
				if err != nil || len(m.AudioTracks()) != 1 || m.End != int64(len(want)) {
					t.Errorf("track %d: own file %+v, %v", track, m, err)
				}
				if list := chapters(t, s.options(source.Sparse)); strings.HasPrefix(movie.Name, "chapter") && (len(list) != 3 || list[2].Title != "Kapitel 3 – ü") {
					t.Errorf("chapters %+v", list)
				}
				for _, mode := range []source.Mode{source.Auto, source.Plain} {
					got, st, f, err := audio(t, s.options(mode), track)
					if err != nil || !bytes.Equal(got, want) || st.Size != int64(len(want)) {
						t.Errorf("track %d, mode %d: %d bytes, %v, want %d as in the sparse mode (%+v)", track, mode, len(got), err, len(want), f)
					}
				}
			}
		})
	}
}

// TestBytes: of a longer file, reading takes little more than the audio and the
// index, and a decoder hears the same.
func TestBytes(t *testing.T) {
	dir := t.TempDir()
	const big = "-c:v mpeg4 -q:v 2 -vf noise=alls=60:allf=t "
	for name, args := range map[string]string{
		"aac.mp4": big + "-c:a aac", "first.mp4": big + "-c:a libopus -movflags +faststart", "sowt.mov": big + "-c:a pcm_s16le",
		"camera.mp4": "", "camera first.mp4": "",
	} {
		path := dir + "/" + name
		if args == "" {
			continue
		}
		mediatest.Video(t, path, 125, 440, strings.Fields(args)...)
	}
	mediatest.Remux(t, dir+"/aac.mp4", dir+"/camera.mp4", mediatest.Layout{ChunkSeconds: 0.5})
	mediatest.Remux(t, dir+"/aac.mp4", dir+"/camera first.mp4", mediatest.Layout{ChunkSeconds: 0.5, First: true})
	for _, name := range []string{"aac.mp4", "first.mp4", "sowt.mov", "camera.mp4", "camera first.mp4"} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, load(t, dir+"/"+name))
			b, _, f, err := audio(t, s.options(source.Sparse), 0)
			if err != nil {
				t.Fatal(err)
			}
			over := float64(f.Bytes-f.Index-128<<10) / float64(f.Audio)
			t.Logf("%d bytes, audio %d, index %d, read %d in %d requests: %.3f", len(s.content), f.Audio, f.Index, f.Bytes, f.Requests, over)
			if over > 1.10 || f.Path != source.PathSparse || f.Reason != source.ReasonForced {
				t.Errorf("read %+v", f)
			}
			if n, bytes := s.requests.Load(), s.bytes.Load(); f.Requests != n || f.Bytes != bytes {
				t.Errorf("says %d requests, %d bytes; the store says %d, %d", f.Requests, f.Bytes, n, bytes)
			}
			if got, want := pcm(t, "pipe:0", b), pcm(t, dir+"/"+name, nil); got != want {
				t.Errorf("sounds like %s, want %s", got, want)
			}
		})
	}
}

func pcm(t *testing.T, input string, stdin []byte) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-i", input, "-map", "0:a:0", "-f", "md5", "-")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestFaults: after a passing fault reading is tried again until the bytes are
// right. Any other fault is reported by name.
func TestFaults(t *testing.T) { //nolint:funlen // most of it is a table
	path := t.TempDir() + "/a.mp4"
	mediatest.Video(t, path, 6, 440, "-c:v", "mpeg4", "-c:a", "aac")
	mediatest.Remux(t, path, path, mediatest.Layout{ChunkSeconds: 0.25})
	content := load(t, path)
	whole, _, _, err := audio(t, newStore(t, content).options(source.Sparse), 0)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(w http.ResponseWriter, r *http.Request, keep float64) {
		var from, to int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(content)))
		w.Header().Set("Content-Length", strconv.Itoa(to-from+1))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(content[from : from+int(keep*float64(to-from))])
		panic(http.ErrAbortHandler)
	}
	answer := func(code int) func(int64, http.ResponseWriter, *http.Request) bool {
		return func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 2 {
				w.WriteHeader(code)
			}
			return n == 2
		}
	}
	tests := map[string]struct {
		spoil func(s *store) func(n int64, w http.ResponseWriter, r *http.Request) bool
		want  error
	}{
		"connections cut": {func(*store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n%3 == 1 {
					cut(w, r, 0.6)
				}
				return false
			}
		}, nil},
		"busy":     {func(*store) func(int64, http.ResponseWriter, *http.Request) bool { return answer(503) }, nil},
		"missing":  {func(*store) func(int64, http.ResponseWriter, *http.Request) bool { return answer(404) }, source.ErrMissing},
		"mismatch": {func(*store) func(int64, http.ResponseWriter, *http.Request) bool { return answer(412) }, source.ErrChanged},
		"presigned URL runs out": {func(s *store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, _ http.ResponseWriter, _ *http.Request) bool {
				if n == 1 {
					s.mu.Lock()
					s.key++
					s.mu.Unlock()
				}
				return false
			}
		}, nil},
		"another object": {func(s *store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					r.Header.Del("If-Match") // a store that ignores it
					w.Header().Set("ETag", `"two"`)
				}
				return false
			}
		}, source.ErrChanged},
		"replaced": {func(s *store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					s.mu.Lock()
					s.etag = `"two"`
					s.mu.Unlock()
				}
				return false
			}
		}, source.ErrChanged},
		"no ranges": {func(*store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					r.Header.Del("Range")
				}
				return false
			}
		}, source.ErrNoRanges},
		"wrong range": {func(*store) func(int64, http.ResponseWriter, *http.Request) bool {
			return func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					var from, to int
					fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
					r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from-1, to-1))
				}
				return false
			}
		}, source.ErrNoRanges},
	}
	for name, tt := range tests {
		for _, mode := range []source.Mode{source.Sparse, source.Plain} {
			t.Run(fmt.Sprintf("%s, mode %d", name, mode), func(t *testing.T) {
				s := newStore(t, content)
				s.spoil = tt.spoil(s)
				got, _, f, err := audio(t, s.options(mode), 0)
				switch {
				case !errors.Is(err, tt.want):
					t.Fatalf("got %v, want %v (%+v)", err, tt.want, f)
				case err == nil && !bytes.Equal(got, whole):
					t.Errorf("%d bytes other than the %d without faults", len(got), len(whole))
				case err == nil && f.Retries == 0:
					t.Error("nothing went wrong")
				case err != nil && strings.Contains(err.Error(), s.url):
					t.Errorf("an error tells the address: %v", err)
				}
				if name == "presigned URL runs out" && s.renewed.Load() != 1 {
					t.Errorf("renewed %d times", s.renewed.Load())
				}
			})
		}
	}
}

// TestWhole streams a file that is no MP4, and an MP4 that must be read as a
// whole.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	mediatest.Video(t, dir+"/a.mkv", 1, 440, "-c:v", "mpeg4", "-c:a", "aac")
	mediatest.Video(t, dir+"/fragments.mp4", 1, 440, "-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
	mediatest.Video(t, dir+"/a.mp4", 1, 440, "-c:v", "mpeg4", "-c:a", "aac")
	for name, reason := range map[string]string{"a.mkv": "not_mp4", "fragments.mp4": "fragmented", "a.mp4": source.ReasonAsked, "no index": "no_index", "one byte": "not_mp4"} {
		content := []byte("x")
		switch name {
		case "one byte":
		case "no index":
			content = append([]byte("\x00\x00\x00\x08free\x00\x00\x10\x00mdat"), make([]byte, 4088)...)
		default:
			content = load(t, dir+"/"+name)
		}
		s := newStore(t, content)
		o, err := source.Open(t.Context(), s.options(source.Auto))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		st := o.Whole(t.Context())
		got, err := io.ReadAll(st)
		if err != nil || !bytes.Equal(got, s.content) || st.Size != int64(len(s.content)) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(s.content))
		}
		st.Close()
		if f := o.Stats(); f.Path != source.PathWhole || f.Reason != reason {
			t.Errorf("%s: %+v, want the reason %q", name, f, reason)
		}
	}
}

// TestParts: a file with holes has what a demuxer reads besides samples, and
// what was fetched.
func TestParts(t *testing.T) {
	path := t.TempDir() + "/a.mp4"
	mediatest.Video(t, path, 30, 440, "-c:v", "mpeg4", "-c:a", "aac")
	last := load(t, path)
	mediatest.Remux(t, path, path, mediatest.Layout{ChunkSeconds: 0.5, First: true})
	first := load(t, path)
	data := bytes.Index(first, []byte("mdat")) - 4
	free := append([]byte("\x00\x03\x00\x00free"), make([]byte, 3<<16-8)...)
	first = slices.Concat(first[:data], free, first[data:])
	for name, content := range map[string][]byte{"index first": first, "index last": last} {
		s := newStore(t, content)
		o, err := source.Open(t.Context(), s.options(source.Auto))
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(t.TempDir() + "/parts")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		parts, err := o.Parts(t.Context(), f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		size := int64(len(content))
		m, err := mp4.Read(f, size)
		if err != nil || !m.Found || len(m.Tracks) != 2 || m.End != size {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		wanted := []mp4.Extent{{Offset: 1000, Size: 10}, {Offset: size / 2, Size: 5000}, {Offset: size/2 + 6000, Size: 20000}, {Offset: size - 10, Size: 10}}
		for range 2 { // the second time everything is there
			if err := parts.Fetch(t.Context(), wanted); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got := load(t, f.Name())
		if len(got) != len(content) {
			t.Fatalf("%s: %d bytes, want %d", name, len(got), len(content))
		}
		for _, e := range wanted {
			if !bytes.Equal(got[e.Offset:e.End()], content[e.Offset:e.End()]) {
				t.Errorf("%s: other bytes at %+v", name, e)
			}
		}
		stats := o.Stats()
		if n := s.bytes.Load(); stats.Bytes != n || n > size/2 || stats.Requests != s.requests.Load() {
			t.Errorf("%s: says %d bytes in %d requests, the store %d in %d of %d", name, stats.Bytes, stats.Requests, n, s.requests.Load(), size)
		}
	}
}
