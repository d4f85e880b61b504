package transcoder

import (
	"context"
	"errors"
	"io"
	"os"

	"tonearm/internal/media/spool"
)

// spooled is a source that is written to the local disk. Package media reads it as it grows.
type spooled struct {
	*spool.File
	size int64
	seek bool
}

// newSpool makes the file, which will have size bytes. seek says that its
// reader goes back in it.
func newSpool(path string, size int64, seek bool) (*spooled, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, diskError(err)
	}
	return &spooled{spool.New(f), size, seek}, nil
}

func (s *spooled) Path() string { return s.Name() }
func (s *spooled) Size() int64  { return s.size }
func (s *spooled) Seek() bool   { return s.seek }

// fill writes what it reads from r, and ends with r's error.
func (s *spooled) fill(r io.Reader) error {
	err := s.copy(r)
	s.End(err)
	return err
}

func (s *spooled) copy(r io.Reader) error {
	buf, written := make([]byte, 256<<10), int64(0)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := s.Write(buf[:n]); err != nil {
				return diskError(err)
			}
			written += int64(n)
		}
		switch {
		case err == io.EOF && written != s.size:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// ReadAt implements io.ReaderAt.
func (s *spooled) ReadAt(p []byte, at int64) (int, error) {
	if _, err := s.Await(min(at+int64(len(p)), s.size), nil); err != nil {
		return 0, err
	}
	return s.File.ReadAt(p, at)
}

// Whole waits until all of it is there.
func (s *spooled) Whole(ctx context.Context) error {
	_, err := s.Await(s.size, ctx.Done())
	if errors.Is(err, os.ErrClosed) {
		return context.Cause(ctx)
	}
	return err
}
