package dispatcher_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/queue"
)

const gpuWait = 2 * time.Minute

// withGPU lets one attempt run on a GPU at a time.
func withGPU(o *dispatcher.Options) {
	o.MaxJobs = map[conversion.Class]int{conversion.CPU: 4, conversion.GPU: 1}
	o.GPUWait = gpuWait
}

// poster makes a queued conversion of class gpu.
func (w *world) poster() conversion.Conversion {
	w.Helper()
	return w.uploadedWith("owner", conversion.Options{Cover: conversion.CoverPoster})
}

// wantClasses checks in which classes the attempts of a conversion were
// started. It also checks that the conversion fell back once, for this reason;
// if reason is empty, that it did not.
func (w *world) wantClasses(id, reason string, want ...conversion.Class) {
	w.Helper()
	if got := w.launcher.classes(id); !slices.Equal(got, want) {
		w.Errorf("attempts of classes %v were started, want %v", got, want)
	}
	w.wantStarts(id, len(want))
	c, got := w.read(id), ""
	if c.Fallback != nil {
		got = c.Fallback.Reason
	}
	if got != reason || (c.Class == conversion.CPU) != (reason != "") {
		w.Errorf("class %s, fell back for %q, want %q", c.Class, got, reason)
	}
	n := 0.0
	if reason != "" {
		n = 1
	}
	const fallbacks = "tonearm_dispatcher_fallbacks_total"
	if got, all := w.metric(fallbacks, "reason="+reason), w.metric(fallbacks); got != n || all != n {
		w.Errorf("%v fallbacks counted, %v of them for %q", all, got, reason)
	}
}

// lookedAt reports whether the agenda handled a conversion after this time.
func (w *world) lookedAt(id string, before time.Time) bool {
	w.Helper()
	c := w.read(id)
	return c.UpdatedAt.After(before) && c.WakeAt.After(w.clock.Now())
}

func TestClassGPU(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU).run()
	c := w.become(w.poster().ID, conversion.Done)
	w.wantClasses(c.ID, "", conversion.GPU)
	w.wantMP3(c)
}

// Without a GPU nothing waits for a GPU, and not even for room on a CPU.
func TestClassOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) { o.MaxJobs = map[conversion.Class]int{conversion.CPU: 1} })
	w.launcher.set(func(l *launcher) { l.script = idle })
	first := w.uploaded("owner")
	w.run()
	w.until("the only CPU is taken", func() bool { return w.launcher.started(first.ID)[1] == 1 })
	c := w.poster()
	w.until("it waits for a CPU, and no message for a GPU is left", func() bool {
		return w.read(c.ID).Class == conversion.CPU && w.depth(queue.CPU) == 1 && w.depth(queue.GPU) == 0
	})
	w.wantClasses(c.ID, conversion.FallbackOff)
	w.launcher.set(func(l *launcher) { l.script = finish })
	w.act(first.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.wantClasses(c.ID, conversion.FallbackOff, conversion.CPU)
}

// The records are down while work is moved out of a class that is off.
func TestClassOffAfterFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.poster()
	w.records.before.always()
	w.run()
	w.until("it was tried", func() bool { return w.records.before.failed.Load() > 5 })
	w.records.before.never()
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.wantClasses(c.ID, conversion.FallbackOff, conversion.CPU)
}

// A conversion that waits too long for a GPU goes on without one, and its
// message that is left in the queue launches nothing.
func TestClassWaited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU)
	w.launcher.set(func(l *launcher) { l.script = hang })
	first := w.poster()
	w.run()
	w.until("the only GPU is taken", func() bool { return w.read(first.ID).Nonce != "" })
	w.launcher.set(func(l *launcher) { l.script = finish })
	c := w.poster()
	w.clock.advance(gpuWait - 10*time.Second)
	w.until("somebody looked at it", func() bool { return w.lookedAt(c.ID, c.UpdatedAt) })
	w.wantClasses(c.ID, "")
	w.clock.advance(31 * time.Second)
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.wantClasses(c.ID, conversion.FallbackWaited, conversion.CPU)

	if got := w.depth(queue.GPU); got != 1 {
		t.Errorf("%d messages wait for a GPU, want the stale one", got)
	}
	w.act(first.ID, func(c *conversion.Conversion) error { return c.Cancel(w.clock.Now()) })
	w.until("the stale message is gone", func() bool { return w.depth(queue.GPU) == 0 })
	w.wantClasses(c.ID, conversion.FallbackWaited, conversion.CPU)
}

// A stale message that is taken while the conversion waits for a CPU launches
// nothing, even though its attempt number is the next one.
func TestClassStaleMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU)
	later := w.clock.Now().Add(time.Hour)
	c := w.poster()
	w.act(c.ID, func(c *conversion.Conversion) error { c.NotBefore = later; return nil })
	w.act(c.ID, func(c *conversion.Conversion) error { return c.FallBack(conversion.FallbackWaited, w.clock.Now()) })
	w.run()
	w.until("the stale message is gone", func() bool { return w.depth(queue.GPU) == 0 })
	if got := w.read(c.ID); got.State != conversion.Queued || w.depth(queue.CPU) != 1 {
		t.Errorf("%s with %d messages", got.State, w.depth(queue.CPU))
	}
	w.wantStarts(c.ID, 0)
}

// The wait begins when the conversion is queued first: an attempt that was lost
// with its node does not start the wait again.
func TestClassWaitsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU)
	release := make(chan struct{})
	w.launcher.set(func(l *launcher) {
		l.script = func(*agent) launch.End { <-release; return launch.End{Reason: launch.Disrupted} }
	})
	c := w.poster()
	w.run()
	w.until("it runs on the GPU", func() bool { return w.launcher.started(c.ID)[1] == 1 })
	w.clock.advance(gpuWait)
	w.launcher.set(func(l *launcher) {
		l.script = finish
		l.refuse = func(s launch.Spec) error {
			if s.Class == conversion.GPU {
				return launch.ErrBusy
			}
			return nil
		}
	})
	close(release)
	w.wantMP3(w.become(c.ID, conversion.Done))
	w.wantClasses(c.ID, conversion.FallbackWaited, conversion.GPU, conversion.CPU)
}

// An attempt that could not be started on a GPU does not count, and the next one
// is on a CPU.
func TestClassNotStarted(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world){
		"no node in time": func(w *world) {
			w.launcher.set(func(l *launcher) {
				l.script = func(a *agent) launch.End {
					if a.Class == conversion.GPU {
						return launch.End{Reason: launch.NotStarted, Detail: "Unschedulable"}
					}
					return finish(a)
				}
			})
		},
		"the launcher fails for long": func(w *world) {
			for range 25 {
				d, err := w.queue.Take(w.Context(), queue.GPU, time.Minute, patience)
				w.must(err)
				w.must(w.queue.Return(w.Context(), d, 0))
			}
			w.launcher.set(func(l *launcher) {
				l.refuse = func(s launch.Spec) error {
					if s.Class == conversion.GPU {
						return errors.New("no such class")
					}
					return nil
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withGPU)
			c := w.poster()
			spoil(w)
			w.run()
			c = w.become(c.ID, conversion.Done)
			w.wantMP3(c)
			if c.Attempt != 2 || c.Failures != 0 || c.Launches != 2 || c.Error != nil {
				t.Errorf("attempt %d, failures %d, launches %d, %v", c.Attempt, c.Failures, c.Launches, c.Error)
			}
			if got := w.launcher.classes(c.ID); got[len(got)-1] != conversion.CPU || c.Fallback == nil || c.Fallback.Reason != conversion.FallbackWaited {
				t.Errorf("classes %v, fell back: %+v", got, c.Fallback)
			}
			w.until("no message is left", func() bool { return w.depth(queue.CPU)+w.depth(queue.GPU) == 0 })
		})
	}
}

// The owner's retry asks for a GPU again, with a wait of its own.
func TestClassRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU)
	w.launcher.set(func(l *launcher) {
		l.script = inTurn(func(*agent) launch.End { return launch.End{Reason: launch.NotStarted} }, fail(true), finish)
	})
	c := w.poster()
	w.run()
	w.become(c.ID, conversion.Failed)
	w.clock.advance(2 * gpuWait)
	w.act(c.ID, func(c *conversion.Conversion) error { return c.Retry(time.Hour, w.clock.Now()) })
	c = w.become(c.ID, conversion.Done)
	if got, want := w.launcher.classes(c.ID), []conversion.Class{conversion.GPU, conversion.CPU, conversion.GPU}; !slices.Equal(got, want) || c.Fallback != nil {
		t.Errorf("classes %v, want %v; fell back: %+v", got, want, c.Fallback)
	}
	w.wantMP3(c)
}

// If a dispatcher crashes between the record and the queue, or before it
// acknowledges, nothing is done twice and nothing is lost.
func TestClassCrash(t *testing.T) {
	t.Parallel()
	for name, crashed := range map[string]func(*world, conversion.Conversion){
		"before it publishes": func(w *world, c conversion.Conversion) {
			past := w.clock.Now().Add(-time.Minute)
			_, err := w.records.Update(w.Context(), c.ID, func(c *conversion.Conversion) error {
				return c.FallBack(conversion.FallbackOff, past)
			})
			w.must(err)
		},
		"before it acknowledges": func(w *world, c conversion.Conversion) {
			_, err := w.queue.Take(w.Context(), queue.GPU, 50*time.Millisecond, 0)
			w.must(err)
			w.act(c.ID, func(c *conversion.Conversion) error { return c.FallBack(conversion.FallbackOff, w.clock.Now()) })
		},
		"before it moves it": func(w *world, _ conversion.Conversion) {
			_, err := w.queue.Take(w.Context(), queue.GPU, 50*time.Millisecond, 0)
			w.must(err)
		},
	} {
		for class, options := range map[string]func(*dispatcher.Options){"off": func(*dispatcher.Options) {}, "on": withGPU} {
			t.Run(name+", class "+class, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, options)
				c := w.poster()
				crashed(w, c)
				w.run()
				w.wantMP3(w.become(c.ID, conversion.Done))
				w.until("no message is left", func() bool { return w.depth(queue.CPU)+w.depth(queue.GPU) == 0 })
				w.wantStarts(c.ID, 1)
			})
		}
	}
}

// Work that waits for a GPU is not lost when the queue is wiped, nor when class
// gpu is switched off.
func TestClassSwitchedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withGPU)
	w.launcher.set(func(l *launcher) { l.script = hang })
	running, waiting := w.poster(), w.poster()
	w.run()
	w.until("one runs on the GPU", func() bool { return w.read(running.ID).Nonce != "" })
	w.halt()
	w.redis.FlushAll()
	w.launcher.set(func(l *launcher) { l.script = finish })
	delete(w.options.MaxJobs, conversion.GPU)
	w.fresh()
	w.run()
	w.wantMP3(w.become(waiting.ID, conversion.Done))
	w.wantClasses(waiting.ID, conversion.FallbackOff, conversion.CPU)
	if c := w.read(running.ID); c.State != conversion.Running || c.Attempt != 1 || c.Class != conversion.GPU {
		t.Errorf("%s, attempt %d of class %s", c.State, c.Attempt, c.Class)
	}
}
