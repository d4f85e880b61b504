package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"tonearm/bench/input"
	"tonearm/bench/link"
	"tonearm/bench/results"
	"tonearm/internal/conversion"
)

// counter serves one file over HTTP, with ranges, and counts how many of its
// bytes it sent.
type counter struct {
	path     string
	sent     atomic.Int64
	requests atomic.Int64
}

const counterETag = "0123456789abcdef0123456789abcdef"

// serve serves the file in a network until stop is called.
func (c *counter) serve(ctx context.Context, in *link.Namespace, host string) (s source, stop func(), err error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return source{}, nil, err
	}
	listener, err := in.Listen(ctx, net.JoinHostPort(host, "0"))
	if err != nil {
		return source{}, nil, err
	}
	return source{"http://" + listener.Addr().String() + "/source", counterETag, info.Size(), c.path}, serve(listener, c), nil
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := os.Open(c.path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	c.requests.Add(1)
	w.Header().Set("ETag", `"`+counterETag+`"`)
	http.ServeContent(&counted{w, &c.sent}, r, "", time.Time{}, f)
}

// counted counts the bytes of an answer's body.
type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// free is how many bytes a reader may read besides the audio and the index.
const free = 128 << 10

// bytesOverAudio returns how many times the size of the audio is read, for the
// worst of the MP4s whose audio is read alone. The other MP4s are faster
// another way; they are named. Behind a slow link they are few.
func bytesOverAudio(ctx context.Context, l *lab) (results.Figure, error) {
	where, err := l.place("200m")
	if errors.Is(err, link.ErrUnsupported) {
		where, err = l.place("loopback")
	}
	if err != nil {
		return results.Figure{}, err
	}
	worst, alone, note := 0.0, 0, ""
	for _, v := range videos() {
		path, err := v.make(ctx, l, l.seconds(v.seconds))
		if err != nil {
			return results.Figure{}, err
		}
		facts, err := input.Measure(path)
		if err != nil {
			return results.Figure{}, err
		}
		bytes, read, err := l.bytesRead(ctx, where, path)
		if err != nil {
			return results.Figure{}, fmt.Errorf("%s: %w", v.name, err)
		}
		over := float64(bytes-facts.Index-free) / float64(facts.Audio)
		if read.Read != "sparse" {
			note += fmt.Sprintf(", %s %s (%s, %.1f times)", v.name, read.Read, read.ReadReason, over)
			continue
		}
		alone++
		worst = max(worst, over)
	}
	if alone == 0 {
		return results.Figure{}, fmt.Errorf("%w: no file was read for its sound alone%s", errNothing, note)
	}
	f := results.Plain(worst, "")
	f.Note = fmt.Sprintf("of %d MP4s, %d were read for their sound alone%s", len(videos()), alone, note)
	return f, nil
}

// bytesRead returns how many bytes one attempt reads, and how it says that it
// read them.
func (l *lab) bytesRead(ctx context.Context, where *place, path string) (int64, conversion.Source, error) {
	c := &counter{path: path}
	s, stop, err := c.serve(ctx, l.network, where.host)
	if err != nil {
		return 0, conversion.Source{}, err
	}
	defer stop()
	mp3 := filepath.Join(l.scratch, "out.mp3")
	_, read, err := transcode(ctx, where.client, l.scratch, s, mp3, nil, nil)
	if err != nil {
		return 0, conversion.Source{}, err
	}
	return c.sent.Load(), read, os.Remove(mp3)
}
