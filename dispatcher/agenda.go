package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
	"tonearm/internal/service"
)

const (
	agendaPause   = time.Second // between two looks at an empty agenda
	agendaBatch   = 100
	agendaWorkers = 8
	lookTime      = time.Second     // for the answer to a HEAD of an object that somebody may be storing
	agendaSnooze  = 5 * time.Second // before another look at a record that could not be handled
	maxSnoozed    = 1000
	owedPage      = 500
	owedPause     = 2 * time.Second // between two looks at the queue's generation
)

// agenda handles every record whose time has come. There are two: what must be
// done for attempts that may be lost does not wait for anything else.
type agenda struct {
	d       *Dispatcher
	read    func(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error)
	snoozed map[string]time.Time // ids that are left alone, until when
}

// agenda returns the step of an agenda that reads its records by read.
func (d *Dispatcher) agenda(read func(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error)) func(context.Context) error {
	a := &agenda{d: d, read: read, snoozed: map[string]time.Time{}}
	return a.step
}

// others are the records of the agenda without those of running attempts.
func (d *Dispatcher) others(ctx context.Context, now time.Time, limit int) ([]conversion.Conversion, error) {
	due, err := d.o.Records.Due(ctx, now, limit)
	return slices.DeleteFunc(due, func(c conversion.Conversion) bool {
		return c.State == conversion.Running && len(c.Outbox) == 0
	}), err
}

// step handles a batch. A record that cannot be handled is left alone for a
// while, so that it does not hold up the others.
func (a *agenda) step(ctx context.Context) error {
	d, now := a.d, a.d.o.Now()
	maps.DeleteFunc(a.snoozed, func(_ string, until time.Time) bool { return !now.Before(until) })
	due, err := a.read(ctx, now, agendaBatch+len(a.snoozed))
	if err != nil {
		return fmt.Errorf("read the agenda: %w", err)
	}
	due = slices.DeleteFunc(due, func(c conversion.Conversion) bool { return a.snoozed[c.ID].After(now) })
	if len(due) == 0 {
		service.Wait(ctx, agendaPause)
		return nil
	}
	records := make(chan conversion.Conversion)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range min(agendaWorkers, len(due)) {
		wg.Go(func() {
			for c := range records {
				err := d.attend(ctx, c)
				if err == nil {
					continue
				}
				mu.Lock()
				if failed++; failed == 1 { // one log line for the whole batch
					d.outage.Warn("could not do what a conversion needs now; trying again later", "conversion_id", c.ID, "state", c.State, "error", err)
				}
				if len(a.snoozed) < maxSnoozed {
					a.snoozed[c.ID] = now.Add(agendaSnooze)
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range due {
		records <- c
	}
	close(records)
	wg.Wait()
	if failed == len(due) {
		service.Wait(ctx, agendaPause)
	}
	return nil
}

// attend does what one overdue record asks for, which moves its WakeAt.
func (d *Dispatcher) attend(ctx context.Context, c conversion.Conversion) error {
	ctx, cancel := detached(ctx, workTime)
	defer cancel()
	now := d.o.Now()
	if len(c.Outbox) > 0 { // its writer crashed before it could publish
		d.metrics.relayed.Inc()
		return d.outbox.Publish(ctx, c)
	}
	update := func(change func(*conversion.Conversion) error) error {
		_, _, err := d.update(ctx, c.ID, change)
		if errors.Is(err, conversion.ErrStaleAttempt) || errors.Is(err, conversion.ErrState) {
			return nil // the record changed meanwhile
		}
		return err
	}
	switch c.State {
	case conversion.AwaitingUpload:
		outcome, err := d.accept(ctx, c, time.Time{}, bySweep)
		if err != nil || outcome != eventNotThere {
			return err
		}
		if now.Before(c.ExpiresAt) {
			return update(func(c *conversion.Conversion) error { return c.Look(now) })
		}
		return update(func(c *conversion.Conversion) error { return c.Expire(now) })
	case conversion.Queued:
		return update(func(c *conversion.Conversion) error {
			if d.waitedForGPU(*c) {
				return c.FallBack(conversion.FallbackWaited, now)
			}
			return c.Republish(now)
		})
	case conversion.Running:
		return d.attendRunning(ctx, c)
	}
	switch {
	case c.Outlived(now):
		return update(func(c *conversion.Conversion) error {
			if !c.Outlived(now) {
				return conversion.ErrUnchanged
			}
			return c.Delete(now)
		})
	case due(c.CleanAt, now):
		return d.clean(ctx, c)
	case due(c.SourceUntil, now):
		if err := d.o.Objects.Delete(ctx, c.Object.Key); err != nil {
			return err
		}
		return update(func(c *conversion.Conversion) error { return c.SourceRemoved(now) })
	case due(c.MP3Until, now):
		if err := d.o.Objects.Delete(ctx, c.MP3.Key); err != nil {
			return err
		}
		return update(func(c *conversion.Conversion) error { return c.MP3Removed(now) })
	case c.State == conversion.Deleted: // no link to it is good any more: after a last look it is removed completely
		if err := d.removeObjects(ctx, c); err != nil {
			return err
		}
		return d.o.Records.Purge(ctx, c.ID)
	case c.State == conversion.Expired: // the last look for an upload that was under way when its time was over
		if outcome, err := d.accept(ctx, c, time.Time{}, bySweep); err != nil || outcome != eventNotThere {
			return err
		}
		return update(func(c *conversion.Conversion) error { return c.Look(now) })
	}
	return update(func(c *conversion.Conversion) error { return c.Republish(now) })
}

func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// clean removes what a terminal conversion left behind. It looks again once no
// upload URL of its attempts can be used any more.
func (d *Dispatcher) clean(ctx context.Context, c conversion.Conversion) error {
	if c.Upload != nil && c.Upload.ID != "" {
		if err := d.o.Objects.AbortUpload(ctx, c.Object.Key, c.Upload.ID); err != nil {
			return fmt.Errorf("abort upload: %w", err)
		}
	}
	if c.Attempt > 0 && c.State != conversion.Done && c.OwnsLaunch() { // otherwise other conversions use the launch by now
		if err := d.halt(ctx, conversion.AttemptRef{ConversionID: c.ID, Attempt: c.Attempt}); err != nil {
			return err
		}
	}
	if err := d.removeObjects(ctx, c); err != nil {
		return err
	}
	now := d.o.Now()
	next := time.Time{}
	if last := c.FinishedAt.Add(d.o.Policy.URLExpiry); now.Before(last) && c.Attempt > 0 {
		next = last
	}
	_, err := d.outbox.Update(ctx, c.ID, func(c *conversion.Conversion) error {
		return c.Cleaned(next, d.o.Policy.SourceRetention, now)
	})
	return err
}

// removeObjects removes all results except the one that c shows. If c is
// deleted it also removes the source. Attempts that began after c was read are
// left alone.
func (d *Dispatcher) removeObjects(ctx context.Context, c conversion.Conversion) error {
	refused := map[string]bool{}
	for n := range c.Attempt {
		key := c.MP3Key(n + 1)
		refused[key] = c.State != conversion.Done || key != c.MP3.Key
	}
	var remove []string
	err := d.o.Objects.List(ctx, c.MP3Folder(), "", func(o blob.Object) bool {
		if refused[o.Key] {
			remove = append(remove, o.Key)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("list results: %w", err)
	}
	if c.State == conversion.Deleted {
		o, err := d.look(ctx, c.Object.Key)
		switch {
		case errors.Is(err, blob.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at source: %w", err)
		case !c.Inbox() || o.Record().Version == c.Object.Version: // otherwise another file was dropped there
			remove = append(remove, c.Object.Key)
		}
	}
	for _, key := range remove {
		if err := d.o.Objects.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove object: %w", err)
		}
	}
	d.metrics.removed.Add(float64(len(remove)))
	return nil
}

// rebuildAfterWipe returns a step that publishes everything owed at start and
// whenever the queue begins a new life.
func (d *Dispatcher) rebuildAfterWipe() func(context.Context) error {
	known := ""
	return func(ctx context.Context) error {
		generation, err := d.o.Queue.Generation(ctx)
		if err != nil {
			return fmt.Errorf("read the queue's generation: %w", err)
		}
		if generation == known {
			service.Wait(ctx, owedPause)
			return nil
		}
		n, err := d.publishOwed(ctx)
		if err != nil {
			return err
		}
		d.o.Log.Info("published what is owed", "messages", n, "first", known == "")
		known = generation
		return nil
	}
}

func (d *Dispatcher) publishOwed(ctx context.Context) (published int, err error) {
	for after := ""; ; {
		page, err := d.o.Records.Owing(ctx, after, owedPage)
		if err != nil {
			return published, fmt.Errorf("read what is owed: %w", err)
		}
		for _, c := range page {
			for _, m := range c.Owed() {
				if err := d.o.Queue.Publish(ctx, queue.MessageOf(c, m), m.NotBefore); err != nil {
					return published, fmt.Errorf("publish %s of %s: %w", m.Kind, c.ID, err)
				}
				published++
			}
			after = c.ID
		}
		if len(page) < owedPage {
			return published, nil
		}
	}
}
