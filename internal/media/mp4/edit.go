package mp4

import (
	"encoding/binary"
	"math/bits"
)

// readEdits reads the edit list and what it shows of the samples.
func (m *Movie) readEdits(t *Track, elst Box) error {
	var h [1]byte
	if err := readAt(m.file, h[:], elst.Body, elst.End); err != nil {
		return err
	}
	width := 12
	if h[0] == 1 {
		width = 20
	}
	entries, err := openTable(m.file, elst, width)
	if err != nil {
		return err
	}
	var s shown
	err = entries.each(func(entry []byte) {
		e := parseEdit(entry)
		if len(t.Edits) < maxEdits {
			t.Edits = append(t.Edits, e)
		} else {
			t.odd = true
		}
		if t.Timescale != 0 && m.Timescale != 0 {
			s.add(e, t, 1/float64(m.Timescale))
		}
	})
	if s.found && !m.Fragmented {
		t.Delay, t.Skip, t.Seconds = s.delay, s.skip, s.total
	}
	return err
}

// shown sums up an edit list, in seconds.
type shown struct {
	delay, skip, total float64
	found              bool // an edit that is not empty
}

// add applies an edit. Durations are in ticks of the movie's clock, and
// rounded: an edit that ends less than one tick before the track's end reaches
// that end.
func (s *shown) add(e Edit, t *Track, tick float64) {
	duration, start := float64(e.Duration)*tick, float64(e.Start)/float64(t.Timescale)
	if e.Start < 0 {
		if !s.found {
			s.delay += duration
		}
		return
	}
	s.skip = start
	if s.found {
		s.skip = -1
	}
	s.found = true
	rest := max(0, t.Seconds-start)
	if e.Duration == 0 || duration > rest-tick { // to the end
		duration = rest
	}
	s.total += duration
}

// parseEdit reads an entry of 12 bytes, or 20 in version 1.
func parseEdit(e []byte) Edit {
	if len(e) == 20 {
		return Edit{Duration: binary.BigEndian.Uint64(e), Start: int64(binary.BigEndian.Uint64(e[8:]))}
	}
	return Edit{Duration: uint64(binary.BigEndian.Uint32(e)), Start: int64(int32(binary.BigEndian.Uint32(e[4:])))}
}

// pieces reports whether the edit list presents more than one piece of the
// track. For each piece ffmpeg goes back to the first sample.
func (t *Track) pieces() bool {
	shown, paused := 0, false
	for _, e := range t.Edits {
		if e.Start >= 0 {
			shown++
		}
		paused = paused || e.Start < 0 && shown > 0
	}
	return shown > 1 || paused
}

// rescale is n·to/from, rounded to the nearest.
func rescale(n uint64, to, from uint32) (int64, bool) {
	hi, lo := bits.Mul64(n, uint64(to))
	if from == 0 || hi >= uint64(from) {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, uint64(from))
	if r >= uint64(from)-r {
		q++
	}
	return int64(q), q < 1<<62
}

// moment is a point in time on the clock of a track.
type moment struct {
	units     int64
	timescale uint32
}

func (a moment) seconds() float64 { return float64(a.units) / float64(a.timescale) }

// start returns when the track begins for a demuxer: after the empty edits at
// the beginning of its list, or with its first sample if there is no list. ok
// is false for an empty track.
func (m *Movie) start(t *Track) (s moment, ok bool) {
	s.timescale = t.Timescale
	if t.Timescale == 0 || t.Duration == 0 {
		return s, false
	}
	if len(t.Edits) > 0 && m.Timescale != 0 {
		for _, e := range t.Edits {
			if e.Start >= 0 {
				break
			}
			units, _ := rescale(e.Duration, t.Timescale, m.Timescale)
			s.units += units
		}
		return s, true
	}
	s.units = m.firstOffset(t)
	return s, true
}

// firstOffset returns how long after its decoding the first sample is
// presented. All samples are moved so far that none is presented before it is
// decoded.
func (m *Movie) firstOffset(t *Track) int64 {
	b, ok := t.stbl["ctts"]
	if !ok {
		return 0
	}
	entries, err := openTable(m.file, b, 8)
	if err != nil {
		return 0
	}
	var first, shift int64
	seen := false
	if entries.each(func(e []byte) {
		offset := int64(int32(binary.BigEndian.Uint32(e[4:])))
		if !seen {
			first, seen = offset, true
		}
		shift = max(shift, -offset)
	}) != nil {
		return 0
	}
	return max(0, first+shift)
}

// earliest returns when the movie begins for a demuxer: with the first of its
// video and audio tracks. If another track begins less than a second earlier,
// the movie begins with that one.
func (m *Movie) earliest(t *Track) moment {
	first, _ := m.start(t)
	other, found := moment{}, false
	for _, o := range m.Tracks {
		s, ok := m.start(o)
		switch {
		case !ok:
		case o.Handler == "soun" || o.Handler == "vide":
			if s.seconds() < first.seconds() {
				first = s
			}
		case !found || s.seconds() < other.seconds():
			other, found = s, true
		}
	}
	if d := first.seconds() - other.seconds(); found && d > 0 && d < 1 {
		return other
	}
	return first
}

// Start returns how many seconds after the movie the track begins for a
// demuxer.
func (m *Movie) Start(t *Track) float64 {
	s, ok := m.start(t)
	if !ok {
		return 0
	}
	return s.seconds() - m.earliest(t).seconds()
}
