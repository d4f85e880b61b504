package launcher

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/dispatcher"
	"tonearm/internal/conversion/sqliteconversion"
)

func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	fl := &Flags{URL: "http://127.0.0.1:1", Kind: Process, Transcoder: self, WorkDir: t.TempDir()}
	l, _, err := fl.Open(t.Context(), dispatcher.Options{}, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if second, _, err := fl.Open(t.Context(), dispatcher.Options{}, log, prometheus.NewRegistry()); err == nil || second != nil ||
		!strings.Contains(err.Error(), fl.WorkDir) || !strings.Contains(err.Error(), "--work-dir") {
		t.Errorf("a second one in the same folder: %v, %v", second, err)
	}
}

// TestProcessLease opens two replicas with their own folders and the same
// records: the second works once the first has ended.
func TestProcessLease(t *testing.T) {
	records, err := sqliteconversion.Open(filepath.Join(t.TempDir(), "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	if err := records.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := func() Leading {
		fl := &Flags{URL: "http://127.0.0.1:1", Kind: Process, Transcoder: os.Args[0], WorkDir: t.TempDir(), lease: "dispatcher"}
		l, leading, err := fl.Open(t.Context(), dispatcher.Options{Records: records}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return leading
	}
	second := make(chan error, 1)
	var over atomic.Bool
	err = open()(func(ctx context.Context) error {
		next := open()
		go func() {
			second <- next(func(context.Context) error {
				if !over.Load() {
					return errors.New("it works beside the first")
				}
				return nil
			})(t.Context())
		}()
		if has, err := records.Lease(ctx, "dispatcher", "nobody", time.Minute); err != nil || has == "nobody" || has == "" {
			t.Errorf("the first works while %q has the lease: %v", has, err)
		}
		over.Store(true)
		return nil
	})(t.Context())
	if err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
}
