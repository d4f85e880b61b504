package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
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

// feed is a pipe that a growing file flows through.
type feed struct {
	pipe *os.File // for ffmpeg
	from io.ReadCloser
	done sync.WaitGroup
	err  error // of reading the file
}

func newFeed(from io.ReadCloser) (*feed, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	f := &feed{pipe: r, from: from}
	f.done.Go(func() {
		defer w.Close()
		_, err := io.CopyBuffer(w, onlyReader{f.from}, make([]byte, 256<<10))
		var written *os.PathError
		if err != nil && !errors.As(err, &written) { // ffmpeg need not read to the end
			f.err = err
		}
	})
	return f, nil
}

// fileFeed is a file that is whole: nothing has to flow.
func fileFeed(f *os.File) (*feed, error) {
	_, err := f.Seek(0, io.SeekStart)
	return &feed{pipe: f}, err
}

// close ends the reading of what ffmpeg, which has ended, did not read. It
// returns the writer's error, if the writer failed before that.
func (f *feed) close() error {
	if f.from == nil {
		return nil
	}
	f.pipe.Close()
	f.from.Close()
	f.done.Wait()
	if errors.Is(f.err, os.ErrClosed) {
		return nil
	}
	return f.err
}

// onlyReader hides WriteTo.
type onlyReader struct{ io.Reader }
