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
