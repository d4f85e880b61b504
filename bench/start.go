package main

import (
	"context"

	"tonearm/bench/results"
)

// starts measures how long Tonearm's ffmpeg takes to start, in milliseconds,
// and the installed one.
func starts(ctx context.Context, l *lab) (results.Figure, error) {
	const rounds = 40
	computing := map[string]sample{}
	start := func(name, program string) contender {
		return contender{name: name, run: func(ctx context.Context) (float64, error) {
			u, err := spend(ctx, nil, program, "-version")
			computing[name] = append(computing[name], 1000*(u.user+u.system))
			return 1000 * u.wall, err
		}}
	}
	taken, err := alternate(ctx, rounds, start("ours", l.ffmpeg), start("peer", "ffmpeg"))
	if err != nil {
		return results.Figure{}, err
	}
	f := compare(taken, "ours", "peer", "ms")
	f.More = map[string]float64{
		"cpu":      results.Plain(computing["ours"].median(), "ms").Ours,
		"peer_cpu": results.Plain(computing["peer"].median(), "ms").Ours,
	}
	return f, nil
}
