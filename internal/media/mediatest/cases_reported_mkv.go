package mediatest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// laced is a block of frames that lie in one block of Matroska, at some
// millisecond.
type laced struct {
	at     int
	frames [][]byte
}

// encoding is the content encoding of a track, one compression.
func encoding(algorithm uint64, settings []byte) []byte {
	compression := ebml("\x42\x54", number(algorithm))
	if settings != nil {
		compression = append(compression, ebml("\x42\x55", settings)...)
	}
	return ebml("\x6d\x80", ebml("\x62\x40", ebml("\x50\x31", number(0)), ebml("\x50\x32", number(1)), ebml("\x50\x33", number(0)), ebml("\x50\x34", compression)))
}

func number(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func float(v float64) []byte { return number(math.Float64bits(v)) }

// matroska is a file with one audio track, as mkvmerge lays it out: clusters of
// about two seconds, EBML lacing where a block has more than one frame. more are
// further elements of the track, top those of the segment.
func matroska(codec string, rate, seconds float64, channels uint64, blocks []laced, more []byte, top ...[]byte) []byte {
	header := ebml("\x1a\x45\xdf\xa3", ebml("\x42\x82", []byte("matroska")), ebml("\x42\x87", number(4)), ebml("\x42\x85", number(2)))
	info := ebml(idInfo, ebml("\x2a\xd7\xb1", number(1_000_000)), ebml("\x44\x89", float(seconds*1000)), ebml("\x4d\x80", []byte("test")), ebml("\x57\x41", []byte("test")))
	audio := ebml("\xe1", ebml("\xb5", float(rate)), ebml("\x9f", number(channels)))
	track := ebml("\xae", ebml("\xd7", number(1)), ebml("\x73\xc5", number(1)), ebml("\x83", number(2)), ebml("\x86", []byte(codec)), audio, more)
	var clusters, cluster []byte
	begin := 0
	flush := func() {
		if cluster != nil {
			clusters = append(clusters, ebml(idCluster, ebml("\xe7", number(uint64(begin))), cluster)...)
		}
		cluster = nil
	}
	for _, b := range blocks {
		if b.at-begin >= 2000 {
			flush()
			begin = b.at
		}
		cluster = append(cluster, ebml("\xa3", b.encode(begin))...)
	}
	flush()
	return append(header, ebml(idSegment, info, ebml(idTracks, track), slices.Concat(top...), clusters)...)
}

// encode is a simple block, with EBML lacing (RFC 9559, 10.3.3) if there are two
// or more frames.
func (l laced) encode(cluster int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x81}, uint16(l.at-cluster))
	if len(l.frames) == 1 {
		return slices.Concat(b, []byte{0x80}, l.frames[0])
	}
	b = append(b, 0x86, byte(len(l.frames)-1))
	for i, f := range l.frames[:len(l.frames)-1] {
		n := len(f)
		if i > 0 {
			n += 0x1fff - len(l.frames[i-1])
		}
		b = binary.BigEndian.AppendUint16(b, uint16(0x4000|n))
	}
	return append(b, bytes.Join(l.frames, nil)...)
}

// atom is a chapter that begins at some second.
func atom(uid uint64, at float64, title string, hidden uint64, nested ...[]byte) []byte {
	display := ebml("\x80", ebml("\x85", []byte(title)), ebml("\x43\x7c", []byte("und")))
	return ebml("\xb6", ebml("\x73\xc4", number(uid)), ebml("\x91", number(uint64(at*1e9))), ebml("\x98", number(hidden)), display, slices.Concat(nested...))
}

// ac3Frames are the frames of an AC-3 stream of one bit rate at 48000 Hz.
func ac3Frames(b []byte, size int) (frames [][]byte) {
	for ; len(b) >= size; b = b[size:] {
		frames = append(frames, b[:size:size])
	}
	return frames
}

// singly are blocks of one frame each.
func singly(frames [][]byte, seconds float64) (blocks []laced) {
	for i, f := range frames {
		blocks = append(blocks, laced{int(math.Round(float64(i) * seconds * 1000)), [][]byte{f}})
	}
	return blocks
}

const (
	ac3Size   = 768 // bytes of a frame at 192 kbit/s and 48000 Hz
	ac3Length = 1536.0 / 48000
)

// someAC3 are the frames of about 6 s.
func someAC3(t testing.TB) [][]byte {
	t.Helper()
	return ac3Frames(raw(t, "ac3", tone(6, 440, 48000), "-ac 2 -c:a ac3 -b:a 192k"), ac3Size)
}

func moreMatroskas() []Case {
	return []Case{
		{
			Name: "header-stripped.mkv", About: "AC-3 whose sync words are left out (header stripping), eight frames in a block",
			From: []string{"https://github.com/FFMS/ffms2/issues/15", "https://github.com/JakeWharton/mkvdts2ac3/issues/46", rfcMatroska + ", 5.1.4.1.31.6: ContentCompAlgo 3; 10.3.3: EBML lacing"},
			Make: func(t testing.TB, path string, w *Want) {
				var blocks []laced
				frames := someAC3(t)
				for i := 0; i < len(frames); i += 8 {
					l := laced{at: int(float64(i) * ac3Length * 1000)}
					for _, f := range frames[i:min(i+8, len(frames))] {
						l.frames = append(l.frames, f[2:])
					}
					blocks = append(blocks, l)
				}
				w.inPieces(Part{float64(len(frames)) * ac3Length, 440, 0})
				write(t, path, matroska("A_AC3", 48000, w.Seconds, 2, blocks, encoding(3, []byte{0x0b, 0x77})))
			},
			Want: within(Steady(6, 440), 0.06), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "zlib.mkv", About: "MP3 whose frames are compressed with zlib", From: []string{"https://github.com/jellyfin/jellyfin-android/issues/1930", rfcMatroska + ", 5.1.4.1.31.6: ContentCompAlgo 0"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := bare(t, sine(0.4, 440), 48000, 6, "-b:a 128k")
				frames := ac3Frames(b, 384) // 128 kbit/s at 48000 Hz
				for i, f := range frames {
					var z bytes.Buffer
					c := zlib.NewWriter(&z)
					if _, err := c.Write(f); err != nil {
						t.Fatal(err)
					}
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
					frames[i] = z.Bytes()
				}
				write(t, path, matroska("A_MPEG/L3", 48000, float64(len(frames))*0.024, 1, singly(frames, 0.024), encoding(0, nil)))
			},
			Want: within(Steady(6.03, 440), 0.08), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "half-frame.mkv", About: "a broadcast with an error: one frame of AC-3 is cut to 368 bytes, the next comes 256 ms later",
			From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/2129", "ETSI TS 102 366, 6.1.6: a frame with a wrong checksum is concealed"},
			Make: func(t testing.TB, path string, _ *Want) {
				frames := someAC3(t)
				frames[90] = frames[90][:368]
				blocks := singly(frames, ac3Length)
				write(t, path, matroska("A_AC3", 48000, float64(len(frames))*ac3Length, 2, append(blocks[:91:91], blocks[99:]...), nil))
			},
			Want: or(lasting(within(In(Part{2.85, 440, 0}, Part{0.1, Anything, 0}, Part{2.79, 440, 0}), 0.1), -1),
				lasting(within(In(Part{2.85, 440, 0}, Part{0.36, Anything, 0}, Part{2.79, 440, 0}), 0.1), -1)),
		},
	}
}

// joinedMatroskas are files whose parts do not belong together, or of which only
// some are shown.
func joinedMatroskas() []Case {
	return []Case{
		{
			Name: "garbage-first.mkv", About: "1341 bytes that are not AC-3 stand before the first frame, in its block",
			From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/2092", "ETSI TS 102 366, 4.4.1.1: a decoder looks for the sync word"},
			Make: func(t testing.TB, path string, w *Want) {
				frames := someAC3(t)
				w.inPieces(Part{0.1, Anything, 0}, Part{float64(len(frames))*ac3Length - 0.1, 440, 0})
				b := matroska("A_AC3", 48000, w.Seconds, 2, singly(append([][]byte{append(bytes.Repeat([]byte{0x51}, 1341), frames[0]...)}, frames[1:]...), ac3Length), nil)
				write(t, path, b)
			},
			Want: within(Want{Seconds: 6}, 0.06), Also: AlsoTrim,
		},
		{
			Name: "hidden-chapters.mkv", About: "two editions, the second is the default; one of its chapters is hidden, one is nested",
			From: []string{"https://github.com/ietf-wg-cellar/matroska-specification/pull/342", "https://github.com/tomasklaen/uosc/issues/20", rfcMatroska + ", 5.1.7.1.2: EditionFlagDefault; 5.1.7.1.4.5: ChapterFlagHidden"},
			Make: func(t testing.TB, path string, _ *Want) {
				frames := someAC3(t)
				other := ebml("\x45\xb9", ebml("\x45\xdb", number(0)), atom(1, 0, "Wrong", 0), atom(2, 1, "Wrong too", 0))
				shown := ebml("\x45\xb9", ebml("\x45\xdb", number(1)), atom(3, 0, "A", 0), atom(4, 1, "Hidden", 1), atom(5, 3, "B", 0, atom(6, 4, "Nested", 0)))
				write(t, path, matroska("A_AC3", 48000, float64(len(frames))*ac3Length, 2, singly(frames, ac3Length), nil, ebml(idChapters, other, shown)))
			},
			Want: or(withChapters(within(Steady(6, 440), 0.06), Chapter{0, "A"}, Chapter{3, "B"}),
				withChapters(within(Steady(6, 440), 0.06), Chapter{0, "A"}, Chapter{3, "B"}, Chapter{4, "Nested"})),
		},
		{
			Name: "two-recordings.webm", About: "a page joined the blobs of two recordings of a browser: an EBML stream of two documents, the clock begins anew",
			From: []string{"https://github.com/muaz-khan/RecordRTC/issues/267", "https://github.com/w3c/mediacapture-record/issues/130", "RFC 8794 (EBML), section 2: an EBML stream may have several documents, one after the other"},
			Make: func(t testing.TB, path string, _ *Want) {
				part := func(hz float64) []byte {
					return raw(t, "webm", tone(3, hz, 48000), "-c:a libopus -live 1")
				}
				write(t, path, part(440), part(880))
			},
			Want: either(within(In(Part{3, 440, 0}, Part{3, 880, 0}), 0.1)),
		},
	}
}
