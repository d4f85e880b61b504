package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// latency measures, in `tonearm up`, the milliseconds from the end of an upload
// to the MP3, minus the time that ffmpeg alone takes for the same file. The
// result is the median over pairs.
func latency(ctx context.Context, l *lab) (results.Figure, error) {
	const pairs = 15
	path, err := l.inputs.MP4(ctx, 30, 2, false)
	if err != nil {
		return results.Figure{}, err
	}
	up, err := stack.Start(ctx, filepath.Join(l.scratch, "up"), "--listen", "127.0.0.1:0")
	if err != nil {
		return results.Figure{}, err
	}
	defer up.Stop()
	c, err := up.Client(ctx, "bench@example.org")
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	taken, err := alternate(ctx, pairs,
		contender{name: "tonearm up", run: func(ctx context.Context) (float64, error) { return convert(ctx, c, path) }},
		contender{name: "ffmpeg", run: func(ctx context.Context) (float64, error) { return ffmpeg(ctx, nil, path, mp3) }})
	if err != nil {
		return results.Figure{}, err
	}
	var over sample
	for i, seconds := range taken["tonearm up"] {
		over = append(over, 1000*(seconds-taken["ffmpeg"][i]))
	}
	f := results.Plain(over.median(), "ms")
	f.Spread = map[string]results.Range{"ours": over.spread()}
	f.More = map[string]float64{"ffmpeg": results.Plain(1000*taken["ffmpeg"].median(), "ms").Ours}
	return f, nil
}

// convert uploads a file with one plain PUT, and returns the seconds from there
// to the MP3. The dispatcher learns of the upload only from the store.
func convert(ctx context.Context, c *client.Client, path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	made, err := stack.Upload(ctx, c, "bench.mp4", f, info.Size())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for !made.State.Terminal() {
		if made, err = c.Wait(ctx, made.ID, made.Revision); err != nil {
			return 0, err
		}
	}
	if made.State != conversion.Done {
		return 0, fmt.Errorf("the conversion is %s", made.State)
	}
	return time.Since(began).Seconds(), nil
}
