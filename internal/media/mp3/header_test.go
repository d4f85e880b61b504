package mp3

import (
	"slices"
	"testing"

	"tonearm/internal/conversion"
)

// The bit rates that options may ask for are the same as those of the frame
// headers. At the rates of MPEG-2.5 an encoder uses at most 64 kbit/s.
func TestBitrateFits(t *testing.T) {
	for _, rate := range conversion.SampleRates {
		has := kbpsMPEG1[1:15]
		switch {
		case rate < 16000:
			has = kbpsMPEG2[1:9]
		case rate < 32000:
			has = kbpsMPEG2[1:15]
		}
		for kbps := range 330 {
			if got, want := conversion.BitrateFits(kbps, rate), slices.Contains(has, kbps); got != want {
				t.Errorf("%d kbit/s at %d Hz: got %t, want %t", kbps, rate, got, want)
			}
		}
	}
}
