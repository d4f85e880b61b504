package dispatcher

import (
	"context"
	"fmt"
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
		outcome, err := d.observeDrop(ctx, o.Key, o.Modified, bySweep)
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
	}
	d.inbox = known
	d.metrics.unknownOwner.Set(float64(waiting))
	if failed != nil {
		return failed
	}
	service.Wait(ctx, d.o.InboxEvery)
	return nil
}
