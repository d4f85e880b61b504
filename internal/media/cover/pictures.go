package cover

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// Pictures returns the pictures of an MP4 or MOV file if the source is only its
// audio. An error that is an mp4.Reason means that the needed parts of the file
// are unknown or not worth fetching, so that the whole file is needed. Its
// methods are not called at the same time.
type Pictures interface {
	// Heads makes a file of the same size in which ffmpeg finds the streams.
	// Everything else in it is holes.
	Heads(ctx context.Context) (path string, err error)
	// Show fills in a window of the track with an id, and makes the track end
	// behind it. It is called once.
	Show(ctx context.Context, track uint32, w mp4.Window) error
	// Whole makes the file without holes.
	Whole(ctx context.Context) (path string, err error)
}

// reportHoles are the codecs whose decoders report an error when they read zeros.
// So it shows when ffmpeg reads a hole. The decoder of mpeg2video, for one, reports
// nothing.
var reportHoles = []string{"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "prores", "dnxhd"}

// parts are the parts of Pictures that a cover is probably made of.
type parts struct {
	in   *probe.Input // the file with holes
	info probe.Info
	err  error
}

// fetchParts fetches parts, unless the source has the pictures, or none are wanted.
func (j *job) fetchParts(ctx context.Context) *parts {
	if j.spec.Pictures == nil || !j.spec.Cover.Decodes() {
		return nil
	}
	p := &parts{}
	p.err = j.showFirst(ctx, p)
	return p
}

// showFirst fetches what the first shot needs. The samples after the heads are
// holes. That does not matter to Probe, which uses only what the index says.
func (j *job) showFirst(ctx context.Context, p *parts) error {
	path, err := j.spec.Pictures.Heads(ctx)
	if err != nil {
		return fmt.Errorf("fetch the heads: %w", err)
	}
	if p.in, p.info, err = look(ctx, j.in.Program, path); err != nil {
		return err
	}
	from, shots, err := j.shots(p.info)
	if err != nil { // there can be no cover
		return nil //nolint:nilerr // shots will say so again
	}
	if !slices.Contains(reportHoles, from.Codec) {
		return mp4.Silent
	}
	if err := j.spec.Pictures.Show(ctx, from.Track, shots[0].window); err != nil {
		return fmt.Errorf("fetch the pictures: %w", err)
	}
	return nil
}

// look finds out what a file is.
func look(ctx context.Context, p ffmpeg.Program, path string) (*probe.Input, probe.Info, error) {
	in, err := probe.Open(p, path)
	if err != nil {
		return nil, probe.Info{}, err
	}
	info, err := in.Probe(ctx)
	return in, info, err
}

// coverOfParts shoots the picture that the first shot would take from the whole
// file. It returns nil if that is in doubt: there is no picture, or ffmpeg
// complains.
func (j *job) coverOfParts(ctx context.Context, p *parts) (image.Image, error) {
	var why mp4.Reason
	var never *unfit.Error
	switch err := p.err; {
	case errors.As(err, &why), errors.As(err, &never):
		return nil, nil
	case err != nil:
		return nil, err
	}
	from, shots, err := j.shots(p.info)
	if err != nil {
		return nil, err
	}
	for _, s := range shots {
		if s.window != shots[0].window {
			break
		}
		img, said, err := shoot(ctx, p.in.Source, from, s)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("cover: %w", context.Cause(ctx))
		case err == nil && !complains(said):
			return img, nil
		case err == nil:
			return nil, nil
		}
	}
	return nil, nil
}

// harmless are warnings that ffmpeg also prints about whole files: about the
// index, streams that are not decoded, scaling, and pictures in an open group
// after a seek.
var harmless = []string{"[mov,mp4", "not on whitelist", "Guessed Channel Layout", "[swscaler", "mmco: unref short failure"}

// complains reports whether ffmpeg's warnings are of what it decoded.
func complains(warnings string) bool {
	for line := range strings.Lines(warnings) {
		of := strings.HasPrefix(line, "[") || strings.HasPrefix(line, "Error") || strings.Contains(line, "corrupt")
		if of && !slices.ContainsFunc(harmless, func(s string) bool { return strings.Contains(line, s) }) {
			return true
		}
	}
	return false
}

// wholePictures fetches the whole file, and returns it.
func (j *job) wholePictures(ctx context.Context) (*probe.Input, probe.Info, error) {
	path, err := j.spec.Pictures.Whole(ctx)
	if err != nil {
		return nil, probe.Info{}, fmt.Errorf("cover: %w", err)
	}
	in, info, err := look(ctx, j.in.Program, path)
	if never := (*unfit.Error)(nil); errors.As(err, &never) {
		err = Missing(never.Message)
	}
	return in, info, err
}
