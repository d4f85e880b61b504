package encode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/media/mp4"
	"tonearm/internal/media/plan"
	"tonearm/internal/media/probe"
	"tonearm/internal/media/unfit"
)

// media are the runs of a track of 10 s: at 48000 Hz for 4 s, a pause of 1 s, then at
// 24000 Hz.
func media(t *testing.T, pieces []mp4.Piece) *runs {
	t.Helper()
	r := newRuns(pieces)
	at := 0.0
	for i := range 100 {
		f := frame{parameters: parameters{48000, 2, "stereo"}, samples: 4800}
		if i == 40 {
			at++
		}
		if i >= 40 {
			f.rate, f.samples = 24000, 2400
		}
		if err := r.add(f, at); err != nil && !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		at += 0.1
	}
	return r
}

func TestPieces(t *testing.T) {
	for name, tt := range map[string]struct {
		pieces         []mp4.Piece
		start, end     float64
		stretches      string // rate, first sample, samples, speed
		jumps          string // seconds of sound, seconds that the clock is ahead
		passes         int
		decodedSeconds float64
	}{
		"one after the other": {[]mp4.Piece{{At: 0, From: 1, To: 2, Rate: 1}, {At: 1, From: 2, To: 3, Rate: 1}}, 0, 0, "[48000 48000 96000 1]", "[0 0]", 1, 3},
		"a pause":             {[]mp4.Piece{{At: 0.5, From: 1, To: 2, Rate: 1}, {At: 3.5, From: 3, To: 4, Rate: 1}}, 0, 0, "[48000 48000 48000 1] [48000 144000 48000 1]", "[0 0.5] [1 2.5]", 1, 4},
		"a trim":              {[]mp4.Piece{{At: 0, From: 1, To: 2, Rate: 1}, {At: 3, From: 3, To: 4, Rate: 1}}, 0.5, 3.25, "[48000 72000 24000 1] [48000 144000 12000 1]", "[0 0] [1 2]", 1, 3.25},
		"twice":               {[]mp4.Piece{{At: 0, From: 1, To: 2, Rate: 1}, {At: 1, From: 1, To: 2, Rate: 1}}, 0, 0, "[48000 48000 48000 1] [48000 48000 48000 1]", "[0 0]", 2, 4},
		"twice as fast":       {[]mp4.Piece{{At: 0, From: 1, To: 3, Rate: 2}}, 0.25, 0, "[48000 72000 72000 2]", "[0 0]", 1, 3},
		"over the pause":      {[]mp4.Piece{{At: 0, From: 3.5, To: 6, Rate: 1}}, 0, 0, "[48000 168000 24000 1] [24000 192000 24000 1]", "[0 0] [0.5 1]", 1, 9},
		"beyond the end":      {[]mp4.Piece{{At: 0, From: 10.5, To: 99, Rate: 1}}, 0, 0, "[24000 324000 12000 1]", "[0 0]", 1, 14},
		"before":              {[]mp4.Piece{{At: 0, From: 1, To: 2, Rate: 1}}, 5, 0, "", "[0 0]", 0, 0},
	} {
		stretches, jumps := media(t, tt.pieces).cut(tt.pieces, tt.start, tt.end)
		var got, parted []string
		for _, s := range stretches {
			got = append(got, fmt.Sprint([]any{s.rate, s.from, s.samples, s.speed}))
		}
		for _, j := range jumps {
			parted = append(parted, fmt.Sprintf("[%.4g %.4g]", j.at, j.offset))
		}
		passes := 0
		for rest := stretches; len(rest) > 0; rest = rest[ascending(rest):] {
			passes++
		}
		if fmt.Sprint(got) != "["+tt.stretches+"]" || fmt.Sprint(parted) != "["+tt.jumps+"]" || passes != tt.passes {
			t.Errorf("%s: got %v, %v, %d passes; want %s, %s, %d", name, got, parted, passes, tt.stretches, tt.jumps, tt.passes)
		}
		if n := decodings(stretches); n < tt.decodedSeconds-0.001 || n > tt.decodedSeconds+0.001 {
			t.Errorf("%s: %v s are decoded, want %v", name, n, tt.decodedSeconds)
		}
	}
}

// TestPiecesLimits: hostile lists and clocks end with a refusal.
func TestPiecesLimits(t *testing.T) {
	piece := func(from float64) mp4.Piece { return mp4.Piece{From: from, To: from + 0.01, Rate: 1} }
	var apart, back []mp4.Piece
	for i := range maxStretches + 1 {
		apart = append(apart, piece(0.002*float64(i%2)+0.003*float64(i)))
	}
	for range 40 {
		back = append(back, piece(3))
	}
	for name, pieces := range map[string][]mp4.Piece{"too many": apart, "back too often": back} {
		j := &job{plan: plan.Plan{Track: probe.Track{Pieces: pieces}}, spec: Spec{MaxSeconds: 20}}
		var refused *unfit.Error
		if err := j.takePieces(media(t, pieces), &heard{}); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A short track may not keep a decoder busy for as long as the longest may.
	for times, allowed := range map[int]bool{200: true, 300: false} {
		back := slices.Repeat([]mp4.Piece{piece(3)}, times)
		j := &job{plan: plan.Plan{Track: probe.Track{Pieces: back, Media: 10, Seconds: 3}}, spec: Spec{MaxSeconds: 24 * 3600}}
		err := j.takePieces(media(t, back), &heard{})
		if refused := (*unfit.Error)(nil); errors.As(err, &refused) == allowed || !allowed && !strings.Contains(refused.Message, "goes back") {
			t.Errorf("%d times back: %v", times, err)
		}
	}
	// Pieces of a clock that jumps multiply: no more of them are listed than are needed.
	jumping := newRuns([]mp4.Piece{{To: 1e6, Rate: 1}})
	for i := range 10_000 {
		if err := jumping.add(frame{parameters: parameters{48000, 2, ""}, samples: 480}, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if all, jumps := jumping.cut(slices.Repeat([]mp4.Piece{{To: 1e6, Rate: 1}}, mp4.MaxEdits), 0, 0); len(all) > maxStretches+1 || len(jumps) > maxJumps {
		t.Errorf("%d stretches, %d jumps", len(all), len(jumps))
	}
	r := newRuns([]mp4.Piece{piece(1e6)})
	var err error
	for i := 0; err == nil; i++ {
		err = r.add(frame{parameters: parameters{48000, 2, ""}, samples: 480}, float64(i))
	}
	if refused := (*unfit.Error)(nil); !errors.As(err, &refused) || len(r.list) > mostRuns+1 {
		t.Errorf("%d runs, %v", len(r.list), err)
	}
}
