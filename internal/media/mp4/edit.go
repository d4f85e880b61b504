package mp4

import (
	"encoding/binary"
	"math"
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
	shows := 0 // edits that are not empty
	err = entries.each(func(entry []byte) {
		e := parseEdit(entry)
		if e.Start >= 0 {
			shows++
		}
		if len(t.Edits) < MaxEdits {
			t.Edits = append(t.Edits, e)
		} else {
			t.odd, t.overedited = true, true
		}
	})
	if err != nil || shows == 0 || t.Timescale == 0 || m.Timescale == 0 {
		return err
	}
	if m.Fragmented { // not all of the samples are known
		if t.split = shows > 1; t.split {
			t.Skip = -1
		}
		return nil
	}
	s := shown{track: t, tick: 1 / float64(m.Timescale), strange: t.odd}
	for _, e := range t.Edits {
		if shows == 1 && (e.Rate < minRate || e.Rate > maxRate) { // seen in files that others play at their own rate
			e.Rate = 1
		}
		s.add(e)
	}
	t.Delay, t.Skip, t.Seconds, t.split, t.shown = s.delay, s.skip, s.total, s.split, s.pieces
	if s.split {
		if t.Skip = -1; !s.strange {
			t.Pieces = s.pieces
		}
	}
	return nil
}

// Piece is a stretch of a track's samples that its edit list shows.
type Piece struct {
	At       float64 // seconds on the movie's clock where it begins
	From, To float64 // seconds on the track's clock: where it begins and ends
	Rate     float64 // seconds of the track in a second of the movie
}

// Seconds is how long the piece is shown.
func (p Piece) Seconds() float64 { return (p.To - p.From) / p.Rate }

// Rates of edits that are believed. What is slower or faster is no sound any more.
const (
	minRate = 1.0 / 32
	maxRate = 32
)

// shown sums up an edit list.
type shown struct {
	track       *Track
	tick        float64 // seconds, of the movie's clock
	at          float64 // seconds on the movie's clock where the next edit begins
	found       bool    // an edit that is not empty
	delay, skip float64 // of the first such edit: where it begins on the movie's clock, and on the track's
	pieces      []Piece // without those of no length
	total       float64 // seconds of them
	split       bool    // see Track.split
	strange     bool    // an edit goes backward, or its rate is not believed
}

// add applies an edit (ISO/IEC 14496-12, 8.6.6; QuickTime File Format, "Edit list
// atom"). Durations are in ticks of the movie's clock, and rounded: an edit that ends
// less than one tick before the track's end reaches that end. An empty edit shows
// nothing, and neither does one that shows a single moment all the time: of sound that
// is a pause. An edit that lasts about as long as there is media shows that at its own
// rate, whatever it says.
func (s *shown) add(e Edit) {
	duration, start := float64(e.Duration)*s.tick, float64(e.Start)/float64(s.track.Timescale)
	at := s.at
	s.at += duration
	s.split = s.split || s.found // something follows
	if e.Start < 0 {
		return
	}
	if !s.found {
		s.found, s.delay, s.skip = true, at, start
	}
	rest, rate := max(0, s.track.Seconds-start), e.Rate
	if e.Duration == 0 || math.Abs(duration-rest) < aboutSame {
		rate = 1
	}
	s.split = s.split || rate != 1
	switch {
	case rate == 0:
		return
	case rate < minRate || rate > maxRate:
		s.strange = true
		return
	case e.Duration == 0 || duration*rate > rest-s.tick: // to the end
		s.at = at + max(duration, rest/rate)
	default:
		rest = duration * rate
	}
	if rest > 0 {
		p := Piece{At: at, From: start, To: start + rest, Rate: rate}
		s.pieces = append(s.pieces, p)
		s.total += p.Seconds()
	}
}

// aboutSame is more than a coder adds to the sound, in seconds.
const aboutSame = 0.1

// parseEdit reads an entry of 12 bytes, or 20 in version 1.
func parseEdit(b []byte) Edit {
	e := Edit{Duration: uint64(binary.BigEndian.Uint32(b)), Start: int64(int32(binary.BigEndian.Uint32(b[4:])))}
	if len(b) == 20 {
		e = Edit{Duration: binary.BigEndian.Uint64(b), Start: int64(binary.BigEndian.Uint64(b[8:]))}
	}
	e.Rate = float64(int32(binary.BigEndian.Uint32(b[len(b)-4:]))) / (1 << 16)
	return e
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
