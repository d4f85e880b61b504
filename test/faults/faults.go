package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tonearm/test/faults/proxy"
	"tonearm/test/server"
)

// act is a step of a fault.
type act = func(context.Context, *run) error

// Parts of a world that can be killed, frozen and started again.
func redisOf(r *run) *server.Server   { return r.redis }
func recordsOf(r *run) *server.Server { return r.records }
func usersOf(r *run) *server.Server   { return r.users }
func storeOf(r *run) *server.Server   { return r.store }

func serviceOf(name string) func(*run) *server.Process {
	return func(r *run) *server.Process { return r.services[name].Process }
}

// process is a server or a service.
type process interface {
	Kill()
	Signal(syscall.Signal) error
}

func kill[P process](of func(*run) P) act {
	return func(_ context.Context, r *run) error { of(r).Kill(); return nil }
}

func freeze[P process](of func(*run) P) act {
	return func(_ context.Context, r *run) error { return of(r).Signal(syscall.SIGSTOP) }
}

func thaw[P process](of func(*run) P) act {
	return func(_ context.Context, r *run) error { return of(r).Signal(syscall.SIGCONT) }
}

func restart(of func(*run) *server.Server) act {
	return func(ctx context.Context, r *run) error { return of(r).Restart(ctx) }
}

// startAgain starts a service that was killed, and waits until it is ready.
func startAgain(name string) act {
	return func(ctx context.Context, r *run) error {
		if err := r.services[name].Start(); err != nil {
			return err
		}
		return r.ready(ctx, r.services[name])
	}
}

// Signals for transcoders.
const (
	kill9 = syscall.SIGKILL
	stop  = syscall.SIGSTOP
	cont  = syscall.SIGCONT
)

var errIdle = errors.New("no transcoder runs")

// signalTranscoders sends a signal to every transcoder that runs, or continues
// those that were stopped.
func signalTranscoders(s syscall.Signal) act {
	return func(_ context.Context, r *run) error {
		const kept = "transcoders"
		pids := r.transcoders()
		if s == cont {
			pids, _ = r.keep[kept].([]int)
		} else if len(pids) == 0 {
			return errIdle
		}
		r.keep[kept] = pids
		for _, pid := range pids {
			_ = syscall.Kill(pid, s) // it may just have ended
		}
		return nil
	}
}

// thawRecords continues MongoDB. FerretDB, which stands in for it, may leave a
// connection to SQLite interrupted for good when a request's time passed while it
// stood still. Then it is started again.
func thawRecords(ctx context.Context, r *run) error {
	if err := r.records.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	const patience = 5 * time.Second
	for late := time.Now().Add(patience); time.Now().Before(late); {
		if _, err := r.see(ctx, false, nil); err == nil {
			return nil
		}
		pause(ctx, look)
	}
	r.records.Kill()
	return r.records.Restart(ctx)
}

const dump = "dump.rdb"

// keepDump saves Redis once the first message has been published.
func keepDump(ctx context.Context, r *run) error {
	publish, _ := findCut("publish")
	kept := make(chan error, 1)
	r.keep[dump] = kept
	r.gate[gateRedis].Add(&proxy.Rule{Match: publish.match(r.world), Times: 1, Do: proxy.HoldAnswer, Strike: func([]byte) {
		err := r.queue.Save(ctx).Err()
		if err == nil {
			err = os.Rename(filepath.Join(r.redis.Dir, dump), filepath.Join(r.redis.Dir, "old.rdb"))
		}
		kept <- err
	}})
	return nil
}

// restoreDump starts Redis on what keepDump has saved.
func restoreDump(ctx context.Context, r *run) error {
	select {
	case err := <-r.keep[dump].(chan error):
		if err != nil {
			return err
		}
	default:
		return errors.New("nothing was published before the fault")
	}
	if err := os.Rename(filepath.Join(r.redis.Dir, "old.rdb"), filepath.Join(r.redis.Dir, dump)); err != nil {
		return err
	}
	return r.redis.Restart(ctx)
}

// loseKey deletes one key of class cpu, by the seed.
func loseKey(ctx context.Context, r *run) error {
	keys := []string{"messages", "deliveries", "leases", "delays", "ring", "line:*", "waiting", "size"}
	pattern := prefix + ":{cpu}:" + keys[r.cell.seed%uint64(len(keys))]
	found, err := r.queue.Keys(ctx, pattern).Result()
	if err != nil || len(found) == 0 {
		return err // the class has nothing of this kind now; then losing it changes nothing
	}
	return r.queue.Del(ctx, found...).Err()
}

func maxmemory(bytes string) act {
	return func(ctx context.Context, r *run) error {
		return r.queue.ConfigSet(ctx, "maxmemory", bytes).Err()
	}
}

// wantOnlyPublishRefused complains if the full Redis refused what needs no room.
func wantOnlyPublishRefused(_ context.Context, r *run) error {
	for _, name := range names {
		b, err := os.ReadFile(r.services[name].Log)
		if err != nil {
			return err
		}
		for _, what := range []string{"generation of queue: OOM", "extend lease: OOM"} {
			if n := bytes.Count(b, []byte(what)); n > 0 {
				r.red = append(r.red, fmt.Sprintf("refused: %s logs %d times %q", name, n, what))
			}
		}
	}
	return nil
}

// killStore kills the object store; what it may still report does not arrive.
func killStore(_ context.Context, r *run) error {
	r.keep["events"] = r.gate[gateEvents].Add(&proxy.Rule{Do: proxy.Drop})
	r.store.Kill()
	return nil
}

func restartStore(ctx context.Context, r *run) error {
	if err := r.store.Restart(ctx); err != nil {
		return err
	}
	r.keep["events"].(func())()
	return nil
}

// lossy loses each tenth answer at a gate.
func lossy(gate string) tune {
	return tune{
		files: 15, gap: 4 * time.Second, // so that files come while it lasts
		begin: func(_ context.Context, r *run) error {
			rule := &proxy.Rule{Do: proxy.LoseAnswer, Match: func([]byte) bool { return r.chance(10) }}
			r.keep["lossy"] = r.gate[gate].Add(rule)
			r.keep["rule"] = rule
			return nil
		},
		hold: 20 * time.Second,
		heal: func(_ context.Context, r *run) error {
			r.keep["lossy"].(func())()
			if r.keep["rule"].(*proxy.Rule).Struck() == 0 {
				return fmt.Errorf("no answer at gate %s was lost", gate)
			}
			return nil
		},
	}
}

// chance is true once in n times.
func (r *run) chance(n int) bool {
	r.dice.Lock()
	defer r.dice.Unlock()
	return r.rnd.IntN(n) == 0
}
