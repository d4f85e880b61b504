package redislimit

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"tonearm/internal/limit"
	"tonearm/internal/limit/limittest"
	"tonearm/internal/waittest"
	"tonearm/test/server"
)

func TestMiniredis(t *testing.T) {
	limittest.Run(t, func(t *testing.T) limittest.Harness { return harness(t, miniredis.RunT(t).Addr()) })
}

func TestRedis(t *testing.T) {
	addr := os.Getenv("TONEARM_TEST_REDIS")
	if addr == "" {
		addr = startRedis(t).Addr
	}
	limittest.Run(t, func(t *testing.T) limittest.Harness { return harness(t, addr) })
}

// The keys of a call have one slot: a cluster would refuse others.
func TestCluster(t *testing.T) {
	addr := startNode(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})
	t.Cleanup(func() { client.Close() })
	node := open(t, addr)
	waittest.Until(t, time.Minute, "the server answers", func() bool { return node.Ping(t.Context()).Err() == nil })
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, time.Minute, "the cluster is whole", func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	limittest.Run(t, func(t *testing.T) limittest.Harness { return on(client) })
}

func harness(t *testing.T, addr string) limittest.Harness { return on(open(t, addr)) }

func on(client redis.UniversalClient) limittest.Harness {
	prefix := "test-" + uuid.NewString()
	a, b := New(client, prefix), New(client, prefix)
	return limittest.Harness{Store: a, Other: b, Pass: func(d time.Duration) { a.shift += d; b.shift += d }}
}

func open(t *testing.T, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return client
}

// scratch is for servers of this test's own.
func scratch(t *testing.T) *server.Scratch {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := &server.Scratch{Host: server.Loopback}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// startRedis starts a Redis.
func startRedis(t *testing.T) *server.Server {
	t.Helper()
	r, err := scratch(t).Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// startNode starts a Redis that is a cluster of its own.
func startNode(t *testing.T) (addr string) {
	t.Helper()
	s := scratch(t)
	var ports []string
	for range 2 {
		free, err := server.FreeAddr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, strings.TrimPrefix(free, server.Loopback+":"))
	}
	if _, err := s.Run(t.Context(), "redis-server", "redis-server", []string{"--bind", server.Loopback, "--port", ports[0], "--dir", s.Dir(), "--save", "",
		"--cluster-enabled", "yes", "--cluster-port", ports[1]}); err != nil {
		t.Fatal(err)
	}
	return server.Loopback + ":" + ports[0]
}

// Every key goes by itself, when it says nothing any more.
func TestKeysEnd(t *testing.T) {
	client := open(t, startRedis(t).Addr)
	s := New(client, "tonearm")
	ctx := t.Context()
	b := limit.Budget{Key: "b", Limit: limit.Limit{Burst: 10, Every: time.Minute}}
	for range 3 {
		if _, err := s.Take(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Return(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(ctx, "m", time.Hour); err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Duration{"tonearm:{limit}:budget:b": 2 * time.Minute, "tonearm:{limit}:mark:m": time.Hour}
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil || len(keys) != len(want) {
		t.Errorf("keys are %q, %v", keys, err)
	}
	for key, most := range want {
		if left, err := client.PTTL(ctx, key).Result(); err != nil || left <= most/2 || left > most {
			t.Errorf("%s ends in %v, %v, want at most %v", key, left, err, most)
		}
	}
	if err := s.Return(ctx, b, b); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Exists(ctx, "tonearm:{limit}:budget:b").Result(); err != nil || n != 0 {
		t.Errorf("a full budget is kept: %d, %v", n, err)
	}
}

// A full Redis counts nothing and says so; what was taken before can be given
// back.
func TestFull(t *testing.T) {
	client := open(t, startRedis(t).Addr)
	s := New(client, "tonearm")
	ctx := t.Context()
	b := limit.Budget{Key: "b", Limit: limit.Limit{Burst: 3, Every: time.Hour}}
	for range 3 {
		if _, err := s.Take(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"maxmemory-policy": "noeviction", "maxmemory": "1"} {
		if err := client.ConfigSet(ctx, name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if wait, err := s.Take(ctx, b); err != nil || wait == 0 {
		t.Errorf("take from what is used up: %v, %v", wait, err)
	}
	if err := s.Return(ctx, b); err != nil {
		t.Error(err)
	}
	if _, err := s.Take(ctx, b); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("take: %v", err)
	}
}
