package mediatest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

const (
	isoFile   = "ISO/IEC 14496-12 (ISO base media file format)"
	quickTime = "QuickTime File Format, developer.apple.com/documentation/quicktime-file-format"
	bs775     = "ITU-R BS.775, table 2"
)

// tabled are MP4 files whose sample tables say something else than what decodes.
func tabled() []Case {
	return []Case{
		{
			Name: "retimed-aac.mp4", About: "the time table runs 2 % slow, as after a change of the frame rate or with a phone's own clock; every packet decodes",
			From: []string{isoFile + ", 8.6.1.2: a sample's duration is its time until the next one", "ISO/IEC 14496-3: an AAC frame has 1024 samples"},
			Make: func(t testing.TB, path string, w *Want) {
				encode(t, path, both(pictures(60), tone(60, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					s := m.sound()
					s.times(uint32(s.samples()), 1044)
					s.without("edts")
					w.Seconds = float64(s.samples()) * 1024 / 48000
				})
				w.Sound[0][0].Seconds = w.Seconds
			},
			Want: lasting(within(Steady(60, 440), 0.1), -1), Also: AlsoLoudness,
		},
		{
			Name: "jitter-gap.mp4", About: "a screen recorder: packets' times jitter around 1024, most often 1100, and it paused for 3 s",
			From: []string{isoFile + ", 8.6.1.2"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(20), tone(20, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					s := m.sound()
					var pairs []uint32
					for i := range s.samples() {
						switch {
						case i == s.samples()/2:
							pairs = append(pairs, 1, 3*48000)
						case i%5 < 3:
							pairs = append(pairs, 1, 1100)
						default:
							pairs = append(pairs, 1, 910)
						}
					}
					s.times(pairs...)
					s.without("edts")
				})
			},
			Want: lasting(within(Steady(20, 440), 0.1), -1), // the pause is left out, as everywhere
		},
		{
			Name: "zero-samples.mp4", About: "every tenth sample has the size 0: a screen recorder without input",
			From: []string{isoFile + ", 8.7.3: a sample may have no bytes"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(10), tone(10, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					s := m.sound()
					offsets, sizes := s.offsets(), slices.Clone(s.sizes())
					for i := 9; i < len(sizes); i += 10 {
						sizes[i] = 0
					}
					s.scatter(offsets, sizes)
				})
			},
			Want: lasting(within(In(Part{9, Anything, 0}), 0.15), -1), // what was not recorded is left out, as a pause is
		},
		{
			Name: "amr-packed.3gp", About: "an old phone: ten frames of AMR in each sample, comfort noise",
			From: []string{"3GPP TS 26.244, 6.5: AMRSpecificBox, framesPerSample"},
			Make: amrPacked, Want: Want{Seconds: 6, Rate: 8000, Sound: [][]Part{{{6, 0, 0}}}}, Also: AlsoTrim,
		},
		{
			Name: "aax.aax", About: "like an audiobook of Audible: sample description aavd, encrypted samples",
			From: []string{"libavformat/mov.c: aavd needs activation bytes"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(10, 440, 22050), "-c:a aac -f ipod")
				b := bytes.Replace(content(t, path), []byte("M4A "), []byte("aax "), 1)
				mdat := lastOf(topBoxes(b), "mdat")
				_, _ = rand.NewChaCha8([32]byte{1}).Read(b[mdat.begin+8 : mdat.end])
				write(t, path, b)
				change(t, path, func(m *movie) { m.sound().rename("mp4a", "aavd") })
			},
			Want: Refused(conversion.CodeUnsupportedCodec, "encrypted"),
		},
	}
}

func amrPacked(t testing.TB, path string, _ *Want) {
	frames := bytes.Repeat(append([]byte{4}, make([]byte, 12)...), 300) // of 20 ms
	amr := text(t, "raw", "#!AMR\n"+string(frames))
	encode(t, path, both([]string{"-f", "lavfi", "-i", "testsrc2=s=176x144:r=10:d=6", "-f", "amr", "-i", amr}), "-map 0 -map 1 -c:v mpeg4 -c:a copy -f 3gp")
	m := readMovie(t, path)
	s := m.sound()
	at := len(m.before) // the index stands last; the sound moves to the end of the samples
	n := make([]uint32, 30)
	for i := range n {
		n[i] = 130
	}
	s.table("stsz").body = full(0, append([]uint32{0, 30}, n...)...)
	s.times(30, 1600)
	s.table("stsc").body = full(0, 1, 1, 30, 1)
	s.table("stco").body = full(0, 1, uint32(at))
	boxes := topBoxes(m.before)
	mdat := lastOf(boxes, "mdat")
	before := put(m.before, mdat.begin, uint32(mdat.end-mdat.begin+len(frames)))
	write(t, path, before, frames, m.moov.encode(), m.after)
}

func within(w Want, seconds float64) Want {
	w.Within = seconds
	return w
}

// lasting says which duration the record gives the source.
func lasting(w Want, seconds float64) Want {
	w.Lasts = seconds
	return w
}

func or(w, other Want) Want {
	w.Or = &other
	return w
}

// fragmented are MP4 files in fragments.
func fragmented() []Case {
	cut := func(name string, at func(b []byte, moof, mdat part) int, want Want) Case {
		return Case{
			Name: "fmp4-cut-" + name + ".mp4", About: "a fragmented MP4 that ends " + name,
			From: []string{isoFile + ", 8.8.4: a fragment is a moof and its mdat"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(10), tone(10, 440, 48000)), "-c:v mpeg4 -g 10 -c:a aac -movflags frag_keyframe+empty_moov")
				b := content(t, path)
				boxes := topBoxes(b)
				write(t, path, b[:at(b, lastOf(boxes, "moof"), lastOf(boxes, "mdat"))])
			},
			Want: want,
		}
	}
	missing := unchecked(within(Steady(9, 440), 0.15)) // whole fragments, and nothing says that there were more
	return []Case{
		cut("in-mdat", func(_ []byte, _, mdat part) int { return (mdat.begin + mdat.end) / 2 }, Refused(conversion.CodeTruncated)),
		cut("in-moof", func(_ []byte, moof, _ part) int { return (moof.begin + moof.end) / 2 }, Refused(conversion.CodeTruncated)),
		cut("after-moof", func(_ []byte, _, mdat part) int { return mdat.begin }, Refused(conversion.CodeTruncated)),
		cut("before-moof", func(_ []byte, moof, _ part) int { return moof.begin }, missing),
		{
			Name: "fmp4-unknown-duration.mp4", About: "a fragmented MP4 whose mdhd and tkhd have a duration of all ones: unknown",
			From: []string{isoFile + ", 8.4.2.3 and 8.3.2.3: if the duration cannot be determined it is all ones"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 44100)), "-c:v mpeg4 -c:a aac -movflags frag_keyframe+empty_moov")
				change(t, path, func(m *movie) {
					for _, k := range append(m.traks("soun"), m.traks("vide")...) {
						mdhd, tkhd := k.child("mdia", "mdhd"), k.child("tkhd")
						mdhd.body, tkhd.body = put(mdhd.body, 16, 0xffffffff), put(tkhd.body, 20, 0xffffffff)
					}
				})
			},
			Want: either(within(Steady(6, 440), 0.08)), Also: AlsoTrim,
		},
	}
}

func either(w Want) Want {
	w.Either = true
	return w
}

// described are MP4 files with unusual sample descriptions.
func described() []Case {
	spatial := func(name string, apac int, want Want) Case {
		return Case{
			Name: name, About: "an iPhone 16: stereo AAC and a spatial track (apac) that cannot be decoded",
			From: []string{"https://trac.ffmpeg.org/ticket/11480", "https://github.com/Nevcairiel/LAVFilters/issues/620", quickTime + ": alternate groups"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(6), tone(6, 440, 48000), tone(6, 880, 48000)), "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac -ac 2 -f mov")
				change(t, path, func(m *movie) {
					s := m.traks("soun")[apac]
					s.rename("mp4a", "apac")
					s.rename("esds", "dapa")
				})
			},
			Want: want,
		}
	}
	second, first := Steady(6, 440), Steady(6, 880)
	second.Channels = 2
	cases := []Case{spatial("iphone-spatial.mov", 1, second), spatial("iphone-spatial-first.mov", 0, first)}
	for _, codec := range []string{"apac", "ac-4", "iamf", "mhm1"} {
		cases = append(cases, Case{
			Name: "unknown-" + codec + ".mp4", About: "the only sound track has a codec that nothing here decodes",
			From: []string{isoFile + ", 8.5.2: the sample entry's four letters name the codec"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(2), tone(2, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					m.sound().rename("mp4a", codec)
					m.sound().rename("esds", "free")
				})
			},
			Want: Refused(conversion.CodeUnsupportedCodec, codec),
		})
	}
	const lower = 1 + 2*0.70711
	gains := [][2]float64{{1, 0}, {0, 1}, {0.70711, 0}, {0, 0.70711}, {0.70711, 0.70711}, {0, 0}}
	for i, gain := range gains {
		side := func(gain float64) []Part {
			if gain == 0 {
				return []Part{{3, 0, 0}}
			}
			return []Part{{3, 500, 0.5 * gain / lower}}
		}
		cases = append(cases, Case{
			Name: fmt.Sprintf("mov-channel-order-%d.mov", i), About: "5.1 PCM in the order L R Ls Rs C LFE (CoreAudio's MPEG_5_1_B); one channel sounds",
			From: []string{"CoreAudioTypes: kAudioChannelLayoutTag_MPEG_5_1_B = 122<<16 | 6, L R Ls Rs C LFE", bs775},
			Make: func(t testing.TB, path string, _ *Want) { channelOrder(t, path, i) },
			Want: Want{Samples: 3 * 48000, Seconds: 3, Channels: 2, Sound: [][]Part{side(gain[0]), side(gain[1])}, Notes: []conversion.NoteCode{conversion.NoteDownmixed}},
		})
	}
	return append(cases, Case{
		Name: "mdta-title.mov", About: "iMovie and QuickTime: title and artist under mdta keys, and a place that must not be told",
		From: []string{quickTime + ": metadata keys com.apple.quicktime.title and .artist"},
		Make: func(t testing.TB, path string, _ *Want) {
			encode(t, path, both(pictures(2), tone(2, 440, 48000)), "-c:v mpeg4 -c:a aac -movflags use_metadata_tags -f mov",
				"-metadata", "com.apple.quicktime.title=Summer day", "-metadata", "com.apple.quicktime.artist=Somebody",
				"-metadata", "com.apple.quicktime.location.ISO6709=+11.1111+022.2222/")
		},
		Want: told(Steady(2, 440), conversion.Tags{Title: "Summer day", Artist: "Somebody"}, "+11.1111"),
	})
}

func told(w Want, tags conversion.Tags, silent ...string) Want {
	w.Tags, w.Silent = tags, silent
	return w
}

func channelOrder(t testing.TB, path string, sounding int) {
	waves := slices.Repeat([]string{"0*t"}, 6)
	waves[sounding] = sine(0.5, 500)
	encode(t, path, both(pictures(3), wave(joined(waves), 48000, 3, "5.1")), "-c:v mpeg4 -c:a pcm_s16le -f mov")
	change(t, path, func(m *movie) {
		stsd := m.sound().table("stsd")
		i := bytes.Index(stsd.body, []byte("chan"))
		stsd.body = put(put(stsd.body, i+8, 122<<16|6), i+12, 0)
	})
}

func joined(waves []string) string {
	all := ""
	for i, w := range waves {
		if i > 0 {
			all += "|"
		}
		all += w
	}
	return all
}

// chaptered are files with chapters.
func chaptered() []Case {
	abc := []Chapter{{0, "A"}, {3, "B"}, {6, "C"}}
	track := func(name string, at []Chapter, f func(m *movie, x *node)) Case {
		return Case{
			Name: "chapter-track-" + name + ".mov", About: "QuickTime chapters in a text track: " + name,
			From: []string{quickTime + ": chapter lists, track references of type chap; edit lists"},
			Make: func(t testing.TB, path string, _ *Want) {
				sheet := chapters(t, "", 9, abc...)
				encode(t, path, both([]string{"-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=9"}, tone(9, 440, 48000),
					[]string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=1:d=9", "-i", sheet}),
					"-map 0 -map 1 -map 2 -map_metadata 3 -c:v:0 mpeg4 -b:v:0 3M -c:v:1 mjpeg -c:a aac -movflags +disable_chpl -f mov")
				change(t, path, func(m *movie) { f(m, m.traks("text")[0]) })
			},
			Want: withChapters(Steady(9, 440), at...), Also: AlsoTrim | AlsoChapters,
		}
	}
	return []Case{
		track("plain", abc, func(*movie, *node) {}),
		track("sbtl", abc, func(_ *movie, x *node) { copy(x.child("mdia", "hdlr").body[8:], "sbtl") }),
		track("images", abc, func(m *movie, x *node) {
			ids := append(bytes.Clone(m.traks("vide")[1].child("tkhd").body[12:16]), x.child("tkhd").body[12:16]...)
			for _, k := range m.moov.kids {
				if ref := k.child("tref"); ref != nil {
					ref.body = box("chap", ids)
				}
			}
		}),
		track("late", []Chapter{{2, "A"}, {5, "B"}, {8, "C"}}, func(m *movie, x *node) {
			scale := int64(fields(m.moov.child("mvhd").body, 12)[0])
			x.edits(2*scale, -1, 65536, 9*scale, 0, 65536)
		}),
		manyChapters("many-chapters.m4b", 500),
		manyChapters("many-chapters.mkv", 4000),
		gapChapters("gap-chapters.mp4"),
		gapChapters("gap-chapters.mkv"),
	}
}

func withChapters(w Want, list ...Chapter) Want {
	w.Chapters = list
	return w
}

func manyChapters(name string, n int) Case {
	list := make([]Chapter, n)
	for i := range list {
		list[i] = Chapter{float64(i) / 10, fmt.Sprintf("Chapter number %d of the book with a long title", i+1)}
	}
	seconds := float64(n) / 10
	want := within(withChapters(Steady(seconds, 440), list...), 0.08)
	if n > 10_000 { // a limit that the result tells
		want.Chapters = list[:10_000]
		want.Notes = []conversion.NoteCode{conversion.NoteChaptersLeftOut}
	}
	return Case{
		Name: name, About: fmt.Sprintf("%d chapters: a course, an audiobook; chpl counts in one byte", n),
		From: []string{"https://github.com/advplyr/audiobookshelf/issues/3275", "https://github.com/juanra/audiobook-forge/issues/35", "MP4 chpl: one byte counts the chapters; the chapter track has all of them", "RFC 9559, 5.1.7: ChapterAtom may occur any number of times"},
		Make: func(t testing.TB, path string, _ *Want) {
			encode(t, path, both(tone(seconds, 440, 16000), []string{"-i", chapters(t, "title=Book\n", seconds, list...)}), "-map 0 -map_metadata 1 -c:a aac -b:a 24k")
		},
		Want: want, Also: AlsoChapters,
	}
}

func gapChapters(name string) Case {
	want := withChapters(In(Part{4, 440, 0}, Part{1, 440, 0}, Part{3, 880, 0}), Chapter{0, "A"}, Chapter{3, "B"}, Chapter{4.02, "D"}, Chapter{5, "C"})
	want.Within, want.Lasts, want.Notes = 0.1, -1, []conversion.NoteCode{noteGap} // lasts with the pause, or without
	trim := func(start, end float64, w Want, list ...Chapter) Try {
		w = withChapters(within(w, 0.1), list...)
		w.trimmed = true
		return Try{conversion.Options{Start: start, End: end}, w}
	}
	return Case{
		Name: name, About: "a pause of 4 s in the sound, a chapter wholly in it, another behind it",
		From: []string{"chapter C begins where the tone turns from 440 to 880 Hz, in the MP3 as in the source"},
		Tries: []Try{
			trim(2, 10, In(Part{2, 440, 0}, Part{1, 440, 0}, Part{1, 880, 0}), Chapter{0, "A"}, Chapter{1, "B"}, Chapter{2.02, "D"}, Chapter{3, "C"}),
			trim(8.5, 11, In(Part{0.5, 440, 0}, Part{2, 880, 0}), Chapter{0, "D"}, Chapter{0.5, "C"}),
			trim(9.5, 0, In(Part{2.5, 880, 0}), Chapter{0, "C"}),
		},
		Make: func(t testing.TB, path string, _ *Want) {
			sheet := chapters(t, "", 12, Chapter{0, "A"}, Chapter{3, "B"}, Chapter{5, "silent"}, Chapter{7, "D"}, Chapter{9, "C"})
			encode(t, path, both(pictures(12), wave("0.4*sin(2*PI*if(lt(t,9),440,880)*t)", 48000, 12, ""), []string{"-i", sheet}),
				"-map 0 -map 1 -map_metadata 2 -c:v mpeg4 -c:a aac", "-af", `aselect=not(between(t\,4\,8))`)
		},
		Want: want,
	}
}
