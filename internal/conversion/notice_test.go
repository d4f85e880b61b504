package conversion

import (
	"errors"
	"testing"
	"time"
)

func TestNotice(t *testing.T) {
	c := at(t, Done)
	now := epoch
	claim := func() error { return c.ClaimNotice(1, time.Minute, now) }
	if m := c.Outbox; len(m) != 1 || m[0].Kind != Notify {
		t.Fatalf("outbox of an owed notice: %+v", m)
	}
	if err := claim(); err != nil {
		t.Fatal(err)
	}
	if len(c.Outbox) != 0 { // the sender has the message in hand
		t.Fatalf("outbox of a claimed notice: %+v", c.Outbox)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("second claim: %v", err)
	}
	if err := c.NoticeFailed(1, "451 busy", true, time.Minute, now); err != nil || c.Notice.State != NoticeOwed {
		t.Fatalf("temporary failure: %v, %+v", err, c.Notice)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("claim during the pause: %v", err)
	}
	now = now.Add(time.Minute)
	if err := claim(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute - time.Second)
	if err := c.RenewNotice(1, 1, time.Minute, now); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("renewal by an earlier try: %v", err)
	}
	if err := c.RenewNotice(1, 2, time.Minute, now); err != nil || !c.Notice.ClaimedUntil.Equal(now.Add(time.Minute)) {
		t.Fatalf("renewal: %v, %+v", err, c.Notice)
	}
	now = now.Add(time.Second)
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Fatalf("claim of a renewed one: %v", err)
	}
	now = now.Add(time.Minute) // the sender went away
	if err := claim(); err != nil || c.Notice.Tries != 3 {
		t.Fatalf("claim of a lost one: %v, %+v", err, c.Notice)
	}
	now = now.Add(6 * 24 * time.Hour)
	if err := c.NoticeFailed(1, "451 busy", true, time.Minute, now); err != nil || c.Notice.State != NoticeRefused {
		t.Fatalf("temporary failure after days: %v, %+v", err, c.Notice)
	}

	c = at(t, Failed)
	if err := errors.Join(claim(), c.NoticeFailed(1, "550 unknown", false, 0, now)); err != nil ||
		c.Notice.State != NoticeRefused || c.Notice.Reason == "" {
		t.Errorf("permanent failure: %v, %+v", err, c.Notice)
	}

	c = at(t, Done)
	if err := errors.Join(claim(), c.NoticeDelivered(1, now)); err != nil || c.Notice.State != NoticeSent {
		t.Errorf("delivered: %v, %+v", err, c.Notice)
	}
	if err := claim(); !errors.Is(err, ErrUnchanged) {
		t.Errorf("claim of a sent one: %v", err)
	}
}

// TestNotifyNone: if no mail is wanted, an outcome owes none, and nothing else
// changes.
func TestNotifyNone(t *testing.T) {
	for _, state := range []State{Done, Failed} {
		c := at(t, Running)
		c.Notify = NotifyNone
		end := c.Complete(1, nonce, Source{}, MP3{}, policy, epoch)
		if state == Failed {
			c = at(t, Running)
			c.Notify = NotifyNone
			end = c.FailAttempt(1, Failure{CodeNoAudio, "No sound."}, Final, policy, epoch)
		}
		if end != nil || c.State != state || c.Notice != (Notice{}) || len(c.Owed()) != 0 || len(c.Outbox) != 0 {
			t.Errorf("%s: %v, notice %+v, owed %v, outbox %v", state, end, c.Notice, c.Owed(), c.Outbox)
		}
		checkRecord(t, c, epoch)
		if c.WakeAt.IsZero() { // the source's retention ends, or leftovers are looked for
			t.Errorf("%s: nobody looks again", state)
		}
		if err := c.ClaimNotice(1, window, epoch); !errors.Is(err, ErrUnchanged) {
			t.Errorf("claim the notice when %s: %v", state, err)
		}
		if err := c.Republish(epoch); err != nil || len(c.Outbox) != 0 {
			t.Errorf("republish when %s: %v, %v", state, err, c.Outbox)
		}
	}
	c := at(t, Queued)
	c.Notify = NotifyNone
	if err := c.Reject(Failure{CodeSourceMissing, "Gone."}, epoch); err != nil || c.Notice != (Notice{}) {
		t.Errorf("rejected: %v, %+v", err, c.Notice)
	}
}

// Where owed mails go, and whether they are wanted, follows the account.
func TestReaddress(t *testing.T) {
	to := func(n NotifyPreference) Addressee {
		return Addressee{Email: "new@example.org", Language: "de", Notify: n}
	}
	for name, tt := range map[string]struct {
		state       State
		asked, says NotifyPreference
		owed        bool
		want        NotifyPreference
	}{
		"each":                            {Done, "", "", true, ""},
		"failures, done":                  {Done, "", NotifyFailures, false, NotifyFailures},
		"failures, failed":                {Failed, "", NotifyFailures, true, NotifyFailures},
		"none":                            {Failed, "", NotifyNone, false, NotifyNone},
		"none, asked for failures":        {Failed, NotifyFailures, NotifyNone, false, NotifyNone},
		"none, asked for each":            {Done, NotifyEmail, NotifyNone, true, NotifyEmail},
		"each, asked for none":            {Done, NotifyNone, "", false, NotifyNone},
		"failures, asked for none, runs":  {Running, NotifyNone, NotifyFailures, false, NotifyNone},
		"none, while it runs":             {Running, "", NotifyNone, false, NotifyNone},
		"each, while it awaits an upload": {AwaitingUpload, "", "", false, ""},
	} {
		c := at(t, tt.state)
		if c.Notify = tt.asked; tt.asked == NotifyNone || tt.asked == NotifyFailures && tt.state != Failed {
			c.Notice, c.Outbox = Notice{}, []Message{}
		}
		before := *c
		if err := c.Readdress(to(tt.says), epoch); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		owed := c.Notice.State == NoticeOwed
		if c.OwnerEmail != "new@example.org" || c.Language != "de" || c.Notify != tt.want || owed != tt.owed || owed && c.Notice != before.Notice {
			t.Errorf("%s: %+v", name, c)
		}
		if err := c.Readdress(to(tt.says), epoch); !errors.Is(err, ErrUnchanged) {
			t.Errorf("%s, again: %v", name, err)
		}
		checkRecord(t, c, epoch)
	}

	// A mail that is being sent is not wanted any more: what becomes of it is of
	// no interest, and nobody sends it again.
	c := at(t, Done)
	if err := errors.Join(c.ClaimNotice(1, time.Minute, epoch), c.Readdress(to(NotifyNone), epoch)); err != nil {
		t.Fatal(err)
	}
	if err := c.NoticeFailed(1, "451", true, 0, epoch); !errors.Is(err, ErrUnchanged) || len(c.Owed()) != 0 {
		t.Errorf("%v, owed %v", err, c.Owed())
	}
	// One that was sent stays on record.
	c = at(t, Done)
	if err := errors.Join(c.ClaimNotice(1, time.Minute, epoch), c.NoticeDelivered(1, epoch), c.Readdress(to(NotifyNone), epoch)); err != nil {
		t.Fatal(err)
	}
	if c.Notice.State != NoticeSent {
		t.Errorf("notice %+v", c.Notice)
	}
}
