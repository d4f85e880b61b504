package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// counting counts what is read of a file.
type counting struct {
	r            *bytes.Reader
	calls, bytes int64
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(p, at)
	c.calls, c.bytes = c.calls+1, c.bytes+int64(n)
	return n, err
}

// TestWork: what is read of a file grows with the file, and not with the square of a
// number in it, nor by a call for every few bytes.
func TestWork(t *testing.T) {
	element := func(id string, content []byte) []byte {
		size := make([]byte, 8)
		binary.BigEndian.PutUint64(size, uint64(len(content))|1<<56)
		return append(append([]byte(id), size...), content...)
	}
	matroska := func(id string, content []byte) []byte {
		return append(element("\x1a\x45\xdf\xa3", nil), element("\x18\x53\x80\x67", element(id, content))...)
	}
	many := func(b []byte, n int) []byte { return bytes.Repeat(b, n) }
	void := []byte("\xec\x80")
	page := append([]byte("OggS"), make([]byte, 23)...)
	for name, b := range map[string][]byte{
		"tracks of nothing":   matroska("\x16\x54\xae\x6b", many(element("\xae", many(void, 2000)), 100)),
		"tags of nothing":     matroska("\x12\x54\xc3\x67", many(element("\x73\x73", many([]byte("\x67\xc8\x80"), 2000)), 100)),
		"places of nothing":   matroska("\x11\x4d\x9b\x74", many([]byte("\x4d\xbb\x80"), 4000)),
		"chapters of nothing": matroska("\x10\x43\xa7\x70", element("\x45\xb9", many([]byte("\xb6\x80"), 60_000))),
		"pages and junk":      many(append(page, 'x'), 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			r := &counting{r: bytes.NewReader(b)}
			size := int64(len(b))
			if _, err := Inspect(r, size); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			Protected(r)
			Chapters(r, 100)
			t.Logf("%d bytes: %d calls, %d bytes read", size, r.calls, r.bytes)
			const elements = 3 * 4096 // of the upper levels
			if most := size/8 + elements; r.calls > most {
				t.Errorf("%d calls for %d bytes", r.calls, size)
			}
			if most := 32*size + 1<<20; r.bytes > most {
				t.Errorf("%d bytes are read of %d", r.bytes, size)
			}
		})
	}
}
