package media

import (
	"context"
	"fmt"
	"io"
	"os"

	"tonearm/internal/media/mp3"
)

// Chunks are counted in frames of the MP3, so that they follow from the sound
// alone. The frames of a constant bit rate at 44.1 kHz and its fractions are
// padded in a pattern that repeats every 49 frames: chunks begin at multiples.
const (
	chunkFrames = 63 * 49           // 81 s at 44.1 kHz
	leadFrames  = 3 * 49            // until an encoder that begins there goes on as one that never stopped
	tailFrames  = mp3.Lookahead + 2 // for the seam; the last two hear the end of the chunk
)

// chunkSeconds is the length of a chunk at the MP3's sample rate.
func chunkSeconds(rate int) float64 {
	return float64(chunkFrames*mp3.FrameSamples(rate)) / float64(rate)
}

// chunk is a stretch of sound for an encoder of its own.
type chunk struct {
	file *os.File // 32-bit floats, channels in turn; has no name any more
	lead int      // frames at its beginning that the chunk before has, too
	last bool

	done chan struct{} // closed when run and err are set
	run  []mp3.Frame
	err  error
}

// splitter cuts sound into chunks that overlap. A chunk reaches from leadFrames
// before its first frame to tailFrames behind its last.
type splitter struct {
	dir    string
	frame  int64         // bytes of sound in a frame
	length int64         // frames of a chunk
	slots  chan struct{} // one is taken for each chunk
	emit   func(*chunk)  // is given whole chunks, in order

	at     int64    // bytes that came
	opened int64    // chunks begun
	open   []*chunk // those that the sound at hand belongs to: one or two
}

// split reads sound to its end and returns how many bytes there were. It waits
// for a free slot before it begins a chunk.
func (s *splitter) split(ctx context.Context, r io.Reader) (int64, error) {
	defer s.discard()
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if err := s.write(ctx, buf[:n]); err != nil {
			return s.at, err
		}
		if err == io.EOF {
			s.finish()
			return s.at, nil
		}
		if err != nil {
			return s.at, fmt.Errorf("read sound: %w", err)
		}
	}
}

// begin is the place of the first byte of the chunk that is opened next.
func (s *splitter) begin() int64 { return max(0, s.opened*s.length-leadFrames) * s.frame }

// end is the place behind the last byte of the oldest open chunk.
func (s *splitter) end() int64 {
	return ((s.opened-int64(len(s.open))+1)*s.length + tailFrames) * s.frame
}

func (s *splitter) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if len(s.open) > 0 && s.at == s.end() {
			s.emit(s.open[0])
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
			if _, err := c.file.Write(piece); err != nil {
				return fmt.Errorf("keep sound: %w", err)
			}
		}
		s.at, b = next, b[len(piece):]
	}
	return nil
}

// begins opens the next chunk.
func (s *splitter) begins(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f, err := os.CreateTemp(s.dir, "sound-*.f32")
	if err != nil {
		return fmt.Errorf("keep sound: %w", err)
	}
	s.open = append(s.open, &chunk{file: f, lead: int(min(leadFrames, s.opened*s.length)), done: make(chan struct{})})
	s.opened++
	if err := os.Remove(f.Name()); err != nil { // nothing is left behind whatever happens
		return fmt.Errorf("keep sound: %w", err)
	}
	return nil
}

// finish hands out the last chunk. One that was begun for sound that does not
// come is none.
func (s *splitter) finish() {
	if len(s.open) > 0 {
		s.open[0].last = true
		s.emit(s.open[0])
		s.open = s.open[1:]
	}
}

func (s *splitter) discard() {
	for _, c := range s.open {
		_ = c.file.Close()
	}
}
