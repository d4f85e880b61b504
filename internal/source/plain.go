package source

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	slowStart = 1 << 20   // bytes of a long answer before its rate is measured
	measured  = 2 << 20   // bytes of each measurement
	handful   = 128 << 10 // bytes that are handed on together
)

// plain reads one long answer with all of the rest, throwing away what is
// between, until many small ones are better.
func (r *reader) plain(ctx context.Context) error {
	skip := int64(slowStart)
	return r.s.persist(ctx, func() (bool, error) {
		if len(r.rest.extents) == 0 {
			return false, nil
		}
		from := r.rest.extents[0].Offset
		a, err := r.s.get(ctx, from, from+r.rest.span())
		if err != nil {
			return false, err
		}
		defer a.Close()
		l := &long{r: r, a: a, at: from, skip: skip}
		err = l.read(ctx)
		return l.at > from, err
	})
}

// long is one long answer being read.
type long struct {
	r    *reader
	a    *answer
	at   int64  // offset of the byte that comes next
	out  []byte // sound that was not handed on yet
	skip int64  // bytes until the rate is measured

	bytes   int64 // of the measurement
	waiting time.Duration
}

// read ends at the end, at an error, or when the other way is better. The rest
// then begins behind what was handed on.
func (l *long) read(ctx context.Context) error {
	buf := make([]byte, 64<<10)
	for {
		began := time.Now()
		n, err := l.a.Read(buf)
		l.waiting += time.Since(began)
		l.keep(buf[:n])
		if len(l.out) >= handful || err != nil {
			if err := l.hand(ctx); err != nil {
				return &finalError{err}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case l.measure(int64(n)) && l.r.better():
			return l.handLast(ctx)
		}
	}
}

// keep takes the sound from what came in.
func (l *long) keep(b []byte) {
	rest := l.r.rest
	for len(b) > 0 && len(rest.extents) > 0 {
		e := rest.extents[0]
		if gap := min(e.Offset-l.at, int64(len(b))); gap > 0 {
			l.at, b = l.at+gap, b[gap:]
			continue
		}
		n := min(e.Size, int64(len(b)))
		l.out = append(l.out, b[:n]...)
		l.at, b = l.at+n, b[n:]
		rest.take(n)
	}
}

// hand hands on what was kept.
func (l *long) hand(ctx context.Context) error {
	if len(l.out) == 0 {
		return nil
	}
	p := &part{ready: make(chan struct{}), data: l.out, cost: int64(len(l.out))}
	close(p.ready)
	l.out = make([]byte, 0, handful+64<<10)
	return l.r.push(ctx, p)
}

func (l *long) handLast(ctx context.Context) error {
	if err := l.hand(ctx); err != nil {
		return &finalError{err}
	}
	return nil
}

// measure counts bytes, and reports whether the link has learnt.
func (l *long) measure(n int64) bool {
	if l.skip > 0 {
		l.skip -= n
		l.bytes, l.waiting = 0, 0
		return false
	}
	l.bytes += n
	if l.bytes < measured {
		return false
	}
	l.r.s.link.long(l.bytes, l.waiting)
	l.bytes, l.waiting = 0, 0
	return true
}
