package mediatest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// combined are two oddities in one file, and known ones in other containers.
func combined() []Case {
	return slices.Concat(combinedChanges(), combinedLengths(), combinedClocks(), combinedChapters(), combinedTexts(), combinedProtection())
}

func combinedChanges() []Case {
	part := func(t testing.TB, at, hz float64, rate int) []byte {
		in := both(pictures(6), tone(6, hz, rate))
		return raw(t, "mpegts", in, fmt.Sprintf("-c:v mpeg2video -ac 2 -c:a aac -muxdelay 0 -muxpreload 0 -output_ts_offset %g", at))
	}
	ac3 := func(t testing.TB, hz float64, layout, expression string, seconds float64) ([]byte, Part) {
		b := raw(t, "ac3", wave(strings.ReplaceAll(expression, "TONE", sine(0.2, hz)), 48000, seconds, layout), "-c:a ac3 -b:a 384k")
		return b, Part{packetSeconds(t, b, "ac3", 1536, 48000), hz, 0}
	}
	const surround = "TONE|TONE|0*t|0*t|0*t|0*t"
	speex := func(name string, rate int) Case {
		want := within(Steady(4, 440), 0.06)
		want.Noise = 0.4
		if rate > 8000 {
			want = orRefused(want, conversion.CodeUnsupportedCodec)
		}
		return Case{
			Name: name, About: fmt.Sprintf("Speex of %d Hz, as old voice recorders and chats wrote it", rate),
			From: []string{"The Speex Codec Manual, header packet: frame_size is that of the stream's own mode", "libavcodec/speexdec.c of ffmpeg 7 doubles it"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(4, 440, rate), "-ac 1 -c:a libspeex -b:a 24k -f ogg")
			},
			Want: want, Also: AlsoTrim, ByVersion: want.Or != nil,
		}
	}
	late := noted(either(lasting(within(Want{Seconds: 8}, 0.02), -1)), noteChanged)
	late.At = 2.5
	return []Case{
		speex("speex.spx", 8000), speex("speex-wide.spx", 16000), speex("speex-ultra.spx", 32000),
		{
			Name: "ts-wrap-rate.ts", About: "the clock of 33 bits wraps 5 s after the beginning, and 1 s later the rate goes from 44100 to 48000 Hz",
			From: []string{mpegTS + ", 2.4.3.7: PTS has 33 bits of a 90 kHz clock; 2.4.4.9: a program map may change at any time"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, part(t, 95438.7, 440, 44100), part(t, 95444.7, 880, 48000))
			},
			Want: noted(unchecked(within(In(Part{6, 440, 0}, Part{6, 880, 0}), 0.15)), noteChanged), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "late-change.mkv", About: "the sound begins 2.5 s after the pictures, and goes from mono to 5.1 after 4 s",
			From: []string{rfcMatroska + ", 5.1.3.5.3: each block has its time", "ETSI TS 102 366 (AC-3), 4.4.2.3: acmod stands in every frame"},
			Make: func(t testing.TB, path string, w *Want) {
				a, first := ac3(t, 440, "mono", "TONE", 4)
				b, second := ac3(t, 880, "5.1", surround, 4)
				w.inPieces(first, second)
				all := text(t, "all.ac3", string(a)+string(b))
				encode(t, path, both(pictures(11), []string{"-itsoffset", "2.5", "-f", "ac3", "-i", all}), "-map 0 -map 1 -c:v mpeg4 -c:a copy")
			},
			Want: late, Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "mono-stereo-surround.ac3", About: "mono, then stereo, then 5.1; AC-3 at one rate",
			From: []string{"ETSI TS 102 366 (AC-3), 4.4.2.3: acmod stands in every frame", "EBU R 128: loudness of the whole programme", bs775},
			Make: func(t testing.TB, path string, w *Want) {
				a, first := ac3(t, 440, "mono", "TONE", 3)
				b, second := ac3(t, 880, "stereo", "TONE|TONE", 3)
				c, third := ac3(t, 1320, "5.1", surround, 3)
				w.inPieces(first, second, third)
				write(t, path, a, b, c)
			},
			Want: noted(either(Want{Seconds: 9, Within: 0.005}), noteChanged), Also: AlsoAll,
		},
	}
}

func combinedLengths() []Case {
	return []Case{
		{
			Name: "fmp4-edit-unknown.m4a", About: "fragments behind an edit list that leaves out the priming; the durations of the movie and the track are all ones",
			From: []string{isoFile + ", 8.2.2.3, 8.3.2.3 and 8.4.2.3: all ones where the duration cannot be determined; 8.6.6"},
			Make: func(t testing.TB, path string, w *Want) {
				encode(t, path, tone(6, 440, 44100), "-c:a aac -movflags empty_moov+delay_moov -frag_duration 1000000 -f mp4")
				w.inPieces(Part{float64(len(Packets(t, path))-1) * 1024 / 44100, 440, 0})
				change(t, path, func(m *movie) {
					mvhd, mdhd, tkhd := m.moov.child("mvhd"), m.sound().child("mdia", "mdhd"), m.sound().child("tkhd")
					mvhd.body, mdhd.body, tkhd.body = put(mvhd.body, 16, 0xffffffff), put(mdhd.body, 16, 0xffffffff), put(tkhd.body, 20, 0xffffffff)
				})
			},
			Want: either(within(Want{Seconds: 6}, 0.012)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "long-subtitle.webm", About: "the last WebVTT cue is shown until 4 s behind the end of picture and sound",
			From: []string{rfcMatroska + ", 5.1.2.10: Duration is that of the Segment, not of each track"},
			Make: func(t testing.TB, path string, _ *Want) {
				words := text(t, "words.vtt", "WEBVTT\n\n00:01.000 --> 00:03.000\nFirst\n\n00:05.000 --> 00:12.000\nStays\n")
				encode(t, path, both(pictures(8), tone(8, 440, 48000), []string{"-i", words}), "-map 0 -map 1 -map 2 -c:v libvpx -b:v 200k -deadline realtime -c:a libopus -c:s webvtt")
			},
			Want: Steady(8, 440), Also: AlsoTrim,
		},
		{
			Name: "asf-long-header.wmv", About: "the header's play duration is an hour longer than the packets; the file's size is right", From: []string{asfSpec},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "asf", both(pictures(6), tone(6, 440, 44100)), "-c:v wmv2 -c:a wmav1")
				patched(t, b, "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65", func(at []byte) {
					for _, i := range []int{48, 56} { // play and send duration, 100 ns
						binary.LittleEndian.PutUint64(at[i:], binary.LittleEndian.Uint64(at[i:])+3600e7)
					}
				})
				write(t, path, b)
			},
			Want: either(within(Steady(6, 440), 0.15)), Also: AlsoTrim | AlsoLoudness,
		},
	}
}

func combinedClocks() []Case {
	return []Case{
		{
			Name: "chain-midstream.opus", About: "a radio captured in the middle: the granules of the first link begin at 100 h, those of the second at 50 h",
			From: []string{rfcOpus + ", section 4.5: the first granule need not be 0", rfcOgg + ", section 4"},
			Make: func(t testing.TB, path string, _ *Want) {
				var all [][]byte
				for i, hz := range []float64{440, 880} {
					pages := oggPages(t, raw(t, "ogg", tone(3, hz, 48000), "-ac 2 -c:a libopus"))
					for _, p := range pages {
						if granule(p) > 0 {
							setGranule(p, granule(p)+int64(100-50*i)*3600*48000)
							seal(p)
						}
					}
					all = append(all, pages...)
				}
				write(t, path, all...)
			},
			Want: either(within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.06)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "ts-wrap.m2ts", About: "packets of 192 bytes; the clock of 33 bits wraps 4 s after the beginning",
			From: []string{mpegTS + ", 2.4.3.7: PTS has 33 bits of a 90 kHz clock"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(8), wave("0.4*sin(2*PI*if(lt(t,4),440,880)*t)", 48000, 8, "")),
					"-c:v mpeg2video -c:a ac3 -muxdelay 0 -muxpreload 0 -output_ts_offset 95439.7 -mpegts_m2ts_mode 1 -f mpegts")
			},
			Want: unchecked(within(In(Part{4, 440, 0}, Part{4, 880, 0}), 0.1)), Also: AlsoTrim,
		},
		{
			Name: "fmp4-cut-opus.mp4", About: "Opus in fragments, the file ends within the last one", From: []string{isoFile + ", 8.8.4: a fragment is a moof and its mdat"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(6, 440, 48000), "-c:a libopus -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 1000000 -f mp4")
				b := content(t, path)
				mdat := lastOf(topBoxes(b), "mdat")
				write(t, path, b[:mdat.begin+8+(mdat.end-mdat.begin)/3])
			},
			Want: Refused(conversion.CodeTruncated),
		},
		{
			Name: "retimed-pieces.mp4", About: "the time table runs 1 % slow, and an editor cut the recording", From: []string{editSpec, "ISO/IEC 14496-3: an AAC frame has 1024 samples"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(10), wave("0.4*sin(2*PI*if(lt(t,4),440,880)*t)", 48000, 10, "")), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					s, scale := m.sound(), int64(fields(m.moov.child("mvhd").body, 12)[0])
					s.times(uint32(s.samples()), 1034)
					s.edits(3*scale, 0, 65536, 4*scale, 5*48000, 65536)
				})
			},
			Want: lasting(within(In(Part{3 / 1.01, 440, 0}, Part{4 / 1.01, 880, 0}), 0.05), -1), Also: AlsoLoudness,
		},
	}
}

func combinedChapters() []Case {
	list := make([]Chapter, 255)
	for i := range list {
		list[i] = Chapter{float64(i) / 10, fmt.Sprintf("Chapter %d", i+1)}
	}
	full := manyChapters("chapters-255.m4b", 255)
	full.About = "255 chapters in a list and in a track: the list is full, and has all of them"
	alone := Case{
		Name: "chapters-255-list.m4b", About: "255 chapters in a list, which is full, and no track of chapters", From: full.From,
		Make: func(t testing.TB, path string, _ *Want) {
			encode(t, path, tone(25.5, 440, 16000), "-c:a aac -b:a 24k -f mp4")
			change(t, path, func(m *movie) {
				entries := []byte{1, 0, 0, 0, 0, 0, 0, 0, 255}
				for _, c := range list {
					entries = binary.BigEndian.AppendUint64(entries, uint64(c.At*1e7+0.5))
					entries = append(append(entries, byte(len(c.Title))), c.Title...)
				}
				m.moov.kids = append(m.moov.kids, &node{kind: "udta", body: box("chpl", entries)})
			})
		},
		Want: within(withChapters(Steady(25.5, 440), list...), 0.08), Also: AlsoChapters,
	}
	abc := []Chapter{{0, "A"}, {3, "B"}, {6, "C"}}
	edits := []edit{{2, 1, 1}, {1.5, empty, 1}, {3, 4, 1}}
	pause := exactly(withChapters(noted(tones(1, 2, 4, 5, 6), noteGap), Chapter{0, "A"}, Chapter{2, "B"}, Chapter{4, "C"}))
	tracksLast := told(withChapters(Want{Samples: 9 * 44100, Seconds: 9, Sound: [][]Part{{{9, 440, 0}}}}, abc...), conversion.Tags{Title: "Talk"})
	return []Case{
		full, alone,
		{
			Name: "edit-chapters.mov", About: "an edit list with a pause, and the same one for the track of chapters", From: []string{editSpec, quickTime + ": chapter lists; edit lists"},
			Make: func(t testing.TB, path string, _ *Want) {
				sheet := chapters(t, "", 8, abc...)
				sound := wave("0.4*sin(2*PI*(300+100*floor(t))*t)", 48000, 8, "")
				encode(t, path, both(pictures(8), sound, []string{"-i", sheet}), "-map 0 -map 1 -map_metadata 2 -c:v mpeg4 -c:a pcm_s16le -movflags +disable_chpl -f mov")
				change(t, path, func(m *movie) {
					scale := float64(fields(m.moov.child("mvhd").body, 12)[0])
					for _, k := range append(m.traks("soun"), m.traks("text")...) {
						var triples []int64
						for _, e := range edits {
							triples = append(triples, e.ticks(scale, 0, float64(fields(k.child("mdia", "mdhd").body, 12)[0]))...)
						}
						k.edits(triples...)
					}
				})
			},
			Want: pause, Also: AlsoChapters,
		},
		{
			Name: "tracks-last-flac.mkv", About: "FLAC; Tracks, chapters and tags stand behind the clusters", From: []string{rfcMatroska + ", 6.2: Tracks may stand behind the clusters if a SeekHead lists them"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(9), tone(9, 440, 44100), []string{"-i", chapters(t, "title=Talk\n", 9, abc...)}), "-map 0 -map 1 -map_metadata 2 -c:v mpeg4 -c:a flac")
				rearrange(t, path, path, idInfo, idCluster, idTracks, idChapters, idTags)
			},
			Want: tracksLast, Also: AlsoTrim | AlsoChapters | AlsoLoudness,
		},
	}
}

func combinedTexts() []Case {
	const title, artist = "Café – Münchner Straße", "Jürgen"
	want := told(within(Steady(2, 440), 0.06), conversion.Tags{Title: title, Artist: artist})
	tag := func() []byte {
		return id3Tag(id3Frame("TIT2", []byte{0}, windows1252(title)), id3Frame("TPE1", []byte{0}, windows1252(artist)))
	}
	long := strings.Repeat("words and more words ", 5<<20/21)
	talk := told(within(Steady(3, 440), 0.06), conversion.Tags{Title: "Talk"})
	comment := func(name, args string) Case {
		return Case{
			Name: name, About: "a comment of 5 MB stands before the sound", From: []string{"Vorbis I specification, 5.2: lengths have 32 bits", flacSpec + ", 8.1: a block may have 16 MiB"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(tone(3, 440, 48000), []string{"-i", chapters(t, "comment="+long+"\ntitle=Talk\n", 0)}), "-map 0 -map_metadata 1 "+args)
			},
			Want: talk, Also: AlsoTrim,
		}
	}
	return []Case{
		{
			Name: "latin1-id3.wav", About: "a chunk of ID3 in Windows-1252 in a WAV file", From: []string{id3v2, riffSpec, encodings}, Want: want,
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "wav", tone(2, 440, 44100), "-bitexact")
				chunk := tag()
				if len(chunk)%2 == 1 {
					chunk = append(chunk, 0)
				}
				b = append(binary.LittleEndian.AppendUint32(append(b, "id3 "...), uint32(len(chunk))), chunk...)
				binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
				write(t, path, b)
			},
		},
		{
			Name: "latin1-id3.aiff", About: "a chunk of ID3 in Windows-1252 in an AIFF file", From: []string{id3v2, aiffSpec, encodings}, Want: want,
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "aiff", tone(2, 440, 44100), "-bitexact")
				chunk := tag()
				if len(chunk)%2 == 1 {
					chunk = append(chunk, 0)
				}
				b = append(binary.BigEndian.AppendUint32(append(b, "ID3 "...), uint32(len(chunk))), chunk...)
				binary.BigEndian.PutUint32(b[4:], uint32(len(b)-8))
				write(t, path, b)
			},
		},
		{
			Name: "long-comment.mp3", About: "a comment of 5 MB in an ID3 tag before the sound, and the title behind the comment", From: []string{"ID3v2.4, 4.10: a comment has no greatest length"},
			Make: func(t testing.TB, path string, _ *Want) {
				frames := slices.Concat(id3v24Frame("COMM", slices.Concat([]byte("\x03eng\x00"), []byte(long))), id3v24Frame("TIT2", []byte("\x03Talk")))
				write(t, path, id3v24Tag(frames), bare(t, sine(0.4, 440), 44100, 3, "-b:a 128k"))
			},
			Want: either(within(talk, 0.08)), Also: AlsoTrim,
		},
		comment("long-comment.flac", "-c:a flac"), comment("long-comment.opus", "-c:a libopus"), comment("long-comment.ogg", "-c:a libvorbis"),
	}
}

func combinedProtection() []Case {
	return []Case{{
		Name: "clear-beside-encrypted.webm", About: "two sound tracks: the first is encrypted, the second is clear", From: []string{rfcMatroska + ", 5.1.4.1.31: ContentEncoding is of one track"},
		Make: func(t testing.TB, path string, _ *Want) {
			encode(t, path, both(tone(4, 440, 48000), tone(4, 880, 48000)), "-map 0 -map 1 -c:a libopus -f webm")
			header, elements := segment(t, content(t, path))
			var entries []byte
			for rest := inside(elements[idTracks], 4); len(rest) > 0; {
				e := ebmlElement(t, rest)
				rest = rest[len(e):]
				switch {
				case e[0] != 0xae: // the checksum
					continue
				case len(entries) == 0:
					encoding := ebml("\x62\x40", ebml("\x50\x31", []byte{0}), ebml("\x50\x32", []byte{1}), ebml("\x50\x33", []byte{1}), ebml("\x50\x35", ebml("\x47\xe1", []byte{5})))
					e = ebml("\xae", inside(e, 1), ebml("\x6d\x80", encoding))
				}
				entries = append(entries, e...)
			}
			write(t, path, header, ebml(idSegment, elements[idInfo], ebml(idTracks, entries), elements[idCluster]))
		},
		Want: within(Steady(4, 880), 0.06), Also: AlsoTrim,
	}}
}
