package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestClock(t *testing.T) {
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	own := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var ahead, way time.Duration // of the store's clock, and of the call in each direction
	var down error
	c, err := NewClock(func(context.Context) (time.Time, error) {
		own = own.Add(way)
		there := own.Add(ahead)
		own = own.Add(way)
		return there, down
	}, slog.New(slog.NewTextHandler(&log, nil)), registry)
	if err != nil {
		t.Fatal(err)
	}
	c.own = func() time.Time { return own }
	for _, step := range []struct {
		name       string
		ahead, way time.Duration
		down       error
		want       time.Duration // offset
		told       int           // lines so far
	}{
		{"the same", 0, time.Millisecond, nil, 0, 0},
		{"a little", 80 * time.Millisecond, time.Millisecond, nil, 0, 0},
		{"ahead", 3 * time.Second, time.Millisecond, nil, 3 * time.Second, 0},
		{"less than the way", 3500 * time.Millisecond, time.Second, nil, 3 * time.Second, 0},
		{"behind", -time.Hour, time.Second, nil, -time.Hour, 1},
		{"store down", 0, 0, errors.New("down"), -time.Hour, 1},
		{"back", 0, 0, nil, 0, 1},
	} {
		ahead, way, down = step.ahead, step.way, step.down
		if err := c.Measure(t.Context()); (err != nil) != (step.down != nil) {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := c.Now().Sub(own); got != step.want {
			t.Errorf("%s: the clock is %v ahead, want %v", step.name, got, step.want)
		}
		if n := strings.Count(log.String(), "set it by NTP"); n != step.told {
			t.Errorf("%s: told %d times, want %d", step.name, n, step.told)
		}
		if got := testutil.ToFloat64(gaugeOf(t, registry)); got != step.want.Seconds() {
			t.Errorf("%s: the metric says %v s, want %v", step.name, got, step.want)
		}
	}
}

// gaugeOf returns the one metric of a registry as a collector.
func gaugeOf(t *testing.T, r *prometheus.Registry) prometheus.Collector {
	t.Helper()
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "tonearm_clock_offset_seconds" {
		t.Fatalf("%v, %v", families, err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x", Help: "x"})
	g.Set(families[0].GetMetric()[0].GetGauge().GetValue())
	return g
}
