package transcoder

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/probe"
	"tonearm/internal/source"
)

// fetched is the source on its way to the local disk: all of it, or of an MP4
// the chosen track alone.
type fetched struct {
	*spooled
	object *source.Object
	tracks []probe.Track // audio tracks of the object; nil if all of it is fetched
	index  int           // of the chosen track
	// pictures are where a cover comes from if only a track is fetched; nil if
	// no picture is decoded.
	pictures *pictures
	chapters chapters

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// fetch begins to fetch the source to a new file. The result must be closed.
func (w *worker) fetch(ctx context.Context, path string) (*fetched, error) {
	defer w.alive.wait()()
	object, err := source.Open(ctx, source.Options{
		Request: w.sourceRequest, Size: w.SourceSize, ETag: w.SourceETag, HTTP: w.http, Patience: w.patience,
		Received: func(n int64) {
			w.reports.update(func(p *conversion.Progress) { p.BytesRead += n })
		},
		Retrying: func(err error) {
			w.log.Warn("object store failed, trying again", "step", "read the source", "error", err)
		},
	})
	if err != nil {
		return nil, sourceError(err)
	}
	f := &fetched{object: object}
	ctx, f.cancel = context.WithCancel(ctx)
	stream, err := w.choose(ctx, f)
	if err == nil {
		if err = w.checkDiskSpace(stream.Size); err == nil {
			f.spooled, err = newSpool(path, stream.Size, stream.Seek)
		}
		if err != nil {
			stream.Close()
		}
	}
	if err != nil {
		f.cancel()
		return nil, sourceError(err)
	}
	if f.tracks != nil && w.Options.Chapters != conversion.ChaptersDrop {
		f.chapters.read = make(chan struct{})
		f.done.Go(func() {
			defer close(f.chapters.read)
			f.chapters.list, f.chapters.count, f.chapters.err = object.Chapters(ctx)
		})
	}
	f.done.Go(func() {
		defer stream.Close()
		defer w.alive.wait()()
		if err := f.fill(failing{stream}); err != nil {
			w.log.Debug("source not fetched whole", "error", err)
		}
	})
	return f, nil
}

// SourceTracks implements probe.Growing.
func (f *fetched) SourceTracks() (tracks []probe.Track, index int) { return f.tracks, f.index }

// chapters are those of the object if only a track is fetched.
type chapters struct {
	read  chan struct{} // closed once the others are set
	list  []mp4.Chapter
	count int
	err   error
}

// SourceChapters implements probe.Growing.
func (f *fetched) SourceChapters(ctx context.Context) ([]mp4.Chapter, int, error) {
	select {
	case <-f.chapters.read:
		return f.chapters.list, f.chapters.count, sourceError(f.chapters.err)
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

// close ends the fetching and waits for it.
func (f *fetched) close() {
	f.cancel()
	f.done.Wait()
	f.Close()
	if f.pictures != nil {
		f.pictures.close()
	}
}

// choose streams the chosen track if it can be read alone. Pictures are then
// fetched in parts of the object, unless the parts would be most of it.
func (w *worker) choose(ctx context.Context, f *fetched) (*source.Stream, error) {
	movie, _ := f.object.Movie()
	decodes := w.Options.Cover.Decodes()
	if movie == nil || decodes && !pay(movie) {
		return f.object.Whole(ctx), nil
	}
	audio := movie.AudioTracks()
	tracks := make([]probe.Track, len(audio))
	for i, t := range audio {
		tracks[i] = probe.Track{Language: t.Language, Default: t.Enabled}
	}
	index, err := plan.ChooseTrack(tracks, w.Options.Track)
	if err != nil || len(tracks) == 0 {
		return f.object.Whole(ctx), nil //nolint:nilerr // ffmpeg may see more
	}
	if len(tracks) > 1 && w.Options.Track == "" && !audio[index].Decodable() {
		return f.object.Whole(ctx), nil // perhaps another one is
	}
	stream, err := f.object.Audio(ctx, audio[index])
	var why mp4.Reason
	if errors.As(err, &why) {
		return f.object.Whole(ctx), nil
	}
	if err != nil {
		return nil, err
	}
	f.tracks, f.index = tracks, index
	if decodes {
		f.pictures = &pictures{w: w, from: f.object, movie: movie}
	}
	return stream, nil
}

// sourceRequest makes the presigned request of the latest answer.
func (w *worker) sourceRequest(ctx context.Context, refused bool) (*http.Request, error) {
	if refused {
		if err := w.reports.refresh(ctx); err != nil {
			return nil, err
		}
	}
	r, _ := w.reports.requests()
	return newRequest(ctx, r, nil)
}

// addStats adds how the source was read.
func (f *fetched) addStats(s *conversion.Source) {
	g := f.object.Stats()
	s.Read, s.ReadReason, s.ReadBytes, s.Requests = string(g.Path), g.Reason, g.Bytes, g.Requests
}

// failing turns the errors of a stream into failures to report.
type failing struct{ *source.Stream }

func (s failing) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, sourceError(err)
}

func sourceError(err error) error {
	switch {
	case errors.Is(err, source.ErrMissing):
		return &failure{Failure: conversion.SourceMissing, final: true}
	case errors.Is(err, source.ErrChanged):
		return final(conversion.CodeSourceChanged, "The uploaded video was replaced by another file after the upload.")
	case errors.Is(err, source.ErrUnavailable):
		return storeError(err)
	case errors.Is(err, source.ErrNoRanges): // it answers, and not as it should
		return retryable(conversion.CodeStore, err, "The object store does not send parts of the file.")
	}
	return err
}
