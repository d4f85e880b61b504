package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"tonearm/internal/queue"
	"tonearm/internal/queue/queuetest"
)

func TestMiniredis(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		return harness(t, miniredis.RunT(t).Addr())
	})
}

func TestRedis(t *testing.T) {
	addr := os.Getenv("TONEARM_TEST_REDIS")
	if addr == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_REDIS is not set")
		}
		t.Skip("TONEARM_TEST_REDIS is not set")
	}
	queuetest.Run(t, func(t *testing.T) queuetest.Harness { return harness(t, addr) })
}

func harness(t *testing.T, addr string) queuetest.Harness {
	prefix := "test-" + uuid.NewString()
	q, mute := open(t, addr, prefix), open(t, addr, prefix)
	mute.channel = prefix + ":nobody"
	wipe := func(t *testing.T) {
		// In one step, so that nobody sees the queue half wiped.
		const script = `for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end`
		if err := q.client.Eval(context.WithoutCancel(t.Context()), script, nil, prefix+":*").Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { wipe(t) })
	return queuetest.Harness{Queue: q, Mute: mute, Wipe: wipe}
}

func open(t *testing.T, addr, prefix string) *Queue {
	t.Helper()
	q, err := Open("redis://"+addr, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func TestOpen(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "http://localhost"} {
		if _, err := Open(url, ""); err == nil {
			t.Errorf("Open(%q) succeeded", url)
		}
	}
	q, err := Open("rediss://user:secret@127.0.0.1:1/3", "") // contacts nobody
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// Ten thousand subscribers share one connection.
func TestOneConnection(t *testing.T) {
	server := miniredis.RunT(t)
	q := open(t, server.Addr(), "")
	var last <-chan struct{}
	for i := range 10_000 {
		changed, cancel, err := q.Subscribe(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		defer cancel()
		last = changed
	}
	heard(t, q, "9999", last)
	if n := server.CurrentConnectionCount(); n > 2 {
		t.Errorf("%d connections, want one to listen and one to announce", n)
	}
}

// When the connection breaks, everybody is woken: something may have been
// missed. The server that comes back has neither scripts nor keys.
func TestReconnect(t *testing.T) {
	server := miniredis.RunT(t)
	q := open(t, server.Addr(), "")
	changed, cancel, err := q.Subscribe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	heard(t, q, "a", changed)
	before, err := q.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	server.Close()
	missed, cancel, err := q.Subscribe(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	m := queue.Message{Class: queue.CPU, Owner: "a", ConversionID: "a", Attempt: 1, Kind: "work"}
	if err := q.Publish(t.Context(), m, time.Time{}); err == nil {
		t.Error("published to no server")
	}
	if _, err := q.Take(t.Context(), queue.CPU, time.Minute, time.Minute); err == nil {
		t.Error("took from no server")
	}
	if err := q.Ping(t.Context()); err == nil {
		t.Error("pinged no server")
	}
	server.FlushAll()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-missed:
	case <-time.After(time.Minute):
		t.Fatal("nobody was woken after the connection was made again")
	}
	if after, err := q.Generation(t.Context()); err != nil || after == before {
		t.Errorf("generation %q, %v after a wipe, %q before", after, err, before)
	}
	if err := q.Publish(t.Context(), m, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if d, err := q.Take(t.Context(), queue.CPU, time.Minute, 0); err != nil || d.Message != m {
		t.Errorf("took %+v, %v, want %+v", d, err, m)
	}
}

// The client given to New belongs to the caller: Close ends only what the queue
// started.
func TestNewLeavesClientOpen(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	q := New(client, "")
	_, cancel, err := q.Subscribe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	for range 2 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

// heard announces until changed receives: the first ones may come before the
// listening connection.
func heard(t *testing.T, q *Queue, id string, changed <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2 { // the first wake-up may come from the connection
		for received := false; !received; {
			if err := q.Announce(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
				received = true
			case <-tick.C:
			case <-t.Context().Done():
				t.Fatal("not heard")
			}
		}
	}
}
