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
	warns  map[string]func() string
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

// Warn adds something that readiness tells of and does not depend on. warning
// returns ” if there is nothing to tell.
func (h *Health) Warn(name string, warning func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.warns == nil {
		h.warns = map[string]func() string{}
	}
	h.warns[name] = warning
}

// Warnings returns what readiness tells of, by name.
func (h *Health) Warnings() map[string]string {
	h.mu.Lock()
	warns := maps.Clone(h.warns)
	h.mu.Unlock()
	told := map[string]string{}
	for name, warning := range warns {
		if text := warning(); text != "" {
			told[name] = text
		}
	}
	return told
}

func (h *Health) set(phase string) {
	h.mu.Lock()
	h.phase = phase
	h.mu.Unlock()
}

// Failing returns the conditions that are not met, by name. It takes at most
// two seconds.
func (h *Health) Failing(ctx context.Context) map[string]string {
	failing := map[string]string{}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	h.mu.Lock()
	if h.phase != "" {
		failing["process"] = h.phase
	}
	checks := maps.Clone(h.checks)
	h.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, check := range checks {
		wg.Go(func() {
			if err := check(ctx); err != nil {
				mu.Lock()
				failing[name] = err.Error()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failing
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
		failing := h.Failing(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if len(failing) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		answer := map[string]any{"ready": len(failing) == 0, "failing": failing}
		if told := h.Warnings(); len(told) > 0 {
			answer["warnings"] = told
		}
		json.NewEncoder(w).Encode(answer)
	})
	// While a store is down, the metrics that do not need it are still shown.
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}
