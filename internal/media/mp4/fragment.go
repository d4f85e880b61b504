package mp4

import (
	"encoding/binary"
	"errors"
	"math"
)

// maxFragments bounds memory and time.
const maxFragments = 1 << 20

// fragments is what a fragmented file says of its fragments (ISO/IEC 14496-12,
// 8.8 and 8.16).
type fragments struct {
	moofs    []Box
	listed   bool             // a random access index stands at the end, written last
	indexed  int64            // where the last segment ends that the first segment index lists; 0 without one
	duration uint64           // of the whole, in ticks of the movie's clock; 0 for unknown
	defaults map[uint32]usual // by the track's id
}

// usual is what all samples have in common unless they say otherwise.
type usual struct{ duration, size, flags uint32 }

// readMvex takes the defaults of each track and the duration of the whole.
func (m *Movie) readMvex(mvex Box) error {
	m.fragments.defaults = map[uint32]usual{}
	return eachBox(m.file, mvex, func(b Box) error {
		var h [24]byte
		switch b.Kind {
		case "trex":
			if err := readAt(m.file, h[:], b.Body, b.End); err != nil {
				return err
			}
			if len(m.fragments.defaults) < maxTracks {
				m.fragments.defaults[binary.BigEndian.Uint32(h[4:])] = usual{binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:]), binary.BigEndian.Uint32(h[20:])}
			}
		case "mehd":
			if err := readAt(m.file, h[:8], b.Body, b.End); err != nil {
				return err
			}
			d := uint64(binary.BigEndian.Uint32(h[4:]))
			if d == math.MaxUint32 {
				d = 0
			}
			if h[0] == 1 {
				if err := readAt(m.file, h[:12], b.Body, b.End); err != nil {
					return err
				}
				if d = binary.BigEndian.Uint64(h[4:]); d == math.MaxUint64 {
					d = 0
				}
			}
			m.fragments.duration = d
		}
		return nil
	})
}

// readSidx takes the end of what a segment index lists, if it is the first one and
// stands before the fragments. A broken one lists nothing.
func (m *Movie) readSidx(b Box) error {
	f := &m.fragments
	if f.indexed != 0 || len(f.moofs) > 0 {
		return nil
	}
	var h [32]byte
	if err := ignoreMalformed(readAt(m.file, h[:], b.Body, b.End)); err != nil || h[0] > 1 {
		return err
	}
	first, at := uint64(binary.BigEndian.Uint32(h[16:])), b.Body+24
	if h[0] == 1 {
		first, at = binary.BigEndian.Uint64(h[20:]), b.Body+32
	}
	if first > math.MaxInt64/2 {
		return nil
	}
	end := b.End + int64(first)
	list, err := newTable(m.file, at, b.End, uint32((b.End-at)/12), 12)
	if err != nil {
		return ignoreMalformed(err)
	}
	err = list.each(func(e []byte) { end += int64(binary.BigEndian.Uint32(e) & 0x7fffffff) })
	if err == nil {
		f.indexed = end
	}
	return ignoreMalformed(err)
}

// ignoreMalformed lets only errors of the reader pass.
func ignoreMalformed(err error) error {
	var reason Reason
	if errors.As(err, &reason) {
		return nil
	}
	return err
}

// readFragments adds the fragments' samples to the tracks and finds out whether
// the last of them are there.
func (m *Movie) readFragments() error {
	for i, moof := range m.fragments.moofs {
		if i == maxFragments || moof.End > m.Size {
			break
		}
		if err := ignoreMalformed(m.readMoof(moof)); err != nil {
			return err
		}
	}
	longest := 0.0
	for _, t := range m.Tracks {
		if t.Timescale == 0 {
			continue
		}
		total := float64(t.Duration+t.inFragments) / float64(t.Timescale)
		longest = max(longest, total)
		t.Seconds = total
		for _, e := range t.Edits {
			if e.Start > 0 { // the encoder's delay
				t.Seconds = max(0, total-float64(e.Start)/float64(t.Timescale))
			}
			if e.Start >= 0 {
				break
			}
		}
	}
	const last = 1.0 // seconds that writers count the end differently
	f := m.fragments
	promised := float64(f.duration) / float64(max(1, m.Timescale))
	m.Ended = f.listed || f.indexed > 0 && f.indexed >= m.samplesEnd() && f.indexed <= m.Size ||
		promised > 0 && math.Abs(longest-promised) <= last
	if f.indexed > m.Size {
		m.End = max(m.End, f.indexed)
	}
	return nil
}

// samplesEnd is where the last fragment begins.
func (m *Movie) samplesEnd() int64 {
	if n := len(m.fragments.moofs); n > 0 {
		return m.fragments.moofs[n-1].End
	}
	return 0
}

// readMoof reads a fragment. A track's samples lie behind those of the track before
// unless it says otherwise.
func (m *Movie) readMoof(moof Box) error {
	at := moof.Start
	return eachBox(m.file, moof, func(traf Box) error {
		if traf.Kind != "traf" {
			return nil
		}
		run := fragment{moof: moof.Start, base: at}
		err := eachBox(m.file, traf, func(b Box) error {
			switch b.Kind {
			case "tfhd":
				return m.readTfhd(b, &run)
			case "trun":
				return m.readTrun(b, &run)
			}
			return nil
		})
		at = run.at
		return err
	})
}

// fragment is what one track has of a fragment.
type fragment struct {
	track *Track // nil for one that the index does not have
	flags uint32 // of tfhd
	moof  int64  // where the fragment begins
	base  int64  // which offsets count from
	at    int64  // where the next run begins, without an offset of its own
	usual
}

// Flags of tfhd and trun.
const (
	tfhdBase     = 0x1
	tfhdIndex    = 0x2
	tfhdDuration = 0x8
	tfhdSize     = 0x10
	tfhdFlags    = 0x20
	tfhdMoof     = 0x20000
	trunOffset   = 0x1
	trunFirst    = 0x4
	trunDuration = 0x100
	trunSize     = 0x200
	trunFlags    = 0x400
	trunShift    = 0x800
)

func (m *Movie) readTfhd(b Box, run *fragment) error {
	var h [8]byte
	if err := readAt(m.file, h[:], b.Body, b.End); err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(h[4:])
	run.flags = binary.BigEndian.Uint32(h[:]) & 0xffffff
	run.track, run.usual = m.Track(id), m.fragments.defaults[id]
	if run.flags&tfhdMoof != 0 {
		run.base = run.moof
	}
	at := b.Body + 8
	for _, field := range []struct {
		flag  uint32
		width int64
		set   func(v uint64)
	}{
		{tfhdBase, 8, func(v uint64) { run.base = int64(min(v, math.MaxInt64/4)) }},
		{tfhdIndex, 4, func(uint64) {}},
		{tfhdDuration, 4, func(v uint64) { run.duration = uint32(v) }},
		{tfhdSize, 4, func(v uint64) { run.size = uint32(v) }},
		{tfhdFlags, 4, func(v uint64) { run.usual.flags = uint32(v) }},
	} {
		if run.flags&field.flag == 0 {
			continue
		}
		if err := readAt(m.file, h[8-field.width:], at, b.End); err != nil {
			return err
		}
		clear(h[:8-field.width])
		field.set(binary.BigEndian.Uint64(h[:]))
		at += field.width
	}
	run.at = run.base
	return nil
}

// trun is one run of samples.
type trun struct {
	Extent          // of its samples
	samples  uint32 // how many
	offset   int64  // where the box says where they are; 0 where it does not
	given    int32  // what it says there
	duration uint64 // of all samples
	first    firstSample
	lowest   int32 // shift of a sample
}

// firstSample is what a run says of its first sample.
type firstSample struct {
	usual
	shift  uint32 // from its decoding to its showing
	signed bool   // the shift has a sign (version 1)
}

// readTrun counts the samples of a run, and where they end.
func (m *Movie) readTrun(b Box, run *fragment) error {
	r, err := m.parseTrun(b, run)
	if err != nil {
		return err
	}
	run.at = r.End()
	m.End = max(m.End, run.at)
	if run.track != nil {
		run.track.inFragments += r.duration
	}
	return nil
}

// parseTrun reads a run of a fragment.
func (m *Movie) parseTrun(b Box, run *fragment) (trun, error) {
	var h [8]byte
	if err := readAt(m.file, h[:], b.Body, b.End); err != nil {
		return trun{}, err
	}
	flags, count := binary.BigEndian.Uint32(h[:])&0xffffff, binary.BigEndian.Uint32(h[4:])
	r := trun{Extent: Extent{Offset: run.at}, samples: count, first: firstSample{usual: run.usual, signed: h[0] == 1}}
	at := b.Body + 8
	if flags&trunOffset != 0 {
		if err := readAt(m.file, h[:4], at, b.End); err != nil {
			return trun{}, err
		}
		r.offset, r.given = at, int32(binary.BigEndian.Uint32(h[:]))
		r.Offset = run.base + int64(r.given)
		at += 4
	}
	if flags&trunFirst != 0 {
		if err := readAt(m.file, h[:4], at, b.End); err != nil {
			return trun{}, err
		}
		r.first.flags = binary.BigEndian.Uint32(h[:])
		at += 4
	}
	width := 0
	fields := map[uint32]int{} // where they are in an entry
	for _, flag := range []uint32{trunDuration, trunSize, trunFlags, trunShift} {
		if flags&flag != 0 {
			fields[flag] = width
			width += 4
		}
	}
	r.duration, r.Size = uint64(count)*uint64(run.duration), int64(count)*int64(run.size)
	if width == 0 {
		return r, nil
	}
	list, err := newTable(m.file, at, b.End, count, width)
	if err != nil {
		return trun{}, err
	}
	return r, r.sum(list, fields, flags&trunFirst != 0)
}

// sum adds up the entries of a run; firstFlags says that the flags of its first sample
// are known already.
func (r *trun) sum(list *table, fields map[uint32]int, firstFlags bool) error {
	durationAt, hasDuration := fields[trunDuration]
	sizeAt, hasSize := fields[trunSize]
	flagsAt, hasFlags := fields[trunFlags]
	shiftAt, hasShift := fields[trunShift]
	var durations, sizes uint64
	seen := false
	err := list.each(func(e []byte) {
		field := func(at int) uint32 { return binary.BigEndian.Uint32(e[at:]) }
		if hasDuration {
			durations += uint64(field(durationAt))
		}
		if hasSize {
			sizes += uint64(field(sizeAt))
		}
		if hasShift {
			r.lowest = min(r.lowest, int32(field(shiftAt)))
		}
		if seen {
			return
		}
		seen = true
		if hasDuration {
			r.first.duration = field(durationAt)
		}
		if hasSize {
			r.first.size = field(sizeAt)
		}
		if hasFlags && !firstFlags {
			r.first.flags = field(flagsAt)
		}
		if hasShift {
			r.first.shift = field(shiftAt)
		}
	})
	if hasDuration {
		r.duration = durations
	}
	if hasSize {
		r.Size = int64(min(sizes, math.MaxInt64/4))
	}
	return err
}
