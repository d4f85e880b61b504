package mediatest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

const (
	rfcMatroska = "RFC 9559 (Matroska)"
	rfcOpus     = "RFC 7845 (Ogg Opus)"
	rfcOgg      = "RFC 3533 (Ogg)"
	mpegTS      = "ISO/IEC 13818-1 (MPEG transport streams)"
	flvSpec     = "Adobe Flash Video File Format Specification 10.1, annex E"
)

// matroskas are Matroska files.
func matroskas() []Case {
	subtitle := func(name, args string) Case {
		return Case{
			Name: name, About: "the last subtitle is shown until 4 s behind the end of picture and sound",
			From: []string{rfcMatroska + ", 5.1.2.10: Duration is that of the Segment, not of each track", "https://github.com/mbunkus/mkvtoolnix/issues/1495", "https://github.com/yt-dlp/yt-dlp/issues/3100"},
			Make: func(t testing.TB, path string, _ *Want) {
				words := text(t, "words.srt", "1\n00:00:01,000 --> 00:00:03,000\nFirst\n\n2\n00:00:05,000 --> 00:00:12,000\nStays\n")
				encode(t, path, both(pictures(8), tone(8, 440, 48000), []string{"-i", words}), "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac "+args)
			},
			Want: Steady(8, 440), Also: AlsoTrim,
		}
	}
	return []Case{
		subtitle("long-subtitle.mkv", "-c:s srt"), subtitle("long-subtitle.mp4", "-c:s mov_text"),
		{
			Name: "tracks-last.mkv", About: "the Tracks stand behind the clusters, where an editor of headers moves them if they grow",
			From: []string{rfcMatroska + ", 6.2: Tracks may stand behind the clusters if a SeekHead lists them", "https://github.com/mbunkus/mkvtoolnix/issues/1154", "https://github.com/androidx/media/issues/3377"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(5), tone(5, 440, 48000)), "-c:v mpeg4 -c:a ac3")
				rearrange(t, path, path, idInfo, idCluster, idTracks, idCues)
			},
			Want: within(Steady(5, 440), 0.06), Also: AlsoTrim,
		},
		{
			Name: "long-comment.mkv", About: "a comment of 300 kB, a transcript; of two sound tracks the second is the default",
			From: []string{rfcMatroska + ", 5.1.8.1.2.3: a TagString has no greatest length; 5.1.4.1.5: FlagDefault"},
			Make: func(t testing.TB, path string, _ *Want) {
				var b strings.Builder
				b.WriteString("title=Talk\ncomment=")
				for i := range 3000 {
					fmt.Fprintf(&b, "line %04d of the transcript, with words and words and words and words and words and words and words\\\n", i+1)
				}
				b.WriteString("\nartist=Somebody\n")
				encode(t, path, both(pictures(5), tone(5, 440, 48000), tone(5, 880, 44100), []string{"-i", chapters(t, b.String(), 0)}),
					"-map 0 -map 1 -map 2 -map_metadata 3 -c:v mpeg4 -c:a:0 aac -c:a:1 flac -disposition:a:0 0 -disposition:a:1 default")
			},
			Want: longComment(),
		},
	}
}

func longComment() Want {
	w := told(Steady(5, 880), conversion.Tags{Title: "Talk", Artist: "Somebody"})
	w.Rate, w.Samples = 44100, 5*44100
	return w
}

// oggs are Ogg files.
func oggs() []Case {
	chained := func(name, codec string, rate int) Case {
		want := within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.1)
		second := within(Steady(2, 880), 0.1) // the end of the second link
		second.trimmed = true
		return Case{
			Name: name, About: fmt.Sprintf("a chained Ogg, as of a radio: 3 s, then 3 s in a stream of its own (%s, %d Hz)", codec, rate),
			From: []string{rfcOgg + ", section 4: chained streams are played one after the other", "https://github.com/zaps166/QMPlay2/issues/94"},
			Make: func(t testing.TB, path string, _ *Want) {
				first := 44100
				if codec == "libopus" {
					first = 48000
				}
				write(t, path, raw(t, "ogg", tone(3, 440, first), "-ac 2 -c:a "+codec), raw(t, "ogg", tone(3, 880, rate), "-ac 2 -c:a "+codec))
			},
			Want: want, Tries: []Try{{conversion.Options{Start: 4}, second}}, Also: AlsoTrim,
		}
	}
	midstream := func(name, codec string) Case {
		return Case{
			Name: name, About: "Ogg captured in the middle of a radio's stream: granules start at 100 h (" + codec + ")",
			From: []string{rfcOpus + ", section 4.5: the first granule need not be 0", "https://github.com/zeroclaw-labs/zeroclaw/pull/10627", "Vorbis I specification, A.2: a stream may begin at any granule"},
			Make: func(t testing.TB, path string, _ *Want) {
				pages := oggPages(t, raw(t, "ogg", tone(6, 440, 48000), "-ac 2 -c:a "+codec))
				for _, p := range pages {
					if granule(p) > 0 {
						setGranule(p, granule(p)+100*3600*48000)
						seal(p)
					}
				}
				write(t, path, pages...)
			},
			Want: either(within(Steady(6, 440), 0.06)), Also: AlsoTrim,
		}
	}
	return []Case{
		chained("chained-vorbis.ogg", "libvorbis", 44100),
		chained("chained-vorbis-22050.ogg", "libvorbis", 22050),
		chained("chained-opus.opus", "libopus", 48000),
		chained("chained-flac.oga", "flac", 44100),
		midstream("ogg-midstream.opus", "libopus"), midstream("ogg-midstream.ogg", "libvorbis"),
		{
			Name: "opus-preskip.opus", About: "the largest pre-skip, 65535 samples",
			From: []string{rfcOpus + ", section 4.3: the length is the last granule less the pre-skip"},
			Make: func(t testing.TB, path string, w *Want) {
				pages := oggPages(t, raw(t, "ogg", wave("0.4*sin(2*PI*if(lt(t,3),440,880)*t)", 48000, 12, ""), "-c:a libopus"))
				i := bytes.Index(pages[0], []byte("OpusHead"))
				own := int(binary.LittleEndian.Uint16(pages[0][i+10:]))
				binary.LittleEndian.PutUint16(pages[0][i+10:], 65535)
				seal(pages[0])
				w.Samples = int(granule(pages[len(pages)-1])) - 65535
				turn := 3 - float64(65535-own)/48000
				w.inPieces(Part{turn, 440, 0.4}, Part{float64(w.Samples)/48000 - turn, 880, 0.4})
				write(t, path, pages...)
			},
			Also: AlsoTrim, Want: Want{Seconds: 10.6},
		},
	}
}

// streams are transport streams and raw streams whose parameters change.
func streams() []Case {
	flv := func(name string, rates [2]int, seconds float64, tries []Try, also Also) Case {
		want := within(In(Part{seconds, 440, 0}, Part{seconds, 880, 0}), 0.15)
		return Case{
			Name: name, About: fmt.Sprintf("a live stream saved as FLV: AAC goes from %d to %d Hz with a new sequence header", rates[0], rates[1]),
			From: []string{flvSpec + ".4.2: an AAC sequence header may come at any time", "https://github.com/Zibbp/ganymede/issues/608"},
			Make: func(t testing.TB, path string, _ *Want) {
				first := raw(t, "flv", both(pictures(seconds), tone(seconds, 440, rates[0])), "-c:v flv -c:a aac -ac 2")
				second := raw(t, "flv", both(pictures(seconds), tone(seconds, 880, rates[1])), "-c:v flv -c:a aac -ac 2")
				write(t, path, first[:13], flvTags(first, 0), flvTags(second, uint32(seconds*1000)))
			},
			Want: noted(unchecked(want), noteChanged), Tries: tries, Also: also,
		}
	}
	late := noted(unchecked(within(In(Part{19, 440, 0}, Part{10, 880, 0}), 0.0001)), noteChanged)
	late.trimmed = true
	return []Case{
		flv("flv-config-change.flv", [2]int{44100, 48000}, 5, nil, AlsoAll),
		flv("flv-change-late.flv", [2]int{22050, 44100}, 20, []Try{{conversion.Options{Start: 1, End: 30}, late}}, AlsoLoudness),
		tsRateTrim("aac"), tsRateTrim("mp2"),
		{
			Name: "ts-wrap.ts", About: "the clock of 33 bits wraps 5 s after the beginning",
			From: []string{mpegTS + ", 2.4.3.7: PTS has 33 bits of a 90 kHz clock", "https://github.com/xbmc/xbmc/pull/1770"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(12), wave("0.4*sin(2*PI*if(lt(t,4),440,if(lt(t,8),880,1320))*t)", 48000, 12, "")),
					"-c:v mpeg2video -c:a aac -muxdelay 0 -muxpreload 0 -output_ts_offset 95438.7 -f mpegts")
			},
			Want: either(within(In(Part{4, 440, 0}, Part{4, 880, 0}, Part{4, 1320, 0}), 0.1)), Also: AlsoAll,
		},
		layoutChange(), quadChange(), monoStereo(),
		rateChanges("ts-rate-change.aac", "aac", 10, 2, "0.125"),
		rateChanges("rate-change-6.aac", "aac", 6, 2, "0.3"),
		rateChanges("rate-change-6.ac3", "ac3", 6, 2, "0.3"),
		rateChanges("rate-change-6.mp2", "mp2", 6, 2, "0.3"),
	}
}

// flvTags are the tags of an FLV file without its script data, later by some
// milliseconds.
func flvTags(b []byte, later uint32) []byte {
	var out []byte
	for b = b[13:]; len(b) >= 15; {
		size := 11 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		tag := bytes.Clone(b[:size+4])
		at := uint32(tag[7])<<24 | uint32(tag[4])<<16 | uint32(tag[5])<<8 | uint32(tag[6])
		at += later
		tag[4], tag[5], tag[6], tag[7] = byte(at>>16), byte(at>>8), byte(at), byte(at>>24)
		if tag[0] != 18 {
			out = append(out, tag...)
		}
		b = b[size+4:]
	}
	return out
}

func tsRateTrim(codec string) Case {
	part := func(t testing.TB, hz float64, rate int, args string) []byte {
		in := both([]string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=60"}, tone(60, hz, rate))
		return raw(t, "mpegts", in, "-c:v mpeg2video -ac 2 -c:a "+codec+" -muxdelay 0 -muxpreload 0 "+args)
	}
	want := within(In(Part{60, 440, 0}, Part{60, 880, 0}), 0.15)
	want.Unchecked = true
	want = noted(want, noteChanged)
	trim := want.Trimmed(30, 64)
	return Case{
		Name: "ts-rate-trim-" + codec + ".ts", About: "a recording in which the sound goes from 44100 to 48000 Hz after 60 s: film, then news (" + codec + ")",
		From: []string{mpegTS + ", 2.4.4.9: a program map may change at any time", "https://github.com/Zibbp/ganymede/issues/492"},
		Make: func(t testing.TB, path string, _ *Want) {
			write(t, path, part(t, 440, 44100, ""), part(t, 880, 48000, "-output_ts_offset 60"))
		},
		Want: want, Tries: []Try{{conversion.Options{Start: 30, End: 64}, trim}}, Also: AlsoLoudness,
	}
}

func layoutChange() Case {
	quiet, loud := sine(0.05, 440), sine(0.2, 880)
	preset := Want{Seconds: 20, Within: 0.1, LUFS: -16, Channels: 2, Unchecked: true}
	return Case{
		Name: "ac3-layout-change.ts", About: "a broadcast: film in 5.1, quiet, then news in stereo, loud; AC-3 at one rate",
		From: []string{"ETSI TS 102 366 (AC-3), 4.4.2.3: acmod stands in every frame", "EBU R 128: loudness of the whole programme", bs775},
		Make: func(t testing.TB, path string, w *Want) {
			a := raw(t, "ac3", wave(joined([]string{quiet, quiet, quiet, "0*t", "0*t", "0*t"}), 48000, 10, "5.1"), "-c:a ac3")
			b := raw(t, "ac3", wave(loud+"|"+loud, 48000, 10, ""), "-c:a ac3")
			w.inPieces(Part{packetSeconds(t, a, "ac3", 1536, 48000), 440, 0}, Part{packetSeconds(t, b, "ac3", 1536, 48000), 880, 0})
			all := text(t, "all.ac3", string(a)+string(b))
			encode(t, path, []string{"-f", "ac3", "-i", all}, "-c copy -f mpegts")
		},
		Want:  Want{Channels: 2, Unchecked: true, Seconds: 20, Within: 0.005, Notes: []conversion.NoteCode{noteChanged}},
		Tries: []Try{{conversion.Options{Preset: "podcast"}.Resolved(), preset}}, Also: AlsoAll,
	}
}

func quadChange() Case {
	return Case{
		Name: "ac3-quad-change.ac3", About: "music in four channels, a tone in the left one behind, then stereo; AC-3 at one rate",
		From: []string{"ETSI TS 102 366 (AC-3), 4.4.2.3: acmod 6 is left, right, and both surrounds", bs775 + ": surrounds 3 dB down on their own side"},
		Make: func(t testing.TB, path string, w *Want) {
			a := raw(t, "ac3", wave("0*t|0*t|"+sine(0.4, 440)+"|0*t", 48000, 4, "quad(side)"), "-c:a ac3 -b:a 448k")
			b := raw(t, "ac3", wave(sine(0.2, 880)+"|"+sine(0.2, 880), 48000, 4, ""), "-c:a ac3")
			first, second := packetSeconds(t, a, "ac3", 1536, 48000), packetSeconds(t, b, "ac3", 1536, 48000)
			w.Seconds = first + second
			w.Sound = [][]Part{{{first, 440, 0.4 * 0.7071 / 1.7071}, {second, 880, 0.2}}, {{first, 0, 0}, {second, 880, 0.2}}}
			write(t, path, a, b)
		},
		Want: noted(Want{Seconds: 8, Within: 0.005, Channels: 2, Either: true, Sound: [][]Part{{}, {}}}, noteChanged),
	}
}

func monoStereo() Case {
	want := Want{Seconds: 20, Within: 0.1, Channels: 2, Either: true, Notes: []conversion.NoteCode{noteChanged},
		Sound: [][]Part{{{10, 440, 0.125}, {10, 880, 0.3}}, {{10, 440, 0.125}, {10, 1320, 0.3}}}}
	one := Want{Seconds: 20, Within: 0.1, Channels: 1, Either: true, Noise: 0.6, Sound: [][]Part{{{10, 440, 0.125}, {10, 880, 0.15}}}}
	return Case{
		Name: "mono-stereo-change.aac", About: "a broadcast: 10 s mono, then 10 s stereo with another tone in each channel",
		From: []string{"ISO/IEC 14496-3, 1.A.2.2: channel_configuration stands in every ADTS header", bs775 + ": mono to both at its level, stereo to mono at half of the sum"},
		Make: func(t testing.TB, path string, w *Want) {
			a := raw(t, "adts", tone(10, 440, 48000), "-ac 1 -c:a aac -b:a 192k")
			b := raw(t, "adts", wave(sine(0.3, 880)+"|"+sine(0.3, 1320), 48000, 10, ""), "-c:a aac -b:a 320k")
			for c := range w.Sound {
				w.Sound[c] = slices.Clone(w.Sound[c])
				w.Sound[c][0].Seconds, w.Sound[c][1].Seconds = adtsSeconds(a), adtsSeconds(b)
			}
			w.Seconds, w.Within = adtsSeconds(a)+adtsSeconds(b), 0.005
			write(t, path, a, b)
		},
		Want: want, Tries: []Try{{conversion.Options{Channels: 2}, want}, {conversion.Options{Channels: 1}, one}}, Also: AlsoLoudness | AlsoTrim,
	}
}

// rateChanges are pieces whose rate goes from 48000 to 44100 Hz and back.
func rateChanges(name, codec string, pieces int, seconds float64, level string) Case {
	format, samples := codec, map[string]int{"aac": 1024, "ac3": 1536, "mp2": 1152}[codec]
	demuxer := codec
	switch codec {
	case "aac":
		format = "adts"
	case "mp2":
		demuxer = "mp3" // which reads all layers
	}
	return Case{
		Name: name, About: fmt.Sprintf("%d pieces of %g s, the rate going from 48000 to 44100 Hz and back, as at breaks of a broadcast (%s)", pieces, seconds, codec),
		From: []string{fmt.Sprintf("the sum over all frames of %d samples at their own rate (ISO/IEC 14496-3, ISO/IEC 13818-3, ETSI TS 102 366)", samples)},
		Make: func(t testing.TB, path string, w *Want) {
			var all []byte
			var parts []Part
			for i := range pieces {
				rate := []int{48000, 44100}[i%2]
				hz := float64(400 + 100*i)
				b := raw(t, format, wave(fmt.Sprintf("%s*sin(2*PI*%g*t)", level, hz), rate, seconds, ""), "-ac 2 -c:a "+codec)
				parts = append(parts, Part{packetSeconds(t, b, demuxer, samples, rate), hz, 0})
				all = append(all, b...)
			}
			w.inPieces(parts...)
			write(t, path, all)
		},
		Want: Want{Seconds: math.Round(float64(pieces) * seconds), Within: 0.005, Either: true, Notes: []conversion.NoteCode{noteChanged}}, Also: AlsoLoudness | AlsoTrim,
	}
}

// texts are files with tags that are hard to read.
func tagged() []Case {
	const title, artist = "Café – Münchner Straße", "Jürgen"
	want := told(Steady(2, 440), conversion.Tags{Title: title, Artist: artist})
	from := []string{"Multimedia Programming Interface and Data Specifications 1.0 (RIFF INFO): text in the system's code page", "ID3v1: 30 bytes without an encoding"}
	fixed := func(s string, n int) []byte { return append(windows1252(s), make([]byte, n-len(windows1252(s)))...) }
	return []Case{
		{
			Name: "latin1.wav", About: "INFO texts in Windows-1252, as Windows tools write them", From: from, Want: want,
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "wav", tone(2, 440, 44100), "-bitexact")
				info := []byte("INFO")
				for _, s := range [][2]string{{"INAM", title}, {"IART", artist}} {
					v := append(windows1252(s[1]), 0)
					if len(v)%2 == 1 {
						v = append(v, 0)
					}
					info = append(binary.LittleEndian.AppendUint32(append(info, s[0]...), uint32(len(v))), v...)
				}
				b = append(binary.LittleEndian.AppendUint32(append(b, "LIST"...), uint32(len(info))), info...)
				binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
				write(t, path, b)
			},
		},
		{
			Name: "latin1.mp3", About: "an ID3v1 tag in Windows-1252", From: from, Want: either(want),
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "mp3", tone(2, 440, 44100), "-bitexact -id3v2_version 0")
				write(t, path, b, []byte("TAG"), fixed(title, 30), fixed(artist, 30), fixed("", 30), []byte("2019"), fixed("", 30), []byte{0})
			},
		},
	}
}
