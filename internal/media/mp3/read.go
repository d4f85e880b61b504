package mp3

import (
	"fmt"
	"io"
)

// Stream is what one pass over an MP3 file tells.
type Stream struct {
	Size       int64 // bytes
	Frames     int64 // of audio, without the information frame
	SampleRate int   // Hz
	Channels   int
	Samples    int64 // per channel that a decoder plays: encoder delay and padding left out
	Padding    int   // samples that are left out at the end
}

// Seconds is how long a decoder plays.
func (s Stream) Seconds() float64 {
	if s.SampleRate == 0 {
		return 0
	}
	return float64(s.Samples) / float64(s.SampleRate)
}

// Read reads a whole MP3 file. It returns an error where [Frames] does, and for
// an information frame that counts other than the frames there are.
func Read(r io.Reader) (Stream, error) {
	count := &counter{}
	s, err := readFrames(io.TeeReader(r, count))
	if err != nil {
		return Stream{}, err
	}
	s.Size = count.n
	return s, nil
}

func readFrames(r io.Reader) (Stream, error) {
	var s Stream
	var info *infoTag
	for f, err := range Frames(r) {
		if err != nil {
			return Stream{}, err
		}
		if s.SampleRate == 0 {
			s.SampleRate, s.Channels = f.SampleRate, f.Channels
			if info = parseInfo(f); info != nil {
				continue
			}
		}
		s.Frames++
		s.Samples += int64(f.Samples)
	}
	if info == nil {
		return s, nil
	}
	if info.frames >= 0 && info.frames != s.Frames {
		return Stream{}, fmt.Errorf("%w: header counts %d frames, there are %d", ErrFormat, info.frames, s.Frames)
	}
	s.Padding = info.padding
	s.Samples = max(0, s.Samples-int64(info.delay)-int64(info.padding))
	return s, nil
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
