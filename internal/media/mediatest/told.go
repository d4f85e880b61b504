package mediatest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// Told is what ffprobe reads of a file.
type Told struct {
	Container string
	Codec     string // of the first audio track
	Tags      conversion.Tags
	Chapters  []Chapter
}

// Tell reads tags and chapters of a file with the installed ffprobe.
func Tell(ctx context.Context, path string) (Told, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_format", "-show_chapters", "-show_streams", "-select_streams", "a", "-of", "json", "file:"+path).Output()
	if err != nil {
		return Told{}, fmt.Errorf("ffprobe %s: %w", path, err)
	}
	var p struct {
		Format struct {
			Name string            `json:"format_name"`
			Tags map[string]string `json:"tags"`
		} `json:"format"`
		Streams []struct {
			Codec string `json:"codec_name"`
			Tag   string `json:"codec_tag_string"`
		} `json:"streams"`
		Chapters []struct {
			Start string            `json:"start_time"`
			Tags  map[string]string `json:"tags"`
		} `json:"chapters"`
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return Told{}, fmt.Errorf("ffprobe %s: %w", path, err)
	}
	lower := map[string]string{}
	for k, v := range p.Format.Tags {
		lower[strings.ToLower(k)] = v
	}
	told := Told{Container: p.Format.Name, Tags: conversion.Tags{
		Title: lower["title"], Artist: lower["artist"], Album: lower["album"], Date: lower["date"],
		Genre: lower["genre"], Comment: lower["comment"], Track: lower["track"],
	}}
	if len(p.Streams) > 0 {
		if told.Codec = p.Streams[0].Codec; told.Codec == "" || told.Codec == "unknown" {
			told.Codec = p.Streams[0].Tag
		}
	}
	for _, c := range p.Chapters {
		at, err := strconv.ParseFloat(c.Start, 64)
		if err != nil {
			return Told{}, fmt.Errorf("ffprobe %s: %w", path, err)
		}
		told.Chapters = append(told.Chapters, Chapter{at, c.Tags["title"]})
	}
	return told, nil
}

// judgeTags compares the tags that are known, and the chapters.
func (w Want) judgeTags(t testing.TB, r Result) []string {
	if w.Tags == (conversion.Tags{}) && w.Chapters == nil && !w.NoChaps {
		return nil
	}
	told, err := Tell(t.Context(), r.Path)
	if err != nil {
		return []string{err.Error()}
	}
	var faults []string
	for _, f := range []struct{ name, want, got string }{
		{"title", w.Tags.Title, told.Tags.Title}, {"artist", w.Tags.Artist, told.Tags.Artist}, {"album", w.Tags.Album, told.Tags.Album},
		{"date", w.Tags.Date, told.Tags.Date}, {"genre", w.Tags.Genre, told.Tags.Genre}, {"track", w.Tags.Track, told.Tags.Track},
	} {
		if f.want != "" && f.want != f.got {
			faults = append(faults, fmt.Sprintf("the %s is %q, expected %q", f.name, f.got, f.want))
		}
	}
	if w.Chapters == nil && !w.NoChaps {
		return faults
	}
	if len(told.Chapters) != len(w.Chapters) {
		return append(faults, fmt.Sprintf("%d chapters, expected %d", len(told.Chapters), len(w.Chapters)))
	}
	for i, want := range w.Chapters {
		got := told.Chapters[i]
		if math.Abs(got.At-want.At) > 0.03 || got.Title != want.Title {
			return append(faults, fmt.Sprintf("chapter %d is %q at %.3f s, expected %q at %.3f", i+1, got.Title, got.At, want.Title, want.At))
		}
	}
	return faults
}
