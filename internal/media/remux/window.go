package remux

import (
	"errors"
	"io"
)

// window reads a file of which only little is looked at, here and there: a few bytes
// are read together with those around them.
type window struct {
	r    io.ReaderAt
	at   int64
	held []byte
	buf  [windowSize]byte
	err  error // the first one of the reader's
}

// windowSize is about what a disk reads at least.
const windowSize = 4 << 10

func (w *window) ReadAt(p []byte, at int64) (int, error) {
	if len(p) > windowSize/2 {
		return w.note(w.r.ReadAt(p, at))
	}
	if at < w.at || at+int64(len(p)) > w.at+int64(len(w.held)) {
		n, err := w.note(w.r.ReadAt(w.buf[:], at))
		w.at, w.held = at, w.buf[:n]
		if n < len(p) && !errors.Is(err, io.EOF) {
			return copy(p, w.held), err
		}
	}
	n := copy(p, w.held[at-w.at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// note keeps an error that is not the end.
func (w *window) note(n int, err error) (int, error) {
	if err != nil && !errors.Is(err, io.EOF) && w.err == nil {
		w.err = err
	}
	return n, err
}
