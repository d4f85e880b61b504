package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"tonearm/bench/results"
)

// burstOf is what was measured of a burst of files.
type burstOf struct {
	jobs, idle, seconds float64 // Jobs made, and how many of them found nothing to do
}

// measureBurst counts the Jobs that a burst of files makes, with Tonearm and
// with KEDA. Both run the same number of Jobs at a time, and each file is a
// second's work.
func measureBurst(ctx context.Context, n *node) (_ map[string]results.Figure, err error) {
	const most = 10
	files := max(100/n.shorten, 10)
	ours, err := n.burst(ctx, files, most)
	if err != nil {
		return nil, err
	}
	k, err := n.startKEDA(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	byStrategy := map[string]burstOf{}
	for _, strategy := range []string{"default", "accurate"} {
		if byStrategy[strategy], err = k.burst(ctx, strategy, files, most); err != nil {
			return nil, err
		}
	}
	each := func(b burstOf) float64 { return b.jobs / float64(files) }
	accurate, standard := byStrategy["accurate"], byStrategy["default"]
	f := results.Against(each(ours), each(accurate), "")
	f.More = map[string]float64{"keda_default": each(standard),
		"keda_accurate_found_nothing": accurate.idle, "keda_default_found_nothing": standard.idle,
		"seconds": ours.seconds, "keda_accurate_seconds": accurate.seconds, "keda_default_seconds": standard.seconds}
	f.Note = fmt.Sprintf("Jobs made for each of %d files that come at once, at most %d at a time, a second's work each; KEDA %s polling each second, strategies accurate and default",
		files, most, kedaVersion)
	return map[string]results.Figure{"dispatch.jobs_per_file_burst": f}, nil
}

// burst sends a burst through Tonearm.
func (n *node) burst(ctx context.Context, files, most int) (_ burstOf, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := n.start(ctx, "burst", simulatedImage, append([]string{"--max-jobs", fmt.Sprint(most)}, classes...)...)
	if err != nil {
		return burstOf{}, err
	}
	defer func() { err = errors.Join(err, n.stop(ctx, up)) }()
	jobs, err := n.watchJobs(ctx, namespace, "app.kubernetes.io/name")
	if err != nil {
		return burstOf{}, err
	}
	c, err := up.Client(ctx, "burst@example.org")
	if err != nil {
		return burstOf{}, err
	}
	sources := make([][]byte, files)
	for i := range sources {
		sources[i] = make([]byte, perSecond)
	}
	took, err := work(ctx, c, sources)
	if err != nil {
		return burstOf{}, err
	}
	return burstOf{jobs: float64(len(jobs.of("tonearm"))), seconds: took.Seconds()}, n.idle(ctx)
}

// burst sends a burst through KEDA.
func (k *keda) burst(ctx context.Context, strategy string, files, most int) (burstOf, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs, err := k.node.watchJobs(ctx, kedaNamespace, "scaledjob.keda.sh/name")
	if err != nil {
		return burstOf{}, err
	}
	if err := k.scale(ctx, scaledJob{Name: strategy, Poll: fastest, Max: most, Strategy: strategy}); err != nil {
		return burstOf{}, err
	}
	pushed, err := k.push(ctx, strategy, files)
	if err != nil {
		return burstOf{}, err
	}
	err = await(ctx, 10*time.Minute, "KEDA's workers", func(ctx context.Context) (bool, error) {
		n, err := k.redis.Get(ctx, strategy+":done").Int()
		if errors.Is(err, redis.Nil) {
			return false, nil
		}
		return n == files, err
	})
	took := time.Since(pushed).Round(100 * time.Millisecond)
	if err == nil {
		err = k.node.idle(ctx)
	}
	if err != nil {
		return burstOf{}, err
	}
	idle, err := k.redis.Get(ctx, strategy+":nothing").Float64()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return burstOf{jobs: float64(len(jobs.of(strategy))), idle: idle, seconds: took.Seconds()}, err
}
