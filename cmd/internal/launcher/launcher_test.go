package launcher

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/dispatcher"
)

func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	fl := &Flags{URL: "http://127.0.0.1:1", Kind: Process, Transcoder: self, WorkDir: t.TempDir()}
	l, _, err := fl.Open(dispatcher.Options{}, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if second, _, err := fl.Open(dispatcher.Options{}, log, prometheus.NewRegistry()); err == nil || second != nil ||
		!strings.Contains(err.Error(), fl.WorkDir) || !strings.Contains(err.Error(), "--work-dir") {
		t.Errorf("a second one in the same folder: %v, %v", second, err)
	}
	fl.WorkDir, fl.lease = t.TempDir(), "tonearm/dispatcher"
	if _, _, err := fl.Open(dispatcher.Options{}, log, prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "--lease") {
		t.Errorf("with a Lease: %v", err)
	}
}
