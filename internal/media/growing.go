package media

import (
	"context"
	"io"
)

// Growing is a source that is still being written to its file. Its methods may
// be called at the same time; they end when the writer gives up.
type Growing interface {
	Path() string
	io.ReaderAt  // waits for what is not there yet
	Size() int64 // once it is whole
	// Seek reports that a player goes back in it, so that it must be complete
	// first.
	Seek() bool
	// SourceTracks returns the audio tracks of the video that it was extracted from,
	// and the index of the one that it holds. There are none if it is the video.
	SourceTracks() (tracks []Track, index int)
	// Follow reads it from its beginning, as fast as it grows. Close ends a Read
	// that waits.
	Follow() io.ReadCloser
	// Whole waits until all of it is there, and returns the writer's error.
	Whole(ctx context.Context) error
}
