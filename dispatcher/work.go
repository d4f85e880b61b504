package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

const (
	launchLease   = 30 * time.Second // to begin and launch one attempt; a dispatcher that dies then costs as long
	workTime      = time.Minute      // for other work on one record; also the lease of a stop, which waits until its attempt is gone
	takeWait      = 5 * time.Second  // longest wait for a wake-up, in case one is lost
	stopTakers    = 4                // several, because a stop waits until its attempt is gone
	maxDeliveries = 20               // of one message; after these a failing launch is not tried again
	failedPause   = time.Second      // before a message that failed comes again
	busyPause     = 2 * time.Second  // before asking a full launcher again, unless an attempt ends
	scalePause    = time.Second      // before the number of attempts is decided anew

	// newerPause is the pause before a message comes again that only a newer
	// version can handle.
	newerPause = 10 * time.Second
)

// consume takes the next message of a class and handles it.
func (d *Dispatcher) consume(ctx context.Context, class queue.Class, lease time.Duration, handle func(context.Context, queue.Delivery) error) error {
	delivery, err := d.o.Queue.Take(ctx, class, lease, takeWait)
	if errors.Is(err, queue.ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.handle(ctx, delivery, lease, handle)
}

// handle handles a message within its lease. What handle has begun outlives ctx. A
// message that was handled is acknowledged. After launch.ErrBusy, which is returned,
// the message stays the next one. After any other error it comes again after a
// pause. A message about a record of a newer format is left to a newer version.
func (d *Dispatcher) handle(ctx context.Context, delivery queue.Delivery, lease time.Duration, handle func(context.Context, queue.Delivery) error) (err error) {
	ctx, cancel := detached(ctx, lease)
	defer cancel()
	handled := handle(ctx, delivery)
	switch {
	case handled == nil:
		err = d.o.Queue.Ack(ctx, delivery)
	case errors.Is(handled, conversion.ErrNewerFormat):
		err = d.o.Queue.Return(ctx, delivery, newerPause)
		handled = nil
	case errors.Is(handled, launch.ErrBusy):
		err = d.o.Queue.Return(ctx, delivery, 0)
	default:
		_ = d.o.Queue.Return(ctx, delivery, failedPause) // if that fails, its lease ends
	}
	if err != nil && !errors.Is(err, queue.ErrLeaseLost) { // with ErrLeaseLost somebody else has it, and the record fences the attempt
		return err
	}
	return handled
}

// work launches the next attempt of class as soon as there is room for it.
func (d *Dispatcher) work(ctx context.Context, class conversion.Class) error {
	delivery, err := d.nextTurn(ctx, class)
	if errors.Is(err, queue.ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	freed := d.nextFreed()
	err = d.handle(ctx, delivery, launchLease, d.launch)
	if errors.Is(err, launch.ErrBusy) {
		return awaitFreed(ctx, freed, busyPause)
	}
	return err
}

// nextTurn takes the next message of class, once there is room for its attempt. Where
// one owner holds all the room, a message of another one is taken beside it: attempts
// may last for hours, and are not begun again for somebody else's. Where only one may
// run, it is one.
func (d *Dispatcher) nextTurn(ctx context.Context, class conversion.Class) (queue.Delivery, error) {
	for {
		freed := d.nextFreed()
		running, err := d.running(ctx, class)
		if err != nil {
			return queue.Delivery{}, err
		}
		allowed, err := d.allowed(ctx, class, running)
		if err != nil {
			return queue.Delivery{}, err
		}
		s, err := d.shares(ctx, class, running)
		if err != nil {
			return queue.Delivery{}, err
		}
		if len(running) < allowed {
			return d.o.Queue.Take(ctx, queue.Class(class), launchLease, takeWait, s.full...)
		}
		if len(running) == allowed && s.all != "" && d.o.MaxJobs[class] > 1 && d.breakers[class].stopped() == "" {
			delivery, err := d.o.Queue.TakeOther(ctx, queue.Class(class), s.all, launchLease)
			if !errors.Is(err, queue.ErrEmpty) {
				return delivery, err
			}
		}
		if err := awaitFreed(ctx, freed, scalePause); err != nil {
			return queue.Delivery{}, err
		}
	}
}

// nextFreed returns a channel that is closed when the next attempt ends.
func (d *Dispatcher) nextFreed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.freed
}

func awaitFreed(ctx context.Context, freed <-chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-freed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// launch begins the attempt that the delivery asks for and starts it. After an
// error, including launch.ErrBusy, the message is still needed.
func (d *Dispatcher) launch(ctx context.Context, delivery queue.Delivery) error {
	n, now := delivery.Attempt, d.o.Now()
	ref := conversion.AttemptRef{ConversionID: delivery.ConversionID, Attempt: n}
	c, err := d.begin(ctx, ref, delivery.Class)
	switch {
	case errors.Is(err, conversion.ErrNotFound), errors.Is(err, conversion.ErrStaleAttempt):
		return nil // canceled, deleted, in another class by now, or begun and ended before
	case err != nil:
		return fmt.Errorf("begin attempt %d of %s: %w", n, delivery.ConversionID, err)
	case c.Nonce != "":
		return nil // it was launched: somebody has claimed it
	}
	err = d.o.Launcher.Start(ctx, launch.Spec{
		AttemptRef: ref, Launch: c.Launch, Class: c.Class, Token: d.o.AttemptKey.Token(c.ID, n),
		SourceSize: d.launchSize(c.Object.Size), Deadline: deadline(d.launchSize(c.Object.Size)),
	})
	if errors.Is(err, launch.ErrBusy) {
		return d.postpone(ctx, c)
	}
	if errors.Is(err, launch.ErrUnwell) { // whatever is launched now fails, so nothing is
		d.o.Log.Warn("no attempt can be started, trying again later", "conversion_id", c.ID, "attempt", n, "error", err)
		d.metrics.faults.WithLabelValues(string(c.Class), string(conversion.FaultLauncher)).Inc()
		d.faulty(c.Class, "", conversion.FaultLauncher)
		return d.postpone(ctx, c)
	}
	if err != nil && delivery.Count >= maxDeliveries {
		_, err := d.failAttempt(ctx, ref, d.failure(ref, c.Launch, notStarted, conversion.Counted))
		return err
	}
	if err != nil {
		return fmt.Errorf("launch attempt %s: %w", ref, err)
	}
	d.breakers[c.Class].started(now)
	d.pace[c.Class].began(ref, c.OwnerID, c.Object.Size, now)
	d.o.Log.Info("attempt launched", "conversion_id", c.ID, "attempt", n, "class", c.Class)
	d.metrics.launched.WithLabelValues(string(c.Class)).Inc()
	return nil
}

// begin begins an attempt for a launch. If it has begun before and was not
// claimed, whoever began it may be dead; the attempt gets another launch then,
// unless the launcher has it.
func (d *Dispatcher) begin(ctx context.Context, ref conversion.AttemptRef, class queue.Class) (conversion.Conversion, error) {
	running, err := d.o.Launcher.Running(ctx)
	if err != nil {
		return conversion.Conversion{}, fmt.Errorf("list running attempts: %w", err)
	}
	has := slices.ContainsFunc(running, func(a launch.Attempt) bool { return a.AttemptRef == ref })
	return d.outbox.Update(ctx, ref.ConversionID, func(c *conversion.Conversion) error {
		if queue.Class(c.Class) != class {
			return conversion.ErrStaleAttempt
		}
		err := c.Begin(ref.Attempt, d.o.Policy, d.o.Now())
		if errors.Is(err, conversion.ErrUnchanged) && !has {
			err = c.Relaunch(ref.Attempt, d.o.Now())
		}
		return err
	})
}

// postpone takes back the beginning of an attempt that there was no room for,
// and returns launch.ErrBusy. If the conversion has waited long enough for a
// GPU, it is moved to class cpu instead; then postpone returns nil, and the
// message has done its work.
func (d *Dispatcher) postpone(ctx context.Context, begun conversion.Conversion) error {
	c, _, err := d.update(ctx, begun.ID, func(c *conversion.Conversion) error {
		now := d.o.Now()
		if !c.LaunchedAs(begun.Launch) { // somebody else has begun it again
			return conversion.ErrStaleAttempt
		}
		if err := c.Postpone(begun.Attempt, now); err != nil || !d.waitedForGPU(*c) {
			return err
		}
		return c.FallBack(conversion.FallbackWaited, now)
	})
	switch {
	case err != nil && !errors.Is(err, conversion.ErrStaleAttempt):
		return fmt.Errorf("postpone attempt %d of %s: %w", begun.Attempt, begun.ID, err)
	case err == nil && c.Class != begun.Class:
		return nil
	}
	return launch.ErrBusy
}

// waitedForGPU reports whether c is of class gpu and has waited long enough to
// go on without a GPU. The wait begins when c is queued first, and again with
// the owner's retry.
func (d *Dispatcher) waitedForGPU(c conversion.Conversion) bool {
	return c.Class == conversion.GPU && d.o.Now().Sub(c.QueuedAt) >= d.o.GPUWait
}

// divert moves the next conversion that waits for a GPU to class cpu, because
// this installation has no GPUs.
func (d *Dispatcher) divert(ctx context.Context) error {
	return d.consume(ctx, queue.GPU, launchLease, func(ctx context.Context, delivery queue.Delivery) error {
		_, _, err := d.update(ctx, delivery.ConversionID, func(c *conversion.Conversion) error {
			return c.FallBack(conversion.FallbackOff, d.o.Now())
		})
		if err != nil && !errors.Is(err, conversion.ErrNotFound) {
			return fmt.Errorf("move %s to class cpu: %w", delivery.ConversionID, err)
		}
		return nil
	})
}

// deadline returns how long an attempt may take for a source of this many
// bytes: the time to read it at 4 MiB/s, and a quarter of an hour more, which
// suffices for an hour of audio at a tenth of the usual speed. It is at most 24
// hours.
func deadline(size int64) time.Duration {
	d := 15*time.Minute + time.Duration(size/(4<<20))*time.Second
	return min(d, 24*time.Hour)
}

// stops ends launches whose conversion was canceled or deleted.
func (d *Dispatcher) stops(ctx context.Context) error {
	return d.consume(ctx, queue.Stop, workTime, func(ctx context.Context, delivery queue.Delivery) error {
		if delivery.Count > maxDeliveries {
			return nil // if the stop fails, CleanAt of the record makes up for it
		}
		return d.halt(ctx, conversion.AttemptRef{ConversionID: delivery.ConversionID, Attempt: delivery.Attempt})
	})
}

func (d *Dispatcher) halt(ctx context.Context, ref conversion.AttemptRef) error {
	if err := d.o.Launcher.Stop(ctx, ref); err != nil {
		return fmt.Errorf("stop attempt %s: %w", ref, err)
	}
	return nil
}

// ended handles the end of a launch. An attempt that has reported is over
// already; for any other the reason decides.
func (d *Dispatcher) ended(ctx context.Context, e launch.End) {
	ctx, cancel := detached(ctx, workTime)
	defer cancel()
	if e.Reason == launch.Exited && e.ExitCode == attempt.ExitFault { // the next one starts once it is known whether it should
		defer d.free()
	} else {
		d.free()
	}
	d.metrics.ended.WithLabelValues(string(e.Reason)).Inc()
	level := slog.LevelWarn
	if e.Reason == launch.Exited || e.Reason == launch.Stopped { // it has reported, or was stopped on request
		level = slog.LevelDebug
	}
	// The detail is meant for the operator, not for the owner.
	d.o.Log.Log(ctx, level, "launch ended", "conversion_id", e.ConversionID, "attempt", e.Attempt,
		"reason", e.Reason, "exit_code", e.ExitCode, "detail", e.Detail)
	for _, p := range d.pace {
		p.over(e.AttemptRef, d.o.Now(), e.Reason == launch.Exited && e.ExitCode == attempt.ExitDone)
	}
	if d.isHeld(e.AttemptRef) {
		return
	}
	failure, outcome := reasonOf(e)
	c, err := d.failAttempt(ctx, e.AttemptRef, d.failure(e.AttemptRef, e.Launch, failure, outcome))
	d.judge(e, c)
	if ours := c.Attempt != e.Attempt || c.LaunchedAs(e.Launch); ours && err == nil && (e.Reason != launch.Exited || e.ExitCode != attempt.ExitDone) {
		err = d.failCarried(ctx, e.AttemptRef, c)
	}
	if err == nil {
		err = d.halt(ctx, e.AttemptRef)
	}
	if err != nil { // the agenda finds it when its lease has ended
		d.o.Log.Error("could not record the end of an attempt", "conversion_id", e.ConversionID, "attempt", e.Attempt, "error", err)
	}
}

// free wakes whoever waits for an attempt to end.
func (d *Dispatcher) free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.freed)
	d.freed = make(chan struct{})
}

// failure is the transition of an attempt whose launch ended without a result. If
// the attempt belongs to another launch, the end changes nothing.
func (d *Dispatcher) failure(ref conversion.AttemptRef, launch string, f conversion.Failure, o conversion.Outcome) func(*conversion.Conversion) error {
	return func(c *conversion.Conversion) error {
		if !c.LaunchedAs(launch) {
			return conversion.ErrStaleAttempt
		}
		if f.Code == conversion.CodeLaunchFailed {
			return c.FailStart(ref.Attempt, f, d.o.Policy, d.o.Now())
		}
		return c.FailAttempt(ref.Attempt, f, o, d.o.Policy, d.o.Now())
	}
}

// failAttempt calls fail to record that an attempt ended without a result, and
// returns the record. An attempt that is no longer current is left as it is.
func (d *Dispatcher) failAttempt(ctx context.Context, ref conversion.AttemptRef, fail func(*conversion.Conversion) error) (conversion.Conversion, error) {
	c, changed, err := d.update(ctx, ref.ConversionID, fail)
	if errors.Is(err, conversion.ErrStaleAttempt) || errors.Is(err, conversion.ErrNotFound) ||
		errors.Is(err, conversion.ErrNewerFormat) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("fail attempt %s: %w", ref, err)
	}
	if changed {
		d.o.Log.Warn("attempt failed", "conversion_id", c.ID, "attempt", ref.Attempt, "code", c.Error.Code, "state", c.State)
	}
	return c, nil
}
