package mp4

import (
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math"
)

// Box is one box of a file. Start, Body (behind the header) and End are offsets
// in the file; at the top level End may lie beyond a file that was cut.
type Box struct {
	Kind             string
	Start, Body, End int64
}

// boxes yields the boxes at the top level of size bytes, reading 16 bytes of
// each, until one is malformed: junk behind the last box is common.
func boxes(r io.ReaderAt, size int64) iter.Seq2[Box, error] {
	return func(yield func(Box, error) bool) {
		for at := int64(0); at < size; {
			b, err := ReadBox(r, at, size)
			if errors.Is(err, Malformed) {
				return
			}
			if !yield(b, err) || err != nil {
				return
			}
			at = b.End
		}
	}
}

// ReadBox reads the header of the box at an offset, 16 bytes at most. limit is
// the end of the box around it; only a top-level box may be longer. The error
// is Malformed or one of r's.
func ReadBox(r io.ReaderAt, at, limit int64) (Box, error) {
	var h [16]byte
	n, err := r.ReadAt(h[:min(len(h), int(min(limit-at, 16)))], at)
	if err != nil && err != io.EOF {
		return Box{}, err
	}
	if n < 8 {
		return Box{}, Malformed
	}
	b := Box{Kind: string(h[4:8]), Start: at, Body: at + 8}
	for _, c := range h[4:8] {
		if (c < ' ' || c > '~') && c != 0xa9 { // © begins QuickTime's text boxes
			return Box{}, Malformed
		}
	}
	switch size := int64(binary.BigEndian.Uint32(h[:])); {
	case size == 0:
		b.End = limit
	case size == 1 && n == 16:
		long := binary.BigEndian.Uint64(h[8:])
		if long < 16 || long > uint64(math.MaxInt64-at) {
			return Box{}, Malformed
		}
		b.Body, b.End = at+16, at+int64(long)
	case size >= 8:
		b.End = at + size
	default:
		return Box{}, Malformed
	}
	return b, nil
}

// eachBox calls f for the boxes within parent.
func eachBox(r io.ReaderAt, parent Box, f func(Box) error) error {
	for at := parent.Body; at+8 <= parent.End; {
		b, err := ReadBox(r, at, parent.End)
		if err != nil {
			return err
		}
		if b.End > parent.End {
			return Malformed
		}
		if err := f(b); err != nil {
			return err
		}
		at = b.End
	}
	return nil
}

// readAt fills p from an offset, or reports that the box ends before.
func readAt(r io.ReaderAt, p []byte, at, end int64) error {
	if at < 0 || at+int64(len(p)) > end {
		return Malformed
	}
	if n, err := r.ReadAt(p, at); n < len(p) {
		if err == nil || err == io.EOF {
			err = Malformed
		}
		return err
	}
	return nil
}

// readAll returns the bytes of a box with its header. The caller has bounded
// its size.
func readAll(r io.ReaderAt, b Box) ([]byte, error) {
	p := make([]byte, b.End-b.Start)
	return p, readAt(r, p, b.Start, b.End)
}
