package source

import (
	"context"
	"errors"
	"io"

	"tonearm/internal/retry"
)

const (
	slowStart = 1 << 20   // bytes of a long answer before its rate is measured
	longBytes = 2 << 20   // bytes of each measurement
	longTime  = 50e-3     // seconds of each measurement, at least
	handful   = 128 << 10 // bytes that are passed on together
)

// plain reads all of the rest in one long answer and throws away what lies
// between the extents, until many small answers are better.
func (r *reader) plain(ctx context.Context) error {
	return r.s.retry(ctx, func(ctx context.Context) (bool, error) {
		if len(r.rest.extents) == 0 {
			return false, nil
		}
		from := r.rest.extents[0].Offset
		a, err := r.s.get(ctx, from, from+r.rest.span())
		if err != nil {
			return false, err
		}
		defer a.Close()
		l := &long{r: r, a: a, at: from, begin: from + slowStart}
		err = l.read(ctx)
		return l.at > from, err
	})
}

// long is one long answer that is being read.
type long struct {
	r     *reader
	a     *answer
	at    int64  // offset of the byte that comes next
	out   []byte // wanted bytes that were not passed on yet
	begin int64  // offset from which the rate is measured, 0 once the measurement has begun
}

// read returns at the end, after an error, or when the other way is better.
// What is left then begins behind what was passed on.
func (l *long) read(ctx context.Context) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.a.Read(buf)
		l.keep(buf[:n])
		if len(l.out) >= handful || err != nil {
			if err := l.hand(ctx); err != nil {
				return retry.Permanent(err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case l.measured() && l.r.better():
			return l.handLast(ctx)
		}
	}
}

// keep takes the wanted bytes from what came in.
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

// hand passes on the bytes that were kept.
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
		return retry.Permanent(err)
	}
	return nil
}

// measured reports whether the link has learnt something new.
func (l *long) measured() bool {
	if l.begin > 0 {
		if l.at >= l.begin {
			l.begin = 0
			l.r.window.begin(true)
		}
		return false
	}
	m, ends := l.r.window.ends(func(m measurement) bool {
		return m.bytes >= longBytes && m.seconds >= longTime
	})
	if ends && !m.spoilt {
		l.r.s.link.noteLong(m)
	}
	return ends
}
