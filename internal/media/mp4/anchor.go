package mp4

import (
	"encoding/binary"
	"math"
)

// appendAnchor appends a track whose only purpose is to begin at a certain
// moment. It has one sample of one byte that no decoder knows, presented at
// that moment. The last four bytes of the track are the offset of that byte, 0
// for now.
func appendAnchor(b []byte, id uint32, at moment) []byte {
	fields := func(values ...uint32) []byte {
		var f []byte
		for _, v := range values {
			f = binary.BigEndian.AppendUint32(f, v)
		}
		return f
	}
	units := uint32(min(at.units, math.MaxInt32))
	table := func(kind string, values ...uint32) []byte {
		return appendBox(nil, kind, fields(append([]uint32{0}, values...)...))
	}
	const unity = 1 << 16
	matrix := []uint32{unity, 0, 0, 0, unity, 0, 0, 0, 1 << 30}
	tkhd := append([]uint32{0, 0, 0, id, 0, 1, 0, 0, 0, 0}, matrix...)
	tkhd = append(tkhd, 0, 0)
	hdlr := append(fields(0, 0), "vide\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	entry := appendBox(nil, "none", make([]byte, 78)) // a picture's description
	stbl := appendBox(nil, "stbl",
		appendBox(nil, "stsd", fields(0, 1), entry),
		table("stts", 1, 1, 1),
		table("ctts", 1, 1, units),
		table("stsc", 1, 1, 1, 1),
		table("stsz", 1, 1),
		table("stco", 1, 0))
	mdia := appendBox(nil, "mdia",
		appendBox(nil, "mdhd", fields(0, 0, 0, at.timescale, 1, 0x55c4<<16)), // und
		appendBox(nil, "hdlr", hdlr),
		appendBox(nil, "minf", stbl))
	return appendBox(b, "trak", appendBox(nil, "tkhd", fields(tkhd...)), mdia)
}
