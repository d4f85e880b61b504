package encode

import (
	"math"
	"testing"
)

func TestTimeline(t *testing.T) {
	const frame = 1152 // samples, at 48 kHz 24 ms
	packets := func(c *clock, from float64, n int) {
		for i := range n {
			c.next(48000, frame, math.Round((from+float64(i)*0.024)*1000)/1000)
		}
	}
	for name, tt := range map[string]struct {
		make  func(c *clock)
		begin float64
		want  map[float64]float64
	}{
		"a pause from 4.8 to 8 s": {func(c *clock) {
			packets(c, 0, 200)
			packets(c, 8, 200)
		}, 0, map[float64]float64{-1: 0, 0: 0, 2: 2, 4.8: 4.8, 6: 4.8, 8: 4.8, 10: 6.8}},
		"sound that begins late, after priming": {func(c *clock) { packets(c, 2.976, 200) }, 3,
			map[float64]float64{0: 0, 3: 0, 4: 1, 7: 4}},
		"a clock that goes back": {func(c *clock) {
			packets(c, 0, 400)
			packets(c, 8, 400)
		}, 0, map[float64]float64{5: 5, 9: 9, 11: 12.6}},
		"no packets": {func(*clock) {}, 0, map[float64]float64{-1: 0, 7: 7}},
	} {
		c := clock{heard: &heard{}}
		tt.make(&c)
		timeline := Timeline{c.heard.jumps}.from(tt.begin)
		for at, want := range tt.want {
			if got := timeline.At(at); math.Abs(got-want) > 0.021 {
				t.Errorf("%s: %.3f s is at %.3f, want %.3f", name, at, got, want)
			}
		}
		last := math.Inf(-1)
		for at := -1.0; at < 40; at += 0.01 {
			now := timeline.At(at)
			if now < last {
				t.Errorf("%s: %.3f s is at %.3f, but before it was %.3f", name, at, now, last)
			}
			last = now
		}
	}
	c := clock{heard: &heard{}}
	for i := range 2 * maxJumps {
		c.next(48000, frame, float64(i))
	}
	if len(c.heard.jumps) > maxJumps {
		t.Errorf("%d jumps are kept", len(c.heard.jumps))
	}
	for rest, want := range map[string]bool{"  281, 0xc7ad8899, F=0x5, S=1,       10": true, " 242, 0xa7": false, " 1, 0xc7, F=0x0": false} {
		if discarded(rest) != want {
			t.Errorf("%q: dropped %v", rest, !want)
		}
	}
}
