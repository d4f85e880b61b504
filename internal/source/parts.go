package source

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"tonearm/internal/media/mp4"
)

// partConnections is how many requests for parts run besides those for the
// audio. Together they hold at most this many times maxWanted.
const partConnections = 8

// Parts is a local file of the object's size. It holds parts of the object at
// their own offsets, and holes elsewhere.
type Parts struct {
	s    *Object
	file *os.File
	held []mp4.Extent // ascending
}

// Parts fills an empty file with what a demuxer reads of the object besides
// samples. The object must be an MP4 or MOV file with an index.
func (s *Object) Parts(ctx context.Context, file *os.File) (*Parts, error) {
	if err := file.Truncate(s.o.Size); err != nil {
		return nil, fmt.Errorf("make a file of %d bytes: %w", s.o.Size, err)
	}
	p := &Parts{s: s, file: file}
	for _, held := range s.index {
		if _, err := file.WriteAt(held.bytes, held.at); err != nil {
			return nil, fmt.Errorf("write the index: %w", err)
		}
		p.hold(mp4.Extent{Offset: held.at, Size: int64(len(held.bytes))})
	}
	if !s.found.data {
		return p, p.data(ctx)
	}
	return p, nil
}

// data looks for the samples behind the index, as a demuxer does. Small boxes
// between the two are read into the file.
func (p *Parts) data(ctx context.Context) error {
	at, size := p.s.found.moov.End, p.s.o.Size
	for range maxBoxes {
		if at >= size {
			return nil
		}
		if err := p.Fetch(ctx, []mp4.Extent{{Offset: at, Size: min(headBytes, size-at)}}); err != nil {
			return err
		}
		b, err := mp4.ReadBox(p.file, at, size)
		if err != nil || b.Kind == "mdat" {
			return nil //nolint:nilerr // a demuxer sees no more either
		}
		at = b.End
	}
	return nil
}

// Fetch reads those of the extents that the file does not hold yet. They are
// ascending and do not touch. Its errors are those of Stream.Read.
func (p *Parts) Fetch(ctx context.Context, extents []mp4.Extent) error {
	missing := without(extents, p.held)
	r := newRest(slices.Clone(missing))
	gap := r.choose(p.s.link.estimate(), Sparse, nil).gap
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(partConnections)
	for len(r.extents) > 0 {
		part := r.next(gap)
		g.Go(func() error { return p.fetch(ctx, part) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read parts of the source: %w", err)
	}
	p.hold(missing...)
	return nil
}

func (p *Parts) fetch(ctx context.Context, part group) error {
	b := make([]byte, part.wanted)
	if err := p.s.gather(ctx, b, part.extents); err != nil {
		return err
	}
	for _, e := range part.extents {
		if _, err := p.file.WriteAt(b[:e.Size], e.Offset); err != nil {
			return err
		}
		b = b[e.Size:]
	}
	return nil
}

func (p *Parts) hold(extents ...mp4.Extent) {
	p.held = append(p.held, extents...)
	slices.SortFunc(p.held, func(a, b mp4.Extent) int { return cmp.Compare(a.Offset, b.Offset) })
}

// without returns the parts of extents that are not in others. Both are
// ascending.
func without(extents, others []mp4.Extent) []mp4.Extent {
	var rest []mp4.Extent
	for _, e := range extents {
		for _, o := range others {
			if o.End() <= e.Offset || o.Offset >= e.End() {
				continue
			}
			if o.Offset > e.Offset {
				rest = append(rest, mp4.Extent{Offset: e.Offset, Size: o.Offset - e.Offset})
			}
			e = mp4.Extent{Offset: o.End(), Size: max(0, e.End()-o.End())}
		}
		if e.Size > 0 {
			rest = append(rest, e)
		}
	}
	return rest
}
