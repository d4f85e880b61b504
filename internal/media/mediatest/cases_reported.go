package mediatest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

const (
	riffSpec = "Multimedia Programming Interface and Data Specifications 1.0 (RIFF)"
	asfSpec  = "Advanced Systems Format specification, 3.2 (File Properties Object)"
	flacSpec = "RFC 9639 (FLAC)"
)

// reported are inputs of public reports to other programs, made from their
// descriptions.
func reported() []Case {
	return slices.Concat(reportedWaves(), reportedMP3s(), reportedOggs(), reportedStreams(), reportedMatroskas(), reportedMovies(), reportedDownloads())
}

// chunk is a RIFF chunk with its padding.
func chunk(id string, size int, body []byte, padding ...byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint32([]byte(id), uint32(size)), body, padding)
}

// waveFile is a WAV file of one channel and 44100 Hz; size is what RIFF says.
func waveFile(size int, bits int, chunks ...[]byte) []byte {
	format := binary.LittleEndian.AppendUint16(nil, 1) // PCM
	format = binary.LittleEndian.AppendUint16(format, 1)
	format = binary.LittleEndian.AppendUint32(format, 44100)
	format = binary.LittleEndian.AppendUint32(format, uint32(44100*bits/8))
	format = binary.LittleEndian.AppendUint16(format, uint16(bits/8))
	format = binary.LittleEndian.AppendUint16(format, uint16(bits))
	body := slices.Concat([]byte("WAVE"), chunk("fmt ", 16, format), slices.Concat(chunks...))
	if size < 0 {
		size = len(body)
	}
	return chunk("RIFF", size, body)
}

func reportedWaves() []Case {
	pcm := func(t testing.TB, format string) []byte {
		return raw(t, format, wave(sine(0.4, 440), 44100, 2, ""), "")
	}
	exact := Want{Samples: 2 * 44100, Seconds: 2, Sound: [][]Part{{{2, 440, 0.4}}}}
	unknown := unchecked(exact)
	made := func(name, about, link string, want Want, f func(t testing.TB) []byte) Case {
		return Case{Name: name, About: about, From: []string{link, riffSpec}, Want: want, Also: AlsoTrim,
			Make: func(t testing.TB, path string, _ *Want) { write(t, path, f(t)) }}
	}
	return []Case{
		made("wav-ffffffff.wav", "both sizes are ffffffff, as ffmpeg writes into a pipe", "https://github.com/Borewit/music-metadata/issues/707", unknown,
			func(t testing.TB) []byte { return waveFile(0xffffffff, 16, chunk("data", 0xffffffff, pcm(t, "s16le"))) }),
		made("wav-7fffffff.wav", "both sizes are 7fffffff, as a recorder left them", "https://github.com/google/oboe/issues/2108", unknown,
			func(t testing.TB) []byte { return waveFile(0x7fffffff, 16, chunk("data", 0x7fffffff, pcm(t, "s16le"))) }),
		made("wav-zero.wav", "both sizes are 0: the recorder died", "https://github.com/agfline/wavfix/issues/12", unknown,
			func(t testing.TB) []byte { return waveFile(0, 16, chunk("data", 0, pcm(t, "s16le"))) }),
		made("wav-riff-zero.wav", "RIFF has the size 0, data the right one", "https://github.com/tinyalsa/tinyalsa/pull/16", exact,
			func(t testing.TB) []byte {
				b := pcm(t, "s16le")
				return waveFile(0, 16, chunk("data", len(b), b))
			}),
		made("wav-odd-chunk.wav", "a chunk of an odd size with its padding stands before the samples", "https://github.com/androidx/media/pull/1117", exact,
			func(t testing.TB) []byte {
				b := pcm(t, "s16le")
				return waveFile(-1, 16, chunk("bext", 17, make([]byte, 17), 0), chunk("data", len(b), b))
			}),
		made("wav-odd-data.wav", "samples of an odd size, a padding that is not 0, and texts behind it", "https://github.com/MediaArea/BWFMetaEdit/issues/155",
			Want{Samples: 2*44100 - 1, Seconds: 2, Sound: [][]Part{{{2, 440, 0}}}},
			func(t testing.TB) []byte {
				b := pcm(t, "u8")[1:]
				info := slices.Concat([]byte("INFO"), chunk("INAM", 6, []byte("Title\x00")))
				return waveFile(-1, 8, chunk("data", len(b), b, 0x51), chunk("LIST", len(info), info))
			}),
		{
			Name: "aiff-odd-chunk.aiff", About: "a chunk of an odd size stands last, with its padding", From: []string{"https://github.com/polyfloyd/rust-id3/issues/65", "Audio Interchange File Format 1.3: chunks are padded to an even size"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "aiff", wave(sine(0.4, 440), 44100, 2, ""), "")
				b = append(append(binary.BigEndian.AppendUint32(append(b, "ResU"...), 337), make([]byte, 337)...), 0)
				binary.BigEndian.PutUint32(b[4:], uint32(len(b)-8))
				write(t, path, b)
			},
			Want: exact, Also: AlsoTrim,
		},
		{
			Name: "clipped.wav", About: "samples beyond full scale, which MP3's decoders must cut", From: []string{"ISO/IEC 11172-3: the decoder's output is limited to full scale"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, wave(sine(1.6, 440), 44100, 2, ""), "-c:a pcm_f32le")
			},
			Want: Want{Samples: 2 * 44100, Seconds: 2, Sound: [][]Part{{{2, Anything, 0}}}, Notes: []conversion.NoteCode{noteClipped}},
		},
	}
}

// Notes that the record must have.
const (
	noteChanged conversion.NoteCode = "parameters_changed"
	noteLost    conversion.NoteCode = "packets_lost"
	noteGap     conversion.NoteCode = "gap"
	noteClipped conversion.NoteCode = "clipped"
)

func noted(w Want, code conversion.NoteCode) Want {
	w.Notes = append(slices.Clone(w.Notes), code)
	return w
}

// id3 is a tag of version 2.3 with a title.
func id3(title string) []byte {
	body := append([]byte{0}, title...)
	frame := slices.Concat(binary.BigEndian.AppendUint32([]byte("TIT2"), uint32(len(body))), []byte{0, 0}, body)
	return slices.Concat([]byte("ID3\x03\x00\x00\x00\x00"), []byte{byte(len(frame) >> 7), byte(len(frame) & 0x7f)}, frame)
}

func reportedMP3s() []Case {
	song := func(t testing.TB, hz float64) []byte {
		return raw(t, "mp3", wave(sine(0.4, hz), 44100, 3, ""), "-c:a libmp3lame -b:a 128k -id3v2_version 0")
	}
	return []Case{
		{
			Name: "joined.mp3", About: "two MP3s one after the other; the first one's Info frame counts only its own frames", From: []string{"https://github.com/JamesHeinrich/getID3/issues/120"},
			Make: func(t testing.TB, path string, _ *Want) { write(t, path, song(t, 440), song(t, 880)) },
			Want: either(within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.15)),
		},
		{
			Name: "tag-behind.mp3", About: "a second ID3v2 tag stands behind the sound, before ID3v1", From: []string{"https://github.com/Zeugma440/atldotnet/issues/282"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, id3("First"), song(t, 440), id3("Second"), append([]byte("TAGThird"), make([]byte, 120)...))
			},
			Want: either(told(within(Steady(3, 440), 0.06), conversion.Tags{Title: "First"})),
		},
		{
			Name: "tag-too-short.mp3", About: "24 bytes lie between the tag's end and the first frame", From: []string{"https://github.com/openaudible/openaudible/issues/258"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, id3("First"), make([]byte, 24), song(t, 440))
			},
			Want: either(told(within(Steady(3, 440), 0.06), conversion.Tags{Title: "First"})), Also: AlsoTrim | AlsoLoudness,
		},
	}
}

func reportedOggs() []Case {
	return []Case{
		{
			Name: "opus-end-trim.opus", About: "the last granule cuts off the end of the last packet", From: []string{"https://github.com/mpv-player/mpv/issues/2823", rfcOpus + ", section 4.4: end trimming"},
			Make: func(t testing.TB, path string, w *Want) {
				pages := oggPages(t, raw(t, "ogg", tone(4, 440, 48000), "-c:a libopus"))
				last := pages[len(pages)-1]
				setGranule(last, granule(last)-200)
				seal(last)
				i := bytes.Index(pages[0], []byte("OpusHead"))
				w.Samples = int(granule(last)) - int(binary.LittleEndian.Uint16(pages[0][i+10:]))
				write(t, path, pages...)
			},
			Want: Steady(4, 440), Also: AlsoTrim,
		},
		{
			Name: "ogg-no-end.ogg", About: "no page says that it is the last", From: []string{"https://github.com/Borewit/music-metadata/issues/608", "https://github.com/tinytag/tinytag/issues/237"},
			Make: func(t testing.TB, path string, _ *Want) {
				pages := oggPages(t, raw(t, "ogg", tone(4, 440, 48000), "-c:a libopus"))
				last := pages[len(pages)-1]
				last[5] &^= 4
				seal(last)
				write(t, path, pages...)
			},
			Want: either(within(Steady(4, 440), 0.06)), Also: AlsoTrim,
		},
		{
			Name: "chained-channels.ogg", About: "chained Vorbis, the first link mono, the second stereo", From: []string{"https://github.com/DeaDBeeF-Player/deadbeef/issues/1021", rfcOgg + ", section 4"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, raw(t, "ogg", tone(3, 440, 44100), "-ac 1 -c:a libvorbis"), raw(t, "ogg", tone(3, 880, 44100), "-ac 2 -c:a libvorbis"))
			},
			Want: orRefused(either(within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.1)), conversion.CodeUnsupportedCodec),
		},
		{
			Name: "flac-rate-change.flac", About: "the rate goes from 44100 to 48000 Hz from one frame to the next", From: []string{"https://github.com/pdeljanov/Symphonia/pull/287", flacSpec + ", 9.1: every frame has its sample rate"},
			Make: func(t testing.TB, path string, _ *Want) {
				first := raw(t, "flac", tone(3, 440, 44100), "-c:a flac")
				second := raw(t, "flac", tone(3, 880, 48000), "-c:a flac")
				clear(first[22:26]) // how many samples: unknown
				first[21] &= 0xf0
				clear(first[26:42]) // checksum of them
				write(t, path, first, second[flacFrames(second):])
			},
			Want: noted(either(within(In(Part{3, 440, 0.125}, Part{3, 880, 0.125}), 0.06)), noteChanged), Also: AlsoTrim | AlsoLoudness,
		},
	}
}

// flacFrames is where the frames begin, behind the metadata.
func flacFrames(b []byte) int {
	at := 4
	for {
		last := b[at]&0x80 != 0
		at += 4 + int(b[at+1])<<16 + int(b[at+2])<<8 + int(b[at+3])
		if last {
			return at
		}
	}
}

func orRefused(w Want, code conversion.Code) Want { return or(w, Refused(code)) }

func reportedStreams() []Case {
	part := func(t testing.TB, at float64, input []string, args string) []byte {
		in := both([]string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=10"}, input)
		return raw(t, "mpegts", in, "-c:v mpeg2video -muxdelay 0 -muxpreload 0 -output_ts_offset "+hz(at)+" "+args)
	}
	breaks := noted(within(In(Part{10, 440, 0}, Part{10, 880, 0}, Part{10, 1320, 0}), 0.15), noteChanged)
	breaks.Unchecked = true
	quiet := joined([]string{sine(0.05, 440), sine(0.05, 440), sine(0.05, 440), "0*t", "0*t", "0*t"})
	again := joined([]string{sine(0.05, 1320), sine(0.05, 1320), sine(0.05, 1320), "0*t", "0*t", "0*t"})
	return []Case{
		{
			Name: "ts-ads-rate.ts", About: "a recorded live stream: advertisements in the middle have another sample rate", From: []string{"https://github.com/Zibbp/ganymede/issues/492", "https://github.com/Zibbp/ganymede/issues/608"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, part(t, 0, tone(10, 440, 48000), "-ac 2 -c:a aac"), part(t, 10, tone(10, 880, 44100), "-ac 2 -c:a aac"), part(t, 20, tone(10, 1320, 48000), "-ac 2 -c:a aac"))
			},
			Want: breaks, Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "ts-ads-layout.ts", About: "a broadcast in 5.1 with advertisements in stereo in the middle", From: []string{"https://github.com/xbmc/xbmc/issues/17080", "https://github.com/cannonbeach/ott-packager/issues/14"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, part(t, 0, wave(quiet, 48000, 10, "5.1"), "-c:a ac3"),
					part(t, 10, wave(sine(0.2, 880)+"|"+sine(0.2, 880), 48000, 10, ""), "-c:a ac3"), part(t, 20, wave(again, 48000, 10, "5.1"), "-c:a ac3"))
			},
			Want: breaks, Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "ts-latm.ts", About: "AAC in LATM, as DVB sends it", From: []string{"ETSI TS 101 154, annex H", "ISO/IEC 14496-3, 1.7"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg2video -c:a aac -muxdelay 0 -muxpreload 0 -mpegts_flags +latm -f mpegts")
			},
			Want: either(within(Steady(4, 440), 0.08)), Also: AlsoTrim,
		},
		{
			Name: "asf-long-header.wma", About: "the header's play duration is 4 s longer than the packets; the file's size is right", From: []string{asfSpec},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "asf", tone(6, 440, 44100), "-c:a wmav2")
				i := bytes.Index(b, []byte("\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"))
				for _, at := range []int{i + 64, i + 72} { // play and send duration, 100 ns
					binary.LittleEndian.PutUint64(b[at:], binary.LittleEndian.Uint64(b[at:])+40_000_000)
				}
				write(t, path, b)
			},
			Want: either(within(Steady(6, 440), 0.15)), Also: AlsoTrim,
		},
		{
			Name: "packets-lost.mp4", About: "three packets of AC-3 are zeros: clicks, but nearly all of it is there", From: []string{"ETSI TS 102 366, 6.1.6: a frame with a wrong checksum is concealed"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 48000)), "-c:v mpeg4 -c:a ac3")
				m := readMovie(t, path)
				b, s := content(t, path), m.sound()
				offsets, sizes := s.offsets(), s.sizes()
				for _, i := range []int{40, 80, 120} {
					clear(b[offsets[i] : offsets[i]+sizes[i]])
				}
				write(t, path, b)
			},
			Want: noted(within(In(Part{6, Anything, 0}), 0.25), noteLost),
		},
	}
}

func reportedMovies() []Case {
	plain := func(t testing.TB, path string, f func(m *movie)) {
		encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg4 -c:a aac")
		change(t, path, f)
	}
	return []Case{
		{
			Name: "mvhd-unknown.mp4", About: "fragmented; mvhd has a duration of all ones, as cameras of Axis write", From: []string{"https://github.com/AxisCommunications/media-stream-library-js/issues/184", isoFile + ", 8.2.2.3"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg4 -c:a aac -movflags frag_keyframe+empty_moov")
				change(t, path, func(m *movie) {
					mvhd := m.moov.child("mvhd")
					mvhd.body = put(mvhd.body, 16, 0xffffffff)
				})
			},
			Want: either(within(Steady(4, 440), 0.08)), Also: AlsoTrim,
		},
		{
			Name: "no-edit-list.mp4", About: "AAC without an edit list: the encoder's delay is played, or left out", From: []string{"https://github.com/Vanilagy/mediabunny/issues/199"},
			Make: func(t testing.TB, path string, _ *Want) {
				plain(t, path, func(m *movie) { m.sound().without("edts") })
			},
			Want: within(Steady(4.01, 440), 0.03), Also: AlsoTrim,
		},
		{
			Name: "unused-labels.mov", About: "four channels of PCM, all of them labelled as unused", From: []string{"https://github.com/mifi/lossless-cut/pull/3038", "CoreAudioTypes: kAudioChannelLabel_Unused = 0"},
			Make: func(t testing.TB, path string, _ *Want) {
				four := joined(slices.Repeat([]string{sine(0.2, 440)}, 4))
				encode(t, path, both(pictures(3), wave(four, 48000, 3, "quad")), "-c:v mpeg4 -c:a pcm_s16le -f mov")
				change(t, path, func(m *movie) {
					stsd := m.sound().table("stsd")
					i := bytes.Index(stsd.body, []byte("chan"))
					old := boxSize(stsd.body[i-4:])
					chan4 := box("chan", full(0, 0, 0, 4), make([]byte, 4*20))
					stsd.body = slices.Concat(stsd.body[:i-4], chan4, stsd.body[i-4+old:])
					stsd.body = put(stsd.body, 8, binary.BigEndian.Uint32(stsd.body[8:])+uint32(len(chan4)-old))
				})
			},
			Want: Want{Samples: 3 * 48000, Seconds: 3, Sound: [][]Part{{{3, 440, 0}}}}, Also: AlsoTrim,
		},
		{
			Name: "chpl-version-0.m4b", About: "a chpl of version 0, which has no reserved bytes", From: []string{"https://github.com/PaulWoitaschek/Voice/issues/3062"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(4, 440, 44100), "-c:a aac -f ipod")
				change(t, path, func(m *movie) {
					list := []byte{0, 0, 0, 0, 2}
					for i, title := range []string{"One", "Two"} {
						list = binary.BigEndian.AppendUint64(list, uint64(i)*20_000_000)
						list = append(append(list, byte(len(title))), title...)
					}
					m.moov.without("udta")
					m.moov.kids = append(m.moov.kids, &node{kind: "udta", body: box("chpl", list)})
				})
			},
			Want: withChapters(Steady(4, 440), Chapter{0, "One"}, Chapter{2, "Two"}), Also: AlsoChapters | AlsoTrim,
		},
		{
			Name: "encrypted-pictures.mp4", About: "the pictures are encrypted, the sound is clear", From: []string{"ISO/IEC 23001-7: each track is protected or not by itself"},
			Make: func(t testing.TB, path string, _ *Want) {
				plain(t, path, func(m *movie) {
					stsd := m.traks("vide")[0].table("stsd")
					sinf := box("sinf", box("frma", []byte("mp4v")), box("schm", full(0), []byte("cenc"), full(0x100)), box("schi", box("tenc", full(0), []byte{0, 0, 1, 8}, make([]byte, 16))))
					size := binary.BigEndian.Uint32(stsd.body[8:])
					stsd.body = append(put(stsd.body, 8, size+uint32(len(sinf))), sinf...)
					copy(stsd.body[12:], "encv")
				})
			},
			Want: Steady(4, 440), Also: AlsoTrim,
		},
	}
}

// reportedDownloads are MP4 files as downloaders and joiners leave them.
func reportedDownloads() []Case {
	return []Case{
		{
			Name: "dash.m4a", About: "a stream of DASH in one file: sidx, then fragments", From: []string{"https://github.com/ytdl-org/youtube-dl/issues/11035", isoFile + ", 8.16.3"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(6, 440, 44100), "-c:a aac -movflags +dash+global_sidx -frag_duration 2000000 -f mp4")
			},
			Want: either(within(Steady(6, 440), 0.08)), Also: AlsoTrim,
		},
		{
			Name: "duplicate-moov.m4a", About: "a live stream saved fragment by fragment, each download with its own ftyp and moov",
			From: []string{"https://github.com/yt-dlp/yt-dlp/issues/12128", "https://github.com/yt-dlp/yt-dlp/pull/6654"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "mp4", tone(6, 440, 44100), "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 2000000")
				boxes := topBoxes(b)
				var out []byte
				n := 0
				for _, x := range boxes {
					if x.kind == "moof" {
						if n++; n == 2 {
							out = append(out, b[:boxes[2].begin]...) // ftyp and moov once more
						}
					}
					out = append(out, b[x.begin:x.end]...)
				}
				write(t, path, out)
			},
			Want: either(within(Steady(6, 440), 0.08)), Also: AlsoTrim,
		},
		{
			Name: "two-descriptions.m4a", About: "two files joined into one track with two sample descriptions: 44100 Hz mono, then 48000 Hz stereo",
			From: []string{"https://github.com/mozilla/mp4parse-rust/issues/160", "https://github.com/advplyr/audiobookshelf/issues/5153", isoFile + ", 8.5.2 and 8.7.4: each chunk names its sample description"},
			Make: twoDescriptions(3), Want: noted(Want{Seconds: 6, Within: 0.01, Either: true, Lasts: -1}, noteChanged), Also: AlsoLoudness,
		},
		{
			Name: "two-descriptions-long.m4a", About: "the same with a title, and so long that it is encoded in chunks",
			From: []string{isoFile + ", 8.5.2 and 8.7.4: each chunk names its sample description"},
			Make: twoDescriptions(60), Want: noted(told(Want{Seconds: 120, Within: 0.01, Channels: 2, Either: true, Lasts: -1}, conversion.Tags{Title: "Two"}), noteChanged),
		},
	}
}

func twoDescriptions(seconds float64) func(t testing.TB, path string, w *Want) {
	return func(t testing.TB, path string, w *Want) { joinDescriptions(t, path, seconds, w) }
}

func joinDescriptions(t testing.TB, path string, seconds float64, w *Want) {
	other := path + ".other"
	encode(t, path, tone(seconds, 440, 44100), "-ac 1 -c:a aac -metadata title=Two -f mp4")
	encode(t, other, tone(seconds, 880, 48000), "-ac 2 -c:a aac -f mp4")
	a, b := readMovie(t, path), readMovie(t, other)
	first, second := a.sound(), b.sound()
	n1, n2 := uint32(first.samples()), uint32(second.samples())
	samples := func(m *movie) []byte {
		mdat := lastOf(topBoxes(m.before), "mdat")
		return m.before[mdat.begin+8 : mdat.end]
	}
	head := topBoxes(a.before)[0]
	one, two := samples(a), samples(b)
	at := uint32(head.end + 8)
	first.table("stsd").body = append(append(full(0, 2), first.table("stsd").body[8:]...), second.table("stsd").body[8:]...)
	first.table("stsz").body = full(0, append(append([]uint32{0, n1 + n2}, first.sizes()...), second.sizes()...)...)
	first.table("stsc").body = full(0, 2, 1, n1, 1, 2, n2, 2)
	first.table("stco").body = full(0, 2, at, at+uint32(len(one)))
	first.times(n1, 1024, n2, 941) // of 1/44100 s
	first.without("edts")
	write(t, path, a.before[:head.end], box("mdat", one, two), a.moov.encode())
	w.inPieces(Part{float64(n1) * 1024 / 44100, 440, 0}, Part{float64(n2) * 1024 / 48000, 880, 0})
}

func reportedMatroskas() []Case {
	late := within(Steady(6, 440), 0.08)
	return []Case{
		{
			Name: "subtitle-of-ten-hours.mkv", About: "the last subtitle stands at 10:00:00: the segment's duration is ten hours", From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/1940", "https://github.com/mbunkus/mkvtoolnix/issues/1495"},
			Make: func(t testing.TB, path string, _ *Want) {
				words := text(t, "words.srt", "1\n00:00:01,000 --> 00:00:03,000\nFirst\n\n2\n10:00:00,000 --> 10:00:02,000\nEnd\n")
				encode(t, path, both(pictures(6), tone(6, 440, 48000), []string{"-i", words}), "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac -c:s srt")
			},
			Want: late, Also: AlsoTrim,
		},
		{
			Name: "subtitle-of-two-days.mkv", About: "the first subtitle has a wrong time, 50 hours, beyond any limit", From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/1841"},
			Make: func(t testing.TB, path string, _ *Want) {
				words := text(t, "words.srt", "1\n00:00:01,000 --> 00:00:03,000\nFirst\n\n2\n50:00:00,000 --> 50:00:02,000\nEnd\n")
				encode(t, path, both(pictures(6), tone(6, 440, 48000), []string{"-i", words}), "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac -c:s srt")
			},
			Want: late, Also: AlsoTrim,
		},
		{
			Name: "codec-delay.mkv", About: "AC-3 with a CodecDelay of 256 samples", From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/1849", rfcMatroska + ", 5.1.4.1.25: CodecDelay"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg4 -c:a ac3")
				header, elements := segment(t, content(t, path))
				tracks := bytes.TrimPrefix(inside(elements[idTracks], 4), []byte("\xbf\x84"))                           // its checksum
				entry := bytes.LastIndex(tracks[:bytes.Index(tracks, []byte("A_AC3"))], []byte("\xae\x01\x00\x00\x00")) // ffmpeg's sizes have eight bytes
				if entry < 0 {
					t.Fatal("no track entry as ffmpeg writes them")
				}
				old := inside(tracks[entry:], 1)
				const delay = "\x56\xaa\x84\x00\x51\x61\x55" // 5333333 ns
				grown := ebml("\xae", old, []byte(delay))
				tracks = slices.Concat(tracks[4:entry], grown, tracks[entry+9+len(old):])
				body := slices.Concat(elements[idInfo], ebml(idTracks, tracks), elements[idCluster])
				write(t, path, header, ebml(idSegment, body))
			},
			Want: within(Steady(4, 440), 0.06), Also: AlsoTrim,
		},
		{
			Name: "recorder-killed.mkv", About: "the recorder was killed: sizes and duration were never written, the last cluster is cut", From: []string{"https://github.com/obsproject/obs-studio/pull/787"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 48000)), "-c:v mpeg4 -c:a aac -live 1 -f matroska")
				b := content(t, path)
				write(t, path, b[:len(b)*7/10])
			},
			Want: Want{Sound: [][]Part{{{3.5, 440, 0}}}, Unchecked: true},
		},
	}
}

// inside is the content of an element whose id has so many bytes.
func inside(b []byte, id int) []byte {
	width := ebmlWidth(b[id:])
	size := int(b[id] & (0xff >> width))
	for _, c := range b[id+1 : id+width] {
		size = size<<8 | int(c)
	}
	return b[id+width:][:size]
}
