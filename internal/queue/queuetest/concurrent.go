package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"tonearm/internal/queue"
)

func testEmpty(t *testing.T, h Harness) {
	for _, wait := range []time.Duration{-time.Second, 0, time.Millisecond, short} {
		before := time.Now()
		if d, err := h.Queue.Take(t.Context(), queue.CPU, long, wait); !errors.Is(err, queue.ErrEmpty) {
			t.Fatalf("took %+v, %v, want ErrEmpty", d, err)
		}
		if waited := time.Since(before); waited < wait {
			t.Errorf("waited %v, want %v", waited, wait)
		}
	}
}

func testCanceled(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	taken := taking(ctx, h.Queue, time.Hour)
	cancel()
	if got := receive(t, "the canceled Take", taken); !errors.Is(got.err, context.Canceled) {
		t.Fatalf("took %+v, %v, want context.Canceled", got.Delivery, got.err)
	}
	publish(t, h.Queue, message("a", 1), now) // put there so that nobody takes it by mistake
	wantTaken(t, take(t, h.Queue, long), message("a", 1), 1)
}

// A wake-up that is lost delays a message and no more.
func testLostWakeUp(t *testing.T, h Harness) {
	taken := taking(t.Context(), h.Queue, patience)
	// Meanwhile the taker falls asleep. If it did not, the test passes and
	// proves less.
	if _, err := h.Queue.Take(t.Context(), queue.GPU, long, 2*short); !errors.Is(err, queue.ErrEmpty) {
		t.Fatal(err)
	}
	publish(t, h.Mute, message("a", 1), now)
	got := receive(t, "the message", taken)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantTaken(t, got.Delivery, message("a", 1), 1)
}

// Two takers that answer each other need wake-ups: looking only every few
// seconds, they would take minutes.
func testPrompt(t *testing.T, h Harness) {
	const rounds = 50
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	play := func(from, to queue.Class) error {
		for n := range rounds {
			d, err := h.Queue.Take(ctx, from, long, patience)
			if err != nil {
				return fmt.Errorf("round %d: %w", n, err)
			}
			if err := h.Queue.Ack(ctx, d); err != nil {
				return err
			}
			d.Class = to
			if err := h.Queue.Publish(ctx, d.Message, now); err != nil {
				return err
			}
		}
		return nil
	}
	end := make(chan error, 1)
	go func() { end <- play(queue.GPU, queue.CPU) }()
	publish(t, h.Queue, message("a", 1), now)
	if err := errors.Join(play(queue.CPU, queue.GPU), <-end); err != nil {
		t.Fatal(err)
	}
}

// No two takers get the same message, and none is left.
func testTakers(t *testing.T, h Harness) {
	const takers, owners, each = 8, 10, 40
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	deliveries := make(chan result)
	var running sync.WaitGroup
	for range takers {
		running.Go(func() {
			for ctx.Err() == nil {
				d, err := h.Queue.Take(ctx, queue.CPU, long, patience)
				if err != nil && ctx.Err() != nil {
					return
				}
				deliveries <- result{d, err}
			}
		})
	}
	for owner := range owners {
		running.Go(func() {
			for n := range each {
				if err := h.Queue.Publish(ctx, message(fmt.Sprint(owner), n), now); err != nil {
					deliveries <- result{err: err}
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	for len(seen) < owners*each {
		got := receive(t, "a delivery", deliveries)
		if got.err != nil {
			t.Fatal(got.err)
		}
		if seen[got.ID()] || got.Count != 1 {
			t.Fatalf("%s was delivered twice", got.ID())
		}
		seen[got.ID()] = true
	}
	wantDepth(t, h.Queue, queue.Depth{Leased: owners * each})
	cancel()
	running.Wait()
}

// Depth tells how much waits and since when, wherever it came from.
func testWaiting(t *testing.T, h Harness) {
	q := h.Queue
	sized := func(owner string, n int, size int64, since time.Time) queue.Message {
		m := message(owner, n)
		m.Size, m.Since = size, since
		return m
	}
	old := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	first, second, third := sized("a", 1, 1<<40, old.Add(time.Second)), sized("a", 2, 20, old), sized("b", 1, 3, old.Add(time.Hour))
	for _, m := range []queue.Message{first, second, third} {
		publish(t, q, m, now)
		publish(t, q, m, now) // counts once
	}
	publish(t, q, sized("a", 3, 1000, old.Add(-time.Hour)), time.Now().Add(time.Hour)) // does not wait
	want := func(waiting, leased, size int64, since time.Time) {
		t.Helper()
		wantDepth(t, q, queue.Depth{Waiting: waiting, Delayed: 1, Leased: leased, WaitingSize: size, WaitingSince: since})
	}
	want(3, 0, 1<<40+23, old)
	d := take(t, q, long)
	wantTaken(t, d, first, 1)
	want(2, 1, 23, old)
	wantTaken(t, take(t, q, long), third, 1)
	lost := take(t, q, long)
	wantTaken(t, lost, second, 1)
	want(0, 3, 0, time.Time{})
	if err := q.Return(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	want(1, 2, 1<<40, first.Since)
	ack(t, q, take(t, q, long))
	if err := q.Extend(t.Context(), lost, short); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, take(t, q, long), second, 2) // once its lease has ended
	want(0, 2, 0, time.Time{})
	h.Wipe(t)
	wantDepth(t, q, queue.Depth{})
}

// The depth is right after any mixture of calls.
func testDepth(t *testing.T, h Harness) {
	const owners, each = 6, 50
	ctx := t.Context()
	failed := make(chan error, 100)
	concurrently := func(n int, f func(i int) error) {
		t.Helper()
		var running sync.WaitGroup
		for i := range n {
			running.Go(func() {
				if err := f(i); err != nil {
					failed <- err
				}
			})
		}
		running.Wait()
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
	}
	later := time.Now().Add(time.Hour)
	concurrently(2*owners, func(i int) error { // each message by two publishers
		for n := range each {
			var notBefore time.Time
			if n%5 == 0 {
				notBefore = later
			}
			if err := h.Queue.Publish(ctx, message(fmt.Sprint(i/2), n), notBefore); err != nil {
				return err
			}
		}
		return nil
	})
	const delayed, waiting = owners * each / 5, owners * each / 5 * 4
	wantDepth(t, h.Queue, queue.Depth{Waiting: waiting, Delayed: delayed})

	const takers, calls = 4, 40
	concurrently(takers+1, func(i int) error {
		for n := range calls {
			if i == takers { // the last one only looks at the depth
				d, err := h.Queue.Depth(ctx, queue.CPU)
				if err != nil {
					return err
				}
				if sum := d.Waiting + d.Delayed + d.Leased; min(d.Waiting, d.Delayed-delayed, d.Leased) < 0 || sum > waiting+delayed {
					return fmt.Errorf("depth %+v of at most %d messages", d, waiting+delayed)
				}
				continue
			}
			d, err := h.Queue.Take(ctx, queue.CPU, long, 0)
			if err != nil {
				return err
			}
			switch n % 4 { // else it stays leased
			case 0:
				err = h.Queue.Ack(ctx, d)
			case 1:
				err = h.Queue.Return(ctx, d, time.Hour)
			case 2:
				err = errors.Join(h.Queue.Extend(ctx, d, time.Hour), h.Queue.Return(ctx, d, 0))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	const quarter = takers * calls / 4
	wantDepth(t, h.Queue, queue.Depth{Waiting: waiting - 3*quarter, Delayed: delayed + quarter, Leased: quarter})
}

// Takers work while the queue is wiped again and again. Whoever sees another
// generation publishes what the records say is owed. Every message is handled.
func testWipedInUse(t *testing.T, h Harness) {
	const takers, owners, each, wipeAfter = 4, 5, 60, 50
	ctx, cancel := context.WithCancel(t.Context())

	var mu sync.Mutex
	owed := map[string]queue.Message{} // the records
	for owner := range owners {
		for n := range each {
			m := message(fmt.Sprint(owner), n)
			owed[m.ID()] = m
		}
	}
	publishOwed := func() {
		t.Helper()
		mu.Lock()
		messages := slices.Collect(maps.Values(owed))
		mu.Unlock()
		for _, m := range messages {
			publish(t, h.Queue, m, now)
		}
	}

	handled := make(chan error) // one for each message, or what went wrong
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range takers {
		running.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				d, err := h.Queue.Take(ctx, queue.CPU, 200*time.Millisecond, patience)
				if err == nil && n%7 == 0 {
					continue // crash
				}
				first := false
				if err == nil {
					mu.Lock()
					_, first = owed[d.ID()]
					delete(owed, d.ID())
					mu.Unlock()
					if err = h.Queue.Ack(ctx, d); errors.Is(err, queue.ErrLeaseLost) {
						err = nil // lost with the queue
					}
				}
				if err == nil && !first {
					continue
				}
				select {
				case handled <- err:
				case <-ctx.Done():
				}
			}
		})
	}

	generation := ""
	for done := range owners * each {
		if done%wipeAfter == wipeAfter-1 {
			h.Wipe(t)
		}
		name, err := h.Queue.Generation(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if name != generation {
			generation = name
			publishOwed()
		}
		if err := receive(t, "a message that was owed", handled); err != nil {
			t.Fatal(err)
		}
	}
}
