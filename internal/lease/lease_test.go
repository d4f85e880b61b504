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
	"tonearm/internal/lease/leasetest"
	"tonearm/internal/waittest"
)

// duration is short, but leaves a call of a slow store a second.
const duration = 6 * time.Second

func newReplica(t *testing.T, records lease.Records, identity string) *leasetest.Replica {
	return leasetest.Start(t, func(ctx context.Context, run func(context.Context) error) error {
		return lease.Lead(ctx, lease.Options{
			Records: records, Name: "dispatcher", Identity: identity, Duration: duration, Log: slog.New(slog.DiscardHandler),
		}, run)
	})
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
	first.AwaitLead()
	second, third := newReplica(t, records, "second"), newReplica(t, records, "third")
	third.Stop() // it is still waiting
	if err := third.AwaitEnd(); err != nil {
		t.Errorf("a replica that never led: %v", err)
	}
	second.Waits()
	first.Stop()
	if err := first.AwaitEnd(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	if has, err := records.Lease(t.Context(), "dispatcher", "probe", 0); err != nil || has == "first" {
		t.Errorf("after its end, %q has the lease: %v", has, err)
	}
	second.AwaitLead()

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
	if err := second.AwaitEnd(); !errors.Is(err, lease.ErrLost) {
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
	first.AwaitLead()
	second := newReplica(t, records, "second")
	waittest.Until(t, time.Minute, "the lease is renewed", func() bool { return reached.calls.Load() > 1 })
	reached.down.Store(true)
	if err := first.AwaitEnd(); !errors.Is(err, lease.ErrLost) || !strings.Contains(err.Error(), "dispatcher") {
		t.Errorf("got %v, want ErrLost", err)
	}
	second.AwaitLead()

	// Who starts while the records are away waits for them.
	second.Stop()
	if err := second.AwaitEnd(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	third := newReplica(t, reached, "third")
	third.Waits()
	reached.down.Store(false)
	third.AwaitLead()
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
