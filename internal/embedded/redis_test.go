package embedded_test

import (
	"context"
	"testing"
	"time"

	"tonearm/internal/embedded"
	"tonearm/internal/queue"
	"tonearm/internal/queue/redisqueue"
)

func TestRedis(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, err := embedded.StartRedis(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	q, err := redisqueue.Open(server.URL(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m := queue.Message{Class: queue.CPU, Owner: "a", ConversionID: "b", Attempt: 1, Kind: "work"}
	if err := q.Publish(t.Context(), m, time.Now().Add(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if d, err := q.Take(t.Context(), queue.CPU, time.Minute, time.Minute); err != nil || d.Message != m {
		t.Errorf("took %+v, %v, want %+v: its clock runs", d, err, m)
	}
	cancel()
	if err := q.Ping(t.Context()); err != nil {
		t.Errorf("ended with the context of its start: %v", err)
	}
	server.Close()
	server.Close()
	if q.Ping(t.Context()) == nil {
		t.Error("answers after Close")
	}
}
