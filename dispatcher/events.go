package dispatcher

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
	"tonearm/internal/service"
)

const (
	maxEvent       = 1 << 20 // bytes of one notification
	eventConsumers = 2       // so that one slow notification does not hold up all others
)

// eventOutcome is what came of a notification or of a look at the store. It is
// a label of tonearm_events_total, so its values stay.
type eventOutcome string

// Outcomes of events. Where there is no comment, the name says it.
const (
	eventRecorded      eventOutcome = "recorded"       // the conversion is queued, or failed with a reason
	eventRepeated      eventOutcome = "repeated"       // known before
	eventFoundBySweep  eventOutcome = "found_by_sweep" // recorded, and no event had come
	eventNotThere      eventOutcome = "not_there"      // the store has no such object
	eventDeleted       eventOutcome = "deleted"        // its conversion was deleted, and now the object is too
	eventUnknownKey    eventOutcome = "unknown_key"    // no conversion awaits this upload
	eventUnknownOwner  eventOutcome = "unknown_owner"  // nobody has proven the address in the inbox key
	eventTooOld        eventOutcome = "too_old"        // its address was proven too long after the drop
	eventOverQuota     eventOutcome = "over_quota"     // its owner's quotas have no room for the drop, which waits
	eventForeignKey    eventOutcome = "foreign_key"    // neither an upload nor a drop
	eventForeignBucket eventOutcome = "foreign_bucket"
	eventUnauthorized  eventOutcome = "unauthorized" // counted once for a whole notification, and so is the next
	eventMalformed     eventOutcome = "malformed"
	eventFailed        eventOutcome = "failed" // a store could not be used, so the event comes again
)

var eventOutcomes = []eventOutcome{eventRecorded, eventRepeated, eventFoundBySweep, eventNotThere, eventDeleted, eventUnknownKey,
	eventUnknownOwner, eventTooOld, eventOverQuota, eventForeignKey, eventForeignBucket, eventUnauthorized, eventMalformed, eventFailed}

// serveEvents takes the store's notifications. It answers 200 once all their
// consequences are recorded.
func (d *Dispatcher) serveEvents(w http.ResponseWriter, r *http.Request) {
	want := "Bearer " + d.o.EventToken
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(want)) != 1 {
		d.metrics.event(eventUnauthorized)
		d.fail(w, r, errUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		d.fail(w, r, &badRequest{err})
		return
	}
	if err := d.notified(r.Context(), body); err != nil {
		d.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// ConsumeEvents takes notifications from Options.EventSource until ctx is done.
// Every replica may do so, with or without the Lease.
func (d *Dispatcher) ConsumeEvents(ctx context.Context) error {
	var wg sync.WaitGroup
	for range eventConsumers {
		wg.Go(func() {
			service.Repeat(ctx, d.outage, "taking notifications", func(ctx context.Context) error {
				return d.o.EventSource.Consume(ctx, d.handleEvent)
			})
		})
	}
	wg.Wait()
	return nil
}

// handleEvent acts on one notification. After an error the notification comes
// again, even if nobody can read it: the queue knows when to give it up.
func (d *Dispatcher) handleEvent(ctx context.Context, body []byte) error {
	err := d.notified(ctx, body)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		d.outage.Warn("could not handle a notification; it stays in its queue", "error", err)
	}
	return err
}

// notified acts on one notification, however it came. If the notification
// cannot be read, the error is a badRequest.
func (d *Dispatcher) notified(ctx context.Context, body []byte) error {
	events, err := blob.ParseNotification(body)
	if err != nil {
		d.metrics.event(eventMalformed)
		return &badRequest{err}
	}
	for _, e := range events {
		if e.Bucket != d.o.Bucket {
			d.metrics.event(eventForeignBucket)
			continue
		}
		outcome, err := d.observe(ctx, e.Key, e.Time)
		if err != nil {
			d.metrics.event(eventFailed)
			return err
		}
		d.metrics.event(outcome)
		if outcome != eventForeignKey {
			d.notificationCame(ctx)
		}
	}
	return nil
}

// observe is called when the store says that an object is at key since at.
func (d *Dispatcher) observe(ctx context.Context, key string, at time.Time) (eventOutcome, error) {
	switch {
	case strings.HasPrefix(key, conversion.UploadPrefix):
		return d.observeUpload(ctx, key, at)
	case strings.HasPrefix(key, conversion.InboxPrefix):
		return d.observeDrop(ctx, key, at, byNotification)
	}
	return eventForeignKey, nil
}

func (d *Dispatcher) observeUpload(ctx context.Context, key string, at time.Time) (eventOutcome, error) {
	id, ok := conversion.ParseUploadKey(key)
	if !ok {
		return eventForeignKey, nil
	}
	c, err := d.o.Records.ByID(ctx, id)
	if errors.Is(err, conversion.ErrNotFound) || err == nil && c.Object.Key != key {
		return eventUnknownKey, nil
	}
	if err != nil {
		return "", fmt.Errorf("look up upload %s: %w", id, err)
	}
	switch c.State {
	case conversion.AwaitingUpload, conversion.Expired:
		return d.accept(ctx, c, at, byNotification)
	case conversion.Deleted: // the upload arrived after its owner deleted the conversion
		if err := d.o.Objects.Delete(ctx, key); err != nil {
			return "", fmt.Errorf("remove source of deleted %s: %w", id, err)
		}
		d.metrics.removed.Inc()
		return eventDeleted, nil
	}
	return eventRepeated, nil
}

// accept asks the store for the upload of c and queues the conversion if it is
// there.
func (d *Dispatcher) accept(ctx context.Context, c conversion.Conversion, at time.Time, by foundBy) (eventOutcome, error) {
	o, err := d.look(ctx, c.Object.Key)
	if errors.Is(err, blob.ErrNotExist) {
		return eventNotThere, nil
	}
	if err != nil {
		return "", fmt.Errorf("look at upload of %s: %w", c.ID, err)
	}
	c, changed, err := d.update(ctx, c.ID, func(c *conversion.Conversion) error {
		return c.Uploaded(o.Record(), d.o.Now())
	})
	if err != nil {
		return "", fmt.Errorf("record upload of %s: %w", c.ID, err)
	}
	if !changed {
		return eventRepeated, nil
	}
	d.metrics.detected(c, at, o)
	d.foundUpload(by, o.Modified)
	d.o.Log.Info("upload recorded", "conversion_id", c.ID, "state", c.State, "bytes", o.Size)
	return eventRecorded, nil
}

// look is Head for an object that somebody may be storing. Some stores, MinIO
// among them, answer a HEAD only once the upload under way has ended, but they
// list the object only once it is whole.
func (d *Dispatcher) look(ctx context.Context, key string) (blob.Object, error) {
	short, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	o, err := d.o.Objects.Head(short, key)
	if err == nil || short.Err() == nil {
		return o, err
	}
	there := false
	if err := d.o.Objects.List(ctx, key, "", func(o blob.Object) bool {
		there = o.Key == key
		return false
	}); err != nil {
		return blob.Object{}, err
	}
	if !there {
		return blob.Object{}, blob.ErrNotExist
	}
	return d.o.Objects.Head(ctx, key) // the store is slow
}

// observeDrop makes a conversion of a file dropped into the inbox, once its
// owner has an account.
func (d *Dispatcher) observeDrop(ctx context.Context, key string, at time.Time, by foundBy) (eventOutcome, error) {
	email, filename, ok := conversion.ParseInboxKey(key)
	if !ok {
		return eventForeignKey, nil
	}
	head, err := d.o.Objects.Head(ctx, key)
	if errors.Is(err, blob.ErrNotExist) {
		return eventNotThere, nil
	}
	if err != nil {
		return "", fmt.Errorf("look at inbox drop: %w", err)
	}
	o := head.Record()
	_, err = d.o.Records.ByObject(ctx, o.Key, o.Version)
	if err == nil {
		return eventRepeated, nil
	}
	if !errors.Is(err, conversion.ErrNotFound) {
		return "", fmt.Errorf("look up inbox drop: %w", err)
	}
	owner, err := d.o.Users.ByEmail(ctx, email)
	if errors.Is(err, account.ErrNotFound) {
		return eventUnknownOwner, nil
	}
	if err != nil {
		return "", fmt.Errorf("look up owner of inbox drop: %w", err)
	}
	if outcome := d.unassigned(owner, head.Modified); outcome != "" {
		return outcome, nil
	}
	now := d.o.Now()
	c, err := conversion.New(conversion.Params{
		OwnerID: owner.ID, OwnerEmail: owner.Email, Language: string(owner.Language), Filename: filename,
		Size: o.Size, Key: o.Key, Version: o.Version, Notify: owner.Addressee().Notify,
	}, now)
	if err != nil {
		return "", err
	}
	made := false
	limit := owner.MaxUploadBytes
	if limit == 0 {
		limit = d.o.MaxUploadBytes
	}
	if o.Size > limit {
		err = c.RejectUpload(o, conversion.TooLarge(o.Size, limit), now)
	} else {
		room, refused := d.meter.Admit(ctx, owner, quota.Ask{Queued: 1, Bytes: o.Size})
		if refused != nil {
			return eventOverQuota, nil // the next listing finds it again
		}
		defer func() { room.Done(made) }()
		err = c.Uploaded(o, now)
	}
	if err != nil {
		return "", fmt.Errorf("queue inbox drop: %w", err)
	}
	c.Retain(d.o.Policy.RecordRetention)
	err = d.o.Records.Create(ctx, c)
	if errors.Is(err, conversion.ErrExists) {
		return eventRepeated, nil
	}
	if err != nil {
		return "", fmt.Errorf("record inbox drop: %w", err)
	}
	made = true
	d.outbox.Flush(ctx, c)
	d.metrics.detected(c, at, head)
	d.foundUpload(by, head.Modified)
	d.o.Log.Info("inbox drop recorded", "conversion_id", c.ID, "state", c.State, "bytes", o.Size)
	d.metrics.finished(c)
	return eventRecorded, nil
}
