package mp4

import (
	"bufio"
	"encoding/binary"
	"io"
)

// table reads the entries of a full box, one after the other.
type table struct {
	r     *bufio.Reader
	left  uint32
	entry []byte
}

// openTable opens a box that begins with version, flags and the number of
// entries of width bytes. More entries than the box can hold are an error.
func openTable(r io.ReaderAt, b Box, width int) (*table, error) {
	var h [8]byte
	if err := readAt(r, h[:], b.Body, b.End); err != nil {
		return nil, err
	}
	return newTable(r, b.Body+8, b.End, binary.BigEndian.Uint32(h[4:]), width)
}

// newTable reads count entries from an offset on.
func newTable(r io.ReaderAt, at, end int64, count uint32, width int) (*table, error) {
	if int64(count)*int64(width) > end-at {
		return nil, Malformed
	}
	size := min(end-at, 32<<10)
	return &table{r: bufio.NewReaderSize(io.NewSectionReader(r, at, end-at), int(size)), left: count, entry: make([]byte, width)}, nil
}

// next returns the next entry, which is good until the call after, or nil at
// the end.
func (t *table) next() ([]byte, error) {
	if t.left == 0 {
		return nil, nil
	}
	t.left--
	if _, err := io.ReadFull(t.r, t.entry); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = Malformed
		}
		return nil, err
	}
	return t.entry, nil
}

// each calls f for the entries that are left.
func (t *table) each(f func(entry []byte)) error {
	for {
		e, err := t.next()
		if e == nil || err != nil {
			return err
		}
		f(e)
	}
}
