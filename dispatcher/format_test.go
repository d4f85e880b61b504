package dispatcher_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// warnings counts the log lines that say that a record is left alone.
type warnings struct {
	io.Writer
	mu sync.Mutex
	n  int
}

func (w *warnings) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n += bytes.Count(p, []byte("a newer version of Tonearm"))
	return w.Writer.Write(p)
}

func (w *warnings) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// newer makes a record look as if a newer version wrote it.
func newer(c *conversion.Conversion) error {
	c.Format = conversion.Format + 1
	return nil
}

// Records of a newer version are left to it: the messages stay in the queue,
// the records do not change, and the log says so once.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	said := &warnings{Writer: &discreet{t: t}}
	w := newWorld(t, func(o *dispatcher.Options) { o.Log = slog.New(slog.NewTextHandler(said, nil)) })
	var left []conversion.Conversion
	for _, o := range []conversion.Options{{}, {}, {Cover: conversion.CoverPoster}, {Cover: conversion.CoverPoster}} {
		c := w.uploadedWith("owner", o)
		left = append(left, w.act(c.ID, newer))
	}
	w.run()
	w.become(w.uploaded("owner").ID, conversion.Done) // its message came after the two of class cpu
	w.until("all four messages were given back", func() bool {
		cpu, err := w.queue.Depth(t.Context(), queue.CPU)
		w.must(err)
		gpu, err := w.queue.Depth(t.Context(), queue.GPU)
		w.must(err)
		return cpu == queue.Depth{Delayed: 2} && gpu == queue.Depth{Delayed: 2}
	})
	w.clock.advance(time.Hour) // their time on the agenda comes
	w.become(w.uploaded("owner").ID, conversion.Done)
	for _, want := range left {
		if got := w.read(want.ID); got.Revision != want.Revision || got.State != conversion.Queued {
			t.Errorf("%s is %s at revision %d, was %d", got.ID, got.State, got.Revision, want.Revision)
		}
	}
	if n := said.count(); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

// If a newer version wrote the record of a running attempt meanwhile, the
// attempt is told to try again, and then the newer version answers.
func TestNewerFormatRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.launcher.set(func(l *launcher) { l.script = hang })
	c := w.uploaded("owner")
	w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
	c = w.act(c.ID, newer)
	call := attempt.Progress{Nonce: c.Nonce}
	status, _ := w.post("/attempts/"+c.ID+"/progress", attemptKey.Token(c.ID, 1), call, nil)
	if status != http.StatusServiceUnavailable {
		t.Errorf("progress answered %d, want 503", status)
	}
	w.launcher.end()
	if got := w.read(c.ID); got.Revision != c.Revision {
		t.Errorf("the record was changed: %+v", got)
	}
}

func TestRecordRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.Policy.RecordRetention = 30 * day }).run()
	w.outbox.RecordRetention = 30 * day // the gateway's outbox
	c := w.become(w.uploaded("owner").ID, conversion.Done)
	canceled := w.create("owner", int64(len(source)))
	w.act(canceled.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })

	w.clock.advance(30*day - time.Minute)
	w.until("the source is gone", func() bool { return w.read(c.ID).SourceGone })
	w.wantMP3(w.read(c.ID))
	if got := w.read(canceled.ID); got.State != conversion.Canceled {
		t.Errorf("%s before its time", got.State)
	}
	w.clock.advance(2 * time.Minute)
	w.become(canceled.ID, conversion.Deleted)
	if got := w.read(c.ID); got.State != conversion.Done {
		t.Errorf("%s while its owner is still owed the mail", got.State)
	}
	w.act(c.ID, func(c *conversion.Conversion) error { return c.ClaimNotice(1, time.Minute, w.clock.Now()) })
	w.act(c.ID, func(c *conversion.Conversion) error { return c.NoticeDelivered(1, w.clock.Now()) })
	w.become(c.ID, conversion.Deleted)
	w.until("nothing of it is left", func() bool { return len(w.keys("")) == 0 })
}
