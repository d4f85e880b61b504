package conversion

import "time"

// Claim takes a mail that is owed, or whose claim has ended, for sending; the
// claim ends after the given time. False if nothing is owed or somebody else is
// sending it. Mails that are not about a conversion use Notice, too.
func (n *Notice) Claim(claim time.Duration, now time.Time) bool {
	owed := n.State == NoticeOwed && !now.Before(n.NotBefore)
	lost := n.State == NoticeSending && !now.Before(n.ClaimedUntil)
	if !owed && !lost {
		return false
	}
	n.State = NoticeSending
	n.Tries++
	n.ClaimedUntil = stamp(now.Add(claim))
	return true
}

// Renew makes the claim of try number tries end after the given time from now.
// False if that try is over or another one has begun.
func (n *Notice) Renew(tries int, claim time.Duration, now time.Time) bool {
	if n.State != NoticeSending || n.Tries != tries {
		return false
	}
	n.ClaimedUntil = stamp(now.Add(claim))
	return true
}

// Delivered records that the mail server took the mail. False if nobody was
// sending it.
func (n *Notice) Delivered(now time.Time) bool {
	if n.State != NoticeSending {
		return false
	}
	n.State, n.SentAt, n.Reason = NoticeSent, stamp(now), ""
	return true
}

// Failed records that the mail server did not take the mail. The mail is sent
// again after pause if the failure is temporary and the mail is not too old,
// else never. False if nobody was sending it.
func (n *Notice) Failed(reason string, temporary bool, pause time.Duration, now time.Time) bool {
	if n.State != NoticeSending {
		return false
	}
	n.Reason = reason
	if temporary && now.Sub(n.OwedSince) < noticeLife {
		n.State = NoticeOwed
		n.NotBefore = stamp(now.Add(pause))
	} else {
		n.State = NoticeRefused
	}
	return true
}

// ClaimNotice takes the notice of attempt n for sending, as Notice.Claim does.
// The message leaves the outbox, because the sender has it in hand, even if
// whoever published it has not settled the outbox yet. ErrUnchanged if nothing
// is owed or somebody else is sending it.
func (c *Conversion) ClaimNotice(n int, claim time.Duration, now time.Time) error {
	if c.Notice.Attempt != n || !c.Notice.Claim(claim, now) {
		return ErrUnchanged
	}
	c.post()
	c.touch(now)
	return nil
}

// RenewNotice makes the claim of try number tries of attempt n's notice end
// after the given time from now. ErrUnchanged if that try is over or another one
// has begun.
func (c *Conversion) RenewNotice(n, tries int, claim time.Duration, now time.Time) error {
	if c.Notice.Attempt != n || !c.Notice.Renew(tries, claim, now) {
		return ErrUnchanged
	}
	c.post()
	c.touch(now)
	return nil
}

// NoticeDelivered records that the mail server took the mail.
func (c *Conversion) NoticeDelivered(n int, now time.Time) error {
	if c.Notice.Attempt != n || !c.Notice.Delivered(now) {
		return ErrUnchanged
	}
	c.post()
	c.touch(now)
	return nil
}

// NoticeFailed records that the mail server did not take the mail, as
// Notice.Failed does.
func (c *Conversion) NoticeFailed(n int, reason string, temporary bool, pause time.Duration, now time.Time) error {
	if c.Notice.Attempt != n || !c.Notice.Failed(reason, temporary, pause, now) {
		return ErrUnchanged
	}
	c.post(c.Owed()...)
	c.touch(now)
	return nil
}

// oweNotice ends the transition to an outcome: the owner gets a mail, if
// wanted.
func (c *Conversion) oweNotice(now time.Time) {
	if c.wantsNotice() {
		c.Notice = Notice{State: NoticeOwed, Attempt: c.Attempt, OwedSince: stamp(now)}
		c.post(c.Owed()...)
	}
	c.schedule(now)
}
