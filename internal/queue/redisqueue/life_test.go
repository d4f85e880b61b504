package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"tonearm/internal/queue"
)

// owed are the messages of a class that its records owe: three owners' work.
func owed() []queue.Message {
	var all []queue.Message
	for _, owner := range []string{"a", "b", "c"} {
		for n := range 3 {
			all = append(all, queue.Message{Class: queue.CPU, Owner: owner, ConversionID: fmt.Sprint(owner, n),
				Attempt: 1, Kind: "work", Size: 1, Since: time.UnixMilli(int64(n + 1)).UTC()})
		}
	}
	return all
}

func generation(t *testing.T, q *Queue) string {
	t.Helper()
	name, err := q.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func publishAll(t *testing.T, q *Queue, all []queue.Message) {
	t.Helper()
	for _, m := range all {
		if err := q.Publish(t.Context(), m, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantEach takes and acknowledges everything, publishes again what is still
// owed whenever the generation changes, and wants each message once.
func wantEach(t *testing.T, q *Queue, all []queue.Message) {
	t.Helper()
	got := map[string]int{}
	known := generation(t, q)
	for {
		d, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
		if errors.Is(err, queue.ErrEmpty) {
			now := generation(t, q)
			if now == known {
				break
			}
			known = now
			for _, m := range all {
				if got[m.ID()] == 0 {
					publishAll(t, q, []queue.Message{m})
				}
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got[d.ID()]++
		if err := q.Ack(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range all {
		if got[m.ID()] != 1 {
			t.Errorf("took %s %d times, want once", m.ID(), got[m.ID()])
		}
	}
	if len(got) != len(all) {
		t.Errorf("took %d messages, want %d", len(got), len(all))
	}
	if depth, err := q.Depth(t.Context(), queue.CPU); err != nil || depth != (queue.Depth{}) {
		t.Errorf("depth = %+v, %v, want nothing left", depth, err)
	}
}

// Whichever key is lost, the life's name changes, and whoever publishes again
// what is owed has everything delivered once.
func TestLostKey(t *testing.T) {
	server := miniredis.RunT(t)
	for _, key := range New(nil, "test").keys(queue.CPU) {
		name := key[strings.LastIndex(key, ":")+1:]
		if name == "" {
			key, name = key+"a", "line of a"
		}
		t.Run(name, func(t *testing.T) {
			server.FlushAll()
			defer server.SetTime(time.Time{})
			q := open(t, server.Addr(), "test")
			all := owed()
			publishAll(t, q, all)
			leased, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
			if err != nil {
				t.Fatal(err)
			}
			late := all[len(all)-1]
			late.ConversionID = "late"
			if err := q.Publish(t.Context(), late, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			before := generation(t, q)
			if !server.Exists(key) {
				t.Fatalf("there is no key %s", key)
			}
			server.Del(key)
			// A lost count of deliveries ends the leases. A lost line is noticed
			// when it is its owner's turn.
			noticed := generation(t, q) != before
			if want := name != "deliveries" && name != "line of a"; noticed != want {
				t.Errorf("noticed at once: %v, want %v", noticed, want)
			}
			publishAll(t, q, append(all, late))
			if err := q.Ack(t.Context(), leased); err == nil {
				all = all[1:]
			}
			server.SetTime(time.Now().Add(2 * time.Minute)) // leases end
			wantEach(t, q, append(all, late))
			if after := generation(t, q); after != generation(t, q) {
				t.Error("the class does not come to rest")
			}
		})
	}
}

// A line or the ring can be lost while others go on.
func TestLostInUse(t *testing.T) {
	for _, key := range []string{"ring", "line:a"} {
		t.Run(key, func(t *testing.T) {
			server := miniredis.RunT(t)
			q := open(t, server.Addr(), "test")
			all := owed()
			publishAll(t, q, all[:5])
			before := generation(t, q)
			server.Del("test:{cpu}:" + key)
			publishAll(t, q, all[5:])
			if generation(t, q) == before {
				t.Error("nobody notices")
			}
			publishAll(t, q, all)
			wantEach(t, q, all)
		})
	}
}

// A message that has lost its place gets one by being published again.
func TestPublishRepairs(t *testing.T) {
	server := miniredis.RunT(t)
	q := open(t, server.Addr(), "test")
	all := owed()
	publishAll(t, q, all)
	for _, key := range []string{"ring", "waiting", "line:a", "line:b", "line:c"} {
		server.Del("test:{cpu}:" + key)
	}
	publishAll(t, q, all)
	wantEach(t, q, all)
}

// A class that went back in time begins a new life at the first call of anybody
// who has seen it later, whatever the call.
func TestWentBack(t *testing.T) {
	calls := map[string]func(t *testing.T, q *Queue, d queue.Delivery) error{
		"publish": func(t *testing.T, q *Queue, d queue.Delivery) error {
			return q.Publish(t.Context(), d.Message, time.Time{})
		},
		"take": func(t *testing.T, q *Queue, d queue.Delivery) error {
			_, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
			return err
		},
		"take next": func(t *testing.T, q *Queue, d queue.Delivery) error {
			_, err := q.TakeNext(t.Context(), queue.CPU, "a", 0, time.Minute)
			return err
		},
		"extend": func(t *testing.T, q *Queue, d queue.Delivery) error { return q.Extend(t.Context(), d, time.Minute) },
		"return": func(t *testing.T, q *Queue, d queue.Delivery) error { return q.Return(t.Context(), d, 0) },
		"ack":    func(t *testing.T, q *Queue, d queue.Delivery) error { return q.Ack(t.Context(), d) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			q, other := open(t, server.Addr(), "test"), open(t, server.Addr(), "test")
			publishAll(t, q, owed()[:1])
			d, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
			if err != nil {
				t.Fatal(err)
			}
			before := generation(t, other)
			server.HSet("test:{cpu}:life", "writes", "1")
			if err := call(t, q, d); err != nil && !errors.Is(err, queue.ErrEmpty) {
				t.Fatal(err)
			}
			if generation(t, New(redis.NewClient(&redis.Options{Addr: server.Addr()}), "test")) == before {
				t.Error("nobody notices")
			}
		})
	}
}

// Answers that overtake each other do not look like a class that went back.
func TestOvertaken(t *testing.T) {
	server := miniredis.RunT(t)
	q := open(t, server.Addr(), "test")
	before := generation(t, q)
	done := make(chan error)
	for i := range 20 {
		go func() {
			m := owed()[0]
			m.ConversionID = fmt.Sprint(i)
			for n := range 20 {
				m.Attempt = n
				if err := q.Publish(t.Context(), m, time.Time{}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if after := generation(t, q); after != before {
		t.Errorf("generation %q, and before %q", after, before)
	}
	q.lives.saw(queue.CPU, life{before, 1}, life{strings.Split(before, ".")[0], 1})
	if seen := q.lives.known(queue.CPU); seen.writes < 400 {
		t.Errorf("a late answer lowered the count to %d", seen.writes)
	}
}

// deaf is a client whose scripts run, and which gets none of their answers.
type deaf struct{ redis.Hook }

func (deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

func (deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && strings.HasPrefix(cmd.Name(), "eval") {
			err = io.ErrUnexpectedEOF
			cmd.SetErr(err)
		}
		return err
	}
}

// If the answer that brings a message is lost, the message comes again soon,
// however long its lease was to be.
func TestLostAnswer(t *testing.T) {
	server := miniredis.RunT(t)
	q := open(t, server.Addr(), "test")
	all := owed()[:2]
	publishAll(t, q, all)
	lost := open(t, server.Addr(), "test")
	lost.client.AddHook(deaf{})
	if _, err := lost.Take(t.Context(), queue.CPU, time.Hour, 0); err == nil {
		t.Fatal("an answer came")
	}
	if _, err := lost.TakeNext(t.Context(), queue.CPU, "a", 1, time.Hour); err == nil {
		t.Fatal("an answer came")
	}
	if _, err := q.Take(t.Context(), queue.CPU, time.Hour, 0); !errors.Is(err, queue.ErrEmpty) {
		t.Fatalf("took what is leased: %v", err)
	}
	server.SetTime(time.Now().Add(firstLease + time.Second))
	kept, err := q.Take(t.Context(), queue.CPU, time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	next, err := q.TakeNext(t.Context(), queue.CPU, "a", 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	// What was received keeps its lease.
	server.SetTime(time.Now().Add(time.Minute))
	for _, d := range []queue.Delivery{kept, next} {
		if err := q.Ack(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenKinds(t *testing.T) {
	for url, want := range map[string]string{
		"redis://127.0.0.1:1/3": "*redis.Client", "rediss://u:p@127.0.0.1:1": "*redis.Client",
		"redis+cluster://127.0.0.1:1?addr=127.0.0.1:2":    "*redis.ClusterClient",
		"rediss+cluster://u:p@127.0.0.1:1":                "*redis.ClusterClient",
		"redis+sentinel://127.0.0.1:1/0?master_name=main": "*redis.Client",
	} {
		q, err := Open(url, "")
		if err != nil {
			t.Errorf("Open(%q): %v", url, err)
			continue
		}
		if got := fmt.Sprintf("%T", q.client); got != want {
			t.Errorf("Open(%q) makes a %s, want %s", url, got, want)
		}
		_ = q.Close()
	}
	for _, url := range []string{"redis+sentinel://127.0.0.1:1", "redis+ring://127.0.0.1:1", "http+cluster://127.0.0.1:1"} {
		if _, err := Open(url, ""); err == nil {
			t.Errorf("Open(%q) succeeded", url)
		}
	}
}
