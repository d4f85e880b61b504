package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	clockPause      = 30 * time.Second // between two measurements
	clockWrong      = 5 * time.Second  // an offset beyond this is logged
	clockNegligible = 100 * time.Millisecond
)

// Clock is the own clock plus its offset to the clock of the record store, so
// that processes on different machines agree on the time. Leases and windows in
// the records depend on that.
type Clock struct {
	own    func() time.Time
	store  func(context.Context) (time.Time, error)
	log    *slog.Logger
	offset atomic.Int64 // ns to add to the own clock
}

// NewClock returns a clock that follows the one that store reads, and registers
// its metric. Until Measure has succeeded it is the own clock.
func NewClock(store func(context.Context) (time.Time, error), log *slog.Logger, r prometheus.Registerer) (*Clock, error) {
	c := &Clock{own: time.Now, store: store, log: Sparse(log)}
	return c, Register(r, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tonearm_clock_offset_seconds",
		Help: "How far the clock of the record store is ahead of this machine's. Tonearm goes by the store's."},
		func() float64 { return time.Duration(c.offset.Load()).Seconds() }))
}

// Now returns the store's time.
func (c *Clock) Now() time.Time { return c.own().Add(time.Duration(c.offset.Load())) }

// Measure compares the clocks once. The answer's way back is taken to be half of
// the time that the call takes; a difference that may come from that, or that is
// too small to matter, changes nothing.
func (c *Clock) Measure(ctx context.Context) error {
	before := c.own()
	there, err := c.store(ctx)
	if err != nil {
		return fmt.Errorf("ask the record store for the time: %w", err)
	}
	half := c.own().Sub(before) / 2
	offset := there.Sub(before.Add(half))
	if (offset - time.Duration(c.offset.Load())).Abs() > max(half, clockNegligible) {
		c.offset.Store(int64(offset))
	}
	if offset := time.Duration(c.offset.Load()); offset.Abs() > clockWrong {
		c.log.Warn("the clock of this machine is not that of the record store; set it by NTP. Tonearm goes by the store's",
			"store_ahead_seconds", offset.Seconds())
	}
	return nil
}

// Run measures again and again until ctx is done.
func (c *Clock) Run(ctx context.Context) error {
	Repeat(ctx, c.log, "comparing clocks", func(ctx context.Context) error {
		err := limited(c.Measure)(ctx)
		if err == nil {
			Wait(ctx, clockPause)
		}
		return err
	})
	return nil
}
