package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"tonearm/internal/media/mp3"
)

func TestFrames(t *testing.T) {
	s, err := mp3.Read(bytes.NewReader(frames))
	if err != nil {
		t.Fatal(err)
	}
	if s.Frames != 40 || s.Seconds() != .96 || s.SampleRate != 48000 || s.Channels != 1 { // the values that simulated reports
		t.Errorf("got %+v of %g s", s, s.Seconds())
	}
}

func TestSum(t *testing.T) {
	const page = `# TYPE finished_total counter
finished_total{class="cpu",state="done"} 3
finished_total{class="gpu",state="done"} 1e+01
finished_total{class="cpu",state="failed"} 2
finished_total_more{class="cpu",state="done"} 50
alone 7
`
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"finished_total", nil, 15},
		{"finished_total", []string{`state="done"`}, 13},
		{"finished_total", []string{`state="done"`, `class="cpu"`}, 3},
		{"alone", nil, 7},
		{"none", nil, 0},
	} {
		if got := sum([]byte(page), tt.name, tt.labels...); got != tt.want {
			t.Errorf("%s %v: %g, want %g", tt.name, tt.labels, got, tt.want)
		}
	}
}

func TestJobsAtATime(t *testing.T) {
	k := &kubelet{jobs: map[types.UID]uint64{"a": 10, "b": 20, "c": 40, "d": 50}, ends: []uint64{60, 30}}
	if jobs, most, err := k.count(); jobs != 4 || most != 3 || err != nil {
		t.Errorf("%d Jobs, %d at a time, %v; want 4 and 3", jobs, most, err)
	}
}

func TestSeconds(t *testing.T) {
	for stat, want := range map[string]float64{
		"7 (a) b) S 1 7 7 0 -1 4194560 900 0 1 0 1234 66 5 6 20 0 9 0 300": 13,
		"": 0,
	} {
		if got := seconds([]byte(stat)); got != want {
			t.Errorf("%q: %g s, want %g", stat, got, want)
		}
	}
}

// The Kubernetes client logs when its own limit has held up a call.
func TestThrottled(t *testing.T) {
	var log bytes.Buffer
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&log, nil))) // as the launcher does
	defer klog.ClearLogger()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: .8, Burst: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		_, _ = kube.Discovery().RESTClient().Get().AbsPath("/").DoRaw(t.Context())
		if got := strings.Contains(log.String(), throttled); got != want {
			t.Errorf("call %d: logged %v, want %v: %s", i+1, got, want, &log)
		}
	}
}
