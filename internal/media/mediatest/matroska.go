package mediatest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// Elements of a Matroska segment.
const (
	idSegment  = "\x18\x53\x80\x67"
	idSeekHead = "\x11\x4d\x9b\x74"
	idInfo     = "\x15\x49\xa9\x66"
	idTracks   = "\x16\x54\xae\x6b"
	idCluster  = "\x1f\x43\xb6\x75"
	idCues     = "\x1c\x53\xbb\x6b"
	idTags     = "\x12\x54\xc3\x67"
	idChapters = "\x10\x43\xa7\x70"
)

// TagsLast writes a Matroska file anew with its tags behind its clusters, as
// mkvmerge leaves them once they were edited.
func TagsLast(t testing.TB, from, to string) {
	t.Helper()
	rearrange(t, from, to, idInfo, idTracks, idCluster, idTags)
}

// segment splits a Matroska file into its header and the elements of its
// segment, by their kinds.
func segment(t testing.TB, b []byte) (header []byte, elements map[string][]byte) {
	t.Helper()
	header = ebmlElement(t, b)
	body := b[len(header):]
	if string(body[:4]) != idSegment {
		t.Fatal("no segment behind the header")
	}
	body = body[4+ebmlWidth(body[4:]):]
	elements = map[string][]byte{}
	for len(body) > 0 {
		e := ebmlElement(t, body)
		elements[string(e[:4])] = append(elements[string(e[:4])], e...)
		body = body[len(e):]
	}
	return header, elements
}

// ebml is an element, with a size of eight bytes.
func ebml(id string, content ...[]byte) []byte {
	all := slices.Concat(content...)
	return slices.Concat([]byte(id), binary.BigEndian.AppendUint64(nil, 1<<56|uint64(len(all))), all)
}

// rearrange writes a Matroska file anew with the elements in this order behind a
// SeekHead that lists them. Cues are out of date then and must not be read from
// where they point.
func rearrange(t testing.TB, from, to string, order ...string) {
	t.Helper()
	header, elements := segment(t, content(t, from))
	var list []string
	for _, id := range order {
		if len(elements[id]) > 0 {
			list = append(list, id)
		}
	}
	if len(elements[idCluster]) == 0 || len(elements[idTracks]) == 0 {
		t.Fatalf("%s has no clusters or no tracks", from)
	}
	seek := func(at func(id string) int) []byte {
		var entries []byte
		for _, id := range list {
			entries = append(entries, ebml("\x4d\xbb", ebml("\x53\xab", []byte(id)), ebml("\x53\xac", binary.BigEndian.AppendUint64(nil, uint64(at(id)))))...)
		}
		return ebml(idSeekHead, entries)
	}
	front := len(seek(func(string) int { return 0 }))
	var body []byte
	begins := map[string]int{}
	for _, id := range list {
		begins[id] = front + len(body)
		body = append(body, elements[id]...)
	}
	head := seek(func(id string) int { return begins[id] })
	write(t, to, header, ebml(idSegment, head, body))
}

// ebmlWidth is how many bytes the number at the beginning takes.
func ebmlWidth(b []byte) int {
	width := 1
	for b[0]<<(width-1)&0x80 == 0 {
		width++
	}
	return width
}

// ebmlElement is the first element, of a known size.
func ebmlElement(t testing.TB, b []byte) []byte {
	t.Helper()
	id := ebmlWidth(b)
	width := ebmlWidth(b[id:])
	size := uint64(b[id]) & (0xff >> width)
	for _, c := range b[id+1 : id+width] {
		size = size<<8 | uint64(c)
	}
	end := uint64(id+width) + size
	if end > uint64(len(b)) {
		t.Fatal("an element is longer than the file")
	}
	return bytes.Clone(b[:end])
}
