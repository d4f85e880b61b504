package mediatest

import (
	"cmp"
	"fmt"
	"math"
)

// How sound is judged.
const (
	window = 0.050 // seconds
	// margin is what is left out at both ends of a part: encoders begin with
	// silence and end with it, and filters ring.
	margin  = 0.080
	silence = 0.003 // -50 dB
	audible = 0.01  // -40 dB
)

// judgeSound compares what is heard with the parts, window by window.
func (w Want) judgeSound(s Sound) []string {
	var faults []string
	for c, samples := range s.Channels {
		if len(w.Sound) == 0 {
			break
		}
		parts := w.Sound[min(c, len(w.Sound)-1)]
		name := "in all channels"
		if len(w.Sound) > 1 || len(s.Channels) > 1 {
			name = fmt.Sprintf("in channel %d", c+1)
		}
		at := 0.0
		for _, p := range parts {
			faults = append(faults, p.judge(samples, float64(s.Rate), at, w, name)...)
			at += p.Seconds
		}
	}
	return faults
}

// judge listens to the part, which begins at some second.
func (p Part) judge(samples []float32, rate, at float64, w Want, where string) []string {
	if p.Hz == Anything {
		return nil
	}
	var faults []string
	var first, last float64
	var expected, heard string
	flush := func() {
		if heard != "" {
			faults = append(faults, fmt.Sprintf("%s, %.2f to %.2f s: expected %s, heard %s", where, first, last, expected, heard))
		}
		heard = ""
	}
	n, end := int(window*rate), len(samples)
	if w.Seconds == 0 { // it may end anywhere, even with a part of a packet
		end -= int(3 * margin * rate)
	}
	edge := min(margin, p.Seconds/4)
	for t := at + edge; t+window <= at+p.Seconds-edge && len(faults) < 3; t += window {
		i := int(t * rate)
		if i+n > end {
			break // the length is judged elsewhere
		}
		wrong := p.wrong(samples[i:i+n], rate, cmp.Or(w.Noise, DefaultNoise))
		if wrong == "" {
			flush()
			continue
		}
		if heard == "" {
			first, heard, expected = t, wrong, p.String()
		}
		last = t + window
	}
	flush()
	return faults
}

func (p Part) String() string {
	switch {
	case p.Hz == 0:
		return "silence"
	case p.Level > 0:
		return fmt.Sprintf("%g Hz at %.1f dB", p.Hz, decibel(p.Level))
	}
	return fmt.Sprintf("%g Hz", p.Hz)
}

// wrong says what is heard in place of the part; empty if it is the part.
func (p Part) wrong(samples []float32, rate, noise float64) string {
	var power float64
	for _, s := range samples {
		power += float64(s) * float64(s)
	}
	power /= float64(len(samples))
	if p.Hz == 0 {
		if math.Sqrt(power) <= silence {
			return ""
		}
		return loudest(samples, rate)
	}
	level, _ := goertzel(samples, rate, p.Hz)
	hz := pitch(samples, rate, p.Hz)
	switch {
	case level < audible, 1-level*level/2/power > noise, math.Abs(hz-p.Hz) > 2+p.Hz/100,
		p.Level > 0 && math.Abs(decibel(level)-decibel(p.Level)) > 1:
		return loudest(samples, rate)
	}
	return ""
}

// goertzel returns the peak of a tone in the samples, 1 for full scale, and its
// phase.
func goertzel(samples []float32, rate, hz float64) (level, phase float64) {
	step := 2 * math.Pi * hz / rate
	sin, cos := math.Sincos(step)
	var re, im float64
	x, y := 1.0, 0.0 // turns by step
	sinHann, cosHann := math.Sincos(2 * math.Pi / float64(len(samples)))
	v, u := math.Sincos(math.Pi / float64(len(samples))) // turns once in all
	for _, s := range samples {
		weighted := float64(s) * (1 - u) // a Hann window
		re += weighted * x
		im += weighted * y
		x, y = x*cos-y*sin, x*sin+y*cos
		u, v = u*cosHann-v*sinHann, u*sinHann+v*cosHann
	}
	return 2 * math.Hypot(re, im) / float64(len(samples)), math.Atan2(im, re)
}

// pitch is the tone's frequency, near hz: how much its phase turns from the
// first half to the second says by how much it differs.
func pitch(samples []float32, rate, hz float64) float64 {
	half := len(samples) / 2
	_, a := goertzel(samples[:half], rate, hz)
	_, b := goertzel(samples[half:2*half], rate, hz)
	b += 2 * math.Pi * hz * float64(half) / rate // the second half counts from its own beginning
	turn := math.Remainder(a-b, 2*math.Pi)
	return hz + turn/(2*math.Pi)*rate/float64(half)
}

// loudest describes what is heard.
func loudest(samples []float32, rate float64) string {
	var best, level float64
	for hz := 40.0; hz < min(rate/2, 6000); hz += 10 {
		if l, _ := goertzel(samples, rate, hz); l > level {
			best, level = hz, l
		}
	}
	if level < silence {
		return "silence"
	}
	return fmt.Sprintf("%.0f Hz at %.1f dB", pitch(samples, rate, best), decibel(level))
}

func decibel(level float64) float64 { return 20 * math.Log10(level) }
