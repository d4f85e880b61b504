package ffmpeg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Input is what ffmpeg reads.
type Input struct {
	path   string
	file   *os.File
	stream io.ReadCloser
}

// File is a file that is whole.
func File(path string) Input { return Input{path: path} }

// Opened is a file that is whole and need not have a name. It is read from its
// present position.
func Opened(f *os.File) Input { return Input{file: f} }

// Stream is read to its end, however long that takes, or until ffmpeg ends. Then
// it is closed, which has to end a Read that waits.
func Stream(r io.ReadCloser) Input { return Input{stream: r} }

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

// close ends the reading of what ffmpeg, which has ended, did not read. It
// returns the writer's error, if the writer failed before that.
func (f *feed) close() error {
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

// filePrefix makes an argument that names a file.
const filePrefix = "file:"

// Target is the argument of a Command for a file that ffmpeg writes, anew if it is
// there. ffmpeg may write this file and no other.
func Target(path string) string { return filePrefix + path }

// handed are the files that ffmpeg inherits.
type handed struct {
	files              []*os.File // from descriptor 3 on
	opened             []*os.File // of them
	readOnly, writable []int      // numbers of descriptors
}

func (h *handed) close() {
	for _, f := range h.opened {
		f.Close()
	}
}

// add hands over a file and returns the number of its descriptor.
func (h *handed) add(f *os.File) int {
	h.files, h.opened = append(h.files, f), append(h.opened, f)
	return 2 + len(h.files)
}
