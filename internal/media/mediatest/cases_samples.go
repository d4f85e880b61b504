package mediatest

import (
	"os"
	"strings"
	"testing"

	"tonearm/internal/conversion"
)

// SampleCases are the files of Corpus as cases.
func SampleCases(t testing.TB, elsewhere string) (cases []Case) {
	for _, s := range Corpus(t, elsewhere) {
		c := Case{
			Name: "sample " + s.Name, About: "one of every kind that people upload", From: []string{"made so: length and tone are known"},
			Make: func(t testing.TB, path string, _ *Want) {
				if err := os.Link(s.Path, path); err != nil {
					t.Fatal(err)
				}
			},
			Want: Want{Code: s.WantCode, Seconds: s.Seconds, Unchecked: s.Unchecked, Silent: []string{"+52.52", "private", "Lavf5", "TSSE"}},
		}
		if s.WantCode == "" {
			c.Want.Sound = [][]Part{{{s.Seconds, s.ToneHz, 0}}}
			if strings.Contains(s.Name, "starts late") {
				c.Want.At = 5
			}
			if s.ToneHz > 0 && s.Seconds >= 2 {
				c.Also = AlsoTrim | AlsoChannels | AlsoLoudness
			}
		}
		if only, ok := strings.CutPrefix(s.Name, "only."); ok && only == "mp3" { // its frames are kept
			c.Want.Silent = nil
		}
		cases = append(cases, c)
	}
	return cases
}

// MovieCases are the files of Movies, of two seconds each, as cases.
func MovieCases(t testing.TB) (cases []Case) {
	const seconds = 2
	late := map[string]float64{"late sound.mp4": 0.7, "very late sound.mov": 2.345} // where the sound begins
	pieces := map[string][]float64{                                                 // what the edit list leaves of it
		"cuts.mp4": {0.5, 0.6}, "cuts.mov": {0.5, 0.3, 0.6}, "again.mp4": {0.5, 0.5}, "pause.mov": {0.5, 0.6},
	}
	hz := map[string]float64{}
	cut := map[string]string{"cut.mp4": "b frames.mp4", "cut.mov": "sowt.mov", "cut of a cut.mp4": "b frames.mp4"} // from which they were cut
	for _, m := range Movies(t, seconds) {
		hz[m.Name] = m.ToneHz
		if from := cut[m.Name]; from != "" {
			m.ToneHz = hz[from]
		}
		c := Case{
			Name: "movie " + m.Name, About: "an MP4 or MOV of a certain build", From: []string{"made so: length and tone are known"},
			Make: func(t testing.TB, path string, _ *Want) {
				if err := os.Link(m.Path, path); err != nil {
					t.Fatal(err)
				}
			},
			Want: Want{Seconds: seconds, Within: 0.06, At: late[m.Name], Sound: [][]Part{{{seconds, m.ToneHz, 0}}}},
			Also: AlsoTrim,
		}
		switch {
		case m.Whole == "encrypted":
			c.Want = Refused(conversion.CodeUnsupportedCodec)
		case m.Whole != "":
			c.Want.Either = true
		case strings.HasSuffix(m.Name, "two languages.mp4"): // the second is the default
			c.Want = Steady(1, 880)
		case pieces[m.Name] != nil:
			var parts []Part
			for _, s := range pieces[m.Name] {
				parts = append(parts, Part{s, m.ToneHz, 0})
			}
			c.Want, c.Also = exactly(In(parts...)), 0
		case strings.HasPrefix(m.Name, "cut"), strings.Contains(m.Name, "both late"), strings.Contains(m.Name, "late b frames"):
			c.Want.Seconds, c.Want.Sound[0][0].Seconds = 0, 0.9 // depends on where key frames stand
		case m.Name == "no edit list.mp4": // the encoder's delay is played
			c.Want.Seconds, c.Want.Within, c.Also = 2.02, 0.03, 0
		}
		if m.Tagged && strings.Contains(m.Name, "chapter") || m.Name == "movie book.m4a" {
			c.Want.Chapters = []Chapter{{0, "Kapitel 1 – ü"}, {0.5, "Kapitel 2 – ü"}, {1, "Kapitel 3 – ü"}}
			c.Want.Tags = conversion.Tags{Title: "A=B;#c", Artist: "Jemand"}
		}
		cases = append(cases, c)
	}
	return cases
}
