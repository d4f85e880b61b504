package conversion

import "time"

// ClaimNotice takes the notice of attempt n for sending; the claim ends after
// the given time. The message leaves the outbox, because the sender has it in
// hand, even if whoever published it has not settled the outbox yet.
// ErrUnchanged if nothing is owed or somebody else is sending it.
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

// RenewNotice makes the claim of try number tries of attempt n's notice end
// after the given time from now. ErrUnchanged if that try is over or another one
// has begun.
func (c *Conversion) RenewNotice(n, tries int, claim time.Duration, now time.Time) error {
	if c.Notice.Attempt != n || c.Notice.State != NoticeSending || c.Notice.Tries != tries {
		return ErrUnchanged
	}
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

// NoticeFailed records that the mail server did not take the mail. The mail is
// sent again after pause if the failure is temporary and the notice is not too
// old, else never.
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

// oweNotice ends the transition to an outcome: the owner gets a mail, if
// wanted.
func (c *Conversion) oweNotice(now time.Time) {
	if c.Notify != NotifyNone {
		c.Notice = Notice{State: NoticeOwed, Attempt: c.Attempt, OwedSince: stamp(now)}
		c.post(c.Owed()...)
	}
	c.schedule(now)
}
