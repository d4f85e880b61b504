package main

import (
	"context"
	"path/filepath"

	"tonearm/bench/results"
)

// oneHour compares an hour of audio on two workers with the same on one, and
// with the ffmpeg that is installed. Reading the source takes almost no time.
func oneHour(ctx context.Context, l *lab) (results.Figure, error) {
	const hour = 3600
	where, s, err := l.stored(ctx, "loopback", video{"one hour", hour,
		func(ctx context.Context, l *lab, seconds int) (string, error) { return l.inputs.Audio(ctx, seconds) }})
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	var last used // of two workers
	workers := func(n string) contender {
		return contender{name: n, run: func(ctx context.Context) (float64, error) {
			u, _, err := transcode(ctx, where.client, l.scratch, s, mp3, []string{"GOMAXPROCS=" + n}, nil)
			if err != nil {
				return 0, err
			}
			if n == "2" {
				last = u
			}
			return u.wall, whole(ctx, mp3, float64(l.seconds(hour)))
		}}
	}
	taken, err := alternate(ctx, min(l.rounds, 2), workers("2"), workers("1"),
		contender{name: results.Stock, run: func(ctx context.Context) (float64, error) {
			seconds, err := ffmpeg(ctx, where.client, s.path, mp3)
			if err != nil {
				return 0, err
			}
			return seconds, whole(ctx, mp3, float64(l.seconds(hour)))
		}})
	if err != nil {
		return results.Figure{}, err
	}
	f := compare(taken, "2", "1", "s")
	part, err := l.inputs.Audio(ctx, l.seconds(encodedSeconds))
	if err != nil {
		return results.Figure{}, err
	}
	cpu, err := l.encoder(ctx, part)
	if err != nil {
		return results.Figure{}, err
	}
	f.Floor = results.Plain(cpu*float64(l.seconds(hour))/float64(l.seconds(encodedSeconds))/2, "s").Ours
	f.More = map[string]float64{
		results.Stock: results.Plain(taken[results.Stock].median(), "s").Ours,
		"computing":   results.Plain(last.user, "s").Ours, "kernel": results.Plain(last.system, "s").Ours,
	}
	f.Spread[results.Stock] = taken[results.Stock].spread()
	return f, nil
}
