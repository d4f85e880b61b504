package mediatest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// sentMade are videos that ffmpeg does not write: their parts are put together in other
// ways that their formats allow. Of those without "sent" in their names all must be sent.
func sentMade() []Case {
	return slices.Concat(sentMatroskas(), sentStreams(), sentMovies(), sentVarying())
}

func madeCase(name, about, from string, build func(t testing.TB, path string)) Case {
	return Case{
		Name: name, About: about, From: []string{from, "it must not matter how a file is sent"},
		Make: func(t testing.TB, path string, _ *Want) { build(t, path) }, Want: Want{Seconds: 5},
	}
}

// shortVideo are pictures and a sound that begins later.
func shortVideo(rate int) []string {
	video := []string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=24:duration=6", "-itsoffset", "0.3"}
	return both(video, tone(5.5, 443.7, rate))
}

func sentMatroskas() []Case {
	made := func(t testing.TB, path, args string, f func(number int, stamp []byte, blocks [][]byte) []byte) {
		encode(t, path, shortVideo(48000), "-c:v mpeg4 -g 24 "+args)
		recluster(t, path, f)
	}
	void := ebml("\xec", make([]byte, 300))
	laced := func(kind byte) func(int, []byte, [][]byte) []byte {
		return func(_ int, stamp []byte, blocks [][]byte) []byte {
			return ebml(idCluster, stamp, slices.Concat(lace(blocks, 2, 4, kind)...))
		}
	}
	editions := ebml(idChapters,
		ebml("\x45\xb9", ebml("\x45\xdb", number(0)), atom(1, 0, "Wrong", 0), atom(2, 1, "Wrong too", 0)),
		ebml("\x45\xb9", ebml("\x45\xdb", number(1)), atom(3, 0.3, "A", 0), atom(4, 1, "Hidden", 1), atom(5, 3, "B", 0, atom(6, 4, "Nested", 0))))
	return []Case{
		madeCase("sent voids.mkv", "padding and checksums between the clusters and in them", rfcMatroska+", 5.1.3.5; RFC 8794, 11.3", func(t testing.TB, path string) {
			made(t, path, "-c:a aac", func(_ int, stamp []byte, blocks [][]byte) []byte {
				content := slices.Concat(stamp, void, bytes.Join(blocks, void))
				return slices.Concat(void, ebml(idCluster, ebml("\xbf", []byte("....")), content))
			})
		}),
		madeCase("sent unknown clusters.mkv", "a segment of a known size whose clusters have none", "RFC 8794, 6.2", func(t testing.TB, path string) {
			made(t, path, "-c:a libopus", func(_ int, stamp []byte, blocks [][]byte) []byte {
				c := ebml(idCluster, stamp, slices.Concat(blocks...))
				binary.BigEndian.PutUint64(c[4:], 1<<57-1)
				return c
			})
		}),
		madeCase("sent groups.mkv", "groups with durations, and with padding behind each second block", rfcMatroska+", 5.1.3.5 and 5.1.3.5.7", func(t testing.TB, path string) {
			made(t, path, "-c:a libopus", func(_ int, stamp []byte, blocks [][]byte) []byte {
				var groups []byte
				for i, b := range blocks {
					if b[0] == 0xa3 {
						block := slices.Clone(inside(b, 1))
						block[3] &^= 0x80
						more := ebml("\x9b", number(20))
						if i%2 == 1 && block[0] == 0x82 {
							more = append(more, ebml("\x75\xa2", number(5_000_000))...)
						}
						b = ebml("\xa0", ebml("\xa1", block), more)
					}
					groups = append(groups, b...)
				}
				return ebml(idCluster, stamp, groups)
			})
		}),
		madeCase("sent xiph laces.mkv", "four frames of AC-3 in a block, with Xiph's lacing", rfcMatroska+", 10.3.2", func(t testing.TB, path string) {
			made(t, path, "-c:a ac3", laced(0x02))
		}),
		madeCase("sent fixed laces.mkv", "four frames of MP2 in a block, of one size", rfcMatroska+", 10.3.4", func(t testing.TB, path string) {
			made(t, path, "-c:a mp2", laced(0x04))
		}),
		madeCase("sent laces.mkv", "four frames of MP3 in a block, with EBML lacing", rfcMatroska+", 10.3.3", func(t testing.TB, path string) {
			made(t, path, "-c:a libmp3lame", laced(0x06))
		}),
		madeCase("sent editions.mkv", "two editions of chapters, one of them shown, some of its chapters hidden", rfcMatroska+", 5.1.7.1.2", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -g 24 -c:a aac")
			insertElement(t, path, editions, idTracks, idChapters, idCluster)
		}),
		madeCase("sent chapters last.mkv", "the chapters stand behind the clusters", rfcMatroska+", 5.1.1", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -g 24 -c:a aac")
			insertElement(t, path, editions, idTracks, idCluster, idChapters)
		}),
		madeCase("sent cover.mkv", "a picture is attached", rfcMatroska+", 21.1", func(t testing.TB, path string) {
			jpeg := text(t, "cover.jpg", string(raw(t, "image2pipe", pictures(0.1), "-frames:v 1 -c:v mjpeg")))
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -g 24 -c:a aac -attach "+jpeg+" -metadata:s:t mimetype=image/jpeg -metadata:s:t filename=cover.jpg")
		}),
		madeCase("sent TrueHD.mkv", "TrueHD, whose first frames say what it is", "Meridian Lossless Packing", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -c:a truehd -strict -2")
		}),
	}
}

// recluster writes a Matroska file anew, without its index and with its clusters last. f
// makes each of them from its time stamp and its blocks, with what stands before it.
func recluster(t testing.TB, path string, f func(number int, stamp []byte, blocks [][]byte) []byte) {
	t.Helper()
	rearrange(t, path, path, idInfo, idTracks, idTags, idCluster)
	b := content(t, path)
	header := ebmlElement(t, b)
	body := b[len(header)+12:] // behind the id and the size of the segment
	var front, clusters []byte
	number := 0
	for len(body) > 0 {
		e := ebmlElement(t, body)
		body = body[len(e):]
		if string(e[:4]) != idCluster {
			front = append(front, e...)
			continue
		}
		var stamp []byte
		var blocks [][]byte
		for rest := inside(e, 4); len(rest) > 0; {
			c := ebmlElement(t, rest)
			rest = rest[len(c):]
			switch c[0] {
			case 0xe7:
				stamp = c
			case 0xa3, 0xa0:
				blocks = append(blocks, c)
			}
		}
		clusters = append(clusters, f(number, stamp, blocks)...)
		number++
	}
	write(t, path, header, ebml(idSegment, front, clusters))
}

// insertElement writes a Matroska file anew with another element, in this order.
func insertElement(t testing.TB, path string, element []byte, order ...string) {
	t.Helper()
	header, elements := segment(t, content(t, path))
	var all [][]byte
	for _, id := range []string{idInfo, idTracks, idTags, idCluster} {
		all = append(all, elements[id])
	}
	write(t, path, header, ebml(idSegment, append(all, element)...))
	rearrange(t, path, path, append([]string{idInfo, idTags}, order...)...)
}

// lace joins so many simple blocks of a track with the lacing of a kind (RFC 9559, 10.3).
// Those of fixed sizes are joined only while they are as long.
func lace(blocks [][]byte, track byte, most int, kind byte) (all [][]byte) {
	var held [][]byte // what is in the blocks
	place := 0
	flush := func() {
		if len(held) == 0 {
			return
		}
		block := slices.Clone(held[0][:4])
		if len(held) > 1 {
			block[3] |= kind
			block = append(block, byte(len(held)-1))
			for i, h := range held[:len(held)-1] {
				n := len(h) - 4
				switch kind {
				case 0x02:
					block = append(append(block, bytes.Repeat([]byte{255}, n/255)...), byte(n%255))
				case 0x06:
					if i > 0 {
						n += 0x1fff - (len(held[i-1]) - 4)
					}
					block = binary.BigEndian.AppendUint16(block, uint16(0x4000|n))
				}
			}
		}
		for _, h := range held {
			block = append(block, h[4:]...)
		}
		all[place] = ebml("\xa3", block)
		held = nil
	}
	for _, b := range blocks {
		if b[0] != 0xa3 || inside(b, 1)[0] != 0x80|track {
			all = append(all, b)
			continue
		}
		content := inside(b, 1)
		if len(held) == most || len(held) > 0 && kind == 0x04 && len(held[0]) != len(content) {
			flush()
		}
		if len(held) == 0 {
			place = len(all)
			all = append(all, nil)
		}
		held = append(held, content)
	}
	flush()
	return all
}

func sentStreams() []Case {
	const args = "-map 0:v -map 1:a -c:v mpeg2video -g 12 -c:a mp2 "
	part := func(t testing.TB, args string) []byte { return raw(t, "mpegts", shortVideo(48000), args) }
	return []Case{
		madeCase("sent joined.ts", "two recordings joined, with a flag where the clock begins anew", mpegTS+", 2.4.3.5", func(t testing.TB, path string) {
			write(t, path, part(t, args), part(t, args+"-mpegts_flags +initial_discontinuity"))
		}),
		madeCase("sent second track late.ts", "the second track begins 3 s later", mpegTS, func(t testing.TB, path string) {
			encode(t, path, both(shortVideo(48000), []string{"-itsoffset", "3"}, tone(3, 880, 48000)), "-map 0:v -map 1:a -map 2:a -c:v mpeg2video -c:a mp2 -metadata:s:a:1 language=ger -f mpegts")
		}),
		madeCase("tables change.ts", "the tables have another version from 6 s on", mpegTS+", 2.4.4.5", func(t testing.TB, path string) {
			write(t, path, part(t, args), part(t, args+"-tables_version 1 -output_ts_offset 6"))
		}),
		madeCase("program changes.ts", "from 6 s on, other packets are the sound", mpegTS+", 2.4.4.9", func(t testing.TB, path string) {
			write(t, path, part(t, args), part(t, args+"-mpegts_start_pid 0x200 -output_ts_offset 6"))
		}),
		madeCase("packets of 192.m2ts", "packets with a time stamp before each", "Blu-ray Disc, BDAV MPEG-2 transport streams", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), args+"-mpegts_m2ts_mode 1 -f mpegts")
		}),
		madeCase("packets of 204.ts", "packets with a checksum behind each", "ETSI EN 300 429", func(t testing.TB, path string) {
			var long []byte
			for b := part(t, args); len(b) >= 188; b = b[188:] {
				long = append(append(long, b[:188]...), make([]byte, 16)...)
			}
			write(t, path, long)
		}),
		madeCase("blu-ray.ts", "a Blu-ray's program in packets of 188 bytes: the type 0x86 is DTS there, and means no sound elsewhere", "Blu-ray Disc, types of streams", func(t testing.TB, path string) {
			in := both(shortVideo(48000), tone(5, 880, 48000))
			b := raw(t, "mpegts", in, "-map 0:v -map 1:a -map 2:a -c:v mpeg2video -c:a ac3 -mpegts_m2ts_mode 1")
			var short []byte
			for ; len(b) >= 192; b = b[192:] {
				short = append(short, b[4:192]...)
			}
			write(t, path, changeMap(short, func(section []byte) {
				if i := bytes.IndexByte(section[12:], 0x81); i >= 0 {
					section[12+i] = 0x86
				}
			}))
		}),
		madeCase("earlier second track.ts", "a track that comes late, with a time before all others", mpegTS+", 2.4.3.7", func(t testing.TB, path string) {
			noise := []string{"-f", "lavfi", "-i", "testsrc2=s=720x576:r=5:d=3,noise=alls=100:allf=t", "-itsoffset", "1"}
			b := raw(t, "mpegts", both(noise, tone(3, 443.7, 48000), []string{"-itsoffset", "2.9"}, tone(1, 880, 48000)), "-map 0:v -map 1:a -map 2:a -c:v mpeg2video -q:v 1 -c:a mp2")
			write(t, path, rewindFirst(t, b, 0x102))
		}),
	}
}

// changeMap changes the program maps of a Blu-ray's stream, which have their checksum anew
// (ISO/IEC 13818-1, 2.4.4 and annex A).
func changeMap(b []byte, f func(section []byte)) []byte {
	b = slices.Clone(b)
	for p := b; len(p) >= 188; p = p[188:] {
		const ofBluRay, table = 0x100, 2
		if binary.BigEndian.Uint16(p[1:])&0x1fff != ofBluRay || p[1]&0x40 == 0 || p[3]&0x30 != 0x10 || p[4] != 0 || p[5] != table {
			continue
		}
		section := p[5:188]
		section = section[:3+int(binary.BigEndian.Uint16(section[1:])&0xfff)]
		f(section)
		sum := uint32(0xffffffff)
		for _, c := range section[:len(section)-4] {
			sum ^= uint32(c) << 24
			for range 8 {
				if sum>>31 == 1 {
					sum = sum<<1 ^ 0x04c11db7
				} else {
					sum <<= 1
				}
			}
		}
		binary.BigEndian.PutUint32(section[len(section)-4:], sum)
	}
	return b
}

// rewindFirst sets the time stamp of the first PES packet of a stream to zero.
func rewindFirst(t testing.TB, b []byte, pid uint16) []byte {
	t.Helper()
	b = slices.Clone(b)
	for p := b; len(p) >= 188; p = p[188:] {
		if binary.BigEndian.Uint16(p[1:])&0x1fff != pid || p[1]&0x40 == 0 {
			continue
		}
		at := 4
		if p[3]&0x20 != 0 {
			at += 1 + int(p[4])
		}
		copy(p[at+9:], []byte{0x21, 0, 1, 0, 1})
		return b
	}
	t.Fatalf("the stream %#x has no PES packet", pid)
	return nil
}

func sentMovies() []Case {
	return []Case{
		madeCase("sent padded.mp4", "padding and a box of one's own before the index, which stands last", isoFile+", 8.1.2 and 11.1", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -c:a aac")
			b := content(t, path)
			moov := lastOf(topBoxes(b), "moov")
			own := box("uuid", []byte("0123456789abcdef"), []byte("something"))
			write(t, path, b[:moov.begin], box("free", make([]byte, 5000)), own, b[moov.begin:], box("skip"))
		}),
		madeCase("sent boxes between.mp4", "messages, times and padding between the fragments", isoFile+", 8.16.5; ISO/IEC 23009-1, 5.10.3.3", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -g 24 -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof")
			b := content(t, path)
			var all []byte
			for _, p := range topBoxes(b) {
				if p.kind == "moof" {
					message := slices.Concat([]byte("urn:x\x00v\x00"), make([]byte, 16))
					all = slices.Concat(all, box("styp", []byte("msdh\x00\x00\x00\x00msdh")), box("emsg", make([]byte, 4), message), box("free", make([]byte, 100)))
				}
				if p.kind != "mfra" {
					all = append(all, b[p.begin:p.end]...)
				}
			}
			write(t, path, all)
		}),
		madeCase("items.mp4", "a list of items outside of the index says where their bytes are", isoFile+", 8.11.3", func(t testing.TB, path string) {
			encode(t, path, shortVideo(48000), "-c:v mpeg4 -c:a aac")
			b := content(t, path)
			moov := lastOf(topBoxes(b), "moov")
			handler := box("hdlr", full(0, 0), []byte("pict"), make([]byte, 13))
			item := box("iloc", []byte{0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(moov.begin-100)), []byte{0, 0, 0, 100})
			write(t, path, b[:moov.begin], box("meta", full(0), handler, item), b[moov.begin:])
		}),
	}
}

// sentVarying are sounds whose channels change after 5 s. Before it plays, a demuxer
// takes what it sees last for those of the track.
func sentVarying() []Case {
	changing := func(t testing.TB) []string {
		a := raw(t, "ac3", wave(joined([]string{sine(0.1, 440), sine(0.1, 440), "0*t", "0*t", "0*t", "0*t"}), 48000, 5, "5.1"), "-c:a ac3 -b:a 448k")
		b := raw(t, "ac3", wave(sine(0.2, 880), 48000, 5, ""), "-c:a ac3 -b:a 448k")
		return []string{"-f", "ac3", "-i", text(t, "all.ac3", string(a)+string(b))}
	}
	var cases []Case
	for name, args := range map[string]string{
		"varying.mkv": "-c:v mpeg4 -c:a copy", "varying.mp4": "-c:v libx264 -preset ultrafast -c:a copy", "varying.mov": "-c:v libx264 -preset ultrafast -c:a copy",
		"varying fragments.mp4": "-c:v libx264 -preset ultrafast -c:a copy -movflags +frag_keyframe+delay_moov", "varying.ts": "-c:v mpeg2video -c:a copy",
	} {
		cases = append(cases, madeCase(name, "AC-3 that goes from 5.1 to mono beside pictures", "ETSI TS 102 366, 4.4.2.3: acmod stands in every frame", func(t testing.TB, path string) {
			video := []string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=24:duration=10"}
			encode(t, path, both(video, changing(t)), args)
		}))
	}
	return append(cases, madeCase("varying large.ts", "the same beside so many pictures that a demuxer does not see the change", "ETSI TS 102 366, 4.4.2.3", func(t testing.TB, path string) {
		noise := []string{"-f", "lavfi", "-i", "testsrc2=s=720x576:r=10:d=10,noise=alls=100:allf=t"}
		encode(t, path, both(noise, changing(t)), "-c:v mpeg2video -q:v 1 -g 1 -c:a copy")
	}))
}
