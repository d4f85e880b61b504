package container

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// inspectFLV reads an FLV file. The length in its metadata is often that of
// another file, and nothing but the size in bytes tells whether tags are missing.
func inspectFLV(r io.ReaderAt, size int64) Structure {
	last, whole := flvLast(r, size)
	s := Structure{Last: last, Torn: !whole, Names: flvLetters(r, size)}
	meta := flvMetadata(r, size)
	if n := flvNumber(meta, "filesize"); n > 0 {
		s.Torn = s.Torn || n > float64(size)
		s.Whole = n == float64(size) && whole
	}
	s.Open = !s.Whole && flvNumber(meta, "duration") == 0 // the last tag is where it was cut off, if it was
	return s
}

// flvLast returns the time stamp of the last tag in seconds. It is not whole if
// the file does not end with a whole tag.
func flvLast(r io.ReaderAt, size int64) (seconds float64, whole bool) {
	var n [4]byte
	if err := readAt(r, n[:], size-4, size); err != nil {
		return 0, false
	}
	length := int64(binary.BigEndian.Uint32(n[:])) // of the tag before
	var tag [11]byte                               // type, size of the data, time stamp in ms
	if length < 11 || length > size-4 || readAt(r, tag[:], size-4-length, size) != nil {
		return 0, false
	}
	if data := int64(tag[1])<<16 | int64(tag[2])<<8 | int64(tag[3]); data+11 != length {
		return 0, false
	}
	return float64(uint32(tag[7])<<24|uint32(tag[4])<<16|uint32(tag[5])<<8|uint32(tag[6])) / 1000, true
}

// flvLetters returns the four letters of the sound's codec, which stand in its first
// tag if it is one of Enhanced RTMP (version 2, ExAudioTagHeader).
func flvLetters(r io.ReaderAt, size int64) []string {
	const audioTag, header, tags = 8, 11, 1000 // the first tag may be of pictures
	const extended, multitrack, modifiers, severalCodecs = 9, 5, 7, 2
	at := int64(9 + 4) // behind the file's header and the size of no tag
	for range tags {
		var h [header + 16]byte
		n := min(int64(len(h)), size-at)
		if n < header+6 || readAt(r, h[:n], at, size) != nil {
			return nil
		}
		if h[0]&0x1f != audioTag {
			at += header + int64(h[1])<<16 + int64(h[2])<<8 + int64(h[3]) + 4
			continue
		}
		b := h[header:n]
		kind := b[0] & 15
		switch {
		case b[0]>>4 != extended || kind == modifiers:
			return nil
		case kind == multitrack && b[1]>>4 == severalCodecs:
			return nil
		case kind == multitrack:
			b = b[1:]
		}
		return []string{string(b[1:5])}
	}
	return nil
}

// flvMetadata returns the first tag if it holds metadata (Adobe Flash Video File Format
// Specification 10.1, E.4.4 and E.5), or the beginning of a very long one; nil where
// there is none.
func flvMetadata(r io.ReaderAt, size int64) []byte {
	const scriptTag, longest = 18, 64 << 10
	head := make([]byte, min(size, longest))
	if readAt(r, head, 0, size) != nil || len(head) < 24 || head[13] != scriptTag {
		return nil
	}
	data := int(head[14])<<16 | int(head[15])<<8 | int(head[16])
	return head[24:min(len(head), 24+data)]
}

// flvNumber returns a number of the metadata; 0 where there is none.
func flvNumber(meta []byte, key string) float64 {
	name := append([]byte{0, byte(len(key))}, key...)
	i := bytes.Index(meta, append(name, 0)) // 0 marks a number
	if i < 0 || i+len(name)+9 > len(meta) {
		return 0
	}
	v := math.Float64frombits(binary.BigEndian.Uint64(meta[i+len(name)+1:]))
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
