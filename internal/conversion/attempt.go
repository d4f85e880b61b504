package conversion

import (
	"crypto/subtle"
	"time"
)

// Begin starts attempt n, which must be the next one, and draws an id for its
// launch.
func (c *Conversion) Begin(n int, p Policy, now time.Time) error {
	if c.State == Running && c.Attempt == n {
		return ErrUnchanged
	}
	if c.State != Queued || n != c.Attempt+1 {
		return ErrStaleAttempt
	}
	c.State = Running
	c.Attempt = n
	c.Nonce, c.Launch = "", newLaunch()
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

// Current reports whether attempt n is running and was claimed with this nonce.
func (c *Conversion) Current(n int, nonce string) bool {
	return c.State == Running && c.Attempt == n && c.claimedBy(nonce)
}

func (c *Conversion) claimedBy(nonce string) bool {
	return nonce != "" && subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) == 1
}

// Postpone takes back the beginning of attempt n, which was never launched
// because there was no room for it. The number n will be used again.
func (c *Conversion) Postpone(n int, now time.Time) error {
	if c.State != Running || c.Attempt != n || c.Nonce != "" {
		return ErrStaleAttempt
	}
	c.Attempt--
	c.Launches--
	c.enqueue(now, time.Time{})
	c.post() // no message: the one that began the attempt was not acknowledged
	c.schedule(now)
	return nil
}

// FallBack moves a queued conversion from class gpu to class cpu. It posts the
// work again, because the message that waits for a GPU has the old class and
// will be dropped.
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
	c.Nonce, c.Waiting = nonce, nil
	c.renew(p, now)
	return nil
}

// PassOn notes that the launch of attempt n, which was claimed with this nonce
// and is over, goes on with the attempt next. It returns ErrUnchanged if the
// record already names a next attempt, even another one. It returns
// ErrStaleAttempt if n is not over, or if its launch is being stopped: an
// attempt with a launch of its own ends together with that launch when the
// owner cancels or deletes the conversion.
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

// BeginCarried does what Begin and Claim do, for an attempt that a launch goes
// on with: attempt n starts, claimed by the process that drew nonce. A repeated
// call gets ErrUnchanged. If the attempt has a launch of its own or belongs to
// another process, the call gets ErrStaleAttempt.
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
	c.Carrier, c.Launch = &by, ""
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
// that attempt alone, so that the launch may end with it.
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
	if p.MP3Retention > 0 {
		c.MP3Until = stamp(now.Add(p.MP3Retention))
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
) // HandBack and GiveUp are for machines that were not well

// ended reports whether the end of attempt n, without a result, is recorded.
func (c *Conversion) ended(n int) bool {
	return (c.State == Queued || c.State == Failed) && c.Attempt == n && n > 0
}

// FailAttempt ends attempt n without a result: the conversion fails for good,
// or is queued again after a pause. A stale attempt gets ErrStaleAttempt, a
// failure that was recorded before gets ErrUnchanged.
func (c *Conversion) FailAttempt(n int, f Failure, o Outcome, p Policy, now time.Time) error {
	if c.ended(n) {
		return ErrUnchanged
	}
	if c.State != Running || c.Attempt != n {
		return ErrStaleAttempt
	}
	if o == Counted {
		c.Failures++
	}
	c.Faults = 0
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
