package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"tonearm/bench/input"
	"tonearm/bench/results"
)

// measureShort converts many short clips, once with a Job for each clip, and
// once with Jobs that go on with further clips.
func measureShort(ctx context.Context, n *node) (map[string]results.Figure, error) {
	const many = 50
	inputs, err := input.Open(n.scratch)
	if err != nil {
		return nil, err
	}
	path, err := inputs.Clip(ctx)
	if err != nil {
		return nil, err
	}
	clip, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	clips := slices.Repeat([][]byte{clip}, max(300/n.shorten, 10))
	one, jobsOfOne, err := n.short(ctx, clips, 1)
	if err != nil {
		return nil, err
	}
	ours, jobs, err := n.short(ctx, clips, many)
	if err != nil {
		return nil, err
	}
	f := results.Rate(ours, one, "files/min")
	f.More = map[string]float64{"jobs": jobs, "peer_jobs": jobsOfOne}
	f.Note = fmt.Sprintf("%d clips of 5 s, 3 Jobs at a time; up to %d files a Job against one", len(clips), many)
	return map[string]results.Figure{"short.files_per_minute": f}, nil
}

// short returns how many files were done in a minute, and the number of Jobs.
func (n *node) short(ctx context.Context, clips [][]byte, perJob int) (rate, made float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := n.start(ctx, fmt.Sprintf("short-%d", perJob), "tonearm/transcoder:dev",
		append([]string{"--max-jobs", "3", "--max-files-per-job", fmt.Sprint(perJob)}, classes...)...)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, n.stop(ctx, up)) }()
	jobs, err := n.watchJobs(ctx, namespace, "app.kubernetes.io/name")
	if err != nil {
		return 0, 0, err
	}
	c, err := up.Client(ctx, "short@example.org")
	if err != nil {
		return 0, 0, err
	}
	took, err := work(ctx, c, clips)
	return float64(len(clips)) / took.Minutes(), float64(len(jobs.of("tonearm"))), err
}
