package service_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/service"
)

func TestAdmin(t *testing.T) {
	var h service.Health
	down := errors.New("no answer")
	h.Check("store", func(context.Context) error { return down })
	h.Check("queue", func(context.Context) error { return nil })
	registry, err := service.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Register(registry, broken{}); err != nil {
		t.Fatal(err)
	}
	admin := service.Admin(&h, registry)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || strings.TrimSpace(body) != `{"failing":{"store":"no answer"},"ready":false}` {
		t.Errorf("unready: %d %s", code, body)
	}
	if code, _ := get("/livez"); code != http.StatusOK {
		t.Errorf("livez: %d while a neighbour is down", code)
	}
	down = nil
	if code, body := get("/readyz"); code != http.StatusOK || strings.TrimSpace(body) != `{"failing":{},"ready":true}` {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d", code)
	}
}

// broken is a collector whose store is down.
type broken struct{}

var brokenDesc = prometheus.NewDesc("broken", "Never told.", nil, nil)

func (broken) Describe(ch chan<- *prometheus.Desc) { ch <- brokenDesc }
func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(brokenDesc, errors.New("no answer"))
}

func TestHealthIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h service.Health
		for _, name := range []string{"a", "b", "c"} {
			h.Check(name, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		}
		start := time.Now()
		if got := h.Failing(t.Context()); len(got) != 3 {
			t.Errorf("failing: %v", got)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// serve runs service.HTTP on a free port; the handler answers once released.
func serve(t *testing.T, drain time.Duration) (addr string, get func() <-chan error, inside chan struct{}, release, stop func(), ended <-chan error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	inside = make(chan struct{})
	released, release := context.WithCancel(t.Context())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		select {
		case <-released.Done():
		case <-r.Context().Done():
		}
		io.WriteString(w, "answer")
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.HTTP(l, handler, drain, service.Limits{}, quiet)(ctx) }()
	get = func() <-chan error {
		result := make(chan error, 1)
		go func() {
			resp, err := http.Get("http://" + addr)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			result <- err
		}()
		return result
	}
	return addr, get, inside, release, stop, done
}

func TestHTTPDrains(t *testing.T) {
	addr, get, inside, release, stop, ended := serve(t, time.Minute)
	first := get()
	<-inside
	stop()
	for { // until it refuses new connections
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case <-ended:
		t.Fatal("stopped before the running request had its answer")
	default:
	}
	release()
	if err := <-first; err != nil {
		t.Errorf("running request: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHTTPDrainEnds(t *testing.T) {
	_, get, inside, _, stop, ended := serve(t, time.Millisecond)
	first := get()
	<-inside
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-first; err == nil {
		t.Error("a request that never ends was waited for")
	}
}

func TestListenHTTP(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tt := range map[string]struct{ addr, want string }{
		"taken":          {l.Addr().String(), "another program uses " + l.Addr().String() + ": stop it, or choose another address with --admin-listen ("},
		"of no machine":  {"192.0.2.1:0", "this machine does not have the address 192.0.2.1:0: choose another one with --admin-listen ("},
		"without a port": {"localhost", "--admin-listen: listen tcp"},
	} {
		err := service.ListenHTTP("admin-listen", tt.addr, http.NotFoundHandler(), time.Second, service.Limits{}, quiet)(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// Registering metrics twice is an error that names the step.
func TestRegisterTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"service": "a"}, registry)
	if err := service.Register(labelled, broken{}); err != nil {
		t.Fatal(err)
	}
	if err := service.Register(prometheus.WrapRegistererWith(prometheus.Labels{"service": "b"}, registry), broken{}); err != nil {
		t.Errorf("another service: %v", err)
	}
	err := service.Register(labelled, broken{})
	if err == nil || !strings.Contains(err.Error(), "register metrics: ") || !strings.Contains(err.Error(), "uses this registerer") {
		t.Errorf("registered twice: %v", err)
	}
}

// TestHarmless: what a service answers is no page, unless its handler says so.
func TestHarmless(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			w.Header().Set("Content-Security-Policy", "default-src 'self'")
		}
	})
	go func() { ended <- service.HTTP(l, handler, time.Second, service.Limits{}, quiet)(ctx) }()
	for path, policy := range map[string]string{"/": "default-src 'none'; frame-ancestors 'none'", "/page": "default-src 'self'"} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": policy} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
