package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"tonearm/internal/media/mp4"
)

const (
	headBytes = 64 << 10 // of the first request, and of each look at a box
	tailBytes = 2 << 20  // this near to the end, all of the rest is requested: it will be the index
	maxBoxes  = 64       // boxes before the index
)

// found is what Open found.
type found struct {
	movie *mp4.Movie
	why   mp4.Reason // why there is no movie
	moov  mp4.Box
	data  bool // samples come before the index
}

// pieces are the parts of the object that are in memory. Reading elsewhere is
// an error.
type pieces []piece

type piece struct {
	at    int64
	bytes []byte
}

func (p piece) end() int64 { return p.at + int64(len(p.bytes)) }

// ReadAt reads from the parts in memory.
func (p pieces) ReadAt(b []byte, at int64) (int, error) {
	for _, piece := range p {
		if at >= piece.at && at < piece.end() {
			n := copy(b, piece.bytes[at-piece.at:])
			if n < len(b) {
				return n, io.EOF
			}
			return n, nil
		}
	}
	return 0, io.EOF
}

// load reads the bytes between two offsets into one piece.
func (s *Object) load(ctx context.Context, from, to int64) error {
	for i := range s.index {
		p := &s.index[i]
		switch {
		case from < p.at || from >= p.end():
			continue
		case to <= p.end():
			return nil
		}
		held := len(p.bytes)
		grown := make([]byte, to-p.at)
		copy(grown, p.bytes)
		if err := s.fill(ctx, grown[held:], p.end()); err != nil {
			return err
		}
		p.bytes = grown
		return nil
	}
	b := make([]byte, to-from)
	if err := s.fill(ctx, b, from); err != nil {
		return err
	}
	s.index = append(s.index, piece{from, b})
	return nil
}

// Open reads the object's head and, of an MP4 or MOV file, its index.
func Open(ctx context.Context, o Options) (*Object, error) {
	s, err := newObject(o)
	if err != nil {
		return nil, err
	}
	err = s.find(ctx)
	var why mp4.Reason
	if errors.As(err, &why) {
		s.found.why, err = why, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the source's index: %w", err)
	}
	return s, nil
}

// Movie returns the object's index. If there is none that can be used, it
// returns nil and why.
func (s *Object) Movie() (*mp4.Movie, mp4.Reason) { return s.found.movie, s.found.why }

var starts = map[string]bool{"ftyp": true, "moov": true, "mdat": true, "wide": true, "free": true, "skip": true, "pnot": true}

// find walks the top-level boxes to the index.
func (s *Object) find(ctx context.Context) error {
	size := s.o.Size
	if err := s.load(ctx, 0, min(headBytes, size)); err != nil {
		return err
	}
	var ftyp mp4.Box
	at := int64(0)
	for range maxBoxes {
		if at >= size {
			return mp4.NoIndex
		}
		if err := s.look(ctx, at); err != nil {
			return err
		}
		b, err := mp4.ReadBox(s.index, at, size)
		switch {
		case at == 0 && (err != nil || !starts[b.Kind]):
			return mp4.NotMP4
		case err != nil:
			return mp4.NoIndex
		}
		switch b.Kind {
		case "ftyp":
			if ftyp = b; b.End > at+headBytes || b.End > size {
				return mp4.Malformed
			}
			if err := s.load(ctx, at, b.End); err != nil {
				return err
			}
		case "moof":
			return mp4.Fragmented
		case "mdat":
			s.found.data = true
		case "moov":
			return s.parse(ctx, ftyp, b)
		}
		at = b.End
	}
	return mp4.NoIndex
}

// look reads the header of the box at an offset, unless it is in memory.
func (s *Object) look(ctx context.Context, at int64) error {
	const header = 16
	for _, p := range s.index {
		if at >= p.at && min(at+header, s.o.Size) <= p.end() {
			return nil
		}
	}
	to := min(at+headBytes, s.o.Size)
	if s.o.Size-at <= tailBytes {
		to = s.o.Size
	}
	return s.load(ctx, at, to)
}

// parse reads the index itself.
func (s *Object) parse(ctx context.Context, ftyp, moov mp4.Box) error {
	switch {
	case moov.End > s.o.Size:
		return mp4.NoIndex
	case moov.End-moov.Start > mp4.MaxIndex:
		return mp4.LargeIndex
	}
	s.found.moov = moov
	if err := s.load(ctx, moov.Start, moov.End); err != nil {
		return err
	}
	m, err := mp4.Parse(s.index, s.o.Size, ftyp, moov)
	if err != nil {
		return err
	}
	if m.Fragmented {
		return mp4.Fragmented
	}
	s.found.movie = m
	return nil
}

// Chapters reads the chapters of the movie and counts them; see
// [mp4.Movie.Chapters].
func (s *Object) Chapters(ctx context.Context) ([]mp4.Chapter, int, error) {
	list, count, err := s.found.movie.Chapters(func(where []mp4.Extent) ([][]byte, error) { return s.texts(ctx, where) })
	if err != nil {
		return nil, 0, fmt.Errorf("read the source's chapters: %w", err)
	}
	return list, count, nil
}

// texts reads some small extents at the same time. Those that lie side by side
// take one request.
func (s *Object) texts(ctx context.Context, where []mp4.Extent) ([][]byte, error) {
	texts := make([][]byte, len(where))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Connections)
	for from := 0; from < len(where); {
		run, to := where[from], from+1
		for to < len(where) && where[to].Offset == run.End() && run.Size+where[to].Size <= headBytes {
			run.Size += where[to].Size
			to++
		}
		first := from
		from = to
		g.Go(func() error {
			b := make([]byte, run.Size)
			if n, _ := s.index.ReadAt(b, run.Offset); n < len(b) {
				if err := s.fill(ctx, b, run.Offset); err != nil {
					return err
				}
			}
			for i := first; i < to; i++ {
				texts[i], b = b[:where[i].Size], b[where[i].Size:]
			}
			return nil
		})
	}
	return texts, g.Wait()
}
