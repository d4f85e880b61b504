// Package spool holds a file that is written from its beginning to its end while
// others read it.
package spool

import (
	"io"
	"os"
	"sync"
)

// File is a file that one goroutine writes while others read it.
type File struct {
	*os.File

	mu      sync.Mutex
	written int64
	done    bool
	err     error         // why no more is written
	changed chan struct{} // closed with each change, and replaced
}

// New returns a File in f, which is overwritten from its beginning. Close it
// when nobody reads any more.
func New(f *os.File) *File { return &File{File: f, changed: make(chan struct{})} }

// Write appends.
func (s *File) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	s.change(func() { s.written += int64(n) })
	return n, err
}

// End says that nothing more comes. err is nil for a regular end, otherwise the
// error that readers get.
func (s *File) End(err error) {
	if err == nil {
		err = s.Truncate(s.written)
	}
	s.change(func() { s.done, s.err = true, err })
}

func (s *File) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Ended reports whether End was called.
func (s *File) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Await waits until the file has n bytes, and returns how many it has. If it
// will not get that many, the error is that of End, or io.EOF. If closed is
// closed, the error is os.ErrClosed.
func (s *File) Await(n int64, closed <-chan struct{}) (int64, error) {
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

// Follow reads the file from its beginning, as fast as it grows. Close ends a
// Read that waits.
func (s *File) Follow() io.ReadCloser { return &follower{s: s, closed: make(chan struct{})} }

type follower struct {
	s      *File
	at     int64
	once   sync.Once
	closed chan struct{}
}

func (f *follower) Read(p []byte) (int, error) {
	written, err := f.s.Await(f.at+1, f.closed)
	if err != nil {
		return 0, err
	}
	n, err := f.s.ReadAt(p[:min(int64(len(p)), written-f.at)], f.at)
	f.at += int64(n)
	return n, err
}

func (f *follower) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}
