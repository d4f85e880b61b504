package notifier

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/queue"
	"tonearm/internal/waittest"
)

// The record is purged while its mail is being sent: nobody waits for it to
// come back.
func TestPurgedWhileSending(t *testing.T) {
	w := newWorld(t)
	c := w.done(t, "a.mp4")
	w.sink.OnData(func(mailtest.Received) error {
		w.update(t, c.ID, func(c *conversion.Conversion) error { return c.Delete(time.Now()) })
		return w.records.Purge(context.Background(), c.ID)
	})
	w.start(t)
	waittest.Until(t, patience, "the outcome to be given up", func() bool { return w.log.count("could not record what became of a mail") == 1 })
	if got := w.sink.Tries(); got != 1 {
		t.Errorf("%d mails", got)
	}
}

// If a newer version wrote the record, its notice is given back to the queue.
// The log says so once.
func TestNewerFormat(t *testing.T) {
	w := newWorld(t)
	var left []conversion.Conversion
	for range 2 {
		c := w.done(t, "film.mp4")
		left = append(left, w.update(t, c.ID, func(c *conversion.Conversion) error {
			c.Format = conversion.Format + 1
			return nil
		}))
	}
	w.start(t)
	waittest.Until(t, patience, "both messages are given back", func() bool {
		depth, err := w.queue.Depth(t.Context(), queue.Notice)
		return err == nil && depth == queue.Depth{Delayed: 2}
	})
	for _, want := range left {
		got, err := w.records.ByID(t.Context(), want.ID)
		if err != nil || got.Revision != want.Revision || got.Notice != want.Notice {
			t.Errorf("the record was changed: %+v, %v", got, err)
		}
	}
	if n := strings.Count(w.log.String(), "a newer version of Tonearm"); n != 1 {
		t.Errorf("the log says it %d times, want once:\n%s", n, w.log)
	}
}

// Who drops a file into an inbox does not choose the subject of a mail.
func TestInboxSubject(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	now := time.Now()
	c, err := conversion.New(conversion.Params{OwnerID: "ada", OwnerEmail: owner, Filename: "Buy pills at evil.example.mp4", Size: 1000,
		Key: "inbox/" + owner + "/Buy pills at evil.example.mp4", Version: "v"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Uploaded(conversion.Object{Key: c.Object.Key, ETag: "e", Version: "v", Size: 1000}, now),
		c.Begin(1, policy, now), c.Claim(1, "nonce", policy, now), w.records.Create(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	w.update(t, c.ID, func(c *conversion.Conversion) error {
		return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Size: 1, Duration: 1}, policy, time.Now())
	})
	if m := mailtest.Parse(t, w.sink.Wait(t, 1)[0].Raw); m.Subject != "Your MP3 is ready: a file in your inbox" {
		t.Errorf("subject is %q", m.Subject)
	}
}
