package conversion

import (
	"fmt"
	"time"
)

// PlanParts notes that the source comes in parts of partSize bytes each, into the
// store's multipart upload with this id. ErrState where no upload is awaited, its
// size is not known, or parts were planned before.
func (c *Conversion) PlanParts(uploadID string, partSize int64, now time.Time) error {
	if c.State != AwaitingUpload || c.Object.Size == 0 || c.Upload != nil {
		return ErrState
	}
	c.Upload = &Upload{ID: uploadID, PartSize: partSize, Parts: int((c.Object.Size + partSize - 1) / partSize)}
	c.UpdatedAt = stamp(now)
	return nil
}

// RestartUpload puts a new multipart upload id in place of lost, which the
// store no longer has. ErrUnchanged if lost was replaced before; ErrState if no
// upload in parts is awaited.
func (c *Conversion) RestartUpload(lost, id string, now time.Time) error {
	switch {
	case c.State != AwaitingUpload || c.Upload == nil:
		return ErrState
	case c.Upload.ID != lost:
		return ErrUnchanged
	}
	c.Upload = &Upload{ID: id, PartSize: c.Upload.PartSize, Parts: c.Upload.Parts}
	c.UpdatedAt = stamp(now)
	return nil
}

// Uploaded records that the source is in the store. The conversion is queued,
// or fails if the source is empty or not what was declared. An upload that
// turns up after its conversion expired still counts.
func (c *Conversion) Uploaded(o Object, now time.Time) error {
	switch c.State {
	case AwaitingUpload, Expired:
	default:
		return ErrUnchanged
	}
	switch declared := c.Object.Size; {
	case o.Size == 0:
		return c.Reject(EmptySource, now)
	case declared > 0 && declared != o.Size:
		return c.Reject(Failure{CodeSizeMismatch,
			fmt.Sprintf("The upload has %d bytes, but %d bytes were announced.", o.Size, declared)}, now)
	}
	c.found(o)
	c.Upload = nil
	c.Error = nil
	c.FinishedAt, c.CleanAt, c.RecordUntil = time.Time{}, time.Time{}, time.Time{}
	c.QueuedAt = stamp(now)
	c.enqueue(now, time.Time{})
	return nil
}

// RejectUpload is Uploaded for a source that is in the store and is not accepted,
// such as one that is too large.
func (c *Conversion) RejectUpload(o Object, f Failure, now time.Time) error {
	switch c.State {
	case AwaitingUpload, Expired:
	default:
		return ErrUnchanged
	}
	c.found(o)
	return c.Reject(f, now)
}

func (c *Conversion) found(o Object) {
	c.Object.ETag, c.Object.Size, c.Object.Version = o.ETag, o.Size, o.Version
}

// Look notes that the store was asked for the upload in vain, and when to ask
// again: the pause grows with the time that the upload has been awaited. An
// expired conversion is looked at once more.
func (c *Conversion) Look(now time.Time) error {
	if c.State != AwaitingUpload && c.State != Expired {
		return ErrUnchanged
	}
	c.touch(now)
	return nil
}

// Expire gives up on an upload that never came.
func (c *Conversion) Expire(now time.Time) error {
	if c.State != AwaitingUpload {
		return ErrUnchanged
	}
	if now.Before(c.ExpiresAt) {
		return fmt.Errorf("%w: the upload has time until %s", ErrState, c.ExpiresAt.Format(time.RFC3339))
	}
	c.State = Expired
	c.finish(now)
	return nil
}
