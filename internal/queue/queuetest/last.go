package queuetest

import (
	"errors"
	"testing"

	"tonearm/internal/queue"
)

// Owners who come last have no turn while somebody else waits, and lose neither
// their turn nor the order of their messages.
func testLast(t *testing.T, h Harness) {
	q := h.Queue
	takeLast := func(want queue.Message, count int, last ...string) {
		t.Helper()
		d, err := q.Take(t.Context(), queue.CPU, long, patience, last...)
		if err != nil {
			t.Fatal(err)
		}
		wantTaken(t, d, want, count)
	}
	for n := range 4 {
		for _, owner := range []string{"a", "b", "c"} {
			publish(t, q, message(owner, n), now)
		}
	}
	takeLast(message("b", 0), 1, "a")
	takeLast(message("c", 0), 1, "a")
	takeLast(message("c", 1), 1, "a", "b")
	takeLast(message("a", 0), 1, "b", "c", "nobody")
	takeLast(message("b", 1), 1)
	takeLast(message("c", 2), 1, "a", "b", "x", "y")
	takeLast(message("a", 1), 1, "a", "b", "c") // nobody else waits
	takeLast(message("b", 2), 1, "a", "b", "c")
	takeLast(message("c", 3), 1)
	takeLast(message("a", 2), 1)
	takeLast(message("b", 3), 1)
	takeLast(message("a", 3), 1, "a")
	wantEmpty(t, q)
}

// TakeOther takes what others have, and at once nothing where they have nothing.
func testOther(t *testing.T, h Harness) {
	q := h.Queue
	wantNone := func() {
		t.Helper()
		if d, err := q.TakeOther(t.Context(), queue.CPU, "a", long); !errors.Is(err, queue.ErrEmpty) {
			t.Fatalf("took %+v, %v", d, err)
		}
	}
	wantNone()
	publish(t, q, message("a", 0), now)
	publish(t, q, message("a", 1), now)
	wantNone()
	publish(t, q, message("b", 0), now)
	wantDepth(t, q, queue.Depth{Waiting: 3})
	d, err := q.TakeOther(t.Context(), queue.CPU, "a", long)
	if err != nil {
		t.Fatal(err)
	}
	wantTaken(t, d, message("b", 0), 1)
	wantNone()
	ack(t, q, d)
	wantTaken(t, take(t, q, long), message("a", 0), 1)
	wantTaken(t, take(t, q, long), message("a", 1), 1)
	wantEmpty(t, q)
}
