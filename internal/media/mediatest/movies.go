package mediatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Movie is an MP4 or MOV file of a certain build.
type Movie struct {
	Name, Path  string
	AudioTracks int     // audio tracks
	ToneHz      float64 // of the first one
	Tagged      bool    // has tags, chapters or a picture
	Whole       string  // why its audio cannot be read by itself, a reason of package mp4; '' if it can
}

// Movies makes MP4 and MOV files of every kind, each of some seconds, in a new
// folder. They differ in codecs, layouts, time lines and in the tracks beside
// the audio.
func Movies(t testing.TB, seconds float64) []Movie {
	t.Helper()
	m := movies{t: t, dir: t.TempDir(), seconds: seconds}
	m.codecs()
	m.timelines()
	m.tracks()
	m.layouts()
	m.unfit()
	return m.list
}

type movies struct {
	t       testing.TB
	dir     string
	seconds float64
	list    []Movie
}

func (m *movies) path(name string) string { return filepath.Join(m.dir, name) }

// make runs ffmpeg with inputs (picture 0:v, audio 1:a) and the words of args.
func (m *movies) make(name string, audioTracks int, args string) {
	m.t.Helper()
	hz := 300 + 20*float64(len(m.list))
	m.from(name, audioTracks, inputs(m.seconds, m.seconds, hz, 48000), args)
	m.list[len(m.list)-1].ToneHz = hz
}

func (m *movies) from(name string, audioTracks int, inputs []string, args string) {
	m.t.Helper()
	words := append(append([]string{}, inputs...), strings.Fields(args)...)
	if err := Make(m.t.Context(), m.dir, append(words, "file:"+m.path(name))...); err != nil {
		m.t.Fatal(err)
	}
	m.list = append(m.list, Movie{Name: name, Path: m.path(name), AudioTracks: audioTracks, ToneHz: 440, Tagged: strings.Contains(args, "-map_metadata")})
}

func (m *movies) remux(from, name string, l Layout) {
	m.t.Helper()
	Remux(m.t, m.path(from), m.path(name), l)
	for _, o := range m.list {
		if o.Name == from {
			m.list = append(m.list, Movie{Name: name, Path: m.path(name), AudioTracks: o.AudioTracks, ToneHz: o.ToneHz})
			return
		}
	}
}

func (m *movies) codecs() {
	for name, codec := range map[string]string{
		"aac.mp4": "aac", "aac 5.1.mp4": "aac -ac 6", "alac.m4a": "alac", "mp3.mp4": "libmp3lame", "opus.mp4": "libopus",
		"flac.mp4": "flac -strict -2", "ac3.mp4": "ac3", "eac3.mp4": "eac3",
		"aac.mov": "aac", "alac.mov": "alac", "mp3.mov": "libmp3lame", "ac3.mov": "ac3",
		"sowt.mov": "pcm_s16le", "twos.mov": "pcm_s16be -ac 2", "in24.mov": "pcm_s24be", "in24 little.mov": "pcm_s24le -ac 2",
		"in32.mov": "pcm_s32be", "fl32.mov": "pcm_f32le -ac 2", "fl64.mov": "pcm_f64be", "raw.mov": "pcm_u8 -ac 2", "twos 8.mov": "pcm_s8",
		"ulaw.mov": "pcm_mulaw", "alaw.mov": "pcm_alaw -ac 2", "ima4.mov": "adpcm_ima_qt", "ima4 stereo.mov": "adpcm_ima_qt -ac 2",
	} {
		m.make(name, 1, "-c:v mpeg4 -b:v 300k -c:a "+codec)
	}
	m.make("no picture.m4a", 1, "-map 1:a -c:a aac")
	m.make("first.mp4", 1, "-c:v mpeg4 -b:v 300k -c:a aac -movflags +faststart")
	m.make("b frames.mp4", 1, "-c:v libx264 -preset ultrafast -bf 2 -c:a aac")
}

// timelines are files whose tracks do not simply begin together.
func (m *movies) timelines() {
	late := func(picture, audio string) []string {
		in := append([]string{"-itsoffset", picture}, pictures(m.seconds)...)
		return append(append(in, "-itsoffset", audio), tone(m.seconds, 440, 48000)...)
	}
	m.from("late sound.mp4", 1, late("0", "0.7"), "-c:v mpeg4 -c:a aac")
	m.from("very late sound.mov", 1, late("0", "2.345"), "-c:v mpeg4 -c:a pcm_s16le")
	m.from("late picture.mp4", 1, late("0.7", "0"), "-c:v mpeg4 -c:a aac")
	m.from("both late.mp4", 1, late("0.5", "1.5"), "-c:v mpeg4 -c:a libopus")
	m.from("late b frames.mp4", 1, late("0.31", "1.1"), "-c:v libx264 -preset ultrafast -bf 2 -use_editlist 0 -c:a alac")
	m.from("cut.mp4", 1, []string{"-ss", "0.73", "-i", m.path("b frames.mp4")}, "-c copy")
	m.from("cut.mov", 1, []string{"-ss", "0.73", "-i", m.path("sowt.mov")}, "-c copy")
	m.from("cut of a cut.mp4", 1, []string{"-ss", "0.31", "-i", m.path("cut.mp4")}, "-c copy -t 1")
	m.make("no edit list.mp4", 1, "-c:v mpeg4 -c:a aac -use_editlist 0")
	m.make("negative offsets.mp4", 1, "-c:v libx264 -preset ultrafast -bf 2 -c:a aac -movflags +negative_cts_offsets")
	m.remux("aac.mp4", "cuts.mp4", Layout{ChunkSeconds: 0.5, Edits: [][2]float64{{0.4, -1}, {0.5, 0.2}, {0.6, 1.1}}})
	m.remux("sowt.mov", "cuts.mov", Layout{ChunkSeconds: 0.5, Edits: [][2]float64{{0.5, 0.2}, {0.3, 0.9}, {0.6, 1.3}}})
	m.remux("aac.mp4", "again.mp4", Layout{ChunkSeconds: 0.5, Edits: [][2]float64{{0.5, 0.5}, {0.5, 0.2}}})
	m.remux("sowt.mov", "pause.mov", Layout{ChunkSeconds: 0.5, Edits: [][2]float64{{0.5, 0.2}, {0.3, -1}, {0.6, 1.1}}})
}

// tracks are files with more than one video and one audio track.
func (m *movies) tracks() {
	second := append(inputs(m.seconds, m.seconds, 440, 48000), tone(m.seconds/2, 880, 44100)...)
	all := "-map 0 -map 1 -map 2 -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger -c:v mpeg4 "
	m.from("two languages.mp4", 2, second, all+"-c:a:0 aac -c:a:1 ac3 -disposition:a:1 default")
	m.from("two languages.mov", 2, second, all+"-c:a:0 pcm_s24be -c:a:1 alac")
	m.make("timecode.mov", 1, "-timecode 01:00:00:00 -c:v mpeg4 -c:a pcm_s16le")

	chapters, titles := m.path("chapters"), ";FFMETADATA1\ntitle=A=B\\;#c\nartist=Jemand\n"
	for i := range 3 {
		titles += fmt.Sprintf("[CHAPTER]\nTIMEBASE=1/1000\nSTART=%d\nEND=%d\ntitle=Kapitel %d – ü\n", 500*i, 500*i+500, i+1)
	}
	words := "1\n00:00:00,300 --> 00:00:01,000\nWords\n"
	cover := m.path("cover.png")
	for path, content := range map[string]string{chapters: titles, m.path("words.srt"): words} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := Make(m.t.Context(), m.dir, append(pictures(0.1), "-frames:v", "1", cover)...); err != nil {
		m.t.Fatal(err)
	}
	book := append(inputs(m.seconds, m.seconds, 440, 48000), "-i", cover, "-i", chapters, "-i", m.path("words.srt"))
	m.from("book.m4a", 1, book, "-map 1:a -map 2:v -map_metadata 3 -c:a aac -c:v copy -disposition:v attached_pic")
	m.from("chapters.mp4", 1, book, "-map 0 -map 1 -map_metadata 3 -c:v mpeg4 -c:a aac")
	m.from("chapter track.mov", 1, book, "-map 0 -map 1 -map_metadata 3 -c:v mpeg4 -c:a aac")
	m.from("chapter track.mp4", 1, book, "-map 0 -map 1 -map_metadata 3 -c:v mpeg4 -c:a aac -movflags +disable_chpl")
	m.from("words.mp4", 1, book, "-map 0 -map 1 -map 4 -c:v mpeg4 -c:a aac -c:s mov_text")
}

// layouts are files as other encoders write them.
func (m *movies) layouts() {
	m.remux("aac.mp4", "camera.mp4", Layout{ChunkSeconds: 0.5})
	m.remux("b frames.mp4", "camera first.mp4", Layout{ChunkSeconds: 0.5, First: true})
	m.remux("sowt.mov", "camera.mov", Layout{ChunkSeconds: 0.25, Long: true})
	m.remux("two languages.mp4", "camera two languages.mp4", Layout{ChunkSeconds: 0.5, Compact: true})
	m.remux("aac.mp4", "co64.mp4", Layout{ChunkSeconds: 0.1, Long: true, First: true})
	m.remux("opus.mp4", "stz2.mp4", Layout{ChunkSeconds: 0.1, Compact: true})
	m.remux("alac.mov", "descriptions.mov", Layout{ChunkSeconds: 0.5, Descriptions: true})
}

// unfit makes files that must be read as a whole.
func (m *movies) unfit() {
	why := func(reason string) { m.list[len(m.list)-1].Whole = reason }
	m.make("fragmented.mp4", 1, "-c:v mpeg4 -c:a aac -movflags frag_keyframe+empty_moov")
	why("fragmented")
	m.make("half fragmented.mp4", 1, "-c:v mpeg4 -g 5 -c:a aac -movflags frag_keyframe")
	why("fragmented")
	m.from("encrypted.mp4", 1, []string{"-i", m.path("aac.mp4")},
		"-c copy -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8")
	why("encrypted")
}
