package mediatest

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"tonearm/internal/conversion"
)

const editSpec = isoFile + ", 8.6.6: edits one after the other, media_time -1 is an empty edit, media_rate 0 a dwell"

// edit is one entry of an edit list, in seconds of the movie and of the sound.
type edit struct {
	seconds, from, rate float64
}

const empty = -1 // from, of a pause

func (e edit) ticks(scale float64, skip, rate float64) []int64 {
	from := int64(-1)
	if e.from != empty {
		from = int64(math.Round(e.from*rate + skip))
	}
	return []int64{int64(math.Round(e.seconds * scale)), from, int64(math.Round(e.rate * 65536))}
}

// second is the tone of a second of the media of edited, counted from 0.
func second(n int) float64 { return float64(300 + 100*n) }

// edited writes 8 s of sound with another tone in each second, and edits that list them
// in their own way. version is of the box.
func edited(t testing.TB, path, args string, rate int, version uint32, edits []edit) {
	t.Helper()
	encode(t, path, both(pictures(8), wave("0.4*sin(2*PI*(300+100*floor(t))*t)", rate, 8, "")), "-c:v mpeg4 "+args)
	change(t, path, func(m *movie) {
		s, size := m.sound(), len(m.moov.encode())
		skip := 0.0 // what a coder puts before the sound
		if elst := s.child("edts", "elst"); elst != nil {
			skip = float64(fields(elst.body, 8)[1])
		}
		scale, ticks := float64(fields(m.moov.child("mvhd").body, 12)[0]), float64(fields(s.child("mdia", "mdhd").body, 12)[0])
		var triples []int64
		for _, e := range edits {
			triples = append(triples, e.ticks(scale, skip, ticks)...)
		}
		s.edits(triples...)
		if version == 1 {
			body := full(1, uint32(len(edits)))
			for i := 0; i < len(triples); i += 3 {
				body = binary.BigEndian.AppendUint64(body, uint64(triples[i]))
				body = binary.BigEndian.AppendUint64(body, uint64(triples[i+1]))
				body = binary.BigEndian.AppendUint32(body, uint32(triples[i+2]))
			}
			s.child("edts", "elst").body = body
		}
		if lastOf(topBoxes(m.after), "mdat").end > 0 { // the samples move
			later := uint32(len(m.moov.encode()) - size)
			for _, k := range append(m.traks("soun"), m.traks("vide")...) {
				stco := k.table("stco")
				for i := range fields(stco.body, 8) {
					stco.body = put(stco.body, 8+4*i, binary.BigEndian.Uint32(stco.body[8+4*i:])+later)
				}
			}
		}
	})
}

// tones is what is right for the seconds of the media one after the other.
func tones(seconds ...int) Want {
	var parts []Part
	for _, n := range seconds {
		parts = append(parts, Part{1, second(n), 0})
	}
	return In(parts...)
}

// exactly is the length to the sample.
func exactly(w Want) Want {
	w.Within = math.SmallestNonzeroFloat64
	return w
}

// trimmed is a trim and what is right for it.
func trimmed(start, end float64, w Want) Try {
	w = exactly(w)
	w.trimmed = true
	return Try{conversion.Options{Start: start, End: end}, w}
}

// editLists are movies whose sound an edit list shows in pieces.
func editLists() []Case {
	made := func(name, about, args string, rate int, version uint32, want Want, also Also, edits []edit, tries ...Try) Case {
		return Case{
			Name: name, About: about, From: []string{editSpec, quickTime + ": edit list atom", "https://github.com/Vanilagy/mediabunny/issues/494", "https://github.com/mifi/lossless-cut/issues/3057"},
			Make: func(t testing.TB, path string, _ *Want) { edited(t, path, args, rate, version, edits) },
			Want: exactly(want), Tries: tries, Also: also,
		}
	}
	cases := editPauses(made)
	again := []edit{{2, 3, 1}, {2, 3, 1}, {2, 1, 1}}
	skips := []edit{{2, 0, 1}, {2, 5, 1}}
	notCopied := noted(tones(1, 2, 4, 5), conversion.NoteNotCopied)
	return append(cases,
		made("edit-again.mp4", "an editor's loop: the same two seconds twice, then earlier ones", "-c:a aac", 48000, 0, tones(3, 4, 3, 4, 1, 2), AlsoAll, again),
		made("edit-again-pcm.mov", "the same in PCM of 44100 Hz", "-c:a pcm_s24le", 44100, 0, tones(3, 4, 3, 4, 1, 2), AlsoTrim, again,
			trimmed(1.5, 2.5, In(Part{0.5, second(4), 0}, Part{0.5, second(3), 0}))),
		made("edit-skip.mp4", "three seconds in the middle are cut out, without encoding anew", "-c:a libopus -b:a 128k", 48000, 0, tones(0, 1, 5, 6), AlsoAll, skips),
		made("edit-skip-flac.mp4", "the same in FLAC, the index first", "-c:a flac -strict -2 -movflags +faststart", 44100, 0, tones(0, 1, 5, 6), AlsoTrim, skips),
		made("edit-skip-ac3.mov", "the same in AC-3 of six channels", "-c:a ac3 -ac 6", 48000, 0, within(tones(0, 1, 5, 6), 0.02), 0, skips),
		made("edit-mp3.mov", "MP3 in a movie that was cut: its frames cannot be copied", "-c:a libmp3lame -b:a 192k", 44100, 0, notCopied, AlsoTrim, []edit{{2, 1, 1}, {2, 4, 1}}),
		made("edit-joined.mp4", "two edits, the second goes on where the first ends", "-c:a aac", 44100, 0, noteless(tones(0, 1, 2, 3, 4, 5), noteGap), AlsoTrim, []edit{{2.5, 0, 1}, {3.5, 2.5, 1}}),
		manyEdits(made),
		made("edit-fast.mov", "two seconds are played in one, an octave higher, as a tape would", "-c:a pcm_s16le", 48000, 0,
			In(Part{1, second(0), 0}, Part{0.5, 2 * second(2), 0}, Part{0.5, 2 * second(3), 0}, Part{1, second(6), 0}), AlsoTrim, []edit{{1, 0, 1}, {1, 2, 2}, {1, 6, 1}}),
		made("edit-slow.mp4", "slow motion: a second is played in two", "-c:a aac", 48000, 0,
			In(Part{2, second(0), 0}, Part{2, 0.5 * second(2), 0}, Part{1, second(3), 0}), AlsoTrim|AlsoLoudness, []edit{{1, 0, 1}, {1, 0, 1}, {2, 2, 0.5}, {1, 3, 1}}),
		made("edit-backward.mov", "an edit with the rate -1", "-c:a pcm_s16le", 48000, 0, Refused(conversion.CodeUnsupportedCodec, "edit list"), 0, []edit{{2, 0, 1}, {2, 4, -1}}),
		rateZero("edit-rate-zero.mp4", "the only edit has the rate 0, as other programs' files do, and is played as it is", "-c:a aac -b:a 192k", 5),
		rateZero("edit-rate-zero-fragments.mp4", "the same in fragments, with the duration 0", "-c:a aac -b:a 192k -movflags frag_keyframe+empty_moov+default_base_moof", 0),
		Case{
			Name: "edit-fragments.mp4", About: "an edit list of two pieces in front of fragments", From: []string{editSpec, isoFile + ", 8.6.6: an edit list is of all samples, those in fragments too"},
			Make: func(t testing.TB, path string, _ *Want) {
				edited(t, path, "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof", 48000, 0, skips)
			},
			Want: or(within(tones(0, 1, 5, 6), 0.05), Refused(conversion.CodeUnsupportedCodec, "edit list")),
		})
}

func noteless(w Want, notes ...conversion.NoteCode) Want {
	w.NoNotes = notes
	return w
}

type makeEdited func(name, about, args string, rate int, version uint32, want Want, also Also, edits []edit, tries ...Try) Case

// editPauses are empty edits and dwells behind the first piece.
func editPauses(made makeEdited) []Case {
	pause := []edit{{2, 1, 1}, {1.5, empty, 1}, {3, 4, 1}}
	want := noted(tones(1, 2, 4, 5, 6), noteGap)
	tries := []Try{
		trimmed(1, 4.5, In(Part{1, second(2), 0}, Part{1, second(4), 0})),
		trimmed(3, 5, In(Part{1, second(4), 0}, Part{0.5, second(5), 0})),
		{conversion.Options{Start: 2.2, End: 3.3}, Refused(conversion.CodeInvalidOptions, "no sound between")},
		{conversion.Options{Start: 7}, Refused(conversion.CodeStartBeyondEnd)},
	}
	late := noted(tones(1, 2, 5, 6), noteGap)
	late.At = 0.5
	return []Case{
		made("edit-pause.m4a", "an editor left a hole of 1.5 s between two pieces of the recording", "-c:a aac", 48000, 0, want, AlsoLoudness, pause, tries...),
		made("edit-pause-pcm.mov", "the same in PCM", "-c:a pcm_s16le", 44100, 0, want, AlsoChannels, pause, tries...),
		made("edit-pause-v1.mp4", "the same in ALAC, with numbers of 64 bits, the index first", "-c:a alac -movflags +faststart", 48000, 1, want, 0, pause, tries...),
		made("edit-pause-opus.mp4", "the same in Opus, with numbers of 64 bits", "-c:a libopus -b:a 128k", 48000, 1, want, 0, pause, tries...),
		made("edit-dwell.mov", "an edit with the rate 0: one moment lasts a second", "-c:a pcm_s16le", 48000, 0, noted(tones(0, 1, 2, 3), noteGap), 0,
			[]edit{{2, 0, 1}, {1, 2, 0}, {2, 2, 1}}, trimmed(1, 4, tones(1, 2))),
		made("edit-last-pause.mov", "QuickTime fills a track up to the movie's end with an empty edit", "-c:a aac", 48000, 0, noteless(tones(0, 1, 2), noteGap), AlsoTrim,
			[]edit{{3, 0, 1}, {2, empty, 1}}),
		made("edit-late-pause.mp4", "the sound begins late, and pauses", "-c:a aac", 44100, 0, late, AlsoLoudness,
			[]edit{{0.5, empty, 1}, {2, 1, 1}, {1, empty, 1}, {2, 5, 1}}, trimmed(1.5, 4.5, In(Part{1, second(2), 0}, Part{1, second(5), 0}))),
	}
}

// manyEdits leaves out every other fifth of a second.
func manyEdits(made makeEdited) Case {
	var edits []edit
	var parts []Part
	for i := range 20 {
		from := 0.4 * float64(i)
		edits = append(edits, edit{0.2, from, 1})
		parts = append(parts, Part{0.2, Anything, 0})
		if math.Floor(from) == math.Floor(from+0.1999) {
			parts[i].Hz = second(int(from))
		}
	}
	return made("edit-many.mov", fmt.Sprintf("%d pieces of 0.2 s, as a program writes that cuts out silence", len(edits)), "-c:a aac", 48000, 0, In(parts...), AlsoTrim, edits)
}

func rateZero(name, about, args string, seconds float64) Case {
	want := tones(0, 1, 2, 3, 4)
	if seconds == 0 {
		want = either(within(tones(0, 1, 2, 3, 4, 5, 6, 7), 0.08))
	}
	return Case{
		Name: name, About: about, From: []string{"https://github.com/google/ExoPlayer/issues/2294", "https://github.com/googlearchive/androidtv-Leanback/issues/96", editSpec}, Want: want,
		Make: func(t testing.TB, path string, _ *Want) {
			edited(t, path, args, 48000, 0, []edit{{seconds, 0, 0}})
		}, Also: AlsoTrim,
	}
}

// chains are Ogg files of several links in which something else changes.
func chains() (cases []Case) {
	type link struct {
		seconds, hz    float64
		rate, channels int
	}
	chained := func(name, about, codec string, links []link, want Want, tries ...Try) {
		var parts []Part
		for _, l := range links {
			parts = append(parts, Part{l.seconds, l.hz, 0})
		}
		want.inPieces(parts...)
		for i := range tries {
			start, end := tries[i].Options.Start, tries[i].Options.End
			if end == 0 {
				end = want.Seconds
			}
			tries[i].Want = want.Trimmed(start, end)
			if tries[i].Options.End == 0 {
				tries[i].Want.Within = want.Within
			}
			tries[i].Want.Notes = nil
		}
		cases = append(cases, Case{
			Name: name, About: "a chained Ogg: " + about, From: []string{rfcOgg + ", section 4: chained streams are played one after the other", "https://github.com/xiph/flac/pull/735", "https://github.com/zaps166/QMPlay2/issues/94"},
			Make: func(t testing.TB, path string, _ *Want) {
				var all [][]byte
				for _, l := range links {
					all = append(all, raw(t, "ogg", tone(l.seconds, l.hz, l.rate), fmt.Sprintf("-ac %d -c:a %s", l.channels, codec)))
				}
				write(t, path, all...)
			},
			Want: want, Tries: tries, Also: AlsoLoudness,
		})
	}
	try := func(start, end float64) Try { return Try{Options: conversion.Options{Start: start, End: end}} }
	same := func(rate, channels int) []link {
		return []link{{3, 440, rate, channels}, {2.5, 880, rate, channels}, {3, 1320, rate, channels}}
	}
	around := func() []Try { // before a link, across it, behind it, over all of the second one, in the third
		return []Try{try(0.5, 2.5), try(2.25, 3.75), try(3.5, 5), try(2.5, 6.5), try(6, 8), try(7, 0)}
	}
	changes := noted(Want{Within: 0.02}, noteChanged)
	chained("chain-flac.oga", "three links of FLAC", "flac", same(44100, 2), exactly(Want{}), around()...)
	chained("chain-opus.opus", "three links of Opus, mono", "libopus", same(48000, 1), within(Want{}, 0.02), around()...)
	chained("chain-vorbis.ogg", "three links of Vorbis", "libvorbis", same(48000, 2), within(Want{}, 0.02), around()...)
	chained("chain-speex.spx", "three links of Speex", "libspeex", same(8000, 1), within(Want{Noise: 0.4}, 0.06), around()...)
	chained("chain-flac-rates.oga", "FLAC of 44100 Hz, then 48000, then 22050", "flac",
		[]link{{3, 440, 44100, 2}, {2.5, 880, 48000, 2}, {3, 1320, 22050, 2}}, changes, around()...)
	chained("chain-flac-channels.oga", "FLAC in one channel, then in two, then in one", "flac",
		[]link{{3, 440, 44100, 1}, {2.5, 880, 44100, 2}, {3, 1320, 44100, 1}}, changes, around()...)
	chained("chain-vorbis-rates.ogg", "Vorbis of 48000 Hz, then 22050 in one channel, then 44100", "libvorbis",
		[]link{{3, 440, 48000, 2}, {2.5, 880, 22050, 1}, {3, 1320, 44100, 2}}, changes, around()...)
	chained("chain-opus-channels.opus", "Opus in two channels, then in one, then in two", "libopus",
		[]link{{3, 440, 48000, 2}, {2.5, 880, 48000, 1}, {3, 1320, 48000, 2}}, within(Want{}, 0.02), around()...)
	return cases
}
