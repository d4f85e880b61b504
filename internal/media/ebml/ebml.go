// Package ebml reads the elements that a Matroska file is made of (RFC 8794).
package ebml

import (
	"bytes"
	"encoding/binary"
	"io"
	"iter"
	"math"
)

// Limits of what is looked at.
const (
	maxElements = 4096 // of one level
	maxValue    = 32   // bytes of a value
)

// MaxHeader is how many bytes an element's id and size take at most.
const MaxHeader = 12

// Element is one element; the zero value is none.
type Element struct {
	ID       uint32
	At, Body int64 // offsets of its id and of what is in it
	Size     int64 // bytes of that; -1 where unknown
}

// End is the offset behind the element, far away where its size is unknown.
func (e Element) End() int64 {
	if e.Size < 0 || e.Size > math.MaxInt64-e.Body {
		return math.MaxInt64
	}
	return e.Body + e.Size
}

// Read reads the head of the element at an offset. It reports false if there is none
// before the offset to, or if the head cannot be read. The element may end behind to.
func Read(r io.ReaderAt, at, to int64) (Element, bool) {
	var buf [MaxHeader]byte
	n, _ := r.ReadAt(buf[:max(0, min(int64(len(buf)), to-at))], at)
	id, size, width, ok := head(buf[:n])
	return Element{id, at, at + int64(width), size}, ok
}

// Elements yields the elements of one level between two offsets. It ends without an
// error if one cannot be read, or if there are too many.
func Elements(r io.ReaderAt, from, to int64) iter.Seq[Element] {
	return Some(r, from, to, maxElements)
}

// Some yields the first most of them.
func Some(r io.ReaderAt, from, to int64, most int) iter.Seq[Element] {
	return func(yield func(Element) bool) {
		for range most {
			e, ok := Read(r, from, to)
			if !ok {
				return
			}
			if from = e.End(); from > to && e.Size >= 0 {
				return
			}
			if !yield(e) || from >= to {
				return
			}
		}
	}
}

// Children yields those of the element with an id.
func (e Element) Children(r io.ReaderAt, id uint32) iter.Seq[Element] {
	return func(yield func(Element) bool) {
		for c := range Elements(r, e.Body, e.End()) {
			if c.ID == id && !yield(c) {
				return
			}
		}
	}
}

// Child is the first of them, the zero value if there is none.
func (e Element) Child(r io.ReaderAt, id uint32) Element {
	for c := range e.Children(r, id) {
		return c
	}
	return Element{}
}

// value reads the content of the element; nil if it is no value.
func (e Element) value(r io.ReaderAt) []byte {
	if e.Size <= 0 || e.Size > maxValue {
		return nil
	}
	if b := e.Bytes(r, maxValue); int64(len(b)) == e.Size {
		return b
	}
	return nil
}

// Uint is the element's value as a number; 0 if it has none.
func (e Element) Uint(r io.ReaderAt) uint64 {
	var n uint64
	for _, c := range e.value(r) {
		n = n<<8 | uint64(c)
	}
	return n
}

// Float is the element's value as a number with a fraction; 0 if it has none.
func (e Element) Float(r io.ReaderAt) float64 {
	switch b := e.value(r); len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Text is the element's value as a text; empty if it has none, or a long one.
func (e Element) Text(r io.ReaderAt) string { return text(e.value(r)) }

// LongText is the element's content as a text, up to some bytes.
func (e Element) LongText(r io.ReaderAt, most int64) string { return text(e.Bytes(r, most)) }

// text ends before a zero byte (RFC 8794, section 13).
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// Bytes is the element's content, up to some bytes; less where the file ends.
func (e Element) Bytes(r io.ReaderAt, most int64) []byte {
	b := make([]byte, max(0, min(e.Size, most)))
	n, _ := r.ReadAt(b, e.Body)
	return b[:n]
}

// head reads an element's id and size; size is -1 where it is unknown, width counts the
// bytes of both.
func head(b []byte) (id uint32, size int64, width int, ok bool) {
	idWidth := Width(b)
	if idWidth == 0 || idWidth > 4 || len(b) <= idWidth {
		return 0, 0, 0, false
	}
	for _, c := range b[:idWidth] {
		id = id<<8 | uint32(c)
	}
	size, sizeWidth := Vint(b[idWidth:])
	if sizeWidth == 0 {
		return 0, 0, 0, false
	}
	return id, size, idWidth + sizeWidth, true
}

// Vint reads an integer of variable length: -1 for the one that means "unknown". width
// is how many bytes it takes, 0 if it is cut.
func Vint(b []byte) (n int64, width int) {
	width = Width(b)
	if width == 0 || len(b) < width {
		return 0, 0
	}
	mask := byte(0xff >> width)
	n, unknown := int64(b[0]&mask), b[0]&mask == mask
	for _, c := range b[1:width] {
		n = n<<8 | int64(c)
		unknown = unknown && c == 0xff
	}
	if unknown {
		n = -1
	}
	return n, width
}

// Width is how many bytes an integer of variable length takes, 0 for none.
func Width(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	for i := range 8 {
		if b[0]&(0x80>>i) != 0 {
			return i + 1
		}
	}
	return 0
}
