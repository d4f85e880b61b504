package dispatcher_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

// runningOf counts the running attempts of each owner.
func (w *world) runningOf() map[string]int {
	w.Helper()
	running, err := w.launcher.Running(w.Context())
	w.must(err)
	owners := map[string]int{}
	for _, a := range running {
		owners[w.read(a.ConversionID).OwnerID]++
	}
	return owners
}

func jobs(n int) func(*dispatcher.Options) {
	return func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{conversion.CPU: n} }
}

// An owner whose long files hold every place does not keep others waiting: one file of
// theirs runs beside them, and no more than one.
func TestAllPlacesOfOneOwner(t *testing.T) {
	t.Parallel()
	for places := 2; places <= 3; places++ {
		t.Run(fmt.Sprint(places), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, jobs(places))
			w.launcher.set(func(l *launcher) { l.script = hang })
			w.run()
			for range places + 2 {
				w.uploaded("many")
			}
			w.until("they hold every place", func() bool { return w.runningOf()["many"] == places })
			w.launcher.set(func(l *launcher) { l.script = finish })
			w.become(w.uploaded("one").ID, conversion.Done)
			w.become(w.uploaded("another").ID, conversion.Done)

			var beside, most atomic.Int64
			w.launcher.set(func(l *launcher) {
				l.script = func(a *agent) launch.End {
					defer beside.Add(-1)
					n := beside.Add(1)
					for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
					}
					return hang(a)
				}
			})
			for range 3 {
				for _, owner := range []string{"one", "another"} {
					w.uploaded(owner)
				}
			}
			for range 6 { // one ends, and the next one begins
				var next conversion.AttemptRef
				w.until("one runs beside them", func() bool {
					running, err := w.launcher.Running(w.Context())
					w.must(err)
					i := slices.IndexFunc(running, func(a launch.Attempt) bool { return w.read(a.ConversionID).OwnerID != "many" })
					if i >= 0 {
						next = running[i].AttemptRef
					}
					return i >= 0
				})
				w.act(next.ConversionID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
				w.until("it is stopped", func() bool { return w.launcher.stopped(next) })
			}
			if got := most.Load(); got != 1 {
				t.Errorf("%d ran beside them", got)
			}
			if got := w.runningOf(); got["many"] != places {
				t.Errorf("running are %v", got)
			}
		})
	}
}

// While others wait, an owner gets no more places than their share; after that they
// get what is left.
func TestShare(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		own  int64 // the limit of the owner of many files
		all  int64 // that of everybody
		want int
	}{"half": {0, 0, 2}, "of the service": {0, 3, 3}, "of one user": {1, 3, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, jobs(4), func(o *dispatcher.Options) { o.Quotas.Running = tt.all })
			many := w.user("many@example.org", 0)
			w.must(w.accounts.SetLimits(w.Context(), many.ID, account.Limits{Running: tt.own}))
			w.launcher.set(func(l *launcher) {
				l.script = hang
			})
			w.run()
			for n := range tt.want { // they run before anybody else waits
				w.uploaded(many.ID)
				w.until("it runs", func() bool { return w.runningOf()[many.ID] == n+1 })
			}
			w.halt()
			for range 5 {
				w.uploaded(many.ID)
			}
			for range 4 {
				w.uploaded("one")
			}
			w.fresh()
			w.run()
			w.until("others have the other places", func() bool { return w.runningOf()["one"] == 4-tt.want })
			if got := w.runningOf()[many.ID]; got != tt.want {
				t.Errorf("%d run of the owner of many, want %d", got, tt.want)
			}
		})
	}
}

func countOften(o *dispatcher.Options) { o.UseEvery = 20 * time.Millisecond }

// wantUse waits until the row of a user and day is this one.
func (w *world) wantUse(u account.User, stored int64, today conversion.Use) {
	w.Helper()
	var got account.Used
	defer func() {
		if w.Failed() {
			w.Logf("the use is %+v", got)
		}
	}()
	want := account.Used{Stored: stored, Today: today}
	w.until(fmt.Sprintf("the use is %+v", want), func() bool {
		used, err := w.accounts.Used(w.Context(), u.ID, u.ID, conversion.Day(time.Now()))
		w.must(err)
		got = used[u.ID]
		return got == want
	})
}

// A user's row follows the records: from an upload to the MP3, and after a deletion.
func TestUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, countOften)
	u := w.user("a@example.org", 0)
	w.run()
	size := int64(len(source))
	w.wantUse(u, 0, conversion.Use{})
	w.create(u.ID, 100)
	w.wantUse(u, 100, conversion.Use{Conversions: 1, Bytes: 100, Stored: 100})
	c := w.become(w.uploaded(u.ID).ID, conversion.Done)
	both := conversion.Use{Conversions: 2, Bytes: 100 + size, Sound: c.MP3.Duration, Stored: 100 + size + c.MP3.Size}
	w.wantUse(u, both.Stored, both)
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	both.Stored = 100
	w.wantUse(u, 100, both)
	w.until("the metric shows it", func() bool { return w.metric("tonearm_usage", "what=stored_bytes", "of=largest") == 100 })
}

// What happened while no dispatcher ran, or was not written down by one that died, is
// found, also of records that are older than rows are.
func TestUseAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, countOften)
	u := w.user("a@example.org", 0)
	day := conversion.Day(time.Now())
	for ago := range 10 {
		c, err := conversion.New(conversion.Params{
			ID:      conversion.IDAt(day.Add(-time.Duration(ago)*24*time.Hour)) + "-7000-8000-000000000000",
			OwnerID: u.ID, OwnerEmail: u.Email, Filename: "a.mp4", Size: 10, UploadWindow: time.Hour,
		}, w.clock.Now())
		w.must(err)
		w.must(w.records.Create(w.Context(), c))
	}
	wrong := day.Add(-20 * 24 * time.Hour) // a row without records
	w.must(w.accounts.SaveUsage(w.Context(), account.Usage{UserID: u.ID, Day: wrong, Use: conversion.Use{Stored: 1000}, CountedAt: w.clock.Now().Add(-time.Hour)}))
	w.must(w.accounts.SaveUsage(w.Context(), account.Usage{UserID: u.ID, Day: day, Use: conversion.Use{Stored: 1000}, CountedAt: w.clock.Now().Add(-time.Hour)}))
	w.run()
	w.wantUse(u, 100, conversion.Use{Conversions: 1, Bytes: 10, Stored: 10})
	w.halt()

	c := w.create(u.ID, 7)
	w.wantUse(u, 100, conversion.Use{Conversions: 1, Bytes: 10, Stored: 10})
	w.fresh()
	w.run()
	w.wantUse(u, 107, conversion.Use{Conversions: 2, Bytes: 17, Stored: 17})
	w.halt()
	_, err := w.records.Store.Update(w.Context(), c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.must(err)
	w.fresh()
	w.run()
	w.wantUse(u, 100, conversion.Use{Conversions: 2, Bytes: 10, Stored: 10})
}

// A replica that does not lead counts what it changed.
func TestUseOfAReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t, countOften)
	u := w.user("a@example.org", 0)
	c := w.create(u.ID, 0) // of a size that its upload shows
	w.put(c.Object.Key, source)
	w.tell(c.Object.Key) // nobody leads
	d := w.serving.Load()
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- d.KeepUse(ctx) }()
	w.wantUse(u, int64(len(source)), conversion.Use{Conversions: 1, Bytes: int64(len(source)), Stored: int64(len(source))})
	cancel()
	w.must(<-done)
	if got := w.read(c.ID).State; got != conversion.Queued {
		t.Errorf("%s: somebody led", got)
	}
}

// A drop for which the quotas of its owner have no room waits in the inbox.
func TestInboxOverQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.Quotas.Queued = 1 })
	u := w.user("a@example.org", 0)
	w.launcher.set(func(l *launcher) { l.script = hang })
	first := w.uploaded(u.ID)
	w.put("inbox/a@example.org/a.mp4", source)
	w.tell("inbox/a@example.org/a.mp4")
	if got := w.metric("tonearm_events_total", "outcome=over_quota"); got != 1 {
		t.Errorf("%v events are over quota", got)
	}
	if n := len(w.of(u)); n != 1 {
		t.Fatalf("%d conversions", n)
	}
	w.run() // which starts the first one
	w.become(first.ID, conversion.Running)
	w.dropped(u, 2)
	if d := w.depth(queue.CPU); d > 1 {
		t.Errorf("%d messages", d)
	}
}
