package conversion

import (
	"fmt"
	"time"
)

// Reject fails a conversion before any attempt: the upload cannot be accepted.
func (c *Conversion) Reject(f Failure, now time.Time) error {
	if c.State != AwaitingUpload && c.State != Expired && c.State != Queued {
		return ErrUnchanged
	}
	c.State, c.Error = Failed, &f
	c.finish(now)
	c.cleanSoon(now)
	c.oweNotice(now)
	return nil
}

// Cancel ends the conversion at its owner's wish.
func (c *Conversion) Cancel(now time.Time) error {
	switch c.State {
	case Canceled:
		return ErrUnchanged
	case AwaitingUpload, Queued, Running:
	default:
		return ErrState
	}
	stop := c.State == Running
	c.State = Canceled
	c.finish(now)
	c.cleanSoon(now)
	if stop {
		c.stop()
	}
	c.schedule(now)
	return nil
}

// Retry starts over at the owner's wish with a fresh budget, in the class that
// the options ask for; attempt numbers go on.
func (c *Conversion) Retry(window time.Duration, now time.Time) error {
	switch c.State {
	case Failed, Canceled, Expired:
	default:
		return ErrState
	}
	if c.SourceGone {
		return fmt.Errorf("%w: the source was removed", ErrState)
	}
	c.Failures, c.Launches, c.Error = 0, 0, nil
	c.Faults, c.Silences = 0, 0
	c.Class, c.Fallback = c.Options.class(), nil
	c.Notice = Notice{}
	c.FinishedAt, c.CleanAt, c.SourceUntil, c.RecordUntil = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	c.SourceLeft = false
	if c.Object.ETag == "" { // never uploaded
		c.State = AwaitingUpload
		c.AwaitedAt, c.ExpiresAt = stamp(now), stamp(now.Add(window))
		c.post()
		c.touch(now)
		return nil
	}
	c.QueuedAt = stamp(now)
	c.enqueue(now, time.Time{})
	return nil
}

// Redo queues a conversion again whose MP3 is no longer what was recorded. The
// MP3's id stays, so that links to it are good again once it is made. ErrState if
// the source was removed.
func (c *Conversion) Redo(now time.Time) error {
	switch {
	case c.State != Done, c.MP3Gone:
		return ErrUnchanged
	case c.SourceGone:
		return fmt.Errorf("%w: the source was removed", ErrState)
	}
	c.Failures, c.Launches = 0, 0
	c.Faults, c.Silences = 0, 0
	c.Source, c.MP3 = nil, MP3{ID: c.MP3.ID}
	c.Notice = Notice{}
	c.FinishedAt, c.CleanAt, c.SourceUntil, c.RecordUntil = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	c.MP3Until = time.Time{}
	c.QueuedAt = stamp(now)
	c.enqueue(now, time.Time{})
	return nil
}

// Delete leaves a tombstone. The launch and the objects are removed next; see
// WakeAt.
func (c *Conversion) Delete(now time.Time) error {
	if c.State == Deleted {
		return ErrUnchanged
	}
	stop := c.State == Running
	c.State = Deleted
	c.IdempotencyKey = c.ID // the owner may use the key again
	c.Notice = Notice{}
	c.finish(now)
	c.CleanAt, c.SourceUntil, c.RecordUntil, c.MP3Until = stamp(now), time.Time{}, time.Time{}, time.Time{}
	if stop {
		c.stop()
	}
	c.schedule(now)
	return nil
}

// Retain sets when a conversion that has just ended will be deleted: retention
// after its end, never if retention is 0. A conversion that is under way, or
// that ended earlier, is left as it is.
func (c *Conversion) Retain(retention time.Duration) {
	endedNow := c.State.Terminal() && c.State != Deleted && c.UpdatedAt.Equal(c.FinishedAt)
	if retention > 0 && endedNow {
		c.RecordUntil = stamp(c.FinishedAt.Add(retention))
		c.schedule(c.FinishedAt)
	}
}

// Outlived reports whether the conversion ended so long ago that it is to be
// deleted. A mail that is still owed comes first.
func (c *Conversion) Outlived(now time.Time) bool {
	return !c.RecordUntil.IsZero() && !now.Before(c.RecordUntil) && len(c.Owed()) == 0
}

// Cleaned notes that leftovers of a terminal conversion were removed; next is
// when to look for more, zero for never. The source of a conversion that failed
// or was canceled is kept for sourceRetention, see KeepSource.
func (c *Conversion) Cleaned(next time.Time, sourceRetention time.Duration, now time.Time) error {
	if !c.State.Terminal() {
		return ErrUnchanged
	}
	c.CleanAt = time.Time{}
	if !next.IsZero() {
		c.CleanAt = stamp(next)
	}
	if c.Upload != nil {
		c.Upload.ID = ""
	}
	if c.State == Deleted && c.Inbox() {
		c.Object.Version = "removed " + c.ID // the same file may be dropped there again
	}
	c.touch(now)
	if c.SourceLeft {
		return c.KeepSource(sourceRetention, now)
	}
	return nil
}

// KeepSource sets how long the source of a conversion that failed or was canceled
// is kept: for retention after its end, and until nobody can upload it any more;
// always if retention is 0. ErrUnchanged for any other conversion, and where that
// is set.
func (c *Conversion) KeepSource(retention time.Duration, now time.Time) error {
	if c.State != Failed && c.State != Canceled || c.Inbox() || c.SourceGone || !c.SourceUntil.IsZero() {
		return ErrUnchanged
	}
	c.SourceLeft = false
	if retention > 0 {
		c.SourceUntil = stamp(latest(c.FinishedAt.Add(retention), c.ExpiresAt))
	}
	c.touch(now)
	return nil
}

// MP3Removed notes that the MP3 went after its retention.
func (c *Conversion) MP3Removed(now time.Time) error {
	if c.MP3Gone || c.State != Done {
		return ErrUnchanged
	}
	c.MP3Gone, c.MP3Until = true, time.Time{}
	c.touch(now)
	return nil
}

// SourceRemoved notes that the source went after its retention.
func (c *Conversion) SourceRemoved(now time.Time) error {
	if c.SourceGone || !c.State.Terminal() {
		return ErrUnchanged
	}
	c.SourceGone, c.SourceLeft, c.SourceUntil = true, false, time.Time{}
	c.touch(now)
	return nil
}

func (c *Conversion) enqueue(now, notBefore time.Time) {
	c.State = Queued
	c.Nonce, c.Waiting = "", nil
	c.Progress = Progress{}
	c.LeaseUntil = time.Time{}
	c.NotBefore = time.Time{}
	if !notBefore.IsZero() {
		c.NotBefore = stamp(notBefore)
	}
	c.post(c.Owed()...)
	c.touch(now)
}

func (c *Conversion) finish(now time.Time) {
	c.FinishedAt = stamp(now)
	c.LeaseUntil, c.Waiting = time.Time{}, nil
	c.post()
	c.SourceLeft = (c.State == Failed || c.State == Canceled) && !c.Inbox() && !c.SourceGone
	if c.SourceLeft {
		c.CleanAt = stamp(now.Add(publishGrace))
	}
	if c.Upload != nil && c.Upload.ID != "" {
		c.CleanAt = stamp(now)
	}
	c.touch(now)
}

// cleanSoon schedules a look for the leftovers of earlier attempts, after their
// stops have had time to work.
func (c *Conversion) cleanSoon(now time.Time) {
	if c.Attempt > 0 {
		c.CleanAt = stamp(now.Add(publishGrace))
	}
}

func (c *Conversion) stop() {
	c.post(Message{Kind: Stop, Attempt: c.Attempt})
}
