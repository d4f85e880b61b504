package conversion

import (
	"crypto/subtle"
	"fmt"
	"time"

	"tonearm/internal/retry"
)

// Policy holds the durations and limits that transitions depend on.
type Policy struct {
	Lease           time.Duration // an attempt silent for this long is presumed lost
	MaxAttempts     int           // failed attempts that count, before a conversion fails
	MaxLaunches     int           // attempts begun in all, whatever ended them
	Backoff         time.Duration // before the second attempt; doubles with each further failure
	MaxBackoff      time.Duration
	SourceRetention time.Duration // uploads are removed this long after done; 0 keeps them
	URLExpiry       time.Duration // how long a transcoder's upload URL can still be used
}

// DefaultPolicy is what services use where the operator says nothing.
var DefaultPolicy = Policy{
	Lease: 30 * time.Second, MaxAttempts: 3, MaxLaunches: 20,
	Backoff: 5 * time.Second, MaxBackoff: 5 * time.Minute,
	SourceRetention: 7 * 24 * time.Hour, URLExpiry: time.Hour,
}

// backoff is the pause after so many failures, at least one.
func (p Policy) backoff(failures int) time.Duration {
	return retry.Policy{Initial: p.Backoff, Max: p.MaxBackoff}.Pause(failures)
}

const (
	publishGrace  = 5 * time.Second    // after which a relay publishes what its writer did not
	republish     = 10 * time.Minute   // what is owed is published again at this pace, in case the queue lost it
	gpuLook       = 30 * time.Second   // between two looks at what waits for a GPU
	firstLook     = 30 * time.Second   // after creation, for an upload whose notification was lost
	maxLook       = time.Hour          // at most between two looks
	tombstoneLife = 8 * 24 * time.Hour // longer than any signed link lives
	noticeLife    = 5 * 24 * time.Hour // for which temporary refusals of a mail are retried
)

// Uploaded records that the source is in the store: queued, or failed where it
// is empty or not what was declared. An upload that turns up after its
// conversion expired counts.
func (c *Conversion) Uploaded(o Object, now time.Time) error {
	switch c.State {
	case AwaitingUpload, Expired:
	default:
		return ErrUnchanged
	}
	switch declared := c.Object.Size; {
	case o.Size == 0:
		return c.Reject(Failure{CodeEmpty, "The uploaded file is empty."}, now)
	case declared > 0 && declared != o.Size:
		return c.Reject(Failure{CodeSizeMismatch,
			fmt.Sprintf("%d bytes were uploaded where %d were announced.", o.Size, declared)}, now)
	}
	c.Object.ETag, c.Object.Size, c.Object.Version = o.ETag, o.Size, o.Version
	c.Upload = nil
	c.Error = nil
	c.FinishedAt, c.CleanAt = time.Time{}, time.Time{}
	c.QueuedAt = stamp(now)
	c.enqueue(now, time.Time{})
	return nil
}

// Look notes that the store was asked for the upload in vain, and when to ask
// again: backing off with the time it has been awaited.
func (c *Conversion) Look(now time.Time) error {
	if c.State != AwaitingUpload {
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

// Begin starts attempt n, which must be the next one.
func (c *Conversion) Begin(n int, p Policy, now time.Time) error {
	if c.State == Running && c.Attempt == n {
		return ErrUnchanged
	}
	if c.State != Queued || n != c.Attempt+1 {
		return ErrStaleAttempt
	}
	c.State = Running
	c.Attempt = n
	c.Nonce = ""
	c.Carrier, c.Next = nil, nil
	c.Launches++
	c.NotBefore = time.Time{}
	c.Progress = Progress{}
	c.post()
	c.StartedAt = stamp(now)
	c.LeaseUntil = stamp(now.Add(p.Lease))
	c.touch(now)
	return nil
}

// Current reports whether attempt n, claimed with this nonce, is the one that
// runs.
func (c *Conversion) Current(n int, nonce string) bool {
	return c.State == Running && c.Attempt == n && c.claimedBy(nonce)
}

func (c *Conversion) claimedBy(nonce string) bool {
	return nonce != "" && subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) == 1
}

// Postpone takes back the beginning of attempt n, which was never launched
// because there was no room for it: its number is used again.
func (c *Conversion) Postpone(n int, now time.Time) error {
	if c.State != Running || c.Attempt != n || c.Nonce != "" {
		return ErrStaleAttempt
	}
	c.Attempt--
	c.Launches--
	c.enqueue(now, time.Time{})
	c.post() // the message that began it was not acknowledged
	c.schedule(now)
	return nil
}

// FallBack moves a queued conversion of class gpu to class cpu. Its work is
// owed anew: the message that waits for a GPU is stale by its class.
func (c *Conversion) FallBack(reason string, now time.Time) error {
	if c.State != Queued || c.Class != GPU {
		return ErrUnchanged
	}
	c.Class, c.Fallback = CPU, &Fallback{From: GPU, Reason: reason, At: stamp(now)}
	c.enqueue(now, c.NotBefore)
	return nil
}

// Extend renews the lease of attempt n on behalf of a launcher that says it
// still runs.
func (c *Conversion) Extend(n int, p Policy, now time.Time) error {
	if c.State != Running || c.Attempt != n {
		return ErrStaleAttempt
	}
	c.renew(p, now)
	return nil
}

// Claim gives attempt n to the process that drew nonce. The same nonce may
// claim again; another gets ErrStaleAttempt.
func (c *Conversion) Claim(n int, nonce string, p Policy, now time.Time) error {
	if c.State != Running || c.Attempt != n || nonce == "" || c.Nonce != "" && !c.Current(n, nonce) {
		return ErrStaleAttempt
	}
	if c.Nonce == "" {
		c.ClaimedAt = stamp(now)
	}
	c.Nonce = nonce
	c.renew(p, now)
	return nil
}

// PassOn notes that the launch of attempt n, claimed with this nonce, goes on
// with next now that n is over. It goes on with one attempt only: ErrUnchanged
// where that was decided before, by whatever Next says. ErrStaleAttempt where n
// is not over, or its launch is being stopped: an attempt that was launched by
// itself ends with its launch when its owner cancels or deletes the conversion.
func (c *Conversion) PassOn(n int, nonce string, next AttemptRef, now time.Time) error {
	stopped := c.Carrier == nil && (c.State == Canceled || c.State == Deleted)
	if !c.State.Terminal() || c.Attempt != n || !c.claimedBy(nonce) || stopped {
		return ErrStaleAttempt
	}
	if c.Next != nil {
		return ErrUnchanged
	}
	c.Next = &next
	c.touch(now)
	return nil
}

// BeginCarried is Begin and Claim at once, for an attempt that a launch goes on
// with: it is claimed by the process that drew nonce. The same again is
// ErrUnchanged; an attempt that was launched by itself, or goes to another
// process, is ErrStaleAttempt.
func (c *Conversion) BeginCarried(n int, nonce string, by Carrier, p Policy, now time.Time) error {
	if c.Current(n, nonce) && c.Carrier != nil && c.Carrier.Launch == by.Launch {
		return ErrUnchanged
	}
	if c.State == Running || nonce == "" {
		return ErrStaleAttempt
	}
	if err := c.Begin(n, p, now); err != nil {
		return err
	}
	by.Until = stamp(by.Until)
	c.Carrier = &by
	return c.Claim(n, nonce, p, now)
}

// LaunchRef names the launch that carries the current or last attempt.
func (c *Conversion) LaunchRef() AttemptRef {
	if c.Carrier != nil {
		return c.Carrier.Launch
	}
	return AttemptRef{c.ID, c.Attempt}
}

// OwnsLaunch reports whether the launch of the current or last attempt is for
// that attempt alone, and may end with it.
func (c *Conversion) OwnsLaunch() bool { return c.Carrier == nil && c.Next == nil }

// Report takes progress of the current attempt and renews its lease.
func (c *Conversion) Report(n int, nonce string, progress Progress, p Policy, now time.Time) error {
	if !c.Current(n, nonce) {
		return ErrStaleAttempt
	}
	c.Progress = progress
	c.renew(p, now)
	return nil
}

func (c *Conversion) renew(p Policy, now time.Time) {
	c.LeaseUntil = stamp(now.Add(p.Lease))
	c.touch(now)
}

// Complete takes the result of the current attempt, stored under its MP3Key.
// The same result again is ErrUnchanged; one of another attempt is
// ErrStaleAttempt.
func (c *Conversion) Complete(n int, nonce string, src Source, mp3 MP3, p Policy, now time.Time) error {
	if c.State == Done && c.Attempt == n && c.Nonce == nonce {
		return ErrUnchanged
	}
	if !c.Current(n, nonce) {
		return ErrStaleAttempt
	}
	mp3.ID, mp3.Key = c.MP3.ID, c.MP3Key(n)
	mp3.CreatedAt = stamp(now)
	c.State, c.Source, c.MP3, c.Error = Done, &src, mp3, nil
	c.finish(now)
	if n > 1 { // an earlier attempt may still store its result
		c.CleanAt = stamp(now.Add(p.URLExpiry))
	}
	if !c.Inbox() && p.SourceRetention > 0 {
		c.SourceUntil = stamp(now.Add(p.SourceRetention))
	}
	c.oweNotice(now)
	return nil
}

// Outcome is how an attempt ended without a result.
type Outcome int

// Outcomes of attempts.
const (
	Final     Outcome = iota // nothing can heal it: bad input
	Counted                  // a crash, a deadline, out of memory, a store that failed
	Disrupted                // its node or dispatcher went away; not its fault
)

// FailAttempt ends attempt n without a result: failed for good, or queued
// again after a pause. A stale attempt gets ErrStaleAttempt, the same failure
// told twice ErrUnchanged.
func (c *Conversion) FailAttempt(n int, f Failure, o Outcome, p Policy, now time.Time) error {
	if (c.State == Queued || c.State == Failed) && c.Attempt == n && n > 0 {
		return ErrUnchanged
	}
	if c.State != Running || c.Attempt != n {
		return ErrStaleAttempt
	}
	if o == Counted {
		c.Failures++
	}
	c.Error = &f
	switch {
	case o == Final, c.Failures >= p.MaxAttempts, c.Launches >= p.MaxLaunches:
		c.State = Failed
		c.finish(now)
		c.CleanAt = stamp(now.Add(p.URLExpiry))
		c.oweNotice(now)
		return nil
	case o == Disrupted:
		c.enqueue(now, time.Time{})
	default:
		c.enqueue(now, now.Add(p.backoff(c.Failures)))
	}
	return nil
}

// FailStart is FailAttempt for an attempt that could not be started. On class
// gpu it does not count, and the next attempt is one of class cpu.
func (c *Conversion) FailStart(n int, f Failure, p Policy, now time.Time) error {
	if c.Class != GPU {
		return c.FailAttempt(n, f, Counted, p, now)
	}
	if err := c.FailAttempt(n, f, Disrupted, p, now); err != nil || c.State != Queued {
		return err
	}
	return c.FallBack(FallbackWaited, now)
}

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
	c.Class, c.Fallback = c.Options.class(), nil
	c.Notice = Notice{}
	c.FinishedAt, c.CleanAt, c.SourceUntil = time.Time{}, time.Time{}, time.Time{}
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

// Delete leaves a tombstone. Its launch and objects go next; see WakeAt.
func (c *Conversion) Delete(now time.Time) error {
	if c.State == Deleted {
		return ErrUnchanged
	}
	stop := c.State == Running
	c.State = Deleted
	c.IdempotencyKey = c.ID // the owner may use the key again
	c.Notice = Notice{}
	c.finish(now)
	c.CleanAt, c.SourceUntil = stamp(now), time.Time{}
	if stop {
		c.stop()
	}
	c.schedule(now)
	return nil
}

// Cleaned notes that leftovers of a terminal conversion were removed; next is
// when to look for more, zero for never.
func (c *Conversion) Cleaned(next, now time.Time) error {
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
	return nil
}

// SourceRemoved notes that the source went after its retention.
func (c *Conversion) SourceRemoved(now time.Time) error {
	if c.SourceGone || !c.State.Terminal() {
		return ErrUnchanged
	}
	c.SourceGone, c.SourceUntil = true, time.Time{}
	c.touch(now)
	return nil
}

// ClaimNotice takes the notice of attempt n for sending, until claim has
// passed. ErrUnchanged where nothing is owed or another one sends it.
func (c *Conversion) ClaimNotice(n int, claim time.Duration, now time.Time) error {
	owed := c.Notice.State == NoticeOwed && !now.Before(c.Notice.NotBefore)
	lost := c.Notice.State == NoticeSending && !now.Before(c.Notice.ClaimedUntil)
	if c.Notice.Attempt != n || !owed && !lost {
		return ErrUnchanged
	}
	c.Notice.State = NoticeSending
	c.Notice.Tries++
	c.Notice.ClaimedUntil = stamp(now.Add(claim))
	c.post()
	c.touch(now)
	return nil
}

// NoticeDelivered records that the mail server took the mail.
func (c *Conversion) NoticeDelivered(n int, now time.Time) error {
	if c.Notice.Attempt != n || c.Notice.State != NoticeSending {
		return ErrUnchanged
	}
	c.Notice.State, c.Notice.SentAt, c.Notice.Reason = NoticeSent, stamp(now), ""
	c.post()
	c.touch(now)
	return nil
}

// NoticeFailed records that the mail server did not take the mail: again after
// pause if that may heal and the notice is not too old, else never.
func (c *Conversion) NoticeFailed(n int, reason string, temporary bool, pause time.Duration, now time.Time) error {
	if c.Notice.Attempt != n || c.Notice.State != NoticeSending {
		return ErrUnchanged
	}
	c.Notice.Reason = reason
	if temporary && now.Sub(c.Notice.OwedSince) < noticeLife {
		c.Notice.State = NoticeOwed
		c.Notice.NotBefore = stamp(now.Add(pause))
	} else {
		c.Notice.State = NoticeRefused
	}
	c.post(c.Owed()...)
	c.touch(now)
	return nil
}

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

func (c *Conversion) enqueue(now, notBefore time.Time) {
	c.State = Queued
	c.Nonce = ""
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
	c.LeaseUntil = time.Time{}
	c.post()
	if c.Upload != nil && c.Upload.ID != "" {
		c.CleanAt = stamp(now)
	}
	c.touch(now)
}

// cleanSoon has the leftovers of earlier attempts looked for, after their stops
// had time to work.
func (c *Conversion) cleanSoon(now time.Time) {
	if c.Attempt > 0 {
		c.CleanAt = stamp(now.Add(publishGrace))
	}
}

func (c *Conversion) stop() {
	c.post(Message{Kind: Stop, Attempt: c.Attempt})
}

// oweNotice ends the transition to an outcome: its owner is mailed, if wanted.
func (c *Conversion) oweNotice(now time.Time) {
	if c.Notify != NotifyNone {
		c.Notice = Notice{State: NoticeOwed, Attempt: c.Attempt, OwedSince: stamp(now)}
		c.post(c.Owed()...)
	}
	c.schedule(now)
}

// post puts messages into the outbox in place of what it holds, but for stops:
// unlike all others they do not follow from the record and would be lost.
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
		pause := republish
		if c.Class == GPU {
			pause = gpuLook
		}
		return stamp(latest(now, c.NotBefore).Add(pause))
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
		by(latest(now, c.Notice.NotBefore).Add(republish))
	case NoticeSending:
		if until := c.Notice.ClaimedUntil.Add(publishGrace); until.After(now) {
			by(until)
		} else {
			by(now.Add(republish))
		}
	}
	by(c.CleanAt)
	by(c.SourceUntil)
	if c.State == Deleted && c.CleanAt.IsZero() {
		by(c.FinishedAt.Add(tombstoneLife))
	}
	return wake
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
