package media

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp3"
	"tonearm/internal/media/unfit"
)

// EncodeSpec is one conversion.
type EncodeSpec struct {
	Source     Info   // from Probe
	Target     string // path of the MP3; overwritten. Its folder holds files of the work beside it
	Options    conversion.Options
	Filename   string           // the video's name, for the title
	Class      conversion.Class // of the machine; a GPU helps with covers
	MaxSeconds float64          // of audio; 24 h where 0
	MaxBytes   int64            // of the MP3; 4 GiB where 0

	// Pictures are the source of a cover that must be decoded; nil if Source
	// has the pictures.
	Pictures Pictures

	speculation *speculation // already begun; nil for none
	parts       *parts       // fetched from Pictures; nil for none
}

// complete returns the spec with its defaults.
func (spec EncodeSpec) complete() (EncodeSpec, error) {
	spec.MaxSeconds = cmp.Or(max(0, spec.MaxSeconds), DefaultMaxSeconds)
	spec.MaxBytes = cmp.Or(max(0, spec.MaxBytes), defaultMaxBytes)
	target, err := filepath.Abs(spec.Target)
	if err != nil {
		return spec, fmt.Errorf("target path: %w", err)
	}
	spec.Target = target
	return spec, nil
}

// Encoded is the result.
type Encoded struct {
	MP3    conversion.MP3    // without ID, Key and CreatedAt; ETag is the MD5 in hex
	Source conversion.Source // of the chosen track
	MD5    []byte
}

// DefaultMaxSeconds is the longest audio that is converted if no other limit is
// set.
const DefaultMaxSeconds = 24 * 3600

const defaultMaxBytes = 4 << 30

// Encode makes the MP3 and checks that it is as long as the source promised.
// progress is called a few times a second with the seconds done so far. It runs
// on other goroutines, but never on two at a time; it may be nil. The error is
// an *Error if no further try can help. After an error the file at Target is
// worthless.
func (ff FFmpeg) Encode(ctx context.Context, spec EncodeSpec, progress func(seconds float64)) (Encoded, error) {
	spec, err := spec.complete()
	if err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	p, err := newPlan(spec.Source, spec.Options)
	if err != nil {
		return Encoded{}, err
	}
	if err := p.withinLimits(spec); err != nil {
		return Encoded{}, err
	}
	if err := remove(spec.Target); err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	frames := spec.Target + ".frames"
	defer os.Remove(frames)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if spec.parts = ff.fetchParts(ctx, spec); spec.parts != nil {
		defer spec.parts.stop()
	}
	again := ff.lookAgain(ctx, spec.Source)
	s, err := ff.makeAudio(ctx, spec, p, frames, progress)
	if err != nil {
		cancel()
		_, _ = again()
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	if spec.Source, err = again(); err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	if spec.speculation != nil && !spec.Source.late {
		if spec.Source, err = spec.speculation.withTags(spec.Source); err != nil {
			return Encoded{}, fmt.Errorf("encode: %w", err)
		}
	}
	tag, err := ff.tag(ctx, spec, p)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	result, err := assemble(spec.Target, tag.bytes, frames)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode: %w", err)
	}
	if err := spec.allows(result.Stream); err != nil {
		return Encoded{}, err
	}
	return p.encoded(spec, result, s, tag), nil
}

// lookAgain reads what may stand behind the audio, such as tags, as soon as the
// whole source is there. wait returns the source with it.
func (ff FFmpeg) lookAgain(ctx context.Context, source Info) (wait func() (Info, error)) {
	if !source.late {
		return func() (Info, error) { return source, nil }
	}
	var looking sync.WaitGroup
	var again Info
	var err error
	looking.Go(func() {
		if err = ff.Source.Whole(ctx); err != nil {
			err = fmt.Errorf("read the source: %w", err)
			return
		}
		ff.Source = nil
		again, err = ff.Probe(ctx, source.Path)
	})
	return func() (Info, error) {
		looking.Wait()
		source.meta, source.Title, source.attached = again.meta, again.Title, again.attached
		return source, err
	}
}

// audio is an MP3 without its tag, and what was done to make it.
type audio struct {
	length length
	levels *conversion.Levels
	gain   float64 // dB
	copied bool    // nothing was encoded
	kbps   int     // constant bit rate of what was copied, 0 where it varies
	notes  []conversion.Note
}

func (s *audio) note(code conversion.NoteCode, format string, a ...any) {
	s.notes = append(s.notes, conversion.Note{Code: code, Message: fmt.Sprintf(format, a...)})
}

// makeAudio makes the MP3 without its tag.
func (ff FFmpeg) makeAudio(ctx context.Context, spec EncodeSpec, p plan, frames string, progress func(float64)) (audio, error) {
	var not notCopied
	if p.track.Codec == "mp3" && spec.Options.Copy != conversion.CopyNever {
		s, err := ff.copy(ctx, spec, p, frames, progress)
		if !errors.As(err, &not) {
			return s, err
		}
	}
	encode := ff.encodePlainly
	if spec.Options.Loudness != nil {
		encode = ff.normalise
	}
	s, err := encode(ctx, spec, p, frames, progress)
	if not != "" {
		s.note(conversion.NoteNotCopied, "%s", not)
	}
	return s, err
}

// encodePlainly makes the MP3 as loud as the source.
func (ff FFmpeg) encodePlainly(ctx context.Context, spec EncodeSpec, p plan, frames string, progress func(float64)) (audio, error) {
	return ff.encode(ctx, spec, p, level{}, frames, progress)
}

// encode runs the encoder once and checks what it made.
func (ff FFmpeg) encode(ctx context.Context, spec EncodeSpec, p plan, l level, frames string, progress func(float64)) (audio, error) {
	raw := frames + ".raw"
	if err := remove(raw); err != nil {
		return audio{}, err
	}
	defer os.Remove(raw)
	o, err := ff.makeFrames(ctx, spec, p, l, raw, progress)
	if err != nil {
		return audio{}, err
	}
	made, err := readMP3(raw)
	if err != nil || made.Frames == 0 || o.Err != nil {
		return audio{}, ff.judgeFailure(ctx, spec, p, o, made, err)
	}
	if err := spec.allows(made); err != nil {
		return audio{}, err
	}
	samples := p.playable(made.Samples)
	var s audio
	if s.length, err = ff.checkLength(ctx, spec.Source, p, float64(samples)/float64(p.rate)); err != nil {
		return audio{}, err
	}
	if err := addInfoFrame(raw, frames, p.kbps, mp3.Info{Delay: mp3.EncoderDelay, Samples: samples}); err != nil {
		return audio{}, err
	}
	levels, ok := levelsOf(o)
	if s.levels = levels; !ok {
		s.levels, err = ff.measureFrames(ctx, frames, samplePeaks, spec.timeout(p), nil)
	}
	return s, err
}

// allows refuses a result that has become too long or too large.
func (spec EncodeSpec) allows(made mp3.Stream) error {
	switch {
	case made.Size > spec.MaxBytes:
		return tooLarge(spec.MaxBytes)
	case made.Seconds() > spec.MaxSeconds:
		return unfit.New(conversion.CodeLimitExceeded, "The sound is longer than the limit of %s.", human(spec.MaxSeconds))
	}
	return nil
}

// withinLimits refuses a track that will become too long or too large if it
// keeps its promise.
func (p plan) withinLimits(spec EncodeSpec) error {
	seconds := p.promised()
	if seconds > spec.MaxSeconds {
		return unfit.New(conversion.CodeLimitExceeded, "The sound is %s long. The limit is %s.", human(seconds), human(spec.MaxSeconds))
	}
	if seconds*float64(p.kbps)*125 > float64(spec.MaxBytes) {
		return tooLarge(spec.MaxBytes)
	}
	return nil
}

// timeout is generous: a slow machine encodes at twenty times real time.
func (spec EncodeSpec) timeout(p plan) time.Duration {
	seconds := p.start + spec.MaxSeconds
	if p.track.Seconds > 0 {
		seconds = min(seconds, p.track.Start+p.track.Seconds)
	}
	return 10*time.Minute + time.Duration(seconds/2*float64(time.Second))
}

// limits make ffmpeg stop, with success, a little beyond what is allowed, so
// that an excess is noticed.
func (p plan) limits(spec EncodeSpec) []string {
	return []string{"-t", strconv.FormatFloat(spec.MaxSeconds+1, 'f', 3, 64)}
}

// makeFrames writes an information frame, which holds the number of samples,
// and the frames behind it.
func (ff FFmpeg) makeFrames(ctx context.Context, spec EncodeSpec, p plan, l level, raw string, progress func(float64)) (ffmpeg.Outcome, error) {
	if spec.speculation != nil {
		return spec.speculation.take(raw)
	}
	return ff.runFrames(ctx, spec, p, p.command(spec, l), raw, progress)
}

// command decodes the source and applies the filters. Its args end before the
// encoder.
func (p plan) command(spec EncodeSpec, l level) ffmpeg.Command {
	return ffmpeg.Command{Args: p.audioArgs(spec, l), Timeout: spec.timeout(p), MaxBytes: spec.MaxBytes + 1<<20}
}

// runFrames makes the frames from what c decodes. It uses several encoders if
// the source promises enough audio, otherwise one. That depends on nothing but
// the source and the options, and so does the MP3.
func (ff FFmpeg) runFrames(ctx context.Context, spec EncodeSpec, p plan, c ffmpeg.Command, raw string, progress func(float64)) (ffmpeg.Outcome, error) {
	if frames := chunkFrames(p.promised(), p.rate); frames > 0 {
		o, _, err := ff.encodeParallel(ctx, parallel{source: spec.Source, decode: c, plan: p, target: raw, maxBytes: spec.MaxBytes, frames: frames, progress: progress})
		return o, err
	}
	c.Args = append(append(c.Args, p.encoderArgs()...),
		"-fs", strconv.FormatInt(spec.MaxBytes+1, 10),
		"-id3v2_version", "0", "-write_id3v1", "0", "-write_xing", "1",
		"-fflags", "+bitexact")
	c.Args = append(append(c.Args, ffmpeg.ProgressArgs...), "-f", "mp3", "file:"+raw)
	c.Stdout = ffmpeg.Progress(progress)
	return ff.run(ctx, spec.Source.Path, spec.Source.mayPipe, c)
}

// audioArgs are ffmpeg's arguments behind the source for the audio to encode.
func (p plan) audioArgs(spec EncodeSpec, l level) []string {
	return append([]string{
		"-map", p.streamSpecifier(), "-map_metadata", "-1", "-map_chapters", "-1",
		"-filter_threads", "1", "-af", p.filters(l, samplePeaks),
	}, p.limits(spec)...)
}

// encoderArgs are those for the encoder.
func (p plan) encoderArgs() []string {
	args := []string{"-c:a", "libmp3lame", "-flags:a", "+bitexact"}
	if p.kbps != 0 {
		return append(args, "-b:a", strconv.Itoa(p.kbps)+"k")
	}
	return append(args, "-q:a", strconv.Itoa(p.quality))
}

func readMP3(path string) (mp3.Stream, error) {
	f, err := os.Open(path)
	if err != nil {
		return mp3.Stream{}, err
	}
	defer f.Close()
	return mp3.Read(f)
}

// remove removes the file if it is there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// judgeFailure says why there is no whole MP3. readErr is the error of reading
// it.
func (ff FFmpeg) judgeFailure(ctx context.Context, spec EncodeSpec, p plan, o ffmpeg.Outcome, made mp3.Stream, readErr error) error {
	if err := o.Failure(); err != nil {
		return err
	}
	nothing := errors.Is(readErr, fs.ErrNotExist) || made.Frames == 0 && (readErr == nil || errors.Is(readErr, mp3.ErrFormat))
	const tooManyErrors = 69 // more than two thirds of the packets
	switch {
	case o.Err != nil && o.Err.ExitCode() == tooManyErrors:
		return unfit.New(conversion.CodeDamaged, "Most of the sound track is damaged.").Because(o.Tail())
	case nothing && (p.start > 0 || p.end > 0):
		return ff.judgeNothing(ctx, spec.Source, p, o)
	case nothing:
		return undecodable(p.track.Codec).Because(o.Tail())
	case readErr != nil:
		return fmt.Errorf("read the frames: %w", readErr)
	}
	return fmt.Errorf("ffmpeg failed with exit status %d: %s", o.Err.ExitCode(), o.Tail())
}

// encoded puts together what is known of the result and its source.
func (p plan) encoded(spec EncodeSpec, result assembled, s audio, tag tagged) Encoded {
	e := Encoded{
		MP3: conversion.MP3{
			ETag: hex.EncodeToString(result.md5), Size: result.Size, Duration: result.Seconds(),
			SampleRate: result.SampleRate, Channels: result.Channels, SHA256: hex.EncodeToString(result.sha256),
			LengthChecked: s.length.checked, Encoder: "ffmpeg " + spec.Source.FFmpeg + " libmp3lame",
			Loudness: s.levels, GainDB: s.gain, Cover: tag.cover, Chapters: tag.chapters,
			Notes: append(append(p.notes, s.notes...), tag.notes...),
		},
		Source: conversion.Source{
			Container: spec.Source.Container, Codec: p.track.Codec, Track: p.index, Duration: s.length.promised,
			SampleRate: p.track.SampleRate, Channels: p.track.Channels, Size: spec.Source.Size,
			Title: spec.Source.Title, AudioTracks: len(spec.Source.Tracks),
		},
		MD5: result.md5,
	}
	switch {
	case s.copied:
		e.MP3.Encoder, e.MP3.BitrateKbps = conversion.CopyEncoder, s.kbps
	case p.kbps != 0:
		e.MP3.BitrateKbps = p.kbps
	default:
		e.MP3.VBRQuality = new(p.quality)
	}
	return e
}
