package media

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// movie is what the boxes of an MP4 or MOV file promise (ISO/IEC 14496-12).
type movie struct {
	found      bool  // there is a whole moov box
	fragmented bool  // more samples may follow in moof boxes
	end        int64 // where the last top-level box ends; beyond the file if it is cut
	tracks     []mp4Track
	timescale  uint32 // units per second of the movie's own clock
}

// mp4Track is one sound track.
type mp4Track struct {
	id        uint32
	delay     float64 // seconds before its first sample
	seconds   float64 // that its edit list presents, or all of its samples
	skip      float64 // seconds of its samples before those; -1 where it is shown in pieces
	encrypted bool
}

// maxTracks bounds what a hostile file can make us remember.
const maxTracks = 1000

// errBox: a box that contradicts itself.
var errBox = errors.New("malformed box")

// track returns the sound track with an id, or nil.
func (m *movie) track(id uint32) *mp4Track {
	for i := range m.tracks {
		if m.tracks[i].id == id {
			return &m.tracks[i]
		}
	}
	return nil
}

// readMovie walks the top-level boxes and reads the sound tracks' tables.
// Memory does not grow with the file. A malformed moov is left to ffmpeg: the
// movie then has no tracks.
func readMovie(r io.ReaderAt, size int64) (*movie, error) {
	m := &movie{}
	for at := int64(0); at < size; {
		b, err := readBox(r, at, size)
		if errors.Is(err, errBox) {
			break // junk behind the last box is common
		}
		if err != nil {
			return nil, fmt.Errorf("read the boxes: %w", err)
		}
		m.end = b.end
		switch b.kind {
		case "moov":
			m.found = b.end <= size
			if !m.found || m.readMoov(r, b) != nil {
				m.tracks = nil
			}
		case "moof":
			m.fragmented = true
		}
		at = b.end
	}
	return m, nil
}

// box is one box of a file; body and end are offsets in it.
type box struct {
	kind      string
	body, end int64
}

// readBox reads the header of the box at an offset. limit is where the box
// around it ends; only a box at the top may be longer.
func readBox(r io.ReaderAt, at, limit int64) (box, error) {
	var h [16]byte
	n, err := r.ReadAt(h[:], at)
	if err != nil && err != io.EOF {
		return box{}, err
	}
	if n < 8 {
		return box{}, errBox
	}
	b := box{kind: string(h[4:8]), body: at + 8}
	for _, c := range h[4:8] {
		if (c < ' ' || c > '~') && c != 0xa9 { // © begins QuickTime's text boxes
			return box{}, errBox
		}
	}
	switch size := int64(binary.BigEndian.Uint32(h[:])); {
	case size == 0:
		b.end = limit
	case size == 1 && n == 16:
		long := binary.BigEndian.Uint64(h[8:])
		if long < 16 || long > uint64(math.MaxInt64-at) {
			return box{}, errBox
		}
		b.body, b.end = at+16, at+int64(long)
	case size >= 8:
		b.end = at + size
	default:
		return box{}, errBox
	}
	return b, nil
}

// eachBox calls f for the boxes within parent.
func eachBox(r io.ReaderAt, parent box, f func(box) error) error {
	for at := parent.body; at+8 <= parent.end; {
		b, err := readBox(r, at, parent.end)
		if err != nil {
			return err
		}
		if b.end > parent.end {
			return errBox
		}
		if err := f(b); err != nil {
			return err
		}
		at = b.end
	}
	return nil
}

func (m *movie) readMoov(r io.ReaderAt, moov box) error {
	m.tracks = nil
	return eachBox(r, moov, func(b box) error {
		switch b.kind {
		case "mvhd":
			timescale, err := readAfterTimes(r, b)
			m.timescale = timescale
			return err
		case "mvex":
			m.fragmented = true
		case "trak":
			return m.readTrak(r, b)
		}
		return nil
	})
}

// readTrak adds the track if it is sound.
func (m *movie) readTrak(r io.ReaderAt, trak box) error {
	var t mp4Track
	var sound bool
	var timescale uint32
	var units uint64 // of all samples, in the track's timescale
	var edits *box
	depth := 0
	var walk func(b box) error
	walk = func(b box) (err error) {
		switch b.kind {
		case "mdia", "minf", "stbl", "edts":
			if depth++; depth > 3 { // trak/mdia/minf/stbl is the deepest
				return errBox
			}
			defer func() { depth-- }()
			return eachBox(r, b, walk)
		case "tkhd":
			t.id, err = readAfterTimes(r, b)
		case "mdhd":
			timescale, err = readAfterTimes(r, b)
		case "hdlr": // QuickTime has a second one, for data, within minf
			var h [12]byte
			if err = readAt(r, h[:], b.body, b.end); err == nil {
				sound = sound || string(h[8:]) == "soun"
			}
		case "stsd":
			var h [16]byte
			if readAt(r, h[:], b.body, b.end) == nil {
				t.encrypted = string(h[12:]) == "enca"
			}
		case "stts":
			units, err = sumSTTS(r, b)
		case "elst":
			edits = &b
		}
		return err
	}
	if err := eachBox(r, trak, walk); err != nil {
		return err
	}
	if !sound || timescale == 0 || len(m.tracks) == maxTracks {
		return nil
	}
	t.seconds = float64(units) / float64(timescale)
	if edits != nil && m.timescale != 0 && !m.fragmented {
		if err := m.edit(r, *edits, &t, timescale); err != nil {
			return err
		}
	}
	m.tracks = append(m.tracks, t)
	return nil
}

// edit applies the edit list to the track: what it shows of the samples, and by
// how much empty edits, which hold no sound, delay them. Durations are in ticks
// of the movie's clock: what falls short of the media's end by less than one was
// rounded.
func (m *movie) edit(r io.ReaderAt, elst box, t *mp4Track, timescale uint32) error {
	version, entries, err := openTable(r, elst)
	if err != nil {
		return err
	}
	var delay, total float64
	tick := 1 / float64(m.timescale)
	width := 12
	if version == 1 {
		width = 20
	}
	found := false
	err = entries.each(width, func(e []byte) {
		var duration, start float64
		if version == 1 {
			duration, start = float64(binary.BigEndian.Uint64(e)), float64(int64(binary.BigEndian.Uint64(e[8:])))
		} else {
			duration, start = float64(binary.BigEndian.Uint32(e)), float64(int32(binary.BigEndian.Uint32(e[4:])))
		}
		if duration *= tick; start < 0 {
			if !found {
				delay += duration
			}
			return
		}
		t.skip = start / float64(timescale)
		if found {
			t.skip = -1
		}
		found = true
		rest := max(0, t.seconds-start/float64(timescale))
		if duration == 0 || duration > rest-tick { // to the end
			duration = rest
		}
		total += duration
	})
	if err == nil && found {
		t.delay, t.seconds = delay, total
	}
	return err
}

func sumSTTS(r io.ReaderAt, stts box) (uint64, error) {
	_, entries, err := openTable(r, stts)
	if err != nil {
		return 0, err
	}
	var sum uint64
	err = entries.each(8, func(e []byte) {
		delta := binary.BigEndian.Uint32(e[4:])
		if int32(delta) < 0 { // seen in broken files; ffmpeg takes it for 1
			delta = 1
		}
		sum += uint64(binary.BigEndian.Uint32(e)) * uint64(delta)
	})
	return sum, err
}

// table is the entries of a full box that begins with their number.
type table struct {
	r     *bufio.Reader
	count uint32
}

func openTable(r io.ReaderAt, b box) (version byte, t table, err error) {
	var h [8]byte
	if err := readAt(r, h[:], b.body, b.end); err != nil {
		return 0, table{}, err
	}
	body := io.NewSectionReader(r, b.body+8, b.end-b.body-8)
	return h[0], table{bufio.NewReader(body), binary.BigEndian.Uint32(h[4:])}, nil
}

func (t table) each(width int, f func([]byte)) error {
	entry := make([]byte, width)
	for range t.count {
		if _, err := io.ReadFull(t.r, entry); err != nil {
			return errBox
		}
		f(entry)
	}
	return nil
}

// readAfterTimes reads the field behind the two times of a full box, which
// take 8 bytes each in version 1: the timescale of mvhd and mdhd, the id of
// tkhd.
func readAfterTimes(r io.ReaderAt, b box) (uint32, error) {
	var h [24]byte
	if err := readAt(r, h[:16], b.body, b.end); err != nil {
		return 0, err
	}
	if h[0] != 1 {
		return binary.BigEndian.Uint32(h[12:]), nil
	}
	if err := readAt(r, h[:], b.body, b.end); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(h[20:]), nil
}

// readAt fills p from an offset, or reports that the box ends before.
func readAt(r io.ReaderAt, p []byte, at, end int64) error {
	if at < 0 || at+int64(len(p)) > end {
		return errBox
	}
	if n, err := r.ReadAt(p, at); n < len(p) {
		if err == nil || err == io.EOF {
			err = errBox
		}
		return err
	}
	return nil
}
