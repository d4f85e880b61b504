package notifier

import (
	"log/slog"
	"sync"
	"time"
)

// outage logs once when a neighbour goes down and once when it is back, for all
// workers together.
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
		o.log.Error("cannot reach a service that this one needs; waiting for it", "neighbour", o.neighbour, "error", err)
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.log.Info("the service is back", "neighbour", o.neighbour, "after", time.Since(o.since).Round(time.Millisecond))
		o.since = time.Time{}
	}
}
