package encode

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"tonearm/internal/media/mp3"
)

// decoderDelay is what decoders add to a stream's own delay, in samples.
const decoderDelay = 529

// playable returns how many of the encoded samples are the source's. Coders
// that work in blocks fill up the last one. An MP4 says where the audio ends,
// but ffmpeg decodes beyond that. If more than a block would have to be
// removed, the MP4's tables are wrong, and all of it stays.
func (j *job) playable(made mp3.Stream) int64 {
	const block = 0.2 // seconds, more than any coder's
	encoded := made.Samples
	n := j.plan.Samples()
	if n > 0 && n < encoded && float64(encoded-n) < block*float64(j.plan.Rate) {
		return n
	}
	// ffmpeg's information frame gives at most a frame and the decoder's delay for
	// padding. If LAME's last frame is nothing but padding, that of the frame before it
	// is missing: few samples, because LAME adds a frame for less than 576 of its own.
	const forgotten = 576 - decoderDelay - 1
	full := mp3.FrameSamples(made.SampleRate) + decoderDelay
	if likely := j.plan.Likely(); made.Padding == full && likely > 0 && likely < encoded && encoded-likely <= forgotten {
		return likely
	}
	return encoded
}

// addInfoFrame copies the frames of raw behind an information frame of our own,
// so that players begin with the first sample and end with the last. kbps is the
// constant bit rate, or 0.
func addInfoFrame(raw, frames string, kbps int, info mp3.Info) error {
	in, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(frames)
	if err != nil {
		return err
	}
	w := mp3.NewWriter(out, kbps)
	heard := int64(math.MaxInt64) // samples that a decoder has to decode
	if info.Samples >= 0 {
		heard = int64(info.Delay) + decoderDelay + info.Samples
	}
	for f, err := range mp3.Frames(in) {
		switch {
		case err != nil:
			return closing(out, fmt.Errorf("add the information frame: %w", err))
		case w.Frames() == 0 && f.IsInfo():
			continue
		case w.Frames()*int64(f.Samples) >= heard:
			continue
		}
		if err := w.WriteFrame(f.Bytes); err != nil {
			return closing(out, fmt.Errorf("add the information frame: %w", err))
		}
	}
	return closing(out, w.Close(info))
}

// closing closes the file and returns the first error.
func closing(f *os.File, err error) error {
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func readMP3(path string) (mp3.Stream, error) {
	f, err := os.Open(path)
	if err != nil {
		return mp3.Stream{}, err
	}
	defer f.Close()
	return mp3.Read(f)
}

// remove removes the file if it is there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
