package dispatcher_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// sick reports that its machine is not well.
func sick(fault conversion.WaitReason) func(*agent) launch.End {
	return func(a *agent) launch.End {
		if _, err := a.Claim(a.ctx, a.nonce); err != nil {
			return a.ended(err)
		}
		f := conversion.Failure{Code: conversion.CodeInternal, Message: "The disk is full."}
		if _, err := a.Result(a.ctx, attempt.Result{Nonce: a.nonce, Failure: &f, Fault: fault}); err != nil {
			return a.ended(err)
		}
		return exited(attempt.ExitFault)
	}
}

// However often its machines are not well, a file does not fail.
func TestFaultsDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const faults = 8 // more than attempts and launches may be
	w.launcher.set(func(l *launcher) {
		l.script = func(a *agent) launch.End {
			if a.Attempt <= faults {
				return sick(conversion.FaultDisk)(a)
			}
			return finish(a)
		}
	})
	c := w.uploaded("owner")
	w.run()
	w.until("the record says what it waits for", func() bool {
		got := w.read(c.ID)
		return got.Waiting != nil && got.Waiting.Reason == conversion.FaultDisk || got.State == conversion.Done
	})
	c = w.become(c.ID, conversion.Done)
	if c.Attempt != faults+1 || c.Failures != 0 || c.Launches != 1 || c.Waiting != nil || c.Error != nil {
		t.Errorf("attempt %d, failures %d, launches %d, waits for %+v, %v", c.Attempt, c.Failures, c.Launches, c.Waiting, c.Error)
	}
	if got := w.metric("tonearm_attempts_faults_total", "class=cpu", "fault=disk"); got != faults {
		t.Errorf("%v faults counted, want %d", got, faults)
	}
	w.wantMP3(c)
}

// A word of a newer transcoder is a fault like any other.
func TestUnknownFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.launcher.set(func(l *launcher) { l.script = inTurn(sick("of a later version"), finish) })
	w.run()
	c := w.become(w.uploaded("owner").ID, conversion.Done)
	if got := w.metric("tonearm_attempts_faults_total", "fault=other"); got != 1 || c.Failures != 0 {
		t.Errorf("%v other faults, %d failures", got, c.Failures)
	}
}

// A sick machine does not get one file after the other: the class is stopped,
// tried now and then, and comes back.
func TestSickMachineIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{conversion.CPU: 1} })
	w.launcher.set(func(l *launcher) { l.script = sick(conversion.FaultFFmpeg) })
	var ids []string
	for i := range 8 {
		ids = append(ids, w.uploaded(fmt.Sprint("owner", i)).ID)
	}
	starts := func() (n int) {
		for _, id := range ids {
			for _, m := range w.launcher.started(id) {
				n += m
			}
		}
		return n
	}
	w.run()
	w.until("the class is stopped", func() bool { return w.metric("tonearm_attempts_stopped", "class=cpu") == 1 })
	if got := w.metric("tonearm_attempts_allowed", "class=cpu"); got != 0 {
		t.Errorf("%v attempts may run", got)
	}
	if err := w.serving.Load().Well(t.Context()); err == nil || !strings.Contains(err.Error(), "class cpu") || !strings.Contains(err.Error(), "ffmpeg") {
		t.Errorf("readiness says %v", err)
	}
	const more = 1 // may begin before the end of the third is known
	if got := starts(); got < 3 || got > 3+more {
		t.Errorf("%d attempts were started, want 3", got)
	}
	w.clock.advance(6 * time.Second)
	w.until("it is tried", func() bool { return w.metric("tonearm_attempts_faults_total", "fault=ffmpeg") >= 4 })
	w.launcher.set(func(l *launcher) { l.script = finish })
	w.clock.advance(11 * time.Second)
	for _, id := range ids {
		if c := w.become(id, conversion.Done); c.Failures != 0 || c.Launches != 1 {
			t.Errorf("failures %d, launches %d", c.Failures, c.Launches)
		}
	}
	w.until("the class is back", func() bool { return w.metric("tonearm_attempts_stopped", "class=cpu") == 0 })
	if err := w.serving.Load().Well(t.Context()); err != nil {
		t.Errorf("readiness says %v", err)
	}
	if got := starts(); got > 4+more+len(ids) {
		t.Errorf("%d attempts were started, want %d", got, 4+len(ids))
	}
}

// A launcher that can start nothing for a long time fails no file.
func TestLauncherUnwell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var refused atomic.Int64
	w.launcher.set(func(l *launcher) {
		l.refuse = func(launch.Spec) error {
			refused.Add(1)
			return fmt.Errorf("%w: no space left", launch.ErrUnwell)
		}
	})
	c := w.uploaded("owner")
	w.run()
	w.until("the class is stopped", func() bool { return w.metric("tonearm_attempts_stopped", "class=cpu") == 1 })
	w.until("the beginning of the attempt is taken back", func() bool {
		got := w.read(c.ID)
		return got.State == conversion.Queued && got.Attempt == 0 && got.Launches == 0
	})
	w.launcher.set(func(l *launcher) { l.refuse = nil })
	w.clock.advance(time.Minute)
	c = w.become(c.ID, conversion.Done)
	if c.Attempt != 1 || c.Failures != 0 {
		t.Errorf("attempt %d, failures %d", c.Attempt, c.Failures)
	}
}
