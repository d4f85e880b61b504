package notifier

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage tells once when a neighbour goes away and once when it is back, for
// all workers together.
type outage struct {
	neighbour string
	log       *slog.Logger

	mu    sync.Mutex
	since time.Time // zero while it is there
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
		o.log.Error("neighbour cannot be used; waiting for it", "neighbour", o.neighbour, "error", err)
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.log.Info("neighbour is back", "neighbour", o.neighbour, "after", time.Since(o.since).Round(time.Millisecond))
		o.since = time.Time{}
	}
}

// backoff doubles from first up to most; n counts from 1.
func backoff(n int, first, most time.Duration) time.Duration {
	return min(first<<min(max(n-1, 0), 20), most)
}

// pause waits; it reports false at once when ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
