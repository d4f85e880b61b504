package mp3

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Frame is one frame of an MP3 file.
type Frame struct {
	Header
	Bytes []byte // all of it, header included
}

// Frames yields the frames of an MP3 file, including an information frame; see
// [Frame.IsInfo]. Bytes are valid until the next frame is yielded. The sequence
// ends with an error that wraps [ErrFormat] at anything that is no frame or
// tag, at a cut frame, and at a change of the sample rate. It also ends with an
// error of r.
func Frames(r io.Reader) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		if err := skipID3v2(br); err != nil {
			yield(Frame{}, err)
			return
		}
		rate := 0
		for n := 0; ; n++ {
			f, err := nextFrame(br)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Frame{}, fmt.Errorf("frame %d: %w", n, err))
				return
			case rate != 0 && rate != f.SampleRate:
				yield(Frame{}, fmt.Errorf("%w: frame %d has another sample rate", ErrFormat, n))
				return
			}
			rate = f.SampleRate
			if !yield(f, nil) {
				return
			}
			_, _ = br.Discard(f.Size) // they are there
		}
	}
}

// nextFrame looks at the next frame without consuming it. It returns io.EOF at
// the end of the stream.
func nextFrame(br *bufio.Reader) (Frame, error) {
	head, err := br.Peek(4)
	switch {
	case err == io.EOF && len(head) == 0:
		return Frame{}, io.EOF
	case bytes.HasPrefix(head, []byte("TAG")):
		return Frame{}, skipID3v1(br)
	case err == io.EOF:
		return Frame{}, fmt.Errorf("%w: %d odd bytes at the end", ErrFormat, len(head))
	case err != nil:
		return Frame{}, err
	}
	h, ok := parseHeader(binary.BigEndian.Uint32(head))
	if !ok {
		return Frame{}, fmt.Errorf("%w: no frame header", ErrFormat)
	}
	b, err := br.Peek(h.Size)
	if err == io.EOF {
		return Frame{}, fmt.Errorf("%w: cut", ErrFormat)
	}
	return Frame{Header: h, Bytes: b}, err
}

// skipID3v1 returns io.EOF: the tag is the end of the stream.
func skipID3v1(br *bufio.Reader) error {
	if n, _ := br.Discard(128); n == 128 {
		if _, err := br.Peek(1); err == io.EOF {
			return io.EOF
		}
	}
	return fmt.Errorf("%w: ID3v1 tag cut or in the middle", ErrFormat)
}

func skipID3v2(br *bufio.Reader) error {
	head, err := br.Peek(id3v2Head)
	if err != nil || string(head[:3]) != "ID3" {
		return nil //nolint:nilerr // the frames will tell
	}
	size, ok := id3v2Size(head)
	if !ok {
		return fmt.Errorf("%w: bad size of the ID3 tag", ErrFormat)
	}
	if _, err := br.Discard(size); err != nil {
		return fmt.Errorf("%w: ID3 tag is cut: %w", ErrFormat, err)
	}
	return nil
}

const id3v2Head = 10 // bytes of the header of an ID3v2 tag, and of its footer

// id3v2Size is how many bytes a tag has, by its header (ID3v2.4, 3.1); 0 and false
// where that cannot be.
func id3v2Size(head []byte) (size int, ok bool) {
	for _, c := range head[6:id3v2Head] {
		if c > 127 {
			return 0, false
		}
		size = size<<7 | int(c)
	}
	if head[5]&0x10 != 0 { // a footer
		size += id3v2Head
	}
	return id3v2Head + size, true
}
