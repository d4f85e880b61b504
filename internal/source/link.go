package source

import (
	"sync"
	"time"
)

// What is supposed of a store before it was measured.
const (
	likelyRequest = 500 * time.Microsecond // what a request costs MinIO
	fastestRate   = 1.25e9                 // bytes per second: 10 Gbit/s
)

// link is what was learnt about the way to the store. It has no clock of its
// own.
type link struct {
	connections int

	mu      sync.Mutex
	latency time.Duration // of an answer's first byte, the smallest seen
	cost    time.Duration // of one more request while all connections are busy
	rate    float64       // bytes per second of one long answer, 0 while unknown
	side    float64       // of answers side by side, 0 while unknown
}

// estimate is what the planner reckons with.
type estimate struct {
	request time.Duration // per request
	rate    float64       // of one long answer
	side    float64       // of answers side by side
	known   bool          // rate was measured
}

// answered notes after how long an answer began.
func (l *link) answered(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latency == 0 || d < l.latency {
		l.latency = d
	}
}

// long notes how fast one long answer came in.
func (l *link) long(bytes int64, d time.Duration) {
	if bytes <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := float64(bytes) / max(d, time.Microsecond).Seconds()
	if l.rate > 0 {
		rate = (rate + l.rate) / 2
	}
	l.rate = rate
}

// many notes how long some requests took, flight of them being under way at any
// time.
func (l *link) many(requests, flight int, bytes int64, d time.Duration) {
	if requests <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d = max(d, time.Microsecond)
	l.side = max(l.side, float64(bytes)/d.Seconds())
	rest := d - time.Duration(float64(bytes)/l.sideRate()*float64(time.Second))
	cost := rest / time.Duration(requests)
	cost -= l.latency/time.Duration(flight) - l.latency/time.Duration(l.connections) // what waiting will cost less
	cost = max(cost, l.latency/time.Duration(l.connections), time.Microsecond)
	if l.cost > 0 {
		cost = (cost + l.cost) / 2
	}
	l.cost = cost
}

// sideRate is at least what one connection does.
func (l *link) sideRate() float64 {
	if l.rate == 0 {
		return max(l.side, fastestRate)
	}
	return max(l.side, l.rate)
}

func (l *link) estimate() estimate {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := estimate{request: l.cost, rate: l.rate, side: l.sideRate(), known: l.rate > 0}
	if e.request == 0 {
		e.request = max(likelyRequest, l.latency/time.Duration(l.connections))
	}
	if !e.known {
		e.rate = fastestRate
	}
	return e
}
