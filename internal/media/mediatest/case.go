package mediatest

import (
	"math"
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

// Case is one input with what is right for it.
type Case struct {
	Name  string   // base name of the file
	About string   // what is special about it, and who makes such files
	From  []string // where it is said what is right: a specification's section, a public report
	// ByVersion means that ffmpeg's version decides which of two outcomes is right.
	ByVersion bool
	// Make writes the input. It may complete want, where only the making shows
	// what is right, such as a number of frames.
	Make  func(t testing.TB, path string, want *Want)
	Want  Want // without options
	Tries []Try
	Also  Also
}

// Also says with which options a case is tried besides. What is right then
// follows from what is right without options.
type Also int

// Options that a case is tried with.
const (
	AlsoTrim     Also = 1 << iota // from 30 % to 70 % of the sound
	AlsoLoudness                  // -16 LUFS
	AlsoChannels                  // one channel, and two
	AlsoChapters                  // none, although the source has them
	AlsoAll      = AlsoTrim | AlsoLoudness | AlsoChannels
)

// Try is a conversion with options.
type Try struct {
	Options conversion.Options
	Want    Want
}

// Want is what is right for a conversion.
type Want struct {
	Code conversion.Code // of the refusal; '' for an MP3
	// Or is another outcome that is right, where nothing says which one is
	// better.
	Or   *Want
	Says []string // parts of the refusal's message

	Samples  int     // that a decoder plays, exactly; 0 where only Seconds are known
	Seconds  float64 // that a decoder plays; 0 where it is not known
	Within   float64 // seconds that the length may differ from Seconds; DefaultWithin where 0
	At       float64 // where the sound begins on a player's clock, seconds
	Lasts    float64 // the source's duration in the record; Seconds where 0, not judged where negative
	Rate     int     // Hz; 0 where it does not matter
	Channels int     // 0 where they do not matter
	// Sound is what is heard, by channel. One channel stands for all of them.
	Sound [][]Part
	Noise float64 // share of the power beside the tone, DefaultNoise where 0

	trimmed   bool // only a part of the source is wanted
	Unchecked bool // the source promises no length
	Either    bool // LengthChecked may be true or false

	LUFS     float64 // of the whole, 0 where it does not matter
	Tags     conversion.Tags
	NoTitle  bool      // Tags does not say which title is right
	Chapters []Chapter // all of them; nil where they are not judged
	NoChaps  bool      // there must be none
	Notes    []conversion.NoteCode
	NoNotes  []conversion.NoteCode // that must be missing
	Silent   []string              // texts that must not be in the MP3
}

// Defaults of Want.
const (
	DefaultWithin = 0.05
	DefaultNoise  = 0.25
)

// Part is a stretch of sound.
type Part struct {
	Seconds float64
	Hz      float64 // of its tone; 0 for silence, Anything for what is not judged
	Level   float64 // peak of the tone, 1 for full scale; 0 where it does not matter
}

// Anything is a sound that is not judged.
const Anything = -1

// Chapter begins at some second.
type Chapter struct {
	At    float64
	Title string
}

// Steady is one tone of some seconds in all channels.
func Steady(seconds, hz float64) Want {
	return Want{Seconds: seconds, Sound: [][]Part{{{Seconds: seconds, Hz: hz}}}}
}

// In is what is right where all channels have the same parts.
func In(parts ...Part) Want {
	var w Want
	for _, p := range parts {
		w.Seconds += p.Seconds
	}
	w.Sound = [][]Part{parts}
	return w
}

// Refused is a refusal.
func Refused(code conversion.Code, says ...string) Want { return Want{Code: code, Says: says} }

// AllTries are the conversions that the case is tried with.
func (c Case) AllTries() []Try {
	tries := append([]Try{{Want: c.Want}}, c.Tries...)
	if c.Want.Code != "" || c.Want.Seconds == 0 {
		return tries
	}
	w := c.Want
	w.Notes = slices.DeleteFunc(slices.Clone(w.Notes), func(n conversion.NoteCode) bool { return n == conversion.NoteCopied }) // each needs an encoder
	if c.Also&AlsoTrim != 0 {
		milli := func(s float64) float64 { return math.Round(s*1000) / 1000 }
		start, end := milli(w.At+0.3*w.Seconds), milli(w.At+0.7*w.Seconds)
		tries = append(tries, Try{conversion.Options{Start: start, End: end}, w.Trimmed(start, end)})
	}
	if c.Also&AlsoLoudness != 0 {
		tries = append(tries, Try{conversion.Options{Loudness: &conversion.Loudness{TargetLUFS: -16}}, w.levelled(-16)})
	}
	if c.Also&AlsoChannels != 0 {
		for n := 1; n <= 2; n++ {
			v := w
			v.Channels, v.Sound = n, w.Sound[:min(1, len(w.Sound))]
			tries = append(tries, Try{conversion.Options{Channels: n}, v})
		}
	}
	if c.Also&AlsoChapters != 0 {
		v := w
		v.Chapters, v.NoChaps = nil, true
		tries = append(tries, Try{conversion.Options{Chapters: conversion.ChaptersDrop}, v})
	}
	return tries
}

// Trimmed is what is right from start to end, both on a player's clock: as many
// samples as there are between them.
func (w Want) Trimmed(start, end float64) Want {
	from, to := max(0, start-w.At), min(w.Seconds, end-w.At)
	w.Seconds, w.At, w.Samples = to-from, max(0, w.At-start), 0
	w.trimmed = true
	w.Within = math.SmallestNonzeroFloat64 // to the sample, see Judge
	w.Sound = slices.Clone(w.Sound)
	for c, parts := range w.Sound {
		w.Sound[c] = between(parts, from, to)
	}
	if w.Chapters != nil {
		w.Chapters = slices.Clone(w.Chapters)
		var kept []Chapter
		for i, ch := range w.Chapters {
			last := i == len(w.Chapters)-1
			if ch.At < end && (last || w.Chapters[i+1].At > start) {
				kept = append(kept, Chapter{max(0, ch.At-start), ch.Title})
			}
		}
		w.Chapters = kept
	}
	return w
}

func between(parts []Part, from, to float64) []Part {
	var kept []Part
	at := 0.0
	for _, p := range parts {
		a, b := max(at, from), min(at+p.Seconds, to)
		if at += p.Seconds; b > a {
			if b-a < p.Seconds && b-a < 3*margin { // the coder's own delay may be as long
				p.Hz = Anything
			}
			p.Seconds = b - a
			kept = append(kept, p)
		}
	}
	return kept
}

// levelled is what is right if a loudness was asked for.
func (w Want) levelled(lufs float64) Want {
	w.LUFS = lufs
	w.Sound = slices.Clone(w.Sound)
	for c, parts := range w.Sound {
		w.Sound[c] = slices.Clone(parts)
		for i := range parts {
			w.Sound[c][i].Level = 0
		}
	}
	return w
}
