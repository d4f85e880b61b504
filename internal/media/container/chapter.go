package container

import (
	"bytes"
	"io"
	"math"

	"tonearm/internal/media/ebml"
)

// Elements of chapters in Matroska (RFC 9559, 5.1.7).
const (
	mkvEdition        = 0x45b9
	mkvEditionHidden  = 0x45bd
	mkvEditionDefault = 0x45db
	mkvEditionOrdered = 0x45dd
	mkvAtom           = 0xb6
	mkvAtomHidden     = 0x98
	mkvAtomStart      = 0x91
	mkvAtomEnd        = 0x92
	mkvAtomSegment    = 0x6e67
	mkvDisplay        = 0x80
	mkvDisplayText    = 0x85
)

// Limits of what is looked at.
const (
	mkvAtoms = 1 << 16 // chapters
	mkvTitle = 4096    // bytes of a title
)

// Chapter is one part of a file.
type Chapter struct {
	Start float64 // seconds on the file's clock
	End   float64 // 0 where it does not say
	Title string  // may be ''
}

// Chapters returns the chapters that a Matroska file shows to a user, in their order,
// the first most of them, and how many there are. Of several editions that is the
// default one (RFC 9559, 5.1.7.1.2 and 20.1). Editions and chapters that are hidden
// are left out, and so are chapters within chapters. An ordered edition says in which
// order a player plays parts of this file and of others: it is taken only if
// there is no other.
func Chapters(r io.ReaderAt, most int) (list []Chapter, count int) {
	b := chapterBytes(r)
	chapters := bytes.NewReader(b)
	best, highest := ebml.Element{}, 0
	for e := range ebml.Elements(chapters, 0, int64(len(b))) {
		if e.ID != mkvEdition {
			continue
		}
		if n := rank(chapters, e); n > highest {
			best, highest = e, n
		}
	}
	for atom := range ebml.Some(chapters, best.Body, best.End(), mkvAtoms) {
		if atom.ID != mkvAtom || atom.Child(chapters, mkvAtomHidden).Uint(chapters) != 0 || atom.Child(chapters, mkvAtomSegment).ID != 0 {
			continue
		}
		if count++; len(list) < most {
			list = append(list, chapter(chapters, atom))
		}
	}
	return list, count
}

// chapterBytes is the content of the Chapters element of the first segment; nil if
// there is none.
func chapterBytes(r io.ReaderAt) []byte {
	for segment := range ebml.Elements(r, 0, math.MaxInt64) {
		if segment.ID != ebml.Segment {
			continue
		}
		return chaptersOf(r, segment).Bytes(r, mkvHead)
	}
	return nil
}

// chaptersOf is the Chapters element of a segment: before its clusters, or where its
// SeekHead says.
func chaptersOf(r io.ReaderAt, segment ebml.Element) ebml.Element {
	var there []int64
	for e := range ebml.Elements(r, segment.Body, segment.End()) {
		switch e.ID {
		case ebml.Chapters:
			return e
		case ebml.SeekHead:
			for s := range e.Children(r, ebml.Seek) {
				if s.Child(r, ebml.SeekID).Uint(r) == ebml.Chapters {
					there = append(there, int64(min(s.Child(r, ebml.SeekPosition).Uint(r), math.MaxInt64/4)))
				}
			}
		}
		if e.ID == ebml.Cluster || e.At-segment.Body > mkvHead {
			break
		}
	}
	for _, at := range there {
		for e := range ebml.Elements(r, segment.Body+at, segment.End()) {
			if e.ID != ebml.Chapters {
				break
			}
			return e
		}
	}
	return ebml.Element{}
}

// rank says how well an edition serves; 0 for not at all. Of equal ones the first is
// taken.
func rank(r io.ReaderAt, e ebml.Element) int {
	if e.Child(r, mkvEditionHidden).Uint(r) != 0 {
		return 0
	}
	n := 1
	if e.Child(r, mkvEditionOrdered).Uint(r) == 0 {
		n += 2
	}
	if e.Child(r, mkvEditionDefault).Uint(r) != 0 {
		n++
	}
	return n
}

// chapter reads an atom.
func chapter(r io.ReaderAt, e ebml.Element) Chapter {
	return Chapter{
		Start: float64(e.Child(r, mkvAtomStart).Uint(r)) / 1e9,
		End:   float64(e.Child(r, mkvAtomEnd).Uint(r)) / 1e9,
		Title: e.Child(r, mkvDisplay).Child(r, mkvDisplayText).LongText(r, mkvTitle),
	}
}
