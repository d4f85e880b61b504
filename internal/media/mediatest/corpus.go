package mediatest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// Corpus makes files of every kind that people upload, good and bad, in a new
// folder. elsewhere is an address or path that the hostile ones point to.
func Corpus(t testing.TB, elsewhere string) []Sample {
	t.Helper()
	dir := t.TempDir()
	samples, err := Build(t.Context(), dir, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// Build is Corpus without a test.
func Build(ctx context.Context, dir, elsewhere string) ([]Sample, error) {
	b := builder{ctx: ctx, dir: dir}
	b.good()
	b.odd()
	b.bad()
	b.hostile(elsewhere)
	return b.samples, b.err
}

type builder struct {
	ctx     context.Context
	dir     string
	samples []Sample
	err     error
}

// av makes a two-second video with a tone of its own; args choose the codecs.
func (b *builder) av(name, args string) *Sample {
	hz := 300 + 20*float64(len(b.samples))
	return b.make(Sample{Name: name, Seconds: 2, ToneHz: hz}, inputs(2, 2, hz, 48000), args)
}

// make runs ffmpeg with inputs and the words of args.
func (b *builder) make(s Sample, inputs []string, args string) *Sample {
	s.Path = filepath.Join(b.dir, s.Name)
	if b.err == nil {
		words := append(append([]string{}, inputs...), strings.Fields(args)...)
		b.err = Make(b.ctx, b.dir, append(words, "file:"+s.Path)...)
	}
	b.samples = append(b.samples, s)
	return &b.samples[len(b.samples)-1]
}

// write adds a file with given content.
func (b *builder) write(s Sample, content []byte) {
	s.Path = filepath.Join(b.dir, s.Name)
	if b.err == nil {
		b.err = os.WriteFile(s.Path, content, 0o600)
	}
	b.samples = append(b.samples, s)
}

const (
	h264  = "-c:v libx264 -preset ultrafast -g 10 "
	mpeg4 = "-c:v mpeg4 "
)

// good makes files that must be converted, container by container.
func (b *builder) good() {
	b.av("moov last.mp4", h264+"-c:a aac")
	b.av("moov first.mp4", h264+"-c:a aac -movflags +faststart")
	b.av("fragmented.mp4", h264+"-c:a aac -movflags frag_keyframe+empty_moov")
	b.av("opus.mp4", h264+"-c:a libopus")
	b.av("ac3.mp4", h264+"-c:a ac3")
	b.av("pcm.mov", mpeg4+"-c:a pcm_s16le")
	b.av("pcm24.mov", mpeg4+"-c:a pcm_s24be")
	b.av("alac.mov", mpeg4+"-c:a alac")
	b.av("ima.mov", mpeg4+"-c:a adpcm_ima_qt")
	b.av("opus.webm", "-c:v libvpx -b:v 100k -c:a libopus")
	b.av("vorbis.webm", "-c:v libvpx -b:v 100k -c:a libvorbis")
	b.av("browser.webm", "-c:v libvpx -b:v 100k -c:a libopus -live 1 -f webm").Unchecked = true
	b.av("two tracks.mkv", "-f lavfi -i sine=frequency=2000:sample_rate=96000:duration=2 -map 0 -map 1 -map 2 "+mpeg4+
		"-c:a:0 aac -c:a:1 flac -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger")
	b.make(Sample{Name: "flac96.mkv", Seconds: 2, ToneHz: 500}, inputs(2, 2, 500, 96000), mpeg4+"-c:a flac")
	b.av("truehd.mkv", mpeg4+"-c:a truehd -ac 2 -strict -2")
	b.av("dts.mkv", mpeg4+"-c:a dca -ac 2 -strict -2")
	b.av("mp3.avi", mpeg4+"-c:a libmp3lame")
	b.av("pcm.avi", mpeg4+"-c:a pcm_s16le")
	b.av("mp3.flv", "-c:v flv -c:a libmp3lame -ar 44100")
	b.av("aac.flv", "-c:v flv -c:a aac")
	b.av("speex.flv", "-c:v flv -c:a libspeex -ar 16000 -ac 1")
	b.av("nellymoser.flv", "-c:v flv -c:a nellymoser -ar 22050 -ac 1")
	b.av("wmav2.wmv", "-c:v wmv2 -c:a wmav2")
	b.av("wmav1.wmv", "-c:v wmv2 -c:a wmav1")
	b.av("ac3 5.1.ts", "-c:v mpeg2video -c:a ac3 -ac 6").Unchecked = true
	b.av("eac3.ts", "-c:v mpeg2video -c:a eac3 -ac 2").Unchecked = true
	b.av("mp2.mpg", "-c:v mpeg2video -c:a mp2").Unchecked = true
	for _, only := range []string{"only.wav", "only.mp3", "only.m4a", "only.ogg", "only.flac"} {
		b.make(Sample{Name: only, Seconds: 2, ToneHz: 440}, tone(2, 440, 44100), "-ac 2")
	}
	amr := append([]byte("#!AMR\n"), bytes.Repeat(append([]byte{4}, make([]byte, 12)...), 100)...) // frames of 20 ms
	raw := filepath.Join(b.dir, "raw")
	if b.err == nil {
		b.err = os.WriteFile(raw, amr, 0o600)
	}
	b.make(Sample{Name: "amr.3gp", Seconds: 2}, append(pictures(2), "-f", "amr", "-i", raw), "-c:v h263 -s 176x144 -c:a copy")
}

// odd makes good files whose length or name is special.
func (b *builder) odd() {
	b.make(Sample{Name: "hour of silence.mp4", Seconds: 3600}, []string{"-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=3600"}, "-c:a aac -b:a 8k")
	b.make(Sample{Name: "short.mp4", Seconds: 0.2, ToneHz: 600}, inputs(0.2, 0.2, 600, 48000), h264+"-c:a aac")
	for _, ext := range []string{".mp4", ".mkv", ".avi"} {
		b.make(Sample{Name: "sound ends early" + ext, Seconds: 3, ToneHz: 620}, inputs(23, 3, 620, 48000), mpeg4+"-c:a aac")
	}
	b.make(Sample{Name: "sound ends early.flv", Seconds: 3, ToneHz: 620}, inputs(23, 3, 620, 44100), "-c:v flv -c:a aac")
	for _, ext := range []string{".mp4", ".mkv"} {
		b.make(Sample{Name: "sound starts late" + ext, Seconds: 2, ToneHz: 640},
			append(append(pictures(7), "-itsoffset", "5"), tone(2, 640, 48000)...), mpeg4+"-c:a aac")
	}
	b.av("Überraschung “Größe” 日本語 🎬.mp4", h264+"-c:a aac")
	b.av(`it's "quoted" & 100% #1 + $HOME;.mp4`, h264+"-c:a aac")
	b.av("located.mp4", h264+"-c:a aac -metadata location=+52.5200+013.4050/ -metadata copyright=private -metadata title=A=B;#c")
}

// bad makes files that can never become an MP3.
func (b *builder) bad() {
	fails := func(name string, code conversion.Code) Sample { return Sample{Name: name, WantCode: code} }
	b.make(fails("no audio.mp4", conversion.CodeNoAudio), pictures(2), h264)
	cuts := []struct {
		from, name string
		keep       float64
		code       conversion.Code
	}{
		{"moov first.mp4", "truncated.mp4", 0.6, conversion.CodeTruncated},
		{"moov last.mp4", "missing moov.mp4", 0.6, conversion.CodeTruncated},
		{"fragmented.mp4", "truncated fragments.mp4", 0.6, conversion.CodeTruncated},
		{"pcm.mov", "truncated.mov", 0.9, conversion.CodeTruncated},
		{"two tracks.mkv", "truncated.mkv", 0.6, conversion.CodeTruncated},
		{"opus.webm", "truncated.webm", 0.6, conversion.CodeTruncated},
		{"mp3.avi", "truncated.avi", 0.6, conversion.CodeTruncated},
		{"wmav2.wmv", "truncated.wmv", 0.6, conversion.CodeTruncated},
		{"mp3.flv", "truncated.flv", 0.6, conversion.CodeTruncated},
		{"only.wav", "truncated.wav", 0.6, conversion.CodeTruncated},
		{"only.flac", "truncated.flac", 0.6, conversion.CodeTruncated},
		{"only.mp3", "truncated.mp3", 0.6, conversion.CodeTruncated},
		{"moov first.mp4", "cut in the index.mp4", 0.01, conversion.CodeTruncated},
	}
	for _, c := range cuts {
		content := b.read(c.from)
		b.write(fails(c.name, c.code), content[:int(c.keep*float64(len(content)))])
	}
	whole := b.read("moov last.mp4")
	b.write(fails("never finished.mp4", conversion.CodeDamaged), whole[:max(0, bytes.LastIndex(whole, []byte("moov"))-4)])
	random := make([]byte, 300<<10)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(random)
	b.write(fails("random.mp4", conversion.CodeNotMedia), random)
	b.write(fails("text.mp4", conversion.CodeNotMedia), []byte(strings.Repeat("Not a video at all, only words.\n", 2000)))
	b.write(fails("empty.mp4", conversion.CodeEmpty), nil)

	ruined := bytes.Clone(b.read("ac3.mp4")) // the same, nearly all of them
	clear(ruined[min(len(ruined), 3000):max(min(len(ruined), 3000), bytes.LastIndex(ruined, []byte("moov"))-4)])
	b.write(fails("ruined.mp4", conversion.CodeDamaged), ruined)
	holes := bytes.Clone(b.read("ac3.mp4")) // whole boxes, but half of the packets are zeros
	clear(holes[len(holes)/2 : max(len(holes)/2, bytes.LastIndex(holes, []byte("moov"))-4)])
	b.write(fails("damaged.mp4", conversion.CodeDamaged), holes)
}

// hostile makes files that try to make ffmpeg open something else, and bombs.
func (b *builder) hostile(elsewhere string) {
	not := func(name, content string) {
		b.write(Sample{Name: name, WantCode: conversion.CodeNotMedia}, []byte(content))
	}
	not("playlist.m3u8", "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"+elsewhere+"\n#EXT-X-ENDLIST\n")
	not("concat.txt", "ffconcat version 1.0\nfile '"+elsewhere+"'\n")
	not("dash.mpd", `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT2S" type="static" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>`+elsewhere+`</BaseURL></Representation></AdaptationSet></Period></MPD>`)
	not("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n")
	not("subtitles.srt", "1\n00:00:00,000 --> 00:00:02,000\n"+elsewhere+"\n")
	not("picture.svg", `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9"><image xlink:href="`+elsewhere+`"/></svg>`)
	b.make(Sample{Name: "picture.png", WantCode: conversion.CodeNotMedia}, pictures(0.1), "-frames:v 1")

	bomb := bytes.Clone(b.read("only.wav"))
	if len(bomb) > 44 {
		copy(bomb[24:], []byte{1, 0, 0, 0, 2, 0, 0, 0}) // 1 Hz
	}
	b.write(Sample{Name: "1 Hz.wav", WantCode: conversion.CodeLimitExceeded}, bomb)
	b.make(Sample{Name: "16 channels.wav", WantCode: conversion.CodeLimitExceeded}, tone(1, 440, 48000), "-ac 16")
	b.make(Sample{Name: "encrypted.mp4", WantCode: conversion.CodeUnsupportedCodec}, []string{"-i", filepath.Join(b.dir, "moov last.mp4")},
		"-c copy -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8")
	b.make(Sample{Name: "g722.mkv", WantCode: conversion.CodeUnsupportedCodec}, tone(1, 440, 16000), "-c:a g722")
}

// read returns the content of an earlier sample.
func (b *builder) read(name string) []byte {
	if b.err != nil {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.err = fmt.Errorf("corpus: %w", err)
	}
	return content
}
