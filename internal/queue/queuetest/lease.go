package queuetest

import (
	"testing"
	"time"

	"tonearm/internal/queue"
)

// If a taker dies before it acknowledges, another one gets the message.
func testReclaim(t *testing.T, h Harness) {
	q := h.Queue
	m := message("a", 1)
	publish(t, q, m, now)
	wantTaken(t, take(t, q, short), m, 1)
	d := take(t, q, long) // waits for the lease to end
	wantTaken(t, d, m, 2)
	wantDepth(t, q, queue.Depth{Leased: 1})
	ack(t, q, d)
	wantDepth(t, q, queue.Depth{})
	wantEmpty(t, q)
}

func testExtend(t *testing.T, h Harness) {
	q := h.Queue
	kept, lost := message("a", 1), message("a", 2)
	publish(t, q, kept, now)
	publish(t, q, lost, now)
	d := take(t, q, short)
	wantTaken(t, d, kept, 1)
	if err := q.Extend(t.Context(), d, long); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, take(t, q, short), lost, 1)
	wantTaken(t, take(t, q, long), lost, 2) // by now the first lease has ended too
	wantDepth(t, q, queue.Depth{Leased: 2})

	// A lease can be cut short, and a waiting taker sees it.
	taken := taking(t.Context(), q, patience)
	if err := q.Extend(t.Context(), d, short); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "the shortened lease", taken)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantTaken(t, got.Delivery, kept, 2)
}

// What a taker does after it lost its lease changes nothing.
func testFence(t *testing.T, h Harness) {
	q := h.Queue
	m := message("a", 1)
	publish(t, q, m, now)
	first := take(t, q, short)
	second := take(t, q, long)
	wantTaken(t, second, m, 2)
	wantLost(t, q, first)
	wantDepth(t, q, queue.Depth{Leased: 1})

	if err := q.Return(t.Context(), second, 0); err != nil {
		t.Fatal(err)
	}
	wantLost(t, q, second) // it waits
	wantDepth(t, q, queue.Depth{Waiting: 1})
	third := take(t, q, long)
	wantTaken(t, third, m, 3)
	wantLost(t, q, first)
	wantLost(t, q, second)
	ack(t, q, third)
	wantLost(t, q, third) // it is gone

	publish(t, q, m, now)
	fourth := take(t, q, long)
	h.Wipe(t)
	wantLost(t, q, fourth)
	wantDepth(t, q, queue.Depth{})
}

// A message that kills its takers can be recognized by its count.
func testPoison(t *testing.T, h Harness) {
	q := h.Queue
	m := message("a", 1)
	publish(t, q, m, now)
	for count := 1; count <= 6; count++ {
		d := take(t, q, short)
		wantTaken(t, d, m, count)
		publish(t, q, m, now) // does not start the count again
		var err error
		switch count % 3 { // else the lease ends
		case 1:
			err = q.Return(t.Context(), d, 0)
		case 2:
			err = q.Return(t.Context(), d, short)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func testReturn(t *testing.T, h Harness) {
	q := h.Queue
	for n := range 3 {
		publish(t, q, message("a", n), now)
	}
	publish(t, q, message("b", 0), now)
	d := take(t, q, long)
	wantTaken(t, d, message("a", 0), 1)
	if err := q.Return(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	wantDepth(t, q, queue.Depth{Waiting: 4})
	wantTaken(t, take(t, q, long), message("b", 0), 1)
	wantTaken(t, take(t, q, long), message("a", 0), 2)
	wantTaken(t, take(t, q, long), message("a", 1), 1)

	// A waiting taker gets what is given back.
	d = take(t, q, long)
	taken := taking(t.Context(), q, patience)
	if err := q.Return(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "the returned message", taken)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantTaken(t, got.Delivery, message("a", 2), 2)
}

func testReturnWithPause(t *testing.T, h Harness) {
	q := h.Queue
	publish(t, q, message("a", 0), now)
	publish(t, q, message("a", 1), now)
	d := take(t, q, long)
	const pause = 200 * time.Millisecond
	before := time.Now()
	if err := q.Return(t.Context(), d, pause); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, take(t, q, long), message("a", 1), 1)
	got := take(t, q, long)
	// A millisecond, because leases and pauses are cut to whole ones.
	if passed := time.Since(before); passed < pause-time.Millisecond {
		t.Errorf("delivered after %v, want not before %v", passed, pause)
	}
	wantTaken(t, got, message("a", 0), 2)

	if err := q.Return(t.Context(), got, time.Hour); err != nil {
		t.Fatal(err)
	}
	wantDepth(t, q, queue.Depth{Delayed: 1, Leased: 1})
	wantEmpty(t, q)
}
