package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"tonearm/internal/media/mp4"
)

// Stream is what is read of an object, in order. It must be closed.
type Stream struct {
	Size int64 // bytes
	// Seek means that the reader must be able to go back, so the stream has to
	// be put into a file first.
	Seek bool

	ctx    context.Context // of everything that is under way
	cancel context.CancelCauseFunc
	queue  chan *part // in order; closed at the end
	budget *semaphore.Weighted
	done   chan struct{} // closed once nothing is under way

	now  *part  // the part being read
	left []byte // its unread bytes
}

// part is a piece of the stream that was requested or has arrived.
type part struct {
	ready chan struct{} // closed once data is there
	data  []byte
	cost  int64 // what it takes of the budget
}

// Audio streams an audio track as a file of its own. If the object must be read
// as a whole, the error is an mp4.Reason; see Whole.
func (s *Object) Audio(ctx context.Context, t *mp4.Track) (*Stream, error) {
	p, err := s.found.movie.Plan(t)
	if err != nil {
		return nil, err
	}
	s.stats.mu.Lock()
	s.stats.audio = p.Bytes
	s.stats.mu.Unlock()
	return s.start(ctx, s.held(p), s.o.Mode), nil
}

// held takes the track's bytes from what was read to find the index, if they
// are all there, as in small files.
func (s *Object) held(p mp4.Plan) mp4.Plan {
	whole := p.Header
	for _, e := range p.Extents {
		b := make([]byte, min(e.Size, tailBytes+headBytes))
		if n, _ := s.index.ReadAt(b, e.Offset); int64(n) < e.Size {
			return p
		}
		whole = append(whole, b...)
	}
	s.stats.take(PathSparse, ReasonHeld)
	return mp4.Plan{Header: whole, Seek: p.Seek}
}

// Whole streams all of the object.
func (s *Object) Whole(ctx context.Context) *Stream {
	head := s.index[0].bytes[:min(headBytes, len(s.index[0].bytes))]
	p := mp4.Plan{Header: head}
	if n := int64(len(head)); n < s.o.Size {
		p.Bytes = s.o.Size - n
		p.Extents = []mp4.Extent{{Offset: n, Size: p.Bytes}}
	}
	s.stats.take(PathWhole, cmp.Or(string(s.found.why), ReasonAsked))
	return s.start(ctx, p, Plain)
}

func (s *Object) start(ctx context.Context, p mp4.Plan, mode Mode) *Stream {
	ctx, cancel := context.WithCancelCause(ctx)
	st := &Stream{
		Size: int64(len(p.Header)) + p.Bytes, Seek: p.Seek,
		ctx: ctx, cancel: cancel, queue: make(chan *part, maxParts),
		budget: semaphore.NewWeighted(maxAhead), done: make(chan struct{}),
		now: &part{}, left: p.Header,
	}
	r := &reader{s: s, out: st, rest: newRest(p.Extents), mode: mode, slots: make(chan struct{}, s.o.Connections)}
	r.window.total = &s.stats.bytes
	r.flight = min(firstFlight, s.o.Connections)
	for range s.o.Connections - r.flight {
		r.slots <- struct{}{}
	}
	go func() {
		defer close(st.done)
		if err := r.run(ctx); err != nil {
			cancel(err)
		}
		close(st.queue)
		r.fetching.Wait()
	}()
	return st
}

// Read gives what comes next. Errors are ErrMissing, ErrChanged, ErrNoRanges,
// ErrUnavailable, or those of Options.Request and of the context, wrapped.
func (st *Stream) Read(p []byte) (int, error) {
	for len(st.left) == 0 {
		if st.now.cost > 0 {
			st.budget.Release(st.now.cost)
		}
		st.now = &part{}
		next, ok := <-st.queue
		if !ok {
			if err := context.Cause(st.ctx); err != nil {
				return 0, fmt.Errorf("read the source: %w", err)
			}
			return 0, io.EOF
		}
		select {
		case <-next.ready:
		case <-st.ctx.Done():
		}
		if err := context.Cause(st.ctx); err != nil {
			return 0, fmt.Errorf("read the source: %w", err)
		}
		st.now, st.left = next, next.data
	}
	n := copy(p, st.left)
	st.left = st.left[n:]
	return n, nil
}

// errClosed ends what is under way when nobody reads any more.
var errClosed = errors.New("the stream was closed")

// Close ends the reading and waits until nothing is under way.
func (st *Stream) Close() error {
	st.cancel(errClosed)
	<-st.done
	return nil
}

// reader brings the rest of a plan into a stream's queue.
type reader struct {
	s       *Object
	out     *Stream
	rest    *rest
	mode    Mode
	current *choice

	slots    chan struct{} // full while no further request may start
	flight   int           // how many requests may run at the same time
	fetching sync.WaitGroup
	window   window
}

// run reads alternately: sparse until plain is better, then plain until sparse
// is better.
func (r *reader) run(ctx context.Context) error {
	for len(r.rest.extents) > 0 {
		c := r.rest.choose(r.s.link.estimate(), r.mode, r.current)
		r.current = &c
		r.s.stats.chosen(c, r.mode)
		var err error
		if c.plain {
			err = r.plain(ctx)
		} else {
			err = r.sparse(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// better reports whether the other way has become better. If it has not, the
// gap is updated.
func (r *reader) better() bool {
	if len(r.rest.extents) == 0 {
		return false
	}
	c := r.rest.choose(r.s.link.estimate(), r.mode, r.current)
	if c.plain != r.current.plain {
		return true
	}
	if c != *r.current {
		r.current = &c
		r.s.stats.chosen(c, r.mode)
	}
	return false
}

// push queues a part when its turn comes. It waits while too much has been read
// ahead.
func (r *reader) push(ctx context.Context, p *part) error {
	if !r.out.budget.TryAcquire(p.cost) {
		r.window.spoil()
		if err := r.out.budget.Acquire(ctx, p.cost); err != nil {
			return context.Cause(ctx)
		}
	}
	select {
	case r.out.queue <- p:
		return nil
	default:
		r.window.spoil()
	}
	select {
	case r.out.queue <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
