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

// knownDrops holds the inbox objects that have a conversion, so that a listing
// asks only about new objects.
type knownDrops map[drop]bool

type drop struct {
	key, etag string
	modified  time.Time
}

// sweepInbox lists the inbox for drops whose notification was lost, or whose
// owner had no account yet. Then it pauses.
func (d *Dispatcher) sweepInbox(ctx context.Context) error {
	var drops []blob.Object
	err := d.o.Objects.List(ctx, conversion.InboxPrefix, "", func(o blob.Object) bool {
		drops = append(drops, o)
		return true
	})
	if err != nil {
		return fmt.Errorf("list the inbox: %w", err)
	}
	known := make(knownDrops, len(drops))
	waiting := 0
	var failed error
	for _, o := range drops {
		id := drop{o.Key, o.ETag, o.Modified}
		if d.inbox[id] {
			known[id] = true
			continue
		}
		outcome, err := d.observeDrop(ctx, o.Key, o.Modified)
		if err != nil { // the others need not wait for this one
			failed = err
			continue
		}
		switch outcome {
		case eventRecorded, eventRepeated:
			known[id] = true
		case eventUnknownOwner:
			waiting++
		}
		if outcome == eventRecorded {
			d.metrics.event(eventFoundBySweep)
		}
	}
	d.inbox = known
	d.metrics.unknownOwner.Set(float64(waiting))
	if failed != nil {
		return failed
	}
	service.Wait(ctx, d.o.InboxEvery)
	return nil
}

// scanOrphans counts objects that no record knows. They are reported and never
// removed.
func (d *Dispatcher) scanOrphans(ctx context.Context) error {
	for _, prefix := range []string{conversion.UploadPrefix, conversion.MP3Prefix} {
		var ids []string
		err := d.o.Objects.List(ctx, prefix, "", func(o blob.Object) bool {
			id := ""
			if parts := strings.Split(o.Key, "/"); len(parts) == 4 {
				id = parts[2]
			}
			ids = append(ids, id)
			return true
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		orphans := 0
		for _, id := range ids {
			_, err := d.o.Records.ByID(ctx, id)
			if errors.Is(err, conversion.ErrNotFound) {
				orphans++
			} else if err != nil {
				return fmt.Errorf("look up %s: %w", id, err)
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
