package dispatcher

import (
	"context"
	"fmt"
	"time"

	"tonearm/internal/account"
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

// unassigned says why a drop at this time is not the owner's; empty if it is. An
// address counts only once it is proven: otherwise anybody could register it and
// take what others drop for its owner. Who proves it gets what was dropped
// shortly before; older drops may be meant for an earlier owner.
func (d *Dispatcher) unassigned(owner account.User, dropped time.Time) eventOutcome {
	const precision = time.Second // of an object's time
	switch {
	case !owner.Confirmed() || owner.Deleted():
		return eventUnknownOwner
	case dropped.Add(precision).Before(owner.ConfirmedAt.Add(-d.o.InboxWait)):
		return eventTooOld
	}
	return ""
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
	waiting, old := 0, 0
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
		case eventTooOld:
			old++
		}
	}
	d.inbox = known
	d.metrics.unknownOwner.Set(float64(waiting))
	d.metrics.tooOld.Set(float64(old))
	if failed != nil {
		return failed
	}
	service.Wait(ctx, d.o.InboxEvery)
	return nil
}
