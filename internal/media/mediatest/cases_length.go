package mediatest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

// lengths are files whose headers say another length than the sound has.
func lengths() []Case {
	return slices.Concat(wrongDurations(), wrongFragments(), cutShort(), otherClocks(), withoutLength())
}

// patched changes bytes behind the first place where mark stands.
func patched(t testing.TB, b []byte, mark string, f func(at []byte)) {
	t.Helper()
	i := bytes.Index(b, []byte(mark))
	if i < 0 {
		t.Fatalf("%q is not in the file", mark)
	}
	f(b[i+len(mark):])
}

func bigFloat(v float64) func(at []byte) {
	return func(at []byte) { binary.BigEndian.PutUint64(at, math.Float64bits(v)) }
}

func wrongDurations() []Case {
	made := func(name, about string, from []string, args string, want Want, f func(t testing.TB, b []byte)) Case {
		return Case{
			Name: name, About: about, From: from, Want: want, Also: AlsoTrim,
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 44100)), args)
				b := content(t, path)
				f(t, b)
				write(t, path, b)
			},
		}
	}
	const duration = "\x44\x89\x88" // with eight bytes
	six := within(Steady(6, 440), 0.1)
	unsure := made("duration-alone.flv", "the duration in the metadata is 100 s, and no size says whether tags are missing", []string{flvSpec + ".5"}, "-c:v flv -c:a libmp3lame", unchecked(six),
		func(t testing.TB, b []byte) {
			patched(t, b, "\x00\x08duration\x00", bigFloat(100))
			patched(t, b, "\x00\x08filesize\x00", bigFloat(0))
		})
	unsure.Also, unsure.Tries = 0, []Try{{conversion.Options{Start: 2, End: 4}, six.Trimmed(2, 4)}} // all that was asked for is there
	mkv := []string{rfcMatroska + ", 5.1.2.10: Duration is informational"}
	shortAndCut := func(name string, seconds float64) Case {
		c := made(name, fmt.Sprintf("the duration in the metadata is 1 s, and of the bytes that they count those behind about %.1f s are missing", seconds),
			[]string{flvSpec + ".5: filesize"}, "-c:v flv -c:a libmp3lame", unchecked(within(Steady(seconds, 440), 0.2)),
			func(t testing.TB, b []byte) { patched(t, b, "\x00\x08duration\x00", bigFloat(1)) })
		c.Tries = []Try{{conversion.Options{Start: 0.5}, unchecked(within(Steady(seconds-0.5, 440), 0.2))}}
		whole := c.Make
		c.Also, c.Make = 0, func(t testing.TB, path string, want *Want) {
			whole(t, path, want)
			b := content(t, path)
			write(t, path, b[:int(seconds/6*float64(len(b)))])
		}
		return c
	}
	flv := []string{flvSpec + ".5: onMetaData is written by whatever made the file", "https://github.com/Zibbp/ganymede/issues/608"}
	return []Case{
		unsure, shortAndCut("duration-short-cut.flv", 2.9), shortAndCut("duration-short-cut-early.flv", 1.3),
		made("duration-long.mkv", "the segment's Duration is an hour", mkv, "-c:v mpeg4 -c:a aac", six, func(t testing.TB, b []byte) { patched(t, b, duration, bigFloat(3600e3)) }),
		made("duration-short.mkv", "the segment's Duration is a second", mkv, "-c:v mpeg4 -c:a aac", six, func(t testing.TB, b []byte) { patched(t, b, duration, bigFloat(1e3)) }),
		made("duration-long.flv", "the duration in the metadata is that of another file, 100 s; the size is right", flv, "-c:v flv -c:a libmp3lame", six,
			func(t testing.TB, b []byte) { patched(t, b, "\x00\x08duration\x00", bigFloat(100)) }),
		made("duration-short.flv", "the duration in the metadata is 1 s", flv, "-c:v flv -c:a libmp3lame", six,
			func(t testing.TB, b []byte) { patched(t, b, "\x00\x08duration\x00", bigFloat(1)) }),
		made("frames-long.avi", "the header counts ten times the frames that there are", []string{"https://learn.microsoft.com/windows/win32/api/aviriff/ns-aviriff-avistreamheader: dwLength"}, "-c:v mpeg4 -c:a libmp3lame", six,
			func(t testing.TB, b []byte) {
				patched(t, b, "auds", func(at []byte) { binary.LittleEndian.PutUint32(at[28:], 10*binary.LittleEndian.Uint32(at[28:])) })
				patched(t, b, "avih", func(at []byte) { binary.LittleEndian.PutUint32(at[20:], 10*binary.LittleEndian.Uint32(at[20:])) })
			}),
	}
}

func unchecked(w Want) Want {
	w.Unchecked = true
	return w
}

func wrongFragments() []Case {
	made := func(name, about string, want Want, f func(m *movie)) Case {
		return Case{
			Name: name, About: about, From: []string{isoFile + ", 8.8.2: mehd has the duration of the longest track, with all fragments"}, Want: want, Also: AlsoTrim,
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 44100)), "-c:v mpeg4 -g 10 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof+skip_trailer")
				change(t, path, f)
			},
		}
	}
	mehd := func(seconds uint32) func(m *movie) {
		return func(m *movie) {
			scale := fields(m.moov.child("mvhd").body, 12)[0]
			mvex := m.moov.child("mvex")
			mvex.body = append(box("mehd", full(0, seconds*scale)), mvex.body...)
		}
	}
	six := within(Steady(6, 440), 0.1)
	return []Case{
		made("mehd-right.mp4", "mehd says how long all fragments are together", six, mehd(6)),
		made("mehd-long.mp4", "mehd says 100 s; perhaps fragments are missing", unchecked(six), mehd(100)),
		made("mehd-unknown.mp4", "mehd is all ones", unchecked(six), func(m *movie) {
			mvex := m.moov.child("mvex")
			mvex.body = append(box("mehd", full(0, 0xffffffff)), mvex.body...)
		}),
	}
}

// cutShort are files of which a little is missing at the end.
func cutShort() (cases []Case) {
	for _, c := range []struct {
		name, args string
		bytes      int
	}{
		{"cut-last-packet.flac", "-c:a flac", 100}, {"cut-last-packet.tta", "", 100}, {"cut-last-packet.wv", "", 100}, {"cut.au", "", 20000}, {"cut.aiff", "", 20000},
		{"cut.caf", "-c:a pcm_s16le", 20000}, {"cut.w64", "", 20000}, {"cut.rf64.wav", "-c:a pcm_s16le -rf64 always", 20000}, {"cut.wav", "-c:a pcm_s16le", 20000},
		{"cut-last-page.ogg", "-c:a libvorbis", 10}, {"cut-last-page.opus", "-c:a libopus", 10}, {"cut.mp3", "-c:a libmp3lame -b:a 256k", 12000}, {"cut.wma", "-c:a wmav2", 3500},
	} {
		cases = append(cases, Case{
			Name: c.name, About: "less than half a second is missing at the end", From: []string{"made so; the header counts what there was"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(6, 440, 44100), c.args)
				b := content(t, path)
				write(t, path, b[:len(b)-c.bytes])
			},
			Want: Refused(conversion.CodeTruncated),
		})
	}
	return cases
}

func otherClocks() []Case {
	ten := within(Steady(10, 440), 0.1)
	three := within(In(Part{2, 440, 0}, Part{2, 880, 0}, Part{2, 1320, 0}), 0.1)
	wrap := within(In(Part{4, 440, 0}, Part{4, 880, 0}), 0.1)
	four := within(Steady(4, 440), 0.06)
	return []Case{
		{
			Name: "trim-full-frame.mkv", About: "LAME's last frame is nothing but padding, and ffmpeg forgets the padding in the frame before it",
			From: []string{"made so: a trim has end - start samples", "libavformat/mp3enc.c: only the last packet's padding is kept"},
			Make: func(t testing.TB, path string, _ *Want) { encode(t, path, tone(4, 440, 48000), "-c:a aac") },
			Want: four, Tries: []Try{{conversion.Options{Start: 0.458796, End: 1.395641}, four.Trimmed(0.458796, 1.395641)}},
		},
		{
			Name: "retimed-fast.mp4", About: "the time table runs 1 % fast: less than 0.2 s, as much as an encoder may add, would be cut off",
			From: []string{isoFile + ", 8.6.1.2", "ISO/IEC 14496-3: an AAC frame has 1024 samples"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(10), tone(10, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					s := m.sound()
					s.times(uint32(s.samples()), 1014)
					s.without("edts")
				})
			},
			Want: lasting(within(Steady(10.02, 440), 0.03), -1),
		},
		{
			Name: "chained-three.opus", About: "three links, each with another pre-skip", From: []string{rfcOgg + ", section 4", rfcOpus + ", section 4.2: each link has a pre-skip of its own"},
			Make: func(t testing.TB, path string, _ *Want) {
				var all []byte
				for i, hz := range []float64{440, 880, 1320} {
					pages := oggPages(t, raw(t, "ogg", tone(2, hz, 48000), "-ac 2 -c:a libopus"))
					at := bytes.Index(pages[0], []byte("OpusHead"))
					binary.LittleEndian.PutUint16(pages[0][at+10:], uint16(312+960*i))
					seal(pages[0])
					all = append(all, bytes.Join(pages, nil)...)
				}
				write(t, path, all)
			},
			Want: three,
		},
		{
			Name: "skeleton.ogg", About: "a skeleton stands before the sound", From: []string{"Ogg Skeleton 3.0, wiki.xiph.org: fishead, then an empty last page"},
			Make: func(t testing.TB, path string, _ *Want) {
				pages := oggPages(t, raw(t, "ogg", tone(10, 440, 48000), "-c:a libvorbis"))
				head := oggPageOf(2, 77, 0, append([]byte("fishead\x00\x03\x00\x00\x00"), make([]byte, 52)...))
				end := oggPageOf(4, 77, 1, nil)
				write(t, path, head, pages[0], end, bytes.Join(pages[1:], nil))
			},
			Want: ten, Also: AlsoTrim,
		},
		{
			Name: "ts-wrap-early.ts", About: "the clock of 33 bits wraps 0.3 s after the beginning", From: []string{mpegTS + ", 2.4.3.7"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(8), wave("0.4*sin(2*PI*if(lt(t,4),440,880)*t)", 48000, 8, "")),
					"-c:v mpeg2video -c:a aac -muxdelay 0 -muxpreload 0 -output_ts_offset 95443.4 -f mpegts")
			},
			Want: unchecked(wrap), Also: AlsoTrim,
		},
	}
}

func withoutLength() []Case {
	ten := within(Steady(10, 440), 0.1)
	wrap := within(In(Part{4, 440, 0}, Part{4, 880, 0}), 0.1)
	return []Case{
		{
			Name: "ps-wrap.mpg", About: "a program stream whose clock of 33 bits wraps 4 s after the beginning", From: []string{"ISO/IEC 13818-1, 2.5.2.4 and 2.4.3.7"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(8), wave("0.4*sin(2*PI*if(lt(t,4),440,880)*t)", 48000, 8, "")),
					"-c:v mpeg2video -c:a mp2 -output_ts_offset 95439.7 -f vob")
			},
			Want: unchecked(wrap), Also: AlsoTrim,
		},
		{
			Name: "unknown-total.flac", About: "STREAMINFO counts 0 samples: an encoder that wrote to a pipe", From: []string{flacSpec + ", 8.2: 0 means unknown"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "flac", tone(10, 440, 48000), "")
				b[21] &= 0xf0
				clear(b[22:26])
				write(t, path, b)
			},
			Want: unchecked(ten), Also: AlsoTrim,
		},
		{
			Name: "broadcast.wma", About: "a recorded broadcast: durations and sizes are 0, as the flag says", From: []string{asfSpec + ": Broadcast Flag"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "asf", tone(10, 440, 44100), "-c:a wmav2")
				patched(t, b, "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65", func(at []byte) {
					clear(at[24:32]) // size
					clear(at[40:64]) // packets, play and send duration
					at[72] |= 1
				})
				write(t, path, b)
			},
			Want: either(ten), Also: AlsoTrim,
		},
	}
}

// oggPageOf is a page with one packet.
func oggPageOf(flags byte, serial, sequence uint32, packet []byte) []byte {
	p := append([]byte("OggS\x00"), flags)
	p = binary.LittleEndian.AppendUint64(p, 0)
	p = binary.LittleEndian.AppendUint32(p, serial)
	p = binary.LittleEndian.AppendUint32(p, sequence)
	p = append(p, 0, 0, 0, 0)
	if packet == nil {
		p = append(p, 0)
	} else {
		p = append(p, 1, byte(len(packet)))
	}
	p = append(p, packet...)
	seal(p)
	return p
}
