package transcoder

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// spool is a file that is written from its beginning to its end while others
// read it. It is a media.Growing.
type spool struct {
	f    *os.File
	size int64
	seek bool

	mu      sync.Mutex
	written int64
	done    bool
	err     error         // why no more is written
	changed chan struct{} // closed with each change, and replaced
}

// newSpool makes the file, which will have size bytes. seek tells that whoever
// plays it goes back in it.
func newSpool(path string, size int64, seek bool) (*spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, diskError(err)
	}
	return &spool{f: f, size: size, seek: seek, changed: make(chan struct{})}, nil
}

func (s *spool) Path() string { return s.f.Name() }
func (s *spool) Size() int64  { return s.size }
func (s *spool) Seek() bool   { return s.seek }

// fill writes what r gives, and ends with its error.
func (s *spool) fill(r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := s.f.Write(buf[:n]); err != nil {
				return s.end(diskError(err))
			}
			s.change(func() { s.written += int64(n) })
		}
		if err == io.EOF {
			err = nil
			if s.written != s.size {
				err = io.ErrUnexpectedEOF
			}
			return s.end(err)
		}
		if err != nil {
			return s.end(err)
		}
	}
}

func (s *spool) end(err error) error {
	s.change(func() { s.done, s.err = true, err })
	return err
}

func (s *spool) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until the file has n bytes or gets no more, and returns how many
// it has.
func (s *spool) await(n int64, closed <-chan struct{}) (int64, error) {
	for {
		s.mu.Lock()
		written, done, err, changed := s.written, s.done, s.err, s.changed
		s.mu.Unlock()
		switch {
		case written >= n:
			return written, nil
		case err != nil:
			return written, err
		case done:
			return written, io.EOF
		}
		select {
		case <-changed:
		case <-closed:
			return written, os.ErrClosed
		}
	}
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, at int64) (int, error) {
	if _, err := s.await(min(at+int64(len(p)), s.size), nil); err != nil {
		return 0, err
	}
	return s.f.ReadAt(p, at)
}

// Whole implements media.Growing.
func (s *spool) Whole(ctx context.Context) error {
	_, err := s.await(s.size, ctx.Done())
	if errors.Is(err, os.ErrClosed) {
		return context.Cause(ctx)
	}
	return err
}

// Follow implements media.Growing.
func (s *spool) Follow() io.ReadCloser { return &follower{s: s, closed: make(chan struct{})} }

type follower struct {
	s      *spool
	at     int64
	once   sync.Once
	closed chan struct{}
}

func (f *follower) Read(p []byte) (int, error) {
	if f.at == f.s.size {
		return 0, io.EOF
	}
	written, err := f.s.await(f.at+1, f.closed)
	if err != nil {
		return 0, err
	}
	n, err := f.s.f.ReadAt(p[:min(int64(len(p)), written-f.at)], f.at)
	f.at += int64(n)
	return n, err
}

func (f *follower) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}
