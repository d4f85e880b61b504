package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/service"
)

// idleLooks is how often launches are looked at within Options.Silence.
const idleLooks = 4

// stopIdle returns a step that stops launches which have carried no attempt for
// Options.Silence and do not end. Otherwise a process that stops for good just
// after its result was taken keeps its place until its deadline.
func (d *Dispatcher) stopIdle() func(context.Context) error {
	since := map[conversion.AttemptRef]time.Time{} // idle launches, and when they were first seen so
	return func(ctx context.Context) error {
		running, err := d.o.Launcher.Running(ctx)
		if err != nil {
			return fmt.Errorf("list running attempts: %w", err)
		}
		now, still := d.o.Now(), map[conversion.AttemptRef]time.Time{}
		for _, a := range running {
			idle, err := d.idle(ctx, a)
			if err != nil {
				return err
			}
			if !idle {
				continue
			}
			first, seen := since[a.AttemptRef]
			if !seen {
				first = now
			}
			still[a.AttemptRef] = first
			if now.Before(first.Add(d.o.Silence)) {
				continue
			}
			d.o.Log.Warn("launch does not end though its attempts are over: stopping it", "conversion_id", a.ConversionID, "attempt", a.Attempt)
			if err := d.stopped(ctx, a.AttemptRef); err != nil {
				return err
			}
			delete(still, a.AttemptRef)
		}
		since = still
		service.Wait(ctx, d.o.Silence/idleLooks)
		return nil
	}
}

// idle reports whether all attempts that a launch has carried are over. It says
// no where the records do not tell: a record names only its last attempt and what
// followed that.
func (d *Dispatcher) idle(ctx context.Context, a launch.Attempt) (bool, error) {
	for ref := a.AttemptRef; ; {
		c, err := d.o.Records.ByID(ctx, ref.ConversionID)
		if errors.Is(err, conversion.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look up %s: %w", ref.ConversionID, err)
		}
		if c.State == conversion.Running || c.Attempt != ref.Attempt || c.LaunchRef() != a.AttemptRef || !c.LaunchedAs(a.Launch) {
			return false, nil
		}
		if c.Next == nil {
			return true, nil
		}
		ref = *c.Next
	}
}
