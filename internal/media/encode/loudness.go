package encode

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
)

// meter is ffmpeg's filter that measures what passes, as EBU R128 says.
type meter string

// The meters. True peaks, those between the samples, take several times as
// much computing.
const (
	samplePeaks meter = "ebur128=framelog=verbose:peak=sample"
	truePeaks   meter = "ebur128=framelog=verbose:peak=sample+true"
)

// silent is what the meter shows for silence, and for less than the 0.4 s that
// it needs.
const silent = -70.0

var reMeter = regexp.MustCompile(`(?m)^ +(I|LRA|Peak): +(\S+) (?:LUFS|LU|dBFS)$`)

// levelsOf reads what the meter printed at the end of a run. ok is false if there
// is not exactly one summary. The levels are nil for silence.
func levelsOf(o ffmpeg.Outcome) (l *conversion.Levels, ok bool) {
	_, summary, ok := strings.Cut(o.Stderr, "] Summary:\n")
	if !ok || strings.Contains(summary, "] Summary:\n") {
		return nil, false
	}
	l = &conversion.Levels{}
	peaks := []*float64{&l.PeakDB, &l.TruePeakDB} // in this order
	for _, m := range reMeter.FindAllStringSubmatch(summary, 8) {
		v, err := strconv.ParseFloat(m[2], 64)
		switch {
		case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
			return nil, true
		case m[1] == "I":
			l.IntegratedLUFS = v
		case m[1] == "LRA":
			l.RangeLU = v
		case len(peaks) > 0:
			*peaks[0], peaks = v, peaks[1:]
		}
	}
	if l.IntegratedLUFS <= silent {
		return nil, true
	}
	return l, true
}

// measure decodes an audio track through filters that end in a meter. It returns
// nil for silence, and where the meter fails.
func measure(ctx context.Context, run player, c ffmpeg.Command, stream, filters string) (*conversion.Levels, error) {
	c.Args = slices.Concat([]string{"-map", stream, "-filter_threads", "1", "-af", filters}, c.Args, ffmpeg.ProgressArgs, []string{"-f", "null", "pipe:2"})
	o, err := run(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("measure the loudness: %w", err)
	}
	l, _ := levelsOf(o)
	return l, nil
}

// measureFrames measures the frames that were made.
func (j *job) measureFrames(ctx context.Context, m meter, progress func(float64)) (*conversion.Levels, error) {
	made := ffmpeg.Source{Program: j.in.Program, Path: j.spec.Frames}
	return measure(ctx, made.Run, ffmpeg.Command{Stdout: ffmpeg.Progress(progress), Timeout: j.timeout()}, "0:a:0", string(m))
}

// How close to a target the result must be. The meter shows tenths; ceilings
// are kept in spite of its rounding.
const (
	nearLU    = 0.3
	roundedDB = 0.05
	encodings = 4 // tries
)

// normalise encodes the audio with the requested loudness. It measures the
// source, applies a constant gain, and holds peaks below the ceiling if the
// gain would raise them above it. Then it measures the MP3, and tries again
// with what that shows.
func (j *job) normalise(ctx context.Context) (Audio, error) {
	work := steps{report: j.spec.Progress}
	want := newTarget(*j.spec.Options.Loudness)
	source, err := measure(ctx, j.play, ffmpeg.Command{
		Args: j.limits(), Stdout: ffmpeg.Progress(work.next(0.3)), Timeout: j.timeout(),
	}, j.stream(), j.filters(level{}, truePeaks))
	if err != nil {
		return Audio{}, err
	}
	if source == nil {
		s, err := j.encode(ctx, level{}, work.next(0.7))
		s.note(conversion.NoteLoudnessOff, "The loudness was not changed, because the sound is silent or shorter than 0.4 s.")
		return s, err
	}
	before, l := trial{got: source}, want.first(source)
	for try := 1; ; try++ {
		s, err := j.encode(ctx, l, work.next(0.5))
		if err != nil {
			return Audio{}, err
		}
		if s.Levels, err = j.measureFrames(ctx, truePeaks, work.next(0.2)); err != nil {
			return Audio{}, err
		}
		s.Gain = l.gain
		now := trial{l, s.Levels}
		reached := want.reached(now)
		if !reached && try < encodings {
			before, l = now, want.next(before, now)
			continue
		}
		if l.limited {
			s.note(conversion.NoteLimited, "Peaks were limited to stay below %.1f dBTP.", want.ceiling)
		}
		if !reached {
			s.note(conversion.NoteLoudnessOff, "%s", want.missed(s.Levels))
		}
		return s, nil
	}
}

// target is a loudness to reach.
type target struct {
	lufs, ceiling float64 // LUFS and dBTP
}

func newTarget(l conversion.Loudness) target {
	t := target{lufs: l.TargetLUFS, ceiling: conversion.DefaultTruePeakDB}
	if l.TruePeakDB != nil {
		t.ceiling = *l.TruePeakDB
	}
	return t
}

// headroom is what the encoder is expected to add to limited peaks, in dB.
const headroom = 0.5

// first is the level to begin with.
func (t target) first(source *conversion.Levels) level {
	l := level{gain: hundredths(t.lufs - source.IntegratedLUFS)}
	if source.TruePeakDB+l.gain > t.ceiling {
		l.limited, l.ceiling = true, t.ceiling-headroom
	}
	return l
}

// trial is a level and the loudness that it gave; nil if that cannot be
// measured.
type trial struct {
	level
	got *conversion.Levels
}

// off is by how much the trial is too quiet, in LU; over by how much its peaks
// may be too high, in dB.
func (t target) off(x trial) float64  { return t.lufs - x.got.IntegratedLUFS }
func (t target) over(x trial) float64 { return x.got.TruePeakDB + roundedDB - t.ceiling }

func (t target) reached(x trial) bool {
	return x.got == nil || math.Abs(t.off(x)) <= nearLU && t.over(x) <= 0
}

// next is the level to try after two trials. If peaks are held, more gain adds
// less loudness; the two trials show how much less.
func (t target) next(before, now trial) level {
	const least, spare = 0.5, 0.2 // of the gain that arrives; dB
	arrives := 1.0
	by, came := now.gain-before.gain, now.got.IntegratedLUFS-before.got.IntegratedLUFS
	if now.limited && math.Abs(by) > 0.5 && came/by > 0 {
		arrives = min(1, max(least, came/by))
	}
	next := now.level
	next.gain = hundredths(now.gain + t.off(now)/arrives)
	if over := t.over(now); over > 0 {
		if !now.limited {
			next.limited, next.ceiling = true, t.ceiling
		}
		next.ceiling = hundredths(next.ceiling - over - spare)
	}
	return next
}

// missed says how far the MP3 is from the target.
func (t target) missed(got *conversion.Levels) string {
	return fmt.Sprintf("The MP3 has %.1f LUFS with peaks at %.1f dBTP. %.1f LUFS with peaks below %.1f dBTP could not be reached.",
		got.IntegratedLUFS, got.TruePeakDB, t.lufs, t.ceiling)
}

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }
