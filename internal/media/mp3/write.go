package mp3

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Writer writes frames behind an information frame that counts them. The
// information frame is written last, when everything is known; until then its
// place is kept free.
type Writer struct {
	dst   io.WriteSeeker
	buf   *bufio.Writer
	kbps  int
	info  Header // of the information frame
	tally tally
}

// NewWriter returns a writer to the beginning of dst. kbps is the constant bit
// rate, or 0 where it varies.
func NewWriter(dst io.WriteSeeker, kbps int) *Writer {
	return &Writer{dst: dst, buf: bufio.NewWriterSize(dst, 64<<10), kbps: kbps}
}

// WriteFrame appends one whole frame of audio.
func (w *Writer) WriteFrame(frame []byte) error {
	if w.tally.frames == 0 {
		if err := w.reserve(frame); err != nil {
			return err
		}
	}
	w.tally.add(frame)
	if _, err := w.buf.Write(frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// reserve keeps the place of the information frame before the first frame.
func (w *Writer) reserve(first []byte) error {
	if len(first) < 4 {
		return fmt.Errorf("%w: frame of %d bytes", ErrFormat, len(first))
	}
	h, ok := parseHeader(binary.BigEndian.Uint32(first))
	if !ok {
		return fmt.Errorf("%w: no frame header", ErrFormat)
	}
	w.info = infoHeader(h, w.kbps)
	if _, err := w.buf.Write(make([]byte, w.info.Size)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// Frames is the number of frames written so far.
func (w *Writer) Frames() int64 { return w.tally.frames }

// Size is the file's size so far, in bytes.
func (w *Writer) Size() int64 { return int64(w.info.Size) + w.tally.bytes }

// Close writes the information frame. Delay and padding, which are what the
// frames hold beyond Samples, may have at most 4095 samples each; if they do
// not fit, Close fails. A stream without frames stays empty. Close does not
// close dst.
func (w *Writer) Close(info Info) error {
	if w.tally.frames == 0 {
		return nil
	}
	frame, err := infoFrame(w.info, &w.tally, w.kbps, info)
	if err != nil {
		return err
	}
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("write frames: %w", err)
	}
	if _, err := w.dst.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("write information frame: %w", err)
	}
	if _, err := w.dst.Write(frame); err != nil {
		return fmt.Errorf("write information frame: %w", err)
	}
	return nil
}
