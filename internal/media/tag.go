package media

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/cover"
	"tonearm/internal/media/encode"
	"tonearm/internal/media/id3"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/probe"
)

// tagged is the tag of an MP3 and what is in it.
type tagged struct {
	bytes    []byte           // ID3v2.4; nil where there is nothing to say
	cover    conversion.Cover // '' for none
	chapters int
	notes    []conversion.Note
}

// makeTag makes the tag of an MP3. It fails only if the conversion is stopped or ffmpeg
// cannot be run. Whatever else cannot be made is left out, with a note.
func makeTag(spec Spec, made encode.Made, p *picture) (tagged, error) {
	var out tagged
	tag := texts(spec, made.Info, made.Plan.Index)
	jpeg, err := p.of(made.Info)
	var none cover.Missing
	switch {
	case errors.As(err, &none):
		out.notes = append(out.notes, conversion.Note{Code: conversion.NoteNoCover, Message: none.Error()})
	case err != nil:
		return tagged{}, fmt.Errorf("tag: %w", err)
	case jpeg != nil:
		tag.JPEG, out.cover = jpeg, cmp.Or(spec.Options.Cover, conversion.CoverAttached)
	}
	if made.Listed > len(made.Chapters) {
		out.notes = append(out.notes, conversion.Note{
			Code: conversion.NoteChaptersLeftOut, Message: fmt.Sprintf("The source has %d chapters. Only the first %d were looked at.", made.Listed, len(made.Chapters)),
		})
	}
	tag.Chapters = chapters(made.Chapters, made.Timeline.At, made.Plan.Start, made.Seconds)
	out.chapters = len(tag.Chapters)
	if out.bytes, err = tag.Bytes(); err != nil {
		return tagged{}, fmt.Errorf("tag: %w", err)
	}
	return out, nil
}

// texts returns the options' own texts, else the container's. The last resort
// for the title is the file's name.
func texts(spec Spec, info probe.Info, track int) id3.Tag {
	own, source := conversion.Tags{}, info.Tags(track)
	if spec.Options.Tags != nil {
		own = *spec.Options.Tags
	}
	return id3.Tag{
		Title:   cmp.Or(own.Title, info.Tags(0).Title, title(spec.Filename)),
		Artist:  cmp.Or(own.Artist, source.Artist),
		Album:   cmp.Or(own.Album, source.Album),
		Date:    cmp.Or(own.Date, source.Date),
		Genre:   cmp.Or(own.Genre, source.Genre),
		Comment: cmp.Or(own.Comment, source.Comment),
		Track:   cmp.Or(own.Track, source.Track),
	}
}

// title is a file's name without its extension.
func title(filename string) string {
	name := path.Base(strings.ReplaceAll(filename, `\`, "/"))
	if ext := path.Ext(name); ext != name {
		name = strings.TrimSuffix(name, ext)
	}
	if name == "." || name == "/" {
		return ""
	}
	return probe.CleanTitle(name)
}

// chapters are those of the source on the clock of an MP3 of some seconds. sound
// says where in the track's sound a moment of the source is; in the MP3 it begins
// at the moment from. What lies outside is dropped, as are chapters without sound.
func chapters(all []probe.Chapter, sound func(float64) float64, from, length float64) []id3.Chapter {
	at := func(t float64) time.Duration {
		return milliseconds(min(max(0, sound(t)-sound(from)), length))
	}
	var kept []id3.Chapter
	for i, c := range all {
		if c.End <= c.Start { // it lasts until the next one
			c.End = math.Inf(1)
			if i+1 < len(all) {
				c.End = all[i+1].Start
			}
		}
		if start, end := at(c.Start), at(c.End); start < end {
			kept = append(kept, id3.Chapter{Start: start, End: end, Title: c.Title})
		}
	}
	return kept
}

// milliseconds is the time rounded to what a tag can say.
func milliseconds(seconds float64) time.Duration {
	return time.Duration(math.Round(min(seconds, probe.MaxTime)*1000)) * time.Millisecond
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
	if err := errors.Join(err, out.Close()); err != nil {
		return assembled{}, fmt.Errorf("assemble: %w", err)
	}
	return assembled{stream, sum.Sum(nil), sha.Sum(nil)}, nil
}
