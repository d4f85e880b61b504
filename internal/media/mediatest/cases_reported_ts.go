package mediatest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

// moreStreams are transport, program and Flash streams.
func moreStreams() []Case {
	restarted := within(In(Part{10, 440, 0}, Part{10, 880, 0}), 0.2)
	restarted.Unchecked = true
	small := []string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=10"}
	return []Case{
		{
			Name: "ts-restart.ts", About: "two recordings joined byte by byte: the clock begins anew at 0",
			From: []string{"https://github.com/popcornmix/omxplayer/issues/378", "https://github.com/video-dev/hls.js/issues/283", mpegTS + ", 2.4.3.5: discontinuity"},
			Make: func(t testing.TB, path string, _ *Want) {
				part := func(hz float64) []byte {
					return raw(t, "mpegts", both(small, tone(10, hz, 48000)), "-c:v mpeg2video -ac 2 -c:a aac -muxdelay 0 -muxpreload 0")
				}
				write(t, path, part(440), part(880))
			},
			Want: restarted, Also: AlsoLoudness,
		},
		{
			Name: "ts-jump.ts", About: "a camera was off for a day between two recordings: the clock jumps by 20 h",
			From: []string{"https://github.com/hwangsaeul/hwangsae/pull/9", mpegTS + ", 2.4.3.5: discontinuity"},
			Make: func(t testing.TB, path string, _ *Want) {
				part := func(hz float64, at string) []byte {
					return raw(t, "mpegts", both(small, tone(10, hz, 48000)), "-c:v mpeg2video -ac 2 -c:a aac -muxdelay 0 -muxpreload 0 -output_ts_offset "+at)
				}
				write(t, path, part(440, "0"), part(880, "72000"))
			},
			Want: restarted, Also: AlsoLoudness,
		},
		{
			Name: "cells.vob", About: "two parts of a DVD joined: the clock begins anew with the second",
			From: []string{"https://github.com/HandBrake/HandBrake/issues/4066", "ISO/IEC 13818-1, 2.5.2: system clock reference"},
			Make: func(t testing.TB, path string, _ *Want) {
				part := func(hz float64) []byte {
					return raw(t, "vob", both(small, tone(10, hz, 48000)), "-c:v mpeg2video -ac 2 -c:a ac3")
				}
				write(t, path, part(440), part(880))
			},
			Want: restarted, Also: AlsoLoudness,
		},
		{
			Name: "bluray-pcm.m2ts", About: "a Blu-ray's PCM: 24 bits, mono, packets of 192 bytes", From: []string{"https://github.com/mbunkus/mkvtoolnix/issues/1524", mpegTS},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), wave(sine(0.4, 440), 48000, 4, "")), "-c:v mpeg2video -c:a pcm_bluray -sample_fmt s32 -mpegts_m2ts_mode 1 -f mpegts")
			},
			Want: either(within(In(Part{4, 440, 0.4}), 0.06)), Also: AlsoTrim,
		},
		{
			Name: "enhanced.flv", About: "Opus in FLV, in the tags of Enhanced RTMP that OBS streams with",
			From: []string{"https://github.com/obsproject/obs-studio/pull/11462", "https://github.com/hua0512/rust-srec/pull/747", "Enhanced RTMP v2: ExAudioTagHeader"},
			Make: enhancedFLV,
			Want: or(Refused(conversion.CodeUnsupportedCodec, "Opus"), either(within(Steady(4, 440), 0.08))),
		},
		{
			Name: "unknown-codec.mkv", About: "the only sound track has a codec that nothing here knows", From: []string{rfcMatroska + ", 5.1.4.1.19: CodecID names it"},
			Make: func(t testing.TB, path string, _ *Want) {
				write(t, path, matroska("A_MPEGH/LC", 48000, 6, 2, singly(someAC3(t), ac3Length), nil))
			},
			Want: Refused(conversion.CodeUnsupportedCodec, "A_MPEGH/LC"),
		},
		{
			Name: "unknown-codec.wav", About: "samples in a codec with a number that nothing here knows", From: []string{"Multimedia Programming Interface and Data Specifications 1.0 (RIFF), WAVEFORMATEX: wFormatTag"},
			Make: func(t testing.TB, path string, _ *Want) {
				b := raw(t, "wav", tone(3, 440, 44100), "")
				binary.LittleEndian.PutUint16(b[bytes.Index(b, []byte("fmt "))+8:], 0x1234)
				write(t, path, b)
			},
			Want: Refused(conversion.CodeUnsupportedCodec, "0x1234"),
		},
	}
}

// enhancedFLV writes Opus in tags with SoundFormat 9: packet type and four
// letters follow.
func enhancedFLV(t testing.TB, path string, _ *Want) {
	out := []byte("FLV\x01\x04\x00\x00\x00\x09\x00\x00\x00\x00")
	tag := func(at int, kind byte, body []byte) {
		body = slices.Concat([]byte{0x90 | kind}, []byte("Opus"), body)
		n := len(body)
		out = append(out, 8, byte(n>>16), byte(n>>8), byte(n), byte(at>>16), byte(at>>8), byte(at), 0, 0, 0, 0)
		out = binary.BigEndian.AppendUint32(append(out, body...), uint32(n+11))
	}
	at := 0
	for i, p := range oggPackets(oggPages(t, raw(t, "ogg", tone(4, 440, 48000), "-ac 2 -c:a libopus"))) {
		switch i {
		case 0:
			tag(0, 0, p)
		case 1: // comments
		default:
			tag(at, 1, p)
			at += 20
		}
	}
	write(t, path, out)
}

// oggPackets are the packets of a stream (RFC 3533, section 6).
func oggPackets(pages [][]byte) (packets [][]byte) {
	var open []byte
	for _, p := range pages {
		body := p[27+int(p[26]):]
		for _, n := range p[27 : 27+int(p[26])] {
			open = append(open, body[:n]...)
			body = body[n:]
			if n < 255 {
				packets = append(packets, open)
				open = nil
			}
		}
	}
	return packets
}
