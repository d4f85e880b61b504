package transcoder

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// heard is the dispatcher's side of a reporter.
type heard struct {
	mu     sync.Mutex
	began  time.Time
	at     []time.Duration
	phases []conversion.Phase
}

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	var p attempt.Progress
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = append(h.at, time.Since(h.began))
	h.phases = append(h.phases, p.Progress.Phase)
	w := httptest.NewRecorder()
	err := json.NewEncoder(w).Encode(attempt.ProgressReply{})
	return w.Result(), err
}

func TestReports(t *testing.T) {
	const ms = time.Millisecond
	const reading, encoding, storing = conversion.PhaseReading, conversion.PhaseEncoding, conversion.PhaseStoring
	type phase struct {
		name conversion.Phase
		last time.Duration
	}
	tests := map[string]struct {
		phases []phase
		url    bool // fresh URLs are asked for at once
		at     []time.Duration
		want   []conversion.Phase
	}{
		"a short clip":      {phases: []phase{{reading, 10 * ms}, {encoding, 200 * ms}, {storing, 100 * ms}}},
		"a phase that goes": {phases: []phase{{reading, 10 * ms}, {encoding, 700 * ms}}, at: []time.Duration{500 * ms}, want: []conversion.Phase{encoding}},
		"phases that follow each other": {phases: []phase{{reading, 600 * ms}, {encoding, 100 * ms}, {storing, 900 * ms}},
			at: []time.Duration{500 * ms, 1000 * ms}, want: []conversion.Phase{reading, storing}},
		"one long phase": {phases: []phase{{reading, 100 * ms}, {encoding, 4500 * ms}},
			at: []time.Duration{500 * ms, 2000 * ms, 4000 * ms}, want: []conversion.Phase{encoding, encoding, encoding}},
		"fresh URLs": {phases: []phase{{reading, 100 * ms}}, url: true, at: []time.Duration{0}, want: []conversion.Phase{reading}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &heard{began: time.Now()}
				client := &attempt.Client{BaseURL: "http://dispatcher", ConversionID: "id", HTTP: &http.Client{Transport: h}}
				r := newReporter(client, "nonce", 2*time.Second, attempt.Assignment{})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.run(ctx) }()
				for i, p := range tt.phases {
					r.update(func(g *conversion.Progress) { g.Phase = p.name })
					if i == 0 && tt.url {
						if err := r.refresh(ctx); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(p.last)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if !slices.Equal(h.at, tt.at) || !slices.Equal(h.phases, tt.want) {
					t.Errorf("reported %v at %v, want %v at %v", h.phases, h.at, tt.want, tt.at)
				}
			})
		})
	}
}
