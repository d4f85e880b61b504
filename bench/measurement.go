package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tonearm/bench/link"
	"tonearm/bench/results"
)

// measurement is one figure and the way to measure it.
type measurement struct {
	name  string
	take  func(ctx context.Context, l *lab) (results.Figure, error)
	asked bool // it is taken only where its name is asked for
}

// measurements lists all, in the order in which they are taken.
func measurements() []measurement {
	return slices.Concat(
		[]measurement{{name: "bench.machine", take: machine}},
		sources(),
		[]measurement{
			{name: "source.bytes_over_audio", take: bytesOverAudio},
			{name: "encode.one_hour_2_workers", take: oneHour},
			{name: "ffmpeg.start_ms", take: starts},
			{name: "short.100_clips", take: clips},
			{name: "latency.overhead_p50_ms", take: latency},
			{name: "memory.source_50gb_mb", take: memory},
			{name: "gateway.creates_per_s", take: creates},
		},
		sends())
}

func printNames(w io.Writer) error {
	for _, m := range measurements() {
		if _, err := fmt.Fprintln(w, m.name); err != nil {
			return err
		}
	}
	return nil
}

// selected returns the measurements whose names begin with one of only; if that is
// empty, all that need not be asked for.
func selected(all []measurement, only []string) ([]measurement, error) {
	if len(only) == 0 {
		return slices.DeleteFunc(all, func(m measurement) bool { return m.asked }), nil
	}
	for _, beginning := range only {
		if !slices.ContainsFunc(all, func(m measurement) bool { return strings.HasPrefix(m.name, beginning) }) {
			return nil, fmt.Errorf("no figure's name begins with %q; -list prints them", beginning)
		}
	}
	return slices.DeleteFunc(all, func(m measurement) bool {
		return !slices.ContainsFunc(only, func(beginning string) bool { return strings.HasPrefix(m.name, beginning) })
	}), nil
}

// measure takes the requested measurements and writes each to the file at once.
// If one fails, the others are still taken.
func measure(ctx context.Context, o options) (err error) {
	todo, err := selected(measurements(), o.only)
	if err != nil {
		return err
	}
	l, err := openLab(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var failed []string
	for _, m := range todo {
		began := time.Now()
		f, err := m.take(ctx, l)
		if ctx.Err() != nil {
			return errors.New("interrupted; what was measured before is kept")
		}
		if errors.Is(err, link.ErrUnsupported) || errors.Is(err, errNothing) {
			fmt.Printf("%-28s not measured: %v\n", m.name, err)
			continue
		}
		if err != nil {
			fmt.Printf("%-28s failed: %v\n", m.name, err)
			failed = append(failed, m.name)
			continue
		}
		var missed string
		if met, set := f.Goal(m.name); set && !met {
			missed = "  GOAL MISSED"
		}
		fmt.Printf("%-28s %s%s  (took %.0f s)\n", m.name, f, missed, time.Since(began).Seconds())
		if err := results.Merge(o.out, map[string]results.Figure{m.name: f}); err != nil {
			return err
		}
	}
	if failed != nil {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// errNothing means that there was nothing to measure.
var errNothing = errors.New("nothing to measure")
