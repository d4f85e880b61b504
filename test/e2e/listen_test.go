package e2e

import (
	"encoding/binary"
	"math"
	"os/exec"
	"testing"
)

// audio is what a decoder hears in a file.
type audio struct {
	seconds float64
	hz      float64 // of the dominant tone; 0 for silence
}

// listen decodes a file to mono and measures it.
func listen(t *testing.T, path string) audio {
	t.Helper()
	const rate = 44100
	pcm, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin", "-i", path,
		"-f", "s16le", "-ac", "1", "-ar", "44100", "-").Output()
	if err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	n := len(pcm) / 2
	s := audio{seconds: float64(n) / rate}
	sample := func(i int) float64 { return float64(int16(binary.LittleEndian.Uint16(pcm[2*i:]))) }

	// The frequency of the tone is the rate of the upward zero crossings.
	crossings, first, last := 0, -1.0, -1.0
	for i := 1; i < n; i++ {
		a, b := sample(i-1), sample(i)
		if a < 0 && b >= 0 && b-a > 4 {
			at := float64(i-1) + a/(a-b)
			if first < 0 {
				first = at
			}
			last = at
			crossings++
		}
	}
	if crossings > 1 && last > first {
		s.hz = math.Round(float64(crossings-1)/((last-first)/rate)*10) / 10
	}
	return s
}
