package dispatcher_test

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

// wantStarts checks that attempts 1 to n were started, each once.
func (w *world) wantStarts(id string, n int) {
	w.Helper()
	want := map[int]int{}
	for i := range n {
		want[i+1] = 1
	}
	if got := w.launcher.started(id); !maps.Equal(got, want) {
		w.Errorf("attempts of %s started: %v, want 1 to %d once each", id, got, n)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	ends := func(e launch.End) func(*agent) launch.End { return func(*agent) launch.End { return e } }
	for name, c := range map[string]struct {
		script   func(*agent) launch.End
		state    conversion.State
		attempts int
		failures int
		code     conversion.Code
	}{
		"no audio":        {fail(true), conversion.Failed, 1, 0, conversion.CodeNoAudio},
		"store away":      {fail(false), conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeStore},
		"killed":          {crash, conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeCrashed},
		"exit code":       {ends(exited(77)), conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeCrashed},
		"out of memory":   {ends(launch.End{Reason: launch.OutOfMemory}), conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeOutOfMemory},
		"deadline":        {ends(launch.End{Reason: launch.Deadline}), conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeDeadlineExceeded},
		"never ran":       {ends(launch.End{Reason: launch.NotStarted, Detail: "no image"}), conversion.Failed, policy.MaxAttempts, policy.MaxAttempts, conversion.CodeLaunchFailed},
		"node lost":       {ends(launch.End{Reason: launch.Disrupted}), conversion.Failed, policy.MaxLaunches, 0, conversion.CodeLost},
		"not told":        {ends(exited(attempt.ExitNoReport)), conversion.Failed, policy.MaxLaunches, 0, conversion.CodeLost},
		"twice, then not": {inTurn(crash, fail(false), finish), conversion.Done, 3, 2, ""},
		"mixed":           {inTurn(ends(launch.End{Reason: launch.Disrupted}), crash, ends(launch.End{Reason: launch.Stopped}), crash, finish), conversion.Done, 5, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.launcher.set(func(l *launcher) { l.script = c.script })
			id := w.uploaded("owner").ID
			w.run()
			got := w.become(id, c.state)
			w.wantStarts(id, c.attempts)
			code := conversion.Code("")
			if got.Error != nil {
				code = got.Error.Code
				if got.Error.Message == "" {
					t.Error("no message")
				}
			}
			if got.Attempt != c.attempts || got.Failures != c.failures || got.Launches != c.attempts || code != c.code {
				t.Errorf("attempt %d, failures %d, launches %d, code %q", got.Attempt, got.Failures, got.Launches, code)
			}
			if got.Notice.State != conversion.NoticeOwed || got.Notice.Attempt != c.attempts {
				t.Errorf("notice %+v", got.Notice)
			}
			w.until("no work is left", func() bool { return w.depth(queue.CPU) == 0 })
			w.until("it is counted", func() bool {
				return w.metric("tonearm_conversions_finished_total", "state="+string(c.state), "code="+string(c.code)) == 1
			})
			w.until("what was launched is cleared away", func() bool {
				return w.launcher.stopped(conversion.AttemptRef{ConversionID: id, Attempt: c.attempts})
			})
		})
	}
}

// The owner's retry grants a fresh budget, and numbers go on.
func TestRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.launcher.set(func(l *launcher) { l.script = inTurn(crash, crash, crash, crash, finish) })
	id := w.uploaded("owner").ID
	w.run()
	w.become(id, conversion.Failed)
	w.act(id, func(c *conversion.Conversion) error { return c.Retry(time.Hour, w.clock.Now()) })
	c := w.become(id, conversion.Done)
	if c.Attempt != 5 || c.Failures != 1 || c.Launches != 2 {
		t.Errorf("attempt %d, failures %d, launches %d", c.Attempt, c.Failures, c.Launches)
	}
	w.wantStarts(id, 5)
	w.wantMP3(c)
}

// Cleaning removes results only of attempts that the record, as read, knows.
// Meanwhile a retry may have begun another attempt.
func TestCleanLeavesNewerAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.launcher.set(func(l *launcher) { l.script = fail(true) })
	c := w.uploaded("owner")
	w.run()
	w.become(c.ID, conversion.Failed)
	w.put(c.MP3Key(1), "of a refused result")
	w.put(c.MP3Key(2), "of an attempt that the record as read does not know")
	w.put(c.MP3Folder()+"other", "an orphan")
	w.clock.advance(policy.URLExpiry + time.Second)
	w.until("the refused result is gone", func() bool { return len(w.keys(c.MP3Folder())) == 2 })
	w.until("the record says so", func() bool { return w.read(c.ID).CleanAt.IsZero() })
	if got := w.keys(c.MP3Folder()); !slices.Equal(got, []string{c.MP3Key(2), c.MP3Folder() + "other"}) {
		t.Errorf("left: %q", got)
	}
}

// An attempt whose launch is gone is given up when its lease is stale, and not
// before one lease has passed since the dispatcher started.
func TestLostAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortLease)
	w.launcher.set(func(l *launcher) { l.script = inTurn(vanish, vanish, finish) })
	id := w.uploaded("owner").ID
	w.run()
	c := w.become(id, conversion.Done)
	if c.Attempt != 3 || c.Failures != 0 || c.Launches != 3 {
		t.Errorf("attempt %d, failures %d, launches %d", c.Attempt, c.Failures, c.Launches)
	}
	if got := w.metric("tonearm_attempts_ended_total", "reason=lost"); got != 2 {
		t.Errorf("%v counted as lost", got)
	}
}

func TestLostAttemptAfterStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.Policy.Lease = 3 * time.Second })
	c := w.uploaded("owner")
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Begin(1, policy, w.clock.Now()) })
	w.launcher.set(func(l *launcher) { l.refuse = func(launch.Spec) error { return errDown } })
	w.clock.advance(time.Hour) // the lease ended long ago
	w.run()
	w.until("the attempt is given another lease", func() bool {
		return w.read(c.ID).LeaseUntil.After(w.read(c.ID).StartedAt.Add(30*time.Minute)) || w.read(c.ID).State != conversion.Running
	})
	if got := w.read(c.ID); got.State != conversion.Running || got.Attempt != 1 {
		t.Errorf("%s, attempt %d", got.State, got.Attempt)
	}
	w.until("the attempt is given up", func() bool { return w.metric("tonearm_attempts_ended_total", "reason=lost") == 1 })
	if got := w.read(c.ID); got.Failures != 0 || got.Error.Code != conversion.CodeLost {
		t.Errorf("failures %d, %v", got.Failures, got.Error)
	}
}

func TestLauncherBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	w.launcher.set(func(l *launcher) {
		l.refuse = func(launch.Spec) error {
			if asked.Add(1) == 1 {
				return launch.ErrBusy
			}
			return nil
		}
	})
	var ids []string
	for range 5 {
		ids = append(ids, w.uploaded("owner").ID)
	}
	w.run()
	w.until("the attempt is postponed", func() bool { return asked.Load() == 1 && w.read(ids[0]).Revision > 2 })
	w.until("its number is free again", func() bool { c := w.read(ids[0]); return c.State != conversion.Queued || c.Attempt == 0 })
	for i, id := range ids {
		c := w.become(id, conversion.Done)
		if c.Attempt != 1 || c.Launches != 1 || c.Failures != 0 {
			t.Errorf("attempt %d, launches %d, failures %d", c.Attempt, c.Launches, c.Failures)
		}
		if i > 0 && c.StartedAt.Before(w.read(ids[i-1]).StartedAt) {
			t.Errorf("the busy launcher turned the order of %d and %d", i-1, i)
		}
		w.wantStarts(id, 1)
	}
}

// A message that was returned more often than a failing launch is tried is not
// dropped: the reason was only that there was no room.
func TestLauncherBusyForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{conversion.CPU: 1} })
	w.launcher.set(func(l *launcher) { l.script = idle })
	w.run()
	first := w.uploaded("owner")
	w.until("the first one runs, and what is owed was published", func() bool {
		return w.launcher.started(first.ID)[1] == 1 && w.depth(queue.CPU) == 0 && w.redis.Exists("tonearm:{notice}:life")
	})
	c := w.uploaded("owner")
	w.returned(25)
	w.launcher.set(func(l *launcher) { l.script = finish })
	w.act(first.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	c = w.become(c.ID, conversion.Done)
	if c.Attempt != 1 || c.Failures != 0 {
		t.Errorf("attempt %d, failures %d", c.Attempt, c.Failures)
	}
}

// returned takes the next message and gives it back, n times.
func (w *world) returned(n int) {
	w.Helper()
	for range n {
		d, err := w.queue.Take(w.Context(), queue.CPU, time.Minute, patience)
		w.must(err)
		w.must(w.queue.Return(w.Context(), d, 0))
	}
}

func TestLauncherFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	w.launcher.set(func(l *launcher) {
		l.refuse = func(launch.Spec) error {
			if asked.Add(1) == 1 {
				return errors.New("no answer")
			}
			return nil
		}
	})
	c := w.uploaded("owner")
	w.run()
	c = w.become(c.ID, conversion.Done)
	if c.Attempt != 1 || c.Launches != 1 {
		t.Errorf("attempt %d, launches %d", c.Attempt, c.Launches)
	}
}

// A launch that fails again and again ends its attempt, not only the message.
func TestLauncherFailsForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.uploaded("owner")
	w.returned(25)
	w.launcher.set(func(l *launcher) {
		l.refuse = func(s launch.Spec) error {
			if s.Attempt == 1 {
				return errors.New("no")
			}
			return nil
		}
	})
	w.run()
	c = w.become(c.ID, conversion.Done)
	if c.Attempt != 2 || c.Failures != 1 || c.Launches != 2 {
		t.Errorf("attempt %d, failures %d, launches %d", c.Attempt, c.Failures, c.Launches)
	}
}

// A class that is full does not hold up another class.
func TestMaxJobsOfEachClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) {
		o.MaxJobs = map[conversion.Class]int{conversion.CPU: 1, conversion.GPU: 1}
	})
	w.launcher.set(func(l *launcher) { l.script = hang })
	w.run()
	upload := func(class conversion.Class) string {
		if class == conversion.GPU {
			return w.poster().ID
		}
		return w.uploaded("owner").ID
	}
	for _, class := range []conversion.Class{conversion.CPU, conversion.GPU} {
		id := upload(class)
		w.until("the first of "+string(class)+" is launched", func() bool { return w.launcher.started(id)[1] == 1 })
	}
	waiting := upload(conversion.CPU)
	another := upload(conversion.GPU)
	running, _ := w.launcher.Running(t.Context())
	w.act(running[0].ConversionID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	next, full := waiting, another
	if running[0].Class == conversion.GPU {
		next, full = another, waiting
	}
	w.until("the next of the class with room is launched", func() bool { return w.launcher.started(next)[1] == 1 })
	w.wantStarts(full, 0)
}

func TestMaxJobs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		target time.Duration
		want   int64
	}{
		"no target":       {0, 3},
		"target too near": {time.Second, 3},
		"target far away": {24 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) { testMaxJobs(t, test.target, test.want) })
	}
}

// testMaxJobs sends ten files at once; at most three run at a time, or as many
// as the target allows.
func testMaxJobs(t *testing.T, target time.Duration, want int64) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.MaxJobs, o.Target = map[conversion.Class]int{conversion.CPU: 3}, target
	})
	var running, most atomic.Int64
	inside := make(chan struct{}, 20)
	release := make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			inside <- struct{}{}
			<-release
			return finish(a)
		}
	})
	var ids []string
	for range 10 {
		ids = append(ids, w.uploaded("owner").ID)
	}
	w.run()
	for range want {
		<-inside
	}
	close(release)
	for _, id := range ids {
		w.become(id, conversion.Done)
	}
	if most.Load() != want {
		t.Errorf("%d at a time, want %d", most.Load(), want)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.launcher.set(func(l *launcher) { l.script = hang })
	c := w.uploaded("owner")
	w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	w.until("the attempt is ended", func() bool {
		running, _ := w.launcher.Running(t.Context())
		return len(running) == 0
	})
	w.until("no message is left", func() bool { return w.depth(queue.Stop)+w.depth(queue.CPU) == 0 })
	if got := w.read(c.ID); got.State != conversion.Canceled || got.Failures != 0 || got.Notice.State != conversion.NoticeNone {
		t.Errorf("%s, failures %d, notice %s", got.State, got.Failures, got.Notice.State)
	}
	w.wantStarts(c.ID, 1)

	w.launcher.set(func(l *launcher) { l.script = finish })
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Retry(time.Hour, w.clock.Now()) })
	c = w.become(c.ID, conversion.Done)
	w.wantStarts(c.ID, 2)
	w.wantMP3(c)
}

// An attempt that is slow to stop does not delay the stops of others.
func TestCancelSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	told, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			<-a.ctx.Done()
			close(told)
			<-release
			return launch.End{Reason: launch.Stopped}
		}
	})
	cancel := func(id string) {
		w.until("it is launched", func() bool { return w.launcher.started(id)[1] == 1 })
		later := w.clock.Now().Add(time.Hour) // so that the agenda does not help
		w.act(id, func(c *conversion.Conversion) error { return c.Cancel(later) })
	}
	cancel(w.uploaded("owner").ID)
	<-told
	w.launcher.set(func(l *launcher) { l.script = idle })
	quick := w.uploaded("owner").ID
	cancel(quick)
	w.until("the other one is gone", func() bool {
		running, _ := w.launcher.Running(t.Context())
		return len(running) == 1 && running[0].ConversionID != quick
	})
}

// A queued conversion that was canceled is not launched.
func TestCancelBeforeLaunch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.uploaded("owner")
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	w.run()
	w.until("the message is gone", func() bool { return w.depth(queue.CPU) == 0 })
	w.wantStarts(c.ID, 0)
}

// An attempt that ends with its launcher is queued again and does not count.
func TestStopWithRunningAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.launcher.set(func(l *launcher) { l.script, l.mortal = hang, true })
	var ids []string
	for range 3 {
		ids = append(ids, w.uploaded("owner").ID)
	}
	w.run()
	for _, id := range ids {
		w.until("it is claimed", func() bool { return w.read(id).Nonce != "" })
	}
	w.halt()
	for _, id := range ids {
		if c := w.read(id); c.State != conversion.Queued || c.Failures != 0 || c.Attempt != 1 {
			t.Errorf("%s, attempt %d, failures %d", c.State, c.Attempt, c.Failures)
		}
	}
	w.launcher.set(func(l *launcher) { l.script = finish })
	w.fresh()
	w.run()
	for _, id := range ids {
		w.wantMP3(w.become(id, conversion.Done))
		w.wantStarts(id, 2)
	}
}

// Attempts that outlive the dispatcher go on with the next one.
func TestRestartWithRunningAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claimed, release := make(chan struct{}), make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			as, err := a.Claim(a.ctx, a.nonce)
			if err != nil {
				return a.ended(err)
			}
			claimed <- struct{}{}
			<-release
			return a.deliver(as)
		}
	})
	c := w.uploaded("owner")
	w.run()
	<-claimed
	w.restart()
	close(release)
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.wantStarts(c.ID, 1)
}
