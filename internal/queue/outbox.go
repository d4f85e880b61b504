package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tonearm/internal/conversion"
)

// Outbox writes transitions and publishes the messages that they cause. If a
// crash comes between the two, whoever looks at the record next publishes them:
// the record's WakeAt stays near while its outbox holds anything.
type Outbox struct {
	Records conversion.Store
	Queue   Queue
	Log     *slog.Logger
	Now     func() time.Time

	// RecordRetention is how long after its end a conversion is deleted; 0
	// keeps it. It applies to conversions that end through this Outbox.
	RecordRetention time.Duration

	saidNewer sync.Once
}

// Update applies one transition and publishes what it causes. An error is
// returned only if the transition was not written: a queue that cannot be
// reached delays the messages and loses none.
func (o *Outbox) Update(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	c, err := o.Write(ctx, id, change)
	if err != nil {
		return c, err
	}
	o.Flush(ctx, c)
	return c, nil
}

// Write applies one transition and leaves what it causes to Flush. It says in
// the log, once, that a record is left to a newer version.
func (o *Outbox) Write(ctx context.Context, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	c, err := o.Records.Update(ctx, id, func(c *conversion.Conversion) error {
		if err := change(c); err != nil {
			return err
		}
		c.Retain(o.RecordRetention)
		return nil
	})
	if errors.Is(err, conversion.ErrNewerFormat) {
		o.saidNewer.Do(func() {
			o.Log.Warn("a newer version of Tonearm wrote this record, and maybe others; this version does not change them", "conversion_id", id)
		})
	}
	return c, err
}

// Flush is Publish for a writer that does not want to wait. It outlives ctx's
// cancellation, and after 3 s it gives up and logs that. The record keeps what
// was not published.
func (o *Outbox) Flush(ctx context.Context, c conversion.Conversion) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := o.Publish(ctx, c); err != nil {
		o.Log.Warn("could not publish a message; it will be published later", "conversion_id", c.ID, "state", c.State, "error", err)
	}
}

// Publish publishes the outbox of c as it was written, empties it, and
// announces the conversion.
func (o *Outbox) Publish(ctx context.Context, c conversion.Conversion) error {
	for _, m := range c.Outbox {
		if err := o.Queue.Publish(ctx, MessageOf(c, m), m.NotBefore); err != nil {
			return fmt.Errorf("publish %s of %s: %w", m.Kind, c.ID, err)
		}
	}
	if len(c.Outbox) > 0 {
		if err := o.Records.Settle(ctx, c.ID, c.Revision, c.SettledWake(o.Now())); err != nil {
			return fmt.Errorf("settle outbox of %s: %w", c.ID, err)
		}
	}
	if err := o.Queue.Announce(ctx, c.ID); err != nil {
		return fmt.Errorf("announce %s: %w", c.ID, err)
	}
	return nil
}

// MessageOf returns the queue's message for a conversion's.
func MessageOf(c conversion.Conversion, m conversion.Message) Message {
	class, since := Class(c.Class), c.QueuedAt
	switch m.Kind {
	case conversion.Notify:
		class, since = Notice, c.Notice.OwedSince
	case conversion.Stop:
		class, since = Stop, c.FinishedAt
	}
	return Message{Class: class, Owner: c.OwnerID, ConversionID: c.ID, Attempt: m.Attempt, Kind: m.Kind,
		Size: c.Object.Size, Since: since}
}
