package source

import (
	"context"
	"sync"
	"time"

	"tonearm/internal/media/mp4"
)

// group is one request: some extents and the gaps between them.
type group struct {
	extents []mp4.Extent
}

func (g group) from() int64 { return g.extents[0].Offset }
func (g group) to() int64   { return g.extents[len(g.extents)-1].End() }

// next takes the next group from the rest, reaching over gaps of less than gap
// bytes.
func (r *rest) next(gap int64) group {
	var g group
	for len(r.extents) > 0 {
		e := r.extents[0]
		if n := len(g.extents); n > 0 {
			if e.Offset-g.to() >= gap || e.Offset-g.from() >= maxRange {
				return g
			}
		} else {
			g.extents = make([]mp4.Extent, 0, 1)
		}
		room := maxRange
		if len(g.extents) > 0 {
			room -= int(e.Offset - g.from())
		}
		e.Size = min(e.Size, int64(room))
		g.extents = append(g.extents, e)
		r.take(e.Size)
		if g.to()-g.from() >= maxRange {
			return g
		}
	}
	return g
}

// sparse asks for groups side by side until the rest is taken or a long answer
// is better.
func (r *reader) sparse(ctx context.Context) error {
	r.window.begin()
	for len(r.rest.extents) > 0 {
		if r.window.ends(r.flight, &r.s.link) {
			if r.better() {
				return nil
			}
			r.widen(2 * r.flight)
		}
		g := r.rest.next(r.under.gap)
		p := &part{ready: make(chan struct{}), cost: g.to() - g.from()}
		if err := r.push(ctx, p); err != nil {
			return err
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.fetching.Go(func() {
			defer func() { <-r.slots }()
			if err := r.fetch(ctx, g, p); err != nil {
				r.out.cancel(err)
			}
			close(p.ready)
		})
	}
	return nil
}

// firstFlight is how many requests are under way until the first of them have
// shown what they cost.
const firstFlight = 8

// widen lets more requests be under way.
func (r *reader) widen(flight int) {
	for ; r.flight < min(flight, r.s.o.Connections); r.flight++ {
		<-r.slots
	}
}

// fetch reads one group and keeps its extents.
func (r *reader) fetch(ctx context.Context, g group, p *part) error {
	b := make([]byte, p.cost)
	if err := r.s.fill(ctx, b, g.from()); err != nil {
		return err
	}
	r.window.count(len(b))
	n := 0
	for _, e := range g.extents {
		n += copy(b[n:], b[e.Offset-g.from():e.End()-g.from()])
	}
	p.data = b[:n]
	return nil
}

// window measures requests side by side.
type window struct {
	mu       sync.Mutex
	since    time.Time
	requests int
	bytes    int64
	spoilt   bool // the one who takes the bytes was waited for
}

func (w *window) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.requests, w.bytes, w.spoilt = time.Now(), 0, 0, false
}

func (w *window) spoil() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoilt = true
}

func (w *window) count(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	w.bytes += int64(bytes)
}

// ends tells the link of a window that has twice as many requests as were under
// way at once, and starts the next one.
func (w *window) ends(flight int, l *link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests < 2*flight {
		return false
	}
	if !w.spoilt {
		l.many(w.requests, flight, w.bytes, time.Since(w.since))
	}
	w.since, w.requests, w.bytes, w.spoilt = time.Now(), 0, 0, false
	return true
}
