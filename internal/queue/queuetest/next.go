package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tonearm/internal/queue"
	"tonearm/internal/waittest"
)

const limit = 100 // bytes of the largest source that takeNext takes

func takeNext(t *testing.T, q queue.Queue, owner string) (queue.Delivery, bool) {
	t.Helper()
	d, err := q.TakeNext(t.Context(), queue.CPU, owner, limit, long)
	if err != nil && !errors.Is(err, queue.ErrEmpty) {
		t.Fatal(err)
	}
	return d, err == nil
}

func wantNext(t *testing.T, q queue.Queue, m queue.Message, count int) queue.Delivery {
	t.Helper()
	d, ok := takeNext(t, q, m.Owner)
	if !ok {
		t.Fatalf("took nothing, want %s", m.ID())
	}
	wantTaken(t, d, m, count)
	return d
}

func wantNoNext(t *testing.T, q queue.Queue, owner, why string) {
	t.Helper()
	if d, ok := takeNext(t, q, owner); ok {
		t.Fatalf("took %+v, want nothing: %s", d, why)
	}
}

// A message that TakeNext takes is an ordinary delivery. A message that it does
// not take stays where it stands.
func testNext(t *testing.T, h Harness) {
	q := h.Queue
	wantNoNext(t, q, "a", "there is nothing")
	sized := func(n int, size int64) queue.Message {
		m := message("a", n)
		m.Size, m.Since = size, time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC)
		return m
	}
	first, second, large, last := sized(1, limit), sized(2, 1), sized(3, limit+1), sized(4, 1)
	again := sized(5, 1)
	again.Attempt = 2
	for _, m := range []queue.Message{first, second, large, last, again} {
		publish(t, q, m, now)
	}
	wantNoNext(t, q, "b", "it is another owner's")
	d := wantNext(t, q, first, 1)
	wantDepth(t, q, queue.Depth{Waiting: 4, Leased: 1, WaitingSize: limit + 4, WaitingSince: second.Since})
	ack(t, q, d)
	wantLost(t, q, d)
	d = wantNext(t, q, second, 1)
	if err := q.Return(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	wantLost(t, q, d)
	ack(t, q, wantNext(t, q, second, 2))
	for range 2 {
		wantNoNext(t, q, "a", "the next one is too large")
	}
	wantTaken(t, take(t, q, long), large, 1)
	wantTaken(t, take(t, q, long), last, 1)
	wantNoNext(t, q, "a", "the next one is a second attempt")
	wantTaken(t, take(t, q, long), again, 1)
	wantNoNext(t, q, "a", "all are taken")

	// A lease from TakeNext ends like any other.
	lost := sized(6, 1)
	publish(t, q, lost, now)
	if d, err := q.TakeNext(t.Context(), queue.CPU, "a", limit, short); err != nil {
		t.Fatal(err)
	} else {
		wantTaken(t, d, lost, 1)
	}
	wantTaken(t, take(t, q, long), lost, 2)
	h.Wipe(t)
	wantNoNext(t, q, "a", "all is lost")
}

// No owner is passed over, whatever their message waited for.
func testNextOwners(t *testing.T, h Harness) {
	q := h.Queue
	for n := range 3 {
		publish(t, q, message("a", n), now)
	}
	publish(t, q, message("b", 0), now)
	wantNoNext(t, q, "a", "b waits")
	wantNoNext(t, q, "b", "a waits")
	wantTaken(t, take(t, q, long), message("a", 0), 1)
	wantNoNext(t, q, "a", "b waits, and it is their turn")
	wantTaken(t, take(t, q, short), message("b", 0), 1)
	wantNext(t, q, message("a", 1), 1) // b's is being worked on
	waittest.Until(t, patience, "b's lease ends, and b waits again", func() bool {
		d, err := q.Depth(t.Context(), queue.CPU)
		return err == nil && d.Waiting == 2
	})
	wantNoNext(t, q, "a", "b waits again")
	b := take(t, q, long)
	if b.Owner == "a" { // reclaimed messages stand behind those that waited
		b = take(t, q, long)
	} else {
		wantNext(t, q, message("a", 2), 1)
	}
	ack(t, q, b)
	publish(t, q, message("a", 3), now)
	publish(t, q, message("b", 1), time.Now().Add(time.Hour))
	wantNext(t, q, message("a", 3), 1) // b's time has not come
	publish(t, q, message("a", 4), now)
	publish(t, q, message("b", 2), time.Now().Add(short))
	waittest.Until(t, patience, "the time of b's comes", func() bool {
		d, err := q.Depth(t.Context(), queue.CPU)
		return err == nil && d.Waiting == 2
	})
	wantNoNext(t, q, "a", "b waits")
	other := message("b", 0)
	other.Class = queue.GPU
	publish(t, q, other, now)
	for range 2 {
		take(t, q, long)
	}
	publish(t, q, message("a", 5), now)
	wantNext(t, q, message("a", 5), 1) // b waits in another class
}

// Each message goes to one taker, by Take or by TakeNext.
func testNextTakers(t *testing.T, h Harness) {
	const takers, each = 6, 100
	for n := range each {
		publish(t, h.Queue, message("a", n), now)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	deliveries := make(chan result)
	var running sync.WaitGroup
	for i := range takers {
		running.Go(func() {
			for ctx.Err() == nil {
				var r result
				if i%2 == 0 {
					r.Delivery, r.err = h.Queue.TakeNext(ctx, queue.CPU, "a", limit, long)
				} else {
					r.Delivery, r.err = h.Queue.Take(ctx, queue.CPU, long, short)
				}
				if errors.Is(r.err, queue.ErrEmpty) {
					return
				}
				select {
				case deliveries <- r:
				case <-ctx.Done():
				}
			}
		})
	}
	seen := map[string]bool{}
	for range each {
		got := receive(t, "a delivery", deliveries)
		if got.err == nil && (seen[got.ID()] || got.Count != 1) {
			got.err = fmt.Errorf("%s was delivered twice", got.ID())
		}
		if got.err != nil {
			t.Fatal(got.err)
		}
		seen[got.ID()] = true
	}
	running.Wait()
	wantDepth(t, h.Queue, queue.Depth{Leased: each})
}
