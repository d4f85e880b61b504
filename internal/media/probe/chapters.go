package probe

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tonearm/internal/media/container"
	"tonearm/internal/media/mp4"
)

// Chapters returns the source's chapters by their beginnings, and how many it has,
// which may be more. info is what it turned out to be, with everything that it
// says about itself. The index of an MP4 is read by Tonearm itself: it says the
// same whether all of the file is there or one track, and ffmpeg mixes the
// chapters of a list with those of a track. Those of a Matroska file are, too: ffmpeg
// mixes editions and shows what is hidden.
func (in *Input) Chapters(ctx context.Context, info Info) ([]Chapter, int, error) {
	read := in.readChapters
	if in.sourceTracks != nil {
		read = in.grows.SourceChapters
	} else if info.Container == matroska {
		read = in.readEditions
	} else if in.structure.MP4 == nil || !in.structure.MP4.Legible() {
		return info.Chapters, info.Listed, nil
	}
	found, count, err := read(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read the chapters: %w", err)
	}
	zero := max(0, info.Start) // a player begins with the first that there is to see or hear
	var list []Chapter
	for _, c := range found {
		c := Chapter{Start: c.Start - zero, End: c.End - zero, Title: cleanText(decodeText(c.Title), maxTitle)}
		if sane(c.Start) && sane(c.End) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Chapter) int { return cmp.Compare(a.Start, b.Start) })
	return list, count, nil
}

// matroska is ffmpeg's name of that container and its kin.
const matroska = "matroska,webm"

// readEditions reads them from a Matroska file once all of it is there.
func (in *Input) readEditions(ctx context.Context) ([]mp4.Chapter, int, error) {
	f, err := in.Open(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	found, count := container.Chapters(f, maxChapters)
	list := make([]mp4.Chapter, len(found))
	for i, c := range found {
		list[i] = mp4.Chapter(c)
	}
	return list, count, nil
}

// readChapters reads them from an MP4 once all of it is there.
func (in *Input) readChapters(ctx context.Context) ([]mp4.Chapter, int, error) {
	f, err := in.Open(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	return in.structure.MP4.From(f).Chapters(func(where []mp4.Extent) ([][]byte, error) {
		texts := make([][]byte, len(where))
		for i, e := range where {
			texts[i] = make([]byte, e.Size)
			if _, err := f.ReadAt(texts[i], e.Offset); err != nil {
				return nil, err
			}
		}
		return texts, nil
	})
}
