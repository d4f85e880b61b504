package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

const (
	shortFile      = 64 << 20        // bytes of the largest source that every launch which may go on has room for
	carriedReports = 2 * time.Second // longest pause between two reports of a carried attempt
)

// launchSize returns the size of the largest source that a launch has room for;
// size is the size of its own source. Both are in bytes.
func (d *Dispatcher) launchSize(size int64) int64 {
	if d.o.MaxFilesPerJob > 1 {
		return max(size, shortFile)
	}
	return size
}

// next gives another file of the same owner and class to the process that
// reported the end of attempt n of c, if it asks for one and its launch may go
// on.
//
// First the record of the attempt that is over gets the next attempt. Then the
// record of the next attempt says that it runs, claimed by the nonce that
// asked. Whatever is lost after either step, the same result sent again leads
// to the same file. A file that was named and not begun is begun by whoever
// takes its message next.
func (d *Dispatcher) next(ctx context.Context, c conversion.Conversion, n int, result attempt.Result) (*attempt.Next, error) {
	if result.NextNonce == "" || c.Attempt != n {
		return nil, nil
	}
	by := d.carrier(c)
	if c.Next != nil { // the answer was lost
		return d.carry(ctx, c, result.NextNonce, by)
	}
	if !d.mayGoOn(c, by) {
		return nil, nil
	}
	delivery, found, err := d.takeNext(ctx, c, by)
	if !found || err != nil {
		return nil, err
	}
	next, err := d.passOn(ctx, c, result, by, delivery)
	ctx, cancel := detached(ctx, workTime)
	defer cancel()
	if next != nil && next.Assignment.ConversionID == delivery.ConversionID {
		_ = d.o.Queue.Ack(ctx, delivery) // if that fails, it is taken again, and the record says that the attempt has begun
	} else {
		_ = d.o.Queue.Return(ctx, delivery, 0) // if that fails, its lease ends
	}
	return next, err
}

// carrier is the launch of c's attempt as it is when it carries one more.
func (d *Dispatcher) carrier(c conversion.Conversion) conversion.Carrier {
	if c.Carrier != nil {
		by := *c.Carrier
		by.Files++
		return by
	}
	size := d.launchSize(c.Object.Size)
	return conversion.Carrier{Launch: c.LaunchRef(), Files: 2, Size: size, Until: c.StartedAt.Add(deadline(size))}
}

// mayGoOn reports whether the launch of c's attempt may carry one more file:
// even the largest that it has room for must end well before its deadline.
func (d *Dispatcher) mayGoOn(c conversion.Conversion, by conversion.Carrier) bool {
	left := by.Until.Sub(d.o.Now())
	return by.Files <= d.o.MaxFilesPerJob && 2*d.pace[c.Class].of(1, by.Size) < left
}

// takeNext takes the message of the next attempt for a launch. It drops
// messages that are out of date. If the queue is down, the launch does not
// wait: it ends.
func (d *Dispatcher) takeNext(ctx context.Context, c conversion.Conversion, by conversion.Carrier) (_ queue.Delivery, found bool, err error) {
	for {
		delivery, err := d.o.Queue.TakeNext(ctx, queue.Class(c.Class), c.OwnerID, by.Size, launchLease)
		if err != nil {
			if !errors.Is(err, queue.ErrEmpty) {
				d.o.Log.Warn("could not give a launch its next file", "launch", by.Launch, "error", err)
			}
			return delivery, false, nil
		}
		next, err := d.o.Records.ByID(ctx, delivery.ConversionID)
		switch {
		case err != nil && !errors.Is(err, conversion.ErrNotFound):
			_ = d.o.Queue.Return(ctx, delivery, 0) // if that fails, its lease ends
			return delivery, false, fmt.Errorf("look up next file %s: %w", delivery.ConversionID, err)
		case next.State == conversion.Queued && next.Attempt+1 == delivery.Attempt && next.Class == c.Class:
			return delivery, true, nil
		}
		_ = d.o.Queue.Ack(ctx, delivery) // canceled, deleted, in another class by now, or begun and ended before
	}
}

// passOn makes the attempt of the delivered message the next one of c's launch.
// If another answer to the same result has chosen a next attempt before, passOn
// goes on with that one. It returns nil if c has changed meanwhile.
func (d *Dispatcher) passOn(ctx context.Context, c conversion.Conversion, result attempt.Result, by conversion.Carrier, delivery queue.Delivery) (*attempt.Next, error) {
	next := conversion.AttemptRef{ConversionID: delivery.ConversionID, Attempt: delivery.Attempt}
	c, err := d.outbox.Update(ctx, c.ID, func(is *conversion.Conversion) error {
		return is.PassOn(c.Attempt, result.Nonce, next, d.o.Now())
	})
	if errors.Is(err, conversion.ErrStaleAttempt) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pass on the launch of %s: %w", c.ID, err)
	}
	return d.carry(ctx, c, result.NextNonce, by)
}

// carry begins the attempt that c's launch goes on with, for the process that
// drew nonce. It returns nil if somebody else has begun the attempt, or if
// nobody wants it any more.
func (d *Dispatcher) carry(ctx context.Context, after conversion.Conversion, nonce string, by conversion.Carrier) (*attempt.Next, error) {
	ref, begun := *after.Next, false
	c, err := d.outbox.Update(ctx, ref.ConversionID, func(c *conversion.Conversion) error {
		if c.OwnerID != after.OwnerID || c.Class != after.Class {
			return conversion.ErrStaleAttempt
		}
		err := c.BeginCarried(ref.Attempt, nonce, by, d.o.Policy, d.o.Now())
		begun = err == nil
		return err
	})
	if errors.Is(err, conversion.ErrStaleAttempt) || errors.Is(err, conversion.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("begin carried attempt %s: %w", ref, err)
	}
	if begun {
		d.pace[c.Class].over(by.Launch, c.StartedAt, after.State == conversion.Done)
		d.pace[c.Class].began(by.Launch, c.OwnerID, c.Object.Size, c.StartedAt)
		d.metrics.claimed(c)
		d.metrics.carried.WithLabelValues(string(c.Class)).Inc()
		d.o.Log.Info("attempt carried", "conversion_id", c.ID, "attempt", c.Attempt, "launch", by.Launch, "files", by.Files)
	}
	as, err := d.assignment(ctx, c)
	if err != nil {
		return nil, err
	}
	return &attempt.Next{Token: d.o.AttemptKey.Token(c.ID, c.Attempt), Assignment: as}, nil
}

// failCarried is called when a launch has ended. It records that the attempt
// which the launch was carrying is lost. c is the conversion of the launch's
// first attempt; each conversion names the next one.
func (d *Dispatcher) failCarried(ctx context.Context, by conversion.AttemptRef, c conversion.Conversion) error {
	var err error
	for err == nil && c.Next != nil && c.LaunchRef() == by {
		next := *c.Next
		c, err = d.failAttempt(ctx, next, func(c *conversion.Conversion) error {
			if c.LaunchRef() != by {
				return conversion.ErrStaleAttempt
			}
			return c.FailAttempt(next.Attempt, lost, conversion.Disrupted, d.o.Policy, d.o.Now())
		})
	}
	return err
}
