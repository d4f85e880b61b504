package media

import (
	"slices"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mp3"
)

// Limits of what is decoded at all. Beyond them are no recordings but bombs: a
// megabyte of WAV at 1 Hz is six days of sound.
const (
	minSampleRate = 8000
	maxSampleRate = 192000
	maxChannels   = 8
)

// plan is how one track becomes an MP3.
type plan struct {
	index    int // of the track among the sound tracks
	track    Track
	rate     int // Hz
	channels int
	kbps     int // constant bit rate, or 0
	quality  int // VBR quality where kbps is 0
}

// newPlan chooses the track and what MP3 can hold of it.
func newPlan(info Info, o conversion.Options) (plan, error) {
	if err := o.Validate(); err != nil {
		return plan{}, refuse(conversion.CodeInvalidOptions, "The options are not valid: %v.", err)
	}
	i, err := chooseTrack(info.Tracks, o.Track)
	if err != nil {
		return plan{}, err
	}
	p := plan{index: i, track: info.Tracks[i], kbps: o.BitrateKbps, quality: conversion.DefaultVBRQuality}
	t := p.track
	switch {
	case t.encrypted:
		return plan{}, refuse(conversion.CodeUnsupportedCodec, "The sound track is encrypted (copy protection).")
	case decoders[t.Codec] == "":
		return plan{}, refuse(conversion.CodeUnsupportedCodec, "The sound track is coded as %q, which is not supported.", t.Codec)
	case t.SampleRate == 0:
		return plan{}, refuse(conversion.CodeDamaged, "Nothing of the sound track (%s) can be decoded.", t.Codec)
	case t.SampleRate < minSampleRate || t.SampleRate > maxSampleRate:
		return plan{}, refuse(conversion.CodeLimitExceeded, "The sound track's sample rate is %d Hz; it has to be within %d and %d Hz.", t.SampleRate, minSampleRate, maxSampleRate)
	case t.Channels == 0 || t.Channels > maxChannels:
		return plan{}, refuse(conversion.CodeLimitExceeded, "The sound track has more than %d channels.", maxChannels)
	}
	if o.VBRQuality != nil {
		p.quality = *o.VBRQuality
	}
	p.channels = min(t.Channels, 2)
	if o.Channels != 0 {
		p.channels = o.Channels
	}
	p.rate = o.SampleRateHz
	if p.rate == 0 {
		p.rate = mp3Rate(t.SampleRate)
	}
	if p.kbps == 0 || mp3.Fits(p.kbps, p.rate) {
		return p, nil
	}
	if o.SampleRateHz == 0 {
		for _, rate := range []int{p.rate / 2, p.rate / 4, p.rate * 2, p.rate * 4} {
			if slices.Contains(conversion.SampleRates, rate) && mp3.Fits(p.kbps, rate) {
				p.rate = rate
				return p, nil
			}
		}
	}
	return plan{}, refuse(conversion.CodeInvalidOptions, "MP3 has no %d kbit/s at %d Hz.", p.kbps, p.rate)
}

// Choose returns the index among Tracks that the options ask for.
func (i Info) Choose(o conversion.Options) (int, error) {
	return chooseTrack(i.Tracks, o.Track)
}

// chooseTrack returns the index of the track that the option names: by index,
// by language, or the container's default.
func chooseTrack(tracks []Track, want string) (int, error) {
	if want == "" {
		return max(0, slices.IndexFunc(tracks, func(t Track) bool { return t.Default })), nil
	}
	if n, err := strconv.Atoi(want); err == nil {
		if n >= len(tracks) {
			return 0, refuse(conversion.CodeTrackNotFound, "There is no sound track %d; the video has %d, counted from 0.", n, len(tracks))
		}
		return n, nil
	}
	i := slices.IndexFunc(tracks, func(t Track) bool { return sameLanguage(t.Language, want) })
	if i < 0 {
		return 0, refuse(conversion.CodeTrackNotFound, "There is no sound track in the language %q.", want)
	}
	return i, nil
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

// sameLanguage compares tags of two or three letters (ISO 639-1, 639-2 in both
// its forms).
func sameLanguage(a, b string) bool {
	return a != "" && canonical(a) == canonical(b)
}

func canonical(tag string) string {
	tag, _, _ = strings.Cut(strings.ToLower(tag), "-") // en-US
	for _, names := range languages {
		if slices.Contains(names, tag) {
			return names[0]
		}
	}
	return tag
}

// languages lists codes of the same language. Where a code is missing here it
// has to be given as the container has it.
var languages = [][]string{
	{"ar", "ara"}, {"bg", "bul"}, {"bn", "ben"}, {"ca", "cat"}, {"cs", "ces", "cze"}, {"cy", "cym", "wel"},
	{"da", "dan"}, {"de", "deu", "ger"}, {"el", "ell", "gre"}, {"en", "eng"}, {"es", "spa"}, {"et", "est"},
	{"eu", "eus", "baq"}, {"fa", "fas", "per"}, {"fi", "fin"}, {"fr", "fra", "fre"}, {"ga", "gle"}, {"gl", "glg"},
	{"he", "heb"}, {"hi", "hin"}, {"hr", "hrv"}, {"hu", "hun"}, {"hy", "hye", "arm"}, {"id", "ind"},
	{"is", "isl", "ice"}, {"it", "ita"}, {"ja", "jpn"}, {"ka", "kat", "geo"}, {"ko", "kor"}, {"lt", "lit"},
	{"lv", "lav"}, {"mk", "mkd", "mac"}, {"ms", "msa", "may"}, {"nb", "nob"}, {"nl", "nld", "dut"}, {"nn", "nno"},
	{"no", "nor"}, {"pl", "pol"}, {"pt", "por"}, {"ro", "ron", "rum"}, {"ru", "rus"}, {"sk", "slk", "slo"},
	{"sl", "slv"}, {"sq", "sqi", "alb"}, {"sr", "srp"}, {"sv", "swe"}, {"ta", "tam"}, {"te", "tel"}, {"th", "tha"},
	{"tr", "tur"}, {"uk", "ukr"}, {"ur", "urd"}, {"vi", "vie"}, {"zh", "zho", "chi"},
}
