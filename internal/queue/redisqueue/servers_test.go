//go:build unix

package redisqueue

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"tonearm/internal/queue"
	"tonearm/internal/queue/queuetest"
)

// server is a real Redis server in a process of its own.
type server struct {
	addr string
	args []string
	cmd  *exec.Cmd
}

// startServer starts redis-server with further arguments. Its data is in a
// directory of the test.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	port := freePort(t)
	s := &server{addr: net.JoinHostPort("127.0.0.1", port),
		args: append([]string{path}, append(args, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "")...)}
	s.start(t)
	t.Cleanup(func() { s.kill() })
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), s.args[0], s.args[1:]...) //nolint:gosec // redis-server
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := s.client()
	defer client.Close()
	until(t, "the server answers", func() error { return client.Ping(t.Context()).Err() })
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) client() *redis.Client { return redis.NewClient(&redis.Options{Addr: s.addr}) }

// do sends one command.
func (s *server) do(t *testing.T, args ...any) {
	t.Helper()
	client := s.client()
	defer client.Close()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// until calls try until it succeeds.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// A server that starts from a snapshot has neither what was published after it
// nor forgotten what was taken since.
func TestSnapshot(t *testing.T) {
	s := startServer(t)
	q := open(t, s.addr, "")
	all := owed()
	publishAll(t, q, all[:3])
	s.do(t, "SAVE")
	publishAll(t, q, all[3:])
	taken, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := generation(t, q)
	s.kill()
	s.start(t)
	until(t, "the new life", func() error {
		switch name, err := q.Generation(t.Context()); {
		case err != nil:
			return err
		case name == before:
			t.Fatal("nobody notices")
		}
		return nil
	})
	if err := q.Ack(t.Context(), taken); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("acknowledge = %v, want the lease lost", err)
	}
	publishAll(t, q, all)
	wantEach(t, q, all)
}

// A full server refuses new messages and nothing else.
func TestFull(t *testing.T) {
	s := startServer(t)
	q := open(t, s.addr, "")
	all := owed()
	publishAll(t, q, all[:6])
	var taken []queue.Delivery
	for range 3 {
		d, err := q.Take(t.Context(), queue.CPU, time.Minute, 0)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, d)
	}
	before := generation(t, q)
	s.do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
	if err := q.Publish(t.Context(), all[8], time.Time{}); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("published in a full server: %v", err)
	}
	publishAll(t, q, all[:6])
	if after := generation(t, q); after != before {
		t.Errorf("generation %q, and before %q", after, before)
	}
	for what, err := range map[string]error{
		"extend":            q.Extend(t.Context(), taken[0], time.Hour),
		"acknowledge":       q.Ack(t.Context(), taken[0]),
		"return":            q.Return(t.Context(), taken[1], 0),
		"return with pause": q.Return(t.Context(), taken[2], time.Hour),
		"repair": func() error {
			s.do(t, "DEL", "tonearm:{cpu}:delays")
			return q.Publish(t.Context(), taken[2].Message, time.Time{})
		}(),
		"announce": q.Announce(t.Context(), "a"),
	} {
		if err != nil {
			t.Errorf("%s in a full server: %v", what, err)
		}
	}
	wantEach(t, q, all[1:6])
	s.do(t, "DEL", "tonearm:{gpu}:life")
	if after := generation(t, q); after == before {
		t.Error("no new life begins in a full server")
	}
	s.do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := q.Publish(t.Context(), all[8], time.Time{}); err != nil {
		t.Error(err)
	}
}

// The whole suite on a cluster of three nodes, opened by the address of one.
func TestCluster(t *testing.T) {
	var nodes []*server
	var addrs []string
	for range 3 {
		n := startServer(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
		nodes, addrs = append(nodes, n), append(addrs, n.addr)
	}
	for i, n := range nodes {
		n.do(t, "CLUSTER", "ADDSLOTSRANGE", i*5461, map[bool]int{true: 16383, false: (i+1)*5461 - 1}[i == 2])
		n.do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, n := range nodes[1:] {
		first := strings.Split(nodes[0].addr, ":")
		bus := nodes[0].args[4]
		n.do(t, "CLUSTER", "MEET", first[0], first[1], bus)
	}
	for _, n := range nodes {
		client := n.client()
		defer client.Close()
		until(t, "the cluster is whole", func() error {
			info, err := client.ClusterInfo(t.Context()).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3")) {
				err = errors.New(info)
			}
			return err
		})
	}
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		prefix := "test-" + uuid.NewString()
		q, mute := openURL(t, "redis+cluster://"+addrs[1], prefix), openURL(t, "redis+cluster://"+addrs[2]+"?addr="+addrs[0], prefix)
		mute.channel = prefix + ":nobody"
		wipe := func(t *testing.T) {
			for _, class := range queue.Classes {
				const script = `for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end`
				keys := q.keys(class)
				pattern := strings.ReplaceAll(strings.TrimSuffix(keys[0], "messages"), "{", "[{]") + "*"
				err := q.client.Eval(context.WithoutCancel(t.Context()), script, keys[:1], pattern).Err()
				if err != nil && !errors.Is(err, redis.Nil) {
					t.Fatal(err)
				}
			}
		}
		return queuetest.Harness{Queue: q, Mute: mute, Wipe: wipe}
	})
}

// A sentinel names the master. After its death the other one goes on, and what
// it lacks is published again.
func TestSentinel(t *testing.T) {
	master := startServer(t)
	replica := startServer(t, "--replicaof", strings.ReplaceAll(master.addr, ":", " "))
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := []string{
		"sentinel monitor main " + strings.ReplaceAll(master.addr, ":", " ") + " 1",
		"sentinel down-after-milliseconds main 500", "sentinel failover-timeout main 5000",
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := startServer(t, config, "--sentinel")
	ask := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr})
	defer ask.Close()
	until(t, "the sentinel knows the replica", func() error {
		known, err := ask.Replicas(t.Context(), "main").Result()
		if err == nil && len(known) != 1 {
			err = errors.New(strconv.Itoa(len(known)) + " replicas")
		}
		return err
	})
	q := openURL(t, "redis+sentinel://"+sentinel.addr+"/0?master_name=main", "")
	all := owed()
	publishAll(t, q, all[:3])
	// From here on the replica hears nothing more.
	client := replica.client()
	defer client.Close()
	until(t, "the replica has the first messages", func() error {
		n, err := client.HLen(t.Context(), q.keys(queue.CPU)[0]).Result()
		if err == nil && n != 3 {
			err = errors.New(strconv.FormatInt(n, 10) + " messages")
		}
		return err
	})
	before := generation(t, q)
	signal := func(s syscall.Signal) {
		if err := replica.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	master.do(t, "CLIENT", "KILL", "TYPE", "replica")
	publishAll(t, q, all[3:])
	master.kill()
	signal(syscall.SIGCONT)
	until(t, "the other server goes on", func() error {
		name, err := q.Generation(t.Context())
		if err == nil && name == before {
			t.Fatal("nobody notices that the last messages are missing")
		}
		return err
	})
	publishAll(t, q, all)
	wantEach(t, q, all)
}

func openURL(t *testing.T, url, prefix string) *Queue {
	t.Helper()
	q, err := Open(url, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

// freePort is one that nobody listens on at the moment, so that the servers of
// a cluster can be told each other's.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
