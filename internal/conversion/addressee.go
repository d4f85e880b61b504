package conversion

import "time"

// Addressee is what a record keeps of its owner's account: where mails go, in
// which language, and about which outcomes.
type Addressee struct {
	Email    string
	Language string           // "en" or "de"; '' for English
	Notify   NotifyPreference // '' for each outcome
}

// Readdress makes the record follow a change of its owner's account. Mails that
// are owed go to the new address. Fewer mails are wanted from now on for this
// conversion, too, unless it asked for each mail itself; what is owed and no
// longer wanted is not sent. More mails are for conversions to come: this one
// may have asked for fewer. ErrUnchanged if nothing is different.
func (c *Conversion) Readdress(a Addressee, now time.Time) error {
	notify := c.Notify
	if notify == "" || notify == NotifyFailures && a.Notify == NotifyNone {
		notify = a.Notify
	}
	if c.State == Deleted || c.OwnerEmail == a.Email && c.Language == a.Language && c.Notify == notify {
		return ErrUnchanged
	}
	c.OwnerEmail, c.Language, c.Notify = a.Email, a.Language, notify
	if owed := c.Notice.State == NoticeOwed || c.Notice.State == NoticeSending; owed && !c.wantsNotice() {
		c.Notice = Notice{}
		c.post()
	}
	c.touch(now)
	return nil
}

// wantsNotice reports whether the owner wants a mail about the outcome.
func (c *Conversion) wantsNotice() bool {
	return c.Notify != NotifyNone && (c.Notify != NotifyFailures || c.State == Failed)
}
