package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

// scanOrphans goes through the uploads and MP3s in the bucket. It counts objects
// that no record knows; these are reported and never removed. What came after
// the last look of its record it brings home.
func (d *Dispatcher) scanOrphans(ctx context.Context) error {
	for _, prefix := range []string{conversion.UploadPrefix, conversion.MP3Prefix} {
		var found []blob.Object
		err := d.o.Objects.List(ctx, prefix, "", func(o blob.Object) bool {
			found = append(found, o)
			return true
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		orphans := 0
		for _, o := range found {
			known, err := d.scan(ctx, o)
			if err != nil {
				return err
			}
			if !known {
				orphans++
			}
		}
		d.metrics.scanned(strings.TrimSuffix(prefix, "/"), orphans)
		if orphans > 0 {
			d.o.Log.Warn("found objects that no record knows", "prefix", prefix, "count", orphans)
		}
	}
	service.Wait(ctx, d.o.OrphanScanEvery)
	return nil
}

// scan looks at one object, and reports whether a record knows it.
func (d *Dispatcher) scan(ctx context.Context, o blob.Object) (known bool, err error) {
	id := ""
	if parts := strings.Split(o.Key, "/"); len(parts) == 4 {
		id = parts[2]
	}
	c, err := d.o.Records.ByID(ctx, id)
	if errors.Is(err, conversion.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", id, err)
	}
	return true, d.bringHome(ctx, c, o)
}

// bringHome does what is still to be done about an object that came after the
// last look of its record: an upload whose time was over is queued, and what
// should be gone is removed.
func (d *Dispatcher) bringHome(ctx context.Context, c conversion.Conversion, o blob.Object) error {
	switch source := c.Object.Key == o.Key; {
	case source && c.State == conversion.Expired:
		_, err := d.accept(ctx, c, time.Time{}, bySweep)
		return err
	case source && c.SourceGone, !source && c.CleanAt.IsZero() && d.refused(c, o.Key):
		if err := d.o.Objects.Delete(ctx, o.Key); err != nil {
			return fmt.Errorf("remove object: %w", err)
		}
		d.metrics.removed.Inc()
		d.o.Log.Info("removed an object that came late", "conversion_id", c.ID, "source", source)
		return nil
	case source && d.o.OldSources && d.o.Policy.SourceRetention > 0 && !c.SourceLeft:
		_, err := d.outbox.Update(ctx, c.ID, func(c *conversion.Conversion) error {
			if c.SourceLeft { // it ended meanwhile
				return conversion.ErrUnchanged
			}
			return c.KeepSource(d.o.Policy.SourceRetention, d.o.Now())
		})
		return err
	}
	return nil
}

// refused reports whether key is that of a result which c does not show, and
// which no attempt will show any more.
func (d *Dispatcher) refused(c conversion.Conversion, key string) bool {
	if !c.State.Terminal() || c.State == conversion.Done && key == c.MP3.Key && !c.MP3Gone {
		return false
	}
	for n := range c.Attempt {
		if key == c.MP3Key(n+1) {
			return true
		}
	}
	return false
}
