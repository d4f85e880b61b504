package probe

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"tonearm/internal/conversion"
	"tonearm/internal/media/container"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/unfit"
)

// Growing is a source that is still being written to its file.
type Growing interface {
	ffmpeg.Growing
	// Seek reports that a player goes back in it, so that it must be complete
	// first.
	Seek() bool
	// SourceTracks returns the audio tracks of the video that it was extracted from,
	// and the index of the one that it holds. There are none if it is the video.
	SourceTracks() (tracks []Track, index int)
	// SourceChapters returns the chapters of that video and their number; see
	// [mp4.Movie.Chapters]. It is called only if there are SourceTracks.
	SourceChapters(ctx context.Context) ([]mp4.Chapter, int, error)
}

// Input is a file to look at.
type Input struct {
	ffmpeg.Source
	structure    container.Structure
	protection   container.Protection
	bytes        int64   // it has, or will have
	streams      bool    // it grows, and may be played meanwhile
	sourceTracks []Track // see Growing
	index        int
	grows        Growing // nil where it is whole
}

// Open reads the outermost layer of a file that is whole.
func Open(p ffmpeg.Program, path string) (*Input, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	in := &Input{Source: ffmpeg.Source{Program: p, Path: path}, bytes: stat.Size()}
	return in, in.inspect(f)
}

// Follow reads the outermost layer of a file that may still grow.
func Follow(p ffmpeg.Program, g Growing) (*Input, error) {
	in := &Input{Source: ffmpeg.Source{Program: p, Path: g.Path(), Growing: g}, bytes: g.Size(), grows: g}
	in.sourceTracks, in.index = g.SourceTracks()
	err := in.inspect(g)
	in.streams = in.structure.Streamable && !g.Seek()
	return in, err
}

func (in *Input) inspect(r io.ReaderAt) (err error) {
	if in.bytes == 0 {
		return &unfit.Error{Code: conversion.EmptySource.Code, Message: conversion.EmptySource.Message}
	}
	if in.structure, err = container.Inspect(r, in.bytes); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if m := in.structure.MP4; m != nil && m.Overedited() {
		return unfit.New(conversion.CodeLimitExceeded, "The file's edit list has more than %d entries.", mp4.MaxEdits)
	}
	in.protection = container.Protected(r)
	return nil
}

// Play runs ffmpeg from the source's beginning to its end. A source that grows is
// played meanwhile, if it sounds the same so.
func (in *Input) Play(ctx context.Context, c ffmpeg.Command) (ffmpeg.Outcome, error) {
	if in.streams {
		return in.Source.Play(ctx, c)
	}
	return in.Run(ctx, c)
}

// Guess returns what ffmpeg will probably find, as far as a plan needs it. If
// nothing is known, it has no tracks.
func (in *Input) Guess() Info {
	info := Info{Size: in.bytes}
	for _, t := range in.structure.Tracks {
		info.Tracks = append(info.Tracks, Track{
			Codec: t.Codec, SampleRate: t.SampleRate, Channels: t.Channels, Language: t.Language, Default: t.Default, Seconds: t.Seconds, Own: t.Own,
		})
	}
	if m := in.structure.MP4; m != nil && !m.Fragmented {
		for _, t := range m.AudioTracks() {
			tr := Track{Codec: t.Name(), SampleRate: t.SampleRate, Channels: t.Channels, Language: t.Language, Default: t.Enabled, id: t.ID}
			tr.promise(m, Info{})
			info.Tracks = append(info.Tracks, tr)
		}
	}
	if in.sourceTracks != nil && len(info.Tracks) == 1 {
		info = info.extracted(in.sourceTracks, in.index)
	}
	return info
}

// extracted returns the Info of a file that holds only the track with the
// index. It lists all tracks of the source that the file was extracted from.
func (i Info) extracted(all []Track, index int) Info {
	all = slices.Clone(all)
	all[index] = i.Tracks[0]
	i.Tracks, i.Single = all, true
	return i
}
