package upgrade

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// quiet drops what proxies log about clients and programs that have gone.
var quiet = log.New(io.Discard, "", 0)

// front is a proxy in front of the object store, at the address that clients
// use. It counts the parts of uploads that the store accepts.
type front struct {
	url string

	mu     sync.Mutex
	stored map[string]int // how often the store took a part, by upload and number
	most   int            // how many more parts may pass; below 0 all
	held   int            // parts that may not
}

func startFront(t *testing.T, store string) *front {
	t.Helper()
	target, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{stored: map[string]int{}, most: -1}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the signature covers it
		},
		ModifyResponse: func(r *http.Response) error {
			if part := partOf(r.Request); part != "" && r.StatusCode == http.StatusOK {
				f.mu.Lock()
				f.stored[part]++
				f.mu.Unlock()
			}
			return nil
		},
		ErrorLog: quiet,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if partOf(r) != "" && !f.pass() {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // its client has gone
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// partOf names the part that a request uploads; "" for other requests.
func partOf(r *http.Request) string {
	q := r.URL.Query()
	if r.Method != http.MethodPut || !q.Has("partNumber") {
		return ""
	}
	return q.Get("uploadId") + " " + q.Get("partNumber")
}

func (f *front) pass() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most == 0 {
		f.held++
		return false
	}
	f.most--
	return true
}

// letPass lets n more parts reach the store and holds all later ones. If n is
// below 0, all parts pass.
func (f *front) letPass(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most, f.held = n, 0
}

// parts returns how many parts the store took, how many of these it took again,
// and how many parts are held.
func (f *front) parts() (taken, again, held int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.stored {
		taken += n
		again += n - 1
	}
	return taken, again, f.held
}

// balancer hands requests to the replicas of a service in turn, as a Service
// of Kubernetes does.
type balancer struct {
	url string

	mu       sync.Mutex
	replicas []*url.URL
	next     int
}

func startBalancer(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(b.turn()) }, ErrorLog: quiet,
	})
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *balancer) turn() *url.URL {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.replicas[b.next%len(b.replicas)]
}

// use makes requests go to these replicas.
func (b *balancer) use(addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas = nil
	for _, addr := range addrs {
		b.replicas = append(b.replicas, &url.URL{Scheme: "http", Host: addr})
	}
}
