// Package plan decides what becomes of a source: which of its tracks, and what MP3
// can hold of it. It runs nothing.
package plan

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/track"
	"tonearm/internal/media/unfit"
)

// Limits of what is decoded at all. A source beyond them is no recording but a
// bomb: a megabyte of WAV at 1 Hz is six days of audio.
const (
	minSampleRate = 8000
	maxSampleRate = 192000
	MaxChannels   = 8
)

// excess is the multiple of the source's bit rate above which an MP3 gets
// larger, not better.
const excess = 2

// Plan is how one track becomes an MP3.
type Plan struct {
	Index    int // of the track among the audio tracks
	Track    probe.Track
	Clock    float64 // seconds on ffmpeg's clock where a player's begins
	Start    float64 // seconds on a player's clock: where the wanted audio begins
	End      float64 // and where it ends; 0 for no end
	Rate     int     // Hz
	Channels int
	Kbps     int // constant bit rate, or 0
	Quality  int // VBR quality where kbps is 0
	alone    bool
	Notes    []conversion.Note
}

// layouts are ffmpeg's names for what an MP3 can hold.
var layouts = map[int]string{1: "mono", 2: "stereo"}

// Layout is ffmpeg's name for the MP3's channels.
func (p Plan) Layout() string { return layouts[p.Channels] }

// Stream names the track to ffmpeg.
func (p Plan) Stream() string {
	if p.alone {
		return "0:a:0"
	}
	return "0:a:" + strconv.Itoa(p.Index)
}

// Alone is the plan for a file of the track alone, which begins with it.
func (p Plan) Alone() Plan {
	p.alone, p.Clock = true, 0
	return p
}

// New chooses the track and what MP3 can hold of it.
func New(info probe.Info, o conversion.Options) (Plan, error) {
	if err := o.Validate(); err != nil {
		return Plan{}, unfit.New(conversion.CodeInvalidOptions, "The options are not valid: %v.", err)
	}
	i, err := ChooseTrack(info.Tracks, o.Track)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{
		Index: i, Track: info.Tracks[i], alone: info.Single, Clock: clock(info), Start: o.Start, End: o.End,
		Kbps: o.BitrateKbps, Quality: conversion.DefaultVBRQuality,
	}
	if o.VBRQuality != nil {
		p.Quality = *o.VBRQuality
	}
	if err := decodable(p.Track); err != nil {
		return Plan{}, err
	}
	if err := p.withinTrack(); err != nil {
		return Plan{}, err
	}
	p.chooseChannels(o.Channels)
	p.chooseRate(o.SampleRateHz)
	if err := p.chooseBitrate(o.SampleRateHz); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// clock returns where a player's clock begins on ffmpeg's, in seconds. A negative
// start is an encoder's delay, which is played before zero. In MPEG streams it is
// a clock that went back to zero in the middle: they have no other zero than their
// first time stamp (ISO/IEC 13818-1, 2.4.3.7: 33 bits).
func clock(info probe.Info) float64 {
	switch info.Container {
	case "mpegts", "mpeg", "wtv":
		return 0
	}
	return max(0, -info.Start)
}

func (p *Plan) note(code conversion.NoteCode, format string, a ...any) {
	p.Notes = append(p.Notes, conversion.Note{Code: code, Message: fmt.Sprintf(format, a...)})
}

// decodable refuses tracks that cannot or must not be decoded.
func decodable(t probe.Track) error {
	switch {
	case t.Encrypted:
		return unfit.Encrypted()
	case ffmpeg.Decoders[t.Codec] == "":
		return unfit.New(conversion.CodeUnsupportedCodec, "The sound track is in the format %q, which Tonearm cannot convert.", t.Codec)
	case t.SampleRate == 0:
		return unfit.Undecodable(t.Codec)
	case t.Skip < 0 && t.Pieces == nil:
		return unfit.New(conversion.CodeUnsupportedCodec, "The file's edit list plays the sound backward, or in pieces that Tonearm cannot play. Export the video from an editor, and upload that.")
	}
	return WithinLimits(t.SampleRate, t.Channels)
}

// WithinLimits refuses sound with a sample rate or channels that are not decoded.
func WithinLimits(rate, channels int) error {
	switch {
	case rate < minSampleRate || rate > maxSampleRate:
		return unfit.New(conversion.CodeLimitExceeded, "The sound track's sample rate is %d Hz. It must be between %d and %d Hz.", rate, minSampleRate, maxSampleRate)
	case channels == 0 || channels > MaxChannels:
		return unfit.New(conversion.CodeLimitExceeded, "The sound track has more than %d channels, which is the limit.", MaxChannels)
	}
	return nil
}

// withinTrack refuses a trim that leaves nothing, as far as the track's own time
// table shows it. Elsewhere only the sound itself can show it.
func (p Plan) withinTrack() error {
	t := p.Track
	switch {
	case !t.Exact || t.Seconds == 0 || p.Promised() > 0:
		return nil
	case p.Start >= t.End():
		return p.BeyondEnd(t.End())
	}
	begins := ""
	if p.End <= t.Start {
		begins = " The sound begins at " + unfit.Exact(t.Start) + "."
	}
	return unfit.New(conversion.CodeInvalidOptions, "There is no sound between %s and %s.%s", unfit.Exact(p.Start), unfit.Exact(p.End), begins)
}

// BeyondEnd refuses a start that lies behind the track's end.
func (p Plan) BeyondEnd(end float64) error {
	return unfit.New(conversion.CodeStartBeyondEnd, "The sound ends after %s. The start that you asked for is later, at %s.", unfit.Exact(end), unfit.Exact(p.Start))
}

// Promised is how many seconds of audio the source promises within the trim; 0
// where it promises nothing.
func (p Plan) Promised() float64 {
	if p.Track.Seconds == 0 {
		return 0
	}
	if p.Track.Pieces != nil {
		seconds := 0.0
		for _, piece := range p.Track.Pieces {
			seconds += p.within(piece.At, piece.At+piece.Seconds())
		}
		return seconds
	}
	return p.within(p.Track.Start, p.Track.End())
}

// within is how much of the time from one moment to another is wanted, in seconds.
func (p Plan) within(from, to float64) float64 {
	if p.End > 0 {
		to = min(to, p.End)
	}
	return max(0, to-max(p.Start, from))
}

// Untrimmed reports that all of the track is wanted.
func (p Plan) Untrimmed() bool { return p.Start == 0 && p.End == 0 }

// Whole reports that ffmpeg plays just what is wanted of the track.
func (p Plan) Whole() bool { return p.Untrimmed() && !p.Track.Early }

// Until is where the trim ends, far away where it is open, 0 where there is
// none.
func (p Plan) Until() float64 {
	if p.Untrimmed() || p.End > 0 {
		return p.End
	}
	return math.MaxFloat64
}

// Samples returns how many samples the MP3 ought to have, -1 if the source does
// not say that exactly.
func (p Plan) Samples() int64 {
	if !p.Track.Exact || p.Track.Loose {
		return -1
	}
	if p.Track.Pieces != nil {
		return int64(math.Round(p.Promised() * float64(p.Rate)))
	}
	rate := float64(p.Track.SampleRate)
	from := math.Round(max(0, p.Start-p.Track.Start) * rate)
	to := math.Round(p.Track.Seconds * rate)
	if p.End > 0 {
		to = min(to, math.Round((p.End-p.Track.Start)*rate))
	}
	return int64(math.Round((to - from) * float64(p.Rate) / rate))
}

// Likely returns how many samples the MP3 has if the source keeps its promise and
// plays through the trim; -1 if nothing says that.
func (p Plan) Likely() int64 {
	if p.Track.Pieces != nil {
		return p.Samples()
	}
	t, rate := p.Track, float64(p.Track.SampleRate)
	to := p.End
	if own := t.Start + t.Seconds; t.Own && (to == 0 || to > own) {
		to = own
	}
	if to == 0 || rate == 0 {
		return -1
	}
	n := math.Round(to*rate) - math.Round(max(p.Start, t.Start)*rate)
	return int64(math.Round(n * float64(p.Rate) / rate))
}

// ChooseTrack returns the index of the track that the option names; see
// [track.Choose]. A track without a codec is taken for one that can be decoded. The
// error is an *unfit.Error.
func ChooseTrack(tracks []probe.Track, want string) (int, error) {
	list := make([]track.Track, len(tracks))
	for i, t := range tracks {
		list[i] = track.Track{Language: t.Language, Default: t.Default, Unfit: t.Encrypted || t.Codec != "" && ffmpeg.Decoders[t.Codec] == ""}
	}
	if i := track.Choose(list, want); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(want); err == nil {
		return 0, unfit.New(conversion.CodeTrackNotFound, "There is no sound track %d. The sound tracks of this video are numbered 0 to %d.", n, len(tracks)-1)
	}
	return 0, unfit.New(conversion.CodeTrackNotFound, "There is no sound track in the language %q.", want)
}

func (p *Plan) chooseChannels(asked int) {
	if p.Channels = min(p.Track.Channels, 2); asked != 0 {
		p.Channels = asked
	}
	if p.Track.Channels > 2 {
		p.note(conversion.NoteDownmixed, "Mixed down from %d channels to %s.", p.Track.Channels, p.Layout())
	}
}

// chooseRate keeps the source's rate, if MP3 has it and the options ask for no
// lower one. A higher rate would gain nothing.
func (p *Plan) chooseRate(asked int) {
	source := p.Track.SampleRate
	p.Rate = mp3Rate(source)
	switch {
	case asked != 0 && asked <= max(source, p.Rate):
		p.Rate = asked
	case asked != 0:
		p.note(conversion.NoteRateChanged, "The source has %d Hz. A rate of %d Hz would not sound better, so the MP3 has %d Hz.", source, asked, p.Rate)
	case p.Rate != source:
		p.note(conversion.NoteRateChanged, "MP3 has no sample rate of %d Hz, so the sound was resampled to %d Hz.", source, p.Rate)
	}
}

// chooseBitrate makes bit rate and sample rate fit together, because MP3 does
// not have all pairs. A low bit rate lowers the sample rate; a bit rate that is
// too high is lowered. A sample rate from the options stays.
func (p *Plan) chooseBitrate(askedRate int) error {
	if p.Kbps == 0 {
		return nil
	}
	if source := p.Track.Kbps; lossy(p.Track) && source > 0 && p.Kbps > excess*source {
		p.note(conversion.NoteBitrateExcess, "The source has %d kbit/s. With %d kbit/s the MP3 is larger, but not better.", source, p.Kbps)
	}
	if conversion.BitrateFits(p.Kbps, p.Rate) {
		return nil
	}
	if p.Rate == askedRate {
		return p.noPair()
	}
	for _, rate := range []int{p.Rate / 2, p.Rate / 4} {
		if slices.Contains(conversion.SampleRates, rate) && conversion.BitrateFits(p.Kbps, rate) {
			p.note(conversion.NoteRateChanged, "MP3 has no %d kbit/s at %d Hz, so the sound was resampled to %d Hz.", p.Kbps, p.Rate, rate)
			p.Rate = rate
			return nil
		}
	}
	for _, kbps := range slices.Backward(conversion.Bitrates) {
		if kbps < p.Kbps && conversion.BitrateFits(kbps, p.Rate) {
			p.note(conversion.NoteBitrateExcess, "MP3 has at most %d kbit/s at %d Hz, and a higher sample rate would not sound better.", kbps, p.Rate)
			p.Kbps = kbps
			return nil
		}
	}
	return p.noPair()
}

func (p Plan) noPair() *unfit.Error {
	return unfit.New(conversion.CodeInvalidOptions, "MP3 has no %d kbit/s at %d Hz.", p.Kbps, p.Rate)
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

// lossless are codecs whose bit rate says nothing about what an MP3 needs.
var lossless = []string{"flac", "alac", "wavpack", "tta", "truehd", "mlp", "wmalossless", "s302m"}

// Counted reports that the track counts its samples and a decoder plays exactly
// those.
func (p Plan) Counted() bool { return p.Track.Own && !p.Track.Exact && !lossy(p.Track) }

// lossy reports whether the track has lost something already.
func lossy(t probe.Track) bool {
	return !strings.HasPrefix(t.Codec, "pcm_") && !slices.Contains(lossless, t.Codec)
}
