package container

import (
	"bytes"
	"io"
	"math"
)

// Elements of chapters in Matroska (RFC 9559, 5.1.7).
const (
	mkvChapters       = 0x1043a770
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
	best, rank := element{}, 0
	for e := range elements(chapters, 0, int64(len(b))) {
		if e.id != mkvEdition {
			continue
		}
		if n := e.rank(chapters); n > rank {
			best, rank = e, n
		}
	}
	for atom := range someElements(chapters, best.body, best.end(), mkvAtoms) {
		if atom.id != mkvAtom || atom.child(chapters, mkvAtomHidden).uint(chapters) != 0 || atom.child(chapters, mkvAtomSegment).id != 0 {
			continue
		}
		if count++; len(list) < most {
			list = append(list, atom.chapter(chapters))
		}
	}
	return list, count
}

// chapterBytes is the content of the Chapters element of the first segment; nil if
// there is none.
func chapterBytes(r io.ReaderAt) []byte {
	for segment := range elements(r, 0, math.MaxInt64) {
		if segment.id != mkvSegment {
			continue
		}
		e := chaptersOf(r, segment)
		b := make([]byte, max(0, min(e.size, mkvHead)))
		n, _ := r.ReadAt(b, e.body)
		return b[:n]
	}
	return nil
}

// chaptersOf is the Chapters element of a segment: before its clusters, or where its
// SeekHead says.
func chaptersOf(r io.ReaderAt, segment element) element {
	var there []int64
	for e := range elements(r, segment.body, segment.end()) {
		switch e.id {
		case mkvChapters:
			return e
		case mkvSeekHead:
			for s := range e.children(r, mkvSeek) {
				if s.child(r, mkvSeekID).uint(r) == mkvChapters {
					there = append(there, int64(min(s.child(r, mkvSeekPosition).uint(r), math.MaxInt64/4)))
				}
			}
		}
		if e.id == mkvCluster || e.at-segment.body > mkvHead {
			break
		}
	}
	for _, at := range there {
		for e := range elements(r, segment.body+at, segment.end()) {
			if e.id != mkvChapters {
				break
			}
			return e
		}
	}
	return element{}
}

// rank says how well an edition serves; 0 for not at all. Of equal ones the first is
// taken.
func (e element) rank(r io.ReaderAt) int {
	if e.child(r, mkvEditionHidden).uint(r) != 0 {
		return 0
	}
	n := 1
	if e.child(r, mkvEditionOrdered).uint(r) == 0 {
		n += 2
	}
	if e.child(r, mkvEditionDefault).uint(r) != 0 {
		n++
	}
	return n
}

// chapter reads an atom.
func (e element) chapter(r io.ReaderAt) Chapter {
	return Chapter{
		Start: float64(e.child(r, mkvAtomStart).uint(r)) / 1e9,
		End:   float64(e.child(r, mkvAtomEnd).uint(r)) / 1e9,
		Title: e.child(r, mkvDisplay).child(r, mkvDisplayText).long(r, mkvTitle),
	}
}

// long reads a text of any length, up to some bytes.
func (e element) long(r io.ReaderAt, most int64) string {
	b := make([]byte, max(0, min(e.size, most)))
	n, _ := r.ReadAt(b, e.body)
	return string(b[:n])
}
