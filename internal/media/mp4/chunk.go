package mp4

import (
	"encoding/binary"
	"io"
	"math"
)

// chunk is a run of a track's samples that lies in one piece.
type chunk struct {
	offset, size int64
	samples      int64 // PCM frames where the track counts those
}

// sizes reads the sizes of a track's samples in their order.
type sizes struct {
	uniform int64 // of every sample; 0 where they are listed
	left    int64 // samples
	list    *table
	bits    int // of an entry
	nibble  int // the rest of an entry of two 4-bit sizes, -1 for none
}

func (t *Track) openSizes(r io.ReaderAt) (*sizes, error) {
	b, long := t.stbl["stsz"]
	if !long {
		b = t.stbl["stz2"]
	}
	var h [12]byte
	if err := readAt(r, h[:], b.Body, b.End); err != nil {
		return nil, err
	}
	count := binary.BigEndian.Uint32(h[8:])
	s := &sizes{left: int64(count), bits: 32, nibble: -1}
	if long {
		s.uniform = int64(binary.BigEndian.Uint32(h[4:]))
	} else {
		s.bits = int(h[7])
	}
	if s.uniform > 0 {
		return s, nil
	}
	width := s.bits / 8
	switch s.bits {
	case 4:
		width, count = 1, count/2+count%2
	case 8, 16, 32:
	default:
		return nil, Malformed
	}
	list, err := newTable(r, b.Body+12, b.End, count, width)
	s.list = list
	return s, err
}

// next is the size of the next sample.
func (s *sizes) next() (int64, error) {
	if s.left == 0 {
		return 0, Malformed
	}
	s.left--
	if s.uniform > 0 {
		return s.uniform, nil
	}
	if s.nibble >= 0 {
		n := s.nibble
		s.nibble = -1
		return int64(n), nil
	}
	e, err := s.list.next()
	if err != nil {
		return 0, err
	}
	switch s.bits {
	case 4:
		s.nibble = int(e[0] & 15)
		return int64(e[0] >> 4), nil
	case 8:
		return int64(e[0]), nil
	case 16:
		return int64(binary.BigEndian.Uint16(e)), nil
	}
	return int64(binary.BigEndian.Uint32(e)), nil
}

// runs tells how many samples each chunk has.
type runs struct {
	list             *table
	samples          int64  // of the run's chunks
	first, nextFirst uint32 // numbers of chunks, from 1
	nextSamples      int64
}

func (t *Track) openRuns(r io.ReaderAt) (*runs, error) {
	list, err := openTable(r, t.stbl["stsc"], 12)
	if err != nil {
		return nil, err
	}
	s := &runs{list: list}
	if err := s.read(); err != nil {
		return nil, err
	}
	if s.nextFirst != 1 {
		return nil, Malformed
	}
	return s, nil
}

// read looks at the run after.
func (s *runs) read() error {
	e, err := s.list.next()
	if err != nil {
		return err
	}
	s.nextFirst, s.nextSamples = math.MaxUint32, 0
	if e != nil {
		s.nextFirst, s.nextSamples = binary.BigEndian.Uint32(e), int64(binary.BigEndian.Uint32(e[4:]))
	}
	return nil
}

// at returns how many samples the chunk with this number has. The numbers of
// successive calls must go up by one.
func (s *runs) at(number uint32) (int64, error) {
	if number == s.nextFirst {
		s.first, s.samples = s.nextFirst, s.nextSamples
		if err := s.read(); err != nil {
			return 0, err
		}
		if s.nextFirst <= s.first {
			return 0, Malformed
		}
	}
	return s.samples, nil
}

// offsets is the track's chunk offset table.
func (t *Track) offsets() (b Box, width int) {
	if b, ok := t.stbl["stco"]; ok {
		return b, 4
	}
	return t.stbl["co64"], 8
}

// eachChunk calls f for the chunks in their order.
func (t *Track) eachChunk(r io.ReaderAt, f func(chunk) error) error {
	co, width := t.offsets()
	offsets, err := openTable(r, co, width)
	if err != nil {
		return err
	}
	runs, err := t.openRuns(r)
	if err != nil {
		return err
	}
	sizes, err := t.openSizes(r)
	if err != nil {
		return err
	}
	for number := uint32(1); ; number++ {
		e, err := offsets.next()
		if e == nil || err != nil {
			return err
		}
		c := chunk{}
		if width == 4 {
			c.offset = int64(binary.BigEndian.Uint32(e))
		} else if c.offset = int64(binary.BigEndian.Uint64(e)); c.offset < 0 {
			return Malformed
		}
		if c.samples, err = runs.at(number); err != nil {
			return err
		}
		if c.size, err = t.chunkBytes(sizes, &c.samples); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err
		}
	}
}

// chunkBytes returns how many bytes the next samples take. If the last run
// promises more samples than there are, only existing ones count, as in a
// demuxer. A table of PCM frames is trusted.
func (t *Track) chunkBytes(s *sizes, samples *int64) (int64, error) {
	if t.frames() {
		return t.frameBytes(*samples, s.uniform)
	}
	*samples = min(*samples, s.left)
	if s.uniform > 0 {
		s.left -= *samples
		return *samples * s.uniform, nil
	}
	var total int64
	for range *samples {
		n, err := s.next()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
