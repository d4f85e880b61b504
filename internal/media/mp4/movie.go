package mp4

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxIndex is the largest moov box in bytes that is looked at. The index of ten
// hours at 60 pictures a second has 40 MiB.
const MaxIndex = 96 << 20

// maxTracks limits how much memory a hostile file can use.
const maxTracks = 1000

// Movie is the index of a file.
type Movie struct {
	Size       int64 // of the file, bytes
	Found      bool  // there is a whole moov box
	FastStart  bool  // the moov box stands before the samples
	Fragmented bool  // more samples may follow in moof boxes
	// End is where the last top-level box ends, or the last sample of a fragment. It
	// lies beyond the file if that is cut.
	End       int64
	Ended     bool   // of a fragmented file: something says that no fragment is missing at its end
	Timescale uint32 // units per second of the movie's own clock
	Tracks    []*Track

	file       io.ReaderAt
	ftyp, moov Box
	byID       map[uint32]*Track
	chapters   []uint32 // ids of the tracks that others name for their chapters
	compressed bool
	fragments  fragments

	// The boxes at the top level that are no samples, no fragments and no padding,
	// in their order; see Remux.
	top   []Box
	boxed int64 // where the last box at the top level ends
}

// maxTop is how many boxes at the top level are kept.
const maxTop = 64

// Read walks the top-level boxes of size bytes and reads the tracks' tables.
// Memory does not grow with the file. A malformed index is no error: the movie
// then has no tracks, and whoever plays the file has to deal with it. An error
// is one of r's.
func Read(r io.ReaderAt, size int64) (*Movie, error) {
	m := &Movie{Size: size, file: r}
	for b, err := range boxes(r, size) {
		if err != nil {
			return nil, fmt.Errorf("read the boxes: %w", err)
		}
		m.End = b.End
		if !beside[b.Kind] && len(m.top) <= maxTop {
			m.top = append(m.top, b)
		}
		switch b.Kind {
		case "ftyp":
			m.ftyp = b
		case "moov":
			m.moov = b
		case "mdat":
			m.FastStart = m.moov.End > 0
		case "moof":
			m.fragments.moofs = append(m.fragments.moofs, b)
		case "sidx":
			err = m.readSidx(b)
		case "mfra":
			m.fragments.listed = b.End <= size
		}
		if err != nil {
			return nil, fmt.Errorf("read the boxes: %w", err)
		}
	}
	m.boxed = m.End
	m.Found = m.moov.End > 0 && m.moov.End <= size
	if m.Found {
		var reason Reason
		switch err := m.readMoov(); {
		case errors.As(err, &reason):
			m.Tracks, m.byID = nil, nil
		case err != nil:
			return nil, fmt.Errorf("read the index: %w", err)
		}
	}
	m.Fragmented = m.Fragmented || len(m.fragments.moofs) > 0
	if m.Found && m.Fragmented {
		if err := m.readFragments(); err != nil {
			return nil, fmt.Errorf("read the fragments: %w", err)
		}
	}
	return m, nil
}

// Parse reads the index from its two boxes, which were found before; the zero
// Box means that there is no ftyp. Only bytes of these boxes are read from r,
// now and later. The error is a Reason or one of r's.
func Parse(r io.ReaderAt, size int64, ftyp, moov Box) (*Movie, error) {
	m := &Movie{Size: size, Found: true, End: size, file: r, ftyp: ftyp, moov: moov}
	if moov.End > size {
		return nil, NoIndex
	}
	if err := m.readMoov(); err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return m, nil
}

// AudioTracks returns the audio tracks in the order of the file, as a demuxer
// numbers them.
func (m *Movie) AudioTracks() []*Track {
	var audio []*Track
	for _, t := range m.Tracks {
		if t.Handler == "soun" {
			audio = append(audio, t)
		}
	}
	return audio
}

// Streamable reports whether the file can be played without going back in it.
func (m *Movie) Streamable() bool {
	return m.Found && m.FastStart && !m.Fragmented && !slices.ContainsFunc(m.Tracks, func(t *Track) bool { return t.split })
}

// From returns the same index, read from another reader of the same file.
func (m *Movie) From(r io.ReaderAt) *Movie {
	c := *m
	c.file = r
	return &c
}

// Legible reports whether the index tells all chapters.
func (m *Movie) Legible() bool {
	return m.Found && !m.Fragmented && !m.compressed && m.Tracks != nil
}

// Track returns the first track with an id, or nil.
func (m *Movie) Track(id uint32) *Track { return m.byID[id] }

// Overedited reports whether a track has more edits than a player could be asked to
// follow: with each of them it goes back to decode what stands before.
func (m *Movie) Overedited() bool {
	return slices.ContainsFunc(m.Tracks, func(t *Track) bool { return t.overedited })
}

func (m *Movie) readMoov() error {
	if m.moov.End-m.moov.Start > MaxIndex {
		return LargeIndex
	}
	var traks []Box
	err := eachBox(m.file, m.moov, func(b Box) (err error) {
		switch b.Kind {
		case "mvhd":
			m.Timescale, err = readAfterTimes(m.file, b)
		case "mvex":
			m.Fragmented = true
			err = ignoreMalformed(m.readMvex(b))
		case "cmov":
			m.compressed = true
		case "trak":
			traks = append(traks, b)
			if len(traks) > maxTracks {
				return Malformed
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	m.byID = map[uint32]*Track{}
	for _, b := range traks { // behind mvhd, wherever that is
		t, err := m.readTrak(b)
		if err != nil {
			return err
		}
		m.Tracks = append(m.Tracks, t)
		if m.byID[t.ID] == nil {
			m.byID[t.ID] = t
		}
	}
	return nil
}
