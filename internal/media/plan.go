package media

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"tonearm/internal/conversion"
	"tonearm/internal/media/unfit"
)

// Limits of what is decoded at all. A source beyond them is no recording but a
// bomb: a megabyte of WAV at 1 Hz is six days of audio.
const (
	minSampleRate = 8000
	maxSampleRate = 192000
	maxChannels   = 8
)

// excess is the multiple of the source's bit rate above which an MP3 gets
// larger, not better.
const excess = 2

// plan is how one track becomes an MP3.
type plan struct {
	index    int // of the track among the audio tracks
	track    Track
	clock    float64 // seconds on ffmpeg's clock where a player's begins
	start    float64 // seconds on a player's clock: where the wanted audio begins
	end      float64 // and where it ends; 0 for no end
	rate     int     // Hz
	channels int
	kbps     int // constant bit rate, or 0
	quality  int // VBR quality where kbps is 0
	alone    bool
	notes    []conversion.Note
}

// streamSpecifier names the track to ffmpeg.
func (p plan) streamSpecifier() string {
	if p.alone {
		return "0:a:0"
	}
	return "0:a:" + strconv.Itoa(p.index)
}

// newPlan chooses the track and what MP3 can hold of it.
func newPlan(info Info, o conversion.Options) (plan, error) {
	if err := o.Validate(); err != nil {
		return plan{}, unfit.New(conversion.CodeInvalidOptions, "The options are not valid: %v.", err)
	}
	i, err := ChooseTrack(info.Tracks, o.Track)
	if err != nil {
		return plan{}, err
	}
	p := plan{
		index: i, track: info.Tracks[i], alone: info.single, clock: max(0, -info.Start), start: o.Start, end: o.End,
		kbps: o.BitrateKbps, quality: conversion.DefaultVBRQuality,
	}
	if o.VBRQuality != nil {
		p.quality = *o.VBRQuality
	}
	if err := p.track.decodable(); err != nil {
		return plan{}, err
	}
	if err := p.withinTrack(); err != nil {
		return plan{}, err
	}
	p.chooseChannels(o.Channels)
	p.chooseRate(o.SampleRateHz)
	if err := p.chooseBitrate(o.SampleRateHz); err != nil {
		return plan{}, err
	}
	return p, nil
}

func (p *plan) note(code conversion.NoteCode, format string, a ...any) {
	p.notes = append(p.notes, conversion.Note{Code: code, Message: fmt.Sprintf(format, a...)})
}

// decodable refuses tracks that cannot or must not be decoded.
func (t Track) decodable() error {
	switch {
	case t.encrypted:
		return unfit.New(conversion.CodeUnsupportedCodec, "The sound track is copy-protected (encrypted).")
	case decoders[t.Codec] == "":
		return unfit.New(conversion.CodeUnsupportedCodec, "The sound track is in the format %q, which Tonearm cannot convert.", t.Codec)
	case t.SampleRate == 0:
		return undecodable(t.Codec)
	case t.SampleRate < minSampleRate || t.SampleRate > maxSampleRate:
		return unfit.New(conversion.CodeLimitExceeded, "The sound track's sample rate is %d Hz. It must be between %d and %d Hz.", t.SampleRate, minSampleRate, maxSampleRate)
	case t.Channels == 0 || t.Channels > maxChannels:
		return unfit.New(conversion.CodeLimitExceeded, "The sound track has more than %d channels, which is the limit.", maxChannels)
	}
	return nil
}

// withinTrack refuses a trim that leaves nothing, as far as the source's own
// length shows it.
func (p plan) withinTrack() error {
	t := p.track
	switch {
	case t.Seconds == 0 || p.promised() > 0:
		return nil
	case p.start >= t.Start+t.Seconds:
		return p.beyondEnd(t.Start + t.Seconds)
	}
	return unfit.New(conversion.CodeInvalidOptions, "There is no sound between %s and %s. The sound begins at %s.", exact(p.start), exact(p.end), exact(t.Start))
}

// beyondEnd refuses a start that lies behind the track's end.
func (p plan) beyondEnd(end float64) error {
	return unfit.New(conversion.CodeStartBeyondEnd, "The sound ends after %s. The start that you asked for is later, at %s.", exact(end), exact(p.start))
}

// promised is how many seconds of audio the source promises within the trim; 0
// where it promises nothing.
func (p plan) promised() float64 {
	if p.track.Seconds == 0 {
		return 0
	}
	from, to := max(p.start, p.track.Start), p.track.Start+p.track.Seconds
	if p.end > 0 {
		to = min(to, p.end)
	}
	return max(0, to-from)
}

func (p plan) untrimmed() bool { return p.start == 0 && p.end == 0 }

// until is where the trim ends, far away where it is open, 0 where there is
// none.
func (p plan) until() float64 {
	if p.untrimmed() || p.end > 0 {
		return p.end
	}
	return math.MaxFloat64
}

// samples returns how many samples the MP3 ought to have, -1 if the source does
// not say that exactly.
func (p plan) samples() int64 {
	if !p.track.Exact {
		return -1
	}
	rate := float64(p.track.SampleRate)
	from := math.Round(max(0, p.start-p.track.Start) * rate)
	to := math.Round(p.track.Seconds * rate)
	if p.end > 0 {
		to = min(to, math.Round((p.end-p.track.Start)*rate))
	}
	return int64(math.Round((to - from) * float64(p.rate) / rate))
}

// Length returns how many seconds of audio the options ask for, 0 if the source
// does not say.
func (i Info) Length(o conversion.Options) (float64, error) {
	p, err := newPlan(i, o)
	return p.promised(), err
}

// ChooseTrack returns the index of the track that the option names: by index,
// by language, or the container's default. The error is an *Error.
func ChooseTrack(tracks []Track, want string) (int, error) {
	if want == "" {
		return max(0, slices.IndexFunc(tracks, func(t Track) bool { return t.Default })), nil
	}
	if n, err := strconv.Atoi(want); err == nil {
		if n >= len(tracks) {
			return 0, unfit.New(conversion.CodeTrackNotFound, "There is no sound track %d. The sound tracks of this video are numbered 0 to %d.", n, len(tracks)-1)
		}
		return n, nil
	}
	i := slices.IndexFunc(tracks, func(t Track) bool { return sameLanguage(t.Language, want) })
	if i < 0 {
		return 0, unfit.New(conversion.CodeTrackNotFound, "There is no sound track in the language %q.", want)
	}
	return i, nil
}

func (p *plan) chooseChannels(asked int) {
	if p.channels = min(p.track.Channels, 2); asked != 0 {
		p.channels = asked
	}
	if p.track.Channels > 2 {
		p.note(conversion.NoteDownmixed, "Mixed down from %d channels to %s.", p.track.Channels, layouts[p.channels])
	}
}

// chooseRate keeps the source's rate, if MP3 has it and the options ask for no
// lower one. A higher rate would gain nothing.
func (p *plan) chooseRate(asked int) {
	source := p.track.SampleRate
	p.rate = mp3Rate(source)
	switch {
	case asked != 0 && asked <= max(source, p.rate):
		p.rate = asked
	case asked != 0:
		p.note(conversion.NoteRateChanged, "The source has %d Hz. A rate of %d Hz would not sound better, so the MP3 has %d Hz.", source, asked, p.rate)
	case p.rate != source:
		p.note(conversion.NoteRateChanged, "MP3 has no sample rate of %d Hz, so the sound was resampled to %d Hz.", source, p.rate)
	}
}

// chooseBitrate makes bit rate and sample rate fit together, because MP3 does
// not have all pairs. A low bit rate lowers the sample rate; a bit rate that is
// too high is lowered. A sample rate from the options stays.
func (p *plan) chooseBitrate(askedRate int) error {
	if p.kbps == 0 {
		return nil
	}
	if source := p.track.kbps; p.track.lossy() && source > 0 && p.kbps > excess*source {
		p.note(conversion.NoteBitrateExcess, "The source has %d kbit/s. With %d kbit/s the MP3 is larger, but not better.", source, p.kbps)
	}
	if conversion.BitrateFits(p.kbps, p.rate) {
		return nil
	}
	if p.rate == askedRate {
		return p.noPair()
	}
	for _, rate := range []int{p.rate / 2, p.rate / 4} {
		if slices.Contains(conversion.SampleRates, rate) && conversion.BitrateFits(p.kbps, rate) {
			p.note(conversion.NoteRateChanged, "MP3 has no %d kbit/s at %d Hz, so the sound was resampled to %d Hz.", p.kbps, p.rate, rate)
			p.rate = rate
			return nil
		}
	}
	for _, kbps := range slices.Backward(conversion.Bitrates) {
		if kbps < p.kbps && conversion.BitrateFits(kbps, p.rate) {
			p.note(conversion.NoteBitrateExcess, "MP3 has at most %d kbit/s at %d Hz, and a higher sample rate would not sound better.", kbps, p.rate)
			p.kbps = kbps
			return nil
		}
	}
	return p.noPair()
}

func (p plan) noPair() *Error {
	return unfit.New(conversion.CodeInvalidOptions, "MP3 has no %d kbit/s at %d Hz.", p.kbps, p.rate)
}

// mp3Rate is the rate itself where MP3 has it. Higher ones go down to the
// highest of the same family, odd ones up to the next, so that nothing audible
// is lost.
func mp3Rate(rate int) int {
	if rate > 48000 {
		if rate%11025 == 0 {
			return 44100
		}
		return 48000
	}
	for _, r := range conversion.SampleRates { // ascending
		if r >= rate {
			return r
		}
	}
	return 48000
}
