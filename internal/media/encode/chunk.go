package encode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/spool"
)

// Chunks are counted in frames of the MP3, so that they follow from the audio
// alone. The frames of a constant bit rate at 44.1 kHz and its fractions are
// padded in a pattern that repeats every 49 frames: chunks begin at multiples.
const (
	period     = 49
	shortest   = 40 * period // of a chunk, 51 s at 44.1 kHz: not less, because the lead is encoded twice
	longest    = 2 * shortest
	leadFrames = 3 * period        // after these an encoder that begins there works like one that never stopped
	tailFrames = mp3.Lookahead + 2 // for the seam; the last two hear the end of the chunk
)

// chunkFrames returns how many frames a chunk has, for audio that should have
// that many seconds. The number of chunks is even, and all are about equally
// long. The last one is a little shorter, so that no further chunk begins after
// it. 0 means that the audio is too short for two chunks.
func chunkFrames(seconds float64, rate int) int {
	frames := int(seconds * float64(rate) / float64(mp3.FrameSamples(rate)))
	if frames < 2*shortest {
		return 0
	}
	chunks := 2 * (frames/(2*longest) + 1)
	return ((frames+leadFrames)/(chunks*period) + 1) * period
}

// chunk is a stretch of PCM for an encoder of its own, which may read it while
// it grows.
type chunk struct {
	pcm  *spool.File // 32-bit floats, channels in turn; has no name any more
	lead int         // frames at its beginning that the chunk before has, too

	// Set before its PCM ends.
	last bool
	none atomic.Bool // it was begun, but no PCM came for it

	done chan struct{} // closed when run and err are set
	run  []mp3.Frame
	err  error
}

// input is the chunk's PCM for an encoder: by a pipe while it grows.
func (c *chunk) input() (ffmpeg.Input, error) {
	if !c.pcm.Ended() {
		return ffmpeg.Stream(c.pcm.Follow()), nil
	}
	_, err := c.pcm.Seek(0, io.SeekStart)
	return ffmpeg.Opened(c.pcm.File), err
}

// slots limit how many chunks exist at a time. Each slot is a file that can be
// overwritten, or nil for a new one.
type slots chan *os.File

func newSlots(n int) slots {
	s := make(slots, n)
	for range n {
		s <- nil
	}
	return s
}

// close closes the files once all slots are free.
func (s slots) close() {
	for range cap(s) {
		if f := <-s; f != nil {
			_ = f.Close()
		}
	}
}

// splitter cuts PCM into chunks that overlap. A chunk reaches from leadFrames
// before its first frame to tailFrames behind its last.
type splitter struct {
	dir    string
	frame  int64        // bytes of PCM in a frame
	length int64        // frames of a chunk
	slots  slots        // one is taken for each chunk
	emit   func(*chunk) // called with each chunk when it begins, in order

	at     int64    // bytes that came
	opened int64    // chunks begun
	open   []*chunk // the one or two chunks that the present PCM belongs to
}

// split reads PCM to its end and returns how many bytes there were. Before it
// begins a chunk it waits for a free slot. The first chunk begins at once, so
// that the encoder starts together with the decoder.
func (s *splitter) split(ctx context.Context, r io.Reader) (int64, error) {
	err := s.begins(ctx)
	if err == nil {
		err = s.take(ctx, r)
	}
	for i, c := range s.open {
		c.last = i == 0
		c.none.Store(i > 0 || s.at == 0)
		c.pcm.End(err)
	}
	return s.at, err
}

func (s *splitter) take(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if err := s.write(ctx, buf[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read PCM: %w", err)
		}
	}
}

// begin returns the position of the first byte of the next chunk.
func (s *splitter) begin() int64 { return max(0, s.opened*s.length-leadFrames) * s.frame }

// end returns the position after the last byte of the oldest open chunk.
func (s *splitter) end() int64 {
	return ((s.opened-int64(len(s.open))+1)*s.length + tailFrames) * s.frame
}

func (s *splitter) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if len(s.open) > 0 && s.at == s.end() {
			s.open[0].pcm.End(nil)
			s.open = s.open[1:]
		}
		if s.at == s.begin() {
			if err := s.begins(ctx); err != nil {
				return err
			}
		}
		next := min(s.end(), s.begin(), s.at+int64(len(b)))
		piece := b[:next-s.at]
		for _, c := range s.open {
			if _, err := c.pcm.Write(piece); err != nil {
				return fmt.Errorf("store PCM: %w", err)
			}
		}
		s.at, b = next, b[len(piece):]
	}
	return nil
}

// begins opens the next chunk.
func (s *splitter) begins(ctx context.Context) error {
	var f *os.File
	select {
	case f = <-s.slots:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f, err := s.file(f)
	if err != nil {
		s.slots <- nil
		return fmt.Errorf("store PCM: %w", err)
	}
	c := &chunk{pcm: spool.New(f), lead: int(min(leadFrames, s.opened*s.length)), done: make(chan struct{})}
	s.open = append(s.open, c)
	s.opened++
	s.emit(c)
	return nil
}

// file prepares a slot's file. The file has no name, so that nothing is left
// whatever happens. It is overwritten again and again, so that the kernel has
// to find memory for it only once.
func (s *splitter) file(old *os.File) (*os.File, error) {
	if old != nil {
		_, err := old.Seek(0, io.SeekStart)
		return old, err
	}
	f, err := os.CreateTemp(s.dir, "sound-*.f32")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
