package media

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mp3"
)

// EncodeSpec is one conversion.
type EncodeSpec struct {
	Source     Info   // from Probe
	Target     string // path of the MP3; overwritten
	Options    conversion.Options
	Filename   string           // the video's name, for the title
	Class      conversion.Class // of the machine; a GPU helps with covers
	MaxSeconds float64          // of sound; 24 h where 0
	MaxBytes   int64            // of the MP3; 4 GiB where 0
}

// Encoded is what became of it.
type Encoded struct {
	MP3    conversion.MP3    // without ID, Key and CreatedAt; ETag is the MD5 in hex
	Source conversion.Source // of the chosen track
	MD5    []byte
}

// DefaultMaxSeconds is the longest sound that is converted unless told
// otherwise.
const DefaultMaxSeconds = 24 * 3600

const defaultMaxBytes = 4 << 30

// Encode makes the MP3 and checks that it is as long as the source promised.
// progress is called a few times a second with the seconds encoded so far, on
// a goroutine of its own; it may be nil. The error is an *Error where no
// further try can heal it. What is left at Target then is worthless.
func (t Tool) Encode(ctx context.Context, spec EncodeSpec, progress func(seconds float64)) (Encoded, error) {
	if spec.MaxSeconds <= 0 {
		spec.MaxSeconds = DefaultMaxSeconds
	}
	if spec.MaxBytes <= 0 {
		spec.MaxBytes = defaultMaxBytes
	}
	p, err := newPlan(spec.Source, spec.Options)
	if err != nil {
		return Encoded{}, err
	}
	if err := p.withinLimits(spec); err != nil {
		return Encoded{}, err
	}
	target, err := filepath.Abs(spec.Target)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode: target path: %w", err)
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	o, err := t.run(ctx, command{
		path:     spec.Source.Path,
		args:     p.args(spec, target),
		stdout:   &progressReader{report: progress},
		timeout:  spec.timeout(p),
		maxBytes: spec.MaxBytes + 1<<20,
	})
	if err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	stream, err := readResult(target)
	if err != nil || stream.Frames == 0 || o.err != nil {
		return Encoded{}, judgeFailure(o, stream, err)
	}
	switch {
	case stream.Size > spec.MaxBytes:
		return Encoded{}, refuse(conversion.CodeLimitExceeded, "The MP3 would be larger than %d bytes.", spec.MaxBytes)
	case stream.Seconds() > spec.MaxSeconds:
		return Encoded{}, refuse(conversion.CodeLimitExceeded, "The sound is longer than %s.", human(spec.MaxSeconds))
	}
	length, err := t.checkLength(ctx, spec.Source, p, stream.Seconds())
	if err != nil {
		return Encoded{}, err
	}
	return p.encoded(spec, stream, length), nil
}

// withinLimits refuses what is promised to become too long or too large.
func (p plan) withinLimits(spec EncodeSpec) error {
	if p.track.Seconds > spec.MaxSeconds {
		return refuse(conversion.CodeLimitExceeded, "The sound is %s long; at most %s are converted.", human(p.track.Seconds), human(spec.MaxSeconds))
	}
	if p.track.Seconds*float64(p.kbps)*125 > float64(spec.MaxBytes) {
		return refuse(conversion.CodeLimitExceeded, "The MP3 would be larger than %d bytes.", spec.MaxBytes)
	}
	return nil
}

// timeout is generous: a slow machine encodes at twenty times real time.
func (spec EncodeSpec) timeout(p plan) time.Duration {
	seconds := p.track.Seconds
	if seconds == 0 {
		seconds = spec.MaxSeconds
	}
	return 10*time.Minute + time.Duration(seconds/2*float64(time.Second))
}

// args are ffmpeg's arguments behind the source. -t and -fs end it with
// success a little beyond the limits, so that what exceeds them is seen.
func (p plan) args(spec EncodeSpec, target string) []string {
	args := []string{
		"-map", "0:a:" + strconv.Itoa(p.index), "-map_metadata", "-1", "-map_chapters", "-1",
		"-c:a", "libmp3lame", "-ar", strconv.Itoa(p.rate), "-ac", strconv.Itoa(p.channels),
	}
	if p.kbps != 0 {
		args = append(args, "-b:a", strconv.Itoa(p.kbps)+"k")
	} else {
		args = append(args, "-q:a", strconv.Itoa(p.quality))
	}
	if t := title(spec.Source.Title, spec.Filename); t != "" {
		args = append(args, "-metadata", "title="+t)
	}
	return append(args,
		"-id3v2_version", "4", "-write_id3v1", "0", "-write_xing", "1",
		"-fflags", "+bitexact", "-flags:a", "+bitexact", // no tag of ffmpeg's own, the same bytes each time
		"-t", strconv.FormatFloat(spec.MaxSeconds+1, 'f', 3, 64),
		"-fs", strconv.FormatInt(spec.MaxBytes+1, 10),
		"-stats_period", "0.25", "-progress", "pipe:1",
		"-f", "mp3", "file:"+target)
}

func readResult(path string) (mp3.Stream, error) {
	f, err := os.Open(path)
	if err != nil {
		return mp3.Stream{}, err
	}
	defer f.Close()
	return mp3.Read(f)
}

// judgeFailure says why there is no whole MP3. readErr is what reading it gave.
func judgeFailure(o outcome, stream mp3.Stream, readErr error) error {
	if err := o.failure(); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	nothing := errors.Is(readErr, fs.ErrNotExist) || stream.Frames == 0 && (readErr == nil || errors.Is(readErr, mp3.ErrFormat))
	const tooManyErrors = 69 // more than two thirds of the packets
	switch {
	case o.err != nil && o.err.ExitCode() == tooManyErrors:
		return refuse(conversion.CodeDamaged, "Most of the sound track is damaged.").because(o.tail())
	case nothing:
		return refuse(conversion.CodeDamaged, "Nothing of the sound track can be decoded.").because(o.tail())
	case readErr != nil:
		return fmt.Errorf("encode: read the result: %w", readErr)
	}
	return fmt.Errorf("encode: ffmpeg failed with exit status %d: %s", o.err.ExitCode(), o.tail())
}

// encoded puts together what is known of the result and its source.
func (p plan) encoded(spec EncodeSpec, stream mp3.Stream, length length) Encoded {
	e := Encoded{
		MP3: conversion.MP3{
			ETag: hex.EncodeToString(stream.MD5[:]), Size: stream.Size, Duration: stream.Seconds(),
			SampleRate: stream.SampleRate, Channels: stream.Channels, SHA256: stream.SHA256,
			LengthChecked: length.checked, Encoder: "ffmpeg " + spec.Source.FFmpeg + " libmp3lame",
		},
		Source: conversion.Source{
			Container: spec.Source.Container, Codec: p.track.Codec, Track: p.index, Duration: length.promised,
			SampleRate: p.track.SampleRate, Channels: p.track.Channels, Size: spec.Source.Size,
			Title: spec.Source.Title, AudioTracks: len(spec.Source.Tracks),
		},
		MD5: stream.MD5[:],
	}
	if p.kbps != 0 {
		e.MP3.BitrateKbps = p.kbps
	} else {
		quality := p.quality
		e.MP3.VBRQuality = &quality
	}
	return e
}

// progressReader reads ffmpeg's -progress output: lines of key=value.
type progressReader struct {
	report func(seconds float64)
	line   []byte
}

func (p *progressReader) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(p.line)+len(b) < bufio.MaxScanTokenSize {
				p.line = append(p.line, b...)
			}
			return n, nil
		}
		line := append(p.line, b[:i]...)
		if v, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("out_time_us=")); ok && p.report != nil {
			if us, err := strconv.ParseInt(string(v), 10, 64); err == nil && us >= 0 {
				p.report(float64(us) / 1e6)
			}
		}
		p.line, b = p.line[:0], b[i+1:]
	}
}

// human writes seconds as a person would.
func human(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
