// Package proxy passes TCP connections on and breaks them where a test says so.
//
// A test of what happens when an answer is lost must lose the answer to a
// certain request, and know that the server has had the request. Proxies such as
// toxiproxy break connections by bytes and by time, and know no requests. Here a
// request is whatever a client sends between two answers. That holds for all
// protocols that Tonearm's programs speak: HTTP/1.1, Redis, MongoDB, MySQL, SMTP.
package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy listens on Addr and passes connections on to a server.
type Proxy struct {
	Addr string

	listener net.Listener
	mu       sync.Mutex
	target   string
	closed   bool
	rules    []*Rule
	conns    map[*conn]struct{}
	passed   atomic.Int64
	work     sync.WaitGroup
}

// Listen starts a proxy on a free port of the loopback interface. Its
// connections go to target, as host:port.
func Listen(ctx context.Context, target string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), listener: l, target: target, conns: map[*conn]struct{}{}}
	p.work.Go(p.accept)
	return p, nil
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, r := range p.rules {
		r.end()
	}
	p.mu.Unlock()
	p.Cut()
	p.work.Wait()
}

// Aim sends connections that come from now on to another server.
func (p *Proxy) Aim(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Target is the server that connections go to.
func (p *Proxy) Target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// Cut closes every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close()
	}
}

// Requests is how many requests have been seen.
func (p *Proxy) Requests() int64 { return p.passed.Load() }

// Add sets up a rule and returns what takes it back. What a rule holds goes on
// then.
func (p *Proxy) Add(r *Rule) (remove func()) {
	r.ended = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, other := range p.rules {
			if other == r {
				p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
				break
			}
		}
		r.end()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.work.Go(func() { p.serve(client) })
	}
}

const dialTimeout = 5 * time.Second

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	c := &conn{proxy: p, client: client, server: server}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.close()
		return
	}
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(c.requests)
	both.Go(c.answers)
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}
