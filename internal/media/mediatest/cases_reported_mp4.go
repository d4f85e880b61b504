package mediatest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"tonearm/internal/conversion"
)

// fragmentTimes changes the decode time of each fragment of a file with one
// track (tfdt, version 1).
func fragmentTimes(t testing.TB, path string, change func(at int64) int64) {
	t.Helper()
	b := content(t, path)
	found := false
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("tfdt\x01\x00\x00\x00"))
		if i < 0 {
			break
		}
		at += i + 8
		found = true
		binary.BigEndian.PutUint64(b[at:], uint64(change(int64(binary.BigEndian.Uint64(b[at:])))))
	}
	if !found {
		t.Fatal("no fragment has a time")
	}
	write(t, path, b)
}

func moreMovies() []Case {
	const fragments = "-movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 1000000 -f mp4"
	return []Case{
		{
			Name: "edit-zero.m4a", About: "fragmented, the edit list leaves out the priming and has the duration 0: to the end",
			From: []string{"https://github.com/jellyfin/jellyfin/issues/17543", isoFile + ", 8.6.6: in a fragmented file a duration of 0 means the rest"},
			Make: func(t testing.TB, path string, w *Want) {
				encode(t, path, tone(6, 440, 44100), "-c:a aac -movflags empty_moov+delay_moov -frag_duration 1000000 -f mp4")
				if i := bytes.Index(content(t, path), []byte("elst\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04\x00")); i < 0 {
					t.Fatal("no edit list of that kind")
				}
				w.inPieces(Part{float64(len(Packets(t, path))-1) * 1024 / 44100, 440, 0})
			},
			Want: either(within(Want{Seconds: 6}, 0.012)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "dvr.m4a", About: "a live stream saved from the middle: the fragments' times begin at 100 h",
			From: []string{"https://github.com/Dash-Industry-Forum/DASH-IF-Conformance/issues/761", isoFile + ", 8.8.12: the first decode time need not be 0"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(6, 440, 44100), "-c:a aac "+fragments)
				fragmentTimes(t, path, func(at int64) int64 { return at + 100*3600*44100 })
			},
			Want: either(within(Steady(6, 440), 0.08)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "negative-time.mp4", About: "Opus in fragments; the first fragment's time is -312, written as an unsigned number",
			From: []string{"https://github.com/androidx/media/issues/3412", "https://github.com/jellyfin/jellyfin/issues/18049"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(6, 440, 48000), "-c:a libopus "+fragments)
				fragmentTimes(t, path, func(at int64) int64 { return at - 312 })
			},
			Want: either(within(Steady(6, 440), 0.08)), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "browser-scale.mp4", About: "a browser's recording: the track's duration is counted in the movie's ticks, not in its own: 0.08 s in place of 4",
			From: []string{"https://github.com/NomaDamas/CozyClay/issues/13", isoFile + ", 8.4.2.3: in the media's timescale; 8.6.1.2: the sum of the samples' times"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), tone(4, 440, 48000)), "-c:v mpeg4 -c:a aac")
				change(t, path, func(m *movie) {
					mdhd := m.sound().child("mdia", "mdhd")
					mdhd.body = put(mdhd.body, 16, 4000)
				})
			},
			Want: Steady(4, 440), Also: AlsoTrim | AlsoLoudness,
		},
		{
			Name: "ipcm.mp4", About: "PCM in MP4 with a box pcmC, as cameras and GPAC write it",
			From: []string{"https://github.com/gpac/gpac/issues/2470", "https://github.com/mp4ra/mp4ra.github.io/issues/187", "ISO/IEC 23003-5: ipcm, pcmC"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(4), wave(sine(0.4, 440), 48000, 4, "")), "-c:v mpeg4 -c:a pcm_s16le -f mov")
				change(t, path, func(m *movie) {
					copy(m.before[8:], "isom\x00\x00\x02\x00isom")
					entry := append(make([]byte, 6), 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0)
					m.sound().table("stsd").body = append(full(0, 1), box("ipcm", entry, box("pcmC", full(0), []byte{1, 16}))...)
				})
			},
			Want: or(Want{Samples: 4 * 48000, Seconds: 4, Sound: [][]Part{{{4, 440, 0.4}}}}, Refused(conversion.CodeUnsupportedCodec, "ipcm")),
		},
		{
			Name: "he-aac.m4a", About: "HE-AAC signalled explicitly: 24000 Hz doubled to 48000, the edit list counts in the doubled rate",
			From: []string{"https://github.com/MediaArea/MediaInfoLib/issues/1570", "https://github.com/gpac/gpac/issues/121", "ISO/IEC 14496-3, 1.6.5: the output rate is extensionSamplingFrequency"},
			Make: explicitHE,
			Want: within(Steady(4, 440), 0.012), Also: AlsoTrim | AlsoLoudness,
		},
	}
}

// explicitHE writes AAC of 24000 Hz that is described as HE-AAC of 48000 Hz: a
// decoder doubles the rate although no frame has data for the upper half.
func explicitHE(t testing.TB, path string, _ *Want) {
	encode(t, path, tone(4, 440, 24000), "-c:a aac -f mp4")
	change(t, path, func(m *movie) {
		s := m.sound()
		stsd := s.table("stsd")
		i := bytes.Index(stsd.body, []byte("\x05\x80\x80\x80\x05\x13\x08"))
		if i < 0 {
			t.Fatal("no configuration as ffmpeg writes it")
		}
		// Type 5 at 24000 Hz, mono, extended to 48000 Hz, on type 2.
		copy(stsd.body[i+5:], "\x2b\x09\x88\x00\x00")
		stsd.body = put(stsd.body, 40, 48000<<16)
		mdhd := s.child("mdia", "mdhd")
		mdhd.body = put(put(mdhd.body, 12, 48000), 16, 2*binary.BigEndian.Uint32(mdhd.body[16:]))
		s.times(uint32(s.samples())-1, 2048, 1, 1536)
		s.edits(4000, 2048, 65536)
	})
}
