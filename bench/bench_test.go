package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
)

// Others rely on these names.
func TestNames(t *testing.T) {
	var out bytes.Buffer
	if err := printNames(&out); err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(out.String())
	for _, want := range []string{
		"source.bytes_over_audio", "source.loopback_2m_cam", "source.1g_20m_default", "source.200m_50m_cam",
		"encode.one_hour_2_workers", "short.100_clips", "ffmpeg.start_ms", "latency.overhead_p50_ms", "gateway.creates_per_s",
		"send.20m_uplink_20m_video", "send.100m_uplink_20m_video",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not measured", want)
		}
	}
	if slices.Sort(names); len(slices.Compact(names)) != len(measurements()) {
		t.Errorf("names are not unique: %v", names)
	}
}

func TestSelected(t *testing.T) {
	for _, tt := range []struct {
		only []string
		want int
	}{
		{nil, len(measurements()) - len(sends())},
		{[]string{"send"}, 2},
		{[]string{"source.200m"}, 6},
		{[]string{"source.200m_50m", "encode"}, 3},
	} {
		got, err := selected(measurements(), tt.only)
		if err != nil || len(got) != tt.want {
			t.Errorf("%v: %d, %v; want %d", tt.only, len(got), err, tt.want)
		}
	}
	if _, err := selected(measurements(), []string{"encode", "sauce"}); err == nil {
		t.Error("a name that nothing has was taken")
	}
}

func TestAlternate(t *testing.T) {
	var order string
	turn := func(name string, rounds int) contender {
		return contender{name, rounds, func(context.Context) (float64, error) {
			order += name
			return float64(len(order)), nil
		}}
	}
	taken, err := alternate(t.Context(), 3, turn("a", 0), turn("b", 0), turn("c", 1))
	if err != nil {
		t.Fatal(err)
	}
	if order != "abcbaab" {
		t.Errorf("turns %s", order)
	}
	if want := (map[string]sample{"a": {1, 5, 6}, "b": {2, 4, 7}, "c": {3}}); !reflect.DeepEqual(taken, want) {
		t.Errorf("got %v, want %v", taken, want)
	}
	f := compare(taken, "a", "b", "s")
	if f.Ours != 5 || *f.Peer != 4 || *f.Ratio != 0.8 || f.Spread["peer"] != [2]float64{2, 7} {
		t.Errorf("compared: %+v", f)
	}
	broken := errors.New("broken")
	_, err = alternate(t.Context(), 3, contender{"d", 0, func(context.Context) (float64, error) { return 0, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestQuicker(t *testing.T) {
	taken := map[string]sample{"a": {1, 5, 6}, "b": {2, 4, 7}}
	for _, pair := range [][2]string{{"a", "b"}, {"b", "a"}} {
		if got := quicker(taken, pair[0], pair[1]); got != "b" {
			t.Errorf("of %v: %s", pair, got)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		s    sample
		want float64
	}{{nil, 0}, {sample{3}, 3}, {sample{9, 1, 2}, 2}, {sample{4, 1, 2, 9}, 3}} {
		if got := tt.s.median(); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.s, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var hundred sample
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for _, tt := range []struct {
		s    sample
		want float64
	}{{sample{3}, 3}, {sample{9, 1}, 9}, {hundred, 99}, {hundred[1:], 99}, {append(hundred, 1000), 100}} {
		if got := tt.s.percentile(99); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.s, got, tt.want)
		}
	}
}

func TestLevel(t *testing.T) {
	l := level{atOnce: 16, busy: map[string]float64{"tonearm": 1.234, "minio": 0.01, "bench": 0.4}}
	if got, want := l.String(), "16 at once, cores busy: bench 0.40 tonearm 1.23"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestComputed(t *testing.T) {
	for computed([]int{os.Getpid()})["bench.test"] == 0 { // it computes meanwhile
	}
	if got := computed([]int{0}); len(got) > 0 {
		t.Errorf("of no process: %v", got)
	}
}

// The stub dispatcher speaks the protocol of transcoders.
func TestStubDispatcher(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.mp3")
	d := newStubDispatcher(attempt.Assignment{ConversionID: "bench", SourceSize: 7}, path)
	server := httptest.NewServer(d)
	defer server.Close()
	c := attempt.Client{BaseURL: server.URL, ConversionID: "bench", Token: "t"}
	if a, err := c.Claim(t.Context(), "n"); err != nil || a.SourceSize != 7 {
		t.Errorf("claim: %+v, %v", a, err)
	}
	if g, err := c.Progress(t.Context(), attempt.Progress{}); err != nil || g.Stop {
		t.Errorf("progress: %+v, %v", g, err)
	}
	put, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/mp3", strings.NewReader("sound"))
	resp, err := http.DefaultClient.Do(put)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("store: %v, %v", resp, err)
	}
	resp.Body.Close()
	if content, err := os.ReadFile(path); string(content) != "sound" {
		t.Errorf("stored %q, %v", content, err)
	}
	for range 2 { // sent twice, because an answer may be lost
		taken, err := c.Result(t.Context(), attempt.Result{Failure: &conversion.Failure{Code: "damaged"}})
		if err != nil || taken.State != conversion.Failed {
			t.Errorf("result: %v, %v", taken, err)
		}
	}
	if got := <-d.reported; got.Failure.Code != "damaged" || got.at.IsZero() {
		t.Errorf("reported %+v", got)
	}
}

func TestCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "video")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &counter{path: path}
	s, stop, err := c.serve(t.Context(), nil, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, tt := range []struct {
		etag, want string
		status     int
	}{
		{s.etag, "234", http.StatusPartialContent},
		{"another", "", http.StatusPreconditionFailed},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		req.Header.Set("Range", "bytes=2-4")
		req.Header.Set("If-Match", `"`+tt.etag+`"`)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || string(content) != tt.want {
			t.Errorf("%s: %s %q", tt.etag, resp.Status, content)
		}
	}
	if c.sent.Load() != 3 || c.requests.Load() != 2 || s.size != 10 {
		t.Errorf("%d bytes in %d requests of %d", c.sent.Load(), c.requests.Load(), s.size)
	}
}

func TestWatcher(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	w := watcher{peak: map[string]int{}}
	w.look(os.Getpid())
	if w.peak["sleep"] == 0 || w.peak["bench.test"] < 1000 {
		t.Errorf("kB seen: %v", w.peak)
	}
}
