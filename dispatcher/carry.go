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
	shortFile      = 64 << 20        // bytes of a source that a launch which may go on has room for at least
	carriedReports = 2 * time.Second // between two reports of a carried attempt at most
)

// launchSize is the size of the sources that a launch is made for, whose own source
// has so many bytes.
func (d *Dispatcher) launchSize(size int64) int64 {
	if d.o.MaxFilesPerJob > 1 {
		return max(size, shortFile)
	}
	return size
}

// next gives the process that reported the end of attempt n of c another file
// of the same owner and class, if it asks for one and its launch may go on.
//
// First the record of what is over says what its launch goes on with, then the
// record of that says that it runs, claimed by the nonce that asked. Whatever is
// lost after either of them, the same result again comes to the same file; and
// a file that was not begun is begun by whoever takes its message next.
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
	ctx, cancel := detached(ctx)
	defer cancel()
	if next != nil && next.Assignment.ConversionID == delivery.ConversionID {
		_ = d.o.Queue.Ack(ctx, delivery) // else it is taken again, and the record says that it is begun
	} else {
		_ = d.o.Queue.Return(ctx, delivery, 0) // or its lease ends
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

// mayGoOn reports whether the launch of c's attempt may carry one more: the
// largest it has room for would end well before its deadline.
func (d *Dispatcher) mayGoOn(c conversion.Conversion, by conversion.Carrier) bool {
	left := by.Until.Sub(d.o.Now())
	return by.Files <= d.o.MaxFilesPerJob && 2*d.pace[c.Class].of(1, by.Size) < left
}

// takeNext takes the message of the next attempt for a launch, past those that
// ask for what is over. A launch does not wait for a queue that is away: it ends.
func (d *Dispatcher) takeNext(ctx context.Context, c conversion.Conversion, by conversion.Carrier) (_ queue.Delivery, found bool, err error) {
	for {
		delivery, err := d.o.Queue.TakeNext(ctx, queue.Class(c.Class), c.OwnerID, by.Size, messageLease)
		if err != nil {
			if !errors.Is(err, queue.ErrEmpty) {
				d.o.Log.Warn("could not give a launch its next file", "launch", by.Launch, "error", err)
			}
			return delivery, false, nil
		}
		next, err := d.o.Records.ByID(ctx, delivery.ConversionID)
		switch {
		case err != nil && !errors.Is(err, conversion.ErrNotFound):
			_ = d.o.Queue.Return(ctx, delivery, 0) // or its lease ends
			return delivery, false, fmt.Errorf("look up next file %s: %w", delivery.ConversionID, err)
		case next.State == conversion.Queued && next.Attempt+1 == delivery.Attempt && next.Class == c.Class:
			return delivery, true, nil
		}
		_ = d.o.Queue.Ack(ctx, delivery) // canceled, deleted, in another class by now, or begun and ended before
	}
}

// passOn makes the delivered message's attempt the next one of c's launch, or
// comes to the one that another answer to the same result has made it. nil
// where c is not what it was any more.
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
// drew nonce. nil where somebody else has begun it, or nobody wants it any more.
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
		d.pace[c.Class].began(by.Launch, c.Object.Size, c.StartedAt)
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

// failCarried records that the attempt was lost which a launch carried when it
// ended: c is the conversion of its first attempt, and each names the next.
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
