package mp4

import (
	"encoding/binary"
	"math"
)

// mdatHeader is the size of an mdat box's header with a 64-bit size.
const mdatHeader = 16

// header is the head of a track's own file while it is made: ftyp, moov, and
// the head of mdat.
type header struct {
	bytes   []byte
	offsets []byte // what is left of the chunk offset table within bytes
	width   int    // of an offset
	anchor  []byte // the anchor's chunk offset within bytes; nil without an anchor
}

// newHeader copies ftyp and moov without the other tracks.
func (m *Movie) newHeader(t *Track) (*header, error) {
	h := &header{}
	if m.ftyp.End > 0 {
		b, err := readAll(m.file, m.ftyp)
		if err != nil {
			return nil, err
		}
		if binary.BigEndian.Uint32(b) == 0 {
			return nil, Malformed
		}
		h.bytes = b
	}
	moov := len(h.bytes)
	h.bytes = append(h.bytes, "....moov"...)
	trak, anchor := 0, 0
	err := eachBox(m.file, m.moov, func(b Box) error {
		switch {
		case b.Kind == "free" || b.Kind == "skip" || b.Kind == "wide":
			return nil
		case b.Kind == "trak" && b.Start != t.trak.Start:
			return nil
		case b.Kind == "trak":
			trak = len(h.bytes)
		}
		content, err := readAll(m.file, b)
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint32(content) == 0 { // to the end of moov, which will be elsewhere
			return Malformed
		}
		h.bytes = append(h.bytes, content...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first, own := m.startsLate(t); own > 0 {
		h.bytes = appendAnchor(h.bytes, m.freeID(), first)
		anchor = len(h.bytes) - 4
	}
	size := len(h.bytes) - moov
	if size > math.MaxUint32 {
		return nil, LargeIndex
	}
	binary.BigEndian.PutUint32(h.bytes[moov:], uint32(size))
	h.bytes = append(h.bytes, "\x00\x00\x00\x01mdat........"...)

	if anchor > 0 {
		h.bytes = append(h.bytes, 0) // its sample
		h.anchor = h.bytes[anchor:]
	}
	// From here on bytes stays where it is: the slices are parts of it.
	co, width := t.offsets()
	table := trak + int(co.Body+8-t.trak.Start)
	h.offsets, h.width = h.bytes[table:trak+int(co.End-t.trak.Start)], width
	return h, nil
}

// dataStart is where the source's bytes begin behind the header.
func (h *header) dataStart() int64 { return int64(len(h.bytes)) }

// finish returns the header of a file with this many bytes of the source.
func (h *header) finish(bytes int64) []byte {
	mdat := len(h.bytes) - mdatHeader
	if h.anchor != nil {
		mdat--
		binary.BigEndian.PutUint32(h.anchor, uint32(len(h.bytes)-1))
	}
	binary.BigEndian.PutUint64(h.bytes[mdat+8:], uint64(int64(len(h.bytes)-mdat)+bytes))
	return h.bytes
}

// startsLate returns the moment when the movie begins, and how many seconds
// later the track begins.
func (m *Movie) startsLate(t *Track) (first moment, seconds float64) {
	own, ok := m.start(t)
	if !ok {
		return first, 0
	}
	first = m.earliest(t)
	return first, own.seconds() - first.seconds()
}

// freeID is an id that no track has.
func (m *Movie) freeID() uint32 {
	id := uint32(1)
	for m.Track(id) != nil {
		id++
	}
	return id
}

// appendBox appends a box.
func appendBox(b []byte, kind string, content ...[]byte) []byte {
	size := 8
	for _, c := range content {
		size += len(c)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = append(b, kind...)
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}
