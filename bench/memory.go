package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"tonearm/bench/results"
)

// memory measures the most memory that a transcoder uses for a source of 50 GB,
// not counting its ffmpeg.
func memory(ctx context.Context, l *lab) (results.Figure, error) {
	const size, seconds = 50e9, 600
	path, err := l.inputs.Huge(ctx, l.seconds(seconds), size)
	if err != nil {
		return results.Figure{}, err
	}
	c := &counter{path: path}
	s, stop, err := c.serve(ctx, nil, "127.0.0.1")
	if err != nil {
		return results.Figure{}, err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // less than a plain read of the source would take
	defer cancel()
	mp3 := filepath.Join(l.scratch, "out.mp3")
	var w watcher
	if _, _, err := transcode(ctx, nil, l.scratch, s, mp3, nil, w.watch); err != nil {
		return results.Figure{}, err
	}
	f := results.Plain(float64(w.peak["transcoder"])/1000, "MB")
	f.More = map[string]float64{"ffmpeg": results.Plain(float64(w.peak["ffmpeg"])/1000, "MB").Ours}
	f.Note = fmt.Sprintf("%d requests for %.1f MB of the source", c.requests.Load(), float64(c.sent.Load())/1e6)
	return f, whole(ctx, mp3, float64(l.seconds(seconds)))
}

// watcher notes the highest resident memory of a process and its children, by
// program. If several processes of a program run at the same time, it takes
// their sum.
type watcher struct{ peak map[string]int } // kB

// watch measures until stop is called.
func (w *watcher) watch(ctx context.Context, pid int) (stop func()) {
	w.peak = map[string]int{}
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look(pid)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); looking.Wait() }
}

func (w *watcher) look(pid int) {
	now := map[string]int{}
	for _, p := range append(children(pid), pid) {
		name, kb := held(p)
		now[name] += kb
	}
	for name, kb := range now {
		w.peak[name] = max(w.peak[name], kb)
	}
}

var peakLine = regexp.MustCompile(`(?m)^Name:\s+(\S+)(?s:.*)^VmHWM:\s+(\d+) kB`)

// held returns a process's name and its highest resident memory in kB.
func held(pid int) (name string, kb int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) //nolint:gosec // a number; '' once it has ended
	m := peakLine.FindStringSubmatch(string(status))
	if m == nil {
		return "", 0
	}
	kb, _ = strconv.Atoi(m[2])
	return m[1], kb
}

// children lists the processes that a process started.
func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for word := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
