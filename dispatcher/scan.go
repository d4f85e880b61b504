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
	if c.State == conversion.Expired && c.Object.Key == o.Key {
		if _, err := d.accept(ctx, c, time.Time{}); err != nil {
			return true, err
		}
	}
	return true, nil
}
