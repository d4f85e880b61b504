package upgrade

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"tonearm/test/world"
)

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
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(b.turn()) }, ErrorLog: world.Quiet,
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
