package main

import (
	"context"
	"path/filepath"

	"tonearm/bench/results"
)

// oneHour compares an hour of audio on two workers with the same on one.
// Reading the source takes almost no time.
func oneHour(ctx context.Context, l *lab) (results.Figure, error) {
	const hour = 3600
	where, s, err := l.stored(ctx, "loopback", video{"one hour", hour,
		func(ctx context.Context, l *lab, seconds int) (string, error) { return l.inputs.Audio(ctx, seconds) }})
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	workers := func(n string) contender {
		return contender{name: n, run: func(ctx context.Context) (float64, error) {
			seconds, _, err := transcode(ctx, where.client, l.scratch, s, mp3, []string{"GOMAXPROCS=" + n}, nil)
			if err != nil {
				return 0, err
			}
			return seconds, whole(ctx, mp3, float64(l.seconds(hour)))
		}}
	}
	taken, err := alternate(ctx, min(l.rounds, 2), workers("2"), workers("1"))
	if err != nil {
		return results.Figure{}, err
	}
	return compare(taken, "2", "1", "s"), nil
}
