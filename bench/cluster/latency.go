package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/launch/kubelaunch"
)

// measureLatency measures the time from a finished upload to the pod of its
// attempt, and for KEDA the time from a message to the pod of its worker.
// Nothing else runs on the node meanwhile.
func measureLatency(ctx context.Context, n *node) (_ map[string]results.Figure, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k, err := n.startKEDA(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	if err := k.scale(ctx, scaledJob{Name: "fast", Poll: fastest, Max: 10, Strategy: "default"}); err != nil {
		return nil, err
	}
	workers, err := n.watchPods(ctx, kedaNamespace, listLabel)
	if err != nil {
		return nil, err
	}
	up, err := n.start(ctx, "latency", simulatedImage, classes...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stop(ctx, up)) }()
	pods, err := n.watchPods(ctx, namespace, kubelaunch.LabelConversion)
	if err != nil {
		return nil, err
	}
	c, err := up.Client(ctx, "latency@example.org")
	if err != nil {
		return nil, err
	}

	var ours, fast []float64
	for i := range max(50/n.shorten, 2) {
		if err := n.idle(ctx); err != nil {
			return nil, err
		}
		made, err := stack.Upload(ctx, c, fmt.Sprintf("%d.mp4", i), bytes.NewReader([]byte{0}), 1)
		if err != nil {
			return nil, err
		}
		uploaded := time.Now()
		created, err := pods.next(ctx, made.ID, 0)
		if err != nil {
			return nil, err
		}
		ours = append(ours, milliseconds(created.Sub(uploaded)))

		if err := n.idle(ctx); err != nil {
			return nil, err
		}
		if err := pause(ctx, time.Duration(rand.Float64()*fastest*float64(time.Second))); err != nil {
			return nil, err
		}
		before := len(workers.of("fast"))
		pushed, err := k.push(ctx, "fast", 1)
		if err != nil {
			return nil, err
		}
		created, err = workers.next(ctx, "fast", before)
		if err != nil {
			return nil, err
		}
		fast = append(fast, milliseconds(created.Sub(pushed)))
	}
	slow, err := k.slow(ctx, workers, max(12/n.shorten, 2))
	if err != nil {
		return nil, err
	}

	event := results.Against(quantile(ours, .5), quantile(fast, .5), "ms")
	event.More = map[string]float64{"p99": quantile(ours, .99), "keda_p99": quantile(fast, .99)}
	event.Note = fmt.Sprintf("%d files, one at a time on an idle node, from the end of the upload to the pod; "+
		"KEDA %s, which polls each second at its fastest, from a message in its list: it is spared the store's event", len(ours), kedaVersion)
	keda := results.Plain(quantile(fast, .5), "ms")
	keda.More = map[string]float64{"p99": quantile(fast, .99), "default_p50": quantile(slow, .5), "default_p99": quantile(slow, .99)}
	keda.Note = fmt.Sprintf("from a message in a Redis list to the pod, KEDA %s polling each second (%d files); default: each 30 s (%d files)",
		kedaVersion, len(fast), len(slow))
	return map[string]results.Figure{"dispatch.event_to_pod_p50_ms": event, "dispatch.keda_p50_ms": keda}, nil
}

// slow measures KEDA at its default polling interval. Each message has a list
// of its own, because all lists are polled at about the same moment. One
// message comes in each part of the interval, at a random moment within the
// part.
func (k *keda) slow(ctx context.Context, workers *seen, files int) ([]float64, error) {
	names := make([]string, files)
	for i := range names {
		names[i] = fmt.Sprintf("slow-%d", i)
		if err := k.scale(ctx, scaledJob{Name: names[i], Poll: byDefault, Max: 10, Strategy: "default"}); err != nil {
			return nil, err
		}
	}
	began, pushed := time.Now(), make([]time.Time, files)
	for i, name := range names {
		at := began.Add(time.Duration((float64(i) + rand.Float64()) / float64(files) * byDefault * float64(time.Second)))
		if err := pause(ctx, time.Until(at)); err != nil {
			return nil, err
		}
		var err error
		if pushed[i], err = k.push(ctx, name, 1); err != nil {
			return nil, err
		}
	}
	took := make([]float64, files)
	for i, name := range names {
		created, err := workers.next(ctx, name, 0)
		if err != nil {
			return nil, err
		}
		took[i] = milliseconds(created.Sub(pushed[i]))
	}
	return took, nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile returns the value below which q tenths of the values lie.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return math.Round(10*sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]) / 10
}
