package main

import (
	"bufio"
	"bytes"
	"cmp"
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
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/api"
	"tonearm/internal/client"
)

// creates measures how many uploads a gateway accepts in a second. Users are in
// MariaDB, the queue is in Redis, the bucket in MinIO. First the gateway runs
// in `tonearm up` with records in SQLite, then as a program of its own with
// records in MongoDB, or in a stand-in for MongoDB. A single error fails the
// measurement.
func creates(ctx context.Context, l *lab) (_ results.Figure, err error) {
	only, mongo, records := "redis,mariadb,minio", "mongodb", os.Getenv("TONEARM_TEST_MONGO_URI")
	if records == "" {
		only, mongo = only+",ferretdb", "ferretdb"
	}
	s, err := startServers(ctx, nil, l.scratch, only)
	if err != nil {
		return results.Figure{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	flags := []string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--open-registration", "--self-confirm", "--max-open-uploads", "-1",
		"--users", s.env["MYSQL"] + "tonearm", "--queue", "redis://" + s.env["REDIS"] + "/0",
		"--s3-endpoint", s.env["S3"], "--s3-access-key", "tonearm", "--s3-secret-key", "tonearm-secret",
	}
	up, err := stack.Start(ctx, filepath.Join(l.scratch, "creates"), flags...)
	if err != nil {
		return results.Figure{}, err
	}
	levels, err := l.announce(ctx, up, "sqlite", s)
	up.Stop()
	if err != nil {
		return results.Figure{}, fmt.Errorf("records in SQLite: %w", err)
	}
	best := slices.MaxFunc(levels, level.compare)
	flush, err := flushes(l.scratch)
	if err != nil {
		return results.Figure{}, err
	}
	f := results.Plain(best.rate, "1/s")
	f.More = map[string]float64{}
	more := func(name string, value float64) { f.More[name] = results.Plain(value, "").Ours }
	more("p50_ms", best.took.median())
	more("p99_ms", best.took.percentile(99))
	more("disk_flush_ms", flush.median())
	for _, v := range levels {
		more("at_"+strconv.Itoa(v.atOnce), v.rate)
	}
	f.Note = best.String()

	up, stop, err := startGateway(ctx, l.scratch, append(flags,
		"--records", cmp.Or(records, s.env["FERRETDB"]), "--records-database", "tonearm_bench")...)
	if err != nil {
		return results.Figure{}, err
	}
	levels, err = l.announce(ctx, up, mongo, s)
	stop()
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

// level is what was measured with this many clients at once.
type level struct {
	atOnce int
	rate   float64            // uploads a second
	took   sample             // milliseconds
	busy   map[string]float64 // cores, by program
}

func (l level) compare(other level) int { return cmp.Compare(l.rate, other.rate) }

func (l level) String() string {
	s := fmt.Sprintf("%d at once, cores busy:", l.atOnce)
	for _, name := range slices.Sorted(maps.Keys(l.busy)) {
		if l.busy[name] >= 0.05 {
			s += fmt.Sprintf(" %s %.2f", name, l.busy[name])
		}
	}
	return s
}

// announce announces uploads to a gateway, with more and more clients at once.
// Each client sends its next request when it has an answer.
func (l *lab) announce(ctx context.Context, gateway *stack.Up, name string, s *servers) ([]level, error) {
	var users []*client.Client // several, because one has at most 32 connections
	for i := range 8 {
		c, err := gateway.Client(ctx, fmt.Sprintf("user%d@%s.example.org", i, name))
		if err != nil {
			return nil, err
		}
		users = append(users, c)
	}
	programs := append(children(s.cmd.Process.Pid), os.Getpid(), gateway.PID)
	var levels []level // done in 15 s, because after 30 s a dispatcher begins to look for the uploads
	for _, atOnce := range []int{1, 4, 16, 64, 256} {
		v := level{atOnce: atOnce, busy: map[string]float64{}}
		before, began := computed(programs), time.Now()
		end := began.Add(3 * time.Second / time.Duration(l.shorten))
		took := make([]sample, atOnce)
		g, ctx := errgroup.WithContext(ctx)
		for i := range atOnce {
			g.Go(func() error {
				for start := began; start.Before(end); {
					key := fmt.Sprintf("%d %d %d", atOnce, i, len(took[i]))
					if _, err := users[i%len(users)].Create(ctx, key, api.NewConversion{Filename: "bench.mp4", Size: 1 << 20}); err != nil {
						return err
					}
					now := time.Now()
					took[i] = append(took[i], 1000*now.Sub(start).Seconds())
					start = now
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, fmt.Errorf("%d at once: %w", atOnce, err)
		}
		seconds := time.Since(began).Seconds()
		v.took = slices.Concat(took...)
		v.rate = float64(len(v.took)) / seconds
		for name, cpu := range computed(programs) {
			v.busy[name] = (cpu - before[name]) / seconds
		}
		levels = append(levels, v)
	}
	return levels, nil
}

// computed returns how many seconds of processor time processes have used, by
// program.
func computed(pids []int) map[string]float64 {
	const ticks = 100 // per second, on every Linux
	cpu := map[string]float64{}
	for _, pid := range pids {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // a number
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		words := strings.Fields(string(rest))
		if len(words) < 13 {
			continue // it ended, or this is no Linux
		}
		user, _ := strconv.Atoi(words[11])
		system, _ := strconv.Atoi(words[12])
		name, _ := held(pid)
		name, _, _ = strings.Cut(name, "-") // a version
		cpu[name] += float64(user+system) / ticks
	}
	return cpu
}

// flushes measures how many milliseconds the disk takes to store two pages of a
// file: each record in SQLite waits for that.
func flushes(dir string) (sample, error) {
	f, err := os.CreateTemp(dir, "flushed-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var took sample
	for range 200 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 8<<10)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, 1000*time.Since(began).Seconds())
	}
	return took, nil
}

// startGateway runs bin/gateway, and returns once it serves.
func startGateway(ctx context.Context, scratch string, args ...string) (_ *stack.Up, stop func(), err error) {
	keys := filepath.Join(scratch, "signing-keys.pem")
	if _, err := jwttoken.LoadOrCreate(keys); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "bin/gateway", append(args, "--signing-keys", keys)...) //nolint:gosec // MongoDB is where the user says
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("bin/gateway (make build makes it): %w", err)
	}
	drained := make(chan struct{})
	stop = func() {
		_ = cmd.Cancel()
		<-drained
		_ = cmd.Wait()
	}
	var seen strings.Builder
	lines := bufio.NewScanner(io.TeeReader(log, &seen))
	for listening := 0; lines.Scan(); {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Msg != "listening" {
			continue
		}
		if listening++; listening == 2 { // the first line was about the admin port
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, log) }()
			return &stack.Up{Server: "http://" + line.Address, PID: cmd.Process.Pid}, stop, nil
		}
	}
	close(drained)
	stop()
	return nil, nil, fmt.Errorf("bin/gateway did not start: %s", &seen)
}
