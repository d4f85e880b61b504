package encode

import (
	"math"
	"testing"
)

func TestTimeline(t *testing.T) {
	const frame = 1024.0 / 48000
	aac := packetSamples["aac"]
	// packets adds n packets from a moment on, in steps, and rounds to a tick.
	packets := func(c *clock, from float64, n int, step, duration, tick float64) float64 {
		round := func(s float64) float64 { return math.Round(s/tick) * tick }
		for i := range n {
			c.add(round(from+float64(i)*step), round(duration))
		}
		return from + float64(n)*step
	}
	second := 48000.0 / 1024 // packets
	tests := []struct {
		name   string
		clock  clock
		begins float64
		make   func(c *clock)
		want   map[float64]float64
	}{
		{"Matroska with a pause from 4 to 8 s", clock{lasts: aac, rate: 48000}, 0, func(c *clock) {
			packets(c, 0, int(math.Round(4*second)), frame, frame, 0.001)
			packets(c, 8, int(math.Round(4*second)), frame, frame, 0.001)
		}, map[float64]float64{-1: 0, 0: 0, 2: 2, 4: 4, 6: 4, 8: 4, 10: 6, 20: 8}},
		{"MP4, where the pause is part of a duration", clock{lasts: aac, rate: 48000, table: true}, 0, func(c *clock) {
			end := packets(c, 0, int(math.Round(4*second))-1, frame, frame, 1e-9)
			c.add(end, 4+frame)
			packets(c, 8, int(math.Round(4*second)), frame, frame, 1e-9)
		}, map[float64]float64{2: 2, 6: 4, 10: 6, 20: 8}},
		{"a clock that runs 2 % slow", clock{lasts: aac, rate: 48000, table: true}, 0, func(c *clock) {
			packets(c, 0, int(math.Round(100*second)), frame*1.02, frame*1.02, 1e-9)
		}, map[float64]float64{51: 50, 102: 100}},
		{"Vorbis, whose packets differ", clock{}, 0, func(c *clock) {
			at := 0.0
			for i := range 400 {
				d := []float64{0.0026667, 0.0213333, 0.0426667}[i%3]
				c.add(math.Round(at*1000)/1000, math.Round(d*1000)/1000)
				if at += d; i == 200 {
					at += 10
				}
			}
		}, map[float64]float64{4: 4, 8: 4.467, 16: 6, 17: 7}},
		{"sound that begins late, after priming", clock{lasts: aac, rate: 48000}, 3, func(c *clock) {
			packets(c, 3-frame, int(math.Round(4*second)), frame, frame, 1e-9)
		}, map[float64]float64{0: 0, 3: 0, 4: 1, 100: 4 - frame}},
		{"a clock that goes back", clock{lasts: aac, rate: 48000}, 0, func(c *clock) {
			packets(c, 0, int(math.Round(10*second)), frame, frame, 0.001)
			packets(c, 8, int(math.Round(10*second)), frame, frame, 0.001)
		}, map[float64]float64{5: 5, 9: 9, 11: 13, 30: 20}},
		{"no packets", clock{}, 0, func(*clock) {}, map[float64]float64{-1: 0, 7: 7}},
		{"time stamps without a duration", clock{}, 0, func(c *clock) {
			packets(c, 0, 100, 0.02, 0, 0.001)
			packets(c, 5, 100, 0.02, 0, 0.001)
		}, map[float64]float64{1: 1, 4: 2, 6: 3}},
	}
	for _, tt := range tests {
		tt.make(&tt.clock)
		timeline := tt.clock.timeline(tt.begins)
		for at, want := range tt.want {
			if got := timeline.At(at); math.Abs(got-want) > 0.03 {
				t.Errorf("%s: %.3f s is at %.3f, want %.3f", tt.name, at, got, want)
			}
		}
		last := 0.0
		for at := -1.0; at < 40; at += 0.01 {
			if now := timeline.At(at); now < last {
				t.Errorf("%s: %.3f s is at %.3f, but before it was %.3f", tt.name, at, now, last)
			}
			last = timeline.At(at)
		}
	}
	var c clock
	for i := range 2 * maxStretches {
		c.add(float64(i), 0.1)
	}
	if n := len(c.timeline(0).stretches); n != maxStretches {
		t.Errorf("%d stretches are kept", n)
	}
	for rest, want := range map[string]bool{"  281, 0xc7ad8899, F=0x5, S=1,       10": true, " 242, 0xa7": false, " 1, 0xc7, F=0x0": false} {
		if discarded(rest) != want {
			t.Errorf("%q: dropped %v", rest, !want)
		}
	}
}
