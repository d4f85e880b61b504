package mediatest

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"
)

// TagsLast writes a Matroska file anew with its tags behind its clusters, as
// mkvmerge leaves them once they were edited.
func TagsLast(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	const segment, seekHead, info, tracks, cluster, tags = "\x18\x53\x80\x67", "\x11\x4d\x9b\x74", "\x15\x49\xa9\x66", "\x16\x54\xae\x6b", "\x1f\x43\xb6\x75", "\x12\x54\xc3\x67"
	header := ebmlElement(t, b)
	body := b[len(header):]
	if string(body[:4]) != segment {
		t.Fatalf("%s: no segment behind the header", from)
	}
	body = body[4+ebmlWidth(body[4:]):]
	kept := map[string][]byte{}
	for len(body) > 0 {
		e := ebmlElement(t, body)
		kept[string(e[:4])] = append(kept[string(e[:4])], e...)
		body = body[len(e):]
	}
	front := slices.Concat(kept[info], kept[tracks], kept[cluster])
	ebml := func(id string, content []byte) []byte { // with a size of eight bytes
		return slices.Concat([]byte(id), binary.BigEndian.AppendUint64(nil, 1<<56|uint64(len(content))), content)
	}
	const headLength = 4 + 8 + 2 + 8 + 2 + 8 + 4 + 2 + 8 + 8
	seek := slices.Concat(ebml("\x53\xab", []byte(tags)), ebml("\x53\xac", binary.BigEndian.AppendUint64(nil, uint64(headLength+len(front)))))
	head := ebml(seekHead, ebml("\x4d\xbb", seek))
	if len(head) != headLength || len(kept[tags]) == 0 || len(kept[cluster]) == 0 {
		t.Fatalf("%s: %d bytes of tags, %d of clusters", from, len(kept[tags]), len(kept[cluster]))
	}
	out := slices.Concat(header, ebml(segment, slices.Concat(head, front, kept[tags])))
	if err := os.WriteFile(to, out, 0o600); err != nil {
		t.Fatal(err)
	}
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
