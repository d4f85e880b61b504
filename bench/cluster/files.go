package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tonearm/bench/stack"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// simulatedImage is an image with this program as `cluster -pod`;
// scripts/scale-test makes it. A source takes one second for every perSecond
// bytes.
const (
	simulatedImage = "localhost/simulated:dev"
	perSecond      = 110e3
)

// classes are the resources of Jobs: small ones, for a node of two cores.
var classes = []string{"--job-classes", "kustomize/overlays/test/job-classes.yaml"}

// sendAll uploads files, several at a time, and returns the ids of their
// conversions.
func sendAll(ctx context.Context, c *client.Client, sources [][]byte) ([]string, error) {
	ids := make([]string, len(sources))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, source := range sources {
		group.Go(func() error {
			made, err := stack.Upload(ctx, c, fmt.Sprintf("%d.mp4", i), bytes.NewReader(source), int64(len(source)))
			ids[i] = made.ID
			return err
		})
	}
	return ids, group.Wait()
}

// work sends files, waits until all are done, and returns how long that took.
func work(ctx context.Context, c *client.Client, sources [][]byte) (time.Duration, error) {
	began := time.Now()
	ids, err := sendAll(ctx, c, sources)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := done(ctx, c, id); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Round(100 * time.Millisecond), nil
}

// done waits until a conversion is done.
func done(ctx context.Context, c *client.Client, id string) error {
	got, err := c.Conversion(ctx, id)
	for err == nil && !got.State.Terminal() {
		got, err = c.Wait(ctx, id, got.Revision)
	}
	if err == nil && got.State != conversion.Done {
		err = fmt.Errorf("conversion %s ended as %s: %w", id, got.State, got.Error)
	}
	return err
}
