package mediatest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

const (
	id3v2     = "ID3 tag version 2.3.0, 3.3 (id3.org)"
	encodings = "WHATWG Encoding Standard: the labels latin1 and iso-8859-1 mean windows-1252"
	cenc      = "ISO/IEC 23001-7 (CENC)"
)

// windows1252 encodes a text as Windows does.
func windows1252(s string) []byte {
	var b []byte
	for _, r := range s {
		if r == '–' {
			r = 0x96
		}
		b = append(b, byte(r))
	}
	return b
}

// id3Frame is a frame of ID3v2.3, id3Tag a tag of frames.
func id3Frame(id string, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return slices.Concat(binary.BigEndian.AppendUint32([]byte(id), uint32(len(body))), []byte{0, 0}, body)
}

func id3Tag(frames ...[]byte) []byte {
	body := slices.Concat(frames...)
	n := len(body)
	return slices.Concat([]byte("ID3\x03\x00\x00"), []byte{byte(n >> 21 & 127), byte(n >> 14 & 127), byte(n >> 7 & 127), byte(n & 127)}, body)
}

func song(t testing.TB) []byte {
	return raw(t, "mp3", tone(2, 440, 44100), "-bitexact -id3v2_version 0 -c:a libmp3lame")
}

// otherTexts are files whose texts are not in the encoding that their format has.
func otherTexts() []Case {
	const title, artist = "Café – Münchner Straße", "Jürgen"
	want := told(within(Steady(2, 440), 0.06), conversion.Tags{Title: title, Artist: artist})
	const placeholder = "TITLETITLETITLETITLETI" // as long as the title in Windows-1252
	patched := func(name, args string, from ...string) Case {
		return Case{
			Name: name, About: "texts in Windows-1252 where the format has UTF-8", From: append(from, encodings), Want: either(want),
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(2, 440, 44100), args, "-metadata", "title="+placeholder, "-metadata", "artist=SOMEBO")
				b := bytes.Replace(content(t, path), []byte(placeholder), windows1252(title), 1)
				b = bytes.Replace(b, []byte("SOMEBO"), windows1252(artist), 1)
				if strings.HasSuffix(name, ".ogg") {
					pages := oggPages(t, b)
					for _, p := range pages {
						seal(p)
					}
					b = bytes.Join(pages, nil)
				}
				write(t, path, b)
			},
		}
	}
	ape := func(key string, value []byte) []byte {
		item := binary.LittleEndian.AppendUint32(nil, uint32(len(value)))
		return slices.Concat(item, make([]byte, 4), []byte(key), []byte{0}, value)
	}
	return []Case{
		patched("latin1.mkv", "-c:a aac", rfcMatroska+", 5.1.8.1.2.3: TagString is UTF-8"),
		patched("latin1.flv", "-c:a aac", flvSpec+".4.4: onMetaData"),
		patched("latin1.avi", "-c:a pcm_s16le", riffSpec),
		patched("latin1.ogg", "-c:a libvorbis", "Vorbis I specification, 5: comments are UTF-8"),
		{
			Name: "latin1-id3v2.mp3", About: "ID3v2.3 that says ISO 8859-1: the title is in Windows-1252, the artist in UTF-8; an ID3v1 tag says less",
			From: []string{id3v2, encodings}, Want: either(want),
			Make: func(t testing.TB, path string, _ *Want) {
				tag := id3Tag(id3Frame("TIT2", []byte{0}, windows1252(title)), id3Frame("TPE1", []byte{0}, []byte(artist)))
				write(t, path, tag, song(t), append([]byte("TAGOther"), make([]byte, 120)...))
			},
		},
		{
			Name: "utf16-id3v2.mp3", About: "ID3v2.3 in UTF-16", From: []string{id3v2}, Want: either(want),
			Make: func(t testing.TB, path string, _ *Want) {
				wide := func(s string) []byte {
					b := []byte{1, 0xff, 0xfe}
					for _, r := range s {
						b = binary.LittleEndian.AppendUint16(b, uint16(r))
					}
					return b
				}
				write(t, path, id3Tag(id3Frame("TIT2", wide(title)), id3Frame("TPE1", wide(artist))), song(t))
			},
		},
		{
			Name: "utf8-id3v1.mp3", About: "ID3v1 in UTF-8: its 30 bytes end within a character", From: []string{"ID3v1: 30 bytes without an encoding"},
			Want: either(told(within(Steady(2, 440), 0.06), conversion.Tags{Title: "Größenwahn in der Stra", Artist: artist})),
			Make: func(t testing.TB, path string, _ *Want) {
				fixed := func(s string) []byte { return append([]byte(s), make([]byte, 30)...)[:30] }
				title := fixed("Größenwahn in der Stra" + strings.Repeat("ß", 10))
				copy(title[len("Größenwahn in der Stra"):], make([]byte, 30))
				title[len("Größenwahn in der Stra")] = 0xc3 // the first byte of the next one
				write(t, path, song(t), []byte("TAG"), title, fixed(artist), fixed(""), []byte("2019"), fixed(""), []byte{0})
			},
		},
		{
			Name: "latin1-ape.wv", About: "an APE tag in Windows-1252 behind the sound", From: []string{"APEv2: values are UTF-8", encodings}, Want: either(want),
			Make: func(t testing.TB, path string, _ *Want) {
				items := slices.Concat(ape("Title", windows1252(title)), ape("Artist", windows1252(artist)))
				foot := []byte("APETAGEX")
				for _, n := range []uint32{2000, uint32(len(items) + 32), 2, 0, 0, 0} {
					foot = binary.LittleEndian.AppendUint32(foot, n)
				}
				write(t, path, raw(t, "wv", tone(2, 440, 44100), "-c:a wavpack"), items, foot)
			},
		},
	}
}

// movieTexts are texts of movies, and long ones.
func movieTexts() []Case {
	return []Case{
		{
			Name: "mdta-author.mov", About: "mdta keys of a movie: displayname, author and comment; the moment of the recording is private",
			From: []string{quickTime + ": metadata keys"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(2), tone(2, 440, 48000)), "-c:v mpeg4 -c:a aac -movflags use_metadata_tags -f mov",
					"-metadata", "com.apple.quicktime.displayname=Summer day", "-metadata", "com.apple.quicktime.author=Somebody",
					"-metadata", "com.apple.quicktime.year=2024", "-metadata", "com.apple.quicktime.creationdate=2025-07-01T12:00:00+0200", "-metadata", "com.apple.quicktime.model=SecretPhone")
			},
			Want: told(Steady(2, 440), conversion.Tags{Title: "Summer day", Artist: "Somebody", Date: "2024"}, "2025", "Secret"),
		},
		longTexts("long-texts.mkv", 15<<20, "-f matroska"), longTexts("long-texts.mp4", 20<<20, "-movflags +disable_chpl -f mp4"),
	}
}

// longTexts is a file with a comment of some bytes before its title, and with long
// titles of chapters.
func longTexts(name string, bytes int, args string) Case {
	const words = "w\u00f6rds and more w\u00f6rds "
	long := strings.Repeat(words, 3000)
	head := strings.Repeat(words, 5) + "w\u00f6rds a…" // 126 bytes
	want := withChapters(told(within(Steady(5, 440), 0.06), conversion.Tags{Title: "Talk", Artist: "Somebody"}), Chapter{0, head}, Chapter{2, head}, Chapter{4, "C"})
	return Case{
		Name: name, About: fmt.Sprintf("a comment of %d MiB before the title, titles of chapters of 60 kB", bytes>>20),
		From: []string{rfcMatroska + ", 5.1.8.1.2.3: a TagString has no greatest length", isoFile + ", 4.2: a box may have 4 GiB"},
		Make: func(t testing.TB, path string, _ *Want) {
			var tags strings.Builder
			tags.WriteString("comment=")
			for tags.Len() < bytes {
				tags.WriteString(strings.Repeat(words, 20_000) + "\\\n") // ffmpeg takes the square of the number of lines
			}
			tags.WriteString("\ntitle=Talk\nartist=Somebody\n")
			sheet := chapters(t, tags.String(), 5, Chapter{0, long}, Chapter{2, long}, Chapter{4, "C"})
			encode(t, path, both(pictures(5), tone(5, 440, 48000), []string{"-i", sheet}), "-map 0 -map 1 -map_metadata 2 -c:v mpeg4 -c:a aac "+args)
		},
		Want: want,
	}
}

// encrypted are files with encrypted sound, and with encrypted pictures beside clear
// sound.
func encrypted() []Case {
	refused := Refused(conversion.CodeUnsupportedCodec, "encrypted")
	const scheme = " -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8"
	webm := func(name, codec string, want Want) Case {
		return Case{
			Name: name, About: "WebM with ContentEncodings of the type encryption at the track " + codec, From: []string{rfcMatroska + ", 5.1.4.1.31: ContentEncoding", "WebM Encryption (webmproject.org)"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v libvpx -c:a libopus -f webm")
				header, elements := segment(t, content(t, path))
				tracks := inside(elements[idTracks], 4)
				var all []byte
				for rest := tracks; len(rest) > 0; {
					e := ebmlElement(t, rest)
					rest = rest[len(e):]
					if e[0] == 0xae && bytes.Contains(e, []byte(codec)) {
						encoding := ebml("\x62\x40", ebml("\x50\x31", []byte{0}), ebml("\x50\x32", []byte{1}), ebml("\x50\x33", []byte{1}), ebml("\x50\x35", ebml("\x47\xe1", []byte{5})))
						e = ebml("\xae", inside(e, 1), ebml("\x6d\x80", encoding))
					}
					if e[0] == 0xae { // without the checksum
						all = append(all, e...)
					}
				}
				write(t, path, header, ebml(idSegment, elements[idInfo], ebml(idTracks, all), elements[idCluster]))
			},
			Want: want,
		}
	}
	return []Case{
		webm("encrypted-sound.webm", "A_OPUS", refused), webm("encrypted-pictures.webm", "V_VP8", within(Steady(4, 440), 0.06)),
		{
			Name: "cenc.mp4", About: "CENC, plain MP4", From: []string{cenc}, Want: refused,
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg4 -c:a aac"+scheme)
			},
		},
		{
			Name: "cenc-fragmented.mp4", About: "CENC in fragments, as from DASH", From: []string{cenc}, Want: refused,
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(4, 440, 48000), "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 1000000 -f mp4")
				change(t, path, func(m *movie) { protect(m.sound(), "mp4a") })
			},
		},
		{
			Name: "fairplay.m4p", About: "an old purchase in iTunes: FairPlay, sample description drms", From: []string{"libavcodec's tables and VLC's drms.c: the sample description drms", cenc}, Want: refused,
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(4, 440, 44100), "-c:a aac -f ipod")
				scramble(t, path)
				change(t, path, func(m *movie) { m.sound().rename("mp4a", "drms") })
			},
		},
		{
			Name: "clear-beside-encrypted.mp4", About: "two sound tracks: the first is encrypted, the second is clear", From: []string{cenc + ": each track is protected or not by itself"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000), tone(4, 880, 48000)), "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) { protect(m.sound(), "mp4a") })
			},
			Want: Steady(4, 880),
		},
		{
			Name: "audible.aa", About: "an audiobook of Audible in its older format", From: []string{"libavformat/aadec.c: the sound is always encrypted"}, Want: refused,
			Make: func(t testing.TB, path string, _ *Want) {
				b := make([]byte, 100_000)
				_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
				copy(b, "\x00\x01\x86\xa0\x57\x90\x75\x36")
				write(t, path, b)
			},
		},
		{
			Name: "drm.wma", About: "Windows Media with an Extended Content Encryption Object, the packets encrypted", From: []string{"Advanced Systems Format specification, 3.15"}, Want: refused,
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "asf", tone(4, 440, 44100), "-c:a wmav2")
				header := int(binary.LittleEndian.Uint64(b[16:]))
				object := slices.Concat([]byte("\x14\xe6\x8a\x29\x22\x26\x17\x4c\xb9\x35\xda\xe0\x7e\xe9\x28\x9c"), binary.LittleEndian.AppendUint64(nil, 32), []byte("\x04\x00\x00\x00DRM!"))
				binary.LittleEndian.PutUint64(b[16:], uint64(header+len(object)))
				binary.LittleEndian.PutUint32(b[24:], binary.LittleEndian.Uint32(b[24:])+1)
				_, _ = rand.NewChaCha8([32]byte{3}).Read(b[header+50+100:])
				write(t, path, b[:header], object, b[header:])
			},
		},
	}
}

// scramble replaces the samples.
func scramble(t testing.TB, path string) {
	b := content(t, path)
	mdat := lastOf(topBoxes(b), "mdat")
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b[mdat.begin+8 : mdat.end])
	write(t, path, b)
}

// protect makes a sample description one of encrypted samples.
func protect(trak *node, format string) {
	stsd := trak.table("stsd")
	sinf := box("sinf", box("frma", []byte(format)), box("schm", full(0), []byte("cenc"), full(0x100)), box("schi", box("tenc", full(0), []byte{0, 0, 1, 8}, make([]byte, 16))))
	stsd.body = append(put(stsd.body, 8, binary.BigEndian.Uint32(stsd.body[8:])+uint32(len(sinf))), sinf...)
	copy(stsd.body[12:], "enca")
}
