package dispatcher

import (
	"context"
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
		orphans, err := d.scanPrefix(ctx, prefix)
		if err != nil {
			return fmt.Errorf("scan %s: %w", prefix, err)
		}
		d.metrics.scanned(strings.TrimSuffix(prefix, "/"), orphans)
		if orphans > 0 {
			d.o.Log.Warn("found objects that no record knows", "prefix", prefix, "count", orphans)
		}
	}
	service.Wait(ctx, d.o.OrphanScanEvery)
	return nil
}

// scanPrefix goes through the objects under prefix, a page at a time, and returns
// how many of them no record knows.
func (d *Dispatcher) scanPrefix(ctx context.Context, prefix string) (orphans int, err error) {
	page := make([]blob.Object, 0, conversion.MaxIDs)
	var failed error
	err = d.o.Objects.List(ctx, prefix, "", func(o blob.Object) bool {
		if page = append(page, o); len(page) < cap(page) {
			return true
		}
		var n int
		n, failed = d.scanPage(ctx, page)
		orphans, page = orphans+n, page[:0]
		return failed == nil
	})
	if failed != nil {
		return orphans, failed
	}
	if err != nil {
		return orphans, err
	}
	n, err := d.scanPage(ctx, page)
	return orphans + n, err
}

// scanPage looks at some objects, and returns how many of them no record knows.
func (d *Dispatcher) scanPage(ctx context.Context, page []blob.Object) (orphans int, err error) {
	var ids []string
	for _, o := range page {
		if id := idIn(o.Key); id != "" {
			ids = append(ids, id)
		}
	}
	found, err := d.o.Records.ByIDs(ctx, ids)
	if err != nil {
		return 0, err
	}
	known := make(map[string]conversion.Conversion, len(found))
	for _, c := range found {
		known[c.ID] = c
	}
	for _, o := range page {
		c, ok := known[idIn(o.Key)]
		if !ok {
			orphans++
			continue
		}
		if err := d.bringHome(ctx, c, o); err != nil {
			return orphans, err
		}
	}
	return orphans, nil
}

// idIn returns the id of the conversion in an object's key; "" if there is none.
func idIn(key string) string {
	if parts := strings.Split(key, "/"); len(parts) == 4 {
		return parts[2]
	}
	return ""
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
