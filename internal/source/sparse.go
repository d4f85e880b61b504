package source

import (
	"context"

	"tonearm/internal/media/mp4"
)

// group is one request: some extents and the gaps between them.
type group struct {
	extents []mp4.Extent
	wanted  int64 // bytes of the extents
}

func (g group) from() int64 { return g.extents[0].Offset }
func (g group) to() int64   { return g.extents[len(g.extents)-1].End() }

// next takes the next group from the rest; it includes gaps of less than gap
// bytes.
func (r *rest) next(gap int64) group {
	g := group{extents: make([]mp4.Extent, 0, 1)}
	for len(r.extents) > 0 {
		e := r.extents[0]
		left := int64(maxWanted)
		if len(g.extents) > 0 {
			if e.Offset-g.to() >= gap {
				return g
			}
			left = min(left-g.wanted, maxRange-(e.Offset-g.from()))
		}
		if left <= 0 {
			return g
		}
		e.Size = min(e.Size, left)
		g.extents, g.wanted = append(g.extents, e), g.wanted+e.Size
		r.take(e.Size)
	}
	return g
}

// sparse requests groups at the same time, until the rest is used up or a long
// answer is better.
func (r *reader) sparse(ctx context.Context) error {
	r.window.begin(false)
	for len(r.rest.extents) > 0 {
		if r.measured() {
			if r.better() {
				return nil
			}
			r.widen(2 * r.flight)
		}
		g := r.rest.next(r.current.gap)
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p := &part{ready: make(chan struct{}), cost: g.wanted}
		if err := r.push(ctx, p); err != nil {
			return err
		}
		r.fetching.Go(func() {
			defer func() { <-r.slots }()
			p.data = make([]byte, g.wanted)
			if err := r.s.gather(ctx, p.data, g.extents); err != nil {
				r.out.cancel(err)
			}
			r.window.request()
			close(p.ready)
		})
	}
	return nil
}

// manyBytes are enough for a measurement, however few requests brought them.
const manyBytes = 8 << 20

// firstFlight is how many requests may run until the first of them have shown
// what they cost.
const firstFlight = 8

// widen allows more requests to run at the same time.
func (r *reader) widen(flight int) {
	for ; r.flight < min(flight, r.s.o.Connections); r.flight++ {
		<-r.slots
	}
}

// measured reports whether the link has learnt from requests.
func (r *reader) measured() bool {
	m, ends := r.window.ends(func(m measurement) bool {
		return m.requests >= 2*r.flight || m.bytes >= manyBytes
	})
	if ends && !m.spoilt {
		r.s.link.noteParallel(m, r.flight)
	}
	return ends
}
