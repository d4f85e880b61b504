package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

const (
	slowCall = 5 * time.Second  // a call of the records that takes longer may have kept reports out
	stopWait = 20 * time.Second // for a launch to be gone, before another look
)

// hearing is the records, and since when reports can be heard and written into
// them. Nothing is heard while a write fails, while this process is stopped or
// its machine sleeps. After a jump of the clock nobody can tell.
type hearing struct {
	conversion.Store
	now     func() time.Time
	lease   time.Duration
	changed func(conversion.Conversion) // called when what its owner takes has changed

	mu     sync.Mutex
	since  time.Time
	failed bool      // the last call
	beat   time.Time // by this process's own clock
	clock  time.Time // at that moment, by now
}

// Update implements conversion.Store.
func (h *hearing) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	began, answered := time.Now(), false
	var before conversion.Use
	c, err := h.Store.Update(ctx, id, func(c *conversion.Conversion) error {
		before = c.Holding().Use()
		err := change(c)
		answered = err != nil
		return err
	})
	if err == nil && c.Holding().Use() != before {
		h.changed(c)
	}
	if answered || errors.Is(err, conversion.ErrNotFound) || errors.Is(err, conversion.ErrNewerFormat) {
		h.called(began, nil)
	} else {
		h.called(began, err)
	}
	return c, err
}

// Due implements conversion.Store. The agenda calls it all the time, also while
// nobody reports.
func (h *hearing) Due(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	began := time.Now()
	due, err := h.Store.Due(ctx, now, limit)
	h.called(began, err)
	return due, err
}

// Lapsed implements conversion.Store. The agenda of attempts calls it all the time.
func (h *hearing) Lapsed(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	began := time.Now()
	lapsed, err := h.Store.Lapsed(ctx, now, limit)
	h.called(began, err)
	return lapsed, err
}

// called notes a call of the records. After one that failed, nothing can be heard
// until the next one that does not.
func (h *hearing) called(began time.Time, err error) {
	if errors.Is(err, context.Canceled) { // whoever called went away
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || h.failed || time.Since(began) > slowCall {
		h.since = h.now()
	}
	h.failed = err != nil
}

// restart says that nothing could be heard until now.
func (h *hearing) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = h.now()
}

// run keeps the beat until ctx is done. A beat that comes too late shows that this
// process did not run, or that the clock was set.
func (h *hearing) run(ctx context.Context) {
	tick := time.NewTicker(h.late() / 4)
	defer tick.Stop()
	for {
		h.mu.Lock()
		h.keep()
		h.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// late is how long no beat may come.
func (h *hearing) late() time.Duration { return max(h.lease/3, time.Second) }

// keep keeps the beat; h.mu is held.
func (h *hearing) keep() {
	beat, clock := time.Now(), h.now()
	ran, passed := beat.Sub(h.beat), clock.Round(0).Sub(h.clock)
	if !h.beat.IsZero() && (ran > h.late() || (passed-ran).Abs() > h.late()) {
		h.since = clock
	}
	h.beat, h.clock = beat, clock.Round(0)
}

// listened reports whether reports have been heard for as long as this.
func (h *hearing) listened(long time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep()
	return !h.now().Before(h.since.Add(long))
}

// quiet remembers since when attempts have been silent whose leases were stale and
// were extended by this process.
type quiet struct {
	mu   sync.Mutex
	seen map[string]spell // by conversion
}

// spell is a time of silence.
type spell struct {
	attempt int
	from    time.Time // when the lease was first found stale
	lease   time.Time // that this process gave; another one means that the attempt has reported
}

// since returns how long an attempt has been silent beyond its lease.
func (q *quiet) since(c conversion.Conversion, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, known := q.seen[c.ID]
	if !known || s.attempt != c.Attempt || !s.lease.Equal(c.LeaseUntil) {
		for id, s := range q.seen { // of attempts that have reported or ended
			if now.Sub(s.lease) > time.Hour {
				delete(q.seen, id)
			}
		}
		s = spell{attempt: c.Attempt, from: now, lease: c.LeaseUntil}
		q.seen[c.ID] = s
	}
	return now.Sub(s.from)
}

// extended notes the lease that this process gave to an attempt.
func (q *quiet) extended(c conversion.Conversion) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s, known := q.seen[c.ID]; known && s.attempt == c.Attempt {
		s.lease = c.LeaseUntil
		q.seen[c.ID] = s
	}
}

// attendRunning looks after an attempt whose lease is stale. An attempt whose
// launch waits for a machine is given another lease, and its record says what it
// waits for. One that has been silent though it runs is stopped and given up. One
// whose launch is gone is lost. Silence counts only if reports could be heard all
// the time.
func (d *Dispatcher) attendRunning(ctx context.Context, c conversion.Conversion) error {
	running, err := d.o.Launcher.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running attempts: %w", err)
	}
	by := c.LaunchRef()
	i := slices.IndexFunc(running, func(a launch.Attempt) bool { return a.AttemptRef == by && c.LaunchedAs(a.Launch) })
	extend := !d.hearing.listened(d.o.Policy.Lease)
	if i >= 0 && !extend {
		now := d.o.Now()
		extend = !d.hearing.listened(d.o.Silence) || now.Before(running[i].Since.Add(d.o.Silence)) ||
			d.quiet.since(c, now) < d.o.Silence-d.o.Policy.Lease
	}
	switch {
	case i >= 0 && running[i].Waiting != "":
		return d.attendWaiting(ctx, c, running[i])
	case extend:
		extended := conversion.Conversion{}
		_, err := d.attendStale(ctx, c, func(c *conversion.Conversion) error {
			err := c.Extend(c.Attempt, d.o.Policy, d.o.Now())
			extended = *c
			return err
		})
		d.quiet.extended(extended)
		return err
	case i >= 0:
		return d.giveUp(ctx, c, running[i])
	}
	made, err := d.attendStale(ctx, c, func(c *conversion.Conversion) error {
		return c.FailAttempt(c.Attempt, lost, conversion.Disrupted, d.o.Policy, d.o.Now())
	})
	if err != nil || !made {
		return err
	}
	d.o.Log.Warn("attempt lost", "conversion_id", c.ID, "attempt", c.Attempt)
	d.metrics.ended.WithLabelValues(endedLost).Inc()
	return d.halt(ctx, by)
}

// attendStale makes a transition of a running attempt whose lease is still stale,
// and reports whether it was made. An attempt that is over by now, or has
// reported, is left alone.
func (d *Dispatcher) attendStale(ctx context.Context, stale conversion.Conversion, change func(*conversion.Conversion) error) (made bool, err error) {
	_, _, err = d.update(ctx, stale.ID, func(c *conversion.Conversion) error {
		made = false
		if c.State != conversion.Running || c.Attempt != stale.Attempt || c.LeaseUntil.After(d.o.Now()) {
			return conversion.ErrUnchanged
		}
		err := change(c)
		made = err == nil
		return err
	})
	if errors.Is(err, conversion.ErrStaleAttempt) {
		err = nil
	}
	return made && err == nil, err
}

// attendWaiting looks after an attempt that was launched and does not run yet. It
// waits as long as it must. But class gpu is a wish: if it waits for too long, it
// is stopped, and goes on in class cpu.
func (d *Dispatcher) attendWaiting(ctx context.Context, c conversion.Conversion, a launch.Attempt) error {
	if c.Class != conversion.GPU || !a.Late {
		_, err := d.attendStale(ctx, c, func(c *conversion.Conversion) error {
			return c.Await(c.Attempt, a.Waiting, d.o.Policy, d.o.Now())
		})
		return err
	}
	defer d.hold(a.AttemptRef)()
	if err := d.stopped(ctx, a.AttemptRef); err != nil {
		return err
	}
	_, err := d.attendStale(ctx, c, func(c *conversion.Conversion) error {
		return c.FailStart(c.Attempt, notStarted, d.o.Policy, d.o.Now())
	})
	return err
}

// giveUp ends an attempt that has been silent for longer than its lease though
// its launch is there.
func (d *Dispatcher) giveUp(ctx context.Context, c conversion.Conversion, a launch.Attempt) error {
	defer d.hold(a.AttemptRef)()
	if err := d.stopped(ctx, a.AttemptRef); err != nil {
		return err
	}
	made, err := d.attendStale(ctx, c, func(c *conversion.Conversion) error {
		return c.GiveUp(c.Attempt, silent, d.o.Policy, d.o.Now())
	})
	if made {
		d.o.Log.Warn("attempt was silent and is given up", "conversion_id", c.ID, "attempt", c.Attempt, "launch", a.AttemptRef)
		d.metrics.ended.WithLabelValues(endedSilent).Inc()
	}
	return err
}

// stopped stops a launch and waits until it is gone.
func (d *Dispatcher) stopped(ctx context.Context, ref conversion.AttemptRef) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	return d.halt(ctx, ref)
}

// hold keeps ended from recording the end of a launch until release is called,
// because whoever stops it knows better what the end means.
func (d *Dispatcher) hold(ref conversion.AttemptRef) (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[ref]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.held[ref]--; d.held[ref] == 0 {
			delete(d.held, ref)
		}
	}
}

// isHeld reports whether hold is in force.
func (d *Dispatcher) isHeld(ref conversion.AttemptRef) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[ref] > 0
}
