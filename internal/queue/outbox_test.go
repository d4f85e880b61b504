package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tonearm/internal/conversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
)

func TestMessageOf(t *testing.T) {
	queued, finished, owed := time.UnixMilli(1).UTC(), time.UnixMilli(2).UTC(), time.UnixMilli(3).UTC()
	c := conversion.Conversion{ID: "c", OwnerID: "o", Class: conversion.GPU, Object: conversion.Object{Size: 5},
		QueuedAt: queued, FinishedAt: finished, Notice: conversion.Notice{OwedSince: owed}}
	for kind, want := range map[conversion.Kind]queue.Message{
		conversion.Work:   {Class: queue.GPU, Since: queued},
		conversion.Notify: {Class: queue.Notice, Since: owed},
		conversion.Stop:   {Class: queue.Stop, Since: finished},
	} {
		got := queue.MessageOf(c, conversion.Message{Kind: kind, Attempt: 3})
		want.Owner, want.ConversionID, want.Attempt, want.Kind, want.Size = "o", "c", 3, kind, 5
		if got != want {
			t.Errorf("message of %s = %+v, want %+v", kind, got, want)
		}
		if id := "c/3/" + string(kind); got.ID() != id {
			t.Errorf("its id = %q, want %q", got.ID(), id)
		}
	}
}

// fixture is an outbox on SQLite and miniredis, and an upload that is awaited.
type fixture struct {
	*queue.Outbox
	redis *miniredis.Miniredis
	c     conversion.Conversion
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	records, err := sqliteconversion.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	if err := records.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := miniredis.RunT(t)
	q, err := redisqueue.Open("redis://"+server.Addr(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	c, err := conversion.New(conversion.Params{
		OwnerID: "owner", OwnerEmail: "owner@example.org", Filename: "a.mp4", Size: 1, UploadWindow: 24 * time.Hour,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := records.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	o := &queue.Outbox{Records: records, Queue: q, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	return fixture{o, server, c}
}

func (f fixture) uploaded(c *conversion.Conversion) error {
	return c.Uploaded(conversion.Object{Key: c.Object.Key, Size: 1, ETag: "e", Version: "e"}, time.Now())
}

func (f fixture) read(t *testing.T) conversion.Conversion {
	t.Helper()
	c, err := f.Records.ByID(t.Context(), f.c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantWork takes the one message that the upload causes.
func (f fixture) wantWork(t *testing.T) {
	t.Helper()
	d, err := f.Queue.Take(t.Context(), queue.CPU, time.Minute, 0)
	want := queue.MessageOf(f.read(t), conversion.Message{Kind: conversion.Work, Attempt: 1})
	if err != nil || d.Message != want {
		t.Fatalf("took %+v, %v, want %+v", d, err, want)
	}
}

func TestUpdate(t *testing.T) {
	f := newFixture(t)
	changed, cancel, err := f.Queue.Subscribe(t.Context(), f.c.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	c, err := f.Update(t.Context(), f.c.ID, f.uploaded)
	if err != nil || c.State != conversion.Queued {
		t.Fatalf("update = %s, %v", c.State, err)
	}
	f.wantWork(t)
	<-changed
	stored := f.read(t)
	if len(stored.Outbox) != 0 || stored.Revision != c.Revision {
		t.Errorf("stored outbox %v at revision %d, want none at %d", stored.Outbox, stored.Revision, c.Revision)
	}
	if wake := time.Until(stored.WakeAt); wake < time.Minute {
		t.Errorf("looked at again in %v, though all is published", wake)
	}

	// The same once more changes nothing and publishes nothing.
	if again, err := f.Update(t.Context(), f.c.ID, f.uploaded); err != nil || again.Revision != c.Revision {
		t.Errorf("the same update again = revision %d, %v, want %d", again.Revision, err, c.Revision)
	}
	refused := errors.New("refused")
	if _, err := f.Update(t.Context(), f.c.ID, func(*conversion.Conversion) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a refused update = %v", err)
	}
	if depth, err := f.Queue.Depth(t.Context(), queue.CPU); err != nil || depth != (queue.Depth{Leased: 1}) {
		t.Errorf("depth = %+v, %v, want the one that was taken", depth, err)
	}
}

// A queue that is down delays a message: the transition is written, the record
// says what was not published, and who looks at it next publishes it.
func TestQueueDown(t *testing.T) {
	f := newFixture(t)
	f.redis.Close()
	c, err := f.Update(t.Context(), f.c.ID, f.uploaded)
	if err != nil {
		t.Fatal(err)
	}
	stored := f.read(t)
	if stored.State != conversion.Queued || len(stored.Outbox) != 1 {
		t.Fatalf("stored %s with outbox %v, want it queued with one message", stored.State, stored.Outbox)
	}
	due, err := f.Records.Due(t.Context(), time.Now().Add(time.Minute), 10)
	if err != nil || len(due) != 1 || due[0].ID != c.ID {
		t.Fatalf("due within a minute: %v, %v, want the conversion", due, err)
	}

	if err := f.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	f.Flush(t.Context(), due[0])
	f.wantWork(t)
	if stored = f.read(t); len(stored.Outbox) != 0 || time.Until(stored.WakeAt) < time.Minute {
		t.Errorf("stored outbox %v, looked at again at %v, though all is published", stored.Outbox, stored.WakeAt)
	}
	f.Flush(t.Context(), due[0]) // somebody who read the record earlier publishes the same
	if depth, err := f.Queue.Depth(t.Context(), queue.CPU); err != nil || depth != (queue.Depth{Leased: 1}) {
		t.Errorf("depth = %+v, %v, want the one that was taken", depth, err)
	}
}

// Publishing late does not empty the outbox of a later transition.
func TestStaleFlush(t *testing.T) {
	f := newFixture(t)
	stale, err := f.Records.Update(t.Context(), f.c.ID, f.uploaded)
	if err != nil {
		t.Fatal(err)
	}
	reject := func(c *conversion.Conversion) error {
		return c.Reject(conversion.Failure{Code: conversion.CodeSourceMissing, Message: "Gone."}, time.Now())
	}
	if _, err := f.Records.Update(t.Context(), f.c.ID, reject); err != nil {
		t.Fatal(err)
	}
	f.Flush(t.Context(), stale)
	f.wantWork(t) // whoever begins it refuses stale work
	stored := f.read(t)
	if len(stored.Outbox) != 1 || stored.Outbox[0].Kind != conversion.Notify {
		t.Fatalf("stored outbox %v, want the notice", stored.Outbox)
	}
	f.Flush(t.Context(), stored)
	if d, err := f.Queue.Take(t.Context(), queue.Notice, time.Minute, 0); err != nil || d.ConversionID != f.c.ID {
		t.Errorf("took %+v, %v, want the notice", d, err)
	}
}

// Flush outlives the request that caused it.
func TestFlushCanceled(t *testing.T) {
	f := newFixture(t)
	c, err := f.Records.Update(t.Context(), f.c.ID, f.uploaded)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Flush(ctx, c)
	f.wantWork(t)
}
