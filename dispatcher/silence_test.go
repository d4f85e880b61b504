package dispatcher_test

import (
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// shortSilence is for attempts that hang. Those that do not must report in time,
// also on a slow machine.
func shortSilence(o *dispatcher.Options) {
	o.Policy.Lease = time.Second
	o.Silence = 3 * time.Second
	o.ReportEvery = 100 * time.Millisecond
}

// An attempt that is silent though it runs is stopped and given up. The first
// time does not count.
func TestSilentAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortSilence)
	var together atomic.Int64
	alone := func(script func(*agent) launch.End) func(*agent) launch.End {
		return func(a *agent) launch.End {
			if together.Add(1) > 1 {
				t.Error("an attempt began while the one before was still there")
			}
			defer together.Add(-1)
			return script(a)
		}
	}
	w.launcher.set(func(l *launcher) { l.script = inTurn(alone(hang), alone(hang), alone(finish)) })
	w.run()
	c := w.become(w.uploaded("owner").ID, conversion.Done)
	if c.Attempt != 3 || c.Silences != 2 || c.Failures != 1 {
		t.Errorf("attempt %d, silences %d, failures %d", c.Attempt, c.Silences, c.Failures)
	}
	if got := w.metric("tonearm_attempts_ended_total", "reason=silent"); got != 2 {
		t.Errorf("%v counted as silent", got)
	}
	w.wantMP3(c)
}

// While the records are down no report can be written. That is no silence.
func TestRecordsAwayIsNoSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Policy.Lease = 4 * time.Second // longer than it takes until the records are down
		o.Silence = o.Policy.Lease
	})
	claimed, back := make(chan struct{}, policy.MaxLaunches), make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			as, err := a.Claim(a.ctx, a.nonce)
			if err != nil {
				return a.ended(err)
			}
			claimed <- struct{}{}
			select {
			case <-back:
			case <-a.ctx.Done():
			}
			return a.deliver(as) // reports at once
		}
	})
	w.run()
	c := w.uploaded("owner")
	<-claimed
	w.records.before.always()
	w.until("the lease has ended long ago", func() bool { return w.clock.Now().After(w.read(c.ID).LeaseUntil.Add(2 * w.options.Policy.Lease)) })
	w.records.before.never()
	lease := w.read(c.ID).LeaseUntil
	w.until("the attempt is given another lease", func() bool {
		got := w.read(c.ID)
		return got.LeaseUntil.After(lease) || got.State != conversion.Running
	})
	close(back)
	if c = w.become(c.ID, conversion.Done); c.Attempt != 1 {
		t.Errorf("done by attempt %d", c.Attempt)
	}
}

// A clock that jumps is no silence either.
func TestJumpOfTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.launcher.set(func(l *launcher) { l.script = hang })
	c := w.uploaded("owner")
	w.until("it is claimed", func() bool { return w.read(c.ID).Nonce != "" })
	w.clock.advance(time.Hour)
	w.until("the attempt is given another lease", func() bool {
		got := w.read(c.ID)
		return got.LeaseUntil.After(w.clock.Now()) || got.State != conversion.Running || got.Attempt != 1
	})
	if c = w.read(c.ID); c.State != conversion.Running || c.Attempt != 1 {
		t.Errorf("%s, attempt %d", c.State, c.Attempt)
	}
}

// An attempt that waits for a machine waits as long as it must, and the record
// says for what.
func TestWaitingAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shortLease)
	room := make(chan struct{})
	w.launcher.set(func(l *launcher) { l.waits, l.room, l.late = conversion.WaitNode, room, true })
	w.run()
	c := w.uploaded("owner")
	w.until("the record says what it waits for", func() bool {
		got := w.read(c.ID)
		return got.Waiting != nil && got.Waiting.Reason == conversion.WaitNode
	})
	since := w.read(c.ID).Waiting.Since
	if got := w.metric("tonearm_attempts_waiting", "class=cpu", "reason=no_node"); got != 1 {
		t.Errorf("%v attempts wait for a node", got)
	}
	lease := w.read(c.ID).LeaseUntil
	w.until("the lease is renewed", func() bool { return w.read(c.ID).LeaseUntil.After(lease.Add(2 * w.options.Policy.Lease)) })
	if got := w.read(c.ID); got.State != conversion.Running || got.Waiting == nil || !got.Waiting.Since.Equal(since) {
		t.Errorf("%s, waits for %+v", got.State, got.Waiting)
	}
	close(room)
	if c = w.become(c.ID, conversion.Done); c.Attempt != 1 || c.Failures != 0 || c.Waiting != nil {
		t.Errorf("attempt %d, failures %d, waits for %+v", c.Attempt, c.Failures, c.Waiting)
	}
}

// An attempt of class gpu that waits for too long goes on in class cpu.
func TestWaitingForGPU(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU, shortLease)
	w.launcher.set(func(l *launcher) { l.waits, l.room = conversion.WaitNode, make(chan struct{}) })
	w.run()
	c := w.poster()
	w.until("it waits", func() bool { return w.read(c.ID).Waiting != nil })
	w.launcher.set(func(l *launcher) { l.waits, l.late = "", true })
	c = w.become(c.ID, conversion.Done)
	w.wantClasses(c.ID, conversion.FallbackWaited, conversion.GPU, conversion.CPU)
	if c.Failures != 0 {
		t.Errorf("%d failures", c.Failures)
	}
}

// A began an attempt and froze before it launched anything, and B began it again.
// When A goes on, the end of its launch changes nothing for the attempt of B.
func TestTwoLaunches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := taken(w)
	ref := conversion.AttemptRef{ConversionID: c.ID, Attempt: 1}
	first := w.act(c.ID, func(c *conversion.Conversion) error { return c.Begin(1, policy, w.clock.Now()) }).Launch
	second := w.act(c.ID, func(c *conversion.Conversion) error { return c.Relaunch(1, w.clock.Now()) }).Launch
	b := attempt.Client{BaseURL: w.server.URL, ConversionID: c.ID, Token: attemptKey.Token(c.ID, 1), Launch: second}
	as, err := b.Claim(t.Context(), "b")
	w.must(err)
	w.must(w.launcher.Start(t.Context(), launch.Spec{AttemptRef: ref, Launch: first, Token: attemptKey.Token(c.ID, 1)})) // it is refused, and ends
	w.run()
	w.until("the end of the first launch is handled", func() bool { return w.launcher.stopped(ref) })
	if got := w.read(c.ID); !got.Current(1, "b") || got.Launch != second {
		t.Fatalf("%s, attempt %d, failures %d, launch %q", got.State, got.Attempt, got.Failures, got.Launch)
	}
	w.must(store(t.Context(), as.Target, "MP3"))
	_, err = b.Result(t.Context(), attempt.Result{
		Nonce: "b", Source: &conversion.Source{Codec: "aac"}, MP3: &conversion.MP3{Size: 3, Duration: 1},
	})
	w.must(err)
	w.wantMP3(w.become(c.ID, conversion.Done))
}

// Of two launches the one counts whose process claimed first.
func TestFirstClaimCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := taken(w)
	first := w.act(c.ID, func(c *conversion.Conversion) error { return c.Begin(1, policy, w.clock.Now()) }).Launch
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Relaunch(1, w.clock.Now()) })
	a := attempt.Client{BaseURL: w.server.URL, ConversionID: c.ID, Token: attemptKey.Token(c.ID, 1), Launch: first}
	_, err := a.Claim(t.Context(), "a")
	w.must(err)
	if got := w.read(c.ID); got.Launch != first || got.Nonce != "a" {
		t.Errorf("launch %q of %q, claimed by %q", got.Launch, first, got.Nonce)
	}
}

// A launch that does not end after its last result gives its place back. One that
// goes on with another file keeps it.
func TestIdleLaunch(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dispatcher.Options){"alone": func(*dispatcher.Options) {}, "after a carried file": goingOn(2)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change, shortSilence, func(o *dispatcher.Options) { o.MaxJobs[conversion.CPU] = 1 })
			linger := func(a *agent) launch.End {
				finish(a)
				<-a.ctx.Done()
				return launch.End{Reason: launch.Stopped}
			}
			w.launcher.set(func(l *launcher) { l.script = inTurn(linger, finish) })
			first := w.uploaded("owner")
			var others []string
			for range w.options.MaxFilesPerJob {
				others = append(others, w.uploaded("owner").ID)
			}
			last := w.uploaded("another")
			w.run()
			w.wantMP3(w.become(last.ID, conversion.Done))
			for _, id := range append(others, first.ID) {
				if c := w.become(id, conversion.Done); c.Attempt != 1 || c.Failures != 0 {
					t.Errorf("attempt %d, failures %d", c.Attempt, c.Failures)
				}
			}
			if !w.launcher.stopped(conversion.AttemptRef{ConversionID: first.ID, Attempt: 1}) {
				t.Error("the launch was not stopped")
			}
		})
	}
}
