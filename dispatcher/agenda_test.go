package dispatcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tonearm/dispatcher"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
	"tonearm/internal/service"
)

const day = 24 * time.Hour

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.uploaded("owner")
	w.run()
	c = w.become(c.ID, conversion.Done)
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("its objects are gone", func() bool { return len(w.keys(c.MP3Folder()))+len(w.keys("uploads/")) == 0 })
	w.clock.advance(2 * time.Hour)
	w.until("nothing more is to be cleaned", func() bool { return w.read(c.ID).CleanAt.IsZero() })
	w.put(c.Object.Key, source) // with a link that was still good; the event is lost
	w.clock.advance(8*day - 3*time.Hour)
	if got := w.read(c.ID); got.State != conversion.Deleted || got.WakeAt.Before(w.clock.Now()) {
		t.Errorf("%s, wakes at %s", got.State, got.WakeAt)
	}
	w.clock.advance(2 * time.Hour)
	w.until("the tombstone is gone", func() bool {
		_, err := w.records.ByID(t.Context(), c.ID)
		return errors.Is(err, conversion.ErrNotFound)
	})
	if got := w.keys(""); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func TestDeleteRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.launcher.set(func(l *launcher) { l.script = hang })
	c := w.uploaded("owner")
	w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
	w.put(c.MP3Key(1), "half of it")
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
	w.until("nothing of it is left", func() bool {
		running, _ := w.launcher.Running(t.Context())
		return len(running)+len(w.keys("")) == 0
	})
}

func TestSourceRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	u := w.user("a@example.org", 0)
	drop := "inbox/a@example.org/video.mp4"
	w.put(drop, source)
	w.become(w.dropped(u, 1)[0].ID, conversion.Done)
	c := w.uploaded("owner")
	w.become(c.ID, conversion.Done)
	canceled := w.create("owner", int64(len(source)))
	w.put(canceled.Object.Key, source) // and its event is lost
	w.act(canceled.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	rejected := w.create("owner", 1)
	w.put(rejected.Object.Key, source)
	w.tell(rejected.Object.Key)
	w.become(rejected.ID, conversion.Failed)
	w.launcher.set(func(l *launcher) { l.script = fail(true) })
	failed := w.uploaded("owner")
	w.become(failed.ID, conversion.Failed)
	old := w.create("owner", int64(len(source)))
	w.put(old.Object.Key, source)
	w.act(old.ID, func(c *conversion.Conversion) error { // as the version before did
		err := c.Cancel(w.clock.Now())
		c.SourceLeft, c.CleanAt = false, time.Time{}
		return err
	})
	all := []string{c.Object.Key, canceled.Object.Key, rejected.Object.Key, failed.Object.Key, old.Object.Key}
	slices.Sort(all)

	w.clock.advance(7*day - time.Minute)
	w.until("the agenda was kept at that time", func() bool { return w.read(c.ID).WakeAt.After(w.clock.Now()) })
	if got := w.keys("uploads/"); !slices.Equal(got, all) {
		t.Errorf("left before their time: %q, want %q", got, all)
	}
	w.clock.advance(2 * time.Minute)
	w.until("the sources are gone", func() bool { return slices.Equal(w.keys("uploads/"), []string{old.Object.Key}) })
	w.until("the record says so", func() bool { return w.read(c.ID).SourceGone && w.read(failed.ID).SourceGone })
	w.wantMP3(w.read(c.ID))
	if got := w.keys("inbox/"); !slices.Equal(got, []string{drop}) {
		t.Errorf("left in the inbox: %q, want %q", got, drop)
	}
	w.put(canceled.Object.Key, source) // as late as can be
	w.put(c.MP3Key(1)+"x", "no result of an attempt")
	w.put(failed.MP3Key(1), "the result of an attempt that had failed")
	w.until("what came late is gone", func() bool {
		return len(w.keys(canceled.Object.Key))+len(w.keys(failed.MP3Folder())) == 0
	})
	if len(w.keys("uploads/")) != 1 || len(w.keys(c.MP3Folder())) != 2 {
		t.Errorf("left: %q", w.keys(""))
	}
	w.halt()
	w.options.OldSources = true
	w.fresh()
	w.run()
	w.until("an old one is gone too", func() bool { return len(w.keys("uploads/")) == 0 })
}

// An MP3 goes at the end of its time, and its record says so.
func TestMP3Retention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.Policy.MP3Retention = 30 * day }).run()
	c := w.uploaded("owner")
	c = w.become(c.ID, conversion.Done)
	if until := c.FinishedAt.Add(30 * day); !c.MP3Until.Equal(until) {
		t.Fatalf("the MP3 goes at %s, want %s", c.MP3Until, until)
	}
	w.clock.advance(30*day - time.Minute)
	w.until("the agenda was kept at that time", func() bool { return w.read(c.ID).WakeAt.After(w.clock.Now()) })
	w.wantMP3(w.read(c.ID))
	w.clock.advance(2 * time.Minute)
	w.until("it is gone", func() bool { return len(w.keys(c.MP3Folder())) == 0 && w.read(c.ID).MP3Gone })
	w.put(c.MP3.Key, "late") // by an attempt that was thought dead
	w.until("it is gone again", func() bool { return len(w.keys(c.MP3Folder())) == 0 })
	if got := w.read(c.ID); got.State != conversion.Done || got.MP3.Key != c.MP3.Key || !got.MP3Until.IsZero() {
		t.Errorf("%s with %+v until %s", got.State, got.MP3, got.MP3Until)
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.uploaded("owner")
	orphans := []string{"mp3s/x", "mp3s/owner/" + conversion.NewID() + "/1.mp3", "other/thing", "uploads/owner/" + conversion.NewID() + "/source"}
	for _, key := range orphans {
		w.put(key, "?")
	}
	w.run()
	w.become(c.ID, conversion.Done)
	w.until("they are counted", func() bool {
		return w.metric("tonearm_orphan_objects", "prefix=uploads") == 1 && w.metric("tonearm_orphan_objects", "prefix=mp3s") == 2 &&
			w.metric("tonearm_stranger_objects", "prefix=uploads") == 1 && w.metric("tonearm_stranger_objects", "prefix=mp3s") == 2
	})
	w.clock.advance(100 * day)
	w.until("the known source is gone", func() bool { return len(w.keys(c.Object.Key)) == 0 })
	for _, key := range orphans {
		if len(w.keys(key)) != 1 {
			t.Errorf("%s was removed", key)
		}
	}
}

// A scan of many objects asks for the records of a page at once, and brings home
// what is on any page.
func TestScanPages(t *testing.T) {
	t.Parallel()
	const orphans = 2 * conversion.MaxIDs
	w := newWorld(t, func(o *dispatcher.Options) { o.OrphanScanEvery = time.Hour })
	c := w.create("z", int64(len(source))) // listed last
	w.run()
	w.clock.advance(time.Hour + time.Second)
	w.become(c.ID, conversion.Expired)
	w.clock.advance(time.Hour)
	w.until("the last look is over", func() bool { return w.read(c.ID).WakeAt.IsZero() })
	w.halt()
	w.put(c.Object.Key, source)
	w.objects.orphans = orphans
	w.records.asked.Store(0)
	w.fresh()
	w.run()
	w.until("all are counted", func() bool { return w.metric("tonearm_orphan_objects", "prefix=uploads") == orphans })
	w.wantMP3(w.become(c.ID, conversion.Done))
	if asked := w.records.asked.Load(); asked > orphans/10 {
		t.Errorf("a scan of %d objects asked the records %d times", orphans, asked)
	}
}

// An attempt that may be lost is looked at, however many others are due and
// however long what they need takes.
func TestLeasesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortLease)
	for range 150 { // more than one batch
		w.create("owner", int64(len(source)))
	}
	w.clock.advance(time.Minute)
	release := make(chan struct{})
	busy := func() bool { <-release; return false }
	w.objects.fails.Store(&busy)
	defer close(release)
	w.launcher.set(func(l *launcher) { l.script = vanish })
	w.run()
	w.until("all hands are busy with uploads", func() bool { return w.objects.headed.Load() >= 8 })
	c := w.create("owner", int64(len(source)))
	w.act(c.ID, func(c *conversion.Conversion) error {
		return c.Uploaded(conversion.Object{Key: c.Object.Key, Size: c.Object.Size, ETag: "e", Version: "e"}, w.clock.Now())
	})
	w.until("the attempt is given up", func() bool { return w.metric("tonearm_attempts_ended_total", "reason=lost") > 0 })
}

// The agenda publishes what a crashed writer left in the outbox.
func TestOutboxRelayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.until("what is owed was published", func() bool { return w.redis.Exists("tonearm:{notice}:life") })
	c := w.create("owner", int64(len(source)))
	w.put(c.Object.Key, source)
	o, err := w.objects.Head(t.Context(), c.Object.Key)
	w.must(err)
	past := w.clock.Now().Add(-time.Minute)
	_, err = w.records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error { // a write without publishing
		return c.Uploaded(conversion.Object{Key: o.Key, ETag: o.ETag, Version: o.ETag, Size: o.Size}, past)
	})
	w.must(err)
	w.wantMP3(w.become(c.ID, conversion.Done))
	if got := w.metric("tonearm_outbox_relayed_total"); got != 1 {
		t.Errorf("relayed %v times", got)
	}

	w.launcher.set(func(l *launcher) { l.script = hang })
	c = w.uploaded("owner")
	w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
	_, err = w.records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error { return c.Cancel(past) })
	w.must(err)
	w.until("the stop is relayed", func() bool {
		running, _ := w.launcher.Running(t.Context())
		return len(running) == 0 && w.metric("tonearm_outbox_relayed_total") == 2
	})
}

// taken makes a queued conversion whose message was taken by somebody who has
// gone.
func taken(w *world) conversion.Conversion {
	w.Helper()
	c := w.uploaded("owner")
	_, err := w.queue.Take(w.Context(), queue.CPU, 50*time.Millisecond, 0)
	w.must(err)
	return c
}

func TestCrashBeforeLaunch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := taken(w)
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Begin(1, w.options.Policy, w.clock.Now()) })
	w.run()
	c = w.become(c.ID, conversion.Done)
	w.wantStarts(c.ID, 1)
	w.wantMP3(c)
}

func TestCrashBeforeAck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, script := range map[string]func(*agent) launch.End{"claimed": hang, "not claimed": idle} {
		c := taken(w)
		w.launcher.set(func(l *launcher) { l.script = script })
		w.act(c.ID, func(c *conversion.Conversion) error { return c.Begin(1, w.options.Policy, w.clock.Now()) })
		w.must(w.launcher.Start(t.Context(), launch.Spec{
			AttemptRef: conversion.AttemptRef{ConversionID: c.ID, Attempt: 1}, Token: attemptKey.Token(c.ID, 1),
		}))
		if name == "claimed" {
			w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
		}
	}
	w.run()
	w.until("the messages are gone", func() bool { return w.depth(queue.CPU) == 0 })
	list, err := w.records.List(t.Context(), conversion.Query{OwnerID: "owner", Limit: 10})
	w.must(err)
	for _, c := range list {
		w.wantStarts(c.ID, 1)
		if c.State != conversion.Running || c.Attempt != 1 {
			t.Errorf("%s, attempt %d", c.State, c.Attempt)
		}
	}
}

// Records that cannot be handled do not hold up the others.
func TestAgendaOfFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortLease)
	past := w.clock.Now().Add(-time.Hour)
	for range 120 {
		c, err := conversion.New(conversion.Params{OwnerID: "owner", OwnerEmail: "owner@example.org", UploadWindow: 2 * time.Hour}, past)
		w.must(err)
		w.must(w.records.Create(t.Context(), c))
	}
	w.launcher.set(func(l *launcher) { l.script = inTurn(vanish, idle) })
	c := w.uploaded("owner")
	w.objects.always()
	w.run()
	w.until("the lost attempt is found", func() bool { return w.read(c.ID).Attempt == 2 })
	w.until("every upload was looked for", func() bool { return w.objects.failed.Load() >= 120 })
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.uploaded("owner")
	w.create("owner", 1)
	w.put("mp3s/x", "?")
	w.run()
	w.become(c.ID, conversion.Done)
	w.until("the end is counted", func() bool { return w.metric("tonearm_attempts_ended_total", "reason=exited") == 1 })
	problems, err := testutil.GatherAndLint(w.registry)
	w.must(err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name, want := range map[string]float64{
		"tonearm_attempts_launched_total":    1,
		"tonearm_conversions_finished_total": 1,
		"tonearm_queue_messages":             1, // the notice
		"tonearm_outbox_relayed_total":       0,
	} {
		if got := w.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, stage := range []string{"detect", "notice", "queue", "convert"} { // notice is the old name of detect
		if got := w.metric("tonearm_stage_duration_seconds", "stage="+stage); got != 1 {
			t.Errorf("stage %s was observed %v times, want 1", stage, got)
		}
	}
}

// If a counter appears only with its first count, rate() does not see that
// count.
func TestCountersStartAtZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := map[string]int{}
	for _, f := range w.gather() {
		got[f.GetName()] = len(f.GetMetric())
	}
	for name, want := range map[string]int{
		"tonearm_conversions_finished_total": 2 * (2 + len(conversion.Codes)),
		"tonearm_stage_duration_seconds":     2 * 4, // detect also counts as notice
		"tonearm_attempts_launched_total":    2,
		"tonearm_attempts_ended_total":       2 + len(launch.Reasons), // lost and silent
		"tonearm_attempts_faults_total":      2 * (1 + len(conversion.Faults)),
		"tonearm_source_bytes_total":         2,
		"tonearm_source_read_bytes_total":    2,
		"tonearm_mp3_bytes_total":            2,
		"tonearm_audio_seconds_total":        2,
		"tonearm_events_total":               14,
	} {
		if got[name] != want {
			t.Errorf("%s has %d series, want %d", name, got[name], want)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, spoil := range map[string]func(*dispatcher.Options){
		"no records":     func(o *dispatcher.Options) { o.Records = nil },
		"no bucket":      func(o *dispatcher.Options) { o.Bucket = "" },
		"short token":    func(o *dispatcher.Options) { o.EventToken = "short" },
		"short key":      func(o *dispatcher.Options) { o.AttemptKey = o.AttemptKey[:31] },
		"no log":         func(o *dispatcher.Options) { o.Log = nil },
		"no lease":       func(o *dispatcher.Options) { o.Policy.Lease = 0 },
		"no URL expiry":  func(o *dispatcher.Options) { o.Policy.URLExpiry = 0 },
		"no jobs":        func(o *dispatcher.Options) { o.MaxJobs = nil },
		"negative jobs":  func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{"cpu": 2, "gpu": -1} },
		"no CPU":         func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{"gpu": 1} },
		"no registerer":  func(o *dispatcher.Options) { o.Registerer = nil },
		"negative wait":  func(o *dispatcher.Options) { o.GPUWait = -1 },
		"negative inbox": func(o *dispatcher.Options) { o.InboxWait = -1 },
		"negative bytes": func(o *dispatcher.Options) { o.Limits.MaxMP3Bytes = -1 },
		"no max launch":  func(o *dispatcher.Options) { o.Policy.MaxLaunches = 0 },
		"no max attempt": func(o *dispatcher.Options) { o.Policy.MaxAttempts = 0 },
	} {
		o := w.options
		o.Registerer = prometheus.NewRegistry()
		spoil(&o)
		if _, err := dispatcher.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := dispatcher.New(w.options); err == nil || !strings.Contains(err.Error(), "register metrics") {
		t.Errorf("a second dispatcher with the registerer of the first: %v", err)
	}
}

// A dispatcher whose own clock is hours behind goes by the store's.
func TestSkewedClock(t *testing.T) {
	t.Parallel()
	var clock *service.Clock
	w := newWorld(t, func(o *dispatcher.Options) {
		store := o.Now
		var err error
		clock, err = service.NewClock(func(context.Context) (time.Time, error) { return store(), nil }, o.Log, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		o.Now = clock.Now
	})
	w.clock.advance(5 * time.Hour)
	w.must(clock.Measure(t.Context()))
	w.run()
	w.become(w.uploaded("owner").ID, conversion.Done)
	c := w.create("owner", int64(len(source)))
	w.clock.advance(time.Hour - time.Minute)
	w.must(clock.Measure(t.Context()))
	w.until("the upload is looked for", func() bool { return w.read(c.ID).WakeAt.After(w.clock.Now()) })
	if got := w.read(c.ID); got.State != conversion.AwaitingUpload {
		t.Errorf("%s before its time", got.State)
	}
	w.clock.advance(2 * time.Minute)
	w.must(clock.Measure(t.Context()))
	w.become(c.ID, conversion.Expired)
}
