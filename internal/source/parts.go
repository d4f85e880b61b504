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

// partConnections is how many requests for parts run beside those for the
// audio. What they hold is at most as many times maxWanted.
const partConnections = 8

// Parts is a local file of the object's size that has parts of it at their own
// places, and holes elsewhere.
type Parts struct {
	s    *Object
	file *os.File
	held []mp4.Extent // ascending
}

// Parts has an empty file hold what a demuxer reads of the object, an MP4 or MOV
// file with an index, beside samples.
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

// data looks for the samples behind the index, as a demuxer does. Boxes between
// are there if they are small.
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

// Fetch reads extents, ascending and apart, that the file does not hold yet.
// Errors are those of Stream.Read.
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

// without is what of some extents is not in others, which ascend.
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
