package media_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
)

// Waves for mediatest.Audio.
const (
	hiss   = "0.1*(random(0)*2-1)"
	speech = "0.4*(random(0)*2-1)*(0.5+0.5*sin(2*PI*4*t))*lt(mod(t,3),2.2)*sin(2*PI*180*t)"
	music  = "0.2*(sin(2*PI*220*t)+sin(2*PI*277*t)+sin(2*PI*330*t))*exp(-2*mod(t,0.5))+0.15*sin(2*PI*55*t)"
	clicks = "0.04*(random(0)*2-1)+0.95*sin(2*PI*3000*t)*lt(mod(t,0.7),0.002)"
	drums  = "0.9*sin(2*PI*80*t)*exp(-20*mod(t,0.4))+0.3*(random(0)*2-1)*exp(-40*mod(t+0.2,0.4))"
)

// loudSources are as different as what people upload.
var loudSources = []struct {
	name, wave string
	rate       int
	seconds    float64
	options    conversion.Options
	lufs, peak float64  // target and ceiling; -16 and -1 where 0
	limited    bool     // cannot be reached by gain alone
	pure       bool     // the encoder loses nothing of it
	args       []string // of the source's encoding
}{
	{name: "hiss", wave: hiss},
	{name: "quiet", wave: "0.002*(random(0)*2-1)"},
	{name: "very quiet", wave: "0.0008*sin(2*PI*1000*t)", lufs: -23, pure: true},
	{name: "loud", wave: "1.6*(random(0)-0.5)"},
	{name: "square, at the limit", wave: "if(lt(mod(t*300,1),0.5),0.999,-0.999)|if(lt(mod(t*200,1),0.5),0.999,-0.999)"},
	{name: "tone", wave: "0.1*sin(2*PI*1000*t)", pure: true},
	{name: "clicks", wave: clicks, lufs: -20, limited: true},
	{name: "speech", wave: speech, options: conversion.Options{BitrateKbps: 64, Channels: 1}},
	{name: "music", wave: music + "|" + music, pure: true},
	{name: "music, very loud", wave: music, lufs: -9, limited: true},
	{name: "drums", wave: drums + "|" + drums, lufs: -14, limited: true},
	{name: "drums, low bit rate", wave: drums, options: conversion.Options{BitrateKbps: 32}, limited: true},
	{name: "loud after quiet", wave: hiss + "*if(lt(t,2),0.05,3)"},
	{name: "left alone", wave: speech + "|0"},
	{name: "bass", wave: "0.3*sin(2*PI*50*t)", pure: true},
	{name: "treble", wave: "0.05*sin(2*PI*9000*t)+0.05*sin(2*PI*12345*t)"},
	{name: "5.1", wave: hiss + "|" + music + "|" + speech + "|0.5*sin(2*PI*40*t)|" + hiss + "|" + hiss, args: []string{"-c:a", "ac3", "-b:a", "448k"}},
	{name: "5.1 to mono", wave: hiss + "|" + music + "|" + speech + "|0|" + hiss + "|" + hiss, options: conversion.Options{Channels: 1}},
	{name: "8 kHz", wave: speech, rate: 8000},
	{name: "22 kHz, constant bit rate", wave: music, rate: 22050, options: conversion.Options{BitrateKbps: 48}, lufs: -18, peak: -2},
	{name: "96 kHz", wave: music + "|" + hiss, rate: 96000},
	{name: "half a second", wave: music, seconds: 0.5},
	{name: "trimmed", wave: music + "*if(lt(t,2),0.01,1)", options: conversion.Options{Start: 2.5, End: 3.6}},
	{name: "broadcast", wave: music + "|" + speech, options: conversion.Options{VBRQuality: new(9)}, lufs: -23, peak: -3},
}

// TestLoudness: the MP3 measured again is as loud as it was asked for, and no
// peak is above the ceiling.
func TestLoudness(t *testing.T) {
	for _, s := range loudSources {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			rate, seconds := max(s.rate, 8000), s.seconds
			if s.rate == 0 {
				rate = 44100
			}
			if seconds == 0 {
				seconds = 4
			}
			path := filepath.Join(t.TempDir(), "in.mkv")
			args := s.args
			if args == nil {
				args = []string{"-c:a", "pcm_s16le"}
			}
			mediatest.Audio(t, path, s.wave, rate, int(seconds*float64(rate)), args...)
			want, ceiling := s.lufs, s.peak
			if want == 0 {
				want = -16
			}
			if ceiling == 0 {
				ceiling = -1
			}
			s.options.Loudness = &conversion.Loudness{TargetLUFS: want, TruePeakDB: &ceiling}
			e, target, err := convert(t, path, s.options)
			if err != nil {
				t.Fatal(err)
			}
			lufs, peak := mediatest.Loudness(t, target)
			t.Logf("%.1f LUFS, %.1f dBTP, gain %.2f dB, %s", lufs, peak, e.MP3.GainDB, codes(e.MP3.Notes))
			if math.Abs(lufs-want) > 0.5 || peak > ceiling {
				t.Errorf("%.1f LUFS, %.1f dBTP; want %.1f below %.1f", lufs, peak, want, ceiling)
			}
			if l := e.MP3.Loudness; l == nil || math.Abs(l.IntegratedLUFS-lufs) > 0.1 || math.Abs(l.TruePeakDB-peak) > 0.1 {
				t.Errorf("recorded as %+v", l)
			}
			if s.pure {
				if was, _ := mediatest.Loudness(t, path); math.Abs(lufs-was-e.MP3.GainDB) > 0.2 {
					t.Errorf("%.1f LUFS before, gain recorded as %.2f dB", was, e.MP3.GainDB)
				}
			}
			if s.limited != slices.Contains(codes(e.MP3.Notes), conversion.NoteLimited) {
				t.Errorf("notes: %v", e.MP3.Notes)
			}
		})
	}
}

func codes(notes []conversion.Note) []conversion.NoteCode {
	var c []conversion.NoteCode
	for _, n := range notes {
		c = append(c, n.Code)
	}
	return c
}

// TestLoudnessMissed: if a loudness cannot be reached, the result says so, and
// the ceiling is kept all the same.
func TestLoudnessMissed(t *testing.T) {
	dir := t.TempDir()
	ceiling := -9.0
	for name, wave := range map[string]string{"clicks.wav": clicks, "silence.wav": "0*t", "short.wav": music} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			samples := 2 * 44100
			if name == "short.wav" {
				samples = 13230
			}
			path := filepath.Join(dir, name)
			mediatest.Audio(t, path, wave, 44100, samples)
			e, target, err := convert(t, path, conversion.Options{Loudness: &conversion.Loudness{TargetLUFS: -8, TruePeakDB: &ceiling}})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(codes(e.MP3.Notes), conversion.NoteLoudnessOff) {
				t.Errorf("notes: %v", e.MP3.Notes)
			}
			if name == "clicks.wav" {
				if _, peak := mediatest.Loudness(t, target); peak > ceiling {
					t.Errorf("peaks at %.1f dBTP", peak)
				}
			}
			if (e.MP3.Loudness == nil) != (name != "clicks.wav") || e.MP3.Loudness == nil && e.MP3.GainDB != 0 {
				t.Errorf("loudness %+v, gain %v", e.MP3.Loudness, e.MP3.GainDB)
			}
		})
	}
}

// TestLevels: every result says how loud the MP3 is, whether or not anybody
// asked.
func TestLevels(t *testing.T) {
	for name, args := range map[string][]string{"plain.wav": {"-ac", "2"}, "5.1.ac3": {"-ac", "6"}, "tone.m4a": {"-c:a", "aac"}} {
		path := filepath.Join(t.TempDir(), name)
		mediatest.Audio(t, path, music, 44100, 5*44100, args...)
		e, target, err := convert(t, path, conversion.Options{})
		if err != nil {
			t.Fatal(err)
		}
		lufs, truePeak := mediatest.Loudness(t, target)
		l := e.MP3.Loudness
		if l == nil || math.Abs(l.IntegratedLUFS-lufs) > 0.3 || math.Abs(l.PeakDB-truePeak) > 1 || l.TruePeakDB != 0 || e.MP3.GainDB != 0 {
			t.Errorf("%s: recorded as %+v; %.1f LUFS, %.1f dBTP", name, l, lufs, truePeak)
		}
	}
}
