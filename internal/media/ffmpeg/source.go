package ffmpeg

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Growing is a file that is still being written. Its methods may be called at the
// same time; they end when the writer gives up.
type Growing interface {
	Path() string
	io.ReaderAt  // waits for what is not there yet
	Size() int64 // once it is whole
	// Follow reads it from its beginning, as fast as it grows. Close ends a Read
	// that waits.
	Follow() io.ReadCloser
	// Whole waits until all of it is there, and returns the writer's error.
	Whole(ctx context.Context) error
}

// Source is a file that ffmpeg reads as often as needed, whole or still growing.
type Source struct {
	Program Program
	Path    string
	Growing Growing // nil once the file is whole; otherwise it has that path
}

// Run runs ffmpeg on the source. It waits until the source is whole.
func (s Source) Run(ctx context.Context, c Command) (Outcome, error) {
	if err := s.Whole(ctx); err != nil {
		return Outcome{}, err
	}
	c.Input = File(s.Path)
	return s.Program.Run(ctx, c)
}

// Play runs ffmpeg on the source from its beginning to its end, through a pipe if
// the source still grows.
func (s Source) Play(ctx context.Context, c Command) (Outcome, error) {
	if s.Growing == nil {
		return s.Run(ctx, c)
	}
	c.Input, c.Dir = Stream(s.Growing.Follow()), filepath.Dir(s.Path)
	return s.Program.Run(ctx, c)
}

// Open waits until all of the source is there, and opens its file.
func (s Source) Open(ctx context.Context) (*os.File, error) {
	if err := s.Whole(ctx); err != nil {
		return nil, err
	}
	return os.Open(s.Path)
}

// Whole waits until all of the source is there.
func (s Source) Whole(ctx context.Context) error {
	if s.Growing == nil {
		return nil
	}
	if err := s.Growing.Whole(ctx); err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	return nil
}
