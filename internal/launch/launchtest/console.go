package launchtest

import (
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"tonearm/internal/conversion"
)

// patience bounds every wait for something that must happen; a pod takes its time.
const patience = 60 * time.Second

// Console takes the place of the dispatcher: every process of an attempt
// reports to it and does what the test says.
type Console struct {
	listener net.Listener

	mu      sync.Mutex
	arrived []*Process
	changed chan struct{} // closed and replaced with each arrival
}

// Process is one process of an attempt that reported.
type Process struct {
	Report
	conn net.Conn
	out  *json.Encoder
	acks chan Action
	gone chan struct{}
}

// NewConsole serves a console on addr, which attempts must be able to reach,
// until the test ends.
func NewConsole(t *testing.T, addr string) *Console {
	t.Helper()
	// A pod's network may go away before the last segment of its process has
	// arrived.
	probe := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}
	l, err := (&net.ListenConfig{KeepAliveConfig: probe}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &Console{listener: l, changed: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		for _, p := range c.arrived {
			p.conn.Close()
		}
		c.mu.Unlock()
		wg.Wait()
	})
	return c
}

// URL is what a launcher under test gets as the dispatcher's URL.
func (c *Console) URL() string { return "http://" + c.listener.Addr().String() }

func (c *Console) serve(conn net.Conn) {
	defer conn.Close()
	in := json.NewDecoder(conn)
	p := &Process{conn: conn, out: json.NewEncoder(conn), acks: make(chan Action, 1), gone: make(chan struct{})}
	defer close(p.gone)
	if err := in.Decode(&p.Report); err != nil {
		return
	}
	c.mu.Lock()
	c.arrived = append(c.arrived, p)
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	for {
		var a Action
		if err := in.Decode(&a); err != nil {
			return
		}
		p.acks <- a
	}
}

// Arrivals returns the processes with this role that reported for the
// conversion so far.
func (c *Console) Arrivals(r conversion.AttemptRef, role Role) []*Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ps []*Process
	for _, p := range c.arrived {
		if p.ConversionID == r.ConversionID && p.Role == role {
			ps = append(ps, p)
		}
	}
	return ps
}

// Arrival waits for the nth process, from 1, with this role.
func (c *Console) Arrival(t *testing.T, r conversion.AttemptRef, role Role, nth int) *Process {
	t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if ps := c.Arrivals(r, role); len(ps) >= nth {
			return ps[nth-1]
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s of %s: number %d did not arrive within %v", role, r, nth, patience)
		}
	}
}

// Do makes the process carry out c, and returns once it has. It does not wait
// for the effect of Exit, Die and Eat.
func (p *Process) Do(t *testing.T, c Command) {
	t.Helper()
	if err := p.out.Encode(c); err != nil {
		t.Fatalf("tell %s of %s to %s: %v", p.Role, p.ConversionID, c.Do, err)
	}
	if c.Do == Exit || c.Do == Die || c.Do == Eat {
		return
	}
	select {
	case <-p.acks:
	case <-p.gone:
		t.Fatalf("%s of %s ended instead of %s", p.Role, p.ConversionID, c.Do)
	case <-time.After(patience):
		t.Fatalf("%s of %s did not %s within %v", p.Role, p.ConversionID, c.Do, patience)
	}
}

// WaitGone waits until the process has ended.
func (p *Process) WaitGone(t *testing.T) {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		t.Fatalf("%s of %s still lives after %v", p.Role, p.ConversionID, patience)
	}
}
