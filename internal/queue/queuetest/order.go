package queuetest

import (
	"fmt"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
	"tonearm/internal/waittest"
)

func testMessage(t *testing.T, h Harness) {
	if err := h.Queue.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, class := range queue.Classes {
		want := queue.Message{
			Class: class, Owner: `owner "é" {x}: *?[` + string(class), ConversionID: conversion.NewID(), Attempt: i + 1,
			Kind: conversion.Stop,
		}
		publish(t, h.Queue, want, now)
		for _, other := range queue.Classes {
			if other == class {
				continue
			}
			if depth, err := h.Queue.Depth(t.Context(), other); err != nil || depth != (queue.Depth{}) {
				t.Fatalf("depth of %s = %+v, %v after publishing to %s", other, depth, err, class)
			}
		}
		got, err := h.Queue.Take(t.Context(), class, long, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantTaken(t, got, want, 1)
		ack(t, h.Queue, got)
	}
}

// A thousand messages of one owner do not go before the single one of another.
func testTurns(t *testing.T, h Harness) {
	for n := range 1000 {
		publish(t, h.Queue, message("many", n), now)
	}
	publish(t, h.Queue, message("one", 0), now)
	wantDepth(t, h.Queue, queue.Depth{Waiting: 1001})
	first, second := take(t, h.Queue, long), take(t, h.Queue, long)
	if first.Owner != "one" && second.Owner != "one" {
		t.Fatalf("took %s and %s, want one of owner one", first.ID(), second.ID())
	}
	publish(t, h.Queue, message("two", 0), now)
	publish(t, h.Queue, message("three", 0), now)
	owners := map[string]int{}
	for range 4 {
		owners[take(t, h.Queue, long).Owner]++
	}
	if owners["two"] != 1 || owners["three"] != 1 || owners["many"] != 2 {
		t.Fatalf("took %v, want one each of two and three, between those of many", owners)
	}
}

func testFIFO(t *testing.T, h Harness) {
	owners := []string{"a", "b", "c"}
	const each = 20
	for _, owner := range owners {
		for n := range each {
			publish(t, h.Queue, message(owner, n), now)
		}
	}
	for n := range each {
		for _, owner := range owners {
			wantTaken(t, take(t, h.Queue, long), message(owner, n), 1)
		}
	}
	wantEmpty(t, h.Queue)
}

// Messages whose takers died stand before messages that were never taken, in
// their old order.
func testReclaimedFirst(t *testing.T, h Harness) {
	q := h.Queue
	for n := range 5 {
		publish(t, q, message("a", n), now)
	}
	for n := range 3 {
		wantTaken(t, take(t, q, time.Second), message("a", n), 1) // all before the first ends
	}
	waittest.Until(t, patience, "the leases end", func() bool {
		d, err := q.Depth(t.Context(), queue.CPU)
		return err == nil && d == queue.Depth{Waiting: 5}
	})
	for n := range 5 {
		want := 1
		if n < 3 {
			want = 2
		}
		wantTaken(t, take(t, q, long), message("a", n), want)
	}
}

func testDelay(t *testing.T, h Harness) {
	q := h.Queue
	due := time.Now().Add(300 * time.Millisecond)
	late, soon := message("a", 1), message("a", 2)
	publish(t, q, late, due.Add(100*time.Millisecond))
	publish(t, q, soon, due)
	publish(t, q, message("a", 3), time.Now().Add(time.Hour))
	publish(t, q, message("b", 0), time.Now().Add(-time.Hour))
	wantTaken(t, take(t, q, long), message("b", 0), 1)

	wantTaken(t, take(t, q, long), soon, 1)
	if early := time.Until(due); early > 0 {
		t.Errorf("delivered %v too early", early)
	}
	wantTaken(t, take(t, q, long), late, 1)
	wantEmpty(t, q)
	wantDepth(t, q, queue.Depth{Delayed: 1, Leased: 3})
}

// A taker that waits for a far delay is woken for a nearer one.
func testEarlierDelay(t *testing.T, h Harness) {
	q := h.Queue
	publish(t, q, message("a", 1), time.Now().Add(time.Hour))
	taken := taking(t.Context(), q, patience)
	publish(t, q, message("a", 2), time.Now().Add(short))
	got := receive(t, "the nearer delay", taken)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantTaken(t, got.Delivery, message("a", 2), 1)
}

func testDuplicate(t *testing.T, h Harness) {
	q := h.Queue
	m := message("a", 1)
	later := time.Now().Add(time.Hour)

	publish(t, q, m, now)
	publish(t, q, m, now)
	publish(t, q, m, later)
	wantDepth(t, q, queue.Depth{Waiting: 1})

	d := take(t, q, long)
	publish(t, q, m, now)
	publish(t, q, m, later)
	wantDepth(t, q, queue.Depth{Leased: 1})
	wantEmpty(t, q)

	ack(t, q, d)
	wantDepth(t, q, queue.Depth{})
	publish(t, q, m, later)
	publish(t, q, m, later.Add(time.Hour))
	wantDepth(t, q, queue.Depth{Delayed: 1})
	wantEmpty(t, q)
	publish(t, q, m, now) // the earlier time counts
	d = take(t, q, long)
	wantTaken(t, d, m, 1)
	ack(t, q, d)
	publish(t, q, m, later)

	// Another attempt or kind is another message.
	second := m
	second.Attempt = 2
	notice := m
	notice.Kind = conversion.Notify
	publish(t, q, second, now)
	publish(t, q, notice, now)
	for _, want := range []queue.Message{second, notice} {
		d := take(t, q, long)
		wantTaken(t, d, want, 1)
		ack(t, q, d)
	}
	publish(t, q, second, now) // once acknowledged it may come again
	wantTaken(t, take(t, q, long), second, 1)
}

func testGeneration(t *testing.T, h Harness) {
	generation := func(q queue.Queue) string {
		t.Helper()
		name, err := q.Generation(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	publish(t, h.Queue, message("a", 1), now)
	first := generation(h.Queue)
	if again, other := generation(h.Queue), generation(h.Mute); first == "" || again != first || other != first {
		t.Fatalf("generations of one life: %q, %q, %q", first, again, other)
	}
	h.Wipe(t)
	wantDepth(t, h.Queue, queue.Depth{})
	second := generation(h.Mute)
	if again := generation(h.Queue); second == first || again != second {
		t.Fatalf("generation before the wipe %q, after it %q and %q", first, second, again)
	}
}

// Those who subscribed to a conversion hear of it, and of no other, until they
// cancel.
func testAnnounce(t *testing.T, h Harness) {
	type subscriber struct {
		changed <-chan struct{}
		cancel  func()
	}
	subscribe := func(id string) subscriber {
		changed, cancel, err := h.Queue.Subscribe(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return subscriber{changed, cancel}
	}
	announce := func(id string) {
		if err := h.Queue.Announce(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	a1, a2, b := subscribe("a"), subscribe("a"), subscribe("b")
	defer a2.cancel()
	defer b.cancel()
	for range 2 { // the first announcements may be lost, and the first wake-up may have another reason
		waittest.Until(t, patience, "an announcement", func() bool {
			announce("a")
			select {
			case <-a1.changed:
				return true
			default:
				return false
			}
		})
	}
	// Announcements arrive in order: those above come before this one.
	last := subscribe("last")
	defer last.cancel()
	announce("last")
	receive(t, "the last announcement", last.changed)
	for _, s := range []subscriber{a1, a2, b} {
		select {
		case <-s.changed:
		default:
		}
	}

	a1.cancel()
	for i := range 10 {
		announce("a")
		receive(t, fmt.Sprintf("announcement %d", i), a2.changed)
	}
	for name, s := range map[string]subscriber{"b": b, "a, canceled": a1} {
		select {
		case <-s.changed:
			t.Errorf("the subscriber of %s heard of a", name)
		default:
		}
	}
}
