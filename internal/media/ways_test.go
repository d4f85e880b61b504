package media_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/spool"
	"tonearm/transcoder"
)

// way is one way on which a file comes to its MP3. The three functions here are
// all that the corpus needs of Tonearm.
type way struct {
	name    string
	convert func(t testing.TB) mediatest.Convert
}

var ways = []way{{"file", fromFile}, {"pipe", fromPipe}, {"ranges", fromRanges}}

// underTest is the ffmpeg that Tonearm uses. Inputs are made and results are
// judged with the installed one.
func underTest(t testing.TB) string {
	return cmp.Or(os.Getenv("TONEARM_FFMPEG"), mediatest.FFmpeg(t))
}

// fromFile converts a whole local file.
func fromFile(t testing.TB) mediatest.Convert {
	return func(ctx context.Context, path, filename string, o conversion.Options) mediatest.Result {
		target := filepath.Join(t.TempDir(), "out.mp3")
		e, err := convertWith(ctx, underTest(t), path, media.Spec{Target: target, Options: o, Filename: filename}.Plain())
		return outcome(target, e, err)
	}
}

func outcome(path string, e media.Encoded, err error) mediatest.Result {
	var refused *media.Error
	if errors.As(err, &refused) {
		return mediatest.Result{Code: refused.Code, Message: refused.Message}
	}
	return mediatest.Result{Path: path, MP3: e.MP3, Source: e.Source, Err: err}
}

// fromPipe converts a file while it is written, from its beginning to its end.
func fromPipe(t testing.TB) mediatest.Convert {
	return func(ctx context.Context, path, filename string, o conversion.Options) mediatest.Result {
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "source"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := &growing{spool.New(f), int64(len(content))}
		var writing sync.WaitGroup
		writing.Go(func() {
			for len(content) > 0 {
				n := min(len(content), 32<<10)
				if _, err := g.Write(content[:n]); err != nil {
					g.End(err)
					return
				}
				content = content[n:]
			}
			g.End(nil)
		})
		defer writing.Wait()
		target := filepath.Join(dir, "out.mp3")
		in, err := media.Follow(ffmpeg.Program{Path: underTest(t)}, g)
		if err != nil {
			return outcome(target, media.Encoded{}, err)
		}
		e, err := media.Convert(ctx, in, media.Spec{Target: target, Options: o, Filename: filename})
		return outcome(target, e, err)
	}
}

// growing is a probe.Growing of a whole video.
type growing struct {
	*spool.File
	size int64
}

func (g *growing) Path() string                           { return g.Name() }
func (g *growing) Size() int64                            { return g.size }
func (g *growing) Seek() bool                             { return false }
func (g *growing) SourceTracks() (_ []probe.Track, _ int) { return nil, 0 }
func (g *growing) SourceChapters(context.Context) ([]mp4.Chapter, int, error) {
	panic("it is the video itself")
}
func (g *growing) ReadAt(p []byte, at int64) (int, error) {
	if _, err := g.Await(min(at+int64(len(p)), g.size), nil); err != nil {
		return 0, err
	}
	return g.File.ReadAt(p, at)
}

func (g *growing) Whole(ctx context.Context) error {
	_, err := g.Await(g.size, ctx.Done())
	return err
}

// fromRanges lets the transcoder read the file from an object store, by ranges
// where it can.
func fromRanges(t testing.TB) mediatest.Convert {
	return func(ctx context.Context, path, filename string, o conversion.Options) mediatest.Result {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		a := &assignment{content: content, target: filepath.Join(dir, "stored.mp3"), filename: filename, options: o}
		server := httptest.NewServer(a)
		defer server.Close()
		a.url = server.URL
		var log bytes.Buffer
		transcoder.Run(ctx, transcoder.Options{
			DispatcherURL: server.URL, ConversionID: "id", Token: "1.token", Dir: filepath.Join(dir, "work"),
			FFmpeg: underTest(t), Patience: 30 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		a.mu.Lock()
		defer a.mu.Unlock()
		switch r := a.result; {
		case r.MP3 != nil:
			return mediatest.Result{Path: a.target, MP3: *r.MP3, Source: *r.Source}
		case r.Failure != nil && r.Final:
			return mediatest.Result{Code: r.Failure.Code, Message: r.Failure.Message}
		}
		return mediatest.Result{Err: fmt.Errorf("the transcoder reported no result:\n%s", log.String())}
	}
}

// assignment is a dispatcher and an object store with one file.
type assignment struct {
	url, target, filename string
	content               []byte
	options               conversion.Options

	mu     sync.Mutex
	result attempt.Result
}

func (a *assignment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := attempt.Request{Method: http.MethodGet, URL: a.url + "/source"}
	target := attempt.Request{Method: http.MethodPut, URL: a.url + "/target"}
	switch r.URL.Path {
	case "/source":
		w.Header().Set("ETag", `"abc"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
	case "/target":
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(a.target, body, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case "/attempts/id/claim":
		json.NewEncoder(w).Encode(attempt.Assignment{
			ConversionID: "id", Attempt: 1, Filename: a.filename, Options: a.options, Source: source, SourceETag: "abc",
			SourceSize: int64(len(a.content)), Target: target,
			Limits: attempt.Limits{MaxDurationSeconds: attempt.DefaultMaxDuration.Seconds(), MaxMP3Bytes: attempt.DefaultMaxMP3Bytes},
		})
	case "/attempts/id/progress":
		json.NewEncoder(w).Encode(attempt.ProgressReply{Source: source, Target: target})
	case "/attempts/id/result":
		a.mu.Lock()
		defer a.mu.Unlock()
		if err := json.NewDecoder(r.Body).Decode(&a.result); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		json.NewEncoder(w).Encode(attempt.ResultReply{State: conversion.Done})
	default:
		http.Error(w, "no such path: "+strings.TrimSpace(r.URL.Path), http.StatusNotFound)
	}
}
