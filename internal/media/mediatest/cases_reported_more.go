package mediatest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"tonearm/internal/conversion"
)

const (
	id3Chapters = "ID3v2 Chapter Frame Addendum 1.0"
	xingHeader  = "the Xing and LAME header: frames and bytes"
	aiffSpec    = "Audio Interchange File Format 1.3: chunks may come in any order"
	iec61937    = "IEC 61937: compressed sound in the samples of an IEC 60958 line"
	cafSpec     = "Apple Core Audio Format Specification 1.0, packet table chunk"
	rfcAmbi     = "RFC 8486 (Ambisonics in Ogg Opus), section 4: the first channel is half of each side"
	rfcHLS      = "RFC 8216 (HTTP Live Streaming), 3.4: packed audio"
)

// reportedMore are more inputs of public reports to other programs, made from
// their descriptions.
func reportedMore() []Case {
	return slices.Concat(moreMP3s(), joinedMP3s(), moreWaves(), moreSounds(), moreOggs(), moreMatroskas(), joinedMatroskas(), moreMovies(), moreStreams())
}

// bare are MP3 frames without any tag or information frame.
func bare(t testing.TB, expression string, rate int, seconds float64, args string) []byte {
	t.Helper()
	return raw(t, "mp3", wave(expression, rate, seconds, ""), "-c:a libmp3lame -id3v2_version 0 -write_xing 0 "+args)
}

// informed are MP3 frames behind an information frame, and where that begins.
func informed(t testing.TB, hz float64, rate int, args string) (b []byte, at int) {
	t.Helper()
	b = raw(t, "mp3", wave(sine(0.4, hz), rate, 3, ""), "-c:a libmp3lame -id3v2_version 0 "+args)
	if at = bytes.Index(b[:200], []byte("Info")); at < 0 {
		at = bytes.Index(b[:200], []byte("Xing"))
	}
	if at < 0 {
		t.Fatal("no information frame")
	}
	return b, at
}

func moreMP3s() []Case {
	return []Case{
		{
			Name: "xing-too-many.mp3", About: "the Xing header counts 40 % more frames than there are, and the right number of bytes",
			From: []string{"https://github.com/google/ExoPlayer/issues/4894", xingHeader},
			Make: func(t testing.TB, path string, _ *Want) {
				b, at := informed(t, 440, 44100, "-q:a 4")
				binary.BigEndian.PutUint32(b[at+8:], binary.BigEndian.Uint32(b[at+8:])*14/10)
				write(t, path, b)
			},
			Want: either(lasting(within(Steady(3, 440), 0.06), -1)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "xing-too-few.mp3", About: "the Xing header counts a tenth of the frames and of the bytes",
			From: []string{"https://github.com/google/ExoPlayer/issues/6037", "https://github.com/google/ExoPlayer/issues/9238", xingHeader},
			Make: func(t testing.TB, path string, _ *Want) {
				b, at := informed(t, 440, 44100, "-b:a 64k")
				for _, i := range []int{at + 8, at + 12} {
					binary.BigEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:])/10)
				}
				write(t, path, b)
			},
			Want: either(lasting(within(Steady(3, 440), 0.06), -1)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "quiet-start.mp3", About: "a variable bit rate without a Xing header: 5 s at 32 kbit/s, then 10 s at 320",
			From: []string{"https://github.com/google/ExoPlayer/issues/8963", "https://github.com/google/ExoPlayer/issues/4071", "ISO/IEC 11172-3, 2.4.2.3: every frame has its bit rate"},
			Make: func(t testing.TB, path string, w *Want) {
				quiet, loud := bare(t, "0*t|0*t", 44100, 5, "-b:a 32k"), bare(t, sine(0.4, 440)+"|"+sine(0.4, 440), 44100, 10, "-b:a 320k")
				w.inPieces(Part{packetSeconds(t, quiet, "mp3", 1152, 44100), 0, 0}, Part{packetSeconds(t, loud, "mp3", 1152, 44100), 440, 0})
				write(t, path, quiet, loud)
			},
			Want: either(within(Want{Seconds: 15}, 0.06)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "big-tags.mp3", About: "a constant bit rate without a Xing header; 400 kB of tags stand before the sound and behind it",
			From: []string{"https://github.com/MusicPlayerDaemon/MPD/issues/2328", "APEv2: a footer of 32 bytes says how long the tag is"},
			Make: func(t testing.TB, path string, w *Want) {
				sound, ballast := bare(t, sine(0.4, 440), 44100, 6, "-b:a 64k"), make([]byte, 400_000)
				w.inPieces(Part{packetSeconds(t, sound, "mp3", 1152, 44100), 440, 0})
				write(t, path, id3v24Tag(id3v24Frame("GEOB", ballast)), sound, apeTag("Cover Art (Front)", ballast))
			},
			Want: either(within(Want{Seconds: 6}, 0.02)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "id3-chapters.mp3", About: "chapters of ID3 whose titles are in Latin-1, UTF-8 and UTF-16, as a podcast's host wrote them",
			From: []string{"https://github.com/michaelnisi/MNAVChapters/pull/3", id3Chapters, "ID3v2.4, 4: encoding 0 is ISO 8859-1, 1 is UTF-16, 3 is UTF-8"},
			Make: func(t testing.TB, path string, _ *Want) {
				words := []byte{1, 0xff, 0xfe}
				for _, u := range utf16.Encode([]rune("日本語")) {
					words = binary.LittleEndian.AppendUint16(words, u)
				}
				frames := slices.Concat(chap(0, []byte("\x00Intro\x00")), chap(2, []byte("\x03Seccio\u0301n\x00")), chap(4, words))
				write(t, path, id3v24Tag(frames), bare(t, sine(0.4, 440), 44100, 6, "-b:a 128k"))
			},
			Want: either(withChapters(within(Steady(6, 440), 0.08), Chapter{0, "Intro"}, Chapter{2, "Seccio\u0301n"}, Chapter{4, "日本語"})), Also: AlsoTrim | AlsoChapters,
		},
	}
}

// joinedMP3s are MP3s of several pieces.
func joinedMP3s() []Case {
	return []Case{
		{
			Name: "mp3-rate-change.mp3", About: "two MP3s joined, each with its Info frame: 44100 Hz, then 32000 Hz",
			From: []string{"https://github.com/JamesHeinrich/getID3/issues/272", "https://github.com/SYSTRAN/faster-whisper/issues/1451", "ISO/IEC 11172-3, 2.4.2.3: every frame has its sampling frequency"},
			Make: func(t testing.TB, path string, _ *Want) {
				first, _ := informed(t, 440, 44100, "-b:a 128k")
				second, _ := informed(t, 880, 32000, "-b:a 128k")
				write(t, path, id3("First"), first, id3("Second"), second)
			},
			Want: noted(either(lasting(within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.2), -1)), noteChanged), Also: AlsoLoudness | AlsoTrim,
		},
		{
			Name: "mp3-version-change.mp3", About: "44100 Hz stereo of MPEG-1, then 22050 Hz mono of MPEG-2, bare frames",
			From: []string{"https://github.com/Vanilagy/mediabunny/issues/382", "ISO/IEC 13818-3, 2.4.2.3: every frame has its version"},
			Make: func(t testing.TB, path string, w *Want) {
				first, second := bare(t, sine(0.3, 440)+"|"+sine(0.3, 440), 44100, 3, "-b:a 128k"), bare(t, sine(0.3, 880), 22050, 3, "-b:a 64k")
				w.inPieces(Part{packetSeconds(t, first, "mp3", 1152, 44100), 440, 0.3}, Part{packetSeconds(t, second, "mp3", 576, 22050), 880, 0.3})
				write(t, path, first, second)
			},
			Want: noted(either(lasting(within(Want{Seconds: 6}, 0.005), -1)), noteChanged), Also: AlsoLoudness | AlsoTrim,
		},
		{
			Name: "packed.mp3", About: "segments of packed MP3 joined: a tag with the time stands before each, also in the middle",
			From: []string{"https://github.com/video-dev/hls.js/pull/2840", rfcHLS},
			Make: func(t testing.TB, path string, w *Want) {
				var all []byte
				var parts []Part
				for i := range 3 {
					b := bare(t, sine(0.4, 440+220*float64(i)), 44100, 2, "-b:a 128k")
					parts = append(parts, Part{packetSeconds(t, b, "mp3", 1152, 44100), 440 + 220*float64(i), 0})
					all = append(append(all, hlsTag(uint64(i)*2*90000)...), b...)
				}
				w.inPieces(parts...)
				write(t, path, all)
			},
			Want: either(within(Want{Seconds: 6}, 0.02)), Also: AlsoTrim,
		},
	}
}

// apeTag is an APEv2 tag without a header, with one binary item.
func apeTag(key string, value []byte) []byte {
	little := binary.LittleEndian
	item := slices.Concat(little.AppendUint32(nil, uint32(len(value))), little.AppendUint32(nil, 2), []byte(key), []byte{0}, value)
	footer := little.AppendUint32([]byte("APETAGEX"), 2000)
	footer = little.AppendUint32(footer, uint32(len(item)+32))
	footer = little.AppendUint32(footer, 1)
	return slices.Concat(item, little.AppendUint32(footer, 0), make([]byte, 8))
}

// id3v24Tag is a tag of version 2.4 with these frames.
func id3v24Tag(frames []byte) []byte {
	return slices.Concat([]byte{'I', 'D', '3', 4, 0, 0}, syncSafe(len(frames)), frames)
}

func id3v24Frame(id string, body []byte) []byte {
	return slices.Concat([]byte(id), syncSafe(len(body)), []byte{0, 0}, body)
}

// syncSafe is a number of ID3v2.4: seven bits in each byte.
func syncSafe(n int) []byte {
	return []byte{byte(n >> 21), byte(n >> 14 & 0x7f), byte(n >> 7 & 0x7f), byte(n & 0x7f)}
}

// chap is a chapter frame that begins at some second and lasts two; title has its
// encoding as its first byte.
func chap(at uint32, title []byte) []byte {
	body := []byte{'c', 'h', byte('0' + at), 0}
	for _, v := range []uint32{at * 1000, at*1000 + 2000, 0xffffffff, 0xffffffff} {
		body = binary.BigEndian.AppendUint32(body, v)
	}
	return id3v24Frame("CHAP", append(body, id3v24Frame("TIT2", title)...))
}

// hlsTag has the time of a segment's first sample, on a clock of 90 kHz.
func hlsTag(at uint64) []byte {
	return id3v24Tag(id3v24Frame("PRIV", binary.BigEndian.AppendUint64([]byte("com.apple.streaming.transportStreamTimestamp\x00"), at)))
}

// pcmFile is a WAV file of two channels of 16 bits with these bytes as samples.
func pcmFile(t testing.TB, path string, rate string, b []byte) {
	t.Helper()
	encode(t, path, []string{"-f", "s16le", "-ar", rate, "-ac", "2", "-i", text(t, "pcm", string(b))}, "-c copy -f wav")
}

// swapped has the bytes of each 16-bit word in the other order.
func swapped(b []byte) []byte {
	b = bytes.Clone(b[:len(b)&^1])
	for i := 0; i < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return b
}

func moreWaves() []Case {
	dts := func(t testing.TB) []byte {
		return swapped(raw(t, "dts", tone(4, 440, 44100), "-ac 2 -c:a dca -strict -2 -b:a 1411200"))
	}
	return []Case{
		{
			Name: "dts-cd.wav", About: "DTS in the samples of a WAV file, as on a DTS CD: played as PCM it is noise",
			From: []string{"https://github.com/google/ExoPlayer/issues/9096", "https://github.com/MusicPlayerDaemon/MPD/issues/2158", "ETSI TS 102 114, 5.3: the sync word tells DTS in 16-bit words from PCM"},
			Make: func(t testing.TB, path string, _ *Want) { pcmFile(t, path, "44100", dts(t)) },
			Want: either(within(Steady(4, 440), 0.08)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "dts-cd-zeros.wav", About: "the first track of a DTS CD: 30 kB of zeros stand before the first frame of DTS",
			From: []string{"https://github.com/DeaDBeeF-Player/deadbeef/issues/2755", "https://github.com/music-assistant/server/pull/5803"},
			Make: func(t testing.TB, path string, _ *Want) {
				pcmFile(t, path, "44100", append(make([]byte, 30_000), dts(t)...))
			},
			Want: or(either(lasting(within(Steady(4, 440), 0.08), -1)), Refused(conversion.CodeUnsupportedCodec)),
		},
		{
			Name: "spdif.wav", About: "AC-3 in bursts of IEC 61937 in the samples of a WAV file, as a recorder took them from a digital line",
			From: []string{"https://github.com/philippe44/AirConnect/issues/30", iec61937},
			Make: func(t testing.TB, path string, _ *Want) {
				pcmFile(t, path, "48000", raw(t, "spdif", tone(4, 440, 48000), "-ac 2 -c:a ac3"))
			},
			Want: or(either(within(Steady(4, 440), 0.08)), Refused(conversion.CodeUnsupportedCodec)),
		},
	}
}

// moreSounds are files of sound alone.
func moreSounds() []Case {
	exact := Want{Samples: 3 * 44100, Seconds: 3, Sound: [][]Part{{{3, 440, 0.4}}}}
	return []Case{
		{
			Name: "flac-id3.flac", About: "an ID3v2 tag before FLAC and an ID3v1 tag behind it, as a ripper wrote them",
			From: []string{"https://github.com/xiph/flac/issues/523", flacSpec + ", 5: streaminfo has the number of samples"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, id3("First"), raw(t, "flac", wave(sine(0.4, 440), 44100, 3, ""), "-c:a flac"), append([]byte("TAGThird"), make([]byte, 120)...))
			},
			Want: exact, Also: AlsoTrim,
		},
		{
			Name: "comm-last.aiff", About: "the samples stand before the chunk that says what they are", From: []string{"https://github.com/mackron/dr_libs/issues/265", aiffSpec},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "aiff", wave(sine(0.4, 440), 44100, 3, ""), "-bitexact")
				comm, ssnd := bytes.Index(b, []byte("COMM")), bytes.Index(b, []byte("SSND"))
				write(t, path, b[:comm], b[ssnd:], b[comm:ssnd])
			},
			Want: exact, Also: AlsoTrim,
		},
		{
			Name: "imessage.caf", About: "a voice message of iMessage: Opus in CAF, described with 24000 Hz, 312 samples of priming",
			From: []string{"https://github.com/openclaw/imsg/pull/278", "https://github.com/BlueBubblesApp/bluebubbles-server/pull/793", cafSpec},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "caf", tone(3, 440, 24000), "-c:a libopus -b:a 32k")
				desc, pakt := bytes.Index(b, []byte("desc"))+12, bytes.Index(b, []byte("pakt"))+12
				binary.BigEndian.PutUint64(b[desc:], 0x40d7700000000000) // 24000.0
				binary.BigEndian.PutUint32(b[desc+20:], 480)
				packets := binary.BigEndian.Uint64(b[pakt:])
				binary.BigEndian.PutUint64(b[pakt+8:], 72000)
				binary.BigEndian.PutUint32(b[pakt+16:], 156)
				binary.BigEndian.PutUint32(b[pakt+20:], uint32(packets*480-72000-156))
				write(t, path, b)
			},
			Want: either(within(Steady(3, 440), 0.06)), Also: AlsoTrim,
		},
		{
			Name: "packed.aac", About: "segments of packed AAC joined by a downloader: a tag with the time stands before each, also in the middle",
			From: []string{"https://github.com/streamlink/streamlink/issues/4721", "https://github.com/JamesHeinrich/getID3/issues/104", rfcHLS},
			Make: func(t testing.TB, path string, w *Want) {
				var all []byte
				var parts []Part
				for i := range 3 {
					b := raw(t, "adts", tone(2, 440+220*float64(i), 44100), "-ac 2 -c:a aac")
					parts = append(parts, Part{adtsSeconds(b), 440 + 220*float64(i), 0})
					all = append(append(all, hlsTag(uint64(i)*2*90000)...), b...)
				}
				w.inPieces(parts...)
				write(t, path, all)
			},
			Want: either(within(Want{Seconds: 6}, 0.06)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "tape.dv", About: "a tape of DV on which the sound goes from 48000 to 32000 Hz",
			From: []string{"https://github.com/mipops/dvrescue/issues/694", "https://github.com/mipops/dvrescue/issues/435", "IEC 61834-2: the source pack of every frame has its sampling frequency"},
			Make: func(t testing.TB, path string, _ *Want) {
				part := func(hz float64, rate int) []byte {
					in := both([]string{"-f", "lavfi", "-i", "testsrc=s=720x576:r=25:d=2"}, tone(2, hz, rate))
					return raw(t, "dv", in, "-pix_fmt yuv420p -c:v dvvideo -c:a pcm_s16le -ac 2")
				}
				write(t, path, part(440, 48000), part(880, 32000))
			},
			Want:      orRefused(noted(either(within(In(Part{2, 440, 0}, Part{2, 880, 0}), 0.1)), noteChanged), conversion.CodeUnsupportedCodec),
			ByVersion: true,
		},
	}
}

func moreOggs() []Case {
	head := func(t testing.TB, path string, b []byte, change func(head []byte)) {
		pages := oggPages(t, b)
		change(pages[0][bytes.Index(pages[0], []byte("OpusHead")):])
		seal(pages[0])
		write(t, path, pages...)
	}
	ambisonic := strings.Join([]string{sine(0.4, 440), "0*t", "0*t", "0*t"}, "|")
	return []Case{
		{
			Name: "opus-gain.opus", About: "the header asks for 6 dB less", From: []string{"https://github.com/MusicPlayerDaemon/MPD/issues/957", "https://github.com/jiixyj/loudness-scanner/issues/40", rfcOpus + ", section 5.1: output gain, Q7.8"},
			Make: func(t testing.TB, path string, _ *Want) {
				head(t, path, raw(t, "ogg", wave(sine(0.4, 440), 48000, 3, ""), "-c:a libopus -b:a 128k"), func(head []byte) {
					gain := int16(-1541)
					binary.LittleEndian.PutUint16(head[16:], uint16(gain))
				})
			},
			Want: within(In(Part{3, 440, 0.2}), 0.06), Also: AlsoTrim,
		},
		{
			Name: "ambisonic.opus", About: "the sound of a 360° video: four channels of first order, mapping family 2",
			From: []string{"https://github.com/xiph/opus-tools/issues/74", "https://github.com/google/spatial-media/issues/249", rfcAmbi},
			Make: func(t testing.TB, path string, _ *Want) {
				head(t, path, raw(t, "ogg", wave(ambisonic, 48000, 3, "4.0"), "-c:a libopus -b:a 256k -mapping_family 255"), func(head []byte) { head[18] = 2 })
			},
			Want: within(Steady(3, 440), 0.06), Also: AlsoTrim | AlsoLoudness | AlsoChannels,
		},
	}
}
