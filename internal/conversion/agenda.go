package conversion

import "time"

const (
	publishGrace  = 5 * time.Second    // after this time a relay publishes what the writer has not
	republish     = 10 * time.Minute   // until owed messages are published again, in case the queue lost them
	gpuLook       = 30 * time.Second   // until the first look at a conversion that waits for a GPU
	maxRepublish  = 6 * time.Hour      // longest pause between two looks at a conversion that waits
	firstLook     = 30 * time.Second   // until the first look for an upload, in case its notification was lost
	maxLook       = time.Hour          // longest pause between two looks for an upload
	lastLook      = 10 * time.Minute   // after the upload window, until the last look for an upload that was under way
	tombstoneLife = 8 * 24 * time.Hour // longer than any signed link lives
	noticeLife    = 5 * 24 * time.Hour // how long temporary refusals of a mail are retried
)

// Republish puts what the conversion owes, if anything, into the outbox once
// more, in case the queue lost it, and moves WakeAt on.
func (c *Conversion) Republish(now time.Time) error {
	c.post(c.Owed()...)
	c.touch(now)
	return nil
}

// Owed returns the messages that follow from the record alone. A stop is not
// among them: CleanAt ends what a lost stop left running.
func (c *Conversion) Owed() []Message {
	owed := []Message{}
	switch {
	case c.State == Queued:
		owed = append(owed, Message{Kind: Work, Attempt: c.Attempt + 1, NotBefore: c.NotBefore})
	case c.Notice.State == NoticeOwed:
		owed = append(owed, Message{Kind: Notify, Attempt: c.Notice.Attempt, NotBefore: c.Notice.NotBefore})
	case c.Notice.State == NoticeSending:
		owed = append(owed, Message{Kind: Notify, Attempt: c.Notice.Attempt, NotBefore: c.Notice.ClaimedUntil})
	}
	return owed
}

// post replaces the outbox by messages, but keeps its stops: they are the only
// messages that do not follow from the record, so they would be lost.
func (c *Conversion) post(messages ...Message) {
	outbox := []Message{}
	for _, m := range c.Outbox {
		if m.Kind == Stop {
			outbox = append(outbox, m)
		}
	}
	c.Outbox = append(outbox, messages...)
}

func (c *Conversion) touch(now time.Time) {
	c.UpdatedAt = stamp(now)
	c.schedule(now)
}

// schedule sets WakeAt from the record alone.
func (c *Conversion) schedule(now time.Time) {
	c.WakeAt = c.SettledWake(now)
	if len(c.Outbox) > 0 {
		c.wakeBy(now.Add(publishGrace))
	}
}

func (c *Conversion) wakeBy(t time.Time) {
	if c.WakeAt.IsZero() || t.Before(c.WakeAt) {
		c.WakeAt = stamp(t)
	}
}

// SettledWake is when somebody has to look at the conversion next if nothing
// in its outbox is left to publish; zero for never.
func (c *Conversion) SettledWake(now time.Time) time.Time {
	switch c.State {
	case AwaitingUpload:
		pause := min(max(firstLook, now.Sub(c.AwaitedAt)/2), maxLook)
		if next := now.Add(pause); next.Before(c.ExpiresAt) {
			return stamp(next)
		}
		return stamp(c.ExpiresAt)
	case Queued:
		first := republish
		if c.Class == GPU {
			first = gpuLook
		}
		return stamp(latest(now, c.NotBefore).Add(waiting(first, c.QueuedAt, now)))
	case Running:
		return c.LeaseUntil
	}
	var wake time.Time
	by := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = stamp(t)
		}
	}
	switch c.Notice.State {
	case NoticeOwed:
		by(latest(now, c.Notice.NotBefore).Add(waiting(republish, c.Notice.OwedSince, now)))
	case NoticeSending:
		if until := c.Notice.ClaimedUntil.Add(publishGrace); until.After(now) {
			by(until)
		} else {
			by(now.Add(waiting(republish, c.Notice.OwedSince, now)))
		}
	}
	if last := c.ExpiresAt.Add(lastLook); c.State == Expired && last.After(now) {
		by(last)
	}
	by(c.CleanAt)
	by(c.SourceUntil)
	by(c.MP3Until)
	if len(c.Owed()) == 0 {
		by(c.RecordUntil)
	}
	if c.State == Deleted && c.CleanAt.IsZero() {
		by(c.FinishedAt.Add(tombstoneLife))
	}
	return wake
}

// waiting is the pause before another look at what has waited since. It grows
// with the wait, so that many that wait long do not keep the agenda busy.
func waiting(first time.Duration, since, now time.Time) time.Duration {
	return min(max(first, now.Sub(since)/2), maxRepublish)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
