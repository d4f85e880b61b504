package dispatcher_test

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

// goingOn lets one launch at a time run, and carry up to that many files.
func goingOn(files int) func(*dispatcher.Options) {
	return func(o *dispatcher.Options) {
		o.MaxJobs, o.MaxFilesPerJob = map[conversion.Class]int{conversion.CPU: 1}, files
	}
}

func first(id string) conversion.AttemptRef {
	return conversion.AttemptRef{ConversionID: id, Attempt: 1}
}

// carriedBy returns the launch of each carried attempt.
func (l *launcher) carriedBy() map[conversion.AttemptRef]conversion.AttemptRef {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.carriers)
}

// count is how many files a launch has had.
func (l *launcher) count(by conversion.AttemptRef) int {
	n := 1
	for _, c := range l.carriedBy() {
		if c == by {
			n++
		}
	}
	return n
}

func (w *world) wantCarried(want map[conversion.AttemptRef]conversion.AttemptRef) {
	w.Helper()
	if got := w.launcher.carriedBy(); !maps.Equal(got, want) {
		w.Errorf("carried: %v, want %v", got, want)
	}
	if got := w.metric("tonearm_attempts_carried_total", "class=cpu"); got != float64(len(want)) {
		w.Errorf("%v counted as carried, want %d", got, len(want))
	}
}

// Seven files of one owner in launches of three: 3, 3 and 1, in order.
func TestCarried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(3))
	var ids []string
	for range 7 {
		ids = append(ids, w.uploaded("owner").ID)
	}
	w.run()
	for i, id := range ids {
		c := w.become(id, conversion.Done)
		w.wantMP3(c)
		if c.Attempt != 1 || c.Launches != 1 || c.StartedAt.IsZero() || c.ClaimedAt.Before(c.StartedAt) {
			t.Errorf("file %d: %+v", i, c)
		}
		w.wantStarts(id, map[bool]int{true: 1, false: 0}[i%3 == 0])
	}
	w.wantCarried(map[conversion.AttemptRef]conversion.AttemptRef{
		first(ids[1]): first(ids[0]), first(ids[2]): first(ids[0]), first(ids[4]): first(ids[3]), first(ids[5]): first(ids[3]),
	})
	w.until("no message is left", func() bool { return w.depth(queue.CPU) == 0 })
	w.wantOrder()
	w.launcher.mu.Lock()
	defer w.launcher.mu.Unlock()
	for _, s := range w.launcher.specs { // the launch has room for the other files
		if s.SourceSize != 64<<20 || s.Deadline < 15*time.Minute {
			t.Errorf("launched for %d bytes and %s", s.SourceSize, s.Deadline)
		}
	}
}

// The owner whose turn it is gets a launch of their own.
func TestCarriedNotBeforeOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(10))
	var ids []string
	for i := range 6 {
		ids = append(ids, w.uploaded(fmt.Sprint("owner-", i%2)).ID)
	}
	w.run()
	for _, id := range ids {
		w.become(id, conversion.Done)
	}
	for i, id := range ids[:5] {
		w.wantStarts(id, 1)
		if i > 0 && w.read(id).StartedAt.Before(w.read(ids[i-1]).FinishedAt) {
			t.Errorf("file %d was begun before %d was done", i, i-1)
		}
	}
	w.wantCarried(map[conversion.AttemptRef]conversion.AttemptRef{})
}

// queuedWith makes a queued conversion and applies change to it.
func (w *world) queuedWith(owner string, change func(*conversion.Conversion) error) string {
	w.Helper()
	c, err := conversion.New(conversion.Params{
		OwnerID: owner, OwnerEmail: owner + "@example.org", Filename: "video.mp4", UploadWindow: time.Hour,
	}, w.clock.Now())
	w.must(err)
	w.must(change(&c))
	w.must(w.records.Create(w.Context(), c))
	w.outbox.Flush(w.Context(), c)
	return c.ID
}

// A file that may not be carried gets a launch of its own.
func TestNotCarried(t *testing.T) {
	t.Parallel()
	sized := func(w *world, size int64) func(*conversion.Conversion) error {
		return func(c *conversion.Conversion) error {
			return c.Uploaded(conversion.Object{Key: c.Object.Key, Version: c.ID, ETag: "e", Size: size}, w.clock.Now())
		}
	}
	for name, tt := range map[string]struct {
		next  func(w *world) string
		while func(w *world) // called while the first file runs
		want  int            // starts of the next file
	}{
		"fits":      {next: func(w *world) string { return w.queuedWith("owner", sized(w, 64<<20)) }},
		"too large": {next: func(w *world) string { return w.queuedWith("owner", sized(w, 64<<20+1)) }, want: 1},
		"a second attempt": {next: func(w *world) string {
			return w.queuedWith("owner", func(c *conversion.Conversion) error {
				if err := sized(w, 10)(c); err != nil {
					return err
				}
				if err := c.Begin(1, policy, w.clock.Now()); err != nil {
					return err
				}
				return c.FailAttempt(1, conversion.Failure{Code: conversion.CodeLost}, conversion.Disrupted, policy, w.clock.Now())
			})
		}, want: 1},
		"too late": {
			next:  func(w *world) string { return w.queuedWith("owner", sized(w, 10)) },
			while: func(w *world) { w.clock.advance(15*time.Minute + 10*time.Second) }, want: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, goingOn(10))
			inside, release := make(chan struct{}), make(chan struct{})
			w.launcher.set(func(l *launcher) {
				l.script = func(a *agent) launch.End {
					inside <- struct{}{}
					<-release
					return finish(a)
				}
			})
			id := w.uploaded("owner").ID
			w.run()
			<-inside
			next := tt.next(w)
			if tt.while != nil {
				tt.while(w)
			}
			w.launcher.set(func(l *launcher) { l.script = finish })
			close(release)
			w.become(id, conversion.Done)
			w.become(next, conversion.Done)
			starts := 0
			for _, n := range w.launcher.started(next) {
				starts += n
			}
			if starts != tt.want {
				t.Errorf("the next one was started %d times, want %d", starts, tt.want)
			}
		})
	}
}

// asking is a result that asks for another file.
func asking(nonce, next string) attempt.Result {
	r := resultOf(nonce, "sound")
	r.NextNonce = next
	return r
}

func (w *world) taken(id, token string, r attempt.Result) (attempt.ResultReply, int) {
	w.Helper()
	var taken attempt.ResultReply
	status, _ := w.post("/attempts/"+id+"/result", token, r, &taken)
	return taken, status
}

// stored claims the first attempt and stores its MP3.
func (w *world) stored(id, nonce string) {
	w.Helper()
	as, status := w.claim(id, attemptKey.Token(id, 1), nonce)
	if status != http.StatusOK {
		w.Fatalf("claim: %d", status)
	}
	w.must(store(w.Context(), as.Target, "sound"))
}

// waiting counts the messages of class cpu that wait for a taker.
func (w *world) waiting() int64 {
	w.Helper()
	d, err := w.queue.Depth(w.Context(), queue.CPU)
	w.must(err)
	return d.Waiting
}

// Whatever part of the answer's way is lost, the same result sent again gets
// the same file, and that file is begun once.
func TestCarriedAnswerLost(t *testing.T) {
	t.Parallel()
	for when, calls := range map[string]int{"before call": 6, "after write": 3} { // the numbers of calls that there are
		for call := range calls {
			t.Run(fmt.Sprint(when, " ", call), func(t *testing.T) {
				w := newWorld(t, goingOn(10)).run()
				c := begun(w)
				for range 3 {
					w.uploaded("owner")
				}
				token := attemptKey.Token(c.ID, 1)
				w.stored(c.ID, "a")
				var left atomic.Int64
				left.Store(int64(call))
				fails := func() bool { return left.Add(-1) == -1 }
				switch when {
				case "before call":
					w.records.before.fails.Store(&fails)
				case "after write":
					w.records.after.fails.Store(&fails)
				}
				var got attempt.ResultReply
				w.until("the result is taken", func() bool {
					var status int
					got, status = w.taken(c.ID, token, asking("a", "b"))
					return status == http.StatusOK
				})
				w.records.before.never()
				w.records.after.never()
				if got.Next == nil || got.State != conversion.Done {
					t.Fatalf("taken: %+v", got)
				}
				next := *got.Next
				for range 2 {
					again, status := w.taken(c.ID, token, asking("a", "b"))
					if status != http.StatusOK || again.Next == nil || again.Next.Token != next.Token ||
						!reflect.DeepEqual(unsigned(again.Next.Assignment), unsigned(next.Assignment)) {
						t.Errorf("again: %d, %+v", status, again.Next)
					}
				}
				d := w.read(next.Assignment.ConversionID)
				if !d.Current(1, "b") || d.Launches != 1 || d.Carrier == nil || d.Carrier.Launch != first(c.ID) {
					t.Errorf("it is %s by %+v", d.State, d.Carrier)
				}
				w.wantStarts(d.ID, 0)
				w.must(store(t.Context(), next.Assignment.Target, "sound"))
				got, status := w.taken(d.ID, next.Token, asking("b", "c"))
				if status != http.StatusOK || got.Next == nil || got.Next.Assignment.ConversionID == d.ID {
					t.Errorf("the one after it: %d, %+v", status, got)
				}
				w.until("the last one waits alone", func() bool { return w.waiting() == 1 && w.depth(queue.CPU) == 1 })
			})
		}
	}
}

// Many answers to one result hand over one file.
func TestCarriedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(10)).run()
	c := begun(w)
	for range 8 {
		w.uploaded("owner")
	}
	w.stored(c.ID, "a")
	var mu sync.Mutex
	given := map[string]int{}
	var asked sync.WaitGroup
	for range 8 {
		asked.Go(func() {
			taken, status := w.taken(c.ID, attemptKey.Token(c.ID, 1), asking("a", "b"))
			mu.Lock()
			defer mu.Unlock()
			if status != http.StatusOK || taken.Next == nil {
				t.Errorf("status %d, %+v", status, taken)
				return
			}
			given[taken.Next.Assignment.ConversionID]++
		})
	}
	asked.Wait()
	if len(given) != 1 {
		t.Errorf("given: %v", given)
	}
	w.until("the others wait", func() bool { return w.waiting() == 7 && w.depth(queue.CPU) == 7 })
	if got := w.metric("tonearm_attempts_carried_total"); got != 1 {
		t.Errorf("%v counted as carried", got)
	}
}

// Bad results, and results of processes that have no right to another file.
func TestNotGoingOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(10)).run()
	c := begun(w)
	token := attemptKey.Token(c.ID, 1)
	w.uploaded("owner")
	w.stored(c.ID, "a")
	if _, status := w.taken(c.ID, token, asking("other", "b")); status != http.StatusConflict {
		t.Errorf("another nonce: %d", status)
	}
	both := asking("a", "b")
	both.Stopped = true
	if _, status := w.taken(c.ID, token, both); status != http.StatusBadRequest {
		t.Errorf("stopped, and an MP3: %d", status)
	}
	if taken, status := w.taken(c.ID, token, attempt.Result{Nonce: "a", NextNonce: "b", Stopped: true}); status != http.StatusOK || taken.Next != nil {
		t.Errorf("it runs: %d, %+v", status, taken)
	}
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	if taken, status := w.taken(c.ID, token, attempt.Result{Nonce: "a", NextNonce: "b", Stopped: true}); status != http.StatusOK || taken.Next != nil {
		t.Errorf("its launch is being stopped: %d, %+v", status, taken)
	}
}

// carrying returns two conversions: the first is done, and its launch carries
// the second, claimed with nonce "b". The test plays its process.
func carrying(w *world) (c, d conversion.Conversion) {
	w.Helper()
	c = begun(w)
	d = w.uploaded("owner")
	w.stored(c.ID, "a")
	taken, status := w.taken(c.ID, attemptKey.Token(c.ID, 1), asking("a", "b"))
	if status != http.StatusOK || taken.Next == nil || taken.Next.Assignment.ConversionID != d.ID {
		w.Fatalf("taken: %d, %+v", status, taken)
	}
	return w.read(c.ID), w.read(d.ID)
}

// Cancel and delete end the carried file and not its launch. The same is true
// of the first file once it is done.
func TestCancelCarried(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*conversion.Conversion, time.Time) error{
		"cancel": (*conversion.Conversion).Cancel,
		"delete": (*conversion.Conversion).Delete,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, goingOn(10)).run()
			c, d := carrying(w)
			e := w.uploaded("owner")
			token := attemptKey.Token(d.ID, 1)
			g, status := w.progress(d.ID, token, "b")
			if status != http.StatusOK || g.Stop {
				t.Fatalf("progress: %d, %+v", status, g)
			}
			w.act(c.ID, func(c *conversion.Conversion) error { return c.Delete(w.clock.Now()) })
			w.act(d.ID, func(c *conversion.Conversion) error { return end(c, w.clock.Now()) })
			if g, status := w.progress(d.ID, token, "b"); status != http.StatusOK || !g.Stop {
				t.Errorf("progress after %s: %d, stop %v", name, status, g.Stop)
			}
			w.until("the stop is taken", func() bool { return w.depth(queue.Stop) == 0 })
			w.clock.advance(10 * time.Second)
			for _, id := range []string{c.ID, d.ID} {
				w.until("both are clean", func() bool { at := w.read(id).CleanAt; return at.IsZero() || at.After(w.clock.Now()) })
			}
			stopped := attempt.Result{Nonce: "b", NextNonce: "c", Stopped: true}
			for range 2 {
				taken, status := w.taken(d.ID, token, stopped)
				if status != http.StatusOK || taken.Next == nil || taken.Next.Assignment.ConversionID != e.ID || !taken.State.Terminal() {
					t.Fatalf("stopped: %d, %+v", status, taken)
				}
			}
			if w.launcher.stopped(first(c.ID)) {
				t.Error("the launch was stopped")
			}
			if e = w.read(e.ID); !e.Current(1, "c") || e.LaunchRef() != first(c.ID) || e.Carrier.Files != 3 {
				t.Errorf("the third one: %s, %+v", e.State, e.Carrier)
			}
		})
	}
}

// When a launch ends, the file that it carries is lost as a disruption: at once
// if somebody sees the end, otherwise when the lease ends.
func TestCarrierEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]launch.End{
		"killed":        {Reason: launch.Killed},
		"out of memory": {Reason: launch.OutOfMemory},
		"deadline":      {Reason: launch.Deadline},
		"not told":      exited(attempt.ExitNoReport),
		"vanished":      {Reason: vanished},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, goingOn(10), func(o *dispatcher.Options) {
				if end.Reason == vanished {
					o.Policy.Lease = time.Second
				}
			})
			w.launcher.set(func(l *launcher) {
				l.carried = func(a *agent, as attempt.Assignment) launch.End {
					if l.count(a.launch) == 3 {
						return end
					}
					return a.deliver(as)
				}
			})
			var ids []string
			for range 5 {
				ids = append(ids, w.uploaded("owner").ID)
			}
			w.run()
			for i, id := range ids {
				c := w.become(id, conversion.Done)
				w.wantMP3(c)
				least, most := 1, 1
				if i == 2 {
					least, most = 2, 2
				}
				if end.Reason == vanished { // with so short a lease other attempts may be lost too
					most = policy.MaxLaunches
				}
				if c.Failures != 0 || c.Attempt < least || c.Attempt > most || c.Launches != c.Attempt {
					t.Errorf("file %d: attempt %d, launches %d, failures %d", i, c.Attempt, c.Launches, c.Failures)
				}
			}
			if got := w.launcher.started(ids[2]); got[1] != 0 || got[2] != 1 && end.Reason != vanished {
				t.Errorf("starts of the lost one: %v", got)
			}
			w.wantOrder()
		})
	}
}

// A carried attempt that is silent ends with its launch, and counts only if it
// was not the first time.
func TestSilentCarried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(10), shortSilence).run()
	c, d := carrying(w)
	w.launcher.set(func(l *launcher) { l.script = finish })
	d = w.become(d.ID, conversion.Done)
	if d.Attempt != 2 || d.Failures != 0 || d.Silences != 1 || !w.launcher.stopped(conversion.AttemptRef{ConversionID: c.ID, Attempt: 1}) {
		t.Errorf("attempt %d, failures %d, silences %d", d.Attempt, d.Failures, d.Silences)
	}
	w.wantMP3(d)
}

// A carried file ends with the launcher, and is queued again at once.
func TestStopWithCarried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goingOn(10))
	w.launcher.set(func(l *launcher) { l.mortal = true })
	w.run()
	_, d := carrying(w)
	w.halt()
	if c := w.read(d.ID); c.State != conversion.Queued || c.Failures != 0 || c.Attempt != 1 {
		t.Errorf("%s, attempt %d, failures %d", c.State, c.Attempt, c.Failures)
	}
	w.launcher.set(func(l *launcher) { l.script = finish })
	w.fresh()
	w.run()
	w.wantMP3(w.become(d.ID, conversion.Done))
}
