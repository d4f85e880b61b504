package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tonearm/internal/media/mp4"
	"tonearm/internal/retry"
)

// refusedError: the store does not accept the presigned request, or not any
// more.
type refusedError struct{ number int }

func (*refusedError) Error() string { return "the object store does not accept the presigned URL" }

// answer is the body of one ranged request.
type answer struct {
	s      *Object
	body   io.ReadCloser
	left   int64 // bytes until its end
	idle   *time.Timer
	cancel context.CancelFunc
}

// get asks once for the bytes between two offsets.
func (s *Object) get(ctx context.Context, from, to int64) (*answer, error) {
	req, number, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &answer{s: s, left: to - from, cancel: cancel, idle: time.AfterFunc(s.o.Stall, cancel)}
	req = req.WithContext(ctx)
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	if etag := s.etag.Load(); etag != nil {
		req.Header.Set("If-Match", *etag)
	}
	s.stats.requests.Add(1)
	sent := time.Now()
	resp, err := s.o.HTTP.Do(req) //nolint:bodyclose // answer.Close does
	if err != nil {
		a.end()
		return nil, retry.WithoutURL(err)
	}
	a.body = resp.Body
	if err := s.check(resp, number, from, to); err != nil {
		a.Close()
		return nil, err
	}
	s.link.noteLatency(time.Since(sent))
	a.idle.Reset(s.o.Stall)
	return a, nil
}

// check makes sure that an answer is the range of the same object.
func (s *Object) check(resp *http.Response, number int, from, to int64) error {
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusNotFound, http.StatusGone:
		return retry.Permanent(ErrMissing)
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return retry.Permanent(ErrChanged)
	case http.StatusUnauthorized, http.StatusForbidden:
		return &refusedError{number}
	case http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != s.o.Size {
			return retry.Permanent(ErrChanged)
		}
		return retry.Permanent(ErrNoRanges)
	default:
		return fmt.Errorf("the object store answered %d", resp.StatusCode)
	}
	got := resp.Header.Get("ETag")
	if strings.HasPrefix(got, `"`) && !s.etag.CompareAndSwap(nil, &got) && *s.etag.Load() != got {
		return retry.Permanent(ErrChanged)
	}
	content := resp.Header.Get("Content-Range")
	var a, b, size int64
	if n, _ := fmt.Sscanf(content, "bytes %d-%d/%d", &a, &b, &size); n == 3 && size != s.o.Size {
		return retry.Permanent(ErrChanged)
	}
	if a != from || b != to-1 || size != s.o.Size || resp.ContentLength >= 0 && resp.ContentLength != to-from {
		return retry.Permanent(ErrNoRanges)
	}
	return nil
}

// Read never returns more than was asked for. If a body ends early, it returns
// io.ErrUnexpectedEOF.
func (a *answer) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	a.idle.Reset(a.s.o.Stall)
	n, err := a.body.Read(p[:min(int64(len(p)), a.left)])
	a.idle.Stop() // the reader may take its time
	a.left -= int64(n)
	if n > 0 {
		a.s.lastByte.Store(time.Now().UnixNano())
		a.s.stats.bytes.Add(int64(n))
		a.s.o.Received(int64(n))
	}
	if errors.Is(err, io.EOF) && a.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close ends the request. Its connection can be used again only if the body was
// read to its end.
func (a *answer) Close() {
	if a.left == 0 {
		_, _ = a.body.Read(make([]byte, 1)) // reaches the end, which frees the connection
	}
	_ = a.body.Close()
	a.end()
}

func (a *answer) end() {
	a.idle.Stop()
	a.cancel()
}

// fill reads bytes into p, beginning at an offset.
func (s *Object) fill(ctx context.Context, p []byte, from int64) error {
	return s.gather(ctx, p, []mp4.Extent{{Offset: from, Size: int64(len(p))}})
}

// gather reads the bytes of some extents into p with one request, and throws
// away what lies between them.
func (s *Object) gather(ctx context.Context, p []byte, extents []mp4.Extent) error {
	at, to := extents[0].Offset, extents[len(extents)-1].End()
	return s.retry(ctx, func(ctx context.Context) (bool, error) {
		from := at
		a, err := s.get(ctx, from, to)
		if err != nil {
			return false, err
		}
		defer a.Close()
		for len(extents) > 0 {
			// Only the rest is left of an extent that was broken off.
			gap, err := io.CopyN(io.Discard, a, max(0, extents[0].Offset-at))
			if at += gap; err != nil {
				return at > from, err
			}
			n, err := io.ReadFull(a, p[:extents[0].End()-at])
			if at, p = at+int64(n), p[n:]; err != nil {
				return at > from, err
			}
			extents = extents[1:]
		}
		return true, nil
	})
}

// retry tries until it succeeds, fails for good, or the last byte on any
// connection is longer ago than Patience.
func (s *Object) retry(ctx context.Context, try func(context.Context) (progressed bool, err error)) error {
	since, refused := time.Now(), (*refusedError)(nil)
	return retry.Do(ctx, retry.Policy{
		Initial: 50 * time.Millisecond, Max: 5 * time.Second, Jitter: 2,
		Before: func(err error, _ time.Duration) {
			s.stats.retries.Add(1)
			s.o.Retrying(err)
		},
	}, func(ctx context.Context) error {
		if refused != nil {
			if err := s.refused(ctx, refused.number); err != nil {
				return err
			}
		}
		progressed, err := try(ctx)
		if err == nil || retry.IsPermanent(err) {
			return err
		}
		refused = nil
		errors.As(err, &refused)
		if progressed { // perhaps long ago: the taker of the bytes may be slow
			since, err = time.Now(), retry.Progress(err)
		}
		if last := time.Unix(0, s.lastByte.Load()); last.After(since) {
			since = last
		}
		if time.Since(since) > s.o.Patience && ctx.Err() == nil {
			return retry.Permanent(fmt.Errorf("%w: %w", ErrUnavailable, err))
		}
		return err
	})
}
