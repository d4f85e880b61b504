package media

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"tonearm/internal/conversion"
	"tonearm/internal/media/cover"
	"tonearm/internal/media/encode"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// Error says why a source can never become an MP3. Every other error of this
// package may heal: a full disk, a crash of ffmpeg, a deadline.
type Error = unfit.Error

// Spec is one conversion.
type Spec struct {
	Target     string // path of the MP3; overwritten. Its folder holds files of the work beside it
	Options    conversion.Options
	Filename   string           // the video's name, for the title
	Class      conversion.Class // of the machine; a GPU helps with covers
	MaxSeconds float64          // of audio; encode.DefaultMaxSeconds where 0
	MaxBytes   int64            // of the MP3; 4 GiB where 0

	// Pictures are the source of a cover that must be decoded; nil if the source
	// has the pictures.
	Pictures cover.Pictures

	// Found is called with the seconds of audio that will be made, 0 where the source
	// does not say, once the source is known; may be nil.
	Found func(seconds float64)
	// Progress is called a few times a second with the seconds done so far. It runs
	// on other goroutines, but never on two at a time; it may be nil.
	Progress func(seconds float64)

	plain bool // see encode.Spec
}

// Encoded is the result.
type Encoded struct {
	MP3    conversion.MP3    // without ID, Key and CreatedAt; ETag is the MD5 in hex
	Source conversion.Source // of the chosen track
	MD5    []byte
}

// Open reads the outermost layer of a file that is whole.
func Open(p ffmpeg.Program, path string) (*probe.Input, error) { return probe.Open(p, path) }

// Follow reads the outermost layer of a file that may still grow.
func Follow(p ffmpeg.Program, g probe.Growing) (*probe.Input, error) { return probe.Follow(p, g) }

// Convert makes the MP3 and checks that it is as long as the source promised. The
// error is an *Error if no further try can help. After an error the file at Target
// is worthless.
func Convert(ctx context.Context, in *probe.Input, spec Spec) (Encoded, error) {
	e, err := convert(ctx, in, spec)
	if err != nil {
		return Encoded{}, fmt.Errorf("convert: %w", err)
	}
	return e, nil
}

func convert(ctx context.Context, in *probe.Input, spec Spec) (Encoded, error) {
	target, err := filepath.Abs(spec.Target)
	if err != nil {
		return Encoded{}, err
	}
	frames := target + ".frames"
	defer os.Remove(frames)
	p := newPicture(ctx, in, spec)
	defer p.stop()
	made, err := encode.Make(ctx, in, encode.Spec{
		Frames: frames, Options: spec.Options, MaxSeconds: spec.MaxSeconds, MaxBytes: spec.MaxBytes,
		Chapters: spec.Options.Chapters != conversion.ChaptersDrop, Found: spec.Found, Progress: spec.Progress, Plain: spec.plain,
	})
	if err != nil {
		return Encoded{}, err
	}
	tag, err := makeTag(spec, made, p)
	if err != nil {
		return Encoded{}, err
	}
	result, err := assemble(target, tag.bytes, frames)
	if err != nil {
		return Encoded{}, err
	}
	if most := cmp.Or(max(0, spec.MaxBytes), encode.DefaultMaxBytes); result.Size > most { // with its tag
		return Encoded{}, unfit.TooLarge(most)
	}
	return encoded(made, tag, result), nil
}

// picture is a cover that is made while the frames are.
type picture struct {
	known  chan probe.Info // what the source is
	cancel context.CancelFunc
	ended  sync.WaitGroup
	jpeg   []byte
	err    error
}

// newPicture begins to make the cover. It must be stopped.
func newPicture(ctx context.Context, in *probe.Input, spec Spec) *picture {
	p := &picture{known: make(chan probe.Info, 1)}
	ctx, p.cancel = context.WithCancel(ctx)
	p.ended.Go(func() {
		p.jpeg, p.err = cover.Make(ctx, in, cover.Spec{
			Cover: spec.Options.Cover, Start: spec.Options.Start, End: spec.Options.End, Class: spec.Class, Pictures: spec.Pictures,
		}, p.known)
	})
	return p
}

// of returns the cover of a source; see cover.Make.
func (p *picture) of(info probe.Info) ([]byte, error) {
	p.known <- info
	p.ended.Wait()
	return p.jpeg, p.err
}

func (p *picture) stop() {
	p.cancel()
	p.ended.Wait()
}

// encoded puts together what is known of the result and its source.
func encoded(made encode.Made, tag tagged, result assembled) Encoded {
	info, p, a := made.Info, made.Plan, made.Audio
	e := Encoded{
		MP3: conversion.MP3{
			ETag: hex.EncodeToString(result.md5), Size: result.Size, Duration: result.Seconds(),
			SampleRate: result.SampleRate, Channels: result.Channels, SHA256: hex.EncodeToString(result.sha256),
			LengthChecked: a.Checked, Encoder: "ffmpeg " + info.FFmpeg + " libmp3lame",
			Loudness: a.Levels, GainDB: a.Gain, Cover: tag.cover, Chapters: tag.chapters,
			Notes: append(append(p.Notes, a.Notes...), tag.notes...),
		},
		Source: conversion.Source{
			Container: info.Container, Codec: p.Track.Codec, Track: p.Index, Duration: a.Promised,
			SampleRate: p.Track.SampleRate, Channels: p.Track.Channels, Size: info.Size,
			Title: info.Tags(0).Title, AudioTracks: len(info.Tracks),
		},
		MD5: result.md5,
	}
	switch {
	case a.Copied:
		e.MP3.Encoder, e.MP3.BitrateKbps = conversion.CopyEncoder, a.Kbps
	case p.Kbps != 0:
		e.MP3.BitrateKbps = p.Kbps
	default:
		e.MP3.VBRQuality = new(p.Quality)
	}
	return e
}
