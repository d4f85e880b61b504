package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/service"
)

// knownDrops remembers the ETag of each inbox object that has its conversion,
// so that a listing asks only about new ones.
type knownDrops map[string]string

// sweepInbox lists the inbox for drops whose notification was lost or whose
// owner had no account yet, then pauses.
func (d *Dispatcher) sweepInbox(ctx context.Context) error {
	var drops []blob.Object
	err := d.o.Blobs.List(ctx, conversion.InboxPrefix, "", func(o blob.Object) bool {
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
		if d.inbox[o.Key] == o.ETag {
			known[o.Key] = o.ETag
			continue
		}
		outcome, err := d.observeDrop(ctx, o.Key)
		if err != nil { // the others do not wait for this one
			failed = err
			continue
		}
		switch outcome {
		case "recorded", "repeated":
			known[o.Key] = o.ETag
		case "unknown_owner":
			waiting++
		}
		if outcome == "recorded" {
			d.metrics.events.WithLabelValues("found_by_sweep").Inc()
		}
	}
	d.inbox = known
	d.metrics.unknownOwner.Set(float64(waiting))
	if failed != nil {
		return failed
	}
	service.Pause(ctx, d.o.InboxEvery)
	return nil
}

// census counts objects that no record knows. They are reported and never
// removed.
func (d *Dispatcher) census(ctx context.Context) error {
	for _, prefix := range []string{conversion.UploadPrefix, conversion.MP3Prefix} {
		var ids []string
		err := d.o.Blobs.List(ctx, prefix, "", func(o blob.Object) bool {
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
		strangers := 0
		for _, id := range ids {
			_, err := d.o.Records.ByID(ctx, id)
			if errors.Is(err, conversion.ErrNotFound) {
				strangers++
			} else if err != nil {
				return fmt.Errorf("look up %s: %w", id, err)
			}
		}
		d.metrics.strangers.WithLabelValues(strings.TrimSuffix(prefix, "/")).Set(float64(strangers))
		if strangers > 0 {
			d.o.Log.Warn("objects that no record knows", "prefix", prefix, "count", strangers)
		}
	}
	service.Pause(ctx, d.o.CensusEvery)
	return nil
}
