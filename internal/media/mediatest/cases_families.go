package mediatest

import (
	"path"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// gapless are files that hold an encoder's delay and padding, which a player
// leaves out: exactly the samples that were encoded are heard.
func gapless() (cases []Case) {
	for _, g := range []struct {
		name string
		rate int
		args string
	}{
		{"gapless.mp4", 44100, "-c:a aac -b:a 256k"}, {"gapless.m4a", 48000, "-c:a aac -b:a 256k"}, {"gapless 22050.mov", 22050, "-c:a aac -b:a 128k"},
		{"gapless opus.mp4", 48000, "-c:a libopus -b:a 256k"}, {"gapless opus.webm", 48000, "-c:a libopus -b:a 256k"}, {"gapless opus.mkv", 48000, "-c:a libopus -b:a 256k"},
		{"gapless opus.ogg", 48000, "-c:a libopus -b:a 256k"}, {"gapless vorbis.ogg", 44100, "-c:a libvorbis -b:a 256k"},
		{"gapless flac.mkv", 44100, "-c:a flac"}, {"gapless alac.m4a", 44100, "-c:a alac"}, {"gapless pcm.mov", 48000, "-c:a pcm_s24le"},
		{"gapless lame.mp3", 44100, "-c:a libmp3lame -b:a 320k"}, {"gapless lame.mp4", 44100, "-c:a libmp3lame -b:a 320k"}, {"gapless.wv", 32000, ""},
	} {
		samples := 2*g.rate + 333
		seconds := float64(samples) / float64(g.rate)
		cases = append(cases, Case{
			Name: g.name, About: "the container says how much an encoder added before and behind the sound", From: []string{"made so: the number of samples is known"},
			Make: func(t testing.TB, file string, _ *Want) {
				wav := path.Join(t.TempDir(), "in.wav")
				Audio(t, wav, sine(0.3, 500)+"|"+sine(0.3, 500), g.rate, samples)
				encode(t, file, []string{"-i", wav}, g.args)
			},
			Want:  Want{Samples: samples, Seconds: seconds, Rate: g.rate, Channels: 2, Sound: [][]Part{{{seconds, 500, 0}}}},
			Tries: []Try{{conversion.Options{VBRQuality: new(0)}, Want{Samples: samples, Seconds: seconds}}},
		})
	}
	return append(cases, Case{
		Name: "edited end.mov", About: "a movie cut in an editor keeps the media behind the cut", From: []string{quickTime + ": edit lists"},
		Make: func(t testing.TB, file string, _ *Want) {
			encode(t, file, wave(sine(0.3, 500), 48000, 3, ""), "-c:a aac -b:a 192k")
			ticks := uint32(1500) // the movie's clock ticks in milliseconds
			change(t, file, func(m *movie) {
				elst := m.sound().child("edts", "elst")
				elst.body = put(elst.body, 8, ticks)
			})
		},
		Want: Want{Samples: 72000, Seconds: 1.5, Sound: [][]Part{{{1.5, 500, 0}}}}, Also: AlsoTrim,
	})
}

// texted are files with every tag that an MP3 repeats, and with texts that it
// must not tell.
func texted() (cases []Case) {
	const leaky = "-map_metadata -1 -metadata location=+48.1+11.5/ -metadata location-eng=+48.1+11.5/ " +
		"-metadata com.apple.quicktime.location.ISO6709=+48.1+11.5/ -metadata com.apple.quicktime.model=SecretPhone " +
		"-metadata encoder=SecretEncoder -metadata copyright=SecretOwner " +
		"-metadata creation_time=2001-01-01T00:00:00Z -metadata:s:a handler_name=SecretHandler "
	full := []string{"-metadata", "title=Tïtle=1; #2", "-metadata", "artist=Artist", "-metadata", "album=Album", "-metadata", "date=2026-11-23", "-metadata", "genre=Jazz", "-metadata", "comment=A comment"}
	for name, args := range map[string]string{
		"texts.mp4": "-c:a aac -movflags use_metadata_tags", "texts.mov": "-c:a aac", "texts.mkv": "-c:a aac", "texts.ogg": "-c:a libvorbis",
		"texts.flac": "-c:a flac", "texts.mp3": "-c:a libmp3lame", "texts.wma": "-c:a wmav2", "texts.wav": "-c:a pcm_s16le", "texts.m4a": "-c:a aac", "texts.opus": "-c:a libopus",
	} {
		want := told(within(Steady(2, 440), 0.06), conversion.Tags{Title: "Tïtle=1; #2", Artist: "Artist", Album: "Album", Genre: "Jazz", Date: "2026-11-23"},
			"Secret", "+48.1", "2001", "apple")
		own := want
		own.Tags.Artist = "Me"
		cases = append(cases, Case{
			Name: name, About: "the tags that an MP3 repeats, and private ones", From: []string{"made so: the texts are known"},
			Make: func(t testing.TB, file string, _ *Want) {
				encode(t, file, tone(2, 440, 48000), args+" "+leaky, full...)
			},
			Want: want, Tries: []Try{{conversion.Options{Tags: &conversion.Tags{Artist: "Me"}}, own}},
		})
	}
	return cases
}

// copied are files whose sound is MP3 already: its frames are kept.
func copied() (cases []Case) {
	for _, name := range []string{"copied.mp3", "copied.mp4", "copied.mov", "copied.mkv", "copied.avi", "copied.flv", "copied.ts"} {
		for _, quality := range []string{"-b:a 128k", "-q:a 2"} {
			want := within(Steady(3, 440), 0.06)
			want.Notes, want.Unchecked = []conversion.NoteCode{conversion.NoteCopied}, strings.HasSuffix(name, ".ts")
			never := want
			never.Notes, never.NoNotes = nil, []conversion.NoteCode{conversion.NoteCopied}
			cases = append(cases, Case{
				Name: strings.Replace(name, ".", " "+strings.Fields(quality)[0][1:2]+".", 1), About: "sound that is MP3 already (" + quality + ")",
				From: []string{"made so: length and tone are known"},
				Make: func(t testing.TB, file string, _ *Want) {
					encode(t, file, tone(3, 440, 44100), "-c:a libmp3lame "+quality)
				},
				Want: want, Tries: []Try{{conversion.Options{Copy: conversion.CopyNever}, never}}, Also: AlsoTrim | AlsoLoudness,
			})
		}
	}
	return cases
}

// long are recordings that are encoded in several parts at the same time.
func long() (cases []Case) {
	for _, l := range []struct{ name, args string }{{"long.m4a", "-c:a aac"}, {"long.mka", "-c:a flac"}, {"long.ts", "-c:a mp2"}} {
		want := within(In(Part{50, 440, 0}, Part{50, 660, 0}, Part{50, 880, 0}), 0.06)
		want.Unchecked = strings.HasSuffix(l.name, ".ts")
		cases = append(cases, Case{
			Name: l.name, About: "more than 100 s: the parts are joined without a seam", From: []string{"made so: length and tones are known"},
			Make: func(t testing.TB, file string, _ *Want) {
				encode(t, file, wave("0.3*sin(2*PI*if(lt(t,50),440,if(lt(t,100),660,880))*t)", 48000, 150, ""), l.args)
			},
			Want: want, Also: AlsoTrim | AlsoLoudness,
		})
	}
	return cases
}
