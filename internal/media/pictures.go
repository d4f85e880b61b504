package media

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"

	"tonearm/internal/media/mp4"
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
	source Info // the file with holes
	err    error

	fetched sync.WaitGroup
	cancel  context.CancelFunc
}

// fetchParts begins to fetch parts while the audio is read. It returns nil if
// the source has the pictures, or if none are wanted.
func (ff FFmpeg) fetchParts(ctx context.Context, spec EncodeSpec) *parts {
	if spec.Pictures == nil || !spec.Options.Cover.Decodes() {
		return nil
	}
	p := &parts{}
	ctx, p.cancel = context.WithCancel(ctx)
	p.fetched.Go(func() { p.source, p.err = ff.showFirst(ctx, spec) })
	return p
}

// stop ends the fetching and waits for it.
func (p *parts) stop() {
	p.cancel()
	p.fetched.Wait()
}

// showFirst fetches what the first shot needs. The samples after the heads are
// holes. That does not matter to Probe, which uses only what the index says.
func (ff FFmpeg) showFirst(ctx context.Context, spec EncodeSpec) (Info, error) {
	path, err := spec.Pictures.Heads(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("fetch the heads: %w", err)
	}
	ff.Source = nil
	if spec.Source, err = ff.Probe(ctx, path); err != nil {
		return Info{}, err
	}
	from, shots, err := spec.shots()
	if err != nil { // there can be no cover
		return spec.Source, nil //nolint:nilerr // shots will say so again
	}
	if !slices.Contains(reportHoles, from.codec) {
		return Info{}, mp4.Silent
	}
	if err := spec.Pictures.Show(ctx, from.track, shots[0].window); err != nil {
		return Info{}, fmt.Errorf("fetch the pictures: %w", err)
	}
	return spec.Source, nil
}

// coverOfParts shoots the picture that the first shot would take from the whole
// file. It returns nil if that is in doubt: there is no picture, or ffmpeg
// complains.
func (ff FFmpeg) coverOfParts(ctx context.Context, spec EncodeSpec) (image.Image, error) {
	spec.parts.fetched.Wait()
	var why mp4.Reason
	var unfit *Error
	switch err := spec.parts.err; {
	case errors.As(err, &why), errors.As(err, &unfit):
		return nil, nil
	case err != nil:
		return nil, err
	}
	spec.Source = spec.parts.source
	from, shots, err := spec.shots()
	if err != nil {
		return nil, err
	}
	for _, s := range shots {
		if s.window != shots[0].window {
			break
		}
		img, said, err := ff.shoot(ctx, spec.Source.Path, from, s)
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
func (ff FFmpeg) wholePictures(ctx context.Context, spec EncodeSpec) (Info, error) {
	path, err := spec.Pictures.Whole(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("cover: %w", err)
	}
	ff.Source = nil
	info, err := ff.Probe(ctx, path)
	if unfit := (*Error)(nil); errors.As(err, &unfit) {
		return Info{}, coverError(unfit.Message)
	}
	return info, err
}
