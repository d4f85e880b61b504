package notifier

import (
	"context"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/waittest"
)

// A mail that takes longer than a claim is sent once: the claim and the lease
// are renewed meanwhile.
func TestSlowMail(t *testing.T) {
	w := newWorld(t)
	w.change = func(n *Notifier) { n.claim, n.lease = time.Second, 1300*time.Millisecond } // a busy machine renews late
	c := w.done(t, "a.mp4")
	w.sink.OnData(func(mailtest.Received) error {
		claims := map[time.Time]bool{}
		waittest.Until(t, patience, "the claim to be renewed several times", func() bool {
			got, err := w.records.ByID(context.WithoutCancel(t.Context()), c.ID)
			claims[got.Notice.ClaimedUntil] = err == nil
			return len(claims) > 5
		})
		return nil
	})
	w.start(t)
	w.start(t)
	c = w.await(t, c.ID, conversion.NoticeSent)
	w.awaitEmptyQueue(t)
	if c.Notice.Tries != 1 || w.sink.Tries() != 1 {
		t.Errorf("%d tries, %d mails", c.Notice.Tries, w.sink.Tries())
	}
}

// If nobody knows whether the mail was taken, it is not sent again soon.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	w.change = func(n *Notifier) { n.unknown = unknownPause }
	w.sink.OnData(func(mailtest.Received) error { return mailtest.ErrDrop })
	w.start(t)
	c := w.await(t, w.done(t, "a.mp4").ID, conversion.NoticeSending)
	c = w.await(t, c.ID, conversion.NoticeOwed)
	if pause := c.Notice.NotBefore.Sub(c.UpdatedAt); pause != unknownPause {
		t.Errorf("sent again after %v, want %v", pause, unknownPause)
	}
	waittest.Until(t, patience, "it to be counted", func() bool { return w.count(t, outcomeUnknown) == 1 })
	if n := w.count(t, outcomeDelayed); n != 0 {
		t.Errorf("%d more counted as delayed", n)
	}
}

// The mail says when the MP3 goes, and no link is said to work longer.
func TestKeptUntil(t *testing.T) {
	w := newWorld(t)
	keep := func(until time.Time) string {
		before := len(w.sink.Mails())
		w.update(t, w.begin(t, "a.mp4").ID, func(c *conversion.Conversion) error {
			p, now := policy, time.Now()
			if !until.IsZero() {
				p.MP3Retention = until.Sub(now)
			}
			return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Size: 1, Duration: 1}, p, now)
		})
		mails := w.sink.Wait(t, before+1)
		return mailtest.Parse(t, mails[len(mails)-1].Raw).Text
	}
	w.start(t)
	if text := keep(time.Time{}); strings.Contains(text, "removed") || strings.Contains(text, "\n\n\n") {
		t.Errorf("a kept MP3: %s", text)
	}
	before := linkEnds.Add(-24 * time.Hour)
	if text := keep(before.Add(time.Second)); strings.Count(text, "23 December 2026, 18:30 UTC") != 2 {
		t.Errorf("an MP3 that goes before its link ends: %s", text)
	}
	if text := keep(linkEnds.Add(24*time.Hour + time.Second)); !strings.Contains(text, "until Thursday, 24 December 2026, 18:30 UTC") ||
		!strings.Contains(text, "removed from the server on Friday, 25 December 2026, 18:30 UTC") {
		t.Errorf("an MP3 that goes after its link ends: %s", text)
	}
}
