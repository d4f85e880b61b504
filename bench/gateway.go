package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/api"
	"tonearm/internal/client"
)

// creates measures how many uploads a gateway announces in a second, with users
// in MariaDB, a queue in Redis and objects in MinIO: once with records in
// SQLite, as `tonearm up` keeps them, and once with the gateway's own program
// and records in MongoDB, or what stands in for it.
func creates(ctx context.Context, l *lab) (_ results.Figure, err error) {
	only, mongo, mongoURI := "redis,mariadb,minio", "mongodb", os.Getenv("TONEARM_TEST_MONGO_URI")
	if mongoURI == "" {
		only, mongo = only+",ferretdb", "ferretdb"
	}
	s, err := startServers(ctx, nil, l.scratch, only)
	if err != nil {
		return results.Figure{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if mongoURI == "" {
		mongoURI = s.env["FERRETDB"]
	}
	flags := []string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--open-registration",
		"--users", s.env["MYSQL"] + "tonearm", "--queue", "redis://" + s.env["REDIS"] + "/0",
		"--s3-endpoint", s.env["S3"], "--s3-access-key", "tonearm", "--s3-secret-key", "tonearm-secret",
	}
	up, err := stack.Start(ctx, filepath.Join(l.scratch, "creates"), flags...)
	if err != nil {
		return results.Figure{}, err
	}
	levels, err := announce(ctx, l, up, "sqlite", s)
	up.Stop()
	if err != nil {
		return results.Figure{}, fmt.Errorf("records in SQLite: %w", err)
	}
	best := slices.MaxFunc(levels, level.compare)
	f := results.Plain(best.rate, "1/s")
	f.More = map[string]float64{}
	more := func(name string, value float64) { f.More[name] = results.Plain(value, "").Ours }
	for _, v := range levels {
		more("at_"+strconv.Itoa(v.atOnce), v.rate)
	}
	more("p50_ms", best.took.median())
	more("p99_ms", best.took.percentile(99))
	f.Note = best.String()

	gateway, err := startGateway(ctx, l.scratch, append(flags, "--records", mongoURI)...)
	if err != nil {
		return results.Figure{}, err
	}
	levels, err = announce(ctx, l, gateway.Up, mongo, s)
	gateway.stop()
	if err != nil {
		return results.Figure{}, fmt.Errorf("records in %s: %w", mongo, err)
	}
	best = slices.MaxFunc(levels, level.compare)
	more(mongo, best.rate)
	more(mongo+"_p50_ms", best.took.median())
	more(mongo+"_p99_ms", best.took.percentile(99))
	f.Note += "; " + mongo + ": " + best.String()
	return f, nil
}

// level is what was seen with so many clients at once.
type level struct {
	atOnce int
	rate   float64            // uploads announced in a second
	took   sample             // milliseconds
	busy   map[string]float64 // cores, by program
}

func (l level) compare(other level) int { return int(l.rate - other.rate) }

func (l level) String() string {
	var busy []string
	for _, name := range slices.Sorted(maps.Keys(l.busy)) {
		busy = append(busy, fmt.Sprintf("%s %.2f", name, l.busy[name]))
	}
	return fmt.Sprintf("%d at once, cores busy: %s", l.atOnce, strings.Join(busy, ", "))
}

// announce announces uploads with more and more clients at once, as fast as
// they are answered.
func announce(ctx context.Context, l *lab, gateway *stack.Up, name string, s *servers) ([]level, error) {
	const users, each = 8, 4 * time.Second
	var clients []*client.Client
	for i := range users {
		c, err := gateway.Client(ctx, fmt.Sprintf("user%d@%s.example.org", i, name))
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	programs := map[string]int{"gateway": gateway.PID, "client": os.Getpid()}
	for _, pid := range children(s.cmd.Process.Pid) {
		name, _ := held(pid)
		name, _, _ = strings.Cut(name, "-")
		programs[name] = pid
	}
	var levels []level
	for _, atOnce := range []int{1, 4, 16, 64, 256} {
		v := level{atOnce: atOnce, busy: map[string]float64{}}
		before, began := computed(programs), time.Now()
		end := began.Add(each / time.Duration(l.shorten))
		var mu sync.Mutex
		g, ctx := errgroup.WithContext(ctx)
		for i := range atOnce {
			g.Go(func() error {
				for n := 0; time.Now().Before(end); n++ {
					start := time.Now()
					_, err := clients[i%users].Create(ctx, fmt.Sprintf("%d-%d-%d", atOnce, i, n), api.NewConversion{Filename: "bench.mp4", Size: 1 << 20})
					if err != nil {
						return err
					}
					mu.Lock()
					v.took = append(v.took, 1000*time.Since(start).Seconds())
					mu.Unlock()
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, fmt.Errorf("%d at once: %w", atOnce, err)
		}
		seconds := time.Since(began).Seconds()
		v.rate = float64(len(v.took)) / seconds
		for name, cpu := range computed(programs) {
			v.busy[name] = (cpu - before[name]) / seconds
		}
		fmt.Fprintln(os.Stderr, name, v.rate, v.took.median(), v.took.percentile(99), v)
		levels = append(levels, v)
	}
	return levels, nil
}

// computed returns how many seconds each process has computed.
func computed(pids map[string]int) map[string]float64 {
	const ticks = 100 // a second, everywhere
	cpu := map[string]float64{}
	for name, pid := range pids {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if words := strings.Fields(rest); len(words) > 12 {
			user, _ := strconv.Atoi(words[11])
			system, _ := strconv.Atoi(words[12])
			cpu[name] = float64(user+system) / ticks
		}
	}
	return cpu
}

// gateway is bin/gateway.
type gateway struct {
	*stack.Up
	cmd     *exec.Cmd
	drained chan struct{}
}

// startGateway returns once it serves.
func startGateway(ctx context.Context, scratch string, args ...string) (*gateway, error) {
	keys := filepath.Join(scratch, "signing-keys.pem")
	if _, err := jwttoken.LoadOrCreate(keys); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "bin/gateway", append(args, "--signing-keys", keys)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bin/gateway (make build makes it): %w", err)
	}
	g := &gateway{Up: &stack.Up{PID: cmd.Process.Pid}, cmd: cmd, drained: make(chan struct{})}
	var seen strings.Builder
	lines := bufio.NewScanner(io.TeeReader(log, &seen))
	for listening := 0; listening < 2 && lines.Scan(); { // first the admin port
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			listening++
			g.Server = "http://" + line.Address
		}
	}
	go func() { defer close(g.drained); _, _ = io.Copy(io.Discard, log) }()
	return g, nil
}

func (g *gateway) stop() {
	_ = g.cmd.Cancel()
	<-g.drained
	_ = g.cmd.Wait()
}
