package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/conversion/mongoconversion"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/lease"
	"tonearm/internal/waittest"
)

// duration is short, but leaves a call of a slow store a second.
const duration = 6 * time.Second

// replica is one process that wants the lease.
type replica struct {
	leads chan struct{} // closed once it leads
	ended chan error    // what Lead returned
	stop  context.CancelFunc
}

func newReplica(t *testing.T, records lease.Records, identity string) *replica {
	ctx, cancel := context.WithCancel(t.Context())
	r := &replica{leads: make(chan struct{}), ended: make(chan error, 1), stop: cancel}
	go func() {
		r.ended <- lease.Lead(ctx, lease.Options{
			Records: records, Name: "dispatcher", Identity: identity, Duration: duration, Log: slog.New(slog.DiscardHandler),
		}, func(ctx context.Context) error {
			close(r.leads)
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(cancel)
	return r
}

func (r *replica) awaitLead(t *testing.T) {
	t.Helper()
	select {
	case <-r.leads:
	case err := <-r.ended:
		t.Fatalf("ended before it led: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("does not lead")
	}
}

func (r *replica) awaitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("does not end")
		return nil
	}
}

func (r *replica) waits(t *testing.T) {
	t.Helper()
	select {
	case <-r.leads:
		t.Error("two lead")
	case err := <-r.ended:
		t.Errorf("ended before it led: %v", err)
	default:
	}
}

// away is a store that cannot be reached while down is set. A write may have
// happened nevertheless: its answer is lost.
type away struct {
	lease.Records
	down  atomic.Bool
	calls atomic.Int64
}

func (a *away) Lease(ctx context.Context, name, holder string, d time.Duration) (string, error) {
	if a.down.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	defer a.calls.Add(1)
	return a.Records.Lease(ctx, name, holder, d)
}

func (a *away) Release(ctx context.Context, name, holder string) error {
	if a.down.Load() {
		return errors.New("away")
	}
	return a.Records.Release(ctx, name, holder)
}

func TestLead(t *testing.T) {
	for name, open := range map[string]func(*testing.T) lease.Records{"SQLite": sqlite, "FerretDB": ferretDB} {
		t.Run(name+"/Given up", func(t *testing.T) { t.Parallel(); testGivenUp(t, open(t)) })
		t.Run(name+"/Away", func(t *testing.T) { t.Parallel(); testAway(t, open(t)) })
	}
}

func testGivenUp(t *testing.T, records lease.Records) {
	first := newReplica(t, records, "first")
	first.awaitLead(t)
	second, third := newReplica(t, records, "second"), newReplica(t, records, "third")
	third.stop() // it is still waiting
	if err := third.awaitEnd(t); err != nil {
		t.Errorf("a replica that never led: %v", err)
	}
	second.waits(t)
	first.stop()
	if err := first.awaitEnd(t); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	if has, err := records.Lease(t.Context(), "dispatcher", "probe", 0); err != nil || has == "first" {
		t.Errorf("after its end, %q has the lease: %v", has, err)
	}
	second.awaitLead(t)

	// Somebody else has it now, as after a pause of this process.
	for has := ""; has != "thief"; { // the second may renew it in between
		if err := records.Release(t.Context(), "dispatcher", "second"); err != nil {
			t.Fatal(err)
		}
		var err error
		if has, err = records.Lease(t.Context(), "dispatcher", "thief", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.awaitEnd(t); !errors.Is(err, lease.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	if has, err := records.Lease(t.Context(), "dispatcher", "fourth", time.Hour); err != nil || has != "thief" {
		t.Errorf("after another one's end, %q has the lease (%v), want the thief", has, err)
	}
}

// testAway takes the records away from the replica that leads: it ends before
// another one takes over.
func testAway(t *testing.T, records lease.Records) {
	reached := &away{Records: records}
	first := newReplica(t, reached, "first")
	first.awaitLead(t)
	second := newReplica(t, records, "second")
	waittest.Until(t, time.Minute, "the lease is renewed", func() bool { return reached.calls.Load() > 1 })
	reached.down.Store(true)
	if err := first.awaitEnd(t); !errors.Is(err, lease.ErrLost) || !strings.Contains(err.Error(), "dispatcher") {
		t.Errorf("got %v, want ErrLost", err)
	}
	second.awaitLead(t)

	// Who starts while the records are away waits for them.
	second.stop()
	if err := second.awaitEnd(t); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	third := newReplica(t, reached, "third")
	third.waits(t)
	reached.down.Store(false)
	third.awaitLead(t)
}

func sqlite(t *testing.T) lease.Records {
	s, err := sqliteconversion.Open(filepath.Join(t.TempDir(), "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func ferretDB(t *testing.T) lease.Records {
	uri := os.Getenv("TONEARM_TEST_FERRETDB")
	if uri == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_FERRETDB is not set")
		}
		t.Skip("TONEARM_TEST_FERRETDB is not set")
	}
	s, err := mongoconversion.Open(uri, "tonearm_test_"+strings.ReplaceAll(uuid.NewString(), "-", ""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
