// Package queuetest is the conformance suite of queue.Queue.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// Harness is a queue for one test alone.
type Harness struct {
	Queue queue.Queue
	// Mute is the same queue, but its Publish wakes nobody and its Announce
	// reaches nobody.
	Mute queue.Queue
	// Wipe removes all that the queue holds at one stroke, as a restart without
	// persistence does.
	Wipe func(t *testing.T)
}

// Run checks queues against the contract. open is called once for each part of
// the suite, and cleans up by t.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	tests := []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"Message", testMessage},
		{"Turns", testTurns},
		{"Last", testLast},
		{"Other", testOther},
		{"FIFO", testFIFO},
		{"Next", testNext},
		{"NextOwners", testNextOwners},
		{"NextTakers", testNextTakers},
		{"Reclaim", testReclaim},
		{"ReclaimedFirst", testReclaimedFirst},
		{"Extend", testExtend},
		{"Fence", testFence},
		{"Poison", testPoison},
		{"Duplicate", testDuplicate},
		{"Delay", testDelay},
		{"EarlierDelay", testEarlierDelay},
		{"Return", testReturn},
		{"ReturnWithPause", testReturnWithPause},
		{"Empty", testEmpty},
		{"Canceled", testCanceled},
		{"LostWakeUp", testLostWakeUp},
		{"Prompt", testPrompt},
		{"Takers", testTakers},
		{"Depth", testDepth},
		{"Waiting", testWaiting},
		{"Generation", testGeneration},
		{"WipedInUse", testWipedInUse},
		{"Announce", testAnnounce},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
}

const (
	patience = 30 * time.Second // for what must happen at all
	long     = time.Minute      // a lease that does not end within a test
	short    = 50 * time.Millisecond
)

var now = time.Time{} // no time to wait for: at once

// message returns the nth message of owner.
func message(owner string, n int) queue.Message {
	return queue.Message{
		Class: queue.CPU, Owner: owner, ConversionID: fmt.Sprintf("%s-%04d", owner, n), Attempt: 1,
		Kind: conversion.Work,
	}
}

func publish(t *testing.T, q queue.Queue, m queue.Message, notBefore time.Time) {
	t.Helper()
	if err := q.Publish(t.Context(), m, notBefore); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, q queue.Queue, lease time.Duration) queue.Delivery {
	t.Helper()
	d, err := q.Take(t.Context(), queue.CPU, lease, patience)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ack(t *testing.T, q queue.Queue, d queue.Delivery) {
	t.Helper()
	if err := q.Ack(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func wantDepth(t *testing.T, q queue.Queue, want queue.Depth) {
	t.Helper()
	if got, err := q.Depth(t.Context(), queue.CPU); err != nil || got != want {
		t.Fatalf("depth = %+v, %v, want %+v", got, err, want)
	}
}

func wantEmpty(t *testing.T, q queue.Queue) {
	t.Helper()
	if d, err := q.Take(t.Context(), queue.CPU, long, 0); !errors.Is(err, queue.ErrEmpty) {
		t.Fatalf("took %+v, %v, want ErrEmpty", d, err)
	}
}

func wantTaken(t *testing.T, d queue.Delivery, m queue.Message, count int) {
	t.Helper()
	if want := (queue.Delivery{Message: m, Count: count}); d != want {
		t.Fatalf("took %+v, want %+v", d, want)
	}
}

// wantLost tries everything that needs a lease.
func wantLost(t *testing.T, q queue.Queue, d queue.Delivery) {
	t.Helper()
	ctx := t.Context()
	for name, err := range map[string]error{
		"Ack":               q.Ack(ctx, d),
		"Extend":            q.Extend(ctx, d, long),
		"Return":            q.Return(ctx, d, 0),
		"Return with pause": q.Return(ctx, d, long),
	} {
		if !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("%s of delivery %d = %v, want ErrLeaseLost", name, d.Count, err)
		}
	}
}

// receive returns what c brings.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// taking starts a Take that waits, and returns its result.
func taking(ctx context.Context, q queue.Queue, wait time.Duration) <-chan result {
	c := make(chan result, 1)
	go func() {
		d, err := q.Take(ctx, queue.CPU, long, wait)
		c <- result{d, err}
	}()
	return c
}

type result struct {
	queue.Delivery
	err error
}
