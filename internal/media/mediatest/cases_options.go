package mediatest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// OptionCases are plain recordings that show what an option does.
func OptionCases() []Case {
	return slices.Concat(downmixes(), rates(), Plain(), pauses(), gapless(), texted(), copied(), long())
}

// Downmix is how some channels of a layout sound in an MP3.
type Downmix struct {
	Layout      string
	Channels    int     // of the MP3
	Active      []int   // channels of the layout that sound
	Left, Right float64 // gain, before all are lowered
	Sum         float64 // of all gains into one channel
}

const down = 0.70711 // 3 dB

// Downmixes are as ITU-R BS.775 has them.
var Downmixes = []Downmix{
	{"5.1", 2, []int{0}, 1, 0, 1 + 2*down},
	{"5.1", 2, []int{1}, 0, 1, 1 + 2*down},
	{"5.1", 2, []int{2}, down, down, 1 + 2*down},
	{"5.1", 2, []int{3}, 0, 0, 1 + 2*down}, // no LFE
	{"5.1", 2, []int{4}, down, 0, 1 + 2*down},
	{"5.1", 2, []int{0, 1, 2, 4, 5}, 1 + 2*down, 1 + 2*down, 1 + 2*down},
	{"7.1", 2, []int{0, 1, 2, 4, 5, 6, 7}, 1 + 3*down, 1 + 3*down, 1 + 3*down},
	{"7.1", 2, []int{2}, down, down, 1 + 3*down},
	{"5.1", 1, []int{0, 1, 2, 4, 5}, 1, 0, 1},
	{"quad", 2, []int{0, 1, 2, 3}, 1 + down, 1 + down, 1 + down},
	{"stereo", 1, []int{0, 1}, 1, 0, 1},
	{"stereo", 1, []int{0}, 0.5, 0, 1},
	{"mono", 2, []int{0}, 1, 1, 1},
}

// downmixes are recordings of more channels than an MP3 has. The loudest
// possible sum of all channels does not clip.
func downmixes() (cases []Case) {
	const seconds, level = 1.0, 0.999
	for _, d := range Downmixes {
		total := map[string]int{"mono": 1, "stereo": 2, "quad": 4, "5.1": 6, "7.1": 8}[d.Layout]
		want := Want{Samples: 48000, Seconds: seconds, Channels: d.Channels}
		for _, gain := range []float64{d.Left, d.Right}[:d.Channels] {
			p := Part{seconds, 500, level * gain / d.Sum}
			if gain == 0 {
				p.Hz = 0
			}
			want.Sound = append(want.Sound, []Part{p})
		}
		if total > 2 {
			want.Notes = []conversion.NoteCode{conversion.NoteDownmixed}
		}
		plain := Want{Samples: 48000, Seconds: seconds}
		cases = append(cases, Case{
			Name: fmt.Sprintf("downmix %s %v to %d.wav", d.Layout, d.Active, d.Channels), About: "every channel lands where it belongs",
			From: []string{bs775},
			Make: func(t testing.TB, path string, _ *Want) {
				waves := slices.Repeat([]string{"0*t"}, total)
				for _, c := range d.Active {
					waves[c] = sine(level, 500)
				}
				encode(t, path, wave(joined(waves), 48000, seconds, d.Layout), "-c:a pcm_s16le")
			},
			Want: plain, Tries: []Try{{conversion.Options{Channels: d.Channels, VBRQuality: new(0)}, want}},
		})
	}
	return cases
}

// rates are recordings at many sample rates.
func rates() (cases []Case) {
	for _, r := range []struct{ source, want int }{
		{8000, 8000}, {11025, 11025}, {12000, 12000}, {15000, 16000}, {16000, 16000}, {22050, 22050}, {24000, 24000}, {32000, 32000},
		{44100, 44100}, {48000, 48000}, {88200, 44100}, {96000, 48000}, {176400, 44100}, {192000, 48000},
	} {
		w := Want{Samples: 2 * r.want, Seconds: 2, Rate: r.want, Sound: [][]Part{{{2, 1000, 0.5}}}}
		if r.want != r.source {
			w.Notes = []conversion.NoteCode{conversion.NoteRateChanged}
		}
		cases = append(cases, Case{
			Name: fmt.Sprintf("rate %d.wav", r.source), About: "the MP3 keeps the rate if it can, else it takes the nearest that MP3 has",
			From: []string{"ISO/IEC 11172-3 and 13818-3, MPEG-2.5: the nine rates of MP3"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, wave(sine(0.5, 1000), r.source, 2, ""), "-c:a pcm_s16le")
			},
			Want: w, Also: AlsoTrim | AlsoLoudness,
		})
	}
	return cases
}

// Plain are files of every container with the same two tones. Of those that
// begin with "late" the sound begins a second after the picture.
func Plain() (cases []Case) {
	for _, s := range []struct{ name, args string }{
		{"in.wav", "-c:a pcm_s16le"}, {"in.flac", "-c:a flac"}, {"in.m4a", "-c:a aac -b:a 256k"}, {"in.mka", "-c:a flac"},
		{"in.ogg", "-c:a libvorbis"}, {"in.opus", "-c:a libopus"}, {"in.oga", "-c:a flac"}, {"in.mp3", "-c:a libmp3lame"}, {"in.aiff", ""},
		{"in.caf", "-c:a pcm_s16le"}, {"in.au", ""}, {"in.w64", ""}, {"in.rf64.wav", "-rf64 always"}, {"in.wma", "-c:a wmav2"},
		{"in.ac3", "-c:a ac3"}, {"in.mp2", "-c:a mp2"}, {"in.aac", "-c:a aac"}, {"in.tta", ""}, {"in.wv", ""}, {"in.dts", "-c:a dca -strict -2"},
		{"last.mp4", "-c:v mpeg4 -c:a aac"}, {"first.mp4", "-c:v mpeg4 -c:a aac -movflags +faststart"}, {"opus.mp4", "-c:v mpeg4 -c:a libopus"},
		{"fragments.mp4", "-c:v mpeg4 -g 10 -c:a aac -movflags frag_keyframe+empty_moov"}, {"pcm.mov", "-c:v mpeg4 -c:a pcm_s16le"}, {"aac.mov", "-c:v mpeg4 -c:a aac"},
		{"aac.mkv", "-c:v mpeg4 -c:a aac"}, {"flac.mkv", "-c:v mpeg4 -c:a flac"}, {"ac3.mkv", "-c:v mpeg4 -c:a ac3"}, {"opus.webm", "-c:v libvpx -c:a libopus"}, {"vorbis.webm", "-c:v libvpx -c:a libvorbis"},
		{"pcm.avi", "-c:v mpeg4 -c:a pcm_s16le"}, {"mp3.avi", "-c:v mpeg4 -c:a libmp3lame"}, {"aac.flv", "-c:v flv -ar 44100 -c:a aac"}, {"mp3.flv", "-c:v flv -ar 44100 -c:a libmp3lame"},
		{"in.wmv", "-c:v wmv2 -c:a wmav2"}, {"aac.ts", "-c:v mpeg2video -c:a aac"}, {"mp2.ts", "-c:v mpeg2video -c:a mp2"}, {"ac3.ts", "-c:v mpeg2video -c:a ac3"}, {"in.mpg", "-c:v mpeg2video -c:a mp2"},
		{"late.mov", "-c:v mpeg4 -c:a pcm_s16le"}, {"late.mkv", "-c:v mpeg4 -c:a pcm_s16le"}, {"late.mp4", "-c:v mpeg4 -c:a aac"},
	} {
		cases = append(cases, plain(s.name, s.args))
	}
	return cases
}

func plain(name, args string) Case {
	lossless := strings.Contains(args, "pcm") || strings.Contains(args, "flac") || !strings.Contains(args, "-c:a")
	level, late := 0.0, strings.HasPrefix(name, "late") // ffmpeg's encoder of AAC overshoots here and there
	if lossless {
		level = 0.4
	}
	want := within(In(Part{2, 440, level}, Part{2, 880, level}), 0.06)
	if late {
		want.At = 1
	}
	if lossless && !strings.HasSuffix(name, ".mkv") { // Matroska counts in milliseconds
		want.Samples = 4 * 48000
	}
	switch path.Ext(name) {
	case ".ts", ".mpg":
		want.Unchecked = true
	case ".ac3", ".mp2", ".aac", ".dts", ".caf", ".w64":
		want.Either = true
	}
	return Case{
		Name: name, About: "two tones after another in a plain file; a trim takes exactly its samples",
		From: []string{"made so: length and tones are known"},
		Make: func(t testing.TB, file string, _ *Want) {
			in := wave("0.4*sin(2*PI*if(lt(t,2),440,880)*t)", 48000, 4, "")
			switch {
			case late:
				in = both(pictures(5), []string{"-itsoffset", "1"}, in)
			case strings.Contains(args, "-c:v"):
				in = both(pictures(4), in)
			}
			encode(t, file, in, args)
		},
		Want: want, Also: AlsoTrim | AlsoLoudness,
	}
}

// pauses are tracks that stop for two seconds. Nothing is damaged.
func pauses() (cases []Case) {
	for _, name := range []string{"pause.mkv", "pause.mp4", "pause.mov", "pause.avi", "pause.ts"} {
		want := within(In(Part{1, 440, 0}, Part{2, 440, 0}), 0.1)
		filled := within(In(Part{1, 440, 0}, Part{2, 0, 0}, Part{2, 440, 0}), 0.1)
		if name != "pause.avi" { // it counts packets of sound and knows no pause
			want.Notes, filled.Notes = []conversion.NoteCode{noteGap}, []conversion.NoteCode{noteGap}
		}
		want.Lasts, filled.Lasts = -1, -1 // with the pause, or without
		want.Or = &filled
		if name == "pause.ts" {
			want.Either, filled.Either = true, true
		}
		cases = append(cases, Case{
			Name: name, About: "the sound stops for two seconds; nothing is damaged", From: []string{"a pause is dropped, or written as silence"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(pictures(5), tone(5, 440, 48000)), "-c:v mpeg4 -c:a aac", "-af", `aselect=not(between(t\,1\,3))`)
			},
			Want: want,
		})
	}
	return cases
}
