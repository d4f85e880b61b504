package remux

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tonearm/internal/media/container"
	"tonearm/internal/media/mp4"
)

// Options are what decides what has to be sent: those of a conversion that matter
// here. The zero value is the default track, all of it.
type Options struct {
	// Track names a track as conversion.Options.Track does: by its number among the
	// audio tracks, from 0, by its language, or '' for the default.
	Track string
	// Pictures says that a picture of the MP3 is made of the video's
	// (conversion.Cover.Decodes). Then the whole file is sent.
	Pictures bool
	// Start and End are those of the conversion, in seconds; 0 for none. They change
	// nothing of what is sent. They say whether the bytes that a cut file lacks matter.
	Start, End float64
	// Kbps is the bit rate that is asked for, 0 for none; that of a preset counts. The
	// record may compare it with that of the source.
	Kbps int
	// Small asks for the copy also where it is hardly smaller than the source, as tests
	// need it.
	Small bool
}

// ErrTruncated says that bytes are missing at the end of the source, so that it would
// be refused after it was sent.
var ErrTruncated = errors.New("the file ends too early: it was cut off")

// New plans what has to be sent of the size bytes in r. It reads the source's index, or
// walks through all of it where there is none, which takes as long as the disk takes to
// look at each of its packets. The error is ErrTruncated, one of r's, or ctx's.
func New(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Plan, error) {
	w := walker{ctx: ctx, r: counted{ctx, r}, size: size, o: o}
	p, err := w.plan()
	if err != nil {
		return nil, fmt.Errorf("plan what to send: %w", err)
	}
	p.r = r
	return p, nil
}

// walker takes one file apart.
type walker struct {
	ctx       context.Context // of New, which does not return before the walker is done
	r         io.ReaderAt
	size      int64
	o         Options
	structure container.Structure
	container string
}

// counted ends with its context.
type counted struct {
	ctx context.Context
	io.ReaderAt
}

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.ReaderAt.ReadAt(p, off)
}

// leave is the reason to send the whole file, as an error.
type leave Reason

func (l leave) Error() string { return string(l) }

func (w *walker) plan() (*Plan, error) {
	if w.size <= 0 {
		return whole(w.r, max(0, w.size), "", UnknownContainer), w.ctx.Err()
	}
	var err error
	if w.structure, err = container.Inspect(w.r, w.size); err != nil {
		return nil, err
	}
	if s := w.structure; s.Known && s.Size > w.size || s.MP4 != nil && !s.MP4.Found && s.MP4.End > w.size {
		return nil, ErrTruncated
	}
	p, err := w.take()
	var why leave
	var reason mp4.Reason
	switch {
	case errors.As(err, &why):
		return whole(w.r, w.size, w.container, Reason(why)), nil
	case errors.As(err, &reason):
		return whole(w.r, w.size, w.container, Reason(reason)), nil
	case err != nil:
		return nil, err
	case !w.o.Small && p.Size > w.size-w.size/10:
		return whole(w.r, w.size, w.container, NothingSaved), nil
	}
	return p, nil
}

// take makes the copy. The error is a leave, or an mp4.Reason, if there is none.
func (w *walker) take() (*Plan, error) {
	if w.structure.MP4 != nil {
		return w.movie(w.structure.MP4)
	}
	var head [4]byte
	if n, err := w.r.ReadAt(head[:], 0); n < len(head) && err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case string(head[:]) == "\x1a\x45\xdf\xa3":
		return w.matroska()
	case head[0] == tsSync && w.structure.Streamable && !w.structure.Known:
		return w.transport()
	}
	return nil, leave(UnknownContainer)
}
