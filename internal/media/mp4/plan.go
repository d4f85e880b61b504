package mp4

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxExtents bounds a plan's memory to 32 MiB.
const maxExtents = 2 << 20

// Extent is a run of a file's bytes.
type Extent struct{ Offset, Size int64 }

// End is the offset behind the last byte.
func (e Extent) End() int64 { return e.Offset + e.Size }

// Plan is what a track's own file is made of: Header, then the extents of the
// source one after the other.
type Plan struct {
	Header  []byte
	Extents []Extent // ascending and apart from each other
	Bytes   int64    // sum of the extents
	// Seek means that a player must go back in the file, so that it cannot be
	// streamed but must be a complete file first.
	Seek bool
}

// Plan makes the plan of an audio track. The error is a Reason if the source must
// be read as a whole, or one of the reader's.
func (m *Movie) Plan(t *Track) (Plan, error) {
	p, err := m.plan(t)
	if err != nil {
		return Plan{}, fmt.Errorf("plan track %d: %w", t.ID, err)
	}
	return p, nil
}

func (m *Movie) plan(t *Track) (Plan, error) {
	if err := m.check(t); err != nil {
		return Plan{}, err
	}
	h, err := m.newHeader(t)
	if err != nil {
		return Plan{}, err
	}
	p, err := m.takeChunks(t, h)
	if err != nil {
		return Plan{}, err
	}
	p.Header = h.finish(p.Bytes)
	return p, nil
}

// takeChunks plans the track's chunks behind a header, and writes there where they are
// now. The plan has no Header yet.
func (m *Movie) takeChunks(t *Track, h *header) (Plan, error) {
	p := Plan{Seek: t.split}
	at := h.dataStart()
	err := t.eachChunk(m.file, func(c chunk) error {
		if err := h.moveChunk(at + p.Bytes); err != nil {
			return err
		}
		return p.add(c, m.Size)
	})
	if err == nil && p.Bytes == 0 {
		err = NoSamples
	}
	return p, err
}

// check returns a Reason if the track cannot be read alone. It does not look at
// the chunks.
func (m *Movie) check(t *Track) error {
	switch {
	case !m.Found:
		return NoIndex
	case m.compressed:
		return Compressed
	case m.Fragmented:
		return Fragmented
	case m.ftyp.End-m.ftyp.Start > 64<<10:
		return LargeIndex
	case t.Encrypted:
		return Encrypted
	case t.External:
		return External
	case t.odd || t.Timescale == 0 || m.Timescale == 0:
		return Malformed
	case t.Duration == 0:
		return NoSamples
	}
	if co, _ := t.offsets(); co.End-co.Body < 8 {
		return Malformed
	}
	for _, of := range [][2]string{{"stsz", "stz2"}, {"stco", "co64"}} {
		_, a := t.stbl[of[0]]
		_, b := t.stbl[of[1]]
		if a == b {
			return Malformed
		}
	}
	return nil
}

// add appends a chunk of a source of size bytes.
func (p *Plan) add(c chunk, size int64) error {
	if c.size == 0 {
		return nil
	}
	if c.size > size || c.offset > size-c.size {
		return Truncated
	}
	p.Bytes += c.size
	if n := len(p.Extents); n > 0 {
		last := &p.Extents[n-1]
		switch {
		case c.offset < last.End():
			return Unordered
		case c.offset == last.End():
			last.Size += c.size
			return nil
		case n == maxExtents:
			return LargeIndex
		}
	}
	p.Extents = append(p.Extents, Extent{c.offset, c.size})
	return nil
}

// moveChunk writes the next chunk's new offset.
func (h *header) moveChunk(offset int64) error {
	if h.width == 8 {
		binary.BigEndian.PutUint64(h.offsets, uint64(offset))
	} else {
		if offset > math.MaxUint32 {
			return Malformed
		}
		binary.BigEndian.PutUint32(h.offsets, uint32(offset))
	}
	h.offsets = h.offsets[h.width:]
	return nil
}
