package source

import (
	"sync"
	"sync/atomic"
	"time"
)

// What is assumed of a store before anything is measured.
const (
	likelyRequest = 600e-6  // seconds that a request costs MinIO and this process
	fastestRate   = 1.25e9  // bytes per second: 10 Gbit/s
	likelyWindow  = 2 << 20 // bytes that one connection lets through within its latency
)

// link is what was measured of the connection to the store. It has no clock of
// its own.
type link struct {
	connections int

	mu       sync.Mutex
	latency  float64 // seconds until an answer begins, the smallest seen
	cost     float64 // seconds for one more request while all connections are busy, 0 while unknown
	rate     float64 // bytes per second of one long answer, 0 while unknown
	parallel float64 // bytes per second of all answers at the same time, 0 if unknown
}

// estimate is the set of numbers that the planner calculates with.
type estimate struct {
	latency  float64 // seconds until an answer begins
	request  float64 // seconds per request
	rate     float64 // bytes per second of one long answer
	parallel float64 // bytes per second of all answers at the same time
	tried    bool    // parallel was measured
}

// noteLatency notes how long an answer took to begin.
func (l *link) noteLatency(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latency == 0 || d.Seconds() < l.latency {
		l.latency = d.Seconds()
	}
}

// noteLong notes how one long answer came in.
func (l *link) noteLong(m measurement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = mean(l.rate, float64(m.bytes)/m.seconds)
}

// noteParallel notes how fast answers came in that were read at the same time,
// always flight of them. They measure what takes most of the time: the bytes or
// the requests.
func (l *link) noteParallel(m measurement, flight int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.estimateLocked()
	requests, bytes := float64(m.requests)*e.request, float64(m.bytes)/e.parallel
	if bytes > requests {
		l.parallel = mean(l.parallel, float64(m.bytes)/max(m.seconds-requests, m.seconds/2))
		return
	}
	cost := max(m.seconds-bytes, m.seconds/2) / float64(m.requests)
	if flight < l.connections && cost < 2*l.latency/float64(flight) {
		return // most of the time was waiting: the cost of more requests will show later
	}
	l.cost = mean(l.cost, cost)
}

// mean follows the measured values slowly, so that one outlier changes little.
func mean(old, measured float64) float64 {
	if old == 0 {
		return measured
	}
	return (3*old + measured) / 4
}

func (l *link) estimate() estimate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.estimateLocked()
}

// estimateLocked is estimate with mu held. For what is not known it assumes
// that answers at the same time are together as fast as one long answer.
func (l *link) estimateLocked() estimate {
	e := estimate{latency: l.latency, request: l.cost, rate: l.rate, parallel: l.parallel, tried: l.parallel > 0}
	if e.request == 0 {
		e.request = max(likelyRequest, l.latency/float64(l.connections))
	}
	if e.rate == 0 {
		e.rate = min(fastestRate, likelyWindow/l.latency)
	}
	if !e.tried {
		e.parallel = e.rate
	}
	return e
}

// measurement is what came in during one window.
type measurement struct {
	requests int // requests that ended
	bytes    int64
	seconds  float64
	spoilt   bool // the reader had to wait for the taker of the bytes
}

// window measures what comes in.
type window struct {
	total *atomic.Int64 // all bytes that ever came in

	mu    sync.Mutex
	since time.Time // zero until it begins
	from  int64     // value of total at since
	seen  measurement
}

// begin starts a window: now, or when the next request ends.
func (w *window) begin(now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.seen = time.Time{}, measurement{}
	if now {
		w.since, w.from = time.Now(), w.total.Load()
	}
}

func (w *window) spoil() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.spoilt = true
}

// request notes that a request has ended.
func (w *window) request() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() { // the time to set up connections says nothing
		w.since, w.from = time.Now(), w.total.Load()
		return
	}
	w.seen.requests++
}

// ends returns the measurement and starts the next window, if enough says that
// it suffices.
func (w *window) ends(enough func(measurement) bool) (measurement, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return measurement{}, false
	}
	now, total := time.Now(), w.total.Load()
	m := w.seen
	m.bytes, m.seconds = total-w.from, now.Sub(w.since).Seconds()
	if m.seconds <= 0 || !enough(m) {
		return measurement{}, false
	}
	w.since, w.from, w.seen = now, total, measurement{}
	return m, true
}
