package media

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/id3"
	"tonearm/internal/media/mp3"
)

// tagged is the tag of an MP3 and what is in it.
type tagged struct {
	bytes    []byte           // ID3v2.4; nil where there is nothing to say
	cover    conversion.Cover // '' for none
	chapters int
	notes    []conversion.Note
}

// tag makes the tag of the MP3. It fails only if ctx ends or ffmpeg cannot be
// run. Whatever else cannot be made is left out, with a note.
func (ff FFmpeg) tag(ctx context.Context, spec EncodeSpec, p plan) (tagged, error) {
	var out tagged
	tag := texts(spec, p)
	jpeg, err := ff.cover(ctx, spec)
	var none coverError
	switch {
	case errors.As(err, &none):
		out.notes = append(out.notes, conversion.Note{Code: conversion.NoteNoCover, Message: none.Error()})
	case err != nil:
		return tagged{}, fmt.Errorf("tag: %w", err)
	case jpeg != nil:
		tag.JPEG, out.cover = jpeg, spec.Options.Cover
		if out.cover == "" {
			out.cover = conversion.CoverAttached
		}
	}
	if tag.Chapters, err = ff.chapters(ctx, spec, p); err != nil {
		return tagged{}, fmt.Errorf("tag: %w", err)
	}
	out.chapters = len(tag.Chapters)
	if out.bytes, err = tag.Bytes(); err != nil {
		return tagged{}, fmt.Errorf("tag: %w", err)
	}
	return out, nil
}

// texts returns the options' own texts, else the container's. The last resort
// for the title is the file's name.
func texts(spec EncodeSpec, p plan) id3.Tag {
	own, source := conversion.Tags{}, spec.Source.meta.tags(spec.Source.Container, p.index)
	if spec.Options.Tags != nil {
		own = *spec.Options.Tags
	}
	return id3.Tag{
		Title:   cmp.Or(own.Title, title(source.Title, spec.Filename)),
		Artist:  cmp.Or(own.Artist, source.Artist),
		Album:   cmp.Or(own.Album, source.Album),
		Date:    cmp.Or(own.Date, source.Date),
		Genre:   cmp.Or(own.Genre, source.Genre),
		Comment: cmp.Or(own.Comment, source.Comment),
		Track:   cmp.Or(own.Track, source.Track),
	}
}

// chapters are those of the source on the clock of the MP3.
func (ff FFmpeg) chapters(ctx context.Context, spec EncodeSpec, p plan) ([]id3.Chapter, error) {
	all := spec.Source.meta.chapters
	if len(all) == 0 || spec.Options.Chapters == conversion.ChaptersDrop {
		return nil, nil
	}
	begins, err := ff.audioStart(ctx, spec.Source, p)
	if err != nil {
		return nil, err
	}
	from, until := max(begins, spec.from()), math.Inf(1)
	if p.track.Seconds > 0 {
		until = begins + p.track.Seconds
	}
	if end := spec.Options.End; end > 0 {
		until = min(until, end)
	}
	return cut(all, from, until), nil
}

// cut shifts chapters so that they count from the time from, and drops those
// outside.
func cut(all []chapter, from, until float64) []id3.Chapter {
	var kept []id3.Chapter
	for i, c := range all {
		if c.end <= c.start { // it lasts until the next one
			c.end = until
			if i+1 < len(all) {
				c.end = all[i+1].start
			}
		}
		start, end := milliseconds(max(c.start, from)-from), milliseconds(min(c.end, until)-from)
		if start < end {
			kept = append(kept, id3.Chapter{Start: start, End: end, Title: c.title})
		}
	}
	return kept
}

// milliseconds is the time rounded to what a tag can say.
func milliseconds(seconds float64) time.Duration {
	return time.Duration(math.Round(min(seconds, maxTime)*1000)) * time.Millisecond
}

// audioStart returns when the first audio begins, in seconds on a player's
// clock. The MP3 begins there: silence before it is not added.
func (ff FFmpeg) audioStart(ctx context.Context, info Info, p plan) (float64, error) {
	if p.track.Exact {
		return p.track.Start, nil
	}
	d := &demuxed{}
	if _, err := d.run(ctx, ff, info, []string{"-map", p.streamSpecifier(), "-frames:a", "1"}); err != nil {
		return 0, err
	}
	return max(0, d.track().start-p.clock), nil
}

// assembled is a finished MP3.
type assembled struct {
	mp3.Stream
	md5, sha256 []byte // of the file
}

// assemble writes the target anew: the tag, then what the file of frames holds.
// It reads what it writes as any reader of MP3 does.
func assemble(target string, tag []byte, frames string) (assembled, error) {
	in, err := os.Open(frames)
	if err != nil {
		return assembled{}, fmt.Errorf("assemble: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return assembled{}, fmt.Errorf("assemble: %w", err)
	}
	sum, sha := md5.New(), sha256.New()
	stream, err := mp3.Read(io.TeeReader(io.MultiReader(bytes.NewReader(tag), in), io.MultiWriter(out, sum, sha)))
	if err := closing(out, err); err != nil {
		return assembled{}, fmt.Errorf("assemble: %w", err)
	}
	return assembled{stream, sum.Sum(nil), sha.Sum(nil)}, nil
}
