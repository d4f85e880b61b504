package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tonearm/bench/results"
)

// gauges are the dispatcher's gauges that are drawn, in the order of the
// columns. The first column is the number of seconds since the burst began.
var gauges = []string{"tonearm_queue_work_seconds", "tonearm_attempts_allowed", "tonearm_attempts_running", "tonearm_attempts_limit", "tonearm_queue_oldest_seconds"}

// measureScaling sends a burst of files whose sizes differ up to 1:100. It
// measures how long it takes until all are done, as a multiple of --target. The
// dispatcher's gauges during the burst go to scaling.csv beside the figures.
func measureScaling(ctx context.Context, n *node) (_ map[string]results.Figure, err error) {
	const target, most, smallest, largest = 4 * time.Minute, 12, 20e3, 2e6
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := n.start(ctx, "scaling", simulatedImage, append([]string{"--target", target.String(), "--max-jobs", fmt.Sprint(most)}, classes...)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stop(ctx, up)) }()
	jobs, err := n.watchJobs(ctx, namespace, "app.kubernetes.io/name")
	if err != nil {
		return nil, err
	}
	c, err := up.Client(ctx, "scaling@example.org")
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	asleep := 0. // seconds
	sources := make([][]byte, max(200/n.shorten, 10))
	for i := range sources {
		sources[i] = make([]byte, int(smallest*math.Pow(largest/smallest, random.Float64())))
		asleep += float64(len(sources[i])) / perSecond
	}

	sampling, enough := context.WithCancel(ctx)
	sampled := make(chan [][]float64, 1)
	go func() { sampled <- sample(sampling, time.Second) }()
	took, err := work(ctx, c, sources)
	enough()
	samples := <-sampled
	if err != nil {
		return nil, err
	}
	if len(samples) == 0 {
		return nil, errors.New("the dispatcher's gauges could not be read")
	}
	if err := write(filepath.Join(filepath.Dir(n.out), "scaling.csv"), samples); err != nil {
		return nil, err
	}

	more := map[string]float64{"target_s": target.Seconds(), "drained_s": took.Seconds(), "jobs": float64(len(jobs.of("tonearm"))),
		"simulated_s": asleep}
	for _, s := range samples {
		more["predicted_s"] = max(more["predicted_s"], s[1])
		more["most_allowed"] = max(more["most_allowed"], s[2])
		more["most_running"] = max(more["most_running"], s[3])
	}
	f := results.Plain(took.Seconds()/target.Seconds(), "")
	f.More = more
	f.Note = fmt.Sprintf("%d files in one burst, %.0f kB to %.1f MB, simulated: the largest takes %.0f s besides its pod's start; --target %s, --max-jobs %d",
		len(sources), smallest/1e3, largest/1e6, largest/perSecond, target, most)
	return map[string]results.Figure{"scaling.drained_over_target": f}, nil
}

// sample reads the gauges at this interval until ctx ends.
func sample(ctx context.Context, every time.Duration) (samples [][]float64) {
	began := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if values, err := scrape(ctx); err == nil { // a late answer leaves a gap
			samples = append(samples, append([]float64{time.Since(began).Seconds()}, values...))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return samples
		}
	}
}

// scrape reads the gauges of class cpu.
func scrape(ctx context.Context) ([]float64, error) {
	page, err := adminMetrics(ctx)
	if err != nil {
		return nil, err
	}
	return parse(bytes.NewReader(page))
}

// parse reads the gauges from Prometheus's text.
func parse(text io.Reader) ([]float64, error) {
	values, found := make([]float64, len(gauges)), 0
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		for i, name := range gauges {
			if value, ok := strings.CutPrefix(lines.Text(), name+`{class="cpu",service="dispatcher"} `); ok {
				if _, err := fmt.Sscan(value, &values[i]); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				found++
			}
		}
	}
	if found != len(gauges) {
		return nil, errors.Join(errors.New("a gauge is missing"), lines.Err())
	}
	return values, nil
}

// write makes a table of samples.
func write(path string, samples [][]float64) error {
	var b strings.Builder
	fmt.Fprintf(&b, "seconds,%s\n", strings.Join(gauges, ","))
	for _, s := range samples {
		for i, v := range s {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%.4g", v)
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(path, []byte(b.String()), 0o644) //nolint:gosec // for everybody
}
