package abuse

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// file is an input that is uploaded and converted.
func file(name string, content func(*site) []byte) input {
	return input{name, func(s *site) string { return s.end(s.eve, s.upload(s.eve, name, content(s))) }}
}

// text is a file that names another one: %s is where that is.
func text(name, format string, where func(*site) string) input {
	return file(name, func(s *site) []byte { return []byte(strings.ReplaceAll(format, "%s", where(s))) })
}

func theCanary(s *site) string { return s.canary }
func theSecret(s *site) string { return "file://" + s.secret }
func thePath(s *site) string   { return s.secret }

// protocols make a decoder that follows them open something else: another server,
// or a file of the machine.
func protocols(t *testing.T) []input {
	const hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n%s\n#EXT-X-ENDLIST\n"
	const dash = `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>%s</BaseURL></Representation></AdaptationSet></Period></MPD>`
	concat := func(s *site) string { return "concat:" + s.canary + "|" + theSecret(s) }
	subfile := func(s *site) string { return "subfile,,start,0,end,0,,:" + s.secret }
	all := []input{
		text("hls-http.m3u8", hls, theCanary), text("hls-file.m3u8", hls, theSecret), text("hls-path.m3u8", hls, thePath),
		text("hls-as.mp4", hls, theCanary), text("hls-as.ts", hls, theSecret), text("hls-concat.m3u8", hls, concat), text("hls-subfile.m3u8", hls, subfile),
		text("hls-key.m3u8", strings.Replace(hls, "#EXTINF", "#EXT-X-KEY:METHOD=AES-128,URI=\"%s\"\n#EXTINF", 1), theCanary),
		text("hls-map.m3u8", strings.Replace(hls, "#EXTINF", "#EXT-X-MAP:URI=\"%s\"\n#EXTINF", 1), theSecret),
		text("hls-master.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n", theCanary),
		text("dash-http.mpd", dash, theCanary), text("dash-file.mpd", dash, theSecret), text("dash-as.webm", dash, theCanary),
		text("concat-http.txt", "ffconcat version 1.0\nfile '%s'\n", theCanary), text("concat-file.txt", "ffconcat version 1.0\nfile '%s'\n", thePath),
		text("concat-as.mkv", "ffconcat version 1.0\nfile '%s'\n", thePath),
		text("list.asx", `<ASX VERSION="3.0"><ENTRY><REF HREF="%s"/></ENTRY></ASX>`, theCanary),
		text("list.pls", "[playlist]\nFile1=%s\nNumberOfEntries=1\n", theCanary),
		text("list.xspf", `<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/" version="1"><trackList><track><location>%s</location></track></trackList></playlist>`, theSecret),
		text("list.smil", `<smil><body><audio src="%s"/></body></smil>`, theCanary),
		text("list.ram", "%s\n", theCanary), text("list.strm", "%s\n", theSecret),
		text("list.wvx", `[Reference]`+"\nRef1=%s\n", theCanary),
		text("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=x:%s\nm=audio 5004 RTP/AVP 0\n", theCanary),
		text("redirect.rtsp", "RTSP/1.0 302 Found\r\nLocation: %s\r\n\r\n", theCanary),
		text("entity.xml", `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "%s">]><a>&x;</a>`, theSecret),
		text("picture.svg", `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="%s"/></svg>`, theCanary),
		text("picture.mvg", "push graphic-context\nimage over 0,0 0,0 '%s'\npop graphic-context\n", theCanary),
		text("filter.lavfi", "amovie=%s", thePath), text("sheet.cue", "FILE \"%s\" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n", thePath),
		text("script.ffmeta", ";FFMETADATA1\ntitle=x\n[STREAM]\nfile=%s\n", thePath),
		text("image%03d.png", "%s", thePath), text("vapoursynth.vpy", "import os\nopen('%s')\n", thePath), text("avisynth.avs", "WavSource(\"%s\")", thePath),
		file("reference.mov", func(s *site) []byte {
			rdrf := box("rdrf", []byte{0, 0, 0, 0}, []byte("url "), u32(len(s.canary)+1), []byte(s.canary+"\x00"))
			return append(box("ftyp", []byte("qt  "), u32(0)), box("moov", box("rmra", box("rmda", rdrf)))...)
		}),
		file("outside.mp4", func(s *site) []byte { // the samples are said to lie in another file
			return bytes.ReplaceAll(s.tone, []byte("url \x00\x00\x00\x01"), []byte("url \x00\x00\x00\x00"))
		}),
		file("alias.mov", func(s *site) []byte { return bytes.ReplaceAll(made(s.t, "a.mov"), []byte("url "), []byte("alis")) }),
		file("subtitles.avi", gab2),
		file("cover-link.mp3", func(s *site) []byte {
			return append(id3(frame("APIC", append([]byte("\x00-->\x00\x03\x00"), s.canary...))), made(s.t, "a.mp3", "-vn")...)
		}),
		file("cover-link.ogg", func(s *site) []byte { return tagged(s, "a.ogg") }),
		file("cover-link.flac", func(s *site) []byte { return tagged(s, "a.flac") }),
		file("cover.svg.mp3", func(s *site) []byte {
			svg := `<svg xmlns="http://www.w3.org/2000/svg"><image href="` + s.canary + `"/></svg>`
			return append(id3(frame("APIC", append([]byte("\x00image/svg+xml\x00\x03\x00"), svg...))), made(s.t, "a.mp3", "-vn")...)
		}),
	}
	return all
}

// tagged has a picture that is only the address of one.
func tagged(s *site, name string) []byte {
	link := s.canary
	picture := append(append(u32(3), u32(3)...), "-->"...)
	picture = append(append(picture, u32(0)...), make([]byte, 16)...)
	picture = append(append(picture, u32(len(link))...), link...)
	return made(s.t, name, "-vn", "-metadata", "METADATA_BLOCK_PICTURE="+base64.StdEncoding.EncodeToString(picture))
}

// gab2 is an AVI whose subtitle is a playlist of a file of the machine.
func gab2(s *site) []byte {
	list := "#EXTM3U\n#EXTINF:2,\nfile://" + s.secret + "\n#EXT-X-ENDLIST\n"
	sub := append([]byte("GAB2\x00\x02\x00"), le32(0)...)
	sub = append(append(sub, 4, 0), le32(len(list))...)
	sub = append(sub, list...)
	strl := func(kind string, format []byte) []byte {
		h := make([]byte, 56)
		copy(h, kind)
		copy(h[20:], le32(1))
		copy(h[24:], le32(25))
		return riff("LIST", []byte("strl"), riff("strh", h), riff("strf", format))
	}
	pcm := []byte{1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0}
	return riff("RIFF", []byte("AVI "),
		riff("LIST", []byte("hdrl"), riff("avih", make([]byte, 56)), strl("auds", pcm), strl("txts", nil)),
		riff("LIST", []byte("movi"), riff("00wb", make([]byte, 3200)), riff("01tx", sub)))
}

// bombs are small, or say that they hold much more than they do.
func bombs(*testing.T) []input { //nolint:funlen // most of it is a table
	zeros := make([]byte, 4<<20)
	deflated := func() []byte {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		for range 64 {
			_, _ = z.Write(zeros)
		}
		z.Close()
		return b.Bytes()
	}
	patched := func(table string, at int, value ...byte) func(*site) []byte {
		return func(s *site) []byte {
			b := bytes.Clone(s.tone)
			copy(b[bytes.Index(b, []byte(table))+4+at:], value)
			return b
		}
	}
	most := []byte{0xff, 0xff, 0xff, 0xff}
	nested := func(kind string, depth int) func(*site) []byte {
		return func(s *site) []byte {
			b := []byte{}
			for range depth {
				b = append(append(u32(len(b)+8), kind...), b...)
			}
			return append(bytes.Clone(s.tone), b...)
		}
	}
	mkv := func(s *site) []byte { return made(s.t, "a.mkv") }
	wav := func(s *site) []byte { return made(s.t, "a.wav", "-vn") }
	return []input{
		file("deflated.gz", func(*site) []byte { return deflated() }),
		file("deflated.mp4", func(*site) []byte { return deflated() }),
		file("zeros.mp4", func(*site) []byte { return zeros }),
		file("noise.mp4", func(*site) []byte { return noise(4<<20, 1) }),
		file("syncs.mp3", func(*site) []byte { return bytes.Repeat([]byte{0xff, 0xfb, 0x90, 0x64}, 1<<19) }),
		file("syncs.aac", func(*site) []byte { return bytes.Repeat([]byte{0xff, 0xf1, 0x50, 0x80, 0x00, 0xff, 0xfc}, 1<<18) }),
		file("times.mp4", patched("stts", 4, most...)), file("sizes.mp4", patched("stsz", 8, most...)),
		file("chunks.mp4", patched("stsc", 4, most...)), file("offsets.mp4", patched("stco", 4, most...)),
		file("offsets-beyond.mp4", patched("stco", 8, most...)),
		file("size-of-all.mp4", patched("stsz", 4, most...)),
		file("length.mp4", patched("mvhd", 16, most...)), file("timescale-zero.mp4", patched("mdhd", 12, 0, 0, 0, 0)),
		file("edits.mp4", func(s *site) []byte { return edited(s, 1_000_000) }),
		file("edits-4097.mp4", func(s *site) []byte { return edited(s, 4097) }),
		file("nested-free.mp4", nested("udta", 100_000)), file("nested-moov.mp4", nested("moov", 50_000)),
		file("boxes.mp4", func(s *site) []byte { return append(bytes.Repeat(box("free"), 200_000), s.tone...) }),
		file("voids.mkv", func(s *site) []byte { return append(mkv(s), bytes.Repeat([]byte{0xec, 0x80}, 1<<20)...) }),
		file("voids-first.mkv", func(s *site) []byte { return append(bytes.Repeat([]byte{0xec, 0x80}, 1<<20), mkv(s)...) }),
		file("huge-element.mkv", func(s *site) []byte {
			return append(mkv(s), 0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe)
		}),
		file("deep.mkv", func(s *site) []byte { return append(mkv(s), bytes.Repeat([]byte{0xb6, 0xff}, 1<<18)...) }),
		file("promise.wav", func(s *site) []byte {
			b := wav(s)
			copy(b[4:], most)
			copy(b[bytes.Index(b, []byte("data"))+4:], []byte{0xf0, 0xff, 0xff, 0xff})
			return b
		}),
		file("channels.wav", func(s *site) []byte { b := wav(s); copy(b[22:], []byte{0xff, 0xff}); return b }),
		file("rate.wav", func(s *site) []byte { b := wav(s); copy(b[24:], most); return b }),
		file("rate-zero.wav", func(s *site) []byte { b := wav(s); copy(b[24:], []byte{0, 0, 0, 0}); return b }),
		file("lists.wav", func(s *site) []byte {
			b := wav(s)
			return append(b[:36:36], append(bytes.Repeat(riff("LIST", []byte("INFO")), 200_000), b[36:]...)...)
		}),
		file("samples.flac", func(s *site) []byte { b := made(s.t, "a.flac", "-vn"); b[21] |= 0x0f; copy(b[22:], most); return b }),
		file("cover-bomb.mp3", func(s *site) []byte {
			return append(id3(frame("APIC", append([]byte("\x00image/png\x00\x03\x00"), hugePNG()...))), made(s.t, "a.mp3", "-vn")...)
		}),
		file("tag-deflated.mp3", func(s *site) []byte {
			var b bytes.Buffer
			z := zlib.NewWriter(&b)
			for range 16 {
				_, _ = z.Write(zeros)
			}
			z.Close()
			body := append(u32(len(zeros)*16), b.Bytes()...)
			return append(id3(append(append(append([]byte("TIT2"), u32(len(body))...), 0, 0x80), body...)), made(s.t, "a.mp3", "-vn")...)
		}),
		file("tags.mp3", func(s *site) []byte {
			return append(id3(bytes.Repeat(frame("TXXX", []byte("\x00k\x00v")), 100_000)), made(s.t, "a.mp3", "-vn")...)
		}),
		file("links.ogg", func(s *site) []byte { return bytes.Repeat(made(s.t, "a.ogg", "-vn", "-t", "0.1"), 200) }),
		file("programs.ts", func(s *site) []byte { return append(programs(), made(s.t, "a.ts")...) }),
	}
}

// edited has an edit list with so many entries.
func edited(s *site, n int) []byte {
	edit := append(append(u32(1), u32(0)...), 0, 1, 0, 0)
	elst := box("edts", box("elst", u32(0), u32(n), bytes.Repeat(edit, n)))
	b := bytes.Replace(s.tone, []byte("edts"), []byte("free"), 1) // the last list counts
	for _, kind := range []string{"trak", "moov"} {
		at := bytes.Index(b, []byte(kind)) - 4
		size := int(binary.BigEndian.Uint32(b[at:]))
		b = append(b[:at:at], append(u32(size+len(elst)), b[at+4:]...)...)
	}
	at := bytes.Index(b, []byte("trak")) + 4
	at += int(binary.BigEndian.Uint32(b[at:])) // behind tkhd
	return append(b[:at:at], append(elst, b[at:]...)...)
}

func programs() []byte {
	var b []byte
	for pid := 32; pid < 8000; pid++ {
		b = append(b, 0x47, 0x40|byte(pid>>8), byte(pid), 0x10)
		b = append(b, bytes.Repeat([]byte{0xff}, 184)...)
	}
	return b
}

// hugePNG says that it has 60,000 × 60,000 pixels.
func hugePNG() []byte {
	chunk := func(kind string, body []byte) []byte {
		return append(append(append(u32(len(body)), kind...), body...), 0, 0, 0, 0)
	}
	b := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(append(u32(60000), u32(60000)...), 8, 6, 0, 0, 0))...)
	return append(append(b, chunk("IDAT", []byte{0x78, 0x9c})...), chunk("IEND", nil)...)
}

// damage is done to a good file of each format.
func damage(*testing.T) []input {
	kinds := []struct{ name, args string }{
		{"a.mp4", ""}, {"fragments.mp4", "-movflags frag_keyframe+empty_moov"}, {"a.mkv", ""}, {"a.webm", "-c:a libopus -c:v libvpx"}, {"a.ts", ""},
		{"a.avi", ""}, {"a.flv", "-ar 44100"}, {"a.mp3", "-vn"}, {"a.ogg", "-vn"}, {"a.flac", "-vn"}, {"a.wav", "-vn"}, {"a.wma", "-vn"},
	}
	damages := []struct {
		name string
		do   func([]byte) []byte
	}{
		{"half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"begin", func(b []byte) []byte { return b[:min(len(b), 300)] }},
		{"end", func(b []byte) []byte { return b[len(b)/2:] }},
		{"overwritten", func(b []byte) []byte { copy(b, noise(64, 3)); return b }},
	}
	var all []input
	for _, k := range kinds {
		for _, d := range damages {
			all = append(all, file(d.name+"-"+k.name, func(s *site) []byte {
				return d.do(made(s.t, k.name, strings.Fields(k.args)...))
			}))
		}
	}
	return all
}

// polyglots are also something else.
func polyglots(*testing.T) []input {
	before := func(name, text string, of func(*site) []byte) input {
		return file(name, func(s *site) []byte { return append([]byte(text), of(s)...) })
	}
	after := func(name, text string, of func(*site) []byte) input {
		return file(name, func(s *site) []byte { return append(bytes.Clone(of(s)), text...) })
	}
	mp3 := func(s *site) []byte { return made(s.t, "a.mp3", "-vn") }
	wav := func(s *site) []byte { return made(s.t, "a.wav", "-vn") }
	mkv := func(s *site) []byte { return made(s.t, "a.mkv") }
	mp4 := func(s *site) []byte { return s.tone }
	page := "<html><script>fetch('/v1/me')</script></html>"
	return []input{
		before("gif.mp3", "GIF89a\x01\x00\x01\x00\x00\x00\x00;", mp3), before("pdf.mp3", "%PDF-1.4\n%%EOF\n", mp3),
		before("page.mp3", page, mp3), before("script.mp3", "#!/bin/sh\ntouch /tmp/tonearm-escaped\nexit\n", mp3),
		before("elf.wav", "\x7fELF\x02\x01\x01\x00", wav), before("exe.wav", "MZ\x90\x00", wav), before("page.mkv", "<!--", mkv),
		after("zip.mp4", "PK\x05\x06"+strings.Repeat("\x00", 18), mp4), after("page.mp4", page, mp4), after("php.mp3", "<?php system('id'); __HALT_COMPILER(); ?>", mp3),
		after("more.wav", "RIFF\x04\x00\x00\x00WAVE", wav), after("second.mp4", "\x00\x00\x00\x08moov", mp4),
		file("both.mp3", func(s *site) []byte { return append(mp3(s), s.tone...) }),
		file("wav-in.mp4", func(s *site) []byte { return append(box("free", wav(s)), s.tone...) }),
		file("named.png", mp4), file("named.exe", mp4), file("text.mp4", func(s *site) []byte { return s.text }),
		file("silent.mp4", func(s *site) []byte { return s.toneless }), file("empty-boxes.mp4", func(*site) []byte { return box("ftyp", []byte("isom"), u32(0)) }),
		file("one-byte.mp4", func(*site) []byte { return []byte{0} }),
	}
}

func u32(n int) []byte  { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

// box is one of MP4.
func box(kind string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(append(u32(len(body)+8), kind...), body...)
}

// riff is a chunk of RIFF.
func riff(kind string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	b := append(append([]byte(kind), le32(len(body))...), body...)
	return append(b, make([]byte, len(body)%2)...)
}

// id3 is a tag of version 2.3.
func id3(frames []byte) []byte {
	n := len(frames)
	return append([]byte{'I', 'D', '3', 3, 0, 0, byte(n >> 21 & 0x7f), byte(n >> 14 & 0x7f), byte(n >> 7 & 0x7f), byte(n & 0x7f)}, frames...)
}

func frame(kind string, body []byte) []byte {
	return append(append(append([]byte(kind), u32(len(body))...), 0, 0), body...)
}

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}
