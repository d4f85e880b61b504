package encode

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/conversion"
	"tonearm/internal/media/plan"
)

// told is a heard that heard this, in pieces of some bytes.
func told(said string, piece int) *heard {
	h := &heard{}
	w := &lines{each: h.line}
	for b := range slices.Chunk([]byte(said), piece) {
		if n, err := w.Write(b); n != len(b) || err != nil {
			panic(err)
		}
	}
	return h
}

func TestHeard(t *testing.T) {
	const five = "Input #0\n  Metadata:\n    title : Error while decoding stream #0:0: x\n    0.5\n0.000000\n0.000000\n" +
		"[aac @ 0x1] Number of bands\nError while decoding stream #0:0: Invalid data found when processing input\n2.500000\n0.021000\n"
	const seven = "0.000000\n0.000000\n[aist#0:0/aac @ 0x2] [dec:aac @ 0x3] Error submitting packet to decoder: Invalid data found\n" +
		"[aist#0:0/aac @ 0x2] [dec:aac @ 0x3] Error submitting EOF to decoder: x\n2.500000\n0.021000\n"
	for _, said := range []string{five, seven} {
		for _, piece := range []int{1, 7, len(said)} {
			h := told(said, piece)
			if want := []jump{{0, 0, 0}, {2.5, 0.021, 1}}; h.lost != 1 || !slices.Equal(h.jumps, want) {
				t.Errorf("in pieces of %d: %d lost, jumps %v, want %v", piece, h.lost, h.jumps, want)
			}
		}
	}
	if h := told(strings.Repeat("1.000000\n", 4*maxJumps)+strings.Repeat("x", 3*maxLine)+"\n", 4096); len(h.jumps) != maxJumps {
		t.Errorf("%d jumps are kept", len(h.jumps))
	}
}

func TestHoles(t *testing.T) {
	// 10 s of sound, a pause of 2 s, and 10 s more.
	paused := []jump{{0, 0, 0}, {10, 2, 0}}
	tests := []struct {
		name                string
		jumps               []jump
		start, end, seconds float64
		want                []hole
	}{
		{"nothing heard", nil, 0, 0, 20, nil},
		{"none", []jump{{0, 1, 0}}, 0, 0, 20, nil},
		{"a pause", paused, 0, 0, 20, []hole{{10, 2, false}}},
		{"within a trim", paused, 4, 14, 8, []hole{{6, 2, false}}},
		{"before the start", paused, 13, 0, 9, nil},
		{"the start is in it", paused, 11, 0, 10, nil},
		{"the end is in it", paused, 0, 11, 10, nil},
		{"behind the end", paused, 0, 9, 9, nil},
		{"a trim of late sound", []jump{{0, 5, 0}, {10, 7, 0}}, 4, 0, 20, []hole{{10, 2, false}}},
		{"back and forth", []jump{{0, 0, 0}, {5, -0.5, 0}, {6, 0, 0}, {7, 0.03, 0}}, 0, 0, 20, []hole{{7, 0.03, false}}},
		{"a lost packet", []jump{{0, 0, 0}, {5, 0.021, 1}, {8, 1, 1}}, 0, 0, 20, []hole{{5, 0.021, true}, {8, 0.979, false}}},
		{"a long pause behind a lost packet", []jump{{0, 0, 0}, {5, 3, 1}}, 0, 0, 20, []hole{{5, 3, false}}},
		{"the last frame", []jump{{0, 0, 0}, {19.9, 5000, 0}}, 0, 0, 20, nil},
	}
	for _, tt := range tests {
		h := &heard{jumps: tt.jumps}
		near := func(a, b hole) bool {
			return math.Abs(a.at-b.at)+math.Abs(a.seconds-b.seconds) < 1e-9 && a.lost == b.lost
		}
		if got := h.holes(tt.start, tt.end, tt.seconds); !slices.EqualFunc(got, tt.want, near) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestNotes: the first places of a kind are named, the others counted.
func TestNotes(t *testing.T) {
	h := &heard{lost: 2, jumps: []jump{{}, {1, 0.025, 1}}}
	for i := range 10 {
		h.jumps = append(h.jumps, jump{float64(2 + i), float64(1 + i), 2})
	}
	j := &job{heard: h, plan: plan.Plan{Rate: 48000}}
	for i := range 6 {
		j.stretches = append(j.stretches, stretch{parameters: parameters{[]int{48000, 44100}[i%2], 2, "stereo"}, samples: 48000})
	}
	j.stretches[5].channels, j.stretches[5].layout = 6, "5.1"
	var got []string
	for _, n := range j.notes(20) {
		got = append(got, fmt.Sprint(n.At, " ", n.Message))
	}
	want := []string{
		"1 The sound changes from 48000 to 44100 Hz.",
		"2.088 The sound changes from 44100 to 48000 Hz.",
		"3.088 The sound changes from 48000 to 44100 Hz.",
		"0 The sound changes its sample rate or its channels 2 more times.",
		"2 The source's sound pauses for 975 ms. The pause was left out.",
		"3 The source's sound pauses for 1.0 s. The pause was left out.",
		"4 The source's sound pauses for 1.0 s. The pause was left out.",
		"0 7 more pauses, together 7.0 s, were left out.",
		"1 2 packets of the sound could not be decoded.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if last := changes(j.stretches)[4]; last.Message != "The sound changes from 44100 to 44100 Hz and from stereo to 5.1." && last.Message != "The sound changes from 48000 to 44100 Hz and from stereo to 5.1." {
		t.Errorf("%+v", last)
	}
	if last := changes(j.stretches)[4]; last.Code != conversion.NoteParametersChanged {
		t.Errorf("%+v", last)
	}
}

// TestSurveyor cuts frames into stretches, on a player's clock.
func TestSurveyor(t *testing.T) {
	const second = 48000
	at := func(rate int, samples int64, stamp float64) frame {
		return frame{parameters{rate, 2, "stereo"}, samples, stamp}
	}
	a := func(stamp float64) frame { return at(48000, second, stamp) } // each a second
	b := func(stamp float64) frame { return at(44100, 44100, stamp) }
	none := math.NaN()
	tests := []struct {
		name          string
		start, end    float64
		counted, late bool
		frames        []frame
		want          string // rate, first sample and how many
	}{
		{"all", 0, 0, false, false, []frame{a(0), a(1), b(2), b(3), a(4)}, "48000:0+96000 44100:96000+88200 48000:184200+48000"},
		{"no time stamps", 0, 0, false, false, []frame{a(none), b(none)}, "48000:0+48000 44100:48000+44100"},
		{"a trim", 0.5, 2.5, false, false, []frame{a(0), a(1), b(2), b(3)}, "48000:24000+72000 44100:96000+22050"},
		{"a trim behind the change", 2.5, 3, false, false, []frame{a(0), a(1), b(2), b(3)}, "44100:118050+22050"},
		{"a pause", 0.5, 5.5, false, false, []frame{a(0), b(3), b(4), b(5)}, "48000:24000+24000 44100:48000+110250"},
		{"joined with an overlap", 0, 2.5, false, false, []frame{a(0), b(0.9), b(1.9)}, "48000:0+48000 44100:48000+66150"},
		{"an overlap before the start", 1, 2.5, false, false, []frame{a(0), b(0.9), b(1.9)}, "44100:52410+66150"},
		{"stamps that ffmpeg made up", 0, 2.5, true, false, []frame{a(0), b(0.9), b(1.8)}, "48000:0+48000 44100:48000+66150"},
		{"a rate named late", 0, 0, false, true, []frame{a(0), at(48000, 44100, 77), b(2)}, "48000:0+48000 44100:48000+88200"},
		{"nothing", 9, 0, false, false, []frame{a(0), b(1)}, ""},
	}
	for _, tt := range tests {
		stopped := 0
		s := &surveyor{heard: &heard{}, start: tt.start, end: tt.end, counted: tt.counted, late: tt.late, most: 100, stop: func(error) { stopped++ }}
		s.clock.heard = s.heard
		for _, f := range tt.frames {
			s.frame(f)
		}
		s.flush()
		var got []string
		for _, x := range s.stretches {
			got = append(got, fmt.Sprintf("%d:%d+%d", x.rate, x.from, x.samples))
		}
		if strings.Join(got, " ") != tt.want || stopped > 1 {
			t.Errorf("%s: got %v, stopped %d times; want %s", tt.name, got, stopped, tt.want)
		}
	}
}

func TestLayoutName(t *testing.T) {
	for said, want := range map[string]string{
		"stereo": "stereo", "5.1(side)": "5.1(side)", "7.1(wide-side)": "7.1(wide-side)", "2 channels (FL+LFE)": "FL+LFE", "2.1": "2.1",
		"6 channels": "", "ambisonic 1": "", "2 channels (FL@a,anullsink+FR)": "", "": "",
	} {
		if got := layoutName(said); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}
