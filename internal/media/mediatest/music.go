package mediatest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// Music makes audio that is hard on an encoder: chords that fade, beats of
// noise; a quiet part, silence, a loud part. It is 32-bit floats, little-endian,
// channels in turn, and always the same.
func Music(rate, channels int, seconds float64) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	levels := [5]float64{0.25, 0.004, 0, 0.25, 0.45} // of parts of 3 s
	n := int(math.Round(seconds * float64(rate)))
	out := make([]byte, 0, n*channels*4)
	var chord [4]float64 // Hz
	for i := range n {
		t := float64(i) / float64(rate)
		if i%(rate/2) == 0 {
			for v := range chord {
				chord[v] = 110 * math.Pow(2, float64(rng.IntN(36))/12)
			}
		}
		level := levels[int(t/3)%len(levels)]
		beat := math.Mod(t, 0.5)
		hit, fade := math.Exp(-60*beat), math.Exp(-3*beat)*0.4
		for c := range channels {
			x := hit * (rng.Float64() - 0.5)
			for v, hz := range chord {
				for harmonic := 1.0; harmonic < 6; harmonic++ {
					x += fade / harmonic * math.Sin(2*math.Pi*hz*harmonic*t+float64(c*v))
				}
			}
			x = max(-1, min(1, x*level))
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		}
	}
	return out
}
