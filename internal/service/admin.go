package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tonearm/internal/version"
)

// Health says whether a process can do its work at present.
type Health struct {
	mu     sync.Mutex
	phase  string // '' while running
	checks map[string]func(context.Context) error
	warns  map[string]func(context.Context) error
}

// Check adds a condition of readiness.
func (h *Health) Check(name string, check func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		h.checks = map[string]func(context.Context) error{}
	}
	h.checks[name] = check
}

// Warn adds a condition that readiness shows and that does not end it: the
// process works without it, though not as well.
func (h *Health) Warn(name string, check func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.warns == nil {
		h.warns = map[string]func(context.Context) error{}
	}
	h.warns[name] = check
}

func (h *Health) set(phase string) {
	h.mu.Lock()
	h.phase = phase
	h.mu.Unlock()
}

// Failing returns the conditions that are not met, by name. It takes at most
// two seconds.
func (h *Health) Failing(ctx context.Context) map[string]string {
	failing, _ := h.look(ctx)
	return failing
}

// look returns the conditions that are not met and the warnings.
func (h *Health) look(ctx context.Context) (failing, warnings map[string]string) {
	failing, warnings = map[string]string{}, map[string]string{}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	h.mu.Lock()
	if h.phase != "" {
		failing["process"] = h.phase
	}
	checks, warns := maps.Clone(h.checks), maps.Clone(h.warns)
	h.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	ask := func(checks map[string]func(context.Context) error, into map[string]string) {
		for name, check := range checks {
			wg.Go(func() {
				if err := check(ctx); err != nil {
					mu.Lock()
					into[name] = err.Error()
					mu.Unlock()
				}
			})
		}
	}
	ask(checks, failing)
	ask(warns, warnings)
	wg.Wait()
	return failing, warnings
}

// NewRegistry returns a registry with the metrics of the process and the
// runtime, and the program's version as tonearm_build_info.
func NewRegistry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tonearm_build_info", Help: "Always 1; the labels say which version runs, and which Go built it.",
		ConstLabels: prometheus.Labels{"version": version.String(), "goversion": runtime.Version()},
	})
	info.Set(1)
	return r, Register(r, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Register registers the metrics of one service.
func Register(r prometheus.Registerer, metrics ...prometheus.Collector) error {
	for _, m := range metrics {
		err := r.Register(m)
		if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
			return fmt.Errorf("register metrics: %w: something else uses this registerer for the same metrics", err)
		}
		if err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Admin serves /livez, /readyz and /metrics.
func Admin(h *Health, g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		failing, warnings := h.look(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if len(failing) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		answer := map[string]any{"ready": len(failing) == 0, "failing": failing}
		if len(warnings) > 0 {
			answer["warnings"] = warnings
		}
		json.NewEncoder(w).Encode(answer)
	})
	// While a store is down, the metrics that do not need it are still shown.
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}
