package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

// TestRedisPassword: another user of this machine finds the port, and nothing behind
// it.
func TestRedisPassword(t *testing.T) {
	server, err := embedded.StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	other, err := embedded.StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	right, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	another, err := redis.ParseURL(other.URL())
	if err != nil {
		t.Fatal(err)
	}
	if right.Password == another.Password || len(right.Password) < 20 {
		t.Error("the password is no secret")
	}
	for name, password := range map[string]string{"none": "", "wrong": "x", "of another server": another.Password} {
		client := redis.NewClient(&redis.Options{Addr: right.Addr, Password: password, DB: right.DB, MaxRetries: -1})
		for _, command := range [][]any{
			{"PING"}, {"KEYS", "*"}, {"SET", "a", "b"}, {"LPUSH", "a", "b"}, {"XADD", "a", "*", "b", "c"}, {"EVAL", "return 1", 0}, {"PUBLISH", "a", "b"},
			{"SUBSCRIBE", "a"}, {"FLUSHALL"}, {"CONFIG", "GET", "*"}, {"INFO"}, {"MULTI"},
		} {
			if err := client.Do(t.Context(), command...).Err(); err == nil {
				t.Errorf("password %s: %v works", name, command)
			}
		}
		client.Close()
	}
	client := redis.NewClient(right)
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}
